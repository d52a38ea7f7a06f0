#![doc = include_str!("../README.md")]

mod access; // what a cluster's and a user's entry mean
mod args; // the command line
mod cluster; // what one cluster holds, asked of its API server
mod clusters; // which clusters are asked for, and all of them side by side
mod compose; // Compose files: services, variables, what they include
mod connection; // a client for one server and one user
mod contexts; // which contexts are meant
mod docker; // the containers of a host's engine
mod document; // texts into documents: YAML, JSON, lines
mod image_key; // which keys of a custom resource name an image
mod input; // files, folders, standard input
mod inventory; // what all sources come to, as records and as sentences
mod kubeconfig; // kubeconfig files, merged
mod lines; // images one a line
mod object; // which images an object names, and whose they are
mod rbac; // what an account needs for what is asked
mod side_by_side; // threads with a bound and a deadline
mod source; // what is read under one name, and whether all of it was
mod tree; // what is kept of a document
mod uses; // what objects say together: owners, pods, merged uses

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use chrono::Utc;
use common::cli::{self, Context, Status, Tool};
use common::record::SourceKind;

use crate::args::{Args, ClusterFlags};
use crate::clusters::{Cluster, Plan, Planned, Question, SERVICE_ACCOUNT, Surroundings};
use crate::docker::Endpoint;
use crate::inventory::Part;
use crate::source::Source;

fn main() -> ExitCode {
    cli::main(Tool { name: "k8s-images", version: env!("CARGO_PKG_VERSION"), destructive: false }, run)
}

/// Reads all sources, because the header says whether they are complete, and writes what they use.
fn run(arguments: Args, context: &Context) -> anyhow::Result<Status> {
    arguments.check()?;
    if arguments.common.generate() == Some(args::RBAC) {
        return write_rbac(&arguments, context);
    }
    let (kind, operands) = arguments.files()?;
    // Nothing that happens from here on can be thought to be in the inventory.
    let time = Utc::now();
    let Plan { planned, notes } = plan(&arguments)?;
    let engine = match kind {
        SourceKind::Docker => Some(Endpoint::find(&|name| std::env::var_os(name)).map_err(anyhow::Error::msg)?),
        _ => None,
    };
    let named = source::named(operands, arguments.name.as_deref());
    let mut names = BTreeSet::new();
    if let Some(twice) =
        named.iter().map(|(name, _)| name.as_str()).chain(planned.iter().map(|one| one.name())).find(|name| !names.insert(*name))
    {
        bail!("two sources would have the name {twice}: give the files, or the cluster of --in-cluster, another with --name");
    }
    for note in notes {
        context.say(note);
    }

    let mut parts = Vec::new();
    for (name, operands) in named {
        let mut source = Source::new(kind.clone(), name);
        if kind == SourceKind::Compose {
            source.add_project(compose_operands(operands, context)?);
        } else {
            for operand in &operands {
                source.add(operand, arguments.recursive, standard_input(operand, &kind, context)?);
            }
        }
        parts.push(Part::of_source(source));
    }
    if let Some(endpoint) = engine {
        let limit = arguments.clusters.timeout.delta().to_std().unwrap_or_default();
        let part = Part::of_engine(docker::read(&endpoint, limit), arguments.name.as_deref());
        if planned.iter().any(|one| one.name() == part.name()) {
            bail!("two sources would have the name {}: give the engine another with --name", part.name());
        }
        parts.push(part);
    }
    let flags = (!planned.is_empty()).then_some(&arguments.clusters);
    if let Some(flags) = flags {
        parts.extend(Part::of_clusters(ask(planned, Question::Images, flags, context)));
    }
    inventory::write(parts, flags, time, context)
}

/// Which clusters are meant.
fn plan(arguments: &Args) -> anyhow::Result<Plan> {
    let surroundings = Surroundings { variable: &|name| std::env::var_os(name), service_account: Path::new(SERVICE_ACCOUNT) };
    clusters::plan(arguments, &surroundings)
}

/// Asks all clusters, and shows how far it is.
fn ask(planned: Vec<Planned>, question: Question, flags: &ClusterFlags, context: &Context) -> Vec<Cluster> {
    let progress = context.progress();
    progress.expect(u64::try_from(planned.len()).unwrap_or(u64::MAX));
    let limit = flags.timeout.delta().to_std().unwrap_or_default();
    let clusters = clusters::read(planned, question, &flags.asked(), flags.jobs, limit, || progress.advance());
    progress.finish();
    clusters
}

/// Writes what an account must be granted. Clusters are asked for their custom resources only where a flag names them: what is printed
/// without is for any cluster.
fn write_rbac(arguments: &Args, context: &Context) -> anyhow::Result<Status> {
    let flags = &arguments.clusters;
    let asked = flags.asked();
    let mut status = Status::Done;
    let mut custom = None;
    if asked.custom_resources && (flags.asks_for_contexts() || flags.in_cluster) {
        let Plan { planned, notes } = plan(arguments)?;
        notes.into_iter().for_each(|note| context.say(note));
        for Cluster { name, answer, said, .. } in ask(planned, Question::CustomResources, flags, context) {
            said.iter().chain(&answer.problems).for_each(|problem| context.say(format_args!("{name}: {problem}")));
            status = status.and(if answer.problems.is_empty() { Status::Done } else { Status::Partial });
            custom.get_or_insert_with(Vec::new).extend(answer.custom_resources);
        }
    }
    context.write_generated(&rbac::role(&asked, custom.as_deref())).context("writing the role")?;
    Ok(status)
}

/// What stands on standard input, if it is what the operand names.
fn standard_input(operand: &Path, kind: &SourceKind, context: &Context) -> anyhow::Result<Option<Result<String, String>>> {
    if !args::is_standard_input(operand) {
        return Ok(None);
    }
    let input = match kind {
        SourceKind::Lines => context.filter_input("images, one a line,", "docker compose config --images | k8s-images --from lines -")?,
        SourceKind::Compose => {
            context.filter_input("a Compose file", "docker compose --profile '*' config | k8s-images --from compose -")?
        }
        _ => context.filter_input("manifests", "kubectl kustomize overlays/prod | k8s-images -f -")?,
    };
    Ok(Some(input::all(input)))
}

/// The files of a Compose project.
fn compose_operands(paths: Vec<PathBuf>, context: &Context) -> anyhow::Result<Vec<compose::Operand>> {
    let operand = |path: PathBuf| {
        let standard_input = standard_input(&path, &SourceKind::Compose, context)?;
        Ok(compose::Operand { path, standard_input })
    };
    paths.into_iter().map(operand).collect()
}
