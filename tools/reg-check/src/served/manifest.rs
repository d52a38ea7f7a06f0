//! What one manifest says and what is wrong with it by itself, whatever the registry has of what it names. Pure.

use std::collections::HashSet;

use common::digest::Digest;
use common::manifest::{Child, Manifest, violations};
use common::record::{Blob, Problem};
use common::registry::Served;
use serde_json::Value;

use crate::draft::Weight;

/// A manifest that was served whole.
#[derive(Debug, Default)]
pub(crate) struct Info {
    /// Its bytes.
    pub(crate) size: u64,
    pub(crate) children: Vec<Child>,
    pub(crate) config: Option<Digest>,
    pub(crate) has_image_config: bool,
    /// Config and layers that the registry must have.
    pub(crate) blobs: Vec<Blob>,
    /// Whether the sizes of its blobs are known; schema 1 has none.
    pub(crate) has_sizes: bool,
    /// Blobs whose size it leaves out, or says wrongly, such as a negative one: the schema tells that, and no size is compared.
    pub(crate) unsized_blobs: HashSet<Digest>,
    pub(crate) subject: Option<Digest>,
    /// What is wrong with it.
    pub(crate) wrong: Vec<(Problem, Weight, String)>,
}

/// Looks at a manifest whose bytes are those of its digest.
pub(crate) fn look(digest: &Digest, served: &Served) -> Info {
    let mut wrong = Vec::new();
    let size = served.bytes.len() as u64;
    if let Some(said) = served.said.as_ref().filter(|said| served.said_digest().is_none_or(|said| !served.is(&said)) && !said.is_empty()) {
        let text = format!("the registry serves it as Docker-Content-Digest {said}");
        wrong.push((Problem::DigestMismatch, Weight::Broken, text));
    }
    let content_type = served.content_type.as_deref();
    let manifest = match Manifest::parse(&served.bytes, content_type) {
        Ok(manifest) => manifest,
        Err(error) => {
            wrong.push((Problem::ManifestInvalid, Weight::Broken, format!("what lies under its digest {error}")));
            return Info { size, wrong, ..Info::default() };
        }
    };
    let broken = violations(content_type, &served.bytes);
    if !broken.is_empty() {
        wrong.push((Problem::ManifestInvalid, Weight::Stumble, broken.join("; ")));
    }
    match (content_type, own_type(&served.bytes)) {
        (None, _) => {
            let text = "it is served without a Content-Type that says what kind of manifest it is";
            wrong.push((Problem::MediaTypeMismatch, Weight::Stumble, text.to_owned()));
        }
        (Some(served), Some(own)) if !own.eq_ignore_ascii_case(served) => {
            let text = format!("it is served as {served}, and says itself that it is {own}");
            wrong.push((Problem::MediaTypeMismatch, Weight::Stumble, text));
        }
        _ => {}
    }
    let Manifest { children, config, has_image_config, mut blobs, elsewhere, subject, embedded_config, .. } = manifest;
    blobs.retain(|blob| !elsewhere.contains(&blob.digest));
    // A manifest that names itself would be looked at for ever.
    let children = children.into_iter().filter(|child| child.digest != *digest).collect();
    // What is no size is read as 0, which is one.
    let unsized_blobs = if blobs.iter().any(|blob| blob.size == 0) { unsized_blobs(&served.bytes) } else { HashSet::new() };
    Info { size, children, config, has_image_config, blobs, has_sizes: embedded_config.is_none(), unsized_blobs, subject, wrong }
}

/// The digests that stand anywhere in a manifest without a size that is one.
fn unsized_blobs(bytes: &[u8]) -> HashSet<Digest> {
    let mut found = HashSet::new();
    let mut open: Vec<Value> = serde_json::from_slice(bytes).into_iter().collect();
    while let Some(value) = open.pop() {
        match value {
            Value::Array(values) => open.extend(values),
            Value::Object(object) => {
                let digest = object.get("digest").and_then(Value::as_str).and_then(|digest| digest.parse().ok());
                let has_size = object.get("size").and_then(Value::as_f64).is_some_and(|size| size >= 0.0);
                found.extend(digest.filter(|_| !has_size));
                open.extend(object.into_iter().map(|(_, value)| value));
            }
            _ => {}
        }
    }
    found
}

