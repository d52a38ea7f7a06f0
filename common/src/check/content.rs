//! The content of blobs, hashed on all cores.

use std::fs::File;
use std::io::{self, Read as _};
use std::sync::atomic::{AtomicU64, Ordering};

use super::blobs::{Data, Facts, State};
use super::choice::Choice;
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
