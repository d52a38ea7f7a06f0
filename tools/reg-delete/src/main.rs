#![doc = include_str!("../README.md")]

mod arguments; // the command line
mod carry_out; // one repository: asked once more, written down, deleted
mod dry_run; // what would be done
mod history; // reads journals
mod hold; // what is in use, and what hangs together with what stays: no input, no output
mod journal; // where lines go, and that they have got there
mod judge; // whether a plan may be acted on: no input, no output, no clock
mod origin; // what a journal remembers of the plan that led to it
mod plan; // reads plans
mod put_back; // puts manifests back
mod resume; // what a journal shows unfinished: no input, no output
mod servers; // the registries, and whether they delete at all
mod survey; // what a registry says before the first deletion
mod tally; // what was done, for people
#[cfg(test)]
mod testing;
mod undo; // what is to be put back, and in which order: no input, no output
mod work; // what is to be done

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use common::cli::{self, Context, Refused, Status, Tool};
use common::inventory::{Distrust, Inventory, Names};
use common::record::Header;
use common::reference::Host;
use common::registry::Settings;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::arguments::Args;
use crate::carry_out::Run;
use crate::history::History;
use crate::journal::{Journal, Purpose};
use crate::judge::{IN_USE, MAX_AGE, MAX_AGE_WITH_INVENTORY, Terms};
use crate::origin::Origin;
use crate::plan::Plan;
use crate::resume::Unfinished;
use crate::undo::{Back, Restoration};
use crate::work::Place;

fn main() -> ExitCode {
    cli::main(Tool { name: "reg-delete", version: env!("CARGO_PKG_VERSION"), destructive: true }, run)
}

fn run(args: Args, context: &Context) -> anyhow::Result<Status> {
    let now = Utc::now();
    if args.yes {
        let purpose = if args.undo { Purpose::Restore } else { Purpose::Delete };
        journal::check(args.journal.as_deref(), args.common.format(), purpose)?;
    }
    // Before standard input is read for records, because a password may stand in its first line.
    let settings =
        if args.yes || args.connection.password_stdin { args.connection.settings(args.registry()?.as_ref())? } else { Settings::default() };
    if args.undo {
        return undo(&args, context, &settings, now);
    }
    let (mut task, names, named) = if args.resume { unfinished(&args, context, now)? } else { planned(&args, context, now)? };
    let inventory = inventory(&args, names, &named, now)?;
    if let Some(inventory) = &inventory {
        task.hold_by_inventory(inventory);
    }
    if args.yes { delete(&args, context, &settings, task, inventory.as_ref(), now) } else { dry_run::deletions(context, &task.works, now) }
}

type Task = (Unfinished, Names, Vec<Place>);

/// The work of a plan that may be acted on.
fn planned(args: &Args, context: &Context, now: DateTime<Utc>) -> anyhow::Result<Task> {
    let input =
        context.filter_input("a plan", "reg-list registry.example.com | reg-select --in-use in-use.jsonl --preset evict | reg-delete")?;
    let plan = Plan::read(input)?;
    let terms = Terms { max_age: max_age(args), max_delete: args.max_delete, without_in_use: args.inventories.without_in_use };
    judge::judge(&plan, &terms, now).map_err(|refusal| Refused(refusal.to_string()))?;
    let mut flags = args.names.clone();
    for section in &plan.sections {
        for alias in &section.aliases {
            flags.alias.push(alias.parse().with_context(|| format!("the policy in the plan's header, line {}", section.line))?);
        }
        for host in &section.strangers {
            flags.not_alias.push(host.parse().with_context(|| format!("the policy in the plan's header, line {}", section.line))?);
        }
    }
    let listed = plan.sections.iter().flat_map(|section| section.totals.listings.iter().map(|listing| listing.time));
    let inputs = plan.sections.iter().flat_map(|section| &section.inputs);
    let plan_time = listed.chain(inputs.filter(|input| input.role == IN_USE).map(|input| input.time)).min();
    let origin = Origin { aliases: flags.aliases()?, strangers: flags.not_alias.clone(), plan_time };
    let task = Unfinished { works: plan.works, origin, ..Unfinished::default() };
    Ok((task, flags.names()?, plan.named))
}

/// The work that journals show unfinished.
fn unfinished(args: &Args, context: &Context, now: DateTime<Utc>) -> anyhow::Result<Task> {
    let history = journals(context)?;
    let mut task = resume::unfinished(&history);
    resume::judge(&task, max_age(args), now).map_err(|refusal| Refused(refusal.to_string()))?;
    let mut flags = args.names.clone();
    task.origin.add(&Origin { aliases: flags.aliases()?, strangers: flags.not_alias, plan_time: None });
    (flags.alias, flags.not_alias) = (task.origin.aliases.clone(), task.origin.strangers.clone());
    let named = task.works.iter().map(|work| work.place.clone()).collect();
    Ok((task, flags.names()?, named))
}

fn journals(context: &Context) -> anyhow::Result<History> {
    let input = context.filter_input("journals", "cat journals/*.jsonl | reg-delete --undo --yes")?;
    let history = History::read(input)?;
    if let Some(text) = history.torn() {
        context.say(text);
    }
    Ok(history)
}

