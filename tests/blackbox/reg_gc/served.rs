//! Beside a running registry: whether it may be touched, what it remembers, and the two generations.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;
use tests::*;

use super::{count, items, stopped};

/// `reg-gc CONFIG`.
fn by_config(registry: &Registry, words: &[&str]) -> Tool {
    Tool::new("reg-gc").arg(registry.config_file()).args(words)
}

/// A client that asks for each blob before it sends it, as all clients do; and notes where a manifest was refused.
struct Asking<'a> {
    client: &'a Client,
    refused: std::cell::Cell<bool>,
}

impl fixtures::Place for Asking<'_> {
    fn put_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = digest_of(bytes);
        let there = self.client.send("HEAD", &format!("/v2/{repository}/blobs/{digest}"), &[], b"").status == 200;
        if there { digest } else { self.client.put_blob(repository, bytes) }
    }

    fn put_manifest(&self, repository: &str, reference: &str, media_type: &str, bytes: &[u8]) -> String {
        let target = format!("/v2/{repository}/manifests/{reference}");
        let answer = self.client.send("PUT", &target, &[("Content-Type", media_type)], bytes);
        assert!([201, 400].contains(&answer.status), "{}: {}", answer.status, answer.text());
        self.refused.set(answer.status == 400);
        digest_of(bytes)
    }
}

/// Pushes an image as clients do; `None` where the registry said that it lacks a part of it.
fn try_push(registry: &Registry, image: Image) -> Option<Pushed> {
    let asking = Asking { client: registry.client(), refused: false.into() };
    let pushed = image.push_by(&asking, "team/app");
    (!asking.refused.get()).then_some(pushed)
}

/// A registry with a live image and one that was deleted.
fn with_garbage(registry: &Registry) -> Pushed {
    Image::new().layer("lives").tag("v1").push(registry, "team/app");
    push_and_delete(registry)
}

fn push_and_delete(registry: &Registry) -> Pushed {
    let dead = Image::new().layer("dead").tag("old").push(registry, "team/app");
    registry.client().delete_manifest("team/app", &dead.digest).expect(202, "deleting an image");
    dead
}

#[test]
fn a_registry_that_writes_is_not_touched_and_one_that_proves_that_it_does_not_is() {
    let mut registry = Registry::with().cache_off().start();
    let dead = with_garbage(&registry);
    for words in [&["--yes"][..], &["--yes", "--stopped"]] {
        by_config(&registry, words).run().status(3).stderr_has("can be written to").stdout_is_empty();
    }
    by_config(&registry, &[]).run().succeeds().stderr_has("--yes needs --online");
    // Nobody who could be asked, nobody who says so; a refused connection proves nothing.
    let nobody = format!("http://127.0.0.1:{}", ports::free_port());
    for words in [&["--yes"][..], &["--yes", "--probe", &nobody]] {
        super::gc(&registry.root(), words).run().status(3).stderr_has("--stopped").stdout_is_empty();
    }
    assert!(registry.storage().blob(&dead.layers[0]).exists());

    registry.restart_with("/storage/maintenance/readonly", json!({"enabled": true}));
    by_config(&registry, &[]).run().succeeds().stderr_has("the registry is read-only");
    // One of two replicas that can be asked is not enough.
    let url = registry.url();
    by_config(&registry, &["--yes", "--probe", &url, "--probe", &nobody]).run().status(3);
    let ran = by_config(&registry, &["--yes"]).run().succeeds();
    assert_eq!(count(&ran, "blob"), 3, "{ran}");
    skopeo::pull(&registry, "team/app:v1").unwrap();
}

#[test]
fn after_runs_whatever_happens() {
    let registry = Registry::with().read_only().cache_off().start();
    let work = temporary();
    let mark = work.path().join("after");
    let after = format!("echo after >> {}", mark.display());
    let ran = by_config(&registry, &["--yes", "--before", "echo before", "--after", &after]).run().succeeds();
    ran.stderr_has("before").stderr_has("STILL READ-ONLY").stdout_has("\"trailer\"");
    by_config(&registry, &["--yes", "--before", "exit 7", "--after", &after]).run().status(2).stderr_has("--before");
    by_config(&registry, &["--yes", "--max-delete", "0", "--redis", "127.0.0.1:1", "--after", &after]).run().status(2);
    let running = by_config(&registry, &["--yes", "--before", "sleep 2", "--after", &after]).spawn();
    let lock = registry.root().join(".reg-gc/lock");
    wait_until(|| lock.exists() && stopped(&registry.root(), &["--yes"]).run().code() == Some(2), "the lock is held");
    process::signal(running.pid(), "TERM");
    running.wait().status(2).stderr_has("SIGTERM");
    assert_eq!(fs::read_to_string(&mark).unwrap().lines().count(), 4);
}

