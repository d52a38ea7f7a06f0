#![doc = include_str!("../README.md")]

mod compose; // Compose files: services, variables, what they include
mod document; // texts into documents: YAML, JSON, lines
mod input; // files, folders, standard input
mod lines; // images one a line
mod object; // which images an object names, and whose they are
mod source; // what is read under one name, and whether all of it was
mod tree; // what is kept of a document
mod uses; // what objects say together: owners, pods, merged uses

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use chrono::Utc;
use clap::{Parser, ValueEnum};
use common::cli::{self, CommonArgs, CommonFlags, Context, Status, Tool};
use common::record::{Header, Scope, SourceKind, Trailer, Use};
use serde::Serialize;

use crate::source::Source;

/// Lists every container image that Kubernetes manifests may start, as an inventory of what is in use
#[derive(Debug, Parser)]
#[command(before_help = "Examples:
  k8s-images -f overlays/prod --name prod > in-use.jsonl
  kubectl kustomize overlays/prod | k8s-images -f - --name prod > in-use.jsonl
  helm template shop charts/shop | k8s-images -f - --name shop > in-use.jsonl
  kubectl get all,controllerrevisions -A -o yaml | k8s-images -f - --name prod > in-use.jsonl
  docker compose config --images | k8s-images --from lines - --name ci > in-use.jsonl
  k8s-images --from compose /srv/shop/compose.yaml --name shop > in-use.jsonl
")]
struct Args {
    /// Kubernetes manifests: a file, a folder of them, or - for standard input; repeat it for several
    #[arg(long = "filename", short = 'f', value_name = "FILE|DIR|-", conflicts_with = "from", help_heading = "What is read")]
    filename: Vec<PathBuf>,
    /// Read the folders within a folder too
    #[arg(long, short = 'R', conflicts_with = "from", help_heading = "What is read")]
    recursive: bool,
    /// Read the operands as something else than manifests
    #[arg(long, value_enum, value_name = "KIND", help_heading = "What is read")]
    from: Option<From>,
    /// With --from: what to read, a file or - for standard input
    #[arg(value_name = "FILE|-", help_heading = "What is read")]
    operands: Vec<PathBuf>,
    /// The name of the source, for --require-source and for people [default: each operand as it was given]
    #[arg(long, value_name = "NAME", help_heading = "What is read", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    name: Option<String>,
    #[command(flatten)]
    common: CommonFlags,
}

/// What operands may hold, if not manifests.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum From {
    /// Image references, one a line
    Lines,
    /// Compose files; those under one --name are one project
    Compose,
}

impl CommonArgs for Args {
    fn common(&self) -> &CommonFlags {
        &self.common
    }
}

/// What the trailer counts beside the records.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Totals {
    /// Distinct images: registry, repository, and tag or digest.
    images: usize,
    /// Distinct repositories.
    repositories: usize,
    /// Sources that were not read whole.
    incomplete_sources: usize,
}

fn main() -> ExitCode {
    cli::main(Tool { name: "k8s-images", version: env!("CARGO_PKG_VERSION"), destructive: false }, run)
}

/// Reads all sources, because the header says whether they are complete, and writes what they use.
fn run(arguments: Args, context: &Context) -> anyhow::Result<Status> {
    let (kind, operands) = operands(&arguments)?;
    let time = Utc::now();
    let mut sources = Vec::new();
    for (name, operands) in source::named(operands, arguments.name.as_deref()) {
        let mut source = Source::new(kind.clone(), name);
        if kind == SourceKind::Compose {
            source.add_project(compose_operands(operands, context)?);
        } else {
            for operand in &operands {
                source.add(operand, arguments.recursive, standard_input(operand, &kind, context)?);
            }
        }
        let uses = source.finish();
        sources.push((source, uses));
    }
    report(&sources, context);

    let complete = sources.iter().all(|(source, _)| source.problems.is_empty());
    let scope =
        Scope { sources: Some(sources.iter().map(|(source, _)| source.record()).collect()), partial: Some(false), ..Scope::default() };
    let mut output = context.output();
    output.write(&Header::new(context.name(), context.version(), time).with_scope(scope))?;
    let uses: Vec<&Use> = sources.iter().flat_map(|(_, uses)| uses).collect();
    for used in &uses {
        output.write(used)?;
    }
    let totals = totals(&sources);
    let records = u64::try_from(uses.len()).context("counting the records")?;
    output.write(&Trailer::new(complete, records, &totals))?;
    output.flush()?;

    let number = |count: usize, noun| cli::count(u64::try_from(count).unwrap_or(u64::MAX), noun);
    context.summarize(format_args!(
        "{}: {} of {} in {}, {} not complete\n",
        context.name(),
        number(totals.images, "image"),
        number(totals.repositories, "repository"),
        number(sources.len(), "source"),
        totals.incomplete_sources,
    ));
    Ok(if complete { Status::Done } else { Status::Partial })
}

