//! Puts manifests back, byte for byte, and believes it only when it has read them again.
//!
//! A registry with an in-memory cache answers 200 for blobs that its collector took, and 201 for a manifest whose bytes it throws away.
//! So one byte of every blob is read before, and the manifest after, and tags are set last: a tag that leads nowhere is worse than
//! none.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::io;

use common::digest::Digest;
use common::record::{Deletion, DeletionAction, DeletionResult};
use common::reference::{Tag, Target};
use common::registry::{Error, Registry, write};
use futures_util::{StreamExt as _, stream};

use crate::carry_out::Run;
use crate::survey::look;
use crate::undo::{Back, Content, Lost, Restoration};
use crate::work::{Place, record};

/// What is put back where the journal does not say: what most manifests are.
const MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// Puts back what belongs to one repository; gives those that are back, each with the tags that name it.
///
/// # Errors
/// A journal that cannot be written.
pub(crate) async fn put_back<'a>(run: &Run<'_>, registry: &Registry, wanted: &'a Restoration, force: bool) -> io::Result<Vec<Back<'a>>> {
    let repository = Repository { run, registry, place: &wanted.place, force, blobs: RefCell::default() };
    let mut back = Vec::new();
    for lost in &wanted.manifests {
        back.extend(repository.put_back(lost).await?.map(|tags| Back { lost, tags }));
    }
    Ok(back)
}

struct Repository<'a> {
    run: &'a Run<'a>,
    registry: &'a Registry,
    place: &'a Place,
    force: bool,
    /// Blobs that were read already.
    blobs: RefCell<HashSet<Digest>>,
}

/// What is to be done with the tags of a manifest that is there.
#[derive(Default)]
struct Tags {
    set: BTreeSet<Tag>,
    /// Those that name another manifest now.
    moved: Vec<(Tag, Digest)>,
}

impl Repository<'_> {
    /// Puts one manifest back; gives the tags that name it then, or nothing where it is not there.
    async fn put_back(&self, lost: &Lost) -> io::Result<Option<BTreeSet<Tag>>> {
        let content = match &lost.content {
            Ok(content) => content,
            Err(why) => return self.fail(lost, why.clone()),
        };
        let there = match self.is_there(lost, content).await {
            Ok(there) => there,
            Err(error) => return self.fail(lost, error.to_string()),
        };
        if !there && let Err(why) = self.blobs_are_there(content).await {
            return self.fail(lost, why);
        }
        let tags = match self.tags(lost).await {
            Ok(tags) => tags,
            Err(error) => return self.fail(lost, error.to_string()),
        };
        if !there || !tags.set.is_empty() {
            self.run.journal.borrow_mut().started(self.record(lost, DeletionResult::Started, lost_why(there), &tags.set))?;
            if let Err(why) = self.put(lost, content, there, &tags.set).await {
                return self.fail(lost, why);
            }
            self.run.result(self.record(lost, DeletionResult::Restored, lost_why(there), &tags.set))?;
        } else if tags.moved.is_empty() {
            self.run.result(self.record(lost, DeletionResult::Skipped, "it is there already, with all of its tags", &lost.tags))?;
        }
        let mut there = lost.tags.clone();
        for (tag, digest) in tags.moved {
            there.remove(&tag);
            let why = format!("the tag {tag} names {} now, and is left alone without --force", digest.short());
            self.run.result(self.record(lost, DeletionResult::Skipped, &why, &BTreeSet::from([tag])))?;
        }
        Ok(Some(there))
    }

    fn record(&self, lost: &Lost, result: DeletionResult, why: &str, tags: &BTreeSet<Tag>) -> Deletion {
        record(self.place, &lost.digest, DeletionAction::Restore, result, why.to_owned(), tags, &lost.media_type)
    }

    fn fail(&self, lost: &Lost, why: String) -> io::Result<Option<BTreeSet<Tag>>> {
        self.run.result(self.record(lost, DeletionResult::Failed, &why, &lost.tags))?;
        Ok(None)
    }

    /// Whether the manifest is there: only its bytes prove it.
    async fn is_there(&self, lost: &Lost, content: &Content) -> Result<bool, Error> {
        match self.registry.manifest(&self.place.repository, &Target::Digest(lost.digest.clone())).await {
            Ok(manifest) => Ok(manifest.bytes == content.bytes),
            Err(error) if error.is_manifest_unknown() || error.is_name_unknown() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn blobs_are_there(&self, content: &Content) -> Result<(), String> {
        let unread: Vec<&Digest> = {
            let read = self.blobs.borrow();
            content.blobs.iter().filter(|digest| !read.contains(*digest)).collect()
        };
        let mut answers = stream::iter(unread)
            .map(|digest| async move { (digest, self.registry.blob_first_byte(&self.place.repository, digest).await) })
            .buffer_unordered(self.run.jobs);
        while let Some((digest, answer)) = answers.next().await {
            match answer {
                Ok(true) => {
                    self.blobs.borrow_mut().insert(digest.clone());
                }
                Ok(false) => {
                    return Err(format!(
                        "its blob {digest} is gone: the registry's storage was collected; if that was by reg-gc, run reg-gc --undo before this"
                    ));
                }
                Err(error) => return Err(format!("whether its blob {} is there is not known: {error}", digest.short())),
            }
        }
        Ok(())
    }

    async fn tags(&self, lost: &Lost) -> Result<Tags, Error> {
        let mut tags = Tags::default();
        for tag in &lost.tags {
            match look(self.registry, self.place, &Target::Tag(tag.clone()), true).await? {
                Some(head) if head.digest == lost.digest => {}
                Some(head) if !self.force => tags.moved.push((tag.clone(), head.digest)),
                _ => {
                    tags.set.insert(tag.clone());
                }
            }
        }
        Ok(tags)
    }

    async fn put(&self, lost: &Lost, content: &Content, there: bool, tags: &BTreeSet<Tag>) -> Result<(), String> {
        let repository = &self.place.repository;
        let media_type = lost.media_type.as_deref().unwrap_or(MEDIA_TYPE);
        let by_digest = Target::Digest(lost.digest.clone());
        if !there {
            write::put_manifest(self.registry, repository, &by_digest, media_type, &content.bytes)
                .await
                .map_err(|error| error.to_string())?;
            let good = self.is_there(lost, content).await.map_err(|error| error.to_string())?;
            if !good {
                return Err(
                    "the registry took the manifest and does not have it: its cache remembers blobs that its collector took; restart it, \
                            or empty its cache, and run --undo again"
                        .to_owned(),
                );
            }
        }
        for tag in tags {
            let target = Target::Tag(tag.clone());
            write::put_manifest(self.registry, repository, &target, media_type, &content.bytes).await.map_err(|error| error.to_string())?;
            match look(self.registry, self.place, &target, false).await {
                Ok(Some(head)) if head.digest == lost.digest => {}
                Ok(_) => return Err(format!("the registry took the tag {tag}, and it does not name the manifest")),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }
}

fn lost_why(there: bool) -> &'static str {
    if there { "undo: its tags were missing" } else { "undo" }
}
