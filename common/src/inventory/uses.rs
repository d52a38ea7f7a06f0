//! The `use` records of all inventories, found by repository and by content.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::{Distrust, Names, Rules, Section};
use crate::digest::Digest;
use crate::jsonl::{Error, Line, Place, Problem, Sections};
use crate::record::{Input, Kind, Use};
use crate::reference::Host;

/// Which flag gave an inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `--in-use`: it is decided on, so it must be trusted.
    InUse,
    /// `--also-in-use`: it can only hold more.
    AlsoInUse,
}

/// One use, and what is known of its names.
#[derive(Debug)]
pub struct UseEntry {
    /// The record.
    pub record: Use,
    /// Its line as it was read, to be passed on.
    pub line: String,
    host: Host,
    canonical: (Host, String),
    role: Role,
    listed: Cell<bool>,
}

impl UseEntry {
    /// Its registry.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The digests that it bears and that a registry could be asked for: the one pinned, the one that runs.
    pub fn manifests(&self) -> impl Iterator<Item = &Digest> {
        self.record.digest.iter().chain(&self.record.running_digest)
    }

    /// All content that it holds: these, and the config's.
    pub fn content(&self) -> impl Iterator<Item = &Digest> {
        self.manifests().chain(&self.record.config_digest)
    }
}

/// Everything that is in use, as far as the inventories know.
#[derive(Debug)]
pub struct Inventory {
    names: Names,
    sections: Vec<(Role, Section)>,
    entries: Vec<UseEntry>,
    /// The section being read.
    reading: Option<(Role, String, Sections, Option<crate::record::Header>, u64)>,
    by_repository: HashMap<(Host, String), Vec<usize>>,
    by_path: HashMap<String, Vec<usize>>,
    by_content: HashMap<Digest, Vec<usize>>,
    hosts: HashSet<Host>,
}

/// The uses that name one repository.
#[derive(Debug, Default)]
pub struct RepositoryUses<'a> {
    /// Under its own name or an alias.
    pub own: Vec<&'a UseEntry>,
    /// Under the same path on another host that nobody called a stranger.
    pub other_name: Vec<&'a UseEntry>,
}

impl<'a> RepositoryUses<'a> {
    /// Whether anything names the repository.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.own.is_empty() && self.other_name.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &'a UseEntry> {
        self.own.iter().chain(&self.other_name).copied()
    }
}

impl Inventory {
    /// An inventory in which nothing is in use yet.
    #[must_use]
    pub fn new(names: Names) -> Self {
        Self {
            names,
            sections: Vec::new(),
            entries: Vec::new(),
            reading: None,
            by_repository: HashMap::new(),
            by_path: HashMap::new(),
            by_content: HashMap::new(),
            hosts: HashSet::new(),
        }
    }

    /// Begins to read a file.
    pub fn begin(&mut self, role: Role, file: &str) {
        self.reading = Some((role, file.to_owned(), Sections::default(), None, 0));
    }

    /// Takes a line of the file being read.
    ///
    /// # Errors
    /// A line that is no record, sections that are not whole, a `use` record whose names are none. Unknown types are passed over.
    pub fn line(&mut self, line: &Line<'_>) -> Result<(), Error> {
        let Some((role, file, sections, header, uses)) = &mut self.reading else { return Ok(()) };
        match sections.place(line)? {
            Place::Header(begun) => {
                (*header, *uses) = (Some(*begun), 0);
            }
            Place::Trailer(trailer) => {
                if let Some(header) = header.take() {
                    self.sections.push((*role, Section { file: file.clone(), header, trailer, uses: *uses }));
                }
            }
            Place::Within(Kind::Use) => {
                *uses += 1;
                let role = *role;
                self.add_use(line, role)?;
            }
            Place::Within(_) => {}
        }
        Ok(())
    }

    /// Ends the file being read.
    ///
    /// # Errors
    /// A file that was cut or empty.
    pub fn end(&mut self) -> Result<(), Error> {
        match self.reading.take() {
            Some((_, file, sections, ..)) => sections.finish(&file),
            None => Ok(()),
        }
    }

