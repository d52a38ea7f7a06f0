//! `--format nagios`: one line and an exit status for a monitoring system.
//!
//! By the Monitoring Plugins Development Guidelines, "Plugin Output for Nagios" and "Performance data".

use common::cli::{Context, Status};
use common::record::{CheckTotals, Finding, Severity};

use super::subject;
use crate::collect::Checked;

/// The status of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Ok = 0,
    Warning = 1,
    Critical = 2,
    Unknown = 3,
}

impl Service {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// The status line of a check that was made.
fn line(totals: &CheckTotals, findings: &[Finding]) -> (String, Service) {
    let service = match totals {
        CheckTotals { errors: 1.., .. } => Service::Critical,
        CheckTotals { warnings: 1.., .. } => Service::Warning,
        CheckTotals { unknown: 1.., .. } => Service::Unknown,
        // Who looked at nothing knows nothing.
        CheckTotals { images: 0, .. } => Service::Unknown,
        _ => Service::Ok,
    };
    let wanted = match service {
        Service::Critical => Severity::Error,
        Service::Warning => Severity::Warning,
        Service::Unknown => Severity::Unknown,
        Service::Ok => Severity::Ok,
    };
    let counts = [(totals.errors, "error"), (totals.warnings, "warning"), (totals.unknown, "unknown")];
    let counts: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, noun)| if noun == "unknown" { format!("{count} unknown") } else { common::cli::count(count, noun) })
        .collect();
    let mut text = if counts.is_empty() && totals.images == 0 {
        "there was no image to be checked".to_owned()
    } else if counts.is_empty() {
        format!("{}, nothing is wrong", common::cli::count(totals.images, "image"))
    } else {
        format!("{} in {}", counts.join(", "), common::cli::count(totals.images, "image"))
    };
    // The first says more than any number.
    if let Some(first) = findings.iter().find(|finding| finding.severity == wanted && service != Service::Ok) {
        text.push_str(&format!(": {}: {}", subject(first), first.detail));
    }
    // label=value;warn;crit;min
    let data = format!(
        "images={};;;0 healthy={};;;0 errors={};;0;0 warnings={};0;;0 unknown={};;;0",
        totals.images, totals.healthy, totals.errors, totals.warnings, totals.unknown
    );
    (format!("REG-CHECK {} - {} | {data}\n", service.name(), plain(&text)), service)
}

/// Writes the line of a check, or of why there was none, and gives the status that goes with it.
pub(crate) fn answer(context: &Context, checked: anyhow::Result<Checked>) -> anyhow::Result<Status> {
    let (line, service) = match &checked {
        Ok(checked) => line(&checked.totals, &checked.findings),
        Err(error) => {
            context.say(format_args!("{error:#}"));
            failed(error)
        }
    };
    super::write(&line)?;
    Ok(Status::Own(service as u8))
}

/// The status line of a check that could not be made.
fn failed(error: &anyhow::Error) -> (String, Service) {
    (unknown(&format!("{error:#}")), Service::Unknown)
}

/// The line and the status of a command line that is wrong: not those of a registry in which something is.
pub(crate) fn misused(cause: &str) -> (String, u8) {
    (unknown(cause), Service::Unknown as u8)
}

fn unknown(cause: &str) -> String {
    format!("REG-CHECK UNKNOWN - {}\n", plain(cause))
}

/// A text that ends neither the line nor its first half.
fn plain(text: &str) -> String {
    text.chars().map(|character| if character == '|' || character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_decides_and_a_bar_ends_no_text() {
        let finding: Finding =
            serde_json::from_value(serde_json::json!({"type": "finding", "registry": "r:5000", "repository": "app", "tag": "v1",
            "digest": null, "problem": "blob-missing", "severity": "warning", "detail": "a | b\nc", "inUse": null, "usedBy": []}))
            .unwrap();
        let totals = |errors, warnings, unknown| CheckTotals { images: 3, healthy: 2, errors, warnings, unknown, ..CheckTotals::default() };
        let said = |totals: &CheckTotals| line(totals, std::slice::from_ref(&finding));
        let data = |errors, warnings, unknown| {
            format!("| images=3;;;0 healthy=2;;;0 errors={errors};;0;0 warnings={warnings};0;;0 unknown={unknown};;;0\n")
        };
        let (text, service) = said(&totals(0, 0, 0));
        assert_eq!((text, service as u8), (format!("REG-CHECK OK - 3 images, nothing is wrong {}", data(0, 0, 0)), 0));
        let (text, service) = said(&totals(0, 1, 2));
        let expected = format!("REG-CHECK WARNING - 1 warning, 2 unknown in 3 images: r:5000/app:v1: a   b c {}", data(0, 1, 2));
        assert_eq!((text, service as u8), (expected, 1));
        assert_eq!(said(&totals(1, 1, 1)).1 as u8, 2);
        assert_eq!(said(&totals(0, 0, 1)).1 as u8, 3);
        let (text, service) = failed(&anyhow::anyhow!("no\nregistry | here").context("x"));
        assert_eq!((text.as_str(), service as u8), ("REG-CHECK UNKNOWN - x: no registry   here\n", 3));
    }
}
