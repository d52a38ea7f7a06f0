//! One run: whose storage, whether it may be touched, what may go, and taking that away.

use std::time::SystemTime;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use common::cli::{self, Context, Output, Refused, Status};
use common::inventory::{Distrust, Inventory};
use common::record::{Header, ReclaimResult, ReclaimTotals, Scope, Sum, Trailer};
use common::reference::Host;
use common::store::folder::Folder;
use common::store::layout;

use crate::arguments::Args;
use crate::generations::{Candidates, Due};
use crate::hooks::Bracket;
use crate::item::{self, Step};
use crate::memory::Memory;
use crate::owners::Owners;
use crate::plan::Plan;
use crate::registry;
use crate::rules::{Rules, Untagged};
use crate::summary::{self, Done};
use crate::sweep::{Stage, Sweep};
use crate::tail;
use crate::totals::Totals;
use crate::trash::{self, RUNS};
use crate::undo;
use common::beside::lock;
use common::beside::restore::{self, Back};
use common::beside::runs::Purged;
use common::beside::source::{self, Source};

/// How long a registry that writes gets to finish what it began before links went.
const SETTLE: std::time::Duration = std::time::Duration::from_secs(2);
/// What was written later than this ago stays, where a registry may be writing. Less than a day, so that a daily run finds due what the last one found.
const GRACE: common::duration::Duration = common::duration::Duration::hours(23);

/// Does what the command line says, once.
pub(crate) fn once(args: &Args, context: &Context) -> anyhow::Result<Status> {
    let source = source::find(&args.asked())?;
    context.summarize(format_args!("{}: storage: {} (by {})\n", context.name(), source.root.display(), source.said_by));
    for variable in source.config.iter().flat_map(|config| &config.ineffective) {
        context.say(format_args!("the variable {variable} has no effect on the registry"));
    }
    let root = Folder::open(&source.root).with_context(|| format!("opening the storage {}", source.root.display()))?;
    if let Some(wanted) = &args.undo {
        return undo::run(args, context, &root, wanted.as_deref());
    }
    let now = Utc::now();
    let registry = args.registry()?;
    let inventory = inventory(args, now)?;
    let collection = Collection { args, context, source: &source, root: &root, registry, inventory: inventory.as_ref(), now };
    if args.yes { collection.act() } else { collection.show() }
}

/// What is in use. In the mode that keeps what has no tag it can only hold more, and need not be there.
fn inventory(args: &Args, now: DateTime<Utc>) -> anyhow::Result<Option<Inventory>> {
    let mut flags = args.inventories.clone();
    if !args.untagged && flags.in_use.is_empty() {
        flags.without_in_use = true;
    }
    if flags.in_use.is_empty() && flags.also_in_use.is_empty() && flags.without_in_use {
        return Ok(None);
    }
    flags.read(args.names.names()?, now).map(Some)
}

struct Collection<'a> {
    args: &'a Args,
    context: &'a Context,
    source: &'a Source,
    root: &'a Folder,
    /// Whose storage it is, where that was said.
    registry: Option<Host>,
    inventory: Option<&'a Inventory>,
    now: DateTime<Utc>,
}

/// Whether anything may be writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    /// It was proven or said that nothing is.
    No,
    /// Nobody knows.
    Maybe,
}

