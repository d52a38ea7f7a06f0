//! Plans that are not acted on: nothing is asked, nothing is deleted, one sentence says why.

use super::*;

/// A registry with one image that a plan takes.
struct Scene {
    registry: Registry,
    old: Pushed,
}

impl Scene {
    fn new() -> Self {
        let registry = Registry::start();
        let old = image(&registry, "team/app", "1");
        Self { registry, old }
    }

    fn plan(&self) -> Plan {
        Plan::of(self.registry.host()).deletes(&self.old)
    }

    /// Fails unless the input is met with this status and sentence, and the image stays.
    #[track_caller]
    fn refuses(&self, input: impl Into<Vec<u8>>, status: i32, sentence: &str) {
        let ran = Tool::new("reg-delete").arg("--yes").stdin(input).run().status(status).stdout_is_empty().stderr_has(sentence);
        assert_eq!(ran.stderr().lines().count(), 1, "one sentence\n{ran}");
        assert!(is_there(&self.registry, &self.old), "{ran}");
    }
}

fn hours_ago(hours: u64) -> Value {
    json!(ago(Duration::from_secs(hours * 3600)))
}

/// A time this long in the future.
fn in_minutes(minutes: u64) -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let then = std::time::UNIX_EPOCH + now + Duration::from_secs(minutes * 60);
    let seconds = then.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    // `ago` takes what lies behind; the calendar of the coreutils does the rest.
    let ran = shell(&format!("date -u -d @{seconds} +%Y-%m-%dT%H:%M:%SZ")).run().succeeds();
    json!(ran.stdout().trim())
}

#[test]
fn what_is_cut_is_refused() {
    let scene = Scene::new();
    let whole = scene.plan().jsonl();
    scene.refuses("", 3, "is empty");
    scene.refuses(scene.plan().cut().jsonl(), 3, "ends without the trailer");
    scene.refuses(&whole[..whole.len() - 20], 3, "breaks off in the middle");
    scene.refuses(whole.clone() + &scene.plan().cut().jsonl(), 3, "ends without the trailer of the section begun in line 4");
    scene.refuses(scene.plan().cut().jsonl() + &whole, 3, "begins a new section");
    scene.refuses(scene.plan().trailer("/complete", json!(false)).jsonl(), 3, "is not complete");
    let headless: String = whole.lines().skip(1).map(|line| format!("{line}\n")).collect();
    scene.refuses(headless, 3, "jq -c 'select(.type != \"manifest\"");
}

#[test]
fn what_is_no_plan_is_said_with_its_line() {
    let scene = Scene::new();
    scene.refuses(scene.plan().header("/schema", json!(2)).jsonl(), 2, "line 1: was written in schema 2");
    let mut unknown = scene.plan();
    unknown.records[0]["verdict"]["action"] = json!("archive");
    scene.refuses(unknown.jsonl(), 2, "line 2: is not the record it says it is: unknown variant `archive`");
    let mut bare = scene.plan();
    bare.records[0].as_object_mut().unwrap().remove("verdict");
    scene.refuses(bare.jsonl(), 2, "let reg-select decide first");
    scene.refuses(scene.plan().jsonl().replace("\n{\"type\":\"trailer\"", "\nrubbish\n{\"type\":\"trailer\""), 2, "line 3: is not JSON");
    scene.refuses(&b"\xff\n"[..], 2, "line 1: is not UTF-8");
    let mut nowhere = scene.plan();
    nowhere.records[0]["repository"] = json!("team/../../admin");
    scene.refuses(nowhere.jsonl(), 2, "line 2: names what cannot be");
    let journal = json!({"type": "trailer", "complete": true, "records": 0});
    let header = json!({"type": "header", "tool": "reg-delete", "version": "0.1.0", "schema": 1, "time": ago(Duration::ZERO)});
    scene.refuses(lines(&[header, journal]), 2, "--undo or --resume");
}

