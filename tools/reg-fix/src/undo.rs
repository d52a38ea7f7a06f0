//! Takes back what runs did, the last first: what is as the run left it becomes as it was, and the rest is left alone.
//!
//! What was moved away is only added again, at any time. To take a link back, or what was fetched, takes away what somebody may rely on
//! by now, so that nobody may write meanwhile.

use std::io;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use common::beside::lock;
use common::beside::restore::{self, Back};
use common::beside::runs::{self, Begun, Run};
use common::beside::source::Source;
use common::check::blobs::State;
use common::cli::{Context, Refused, Status, count};
use common::record::{Header, Repair, RepairAction, RepairResult, RepairTotals, Trailer};
use common::store::folder::Folder;
use common::store::layout;
use serde::Serialize;

use crate::arguments::Args;
use crate::journal::{self, Journal, RUNS};
use crate::memory::{self, Memory};
use crate::plan::{self, Forget};
use crate::{files, quiet};

/// Where a run keeps what was taken back of what it had made.
const UNDONE: &str = "undone";

/// Something that a run began.
#[derive(Debug)]
struct Entry {
    record: Repair,
    /// Whether its end stands in the journal.
    is_ended: bool,
    /// Whether there is nothing to be taken back: it failed, or was taken back.
    is_over: bool,
}

/// What a run began, in its order.
fn entries(run: &Run) -> io::Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    for record in journal::read(run)? {
        if record.result == RepairResult::Started {
            entries.push(Entry { record, is_ended: false, is_over: false });
            continue;
        }
        let is_same = |entry: &&mut Entry| (entry.record.action, &entry.record.path) == (record.action, &record.path) && !entry.is_over;
        if let Some(entry) = entries.iter_mut().rev().find(is_same) {
            entry.is_ended = true;
            entry.is_over = matches!(record.result, RepairResult::Failed | RepairResult::Restored);
        }
    }
    Ok(entries)
}

/// Tells Redis what earlier runs took away that were ended before they could.
pub(crate) fn catch_up(root: &Folder, memory: &Memory) -> anyhow::Result<()> {
    if !memory.is_shared() {
        return Ok(());
    }
    for Begun { name, .. } in RUNS.kept(root).context("reading the runs in .reg-fix")? {
        let Some(run) = RUNS.open(root, &name)? else { continue };
        let open = entries(&run).with_context(|| format!("reading the journal of run {name}"))?;
        let items: Vec<Forget> = open.iter().filter(|entry| !entry.is_ended).filter_map(|entry| forgets(&entry.record)).collect();
        memory.forget(&items)?;
    }
    Ok(())
}

/// Takes away what runs left beside links that were killed while they wrote these.
pub(crate) fn sweep(root: &Folder) -> anyhow::Result<()> {
    for Begun { name, .. } in RUNS.kept(root).context("reading the runs in .reg-fix").map_err(runs::with_way_out)? {
        let Some(run) = RUNS.open(root, &name)? else { continue };
        let entries = entries(&run).with_context(|| format!("reading the journal of run {name}"))?;
        for record in entries.iter().filter(|entry| !entry.is_ended).map(|entry| &entry.record) {
            if let (RepairAction::Link, Some(path)) = (record.action, &record.path) {
                files::sweep(root, path).with_context(|| format!("taking away what run {name} left beside {path}"))?;
            }
        }
    }
    Ok(())
}

/// What a registry must forget when what lies at a record's path goes.
fn forgets(record: &Repair) -> Option<Forget> {
    let path = record.path.as_deref()?;
    if let Some(digest) = plan::digest_at(path) {
        return Some(Forget::Blob(digest));
    }
    let is_link = [layout::LAYERS, layout::REVISIONS].iter().any(|below| path.contains(&format!("/{below}/")));
    Some(Forget::Link(record.repository.clone().filter(|_| is_link)?, record.digest.clone()?))
}

