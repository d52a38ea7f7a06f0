//! What a manifest must be to keep to its own specification: registries take what breaks it, and clients then stumble, each over
//! something else.
//!
//! OCI image-spec 1.1, manifest.md, image-index.md and descriptor.md; Distribution's manifest-v2-2 (Docker's schema 2 and list) and, as far
//! as a client needs it, manifest-v2-1. What a specification only advises is no violation. That a type stands in the header and another one
//! in the body is told elsewhere, and so is what the digests lead to.

use serde_json::{Map, Value};

use super::{DOCKER_LIST, DOCKER_MANIFEST, DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED, OCI_ARTIFACT, OCI_INDEX, OCI_MANIFEST};
use crate::digest::Digest;

/// The media type of a config that is none (manifest.md, "Guidance for an Empty Descriptor").
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// How many violations are told of one manifest: an index of a thousand entries may have the same fault a thousand times.
const MOST: usize = 20;

/// What kind of manifest a document is to be measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Schema {
    Image,
    DockerImage,
    Index,
    DockerList,
    Artifact,
    Schema1,
    /// Of a media type that is not known here, and of no form that is.
    Unknown,
}

/// What in a manifest breaks the specification of its type, each a phrase that begins in lower case; none where it is as it should be.
///
/// `media_type` is what it was served with, or `None` where nobody said. The manifest's own type decides, then that one, then its fields.
#[must_use]
pub fn violations(media_type: Option<&str>, bytes: &[u8]) -> Vec<String> {
    let document = match serde_json::from_slice::<Value>(bytes) {
        Ok(Value::Object(document)) => document,
        Ok(_) => return vec!["it is no JSON object".to_owned()],
        Err(error) => return vec![format!("it is no JSON: {error}")],
    };
    let mut found = Found::default();
    let own = match document.get("mediaType") {
        None => None,
        Some(Value::String(own)) if is_media_type(own) => Some(own.as_str()),
        Some(Value::String(own)) if own.is_empty() => {
            found.add("mediaType is empty");
            None
        }
        Some(Value::String(own)) => {
            found.add(format!("mediaType {} is no media type", shown(own)));
            None
        }
        Some(other) => {
            found.add(format!("mediaType is {} and no text", kind_of(other)));
            None
        }
    };
    let served = media_type.map(|served| served.split(';').next().unwrap_or_default().trim()).filter(|served| !served.is_empty());
    let schema = schema_of(own, served, &document);
    found.manifest(schema, own, &document);
    found.into_list()
}

fn schema_of(own: Option<&str>, served: Option<&str>, document: &Map<String, Value>) -> Schema {
    let named = |media_type: &str| match media_type {
        OCI_MANIFEST => Some(Schema::Image),
        DOCKER_MANIFEST => Some(Schema::DockerImage),
        OCI_INDEX => Some(Schema::Index),
        DOCKER_LIST => Some(Schema::DockerList),
        OCI_ARTIFACT => Some(Schema::Artifact),
        DOCKER_SCHEMA1 | DOCKER_SCHEMA1_SIGNED => Some(Schema::Schema1),
        _ => None,
    };
    let has = |key: &str| document.contains_key(key);
    own.and_then(named).or_else(|| served.and_then(named)).unwrap_or_else(|| match () {
        () if has("manifests") => Schema::Index,
        () if has("fsLayers") => Schema::Schema1,
        () if has("config") || has("layers") => Schema::Image,
        () => Schema::Unknown,
    })
}

/// What was found so far.
#[derive(Default)]
struct Found {
    list: Vec<String>,
    more: usize,
}

impl Found {
    fn add(&mut self, text: impl Into<String>) {
        if self.list.len() < MOST {
            self.list.push(text.into());
        } else {
            self.more += 1;
        }
    }

    fn into_list(mut self) -> Vec<String> {
        if self.more > 0 {
            self.list.push(format!("and {} more", self.more));
        }
        self.list
    }

    fn manifest(&mut self, schema: Schema, own: Option<&str>, document: &Map<String, Value>) {
        if schema == Schema::Unknown {
            self.add("it has neither config and layers nor manifests, so that it is neither an image nor an index");
            return;
        }
        self.version(schema, document);
        if matches!(schema, Schema::DockerImage | Schema::DockerList) && own.is_none() && !document.contains_key("mediaType") {
            self.add("mediaType is missing, which Docker's types require");
        }
        let is_image = document.contains_key("layers") || document.contains_key("config");
        if document.contains_key("manifests") && is_image {
            self.add("it has manifests beside config or layers, so that some take it for an index and others for an image");
        }
        match schema {
            Schema::Image | Schema::DockerImage => self.image(document),
            Schema::Index | Schema::DockerList => self.index(schema, document),
            Schema::Artifact => self.artifact(document),
            Schema::Schema1 => self.schema1(document),
            Schema::Unknown => {}
        }
        if schema != Schema::Schema1 {
            if let Some(subject) = document.get("subject") {
                self.descriptor("subject", subject);
            }
            self.annotations("annotations", document.get("annotations"));
            self.artifact_type(document);
        }
    }

