//! One section of the output: a registry from its header to its trailer.
//!
//! Repositories are written in the order in which the registry lists them, one after the other, each closed by its record. While
//! one is written the next ones are read already, so that many small repositories keep the registry as busy as a large one. How far
//! ahead is bounded, by tags here and by bytes in `turn`, so that memory is that of the largest repository and a little more.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use chrono::{DateTime, Utc};
use common::cli::{Context, Output, Status};
use common::pattern::RepositoryFilter;
use common::record::{Header, Repository as Closing, Scope, Tag as TagRecord, Trailer};
use common::reference::{Repository, Tag};
use common::registry::{self, TagList};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};

use crate::names::{self, Name};
use crate::operand::{Part, Wanted};
use crate::read::{self, Found, Source};
use crate::totals::Totals;

/// How many tags may be read ahead of the repository that is written next.
const AHEAD: usize = 1000;

/// How many sentences are said about repositories of one registry; the rest is counted.
const SENTENCES: u64 = 10;

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// Everything that the tags lead to.
    Manifests,
    /// The tags' names.
    Tags,
    /// How many tags there are.
    Counts,
}

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
    let mut section = Section {
        context,
        output,
        host: wanted.host.as_str().to_owned(),
        what,
        totals: Totals::default(),
        catalog_error: None,
        no_catalog: None,
        header: Some(header(context, time, wanted)),
        refused: Vec::new(),
        said: 0,
    };
    // A catalog is an answer. Where there is none, the first answer is that about a repository.
    if !matches!(wanted.part, Part::Named(_)) && !matches!(first, Some(Name::NoCatalog(_))) {
        section.begin_section()?;
    }
    section.repositories(source, first, names).await?;
    if section.header.is_some()
        && let Some(error) = section.refused.iter().find_map(|done| done.outcome.as_ref().err())
    {
        return Err(Failed::Registry(error.clone()));
    }
    section.begin_section()?;
    let status = section.trailer(&unmatched.borrow())?;
    Ok((status, section.totals))
}

struct Section<'a> {
    context: &'a Context,
    output: &'a mut Output,
    host: String,
    what: What,
    totals: Totals,
    /// Why the catalog was not read whole.
    catalog_error: Option<String>,
    /// The registry shows no catalog, so that prefixes are taken for the names of repositories.
    no_catalog: Option<String>,
    /// The header, while nothing but refusals came: a registry that answers nothing has no section.
    header: Option<Header>,
    /// Repositories that were refused before the header was written.
    refused: Vec<Done>,
    said: u64,
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

