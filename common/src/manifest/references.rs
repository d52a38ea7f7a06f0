//! What a manifest leads to, and nothing else: for who reads a hundred thousand of them to know what is still needed.
//!
//! As in the whole parser, fields decide and not media types. A manifest whose media type nobody knows, or that names nothing where
//! manifests name things, is said not to be known: it may need what is not seen here.

use std::borrow::Cow;

use serde::Deserialize;

use super::descriptor::may_be_manifest;
use super::{
    DOCKER_LIST, DOCKER_MANIFEST, DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED, FsLayer, Invalid, OCI_ARTIFACT, OCI_INDEX, OCI_MANIFEST, invalid,
    lenient, object,
};
use crate::digest::Digest;

/// What a manifest leads to. A digest may be named more than once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// Config and layers, and those entries of an index that are known to be blobs.
    pub blobs: Vec<Digest>,
    /// The manifests that it names, as an index does.
    pub children: Vec<Digest>,
    /// The config, which is one of [`Self::blobs`].
    pub config: Option<Digest>,
    /// The manifest that it is about.
    pub subject: Option<Digest>,
    /// Whether it is a kind of manifest that is known, so that it leads to nothing else.
    pub is_known: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw<'a> {
    #[serde(default, borrow, deserialize_with = "lenient::text")]
    media_type: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    config: Option<Named<'a>>,
    #[serde(default, borrow)]
    layers: Option<Vec<Named<'a>>>,
    #[serde(default, borrow)]
    blobs: Option<Vec<Named<'a>>>,
    #[serde(default, borrow)]
    manifests: Option<Vec<Named<'a>>>,
    #[serde(default, borrow)]
    subject: Option<Named<'a>>,
    #[serde(default)]
    fs_layers: Option<Vec<FsLayer>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named<'a> {
    #[serde(default, borrow, deserialize_with = "lenient::text")]
    media_type: Option<Cow<'a, str>>,
    digest: Digest,
}

impl References {
    /// Reads what a manifest leads to.
    ///
    /// # Errors
    /// As [`super::Manifest::parse`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Invalid> {
        // Almost all of them are UTF-8, and that is found out faster than what is not.
        let text = std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed);
        let raw: Raw<'_> = serde_json::from_str(object(&text)?).map_err(invalid)?;
        let is_known = match raw.media_type.as_deref() {
            None | Some("") => true,
            Some(media_type) => {
                [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST, DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED, OCI_ARTIFACT]
                    .contains(&media_type)
            }
        };
        let names_things =
            raw.config.is_some() || raw.layers.is_some() || raw.blobs.is_some() || raw.manifests.is_some() || raw.fs_layers.is_some();
        let entries = raw.manifests.as_ref().map_or(0, Vec::len);
        let mut references = Self {
            blobs: Vec::with_capacity(1 + raw.layers.as_ref().map_or(0, Vec::len)),
            children: Vec::with_capacity(entries),
            config: raw.config.as_ref().map(|config| config.digest.clone()),
            subject: raw.subject.map(|subject| subject.digest),
            is_known: is_known && names_things && !has_odd_key(text.as_bytes()),
        };
        for entry in raw.manifests.into_iter().flatten() {
            if may_be_manifest(entry.media_type.as_deref()) {
                references.children.push(entry.digest)
            } else {
                references.blobs.push(entry.digest)
            }
        }
        let named = raw.config.into_iter().chain(raw.layers.into_iter().flatten()).chain(raw.blobs.into_iter().flatten());
        references.blobs.extend(named.map(|named| named.digest));
        references.blobs.extend(raw.fs_layers.into_iter().flatten().map(|layer| layer.blob_sum));
        Ok(references)
    }
}

