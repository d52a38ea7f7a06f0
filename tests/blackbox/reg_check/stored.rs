//! `reg-check` on a storage tree: who uses what is broken, what is read again, what is refused.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tests::*;

use super::{store, told};

/// A tree with an image of two tags and one of its own.
fn tree() -> (tempfile::TempDir, Tree, fixtures::Pushed) {
    let folder = temporary();
    let tree = Tree::new(folder.path());
    let pushed = Image::new().layer("base").layer("own").tag("v1").tag("latest").push_by(&tree, "team/app");
    Image::new().layer("base").tag("v1").push_by(&tree, "team/other");
    (folder, tree, pushed)
}

#[test]
fn a_fault_is_told_with_its_path_and_all_its_tags() {
    let (_folder, tree, pushed) = tree();
    store(tree.root(), &[]).run().succeeds().stderr_has("3 images, 3 healthy");
    tree.storage().remove_blob(&pushed.layers[1]);
    let ran = store(tree.root(), &[]).run().status(1).stderr_has("1 healthy; 1 error");
    assert_eq!(told(&ran), ["blob-missing error latest"]);
    let finding = ran.the("finding");
    assert_eq!(finding["tags"], json!(["latest", "v1"]));
    let path = tree.storage().blob(&pushed.layers[1]);
    assert_eq!(finding["path"], path.strip_prefix(tree.root()).unwrap().to_str().unwrap());
    assert_eq!((&finding["manifest"], &finding["digest"]), (&json!(pushed.digest), &json!(pushed.layers[1])));
    assert_eq!((&finding["inUse"], &finding["usedBy"], &finding["registry"]), (&Value::Null, &json!([]), &Value::Null));
    let trailer = ran.the("trailer");
    let totals = ["images", "healthy", "errors", "warnings", "unknown"].map(|key| trailer[key].as_u64().unwrap());
    assert_eq!((totals, &trailer["complete"]), ([3, 1, 1, 0, 0], &json!(true)), "{trailer}");
    // The layer that both share is the fault of both.
    tree.storage().remove_blob(&pushed.layers[0]);
    let ran = store(tree.root(), &["--fail-on", "never", "--registry", "registry.example.com"]).run().succeeds();
    assert_eq!(told(&ran).len(), 3);
    assert!(ran.records_of("finding").iter().all(|finding| finding["registry"] == "registry.example.com"));
    let ran = store(tree.root(), &["--repository", "team/other"]).run().status(1);
    assert_eq!(told(&ran), ["blob-missing error v1"]);
    // No deeper than it was asked to look.
    store(tree.root(), &["--depth", "config"]).run().succeeds();
}

#[test]
fn everything_healthy_is_written_when_it_is_asked_for() {
    let (_folder, tree, _) = tree();
    let ran = store(tree.root(), &["--all"]).run().succeeds();
    let told: Vec<String> = ran.records_of("finding").iter().map(|it| format!("{}:{}", it["repository"], it["tag"])).collect();
    assert_eq!(told, ["\"team/app\":\"latest\"", "\"team/app\":\"v1\"", "\"team/other\":\"v1\""]);
    assert!(ran.records_of("finding").iter().all(|finding| finding["problem"] == "none" && finding["severity"] == "ok"));
}

#[test]
fn who_uses_it_decides_how_bad_it_is() {
    let (_folder, tree, pushed) = tree();
    tree.storage().remove_blob(&pushed.layers[1]);
    let host = "registry.example.com";
    let severity = |inventory: Inventory, words: &[&str]| {
        let file = inventory.write();
        let ran = store(tree.root(), &["--fail-on", "never", "--in-use", file.path().to_str().unwrap()]).args(words).run().succeeds();
        let finding = ran.the("finding");
        (finding["severity"].as_str().unwrap().to_owned(), finding["inUse"].clone(), finding["usedBy"].to_string())
    };
    let of = || Inventory::of("prod");
    let nobody = ("warning".to_owned(), json!(false), "[]".to_owned());
    assert_eq!(severity(of().uses(host, "team/other", "v1"), &[]), nobody);
    // A pod runs it: by a tag, whichever of them; by its digest, wherever that lies; by a config digest.
    let runs = |fields: Value| of().record(host, "team/app", fields);
    let (how, in_use, by) = severity(runs(json!({"tag": "v1", "pods": 2, "pod": "web-1"})), &[]);
    assert_eq!((how.as_str(), in_use), ("error", json!(true)));
    assert!(by.contains("(pod web-1)"), "{by}");
    assert_eq!(severity(of().uses_digest("elsewhere.example.com", "x/y", &pushed.digest), &[]).0, "error");
    // A template alone.
    let (how, in_use, _) = severity(runs(json!({"tag": "latest", "pods": 0, "pod": null})), &[]);
    assert_eq!((how.as_str(), in_use), ("warning", json!(true)));
    // It is said whose storage it is, and the name is another's: the same path counts, until it is said that they are strangers.
    assert_eq!(severity(runs(json!({"tag": "v1"})), &["--registry", "other.example.com"]).0, "error");
    assert_eq!(severity(runs(json!({"tag": "v1"})), &["--registry", "other.example.com", "--not-alias", host]), nobody);
    assert_eq!(
        severity(runs(json!({"tag": "v1"})), &["--registry", "other.example.com", "--alias", "registry.example.com=other.example.com"]).0,
        "error"
    );
    // One that was cut says nothing.
    let file = of().uses(host, "team/app", "v1").cut().write();
    store(tree.root(), &["--in-use", file.path().to_str().unwrap()]).run().status(3).stdout_is_empty();
}

