//! How a fault is mended: a pure function of what lies in a repository and of what is known of blobs. No input, no output, no clock.
//!
//! What can be rebuilt from names and manifests is rebuilt. What is lost is fetched where another registry was named, taken away where
//! that was asked for and nobody uses it, and else left, with the way out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use common::check::Fault;
use common::check::blobs::{Data, State};
use common::check::judge::Known;
use common::check::scene::{Content, Leaf, Said, Scene, data_of, index_of, link_of};
use common::digest::Digest;
use common::record::{Problem, Repair, RepairAction, RepairResult};
use common::store::layout;

use crate::matching::Held;

/// The way out where something is lost.
const LOST: &str = "push it again, fetch it with --from REGISTRY, or take away what needs it with --drop";
/// The way out where it is damaged.
const LOST_IMAGE: &str = "push the image again, fetch it with --from REGISTRY, or take away what needs it with --drop";
/// Why damaged content is fetched anew.
const DAMAGED: &str = "what is there does not hash to its digest";
/// What is said of a repository without tags and manifests.
pub(crate) const GHOST: &str = "nothing of it can be served, and nothing of it is lost: reg-gc takes away what is left of it";
/// The way out where it is in use.
const IN_USE: &str = "it is in use, and nothing that is in use is taken away: push it again, or fetch it with --from REGISTRY";

/// What may be done.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    /// `--drop`.
    pub(crate) drop: bool,
    /// Whether there is a `--from`.
    pub(crate) from: bool,
}

/// One step of mending, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// Its record, as planned.
    pub(crate) record: Repair,
    /// What is done.
    pub(crate) act: Act,
    /// What the registry must forget then.
    pub(crate) forget: Vec<Forget>,
}

/// What is done at the path of a step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Act {
    /// A folder is made.
    Folder,
    /// What lies there is moved into the folder of the run.
    Move,
    /// Content is fetched.
    Fetch {
        /// Its digest.
        digest: Digest,
        /// Whether it is asked for as a manifest.
        is_manifest: bool,
        /// How many bytes a manifest says that it has, the largest where several do.
        size: Option<u64>,
    },
    /// A link is written, if the content to which it leads is there then.
    Link {
        /// The digest that it is to name.
        to: Digest,
    },
    /// Nothing.
    None,
}

/// What is in the storage no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Forget {
    /// The content of a blob.
    Blob(Digest),
    /// A link of a repository.
    Link(String, Digest),
}

impl Step {
    /// Whether it takes away or replaces something, so that nobody may write meanwhile.
    pub(crate) fn needs_quiet(&self) -> bool {
        matches!(self.act, Act::Move | Act::Fetch { .. })
    }

    /// Nothing is done about a fault.
    pub(crate) fn none(fault: &Fault, result: RepairResult, why: impl Into<String>) -> Self {
        let record = Repair { result, why: Some(why.into()), ..record(fault, RepairAction::None, fault.path.clone()) };
        Self { record, act: Act::None, forget: Vec::new() }
    }
}

fn record(fault: &Fault, action: RepairAction, path: String) -> Repair {
    Repair {
        repository: fault.repository.clone(),
        tag: fault.tags.first().cloned(),
        digest: fault.digest.clone(),
        problem: fault.problem,
        action,
        path: Some(path),
        result: RepairResult::Planned,
        why: None,
        before: None,
        after: None,
    }
}

/// Plans the repair of faults of one repository, or of the blobs, where there is no scene.
pub(crate) fn plan(scene: Option<&Scene>, faults: &[&Fault], known: &impl Known, options: Options, held: &Held) -> Vec<Step> {
    let empty = Scene::default();
    let mut planning = Planning { scene: scene.unwrap_or(&empty), known, options, held, steps: Vec::new() };
    for fault in faults {
        planning.fault(fault);
    }
    in_order(planning.steps)
}

