//! What one repository holds: the digests that its folders are named by, its tags, and its links.

use std::io;
use std::sync::OnceLock;

use super::folder::{Folder, Kind, Status};
use super::{Problem, layout};
use crate::digest::Digest;

/// Longer than any link.
const LONGEST_LINK: usize = 1024;

/// An open repository.
#[derive(Debug)]
pub struct Repository {
    folder: Folder,
    path: String,
    /// Folders of which much is looked up, open so that the paths are short.
    layers: OnceLock<Option<Folder>>,
    revisions: OnceLock<Option<Folder>>,
    tags: OnceLock<Option<Folder>>,
}

/// What a link says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// There is none.
    Absent,
    /// It leads to this digest.
    To(Digest),
    /// It is there and leads nowhere; the sentence says why.
    Damaged(String),
}

/// The names in a folder, and what there is beside them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names<T> {
    /// The names, in no order.
    pub names: Vec<T>,
    /// What could not be read, and what is nothing that belongs there.
    pub problems: Vec<Problem>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { names: Vec::new(), problems: Vec::new() }
    }
}

impl Repository {
    /// Opens a repository below `root`, the open `rootdirectory`; `None` where it is gone.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(root: &Folder, name: &str) -> io::Result<Option<Self>> {
        let path = layout::repository(name);
        Ok(root.folder(&path)?.map(|folder| Self {
            folder,
            path,
            layers: OnceLock::new(),
            revisions: OnceLock::new(),
            tags: OnceLock::new(),
        }))
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The path of something in it, relative to the root.
    #[must_use]
    pub fn path_of(&self, below: &str) -> String {
        format!("{}/{below}", self.path)
    }

    /// The digests that folders below [`layout::LAYERS`], [`layout::REVISIONS`] or the index of a tag are named by. Whether there is a
    /// link in each is not asked.
    #[must_use]
    pub fn digests(&self, below: &str) -> Names<Digest> {
        let mut found = Names::default();
        let algorithms =
            self.list(below, |name, kind| (kind == Kind::Folder).then(|| std::str::from_utf8(name).ok().map(str::to_owned))?);
        found.problems = algorithms.problems;
        for algorithm in algorithms.names {
            let path = format!("{below}/{algorithm}");
            if !matches!(algorithm.as_str(), "sha256" | "sha512") {
                found.problems.push(Problem::new(self.path_of(&path), "is the folder of no algorithm that is known").hiding());
                continue;
            }
            let mut names = self.list(&path, |name, kind| layout::digest(&algorithm, name).filter(|_| kind == Kind::Folder));
            found.problems.append(&mut names.problems);
            if found.names.is_empty() {
                found.names = names.names;
            } else {
                found.names.append(&mut names.names);
            }
        }
        found
    }

    /// The folder of its tags, open; `None` where there is none, and where it cannot be opened, which who lists it is told.
    #[must_use]
    pub fn tag_folder(&self) -> Option<&Folder> {
        self.tags.get_or_init(|| self.folder.folder(layout::TAGS).ok().flatten()).as_ref()
    }

    /// What is known of the link of a digest below [`layout::LAYERS`], [`layout::REVISIONS`] or another of its folders; `None` where there
    /// is none.
    ///
    /// # Errors
    /// What the system says.
    pub fn link_status(&self, below: &str, digest: &Digest) -> io::Result<Option<Status>> {
        let open = match below {
            layout::LAYERS => Some(&self.layers),
            layout::REVISIONS => Some(&self.revisions),
            _ => None,
        };
        let open = open.filter(|_| matches!(digest, Digest::Sha256(_)));
        let open = open.and_then(|open| open.get_or_init(|| self.folder.folder(&format!("{below}/sha256")).ok().flatten()).as_ref());
        match open {
            Some(folder) => folder.status(&format!("{}/{}", digest.hex(), layout::LINK)),
            None => self.folder.status(&format!("{below}/{}/{}", layout::of_digest(digest), layout::LINK)),
        }
    }

    /// The names of its tags, sorted: the folders of tags. Whether there is a link in each is not asked.
    #[must_use]
    pub fn tags(&self) -> Names<String> {
        let mut tags = self.list(layout::TAGS, |name, kind| {
            (kind == Kind::Folder).then(|| std::str::from_utf8(name).ok().filter(|name| !name.contains('/')).map(str::to_owned))?
        });
        tags.names.sort_unstable();
        tags
    }

