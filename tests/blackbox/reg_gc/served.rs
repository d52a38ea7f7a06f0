//! Beside a running registry: whether it may be touched, hooks, the two generations, pushes, and the sidecar.

use std::fs;

use serde_json::json;
use tests::*;

use super::beside::{by_config, try_push, wait_until, with_garbage};
use super::{count, items, stopped};

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
    // It stands still as long as this test needs it.
    let at = |name: &str| work.path().join(name);
    let before = format!("touch {}; until [ -e {} ]; do sleep 0.02; done", at("begun").display(), at("go").display());
    let running = by_config(&registry, &["--yes", "--before", &before, "--after", &after]).spawn();
    wait_until(|| at("begun").exists(), "the lock is held");
    stopped(&registry.root(), &["--yes"])
        .run()
        .status(2)
        .stderr_has("another reg-gc or reg-fix is at work in this storage")
        .stdout_is_empty();
    by_config(&registry, &["--online", "--yes"]).run().status(2).stderr_has("another reg-gc");
    process::signal(running.pid(), "TERM");
    fs::write(at("go"), "").unwrap();
    running.wait().status(2).stderr_has("SIGTERM");
    assert_eq!(fs::read_to_string(&mark).unwrap().lines().count(), 4);
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
fn no_push_loses_anything_while_it_is_collected() {
    push_and_collect(&Registry::with().cache_off().start());
}

#[test]
fn no_push_loses_anything_with_redis() {
    let redis = Redis::start();
    push_and_collect(&Registry::with().redis(&redis).start());
}

/// Three hundred pushes, half of which are deleted at once, while one run follows another.
fn push_and_collect(registry: &Registry) {
    const PUSHERS: usize = 3;
    const PUSHES: usize = 100;
    Image::new().layer("lives").tag("v1").push(registry, "team/app");
    let accepted: Vec<Pushed> = std::thread::scope(|scope| {
        let pushers: Vec<_> = (0..PUSHERS)
            .map(|pusher| {
                scope.spawn(move || {
                    let mut kept = Vec::new();
                    for n in 0..PUSHES {
                        // The same few layers are pushed, deleted and pushed again all the time.
                        let image = Image::new().layer(&format!("shared {}", n % 3)).layer(&format!("own {pusher} {}", n % 5));
                        let image = image.label("n", &format!("{pusher} {n}")).tag(&format!("p{pusher}-{n}"));
                        let pushed = (0..1000).find_map(|_| try_push(registry, image.clone())).expect("one of 1000 pushes is accepted");
                        if n % 2 == 0 {
                            delete(registry, &pushed.digest);
                        } else {
                            kept.push(pushed);
                        }
                    }
                    kept
                })
            })
            .collect();
        // One that gave up in a panic is finished too: its panic is what the test then ends with.
        while pushers.iter().any(|pusher| !pusher.is_finished()) {
            by_config(registry, &["--online", "--yes", "--grace", "0s"]).run().succeeds();
        }
        pushers.into_iter().flat_map(|pusher| pusher.join().unwrap()).collect()
    });
    by_config(registry, &["--online", "--yes", "--grace", "0s"]).run().succeeds();
    registry.restart();
    assert_eq!(accepted.len(), PUSHERS * PUSHES / 2);
    for pushed in &accepted {
        let client = registry.client();
        client.get(&format!("/v2/team/app/manifests/{}", pushed.digest)).expect(200, "a manifest that was accepted");
        for blob in pushed.layers.iter().chain([&pushed.config]) {
            client.get(&format!("/v2/team/app/blobs/{blob}")).expect(200, "a blob of a manifest that was accepted");
        }
    }
    skopeo::pull(registry, "team/app:v1").unwrap();
}

/// Deletes an image from a registry to which others push. It answers 500 where it reads all tags to find those of the image, and one of
/// them is the tag of another push, emptied and not yet written; what was to be deleted is gone by then.
fn delete(registry: &Registry, digest: &str) {
    let answer = registry.client().delete_manifest("team/app", digest);
    if answer.status == 500 {
        registry.client().get(&format!("/v2/team/app/manifests/{digest}")).expect(404, "an image that was deleted");
    } else {
        answer.expect(202, "deleting an image");
    }
}

#[test]
fn a_sidecar_goes_round_and_lets_others_in_between() {
    let folder = temporary();
    let health = folder.path().join("health.json");
    let root = folder.path().join("root");
    fs::create_dir_all(&root).unwrap();
    // Its first runs find a registry to which nothing was pushed yet.
    let mut running = stopped(&root, &["--yes", "--health"]).arg(&health).env("REG_GC_EVERY", "1s").spawn();
    wait_until(|| health.exists(), "the first run");
    let first = fs::read_to_string(&health).unwrap();
    let first: serde_json::Value = serde_json::from_str(&first).unwrap();
    assert_eq!((&first["status"], &first["error"]), (&json!(0), &json!(null)), "{first}");
    wait_until(|| stopped(&root, &["--yes"]).run().code() == Some(0), "a run by hand in between");
    wait_until(|| fs::read_to_string(&health).unwrap() != first.to_string() + "\n", "another run");
    // Then there is something to do; each run is a section of its own on standard output, and a line for people.
    let tree = Tree::new(&root);
    Image::new().layer("lives").tag("v1").push_by(&tree, "team/app");
    let garbage = tree.put_blob("team/app", b"garbage");
    wait_until(|| !tree.storage().blob(&garbage).exists(), "the run that takes it");
    while !running.read_line().expect("its records go on").contains(&garbage) {}
    while !running.read_line().expect("its records go on").contains("\"trailer\"") {}
    process::signal(running.pid(), "TERM");
    let ran = running.wait().stderr_has("run ended with 0; the next begins at");
    assert!(ran.stderr().lines().filter(|line| line.contains("run ended with")).count() >= 2, "{ran}");
}