/// Folders first, then content, links from the blobs up to the tags, and what goes from the tags down. Each once, and nothing is written
/// into what goes.
fn in_order(steps: Vec<Step>) -> Vec<Step> {
    let rank = |step: &Step| {
        let path = step.record.path.as_deref().unwrap_or_default();
        let depth = [layout::LAYERS, layout::REVISIONS].iter().position(|below| path.contains(&format!("/{below}/"))).unwrap_or(2);
        match &step.act {
            Act::Folder => 0,
            Act::Fetch { .. } => 1,
            Act::Link { .. } => 2 + depth,
            Act::Move if step.record.action == RepairAction::Quarantine => 10,
            Act::Move => 9 - depth,
            Act::None => 20,
        }
    };
    let goes: BTreeSet<String> = steps.iter().filter(|step| step.act == Act::Move).filter_map(|step| step.record.path.clone()).collect();
    let stays = |step: &Step| {
        let path = step.record.path.as_deref().unwrap_or_default();
        step.act == Act::None || !path.match_indices('/').any(|(end, _)| path.get(..end).is_some_and(|above| goes.contains(above)))
    };
    let mut steps: Vec<Step> = steps.into_iter().filter(stays).collect();
    steps.sort_by_key(rank);
    let mut seen = BTreeSet::new();
    steps.retain(|step| seen.insert((step.record.path.clone(), step.act.clone(), (step.act == Act::None).then_some(step.record.problem))));
    steps
}

/// Where a path lies in a repository.
enum Place<'a> {
    Current(&'a str),
    Index(&'a str),
    Revision,
    Layer,
    Elsewhere,
}

fn place<'a>(scene: &Scene, path: &'a str) -> Place<'a> {
    let below = format!("{}/", layout::repository(&scene.name));
    let Some(rest) = path.strip_prefix(&below) else { return Place::Elsewhere };
    let inside = |folder: &str| rest.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
    if inside(layout::REVISIONS).is_some() {
        return Place::Revision;
    }
    if inside(layout::LAYERS).is_some() {
        return Place::Layer;
    }
    match inside(layout::TAGS).and_then(|rest| rest.split_once('/')) {
        Some((tag, layout::CURRENT)) => Place::Current(tag),
        Some((tag, rest)) if rest.starts_with("index/") => Place::Index(tag),
        _ => Place::Elsewhere,
    }
}

/// The digest whose content lies at a path among the blobs.
pub(crate) fn digest_at(path: &str) -> Option<Digest> {
    let mut steps = path.strip_prefix(layout::BLOBS)?.strip_prefix('/')?.split('/');
    let (algorithm, _, hex) = (steps.next()?, steps.next()?, steps.next()?);
    layout::digest(algorithm, hex.as_bytes())
}

struct Planning<'a, K> {
    scene: &'a Scene,
    known: &'a K,
    options: Options,
    held: &'a Held,
    steps: Vec<Step>,
}