impl Collection<'_> {
    /// Shows what would be done.
    fn show(&self) -> anyhow::Result<Status> {
        let standing = registry::standing(self.args, self.source)?;
        self.context.summarize(summary::standing(self.context.name(), &standing, self.args.online));
        let writing = if registry::is_quiet(&standing) { Writing::No } else { Writing::Maybe };
        let rules = self.rules(SystemTime::now(), writing);
        let memory = Memory::of(self.args, self.source)?;
        let candidates = if self.args.online {
            Candidates::read(self.root).unwrap_or_else(|error| {
                self.context
                    .say(format_args!("what the last run found cannot be read, so that nothing looks due: .reg-gc/candidates: {error}"));
                Candidates::default()
            })
        } else {
            Candidates::default()
        };
        let (plan, due) = self.plan(&rules, &candidates, &memory)?;
        let mut output = self.context.output();
        output.write(&Header { dry_run: true, ..self.header() })?;
        let mut totals = Totals::default();
        let owners = Owners::of(&plan);
        show(&plan, &owners, &mut output, &mut totals)?;
        let done = Done { run: None, acted: false, purged: Purged::default(), removed: 0, due, waits: self.waits(&plan), undo_until: None };
        let status = self.end(&plan, &totals, &done, &mut output)?;
        self.context.summarize(summary::text(self.context, self.args, &plan, &totals, &done, &memory));
        Ok(status.and(self.fuse(&plan).map_or(Status::Done, |sentence| {
            self.context.say(sentence);
            Status::Refused
        })))
    }

    /// Does it, between the hooks.
    fn act(&self) -> anyhow::Result<Status> {
        let _lock = lock::take(self.root)?;
        let outcome = Bracket::open(self.args.before.as_deref(), self.args.after.as_deref()).and_then(|bracket| {
            let interrupt = bracket.interrupt();
            bracket.close(self.between(&move || interrupt.is_set()))
        });
        if self.args.after.is_some() {
            // How the run ended matters more than that nobody could be asked.
            match registry::standing(self.args, self.source) {
                Ok(standing) => self.context.summarize(summary::afterwards(self.context.name(), &standing)),
                Err(error) => self.context.say(format_args!("after --after the registry could not be asked: {error:#}")),
            }
        }
        outcome
    }

    fn between(&self, interrupted: &(dyn Fn() -> bool + Sync)) -> anyhow::Result<Status> {
        let (args, context) = (self.args, self.context);
        self.may_act()?;
        let writing = if args.online { Writing::Maybe } else { Writing::No };
        let began = lock::time(self.root)?;
        let rules = self.rules(began, writing);
        let memory = Memory::of(args, self.source)?;
        memory.connect()?;
        memory.catch_up(self.root, context)?;
        let candidates =
            if args.online { Candidates::read(self.root).context("reading what the last run found")? } else { Candidates::default() };
        let (mut plan, mut due) = self.plan(&rules, &candidates, &memory)?;
        // What is brought back may need more of what lies there.
        while heal(self.root, &plan, context)? {
            (plan, due) = self.plan(&rules, &candidates, &memory)?;
        }
        if let Some(sentence) = self.fuse(&plan) {
            return Err(Refused(sentence).into());
        }
        if interrupted() {
            anyhow::bail!("stopped by a signal before anything was done");
        }
        // It may have been switched while we looked.
        self.may_act()?;
        let purge_before = self.now - args.keep_trash.delta();
        let purged = RUNS.purge(self.root, purge_before).context("removing what has been in the trash for long")?;
        purged.failed.iter().for_each(|sentence| context.say(sentence));
        let mut output = context.output();
        output.write(&self.header())?;
        let run = RUNS.begin(self.root, self.now)?;
        let progress = context.progress();
        let stage = Stage { root: self.root, plan: &plan, rules: &rules, run: &run, progress: &progress, interrupted };
        let sweep = Sweep::begin(stage, &self.header(), &mut output)?;
        if args.online {
            // What loses its link now must not look as if it had lost it long ago, should this run not come to its end.
            candidates.write(self.root, &plan.blobs, &plan.marks, &plan.later, began, None)?;
        }
        let swept = sweep.carry_out();
        let ended = Utc::now();
        // Whatever stopped the sweep, what is gone must not be remembered, and what a push relied on must come back.
        let took = sweep.has_taken();
        let is_remembered = sweep.has_taken_what_is_remembered();
        let mut unseen = Vec::new();
        let after = (|| {
            memory.forget(&plan, &run)?;
            let wants_restart = swept.is_ok() && (is_remembered || due.wait_for_restart > 0);
            let restarted = if wants_restart { memory.restart(args, self.source, context, interrupted)? } else { None };
            if took && (writing == Writing::Maybe || memory.is_shared()) {
                progress.tell("waiting for requests that were under way");
                std::thread::sleep(SETTLE);
            }
            if took {
                memory.forget(&plan, &run)?;
                // The clock of files goes by ticks of some milliseconds. Where nobody writes, what bears the tick at which we began is older.
                let tick = std::time::Duration::from_nanos(u64::from(writing == Writing::No));
                unseen = tail::put_back(&sweep, began + tick, writing == Writing::Maybe);
            }
            anyhow::Ok(restarted)
        })();
        unseen.iter().for_each(|problem| context.say(problem));
        if is_remembered && memory.needs_restart() && !matches!(after, Ok(Some(_))) {
            context.say(summary::restart(args));
        }
        swept?;
        let restarted = after?;
        memory.told(&run)?;
        if args.online {
            tail::put_back_lacking(&sweep).context("putting back links that are needed")?;
            candidates.write(self.root, &plan.blobs, &plan.marks, &plan.later, ended.into(), restarted)?;
        }
        let undo_until = (took && !args.no_trash).then(|| self.now + args.keep_trash.delta());
        let waits = self.waits(&plan);
        let mut done = Done { run: Some(run.name.clone()).filter(|_| took), acted: true, purged, removed: 0, due, waits, undo_until };
        let totals = sweep.finish(|totals| {
            Trailer::new(
                plan.problems.is_empty(),
                totals.records,
                ReclaimTotals { trashed: totals.bytes(), repositories: Default::default(), ..self.totals(&plan, totals, &done) },
            )
        })?;
        progress.finish();
        if args.no_trash || !took {
            done.removed = RUNS.remove(self.root, &run.name).context("removing what was taken away")?;
        }
        let status = self.end(&plan, &totals, &done, &mut output)?.and(if unseen.is_empty() { Status::Done } else { Status::Partial });
        context.summarize(summary::text(context, args, &plan, &totals, &done, &memory));
        if due.wait_for_restart > 0 && restarted.is_none() {
            context.say(summary::waits_for_restart(due));
            return Ok(Status::Refused);
        }
        Ok(status)
    }

    /// Whether the storage may be touched now.
    fn may_act(&self) -> anyhow::Result<()> {
        if self.args.online {
            return Ok(());
        }
        let standing = registry::standing(self.args, self.source)?;
        match summary::refusal(&standing) {
            Some(sentence) => Err(Refused(sentence).into()),
            None => Ok(()),
        }
    }

    fn rules(&self, now: SystemTime, writing: Writing) -> Rules {
        let args = self.args;
        let grace = args.grace.unwrap_or(if writing == Writing::No { common::duration::Duration::default() } else { GRACE });
        let ago = |duration: common::duration::Duration| {
            now.checked_sub(duration.delta().to_std().unwrap_or_default()).unwrap_or(SystemTime::UNIX_EPOCH)
        };
        let held = self.inventory.map(|inventory| inventory.content().cloned().collect()).unwrap_or_default();
        Rules {
            untagged: args.untagged.then(|| Untagged { pushed: ago(args.older_than.unwrap_or_default()) }),
            held,
            inventory: self.inventory.filter(|_| !args.inventories.in_use.is_empty()).and_then(Inventory::time).map(SystemTime::from),
            grace: ago(grace),
            uploads: ago(args.uploads_older_than),
            online: args.online,
            deep: args.deep,
        }
    }

    fn plan(&self, rules: &Rules, candidates: &Candidates, memory: &Memory) -> anyhow::Result<(Plan, Due)> {
        let progress = self.context.progress();
        let due = std::cell::Cell::new(Due::default());
        let started = memory.started(candidates.restarted, self.source);
        let mark = |blobs: &_, marks: &_| due.set(candidates.mark(blobs, marks, rules.grace, started));
        let plan = Plan::make(self.root, rules, &mark, &progress);
        progress.finish();
        self.check(&plan)?;
        Ok((plan, due.get()))
    }

    /// Refuses what is not to be decided on.
    fn check(&self, plan: &Plan) -> anyhow::Result<()> {
        let args = self.args;
        let names = || plan.repositories.iter().map(|(name, _)| name.as_str());
        if let Some(inventory) =
            self.inventory.filter(|_| args.untagged && !args.inventories.in_use.is_empty() && !plan.repositories.is_empty())
        {
            let is_named = match &self.registry {
                Some(host) => {
                    let by_path = |name| inventory.of_repository(host, name).iter().any(Inventory::is_trusted_use);
                    inventory.names_registry(host) || names().any(by_path)
                }
                None => names().any(|name| inventory.names_path(name)),
            };
            if !is_named {
                let registry = self.registry.as_ref().map_or_else(|| "this storage".to_owned(), ToString::to_string);
                let hint =
                    if self.registry.is_none() { "; a storage holds no host name: say whose it is with --registry HOST" } else { "" };
                return Err(Refused(format!("{}{hint}", Distrust::OtherRegistry { registry })).into());
            }
        }
        let tags: u64 = plan.repositories.iter().map(|(_, findings)| findings.tag_count).sum();
        let manifests: u64 = plan.repositories.iter().map(|(_, findings)| findings.manifest_count + findings.revisions.len() as u64).sum();
        let lost = match (plan.blobs.is_empty(), plan.repositories.is_empty()) {
            (false, true) => Some("blobs and not one repository"),
            (true, false) if tags + manifests > 0 => Some("tags or manifests and not one blob"),
            _ => None,
        };
        if let Some(what) = lost.filter(|_| !args.allow_missing) {
            let sentence = format!(
                "the storage has {what}: one half of it looks so where its volume is not mounted, and all of the other would go; if that is right, say --allow-missing"
            );
            return Err(Refused(sentence).into());
        }
        if args.untagged && !args.allow_no_tags && tags == 0 && manifests > 0 {
            let sentence = "the storage has manifests and not one tag: a registry that keeps its tags elsewhere (Harbor, GitLab with its database) looks like this, and all of it would go; if there really are no tags, say --allow-no-tags";
            return Err(Refused(sentence.to_owned()).into());
        }
        Ok(())
    }

    /// Why more would go than the user allows: of the blobs, with those that lose their links now, or of the manifests.
    fn fuse(&self, plan: &Plan) -> Option<String> {
        let limit = self.args.max_delete?;
        let losing = plan.later.iter().filter(|(place, _)| plan.marks.is_linked(*place)).count();
        let revisions: usize = plan.repositories.iter().map(|(_, findings)| findings.revisions.len()).sum();
        let left: u64 = plan.repositories.iter().map(|(_, findings)| findings.manifest_count).sum();
        let blobs = ((plan.loose.len() + losing) as u64, plan.blobs.len() as u64, "blob");
        let manifests = (revisions as u64, left + revisions as u64, "manifest");
        let (goes, all, noun) = [blobs, manifests].into_iter().find(|(goes, all, _)| !limit.allows(*goes, *all))?;
        Some(format!(
            "{goes} of {} would go, more than --max-delete {limit} allows: look at them, and raise the limit if that is right",
            cli::count(all, noun)
        ))
    }

    /// What a later run may take, and from when on.
    fn waits(&self, plan: &Plan) -> Option<(Sum, DateTime<Utc>)> {
        let mut sum = Sum::default();
        plan.later.iter().for_each(|(_, size)| sum.add(*size));
        let grace = self.args.grace.unwrap_or(GRACE);
        (sum.count > 0).then(|| (sum, self.now + grace.delta()))
    }

    fn header(&self) -> Header {
        let scope = Scope { registry: self.registry.as_ref().map(ToString::to_string), ..Scope::default() };
        let mut header = Header::new(self.context.name(), self.context.version(), self.now).with_scope(scope);
        if let Some(scope) = &mut header.scope {
            scope.other.insert("root".to_owned(), self.source.root.display().to_string().into());
        }
        header
    }

    fn totals(&self, plan: &Plan, totals: &Totals, done: &Done) -> ReclaimTotals {
        ReclaimTotals {
            run: done.run.clone(),
            kept_blobs: plan.kept,
            freed: done.purged.bytes + done.removed,
            trashed: if done.undo_until.is_some() { totals.bytes() } else { 0 },
            undo_until: done.undo_until,
            next: done.waits.map(|(sum, _)| sum).unwrap_or_default(),
            next_from: done.waits.map(|(_, from)| from),
            problems: plan.problems.len() as u64,
            ..totals.of_trailer()
        }
    }

    /// Ends standard output, and names what could not be read.
    fn end(&self, plan: &Plan, totals: &Totals, done: &Done, output: &mut Output) -> anyhow::Result<Status> {
        let complete = plan.problems.is_empty() && totals.failed == 0;
        output.write(&Trailer::new(complete, totals.records, self.totals(plan, totals, done)))?;
        output.flush()?;
        summary::problems(plan).into_iter().for_each(|sentence| self.context.say(sentence));
        Ok(if complete { Status::Done } else { Status::Partial })
    }
}

