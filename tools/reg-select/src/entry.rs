//! One manifest of a listing: what selection needs of it, read without copying what it does not need.
//!
//! A million of these pass through in a run, so only what a verdict asks for is kept, and digests of blobs are cut to the
//! eight bytes by which they are counted. The raw line is kept beside it by the caller, to be passed on unchanged.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, Utc};
use common::digest::Digest;
use serde::de::{self, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// What is read of a `manifest` record.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestLine<'a> {
    #[serde(borrow)]
    pub registry: Cow<'a, str>,
    #[serde(borrow)]
    pub repository: Cow<'a, str>,
    pub digest: Digest,
    #[serde(default)]
    pub tags: Vec<Box<str>>,
    #[serde(borrow, default)]
    pub artifact_type: Option<Cow<'a, str>>,
    #[serde(default)]
    pub size: u64,
    #[serde(default)]
    pub created: Option<DateTime<Utc>>,
    #[serde(default)]
    pub pushed: Option<DateTime<Utc>>,
    #[serde(default)]
    pub config: Option<Digest>,
    #[serde(default)]
    pub children: Vec<Digest>,
    #[serde(default)]
    pub parents: Vec<Digest>,
    #[serde(default)]
    pub subjects: Vec<Digest>,
    #[serde(default)]
    pub missing: Vec<Digest>,
    #[serde(default)]
    pub blobs: Blobs,
    #[serde(default)]
    pub verdict: Option<IgnoredAny>,
}

/// One manifest, as it is decided on.
#[derive(Debug, Clone)]
pub struct Entry {
    pub digest: Digest,
    pub tags: Vec<Box<str>>,
    pub is_build_cache: bool,
    pub created: Option<DateTime<Utc>>,
    pub pushed: Option<DateTime<Utc>>,
    pub config: Option<Digest>,
    pub children: Vec<Digest>,
    pub parents: Vec<Digest>,
    pub subjects: Vec<Digest>,
    pub missing: Vec<Digest>,
    pub blobs: Vec<Blob>,
}

/// The media type by which BuildKit marks a cache, as an index of blobs and as an image alike.
const BUILD_CACHE: &str = "application/vnd.buildkit.cacheconfig.v0";

impl Entry {
    /// Keeps what a verdict asks for.
    pub fn new(line: ManifestLine<'_>) -> Self {
        let mut subjects = line.subjects;
        // A referrer tag names its subject even where a hand-made record forgot to.
        subjects
            .extend(line.tags.iter().filter_map(|tag| common::reference::subject_of_tag(tag)).filter(|subject| *subject != line.digest));
        subjects.sort_unstable();
        subjects.dedup();
        let mut blobs = line.blobs.0;
        // The manifest is stored as a blob like any other, and is freed with it.
        blobs.push(Blob { key: key_of(line.digest.bytes()), size: line.size });
        Self {
            is_build_cache: line.artifact_type.is_some_and(|kind| kind.starts_with(BUILD_CACHE)),
            tags: line.tags,
            created: line.created,
            pushed: line.pushed,
            config: line.config,
            children: line.children,
            parents: line.parents,
            subjects,
            missing: line.missing,
            blobs,
            digest: line.digest,
        }
    }

    /// The tags that are not the name of a subject.
    pub fn own_tags(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().map(AsRef::as_ref).filter(|tag| common::reference::subject_of_tag(tag).is_none())
    }

    /// Whether it points at something, all of which is gone: then it is judged as if it had no tag.
    pub fn has_lost_all_above(&self) -> bool {
        let mut above = self.parents.iter().chain(&self.subjects).peekable();
        above.peek().is_some() && above.all(|digest| self.missing.contains(digest))
    }

    /// Takes in a second record of the same manifest.
    pub fn merge(&mut self, other: Self) {
        fn union<T: Ord>(into: &mut Vec<T>, from: Vec<T>) {
            into.extend(from);
            into.sort_unstable();
            into.dedup();
        }
        union(&mut self.tags, other.tags);
        union(&mut self.children, other.children);
        union(&mut self.parents, other.parents);
        union(&mut self.subjects, other.subjects);
        // What one of them found is not missing.
        self.missing.retain(|digest| other.missing.contains(digest));
        self.created = self.created.max(other.created);
        self.pushed = self.pushed.max(other.pushed);
        self.config = self.config.take().or(other.config);
    }
}

/// A blob as it is counted: the first eight bytes of its digest, which are as random as the whole, and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    pub key: u64,
    pub size: u64,
}

fn key_of(digest: &[u8]) -> u64 {
    digest.iter().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte))
}

/// The blobs of a record.
#[derive(Debug, Default)]
pub struct Blobs(Vec<Blob>);

impl<'de> Deserialize<'de> for Blobs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Blobs;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of blobs")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut blobs: A) -> Result<Blobs, A::Error> {
                let mut list = Vec::with_capacity(24);
                while let Some(BlobLine { digest, size }) = blobs.next_element()? {
                    list.push(Blob { key: digest.0, size });
                }
                Ok(Blobs(list))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

#[derive(Deserialize)]
struct BlobLine {
    digest: BlobKey,
    #[serde(default)]
    size: u64,
}

/// The first sixteen hexadecimal digits of a blob's digest.
struct BlobKey(u64);

impl<'de> Deserialize<'de> for BlobKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = BlobKey;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a digest such as \"sha256:…\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<BlobKey, E> {
                let hex = text.split_once(':').and_then(|(_, hex)| hex.get(..16));
                hex.and_then(|hex| u64::from_str_radix(hex, 16).ok())
                    .map(BlobKey)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "sha256:4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865";

    fn entry(json: serde_json::Value) -> Entry {
        Entry::new(serde_json::from_str(&json.to_string()).unwrap())
    }

    #[test]
    fn blobs_are_counted_by_the_front_of_their_digest() {
        let entry = entry(
            serde_json::json!({"registry":"r","repository":"a","digest":A,"size":7,"blobs":[{"digest":A,"size":123}],"later":{"x":[1]}}),
        );
        assert_eq!(entry.blobs, [Blob { key: 0x4355_a46b_19d3_48dc, size: 123 }, Blob { key: 0x4355_a46b_19d3_48dc, size: 7 }]);
        assert!(serde_json::from_str::<ManifestLine<'_>>(r#"{"registry":"r","repository":"a","digest":"sha256:1"}"#).is_err());
    }

    #[test]
    fn a_referrer_tag_names_its_subject() {
        let subject = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        let tag = format!("{}.sig", subject.replace(':', "-"));
        let signature = entry(serde_json::json!({"registry":"r","repository":"a","digest":A,"tags":[tag, "also"]}));
        assert_eq!(signature.subjects, [subject.parse().unwrap()]);
        assert_eq!(signature.own_tags().collect::<Vec<_>>(), ["also"]);
        assert!(!signature.has_lost_all_above());
    }

    #[test]
    fn build_caches_of_either_form() {
        assert!(
            entry(serde_json::json!({"registry":"r","repository":"a","digest":A,"artifactType":"application/vnd.buildkit.cacheconfig.v0"}))
                .is_build_cache
        );
        assert!(!entry(serde_json::json!({"registry":"r","repository":"a","digest":A,"artifactType":null})).is_build_cache);
    }
}
