//! A registry that is asked over HTTP: which repositories are looked at, and in which order what is found comes out.
//!
//! All registries are asked side by side, each for itself, with `--jobs` requests under way; of each, several repositories at once.
//! What is found is handed on in the order of the input and, within a registry, of the repositories' names, whatever came first.

mod asker;
mod fault;
mod found;
mod manifest;
mod repository;

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use common::check::Depth;
use common::cli::{Context, Progress};
use common::inventory::{Inventory, UseEntry};
use common::pattern::RepositoryFilter;
use common::record::Problem;
use common::reference::{Host, Repository};
use common::registry::{Registry, Settings};
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::sync::{Semaphore, mpsc};

use self::asker::Asker;
pub(crate) use self::asker::Options;
use self::repository::Plan;
use crate::collect::{Batch, Collector};
use crate::draft::{Draft, Weight};
use crate::wish::{NamedBy, Registered, Wish};

/// How many registries are asked side by side: an inventory may name dozens, and some of them are out of reach.
const SIDE_BY_SIDE: usize = 16;

/// What came of asking.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    /// Whether all that there is to look at is known.
    pub(crate) complete: bool,
    /// Whether any registry said anything.
    pub(crate) answered: bool,
}

/// Something from a registry that is being asked.
enum Event {
    Found(Batch),
    Say(String),
}

/// A registry that was asked.
struct Ended {
    complete: bool,
    answered: bool,
    requests: u64,
    hashed: u64,
}

/// Asks all registries.
pub(crate) async fn check(
    context: &Context,
    collector: &mut Collector<'_>,
    registries: Vec<Registered>,
    inventory: &Rc<Inventory>,
    settings: &Settings,
    options: Options,
    filter: &Rc<RepositoryFilter>,
) -> io::Result<Outcome> {
    let progress = Rc::new(context.progress());
    let permits = Rc::new(Semaphore::new(SIDE_BY_SIDE));
    progress.tell("requests");
    let mut asking = Vec::new();
    for registered in registries {
        let (sender, receiver) = mpsc::unbounded_channel();
        let settings = registered.scheme.applied_to(settings);
        let (inventory, filter) = (Rc::clone(inventory), Rc::clone(filter));
        let (progress, permits) = (Rc::clone(&progress), Rc::clone(&permits));
        let task = tokio::task::spawn_local(async move {
            // Never closed, and if it were, one more at once does no harm.
            let _permit = permits.acquire().await;
            ask(registered, &settings, &inventory, &filter, options, progress, &sender).await
        });
        asking.push((receiver, task));
    }
    let mut outcome = Outcome { complete: true, answered: asking.is_empty() };
    for (mut receiver, task) in asking {
        while let Some(event) = receiver.recv().await {
            match event {
                Event::Found(batch) => progress.suspend(|| collector.take(batch))?,
                Event::Say(text) => progress.suspend(|| context.say(text)),
            }
        }
        let ended = task.await.map_err(io::Error::other)?;
        collector.cost(Some(ended.requests), (options.depth == Depth::Content).then_some(ended.hashed));
        outcome.complete &= ended.complete;
        outcome.answered |= ended.answered;
    }
    progress.finish();
    Ok(outcome)
}

/// Asks one registry.
async fn ask(
    registered: Registered,
    settings: &Settings,
    inventory: &Inventory,
    filter: &RepositoryFilter,
    options: Options,
    progress: Rc<Progress>,
    sender: &mpsc::UnboundedSender<Event>,
) -> Ended {
    // Nobody listens any more where sending fails, and then nobody wants to know.
    let send = |event: Event| drop(sender.send(event));
    let host = registered.host.clone();
    let asker = match Registry::open(&host, settings) {
        Ok(registry) => Asker::new(registry, settings.jobs, options, progress),
        Err(error) => {
            send(Event::Say(format!("{host}: cannot be asked: {error}")));
            send(lone(&host, None, error.to_string()));
            return Ended { complete: false, answered: false, requests: 0, hashed: 0 };
        }
    };
    let names = names(&asker, &registered, &send).await;
    let (mut complete, mut answered) = (names.complete, names.answered);
    let plans = plans(registered, names.repositories, inventory);
    let checks = stream::iter(plans.into_iter().filter(|plan| filter.selects(plan.repository.as_str()))).map(async |plan: Plan| {
        let name = plan.repository.clone();
        let found = repository::check(&asker, plan).await;
        let is_whole = !found.has_unseen_tags;
        (found.batch(&host, &name, options.depth, options.all), is_whole)
    });
    let mut checks = std::pin::pin!(checks.buffered(settings.jobs));
    while let Some((batch, is_whole)) = checks.next().await {
        complete &= is_whole;
        send(Event::Found(batch));
    }
    answered |= asker.has_answered();
    if let Some(why) = asker.down() {
        send(Event::Say(format!("{host}: was asked nothing more after this: {why}")));
    }
    Ended { complete, answered, requests: asker.registry.requests(), hashed: asker.registry.hashed() }
}

