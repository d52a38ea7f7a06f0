//! Random trees for property tests: what many clients may have done in any order, and the faults that come on top.
//!
//! The same seed makes the same tree. Names, layers and images are few, so that repositories share them, tags are overwritten, and
//! what is deleted in one place lives in another.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::{Tree, sha512_of};
use crate::fixtures::{BuildCache, Image, Index, OCI_MANIFEST, Place, Pushed, Referrers, Signature, digest_of};

const REPOSITORIES: [&str; 6] = ["a", "a/b", "a/b/c", "b", "team/app", "z"];
const PLATFORMS: [&str; 3] = ["linux/amd64", "linux/arm64", "linux/arm/v7"];

/// Numbers that look random and are the same each time: SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Begins with this number.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// A number below the limit, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.any() % limit as u64).unwrap_or_default()
    }

    /// True this often.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of these, unless there is none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() { None } else { items.get(self.below(items.len())) }
    }
}

/// Makes a tree in this folder of 10 to 60 random steps, none of which is a fault.
pub fn tree(root: &Path, seed: u64) -> Tree {
    let tree = Tree::new(root);
    let mut random = Random::seeded(seed);
    let steps = 10 + random.below(50);
    let repositories = 1 + random.below(REPOSITORIES.len());
    let mut clients = Clients { tree: &tree, random, repositories: &REPOSITORIES[..repositories], pushed: Vec::new() };
    for number in 0..steps {
        clients.step(number);
    }
    tree
}

struct Clients<'a> {
    tree: &'a Tree,
    random: Random,
    repositories: &'a [&'a str],
    pushed: Vec<Pushed>,
}

impl Clients<'_> {
    fn step(&mut self, number: usize) {
        let repository = self.repositories[self.random.below(self.repositories.len())];
        match self.random.below(22) {
            0..=4 => self.push_image(repository),
            5..=7 => self.push_index(repository),
            8..=9 => self.push_referrer(repository),
            10 => self.push_signature(repository),
            11..=13 => self.delete(),
            14 => self.untag(),
            15 => self.retag(),
            16 => {
                let cache = BuildCache::new().blob("shared 0").blob(&format!("cache {number}"));
                let cache = if self.random.chance(50) { cache.tag("cache") } else { cache };
                self.push(cache.push_by(self.tree, repository));
            }
            17 => drop(self.tree.put_blob(repository, format!("layer orphan {number}\n").as_bytes())),
            18 => {
                if let Some((_, digest)) = self.pick(Tree::layer_links).filter(|(_, digest)| digest.starts_with("sha256:")) {
                    self.tree.mount(repository, &digest);
                }
            }
            19 => {
                if let Some((repository, digest)) = self.pick(Tree::revisions) {
                    self.tree.lose_revision(&repository, &digest);
                }
            }
            20 => {
                let tag = self.tag_name();
                let layer = format!("shared {}", self.random.below(3));
                self.tree.put_image_by_sha512(repository, &tag, &layer);
            }
            _ => self.push_odd(repository, number),
        }
    }

    fn push(&mut self, pushed: Pushed) {
        self.pushed.extend(pushed.children.iter().cloned());
        self.pushed.push(pushed);
    }

    fn pick<T: Clone>(&mut self, of: impl Fn(&Tree) -> Vec<T>) -> Option<T> {
        let items = of(self.tree);
        self.random.pick(&items).cloned()
    }

    fn tag_name(&mut self) -> String {
        format!("v{}", self.random.below(4))
    }

    /// One of some twenty images; seven in ten get a tag where asked for.
    fn image(&mut self, tagged: bool) -> Image {
        let image = if self.random.chance(20) { Image::docker() } else { Image::new() };
        let image = (0..1 + self.random.below(2)).fold(image, |image, _| image.layer(&format!("shared {}", self.random.below(4))));
        let image = if self.random.chance(30) { image.layer(&format!("own {}", self.random.below(8))) } else { image };
        if tagged && self.random.chance(70) { image.tag(&self.tag_name()) } else { image }
    }

    fn push_image(&mut self, repository: &str) {
        let image = self.image(true);
        self.push(image.push_by(self.tree, repository));
    }

    /// Of new images, of what lies here or in other repositories, of indexes, or of nothing.
    fn push_index(&mut self, repository: &str) {
        let mut index = if self.random.chance(20) { Index::docker() } else { Index::new() };
        for platform in PLATFORMS.iter().take(self.random.below(4)) {
            index = match self.random.below(5) {
                0..=2 => index.child(platform, self.image(false)),
                3 => match self.random.pick(&self.pushed) {
                    Some(pushed) => index.entry(pushed),
                    None => index,
                },
                _ => index.entry(Index::new().child(platform, self.image(false))),
            };
        }
        if self.random.chance(60) {
            index = index.tag(&self.tag_name());
        }
        self.push(index.push_by(self.tree, repository));
    }

    /// Of anything that was ever pushed, a referrer too; mostly where that lies.
    fn push_referrer(&mut self, repository: &str) {
        let Some(subject) = self.random.pick(&self.pushed).cloned() else { return };
        let repository = if self.random.chance(80) { &*subject.repository } else { repository };
        let kind = format!("application/x-{}", self.random.below(3));
        let referrer =
            Image::artifact("application/vnd.oci.empty.v1+json").artifact_type(&kind).blob(&kind, kind.as_bytes()).subject(&subject);
        let referrer = referrer.push_by(self.tree, repository);
        if self.random.chance(20) {
            self.push(Referrers::of(&subject).list(&referrer).push_by(self.tree, repository));
        }
        self.push(referrer);
    }

    fn push_signature(&mut self, repository: &str) {
        let Some(subject) = self.random.pick(&self.pushed).cloned() else { return };
        self.push(Signature::cosign(&subject).push_by(self.tree, repository));
    }

    fn delete(&mut self) {
        if let Some((repository, digest)) = self.pick(Tree::revisions) {
            self.tree.api_delete(&repository, &digest);
        }
    }

    fn untag(&mut self) {
        if let Some((repository, tag, _)) = self.pick(Tree::tags) {
            self.tree.untag(&repository, &tag);
        }
    }

    fn retag(&mut self) {
        if let Some((repository, digest)) = self.pick(Tree::revisions) {
            let tag = self.tag_name();
            self.tree.tag(&repository, &tag, &digest);
        }
    }

    /// Manifests that no fixture makes: of schema 1, of an artifact, without a media type, under a SHA-512.
    fn push_odd(&mut self, repository: &str, number: usize) {
        let layer = self.tree.put_blob(repository, format!("layer odd {}\n", number % 5).as_bytes());
        let (manifest, by_sha512) = match self.random.below(4) {
            0 => (json!({"schemaVersion": 1, "name": repository, "tag": "odd", "fsLayers": [{"blobSum": layer}], "history": []}), false),
            1 => {
                let kind = "application/vnd.oci.artifact.manifest.v1+json";
                let subject = self.random.pick(&self.pushed).map(Pushed::descriptor);
                (json!({"mediaType": kind, "blobs": [{"mediaType": "text/plain", "digest": layer, "size": 12}], "subject": subject}), false)
            }
            kind => {
                let config =
                    json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": self.tree.put_blob(repository, b"{}"), "size": 2});
                let layers = json!([{"mediaType": "text/plain", "digest": layer, "size": 12}]);
                (json!({"schemaVersion": 2, "config": config, "layers": layers}), kind == 2)
            }
        };
        let bytes = manifest.to_string().into_bytes();
        let digest = if by_sha512 { sha512_of(&bytes) } else { digest_of(&bytes) };
        self.tree.put_manifest(repository, &digest, OCI_MANIFEST, &bytes);
        if self.random.chance(50) {
            self.tree.tag(repository, "odd", &digest);
        }
    }
}

