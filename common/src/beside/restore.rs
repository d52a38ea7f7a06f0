//! Moves things from the trash back into their places. What is there by now is left alone.

use std::io;

use rustix::io::Errno;

use super::runs;
use crate::store::folder::{Folder, Kind};

/// What came of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Back {
    /// It lies in its place again.
    Restored,
    /// Something lies in its place already.
    There,
    /// It is not in the trash.
    Absent,
    /// It could not be moved, for this reason.
    Failed(String),
}

/// Moves what lies at `path` below `from` to the same path below `to`. Where a folder is there already, what is in it is moved
/// one by one. Says of each thing that was or was not moved as a whole what came of it.
///
/// # Errors
/// What `tell` says.
pub fn put_back(from: &Folder, to: &Folder, path: &str, tell: &mut dyn FnMut(&str, &Back) -> io::Result<()>) -> io::Result<Back> {
    let back = match move_back(from, to, path) {
        Ok(Some(back)) => back,
        // A folder is there already.
        Ok(None) => {
            let mut back = Back::There;
            for name in names(from, path).unwrap_or_default() {
                if put_back(from, to, &format!("{path}/{name}"), tell)? == Back::Restored {
                    back = Back::Restored;
                }
            }
            let _ = runs::remove_empty(from, path);
            return Ok(back);
        }
        // What was not moved is still in the trash, and the rest need not wait for it.
        Err(error) => Back::Failed(error.to_string()),
    };
    if back != Back::Absent {
        tell(path, &back)?;
    }
    Ok(back)
}

/// Moves something as a whole; `None` where a folder is there already, so that what is in it has to be looked at one by one.
fn move_back(from: &Folder, to: &Folder, path: &str) -> io::Result<Option<Back>> {
    let Some(status) = from.status(path)? else { return Ok(Some(Back::Absent)) };
    if status.kind == Kind::Other {
        return Ok(Some(Back::Failed("it is no file and no folder, and no run put it there".to_owned())));
    }
    let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
    let target = runs::mirror(from, to, parent)?;
    let source = from.folder(parent)?.ok_or(io::ErrorKind::NotFound)?;
    match target.status(name)? {
        None => match runs::rename_new(&source, name, &target, name) {
            Ok(()) => Ok(Some(Back::Restored)),
            Err(Errno::EXIST | Errno::NOTEMPTY) => Ok(Some(Back::There)),
            Err(error) => Err(error.into()),
        },
        Some(there) if there.kind == Kind::Folder && status.kind == Kind::Folder => Ok(None),
        Some(_) => Ok(Some(Back::There)),
    }
}

/// The names in a folder, sorted.
///
/// # Errors
/// What the system says.
pub fn names(from: &Folder, path: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    if let Some(folder) = from.folder(path)? {
        folder.list(|name, _| names.extend(std::str::from_utf8(name).ok().map(str::to_owned)))?;
    }
    names.sort();
    Ok(names)
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
        let mut tell = |path: &str, back: &Back| {
            told.push((path.to_owned(), back.clone()));
            Ok(())
        };
        assert_eq!(put_back(&from, &to, "a", &mut tell).unwrap(), Back::Restored);
        assert_eq!(put_back(&from, &to, "b", &mut tell).unwrap(), Back::Absent);
        let expected =
            [("a/empty/link", Back::Restored), ("a/half/both", Back::There), ("a/half/old", Back::Restored), ("a/whole", Back::Restored)];
        assert_eq!(told, expected.map(|(path, back)| (path.to_owned(), back)));
        let read = |path: &str| fs::read_to_string(at(path)).unwrap();
        assert_eq!((read("root/a/half/both"), read("root/a/half/old"), read("root/a/empty/link")), ("new".into(), "2".into(), "4".into()));
        assert_eq!(read("trash/a/half/both"), "3", "it is still there to be looked at");
    }
}
