//! All that lies in one repository: its links, and the manifests to which they lead. Read, and not judged.

use std::collections::BTreeMap;
use std::io;
use std::time::SystemTime;

use crate::digest::Digest;
use crate::manifest::{self, Manifest};
use crate::store::blobs::Blobs;
use crate::store::folder::{Folder, Kind};
use crate::store::repository::{Link, Repository, link};
use crate::store::{Problem, layout, side_by_side};

/// From how many links on they are read by several threads: one repository may have most of a tree.
const MANY: usize = 1000;

/// The largest manifest that is read: registries take no larger ones (distribution-spec, "Pushing Manifests").
pub const LARGEST_MANIFEST: usize = 4 << 20;

/// What one repository holds.
#[derive(Debug, Default)]
pub struct Scene {
    /// Its name.
    pub name: String,
    /// Whether it has a folder `_layers`.
    pub has_layers: bool,
    /// Whether it has a folder `_manifests`.
    pub has_manifests: bool,
    /// Its tags.
    pub tags: BTreeMap<String, Tag>,
    /// The links below `_manifests/revisions`, by the digests of their folders.
    pub revisions: BTreeMap<Digest, Leaf>,
    /// The links below `_layers`.
    pub layers: BTreeMap<Digest, Leaf>,
    /// Every manifest that a link, a tag or an index of the repository names, as it lies among the blobs.
    pub manifests: BTreeMap<Digest, Content>,
    /// Its uploads: the paths of their folders, and when each last moved.
    pub uploads: Vec<(String, Option<SystemTime>)>,
    /// What does not belong there, and what could not be read.
    pub problems: Vec<Problem>,
}

/// A tag.
#[derive(Debug, PartialEq, Eq)]
pub struct Tag {
    /// What it names.
    pub current: Leaf,
    /// What it ever named.
    pub index: BTreeMap<Digest, Leaf>,
}

/// The folder of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// What the link says.
    pub link: Said,
    /// When it was written; where there is no file, when its folder was changed last.
    pub written: Option<SystemTime>,
}

/// What a link says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// There is no file.
    Absent,
    /// It names this digest.
    Names(Digest),
    /// The file is empty.
    Empty,
    /// It is no digest; the sentence says what it is.
    Garbled(String),
    /// It could not be read.
    Unreadable(String),
}

impl Said {
    /// Whether it is the link that belongs into the folder of this digest. A manifest may be known by a digest of another algorithm than the
    /// one that its content lies under.
    #[must_use]
    pub fn is_of(&self, digest: &Digest) -> bool {
        matches!(self, Self::Names(named) if named == digest || named.algorithm() != digest.algorithm())
    }
}

/// What lies under the digest of a manifest.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Nothing.
    Absent,
    /// Something that does not hash to its digest.
    Corrupt(String),
    /// Bytes that hash right and are no manifest.
    Invalid(String),
    /// A manifest.
    Whole {
        /// What it says.
        manifest: Box<Manifest>,
        /// Where it breaks the schema of its kind.
        violations: Vec<String>,
        /// Why a registry cannot read it.
        refusal: Option<String>,
        /// How many bytes it has.
        size: u64,
    },
    /// It could not be read.
    Unreadable(String),
}

impl Content {
    /// What it says.
    #[must_use]
    pub fn manifest(&self) -> Option<&Manifest> {
        match self {
            Self::Whole { manifest, .. } => Some(manifest),
            _ => None,
        }
    }
}

/// What is used again from repository to repository.
#[derive(Debug, Default)]
pub struct Buffers {
    pub(super) link: Vec<u8>,
    pub(super) data: Vec<u8>,
}

