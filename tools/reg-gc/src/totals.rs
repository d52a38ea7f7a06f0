//! What a run takes, added up: by kind, and by repository. Pure.

use std::collections::BTreeMap;

use common::record::{Reclaim, ReclaimResult, ReclaimTotals, Reclaimed, Sum};

/// Sums over records.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) kinds: BTreeMap<Reclaimed, Sum>,
    pub(crate) repositories: BTreeMap<String, Sum>,
    pub(crate) records: u64,
    /// Records that say `kept` or `failed`.
    pub(crate) kept: u64,
    pub(crate) failed: u64,
}

impl Totals {
    /// Counts a record. `owner` is the repository that loses a blob.
    pub(crate) fn add(&mut self, record: &Reclaim, owner: Option<&str>) {
        self.records += 1;
        match record.result {
            ReclaimResult::Kept => self.kept += 1,
            ReclaimResult::Failed => self.failed += 1,
            ReclaimResult::Restored => {}
            ReclaimResult::Planned | ReclaimResult::Trashed | ReclaimResult::Removed => {
                self.kinds.entry(record.what).or_default().add(record.size);
                let repository = owner.or(record.repository.as_deref()).unwrap_or_default();
                match self.repositories.get_mut(repository) {
                    Some(sum) => sum.add(record.size),
                    None => self.repositories.entry(repository.to_owned()).or_default().add(record.size),
                }
            }
        }
    }

    /// Takes back what was counted, because it was put back.
    pub(crate) fn take_back(&mut self, what: Reclaimed, repository: &str, size: u64) {
        for sum in [self.kinds.get_mut(&what), self.repositories.get_mut(repository)].into_iter().flatten() {
            sum.count = sum.count.saturating_sub(1);
            sum.bytes = sum.bytes.saturating_sub(size);
        }
    }

    /// All bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.kinds.values().map(|sum| sum.bytes).sum()
    }

    /// How many things.
    pub(crate) fn count(&self) -> u64 {
        self.kinds.values().map(|sum| sum.count).sum()
    }

    /// Whether anything went that a registry may remember.
    pub(crate) fn is_remembered(&self) -> bool {
        let kinds = [Reclaimed::Blob, Reclaimed::Revision, Reclaimed::LayerLink];
        kinds.iter().any(|kind| self.kinds.get(kind).is_some_and(|sum| sum.bytes > 0))
    }

    /// The beginning of a trailer's totals.
    pub(crate) fn of_trailer(&self) -> ReclaimTotals {
        ReclaimTotals { kinds: self.kinds.clone(), repositories: self.repositories.clone(), ..ReclaimTotals::default() }
    }
}
