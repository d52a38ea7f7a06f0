//! A registry that is asked over HTTP: which repositories are read when, and what is said of those that refuse.
//!
//! Repositories are written in the order in which the registry lists them. While one is written the next ones are read already, so that
//! many small repositories keep the registry as busy as a large one. How far ahead is bounded, by tags here and by bytes in `turn`, so
//! that memory is that of the largest repository and a little more.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use chrono::Utc;
use common::cli::operand::{Part, Wanted};
use common::cli::{Context, Output, Status};
use common::pattern::RepositoryFilter;
use common::reference::{Repository, Tag};
use common::registry::{self, TagList};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};

use crate::contents::Found;
use crate::names::{self, Name};
use crate::read::{self, Source};
use crate::section::{Listed, Section, What};
use crate::totals::Totals;

/// How many tags may be read ahead of the repository that is written next.
const AHEAD: usize = 1000;

/// Why a section was not written to its end.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The registry could not be asked at all, so that there is not even a header.
    Registry(registry::Error),
    /// Standard output cannot be written to.
    Output(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Lists one registry.
pub(crate) async fn list(
    context: &Context,
    output: &mut Output,
    wanted: &Wanted,
    what: What,
    filter: &Rc<RepositoryFilter>,
    source: Source,
) -> Result<(Status, Totals), Failed> {
    let time = Utc::now();
    let unmatched = Rc::default();
    let source = Rc::new(source);
    let mut names = names::look(source.registry.clone(), &wanted.part, Rc::clone(filter), Rc::clone(&unmatched));
    // The header waits for the first word of the registry. One that says nothing has no section: an empty one would look like an empty registry.
    let first = match names.recv().await {
        Some(Name::BrokeOff(error)) => return Err(Failed::Registry(error)),
        first => first,
    };
    let mut listing = Listing { section: Section::new(context, output, wanted, what, time), no_catalog: None, refused: Vec::new() };
    // A catalog is an answer. Where there is none, the first answer is that about a repository.
    if !matches!(wanted.part, Part::Named(_)) && !matches!(first, Some(Name::NoCatalog(_))) {
        listing.begin()?;
    }
    listing.repositories(source, first, names).await?;
    if !listing.section.has_begun()
        && let Some(error) = listing.refused.iter().find_map(|done| done.outcome.as_ref().err())
    {
        return Err(Failed::Registry(error.clone()));
    }
    listing.begin()?;
    for prefix in unmatched.borrow().iter() {
        listing.section.say(format_args!("{}/{prefix}: the catalog names no repository there", wanted.host));
    }
    Ok(listing.section.end()?)
}

struct Listing<'a> {
    section: Section<'a>,
    /// The registry shows no catalog, so that prefixes are taken for the names of repositories.
    no_catalog: Option<String>,
    /// Repositories that were refused while nothing else came: a registry that answers nothing has no section.
    refused: Vec<Done>,
}

/// A repository that is being read, and how many tags it has.
struct Ahead {
    weight: usize,
    reading: JoinHandle<Done>,
}

/// A repository that was read.
struct Done {
    repository: Repository,
    tags: Vec<Tag>,
    dropped: Vec<String>,
    /// The registry knows nothing of it but the name, if that.
    ghost: bool,
    outcome: Result<Found, registry::Error>,
}

/// A repository whose tags were asked for.
type Tagged = (Repository, Result<TagList, registry::Error>);

