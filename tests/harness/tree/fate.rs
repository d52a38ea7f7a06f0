//! What a collector is to leave and to take: the answer that the oracle, the [reference](super::reference) and,
//! read from its records, the tool under test must give alike.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// Which manifests are roots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All that a repository has a link of, tagged or not; and what a tag points to.
    KeepUntagged,
    /// What a tag points to.
    Untagged,
}

/// Both modes, for a test of each.
pub const MODES: [Mode; 2] = [Mode::KeepUntagged, Mode::Untagged];

/// Each item of a tree in one of two places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// What must be there after a run.
    pub stays: Items,
    /// What must be gone after a run.
    pub goes: Items,
}

/// Items of a tree, of four kinds. A folder without its `link` or `data` is no item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Items {
    /// The digest of each blob, manifests among them, with its size in bytes.
    pub blobs: BTreeMap<String, u64>,
    /// Repository and digest of each link to a manifest.
    pub revisions: BTreeSet<(String, String)>,
    /// Repository and digest of each link to a layer or config.
    pub layer_links: BTreeSet<(String, String)>,
    /// Repository, tag and digest of each entry in the `index/` of a tag.
    pub tag_index: BTreeSet<(String, String, String)>,
}

impl Items {
    /// How many of each kind, and how many bytes of blobs.
    pub fn tally(&self) -> Value {
        json!({
            "blobs": self.blobs.len(),
            "bytes": self.bytes(),
            "revisions": self.revisions.len(),
            "layerLinks": self.layer_links.len(),
            "tagIndex": self.tag_index.len(),
        })
    }

    /// The bytes of the blobs.
    pub fn bytes(&self) -> u64 {
        self.blobs.values().sum()
    }
}

impl Fate {
    /// Says what two answers differ in, item by item; `None` where they agree.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let mut lines = Vec::new();
        let mut compare = |kind: &str, ours: BTreeSet<String>, theirs: BTreeSet<String>| {
            lines.extend(ours.difference(&theirs).map(|item| format!("{kind} {item}: only the first")));
            lines.extend(theirs.difference(&ours).map(|item| format!("{kind} {item}: only the second")));
        };
        for (place, ours, theirs) in [("stays", &self.stays, &other.stays), ("goes", &self.goes, &other.goes)] {
            let [ours, theirs] = [ours, theirs].map(Items::named);
            for ((kind, ours), (_, theirs)) in ours.into_iter().zip(theirs) {
                compare(&format!("{place}: {kind}"), ours, theirs);
            }
        }
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

impl Items {
    fn named(&self) -> [(&'static str, BTreeSet<String>); 4] {
        let links =
            |links: &BTreeSet<(String, String)>| links.iter().map(|(repository, digest)| format!("{repository}@{digest}")).collect();
        [
            ("blob", self.blobs.iter().map(|(digest, size)| format!("{digest} of {size} bytes")).collect()),
            ("revision", links(&self.revisions)),
            ("layer link", links(&self.layer_links)),
            ("tag index", self.tag_index.iter().map(|(repository, tag, digest)| format!("{repository}:{tag} {digest}")).collect()),
        ]
    }
}
