//! What both versions of Distribution's own collector get wrong, what lies about beside links, and what is left alone.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::json;
use tests::*;

use super::{count, gc, items, mode_words, snapshot, stopped, why};

/// A registry that serves a tree, to say what can be pulled of it. Nothing of it is cached.
fn serve(tree: &Tree) -> Registry {
    Registry::with().storage_at(tree.root()).cache_off().start()
}

fn tree() -> (tempfile::TempDir, Tree) {
    let folder = temporary();
    let tree = Tree::new(folder.path());
    (folder, tree)
}

#[test]
fn multi_arch_images_survive_with_all_their_platforms() {
    let (_folder, tree) = tree();
    let index = Index::new().child("linux/amd64", Image::new().layer("a")).child("linux/arm64", Image::new().layer("b")).tag("v1");
    let nested = Index::new().entry(index.clone()).tag("outer");
    let pushed = index.push_by(&tree, "team/app");
    nested.push_by(&tree, "team/nested");
    let signature = Image::artifact("application/vnd.sig").layer("signature").subject(&pushed).push_by(&tree, "team/app");
    for mode in [Mode::KeepUntagged, Mode::Untagged] {
        stopped(tree.root(), mode_words(mode)).arg("--yes").run().succeeds();
    }
    let registry = serve(&tree);
    // skopeo knows no index in an index; it pulls the inner one by its digest.
    let inner = format!("team/nested@{}", pushed.digest);
    for reference in ["team/app:v1", &inner, &format!("team/app@{}", signature.digest)] {
        skopeo::pull(&registry, reference).unwrap();
    }
    skopeo::inspect(&registry, "team/nested:outer").unwrap();
}

#[test]
fn a_child_that_another_repository_marked_first_is_followed_all_the_same() {
    // An index in `a` whose child is not there (B2), and the same child under a tag's index in `b`; the links of each repository are its own (B3).
    let (_folder, tree) = tree();
    let child = Image::new().layer("shared");
    let index = Index::new().child("linux/amd64", child.clone()).tag("v1");
    let in_a = index.clone().push_by(&tree, "a");
    tree.lose_revision("a", &in_a.children[0].digest);
    index.push_by(&tree, "b");
    let lone = Image::new().layer("tagged in one, untagged in the other");
    lone.clone().push_by(&tree, "c");
    let kept = lone.tag("v1").push_by(&tree, "d");
    stopped(tree.root(), mode_words(Mode::Untagged)).arg("--yes").run().succeeds();
    let registry = serve(&tree);
    skopeo::pull(&registry, "b:v1").unwrap();
    skopeo::pull(&registry, "d:v1").unwrap();
    assert!(!tree.storage().layer_link("c", &kept.layers[0]).exists(), "what is untagged in c loses its links there");
}

#[test]
fn repositories_without_tags_or_layers_are_no_ends_of_the_world() {
    // B4: pushed by digest alone; an index without anything; a failed push that has layers alone.
    let (_folder, tree) = tree();
    let by_digest = Image::new().layer("x").push_by(&tree, "by-digest");
    Index::new().tag("empty").push_by(&tree, "index");
    tree.put_blob("failed", b"half a push");
    Image::new().layer("y").tag("v1").push_by(&tree, "other");
    fs::remove_dir_all(tree.storage().repository("other").join("_layers")).unwrap();
    let ran = stopped(tree.root(), &["--yes"]).run().succeeds();
    assert_eq!((count(&ran, "blob"), count(&ran, "layerLink"), count(&ran, "repository")), (1, 1, 1), "{ran}");
    let registry = serve(&tree);
    skopeo::pull(&registry, &by_digest.by_digest()).unwrap();
    skopeo::inspect(&registry, "index:empty").unwrap();
    let catalog = registry.client().get("/v2/_catalog").expect(200, "the catalog").text();
    assert!(!catalog.contains("failed"), "{catalog}");
}

#[test]
fn a_layer_named_by_sha512_lives() {
    // B10: the link under SHA-512 holds the SHA-256 under which the bytes lie.
    let (_folder, tree) = tree();
    tree.put_image_by_sha512("team/app", "v1", "long");
    let before = snapshot(tree.root());
    let ran = stopped(tree.root(), &["--yes"]).run().succeeds();
    assert!(ran.records_of("reclaim").is_empty(), "{ran}");
    let after: Vec<_> = snapshot(tree.root()).into_iter().filter(|(name, ..)| !name.starts_with(".reg-gc")).collect();
    assert_eq!(before, after);
}

