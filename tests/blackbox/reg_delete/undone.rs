//! `--undo`: what was deleted comes back, or it is said why it does not.

use super::*;

/// A registry from which everything was deleted, and the journal of that.
struct Scene {
    registry: Registry,
    index: Pushed,
    signature: Pushed,
    referrer: Pushed,
    single: Pushed,
    journal: String,
}

impl Scene {
    fn new() -> Self {
        Self::on(Registry::start())
    }

    fn on(registry: Registry) -> Self {
        let mut index = multi_arch(&registry, "team/app", "v1");
        registry.client().retag("team/app", "v1", "latest");
        index.tags.insert(0, "latest".into());
        let signature = Signature::cosign(&index).push(&registry, "team/app");
        let referrer = Image::artifact("application/x").subject(&index).push(&registry, "team/app");
        let single = image(&registry, "team/app", "v2");
        let plan = Plan::of(registry.host()).deletes_index(&index).deletes(&signature).deletes(&referrer).deletes(&single);
        let journal = carry_out(&plan).run().succeeds().stdout();
        let scene = Self { registry, index, signature, referrer, single, journal };
        assert!(scene.all().iter().all(|pushed| !is_there(&scene.registry, pushed)));
        scene
    }

    fn family(&self) -> Vec<&Pushed> {
        vec![&self.index, &self.index.children[0], &self.index.children[1], &self.signature, &self.referrer]
    }

    fn all(&self) -> Vec<&Pushed> {
        let mut all = self.family();
        all.push(&self.single);
        all
    }
}

#[test]
fn everything_comes_back_byte_for_byte_and_pulls() {
    let scene = Scene::new();
    let shown = Tool::new("reg-delete").arg("--undo").stdin(scene.journal.clone()).run().succeeds().stderr_has("--yes");
    assert_eq!(shown.the("trailer")["planned"], 6);
    assert!(!is_there(&scene.registry, &scene.single));
    let ran = undo(scene.journal.clone()).run().succeeds();
    for pushed in scene.all() {
        assert_eq!(result(&ran, pushed)["result"], "restored");
        assert_eq!(result(&ran, pushed)["action"], "restore");
        assert_eq!(scene.registry.client().manifest("team/app", &pushed.digest).body, pushed.bytes);
    }
    let tag = scene.signature.tags[0].clone();
    assert_eq!(scene.registry.client().tags("team/app"), ["latest", &tag, "v1", "v2"]);
    for tag in ["latest", "v1", "v2", &tag] {
        skopeo::pull(&scene.registry, &format!("team/app:{tag}")).unwrap();
    }
    let host = scene.registry.host();
    let told: Vec<&str> = ran.stderr().lines().filter(|line| line.starts_with(host)).collect();
    let expected = ["latest", "v1", "v2"].map(|tag| format!("{host}/team/app:{tag}"));
    assert_eq!(told, expected, "the lines for a keep list; children and signatures follow their image");
    // Once more changes nothing.
    undo(scene.journal).run().succeeds().stderr_has("restored 0");
}

#[test]
fn one_image_comes_back_with_its_children_and_referrers() {
    for operand in ["team/app:v1", "HOST/team/app:latest", "team/app@INDEX"] {
        let scene = Scene::new();
        let operand = operand.replace("HOST", scene.registry.host()).replace("INDEX", &scene.index.digest);
        undo(scene.journal.clone()).arg(&operand).run().succeeds();
        assert!(scene.family().iter().all(|pushed| is_there(&scene.registry, pushed)), "{operand}");
        assert!(!is_there(&scene.registry, &scene.single), "{operand}");
        skopeo::pull(&scene.registry, "team/app:v1").unwrap();
        undo(scene.journal.clone())
            .args(["team/app:v9", "team/app:v2"])
            .run()
            .status(1)
            .stderr_has("team/app:v9: the journal shows nothing deleted by that name");
        assert!(is_there(&scene.registry, &scene.single));
    }
    let scene = Scene::new();
    undo(scene.journal.clone()).arg("127.0.0.1:1/team/app").run().status(1);
    undo(scene.journal.clone()).arg("Team/App").run().status(2);
    assert!(!is_there(&scene.registry, &scene.single));
}

#[test]
fn a_tag_that_was_pushed_again_is_left_alone_unless_forced() {
    let scene = Scene::new();
    let client = scene.registry.client();
    let new = Image::new().layer("new").tag("v2").push(&scene.registry, "team/app");
    let ran = undo(scene.journal.clone()).run().succeeds().stderr_has("the tag v2 names").stderr_has("--force");
    assert_eq!(client.head("team/app", "v2").digest(), new.digest);
    assert!(is_there(&scene.registry, &scene.single), "the manifest itself comes back, by its digest");
    assert!(ran.records_of("deletion").iter().any(|record| record["result"] == "skipped" && record["tags"] == json!(["v2"])));
    assert_eq!(client.head("team/app", "v1").digest(), scene.index.digest);
    let told: Vec<&str> = ran.stderr().lines().filter(|line| line.starts_with(scene.registry.host())).collect();
    let host = scene.registry.host();
    let by_digest = format!("{host}/{}", scene.single.by_digest());
    assert_eq!(
        told,
        [format!("{host}/team/app:latest"), format!("{host}/team/app:v1"), by_digest],
        "what a tag does not lead to is named by digest"
    );
    undo(scene.journal).arg("--force").run().succeeds();
    assert_eq!(client.head("team/app", "v2").digest(), scene.single.digest);
}

