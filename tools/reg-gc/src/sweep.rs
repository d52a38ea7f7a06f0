//! Carries a plan out: every thing is looked at once more, written down, and moved into the trash.
//!
//! The lines of a batch are in the run's journal before anything of it is moved; where a line cannot be written, nothing is. Several
//! folders are worked on at once. Each step is finished in all repositories before the next begins.

use std::fs::File;
use std::io::BufWriter;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use common::cli::{Output, Progress};
use common::jsonl::Writer;
use common::record::{Header, Reclaim, ReclaimResult, Reclaimed, Trailer};
use common::store::folder::Folder;
use common::store::{layout, side_by_side};
use rustix::io::Errno;
use serde::Serialize;

use crate::item::{self, Batch, Item, Step};
use crate::owners::Owners;
use crate::plan::{Plan, age_of_blob};
use crate::rules::Rules;
use crate::totals::Totals;
use common::beside::runs::{self, Run};

/// What a sweep works on, and with.
#[derive(Clone, Copy)]
pub(crate) struct Stage<'a> {
    pub(crate) root: &'a Folder,
    pub(crate) plan: &'a Plan,
    pub(crate) rules: &'a Rules,
    pub(crate) run: &'a Run,
    pub(crate) progress: &'a Progress,
    /// Whether somebody asked us to end.
    pub(crate) interrupted: &'a (dyn Fn() -> bool + Sync),
}

/// What carries a plan out.
pub(crate) struct Sweep<'a> {
    stage: Stage<'a>,
    owners: Owners,
    lines: Mutex<Lines<'a>>,
    stop: AtomicBool,
}

impl<'a> std::ops::Deref for Sweep<'a> {
    type Target = Stage<'a>;

    fn deref(&self) -> &Stage<'a> {
        &self.stage
    }
}

/// Where lines go.
struct Lines<'a> {
    journal: Writer<BufWriter<File>>,
    output: &'a mut Output,
    totals: Totals,
    error: Option<anyhow::Error>,
}

impl<'a> Sweep<'a> {
    /// Opens the journal, and writes its header.
    ///
    /// # Errors
    /// A journal that cannot be written.
    pub(crate) fn begin(stage: Stage<'a>, header: &Header, output: &'a mut Output) -> anyhow::Result<Self> {
        let run = stage.run;
        let file = run.journal().with_context(|| format!("opening the journal of run {}", run.name))?;
        let mut journal = Writer::new(BufWriter::with_capacity(1 << 16, file));
        journal.write(header).and_then(|()| journal.flush()).with_context(|| cannot_write(run))?;
        let lines = Mutex::new(Lines { journal, output, totals: Totals::default(), error: None });
        Ok(Self { stage, owners: Owners::of(stage.plan), lines, stop: AtomicBool::new(false) })
    }

    /// Takes everything away that the plan takes.
    ///
    /// # Errors
    /// A journal or a standard output that cannot be written, and an interruption. Single things that fail are records.
    pub(crate) fn carry_out(&self) -> anyhow::Result<()> {
        for (step, what) in [(Step::Manifests, "tags and manifests"), (Step::Layers, "links to layers")] {
            self.repositories(step, what)?;
        }
        self.progress.tell("moving blobs into the trash");
        let runs: Vec<(usize, usize)> = self.plan.blobs.runs().collect();
        side_by_side::map(&runs, || (), |(), run| item::of_blobs(self.plan, *run).into_iter().for_each(|batch| self.batch(&batch)));
        self.repositories(Step::Leftovers, "uploads and leftovers")?;
        item::of_strays(self.plan).iter().for_each(|batch| self.batch(batch));
        self.empty_repositories();
        self.ended()
    }

    fn repositories(&self, step: Step, what: &str) -> anyhow::Result<()> {
        self.progress.tell(format!("moving {what} into the trash"));
        side_by_side::map(
            &self.plan.repositories,
            || (),
            |(), (name, findings)| {
                item::of_repository(step, name, findings, &self.plan.blobs).iter().for_each(|batch| self.batch(batch));
            },
        );
        self.ended()
    }

