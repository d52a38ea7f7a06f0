//! Looks at one repository: what lives in it, and what of it may go.
//!
//! Reads names where names are enough: folders are named by digests. Files that are read are the link of each tag and each manifest that
//! lives, once; what is looked at beside these is what may go. What cannot be read, or is not known, is kept with all that it may need.

use std::collections::HashSet;
use std::io;
use std::time::{Duration, SystemTime};

use common::digest::Digest;
use common::manifest::References;
use common::store::blobs::{Blobs, Found};
use common::store::folder::{Folder, Kind, Status};
use common::store::repository::{self, Link, Names, Repository};
use common::store::{Problem, layout};

use crate::living::{Candidate, Living, Manifests, Read};
use crate::marks::Marks;
use crate::rules::Rules;

/// The largest manifest that is read; Distribution takes none above 4 MiB (handlers/manifests.go).
const LARGEST_MANIFEST: usize = 4 << 20;

/// What is looked at for all repositories.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) root: &'a Folder,
    pub(crate) blobs: &'a Blobs,
    pub(crate) marks: &'a Marks,
    pub(crate) rules: &'a Rules,
}

/// What may go of one repository, and what is known of it.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Manifests, each after those that name it.
    pub(crate) revisions: Vec<Gone>,
    /// Of each tag what it named once.
    pub(crate) tag_index: Vec<(Box<str>, Vec<Gone>)>,
    /// Folders of tags that name nothing and lead to nothing.
    pub(crate) tags: Vec<Box<str>>,
    pub(crate) layers: Vec<Gone>,
    /// What of these leads to no blob, and whether there is a link.
    dangling: Vec<(Digest, bool)>,
    pub(crate) uploads: Vec<(Box<str>, u64)>,
    /// Stray files, by their paths in the repository.
    pub(crate) temporary: Vec<(Box<str>, u64)>,
    /// Whether nothing is left of it.
    pub(crate) is_empty: bool,
    /// Layers that something living needs, that are there, and to which the repository has no link.
    pub(crate) lacks: Vec<Digest>,
    /// What something living needs, and is not there.
    pub(crate) absent: Vec<Digest>,
    /// Tags that name what is not there.
    pub(crate) broken_tags: u64,
    /// How many tags and manifests there are.
    pub(crate) tag_count: u64,
    pub(crate) manifest_count: u64,
    pub(crate) problems: Vec<Problem>,
}

/// A link that may go. A large tree has a hundred thousand and more of them, so each takes 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gone {
    /// The link to the blob at this place.
    Link(u32),
    /// A folder of that blob's digest without a link.
    Folder(u32),
    /// The same for what has no blob: the number among [`Findings::dangling`].
    Dangling(u32),
}

impl Findings {
    fn gone(&mut self, blobs: &Blobs, digest: Digest, is_link: bool) -> Gone {
        let place = match blobs.find(&digest) {
            Found::At(place) => u32::try_from(place).ok(),
            Found::Absent | Found::Unknown => None,
        };
        match place {
            Some(place) if is_link => Gone::Link(place),
            Some(place) => Gone::Folder(place),
            None => {
                self.dangling.push((digest, is_link));
                Gone::Dangling(u32::try_from(self.dangling.len() - 1).unwrap_or(u32::MAX))
            }
        }
    }

    /// The digest that the folder of what goes is named by, and the bytes of its link; none where the folder is empty.
    pub(crate) fn named(&self, gone: Gone, blobs: &Blobs) -> Option<(Digest, u64)> {
        let at = |place: u32| blobs.at(usize::try_from(place).ok()?);
        let (digest, is_link) = match gone {
            Gone::Link(place) => (at(place)?, true),
            Gone::Folder(place) => (at(place)?, false),
            Gone::Dangling(number) => self.dangling.get(usize::try_from(number).ok()?).cloned()?,
        };
        let size = if is_link { layout::link_size(&digest) } else { 0 };
        Some((digest, size))
    }
}

