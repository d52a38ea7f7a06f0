//! `--store`: a storage tree, checked without its registry.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::bail;
use chrono::Utc;
use common::beside::source::{self, Asked};
use common::check::choice::{Choice, Sample};
use common::check::judge::{Image, Judged};
use common::check::scene::Buffers;
use common::check::tree::Tree;
use common::check::{self, Depth, Fault};
use common::cli::{Context, Progress};
use common::inventory::Inventory;
use common::pattern::RepositoryFilter;
use common::record::{Problem, Scope};
use common::reference::Host;
use common::store::folder::Folder;
use common::store::side_by_side::{self, Weighed};
use common::store::{layout, repositories};

use crate::absent;
use crate::collect::Batch;
use crate::draft::{Draft, Weight};
use crate::state::{Ran, State};

/// How many bytes may be held of repositories whose turn has not come.
const AHEAD: usize = 32 << 20;

/// What is to be checked, and how.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// Which storage.
    pub(crate) asked: Asked,
    /// The registry's name, where somebody said it.
    pub(crate) registry: Option<Host>,
    pub(crate) depth: Depth,
    /// How many percent of all content are read.
    pub(crate) sample: Option<f64>,
    /// The state of the run before.
    pub(crate) since: Option<PathBuf>,
    pub(crate) filter: &'a RepositoryFilter,
    /// What is in use, where that is known.
    pub(crate) inventory: Option<&'a Inventory>,
}

/// A storage that was found.
#[derive(Debug)]
pub(crate) struct Found {
    root: PathBuf,
    /// Who said where it is.
    said_by: String,
    folder: Folder,
    state: Option<State>,
    /// Why it may be no storage at all.
    hint: Option<String>,
}

/// A storage that was checked.
#[derive(Debug)]
pub(crate) struct Ended {
    /// How many bytes were hashed.
    pub(crate) hashed: u64,
    /// Whether all of the tree could be read.
    pub(crate) complete: bool,
    /// What the next run has to know, and the file where it looks for that.
    state: Option<(PathBuf, State)>,
}

impl Ended {
    /// Writes what the next run has to know.
    pub(crate) fn keep(&self) -> anyhow::Result<()> {
        self.state.as_ref().map_or(Ok(()), |(file, state)| state.write(file))
    }
}

impl Found {
    /// What the header says of it.
    pub(crate) fn scope(&self, wanted: &Wanted<'_>) -> Scope {
        let mut scope = Scope { registry: wanted.registry.as_ref().map(|host| host.as_str().to_owned()), ..Scope::default() };
        let said =
            [("store", self.root.display().to_string()), ("saidBy", self.said_by.clone()), ("depth", wanted.depth.name().to_owned())];
        scope.other.extend(said.map(|(key, value)| (key.to_owned(), value.into())));
        scope
    }
}

