//! What happens between the plan and the deletion, and in the middle of it: nothing that somebody needs by then goes.

use super::*;

fn tags_were_listed(request: &Request) -> bool {
    request.path().ends_with("/tags/list")
}

#[test]
fn a_tag_that_was_rolled_back_to_a_doomed_digest_holds_it() {
    let registry = Registry::start();
    let old = image(&registry, "team/app", "1");
    let index = multi_arch(&registry, "team/app", "2");
    image(&registry, "team/app", "stable");
    let plan = Plan::of(registry.host()).deletes(&old).deletes_index(&index);
    skopeo::copy(&registry, "team/app:1", "team/app:stable").unwrap();
    registry.client().retag("team/app", "2", "rollback");
    let ran = carry_out(&plan).run().succeeds().stderr_has("the tag stable names it now").stderr_has("skipped 4");
    assert_eq!(result(&ran, &old)["result"], "skipped");
    assert_eq!(result(&ran, &index.children[0])["result"], "skipped", "children stay with their index");
    skopeo::pull(&registry, "team/app:stable").unwrap();
    skopeo::pull(&registry, "team/app:rollback").unwrap();
}

#[test]
fn an_own_tag_that_moved_on_makes_the_plan_out_of_date_and_one_that_is_gone_does_not() {
    let registry = Registry::start();
    let moved = Image::new().layer("a").tag("1").tag("1.0").push(&registry, "team/app");
    let new = image(&registry, "team/app", "new");
    let gone = Image::new().layer("b").tag("2").tag("2.0").push(&registry, "team/app");
    let plan = Plan::of(registry.host()).deletes(&moved).deletes(&gone);
    registry.client().retag("team/app", "new", "1.0");
    registry.storage().remove_tag_link("team/app", "2.0");
    let ran = carry_out(&plan).run().succeeds();
    assert_eq!(result(&ran, &moved)["result"], "skipped");
    assert!(result(&ran, &moved)["why"].as_str().unwrap().contains("its tag 1.0 names"));
    assert_eq!(result(&ran, &gone)["result"], "deleted");
    // What somebody else took away is not this run's to put back.
    undo(ran.stdout()).run().succeeds();
    let tags = registry.client().tags("team/app");
    assert!(tags.contains(&"2".to_owned()) && !registry.client().has("team/app", "2.0"), "{tags:?}");
    assert_eq!(registry.client().head("team/app", "1.0").digest(), new.digest);
}

#[test]
fn own_tags_are_asked_again_just_before() {
    let registry = Registry::start();
    let images: Vec<Pushed> = ["1", "2"].map(|tag| image(&registry, "team/app", tag)).into();
    image(&registry, "team/app", "new");
    let proxy = Proxy::before(&registry);
    let (client, tags) = (registry.client().clone(), ["1", "2"]);
    // While the first of them goes, somebody moves the tag of the second.
    let first = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let seen = std::sync::Arc::clone(&first);
    let doomed = images.clone();
    proxy.run_after(deletes, move |request| {
        let other = doomed.iter().position(|pushed| !request.target.ends_with(&pushed.digest)).unwrap();
        client.retag("team/app", "new", tags[other]);
        *seen.lock().unwrap() = request.target.clone();
    });
    let ran = carry_out(&Plan::of(proxy.host()).deletes(&images[0]).deletes(&images[1])).run().succeeds();
    let first = first.lock().unwrap().clone();
    for pushed in &images {
        let expected = if first.ends_with(&pushed.digest) { "deleted" } else { "skipped" };
        assert_eq!(result(&ran, pushed)["result"], expected);
    }
}