/// Looks at the repository `name`. Where a registry writes, something may be half written at this very moment (Distribution 2 and 3.0
/// write links in place): then it is looked at again a little later. What was marked by then stays marked, which only keeps more.
pub(crate) fn examine(scene: Scene<'_>, buffer: &mut Vec<u8>, name: &str) -> Findings {
    const LOOKS: u32 = 4;
    const PAUSE: Duration = Duration::from_millis(50);
    let mut findings = look(scene, buffer, name);
    for _ in 1..LOOKS {
        if !scene.rules.online || findings.problems.is_empty() {
            break;
        }
        std::thread::sleep(PAUSE);
        findings = look(scene, buffer, name);
    }
    findings
}

fn look(scene: Scene<'_>, buffer: &mut Vec<u8>, name: &str) -> Findings {
    let repository = match Repository::open(scene.root, name) {
        Ok(Some(repository)) => repository,
        Ok(None) => return Findings::default(),
        Err(error) => {
            let problems = vec![Problem::of_error(layout::repository(name), &error)];
            return Findings { problems, ..Findings::default() };
        }
    };
    let reader = Reader { root: scene.root, blobs: scene.blobs, repository: &repository, buffer };
    let living = Living::new(scene.blobs, scene.marks, &scene.rules.held, reader);
    let examination = Examination {
        scene,
        repository: &repository,
        living,
        findings: Findings::default(),
        newest: SystemTime::UNIX_EPOCH,
        in_doubt: false,
    };
    examination.run()
}

/// Reads manifests of one repository.
struct Reader<'a> {
    root: &'a Folder,
    blobs: &'a Blobs,
    repository: &'a Repository,
    buffer: &'a mut Vec<u8>,
}

impl Manifests for Reader<'_> {
    fn read(&mut self, digest: &Digest) -> Read {
        read_manifest(self.root, self.blobs, digest, self.buffer)
    }

    fn alias(&mut self, digest: &Digest) -> Result<Option<Digest>, String> {
        for below in [layout::LAYERS, layout::REVISIONS] {
            let path = format!("{below}/{}/{}", layout::of_digest(digest), layout::LINK);
            match self.repository.link(&path, self.buffer) {
                Ok((Link::To(target), _)) if target != *digest => return Ok(Some(target)),
                Ok((Link::Damaged(why), _)) => return Err(why),
                Ok(_) => {}
                Err(error) => return Err(Problem::of_error("", &error).what),
            }
        }
        Ok(None)
    }

    fn is_layer(&mut self, digest: &Digest) -> bool {
        let has = |below: &str| {
            let path = format!("{below}/{}/{}", layout::of_digest(digest), layout::LINK);
            self.repository.folder().status(&path).is_ok_and(|status| status.is_some())
        };
        has(layout::LAYERS) && !has(layout::REVISIONS)
    }
}

/// Reads what a manifest leads to, wherever it is linked.
pub(crate) fn read_manifest(root: &Folder, blobs: &Blobs, digest: &Digest, buffer: &mut Vec<u8>) -> Read {
    match blobs.read_data(root, digest, LARGEST_MANIFEST, buffer) {
        Ok(false) => Read::Absent,
        Ok(true) if buffer.len() > LARGEST_MANIFEST => Read::Unreadable("is larger than any manifest".to_owned()),
        Ok(true) => match References::parse(buffer) {
            Ok(references) => Read::Is(references),
            Err(error) => Read::Unreadable(error.to_string()),
        },
        Err(error) => Read::Unreadable(Problem::of_error("", &error).what),
    }
}

/// A repository that is being looked at.
struct Examination<'a> {
    scene: Scene<'a>,
    repository: &'a Repository,
    living: Living<'a, Reader<'a>>,
    findings: Findings,
    /// When any of its folders was changed last.
    newest: SystemTime,
    /// Something is not known, and may need anything that is here.
    in_doubt: bool,
}

/// A tag, and what its link says.
struct Tag {
    name: String,
    current: Option<Digest>,
}