#[test]
fn what_is_in_use_and_not_there_is_told() {
    let (_folder, tree, pushed) = tree();
    let host = "registry.example.com";
    let ran = |inventory: Inventory, words: &[&str]| {
        let file = inventory.write();
        let words = [&["--fail-on", "never", "--in-use", file.path().to_str().unwrap()], words].concat();
        store(tree.root(), &words).run().succeeds()
    };
    let of = || Inventory::of("prod");
    let own = ["--registry", host];
    let gone = digest_of(b"gone");
    assert_eq!(told(&ran(of().uses(host, "team/app", "v1").runs(host, "team/app", "v1", &pushed.digest), &own)), [""; 0]);
    assert_eq!(told(&ran(of().uses(host, "team/app", "v9"), &own)), ["manifest-missing error v9"]);
    assert_eq!(told(&ran(of().uses_digest(host, "team/app", &gone), &own)), ["manifest-missing error -"]);
    let ran_gone = ran(of().runs(host, "team/app", "v1", &gone), &own);
    assert_eq!(told(&ran_gone), ["running-digest-gone error -"]);
    assert_eq!(ran_gone.the("finding")["usedBy"], json!(["prod/shop/Deployment/app0 (pod app0-0)"]));
    assert_eq!(told(&ran(of().uses(host, "team/none", "v1"), &own)), ["repository-ghost error -"]);
    assert_eq!(
        told(&ran(
            of().uses("alias.example.com", "team/none", "v1"),
            &[&own[..], &["--alias", "alias.example.com=registry.example.com"]].concat()
        )),
        ["repository-ghost error -"]
    );
    assert_eq!(told(&ran(of().uses(host, "team/none", "v1"), &["--registry", host, "--exclude", "team/none"])), [""; 0]);
    // What runs is there, and the tag leads elsewhere by now. A runtime may tell the config.
    let newer = Image::new().layer("newer").tag("v1").push_by(&tree, "team/app");
    let moved = ran(of().runs(host, "team/app", "v1", &pushed.digest), &own);
    assert!(told(&moved).contains(&"tag-moved info v1".to_owned()), "{moved}");
    assert_eq!(told(&ran(of().runs(host, "team/app", "v1", &newer.config), &own)), [""; 0]);
    // Other registries, and a storage of which nobody says whose it is.
    assert_eq!(told(&ran(of().uses("other.example.com", "team/none", "v1"), &own)), [""; 0]);
    let unnamed = ran(of().uses(host, "team/none", "v1"), &[]);
    assert_eq!(told(&unnamed.stderr_has("whose storage is it")), [""; 0]);
}

