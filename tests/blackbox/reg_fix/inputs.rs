//! What `reg-fix` reads, and what it does not act on.

use std::fs;

use serde_json::{Value, json};
use tests::*;

use super::{by_http, changes, findings, fix, pair, section, snapshot, told, undo};

fn tree() -> (tempfile::TempDir, Tree) {
    let folder = temporary();
    let tree = Tree::new(folder.path());
    Image::new().layer("base").layer("own").tag("v1").push_by(&tree, "team/app");
    (folder, tree)
}

#[test]
fn a_pipe_says_how_it_ended() {
    let (_folder, tree) = tree();
    tree.storage().empty_tag_link("team/app", "v1");
    let root = tree.root().display();
    let pipe =
        |words: &str| shell(&format!("set -o pipefail; reg-check --store {root} --fail-on never | reg-fix --store {root} {words}")).run();
    pipe("").succeeds().stderr_has("nothing was done: --yes does it");
    pipe("--yes").succeeds().stderr_has("mended: 1 thing").stderr_has("can be undone until");
    pipe("--yes").succeeds().stderr_has("mended: 0 things");
    tree.storage().remove_blob(&tree.tags()[0].2);
    pipe("--yes").status(1).stderr_has("1 left").stdout_has("push it again");
}

#[test]
fn a_report_is_read_as_well_as_a_stream() {
    let (_folder, tree) = tree();
    tree.storage().empty_tag_link("team/app", "v1");
    let mut found = findings(tree.root());
    found.retain(|finding| finding["severity"] == "error");
    let folder = temporary();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let run = |path: &std::path::Path| Tool::new("reg-fix").arg("--store").arg(tree.root()).arg(path).run();
    for path in [
        file("findings.json", serde_json::to_string_pretty(&found).unwrap()),
        file("findings.jsonl", section(&found)),
        file("others.jsonl", section(&[found.clone(), vec![json!({"type": "use", "image": "a"}), json!({"type": "new"})]].concat())),
    ] {
        assert_eq!(told(&run(&path).succeeds()), [pair("link", "planned")], "{}", path.display());
    }
    let cut = section(&found).lines().take(2).map(|line| format!("{line}\n")).collect();
    run(&file("cut.jsonl", cut)).status(3).stderr_has("without the trailer").stdout_is_empty();
    run(&file("bad.jsonl", section(&[json!({"type": "finding", "problem": 7})]))).status(2).stderr_has("line 2").stdout_is_empty();
    run(&file("cut.json", format!("[{}", found[0]))).status(3).stderr_has("cut.json").stdout_is_empty();
    run(&file("bad.json", "[7]".to_owned())).status(2).stderr_has("bad.json");
    // What was thinned only mends less, but what it lacks may say that something is in use.
    let whole = section(&found);
    let thinned = file("thinned.jsonl", whole.replace("\"records\":1", "\"records\":2"));
    run(&thinned).succeeds();
    let drop = |path: &std::path::Path| fix(tree.root(), &["--drop", path.to_str().unwrap()], &[]).run();
    drop(&thinned).status(3).stderr_has("1 of 2 findings").stdout_is_empty();
    drop(&file("whole.jsonl", whole.clone())).succeeds();
    run(&file("partial.jsonl", whole.replace("true", "false"))).succeeds().stderr_has("could not look at everything");
    run(&folder.path().join("absent.json")).status(2).stderr_has("absent.json");
    Tool::new("reg-fix").arg("--store").arg(tree.root()).in_terminal().run().status(2).stdout_has("reg-check --store");
}