impl Scene {
    /// Reads a repository below `root`, the open `rootdirectory`, whose blobs are `blobs`; `None` where it is gone.
    ///
    /// # Errors
    /// That it cannot be opened; what cannot be read within it is one of its problems.
    pub fn read(root: &Folder, blobs: &Blobs, name: &str, buffers: &mut Buffers) -> Result<Option<Self>, Problem> {
        let opened = Repository::open(root, name).map_err(|error| Problem::of_error(layout::repository(name), &error))?;
        let Some(repository) = opened else { return Ok(None) };
        let mut reading =
            Reading { root, blobs, repository: &repository, buffers, scene: Self { name: name.to_owned(), ..Self::default() } };
        reading.all();
        Ok(Some(reading.scene))
    }

    /// The path of something in it, relative to the root.
    #[must_use]
    pub fn path_of(&self, below: &str) -> String {
        format!("{}/{below}", layout::repository(&self.name))
    }
}

/// The path of the link of a digest below one of a repository's folders.
#[must_use]
pub fn link_of(below: &str, digest: &Digest) -> String {
    format!("{below}/{}/{}", layout::of_digest(digest), layout::LINK)
}

/// The path of what a tag names.
#[must_use]
pub fn current_of(tag: &str) -> String {
    format!("{}/{tag}/{}", layout::TAGS, layout::CURRENT)
}

/// The folder of what a tag ever named.
#[must_use]
pub fn index_of(tag: &str) -> String {
    format!("{}/{tag}/{}", layout::TAGS, layout::INDEX)
}

struct Reading<'a> {
    root: &'a Folder,
    blobs: &'a Blobs,
    repository: &'a Repository,
    buffers: &'a mut Buffers,
    scene: Scene,
}

