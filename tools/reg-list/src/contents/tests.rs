//! A repository as it was read, and the records that come of it.

use common::manifest::{OCI_INDEX, OCI_MANIFEST};
use serde_json::{Value, json};

use super::*;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// The digest that stands for a manifest of this name; its bytes are never hashed here.
fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn now() -> DateTime<Utc> {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

#[derive(Default)]
struct Repository(Contents);

impl Repository {
    fn with(mut self, name: &str, tags: &[&str], manifest: &Value, created: Option<&str>) -> Self {
        let manifest = Manifest::parse(manifest.to_string().as_bytes(), None).unwrap();
        let config = ImageConfig {
            created: created.map(str::to_owned),
            platform: Some("linux/amd64".to_owned()),
            labels: [("from".to_owned(), name.to_owned())].into(),
        };
        let config = if manifest.has_image_config { Ok(Arc::new(config)) } else { Err("it has none".to_owned()) };
        let tags = tags.iter().map(|tag| tag.parse().unwrap()).collect();
        self.0.manifests.insert(digest(name), Entry { manifest, size: 7, tags, config, pushed: None });
        self
    }

    fn image(self, name: &str, tags: &[&str], blobs: &[(&str, u64)], created: &str) -> Self {
        self.with(name, tags, &image(blobs), Some(created))
    }

    fn index(self, name: &str, tags: &[&str], children: &[(&str, Option<&str>)]) -> Self {
        self.with(name, tags, &index(children), None)
    }

    fn missing(mut self, name: &str) -> Self {
        self.0.missing.insert(digest(name));
        self
    }

    fn record(&self, name: &str) -> record::Manifest {
        self.0.records("r", "team/app", now()).into_iter().find(|record| record.digest == digest(name)).unwrap()
    }
}

fn image(blobs: &[(&str, u64)]) -> Value {
    let layers: Vec<Value> = blobs.iter().map(|(name, size)| json!({"digest": digest(name).to_string(), "size": size})).collect();
    json!({"config": {"mediaType": CONFIG, "digest": digest("config").to_string(), "size": 1}, "layers": layers})
}

fn index(children: &[(&str, Option<&str>)]) -> Value {
    let children: Vec<Value> = children
        .iter()
        .map(|(name, platform)| {
            let platform = platform.map(|platform| {
                let (os, architecture) = platform.split_once('/').unwrap();
                json!({"os": os, "architecture": architecture})
            });
            json!({"mediaType": OCI_MANIFEST, "digest": digest(name).to_string(), "size": 7, "platform": platform})
        })
        .collect();
    json!({"mediaType": OCI_INDEX, "manifests": children})
}

fn digests(names: &[&str]) -> Vec<Digest> {
    names.iter().map(|name| digest(name)).collect()
}

fn sorted(names: &[&str]) -> Vec<Digest> {
    let mut digests = digests(names);
    digests.sort();
    digests
}

#[test]
fn relations_are_told_from_both_ends() {
    let signature = format!("sha256-{}.sig", digest("index").hex());
    let repository = Repository::default()
        .index("index", &["v1", "latest"], &[("amd", Some("linux/amd64")), ("arm", Some("linux/arm64")), ("gone", None)])
        .index("other", &["v0"], &[("amd", None)])
        .image("amd", &["v1-amd"], &[], "2026-01-01T00:00:00Z")
        .image("arm", &[], &[], "2026-01-01T00:00:00Z")
        .image("signature", &[&signature], &[], "2026-01-01T00:00:00Z")
        .missing("gone");
    let index = repository.record("index");
    assert_eq!(index.tags, ["latest", "v1"]);
    assert_eq!((index.children, index.missing, index.parents), (digests(&["amd", "arm", "gone"]), digests(&["gone"]), vec![]));
    assert_eq!(repository.record("amd").parents, sorted(&["index", "other"]));
    assert_eq!(repository.record("arm").parents, digests(&["index"]));
    assert_eq!(repository.record("signature").subjects, digests(&["index"]));
}

#[test]
fn a_subject_named_twice_is_one_and_none_is_its_own() {
    let mut manifest = image(&[]);
    manifest["subject"] = json!({"digest": digest("app").to_string()});
    let tag = |name: &str, suffix: &str| format!("sha256-{}{suffix}", digest(name).hex());
    let (own, app, gone) = (tag("referrer", ""), tag("app", ".sbom"), tag("gone", ".att"));
    let repository = Repository::default().with("referrer", &[&own, &app, &gone], &manifest, None).missing("gone");
    assert_eq!(repository.0.open_ends().into_iter().collect::<Vec<_>>(), digests(&["app"]));
    let record = repository.record("referrer");
    assert_eq!(record.subjects.len(), 2);
    assert_eq!((record.subjects.first(), record.missing), (Some(&digest("app")), digests(&["gone"])));
}

#[test]
fn a_referrer_tag_names_a_sha512_subject_by_its_first_half() {
    let hex = format!("{}{}", digest("half").hex(), digest("other half").hex());
    let app: Digest = format!("sha512:{hex}").parse().unwrap();
    let tag = |suffix: &str| format!("sha512-{}{suffix}", digest("half").hex());
    let (sig, stranger) = (tag(".sig"), format!("sha512-{}", digest("nobody").hex()));
    let mut repository = Repository::default().image("sig", &[&sig], &[], "").image("stranger", &[&stranger], &[], "");
    assert!(repository.0.open_ends().is_empty());
    let entry = Repository::default().image("app", &["v1"], &[], "").0.manifests.remove(&digest("app")).unwrap();
    repository.0.manifests.insert(app.clone(), entry);
    assert_eq!(repository.record("sig").subjects, [app]);
    assert!(repository.record("stranger").subjects.is_empty());
}

#[test]
fn an_index_is_as_old_as_its_newest_real_platform() {
    let repository = Repository::default()
        .index("nested", &["n"], &[("index", None), ("old", None)])
        .index("index", &["v1"], &[("old", Some("linux/amd64")), ("new", Some("linux/arm64")), ("attestation", Some("unknown/unknown"))])
        .index("undated", &["v2"], &[("epoch", Some("linux/amd64")), ("gone", Some("linux/arm64"))])
        .index("mixed", &["v3"], &[("old", Some("linux/amd64")), ("epoch", Some("linux/arm64"))])
        .index("partly", &["v4"], &[("old", Some("linux/amd64")), ("gone", Some("linux/arm64"))])
        .index("attested", &["v5"], &[("old", Some("linux/amd64")), ("epoch", Some("unknown/unknown"))])
        .index("around", &["v6"], &[("new", None), ("mixed", None)])
        .index("with chart", &["v8"], &[("old", None), ("chart", None)])
        .with("chart", &[], &json!({"config": {"mediaType": "text/chart", "digest": digest("c").to_string()}}), None)
        .index("unread", &["v7"], &[("old", None), ("unread child", None)])
        .image("old", &[], &[], "2025-01-01T00:00:00Z")
        .image("new", &[], &[], "2026-01-01T00:00:00Z")
        .image("attestation", &[], &[], "2026-06-01T00:00:00Z")
        .image("epoch", &[], &[], "1970-01-01T00:00:00Z")
        .missing("gone");
    let newest = Some("2026-01-01T00:00:00Z".parse().unwrap());
    for name in ["index", "nested"] {
        let record = repository.record(name);
        assert_eq!((record.created, record.created_source.as_deref()), (newest, Some("children")), "{name}");
    }
    let undated = repository.record("undated");
    let reason = format!("children: {}: config: 1970-01-01T00:00:00Z is before 2013-03-20", digest("epoch").short());
    assert_eq!((undated.created, undated.created_source), (None, Some(reason.clone())));
    // A platform whose age is not known may be the newest: an old sister does not make the index old.
    let mixed = repository.record("mixed");
    assert_eq!((mixed.created, mixed.created_source), (None, Some(reason)));
    for name in ["around", "unread"] {
        let record = repository.record(name);
        assert_eq!(record.created, None, "{name}");
        assert!(record.created_source.unwrap().starts_with("children: sha256:"), "{name}");
    }
    for name in ["partly", "attested", "with chart"] {
        assert_eq!(repository.record(name).created, Some("2025-01-01T00:00:00Z".parse().unwrap()), "{name}");
    }
    let epoch = repository.record("epoch");
    assert_eq!((epoch.created, epoch.created_source.as_deref()), (None, Some("config: 1970-01-01T00:00:00Z is before 2013-03-20")));
}

#[test]
fn the_platform_is_the_indexes_then_the_configs_and_unknown_last() {
    let repository = Repository::default()
        .index(
            "index",
            &["v1"],
            &[("arm", Some("linux/arm64")), ("attestation", Some("unknown/unknown")), ("chart", Some("unknown/unknown"))],
        )
        .index("second", &["v2"], &[("arm", Some("unknown/unknown"))])
        .image("arm", &[], &[], "")
        .image("attestation", &[], &[], "")
        .image("alone", &["v3"], &[], "")
        .with("chart", &[], &json!({"config": {"mediaType": "text/chart", "digest": digest("c").to_string()}}), None);
    for (name, expected) in [
        ("arm", Some("linux/arm64")),
        ("alone", Some("linux/amd64")),
        ("attestation", Some("linux/amd64")),
        ("chart", Some("unknown/unknown")),
        ("index", None),
    ] {
        assert_eq!(repository.record(name).platform.as_deref(), expected, "{name}");
    }
}

#[test]
fn sizes_count_each_blob_once() {
    let repository = Repository::default()
        .index("index", &["v1"], &[("a", None), ("b", None), ("a", None)])
        .index("outer", &["v2"], &[("index", None), ("a", None)])
        .image("a", &[], &[("base", 100), ("app", 10), ("app", 10)], "")
        .image("b", &[], &[("base", 100), ("other", 5)], "")
        .image("huge", &["v3"], &[("huge", u64::MAX), ("base", 100)], "");
    let size = |name: &str| repository.record(name).image_size;
    assert_eq!((size("a"), size("b"), size("index"), size("outer")), (Some(111), Some(106), Some(116), Some(116)));
    assert_eq!((size("huge"), repository.0.image_size()), (Some(u64::MAX), u64::MAX));
    assert_eq!((repository.record("a").size, repository.record("a").labels["from"].as_str()), (7, "a"));
    assert!(repository.record("index").blobs.is_empty());
}

#[test]
fn records_have_one_order() {
    let repository = Repository::default().image("x", &["v2"], &[], "").image("y", &["v1", "v9"], &[], "").image("z", &[], &[], "").image(
        "w",
        &[],
        &[],
        "",
    );
    let order: Vec<Digest> = repository.0.records("r", "a", now()).into_iter().map(|record| record.digest).collect();
    let mut expected = digests(&["y", "x"]);
    expected.extend(sorted(&["z", "w"]));
    assert_eq!(order, expected);
}

#[test]
fn a_tower_of_indexes_is_climbed_without_a_stack() {
    let mut repository = Repository::default().image("0", &[], &[("base", 5)], "2026-01-01T00:00:00Z");
    for level in 1..20_000 {
        repository = repository.index(&level.to_string(), &[], &[(&(level - 1).to_string(), None)]);
    }
    let top = digest("19999");
    let dates = repository.0.dates(now());
    assert_eq!(dates.get(&top).map(|created| created.source.as_str()), Some("children"));
    assert_eq!(repository.0.image_size_of(&top), 6);
}
