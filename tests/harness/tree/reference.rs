//! A collector written for clarity: it reads an arbitrary tree, damaged or not, and says what is to stay and what is to go.
//!
//! It is the peer of the tool in property tests, and shares nothing with it. Where the oracle knows what was put
//! into a tree, this one knows only what lies there. To the oracle's rules it adds those for what cannot be understood:
//!
//! - A repository is *doubtful* if the link of one of its manifests is no digest, or another than its folder says; or if a manifest
//!   that it links or reaches is there, but is no JSON object, has an unknown media type, or names something that is no digest.
//!   All of its manifests and layers stay then, and all that they reach.
//! - A manifest that is not there is no doubt: an index may be sparse.
//! - A tag whose `current/link` is missing, or is no digest, may have been any of its `index/`: all of these are roots.
//! - A digest under which no bytes lie may be another name of what does: then the repository's link of it contains the digest of the
//!   bytes. Both are needed, and so are both links.
//! - The link of a layer is believed to be what its folder says, except in the case before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::fate::{Fate, Items, Mode};

/// What is to become of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// What stays and what goes.
    pub fate: Fate,
    /// The repositories in which something could not be understood.
    pub doubtful: BTreeSet<String>,
}

/// Judges the tree in this `rootdirectory`.
pub fn judge(root: &Path, mode: Mode) -> Judgement {
    judge_with_uses(root, mode, &BTreeSet::new())
}

/// The same where these digests, of manifests or of their configs, are in use: they are roots in each repository that links them, and so is each
/// index that reaches one.
pub fn judge_with_uses(root: &Path, mode: Mode, used: &BTreeSet<String>) -> Judgement {
    let tree = Disk::read(root);
    let mut judgement = Judgement::default();
    let mut needed_blobs = BTreeSet::new();
    for (name, repository) in &tree.repositories {
        let view = View { tree: &tree, repository };
        let life = view.life(mode, used);
        if life.doubtful {
            judgement.doubtful.insert(name.clone());
        }
        let Fate { stays, goes } = &mut judgement.fate;
        for digest in repository.revisions.keys() {
            let items = if life.manifests.contains(digest) { &mut *stays } else { &mut *goes };
            items.revisions.insert((name.clone(), digest.clone()));
        }
        for digest in repository.layers.keys() {
            let items = if life.named.contains(digest) { &mut *stays } else { &mut *goes };
            items.layer_links.insert((name.clone(), digest.clone()));
        }
        for (tag, Tag { current, index }) in &repository.tags {
            for digest in index {
                let linked = repository.revisions.contains_key(digest) && life.manifests.contains(digest);
                let pointed_to = current.as_ref().is_none_or(|current| current == digest);
                let items = if linked || pointed_to { &mut *stays } else { &mut *goes };
                items.tag_index.insert((name.clone(), tag.clone(), digest.clone()));
            }
        }
        needed_blobs.extend(life.manifests);
        needed_blobs.extend(life.named);
    }
    for (digest, size) in &tree.blobs {
        let Fate { stays, goes } = &mut judgement.fate;
        let Items { blobs, .. } = if needed_blobs.contains(digest) { stays } else { goes };
        blobs.insert(digest.clone(), *size);
    }
    judgement
}

/// What lies on disk.
struct Disk {
    storage: PathBuf,
    blobs: BTreeMap<String, u64>,
    repositories: BTreeMap<String, Repository>,
}

#[derive(Default)]
struct Repository {
    /// By the digest that the folder says; what the link says, if that is a digest.
    revisions: BTreeMap<String, Option<String>>,
    layers: BTreeMap<String, Option<String>>,
    tags: BTreeMap<String, Tag>,
}

struct Tag {
    current: Option<String>,
    index: BTreeSet<String>,
}

impl Disk {
    fn read(root: &Path) -> Self {
        let storage = root.join("docker/registry/v2");
        let mut tree = Self { storage, blobs: BTreeMap::new(), repositories: BTreeMap::new() };
        let blobs = tree.storage.join("blobs");
        for (algorithm, prefix) in folders(&blobs).into_iter().flat_map(|algorithm| names(&blobs.join(&algorithm), &algorithm)) {
            for hex in folders(&blobs.join(&algorithm).join(&prefix)) {
                let digest = format!("{algorithm}:{hex}");
                let data = blobs.join(&algorithm).join(&prefix).join(&hex).join("data");
                if let (true, Ok(found)) = (is_digest(&digest) && hex.starts_with(&prefix), fs::symlink_metadata(data)) {
                    tree.blobs.insert(digest, found.len());
                }
            }
        }
        let mut waiting: Vec<String> = folders(&tree.storage.join("repositories"));
        while let Some(name) = waiting.pop() {
            let folder = tree.storage.join("repositories").join(&name);
            let (own, nested): (Vec<String>, Vec<String>) = folders(&folder).into_iter().partition(|part| part.starts_with('_'));
            waiting.extend(nested.iter().map(|part| format!("{name}/{part}")));
            if !own.is_empty() {
                tree.repositories.insert(name, Repository::read(&folder));
            }
        }
        tree
    }

