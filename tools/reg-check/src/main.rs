#![doc = include_str!("../README.md")]

mod absent; // what an inventory names and a storage lacks: no input, no output
mod arguments; // the command line
mod collect; // where all findings end: judged, counted, written
mod draft; // what was found, before it is known who uses it: no input, no output
mod inputs; // uses and listings on standard input
mod judge; // who uses it, and how bad that makes it: no input, no output
mod report; // what is made of all findings
mod served; // a registry that is asked over HTTP
mod state; // --since
mod stored; // a storage tree
mod wish; // what is to be asked for: no input, no output

use std::process::ExitCode;
use std::rc::Rc;

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use common::beside::source::Asked;
use common::check::Depth;
use common::cli::operand::{self, Operand};
use common::cli::{self, Context, Status, Tool, read_to_annotate};
use common::inventory::Inventory;
use common::pattern::RepositoryFilter;
use common::record::Scope;
use common::registry::Settings;

use crate::arguments::Args;
use crate::collect::{Batch, Checked, Collector};
use crate::inputs::Input;
use crate::judge::Judge;
use crate::report::nagios;
use crate::served::Options;
use crate::wish::{Named, Registered};

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

/// Checks what is asked for, and makes of the findings what is wanted.
fn check(args: &Args, context: &Context) -> anyhow::Result<Checked> {
    let time = Utc::now();
    if let Some(reports) = &args.report {
        report::folder::check(reports)?;
    }
    if let Some(file) = &args.storage.since {
        state::State::check(file)?;
    }
    let filter = Rc::new(RepositoryFilter::new(&args.repositories.repository, &args.repositories.exclude)?);
    let mut inventory = Inventory::new(args.names.names()?);
    read_to_annotate(&mut inventory, &args.in_use)?;
    let asked = match args.storage.asked() {
        Some(asked) => What::Stored(asked),
        None => served(args, context, &mut inventory)?,
    };
    let knows_uses = !args.in_use.is_empty() || matches!(&asked, What::Served(input, _) if input.has_uses);
    for doubt in inventory.doubts() {
        context.say(doubt);
    }
    let inventory = Rc::new(inventory);

    let format = args.common.own_format();
    // Healthy images are cases that pass.
    let all = args.all || format == Some("junit");
    let mut collector = Collector::new(context, Judge::new(knows_uses.then_some(&*inventory)), all, args.fail_on);
    if format.is_some() {
        collector = collector.silent();
    }
    if format.is_some() || args.report.is_some() {
        collector = collector.keeping();
    }
    let mut kept = None;
    let (checked, has_answered) = match asked {
        What::Stored(asked) => {
            let (checked, ended) = check_stored(args, asked, &filter, knows_uses.then_some(&*inventory), context, collector, time)?;
            kept = Some(ended);
            (checked, true)
        }
        What::Served(input, settings) => {
            let options = Options { depth: args.depth, each_repository: args.each_repository, all };
            check_served(context, collector, input, &inventory, &settings, options, &filter, time)?
        }
    };
    for pattern in filter.unmatched() {
        context.say(format_args!("the pattern {pattern:?} matches no repository"));
    }
    if let Some(reports) = &args.report {
        let folder = report::folder::write(reports, time, &checked.findings, &checked.summary)?;
        context.summarize(format_args!("{}: the report is in {}\n", context.name(), folder.display()));
    }
    if let Some(ended) = kept {
        ended.keep()?;
    }
    if format == Some("junit") {
        report::write(&report::junit::document(&checked.findings, |severity| args.fail_on.fails(severity))?)?;
    }
    // That nothing is known is said in all that was wanted first.
    if !has_answered {
        bail!("nothing was checked: no registry answered");
    }
    Ok(checked)
}

/// What is to be checked.
enum What {
    /// A storage tree.
    Stored(Asked),
    /// Registries, with how they are reached.
    Served(Input, Box<Settings>),
}

