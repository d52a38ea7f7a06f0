//! What takes something away or replaces it: when it may, from where it is fetched, and what is never touched.

use serde_json::json;
use tests::*;

use super::{by_http, changes, findings, fix, pair, snapshot, told, undo};

/// A registry with an image and a multi-arch one.
fn registry(with: impl FnOnce(registry::With) -> registry::With) -> (Registry, fixtures::Pushed, fixtures::Pushed) {
    let registry = with(Registry::with().cache_off()).start();
    let (image, index) = fill(&registry, "team/app", "team/multi");
    (registry, image, index)
}

fn fill(registry: &Registry, app: &str, multi: &str) -> (fixtures::Pushed, fixtures::Pushed) {
    let image = Image::new().layer("base").layer_of_size("own", 300_000).tag("v1").push(registry, app);
    let index = Index::new().child("linux/amd64", Image::new().layer("a")).child("linux/arm64", Image::new().layer("b")).tag("v1");
    (image, index.push(registry, multi))
}

#[test]
fn damage_is_moved_away_only_while_nobody_writes() {
    let (registry, image, _) = registry(|with| with);
    let (root, config) = (registry.root(), registry.config_file());
    registry.storage().overwrite_blob(&image.layers[1], b"other");
    let found = findings(&root);
    let by_config =
        |words: &[&str]| Tool::new("reg-fix").arg("--config").arg(&config).args(words).arg("--yes").stdin(super::section(&found)).run();
    let before = snapshot(&root);
    // It serves: the rest is mended, and this is left.
    let ran = by_config(&[]).status(1).stdout_has("can be written to").stdout_has("--online");
    assert!(told(&ran).iter().all(|(_, result)| result == "left"), "{ran}");
    by_config(&["--stopped"]).status(1).stdout_has("can be written to");
    by_config(&["--drop"]).status(3).stderr_has("can be written to").stdout_is_empty();
    assert_eq!(snapshot(&root), before);
    by_config(&["--online"]).status(1).stdout_has("push the image again");
    assert!(!registry.storage().blob(&image.layers[1]).exists());
    Image::new().layer("base").layer_of_size("own", 300_000).tag("v1").push(&registry, "team/app");
    skopeo::pull(&registry, "team/app:v1").unwrap();
}

#[test]
fn a_registry_that_is_read_only_needs_no_word() {
    let (registry, image, _) = registry(|with| with);
    registry.storage().overwrite_blob(&image.layers[1], b"other");
    let reader = Registry::with().storage_of(&registry).cache_off().read_only().start();
    let found = findings(&registry.root());
    let ran = Tool::new("reg-fix").arg("--config").arg(reader.config_file()).arg("--yes").stdin(super::section(&found)).run().status(1);
    assert_eq!(told(&ran), [pair("quarantine", "repaired"), pair("none", "left")], "{ran}");
    // What nobody needs is no loss, and what needs it goes with --drop.
    let (registry, image, _) = self::registry(|with| with);
    let root = registry.root();
    registry.storage().overwrite_blob(&image.layers[1], b"other");
    let found = findings(&root);
    let is_held = by_http("team/app", "not-asked", json!({"tag": "v1", "inUse": true}));
    let ran = fix(&root, &["--drop", "--stopped", "--yes"], &[found.clone(), vec![is_held]].concat()).run().status(1);
    assert_eq!(told(&ran)[..2], [pair("none", "skipped"), pair("quarantine", "repaired")], "{ran}");
    assert_eq!(registry.client().tags("team/app"), ["v1"]);
    undo(&root, &["latest", "--yes"]).run().succeeds();
    fix(&root, &["--drop", "--stopped", "--yes"], &found).run().succeeds();
    assert_eq!(registry.client().tags("team/app"), [""; 0]);
    assert!(findings(&root).iter().all(|finding| finding["severity"] == "info"), "{:?}", findings(&root));
}