impl Section<'_> {
    /// Writes the header, if it was not written yet, and what was refused before it.
    fn begin_section(&mut self) -> io::Result<()> {
        let Some(header) = self.header.take() else { return Ok(()) };
        self.output.write(&header)?;
        self.output.flush()?;
        for done in std::mem::take(&mut self.refused) {
            self.write(done)?;
        }
        Ok(())
    }

    /// Writes a repository, or keeps it while the registry answered nothing yet.
    fn take(&mut self, done: Done) -> io::Result<()> {
        match &done.outcome {
            Err(error) if self.header.is_some() && (error.is_unreachable() || error.needs_other_credentials()) => {
                self.refused.push(done);
                Ok(())
            }
            _ => {
                self.begin_section()?;
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
                    source.progress.tell(format!("requests, {}/{repository}", self.host));
                }
                source.progress.suspend(|| self.begin(name, &source, &mut tagging));
            }
            if let Some(next) = tagged.take() {
                let weight = next.1.as_ref().map_or(0, |list| list.tags.len()) + 1;
                let ahead: usize = reading.iter().skip(1).map(|ahead| ahead.weight).sum();
                if reading.is_empty() || ahead + weight <= AHEAD {
                    let source = Rc::clone(&source);
                    let what = self.what;
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
    fn begin(&mut self, name: Name, source: &Rc<Source>, tagging: &mut VecDeque<JoinHandle<Tagged>>) {
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
                self.context.say(format_args!(
                    "{} shows no catalog ({error}): listed are the repositories of exactly the names given, and nothing below them",
                    self.host
                ));
            }
            Name::BrokeOff(error) => {
                self.context
                    .say(format_args!("{}: the catalog broke off, so repositories may be missing in this listing: {error}", self.host));
                self.catalog_error = Some(error.to_string());
            }
            Name::Withheld(names) => {
                if let Some((name, error)) = names.first() {
                    self.context.say(format_args!(
                        "{}/{name} (of {}): the catalog leaves out names like this one, and the registry does not say whether it is a \
                         repository, so it is not listed: {error}",
                        self.host,
                        names.len()
                    ));
                }
            }
            Name::Unlistable(names) => {
                let error =
                    format!("the catalog holds names that no repository can have, such as {:?}", names.first().map_or("", String::as_str));
                self.context.say(format_args!("{}: {error}: they are not listed", self.host));
                self.catalog_error = Some(error);
            }
        }
    }

    fn write(&mut self, done: Done) -> io::Result<()> {
        let name = format!("{}/{}", self.host, done.repository);
        let repository = done.repository.as_str();
        if let Some(dropped) = done.dropped.first() {
            self.say(format_args!(
                "{name}: left out what the registry lists and no tag can be called: {dropped:?} (of {})",
                done.dropped.len()
            ));
        }
        if let Some(error) = self.no_catalog.clone().filter(|_| done.ghost) {
            self.say(format_args!("{name}: the registry knows no such repository, and shows no catalog of what lies below"));
            // What lies below a prefix cannot be known: this is no empty registry.
            self.catalog_error = Some(error);
        }
        let mut closing = Closing {
            registry: self.host.clone(),
            repository: repository.to_owned(),
            complete: true,
            error: None,
            tag_count: Some(to_u64(done.tags.len())),
            manifest_count: None,
            image_size: None,
        };
        let with_manifests = self.what == What::Manifests;
        match done.outcome {
            Ok(found) => {
                if with_manifests {
                    for manifest in found.contents.records(&self.host, repository, Utc::now()) {
                        for blob in &manifest.blobs {
                            self.totals.add_blob(blob);
                        }
                        self.output.write(&manifest)?;
                    }
                    closing.manifest_count = Some(to_u64(found.contents.manifests.len()));
                    closing.image_size = Some(found.contents.image_size());
                }
                let (listed, error) = match self.what {
                    What::Manifests => (found.broken.as_slice(), Some("MANIFEST_UNKNOWN")),
                    What::Tags => (done.tags.as_slice(), None),
                    What::Counts => (&[][..], None),
                };
                for tag in listed {
                    self.output.write(&TagRecord {
                        registry: self.host.clone(),
                        repository: repository.to_owned(),
                        tag: tag.to_string(),
                        error: error.map(str::to_owned),
                    })?;
                }
                closing.error = found.error();
            }
            Err(error) => {
                closing.error = Some(error.to_string());
                closing.tag_count = None;
            }
        }
        closing.complete = closing.error.is_none();
        self.totals.repositories += 1;
        self.totals.tags += closing.tag_count.unwrap_or(0);
        self.totals.manifests += closing.manifest_count.unwrap_or(0);
        if let Some(error) = &closing.error {
            self.totals.incomplete += 1;
            let effect = if with_manifests { "could not be read whole, so all of it will be held" } else { "could not be read" };
            self.say(format_args!("{name}: {effect}: {error}; reg-check says what is wrong with it"));
        }
        // The names of the tags are all that is asked for; but a repository that has none to tell must not look like an empty one.
        if self.what != What::Tags || !closing.complete {
            self.output.write(&closing)?;
        }
        self.output.flush()
    }

    /// Says a sentence about a repository, unless there were many.
    fn say(&mut self, text: std::fmt::Arguments<'_>) {
        self.said += 1;
        if self.said <= SENTENCES {
            self.context.say(text);
        }
    }

    fn trailer(&mut self, unmatched: &[Repository]) -> io::Result<Status> {
        for prefix in unmatched {
            self.context.say(format_args!("{}/{prefix}: the catalog names no repository there", self.host));
        }
        if self.said > SENTENCES {
            self.context.say(format_args!("{}: and {} more of this kind, each in its record", self.host, self.said - SENTENCES));
        }
        let complete = self.catalog_error.is_none() && self.totals.incomplete == 0;
        let records = match self.what {
            What::Manifests => self.totals.manifests,
            What::Tags => self.totals.tags,
            What::Counts => self.totals.repositories,
        };
        let totals = self.totals.of_listing(self.what == What::Manifests, self.catalog_error.take());
        self.output.write(&Trailer::new(complete, records, totals))?;
        self.output.flush()?;
        Ok(if complete { Status::Done } else { Status::Partial })
    }
}

fn header(context: &Context, time: DateTime<Utc>, wanted: &Wanted) -> Header {
    let scope = Scope { registry: Some(wanted.host.as_str().to_owned()), prefixes: Some(wanted.part.prefixes()), ..Scope::default() };
    Header::new(context.name(), context.version(), time).with_scope(scope)
}

/// Reads the rest of a repository whose tags are known.
async fn finish(source: Rc<Source>, (repository, tags): Tagged, what: What, turn: u64) -> Done {
    let TagList { tags, dropped, ghost } = match tags {
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

fn to_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