#[test]
fn a_new_index_over_a_doomed_child_holds_it_at_any_depth() {
    let registry = Registry::start();
    let index = multi_arch(&registry, "team/app", "1");
    let deep = image(&registry, "team/app", "deep");
    let plan = Plan::of(registry.host()).deletes_index(&index).deletes(&deep);
    let inner = Index::new().child("linux/amd64", &deep).push(&registry, "team/app");
    Index::new().entry(&inner).tag("nested").push(&registry, "team/app");
    Index::new().child("linux/amd64", &index.children[0]).tag("new").push(&registry, "team/app");
    let ran = carry_out(&plan).run().succeeds();
    assert_eq!(result(&ran, &index)["result"], "deleted");
    assert_eq!(result(&ran, &index.children[0])["result"], "skipped");
    assert_eq!(result(&ran, &index.children[1])["result"], "deleted");
    assert_eq!(result(&ran, &deep)["result"], "skipped");
    skopeo::pull(&registry, "team/app:new").unwrap();
    // skopeo reads no index in an index.
    assert!(is_there(&registry, &inner) && is_there(&registry, &deep));
}

#[test]
fn an_untagged_index_that_is_used_by_digest_holds_its_children() {
    let registry = Registry::start();
    let child = Image::new().layer("a").tag("1-amd64").push(&registry, "team/app");
    let running = Image::new().layer("b").tag("2-amd64").push(&registry, "team/app");
    let unused = image(&registry, "team/app", "3");
    let index = Index::new().child("linux/amd64", &child).push(&registry, "team/app");
    let other = Index::new().child("linux/amd64", &running).push(&registry, "team/app");
    let plan = Plan::of(registry.host())
        .deletes(&child)
        .deletes(&running)
        .deletes(&unused)
        .passes_on("team/app", json!({"digest": index.digest}))
        .passes_on("team/app", json!({"tag": "x", "runningDigest": other.digest}))
        .passes_on("team/app", json!({"digest": digest_of(b"gone")}));
    let ran = carry_out(&plan).run().succeeds().stderr_has("prod/shop/Deployment/web");
    assert_eq!(result(&ran, &child)["result"], "skipped");
    assert_eq!(result(&ran, &running)["result"], "skipped");
    assert_eq!(result(&ran, &unused)["result"], "deleted");
    skopeo::pull(&registry, &index.by_digest()).unwrap();
}

#[test]
fn uses_are_asked_for_where_they_were_listed_and_on_no_other_host() {
    let registry = Registry::start();
    let stranger = ScriptedServer::start();
    let old = image(&registry, "team/app", "1");
    let plan =
        Plan::of(registry.host()).deletes(&old).passes_on("team/app", json!({"registry": stranger.host(), "digest": digest_of(b"gone")}));
    carry_out(&plan).run().succeeds();
    assert!(stranger.requests().is_empty() && !is_there(&registry, &old));
}

#[test]
fn an_answer_that_is_neither_a_digest_nor_manifest_unknown_fails_the_repository_and_not_the_others() {
    let registry = Registry::start();
    let used = digest_of(b"used");
    type Fits = Box<dyn Fn(&Request) -> bool + Send + Sync>;
    let of_use = used.clone();
    let questions: [(&str, Fits); 3] = [
        ("a use", Box::new(move |request| request.target.ends_with(&of_use))),
        ("a tag", Box::new(|request| request.path() == "/v2/team/app/manifests/kept")),
        ("the tags", Box::new(|request| request.path() == "/v2/team/app/tags/list")),
    ];
    for (what, fits) in questions {
        let index = multi_arch(&registry, "team/app", "1");
        image(&registry, "team/app", "kept");
        let other = image(&registry, "team/other", "1");
        let proxy = Proxy::before(&registry);
        proxy.always(fits, Response::error(403, "DENIED"));
        let plan = Plan::of(proxy.host()).deletes_index(&index).deletes(&other).passes_on("team/app", json!({"digest": used}));
        let ran = carry_out(&plan).run().status(1).stderr_has("failed 3").stderr_has("DENIED");
        for pushed in [&index, &index.children[0], &index.children[1]] {
            assert_eq!(steps(&ran, pushed), ["failed"], "{what}");
            assert!(is_there(&registry, pushed), "{what}");
        }
        assert_eq!(result(&ran, &other)["result"], "deleted", "{what}");
    }
}