    fn version(&mut self, schema: Schema, document: &Map<String, Value>) {
        let wanted = match schema {
            Schema::Schema1 => 1,
            // The artifact manifest had none.
            Schema::Artifact => return,
            _ => 2,
        };
        match document.get("schemaVersion") {
            None => self.add("schemaVersion is missing"),
            Some(Value::Number(number)) if number.as_u64() == Some(wanted) => {}
            Some(other) => self.add(format!("schemaVersion is {} and not {wanted}", shown(&other.to_string()))),
        }
    }

    fn image(&mut self, document: &Map<String, Value>) {
        match document.get("config") {
            None => self.add("config is missing"),
            Some(config) => {
                self.descriptor("config", config);
                let is_empty = config.get("mediaType").and_then(Value::as_str) == Some(EMPTY);
                if is_empty && !document.contains_key("artifactType") {
                    self.add("artifactType is missing, which an image with an empty config must have");
                }
            }
        }
        self.descriptors("layers", document.get("layers"));
    }

    fn index(&mut self, schema: Schema, document: &Map<String, Value>) {
        let Some(entries) = self.descriptors("manifests", document.get("manifests")) else { return };
        for (place, entry) in entries.iter().enumerate() {
            match entry.get("platform") {
                Some(platform) => self.platform(&format!("manifests[{place}].platform"), platform),
                None if schema == Schema::DockerList => self.add(format!("manifests[{place}].platform is missing")),
                None => {}
            }
        }
    }

    fn artifact(&mut self, document: &Map<String, Value>) {
        if !document.contains_key("artifactType") {
            self.add("artifactType is missing");
        }
        if document.contains_key("blobs") {
            self.descriptors("blobs", document.get("blobs"));
        }
    }

    fn schema1(&mut self, document: &Map<String, Value>) {
        let layers = self.list("fsLayers", document.get("fsLayers"));
        for (place, layer) in layers.iter().flat_map(|layers| layers.iter().enumerate()) {
            self.digest(&format!("fsLayers[{place}].blobSum"), layer.get("blobSum"));
        }
        let history = self.list("history", document.get("history"));
        if let (Some(layers), Some(history)) = (layers, history)
            && layers.len() != history.len()
        {
            self.add(format!("history has {} entries and fsLayers {}", history.len(), layers.len()));
        }
    }

    fn artifact_type(&mut self, document: &Map<String, Value>) {
        match document.get("artifactType") {
            None => {}
            Some(Value::String(text)) if is_media_type(text) => {}
            Some(other) => self.add(format!("artifactType is {} and no media type", shown(&other.to_string()))),
        }
    }

