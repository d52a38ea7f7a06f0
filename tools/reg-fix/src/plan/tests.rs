//! Faults of small scenes, judged as they are everywhere, and what is planned for them.

use std::collections::HashMap;
use std::time::Duration;

use common::check::Depth;
use common::check::judge::judge;
use common::check::scene::{Tag, current_of};
use common::manifest::Manifest;
use common::record::Finding;
use serde_json::json;

use super::*;

/// A repository with an image `v1` that needs a config and a layer, and an index `multi` of it.
struct Fixture {
    scene: Scene,
    known: HashMap<Digest, (Data, State)>,
    image: Digest,
    index: Digest,
    layer: Digest,
    held: Held,
}

/// What is known of blobs, from a table.
struct Table<'a>(&'a HashMap<Digest, (Data, State)>);

impl Known for Table<'_> {
    fn data(&self, digest: &Digest) -> Data {
        self.0.get(digest).map_or(Data::Missing, |known| known.0)
    }

    fn state(&self, digest: &Digest) -> State {
        self.0.get(digest).map_or(State::Unread, |known| known.1)
    }

    fn is_under_way(&self, _: SystemTime) -> bool {
        false
    }
}

const NOTHING: Options = Options { drop: false, from: false };
const DROP: Options = Options { drop: true, from: false };
const FROM: Options = Options { drop: false, from: true };

fn leaf(to: &Digest, second: u64) -> Leaf {
    Leaf { link: Said::Names(to.clone()), written: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(second)) }
}

impl Fixture {
    fn new() -> Self {
        let (config, layer) = (Digest::of(b"config"), Digest::of(b"layer"));
        let mut fixture = Self {
            scene: Scene { name: "a".to_owned(), has_layers: true, has_manifests: true, ..Scene::default() },
            known: HashMap::new(),
            image: layer.clone(),
            index: layer.clone(),
            layer: layer.clone(),
            held: Held::default(),
        };
        for digest in [&config, &layer] {
            fixture.known.insert(digest.clone(), (Data::Size(6), State::Good));
            fixture.scene.layers.insert(digest.clone(), leaf(digest, 1));
        }
        let descriptor = |kind: &str, digest: &Digest| json!({"mediaType": kind, "digest": digest, "size": 6});
        fixture.image = fixture.manifest(&json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)]}));
        fixture.index = fixture.manifest(&json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [descriptor("application/vnd.oci.image.manifest.v1+json", &fixture.image)]}));
        for (tag, digest) in [("v1", &fixture.image), ("multi", &fixture.index)] {
            let index = BTreeMap::from([(digest.clone(), leaf(digest, 1))]);
            fixture.scene.tags.insert(tag.to_owned(), Tag { current: leaf(digest, 1), index });
        }
        fixture
    }

    fn manifest(&mut self, manifest: &serde_json::Value) -> Digest {
        let bytes = manifest.to_string().into_bytes();
        let digest = Digest::of(&bytes);
        let manifest = Box::new(Manifest::parse(&bytes, None).unwrap());
        self.scene.manifests.insert(digest.clone(), Content::Whole { manifest, violations: Vec::new(), refusal: None, size: 6 });
        self.scene.revisions.insert(digest.clone(), leaf(&digest, 1));
        digest
    }

    fn set_tag(&mut self, link: Said) {
        self.scene.tags.get_mut("v1").unwrap().current.link = link;
    }

    /// What is planned for all faults, as `action path` in the order in which it is done, or `result`.
    fn planned(&self, options: Options) -> Vec<String> {
        let faults = judge(&self.scene, Depth::Blobs, &Table(&self.known)).faults;
        let faults: Vec<&Fault> = faults.iter().filter(|fault| fault.weight > common::check::Weight::Space).collect();
        assert!(!faults.is_empty());
        let steps = plan(Some(&self.scene), &faults, &Table(&self.known), options, &self.held);
        let base = layout::repository("a");
        let short = |text: &str| {
            let text = text.replace(&format!("{base}/"), "").replace(&format!("{}/", layout::BLOBS), "");
            let names = [("IMAGE", &self.image), ("INDEX", &self.index), ("LAYER", &self.layer)];
            let text = names.iter().fold(text, |text, (name, digest)| {
                text.replace(&format!("sha256/{}/{}", &digest.hex()[..2], digest.hex()), name)
                    .replace(&format!("sha256/{}", digest.hex()), name)
            });
            text.trim_start_matches("_manifests/").to_owned()
        };
        let text = |step: &Step| match &step.act {
            Act::None => serde_json::to_value(step.record.result).unwrap().as_str().unwrap().to_owned(),
            _ => {
                let action = serde_json::to_value(step.record.action).unwrap();
                format!("{} {}", action.as_str().unwrap(), short(step.record.path.as_deref().unwrap()))
            }
        };
        steps.iter().map(text).collect()
    }
}

