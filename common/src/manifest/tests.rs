//! One table per question that a manifest is asked.

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn descriptor(media_type: &str, name: &str, size: i64) -> Value {
    json!({"mediaType": media_type, "digest": digest(name).to_string(), "size": size})
}

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const CACHE_CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";
const HELM: &str = "application/vnd.cncf.helm.config.v1+json";

fn parse(manifest: &Value) -> Manifest {
    Manifest::parse(manifest.to_string().as_bytes(), None).unwrap()
}

fn error(manifest: &Value) -> String {
    Manifest::parse(manifest.to_string().as_bytes(), None).unwrap_err().to_string()
}

fn names(digests: impl IntoIterator<Item = Digest>) -> Vec<Digest> {
    digests.into_iter().collect()
}

fn now() -> DateTime<Utc> {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

fn image(config_type: &str) -> Value {
    json!({"schemaVersion": 2, "config": descriptor(config_type, "c", 7), "layers": [descriptor(LAYER, "a", 10), descriptor(LAYER, "b", 20)]})
}

#[test]
fn an_image_names_its_config_and_layers() {
    for config_type in [CONFIG, DOCKER_CONFIG, "application/octet-stream", ""] {
        let manifest = parse(&image(config_type));
        assert_eq!((manifest.kind, manifest.has_image_config, &manifest.artifact_type), (Kind::Image, true, &None), "{config_type}");
        assert_eq!(manifest.config, Some(digest("c")));
        assert_eq!(
            manifest.blobs.iter().map(|blob| (blob.digest.clone(), blob.size)).collect::<Vec<_>>(),
            [(digest("c"), 7), (digest("a"), 10), (digest("b"), 20)]
        );
        assert!(manifest.children.is_empty() && manifest.subject.is_none());
    }
}

#[test]
fn a_layer_named_twice_is_one_blob() {
    let manifest = parse(&json!({"layers": [descriptor(LAYER, "a", 10), descriptor(LAYER, "a", 10), descriptor(LAYER, "b", 1)]}));
    assert_eq!(manifest.blobs.len(), 2);
}

#[test]
fn the_kind_follows_from_the_fields_whatever_the_media_type_says() {
    let entry = |media_type: &str, name: &str| json!({"mediaType": OCI_INDEX, "manifests": [descriptor(media_type, name, 1)]});
    for (manifest, expected) in [
        (image(CONFIG), Kind::Image),
        (image(HELM), Kind::Artifact),
        (json!({"mediaType": OCI_INDEX, "config": descriptor(CONFIG, "c", 1), "layers": []}), Kind::Image),
        (json!({"mediaType": OCI_MANIFEST, "manifests": [descriptor(OCI_MANIFEST, "m", 1)]}), Kind::Index),
        (entry(OCI_MANIFEST, "m"), Kind::Index),
        (entry(DOCKER_MANIFEST, "m"), Kind::Index),
        (entry(OCI_INDEX, "m"), Kind::Index),
        (entry(DOCKER_LIST, "m"), Kind::Index),
        (entry(DOCKER_SCHEMA1_SIGNED, "m"), Kind::Index),
        (entry("application/vnd.oci.artifact.manifest.v1+json", "m"), Kind::Index),
        (entry("application/vnd.example.Index.v3+json; charset=utf-8", "m"), Kind::Index),
        (entry("", "m"), Kind::Index),
        (entry("application/vnd.example.thing+json", "m"), Kind::Index),
        (entry(CONFIG, "m"), Kind::BuildCache),
        (entry(DOCKER_CONFIG, "m"), Kind::BuildCache),
        (entry("application/octet-stream", "m"), Kind::BuildCache),
        (entry("application/vnd.cncf.helm.chart.content.v1.tar+gzip", "m"), Kind::BuildCache),
        (entry(LAYER, "m"), Kind::BuildCache),
        (entry("application/vnd.docker.image.rootfs.diff.tar.gzip", "m"), Kind::BuildCache),
        (entry(CACHE_CONFIG, "m"), Kind::BuildCache),
        (json!({"manifests": []}), Kind::Index),
        (json!({"mediaType": OCI_INDEX, "manifests": null}), Kind::Index),
        (json!({"layers": null, "config": descriptor(CONFIG, "c", 1)}), Kind::Image),
        (
            json!({"mediaType": "application/vnd.oci.artifact.manifest.v1+json", "blobs": [descriptor("text/plain", "t", 1)]}),
            Kind::Artifact,
        ),
        (json!({"fsLayers": [], "history": []}), Kind::Image),
        (json!({}), Kind::Unknown),
    ] {
        assert_eq!(parse(&manifest).kind, expected, "{manifest}");
    }
}

#[test]
fn what_is_index_and_image_at_once_names_all_that_it_names() {
    // Two readers of such a document see two different ones (CVE-2021-41190). Neither may lose what is its own.
    let mut both = image(CONFIG);
    both["manifests"] = json!([descriptor(OCI_MANIFEST, "m", 1)]);
    let manifest = parse(&both);
    assert_eq!((manifest.kind, manifest.blobs.len(), manifest.children.len()), (Kind::Index, 3, 1));
}

#[test]
fn the_media_type_is_the_bodys_then_the_headers_then_that_of_the_fields() {
    let mut own = image(CONFIG);
    own["mediaType"] = json!(DOCKER_MANIFEST);
    let signed = json!({"fsLayers": [], "signatures": [{}]});
    for (manifest, header, expected) in [
        (own.clone(), Some(OCI_MANIFEST), Some(DOCKER_MANIFEST)),
        (image(CONFIG), Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"), Some(OCI_MANIFEST)),
        (image(CONFIG), Some("application/json"), Some(OCI_MANIFEST)),
        (image(CONFIG), None, Some(OCI_MANIFEST)),
        (json!({"manifests": []}), Some(""), Some(OCI_INDEX)),
        (signed, None, Some(DOCKER_SCHEMA1_SIGNED)),
        (json!({"fsLayers": []}), None, Some(DOCKER_SCHEMA1)),
        (json!({"mediaType": 7, "manifests": []}), Some(DOCKER_LIST), Some(DOCKER_LIST)),
        (json!({}), Some("application/json"), Some("application/json")),
        (json!({}), None, None),
    ] {
        let parsed = Manifest::parse(manifest.to_string().as_bytes(), header).unwrap();
        assert_eq!(parsed.media_type.as_deref(), expected, "{manifest} {header:?}");
    }
}

#[test]
fn the_artifact_type_is_its_own_then_the_configs_then_the_cache_configs() {
    let with = |mut manifest: Value, own: Value| {
        manifest["artifactType"] = own;
        manifest
    };
    let cache = json!({"manifests": [descriptor(LAYER, "a", 1), descriptor(CACHE_CONFIG, "c", 2)]});
    for (manifest, expected) in [
        (with(image(HELM), json!("text/x-own")), Some("text/x-own")),
        (with(image(CONFIG), json!("text/x-own")), Some("text/x-own")),
        (with(image(HELM), json!("")), Some(HELM)),
        (with(image(HELM), json!({})), Some(HELM)),
        (image("application/vnd.oci.empty.v1+json"), Some("application/vnd.oci.empty.v1+json")),
        (image(CACHE_CONFIG), Some(CACHE_CONFIG)),
        (image(CONFIG), None),
        (image(DOCKER_CONFIG), None),
        (with(cache.clone(), json!("text/x-own")), Some("text/x-own")),
        (cache, Some(CACHE_CONFIG)),
        (json!({"manifests": [descriptor(LAYER, "a", 1)]}), None),
        (json!({"manifests": [descriptor(OCI_MANIFEST, "a", 1)]}), None),
    ] {
        assert_eq!(parse(&manifest).artifact_type.as_deref(), expected, "{manifest}");
    }
}

#[test]
fn a_build_cache_is_an_index_of_blobs() {
    let layer = |name: &str, created: &str| {
        let mut layer = descriptor(LAYER, name, 5);
        layer["annotations"] = json!({"buildkit/createdat": created});
        layer
    };
    let manifests = json!([
        layer("a", "2026-01-02T00:00:00.5Z"),
        layer("b", "2026-03-01T00:00:00Z"),
        layer("c", "2025-01-01T00:00:00Z"),
        descriptor(CACHE_CONFIG, "config", 3)
    ]);
    let manifest = parse(&json!({"mediaType": OCI_INDEX, "manifests": manifests}));
    assert_eq!((manifest.kind, manifest.children.len(), manifest.config.clone()), (Kind::BuildCache, 0, Some(digest("config"))));
    assert_eq!(manifest.blobs.iter().map(|blob| blob.size).sum::<u64>(), 18);
    assert!(!manifest.has_image_config);
    let created = manifest.created(Err("never asked for"), now());
    assert_eq!((created.time, created.source.as_str()), (Some("2026-03-01T00:00:00Z".parse().unwrap()), "annotation"));
    // The same cache as an image manifest, which BuildKit writes for registries that refuse the other.
    let as_image = json!({"config": descriptor(CACHE_CONFIG, "config", 3), "layers": manifests.as_array().unwrap()[..3].to_vec()});
    assert_eq!(parse(&as_image).created(Err("never asked for"), now()), created);
}

#[test]
fn an_index_names_its_children_with_their_platforms() {
    let child = |name: &str, platform: Value| {
        let mut child = descriptor(OCI_MANIFEST, name, 5);
        child["platform"] = platform;
        child
    };
    let mut attestation = child("attestation", json!({"os": "unknown", "architecture": "unknown"}));
    attestation["annotations"] =
        json!({"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": digest("amd").to_string()});
    let mut bare = descriptor(OCI_MANIFEST, "bare attestation", 5);
    bare["annotations"] = json!({"vnd.docker.reference.digest": "nonsense"});
    let manifest = parse(&json!({"manifests": [
        child("amd", json!({"os": "linux", "architecture": "amd64"})),
        child("arm", json!({"os": "linux", "architecture": "arm", "variant": "v7", "os.features": [1]})),
        child("amd", json!({"os": "linux", "architecture": "amd64"})),
        child("half", json!({"os": "linux"})),
        child("odd", json!([1])),
        attestation, bare,
    ]}));
    let seen: Vec<_> =
        manifest.children.iter().map(|child| (child.digest.clone(), child.platform.as_deref(), child.attests.clone())).collect();
    assert_eq!(
        seen,
        [
            (digest("amd"), Some("linux/amd64"), None),
            (digest("arm"), Some("linux/arm/v7"), None),
            (digest("half"), None, None),
            (digest("odd"), None, None),
            (digest("attestation"), Some("unknown/unknown"), Some(digest("amd"))),
            (digest("bare attestation"), Some("unknown/unknown"), None),
        ]
    );
    assert_eq!(manifest.children.iter().filter(|child| child.is_attestation()).count(), 2);
}

#[test]
fn schema_1_has_its_config_within() {
    let v1 = |created: &str| json!({"v1Compatibility": json!({"created": created, "os": "linux", "architecture": "arm", "config": {"Labels": {"a": "b"}}}).to_string()});
    let layers: Vec<Value> = ["a", "b", "a"].map(|name| json!({"blobSum": digest(name).to_string()})).to_vec();
    let signed = json!({"schemaVersion": 1, "name": "team/app", "architecture": "amd64", "fsLayers": layers,
        "history": [v1("2020-05-01T00:00:00Z"), v1("2019-01-01T00:00:00Z")], "signatures": [{"protected": "x"}]});
    let manifest = parse(&signed);
    assert_eq!((manifest.kind, manifest.config.clone(), manifest.has_image_config), (Kind::Image, None, false));
    assert_eq!(names(manifest.blobs.iter().map(|blob| blob.digest.clone())), [digest("a"), digest("b")]);
    let config = manifest.embedded_config.clone().unwrap();
    assert_eq!((config.platform.as_deref(), config.labels["a"].as_str()), (Some("linux/arm"), "b"));
    assert_eq!(manifest.created(Err("never asked for"), now()).source, "config");
    for history in [json!(null), json!(7), json!([]), json!([7]), json!([{"v1Compatibility": "{"}]), json!([{"v1Compatibility": 7}])] {
        let manifest = parse(&json!({"fsLayers": [], "history": history, "architecture": "amd64"}));
        let created = manifest.created(Err("never asked for"), now());
        assert_eq!((created.time, created.source.as_str()), (None, "config: no date"), "{history}");
        assert_eq!(manifest.embedded_config.unwrap().platform.as_deref(), Some("linux/amd64"));
    }
}

#[test]
fn a_referrer_names_its_subject() {
    let mut manifest = image(HELM);
    manifest["subject"] = descriptor(OCI_MANIFEST, "subject", 9);
    assert_eq!(parse(&manifest).subject, Some(digest("subject")));
    manifest["subject"] = json!(null);
    assert_eq!(parse(&manifest).subject, None);
}

#[test]
fn what_would_be_lost_without_a_word_is_an_error() {
    for (key, value) in [
        ("manifests", json!({})),
        ("manifests", json!("x")),
        ("manifests", json!([{"mediaType": OCI_MANIFEST}])),
        ("manifests", json!([null])),
        ("manifests", json!([{"digest": "sha256:../../etc/passwd"}])),
        ("manifests", json!([{"digest": 7}])),
        ("layers", json!([{"digest": "sha256:12"}])),
        ("layers", json!(7)),
        ("blobs", json!([1])),
        ("config", json!({})),
        ("config", json!([])),
        ("subject", json!("x")),
        ("subject", json!({"digest": "md5:d41d8cd98f00b204e9800998ecf8427e"})),
        ("fsLayers", json!([{}])),
    ] {
        let text = error(&json!({ key: value.clone() }));
        assert!(text.starts_with("is no manifest: "), "{key} {value}: {text}");
    }
    assert!(Manifest::parse(br#"{"manifests":[],"manifests":[]}"#, None).is_err(), "which of the two is meant?");
}

#[test]
fn wrong_types_of_what_is_only_told_are_forgiven() {
    let mut manifest = image(CONFIG);
    for key in ["mediaType", "artifactType", "annotations", "schemaVersion", "history", "signatures", "architecture", "urls"] {
        for value in [json!(null), json!(7), json!(-7.5), json!(true), json!([[1], {"a": 1}]), json!({"a": [1]})] {
            manifest[key] = value;
            assert_eq!(parse(&manifest).blobs.len(), 3, "{manifest}");
        }
    }
    manifest["annotations"] = json!({"a": "b", "c": 7, "d": {"e": []}});
    assert_eq!(parse(&manifest).annotations, [("a".to_owned(), "b".to_owned())].into());
}

#[test]
fn sizes_are_what_a_size_can_be() {
    for (size, expected) in [
        ("10", 10),
        ("0", 0),
        ("-1", 0),
        ("18446744073709551615", u64::MAX),
        ("18446744073709551616", u64::MAX),
        ("1e300", u64::MAX),
        ("-1e300", 0),
        ("1.9", 1),
        ("\"10\"", 0),
        ("null", 0),
        ("[]", 0),
        ("{}", 0),
    ] {
        let text = format!(r#"{{"layers":[{{"digest":"{}","size":{size}}}]}}"#, digest("a"));
        assert_eq!(Manifest::parse(text.as_bytes(), None).unwrap().blobs[0].size, expected, "{size}");
    }
}

#[test]
fn bytes_that_are_no_json_object_are_no_manifest() {
    for bytes in [&b""[..], b"  ", b"[]", b"7", b"null", b"\"x\"", b"<html>", b"{", b"{\"a\":}", b"{} {}", b"\xff\xfe", b"\x1f\x8b\x08"] {
        let error = Manifest::parse(bytes, Some(OCI_MANIFEST)).unwrap_err();
        assert!(matches!(error, Invalid::NotAnObject(_)), "{error}");
    }
}

#[test]
fn depth_is_bounded_where_it_is_read() {
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let unknown = format!("{{\"x\":{deep},\"layers\":[]}}");
    assert_eq!(Manifest::parse(unknown.as_bytes(), None).unwrap().kind, Kind::Artifact);
    for (key, forgiven) in [("manifests", false), ("config", false), ("annotations", true), ("mediaType", true)] {
        assert_eq!(Manifest::parse(format!("{{\"{key}\":{deep}}}").as_bytes(), None).is_ok(), forgiven, "{key}");
    }
}

#[test]
fn an_annotation_that_is_not_utf8_costs_its_letters_alone() {
    let text = format!(r#"{{"annotations":{{"author":"J?rg"}},"layers":[{{"digest":"{}"}}]}}"#, digest("a"));
    let bytes: Vec<u8> = text.bytes().map(|byte| if byte == b'?' { 0xf6 } else { byte }).collect();
    let manifest = Manifest::parse(&bytes, None).unwrap();
    assert_eq!((manifest.annotations["author"].as_str(), manifest.blobs.len()), ("J\u{fffd}rg", 1));
}

#[test]
fn image_configs_say_date_platform_and_labels() {
    let config = json!({"created": "2026-01-01T00:00:00Z", "os": "linux", "architecture": "arm64", "variant": "v8",
        "config": {"Labels": {"a": "b", "c": null}, "Env": [1]}, "history": [{}]});
    let parsed = ImageConfig::parse(config.to_string().as_bytes()).unwrap();
    assert_eq!(parsed.created.as_deref(), Some("2026-01-01T00:00:00Z"));
    assert_eq!(parsed.platform.as_deref(), Some("linux/arm64/v8"));
    assert_eq!(parsed.labels, [("a".to_owned(), "b".to_owned())].into());
    for config in [
        json!({}),
        json!({"created": 7, "os": null, "architecture": [], "config": 7}),
        json!({"config": null}),
        json!({"config": {"Labels": []}}),
    ] {
        assert_eq!(ImageConfig::parse(config.to_string().as_bytes()).unwrap(), ImageConfig::default(), "{config}");
    }
    for bytes in [&b""[..], b"[]", b"{", b"no", b"null"] {
        assert!(ImageConfig::parse(bytes).is_err());
    }
}

#[test]
fn the_date_of_an_image_is_its_annotations_then_its_configs_and_must_be_possible() {
    let known = |time: &str, source: &str| Created { time: Some(time.parse().unwrap()), source: source.to_owned() };
    let unknown = |source: &str| Created { time: None, source: source.to_owned() };
    for (annotation, config, expected) in [
        (Some("2026-05-01T12:00:00+02:00"), Ok(Some("2026-01-01T00:00:00Z")), known("2026-05-01T10:00:00Z", "annotation")),
        (None, Ok(Some("2026-01-01T00:00:00.123456789Z")), known("2026-01-01T00:00:00.123456789Z", "config")),
        (Some("2026-05-01T10:00:00Z"), Err("BLOB_UNKNOWN"), known("2026-05-01T10:00:00Z", "annotation")),
        (Some("1970-01-01T00:00:00Z"), Ok(Some("2026-01-01T00:00:00Z")), known("2026-01-01T00:00:00Z", "config")),
        (None, Ok(Some("2013-03-20T00:00:00Z")), known("2013-03-20T00:00:00Z", "config")),
        (None, Ok(Some("2026-11-20T12:00:00Z")), known("2026-11-20T12:00:00Z", "config")),
        (None, Ok(Some("2013-03-19T23:59:59Z")), unknown("config: 2013-03-19T23:59:59Z is before 2013-03-20")),
        (None, Ok(Some("0001-01-01T00:00:00Z")), unknown("config: 0001-01-01T00:00:00Z is before 2013-03-20")),
        (None, Ok(Some("1980-01-01T00:00:01Z")), unknown("config: 1980-01-01T00:00:01Z is before 2013-03-20")),
        (None, Ok(Some("2026-11-20T12:00:01Z")), unknown("config: 2026-11-20T12:00:01Z is in the future")),
        (None, Ok(Some("yesterday")), unknown("config: \"yesterday\" is no date")),
        (None, Ok(Some("")), unknown("config: no date")),
        (None, Ok(None), unknown("config: no date")),
        (None, Err("BLOB_UNKNOWN"), unknown("config: BLOB_UNKNOWN")),
        (Some("x"), Err("BLOB_UNKNOWN"), unknown("annotation: \"x\" is no date; config: BLOB_UNKNOWN")),
    ] {
        let mut manifest = image(CONFIG);
        if let Some(annotation) = annotation {
            manifest["annotations"] = json!({"org.opencontainers.image.created": annotation});
        }
        let config = config.map(|created| ImageConfig { created: created.map(str::to_owned), ..ImageConfig::default() });
        let created = parse(&manifest).created(config.as_ref().map_err(|reason| *reason), now());
        assert_eq!(created, expected, "{annotation:?} {config:?}");
    }
    assert_eq!(parse(&image(HELM)).created(Err("never asked for"), now()), unknown("no date"));
}

#[test]
fn an_index_is_as_old_as_its_newest_child_then_as_its_annotation_says() {
    let day = |day: u32| format!("2026-01-{day:02}T00:00:00Z").parse::<DateTime<Utc>>().unwrap();
    let annotated = parse(&json!({"manifests": [], "annotations": {"org.opencontainers.image.created": "2026-02-01T00:00:00Z"}}));
    let created = annotated.created_of_index([Ok(day(3)), Ok(day(9)), Ok(day(1))], now());
    assert_eq!((created.time, created.source.as_str()), (Some(day(9)), "children"));
    let created = annotated.created_of_index([], now());
    assert_eq!((created.time, created.source.as_str()), (Some("2026-02-01T00:00:00Z".parse().unwrap()), "annotation"));
    let created = parse(&json!({"manifests": []})).created_of_index([], now());
    assert_eq!((created.time, created.source.as_str()), (None, "children: no child that is a platform is there"));
    // One of unknown age may be the newest, and what somebody wrote beside it says nothing about it.
    for children in [vec![Ok(day(3)), Err("config: no date"), Ok(day(1))], vec![Err("config: no date")]] {
        let created = annotated.created_of_index(children, now());
        assert_eq!((created.time, created.source.as_str()), (None, "children: config: no date"));
    }
}

/// Any JSON, with the keys of manifests more often than others.
fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just(digest("x").to_string()),
        Just(OCI_MANIFEST.to_owned()),
        Just(LAYER.to_owned()),
        Just("2026-01-01T00:00:00Z".to_owned()),
        ".{0,12}"
    ];
    let leaf =
        prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), any::<i64>().prop_map(Value::from), text.prop_map(Value::from)];
    let keys = prop::sample::select(vec![
        "mediaType",
        "artifactType",
        "config",
        "layers",
        "blobs",
        "manifests",
        "subject",
        "annotations",
        "fsLayers",
        "history",
        "signatures",
        "digest",
        "size",
        "platform",
        "os",
        "architecture",
        "blobSum",
        "v1Compatibility",
        "vnd.docker.reference.digest",
        "buildkit/createdat",
        "org.opencontainers.image.created",
        "x",
    ]);
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((keys.clone(), inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Manifest::parse(&bytes, Some(OCI_MANIFEST));
        let _ = ImageConfig::parse(&bytes);
    }

    #[test]
    fn no_json_makes_it_panic_and_what_it_names_stands_in_it(value in any_json(), header in ".{0,30}") {
        let text = value.to_string();
        let _ = ImageConfig::parse(text.as_bytes());
        if let Ok(manifest) = Manifest::parse(text.as_bytes(), Some(&header)) {
            let _ = manifest.created(Err("x"), now());
            let _ = manifest.created_of_index([], now());
            let named = manifest.children.iter().map(|child| &child.digest).chain(manifest.blobs.iter().map(|blob| &blob.digest));
            for digest in named.chain(&manifest.subject).chain(&manifest.config) {
                prop_assert!(text.contains(&digest.to_string()));
            }
        }
    }

    #[test]
    fn every_entry_of_an_index_is_a_child_or_a_blob(types in prop::collection::vec(prop_oneof![Just(OCI_MANIFEST), Just(OCI_INDEX), Just(LAYER), Just("text/plain"), Just("")], 0..20)) {
        let entries: Vec<Value> = types.iter().enumerate().map(|(n, media_type)| descriptor(media_type, &n.to_string(), 1)).collect();
        let manifest = parse(&json!({"manifests": entries}));
        prop_assert_eq!(manifest.children.len() + manifest.blobs.len(), types.len());
    }
}

#[test]
fn layers_that_lie_elsewhere_are_told() {
    let digest = |text: &str| crate::digest::Digest::of(text.as_bytes());
    let layer = |name: &str, media_type: &str, urls: serde_json::Value| serde_json::json!({"mediaType": media_type, "digest": digest(name).to_string(), "size": 1, "urls": urls});
    let own = "application/vnd.oci.image.layer.v1.tar+gzip";
    let document = serde_json::json!({"layers": [
        layer("a", own, serde_json::json!([])),
        layer("b", own, serde_json::json!(["https://example.com/b"])),
        layer("c", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", serde_json::json!(null)),
        layer("d", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", serde_json::json!("x")),
    ]});
    let manifest = Manifest::parse(document.to_string().as_bytes(), None).unwrap();
    assert_eq!(manifest.blobs.len(), 4);
    assert_eq!(manifest.elsewhere, [digest("b"), digest("c"), digest("d")]);
}