impl Reading<'_> {
    fn all(&mut self) {
        self.own_folder();
        // The tags first, as a push writes them last: what they name is there when the revisions are read.
        let tags = self.repository.tags();
        self.scene.problems.extend(tags.problems);
        for tag in tags.names {
            if tag.parse::<crate::reference::Tag>().is_err() {
                let path = self.repository.path_of(&format!("{}/{tag}", layout::TAGS));
                self.scene.problems.push(Problem::new(path, "does not belong there: no tag can have this name"));
                continue;
            }
            let read = self.tag(&tag);
            self.scene.tags.insert(tag, read);
        }
        self.scene.revisions = self.leaves(layout::REVISIONS);
        self.scene.layers = self.leaves(layout::LAYERS);
        self.manifests();
        self.uploads();
    }

    /// What lies directly in the repository and in `_manifests`.
    fn own_folder(&mut self) {
        let scene = &mut self.scene;
        let mut manifests = false;
        let listed = self.repository.folder().list(|name, kind| match (name, kind) {
            (b"_layers", Kind::Folder) => scene.has_layers = true,
            (b"_manifests", Kind::Folder) => manifests = true,
            (b"_uploads", Kind::Folder) => {}
            (b"_layers" | b"_manifests" | b"_uploads", _) => {
                let path = format!("{}/{}", layout::repository(&scene.name), String::from_utf8_lossy(name));
                scene.problems.push(Problem::new(path, "is no folder, and is not followed").hiding());
            }
            // Folders of other names are repositories of their own, or lead to some.
            (_, Kind::Folder) => {}
            (name, kind) => scene.problems.push(stray(&layout::repository(&scene.name), name, kind)),
        });
        scene.has_manifests = manifests;
        if let Err(error) = listed {
            scene.problems.push(Problem::of_error(layout::repository(&scene.name), &error));
        }
        if manifests {
            self.strays(layout::MANIFESTS, |name| matches!(name, b"revisions" | b"tags"));
        }
    }

    fn tag(&mut self, tag: &str) -> Tag {
        let folder = format!("{}/{tag}", layout::TAGS);
        self.strays(&folder, |name| matches!(name, b"current" | b"index"));
        let (repository, buffer, problems) = (self.repository, &mut self.buffers.link, &mut self.scene.problems);
        let current = leaf(repository, &format!("{folder}/current"), false, buffer, problems);
        let index = self.leaves(&index_of(tag));
        Tag { current, index }
    }

    /// The links in the folders of digests, several at once where there are many.
    fn leaves(&mut self, below: &str) -> BTreeMap<Digest, Leaf> {
        let digests = self.repository.digests(below);
        self.scene.problems.extend(digests.problems);
        let (repository, may_be_signed) = (self.repository, below == layout::REVISIONS);
        let read = |buffer: &mut Vec<u8>, digest: &Digest| {
            let mut problems = Vec::new();
            let leaf = leaf(repository, &format!("{below}/{}", layout::of_digest(digest)), may_be_signed, buffer, &mut problems);
            (leaf, problems)
        };
        let leaves: Vec<(Leaf, Vec<Problem>)> = if digests.names.len() < MANY {
            digests.names.iter().map(|digest| read(&mut self.buffers.link, digest)).collect()
        } else {
            side_by_side::map(&digests.names, Vec::new, read)
        };
        let mut found = BTreeMap::new();
        for (digest, (leaf, problems)) in digests.names.into_iter().zip(leaves) {
            self.scene.problems.extend(problems);
            found.insert(digest, leaf);
        }
        found
    }

    /// Everything that the repository names as a manifest, in whatever way, and what these name in turn.
    fn manifests(&mut self) {
        let named = |leaf: &Leaf| match &leaf.link {
            Said::Names(digest) => Some(digest.clone()),
            _ => None,
        };
        let mut wanted: Vec<(Digest, Digest)> = Vec::new();
        for (digest, leaf) in &self.scene.revisions {
            // The content may lie under the digest of another algorithm, and the link says under which.
            let at = named(leaf).filter(|_| leaf.link.is_of(digest)).unwrap_or_else(|| digest.clone());
            wanted.push((digest.clone(), at));
        }
        for tag in self.scene.tags.values() {
            wanted.extend(named(&tag.current).map(|digest| (digest.clone(), digest)));
            wanted.extend(tag.index.keys().map(|digest| (digest.clone(), digest.clone())));
        }
        while let Some((digest, at)) = wanted.pop() {
            if self.scene.manifests.contains_key(&digest) {
                continue;
            }
            let content = self.content(&digest, &at);
            if let Some(manifest) = content.manifest() {
                wanted.extend(manifest.children.iter().map(|child| (child.digest.clone(), child.digest.clone())));
            }
            self.scene.manifests.insert(digest, content);
        }
    }

    /// What lies under a digest.
    fn content(&mut self, digest: &Digest, at: &Digest) -> Content {
        let data = &mut self.buffers.data;
        match self.blobs.read_data(self.root, at, LARGEST_MANIFEST, data) {
            Ok(false) => return Content::Absent,
            Ok(true) => {}
            Err(error) => return Content::Unreadable(Problem::of_error(data_of(at), &error).what),
        }
        if data.len() > LARGEST_MANIFEST {
            return Content::Corrupt(format!("has more than the {LARGEST_MANIFEST} bytes that a manifest may have"));
        }
        if !digest.matches(data) {
            return Content::Corrupt(match data.len() {
                0 => "is empty".to_owned(),
                bytes => format!("has {bytes} bytes that do not hash to its digest"),
            });
        }
        match Manifest::parse(data, None) {
            Ok(manifest) => {
                let (violations, refusal) = (manifest::violations(None, data), manifest::refusal(data));
                Content::Whole { manifest: Box::new(manifest), violations, refusal, size: data.len() as u64 }
            }
            Err(error) => Content::Invalid(error.to_string()),
        }
    }

    fn uploads(&mut self) {
        let folder = match self.repository.folder().folder(layout::UPLOADS) {
            Ok(Some(folder)) => folder,
            Ok(None) => return,
            Err(error) => return self.scene.problems.push(Problem::of_error(self.repository.path_of(layout::UPLOADS), &error)),
        };
        let (path, scene) = (self.repository.path_of(layout::UPLOADS), &mut self.scene);
        let mut names = Vec::new();
        let listed = folder.list(|name, kind| match std::str::from_utf8(name) {
            Ok(name) if kind == Kind::Folder => names.push(name.to_owned()),
            _ => scene.problems.push(stray(&path, name, kind)),
        });
        if let Err(error) = listed {
            scene.problems.push(Problem::of_error(&path, &error));
        }
        names.sort_unstable();
        for name in names {
            // What grows is its data; before there is any, its folder is all that tells the time.
            let data = folder.status(&format!("{name}/{}", layout::DATA)).ok().flatten();
            let status = data.or_else(|| folder.status(&name).ok().flatten());
            scene.uploads.push((format!("{path}/{name}"), status.map(|status| status.modified)));
        }
    }

    /// Notes what does not belong in a folder.
    fn strays(&mut self, below: &str, belongs: impl Fn(&[u8]) -> bool) {
        let (path, problems) = (self.repository.path_of(below), &mut self.scene.problems);
        let listed = self.repository.folder().folder(below).and_then(|folder| match folder {
            None => Ok(()),
            Some(folder) => folder.list(|name, kind| {
                if !belongs(name) || kind != Kind::Folder {
                    problems.push(stray(&path, name, kind));
                }
            }),
        });
        if let Err(error) = listed {
            problems.push(Problem::of_error(path, &error));
        }
    }
}