/// Checks the storage that is at hand.
fn check_stored(
    args: &Args,
    asked: Asked,
    filter: &RepositoryFilter,
    inventory: Option<&Inventory>,
    context: &Context,
    mut collector: Collector<'_>,
    time: DateTime<Utc>,
) -> anyhow::Result<(Checked, stored::Ended)> {
    let registry = cli::named_registry(args.registry.as_deref())?;
    let (depth, sample, since) = (args.depth, args.storage.sample, args.storage.since.clone());
    let wanted = stored::Wanted { asked, registry, depth, sample, since, filter, inventory };
    let found = wanted.find(context)?;
    collector.begin(time, found.scope(&wanted))?;
    let ended = wanted.check(context, found, |batch| Ok(collector.take(batch)?))?;
    collector.cost(None, (args.depth == Depth::Content).then_some(ended.hashed));
    Ok((collector.end(ended.complete)?, ended))
}

/// Which registries are asked, and how they are reached: what operands or standard input name.
fn served(args: &Args, context: &Context, inventory: &mut Inventory) -> anyhow::Result<What> {
    if args.storage.sample.is_some() || args.storage.since.is_some() {
        bail!("--sample and --since choose what is read of a storage: name it with --store, --config or --from-process");
    }
    let registry =
        args.registry.as_deref().filter(|name| !name.is_empty()).map(Operand::parse).transpose().context("--registry or REG_REGISTRY")?;
    let named = args.operands.iter().map(|text| Named::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let only = args.only.iter().map(|text| Operand::parse(text)).collect::<Result<Vec<_>, _>>().context("--only")?;
    if !named.is_empty() && !only.is_empty() {
        bail!("--only narrows what standard input names, and here operands name what to check: leave it out");
    }
    // User and password belong to a registry that the command line names.
    let candidates: Vec<Operand> = if named.is_empty() { only.clone() } else { named.iter().map(Named::registry).collect() };
    let has_user = args.reach.user.as_deref().is_some_and(|user| !user.is_empty());
    let bound = operand::bound_host(&candidates, registry.as_ref(), has_user)?;
    let settings = args.reach.settings(bound.as_ref())?;
    let input = if named.is_empty() {
        inputs::read(context, context.filter_input("uses or a listing", "k8s-images | reg-check")?, &only, inventory)?
    } else {
        Input { registries: wish::by_registry(&named), ..Input::default() }
    };
    Ok(What::Served(input, Box::new(settings)))
}

/// Checks registries that are asked over HTTP; gives back too whether any answered.
#[expect(clippy::too_many_arguments, reason = "they are used up by the one call")]
fn check_served(
    context: &Context,
    mut collector: Collector<'_>,
    input: Input,
    inventory: &Rc<Inventory>,
    settings: &Settings,
    options: Options,
    filter: &Rc<RepositoryFilter>,
    time: DateTime<Utc>,
) -> anyhow::Result<(Checked, bool)> {
    collector.begin(time, scope(&input.registries, options.depth))?;
    collector.not_asked(input.not_asked);
    let is_listed = input.unlisted.is_empty();
    for (host, text) in input.unlisted {
        collector.take(Batch::of(served::of_registry(host, text)))?;
    }
    let nothing = input.registries.is_empty() && is_listed;
    // What goes to the network waits, and nothing else does: one thread is enough.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let check = served::check(context, &mut collector, input.registries, inventory, settings, options, filter);
    let outcome = tokio::task::LocalSet::new().block_on(&runtime, check)?;
    let checked = collector.end(outcome.complete && is_listed)?;
    if nothing {
        context.say("nothing to check: standard input names no image that is asked for");
    }
    Ok((checked, outcome.answered))
}

/// What is looked at, for the header.
fn scope(registries: &[Registered], depth: Depth) -> Scope {
    let each: Vec<_> = registries
        .iter()
        .map(|registered| serde_json::json!({"registry": registered.host.as_str(), "prefixes": registered.prefixes()}))
        .collect();
    let mut scope = Scope::default();
    scope.other.insert("registries".to_owned(), each.into());
    scope.other.insert("depth".to_owned(), depth.name().into());
    scope
}
