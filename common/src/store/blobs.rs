//! All blobs of a storage tree, found by digest.
//!
//! The names of 256 folders are all that is read: they are the digests. A blob costs 32 bytes here, so that a million of them fit
//! where other programs keep thirty thousand. Whether a blob is any good is not known: its folder is there.

use super::folder::{Folder, Kind};
use super::{Problem, layout, side_by_side};
use crate::digest::Digest;

/// All blobs, in an order that stays: each has a place, from 0.
#[derive(Debug, Default)]
pub struct Blobs {
    /// SHA-256 digests by their first byte, sorted.
    fronts: Vec<Front>,
    /// The folder of these, open, so that a path in it is short.
    sha256: Option<Folder>,
    /// Digests of other algorithms, sorted, whose places follow.
    others: Vec<Digest>,
    /// How many there are by SHA-256.
    count: usize,
    /// What could not be read, and what is no blob.
    pub problems: Vec<Problem>,
    /// Some algorithm's folder could not be read, so that any of its blobs may be there.
    unread_algorithms: Vec<String>,
}

/// The blobs whose digests begin with the same byte.
#[derive(Debug, Default)]
struct Front {
    digests: Box<[[u8; 32]]>,
    /// The place of the first.
    first: usize,
    /// The folder could not be read: any blob may be there.
    unread: bool,
}

/// What is known of a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It is there, at this place.
    At(usize),
    /// It is not there.
    Absent,
    /// It may be there: its folder cannot be read.
    Unknown,
}

/// What one folder of blobs holds.
struct Listed {
    digests: Box<[[u8; 32]]>,
    problems: Vec<Problem>,
    unread: bool,
}

impl Blobs {
    /// Reads the names of all blobs below `root`, the open `rootdirectory`. A tree without blobs has none.
    #[must_use]
    pub fn read(root: &Folder) -> Self {
        let mut blobs = Self::default();
        let (algorithms, problems) = entries(root, layout::BLOBS);
        for problem in problems.iter().filter(|problem| problem.hides) {
            // Of the whole folder, or of what should be the folder of an algorithm.
            let name = problem.path.strip_prefix(layout::BLOBS).unwrap_or_default().trim_start_matches('/');
            blobs.unread_algorithms.push(name.to_owned());
        }
        blobs.problems.extend(problems);
        for algorithm in algorithms {
            if algorithm == "sha256" { blobs.read_sha256(root) } else { blobs.read_other(root, &algorithm) }
        }
        blobs.others.sort();
        blobs
    }

    fn read_sha256(&mut self, root: &Folder) {
        let path = format!("{}/sha256", layout::BLOBS);
        let fronts: Vec<u8> = (0..=255).collect();
        let folder = match root.folder(&path) {
            Ok(Some(folder)) => folder,
            Ok(None) => return,
            Err(error) => {
                self.problems.push(Problem::of_error(path, &error));
                self.unread_algorithms.push("sha256".to_owned());
                return;
            }
        };
        let mut problems = Vec::new();
        let listed = folder.list(|name, kind| {
            if name.len() != 2 || name.iter().any(u8::is_ascii_uppercase) || const_hex::decode_to_array::<_, 1>(name).is_err() {
                problems.push(stray(&path, name, kind));
            }
        });
        if let Err(error) = listed {
            problems.push(Problem::of_error(&path, &error));
        }
        self.problems.append(&mut problems);
        for mut listed in side_by_side::map(&fronts, Vec::new, |digests, front| list(&folder, &path, *front, digests)) {
            self.problems.append(&mut listed.problems);
            self.fronts.push(Front { first: self.count, unread: listed.unread, digests: listed.digests });
            self.count += self.fronts.last().map_or(0, |front| front.digests.len());
        }
        self.sha256 = Some(folder);
    }

