//! `--report DIR`: a folder by the time of the check, whole or not there.

use std::fs::{self, File, Permissions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use common::record::Finding;

/// The columns of `findings.csv`.
const COLUMNS: [&str; 9] = ["severity", "problem", "registry", "repository", "tag", "digest", "inUse", "usedBy", "detail"];

/// That a report can be written when all is done, found out before anything is.
pub(crate) fn check(reports: &Path) -> anyhow::Result<()> {
    let tried = fs::create_dir_all(reports).and_then(|()| tempfile::tempdir_in(reports));
    tried.with_context(|| format!("--report {}: could not be written", reports.display()))?;
    Ok(())
}

/// Writes the folder below `reports`, which is made where it is not there, and gives its path.
///
/// It is written under another name and renamed when all of it is on the disk, so that who sees it sees all of it.
pub(crate) fn write(reports: &Path, time: DateTime<Utc>, findings: &[Finding], summary: &str) -> anyhow::Result<PathBuf> {
    let shown = reports.display();
    fs::create_dir_all(reports).with_context(|| format!("--report {shown}"))?;
    let name = time.format("reg-check-%Y%m%dT%H%M%SZ").to_string();
    let written = || -> anyhow::Result<PathBuf> {
        // Taken away with all that is in it where it is not finished.
        let unfinished = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .suffix(".tmp")
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in(reports)?;
        fill(unfinished.path(), findings, summary)?;
        // Two checks may end in the same second; a folder that is there is not touched.
        let mut places = std::iter::once(name.clone()).chain((2..1000).map(|n| format!("{name}-{n}"))).map(|name| reports.join(name));
        let place = places.find(|place| !place.exists()).context("a thousand reports of the same second are there")?;
        fs::rename(unfinished.path(), &place)?;
        // It has its name; there is nothing left to be taken away.
        let _ = unfinished.keep();
        File::open(reports)?.sync_all()?;
        Ok(place)
    };
    written().with_context(|| format!("--report {shown}: nothing was left there"))
}

fn fill(folder: &Path, findings: &[Finding], summary: &str) -> anyhow::Result<()> {
    file(folder, "findings.json", |out| {
        write_array(out, findings)?;
        Ok(())
    })?;
    file(folder, "findings.csv", |out| write_csv(out, findings))?;
    file(folder, "summary.txt", |out| Ok(out.write_all(summary.as_bytes())?))?;
    File::open(folder)?.sync_all()?;
    Ok(())
}

fn file(folder: &Path, name: &str, write: impl FnOnce(&mut BufWriter<File>) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut out = BufWriter::new(File::create_new(folder.join(name)).with_context(|| name.to_owned())?);
    write(&mut out).with_context(|| name.to_owned())?;
    let file = out.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(())
}

/// One array of the records, a line each.
fn write_array(out: &mut impl std::io::Write, findings: &[Finding]) -> anyhow::Result<()> {
    out.write_all(b"[")?;
    for (place, finding) in findings.iter().enumerate() {
        out.write_all(if place == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut *out, finding)?;
    }
    out.write_all(b"\n]\n")?;
    Ok(())
}

fn write_csv(out: &mut impl std::io::Write, findings: &[Finding]) -> anyhow::Result<()> {
    let mut out = csv::Writer::from_writer(out);
    out.write_record(COLUMNS)?;
    for finding in findings {
        let digest = finding.digest.as_ref().map(ToString::to_string);
        let in_use = finding.in_use.map(|in_use| in_use.to_string());
        let used_by = finding.used_by.join("; ");
        let text = |text: &Option<String>| defused(text.as_deref().unwrap_or_default());
        out.write_record([
            finding.severity.name().to_owned(),
            finding.problem.name().to_owned(),
            text(&finding.registry),
            text(&finding.repository),
            text(&finding.tag),
            text(&digest),
            text(&in_use),
            defused(&used_by),
            defused(&finding.detail),
        ])?;
    }
    out.flush()?;
    Ok(())
}

/// A cell that no spreadsheet takes for a formula (OWASP, "CSV Injection").
fn defused(cell: &str) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(tag: &str, detail: &str) -> Finding {
        let text = serde_json::json!({"type": "finding", "registry": "localhost:5000", "repository": "team/app", "tag": tag, "digest": null,
            "problem": "blob-missing", "severity": "error", "detail": detail, "inUse": true, "usedBy": ["a (pod b)", "c"]});
        serde_json::from_value(text).unwrap()
    }

    fn csv_of(findings: &[Finding]) -> String {
        let mut out = Vec::new();
        write_csv(&mut out, findings).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_there_without_findings_and_cells_are_defused() {
        let heading = "severity,problem,registry,repository,tag,digest,inUse,usedBy,detail\n";
        assert_eq!(csv_of(&[]), heading);
        for (cell, defused) in
            [("=1+1", "'=1+1"), ("+x", "'+x"), ("-x", "'-x"), ("@x", "'@x"), ("x=1", "x=1"), ("\"a\", b", "\"\"\"a\"\", b\"")]
        {
            let row = format!("error,blob-missing,localhost:5000,team/app,v1,,true,a (pod b); c,{defused}\n");
            assert_eq!(csv_of(&[finding("v1", cell)]), format!("{heading}{row}"));
        }
    }

    #[test]
    fn a_report_is_whole_or_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let reports = folder.path().join("a/b");
        let time = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let first = write(&reports, time, &[finding("v1", "x")], "one error\n").unwrap();
        let second = write(&reports, time, &[], "none\n").unwrap();
        assert_eq!(first.file_name().unwrap(), "reg-check-20270115T080000Z");
        assert_eq!(second.file_name().unwrap(), "reg-check-20270115T080000Z-2");
        let json: Vec<Finding> = serde_json::from_str(&fs::read_to_string(first.join("findings.json")).unwrap()).unwrap();
        assert_eq!(json, [finding("v1", "x")]);
        assert_eq!(fs::read_to_string(second.join("findings.json")).unwrap(), "[\n]\n");
        assert_eq!(fs::read_to_string(first.join("summary.txt")).unwrap(), "one error\n");
        assert_eq!(fs::read_dir(&reports).unwrap().count(), 2);
        // Where it cannot be finished nothing is left.
        fs::write(reports.join("file"), "").unwrap();
        write(&reports.join("file"), time, &[], "").unwrap_err();
        assert_eq!(fs::read_dir(&reports).unwrap().count(), 3);
    }
}
