//! How many bytes come free: each blob once over the whole input, and only if nothing that stays names it.
//!
//! Twenty million blobs must fit, so of a blob eight bytes are held: the front of its digest, the last bit of which is replaced by
//! a mark. Its size need not be held, because the sum is kept up to date as repositories come. Most blobs are named over and over
//! within one repository, so there each is found once, in a table small enough to be near.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::blobs::Blob;

/// The blobs of one repository: each once, and which manifest names which.
#[derive(Debug, Default)]
pub struct RepositoryBlobs {
    distinct: Vec<Blob>,
    /// The key of each distinct blob, and its place.
    places: HashTable<(u64, usize)>,
    /// Places of distinct blobs, manifest after manifest.
    named: Vec<usize>,
    /// Where each manifest's part of `named` ends.
    ends: Vec<usize>,
}

impl RepositoryBlobs {
    /// Adds the blobs of the next manifest.
    pub fn push(&mut self, blobs: impl IntoIterator<Item = Blob>) {
        for blob in blobs {
            let place = match self.places.entry(blob.key, |(key, _)| *key == blob.key, |(key, _)| *key) {
                Entry::Occupied(known) => known.get().1,
                Entry::Vacant(new) => {
                    let place = self.distinct.len();
                    new.insert((blob.key, place));
                    self.distinct.push(blob);
                    place
                }
            };
            self.named.push(place);
        }
        self.ends.push(self.named.len());
    }

    /// Forgets all, and keeps the room for the next.
    pub fn clear(&mut self) {
        self.distinct.clear();
        self.places.clear();
        self.named.clear();
        self.ends.clear();
    }

    /// The blobs, and whether a manifest that stays names them; `goes` is asked by place.
    fn marked(&self, goes: impl Fn(usize) -> bool) -> impl Iterator<Item = (Blob, bool)> {
        let mut stays = vec![false; self.distinct.len()];
        let mut begin = 0;
        for (place, end) in self.ends.iter().enumerate() {
            if !goes(place) {
                for blob in &self.named[begin..*end] {
                    stays[*blob] = true;
                }
            }
            begin = *end;
        }
        self.distinct.iter().copied().zip(stays)
    }
}

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
    /// Counts the blobs of a repository, and gives back how many bytes would come free if there were no other.
    ///
    /// `goes` says by its place whether a manifest goes.
    pub fn add(&mut self, repository: &RepositoryBlobs, goes: impl Fn(usize) -> bool) -> u64 {
        let mut freed_here = 0_u64;
        for (blob, stays) in repository.marked(goes) {
            if !stays {
                freed_here = freed_here.saturating_add(blob.size);
            }
            self.add_one(blob, stays);
        }
        freed_here
    }

    fn add_one(&mut self, blob: Blob, stays: bool) {
        let key = blob.key & !STAYS;
        let table = &mut self.tables[(key >> 1) as usize % TABLES];
        match table.entry(hash(key), |known| known & !STAYS == key, |known| hash(*known)) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                if stays && *known & STAYS == 0 {
                    *known |= STAYS;
                    self.freed -= i128::from(blob.size);
                }
            }
            Entry::Vacant(new) => {
                new.insert(key | u64::from(stays));
                if !stays {
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

    /// Counts repositories of manifests, each with the keys of its blobs, their size, and whether it goes.
    fn freed(repositories: &[&[(&[u64], u64, bool)]]) -> (Vec<u64>, u64) {
        let mut all = Blobs::default();
        let mut blobs = RepositoryBlobs::default();
        let mut count = |manifests: &&[(&[u64], u64, bool)]| {
            blobs.clear();
            for (keys, size, _) in *manifests {
                blobs.push(keys.iter().map(|key| Blob { key: *key, size: *size }));
            }
            all.add(&blobs, |place| manifests[place].2)
        };
        (repositories.iter().map(&mut count).collect(), all.freed())
    }

    #[test]
    fn shared_blobs_count_once_and_not_at_all_while_one_stays() {
        assert_eq!(freed(&[&[(&[2, 4], 10, true), (&[2, 6, 6], 10, true), (&[4, 8], 10, false)]]), (vec![20], 20));
        assert_eq!(freed(&[&[(&[2, 4], 10, true)], &[(&[2], 10, true)], &[(&[4], 10, false)]]), (vec![20, 10, 0], 10));
        assert_eq!(freed(&[&[(&[2, 4], 10, false)], &[(&[2, 6], 10, true)], &[(&[6], 10, true)]]), (vec![0, 20, 10], 10));
        assert_eq!(freed(&[&[], &[(&[], 10, true)]]), (vec![0, 0], 0));
    }

    #[test]
    fn sizes_that_cannot_be_true_do_no_harm() {
        assert_eq!(freed(&[&[(&[2, 4], u64::MAX, true)]]).1, u64::MAX);
        assert_eq!(freed(&[&[(&[2], u64::MAX, true), (&[4], 7, true)], &[(&[2], u64::MAX, false)]]), (vec![u64::MAX, 0], 7));
        assert_eq!(freed(&[&[(&[2], 1, true)], &[(&[2], u64::MAX, false)]]).1, 0, "the same blob has not two sizes");
    }

    #[test]
    fn many_blobs_are_told_apart() {
        let spread = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) << 1;
        let keys: Vec<u64> = (0..10_000).map(spread).collect();
        assert_eq!(freed(&[&[(&keys[..], 1, true)], &[(&keys[2_500..], 1, false)], &[(&keys[..], 1, true)]]).1, 2_500);
    }
}
