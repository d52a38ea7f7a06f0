//! A scene and the blobs, as faults: no input, no output, no clock.
//!
//! What is wrong with a thing is told once in a repository, with all tags that lead to it. A manifest that can be read is judged as if its
//! links were there, so that one fault hides no other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use super::Depth;
use super::blobs::{Data, State};
use super::fault::{Fault, Weight};
use super::scene::{Content, Leaf, Said, Scene, current_of, data_of, index_of, link_of};
use crate::digest::Digest;
use crate::manifest::Manifest;
use crate::record::Problem;
use crate::store::layout;

/// What is known of blobs.
pub trait Known {
    /// Whether a blob is there, and how large it is.
    fn data(&self, digest: &Digest) -> Data;
    /// What reading its content told.
    fn state(&self, digest: &Digest) -> State;
    /// Whether an upload that last moved then is under way.
    fn is_under_way(&self, moved: SystemTime) -> bool;
}

/// A repository, judged.
#[derive(Debug, Default)]
pub struct Judged {
    /// What is wrong, in an order that stays.
    pub faults: Vec<Fault>,
    /// Its images: what each tag names, and each manifest that no tag leads to; whether it is well.
    pub images: Vec<Image>,
    /// The manifests that are there and linked, and the configs of images: by these something may run.
    pub known: BTreeSet<Digest>,
}

/// What a tag names, or a manifest that no tag leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The tag.
    pub tag: Option<String>,
    /// What it names, as far as that is known.
    pub digest: Option<Digest>,
    /// All content by which somebody may use it.
    pub content: Vec<Digest>,
    /// Whether it can be served whole.
    pub is_well: bool,
}

/// Judges a repository.
#[must_use]
pub fn judge(scene: &Scene, depth: Depth, known: &impl Known) -> Judged {
    let mut judging = Judging { scene, depth, known, reach: reach(scene), faults: Vec::new() };
    judging.own();
    judging.tags();
    judging.manifests();
    if depth >= Depth::Blobs {
        judging.blobs();
    } else if depth >= Depth::Config {
        judging.configs();
    }
    judging.layers();
    judging.referrers();
    judging.rest();
    let mut faults = judging.faults;
    faults.sort();
    faults.dedup();
    let images = images(scene, &judging.reach, &faults);
    let known = known_digests(scene, &judging.reach);
    Judged { faults, images, known }
}

fn known_digests(scene: &Scene, reach: &BTreeMap<&Digest, Reach<'_>>) -> BTreeSet<Digest> {
    let is_linked = |digest: &Digest| scene.revisions.get(digest).is_some_and(|leaf| leaf.link != Said::Absent);
    let is_there = |digest: &Digest| scene.manifests.get(digest).is_some_and(|content| *content != Content::Absent);
    let manifests = reach.keys().filter(|digest| is_linked(digest) && is_there(digest));
    manifests
        .flat_map(|digest| config_of(scene.manifests.get(*digest).and_then(Content::manifest)).into_iter().chain([(*digest).clone()]))
        .collect()
}

/// How a manifest is reached.
#[derive(Debug, Clone, Default)]
struct Reach<'a> {
    /// The tags that lead to it.
    tags: BTreeSet<&'a str>,
    /// Manifests that lead to it, not itself.
    parents: BTreeSet<&'a Digest>,
    /// The platform by which one of them names it.
    platform: Option<&'a str>,
    /// Whether a tag names it directly.
    is_tagged: bool,
}

/// All manifests that are to be there: those with a link, those that tags name, and what these name in turn.
fn reach(scene: &Scene) -> BTreeMap<&Digest, Reach<'_>> {
    let mut reach: BTreeMap<&Digest, Reach<'_>> = BTreeMap::new();
    // A link that is gone leaves its folder; what is not named by anything else is not expected then.
    for (digest, _) in scene.revisions.iter().filter(|(_, leaf)| leaf.link != Said::Absent) {
        reach.entry(digest).or_default();
        descend(scene, &mut reach, digest, None);
    }
    for (name, tag) in &scene.tags {
        if let Said::Names(digest) = &tag.current.link {
            let found = reach.entry(digest).or_default();
            found.tags.insert(name);
            found.is_tagged = true;
            descend(scene, &mut reach, digest, Some(name));
        }
    }
    reach
}

