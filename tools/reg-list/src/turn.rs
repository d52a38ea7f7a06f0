//! Whose turn it is to be written, and how much is held of those that were read ahead of it.
//!
//! Requests are made for several repositories at once, and a repository must wait for all before it. What waits is bounded: above
//! that only the repository whose turn it is goes on. So memory is that of the largest repository and this.

use std::cell::Cell;

use tokio::sync::Notify;

/// How many bytes may be held of repositories whose turn has not come.
const MOST: usize = 16 << 20;

/// Turns, taken in the order of their numbers, from 0.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    current: Cell<u64>,
    held: Cell<usize>,
    changed: Notify,
}

impl Turns {
    /// Waits until the repository of this turn may read more.
    pub(crate) async fn may_read(&self, turn: u64) {
        while turn != self.current.get() && self.held.get() > MOST {
            self.changed.notified().await;
        }
    }

    /// Says that so many bytes more are held.
    pub(crate) fn hold(&self, bytes: usize) {
        self.held.set(self.held.get().saturating_add(bytes));
    }

    /// Says that the repository whose turn it was is written, and that so many bytes were held of it.
    pub(crate) fn next(&self, bytes: usize) {
        self.held.set(self.held.get().saturating_sub(bytes));
        self.current.set(self.current.get() + 1);
        self.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_ahead_waits_and_whose_turn_it_is_does_not() {
        let turns = Turns::default();
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            turns.may_read(7).await;
            turns.hold(MOST + 1);
            turns.may_read(0).await;
            let order = std::cell::RefCell::new(Vec::new());
            tokio::join!(
                async {
                    turns.may_read(1).await;
                    order.borrow_mut().push("may read");
                },
                async {
                    tokio::task::yield_now().await;
                    order.borrow_mut().push("written");
                    turns.next(0);
                }
            );
            assert_eq!(*order.borrow(), ["written", "may read"], "its turn came, though as much is held");
            turns.next(MOST + 1);
            turns.may_read(9).await;
        });
    }
}
