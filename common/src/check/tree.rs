//! A whole tree, checked repository by repository.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use super::Depth;
use super::blobs::{Data, Facts, State};
use super::choice::Choice;
use super::content;
use super::fault::{Fault, Weight};
use super::judge::{self, Judged, Known, of_problem};
use super::scene::{Buffers, Content, Scene, data_of, stray};
use crate::digest::Digest;
use crate::manifest::ImageConfig;
use crate::record::Problem as Name;
use crate::store::blobs::{Blobs, Found};
use crate::store::folder::Folder;
use crate::store::repositories::Repositories;
use crate::store::repository::Repository;
use crate::store::{Problem, layout};

/// An upload that moved within this is one that somebody is about.
const UNDER_WAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What changed within this may be in the middle of a change.
const FRESH: Duration = Duration::from_secs(5);

/// How long is waited before what is fresh and wrong is looked at again: a registry before 3.1 empties a link and then writes it, and
/// may be stopped in between on a machine with much to do.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(250)];

/// The largest config that is read to be understood.
const LARGEST_CONFIG: usize = 8 << 20;

/// A storage tree that is being checked.
#[derive(Debug)]
pub struct Tree {
    root: Folder,
    blobs: Blobs,
    facts: Facts,
    depth: Depth,
    /// What moved later is under way.
    settled: SystemTime,
}

/// A repository that was checked.
#[derive(Debug)]
pub struct Checked {
    /// What lies in it; none where it is gone.
    pub scene: Option<Scene>,
    /// What is wrong with it.
    pub judged: Judged,
}

impl Tree {
    /// Looks at all blobs below `root`, the open `rootdirectory`. How deep repositories are looked at, says `depth`; the content of blobs is
    /// read by [`Self::hash`].
    #[must_use]
    pub fn read(root: Folder, depth: Depth) -> Self {
        let blobs = Blobs::read(&root);
        let facts = Facts::read(&root, &blobs);
        let settled = SystemTime::now() - UNDER_WAY;
        Self { root, blobs, facts, depth, settled }
    }

    /// The open `rootdirectory`.
    #[must_use]
    pub fn root(&self) -> &Folder {
        &self.root
    }

    /// Reads and hashes the blobs that are chosen, and gives how many bytes that were.
    pub fn hash(&self, choice: &Choice, advance: &(dyn Fn() + Sync)) -> u64 {
        content::hash(&self.root, &self.blobs, &self.facts, choice, advance)
    }

    /// Hashes one blob, unless that was done.
    #[must_use]
    pub fn hash_one(&self, digest: &Digest) -> State {
        if let Found::At(place) = self.blobs.find(digest) {
            if self.facts.state(place) == State::Unread {
                content::hash_at(&self.root, &self.blobs, &self.facts, place);
            }
            return self.facts.state(place);
        }
        State::Unread
    }

    /// Looks at a blob anew, which was moved or put in place since the tree was read.
    pub fn renew(&mut self, digest: &Digest) {
        if let Found::At(place) = self.blobs.find(digest) {
            self.facts.renew(&self.root, digest, place);
        }
    }

    /// The blobs that were found damaged, or could not be looked at or read to their end, in the order of their places.
    pub fn damaged(&self) -> impl Iterator<Item = Digest> {
        let is_damaged = |place: usize| {
            matches!(self.facts.state(place), State::Corrupt | State::Unreadable) || self.facts.at(place) == Data::Unreadable
        };
        (0..self.blobs.len()).filter(move |place| is_damaged(*place)).filter_map(|place| self.blobs.at(place))
    }

    /// Whether a blob was read, and hashes to its digest.
    #[must_use]
    pub fn is_good(&self, digest: &Digest) -> bool {
        matches!(self.blobs.find(digest), Found::At(place) if matches!(self.facts.state(place), State::Good | State::NoConfig))
    }

    /// Whether no folder hides blobs.
    #[must_use]
    pub fn knows_all_blobs(&self) -> bool {
        self.blobs.are_all_known()
    }

    /// Whether there is a blob.
    #[must_use]
    pub fn has_blobs(&self) -> bool {
        !self.blobs.is_empty()
    }

    /// Checks a repository. Where something is wrong it is looked at once more, and what is fresh a moment later, and what is wrong each time
    /// is told: the rest was on its way, in or out.
    #[must_use]
    pub fn check(&self, name: &str, buffers: &mut Buffers) -> Checked {
        // A file with the name of a temporary one may be that of a push.
        let is_settled = |fault: &Fault| fault.weight == Weight::Space && fault.problem != Name::Temporary;
        let same = |one: &Fault, other: &Fault| one.problem == other.problem && one.path == other.path && one.digest == other.digest;
        let mut found = self.look(name, buffers);
        for pause in PAUSES {
            let mut open = found.judged.faults.iter().filter(|fault| !is_settled(fault)).peekable();
            if open.peek().is_none() {
                break;
            }
            let is_fresh = open.any(|fault| self.is_fresh(&fault.path));
            if is_fresh {
                std::thread::sleep(pause);
            }
            let mut again = self.look(name, buffers);
            again.judged.faults.retain(|fault| is_settled(fault) || found.judged.faults.iter().any(|other| same(fault, other)));
            found = again;
            if !is_fresh {
                break;
            }
        }
        found
    }

    /// Whether what lies at a path, or where it should lie, changed just now.
    fn is_fresh(&self, path: &str) -> bool {
        let mut path = path;
        loop {
            if let Ok(Some(status)) = self.root.status(path) {
                return status.changed + FRESH > SystemTime::now();
            }
            let Some((above, _)) = path.rsplit_once('/') else { return false };
            path = above;
        }
    }

