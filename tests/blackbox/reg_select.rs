//! `reg-select`: a listing and inventories in, verdicts out.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tests::*;

const NOW: &str = "2026-11-20T12:00:00Z";
const REGISTRY: &str = "registry.example.com";

fn digest(name: &str) -> String {
    digest_of(name.as_bytes())
}

fn listing_header() -> Value {
    json!({"type":"header","tool":"reg-list","version":"0.1.0","schema":1,"time":"2026-11-20T11:50:00Z","scope":{"registry":REGISTRY,"prefixes":[]}})
}

fn trailer(records: usize) -> Value {
    json!({"type":"trailer","complete":true,"records":records})
}

/// A manifest of so many days of age; its tag stands for its digest.
fn manifest(repository: &str, tag: &str, day: u32) -> Value {
    json!({"type":"manifest","registry":REGISTRY,"repository":repository,"digest":digest(&format!("{repository}:{tag}")),"tags":[tag],
        "mediaType":"application/vnd.oci.image.manifest.v1+json","size":100,"created":format!("2026-10-{day:02}T00:00:00Z"),"createdSource":"config",
        "config":digest(&format!("config {repository}:{tag}")),"blobs":[{"digest":digest("base layer"),"size":1_048_576},{"digest":digest(&format!("layer {repository}:{tag}")),"size":1024}],
        "someLaterKey":{"kept":true}})
}

fn closing(repository: &str, manifests: usize) -> Value {
    json!({"type":"repository","registry":REGISTRY,"repository":repository,"complete":true,"error":null,"tagCount":manifests,"manifestCount":manifests,"imageSize":0})
}

/// `team/app` with v1 (oldest) to v6, and `team/old` with one image that nobody uses.
fn listing() -> Vec<Value> {
    let mut records = vec![listing_header()];
    records.extend((1..=6).map(|number| manifest("team/app", &format!("v{number}"), number)));
    records.extend([closing("team/app", 6), manifest("team/old", "x", 1), closing("team/old", 1), trailer(7)]);
    records
}

fn one_use(image: &str) -> Value {
    let (name, tag) = image.rsplit_once(':').unwrap();
    let (registry, repository) = name.split_once('/').unwrap();
    json!({"type":"use","image":image,"registry":registry,"repository":repository,"tag":tag,"digest":null,"runningDigest":null,"configDigest":null,
        "source":"prod","namespace":"shop","kind":"Deployment","name":"web","container":"app","field":"container","pods":1,"pod":"web-1"})
}

/// An inventory of the cluster `prod`, taken a quarter of an hour ago: these images and ten others.
fn inventory(images: &[&str]) -> Vec<Value> {
    let mut records = vec![json!({"type":"header","tool":"k8s-images","version":"0.1.0","schema":1,"time":"2026-11-20T11:45:00Z",
        "scope":{"sources":[{"kind":"context","name":"prod","server":"https://10.0.0.1","complete":true,"error":null}],"partial":false}})];
    records.extend(images.iter().map(|image| one_use(image)));
    records.extend((0..10).map(|number| one_use(&format!("docker.io/library/other-{number}:1"))));
    records.push(trailer(records.len() - 1));
    records
}

/// A folder with an inventory in it.
struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new(inventory: &[Value]) -> Self {
        let world = Self { folder: temporary() };
        world.file("in-use.jsonl", &lines(inventory));
        world
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn select(&self, arguments: &[&str]) -> Tool {
        Tool::new("reg-select").in_folder(self.folder.path()).args(["--now", NOW]).args(arguments)
    }

    /// With the inventory of this world.
    fn evict(&self, arguments: &[&str]) -> Tool {
        self.select(&["--in-use", "in-use.jsonl", "--preset", "evict"]).args(arguments)
    }
}

fn used() -> World {
    World::new(&inventory(&["registry.example.com/team/app:v2"]))
}