/// Notes what a manifest leads to, `tag` by which it is reached itself.
fn descend<'a>(scene: &'a Scene, reach: &mut BTreeMap<&'a Digest, Reach<'a>>, top: &'a Digest, tag: Option<&'a str>) {
    let mut seen = BTreeSet::from([top]);
    let mut open: Vec<(&'a Digest, Vec<&'a Digest>)> = vec![(top, vec![top])];
    while let Some((digest, above)) = open.pop() {
        let children = scene.manifests.get(digest).and_then(Content::manifest).map(|manifest| &manifest.children);
        for child in children.into_iter().flatten() {
            let found = reach.entry(&child.digest).or_default();
            found.tags.extend(tag);
            found.parents.extend(above.iter().filter(|parent| **parent != &child.digest));
            if found.platform.is_none() {
                found.platform = child.platform.as_deref();
            }
            if seen.insert(&child.digest) {
                let mut above = above.clone();
                above.push(&child.digest);
                open.push((&child.digest, above));
            }
        }
    }
}

struct Judging<'a, K> {
    scene: &'a Scene,
    depth: Depth,
    known: &'a K,
    reach: BTreeMap<&'a Digest, Reach<'a>>,
    faults: Vec<Fault>,
}

impl<'a, K: Known> Judging<'a, K> {
    /// What is wrong with the repository itself.
    fn own(&mut self) {
        let scene = self.scene;
        let has_revisions = scene.revisions.values().any(|leaf| leaf.link != Said::Absent);
        if scene.has_manifests && scene.tags.is_empty() && !has_revisions {
            let detail = "the repository has no tags and no manifests; its folders are left".to_owned();
            self.push(scene.path_of(layout::MANIFESTS), Problem::RepositoryEmpty, Weight::Space, detail);
        } else if scene.has_layers && !scene.has_manifests && scene.uploads.is_empty() {
            let detail =
                "the repository has links to layers and no _manifests, so that a registry names it and knows nothing of it".to_owned();
            self.push(scene.path_of(layout::MANIFESTS), Problem::RepositoryGhost, Weight::Stumble, detail);
        }
        if !scene.has_layers && has_revisions {
            let detail = "the repository has manifests and no _layers, so that registries before 3.0 do not name it".to_owned();
            self.push(scene.path_of(layout::LAYERS), Problem::LayersMissing, Weight::Stumble, detail);
        }
        for problem in &scene.problems {
            let fault = of_problem(problem);
            self.faults.push(Fault { repository: Some(scene.name.clone()), ..fault });
        }
        for (path, moved) in scene.uploads.iter().filter(|(_, moved)| !moved.is_some_and(|moved| self.known.is_under_way(moved))) {
            let moved = moved.map_or_else(String::new, |time| format!(", which last moved at {}", time_text(time)));
            self.push(path.clone(), Problem::Upload, Weight::Space, format!("an upload that is not finished{moved}"));
        }
    }

    /// The links of tags.
    fn tags(&mut self) {
        for (name, tag) in &self.scene.tags {
            let tags = vec![name.clone()];
            let path = self.scene.path_of(&current_of(name));
            let (problem, detail) = match &tag.current.link {
                Said::Names(_) => (None, String::new()),
                Said::Absent => (Some(Problem::TagGhost), "the tag has no link, so that it is listed and names nothing".to_owned()),
                Said::Empty => (Some(Problem::LinkEmpty), "the link of the tag is empty".to_owned()),
                Said::Garbled(what) => (Some(Problem::LinkGarbled), format!("of the tag {what}")),
                Said::Unreadable(what) => {
                    let fault = self.fault(path.clone(), Problem::Unreadable, Weight::Unknown, format!("the link of the tag {what}"));
                    self.faults.push(Fault { tags: tags.clone(), ..fault });
                    (None, String::new())
                }
            };
            if let Some(problem) = problem {
                let fault = self.fault(path, problem, Weight::Broken, detail);
                self.faults.push(Fault { tags: tags.clone(), ..fault });
            }
            for (digest, leaf) in &tag.index {
                self.remembered(name, digest, leaf);
            }
        }
    }