    fn manifest(&self, digest: &str) -> Manifest {
        let Some((algorithm, hex)) = digest.split_once(':') else { return Manifest::Absent };
        if !self.blobs.contains_key(digest) {
            return Manifest::Absent;
        }
        let path = self.storage.join("blobs").join(algorithm).join(&hex[..2]).join(hex).join("data");
        let named = fs::read(path).ok().and_then(|bytes| Named::by(&bytes));
        named.map_or(Manifest::Unreadable, Manifest::Read)
    }
}

impl Repository {
    fn read(folder: &Path) -> Self {
        let tags = folder.join("_manifests/tags");
        let tag = |name: String| {
            let index = links(&tags.join(&name).join("index")).into_keys().collect();
            let current = link(&tags.join(&name).join("current/link")).flatten();
            (name, Tag { current, index })
        };
        Self {
            revisions: links(&folder.join("_manifests/revisions")),
            layers: links(&folder.join("_layers")),
            tags: folders(&tags).into_iter().map(tag).collect(),
        }
    }
}

/// The links in `<algorithm>/<hex>/link` below a folder.
fn links(folder: &Path) -> BTreeMap<String, Option<String>> {
    let mut links = BTreeMap::new();
    for (algorithm, hex) in folders(folder).into_iter().flat_map(|algorithm| names(&folder.join(&algorithm), &algorithm)) {
        let digest = format!("{algorithm}:{hex}");
        if let (true, Some(content)) = (is_digest(&digest), link(&folder.join(&algorithm).join(&hex).join("link"))) {
            links.insert(digest, content);
        }
    }
    links
}

/// `None` where there is no file, `Some(None)` where it contains no digest.
fn link(path: &Path) -> Option<Option<String>> {
    let found = fs::symlink_metadata(path).ok()?;
    let content = if found.is_file() { fs::read_to_string(path).ok() } else { None };
    Some(content.filter(|content| is_digest(content)))
}

/// The names of the folders in a folder; links to folders are none.
fn folders(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn names(folder: &Path, algorithm: &str) -> Vec<(String, String)> {
    folders(folder).into_iter().map(|name| (algorithm.to_owned(), name)).collect()
}

fn is_digest(text: &str) -> bool {
    let length = match text.split_once(':') {
        Some(("sha256", _)) => 64,
        Some(("sha384", _)) => 96,
        Some(("sha512", _)) => 128,
        _ => return false,
    };
    text[7..].len() == length && text[7..].bytes().all(|sign| matches!(sign, b'0'..=b'9' | b'a'..=b'f'))
}

/// A repository in its tree.
struct View<'a> {
    tree: &'a Disk,
    repository: &'a Repository,
}

/// What lives in a repository.
#[derive(Default)]
struct Life {
    manifests: BTreeSet<String>,
    /// What those name, and where the bytes of that lie.
    named: BTreeSet<String>,
    doubtful: bool,
}

