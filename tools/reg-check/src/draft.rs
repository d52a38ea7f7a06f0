//! What was found wrong, before it is known who uses it: what both forms of the check hand on. Pure.

use common::digest::Digest;
use common::record::Problem;
use common::reference::Host;

/// Something that was found, or an image that is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Draft {
    /// The registry, by the name by which it was asked; a storage has one only where somebody said it.
    pub(crate) registry: Option<Host>,
    /// The repository.
    pub(crate) repository: Option<String>,
    /// All tags of it that lead to what is found, sorted; the record bears the first.
    pub(crate) tags: Vec<String>,
    /// What is missing or damaged.
    pub(crate) digest: Option<Digest>,
    /// The manifest that needs it, where that is another.
    pub(crate) manifest: Option<Digest>,
    /// The platform that lacks it.
    pub(crate) platform: Option<String>,
    /// Where it lies in a storage tree, relative to the root.
    pub(crate) path: Option<String>,
    /// All content by which a use may mean it, beside `digest` and `manifest`: the manifests that lead to it, their configs.
    pub(crate) content: Vec<Digest>,
    /// What is wrong.
    pub(crate) problem: Problem,
    /// How much is wrong with it.
    pub(crate) weight: Weight,
    /// What is wrong, in a sentence that begins in lower case and ends without a full stop.
    pub(crate) detail: String,
}

impl Draft {
    /// Of what is not said yet.
    pub(crate) fn new(problem: Problem, weight: Weight, detail: impl Into<String>) -> Self {
        Self {
            registry: None,
            repository: None,
            tags: Vec::new(),
            digest: None,
            manifest: None,
            platform: None,
            path: None,
            content: Vec::new(),
            problem,
            weight,
            detail: detail.into(),
        }
    }
}

/// How much is wrong with something, whoever uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    /// Nothing.
    Well,
    /// It only costs space.
    Space,
    /// It is good to know, whoever uses it.
    Note,
    /// It could not be found out.
    Unknown,
    /// A server stumbles over it, and everything that a tag or an index names is served.
    Stumble,
    /// Something cannot be served whole. It is an error where a tag names it, or a pod runs it.
    Broken,
    /// As that, of what somebody asked for by itself: an error, whoever uses it.
    Wanted,
}