    /// What a tag remembers. Servers read it where a tag is deleted, and not to serve one.
    fn remembered(&mut self, tag: &str, digest: &Digest, leaf: &Leaf) {
        let path = self.scene.path_of(&link_of(&index_of(tag), digest));
        let is_known = self.scene.revisions.get(digest).is_some_and(|leaf| leaf.link != Said::Absent);
        let (problem, weight, detail) = match &leaf.link {
            Said::Names(_) if leaf.link.is_of(digest) && is_known => return,
            // What a tag names is judged as such.
            Said::Names(_) if leaf.link.is_of(digest) && self.reach.contains_key(digest) => return,
            Said::Names(_) if leaf.link.is_of(digest) => {
                (Problem::LinkLeftover, Weight::Space, "the tag remembers a manifest that is gone".to_owned())
            }
            Said::Absent => (Problem::LinkLeftover, Weight::Space, "the folder of a link is there, and the link is not".to_owned()),
            other => match self.damaged(other, digest) {
                Some((problem, detail)) if problem == Problem::Unreadable => (problem, Weight::Unknown, detail),
                Some((problem, detail)) => (problem, Weight::Stumble, format!("what the tag remembers: {detail}")),
                None => return,
            },
        };
        let fault = self.fault(path, problem, weight, detail);
        self.faults.push(Fault { digest: Some(digest.clone()), ..fault });
    }

    /// What is wrong with a link that is there.
    fn damaged(&self, link: &Said, digest: &Digest) -> Option<(Problem, String)> {
        match link {
            Said::Empty => Some((Problem::LinkEmpty, "the link is empty".to_owned())),
            Said::Garbled(what) => Some((Problem::LinkGarbled, what.clone())),
            Said::Unreadable(what) => Some((Problem::Unreadable, format!("the link {what}"))),
            Said::Names(other) if !link.is_of(digest) => {
                Some((Problem::LinkGarbled, format!("the link leads to {other}, which belongs elsewhere")))
            }
            Said::Absent | Said::Names(_) => None,
        }
    }

    /// Links and content of all manifests that are to be there.
    fn manifests(&mut self) {
        let reach = std::mem::take(&mut self.reach);
        for (digest, found) in &reach {
            let content = self.scene.manifests.get(*digest).unwrap_or(&Content::Absent);
            let link = self.scene.revisions.get(*digest).map_or(&Said::Absent, |leaf| &leaf.link);
            let link_path = self.scene.path_of(&link_of(layout::REVISIONS, digest));
            let at = match link {
                Said::Names(at) if link.is_of(digest) => at,
                _ => *digest,
            };
            let mut told = Vec::new();
            let mut add = |path: String, problem, weight, detail: String| told.push((path, problem, weight, detail));
            let needed_by = if found.is_tagged { "a tag names the manifest" } else { "an index names the manifest" };
            match (self.damaged(link, digest), link, content) {
                (Some((Problem::Unreadable, detail)), ..) => add(link_path, Problem::Unreadable, Weight::Unknown, detail),
                (Some((problem, detail)), ..) => add(link_path, problem, Weight::Broken, format!("{detail}; it is that of a manifest")),
                (None, Said::Absent, Content::Whole { .. } | Content::Invalid(_)) => add(
                    link_path,
                    Problem::RevisionMissing,
                    Weight::Broken,
                    format!("{needed_by}, its content is there, and the repository has no link to it"),
                ),
                _ => {}
            }
            let path = data_of(at);
            match content {
                Content::Whole { violations, manifest, refusal, .. } => {
                    for (child, said, size) in self.other_sizes(manifest) {
                        let detail = format!("the index says that {child} has {said} bytes, and it has {size}, so that clients refuse it");
                        add(path.clone(), Problem::ManifestInvalid, Weight::Broken, detail);
                    }
                    let schema = (!violations.is_empty()).then(|| format!("the manifest breaks its schema: {}", violations.join("; ")));
                    if let Some(refusal) = refusal {
                        let refused = format!("a registry cannot read the manifest: {refusal}");
                        let detail = schema.map_or(refused.clone(), |schema| format!("{refused}; {schema}"));
                        add(path, Problem::ManifestInvalid, Weight::Broken, detail);
                    } else if let Some(schema) = schema {
                        add(path, Problem::ManifestInvalid, Weight::Stumble, schema);
                    }
                }
                Content::Absent if found.is_tagged || found.parents.is_empty() => {
                    add(path, Problem::ManifestMissing, Weight::Broken, "the content of the manifest is not there".to_owned());
                }
                Content::Absent => {
                    let platform = found.platform.map(|platform| format!(" for {platform}")).unwrap_or_default();
                    add(path, Problem::ChildMissing, Weight::Broken, format!("the manifest{platform} that an index names is not there"));
                }
                Content::Corrupt(what) => add(path, Problem::ManifestCorrupt, Weight::Broken, format!("the manifest {what}")),
                Content::Invalid(what) => {
                    add(path, Problem::ManifestInvalid, Weight::Broken, format!("the content of the manifest {what}"))
                }
                Content::Unreadable(what) => add(path, Problem::Unreadable, Weight::Unknown, format!("the manifest {what}")),
            }
            for (path, problem, weight, detail) in told {
                let fault = self.reached(self.fault(path, problem, weight, detail), digest, found);
                self.faults.push(Fault { digest: Some((*digest).clone()), ..fault });
            }
        }
        self.reach = reach;
    }