impl Wanted<'_> {
    /// Finds the storage and what is known of it.
    pub(crate) fn find(&self, context: &Context) -> anyhow::Result<Found> {
        if self.depth < Depth::Content && (self.sample.is_some() || self.since.is_some()) {
            bail!("--sample and --since choose what content is read, and content is read with --depth content alone");
        }
        let (root, said_by) = match &self.asked {
            Asked { config: None, from_process: None, store: Some(store) } => (store.clone(), format!("--store {}", store.display())),
            asked => {
                let source = source::find(asked)?;
                (source.root, source.said_by)
            }
        };
        let (folder, hint) = source::open_to_read(&root)?;
        if self.inventory.is_some() && self.registry.is_none() {
            context.say("whose storage is it? without --registry HOST it is not told what is in use and not there at all");
        }
        let root = std::path::absolute(&root).unwrap_or(root);
        let state = self.since.as_deref().map(|file| State::read(file, &root)).transpose()?.flatten();
        Ok(Found { root, said_by, folder, state, hint })
    }

    /// Checks the storage, and gives what is found in each repository to `take`, in their order.
    pub(crate) fn check(
        &self,
        context: &Context,
        found: Found,
        mut take: impl FnMut(Batch) -> anyhow::Result<()>,
    ) -> anyhow::Result<Ended> {
        let began = Utc::now();
        let progress = context.progress();
        progress.tell("blobs");
        let tree = Tree::read(found.folder, self.depth);
        let all = repositories::find(tree.root());
        let names: Vec<&String> = all.names.iter().filter(|name| self.filter.selects(name)).collect();
        let hashed = if self.depth == Depth::Content { self.hash(&tree, found.state.as_ref(), &names, &progress) } else { 0 };
        if let Some(hint) = &found.hint {
            take(Batch::of(self.unchecked(hint)))?;
        }
        progress.expect(names.len() as u64);
        progress.tell("repositories");
        let (mut told, mut complete) = (HashSet::new(), found.hint.is_none());
        let is_unread = |fault: &Fault| fault.problem == Problem::Unreadable;
        side_by_side::in_order(
            &names,
            AHEAD,
            Buffers::default,
            |buffers, name| {
                let judged = tree.check(name, buffers).judged;
                let bytes = 300 * (judged.faults.len() + judged.images.len());
                Weighed { result: ((*name).clone(), judged), bytes }
            },
            |(name, judged)| {
                progress.advance();
                told.extend(judged.faults.iter().filter(|fault| is_of_blob(fault)).filter_map(|fault| fault.digest.clone()));
                complete &= !judged.faults.iter().any(is_unread);
                let absent = self.known_uses().map(|(registry, inventory)| {
                    let uses = inventory.of_repository(registry, &name).own;
                    absent::in_repository(registry, &name, &judged, uses.iter().map(|entry| &entry.record))
                });
                let mut batch = self.batch(&name, judged);
                batch.drafts.extend(absent.into_iter().flatten());
                progress.suspend(|| take(batch))
            },
        )?;
        if let Some((registry, inventory)) = self.known_uses() {
            let drafts = absent::repositories(registry, inventory, &all.names, |name| self.filter.selects(name));
            take(Batch { drafts, ..Batch::default() })?;
        }
        // Of some repositories alone it is not known what the others need.
        if self.filter.selects_all() {
            let rest = tree.rest(&all, &told);
            complete &= !rest.iter().any(is_unread);
            take(Batch { drafts: rest.into_iter().map(|fault| self.draft(fault)).collect(), ..Batch::default() })?;
        }
        progress.finish();
        // A folder that is not mounted is empty.
        let is_there = found.hint.is_none() && (tree.has_blobs() || all.names.is_empty());
        let saw_all = self.filter.selects_all() && is_there && tree.knows_all_blobs();
        let ran = Ran { began, saw_all, damaged: tree.damaged().collect(), is_good: &|digest| tree.is_good(digest) };
        let state = self.since.as_ref().and_then(|file| {
            if !saw_all {
                let file = file.display();
                context.say(format_args!("--since {file}: not all of the storage was looked at, and what was not is left to the next run"));
            }
            Some((file.clone(), State::after(found.state, &found.root, &ran)?))
        });
        Ok(Ended { hashed, complete, state })
    }

    /// The registry's name and what is in use, where both are known.
    fn known_uses(&self) -> Option<(&Host, &Inventory)> {
        self.registry.as_ref().zip(self.inventory)
    }

    /// That there was nothing to look at, where a volume that is not mounted looks the same.
    fn unchecked(&self, hint: &str) -> Draft {
        Draft { path: Some(layout::TREE.to_owned()), ..self.own(Problem::NotAsked, Weight::Unknown, hint) }
    }

    fn hash(&self, tree: &Tree, state: Option<&State>, names: &[&String], progress: &Progress) -> u64 {
        let day = Utc::now().timestamp().div_euclid(24 * 60 * 60);
        let mut choice = Choice { among: (!self.filter.selects_all()).then(|| tree.content_of(names)), ..Choice::default() };
        // Before there is a state everything is new.
        if self.since.is_none() || state.is_some() {
            choice.since = state.and_then(|state| state.time.timestamp_nanos_opt());
            choice.sample = self.sample.map(|percent| Sample::of_day(percent, day));
            choice.always = state.map(|state| state.damaged.iter().cloned().collect()).unwrap_or_default();
        }
        progress.tell("content");
        tree.hash(&choice, &|| progress.advance())
    }

    fn batch(&self, name: &str, judged: Judged) -> Batch {
        let healthy = judged.images.iter().filter(|image| image.is_well).count();
        let mut batch = Batch { drafts: Vec::new(), images: judged.images.len() as u64, healthy: healthy as u64 };
        let well = judged.images.into_iter().filter(|image| image.is_well).map(|image| self.well(name, image));
        batch.drafts = judged.faults.into_iter().map(|fault| self.draft(fault)).chain(well).collect();
        batch
    }

    fn draft(&self, fault: Fault) -> Draft {
        let weight = match fault.weight {
            check::Weight::Space => Weight::Space,
            check::Weight::Unknown => Weight::Unknown,
            check::Weight::Stumble => Weight::Stumble,
            check::Weight::Broken => Weight::Broken,
        };
        Draft {
            repository: fault.repository,
            tags: fault.tags,
            digest: fault.digest,
            manifest: fault.manifest,
            platform: fault.platform,
            path: Some(fault.path),
            content: fault.content,
            ..self.own(fault.problem, weight, fault.detail)
        }
    }

    fn well(&self, name: &str, image: Image) -> Draft {
        Draft {
            repository: Some(name.to_owned()),
            tags: image.tag.into_iter().collect(),
            digest: image.digest,
            content: image.content,
            ..self.own(Problem::None, Weight::Well, "it is whole")
        }
    }

    fn own(&self, problem: Problem, weight: Weight, detail: impl Into<String>) -> Draft {
        Draft { registry: self.registry.clone(), ..Draft::new(problem, weight, detail) }
    }
}

/// Whether a fault is one of a blob's content, which is then not told again without a repository.
fn is_of_blob(fault: &Fault) -> bool {
    fault.path.starts_with(layout::BLOBS)
}
