//! A registry's storage tree, written straight to disk: thousands of images a second, and what no client can leave there.
//!
//! ```no_run
//! # use tests::*; use std::path::Path;
//! let tree = Tree::new(Path::new("/tmp/storage"));
//! let app = Image::new().layer("base").layer("app").tag("v1").push_by(&tree, "team/app");
//! Image::new().layer("base").layer("newer").tag("v1").push_by(&tree, "team/app");
//! let fate = tree.fate(Mode::Untagged);
//! assert!(fate.goes.revisions.contains(&("team/app".to_owned(), app.digest)));
//! let registry = Registry::with().storage_at(tree.root()).start();
//! skopeo::pull(&registry, "team/app:v1").unwrap();
//! ```
//!
//! It writes what CNCF Distribution (2 and 3 alike) writes for the same requests: digests, links and manifests are right, so a
//! registry can serve the tree. Same sentences, same tree. What was put in is noted, so that the oracle knows what a collector
//! must leave and take; damage done through [`storage`](Tree::storage) is not, and is for the [reference](mod@reference), which reads the tree.

pub mod fate;
mod oracle;
pub mod random;
pub mod reference;

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use serde_json::json;
use sha2::{Digest, Sha512};

use crate::fixtures::{CREATED, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Place, digest_of};
use crate::inventory::days_ago;
use crate::storage::Storage;

pub use fate::{Fate, Items, MODES, Mode};
use oracle::{Model, Named, Repository};

/// A storage tree and what is known of it.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    storage: Storage,
    model: Mutex<Model>,
}

impl Place for Tree {
    fn put_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = digest_of(bytes);
        self.store(&digest, bytes);
        self.link_layer(repository, &digest, &digest);
        digest
    }

    /// Under a digest of another algorithm, the bytes lie by that digest.
    fn put_manifest(&self, repository: &str, reference: &str, _: &str, bytes: &[u8]) -> String {
        let is_digest = reference.contains(':');
        let digest = if reference.starts_with("sha512:") { sha512_of(bytes) } else { digest_of(bytes) };
        assert!(!is_digest || reference == digest, "the manifest {reference} has the digest {digest}");
        self.store(&digest, bytes);
        self.model().manifests.entry(digest.clone()).or_insert_with(|| Named::by(bytes));
        if self.repository(repository, |noted| noted.revisions.insert(digest.clone())) {
            write(&self.storage.revision_link(repository, &digest), digest.as_bytes());
        }
        if !is_digest {
            self.tag(repository, reference, &digest);
        }
        digest
    }
}

impl Tree {
    /// An empty tree; this folder is its `rootdirectory`.
    pub fn new(root: &Path) -> Self {
        for folder in ["blobs", "repositories"] {
            let folder = root.join("docker/registry/v2").join(folder);
            fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        }
        Self { root: root.to_owned(), storage: Storage::at(root), model: Mutex::default() }
    }

    /// The `rootdirectory`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Paths in it, and damage that is not noted.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// What a collector must leave and take, of all that was put in and taken out by these methods.
    pub fn fate(&self, mode: Mode) -> Fate {
        self.model().fate(mode)
    }

    /// How many blobs, links to manifests and links to layers there are.
    pub fn size(&self) -> [usize; 3] {
        let model = self.model();
        let count = |of: fn(&Repository) -> usize| model.repositories.values().map(of).sum();
        [model.blobs.len(), count(|repository| repository.revisions.len()), count(|repository| repository.layers.len())]
    }

    /// The repositories that anything was put into, sorted.
    pub fn repositories(&self) -> Vec<String> {
        self.model().repositories.keys().cloned().collect()
    }

    /// Repository, tag and digest of each tag.
    pub fn tags(&self) -> Vec<(String, String, String)> {
        let model = self.model();
        let tags = |(name, repository): (&String, &Repository)| {
            let of = |(tag, links): (&String, &oracle::Tag)| (name.clone(), tag.clone(), links.current.clone());
            repository.tags.iter().map(of).collect::<Vec<_>>()
        };
        model.repositories.iter().flat_map(tags).collect()
    }

