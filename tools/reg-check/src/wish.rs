//! What is to be asked for: of which registry, of which repository, by which names. Pure.

use std::collections::{BTreeMap, BTreeSet};

use common::cli::operand::{Operand, Part, Scheme, Wanted};
use common::digest::Digest;
use common::record::{Manifest, Use};
use common::reference::{Host, InvalidName, Reference, Repository, Tag};

/// What is to be asked of one registry.
#[derive(Debug, Clone)]
pub(crate) struct Registered {
    pub(crate) host: Host,
    pub(crate) scheme: Scheme,
    /// What its catalog names, below these prefixes or, where there are none, all of it; `None` where the catalog is not asked for.
    pub(crate) catalog: Option<Vec<Repository>>,
    /// What was named.
    pub(crate) repositories: BTreeMap<Repository, Wish>,
}

/// What is to be asked for in one repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) tags: BTreeMap<Tag, TagWish>,
    pub(crate) digests: BTreeMap<Digest, DigestWish>,
    pub(crate) running: BTreeSet<Running>,
    /// Whether all of the repository is meant, so that what a use names belongs to it, whether it was listed or not.
    pub(crate) whole: bool,
    /// Whether the registry is asked for its tags, and who named it; else the wish holds all that is looked at.
    pub(crate) list: Option<NamedBy>,
}

/// Who named a repository that is looked at whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamedBy {
    /// The catalog.
    Catalog,
    /// An operand.
    Operand,
    /// A listing that did not read it whole.
    Listing,
}

impl NamedBy {
    /// What a sentence begins with.
    pub(crate) fn says(self) -> &'static str {
        match self {
            Self::Catalog => "the catalog names it",
            Self::Operand => "it was named",
            Self::Listing => "the listing names it",
        }
    }
}

/// Why a tag is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TagWish {
    /// The registry lists it; else an operand or a use names it.
    pub(crate) listed: bool,
    /// What it led to when it was listed.
    pub(crate) listed_as: Option<Digest>,
    /// An operand names it.
    pub(crate) named: bool,
}

/// Why a digest is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DigestWish {
    /// Whether it is an image of its own, and not what a tag or an index leads to.
    pub(crate) image: bool,
    /// Tags that led to it when it was listed: they are its names if it is gone.
    pub(crate) listed_as: BTreeSet<Tag>,
    /// An operand names it.
    pub(crate) named: bool,
}

/// Something that runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Running {
    /// What runs.
    pub(crate) digest: Digest,
    /// The tag by which it would be started anew; none where a digest is pinned.
    pub(crate) tag: Option<Tag>,
}

impl Wish {
    /// Adds a name that somebody wrote.
    fn add_named(&mut self, tag: Option<Tag>, digest: Option<Digest>) {
        match (tag, digest) {
            // The digest decides what is pulled.
            (_, Some(digest)) => self.digests.entry(digest).or_default().image = true,
            (Some(tag), None) => {
                self.tags.entry(tag).or_default();
            }
            (None, None) => {}
        }
    }

    /// Adds the image that an operand names.
    pub(crate) fn add_operand(&mut self, reference: &Reference) {
        match (&reference.tag, &reference.digest) {
            (_, Some(digest)) => {
                let wish = self.digests.entry(digest.clone()).or_default();
                (wish.image, wish.named) = (true, true);
            }
            (Some(tag), None) => self.tags.entry(tag.clone()).or_default().named = true,
            (None, None) => {}
        }
    }

    /// Adds what a use names, and what it runs.
    pub(crate) fn add_use(&mut self, record: &Use) -> Result<(), InvalidName> {
        let tag: Option<Tag> = record.tag.as_deref().map(str::parse).transpose()?;
        let tag = tag.filter(|_| record.digest.is_none());
        self.add_named(tag.clone(), record.digest.clone());
        if let Some(digest) = record.running_digest.clone()
            && record.digest.as_ref() != Some(&digest)
        {
            self.running.insert(Running { digest, tag });
        }
        Ok(())
    }

    /// Adds a manifest that was listed.
    pub(crate) fn add_manifest(&mut self, record: &Manifest) -> Result<(), InvalidName> {
        self.whole = true;
        let wish = self.digests.entry(record.digest.clone()).or_default();
        // A tag of it is the image.
        wish.image |= record.tags.is_empty() && is_image(record);
        for tag in &record.tags {
            let tag: Tag = tag.parse()?;
            wish.listed_as.insert(tag.clone());
            let tag = self.tags.entry(tag).or_default();
            (tag.listed, tag.listed_as) = (true, Some(record.digest.clone()));
        }
        Ok(())
    }

    /// Adds a tag that was listed.
    pub(crate) fn add_tag(&mut self, tag: Tag) {
        self.whole = true;
        self.tags.entry(tag).or_default().listed = true;
    }