#[test]
fn an_index_that_cannot_be_read_fails_the_repository() {
    let registry = Registry::with().cache_off().start();
    let old = image(&registry, "team/app", "1");
    let kept = multi_arch(&registry, "team/app", "2");
    registry.storage().truncate_blob(&kept.digest, 40);
    let ran = carry_out(&Plan::of(registry.host()).deletes(&old)).run().status(1);
    assert_eq!(steps(&ran, &old), ["failed"]);
    assert!(is_there(&registry, &old));
}

#[test]
fn a_tag_that_leads_to_nothing_is_no_obstacle() {
    let registry = Registry::with().cache_off().start();
    let old = image(&registry, "team/app", "1");
    let broken = image(&registry, "team/app", "broken");
    registry.storage().remove_revision("team/app", &broken.digest);
    carry_out(&Plan::of(registry.host()).deletes(&old)).run().succeeds();
    assert!(!is_there(&registry, &old));
}

#[test]
fn a_manifest_stays_while_a_parent_or_a_subject_of_it_is_there() {
    let registry = Registry::start();
    // The filter dropped the index and the subject: what hangs on them must not look abandoned.
    let index = multi_arch(&registry, "team/app", "1");
    let signature = Signature::cosign(&index).push(&registry, "team/app");
    let referrer = Image::artifact("application/x").subject(&index).push(&registry, "team/app");
    let plan = Plan::of(registry.host()).deletes_below(&index.children[0], &[&index]).deletes(&signature).deletes(&referrer);
    let ran = carry_out(&plan).run().succeeds().stderr_has("which is there");
    for pushed in [&index.children[0], &signature, &referrer] {
        assert_eq!(result(&ran, pushed)["result"], "skipped");
    }
    // Nobody names the index any more, and its tag went: it is there all the same.
    let untagged = Index::new().child("linux/amd64", Image::new().layer("x")).push(&registry, "team/x");
    let plan = Plan::of(registry.host()).deletes_below(&untagged.children[0], &[&untagged]);
    let ran = carry_out(&plan).run().succeeds();
    assert_eq!(result(&ran, &untagged.children[0])["result"], "skipped");
}

#[test]
fn a_child_of_which_only_the_index_says_so_stays_with_it() {
    let registry = Registry::start();
    let index = multi_arch(&registry, "team/app", "1");
    let proxy = Proxy::before(&registry);
    let digest = index.digest.clone();
    proxy.always(move |request| deletes(request) && request.target.ends_with(&digest), Response::error(403, "DENIED"));
    // The records of the children name no parent, as those of a plan of the children alone.
    let plan = Plan::of(proxy.host()).deletes(&index).deletes(&index.children[0]).deletes(&index.children[1]);
    let ran = carry_out(&plan).run().status(1);
    assert_eq!(result(&ran, &index)["result"], "failed");
    assert!(index.children.iter().all(|child| result(&ran, child)["result"] == "skipped"));
    skopeo::pull(&registry, "team/app:1").unwrap();
}

#[test]
fn a_list_of_tags_that_the_registry_itself_contradicts_fails_the_repository() {
    let registry = Registry::start();
    let old = image(&registry, "team/app", "1");
    for answer in [
        Response::error(404, "NAME_UNKNOWN"),
        Response::json(200, json!({"name": "team/app", "tags": null})),
        Response::json(200, json!({"name": "team/app", "tags": []})),
        Response::json(200, json!({"name": "team/app", "tags": ["other"]})),
    ] {
        let proxy = Proxy::before(&registry);
        proxy.always(tags_were_listed, answer);
        let ran = carry_out(&Plan::of(proxy.host()).deletes(&old)).run().status(1).stderr_has("the registry's list of tags lacks 1");
        assert_eq!(steps(&ran, &old), ["failed"]);
        assert!(is_there(&registry, &old));
    }
}

