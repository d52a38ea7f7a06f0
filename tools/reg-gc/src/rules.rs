//! What may go, as the command line and the inventory say it. Pure.

use std::collections::HashSet;
use std::time::SystemTime;

use common::digest::Digest;

/// By what it is decided what may go.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// Whether manifests that no tag leads to may go, and if they do, which.
    pub(crate) untagged: Option<Untagged>,
    /// The content that is in use anywhere.
    pub(crate) held: HashSet<Digest>,
    /// When the oldest inventory was taken: what came later may be in use without being in it.
    pub(crate) inventory: Option<SystemTime>,
    /// What was changed later than this stays.
    pub(crate) grace: SystemTime,
    /// Uploads that moved later than this stay.
    pub(crate) uploads: SystemTime,
    /// Whether a registry may be writing: then links go in one run and blobs in a later one.
    pub(crate) online: bool,
    /// Whether every folder is opened, to find stray temporary files.
    pub(crate) deep: bool,
}

/// The rule for what no tag leads to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Untagged {
    /// What was pushed later than this stays.
    pub(crate) pushed: SystemTime,
}

impl Rules {
    /// Whether an untagged manifest stays for its time alone.
    pub(crate) fn is_young(&self, pushed: SystemTime) -> bool {
        pushed > self.grace || self.untagged.is_some_and(|rule| pushed > rule.pushed) || self.is_newer_than_inventory(pushed)
    }

    /// Whether something came after the inventory was taken.
    pub(crate) fn is_newer_than_inventory(&self, time: SystemTime) -> bool {
        self.inventory.is_some_and(|inventory| time >= inventory)
    }
}