fn case(name: &str, make: impl Fn(&mut Fixture), options: Options, expected: &[&str]) {
    let mut fixture = Fixture::new();
    make(&mut fixture);
    assert_eq!(fixture.planned(options), expected, "{name}");
}

#[test]
fn links_are_rebuilt_from_names_and_manifests() {
    let image = |fixture: &Fixture| fixture.image.clone();
    for (link, name) in [(Said::Empty, "empty"), (Said::Garbled("x".to_owned()), "garbled"), (Said::Absent, "absent")] {
        let make = |fixture: &mut Fixture| {
            let digest = image(fixture);
            fixture.scene.revisions.get_mut(&digest).unwrap().link = link.clone();
        };
        case(&format!("a link to a manifest is {name}"), make, NOTHING, &["link revisions/IMAGE/link"]);
        case(&format!("a tag is {name}"), |fixture| fixture.set_tag(link.clone()), NOTHING, &["link tags/v1/current/link"]);
        let make = |fixture: &mut Fixture| {
            let digest = fixture.layer.clone();
            fixture.scene.layers.get_mut(&digest).unwrap().link = link.clone();
        };
        case(&format!("a link to a layer is {name}"), make, NOTHING, &["link _layers/LAYER/link"]);
    }
    let both = |fixture: &mut Fixture| {
        let digest = image(fixture);
        fixture.scene.revisions.get_mut(&digest).unwrap().link = Said::Empty;
        fixture.set_tag(Said::Empty);
    };
    case("manifests before tags", both, NOTHING, &["link revisions/IMAGE/link", "link tags/v1/current/link"]);
    let none = |fixture: &mut Fixture| {
        fixture.scene.has_layers = false;
        fixture.scene.layers.clear();
    };
    let config = format!("link _layers/{}/link", layout::of_digest(&Digest::of(b"config")));
    case("no folder of layers", none, NOTHING, &["folder _layers", &config, "link _layers/LAYER/link"]);
}

#[test]
fn a_tag_never_takes_what_was_deleted_or_is_broken() {
    let deleted = |fixture: &mut Fixture| {
        fixture.set_tag(Said::Absent);
        let digest = fixture.image.clone();
        fixture.scene.revisions.get_mut(&digest).unwrap().link = Said::Absent;
        // Nothing else names it.
        fixture.scene.tags.remove("multi");
        let index = fixture.index.clone();
        fixture.scene.revisions.remove(&index);
    };
    case("what it remembers was deleted", deleted, NOTHING, &["left"]);
    case("what it remembers was deleted", deleted, DROP, &["drop tags/v1"]);
    let mut fixture = Fixture::new();
    fixture.set_tag(Said::Empty);
    let index = fixture.index.clone();
    fixture.scene.tags.get_mut("v1").unwrap().index.insert(index.clone(), leaf(&index, 2));
    assert_eq!(fixture.planned(NOTHING), ["link tags/v1/current/link"]);
    let faults = judge(&fixture.scene, Depth::Blobs, &Table(&fixture.known)).faults;
    let fault = faults.iter().find(|fault| fault.problem == Problem::LinkEmpty).unwrap();
    assert_eq!(fault.path, fixture.scene.path_of(&current_of("v1")));
    let steps = plan(Some(&fixture.scene), &[fault], &Table(&fixture.known), NOTHING, &fixture.held);
    assert_eq!(steps[0].record.after.as_deref(), Some(index.to_string().as_str()), "the newest");
    assert!(steps[0].record.why.as_ref().unwrap().contains("the newest of 2"), "{:?}", steps[0].record.why);
    // Of what is damaged the time is poor evidence, and a folder without its link is remembered too.
    for (link, said, planned) in [(Said::Empty, "of a damaged link", 1), (Said::Absent, "whose link is missing", 2)] {
        fixture.scene.tags.get_mut("v1").unwrap().index.get_mut(&index).unwrap().link = link;
        let steps = plan(Some(&fixture.scene), &[fault], &Table(&fixture.known), NOTHING, &fixture.held);
        assert_eq!(steps.len(), planned, "{steps:?}");
        assert!(steps.iter().all(|step| step.record.after.as_deref() == Some(index.to_string().as_str())), "{steps:?}");
        assert!(steps.iter().any(|step| step.record.why.as_ref().unwrap().contains(said)), "{steps:?}");
    }
    // What a registry cannot read it cannot serve.
    let Some(Content::Whole { refusal, .. }) = fixture.scene.manifests.get_mut(&index) else { panic!("it is whole") };
    *refusal = Some("its schemaVersion is 3".to_owned());
    let steps = plan(Some(&fixture.scene), &[fault], &Table(&fixture.known), NOTHING, &fixture.held);
    assert_eq!(steps[0].record.after, Some(fixture.image.to_string()));
    assert!(steps[0].record.why.as_ref().unwrap().contains("1 newer one cannot be served"), "{:?}", steps[0].record.why);
}