    /// The children that have another size than an index says, with both sizes.
    fn other_sizes(&self, index: &'a Manifest) -> Vec<(&'a Digest, u64, u64)> {
        let size = |digest: &Digest| match self.scene.manifests.get(digest) {
            Some(Content::Whole { size, .. }) => Some(*size),
            _ => None,
        };
        // Where it is no number it is told as such.
        let told = index.children.iter().filter(|child| child.size > 0);
        told.filter_map(|child| Some((&child.digest, child.size, size(&child.digest)?))).filter(|(_, said, size)| said != size).collect()
    }

    /// Who needs each blob: the manifests, in their order.
    fn needs(&self, configs_alone: bool) -> BTreeMap<&'a Digest, Need<'a>> {
        let mut needs: BTreeMap<&'a Digest, Need<'a>> = BTreeMap::new();
        for digest in self.reach.keys() {
            let Some(manifest) = self.scene.manifests.get(*digest).and_then(Content::manifest) else { continue };
            for blob in &manifest.blobs {
                let is_config = manifest.config.as_ref() == Some(&blob.digest);
                if manifest.elsewhere.contains(&blob.digest) || (configs_alone && !is_config) {
                    continue;
                }
                let need = needs.entry(&blob.digest).or_default();
                need.manifests.push(digest);
                need.is_config |= is_config;
                need.is_image_config |= is_config && manifest.has_image_config;
                // Schema 1 tells no sizes.
                if blob.size > 0 && !need.sizes.iter().any(|(size, _)| *size == blob.size) {
                    need.sizes.push((blob.size, digest));
                }
            }
        }
        needs
    }

    fn configs(&mut self) {
        for (digest, need) in self.needs(true) {
            self.needed_blob(digest, &need);
        }
    }

    fn blobs(&mut self) {
        for (digest, need) in self.needs(false) {
            self.needed_blob(digest, &need);
        }
    }

