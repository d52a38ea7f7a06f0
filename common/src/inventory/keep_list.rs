//! What people name by hand: a reference or glob a line, which is then never deleted.

use std::cell::Cell;

use super::Names;
use crate::digest::Digest;
use crate::pattern::{Glob, InvalidGlob};
use crate::reference::{DOCKER_HUB, Host, Repository, Tag, split_host};

/// A keep list: one entry a line, `#` begins a comment. An entry without a host is of the listed registry, one without a tag or
/// digest is the whole repository. `*` stays within a path component or a tag, `**` crosses.
#[derive(Debug, Default)]
pub struct KeepList {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    text: String,
    /// None is the listed registry.
    host: Option<HostPattern>,
    repository: Glob,
    tag: Option<Glob>,
    digest: Option<Digest>,
    matched: Cell<bool>,
}

#[derive(Debug)]
enum HostPattern {
    Is(Host),
    Like(Glob),
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
    pub fn add(&mut self, text: &str) -> Result<(), InvalidEntry> {
        // Editors on Windows begin a file with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (index, line) in text.lines().enumerate() {
            let comment = line
                .char_indices()
                .find(|(at, character)| *character == '#' && line[..*at].chars().next_back().is_none_or(char::is_whitespace));
            let line = comment.map_or(line, |(at, _)| &line[..at]).trim();
            if line.is_empty() {
                continue;
            }
            let entry = Entry::parse(line).map_err(|cause| InvalidEntry { line: index + 1, cause })?;
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
        let all = names.all(host, repository);
        Kept { entries: self.entries.iter().filter(|entry| entry.means(host, &all)).collect() }
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
    fn parse(text: &str) -> Result<Self, String> {
        let invalid = || format!("{text:?} is no reference: expected [HOST/]REPOSITORY[:TAG|@DIGEST], with * and ** where wanted");
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
        let host = host
            .map(|host| {
                if is_literal(host) {
                    host.parse().map(HostPattern::Is).map_err(|_| invalid())
                } else {
                    glob(&host.to_ascii_lowercase()).map(HostPattern::Like)
                }
            })
            .transpose()?;
        // Docker Hub's own images, as everybody writes them.
        let hub = matches!(&host, Some(HostPattern::Is(host)) if host.as_str() == DOCKER_HUB) && !path.contains('/');
        let path = if hub { format!("library/{path}") } else { path.to_owned() };
        // What has no wildcard must be a name, or it would silently hold nothing.
        if (is_literal(&path) && path.parse::<Repository>().is_err())
            || tag.is_some_and(|tag| is_literal(tag) && tag.parse::<Tag>().is_err())
        {
            return Err(invalid());
        }
        Ok(Self {
            text: text.to_owned(),
            host,
            repository: glob(&path)?,
            tag: tag.map(glob).transpose()?,
            digest,
            matched: Cell::new(false),
        })
    }

    /// Whether it means a repository that has these names; `listed` is the one it is listed under.
    fn means(&self, listed: &Host, names: &[(Host, String)]) -> bool {
        names.iter().any(|(host, path)| {
            let of_host = match &self.host {
                None => host == listed,
                Some(HostPattern::Is(wanted)) => host == wanted,
                Some(HostPattern::Like(glob)) => glob.matches(host.as_str()),
            };
            of_host && self.repository.matches(path)
        })
    }
}

fn is_literal(text: &str) -> bool {
    !text.contains(['*', '?', '[', '{', '\\'])
}

fn glob(text: &str) -> Result<Glob, String> {
    Glob::parse(text).map_err(|error: InvalidGlob| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn references_and_globs() {
        let names = Names::new(&["mirror.local=registry.example.com".parse().unwrap()], &[]).unwrap();
        let mut list = KeepList::default();
        list.add(&format!("\u{feff}# golden\n\nteam/app:1.2   # the last one on PHP 7\nteam/app@{A}\t# by digest\nlib/**\nmirror.local/base*:v*\nother.example.com/team/app:9\n*.example.com/tools/*:keep-*\nRegistry.example.com:443/case/*\n")).unwrap();
        let host: Host = "registry.example.com".parse().unwrap();
        let app = list.of_repository(&names, &host, "team/app");
        assert_eq!((app.tag("1.2"), app.tag("1.3"), app.tag("9"), app.whole()), (Some("team/app:1.2"), None, None, None));
        assert!(app.digest(&A.parse().unwrap()).is_some());
        assert!(list.of_repository(&names, &host, "lib/a/b").whole().is_some());
        assert!(list.of_repository(&names, &host, "base").tag("v1").is_some(), "an alias names the same repository");
        assert!(list.of_repository(&names, &host, "tools/x").tag("keep-me").is_some());
        assert!(list.of_repository(&names, &host, "tools/x/y").tag("keep-me").is_none());
        assert!(list.of_repository(&names, &host, "case/x").whole().is_some(), "hosts compare in lower case and without :443");
        let hub = Names::new(&["registry.example.com/hub=docker.io".parse().unwrap()], &[]).unwrap();
        let mut of_hub = KeepList::default();
        of_hub.add("nginx:1\ndocker.io/nginx:2\nindex.docker.io/lib*/nginx:3").unwrap();
        let nginx = of_hub.of_repository(&hub, &host, "hub/library/nginx");
        assert_eq!((nginx.tag("1"), nginx.tag("2").is_some(), nginx.tag("3").is_some()), (None, true, true));
        assert_eq!(list.unmatched().collect::<Vec<_>>(), ["other.example.com/team/app:9"]);
    }

    #[test]
    fn a_line_that_is_no_reference_is_said_with_its_number() {
        for (text, expected) in [
            ("a\nb c", "line 2: "),
            ("a@sha256:12", "line 1: "),
            ("a:", "line 1: "),
            ("[a", "line 1: "),
            ("team/app/", "line 1: "),
            ("/team/app", "line 1: "),
            ("team/app:v1#golden", "line 1: "),
        ] {
            let error = KeepList::default().add(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
