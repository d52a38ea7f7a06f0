//! After a sweep: what was pushed while it went on, and relied on what went, gets it back.
//!
//! A client that asks for a layer and is told that it is there does not send it; a moment later it may be in the trash. So everything that was
//! written since we began to look is looked at again: links in the trash, manifests, and links to layers.

use std::collections::HashSet;
use std::io;
use std::time::SystemTime;

use common::digest::Digest;
use common::record::{Reclaim, ReclaimResult, Reclaimed};
use common::store::blobs::Found;
use common::store::folder::Folder;
use common::store::repository::Repository;
use common::store::{layout, repositories, side_by_side};

use crate::examine::read_manifest;
use crate::item::{self, Step};
use crate::living::Read;
use crate::plan::Plan;
use crate::restore::{self, Back};
use crate::sweep::Sweep;

/// Puts back what was written since `began`, and what that needs.
///
/// # Errors
/// What the system says.
pub(crate) fn put_back(sweep: &Sweep<'_>, began: SystemTime) -> io::Result<()> {
    let tail = Tail { sweep, plan: sweep.plan, root: sweep.root, trash: sweep.run.folder(), began };
    for step in [Step::Layers, Step::Manifests] {
        all(side_by_side::map(
            &tail.plan.repositories,
            || (),
            |(), (name, findings)| {
                item::of_repository(step, name, findings, &tail.plan.blobs).iter().try_for_each(|batch| tail.written_in_trash(batch))
            },
        ))?;
    }
    let names = repositories::find(tail.root).names;
    all(side_by_side::map(&names, Vec::new, |buffer, name| tail.repository(name, buffer)))
}

fn all(results: Vec<io::Result<()>>) -> io::Result<()> {
    results.into_iter().collect()
}

struct Tail<'a, 'b> {
    sweep: &'a Sweep<'b>,
    plan: &'a Plan,
    root: &'a Folder,
    trash: &'a Folder,
    began: SystemTime,
}

impl Tail<'_, '_> {
    /// A registry may have written into what was moved a moment later, or have been about to.
    fn written_in_trash(&self, batch: &item::Batch) -> io::Result<()> {
        let Some(folder) = self.trash.folder(&batch.folder)? else { return Ok(()) };
        for item in &batch.items {
            let below = if item.digest.is_some() { layout::LINK } else { layout::CURRENT };
            let status = folder.status(&format!("{}/{below}", item.name))?;
            if status.is_some_and(|status| status.modified >= self.began) {
                self.back(&Reclaim { why: why("it was written meanwhile"), ..item.record(&batch.folder, ReclaimResult::Restored) }, None)?;
            }
        }
        Ok(())
    }

    fn back(&self, record: &Reclaim, place: Option<usize>) -> io::Result<bool> {
        let back = restore::put_back(self.trash, self.root, &record.path, &mut |_, _| Ok(()))?;
        if back == Back::Restored {
            self.sweep.take_back(record, place);
        }
        Ok(back == Back::Restored)
    }

    fn repository(&self, name: &str, buffer: &mut Vec<u8>) -> io::Result<()> {
        let Some(repository) = Repository::open(self.root, name)? else { return Ok(()) };
        for digest in repository.digests(layout::LAYERS).names {
            if self.is_taken(&digest) && repository.folder().status(&link(layout::LAYERS, &digest))?.is_some() {
                self.blob(&digest)?;
            }
        }
        let mut seen = HashSet::new();
        let mut stack = Vec::new();
        for digest in repository.digests(layout::REVISIONS).names {
            let status = repository.folder().status(&link(layout::REVISIONS, &digest))?;
            if status.is_some_and(|status| status.modified >= self.began) || self.is_taken(&digest) && status.is_some() {
                stack.push(digest);
            }
        }
        while let Some(digest) = stack.pop() {
            if !seen.insert(digest.clone()) {
                continue;
            }
            self.blob(&digest)?;
            let Read::Is(references) = read_manifest(self.root, &self.plan.blobs, &digest, buffer) else { continue };
            for layer in &references.blobs {
                self.blob(layer)?;
                self.layer_link(name, &repository, layer)?;
            }
            for child in references.children {
                // What was not taken needs nothing back.
                if self.link_back(name, layout::REVISIONS, Reclaimed::Revision, &repository, &child)? || self.is_taken(&child) {
                    stack.push(child);
                }
            }
        }
        Ok(())
    }

