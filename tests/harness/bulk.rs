//! Many images fast: over HTTP like all fixtures, by several connections, each blob once per repository.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::fixtures::{Image, Pushed};
use crate::registry::Registry;

const CONNECTIONS: usize = 8;

/// Pushes each image to its repository; the answers have the order of the images.
///
/// ```no_run
/// # use tests::*; let registry = Registry::start();
/// let thousand: Vec<_> = (0..1000)
///     .map(|n| ("team/app".to_owned(), Image::new().layer("base").label("n", &n.to_string()).tag(&format!("v{n}"))))
///     .collect();
/// push_all(&registry, &thousand);
/// ```
pub fn push_all(registry: &Registry, images: &[(String, Image)]) -> Vec<Pushed> {
    let client = registry.client();
    let blobs: BTreeSet<(&str, Vec<u8>)> =
        images.iter().flat_map(|(repository, image)| image.blobs().map(|blob| (repository.as_str(), blob))).collect();
    let blobs: Vec<_> = blobs.into_iter().collect();
    in_parallel(&blobs, |(repository, bytes)| client.put_blob(repository, bytes));
    in_parallel(images, |(repository, image)| image.put(client, repository))
}

/// The answers have the order of the items.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(place) else { return };
                    let result = work(item);
                    done.lock().unwrap().push((place, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}
