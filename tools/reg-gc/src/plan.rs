//! What may go, of the whole tree: every repository looked at, then every blob.
//!
//! A blob goes where nothing living in any repository leads to it. That is asked after all repositories were gone through; what goes within
//! a repository depends on that repository alone.

use std::collections::HashSet;
use std::io;
use std::time::SystemTime;

use common::cli::Progress;
use common::digest::Digest;
use common::store::blobs::Blobs;
use common::store::folder::{Folder, Kind};
use common::store::{Problem, layout, repositories, side_by_side};

use crate::examine::{self, Findings, Scene, read_manifest};
use crate::living::{Living, Manifests, Read};
use crate::marks::Marks;
use crate::rules::Rules;

/// Below this many blobs every folder is opened to find stray temporary files: it costs a fraction of a second.
const FEW: usize = 20_000;

/// A blob that may go: its place, and its bytes.
pub(crate) type Loose = (usize, u64);

/// All that may go.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) blobs: Blobs,
    pub(crate) marks: Marks,
    /// The names of the repositories, sorted, and what was found in each.
    pub(crate) repositories: Vec<(String, Findings)>,
    /// Folders below `repositories` that hold nothing.
    pub(crate) empty: Vec<String>,
    /// The blobs that may go now.
    pub(crate) loose: Vec<Loose>,
    /// The blobs that a later run may take, because a registry may be writing.
    pub(crate) later: Vec<Loose>,
    /// Stray files beside blobs, by their paths, with their bytes.
    pub(crate) temporary: Vec<(String, u64)>,
    /// What could not be read, and what is not known.
    pub(crate) problems: Vec<Problem>,
    /// Something could not be seen at all, so that no blob may go.
    pub(crate) holds_blobs: bool,
    /// What is too young to go: blobs, and their bytes.
    pub(crate) young: (u64, u64),
    /// Blobs that stay.
    pub(crate) kept: u64,
}

impl Plan {
    /// Looks at everything. `due` says which blobs an earlier run found unneeded long enough ago.
    pub(crate) fn make(root: &Folder, rules: &Rules, due: &dyn Fn(&Blobs, &Marks), progress: &Progress) -> Self {
        progress.tell("blobs: reading their names");
        let blobs = Blobs::read(root);
        let marks = Marks::new(blobs.len());
        let found = repositories::find(root);
        progress.tell("repositories: looking at what lives in them");
        progress.expect(found.names.len() as u64);
        let deep = rules.deep || blobs.len() < FEW;
        let rules = Rules { deep, ..rules.clone() };
        let scene = Scene { root, blobs: &blobs, marks: &marks, rules: &rules };
        let findings = side_by_side::map(&found.names, Vec::new, |buffer, name| {
            let findings = examine::examine(scene, buffer, name);
            progress.advance();
            findings
        });
        keep_in_use(scene);
        due(&blobs, &marks);
        let mut problems = blobs.problems.clone();
        problems.extend(found.problems);
        problems.extend(findings.iter().flat_map(|findings| findings.problems.iter().cloned()));
        problems.sort();
        let holds_blobs = problems.iter().any(|problem| problem.hides && !problem.path.starts_with(&format!("{}/", layout::BLOBS)));
        progress.tell("blobs: looking at those that nothing needs");
        let runs: Vec<(usize, usize)> = blobs.runs().collect();
        let judged = side_by_side::map(&runs, || (), |(), run| if holds_blobs { Judged::default() } else { judge(scene, *run) });
        let mut plan = Self {
            repositories: found.names.into_iter().zip(findings).collect(),
            empty: found.empty.into_iter().filter(|name| is_old(root, name, rules.grace)).collect(),
            loose: Vec::new(),
            later: Vec::new(),
            temporary: Vec::new(),
            problems,
            holds_blobs,
            young: (0, 0),
            kept: 0,
            marks: Marks::new(0),
            blobs: Blobs::default(),
        };
        // Exactly as much as there is: of a large tree it is a hundred thousand.
        plan.loose.reserve_exact(judged.iter().map(|judged| judged.loose.len()).sum());
        for mut judged in judged {
            plan.loose.append(&mut judged.loose);
            plan.later.append(&mut judged.later);
            plan.temporary.append(&mut judged.temporary);
            plan.problems.append(&mut judged.problems);
            plan.young = (plan.young.0 + judged.young.0, plan.young.1 + judged.young.1);
        }
        plan.kept = (blobs.len() - plan.loose.len()) as u64;
        (plan.marks, plan.blobs) = (marks, blobs);
        plan
    }
}

