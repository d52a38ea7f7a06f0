//! Asks one registry: each distinct thing once while the answer is good, and nothing any more once it does not answer.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use common::check::Depth;
use common::cli::Progress;
use common::digest::Digest;
use common::registry::{self, Registry};
use tokio::sync::OnceCell;

use super::fault::{self, Lack};
use super::manifest::Info;

/// How many requests in a row may remain without an answer, each tried as often as there is patience for, before the registry is left alone:
/// the rest of a hundred thousand would wait as long, each of them.
const SILENT: u32 = 3;

/// How it is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) depth: Depth,
    /// What one repository answers says nothing of another.
    pub(crate) each_repository: bool,
    /// What is healthy is told too.
    pub(crate) all: bool,
}

/// One registry, and what it said so far.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) registry: Registry,
    /// Requests under way at once.
    pub(crate) jobs: usize,
    pub(crate) options: Options,
    pub(crate) progress: Rc<Progress>,
    pub(crate) manifests: Memory<Digest, Info>,
    pub(crate) blobs: Memory<(Digest, Look), Blob>,
    /// Why the registry is asked nothing more.
    down: RefCell<Option<String>>,
    /// How many requests in a row remained without an answer.
    silent: Cell<u32>,
    answered: Cell<bool>,
}

/// How a blob is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Look {
    /// It is asked for.
    Presence,
    /// It is read and hashed.
    Content,
    /// As that, and it must be a JSON object.
    Config,
}

/// A blob that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blob {
    /// Its size, where that is known; of one that has more bytes than it may, how many came.
    pub(crate) size: Option<u64>,
    /// What it hashes to, where it was read and that is something else.
    pub(crate) other: Option<Digest>,
    /// Why it is no config.
    pub(crate) unreadable: Option<String>,
}

impl Asker {
    pub(crate) fn new(registry: Registry, jobs: usize, options: Options, progress: Rc<Progress>) -> Self {
        Self {
            registry,
            jobs,
            options,
            progress,
            manifests: Memory::default(),
            blobs: Memory::default(),
            down: RefCell::new(None),
            silent: Cell::new(0),
            answered: Cell::new(false),
        }
    }

    /// Asks, unless the registry is to be left alone.
    pub(crate) async fn ask<T>(&self, request: impl Future<Output = Result<T, registry::Error>>) -> Result<T, Lack> {
        self.try_asking(request).await.map_err(|error| match error {
            Ok(error) => fault::lack(&error),
            Err(down) => down,
        })
    }

    /// As [`Self::ask`], with the client's own error where it was asked.
    pub(crate) async fn try_asking<T>(
        &self,
        request: impl Future<Output = Result<T, registry::Error>>,
    ) -> Result<T, Result<registry::Error, Lack>> {
        if let Some(down) = &*self.down.borrow() {
            return Err(Err(Lack::Down(down.clone())));
        }
        let answer = request.await;
        self.progress.advance();
        let error = match answer {
            Ok(answer) => {
                self.answered.set(true);
                self.silent.set(0);
                return Ok(answer);
            }
            Err(error) => error,
        };
        if fault::is_silence(&error) {
            self.silent.set(self.silent.get() + 1);
        } else {
            self.silent.set(0);
        }
        let lack = fault::lack(&error);
        if matches!(lack, Lack::Missing | Lack::NoRepository | Lack::Refused(_)) {
            self.answered.set(true);
        }
        if matches!(lack, Lack::Down(_)) || self.silent.get() >= SILENT {
            self.down.borrow_mut().get_or_insert_with(|| error.to_string());
        }
        Err(Ok(error))
    }

    /// Why it was asked nothing more, where that is so.
    pub(crate) fn down(&self) -> Option<String> {
        self.down.borrow().clone()
    }

    /// Whether it ever said anything about what was asked for.
    pub(crate) fn has_answered(&self) -> bool {
        self.answered.get()
    }
}

/// What is good and was asked for, so that it need not be asked for again.
#[derive(Debug)]
pub(crate) struct Memory<K, V> {
    cells: RefCell<HashMap<K, Slot<V>>>,
}

type Slot<V> = Rc<OnceCell<Rc<V>>>;

impl<K, V> Default for Memory<K, V> {
    fn default() -> Self {
        Self { cells: RefCell::default() }
    }
}

impl<K: Eq + std::hash::Hash + Clone, V> Memory<K, V> {
    /// From memory, or by `ask`; who comes meanwhile waits. What is lacking is not remembered: another repository may have it.
    pub(crate) async fn get<E>(&self, key: &K, ask: impl AsyncFnOnce() -> Result<V, E>) -> Result<Rc<V>, E> {
        let cell = Rc::clone(self.cells.borrow_mut().entry(key.clone()).or_default());
        let result = cell.get_or_try_init(async || ask().await.map(Rc::new)).await.cloned();
        // Nobody else waits for it, so that its place is free.
        if result.is_err() && Rc::strong_count(&cell) == 2 {
            self.cells.borrow_mut().remove(key);
        }
        result
    }

    /// Notes what was asked for without a look into memory.
    pub(crate) fn note(&self, key: &K, value: &Rc<V>) {
        let cell = Rc::clone(self.cells.borrow_mut().entry(key.clone()).or_default());
        // Who asks just now will have the same.
        let _ = cell.set(Rc::clone(value));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_is_good_is_asked_for_once_and_what_is_lacking_again() {
        let memory = Memory::<&str, u32>::default();
        let asked = Cell::new(0);
        let ask = |answer: Result<u32, ()>| {
            let asked = &asked;
            async move || {
                tokio::task::yield_now().await;
                asked.set(asked.get() + 1);
                answer
            }
        };
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let key = "a";
            assert!(memory.get(&key, ask(Err(()))).await.is_err());
            assert!(memory.cells.borrow().is_empty());
            let (one, two) = tokio::join!(memory.get(&key, ask(Ok(1))), memory.get(&key, ask(Ok(2))));
            assert_eq!((one.map(|one| *one), two.map(|two| *two), asked.get()), (Ok(1), Ok(1), 2));
            // Who comes while it is lacking elsewhere asks for itself.
            let (one, two) = tokio::join!(memory.get(&"b", ask(Err(()))), memory.get(&"b", ask(Ok(2))));
            assert_eq!((one.is_err(), two.map(|two| *two)), (true, Ok(2)));
            memory.note(&"c", &Rc::new(3));
            assert_eq!(memory.get(&"c", ask(Ok(4))).await.map(|three| *three), Ok(3));
        });
    }
}
