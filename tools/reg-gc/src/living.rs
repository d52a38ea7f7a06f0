//! What lives in one repository: everything that its roots lead to, at any depth.
//!
//! Pure: manifests are read by who implements [`Manifests`]. Marked and visited are different sets, kept for each repository by itself:
//! what another repository has marked has not been followed from here, and what lives there need not live here.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use common::digest::Digest;
use common::manifest::References;
use common::store::blobs::{Blobs, Found};

use crate::marks::Marks;

/// What a manifest turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Read {
    /// There is none.
    Absent,
    /// It leads to these.
    Is(References),
    /// It is there, and nobody knows what it leads to.
    Unreadable(String),
}

/// What is asked of a repository while it is gone through.
pub(crate) trait Manifests {
    /// Reads a manifest.
    fn read(&mut self, digest: &Digest) -> Read;
    /// What the repository's own link to a digest says, where that is another digest: a blob that was pushed by SHA-512 lies under
    /// SHA-256.
    ///
    /// # Errors
    /// A link that is there and says nothing, and why: nobody knows what it led to.
    fn alias(&mut self, digest: &Digest) -> Result<Option<Digest>, String>;
    /// Whether the repository has a digest as a layer and not as a manifest.
    fn is_layer(&mut self, digest: &Digest) -> bool;
}

/// What lives in one repository.
#[derive(Debug)]
pub(crate) struct Living<'a, M> {
    blobs: &'a Blobs,
    marks: &'a Marks,
    /// The content that is in use anywhere.
    held: &'a HashSet<Digest>,
    pub(crate) manifests: M,
    /// Blobs and manifests, by place.
    reached: Places,
    /// What is needed and is not there.
    absent: HashSet<Digest>,
    visited: Places,
    /// Manifests in the order in which they were visited.
    order: Vec<Digest>,
    /// Manifests that something in use is, or lies in.
    in_use: HashSet<Digest>,
    /// What was to be read and could not be, and why.
    pub(crate) unreadable: Vec<(Digest, String)>,
    stack: Vec<Digest>,
}

/// Places of blobs.
pub(crate) type Places = HashSet<usize, BuildHasherDefault<PlaceHasher>>;

/// Places are dense numbers: spreading them is enough.
#[derive(Debug, Default)]
pub(crate) struct PlaceHasher(u64);

impl Hasher for PlaceHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    fn write_usize(&mut self, place: usize) {
        self.0 = (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// A manifest that no root leads to so far.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) digest: Digest,
    pub(crate) references: References,
}

impl<'a, M: Manifests> Living<'a, M> {
    pub(crate) fn new(blobs: &'a Blobs, marks: &'a Marks, held: &'a HashSet<Digest>, manifests: M) -> Self {
        Self {
            blobs,
            marks,
            held,
            manifests,
            reached: Places::default(),
            absent: HashSet::new(),
            visited: Places::default(),
            order: Vec::new(),
            in_use: HashSet::new(),
            unreadable: Vec::new(),
            stack: Vec::new(),
        }
    }

    /// Whether a digest lives here.
    pub(crate) fn reaches(&self, digest: &Digest) -> bool {
        match self.blobs.find(digest) {
            Found::At(place) => self.reached.contains(&place),
            Found::Absent | Found::Unknown => self.absent.contains(digest),
        }
    }

    /// All places that live here.
    pub(crate) fn places(&self) -> impl Iterator<Item = usize> {
        self.reached.iter().copied()
    }

    /// What is needed and is not there.
    pub(crate) fn absent(&self) -> impl Iterator<Item = &Digest> {
        self.absent.iter()
    }

    /// The manifests that were gone through.
    pub(crate) fn visited(&self) -> &[Digest] {
        &self.order
    }

    /// A manifest that lives whatever else does, and all that it leads to.
    pub(crate) fn root(&mut self, digest: &Digest) {
        self.stack.push(digest.clone());
        self.go_on(true);
    }

    /// A blob that lives whatever else does, and nothing that it may lead to.
    pub(crate) fn keep(&mut self, digest: &Digest) {
        self.reach(digest);
    }

