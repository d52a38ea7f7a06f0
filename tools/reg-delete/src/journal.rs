//! The write-ahead journal: what is about to be done is on the disk before it is asked of the registry.
//!
//! Owns where lines go and that they have got there. A line that cannot be written stops everything, before the request that it
//! announces. There is one writer; the lines of one deletion follow one another though several repositories are worked on.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, IsTerminal as _, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use common::cli::{Context, Format, Output};
use common::record::{Deletion, Header, Trailer, Use};
use serde::{Deserialize, Serialize};

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
    File { lines: Lines<File>, path: PathBuf },
    /// Standard output, where that is a table: news for a person.
    Table(Output),
    /// Standard output, where it carries lines.
    Stdout(Lines<File>),
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
/// A terminal, the null device, a table; for `--journal` all devices, and a file that holds something else than a journal.
pub(crate) fn check(journal: Option<&Path>, format: Option<Format>, purpose: Purpose) -> anyhow::Result<()> {
    if let Some(path) = journal {
        // A run that puts back is checked, too: a plan that lines were appended to is a plan no more.
        return check_path(path);
    }
    if purpose == Purpose::Restore {
        return Ok(());
    }
    let way_out = "append it to a file: reg-delete --yes … >> journal.jsonl, or give --journal PATH";
    if io::stdout().is_terminal() {
        anyhow::bail!("standard output, the journal by which this can be undone, is a terminal; {way_out}");
    }
    if stdout_file().and_then(|file| file.metadata()).is_ok_and(|metadata| is_null(&metadata)) {
        anyhow::bail!("standard output, the journal by which this can be undone, is the null device; {way_out}");
    }
    if format == Some(Format::Table) {
        anyhow::bail!("a table is no journal that could undo anything; {way_out}, or leave --format out");
    }
    Ok(())
}

fn check_path(path: &Path) -> anyhow::Result<()> {
    let name = path.display();
    if path.as_os_str() == "-" {
        anyhow::bail!("--journal -: leave --journal out to have the journal on standard output, or say ./- for a file of that name");
    }
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(metadata) if metadata.is_file() => check_content(path, metadata.len()),
        Ok(metadata) if metadata.file_type().is_fifo() => Ok(()),
        Ok(metadata) => {
            let what = if is_null(&metadata) { "the null device" } else { "a device or a socket" };
            anyhow::bail!("{name} is {what}, and a journal that is thrown away cannot undo anything; give --journal a file or a folder");
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("opening the journal {name}")),
    }
}

/// Refuses to append to what is no journal: the plan itself, most likely.
fn check_content(path: &Path, length: u64) -> anyhow::Result<()> {
    // A device cannot come here, so this ends. What cannot be read may still be appended to.
    let Ok(file) = File::open(path) else { return Ok(()) };
    if length > 0
        && let Some(what) = foreign(BufReader::new(file.take(LOOKED_AT)))
    {
        anyhow::bail!(
            "{} holds {what}, and no journal: nothing was done; give --journal a file of its own, which need not be there yet",
            path.display()
        );
    }
    Ok(())
}

/// How much of a file is looked at to see whether it is a journal: more than the longest line that one begins with.
const LOOKED_AT: u64 = 1 << 20;

