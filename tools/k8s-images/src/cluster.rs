//! What one cluster may still need: all of its objects that name images, asked of its API server.
//!
//! Owns which lists are read, side by side and in which order, and what it means for the inventory if one of them is not to be had. Which
//! cluster is meant, and how its server is reached, is the caller's: it gives a client.

mod custom; // custom resources: which of them may name images, and what they name
mod decode; // items of lists into objects
mod definition; // what a CustomResourceDefinition says of its resource
mod discovery; // what is served beside the kinds of Kubernetes itself
mod helm; // the releases that Helm keeps for a rollback
mod kinds; // the kinds of Kubernetes itself, and their names
mod list; // a whole list, page by page
mod message; // the protobuf messages, with the fields that are asked for
mod page; // one answer: a page of a list, or a refusal
mod request; // one request, made again where that is right
mod retry; // whether, and after how long
mod schema; // whether an object of a schema may name an image
#[cfg(test)]
mod testing; // an API server that does what a test wants
#[cfg(test)]
mod tests;
mod wire; // the fields of a protobuf message, one after the other

use std::collections::BTreeMap;

use futures_util::future::{OptionFuture, join};
use futures_util::{StreamExt as _, stream};
use tokio::sync::SetOnce;

pub(crate) use self::custom::Chosen;
pub(crate) use self::helm::secrets;
pub(crate) use self::kinds::{BUILT_IN, NODES, Resource};
use self::kinds::{BuiltIn, Need};
use self::list::{Absorb, Listed, Query};
use self::page::Item;
pub(crate) use self::request::Form;
use self::request::{Failure, FailureKind, Requests};
use self::retry::Patience;
use crate::object::Found;
use crate::uses::Gathering;

/// What is asked of a cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    /// Only what is in these namespaces; all where there is none.
    pub(crate) namespaces: Vec<String>,
    /// Only what these labels select.
    pub(crate) selector: Option<String>,
    /// Whether custom resources are searched for pod templates.
    pub(crate) custom_resources: bool,
    /// Whether the releases that Helm keeps for a rollback are read.
    pub(crate) helm_history: bool,
    /// Whether the images that nodes hold are read.
    pub(crate) nodes: bool,
    /// The kinds that may be missing.
    pub(crate) allow_missing: Vec<String>,
    /// In which form the kinds of Kubernetes itself are asked for.
    pub(crate) form: Form,
}

impl Asked {
    /// Where what stands in namespaces is listed: in those that are asked for; none is all of them.
    fn places(&self) -> Vec<Option<String>> {
        if self.namespaces.is_empty() { vec![None] } else { self.namespaces.iter().cloned().map(Some).collect() }
    }

    /// Whether a kind may be missing.
    pub(crate) fn may_miss(&self, resource: &Resource) -> bool {
        self.allow_missing.iter().any(|allowed| resource.is_meant_by(allowed))
    }
}

/// What a cluster said.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// What its objects use.
    pub(crate) gathering: Gathering,
    /// What makes it incomplete.
    pub(crate) problems: Vec<String>,
    /// What a person should know.
    pub(crate) notes: Vec<String>,
    /// The kinds that could not be read and may be missing: `cronjobs.batch`.
    pub(crate) missing: Vec<String>,
    /// The version of each list, by its kind: `pods`, `deployments.apps`; with the namespace where it was narrowed to some: `shop/pods`.
    pub(crate) resource_versions: BTreeMap<String, String>,
    /// The custom resources that would be read, where that is what was asked.
    pub(crate) custom_resources: Vec<Chosen>,
}

impl Answer {
    /// Takes what another part of the cluster said.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.gathering.absorb(other.gathering);
        for (known, more) in [(&mut self.problems, other.problems), (&mut self.notes, other.notes), (&mut self.missing, other.missing)] {
            for sentence in more {
                if !known.contains(&sentence) {
                    known.push(sentence);
                }
            }
        }
        self.resource_versions.extend(other.resource_versions);
        self.custom_resources.extend(other.custom_resources);
    }
}

