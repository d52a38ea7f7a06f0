//! What is known of each blob while repositories are gone through by several threads: a byte a blob.

use std::sync::atomic::{AtomicU8, Ordering};

/// One byte for each place of [`common::store::blobs::Blobs`].
#[derive(Debug)]
pub(crate) struct Marks(Vec<AtomicU8>);

/// Something in some repository needs it.
const NEEDED: u8 = 1;
/// Some repository has a link to it.
const LINKED: u8 = 2;
/// It was found unneeded by an earlier run, long enough ago.
const DUE: u8 = 4;
/// This run took it away.
const TAKEN: u8 = 8;

impl Marks {
    /// Marks for this many blobs, of which nothing is known.
    pub(crate) fn new(blobs: usize) -> Self {
        Self(std::iter::repeat_with(AtomicU8::default).take(blobs).collect())
    }

    pub(crate) fn need(&self, place: usize) {
        self.set(place, NEEDED);
    }

    pub(crate) fn is_needed(&self, place: usize) -> bool {
        self.has(place, NEEDED)
    }

    pub(crate) fn link(&self, place: usize) {
        self.set(place, LINKED);
    }

    pub(crate) fn is_linked(&self, place: usize) -> bool {
        self.has(place, LINKED)
    }

    pub(crate) fn make_due(&self, place: usize) {
        self.set(place, DUE);
    }

    pub(crate) fn is_due(&self, place: usize) -> bool {
        self.has(place, DUE)
    }

    pub(crate) fn take(&self, place: usize) {
        self.set(place, TAKEN);
    }

    pub(crate) fn is_taken(&self, place: usize) -> bool {
        self.has(place, TAKEN)
    }

    fn set(&self, place: usize, bit: u8) {
        if let Some(mark) = self.0.get(place) {
            // Most are set many times over; a read does not take the line of memory away from the other threads.
            if mark.load(Ordering::Relaxed) & bit == 0 {
                mark.fetch_or(bit, Ordering::Relaxed);
            }
        }
    }

    fn has(&self, place: usize, bit: u8) -> bool {
        self.0.get(place).is_some_and(|mark| mark.load(Ordering::Relaxed) & bit != 0)
    }
}
