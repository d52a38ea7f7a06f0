//! Interrupted anywhere: the same plan run again, or `--resume`, finishes the work.

use super::*;

/// Finishes what a journal shows.
fn resume(journal: impl Into<Vec<u8>>) -> Tool {
    Tool::new("reg-delete").args(["--resume", "--yes"]).stdin(journal)
}

/// A registry with a multi-arch image and its signature, and a plan that takes all of it.
struct Scene {
    registry: Registry,
    proxy: Proxy,
    index: Pushed,
    signature: Pushed,
}

impl Scene {
    fn new() -> Self {
        let registry = Registry::start();
        let index = multi_arch(&registry, "team/app", "v1");
        let signature = Signature::cosign(&index).push(&registry, "team/app");
        let proxy = Proxy::before(&registry);
        Self { registry, proxy, index, signature }
    }

    fn plan(&self) -> Plan {
        Plan::of(self.proxy.host()).deletes_index(&self.index).deletes(&self.signature)
    }

    fn all(&self) -> Vec<&Pushed> {
        vec![&self.index, &self.index.children[0], &self.index.children[1], &self.signature]
    }

    /// Runs the plan and ends it when the registry has deleted the index and nobody knows; gives the journal.
    fn killed_in_between(&self, kill: impl FnOnce(&Running)) -> String {
        let gate = self.proxy.hold_after(deletes);
        let mut running = carry_out(&self.plan()).spawn();
        running.close_stdin();
        gate.wait();
        kill(&running);
        let ran = running.wait();
        gate.open();
        assert_eq!(ran.code(), None, "a signal ended it\n{ran}");
        assert!(!is_there(&self.registry, &self.index) && is_there(&self.registry, &self.index.children[0]));
        ran.stdout()
    }
}

#[test]
fn killed_between_request_and_answer_it_is_finished_by_the_journal() {
    let scene = Scene::new();
    let journal = scene.killed_in_between(Running::kill9);
    // The children and the signature are in no listing now. A dry run shows them.
    let shown = Tool::new("reg-delete").arg("--resume").stdin(journal.clone()).run().succeeds();
    assert_eq!(shown.records_of("deletion").iter().filter(|record| record["result"] == "planned").count(), 4);
    let ran = resume(journal.clone()).run().succeeds();
    assert_eq!(result(&ran, &scene.index)["result"], "absent");
    assert!(scene.all().iter().all(|pushed| !is_there(&scene.registry, pushed)));
    // Nothing is left, and all of it can be put back by both journals together.
    let both = journal + &ran.stdout();
    assert!(resume(both.clone()).run().succeeds().records_of("deletion").is_empty());
    undo(both).run().succeeds();
    assert!(scene.all().iter().all(|pushed| is_there(&scene.registry, pushed)));
    skopeo::pull(&scene.registry, "team/app:v1").unwrap();
}

#[test]
fn interrupted_by_ctrl_c_the_same_plan_finishes_it() {
    let scene = Scene::new();
    let journal = scene.killed_in_between(Running::interrupt);
    let ran = carry_out(&scene.plan()).run().succeeds();
    assert!(scene.all().iter().all(|pushed| !is_there(&scene.registry, pushed)));
    undo(journal + &ran.stdout()).run().succeeds();
    assert!(scene.all().iter().all(|pushed| is_there(&scene.registry, pushed)));
}

#[test]
fn a_torn_line_is_said_and_loses_nothing() {
    let scene = Scene::new();
    let journal = scene.killed_in_between(Running::kill9);
    // The line that was being written when the power went.
    let torn = format!("{journal}{{\"type\":\"deletion\",\"registry\":\"127.0");
    let ran = resume(torn.clone()).run().succeeds().stderr_has("a write was cut there");
    assert!(scene.all().iter().all(|pushed| !is_there(&scene.registry, pushed)));
    undo(torn + &ran.stdout()).run().succeeds().stderr_has("1 line is no JSON");
    assert!(scene.all().iter().all(|pushed| is_there(&scene.registry, pushed)));
}

#[test]
fn a_journal_file_is_resumed_into_itself() {
    let scene = Scene::new();
    let folder = tempfile::TempDir::new().unwrap();
    let journal = folder.path().join("journal.jsonl");
    std::fs::write(&journal, scene.killed_in_between(Running::kill9)).unwrap();
    let path = journal.display();
    shell(&format!("reg-delete --resume --yes < {path} >> {path}")).run().succeeds();
    assert!(scene.all().iter().all(|pushed| !is_there(&scene.registry, pushed)));
    shell(&format!("reg-delete --undo --yes < {path} >> {path}")).run().succeeds();
    assert!(scene.all().iter().all(|pushed| is_there(&scene.registry, pushed)));
    // What was put back is not taken again, and is not put back twice.
    shell(&format!("reg-delete --resume --yes < {path} >> {path} && reg-delete --undo --yes < {path}"))
        .run()
        .succeeds()
        .stderr_has("restored 0");
    assert!(scene.all().iter().all(|pushed| is_there(&scene.registry, pushed)));
}

