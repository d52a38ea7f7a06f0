//! `--untagged` and what is in use: what runs by a digest whose tag moved on is untagged, and stays.

use std::fs;

use serde_json::json;
use tests::*;

use super::{count, gc, items, stopped};

const HOST: &str = "registry.example.com";

/// A repository in which `v1` was moved from one image to another, a month ago; both can be told.
struct Moved {
    _folder: tempfile::TempDir,
    tree: Tree,
    old: Pushed,
}

fn moved() -> Moved {
    let folder = temporary();
    let tree = Tree::new(folder.path());
    let old = Image::new().layer("old").tag("v1").push_by(&tree, "team/app");
    Image::new().layer("new").tag("v1").push_by(&tree, "team/app");
    Image::new().layer("never tagged").push_by(&tree, "team/app");
    tree.age_everything(30);
    Moved { _folder: folder, tree, old }
}

fn untagged(tree: &Tree, inventory: &Inventory, words: &[&str]) -> Ran {
    let file = inventory.write();
    stopped(tree.root(), &["--untagged", "--yes"]).arg("--in-use").arg(file.path()).args(words).run()
}

#[test]
fn a_moved_tag_whose_old_digest_runs_still_pulls() {
    for by in ["digest", "running digest", "config", "another host", "a platform of an index"] {
        let Moved { _folder, tree, old } = moved();
        let index = Index::new().child("linux/amd64", Image::new().layer("amd64")).child("linux/arm64", Image::new().layer("arm64"));
        let index = index.push_by(&tree, "team/app");
        tree.age_everything(30);
        let inventory = Inventory::of("prod").uses_ten_others().uses(HOST, "team/app", "v1");
        let (inventory, runs) = match by {
            "digest" => (inventory.uses_digest(HOST, "team/app", &old.digest), &old),
            "running digest" => (inventory.runs(HOST, "team/app", "v1", &old.digest), &old),
            "config" => (inventory.record(HOST, "team/app", json!({"tag": "v1", "configDigest": old.config})), &old),
            "another host" => (inventory.runs("elsewhere.example.com", "mirror/app", "v1", &old.digest), &old),
            _ => (inventory.runs(HOST, "team/app", "v1", &index.children[1].digest), &index),
        };
        let ran = untagged(&tree, &inventory, &[]).succeeds();
        let registry = Registry::with().storage_at(tree.root()).cache_off().start();
        skopeo::pull(&registry, &runs.by_digest()).unwrap_or_else(|error| panic!("in use by {by}: {error}\n{ran}"));
        skopeo::pull(&registry, "team/app:v1").unwrap();
        assert!(count(&ran, "revision") >= 1, "what nobody uses goes\n{ran}");
    }
}

#[test]
fn what_came_after_the_inventory_stays() {
    let Moved { _folder, tree, old } = moved();
    // The tag was moved after the inventory was taken: what it named before may run.
    let tag = tree.storage().tag_link("team/app", "v1");
    let content = fs::read(&tag).unwrap();
    fs::write(&tag, content).unwrap();
    let inventory = Inventory::of("prod").uses_ten_others().uses(HOST, "team/app", "v1").taken(&ago(std::time::Duration::from_secs(3600)));
    let ran = untagged(&tree, &inventory, &[]).succeeds();
    assert!(tree.storage().revision_link("team/app", &old.digest).exists(), "{ran}");
    // And what was pushed after it may be starting just now.
    let young = Image::new().layer("young").push_by(&tree, "team/app");
    let ran = untagged(&tree, &inventory, &[]).succeeds();
    assert!(tree.storage().revision_link("team/app", &young.digest).exists(), "{ran}");
    assert!(items(&ran, "trashed").blobs.is_empty());
}

#[test]
fn older_than_spares_what_is_young() {
    let Moved { _folder, tree, old } = moved();
    let inventory = Inventory::of("prod").uses_ten_others().uses(HOST, "team/app", "v1");
    let ran = untagged(&tree, &inventory, &["--older-than", "31d"]).succeeds();
    assert_eq!(count(&ran, "revision"), 0, "{ran}");
    let ran = untagged(&tree, &inventory, &["--older-than", "29d"]).succeeds();
    assert_eq!(count(&ran, "revision"), 2, "{ran}");
    assert!(!tree.storage().blob(&old.layers[0]).exists());
}

