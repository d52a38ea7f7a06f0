//! Records in and out, one JSON object a line: line numbers, sections, the closed pipe.
//!
//! Reading keeps the raw line beside what is parsed of it, because a filter passes on unchanged what it does not understand.
//! (The crate `serde-jsonlines`, which writes here, can only hand out owned values on reading; the raw line, its number, the
//! cap and borrowed strings need a reader of our own.) Knows the envelope — `type`, [`Header`], [`Trailer`] — and nothing of
//! what a tool decides.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};
use serde_jsonlines::JsonLinesWriter;

use crate::record::{Header, Kind, SCHEMA, Trailer};

/// The longest line accepted, in bytes. A deletion holds a manifest of at most 4 MiB in base64; this is far above.
pub const LONGEST_LINE: usize = 64 << 20;

/// What is wrong with an input: the input's name, the line, and the cause.
#[derive(Debug, thiserror::Error)]
#[error("{input}: {problem}", input = if *line == 0 { name.clone() } else { format!("{name}, line {line}") })]
pub struct Error {
    /// The file's path, or `standard input`.
    pub name: String,
    /// The line's number, from 1; 0 where it is not one line's fault.
    pub line: u64,
    /// The cause.
    pub problem: Problem,
}

/// Why a line or an input cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The line is longer than [`LONGEST_LINE`].
    #[error("is longer than {} MiB: no record is", LONGEST_LINE >> 20)]
    TooLong,
    /// The line is not text.
    #[error("is not UTF-8")]
    Encoding,
    /// The line is not a JSON object with a `type`, or a field of it is not what it should be.
    #[error("{0}")]
    Json(String),
    /// The record's schema is of a later version.
    #[error("was written in schema {0}, and this program knows schema {SCHEMA}: use a newer version of it")]
    Schema(u32),
    /// The sections are not whole; what to do stands in the sentence.
    #[error("{0}")]
    Section(String),
}

impl Problem {
    /// Whether the input is cut, torn or taken apart, rather than wrong: nothing may be decided on it.
    #[must_use]
    pub fn is_section(&self) -> bool {
        matches!(self, Self::Section(_))
    }
}

/// Reads lines that hold records.
///
/// A line is handed out of the input's own buffer where that holds all of it, so that most are never copied.
pub struct Reader<R> {
    name: String,
    input: R,
    /// A line that goes over the end of the input's buffer.
    buffer: Vec<u8>,
    /// How much of the input's buffer is the line handed out last; 0 where that is in `buffer`.
    handed_out: usize,
    number: u64,
    /// Whether the line read last was ended by the input's end and not by a line feed.
    ended: bool,
}

/// What was found at the place where a line may begin.
enum Found {
    Line,
    Blank,
    End,
}

impl<R: BufRead> Reader<R> {
    /// Reads `input`; `name` is what errors call it.
    pub fn new(name: impl Into<String>, input: R) -> Self {
        Self { name: name.into(), input, buffer: Vec::new(), handed_out: 0, number: 0, ended: false }
    }

    /// The next line that is not blank, or `None` at the end.
    ///
    /// # Errors
    /// An input that cannot be read, a line that is too long or not UTF-8.
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, Error> {
        loop {
            self.input.consume(std::mem::take(&mut self.handed_out));
            self.buffer.clear();
            self.number += 1;
            match self.find()? {
                Found::Line => break,
                Found::Blank => {}
                Found::End => return Ok(None),
            }
        }
        let Self { name, input, buffer, handed_out, number, ended } = self;
        let error = |problem: Problem| Error { name: name.clone(), line: *number, problem };
        let bytes = if *handed_out > 0 {
            // What is there is given again, and nothing is read.
            input.fill_buf().map_err(|cause| error(cause.into()))?.get(..*handed_out).unwrap_or_default()
        } else {
            buffer
        };
        match std::str::from_utf8(bytes.trim_ascii()) {
            Ok(text) => Ok(Some(Line { name, number: *number, text, last: *ended })),
            Err(_) => Err(error(Problem::Encoding)),
        }
    }