#[test]
fn what_became_used_in_between_is_held_when_it_is_resumed() {
    let scene = Scene::new();
    let journal = scene.killed_in_between(Running::kill9);
    Index::new().child("linux/amd64", &scene.index.children[0]).tag("new").push(&scene.registry, "team/app");
    let ran = resume(journal).run().succeeds();
    assert_eq!(result(&ran, &scene.index.children[0])["result"], "skipped");
    assert_eq!(result(&ran, &scene.index.children[1])["result"], "deleted");
    skopeo::pull(&scene.registry, "team/app:new").unwrap();
}

#[test]
fn the_uses_that_the_plan_passed_on_are_asked_for_again() {
    let scene = Scene::new();
    let child = &scene.index.children[0];
    // Used by digest, and not there yet.
    let later = Index::new().child("linux/amd64", child).push(&scene.registry, "team/app");
    scene.registry.client().delete_manifest("team/app", &later.digest).expect(202, "deleting");
    let gate = scene.proxy.hold_after(deletes);
    let mut running = carry_out(&scene.plan().passes_on("team/app", json!({"digest": later.digest}))).spawn();
    running.close_stdin();
    gate.wait();
    running.kill9();
    let journal = running.wait().stdout();
    gate.open();
    scene.registry.client().put_manifest("team/app", &later.digest, &later.media_type, &later.bytes);
    let ran = resume(journal).run().succeeds();
    assert_eq!(result(&ran, child)["result"], "skipped");
    assert_eq!(result(&ran, &scene.index.children[1])["result"], "deleted");
}

#[test]
fn an_old_journal_is_no_younger_than_an_old_plan() {
    let scene = Scene::new();
    let journal = scene.killed_in_between(Running::kill9);
    let old: Vec<Value> = journal
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            let mut record: Value = serde_json::from_str(line).unwrap();
            record["time"] = json!(ago(Duration::from_secs(27 * 3600)));
            record
        })
        .collect();
    resume(lines(&old)).run().status(3).stderr_has("--max-plan-age");
    assert!(is_there(&scene.registry, &scene.signature));
    resume(lines(&old)).args(["--max-plan-age", "2d"]).run().succeeds();
    assert!(!is_there(&scene.registry, &scene.signature));
}

#[test]
fn journals_without_headers_are_read_and_what_is_not_understood_is_not() {
    let scene = Scene::new();
    let journal = scene.killed_in_between(Running::kill9);
    let bare: String = journal.lines().filter(|line| !line.contains("\"header\"")).map(|line| format!("\n{line}\n\n")).collect();
    resume(bare.replace("\"result\":\"started\"", "\"result\":\"evaporated\"")).run().status(2).stderr_has("unknown variant `evaporated`");
    resume(journal.replace("\"schema\":1", "\"schema\":2")).run().status(2).stderr_has("schema 2");
    resume(scene.plan().jsonl()).run().status(2).stderr_has("this is no journal");
    resume(bare).run().succeeds();
    assert!(scene.all().iter().all(|pushed| !is_there(&scene.registry, pushed)));
    resume("").run().succeeds();
}

#[test]
fn killed_before_the_request_it_is_done_when_it_is_resumed() {
    let scene = Scene::new();
    let journal = carry_out(&scene.plan()).run().succeeds().stdout();
    undo(journal.clone()).run().succeeds();
    // All that a run has written that ended after its first announcement.
    let announced = journal.find("\"started\"").and_then(|begun| journal[begun..].find('\n').map(|end| begun + end));
    let cut = &journal[..announced.unwrap()];
    let ran = resume(cut).run().succeeds();
    assert_eq!(result(&ran, &scene.index)["result"], "deleted");
    assert!(scene.all().iter().all(|pushed| !is_there(&scene.registry, pushed)));
}

#[test]
fn a_fresh_inventory_holds_when_it_is_resumed() {
    let scene = Scene::new();
    let journal = scene.killed_in_between(Running::kill9);
    let child = &scene.index.children[0];
    let fresh = Inventory::of("prod").runs(scene.proxy.host(), "team/app", "x", &child.digest).uses_ten_others().write();
    let ran = resume(journal).arg("--in-use").arg(fresh.path()).run().succeeds();
    // As in a plan, the family stays together.
    assert!(scene.all().iter().all(|pushed| result(&ran, pushed)["result"] == "skipped"));
    assert!(is_there(&scene.registry, child));
}