    /// Repository and digest of each link to a manifest.
    pub fn revisions(&self) -> Vec<(String, String)> {
        self.links(|repository| repository.revisions.iter().cloned().collect())
    }

    /// Repository and digest of each link to a layer or config.
    pub fn layer_links(&self) -> Vec<(String, String)> {
        self.links(|repository| repository.layers.iter().cloned().collect())
    }

    /// Repository and digest of each manifest of which a registry can serve all: its blobs, its children and theirs.
    pub fn whole(&self) -> Vec<(String, String)> {
        let model = self.model();
        let whole = |(name, repository): (&String, &Repository)| {
            let whole = repository.revisions.iter().filter(|digest| model.is_whole(repository, digest));
            whole.map(|digest| (name.clone(), digest.clone())).collect::<Vec<_>>()
        };
        model.repositories.iter().flat_map(whole).collect()
    }

    /// The blobs that a manifest names: config and layers.
    pub fn blobs_of(&self, digest: &str) -> Vec<String> {
        self.model().manifests.get(digest).map(|manifest| manifest.blobs.clone()).unwrap_or_default()
    }

    fn links(&self, of: impl Fn(&Repository) -> Vec<String>) -> Vec<(String, String)> {
        let model = self.model();
        model.repositories.iter().flat_map(|(name, repository)| of(repository).into_iter().map(|digest| (name.clone(), digest))).collect()
    }

    fn model(&self) -> std::sync::MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }

    fn repository<T>(&self, name: &str, change: impl FnOnce(&mut Repository) -> T) -> T {
        let mut model = self.model();
        match model.repositories.get_mut(name) {
            Some(repository) => change(repository),
            None => change(model.repositories.entry(name.to_owned()).or_default()),
        }
    }

    fn store(&self, digest: &str, bytes: &[u8]) {
        let new = self.model().blobs.insert(digest.to_owned(), bytes.len() as u64).is_none();
        if new {
            write(&self.storage.blob(digest), bytes);
        }
    }

    fn link_layer(&self, repository: &str, digest: &str, target: &str) {
        let new = self.repository(repository, |noted| {
            if digest != target {
                noted.aliases.insert(digest.to_owned(), target.to_owned());
            }
            noted.layers.insert(digest.to_owned())
        });
        if new {
            write(&self.storage.layer_link(repository, digest), target.as_bytes());
        }
    }
}

/// What clients do.
impl Tree {
    /// Lets a tag point to a manifest that the repository has; what it pointed to before stays in its index.
    pub fn tag(&self, repository: &str, tag: &str, digest: &str) {
        self.repository(repository, |noted| {
            let links = noted.tags.entry(tag.to_owned()).or_default();
            links.index.insert(digest.to_owned());
            digest.clone_into(&mut links.current);
        });
        write(&self.storage.tag_index_link(repository, tag, digest), digest.as_bytes());
        write(&self.storage.tag_link(repository, tag), digest.as_bytes());
    }

    /// Takes a tag away and leaves its manifest, as Distribution 3 does for `DELETE` of a tag.
    pub fn untag(&self, repository: &str, tag: &str) {
        self.repository(repository, |noted| noted.tags.remove(tag));
        let folder = self.storage.repository(repository).join("_manifests/tags").join(tag);
        fs::remove_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    }

    /// Does what `DELETE` of a manifest does: its link goes and leaves an empty folder, and so do the tags that point to it; in the
    /// index of other tags it dangles.
    pub fn api_delete(&self, repository: &str, digest: &str) {
        let tags: Vec<String> = self.repository(repository, |noted| {
            noted.tags.iter().filter(|(_, links)| links.current == digest).map(|(tag, _)| tag.clone()).collect()
        });
        for tag in tags {
            self.untag(repository, &tag);
        }
        self.lose_revision(repository, digest);
    }

    /// Links a blob that another repository has, as a client does that mounts it.
    pub fn mount(&self, repository: &str, digest: &str) {
        assert!(self.model().blobs.contains_key(digest), "no blob {digest} is there to be mounted");
        self.link_layer(repository, digest, digest);
    }