    fn is_taken(&self, digest: &Digest) -> bool {
        matches!(self.plan.blobs.find(digest), Found::At(place) if self.plan.marks.is_taken(place))
    }

    /// Brings a blob back, if this run took it.
    fn blob(&self, digest: &Digest) -> io::Result<()> {
        let Found::At(place) = self.plan.blobs.find(digest) else { return Ok(()) };
        if !self.plan.marks.is_taken(place) {
            return Ok(());
        }
        let path = layout::blob(digest);
        let size = self.trash.status(&format!("{path}/{}", layout::DATA))?.map_or(0, |data| data.size);
        let record = record(Reclaimed::Blob, path, None, digest, size, "a push relied on it");
        self.back(&record, Some(place)).map(drop)
    }

    /// Brings the link to a layer back, or makes it anew: a push that a cache told of it needs it. Only where the layer is there: some layers
    /// are never in a registry.
    fn layer_link(&self, name: &str, repository: &Repository, layer: &Digest) -> io::Result<()> {
        let there = |path: String| self.root.status(&path).map(|status| status.is_some());
        if !there(format!("{}/{}", layout::blob(layer), layout::DATA))?
            || repository.folder().status(&link(layout::LAYERS, layer))?.is_some()
        {
            return Ok(());
        }
        if self.link_back(name, layout::LAYERS, Reclaimed::LayerLink, repository, layer)? {
            return Ok(());
        }
        restore::make_layer_link(self.root, name, layer)?;
        let path = format!("{}/{}/{}", layout::repository(name), layout::LAYERS, layout::of_digest(layer));
        let record = record(Reclaimed::LayerLink, path, Some(name), layer, layout::link_size(layer), "a push relied on it");
        self.sweep.record(&record, None);
        Ok(())
    }

    /// Whether a link that was missing is back.
    fn link_back(&self, name: &str, below: &str, what: Reclaimed, repository: &Repository, digest: &Digest) -> io::Result<bool> {
        if repository.folder().status(&link(below, digest))?.is_some() {
            return Ok(false);
        }
        let path = format!("{}/{below}/{}", layout::repository(name), layout::of_digest(digest));
        self.back(&record(what, path, Some(name), digest, layout::link_size(digest), "a push relied on it"), None)
    }
}

fn link(below: &str, digest: &Digest) -> String {
    format!("{below}/{}/{}", layout::of_digest(digest), layout::LINK)
}

fn why(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn record(what: Reclaimed, path: String, repository: Option<&str>, digest: &Digest, size: u64, why: &str) -> Reclaim {
    Reclaim {
        what,
        path,
        repository: repository.map(str::to_owned),
        tag: None,
        digest: Some(digest.clone()),
        size,
        result: ReclaimResult::Restored,
        why: Some(why.to_owned()),
    }
}

/// Makes the links that something living lacks, though the layer is there.
///
/// # Errors
/// What the system says.
pub(crate) fn make_lacking(sweep: &Sweep<'_>) -> io::Result<()> {
    for (name, findings) in &sweep.plan.repositories {
        for layer in &findings.lacks {
            restore::make_layer_link(sweep.root, name, layer)?;
            let path = format!("{}/{}/{}", layout::repository(name), layout::LAYERS, layout::of_digest(layer));
            sweep.record(
                &record(Reclaimed::LayerLink, path, Some(name), layer, layout::link_size(layer), "something that lives needs it"),
                None,
            );
        }
    }
    Ok(())
}
