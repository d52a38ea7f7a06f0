//! What one run remembers for the next while a registry writes: the blobs that nothing needed, and since when.
//!
//! Links go in one run and blobs in a later one: between them a client that wants to push a layer is told that it is not there, and
//! sends it. A descriptor that a registry caches in memory outlives its link; so it must have been started anew in between.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use common::digest::Digest;
use common::store::blobs::{Blobs, Found};
use common::store::folder::Folder;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::marks::Marks;
use crate::plan::Loose;
use crate::trash::OWN;
use common::beside::runs;

const FILE: &str = ".reg-gc/candidates";
const NEW: &str = ".reg-gc/candidates.new";
/// The version of the file. Another one is not read: then the blobs are found anew, and wait once more.
const VERSION: u32 = 1;

/// The first line.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Head {
    version: u32,
    /// When we last started the registry anew.
    restarted: Option<DateTime<Utc>>,
    blobs: usize,
}

/// What earlier runs found.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    /// Since when nothing needed a blob, in milliseconds since 1970.
    since: HashMap<Digest, u64>,
    pub(crate) restarted: Option<DateTime<Utc>>,
}

/// How many blobs of earlier runs there are, and what becomes of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// They may go.
    pub(crate) due: u64,
    /// They may go as soon as the registry was started anew.
    pub(crate) wait_for_restart: u64,
}

impl Candidates {
    /// Reads what the last run left. A file that was cut or cannot be understood counts as none: that costs time, and nothing else.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn read(root: &Folder) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(root.fd(), FILE, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(Self::default()),
            Err(error) => return Err(error.into()),
        };
        let now = Utc::now();
        // A line that cannot be read ends it.
        let mut lines = BufReader::new(file).lines().map_while(Result::ok);
        let head = lines.next().and_then(|line| serde_json::from_str::<Head>(&line).ok());
        let Some(head) = head.filter(|head| head.version == VERSION) else { return Ok(Self::default()) };
        let mut since = HashMap::new();
        for line in lines {
            let Some((time, digest)) = line.split_once(' ') else { break };
            let (Ok(time), Ok(digest)) = (time.parse::<u64>(), digest.parse()) else { break };
            // A clock that was ahead once must not make a blob wait for ever.
            since.insert(digest, time.min(milliseconds_up(now.into())));
        }
        if since.len() < head.blobs {
            since.clear();
        }
        Ok(Self { since, restarted: head.restarted.filter(|restarted| *restarted <= now) })
    }

    /// Marks the blobs that may go: found unneeded before `before`, and, where it matters, before the registry was started.
    pub(crate) fn mark(&self, blobs: &Blobs, marks: &Marks, before: SystemTime, started: Option<Option<SystemTime>>) -> Due {
        let mut due = Due::default();
        let before = milliseconds(before);
        let started = started.map(|started| started.map_or(0, milliseconds));
        for (digest, since) in &self.since {
            let Found::At(place) = blobs.find(digest) else { continue };
            // In the same millisecond is not before.
            if *since > before || marks.is_needed(place) {
                continue;
            }
            if started.is_some_and(|started| *since >= started) {
                due.wait_for_restart += 1;
            } else {
                marks.make_due(place);
                due.due += 1;
            }
        }
        due
    }

    /// Writes what this run found: `later` are the blobs that nothing needs. One whose link went only now begins to wait now.
    ///
    /// # Errors
    /// What the system says. The old file stands until the new one is whole.
    pub(crate) fn write(
        &self,
        root: &Folder,
        blobs: &Blobs,
        marks: &Marks,
        later: &[Loose],
        now: SystemTime,
        restarted: Option<DateTime<Utc>>,
    ) -> anyhow::Result<()> {
        let write = || -> io::Result<()> {
            runs::make_own(root, OWN)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = File::from(rustix::fs::openat(root.fd(), NEW, flags, Mode::from_raw_mode(0o600))?);
            runs::give(&file, &root.own_status()?)?;
            let mut lines = BufWriter::new(file);
            serde_json::to_writer(&mut lines, &Head { version: VERSION, restarted: restarted.or(self.restarted), blobs: later.len() })?;
            lines.write_all(b"\n")?;
            for (place, _) in later {
                let Some(digest) = blobs.at(*place) else { continue };
                let since = self.since.get(&digest).copied().filter(|_| !marks.is_linked(*place)).unwrap_or_else(|| milliseconds_up(now));
                writeln!(lines, "{since} {digest}")?;
            }
            lines.flush()?;
            lines.get_ref().sync_all()?;
            Ok(rustix::fs::renameat(root.fd(), NEW, root.fd(), FILE)?)
        };
        write().with_context(|| format!("writing {FILE}, by which the next run knows what this one found"))
    }
}

fn milliseconds(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis()).unwrap_or(u64::MAX)
}

/// The next whole millisecond: what began to wait within one had not waited at its beginning.
fn milliseconds_up(time: SystemTime) -> u64 {
    milliseconds(time + Duration::from_nanos(999_999))
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::store::layout;

    #[test]
    fn a_blob_waits_from_the_run_that_took_its_link() {
        let temporary = tempfile::tempdir().unwrap();
        let digests: Vec<Digest> = (0..3_u8).map(|n| Digest::of(&[n])).collect();
        for digest in &digests {
            std::fs::create_dir_all(temporary.path().join(layout::blob(digest))).unwrap();
        }
        let root = Folder::open(temporary.path()).unwrap();
        let blobs = Blobs::read(&root);
        let place = |n: usize| if let Found::At(place) = blobs.find(&digests[n]) { place } else { panic!("{n}") };
        let at = |hours: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(hours * 3600);
        let fresh = || Marks::new(blobs.len());
        let later = |numbers: &[usize]| {
            let mut later: Vec<Loose> = numbers.iter().map(|n| (place(*n), 1)).collect();
            later.sort_unstable();
            later
        };

        assert_eq!(Candidates::read(&root).unwrap().mark(&blobs, &fresh(), at(100), None), Due::default());
        Candidates::default().write(&root, &blobs, &fresh(), &later(&[0, 1]), at(10), None).unwrap();
        let first = Candidates::read(&root).unwrap();
        assert_eq!(first.mark(&blobs, &fresh(), at(9), None), Due::default());
        let marks = fresh();
        marks.need(place(1));
        assert_eq!(first.mark(&blobs, &marks, at(10), None), Due { due: 1, wait_for_restart: 0 });
        assert!(marks.is_due(place(0)) && !marks.is_due(place(1)));
        for (started, due) in [(None, 0), (Some(at(10)), 0), (Some(at(11)), 2)] {
            assert_eq!(first.mark(&blobs, &fresh(), at(20), Some(started)), Due { due, wait_for_restart: 2 - due }, "{started:?}");
        }

        let marks = fresh();
        marks.link(place(1));
        first.write(&root, &blobs, &marks, &later(&[0, 1, 2]), at(20), Some(DateTime::from(at(20)))).unwrap();
        let second = Candidates::read(&root).unwrap();
        assert_eq!(second.since.values().map(|since| since / 3_600_000).collect::<std::collections::BTreeSet<_>>(), [10, 20].into());
        assert_eq!((second.since[&digests[0]] / 3_600_000, second.restarted), (10, Some(DateTime::from(at(20)))));

        let text = std::fs::read_to_string(temporary.path().join(FILE)).unwrap();
        std::fs::write(temporary.path().join(FILE), &text[..text.len() - 30]).unwrap();
        assert!(Candidates::read(&root).unwrap().since.is_empty(), "half a file is none");
    }
}
