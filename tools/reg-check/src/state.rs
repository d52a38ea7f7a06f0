//! `--since FILE`: when the content of a storage was read last, and what was damaged then.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use common::digest::Digest;
use serde::{Deserialize, Serialize};

/// Clocks of a file server and of this machine differ, and a blob that came while the folders were read may have been overlooked.
const SLACK: TimeDelta = TimeDelta::minutes(10);

/// What is kept from run to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct State {
    tool: String,
    schema: u32,
    /// The storage's folder.
    pub(crate) root: String,
    /// What changed later than this has to be read.
    pub(crate) time: DateTime<Utc>,
    /// What was damaged, and is read again until it is not.
    pub(crate) damaged: BTreeSet<Digest>,
}

/// What a run tells of the content of a storage.
pub(crate) struct Ran<'a> {
    pub(crate) began: DateTime<Utc>,
    /// It chose from all blobs that there are.
    pub(crate) saw_all: bool,
    /// What it found damaged, or could not read.
    pub(crate) damaged: Vec<Digest>,
    /// Whether it read a blob and found it good.
    pub(crate) is_good: &'a dyn Fn(&Digest) -> bool,
}

impl State {
    /// That of the first run, which `began` then and looked at all.
    fn first(root: &Path, began: DateTime<Utc>) -> Self {
        let time = (began - SLACK).trunc_subsecs(0);
        Self { tool: "reg-check".to_owned(), schema: 1, root: root.display().to_string(), time, damaged: BTreeSet::new() }
    }

    /// What is known after a run that followed on `before`. Where it did not look at all of the storage what it skipped has to be read by the
    /// next one; none where that is everything.
    pub(crate) fn after(before: Option<Self>, root: &Path, ran: &Ran<'_>) -> Option<Self> {
        let mut state = if ran.saw_all { Self::first(root, ran.began) } else { before.clone()? };
        state.damaged = before.map(|before| before.damaged).unwrap_or_default();
        state.damaged.retain(|digest| !(ran.is_good)(digest));
        state.damaged.extend(ran.damaged.iter().cloned());
        Some(state)
    }

    /// Reads the file; none where there is none, as before the first run.
    pub(crate) fn read(file: &Path, root: &Path) -> anyhow::Result<Option<Self>> {
        let shown = file.display();
        let text = match fs::read(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("--since {shown}")),
        };
        let state: Self = serde_json::from_slice(&text).with_context(|| {
            format!("--since {shown}: is no state that reg-check has written; name another file, or remove it to read everything once")
        })?;
        if state.tool != "reg-check" || state.schema != 1 {
            bail!("--since {shown}: was written by another version of reg-check, or another tool; name another file");
        }
        if Path::new(&state.root) != root {
            bail!("--since {shown}: is of the storage {}, and this is {}; give each its own file", state.root, root.display());
        }
        Ok(Some(state))
    }

    /// That it can be written when all is done, found out before anything is.
    pub(crate) fn check(file: &Path) -> anyhow::Result<()> {
        tempfile::NamedTempFile::new_in(folder_of(&target(file)))
            .with_context(|| format!("--since {}: could not be written", file.display()))?;
        Ok(())
    }

    /// Writes the file whole, or leaves the old one. Where a symbolic link leads to it, that stays.
    pub(crate) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let written = || -> anyhow::Result<()> {
            let file = target(file);
            let folder = folder_of(&file);
            let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
            writeln!(temporary, "{}", serde_json::to_string(self)?)?;
            temporary.as_file().sync_all()?;
            temporary.persist(&file)?;
            Ok(File::open(folder)?.sync_all()?)
        };
        written()
            .with_context(|| format!("--since {}: the state could not be written, and the next run reads the same again", file.display()))
    }
}

/// The file itself, where a symbolic link leads to it.
fn target(file: &Path) -> PathBuf {
    file.canonicalize().unwrap_or_else(|_| file.to_owned())
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_of_its_storage() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.json");
        let root = Path::new("/srv/registry");
        assert_eq!(State::read(&file, root).unwrap(), None);
        let began = DateTime::from_timestamp(1_800_000_000, 5).unwrap();
        let ran = Ran { began, saw_all: true, damaged: vec![Digest::of(b"x")], is_good: &|_| false };
        let state = State::after(None, root, &ran).unwrap();
        state.write(&file).unwrap();
        state.write(&file).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let read = State::read(&file, root).unwrap().unwrap();
        assert_eq!(read, state);
        assert_eq!(began - read.time, SLACK + TimeDelta::nanoseconds(5));
        assert!(State::read(&file, Path::new("/other")).unwrap_err().to_string().contains("is of the storage /srv/registry"));
        for rubbish in ["", "{", "{}", r#"{"tool":"x","schema":1,"root":"/srv/registry","time":"2026-01-01T00:00:00Z","damaged":[]}"#] {
            fs::write(&file, rubbish).unwrap();
            assert!(State::read(&file, root).is_err(), "{rubbish:?}");
        }
    }

    #[test]
    fn what_was_not_looked_at_is_not_taken_for_read() {
        let root = Path::new("/srv/registry");
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let [bad, mended, new] = [b"bad", b"old", b"new"].map(|bytes| Digest::of(bytes));
        let is_good = |digest: &Digest| *digest == mended;
        let ran = |began, saw_all, damaged: &[&Digest]| Ran {
            began: at(began),
            saw_all,
            damaged: damaged.iter().map(|digest| (*digest).clone()).collect(),
            is_good: &is_good,
        };
        assert_eq!(State::after(None, root, &ran(1000, false, &[&bad])), None, "the first run reads all");
        let first = State::after(None, root, &ran(1000, true, &[&bad])).unwrap();
        let first = State { damaged: [bad.clone(), mended.clone()].into(), ..first };
        // What is bad and was not read, or is not there for now, stays to be read.
        for (saw_all, time) in [(true, at(2000) - SLACK), (false, at(1000) - SLACK)] {
            let next = State::after(Some(first.clone()), root, &ran(2000, saw_all, &[&new])).unwrap();
            assert_eq!((next.time, next.damaged), (time, [bad.clone(), new.clone()].into()));
        }
    }
}
