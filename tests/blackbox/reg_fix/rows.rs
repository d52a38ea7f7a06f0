//! Each fault that is found in storages: what a real registry says of it, how it is mended, and that it can be taken back.

use std::fs;

use serde_json::{Value, json};
use tests::fixtures::Pushed;
use tests::*;

use super::{by_http, changes, findings, fix, snapshot, told, undo};

/// A registry that caches nothing, with an image of two tags and one beside it.
struct Place {
    registry: Registry,
    older: Pushed,
    image: Pushed,
}

impl Place {
    fn new() -> Self {
        let registry = Registry::with().cache_off().start();
        let older = Image::new().layer("base").layer("older").tag("v1").push(&registry, "team/app");
        // What a tag remembers is told apart by its time.
        let link = registry.storage().tag_index_link("team/app", "v1", &older.digest);
        tests::tree::age(&link, 1);
        let image = Image::new().layer("base").layer("newer").tag("v1").push(&registry, "team/app");
        Image::new().layer("base").layer("healthy").tag("v1").push(&registry, "team/healthy");
        Self { registry, older, image }
    }

    fn get(&self, reference: &str) -> u16 {
        self.registry.client().manifest("team/app", reference).status
    }

    fn head_of_layer(&self) -> u16 {
        let target = format!("/v2/team/app/blobs/{}", self.image.layers[1]);
        self.registry.client().send("HEAD", &target, &[], b"").status
    }
}

/// What becomes of the image.
#[derive(Clone, Copy, PartialEq)]
enum Ends {
    Pulled,
    Gone,
    /// Whole again once it is pushed again.
    AfterPush,
}

struct Row {
    name: &'static str,
    damage: fn(&Place),
    /// GET of the tag, GET of the digest, HEAD of the layer.
    symptom: [u16; 3],
    /// What the check of a registry says of it.
    by_http: fn(&Place) -> Value,
    words: &'static [&'static str],
    ends: Ends,
}

fn tag_unreachable(_: &Place) -> Value {
    by_http("team/app", "tag-unreachable", json!({"tag": "v1"}))
}

fn manifest_missing(place: &Place) -> Value {
    by_http("team/app", "manifest-missing", json!({"tag": "v1", "digest": place.image.digest}))
}

fn layer(problem: &str, place: &Place) -> Value {
    by_http("team/app", problem, json!({"tag": "v1", "digest": place.image.layers[1], "manifest": place.image.digest}))
}

const ROWS: [Row; 12] = [
    Row {
        name: "an empty link to a manifest",
        damage: |place| place.registry.storage().empty_revision_link("team/app", &place.image.digest),
        symptom: [500, 500, 200],
        by_http: tag_unreachable,
        words: &[],
        ends: Ends::Pulled,
    },
    Row {
        name: "an empty tag",
        damage: |place| place.registry.storage().empty_tag_link("team/app", "v1"),
        symptom: [500, 200, 200],
        by_http: tag_unreachable,
        words: &[],
        ends: Ends::Pulled,
    },
    Row {
        name: "the link to a manifest is missing",
        damage: |place| place.registry.storage().remove_revision("team/app", &place.image.digest),
        symptom: [404, 404, 200],
        by_http: manifest_missing,
        words: &[],
        ends: Ends::Pulled,
    },
    Row {
        name: "the content of a manifest is missing",
        damage: |place| place.registry.storage().remove_blob(&place.image.digest),
        symptom: [404, 404, 200],
        by_http: manifest_missing,
        words: &["--drop", "--stopped"],
        ends: Ends::Gone,
    },
    Row {
        name: "a tag without its link",
        damage: |place| place.registry.storage().remove_tag_link("team/app", "v1"),
        symptom: [404, 200, 200],
        by_http: |_| by_http("team/app", "tag-ghost", json!({"tag": "v1"})),
        words: &[],
        ends: Ends::Pulled,
    },
    Row {
        name: "a manifest is cut",
        damage: |place| place.registry.storage().truncate_blob(&place.image.digest, 60),
        symptom: [500, 500, 200],
        by_http: tag_unreachable,
        words: &["--drop", "--stopped"],
        ends: Ends::Gone,
    },
    Row {
        name: "a manifest is empty",
        damage: |place| place.registry.storage().truncate_blob(&place.image.digest, 0),
        symptom: [500, 500, 200],
        by_http: tag_unreachable,
        words: &["--stopped"],
        ends: Ends::AfterPush,
    },
    Row {
        name: "a layer is missing",
        damage: |place| place.registry.storage().remove_blob(&place.image.layers[1]),
        symptom: [200, 200, 404],
        by_http: |place| layer("blob-missing", place),
        words: &["--drop", "--stopped"],
        ends: Ends::Gone,
    },
    Row {
        name: "the link to a layer is missing",
        damage: |place| place.registry.storage().remove_layer_link("team/app", &place.image.layers[1]),
        symptom: [200, 200, 404],
        by_http: |place| layer("blob-missing", place),
        words: &[],
        ends: Ends::Pulled,
    },
    Row {
        name: "the link to a layer is empty",
        damage: |place| place.registry.storage().empty_layer_link("team/app", &place.image.layers[1]),
        symptom: [200, 200, 500],
        by_http: |place| layer("blob-unreachable", place),
        words: &[],
        ends: Ends::Pulled,
    },
    Row {
        name: "a layer is damaged",
        damage: |place| {
            let size = place.registry.client().blob("team/app", &place.image.layers[1]).body.len();
            place.registry.storage().overwrite_blob(&place.image.layers[1], &vec![b'x'; size]);
        },
        symptom: [200, 200, 200],
        by_http: |place| layer("blob-corrupt", place),
        words: &["--stopped"],
        ends: Ends::AfterPush,
    },
    Row {
        name: "a repository has no folder of layers",
        damage: |place| fs::remove_dir_all(place.registry.storage().repository("team/app").join("_layers")).unwrap(),
        symptom: [200, 200, 404],
        by_http: |place| by_http("team/app", "blob-missing", json!({"tag": "v1", "manifest": place.image.digest})),
        words: &[],
        ends: Ends::Pulled,
    },
];