fn max_age(args: &Args) -> common::duration::Duration {
    args.max_plan_age.unwrap_or(if args.inventories.in_use.is_empty() { MAX_AGE } else { MAX_AGE_WITH_INVENTORY })
}

/// The fresh inventory, where one is given, judged as reg-select judges it.
fn inventory(args: &Args, names: Names, named: &[Place], now: DateTime<Utc>) -> anyhow::Result<Option<Inventory>> {
    let mut flags = args.inventories.clone();
    let decides = !flags.in_use.is_empty();
    if !decides && flags.also_in_use.is_empty() {
        return Ok(None);
    }
    // Nothing is decided by `--also-in-use` alone: it can only hold more.
    flags.without_in_use = !decides;
    let inventory = flags.read(names, now)?;
    if decides {
        let hosts: BTreeSet<&Host> = named.iter().map(|place| &place.host).collect();
        for host in hosts {
            let of_path =
                |place: &Place| inventory.of_repository(&place.host, place.repository.as_str()).iter().any(Inventory::is_trusted_use);
            if !inventory.names_registry(host) && !named.iter().filter(|place| place.host == *host).any(of_path) {
                return Err(Refused(Distrust::OtherRegistry { registry: host.to_string() }.to_string()).into());
            }
        }
    }
    Ok(Some(inventory))
}

/// Does it: several repositories side by side, one manifest after another in each.
fn delete(
    args: &Args,
    context: &Context,
    settings: &Settings,
    task: Unfinished,
    inventory: Option<&Inventory>,
    now: DateTime<Utc>,
) -> anyhow::Result<Status> {
    let Unfinished { works, origin, .. } = task;
    runtime()?.block_on(async {
        let servers = servers::open(works.iter().map(|work| &work.place), settings)?;
        for server in servers.values() {
            servers::deletion_is_enabled(&server.registry, &works).await?;
        }
        let total: usize = works.iter().map(|work| work.deletes.len() + work.untags.len()).sum();
        let run = begin(args, context, settings, inventory, header(context, &origin, now), total)?;
        stream::iter(works)
            .map(|work| async {
                match servers.get(&work.place.host) {
                    Some(server) => run.carry_out(server, work).await,
                    None => Ok(()),
                }
            })
            .buffer_unordered(run.jobs)
            .try_collect::<()>()
            .await?;
        run.progress.finish();
        let tally = run.tally.into_inner();
        run.journal.into_inner().finish(tally.totals())?;
        context.summarize(format_args!("{}: {}", context.name(), tally.deletion()));
        Ok(tally.status())
    })
}

/// The header of a run that does something.
fn header(context: &Context, origin: &Origin, now: DateTime<Utc>) -> Header {
    let mut header = Header::new(context.name(), context.version(), now);
    origin.write_into(&mut header);
    header
}

fn begin<'a>(
    args: &Args,
    context: &Context,
    settings: &Settings,
    inventory: Option<&'a Inventory>,
    header: Header,
    total: usize,
) -> anyhow::Result<Run<'a>> {
    let journal = RefCell::new(Journal::open(args.journal.as_deref(), args.common.format(), context, &header)?);
    let progress = context.progress();
    progress.expect(u64::try_from(total).unwrap_or(u64::MAX));
    Ok(Run { journal, tally: RefCell::default(), inventory, jobs: settings.jobs.max(1), progress })
}

/// Puts back what journals show deleted.
fn undo(args: &Args, context: &Context, settings: &Settings, now: DateTime<Utc>) -> anyhow::Result<Status> {
    let history = journals(context)?;
    let (restorations, unanswered) = undo::wanted(&history, &args.wanted);
    for wanted in &unanswered {
        context.say(format_args!("{wanted}: the journal shows nothing deleted by that name"));
    }
    let answered = if unanswered.is_empty() { Status::Done } else { Status::Partial };
    let status =
        if args.yes { restore(args, context, settings, &restorations, now)? } else { dry_run::restorations(context, &restorations, now)? };
    Ok(status.and(answered))
}

fn restore(
    args: &Args,
    context: &Context,
    settings: &Settings,
    restorations: &[Restoration],
    now: DateTime<Utc>,
) -> anyhow::Result<Status> {
    runtime()?.block_on(async {
        let servers = servers::open(restorations.iter().map(|restoration| &restoration.place), settings)?;
        let total = restorations.iter().map(|restoration| restoration.manifests.len()).sum();
        let run = begin(args, context, settings, None, header(context, &Origin::default(), now), total)?;
        let back: Vec<Vec<Back<'_>>> = stream::iter(restorations)
            .map(|restoration| async {
                match servers.get(&restoration.place.host) {
                    Some(server) => put_back::put_back(&run, &server.registry, restoration, args.force).await,
                    None => Ok(Vec::new()),
                }
            })
            .buffer_unordered(run.jobs)
            .try_collect()
            .await?;
        run.progress.finish();
        let tally = run.tally.into_inner();
        run.journal.into_inner().finish(tally.totals())?;
        let keep = undo::keep_lines(&back.into_iter().flatten().collect::<Vec<_>>());
        context.summarize(format_args!("{}: {}", context.name(), tally.undo(&keep)));
        Ok(tally.status())
    })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")
}
