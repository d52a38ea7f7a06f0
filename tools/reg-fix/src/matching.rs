//! Which of the faults that are seen now a finding means. Pure.

use std::collections::{BTreeSet, HashMap};

use common::check::{Fault, Weight};
use common::digest::Digest;
use common::record::{Finding, Problem, Severity};

/// What a finding asks for before anything is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asks {
    /// That something is mended.
    Mend,
    /// Nothing, for this reason.
    Nothing(String),
    /// What cannot be done here, for this reason.
    TooMuch(String),
}

/// What a finding asks for. What costs only space is for `reg-gc`.
pub(crate) fn asks(finding: &Finding, registry: Option<&str>) -> Asks {
    let nothing = |why: &str| Asks::Nothing(why.to_owned());
    if let (Some(own), Some(other)) = (registry, &finding.registry)
        && own != other
    {
        return Asks::Nothing(format!("it is of the registry {other}"));
    }
    match (finding.problem, finding.severity) {
        (Problem::None, _) | (_, Severity::Ok) => nothing("it is well"),
        (Problem::NotAsked, _) => nothing("nobody knows whether anything is wrong: it could not be asked"),
        (Problem::TagMoved, _) => nothing("the storage is well: somebody pushed the tag anew"),
        (
            Problem::Upload
            | Problem::Temporary
            | Problem::LinkLeftover
            | Problem::RevisionOverwritten
            | Problem::ReferrerOrphan
            | Problem::RepositoryEmpty,
            _,
        ) => nothing("it only costs space: reg-gc takes it away"),
        (Problem::Foreign, _) => nothing("it is not a registry's, and is left to whoever put it there"),
        (_, Severity::Info) => nothing("it is good to know, and nothing to be mended"),
        (Problem::Other, _) => Asks::TooMuch("this version does not know the problem: a newer reg-fix may mend it".to_owned()),
        (Problem::Unreadable, _) => {
            Asks::TooMuch("it cannot be read: look at the disk, or at the permissions, or at what a symbolic link leads to".to_owned())
        }
        _ => Asks::Mend,
    }
}

/// The faults of a repository, to be found by what findings say: both may be many.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    faults: &'a [Fault],
    paths: HashMap<&'a str, Vec<usize>>,
    tags: HashMap<&'a str, Vec<usize>>,
    digests: HashMap<&'a Digest, Vec<usize>>,
}

impl<'a> Seen<'a> {
    /// Those of faults that cost more than space.
    pub(crate) fn of(faults: &'a [Fault]) -> Self {
        let mut seen = Self { faults, paths: HashMap::new(), tags: HashMap::new(), digests: HashMap::new() };
        for (place, fault) in faults.iter().enumerate().filter(|(_, fault)| fault.weight != Weight::Space) {
            seen.paths.entry(&fault.path).or_default().push(place);
            for tag in &fault.tags {
                seen.tags.entry(tag).or_default().push(place);
            }
            for digest in fault.digest.iter().chain(&fault.manifest).chain(&fault.content) {
                seen.digests.entry(digest).or_default().push(place);
            }
        }
        seen
    }

    /// Which of them a finding means: the one in its place, else all that are about the same thing.
    pub(crate) fn meant(&self, finding: &Finding) -> BTreeSet<usize> {
        let tells_no_more = finding.tag.is_none() && finding.tags.is_empty() && finding.digest.is_none() && finding.manifest.is_none();
        let places: Vec<&Vec<usize>> = match &finding.path {
            Some(path) => self.paths.get(path.as_str()).into_iter().collect(),
            // Of a repository that is in no catalog nobody can say more.
            None if finding.repository.is_some() && tells_no_more => self.paths.values().collect(),
            None => {
                let of_tags = finding.tag.iter().chain(&finding.tags).filter_map(|tag| self.tags.get(tag.as_str()));
                of_tags.chain(finding.digest.iter().chain(&finding.manifest).filter_map(|digest| self.digests.get(digest))).collect()
            }
        };
        let of_repository = |place: &usize| match (&finding.repository, self.faults.get(*place).and_then(|fault| fault.repository.as_ref()))
        {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        places.into_iter().flatten().copied().filter(of_repository).collect()
    }
}

/// What findings say is in use: it is never taken away.
#[derive(Debug, Default)]
pub(crate) struct Held {
    tags: BTreeSet<(String, String)>,
    digests: BTreeSet<Digest>,
}

impl Held {
    /// Of all findings, those too that ask for nothing.
    pub(crate) fn of(findings: &[Finding]) -> Self {
        let mut held = Self::default();
        for finding in findings.iter().filter(|finding| finding.in_use == Some(true)) {
            if let Some(repository) = &finding.repository {
                held.tags.extend(finding.tag.iter().chain(&finding.tags).map(|tag| (repository.clone(), tag.clone())));
            }
            held.digests.extend(finding.digest.iter().chain(&finding.manifest).cloned());
        }
        held
    }

