//! What a run did, written into its folder and synced before it is done.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};

use common::beside::runs::{JOURNAL, Run, Runs};
use common::record::Repair;
use serde::Serialize;

/// Where runs are kept, below the root.
pub(crate) const RUNS: Runs = Runs { path: ".reg-fix" };

/// The journal of a run, only ever appended.
#[derive(Debug)]
pub(crate) struct Journal(File);

impl Journal {
    /// Opens it.
    pub(crate) fn open(run: &Run) -> io::Result<Self> {
        let mut file = run.journal()?;
        // A line that was cut must not swallow the next.
        file.write_all(b"\n")?;
        Ok(Self(file))
    }

    /// Writes a record, and sees that it outlives a power cut.
    pub(crate) fn write(&mut self, record: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        self.0.write_all(&line)?;
        self.0.sync_data()
    }
}

/// The repairs in a run's journal; a line that was cut announces nothing that was done.
pub(crate) fn read(run: &Run) -> io::Result<Vec<Repair>> {
    let Some(file) = run.folder().open_file(JOURNAL)? else { return Ok(Vec::new()) };
    let mut records = Vec::new();
    for line in BufReader::new(file).split(b'\n') {
        let line = line?;
        if line.starts_with(br#"{"type":"repair""#) {
            records.extend(serde_json::from_slice::<Repair>(&line).ok());
        }
    }
    Ok(records)
}
