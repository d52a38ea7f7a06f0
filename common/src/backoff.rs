//! What all retries have in common: how long a wait grows, what `Retry-After` asks for, and how waits of many clients are spread.
//!
//! Whether something is tried again at all is decided by who knows what went wrong: `registry` for registries, each tool for its own servers.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// No wait between tries is longer than this, but for what a server asks for.
pub const LONGEST: Duration = Duration::from_secs(30);

/// Nobody waits longer than this because a server asked for it: who says an hour is better met by an error.
pub const LONGEST_ASKED: Duration = Duration::from_secs(120);

/// How long to wait after `made` tries (at least 1), of which the first wait is `first` at most: twice as long each time, up to
/// [`LONGEST`]. `jitter`, from 0 to 1, spreads the waits of many clients ("full jitter": anything from nothing to the whole step, so that
/// they do not return together).
#[must_use]
pub fn step(first: Duration, made: u32, jitter: f64) -> Duration {
    first.saturating_mul(1 << made.saturating_sub(1).min(16)).min(LONGEST).mul_f64(jitter.clamp(0.0, 1.0))
}

/// Reads `Retry-After` in both of its forms (RFC 9110, 10.2.3): seconds, or a date.
#[must_use]
pub fn retry_after(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds are still a long time.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let date = DateTime::parse_from_rfc2822(value).ok()?;
    // A date that has passed asks for no wait.
    Some((date.with_timezone(&Utc) - now).to_std().unwrap_or(Duration::ZERO))
}

/// A number from 0 to 1 that differs from call to call and from process to process. Nothing depends on its quality.
#[must_use]
pub fn jitter() -> f64 {
    use std::hash::{BuildHasher as _, RandomState};
    let random = RandomState::new().hash_one(0_u8);
    f64::from(u32::try_from(random >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_double_and_end() {
        let first = Duration::from_millis(250);
        let steps: Vec<u128> = (1..=5).map(|made| step(first, made, 1.0).as_millis()).collect();
        assert_eq!(steps, [250, 500, 1000, 2000, 4000]);
        assert_eq!((step(first, 90, 1.0), step(first, 90, 0.0), step(first, 0, 1.0)), (LONGEST, Duration::ZERO, first));
    }

    #[test]
    fn retry_after_in_both_forms() {
        let now: DateTime<Utc> = "2015-10-21T07:28:00Z".parse().unwrap();
        for (value, seconds) in [
            ("120", Some(120)),
            (" 5 ", Some(5)),
            ("99999999999999999999999", Some(u64::from(u32::MAX))),
            ("Wed, 21 Oct 2015 07:28:30 GMT", Some(30)),
            ("Wed, 21 Oct 2015 07:27:30 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("soon", None),
        ] {
            assert_eq!(retry_after(value, now), seconds.map(Duration::from_secs), "{value:?}");
        }
    }
}
