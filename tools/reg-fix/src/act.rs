//! Carries one step out: says so in the journal, does it, and says how it ended.

use std::collections::BTreeMap;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use common::beside::runs::{self, Run};
use common::check::scene::data_of;
use common::digest::Digest;
use common::record::{Repair, RepairAction, RepairResult};
use common::store::folder::Folder;
use common::store::layout;
use rustix::fs::AtFlags;

use crate::fetch::Mirror;
use crate::files;
use crate::journal::Journal;
use crate::memory::Memory;
use crate::plan::{Act, Forget, Step};

/// Where a run keeps what it fetched until that is in its place.
const FETCHED: &str = "fetched";

/// What acting takes.
pub(crate) struct Acting<'a> {
    pub(crate) root: &'a Folder,
    pub(crate) run: &'a Run,
    pub(crate) journal: Journal,
    pub(crate) mirror: Option<&'a Mirror>,
    pub(crate) memory: &'a Memory,
    /// The repositories that name what is fetched.
    pub(crate) named: BTreeMap<Digest, Vec<String>>,
    /// What the registry was told to forget.
    pub(crate) forgotten: Vec<Forget>,
    /// What was fetched.
    pub(crate) fetched: Vec<Digest>,
    /// What could not be fetched: from how many of the repositories that name it, and why.
    pub(crate) vain: BTreeMap<Digest, (usize, String)>,
    /// What was fetched, or moved away.
    pub(crate) changed: Vec<Digest>,
}

