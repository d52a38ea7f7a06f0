//! `--store`: a storage tree, checked without its registry.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::bail;
use chrono::Utc;
use common::beside::source::{self, Asked};
use common::check::content::{Choice, Sample};
use common::check::judge::{Image, Judged};
use common::check::scene::Buffers;
use common::check::tree::Tree;
use common::check::{self, Depth, Fault};
use common::cli::Context;
use common::pattern::RepositoryFilter;
use common::record::{Problem, Scope};
use common::reference::Host;
use common::store::side_by_side::{self, Weighed};
use common::store::{layout, repositories};

use crate::collect::Batch;
use crate::draft::{Draft, Weight};
use crate::state::State;

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
}

/// A storage that was found.
#[derive(Debug)]
pub(crate) struct Found {
    root: PathBuf,
    /// Who said where it is.
    said_by: String,
    folder: common::store::folder::Folder,
    state: Option<State>,
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
        if let Some(hint) = hint {
            context.say(hint);
        }
        let root = std::path::absolute(&root).unwrap_or(root);
        let state = self.since.as_deref().map(|file| State::read(file, &root)).transpose()?.flatten();
        Ok(Found { root, said_by, folder, state })
    }

    /// Checks the storage, and gives what is found in each repository to `take`, in their order; gives how many bytes were hashed, and
    /// whether all of the tree could be read.
    pub(crate) fn check(
        &self,
        context: &Context,
        found: Found,
        mut take: impl FnMut(Batch) -> anyhow::Result<()>,
    ) -> anyhow::Result<(u64, bool)> {
        let began = Utc::now();
        let progress = context.progress();
        progress.tell("blobs");
        let tree = Tree::read(found.folder, self.depth);
        let hashed = if self.depth == Depth::Content { self.hash(&tree, found.state.as_ref(), &progress) } else { 0 };

        let all = repositories::find(tree.root());
        let names: Vec<&String> = all.names.iter().filter(|name| self.filter.selects(name)).collect();
        progress.expect(names.len() as u64);
        progress.tell("repositories");
        let (mut told, mut complete) = (HashSet::new(), true);
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
                let batch = self.batch(&name, judged);
                progress.suspend(|| take(batch))
            },
        )?;
        // Of some repositories alone it is not known what the others need.
        if self.filter.selects_all() {
            let rest = tree.rest(&all, &told);
            complete &= !rest.iter().any(is_unread);
            take(Batch { drafts: rest.into_iter().map(|fault| self.draft(fault)).collect(), ..Batch::default() })?;
        }
        progress.finish();
        if let Some(file) = &self.since {
            State::new(&found.root, began, tree.damaged().collect()).write(file)?;
        }
        Ok((hashed, complete))
    }

    fn hash(&self, tree: &Tree, state: Option<&State>, progress: &common::cli::Progress) -> u64 {
        let day = Utc::now().timestamp().div_euclid(24 * 60 * 60);
        let choice = Choice {
            since: state.and_then(|state| state.time.timestamp_nanos_opt()),
            // Before there is a state everything is new, and a sample says that not all of it can be read in one night.
            sample: self.sample.map(|percent| Sample::of_day(percent, day)),
            always: state.map(|state| state.damaged.iter().cloned().collect()).unwrap_or_default(),
        };
        progress.tell("content");
        tree.hash(&choice, &|| progress.advance()).bytes
    }

    fn batch(&self, name: &str, judged: Judged) -> Batch {
        let healthy = judged.images.iter().filter(|image| image.is_well).count();
        let mut batch = Batch { drafts: Vec::new(), images: judged.images.len() as u64, healthy: healthy as u64 };
        let well = judged.images.into_iter().filter(|image| image.is_well).map(|image| self.well(name, image));
        batch.drafts = judged.faults.into_iter().map(|fault| self.draft(fault)).chain(well).collect();
        batch
    }

    fn draft(&self, fault: Fault) -> Draft {
        Draft {
            registry: self.registry.clone(),
            repository: fault.repository,
            tags: fault.tags,
            digest: fault.digest,
            manifest: fault.manifest,
            platform: fault.platform,
            path: Some(fault.path),
            content: fault.content,
            problem: fault.problem,
            weight: match fault.weight {
                check::Weight::Space => Weight::Space,
                check::Weight::Unknown => Weight::Unknown,
                check::Weight::Stumble => Weight::Stumble,
                check::Weight::Broken => Weight::Broken,
            },
            detail: fault.detail,
        }
    }

    fn well(&self, name: &str, image: Image) -> Draft {
        Draft {
            registry: self.registry.clone(),
            repository: Some(name.to_owned()),
            tags: image.tag.into_iter().collect(),
            digest: image.digest,
            manifest: None,
            platform: None,
            path: None,
            content: image.content,
            problem: Problem::None,
            weight: Weight::Well,
            detail: "it is whole".to_owned(),
        }
    }
}

/// Whether a fault is one of a blob's content, which is then not told again without a repository.
fn is_of_blob(fault: &Fault) -> bool {
    fault.path.starts_with(layout::BLOBS)
}