fn wait_until(holds: impl Fn() -> bool, what: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_redis_remembers_is_forgotten_with_what_went() {
    for forgets in [true, false] {
        let redis = Redis::start();
        let registry = Registry::with().redis(&redis).start();
        let dead = with_garbage(&registry);
        // Its layers are in the cache of both kinds.
        let key = format!("blobs::{}", dead.layers[0]);
        let lives = Image::new().layer("lives").tag("v1").push(&registry, "team/app");
        skopeo::pull(&registry, "team/app:v1").unwrap();
        assert!(!redis.keys(&key).is_empty(), "{:?}", redis.keys("*"));
        let stop = |registry: &Registry| registry.stop();
        // The tool is told that nobody writes; the registry is started again with what Redis has.
        stop(&registry);
        let before = redis.keys("*").len();
        let tool = if forgets { by_config(&registry, &["--stopped", "--yes"]) } else { stopped(&registry.root(), &["--yes"]) };
        let ran = tool.run().succeeds();
        assert!(count(&ran, "blob") >= 3, "{ran}");
        registry.restart();
        assert_eq!(redis.keys(&key).is_empty(), forgets);
        assert!(!redis.keys(&format!("blobs::{}", lives.layers[0])).is_empty(), "what lives is still there");
        assert_eq!(redis.keys("*").len() < before, forgets);
        try_push(&registry, Image::new().layer("dead").tag("again"));
        assert_eq!(skopeo::pull(&registry, "team/app:again").is_ok(), forgets, "forgets: {forgets}");
        skopeo::pull(&registry, "team/app:v1").unwrap();
    }
}

#[test]
fn links_go_in_one_run_and_blobs_in_a_later_one() {
    let registry = Registry::with().cache_off().start();
    let dead = with_garbage(&registry);
    let online = |grace: &str| by_config(&registry, &["--online", "--yes", "--grace", grace]).run();
    let young = online("1h").succeeds();
    assert!(young.records_of("reclaim").is_empty(), "{young}");
    let first = online("0s").succeeds().stderr_has("can go from");
    assert_eq!((count(&first, "blob"), first.the("trailer")["next"]["count"].as_u64()), (0, Some(3)), "{first}");
    assert!(count(&first, "layerLink") >= 2 && registry.storage().blob(&dead.layers[0]).exists());
    // A push in between is told that the layer is not there, and sends it: it stays.
    let again = Image::new().layer("dead").label("again", "1").tag("again").push(&registry, "team/app");
    let second = online("0s").succeeds();
    assert_eq!(items(&second, "trashed").blobs.len(), 2, "the old config and manifest\n{second}");
    skopeo::pull(&registry, "team/app:again").unwrap();
    skopeo::pull(&registry, &again.by_digest()).unwrap();
    skopeo::pull(&registry, "team/app:v1").unwrap();
}

#[test]
fn with_a_cache_in_memory_blobs_wait_for_a_restart() {
    let registry = Registry::with().in_memory_cache().start();
    with_garbage(&registry);
    let online = |words: &[&str]| by_config(&registry, &["--online", "--yes", "--grace", "0s"]).args(words).run();
    let first = online(&[]).succeeds().stderr_has("RESTART THE REGISTRY");
    assert!(count(&first, "layerLink") >= 2);
    let refused = online(&[]).status(3).stderr_has("only after the registry was restarted");
    assert_eq!(count(&refused, "blob"), 0);
    // A process that was started since proves it.
    let pid = registry.pid().to_string();
    let proven = |pid: &str| Tool::new("reg-gc").args(["--from-process", pid, "--online", "--yes", "--grace", "0s"]).run();
    proven(&pid).status(3);
    // The start of a process is known to the second.
    let begun = Instant::now();
    wait_until(|| begun.elapsed() > Duration::from_millis(1100), "a second");
    registry.restart();
    let ran = proven(&registry.pid().to_string()).succeeds();
    assert_eq!(count(&ran, "blob"), 3, "{ran}");
    // A restart that we make counts from then on, and is made only where something went.
    push_and_delete(&registry);
    let work = temporary();
    let restart = format!("echo restart >> {}", work.path().join("restarts").display());
    online(&["--restart", &restart]).succeeds();
    online(&["--restart", &restart]).succeeds();
    let quiet = online(&["--restart", &restart]).succeeds();
    assert!(quiet.records_of("reclaim").is_empty(), "{quiet}");
    let restarts = fs::read_to_string(work.path().join("restarts")).unwrap().lines().count();
    assert_eq!(restarts, 2, "one for the links, one for the blobs");
}

#[test]
fn no_push_loses_anything_while_it_is_collected() {
    const PUSHERS: usize = 3;
    const PUSHES: usize = 100;
    let registry = Registry::with().cache_off().start();
    Image::new().layer("lives").tag("v1").push(&registry, "team/app");
    let done = std::sync::atomic::AtomicUsize::new(0);
    let accepted: Vec<Pushed> = std::thread::scope(|scope| {
        let pushers: Vec<_> = (0..PUSHERS)
            .map(|pusher| {
                let (registry, done) = (&registry, &done);
                scope.spawn(move || {
                    let mut kept = Vec::new();
                    for n in 0..PUSHES {
                        // The same few layers are pushed, deleted and pushed again all the time.
                        let image = Image::new().layer(&format!("shared {}", n % 3)).layer(&format!("own {pusher} {}", n % 5));
                        let image = image.label("n", &format!("{pusher} {n}")).tag(&format!("p{pusher}-{n}"));
                        let pushed = loop {
                            if let Some(pushed) = try_push(registry, image.clone()) {
                                break pushed;
                            }
                        };
                        if n % 2 == 0 {
                            registry.client().delete_manifest("team/app", &pushed.digest).expect(202, "deleting an image");
                        } else {
                            kept.push(pushed);
                        }
                    }
                    done.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    kept
                })
            })
            .collect();
        while done.load(std::sync::atomic::Ordering::SeqCst) < PUSHERS {
            by_config(&registry, &["--online", "--yes", "--grace", "0s"]).run().succeeds();
        }
        pushers.into_iter().flat_map(|pusher| pusher.join().unwrap()).collect()
    });
    by_config(&registry, &["--online", "--yes", "--grace", "0s"]).run().succeeds();
    registry.restart();
    assert_eq!(accepted.len(), PUSHERS * PUSHES / 2);
    for pushed in &accepted {
        let client = registry.client();
        client.get(&format!("/v2/team/app/manifests/{}", pushed.digest)).expect(200, "a manifest that was accepted");
        for blob in pushed.layers.iter().chain([&pushed.config]) {
            client.get(&format!("/v2/team/app/blobs/{blob}")).expect(200, "a blob of a manifest that was accepted");
        }
    }
    skopeo::pull(&registry, "team/app:v1").unwrap();
}

#[test]
fn whoever_is_killed_is_followed_by_one_who_finishes() {
    let folder = temporary();
    let tree = Tree::new(folder.path());
    for n in 0..40 {
        Image::new().layer("base").layer(&format!("{n}")).tag("v1").push_by(&tree, &format!("team/app{}", n % 4));
    }
    let whole = super::snapshot(&tree.root().join("docker"));
    let words = ["--untagged", "--without-in-use", "--yes", "--quiet"];
    for delay in [0, 3, 6, 9, 12, 15, 20, 25, 30, 40] {
        let running = stopped(tree.root(), &words).spawn();
        std::thread::sleep(Duration::from_millis(delay));
        running.kill9();
        drop(running);
    }
    stopped(tree.root(), &words).run().succeeds();
    let registry = Registry::with().storage_at(tree.root()).cache_off().start();
    for n in 0..4 {
        skopeo::pull(&registry, &format!("team/app{n}:v1")).unwrap();
    }
    super::gc(tree.root(), &["--undo", "all", "--yes"]).run().succeeds();
    registry.stop();
    let undone = super::snapshot(&tree.root().join("docker"));
    let names = |all: &[(String, u32, Option<std::time::SystemTime>, Vec<u8>)]| all.iter().map(|it| it.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&whole), names(&undone));
}

#[test]
fn a_sidecar_goes_round_and_lets_others_in_between() {
    let folder = temporary();
    let health = folder.path().join("health.json");
    let root = folder.path().join("root");
    fs::create_dir_all(&root).unwrap();
    let running = stopped(&root, &["--yes", "--health"]).arg(&health).env("REG_GC_EVERY", "1s").spawn();
    wait_until(|| health.exists(), "the first run");
    let first = fs::read_to_string(&health).unwrap();
    let first: serde_json::Value = serde_json::from_str(&first).unwrap();
    assert_eq!((&first["status"], &first["error"]), (&json!(0), &json!(null)), "{first}");
    wait_until(|| stopped(&root, &["--yes"]).run().code() == Some(0), "a run by hand in between");
    wait_until(|| fs::read_to_string(&health).unwrap() != first.to_string() + "\n", "another run");
    running.kill9();
}