/// How many lists of a cluster are read at once. There are far more pods than anything else: all other lists are read beside theirs, one
/// after the other. More made a server of two cores no faster.
const AT_ONCE: usize = 2;

/// Reads a cluster.
///
/// The client must not try again by itself, see [`request`].
pub(crate) async fn read(client: &kube::Client, asked: &Asked) -> Answer {
    read_patiently(client, asked, Patience::default()).await
}

/// Finds out which custom resources [`read`] would read, without reading them.
pub(crate) async fn choose(client: &kube::Client, asked: &Asked) -> Answer {
    custom::choose(&Requests::new(client.clone(), Patience::default()), asked).await
}

async fn read_patiently(client: &kube::Client, asked: &Asked, patience: Patience) -> Answer {
    let requests = Requests::new(client.clone(), patience);
    // Whether the server is there, and knows who asks: told by the first list that is asked for.
    let answered: SetOnce<bool> = SetOnce::new();
    let beside = async {
        if !*answered.wait().await {
            return Answer::default();
        }
        let custom = OptionFuture::from(asked.custom_resources.then(|| custom::read(&requests, asked)));
        let helm = OptionFuture::from(asked.helm_history.then(|| helm::read(&requests, asked)));
        let (custom, helm) = join(custom, helm).await;
        let mut answer = custom.unwrap_or_default();
        answer.absorb(helm.unwrap_or_default());
        answer
    };
    let (mut answer, beside) = join(built_in(&requests, asked, &answered), beside).await;
    answer.absorb(beside);
    answer
}

/// A list that is to be read.
#[derive(Debug, Clone)]
struct Wanted {
    kind: BuiltIn,
    namespace: Option<String>,
    query: Query,
}

/// The lists to be read, in order.
fn lists(asked: &Asked) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for kind in BUILT_IN.into_iter().chain(asked.nodes.then_some(NODES)) {
        for namespace in if kind.is_namespaced() { asked.places() } else { vec![None] } {
            let query =
                Query { label_selector: asked.selector.clone().filter(|_| kind.is_namespaced()), form: asked.form, ..Query::default() };
            wanted.push(Wanted { kind: kind.clone(), namespace, query });
        }
    }
    wanted
}

impl Wanted {
    /// Reads the list, in the first of the versions that the cluster serves.
    async fn read(&self, requests: &Requests, answered: impl Fn()) -> Result<Listed<Gathered>, Failure> {
        let kind = Some(format!("{}List", self.kind.resource.kind));
        let take = |gathered: &mut Gathered, item: Item<'_>| gathered.take(&self.kind, &item);
        let mut result = Err(Failure::other("it has no version"));
        for version in self.kind.versions {
            let path = self.kind.resource.path(version, self.namespace.as_deref());
            result = list::read_and_tell(requests, &Query { path, kind: kind.clone(), ..self.query.clone() }, take, &answered).await;
            if !matches!(&result, Err(Failure { kind: FailureKind::NotFound, .. })) {
                break;
            }
        }
        result
    }
}

/// What the items of a list come to.
#[derive(Debug, Default)]
struct Gathered {
    gathering: Gathering,
    problems: Vec<String>,
    /// What the item that is read now holds.
    found: Found,
}

impl Gathered {
    fn take(&mut self, of: &BuiltIn, item: &Item<'_>) -> Result<(), String> {
        let read = decode::object(of, item, &mut self.found);
        self.found.objects.drain(..).for_each(|object| self.gathering.add(object));
        self.problems.extend(self.found.faults.drain(..).map(|fault| fault.cause));
        read
    }
}

impl Absorb for Gathered {
    fn absorb(&mut self, other: Self) {
        self.gathering.absorb(other.gathering);
        self.problems.extend(other.problems);
    }
}