    fn read_other(&mut self, root: &Folder, algorithm: &str) {
        let path = format!("{}/{algorithm}", layout::BLOBS);
        let (fronts, problems) = entries(root, &path);
        if !problems.is_empty() {
            self.unread_algorithms.push(algorithm.to_owned());
        }
        self.problems.extend(problems);
        for front in fronts {
            let (names, problems) = entries(root, &format!("{path}/{front}"));
            if !problems.is_empty() {
                self.unread_algorithms.push(algorithm.to_owned());
            }
            self.problems.extend(problems);
            for name in names {
                match layout::digest(algorithm, name.as_bytes()).filter(|_| name.starts_with(&front)) {
                    Some(digest) => self.others.push(digest),
                    None => self.problems.push(stray(&format!("{path}/{front}"), name.as_bytes(), Kind::Folder)),
                }
            }
        }
    }

    /// Whether nothing hides blobs: each folder that may hold some could be read.
    #[must_use]
    pub fn are_all_known(&self) -> bool {
        self.unread_algorithms.is_empty() && !self.fronts.iter().any(|front| front.unread)
    }

    /// Reads a blob into `buffer` as [`Folder::read`] does; `false` where it has no data.
    ///
    /// # Errors
    /// As [`Folder::read`].
    pub fn read_data(&self, root: &Folder, digest: &Digest, limit: usize, buffer: &mut Vec<u8>) -> std::io::Result<bool> {
        match (&self.sha256, digest) {
            (Some(folder), Digest::Sha256(_)) => {
                let hex = digest.hex();
                folder.read(&format!("{}/{hex}/{}", hex.get(..2).unwrap_or_default(), layout::DATA), limit, buffer)
            }
            _ => root.read(&format!("{}/{}", layout::blob(digest), layout::DATA), limit, buffer),
        }
    }

    /// Opens the folder of a blob; `None` where there is none.
    ///
    /// # Errors
    /// What the system says.
    pub fn open_folder(&self, root: &Folder, digest: &Digest) -> std::io::Result<Option<Folder>> {
        match (&self.sha256, digest) {
            (Some(folder), Digest::Sha256(_)) => {
                let hex = digest.hex();
                folder.folder(&format!("{}/{hex}", hex.get(..2).unwrap_or_default()))
            }
            _ => root.folder(&layout::blob(digest)),
        }
    }

    /// Opens the content of a blob, to read it piece by piece; `None` where there is none.
    ///
    /// # Errors
    /// What the system says.
    pub fn open_data(&self, root: &Folder, digest: &Digest) -> std::io::Result<Option<std::fs::File>> {
        match (&self.sha256, digest) {
            (Some(folder), Digest::Sha256(_)) => {
                let hex = digest.hex();
                folder.open_file(&format!("{}/{hex}/{}", hex.get(..2).unwrap_or_default(), layout::DATA))
            }
            _ => root.open_file(&format!("{}/{}", layout::blob(digest), layout::DATA)),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count + self.others.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where a digest is.
    #[must_use]
    pub fn find(&self, digest: &Digest) -> Found {
        let place = match digest {
            Digest::Sha256(bytes) => {
                let Some(front) = self.fronts.get(usize::from(bytes[0])) else { return self.absent(digest) };
                if front.unread {
                    return Found::Unknown;
                }
                position(&front.digests, bytes).map(|place| front.first + place)
            }
            Digest::Sha512(_) => self.others.binary_search(digest).ok().map(|place| self.count + place),
        };
        place.map_or_else(|| self.absent(digest), Found::At)
    }

    fn absent(&self, digest: &Digest) -> Found {
        let unread = self.unread_algorithms.iter().any(|algorithm| algorithm.is_empty() || algorithm == digest.algorithm());
        if unread { Found::Unknown } else { Found::Absent }
    }

    /// Whether every folder of blobs could be read.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.unread_algorithms.is_empty() && self.fronts.iter().all(|front| !front.unread)
    }

    /// The digest at a place.
    #[must_use]
    pub fn at(&self, place: usize) -> Option<Digest> {
        if let Some(other) = place.checked_sub(self.count) {
            return self.others.get(other).cloned();
        }
        let front = self.fronts.partition_point(|front| front.first <= place).checked_sub(1).and_then(|at| self.fronts.get(at));
        front.and_then(|front| front.digests.get(place - front.first)).map(|bytes| Digest::Sha256(*bytes))
    }

    /// All of them in runs of neighbours: those of a run lie in one folder. A run is the place of the first and how many there are.
    pub fn runs(&self) -> impl Iterator<Item = (usize, usize)> {
        let fronts = self.fronts.iter().map(|front| (front.first, front.digests.len()));
        let others = (self.count..self.len()).map(|place| (place, 1));
        fronts.filter(|(_, count)| *count > 0).chain(others)
    }
}

/// What tells the digests of one folder apart: the first byte is the same in all of them.
fn key(digest: &[u8; 32]) -> u64 {
    u64::from_be_bytes([digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7], digest[8]])
}