#[test]
fn each_fault_is_mended_and_can_be_taken_back() {
    std::thread::scope(|scope| {
        for half in [0, 1] {
            scope.spawn(move || ROWS.iter().skip(half).step_by(2).for_each(|row| FORMS.iter().for_each(|form| mends(row, *form))));
        }
    });
}

/// Who found it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// `reg-check` in the storage.
    Storage,
    /// `reg-check` by the registry's answers.
    Registry,
    /// Somebody who says no more than is needed.
    Terse,
}

const FORMS: [Form; 3] = [Form::Storage, Form::Registry, Form::Terse];

fn mends(row: &Row, form: Form) {
    let name = format!("{}, found by {form:?}", row.name);
    let place = Place::new();
    let (root, whole) = (place.registry.root(), snapshot(&place.registry.root()));
    (row.damage)(&place);
    let damaged = snapshot(&root);
    assert_eq!([place.get("v1"), place.get(&place.image.digest), place.head_of_layer()], row.symptom, "{name}");
    let found = match form {
        Form::Storage => findings(&root),
        Form::Registry => {
            // By its name, because a repository without a folder of layers is in no catalog.
            let image = format!("{}/team/app:v1", place.registry.host());
            let check = Tool::new("reg-check").arg(image).args(["--depth", "content", "--fail-on", "never"]);
            check.run().succeeds().records_of("finding")
        }
        Form::Terse => vec![(row.by_http)(&place)],
    };
    // Nothing is done without --yes.
    // What has to be pushed again is left.
    let status = i32::from(row.ends == Ends::AfterPush);
    let shown = fix(&root, row.words, &found).run().status(status);
    assert!(told(&shown).iter().any(|(_, result)| result == "planned"), "{name}\n{shown}");
    assert_eq!(changes(&damaged, &snapshot(&root)), [""; 0], "{name}");
    assert!(!root.join(".reg-fix").exists(), "{name}");

    let ran = fix(&root, row.words, &found).arg("--yes").run().status(status);
    assert!(told(&ran).iter().any(|(_, result)| result == "repaired"), "{name}\n{ran}");
    let planned = |ran: &Ran| ran.records_of("repair").iter().map(|it| it["path"].clone()).collect::<Vec<_>>();
    assert_eq!(planned(&shown), planned(&ran), "{name}: what is shown is what is done");
    match row.ends {
        Ends::Pulled => {
            skopeo::pull(&place.registry, "team/app:v1").unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(changes(&whole, &snapshot(&root)), [""; 0], "{name}: as before");
            assert_eq!(place.registry.client().manifest("team/app", "v1").digest(), place.image.digest, "{name}");
        }
        Ends::Gone => {
            let answer = place.registry.client().manifest("team/app", "v1");
            assert!(answer.status == 404 && answer.text().contains("MANIFEST_UNKNOWN"), "{name}: {}", answer.text());
            assert_eq!(place.get(&place.image.digest), 404, "{name}");
            assert_eq!(place.registry.client().tags("team/app"), [""; 0], "{name}");
            // What is left of it is whole.
            skopeo::pull(&place.registry, &place.older.by_digest()).unwrap();
        }
        Ends::AfterPush => {
            skopeo::pull(&place.registry, "team/app:v1").expect_err(&name);
        }
    }
    skopeo::pull(&place.registry, "team/healthy:v1").unwrap();

    let run = ran.the("trailer")["run"].as_str().unwrap_or_else(|| panic!("{name}\n{ran}")).to_owned();
    undo(&root, &[&run, "--stopped"]).run().succeeds();
    undo(&root, &[&run, "--stopped", "--yes"]).run().succeeds();
    assert_eq!(changes(&damaged, &snapshot(&root)), [""; 0], "{name}: taken back");
    assert_eq!([place.get("v1"), place.get(&place.image.digest), place.head_of_layer()], row.symptom, "{name}: taken back");

    // What was taken back can be mended again.
    fix(&root, row.words, &found).arg("--yes").run().status(status);
    if row.ends != Ends::Pulled {
        Image::new().layer("base").layer("newer").tag("v1").push(&place.registry, "team/app");
        skopeo::pull(&place.registry, "team/app:v1").unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let rest = findings(&root);
    assert!(rest.iter().all(|finding| finding["severity"] == "info"), "{name}: {rest:#?}");
    let again = fix(&root, row.words, &found).arg("--yes").run().succeeds();
    assert!(told(&again).iter().all(|(_, result)| result == "skipped"), "{name}: it is well now\n{again}");
}

#[test]
fn a_tag_takes_the_newest_that_can_be_served_or_nothing_that_is_a_guess() {
    let why = |place: &Place, words: &[&str]| {
        let ran = fix(&place.registry.root(), words, &findings(&place.registry.root())).arg("--yes").run();
        (ran.code(), ran.records_of("repair").iter().filter(|it| it["tag"] == "v1").map(|it| it["why"].to_string()).collect::<String>())
    };
    // The newest was deleted: its content is there, and its link is not.
    let place = Place::new();
    place.registry.storage().remove_tag_link("team/app", "v1");
    place.registry.storage().remove_revision("team/app", &place.image.digest);
    let (code, text) = why(&place, &[]);
    assert!(code == Some(0) && text.contains("the newest of 2") && text.contains("1 newer one cannot be served"), "{text}");
    assert_eq!(place.registry.client().manifest("team/app", "v1").digest(), place.older.digest);
    // Two of one moment.
    let place = Place::new();
    for image in [&place.older, &place.image] {
        let link = place.registry.storage().tag_index_link("team/app", "v1", &image.digest);
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        fs::File::open(link).unwrap().set_modified(time).unwrap();
    }
    place.registry.storage().empty_tag_link("team/app", "v1");
    let (code, text) = why(&place, &[]);
    assert!(code == Some(1) && text.contains("same moment") && text.contains("--drop"), "{text}");
    let (code, text) = why(&place, &["--drop", "--stopped"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(place.registry.client().tags("team/app"), [""; 0]);
}

#[test]
fn what_a_tag_remembers_is_mended_too() {
    let place = Place::new();
    let root = place.registry.root();
    let link = place.registry.storage().tag_index_link("team/app", "v1", &place.older.digest);
    fs::write(&link, "sha256:").unwrap();
    fix(&root, &["--yes"], &findings(&root)).run().succeeds();
    assert_eq!(fs::read_to_string(&link).unwrap(), place.older.digest);
}

#[test]
fn what_is_mended_is_no_newer_for_it() {
    let modified = |path: &std::path::Path| fs::metadata(path).unwrap().modified().unwrap();
    let place = Place::new();
    let (root, storage) = (place.registry.root(), place.registry.storage());
    let link = storage.tag_index_link("team/app", "v1", &place.older.digest);
    fs::write(&link, "").unwrap();
    tests::tree::age(&link, 2);
    let (time, damaged) = (modified(&link), snapshot(&root));
    fix(&root, &["--yes"], &findings(&root)).run().succeeds();
    assert_eq!((fs::read_to_string(&link).unwrap(), modified(&link)), (place.older.digest.clone(), time));
    undo(&root, &["latest", "--yes", "--stopped"]).run().succeeds();
    assert_eq!((changes(&damaged, &snapshot(&root)).len(), modified(&link)), (0, time), "taken back with its time");
    // A run that mends what the tag remembers, and the next that mends the tag.
    fix(&root, &["--yes"], &findings(&root)).run().succeeds();
    storage.empty_tag_link("team/app", "v1");
    fix(&root, &["--yes"], &findings(&root)).run().succeeds();
    assert_eq!(place.registry.client().manifest("team/app", "v1").digest(), place.image.digest);
    // The newest is remembered by its folder alone.
    storage.empty_tag_link("team/app", "v1");
    let newest = storage.tag_index_link("team/app", "v1", &place.image.digest);
    fs::remove_file(&newest).unwrap();
    fix(&root, &["--yes"], &findings(&root)).run().succeeds().stdout_has("whose link is missing");
    assert_eq!(place.registry.client().manifest("team/app", "v1").digest(), place.image.digest);
    assert_eq!(fs::read_to_string(&newest).unwrap(), place.image.digest);
}

#[test]
fn a_platform_of_an_index_is_linked_again() {
    let registry = Registry::with().cache_off().start();
    let index = Index::new().child("linux/amd64", Image::new().layer("a")).child("linux/arm64", Image::new().layer("b")).tag("v1");
    let pushed = index.push(&registry, "team/app");
    registry.storage().remove_revision("team/app", &pushed.children[1].digest);
    skopeo::pull(&registry, "team/app:v1").unwrap_err();
    let root = registry.root();
    fix(&root, &["--yes"], &[by_http("team/app", "child-missing", json!({"tag": "v1", "digest": pushed.children[1].digest}))])
        .run()
        .succeeds();
    skopeo::pull(&registry, "team/app:v1").unwrap();
}
