//! The findings, read: sections of JSON Lines, or the array in a report's `findings.json`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use anyhow::Context as _;
use common::cli::{Context, Refused};
use common::jsonl::{Place, Reader, Sections};
use common::record::{Finding, Kind};

/// Reads all findings. A stream that was cut is refused: what it lacks may be what says that something is in use.
pub(crate) fn read(paths: &[PathBuf], context: &Context) -> anyhow::Result<Vec<Finding>> {
    let from_stdin = || context.filter_input("findings of reg-check", "reg-check --store DIR --fail-on never | reg-fix --store DIR");
    if paths.is_empty() {
        return read_one("standard input", from_stdin()?);
    }
    let mut findings = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            findings.extend(read_one("standard input", from_stdin()?)?);
            continue;
        }
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("opening the findings {name}"))?;
        findings.extend(read_one(&name, BufReader::new(file))?);
    }
    Ok(findings)
}

fn read_one(name: &str, mut input: impl BufRead) -> anyhow::Result<Vec<Finding>> {
    let begins = input.fill_buf().with_context(|| format!("reading {name}"))?;
    if begins.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        // Whole by its bracket.
        return serde_json::from_reader(input).with_context(|| format!("{name} begins as the array of a report's findings.json"));
    }
    let mut reader = Reader::new(name, input);
    let mut sections = Sections::default();
    let mut findings = Vec::new();
    while let Some(line) = reader.next_line().map_err(refused)? {
        if let Place::Within(Kind::Finding) = sections.place(&line).map_err(refused)? {
            findings.push(line.parse()?);
        }
    }
    sections.finish(name).map_err(refused)?;
    Ok(findings)
}

/// What is no whole section is refused, and the rest is an error.
fn refused(error: common::jsonl::Error) -> anyhow::Error {
    if error.problem.is_section() { Refused(error.to_string()).into() } else { error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = r#"{"type":"header","tool":"reg-check","version":"0.1.0","schema":1,"time":"2026-11-20T12:00:00Z"}"#;
    const FINDING: &str = r#"{"type":"finding","repository":"a","problem":"link-empty","severity":"error","detail":""}"#;
    const TRAILER: &str = r#"{"type":"trailer","complete":true,"records":1}"#;

    fn read(text: &str) -> Result<usize, (bool, String)> {
        let read = read_one("input", text.as_bytes()).map(|findings| findings.len());
        read.map_err(|error| (error.chain().any(|cause| cause.is::<Refused>()), format!("{error:#}")))
    }

    #[test]
    fn sections_and_arrays_are_read_whole_or_not_at_all() {
        assert_eq!(read(&format!("{HEADER}\n{FINDING}\n{{\"type\":\"use\"}}\n{TRAILER}\n")), Ok(1));
        assert_eq!(read(&format!(" [{FINDING},\n{FINDING}]\n")), Ok(2));
        assert_eq!(read("[]"), Ok(0));
        let is_refused = |text: &str| read(text).unwrap_err().0;
        assert!(is_refused(""));
        assert!(is_refused(FINDING), "a filter dropped the header");
        assert!(is_refused(&format!("{HEADER}\n{FINDING}\n")), "the trailer is missing");
        assert!(!is_refused(&format!("[{FINDING}")));
        let (refused, text) = read(&format!("{HEADER}\n{{\"type\":\"finding\"}}\n{TRAILER}\n")).unwrap_err();
        assert!(!refused && text.contains("2"), "{text}");
    }
}
