//! The write-ahead journal: what is about to be done is on the disk before it is asked of the registry.
//!
//! Owns where lines go and that they have got there. A line that cannot be written stops everything, before the request that it
//! announces. There is one writer; the lines of one deletion follow one another though several repositories are worked on.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use common::cli::{Context, Format, Output};
use common::jsonl::Writer;
use common::record::{Deletion, Header, Trailer, Use};
use serde::Serialize;

/// Where the lines of a run go.
pub(crate) struct Journal {
    sink: Sink,
    /// Where results are repeated, where the journal is a file of its own.
    results: Option<Output>,
    /// Whether somebody may follow the results as they come; a table lines up only as a whole.
    live: bool,
    records: u64,
    repeated: u64,
}

enum Sink {
    /// A file of its own.
    File { writer: Writer<BufWriter<File>>, path: PathBuf },
    /// Standard output; and, where that is a file, a second handle by which it is synced.
    Stdout { output: Output, file: Option<File> },
}

/// What a run is for, which decides how much the journal matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It deletes: without a journal that lasts it could not be undone.
    Delete,
    /// It puts back: its lines are news, not a safety net.
    Restore,
}

/// Refuses what keeps no journal, before anything else is done.
///
/// # Errors
/// A terminal, the null device, a table.
pub(crate) fn check(journal: Option<&Path>, format: Option<Format>, purpose: Purpose) -> anyhow::Result<()> {
    if purpose == Purpose::Restore {
        return Ok(());
    }
    let way_out = "append it to a file: reg-delete --yes … >> journal.jsonl, or give --journal PATH";
    match journal {
        Some(path) => {
            if fs::metadata(path).is_ok_and(|metadata| is_null(&metadata)) {
                anyhow::bail!(
                    "{} is the null device, and a journal that is thrown away cannot undo anything; give --journal a file or a folder",
                    path.display()
                );
            }
        }
        None if io::stdout().is_terminal() => {
            anyhow::bail!("standard output, the journal by which this can be undone, is a terminal; {way_out}");
        }
        None => {
            if stdout_file().and_then(|file| file.metadata()).is_ok_and(|metadata| is_null(&metadata)) {
                anyhow::bail!("standard output, the journal by which this can be undone, is the null device; {way_out}");
            }
            if format == Some(Format::Table) {
                anyhow::bail!("a table is no journal that could undo anything; {way_out}, or leave --format out");
            }
        }
    }
    Ok(())
}

/// Whether a file is the null device, under whatever name.
fn is_null(metadata: &fs::Metadata) -> bool {
    metadata.file_type().is_char_device() && fs::metadata("/dev/null").is_ok_and(|null| null.rdev() == metadata.rdev())
}

/// Another handle to what standard output is.
fn stdout_file() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

impl Journal {
    /// Opens the journal and begins a run in it.
    ///
    /// # Errors
    /// A file that cannot be opened or written.
    pub(crate) fn open(journal: Option<&Path>, format: Option<Format>, context: &Context, header: &Header) -> anyhow::Result<Self> {
        let (sink, results) = match journal {
            Some(path) => (Sink::file(path, header.time)?, Some(context.output())),
            None => {
                let file = stdout_file().ok().filter(|file| file.metadata().is_ok_and(|metadata| metadata.is_file()));
                (Sink::Stdout { output: context.output(), file }, None)
            }
        };
        let live = format.map_or_else(|| !io::stdout().is_terminal(), |format| format == Format::Jsonl);
        let mut journal = Self { sink, results, live, records: 0, repeated: 0 };
        // A run begins with a line feed: where the last run's last line was cut, it stays a line of its own.
        journal.sink.write_raw("")?;
        journal.sink.write(header)?;
        journal.sink.flush()?;
        if let Some(results) = &mut journal.results {
            results.write(header)?;
            results.flush()?;
        }
        Ok(journal)
    }

    /// Writes what the lines after it will need to be finished by another run. It is on its way with the next [`Self::started`].
    pub(crate) fn note(&mut self, record: &Use) -> io::Result<()> {
        self.sink.write(record)
    }

