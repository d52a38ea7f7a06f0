//! Whether a request is made again, and after how long: decided here without a clock, waited for by `transport`.
//!
//! All requests of this client are safe to repeat: GET and HEAD change nothing, PUT and DELETE name what they put or take away.

use std::time::Duration;

use super::error::Trouble;
use crate::backoff::{self, LONGEST_ASKED};

/// How often to try, and how long to wait at first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) tries: u32,
    pub(super) backoff: Duration,
}

/// What came of a try.
#[derive(Debug)]
pub(super) enum Outcome<'a> {
    /// The server answered.
    Answer {
        status: u16,
        /// As the answer's status and codes say.
        temporary: bool,
        /// What its `Retry-After` asks for.
        retry_after: Option<Duration>,
    },
    /// There is no answer.
    Trouble(&'a Trouble),
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// This outcome stands.
    Stands,
    /// Try again after this wait.
    Again(Duration),
    /// As [`Decision::Again`], and no other request to this host before then either.
    PauseAll(Duration),
}

/// Decides after `made` tries (at least 1). `reached` tells whether the host ever answered, and `jitter`, from 0 to 1, spreads
/// the waits of many clients ("full jitter": anything from nothing to the whole step, so that they do not return together).
pub(super) fn decide(patience: Patience, made: u32, outcome: &Outcome<'_>, reached: bool, jitter: f64) -> Decision {
    if made >= patience.tries {
        return Decision::Stands;
    }
    let wait = backoff::step(patience.backoff, made, jitter);
    match outcome {
        Outcome::Answer { temporary: false, .. } => Decision::Stands,
        Outcome::Answer { retry_after: Some(asked), .. } => Decision::PauseAll((*asked).min(LONGEST_ASKED)),
        Outcome::Answer { status: 429, .. } => Decision::PauseAll(wait),
        Outcome::Answer { .. } => Decision::Again(wait),
        Outcome::Trouble(trouble) if !trouble.is_temporary() => Decision::Stands,
        // A host that never answered is more likely mistyped than restarting; who mistyped should hear of it at once.
        Outcome::Trouble(Trouble::Refused | Trouble::Unreachable(_) | Trouble::Resolver) if !reached => Decision::Stands,
        // Servers close idle connections, and may do so while a request is on its way on one: not the server's fault, no need to wait.
        Outcome::Trouble(Trouble::Lost(_) | Trouble::CutBody(_)) if made == 1 => Decision::Again(Duration::ZERO),
        Outcome::Trouble(_) => Decision::Again(wait),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backoff::LONGEST;

    const PATIENCE: Patience = Patience { tries: 6, backoff: Duration::from_millis(250) };

    fn after(made: u32, outcome: &Outcome<'_>) -> Decision {
        decide(PATIENCE, made, outcome, true, 1.0)
    }

    fn answer(status: u16, retry_after: Option<u64>) -> Outcome<'static> {
        Outcome::Answer { status, temporary: true, retry_after: retry_after.map(Duration::from_secs) }
    }

    #[test]
    fn waits_double_and_end() {
        let waits: Vec<Decision> = (1..=6).map(|made| after(made, &answer(503, None))).collect();
        let again = |milliseconds| Decision::Again(Duration::from_millis(milliseconds));
        assert_eq!(waits, [again(250), again(500), again(1000), again(2000), again(4000), Decision::Stands]);
        let long = Patience { tries: 100, backoff: Duration::from_millis(250) };
        assert_eq!(decide(long, 90, &answer(503, None), true, 1.0), Decision::Again(LONGEST));
        assert_eq!(decide(long, 90, &answer(503, None), true, 0.0), Decision::Again(Duration::ZERO));
    }

    #[test]
    fn a_server_that_asks_for_a_wait_gets_it_from_all() {
        assert_eq!(after(1, &answer(429, Some(7))), Decision::PauseAll(Duration::from_secs(7)));
        assert_eq!(after(1, &answer(503, Some(3600))), Decision::PauseAll(LONGEST_ASKED));
        assert_eq!(after(1, &answer(429, None)), Decision::PauseAll(Duration::from_millis(250)));
        assert_eq!(after(6, &answer(429, Some(7))), Decision::Stands);
        assert_eq!(after(1, &Outcome::Answer { status: 404, temporary: false, retry_after: Some(LONGEST) }), Decision::Stands);
    }

    #[test]
    fn troubles() {
        let lost = Trouble::Lost(String::new());
        assert_eq!(after(1, &Outcome::Trouble(&lost)), Decision::Again(Duration::ZERO));
        assert_eq!(after(2, &Outcome::Trouble(&lost)), Decision::Again(Duration::from_millis(500)));
        assert_eq!(after(1, &Outcome::Trouble(&Trouble::Refused)), Decision::Again(Duration::from_millis(250)));
        assert_eq!(decide(PATIENCE, 1, &Outcome::Trouble(&Trouble::Refused), false, 1.0), Decision::Stands);
        for lasting in [Trouble::UnknownHost, Trouble::NotTls, Trouble::Certificate(String::new()), Trouble::TooLarge(1)] {
            assert_eq!(after(1, &Outcome::Trouble(&lasting)), Decision::Stands, "{lasting:?}");
        }
    }
}