/// Whether a key is almost one of those that name something. Go's decoder, and so Distribution and most clients, takes keys in any case, by
/// Unicode's rules; here they are compared as they are, because nobody who writes manifests does otherwise, and what is odd is not known.
fn has_odd_key(bytes: &[u8]) -> bool {
    const KEYS: [&[u8]; 9] = [b"mediaType", b"config", b"layers", b"manifests", b"fsLayers", b"blobs", b"subject", b"digest", b"blobSum"];
    let mut quotes = memchr::memchr_iter(b'"', bytes);
    let mut begin = quotes.next();
    while let (Some(first), Some(last)) = (begin, quotes.next()) {
        let text = bytes.get(first + 1..last).unwrap_or_default();
        let mut after = bytes.get(last + 1..).unwrap_or_default().iter().skip_while(|byte| byte.is_ascii_whitespace());
        if after.next() == Some(&b':') {
            let is_plain = text.iter().all(|byte| byte.is_ascii() && *byte != b'\\');
            // An escape, or one of the two letters beyond ASCII that fold to one within.
            let folds = !is_plain
                && (text.contains(&b'\\')
                    || text.windows(2).any(|two| two == "\u{17f}".as_bytes())
                    || text.windows(3).any(|three| three == "\u{212a}".as_bytes()));
            if folds || KEYS.iter().any(|key| text.len() == key.len() && text != *key && text.eq_ignore_ascii_case(key)) {
                return true;
            }
        }
        // An escaped quote ends nothing; where one may stand the text is gone through from the next.
        begin = if text.ends_with(b"\\") { Some(last) } else { quotes.next() };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;
    use serde_json::{Value, json};

    fn digest(n: u8) -> Digest {
        Digest::of(&[n])
    }

    fn named(n: u8, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": digest(n), "size": 1})
    }

    #[test]
    fn it_sees_what_the_whole_parser_sees() {
        let layer = "application/vnd.oci.image.layer.v1.tar+gzip";
        let cases = [
            json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": named(0, "application/vnd.oci.image.config.v1+json"), "layers": [named(1, layer)], "subject": named(2, OCI_MANIFEST)}),
            json!({"mediaType": OCI_INDEX, "manifests": [named(1, OCI_MANIFEST), named(2, OCI_INDEX), {"digest": digest(3)}], "annotations": {"a": digest(9)}}),
            json!({"mediaType": OCI_INDEX, "manifests": [named(1, layer), named(2, "application/vnd.buildkit.cacheconfig.v0")]}),
            json!({"mediaType": OCI_ARTIFACT, "blobs": [named(1, "text/plain")], "subject": named(2, OCI_MANIFEST)}),
            json!({"schemaVersion": 1, "fsLayers": [{"blobSum": digest(1)}, {"blobSum": digest(2)}], "history": []}),
            json!({"manifests": []}),
            json!({"layers": [named(1, layer)], "manifests": [named(2, OCI_MANIFEST)]}),
        ];
        for case in cases {
            let bytes = case.to_string().into_bytes();
            let (references, whole) = (References::parse(&bytes).unwrap(), Manifest::parse(&bytes, None).unwrap());
            assert!(references.is_known, "{case}");
            let sorted = |mut digests: Vec<Digest>| {
                digests.sort();
                digests
            };
            assert_eq!(sorted(references.blobs), sorted(whole.blobs.into_iter().map(|blob| blob.digest).collect()), "{case}");
            assert_eq!(references.children, whole.children.into_iter().map(|child| child.digest).collect::<Vec<_>>(), "{case}");
            assert_eq!(references.subject, whole.subject, "{case}");
        }
    }

    #[test]
    fn what_is_not_known_says_so() {
        for case in
            [json!({}), json!({"mediaType": OCI_MANIFEST}), json!({"mediaType": "application/vnd.else+json", "layers": [named(1, "x")]})]
        {
            assert!(!References::parse(case.to_string().as_bytes()).unwrap().is_known, "{case}");
        }
        for text in
            ["", "[]", "{\"layers\":[{}]}", "{\"layers\":[{\"digest\":\"md5:00\"}]}", "{\"layers\":[],\"layers\":[]}", "{\"config\":"]
        {
            assert!(References::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
