//! How large each blob of a tree is, what lies beside its content, and what is known of that.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::SystemTime;

use super::scene::{data_of, stray};
use crate::digest::Digest;
use crate::store::blobs::{Blobs, Found};
use crate::store::folder::{Folder, Kind};
use crate::store::{Problem, layout, side_by_side};

/// In the place of a size: there is a folder, and no content in it.
const EMPTY: u64 = u64::MAX;
/// In the place of a size: it could not be looked at.
const UNREADABLE: u64 = u64::MAX - 1;

/// The sizes of all blobs, and which were found damaged. A blob costs 17 bytes beside its name.
#[derive(Debug)]
pub struct Facts {
    sizes: Vec<u64>,
    /// When each was changed last in any way, in nanoseconds since 1970.
    changed: Vec<i64>,
    states: Vec<AtomicU8>,
    /// What lies beside the content of blobs, and what could not be looked at.
    pub problems: Vec<Problem>,
}

/// What is known of a blob's content without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// It is there and has so many bytes.
    Size(u64),
    /// It is not there.
    Missing,
    /// It could not be looked at.
    Unreadable,
}

/// What reading a blob's content told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// It was not read.
    Unread,
    /// It hashes to its digest.
    Good,
    /// It does not.
    Corrupt,
    /// It hashes to its digest, and is no JSON object as the config of an image is.
    NoConfig,
    /// It could not be read to its end.
    Unreadable,
}

impl Facts {
    /// Looks at the folder of every blob below `root`, on all cores.
    #[must_use]
    pub fn read(root: &Folder, blobs: &Blobs) -> Self {
        let runs: Vec<(usize, usize)> = blobs.runs().collect();
        let read = side_by_side::map(&runs, || (), |(), (first, count)| look(root, blobs, *first, *count));
        let (mut sizes, mut changed, mut problems) = (Vec::with_capacity(blobs.len()), Vec::with_capacity(blobs.len()), Vec::new());
        for run in read {
            sizes.extend(run.sizes);
            changed.extend(run.changed);
            problems.extend(run.problems);
        }
        let states = std::iter::repeat_with(|| AtomicU8::new(State::Unread as u8)).take(sizes.len()).collect();
        Self { sizes, changed, states, problems }
    }

    /// What is known of a blob. One that was not there when the names were read, or was empty, is looked for again: it may have come since.
    #[must_use]
    pub fn data(&self, root: &Folder, blobs: &Blobs, digest: &Digest) -> Data {
        match blobs.find(digest) {
            Found::At(place) => match self.at(place) {
                Data::Missing | Data::Size(0) => look_again(root, digest),
                known => known,
            },
            Found::Absent => look_again(root, digest),
            Found::Unknown => Data::Unreadable,
        }
    }

    /// What is known of the blob at a place.
    #[must_use]
    pub fn at(&self, place: usize) -> Data {
        match self.sizes.get(place) {
            None | Some(&EMPTY) => Data::Missing,
            Some(&UNREADABLE) => Data::Unreadable,
            Some(size) => Data::Size(*size),
        }
    }

    /// Looks at the blob at a place anew, of which something was changed.
    pub(super) fn renew(&mut self, root: &Folder, digest: &Digest, place: usize) {
        let path = layout::blob(digest);
        let (size, changed) = look_at(root.folder(&path), &path, &mut Vec::new());
        if let Some(slot) = self.sizes.get_mut(place) {
            *slot = size;
        }
        if let Some(slot) = self.changed.get_mut(place) {
            *slot = changed;
        }
        self.set_state(place, State::Unread);
    }

    /// When the blob at a place was changed last in any way.
    #[must_use]
    pub fn changed(&self, place: usize) -> Option<i64> {
        self.changed.get(place).copied()
    }

    /// What reading it told.
    #[must_use]
    pub fn state(&self, place: usize) -> State {
        match self.states.get(place).map_or(0, |state| state.load(Ordering::Relaxed)) {
            1 => State::Good,
            2 => State::Corrupt,
            3 => State::NoConfig,
            4 => State::Unreadable,
            _ => State::Unread,
        }
    }

    /// Notes what reading it told.
    pub fn set_state(&self, place: usize, state: State) {
        if let Some(slot) = self.states.get(place) {
            slot.store(state as u8, Ordering::Relaxed);
        }
    }
}

fn look_again(root: &Folder, digest: &Digest) -> Data {
    match root.status(&data_of(digest)) {
        Ok(Some(status)) if status.kind == Kind::File => Data::Size(status.size),
        Ok(None) => Data::Missing,
        Ok(Some(_)) | Err(_) => Data::Unreadable,
    }
}

/// A time in nanoseconds since 1970.
fn nanoseconds(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        Err(_) => 0,
    }
}

#[derive(Default)]
struct Run {
    sizes: Vec<u64>,
    changed: Vec<i64>,
    problems: Vec<Problem>,
}

/// Looks at neighbours.
fn look(root: &Folder, blobs: &Blobs, first: usize, count: usize) -> Run {
    let mut run = Run::default();
    for place in first..first + count {
        let (size, changed) = blobs
            .at(place)
            .map_or((EMPTY, 0), |digest| look_at(blobs.open_folder(root, &digest), &layout::blob(&digest), &mut run.problems));
        run.sizes.push(size);
        run.changed.push(changed);
    }
    run
}

fn look_at(opened: io::Result<Option<Folder>>, path: &str, problems: &mut Vec<Problem>) -> (u64, i64) {
    let mut is_there = false;
    let looked = opened.and_then(|folder| {
        let Some(folder) = folder else { return Ok(None) };
        folder.list(|name, kind| match name {
            b"data" => is_there = true,
            name => problems.push(stray(path, name, kind)),
        })?;
        if is_there { folder.status(layout::DATA) } else { Ok(None) }
    });
    match looked {
        Ok(None) => (EMPTY, 0),
        Ok(Some(status)) if status.kind == Kind::File => (status.size, nanoseconds(status.changed)),
        Ok(Some(_)) => {
            problems.push(Problem::new(format!("{path}/{}", layout::DATA), "is no regular file").hiding());
            (UNREADABLE, 0)
        }
        Err(error) => {
            problems.push(Problem::of_error(format!("{path}/{}", layout::DATA), &error));
            (UNREADABLE, 0)
        }
    }
}