#[test]
fn what_is_well_or_costs_only_space_is_skipped() {
    let (_folder, tree) = tree();
    let image = tree.tags()[0].2.clone();
    // One that moved lately is somebody's.
    tests::tree::age(&tree.upload("team/app", 30, b"half").join("data"), 30);
    let before = snapshot(tree.root());
    let mut found = findings(tree.root());
    assert!(!found.is_empty());
    found.extend([
        by_http("team/app", "tag-unreachable", json!({"tag": "v1"})),
        by_http("team/app", "not-asked", json!({"tag": "v1"})),
        by_http("team/app", "tag-moved", json!({"tag": "v1", "severity": "warning"})),
        by_http("team/app", "blob-corrupt", json!({"repository": null, "digest": tree.blobs_of(&image)[0]})),
    ]);
    let ran = fix(tree.root(), &["--yes"], &found).run().succeeds();
    assert!(told(&ran).iter().all(|one| *one == pair("none", "skipped")), "{ran}");
    assert_eq!(told(&ran).len(), found.len());
    assert_eq!(snapshot(tree.root()), before);
    let other = by_http("elsewhere", "tag-unreachable", json!({"tag": "v1"}));
    fix(tree.root(), &["--yes"], std::slice::from_ref(&other)).run().status(1).stdout_has("no such repository");
    fix(tree.root(), &["--yes", "--registry", "localhost:5000"], &[other])
        .run()
        .succeeds()
        .stdout_has("of the registry registry.example.com");
    // What nobody can mend says so.
    let unreadable = by_http("team/app", "unreadable", json!({}));
    fix(tree.root(), &["--yes"], &[unreadable]).run().status(1).stdout_has("look at the disk");
}