impl Listing<'_> {
    /// Writes the header, if it was not written yet, and what was refused before it.
    fn begin(&mut self) -> io::Result<()> {
        self.section.begin()?;
        for done in std::mem::take(&mut self.refused) {
            self.write(done)?;
        }
        Ok(())
    }

    /// Writes a repository, or keeps it while the registry answered nothing yet.
    fn take(&mut self, done: Done) -> io::Result<()> {
        match &done.outcome {
            Err(error) if !self.section.has_begun() && (error.is_unreachable() || error.needs_other_credentials()) => {
                self.refused.push(done);
                Ok(())
            }
            _ => {
                self.begin()?;
                self.write(done)
            }
        }
    }

    /// Reads and writes all repositories. Every step that is under way is a task of its own, so that none stands still, and keeps its
    /// place among the requests, while another is waited for.
    async fn repositories(&mut self, source: Rc<Source>, first: Option<Name>, mut names: mpsc::Receiver<Name>) -> io::Result<()> {
        let mut first = first;
        let mut names_ended = false;
        let mut tagging: VecDeque<JoinHandle<Tagged>> = VecDeque::new();
        let mut tagged: Option<Tagged> = None;
        let mut reading: VecDeque<Ahead> = VecDeque::new();
        let mut turn = 0;
        loop {
            if let Some(name) = first.take() {
                if let Name::Repository(repository) = &name {
                    source.progress.tell(format!("requests, {}/{repository}", self.section.host()));
                }
                source.progress.suspend(|| self.begin_with(name, &source, &mut tagging));
            }
            if let Some(next) = tagged.take() {
                let weight = next.1.as_ref().map_or(0, |list| list.tags.len()) + 1;
                let ahead: usize = reading.iter().skip(1).map(|ahead| ahead.weight).sum();
                if reading.is_empty() || ahead + weight <= AHEAD {
                    let source = Rc::clone(&source);
                    let what = self.section.what();
                    reading.push_back(Ahead { weight, reading: tokio::task::spawn_local(finish(source, next, what, turn)) });
                    turn += 1;
                } else {
                    tagged = Some(next);
                }
            }
            let has_room = tagging.len() < source.jobs;
            let (front, waiting) = (reading.front_mut(), tagging.front_mut());
            let (is_reading, is_tagging) = (front.is_some(), waiting.is_some() && tagged.is_none());
            tokio::select! {
                biased;
                done = finished(front.map(|front| &mut front.reading)), if is_reading => {
                    reading.pop_front();
                    let done = done.map_err(io::Error::other)?;
                    let held = done.outcome.as_ref().map_or(0, |found| found.bytes);
                    source.progress.suspend(|| self.take(done))?;
                    source.turns.next(held);
                }
                list = finished(waiting), if is_tagging => {
                    tagging.pop_front();
                    tagged = Some(list.map_err(io::Error::other)?);
                }
                name = names.recv(), if !names_ended && has_room => {
                    first = name;
                    names_ended = first.is_none();
                }
                else => break,
            }
        }
        Ok(())
    }

    /// Begins with what the next name stands for.
    fn begin_with(&mut self, name: Name, source: &Rc<Source>, tagging: &mut VecDeque<JoinHandle<Tagged>>) {
        match name {
            Name::Repository(repository) => {
                let source = Rc::clone(source);
                tagging.push_back(tokio::task::spawn_local(async move {
                    let tags = source.tags(&repository).await;
                    (repository, tags)
                }));
            }
            Name::NoCatalog(error) => {
                self.no_catalog = Some(error.to_string());
                self.section.say(format_args!(
                    "{} shows no catalog ({error}): listed are the repositories of exactly the names given, and nothing below them",
                    self.section.host()
                ));
            }
            Name::BrokeOff(error) => {
                self.section.say(format_args!(
                    "{}: the catalog broke off, so repositories may be missing in this listing: {error}",
                    self.section.host()
                ));
                self.section.lack_names(error.to_string());
            }
            Name::Withheld(names) => {
                if let Some((name, error)) = names.first() {
                    self.section.say(format_args!(
                        "{}/{name} (of {}): the catalog leaves out names like this one, and the registry does not say whether it is a \
                         repository, so it is not listed: {error}",
                        self.section.host(),
                        names.len()
                    ));
                }
            }
            Name::Unlistable(names) => {
                let error =
                    format!("the catalog holds names that no repository can have, such as {:?}", names.first().map_or("", String::as_str));
                self.section.say(format_args!("{}: {error}: they are not listed", self.section.host()));
                self.section.lack_names(error);
            }
        }
    }

    fn write(&mut self, done: Done) -> io::Result<()> {
        if let Some(error) = self.no_catalog.clone().filter(|_| done.ghost) {
            let name = format!("{}/{}", self.section.host(), done.repository);
            self.section
                .say_of_repository(format_args!("{name}: the registry knows no such repository, and shows no catalog of what lies below"));
            // What lies below a prefix cannot be known: this is no empty registry.
            self.section.lack_names(error);
        }
        let Done { repository, tags, dropped, outcome, .. } = done;
        self.section.write(Listed { repository, tags, dropped, outcome: outcome.map_err(|error| error.to_string()) })
    }
}

/// Reads the rest of a repository whose tags are known.
async fn finish(source: Rc<Source>, (repository, tags): Tagged, what: What, turn: u64) -> Done {
    let TagList { tags, dropped, ghost, unknown: _ } = match tags {
        Ok(list) => list,
        Err(error) => return Done { repository, tags: Vec::new(), dropped: Vec::new(), ghost: false, outcome: Err(error) },
    };
    let found = if what == What::Manifests { read::read(&source, &repository, tags.clone(), turn).await } else { Found::default() };
    Done { repository, tags, dropped, ghost, outcome: Ok(found) }
}

/// The end of a task; never, where there is none.
async fn finished<T>(task: Option<&mut JoinHandle<T>>) -> Result<T, JoinError> {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}
