//! Reads one repository: a request for each tag, one for each child or subject that no tag reaches, one for each config that nobody
//! read yet. What it means is reckoned in `contents`; what is said of it, in `section`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use common::cli::Progress;
use common::digest::Digest;
use common::manifest::{ImageConfig, Manifest};
use common::reference::{Repository, Tag, Target};
use common::registry::{self, Registry, TagList};
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::sync::OnceCell;

use crate::configs::{self, Configs, Unread};
use crate::contents::{self, Entry, Found};
use crate::turn::Turns;

/// What all repositories of a registry are read with.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) registry: Registry,
    /// Requests under way at once.
    pub(crate) jobs: usize,
    pub(crate) configs: Rc<Configs>,
    pub(crate) progress: Rc<Progress>,
    pub(crate) turns: Turns,
    /// Why the registry can no longer be asked anything. Then the rest is not tried one by one: each of a hundred thousand requests
    /// would be tried six times.
    down: RefCell<Option<registry::Error>>,
}

impl Source {
    pub(crate) fn new(registry: Registry, jobs: usize, configs: Rc<Configs>, progress: Rc<Progress>) -> Self {
        Self { registry, jobs, configs, progress, turns: Turns::default(), down: RefCell::new(None) }
    }

    /// The tags of a repository.
    pub(crate) async fn tags(&self, repository: &Repository) -> Result<TagList, registry::Error> {
        self.asking(self.registry.tags(repository)).await
    }

    /// Asks, unless the registry is known to be out of reach.
    async fn asking<T>(&self, request: impl Future<Output = Result<T, registry::Error>>) -> Result<T, registry::Error> {
        let down = self.down.borrow().clone();
        if let Some(error) = down {
            return Err(error);
        }
        let answer = request.await;
        if let Err(error) = &answer
            && error.is_unreachable()
        {
            *self.down.borrow_mut() = Some(error.clone());
        }
        answer
    }
}

/// Reads everything that the tags of a repository lead to.
pub(crate) async fn read(source: &Source, repository: &Repository, tags: Vec<Tag>, turn: u64) -> Found {
    let reading = Reading { source, repository, turn, found: RefCell::default(), configs: RefCell::default() };
    // All tags first: what a tag reaches need not be asked for a second time, as a child.
    stream::iter(tags).map(|tag| reading.tag(tag)).buffer_unordered(source.jobs).collect::<()>().await;
    loop {
        let open = reading.found.borrow().open_ends();
        if open.is_empty() {
            break;
        }
        stream::iter(open).map(|digest| reading.digest(digest)).buffer_unordered(source.jobs).collect::<()>().await;
    }
    let mut found = reading.found.into_inner();
    found.broken.sort();
    found
}

/// A repository that is being read.
struct Reading<'a> {
    source: &'a Source,
    repository: &'a Repository,
    turn: u64,
    found: RefCell<Found>,
    configs: RefCell<HashMap<Digest, ConfigCell>>,
}

/// A config as this repository has it, asked for once.
type ConfigCell = Rc<OnceCell<Result<Arc<ImageConfig>, Unread>>>;

impl Reading<'_> {
    async fn tag(&self, tag: Tag) {
        match self.ask(&Target::Tag(tag.clone())).await {
            Ok(manifest) => {
                let digest = manifest.digest.clone();
                self.take(manifest, &tag.to_string()).await;
                if let Some(entry) = self.found.borrow_mut().contents.manifests.get_mut(&digest) {
                    entry.tags.insert(tag);
                }
            }
            Err(error) if error.is_manifest_unknown() => self.found.borrow_mut().broken.push(tag),
            Err(error) => self.fail(tag.to_string(), &error),
        }
    }

    async fn digest(&self, digest: Digest) {
        match self.ask(&Target::Digest(digest.clone())).await {
            Ok(manifest) => self.take(manifest, &digest.to_string()).await,
            Err(error) if error.is_manifest_unknown() => {
                self.found.borrow_mut().contents.missing.insert(digest);
            }
            Err(error) => self.fail(digest.to_string(), &error),
        }
    }

    async fn ask(&self, target: &Target) -> Result<registry::Manifest, registry::Error> {
        self.source.turns.may_read(self.turn).await;
        let answer = self.source.asking(self.source.registry.manifest(self.repository, target)).await;
        self.source.progress.advance();
        answer
    }

    /// Takes in a manifest, if it did not come before by another tag, and reads its config.
    async fn take(&self, served: registry::Manifest, name: &str) {
        if self.found.borrow().contents.manifests.contains_key(&served.digest) {
            return;
        }
        let manifest = match Manifest::parse(&served.bytes, Some(&served.media_type)) {
            Ok(manifest) => manifest,
            Err(error) => return self.fail(name.to_owned(), &format!("what the registry has as manifest {} {error}", served.digest)),
        };
        let size = u64::try_from(served.bytes.len()).unwrap_or(u64::MAX);
        // What is kept of a manifest takes about as much room as its bytes, and an entry in some tables.
        self.hold(served.bytes.len() + 1000);
        drop(served.bytes);
        let wanted = contents::wanted_config(&manifest);
        // It stands there before its config is read, so that a second tag on it does not read it too.
        let entry = Entry { manifest, size, tags: Default::default(), config: Err("it has none".to_owned()), pushed: None };
        self.found.borrow_mut().contents.manifests.insert(served.digest.clone(), entry);
        let Some((wanted, size)) = wanted else { return };
        let config = self.config(&wanted, size).await;
        if let Err(Unread::Failure(error)) = &config {
            self.fail(format!("{name}, config {wanted}"), error);
        }
        if let Some(entry) = self.found.borrow_mut().contents.manifests.get_mut(&served.digest) {
            entry.config = config.map_err(|(Unread::Image(reason) | Unread::Failure(reason))| reason);
        }
    }

    async fn config(&self, digest: &Digest, size: u64) -> Result<Arc<ImageConfig>, Unread> {
        let cell = Rc::clone(self.configs.borrow_mut().entry(digest.clone()).or_default());
        cell.get_or_init(|| self.source.configs.get(digest, async || self.read_config(digest, size).await)).await.clone()
    }

    async fn read_config(&self, digest: &Digest, size: u64) -> Result<ImageConfig, Unread> {
        configs::check_size(size)?;
        let blob = self.source.registry.blob(self.repository, digest, configs::LARGEST);
        match self.source.asking(blob).await {
            Ok(bytes) => {
                let config = ImageConfig::parse(&bytes).map_err(|error| Unread::Image(error.to_string()))?;
                self.hold(configs::weight(&config));
                Ok(config)
            }
            Err(error) if error.is_blob_unknown() => Err(Unread::Image("BLOB_UNKNOWN".to_owned())),
            Err(error) => Err(Unread::Failure(error.to_string())),
        }
    }

    fn hold(&self, bytes: usize) {
        self.found.borrow_mut().bytes += bytes;
        self.source.turns.hold(bytes);
    }

    fn fail(&self, what: String, why: &impl ToString) {
        self.found.borrow_mut().failures.insert(what, why.to_string());
    }
}