#[test]
fn a_plan_without_its_uses_is_refused() {
    let scene = Scene::new();
    let mut plan = scene.plan().passes_on("team/app", json!({"digest": scene.old.digest}));
    plan.records.retain(|record| record["type"] != "use");
    scene.refuses(plan.jsonl(), 3, "counts 1 use records and only 0 came");
    scene.refuses(scene.plan().trailer("/deletes", json!(0)).jsonl(), 3, "not added to");
}

#[test]
fn a_plan_that_saw_no_inventory_is_refused_unless_that_is_accepted() {
    let scene = Scene::new();
    for inputs in [json!([]), json!([{"role": "also-in-use", "tool": "k8s-images", "time": ago(Duration::ZERO), "scope": {}}]), Value::Null]
    {
        scene.refuses(scene.plan().header("/inputs", inputs).jsonl(), 3, "--without-in-use");
    }
    let blind = scene.plan().header("/inputs", json!([]));
    carry_out(&blind).arg("--without-in-use").run().succeeds();
    assert!(!is_there(&scene.registry, &scene.old));
}

#[test]
fn a_plan_is_as_old_as_the_oldest_thing_it_saw() {
    let scene = Scene::new();
    let listing = || scene.plan().trailer("/listings/0/time", hours_ago(27));
    let inventory = || scene.plan().header("/inputs/0/time", hours_ago(27));
    scene.refuses(listing().jsonl(), 3, "the plan's oldest listing was taken 1d3h ago");
    scene.refuses(inventory().jsonl(), 3, "the plan's oldest inventory was taken");
    scene.refuses(scene.plan().jsonl() + &listing().jsonl(), 3, "--max-plan-age is 1d2h");
    let fresh = Inventory::of("prod").uses(scene.registry.host(), "team/app", "9").uses_ten_others().write();
    // A fresh inventory beside it makes a plan of some days good, and no older one.
    let week = scene.plan().trailer("/listings/0/time", hours_ago(169));
    carry_out(&week).arg("--in-use").arg(fresh.path()).run().status(3).stderr_has("--max-plan-age is 7d");
    carry_out(&listing()).args(["--max-plan-age", "26h"]).arg("--in-use").arg(fresh.path()).run().status(3);
    carry_out(&listing()).arg("--in-use").arg(fresh.path()).run().succeeds();
    assert!(!is_there(&scene.registry, &scene.old));
    carry_out(&inventory()).args(["--max-plan-age", "28h"]).run().succeeds();
}

#[test]
fn a_plan_of_the_future_is_refused() {
    let scene = Scene::new();
    for plan in [
        scene.plan().trailer("/listings/0/time", in_minutes(7)),
        scene.plan().header("/inputs/0/time", in_minutes(7)),
        scene.plan().header("/time", in_minutes(7)),
        scene.plan().header("/now", in_minutes(7)),
    ] {
        scene.refuses(plan.jsonl(), 3, "in the future");
    }
    carry_out(&scene.plan().trailer("/listings/0/time", in_minutes(3))).run().succeeds();
}

#[test]
fn above_a_limit_nothing_is_deleted() {
    let scene = Scene::new();
    let other = image(&scene.registry, "team/app", "2");
    let plan = || scene.plan().deletes(&other);
    scene.refuses(
        plan().header("/policy/maxDelete", json!("1")).jsonl(),
        3,
        "deletes 2 of 100 manifests, and its own --max-delete allows 1",
    );
    scene.refuses(plan().header("/policy/maxDelete", json!("1.9%")).jsonl(), 3, "allows 1.9%");
    for (limit, status) in [("1", 3), ("1%", 3), ("2%", 0)] {
        let ran = carry_out(&plan().header("/policy/maxDelete", json!("50%"))).args(["--max-delete", limit]).run().status(status);
        assert_eq!(is_there(&scene.registry, &scene.old), status == 3, "{ran}");
    }
    carry_out(&plan()).args(["--max-delete", "many"]).run().status(2);
}

