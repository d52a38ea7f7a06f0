//! The inventory: what all sources said, as records, and as sentences for people.
//!
//! Owns the envelope (scope, trailer), what makes the whole incomplete, and what is said about it. How a source is read is nothing to it.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use common::cli::{self, Context, Status};
use common::digest::Digest;
use common::record::{self, Header, Scope, SourceKind, Trailer, Use};
use serde::Serialize;

use crate::args::ClusterFlags;
use crate::cluster::Answer;
use crate::clusters::Cluster;
use crate::contexts;
use crate::docker;
use crate::source::Source;
use crate::uses::Gathering;

/// What was read under one name.
#[derive(Debug)]
pub(crate) struct Part {
    record: record::Source,
    gathering: Gathering,
    /// What makes it incomplete.
    problems: Vec<String>,
    /// What people should know.
    notes: Vec<String>,
    /// What people must see, whatever they asked to be spared.
    warnings: Vec<String>,
    resource_versions: BTreeMap<String, String>,
    /// The flag that names it alone; none of what is no cluster.
    flag: Option<String>,
}

/// What the trailer counts beside the records.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Totals {
    /// Distinct images: registry, repository, and tag or digest.
    images: usize,
    /// Distinct repositories.
    repositories: usize,
    /// Sources that were not read whole.
    incomplete_sources: usize,
    /// Of clusters: at which version each list was read.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    resource_versions: BTreeMap<String, BTreeMap<String, String>>,
}

/// How many problems of a source are said. Whoever renders no template has one for each file.
const PROBLEMS_SAID: usize = 20;

impl Part {
    /// What files hold, or lists of images.
    pub(crate) fn of_source(mut source: Source) -> Self {
        let gathering = source.finish();
        Self {
            record: source.record(),
            gathering,
            problems: source.problems,
            notes: source.notes,
            warnings: Vec::new(),
            resource_versions: BTreeMap::new(),
            flag: None,
        }
    }

    /// What clusters said, in order. One that is the same as another stands as complete as that does.
    pub(crate) fn of_clusters(clusters: Vec<Cluster>) -> Vec<Self> {
        let mut parts: Vec<Self> = Vec::new();
        for Cluster { name, is_pods_own, server, same_as, answer, said } in clusters {
            let flag = Some(if is_pods_own { "--in-cluster".to_owned() } else { contexts::flag(&name) });
            let same = same_as.as_ref().and_then(|same| parts.iter().find(|part| part.record.name == *same));
            let error = same.map_or_else(|| first_of(&answer.problems), |same| same.record.error.clone());
            let missing = same.map_or_else(|| answer.missing.clone(), |same| same.record.missing.clone());
            let (kind, complete) = (SourceKind::Context, error.is_none());
            let record = record::Source { kind, name, server, complete, error, same_as: same_as.clone(), missing };
            let of_name = |sentence: String| format!("{}: {sentence}", record.name);
            let problems = answer.problems.into_iter().map(of_name).collect();
            let mut notes: Vec<String> = answer.notes.into_iter().map(of_name).collect();
            if let Some(same) = same_as {
                notes.push(format!("{}: is the same server and user as {same}, and is read once", record.name));
            }
            let mut warnings: Vec<String> = said.into_iter().map(of_name).collect();
            if same.is_none() && record.complete && answer.gathering.is_empty() {
                // A cluster that was set up anew may truly be empty. So is one whose data was lost, and nothing tells them apart.
                warnings.push(format!("{}: no object in it names an image; is this the cluster that is meant?", record.name));
            }
            let Answer { gathering, resource_versions, .. } = answer;
            parts.push(Self { record, gathering, problems, notes, warnings, resource_versions, flag });
        }
        parts
    }

    /// What a container engine said, under the name that it has, or another one.
    pub(crate) fn of_engine(answer: docker::Answer, name: Option<&str>) -> Self {
        let docker::Answer { name: own, server, gathering, problems, notes } = answer;
        let name = name.map_or(own, str::to_owned);
        let error = first_of(&problems);
        let record = record::Source {
            kind: SourceKind::Docker,
            name,
            server: Some(server),
            complete: error.is_none(),
            error,
            same_as: None,
            missing: Vec::new(),
        };
        let of_name = |sentence: String| format!("{}: {sentence}", record.name);
        let (problems, notes) = (problems.into_iter().map(of_name).collect(), notes.into_iter().map(of_name).collect());
        Self { record, gathering, problems, notes, warnings: Vec::new(), resource_versions: BTreeMap::new(), flag: None }
    }