    /// Puts an image whose layer is named by its SHA-512, under a tag, and gives the digest of its manifest. The bytes lie under
    /// their SHA-256, to which both links lead.
    pub fn put_image_by_sha512(&self, repository: &str, tag: &str, layer: &str) -> String {
        let content = format!("layer {layer}\n").into_bytes();
        let target = self.put_blob(repository, &content);
        let digest = sha512_of(&content);
        self.link_layer(repository, &digest, &target);
        let config = json!({
            "architecture": "amd64", "os": "linux", "created": CREATED, "config": {}, "rootfs": {"type": "layers", "diff_ids": [target]},
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": self.put_blob(repository, &config), "size": config.len()},
            "layers": [{"mediaType": OCI_LAYER, "digest": digest, "size": content.len()}],
        });
        self.put_manifest(repository, tag, OCI_MANIFEST, manifest.to_string().as_bytes())
    }

    /// Leaves an upload that began this many days ago, and gives its folder.
    pub fn upload(&self, repository: &str, days: u64, bytes: &[u8]) -> PathBuf {
        self.repository(repository, |_| ());
        let folder = self.storage.repository(repository).join("_uploads").join(uuid(&format!("{repository} {days}"), bytes));
        write(&folder.join("startedat"), days_ago(days).as_bytes());
        write(&folder.join("data"), bytes);
        write(&folder.join("hashstates/sha256/0"), b"");
        folder
    }
}

/// What crashes and collectors leave.
impl Tree {
    /// Takes the link of a manifest away and leaves its bytes, its empty folder, and the tags that point to it.
    pub fn lose_revision(&self, repository: &str, digest: &str) {
        if self.repository(repository, |noted| noted.revisions.remove(digest)) {
            self.storage.remove_revision(repository, digest);
        }
    }

    /// Leaves what a crash of Distribution 3.1 leaves beside the file that it was about to write, and gives its path.
    pub fn stray_temporary(&self, beside: &Path) -> PathBuf {
        let name = beside.file_name().unwrap_or_default().to_string_lossy();
        let path = beside.with_file_name(format!("{name}.{}.tmp", uuid(&name, beside.as_os_str().as_encoded_bytes())));
        write(&path, b"sha256:");
        path
    }

    /// Leaves the folder of a layer's link without the link, as the collector of Distribution 3 does.
    pub fn empty_layer_folder(&self, repository: &str, name: &str) -> PathBuf {
        self.repository(repository, |_| ());
        let link = self.storage.layer_link(repository, &digest_of(name.as_bytes()));
        let folder = link.parent().expect("a link has a folder");
        fs::create_dir_all(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        folder.to_owned()
    }

    /// Makes every file and folder this many days old. The time at which an inode changed (`ctime`) cannot be set: to a program that
    /// looks at it, everything is new.
    pub fn age_everything(&self, days: u64) {
        let time = SystemTime::now() - Duration::from_secs(days * 86_400);
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else {
                    set_time(&entry.path(), time);
                }
            }
            set_time(&folder, time);
        }
    }
}

/// Makes one file or folder this many days old.
pub fn age(path: &Path, days: u64) {
    set_time(path, SystemTime::now() - Duration::from_secs(days * 86_400));
}

/// `sha512:…` of these bytes.
pub fn sha512_of(bytes: &[u8]) -> String {
    let hex: String = Sha512::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha512:{hex}")
}

fn set_time(path: &Path, time: SystemTime) {
    File::open(path).and_then(|file| file.set_modified(time)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// The same each time.
fn uuid(name: &str, more: &[u8]) -> String {
    let digest = digest_of(&[name.as_bytes(), more].concat());
    let hex = &digest["sha256:".len()..];
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32])
}

/// Writes a file and makes its folders where they are not there; nothing is asked of the disk.
fn write(path: &Path, bytes: &[u8]) {
    let written = match fs::write(path, bytes) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, bytes))
        }
        other => other,
    };
    written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