impl Examination<'_> {
    fn run(mut self) -> Findings {
        let revisions = self.take(self.repository.digests(layout::REVISIONS));
        let names: HashSet<&Digest> = revisions.iter().collect();
        let tags = self.tags();
        let (mut gone, candidates) = self.revisions(&revisions);
        let chosen = self.living.choose(candidates);
        gone.extend(chosen.into_iter().map(|candidate| (candidate.digest, true)));
        let layers = self.take(self.repository.digests(layout::LAYERS));
        self.name_unreadable();
        if self.in_doubt {
            self.keep_all(&mut gone, &layers);
        }
        let dead: HashSet<Digest> = gone.iter().map(|(digest, _)| digest.clone()).collect();
        self.findings.tag_count = tags.len() as u64;
        self.findings.manifest_count = revisions.len().saturating_sub(dead.len()) as u64;
        if self.scene.rules.online {
            revisions.iter().for_each(|digest| self.link(digest));
        }
        self.tag_index(&tags, &names, &dead);
        for (digest, is_link) in gone {
            let gone = self.findings.gone(self.scene.blobs, digest, is_link);
            self.findings.revisions.push(gone);
        }
        let layers_left = self.layers(layers);
        let uploads_left = self.uploads();
        if self.scene.rules.deep {
            self.temporary(&revisions, &dead, &tags);
        }
        let is_left = self.findings.manifest_count > 0 || layers_left > 0 || uploads_left > 0 || self.findings.tags.len() < tags.len();
        self.findings.is_empty = !is_left && self.findings.problems.is_empty() && self.is_old();
        self.findings.absent = self.living.absent().cloned().collect();
        // Of a large tree a hundred thousand links are held until the last repository was looked at.
        for gone in [&mut self.findings.revisions, &mut self.findings.layers]
            .into_iter()
            .chain(self.findings.tag_index.iter_mut().map(|(_, gone)| gone))
        {
            gone.shrink_to_fit();
        }
        self.findings.tag_index.shrink_to_fit();
        self.findings
    }

    fn take<T>(&mut self, names: Names<T>) -> Vec<T> {
        self.in_doubt |= !names.problems.is_empty();
        self.findings.problems.extend(names.problems);
        names.names
    }

    fn problem(&mut self, path: &str, error: &io::Error) {
        self.in_doubt = true;
        self.findings.problems.push(Problem::of_error(self.repository.path_of(path), error));
    }

    /// Lets everything live that tags name. A tag whose link cannot be read holds all that it ever named, and so does one that was set
    /// after the inventory was taken: what it named before may run.
    fn tags(&mut self) -> Vec<Tag> {
        let names = self.take(self.repository.tags());
        let mut tags = Vec::with_capacity(names.len());
        for name in names {
            let path = format!("{}/{name}/{}", layout::TAGS, layout::CURRENT);
            let mut holds_all = true;
            let mut current = None;
            let link = match self.repository.tag_folder() {
                Some(tags) => repository::link(tags, &format!("{name}/{}", layout::CURRENT), self.living.manifests.buffer),
                None => self.repository.link(&path, self.living.manifests.buffer),
            };
            match link {
                Ok((Link::To(digest), status)) => {
                    self.living.root(&digest);
                    if self.scene.blobs.find(&digest) == Found::Absent {
                        self.findings.broken_tags += 1;
                    }
                    holds_all = status.is_some_and(|status| self.scene.rules.is_newer_than_inventory(status.modified));
                    current = Some(digest);
                }
                Ok((Link::Absent, _)) => {}
                Ok((Link::Damaged(what), _)) => self.findings.problems.push(Problem::new(self.repository.path_of(&path), what)),
                Err(error) => self.problem(&path, &error),
            }
            if holds_all {
                let once = self.repository.digests(&format!("{}/{name}/{}", layout::TAGS, layout::INDEX));
                let once = self.take(once);
                if current.is_none() && !once.is_empty() {
                    self.findings.broken_tags += 1;
                }
                once.iter().for_each(|digest| self.living.root(digest));
            }
            tags.push(Tag { name, current });
        }
        tags
    }

    /// The link of a revision.
    fn revision(&self, digest: &Digest) -> io::Result<Option<Status>> {
        self.status(layout::REVISIONS, digest)
    }

    fn status(&self, below: &str, digest: &Digest) -> io::Result<Option<Status>> {
        self.repository.link_status(below, digest)
    }

    /// When the folder of a digest without a link was changed last, where that is long ago.
    fn is_old_folder(&self, path: &str) -> bool {
        let status = self.repository.folder().status(path);
        status.is_ok_and(|status| status.is_some_and(|status| status.kind == Kind::Folder && status.modified <= self.scene.rules.grace))
    }

    /// Goes through the manifests that no tag leads to. Those that live by themselves become roots; given back are those that may go
    /// whatever else does, with whether there is a link, and those of which it must be asked what they lead to.
    fn revisions(&mut self, revisions: &[Digest]) -> (Vec<(Digest, bool)>, Vec<Candidate>) {
        let (mut gone, mut candidates) = (Vec::new(), Vec::new());
        let rules = self.scene.rules;
        for digest in revisions {
            // In the mode that keeps what is untagged each is a root, unless nothing is there. What lives anyway need not be looked at.
            if self.living.reaches(digest) && (rules.untagged.is_some() || self.scene.blobs.find(digest) != Found::Absent) {
                if rules.untagged.is_none() {
                    self.living.root(digest);
                }
                if rules.deep && self.revision(digest).is_ok_and(|link| link.is_some_and(|link| link.size != layout::link_size(digest))) {
                    self.odd_link(layout::REVISIONS, digest);
                }
                continue;
            }
            let path = || format!("{}/{}", layout::REVISIONS, layout::of_digest(digest));
            let status = match self.revision(digest) {
                Ok(Some(status)) => status,
                Ok(None) => {
                    if self.is_old_folder(&path()) {
                        gone.push((digest.clone(), false));
                    }
                    continue;
                }
                Err(error) => {
                    self.problem(&path(), &error);
                    self.living.root(digest);
                    continue;
                }
            };
            if status.kind != Kind::File || status.size != layout::link_size(digest) {
                self.odd_link(layout::REVISIONS, digest);
                self.living.root(digest);
                continue;
            }
            match self.scene.blobs.find(digest) {
                Found::Absent => {
                    if !self.living.reaches(digest) && status.modified <= rules.grace && self.living.manifests.alias(digest) == Ok(None) {
                        gone.push((digest.clone(), true));
                    } else {
                        self.living.root(digest);
                    }
                }
                Found::Unknown => self.living.root(digest),
                Found::At(_) if rules.untagged.is_none() || rules.is_young(status.modified) || rules.held.contains(digest) => {
                    self.living.root(digest);
                }
                Found::At(_) => match self.living.manifests.read(digest) {
                    Read::Is(references) if references.is_known => candidates.push(Candidate { digest: digest.clone(), references }),
                    Read::Absent => gone.push((digest.clone(), true)),
                    Read::Is(_) | Read::Unreadable(_) => self.living.root(digest),
                },
            }
        }
        (gone, candidates)
    }

    /// Names a link of an unlikely size, and lets live what it leads to if that is something else than its folder's name says.
    fn odd_link(&mut self, below: &str, digest: &Digest) {
        let path = format!("{below}/{}/{}", layout::of_digest(digest), layout::LINK);
        match self.repository.link(&path, self.living.manifests.buffer) {
            // An alias: a blob that was pushed by SHA-512 lies under SHA-256.
            Ok((Link::To(target), _)) if target.algorithm() != digest.algorithm() => self.living.keep(&target),
            Ok((Link::To(target), _)) => {
                self.in_doubt = true;
                self.living.root(&target);
                self.findings.problems.push(Problem::new(self.repository.path_of(&path), format!("leads to {target}")));
            }
            Ok((Link::Damaged(what), _)) => {
                self.in_doubt = true;
                self.findings.problems.push(Problem::new(self.repository.path_of(&path), what));
            }
            Ok((Link::Absent, _)) => {}
            Err(error) => self.problem(&path, &error),
        }
    }

    fn name_unreadable(&mut self) {
        for (digest, why) in std::mem::take(&mut self.living.unreadable) {
            self.in_doubt = true;
            self.findings.problems.push(Problem::new(format!("{}/{}", layout::blob(&digest), layout::DATA), why));
        }
    }

    /// Something is not known, so anything that is here may be needed by it: all of it stays, but for what is not there at all.
    fn keep_all(&mut self, gone: &mut Vec<(Digest, bool)>, layers: &[Digest]) {
        for (digest, is_link) in gone.iter() {
            if *is_link {
                self.living.root(digest);
            }
        }
        gone.retain(|(_, is_link)| !is_link);
        layers.iter().for_each(|digest| self.living.keep(digest));
        self.name_unreadable();
    }

    fn link(&self, digest: &Digest) {
        if let Found::At(place) = self.scene.blobs.find(digest) {
            self.scene.marks.link(place);
        }
    }

    /// What tags named once and is no manifest here any more.
    fn tag_index(&mut self, tags: &[Tag], revisions: &HashSet<&Digest>, dead: &HashSet<Digest>) {
        // A child of an index may live here without a link of its own.
        let lives = |this: &Self, digest: &Digest| {
            revisions.contains(digest) && !dead.contains(digest) && !this.revision(digest).is_ok_and(|link| link.is_none())
        };
        for tag in tags {
            let folder = format!("{}/{}", layout::TAGS, tag.name);
            let index = format!("{folder}/{}", layout::INDEX);
            if self.names_only_its_current(tag) {
                continue;
            }
            let once = self.repository.digests(&index);
            let once = self.take(once);
            if tag.current.is_none() {
                // It holds all that it ever named; where that is nothing, it is what a crash left of a tag.
                let link = self.repository.folder().status(&format!("{folder}/{}", layout::CURRENT));
                if once.is_empty()
                    && self.findings.problems.is_empty()
                    && self.is_old_folder(&folder)
                    && link.is_ok_and(|link| link.is_none())
                {
                    self.findings.tags.push(tag.name.as_str().into());
                }
                continue;
            }
            let mut gone = Vec::new();
            for digest in once {
                if Some(&digest) == tag.current.as_ref() || lives(self, &digest) {
                    continue;
                }
                match self.status(&index, &digest) {
                    Ok(Some(status)) if status.modified <= self.scene.rules.grace => {
                        gone.push(self.findings.gone(self.scene.blobs, digest, true));
                    }
                    Ok(None) if self.is_old_folder(&format!("{index}/{}", layout::of_digest(&digest))) => {
                        gone.push(self.findings.gone(self.scene.blobs, digest, false));
                    }
                    Ok(_) => {}
                    Err(error) => self.problem(&index, &error),
                }
            }
            if !gone.is_empty() {
                self.findings.tag_index.push((tag.name.as_str().into(), gone));
            }
        }
    }

    /// Most tags named one thing all their lives. Most filesystems tell how many folders are in a folder without opening it.
    fn names_only_its_current(&self, tag: &Tag) -> bool {
        const ITSELF_AND_ONE: u64 = 3;
        let (Some(current @ Digest::Sha256(_)), Some(tags)) = (&tag.current, self.repository.tag_folder()) else { return false };
        let status = |path: String| tags.status(&path).ok().flatten();
        let index = format!("{}/{}/sha256", tag.name, layout::INDEX);
        status(format!("{index}/{}", current.hex())).is_some() && status(index).is_some_and(|index| index.links == ITSELF_AND_ONE)
    }

    /// Links to layers that nothing living here needs. A young one holds its layer: a client that was told that it is there
    /// may be about to name it. Says how many stay.
    fn layers(&mut self, layers: Vec<Digest>) -> usize {
        let mut left = 0;
        if self.scene.rules.online {
            self.find_lacking(&layers);
        }
        for digest in layers {
            if self.scene.rules.online {
                self.link(&digest);
            }
            if self.living.reaches(&digest) {
                left += 1;
                continue;
            }
            let path = format!("{}/{}", layout::LAYERS, layout::of_digest(&digest));
            match self.status(layout::LAYERS, &digest) {
                Ok(Some(status)) if status.kind == Kind::File && status.size == layout::link_size(&digest) => {
                    if status.modified <= self.scene.rules.grace {
                        self.layer_goes(digest, true);
                    } else {
                        self.living.keep(&digest);
                        left += 1;
                    }
                }
                Ok(Some(status)) => match self.alias_is_young(&digest, status.modified) {
                    Some(false) => self.layer_goes(digest, true),
                    Some(true) => left += 1,
                    None => {
                        self.odd_link(layout::LAYERS, &digest);
                        self.living.keep(&digest);
                        left += 1;
                    }
                },
                Ok(None) if self.is_old_folder(&path) => {
                    self.layer_goes(digest, false);
                }
                Ok(None) => left += 1,
                Err(error) => {
                    self.problem(&path, &error);
                    self.living.keep(&digest);
                    left += 1;
                }
            }
        }
        left
    }

    fn layer_goes(&mut self, digest: Digest, is_link: bool) {
        let gone = self.findings.gone(self.scene.blobs, digest, is_link);
        self.findings.layers.push(gone);
    }

    /// Whether the link by which a layer was pushed under another algorithm holds that layer for its age; `None` for what is no such link.
    fn alias_is_young(&mut self, digest: &Digest, modified: SystemTime) -> Option<bool> {
        let target = self.living.manifests.alias(digest).ok()?.filter(|target| target.algorithm() != digest.algorithm())?;
        let is_young = modified > self.scene.rules.grace;
        if is_young {
            self.living.keep(&target);
        }
        Some(is_young)
    }

    /// What lives and is there, and to which there is neither a link to a layer nor one to a manifest: it was taken away while a push
    /// relied on it.
    fn find_lacking(&mut self, layers: &[Digest]) {
        let linked: HashSet<&Digest> = layers.iter().collect();
        let visited: HashSet<&Digest> = self.living.visited().iter().collect();
        let needed = self.living.places().filter_map(|place| self.scene.blobs.at(place));
        let lacking: Vec<Digest> = needed.filter(|digest| !linked.contains(digest) && !visited.contains(digest)).collect();
        for digest in lacking {
            if self.revision(&digest).is_ok_and(|status| status.is_none()) {
                self.findings.lacks.push(digest);
            }
        }
    }

    /// Uploads that nobody goes on with. Says how many stay.
    fn uploads(&mut self) -> usize {
        let mut names = Vec::new();
        let folder = match self.repository.folder().folder(layout::UPLOADS) {
            Ok(Some(folder)) => folder,
            Ok(None) => return 0,
            Err(error) => {
                self.problem(layout::UPLOADS, &error);
                return 1;
            }
        };
        let mut strange = Vec::new();
        let listed = folder.list(|name, kind| match std::str::from_utf8(name) {
            Ok(name) => names.push((name.to_owned(), kind)),
            Err(_) => strange.push(String::from_utf8_lossy(name).into_owned()),
        });
        if let Err(error) = listed {
            self.problem(layout::UPLOADS, &error);
        }
        names.sort_by(|a, b| a.0.cmp(&b.0));
        let mut left = strange.len();
        for name in strange {
            let path = self.repository.path_of(&format!("{}/{name}", layout::UPLOADS));
            self.findings.problems.push(Problem::new(path, "is no name that a registry gives, and is left alone"));
        }
        for (name, kind) in names {
            match upload(&folder, &name, self.living.manifests.buffer) {
                Ok((moved, size)) if kind == Kind::Folder && moved <= self.scene.rules.uploads => {
                    self.findings.uploads.push((name.into(), size));
                }
                Ok(_) => left += 1,
                Err(error) => {
                    self.problem(&format!("{}/{name}", layout::UPLOADS), &error);
                    left += 1;
                }
            }
        }
        left
    }

    /// Stray temporary files beside links. Those in a folder that goes go with it.
    fn temporary(&mut self, revisions: &[Digest], dead: &HashSet<Digest>, tags: &[Tag]) {
        let mut folders = Vec::new();
        let of = |below: &str, digest: &Digest| format!("{below}/{}", layout::of_digest(digest));
        folders.extend(revisions.iter().filter(|digest| !dead.contains(digest)).map(|digest| of(layout::REVISIONS, digest)));
        let layers = self.repository.digests(layout::LAYERS).names;
        folders.extend(layers.iter().filter(|digest| self.living.reaches(digest)).map(|digest| of(layout::LAYERS, digest)));
        for tag in tags.iter().filter(|tag| tag.current.is_some()) {
            folders.push(format!("{}/{}/current", layout::TAGS, tag.name));
            let index = format!("{}/{}/{}", layout::TAGS, tag.name, layout::INDEX);
            let once = self.repository.digests(&index).names;
            folders.extend(once.iter().filter(|digest| !dead.contains(digest)).map(|digest| of(&index, digest)));
        }
        for folder in folders {
            let found = stray_files(self.repository.folder(), &folder, self.scene.rules.grace);
            self.findings.temporary.extend(found.into_iter().map(|(path, size)| (path.into(), size)));
        }
    }

    /// Whether nothing was done here for long: a push begins by making folders.
    fn is_old(&mut self) -> bool {
        let algorithms = |below: &str| [format!("{below}/sha256"), format!("{below}/sha512"), below.to_owned()];
        let mut folders = vec![String::from("."), layout::MANIFESTS.to_owned(), layout::TAGS.to_owned(), layout::UPLOADS.to_owned()];
        folders.extend([layout::LAYERS, layout::REVISIONS].iter().flat_map(|below| algorithms(below)));
        for folder in folders {
            if let Ok(Some(status)) = self.repository.folder().status(&folder) {
                self.newest = self.newest.max(status.modified);
            }
        }
        self.newest <= self.scene.rules.grace
    }
}

