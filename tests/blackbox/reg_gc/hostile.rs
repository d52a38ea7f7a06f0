//! What nobody does by accident: manifests that name what is not theirs, keys in odd spellings, half a tree, rubbish in our own folder.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::json;
use tests::*;

use super::{count, gc, snapshot, stopped};

fn tree() -> (tempfile::TempDir, Tree) {
    let folder = temporary();
    let tree = Tree::new(folder.path());
    (folder, tree)
}

#[test]
fn no_repository_is_given_a_layer_that_it_never_had() {
    let registry = Registry::with().cache_off().start();
    let private = Image::new().layer("secret").tag("v1").push(&registry, "private/x");
    // The registry looks at config and layers, and takes a manifest with further fields.
    let own = Image::new().layer("own").push(&registry, "public/y");
    let mut manifest = own.manifest();
    manifest["blobs"] = json!([{"mediaType": fixtures::OCI_LAYER, "digest": private.layers[0], "size": 13}]);
    registry.client().put_manifest("public/y", "v1", &own.media_type, manifest.to_string().as_bytes());
    let dead = Image::new().layer("dead").tag("old").push(&registry, "public/y");
    registry.client().delete_manifest("public/y", &dead.digest).expect(202, "deleting an image");
    for _ in 0..2 {
        Tool::new("reg-gc").arg(registry.config_file()).args(["--online", "--grace", "0s", "--yes"]).run().succeeds();
    }
    registry.client().get(&format!("/v2/public/y/blobs/{}", private.layers[0])).expect(404, "somebody else's layer");
    skopeo::pull(&registry, "private/x:v1").unwrap();
}

#[test]
fn a_key_in_another_case_is_not_known_and_holds_its_repository() {
    let registry = Registry::with().cache_off().start();
    let image = Image::new().layer("named oddly").push(&registry, "team/app");
    let odd = String::from_utf8(image.bytes.clone()).unwrap().replace("\"layers\"", "\"Layers\"");
    registry.client().put_manifest("team/app", "odd", &image.media_type, odd.as_bytes());
    registry.client().delete_manifest("team/app", &image.digest).expect(202, "deleting the ordinary one");
    registry.stop();
    stopped(&registry.root(), &["--yes"]).run().status(1).stderr_has("of a kind that is not known");
    registry.restart();
    skopeo::pull(&registry, "team/app:odd").unwrap();
}

#[test]
fn half_a_tree_is_refused() {
    for lost in ["repositories", "blobs"] {
        let (_folder, tree) = tree();
        Image::new().layer("a").tag("v1").push_by(&tree, "team/app");
        let folder = tree.root().join("docker/registry/v2").join(lost);
        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        let before = snapshot(&tree.root().join("docker"));
        for words in [&["--yes"][..], &[]] {
            stopped(tree.root(), words).run().status(3).stderr_has("--allow-missing").stdout_is_empty();
        }
        assert_eq!(snapshot(&tree.root().join("docker")), before);
        stopped(tree.root(), &["--allow-missing"]).run().succeeds();
    }
}

#[test]
fn blobs_behind_a_symbolic_link_are_not_missing() {
    let (_folder, tree) = tree();
    let image = Image::new().layer("a").tag("v1").push_by(&tree, "team/app");
    let elsewhere = temporary();
    let place = tree.root().join("docker/registry/v2/blobs/sha256");
    let moved = elsewhere.path().join("sha256");
    let copied = std::process::Command::new("cp").arg("-a").arg(&place).arg(&moved).status().unwrap();
    assert!(copied.success());
    fs::remove_dir_all(&place).unwrap();
    symlink(&moved, &place).unwrap();
    let ran = stopped(tree.root(), &["--yes", "--allow-missing"]).run().status(1).stderr_has("sha256: is a symbolic link");
    assert!(ran.records_of("reclaim").is_empty(), "{ran}");
    // And one manifest alone.
    fs::remove_file(&place).unwrap();
    fs::rename(&moved, &place).unwrap_or_else(|_| drop(std::process::Command::new("cp").arg("-a").arg(&moved).arg(&place).status()));
    let blob = tree.storage().blob(&image.digest).parent().unwrap().to_owned();
    let away = elsewhere.path().join("manifest");
    assert!(std::process::Command::new("mv").arg(&blob).arg(&away).status().unwrap().success());
    symlink(&away, &blob).unwrap();
    let ran = stopped(tree.root(), &["--yes"]).run().status(1);
    assert!(ran.records_of("reclaim").is_empty(), "{ran}");
    skopeo::pull(&Registry::with().storage_at(tree.root()).cache_off().start(), "team/app:v1").unwrap();
}