    /// Writes that something will be done, or goes with something that will.
    pub(crate) fn planned(&mut self, mut record: Deletion) -> io::Result<()> {
        record.time = Some(Utc::now());
        self.records += 1;
        self.sink.write(&record)
    }

    /// Writes that something is about to be done. When this returns the line is where it lasts, and the request may be sent.
    pub(crate) fn started(&mut self, mut record: Deletion) -> io::Result<()> {
        record.time = Some(Utc::now());
        self.records += 1;
        self.sink.write(&record)?;
        self.sink.sync()
    }

    /// Writes what became of it.
    pub(crate) fn result(&mut self, mut record: Deletion) -> io::Result<()> {
        record.time = Some(Utc::now());
        self.records += 1;
        self.sink.write(&record)?;
        self.sink.flush()?;
        if let Some(results) = &mut self.results {
            self.repeated += 1;
            results.write(&record)?;
            if self.live {
                results.flush()?;
            }
        }
        Ok(())
    }

    /// Ends the run.
    pub(crate) fn finish<T: Serialize>(mut self, totals: T) -> io::Result<()> {
        self.sink.write(&Trailer::new(true, self.records, &totals))?;
        self.sink.sync()?;
        if let Some(results) = &mut self.results {
            results.write(&Trailer::new(true, self.repeated, &totals))?;
            results.flush()?;
        }
        Ok(())
    }
}

impl Sink {
    fn file(path: &Path, now: DateTime<Utc>) -> anyhow::Result<Self> {
        let mut options = OpenOptions::new();
        options.append(true);
        let path = if path.is_dir() {
            options.create_new(true);
            path.join(format!("reg-delete-{}-{}.jsonl", now.format("%Y%m%dT%H%M%S%.6fZ"), std::process::id()))
        } else {
            options.create(true);
            path.to_owned()
        };
        let file = options.open(&path).with_context(|| format!("opening the journal {}", path.display()))?;
        match file.try_lock() {
            // Where files cannot be locked two runs at once are the user's own care.
            Ok(()) | Err(TryLockError::Error(_)) => {}
            Err(TryLockError::WouldBlock) => {
                anyhow::bail!("another run is writing the journal {}: wait for its end, or give a folder", path.display())
            }
        }
        // A new file's name must last as its content does. A folder that cannot be synced (some network file systems) is no reason to stop.
        if let Some(folder) = path.parent() {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            let _ = File::open(folder).and_then(|folder| folder.sync_all());
        }
        Ok(Self::File { writer: Writer::new(BufWriter::new(file)), path })
    }

    fn write<T: Serialize>(&mut self, record: &T) -> io::Result<()> {
        match self {
            Self::File { writer, path } => writer.write(record).map_err(|error| explain(path, &error)),
            Self::Stdout { output, .. } => output.write(record),
        }
    }

    fn write_raw(&mut self, line: &str) -> io::Result<()> {
        match self {
            Self::File { writer, path } => writer.write_raw(line).map_err(|error| explain(path, &error)),
            Self::Stdout { output, .. } => output.write_raw(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File { writer, path } => writer.flush().map_err(|error| explain(path, &error)),
            Self::Stdout { output, .. } => output.flush(),
        }
    }

    /// Flushes, and waits until the disk has it. A pipe has no disk: there the reader answers for it.
    fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        match self {
            Self::File { writer, path } => {
                let output = writer.get_mut();
                let synced = output.flush().and_then(|()| sync(output.get_ref()));
                synced.map_err(|error| explain(path, &error))
            }
            Self::Stdout { file: Some(file), .. } => {
                sync(file).map_err(|error| io::Error::new(error.kind(), format!("syncing standard output: {error}")))
            }
            Self::Stdout { file: None, .. } => Ok(()),
        }
    }
}

/// Waits for the disk, where there is one: pipes and some devices have none.
fn sync(file: &File) -> io::Result<()> {
    match file.sync_data() {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

fn explain(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("writing the journal {}: {error}; what it does not hold was not asked of the registry", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_null_device_is_known_by_its_number() {
        let metadata = |path: &str| fs::metadata(path).unwrap();
        assert!(is_null(&metadata("/dev/null")));
        assert!(!is_null(&metadata("/dev/zero")) && !is_null(&metadata("/dev/full")) && !is_null(&metadata("/")));
    }
}
