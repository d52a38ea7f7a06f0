//! Links written and things moved, each whole or not at all: what is new is written beside its place, synced, and renamed.
//!
//! Folders are opened step by step and never through a symbolic link. What is made belongs to whom its folder belongs to: the registry
//! may run as another user than we do.

use std::fs::{File, FileTimes};
use std::io::{self, Write as _};

use common::beside::runs::{self, Run};
use common::store::folder::{Folder, Kind, Status};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

/// The largest file that is taken for a link: a damaged one may hold anything.
const LARGEST: usize = 64 << 10;

/// What a file holds; `None` where there is none.
pub(crate) fn read(root: &Folder, path: &str) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    if !root.read(path, LARGEST, &mut bytes)? {
        return Ok(None);
    }
    if bytes.len() > LARGEST {
        return Err(io::Error::other(format!("it has more than the {LARGEST} bytes that a link may have by far")));
    }
    Ok(Some(bytes))
}

/// A path's folder and name.
pub(crate) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or((".", path))
}

/// The folders on the way to a path that are not there, the highest first.
pub(crate) fn missing_folders(root: &Folder, path: &str) -> io::Result<Vec<String>> {
    let mut missing = Vec::new();
    let mut at = split(path).0;
    while at != "." && root.status(at)?.is_none() {
        missing.push(at.to_owned());
        at = split(at).0;
    }
    missing.reverse();
    Ok(missing)
}

/// Makes a folder as the one is in which it lies. That it is there already is as well.
pub(crate) fn make_folder(root: &Folder, path: &str) -> io::Result<()> {
    let (above, name) = split(path);
    let above = root.folder(above)?.ok_or(io::ErrorKind::NotFound)?;
    let like = above.own_status()?;
    match rustix::fs::mkdirat(above.fd(), name, Mode::from_raw_mode(like.mode)) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let made = above.folder(name)?.ok_or(io::ErrorKind::NotFound)?;
    own(made.fd(), &like, like.mode)?;
    sync(&above)
}

/// Gives something to whom another thing belongs, with these permissions.
fn own(file: impl std::os::fd::AsFd, like: &Status, mode: u32) -> io::Result<()> {
    runs::give(&file, like)?;
    Ok(rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?)
}

/// Makes a file for what a folder is to hold, with the folder's owner, and as readable as it.
pub(crate) fn create(folder: &Folder, name: &str, like: &Status) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder.fd(), name, flags, Mode::from_raw_mode(0o600))?;
    own(&file, like, like.mode & 0o666)?;
    Ok(file.into())
}

/// Writes a file in the place of one that holds `before`, or where there is none; `false` where it holds something else by now.
///
/// It keeps the time and the permissions of the one in its place: what a tag remembers is told apart by its time, and a link that was
/// only mended must not be the newest.
pub(crate) fn write(root: &Folder, path: &str, bytes: &[u8], before: Option<&[u8]>) -> io::Result<bool> {
    let (above, name) = split(path);
    let folder = root.folder(above)?.ok_or(io::ErrorKind::NotFound)?;
    // As registries name theirs, so that a crash leaves what is known as a leftover.
    let temporary = format!("{name}.{}.tmp", std::process::id());
    let written = (|| {
        let like = folder.own_status()?;
        let mut file = create(&folder, &temporary, &like)?;
        file.write_all(bytes)?;
        if let Some(old) = folder.status(name)?.filter(|old| before.is_some() && old.kind == Kind::File) {
            rustix::fs::fchmod(&file, Mode::from_raw_mode(old.mode & 0o777))?;
            file.set_times(FileTimes::new().set_modified(old.modified))?;
        }
        file.sync_all()?;
        // A push may have come meanwhile.
        if read(&folder, name)?.as_deref() != before {
            return Ok(false);
        }
        match before {
            Some(_) => rustix::fs::renameat(folder.fd(), temporary.as_str(), folder.fd(), name)?,
            None => match runs::rename_new(&folder, &temporary, &folder, name) {
                Err(Errno::EXIST) => return Ok(false),
                other => other?,
            },
        }
        sync(&folder)?;
        Ok(true)
    })();
    if !matches!(written, Ok(true)) {
        let _ = rustix::fs::unlinkat(folder.fd(), temporary.as_str(), AtFlags::empty());
    }
    written
}

/// Takes away the files beside a link that we were killed over. Those of registries have other names, and nobody else of us is at work.
pub(crate) fn sweep(root: &Folder, path: &str) -> io::Result<()> {
    let (above, name) = split(path);
    let Some(folder) = root.folder(above)? else { return Ok(()) };
    let mut ours = Vec::new();
    folder.list(|entry, kind| {
        let number = std::str::from_utf8(entry).ok().and_then(|entry| entry.strip_prefix(name)?.strip_prefix('.')?.strip_suffix(".tmp"));
        if kind == Kind::File && number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())) {
            ours.push(entry.to_owned());
        }
    })?;
    for entry in ours {
        rustix::fs::unlinkat(folder.fd(), entry.as_slice(), AtFlags::empty())?;
    }
    Ok(())
}

/// Moves a folder or file to the same path in the folder of a run; `false` where it is not there.
pub(crate) fn move_away(root: &Folder, run: &Run, path: &str) -> io::Result<bool> {
    let (above, name) = split(path);
    let Some(from) = root.folder(above)? else { return Ok(false) };
    let to = run.mirror(root, above)?;
    match runs::rename_new(&from, name, &to, name) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    sync(&to)?;
    sync(&from)?;
    Ok(true)
}

/// Sees that what was renamed in a folder outlives a power cut.
pub(crate) fn sync(folder: &Folder) -> io::Result<()> {
    match rustix::fs::fsync(folder.fd()) {
        // Some filesystems know no such thing of folders.
        Ok(()) | Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_written_is_whole_and_only_where_nobody_was_faster() {
        let temporary = tempfile::tempdir().unwrap();
        let root = Folder::open(temporary.path()).unwrap();
        assert_eq!(missing_folders(&root, "a/b/link").unwrap(), ["a", "a/b"]);
        fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o750)).unwrap();
        for folder in ["a", "a/b"] {
            make_folder(&root, folder).unwrap();
        }
        let content = || fs::read_to_string(temporary.path().join("a/b/link")).unwrap();
        assert!(write(&root, "a/b/link", b"1", None).unwrap());
        assert!(!write(&root, "a/b/link", b"2", None).unwrap(), "it is there by now");
        assert!(!write(&root, "a/b/link", b"2", Some(b"0")).unwrap(), "it holds something else by now");
        assert_eq!(content(), "1");
        let path = temporary.path().join("a/b/link");
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1_700_000_000, 5);
        fs::File::open(&path).unwrap().set_modified(time).unwrap();
        assert!(write(&root, "a/b/link", b"2", Some(b"1")).unwrap());
        assert_eq!(content(), "2");
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), time, "as old as what it replaces");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        assert!(write(&root, "a/b/link", b"3", Some(b"2")).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o604, "as readable as what it replaces");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let mode = |path: &str| fs::metadata(temporary.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("a/b"), mode("a/b/link")), (0o750, 0o640));
        let count = || fs::read_dir(temporary.path().join("a/b")).unwrap().count();
        assert_eq!(count(), 1, "no temporary file is left");
        for name in ["link.17.tmp", "link.tmp", "link.0a-1.tmp"] {
            fs::write(temporary.path().join("a/b").join(name), "").unwrap();
        }
        sweep(&root, "a/b/link").unwrap();
        sweep(&root, "none/link").unwrap();
        assert_eq!(count(), 3, "only what is ours goes");
    }
}
