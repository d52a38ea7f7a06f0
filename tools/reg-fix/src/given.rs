//! The findings, read: sections of JSON Lines, or the array in a report's `findings.json`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use anyhow::Context as _;
use common::cli::{Context, Refused};
use common::jsonl::{Place, Reader, Sections};
use common::record::{Finding, Kind};

/// Reads all findings. A stream that was cut is refused: what it lacks may be what says that something is in use. So is one that was
/// thinned, where something may be taken away (`drop`).
pub(crate) fn read(paths: &[PathBuf], drop: bool, context: &Context) -> anyhow::Result<Vec<Finding>> {
    let read_one = |name: &str, input: Box<dyn BufRead>| {
        let given = read_one(name, input, drop)?;
        if given.is_partial {
            context.say(format_args!("{name}: the check could not look at everything, and what it did not see is not mended"));
        }
        anyhow::Ok(given.findings)
    };
    let from_stdin = || context.filter_input("findings of reg-check", "reg-check --store DIR --fail-on never | reg-fix --store DIR");
    if paths.is_empty() {
        return read_one("standard input", Box::new(from_stdin()?));
    }
    let mut findings = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            findings.extend(read_one("standard input", Box::new(from_stdin()?))?);
            continue;
        }
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("opening the findings {name}"))?;
        findings.extend(read_one(&name, Box::new(BufReader::new(file)))?);
    }
    Ok(findings)
}

/// What one input held.
#[derive(Debug, Default)]
struct Given {
    findings: Vec<Finding>,
    /// Whether a check says that it could not look at everything.
    is_partial: bool,
}

fn read_one(name: &str, mut input: impl BufRead, drop: bool) -> anyhow::Result<Given> {
    let begins = input.fill_buf().with_context(|| format!("reading {name}"))?;
    if begins.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        // Whole by its bracket.
        let read = serde_json::from_reader(input).map_err(|error: serde_json::Error| {
            let cause = format!("{name} begins as the array of a report's findings.json: {error}");
            if error.is_eof() { Refused(format!("{cause}: it was cut off")).into() } else { anyhow::Error::msg(cause) }
        });
        return Ok(Given { findings: read?, is_partial: false });
    }
    let mut reader = Reader::new(name, input);
    let mut sections = Sections::default();
    let mut given = Given::default();
    // Where the findings of a section of reg-check begin: what others count is not known.
    let mut first = None;
    while let Some(line) = reader.next_line().map_err(refused)? {
        match sections.place(&line).map_err(refused)? {
            Place::Header(header) => first = (header.tool == "reg-check").then_some(given.findings.len()),
            Place::Within(Kind::Finding) => given.findings.push(line.parse()?),
            Place::Within(_) => {}
            Place::Trailer(trailer) => {
                given.is_partial |= !trailer.complete;
                let came = first.map(|first| (given.findings.len() - first) as u64);
                if let Some(came) = came.filter(|came| drop && *came < trailer.records) {
                    return Err(Refused(format!(
                        "{name} holds {came} of {} findings, and what it lacks may say that something is in use: give --drop all that reg-check wrote",
                        trailer.records
                    ))
                    .into());
                }
            }
        }
    }
    sections.finish(name).map_err(refused)?;
    Ok(given)
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
        let read = read_one("input", text.as_bytes(), true).map(|given| given.findings.len());
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
        assert!(is_refused(&format!("[{FINDING}")));
        assert!(!is_refused("[7]"));
        assert!(is_refused(&format!("{HEADER}\n{TRAILER}\n")), "a finding less than are counted");
        assert_eq!(read_one("input", format!("{HEADER}\n{TRAILER}\n").as_bytes(), false).unwrap().findings.len(), 0);
        let (refused, text) = read(&format!("{HEADER}\n{{\"type\":\"finding\"}}\n{TRAILER}\n")).unwrap_err();
        assert!(!refused && text.contains("2"), "{text}");
    }
}