    /// A blob that manifests need: its link and its content.
    fn needed_blob(&mut self, digest: &Digest, need: &Need<'a>) {
        let noun = if need.is_config { "config" } else { "layer" };
        let link = self.scene.layers.get(digest).map_or(&Said::Absent, |leaf| &leaf.link);
        let link_path = self.scene.path_of(&link_of(layout::LAYERS, digest));
        let at = match link {
            Said::Names(at) if link.is_of(digest) => at,
            _ => digest,
        };
        let data = self.known.data(at);
        let mut found = Vec::new();
        match (self.damaged(link, digest), link, data) {
            (Some((problem, detail)), ..) => {
                let weight = if problem == Problem::Unreadable { Weight::Unknown } else { Weight::Broken };
                found.push((link_path, problem, weight, format!("{detail}; it is that of a {noun}")));
            }
            (None, Said::Absent, Data::Size(_)) => found.push((
                link_path,
                Problem::LayerLinkMissing,
                Weight::Broken,
                format!("the {noun} is there, and the repository has no link to it"),
            )),
            _ => {}
        }
        let path = data_of(at);
        match data {
            Data::Missing => {
                let size = need.sizes.first().map(|(size, _)| format!(" of {size} bytes")).unwrap_or_default();
                found.push((path, Problem::BlobMissing, Weight::Broken, format!("the {noun}{size} is not there")));
            }
            Data::Unreadable => found.push((path, Problem::Unreadable, Weight::Unknown, format!("the {noun} cannot be looked at"))),
            // Of an empty file it is known what reading it would tell.
            Data::Size(0) if !at.matches(b"") => {
                found.push((path, Problem::BlobCorrupt, Weight::Broken, format!("the {noun} is empty")));
            }
            Data::Size(size) => match self.known.state(at) {
                State::Corrupt => {
                    found.push((
                        path,
                        Problem::BlobCorrupt,
                        Weight::Broken,
                        format!("the {size} bytes of the {noun} do not hash to its digest"),
                    ));
                }
                State::Unreadable => {
                    found.push((path, Problem::Unreadable, Weight::Unknown, format!("the {noun} cannot be read to its end")))
                }
                state => {
                    if state == State::NoConfig && need.is_image_config {
                        let detail = "the config is no JSON object".to_owned();
                        found.push((path.clone(), Problem::ConfigUnreadable, Weight::Broken, detail));
                    }
                    if let Some((wanted, _)) = need.sizes.iter().find(|(wanted, _)| *wanted != size) {
                        let detail = format!("the {noun} has {size} bytes, and the manifest says {wanted}");
                        found.push((path, Problem::BlobSize, Weight::Broken, detail));
                    }
                }
            },
        }
        for (path, problem, weight, detail) in found {
            let mut manifests = need.manifests.clone();
            if problem == Problem::BlobSize {
                // It is right for those that say so.
                let Data::Size(size) = data else { continue };
                manifests.retain(|manifest| self.says_other_size(manifest, digest, size));
            }
            let fault = self.fault(path, problem, weight, detail);
            let fault = self.needed_by(fault, &manifests);
            self.faults.push(Fault { digest: Some(digest.clone()), ..fault });
        }
    }

    fn says_other_size(&self, manifest: &Digest, blob: &Digest, size: u64) -> bool {
        let manifest = self.scene.manifests.get(manifest).and_then(Content::manifest);
        manifest.is_some_and(|manifest| manifest.blobs.iter().any(|other| other.digest == *blob && other.size > 0 && other.size != size))
    }

    /// Links to layers that no manifest needs. Servers answer by them all the same, and a push relies on that.
    fn layers(&mut self) {
        let needed: BTreeSet<&Digest> = self.needs(false).into_keys().collect();
        for (digest, leaf) in &self.scene.layers {
            let path = self.scene.path_of(&link_of(layout::LAYERS, digest));
            let is_needed = needed.contains(digest);
            let (problem, weight, detail) = match (&leaf.link, self.damaged(&leaf.link, digest)) {
                // What is needed was judged with its manifests, as far as one looks.
                _ if is_needed && self.depth >= Depth::Blobs => continue,
                (Said::Absent, _) if is_needed => continue,
                (Said::Absent, _) => {
                    (Problem::LinkLeftover, Weight::Space, "the folder of a link is there, and the link is not".to_owned())
                }
                (_, Some((Problem::Unreadable, detail))) => (Problem::Unreadable, Weight::Unknown, detail),
                (_, Some((problem, detail))) => (problem, Weight::Stumble, format!("{detail}; it is that of a layer")),
                (Said::Names(at), None) if !is_needed && self.known.data(at) == Data::Missing => {
                    (Problem::LayerLinkDangling, Weight::Stumble, "a layer that no manifest needs is linked and not there".to_owned())
                }
                _ => continue,
            };
            let fault = self.fault(path, problem, weight, detail);
            self.faults.push(Fault { digest: Some(digest.clone()), ..fault });
        }
    }