    /// Finds the end of the line that begins here.
    fn find(&mut self) -> Result<Found, Error> {
        let found = |line: &[u8]| if line.trim_ascii().is_empty() { Found::Blank } else { Found::Line };
        loop {
            let available = match self.input.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.error(error.into())),
            };
            if available.is_empty() {
                self.ended = true;
                return Ok(if self.buffer.is_empty() { Found::End } else { found(&self.buffer) });
            }
            let end = memchr::memchr(b'\n', available);
            let line = &available[..end.map_or(available.len(), |end| end + 1)];
            if self.buffer.len() + line.len() > LONGEST_LINE {
                return Err(self.error(Problem::TooLong));
            }
            if end.is_some() && self.buffer.is_empty() {
                self.handed_out = line.len();
                return Ok(found(line));
            }
            let used = line.len();
            self.buffer.extend_from_slice(line);
            self.input.consume(used);
            if end.is_some() {
                return Ok(found(&self.buffer));
            }
        }
    }

    /// The number of the line read last.
    #[must_use]
    pub fn line_number(&self) -> u64 {
        self.number
    }

    /// What errors call this input.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn error(&self, problem: Problem) -> Error {
        Error { name: self.name.clone(), line: self.number, problem }
    }
}

/// A line of an input: its text without the line feed, and where it stands.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    name: &'a str,
    number: u64,
    text: &'a str,
    /// Whether no line feed came after it, so that it may be the half of a line.
    last: bool,
}

/// `type` alone, of a record that is looked at no closer.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
}

impl<'a> Line<'a> {
    /// A line of the input called `name`.
    #[must_use]
    pub fn new(name: &'a str, number: u64, text: &'a str) -> Self {
        Self { name, number, text, last: false }
    }

    /// The line's text.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The line's number, from 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The kind of record that the line holds.
    ///
    /// # Errors
    /// A line that is no JSON object with a `type`.
    pub fn kind(&self) -> Result<Kind, Error> {
        // A writer of this suite, and jq -c after it, begins with the type; then the rest need not be read to know it.
        if let Some(rest) = self.text.strip_prefix("{\"type\":\"")
            && let Some(end) = rest.find('"')
            && matches!(&rest[..end], "manifest" | "use")
        {
            return Ok(Kind::of(&rest[..end]));
        }
        let envelope: Envelope<'_> = self.parse()?;
        Ok(Kind::of(&envelope.kind))
    }

    /// Parses the line.
    ///
    /// # Errors
    /// A line that is not JSON, or lacks what `T` needs; the sentence says which.
    pub fn parse<T: Deserialize<'a>>(&self) -> Result<T, Error> {
        serde_json::from_str(self.text).map_err(|error| {
            // Two streams in one file, of which the first was cut in the middle of a line.
            if self.text.get(1..).is_some_and(|rest| rest.contains("{\"type\":\"header\"")) {
                return self.section_error("breaks off in the middle, and another stream begins in it: the first was cut");
            }
            if self.last && error.is_eof() {
                return self.section_error("breaks off in the middle: the input was cut");
            }
            let cause = error.to_string();
            // serde counts lines within the text that it was given; this one has only one.
            let cause = cause
                .split_once(" at line 1 column ")
                .map_or_else(|| cause.clone(), |(what, column)| format!("{what}, at column {column}"));
            if error.is_data() {
                self.error(Problem::Json(format!("is not the record it says it is: {cause}")))
            } else {
                self.error(Problem::Json(format!("is not JSON: {cause}")))
            }
        })
    }

    /// Refuses a header that was written in a later schema, which may have changed all the rest.
    ///
    /// # Errors
    /// A higher schema, and a line without one.
    pub fn check_schema(&self) -> Result<(), Error> {
        let Schema { schema } = self.parse()?;
        if schema > SCHEMA { Err(self.error(Problem::Schema(schema))) } else { Ok(()) }
    }

    /// An error about this line.
    #[must_use]
    pub fn error(&self, problem: Problem) -> Error {
        Error { name: self.name.to_owned(), line: self.number, problem }
    }

    /// An error about how this line stands among the others.
    #[must_use]
    pub fn section_error(&self, text: impl Into<String>) -> Error {
        self.error(Problem::Section(text.into()))
    }
}

