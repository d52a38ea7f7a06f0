//! What is lost, fetched by digest from another registry and verified.

use std::fs::File;
use std::io::{Seek as _, Write as _};

use anyhow::Context as _;
use common::check::content::hash_file;
use common::digest::Digest;
use common::reference::{Host, Repository, Target};
use common::registry::{Registry, Settings};

/// The other registry.
#[derive(Debug)]
pub(crate) struct Mirror {
    runtime: tokio::runtime::Runtime,
    registry: Registry,
    prefix: String,
}

impl Mirror {
    /// The registry at a host, whose repositories lie below a prefix.
    pub(crate) fn open(host: &Host, prefix: String, settings: &Settings) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the client of --from")?;
        let registry = Registry::open(host, settings)?;
        Ok(Self { runtime, registry, prefix })
    }

    /// Writes what has this digest into a file, from the first of the repositories that has it; no more than its `size`, where that is known.
    ///
    /// # Errors
    /// The last thing that went wrong, in a sentence.
    pub(crate) fn fetch(
        &self,
        digest: &Digest,
        is_manifest: bool,
        size: Option<u64>,
        repositories: &[String],
        file: &mut File,
    ) -> Result<(), String> {
        let mut last = format!("no repository is known that has {digest}");
        for repository in repositories {
            let name = if self.prefix.is_empty() { repository.clone() } else { format!("{}/{repository}", self.prefix) };
            let outcome = match name.parse::<Repository>() {
                Ok(name) => self.runtime.block_on(self.one(digest, is_manifest, size, &name, file)),
                Err(error) => Err(error.into()),
            };
            match outcome {
                Ok(()) => return Ok(()),
                Err(error) => last = format!("{error:#}"),
            }
        }
        Err(format!("--from {}: {last}", self.registry.host()))
    }

    async fn one(
        &self,
        digest: &Digest,
        is_manifest: bool,
        size: Option<u64>,
        repository: &Repository,
        file: &mut File,
    ) -> anyhow::Result<()> {
        file.set_len(0)?;
        file.rewind()?;
        if is_manifest {
            let manifest = self.registry.manifest(repository, &Target::Digest(digest.clone())).await?;
            // Verified by the client too; but a schema 1 manifest is known by the digest of a part of it, and would not lie right.
            anyhow::ensure!(digest.matches(&manifest.bytes), "the bytes of {digest} do not hash to it");
            file.write_all(&manifest.bytes)?;
        } else {
            self.registry.blob_into(repository, digest, size, file).await?;
            // What counts is what can be read again.
            file.rewind()?;
            let (size, found) = hash_file(file, digest)?;
            anyhow::ensure!(found == *digest, "{size} bytes came of {digest} that hash to {found}");
        }
        Ok(file.sync_all()?)
    }
}
