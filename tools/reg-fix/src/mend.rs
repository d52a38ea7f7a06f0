//! One run: what the findings mean in the tree as it is now, how that is mended, and doing it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::Utc;
use common::beside::lock;
use common::beside::runs;
use common::beside::source::{self, Source};
use common::check::blobs::{Data, State};
use common::check::judge::Known as _;
use common::check::scene::{Buffers, Scene, data_of, link_of};
use common::check::tree::Tree;
use common::check::{Depth, Fault, Weight};
use common::cli::{Context, Refused, Status, count};
use common::digest::Digest;
use common::record::{Finding, Header, Problem, Repair, RepairAction, RepairResult, RepairTotals, Scope, Trailer};
use common::store::folder::Folder;
use common::store::{layout, repositories};

use crate::act::Acting;
use crate::arguments::Args;
use crate::fetch::Mirror;
use crate::given;
use crate::journal::{self, Journal, RUNS};
use crate::matching::{self, Asks, Held, Seen};
use crate::memory::{self, Memory};
use crate::plan::{self, Act, Forget, Options, Step};
use crate::{files, quiet, undo};

/// How long a registry that writes gets to finish what it began before things went.
const SETTLE: Duration = Duration::from_secs(2);
/// How often what was fetched is looked through for what it needs in turn: an index, its manifests, their blobs, their links.
const ROUNDS: usize = 8;

/// Does what the command line says.
pub(crate) fn run(args: &Args, context: &Context) -> anyhow::Result<Status> {
    let source = source::find(&args.asked())?;
    context.summarize(format_args!("{}: storage: {} (by {})\n", context.name(), source.root.display(), source.said_by));
    let open = || Folder::open(&source.root).with_context(|| format!("opening the storage {}", source.root.display()));
    let root = open()?;
    if let Some(wanted) = &args.undo {
        return undo::run(args, context, &source, &root, wanted.as_deref());
    }
    let registry = args.registry()?;
    let mirror = match args.from()? {
        Some((host, prefix)) => Some(Mirror::open(&host, prefix, &args.reaching.settings(Some(&host))?)?),
        None => None,
    };
    let findings = given::read(&args.findings, args.drop, context)?;
    let held = Held::of(&findings);
    let _lock = if args.yes { Some(lock::take(&root)?) } else { None };
    if args.yes {
        undo::sweep(&root)?;
    }
    let tree = Tree::read(open()?, Depth::Blobs);
    let options = Options { drop: args.drop, from: mirror.is_some() };
    let own = registry.as_ref().map(ToString::to_string);
    let buffers = Buffers::default();
    let mut mending =
        Mending { args, context, source: &source, root: &root, tree, buffers, held, options, lost: BTreeSet::new(), restart: false };
    let mut steps = mending.plan(&findings, own.as_deref());
    mending.note_what_is_there(&mut steps);
    mending.ask_for_quiet(&mut steps)?;
    mending.tell_to_restart(&mut steps);
    let scope = Scope { registry: own, ..Scope::default() };
    let mut header = Header { dry_run: !args.yes, ..Header::new(context.name(), context.version(), Utc::now()).with_scope(scope) };
    if let Some(scope) = &mut header.scope {
        scope.other.insert("root".to_owned(), source.root.display().to_string().into());
    }
    let (records, run) =
        if args.yes { mending.act(steps, mirror.as_ref(), &header)? } else { (steps.into_iter().map(|step| step.record).collect(), None) };
    mending.tell(&header, &records, run)
}

/// The findings of which something is made, as repositories are gone through.
#[derive(Default)]
struct Round<'a> {
    open: Vec<&'a Finding>,
    /// Those that name no repository.
    anywhere: Vec<usize>,
    /// Which of those some repository showed.
    answered: Vec<bool>,
    /// Damaged content that the repositories named need no more.
    damaged: Vec<Finding>,
}

struct Mending<'a> {
    args: &'a Args,
    context: &'a Context,
    source: &'a Source,
    root: &'a Folder,
    tree: Tree,
    buffers: Buffers,
    held: Held,
    options: Options,
    /// What was found lost: a registry that remembers it takes pushes of it without it.
    lost: BTreeSet<(Option<String>, Digest)>,
    /// Whether the registry has to be restarted.
    restart: bool,
}