/// When an upload moved last, by anything that tells, and how much of it there is.
fn upload(uploads: &Folder, name: &str, buffer: &mut Vec<u8>) -> io::Result<(SystemTime, u64)> {
    let own = uploads.status(name)?;
    let data = uploads.status(&format!("{name}/{}", layout::DATA))?;
    let started = uploads.read_with_status(&format!("{name}/startedat"), 100, buffer)?;
    let said = std::str::from_utf8(buffer).ok().and_then(|text| chrono::DateTime::parse_from_rfc3339(text.trim()).ok());
    let times = [own, data, started].into_iter().flatten().map(|status| status.modified).chain(said.map(SystemTime::from));
    Ok((times.max().unwrap_or(SystemTime::UNIX_EPOCH), data.map_or(0, |data| data.size)))
}

/// The temporary files in a folder that are older than `grace`, with their sizes. What cannot be listed has none.
pub(crate) fn stray_files(folder: &Folder, path: &str, grace: SystemTime) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let Ok(Some(inner)) = folder.folder(path) else { return found };
    let mut names = Vec::new();
    let listed = inner.list(|name, kind| {
        if kind == Kind::File && layout::is_temporary(name) {
            names.extend(std::str::from_utf8(name).ok().map(str::to_owned));
        }
    });
    if listed.is_err() {
        return found;
    }
    for name in names {
        if let Ok(Some(status)) = inner.status(&name)
            && status.modified <= grace
        {
            found.push((format!("{path}/{name}"), status.size));
        }
    }
    found
}