#[test]
fn what_is_lost_is_left_or_fetched_or_goes_with_all_that_needs_it() {
    let lost = |fixture: &mut Fixture| {
        let digest = fixture.image.clone();
        fixture.scene.manifests.insert(digest, Content::Absent);
    };
    case("a manifest is lost", lost, NOTHING, &["left"]);
    case("a manifest is lost", lost, FROM, &["fetch IMAGE/data"]);
    let goes = ["drop tags/multi", "drop tags/v1", "drop revisions/IMAGE", "drop revisions/INDEX"];
    let mut sorted = Fixture::new();
    lost(&mut sorted);
    let mut planned = sorted.planned(DROP);
    planned[2..].sort();
    assert_eq!(planned, goes, "tags first, and the index too that needs it");
    let faults = judge(&sorted.scene, Depth::Blobs, &Table(&sorted.known)).faults;
    let steps = plan(Some(&sorted.scene), &faults.iter().collect::<Vec<_>>(), &Table(&sorted.known), DROP, &sorted.held);
    let why = |tag: &str| steps.iter().find(|step| step.record.tag.as_deref() == Some(tag)).and_then(|step| step.record.why.clone());
    assert_eq!(why("v1").as_deref(), Some("the content of the manifest is lost"));
    assert!(why("multi").unwrap().contains(&format!("is lost: {}", sorted.image)), "{:?}", why("multi"));
    let no_layer = |fixture: &mut Fixture| {
        let digest = fixture.layer.clone();
        fixture.known.remove(&digest);
    };
    case("a layer is lost", no_layer, NOTHING, &["left"]);
    case("a layer is lost", no_layer, FROM, &["fetch LAYER/data"]);
    let mut fixture = Fixture::new();
    no_layer(&mut fixture);
    assert_eq!(fixture.planned(DROP).len(), 5, "both tags, both manifests, and the link to the layer");
    // What a finding says is in use stays.
    let finding = json!({"type": "finding", "repository": "a", "tag": "multi", "problem": "blob-missing", "severity": "error", "detail": "", "inUse": true});
    fixture.held = Held::of(&[serde_json::from_value::<Finding>(finding).unwrap()]);
    assert_eq!(fixture.planned(DROP), ["left"]);
}

#[test]
fn damage_is_moved_away_and_nothing_leads_to_it() {
    let damaged = |state| {
        move |fixture: &mut Fixture| {
            let digest = fixture.layer.clone();
            fixture.known.insert(digest, (Data::Size(6), state));
        }
    };
    // The image is not whole by that.
    case("a layer is damaged", damaged(State::Corrupt), NOTHING, &["quarantine LAYER", "left"]);
    let mut fixture = Fixture::new();
    damaged(State::Corrupt)(&mut fixture);
    let planned = fixture.planned(DROP);
    assert_eq!((planned.len(), planned.last().unwrap().as_str()), (6, "quarantine LAYER"), "with all that needs it: {planned:?}");
    let finding = json!({"type": "finding", "repository": "a", "tag": "v1", "problem": "blob-corrupt", "severity": "error", "detail": "", "inUse": true});
    fixture.held = Held::of(&[serde_json::from_value::<Finding>(finding).unwrap()]);
    assert_eq!(fixture.planned(DROP), ["quarantine LAYER", "left"], "what is in use stays, and can be pushed");
    case("a layer is damaged", damaged(State::Corrupt), FROM, &["fetch LAYER/data"]);
    case("a layer cannot be read", damaged(State::Unreadable), NOTHING, &["left"]);
    let no_link = |fixture: &mut Fixture| {
        damaged(State::Corrupt)(fixture);
        let digest = fixture.layer.clone();
        fixture.scene.layers.remove(&digest);
    };
    case("a link would lead to it", no_link, NOTHING, &["quarantine LAYER", "left"]);
    let manifest = |fixture: &mut Fixture| {
        let digest = fixture.image.clone();
        fixture.scene.manifests.insert(digest, Content::Corrupt("is empty".to_owned()));
    };
    case("a manifest is damaged", manifest, NOTHING, &["quarantine IMAGE", "left"]);
    case("a manifest is damaged", manifest, FROM, &["fetch IMAGE/data"]);
    let mut fixture = Fixture::new();
    manifest(&mut fixture);
    assert_eq!(fixture.planned(DROP).last().unwrap(), "quarantine IMAGE");
    let wrong = |fixture: &mut Fixture| {
        let digest = fixture.layer.clone();
        fixture.known.insert(digest, (Data::Size(7), State::Good));
    };
    case("the manifest says another size than the content that hashes right has", wrong, NOTHING, &["left"]);
}
