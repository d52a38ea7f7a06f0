//! Whether a request to a cluster is made again, and after how long: decided here without a clock, waited for by [`super::request`].
//!
//! All requests of this tool are GETs, and safe to repeat.

use std::time::Duration;

use common::backoff::{self, LONGEST_ASKED};

/// How patient a reader is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// How often a request is made.
    pub(crate) tries: u32,
    /// The first wait between two tries; each further one is twice as long.
    pub(crate) backoff: Duration,
    /// How long a server may send nothing.
    pub(crate) silence: Duration,
}

impl Default for Patience {
    /// An API server gives up a request of its own after 60 seconds (`kube-apiserver --request-timeout`) and says so, which is better to
    /// know than that nothing came.
    fn default() -> Self {
        Self { tries: 6, backoff: Duration::from_millis(250), silence: Duration::from_secs(70) }
    }
}

/// What came of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// An answer of a status, and what its `Retry-After` asks for.
    Answer { status: u16, retry_after: Option<Duration> },
    /// The connection was lost before the answer was whole.
    Lost,
    /// Nothing came for too long.
    Silent,
    /// No connection came about. `reached` tells whether this server ever answered.
    NoConnection { reached: bool },
    /// What would come of any other try too.
    Lasting,
}

/// How long to wait before the next try after `made` tries (at least 1); none where the outcome stands. `jitter`, from 0 to 1, spreads the
/// waits of many clients, so that they do not return together.
pub(super) fn wait(patience: Patience, made: u32, outcome: Outcome, jitter: f64) -> Option<Duration> {
    if made >= patience.tries {
        return None;
    }
    let step = backoff::step(patience.backoff, made, jitter);
    match outcome {
        // Too many requests, and what a proxy or the server says while it restarts; or whatever error it wants to be asked again after
        // (client-go does the same).
        Outcome::Answer { status: 429 | 500..=599, retry_after: Some(asked) } => Some(asked.min(LONGEST_ASKED)),
        Outcome::Answer { status: 429 | 502 | 503 | 504, retry_after: None } => Some(step),
        Outcome::Answer { .. } | Outcome::Lasting => None,
        // Servers close idle connections, and may do so while a request is on its way on one: no need to wait.
        Outcome::Lost if made == 1 => Some(Duration::ZERO),
        // It had its time; one more try is fair, six would take minutes.
        Outcome::Silent if made > 1 => None,
        // A server that never answered is more likely mistyped or down than restarting; who waits should hear of it at once.
        Outcome::NoConnection { reached: false } => None,
        Outcome::Lost | Outcome::Silent | Outcome::NoConnection { reached: true } => Some(step),
    }
}

#[cfg(test)]
mod tests {
    use common::backoff::LONGEST;

    use super::*;

    fn after(made: u32, outcome: Outcome) -> Option<u128> {
        wait(Patience::default(), made, outcome, 1.0).map(|wait| wait.as_millis())
    }

    fn answer(status: u16, seconds: Option<u64>) -> Outcome {
        Outcome::Answer { status, retry_after: seconds.map(Duration::from_secs) }
    }

    #[test]
    fn waits_double_and_end() {
        let waits: Vec<Option<u128>> = (1..=6).map(|made| after(made, answer(503, None))).collect();
        assert_eq!(waits, [Some(250), Some(500), Some(1000), Some(2000), Some(4000), None]);
        assert_eq!(wait(Patience { tries: 100, ..Patience::default() }, 90, answer(503, None), 1.0), Some(LONGEST));
    }

    #[test]
    fn what_is_asked_again_and_when() {
        for (made, outcome, expected) in [
            (1, answer(429, Some(7)), Some(7_000)),
            (1, answer(429, Some(3600)), Some(120_000)),
            (1, answer(429, None), Some(250)),
            (2, answer(504, None), Some(500)),
            (1, answer(500, None), None),
            (1, answer(500, Some(1)), Some(1_000)),
            (1, answer(403, Some(1)), None),
            (1, answer(410, None), None),
            (1, Outcome::Lost, Some(0)),
            (2, Outcome::Lost, Some(500)),
            (6, Outcome::Lost, None),
            (1, Outcome::Silent, Some(250)),
            (2, Outcome::Silent, None),
            (1, Outcome::NoConnection { reached: false }, None),
            (1, Outcome::NoConnection { reached: true }, Some(250)),
            (1, Outcome::Lasting, None),
        ] {
            assert_eq!(after(made, outcome), expected, "{made} {outcome:?}");
        }
    }
}
