//! What a good plan does to a healthy registry, and what the registry may say against it.

use super::*;

#[test]
fn images_go_with_all_of_their_tags_and_the_others_still_pull() {
    let registry = Registry::start();
    let old = Image::new().layer("a").layer("old").tag("1.0").tag("stable").push(&registry, "team/app");
    image(&registry, "team/app", "1.1");
    let ran = carry_out(&Plan::of(registry.host()).deletes(&old)).run().succeeds();
    assert_eq!(registry.client().tags("team/app"), ["1.1"]);
    assert!(!is_there(&registry, &old));
    skopeo::pull(&registry, "team/app:1.1").unwrap();
    skopeo::pull(&registry, "team/app:1.0").unwrap_err();

    let journal = ran.records();
    let kinds: Vec<&str> = journal.iter().map(|record| record["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["header", "deletion", "deletion", "trailer"]);
    assert_eq!((&journal[0]["tool"], &journal[0]["schema"]), (&json!("reg-delete"), &json!(1)));
    let started = &journal[1];
    assert_eq!((&started["result"], &started["action"]), (&json!("started"), &json!("delete")));
    assert_eq!(data(started), old.bytes);
    assert_eq!((&started["tags"], &started["mediaType"]), (&json!(["1.0", "stable"]), &json!(old.media_type)));
    assert_eq!(started["why"], "delete-rest: no rule keeps it");
    assert_eq!((&journal[2]["result"], journal[2].get("data")), (&json!("deleted"), None));
    assert_eq!((&journal[3]["complete"], &journal[3]["records"], &journal[3]["deleted"]), (&json!(true), &json!(2), &json!(1)));
    let ran = ran.stderr_has("deleted 1, untagged 0, absent 0, skipped 0, failed 0").stderr_has("reg-gc");
    assert!(ran.stderr().lines().last().unwrap().starts_with("can be undone until"), "{ran}");
}

#[test]
fn indexes_go_before_their_children_and_subjects_before_their_referrers() {
    let registry = Registry::start();
    let inner = Index::new().child("linux/arm64", Image::new().layer("arm"));
    let index = Index::new().child("linux/amd64", Image::new().layer("amd")).entry(inner).tag("v1").push(&registry, "team/app");
    let signature = Signature::cosign(&index).push(&registry, "team/app");
    let referrer = Image::artifact("application/x").subject(&index).push(&registry, "team/app");
    // The order in which a plan comes is that of a listing, not of deletion.
    let mut plan = Plan::of(registry.host()).deletes(&signature).deletes(&referrer).deletes_index(&index);
    plan.records.reverse();
    let proxy = Proxy::before(&registry);
    plan.host = proxy.host().to_owned();
    plan.records.iter_mut().for_each(|record| record["registry"] = json!(proxy.host()));

    let ran = carry_out(&plan).run().succeeds();
    let inner = &index.children[1];
    let all = [&index, &index.children[0], inner, &inner.children[0], &signature, &referrer];
    assert!(all.iter().all(|pushed| !is_there(&registry, pushed)));
    let deleted: Vec<String> = proxy.requests().iter().filter(|request| deletes(request)).map(|request| request.target.clone()).collect();
    let place = |pushed: &Pushed| deleted.iter().position(|target| target.ends_with(&pushed.digest)).unwrap();
    assert_eq!(place(&index), 0);
    assert!(place(inner) < place(&inner.children[0]), "{deleted:?}");
    assert_eq!(deleted.len(), 6);

    let lines = ran.records_of("deletion");
    let begun = lines.iter().position(|line| line["result"] == "started").unwrap();
    let planned: Vec<&str> = lines[..begun].iter().map(|line| line["digest"].as_str().unwrap()).collect();
    assert!(lines[..begun].iter().all(|line| line["result"] == "planned"));
    assert!(all[1..].iter().all(|pushed| planned.contains(&&*pushed.digest)), "what goes with an index is written down before it goes");
    assert_eq!(planned.len(), 5, "each once");
}

#[test]
fn a_second_run_changes_nothing_and_is_done() {
    let registry = Registry::start();
    let index = multi_arch(&registry, "team/app", "v1");
    let other = image(&registry, "team/other", "v1");
    let plan = Plan::of(registry.host()).deletes_index(&index).deletes(&other);
    carry_out(&plan).run().succeeds();
    let again = carry_out(&plan).run().succeeds();
    assert_eq!(steps(&again, &index), ["absent"]);
    assert_eq!(again.the("trailer")["absent"], 4);
}

#[test]
fn without_yes_it_is_only_shown_and_nothing_is_asked() {
    let registry = Registry::start();
    let proxy = Proxy::before(&registry);
    let old = image(&registry, "team/app", "1");
    let kept = image(&registry, "team/app", "2");
    let plan = Plan::of(proxy.host()).deletes(&old).untags(&kept, &["2"]);
    for flags in [&[][..], &["--dry-run"]] {
        let ran = Tool::new("reg-delete").args(flags).stdin(plan.jsonl()).run().succeeds().stderr_has("dry run: ").stderr_has("--yes");
        assert_eq!((&result(&ran, &old)["result"], &result(&ran, &kept)["action"]), (&json!("planned"), &json!("untag")));
    }
    assert!(proxy.requests().is_empty() && is_there(&registry, &old));
    Tool::new("reg-delete").args(["--yes", "--dry-run"]).stdin(plan.jsonl()).run().status(2);
    // What is shown is judged, too.
    Tool::new("reg-delete").stdin(plan.cut().jsonl()).run().status(3);
}

#[test]
fn a_plan_in_which_nothing_goes_is_done() {
    let ran = carry_out(&Plan::of("127.0.0.1:1")).run().succeeds();
    assert_eq!(ran.the("trailer")["deleted"], 0);
}

#[test]
fn tags_are_taken_where_the_registry_can() {
    let registry = Registry::start();
    let app = Image::new().layer("a").tag("old").tag("older").tag("new").push(&registry, "team/app");
    let ran = carry_out(&Plan::of(registry.host()).untags(&app, &["old", "older"])).run().succeeds();
    let records = ran.records_of("deletion");
    assert!(records.iter().all(|record| record["action"] == "untag" && record["tags"].as_array().unwrap().len() == 1));
    if registry.is_v3() {
        assert_eq!(registry.client().tags("team/app"), ["new"]);
        assert_eq!(steps(&ran, &app), ["started", "untagged", "started", "untagged"]);
        skopeo::pull(&registry, "team/app:new").unwrap();
        undo(ran.stdout()).run().succeeds();
    } else {
        assert_eq!(steps(&ran, &app), ["started", "skipped", "skipped"], "asked once, and not again");
        ran.stderr_has("deletes no tag without its manifest");
    }
    assert_eq!(registry.client().tags("team/app"), ["new", "old", "older"]);
}

#[test]
fn an_untag_that_is_out_of_date_is_skipped() {
    let registry = Registry::start();
    let app = Image::new().layer("a").tag("old").tag("gone").push(&registry, "team/app");
    let other = image(&registry, "team/app", "new");
    registry.client().retag("team/app", "new", "old");
    registry.storage().remove_tag_link("team/app", "gone");
    let ran = carry_out(&Plan::of(registry.host()).untags(&app, &["gone", "old"])).run().succeeds();
    assert_eq!(steps(&ran, &app), ["absent", "skipped"]);
    assert_eq!(registry.client().head("team/app", "old").digest(), other.digest);
}

#[test]
fn the_last_tag_is_never_taken() {
    let registry = Registry::start();
    let app = Image::new().layer("a").tag("old").tag("new").push(&registry, "team/app");
    image(&registry, "team/app", "other");
    let plan = Plan::of(registry.host()).untags(&app, &["old"]);
    registry.client().retag("team/app", "other", "new");
    let ran = carry_out(&plan).run().succeeds().stderr_has("no other tag names the manifest now");
    assert_eq!(steps(&ran, &app), ["skipped"]);
    assert_eq!(registry.client().head("team/app", "old").digest(), app.digest);
}

#[test]
fn several_registries_and_repositories_are_done_in_one_run() {
    let (one, two) = (Registry::start(), Registry::start());
    let pushed: Vec<Pushed> = (0..5).map(|n| image(&one, &format!("team/app{n}"), "1")).collect();
    let other = image(&two, "team/other", "1");
    let first = pushed.iter().fold(Plan::of(one.host()), |plan, pushed| plan.deletes(pushed));
    let second = Plan::of(two.host()).deletes(&other);
    for jobs in ["1", "8"] {
        let ran = Tool::new("reg-delete").args(["--yes", "--jobs", jobs]).stdin(first.jsonl() + &second.jsonl()).run().succeeds();
        assert!(pushed.iter().all(|pushed| if jobs == "1" {
            steps(&ran, pushed) == ["started", "deleted"]
        } else {
            steps(&ran, pushed) == ["absent"]
        }));
        assert!(pushed.iter().all(|pushed| !is_there(&one, pushed)) && !is_there(&two, &other));
    }
}

#[test]
fn deletion_that_is_disabled_is_found_out_before_anything_is_done() {
    let registry = Registry::start();
    let old = image(&registry, "team/app", "1");
    let disabled = Registry::with().delete_disabled().start();
    let kept = image(&disabled, "team/app", "1");
    let plans = Plan::of(registry.host()).deletes(&old).jsonl() + &Plan::of(disabled.host()).deletes(&kept).jsonl();
    let ran = Tool::new("reg-delete").arg("--yes").stdin(plans).run().status(2).stdout_is_empty();
    ran.stderr_has("storage:\n  delete:\n    enabled: true").stderr_has("REGISTRY_STORAGE_DELETE_ENABLED=true");
    assert!(is_there(&registry, &old) && is_there(&disabled, &kept));
    let read_only = Registry::with().read_only().storage_of(&registry).start();
    carry_out(&Plan::of(read_only.host()).deletes(&old)).run().status(2).stderr_has("read-only");
}

#[test]
fn an_endpoint_that_is_missing_is_an_error_and_a_manifest_that_is_gone_is_none() {
    let registry = Registry::start();
    for (answer, status, step) in [
        (Response::text(404, "404 page not found\n"), 1, "failed"),
        (Response::error(404, "MANIFEST_UNKNOWN"), 0, "absent"),
        (Response::error(403, "DENIED"), 1, "failed"),
        // Said to be done, and not done.
        (Response::status(202), 1, "failed"),
    ] {
        let old = image(&registry, "team/app", "1");
        let proxy = Proxy::before(&registry);
        proxy.once(|request| deletes(request) && request.target.starts_with("/v2/team/app/"), answer);
        let other = image(&registry, "team/other", "1");
        let ran = carry_out(&Plan::of(proxy.host()).deletes(&old).deletes(&other)).run().status(status);
        assert_eq!(result(&ran, &old)["result"], step);
        assert_eq!(result(&ran, &other)["result"], "deleted", "one failure does not stop the others");
    }
}

#[test]
fn tags_go_first_where_the_registry_wants_it() {
    let registry = Registry::start();
    let old = Image::new().layer("a").tag("1").tag("2").push(&registry, "team/app");
    let proxy = Proxy::before(&registry);
    proxy.once(|request| deletes(request) && request.target.contains("sha256:"), Response::error(400, "GOOGLE_MANIFEST_DANGLING_TAG"));
    proxy.always(|request| deletes(request) && !request.target.contains("sha256:"), Response::status(202));
    let ran = carry_out(&Plan::of(proxy.host()).deletes(&old)).run().succeeds();
    assert_eq!(steps(&ran, &old), ["started", "deleted"]);
    let asked: Vec<String> = proxy.requests().iter().filter(|request| deletes(request)).map(|request| request.target.clone()).collect();
    let manifest = format!("/v2/team/app/manifests/{}", old.digest);
    assert_eq!(asked, [&*manifest, "/v2/team/app/manifests/1", "/v2/team/app/manifests/2", &*manifest]);
}

#[test]
fn an_answer_that_is_lost_is_asked_for_again() {
    let registry = Registry::start();
    let old = image(&registry, "team/app", "1");
    let proxy = Proxy::before(&registry);
    proxy.lose_answer_once(deletes);
    carry_out(&Plan::of(proxy.host()).deletes(&old)).run().succeeds();
    assert!(!is_there(&registry, &old));
}

#[test]
fn user_and_password_go_to_the_registry_named_and_to_no_other_host() {
    let named = Registry::with().htpasswd("me", "secret").start();
    let other = Registry::start();
    let (mine, theirs) = (image(&named, "team/app", "1"), image(&other, "team/app", "1"));
    let (front, stranger) = (Proxy::before(&named), Proxy::before(&other));
    let plans = || Plan::of(front.host()).deletes(&mine).jsonl() + &Plan::of(stranger.host()).deletes(&theirs).jsonl();
    let tool = || Tool::new("reg-delete").arg("--yes").env("REG_USER", "me").stdin(plans());
    tool().env("REG_PASSWORD", "secret").run().status(2).stderr_has("--registry").stdout_is_empty();
    tool()
        .env("REG_PASSWORD", "wrong")
        .args(["--registry", front.host()])
        .run()
        .status(2)
        .stderr_has("check the user name")
        .stderr_lacks("wrong");
    assert!(is_there(&other, &theirs) && is_there(&named, &mine));
    tool().env("REG_PASSWORD", "secret").args(["--registry", front.host()]).run().succeeds().stderr_lacks("secret");
    assert!(!is_there(&other, &theirs) && !is_there(&named, &mine));
    assert!(front.count(|request| request.header("authorization").is_some()) > 0);
    assert_eq!(stranger.count(|request| request.header("authorization").is_some()), 0);
}

#[test]
fn a_password_may_stand_before_the_plan() {
    let registry = Registry::with().htpasswd("me", "secret").start();
    let old = image(&registry, "team/app", "1");
    let input = format!("secret\n{}", Plan::of(registry.host()).deletes(&old).jsonl());
    let flags = ["--yes", "--registry", registry.host(), "--user", "me", "--password-stdin"];
    Tool::new("reg-delete").args(flags).stdin(input).run().succeeds();
    assert!(!is_there(&registry, &old));
}

#[test]
fn token_servers_are_asked_for_the_right_to_delete() {
    let tokens = TokenServer::start().require_credentials("me", "secret");
    let registry = Registry::with().token_auth(&tokens).start();
    let index = multi_arch(&registry, "team/app", "1");
    let plan = Plan::of(registry.host()).deletes_index(&index);
    let flags = ["--registry", registry.host()];
    carry_out(&plan).args(flags).env("REG_USER", "me").env("REG_PASSWORD", "secret").run().succeeds();
    assert!(!is_there(&registry, &index));
}

#[test]
fn a_registry_that_cannot_be_asked_is_said_in_one_sentence() {
    let locked = Registry::with().htpasswd("me", "secret").start();
    let plain = Registry::start();
    let tls = Registry::with().tls().start();
    let old = image(&plain, "team/app", "1");
    for (host, sentence) in [
        (locked.host(), "needs credentials"),
        ("registry.invalid:5000", "unknown host"),
        ("127.0.0.1:1", "connection refused"),
        (tls.host(), "asking 127.0.0.1"),
    ] {
        let ran = carry_out(&Plan::of(host).deletes(&old)).run().status(2).stdout_is_empty().stderr_has(sentence);
        assert_eq!(ran.stderr().lines().count(), 1, "{ran}");
    }
    let port = plain.host().rsplit(':').next().unwrap();
    let not_loopback = format!("registry.localdomain:{port}");
    carry_out(&Plan::of(&not_loopback).deletes(&old)).run().status(2).stdout_is_empty();
    assert!(is_there(&plain, &old));
}
