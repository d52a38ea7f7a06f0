//! What people name by hand: a reference or glob a line, which is then never deleted.

use std::cell::Cell;

use super::Names;
use crate::digest::Digest;
use crate::pattern::{Glob, InvalidGlob};
use crate::reference::{Host, split_host};

/// A keep list: one entry a line, `#` begins a comment. An entry without a host is of the listed registry, one without a tag or
/// digest is the whole repository. `*` stays within a path component or a tag, `**` crosses.
#[derive(Debug, Default)]
pub struct KeepList {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    text: String,
    host: Option<Glob>,
    repository: Glob,
    /// The one name of an entry without wildcards, by which an alias of it is found too.
    literal: Option<(Host, String)>,
    tag: Option<Glob>,
    digest: Option<Digest>,
    matched: Cell<bool>,
}

/// Why a line is no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {cause}")]
pub struct InvalidEntry {
    line: usize,
    cause: String,
}

/// The entries that mean one repository.
#[derive(Debug, Default)]
pub struct Kept<'a> {
    entries: Vec<&'a Entry>,
}

impl KeepList {
    /// Adds the entries of a file's text.
    ///
    /// # Errors
    /// The first line that is no entry.
    pub fn add(&mut self, text: &str, names: &Names) -> Result<(), InvalidEntry> {
        for (index, line) in text.lines().enumerate() {
            let line = line.split_once(" #").map_or(line, |(entry, _comment)| entry).trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let entry = Entry::parse(line, names).map_err(|cause| InvalidEntry { line: index + 1, cause })?;
            self.entries.push(entry);
        }
        Ok(())
    }

    /// The entries that mean the repository listed under this name.
    #[must_use]
    pub fn of_repository(&self, names: &Names, host: &Host, repository: &str) -> Kept<'_> {
        if self.entries.is_empty() {
            return Kept::default();
        }
        let canonical = names.canonical(host, repository);
        Kept { entries: self.entries.iter().filter(|entry| entry.means(host, repository, &canonical)).collect() }
    }

    /// The entries that held nothing so far, as they were written.
    pub fn unmatched(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter(|entry| !entry.matched.get()).map(|entry| entry.text.as_str())
    }
}

impl Kept<'_> {
    /// The entry that names a tag, or the whole repository.
    #[must_use]
    pub fn tag(&self, tag: &str) -> Option<&str> {
        self.find(|entry| entry.tag.as_ref().is_some_and(|glob| glob.matches(tag)))
    }

    /// The entry that names a digest.
    #[must_use]
    pub fn digest(&self, digest: &Digest) -> Option<&str> {
        self.find(|entry| entry.digest.as_ref() == Some(digest))
    }

    /// The entry that names the whole repository.
    #[must_use]
    pub fn whole(&self) -> Option<&str> {
        self.find(|entry| entry.tag.is_none() && entry.digest.is_none())
    }

    fn find(&self, names: impl Fn(&Entry) -> bool) -> Option<&str> {
        // All are tried, so that each that holds something counts as matched.
        let mut found = None;
        for entry in self.entries.iter().filter(|entry| names(entry)) {
            entry.matched.set(true);
            found = found.or(Some(entry.text.as_str()));
        }
        found
    }
}

impl Entry {
    fn parse(text: &str, names: &Names) -> Result<Self, String> {
        if text.contains(char::is_whitespace) {
            return Err(format!("{text:?} is no reference: it has a space in it"));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse::<Digest>().map_err(|error| error.to_string())?)),
            None => (text, None),
        };
        let (host, path) = split_host(name);
        let last = path.rfind('/').map_or(0, |slash| slash + 1);
        let (path, tag) = match path[last..].split_once(':') {
            Some((component, tag)) => (&path[..last + component.len()], Some(tag)),
            None => (path, None),
        };
        if path.is_empty() || tag == Some("") {
            return Err(format!("{text:?} is no reference: expected [HOST/]REPOSITORY[:TAG|@DIGEST], with * and ** where wanted"));
        }
        let is_literal = |text: &str| !text.contains(['*', '?', '[', '{', '\\']);
        let glob = |text: &str| Glob::parse(text).map_err(|error: InvalidGlob| error.to_string());
        let literal = match host {
            Some(host) if is_literal(host) && is_literal(path) => {
                Some(names.canonical(&host.parse().map_err(|error: crate::reference::InvalidName| error.to_string())?, path))
            }
            _ => None,
        };
        Ok(Self {
            text: text.to_owned(),
            host: host.map(|host| glob(&host.to_ascii_lowercase())).transpose()?,
            repository: glob(path)?,
            literal,
            tag: tag.map(glob).transpose()?,
            digest,
            matched: Cell::new(false),
        })
    }

    fn means(&self, host: &Host, repository: &str, canonical: &(Host, String)) -> bool {
        if self.literal.as_ref() == Some(canonical) {
            return true;
        }
        let matches =
            |host: &Host, path: &str| self.host.as_ref().is_none_or(|glob| glob.matches(host.as_str())) && self.repository.matches(path);
        matches(host, repository) || matches(&canonical.0, &canonical.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn references_and_globs() {
        let names = Names::new(&["mirror.local=registry.example.com".parse().unwrap()], &[]).unwrap();
        let mut list = KeepList::default();
        list.add(&format!("# golden\n\nteam/app:1.2   # the last one on PHP 7\nteam/app@{A}\nlib/**\nmirror.local/base:v*\nother.example.com/team/app:9\n*.example.com/tools/*:keep-*\n"), &names).unwrap();
        let host: Host = "registry.example.com".parse().unwrap();
        let app = list.of_repository(&names, &host, "team/app");
        assert_eq!((app.tag("1.2"), app.tag("1.3"), app.tag("9"), app.whole()), (Some("team/app:1.2"), None, None, None));
        assert!(app.digest(&A.parse().unwrap()).is_some());
        assert!(list.of_repository(&names, &host, "lib/a/b").whole().is_some());
        assert!(list.of_repository(&names, &host, "base").tag("v1").is_some(), "an alias names the same repository");
        assert!(list.of_repository(&names, &host, "tools/x").tag("keep-me").is_some());
        assert!(list.of_repository(&names, &host, "tools/x/y").tag("keep-me").is_none());
        assert_eq!(list.unmatched().collect::<Vec<_>>(), ["other.example.com/team/app:9"]);
    }

    #[test]
    fn a_line_that_is_no_reference_is_said_with_its_number() {
        for (text, expected) in [("a\nb c", "line 2: "), ("a@sha256:12", "line 1: "), ("a:", "line 1: "), ("[a", "line 1: ")] {
            let error = KeepList::default().add(text, &Names::default()).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
