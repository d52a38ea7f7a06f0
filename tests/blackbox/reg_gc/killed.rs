//! Runs that end in the middle: by the power, by a signal, by a reader that goes away. What they leave is garbage and nothing else.
//!
//! A run that writes more records than a pipe holds waits for its reader in the middle of its sweep: there it is ended.

use std::fs;
use std::time::Duration;

use tests::*;

use super::beside::wait_until;
use super::{snapshot, stopped};

const WORDS: [&str; 3] = ["--untagged", "--without-in-use", "--yes"];
const REPOSITORIES: usize = 4;

/// Far more records than a pipe and our buffer hold: each tag was moved many times.
fn tree() -> (tempfile::TempDir, Tree) {
    let folder = temporary();
    let tree = Tree::new(folder.path());
    for n in 0..REPOSITORIES * 60 {
        Image::new().layer("base").layer(&format!("{n}")).tag("v1").push_by(&tree, &format!("team/app{}", n % REPOSITORIES));
    }
    (folder, tree)
}

/// How many files and folders are still there.
fn left(tree: &Tree) -> usize {
    let mut folders = vec![tree.root().join("docker")];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        // What goes while we look counts as gone.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            count += 1;
            folders.extend(entry.file_type().is_ok_and(|kind| kind.is_dir()).then(|| entry.path()));
        }
    }
    count
}

/// Starts a run, reads so many of its records and then no more, and gives it as soon as it does not get on.
fn stuck(tree: &Tree, records: usize, words: &[&str]) -> Running {
    let all = left(tree);
    let mut running = stopped(tree.root(), &WORDS).args(words).spawn();
    for _ in 0..records {
        running.read_line().expect("it has more to say");
    }
    let threads = format!("/proc/{}/task", running.pid());
    let sleeps = || {
        let mut states = fs::read_dir(&threads).unwrap().filter_map(|task| fs::read_to_string(task.unwrap().path().join("stat")).ok());
        states.all(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" S")))
    };
    let gets_on = || {
        let before = left(tree);
        std::thread::sleep(Duration::from_millis(50));
        !sleeps() || left(tree) < before
    };
    wait_until(|| left(tree) < all && !gets_on() && !gets_on(), "it waits for its reader in the middle of its sweep");
    running
}

fn pulls(tree: &Tree) {
    let registry = Registry::with().storage_at(tree.root()).cache_off().start();
    for n in 0..REPOSITORIES {
        skopeo::pull(&registry, &format!("team/app{n}:v1")).unwrap();
    }
}

#[test]
fn whoever_is_killed_is_followed_by_one_who_finishes() {
    let (_folder, tree) = tree();
    let docker = tree.root().join("docker");
    let whole = snapshot(&docker);
    // Among the manifests, among the links to layers, among the blobs.
    for records in [0, 400, 900] {
        let running = stuck(&tree, records, &[]);
        running.kill9();
        let _ = running.wait();
        pulls(&tree);
        // What it took comes back byte for byte, though its journal was cut.
        super::gc(tree.root(), &["--undo", "latest", "--yes"]).run().succeeds();
        assert!(snapshot(&docker) == whole, "undone, after {records} records");
    }
    // One after another, each where the last was ended: before it takes anything, in the middle, at its end.
    for records in [0, 400] {
        stuck(&tree, records, &[]).kill9();
    }
    for delay in [0, 3, 6, 9, 12, 15, 20, 25, 30, 40] {
        let running = stopped(tree.root(), &WORDS).spawn();
        std::thread::sleep(Duration::from_millis(delay));
        running.kill9();
        let _ = running.wait();
    }
    let again = stopped(tree.root(), &WORDS).run().succeeds();
    pulls(&tree);
    let nothing = stopped(tree.root(), &WORDS).run().succeeds();
    assert!(nothing.records_of("reclaim").is_empty(), "{nothing}\nafter\n{again}");
    super::gc(tree.root(), &["--undo", "all", "--yes"]).run().succeeds();
    assert!(snapshot(&docker) == whole, "all of them undone");
}

#[test]
fn after_runs_where_a_sweep_is_ended() {
    let (_folder, tree) = tree();
    let docker = tree.root().join("docker");
    let whole = snapshot(&docker);
    let mark = tree.root().join("after");
    let running = stuck(&tree, 0, &["--after", &format!("echo after >> {}", mark.display())]);
    process::signal(running.pid(), "TERM");
    let ran = running.wait().status(2).stderr_has("stopped by SIGTERM");
    assert_eq!(fs::read_to_string(&mark).unwrap(), "after\n");
    is_half_done(&tree, &ran);
    pulls(&tree);
    super::gc(tree.root(), &["--undo", "latest", "--yes"]).run().succeeds();
    assert!(snapshot(&docker) == whole, "undone");
}

#[test]
fn a_reader_that_goes_away_ends_it() {
    let (_folder, tree) = tree();
    let mut running = stuck(&tree, 0, &[]);
    running.close_stdout();
    let ran = running.wait().status(2);
    is_half_done(&tree, &ran);
    pulls(&tree);
}

/// Some of the garbage is gone, and some of it is there.
fn is_half_done(tree: &Tree, ran: &Ran) {
    let layers = tree.layer_links();
    let there = layers.iter().filter(|(name, digest)| tree.storage().layer_link(name, digest).exists()).count();
    assert!(there > 3 * REPOSITORIES, "links to layers go after manifests, and {there} of {} are there\n{ran}", layers.len());
    let mut revisions = tree.revisions().into_iter();
    assert!(revisions.any(|(name, digest)| !tree.storage().revision_link(&name, &digest).exists()), "nothing is gone\n{ran}");
}