fn verdicts(ran: &Ran) -> Vec<String> {
    ran.records_of("manifest")
        .iter()
        .map(|record| {
            format!(
                "{} {}:{}",
                record["verdict"]["action"].as_str().unwrap(),
                record["repository"].as_str().unwrap(),
                record["tags"][0].as_str().unwrap()
            )
        })
        .collect()
}

#[test]
fn a_plan_says_what_goes_and_by_what_it_was_decided() {
    let ran = used().evict(&["--max-delete", "50%"]).stdin(lines(&listing())).run().succeeds();
    assert_eq!(verdicts(&ran), ["delete team/app:v3", "delete team/old:x"]);
    let header = ran.the("header");
    assert_eq!(
        (&header["tool"], &header["schema"], &header["time"], &header["now"]),
        (&json!("reg-select"), &json!(1), &json!(NOW), &json!(NOW))
    );
    assert_eq!(
        header["policy"],
        json!({"preset":"evict","keepNewest":3,"keepAroundInUse":2,"keepWithin":"1d","deleteUnusedRepositories":true,"deleteRest":true,"maxDelete":"50%"})
    );
    assert_eq!(
        header["inputs"],
        json!([{"role":"in-use","tool":"k8s-images","time":"2026-11-20T11:45:00Z","scope":inventory(&[])[0]["scope"]}])
    );
    let trailer = ran.the("trailer");
    assert_eq!(
        trailer,
        json!({"type":"trailer","complete":true,"records":2,"listings":[{"tool":"reg-list","time":"2026-11-20T11:50:00Z","scope":{"registry":REGISTRY,"prefixes":[]},"complete":true}],
        "listed":7,"deletes":2,"untags":0,"uses":0,"frozen":0})
    );
    let kinds: Vec<String> = ran.records().iter().map(|record| record["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["header", "manifest", "repository", "manifest", "repository", "trailer"]);
}

#[test]
fn records_pass_unchanged_but_for_the_verdict() {
    let mut input = listing();
    input.insert(1, json!({"type":"comet","tail":[1,2]}));
    let ran = used().evict(&["--all"]).stdin(lines(&input)).run().succeeds();
    assert!(ran.stdout().contains(&format!("{}\n", json!({"type":"comet","tail":[1,2]}))));
    for (before, after) in input.iter().filter(|record| record["type"] == "manifest").zip(ran.records_of("manifest")) {
        let mut without = after.clone();
        without.as_object_mut().unwrap().remove("verdict");
        assert_eq!(&without, before);
        assert!(!after["verdict"]["reasons"].as_array().unwrap().is_empty());
    }
    assert_eq!(ran.records_of("manifest").len(), 7);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let world = used();
    let run = || world.evict(&["--all"]).stdin(lines(&listing())).run().succeeds().stdout();
    assert_eq!(run(), run());
}

#[test]
fn whitespace_and_the_order_of_keys_do_not_matter() {
    let pretty: String = listing()
        .iter()
        .map(|record| {
            let mut keys: Vec<(String, Value)> = record.as_object().unwrap().clone().into_iter().collect();
            keys.reverse();
            format!(
                "  {}  \r\n\n",
                serde_json::to_string(&keys.into_iter().collect::<serde_json::Map<_, _>>()).unwrap().replace("\":", "\" : ")
            )
        })
        .collect();
    assert_eq!(verdicts(&used().evict(&[]).stdin(pretty).run().succeeds()), ["delete team/app:v3", "delete team/old:x"]);
}

#[test]
fn lifecycle_and_numbers_that_override_a_preset() {
    let world = used();
    let run = |arguments: &[&str]| {
        verdicts(
            &world.select(&["--in-use", "in-use.jsonl", "--preset", "lifecycle"]).args(arguments).stdin(lines(&listing())).run().succeeds(),
        )
    };
    assert_eq!(run(&[]), Vec::<String>::new());
    assert_eq!(
        run(&["--delete-older-than", "30d", "--keep-newest", "2"]),
        ["delete team/app:v1", "delete team/app:v3", "delete team/app:v4"]
    );
}

#[test]
fn the_summary_tells_people_what_goes_and_why() {
    let mut input = listing();
    input[1]["tags"] = json!(["v1", "golden"]);
    let world = used();
    let ran = world
        .select(&[
            "--in-use",
            "in-use.jsonl",
            "--delete-rest",
            "--exclude-tags",
            "golden",
            "--repository",
            "team/*",
            "--repository",
            "nothing/*",
        ])
        .stdin(lines(&input))
        .run()
        .succeeds();
    for part in [
        "reg-select: 5 of 7 manifests in 2 of 2 repositories go, 2 stay;",
        "why they go: delete-rest 5",
        "why they stay: in-use 1, also-tagged 1",
        "team/app v1: also tagged golden",
        "team/app: 4.39 KiB by 4 manifests",
        "--repository or --exclude: nothing/* matches nothing that was listed",
    ] {
        assert!(ran.stderr().contains(part), "{part:?} is not in: {}", ran.stderr());
    }
    world.evict(&["--quiet"]).stdin(lines(&listing())).run().succeeds().stderr_lacks("reg-select:");
}

#[test]
fn bytes_freed_count_each_blob_once_and_not_while_it_stays() {
    let world = used();
    // All of team/old goes; its base layer stays with team/app.
    world.evict(&["--repository", "team/old"]).stdin(lines(&listing())).run().succeeds().stderr_has("1.10 KiB come free");
}

#[test]
fn untag_and_the_keep_list() {
    let mut input = listing();
    input[1]["tags"] = json!(["v1", "golden"]);
    let world = used();
    world.file("keep.txt", "# pinned\nteam/app:v3  # the demo\nteam/nothing\n");
    let ran = world
        .select(&["--in-use", "in-use.jsonl", "--delete-rest", "--exclude-tags", "golden", "--untag", "--keep-list", "keep.txt"])
        .stdin(lines(&input))
        .run()
        .succeeds();
    assert_eq!(
        verdicts(&ran),
        ["untag team/app:v1", "delete team/app:v4", "delete team/app:v5", "delete team/app:v6", "delete team/old:x"]
    );
    assert_eq!(ran.records_of("manifest")[0]["verdict"]["untag"], json!(["v1"]));
    assert_eq!(ran.the("trailer")["untags"], 1);
    assert!(ran.stderr().contains("--keep-list: team/nothing matches nothing"));
    world.file("keep.txt", "a\nb c\n");
    world.evict(&["--keep-list", "keep.txt"]).stdin(lines(&listing())).run().status(2).stderr_has("keep.txt: line 2: ").stdout_is_empty();
}

#[test]
fn uses_by_digests_that_are_not_listed_are_passed_on() {
    let mut records = inventory(&["registry.example.com/team/app:v2", "mirror.local/team/app:v2", "registry.example.com/team/app:v1"]);
    records[1]["runningDigest"] = json!(digest("an untagged index"));
    records[2]["digest"] = json!(digest("another"));
    records[3]["runningDigest"] = json!(digest("team/app:v1"));
    let world = World::new(&records);
    let ran = world.evict(&[]).stdin(lines(&listing())).run().succeeds();
    let passed = ran.records_of("use");
    assert_eq!(passed.len(), 2);
    assert_eq!(ran.the("trailer")["uses"], 2);
    for (record, original) in passed.iter().zip(&records[1..]) {
        assert_eq!(record["listedAs"], json!({"registry":REGISTRY,"repository":"team/app"}));
        assert_eq!(record["registry"], original["registry"]);
    }
    let first = ran.records().iter().position(|record| record["type"] == "manifest");
    assert!(ran.records().iter().position(|record| record["type"] == "use") < first, "before the verdicts");
    let nothing_goes = world.evict(&["--keep-newest", "9", "--repository", "team/app"]).stdin(lines(&listing())).run().succeeds();
    assert_eq!(nothing_goes.records_of("use").len(), 0, "where nothing goes, nothing need be asked");
}

#[test]
fn names_of_one_registry() {
    let world = World::new(&inventory(&["mirror.local/hub/team/app:v2"]));
    let select =
        |arguments: &[&str]| world.select(&["--in-use", "in-use.jsonl", "--delete-rest"]).args(arguments).stdin(lines(&listing())).run();
    select(&[]).status(3).stderr_has("--alias NAME=registry.example.com");
    let aliased = select(&["--alias", "mirror.local/hub=registry.example.com"]).succeeds();
    assert!(!verdicts(&aliased).contains(&"delete team/app:v2".to_owned()));
    let by_environment = world
        .select(&["--in-use", "in-use.jsonl", "--delete-rest"])
        .env("REG_ALIAS", "mirror.local/hub=registry.example.com")
        .stdin(lines(&listing()))
        .run()
        .succeeds();
    assert_eq!(by_environment.records_of("manifest"), aliased.records_of("manifest"));
    select(&["--alias", "nonsense"]).status(2).stderr_has("is no alias");
    let same_path = World::new(&inventory(&["mirror.local/team/app:v2"]));
    let run = |arguments: &[&str]| {
        same_path.select(&["--in-use", "in-use.jsonl", "--delete-rest"]).args(arguments).stdin(lines(&listing())).run()
    };
    let ran = run(&["--all"]).succeeds().stderr_has("1 use on other hosts");
    assert!(ran.records_of("manifest").iter().any(|record| record["verdict"]["reasons"][0]["rule"] == "in-use-other-name"));
    run(&["--not-alias", "mirror.local"]).status(3).stderr_has("no image in the inventory is of registry.example.com");
}

#[test]
fn inventories_that_cannot_be_trusted_are_refused_with_the_way_out() {
    let whole = inventory(&["registry.example.com/team/app:v2"]);
    let change = |change: fn(&mut Vec<Value>)| {
        let mut records = whole.clone();
        change(&mut records);
        records
    };
    let cases: [(&str, Vec<Value>, &str, &[&str]); 9] = [
        (
            "truncated",
            change(|records| {
                records.pop();
            }),
            "in-use.jsonl: ends without the trailer",
            &[],
        ),
        (
            "fewer than it says",
            change(|records| {
                records.remove(3);
            }),
            "only 10 came",
            &[],
        ),
        ("empty", Vec::new(), "in-use.jsonl: is empty", &[]),
        ("concatenated with a cut one", [whole[..5].to_vec(), whole.clone()].concat(), "in-use.jsonl, line 6: begins a new section", &[]),
        ("stale", change(|records| records[0]["time"] = json!("2026-11-19T09:00:00Z")), "--max-age", &["--max-age", "30h"]),
        ("future", change(|records| records[0]["time"] = json!("2026-11-20T12:06:00Z")), "in the future", &[]),
        ("partial", change(|records| records[0]["scope"]["partial"] = json!(true)), "--allow-partial", &["--allow-partial"]),
        (
            "incomplete",
            change(|records| {
                records[0]["scope"]["sources"][0]["complete"] = json!(false);
                records[11]["complete"] = json!(false);
            }),
            "--allow-incomplete prod",
            &["--allow-incomplete", "prod"],
        ),
        (
            "files alone",
            change(|records| records[0]["scope"]["sources"][0]["kind"] = json!("files")),
            "--require-source prod",
            &["--require-source", "prod"],
        ),
    ];
    for (name, records, sentence, way_out) in cases {
        let world = World::new(&records);
        let ran = world.evict(&[]).stdin(lines(&listing())).run().status(3).stdout_is_empty().stderr_has(sentence);
        assert_eq!(ran.stderr().lines().count(), 1, "{name}: one sentence");
        if !way_out.is_empty() {
            world.evict(way_out).stdin(lines(&listing())).run().succeeds();
        }
    }
    let two = World::new(&[whole.clone(), whole].concat());
    two.evict(&[]).stdin(lines(&listing())).run().succeeds();
}

#[test]
fn a_small_inventory_may_be_a_wrong_one() {
    let mut small = inventory(&["registry.example.com/team/app:v2"]);
    small.truncate(4);
    small.push(trailer(3));
    let world = World::new(&small);
    world.evict(&[]).stdin(lines(&listing())).run().status(3).stderr_has("--min-in-use 3");
    world.evict(&["--min-in-use", "3"]).stdin(lines(&listing())).run().succeeds();
    world.evict(&["--require-source", "prod"]).stdin(lines(&listing())).run().succeeds();
    world.evict(&["--require-source", "stage"]).stdin(lines(&listing())).run().status(3).stderr_has("lacks the source stage");
}

#[test]
fn a_further_inventory_can_only_hold_more() {
    let world = used();
    let mut old = inventory(&["registry.example.com/team/app:v3"]);
    old[0]["time"] = json!("2025-01-01T00:00:00Z");
    old[0]["scope"]["partial"] = json!(true);
    world.file("old.jsonl", &lines(&old));
    let ran = world.evict(&["--also-in-use", "old.jsonl"]).stdin(lines(&listing())).run().succeeds();
    assert_eq!(verdicts(&ran), ["delete team/old:x"]);
    assert_eq!(ran.the("header")["inputs"][1]["role"], "also-in-use");
    world.file("old.jsonl", &lines(&old[..3]));
    world.evict(&["--also-in-use", "old.jsonl"]).stdin(lines(&listing())).run().status(3).stderr_has("old.jsonl: ends without the trailer");
    world.select(&["--also-in-use", "old.jsonl", "--delete-rest"]).stdin(lines(&listing())).run().status(3);
}

#[test]
fn without_an_inventory_nothing_is_decided_unless_it_is_said() {
    let world = used();
    world.select(&["--delete-rest"]).stdin(lines(&listing())).run().status(3).stderr_has("--without-in-use").stdout_is_empty();
    let ran = world.select(&["--delete-rest", "--without-in-use"]).stdin(lines(&listing())).run().succeeds();
    assert_eq!((ran.records_of("manifest").len(), &ran.the("header")["inputs"]), (7, &json!([])));
    for flags in [&["--preset", "evict"][..], &["--delete-rest", "--keep-around-in-use", "2"], &["--delete-unused-repositories"]] {
        world.select(&["--without-in-use"]).args(flags).stdin(lines(&listing())).run().status(2).stderr_has("--without-in-use");
    }
    world.select(&["--in-use", "in-use.jsonl", "--without-in-use", "--delete-rest"]).stdin(lines(&listing())).run().status(2);
}

#[test]
fn a_listing_that_is_cut_or_taken_apart_gives_no_plan() {
    let world = used();
    let whole = listing();
    let without = |kind: &str| whole.iter().filter(|record| record["type"] != kind).cloned().collect::<Vec<_>>();
    for (records, sentence) in [
        (whole[..5].to_vec(), "ends without the trailer"),
        (Vec::new(), "is empty"),
        (without("header"), "its header is missing"),
        (without("trailer"), "ends without the trailer"),
        (without("repository"), "repository record that closes registry.example.com/team/app"),
    ] {
        let ran = world.evict(&[]).stdin(lines(&records)).run().status(3).stderr_has(sentence);
        assert!(!ran.stdout().contains("\"type\":\"trailer\""));
        assert!(ran.stderr().contains("jq -c 'select(.type != \"manifest\""), "{}", ran.stderr());
    }
    let text = lines(&whole);
    world.evict(&[]).stdin(&text.as_bytes()[..text.len() / 2]).run().status(3).stderr_has("breaks off in the middle");
}

#[test]
fn jq_between_the_stages_is_normal_use() {
    let world = used();
    world.file("listing.jsonl", &lines(&listing()));
    let script = format!(
        "set -o pipefail; cd {}; jq -c 'select(.type != \"manifest\" or (.repository | startswith(\"team/o\")))' listing.jsonl | reg-select --now {NOW} --in-use in-use.jsonl --preset evict",
        world.folder.path().display()
    );
    assert_eq!(verdicts(&shell(&script).run().succeeds()), ["delete team/old:x"]);
}

#[test]
fn rubbish_is_named_with_its_line() {
    let world = used();
    let mut higher = listing();
    higher[0]["schema"] = json!(2);
    let mut bad_digest = listing();
    bad_digest[2]["digest"] = json!("sha256:../../x");
    let cases = [
        (lines(&listing()).replacen('\n', "\nrubbish\n", 2), "standard input, line 2: is not JSON"),
        (lines(&higher), "standard input, line 1: was written in schema 2"),
        (lines(&bad_digest), "standard input, line 3: is not the record it says it is: \"sha256:../../x\" is not a digest"),
        (lines(&inventory(&[])), "begins an inventory"),
        (
            lines(&[
                json!({"type":"header","tool":"reg-select","version":"1","schema":1,"time":NOW,"now":NOW,"policy":{},"inputs":[]}),
                trailer(0),
            ]),
            "begins a plan",
        ),
        ("\u{feff}{}".to_owned(), "line 1: is not JSON"),
    ];
    for (input, sentence) in cases {
        world.evict(&[]).stdin(input).run().status(2).stderr_has(sentence);
    }
    world.evict(&[]).stdin(vec![0xff, 0xfe, b'\n']).run().status(2).stderr_has("line 1: is not UTF-8");
    world.file("in-use.jsonl", "rubbish\n");
    world.evict(&[]).stdin(lines(&listing())).run().status(2).stderr_has("in-use.jsonl, line 1: is not JSON");
    world
        .select(&["--in-use", "nowhere.jsonl", "--delete-rest"])
        .stdin(lines(&listing()))
        .run()
        .status(2)
        .stderr_has("opening the inventory nowhere.jsonl");
}

#[test]
fn a_repository_that_comes_twice_needs_the_whole_input() {
    let world = used();
    let mut twice = listing();
    twice.splice(10..10, [manifest("team/app", "v7", 7), closing("team/app", 1)]);
    world.evict(&[]).stdin(lines(&twice)).run().status(2).stderr_has("--ungrouped");
    let ran = world.evict(&["--ungrouped"]).stdin(lines(&twice)).run().succeeds();
    assert_eq!(verdicts(&ran), ["delete team/app:v3", "delete team/app:v4", "delete team/old:x"]);
    let mut shuffled = listing();
    shuffled[1..10].reverse();
    world.evict(&[]).stdin(lines(&shuffled)).run().status(2).stderr_has("--ungrouped");
    assert_eq!(
        verdicts(&world.evict(&["--ungrouped"]).stdin(lines(&shuffled)).run().succeeds()),
        ["delete team/old:x", "delete team/app:v3"]
    );
    let mut unclosed = listing();
    unclosed.retain(|record| record["repository"] != "team/old" || record["type"] != "repository");
    world.evict(&["--ungrouped"]).stdin(lines(&unclosed)).run().status(3).stderr_has("team/old");
}

#[test]
fn what_could_not_be_listed_is_frozen_and_the_rest_is_decided() {
    let world = used();
    let mut frozen = listing();
    frozen[7]["complete"] = json!(false);
    frozen[7]["error"] = json!("503 Service Unavailable");
    let ran = world.evict(&["--all"]).stdin(lines(&frozen)).run().status(1).stderr_has("reg-check").stderr_has("team/app");
    assert_eq!(verdicts(&ran).iter().filter(|verdict| verdict.starts_with("delete")).collect::<Vec<_>>(), ["delete team/old:x"]);
    assert_eq!(ran.the("trailer")["frozen"], 1);
    assert_eq!(ran.records_of("manifest")[0]["verdict"]["reasons"][0]["rule"], "frozen");
    let mut broke_off = listing();
    broke_off.last_mut().unwrap()["complete"] = json!(false);
    let ran = world.evict(&[]).stdin(lines(&broke_off)).run().status(1);
    assert_eq!(verdicts(&ran), ["delete team/app:v3", "delete team/old:x"], "a catalog that broke off freezes nothing that was listed");
    assert_eq!(ran.the("trailer")["listings"][0]["complete"], false);
}

#[test]
fn a_limit_on_deletions_finishes_the_plan_and_refuses_it() {
    let world = used();
    let ran = world.evict(&["--max-delete", "1"]).stdin(lines(&listing())).run().status(3).stderr_has("more than --max-delete 1");
    assert_eq!((ran.the("trailer")["deletes"].as_u64(), &ran.the("header")["policy"]["maxDelete"]), (Some(2), &json!("1")));
    world.evict(&["--max-delete", "2"]).stdin(lines(&listing())).run().succeeds();
    world.evict(&["--max-delete", "28%"]).stdin(lines(&listing())).run().status(3);
    world.evict(&["--max-delete", "29%"]).stdin(lines(&listing())).run().succeeds();
    world.evict(&["--max-delete", "many"]).stdin(lines(&listing())).run().status(2);
}

#[test]
fn bad_usage_is_said_in_a_sentence() {
    let world = used();
    let select = |arguments: &[&str]| world.select(arguments).stdin(lines(&listing())).run();
    select(&["--in-use", "in-use.jsonl"]).status(2).stderr_has("no rule deletes anything");
    select(&["--in-use", "in-use.jsonl", "--delete-older-than", "6m"]).status(2).stderr_has("ambiguous");
    select(&["--in-use", "in-use.jsonl", "--delete-rest", "--tags", "("]).status(2).stderr_has("is no regular expression");
    select(&["--in-use", "in-use.jsonl", "--delete-rest", "--repository", "[a"]).status(2).stderr_has("is no glob");
    select(&["--nonsense"]).status(2).stderr_has("reg-select: unexpected argument '--nonsense'");
    world.select(&["--in-use", "in-use.jsonl", "--delete-rest"]).in_terminal().run().status(2);
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let world = used();
    world.file("listing.jsonl", &lines(&listing()));
    let script = format!(
        "cd {}; reg-select --now {NOW} --in-use in-use.jsonl --preset evict < listing.jsonl | head -n 1; echo ${{PIPESTATUS[0]}}",
        world.folder.path().display()
    );
    let ran = shell(&script).run().succeeds();
    assert!(ran.stdout().ends_with("\n0\n"), "{}", ran.stdout());
}

#[test]
fn help_shows_examples_first_and_the_rest_is_generated() {
    let help = Tool::new("reg-select").arg("--help").run().succeeds().stdout();
    assert!(help.find("Examples:").unwrap() < help.find("Usage:").unwrap(), "{help}");
    Tool::new("reg-select").arg("--version").run().succeeds().stdout_has("reg-select 0.1.0");
    Tool::new("reg-select").args(["--generate", "man"]).run().succeeds().stdout_has(".TH reg-select 1");
    for shell in ["bash", "zsh", "fish"] {
        Tool::new("reg-select").args(["--generate", shell]).run().succeeds().stdout_has("keep-around-in-use");
    }
}

#[test]
fn a_table_for_people() {
    let ran = used().evict(&["--format", "table", "--all"]).stdin(lines(&listing())).run().succeeds();
    assert!(ran.stdout().starts_with("ACTION") && ran.stdout().contains("prod/shop/Deployment/web runs v2"), "{}", ran.stdout());
}

#[test]
fn aliases_of_the_environment_and_of_flags_both_count() {
    let world = World::new(&inventory(&["svc.local/x/app:v2"]));
    let mut input = listing();
    for record in &mut input {
        if record["repository"] == "team/app" {
            record["repository"] = json!("hub/x/app");
        }
    }
    let select = |variable: &str, flags: &[&str]| world.evict(flags).env("REG_ALIAS", variable).stdin(lines(&input)).run().succeeds();
    let hub = "svc.local=registry.example.com/hub";
    for ran in [
        select(hub, &["--alias", "foo.local=bar.local"]),
        select("foo.local=bar.local", &["--alias", hub]),
        select("", &["--alias", "svc.local=other.local", "--alias", hub]),
        select(&format!("{hub}, svc.local=other.local"), &[]),
    ] {
        assert_eq!(verdicts(&ran), ["delete hub/x/app:v3", "delete team/old:x"]);
        assert!(ran.the("header")["policy"]["alias"].as_array().unwrap().contains(&json!(hub)), "the next tool must know it too");
    }
    world.evict(&[]).env("REG_ALIAS", "nonsense").stdin(lines(&input)).run().status(2).stderr_has("REG_ALIAS");
}

#[test]
fn a_key_that_a_record_has_already_is_replaced() {
    let world = used();
    let mut input = listing();
    input[3]["verdict"] = Value::Null;
    input[8]["verdict"] = json!({"action":"keep","untag":[],"reasons":[]});
    let text = lines(&input).replacen("\"kept\":true", "\"big\":12345678901234567890123", 3);
    let ran = world.evict(&[]).stdin(text).run().succeeds();
    assert_eq!(verdicts(&ran), ["delete team/app:v3", "delete team/old:x"]);
    let line = ran.stdout().lines().find(|line| line.contains("\"v3\"")).unwrap().to_owned();
    assert_eq!(line.matches("\"verdict\"").count(), 1, "{line}");
    assert!(line.contains("12345678901234567890123"), "{line}");
}

#[test]
fn an_inventory_cut_in_the_middle_of_a_line_is_cut_whatever_follows() {
    let whole = lines(&inventory(&["registry.example.com/team/app:v2"]));
    let world = used();
    world.file("in-use.jsonl", &format!("{}{whole}", &whole[..whole.len() / 2]));
    let ran =
        world.evict(&[]).stdin(lines(&listing())).run().status(3).stderr_has("the first was cut").stderr_has("take the inventory again");
    assert_eq!(ran.stderr().lines().count(), 1);
}

#[test]
fn what_a_filter_dropped_is_missed_with_ungrouped_too() {
    let world = used();
    let one: Vec<Value> =
        vec![listing_header(), manifest("team/app", "v1", 1), manifest("team/app", "v2", 2), closing("team/app", 2), trailer(2)];
    let second = [
        vec![listing_header()],
        (3..=6).map(|number| manifest("team/app", &format!("v{number}"), number)).collect(),
        vec![closing("team/app", 4), trailer(4)],
    ]
    .concat();
    let select = |first: Vec<Value>| {
        world
            .select(&["--in-use", "in-use.jsonl", "--delete-rest", "--keep-around-in-use", "1", "--ungrouped"])
            .stdin(lines(&[first, second.clone()].concat()))
            .run()
    };
    assert_eq!(verdicts(&select(one.clone()).succeeds()).len(), 4);
    let without_v2 = one.iter().filter(|record| record["tags"] != json!(["v2"])).cloned().collect();
    assert_eq!(verdicts(&select(without_v2).succeeds()), Vec::<String>::new(), "the place of what is in use is lost");
    let without_closing = one.iter().filter(|record| record["type"] != "repository").cloned().collect();
    select(without_closing).status(3).stderr_has("closes registry.example.com/team/app");
}

#[test]
fn what_a_listing_says_cannot_play_with_a_terminal() {
    let world = used();
    let mut input = listing();
    for record in &mut input {
        if record["repository"] == "team/old" {
            record["repository"] = json!("team/\u{1b}[2Jold");
        }
    }
    let ran = world.evict(&[]).stdin(lines(&input)).run().succeeds();
    assert!(!ran.stderr().contains('\u{1b}'), "{:?}", ran.stderr());
}
