//! Open folders: listed, read and looked at, never through a symbolic link.
//!
//! A path below an open folder is short, so that a million of them are looked up fast; and a link that leads out of the tree leads
//! nowhere. Everything that is not there is `None`, because a registry at work removes things while we look.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;

/// How much of a folder is read at once.
const PAGE: usize = 1 << 15;

/// An open folder.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
}

/// What an entry of a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A regular file.
    File,
    /// Anything else: a symbolic link, a device, a socket.
    Other,
}

/// What is known of a file or folder without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// What it is.
    pub kind: Kind,
    /// Bytes.
    pub size: u64,
    /// When its content was changed last.
    pub modified: SystemTime,
    /// When it was changed last in any way: a rename is one.
    pub changed: SystemTime,
    /// The filesystem that it is on.
    pub device: u64,
    /// Its owner.
    pub user: u32,
    /// Its group.
    pub group: u32,
    /// Its permission bits.
    pub mode: u32,
    /// How many names it has; of a folder on most filesystems the number of folders in it and 2.
    pub links: u64,
}

impl Folder {
    /// Opens a folder by its path, through whatever links that has.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { fd })
    }

    /// Opens a folder below this one; `None` where there is none.
    ///
    /// # Errors
    /// What the system says; [`is_symlink_error`] where a component of the path is a symbolic link.
    pub fn folder(&self, path: &str) -> io::Result<Option<Self>> {
        found(open_beneath(self.fd.as_fd(), path, OFlags::RDONLY | OFlags::DIRECTORY)).map(|fd| fd.map(|fd| Self { fd }))
    }

    /// Opens a folder in this one by its name, which need not be text; `None` where there is none.
    ///
    /// # Errors
    /// As [`Self::folder`].
    pub fn entry(&self, name: &[u8]) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        found(rustix::fs::openat(&self.fd, name, flags, Mode::empty())).map(|fd| fd.map(|fd| Self { fd }))
    }

    /// Tells the name and kind of each entry.
    ///
    /// # Errors
    /// What the system says.
    pub fn list(&self, mut entry: impl FnMut(&[u8], Kind)) -> io::Result<()> {
        let mut page = [MaybeUninit::uninit(); PAGE];
        // A folder that was listed before stands at its end.
        rustix::fs::seek(&self.fd, rustix::fs::SeekFrom::Start(0))?;
        let mut entries = RawDir::new(&self.fd, &mut page);
        while let Some(next) = entries.next() {
            let next = next?;
            let name = next.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let kind = match next.file_type() {
                FileType::Directory => Kind::Folder,
                FileType::RegularFile => Kind::File,
                // Some filesystems do not say.
                FileType::Unknown => match rustix::fs::statat(&self.fd, next.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => kind_of(stat.st_mode),
                    Err(Errno::NOENT) => continue,
                    Err(error) => return Err(error.into()),
                },
                _ => Kind::Other,
            };
            entry(name, kind);
        }
        Ok(())
    }

    /// What is known of what lies at a path, of a symbolic link as such; `None` where nothing is.
    ///
    /// # Errors
    /// What the system says.
    pub fn status(&self, path: &str) -> io::Result<Option<Status>> {
        Ok(found(rustix::fs::statat(&self.fd, path, AtFlags::SYMLINK_NOFOLLOW))?.map(|stat| status(&stat)))
    }

    /// What is known of this folder itself.
    ///
    /// # Errors
    /// What the system says.
    pub fn own_status(&self) -> io::Result<Status> {
        Ok(status(&rustix::fs::fstat(&self.fd)?))
    }

    /// Reads a file into `buffer`, which is emptied first, as far as `limit` bytes and one; `false` where there is none.
    ///
    /// # Errors
    /// What the system says, and what is no regular file.
    pub fn read(&self, path: &str, limit: usize, buffer: &mut Vec<u8>) -> io::Result<bool> {
        buffer.clear();
        let Some(file) = self.file(path)? else { return Ok(false) };
        read_to(file.as_fd(), limit, buffer)?;
        Ok(true)
    }

    /// Reads a file as [`Self::read`] does, and tells when it was written.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_with_status(&self, path: &str, limit: usize, buffer: &mut Vec<u8>) -> io::Result<Option<Status>> {
        buffer.clear();
        let Some(file) = self.file(path)? else { return Ok(None) };
        let status = status(&rustix::fs::fstat(&file)?);
        read_to(file.as_fd(), limit, buffer)?;
        Ok(Some(status))
    }

    /// Opens a file, to read it piece by piece; `None` where there is none.
    ///
    /// # Errors
    /// What the system says.
    pub fn open_file(&self, path: &str) -> io::Result<Option<std::fs::File>> {
        Ok(self.file(path)?.map(std::fs::File::from))
    }

    /// Opens a file to be read.
    fn file(&self, path: &str) -> io::Result<Option<OwnedFd>> {
        // Without waiting for the other end of what may be a pipe.
        found(open_beneath(self.fd.as_fd(), path, OFlags::RDONLY | OFlags::NONBLOCK))
    }

    /// The folder itself, for a tool that changes what is in it.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether an error says that a symbolic link stood in the way.
#[must_use]
pub fn is_symlink_error(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}

