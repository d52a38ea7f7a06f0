//! What runs: whether it is still there, what would start anew, and who would notice.

use serde_json::json;
use tests::*;

use super::{check, the, told};

fn check_uses(uses: &Inventory) -> Tool {
    Tool::new("reg-check").stdin(uses.jsonl())
}

#[test]
fn every_image_in_use_is_looked_at_and_no_other() {
    let registry = Registry::with().cache_off().start();
    let app = Image::new().layer("a").tag("1").push(&registry, "team/app");
    let web = Image::new().layer("w").tag("1").push(&registry, "team/web");
    let unused = Image::new().layer("u").tag("2").push(&registry, "team/app");
    registry.storage().remove_blob(&unused.layers[0]);
    let uses = Inventory::of("prod")
        .runs(registry.host(), "team/app", "1", &app.digest)
        .uses_digest(registry.host(), "team/web", &web.digest)
        .record(registry.host(), "team/app", json!({"tag": "1", "kind": "CronJob", "name": "night", "pods": 0, "pod": null}));
    let ran = check_uses(&uses).run().succeeds();
    assert_eq!((told(&ran).len(), &ran.the("trailer")["images"]), (0, &json!(2)), "{ran}");

    registry.storage().remove_blob(&app.layers[0]);
    let ran = check_uses(&uses).run().status(1);
    let finding = the(&ran, "blob-missing");
    assert_eq!((&finding["severity"], &finding["inUse"]), (&json!("error"), &json!(true)));
    assert_eq!(finding["usedBy"], json!(["prod/shop/Deployment/app0 (pod app0-0)", "prod/shop/CronJob/night"]));
}

#[test]
fn what_only_a_template_names_is_a_warning() {
    let registry = Registry::start();
    Image::new().layer("a").tag("1").push(&registry, "team/app");
    let fields = |pods: u32, finished: u32| json!({"tag": "9", "pods": pods, "finishedPods": finished});
    for (pods, finished, expected, status) in [(0, 0, "warning", 0), (2, 2, "warning", 0), (2, 1, "error", 1)] {
        let uses = Inventory::of("prod").record(registry.host(), "team/app", fields(pods, finished));
        let ran = check_uses(&uses).run().status(status);
        assert_eq!(told(&ran), [format!("manifest-missing {expected} 9")]);
    }
}

#[test]
fn a_registry_is_annotated_with_who_uses_it() {
    let registry = Registry::with().cache_off().start();
    let app = Image::new().layer("a").tag("1").tag("stable").push(&registry, "team/app");
    let old = Image::new().layer("old").tag("0").push(&registry, "team/app");
    for pushed in [&app, &old] {
        registry.storage().remove_blob(&pushed.layers[0]);
    }
    let uses = Inventory::of("prod").runs("mirror.local", "team/app", "1", &app.digest);
    let file = uses.write();
    let ran = check(registry.host()).arg("--in-use").arg(file.path()).run().status(1);
    assert_eq!(told(&ran), ["blob-missing warning 0", "blob-missing error 1"], "content is found under whatever name");
    let listing = Tool::new("reg-list").arg(registry.host()).run().succeeds().stdout();
    let ran = Tool::new("reg-check").arg("--in-use").arg(file.path()).stdin(listing).run().status(1);
    assert_eq!(told(&ran), ["blob-missing warning 0", "blob-missing error 1"]);
    let alias = format!("mirror.local={}", registry.host());
    let uses = Inventory::of("prod").uses("mirror.local", "team/app", "0").write();
    let ran = check(registry.host()).arg("--in-use").arg(uses.path()).args(["--alias", &alias]).run().status(1);
    assert_eq!(told(&ran), ["blob-missing error 0", "blob-missing warning 1"]);
}

#[test]
fn an_inventory_tells_of_repositories_that_the_catalog_does_not() {
    let registry = Registry::start();
    Image::new().layer("a").tag("1").push(&registry, "team/app");
    let uses = Inventory::of("prod").uses(registry.host(), "team/gone", "1").uses(registry.host(), "team/app", "2");
    let file = uses.write();
    let ran = check(registry.host()).arg("--in-use").arg(file.path()).run().status(1);
    assert_eq!(told(&ran), ["manifest-missing error 2", "manifest-missing error 1"]);
    check(&format!("{}/other", registry.host())).arg("--in-use").arg(file.path()).run().succeeds();
}

