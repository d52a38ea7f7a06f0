//! What a plan takes, as things that lie in folders: one folder's things together, in the order in which they may go.
//!
//! Links go before what they lead to, and what names a manifest before the manifest: whoever is interrupted leaves more garbage, and nothing
//! that leads nowhere.

use common::digest::Digest;
use common::record::{Reclaim, ReclaimResult, Reclaimed};
use common::store::blobs::Blobs;
use common::store::layout;

use crate::examine::{Findings, Gone};
use crate::plan::{Plan, parent_of_blob};

/// Things of one folder.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The folder's path, relative to the root.
    pub(crate) folder: String,
    pub(crate) items: Vec<Item>,
}

/// One thing that goes.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) what: Reclaimed,
    /// Its name in the folder of the batch.
    pub(crate) name: String,
    pub(crate) repository: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) digest: Option<Digest>,
    /// Of a blob, its place.
    pub(crate) place: Option<usize>,
    pub(crate) size: u64,
}

impl Item {
    /// Its record.
    pub(crate) fn record(&self, folder: &str, result: ReclaimResult) -> Reclaim {
        Reclaim {
            what: self.what,
            path: format!("{folder}/{}", self.name),
            repository: self.repository.clone(),
            tag: self.tag.clone(),
            digest: self.digest.clone(),
            size: self.size,
            result,
            why: None,
        }
    }
}

/// The steps of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// What tags remember, and manifests.
    Manifests,
    /// Links to layers.
    Layers,
    /// Uploads, and what crashes left.
    Leftovers,
}

/// What goes of a repository in one step.
pub(crate) fn of_repository(step: Step, name: &str, findings: &Findings, blobs: &Blobs) -> Vec<Batch> {
    let mut batches = Batches { repository: name, findings, blobs, batches: Vec::new() };
    match step {
        Step::Manifests => {
            for tag in &findings.tags {
                batches.add(layout::TAGS, batches.item(Reclaimed::TagIndex, tag, Some(tag), 0));
            }
            for (tag, gone) in &findings.tag_index {
                let index = format!("{}/{tag}/{}", layout::TAGS, layout::INDEX);
                batches.links(Reclaimed::TagIndex, &index, Some(tag), gone);
            }
            batches.links(Reclaimed::Revision, layout::REVISIONS, None, &findings.revisions);
        }
        Step::Layers => batches.links(Reclaimed::LayerLink, layout::LAYERS, None, &findings.layers),
        Step::Leftovers => {
            for (upload, size) in &findings.uploads {
                batches.add(layout::UPLOADS, batches.item(Reclaimed::Upload, upload, None, *size));
            }
            for (path, size) in &findings.temporary {
                let (folder, file) = path.rsplit_once('/').unwrap_or((".", path));
                batches.add(folder, batches.item(Reclaimed::Temporary, file, None, *size));
            }
        }
    }
    batches.batches
}

struct Batches<'a> {
    repository: &'a str,
    findings: &'a Findings,
    blobs: &'a Blobs,
    batches: Vec<Batch>,
}

impl Batches<'_> {
    fn item(&self, what: Reclaimed, name: &str, tag: Option<&str>, size: u64) -> Item {
        let repository = Some(self.repository.to_owned());
        Item { what, name: name.to_owned(), repository, tag: tag.map(str::to_owned), digest: None, place: None, size }
    }

    fn add(&mut self, below: &str, item: Item) {
        let folder = format!("{}/{below}", layout::repository(self.repository));
        match self.batches.last_mut() {
            Some(batch) if batch.folder == folder => batch.items.push(item),
            _ => self.batches.push(Batch { folder, items: vec![item] }),
        }
    }

    fn links(&mut self, what: Reclaimed, below: &str, tag: Option<&str>, gone: &[Gone]) {
        for gone in gone {
            let Some((digest, size)) = self.findings.named(*gone, self.blobs) else { continue };
            let item = self.item(what, &digest.hex(), tag, size);
            let folder = format!("{below}/{}", digest.algorithm());
            self.add(&folder, Item { digest: Some(digest), ..item });
        }
    }
}

/// The blobs that go of one run of neighbours, which lie in one folder.
pub(crate) fn of_blobs(plan: &Plan, (first, count): (usize, usize)) -> Option<Batch> {
    let at = |place: usize| plan.loose.partition_point(|(loose, _)| *loose < place);
    let loose = plan.loose.get(at(first)..at(first + count))?;
    let item = |(place, size): &(usize, u64)| {
        let digest = plan.blobs.at(*place)?;
        let name = digest.hex();
        let digest = Some(digest);
        Some(Item { what: Reclaimed::Blob, name, repository: None, tag: None, digest, place: Some(*place), size: *size })
    };
    let items: Vec<Item> = loose.iter().filter_map(item).collect();
    let folder = parent_of_blob(items.first()?.digest.as_ref()?);
    Some(Batch { folder, items })
}

/// The record of a repository of which nothing is left.
pub(crate) fn of_empty(name: &str) -> Reclaim {
    Reclaim {
        what: Reclaimed::Repository,
        path: layout::repository(name),
        repository: Some(name.to_owned()),
        tag: None,
        digest: None,
        size: 0,
        result: ReclaimResult::Planned,
        why: None,
    }
}

/// Stray files beside blobs.
pub(crate) fn of_strays(plan: &Plan) -> Vec<Batch> {
    let batch = |(path, size): &(String, u64)| {
        let (folder, name) = path.rsplit_once('/')?;
        let item =
            Item { what: Reclaimed::Temporary, name: name.to_owned(), repository: None, tag: None, digest: None, place: None, size: *size };
        Some(Batch { folder: folder.to_owned(), items: vec![item] })
    };
    plan.temporary.iter().filter_map(batch).collect()
}
