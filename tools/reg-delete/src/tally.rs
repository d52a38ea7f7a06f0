//! What was done, counted and told to people. Pure.

use std::fmt::Write as _;

use common::cli::{Status, count};
use common::record::{Deletion, DeletionAction, DeletionResult};
use serde::Serialize;

/// How many items that were not done are told one by one; all of them are in the records.
const TOLD: usize = 20;

/// The numbers of a run, and what was not done.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    totals: Totals,
    skipped: Vec<String>,
    failed: Vec<String>,
}

/// What the trailer says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Totals {
    pub(crate) planned: u64,
    pub(crate) deleted: u64,
    pub(crate) untagged: u64,
    pub(crate) restored: u64,
    pub(crate) absent: u64,
    pub(crate) skipped: u64,
    pub(crate) failed: u64,
}

impl Tally {
    /// Counts a result.
    pub(crate) fn count(&mut self, record: &Deletion) {
        let totals = &mut self.totals;
        let number = match record.result {
            DeletionResult::Planned => &mut totals.planned,
            DeletionResult::Started => return,
            DeletionResult::Deleted => &mut totals.deleted,
            DeletionResult::Untagged => &mut totals.untagged,
            DeletionResult::Restored => &mut totals.restored,
            DeletionResult::Absent => &mut totals.absent,
            DeletionResult::Skipped => &mut totals.skipped,
            DeletionResult::Failed => &mut totals.failed,
        };
        *number += 1;
        match record.result {
            DeletionResult::Skipped => self.skipped.push(sentence(record)),
            DeletionResult::Failed => self.failed.push(sentence(record)),
            _ => {}
        }
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// 0 where all was done (skipped is done), 1 where something failed.
    pub(crate) fn status(&self) -> Status {
        if self.totals.failed == 0 { Status::Done } else { Status::Partial }
    }

    /// What is told of a dry run.
    pub(crate) fn dry_run(&self, what: &str) -> String {
        let mut text = format!(
            "dry run: {} would {what}, nothing was asked of any registry; add --yes to do it\n",
            count(self.totals.planned, "item")
        );
        tell(&mut text, "would be skipped", &self.skipped);
        tell(&mut text, "cannot be done", &self.failed);
        text
    }

    /// What is told of a run that deleted.
    pub(crate) fn deletion(&self) -> String {
        let Totals { deleted, untagged, absent, skipped, failed, .. } = self.totals;
        let mut text = format!("deleted {deleted}, untagged {untagged}, absent {absent}, skipped {skipped}, failed {failed}\n");
        tell(&mut text, "skipped", &self.skipped);
        tell(&mut text, "failed", &self.failed);
        if deleted + untagged > 0 {
            text.push_str(
                "disk space comes back when the registry's storage is collected: reg-gc, or the registry's own garbage-collect\n",
            );
            text.push_str("can be undone until then: reg-delete --undo --yes < the journal of this run\n");
        }
        text
    }

    /// What is told of a run that put back. `keep` are the lines of a keep list.
    pub(crate) fn undo(&self, keep: &[String]) -> String {
        let Totals { restored, skipped, failed, .. } = self.totals;
        let mut text = format!("restored {restored}, left alone {skipped}, failed {failed}\n");
        tell(&mut text, "left alone", &self.skipped);
        tell(&mut text, "not put back", &self.failed);
        if !keep.is_empty() {
            text.push_str("the next run takes these again, unless a keep list (reg-select --keep-list FILE) has these lines:\n");
            for line in keep {
                let _ = writeln!(text, "{line}");
            }
        }
        text
    }
}

fn tell(text: &mut String, what: &str, sentences: &[String]) {
    for sentence in sentences.iter().take(TOLD) {
        let _ = writeln!(text, "{what}: {sentence}");
    }
    if let Some(more) = sentences.len().checked_sub(TOLD).filter(|more| *more > 0) {
        let _ = writeln!(text, "{what}: {more} more; the records name them all");
    }
}

/// `registry.example.com/team/app@sha256:… (1.2): why`
fn sentence(record: &Deletion) -> String {
    let tags = match (record.tags.is_empty(), record.action) {
        (true, _) => String::new(),
        (false, DeletionAction::Untag) => format!(" (tag {})", record.tags.join(", ")),
        (false, _) => format!(" ({})", record.tags.join(", ")),
    };
    let why = record.why.as_deref().unwrap_or("no reason was given");
    format!("{}/{}@{}{tags}: {why}", record.registry, record.repository, record.digest.short())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{doomed, place};

    fn record(result: DeletionResult) -> Deletion {
        doomed("a").tagged("1").record(&place(), result, Some("because".to_owned()))
    }

    #[test]
    fn skipped_is_done_and_failed_is_not() {
        let mut tally = Tally::default();
        tally.count(&record(DeletionResult::Started));
        tally.count(&record(DeletionResult::Deleted));
        tally.count(&record(DeletionResult::Skipped));
        assert_eq!(tally.status(), Status::Done);
        let told = tally.deletion();
        assert!(told.starts_with("deleted 1, untagged 0, absent 0, skipped 1, failed 0\n"), "{told}");
        assert!(told.contains("skipped: registry.example.com/team/app@sha256:ca978112ca1b (1): because\n"), "{told}");
        assert!(told.lines().last().is_some_and(|line| line.starts_with("can be undone until")), "{told}");
        tally.count(&record(DeletionResult::Failed));
        assert_eq!(tally.status(), Status::Partial);
    }

    #[test]
    fn long_lists_are_cut_and_say_so() {
        let mut tally = Tally::default();
        (0..25).for_each(|_| tally.count(&record(DeletionResult::Skipped)));
        let told = tally.deletion();
        assert!(told.contains("skipped: 5 more; the records name them all\n"), "{told}");
        assert!(!told.contains("can be undone"), "nothing was done: {told}");
    }
}
