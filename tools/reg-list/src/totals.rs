//! What the end of a section tells: sums, each blob counted once. Pure.

use std::collections::HashSet;

use common::digest::Digest;
use common::record::{Blob, ListingTotals};

/// The sums of a section.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) repositories: u64,
    pub(crate) incomplete: u64,
    pub(crate) tags: u64,
    pub(crate) manifests: u64,
    pub(crate) image_size: u64,
    /// The first eight bytes of each blob's digest, which is enough to tell a hundred million blobs apart. All that is kept of
    /// a repository when it is written.
    blobs: HashSet<u64>,
}

impl Totals {
    /// Counts a blob, if it did not come before.
    pub(crate) fn add_blob(&mut self, blob: &Blob) {
        if self.blobs.insert(beginning(&blob.digest)) {
            self.image_size = self.image_size.saturating_add(blob.size);
        }
    }

    /// The totals of a trailer. `manifests` were counted only where they were asked for, as `with_manifests` says.
    pub(crate) fn of_listing(&self, with_manifests: bool, error: Option<String>) -> ListingTotals {
        ListingTotals {
            repositories: self.repositories,
            incomplete_repositories: self.incomplete,
            tags: Some(self.tags),
            manifests: with_manifests.then_some(self.manifests),
            image_size: with_manifests.then_some(self.image_size),
            error,
        }
    }
}

fn beginning(digest: &Digest) -> u64 {
    digest.bytes().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_counts_once_whatever_its_size_is_said_to_be() {
        let mut totals = Totals::default();
        for (name, size) in [("a", 10), ("b", 5), ("a", 10), ("a", 99), ("c", u64::MAX)] {
            totals.add_blob(&Blob { digest: Digest::of(name.as_bytes()), size });
        }
        assert_eq!(totals.image_size, u64::MAX);
        assert_eq!(totals.blobs.len(), 3);
        assert_ne!(beginning(&Digest::of(b"a")), beginning(&Digest::of(b"b")));
    }

    #[test]
    fn what_was_not_asked_for_is_null() {
        let totals = Totals { tags: 3, ..Totals::default() };
        let counted = totals.of_listing(false, None);
        assert_eq!((counted.tags, counted.manifests, counted.image_size), (Some(3), None, None));
        assert_eq!(totals.of_listing(true, None).manifests, Some(0));
    }
}
