//! Which blobs a run reads and hashes.

use std::collections::HashSet;

use crate::digest::Digest;

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
