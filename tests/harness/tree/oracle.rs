//! What was put into a tree, noted while it was put there, and what must become of it.
//!
//! The rules stand here as they are said, and are applied until nothing changes; nothing is read from disk. They know no
//! faults: those are the [reference](super::reference)'s. In one repository a manifest *lives* if
//!
//! - it is a root: a tag points to it or, where untagged manifests are kept, the repository has a link of it;
//! - an index that lives lists it, whether the repository has a link of it or not;
//! - the repository has a link of it, and its `subject` lives.
//!
//! A blob stays if it lives, or is named by what lives, in any repository. A link to a layer stays if something that lives in
//! its own repository names it. A link to a manifest stays if that lives. An entry in a tag's index goes if no link to that
//! manifest is left, unless the tag points to it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::fate::{Fate, Items, Mode};

/// What was put into a tree.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) blobs: BTreeMap<String, u64>,
    pub(super) manifests: BTreeMap<String, Named>,
    pub(super) repositories: BTreeMap<String, Repository>,
}

#[derive(Debug, Default)]
pub(super) struct Repository {
    pub(super) revisions: BTreeSet<String>,
    pub(super) layers: BTreeSet<String>,
    /// Where the bytes of a layer lie that has another digest than this.
    pub(super) aliases: BTreeMap<String, String>,
    pub(super) tags: BTreeMap<String, Tag>,
}

#[derive(Debug, Default)]
pub(super) struct Tag {
    pub(super) current: String,
    pub(super) index: BTreeSet<String>,
}

/// The digests in a manifest.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) blobs: Vec<String>,
    pub(super) children: Vec<String>,
    pub(super) subject: Option<String>,
}

impl Named {
    /// Of a manifest as a fixture writes it.
    pub(super) fn by(manifest: &[u8]) -> Self {
        let manifest: Value = serde_json::from_slice(manifest).expect("a fixture writes JSON");
        let digest = |value: &Value| value.as_str().map(str::to_owned);
        let (children, listed_blobs): (Vec<&Value>, _) =
            list(&manifest["manifests"]).partition(|entry| entry["mediaType"].as_str().is_some_and(is_manifest));
        let blobs =
            std::iter::once(&manifest["config"]).chain(list(&manifest["layers"])).chain(list(&manifest["blobs"])).chain(listed_blobs);
        let schema1 = list(&manifest["fsLayers"]).filter_map(|layer| digest(&layer["blobSum"]));
        Self {
            blobs: blobs.filter_map(|descriptor| digest(&descriptor["digest"])).chain(schema1).collect(),
            children: children.into_iter().filter_map(|child| digest(&child["digest"])).collect(),
            subject: digest(&manifest["subject"]["digest"]),
        }
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn is_manifest(media_type: &str) -> bool {
    ["manifest.v1+json", "manifest.v2+json", "index.v1+json", "list.v2+json"].iter().any(|ending| media_type.ends_with(ending))
}

impl Model {
    /// What a collector must leave and take.
    pub(super) fn fate(&self, mode: Mode) -> Fate {
        let mut living: BTreeSet<&str> = BTreeSet::new();
        let mut fate = Fate::default();
        for (name, repository) in &self.repositories {
            let lives = self.lives(repository, mode);
            let needed = self.needed(repository, &lives);
            let place = |stays: bool, fate: &mut Fate, put: &dyn Fn(&mut Items)| put(if stays { &mut fate.stays } else { &mut fate.goes });
            for digest in &repository.revisions {
                place(lives.contains(&**digest), &mut fate, &|items| {
                    items.revisions.insert((name.clone(), digest.clone()));
                });
            }
            for digest in &repository.layers {
                place(needed.contains(&**digest), &mut fate, &|items| {
                    items.layer_links.insert((name.clone(), digest.clone()));
                });
            }
            for (tag, Tag { current, index }) in &repository.tags {
                for digest in index {
                    let linked = repository.revisions.contains(digest) && lives.contains(&**digest);
                    place(linked || digest == current, &mut fate, &|items| {
                        items.tag_index.insert((name.clone(), tag.clone(), digest.clone()));
                    });
                }
            }
            living.extend(lives);
            living.extend(needed);
        }
        for (digest, size) in &self.blobs {
            let items = if living.contains(&**digest) { &mut fate.stays } else { &mut fate.goes };
            items.blobs.insert(digest.clone(), *size);
        }
        fate
    }

    fn lives<'a>(&'a self, repository: &'a Repository, mode: Mode) -> BTreeSet<&'a str> {
        let mut lives: BTreeSet<&str> = repository.tags.values().map(|tag| &*tag.current).collect();
        if mode == Mode::KeepUntagged {
            lives.extend(repository.revisions.iter().map(|digest| &**digest));
        }
        loop {
            let before = lives.len();
            let listed: Vec<&str> = lives
                .iter()
                .filter_map(|digest| self.manifests.get(*digest))
                .flat_map(|index| &index.children)
                .map(|child| &**child)
                .collect();
            lives.extend(listed);
            for digest in &repository.revisions {
                let subject = self.manifests.get(digest).and_then(|manifest| manifest.subject.as_deref());
                if subject.is_some_and(|subject| lives.contains(subject)) {
                    lives.insert(digest);
                }
            }
            if lives.len() == before {
                return lives;
            }
        }
    }

    /// What is named by what lives, and where the bytes of that lie.
    fn needed<'a>(&'a self, repository: &'a Repository, lives: &BTreeSet<&'a str>) -> BTreeSet<&'a str> {
        let mut needed: BTreeSet<&str> = BTreeSet::new();
        for manifest in lives.iter().filter_map(|digest| self.manifests.get(*digest)) {
            needed.extend(manifest.blobs.iter().chain(&manifest.children).map(|digest| &**digest));
        }
        let aliases: Vec<&str> = needed.iter().filter_map(|digest| repository.aliases.get(*digest)).map(|target| &**target).collect();
        needed.extend(aliases);
        needed
    }

    /// Whether a registry can serve all of a manifest in this repository.
    pub(super) fn is_whole(&self, repository: &Repository, digest: &str) -> bool {
        let Some(manifest) = self.manifests.get(digest) else { return false };
        let has_blob = |blob: &String| {
            let target = repository.aliases.get(blob).unwrap_or(blob);
            repository.layers.contains(blob) && self.blobs.contains_key(target)
        };
        repository.revisions.contains(digest)
            && manifest.blobs.iter().all(has_blob)
            && manifest.children.iter().all(|child| self.is_whole(repository, child))
    }
}
