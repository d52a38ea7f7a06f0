//! How many bytes come free: each blob once over the whole input, and only if nothing that stays names it.
//!
//! Twenty million blobs must fit, so of a blob eight bytes are held: the front of its digest, the last bit of which is replaced by
//! a mark. Its size need not be held for long, because the sum is kept up to date as blobs come. Most blobs are named over and over
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

/// Every distinct blob seen, and whether a manifest that stays names it.
#[derive(Debug)]
pub struct Blobs {
    parts: Vec<Part>,
    freed: i128,
}

/// So many parts that one of them is near enough to be sorted fast.
const PARTS: u64 = 256;
/// Marks a blob that a manifest that stays names.
const STAYS: u64 = 1;

/// The blobs whose keys begin alike.
///
/// A table would be asked for another far place with each blob, and that costs more than to read the blob. So blobs wait
/// here until there are enough of them to be sorted and merged with the others in one go.
#[derive(Debug, Default)]
struct Part {
    /// Marked keys, each once, in order.
    known: Vec<u64>,
    /// Marked keys and sizes of blobs that may be known.
    waiting: Vec<(u64, u64)>,
}

impl Default for Blobs {
    fn default() -> Self {
        Self { parts: (0..PARTS).map(|_| Part::default()).collect(), freed: 0 }
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
            let part = &mut self.parts[(blob.key / (u64::MAX / PARTS + 1)) as usize];
            part.waiting.push((blob.key & !STAYS | u64::from(stays), blob.size));
            if part.waiting.len() >= (part.known.len() / 4).max(256) {
                self.freed += part.merge();
            }
        }
        freed_here
    }

    /// The bytes of the blobs that only manifests that go name.
    pub fn freed(&mut self) -> u64 {
        self.freed += self.parts.iter_mut().map(Part::merge).sum::<i128>();
        // Below zero only where records disagree about the size of a blob.
        u64::try_from(self.freed.max(0)).unwrap_or(u64::MAX)
    }
}

impl Part {
    /// Makes known what waits, and gives back by how much the sum of what comes free grows, or shrinks.
    fn merge(&mut self) -> i128 {
        let mut change = 0;
        self.waiting.sort_unstable_by_key(|(key, _)| *key);
        let mut known = Vec::with_capacity(self.known.len() + self.waiting.len());
        let mut before = self.known.iter().copied().peekable();
        // Of one blob, the one that goes comes before the one that stays.
        for (key, size) in self.waiting.drain(..) {
            while let Some(other) = before.next_if(|other| *other < key & !STAYS) {
                known.push(other);
            }
            known.extend(before.next_if(|other| *other | STAYS == key | STAYS));
            match known.last_mut() {
                Some(last) if *last | STAYS == key | STAYS => {
                    if *last < key {
                        change -= i128::from(size);
                    }
                    *last |= key;
                }
                _ => {
                    if key & STAYS == 0 {
                        change += i128::from(size);
                    }
                    known.push(key);
                }
            }
        }
        known.extend(before);
        self.known = known;
        change
    }
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
        let keys: Vec<u64> = (0..200_000).map(spread).collect();
        let some: Vec<u64> = keys.iter().copied().step_by(3).collect();
        let stay = |keys: &[u64]| keys.iter().collect::<std::collections::BTreeSet<_>>().len() as u64;
        for (repositories, expected) in [
            (vec![(&keys, true), (&some, false), (&keys, true)], stay(&keys) - stay(&some)),
            (vec![(&some, false), (&keys, true)], stay(&keys) - stay(&some)),
            (vec![(&some, true), (&keys, true), (&some, true)], stay(&keys)),
            (vec![(&some, true), (&keys, false)], 0),
        ] {
            let repositories: Vec<_> = repositories.into_iter().map(|(keys, goes)| [(&keys[..], 1, goes)]).collect();
            let repositories: Vec<_> = repositories.iter().map(|manifests| &manifests[..]).collect();
            assert_eq!(freed(&repositories).1, expected);
        }
    }
}