/// Whether nothing was done in an empty folder for long: a push begins by making folders.
fn is_old(root: &Folder, name: &str, grace: SystemTime) -> bool {
    root.status(&layout::repository(name)).is_ok_and(|status| status.is_some_and(|status| status.modified <= grace))
}

/// What was found among the blobs of one folder.
#[derive(Default)]
struct Judged {
    loose: Vec<Loose>,
    later: Vec<Loose>,
    temporary: Vec<(String, u64)>,
    problems: Vec<Problem>,
    young: (u64, u64),
}

fn judge(scene: Scene<'_>, (first, count): (usize, usize)) -> Judged {
    let mut judged = Judged::default();
    let Some(parent) = scene.blobs.at(first).map(|digest| parent_of_blob(&digest)) else { return judged };
    let folder = match scene.root.folder(&parent) {
        Ok(Some(folder)) => folder,
        Ok(None) => return judged,
        Err(error) => {
            judged.problems.push(Problem::of_error(parent, &error));
            return judged;
        }
    };
    for place in first..first + count {
        if scene.marks.is_needed(place) && !scene.rules.deep {
            continue;
        }
        let Some(digest) = scene.blobs.at(place) else { continue };
        let name = digest.hex();
        if scene.marks.is_needed(place) {
            let stray = examine::stray_files(&folder, &name, scene.rules.grace);
            judged.temporary.extend(stray.into_iter().map(|(path, size)| (format!("{parent}/{path}"), size)));
            continue;
        }
        let looked = folder.status(&format!("{name}/{}", layout::DATA)).and_then(|data| match data {
            Some(data) => Ok(Some(data)),
            // A folder that lost its data, or never got it, goes as a blob of no bytes; not with what somebody else put there.
            None if holds_foreign(&folder, &name)? => Err(io::Error::other("it holds what does not belong there, and is left alone")),
            None => folder.status(&name),
        });
        let status = match looked {
            Ok(Some(status)) => status,
            Ok(None) => continue,
            Err(error) => {
                judged.problems.push(Problem::of_error(format!("{parent}/{name}"), &error));
                continue;
            }
        };
        let size = if status.kind == Kind::File { status.size } else { 0 };
        if age_of_blob(&status) > scene.rules.grace {
            judged.young = (judged.young.0 + 1, judged.young.1 + size);
        } else if scene.rules.online && (scene.marks.is_linked(place) || !scene.marks.is_due(place)) {
            judged.later.push((place, size));
        } else {
            judged.loose.push((place, size));
        }
    }
    judged.loose.shrink_to_fit();
    judged
}

/// Whether the folder of a blob holds anything but temporary files.
fn holds_foreign(folder: &Folder, name: &str) -> io::Result<bool> {
    let Some(blob) = folder.folder(name)? else { return Ok(false) };
    let mut foreign = false;
    blob.list(|name, kind| foreign |= kind != Kind::File || !layout::is_temporary(name))?;
    Ok(foreign)
}

/// The time by which a blob is judged: it is renamed into its place when it is whole, which changes the one and not the other.
pub(crate) fn age_of_blob(status: &common::store::folder::Status) -> SystemTime {
    status.changed.max(status.modified)
}

/// The folder that a blob's folder lies in.
pub(crate) fn parent_of_blob(digest: &Digest) -> String {
    let path = layout::blob(digest);
    path.rsplit_once('/').map_or(path.clone(), |(parent, _)| parent.to_owned())
}

/// What is in use lives wherever it lies, even where a repository has lost its link to it.
fn keep_in_use(scene: Scene<'_>) {
    let nothing = HashSet::new();
    let mut living = Living::new(scene.blobs, scene.marks, &nothing, Anywhere { root: scene.root, blobs: scene.blobs, buffer: Vec::new() });
    for digest in &scene.rules.held {
        // A config is held too, and is no manifest: what cannot be read as one is held itself.
        living.root(digest);
    }
}

/// Manifests by their digests, in no repository.
struct Anywhere<'a> {
    root: &'a Folder,
    blobs: &'a Blobs,
    buffer: Vec<u8>,
}

impl Manifests for Anywhere<'_> {
    fn read(&mut self, digest: &Digest) -> Read {
        read_manifest(self.root, self.blobs, digest, &mut self.buffer)
    }

    fn alias(&mut self, _: &Digest) -> Result<Option<Digest>, String> {
        Ok(None)
    }

    fn is_layer(&mut self, _: &Digest) -> bool {
        false
    }
}