impl Mending<'_> {
    /// What is done about each finding.
    fn plan(&mut self, findings: &[Finding], registry: Option<&str>) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut open: Vec<&Finding> = Vec::new();
        for finding in findings {
            match matching::asks(finding, registry) {
                Asks::Mend => open.push(finding),
                Asks::Nothing(why) => steps.push(about(finding, RepairResult::Skipped, why)),
                Asks::TooMuch(why) => steps.push(about(finding, RepairResult::Left, why)),
            }
        }
        // Whether content is damaged is seen with our own eyes, before anything is judged.
        for digest in open.iter().filter(|finding| is_about_content(finding.problem)).flat_map(|finding| {
            let at = finding.path.as_deref().and_then(plan::digest_at);
            finding.digest.iter().cloned().chain(at)
        }) {
            let _ = self.tree.hash_one(&digest);
        }
        let mut round = Round { open, ..Round::default() };
        round.answered = vec![false; round.open.len()];
        let mut named: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (place, finding) in round.open.iter().enumerate() {
            match &finding.repository {
                Some(repository) => named.entry(repository.clone()).or_default().push(place),
                None => round.anywhere.push(place),
            }
        }
        if !round.anywhere.is_empty() {
            for name in repositories::find(self.tree.root()).names {
                named.entry(name).or_default();
            }
        }
        for (name, mine) in named {
            self.repository(&name, &mine, &mut round, &mut steps);
        }
        self.of_no_repository_seen(&round, &mut steps);
        self.damaged_elsewhere(&round.damaged, &mut steps);
        // A blob that several repositories need is moved once.
        let mut seen = BTreeSet::new();
        steps.retain(|step| step.record.action != RepairAction::Quarantine || seen.insert(step.record.path.clone()));
        steps
    }

    /// What the findings without a repository come to that no repository shows.
    fn of_no_repository_seen(&self, round: &Round<'_>, steps: &mut Vec<Step>) {
        for place in &round.anywhere {
            if let (Some(finding), Some(false)) = (round.open.get(*place), round.answered.get(*place)) {
                steps.push(self.of_no_repository(finding));
            }
        }
    }

    /// Damaged content that its repository needs no more is in the way of a push all the same, and other repositories may need it.
    fn damaged_elsewhere(&mut self, damaged: &[Finding], steps: &mut Vec<Step>) {
        if damaged.is_empty() {
            return;
        }
        let mut round = Round { open: damaged.iter().collect(), anywhere: (0..damaged.len()).collect(), ..Round::default() };
        round.answered = vec![false; damaged.len()];
        for name in repositories::find(self.tree.root()).names {
            self.repository(&name, &[], &mut round, steps);
        }
        self.of_no_repository_seen(&round, steps);
    }

    /// What is done in one repository, about the findings that name it, and those that name none.
    fn repository(&mut self, name: &str, mine: &[usize], round: &mut Round<'_>, steps: &mut Vec<Step>) {
        let checked = self.tree.check(name, &mut self.buffers);
        let faults = &checked.judged.faults;
        self.note_what_is_lost(faults);
        let seen = Seen::of(faults);
        let mut chosen = BTreeSet::new();
        let elsewhere: &[usize] = if faults.is_empty() { &[] } else { &round.anywhere };
        for place in mine.iter().chain(elsewhere) {
            let Some(finding) = round.open.get(*place) else { continue };
            let meant = seen.meant(finding);
            if meant.is_empty() && finding.repository.is_some() {
                match (&checked.scene, self.damaged_content(finding)) {
                    (_, Some(damaged)) => round.damaged.push(damaged),
                    (None, None) => {
                        steps.push(about(finding, RepairResult::Left, "this storage has no such repository: push it again".to_owned()));
                    }
                    (Some(scene), None) => steps.extend(self.unseen(finding, scene)),
                }
            }
            if let Some(answered) = round.answered.get_mut(*place) {
                *answered |= !meant.is_empty();
            }
            chosen.extend(meant);
        }
        // Where the folder of the layers is missing, all their links are: they come back together.
        let has_layers = checked.scene.as_ref().is_some_and(|scene| scene.has_layers);
        let is_of_layers = |problem| matches!(problem, Problem::LayersMissing | Problem::LayerLinkMissing);
        if !has_layers && chosen.iter().filter_map(|place| faults.get(*place)).any(|fault| is_of_layers(fault.problem)) {
            let links = faults.iter().enumerate().filter(|(_, fault)| is_of_layers(fault.problem));
            chosen.extend(links.map(|(place, _)| place));
        }
        let chosen: Vec<&Fault> = chosen.iter().filter_map(|place| faults.get(*place)).collect();
        self.hash_what_links_lead_to(&chosen);
        steps.extend(plan::plan(checked.scene.as_ref(), &chosen, &self.tree, self.options, &self.held));
    }

    /// Whatever is done about it.
    fn note_what_is_lost(&mut self, faults: &[Fault]) {
        for fault in faults {
            for digest in fault.digest.iter().cloned().chain(plan::digest_at(&fault.path)) {
                if self.tree.data(&digest) == Data::Missing {
                    self.lost.insert((fault.repository.clone(), digest));
                }
            }
        }
    }

    /// Who is told to push again is told what that takes where the registry remembers what is lost.
    fn tell_to_restart(&mut self, steps: &mut [Step]) {
        let mut told = steps.iter_mut().map(|step| &mut step.record).filter(|record| is_to_be_pushed(record)).peekable();
        if told.peek().is_none() || !Memory::is_own(self.args, self.source) {
            return;
        }
        for record in told {
            let why = record.why.take().unwrap_or_default();
            record.why = Some(format!("{why}; restart the registry before, which may have it in its memory"));
        }
    }

    /// A link to damaged content would only move the fault.
    fn hash_what_links_lead_to(&self, faults: &[&Fault]) {
        for fault in faults.iter().filter(|fault| fault.path.contains(&format!("/{}/", layout::LAYERS))) {
            if let Some(digest) = &fault.digest {
                let _ = self.tree.hash_one(digest);
            }
        }
    }

    /// What nobody sees any more in a repository that is there.
    fn unseen(&mut self, finding: &Finding, scene: &Scene) -> Vec<Step> {
        if finding.problem == Problem::RunningDigestGone
            && let (Some(repository), Some(digest)) = (&finding.repository, &finding.digest)
        {
            return self.running(finding, repository, digest);
        }
        if scene.tags.is_empty() && scene.revisions.is_empty() {
            return vec![about(finding, RepairResult::Skipped, plan::GHOST.to_owned())];
        }
        vec![about(finding, RepairResult::Skipped, "it is well now".to_owned())]
    }

    /// A finding about content that is damaged, whatever became of the repository that needed it.
    fn damaged_content(&self, finding: &Finding) -> Option<Finding> {
        let digest = finding.path.as_deref().and_then(plan::digest_at).or_else(|| finding.digest.clone())?;
        let is_damaged = is_about_content(finding.problem) && self.tree.hash_one(&digest) == State::Corrupt;
        let path = data_of(&digest);
        is_damaged.then(|| Finding {
            repository: None,
            tag: None,
            tags: Vec::new(),
            manifest: None,
            digest: Some(digest),
            path: Some(path),
            ..finding.clone()
        })
    }

    /// A digest that runs and that no tag and no index of the repository names.
    fn running(&mut self, finding: &Finding, repository: &str, digest: &Digest) -> Vec<Step> {
        let left = |why: &str| vec![about(finding, RepairResult::Left, why.to_owned())];
        let step = |action, act, path, why: &str| {
            let step = about(finding, RepairResult::Planned, why.to_owned());
            Step { act, record: Repair { action, path: Some(path), ..step.record }, ..step }
        };
        let path = format!("{}/{}", layout::repository(repository), link_of(layout::REVISIONS, digest));
        if self.root.status(&path).is_ok_and(|status| status.is_some_and(|status| status.size == layout::link_size(digest))) {
            return vec![about(finding, RepairResult::Skipped, "it is well now".to_owned())];
        }
        if self.tree.data(digest) == Data::Missing {
            self.lost.insert((Some(repository.to_owned()), digest.clone()));
        }
        let mut link = step(RepairAction::Link, Act::Link { to: digest.clone() }, path, "it runs, and its content is there");
        link.record.after = Some(digest.to_string());
        match (self.tree.data(digest), self.tree.hash_one(digest)) {
            (Data::Size(_), State::Good) => vec![link],
            (Data::Missing, _) if self.options.from => {
                let act = Act::Fetch { digest: digest.clone(), is_manifest: true, size: None };
                vec![step(RepairAction::Fetch, act, data_of(digest), "it runs, and it is lost"), link]
            }
            (Data::Missing, _) => left("its content is lost: push it again, or fetch it with --from REGISTRY"),
            _ => left("its content is damaged: push it again"),
        }
    }

    /// A finding about what no repository needs, as far as is seen.
    fn of_no_repository(&self, finding: &Finding) -> Step {
        let at = finding.path.as_deref().and_then(plan::digest_at).or_else(|| finding.digest.clone());
        let Some(digest) = at.filter(|digest| is_about_content(finding.problem) && self.tree.hash_one(digest) == State::Corrupt) else {
            return about(finding, RepairResult::Skipped, "it is well now".to_owned());
        };
        let fault = Fault {
            repository: None,
            tags: Vec::new(),
            problem: Problem::BlobCorrupt,
            path: data_of(&digest),
            digest: Some(digest),
            manifest: None,
            platform: None,
            content: Vec::new(),
            weight: Weight::Stumble,
            detail: String::new(),
        };
        // Nobody says where to fetch it from, and nobody needs it.
        let options = Options { from: false, ..self.options };
        let planned = plan::plan(None, &[&fault], &self.tree, options, &self.held);
        planned.into_iter().next().unwrap_or_else(|| about(finding, RepairResult::Skipped, "it is well now".to_owned()))
    }

    /// Notes what the links hold that are written.
    fn note_what_is_there(&self, steps: &mut [Step]) {
        for step in steps.iter_mut().filter(|step| matches!(step.act, Act::Link { .. })) {
            let path = step.record.path.clone().unwrap_or_default();
            match files::read(self.root, &path) {
                Ok(bytes) => step.record.before = bytes.map(|bytes| BASE64.encode(bytes)),
                Err(error) => {
                    let record =
                        Repair { result: RepairResult::Left, why: Some(format!("it cannot be read: {error}")), ..step.record.clone() };
                    *step =
                        Step { record: Repair { action: RepairAction::None, after: None, ..record }, act: Act::None, forget: Vec::new() };
                }
            }
        }
    }

    /// Sees that nobody writes where something is taken away or replaced. What was not asked for in so many words is left.
    fn ask_for_quiet(&self, steps: &mut [Step]) -> anyhow::Result<()> {
        if !steps.iter().any(Step::needs_quiet) {
            return Ok(());
        }
        let Some(objection) = quiet::objection(self.args, self.source)? else { return Ok(()) };
        let is_asked_for = self.options.drop || self.options.from;
        if is_asked_for && self.args.yes {
            return Err(Refused(objection).into());
        }
        if is_asked_for {
            self.context.summarize(format_args!("{}: with --yes this would be refused: {objection}\n", self.context.name()));
            return Ok(());
        }
        for step in steps.iter_mut().filter(|step| step.needs_quiet()) {
            step.record.result = RepairResult::Left;
            step.record.why = Some(format!("{}: {objection}", step.record.why.clone().unwrap_or_default()));
            step.act = Act::None;
        }
        Ok(())
    }

    /// Where the registry remembers what is here, which is told at once to forget what is lost: pushed again, it would be taken for there.
    fn remember(&self, steps: &[Step]) -> anyhow::Result<Memory> {
        let goes = steps.iter().any(Step::needs_quiet);
        if !goes && self.lost.is_empty() {
            return Ok(Memory::none());
        }
        let both = |(repository, digest): &(Option<String>, Digest)| {
            let link = repository.iter().map(|repository| Forget::Link(repository.clone(), digest.clone()));
            link.chain([Forget::Blob(digest.clone())]).collect::<Vec<_>>()
        };
        let lost: Vec<Forget> = self.lost.iter().flat_map(both).collect();
        let told = Memory::connect(self.args, self.source).and_then(|memory| {
            undo::catch_up(self.root, &memory)?;
            memory.forget(&lost)?;
            Ok(memory)
        });
        match told {
            // What only adds is no worse for it.
            Err(error) if !goes => {
                self.context.say(format_args!("what is lost may still be remembered, so that pushes of it are broken: {error:#}"));
                Ok(Memory::none())
            }
            told => told,
        }
    }

    /// Carries the steps out, looks at what came of them, and goes on with what is seen of that.
    fn act(&mut self, steps: Vec<Step>, mirror: Option<&Mirror>, header: &Header) -> anyhow::Result<(Vec<Repair>, Option<String>)> {
        let now = Utc::now();
        let purged = RUNS
            .purge(self.root, now - self.args.keep_runs.delta())
            .context("removing old runs from .reg-fix")
            .map_err(runs::with_way_out)?;
        purged.failed.iter().for_each(|sentence| self.context.say(sentence));
        let memory = self.remember(&steps)?;
        if steps.iter().all(|step| step.act == Act::None) {
            return Ok((steps.into_iter().map(|step| step.record).collect(), None));
        }
        let run = RUNS.begin(self.root, now)?;
        let name = run.name.clone();
        let mut journal = Journal::open(&run).context("writing the journal")?;
        journal.write(header).context("writing the journal")?;
        let mut acting = Acting {
            root: self.root,
            run: &run,
            journal,
            mirror,
            memory: &memory,
            named: BTreeMap::new(),
            forgotten: Vec::new(),
            fetched: Vec::new(),
            vain: BTreeMap::new(),
            changed: Vec::new(),
        };
        let mut records = Vec::new();
        let mut steps = steps;
        let mut told: BTreeSet<(Option<String>, Option<String>)> = BTreeSet::new();
        for _ in 0..ROUNDS {
            for (digest, repositories) in plan::named_by(&steps) {
                let named = acting.named.entry(digest).or_default();
                named.extend(repositories.into_iter().filter(|repository| !named.contains(repository)).collect::<Vec<_>>());
            }
            let before = acting.changed.len();
            let first = records.len();
            for step in &steps {
                // What was only skipped may yet be needed by what is fetched.
                if step.act != Act::None || step.record.result == RepairResult::Left {
                    told.insert((step.record.repository.clone(), step.record.path.clone()));
                }
                let carried = acting.carry(step);
                records.push(
                    carried.with_context(|| format!("stopped in run {name}: what was done by then can be undone with --undo {name}"))?,
                );
            }
            acting.changed.iter().skip(before).for_each(|digest| self.tree.renew(digest));
            let fetched: Vec<Digest> = steps
                .iter()
                .zip(records.iter().skip(first))
                .filter(|(_, record)| record.result == RepairResult::Repaired)
                .filter_map(|(step, _)| match &step.act {
                    Act::Fetch { digest, .. } | Act::Link { to: digest } => Some(digest.clone()),
                    _ => None,
                })
                .collect();
            let seen = self.look_again(records.get_mut(first..).unwrap_or_default());
            steps = if mirror.is_some() { self.next(&seen, &fetched, &told) } else { Vec::new() };
            if steps.is_empty() {
                break;
            }
        }
        if !acting.forgotten.is_empty() {
            if memory.is_shared() {
                std::thread::sleep(SETTLE);
                memory.forget(&acting.forgotten)?;
            }
            self.restart |= memory.needs_restart();
        }
        acting
            .journal
            .write(&Trailer::new(true, records.len() as u64, totals(&records, Some(name.clone()))))
            .context("writing the journal")?;
        drop(acting);
        // A run that did nothing is none that could be undone. What is left of one does no harm.
        if journal::read(&run).is_ok_and(|repairs| repairs.is_empty()) {
            let _ = RUNS.remove(self.root, &name);
        }
        let did = records.iter().any(|record| record.result == RepairResult::Repaired);
        Ok((records, did.then_some(name)))
    }

    /// Looks at the repositories once more: what is still seen was not mended.
    fn look_again(&mut self, records: &mut [Repair]) -> Vec<(String, Vec<Fault>)> {
        let mut named: BTreeMap<String, Vec<&mut Repair>> = BTreeMap::new();
        for record in records.iter_mut().filter(|record| record.result == RepairResult::Repaired) {
            if let Some(repository) = record.repository.clone() {
                named.entry(repository).or_default().push(record);
            }
        }
        let mut seen = Vec::new();
        for (name, records) in named {
            let faults = self.tree.check(&name, &mut self.buffers).judged.faults;
            for record in records {
                let is_same = |fault: &&Fault| {
                    let is_in_place =
                        record.path.as_ref().is_some_and(|path| *path == fault.path || fault.path.starts_with(&format!("{path}/")));
                    fault.problem == record.problem
                        && (is_in_place || (record.action == RepairAction::Drop && fault.digest.is_some() && fault.digest == record.digest))
                };
                if let Some(fault) = faults.iter().find(is_same) {
                    record.result = RepairResult::Failed;
                    record.why = Some(format!("it was done, and it is still seen: {}", fault.detail));
                }
            }
            seen.push((name, faults));
        }
        seen
    }

    /// What comes to light of what was fetched.
    fn next(&mut self, seen: &[(String, Vec<Fault>)], fetched: &[Digest], told: &BTreeSet<(Option<String>, Option<String>)>) -> Vec<Step> {
        let mut steps = Vec::new();
        for (name, faults) in seen {
            let is_of = |digest: &Digest| fetched.contains(digest);
            let chosen: Vec<&Fault> = faults
                .iter()
                .filter(|fault| fault.weight > Weight::Space && !told.contains(&(Some(name.clone()), Some(fault.path.clone()))))
                .filter(|fault| {
                    fault.manifest.as_ref().is_some_and(is_of)
                        || fault.content.iter().any(is_of)
                        || fault.digest.as_ref().is_some_and(is_of)
                })
                .collect();
            if chosen.is_empty() {
                continue;
            }
            self.hash_what_links_lead_to(&chosen);
            let checked = self.tree.check(name, &mut self.buffers);
            let planned = plan::plan(checked.scene.as_ref(), &chosen, &self.tree, self.options, &self.held);
            steps.extend(planned.into_iter().filter(|step| !told.contains(&(step.record.repository.clone(), step.record.path.clone()))));
        }
        self.note_what_is_there(&mut steps);
        steps
    }

    /// Writes the records, and tells how it ended.
    fn tell(&self, header: &Header, records: &[Repair], run: Option<String>) -> anyhow::Result<Status> {
        let (context, yes) = (self.context, self.args.yes);
        let totals = totals(records, run);
        let of = |result| totals.results.get(&result).copied().unwrap_or_default();
        let (left, failed) = (of(RepairResult::Left), of(RepairResult::Failed));
        let mut output = context.output();
        output.write(header)?;
        for record in records {
            output.write(record)?;
        }
        output.write(&Trailer::new(left + failed == 0, records.len() as u64, &totals))?;
        output.flush()?;
        let name = context.name();
        let done = of(if yes { RepairResult::Repaired } else { RepairResult::Planned });
        let what = if yes { "mended" } else { "would be mended" };
        context.summarize(format_args!("{name}: {what}: {}; {} skipped, {left} left\n", count(done, "thing"), of(RepairResult::Skipped)));
        if failed > 0 {
            context.say(format_args!("{failed} could not be mended: each says why in its record"));
        }
        let is_told = || records.iter().any(is_to_be_pushed) && Memory::is_own(self.args, self.source);
        if self.restart || (yes && is_told()) {
            context.say(memory::RESTART);
        }
        if left > 0 {
            context.summarize(format_args!("{name}: what is left says in its record how it can be mended\n"));
        }
        match &totals.run {
            Some(run) => {
                let until = Utc::now() + self.args.keep_runs.delta();
                let until = until.format("%Y-%m-%d %H:%M UTC");
                context.summarize(format_args!("{name}: can be undone until {until}, with --undo {run} --yes\n"));
            }
            None if !yes => context.summarize(format_args!("{name}: nothing was done: --yes does it\n")),
            None => {}
        }
        Ok(if left + failed == 0 { Status::Done } else { Status::Partial })
    }
}