#[test]
fn a_fresh_registry_is_success_and_is_left_as_it_is() {
    let folder = temporary();
    for (path, words) in [("", vec![]), ("docker/registry/v2", vec![]), ("docker/registry/v2/repositories", vec!["--yes"])] {
        fs::create_dir_all(folder.path().join(path)).unwrap();
        let ran = stopped(folder.path(), &words).run().succeeds();
        assert_eq!(ran.the("trailer")["records"], 0, "{ran}");
    }
    assert!(!folder.path().join("docker/registry/v2/blobs").exists());
}

#[test]
fn leftovers_go_and_what_moves_stays() {
    let (_folder, tree) = tree();
    let image = Image::new().layer("a").tag("v1").push_by(&tree, "team/app");
    let dangling = Image::new().layer("b").push_by(&tree, "team/app");
    tree.storage().remove_blob(&dangling.digest);
    tree.empty_layer_folder("team/app", "empty");
    let stray = tree.stray_temporary(&tree.storage().layer_link("team/app", &image.layers[0]));
    let beside_blob = tree.stray_temporary(&tree.storage().blob(&image.digest));
    let stale = tree.upload("team/app", 30, b"half");
    tree.age_everything(30);
    let moving = tree.upload("team/app", 30, b"it began long ago and goes on");
    let young = tree.empty_layer_folder("team/app", "young");
    // Only what is older than the grace goes, and the ctime of blobs cannot be old in a test.
    let ran = stopped(tree.root(), &["--yes", "--grace", "1h"]).run().succeeds();
    let paths: Vec<String> = ran.records_of("reclaim").iter().map(|record| record["path"].as_str().unwrap().to_owned()).collect();
    for gone in [&stray, &beside_blob, &stale, &tree.storage().revision_link("team/app", &dangling.digest)] {
        assert!(!gone.exists(), "{} is still there\n{ran}", gone.display());
    }
    for kept in [&moving, &young] {
        assert!(kept.exists(), "{} is gone\n{ran}", kept.display());
    }
    assert_eq!((count(&ran, "temporary"), count(&ran, "upload"), count(&ran, "revision")), (2, 1, 1), "{paths:#?}");
    skopeo::pull(&serve(&tree), "team/app:v1").unwrap();
}

#[test]
fn empty_repositories_leave_the_catalog_and_come_back() {
    let (_folder, tree) = tree();
    for repository in ["a", "a/b/c", "lives"] {
        Image::new().layer(repository).tag("v1").push_by(&tree, repository);
    }
    for repository in ["a", "a/b/c"] {
        let (_, _, digest) = tree.tags().into_iter().find(|(name, ..)| name == repository).unwrap();
        tree.api_delete(repository, &digest);
    }
    let before = snapshot(&tree.root().join("docker"));
    let ran = stopped(tree.root(), &["--yes"]).run().succeeds();
    assert_eq!(count(&ran, "repository"), 2, "{ran}");
    assert!(!tree.storage().repository("a").exists() && tree.storage().repository("lives").exists());
    let run = ran.the("trailer")["run"].as_str().unwrap().to_owned();
    let listed = gc(tree.root(), &["--undo"]).run().succeeds();
    assert_eq!(listed.the("run")["run"], json!(run), "{listed}");
    assert!(listed.the("run")["bytes"].as_u64() > Some(0), "{listed}");
    let shown = gc(tree.root(), &["--undo", &run]).run().succeeds().stderr_has("nothing was done");
    assert!(shown.records_of("reclaim").iter().all(|record| record["result"] == "planned"));
    let undone = gc(tree.root(), &["--undo", &run, "--yes"]).run().succeeds();
    assert_eq!(items(&undone, "restored"), items(&ran, "trashed"));
    assert_eq!(snapshot(&tree.root().join("docker")), before);
    let empty = gc(tree.root(), &["--undo"]).run().succeeds().stderr_has("the trash is empty");
    assert!(empty.records_of("run").is_empty());
}

#[test]
fn a_link_out_of_the_tree_is_not_followed_and_holds_what_it_may_need() {
    let (_folder, tree) = tree();
    let outside = temporary();
    let elsewhere = Tree::new(outside.path());
    Image::new().layer("outside").push_by(&elsewhere, "team/app");
    let garbage = tree.put_blob("team/app", b"garbage");
    symlink(elsewhere.storage().repository("team"), tree.storage().repository("linked")).unwrap();
    let before = snapshot(outside.path());
    let ran = stopped(tree.root(), &["--yes"]).run().status(1);
    let ran = ran.stderr_has("repositories/linked: is a symbolic link").stderr_has("no blob goes until that is mended");
    assert_eq!(count(&ran, "blob"), 0, "{ran}");
    assert!(tree.storage().blob(&garbage).exists());
    assert_eq!(snapshot(outside.path()), before);

    fs::remove_file(tree.storage().repository("linked")).unwrap();
    let layers = tree.storage().repository("team/app").join("_layers");
    fs::create_dir_all(layers.parent().unwrap()).unwrap();
    let _ = fs::remove_dir_all(&layers);
    symlink(elsewhere.storage().repository("team/app").join("_layers"), &layers).unwrap();
    stopped(tree.root(), &["--yes"]).run().status(1).stderr_has("_layers");
    assert_eq!(snapshot(outside.path()), before);
}