    /// Asks for all of the repository.
    pub(crate) fn add_whole(&mut self, by: NamedBy) {
        self.whole = true;
        // The catalog or an operand is no worse a reason than what was there before.
        self.list.get_or_insert(by);
    }

    /// Adds what an inventory knows of the repository beside what was asked for: of the whole, all; of single images, only what runs of these.
    pub(crate) fn add_known(&mut self, record: &Use) -> Result<(), InvalidName> {
        let tag: Option<Tag> = record.tag.as_deref().map(str::parse).transpose()?;
        let is_meant = match (&record.digest, tag) {
            (Some(digest), _) => self.digests.contains_key(digest),
            (None, Some(tag)) => self.tags.contains_key(&tag),
            (None, None) => false,
        };
        if self.whole || is_meant { self.add_use(record) } else { Ok(()) }
    }
}

/// Whether a listed manifest is an image of its own. What an index leads to, or what is about another manifest, is looked at with that.
pub(crate) fn is_image(record: &Manifest) -> bool {
    !record.tags.is_empty() || (record.parents.is_empty() && record.subjects.is_empty())
}

impl Registered {
    pub(crate) fn new(host: Host, scheme: Scheme) -> Self {
        Self { host, scheme, catalog: None, repositories: BTreeMap::new() }
    }

    /// The prefixes of the header's scope.
    pub(crate) fn prefixes(&self) -> Vec<String> {
        let names = self.catalog.iter().flatten().map(ToString::to_string);
        // A catalog without a prefix is everything, whatever else was named.
        if self.catalog.as_ref().is_some_and(Vec::is_empty) {
            return Vec::new();
        }
        let names: BTreeSet<String> = names.chain(self.repositories.keys().map(ToString::to_string)).collect();
        names.into_iter().collect()
    }
}

/// One operand.
#[derive(Debug, Clone)]
pub(crate) enum Named {
    /// A registry or a part of it.
    Registry(Operand),
    /// One image.
    Image(Scheme, Reference),
}

impl Named {
    /// Tells a registry from an image: an image has a tag or a digest behind its last slash.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let (scheme, name) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(name), _) => (Scheme::Http, name),
            (None, Some(name)) => (Scheme::Https, name),
            (None, None) => (Scheme::Unsaid, text),
        };
        let has_digest =
            name.split_once('@').is_some_and(|(_, rest)| ["sha256:", "sha512:"].iter().any(|algorithm| rest.starts_with(algorithm)));
        let has_tag = !name.contains('@') && name.rsplit_once('/').is_some_and(|(_, last)| last.contains(':'));
        if has_digest || has_tag {
            return Ok(Self::Image(scheme, name.parse()?));
        }
        let operand = Operand::parse(text).map_err(|error| {
            // A password that stands before an @ is shown to nobody; that sentence has its own way out.
            if text.contains('@') {
                return error;
            }
            error.context(format!(
                "{text:?} is neither a registry (HOST[:PORT] or HOST[:PORT]/PREFIX) nor an image of one (HOST[:PORT]/REPOSITORY:TAG or \
                 HOST[:PORT]/REPOSITORY@DIGEST)"
            ))
        })?;
        Ok(Self::Registry(operand))
    }

    pub(crate) fn host(&self) -> &Host {
        match self {
            Self::Registry(operand) => &operand.host,
            Self::Image(_, reference) => &reference.registry,
        }
    }

    /// Its registry alone, to which user and password may belong.
    pub(crate) fn registry(&self) -> Operand {
        match self {
            Self::Registry(operand) => operand.clone(),
            Self::Image(scheme, reference) => Operand { host: reference.registry.clone(), scheme: *scheme, prefix: None },
        }
    }
}

/// What several operands ask for, in the order in which registries were named first.
pub(crate) fn by_registry(named: &[Named]) -> Vec<Registered> {
    let mut all: Vec<Registered> = Vec::new();
    for one in named {
        let registered = entry(&mut all, one.host(), Scheme::Unsaid);
        match one {
            Named::Registry(operand) => {
                registered.scheme = registered.scheme.max(operand.scheme);
                let Wanted { part, .. } = operand.wanted();
                match (&mut registered.catalog, part) {
                    // The whole registry holds every part of it.
                    (catalog, Part::All) => *catalog = Some(Vec::new()),
                    (Some(prefixes), _) if prefixes.is_empty() => {}
                    (Some(prefixes), Part::Below(more) | Part::Named(more)) => prefixes.extend(more),
                    (catalog @ None, Part::Below(more) | Part::Named(more)) => *catalog = Some(more),
                }
            }
            Named::Image(scheme, reference) => {
                registered.scheme = registered.scheme.max(*scheme);
                let wish = registered.repositories.entry(reference.repository.clone()).or_default();
                wish.add_operand(reference);
            }
        }
    }
    for registered in &mut all {
        if let Some(prefixes) = &mut registered.catalog {
            prefixes.sort();
            prefixes.dedup();
        }
    }
    all
}