/// Watches that a stream is whole: every section has a header first and a trailer last, and no line stands outside.
///
/// Feed it every line; it says where a section begins and ends.
#[derive(Debug, Default)]
pub struct Sections {
    open: Option<u64>,
    closed: u64,
}

/// How a line stands in its section.
#[derive(Debug)]
pub enum Place {
    /// It begins a section.
    Header(Box<Header>),
    /// It lies within one.
    Within(Kind),
    /// It ends one.
    Trailer(Trailer),
}

impl Sections {
    /// Takes the next line.
    ///
    /// # Errors
    /// A header or trailer that is not one, a higher schema, a header before the last section's trailer, a record outside of
    /// any section.
    pub fn place(&mut self, line: &Line<'_>) -> Result<Place, Error> {
        match line.kind()? {
            Kind::Header => {
                if let Some(begun) = self.open {
                    return Err(line.section_error(format!("begins a new section, but the one begun in line {begun} has no trailer: that part was cut off, or a filter dropped its trailer")));
                }
                // Looked at before anything else in it.
                line.check_schema()?;
                self.open = Some(line.number());
                Ok(Place::Header(Box::new(line.parse()?)))
            }
            Kind::Trailer => {
                if self.open.take().is_none() {
                    return Err(line.section_error("is a trailer without a header: a filter dropped the header"));
                }
                self.closed += 1;
                Ok(Place::Trailer(line.parse()?))
            }
            kind => {
                if self.open.is_none() {
                    return Err(line.section_error("stands outside of a section: its header is missing"));
                }
                Ok(Place::Within(kind))
            }
        }
    }

    /// Says that the input has ended.
    ///
    /// # Errors
    /// An empty input, and one whose last section has no trailer.
    pub fn finish(&self, name: &str) -> Result<(), Error> {
        let problem = match self.open {
            Some(begun) => {
                format!("ends without the trailer of the section begun in line {begun}: it was cut off, or a filter dropped the trailer")
            }
            None if self.closed == 0 => "is empty: not even a header came".to_owned(),
            None => return Ok(()),
        };
        Err(Error { name: name.to_owned(), line: 0, problem: Problem::Section(problem) })
    }

    /// How many sections were whole so far.
    #[must_use]
    pub fn closed(&self) -> u64 {
        self.closed
    }
}

#[derive(Deserialize)]
struct Schema {
    schema: u32,
}

/// Writes records, a line each.
///
/// Errors of the JSON writer arrive as the I/O errors that they are, so that a closed pipe can be told from a full disk.
pub struct Writer<W: Write> {
    lines: JsonLinesWriter<W>,
}

impl<W: Write> Writer<W> {
    /// Writes to `output`, which should be buffered.
    pub fn new(output: W) -> Self {
        Self { lines: JsonLinesWriter::new(output) }
    }

    /// Writes one record.
    ///
    /// # Errors
    /// What the output says.
    pub fn write<T: Serialize + ?Sized>(&mut self, record: &T) -> io::Result<()> {
        self.lines.write(record)
    }

    /// Writes a line that is a record already.
    ///
    /// # Errors
    /// What the output says.
    pub fn write_raw(&mut self, line: &str) -> io::Result<()> {
        self.write_parts(&[line])
    }

    /// Writes a line that is a record already and comes in parts.
    ///
    /// # Errors
    /// What the output says.
    pub fn write_parts(&mut self, parts: &[&str]) -> io::Result<()> {
        let output = self.lines.get_mut();
        for part in parts {
            output.write_all(part.as_bytes())?;
        }
        output.write_all(b"\n")
    }

    /// Hands on what is buffered.
    ///
    /// # Errors
    /// What the output says.
    pub fn flush(&mut self) -> io::Result<()> {
        self.lines.flush()
    }

