//! Custom resources: which of them may name images, and what those that are there name.
//!
//! Owns the choice, from CustomResourceDefinitions, discovery and the schemas of other API servers; and the reading of the lists. What
//! a schema says is [`super::schema`]'s, what an object names [`crate::object`]'s.
//!
//! A resource is read if an object of it may name an image in any of the versions in which it is served: in the version in which it is
//! stored, or else in the one that discovery prefers. Of a resource without a definition (it is another API server's, or whoever
//! asks may not list definitions) OpenAPI tells the schema. One of which nobody does may hold anything, and is read.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join;
use futures_util::{StreamExt as _, stream};

use super::definition::Definition;
use super::discovery::{GroupVersion, Listable, Served};
use super::kinds::Resource;
use super::list::{self, Absorb, Listed, Query};
use super::page::Item;
use super::request::{Failure, FailureKind, Form, Requests};
use super::schema::Document;
use super::{Answer, Asked, of_the_server};
use crate::document;
use crate::object::{Doubt, Found, Identity};
use crate::uses::Gathering;

/// How many lists are read at once.
const AT_ONCE: usize = 2;

/// How many definitions a page holds: they reach two megabytes each. In protobuf, one after the other is taken in as it comes; in JSON, a
/// page is held.
const DEFINITIONS: u32 = 50;

/// How many objects a page holds. A workflow that remembers its steps may have a megabyte.
const OBJECTS: u32 = 50;

/// The groups of the metrics APIs (k8s.io/metrics), which measure what runs and name no image. Clusters often announce them without a
/// server behind.
const MEASUREMENTS: [&str; 3] = ["metrics.k8s.io", "custom.metrics.k8s.io", "external.metrics.k8s.io"];

/// A resource whose objects are to be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Chosen {
    pub(crate) resource: Resource,
    pub(crate) is_namespaced: bool,
    pub(crate) version: String,
}

/// Reads all custom resources that may name images.
pub(super) async fn read(requests: &Requests, asked: &Asked) -> Answer {
    let mut answer = choose(requests, asked).await;
    let chosen = std::mem::take(&mut answer.custom_resources);
    let lists = chosen.iter().flat_map(|chosen| namespaces(chosen, asked).into_iter().map(move |namespace| (chosen, namespace)));
    let mut readings = stream::iter(lists.enumerate())
        .map(|(number, (chosen, namespace))| async move { (number, objects(requests, asked, chosen, namespace.as_deref()).await) })
        .buffer_unordered(AT_ONCE);
    let mut answers = BTreeMap::new();
    while let Some((number, listed)) = readings.next().await {
        answers.insert(number, listed);
    }
    answers.into_values().for_each(|listed| answer.absorb(listed));
    answer
}

/// Chooses the resources that may name images, and says what nobody could tell of the rest.
pub(super) async fn choose(requests: &Requests, asked: &Asked) -> Answer {
    let (served, definitions) = join(Served::ask(requests), definitions(requests, asked.form)).await;
    let mut answer = Answer::default();
    let served = served.unwrap_or_else(|failure| {
        answer.problems.push(if failure.is_of_the_server() {
            of_the_server(&failure)
        } else {
            format!(
                "what is served beside the kinds of Kubernetes itself is not to be known: {failure}; --no-custom-resources leaves it out"
            )
        });
        Served::default()
    });
    let definitions = definitions.unwrap_or_else(|failure| {
        tracing::debug!("customresourcedefinitions.apiextensions.k8s.io: {failure}; asking for schemas by OpenAPI");
        Vec::new()
    });
    for of in &served.silent {
        answer.lack_group(asked, of);
    }
    let Plan { mut chosen, unknown, notes } = plan(served.resources, definitions);
    answer.notes.extend(notes);
    let documents = documents(requests, &unknown).await;
    chosen.extend(unknown.into_iter().filter_map(|listable| choose_by_schema(listable, &documents)));
    chosen.sort();
    answer.custom_resources = chosen;
    answer
}

/// All definitions of a cluster.
async fn definitions(requests: &Requests, form: Form) -> Result<Vec<Definition>, Failure> {
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions".to_owned();
    let kind = Some("CustomResourceDefinitionList".to_owned());
    let query = Query { path, kind, form, limit: Some(DEFINITIONS), ..Query::default() };
    let take = |definitions: &mut Vec<Definition>, item: Item<'_>| {
        definitions.push(Definition::read(&item)?);
        Ok(())
    };
    Ok(list::read(requests, &query, take).await?.gathered)
}

