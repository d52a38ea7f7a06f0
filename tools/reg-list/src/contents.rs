//! What a repository holds, as records: the pure heart of this tool. It is given what was read, and reckons parents, subjects, what
//! is missing, dates, platforms and sizes. No request is made here.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use common::digest::Digest;
use common::manifest::{Child, Created, ImageConfig, Kind, Manifest};
use common::record;
use common::reference::{Tag, cut_subject_of_tag};

/// What was read of a repository, and what could not be.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) contents: Contents,
    /// Tags that are listed and lead to no manifest, in their order.
    pub(crate) broken: Vec<Tag>,
    /// What failed for good, and why, by what it is.
    pub(crate) failures: BTreeMap<String, String>,
    /// About how many bytes this holds.
    pub(crate) bytes: usize,
}

impl Found {
    /// What manifests lead to and was neither read, nor found missing, nor failed.
    pub(crate) fn open_ends(&self) -> Vec<Digest> {
        self.contents.open_ends().into_iter().filter(|digest| !self.failures.contains_key(&digest.to_string())).collect()
    }

    /// Why not all of the repository is there; `None` where it is.
    pub(crate) fn error(&self) -> Option<String> {
        let (what, why) = self.failures.first_key_value()?;
        let more = self.failures.len() - 1;
        Some(if more == 0 { format!("{what}: {why}") } else { format!("{what}: {why} (and {more} more)") })
    }
}

/// What a repository holds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Its manifests: those of its tags, and all that they lead to.
    pub(crate) manifests: HashMap<Digest, Entry>,
    /// What they lead to and the registry does not have.
    pub(crate) missing: HashSet<Digest>,
}

/// Digests of SHA-512 by their first half.
type CutDigests = HashMap<[u8; 32], Digest>;

/// One manifest.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) manifest: Manifest,
    pub(crate) size: u64,
    pub(crate) tags: BTreeSet<Tag>,
    /// Its image config, or why that is not known.
    pub(crate) config: Result<Arc<ImageConfig>, String>,
    /// When it came into the repository, where that can be known.
    pub(crate) pushed: Option<DateTime<Utc>>,
}

/// The config of a manifest that is worth reading, and its size as the manifest says.
pub(crate) fn wanted_config(manifest: &Manifest) -> Option<(Digest, u64)> {
    let config = manifest.config.clone().filter(|_| manifest.has_image_config)?;
    let size = manifest.blobs.iter().find(|blob| blob.digest == config).map_or(0, |blob| blob.size);
    Some((config, size))
}

impl Entry {
    /// What it is about: its own `subject`, and what its referrer tags name.
    fn subjects<'a>(&'a self, own: &'a Digest, cut: &'a CutDigests) -> impl Iterator<Item = Digest> + 'a {
        let by_tag = self.tags.iter().filter_map(|tag| tag.subject().or_else(|| cut.get(&cut_subject_of_tag(tag.as_str())?).cloned()));
        let named = self.manifest.subject.iter().cloned().chain(by_tag);
        // A tag can be moved onto the very manifest that it names; that is no subject.
        named.filter(move |subject| subject != own)
    }

    /// What it leads to: children and subjects.
    fn leads_to<'a>(&'a self, own: &'a Digest, cut: &'a CutDigests) -> impl Iterator<Item = Digest> + 'a {
        self.manifest.children.iter().map(|child| child.digest.clone()).chain(self.subjects(own, cut))
    }

    fn config(&self) -> Option<&ImageConfig> {
        self.manifest.embedded_config.as_ref().or_else(|| self.config.as_deref().ok())
    }
}

impl Contents {
    /// What manifests that were read lead to, and nobody asked for yet.
    pub(crate) fn open_ends(&self) -> BTreeSet<Digest> {
        let known = |digest: &Digest| self.manifests.contains_key(digest) || self.missing.contains(digest);
        let cut = self.cut_digests();
        self.manifests.iter().flat_map(|(own, entry)| entry.leads_to(own, &cut)).filter(|digest| !known(digest)).collect()
    }