    /// The output itself.
    pub fn get_mut(&mut self) -> &mut W {
        self.lines.get_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = r#"{"type":"header","tool":"t","version":"1","schema":1,"time":"2026-11-20T12:00:00Z"}"#;
    const TRAILER: &str = r#"{"type":"trailer","complete":true,"records":0}"#;

    fn read(text: &str) -> Result<u64, Error> {
        let mut reader = Reader::new("standard input", text.as_bytes());
        let mut sections = Sections::default();
        while let Some(line) = reader.next_line()? {
            sections.place(&line)?;
        }
        sections.finish("standard input")?;
        Ok(sections.closed())
    }

    #[test]
    fn concatenated_streams_are_a_stream() {
        let one = format!("{HEADER}\n{{\"type\":\"comet\"}}\n\n  \r\n{TRAILER}\n");
        assert_eq!(read(&one).unwrap(), 1);
        assert_eq!(read(&format!("{one}{one}")).unwrap(), 2);
        assert_eq!(read(&format!("{HEADER}\n{TRAILER}")).unwrap(), 1, "the last line needs no line feed");
    }

    #[test]
    fn what_is_not_whole_is_said_with_its_line() {
        let higher = HEADER.replace("\"schema\":1", "\"schema\":2");
        for (text, expected) in [
            (String::new(), "standard input: is empty"),
            (format!("{HEADER}\n"), "standard input: ends without the trailer of the section begun in line 1"),
            (
                format!("{HEADER}\n{TRAILER}\n{HEADER}\n{HEADER}\n{TRAILER}"),
                "standard input, line 4: begins a new section, but the one begun in line 3",
            ),
            (TRAILER.to_owned(), "line 1: is a trailer without a header"),
            (r#"{"type":"manifest"}"#.to_owned(), "line 1: stands outside of a section"),
            (format!("{HEADER}\n{{\"type\":{HEADER}\n{TRAILER}"), "line 2: breaks off in the middle, and another"),
            (format!("{HEADER}\n{{\"type\":"), "standard input, line 2: breaks off in the middle"),
            (format!("{HEADER}\n{{\"type\":\n"), "standard input, line 2: is not JSON"),
            (format!("{HEADER}\n[1]"), "standard input, line 2: is not the record"),
            (format!("{HEADER}\nrubbish"), "line 2: is not JSON"),
            (higher, "line 1: was written in schema 2"),
        ] {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn lines_may_go_over_the_end_of_any_buffer() {
        let long = "x".repeat(40);
        let text = format!("a\n\n bb \r\n{long}\n \nccc\n{long}");
        for capacity in 1..text.len() + 2 {
            let mut reader = Reader::new("f", io::BufReader::with_capacity(capacity, text.as_bytes()));
            let mut lines = Vec::new();
            while let Some(line) = reader.next_line().unwrap() {
                lines.push((line.number(), line.text().to_owned(), line.last));
            }
            let line = |number, text: &str, last| (number, text.to_owned(), last);
            assert_eq!(
                lines,
                [line(1, "a", false), line(3, "bb", false), line(4, &long, false), line(6, "ccc", false), line(7, &long, true)],
                "with a buffer of {capacity}"
            );
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_said() {
        let mut reader = Reader::new("f", &b"\xff\xfe\n"[..]);
        assert_eq!(reader.next_line().unwrap_err().to_string(), "f, line 1: is not UTF-8");
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut reader = Reader::new("f", io::BufReader::new(io::repeat(b'x')));
        assert!(matches!(reader.next_line().unwrap_err().problem, Problem::TooLong));
    }

    #[test]
    fn the_type_may_stand_anywhere() {
        assert_eq!(Line::new("f", 1, r#"{"a":{"type":"use"},"type":"manifest"}"#).kind().unwrap(), Kind::Manifest);
        assert_eq!(Line::new("f", 1, r#"{"type": "manifest"}"#).kind().unwrap(), Kind::Manifest);
    }

    #[test]
    fn a_closed_pipe_stays_recognizable() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = Writer::new(Closed).write(&serde_json::json!({"a": 1})).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
