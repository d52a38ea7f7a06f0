//! What one repository was found to hold, and what is wrong with it, as drafts: each faulty thing once, with all tags that lead to it. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use common::check::Depth;
use common::digest::Digest;
use common::record::Problem;
use common::reference::{Host, Repository, Tag};

use super::manifest::Info;
use crate::collect::Batch;
use crate::draft::{Draft, Weight};

/// What a repository was found to hold.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Its tags, and where they lead to; none where that is not known.
    pub(crate) tags: BTreeMap<Tag, Option<Digest>>,
    /// Digests that are images of their own, whether a tag leads to them or not.
    pub(crate) images: BTreeSet<Digest>,
    /// The manifests that were served whole.
    pub(crate) manifests: HashMap<Digest, Rc<Info>>,
    pub(crate) faults: Vec<Fault>,
    /// The tags and digests that operands name.
    pub(crate) named: (BTreeSet<Tag>, BTreeSet<Digest>),
    /// Whether its tags could not be listed, so that not all of it is known.
    pub(crate) has_unseen_tags: bool,
}

/// Something that is wrong.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) problem: Problem,
    pub(crate) weight: Weight,
    /// Tags that are wrong themselves, beside those that lead to the manifest.
    pub(crate) tags: BTreeSet<Tag>,
    /// What is missing or damaged.
    pub(crate) digest: Option<Digest>,
    /// The manifest that needs it, where that is another.
    pub(crate) manifest: Option<Digest>,
    pub(crate) detail: String,
    /// Whether nothing of the registry could be asked for any more, so that this is one of many.
    pub(crate) of_registry: bool,
}

impl Fault {
    pub(crate) fn new(problem: Problem, weight: Weight, detail: impl Into<String>) -> Self {
        Self { problem, weight, tags: BTreeSet::new(), digest: None, manifest: None, detail: detail.into(), of_registry: false }
    }

    pub(crate) fn of_tag(mut self, tag: &Tag) -> Self {
        self.tags.insert(tag.clone());
        self
    }

    pub(crate) fn of_digest(mut self, digest: &Digest) -> Self {
        self.digest = Some(digest.clone());
        self
    }

    pub(crate) fn needed_by(mut self, manifest: &Digest) -> Self {
        self.manifest = Some(manifest.clone());
        self
    }

    /// The manifest through which tags lead to it.
    fn anchor(&self) -> Option<&Digest> {
        self.manifest.as_ref().or(self.digest.as_ref())
    }
}

impl Found {
    /// All that a manifest leads to: itself, its children and theirs, and their configs.
    pub(crate) fn reached(&self, digest: &Digest) -> HashSet<Digest> {
        let mut reached = HashSet::from([digest.clone()]);
        let mut open = vec![digest.clone()];
        while let Some(next) = open.pop() {
            let Some(info) = self.manifests.get(&next) else { continue };
            reached.extend(info.config.clone());
            for child in &info.children {
                if reached.insert(child.digest.clone()) {
                    open.push(child.digest.clone());
                }
            }
        }
        reached
    }

    /// Whether this content is known to be there: as a manifest, or as the config of one.
    pub(crate) fn has(&self, digest: &Digest) -> bool {
        self.manifests.contains_key(digest) || self.manifests.values().any(|info| info.config.as_ref() == Some(digest))
    }