    fn go_on(&mut self, mut is_root: bool) {
        while let Some(digest) = self.stack.pop() {
            let Some(place) = self.reach(&digest) else {
                if self.blobs.find(&digest) == Found::Unknown {
                    self.unreadable.push((digest, "may be there, where nobody can look, and lead to anything".to_owned()));
                }
                is_root = false;
                continue;
            };
            if self.visited.insert(place) {
                self.visit(digest, is_root);
            }
            is_root = false;
        }
    }

    fn visit(&mut self, digest: Digest, is_root: bool) {
        match self.manifests.read(&digest) {
            Read::Absent => {}
            // An index may name blobs by a media type that nobody knows.
            Read::Unreadable(_) if !is_root && self.manifests.is_layer(&digest) => {}
            Read::Unreadable(why) => self.unreadable.push((digest, format!("the manifest {why}"))),
            Read::Is(references) => {
                if self.is_used(&digest, &references) {
                    self.in_use.insert(digest.clone());
                }
                self.follow(&references);
                if !references.is_known {
                    self.unreadable.push((digest.clone(), "is a manifest of a kind that is not known".to_owned()));
                }
                self.order.push(digest);
            }
        }
    }

    fn follow(&mut self, references: &References) {
        for blob in &references.blobs {
            self.reach(blob);
        }
        self.stack.extend(references.children.iter().cloned());
    }

    /// Marks what lies behind a digest as needed; its place, where it is there.
    fn reach(&mut self, digest: &Digest) -> Option<usize> {
        match self.blobs.find(digest) {
            Found::At(place) => {
                if self.reached.insert(place) {
                    self.marks.need(place);
                }
                Some(place)
            }
            Found::Absent | Found::Unknown => {
                if !self.absent.insert(digest.clone()) {
                    return None;
                }
                let alias = match self.manifests.alias(digest) {
                    Ok(alias) => alias?,
                    Err(why) => {
                        self.unreadable.push((digest.clone(), format!("is not there, and of the link that may say where it is: {why}")));
                        return None;
                    }
                };
                let Found::At(place) = self.blobs.find(&alias) else { return None };
                self.reached.insert(place);
                self.marks.need(place);
                Some(place)
            }
        }
    }

    fn is_used(&self, digest: &Digest, references: &References) -> bool {
        self.held.contains(digest) || references.config.as_ref().is_some_and(|config| self.held.contains(config))
    }

