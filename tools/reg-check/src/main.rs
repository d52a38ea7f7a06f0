//! `reg-check`: says what is broken, and who runs it.

mod arguments; // the command line
mod collect; // where all findings end
mod draft; // what was found: no input, no output
mod judge; // how bad it is, and who uses it: no input, no output
mod report; // what is made of all findings
mod state; // --since
mod stored; // a storage tree

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use common::beside::source::Asked;
use common::check::Depth;
use common::cli::{self, Context, Status, Tool};
use common::inventory::Inventory;
use common::pattern::RepositoryFilter;

use crate::arguments::Args;
use crate::collect::{Checked, Collector};
use crate::report::nagios;

const TOOL: Tool = Tool { name: "reg-check", version: env!("CARGO_PKG_VERSION"), destructive: false };

fn main() -> ExitCode {
    cli::main::<Args>(TOOL, run)
}

fn run(args: Args, context: &Context) -> anyhow::Result<Status> {
    let checked = check(&args, context);
    match args.common.own_format() {
        // A monitoring system wants a line and a status of its own for what could not be checked.
        Some("nagios") => nagios::answer(context, checked),
        _ => checked.map(|checked| checked.status),
    }
}

fn check(args: &Args, context: &Context) -> anyhow::Result<Checked> {
    let time = Utc::now();
    let mut inventory = Inventory::new(args.names.names()?);
    cli::read_to_annotate(&mut inventory, &args.in_use)?;
    let inventory = (!args.in_use.is_empty()).then_some(inventory);
    let mut collector = Collector::new(context, judge::Judge::new(inventory.as_ref()), args.all, args.fail_on);
    let format = args.common.own_format();
    if format.is_some() {
        collector = collector.silent();
    }
    if format.is_some() || args.report.is_some() {
        collector = collector.keeping();
    }
    if format == Some("junit") {
        // Healthy images are cases that pass.
        collector = collector.with_all();
    }
    let checked = match args.storage.asked() {
        Some(asked) => check_store(args, asked, context, collector, time)?,
        None => anyhow::bail!("which storage? name it with --store DIR or --config FILE"),
    };
    if let Some(reports) = &args.report {
        let folder = report::folder::write(reports, time, &checked.findings, &checked.summary)?;
        context.summarize(format_args!("{}: the report is in {}\n", context.name(), folder.display()));
    }
    if format == Some("junit") {
        report::write(&report::junit::document(&checked.findings, |severity| args.fail_on.fails(severity))?)?;
    }
    Ok(checked)
}

/// Checks the storage that is at hand.
fn check_store(args: &Args, asked: Asked, context: &Context, mut collector: Collector<'_>, time: DateTime<Utc>) -> anyhow::Result<Checked> {
    let filter = RepositoryFilter::new(&args.repositories.repository, &args.repositories.exclude)?;
    let registry = cli::named_registry(args.registry.as_deref())?;
    let wanted = stored::Wanted {
        asked,
        registry,
        depth: args.depth,
        sample: args.storage.sample,
        since: args.storage.since.clone(),
        filter: &filter,
    };
    let found = wanted.find(context)?;
    collector.begin(time, found.scope(&wanted))?;
    let hashed = wanted.check(context, found, |batch| Ok(collector.take(batch)?))?;
    for pattern in filter.unmatched() {
        context.say(format_args!("the pattern {pattern:?} matches no repository"));
    }
    collector.cost(None, (args.depth == Depth::Content).then_some(hashed));
    Ok(collector.end(true)?)
}