    /// The drafts, and how many images there are.
    pub(crate) fn batch(self, host: &Host, repository: &Repository, depth: Depth, all: bool) -> Batch {
        let parents = self.parents();
        let tags_of = self.tags_of();
        let leads = Leads { found: &self, parents: &parents, tags_of: &tags_of };
        let place = |draft: Draft| Draft { registry: Some(host.clone()), repository: Some(repository.as_str().to_owned()), ..draft };
        let mut drafts: Vec<Draft> = merged(&self.faults).iter().map(|faults| place(leads.draft(faults))).collect();

        let grave = |fault: &&Fault| fault.weight >= Weight::Unknown;
        let bad_tags: HashSet<&Tag> = self.faults.iter().filter(grave).flat_map(|fault| &fault.tags).collect();
        let bad: HashSet<&Digest> = self.faults.iter().filter(grave).filter_map(Fault::anchor).collect();
        let tagged: HashSet<&Digest> = self.tags.values().flatten().collect();
        let of_tags = self.tags.iter().map(|(tag, digest)| (Some(tag), digest.as_ref()));
        let of_digests = self.images.iter().filter(|digest| !tagged.contains(digest)).map(|digest| (None, Some(digest)));
        let (mut images, mut healthy) = (0, 0);
        for (tag, digest) in of_tags.chain(of_digests) {
            images += 1;
            let Some(digest) = digest.filter(|_| tag.is_none_or(|tag| !bad_tags.contains(tag))) else { continue };
            let reached = self.reached(digest);
            if !self.manifests.contains_key(digest) || reached.iter().any(|digest| bad.contains(digest)) {
                continue;
            }
            healthy += 1;
            if all {
                let mut content: Vec<Digest> = reached.into_iter().collect();
                content.sort_unstable();
                let detail = format!("it is whole, as far as --depth {} looks", depth.name());
                drafts.push(place(Draft {
                    tags: tag.iter().map(ToString::to_string).collect(),
                    content,
                    ..draft(&Fault::new(Problem::None, Weight::Well, detail).of_digest(digest))
                }));
            }
        }
        Batch { images, healthy, drafts }
    }

    fn parents(&self) -> HashMap<&Digest, Vec<(&Digest, Option<&str>)>> {
        let mut parents: HashMap<&Digest, Vec<_>> = HashMap::new();
        for (digest, info) in &self.manifests {
            for child in &info.children {
                parents.entry(&child.digest).or_default().push((digest, child.platform.as_deref()));
            }
        }
        parents
    }

    fn tags_of(&self) -> HashMap<&Digest, Vec<&Tag>> {
        let mut tags: HashMap<&Digest, Vec<&Tag>> = HashMap::new();
        for (tag, digest) in &self.tags {
            if let Some(digest) = digest {
                tags.entry(digest).or_default().push(tag);
            }
        }
        tags
    }
}

/// What leads where.
struct Leads<'a> {
    found: &'a Found,
    parents: &'a HashMap<&'a Digest, Vec<(&'a Digest, Option<&'a str>)>>,
    tags_of: &'a HashMap<&'a Digest, Vec<&'a Tag>>,
}

impl Leads<'_> {
    /// One draft of faults that are about one thing.
    fn draft(&self, faults: &[&Fault]) -> Draft {
        let Some(first) = faults.first() else { return draft(&Fault::new(Problem::Other, Weight::Note, "")) };
        let mut tags: BTreeSet<String> = faults.iter().flat_map(|fault| &fault.tags).map(ToString::to_string).collect();
        let mut content = BTreeSet::new();
        let mut platforms = BTreeSet::new();
        let (named_tags, named_digests) = &self.found.named;
        let mut is_named = faults.iter().any(|fault| fault.tags.iter().any(|tag| named_tags.contains(tag)));
        // What is about what runs says itself which tag it means.
        let is_of_use = matches!(first.problem, Problem::TagMoved | Problem::RunningDigestGone);
        for anchor in faults.iter().filter(|_| !is_of_use).filter_map(|fault| fault.anchor()) {
            for digest in self.above(anchor) {
                is_named |= named_digests.contains(digest);
                is_named |= self.tags_of.get(digest).into_iter().flatten().any(|tag| named_tags.contains(*tag));
                tags.extend(self.tags_of.get(digest).into_iter().flatten().map(ToString::to_string));
                content.insert(digest.clone());
                content.extend(self.found.manifests.get(digest).and_then(|info| info.config.clone()));
            }
        }
        for fault in faults {
            let wanted = if fault.problem == Problem::ChildMissing { fault.digest.as_ref() } else { fault.anchor() };
            let named = wanted.and_then(|digest| self.parents.get(digest)).into_iter().flatten();
            platforms.extend(named.filter_map(|(_, platform)| *platform));
        }
        let others = faults.iter().filter_map(|fault| fault.manifest.as_ref()).collect::<BTreeSet<_>>().len();
        let mut draft = draft(first);
        if others > 1 {
            draft.detail = format!("{}, and {} manifests need it", first.detail, others);
        }
        // Who names an image wants to know whether that one can be had.
        if is_named && draft.weight == Weight::Broken {
            draft.weight = Weight::Wanted;
        }
        if first.of_registry && faults.len() > 1 {
            (draft.digest, draft.manifest) = (None, None);
            draft.detail = format!("{} requests were not made: {}", faults.len(), first.detail);
        }
        Draft {
            tags: tags.into_iter().collect(),
            content: content.into_iter().collect(),
            platform: Some(platforms.into_iter().collect::<Vec<_>>().join(", ")).filter(|platforms| !platforms.is_empty()),
            ..draft
        }
    }

    /// A manifest and all that lead to it.
    fn above<'b>(&'b self, digest: &'b Digest) -> HashSet<&'b Digest> {
        let mut above = HashSet::from([digest]);
        let mut open = vec![digest];
        while let Some(next) = open.pop() {
            for (parent, _) in self.parents.get(next).into_iter().flatten() {
                if above.insert(parent) {
                    open.push(parent);
                }
            }
        }
        above
    }
}

