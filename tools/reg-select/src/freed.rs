//! How many bytes come free: each blob once over the whole input, and only if nothing that stays names it.
//!
//! Twenty million blobs must fit, so a blob is sixteen bytes: the front of its digest, and its size with two marks.

use hashbrown::HashTable;

use crate::entry::Blob;

const GOES: u64 = 1 << 63;
const STAYS: u64 = 1 << 62;
const SIZE: u64 = STAYS - 1;

/// Every distinct blob seen, and whether a manifest that goes or one that stays names it.
#[derive(Debug, Default)]
pub struct Blobs {
    table: HashTable<(u64, u64)>,
}

impl Blobs {
    /// Counts a blob of a manifest.
    pub fn add(&mut self, blob: Blob, goes: bool) {
        let mark = if goes { GOES } else { STAYS };
        // The front of a digest is a hash already.
        let slot = self.table.entry(blob.key, |(key, _)| *key == blob.key, |(key, _)| *key);
        slot.and_modify(|(_, value)| *value |= mark).or_insert((blob.key, blob.size.min(SIZE) | mark));
    }

    /// The bytes of the blobs that only manifests that go name.
    pub fn freed(&self) -> u64 {
        let freed = self.table.iter().filter(|(_, value)| value & (GOES | STAYS) == GOES);
        freed.fold(0_u64, |sum, (_, value)| sum.saturating_add(value & SIZE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_blobs_count_once_and_not_at_all_while_one_stays() {
        let mut blobs = Blobs::default();
        let blob = |key: u64, size| Blob { key, size };
        for (key, goes) in [(1, true), (1, true), (2, true), (2, false), (3, false), (4, true)] {
            blobs.add(blob(key, 10), goes);
        }
        assert_eq!(blobs.freed(), 20);
    }
}
