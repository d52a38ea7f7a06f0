//! Work for as many threads as there are cores, item by item.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How many threads work: as many as there are cores.
#[must_use]
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// Does `run` on as many threads as there are cores, though not on more than `most`, and gives what each did.
///
/// # Panics
/// Where `run` does.
pub fn on_cores<R: Send>(most: usize, run: impl Fn() -> R + Sync) -> Vec<R> {
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads().min(most)).map(|_| scope.spawn(&run)).collect();
        let mut results = vec![run()];
        for other in others {
            match other.join() {
                Ok(done) => results.push(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    })
}

/// Does `work` with each item, several at once, and gives the results in the order of the items. Each thread has a `state` of its own,
/// for buffers that are used again.
///
/// # Panics
/// Where `work` does.
pub fn map<T: Sync, S, R: Send>(items: &[T], state: impl Fn() -> S + Sync, work: impl Fn(&mut S, &T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let run = || {
        let mut state = state();
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(place) else { return done };
            done.push((place, work(&mut state, item)));
        }
    };
    let mut results: Vec<(usize, R)> = on_cores(items.len(), run).into_iter().flatten().collect();
    results.sort_unstable_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

/// A result, and how much memory it is said to take.
#[derive(Debug)]
pub struct Weighed<R> {
    /// The result.
    pub result: R,
    /// About how many bytes it holds.
    pub bytes: usize,
}

/// Does `work` with each item, several at once, and hands the results to `take` on this thread, one by one, in the order of the items,
/// while others are still worked on. An error of `take` ends it.
///
/// While results that wait hold more than `most` bytes, only the item whose turn it is is begun: so memory is bounded by that and one
/// item for each thread.
///
/// # Errors
/// What `take` says.
///
/// # Panics
/// Where `work` does.
pub fn in_order<T: Sync, S, R: Send, E>(
    items: &[T],
    most: usize,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &T) -> Weighed<R> + Sync,
    mut take: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let queue =
        Queue { inner: Mutex::new(Waiting { next: 0, taken: 0, held: 0, done: BTreeMap::new(), ended: false }), changed: Condvar::new() };
    let run = || {
        let _end = EndOnPanic(&queue);
        let mut state = state();
        while let Some((place, item)) = queue.next(items, most) {
            let result = work(&mut state, item);
            queue.put(place, result);
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads().min(items.len())).map(|_| scope.spawn(run)).collect();
        let mut result = Ok(());
        for _ in items {
            let Some(next) = queue.take() else { break };
            result = take(next);
            if result.is_err() {
                break;
            }
        }
        queue.end();
        for thread in threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
        result
    })
}

/// Results that wait for their turn.
struct Queue<R> {
    inner: Mutex<Waiting<R>>,
    changed: Condvar,
}

struct Waiting<R> {
    /// The place of the item that is begun next.
    next: usize,
    /// The place of the result that is taken next.
    taken: usize,
    /// Bytes in those that are done.
    held: usize,
    done: BTreeMap<usize, Weighed<R>>,
    /// Nobody wants more.
    ended: bool,
}

impl<R> Queue<R> {
    fn lock(&self) -> MutexGuard<'_, Waiting<R>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next item, as soon as it may be begun.
    fn next<'a, T>(&self, items: &'a [T], most: usize) -> Option<(usize, &'a T)> {
        let must_wait = |waiting: &mut Waiting<R>| !waiting.ended && waiting.held > most && waiting.next > waiting.taken;
        let mut waiting = self.changed.wait_while(self.lock(), must_wait).unwrap_or_else(PoisonError::into_inner);
        let place = waiting.next;
        let item = items.get(place).filter(|_| !waiting.ended)?;
        waiting.next += 1;
        Some((place, item))
    }

    fn put(&self, place: usize, result: Weighed<R>) {
        let mut waiting = self.lock();
        waiting.held = waiting.held.saturating_add(result.bytes);
        waiting.done.insert(place, result);
        drop(waiting);
        self.changed.notify_all();
    }

    /// The result whose turn it is; `None` where it will not come.
    fn take(&self) -> Option<R> {
        let must_wait = |waiting: &mut Waiting<R>| !waiting.ended && !waiting.done.contains_key(&waiting.taken);
        let mut waiting = self.changed.wait_while(self.lock(), must_wait).unwrap_or_else(PoisonError::into_inner);
        let place = waiting.taken;
        let Weighed { result, bytes } = waiting.done.remove(&place)?;
        waiting.taken += 1;
        waiting.held = waiting.held.saturating_sub(bytes);
        drop(waiting);
        self.changed.notify_all();
        Some(result)
    }

    fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }
}

/// Lets nobody wait for a thread that is no more.
struct EndOnPanic<'a, R>(&'a Queue<R>);

impl<R> Drop for EndOnPanic<'_, R> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_have_the_order_of_the_items() {
        let items: Vec<u32> = (0..1000).collect();
        assert_eq!(map(&items, || 7, |state, item| item + *state), (7..1007).collect::<Vec<_>>());
        assert_eq!(map(&[] as &[u32], || (), |(), item| *item), Vec::<u32>::new());
    }

    #[test]
    fn results_are_taken_in_order_while_others_are_worked_on() {
        let items: Vec<usize> = (0..1000).collect();
        for most in [0, 10, usize::MAX] {
            let mut taken = Vec::new();
            let work = |(): &mut (), item: &usize| Weighed { result: *item, bytes: item % 7 };
            let take = |item| {
                taken.push(item);
                Ok::<_, ()>(())
            };
            in_order(&items, most, || (), work, take).unwrap();
            assert_eq!(taken, items);
        }
        let none = in_order(&[] as &[u8], 0, || (), |(), _| Weighed { result: (), bytes: 0 }, |()| Err(()));
        assert_eq!(none, Ok(()));
    }

    #[test]
    fn what_waits_is_bounded() {
        let items: Vec<usize> = (0..200).collect();
        let (begun, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = |(): &mut (), _: &usize| {
            let ahead = begun.fetch_add(1, Ordering::SeqCst).saturating_sub(taken.load(Ordering::SeqCst));
            Weighed { result: ahead, bytes: 10 }
        };
        let mut most_ahead = 0;
        let take = |ahead| {
            most_ahead = most_ahead.max(ahead);
            taken.fetch_add(1, Ordering::SeqCst);
            Ok::<_, ()>(())
        };
        in_order(&items, 30, || (), work, take).unwrap();
        // Four that wait are more than 30 bytes; each thread may have begun one before that, and one is in the hands of `take`.
        assert!(most_ahead <= 4 + threads() + 1, "{most_ahead}");
    }

    #[test]
    fn an_error_and_a_panic_end_it() {
        let items: Vec<usize> = (0..1000).collect();
        let done = AtomicUsize::new(0);
        let work = |(): &mut (), item: &usize| {
            done.fetch_add(1, Ordering::SeqCst);
            Weighed { result: *item, bytes: 1 }
        };
        assert_eq!(in_order(&items, 5, || (), work, |item| if item == 3 { Err("full") } else { Ok(()) }), Err("full"));
        assert!(done.load(Ordering::SeqCst) < 100);
        let result = std::panic::catch_unwind(|| {
            let work = |(): &mut (), item: &usize| {
                assert!(*item != 5, "five");
                Weighed { result: (), bytes: 0 }
            };
            in_order(&items, 5, || (), work, |()| Ok::<_, ()>(()))
        });
        assert!(result.is_err());
    }
}
