//! What runs of a tool that changes a storage tree took away, in the same folders below the run's own folder as it had below the root.
//!
//! It lies outside of `docker/registry/v2`, where a stray name makes Distribution's own collector give up. A rename moves whole folders
//! with all that they hold, so that what comes back is what went, byte for byte. The folders on the way are made as their originals are: a registry that runs as
//! another user must be able to write in what comes back.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use anyhow::Context as _;
use chrono::{DateTime, NaiveDateTime, Utc};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::Errno;

use crate::store::folder::{Folder, Kind, Status, is_symlink_error};
use crate::store::layout;

/// What a run has written about itself.
pub const JOURNAL: &str = "journal.jsonl";
/// How the name of a run begins that is being removed for good, so that nobody takes half of it back.
const DOOMED: &str = "removing-";
/// How a run is called: when it began.
const NAME: &str = "%Y%m%dT%H%M%SZ";

/// Where a tool keeps its runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runs {
    /// The folder, relative to the root.
    pub path: &'static str,
}

/// One run.
#[derive(Debug)]
pub struct Run {
    /// Its name.
    pub name: String,
    folder: Folder,
}

/// A run that there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// Its name.
    pub name: String,
    /// When it began.
    pub began: DateTime<Utc>,
}

/// What a purge did.
#[derive(Debug, Default)]
pub struct Purged {
    /// The bytes of the files that went, without those of journals.
    pub bytes: u64,
    /// How many runs went.
    pub runs: u64,
    /// What could not be removed, and why. The next purge tries it again.
    pub failed: Vec<String>,
}

impl Runs {
    /// Begins a run.
    ///
    /// # Errors
    /// A folder that cannot be made, and a folder on another filesystem than what would be moved there.
    pub fn begin(&self, root: &Folder, now: DateTime<Utc>) -> anyhow::Result<Run> {
        let trash = make_own(root, self.path).with_context(|| format!("making {}", self.path)).map_err(with_way_out)?;
        let device = trash.own_status()?.device;
        for path in [layout::BLOBS, layout::REPOSITORIES] {
            if root.status(path)?.is_some_and(|status| status.device != device) {
                anyhow::bail!(
                    "{path} is on another filesystem than {}, so that nothing can be moved there: mount the whole tree as one",
                    self.path
                );
            }
        }
        let first = now.format(NAME).to_string();
        for attempt in 0..100 {
            let name = if attempt == 0 { first.clone() } else { format!("{first}-{attempt}") };
            match rustix::fs::mkdirat(trash.fd(), name.as_str(), Mode::from_raw_mode(0o700)) {
                Ok(()) => {
                    let run = Run::of(&trash, name).with_context(|| format!("opening {}", self.path))?;
                    give(run.folder.fd(), &root.own_status()?)?;
                    return Ok(run);
                }
                Err(Errno::EXIST) => {}
                Err(error) => {
                    return Err(io::Error::from(error)).with_context(|| format!("making {}/{name}", self.path)).map_err(with_way_out);
                }
            }
        }
        anyhow::bail!("{} holds a hundred runs of this very second", self.path)
    }