/// Lists the runs, or takes some back.
pub(crate) fn run(args: &Args, context: &Context, source: &Source, root: &Folder, wanted: Option<&str>) -> anyhow::Result<Status> {
    let kept = RUNS.kept(root).context("reading the runs in .reg-fix").map_err(runs::with_way_out)?;
    let Some(wanted) = wanted else { return list(args, context, root, &kept) };
    let mut chosen = Vec::new();
    for Begun { name, .. } in kept.iter().rev() {
        if wanted != "all" && wanted != "latest" && wanted != name {
            continue;
        }
        let Some(run) = RUNS.open(root, name)? else { continue };
        let open: Vec<Repair> = entries(&run)
            .with_context(|| format!("reading the journal of run {name}"))?
            .into_iter()
            .rev()
            .filter(|entry| !entry.is_over)
            .map(|entry| entry.record)
            .collect();
        if wanted == name || !open.is_empty() {
            chosen.push((run, open));
        }
        if wanted == "latest" && !chosen.is_empty() {
            break;
        }
    }
    if chosen.is_empty() && wanted != "all" && wanted != "latest" {
        let have: Vec<&str> = kept.iter().map(|kept| kept.name.as_str()).collect();
        let have = if have.is_empty() { "there is none".to_owned() } else { format!("there are {}", have.join(", ")) };
        anyhow::bail!("there is no run {wanted}: {have}");
    }
    let takes = chosen.iter().flat_map(|(_, open)| open).any(|record| matches!(record.action, RepairAction::Link | RepairAction::Fetch));
    if takes && let Some(objection) = quiet::objection(args, source)? {
        if args.yes {
            return Err(Refused(objection).into());
        }
        context.summarize(format_args!("{}: with --yes this would be refused: {objection}\n", context.name()));
    }
    let _lock = if args.yes { Some(lock::take(root)?) } else { None };
    let memory = if args.yes && takes { Memory::connect(args, source)? } else { Memory::none() };
    let mut output = context.output();
    output.write(&Header { dry_run: !args.yes, ..Header::new(context.name(), context.version(), Utc::now()) })?;
    let mut totals = RepairTotals::default();
    let mut records = 0;
    let mut forgotten = Vec::new();
    for (run, open) in &chosen {
        let mut journal = if args.yes { Some(Journal::open(run).context("writing the journal")?) } else { None };
        let mut undo = Undo { root, run, yes: args.yes };
        for record in open {
            let (result, why) = undo.one(record).unwrap_or_else(|error| (RepairResult::Failed, Some(error.to_string())));
            let record = Repair { result, why, ..record.clone() };
            if result == RepairResult::Restored {
                if matches!(record.action, RepairAction::Link | RepairAction::Fetch) {
                    forgotten.extend(forgets(&record));
                }
                if let Some(journal) = &mut journal {
                    journal.write(&record).context("writing the journal")?;
                }
            }
            output.write(&record)?;
            *totals.results.entry(result).or_default() += 1;
            records += 1;
        }
    }
    memory.forget(&forgotten)?;
    let of = |result| totals.results.get(&result).copied().unwrap_or_default();
    let bad = of(RepairResult::Left) + of(RepairResult::Failed);
    output.write(&Trailer::new(bad == 0, records, &totals))?;
    output.flush()?;
    let name = context.name();
    let (what, done) =
        if args.yes { ("taken back", of(RepairResult::Restored)) } else { ("would be taken back", of(RepairResult::Planned)) };
    context.summarize(format_args!("{name}: {what}: {}\n", count(done, "thing")));
    if bad > 0 {
        context.say(format_args!("{bad} not taken back: each says why in its record"));
    }
    if !forgotten.is_empty() && memory.needs_restart() {
        context.say(memory::RESTART);
    }
    if !args.yes {
        context.summarize(format_args!("{name}: nothing was done: --yes does it\n"));
    }
    Ok(if bad == 0 { Status::Done } else { Status::Partial })
}

/// One run that can be taken back.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "run", rename_all = "camelCase")]
struct Listed<'a> {
    run: &'a str,
    time: DateTime<Utc>,
    /// How many things it did that can be taken back.
    repairs: usize,
    /// From when on a run removes it for good.
    kept_until: DateTime<Utc>,
}

fn list(args: &Args, context: &Context, root: &Folder, kept: &[Begun]) -> anyhow::Result<Status> {
    let mut output = context.output();
    output.write(&Header::new(context.name(), context.version(), Utc::now()))?;
    for Begun { name, began } in kept {
        let Some(run) = RUNS.open(root, name)? else { continue };
        let entries = entries(&run).with_context(|| format!("reading the journal of run {name}"))?;
        let repairs = entries.iter().filter(|entry| !entry.is_over).count();
        output.write(&Listed { run: name, time: *began, repairs, kept_until: *began + args.keep_runs.delta() })?;
    }
    output.write(&Trailer::new(true, kept.len() as u64, serde_json::Map::new()))?;
    output.flush()?;
    if kept.is_empty() {
        context.summarize(format_args!("{}: there is no run: nothing can be taken back\n", context.name()));
    }
    Ok(Status::Done)
}

