//! One thing that is wrong.

use crate::digest::Digest;
use crate::record::Problem;

/// Something in a storage tree that is wrong, costs space for nothing, or could not be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The repository; of what lies among the blobs, none.
    pub repository: Option<String>,
    /// All tags of the repository that lead to it, sorted.
    pub tags: Vec<String>,
    /// What is wrong with it.
    pub problem: Problem,
    /// What is missing or damaged.
    pub digest: Option<Digest>,
    /// A manifest that needs it, where that is another; of several the first.
    pub manifest: Option<Digest>,
    /// The platform that lacks it.
    pub platform: Option<String>,
    /// All manifests that lead to it and their configs: by these somebody may use it without its tag.
    pub content: Vec<Digest>,
    /// Where it lies, relative to the root.
    pub path: String,
    /// How much is wrong with it.
    pub weight: Weight,
    /// What is wrong, in a sentence.
    pub detail: String,
}

/// How much is wrong with something, whoever uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It only costs space.
    Space,
    /// It could not be read, so that anything may lie behind it.
    Unknown,
    /// A server stumbles over it, and what tags name is served.
    Stumble,
    /// Something cannot be served whole.
    Broken,
}