#[test]
fn an_index_that_is_pushed_again_while_its_children_go_keeps_them() {
    let registry = Registry::start();
    let index = multi_arch(&registry, "team/app", "1");
    let proxy = Proxy::before(&registry);
    let again = index.clone();
    let (client, digest) = (registry.client().clone(), index.digest.clone());
    proxy.run_after(
        move |request| deletes(request) && request.target.ends_with(&digest),
        move |_| {
            client.put_manifest("team/app", "2", &again.media_type, &again.bytes);
        },
    );
    let ran = carry_out(&Plan::of(proxy.host()).deletes_index(&index)).run().status(1);
    assert_eq!(result(&ran, &index)["result"], "failed", "it is there after its deletion");
    assert!(index.children.iter().all(|child| result(&ran, child)["result"] == "skipped"));
    skopeo::pull(&registry, "team/app:2").unwrap();
}

#[test]
fn what_a_fresh_inventory_names_is_skipped() {
    let registry = Registry::start();
    let host = registry.host();
    let by_tag = image(&registry, "team/app", "tag");
    let by_digest = image(&registry, "team/app", "digest");
    let by_config = image(&registry, "team/app", "config");
    let by_other_name = image(&registry, "team/app", "other-name");
    let index = multi_arch(&registry, "team/app", "index");
    let unused = image(&registry, "team/app", "unused");
    let seen = Index::new().child("linux/amd64", Image::new().layer("late")).push(&registry, "team/app");
    let late = &seen.children[0];
    let fresh = Inventory::of("prod")
        .uses(host, "team/app", "tag")
        .uses_digest(host, "team/app", &by_digest.digest)
        .record("docker.io", "library/x", json!({"configDigest": by_config.config}))
        .uses("mirror.example.com", "team/app", "other-name")
        .runs(host, "team/app", "x", &index.children[1].digest)
        .uses_digest(host, "team/app", &seen.digest)
        .uses_ten_others()
        .write();
    let plan = || {
        [&by_tag, &by_digest, &by_config, &by_other_name, &unused]
            .into_iter()
            .fold(Plan::of(host), Plan::deletes)
            .deletes_index(&index)
            .deletes(late)
    };
    for yes in [false, true] {
        let flags: &[&str] = if yes { &["--yes"] } else { &[] };
        let ran = Tool::new("reg-delete").args(flags).arg("--in-use").arg(fresh.path()).stdin(plan().jsonl()).run().succeeds();
        let ran = ran.stderr_has("in use now: prod/shop/Deployment/app0 names tag");
        for pushed in [&by_tag, &by_digest, &by_config, &by_other_name, &index, &index.children[0], &index.children[1]] {
            assert_eq!(result(&ran, pushed)["result"], "skipped");
            assert!(is_there(&registry, pushed));
        }
        assert_eq!(result(&ran, &unused)["result"], if yes { "deleted" } else { "planned" });
        // That an untagged index names it only the registry knows.
        assert_eq!(result(&ran, late)["result"], if yes { "skipped" } else { "planned" });
    }
}

#[test]
fn the_plans_own_aliases_hold_for_the_fresh_inventory() {
    let registry = Registry::start();
    let old = image(&registry, "team/app", "1");
    let fresh = Inventory::of("prod").uses("hub.local", "mirror/app", "1").uses_ten_others().write();
    let alias = format!("hub.local/mirror={}/team", registry.host());
    let plan = Plan::of(registry.host()).deletes(&old).header("/policy/alias", json!([alias]));
    let ran = carry_out(&plan).arg("--in-use").arg(fresh.path()).run().succeeds();
    assert_eq!(result(&ran, &old)["result"], "skipped");
}

#[test]
fn tags_are_listed_before_the_first_deletion() {
    let registry = Registry::start();
    let old = image(&registry, "team/app", "1");
    let proxy = Proxy::before(&registry);
    let (client, moved) = (registry.client().clone(), old.digest.clone());
    // The tag comes while the run is on its way, and before it looks at this repository.
    proxy.run_before(tags_were_listed, move |_| {
        client.retag("team/app", &moved, "just-now");
    });
    let ran = carry_out(&Plan::of(proxy.host()).deletes(&old)).run().succeeds();
    assert_eq!(result(&ran, &old)["result"], "skipped");
}

