//! Which manifests a registry cannot read, though they lie in its storage and hash right.
//!
//! Distribution reads each manifest that it serves into the types of its fields (`registry/storage/manifeststore.go` and the packages
//! below `manifest/`), and answers 500 where they do not fit; a push of the same bytes it refuses, so that somebody else wrote them. By its
//! releases 2.8 and 3; where the two differ nothing is said. Schema 1 and artifact manifests are not judged: it depends on the registry.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{DOCKER_LIST, DOCKER_MANIFEST, DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED, OCI_ARTIFACT, OCI_INDEX, OCI_MANIFEST};

/// What a registry reads first. Whatever is null counts as left out, here and below.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    schema_version: Option<i64>,
    media_type: Option<String>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "read to see whether it can be")]
struct Image {
    config: Option<Descriptor>,
    layers: List<Descriptor>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "read to see whether it can be")]
struct OciImage {
    config: Option<Descriptor>,
    layers: List<Descriptor>,
    annotations: Texts,
}

#[derive(Deserialize)]
struct Index {
    manifests: List<Descriptor>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "read to see whether it can be")]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: Option<String>,
    size: Option<i64>,
    digest: Option<String>,
    urls: List<String>,
    annotations: Texts,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "read to see whether it can be")]
struct Platform {
    architecture: Option<String>,
    os: Option<String>,
    #[serde(rename = "os.version")]
    os_version: Option<String>,
    #[serde(rename = "os.features")]
    os_features: List<String>,
    variant: Option<String>,
}

type List<T> = Option<Vec<Option<T>>>;
type Texts = Option<BTreeMap<String, Option<String>>>;

/// Why a registry cannot read these bytes, which are a JSON object, as a phrase that begins in lower case; `None` where it can, or where
/// that depends on the registry.
#[must_use]
pub fn refusal(bytes: &[u8]) -> Option<String> {
    refused(bytes).err()
}

fn refused(bytes: &[u8]) -> Result<(), String> {
    let head: Head = read(bytes)?;
    let media_type = head.media_type.as_deref().unwrap_or_default();
    match head.schema_version.unwrap_or(0) {
        1 => return Ok(()),
        2 => {}
        _ if media_type == OCI_ARTIFACT => return Ok(()),
        other => return Err(format!("its schemaVersion is {other}")),
    }
    match media_type {
        DOCKER_MANIFEST => read::<Image>(bytes).map(drop),
        OCI_MANIFEST => read::<OciImage>(bytes).map(drop),
        DOCKER_LIST | OCI_INDEX => read::<Index>(bytes).map(drop),
        // Without a type it is an index where it has entries.
        "" => match read::<Index>(bytes) {
            Ok(Index { manifests: Some(_) }) => Ok(()),
            _ => read::<OciImage>(bytes).map(drop),
        },
        DOCKER_SCHEMA1 | DOCKER_SCHEMA1_SIGNED | OCI_ARTIFACT => Ok(()),
        other => Err(format!("its mediaType {other:?} is none of a manifest")),
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    // A field that is there twice is an error here; registries take the last, as a `Value` does.
    serde_json::from_slice(bytes)
        .or_else(|_| serde_json::from_value(serde_json::from_slice::<Value>(bytes)?))
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Fields of an image of Docker, an OCI image and an index each, and whether one that has them so can be read. That a registry agrees
    /// is asserted with many more of them, by `reg-check` on one that runs.
    #[test]
    fn types_of_fields_decide() {
        let descriptor = json!({"mediaType": "a/b", "size": 1, "digest": "sha256:12", "platform": {"os": "linux"}, "more": {}});
        let with = |media_type: &str, fields: &[(&str, Value)]| {
            let list = [&descriptor];
            let mut document =
                json!({"schemaVersion": 2, "mediaType": media_type, "config": descriptor, "layers": list, "manifests": list});
            for (name, value) in fields {
                document[name] = value.clone();
            }
            refusal(document.to_string().as_bytes())
        };
        let texts = json!({"a": 1});
        for media_type in [DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX, "", OCI_ARTIFACT, DOCKER_SCHEMA1] {
            assert_eq!(with(media_type, &[]), None, "{media_type}");
            assert_eq!(with(media_type, &[("layers", json!(null)), ("manifests", json!([null])), ("mediaType", json!(media_type))]), None);
        }
        assert_eq!(with("a/b", &[]).unwrap(), "its mediaType \"a/b\" is none of a manifest");
        assert_eq!(with(OCI_INDEX, &[("schemaVersion", json!(null))]).unwrap(), "its schemaVersion is 0");
        assert_eq!(with("a/b", &[("schemaVersion", json!(1))]), None);
        assert_eq!(with(OCI_ARTIFACT, &[("schemaVersion", json!(null))]), None);
        for (media_type, field, value, is_refused) in [
            (OCI_MANIFEST, "annotations", texts.clone(), true),
            (DOCKER_MANIFEST, "annotations", texts.clone(), false),
            (OCI_INDEX, "annotations", texts, false),
            (DOCKER_MANIFEST, "config", json!({"size": "1"}), true),
            (DOCKER_LIST, "config", json!({"size": "1"}), false),
            (OCI_MANIFEST, "layers", json!([{"size": 1.5}]), true),
            (OCI_INDEX, "manifests", json!([{"platform": {"os.features": "x"}}]), true),
            (OCI_MANIFEST, "manifests", json!("x"), false),
        ] {
            assert_eq!(with(media_type, &[(field, value.clone())]).is_some(), is_refused, "{media_type} {field} {value}");
        }
    }

    #[test]
    fn the_last_of_two_fields_counts() {
        let document = |sizes: &str| format!(r#"{{"schemaVersion": 2, "mediaType": "{OCI_MANIFEST}", "config": {{{sizes}}}}}"#);
        assert_eq!(refusal(document(r#""size": "1", "size": 1"#).as_bytes()), None);
        assert!(refusal(document(r#""size": 1, "size": "1""#).as_bytes()).unwrap().contains("invalid type: string \"1\""));
    }
}
