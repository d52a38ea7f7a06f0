//! Durations as people write them in policies: `90d`, `24h`, `1d12h`.
//!
//! Owns the syntax. `m` is refused: it could be minutes or months, and guessing deletes images. Pure.

use std::fmt;
use std::str::FromStr;

use chrono::TimeDelta;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A span of time in whole seconds. `0s` switches a rule off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration(u64);

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDuration {
    /// `6m`
    #[error("{0:?} is ambiguous: write min for minutes, or days such as 180d for months")]
    Ambiguous(String),
    /// Anything else.
    #[error("{0:?} is no duration: expected numbers with s, min, h, d or w, such as 90d, 24h or 1d12h")]
    Syntax(String),
}

const UNITS: [(&str, u64); 5] = [("w", 7 * 86_400), ("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];

impl Duration {
    /// So many seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(seconds)
    }

    /// So many hours.
    #[must_use]
    pub const fn hours(hours: u64) -> Self {
        Self(hours * 3_600)
    }

    /// So many days.
    #[must_use]
    pub const fn days(days: u64) -> Self {
        Self(days * 86_400)
    }

    /// Whether it is zero, which switches a rule off.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The same as chrono's span. A century of centuries is the most that a policy can mean.
    #[must_use]
    pub fn delta(self) -> TimeDelta {
        const MOST: u64 = 10_000 * 366 * 86_400;
        TimeDelta::seconds(i64::try_from(self.0.min(MOST)).unwrap_or(i64::MAX / 1_000))
    }

    /// A span as a duration in whole seconds; a negative one is zero.
    #[must_use]
    pub fn of(delta: TimeDelta) -> Self {
        Self(u64::try_from(delta.num_seconds()).unwrap_or(0))
    }
}

impl FromStr for Duration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let syntax = || InvalidDuration::Syntax(text.to_owned());
        let mut rest = text.trim();
        let mut total: u64 = 0;
        if rest.is_empty() {
            return Err(syntax());
        }
        while !rest.is_empty() {
            let digits = rest.find(|character: char| !character.is_ascii_digit()).ok_or_else(syntax)?;
            let (number, after) = rest.split_at(digits);
            let letters = after.find(|character: char| !character.is_ascii_alphabetic()).unwrap_or(after.len());
            let (unit, after) = after.split_at(letters);
            if matches!(unit, "m" | "M" | "mo" | "mon") {
                return Err(InvalidDuration::Ambiguous(text.to_owned()));
            }
            let factor = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(syntax)?.1;
            let number: u64 = number.parse().map_err(|_| syntax())?;
            total = number.checked_mul(factor).and_then(|seconds| total.checked_add(seconds)).ok_or_else(syntax)?;
            rest = after;
        }
        Ok(Self(total))
    }
}

impl fmt::Display for Duration {
    /// The largest units first, weeks left out: `1d12h`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return formatter.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, factor) in UNITS.iter().skip(1) {
            if rest / factor > 0 {
                write!(formatter, "{}{unit}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        for (text, seconds, canonical) in [
            ("90d", 7_776_000, "90d"),
            ("24h", 86_400, "1d"),
            ("1d12h", 129_600, "1d12h"),
            ("2w", 1_209_600, "14d"),
            ("30min", 1_800, "30min"),
            ("0s", 0, "0s"),
            ("90s", 90, "1min30s"),
        ] {
            let parsed: Duration = text.parse().unwrap();
            assert_eq!((parsed, parsed.to_string().as_str()), (Duration::seconds(seconds), canonical), "{text}");
        }
    }

    #[test]
    fn months_and_minutes_are_not_guessed() {
        assert!(matches!("6m".parse::<Duration>(), Err(InvalidDuration::Ambiguous(_))));
        for bad in ["", "d", "12", "-1d", "1y", "1.5d", "1d 2h", "99999999999999999999d", "10000000000000000w", "1D"] {
            assert!(matches!(bad.parse::<Duration>(), Err(InvalidDuration::Syntax(_))), "{bad}");
        }
    }
}
