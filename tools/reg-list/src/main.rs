#![doc = include_str!("../README.md")]

mod configs; // image configs, each read once
mod contents; // what a repository holds, as records: no input, no output, no clock
mod named; // repositories named on standard input
mod names; // which repositories there are
mod read; // one repository: what is asked for it
mod section; // one registry: from its header to its trailer
mod served; // a registry that is asked over HTTP
mod stored; // a registry whose storage tree is read
mod totals; // sums, each blob once: no input, no output
mod tree; // one repository: what the storage tree has of it
mod turn; // how much is read ahead

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use anyhow::{Context as _, bail};
use clap::Parser;
use common::cli::operand::{self, Operand, Wanted};
use common::cli::{self, CommonArgs, CommonFlags, Context, RegistryFlags, RepositoryFlags, Status, Tool, bytes, count};
use common::pattern::RepositoryFilter;
use common::registry::Registry;

use crate::configs::Configs;
use crate::read::Source;
use crate::section::What;
use crate::served::Failed;
use crate::totals::Totals;

const TOOL: Tool = Tool { name: "reg-list", version: env!("CARGO_PKG_VERSION"), destructive: false };

/// Lists what a container registry holds, as JSON Lines
#[derive(Debug, Parser)]
#[command(before_help = "Examples:
  reg-list registry.example.com                  every manifest of every repository
  reg-list registry.example.com/team --count     how many tags each repository below team/ has
  reg-list localhost:5000 --tags                 the tags' names
  reg-list - < in-use.jsonl                      just the repositories that are in use
  reg-list --store /var/lib/registry --registry registry.example.com
                                                 what lies in its storage, untagged manifests and times of push included
")]
struct Args {
    /// A registry, or what of it lies at or below a path; - for repositories on standard input, as host/repository lines or
    /// records [default: REG_REGISTRY]
    #[arg(value_name = "REGISTRY[/PREFIX]")]
    registries: Vec<String>,
    /// Only the names of tags: one request for each repository
    #[arg(long, conflicts_with = "count")]
    tags: bool,
    /// Only how many tags each repository has: one request for each repository
    #[arg(long)]
    count: bool,
    /// Read the registry's storage and ask no server: DIR is the rootdirectory of its storage; --registry names the registry
    #[arg(long, value_name = "DIR", conflicts_with_all = ["registries", "password_stdin", "ca_file", "plain_http", "auth_host", "jobs"])]
    store: Option<PathBuf>,
    #[command(flatten)]
    repositories: RepositoryFlags,
    /// The registry that user and password belong to, where it is not the only operand; without an operand, the one to list; with
    /// --store, whose storage that is
    #[arg(long, value_name = "HOST", env = "REG_REGISTRY", help_heading = "Reaching the registry")]
    registry: Option<String>,
    #[command(flatten)]
    reach: RegistryFlags,
    #[command(flatten)]
    common: CommonFlags,
}

impl CommonArgs for Args {
    fn common(&self) -> &CommonFlags {
        &self.common
    }
}

fn main() -> ExitCode {
    cli::main::<Args>(TOOL, run)
}