fn read_to(file: BorrowedFd<'_>, limit: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.reserve(4096);
    while buffer.len() <= limit {
        if buffer.len() == buffer.capacity() {
            buffer.reserve(buffer.len());
        }
        let room = buffer.capacity() - buffer.len();
        match rustix::io::read(file, rustix::buffer::spare_capacity(buffer)) {
            // A regular file gives less than it is asked for at its end alone.
            Ok(read) if read < room => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Opens what lies below a folder, without following a symbolic link on the way.
fn open_beneath(folder: BorrowedFd<'_>, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::BENEATH;
    match rustix::fs::openat2(folder, path, flags, Mode::empty(), resolve) {
        // An old kernel, or a sandbox that does not know this call: step by step.
        Err(Errno::NOSYS | Errno::PERM) => {}
        // A folder was asked for, and the last component is a link.
        Err(Errno::NOTDIR) if is_link(folder, path) => return Err(Errno::LOOP),
        other => return other,
    }
    if path.split('/').any(|step| step == "..") {
        return Err(Errno::XDEV);
    }
    let mut steps = path.split('/').filter(|step| !step.is_empty() && *step != ".").peekable();
    let mut at: Option<OwnedFd> = None;
    while let Some(step) = steps.next() {
        let from = at.as_ref().map_or(folder, |fd| fd.as_fd());
        let kind = if steps.peek().is_some() { OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC } else { flags };
        let next = match rustix::fs::openat(from, step, kind, Mode::empty()) {
            Err(Errno::NOTDIR) if is_link(from, step) => return Err(Errno::LOOP),
            other => other?,
        };
        at = Some(next);
    }
    at.map_or_else(|| rustix::io::fcntl_dupfd_cloexec(folder, 0), Ok)
}

fn is_link(folder: BorrowedFd<'_>, path: &str) -> bool {
    rustix::fs::statat(folder, path, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

fn found<T>(result: rustix::io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn kind_of(mode: u32) -> Kind {
    match FileType::from_raw_mode(mode) {
        FileType::Directory => Kind::Folder,
        FileType::RegularFile => Kind::File,
        _ => Kind::Other,
    }
}

fn status(stat: &rustix::fs::Stat) -> Status {
    Status {
        kind: kind_of(stat.st_mode),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified: time(stat.st_mtime, stat.st_mtime_nsec),
        changed: time(stat.st_ctime, stat.st_ctime_nsec),
        device: stat.st_dev,
        user: stat.st_uid,
        group: stat.st_gid,
        mode: stat.st_mode & 0o7777,
        links: stat.st_nlink,
    }
}

fn time(seconds: i64, nanoseconds: u64) -> SystemTime {
    let nanoseconds = Duration::from_nanos(nanoseconds);
    match u64::try_from(seconds) {
        Ok(seconds) => SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + nanoseconds,
        Err(_) => SystemTime::UNIX_EPOCH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_there_is_listed_and_read_and_links_lead_nowhere() {
        let temporary = tempfile::tempdir().unwrap();
        let at = |path: &str| temporary.path().join(path);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/file"), "content").unwrap();
        fs::write(at("a/large"), vec![b'x'; 100_000]).unwrap();
        symlink("b", at("a/to-folder")).unwrap();
        symlink("file", at("a/to-file")).unwrap();
        symlink("/", at("out")).unwrap();

        let root = Folder::open(temporary.path()).unwrap();
        let folder = root.folder("a").unwrap().unwrap();
        for _ in 0..2 {
            let mut entries = Vec::new();
            folder.list(|name, kind| entries.push((String::from_utf8_lossy(name).into_owned(), kind))).unwrap();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            let expected =
                [("b", Kind::Folder), ("file", Kind::File), ("large", Kind::File), ("to-file", Kind::Other), ("to-folder", Kind::Other)];
            assert_eq!(entries, expected.map(|(name, kind)| (name.to_owned(), kind)));
        }
        let mut buffer = Vec::new();
        assert!(folder.read("file", 100, &mut buffer).unwrap());
        assert_eq!(buffer, b"content");
        assert!(folder.read("large", 200_000, &mut buffer).unwrap());
        assert_eq!(buffer.len(), 100_000);
        assert!(folder.read("large", 50, &mut buffer).unwrap() && buffer.len() > 50, "one can see that it is longer");
        assert!(!folder.read("nothing", 100, &mut buffer).unwrap() && buffer.is_empty());
        assert!(is_symlink_error(&folder.read("to-file", 100, &mut buffer).unwrap_err()));
        assert!(root.folder("a/nothing").unwrap().is_none());
        for link in ["a/to-folder", "out", "out/etc"] {
            assert!(is_symlink_error(&root.folder(link).unwrap_err()), "{link}");
        }
        for behind_a_link in ["a/to-folder/file", "out/etc/passwd"] {
            assert!(is_symlink_error(&root.read(behind_a_link, 100, &mut buffer).unwrap_err()), "{behind_a_link}");
        }
        assert!(root.folder("a/b").unwrap().is_some());
        assert_eq!(folder.status("file").unwrap().unwrap().size, 7);
        assert_eq!(folder.status("to-file").unwrap().unwrap().kind, Kind::Other);
        assert_eq!(folder.status("none").unwrap(), None);
        assert_eq!(folder.own_status().unwrap().kind, Kind::Folder);
    }
}