    /// What a referrer tag can name by half of its digest. Nobody can be asked for half a digest, so these are the ones known by other ways.
    fn cut_digests(&self) -> CutDigests {
        let all = self.manifests.keys().chain(&self.missing);
        all.filter_map(|digest| match digest {
            Digest::Sha512(bytes) => Some((*bytes.first_chunk()?, digest.clone())),
            Digest::Sha256(_) => None,
        })
        .collect()
    }

    /// Bytes of all distinct blobs.
    pub(crate) fn image_size(&self) -> u64 {
        let mut seen = HashSet::new();
        let blobs = self.manifests.values().flat_map(|entry| &entry.manifest.blobs);
        blobs.filter(|blob| seen.insert(&blob.digest)).fold(0, |sum, blob| u64::saturating_add(sum, blob.size))
    }

    /// The records: tagged manifests in the order of their first tags, then the others in the order of their digests.
    pub(crate) fn records(&self, registry: &str, repository: &str, now: DateTime<Utc>) -> Vec<record::Manifest> {
        let parents = self.parents();
        let dates = self.dates(now);
        let cut = self.cut_digests();
        let mut digests: Vec<&Digest> = self.manifests.keys().collect();
        digests.sort_by_key(|digest| {
            let first = self.manifests.get(digest).and_then(|entry| entry.tags.first());
            (first.is_none(), first, *digest)
        });
        let record = |digest: &Digest| {
            let entry = self.manifests.get(digest)?;
            let manifest = &entry.manifest;
            let created = dates.get(digest).cloned().unwrap_or(Created { time: None, source: "no date".to_owned() });
            let mut subjects = Vec::new();
            for subject in entry.subjects(digest, &cut) {
                if !subjects.contains(&subject) {
                    subjects.push(subject);
                }
            }
            let children: Vec<Digest> = manifest.children.iter().map(|child| child.digest.clone()).collect();
            let is_missing = |digest: &&Digest| self.missing.contains(*digest);
            let missing: BTreeSet<&Digest> = children.iter().chain(&subjects).filter(is_missing).collect();
            let missing = missing.into_iter().cloned().collect();
            let parents: Vec<Digest> =
                parents.get(digest).map(|parents| parents.iter().map(|parent| (*parent).clone()).collect()).unwrap_or_default();
            Some(record::Manifest {
                registry: registry.to_owned(),
                repository: repository.to_owned(),
                digest: digest.clone(),
                tags: entry.tags.iter().map(ToString::to_string).collect(),
                media_type: manifest.media_type.clone(),
                artifact_type: manifest.artifact_type.clone(),
                size: entry.size,
                image_size: Some(self.image_size_of(digest)),
                created: created.time,
                created_source: Some(created.source),
                pushed: entry.pushed,
                platform: self.platform(digest, entry, &parents),
                config: manifest.config.clone(),
                children,
                parents,
                subjects,
                missing,
                blobs: manifest.blobs.clone(),
                labels: entry.config().map(|config| config.labels.clone()).unwrap_or_default(),
                annotations: manifest.annotations.clone(),
                verdict: None,
            })
        };
        digests.into_iter().filter_map(record).collect()
    }

    /// The indexes that name each manifest.
    fn parents(&self) -> HashMap<&Digest, BTreeSet<&Digest>> {
        let mut parents: HashMap<&Digest, BTreeSet<&Digest>> = HashMap::new();
        for (digest, entry) in &self.manifests {
            for child in &entry.manifest.children {
                parents.entry(&child.digest).or_default().insert(digest);
            }
        }
        parents
    }