/// Digests are as good as random, so where one stands among many is almost known: look there first.
fn position(sorted: &[[u8; 32]], wanted: &[u8; 32]) -> Option<usize> {
    let wanted_key = key(wanted);
    let length = sorted.len();
    let guess = usize::try_from((u128::from(wanted_key) * length as u128) >> 64).unwrap_or(0);
    // A window around the guess that grows until it holds the place.
    let mut reach = 8;
    let (mut low, mut high) = (guess.saturating_sub(reach), (guess + reach).min(length));
    while low > 0 && sorted.get(low).is_some_and(|digest| key(digest) >= wanted_key) {
        reach *= 4;
        low = low.saturating_sub(reach);
    }
    while high < length && sorted.get(high - 1).is_some_and(|digest| key(digest) <= wanted_key) {
        reach *= 4;
        high = (high + reach).min(length);
    }
    let window = sorted.get(low..high)?;
    let first = window.partition_point(|digest| key(digest) < wanted_key);
    let alike = window.get(first..)?.iter().take_while(|digest| key(digest) == wanted_key);
    alike.enumerate().find(|(_, digest)| *digest == wanted).map(|(place, _)| low + first + place)
}

/// Lists the folder of the blobs that begin with one byte.
/// `digests` is room that is used again, so that what stays takes no more memory than it needs.
fn list(folder: &Folder, path: &str, front: u8, digests: &mut Vec<[u8; 32]>) -> Listed {
    let name = const_hex::encode([front]);
    let mut listed = Listed { digests: Box::default(), problems: Vec::new(), unread: false };
    digests.clear();
    let path = format!("{path}/{name}");
    let result = folder.folder(&name).and_then(|folder| match folder {
        None => Ok(()),
        Some(folder) => folder.list(|name, kind| match layout::sha256(name).filter(|digest| digest[0] == front && kind == Kind::Folder) {
            Some(digest) => digests.push(digest),
            None => {
                // A blob may lie behind a link; it is not looked for, and is not missing.
                listed.unread |= kind == Kind::Other;
                listed.problems.push(stray(&path, name, kind));
            }
        }),
    });
    if let Err(error) = result {
        listed.problems.push(Problem::of_error(path, &error));
        listed.unread = true;
    }
    // What is only half known has no places, so that nobody judges it.
    if !listed.unread {
        digests.sort_unstable_by(|a, b| key(a).cmp(&key(b)).then_with(|| a.cmp(b)));
        listed.digests = digests.as_slice().into();
    }
    listed
}

/// The names of the folders in a folder.
fn entries(root: &Folder, path: &str) -> (Vec<String>, Vec<Problem>) {
    let (mut names, mut problems) = (Vec::new(), Vec::new());
    let result = root.folder(path).and_then(|folder| match folder {
        None => Ok(()),
        Some(folder) => folder.list(|name, kind| match std::str::from_utf8(name) {
            Ok(name) if kind == Kind::Folder => names.push(name.to_owned()),
            _ => problems.push(stray(path, name, kind)),
        }),
    });
    if let Err(error) = result {
        problems.push(Problem::of_error(path, &error));
    }
    names.sort();
    (names, problems)
}