#[test]
fn a_variable_that_is_set_to_nothing_says_nothing() {
    let (_folder, tree) = tree();
    Image::new().layer("a").tag("v1").push_by(&tree, "team/app");
    let variables = ["REG_REGISTRY", "REG_GC_EVERY", "REG_GC_HEALTH", "REG_GC_REDIS", "REG_USER", "REG_PASSWORD", "REG_ALIAS"];
    let tool = variables.iter().fold(stopped(tree.root(), &["--yes"]), |tool, variable| tool.env(variable, ""));
    tool.run().succeeds();
    stopped(tree.root(), &[]).env("REG_GC_EVERY", "6m").run().status(2).stderr_has("--every");
    // A password that somebody put there is repeated to nobody.
    let ran = stopped(tree.root(), &[]).env("REG_REGISTRY", "bob:s3cret@registry.example.com").run().status(2);
    ran.stderr_has("REG_REGISTRY").stderr_lacks("s3cret").stdout_is_empty();
}

#[test]
fn storages_of_others_are_refused() {
    for (file, sentence) in
        [("docker/registry/lockfiles/database-in-use", "GitLab's metadata database"), ("scheduler-state.json", "pull-through cache")]
    {
        let (_folder, tree) = tree();
        let path = tree.root().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "{}").unwrap();
        stopped(tree.root(), &["--yes"]).run().status(3).stderr_has(sentence).stdout_is_empty();
    }
    let folder = temporary();
    let config = folder.path().join("config.yml");
    for (storage, sentence) in [
        ("{s3: {bucket: b, region: r}}", "destroys live images"),
        ("{filesystem: {rootdirectory: /tmp}, s3: {bucket: b}}", "a registry has one"),
        ("{filesystem: {rootdirectory: /tmp}}\nproxy: {remoteurl: https://registry-1.docker.io}", "pull-through cache of"),
        ("{filesystem: {rootdirectory: /tmp}}\nauth: {htpasswd: {realm: harbor-registry-basic-realm, path: /x}}", "Harbor"),
    ] {
        fs::write(&config, format!("version: 0.1\nstorage: {storage}\n")).unwrap();
        Tool::new("reg-gc").arg(&config).args(["--stopped", "--yes"]).run().status(3).stderr_has(sentence).stdout_is_empty();
    }
    // Harbor and GitLab without what gives them away: manifests, and not one tag.
    let (_folder, tree) = tree();
    Image::new().layer("a").push_by(&tree, "project/app");
    stopped(tree.root(), &["--untagged", "--without-in-use"]).run().status(3).stderr_has("not one tag");
}

#[test]
fn what_is_wrong_with_the_storage_is_said_before_anything_is_done() {
    let (_folder, tree) = tree();
    tree.put_blob("team/app", b"garbage");
    let before = snapshot(tree.root());
    // The trash's journal cannot be written: nothing is moved that it does not hold.
    let ran = stopped(tree.root(), &["--yes", "--quiet"]).disk_full_after(0).run().status(2);
    ran.stderr_has("cannot be written");
    let after: Vec<_> = snapshot(tree.root()).into_iter().filter(|(name, ..)| !name.starts_with(".reg-gc")).collect();
    assert_eq!(before, after);
    fs::remove_dir_all(tree.root().join(".reg-gc")).unwrap();
    fs::write(tree.root().join(".reg-gc"), "a file in the way").unwrap();
    stopped(tree.root(), &["--yes"]).run().status(2).stderr_has("cannot be written to").stdout_is_empty();
    stopped(tree.root(), &[]).run().succeeds();
}