    /// The name of its source.
    pub(crate) fn name(&self) -> &str {
        &self.record.name
    }

    fn is_complete(&self) -> bool {
        self.record.complete
    }
}

/// The first reason and how many more there are.
pub(crate) fn first_of(problems: &[String]) -> Option<String> {
    let first = problems.first()?;
    Some(match problems.len() {
        1 => first.clone(),
        all => format!("{first} (and {} more)", all - 1),
    })
}

/// What was looked at, and what was asked for where it was clusters.
fn scope(parts: &[Part], flags: Option<&ClusterFlags>) -> Scope {
    let sources = parts.iter().map(|part| part.record.clone()).collect();
    let mut scope = Scope { sources: Some(sources), partial: Some(false), ..Scope::default() };
    if let Some(flags) = flags {
        scope.contexts.clone_from(&flags.context);
        scope.skip_contexts.clone_from(&flags.skip_context);
        scope.namespaces.clone_from(&flags.namespace);
        scope.selector.clone_from(&flags.selector);
        scope.partial = Some(flags.is_narrowed());
    }
    scope
}

/// Writes the records, and says to people what they should know.
pub(crate) fn write(parts: Vec<Part>, flags: Option<&ClusterFlags>, time: DateTime<Utc>, context: &Context) -> anyhow::Result<Status> {
    report(&parts, context);
    let complete = parts.iter().all(Part::is_complete);
    let mut output = context.output();
    output.write(&Header::new(context.name(), context.version(), time).with_scope(scope(&parts, flags)))?;
    let sources = parts.len();
    let (records, totals) = hand_out(parts, |used| output.write(used))?;
    output.write(&Trailer::new(complete, records, &totals))?;
    output.flush()?;

    let number = |count: usize, noun| cli::count(u64::try_from(count).unwrap_or(u64::MAX), noun);
    context.summarize(format_args!(
        "{}: {} of {} in {}, {} not complete\n",
        context.name(),
        number(totals.images, "image"),
        number(totals.repositories, "repository"),
        number(sources, "source"),
        totals.incomplete_sources,
    ));
    Ok(if complete { Status::Done } else { Status::Partial })
}

fn report(parts: &[Part], context: &Context) {
    for part in parts {
        for note in &part.notes {
            context.summarize(format_args!("{}: {note}\n", context.name()));
        }
        for warning in &part.warnings {
            context.say(warning);
        }
        for problem in part.problems.iter().take(PROBLEMS_SAID) {
            context.say(problem);
        }
        if let Some(more) = part.problems.len().checked_sub(PROBLEMS_SAID).filter(|more| *more > 0) {
            context.say(format_args!("and {more} more in the source {}", part.record.name));
        }
    }
    if let Some(way_on) = way_on(parts) {
        context.say(way_on);
    }
}

/// The command line by which only what answered would be read, where something else did not.
fn way_on(parts: &[Part]) -> Option<String> {
    let clusters = || parts.iter().filter_map(|part| Some((part, part.flag.as_deref()?)));
    let whole: Vec<&str> = clusters().filter_map(|(part, flag)| part.is_complete().then_some(flag)).collect();
    let failed: Vec<&str> = clusters().filter_map(|(part, _)| (!part.is_complete()).then_some(part.record.name.as_str())).collect();
    if failed.is_empty() || whole.is_empty() {
        return None;
    }
    Some(format!(
        "the contexts that were read whole: {}; an inventory of them alone does not hold what runs in {}",
        whole.join(" "),
        failed.join(", ")
    ))
}

/// Hands out the uses of all parts, and says how many they are and what they come to.
fn hand_out<E>(parts: Vec<Part>, mut take: impl FnMut(&Use) -> Result<(), E>) -> Result<(u64, Totals), E> {
    let (mut records, mut seen, mut totals) = (0, Seen::default(), Totals::default());
    for Part { record, gathering, resource_versions, .. } in parts {
        gathering.each_use(&record.name, |used| {
            seen.add(&used);
            records += 1;
            take(&used)
        })?;
        totals.incomplete_sources += usize::from(!record.complete);
        if !resource_versions.is_empty() {
            totals.resource_versions.insert(record.name, resource_versions);
        }
    }
    totals.images = seen.images.len();
    totals.repositories = seen.repositories.len();
    Ok((records, totals))
}

/// What the uses name, each once.
#[derive(Debug, Default)]
struct Seen {
    repositories: HashSet<String>,
    images: HashSet<String>,
}