/// Damages the tree so many times, each time in one of the ways in which trees are found damaged, and says how. The
/// oracle does not know of it.
pub fn damage(tree: &Tree, random: &mut Random, times: usize) -> Vec<String> {
    (0..times).filter_map(|_| damage_once(tree, random)).collect()
}

fn damage_once(tree: &Tree, random: &mut Random) -> Option<String> {
    let storage = tree.storage();
    let kind = random.below(16);
    match kind {
        0..=2 => {
            let tags = tree.tags();
            let (repository, tag, _) = random.pick(&tags)?;
            let link = storage.tag_link(repository, tag);
            if !link.is_file() {
                return None;
            }
            match kind {
                0 => storage.remove_tag_link(repository, tag),
                1 => storage.empty_tag_link(repository, tag),
                _ => storage.point_tag(repository, tag, &digest_of(b"nothing")),
            }
            Some(format!("{}, fault {kind}", link.display()))
        }
        3..=10 => {
            let revisions = tree.revisions();
            let (repository, digest) = random.pick(&revisions)?;
            let (link, data) = (storage.revision_link(repository, digest), storage.blob(digest));
            if !link.is_file() || !data.is_file() {
                return None;
            }
            match kind {
                3 => storage.remove_revision(repository, digest),
                4 => storage.empty_revision_link(repository, digest),
                5 => storage.cut_revision_link(repository, digest, 40),
                6 => storage.remove_blob(digest),
                7 => storage.truncate_blob(digest, 60),
                8 => storage.truncate_blob(digest, 0),
                9 => storage.overwrite_blob(digest, br#"{"schemaVersion":2,"mediaType":"application/x-unknown","config":{}}"#),
                _ => storage.overwrite_blob(digest, b"[]"),
            }
            Some(format!("{repository}@{digest}, fault {kind}"))
        }
        11..=13 => {
            let links = tree.layer_links();
            let (repository, digest) = random.pick(&links)?;
            let (link, data) = (storage.layer_link(repository, digest), storage.blob(digest));
            match kind {
                11 if link.is_file() => storage.remove_layer_link(repository, digest),
                12 if link.is_file() => storage.empty_layer_link(repository, digest),
                13 if data.is_file() => storage.remove_blob(digest),
                _ => return None,
            }
            Some(format!("{repository}, layer {digest}, fault {kind}"))
        }
        14 => {
            let repositories = tree.repositories();
            let folder = storage.repository(random.pick(&repositories)?).join(["_layers", "_manifests/tags"][random.below(2)]);
            fs::remove_dir_all(&folder).ok()?;
            Some(format!("{} is gone", folder.display()))
        }
        _ => {
            let foreign = storage.blob(&digest_of(b"foreign")).with_file_name("README").join("data");
            fs::create_dir_all(foreign.parent()?).ok()?;
            fs::write(&foreign, b"not by a registry").ok()?;
            Some(format!("{} does not belong there", foreign.display()))
        }
    }
}