    /// What is about a manifest that is not there.
    fn referrers(&mut self) {
        let is_there = |subject: &Digest| {
            self.reach.contains_key(subject) && self.scene.manifests.get(subject).is_some_and(|content| *content != Content::Absent)
        };
        let mut orphans = Vec::new();
        for (digest, found) in &self.reach {
            let manifest = self.scene.manifests.get(*digest).and_then(Content::manifest);
            if let Some(subject) = manifest.and_then(|manifest| manifest.subject.as_ref()).filter(|subject| !is_there(subject)) {
                let path = self.scene.path_of(&link_of(layout::REVISIONS, digest));
                let fault = self.fault(path, Problem::ReferrerOrphan, Weight::Space, format!("it is about {subject}, which is not there"));
                orphans.push(Fault { digest: Some((*digest).clone()), ..self.reached(fault, digest, found) });
            }
        }
        // A tag whose manifest says the same is told with that.
        let told: BTreeSet<String> = orphans.iter().flat_map(|orphan: &Fault| orphan.tags.clone()).collect();
        for name in self.scene.tags.keys().filter(|name| !told.contains(*name)) {
            if let Some(subject) = crate::reference::subject_of_tag(name).filter(|subject| !is_there(subject)) {
                let path = self.scene.path_of(&current_of(name));
                let fault =
                    self.fault(path, Problem::ReferrerOrphan, Weight::Space, format!("the tag is about {subject}, which is not there"));
                orphans.push(Fault { tags: vec![name.clone()], ..fault });
            }
        }
        self.faults.append(&mut orphans);
    }

    /// What only costs space.
    fn rest(&mut self) {
        let mut space = Vec::new();
        for (digest, leaf) in &self.scene.revisions {
            let path = self.scene.path_of(&link_of(layout::REVISIONS, digest));
            let found = self.reach.get(digest);
            let manifest = self.scene.manifests.get(digest).and_then(Content::manifest);
            if leaf.link == Said::Absent && found.is_none() {
                let detail = "the folder of a manifest is there, and its link is not".to_owned();
                let fault = self.fault(path, Problem::LinkLeftover, Weight::Space, detail);
                space.push(Fault { digest: Some(digest.clone()), ..fault });
            } else if let Some(found) = found
                && found.tags.is_empty()
                && found.parents.is_empty()
                && manifest.is_some_and(|manifest| manifest.subject.is_none())
            {
                let fault = self.fault(path, Problem::RevisionOverwritten, Weight::Space, "no tag leads to the manifest".to_owned());
                space.push(Fault { digest: Some(digest.clone()), ..self.reached(fault, digest, found) });
            }
        }
        self.faults.append(&mut space);
    }

    fn push(&mut self, path: String, problem: Problem, weight: Weight, detail: String) {
        let fault = self.fault(path, problem, weight, detail);
        self.faults.push(fault);
    }

    fn fault(&self, path: String, problem: Problem, weight: Weight, detail: String) -> Fault {
        Fault {
            repository: Some(self.scene.name.clone()),
            tags: Vec::new(),
            problem,
            digest: None,
            manifest: None,
            platform: None,
            content: Vec::new(),
            path,
            weight,
            detail,
        }
    }

    /// Says of a fault by what its manifest is reached.
    fn reached(&self, fault: Fault, digest: &Digest, found: &Reach<'_>) -> Fault {
        Fault {
            tags: found.tags.iter().map(|tag| (*tag).to_owned()).collect(),
            manifest: found.parents.iter().next_back().map(|parent| (*parent).clone()),
            platform: found.platform.map(str::to_owned),
            content: content(self.scene, digest, found),
            ..fault
        }
    }

    /// Says of a fault which manifests need what is wrong.
    fn needed_by(&self, fault: Fault, manifests: &[&Digest]) -> Fault {
        let (mut tags, mut all) = (BTreeSet::new(), BTreeSet::new());
        let mut platforms = BTreeSet::new();
        for digest in manifests {
            if let Some(found) = self.reach.get(digest) {
                tags.extend(found.tags.iter().map(|tag| (*tag).to_owned()));
                all.extend(content(self.scene, digest, found));
                platforms.insert(found.platform);
            }
            all.insert((*digest).clone());
        }
        // One that a tag leads to is named rather than one that nobody asks for.
        let is_tagged = |digest: &&&Digest| self.reach.get(**digest).is_some_and(|found| !found.tags.is_empty());
        let manifest = manifests.iter().find(is_tagged).or(manifests.first());
        let platform = platforms.iter().next().copied().flatten().filter(|_| platforms.len() == 1);
        Fault {
            tags: tags.into_iter().collect(),
            manifest: manifest.map(|digest| (*digest).clone()),
            platform: platform.map(str::to_owned),
            content: all.into_iter().collect(),
            ..fault
        }
    }
}

