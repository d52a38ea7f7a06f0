//! The trash: what runs took away, in `<root>/.reg-gc/trash`.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use chrono::{DateTime, Utc};
use common::beside::runs::{Begun, JOURNAL, Runs};
use common::store::folder::Folder;
use rustix::fs::{Mode, OFlags};
use serde::Deserialize;

/// Our own folder below the root.
pub(crate) const OWN: &str = ".reg-gc";
/// What runs took away.
pub(crate) const RUNS: Runs = Runs { path: ".reg-gc/trash" };

/// A run as `--undo` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) name: String,
    pub(crate) began: DateTime<Utc>,
    /// What its journal says that it took; null where it did not come to its end.
    pub(crate) items: Option<u64>,
    pub(crate) bytes: Option<u64>,
}

/// The runs that can be taken back, the oldest first.
///
/// # Errors
/// What the system says.
pub(crate) fn kept(root: &Folder) -> io::Result<Vec<Kept>> {
    let of_run = |Begun { name, began }| {
        let totals = last_totals(root, &name);
        Kept { began, items: totals.as_ref().map(|totals| totals.records), bytes: totals.map(|totals| totals.trashed), name }
    };
    Ok(RUNS.kept(root)?.into_iter().map(of_run).collect())
}

/// What the end of a journal says.
#[derive(Deserialize)]
struct Totals {
    records: u64,
    trashed: u64,
}

/// The last line of a run's journal is its trailer, if the run came to its end.
fn last_totals(root: &Folder, name: &str) -> Option<Totals> {
    const END: u64 = 1 << 20;
    let path = format!("{}/{name}/{JOURNAL}", RUNS.path);
    let file = rustix::fs::openat(root.fd(), path.as_str(), OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut file = File::from(file);
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(END))).ok()?;
    let mut end = Vec::new();
    file.read_to_end(&mut end).ok()?;
    let text = String::from_utf8_lossy(&end);
    text.lines().rev().find_map(|line| serde_json::from_str(line).ok())
}