fn text<'a>(item: &Item<'a>) -> Result<&'a str, String> {
    match item {
        Item::Json(text) => Ok(text),
        Item::Protobuf(_) => Err("it came in protobuf, which was not asked for".to_owned()),
    }
}

/// What is chosen by definitions alone, and what is left.
#[derive(Debug, Default)]
struct Plan {
    chosen: Vec<Chosen>,
    /// What has no definition.
    unknown: Vec<Listable>,
    notes: Vec<String>,
}

fn plan(mut served: Vec<Listable>, definitions: Vec<Definition>) -> Plan {
    let mut plan = Plan::default();
    for Definition { listable, with_images, is_served } in definitions {
        let name = listable.resource.name();
        let preferred = served.iter().position(|known| known.resource.name() == name).map(|at| served.swap_remove(at).versions);
        if !is_served {
            plan.notes.push(format!("the cluster does not serve {name}, though it has a definition of it: objects of it are not seen"));
            continue;
        }
        // The first of the definition's versions is the one in which objects are stored, if that one is served.
        let stored = listable.versions.first().filter(|version| with_images.contains(version));
        let preferred = preferred.iter().flatten().find(|version| with_images.contains(version));
        if let Some(version) = stored.or(preferred).or(with_images.first()).cloned() {
            let Listable { resource, is_namespaced, .. } = listable;
            plan.chosen.push(Chosen { resource, is_namespaced, version });
        }
    }
    plan.unknown = served;
    plan
}

/// The schemas of all versions of resources that have no definition, as far as they are to be had.
async fn documents(requests: &Requests, unknown: &[Listable]) -> BTreeMap<GroupVersion, Document> {
    let wanted: BTreeSet<GroupVersion> = unknown.iter().flat_map(versions).collect();
    let read = |of: GroupVersion| async move {
        let path = format!("/openapi/v3/apis/{}/{}", of.group, of.version);
        let read = |body: Vec<u8>| Document::read(&body).map_err(|error| Failure::other(format!("is no OpenAPI document: {error}")));
        match requests.get(&path, Form::Json).await.and_then(read) {
            Ok(document) => Some((of, document)),
            Err(failure) => {
                tracing::debug!("GET {path}: {failure}");
                None
            }
        }
    };
    stream::iter(wanted).map(read).buffered(AT_ONCE).filter_map(std::future::ready).collect().await
}

fn versions(listable: &Listable) -> impl Iterator<Item = GroupVersion> {
    let group = listable.resource.group.to_string();
    listable.versions.iter().map(move |version| GroupVersion { group: group.clone(), version: version.clone() })
}

/// Chooses a resource without a definition, unless its schema says that it names no image.
fn choose_by_schema(listable: Listable, documents: &BTreeMap<GroupVersion, Document>) -> Option<Chosen> {
    let unknown = !MEASUREMENTS.contains(&&*listable.resource.group);
    let may_name_images = |of: &GroupVersion| {
        let document = documents.get(of);
        document.and_then(|document| document.may_name_images(&of.group, &of.version, &listable.resource.kind)).unwrap_or(unknown)
    };
    let version = versions(&listable).find(may_name_images)?.version;
    let Listable { resource, is_namespaced, .. } = listable;
    Some(Chosen { resource, is_namespaced, version })
}

/// The namespaces in which a resource is listed; none is all of them. What belongs to the whole cluster is left out where namespaces are
/// asked for.
fn namespaces(chosen: &Chosen, asked: &Asked) -> Vec<Option<String>> {
    if chosen.is_namespaced || asked.namespaces.is_empty() { asked.places() } else { Vec::new() }
}

/// What the objects of a list come to.
#[derive(Debug, Default)]
struct Gathered {
    gathering: Gathering,
    problems: Vec<String>,
    /// How many images in them are no references, and one of them.
    doubts: usize,
    doubt: Option<String>,
}

impl Absorb for Gathered {
    fn absorb(&mut self, other: Self) {
        self.gathering.absorb(other.gathering);
        self.problems.extend(other.problems);
        self.doubts += other.doubts;
        self.doubt = self.doubt.take().or(other.doubt);
    }
}