/// Who needs a blob.
#[derive(Debug, Default)]
struct Need<'a> {
    manifests: Vec<&'a Digest>,
    is_config: bool,
    is_image_config: bool,
    /// The sizes that they say it has, each with the first that says so.
    sizes: Vec<(u64, &'a Digest)>,
}

/// All content by which somebody may use a manifest: itself, what leads to it, and its config.
fn content(scene: &Scene, digest: &Digest, found: &Reach<'_>) -> Vec<Digest> {
    let config = |digest: &Digest| config_of(scene.manifests.get(digest).and_then(Content::manifest));
    let parents = found.parents.iter().map(|parent| (*parent).clone());
    let mut all: Vec<Digest> = parents.chain([digest.clone()]).chain(config(digest)).collect();
    all.sort();
    all
}

fn config_of(manifest: Option<&Manifest>) -> Option<Digest> {
    manifest.filter(|manifest| manifest.has_image_config)?.config.clone()
}

/// The images of a repository, and whether each is well.
fn images(scene: &Scene, reach: &BTreeMap<&Digest, Reach<'_>>, faults: &[Fault]) -> Vec<Image> {
    let bad = || faults.iter().filter(|fault| fault.weight > Weight::Space);
    let tags: BTreeSet<&str> = bad().flat_map(|fault| &fault.tags).map(String::as_str).collect();
    let digests: BTreeSet<&Digest> = bad().flat_map(|fault| fault.digest.iter().chain(&fault.content)).collect();
    let content_of = |digest: &Digest| {
        let mut all: BTreeSet<Digest> =
            reach.get(digest).map(|found| content(scene, digest, found)).unwrap_or_default().into_iter().collect();
        // Who runs a platform of it runs it.
        let below = reach.iter().filter(|(_, found)| found.parents.contains(digest));
        for (child, _) in below {
            all.insert((*child).clone());
            all.extend(config_of(scene.manifests.get(*child).and_then(Content::manifest)));
        }
        all.into_iter().collect::<Vec<_>>()
    };
    let tagged = scene.tags.iter().map(|(name, tag)| {
        let digest = match &tag.current.link {
            Said::Names(digest) => Some(digest.clone()),
            _ => None,
        };
        let content = digest.as_ref().map(content_of).unwrap_or_default();
        Image { tag: Some(name.clone()), digest, content, is_well: !tags.contains(name.as_str()) }
    });
    let others = reach.iter().filter(|(_, found)| found.tags.is_empty() && found.parents.is_empty()).map(|(digest, _)| Image {
        tag: None,
        digest: Some((*digest).clone()),
        content: content_of(digest),
        is_well: !digests.contains(*digest),
    });
    tagged.chain(others).collect()
}

/// What a problem of the tree is as a fault.
#[must_use]
pub fn of_problem(problem: &crate::store::Problem) -> Fault {
    let name = problem.path.rsplit('/').next().unwrap_or_default();
    let (kind, weight) = match problem.hides {
        true => (Problem::Unreadable, Weight::Unknown),
        false if layout::is_temporary(name.as_bytes()) => (Problem::Temporary, Weight::Space),
        false => (Problem::Foreign, Weight::Space),
    };
    let detail = if kind == Problem::Temporary { "a file that a crash left".to_owned() } else { problem.what.clone() };
    Fault {
        repository: None,
        tags: Vec::new(),
        problem: kind,
        digest: None,
        manifest: None,
        platform: None,
        content: Vec::new(),
        path: problem.path.clone(),
        weight,
        detail,
    }
}

fn time_text(time: SystemTime) -> String {
    chrono::DateTime::<chrono::Utc>::from(time).format("%Y-%m-%dT%H:%M:%SZ").to_string()
}