/// The media type that a manifest bears, where it bears one. Of signed schema 1 there is none.
fn own_type(bytes: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Own {
        media_type: Option<String>,
    }
    let own: Own = serde_json::from_slice(bytes).ok()?;
    own.media_type.filter(|own| !own.is_empty()).map(|own| own.chars().filter(|character| !character.is_control()).take(200).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

    fn descriptor(name: &str) -> Value {
        json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": Digest::of(name.as_bytes()).to_string(), "size": 7})
    }

    fn image() -> Value {
        let mut config = descriptor("config");
        config["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
        let mut elsewhere = descriptor("elsewhere");
        elsewhere["urls"] = json!(["https://example.com/x"]);
        json!({"schemaVersion": 2, "mediaType": TYPE, "config": config, "layers": [descriptor("layer"), elsewhere]})
    }

    fn looked(body: &str, content_type: Option<&str>, said: Option<&str>) -> Info {
        let served = Served::new(body.into(), content_type.map(str::to_owned), said.map(str::to_owned));
        look(&served.digest(), &served)
    }

    fn problems(info: &Info) -> Vec<(Problem, Weight)> {
        info.wrong.iter().map(|(problem, weight, _)| (*problem, *weight)).collect()
    }

    #[test]
    fn what_a_manifest_needs() {
        let info = looked(&image().to_string(), Some(TYPE), None);
        assert_eq!((problems(&info), info.has_image_config, info.has_sizes), (Vec::new(), true, true));
        let needs: Vec<_> = info.blobs.iter().map(|blob| blob.digest.clone()).collect();
        assert_eq!(needs, [Digest::of(b"config"), Digest::of(b"layer")], "what lies elsewhere is not needed");
        let own = "application/vnd.oci.image.index.v1+json";
        let info = looked(&json!({"schemaVersion": 2, "mediaType": own, "manifests": []}).to_string(), Some(own), None);
        assert_eq!((problems(&info), info.children.len(), info.blobs.len()), (Vec::new(), 0, 0));
    }

    #[test]
    fn what_is_wrong_with_a_manifest_alone() {
        use Problem::{DigestMismatch, ManifestInvalid, MediaTypeMismatch};
        let body = image().to_string();
        let (own, other) = (Digest::of(body.as_bytes()).to_string(), Digest::of(b"other").to_string());
        let bare = body.replace(&format!("\"mediaType\":\"{TYPE}\","), "");
        let docker = "application/vnd.docker.distribution.manifest.v2+json";
        for (body, content_type, said, expected) in [
            (&*body, Some(TYPE), Some(&*own), vec![]),
            (&body, Some(TYPE), Some(""), vec![]),
            (&bare, Some(TYPE), None, vec![]),
            (&body, Some(TYPE), Some(&other), vec![(DigestMismatch, Weight::Broken)]),
            (&body, Some(TYPE), Some("nonsense"), vec![(DigestMismatch, Weight::Broken)]),
            (&body, Some(docker), None, vec![(MediaTypeMismatch, Weight::Stumble)]),
            (&body, None, None, vec![(MediaTypeMismatch, Weight::Stumble)]),
            (&body.replace("\"size\":7", "\"size\":-7"), Some(TYPE), None, vec![(ManifestInvalid, Weight::Stumble)]),
            ("<html>", Some(TYPE), None, vec![(ManifestInvalid, Weight::Broken)]),
            ("{\"manifests\":[{}]}", Some(TYPE), None, vec![(ManifestInvalid, Weight::Broken)]),
        ] {
            assert_eq!(problems(&looked(body, content_type, said)), expected, "{body} {content_type:?} {said:?}");
        }
    }

    #[test]
    fn what_is_no_size_is_told_from_none_at_all() {
        let body = image().to_string();
        for (size, expected) in [
            ("\"size\":7", false),
            ("\"size\":0", false),
            ("\"size\":-7", true),
            ("\"size\":null", true),
            ("\"size\":\"7\"", true),
            ("\"other\":7", true),
        ] {
            let info = looked(&body.replace("\"size\":7", size), Some(TYPE), None);
            assert_eq!(info.unsized_blobs.contains(&Digest::of(b"layer")), expected, "{size}");
        }
    }

    #[test]
    fn a_manifest_that_names_itself_is_no_child_of_its_own() {
        let served = Served::new(json!({"manifests": [descriptor("self")]}).to_string().into(), None, None);
        // No bytes can name their own digest; a server may say so all the same.
        assert!(look(&Digest::of(b"self"), &served).children.is_empty());
    }
}
