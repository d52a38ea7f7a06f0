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
use common::store::{Problem, layout, repositories, side_by_side};

use crate::examine::read_manifest;
use crate::item::{self, Step};
use crate::living::Read;
use crate::plan::Plan;
use crate::sweep::Sweep;
use crate::trash::{self, RUNS};
use common::beside::restore::{self, Back};

/// Puts back what was written since `began`, and what that needs. Gives back what could not be looked at.
///
/// What lies in the trash is looked at too where a registry `serves`: it may have been about to write into what was moved.
pub(crate) fn put_back(sweep: &Sweep<'_>, began: SystemTime, serves: bool) -> Vec<Problem> {
    let tail = Tail { sweep, plan: sweep.plan, root: sweep.root, trash: sweep.run.folder(), began };
    let mut problems = Vec::new();
    for step in [Step::Layers, Step::Manifests].into_iter().filter(|_| serves) {
        problems.extend(side_by_side::map(
            &tail.plan.repositories,
            || (),
            |(), (name, findings)| {
                let batches = item::of_repository(step, name, findings, &tail.plan.blobs);
                problem(name, batches.iter().try_for_each(|batch| tail.written_in_trash(batch)))
            },
        ));
    }
    let names = repositories::find(tail.root).names;
    problems.extend(side_by_side::map(&names, Vec::new, |buffer, name| problem(name, tail.repository(name, buffer))));
    problems.into_iter().flatten().collect()
}

/// What the system says of a repository.
fn problem(name: &str, result: io::Result<()>) -> Option<Problem> {
    let what =
        |error: io::Error| format!("what was pushed there meanwhile could not be looked at, and may lack what was taken away: {error}");
    result.err().map(|error| Problem::new(layout::repository(name), what(error)))
}

struct Tail<'a, 'b> {
    sweep: &'a Sweep<'b>,
    plan: &'a Plan,
    root: &'a Folder,
    trash: &'a Folder,
    began: SystemTime,
}

impl Tail<'_, '_> {
    /// A registry may have written into what was moved a moment later.
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
            if self.is_taken(&digest) && repository.link_status(layout::LAYERS, &digest)?.is_some() {
                self.blob(&digest)?;
            }
        }
        let mut seen = HashSet::new();
        let mut stack = Vec::new();
        for digest in repository.digests(layout::REVISIONS).names {
            let status = repository.link_status(layout::REVISIONS, &digest)?;
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

    /// Brings the link to a layer back that a push relied on. Only what this repository had: a link gives access, and a manifest may
    /// name what it was never given.
    fn layer_link(&self, name: &str, repository: &Repository, layer: &Digest) -> io::Result<()> {
        self.link_back(name, layout::LAYERS, Reclaimed::LayerLink, repository, layer).map(drop)
    }

    /// Whether a link that was missing is back.
    fn link_back(&self, name: &str, below: &str, what: Reclaimed, repository: &Repository, digest: &Digest) -> io::Result<bool> {
        if repository.link_status(below, digest)?.is_some() {
            return Ok(false);
        }
        let path = format!("{}/{below}/{}", layout::repository(name), layout::of_digest(digest));
        self.back(&record(what, path, Some(name), digest, layout::link_size(digest), "a push relied on it"), None)
    }
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

/// Brings links back that something living lacks, though the layer is there, out of whatever run took them from this very repository: a registry
/// that has in memory what is gone took a push that relied on it.
///
/// # Errors
/// What the system says.
pub(crate) fn put_back_lacking(sweep: &Sweep<'_>) -> io::Result<()> {
    if sweep.plan.repositories.iter().all(|(_, findings)| findings.lacks.is_empty()) {
        return Ok(());
    }
    for kept in trash::kept(sweep.root)? {
        let Some(run) = RUNS.open(sweep.root, &kept.name)? else { continue };
        for (name, findings) in &sweep.plan.repositories {
            for layer in &findings.lacks {
                let path = format!("{}/{}/{}", layout::repository(name), layout::LAYERS, layout::of_digest(layer));
                if restore::put_back(run.folder(), sweep.root, &path, &mut |_, _| Ok(()))? == Back::Restored {
                    let record =
                        record(Reclaimed::LayerLink, path, Some(name), layer, layout::link_size(layer), "something that lives needs it");
                    sweep.record(&record, None);
                }
            }
        }
    }
    Ok(())
}