/// The registry of this host, added behind the others where it is new.
pub(crate) fn entry<'a>(all: &'a mut Vec<Registered>, host: &Host, scheme: Scheme) -> &'a mut Registered {
    let place = all.iter().position(|registered| registered.host == *host).unwrap_or_else(|| {
        all.push(Registered::new(host.clone(), scheme));
        all.len() - 1
    });
    &mut all[place]
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn shown(text: &str) -> String {
        match Named::parse(text) {
            Ok(Named::Registry(operand)) => format!("{:?} {} {:?}", operand.scheme, operand.host, operand.prefix),
            Ok(Named::Image(scheme, reference)) => format!("{scheme:?} image {reference}"),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn registries_and_images_are_told_apart() {
        for (text, expected) in [
            ("registry.example.com", "Unsaid registry.example.com None".to_owned()),
            ("localhost:5000", "Unsaid localhost:5000 None".to_owned()),
            ("localhost:5000/team/app", "Unsaid localhost:5000 Some(\"team/app\")".to_owned()),
            ("http://localhost:5000/team", "Http localhost:5000 Some(\"team\")".to_owned()),
            ("localhost:5000/team/app:1.2", "Unsaid image localhost:5000/team/app:1.2".to_owned()),
            ("https://localhost:5000/app:1.2", "Https image localhost:5000/app:1.2".to_owned()),
            (&format!("localhost:5000/app@{A}"), format!("Unsaid image localhost:5000/app@{A}")),
            (&format!("localhost:5000/app:1@{A}"), format!("Unsaid image localhost:5000/app:1@{A}")),
        ] {
            assert_eq!(shown(text), expected);
        }
        for (text, expected) in [
            ("nginx:1.25", "is neither a registry (HOST[:PORT]"),
            ("Team_/x y", "is neither a registry"),
            ("localhost:5000/team/app:", "a tag"),
            ("localhost:5000/app@sha256:12", "no sha256 or sha512 digest"),
        ] {
            assert!(shown(text).contains(expected), "{}", shown(text));
        }
        for text in ["user:s3cret@registry.example.com/app:1", "http://u:s3cret@r.local", "u:s3cret@r/a@sha256:12"] {
            assert!(!shown(text).contains("s3cret"), "{}", shown(text));
        }
    }

    #[test]
    fn operands_of_a_registry_are_put_together() {
        let named: Vec<Named> =
            ["b.local/x", "a.local/y:1", "b.local/x", "b.local/w", "a.local/y:2"].iter().map(|text| Named::parse(text).unwrap()).collect();
        let all = by_registry(&named);
        let hosts: Vec<&str> = all.iter().map(|registered| registered.host.as_str()).collect();
        assert_eq!(hosts, ["b.local", "a.local"]);
        assert_eq!((all[0].prefixes(), all[1].prefixes()), (vec!["w".to_owned(), "x".to_owned()], vec!["y".to_owned()]));
        let tags = &all[1].repositories.values().next().unwrap().tags;
        assert_eq!((tags.len(), tags.values().all(|tag| tag.named)), (2, true));
        let whole = by_registry(&["b.local/x", "b.local", "b.local/y"].map(|text| Named::parse(text).unwrap()));
        assert_eq!(whole[0].catalog.as_deref(), Some(&[][..]));
    }

    #[test]
    fn what_runs_is_asked_for_beside_what_is_named() {
        let mut wish = Wish::default();
        let record = |fields: serde_json::Value| {
            let mut record = serde_json::json!({"type": "use", "image": "x", "registry": "r", "repository": "a"});
            record.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            serde_json::from_value::<Use>(record).unwrap()
        };
        let b = format!("sha256:{}", "b".repeat(64));
        wish.add_use(&record(serde_json::json!({"tag": "1", "runningDigest": A}))).unwrap();
        wish.add_use(&record(serde_json::json!({"tag": "2", "digest": A, "runningDigest": A}))).unwrap();
        wish.add_use(&record(serde_json::json!({"tag": "3", "digest": A, "runningDigest": b}))).unwrap();
        let tags: Vec<&str> = wish.tags.keys().map(Tag::as_str).collect();
        assert_eq!((tags, wish.digests.len()), (vec!["1"], 1), "of what is pinned the tag is but a word");
        let running: Vec<_> = wish.running.iter().map(|running| (running.digest.short(), running.tag.is_some())).collect();
        assert_eq!(running, [("sha256:aaaaaaaaaaaa".to_owned(), true), ("sha256:bbbbbbbbbbbb".to_owned(), false)]);
        assert!(wish.add_use(&record(serde_json::json!({"tag": "../x"}))).is_err());
    }
}