/// Brings back out of the trash what something living needs: a run that was killed could not look what was pushed while it swept. Says whether
/// there was any.
fn heal(root: &Folder, plan: &Plan, context: &Context) -> anyhow::Result<bool> {
    let mut wanted: Vec<_> = plan.repositories.iter().flat_map(|(_, findings)| &findings.absent).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut healed = false;
    for kept in if wanted.is_empty() { Vec::new() } else { trash::kept(root).context("reading the trash")? } {
        let Some(run) = RUNS.open(root, &kept.name)? else { continue };
        for digest in &wanted {
            let back = restore::put_back(run.folder(), root, &layout::blob(digest), &mut |_, _| Ok(()));
            if back.with_context(|| format!("bringing back {digest}"))? == Back::Restored {
                context.say(format_args!(
                    "{digest} lay in the trash of run {}, and something that lives needs it: it was put back",
                    kept.name
                ));
                healed = true;
            }
        }
    }
    Ok(healed)
}

/// Writes what would go.
fn show(plan: &Plan, owners: &Owners, output: &mut Output, totals: &mut Totals) -> anyhow::Result<()> {
    let mut write = |batch: &item::Batch| -> anyhow::Result<()> {
        for item in &batch.items {
            let record = item.record(&batch.folder, ReclaimResult::Planned);
            totals.add(&record, item.place.and_then(|place| owners.of_blob(plan, place)));
            output.write(&record)?;
        }
        Ok(())
    };
    for step in [Step::Manifests, Step::Layers] {
        for (name, findings) in &plan.repositories {
            item::of_repository(step, name, findings, &plan.blobs).iter().try_for_each(&mut write)?;
        }
    }
    for run in plan.blobs.runs() {
        item::of_blobs(plan, run).iter().try_for_each(&mut write)?;
    }
    for (name, findings) in &plan.repositories {
        item::of_repository(Step::Leftovers, name, findings, &plan.blobs).iter().try_for_each(&mut write)?;
    }
    item::of_strays(plan).iter().try_for_each(&mut write)?;
    let empty = plan.repositories.iter().filter(|(_, findings)| findings.is_empty).map(|(name, _)| name);
    for name in empty.chain(&plan.empty) {
        let record = item::of_empty(name);
        totals.add(&record, None);
        output.write(&record)?;
    }
    Ok(())
}