impl Acting<'_> {
    /// Carries a step out, and gives its record.
    ///
    /// # Errors
    /// A journal that cannot be written, and a cache that cannot be told: nothing more is done then.
    pub(crate) fn carry(&mut self, step: &Step) -> anyhow::Result<Repair> {
        let record = &step.record;
        let path = record.path.clone().unwrap_or_default();
        let outcome = match &step.act {
            Act::None => return Ok(record.clone()),
            Act::Folder => self.folder(record, &path)?,
            Act::Move => self.move_away(step, &path)?,
            Act::Link { to } => self.link(record, &path, to)?,
            Act::Fetch { digest, is_manifest, size } => {
                let outcome = self.fetch(record, &path, digest, *is_manifest, *size)?;
                // The file system may be full of what did not help.
                if outcome.is_err()
                    && let Ok(Some(folder)) = self.run.folder().folder(FETCHED)
                {
                    let _ = rustix::fs::unlinkat(folder.fd(), digest.hex(), AtFlags::empty());
                }
                outcome
            }
        };
        Ok(match outcome {
            Ok(()) => Repair { result: RepairResult::Repaired, ..record.clone() },
            Err(why) => Repair { result: RepairResult::Failed, why: Some(why), ..record.clone() },
        })
    }

    /// Announces something, does it, and notes how it ended.
    fn noted(&mut self, record: &Repair, act: impl FnOnce() -> Result<(), String>) -> anyhow::Result<Result<(), String>> {
        self.journal.write(&Repair { result: RepairResult::Started, ..record.clone() })?;
        let outcome = act();
        let (result, why) = match &outcome {
            Ok(()) => (RepairResult::Repaired, record.why.clone()),
            Err(why) => (RepairResult::Failed, Some(why.clone())),
        };
        self.journal.write(&Repair { result, why, ..record.clone() })?;
        Ok(outcome)
    }

    fn folder(&mut self, record: &Repair, path: &str) -> anyhow::Result<Result<(), String>> {
        let root = self.root;
        match root.status(path) {
            Ok(None) => {}
            Ok(Some(_)) => return Ok(Ok(())),
            Err(error) => return Ok(Err(error.to_string())),
        }
        self.noted(record, || files::make_folder(root, path).map_err(|error| error.to_string()))
    }

    /// Makes the folders on the way to a path, each with a line of its own in the journal.
    fn way(&mut self, record: &Repair, path: &str) -> anyhow::Result<Result<(), String>> {
        let missing = match files::missing_folders(self.root, path) {
            Ok(missing) => missing,
            Err(error) => return Ok(Err(error.to_string())),
        };
        for folder in missing {
            let made = Repair { action: RepairAction::Folder, path: Some(folder.clone()), before: None, after: None, ..record.clone() };
            if let Err(why) = self.folder(&made, &folder)? {
                return Ok(Err(why));
            }
        }
        Ok(Ok(()))
    }

    fn link(&mut self, record: &Repair, path: &str, to: &Digest) -> anyhow::Result<Result<(), String>> {
        let root = self.root;
        if !matches!(root.status(&data_of(to)), Ok(Some(_))) {
            return Ok(Err("the content to which it leads is not there".to_owned()));
        }
        let before = match files::read(root, path) {
            Ok(before) => before,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let text = to.to_string();
        if before.as_deref() == Some(text.as_bytes()) {
            return Ok(Ok(()));
        }
        if before.as_ref().map(|bytes| BASE64.encode(bytes)) != record.before {
            return Ok(Err("it changed since it was looked at: somebody pushed, or another tool wrote it".to_owned()));
        }
        if let Err(why) = self.way(record, path)? {
            return Ok(Err(why));
        }
        self.noted(record, || match files::write(root, path, text.as_bytes(), before.as_deref()) {
            Ok(true) => Ok(()),
            Ok(false) => Err("it changed at this very moment: somebody pushed".to_owned()),
            Err(error) => Err(error.to_string()),
        })
    }

    fn move_away(&mut self, step: &Step, path: &str) -> anyhow::Result<Result<(), String>> {
        let record = &step.record;
        self.journal.write(&Repair { result: RepairResult::Started, ..record.clone() })?;
        let outcome = match files::move_away(self.root, self.run, path) {
            Ok(true) => Ok(()),
            Ok(false) => Err("it is not there any more".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        if outcome.is_ok() {
            self.forgotten.extend(step.forget.iter().cloned());
            self.changed.extend(step.forget.iter().filter_map(|item| match item {
                Forget::Blob(digest) => Some(digest.clone()),
                Forget::Link(..) => None,
            }));
            // Before the line that says that it is done, so that of a run that was ended here it is seen that it did not tell it.
            self.memory.forget(&step.forget)?;
        }
        let result = if outcome.is_ok() { RepairResult::Repaired } else { RepairResult::Failed };
        let why = outcome.as_ref().err().cloned().or_else(|| record.why.clone());
        self.journal.write(&Repair { result, why, ..record.clone() })?;
        Ok(outcome)
    }

    fn fetch(
        &mut self,
        record: &Repair,
        path: &str,
        digest: &Digest,
        is_manifest: bool,
        size: Option<u64>,
    ) -> anyhow::Result<Result<(), String>> {
        let Some(mirror) = self.mirror else { return Ok(Err("there is no --from".to_owned())) };
        let (root, run) = (self.root, self.run);
        // Another repository lacked it too, and it is there by now.
        if self.fetched.contains(digest) {
            return Ok(Ok(()));
        }
        let named = self.named.get(digest).map_or(&[][..], Vec::as_slice);
        let (tried, why) = self.vain.get(digest).map_or((0, ""), |(tried, why)| (*tried, why.as_str()));
        // It was asked for in another repository's name, and in this one's too.
        if tried > 0 && tried == named.len() {
            return Ok(Err(why.to_owned()));
        }
        let fetched = (|| -> Result<(), String> {
            let text = |error: io::Error| error.to_string();
            let folder = runs::make_own(run.folder(), FETCHED).map_err(text)?;
            let like = root.folder(layout::BLOBS).and_then(|blobs| blobs.map(|blobs| blobs.own_status()).transpose()).map_err(text)?;
            let like = like.ok_or_else(|| "the folder of the blobs is not there".to_owned())?;
            let mut file = files::create(&folder, &digest.hex(), &like).map_err(text)?;
            mirror.fetch(digest, is_manifest, size, named.get(tried..).unwrap_or_default(), &mut file)
        })();
        if let Err(why) = fetched {
            let why = format!("{why}: push it again, or take away what needs it with --drop and without --from");
            self.vain.insert(digest.clone(), (named.len(), why.clone()));
            return Ok(Err(why));
        }
        // Only now, with the good content at hand, what is bad goes.
        if matches!(root.status(path), Ok(Some(_))) {
            let folder = layout::blob(digest);
            let moved = Repair { action: RepairAction::Quarantine, path: Some(folder.clone()), ..record.clone() };
            let step = Step { record: moved, act: Act::Move, forget: vec![Forget::Blob(digest.clone())] };
            if let Err(why) = self.move_away(&step, &folder)? {
                return Ok(Err(why));
            }
        }
        if let Err(why) = self.way(record, path)? {
            return Ok(Err(why));
        }
        let outcome = self.noted(record, || {
            let placed = (|| {
                let from = run.folder().folder(FETCHED)?.ok_or(io::ErrorKind::NotFound)?;
                let (above, name) = files::split(path);
                let to = root.folder(above)?.ok_or(io::ErrorKind::NotFound)?;
                runs::rename_new(&from, &digest.hex(), &to, name)?;
                files::sync(&to)
            })();
            placed.map_err(|error: io::Error| error.to_string())
        })?;
        if outcome.is_ok() {
            self.changed.push(digest.clone());
            self.fetched.push(digest.clone());
        }
        Ok(outcome)
    }
}
