//! Standard output: records as JSON Lines, or, for a terminal, a table of them.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufWriter, Stdout, Write};

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use super::progress::{bytes, table};
use crate::jsonl::Writer;

/// What standard output carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object a line
    Jsonl,
    /// A table for people
    Table,
}

/// Where a tool writes its records. The only way to standard output.
pub struct Output {
    writer: Writer<BufWriter<Stdout>>,
    table: Option<Table>,
}

impl fmt::Debug for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Output").field("table", &self.table.is_some()).finish_non_exhaustive()
    }
}

/// Marks the error that says that the reader of standard output went away.
#[derive(Debug)]
struct ReaderGone;

impl fmt::Display for ReaderGone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the reader of standard output went away")
    }
}

impl std::error::Error for ReaderGone {}

/// Whether an error came from writing to a standard output that nobody reads any more.
pub(super) fn is_reader_gone(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<ReaderGone>())
}

/// Says what standard output said, in a way that [`is_reader_gone`] knows again.
fn explain(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        io::Error::new(io::ErrorKind::BrokenPipe, ReaderGone)
    } else {
        io::Error::new(error.kind(), format!("writing to standard output: {error}"))
    }
}

impl Output {
    pub(super) fn stdout(format: Format) -> Self {
        let writer = Writer::new(BufWriter::with_capacity(1 << 16, io::stdout()));
        Self { writer, table: (format == Format::Table).then(Table::default) }
    }

    /// Writes a record.
    ///
    /// # Errors
    /// What standard output says.
    pub fn write<T: Serialize + ?Sized>(&mut self, record: &T) -> io::Result<()> {
        match &mut self.table {
            None => self.writer.write(record).map_err(explain),
            Some(_) => {
                let value = serde_json::to_value(record)?;
                self.add_row(&value)
            }
        }
    }

    /// Writes a line that is a record already.
    ///
    /// # Errors
    /// What standard output says.
    pub fn write_raw(&mut self, line: &str) -> io::Result<()> {
        if self.table.is_none() {
            return self.writer.write_raw(line).map_err(explain);
        }
        let value = serde_json::from_str(line)?;
        self.add_row(&value)
    }

    /// Writes a line that is a record already and comes in parts, without putting them together first.
    ///
    /// # Errors
    /// What standard output says.
    pub fn write_parts(&mut self, parts: &[&str]) -> io::Result<()> {
        match self.table {
            None => self.writer.write_parts(parts).map_err(explain),
            Some(_) => self.write_raw(&parts.concat()),
        }
    }

    /// Hands on what is buffered. A tool that streams calls it where a reader can use what came so far.
    ///
    /// # Errors
    /// What standard output says.
    pub fn flush(&mut self) -> io::Result<()> {
        if let Some(rows) = self.table.as_mut().and_then(Table::take) {
            self.writer.get_mut().write_all(rows.as_bytes()).map_err(explain)?;
        }
        self.writer.flush().map_err(explain)
    }

    fn add_row(&mut self, record: &Value) -> io::Result<()> {
        let Some(table) = &mut self.table else { return Ok(()) };
        if let Some(rows) = table.add(record) {
            self.writer.get_mut().write_all(rows.as_bytes()).map_err(explain)?;
        }
        Ok(())
    }
}

/// Gathers rows of one kind until the kind changes.
#[derive(Default)]
struct Table {
    columns: &'static [&'static str],
    rows: Vec<Vec<String>>,
    /// The columns whose names were printed last, so that a long listing does not repeat them for each repository.
    printed: &'static [&'static str],
}

impl Table {
    /// Adds a record; gives back the finished rows of another kind that came before.
    fn add(&mut self, record: &Value) -> Option<String> {
        let (columns, row) = row(record)?;
        let finished = if columns == self.columns { None } else { self.take() };
        self.columns = columns;
        self.rows.push(row);
        finished
    }

    fn take(&mut self) -> Option<String> {
        if self.rows.is_empty() {
            return None;
        }
        let heading: &[&str] = if self.printed == self.columns { &[] } else { self.columns };
        self.printed = self.columns;
        Some(table(heading, std::mem::take(&mut self.rows)))
    }
}

