//! Reads a listing from standard input, and says when a repository is whole.
//!
//! Owns the shape of the stream: sections, repositories that are closed by their `repository` record, what may stand between.
//! Decides nothing.

use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::collections::{HashMap, HashSet};
use std::io::BufRead;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use anyhow::{Context as _, anyhow};
use common::jsonl::{self, Line, Place, Problem, Reader, Sections};
use common::record::{Header, Kind, Repository as RepositoryRecord, Tag as TagRecord, Trailer};

use common::reference::Host;

use crate::entry::{Entry, ManifestLine};
use crate::freed::RepositoryBlobs;

/// A repository as it came: manifests with their raw lines, in order.
#[derive(Debug, Default)]
pub struct Gathered {
    pub registry: String,
    pub repository: String,
    pub entries: Vec<Entry>,
    /// The blobs of the entries, in their order.
    pub blobs: RepositoryBlobs,
    /// The raw lines, one after the other; `manifest` and `tag` records.
    text: String,
    pub lines: Vec<RawLine>,
    /// The places of the digests, kept only as far as needed to find one that comes twice.
    places: HashMap<common::digest::Digest, usize>,
    /// The closing record, as it came, and parsed.
    pub closing: Vec<(String, RepositoryRecord)>,
    /// What came of it in each section; more than one with `--ungrouped` alone.
    came: Vec<Came>,
}

/// What came of a repository in one section.
#[derive(Debug, Clone, Copy, Default)]
struct Came {
    section: u64,
    manifests: u64,
    closings: u64,
    /// What its closing records count; more came only where the filter added something.
    counted: u64,
    /// A closing record did not count.
    uncounted: bool,
}

/// A raw line: where it ends in the text, and what it is.
#[derive(Debug, Clone, Copy)]
pub struct RawLine {
    end: usize,
    pub what: What,
}

/// What a raw line of a repository is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The manifest at a place. `fresh` where the line can be passed on as it is; otherwise it has an old verdict, or another
    /// line of the same manifest was merged into it.
    Manifest { place: usize, fresh: bool },
    /// A second line of a manifest that came already.
    Repeated,
    /// A `tag` record.
    Tag,
}

impl Gathered {
    /// The raw lines in order.
    pub fn raw_lines(&self) -> impl Iterator<Item = (What, &str)> {
        let mut begin = 0;
        self.lines.iter().map(move |line| {
            let text = &self.text[begin..line.end];
            begin = line.end;
            (line.what, text)
        })
    }

    fn push(&mut self, text: &str, what: What) {
        self.text.push_str(text);
        self.lines.push(RawLine { end: self.text.len(), what });
    }

    fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    fn came_in(&mut self, section: u64) -> &mut Came {
        let known = self.came.iter().position(|came| came.section == section);
        let place = known.unwrap_or_else(|| {
            self.came.push(Came { section, ..Came::default() });
            self.came.len() - 1
        });
        &mut self.came[place]
    }

    fn close(&mut self, section: u64, text: &str, record: RepositoryRecord) {
        let came = self.came_in(section);
        came.closings += 1;
        match record.manifest_count {
            Some(count) => came.counted += count,
            None => came.uncounted = true,
        }
        self.closing.push((text.to_owned(), record));
    }

    fn is_closed_in(&self, section: u64) -> bool {
        self.came.iter().all(|came| came.section != section || came.closings > 0)
    }

    fn add(&mut self, section: u64, text: &str, manifest: ManifestLine<'_>) {
        self.came_in(section).manifests += 1;
        let fresh = !manifest.verdict;
        match self.places.entry(manifest.digest.clone()) {
            Occupied(known) => {
                let place = *known.get();
                self.entries[place].merge(Entry::new(manifest));
                for line in &mut self.lines {
                    if line.what == (What::Manifest { place, fresh: true }) {
                        line.what = What::Manifest { place, fresh: false };
                    }
                }
                self.push(text, What::Repeated);
            }
            Vacant(new) => {
                let place = *new.insert(self.entries.len());
                self.blobs.push(manifest.stored());
                self.entries.push(Entry::new(manifest));
                self.push(text, What::Manifest { place, fresh });
            }
        }
    }