    /// Takes a `use` record that stands in no inventory file, for whoever only wants to know who uses what: it is part of no section, so that
    /// nothing here asks whether all of them came.
    ///
    /// # Errors
    /// A line that is no such record, or whose registry is none.
    pub fn add_use(&mut self, line: &Line<'_>, role: Role) -> Result<(), Error> {
        let record: Use = line.parse()?;
        let host: Host =
            record.registry.parse().map_err(|error: crate::reference::InvalidName| line.error(Problem::Json(error.to_string())))?;
        self.add(record, line.text().to_owned(), host, role);
        Ok(())
    }

    fn add(&mut self, record: Use, line: String, host: Host, role: Role) {
        let index = self.entries.len();
        let canonical = self.names.canonical(&host, &record.repository);
        self.by_repository.entry(canonical.clone()).or_default().push(index);
        self.by_path.entry(canonical.1.clone()).or_default().push(index);
        if canonical.1 != record.repository {
            self.by_path.entry(record.repository.clone()).or_default().push(index);
        }
        if role == Role::InUse {
            self.hosts.extend([host.clone(), canonical.0.clone()]);
        }
        let entry = UseEntry { record, line, host, canonical, role, listed: Cell::new(false) };
        for digest in entry.content() {
            let uses = self.by_content.entry(digest.clone()).or_default();
            if uses.last() != Some(&index) {
                uses.push(index);
            }
        }
        self.entries.push(entry);
    }

    /// Judges what the `--in-use` files gave, and that no `--also-in-use` file was cut.
    ///
    /// # Errors
    /// The first rule that does not hold.
    pub fn judge(&self, rules: &Rules, now: DateTime<Utc>) -> Result<(), Distrust> {
        self.judge_whole()?;
        let trusted: Vec<Section> = self.base().cloned().collect();
        rules.judge(&trusted, self.distinct_images(), now)
    }

    /// That no file was cut, which is asked even where nothing needs to be trusted.
    ///
    /// # Errors
    /// A section that is not whole.
    pub fn judge_whole(&self) -> Result<(), Distrust> {
        self.sections.iter().try_for_each(|(_, section)| section.is_whole())
    }

    /// Takes a section whose uses were added by [`Self::add_use`].
    ///
    /// # Errors
    /// A section that is not whole.
    pub fn add_section(&mut self, role: Role, section: Section) -> Result<(), Distrust> {
        section.is_whole()?;
        self.sections.push((role, section));
        Ok(())
    }

    /// Why what no inventory names may run all the same, each reason once.
    #[must_use]
    pub fn doubts(&self) -> Vec<String> {
        let mut told = HashSet::new();
        self.sections.iter().flat_map(|(_, section)| section.doubts()).filter(|doubt| told.insert(doubt.clone())).collect()
    }

    fn base(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter().filter(|(role, _)| *role == Role::InUse).map(|(_, section)| section)
    }

    /// Distinct images that the `--in-use` files name outside kube-system.
    fn distinct_images(&self) -> u64 {
        let outside =
            self.entries.iter().filter(|entry| entry.role == Role::InUse && entry.record.namespace.as_deref() != Some("kube-system"));
        let images: HashSet<_> = outside.map(|entry| (&entry.canonical, &entry.record.tag, &entry.record.digest)).collect();
        images.len() as u64
    }

    /// The time of the oldest `--in-use` section: what was pushed later may be in use without being in it.
    #[must_use]
    pub fn time(&self) -> Option<DateTime<Utc>> {
        self.base().map(|section| section.header.time).min()
    }

    /// The sections, for the header of a plan.
    #[must_use]
    pub fn inputs(&self) -> Vec<Input> {
        let input = |(role, section): &(Role, Section)| Input {
            role: if *role == Role::InUse { "in-use" } else { "also-in-use" }.to_owned(),
            tool: section.header.tool.clone(),
            time: section.header.time,
            scope: serde_json::to_value(&section.header.scope).unwrap_or_default(),
        };
        self.sections.iter().map(input).collect()
    }