/// What a run does not look at is not taken for read by the next one: of its operands, of what it may not read, of what is not mounted.
#[test]
fn a_state_tells_of_what_was_looked_at_alone() {
    let (folder, tree, pushed) = tree();
    let state = folder.path().join("state.json");
    let blobs = tree.root().join("docker/registry/v2/blobs");
    let content = |words: &[&str]| store(tree.root(), &[&["--depth", "content", "--fail-on", "never"], words].concat());
    let ran = |words: &[&str]| content(&[&["--since", state.to_str().unwrap()], words].concat());
    let bad = tree.storage().blob(&pushed.layers[1]);
    let overwritten = [b"other", &fs::read(&bad).unwrap()[5..]].concat();
    fs::write(&bad, overwritten).unwrap();
    let is_told = |run: Tool| told(&run.run().succeeds()) == ["blob-corrupt error latest"];
    let later = || set_time(&state, "2100-01-01T00:00:00Z");
    // The first run reads all, also where one came before it that could not.
    let away = folder.path().join("away");
    for volume in ["docker", "docker/registry/v2/blobs"] {
        fs::rename(tree.root().join(volume), &away).unwrap();
        ran(&[]).run().stderr_has("not all of the storage was looked at");
        fs::rename(&away, tree.root().join(volume)).unwrap();
        assert!(!state.exists(), "{volume}");
    }
    ran(&["--repository", "team/other"]).run().succeeds().stderr_has("left to the next run");
    assert!(!state.exists());
    assert!(is_told(ran(&[])));
    for narrowed in [&["--repository", "team/other"][..], &["--exclude", "team/app"]] {
        later();
        ran(narrowed).run().succeeds();
        assert!(is_told(ran(&[])), "{narrowed:?}");
    }
    for volume in ["docker", "docker/registry/v2/blobs"] {
        later();
        fs::rename(tree.root().join(volume), &away).unwrap();
        ran(&[]).run();
        fs::rename(&away, tree.root().join(volume)).unwrap();
        assert!(is_told(ran(&[])), "{volume}");
    }
    // What may not be looked at now, and is none of what was damaged before.
    for closed in [&blobs.join("sha256"), bad.ancestors().nth(2).unwrap(), bad.parent().unwrap(), &bad] {
        let before = json!({"tool": "reg-check", "schema": 1, "root": tree.root(), "time": "2000-01-01T00:00:00Z", "damaged": []});
        fs::write(&state, before.to_string()).unwrap();
        chmod("a+rwX", folder.path());
        chmod("go-rwx", closed);
        ran(&[]).as_nobody().run().stdout_has("unreadable");
        chmod("go+rX", closed);
        let after: Value = serde_json::from_str(&fs::read_to_string(&state).unwrap()).unwrap();
        let is_known = after["damaged"] == json!([pushed.layers[1]]);
        assert!(is_known || (after["time"] == before["time"] && after["damaged"] == json!([])), "{}: {after}", closed.display());
    }
}

fn chmod(mode: &str, path: &std::path::Path) {
    process::output_of(std::process::Command::new("chmod").args(["-R", mode]).arg(path));
}

#[test]
fn content_is_read_once_and_what_is_damaged_again() {
    let (folder, tree, pushed) = tree();
    let state = folder.path().join("state.json");
    let ran = |words: &[&str]| {
        let words = [&["--depth", "content", "--fail-on", "never", "--since", state.to_str().unwrap()], words].concat();
        let ran = store(tree.root(), &words).run().succeeds();
        (told(&ran), ran.the("trailer")["hashed"].as_u64().unwrap())
    };
    let (found, all) = ran(&[]);
    assert_eq!(found, [""; 0]);
    assert!(all > 0);
    // The time of change is what counts, which nobody can set back; and the state is ten minutes older than its run.
    tree.age_everything(3);
    assert_eq!(ran(&[]), (vec![], all));
    set_time(&state, "2100-01-01T00:00:00Z");
    assert_eq!(ran(&[]), (vec![], 0));
    // Something new is read, and what is found damaged is read again until it is well.
    let path = tree.storage().blob(&pushed.layers[1]);
    let good = fs::read(&path).unwrap();
    fs::write(&path, good.iter().map(|byte| byte ^ 1).collect::<Vec<u8>>()).unwrap();
    let (found, _) = ran(&[]);
    assert_eq!(found, ["blob-corrupt error latest"]);
    set_time(&state, "2100-01-01T00:00:00Z");
    let (found, hashed) = ran(&[]);
    assert_eq!((found, hashed), (vec!["blob-corrupt error latest".to_owned()], good.len() as u64));
    fs::write(&path, &good).unwrap();
    set_time(&state, "2100-01-01T00:00:00Z");
    assert_eq!(ran(&[]), (vec![], good.len() as u64));
    set_time(&state, "2100-01-01T00:00:00Z");
    assert_eq!(ran(&[]), (vec![], 0));
    // Of a repository alone its own content.
    let other = fs::read(tree.storage().blob(&pushed.layers[0])).unwrap().len() as u64;
    fs::remove_file(&state).unwrap();
    let (_, hashed) = ran(&["--repository", "team/other"]);
    assert!(hashed > other && hashed < all, "{hashed} of {all}");
    // Without a state all is new, whatever the sample.
    assert!(!state.exists(), "who looked at a part leaves the rest to be read");
    assert_eq!(ran(&["--sample", "1%"]), (vec![], all));
    // A link to the state stays one.
    let moved = folder.path().join("elsewhere.json");
    fs::rename(&state, &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &state).unwrap();
    assert_eq!(ran(&[]).1, all);
    assert!(state.is_symlink() && moved.is_file());
    // A sample is read whatever is new.
    set_time(&state, "2100-01-01T00:00:00Z");
    assert_eq!(ran(&["--sample", "100%"]), (vec![], all));
    // A state of something else is no state.
    store(temporary().path(), &["--depth", "content", "--since", state.to_str().unwrap()]).run().status(2).stderr_has("is of the storage");
    fs::write(&state, "{}").unwrap();
    store(tree.root(), &["--depth", "content", "--since", state.to_str().unwrap()])
        .run()
        .status(2)
        .stderr_has("no state that reg-check has written");
    store(tree.root(), &["--since", state.to_str().unwrap()]).run().status(2).stderr_has("--depth content");
    for percent in ["0%", "101%", "x", "-1"] {
        store(tree.root(), &["--depth", "content", &format!("--sample={percent}")]).run().status(2).stderr_has("such as 5%");
    }
}