    /// Whether the listing read all of it, and whether all that it wrote came.
    pub fn completeness(&self) -> (Result<(), String>, bool) {
        let incomplete = self.closing.iter().find(|(_, record)| !record.complete);
        let complete = match incomplete {
            Some((_, record)) => Err(record.error.clone().unwrap_or_else(|| "no cause was given".to_owned())),
            None => Ok(()),
        };
        (complete, self.came.iter().all(|came| !came.uncounted && came.manifests >= came.counted))
    }

    fn clear(&mut self) {
        self.registry.clear();
        self.repository.clear();
        self.entries.clear();
        self.blobs.clear();
        self.text.clear();
        self.lines.clear();
        self.places.clear();
        self.closing.clear();
        self.came.clear();
    }
}

/// What happens in a listing, in order.
#[derive(Debug)]
pub enum Event<'a> {
    /// A section begins.
    Header(Box<Header>),
    /// A record that passes through as it is.
    Other(&'a str),
    /// A repository is whole.
    Repository(&'a Gathered),
    /// A section ends.
    Trailer(Trailer),
    /// The input ends, whole.
    End,
}

/// What to say to one who dropped too much between the tools.
const KEEP_THE_REST: &str = r#"keep what is no manifest: jq -c 'select(.type != "manifest" or (.repository | startswith("team/")))'"#;

/// Reads a listing; hands each event to `on_event`.
///
/// The next repository is read while one is decided. So memory is that of a few repositories, or, with `ungrouped`, of the
/// whole input.
pub fn read<R: BufRead + Send + 'static>(
    input: R,
    ungrouped: bool,
    mut on_event: impl FnMut(Event<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (sender, parsed) = mpsc::sync_channel(1);
    let (giver, emptied) = mpsc::channel();
    let reading = thread::Builder::new().spawn(move || parse(input, ungrouped, &Ahead { sender, emptied })).context("starting to read")?;
    for event in parsed {
        match event {
            Parsed::Header(header) => on_event(Event::Header(header))?,
            Parsed::Other(line) => on_event(Event::Other(&line))?,
            Parsed::Repository(mut gathered) => {
                on_event(Event::Repository(&gathered))?;
                gathered.clear();
                // Nobody takes it where the input has ended.
                let _ = giver.send(gathered);
            }
            Parsed::Trailer(trailer) => on_event(Event::Trailer(trailer))?,
        }
    }
    // What was read before an error was decided before it is told, as if nobody had read ahead.
    reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    on_event(Event::End)
}

/// What was read, on its way to who decides.
enum Parsed {
    Header(Box<Header>),
    Other(String),
    Repository(Box<Gathered>),
    Trailer(Trailer),
}

/// The way to who decides, and back.
struct Ahead {
    sender: SyncSender<Parsed>,
    /// Repositories that are decided and emptied, so that their room can be used again.
    emptied: Receiver<Box<Gathered>>,
}

impl Ahead {
    fn hand_on(&self, parsed: Parsed) -> anyhow::Result<()> {
        // It is never told: who decides went away with an error of its own.
        self.sender.send(parsed).map_err(|_| anyhow!("nobody decides any more"))
    }

    fn room(&self) -> Box<Gathered> {
        self.emptied.try_recv().unwrap_or_default()
    }
}

fn parse(input: impl BufRead, ungrouped: bool, ahead: &Ahead) -> anyhow::Result<()> {
    let mut reader = Reader::new("standard input", input);
    let mut sections = Sections::default();
    let mut open = ahead.room();
    let mut all = Ungrouped::default();
    let mut rest = String::new();
    let mut closed: HashSet<(String, String)> = HashSet::new();
    while let Some(line) = reader.next_line()? {
        match sections.place(&line).map_err(with_way_out)? {
            Place::Header(header) => {
                refuse_what_is_no_listing(&line, &header)?;
                ahead.hand_on(Parsed::Header(header))?;
            }
            Place::Within(Kind::Manifest) => {
                let manifest = ManifestLine::read(&line, &mut rest)?;
                let gathered = if ungrouped {
                    all.repository(&manifest.registry, &manifest.repository)
                } else {
                    begin(&mut open, &closed, &line, &manifest.registry, &manifest.repository)?
                };
                gathered.add(sections.closed(), line.text(), manifest);
            }
            Place::Within(Kind::Tag) => {
                let tag: TagRecord = line.parse()?;
                let gathered = if ungrouped {
                    all.repository(&tag.registry, &tag.repository)
                } else {
                    begin(&mut open, &closed, &line, &tag.registry, &tag.repository)?
                };
                gathered.came_in(sections.closed());
                gathered.push(line.text(), What::Tag);
            }
            Place::Within(Kind::Repository) => {
                let record: RepositoryRecord = line.parse()?;
                if ungrouped {
                    let gathered = all.repository(&record.registry, &record.repository);
                    gathered.close(sections.closed(), line.text(), record);
                    continue;
                }
                begin(&mut open, &closed, &line, &record.registry, &record.repository)?;
                closed.insert(name_of(&record.registry, &record.repository));
                open.close(sections.closed(), line.text(), record);
                ahead.hand_on(Parsed::Repository(std::mem::replace(&mut open, ahead.room())))?;
            }
            Place::Within(_) => ahead.hand_on(Parsed::Other(line.text().to_owned()))?,
            Place::Trailer(trailer) => {
                let ended = sections.closed() - 1;
                if let Some(torn) = all.repositories.iter().chain([&*open]).find(|gathered| !gathered.is_closed_in(ended)) {
                    return Err(not_closed(&line, torn).into());
                }
                ahead.hand_on(Parsed::Trailer(trailer))?;
            }
        }
    }
    sections.finish(reader.name()).map_err(with_way_out)?;
    for gathered in all.repositories {
        ahead.hand_on(Parsed::Repository(Box::new(gathered)))?;
    }
    Ok(())
}

/// Checks that a record belongs to the repository that is open, or opens its own.
fn begin<'a>(
    open: &'a mut Gathered,
    closed: &HashSet<(String, String)>,
    line: &Line<'_>,
    registry: &str,
    repository: &str,
) -> anyhow::Result<&'a mut Gathered> {
    if open.registry == registry && open.repository == repository {
        return Ok(open);
    }
    if !open.is_empty() {
        return Err(not_closed(line, open).into());
    }
    if closed.contains(&name_of(registry, repository)) {
        let problem = Problem::Json(format!(
            "is of {registry}/{repository}, which was closed before: a repository is decided when it is closed; give --ungrouped to hold the whole input first"
        ));
        return Err(line.error(problem).into());
    }
    open.registry.push_str(registry);
    open.repository.push_str(repository);
    Ok(open)
}