/// Lists each registry named, a section each.
fn run(args: Args, context: &Context) -> anyhow::Result<Status> {
    let filter = Rc::new(RepositoryFilter::new(&args.repositories.repository, &args.repositories.exclude)?);
    let registry =
        args.registry.as_deref().filter(|name| !name.is_empty()).map(Operand::parse).transpose().context("--registry or REG_REGISTRY")?;
    let what = match (args.tags, args.count) {
        (true, _) => What::Tags,
        (_, true) => What::Counts,
        _ => What::Manifests,
    };
    if let Some(store) = &args.store {
        return list_store(context, store, registry, what, &filter);
    }
    let from_input = args.registries.iter().any(|operand| operand == "-");
    if from_input && args.registries.len() > 1 {
        bail!("the operand - stands alone: what is on standard input names its registries itself");
    }
    let mut operands = Vec::new();
    if !from_input {
        operands = args.registries.iter().map(|text| Operand::parse(text)).collect::<Result<Vec<_>, _>>()?;
        if operands.is_empty() {
            operands.extend(registry.clone());
        }
        if operands.is_empty() {
            bail!("which registry? name one, such as reg-list registry.example.com/team, or set REG_REGISTRY");
        }
    }
    let has_user = args.reach.user.as_deref().is_some_and(|user| !user.is_empty());
    let bound = operand::bound_host(&operands, registry.as_ref(), has_user)?;
    let settings = args.reach.settings(bound.as_ref())?;
    let wanted = if from_input {
        named::read(context.filter_input("repositories", "k8s-images -f k8s/ | reg-list -")?)?
    } else {
        operand::by_registry(&operands)
    };
    // What goes to the network waits, and nothing else does: one thread is enough.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = tokio::task::LocalSet::new().block_on(&runtime, list(context, &wanted, what, &filter, &settings))?;
    say_unmatched(context, &filter);
    Ok(status)
}

/// Lists the registry whose storage is at hand.
fn list_store(context: &Context, store: &Path, registry: Option<Operand>, what: What, filter: &RepositoryFilter) -> anyhow::Result<Status> {
    let Some(registry) = registry else {
        bail!(
            "--store {}: whose storage is it? a tree holds no host name: say it with --registry registry.example.com, or set REG_REGISTRY",
            store.display()
        );
    };
    let progress = context.progress();
    let wanted = registry.wanted();
    let (status, totals) = stored::list(context, &mut context.output(), &progress, &wanted, what, filter, store)?;
    progress.finish();
    context.summarize(summarized(context, &wanted, what, &totals));
    say_unmatched(context, filter);
    Ok(status)
}

fn say_unmatched(context: &Context, filter: &RepositoryFilter) {
    for pattern in filter.unmatched() {
        context.say(format_args!("the pattern {pattern:?} matches no repository"));
    }
}

async fn list(
    context: &Context,
    wanted: &[Wanted],
    what: What,
    filter: &Rc<RepositoryFilter>,
    settings: &common::registry::Settings,
) -> anyhow::Result<Status> {
    let configs = Rc::new(Configs::default());
    let progress = Rc::new(context.progress());
    let mut output = context.output();
    let mut status = Status::Done;
    let mut unlisted = 0;
    let mut summary = String::new();
    for wanted in wanted {
        let settings = wanted.scheme.applied_to(settings);
        let result = match Registry::open(&wanted.host, &settings) {
            Ok(registry) => {
                let source = Source::new(registry, settings.jobs, Rc::clone(&configs), Rc::clone(&progress));
                served::list(context, &mut output, wanted, what, filter, source).await
            }
            Err(error) => Err(Failed::Registry(error)),
        };
        match result {
            Ok((ended, totals)) => {
                status = status.and(ended);
                summary.push_str(&summarized(context, wanted, what, &totals));
            }
            Err(Failed::Output(error)) => return Err(error.into()),
            Err(Failed::Registry(error)) => {
                unlisted += 1;
                status = Status::Partial;
                context.say(format_args!("{}: cannot be listed: {error}", wanted.host));
            }
        }
    }
    progress.finish();
    context.summarize(summary);
    if unlisted == wanted.len() {
        bail!("nothing was listed");
    }
    Ok(status)
}

/// A line about a registry for people.
fn summarized(context: &Context, wanted: &Wanted, what: What, totals: &Totals) -> String {
    let mut parts = vec![count(totals.repositories, "repository"), count(totals.tags, "tag")];
    if what == What::Manifests {
        parts.push(count(totals.manifests, "manifest"));
        parts.push(format!("{} in distinct blobs", bytes(totals.image_size)));
    }
    if totals.incomplete > 0 {
        parts.push(format!("{} not read whole", count(totals.incomplete, "repository")));
    }
    format!("{}: {}: {}\n", context.name(), wanted.host, parts.join(", "))
}
