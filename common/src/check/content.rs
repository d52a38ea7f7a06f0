//! The content of blobs, hashed on all cores, two blobs at a time on each.

use std::fs::File;
use std::io::{self, Read as _};
use std::mem;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::blobs::{Data, Facts, State};
use super::choice::Choice;
use super::scene::data_of;
use crate::digest::Digest;
use crate::digest::pair::{self, Block, Stream};
use crate::store::blobs::Blobs;
use crate::store::folder::Folder;
use crate::store::side_by_side;

/// How much is read at once: so little that it is still in the processor's cache when it is hashed. A number of whole blocks.
pub(super) const PIECE: usize = 1 << 16;

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
    let work = Work { root, blobs, facts, chosen: &chosen, next: AtomicUsize::new(0), bytes: AtomicU64::new(0), advance };
    side_by_side::on_cores(chosen.len().div_ceil(2), || work.run());
    work.bytes.into_inner()
}

/// Hashes the blob at one place, and notes what that told.
pub(super) fn hash_at(root: &Folder, blobs: &Blobs, facts: &Facts, place: usize) {
    let Some(digest) = blobs.at(place) else { return };
    let hashed = blobs.open_data(root, &digest).and_then(|file| file.map(|file| hash_file(&file, &digest)).transpose());
    note(facts, place, &digest, hashed);
}

/// What the content of one blob tells, looked at now and apart from any tree; `None` where it is not there.
///
/// # Errors
/// What the system says.
pub fn state(root: &Folder, digest: &Digest) -> io::Result<Option<State>> {
    let Some(file) = root.open_file(&data_of(digest))? else { return Ok(None) };
    let (_, found) = hash_file(&file, digest)?;
    Ok(Some(if found == *digest { State::Good } else { State::Corrupt }))
}

/// Notes what reading the blob at a place told, and gives how many bytes it has. `None` is one that went while we looked.
fn note(facts: &Facts, place: usize, digest: &Digest, hashed: io::Result<Option<(u64, Digest)>>) -> u64 {
    let (bytes, state) = match hashed {
        Ok(Some((bytes, found))) => (bytes, if found == *digest { State::Good } else { State::Corrupt }),
        Ok(None) => (0, State::Unread),
        Err(_) => (0, State::Unreadable),
    };
    facts.set_state(place, state);
    bytes
}

/// How many bytes a file has from where it stands, and what they hash to by the algorithm of `like`.
///
/// # Errors
/// What the system says.
pub fn hash_file(file: &File, like: &Digest) -> io::Result<(u64, Digest)> {
    let (mut buffer, mut hasher, mut bytes) = (vec![0; PIECE], like.hasher(), 0);
    loop {
        let count = fill(file, &mut buffer)?;
        hasher.update(buffer.get(..count).unwrap_or_default());
        bytes += count as u64;
        if count < buffer.len() {
            return Ok((bytes, hasher.finish()));
        }
    }
}

/// Reads until the buffer is full or the file at its end, and gives how many bytes.
///
/// # Errors
/// What the system says.
fn fill(mut file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read(room) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Blobs that all cores hash together.
struct Work<'a> {
    root: &'a Folder,
    blobs: &'a Blobs,
    facts: &'a Facts,
    /// Their sizes and places.
    chosen: &'a [(u64, usize)],
    /// Which of them is opened next.
    next: AtomicUsize,
    /// How many bytes were hashed.
    bytes: AtomicU64,
    advance: &'a (dyn Fn() + Sync),
}

/// A blob that is being read.
struct Open {
    place: usize,
    digest: Digest,
    file: File,
    /// All of it was read.
    at_end: bool,
}

/// One of the two streams of a core: blob after blob.
struct Lane {
    open: Option<Open>,
    stream: Stream,
    piece: Vec<u8>,
    /// The part of the piece that was not hashed.
    left: Range<usize>,
}

impl Work<'_> {
    /// Hashes two at a time until there are no more.
    fn run(&self) {
        let mut lanes = [Lane::new(), Lane::new()];
        loop {
            let counts = lanes.each_mut().map(|lane| lane.ready(self));
            let most = match counts {
                [0, 0] => return,
                [count, 0] | [0, count] => count,
                [one, other] => one.min(other),
            };
            let [one, other] = lanes.each_mut().map(|lane| lane.take(most));
            pair::update([one.0, other.0], [one.1, other.1]);
        }
    }

    /// Opens the next blob. One that cannot be opened is done with, and so is one by another algorithm, which is hashed alone.
    fn open(&self) -> Option<Open> {
        loop {
            let (_, place) = *self.chosen.get(self.next.fetch_add(1, Ordering::Relaxed))?;
            let digest = self.blobs.at(place)?;
            let hashed = match self.blobs.open_data(self.root, &digest) {
                Ok(Some(file)) if matches!(digest, Digest::Sha256(_)) => return Some(Open { place, digest, file, at_end: false }),
                Ok(Some(file)) => hash_file(&file, &digest).map(Some),
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            };
            self.done(place, &digest, hashed);
        }
    }

    fn done(&self, place: usize, digest: &Digest, hashed: io::Result<Option<(u64, Digest)>>) {
        self.bytes.fetch_add(note(self.facts, place, digest, hashed), Ordering::Relaxed);
        (self.advance)();
    }
}

impl Lane {
    fn new() -> Self {
        Self { open: None, stream: Stream::new(), piece: vec![0; PIECE], left: 0..0 }
    }

    /// How many blocks can be hashed now. Where there is none the next piece is read, or the next blob is opened; 0 is the end of all.
    fn ready(&mut self, work: &Work<'_>) -> usize {
        while self.left.len() < size_of::<Block>() {
            let Some(open) = &mut self.open else {
                self.open = work.open();
                if self.open.is_none() {
                    return 0;
                }
                continue;
            };
            let hashed = if open.at_end {
                let rest = self.piece.get(mem::take(&mut self.left)).unwrap_or_default();
                Ok(Some(mem::take(&mut self.stream).finish(rest)))
            } else {
                match fill(&open.file, &mut self.piece) {
                    Ok(count) => {
                        self.left = 0..count;
                        open.at_end = count < self.piece.len();
                        continue;
                    }
                    Err(error) => {
                        self.stream = Stream::new();
                        Err(error)
                    }
                }
            };
            if let Some(Open { place, digest, .. }) = self.open.take() {
                work.done(place, &digest, hashed);
            }
        }
        self.left.len() / size_of::<Block>()
    }

    /// The next blocks, `most` or as many as there are, and the stream that they are of.
    fn take(&mut self, most: usize) -> (&mut Stream, &[Block]) {
        let (blocks, _) = self.piece.get(self.left.clone()).unwrap_or_default().as_chunks();
        let blocks = blocks.get(..most).unwrap_or(blocks);
        self.left.start += blocks.as_flattened().len();
        (&mut self.stream, blocks)
    }
}