#[test]
fn a_tag_that_moved_would_change_what_runs() {
    let registry = Registry::start();
    let old = Image::new().layer("old").tag("1").push(&registry, "team/app");
    let new = Index::new().child("linux/amd64", Image::new().layer("new")).tag("1").push(&registry, "team/app");
    // Runtimes tell an index, the platform's manifest, or its config.
    for digest in [&new.digest, &new.children[0].digest, &new.children[0].config] {
        let ran = check_uses(&Inventory::of("prod").runs(registry.host(), "team/app", "1", digest)).run().succeeds();
        assert_eq!(told(&ran), [""; 0], "{ran}");
    }
    let uses =
        Inventory::of("prod").runs(registry.host(), "team/app", "1", &old.digest).runs(registry.host(), "team/app", "1", &new.digest);
    let ran = check_uses(&uses).run().succeeds();
    assert_eq!(told(&ran), ["tag-moved info 1"]);
    let finding = the(&ran, "tag-moved");
    assert!(finding["detail"].as_str().unwrap().contains("would change on reschedule"), "{finding}");
    assert_eq!((&finding["digest"], &finding["usedBy"]), (&json!(old.digest), &json!(["prod/shop/Deployment/app0 (pod app0-0)"])));
    // A runtime that tells the config of an image that moved on tells of no manifest that is gone.
    let ran = check_uses(&Inventory::of("prod").runs(registry.host(), "team/app", "1", &old.config)).run().succeeds();
    assert_eq!(told(&ran), ["tag-moved info 1"]);
}

#[test]
fn what_runs_from_the_nodes_caches_alone_would_fail_on_reschedule() {
    let registry = Registry::start();
    let old = Image::new().layer("old").tag("1").push(&registry, "team/app");
    let new = Image::new().layer("new").tag("1").push(&registry, "team/app");
    registry.client().delete_manifest("team/app", &old.digest).expect(202, "deleting");
    let uses =
        Inventory::of("prod").runs(registry.host(), "team/app", "1", &old.digest).runs(registry.host(), "team/app", "1", &new.digest);
    let ran = check_uses(&uses).run().status(1);
    assert_eq!(told(&ran), ["running-digest-gone error -", "tag-moved info 1"]);
    let finding = the(&ran, "running-digest-gone");
    assert!(finding["detail"].as_str().unwrap().contains("would fail on reschedule"), "{finding}");
    assert_eq!(finding["usedBy"], json!(["prod/shop/Deployment/app0 (pod app0-0)"]));
    // What is pinned and gone is one finding.
    let uses =
        Inventory::of("prod").record(registry.host(), "team/app", json!({"digest": old.digest, "runningDigest": old.digest, "image": "x"}));
    assert_eq!(told(&check_uses(&uses).run().status(1)), ["manifest-missing error -"]);
}

#[test]
fn registries_that_are_not_asked_are_counted() {
    let registry = Registry::start();
    Image::new().layer("a").tag("1").push(&registry, "team/app");
    let uses = Inventory::of("prod").uses(registry.host(), "team/app", "1").uses_ten_others().uses("docker.io", "library/other0", "1");
    let ran = check_uses(&uses).args(["--only", registry.host()]).run().succeeds().stderr_has("10 not asked for");
    let trailer = ran.the("trailer");
    assert_eq!((&trailer["images"], &trailer["healthy"], &trailer["notAsked"]), (&json!(1), &json!(1), &json!(10)));
}

#[test]
fn a_pipe_from_a_cluster_s_files_is_a_check() {
    let registry = Registry::start();
    Image::new().layer("a").tag("1").push(&registry, "team/app");
    let host = registry.host();
    let manifest = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "a", "image": format!("{host}/team/app:1")}, {"name": "b", "image": format!("{host}/team/app:9")}]}});
    let ran = shell("set -o pipefail; k8s-images -f pod.json | reg-check").home_file("pod.json", manifest.to_string()).run();
    assert_eq!(told(&ran), ["manifest-missing error 9"], "{ran}");
}

#[test]
fn of_one_image_that_is_named_only_its_own_uses_are_looked_at() {
    let registry = Registry::start();
    let old = Image::new().layer("old").tag("1").push(&registry, "team/app");
    Image::new().layer("new").tag("1").push(&registry, "team/app");
    let uses = Inventory::of("prod").runs(registry.host(), "team/app", "1", &old.digest).uses(registry.host(), "team/app", "9").write();
    let ran = check(&format!("{}/team/app:1", registry.host())).arg("--in-use").arg(uses.path()).run().succeeds();
    assert_eq!((told(&ran), &ran.the("trailer")["images"]), (vec!["tag-moved info 1".to_owned()], &json!(2)), "{ran}");
}