    /// Why it does not go on, if it does not.
    fn ended(&self) -> anyhow::Result<()> {
        match self.lines().error.take() {
            Some(error) => Err(error),
            None if self.stop.load(Ordering::Relaxed) => {
                anyhow::bail!("stopped by a signal: what was moved until then can be undone with --undo {}", self.run.name)
            }
            None => Ok(()),
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines<'a>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, error: anyhow::Error) {
        self.stop.store(true, Ordering::Relaxed);
        let mut lines = self.lines();
        lines.error.get_or_insert(error);
    }

    /// Whether nothing more is to be taken.
    fn stops(&self) -> bool {
        if (self.interrupted)() {
            self.stop.store(true, Ordering::Relaxed);
        }
        self.stop.load(Ordering::Relaxed)
    }

    fn batch(&self, batch: &Batch) {
        if self.stops() {
            return;
        }
        let planned = batch.items.iter().map(|item| item.record(&batch.folder, ReclaimResult::Planned));
        if let Err(error) = self.journal(planned) {
            return self.fail(error);
        }
        let moved = self.folders(batch);
        for item in &batch.items {
            if self.stops() {
                return;
            }
            let result = match &moved {
                Ok(Some((from, to))) => self.take(item, from, to),
                // It is gone, and nobody misses it.
                Ok(None) => continue,
                Err(error) => Outcome::Failed(error.to_string()),
            };
            self.tell(item, &batch.folder, result);
        }
    }

    fn folders(&self, batch: &Batch) -> std::io::Result<Option<(Folder, Folder)>> {
        let Some(from) = self.root.folder(&batch.folder)? else { return Ok(None) };
        Ok(Some((from, self.run.mirror(self.root, &batch.folder)?)))
    }

    /// Looks at a thing once more, and moves it.
    fn take(&self, item: &Item, from: &Folder, to: &Folder) -> Outcome {
        match self.is_changed(item, from) {
            Ok(Some(why)) => return Outcome::Kept(why),
            Ok(None) => {}
            Err(error) => return Outcome::Failed(error.to_string()),
        }
        match runs::rename(from, &item.name, to) {
            Ok(()) => {
                if let Some(place) = item.place {
                    self.plan.marks.take(place);
                }
                Outcome::Trashed
            }
            Err(Errno::NOENT) => Outcome::Absent,
            Err(Errno::XDEV) => Outcome::Failed("it is on another filesystem than the trash".to_owned()),
            Err(error) => Outcome::Failed(std::io::Error::from(error).to_string()),
        }
    }

    /// Why a thing stays that was to go.
    fn is_changed(&self, item: &Item, folder: &Folder) -> std::io::Result<Option<&'static str>> {
        let (below, limit) = match item.what {
            Reclaimed::Blob => (layout::DATA, self.rules.grace),
            Reclaimed::Upload => (layout::DATA, self.rules.uploads),
            Reclaimed::Revision | Reclaimed::LayerLink => (layout::LINK, self.rules.grace),
            Reclaimed::TagIndex if item.digest.is_some() => (layout::LINK, self.rules.grace),
            Reclaimed::TagIndex => (layout::CURRENT, self.rules.grace),
            Reclaimed::Temporary | Reclaimed::Repository => return Ok(None),
        };
        let Some(status) = folder.status(&format!("{}/{below}", item.name))? else { return Ok(None) };
        let time = if item.what == Reclaimed::Blob { age_of_blob(&status) } else { status.modified };
        Ok((time > limit).then_some("it was written since it was looked at"))
    }

    fn journal(&self, records: impl Iterator<Item = Reclaim>) -> anyhow::Result<()> {
        let mut lines = self.lines();
        for record in records {
            lines.journal.write(&record).with_context(|| cannot_write(self.run))?;
        }
        lines.journal.flush().with_context(|| cannot_write(self.run))
    }

    fn tell(&self, item: &Item, folder: &str, outcome: Outcome) {
        let (result, why) = match outcome {
            Outcome::Trashed => (ReclaimResult::Trashed, None),
            Outcome::Absent => return,
            Outcome::Kept(why) => (ReclaimResult::Kept, Some(why.to_owned())),
            Outcome::Failed(why) => (ReclaimResult::Failed, Some(why)),
        };
        let record = Reclaim { why, ..item.record(folder, result) };
        self.record(&record, item.place.and_then(|place| self.owners.of_blob(self.plan, place)));
    }

    /// Whether anything lies in the trash now.
    pub(crate) fn has_taken(&self) -> bool {
        self.lines().totals.count() > 0
    }

    /// Whether anything went that a registry may remember.
    pub(crate) fn has_taken_what_is_remembered(&self) -> bool {
        self.lines().totals.is_remembered()
    }