    /// The uses that name a listed repository, which are from now on known to be of a repository that was listed.
    ///
    /// `host` and `repository` are the names in the listing.
    #[must_use]
    pub fn of_repository(&self, host: &Host, repository: &str) -> RepositoryUses<'_> {
        let canonical = self.names.canonical(host, repository);
        let entries =
            |indexes: Option<&Vec<usize>>| indexes.into_iter().flatten().filter_map(|index| self.entries.get(*index)).collect::<Vec<_>>();
        let own = entries(self.by_repository.get(&canonical));
        let mut other_name = entries(self.by_path.get(&canonical.1));
        if canonical.1 != repository {
            other_name.extend(entries(self.by_path.get(repository)));
        }
        other_name.retain(|entry| {
            entry.canonical != canonical && !self.names.is_stranger(&entry.host) && !self.names.is_stranger(&entry.canonical.0)
        });
        other_name.sort_by_key(|entry| std::ptr::from_ref(*entry).addr());
        other_name.dedup_by(|a, b| std::ptr::eq(*a, *b));
        for entry in own.iter().chain(&other_name) {
            entry.listed.set(true);
        }
        RepositoryUses { own, other_name }
    }

    /// Every use, in the order in which they came.
    pub fn entries(&self) -> impl Iterator<Item = &UseEntry> {
        self.entries.iter()
    }

    /// The uses of a repository of this path, under whatever host that nobody called a stranger: for where it is not known by which name the
    /// registry goes.
    pub fn of_path(&self, repository: &str) -> impl Iterator<Item = &UseEntry> {
        let entries = self.by_path.get(repository).into_iter().flatten().filter_map(|index| self.entries.get(*index));
        entries.filter(|entry| !self.names.is_stranger(&entry.host) && !self.names.is_stranger(&entry.canonical.0))
    }

    /// The uses that hold this content, in whatever repository it lies.
    pub fn of_content(&self, digest: &Digest) -> impl Iterator<Item = &UseEntry> {
        self.by_content.get(digest).into_iter().flatten().filter_map(|index| self.entries.get(*index))
    }

    /// All content that uses hold, in whatever repository it lies; each once.
    pub fn content(&self) -> impl Iterator<Item = &Digest> {
        self.by_content.keys()
    }

    /// Whether an `--in-use` file names a repository of this path, under whatever host that nobody called a stranger: all that can be asked
    /// where it is not known by which name the registry goes.
    #[must_use]
    pub fn names_path(&self, repository: &str) -> bool {
        self.of_path(repository).any(Self::is_trusted_use)
    }

    /// Whether any use holds this content.
    #[must_use]
    pub fn holds_content(&self, digest: &Digest) -> bool {
        self.by_content.contains_key(digest)
    }

    /// Whether an `--in-use` file names the registry by its host or an alias of it. That it names one of its repository paths
    /// is seen as these are listed ([`Self::of_repository`]).
    #[must_use]
    pub fn names_registry(&self, host: &Host) -> bool {
        self.hosts.contains(host) || self.hosts.contains(&self.names.canonical(host, "").0)
    }

    /// Whether a repository's uses include one of an `--in-use` file.
    #[must_use]
    pub fn is_trusted_use(entry: &UseEntry) -> bool {
        entry.role == Role::InUse
    }

    /// How many uses are of the registry `host` (or an alias of it) and of a repository that was never asked for.
    #[must_use]
    pub fn not_listed(&self, host: &Host) -> u64 {
        let of_host = |entry: &&UseEntry| entry.host == *host || entry.canonical.0 == self.names.canonical(host, "").0;
        self.entries.iter().filter(of_host).filter(|entry| !entry.listed.get()).count() as u64
    }

    /// How many uses there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is known of names.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const HEADER: &str = r#"{"type":"header","tool":"k8s-images","version":"1","schema":1,"time":"2026-11-20T12:00:00Z","scope":{"sources":[{"kind":"context","name":"prod","complete":true}],"partial":false}}"#;

    fn inventory(aliases: &[&str], strangers: &[&str], uses: &[(&str, &str, &str)]) -> Inventory {
        let aliases: Vec<_> = aliases.iter().map(|alias| alias.parse().unwrap()).collect();
        let strangers: Vec<_> = strangers.iter().map(|host| host.parse().unwrap()).collect();
        let mut inventory = Inventory::new(Names::new(&aliases, &strangers).unwrap());
        inventory.begin(Role::InUse, "in-use.jsonl");
        let mut number = 0;
        let mut line = |text: &str| {
            number += 1;
            inventory.line(&Line::new("in-use.jsonl", number, text)).unwrap();
        };
        line(HEADER);
        for (registry, repository, tag) in uses {
            line(
                &serde_json::json!({"type":"use","image":"x","registry":registry,"repository":repository,"tag":tag,"runningDigest":A})
                    .to_string(),
            );
        }
        line(&format!(r#"{{"type":"trailer","complete":true,"records":{}}}"#, uses.len()));
        inventory.end().unwrap();
        inventory
    }

    fn names_of(uses: &[&UseEntry]) -> Vec<String> {
        uses.iter().map(|entry| format!("{}/{}", entry.record.registry, entry.record.repository)).collect()
    }

    #[test]
    fn a_repository_is_found_under_all_of_its_names() {
        let listed: Host = "registry.example.com:5000".parse().unwrap();
        let inventory = inventory(
            &["REG.local=registry.example.com:5000", "mirror.local/hub=registry.example.com:5000/dockerhub"],
            &["stranger.local"],
            &[
                ("registry.example.com:5000", "team/app", "1"),
                ("reg.local:443", "team/app", "2"),
                ("elsewhere.local", "team/app", "3"),
                ("stranger.local", "team/app", "4"),
                ("mirror.local", "hub/library/x", "5"),
            ],
        );
        let uses = inventory.of_repository(&listed, "team/app");
        assert_eq!(names_of(&uses.own), ["registry.example.com:5000/team/app", "reg.local:443/team/app"]);
        assert_eq!(names_of(&uses.other_name), ["elsewhere.local/team/app"]);
        assert_eq!(names_of(&inventory.of_repository(&listed, "dockerhub/library/x").own), ["mirror.local/hub/library/x"]);
        assert!(inventory.of_repository(&listed, "team/application").is_empty());
        assert_eq!(inventory.not_listed(&listed), 0);
        assert!(
            inventory.names_registry(&listed)
                && inventory.names_registry(&"reg.local".parse().unwrap())
                && !inventory.names_registry(&"other.local".parse().unwrap())
        );
    }

    #[test]
    fn content_is_found_wherever_it_lies() {
        let inventory = inventory(&[], &[], &[("a.local", "x", "1"), ("a.local", "y", "1")]);
        assert_eq!(inventory.of_content(&A.parse().unwrap()).count(), 2);
        assert_eq!(inventory.content().collect::<Vec<_>>(), [&A.parse::<Digest>().unwrap()]);
        assert!(inventory.names_path("x") && !inventory.names_path("z"));
        assert_eq!((inventory.of_path("x").count(), inventory.entries().count()), (1, 2));
        assert_eq!(inventory.not_listed(&"a.local".parse().unwrap()), 2);
    }

    #[test]
    fn a_use_without_a_name_is_an_error_with_its_line() {
        let mut inventory = Inventory::new(Names::default());
        inventory.begin(Role::InUse, "f");
        inventory.line(&Line::new("f", 1, HEADER)).unwrap();
        let error = inventory.line(&Line::new("f", 2, r#"{"type":"use","image":"x","registry":"a b","repository":"x"}"#)).unwrap_err();
        assert!(error.to_string().starts_with("f, line 2: \"a b\" is not a registry's host name"), "{error}");
    }
}