#[test]
fn what_an_alias_names_is_asked_for_where_the_catalog_is() {
    let registry = Registry::start();
    Image::new().layer("a").tag("1").push(&registry, "team/app");
    let uses = Inventory::of("prod").uses("mirror.local", "hub/gone", "1").write();
    let alias = format!("mirror.local/hub={}/team", registry.host());
    let ran = check(registry.host()).arg("--in-use").arg(uses.path()).args(["--alias", &alias]).run().status(1);
    assert_eq!(
        (told(&ran), &the(&ran, "manifest-missing")["repository"]),
        (vec!["manifest-missing error 1".to_owned()], &json!("team/gone"))
    );
}

#[test]
fn what_is_used_under_an_alias_is_asked_for_under_the_name_that_it_leads_to() {
    let registry = Registry::start();
    Image::new().layer("a").tag("1").push(&registry, "hub/team/app");
    let uses = Inventory::of("prod").uses("reg.alias", "team/app", "1").uses("reg.alias", "team/app", "gone");
    let alias = format!("reg.alias={}/hub", registry.host());
    for only in [vec![], vec!["--only", registry.host()]] {
        let ran = Tool::new("reg-check").args(["--alias", &alias]).args(&only).stdin(uses.jsonl()).run().status(1);
        assert_eq!(told(&ran), ["manifest-missing error gone"], "{ran}");
        assert_eq!((&ran.the("trailer")["healthy"], &ran.the("trailer")["notAsked"]), (&json!(1), &json!(0)), "{ran}");
        assert_eq!(the(&ran, "manifest-missing")["repository"], "hub/team/app");
    }
    let ran = Tool::new("reg-check").args(["--alias", &alias, "--only", "other.example.com"]).stdin(uses.jsonl()).run().succeeds();
    assert_eq!(ran.the("trailer")["notAsked"], 2, "{ran}");
}

#[test]
fn uses_that_were_chosen_are_looked_at_alone_and_doubts_are_told_once() {
    let registry = Registry::start();
    Image::new().layer("a").tag("1").push(&registry, "team/app");
    let uses = Inventory::of("prod").uses(registry.host(), "team/app", "1").uses(registry.host(), "team/app", "gone");
    let thinned: String = uses.jsonl().lines().filter(|line| !line.contains("gone")).map(|line| format!("{line}\n")).collect();
    // jq chose some of them, and these are looked at. Of what else is listed it would not be known who uses it.
    let few = "counts 2 use records and only 1 came";
    Tool::new("reg-check").stdin(thinned.clone()).run().succeeds().stderr_has(few).stderr_has("1 image, 1 healthy");
    let listing = Tool::new("reg-list").arg(registry.host()).run().succeeds().stdout();
    Tool::new("reg-check").stdin(listing + &thinned).run().status(3).stderr_has(few).stdout_is_empty();
    let doubtful = Inventory::of("prod").uses(registry.host(), "team/app", "1").incomplete().partial();
    let file = doubtful.write();
    for tool in [Tool::new("reg-check").stdin(doubtful.jsonl()), check(registry.host()).arg("--in-use").arg(file.path())] {
        let ran = tool.run().succeeds().stderr_has("source prod is not complete (connection refused)").stderr_has("was narrowed to some");
        assert_eq!(ran.stderr().matches("may run all the same").count(), 2, "{ran}");
    }
    let twice = format!("{0}{0}", doubtful.jsonl());
    let ran = Tool::new("reg-check").stdin(twice).run().succeeds();
    assert_eq!(ran.stderr().matches("may run all the same").count(), 2, "{ran}");
}

#[test]
fn another_name_with_the_same_path_counts_until_it_is_said_to_be_none() {
    let registry = Registry::with().cache_off().start();
    let app = Image::new().layer("a").tag("1").push(&registry, "team/app");
    registry.storage().remove_blob(&app.layers[0]);
    let uses = Inventory::of("prod").uses("cluster.name", "team/app", "1").uses("cluster.name", "team/app", "2").write();
    let run = |words: &[&str]| check(registry.host()).arg("--in-use").arg(uses.path()).args(words).run();
    let ran = run(&[]).status(1);
    // What only the other name may have is not asked for.
    assert_eq!(told(&ran), ["blob-missing error 1"], "{ran}");
    assert_eq!(the(&ran, "blob-missing")["usedBy"], json!(["prod/shop/Deployment/app0 (pod app0-0)"]));
    assert_eq!(told(&run(&["--not-alias", "cluster.name"]).succeeds()), ["blob-missing warning 1"]);
}
