//! Image configs that were read, each once in the whole run: images that are promoted from repository to repository share theirs.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use common::digest::Digest;
use common::manifest::ImageConfig;
use tokio::sync::OnceCell;

/// The largest config that is read, as large as the largest manifest.
pub(crate) const LARGEST: usize = 4 << 20;

/// How many bytes of configs are remembered at most, so that a registry of any size is listed in bounded memory. That is some
/// fifty thousand configs with a few labels each; after those the oldest are forgotten, and asked for again if they come again.
const MOST: usize = 32 << 20;

/// Why a config is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is the image's own fault; so it was pushed, or so the storage is. The listing is none the worse.
    Image(String),
    /// It could not be asked for; another time it may be there.
    Failure(String),
}

/// Says no to a config that is said to be too large, before it is read.
pub(crate) fn check_size(size: u64) -> Result<(), Unread> {
    if size > LARGEST as u64 { Err(Unread::Image(format!("{size} bytes are more than a config may have"))) } else { Ok(()) }
}

/// The memory of configs, for tasks of one thread.
#[derive(Debug, Default)]
pub(crate) struct Configs {
    inner: RefCell<Memory<Rc<OnceCell<Arc<ImageConfig>>>>>,
}

/// The memory of configs, for several threads.
#[derive(Debug, Default)]
pub(crate) struct SharedConfigs {
    inner: Mutex<Memory<SharedCell>>,
}

type SharedCell = Arc<OnceLock<Result<Arc<ImageConfig>, Unread>>>;

#[derive(Debug)]
struct Memory<C> {
    cells: HashMap<Digest, C>,
    /// Those that were read, oldest first, and the bytes of each.
    read: VecDeque<(Digest, usize)>,
    bytes: usize,
}

impl<C> Default for Memory<C> {
    fn default() -> Self {
        Self { cells: HashMap::new(), read: VecDeque::new(), bytes: 0 }
    }
}

impl Configs {
    /// The config, from memory or by `read`; who comes while it is being read waits for it. A failure is not remembered: a blob that one
    /// repository does not have another may have.
    pub(crate) async fn get<E>(&self, digest: &Digest, read: impl AsyncFnOnce() -> Result<ImageConfig, E>) -> Result<Arc<ImageConfig>, E> {
        let cell = Rc::clone(self.inner.borrow_mut().cells.entry(digest.clone()).or_default());
        let mut is_new = false;
        let result = cell
            .get_or_try_init(async || {
                let config = read().await?;
                is_new = true;
                Ok(Arc::new(config))
            })
            .await
            .cloned();
        let mut inner = self.inner.borrow_mut();
        match &result {
            Ok(config) if is_new => inner.remember(digest, weight(config)),
            Ok(_) => {}
            // Nobody else waits for it, so that its place is free.
            Err(_) if Rc::strong_count(&cell) == 2 => {
                inner.cells.remove(digest);
            }
            Err(_) => {}
        }
        result
    }
}

impl SharedConfigs {
    /// The config, from memory or by `read`; who comes while it is being read waits for it. What could not be read is remembered too: it
    /// is the same for all.
    pub(crate) fn get(&self, digest: &Digest, read: impl FnOnce() -> Result<ImageConfig, Unread>) -> Result<Arc<ImageConfig>, Unread> {
        let lock = || self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = Arc::clone(lock().cells.entry(digest.clone()).or_default());
        let mut is_new = false;
        let result = cell.get_or_init(|| {
            is_new = true;
            read().map(Arc::new)
        });
        if is_new {
            lock().remember(digest, result.as_deref().map_or(400, weight));
        }
        result.clone()
    }
}

impl<C> Memory<C> {
    fn remember(&mut self, digest: &Digest, bytes: usize) {
        self.read.push_back((digest.clone(), bytes));
        self.bytes += bytes;
        while self.bytes > MOST
            && let Some((oldest, bytes)) = self.read.pop_front()
        {
            self.cells.remove(&oldest);
            self.bytes -= bytes;
        }
    }
}

/// About how many bytes of memory a config takes.
pub(crate) fn weight(config: &ImageConfig) -> usize {
    let texts = config.labels.iter().map(|(key, value)| key.len() + value.len() + 64).sum::<usize>();
    400 + texts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn config(label: &str) -> ImageConfig {
        ImageConfig { labels: [("label".to_owned(), label.to_owned())].into(), ..ImageConfig::default() }
    }

    #[test]
    fn a_config_is_read_once_by_all_who_want_it() {
        let configs = Configs::default();
        let reads = std::cell::Cell::new(0);
        let digest = Digest::of(b"a");
        let get = || {
            configs.get::<()>(&digest, async || {
                tokio::task::yield_now().await;
                reads.set(reads.get() + 1);
                Ok(config("x"))
            })
        };
        block_on(async {
            let (one, two) = tokio::join!(get(), get());
            assert_eq!((one.unwrap().labels["label"].as_str(), two.unwrap().labels["label"].as_str()), ("x", "x"));
            get().await.unwrap();
        });
        assert_eq!(reads.get(), 1);
    }

    #[test]
    fn a_failure_is_not_remembered() {
        let configs = Configs::default();
        let digest = Digest::of(b"a");
        block_on(async {
            assert_eq!(configs.get(&digest, async || Err("gone")).await.unwrap_err(), "gone");
            assert!(configs.inner.borrow().cells.is_empty());
            assert!(configs.get::<()>(&digest, async || Ok(config("x"))).await.is_ok());
        });
    }

    #[test]
    fn memory_is_bounded() {
        let configs = Configs::default();
        let large = "x".repeat(1 << 20);
        block_on(async {
            for number in 0..100_u8 {
                configs.get::<()>(&Digest::of(&[number]), async || Ok(config(&large))).await.unwrap();
            }
        });
        let inner = configs.inner.borrow();
        assert!(inner.bytes <= MOST && inner.cells.len() < 32 && inner.cells.len() == inner.read.len());
        assert!(inner.cells.contains_key(&Digest::of(&[99])) && !inner.cells.contains_key(&Digest::of(&[0])));
    }

    #[test]
    fn several_threads_read_a_config_once_and_remember_what_could_not_be_read() {
        let configs = SharedConfigs::default();
        let reads = std::sync::atomic::AtomicUsize::new(0);
        let unread = Unread::Image("BLOB_UNKNOWN".to_owned());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..50_u8 {
                        let result = configs.get(&Digest::of(&[n]), || {
                            reads.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                            if n == 7 { Err(unread.clone()) } else { Ok(config("x")) }
                        });
                        assert_eq!(result.is_err(), n == 7);
                    }
                });
            }
        });
        assert_eq!(reads.into_inner(), 50);
        for number in 0..100_u8 {
            configs.get(&Digest::of(&[number, 1]), || Ok(config(&"x".repeat(1 << 20)))).unwrap();
        }
        let inner = configs.inner.into_inner().unwrap();
        assert!(inner.bytes <= MOST && inner.cells.len() == inner.read.len());
    }
}
