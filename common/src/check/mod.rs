//! What is wrong in a storage tree: found for `reg-check`, which says it, and for `reg-fix`, which mends it.
//!
//! In reading order:
//!
//! - [`fault`]: one thing that is wrong.
//! - [`scene`]: all that lies in one repository, read and not judged.
//! - [`blobs`]: how large each blob of the tree is, and what is known of its content. [`choice`]: which of them are read. [`content`]: that
//!   content, hashed on all cores.
//! - [`judge`]: a scene and the blobs, as faults; no input, no output.
//! - [`tree`]: a whole tree, checked repository by repository.
//!
//! Reads only, also beside a registry that writes: what is found is looked at twice, and what was on its way is not told. Knows nothing
//! of the command line, nor of who uses what.

pub mod blobs;
pub mod choice;
pub mod content;
pub mod fault;
pub mod judge;
pub mod scene;
#[cfg(test)]
mod tests;
pub mod tree;

pub use fault::{Fault, Weight};

/// How deep is looked. Each holds what those before it do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Depth {
    /// Links and manifests, hashed
    Manifest,
    /// Configs, hashed and read
    Config,
    /// Every blob is there and has its size
    Blobs,
    /// Every blob is read and hashed
    Content,
}

impl Depth {
    /// Its word on the command line and in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Config => "config",
            Self::Blobs => "blobs",
            Self::Content => "content",
        }
    }
}