impl<K: Known> Planning<'_, K> {
    fn fault(&mut self, fault: &Fault) {
        let left = |why: &str| Step::none(fault, RepairResult::Left, why);
        match (fault.problem, place(self.scene, &fault.path)) {
            (Problem::TagGhost | Problem::LinkEmpty | Problem::LinkGarbled, Place::Current(tag)) => self.tag(fault, tag),
            (Problem::LinkEmpty | Problem::LinkGarbled, Place::Index(tag)) => self.remembered(fault, tag),
            (Problem::LinkEmpty | Problem::LinkGarbled | Problem::RevisionMissing, Place::Revision) => self.revision(fault),
            (Problem::LinkEmpty | Problem::LinkGarbled | Problem::LayerLinkMissing, Place::Layer) => self.layer(fault),
            (Problem::LayerLinkDangling, _) if self.options.drop => self.drop_link(fault, "no manifest needs it, and it is not there"),
            (Problem::LayerLinkDangling, _) => {
                let why = "no manifest needs it: reg-gc takes it away, and --drop does too";
                self.steps.push(Step::none(fault, RepairResult::Skipped, why));
            }
            (Problem::ManifestMissing | Problem::ManifestCorrupt | Problem::ChildMissing, _) => self.manifest(fault),
            (Problem::BlobMissing, _) => self.blob(fault),
            (Problem::BlobCorrupt | Problem::BlobSize, _) => self.damaged(fault),
            (Problem::LayersMissing, _) => {
                let planned = record(fault, RepairAction::Folder, fault.path.clone());
                self.push(planned, Act::Folder, "registries before 3.0 list repositories by it");
            }
            (Problem::ManifestInvalid | Problem::MediaTypeMismatch | Problem::ConfigUnreadable | Problem::DigestMismatch, _) => {
                let content = fault.digest.as_ref().map(|digest| self.content(digest));
                self.steps.push(left(if matches!(content, Some(Content::Whole { refusal: Some(_), .. })) {
                    "nobody can have pushed it like this: push the image anew, or let the tag name another manifest"
                } else {
                    "its content is as it was pushed: build and push the image anew"
                }));
            }
            (Problem::RepositoryGhost, _) => {
                self.steps.push(Step::none(fault, RepairResult::Skipped, GHOST));
            }
            (Problem::Unreadable, _) => self.steps.push(left("it cannot be read: look at the disk, or at the permissions")),
            _ => self.steps.push(left("nothing in the storage shows how to mend it")),
        }
    }

    fn push(&mut self, record: Repair, act: Act, why: impl Into<String>) {
        self.steps.push(Step { record: Repair { why: Some(why.into()), ..record }, act, forget: Vec::new() });
    }

    fn left(&mut self, fault: &Fault, why: impl Into<String>) {
        self.steps.push(Step::none(fault, RepairResult::Left, why));
    }

    fn link(&mut self, fault: &Fault, path: String, to: &Digest, why: impl Into<String>) {
        let planned = Repair { after: Some(to.to_string()), ..record(fault, RepairAction::Link, path) };
        self.push(planned, Act::Link { to: to.clone() }, why);
    }

    /// Fetches what has this digest, by which the fault's own content lies here.
    fn fetch(&mut self, fault: &Fault, digest: Digest, is_manifest: bool, why: &str) {
        let planned = record(fault, RepairAction::Fetch, data_of(&digest));
        let is_it = |named: &Digest| *named == digest || fault.digest.as_ref() == Some(named);
        let manifests = self.scene.manifests.values().filter_map(Content::manifest);
        let sizes =
            manifests.flat_map(|manifest| &manifest.blobs).filter(|blob| blob.size > 0 && is_it(&blob.digest)).map(|blob| blob.size);
        let size = sizes.max();
        self.push(planned, Act::Fetch { digest, is_manifest, size }, why);
    }

    fn content(&self, digest: &Digest) -> &Content {
        self.scene.manifests.get(digest).unwrap_or(&Content::Absent)
    }

    /// Whether the bytes of a manifest are those of its digest.
    fn hashes(&self, digest: &Digest) -> bool {
        matches!(self.content(digest), Content::Whole { .. } | Content::Invalid(_))
    }

    /// What a tag is to name: the newest of what it remembers that can be served.
    fn tag(&mut self, fault: &Fault, tag: &str) {
        let Some(index) = self.scene.tags.get(tag).map(|found| &found.index) else {
            return self.left(fault, "the tag is gone");
        };
        // A folder without its link is remembered too: a crash loses what was written last.
        let mut valid: Vec<(&Digest, &Leaf)> = index.iter().filter(|(digest, _)| self.is_served(digest)).collect();
        valid.sort_by_key(|(_, leaf)| std::cmp::Reverse(leaf.written));
        match valid.as_slice() {
            [(digest, leaf), rest @ ..] if rest.first().is_none_or(|(_, next)| next.written < leaf.written) => {
                let newer = index.values().filter(|other| other.written > leaf.written).count();
                let mut why = match (index.len(), leaf.written) {
                    (1, _) => "it is all that the tag remembers".to_owned(),
                    (of, Some(time)) => format!("the newest of {of} that the tag remembers, of {}", moment(time)),
                    (of, None) => format!("the one of {of} that the tag remembers and that can be served"),
                };
                if newer > 0 {
                    why = format!("{why}; {newer} newer {} cannot be served", if newer == 1 { "one" } else { "ones" });
                }
                // Whatever damaged or removed a link may have set the time too.
                if !leaf.link.is_of(digest) && !rest.is_empty() {
                    let what = if leaf.link == Said::Absent { "of a folder whose link is missing" } else { "of a damaged link" };
                    why = format!(
                        "{why}; this time is that {what}, and may be later than when the tag named it: look at it before it is pulled"
                    );
                }
                let (digest, is_absent) = ((*digest).clone(), leaf.link == Said::Absent);
                self.link(fault, fault.path.clone(), &digest, why);
                if is_absent {
                    let path = self.scene.path_of(&link_of(&index_of(tag), &digest));
                    self.link(fault, path, &digest, "the tag names it again");
                }
                self.revision_link(fault, &digest);
            }
            [] => self.no_tag(fault, tag, "nothing that the tag remembers can be served"),
            _ => self.no_tag(fault, tag, "the tag remembers several manifests of the same moment, and which was the last is not known"),
        }
    }

    /// Takes a tag away that names nothing.
    fn no_tag(&mut self, fault: &Fault, tag: &str, what: &str) {
        if !self.options.drop {
            return self.left(fault, format!("{what}: push it again, or take the tag away with --drop"));
        }
        if self.held.has_tag(&self.scene.name, tag) {
            return self.left(fault, format!("{what}; the tag is in use, and nothing that is in use is taken away: push it again"));
        }
        let path = self.scene.path_of(&format!("{}/{tag}", layout::TAGS));
        self.push(record(fault, RepairAction::Drop, path), Act::Move, what);
    }

    /// Whether a repository knows a manifest and has its content. One whose link is gone was deleted, and stays so.
    fn is_served(&self, digest: &Digest) -> bool {
        let link = self.scene.revisions.get(digest).map_or(&Said::Absent, |leaf| &leaf.link);
        let is_known = link.is_of(digest) || matches!(link, Said::Empty | Said::Garbled(_) | Said::Names(_));
        is_known && matches!(self.content(digest), Content::Whole { refusal: None, .. })
    }

    /// Writes the link to a manifest if there is none that is right.
    fn revision_link(&mut self, fault: &Fault, digest: &Digest) {
        if !self.scene.revisions.get(digest).is_some_and(|leaf| leaf.link.is_of(digest)) {
            let path = self.scene.path_of(&link_of(layout::REVISIONS, digest));
            self.link(fault, path, digest, "the content of the manifest is there");
        }
    }

    fn remembered(&mut self, fault: &Fault, tag: &str) {
        let Some(digest) = fault.digest.clone() else { return self.left(fault, "its folder names no digest") };
        if self.scene.revisions.get(&digest).is_some_and(|leaf| leaf.link != Said::Absent) {
            self.link(fault, fault.path.clone(), &digest, "its folder names it");
        } else if self.options.drop {
            self.drop_link(fault, "the manifest that the tag remembers is gone");
        } else {
            self.left(fault, format!("the manifest that the tag {tag} remembers is gone: --drop takes away what it remembers of it"));
        }
    }

    fn revision(&mut self, fault: &Fault) {
        let Some(digest) = fault.digest.clone() else { return self.left(fault, "its folder names no digest") };
        if self.hashes(&digest) {
            let why =
                if fault.problem == Problem::RevisionMissing { "the content of the manifest is there" } else { "its folder names it" };
            self.link(fault, fault.path.clone(), &digest, why);
        } else {
            self.manifest(fault);
        }
    }

    fn layer(&mut self, fault: &Fault) {
        let Some(digest) = fault.digest.clone() else { return self.left(fault, "its folder names no digest") };
        match (self.known.data(&digest), self.known.state(&digest)) {
            (Data::Size(_), State::Good | State::NoConfig) => {
                let is_named = fault.problem != Problem::LayerLinkMissing;
                let why = if is_named { "its folder names it, and the content is there" } else { "the manifest names it, and it is there" };
                self.link(fault, fault.path.clone(), &digest, why);
            }
            // A link to it would only move the fault.
            (Data::Size(_), State::Corrupt) => {
                let of_blob = Fault { problem: Problem::BlobCorrupt, path: data_of(&digest), ..fault.clone() };
                self.damaged(&of_blob);
                if self.options.from {
                    self.link(fault, fault.path.clone(), &digest, "its content is fetched");
                } else if fault.manifest.is_none() && self.options.drop {
                    self.drop_link(fault, "no manifest needs it, and its content is damaged");
                } else if fault.manifest.is_none() {
                    self.left(fault, "the content to which it would lead is damaged: a push brings both anew");
                }
            }
            (Data::Missing, _) if fault.manifest.is_none() && self.needing(&digest).is_empty() => {
                if self.options.drop {
                    self.drop_link(fault, "no manifest needs it, and it is not there");
                } else {
                    self.left(fault, "no manifest needs it, and it is not there: --drop takes it away");
                }
            }
            (Data::Missing, _) => self.blob(fault),
            _ => self.left(fault, "the content to which it would lead cannot be read"),
        }
    }

    /// Moves the folder of a link away.
    fn drop_link(&mut self, fault: &Fault, why: &str) {
        let folder = fault.path.strip_suffix(&format!("/{}", layout::LINK)).unwrap_or(&fault.path).to_owned();
        let forget = match (&fault.repository, &fault.digest) {
            (Some(repository), Some(digest)) => vec![Forget::Link(repository.clone(), digest.clone())],
            _ => Vec::new(),
        };
        let planned = Repair { why: Some(why.to_owned()), ..record(fault, RepairAction::Drop, folder) };
        self.steps.push(Step { record: planned, act: Act::Move, forget });
    }

    /// A manifest without its content.
    fn manifest(&mut self, fault: &Fault) {
        let Some(digest) = fault.digest.clone() else { return self.left(fault, "which manifest it is, is not known") };
        let is_corrupt = matches!(self.content(&digest), Content::Corrupt(_));
        let data = digest_at(&fault.path).unwrap_or_else(|| digest.clone());
        if matches!(self.content(&digest), Content::Unreadable(_)) {
            return self.left(fault, "its content cannot be read: look at the disk, or at the permissions");
        }
        if self.options.from {
            self.fetch(fault, data, true, if is_corrupt { DAMAGED } else { "it is lost" });
            return self.revision_link(fault, &digest);
        }
        let above = match &fault.platform {
            Some(platform) => format!("its platform {platform} is lost: {digest}"),
            None => format!("a manifest that it names is lost: {digest}"),
        };
        if is_corrupt {
            let why = "the content of the manifest is damaged";
            self.quarantine(fault, &data, BTreeSet::from([digest]), why, &above);
        } else if self.options.drop {
            self.drop_all(fault, BTreeSet::from([digest]), "the content of the manifest is lost", &above);
        } else {
            self.left(fault, format!("its content is lost: {LOST}"));
        }
    }

    /// A blob without its content.
    fn blob(&mut self, fault: &Fault) {
        let Some(digest) = fault.digest.clone() else { return self.left(fault, "which blob it is, is not known") };
        if self.options.from {
            let data = digest_at(&fault.path).unwrap_or_else(|| digest.clone());
            self.fetch(fault, data, false, "it is lost");
            return self.layer_link(fault, &digest);
        }
        if self.options.drop {
            let needing = self.needing(&digest);
            if needing.is_empty() {
                return self.left(fault, "no manifest of the repository needs it");
            }
            let why = format!("it needs {digest}, which is lost");
            if self.drop_all(fault, needing, &why, &why) {
                self.drop_layer(fault, &digest);
            }
            return;
        }
        self.left(fault, format!("its content is lost: {LOST}"));
    }

    /// Takes the link to a layer away whose content is lost.
    fn drop_layer(&mut self, fault: &Fault, digest: &Digest) {
        if self.scene.layers.contains_key(digest) {
            let path = self.scene.path_of(&link_of(layout::LAYERS, digest));
            self.drop_link(&Fault { path, digest: Some(digest.clone()), ..fault.clone() }, "its content is lost");
        }
    }

    /// Writes the link to a layer if there is none that is right.
    fn layer_link(&mut self, fault: &Fault, digest: &Digest) {
        if fault.repository.is_some() && !self.scene.layers.get(digest).is_some_and(|leaf| leaf.link.is_of(digest)) {
            let path = self.scene.path_of(&link_of(layout::LAYERS, digest));
            self.link(fault, path, digest, "its content is fetched");
        }
    }

    /// A blob whose content may not be that of its digest.
    fn damaged(&mut self, fault: &Fault) {
        let Some(digest) = digest_at(&fault.path).or_else(|| fault.digest.clone()) else {
            return self.left(fault, "which blob it is, is not known");
        };
        match (self.known.data(&digest), self.known.state(&digest)) {
            (Data::Missing, _) => self.blob(fault),
            (Data::Size(_), State::Corrupt) if self.options.from => {
                self.fetch(fault, digest, false, DAMAGED);
            }
            (Data::Size(_), State::Corrupt) => {
                let layer = fault.digest.clone().unwrap_or_else(|| digest.clone());
                // What no manifest needs is nobody's loss.
                let needing = if fault.manifest.is_some() { self.needing(&layer) } else { BTreeSet::new() };
                let why = format!("it needs {layer}, which is damaged");
                if self.quarantine(fault, &digest, needing, &why, &why) {
                    self.drop_layer(fault, &layer);
                }
            }
            (Data::Size(_), State::Good | State::NoConfig) => {
                self.left(fault, "its content is that of its digest, and the manifest is wrong: build and push the image anew");
            }
            _ => self.left(fault, "its content cannot be read: look at the disk, or at the permissions"),
        }
    }

    /// Moves damaged content away, in use or not: a push would leave it so. With `--drop` what needs it goes too, which is told by `true`;
    /// else that is left as broken as it was.
    fn quarantine(&mut self, fault: &Fault, digest: &Digest, needing: BTreeSet<Digest>, why: &str, above: &str) -> bool {
        let planned = record(fault, RepairAction::Quarantine, layout::blob(digest));
        let planned =
            Repair { why: Some("it does not hash to its digest, and while it lies there a push would leave it so".to_owned()), ..planned };
        self.steps.push(Step { record: planned, act: Act::Move, forget: vec![Forget::Blob(digest.clone())] });
        if needing.is_empty() {
            return false;
        }
        if self.options.drop {
            return self.drop_all(fault, needing, why, above);
        }
        let fault = Fault { path: data_of(digest), ..fault.clone() };
        self.left(&fault, format!("its content is damaged, and has to come anew once that is moved away: {LOST_IMAGE}"));
        false
    }

    /// The manifests that need a blob.
    fn needing(&self, blob: &Digest) -> BTreeSet<Digest> {
        let needs = |content: &Content| {
            content
                .manifest()
                .is_some_and(|manifest| !manifest.elsewhere.contains(blob) && manifest.blobs.iter().any(|other| other.digest == *blob))
        };
        self.scene.manifests.iter().filter(|(_, content)| needs(content)).map(|(digest, _)| digest.clone()).collect()
    }

    /// Takes manifests away that cannot be served, and the indexes that need them, with the tags that name any: for `why`, and what is
    /// `above` for that. `false` where something of that is in use.
    fn drop_all(&mut self, fault: &Fault, first: BTreeSet<Digest>, why: &str, above: &str) -> bool {
        let because = |digest: &Digest| if first.contains(digest) { why } else { above };
        let mut manifests = first.clone();
        loop {
            let indexes = self.scene.manifests.iter().filter(|(digest, content)| {
                !manifests.contains(*digest)
                    && content.manifest().is_some_and(|index| index.children.iter().any(|child| manifests.contains(&child.digest)))
            });
            let indexes: Vec<Digest> = indexes.map(|(digest, _)| digest.clone()).collect();
            if indexes.is_empty() {
                break;
            }
            manifests.extend(indexes);
        }
        let named = |leaf: &'_ Leaf| match &leaf.link {
            Said::Names(digest) => manifests.get(digest).cloned(),
            _ => None,
        };
        let tags: BTreeMap<&String, Digest> = self.scene.tags.iter().filter_map(|(name, tag)| Some((name, named(&tag.current)?))).collect();
        let is_held = tags.keys().any(|tag| self.held.has_tag(&self.scene.name, tag))
            || manifests.iter().chain(&fault.digest).any(|digest| self.held.has(digest));
        if is_held {
            self.left(fault, IN_USE);
            return false;
        }
        let mut gone: Vec<(String, Option<String>, Option<Digest>, &str)> = Vec::new();
        for (tag, digest) in &tags {
            gone.push((format!("{}/{tag}", layout::TAGS), Some((*tag).clone()), None, because(digest)));
        }
        for (name, tag) in self.scene.tags.iter().filter(|(name, _)| !tags.contains_key(name)) {
            for digest in tag.index.keys().filter(|digest| manifests.contains(*digest)) {
                gone.push((format!("{}/{}", index_of(name), layout::of_digest(digest)), Some(name.clone()), None, because(digest)));
            }
        }
        for digest in manifests.iter().filter(|digest| self.scene.revisions.contains_key(*digest)) {
            gone.push((format!("{}/{}", layout::REVISIONS, layout::of_digest(digest)), None, Some(digest.clone()), because(digest)));
        }
        if gone.is_empty() {
            self.left(fault, "no tag and no link leads to it");
        }
        for (below, tag, digest, why) in gone {
            let forget = digest.iter().map(|digest| Forget::Link(self.scene.name.clone(), digest.clone())).collect();
            let planned = record(fault, RepairAction::Drop, self.scene.path_of(&below));
            let planned = Repair { tag, digest: digest.or(planned.digest.clone()), why: Some(why.to_owned()), ..planned };
            self.steps.push(Step { record: planned, act: Act::Move, forget });
        }
        true
    }
}

fn moment(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The repositories that name each digest to be fetched, in the order in which they are asked.
pub(crate) fn named_by(steps: &[Step]) -> BTreeMap<Digest, Vec<String>> {
    let mut named: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
    for step in steps {
        if let (Act::Fetch { digest, .. }, Some(repository)) = (&step.act, &step.record.repository) {
            let repositories = named.entry(digest.clone()).or_default();
            if !repositories.contains(repository) {
                repositories.push(repository.clone());
            }
        }
    }
    named
}

#[cfg(test)]
mod tests;