    /// Writes a record of something done.
    pub(crate) fn record(&self, record: &Reclaim, owner: Option<&str>) {
        self.progress.advance();
        let mut lines = self.lines();
        lines.totals.add(record, owner);
        let written = self.progress.suspend(|| lines.output.write(record));
        drop(lines);
        if let Err(error) = written {
            self.fail(error.into());
        }
    }

    /// Writes down that something was put back, and no longer counts.
    pub(crate) fn take_back(&self, record: &Reclaim, place: Option<usize>) {
        let owner = place.and_then(|place| self.owners.of_blob(self.plan, place));
        self.lines().totals.take_back(record.what, owner.or(record.repository.as_deref()).unwrap_or_default(), record.size);
        self.record(record, None);
    }

    /// Repositories of which nothing is left: their folders go one by one, as long as each is empty, and lie empty in the trash, so
    /// that they come back as they were.
    fn empty_repositories(&self) {
        let empty = self.plan.repositories.iter().filter(|(_, findings)| findings.is_empty).map(|(name, _)| name.as_str());
        // What lies deeper goes first.
        let mut names: Vec<&str> = empty.chain(self.plan.empty.iter().map(String::as_str)).collect();
        names.sort_unstable_by(|a, b| b.cmp(a));
        for name in names {
            if self.stops() {
                return;
            }
            let path = layout::repository(name);
            let record = item::of_empty(name);
            if let Err(error) = self.journal(std::iter::once(record.clone())) {
                return self.fail(error);
            }
            let (result, why) = match self.remove_folders(&path) {
                Ok(true) => (ReclaimResult::Removed, None),
                Ok(false) => (ReclaimResult::Kept, Some("something lies in it".to_owned())),
                Err(error) => (ReclaimResult::Failed, Some(error.to_string())),
            };
            self.record(&Reclaim { result, why, ..record }, None);
        }
    }

    /// Whether all folders of a repository could be removed, but for those of repositories within it.
    fn remove_folders(&self, path: &str) -> std::io::Result<bool> {
        let mut all = true;
        let algorithms = |below: &str| vec![format!("{below}/sha256"), format!("{below}/sha512"), below.to_owned()];
        let mut folders = vec![layout::UPLOADS.to_owned()];
        folders.extend(algorithms(layout::LAYERS));
        folders.extend(algorithms(layout::REVISIONS));
        folders.extend([layout::TAGS.to_owned(), layout::MANIFESTS.to_owned()]);
        for folder in folders.iter().map(|folder| format!("{path}/{folder}")) {
            all &= self.remove_empty(&folder)?;
        }
        // Then it, and what it lies in, as far as nothing else lies there.
        let mut at = path;
        while all && at != layout::REPOSITORIES && self.remove_empty(at)? {
            at = at.rsplit_once('/').map_or(layout::REPOSITORIES, |(above, _)| above);
        }
        Ok(all)
    }

    fn remove_empty(&self, path: &str) -> std::io::Result<bool> {
        if self.root.status(path)?.is_none() {
            return Ok(true);
        }
        let mirrored = self.run.mirror(self.root, path)?;
        let removed = runs::remove_empty(self.root, path)?;
        if !removed {
            drop(mirrored);
            // Other things of it may lie in the trash; then it stays there, too.
            runs::remove_empty(self.run.folder(), path)?;
        }
        Ok(removed)
    }

    /// Ends the journal, and gives the totals.
    ///
    /// # Errors
    /// A journal that cannot be written.
    pub(crate) fn finish<T: Serialize>(self, end: impl FnOnce(&Totals) -> Trailer<T>) -> anyhow::Result<Totals> {
        self.ended()?;
        let mut lines = self.lines.into_inner().unwrap_or_else(PoisonError::into_inner);
        let trailer = end(&lines.totals);
        lines.journal.write(&trailer).and_then(|()| lines.journal.flush()).with_context(|| cannot_write(self.stage.run))?;
        let file = lines.journal.get_mut().get_ref();
        file.sync_data().with_context(|| cannot_write(self.stage.run))?;
        Ok(lines.totals)
    }
}

fn cannot_write(run: &Run) -> String {
    format!("writing the journal of run {} in the trash; nothing is moved that it does not hold", run.name)
}

/// What came of one thing.
enum Outcome {
    Trashed,
    /// It was gone already.
    Absent,
    Kept(&'static str),
    Failed(String),
}