/// What lies among the blobs and is none. Behind a link may be any.
fn stray(path: &str, name: &[u8], kind: Kind) -> Problem {
    let path = format!("{path}/{}", String::from_utf8_lossy(name));
    match kind {
        Kind::Other => Problem::new(path, "is a symbolic link or a device, and is not followed").hiding(),
        Kind::Folder | Kind::File => Problem::new(path, "is no blob; it is left alone"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn make(root: &std::path::Path, digest: &Digest) {
        fs::create_dir_all(root.join(layout::blob(digest))).unwrap();
    }

    #[test]
    fn every_blob_has_a_place_and_is_found_there() {
        let temporary = tempfile::tempdir().unwrap();
        let digests: Vec<Digest> = (0..5000_u32).map(|n| Digest::of(&n.to_be_bytes())).collect();
        digests.iter().for_each(|digest| make(temporary.path(), digest));
        let long: Digest = format!("sha512:{}", "ab".repeat(64)).parse().unwrap();
        make(temporary.path(), &long);
        let blobs = Blobs::read(&Folder::open(temporary.path()).unwrap());
        assert_eq!((blobs.len(), blobs.problems.len()), (5001, 0));
        assert!(blobs.is_complete() && !blobs.is_empty());
        let mut places: Vec<usize> = digests
            .iter()
            .chain([&long])
            .map(|digest| match blobs.find(digest) {
                Found::At(place) => {
                    assert_eq!(blobs.at(place).as_ref(), Some(digest));
                    place
                }
                other => panic!("{digest}: {other:?}"),
            })
            .collect();
        places.sort_unstable();
        assert_eq!(places, (0..5001).collect::<Vec<_>>());
        let runs: Vec<_> = blobs.runs().collect();
        assert_eq!(runs.iter().map(|(_, count)| count).sum::<usize>(), 5001);
        for n in 5000..6000_u32 {
            assert_eq!(blobs.find(&Digest::of(&n.to_be_bytes())), Found::Absent);
        }
    }

    #[test]
    fn what_is_no_blob_is_named_and_what_cannot_be_read_may_be_there() {
        let temporary = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"x");
        make(temporary.path(), &digest);
        let at = |path: &str| temporary.path().join(layout::BLOBS).join(path);
        fs::create_dir_all(at("sha256/zz")).unwrap();
        fs::create_dir_all(at("sha256/00/not-a-digest")).unwrap();
        fs::create_dir_all(at("md5/00/0011")).unwrap();
        fs::write(at("a-file"), "").unwrap();
        std::os::unix::fs::symlink("00", at("sha256/01")).unwrap();
        let blobs = Blobs::read(&Folder::open(temporary.path()).unwrap());
        let mut paths: Vec<&str> = blobs.problems.iter().map(|problem| &problem.path[layout::BLOBS.len() + 1..]).collect();
        paths.sort_unstable();
        assert_eq!(paths, ["a-file", "md5/00/0011", "sha256/00/not-a-digest", "sha256/01", "sha256/zz"]);
        assert_eq!(blobs.find(&format!("sha256:01{}", "0".repeat(62)).parse().unwrap()), Found::Unknown);
        assert_eq!(blobs.find(&format!("sha256:02{}", "0".repeat(62)).parse().unwrap()), Found::Absent);
        assert!(!blobs.is_complete());
        // A blob that is a link, and all blobs that lie elsewhere.
        std::os::unix::fs::symlink("/", at(&format!("sha256/02/02{}", "0".repeat(62)))).unwrap_err();
        fs::create_dir_all(at("sha256/03")).unwrap();
        std::os::unix::fs::symlink("/", at(&format!("sha256/03/03{}", "0".repeat(62)))).unwrap();
        let blobs = Blobs::read(&Folder::open(temporary.path()).unwrap());
        assert_eq!(blobs.find(&format!("sha256:03{}", "1".repeat(62)).parse().unwrap()), Found::Unknown);
        let moved = tempfile::tempdir().unwrap();
        fs::create_dir_all(moved.path().join(layout::BLOBS)).unwrap();
        std::os::unix::fs::symlink(at("sha256"), moved.path().join(layout::BLOBS).join("sha256")).unwrap();
        let blobs = Blobs::read(&Folder::open(moved.path()).unwrap());
        assert_eq!((blobs.find(&digest), blobs.problems.iter().all(|problem| problem.hides)), (Found::Unknown, true));
        let empty = tempfile::tempdir().unwrap();
        let blobs = Blobs::read(&Folder::open(empty.path()).unwrap());
        assert!(blobs.is_empty() && blobs.is_complete() && blobs.problems.is_empty());
    }
}