impl Seen {
    fn add(&mut self, used: &Use) {
        let Use { registry, repository, tag, digest, .. } = used;
        let repository = format!("{registry}/{repository}");
        let digest = digest.as_ref().map(Digest::to_string);
        let image = format!("{repository}:{}@{}", tag.as_deref().unwrap_or_default(), digest.unwrap_or_default());
        self.images.insert(image);
        self.repositories.insert(repository);
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use serde_json::json;

    use super::*;
    use crate::args::Args;
    use crate::cluster::Answer;

    fn cluster(name: &str, problems: &[&str]) -> Cluster {
        let problems = problems.iter().map(|problem| (*problem).to_owned()).collect();
        let resource_versions = BTreeMap::from([("pods".to_owned(), "7".to_owned())]);
        let answer = Answer { problems, missing: vec!["cronjobs.batch".to_owned()], resource_versions, ..Answer::default() };
        Cluster {
            name: name.to_owned(),
            is_pods_own: false,
            server: Some(format!("https://{name}")),
            same_as: None,
            answer,
            said: Vec::new(),
        }
    }

    fn same(name: &str, as_what: &str) -> Cluster {
        let answer = Answer::default();
        Cluster { name: name.to_owned(), is_pods_own: false, server: None, same_as: Some(as_what.to_owned()), answer, said: Vec::new() }
    }

    #[test]
    fn each_context_is_a_source_as_complete_as_what_was_read_for_it() {
        let clusters = vec![cluster("prod", &[]), same("admin", "prod"), cluster("stage", &["no", "no again"]), same("old", "stage")];
        let parts = Part::of_clusters(clusters);
        let scope = serde_json::to_value(scope(&parts, None)).unwrap();
        let source = |name: &str, server: Option<&str>, error: Option<&str>| json!({"kind": "context", "name": name, "server": server, "complete": error.is_none(), "error": error, "missing": ["cronjobs.batch"]});
        let mut expected = vec![
            source("prod", Some("https://prod"), None),
            source("admin", None, None),
            source("stage", Some("https://stage"), Some("no (and 1 more)")),
            source("old", None, Some("no (and 1 more)")),
        ];
        expected[1]["sameAs"] = json!("prod");
        expected[3]["sameAs"] = json!("stage");
        assert_eq!(scope, json!({"sources": expected, "partial": false}));
        assert_eq!(parts[2].problems, ["stage: no", "stage: no again"]);
        let Ok((records, totals)) = hand_out(parts, |_| Ok::<(), std::convert::Infallible>(()));
        assert_eq!(records, 0);
        assert_eq!(
            serde_json::to_value(totals).unwrap(),
            json!({"images": 0, "repositories": 0, "incompleteSources": 2, "resourceVersions": {"prod": {"pods": "7"}, "stage": {"pods": "7"}}})
        );
    }

    #[test]
    fn what_was_asked_stands_in_the_scope() {
        for (line, expected) in [
            ("", json!({"sources": [], "partial": false})),
            (
                "--context prod* --context b --skip-context *-old",
                json!({"sources": [], "contexts": ["prod*", "b"], "skipContexts": ["*-old"], "partial": false}),
            ),
            ("-n shop -n web", json!({"sources": [], "namespaces": ["shop", "web"], "partial": true})),
            ("-l app=web", json!({"sources": [], "selector": "app=web", "partial": true})),
        ] {
            let arguments = Args::try_parse_from(std::iter::once("k8s-images").chain(line.split_whitespace())).unwrap();
            assert_eq!(serde_json::to_value(scope(&[], Some(&arguments.clusters))).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn the_way_on_names_what_was_read_whole() {
        for (clusters, expected) in [
            (vec![cluster("a", &[]), cluster("b", &[])], None),
            (vec![cluster("a", &["no"]), cluster("b", &["no"])], None),
            (
                vec![cluster("it's", &[]), cluster("b", &["no"]), same("c", "it's"), same("d", "b")],
                Some(
                    r"the contexts that were read whole: --context 'it'\''s' --context c; an inventory of them alone does not hold what runs in b, d",
                ),
            ),
            (
                vec![Cluster { is_pods_own: true, ..cluster("here", &[]) }, cluster("-", &[]), cluster("b", &["no"])],
                Some(
                    "the contexts that were read whole: --in-cluster --context=-; an inventory of them alone does not hold what runs in b",
                ),
            ),
        ] {
            assert_eq!(way_on(&Part::of_clusters(clusters)).as_deref(), expected);
        }
    }
}