    /// Whether a tag of a repository is in use.
    pub(crate) fn has_tag(&self, repository: &str, tag: &str) -> bool {
        self.tags.contains(&(repository.to_owned(), tag.to_owned()))
    }

    /// Whether some content is in use, in whatever repository.
    pub(crate) fn has(&self, digest: &Digest) -> bool {
        self.digests.contains(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(json: &str) -> Finding {
        serde_json::from_str(&format!(r#"{{"type":"finding","severity":"error","detail":"",{json}}}"#)).unwrap()
    }

    fn fault(repository: &str, tag: &str, digest: &Digest, path: &str) -> Fault {
        Fault {
            repository: Some(repository.to_owned()),
            tags: vec![tag.to_owned()],
            problem: Problem::BlobMissing,
            digest: Some(digest.clone()),
            manifest: None,
            platform: None,
            content: Vec::new(),
            path: path.to_owned(),
            weight: Weight::Broken,
            detail: String::new(),
        }
    }

    #[test]
    fn a_finding_means_what_is_in_its_place_or_about_the_same_thing() {
        let (one, other) = (Digest::of(b"1"), Digest::of(b"2"));
        let mut space = fault("a", "v1", &one, "space");
        space.weight = Weight::Space;
        let faults = [fault("a", "v1", &one, "p"), fault("a", "v1", &other, "q"), fault("b", "v1", &one, "p"), space];
        let seen = Seen::of(&faults);
        let means = |json: &str| seen.meant(&finding(json)).into_iter().collect::<Vec<_>>();
        assert_eq!(means(r#""repository":"a","tag":"v1","problem":"blob-missing","path":"p""#), [0]);
        assert_eq!(means(r#""repository":"a","tag":"v1","problem":"tag-unreachable""#), [0, 1]);
        assert_eq!(means(&format!(r#""repository":"a","digest":"{other}","problem":"blob-missing""#)), [1]);
        assert_eq!(means(&format!(r#""repository":null,"digest":"{one}","problem":"blob-corrupt""#)), [0, 2]);
        assert_eq!(means(r#""repository":"a","problem":"repository-ghost""#), [0, 1], "whatever is wrong there");
        assert_eq!(means(r#""repository":null,"problem":"repository-ghost""#), [0; 0]);
        assert_eq!(means(r#""repository":"c","tag":"v1","problem":"tag-unreachable""#), [0; 0]);
    }

    #[test]
    fn not_every_finding_asks_for_something() {
        let asks = |json: &str| asks(&finding(json), Some("here"));
        for (json, expected) in [
            (r#""problem":"link-empty""#, "mend"),
            (r#""problem":"link-empty","registry":"here""#, "mend"),
            (r#""problem":"link-empty","registry":"there""#, "nothing"),
            (r#""problem":"upload""#, "nothing"),
            (r#""problem":"tag-moved""#, "nothing"),
            (r#""problem":"unreadable""#, "too much"),
            (r#""problem":"of-tomorrow""#, "too much"),
        ] {
            let word = match asks(json) {
                Asks::Mend => "mend",
                Asks::Nothing(_) => "nothing",
                Asks::TooMuch(_) => "too much",
            };
            assert_eq!(word, expected, "{json}");
        }
    }
}
