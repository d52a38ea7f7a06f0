//! What is to be done: repository by repository, which manifests go and which lose tags.
//!
//! A plan and a journal both lead to this; what carries it out need not know which. Pure.

use std::collections::BTreeSet;
use std::fmt;

use common::digest::Digest;
use common::graph::{Graph, Node};
use common::record::{Deletion, DeletionAction, DeletionResult, Use};
use common::reference::{Host, Repository, Tag};

/// What is to be done in one repository.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    /// Where.
    pub(crate) place: Place,
    /// The manifests that go.
    pub(crate) deletes: Vec<Doomed>,
    /// The manifests that stay and lose tags.
    pub(crate) untags: Vec<Untag>,
    /// The uses that the plan passed on: each digest of theirs is asked for before anything goes.
    pub(crate) uses: Vec<Use>,
}

/// A repository of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) host: Host,
    pub(crate) repository: Repository,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.host, self.repository)
    }
}

/// A manifest that is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Doomed {
    pub(crate) digest: Digest,
    /// The tags that go with it. One that is not among them holds it.
    pub(crate) tags: BTreeSet<Tag>,
    pub(crate) media_type: Option<String>,
    /// The digest of its config, by which an inventory may know it.
    pub(crate) config: Option<Digest>,
    pub(crate) children: Vec<Digest>,
    pub(crate) parents: Vec<Digest>,
    pub(crate) subjects: Vec<Digest>,
    /// Why it goes.
    pub(crate) why: String,
    /// Why it stays all the same, where that is known before the registry was asked.
    pub(crate) held: Option<String>,
}

/// Tags that are to be taken from a manifest that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Untag {
    pub(crate) digest: Digest,
    pub(crate) tags: BTreeSet<Tag>,
    pub(crate) media_type: Option<String>,
    pub(crate) why: String,
    pub(crate) held: Option<String>,
}

impl Work {
    pub(crate) fn new(place: Place) -> Self {
        Self { place, deletes: Vec::new(), untags: Vec::new(), uses: Vec::new() }
    }

    /// Whether there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.deletes.is_empty() && self.untags.is_empty()
    }

    /// How the manifests that go hang together.
    pub(crate) fn graph(&self) -> Graph {
        Graph::new(self.deletes.iter().map(|doomed| Node {
            digest: &doomed.digest,
            children: &doomed.children,
            parents: &doomed.parents,
            subjects: &doomed.subjects,
            missing: &[],
        }))
    }

    /// Puts the manifests into the order in which they go: an index before its children, a subject before its referrers.
    pub(crate) fn put_in_order(&mut self) {
        let digests: Vec<Digest> = self.deletes.iter().map(|doomed| doomed.digest.clone()).collect();
        let mut waiting: Vec<Option<Doomed>> = std::mem::take(&mut self.deletes).into_iter().map(Some).collect();
        let order = Graph::new(waiting.iter().flatten().map(Doomed::node).collect::<Vec<_>>().into_iter()).top_down(&digests);
        self.deletes = order.into_iter().filter_map(|place| waiting.get_mut(place).and_then(Option::take)).collect();
    }
}

impl Doomed {
    fn node(&self) -> Node<'_> {
        Node { digest: &self.digest, children: &self.children, parents: &self.parents, subjects: &self.subjects, missing: &[] }
    }

    /// The line of a journal for it.
    pub(crate) fn record(&self, place: &Place, result: DeletionResult, why: Option<String>) -> Deletion {
        record(place, &self.digest, DeletionAction::Delete, result, why.unwrap_or_else(|| self.why.clone()), &self.tags, &self.media_type)
    }
}

impl Untag {
    /// The line of a journal for some of its tags.
    pub(crate) fn record(&self, place: &Place, tags: &BTreeSet<Tag>, result: DeletionResult, why: Option<String>) -> Deletion {
        record(place, &self.digest, DeletionAction::Untag, result, why.unwrap_or_else(|| self.why.clone()), tags, &self.media_type)
    }
}

/// A line of a journal.
pub(crate) fn record(
    place: &Place,
    digest: &Digest,
    action: DeletionAction,
    result: DeletionResult,
    why: String,
    tags: &BTreeSet<Tag>,
    media_type: &Option<String>,
) -> Deletion {
    Deletion {
        registry: place.host.to_string(),
        repository: place.repository.to_string(),
        digest: digest.clone(),
        action,
        result,
        why: Some(why),
        tags: tags.iter().map(Tag::to_string).collect(),
        media_type: media_type.clone(),
        parents: Vec::new(),
        subjects: Vec::new(),
        config: None,
        data: None,
        time: None,
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{digest, doomed, work};

    #[test]
    fn an_index_goes_before_its_children_and_a_subject_before_its_referrers() {
        let mut work = work(vec![
            doomed("signature").about("index"),
            doomed("attestation").of("inner"),
            doomed("image").of("inner").of("index"),
            doomed("inner").of("index"),
            doomed("index"),
            doomed("signature of the signature").about("signature"),
        ]);
        work.put_in_order();
        let place = |name: &str| work.deletes.iter().position(|doomed| doomed.digest == digest(name)).unwrap();
        for (first, then) in [
            ("index", "inner"),
            ("inner", "image"),
            ("inner", "attestation"),
            ("index", "signature"),
            ("signature", "signature of the signature"),
        ] {
            assert!(place(first) < place(then), "{first} before {then}");
        }
        assert_eq!(work.deletes.len(), 6);
    }

    #[test]
    fn a_circle_loses_nobody() {
        let mut work = work(vec![doomed("a").about("b"), doomed("b").about("a"), doomed("c")]);
        work.put_in_order();
        assert_eq!(work.deletes.len(), 3);
        assert_eq!(work.deletes[0].digest, digest("c"));
    }
}