impl View<'_> {
    fn life(&self, mode: Mode, used: &BTreeSet<String>) -> Life {
        let revisions = || self.repository.revisions.keys().cloned();
        let mut roots: BTreeSet<String> = BTreeSet::new();
        for Tag { current, index } in self.repository.tags.values() {
            match current {
                Some(current) => drop(roots.insert(current.clone())),
                None => roots.extend(index.iter().cloned()),
            }
        }
        match mode {
            Mode::KeepUntagged => roots.extend(revisions()),
            Mode::Untagged => roots.extend(revisions().filter(|digest| self.leads_to_use(digest, used, &mut BTreeSet::new()))),
        }
        let life = self.reached(&roots);
        if !(life.doubtful || revisions().any(|digest| self.is_doubtful(&digest))) {
            return life;
        }
        roots.extend(revisions());
        roots.extend(self.repository.revisions.values().flatten().cloned());
        let mut life = self.reached(&roots);
        life.doubtful = true;
        for (digest, content) in &self.repository.layers {
            life.named.insert(digest.clone());
            life.named.extend(content.clone());
        }
        life
    }

    /// What these roots lead to.
    fn reached(&self, roots: &BTreeSet<String>) -> Life {
        let mut life = Life::default();
        let mut waiting: Vec<String> = roots.iter().cloned().collect();
        loop {
            while let Some(digest) = waiting.pop() {
                if !life.manifests.insert(digest.clone()) {
                    continue;
                }
                match self.bytes_of(&digest) {
                    Some(target) if target != digest => waiting.push(target),
                    Some(_) => {}
                    None => life.doubtful = true,
                }
                match self.tree.manifest(&digest) {
                    Manifest::Absent => {}
                    Manifest::Unreadable => life.doubtful = true,
                    Manifest::Read(named) => {
                        life.named.extend(named.blobs.iter().chain(&named.children).cloned());
                        waiting.extend(named.children);
                        waiting.extend(named.blobs.into_iter().filter(|blob| self.repository.revisions.contains_key(blob)));
                    }
                }
            }
            let referrers = self.repository.revisions.keys().filter(|digest| !life.manifests.contains(*digest));
            waiting.extend(referrers.filter(|digest| self.subject_of(digest).is_some_and(|of| life.manifests.contains(&of))).cloned());
            if waiting.is_empty() {
                break;
            }
        }
        let targets: Vec<Option<String>> = life.named.iter().map(|digest| self.bytes_of(digest)).collect();
        life.doubtful |= targets.contains(&None);
        life.named.extend(targets.into_iter().flatten());
        life
    }

    /// The digest by which the bytes of a digest lie: its own, or what the repository's link of it contains. `None` where that is
    /// no digest.
    fn bytes_of(&self, digest: &str) -> Option<String> {
        if self.tree.blobs.contains_key(digest) || digest.starts_with("sha256:") {
            return Some(digest.to_owned());
        }
        let link = self.repository.layers.get(digest).or_else(|| self.repository.revisions.get(digest));
        link.map_or_else(|| Some(digest.to_owned()), Clone::clone)
    }

    fn read(&self, digest: &str) -> Manifest {
        self.tree.manifest(&self.bytes_of(digest).unwrap_or_default())
    }

    fn subject_of(&self, digest: &str) -> Option<String> {
        if let Manifest::Read(named) = self.read(digest) { named.subject } else { None }
    }

    fn is_doubtful(&self, revision: &str) -> bool {
        let content = self.repository.revisions.get(revision).and_then(Option::as_deref);
        content != Some(revision) && content != self.bytes_of(revision).as_deref() || matches!(self.read(revision), Manifest::Unreadable)
    }

    fn leads_to_use(&self, digest: &str, used: &BTreeSet<String>, seen: &mut BTreeSet<String>) -> bool {
        if used.contains(digest) {
            return true;
        }
        let Manifest::Read(named) = self.read(digest) else { return false };
        named.config.is_some_and(|config| used.contains(&config))
            || named.children.iter().any(|child| seen.insert(child.clone()) && self.leads_to_use(child, used, seen))
    }
}

enum Manifest {
    /// No bytes lie there.
    Absent,
    /// Bytes lie there that are no manifest.
    Unreadable,
    Read(Named),
}

/// The digests in a manifest.
#[derive(Default)]
struct Named {
    config: Option<String>,
    blobs: Vec<String>,
    children: Vec<String>,
    subject: Option<String>,
}

const MANIFESTS: [&str; 7] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.artifact.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

impl Named {
    /// By the fields that are there, of whatever kind the manifest is; `None` where that cannot be all that it names.
    fn by(bytes: &[u8]) -> Option<Self> {
        let manifest: Value = serde_json::from_slice(bytes).ok()?;
        let fields = manifest.as_object()?;
        let kind = fields.get("mediaType").filter(|kind| !kind.is_null());
        let known_kind = kind.is_none_or(|kind| kind.as_str().is_some_and(|kind| MANIFESTS.contains(&kind)));
        let known_field = ["config", "layers", "manifests", "blobs", "fsLayers"].iter().any(|field| fields.contains_key(*field));
        if !known_kind || !known_field {
            return None;
        }
        let one = |field: &str| match &manifest[field] {
            Value::Null => Some(None),
            descriptor => digest_in(descriptor, "digest").map(Some),
        };
        let many = |field: &str, key: &str| match &manifest[field] {
            Value::Null => Some(Vec::new()),
            list => {
                list.as_array()?.iter().map(|entry| digest_in(entry, key).map(|digest| (digest, entry["mediaType"].as_str()))).collect()
            }
        };
        let mut named = Self { config: one("config")?, subject: one("subject")?, ..Self::default() };
        named.blobs.extend(named.config.clone());
        for (field, key) in [("layers", "digest"), ("blobs", "digest"), ("fsLayers", "blobSum")] {
            named.blobs.extend(many(field, key)?.into_iter().map(|(digest, _)| digest));
        }
        // An index may list blobs, as a build cache does.
        for (digest, kind) in many("manifests", "digest")? {
            let manifest = kind.is_none_or(|kind| MANIFESTS.contains(&kind));
            if manifest { &mut named.children } else { &mut named.blobs }.push(digest);
        }
        Some(named)
    }
}

fn digest_in(object: &Value, key: &str) -> Option<String> {
    object.as_object()?.get(key)?.as_str().filter(|text| is_digest(text)).map(str::to_owned)
}
