//! The storage tree of a registry, below its API: for the damage that no client can do.
//!
//! Layout: `docker/registry/v2/{blobs,repositories}`, the same in Distribution 2 and 3. A registry with an in-memory
//! cache goes on to answer for what is gone: start it with `cache_off()`, or `restart()` it after the damage.

use std::fs;
use std::path::{Path, PathBuf};

/// Paths and damage in one storage tree.
#[derive(Clone, Debug)]
pub struct Storage {
    root: PathBuf,
}

impl Storage {
    /// The tree below a registry's `rootdirectory`.
    pub fn at(root: &Path) -> Self {
        Self { root: root.join("docker/registry/v2") }
    }

    /// The bytes of a blob or manifest.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let (algorithm, hex) = digest.split_once(':').expect("a digest has a colon");
        self.root.join("blobs").join(algorithm).join(&hex[..2]).join(hex).join("data")
    }

    /// The folder of a repository.
    pub fn repository(&self, repository: &str) -> PathBuf {
        self.root.join("repositories").join(repository)
    }

    /// The link by which a repository has a manifest.
    pub fn revision_link(&self, repository: &str, digest: &str) -> PathBuf {
        self.repository(repository).join("_manifests/revisions").join(digest.replace(':', "/")).join("link")
    }

    /// The link by which a repository has a layer or config.
    pub fn layer_link(&self, repository: &str, digest: &str) -> PathBuf {
        self.repository(repository).join("_layers").join(digest.replace(':', "/")).join("link")
    }

    /// The entry of a digest that a tag has or had.
    pub fn tag_index_link(&self, repository: &str, tag: &str, digest: &str) -> PathBuf {
        self.repository(repository).join("_manifests/tags").join(tag).join("index").join(digest.replace(':', "/")).join("link")
    }

    /// What a tag points to.
    pub fn tag_link(&self, repository: &str, tag: &str) -> PathBuf {
        self.repository(repository).join("_manifests/tags").join(tag).join("current/link")
    }

    /// Takes the bytes of a blob or manifest away, as a collector does.
    pub fn remove_blob(&self, digest: &str) {
        let data = self.blob(digest);
        fs::remove_dir_all(data.parent().expect("a blob has a folder")).unwrap_or_else(|error| panic!("{}: {error}", data.display()));
    }

    /// Takes a manifest out of a repository and leaves its bytes and tags.
    pub fn remove_revision(&self, repository: &str, digest: &str) {
        remove(&self.revision_link(repository, digest));
    }

    /// Leaves a tag's folder without what it points to.
    pub fn remove_tag_link(&self, repository: &str, tag: &str) {
        remove(&self.tag_link(repository, tag));
    }

    /// Empties what a tag points to, as a full disk did before Distribution 3.1.
    pub fn empty_tag_link(&self, repository: &str, tag: &str) {
        write(&self.tag_link(repository, tag), b"");
    }

    /// Empties the link of a manifest.
    pub fn empty_revision_link(&self, repository: &str, digest: &str) {
        write(&self.revision_link(repository, digest), b"");
    }

    /// Leaves the first bytes of a manifest's link.
    pub fn cut_revision_link(&self, repository: &str, digest: &str, bytes: usize) {
        write(&self.revision_link(repository, digest), &digest.as_bytes()[..bytes]);
    }

    /// Takes a layer or config out of a repository and leaves its bytes.
    pub fn remove_layer_link(&self, repository: &str, digest: &str) {
        remove(&self.layer_link(repository, digest));
    }

    /// Empties the link of a layer or config.
    pub fn empty_layer_link(&self, repository: &str, digest: &str) {
        write(&self.layer_link(repository, digest), b"");
    }

    /// Lets a tag point to another digest without asking the registry.
    pub fn point_tag(&self, repository: &str, tag: &str, digest: &str) {
        write(&self.tag_link(repository, tag), digest.as_bytes());
    }

    /// Leaves the first bytes of a blob or manifest.
    pub fn truncate_blob(&self, digest: &str, bytes: usize) {
        let path = self.blob(digest);
        let whole = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        write(&path, &whole[..bytes.min(whole.len())]);
    }

    /// Puts other bytes in the place of a blob or manifest.
    pub fn overwrite_blob(&self, digest: &str, bytes: &[u8]) {
        write(&self.blob(digest), bytes);
    }
}

fn remove(path: &Path) {
    fs::remove_file(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn write(path: &Path, bytes: &[u8]) {
    assert!(path.is_file(), "{} is not there to be damaged", path.display());
    fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