#[test]
fn a_finding_that_names_a_repository_alone_means_all_that_is_wrong_there() {
    let (_folder, tree) = tree();
    let whole = snapshot(tree.root());
    let repository = tree.storage().repository("team/app");
    let ghost = || [by_http("team/app", "repository-ghost", json!({"severity": "warning"}))];
    fs::remove_dir_all(repository.join("_layers")).unwrap();
    tree.storage().empty_tag_link("team/app", "v1");
    fix(tree.root(), &["--yes"], &ghost()).run().succeeds();
    assert_eq!(changes(&whole, &snapshot(tree.root())), [""; 0]);
    // Of what has no manifests both forms of reg-check are told the same.
    fs::remove_dir_all(repository.join("_manifests")).unwrap();
    let why = |found: &[Value]| {
        let ran = fix(tree.root(), &["--yes"], found).run().succeeds();
        ran.records_of("repair").iter().filter(|it| it["problem"] == "repository-ghost").map(|it| it["why"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(why(&ghost()), why(&findings(tree.root())));
    fs::create_dir(repository.join("_uploads")).unwrap();
    fs::remove_dir_all(repository.join("_layers")).unwrap();
    assert_eq!(why(&ghost()).len(), 1);
    assert!(why(&ghost())[0].as_str().unwrap().contains("reg-gc"));
}

#[test]
fn damaged_content_is_moved_away_whatever_became_of_its_manifest() {
    let (_folder, tree) = tree();
    let other = Image::new().layer("other").tag("v1").push_by(&tree, "team/other");
    let digest = tree.tags().iter().find(|(repository, ..)| repository == "team/app").unwrap().2.clone();
    let layer = tree.blobs_of(&digest).into_iter().find(|blob| !other.layers.contains(blob)).unwrap();
    tree.storage().overwrite_blob(&layer, b"other");
    let mut found = findings(tree.root());
    found.retain(|finding| finding["digest"] == *layer);
    assert_eq!(found.len(), 1);
    fs::remove_dir_all(tree.storage().repository("team/app").join("_manifests")).unwrap();
    let ran = fix(tree.root(), &["--yes", "--stopped"], &found).run().succeeds();
    assert_eq!(told(&ran), [pair("quarantine", "repaired")]);
    assert!(!tree.storage().blob(&layer).exists());
    fix(tree.root(), &["--yes", "--stopped"], &found).run().succeeds().stdout_has("skipped");
}

#[test]
fn many_repositories_cost_no_more_each() {
    let (_folder, tree) = tree();
    let found: Vec<_> = (0..30_000).map(|n| by_http(&format!("none/of-{n}"), "tag-unreachable", json!({"tag": "v1"}))).collect();
    let began = std::time::Instant::now();
    let ran = fix(tree.root(), &[], &found).run().status(1);
    assert_eq!(told(&ran).len(), found.len());
    // As many of one repository are looked up.
    tree.storage().empty_tag_link("team/app", "v1");
    let found: Vec<_> = (0..30_000).map(|n| by_http("team/app", "tag-unreachable", json!({"tag": format!("v{n}")}))).collect();
    assert_eq!(told(&fix(tree.root(), &[], &found).run().succeeds()).iter().filter(|one| **one == pair("link", "planned")).count(), 1);
    // Squared it takes a minute.
    assert!(began.elapsed() < std::time::Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn runs_are_listed_and_named() {
    let (_folder, tree) = tree();
    undo(tree.root(), &[]).run().succeeds().stderr_has("nothing can be taken back");
    undo(tree.root(), &["20200101T000000Z"]).run().status(2).stderr_has("there is none");
    tree.storage().empty_tag_link("team/app", "v1");
    let damaged = snapshot(tree.root());
    let ran = fix(tree.root(), &["--yes"], &findings(tree.root())).run().succeeds();
    let run = ran.the("trailer")["run"].clone();
    let listed = undo(tree.root(), &[]).run().succeeds().the("run");
    assert_eq!((&listed["run"], &listed["repairs"]), (&run, &json!(1)));
    // To take a link back is to take it away.
    undo(tree.root(), &["latest", "--yes"]).run().status(3).stderr_has("--stopped");
    let shown = undo(tree.root(), &["latest"]).run().succeeds();
    assert_eq!(told(&shown), [pair("link", "planned")]);
    undo(tree.root(), &["latest", "--yes", "--stopped"]).run().succeeds().stderr_has("taken back: 1 thing");
    assert_eq!(snapshot(tree.root()), damaged);
    assert_eq!(undo(tree.root(), &[]).run().succeeds().the("run")["repairs"], 0);
    undo(tree.root(), &["latest", "--yes", "--stopped"]).run().succeeds().stderr_has("taken back: 0 things");
    // What was changed since is left as it is.
    fix(tree.root(), &["--yes"], &findings(tree.root())).run().succeeds();
    let other = Image::new().layer("other").push_by(&tree, "team/app");
    tree.storage().point_tag("team/app", "v1", &other.digest);
    let pushed = snapshot(tree.root());
    undo(tree.root(), &["latest", "--yes", "--stopped"]).run().status(1).stdout_has("changed since");
    assert_eq!(snapshot(tree.root()), pushed);
    let journal = fs::read_dir(tree.root().join(".reg-fix")).unwrap().count();
    assert_eq!(journal, 2);
    fix(tree.root(), &["--yes", "--keep-runs", "0s"], &[]).run().succeeds();
    assert_eq!(fs::read_dir(tree.root().join(".reg-fix")).unwrap().count(), 0, "old runs go");
}

#[test]
fn a_run_that_was_ended_in_the_middle_is_taken_back() {
    let (_folder, tree) = tree();
    tree.storage().empty_tag_link("team/app", "v1");
    let damaged = snapshot(tree.root());
    let ran = fix(tree.root(), &["--yes"], &findings(tree.root())).run().succeeds();
    let journal = tree.root().join(".reg-fix").join(ran.the("trailer")["run"].as_str().unwrap()).join("journal.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    // Up to the line that announces it, and half of the next.
    let started = text.lines().position(|line| line.contains("\"started\"")).unwrap();
    let cut: String = text.lines().take(started + 1).map(|line| format!("{line}\n")).collect();
    fs::write(&journal, format!("{cut}{{\"type\":\"rep")).unwrap();
    undo(tree.root(), &["latest", "--yes", "--stopped"]).run().succeeds();
    assert_eq!(snapshot(tree.root()), damaged);
    assert_eq!(undo(tree.root(), &[]).run().the("run")["repairs"], Value::from(0));
}

#[test]
fn what_is_made_belongs_to_whom_its_folder_belongs_to() {
    use std::os::unix::fs::{MetadataExt as _, chown};
    let (_folder, tree) = tree();
    let owned = |path: &std::path::Path| fs::metadata(path).map(|metadata| (metadata.uid(), metadata.gid())).unwrap();
    let repository = tree.storage().repository("team/app");
    fs::remove_dir_all(repository.join("_layers")).unwrap();
    if chown(&repository, Some(65_534), Some(65_534)).is_err() {
        // Only root may give things away, and who is not root has no registry of another user to mend.
        return;
    }
    let found = findings(tree.root());
    fix(tree.root(), &["--yes"], &found).run().succeeds();
    let link = tree.storage().layer_link("team/app", &tree.layer_links()[0].1);
    for path in [repository.join("_layers").as_path(), link.parent().unwrap(), &link] {
        assert_eq!(owned(path), (65_534, 65_534), "{}", path.display());
    }
    // What lies beside the tree is the root's owner's, so that the registry's user can go on with it.
    let list = |path: &std::path::Path| -> Vec<_> { fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect() };
    chown(tree.root(), Some(65_534), Some(65_534)).unwrap();
    tree.storage().empty_tag_link("team/app", "v1");
    fix(tree.root(), &["--yes"], &findings(tree.root())).run().succeeds();
    Tool::new("reg-gc").arg("--store").arg(tree.root()).args(["--stopped", "--yes"]).run().succeeds();
    let run = list(&tree.root().join(".reg-fix")).into_iter().find(|run| owned(run) == (65_534, 65_534)).unwrap();
    assert_eq!(owned(&run.join("journal.jsonl")), (65_534, 65_534));
    let own = [tree.root().join(".reg-fix"), tree.root().join(".reg-gc")];
    for path in own.iter().chain(&list(&own[1])) {
        assert_eq!(owned(path), (65_534, 65_534), "{}", path.display());
    }
}

#[test]
fn what_may_not_be_written_names_the_way_out() {
    let (_folder, tree) = tree();
    tree.storage().empty_tag_link("team/app", "v1");
    let elsewhere = temporary();
    for name in [".reg-gc", ".reg-fix"] {
        let path = tree.root().join(name);
        let _ = fs::remove_dir_all(&path);
        std::os::unix::fs::symlink(elsewhere.path(), &path).unwrap();
        let ran = fix(tree.root(), &["--yes"], &findings(tree.root())).run().status(2);
        ran.stderr_has(name).stderr_has("put a folder in its place");
        fs::remove_file(&path).unwrap();
    }
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn one_tool_at_a_time_changes_a_storage() {
    let (_folder, tree) = tree();
    tree.storage().empty_tag_link("team/app", "v1");
    let found = findings(tree.root());
    fs::create_dir(tree.root().join(".reg-gc")).unwrap();
    let lock = fs::File::create(tree.root().join(".reg-gc/lock")).unwrap();
    lock.lock().unwrap();
    fix(tree.root(), &["--yes"], &found).run().status(2).stderr_has("another reg-gc or reg-fix is at work");
    fix(tree.root(), &[], &found).run().succeeds();
    drop(lock);
    fix(tree.root(), &["--yes"], &found).run().succeeds();
}

#[test]
fn no_symbolic_link_leads_out_of_the_storage() {
    use std::os::unix::fs::symlink;
    let (_folder, tree) = tree();
    tree.storage().empty_tag_link("team/app", "v1");
    let found = findings(tree.root());
    let elsewhere = temporary();
    fs::write(elsewhere.path().join("link"), "").unwrap();
    let current = tree.storage().tag_link("team/app", "v1").parent().unwrap().to_owned();
    fs::remove_dir_all(&current).unwrap();
    symlink(elsewhere.path(), &current).unwrap();
    fix(tree.root(), &["--yes", "--drop", "--stopped"], &found).run().status(1);
    assert_eq!(fs::read(elsewhere.path().join("link")).unwrap(), b"");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
    // A path that a finding made up leads nowhere.
    let path = json!({"path": "docker/registry/v2/repositories/team/app/../../../../../../etc/passwd", "tag": "v1"});
    fix(tree.root(), &["--yes", "--drop", "--stopped"], &[by_http("team/app", "link-empty", path)]).run().succeeds();
    fix(tree.root(), &["--yes"], &[by_http("../../../../etc", "link-empty", json!({"tag": "v1"}))]).run().status(1);
}

#[test]
fn a_disk_that_is_full_costs_nothing() {
    let (_folder, tree) = tree();
    tree.storage().empty_tag_link("team/app", "v1");
    let (found, damaged) = (findings(tree.root()), snapshot(tree.root()));
    let ran = fix(tree.root(), &["--yes"], &found).disk_full_after(0).run();
    assert_ne!(ran.code(), Some(0), "{ran}");
    assert_eq!(snapshot(tree.root()), damaged, "{ran}");
    fix(tree.root(), &["--yes"], &found).run().succeeds();
}

#[test]
fn records_can_be_read_as_a_table() {
    let (_folder, tree) = tree();
    tree.storage().empty_tag_link("team/app", "v1");
    let found = findings(tree.root());
    fix(tree.root(), &["--format", "table"], &found).run().succeeds().stdout_has("link-empty").stdout_has("planned");
}

#[test]
fn a_run_that_is_killed_is_finished_by_the_next_or_taken_back() {
    let folder = temporary();
    let tree = Tree::new(folder.path());
    for n in 0..400 {
        Image::new().layer("base").layer(&format!("{n}")).tag(&format!("v{n}")).push_by(&tree, "team/app");
        tree.storage().empty_tag_link("team/app", &format!("v{n}"));
    }
    let (found, damaged) = (findings(tree.root()), snapshot(tree.root()));
    let mut words = vec![vec!["undo"], vec![]];
    while let Some(then) = words.pop() {
        let mut running = fix(tree.root(), &["--yes"], &found).spawn();
        running.close_stdin();
        let mended = || {
            tree.tags()
                .iter()
                .filter(|(repository, tag, _)| tree.storage().tag_link(repository, tag).metadata().is_ok_and(|it| it.len() > 0))
                .count()
        };
        // Killed as soon as it has begun, wherever that is.
        let began = std::time::Instant::now();
        while mended() < 5 {
            assert!(began.elapsed() < std::time::Duration::from_secs(60), "nothing was mended");
        }
        running.kill9();
        running.wait();
        if then.is_empty() {
            fix(tree.root(), &["--yes"], &found).run().succeeds();
            assert_eq!(mended(), 400);
        }
        undo(tree.root(), &["all", "--yes", "--stopped"]).run().succeeds();
        assert_eq!(changes(&damaged, &snapshot(tree.root())), [""; 0]);
    }
    // Ended by a kill between the writing of a file and its renaming, which is seldom met.
    let ran = fix(tree.root(), &["--yes"], &found).run().succeeds();
    let journal = tree.root().join(".reg-fix").join(ran.the("trailer")["run"].as_str().unwrap()).join("journal.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    let started = text.lines().position(|line| line.contains("\"started\"")).unwrap();
    let line: Value = serde_json::from_str(text.lines().nth(started).unwrap()).unwrap();
    fs::write(&journal, text.lines().take(started + 1).map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let left = tree.root().join(format!("{}.4711.tmp", line["path"].as_str().unwrap()));
    for words in [&["--yes"][..], &["--undo", "all", "--stopped", "--yes"]] {
        fs::write(&left, "sha256:").unwrap();
        let tool = Tool::new("reg-fix").arg("--store").arg(tree.root()).args(words);
        if words.len() == 1 { tool.stdin(section(&[])) } else { tool }.run().succeeds();
        assert!(!left.exists(), "{words:?}");
    }
}