/// The link in a folder, which holds nothing else but, where these may be, the signatures of old.
fn leaf(repository: &Repository, below: &str, may_be_signed: bool, buffer: &mut Vec<u8>, problems: &mut Vec<Problem>) -> Leaf {
    let absent = Leaf { link: Said::Absent, written: None };
    let folder = match repository.folder().folder(below) {
        Ok(Some(folder)) => folder,
        Ok(None) => return absent,
        Err(error) => return Leaf { link: Said::Unreadable(problem(repository, below, &error)), written: None },
    };
    let path = repository.path_of(below);
    let mut is_there = false;
    let listed = folder.list(|name, kind| match name {
        b"link" => is_there = true,
        b"signatures" if may_be_signed && kind == Kind::Folder => {}
        name => problems.push(stray(&path, name, kind)),
    });
    let read = match listed {
        Ok(()) if !is_there => return Leaf { written: folder.own_status().ok().map(|status| status.modified), ..absent },
        listed => listed.and_then(|()| link(&folder, layout::LINK, buffer)),
    };
    match read {
        Ok((_, Some(status))) if status.kind != Kind::File => {
            Leaf { link: Said::Unreadable("is no regular file".to_owned()), written: None }
        }
        Ok((link, status)) => Leaf {
            link: match link {
                Link::Absent => Said::Absent,
                Link::To(digest) => Said::Names(digest),
                Link::Damaged(_) if status.is_some_and(|status| status.size == 0) => Said::Empty,
                Link::Damaged(what) => Said::Garbled(what),
            },
            written: status.map(|status| status.modified),
        },
        Err(error) => Leaf { link: Said::Unreadable(problem(repository, &format!("{below}/{}", layout::LINK), &error)), written: None },
    }
}

/// What the system said of something in a repository.
fn problem(repository: &Repository, below: &str, error: &io::Error) -> String {
    Problem::of_error(repository.path_of(below), error).what
}

/// The path of a blob's content.
#[must_use]
pub fn data_of(digest: &Digest) -> String {
    format!("{}/{}", layout::blob(digest), layout::DATA)
}

/// What does not belong in a folder.
pub(super) fn stray(path: &str, name: &[u8], kind: Kind) -> Problem {
    let path = format!("{path}/{}", String::from_utf8_lossy(name));
    match kind {
        Kind::Other => Problem::new(path, "is a symbolic link or a device, and is not followed").hiding(),
        Kind::Folder | Kind::File => Problem::new(path, "does not belong there"),
    }
}
