//! Moves things from the trash back into their places. What is there by now is left alone.

use std::fs::File;
use std::io::{self, Write as _};

use common::digest::Digest;
use common::store::folder::{Folder, Kind};
use common::store::layout;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::trash;

/// What came of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Back {
    /// It lies in its place again.
    Restored,
    /// Something lies in its place already.
    There,
    /// It is not in the trash.
    Absent,
}

/// Moves what lies at `path` below `from` to the same path below `to`. Where a folder is there already, what is in it is moved
/// one by one. Says of each thing that was or was not moved as a whole what came of it.
///
/// # Errors
/// What the system says; what was not moved is still in the trash.
pub(crate) fn put_back(from: &Folder, to: &Folder, path: &str, tell: &mut dyn FnMut(&str, Back) -> io::Result<()>) -> io::Result<Back> {
    let Some(status) = from.status(path)? else { return Ok(Back::Absent) };
    let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
    let target = trash::mirror(from, to, parent)?;
    let source = from.folder(parent)?.ok_or(io::ErrorKind::NotFound)?;
    let there = target.status(name)?;
    if there.is_none_or(|there| there.kind == Kind::Folder && status.kind == Kind::Folder && is_empty(&target, name)) {
        match move_new(&source, name, &target) {
            Ok(()) => {
                tell(path, Back::Restored)?;
                return Ok(Back::Restored);
            }
            Err(Errno::EXIST | Errno::NOTEMPTY) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if status.kind != Kind::Folder {
        tell(path, Back::There)?;
        return Ok(Back::There);
    }
    let mut back = Back::There;
    for name in names(from, path)? {
        if put_back(from, to, &format!("{path}/{name}"), tell)? == Back::Restored {
            back = Back::Restored;
        }
    }
    trash::remove_empty(from, path)?;
    Ok(back)
}

/// The names in a folder, sorted.
pub(crate) fn names(from: &Folder, path: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    if let Some(folder) = from.folder(path)? {
        folder.list(|name, _| names.extend(std::str::from_utf8(name).ok().map(str::to_owned)))?;
    }
    names.sort();
    Ok(names)
}

fn is_empty(folder: &Folder, name: &str) -> bool {
    names(folder, name).is_ok_and(|names| names.is_empty())
}

/// Moves something to where nothing, or an empty folder, is.
fn move_new(from: &Folder, name: &str, to: &Folder) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(from.fd(), name, to.fd(), name, RenameFlags::NOREPLACE) {
        // An empty folder gives way to a plain rename; so does everything where the filesystem does not know the flag, and it was looked
        // at a moment ago.
        Err(Errno::EXIST | Errno::INVAL | Errno::NOSYS)
            if to.status(name).is_ok_and(|there| there.is_none_or(|there| there.kind == Kind::Folder)) =>
        {
            trash::rename(from, name, to)
        }
        other => other,
    }
}

/// Makes the link by which a repository has a layer, which is known by its digest alone.
///
/// # Errors
/// What the system says.
pub(crate) fn make_layer_link(root: &Folder, repository: &str, digest: &Digest) -> io::Result<()> {
    let layers = format!("{}/{}/{}", layout::repository(repository), layout::LAYERS, digest.algorithm());
    let folder = trash::mirror(root, root, &layers)?;
    let owner = folder.own_status()?;
    let name = digest.hex();
    match rustix::fs::mkdirat(folder.fd(), name.as_str(), Mode::from_raw_mode(owner.mode)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let temporary = format!("{name}/{}.reg-gc.tmp", layout::LINK);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(folder.fd(), temporary.as_str(), flags, Mode::from_raw_mode(0o644))?);
    file.write_all(digest.to_string().as_bytes())?;
    file.sync_data()?;
    let (user, group) = (rustix::fs::Uid::from_raw(owner.user), rustix::fs::Gid::from_raw(owner.group));
    for path in [name.as_str(), temporary.as_str()] {
        let _ = rustix::fs::chownat(folder.fd(), path, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW);
    }
    Ok(rustix::fs::renameat(folder.fd(), temporary.as_str(), folder.fd(), format!("{name}/{}", layout::LINK))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_there_by_now_is_left_alone_and_the_rest_comes_back() {
        let temporary = tempfile::tempdir().unwrap();
        let at = |path: &str| temporary.path().join(path);
        for (path, content) in [
            ("trash/a/whole/link", "1"),
            ("trash/a/half/old", "2"),
            ("trash/a/half/both", "3"),
            ("trash/a/empty/link", "4"),
            ("root/a/half/both", "new"),
        ] {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            fs::write(at(path), content).unwrap();
        }
        fs::create_dir_all(at("root/a/empty")).unwrap();
        let (from, to) = (Folder::open(&at("trash")).unwrap(), Folder::open(&at("root")).unwrap());
        let mut told = Vec::new();
        let mut tell = |path: &str, back| {
            told.push((path.to_owned(), back));
            Ok(())
        };
        assert_eq!(put_back(&from, &to, "a", &mut tell).unwrap(), Back::Restored);
        assert_eq!(put_back(&from, &to, "b", &mut tell).unwrap(), Back::Absent);
        let expected =
            [("a/empty", Back::Restored), ("a/half/both", Back::There), ("a/half/old", Back::Restored), ("a/whole", Back::Restored)];
        assert_eq!(told, expected.map(|(path, back)| (path.to_owned(), back)));
        let read = |path: &str| fs::read_to_string(at(path)).unwrap();
        assert_eq!((read("root/a/half/both"), read("root/a/half/old"), read("root/a/empty/link")), ("new".into(), "2".into(), "4".into()));
        assert_eq!(read("trash/a/half/both"), "3", "it is still there to be looked at");
        let digest = Digest::of(b"x");
        make_layer_link(&to, "team/app", &digest).unwrap();
        let link = at("root").join(layout::repository("team/app")).join(format!("_layers/{}/link", layout::of_digest(&digest)));
        assert_eq!(fs::read_to_string(&link).unwrap(), digest.to_string());
        assert_eq!(fs::read_dir(link.parent().unwrap()).unwrap().count(), 1);
    }
}