#[test]
fn a_read_only_folder_is_looked_at_and_not_acted_on() {
    let (_folder, tree) = tree();
    Image::new().layer("a").tag("v1").push_by(&tree, "team/app");
    tree.put_blob("team/app", b"garbage");
    let mode = |mode: u32| {
        for (name, ..) in snapshot(tree.root()).iter().filter(|(name, ..)| tree.root().join(name).is_dir()) {
            fs::set_permissions(tree.root().join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::set_permissions(tree.root(), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o555);
    let before = snapshot(tree.root());
    let shown = stopped(tree.root(), &[]).as_nobody().run().succeeds();
    assert_eq!(count(&shown, "blob"), 1, "{shown}");
    stopped(tree.root(), &["--yes"]).as_nobody().run().status(2).stderr_has("the storage cannot be written to").stdout_is_empty();
    // What lies in it cannot be moved either, where only our own folder can be written to: it stays, and is named.
    fs::create_dir(tree.root().join(".reg-gc")).unwrap();
    fs::set_permissions(tree.root().join(".reg-gc"), fs::Permissions::from_mode(0o777)).unwrap();
    let ran = stopped(tree.root(), &["--yes"]).as_nobody().run().status(1);
    assert!(ran.records_of("reclaim").iter().all(|record| record["result"] == "failed" && why(record).contains("ermission")), "{ran}");
    let after: Vec<_> = snapshot(tree.root()).into_iter().filter(|(name, ..)| !name.starts_with(".reg-gc")).collect();
    assert_eq!(before, after);
    mode(0o755);
}

#[test]
fn the_fuse_and_the_dry_run_do_nothing() {
    let (_folder, tree) = tree();
    Image::new().layer("a").tag("v1").push_by(&tree, "team/app");
    tree.put_blob("team/app", b"garbage");
    let before = snapshot(tree.root());
    stopped(tree.root(), &["--max-delete", "0", "--yes"]).run().status(3).stderr_has("1 of 4 blobs would go").stdout_is_empty();
    let shown = stopped(tree.root(), &["--max-delete", "10%"]).run().status(3);
    assert_eq!(count(&shown, "blob"), 1);
    stopped(tree.root(), &["--dry-run"]).run().succeeds().stderr_has("nothing was done: --yes does it");
    let after: Vec<_> = snapshot(tree.root()).into_iter().filter(|(name, ..)| !name.starts_with(".reg-gc")).collect();
    assert_eq!(before, after);
    // Bytes come free at once where nobody wants them back.
    let ran = stopped(tree.root(), &["--no-trash", "--yes"]).run().succeeds().stderr_has("for good");
    assert!(ran.the("trailer")["freed"].as_u64() >= Some(7) && ran.the("trailer")["undoUntil"].is_null(), "{ran}");
    assert!(gc(tree.root(), &["--undo"]).run().succeeds().records_of("run").is_empty());
    // What is in the trash comes free when its time is up.
    tree.put_blob("team/app", b"more garbage, which the harness puts there only once");
    stopped(tree.root(), &["--yes"]).run().succeeds();
    let ran = stopped(tree.root(), &["--keep-trash", "0s", "--yes"]).run().succeeds().stderr_has("freed:");
    assert!(ran.the("trailer")["freed"].as_u64() > Some(0), "{ran}");
}

#[test]
fn a_manifest_that_nobody_can_read_holds_its_repository_and_no_other() {
    let (_folder, tree) = tree();
    let broken = Image::new().layer("broken").tag("v1").push_by(&tree, "team/broken");
    tree.put_blob("team/broken", b"who knows what it needs");
    let other = tree.put_blob("team/other", b"nobody needs this");
    tree.storage().truncate_blob(&broken.digest, 20);
    let ran = stopped(tree.root(), &["--yes"]).run().status(1).stderr_has(broken.hex());
    let gone: Vec<_> = items(&ran, "trashed").blobs.into_keys().collect();
    assert_eq!(gone, [other], "{ran}");
    assert_eq!(ran.the("trailer")["complete"], false);
    assert!(ran.records_of("reclaim").iter().all(|record| why(record).is_empty()));
}

#[test]
fn what_a_dead_run_took_and_a_push_relied_on_comes_back() {
    let (_folder, tree) = tree();
    Image::new().layer("other").tag("v1").push_by(&tree, "team/app");
    let image = Image::new().layer("precious").push_by(&tree, "team/app");
    tree.api_delete("team/app", &image.digest);
    stopped(tree.root(), &["--yes"]).run().succeeds();
    assert!(!tree.storage().blob(&image.layers[0]).exists());
    // A registry with a cache took the manifest in the middle of that, and the run was killed before it could look.
    let storage = tree.storage();
    for (path, content) in [
        (storage.blob(&image.digest), &image.bytes[..]),
        (storage.revision_link("team/app", &image.digest), image.digest.as_bytes()),
        (storage.tag_link("team/app", "back"), image.digest.as_bytes()),
        (storage.tag_index_link("team/app", "back", &image.digest), image.digest.as_bytes()),
    ] {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    gc(tree.root(), &["--online", "--grace", "0s", "--yes"]).run().succeeds().stderr_has("something that lives needs it");
    skopeo::pull(&serve(&tree), "team/app:back").unwrap();
}
