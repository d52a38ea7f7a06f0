//! One repository of a storage tree: its tags, and every manifest that it has a link to, whatever the tags say.
//!
//! What the registry would answer decides what becomes of a fault: where that is MANIFEST_UNKNOWN or BLOB_UNKNOWN, it is told as over HTTP; where it
//! is an error, or would be if the registry verified what it hands out, the repository was not read whole. What it means is reckoned in
//! `contents`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use common::digest::Digest;
use common::manifest::{ImageConfig, Manifest};
use common::reference::{Repository as Name, Tag};
use common::store::folder::Folder;
use common::store::repository::{Link, Repository};
use common::store::side_by_side::Weighed;
use common::store::{Problem, layout};

use crate::configs::{self, SharedConfigs, Unread};
use crate::contents::{self, Entry, Found};
use crate::section::{Listed, What};

/// The largest manifest that is read: registries take no larger ones (distribution-spec, "Pushing Manifests").
const LARGEST_MANIFEST: usize = 4 << 20;

/// What all repositories of a tree are read with.
pub(crate) struct Tree<'a> {
    /// The open `rootdirectory`.
    pub(crate) root: &'a Folder,
    pub(crate) configs: &'a SharedConfigs,
    pub(crate) what: What,
}

/// What is used again from repository to repository.
#[derive(Default)]
pub(crate) struct Buffers {
    link: Vec<u8>,
    data: Vec<u8>,
}

/// Reads a repository.
pub(crate) fn read(tree: &Tree<'_>, name: &Name, buffers: &mut Buffers) -> Weighed<Listed> {
    let mut listed = Listed { repository: name.clone(), tags: Vec::new(), dropped: Vec::new(), outcome: Ok(Found::default()) };
    let repository = match Repository::open(tree.root, name.as_str()) {
        Ok(Some(repository)) => repository,
        // It went while we looked.
        Ok(None) => return Weighed { result: listed, bytes: 0 },
        Err(error) => {
            listed.outcome = Err(Problem::of_error(layout::repository(name.as_str()), &error).to_string());
            return Weighed { result: listed, bytes: 0 };
        }
    };
    let mut reading = Reading { tree, repository: &repository, buffers, found: Found::default(), bytes: 1000 };
    let names = repository.tags();
    let unlisted = names.problems.iter().find(|problem| problem.path == repository.path_of(layout::TAGS));
    if let Some(problem) = unlisted {
        listed.outcome = Err(problem.to_string());
        return Weighed { result: listed, bytes: 0 };
    }
    reading.note_hidden(names.problems);
    for name in names.names {
        match name.parse() {
            Ok(tag) => listed.tags.push(tag),
            Err(_) => listed.dropped.push(name),
        }
    }
    if tree.what == What::Manifests {
        reading.all(&listed.tags);
    }
    let bytes = reading.bytes + listed.tags.len() * 40;
    listed.outcome = Ok(reading.found);
    Weighed { result: listed, bytes }
}

/// A repository that is being read.
struct Reading<'a> {
    tree: &'a Tree<'a>,
    repository: &'a Repository,
    buffers: &'a mut Buffers,
    found: Found,
    /// About how much all of it holds.
    bytes: usize,
}

