//! What the registry remembers of what is in its storage, and how it is made to forget what went.
//!
//! Distribution caches descriptors: in no way, in its own memory, or in Redis. What stays cached is told to clients as being there, who
//! then do not send it.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::time::SystemTime;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use common::cli::Context;
use common::record::{Reclaim, Reclaimed};
use common::store::folder::Folder;
use rustix::fs::{Mode, OFlags};

use crate::arguments::Args;
use crate::item::{self, Step};
use crate::plan::Plan;
use crate::registry;
use crate::trash::{self, RUNS};
use common::beside::cache::{Cache, Forgotten, Place};
use common::beside::runs::{JOURNAL, Run};
use common::beside::source::Source;

/// How a run's folder says that Redis has forgotten what it took.
const TOLD: &str = "cache-told";
/// How many keys are told of at once.
const CHUNK: usize = 10_000;

/// Where the registry caches descriptors.
#[derive(Debug)]
pub(crate) struct Memory {
    place: Place,
    /// The open connection.
    redis: RefCell<Option<Cache>>,
}

impl Memory {
    /// As the command line says, else as the configuration does.
    pub(crate) fn of(args: &Args, source: &Source) -> anyhow::Result<Self> {
        let place = Place::of(args.redis.as_deref(), args.ca_file.as_deref(), source)?;
        Ok(Self { place, redis: RefCell::new(None) })
    }

    /// Whether what went stays remembered until a restart.
    pub(crate) fn needs_restart(&self) -> bool {
        matches!(self.place, Place::Own { .. })
    }

    /// Whether it is in Redis, where a request that looked just before may write once more what is told to be forgotten.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.place, Place::Redis(_))
    }

    /// Whether that is only assumed.
    pub(crate) fn is_assumed(&self) -> bool {
        matches!(self.place, Place::Own { assumed: true })
    }

    /// When the registry was started, where it matters to what may go: what it has in memory is younger than that.
    pub(crate) fn started(&self, restarted: Option<DateTime<Utc>>, source: &Source) -> Option<Option<SystemTime>> {
        self.needs_restart()
            .then(|| restarted.into_iter().chain(source.process.as_ref().map(|process| process.started)).max().map(SystemTime::from))
    }

    /// Sees that Redis can be told, before anything goes.
    pub(crate) fn connect(&self) -> anyhow::Result<()> {
        if let Place::Redis(settings) = &self.place {
            *self.redis.borrow_mut() = Some(Cache::connect(settings.clone())?);
        }
        Ok(())
    }

    /// Tells Redis what a plan takes. What stayed after all costs a look at the disk.
    pub(crate) fn forget(&self, plan: &Plan, run: &Run) -> anyhow::Result<()> {
        let redis = self.redis.borrow();
        let Some(redis) = redis.as_ref() else { return Ok(()) };
        let mut chunk = Chunk { redis, items: Vec::new() };
        let taken = |path: &str| run.folder().status(path).is_ok_and(|status| status.is_some());
        for step in [Step::Manifests, Step::Layers] {
            for (name, findings) in &plan.repositories {
                for batch in item::of_repository(step, name, findings, &plan.blobs) {
                    for item in batch.items.iter().filter(|item| item.what != Reclaimed::TagIndex) {
                        if let Some(digest) = item.digest.as_ref().filter(|_| taken(&format!("{}/{}", batch.folder, item.name))) {
                            chunk.add(item.what, Some(name), Some(digest.to_string()))?;
                        }
                    }
                }
            }
        }
        for batch in plan.blobs.runs().filter_map(|run| item::of_blobs(plan, run)) {
            for item in batch.items.iter().filter(|item| item.place.is_some_and(|place| plan.marks.is_taken(place))) {
                chunk.add(item.what, None, item.digest.as_ref().map(ToString::to_string))?;
            }
        }
        for (name, _) in plan.repositories.iter().filter(|(_, findings)| findings.is_empty) {
            chunk.add(Reclaimed::Repository, Some(name), None)?;
        }
        chunk.tell()
    }

    /// Notes that Redis has forgotten all that a run took.
    pub(crate) fn told(&self, run: &Run) -> anyhow::Result<()> {
        if self.redis.borrow().is_none() {
            return Ok(());
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(run.folder().fd(), TOLD, flags, Mode::from_raw_mode(0o600));
        made.map(drop).with_context(|| format!("writing {TOLD} of run {}", run.name))
    }

    /// Tells Redis what an earlier run took that was ended before it could do so: its journal holds all that it may have taken.
    pub(crate) fn catch_up(&self, root: &Folder, context: &Context) -> anyhow::Result<()> {
        let redis = self.redis.borrow();
        let Some(redis) = redis.as_ref() else { return Ok(()) };
        for kept in trash::kept(root)? {
            let Some(run) = RUNS.open(root, &kept.name)? else { continue };
            if run.folder().status(TOLD)?.is_some() {
                continue;
            }
            let mut chunk = Chunk { redis, items: Vec::new() };
            let journal = match read_journal(&run) {
                Ok(journal) => journal,
                Err(error) => {
                    context.say(format_args!(
                        "the journal of run {} cannot be read, so that Redis may still have what it took: {error}; flush the cache of the registry",
                        run.name
                    ));
                    Vec::new()
                }
            };
            for record in journal {
                if record.what != Reclaimed::TagIndex {
                    chunk.add(record.what, record.repository.as_deref(), record.digest.map(|digest| digest.to_string()))?;
                }
            }
            chunk.tell()?;
            self.told(&run)?;
        }
        Ok(())
    }

    /// Restarts the registry where it has in memory what went; when that was, where it was done.
    pub(crate) fn restart(
        &self,
        args: &Args,
        source: &Source,
        context: &Context,
        interrupted: &(dyn Fn() -> bool + Sync),
    ) -> anyhow::Result<Option<DateTime<Utc>>> {
        if !self.needs_restart() {
            return Ok(None);
        }
        // The links were gone before it was told to end, so it cannot have seen them since.
        Ok(registry::restart(args, source, context, interrupted)?.then(Utc::now))
    }
}

/// What Redis is to forget, gathered.
struct Chunk<'a> {
    redis: &'a Cache,
    items: Vec<(Reclaimed, String, String)>,
}

impl Chunk<'_> {
    fn add(&mut self, what: Reclaimed, repository: Option<&str>, digest: Option<String>) -> anyhow::Result<()> {
        self.items.push((what, repository.unwrap_or_default().to_owned(), digest.unwrap_or_default()));
        if self.items.len() >= CHUNK { self.tell() } else { Ok(()) }
    }

    fn tell(&mut self) -> anyhow::Result<()> {
        let items = self.items.iter().filter_map(|(what, repository, digest)| match what {
            Reclaimed::Blob => Some(Forgotten::Blob(digest)),
            Reclaimed::Revision | Reclaimed::LayerLink => Some(Forgotten::Link { repository, digest }),
            Reclaimed::Repository => Some(Forgotten::Repository(repository)),
            Reclaimed::TagIndex | Reclaimed::Upload | Reclaimed::Temporary => None,
        });
        self.redis.forget(items).context("telling Redis what is gone; the next run with --yes tells it again")?;
        self.items.clear();
        Ok(())
    }
}

/// The records of a run's journal; a line that was cut announces nothing that was done.
pub(crate) fn read_journal(run: &Run) -> io::Result<Vec<Reclaim>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(run.folder().fd(), JOURNAL, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut records = Vec::new();
    for line in BufReader::new(file).split(b'\n') {
        records.extend(serde_json::from_slice::<Reclaim>(&line?).ok());
    }
    Ok(records)
}