fn totals(records: &[Repair], run: Option<String>) -> RepairTotals {
    let mut results = BTreeMap::new();
    for record in records {
        *results.entry(record.result).or_default() += 1;
    }
    RepairTotals { run, results }
}

/// Whether it leaves content lost or damaged, so that it is to be pushed again as it was.
fn is_to_be_pushed(record: &Repair) -> bool {
    let is_of_content = matches!(
        record.problem,
        Problem::ManifestMissing
            | Problem::ManifestCorrupt
            | Problem::ChildMissing
            | Problem::BlobMissing
            | Problem::BlobCorrupt
            | Problem::BlobSize
            | Problem::RunningDigestGone
    );
    is_of_content && matches!(record.result, RepairResult::Left | RepairResult::Failed)
}

/// Whether content may be damaged by what a finding says.
fn is_about_content(problem: Problem) -> bool {
    matches!(
        problem,
        Problem::BlobCorrupt
            | Problem::BlobSize
            | Problem::BlobUnreachable
            | Problem::BlobMissing
            | Problem::ConfigUnreadable
            | Problem::ManifestCorrupt
    )
}

/// The record of a finding about which nothing is done.
fn about(finding: &Finding, result: RepairResult, why: String) -> Step {
    let record = Repair {
        repository: finding.repository.clone(),
        tag: finding.tag.clone(),
        digest: finding.digest.clone(),
        problem: finding.problem,
        action: RepairAction::None,
        path: finding.path.clone(),
        result,
        why: Some(why),
        before: None,
        after: None,
    };
    Step { record, act: Act::None, forget: Vec::new() }
}