/// Reads the objects of a resource.
async fn objects(requests: &Requests, asked: &Asked, chosen: &Chosen, namespace: Option<&str>) -> Answer {
    let Chosen { resource, version, .. } = chosen;
    let of = Identity { kind: Some(format!("{}List", resource.kind)), group: resource.group.to_string(), ..Identity::default() };
    let query = Query {
        path: resource.path(version, namespace),
        label_selector: asked.selector.clone(),
        form: Form::Json,
        limit: Some(OBJECTS),
        ..Query::default()
    };
    let take = |gathered: &mut Gathered, item: Item<'_>| {
        let item = document::json(text(&item)?).map_err(|fault| fault.cause)?;
        let mut found = Found::of_custom_resources();
        found.add_item(&item, &of);
        found.objects.into_iter().for_each(|object| gathered.gathering.add(object));
        // What a custom resource names as an image may be a parameter that is yet to be filled in, or another thing's image. That is
        // no fault, and the pods that come of it are seen; but it is said, because until then nobody knows the image.
        gathered.doubts += found.doubts.len();
        gathered.doubt = gathered.doubt.take().or_else(|| found.doubts.into_iter().next().map(|doubt| doubt.fault.cause));
        gathered.problems.extend(found.faults.into_iter().map(|fault| fault.cause));
        Ok(())
    };
    let listed = list::read(requests, &query, take).await;
    let mut answer = Answer::default();
    match listed {
        Ok(Listed { gathered: Gathered { gathering, problems, doubts, doubt }, resource_version }) => {
            answer.gathering = gathering;
            answer.problems = problems;
            answer.resource_versions.extend(resource_version.map(|version| (resource.key(namespace), version)));
            answer.notes.extend(doubt.map(|first| Doubt::said(&first, doubts, &resource.name())));
        }
        Err(failure) if failure.is_of_the_server() => answer.problems.push(of_the_server(&failure)),
        Err(Failure { kind: FailureKind::NotFound, .. }) => answer.notes.push(format!("the cluster no longer serves {}", resource.name())),
        Err(failure) => answer.lack(asked, resource, &resource.of(namespace), &failure),
    }
    answer
}

