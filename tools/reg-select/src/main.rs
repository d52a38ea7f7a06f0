#![doc = include_str!("../README.md")]

mod args; //    the command line, and the policy that it asks for
mod blobs; //   what a manifest record says of its blobs, read fast
mod decide; //  the verdicts: no input, no output, no clock
mod entry; //   one manifest of a listing
mod explain; // the verdicts in words
mod freed; //   how many bytes come free
mod listing; // standard input: which records make a repository
mod plan; //    what is written
mod policy; //  the rules
mod rule; //    their names
mod summary; // what people are told
mod version; // what counts as a version

#[cfg(test)]
mod properties;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod semantics;

use std::collections::BTreeMap;
use std::process::ExitCode;

use chrono::{DateTime, SubsecRound, Utc};
use common::cli::{self, Context, Status, Tool};
use common::record::PlanTotals;

use crate::args::Args;
use crate::plan::Planner;

const TOOL: Tool = Tool { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION"), destructive: false };

fn main() -> ExitCode {
    cli::main(TOOL, run)
}

/// Gives each manifest read a verdict, and says why.
fn run(args: Args, context: &Context) -> anyhow::Result<Status> {
    let policy = args.policy()?;
    let now: DateTime<Utc> = args.now.unwrap_or_else(|| Utc::now().trunc_subsecs(0));
    let inventory = args.inventory.read(args.names.names()?, now)?;
    let keep_list = cli::read_keep_lists(&args.keep_list)?;
    let input = context
        .filter_input("the listing of a registry", "reg-list registry.example.com | reg-select --in-use in-use.jsonl --preset evict")?;
    let mut planner = Planner {
        context,
        output: context.output(),
        policy_record: args.policy_record(&policy)?,
        policy,
        now,
        has_inventory: !args.inventory.in_use.is_empty(),
        inventory,
        keep_list,
        all: args.all,
        has_header: false,
        listing: None,
        registries: BTreeMap::new(),
        totals: PlanTotals::default(),
        written: 0,
        blobs: freed::Blobs::default(),
        summary: summary::Summary::default(),
    };
    listing::read(input, args.ungrouped, |event| planner.on_event(event)).map_err(cli::refuse_what_is_cut)?;
    let freed = planner.blobs.freed();
    conclude(&args, &planner, freed, context)
}

/// Tells people what came of it, and says how it ended.
fn conclude(args: &Args, planner: &Planner<'_>, freed: u64, context: &Context) -> anyhow::Result<Status> {
    let Planner { totals, policy, .. } = planner;
    let not_listed = planner.registries.keys().map(|host| planner.inventory.not_listed(host)).sum();
    context.summarize(planner.summary.text(context.name(), totals, freed, not_listed));
    for (what, texts) in [
        ("--repository or --exclude", policy.repositories.unmatched().collect::<Vec<_>>()),
        ("--tags or --exclude-tags", policy.tags.unmatched().collect()),
        ("--keep-list", planner.keep_list.unmatched().collect()),
    ] {
        for text in texts {
            context.say(format_args!("{what}: {text} matches nothing that was listed"));
        }
    }
    let mut status = Status::Done;
    if totals.frozen > 0 || totals.listings.iter().any(|listing| !listing.complete) {
        context.say("the listing is not complete: what was listed whole is decided, the rest is left alone; look into it with reg-check");
        status = Status::Partial;
    }
    if let Some(limit) = args.max_delete
        && !limit.allows(totals.deletes, totals.listed)
    {
        context.say(format_args!(
            "the plan deletes {} of {}, more than --max-delete {limit} allows: read it, and raise the limit if it is right",
            totals.deletes,
            cli::count(totals.listed, "manifest")
        ));
        status = Status::Refused;
    }
    Ok(status)
}