    /// What the folders in a folder are, by `known`; what is not known is a problem.
    fn list<T>(&self, below: &str, known: impl Fn(&[u8], Kind) -> Option<T>) -> Names<T> {
        let mut found = Names::default();
        let result = self.folder.folder(below).and_then(|folder| match folder {
            None => Ok(()),
            Some(folder) => folder.list(|name, kind| match known(name, kind) {
                Some(name) => found.names.push(name),
                None => {
                    let path = format!("{}/{}", self.path_of(below), String::from_utf8_lossy(name));
                    found.problems.push(match kind {
                        Kind::Other => Problem::new(path, "is a symbolic link or a device, and is not followed").hiding(),
                        _ => Problem::new(path, "does not belong there; it is left alone"),
                    });
                }
            }),
        });
        if let Err(error) = result {
            found.problems.push(Problem::of_error(self.path_of(below), &error));
        }
        found
    }

    /// Reads a link, and tells when it was written. `buffer` is used for it.
    ///
    /// # Errors
    /// What the system says.
    pub fn link(&self, path: &str, buffer: &mut Vec<u8>) -> io::Result<(Link, Option<Status>)> {
        link(&self.folder, path, buffer)
    }
}

/// Reads a link below any folder, and tells when it was written. `buffer` is used for it.
///
/// # Errors
/// What the system says.
pub fn link(folder: &Folder, path: &str, buffer: &mut Vec<u8>) -> io::Result<(Link, Option<Status>)> {
    let Some(status) = folder.read_with_status(path, LONGEST_LINK, buffer)? else { return Ok((Link::Absent, None)) };
    let link = match std::str::from_utf8(buffer).ok().and_then(|text| text.parse().ok()) {
        Some(digest) => Link::To(digest),
        None if buffer.is_empty() => Link::Damaged("the link is empty".to_owned()),
        None => {
            let start: String = String::from_utf8_lossy(buffer).chars().take(40).collect();
            Link::Damaged(format!("the link is garbled: it begins with {start:?}"))
        }
    };
    Ok((link, Some(status)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn digests_tags_and_links_are_read() {
        let temporary = tempfile::tempdir().unwrap();
        let at = |path: &str| temporary.path().join(layout::repository("team/app")).join(path);
        let digest = Digest::of(b"a");
        let long: Digest = format!("sha512:{}", "0a".repeat(64)).parse().unwrap();
        for digest in [&digest, &long] {
            fs::create_dir_all(at(&format!("_layers/{}", layout::of_digest(digest)))).unwrap();
        }
        fs::create_dir_all(at("_layers/sha256/rubbish")).unwrap();
        fs::create_dir_all(at("_layers/md5")).unwrap();
        for tag in ["v2", "v1"] {
            fs::create_dir_all(at(&format!("_manifests/tags/{tag}/current"))).unwrap();
        }
        fs::write(at("_manifests/tags/v1/current/link"), digest.to_string()).unwrap();
        fs::write(at("_manifests/tags/v2/current/link"), "").unwrap();
        fs::write(at("_manifests/tags/file"), "").unwrap();

        let root = Folder::open(temporary.path()).unwrap();
        assert!(Repository::open(&root, "team/none").unwrap().is_none());
        let repository = Repository::open(&root, "team/app").unwrap().unwrap();
        let mut layers = repository.digests(layout::LAYERS);
        layers.names.sort();
        layers.problems.sort();
        assert_eq!(layers.names, [digest.clone(), long]);
        let strays: Vec<(&str, bool)> = layers.problems.iter().map(|it| (it.path.rsplit_once('/').unwrap().1, it.hides)).collect();
        assert_eq!(strays, [("md5", true), ("rubbish", false)]);
        assert_eq!(repository.digests(layout::REVISIONS), Names::default());
        let tags = repository.tags();
        assert_eq!((tags.names, tags.problems.len()), (vec!["v1".to_owned(), "v2".to_owned()], 1));
        let mut buffer = Vec::new();
        let mut link = |tag: &str| repository.link(&format!("_manifests/tags/{tag}/current/link"), &mut buffer).unwrap().0;
        assert_eq!(link("v1"), Link::To(digest));
        assert_eq!(link("v2"), Link::Damaged("the link is empty".into()));
        assert_eq!(link("v3"), Link::Absent);
    }
}