impl Answer {
    /// What a group holds cannot be known, because no server answers for it.
    fn lack_group(&mut self, asked: &Asked, of: &GroupVersion) {
        let GroupVersion { group, version } = of;
        let whole = Resource { kind: "*".into(), plural: "*".into(), group: group.clone().into() };
        let said = format!("no server answers for {group}/{version}");
        if MEASUREMENTS.contains(&group.as_str()) {
            self.notes.push(format!("{said}, which names no image"));
        } else if asked.may_miss(&whole) {
            self.missing.push(whole.name());
            self.notes.push(format!("{said}, and what it holds is not known; --allow-missing lets it go"));
        } else {
            self.problems.push(format!(
                "{said}, and what it holds is not known; remove its APIService if it is of no use, or --allow-missing '{}'",
                whole.name()
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listable(plural: &str, group: &str, versions: &[&str]) -> Listable {
        let resource = Resource { kind: "Thing".into(), plural: plural.to_owned().into(), group: group.to_owned().into() };
        Listable { resource, is_namespaced: true, versions: versions.iter().map(|version| (*version).to_owned()).collect() }
    }

    /// A definition of `things.x.io`.
    fn definition(versions: &[&str], with_images: &[&str]) -> Definition {
        Definition {
            listable: listable("things", "x.io", versions),
            with_images: with_images.iter().map(|version| (*version).to_owned()).collect(),
            is_served: !versions.is_empty(),
        }
    }

    fn shown(chosen: &[Chosen]) -> Vec<String> {
        chosen.iter().map(|chosen| format!("{} {}", chosen.resource.name(), chosen.version)).collect()
    }

    #[test]
    fn a_resource_is_read_once_and_in_the_best_version() {
        for (served, versions, with_images, expected) in [
            // The one in which objects are stored, which is the definition's first.
            (&["v2", "v1"][..], &["v1", "v2"][..], &["v1", "v2"][..], &["things.x.io v1"][..]),
            // That one names no image: the preferred one.
            (&["v3", "v2", "v1"], &["v1", "v2", "v3"], &["v2", "v3"], &["things.x.io v3"]),
            // Discovery does not know it yet.
            (&[], &["v1", "v2"], &["v2"], &["things.x.io v2"]),
            (&["v1"], &["v1"], &[], &[]),
        ] {
            let served = if served.is_empty() { vec![] } else { vec![listable("things", "x.io", served)] };
            let plan = plan(served, vec![definition(versions, with_images)]);
            assert_eq!(shown(&plan.chosen), expected);
            assert_eq!((plan.unknown, plan.notes), (vec![], Vec::<String>::new()));
        }
    }

    #[test]
    fn a_definition_that_is_not_served_is_said() {
        let plan = plan(vec![], vec![definition(&[], &[])]);
        assert_eq!((plan.chosen, plan.notes.len()), (vec![], 1));
        assert!(plan.notes.iter().all(|note| note.contains("does not serve things.x.io")), "{:?}", plan.notes);
    }

    #[test]
    fn what_has_no_definition_is_asked_of_its_server() {
        let others = vec![listable("others", "x.io", &["v1"]), listable("things", "y.io", &["v1"])];
        let served = others.iter().cloned().chain([listable("things", "x.io", &["v1"])]).collect();
        let mut plan = plan(served, vec![definition(&["v1"], &["v1"])]);
        plan.unknown.sort_by_key(|unknown| unknown.resource.name());
        assert_eq!(plan.unknown, others);
    }

    #[test]
    fn any_version_of_a_schema_counts_and_none_may_hold_anything() {
        let document = |image: &str| {
            let schema = format!(
                r#"{{"type": "object", "properties": {{"{image}": {{"type": "string"}}}},
                     "x-kubernetes-group-version-kind": [{{"group": "x.io", "version": "v1", "kind": "Thing"}}]}}"#
            );
            Document::read(format!(r#"{{"components": {{"schemas": {{"Thing": {schema}}}}}}}"#).as_bytes()).unwrap()
        };
        let of = |version: &str| GroupVersion { group: "x.io".to_owned(), version: version.to_owned() };
        for (documents, versions, expected) in [
            (vec![(of("v1"), document("image"))], &["v1"][..], Some("v1")),
            (vec![(of("v1"), document("size"))], &["v1"], None),
            (vec![(of("v1"), document("size"))], &["v1", "v2"], Some("v2")),
            (vec![], &["v2", "v1"], Some("v2")),
        ] {
            let chosen = choose_by_schema(listable("things", "x.io", versions), &documents.into_iter().collect());
            assert_eq!(chosen.map(|chosen| chosen.version).as_deref(), expected, "{versions:?}");
        }
        assert_eq!(choose_by_schema(listable("pods", "metrics.k8s.io", &["v1beta1"]), &BTreeMap::new()), None);
    }

    #[test]
    fn a_group_without_a_server_is_a_gap_that_can_be_forgiven() {
        let of = |group: &str| GroupVersion { group: group.to_owned(), version: "v1".to_owned() };
        for (group, allowed, problems, missing) in [
            ("down.x.io", "", 1, &[][..]),
            ("down.x.io", "*.down.x.io", 0, &["*.down.x.io"]),
            ("down.x.io", "*.up.x.io", 1, &[]),
            ("metrics.k8s.io", "", 0, &[]),
        ] {
            let asked = Asked { allow_missing: vec![allowed.to_owned()], ..Asked::default() };
            let mut answer = Answer::default();
            answer.lack_group(&asked, &of(group));
            assert_eq!(
                (answer.problems.len(), answer.missing.as_slice()),
                (problems, missing.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>().as_slice()),
                "{group} {allowed}"
            );
            assert_eq!(answer.notes.is_empty(), problems == 1);
        }
    }

    #[test]
    fn what_belongs_to_no_namespace_is_left_out_where_some_are_asked_for() {
        let asked =
            |namespaces: &[&str]| Asked { namespaces: namespaces.iter().map(|name| (*name).to_owned()).collect(), ..Asked::default() };
        let chosen = |is_namespaced| Chosen { resource: listable("things", "x.io", &[]).resource, is_namespaced, version: "v1".to_owned() };
        for (is_namespaced, asked, expected) in [
            (true, asked(&[]), vec![None]),
            (false, asked(&[]), vec![None]),
            (true, asked(&["a", "b"]), vec![Some("a".to_owned()), Some("b".to_owned())]),
            (false, asked(&["a"]), vec![]),
        ] {
            assert_eq!(namespaces(&chosen(is_namespaced), &asked), expected);
        }
    }
}