    fn look(&self, name: &str, buffers: &mut Buffers) -> Checked {
        match Scene::read(&self.root, &self.blobs, name, buffers) {
            Ok(Some(scene)) => {
                if self.depth >= Depth::Config {
                    self.read_configs(&scene, buffers);
                }
                Checked { judged: judge::judge(&scene, self.depth, self), scene: Some(scene) }
            }
            Ok(None) => Checked { scene: None, judged: Judged::default() },
            Err(problem) => {
                let fault = Fault { repository: Some(name.to_owned()), ..of_problem(&problem) };
                Checked { scene: None, judged: Judged { faults: vec![fault], ..Judged::default() } }
            }
        }
    }

    /// Reads the configs that are not known yet.
    fn read_configs(&self, scene: &Scene, buffers: &mut Buffers) {
        for manifest in scene.manifests.values().filter_map(Content::manifest) {
            let Some(digest) = &manifest.config else { continue };
            let Found::At(place) = self.blobs.find(digest) else { continue };
            let known = self.facts.state(place);
            let is_read = match known {
                State::Unread => false,
                State::Good => !manifest.has_image_config,
                State::Corrupt | State::NoConfig | State::Unreadable => true,
            };
            if is_read || !matches!(self.facts.at(place), Data::Size(size) if size <= LARGEST_CONFIG as u64) {
                continue;
            }
            let state = match self.blobs.read_data(&self.root, digest, LARGEST_CONFIG, &mut buffers.data) {
                Ok(false) => continue,
                Ok(true) if !digest.matches(&buffers.data) => State::Corrupt,
                Ok(true) if manifest.has_image_config && ImageConfig::parse(&buffers.data).is_err() => State::NoConfig,
                Ok(true) => State::Good,
                Err(_) => State::Unreadable,
            };
            self.facts.set_state(place, state);
        }
    }

    /// What lies above the blobs and repositories and does not belong there. What lies beside `docker` is nobody's business here.
    fn strays(&self) -> Vec<Problem> {
        // GitLab's registry keeps its locks there.
        let places: [(&str, &[&[u8]]); 3] =
            [("docker", &[b"registry"]), ("docker/registry", &[b"v2", b"lockfiles"]), (layout::TREE, &[b"blobs", b"repositories"])];
        let mut found = Vec::new();
        for (path, known) in places {
            let listed = self.root.folder(path).and_then(|folder| match folder {
                None => Ok(()),
                Some(folder) => folder.list(|name, kind| {
                    if !known.contains(&name) {
                        found.push(stray(path, name, kind));
                    }
                }),
            });
            if let Err(error) = listed {
                found.push(Problem::of_error(path, &error));
            }
        }
        found
    }

    /// The digests of all content to which repositories have links, needed or not.
    #[must_use]
    pub fn content_of(&self, names: &[&String]) -> HashSet<Digest> {
        let mut digests = HashSet::new();
        for name in names {
            let Ok(Some(repository)) = Repository::open(&self.root, name) else { continue };
            digests.extend([layout::LAYERS, layout::REVISIONS].iter().flat_map(|below| repository.digests(below).names));
        }
        digests
    }

    /// What is wrong among the blobs, and with the folders in which repositories lie. `told` are the digests that the repositories' faults
    /// are about.
    #[must_use]
    pub fn rest(&self, repositories: &Repositories, told: &HashSet<Digest>) -> Vec<Fault> {
        let problems = self.blobs.problems.iter().chain(&self.facts.problems).chain(&repositories.problems).chain(&repositories.strays);
        let mut faults: Vec<Fault> = problems.map(of_problem).chain(self.strays().iter().map(of_problem)).collect();
        for name in &repositories.empty {
            faults.push(Fault {
                repository: Some(name.clone()),
                ..fault(layout::repository(name), Name::RepositoryEmpty, Weight::Space, "a folder with nothing in it")
            });
        }
        for place in 0..self.blobs.len() {
            let Some(digest) = self.blobs.at(place).filter(|digest| !told.contains(digest)) else { continue };
            let found = match (self.data(&digest), self.facts.state(place)) {
                (Data::Missing, _) => fault(
                    layout::blob(&digest),
                    Name::LinkLeftover,
                    Weight::Space,
                    "the folder of a blob that is gone, and that nothing needs",
                ),
                // A push of the same content would be told that it is there, and be broken.
                (Data::Size(0), _) if !digest.matches(b"") => fault(
                    data_of(&digest),
                    Name::BlobCorrupt,
                    Weight::Stumble,
                    "it is empty; no manifest needs it, and a push that brings it would be broken",
                ),
                (_, State::Corrupt) => fault(
                    data_of(&digest),
                    Name::BlobCorrupt,
                    Weight::Stumble,
                    "the content does not hash to its digest; no manifest needs it, and a push that brings it would be broken",
                ),
                (_, State::Unreadable) => {
                    fault(data_of(&digest), Name::Unreadable, Weight::Unknown, "the content cannot be read to its end")
                }
                _ => continue,
            };
            faults.push(Fault { digest: Some(digest), ..found });
        }
        faults.sort();
        faults.dedup();
        faults
    }
}

fn fault(path: String, problem: Name, weight: Weight, detail: &str) -> Fault {
    Fault { weight, problem, detail: detail.to_owned(), ..of_problem(&Problem::new(path, "")) }
}

impl Known for Tree {
    fn data(&self, digest: &Digest) -> Data {
        self.facts.data(&self.root, &self.blobs, digest)
    }

    fn state(&self, digest: &Digest) -> State {
        match self.blobs.find(digest) {
            Found::At(place) => self.facts.state(place),
            Found::Absent | Found::Unknown => State::Unread,
        }
    }

    fn is_under_way(&self, moved: SystemTime) -> bool {
        moved > self.settled
    }
}