#[test]
fn redis_forgets_what_went() {
    let redis = Redis::start();
    let registry = Registry::with().redis(&redis).start();
    let (image, _) = fill(&registry, "team/app", "team/multi");
    skopeo::pull(&registry, "team/app:v1").unwrap();
    let key = format!("blobs::{}", image.layers[1]);
    assert!(redis.keys("*").contains(&key));
    registry.storage().overwrite_blob(&image.layers[1], b"other");
    let found = findings(&registry.root());
    Tool::new("reg-fix")
        .arg("--config")
        .arg(registry.config_file())
        .args(["--online", "--yes"])
        .stdin(super::section(&found))
        .run()
        .status(1);
    assert!(!redis.keys("*").contains(&key), "{:?}", redis.keys("*"));
    Image::new().layer("base").layer_of_size("own", 300_000).tag("v1").push(&registry, "team/app");
    skopeo::pull(&registry, "team/app:v1").unwrap();
}

#[test]
fn redis_forgets_what_is_lost_whatever_is_done_about_it() {
    let redis = Redis::start();
    for words in [&["--yes"][..], &["--drop", "--online", "--yes"]] {
        for lost in ["layer", "manifest"] {
            let registry = Registry::with().redis(&redis).start();
            let (image, _) = fill(&registry, "team/app", "team/multi");
            skopeo::pull(&registry, "team/app:v1").unwrap();
            let digest = if lost == "layer" { &image.layers[1] } else { &image.digest };
            registry.storage().remove_blob(digest);
            let found = findings(&registry.root());
            let fix = Tool::new("reg-fix").arg("--config").arg(registry.config_file());
            fix.args(words).stdin(super::section(&found)).run().status(i32::from(words.len() == 1));
            let stale: Vec<_> = redis.keys("*").into_iter().filter(|key| key.contains(digest)).collect();
            assert_eq!(stale, [""; 0], "{words:?}, {lost}");
            Image::new().layer("base").layer_of_size("own", 300_000).tag("v1").push(&registry, "team/app");
            skopeo::pull(&registry, "team/app:v1").unwrap_or_else(|error| panic!("{words:?}, {lost}: {error}"));
            redis.command(&["FLUSHALL"]);
        }
    }
    // Where Redis is not to be had, what only adds is done all the same.
    let (registry, image, _) = registry(|with| with);
    registry.storage().remove_blob(&image.digest);
    registry.storage().empty_tag_link("team/multi", "v1");
    let found = findings(&registry.root());
    let ran = fix(&registry.root(), &["--yes", "--redis", "redis://127.0.0.1:1"], &found).run().status(1);
    assert!(told(&ran).contains(&pair("link", "repaired")), "{ran}");
    ran.stderr_has("may still be remembered");
}

#[test]
fn redis_forgets_what_is_taken_back() {
    let redis = Redis::start();
    let registry = Registry::with().redis(&redis).start();
    let (image, _) = fill(&registry, "team/app", "team/multi");
    registry.storage().remove_layer_link("team/app", &image.layers[1]);
    redis.command(&["FLUSHALL"]);
    let found = findings(&registry.root());
    let tool = || Tool::new("reg-fix").arg("--config").arg(registry.config_file());
    // A link that is added needs no word to anybody.
    tool().arg("--yes").stdin(super::section(&found)).run().succeeds();
    skopeo::pull(&registry, "team/app:v1").unwrap();
    tool().args(["--undo", "latest", "--online", "--yes"]).run().succeeds();
    let status = registry.client().blob("team/app", &image.layers[1]).status;
    assert_eq!(status, 404, "{:?}", redis.keys("*"));
}

#[test]
fn a_registry_with_a_cache_in_memory_is_to_be_restarted() {
    let (registry, image, _) = registry(|with| with.in_memory_cache());
    registry.storage().overwrite_blob(&image.layers[1], b"other");
    let found = findings(&registry.root());
    let fix = |words: &[&str]| {
        Tool::new("reg-fix").arg("--config").arg(registry.config_file()).args(words).stdin(super::section(&found)).run().status(1)
    };
    fix(&["--online"]).stderr_lacks("RESTART");
    fix(&["--online", "--yes"]).stderr_has("RESTART THE REGISTRY");
    // What is told to be pushed again needs it as much.
    let (registry, image, _) = self::registry(|with| with.in_memory_cache());
    registry.storage().remove_blob(&image.layers[1]);
    let ran = super::fix(&registry.root(), &["--yes"], &findings(&registry.root())).run().status(1);
    ran.stderr_has("RESTART THE REGISTRY").stdout_has("restart the registry before");
}

