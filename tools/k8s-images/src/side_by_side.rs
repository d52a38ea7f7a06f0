//! Work side by side: so much of it at once, and none of it waited for longer than it may take.
//!
//! Each piece has a thread of its own, because it may block. One that does not come back in time is given up: its thread stays behind, and
//! ends with the process. Knows nothing of what the work is.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// What became of a piece of work.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome<T> {
    /// It was done.
    Done(T),
    /// It did not come back in time.
    Late,
    /// It could not be begun, or broke off: a defect, or a machine at its limits.
    Broken(String),
}

/// Does all pieces, at most `at_once` of them at a time, and gives what became of each, in order. `finished` is told with each one that ends.
pub(crate) fn each<J, T>(
    pieces: Vec<J>,
    at_once: usize,
    limit: Duration,
    work: impl Fn(J) -> T + Clone + Send + 'static,
    finished: impl Fn(),
) -> Vec<Outcome<T>>
where
    J: Send + 'static,
    T: Send + 'static,
{
    let mut outcomes: Vec<Option<Outcome<T>>> = pieces.iter().map(|_| None).collect();
    let mut waiting = pieces.into_iter().enumerate();
    let mut running: Vec<(usize, Instant)> = Vec::new();
    let (sender, receiver) = mpsc::channel();
    let mut settle = |running: &mut Vec<(usize, Instant)>, number: usize, outcome: Outcome<T>| {
        running.retain(|(other, _)| *other != number);
        // Whoever is late may still come, and it was said already that it did not.
        if let Some(place @ None) = outcomes.get_mut(number) {
            *place = Some(outcome);
            finished();
        }
    };
    loop {
        while running.len() < at_once.max(1)
            && let Some((number, piece)) = waiting.next()
        {
            running.push((number, Instant::now() + limit));
            let (sender, work) = (sender.clone(), work.clone());
            let begun = thread::Builder::new().spawn(move || {
                let done = catch_unwind(AssertUnwindSafe(|| work(piece)));
                let _ = sender.send((number, done.map_or_else(|_| Outcome::Broken("broke off: a defect".to_owned()), Outcome::Done)));
            });
            if let Err(error) = begun {
                settle(&mut running, number, Outcome::Broken(format!("no thread can be begun: {error}")));
            }
        }
        let Some((next, deadline)) = running.iter().min_by_key(|(_, deadline)| *deadline).copied() else { break };
        match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok((number, outcome)) => settle(&mut running, number, outcome),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => settle(&mut running, next, Outcome::Late),
        }
    }
    outcomes.into_iter().map(|outcome| outcome.unwrap_or(Outcome::Late)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Barrier, Mutex};

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn results_stand_in_the_order_of_the_pieces() {
        let finished = AtomicUsize::new(0);
        let outcomes = each(
            (0..20).collect(),
            3,
            LONG,
            |number: usize| number * 2,
            || {
                finished.fetch_add(1, Ordering::Relaxed);
            },
        );
        assert_eq!(outcomes, (0..20).map(|number| Outcome::Done(number * 2)).collect::<Vec<_>>());
        assert_eq!(finished.into_inner(), 20);
        assert_eq!(each(Vec::<()>::new(), 3, LONG, |()| (), || {}), []);
    }

    #[test]
    fn as_many_run_at_once_as_may() {
        // Each waits for another one: alone it would never end.
        let both = Arc::new(Barrier::new(2));
        let outcomes = each(vec![(); 8], 2, LONG, move |()| both.wait().is_leader(), || {});
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Done(true)).count(), 4);
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::clone(&most);
        each(
            vec![(); 50],
            4,
            LONG,
            move |()| {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::yield_now();
                now.fetch_sub(1, Ordering::SeqCst);
            },
            || {},
        );
        assert!((1..=4).contains(&seen.load(Ordering::SeqCst)));
    }

    #[test]
    fn whoever_never_comes_back_holds_up_nobody() {
        let (never, blocked) = mpsc::channel::<()>();
        let blocked = Arc::new(Mutex::new(blocked));
        let work = move |hangs: bool| {
            if hangs {
                let _ = blocked.lock().map(|blocked| blocked.recv());
            }
            hangs
        };
        let outcomes = each(vec![true, false, false], 1, Duration::from_millis(300), work, || {});
        assert_eq!(outcomes, [Outcome::Late, Outcome::Done(false), Outcome::Done(false)]);
        drop(never);
    }

    #[test]
    fn what_breaks_off_is_one_and_not_all() {
        let outcomes = each(vec![1, 0], 2, LONG, |divisor: usize| 1 / divisor, || {});
        assert!(matches!(&outcomes[..], [Outcome::Done(1), Outcome::Broken(_)]), "{outcomes:?}");
    }
}