/// The columns and cells of a record; none for what is no news to a person (headers, trailers).
fn row(record: &Value) -> Option<(&'static [&'static str], Vec<String>)> {
    let text = |key: &str| record.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let list = |value: Option<&Value>| {
        value
            .and_then(Value::as_array)
            .map(|items| items.iter().filter_map(Value::as_str).map(short_tag).collect::<Vec<_>>().join(","))
            .unwrap_or_default()
    };
    let size = |key: &str| record.get(key).and_then(Value::as_u64).map(bytes).unwrap_or_default();
    let short = |key: &str| text(key).get(..19).map(str::to_owned).unwrap_or_else(|| text(key));
    let number = |key: &str| record.get(key).and_then(Value::as_u64).map(|number| number.to_string()).unwrap_or_default();
    let day = |key: &str| text(key).get(..16).map(|date| date.replace('T', " ")).unwrap_or_else(|| "unknown".to_owned());
    let name = || format!("{}/{}", text("registry"), text("repository"));
    Some(match record.get("type").and_then(Value::as_str)? {
        "use" => {
            let owner = [text("source"), text("namespace"), text("kind"), text("name")]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join("/");
            (&["IMAGE", "USED BY", "CONTAINER", "PODS"][..], vec![text("image"), owner, text("container"), number("pods")])
        }
        "manifest" => match record.get("verdict") {
            Some(verdict) => {
                let reasons = verdict.get("reasons").and_then(Value::as_array).map(|reasons| {
                    reasons
                        .iter()
                        .map(|reason| {
                            format!("{}: {}", reason["rule"].as_str().unwrap_or_default(), reason["why"].as_str().unwrap_or_default())
                        })
                        .collect::<Vec<_>>()
                        .join("; ")
                });
                let action = verdict["action"].as_str().unwrap_or_default();
                let action = if action == "untag" { format!("untag {}", list(verdict.get("untag"))) } else { action.to_owned() };
                let cells = vec![
                    action,
                    name(),
                    list(record.get("tags")),
                    short("digest"),
                    day("created"),
                    size("imageSize"),
                    reasons.unwrap_or_default(),
                ];
                (&["ACTION", "REPOSITORY", "TAGS", "DIGEST", "CREATED", "SIZE", "WHY"][..], cells)
            }
            None => {
                let what = if text("artifactType").is_empty() { text("platform") } else { text("artifactType") };
                let what = if what.is_empty() && record["children"].as_array().is_some_and(|children| !children.is_empty()) {
                    "index".to_owned()
                } else {
                    what
                };
                (
                    &["REPOSITORY", "TAGS", "DIGEST", "CREATED", "SIZE", "PLATFORM"][..],
                    vec![name(), list(record.get("tags")), short("digest"), day("created"), size("imageSize"), what],
                )
            }
        },
        "tag" => (&["REPOSITORY", "TAG", "ERROR"][..], vec![name(), text("tag"), text("error")]),
        "repository" => {
            // In a listing of manifests the end of a repository is no news, unless it was not read whole.
            if record["complete"] == Value::Bool(true) && !record["manifestCount"].is_null() {
                return None;
            }
            let state =
                if record["complete"] == Value::Bool(true) { "complete".to_owned() } else { format!("not complete: {}", text("error")) };
            (&["REPOSITORY", "TAGS", "STATE"][..], vec![name(), number("tagCount"), state])
        }
        "deletion" => {
            let cells = vec![text("result"), text("action"), name(), list(record.get("tags")), short("digest"), text("why")];
            (&["RESULT", "ACTION", "REPOSITORY", "TAGS", "DIGEST", "WHY"][..], cells)
        }
        "reclaim" => {
            let cells = vec![text("result"), text("what"), size("size"), text("path"), text("why")];
            (&["RESULT", "WHAT", "SIZE", "PATH", "WHY"][..], cells)
        }
        "finding" => {
            let place = match (text("registry").as_str(), text("repository").as_str()) {
                ("", "") => String::new(),
                ("", repository) => repository.to_owned(),
                _ => name(),
            };
            let cells = vec![
                text("severity"),
                text("problem"),
                place,
                short_tag(&text("tag")).into_owned(),
                short("digest"),
                list(record.get("usedBy")),
                text("detail"),
            ];
            (&["SEVERITY", "PROBLEM", "REPOSITORY", "TAG", "DIGEST", "USED BY", "DETAIL"][..], cells)
        }
        "repair" => {
            let cells =
                vec![text("result"), text("action"), text("problem"), text("repository"), text("tag"), short("digest"), text("why")];
            (&["RESULT", "ACTION", "PROBLEM", "REPOSITORY", "TAG", "DIGEST", "WHY"][..], cells)
        }
        "run" => {
            let bytes = if record["bytes"].is_null() { "interrupted".to_owned() } else { size("bytes") };
            (&["RUN", "ITEMS", "BYTES", "KEPT UNTIL"][..], vec![text("run"), number("items"), bytes, day("keptUntil")])
        }
        _ => return None,
    })
}

/// A tag as a table shows it: the digest in the tag of a signature is cut as digests are, or it pushes all that follows off
/// the screen.
fn short_tag(tag: &str) -> Cow<'_, str> {
    let Some((hex, suffix)) = tag.strip_prefix("sha256-").and_then(|rest| rest.split_at_checked(64)) else { return tag.into() };
    let (Some(short), true) = (hex.get(..12), hex.bytes().all(|sign| sign.is_ascii_hexdigit())) else { return tag.into() };
    format!("sha256-{short}…{suffix}").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_of_a_kind_stand_under_one_heading() {
        let mut table = Table::default();
        let manifest = |tag: &str| json!({"type":"manifest","registry":"r","repository":"a","tags":[tag],"digest":"sha256:0123456789abcdef","created":"2026-11-01T08:00:00Z","imageSize":2048,"platform":"linux/amd64"});
        assert_eq!(table.add(&json!({"type":"header"})), None);
        assert_eq!(table.add(&manifest("1")), None);
        assert_eq!(table.add(&manifest("2")), None);
        let text = table.add(&json!({"type":"tag","registry":"r","repository":"a","tag":"x","error":"MANIFEST_UNKNOWN"})).unwrap();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.starts_with("REPOSITORY") && text.contains("sha256:0123456789ab ") && text.contains("2.00 KiB"), "{text}");
        assert!(table.take().unwrap().contains("MANIFEST_UNKNOWN"));
    }

    #[test]
    fn tags_of_referrers_are_cut_as_digests_are() {
        let hex = "0123456789abcdef".repeat(4);
        assert_eq!(short_tag(&format!("sha256-{hex}.sig")), "sha256-0123456789ab….sig");
        assert_eq!(short_tag(&format!("sha256-{hex}")), "sha256-0123456789ab…");
        for other in ["v1", "sha256-0123", &format!("x-{hex}")] {
            assert_eq!(short_tag(other), other);
        }
    }

    #[test]
    fn only_a_reader_that_went_away_is_one() {
        assert!(is_reader_gone(&explain(io::ErrorKind::BrokenPipe.into())));
        assert!(!is_reader_gone(&io::ErrorKind::BrokenPipe.into()));
    }
}