/// Reads the lists of the kinds of Kubernetes itself.
///
/// The first goes ahead of the others until it is `answered`: a server that is not there, or does not know who asks, need not be asked
/// ten times.
async fn built_in(requests: &Requests, asked: &Asked, answered: &SetOnce<bool>) -> Answer {
    // Who says it second says what is known.
    let tell = |is_there| answered.set(is_there).unwrap_or_default();
    let mut readings = stream::iter(lists(asked).into_iter().enumerate())
        .map(|(number, wanted)| async move {
            if number > 0 {
                answered.wait().await;
            }
            let listed = wanted.read(requests, || tell(true)).await;
            (number, wanted, listed)
        })
        .buffer_unordered(AT_ONCE);
    let mut answers = BTreeMap::new();
    while let Some((number, wanted, listed)) = readings.next().await {
        // Every API server serves the first kind, and understands of the others what it understands of this one.
        let is_of_the_first = |failure: &Failure| matches!(failure.kind, FailureKind::NotFound | FailureKind::BadRequest);
        let is_there = !listed.as_ref().is_err_and(|failure| failure.is_of_the_server() || (number == 0 && is_of_the_first(failure)));
        answers.insert(number, answer(asked, &wanted, listed));
        tell(is_there);
        if !is_there {
            // The other lists would say the same.
            break;
        }
    }
    let mut whole = Answer::default();
    answers.into_values().for_each(|answer| whole.absorb(answer));
    whole
}

/// What a list means for the inventory.
fn answer(asked: &Asked, wanted: &Wanted, listed: Result<Listed<Gathered>, Failure>) -> Answer {
    let mut answer = Answer::default();
    let resource = &wanted.kind.resource;
    let who = resource.of(wanted.namespace.as_deref());
    match listed {
        Ok(Listed { gathered: Gathered { gathering, problems, .. }, resource_version }) => {
            answer.gathering = gathering;
            answer.problems = problems;
            answer.resource_versions.extend(resource_version.map(|version| (resource.key(wanted.namespace.as_deref()), version)));
        }
        Err(failure) if failure.is_of_the_server() => answer.problems.push(of_the_server(&failure)),
        Err(failure) if failure.kind == FailureKind::BadRequest && wanted.query.label_selector.is_some() => {
            answer.problems.push(format!("the server does not understand --selector: {failure}"));
        }
        Err(failure) if wanted.kind.need == Need::Always => answer.problems.push(sentence(&who, &failure, None)),
        Err(Failure { kind: FailureKind::NotFound, .. }) => {
            answer.notes.push(format!("the cluster does not serve {}, and has none", resource.name()));
        }
        Err(failure) => answer.lack(asked, resource, &who, &failure),
    }
    answer
}

impl Answer {
    /// A kind that an inventory can do without could not be read: it is missing where that was allowed, and a problem otherwise.
    fn lack(&mut self, asked: &Asked, resource: &Resource, who: &str, failure: &Failure) {
        if asked.may_miss(resource) {
            self.missing.push(resource.name());
            self.notes.push(format!("{}; --allow-missing lets it go", sentence(who, failure, None)));
        } else {
            self.problems.push(sentence(who, failure, Some(resource)));
        }
    }
}

/// What is said of a list that is not to be had; `forgivable` is the kind that may be missing.
fn sentence(who: &str, failure: &Failure, forgivable: Option<&Resource>) -> String {
    let allow = forgivable.map_or_else(String::new, |resource| format!(", or --allow-missing {}", resource.name()));
    match failure.kind {
        FailureKind::Forbidden => {
            // Which custom resources there are, only a cluster knows.
            let of = if forgivable.is_some_and(|resource| resource.group.contains('.')) { " --context NAME" } else { "" };
            format!("may not list {who}: {failure}; grant it (k8s-images --generate rbac{of}){allow}")
        }
        FailureKind::NotFound => format!("does not serve {who}: {failure}; is this the address of a Kubernetes API server?"),
        _ => format!("listing {who}: {failure}"),
    }
}

/// What is said of a failure that is the same for every list.
fn of_the_server(failure: &Failure) -> String {
    match failure.kind {
        FailureKind::Unauthorized => format!("the server does not accept these credentials: {failure}"),
        FailureKind::Stranger => format!("what answers is no Kubernetes API server: {failure}"),
        FailureKind::Credentials => format!("the credentials cannot be used: {failure}"),
        _ => format!("the server cannot be reached: {failure}"),
    }
}