struct Undo<'a> {
    root: &'a Folder,
    run: &'a Run,
    yes: bool,
}

type Outcome = (RepairResult, Option<String>);

impl Undo<'_> {
    /// Takes one thing back.
    fn one(&mut self, record: &Repair) -> io::Result<Outcome> {
        let path = record.path.as_deref().unwrap_or_default();
        match record.action {
            RepairAction::Link => self.link(record, path),
            RepairAction::Folder => self.folder(path),
            RepairAction::Fetch => self.fetched(path),
            RepairAction::Drop | RepairAction::Quarantine => self.moved(path),
            RepairAction::None => Ok((RepairResult::Skipped, None)),
        }
    }

    fn done(&self) -> Outcome {
        (if self.yes { RepairResult::Restored } else { RepairResult::Planned }, None)
    }

    fn link(&self, record: &Repair, path: &str) -> io::Result<Outcome> {
        let before = match &record.before {
            Some(text) => Some(BASE64.decode(text).map_err(|_| io::Error::other("the journal does not say what it held"))?),
            None => None,
        };
        let after = record.after.as_deref().unwrap_or_default().as_bytes();
        if self.yes {
            files::sweep(self.root, path)?;
        }
        let now = files::read(self.root, path)?;
        if now == before {
            return Ok(unchanged());
        }
        if now.as_deref() != Some(after) {
            return Ok(left("it was changed since"));
        }
        if self.yes {
            match before {
                Some(before) if !files::write(self.root, path, &before, Some(after))? => return Ok(left("it is being changed")),
                Some(_) => {}
                None => self.set_aside(path)?,
            }
        }
        Ok(self.done())
    }

    fn folder(&self, path: &str) -> io::Result<Outcome> {
        if self.root.status(path)?.is_none() {
            return Ok(unchanged());
        }
        if self.yes && !runs::remove_empty(self.root, path)? {
            return Ok(left("something lies in it by now"));
        }
        Ok(self.done())
    }

    fn fetched(&self, path: &str) -> io::Result<Outcome> {
        let Some(digest) = plan::digest_at(path) else { return Ok(left("the journal does not say what it is")) };
        match common::check::content::state(self.root, &digest)? {
            None => Ok(unchanged()),
            Some(State::Good) => {
                if self.yes {
                    self.set_aside(path)?;
                }
                Ok(self.done())
            }
            Some(_) => Ok(left("it was changed since")),
        }
    }

    fn moved(&self, path: &str) -> io::Result<Outcome> {
        if self.run.folder().status(path)?.is_none() {
            return Ok(unchanged());
        }
        if !self.yes {
            return Ok(match self.root.status(path)? {
                Some(_) => left("something lies in its place"),
                None => self.done(),
            });
        }
        let mut there = Vec::new();
        let back = restore::put_back(self.run.folder(), self.root, path, &mut |path, back| {
            if matches!(back, Back::There | Back::Failed(_)) {
                there.push(path.to_owned());
            }
            Ok(())
        })?;
        match (back, there.is_empty()) {
            (Back::Failed(why), _) => Err(io::Error::other(why)),
            (Back::Restored, true) => Ok(self.done()),
            _ => Ok(left("something lies in its place")),
        }
    }

    /// Moves what a run had made into its folder. Nothing is unlinked.
    fn set_aside(&self, path: &str) -> io::Result<()> {
        let aside = runs::make_own(self.run.folder(), UNDONE)?;
        let (above, name) = files::split(path);
        let from = self.root.folder(above)?.ok_or(io::ErrorKind::NotFound)?;
        let to = runs::mirror(self.root, &aside, above)?;
        runs::rename(&from, name, &to)?;
        files::sync(&from)
    }
}

fn unchanged() -> Outcome {
    (RepairResult::Skipped, Some("it is as it was".to_owned()))
}

fn left(why: &str) -> Outcome {
    (RepairResult::Left, Some(why.to_owned()))
}