    fn list<'a>(&mut self, name: &str, value: Option<&'a Value>) -> Option<&'a Vec<Value>> {
        match value {
            Some(Value::Array(list)) => Some(list),
            Some(other) => {
                self.add(format!("{name} is {} and no list", kind_of(other)));
                None
            }
            None => {
                self.add(format!("{name} is missing"));
                None
            }
        }
    }

    fn descriptors<'a>(&mut self, name: &str, value: Option<&'a Value>) -> Option<&'a Vec<Value>> {
        let list = self.list(name, value)?;
        for (place, entry) in list.iter().enumerate() {
            self.descriptor(&format!("{name}[{place}]"), entry);
        }
        Some(list)
    }

    fn descriptor(&mut self, name: &str, value: &Value) {
        let Value::Object(descriptor) = value else {
            return self.add(format!("{name} is {} and no descriptor", kind_of(value)));
        };
        match descriptor.get("mediaType") {
            None => self.add(format!("{name}.mediaType is missing")),
            Some(Value::String(text)) if is_media_type(text) => {}
            Some(other) => self.add(format!("{name}.mediaType is {} and no media type", shown(&other.to_string()))),
        }
        self.digest(&format!("{name}.digest"), descriptor.get("digest"));
        match descriptor.get("size") {
            None => self.add(format!("{name}.size is missing")),
            Some(size) if size.as_i64().is_some_and(|size| size >= 0) => {}
            Some(other) => self.add(format!("{name}.size is {} and no number of bytes", shown(&other.to_string()))),
        }
        if let Some(urls) = descriptor.get("urls") {
            self.texts(&format!("{name}.urls"), urls);
        }
        if let Some(data) = descriptor.get("data").filter(|data| !data.is_string()) {
            self.add(format!("{name}.data is {} and no text", kind_of(data)));
        }
        self.annotations(&format!("{name}.annotations"), descriptor.get("annotations"));
    }

    fn digest(&mut self, name: &str, value: Option<&Value>) {
        match value {
            None => self.add(format!("{name} is missing")),
            Some(Value::String(text)) if is_digest(text) => {}
            Some(other) => self.add(format!("{name} is {} and no digest", shown(&other.to_string()))),
        }
    }

    fn platform(&mut self, name: &str, value: &Value) {
        let Value::Object(platform) = value else {
            return self.add(format!("{name} is {} and no object", kind_of(value)));
        };
        for (key, required) in [("architecture", true), ("os", true), ("variant", false), ("os.version", false)] {
            match platform.get(key) {
                None if required => self.add(format!("{name}.{key} is missing")),
                None | Some(Value::String(_)) => {}
                Some(other) => self.add(format!("{name}.{key} is {} and no text", kind_of(other))),
            }
        }
        if let Some(features) = platform.get("os.features") {
            self.texts(&format!("{name}.os.features"), features);
        }
    }

    fn texts(&mut self, name: &str, value: &Value) {
        match value {
            Value::Array(list) if list.iter().all(Value::is_string) => {}
            Value::Array(_) => self.add(format!("{name} holds what is no text")),
            other => self.add(format!("{name} is {} and no list", kind_of(other))),
        }
    }

    fn annotations(&mut self, name: &str, value: Option<&Value>) {
        match value {
            None => {}
            Some(Value::Object(annotations)) => {
                if let Some((key, value)) = annotations.iter().find(|(_, value)| !value.is_string()) {
                    self.add(format!("{name} has {} for {}, and no text", kind_of(value), shown(key)));
                }
            }
            Some(other) => self.add(format!("{name} is {} and no object", kind_of(other))),
        }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A text out of a manifest as it may be shown: short, and on one line.
fn shown(text: &str) -> String {
    let text: String = text.chars().filter(|character| !character.is_control()).take(80).collect();
    if text.starts_with(['"', '{', '[']) || text.parse::<f64>().is_ok() || matches!(&*text, "null" | "true" | "false") {
        text
    } else {
        format!("{text:?}")
    }
}

/// Whether a text is `type/subtype` (RFC 6838, section 4.2).
fn is_media_type(text: &str) -> bool {
    let is_name = |name: &str| {
        (1..=127).contains(&name.len())
            && name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    text.split_once('/').is_some_and(|(kind, subtype)| is_name(kind) && is_name(subtype))
}

/// Whether a text is a digest by descriptor.md: of an algorithm that is registered there, to the letter; of any other, in form.
fn is_digest(text: &str) -> bool {
    let Some((algorithm, encoded)) = text.split_once(':') else { return false };
    if matches!(algorithm, "sha256" | "sha512") {
        return text.parse::<Digest>().is_ok();
    }
    let is_component = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    algorithm.split(['+', '.', '_', '-']).all(is_component)
        && !encoded.is_empty()
        && encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"=_-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(media_type: Option<&str>, document: &Value) -> Vec<String> {
        violations(media_type, document.to_string().as_bytes())
    }

    fn descriptor(media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": Digest::of(b"x").to_string(), "size": 1})
    }

    fn image() -> Value {
        json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor("application/vnd.oci.image.config.v1+json"),
               "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip")], "annotations": {"a": "b"}})
    }

    fn index() -> Value {
        let mut child = descriptor(OCI_MANIFEST);
        child["platform"] = json!({"os": "linux", "architecture": "arm64", "variant": "v8"});
        json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child]})
    }

    fn with(mut document: Value, pointer: &str, value: Value) -> Value {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = document.pointer_mut(parent).unwrap();
        match parent {
            Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
            Value::Object(object) if value == json!("(gone)") => drop(object.remove(key)),
            other => other[key] = value,
        }
        document
    }

    #[test]
    fn what_keeps_to_its_specification_is_left_alone() {
        let mut empty = descriptor(EMPTY);
        empty["data"] = json!("e30=");
        for document in [
            image(),
            index(),
            with(image(), "/mediaType", json!("(gone)")),
            with(image(), "/layers", json!([])),
            with(with(image(), "/config", empty), "/artifactType", json!("application/vnd.example+json")),
            with(image(), "/subject", descriptor(OCI_MANIFEST)),
            with(image(), "/layers/0/digest", json!("blake3:abc_-=")),
            with(index(), "/manifests", json!([])),
            with(image(), "/mediaType", json!(DOCKER_MANIFEST)),
            json!({"mediaType": OCI_ARTIFACT, "artifactType": "a/b"}),
            json!({"schemaVersion": 1, "name": "a", "fsLayers": [{"blobSum": Digest::of(b"x").to_string()}], "history": [{}]}),
        ] {
            assert_eq!(of(None, &document), [""; 0], "{document}");
        }
    }

    #[test]
    fn each_violation_is_told() {
        let config = json!({"mediaType": EMPTY, "digest": Digest::of(b"{}").to_string(), "size": 2});
        for (document, expected) in [
            (json!([1]), "it is no JSON object"),
            (json!({"a": 1}), "it has neither config and layers nor manifests, so that it is neither an image nor an index"),
            (with(image(), "/schemaVersion", json!("(gone)")), "schemaVersion is missing"),
            (with(image(), "/schemaVersion", json!(1)), "schemaVersion is 1 and not 2"),
            (with(image(), "/schemaVersion", json!("2")), "schemaVersion is \"2\" and not 2"),
            (with(image(), "/mediaType", json!("")), "mediaType is empty"),
            (with(image(), "/mediaType", json!("nonsense")), "mediaType \"nonsense\" is no media type"),
            (with(image(), "/config", json!("(gone)")), "config is missing"),
            (with(image(), "/config", config), "artifactType is missing, which an image with an empty config must have"),
            (with(image(), "/layers", json!(null)), "layers is null and no list"),
            (with(image(), "/layers/0", json!(7)), "layers[0] is a number and no descriptor"),
            (with(image(), "/layers/0/mediaType", json!("(gone)")), "layers[0].mediaType is missing"),
            (with(image(), "/layers/0/mediaType", json!("")), "layers[0].mediaType is \"\" and no media type"),
            (with(image(), "/layers/0/digest", json!("sha256:12")), "layers[0].digest is \"sha256:12\" and no digest"),
            (with(image(), "/layers/0/size", json!(-1)), "layers[0].size is -1 and no number of bytes"),
            (with(image(), "/layers/0/size", json!(1.5)), "layers[0].size is 1.5 and no number of bytes"),
            (with(image(), "/layers/0/urls", json!([1])), "layers[0].urls holds what is no text"),
            (with(image(), "/annotations/a", json!(1)), "annotations has a number for \"a\", and no text"),
            (with(image(), "/subject", json!({})), "subject.mediaType is missing"),
            (with(image(), "/artifactType", json!("x")), "artifactType is \"x\" and no media type"),
            (
                with(image(), "/manifests", json!([])),
                "it has manifests beside config or layers, so that some take it for an index and others for an image",
            ),
            (with(index(), "/manifests", json!({})), "manifests is an object and no list"),
            (with(index(), "/manifests/0/platform/os", json!("(gone)")), "manifests[0].platform.os is missing"),
            (with(index(), "/manifests/0/platform", json!("linux")), "manifests[0].platform is a text and no object"),
            (
                with(with(index(), "/mediaType", json!(DOCKER_LIST)), "/manifests/0/platform", json!("(gone)")),
                "manifests[0].platform is missing",
            ),
            (json!({"schemaVersion": 1, "fsLayers": [], "history": [{}]}), "history has 1 entries and fsLayers 0"),
            (json!({"schemaVersion": 1, "fsLayers": [{}], "history": [{}]}), "fsLayers[0].blobSum is missing"),
        ] {
            assert_eq!(of(None, &document).first().map(String::as_str), Some(expected), "{document}");
        }
        assert_eq!(violations(None, b"<html>")[0], "it is no JSON: expected value at line 1 column 1");
    }

    #[test]
    fn the_type_served_counts_where_the_manifest_names_none() {
        let bare = with(image(), "/mediaType", json!("(gone)"));
        assert_eq!(of(Some(&format!("{OCI_MANIFEST}; charset=utf-8")), &bare), [""; 0]);
        assert_eq!(of(Some(DOCKER_MANIFEST), &bare), ["mediaType is missing, which Docker's types require"]);
        assert_eq!(of(Some(OCI_INDEX), &bare), ["manifests is missing"]);
        assert_eq!(of(Some(OCI_INDEX), &image()), [""; 0], "its own type comes first");
    }

    #[test]
    fn an_index_of_a_thousand_faults_is_told_in_few_words() {
        let entries: Vec<Value> = (0..1000).map(|_| json!({"mediaType": "a/b"})).collect();
        let found = of(None, &with(index(), "/manifests", json!(entries)));
        assert_eq!((found.len(), found.last().map(String::as_str)), (MOST + 1, Some("and 1980 more")));
    }
}