#[test]
fn permissions_come_back_too() {
    let (_folder, tree) = tree();
    Image::new().layer("lives").tag("v1").push_by(&tree, "other/app");
    let image = Image::new().layer("a").tag("v1").push_by(&tree, "team/app");
    tree.api_delete("team/app", &image.digest);
    let all = |root: &std::path::Path| {
        let mut folders = vec![root.to_owned()];
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            folders.extend(fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()));
            found.push(folder);
        }
        found
    };
    for folder in all(&tree.root().join("docker")) {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o2775)).unwrap();
    }
    let before = snapshot(&tree.root().join("docker"));
    stopped(tree.root(), &["--yes"]).run().succeeds();
    gc(tree.root(), &["--undo", "latest", "--yes"]).run().succeeds();
    assert_eq!(snapshot(&tree.root().join("docker")), before);
}

#[test]
fn rubbish_in_our_own_folder_stops_nobody() {
    let (_folder, tree) = tree();
    Image::new().layer("lives").tag("v1").push_by(&tree, "team/app");
    tree.put_blob("team/app", b"garbage");
    stopped(tree.root(), &["--yes"]).run().succeeds();
    let own = tree.root().join(".reg-gc");
    let run = fs::read_dir(own.join("trash")).unwrap().next().unwrap().unwrap().path();
    fs::write(run.join("journal.jsonl"), b"\xff\xfe\n{").unwrap();
    fs::create_dir_all(run.join(std::ffi::OsStr::from_bytes(b"not\xfftext/within"))).unwrap();
    fs::write(own.join("candidates"), b"\xff\xff\n").unwrap();
    gc(tree.root(), &["--undo"]).run().succeeds().stdout_has("\"items\":null");
    gc(tree.root(), &["--online", "--grace", "0s", "--yes"]).run().succeeds();
    stopped(tree.root(), &["--keep-trash", "0s", "--yes"]).run().succeeds();
    assert!(!run.exists());
}

#[test]
fn a_run_that_a_wrong_clock_named_does_not_stay_for_ever() {
    let (_folder, tree) = tree();
    Image::new().layer("lives").tag("v1").push_by(&tree, "team/app");
    tree.put_blob("team/app", b"garbage");
    stopped(tree.root(), &["--yes"]).run().succeeds();
    let trash = tree.root().join(".reg-gc/trash");
    let run = fs::read_dir(&trash).unwrap().next().unwrap().unwrap().path();
    fs::rename(run, trash.join("20990101T000000Z")).unwrap();
    stopped(tree.root(), &["--yes"]).run().succeeds();
    assert!(trash.join("20990101T000000Z").exists(), "it is a moment old");
    stopped(tree.root(), &["--keep-trash", "0s", "--yes"]).run().succeeds();
    assert!(!trash.join("20990101T000000Z").exists());
}

#[test]
fn an_upload_with_a_name_that_is_no_text_is_left_alone_and_named() {
    let (_folder, tree) = tree();
    Image::new().layer("lives").tag("v1").push_by(&tree, "team/app");
    let upload = tree.storage().repository("team/app").join("_uploads").join(std::ffi::OsStr::from_bytes(b"not\xfftext"));
    fs::create_dir_all(&upload).unwrap();
    let garbage = tree.put_blob("team/app", b"garbage");
    stopped(tree.root(), &["--yes"]).run().status(1).stderr_has("is no name that a registry gives");
    assert!(upload.exists() && !tree.storage().blob(&garbage).exists());
}

#[test]
fn a_conflict_leaves_the_rest_of_an_undo_alone() {
    let (_folder, tree) = tree();
    Image::new().layer("lives").tag("v1").push_by(&tree, "team/app");
    for repository in ["dead", "gone"] {
        tree.put_blob(repository, repository.as_bytes());
    }
    stopped(tree.root(), &["--yes"]).run().succeeds();
    fs::write(tree.storage().repository("dead"), "a file in the way").unwrap();
    gc(tree.root(), &["--undo", "latest"]).run();
    let undone = gc(tree.root(), &["--undo", "latest", "--yes"]).run();
    assert!(
        tree.storage().blob(&digest_of(b"dead")).exists() && tree.storage().layer_link("gone", &digest_of(b"gone")).exists(),
        "{undone}"
    );
    assert!(undone.code() == Some(0) || undone.code() == Some(1), "{undone}");
}

#[test]
fn the_fuse_counts_what_loses_its_links_while_the_registry_serves() {
    let (_folder, tree) = tree();
    Image::new().layer("lives").tag("v1").push_by(&tree, "team/app");
    for n in 0..3 {
        Image::new().layer(&format!("dead {n}")).push_by(&tree, "team/app");
    }
    let words = ["--online", "--untagged", "--without-in-use", "--grace", "0s", "--yes"];
    gc(tree.root(), &words).args(["--max-delete", "2"]).run().status(3).stderr_has("would go").stdout_is_empty();
    let ran = gc(tree.root(), &words).args(["--max-delete", "9"]).run().succeeds();
    assert_eq!(count(&ran, "revision"), 3, "{ran}");
}