#[test]
fn after_the_collector_ran_it_is_said_what_cannot_come_back() {
    // In-memory caches answer 200 and 201 for blobs that are gone.
    for registry in [Registry::with().in_memory_cache().start(), Registry::with().cache_off().start()] {
        let scene = Scene::on(registry);
        let client = scene.registry.client();
        // Somebody reads them before, so that the cache knows them.
        let blobs: Vec<&String> = scene.single.layers.iter().chain([&scene.single.config]).collect();
        assert!(blobs.iter().all(|digest| client.blob("team/app", digest).status == 200));
        scene.registry.garbage_collect();
        let ran = undo(scene.journal.clone()).run().status(1).stderr_has("not put back: ").stderr_has("failed 6");
        assert!(scene.all().iter().all(|pushed| result(&ran, pushed)["result"] == "failed"), "{ran}");
        assert!(client.tags("team/app").is_empty(), "no tag that leads nowhere is left behind\n{ran}");
    }
}

#[test]
fn a_manifest_that_the_cache_remembers_and_the_collector_took_is_noticed() {
    let registry = Registry::with().in_memory_cache().start();
    let one = image(&registry, "team/app", "1");
    // Another image of the repository has the same blobs, so they stay when the manifest's own bytes go.
    let two = Image::new().layer("team/app").layer("1").annotation("a", "b").tag("2").push(&registry, "team/app");
    let journal = carry_out(&Plan::of(registry.host()).deletes(&one)).run().succeeds().stdout();
    registry.garbage_collect();
    let ran = undo(journal.clone()).run();
    if registry.is_v3() {
        // It stores again what it is given.
        ran.succeeds();
    } else {
        // It says 201 and has nothing: only reading the manifest again tells.
        ran.status(1).stderr_has("the registry took the manifest and does not have it").stderr_has("restart it");
        assert_eq!(registry.client().tags("team/app"), ["2"], "no tag that leads nowhere is left behind");
        registry.restart();
        undo(journal).run().succeeds();
    }
    skopeo::pull(&registry, "team/app:1").unwrap();
    skopeo::pull(&registry, &two.by_digest()).unwrap();
}

#[test]
fn damaged_lines_are_not_put_back_and_the_others_are() {
    let scene = Scene::new();
    let damaged: String = scene
        .journal
        .lines()
        .map(|line| {
            let record: Value = serde_json::from_str(line).unwrap_or_default();
            if record["digest"] == scene.single.digest {
                line.replace(&STANDARD.encode(&scene.single.bytes), "e30=") + "\n"
            } else {
                line.to_owned() + "\n"
            }
        })
        .collect();
    let ran = undo(damaged).run().status(1).stderr_has("its bytes in the journal are damaged");
    assert_eq!(result(&ran, &scene.single)["result"], "failed");
    assert!(scene.family().iter().all(|pushed| is_there(&scene.registry, pushed)));
}

#[test]
fn several_journals_are_one() {
    let registry = Registry::start();
    let mut journals = String::new();
    for tag in ["1", "2", "3"] {
        let old = image(&registry, "team/app", tag);
        let journal = carry_out(&Plan::of(registry.host()).deletes(&old)).run().succeeds().stdout();
        // With or without header, with blank lines or a cut one in between.
        journals += &if tag == "2" {
            journal.lines().filter(|line| line.contains("deletion")).map(|line| format!("{line}\n")).collect()
        } else {
            journal
        };
        journals += "\n\n{\"type\":\"del\n";
    }
    undo(journals).run().succeeds().stderr_has("3 lines are no JSON").stderr_has("restored 3");
    assert_eq!(registry.client().tags("team/app"), ["1", "2", "3"]);
}

#[test]
fn a_registry_that_is_read_only_takes_nothing_back() {
    let mut scene = Scene::new();
    scene.registry.restart_with("/storage/maintenance/readonly", json!({"enabled": true}));
    let ran = undo(scene.journal.clone()).run().status(1).stderr_has("405");
    assert_eq!(ran.the("trailer")["failed"], 6);
}

#[test]
fn nothing_to_undo_is_done() {
    undo("").run().succeeds();
    undo("\n\n").run().succeeds();
    undo("{\"type\":\"deletion\"").run().succeeds().stderr_has("a write was cut");
}
