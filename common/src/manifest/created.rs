//! When something was made, and how that is known.
//!
//! Builds that want to be reproducible write the epoch, or a date of their own choosing; jib, ko and bazel do by default. Such a
//! date makes the newest image look the oldest. So a date that cannot be true is no date: it is unknown, with the reason, and
//! unknown is never old.

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};

/// The day on which Docker was first shown. No image is older.
pub const EARLIEST: NaiveDate = match NaiveDate::from_ymd_opt(2013, 3, 20) {
    Some(day) => day,
    None => NaiveDate::MIN,
};

pub(super) const ANNOTATION: &str = "annotation";
pub(super) const CONFIG: &str = "config";
pub(super) const CHILDREN: &str = "children";

/// When something was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The date, where it is known.
    pub time: Option<DateTime<Utc>>,
    /// `config`, `annotation` or `children`; where the date is not known, why.
    pub source: String,
}

impl Created {
    /// The first date that can be true among what several places say; each says a text, or why it has none.
    pub(super) fn first<'a>(said: impl IntoIterator<Item = (&'static str, Result<&'a str, &'a str>)>, now: DateTime<Utc>) -> Self {
        let mut reasons = Vec::new();
        for (place, text) in said {
            match text.map_err(str::to_owned).and_then(|text| plausible(text, now)) {
                Ok(time) => return Self { time: Some(time), source: place.to_owned() },
                Err(reason) => reasons.push(format!("{place}: {reason}")),
            }
        }
        let source = if reasons.is_empty() { "no date".to_owned() } else { reasons.join("; ") };
        Self { time: None, source }
    }
}

/// Reads a date (RFC 3339), and judges whether it can be true.
fn plausible(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    let Ok(time) = DateTime::parse_from_rfc3339(text.trim()) else {
        let shown: String = text.chars().take(40).collect();
        return Err(if shown.is_empty() { "no date".to_owned() } else { format!("{shown:?} is no date") });
    };
    let time = time.with_timezone(&Utc);
    let shown = || time.to_rfc3339_opts(SecondsFormat::Secs, true);
    if time.date_naive() < EARLIEST {
        return Err(format!("{} is before {EARLIEST}", shown()));
    }
    if time > now {
        return Err(format!("{} is in the future", shown()));
    }
    Ok(time)
}