#[test]
fn what_is_lost_is_fetched_from_another_registry() {
    let (registry, image, index) = registry(|with| with);
    let mirror = Registry::with().htpasswd("me", "secret").start();
    fill(&mirror, "copy/team/app", "copy/team/multi");
    // As large as layers are.
    let third = Image::new().layer_of_size("third", (16 << 20) + 5).tag("v3");
    third.clone().push(&mirror, "copy/team/app");
    let third = third.push(&registry, "team/app");
    let root = registry.root();
    let whole = snapshot(&root);
    let storage = registry.storage();
    storage.remove_blob(&image.digest);
    storage.remove_revision("team/app", &image.digest);
    storage.remove_blob(&image.layers[1]);
    storage.remove_layer_link("team/app", &image.layers[1]);
    storage.overwrite_blob(&third.layers[0], b"other");
    // An index of which all is gone but the tag.
    for digest in [&index.digest, &index.children[0].digest, &index.children[1].digest, &index.children[1].layers[0]] {
        storage.remove_blob(digest);
    }
    storage.remove_revision("team/multi", &index.children[1].digest);
    storage.remove_layer_link("team/multi", &index.children[1].layers[0]);
    let damaged = snapshot(&root);
    let found = findings(&root);
    let from = format!("{}/copy", mirror.host());
    let fetch = |words: &[&str]| {
        let words = [&["--from", &from, "--user", "me", "--stopped"], words].concat();
        fix(&root, &words, &found).env("REG_PASSWORD", "secret")
    };
    fetch(&[]).run().succeeds();
    assert_eq!(changes(&damaged, &snapshot(&root)), [""; 0]);
    let ran = fetch(&["--yes"]).run().succeeds();
    assert_eq!(changes(&whole, &snapshot(&root)), [""; 0], "{ran}");
    for reference in ["team/app:v1", "team/app:v3", "team/multi:v1"] {
        skopeo::pull(&registry, reference).unwrap();
    }
    assert_eq!(findings(&root).iter().filter(|finding| finding["severity"] != "info").count(), 0);
    undo(&root, &["latest", "--stopped", "--yes"]).run().succeeds();
    assert_eq!(changes(&damaged, &snapshot(&root)), [""; 0]);
    // Who has it not, or may not be asked.
    let stranger = Registry::start();
    fix(&root, &["--from", stranger.host(), "--drop", "--stopped", "--yes"], &found)
        .run()
        .status(1)
        .stdout_has("\"failed\"")
        .stdout_has("without --from")
        .stderr_has("RESTART THE REGISTRY");
    assert_eq!(changes(&damaged, &snapshot(&root)), [""; 0], "what is bad goes only when what is good is there");
    let ran = fix(&root, &["--from", &from, "--stopped", "--yes"], &found).run().status(1);
    assert!(!ran.stdout().contains("secret"));
}

#[test]
fn what_is_lost_is_fetched_through_a_cache_of_another_registry() {
    let upstream = Registry::start();
    let image = Image::new().layer_of_size("large", (20 << 20) + 3).tag("v1");
    let (registry, mirror) = (Registry::start(), Registry::with().set("/proxy/remoteurl", json!(upstream.url())).start());
    image.clone().push(&upstream, "team/app");
    let pushed = image.push(&registry, "team/app");
    let root = registry.root();
    let whole = snapshot(&root);
    for digest in [&pushed.digest, &pushed.layers[0]] {
        registry.storage().remove_blob(digest);
    }
    // What it does not have yet it hands out as it comes, and knows no parts of it.
    fix(&root, &["--from", mirror.host(), "--stopped", "--yes"], &findings(&root)).run().succeeds();
    assert_eq!(changes(&whole, &snapshot(&root)), [""; 0]);
}

#[test]
fn what_hashes_to_something_else_is_not_put_in_place() {
    let (registry, image, _) = registry(|with| with);
    let liar = Registry::with().cache_off().start();
    fill(&liar, "team/app", "team/multi");
    liar.storage().overwrite_blob(&image.layers[1], b"a lie");
    registry.storage().remove_blob(&image.layers[1]);
    let root = registry.root();
    let damaged = snapshot(&root);
    let ran = fix(&root, &["--from", liar.host(), "--stopped", "--yes"], &findings(&root)).run().status(1);
    assert!(ran.stdout().contains("hash to"), "{ran}");
    assert_eq!(changes(&damaged, &snapshot(&root)), [""; 0]);
}