/// The repositories whose tags are asked for: those that a catalog names, and those that it should.
struct Names {
    repositories: BTreeMap<Repository, NamedBy>,
    complete: bool,
    answered: bool,
}

/// Asks for the catalog, where it is wanted.
async fn names(asker: &Asker, registered: &Registered, send: &impl Fn(Event)) -> Names {
    let mut names = Names { repositories: BTreeMap::new(), complete: true, answered: false };
    let Some(prefixes) = &registered.catalog else { return names };
    let host = &registered.host;
    let is_within = |name: &Repository| prefixes.is_empty() || prefixes.iter().any(|prefix| name.is_within(prefix.as_str()));
    let mut catalog = asker.registry.catalog();
    while let Some(page) = catalog.next().await {
        match page {
            Ok(page) => {
                names.answered = true;
                names.repositories.extend(page.into_iter().filter(is_within).map(|name| (name, NamedBy::Catalog)));
            }
            Err(error) if !names.answered && !prefixes.is_empty() && error.is_no_catalog() => {
                let error = error.without_hint();
                send(Event::Say(format!(
                    "{host} shows no catalog ({error}): looked at are the repositories of exactly the names given, and nothing below them"
                )));
                names.complete = false;
                names.repositories.extend(prefixes.iter().map(|prefix| (prefix.clone(), NamedBy::Operand)));
                return names;
            }
            Err(error) => {
                let what = if names.answered { "its catalog broke off" } else { "cannot be asked" };
                let shows_none = !names.answered && !error.is_rejected() && matches!(error.status(), Some(401 | 403 | 404 | 405));
                // The client's own way out is that of a tool that reads names from standard input.
                let error = if shows_none || error.is_unsupported() {
                    format!(
                        "{}; where a registry shows no catalog, name its repositories as operands ({host}/REPOSITORY)",
                        error.without_hint()
                    )
                } else {
                    error.to_string()
                };
                send(Event::Say(format!("{host}: {what}: {error}")));
                send(lone(host, None, format!("{what}: {error}")));
                names.complete = false;
                return names;
            }
        }
    }
    names.answered = true;
    for (name, error) in catalog.withheld().iter().filter(|(name, _)| is_within(name)) {
        let text = format!("the catalog may have left it out, and the registry does not say whether it is there: {error}");
        send(lone(host, Some(name), text));
        names.complete = false;
    }
    if let Some(first) = catalog.dropped().first() {
        let others = catalog.dropped().len();
        send(Event::Say(format!("{host}: left out what the catalog lists and no repository can be called: {first:?} (of {others})")));
    }
    // A catalog may leave out what is there (Distribution before 3 does without _layers): only its own tags tell.
    let lacks = |prefix: &&Repository| !names.repositories.keys().any(|name| name.is_within(prefix.as_str()));
    let unnamed: Vec<Repository> = prefixes.iter().filter(lacks).cloned().collect();
    names.repositories.extend(unnamed.into_iter().map(|prefix| (prefix, NamedBy::Operand)));
    names
}

/// What is looked at in each repository: what the catalog, the input and the inventory name.
fn plans(registered: Registered, names: BTreeMap<Repository, NamedBy>, inventory: &Inventory) -> Vec<Plan> {
    let Registered { host, catalog, repositories, .. } = registered;
    let mut wishes: BTreeMap<Repository, Wish> = repositories;
    for (name, by) in names {
        wishes.entry(name).or_default().add_whole(by);
    }
    // What an inventory names on this registry belongs to its catalog, whether it is in it or not: that it is not is what to tell.
    if let Some(prefixes) = &catalog {
        let names_here = |entry: &UseEntry| {
            let all = inventory.names().all(entry.host(), &entry.record.repository);
            all.into_iter().filter(|(named, _)| *named == host).filter_map(|(_, path)| path.parse::<Repository>().ok()).collect::<Vec<_>>()
        };
        for name in inventory.entries().flat_map(names_here) {
            if prefixes.is_empty() || prefixes.iter().any(|prefix| name.is_within(prefix.as_str())) {
                wishes.entry(name).or_default().whole = true;
            }
        }
    }
    let plan = |(repository, mut wish): (Repository, Wish)| {
        for entry in inventory.of_repository(&host, repository.as_str()).own {
            // A tag that no registry can have is not there to be asked for.
            let _ = wish.add_known(&entry.record);
        }
        Plan { repository, wish }
    };
    wishes.into_iter().map(plan).collect()
}

/// What is not known of a registry, or of a repository as a whole.
fn lone(host: &Host, repository: Option<&Repository>, detail: String) -> Event {
    Event::Found(Batch::of(Draft { repository: repository.map(ToString::to_string), ..of_registry(Some(host.clone()), detail) }))
}

/// What is not known of a registry.
pub(crate) fn of_registry(registry: Option<Host>, detail: String) -> Draft {
    Draft { registry, ..Draft::new(Problem::NotAsked, Weight::Unknown, detail) }
}