/// A repository's name in the form in which hosts compare, so that a registry spelled in two ways is one.
fn name_of(registry: &str, repository: &str) -> (String, String) {
    let host = registry.parse::<Host>().map_or_else(|_| registry.to_owned(), |host| host.as_str().to_owned());
    (host, repository.to_owned())
}

fn not_closed(line: &Line<'_>, open: &Gathered) -> jsonl::Error {
    line.section_error(format!(
        "comes before the repository record that closes {}/{}: a filter dropped it, or the input is not in the order in which reg-list wrote it; {KEEP_THE_REST}, or give --ungrouped if only the order is lost",
        open.registry, open.repository
    ))
}

fn with_way_out(error: jsonl::Error) -> jsonl::Error {
    match error.problem {
        Problem::Section(text) => jsonl::Error {
            problem: Problem::Section(format!("{text}; take the listing again, and if a filter stands between, {KEEP_THE_REST}")),
            ..error
        },
        _ => error,
    }
}

/// An inventory or a plan in place of the listing would give a plan that deletes nothing, and no hint why.
fn refuse_what_is_no_listing(line: &Line<'_>, header: &Header) -> anyhow::Result<()> {
    if header.scope.as_ref().is_some_and(|scope| scope.sources.is_some()) {
        anyhow::bail!(line.error(Problem::Json(format!(
            "begins an inventory, written by {}: give it with --in-use, and pipe the listing of reg-list in",
            header.tool
        ))));
    }
    if header.inputs.is_some() {
        anyhow::bail!(
            line.error(Problem::Json(format!(
                "begins a plan, written by {}: decide on the listing of reg-list, not on a plan",
                header.tool
            )))
        );
    }
    Ok(())
}

/// All repositories of an input whose order is lost.
#[derive(Debug, Default)]
struct Ungrouped {
    repositories: Vec<Gathered>,
    places: HashMap<(String, String), usize>,
}

impl Ungrouped {
    fn repository(&mut self, registry: &str, repository: &str) -> &mut Gathered {
        let next = self.repositories.len();
        let place = *self.places.entry(name_of(registry, repository)).or_insert(next);
        if place == next {
            self.repositories.push(Gathered { registry: registry.to_owned(), repository: repository.to_owned(), ..Gathered::default() });
        }
        &mut self.repositories[place]
    }
}
