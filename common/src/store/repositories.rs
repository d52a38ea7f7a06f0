//! All repositories of a storage tree: folders that hold `_layers`, `_manifests` or `_uploads`. They may lie in one another.

use super::folder::{Folder, Kind};
use super::{Problem, layout, side_by_side};

/// What there is.
#[derive(Debug, Default)]
pub struct Repositories {
    /// Their names, sorted.
    pub names: Vec<String>,
    /// What could not be read, so that there may be more of them.
    pub problems: Vec<Problem>,
    /// Folders that hold nothing at all: what is left of repositories that are gone.
    pub empty: Vec<String>,
    /// Files that lie in no repository, and harm none.
    pub strays: Vec<Problem>,
}

/// What one folder holds.
#[derive(Default)]
struct Listed {
    is_repository: bool,
    is_empty: bool,
    folders: Vec<String>,
    problems: Vec<Problem>,
    files: Vec<Problem>,
}

/// Finds all repositories below `root`, the open `rootdirectory`. A tree without any has none.
#[must_use]
pub fn find(root: &Folder) -> Repositories {
    let mut found = Repositories::default();
    let mut level = vec![String::new()];
    while !level.is_empty() {
        let listed = side_by_side::map(&level, || (), |(), name| list(root, name));
        let mut next = Vec::new();
        for (name, listed) in level.into_iter().zip(listed) {
            let within = |folder: String| if name.is_empty() { folder } else { format!("{name}/{folder}") };
            next.extend(listed.folders.into_iter().map(within));
            found.problems.extend(listed.problems);
            // Those of a repository are told by who reads it.
            if !listed.is_repository || name.is_empty() {
                found.strays.extend(listed.files);
            }
            // What lies beside the repositories themselves is in none.
            if listed.is_repository && !name.is_empty() {
                found.names.push(name);
            } else if listed.is_empty && !name.is_empty() {
                found.empty.push(name);
            }
        }
        level = next;
    }
    found.names.sort();
    found.empty.sort();
    found
}

fn list(root: &Folder, name: &str) -> Listed {
    let path = if name.is_empty() { layout::REPOSITORIES.to_owned() } else { layout::repository(name) };
    let mut listed = Listed { is_empty: true, ..Listed::default() };
    let result = root.folder(&path).and_then(|folder| match folder {
        None => Ok(()),
        Some(folder) => folder.list(|entry, kind| {
            listed.is_empty = false;
            let problem = |what: &str| Problem::new(format!("{path}/{}", String::from_utf8_lossy(entry)), what);
            match std::str::from_utf8(entry) {
                // A link in the place of one of these is found by who reads the repository.
                Ok(layout::LAYERS | layout::MANIFESTS | layout::UPLOADS) => listed.is_repository = true,
                Ok(entry) if kind == Kind::Folder => listed.folders.push(entry.to_owned()),
                Ok(_) if kind == Kind::Other => {
                    listed.problems.push(problem("is a symbolic link or a device, and is not followed").hiding())
                }
                // A file holds no repository.
                Ok(_) => listed.files.push(problem("does not belong there")),
                Err(_) => listed.problems.push(problem("is no name of a repository").hiding()),
            }
        }),
    });
    if let Err(error) = result {
        listed.is_empty = false;
        listed.problems.push(Problem::of_error(path, &error));
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn repositories_lie_in_one_another() {
        let temporary = tempfile::tempdir().unwrap();
        let at = |path: &str| temporary.path().join(layout::REPOSITORIES).join(path);
        for path in ["a/_layers", "a/b/c/_manifests", "a/b/d", "z/_uploads", "Upper/_layers"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        std::os::unix::fs::symlink("a", at("link")).unwrap();
        fs::write(at("file"), "").unwrap();
        let found = find(&Folder::open(temporary.path()).unwrap());
        assert_eq!(found.names, ["Upper", "a", "a/b/c", "z"]);
        assert_eq!(found.empty, ["a/b/d"]);
        assert_eq!(found.strays.iter().map(|stray| stray.path.rsplit('/').next().unwrap()).collect::<Vec<_>>(), ["file"]);
        assert_eq!(found.problems.len(), 1);
        assert!(found.problems[0].path.ends_with("/link"), "{}", found.problems[0]);
        let empty = find(&Folder::open(&at("z")).unwrap());
        assert!(empty.names.is_empty() && empty.problems.is_empty());
    }
}