#[test]
fn what_another_registry_cannot_give_is_asked_for_once_and_leaves_nothing() {
    let folder = temporary();
    let tree = Tree::new(folder.path());
    let image = Image::new().layer_of_size("large", 100_000).tag("v1");
    let repositories = ["a", "b", "c", "d"];
    let pushed = repositories.map(|repository| image.clone().push_by(&tree, repository));
    let layer = &pushed[0].layers[0];
    tree.storage().remove_blob(layer);
    let damaged = snapshot(tree.root());
    for (size, said) in [(100_000, "hash to"), (100_001, "more than the 100000 bytes")] {
        let liar = ScriptedServer::start();
        liar.fallback(Response::status(200).body("x".repeat(size)));
        let ran = fix(tree.root(), &["--from", liar.host(), "--stopped", "--yes"], &findings(tree.root())).run().status(1);
        let failed: Vec<_> = ran.records_of("repair").into_iter().filter(|repair| repair["action"] == "fetch").collect();
        assert!(failed.len() == 4 && failed.iter().all(|repair| repair["why"].as_str().unwrap().contains(said)), "{ran}");
        let asked = repositories.map(|repository| liar.count("GET", &format!("/v2/{repository}/blobs/{layer}")));
        assert_eq!(asked, [1; 4], "from each that names it, once");
        assert_eq!(changes(&damaged, &snapshot(tree.root())), [""; 0]);
        assert_eq!(ran.the("trailer")["run"], json!(null));
        assert_eq!(std::fs::read_dir(tree.root().join(".reg-fix")).unwrap().count(), 0);
    }
}

#[test]
fn nothing_that_is_in_use_is_taken_away() {
    let (registry, image, index) = registry(|with| with);
    let root = registry.root();
    registry.storage().remove_blob(&image.digest);
    registry.storage().remove_blob(&index.children[1].digest);
    let damaged = snapshot(&root);
    let lost = |in_use: serde_json::Value| {
        [
            by_http("team/app", "manifest-missing", json!({"tag": "v1", "digest": image.digest, "inUse": in_use})),
            by_http("team/multi", "child-missing", json!({"tag": "v1", "digest": index.children[1].digest, "inUse": in_use})),
        ]
    };
    fix(&root, &["--yes"], &lost(json!(false))).run().status(1).stdout_has("--drop").stdout_has("--from");
    fix(&root, &["--drop", "--yes"], &lost(json!(false))).run().status(3).stderr_has("--stopped");
    let ran = fix(&root, &["--drop", "--stopped", "--yes"], &lost(json!(true))).run().status(1).stdout_has("it is in use");
    assert!(told(&ran).iter().all(|one| *one == pair("none", "left")), "{ran}");
    assert_eq!(snapshot(&root), damaged);
    fix(&root, &["--drop", "--stopped", "--yes"], &lost(json!(false))).run().succeeds();
    for repository in ["team/app", "team/multi"] {
        assert_eq!(registry.client().tags(repository), [""; 0]);
    }
    // A platform of it that is whole is left to whoever runs it by its digest.
    skopeo::pull(&registry, &index.children[0].by_digest()).unwrap();
    undo(&root, &["latest", "--yes"]).run().succeeds();
    assert_eq!(changes(&damaged, &snapshot(&root)), [""; 0], "what was moved away comes back at any time");
}

#[test]
fn a_digest_that_runs_is_linked_again_or_fetched() {
    let (registry, image, _) = registry(|with| with);
    let root = registry.root();
    let (mirror, ..) = (self::registry(|with| with).0, ());
    registry.client().delete_manifest("team/app", &image.digest);
    let gone = by_http("team/app", "running-digest-gone", json!({"digest": image.digest, "inUse": true}));
    fix(&root, &["--yes"], std::slice::from_ref(&gone)).run().succeeds();
    skopeo::pull(&registry, &image.by_digest()).unwrap();
    registry.storage().remove_revision("team/app", &image.digest);
    registry.storage().remove_blob(&image.digest);
    registry.storage().remove_blob(&image.layers[1]);
    fix(&root, &["--yes"], std::slice::from_ref(&gone)).run().status(1).stdout_has("--from");
    fix(&root, &["--from", mirror.host(), "--stopped", "--yes"], &[gone]).run().succeeds();
    skopeo::pull(&registry, &image.by_digest()).unwrap();
}
