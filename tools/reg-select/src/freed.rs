//! How many bytes come free: each blob once over the whole input, and only if nothing that stays names it.
//!
//! Twenty million blobs must fit, so of a blob eight bytes are held: the front of its digest, the last bit of which is replaced by
//! a mark. Its size need not be held, because the sum is kept up to date as blobs come.

use hashbrown::HashTable;

use crate::blobs::Blob;

/// Marks a blob that a manifest that stays names.
const STAYS: u64 = 1;
/// A power of two. Many small tables grow one by one, where a large one would for a moment need the room of the old and the new.
const TABLES: usize = 256;

/// Every distinct blob seen, and whether a manifest that stays names it.
#[derive(Debug)]
pub struct Blobs {
    tables: Vec<HashTable<u64>>,
    freed: i128,
}

impl Default for Blobs {
    fn default() -> Self {
        Self { tables: (0..TABLES).map(|_| HashTable::new()).collect(), freed: 0 }
    }
}

impl Blobs {
    /// Counts a blob of a manifest.
    pub fn add(&mut self, blob: Blob, goes: bool) {
        let key = blob.key & !STAYS;
        let table = &mut self.tables[(key >> 1) as usize % TABLES];
        match table.find_mut(hash(key), |known| known & !STAYS == key) {
            Some(_) if goes => {}
            Some(known) => {
                if *known & STAYS == 0 {
                    self.freed -= i128::from(blob.size);
                }
                *known |= STAYS;
            }
            None => {
                table.insert_unique(hash(key), key | u64::from(!goes), |known| hash(*known));
                if goes {
                    self.freed += i128::from(blob.size);
                }
            }
        }
    }

    /// The bytes of the blobs that only manifests that go name.
    pub fn freed(&self) -> u64 {
        // Below zero only where records disagree about the size of a blob.
        u64::try_from(self.freed.max(0)).unwrap_or(u64::MAX)
    }
}

/// The front of a digest is as good as random. A table looks at the lowest bits of a hash and at the highest, so the lowest must
/// not be those that chose the table.
fn hash(key: u64) -> u64 {
    const LOW: u64 = u32::MAX as u64;
    key & !LOW | key >> 9 & LOW
}

#[cfg(test)]
mod tests {
    use super::*;

    fn freed(blobs: &[(u64, u64, bool)]) -> u64 {
        let mut counted = Blobs::default();
        for (key, size, goes) in blobs {
            counted.add(Blob { key: *key, size: *size }, *goes);
        }
        counted.freed()
    }

    #[test]
    fn shared_blobs_count_once_and_not_at_all_while_one_stays() {
        let blobs = [(2, true), (2, true), (4, true), (4, false), (6, false), (6, true), (6, false), (8, true)];
        assert_eq!(freed(&blobs.map(|(key, goes)| (key, 10, goes))), 20);
    }

    #[test]
    fn sizes_that_cannot_be_true_do_no_harm() {
        assert_eq!(freed(&[(2, u64::MAX, true), (4, u64::MAX, true)]), u64::MAX);
        assert_eq!(freed(&[(2, u64::MAX, true), (4, 7, true), (2, u64::MAX, false)]), 7);
        assert_eq!(freed(&[(2, 1, true), (2, u64::MAX, false)]), 0, "the same blob has not two sizes");
    }

    #[test]
    fn many_blobs_are_told_apart() {
        let spread = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) << 1;
        let mut blobs = Blobs::default();
        for round in 0..2 {
            for number in 0..10_000 {
                blobs.add(Blob { key: spread(number), size: 1 }, round == 0 || number % 4 != 0);
            }
        }
        assert_eq!(blobs.freed(), 7_500);
    }
}
