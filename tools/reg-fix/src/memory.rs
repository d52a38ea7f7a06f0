//! What the registry remembers of what is in its storage, and how it is made to forget what went.

use anyhow::Context as _;
use common::beside::cache::{Cache, Forgotten, Place};
use common::beside::source::Source;

use crate::arguments::Args;
use crate::plan::Forget;

/// Where the registry caches descriptors.
#[derive(Debug)]
pub(crate) struct Memory {
    place: Place,
    redis: Option<Cache>,
}

impl Memory {
    /// As the command line says, else as the configuration does. Sees that Redis can be told, before anything goes.
    pub(crate) fn connect(args: &Args, source: &Source) -> anyhow::Result<Self> {
        let place = Place::of(args.redis.as_deref(), args.reaching.ca_file.as_deref(), source)?;
        let redis = match &place {
            Place::Redis(settings) => Some(Cache::connect(settings.clone())?),
            Place::Nowhere | Place::Own { .. } => None,
        };
        Ok(Self { place, redis })
    }

    /// Whether a registry may have in its memory what is not in the storage. Where that cannot be told nothing goes either.
    pub(crate) fn is_own(args: &Args, source: &Source) -> bool {
        matches!(Place::of(args.redis.as_deref(), args.reaching.ca_file.as_deref(), source), Ok(Place::Own { .. }))
    }

    /// Where nothing goes, nothing needs to be forgotten.
    pub(crate) fn none() -> Self {
        Self { place: Place::Nowhere, redis: None }
    }

    /// Whether what went stays remembered until a restart.
    pub(crate) fn needs_restart(&self) -> bool {
        matches!(self.place, Place::Own { .. })
    }

    /// Whether it is in Redis, where a request that looked just before may write once more what is told to be forgotten.
    pub(crate) fn is_shared(&self) -> bool {
        self.redis.is_some()
    }

    /// Tells Redis what is in the storage no more.
    pub(crate) fn forget(&self, items: &[Forget]) -> anyhow::Result<()> {
        let Some(redis) = self.redis.as_ref().filter(|_| !items.is_empty()) else { return Ok(()) };
        let texts: Vec<(Option<&str>, String)> = items
            .iter()
            .map(|item| match item {
                Forget::Blob(digest) => (None, digest.to_string()),
                Forget::Link(repository, digest) => (Some(repository.as_str()), digest.to_string()),
            })
            .collect();
        let keys = texts.iter().map(|(repository, digest)| match repository {
            None => Forgotten::Blob(digest),
            Some(repository) => Forgotten::Link { repository, digest },
        });
        redis.forget(keys).map(drop).context("telling Redis what is gone: flush the cache of the registry")
    }
}

/// That a restart is due.
pub(crate) const RESTART: &str = "RESTART THE REGISTRY before the next push: it may have in memory what was taken away or is lost, and would take pushes of it without it";
