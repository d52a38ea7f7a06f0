//! The HTTP client: what one registry can be asked (distribution-spec).
//!
//! [`Registry`] is the whole of it; each file beside this one holds one concern:
//!
//! - [`catalog`], [`tags`], [`manifests`], [`blobs`]: what can be read, one noun of the specification a file;
//! - [`mod@write`]: every verb that changes a registry, and the only place for them;
//! - `transport`: one request: tries, time-outs, redirects, limits; `retry` and `page` decide for it without a clock or a socket;
//! - `auth`: challenges and tokens; `credentials`: where user names and passwords come from;
//! - [`settings`], [`error`]: what goes in, and what comes back when nothing does.
//!
//! Knows names and digests; records, JSON Lines and flags are nothing to it.

pub mod blobs;
pub mod catalog;
pub mod error;
pub mod manifests;
pub mod settings;
pub mod tags;
pub mod write;

mod auth;
mod credentials;
mod page;
mod retry;
mod secrets;
#[cfg(test)]
mod testing;
mod transport;

use std::fs::File;
use std::sync::Arc;

use crate::digest::Digest;
use crate::reference::{Host, Repository, Target};

pub use blobs::{Hashed, Presence};
pub use error::Error;
pub use manifests::{Head, Manifest, Served};
pub use settings::{Environment, Settings, Timeouts};
pub use tags::TagList;

/// One registry, ready to be asked. Clones share connections, tokens, and the limit on requests in flight.
#[derive(Debug, Clone)]
pub struct Registry {
    transport: Arc<transport::Transport>,
}

impl Registry {
    /// Prepares to ask the registry at `host`; the first request opens the first connection.
    ///
    /// Hosts that are not loopback are spoken to by TLS, unless `settings` allows plain HTTP.
    pub fn open(host: &Host, settings: &Settings) -> Result<Self, Error> {
        Ok(Self { transport: Arc::new(transport::Transport::new(host, settings)?) })
    }

    /// The registry's name.
    #[must_use]
    pub fn host(&self) -> &Host {
        self.transport.host()
    }

    /// The names of all repositories, page by page.
    #[must_use]
    pub fn catalog(&self) -> catalog::Catalog {
        catalog::Catalog::new(Arc::clone(&self.transport))
    }

    /// All tags of a repository.
    pub async fn tags(&self, repository: &Repository) -> Result<TagList, Error> {
        tags::list(&self.transport, repository).await
    }

    /// A manifest's bytes, verified.
    pub async fn manifest(&self, repository: &Repository, target: &Target) -> Result<Manifest, Error> {
        manifests::get(&self.transport, repository, target).await
    }

    /// A manifest as it is served, of which nothing has been verified.
    pub async fn served(&self, repository: &Repository, target: &Target) -> Result<Served, Error> {
        manifests::serve(&self.transport, repository, target).await
    }

    /// A manifest's digest, type and size.
    pub async fn head(&self, repository: &Repository, target: &Target) -> Result<Head, Error> {
        manifests::head(&self.transport, repository, target).await
    }

    /// A blob of at most `limit` bytes, verified.
    pub async fn blob(&self, repository: &Repository, digest: &Digest, limit: usize) -> Result<Vec<u8>, Error> {
        blobs::get(&self.transport, repository, digest, limit).await
    }

    /// A blob of at most `limit` bytes, of which nothing has been verified.
    pub async fn blob_unverified(&self, repository: &Repository, digest: &Digest, limit: usize) -> Result<Vec<u8>, Error> {
        blobs::unverified(&self.transport, repository, digest, limit).await
    }

    /// Whether the registry says that it has a blob, and of which size; another one than is expected is asked for twice. One with an in-memory cache says so of blobs whose files are gone.
    pub async fn blob_presence(&self, repository: &Repository, digest: &Digest, expected: Option<u64>) -> Result<Presence, Error> {
        blobs::presence(&self.transport, repository, digest, expected).await
    }

    /// What a blob really hashes to, in constant memory; reading stops once there are more bytes than `most`.
    pub async fn blob_hash(&self, repository: &Repository, digest: &Digest, most: u64) -> Result<Hashed, Error> {
        blobs::hash(&self.transport, repository, digest, most).await
    }

    /// How many requests were made so far, each try counted.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.transport.counts().0
    }

    /// How many bytes [`Self::blob_hash`] read so far.
    #[must_use]
    pub fn hashed(&self) -> u64 {
        self.transport.counts().1
    }

    /// Writes a blob into a file, from its beginning, and gives how many bytes came; more than its `size`, where that is known, is an error.
    /// They are not verified, and not synced.
    pub async fn blob_into(&self, repository: &Repository, digest: &Digest, size: Option<u64>, file: &File) -> Result<u64, Error> {
        blobs::write(&self.transport, repository, digest, size.unwrap_or(u64::MAX), file).await
    }

    /// Whether the registry can really hand out a blob: one byte of it is read.
    pub async fn blob_first_byte(&self, repository: &Repository, digest: &Digest) -> Result<bool, Error> {
        blobs::first_byte(&self.transport, repository, digest).await
    }
}