fn draft(fault: &Fault) -> Draft {
    let (digest, manifest) = (fault.digest.clone(), fault.manifest.clone());
    Draft { digest, manifest, ..Draft::new(fault.problem, fault.weight, fault.detail.clone()) }
}

/// The faults, those of one thing together: one digest that is missing from many manifests is one finding, and so is a registry that is out
/// of reach.
fn merged(faults: &[Fault]) -> Vec<Vec<&Fault>> {
    let mut ordered: Vec<&Fault> = faults.iter().collect();
    ordered.sort_by(|a, b| (a.problem, &a.digest, &a.manifest, &a.tags).cmp(&(b.problem, &b.digest, &b.manifest, &b.tags)));
    let mut merged: Vec<Vec<&Fault>> = Vec::new();
    let mut places: HashMap<(Problem, Option<&Digest>, &str), usize> = HashMap::new();
    for fault in ordered {
        let key = match (fault.of_registry, &fault.digest) {
            (true, _) => Some((fault.problem, None, fault.detail.as_str())),
            // Each use of a tag that moved is one of its own, with its own tag.
            (false, _) if fault.problem == Problem::TagMoved => None,
            // One manifest can be wrong in several ways.
            (false, Some(digest))
                if matches!(fault.problem, Problem::ManifestInvalid | Problem::MediaTypeMismatch | Problem::DigestMismatch) =>
            {
                Some((fault.problem, Some(digest), fault.detail.as_str()))
            }
            // Else the words may be of one platform, or of one of those that need it.
            (false, Some(digest)) => Some((fault.problem, Some(digest), "")),
            (false, None) => None,
        };
        match key.and_then(|key| places.get(&key).copied()) {
            Some(place) => merged[place].push(fault),
            None => {
                places.extend(key.map(|key| (key, merged.len())));
                merged.push(vec![fault]);
            }
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use common::manifest::Child;

    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn tag(text: &str) -> Tag {
        text.parse().unwrap()
    }

    fn image(config: &str) -> Rc<Info> {
        Rc::new(Info { config: Some(digest(config)), ..Info::default() })
    }

    fn index(children: &[(&str, &str)]) -> Rc<Info> {
        let child = |(name, platform): &(&str, &str)| Child {
            digest: digest(name),
            media_type: None,
            platform: Some((*platform).to_owned()),
            attests: None,
            size: 0,
        };
        Rc::new(Info { children: children.iter().map(child).collect(), ..Info::default() })
    }

    /// `1` and `latest` lead to an index of `amd` and `arm`, `amd-1` to `amd`, `2` to an image; `broken` leads nowhere.
    fn found() -> Found {
        let mut found = Found::default();
        for (name, to) in [("1", "index"), ("latest", "index"), ("amd-1", "amd"), ("2", "two")] {
            found.tags.insert(tag(name), Some(digest(to)));
        }
        found.tags.insert(tag("broken"), None);
        found.manifests.insert(digest("index"), index(&[("amd", "linux/amd64"), ("arm", "linux/arm64")]));
        for (name, config) in [("amd", "amd-config"), ("arm", "arm-config"), ("two", "two-config")] {
            found.manifests.insert(digest(name), image(config));
        }
        found
    }

    fn batch(found: Found) -> Batch {
        let mut batch = found.batch(&"r.local".parse().unwrap(), &"a".parse().unwrap(), Depth::Blobs, false);
        batch.drafts.sort_by(|a, b| a.tags.cmp(&b.tags));
        batch
    }

    fn missing(blob: &str, manifest: &str) -> Fault {
        Fault::new(Problem::BlobMissing, Weight::Broken, "the layer is not there").of_digest(&digest(blob)).needed_by(&digest(manifest))
    }

    #[test]
    fn a_fault_is_told_once_with_all_tags_that_lead_to_it() {
        let mut found = found();
        found.faults.push(missing("layer", "amd"));
        found.faults.push(missing("layer", "arm"));
        found.faults.push(Fault::new(Problem::TagGhost, Weight::Broken, "").of_tag(&tag("broken")));
        let batch = batch(found);
        assert_eq!((batch.images, batch.healthy, batch.drafts.len()), (5, 1, 2));
        let draft = &batch.drafts[0];
        assert_eq!(draft.tags, ["1", "amd-1", "latest"]);
        assert_eq!(draft.platform.as_deref(), Some("linux/amd64, linux/arm64"));
        assert!(draft.detail.ends_with("and 2 manifests need it"), "{}", draft.detail);
        let content: HashSet<Digest> = draft.content.iter().cloned().collect();
        assert_eq!(content, ["index", "amd", "arm", "amd-config", "arm-config"].map(digest).into());
        assert_eq!((batch.drafts[1].problem, &batch.drafts[1].tags[..]), (Problem::TagGhost, &["broken".to_owned()][..]));
    }

    #[test]
    fn a_missing_child_names_its_platform_and_leaves_the_others_alone() {
        let mut found = found();
        found.manifests.remove(&digest("arm"));
        found.faults.push(Fault::new(Problem::ChildMissing, Weight::Broken, "").of_digest(&digest("arm")).needed_by(&digest("index")));
        let batch = batch(found);
        assert_eq!((batch.healthy, batch.drafts[0].platform.as_deref()), (2, Some("linux/arm64")));
        assert_eq!(batch.drafts[0].tags, ["1", "latest"]);
    }

    #[test]
    fn what_only_is_good_to_know_leaves_an_image_healthy() {
        let mut found = found();
        found.faults.push(Fault::new(Problem::TagMoved, Weight::Note, "").of_tag(&tag("2")).of_digest(&digest("old")));
        let batch = batch(found);
        assert_eq!((batch.healthy, batch.drafts.len()), (4, 1));
    }

    #[test]
    fn a_registry_that_went_away_is_told_once() {
        let mut found = found();
        for name in ["1", "2", "latest"] {
            found.tags.insert(tag(name), None);
            let fault = Fault::new(Problem::NotAsked, Weight::Unknown, "too many requests").of_tag(&tag(name));
            found.faults.push(Fault { of_registry: true, ..fault });
        }
        let batch = batch(found);
        assert_eq!((batch.drafts.len(), batch.healthy), (1, 1));
        assert_eq!(
            (&batch.drafts[0].tags[..], &batch.drafts[0].detail[..]),
            (&["1", "2", "latest"].map(str::to_owned)[..], "3 requests were not made: too many requests")
        );
    }

    #[test]
    fn what_is_broken_in_an_image_that_was_named_is_wanted() {
        let weights = |named: (&[&str], &[&str])| {
            let mut found = found();
            found.named = (named.0.iter().copied().map(tag).collect(), named.1.iter().copied().map(digest).collect());
            found.faults.push(missing("layer", "amd"));
            found.faults.push(Fault::new(Problem::ManifestInvalid, Weight::Stumble, "").of_digest(&digest("amd")));
            let mut weights: Vec<_> = batch(found).drafts.into_iter().map(|draft| draft.weight).collect();
            weights.sort_unstable();
            weights
        };
        for (tags, digests, expected) in [
            (&[][..], &[][..], Weight::Broken),
            (&["2"], &["arm"], Weight::Broken),
            (&["latest"], &[], Weight::Wanted),
            (&[], &["index"], Weight::Wanted),
            (&[], &["amd"], Weight::Wanted),
        ] {
            assert_eq!(weights((tags, digests)), [Weight::Stumble, expected], "{tags:?} {digests:?}");
        }
    }

    #[test]
    fn indexes_in_a_circle_end() {
        let mut found = Found::default();
        found.tags.insert(tag("1"), Some(digest("a")));
        found.manifests.insert(digest("a"), index(&[("b", "x/y")]));
        found.manifests.insert(digest("b"), index(&[("a", "x/y")]));
        found.faults.push(missing("layer", "b"));
        assert_eq!(batch(found).drafts[0].tags, ["1"]);
    }
}
