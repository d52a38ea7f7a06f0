//! What the registry remembers of what went: in Redis, of which exactly that is removed, and in memory, for which it is restarted.

use std::fs;
use std::time::{Duration, Instant};

use tests::*;

use super::beside::{by_config, push_and_delete, try_push, wait_until, with_garbage};
use super::{count, stopped};

#[test]
fn what_redis_remembers_is_forgotten_with_what_went() {
    // The registry serves all the while, and is never restarted. Without the keys' removal a push is broken: so it is that which makes it whole.
    for forgets in [true, false] {
        let redis = Redis::start();
        let registry = Registry::with().redis(&redis).start();
        let dead = with_garbage(&registry);
        let key = format!("blobs::{}", dead.layers[0]);
        let lives = Image::new().layer("lives").tag("v1").push(&registry, "team/app");
        skopeo::pull(&registry, "team/app:v1").unwrap();
        assert!(!redis.keys(&key).is_empty(), "{:?}", redis.keys("*"));
        let before = redis.keys("*").len();
        let tool = stopped(&registry.root(), &["--yes"]);
        let tool = if forgets { tool.args(["--redis", redis.host()]) } else { tool };
        let ran = tool.run().succeeds();
        assert!(count(&ran, "blob") >= 3, "{ran}");
        assert_eq!(redis.keys(&key).is_empty(), forgets);
        assert!(!redis.keys(&format!("blobs::{}", lives.layers[0])).is_empty(), "what lives is still there");
        assert_eq!(redis.keys("*").len() < before, forgets);
        try_push(&registry, Image::new().layer("dead").tag("again"));
        assert_eq!(skopeo::pull(&registry, "team/app:again").is_ok(), forgets, "forgets: {forgets}");
        skopeo::pull(&registry, "team/app:v1").unwrap();
    }
}

#[test]
fn a_link_that_went_is_forgotten_while_its_layer_lives_elsewhere() {
    let redis = Redis::start();
    let registry = Registry::with().redis(&redis).start();
    let dead = with_garbage(&registry);
    Image::new().layer("dead").tag("v1").push(&registry, "team/other");
    skopeo::pull(&registry, "team/other:v1").unwrap();
    let members = || redis.command(&["SMEMBERS", "repository::team/app::blobs"]);
    assert!(members().contains(&dead.layers[0]), "{:?}", members());
    by_config(&registry, &["--online", "--yes", "--grace", "0s"]).run().succeeds();
    assert!(!members().contains(&dead.layers[0]), "{:?}", members());
    assert!(!redis.keys(&format!("blobs::{}", dead.layers[0])).is_empty(), "the layer lives in team/other");
    let again = try_push(&registry, Image::new().layer("dead").tag("again")).expect("it is whole");
    assert!(registry.storage().layer_link("team/app", &again.layers[0]).exists(), "it was sent or mounted again");
    skopeo::pull(&registry, "team/app:again").unwrap();
}

#[test]
fn keys_that_a_killed_run_left_are_removed_by_the_next() {
    let redis = Redis::start();
    let registry = Registry::with().redis(&redis).start();
    let dead = with_garbage(&registry);
    let key = format!("blobs::{}", dead.layers[0]);
    let words = ["--yes", "--redis", redis.host()];
    // What would remove keys waits, so that the run is killed between the one and the other.
    redis.command(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    let running = stopped(&registry.root(), &words).spawn();
    wait_until(|| dead.layers.iter().all(|layer| !registry.storage().blob(layer).exists()), "the layers are in the trash");
    running.kill9();
    let _ = running.wait();
    redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    redis.command(&["CLIENT", "UNPAUSE"]);
    assert!(!redis.keys(&key).is_empty(), "nobody removed it yet");
    stopped(&registry.root(), &words).run().succeeds();
    assert!(redis.keys(&key).is_empty(), "{:?}", redis.keys("*"));
    try_push(&registry, Image::new().layer("dead").tag("again")).expect("it is whole");
    skopeo::pull(&registry, "team/app:again").unwrap();
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
fn the_process_is_restarted_and_waited_for() {
    let registry = Registry::with().in_memory_cache().start();
    with_garbage(&registry);
    let (old, stat) = (registry.pid().to_string(), format!("/proc/{}/stat", registry.pid()));
    let words = ["--from-process", &old, "--online", "--yes", "--grace", "0s", "--restart-process"];
    let running = Tool::new("reg-gc").args(words).spawn();
    // Here the test is who watches over the registry, as a pod does.
    let has_ended = || fs::read_to_string(&stat).is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")));
    wait_until(has_ended, "the registry is ended by SIGTERM");
    let begun = Instant::now();
    wait_until(|| begun.elapsed() > Duration::from_millis(1100), "a second, to which the start of a process is known");
    registry.restart();
    let first = running.wait().succeeds().stderr_has("restarting the registry");
    assert!(count(&first, "layerLink") >= 2 && count(&first, "blob") == 0, "{first}");
    // Its restart is remembered, so the blobs can go; that takes another one, for what it has in memory by now.
    let new = registry.pid().to_string();
    let ran = Tool::new("reg-gc").args(["--from-process", &new, "--online", "--yes", "--grace", "0s"]).run().succeeds();
    assert_eq!(count(&ran, "blob"), 3, "{ran}");
    try_push(&registry, Image::new().layer("lives").tag("v2")).expect("it is whole");
    skopeo::pull(&registry, "team/app:v1").unwrap();
}

#[test]
fn a_registry_that_lives_in_a_root_of_its_own_is_found() {
    let registry = Registry::with().cache_off().own_root().start();
    let dead = with_garbage(&registry);
    let by_process = |words: &[&str]| Tool::new("reg-gc").args(["--from-process", &registry.pid().to_string()]).args(words).run();
    let seen = format!("/proc/{}/root/storage", registry.pid());
    by_process(&[]).succeeds().stderr_has(&format!("storage: {seen}"));
    by_process(&["--online", "--yes", "--grace", "0s"]).succeeds();
    let ran = by_process(&["--online", "--yes", "--grace", "0s"]).succeeds();
    assert_eq!(count(&ran, "blob"), 3, "{ran}");
    assert!(!registry.storage().blob(&dead.layers[0]).exists());
    skopeo::pull(&registry, "team/app:v1").unwrap();
}
