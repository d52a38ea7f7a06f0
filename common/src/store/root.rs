//! Whether a folder can be a driver's `rootdirectory`, or lies inside or around one.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::layout::TREE;

/// Says which folder was meant, where this one holds no tree and lies inside of one or has one inside. A folder that holds nothing of the kind
/// may be the storage of a registry to which nothing was pushed yet.
///
/// # Errors
/// A folder that cannot be looked into.
pub fn misplaced(store: &Path) -> io::Result<Option<String>> {
    if is_folder(&store.join(TREE))? {
        return Ok(None);
    }
    let shown = store.display();
    // Written as it was given where that is enough: `/srv/registry/docker/registry/v2` names `/srv/registry`.
    let full = fs::canonicalize(store).unwrap_or_else(|_| store.to_owned());
    for folder in [store, &full] {
        for above in folder.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            if is_folder(&above.join(TREE))? && folder.starts_with(above.join("docker")) {
                return Ok(Some(format!("{shown} lies inside a storage: say --store {}", above.display())));
            }
        }
    }
    for inside in ["registry/v2", "v2/repositories", "repositories", "sha256"] {
        if is_folder(&store.join(inside))? {
            let text =
                format!("{shown} looks like the inside of a storage, since it holds {inside}: --store wants the folder in which {TREE} is");
            return Ok(Some(text));
        }
    }
    let mut within: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(store).into_iter().flatten().flatten() {
        if is_folder(&entry.path().join(TREE)).unwrap_or(false) {
            within.push(entry.path());
        }
    }
    within.sort();
    Ok(within.first().map(|first| format!("{shown} is no storage, but one lies in it: say --store {}", first.display())))
}

fn is_folder(path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.is_dir()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_folder_is_named() {
        let temporary = tempfile::tempdir().unwrap();
        let at = |path: &str| temporary.path().join(path);
        fs::create_dir_all(at("srv/registry/docker/registry/v2/blobs")).unwrap();
        fs::create_dir_all(at("lone/v2/repositories")).unwrap();
        fs::create_dir_all(at("fresh")).unwrap();
        for right in ["srv/registry", "fresh", "none"] {
            assert_eq!(misplaced(&at(right)).unwrap(), None, "{right}");
        }
        let right = format!("say --store {}", at("srv/registry").display());
        for (wrong, sentence) in [
            ("srv/registry/docker", right.as_str()),
            ("srv/registry/docker/registry/v2", &right),
            ("srv/registry/docker/registry/v2/blobs", &right),
            ("srv", &right),
            ("lone", "since it holds v2/repositories"),
        ] {
            let text = misplaced(&at(wrong)).unwrap().unwrap_or_default();
            assert!(text.contains(sentence), "{wrong}: {text}");
        }
    }
}