    /// When each manifest was made, children before the indexes that are as old as they are.
    fn dates(&self, now: DateTime<Utc>) -> HashMap<&Digest, Created> {
        let mut dates: HashMap<&Digest, Created> = HashMap::with_capacity(self.manifests.len());
        for digest in self.children_first() {
            let Some(entry) = self.manifests.get(digest) else { continue };
            let created = if entry.manifest.kind == Kind::Index {
                let platforms = entry.manifest.children.iter().filter(|child| !child.is_attestation());
                let there = platforms.filter(|child| {
                    let is_dated = dates.get(&child.digest).is_some_and(|created| created.time.is_some());
                    !self.missing.contains(&child.digest) && (is_dated || self.may_be_platform(child))
                });
                let known = there.map(|child| match dates.get(&child.digest) {
                    Some(Created { time: Some(time), .. }) => Ok(*time),
                    Some(Created { time: None, source }) => Err(format!("{}: {source}", child.digest.short())),
                    None => Err(format!("{}: could not be read", child.digest.short())),
                });
                let known: Vec<Result<DateTime<Utc>, String>> = known.collect();
                entry.manifest.created_of_index(known.iter().map(|date| date.as_ref().map(|time| *time).map_err(String::as_str)), now)
            } else {
                entry.manifest.created(entry.config.as_deref().map_err(String::as_str), now)
            };
            dates.insert(digest, created);
        }
        dates
    }

    /// Whether a child of an index is one that runs somewhere, or an index of such: all but artifacts, such as charts, which have no date
    /// and no platform.
    fn may_be_platform(&self, child: &Child) -> bool {
        let kind = self.manifests.get(&child.digest).map(|entry| entry.manifest.kind);
        child.platform.is_some() || !matches!(kind, Some(Kind::Artifact | Kind::BuildCache | Kind::Unknown))
    }

    /// All manifests, each after its children. Without recursion: an index may lie in an index ten thousand deep.
    fn children_first(&self) -> Vec<&Digest> {
        let mut order = Vec::with_capacity(self.manifests.len());
        let mut seen: HashSet<&Digest> = HashSet::with_capacity(self.manifests.len());
        let mut stack: Vec<(&Digest, bool)> = self.manifests.keys().map(|digest| (digest, false)).collect();
        while let Some((digest, children_are_done)) = stack.pop() {
            if children_are_done {
                order.push(digest);
                continue;
            }
            let Some(entry) = self.manifests.get(digest) else { continue };
            if !seen.insert(digest) {
                continue;
            }
            stack.push((digest, true));
            stack.extend(entry.manifest.children.iter().map(|child| (&child.digest, false)));
        }
        order
    }

    /// Bytes of the distinct blobs that a manifest and all below it name.
    fn image_size_of(&self, digest: &Digest) -> u64 {
        let mut blobs = HashSet::new();
        let mut seen = HashSet::new();
        let mut stack = vec![digest];
        let mut sum: u64 = 0;
        while let Some(digest) = stack.pop() {
            let Some(entry) = self.manifests.get(digest).filter(|_| seen.insert(digest)) else { continue };
            for blob in &entry.manifest.blobs {
                if blobs.insert(&blob.digest) {
                    sum = sum.saturating_add(blob.size);
                }
            }
            stack.extend(entry.manifest.children.iter().map(|child| &child.digest));
        }
        sum
    }

    /// What it runs on: as an index says that names it (in the order of their digests), else as its config says. That it is no platform at all
    /// (`unknown/unknown`) is believed last, as another index or the config may know better. An index runs nowhere.
    fn platform(&self, digest: &Digest, entry: &Entry, parents: &[Digest]) -> Option<String> {
        if matches!(entry.manifest.kind, Kind::Index | Kind::BuildCache) {
            return None;
        }
        let names_it = parents.iter().filter_map(|parent| self.manifests.get(parent)).flat_map(|parent| &parent.manifest.children);
        let (attestations, real): (Vec<_>, Vec<_>) =
            names_it.filter(|child| child.digest == *digest).partition(|child| child.is_attestation());
        let said = real.iter().find_map(|child| child.platform.clone());
        said.or_else(|| entry.config().and_then(|config| config.platform.clone()))
            .or_else(|| attestations.iter().find_map(|child| child.platform.clone()))
    }
}

#[cfg(test)]
mod tests;
