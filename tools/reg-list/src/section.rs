//! One section of the output: a registry from its header to its trailer, wherever what it tells was read.
//!
//! Repositories come one after the other, each closed by its record. What is read when, and how far ahead, is the business of `served` and
//! `stored`.

use std::io;

use chrono::{DateTime, Utc};
use common::cli::operand::Wanted;
use common::cli::{Context, Output, Status};
use common::record::{Header, Repository as Closing, Scope, Tag as TagRecord, Trailer};
use common::reference::{Repository, Tag};

use crate::contents::Found;
use crate::totals::Totals;

/// How many sentences are said about repositories of one registry; the rest is counted.
const SENTENCES: u64 = 10;

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// Every manifest.
    Manifests,
    /// The tags' names.
    Tags,
    /// How many tags there are.
    Counts,
}

/// A section that is being written.
pub(crate) struct Section<'a> {
    context: &'a Context,
    output: &'a mut Output,
    host: String,
    what: What,
    /// The header, until it is written.
    header: Option<Header>,
    totals: Totals,
    /// Why it is not known which repositories there are.
    catalog_error: Option<String>,
    said: u64,
}

/// A repository that was read.
pub(crate) struct Listed {
    pub(crate) repository: Repository,
    pub(crate) tags: Vec<Tag>,
    /// What stands among the names of tags and can be none.
    pub(crate) dropped: Vec<String>,
    /// What it holds, or why not even its tags are known.
    pub(crate) outcome: Result<Found, String>,
}

impl<'a> Section<'a> {
    /// A section that begins at `time`, of which nothing is written yet.
    pub(crate) fn new(context: &'a Context, output: &'a mut Output, wanted: &Wanted, what: What, time: DateTime<Utc>) -> Self {
        let scope = Scope { registry: Some(wanted.host.as_str().to_owned()), prefixes: Some(wanted.part.prefixes()), ..Scope::default() };
        Self {
            context,
            output,
            host: wanted.host.as_str().to_owned(),
            what,
            header: Some(Header::new(context.name(), context.version(), time).with_scope(scope)),
            totals: Totals::default(),
            catalog_error: None,
            said: 0,
        }
    }

    /// The registry's name in all records.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn what(&self) -> What {
        self.what
    }

    /// Whether the header is written.
    pub(crate) fn has_begun(&self) -> bool {
        self.header.is_none()
    }

    /// Writes the header, if it was not written yet.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        let Some(header) = self.header.take() else { return Ok(()) };
        self.output.write(&header)?;
        self.output.flush()
    }

    /// Notes why it is not known which repositories there are: such a section is not complete.
    pub(crate) fn lack_names(&mut self, error: String) {
        self.catalog_error = Some(error);
    }

    /// Writes a repository.
    pub(crate) fn write(&mut self, listed: Listed) -> io::Result<()> {
        let name = format!("{}/{}", self.host, listed.repository);
        let repository = listed.repository.as_str();
        if let Some(dropped) = listed.dropped.first() {
            self.say_of_repository(format_args!(
                "{name}: left out what the registry lists and no tag can be called: {dropped:?} (of {})",
                listed.dropped.len()
            ));
        }
        let mut closing = Closing {
            registry: self.host.clone(),
            repository: repository.to_owned(),
            complete: true,
            error: None,
            tag_count: Some(to_u64(listed.tags.len())),
            manifest_count: None,
            image_size: None,
        };
        let with_manifests = self.what == What::Manifests;
        match listed.outcome {
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
                let (tags, error) = match self.what {
                    What::Manifests => (found.broken.as_slice(), Some("MANIFEST_UNKNOWN")),
                    What::Tags => (listed.tags.as_slice(), None),
                    What::Counts => (&[][..], None),
                };
                for tag in tags {
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
                closing.error = Some(error);
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
            self.say_of_repository(format_args!("{name}: {effect}: {error}; reg-check says what is wrong with it"));
        }
        // The names of the tags are all that is asked for; but a repository that has none to tell must not look like an empty one.
        if self.what != What::Tags || !closing.complete {
            self.output.write(&closing)?;
        }
        self.output.flush()
    }

    /// Says a sentence about the registry.
    pub(crate) fn say(&self, text: std::fmt::Arguments<'_>) {
        self.context.say(text);
    }

    /// Says a sentence about a repository, unless there were many.
    pub(crate) fn say_of_repository(&mut self, text: std::fmt::Arguments<'_>) {
        self.said += 1;
        if self.said <= SENTENCES {
            self.context.say(text);
        }
    }

    /// Writes the trailer, and the header if nothing came before.
    pub(crate) fn end(mut self) -> io::Result<(Status, Totals)> {
        self.begin()?;
        if self.said > SENTENCES {
            self.context.say(format_args!("{}: and {} more of this kind, each in its record", self.host, self.said - SENTENCES));
        }
        let complete = self.catalog_error.is_none() && self.totals.incomplete == 0;
        let records = match self.what {
            What::Manifests => self.totals.manifests,
            What::Tags => self.totals.tags,
            What::Counts => self.totals.repositories,
        };
        let totals = self.totals.of_listing(self.what == What::Manifests, self.catalog_error);
        self.output.write(&Trailer::new(complete, records, totals))?;
        self.output.flush()?;
        Ok((if complete { Status::Done } else { Status::Partial }, self.totals))
    }
}

fn to_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