/// A journal up to the line that says that the index is gone, as a kill leaves it; the children are there.
fn cut(scene: &Scene, journal: &str) -> String {
    let deleted = journal.find("\"deleted\"").and_then(|result| journal[result..].find('\n').map(|end| result + end + 1));
    for child in &scene.index.children {
        scene.registry.client().put_manifest("team/app", &child.digest, &child.media_type, &child.bytes);
    }
    journal[..deleted.unwrap()].to_owned()
}

#[test]
fn an_index_that_is_gone_and_in_use_holds_its_children_when_it_is_resumed() {
    let scene = Scene::new();
    let host = scene.proxy.host();
    let journal = carry_out(&scene.plan()).run().succeeds().stdout();
    let journal = cut(&scene, &journal);
    let [child, sibling] = [&scene.index.children[0], &scene.index.children[1]];
    let config: Value = serde_json::from_slice(&child.bytes).unwrap();
    let config = config["config"]["digest"].as_str().unwrap();
    let unused = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    for (name, tag, running) in
        [("tag", "v1", unused), ("running digest", "x", scene.index.digest.as_str()), ("child", "x", child.digest.as_str())]
    {
        let fresh = Inventory::of("prod").runs(host, "team/app", tag, running).uses_ten_others().write();
        let ran = resume(journal.clone()).arg("--in-use").arg(fresh.path()).run().succeeds();
        assert!(is_there(&scene.registry, child) && is_there(&scene.registry, sibling), "{name}\n{ran}");
    }
    // The image is known by its config alone.
    let fresh = Inventory::of("prod").runs(host, "team/app", "x", config).uses_ten_others().write();
    let text = std::fs::read_to_string(fresh.path()).unwrap();
    let mut records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let used = records.iter_mut().find(|record| record["runningDigest"] == config).unwrap();
    (used["configDigest"], used["runningDigest"]) = (json!(config), Value::Null);
    std::fs::write(fresh.path(), lines(&records)).unwrap();
    let ran = resume(journal.clone()).arg("--in-use").arg(fresh.path()).run().succeeds();
    assert!(is_there(&scene.registry, child) && is_there(&scene.registry, sibling), "{ran}");
    // What nobody uses goes.
    let fresh = Inventory::of("prod").runs(host, "team/app", "x", unused).uses_ten_others().write();
    resume(journal).arg("--in-use").arg(fresh.path()).run().succeeds();
    assert!(scene.all().iter().all(|pushed| !is_there(&scene.registry, pushed)));
}

#[test]
fn the_plans_aliases_hold_when_it_is_resumed() {
    let scene = Scene::new();
    let alias = format!("mirror.local={}", scene.proxy.host());
    let plan = scene.plan().header("/policy/alias", json!([alias]));
    let journal = carry_out(&plan).run().succeeds().stdout();
    let journal = cut(&scene, &journal);
    let fresh = Inventory::of("prod").runs("mirror.local", "team/app", "v1", &scene.index.digest).uses_ten_others().write();
    let ran = resume(journal.clone()).arg("--in-use").arg(fresh.path()).run().succeeds();
    assert!(scene.index.children.iter().all(|child| is_there(&scene.registry, child)), "{ran}");
    assert_eq!(ran.the("header")["policy"]["alias"], json!([alias]), "and when that is resumed");
}

#[test]
fn a_dry_run_in_the_journal_changes_nothing() {
    let scene = Scene::new();
    let journal = carry_out(&scene.plan()).run().succeeds().stdout();
    let mut journal = cut(&scene, &journal);
    for _ in 0..2 {
        let shown = Tool::new("reg-delete").arg("--resume").stdin(journal.clone()).run().succeeds();
        assert_eq!(shown.the("trailer")["planned"], 3);
        assert_eq!(shown.the("header")["dryRun"], true);
        journal += &shown.stdout();
    }
    resume(journal).run().succeeds();
    assert!(scene.all().iter().all(|pushed| !is_there(&scene.registry, pushed)));
}

#[test]
fn a_journal_is_as_old_as_its_plan_however_often_it_is_resumed() {
    let scene = Scene::new();
    let journal = carry_out(&scene.plan()).run().succeeds().stdout();
    let journal = cut(&scene, &journal);
    let mut records: Vec<Value> = journal.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(records[0]["planTime"].is_string(), "{journal}");
    records[0]["planTime"] = json!(ago(Duration::from_secs(27 * 3600)));
    resume(lines(&records)).run().status(3).stderr_has("--max-plan-age");
    // Begun again a moment ago, it is no younger.
    let fresh = Inventory::of("prod").runs(scene.proxy.host(), "team/app", "v1", &scene.index.digest).uses_ten_others().write();
    let held = resume(lines(&records)).arg("--in-use").arg(fresh.path()).run().succeeds();
    assert_eq!(held.the("header")["planTime"], records[0]["planTime"]);
    assert!(scene.index.children.iter().all(|child| is_there(&scene.registry, child)));
}
