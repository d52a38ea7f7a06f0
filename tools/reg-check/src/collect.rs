//! Where all findings end, from whatever form of the check: judged, counted, and written or kept.

use std::io;

use common::cli::{Context, Output, Status, count};
use common::record::{CheckTotals, Finding, Header, Scope, Severity, Trailer};

use crate::arguments::FailOn;
use crate::draft::{Draft, Weight};
use crate::judge::Judge;

/// What was found in one step: a repository, or what belongs to none.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Images that were looked at.
    pub(crate) images: u64,
    /// Of these, those without a fault, of which everything could be asked.
    pub(crate) healthy: u64,
    /// What was found, in any order; those that are [`Weight::Well`] are written with `--all` alone.
    pub(crate) drafts: Vec<Draft>,
}

impl Batch {
    /// One thing that is about no image.
    pub(crate) fn of(draft: Draft) -> Self {
        Self { drafts: vec![draft], ..Self::default() }
    }
}

/// Takes all that is found.
pub(crate) struct Collector<'a> {
    context: &'a Context,
    judge: Judge<'a>,
    /// None where something else than records goes to standard output.
    output: Option<Output>,
    /// The findings, where somebody wants all of them at the end.
    kept: Option<Vec<Finding>>,
    all: bool,
    fail_on: FailOn,
    totals: CheckTotals,
    written: u64,
}

/// What a check came to.
#[derive(Debug)]
pub(crate) struct Checked {
    /// What the findings mean for the exit status.
    pub(crate) status: Status,
    pub(crate) totals: CheckTotals,
    /// What people are told.
    pub(crate) summary: String,
    /// The findings, where they were to be kept.
    pub(crate) findings: Vec<Finding>,
}

impl<'a> Collector<'a> {
    pub(crate) fn new(context: &'a Context, judge: Judge<'a>, all: bool, fail_on: FailOn) -> Self {
        let output = Some(context.output());
        Self { context, judge, output, kept: None, all, fail_on, totals: CheckTotals::default(), written: 0 }
    }

    /// Writes no records.
    pub(crate) fn silent(mut self) -> Self {
        self.output = None;
        self
    }

    /// Keeps the findings for [`Checked`], beside writing them.
    pub(crate) fn keeping(mut self) -> Self {
        self.kept = Some(Vec::new());
        self
    }

    /// Writes the header. To be called once, before anything is taken.
    pub(crate) fn begin(&mut self, time: chrono::DateTime<chrono::Utc>, scope: Scope) -> io::Result<()> {
        let header = Header::new(self.context.name(), self.context.version(), time).with_scope(scope);
        self.each(|output| output.write(&header).and_then(|()| output.flush()))
    }

    /// Judges and writes what was found in one step, in an order of its own: by tag, digest and problem.
    pub(crate) fn take(&mut self, batch: Batch) -> io::Result<()> {
        let Batch { images, healthy, mut drafts } = batch;
        self.totals.images += images;
        self.totals.healthy += healthy;
        drafts.retain(|draft| self.all || draft.weight != Weight::Well);
        drafts.sort_by(|a, b| key(a).cmp(&key(b)));
        for draft in drafts {
            let finding = self.judge.finding(draft);
            match finding.severity {
                Severity::Error => self.totals.errors += 1,
                Severity::Warning => self.totals.warnings += 1,
                Severity::Unknown => self.totals.unknown += 1,
                Severity::Info => self.totals.infos += 1,
                Severity::Ok | Severity::Other => {}
            }
            self.written += 1;
            self.each(|output| output.write(&finding))?;
            if let Some(kept) = &mut self.kept {
                kept.push(finding);
            }
        }
        self.each(Output::flush)
    }

    /// Notes images of the input that were not asked for.
    pub(crate) fn not_asked(&mut self, images: u64) {
        self.totals.not_asked += images;
    }

    /// Notes what a check over the network cost, or how many bytes were read; repeated calls add up.
    pub(crate) fn cost(&mut self, requests: Option<u64>, hashed: Option<u64>) {
        let add = |total: &mut Option<u64>, more: Option<u64>| {
            if let Some(more) = more {
                *total = Some(total.unwrap_or(0) + more);
            }
        };
        add(&mut self.totals.requests, requests);
        add(&mut self.totals.hashed, hashed);
    }

    /// Writes the trailer and the summary. `complete`: all that was to be looked at is known.
    pub(crate) fn end(mut self, complete: bool) -> io::Result<Checked> {
        let trailer = Trailer::new(complete, self.written, self.totals.clone());
        self.each(|output| output.write(&trailer).and_then(|()| output.flush()))?;
        let summary = format!("{}: {}\n", self.context.name(), summarized(&self.totals));
        self.context.summarize(&summary);
        Ok(Checked { status: status(self.fail_on, &self.totals), summary, totals: self.totals, findings: self.kept.unwrap_or_default() })
    }

    fn each(&mut self, write: impl FnOnce(&mut Output) -> io::Result<()>) -> io::Result<()> {
        self.output.as_mut().map_or(Ok(()), write)
    }
}

type Key<'a> = (&'a [String], Option<&'a common::digest::Digest>, &'static str, Option<&'a str>, &'a str);

fn key(draft: &Draft) -> Key<'_> {
    (&draft.tags, draft.digest.as_ref(), draft.problem.name(), draft.path.as_deref(), &draft.detail)
}

fn status(fail_on: FailOn, totals: &CheckTotals) -> Status {
    let counts = [(Severity::Error, totals.errors), (Severity::Warning, totals.warnings), (Severity::Unknown, totals.unknown)];
    let fails = counts.iter().any(|(severity, count)| *count > 0 && fail_on.fails(*severity));
    if fails { Status::Partial } else { Status::Done }
}

/// A line for people.
fn summarized(totals: &CheckTotals) -> String {
    let mut parts = vec![format!("{}, {} healthy", count(totals.images, "image"), totals.healthy)];
    let counted = [(totals.errors, "error"), (totals.warnings, "warning")];
    parts.extend(counted.iter().filter(|(number, _)| *number > 0).map(|(number, noun)| count(*number, noun)));
    let told = [(totals.unknown, "unknown"), (totals.infos, "good to know"), (totals.not_asked, "not asked for")];
    parts.extend(told.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}")));
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_fail_does() {
        let totals = |errors, warnings, unknown| CheckTotals { errors, warnings, unknown, infos: 9, ..CheckTotals::default() };
        for (totals, expected) in [
            (totals(0, 0, 0), [false, false, false, false]),
            (totals(0, 0, 1), [false, false, true, false]),
            (totals(0, 1, 0), [false, true, true, false]),
            (totals(1, 0, 0), [true, true, true, false]),
        ] {
            let found =
                [FailOn::Error, FailOn::Warning, FailOn::Unknown, FailOn::Never].map(|from| status(from, &totals) == Status::Partial);
            assert_eq!(found, expected, "{totals:?}");
        }
    }

    #[test]
    fn people_are_told_in_a_line() {
        let totals = CheckTotals { images: 3, healthy: 1, errors: 1, unknown: 2, ..CheckTotals::default() };
        assert_eq!(summarized(&totals), "3 images, 1 healthy; 1 error; 2 unknown");
    }
}
