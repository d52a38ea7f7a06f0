//! What an operand names: a file, the files of a folder, standard input.
//!
//! The only file of this tool that reads from the world. Which files of a folder are manifests is decided as `kubectl apply -f`
//! does: `.yaml`, `.yml` and `.json`, not the folders within it unless asked. What the texts mean is decided elsewhere.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::document::line_of;
use crate::object::Unbuilt;

/// The files of a folder.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    /// The manifests, in order.
    pub(crate) files: Vec<PathBuf>,
    /// What makes it incomplete.
    pub(crate) problems: Vec<String>,
    /// What a person should know.
    pub(crate) notes: Vec<String>,
}

impl Folder {
    /// Looks into a folder; with `recursive` into those within it too.
    pub(crate) fn read(path: &Path, recursive: bool) -> Self {
        let mut folder = Self::default();
        folder.add(path, recursive, &mut BTreeSet::new());
        folder
    }

    fn add(&mut self, path: &Path, recursive: bool, seen: &mut BTreeSet<PathBuf>) {
        // A link may lead back up.
        if !fs::canonicalize(path).is_ok_and(|real| seen.insert(real)) {
            return;
        }
        let entries = fs::read_dir(path).and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect());
        let mut entries: Vec<PathBuf> = match entries {
            Ok(entries) => entries,
            Err(error) => return self.problems.push(format!("{}: cannot be read: {error}", path.display())),
        };
        entries.sort();
        for entry in entries {
            let Some(name) = entry.file_name().and_then(|name| name.to_str()) else {
                self.problems.push(format!("{}: the name is not UTF-8", entry.display()));
                continue;
            };
            if name.starts_with('.') {
                continue;
            }
            if let Some(unbuilt) = unbuilt(name) {
                self.problems.push(format!("{}: {unbuilt}", entry.display()));
            } else if entry.is_dir() {
                self.add_folder(&entry, recursive, seen);
            } else if is_manifest(name) {
                self.files.push(entry);
            }
        }
    }

    fn add_folder(&mut self, path: &Path, recursive: bool, seen: &mut BTreeSet<PathBuf>) {
        if recursive {
            self.add(path, recursive, seen);
        } else if !Self::read(path, true).files.is_empty() {
            self.notes.push(format!("{}: holds manifests too, and is not read without --recursive", path.display()));
        }
    }
}

fn is_manifest(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

/// What a file of this name says of its folder: that manifests are built from it, and that it is none itself.
pub(crate) fn unbuilt(name: &str) -> Option<Unbuilt> {
    match name {
        "kustomization.yaml" | "kustomization.yml" | "Kustomization" => Some(Unbuilt::Kustomization),
        "Chart.yaml" => Some(Unbuilt::Chart),
        _ => None,
    }
}

/// The path of a file or folder without links and detours, or as it is where there is none. The empty path is the working folder.
pub(crate) fn real(path: &Path) -> PathBuf {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Reads a file as text.
///
/// # Errors
/// What the file system says, or where it is not UTF-8.
pub(crate) fn file(path: &Path) -> Result<String, String> {
    fs::read(path).map_err(|error| format!(": cannot be read: {error}")).and_then(text)
}

/// Reads all of standard input, or whatever else is given, as text.
///
/// # Errors
/// What the input says, or where it is not UTF-8.
pub(crate) fn all(mut input: impl Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read: io::Result<usize> = input.read_to_end(&mut bytes);
    read.map_err(|error| format!(": cannot be read: {error}")).and_then(|_| text(bytes))
}

fn text(bytes: Vec<u8>) -> Result<String, String> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let (valid, _) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        let line = line_of(&String::from_utf8_lossy(valid), valid.len());
        format!(", line {line}: is not UTF-8")
    })?;
    // The mark that some editors put in front is no part of the text.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}