    /// Lets those of the candidates live that something living is the subject of, that are in use, or that lead to what is in use.
    /// Gives the others back, each after all candidates that name it.
    pub(crate) fn choose(&mut self, candidates: Vec<Candidate>) -> Vec<Candidate> {
        // Of indexes, to any depth: what leads to something in use holds it.
        let mut parents: HashMap<&Digest, Vec<&Candidate>> = HashMap::new();
        for candidate in &candidates {
            if self.is_used(&candidate.digest, &candidate.references) {
                self.in_use.insert(candidate.digest.clone());
            }
            for child in &candidate.references.children {
                parents.entry(child).or_default().push(candidate);
            }
        }
        let mut used: Vec<Digest> = self.in_use.iter().cloned().collect();
        while let Some(digest) = used.pop() {
            self.root(&digest);
            for parent in parents.get(&digest).into_iter().flatten() {
                if self.in_use.insert(parent.digest.clone()) {
                    used.push(parent.digest.clone());
                }
            }
        }
        // Referrers live with their subject, and theirs with them.
        let mut referrers: HashMap<&Digest, Vec<&Candidate>> = HashMap::new();
        for candidate in &candidates {
            if let Some(subject) = &candidate.references.subject {
                referrers.entry(subject).or_default().push(candidate);
            }
        }
        loop {
            let ready: Vec<&Digest> = referrers.keys().copied().filter(|subject| self.reaches(subject)).collect();
            if ready.is_empty() {
                break;
            }
            for subject in ready {
                for referrer in referrers.remove(subject).into_iter().flatten() {
                    self.root(&referrer.digest);
                }
            }
        }
        parents_first(candidates.into_iter().filter(|candidate| !self.reaches(&candidate.digest)).collect())
    }
}

/// Sorts so that each comes after all that name it, as an index or as its referrer's subject: what is taken away in this order never leaves
/// something that leads to what is gone.
fn parents_first(candidates: Vec<Candidate>) -> Vec<Candidate> {
    let places: HashMap<Digest, usize> =
        candidates.iter().enumerate().map(|(place, candidate)| (candidate.digest.clone(), place)).collect();
    let mut above = vec![0_usize; candidates.len()];
    let below = |candidate: &Candidate| {
        let named = candidate.references.children.iter().chain(&candidate.references.subject);
        named.filter_map(|digest| places.get(digest).copied()).collect::<Vec<_>>()
    };
    for candidate in &candidates {
        for place in below(candidate) {
            above[place] += 1;
        }
    }
    let mut ready: Vec<usize> = (0..candidates.len()).filter(|place| above[*place] == 0).collect();
    let mut order = Vec::with_capacity(candidates.len());
    let mut done = vec![false; candidates.len()];
    loop {
        while let Some(place) = ready.pop() {
            if std::mem::replace(&mut done[place], true) {
                continue;
            }
            order.push(place);
            for place in below(&candidates[place]) {
                above[place] -= 1;
                if above[place] == 0 {
                    ready.push(place);
                }
            }
        }
        // No digest can name itself round a circle; should one do so all the same, it begins anywhere.
        match done.iter().position(|done| !done) {
            Some(place) => ready.push(place),
            None => break,
        }
    }
    let mut candidates: Vec<Option<Candidate>> = candidates.into_iter().map(Some).collect();
    order.into_iter().filter_map(|place| candidates.get_mut(place).and_then(Option::take)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Manifests by name: each name is its own content.
    #[derive(Default)]
    struct Written {
        manifests: HashMap<Digest, Read>,
        layers: HashSet<Digest>,
        aliases: HashMap<Digest, Digest>,
    }

    impl Manifests for Written {
        fn read(&mut self, digest: &Digest) -> Read {
            self.manifests.get(digest).cloned().unwrap_or(Read::Absent)
        }

        fn alias(&mut self, digest: &Digest) -> Result<Option<Digest>, String> {
            Ok(self.aliases.get(digest).cloned())
        }

        fn is_layer(&mut self, digest: &Digest) -> bool {
            self.layers.contains(digest)
        }
    }

    fn named(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    fn references(blobs: &[&str], children: &[&str], subject: Option<&str>) -> References {
        let digests = |names: &[&str]| names.iter().map(|name| named(name)).collect();
        References { blobs: digests(blobs), children: digests(children), config: None, subject: subject.map(named), is_known: true }
    }

    /// A repository: manifests, and what each leads to. All that is named is there, unless `missing` names it.
    struct Scene {
        folder: tempfile::TempDir,
        written: Written,
        held: HashSet<Digest>,
        candidates: Vec<Candidate>,
    }

    impl Scene {
        fn of(manifests: &[(&str, References)]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let mut written = Written::default();
            let there = |digest: &Digest| std::fs::create_dir_all(folder.path().join(common::store::layout::blob(digest))).unwrap();
            for (name, references) in manifests {
                there(&named(name));
                references.blobs.iter().for_each(there);
                written.manifests.insert(named(name), Read::Is(references.clone()));
            }
            Self { folder, written, held: HashSet::new(), candidates: Vec::new() }
        }

        fn candidates(mut self, names: &[&str]) -> Self {
            for name in names {
                let Some(Read::Is(references)) = self.written.manifests.get(&named(name)) else { panic!("{name}") };
                self.candidates.push(Candidate { digest: named(name), references: references.clone() });
            }
            self
        }

        /// What goes of the candidates where these are roots, in order; and what of `asked` lives.
        fn run<'a>(self, roots: &[&str], asked: &[&'a str]) -> (Vec<Digest>, Vec<&'a str>, usize) {
            let blobs = Blobs::read(&common::store::folder::Folder::open(self.folder.path()).unwrap());
            let marks = Marks::new(blobs.len());
            let mut living = Living::new(&blobs, &marks, &self.held, self.written);
            roots.iter().for_each(|root| living.root(&named(root)));
            let gone = living.choose(self.candidates).into_iter().map(|candidate| candidate.digest).collect();
            for digest in asked.iter().map(|name| named(name)) {
                if let Found::At(place) = blobs.find(&digest) {
                    assert_eq!(marks.is_needed(place), living.reaches(&digest));
                }
            }
            let lives = asked.iter().copied().filter(|name| living.reaches(&named(name))).collect();
            (gone, lives, living.unreadable.len())
        }
    }

    #[test]
    fn all_that_a_root_leads_to_lives_at_any_depth() {
        let scene = Scene::of(&[
            ("outer", references(&[], &["inner", "sparse"], None)),
            ("inner", references(&[], &["image"], None)),
            ("image", references(&["config", "layer"], &[], None)),
            ("other", references(&["layer", "own"], &[], None)),
        ]);
        let (_, lives, unreadable) = scene.run(&["outer"], &["outer", "inner", "image", "config", "layer", "sparse", "other", "own"]);
        assert_eq!((lives, unreadable), (vec!["outer", "inner", "image", "config", "layer", "sparse"], 0));
    }

    #[test]
    fn referrers_live_with_their_subject_and_theirs_with_them() {
        let scene = Scene::of(&[
            ("image", references(&["layer"], &[], None)),
            ("signature", references(&["bytes"], &[], Some("image"))),
            ("attestation of it", references(&[], &[], Some("signature"))),
            ("of the dead", references(&["dust"], &[], Some("dead"))),
            ("dead", references(&["bones"], &[], None)),
            ("of what is missing", references(&[], &[], Some("missing"))),
        ])
        .candidates(&["attestation of it", "signature", "of the dead", "dead", "of what is missing"]);
        let (gone, lives, _) = scene.run(&["image"], &["signature", "bytes", "attestation of it", "of the dead", "dust", "bones"]);
        assert_eq!(lives, ["signature", "bytes", "attestation of it"]);
        assert_eq!(gone.len(), 3);
    }

    #[test]
    fn what_is_in_use_holds_the_indexes_around_it() {
        let manifests = [
            ("outer", references(&[], &["index"], None)),
            ("index", references(&[], &["amd64", "arm64"], None)),
            ("amd64", references(&["a"], &[], None)),
            ("arm64", references(&["b"], &[], None)),
            ("stranger", references(&["c"], &[], None)),
        ];
        let names: Vec<&str> = manifests.iter().map(|(name, _)| *name).collect();
        for (held, tagged) in [("amd64", None), ("config of amd64", None), ("amd64", Some("amd64"))] {
            let mut manifests = manifests.clone();
            manifests[2].1.config = Some(named("config of amd64"));
            let mut scene = Scene::of(&manifests);
            scene.held.insert(named(held));
            let scene = scene.candidates(&names.iter().copied().filter(|name| Some(*name) != tagged).collect::<Vec<_>>());
            let (gone, lives, _) = scene.run(tagged.as_slice(), &["outer", "index", "amd64", "a", "arm64", "b", "stranger", "c"]);
            assert_eq!(lives, ["outer", "index", "amd64", "a", "arm64", "b"], "{held}, {tagged:?}");
            assert_eq!(gone, [named("stranger")]);
        }
    }

    #[test]
    fn what_goes_goes_before_what_it_leads_to() {
        let names = ["d", "c", "b", "a"];
        let scene = Scene::of(&[
            ("a", references(&[], &["b", "c"], None)),
            ("b", references(&[], &["c"], None)),
            ("c", references(&[], &["d"], None)),
            ("d", references(&[], &[], None)),
        ])
        .candidates(&names);
        assert_eq!(scene.run(&[], &[]).0, ["a", "b", "c", "d"].map(named));
    }

    #[test]
    fn what_cannot_be_read_is_said_unless_it_is_a_layer_that_an_index_names() {
        for (is_layer, expected) in [(false, 1), (true, 0)] {
            let mut scene = Scene::of(&[("index", references(&[], &["odd"], None)), ("odd", references(&[], &[], None))]);
            scene.written.manifests.insert(named("odd"), Read::Unreadable("is no JSON object".into()));
            if is_layer {
                scene.written.layers.insert(named("odd"));
            }
            let (_, lives, unreadable) = scene.run(&["index"], &["odd"]);
            assert_eq!((lives, unreadable), (vec!["odd"], expected));
        }
    }

    #[test]
    fn a_digest_without_bytes_is_followed_through_the_link() {
        let mut scene = Scene::of(&[("image", references(&["canonical"], &[], None))]);
        let long: Digest = format!("sha512:{}", "ab".repeat(64)).parse().unwrap();
        scene.written.manifests.insert(named("image"), Read::Is(References { blobs: vec![long.clone()], ..references(&[], &[], None) }));
        scene.written.aliases.insert(long, named("canonical"));
        assert_eq!(scene.run(&["image"], &["canonical"]).1, ["canonical"]);
    }
}