/// Moves the state to another time.
fn set_time(state: &std::path::Path, time: &str) {
    let mut value: Value = serde_json::from_str(&fs::read_to_string(state).unwrap()).unwrap();
    value["time"] = json!(time);
    fs::write(state, value.to_string()).unwrap();
}

#[test]
fn a_registry_that_is_pushed_to_is_found_well() {
    let registry = Registry::with().cache_off().start();
    let push = |n: usize| {
        Image::new().layer(&format!("layer {}", n % 5)).label("n", &n.to_string()).tag(&format!("v{}", n % 7)).push(&registry, "team/app")
    };
    push(0);
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let pushing = scope.spawn(|| (1..5000).take_while(|_| !enough.load(Ordering::Relaxed)).map(push).count());
        let runs: Vec<Ran> = (0..40).map(|_| store(&registry.root(), &["--fail-on", "unknown"]).run()).collect();
        enough.store(true, Ordering::Relaxed);
        assert!(pushing.join().unwrap() > 10);
        for ran in runs {
            let ran = ran.succeeds();
            assert!(ran.records_of("finding").iter().all(|finding| finding["severity"] == "info"), "{ran}");
        }
    });
    // The configuration, and the process, lead to the same storage.
    let by = |tool: Tool| tool.args(["--all"]).run().succeeds().records_of("finding");
    let all = by(store(&registry.root(), &[]));
    assert_eq!(by(Tool::new("reg-check").arg("--config").arg(registry.config_file())), all);
    assert_eq!(by(Tool::new("reg-check").arg(format!("--from-process={}", registry.pid()))), all);
}

#[test]
fn what_is_no_storage_is_said() {
    let folder = temporary();
    // A volume that is not mounted looks like a storage to which nothing was pushed.
    let ran = store(folder.path(), &[]).run().succeeds();
    assert_eq!((told(&ran), &ran.the("trailer")["complete"]), (vec!["not-asked unknown -".to_owned()], &json!(false)));
    store(folder.path(), &["--format", "nagios"]).run().status(3).stdout_has("nothing was ever pushed there");
    fs::create_dir_all(folder.path().join("docker/registry/v2")).unwrap();
    store(folder.path(), &["--fail-on", "unknown"]).run().succeeds();
    store(folder.path(), &["--format", "nagios"]).run().status(3).stdout_has("no image to be checked");
    store(&folder.path().join("none"), &[]).run().status(2).stderr_has("rootdirectory").stdout_is_empty();
    fs::create_dir_all(folder.path().join("docker/registry/lockfiles")).unwrap();
    fs::write(folder.path().join("docker/registry/lockfiles/database-in-use"), "").unwrap();
    store(folder.path(), &[]).run().status(3).stderr_has("GitLab").stdout_is_empty();
    store(folder.path(), &["registry.example.com"]).run().status(2).stderr_has("cannot be used with");
}

#[test]
fn what_cannot_be_read_is_unknown() {
    use std::os::unix::fs::symlink;
    let (folder, tree, pushed) = tree();
    let blob = tree.storage().blob(&pushed.layers[1]);
    fs::rename(&blob, folder.path().join("elsewhere")).unwrap();
    symlink(folder.path().join("elsewhere"), &blob).unwrap();
    let ran = store(tree.root(), &["--fail-on", "error"]).run().succeeds();
    assert!(told(&ran).iter().all(|told| told.starts_with("unreadable unknown")), "{ran}");
    assert_eq!(ran.the("trailer")["complete"], json!(false));
    store(tree.root(), &["--fail-on", "warning"]).run().succeeds();
    store(tree.root(), &["--fail-on", "unknown"]).run().status(1);
}
