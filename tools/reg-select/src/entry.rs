//! One manifest of a listing: what selection needs of it, read without copying what it does not need.
//!
//! A million of these pass through in a run, so only what a verdict asks for is kept. The raw line is kept beside it by the
//! caller, to be passed on unchanged.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use common::digest::Digest;
use common::jsonl::{self, Line};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use crate::blobs::{self, Blob, Blobs};

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
    /// Whether there is one already, be it null.
    #[serde(default, deserialize_with = "is_there")]
    pub verdict: bool,
}

fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl<'a> ManifestLine<'a> {
    /// Reads a line; `rest` is room for a part of it.
    pub fn read(line: &Line<'a>, rest: &'a mut String) -> Result<Self, jsonl::Error> {
        if let Some(blobs) = blobs::cut(line.text(), rest)
            && let Ok(manifest) = serde_json::from_str::<Self>(rest)
            && manifest.blobs.given
        {
            return Ok(Self { blobs, ..manifest });
        }
        // Also for its errors, which are about the line as it came.
        line.parse()
    }

    /// What is stored for it: its blobs, and the manifest, which is stored as a blob like any other and freed with them.
    pub fn stored(&self) -> impl Iterator<Item = Blob> {
        self.blobs.list.iter().copied().chain([Blob { key: self.digest.front(), size: self.size }])
    }
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
            digest: line.digest,
        }
    }

    /// The tags that are not the name of a subject.
    pub fn own_tags(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().map(AsRef::as_ref).filter(|tag| !common::reference::is_referrer_tag(tag))
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

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "sha256:4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865";

    fn entry(json: serde_json::Value) -> Entry {
        Entry::new(serde_json::from_str(&json.to_string()).unwrap())
    }

    #[test]
    fn blobs_are_counted_by_the_front_of_their_digest() {
        let record =
            serde_json::json!({"registry":"r","repository":"a","digest":A,"size":7,"blobs":[{"digest":A,"size":123}],"later":{"x":[1]}});
        let text = record.to_string();
        let manifest: ManifestLine<'_> = serde_json::from_str(&text).unwrap();
        let key = 0x4355_a46b_19d3_48dc;
        assert_eq!(manifest.stored().collect::<Vec<_>>(), [Blob { key, size: 123 }, Blob { key, size: 7 }]);
        assert!(serde_json::from_str::<ManifestLine<'_>>(r#"{"registry":"r","repository":"a","digest":"sha256:1"}"#).is_err());
    }

    #[test]
    fn a_line_is_read_as_serde_reads_it() {
        let read = |text: &str| {
            let mut rest = String::new();
            let line = Line::new("standard input", 7, text);
            ManifestLine::read(&line, &mut rest).map(|manifest| manifest.stored().collect::<Vec<_>>()).map_err(|error| error.to_string())
        };
        let blob = format!(r#"{{"digest":"{A}","size":123}}"#);
        let record = |more: &str| format!(r#"{{"type":"manifest","registry":"r","repository":"a","digest":"{A}","size":7,{more}}}"#);
        for text in [
            record(&format!(r#""blobs":[{blob},{blob}],"labels":{{}}"#)),
            record(&format!(r#""blobs":[ {blob}]"#)),
            record(r#""blobs":[]"#),
            record(r#""labels":{}"#),
            record(&format!(r#""later":{{"blobs":[{blob}]}}"#)),
            record(&format!(r#""later":{{"blobs":[{blob}]}},"blobs":[]"#)),
            record(&format!(r#""blobs":[],"later":{{"blobs":[{blob}]}}"#)),
            record(&format!(r#""blobs":[{blob}],"blobs":[]"#)),
            record(&format!(r#""blobs":[{blob}],"size":8"#)),
            record(&format!(r#""blobs":[{blob}],"tags":[1]"#)),
            record(&format!(r#""blobs":[{blob}]]"#)),
            record(r#""blobs":null"#),
            record(r#""blobs":[{"digest":"sha256:4355","size":1}]"#),
        ] {
            let line = Line::new("standard input", 7, &text);
            let expected = line.parse().map(|manifest: ManifestLine<'_>| manifest.stored().collect()).map_err(|error| error.to_string());
            assert_eq!(read(&text), expected, "{text}");
        }
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
