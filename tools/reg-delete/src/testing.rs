//! Sentences for the unit tests of this package.

use std::collections::BTreeSet;

use common::digest::Digest;

use crate::work::{Doomed, Place, Work};

pub(crate) fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

pub(crate) fn place() -> Place {
    Place { host: "registry.example.com".parse().unwrap(), repository: "team/app".parse().unwrap() }
}

pub(crate) fn work(deletes: Vec<Doomed>) -> Work {
    Work { deletes, ..Work::new(place()) }
}

pub(crate) fn doomed(name: &str) -> Doomed {
    Doomed {
        digest: digest(name),
        tags: BTreeSet::new(),
        media_type: None,
        config: None,
        children: Vec::new(),
        parents: Vec::new(),
        subjects: Vec::new(),
        why: "delete-rest: no rule keeps it".to_owned(),
        held: None,
    }
}

impl Doomed {
    pub(crate) fn of(mut self, index: &str) -> Self {
        self.parents.push(digest(index));
        self
    }

    pub(crate) fn about(mut self, subject: &str) -> Self {
        self.subjects.push(digest(subject));
        self
    }

    pub(crate) fn tagged(mut self, tag: &str) -> Self {
        self.tags.insert(tag.parse().unwrap());
        self
    }

    pub(crate) fn with_config(mut self, config: &str) -> Self {
        self.config = Some(digest(config));
        self
    }
}