    /// Opens a run that there is.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(&self, root: &Folder, name: &str) -> io::Result<Option<Run>> {
        let trash = root.folder(self.path)?;
        trash.map(|trash| Run::of(&trash, name.to_owned())).transpose()
    }

    /// The runs that there are, the oldest first.
    ///
    /// # Errors
    /// What the system says.
    pub fn kept(&self, root: &Folder) -> io::Result<Vec<Begun>> {
        let Some(folder) = root.folder(self.path)? else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        folder.list(|name, kind| {
            if let (Kind::Folder, Ok(name)) = (kind, std::str::from_utf8(name)) {
                names.push(name.to_owned());
            }
        })?;
        let mut runs: Vec<Begun> = names.into_iter().filter_map(|name| Some(Begun { began: began(&folder, &name)?, name })).collect();
        runs.sort_by(|a, b| a.began.cmp(&b.began).then_with(|| a.name.cmp(&b.name)));
        Ok(runs)
    }

    /// Removes a run for good. Gives back the bytes of the files that went.
    ///
    /// # Errors
    /// What the system says; what is left of it is removed by the next purge.
    pub fn remove(&self, root: &Folder, name: &str) -> io::Result<u64> {
        let Some(trash) = root.folder(self.path)? else { return Ok(0) };
        let doomed = if name.starts_with(DOOMED) { name.to_owned() } else { format!("{DOOMED}{name}") };
        if doomed != name {
            match rustix::fs::renameat(trash.fd(), name, trash.fd(), doomed.as_str()) {
                Ok(()) => {}
                Err(Errno::NOENT) => return Ok(0),
                Err(error) => return Err(error.into()),
            }
        }
        remove_tree(&trash, doomed.as_bytes())
    }

    /// Removes what is older than `before`, and what an earlier purge left.
    ///
    /// # Errors
    /// A folder that cannot be listed.
    pub fn purge(&self, root: &Folder, before: DateTime<Utc>) -> io::Result<Purged> {
        let mut purged = Purged::default();
        let Some(trash) = root.folder(self.path)? else { return Ok(purged) };
        let mut names = Vec::new();
        trash.list(|name, _| {
            if let Ok(name) = std::str::from_utf8(name) {
                names.push(name.to_owned());
            }
        })?;
        for name in names {
            if name.starts_with(DOOMED) || began(&trash, &name).is_some_and(|began| began < before) {
                match self.remove(root, &name) {
                    Ok(bytes) => (purged.bytes, purged.runs) = (purged.bytes + bytes, purged.runs + 1),
                    Err(error) => purged.failed.push(format!("{}/{name} could not be removed: {error}", self.path)),
                }
            }
        }
        Ok(purged)
    }
}

impl Run {
    fn of(trash: &Folder, name: String) -> io::Result<Self> {
        let folder = trash.folder(&name)?.ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { name, folder })
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Its journal, to be appended to.
    ///
    /// # Errors
    /// What the system says.
    pub fn journal(&self) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let journal = rustix::fs::openat(self.folder.fd(), JOURNAL, flags, Mode::from_raw_mode(0o600))?;
        give(&journal, &self.folder.own_status()?)?;
        Ok(journal.into())
    }

    /// Makes the folders of a path as they are below the root, and opens the last.
    ///
    /// # Errors
    /// What the system says.
    pub fn mirror(&self, root: &Folder, path: &str) -> io::Result<Folder> {
        mirror(root, &self.folder, path)
    }
}