/// What a text is that is no journal. A line that is no JSON was cut, and says nothing; the first one that is decides.
fn foreign(text: impl BufRead) -> Option<String> {
    #[derive(Deserialize)]
    struct First {
        r#type: Option<String>,
        tool: Option<String>,
    }
    let mut text_came = false;
    for line in text.split(b'\n').map_while(Result::ok).filter(|line| !line.trim_ascii().is_empty()) {
        let Ok(first) = serde_json::from_slice::<First>(&line) else {
            text_came |= !line.starts_with(b"{");
            continue;
        };
        return match (first.r#type.as_deref(), first.tool) {
            (Some("header"), Some(tool)) if tool != "reg-delete" => Some(format!("what {tool} wrote")),
            (Some("manifest" | "repository" | "tag"), _) => Some("a listing or a plan".to_owned()),
            (Some(_), _) => None,
            (None, _) => Some("records of another kind".to_owned()),
        };
    }
    text_came.then(|| "text".to_owned())
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
            None if is_table(format) => (Sink::Table(context.output()), None),
            None => (Sink::stdout()?, None),
        };
        let live = !is_table(format);
        let mut journal = Self { sink, results, live, records: 0, repeated: 0 };
        journal.sink.begin()?;
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
        // A slash at the end says that it is meant to be a folder.
        if path.as_os_str().as_bytes().ends_with(b"/") && !path.exists() {
            fs::create_dir_all(path).with_context(|| format!("making the folder for journals {}", path.display()))?;
        }
        let path = if path.is_dir() {
            options.create_new(true);
            path.join(format!("reg-delete-{}-{}.jsonl", now.format("%Y%m%dT%H%M%S%.6fZ"), std::process::id()))
        } else {
            options.create(true);
            path.to_owned()
        };
        let file = options.open(&path).with_context(|| format!("opening the journal {}", path.display()))?;
        lock(&file, || format!("the journal {}", path.display()))?;
        // A new file's name must last as its content does. A folder that cannot be synced (some network file systems) is no reason to stop.
        if let Some(folder) = path.parent() {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            let _ = File::open(folder).and_then(|folder| folder.sync_all());
        }
        Ok(Self::File { lines: Lines::new(file), path })
    }

    fn stdout() -> anyhow::Result<Self> {
        let file = stdout_file().context("standard output, the journal by which this can be undone, cannot be written")?;
        if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            lock(&file, || "the journal that standard output is".to_owned())?;
        }
        Ok(Self::Stdout(Lines::new(file)))
    }

    fn write<T: Serialize>(&mut self, record: &T) -> io::Result<()> {
        match self {
            Self::File { lines, path } => lines.write(record).map_err(|error| explain(path, &error)),
            Self::Stdout(lines) => lines.write(record).map_err(|error| explain_stdout(&error)),
            Self::Table(output) => output.write(record),
        }
    }

    /// A run begins with a line feed: where the last run's last line was cut, it stays a line of its own.
    fn begin(&mut self) -> io::Result<()> {
        match self {
            Self::File { lines, path } => lines.write_all(b"\n").map_err(|error| explain(path, &error)),
            Self::Stdout(lines) => lines.write_all(b"\n").map_err(|error| explain_stdout(&error)),
            Self::Table(_) => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File { .. } | Self::Stdout(_) => Ok(()),
            Self::Table(output) => output.flush(),
        }
    }

    /// Waits until the disk has all lines. A pipe has no disk: there the reader answers for it.
    fn sync(&mut self) -> io::Result<()> {
        match self {
            Self::File { lines, path } => sync(&lines.output).map_err(|error| explain(path, &error)),
            Self::Stdout(lines) => {
                sync(&lines.output).map_err(|error| io::Error::new(error.kind(), format!("syncing standard output: {error}")))
            }
            Self::Table(output) => output.flush(),
        }
    }
}

/// Lines that go out whole, each with its line feed in one write: two runs that append to one file (over a network file system,
/// where no lock is) tear none of each other's.
struct Lines<W> {
    output: W,
    line: Vec<u8>,
}

impl<W: io::Write> Lines<W> {
    fn new(output: W) -> Self {
        Self { output, line: Vec::new() }
    }

    fn write<T: Serialize>(&mut self, record: &T) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, record)?;
        self.line.push(b'\n');
        self.output.write_all(&self.line)
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)
    }
}

/// Takes a file for this run alone.
fn lock(file: &File, name: impl Fn() -> String) -> anyhow::Result<()> {
    match file.try_lock() {
        // Where files cannot be locked two runs at once are the user's own care.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            anyhow::bail!("another run is writing {}: wait for its end, or give --journal a folder", name())
        }
    }
}

/// Whether standard output carries a table.
fn is_table(format: Option<Format>) -> bool {
    format.map_or_else(|| io::stdout().is_terminal(), |format| format == Format::Table)
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

/// Says what standard output said.
fn explain_stdout(error: &io::Error) -> io::Error {
    let text = if error.kind() == io::ErrorKind::BrokenPipe {
        "the reader of standard output went away: stopped at once".to_owned()
    } else {
        format!("writing to standard output: {error}")
    };
    io::Error::new(error.kind(), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes what it is given and counts how often.
    #[derive(Default)]
    struct Writes(Vec<Vec<u8>>);

    impl io::Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_line_is_one_write() {
        let mut lines = Lines::new(Writes::default());
        for size in [1, 200_000, 2] {
            lines.write(&serde_json::json!({"data": "x".repeat(size)})).unwrap();
        }
        let writes = lines.output.0;
        assert_eq!(writes.len(), 3);
        assert!(writes.iter().all(|write| write.ends_with(b"}\n") && write.starts_with(b"{")));
    }

    #[test]
    fn only_a_journal_is_appended_to() {
        let plan = r#"{"type":"header","tool":"reg-select"}"#;
        let journal = r#"{"type":"header","tool":"reg-delete"}"#;
        for (text, what) in [
            (plan.to_owned(), Some("what reg-select wrote")),
            (format!("\n\n{plan}\n"), Some("what reg-select wrote")),
            (r#"{"type":"manifest"}"#.to_owned(), Some("a listing or a plan")),
            (r#"{"half":1}"#.to_owned(), Some("records of another kind")),
            ("a letter\nto somebody\n".to_owned(), Some("text")),
            (format!("\n{journal}\n"), None),
            (format!("{{\"half\":\n{journal}\n"), None),
            ("{\"half\":".to_owned(), None),
            (r#"{"type":"deletion"}"#.to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(foreign(text.as_bytes()).as_deref(), what, "{text}");
        }
    }

    #[test]
    fn the_null_device_is_known_by_its_number() {
        let metadata = |path: &str| fs::metadata(path).unwrap();
        assert!(is_null(&metadata("/dev/null")));
        assert!(!is_null(&metadata("/dev/zero")) && !is_null(&metadata("/dev/full")) && !is_null(&metadata("/")));
    }
}
