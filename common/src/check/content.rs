//! The content of blobs, hashed on all cores.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::sync::atomic::{AtomicU64, Ordering};

use super::blobs::{Data, Facts, State};
use super::scene::data_of;
use crate::digest::Digest;
use crate::store::blobs::Blobs;
use crate::store::folder::Folder;
use crate::store::side_by_side;

/// How much is read at once: so little that most of it is still in the processor's cache when it is hashed.
const PIECE: usize = 1 << 20;

/// Where a page begins.
const PAGE: usize = 4096;

/// Room for a piece that begins with a page, into which the kernel copies faster. To copy takes a fifth of all time and more.
struct Room {
    bytes: Vec<u8>,
    first: usize,
}

impl Room {
    fn new() -> Self {
        let bytes = vec![0; PIECE + PAGE];
        // Where that cannot be told any place will do.
        let first = Some(bytes.as_ptr().align_offset(PAGE)).filter(|first| *first < PAGE).unwrap_or(0);
        Self { bytes, first }
    }

    fn piece(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.first..self.first + PIECE).unwrap_or_default()
    }
}

/// Which blobs are read.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Only those that changed since then, in nanoseconds since 1970, those in the sample, and `always`.
    pub since: Option<i64>,
    /// Only those in this part of all digests, and with `since` also what changed.
    pub sample: Option<Sample>,
    /// Read whatever else is said: those that were found damaged before.
    pub always: HashSet<Digest>,
    /// None but these.
    pub among: Option<HashSet<Digest>>,
}

/// A part of all digests, which are spread evenly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    first: u64,
    length: u64,
}

impl Sample {
    /// `percent` of all digests, from 0 to 100: on each day those that follow the ones of the day before, so that in the end all had their
    /// turn. `day` counts days.
    #[must_use]
    pub fn of_day(percent: f64, day: i64) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of the whole range, and saturating")]
        let length = (percent.clamp(0.0, 100.0) / 100.0 * 2f64.powi(64)) as u64;
        // Days before 1970 wrap as well as any.
        Self { first: length.wrapping_mul(day.cast_unsigned()), length }
    }

    /// Whether a digest is one of them.
    #[must_use]
    pub fn contains(&self, digest: &Digest) -> bool {
        self.length == u64::MAX || digest.front().wrapping_sub(self.first) < self.length
    }
}

impl Choice {
    /// Whether a blob that was `changed` then is read.
    #[must_use]
    pub fn selects(&self, digest: &Digest, changed: i64) -> bool {
        match (self.since, &self.sample) {
            _ if self.among.as_ref().is_some_and(|among| !among.contains(digest)) => false,
            (None, None) => true,
            (since, sample) => {
                since.is_some_and(|since| changed >= since)
                    || sample.is_some_and(|sample| sample.contains(digest))
                    || self.always.contains(digest)
            }
        }
    }
}

/// Reads the blobs that are chosen, the largest first so that no core is left alone with one at the end, and notes in `facts` which are
/// damaged. `advance` is told of each. Gives how many bytes were read.
pub fn hash(root: &Folder, blobs: &Blobs, facts: &Facts, choice: &Choice, advance: &(dyn Fn() + Sync)) -> u64 {
    let mut chosen: Vec<(u64, usize)> = (0..blobs.len())
        .filter_map(|place| match facts.at(place) {
            Data::Size(size) if choice.selects(&blobs.at(place)?, facts.changed(place)?) => Some((size, place)),
            _ => None,
        })
        .collect();
    chosen.sort_unstable_by(|one, other| other.cmp(one));
    let bytes = AtomicU64::new(0);
    side_by_side::map(&chosen, Room::new, |room, (_, place)| {
        bytes.fetch_add(hash_place(root, blobs, facts, *place, room), Ordering::Relaxed);
        advance();
    });
    bytes.into_inner()
}

/// Hashes the blob at one place, and notes what that told.
pub(super) fn hash_at(root: &Folder, blobs: &Blobs, facts: &Facts, place: usize) {
    hash_place(root, blobs, facts, place, &mut Room::new());
}

/// What the content of one blob tells, looked at now and apart from any tree; `None` where it is not there.
///
/// # Errors
/// What the system says.
pub fn state(root: &Folder, digest: &Digest) -> io::Result<Option<State>> {
    let Some(file) = root.open_file(&data_of(digest))? else { return Ok(None) };
    let (_, found) = hash_file(file, digest, Room::new().piece())?;
    Ok(Some(if found == *digest { State::Good } else { State::Corrupt }))
}

/// Hashes the blob at a place, and gives how many bytes it has.
fn hash_place(root: &Folder, blobs: &Blobs, facts: &Facts, place: usize, room: &mut Room) -> u64 {
    let Some(digest) = blobs.at(place) else { return 0 };
    let hashed = blobs.open_data(root, &digest).and_then(|file| file.map(|file| hash_file(file, &digest, room.piece())).transpose());
    let (bytes, state) = match hashed {
        Ok(Some((bytes, found))) => (bytes, if found == digest { State::Good } else { State::Corrupt }),
        // It went while we looked.
        Ok(None) => (0, State::Unread),
        Err(_) => (0, State::Unreadable),
    };
    facts.set_state(place, state);
    bytes
}

/// How many bytes a file has, and what they hash to by the algorithm of `like`.
///
/// # Errors
/// What the system says.
fn hash_file(mut file: File, like: &Digest, buffer: &mut [u8]) -> io::Result<(u64, Digest)> {
    let (mut hasher, mut bytes) = (like.hasher(), 0);
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok((bytes, hasher.finish())),
            Ok(count) => {
                hasher.update(buffer.get(..count).unwrap_or_default());
                bytes += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