#[test]
fn an_inventory_that_cannot_be_trusted_is_refused() {
    let Moved { _folder, tree, .. } = moved();
    stopped(tree.root(), &["--untagged", "--yes"]).run().status(3).stderr_has("--without-in-use").stdout_is_empty();
    let whole = || Inventory::of("prod").uses_ten_others().uses(HOST, "team/app", "v1");
    for (inventory, sentence) in [
        (whole().incomplete(), "--allow-incomplete prod"),
        (whole().partial(), "--allow-partial"),
        (whole().taken(&days_ago(3)), "--max-age"),
        (Inventory::of("prod").uses(HOST, "team/app", "v1"), "--min-in-use"),
        (Inventory::of("prod").uses_ten_others().uses(HOST, "team/elsewhere", "v1"), "say whose it is with --registry HOST"),
    ] {
        untagged(&tree, &inventory, &[]).status(3).stderr_has(sentence).stdout_is_empty();
    }
    let file = whole().write();
    let text = fs::read_to_string(file.path()).unwrap();
    let cut = temporary();
    fs::write(cut.path().join("cut.jsonl"), &text[..text.len() - 40]).unwrap();
    let ran = stopped(tree.root(), &["--untagged", "--yes", "--in-use"]).arg(cut.path().join("cut.jsonl")).run().status(3);
    ran.stderr_has("cut").stdout_is_empty();
    assert!(!tree.root().join(".reg-gc/trash").exists(), "nothing was begun");

    // The host says whose storage it is, an alias that it goes by another name; strangers are no witnesses.
    let elsewhere = Inventory::of("prod").uses_ten_others().uses(HOST, "team/elsewhere", "v1");
    untagged(&tree, &elsewhere, &["--registry", "other.example.com", "--dry-run"][..2]).status(3).stderr_has("--alias");
    untagged(&tree, &whole(), &["--not-alias", HOST]).status(3);
    untagged(&tree, &elsewhere, &["--registry", "other.example.com", "--alias", "registry.example.com=other.example.com"]).succeeds();
}

#[test]
fn blobs_come_back_for_what_reg_delete_puts_back() {
    let registry = Registry::with().cache_off().start();
    let image = Image::new().layer("precious").tag("v1").push(&registry, "team/app");
    Image::new().layer("other").tag("v1").push(&registry, "team/other");
    let work = temporary();
    let at = |name: &str| work.path().join(name).display().to_string();
    let script = format!(
        "set -euo pipefail
         reg-list {host} | reg-select --without-in-use --delete-older-than 1d > {plan}
         reg-delete --yes --without-in-use < {plan} > {journal}
         reg-gc --store {root} --stopped --yes > {gc}",
        host = registry.host(),
        plan = at("plan.jsonl"),
        journal = at("journal.jsonl"),
        root = registry.root().display(),
        gc = at("gc.jsonl")
    );
    shell(&script).run().succeeds();
    assert!(!registry.storage().blob(&image.layers[0]).exists());
    let journal = at("journal.jsonl");
    let only = gc(&registry.root(), &["--undo", "--for", &journal, "--yes"]).run().succeeds();
    assert!(items(&only, "restored").blobs.contains_key(&image.layers[0]), "{only}");
    shell(&format!("reg-delete --undo --yes < {journal}")).run().succeeds();
    skopeo::pull(&registry, "team/app:v1").unwrap();
    skopeo::pull(&registry, "team/other:v1").unwrap();
    let rubbish = at("rubbish");
    fs::write(&rubbish, "not a journal\n{\"type\":\"deletion\"\n").unwrap();
    gc(&registry.root(), &["--undo", "--for", &rubbish, "--yes"]).run().status(3).stderr_has("holds no manifest that was deleted");
}