#[test]
fn a_bad_fresh_inventory_is_refused() {
    let scene = Scene::new();
    let host = scene.registry.host();
    let good = || Inventory::of("prod").uses(host, "team/app", "9").uses_ten_others();
    for (inventory, sentence) in [
        (good().cut(), "ends without the trailer"),
        (good().taken(hours_ago(27).as_str().unwrap()), "--max-age"),
        (good().taken(in_minutes(7).as_str().unwrap()), "in the future"),
        (good().partial(), "--allow-partial"),
        (good().incomplete(), "--allow-incomplete prod"),
        (Inventory::of("prod").uses(host, "team/app", "9"), "--min-in-use"),
        (Inventory::of("prod").uses_ten_others(), "--alias"),
    ] {
        let file = inventory.write();
        carry_out(&scene.plan()).arg("--in-use").arg(file.path()).run().status(3).stdout_is_empty().stderr_has(sentence);
        assert!(is_there(&scene.registry, &scene.old));
    }
    carry_out(&scene.plan()).args(["--in-use", "nowhere.jsonl"]).run().status(2).stderr_has("opening the inventory nowhere.jsonl");
}

#[test]
fn a_plan_may_be_thinned() {
    let scene = Scene::new();
    let other = image(&scene.registry, "other/app", "1");
    let plan = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(plan.path(), scene.plan().deletes(&other).jsonl()).unwrap();
    let script = format!(
        "jq -c 'select(.type != \"manifest\" or (.repository | startswith(\"team/\")))' < {} | reg-delete --yes",
        plan.path().display()
    );
    shell(&script).run().succeeds();
    assert!(!is_there(&scene.registry, &scene.old) && is_there(&scene.registry, &other));
}

#[test]
fn a_filter_says_what_it_wants() {
    Tool::new("reg-delete").arg("team/app").run().status(2).stderr_has("--undo");
    Tool::new("reg-delete").args(["--undo", "--resume"]).run().status(2);
    let help = Tool::new("reg-delete").arg("--help").run().succeeds();
    assert!(help.stdout().contains("Examples:"), "{help}");
    Tool::new("reg-delete").args(["--generate", "man"]).run().succeeds().stdout_has("reg\\-delete");
}

#[test]
fn a_plan_of_no_age_is_refused() {
    let scene = Scene::new();
    scene.refuses(scene.plan().trailer("/listings", json!([])).jsonl(), 3, "names no listing");
}

#[test]
fn a_journal_is_not_appended_to_what_is_none() {
    let scene = Scene::new();
    let folder = tempfile::TempDir::new().unwrap();
    let plan = folder.path().join("plan.jsonl");
    let written = scene.plan().jsonl();
    std::fs::write(&plan, &written).unwrap();
    let at = folder.path().display();
    shell(&format!("cd {at} && reg-delete --yes --journal plan.jsonl < plan.jsonl"))
        .run()
        .status(2)
        .stderr_has("holds what reg-select wrote");
    shell(&format!("cd {at} && reg-delete --yes --journal - < plan.jsonl")).run().status(2).stderr_has("leave --journal out");
    assert_eq!(std::fs::read_to_string(&plan).unwrap(), written);
    assert!(is_there(&scene.registry, &scene.old));
    // A folder that is not there is made.
    shell(&format!("cd {at} && reg-delete --yes --journal jj/ < plan.jsonl && cat jj/*.jsonl | reg-delete --undo --yes > u"))
        .run()
        .succeeds();
    assert!(is_there(&scene.registry, &scene.old));
    // A second run onto the standard output of a first one is refused.
    let lock = std::fs::File::create(folder.path().join("held.jsonl")).unwrap();
    lock.lock().unwrap();
    shell(&format!("cd {at} && reg-delete --yes < plan.jsonl >> held.jsonl"))
        .run()
        .status(2)
        .stderr_has("another run is writing the journal");
    assert!(is_there(&scene.registry, &scene.old));
}