impl Reading<'_> {
    fn all(&mut self, tags: &[Tag]) {
        // The tags first, as a push writes them last: what they name is there when the revisions are read.
        let currents: Vec<(&Tag, Result<Option<Digest>, String>)> = tags
            .iter()
            .map(|tag| (tag, self.link(&format!("{}/{tag}/{}", layout::TAGS, layout::CURRENT)).map(|link| link.map(|it| it.0))))
            .collect();
        let revisions = self.repository.digests(layout::REVISIONS);
        let hidden = self.note_hidden(revisions.problems);
        for digest in &revisions.names {
            if let Err(error) = self.revision(digest) {
                self.fail(digest.to_string(), error);
            }
        }
        for (tag, current) in currents {
            self.tag(tag, current, hidden.as_deref());
        }
        if hidden.is_none() {
            // What is not among the revisions is not there. To know that may complete a name of which half was known.
            loop {
                let open = self.found.open_ends();
                if open.is_empty() {
                    break;
                }
                self.found.contents.missing.extend(open);
            }
        }
    }

    /// Puts a tag where it leads. What is `hidden` may be just that.
    fn tag(&mut self, tag: &Tag, current: Result<Option<Digest>, String>, hidden: Option<&str>) {
        let digest = match current {
            Ok(Some(digest)) => digest,
            Ok(None) => return self.found.broken.push(tag.clone()),
            Err(error) => return self.fail(tag.to_string(), error),
        };
        if let Some(entry) = self.found.contents.manifests.get_mut(&digest) {
            entry.tags.insert(tag.clone());
        } else if let Some(error) = self.found.failures.get(&digest.to_string()).cloned() {
            self.fail(tag.to_string(), error);
        } else if let Some(error) = hidden {
            self.fail(tag.to_string(), error.to_owned());
        } else {
            self.found.broken.push(tag.clone());
        }
    }

    /// Reads a manifest and its config, if the repository has it and it is there.
    fn revision(&mut self, digest: &Digest) -> Result<(), String> {
        let path = format!("{}/{}/{}", layout::REVISIONS, layout::of_digest(digest), layout::LINK);
        let Some((target, pushed)) = self.link(&path)? else { return Ok(()) };
        let path = format!("{}/{}", layout::blob(&target), layout::DATA);
        let data = &mut self.buffers.data;
        if !self.tree.root.read(&path, LARGEST_MANIFEST, data).map_err(|error| Problem::of_error(&*path, &error).to_string())? {
            return Ok(());
        }
        if data.len() > LARGEST_MANIFEST {
            return Err(Problem::new(path, format!("has more than the {LARGEST_MANIFEST} bytes that a manifest may have")).to_string());
        }
        if !digest.matches(data) {
            return Err(mismatch(path, digest));
        }
        let manifest = Manifest::parse(data, None).map_err(|error| Problem::new(path, error.to_string()).to_string())?;
        let size = u64::try_from(data.len()).unwrap_or(u64::MAX);
        self.bytes += data.len() + 1000;
        let config = match contents::wanted_config(&manifest).map(|(config, size)| (self.config(&config, size), config)) {
            None => Err("it has none".to_owned()),
            Some((Ok(config), _)) => Ok(config),
            Some((Err(Unread::Image(reason)), _)) => Err(reason),
            Some((Err(Unread::Failure(error)), config)) => {
                self.fail(format!("{digest}, config {config}"), error.clone());
                Err(error)
            }
        };
        self.found.contents.manifests.insert(digest.clone(), Entry { manifest, size, tags: BTreeSet::new(), config, pushed: time(pushed) });
        Ok(())
    }

    /// The config of an image, if the repository has it.
    fn config(&mut self, digest: &Digest, size: u64) -> Result<Arc<ImageConfig>, Unread> {
        configs::check_size(size)?;
        let unknown = || Unread::Image("BLOB_UNKNOWN".to_owned());
        let path = format!("{}/{}/{}", layout::LAYERS, layout::of_digest(digest), layout::LINK);
        let (target, _) = self.link(&path).map_err(Unread::Failure)?.ok_or_else(unknown)?;
        let (root, data) = (self.tree.root, &mut self.buffers.data);
        let config = self.tree.configs.get(digest, || {
            let path = format!("{}/{}", layout::blob(&target), layout::DATA);
            let failure = |problem: Problem| Unread::Failure(problem.to_string());
            if !root.read(&path, configs::LARGEST, data).map_err(|error| failure(Problem::of_error(&*path, &error)))? {
                return Err(unknown());
            }
            if data.len() > configs::LARGEST {
                return Err(failure(Problem::new(path, format!("has more than the {} bytes that a config may have", configs::LARGEST))));
            }
            if !digest.matches(data) {
                return Err(Unread::Failure(mismatch(path, digest)));
            }
            ImageConfig::parse(data).map_err(|error| Unread::Image(error.to_string()))
        })?;
        self.bytes += configs::weight(&config);
        Ok(config)
    }

    /// Where a link leads, and when it was written.
    fn link(&mut self, path: &str) -> Result<Option<(Digest, SystemTime)>, String> {
        match self.repository.link(path, &mut self.buffers.link) {
            Ok((Link::To(digest), Some(status))) => Ok(Some((digest, status.modified))),
            Ok((Link::Damaged(what), _)) => Err(Problem::new(self.repository.path_of(path), what).to_string()),
            Ok((Link::Absent | Link::To(_), _)) => Ok(None),
            Err(error) => Err(Problem::of_error(self.repository.path_of(path), &error).to_string()),
        }
    }

    /// Takes those problems for failures behind which something may lie; the first of them is told.
    fn note_hidden(&mut self, problems: Vec<Problem>) -> Option<String> {
        let mut first = None;
        for Problem { path, what, .. } in problems.into_iter().filter(|problem| problem.hides) {
            first.get_or_insert_with(|| format!("{path}: {what}"));
            self.found.failures.insert(path, what);
        }
        first
    }

    fn fail(&mut self, what: String, why: String) {
        self.found.failures.insert(what, why);
    }
}

fn mismatch(path: String, digest: &Digest) -> String {
    Problem::new(path, format!("the content does not match its digest {digest}: the storage is damaged")).to_string()
}

/// A file's time; what no calendar has is none.
fn time(time: SystemTime) -> Option<DateTime<Utc>> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    DateTime::from_timestamp(i64::try_from(since.as_secs()).ok()?, since.subsec_nanos())
}