/// What is to be read, and as what.
fn operands(arguments: &Args) -> anyhow::Result<(SourceKind, &[PathBuf])> {
    let (kind, operands) = match arguments.from {
        Some(From::Lines) if arguments.operands.is_empty() => {
            bail!(
                "--from lines needs the file to read, or - for standard input: docker compose config --images | k8s-images --from lines -"
            )
        }
        Some(From::Lines) => (SourceKind::Lines, &arguments.operands),
        Some(From::Compose) if arguments.operands.is_empty() => {
            bail!("--from compose needs the file to read, or - for standard input: docker compose config | k8s-images --from compose -")
        }
        Some(From::Compose) => (SourceKind::Compose, &arguments.operands),
        None => (SourceKind::Files, &arguments.filename),
    };
    if let (None, Some(stray)) = (arguments.from, arguments.operands.first()) {
        bail!(
            "what is {0}? Manifests are each given with -f (-f {0}), lists of images with --from lines, Compose files with --from compose",
            stray.display()
        );
    }
    if operands.is_empty() {
        bail!("needs what to read: manifests with -f FILE, -f FOLDER or -f - for standard input, or a list of images with --from lines");
    }
    if operands.iter().filter(|operand| is_standard_input(operand)).count() > 1 {
        bail!("standard input (-) is named twice, and can be read only once");
    }
    Ok((kind, operands))
}

fn is_standard_input(operand: &Path) -> bool {
    operand == Path::new("-")
}

/// What stands on standard input, if it is what the operand names.
fn standard_input(operand: &Path, kind: &SourceKind, context: &Context) -> anyhow::Result<Option<Result<String, String>>> {
    if !is_standard_input(operand) {
        return Ok(None);
    }
    let input = match kind {
        SourceKind::Lines => context.filter_input("images, one a line,", "docker compose config --images | k8s-images --from lines -")?,
        SourceKind::Compose => context.filter_input("a Compose file", "docker compose config | k8s-images --from compose -")?,
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

/// How many problems of a source are said. Whoever renders no template has one for each file.
const PROBLEMS_SAID: usize = 20;

fn report(sources: &[(Source, Vec<Use>)], context: &Context) {
    for (source, _) in sources {
        for note in &source.notes {
            context.summarize(format_args!("{}: {note}\n", context.name()));
        }
        for problem in source.problems.iter().take(PROBLEMS_SAID) {
            context.say(problem);
        }
        if let Some(more) = source.problems.len().checked_sub(PROBLEMS_SAID).filter(|more| *more > 0) {
            context.say(format_args!("and {more} more in the source {}", source.name()));
        }
    }
}

fn totals(sources: &[(Source, Vec<Use>)]) -> Totals {
    let uses = || sources.iter().flat_map(|(_, uses)| uses);
    let repositories: BTreeSet<_> = uses().map(|used| (&used.registry, &used.repository)).collect();
    let images: BTreeSet<_> = uses().map(|used| (&used.registry, &used.repository, &used.tag, used.digest.as_ref())).collect();
    Totals {
        images: images.len(),
        repositories: repositories.len(),
        incomplete_sources: sources.iter().filter(|(source, _)| !source.problems.is_empty()).count(),
    }
}