/// Makes a folder below the root, if it is not there, that only its owner may enter: the root's owner, whoever we are.
///
/// # Errors
/// What the system says.
pub fn make_own(root: &Folder, path: &str) -> io::Result<Folder> {
    let mut made = String::new();
    let like = root.own_status()?;
    for step in path.split('/') {
        if !made.is_empty() {
            made.push('/');
        }
        made.push_str(step);
        match rustix::fs::mkdirat(root.fd(), made.as_str(), Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        // One that is there may have been made by a version that kept it to root.
        give(root.folder(&made)?.ok_or(io::ErrorKind::NotFound)?.fd(), &like)?;
    }
    root.folder(path)?.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Gives what we made to whom another thing belongs: a run as root must not lock the registry's user out of the next.
///
/// # Errors
/// What the system says of looking at it.
pub fn give(made: impl AsFd, like: &Status) -> io::Result<()> {
    let stat = rustix::fs::fstat(&made)?;
    if (stat.st_uid, stat.st_gid) != (like.user, like.group) {
        // Only root may give things away; who is not root made it as its own, which is the registry's then.
        let _ = rustix::fs::fchown(&made, Some(Uid::from_raw(like.user)), Some(Gid::from_raw(like.group)));
    }
    Ok(())
}

/// An error of what lies beside the tree, with the way out where there is one.
#[must_use]
pub fn with_way_out(error: anyhow::Error) -> anyhow::Error {
    let cause = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
    let way_out = match cause {
        Some(cause) if cause.kind() == io::ErrorKind::PermissionDenied => {
            "it belongs to somebody else: run it as the registry's user, or as root, which gives what it makes to the owner of the storage"
        }
        Some(cause) if is_symlink_error(cause) => "it is a symbolic link, which is not followed: put a folder in its place",
        _ => return error,
    };
    anyhow::anyhow!("{error:#}; {way_out}")
}

/// Makes the folders of `path` below `to`, with owners and permissions as they have below `from`, and opens the last.
///
/// # Errors
/// What the system says.
pub fn mirror(from: &Folder, to: &Folder, path: &str) -> io::Result<Folder> {
    if let Some(folder) = to.folder(path)? {
        return Ok(folder);
    }
    // Most of the way is there, so it is looked for from its end.
    let (above, name) = match path.rsplit_once('/') {
        Some((parent, name)) => (Some(mirror(from, to, parent)?), name),
        None => (None, path),
    };
    let above = above.as_ref().unwrap_or(to);
    let original = from.status(path)?;
    let mode = Mode::from_raw_mode(original.map_or(0o755, |original| original.mode));
    let is_new = match rustix::fs::mkdirat(above.fd(), name, mode) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(error) => return Err(error.into()),
    };
    let folder = above.folder(name)?.ok_or(io::ErrorKind::NotFound)?;
    if let Some(original) = original.filter(|_| is_new) {
        let made = folder.own_status()?;
        let is_others = (made.user, made.group) != (original.user, original.group);
        give(folder.fd(), &original)?;
        // Our umask took bits away, and a change of the owner takes others.
        if is_others || made.mode != original.mode {
            rustix::fs::fchmod(folder.fd(), mode)?;
        }
    }
    Ok(folder)
}

/// When a run began, as its name says; where that is still to come, because a clock was wrong, its folder says it.
fn began(trash: &Folder, name: &str) -> Option<DateTime<Utc>> {
    let time = NaiveDateTime::parse_from_str(name.split('-').next()?, NAME).ok()?.and_utc();
    if time <= Utc::now() {
        return Some(time);
    }
    let status = trash.status(name).ok().flatten();
    Some(status.map_or(time, |status| status.modified.into()))
}

/// Removes a folder and all that is in it, never through a symbolic link. Gives back the bytes of the files that went, without those of
/// the journal.
fn remove_tree(parent: &Folder, name: &[u8]) -> io::Result<u64> {
    let Some(folder) = parent.entry(name)? else { return Ok(0) };
    let mut entries = Vec::new();
    folder.list(|name, kind| entries.push((name.to_owned(), kind)))?;
    let mut bytes = 0;
    for (name, kind) in entries {
        if kind == Kind::Folder {
            bytes += remove_tree(&folder, &name)?;
            continue;
        }
        let name = name.as_slice();
        if kind == Kind::File && name != JOURNAL.as_bytes() {
            let status = rustix::fs::statat(folder.fd(), name, AtFlags::SYMLINK_NOFOLLOW);
            bytes += status.map_or(0, |stat| if stat.st_nlink == 1 { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 });
        }
        gone(rustix::fs::unlinkat(folder.fd(), name, AtFlags::empty()))?;
    }
    gone(rustix::fs::unlinkat(parent.fd(), name, AtFlags::REMOVEDIR))?;
    Ok(bytes)
}

/// What is gone already is as good as removed.
fn gone(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Moves a folder or file from one folder to another.
///
/// # Errors
/// What the system says.
pub fn rename(from: &Folder, name: &str, to: &Folder) -> rustix::io::Result<()> {
    rustix::fs::renameat(from.fd().as_fd(), name, to.fd().as_fd(), name)
}

/// Moves a folder or file to where nothing is.
///
/// # Errors
/// [`Errno::EXIST`] where something is, and what else the system says.
pub fn rename_new(from: &Folder, name: &str, to: &Folder, new: &str) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(from.fd(), name, to.fd(), new, RenameFlags::NOREPLACE) {
        // Where the filesystem does not know the flag.
        Err(Errno::INVAL | Errno::NOSYS) => match to.status(new) {
            Ok(None) => rustix::fs::renameat(from.fd(), name, to.fd(), new),
            _ => Err(Errno::EXIST),
        },
        other => other,
    }
}

/// Removes a folder that is empty; `false` where it is not.
///
/// # Errors
/// What the system says.
pub fn remove_empty(folder: &Folder, path: &str) -> io::Result<bool> {
    match rustix::fs::unlinkat(folder.fd(), path, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