/// Numbers that look like chance and are the same in each run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        // The generator of Knuth's MMIX; its high bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// Whether a manifest and all that it leads to is there.
fn is_whole(registry: &Registry, repository: &str, reference: &str) -> bool {
    let answer = registry.client().manifest(repository, reference);
    let children = || answer.json()["manifests"].as_array().cloned().unwrap_or_default();
    answer.status == 200 && children().iter().all(|child| is_whole(registry, repository, child["digest"].as_str().unwrap()))
}

#[test]
fn whatever_happens_in_between_what_is_tagged_or_used_stays_whole_and_the_rest_comes_back() {
    let registry = Registry::start();
    let client = registry.client();
    let (mut deleted, mut skipped) = (0, 0);
    for round in 0..25 {
        let mut chance = Chance(round);
        let repository = format!("team/app{round}");
        let leaf = |name: String| Image::new().layer(&name).annotation("round", &round.to_string());
        let mut pushed: Vec<Pushed> = (0..5).map(|n| leaf(n.to_string()).tag(&format!("image{n}")).push(&registry, &repository)).collect();
        for n in 0..4 {
            let index = Index::new().entry(leaf(format!("child {n}"))).entry(&pushed[chance.below(pushed.len())].clone());
            pushed.push(index.tag(&format!("index{n}")).push(&registry, &repository));
        }
        let parents = |pushed: &[Pushed], of: &str| -> Vec<Pushed> {
            pushed.iter().filter(|index| index.children.iter().any(|child| child.digest == of)).cloned().collect()
        };
        let all: Vec<Pushed> = pushed.iter().flat_map(|pushed| [vec![pushed.clone()], pushed.children.clone()].concat()).collect();
        // The plan takes everything, or lost some of it to a filter, and passes on a use of what comes later.
        let later = Index::new().entry(&all[chance.below(all.len())].clone()).push(&registry, &repository);
        let used = Index::new().entry(&later).push(&registry, &repository);
        let mut plan = Plan::of(registry.host()).passes_on(&repository, json!({"digest": used.digest}));
        for doomed in &all {
            if !plan.names(doomed) && chance.below(8) > 0 {
                let above = parents(&pushed, &doomed.digest);
                plan = plan.deletes_below(doomed, &above.iter().collect::<Vec<_>>());
            }
        }
        // Then others are at work: rollbacks, tags that move on, new indexes.
        for n in 0..chance.below(4) {
            let (from, to) = (&all[chance.below(all.len())], &all[chance.below(all.len())]);
            match chance.below(3) {
                0 => drop(client.retag(&repository, &from.digest, &format!("rollback{n}"))),
                1 => drop(to.tags.first().map(|tag| client.retag(&repository, &from.digest, tag))),
                _ => drop(Index::new().entry(from).entry(to).tag(&format!("new{n}")).push(&registry, &repository)),
            }
        }
        let ran = carry_out(&plan).run().succeeds();
        deleted += ran.the("trailer")["deleted"].as_u64().unwrap();
        skipped += ran.the("trailer")["skipped"].as_u64().unwrap();
        for tag in client.tags(&repository) {
            assert!(is_whole(&registry, &repository, &tag), "round {round}, tag {tag}\n{ran}");
        }
        assert!(is_whole(&registry, &repository, &used.digest), "round {round}\n{ran}");
        undo(ran.stdout()).run().succeeds();
        for pushed in &all {
            assert!(is_whole(&registry, &repository, &pushed.digest), "round {round}, {} did not come back\n{ran}", pushed.digest);
        }
    }
    assert!(deleted > 50 && skipped > 50, "the rounds try both: {deleted} deleted, {skipped} skipped");
}
