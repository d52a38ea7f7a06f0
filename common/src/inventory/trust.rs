//! Whether an inventory may be decided on.

use chrono::{DateTime, TimeDelta, Utc};

use crate::duration::Duration;
use crate::record::{Header, Source, Trailer};

/// How far a clock may be ahead before a record counts as written in the future.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);

/// One section of an inventory, as it was read: its envelope, and how many `use` records really came.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// The file it came from, for sentences.
    pub file: String,
    /// Its first record.
    pub header: Header,
    /// Its last.
    pub trailer: Trailer,
    /// The `use` records between them.
    pub uses: u64,
}

/// What is asked of an inventory; the flags of `cli::InventoryFlags`.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Sources that need not be complete.
    pub allow_incomplete: Vec<String>,
    /// Whether a narrowed inventory will do.
    pub allow_partial: bool,
    /// Sources that must be there.
    pub require_source: Vec<String>,
    /// How old it may be.
    pub max_age: Duration,
    /// How many distinct images it must hold outside kube-system; by default ten, and one where the sources are named.
    pub min_in_use: Option<u64>,
}

/// Why an inventory is not trusted: a sentence with the way out. Status 3.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// Fewer `use` records came than the trailer counts. There is no flag for this: it has to be taken again.
    #[error("{file}: its trailer counts {said} use records and only {came} came: it was cut or filtered; take the inventory again")]
    Cut {
        /// The file.
        file: String,
        /// What the trailer says.
        said: u64,
        /// What came.
        came: u64,
    },
    /// The header names no sources.
    #[error("{file}: is no inventory: its header, written by {tool}, names no sources; take one with k8s-images")]
    NoInventory {
        /// The file.
        file: String,
        /// The header's tool.
        tool: String,
    },
    /// A source was not read whole.
    #[error(
        "{file}: source {name} is not complete ({error}): repair that and take the inventory again, or accept it with --allow-incomplete {word}", word = word(name), error = one_line(error))]
    Incomplete {
        /// The file.
        file: String,
        /// The source.
        name: String,
        /// What the source says.
        error: String,
    },
    /// The trailer says that it is not complete, and no source says why.
    #[error("{file}: its trailer says that it is not complete: take the inventory again")]
    IncompleteTrailer {
        /// The file.
        file: String,
    },
    /// It was narrowed.
    #[error(
        "{file}: was narrowed to some namespaces or by a selector, so what it does not name may still run: take the whole, or accept it with --allow-partial"
    )]
    Partial {
        /// The file.
        file: String,
    },
    /// No cluster and no engine was asked.
    #[error(
        "no source of the inventory is a cluster or a container engine, only {kinds}: name the sources that are enough with --require-source, such as --require-source {word}", word = word(example))]
    NothingLive {
        /// The kinds of source that there are.
        kinds: String,
        /// One of the sources.
        example: String,
    },
    /// A source is missing.
    #[error("the inventory lacks the source {name} that --require-source names; it has {have}")]
    MissingSource {
        /// The source.
        name: String,
        /// The sources that there are.
        have: String,
    },
    /// It is too old.
    #[error("{file}: was taken {age} ago, and --max-age is {most}: take it again, or raise --max-age")]
    Stale {
        /// The file.
        file: String,
        /// How long ago.
        age: Duration,
        /// The most.
        most: Duration,
    },
    /// It was taken in the future.
    #[error("{file}: was taken at {time}, more than 5 minutes in the future: set the clocks right and take it again")]
    Future {
        /// The file.
        file: String,
        /// The header's time.
        time: DateTime<Utc>,
    },
    /// It holds too little to be true.
    #[error(
        "the inventory holds {images} distinct images outside kube-system, and --min-in-use is {least}: a cluster that runs so little may have been read wrongly; if it is right, say --min-in-use {images}"
    )]
    TooSmall {
        /// How many it holds.
        images: u64,
        /// How many it must hold.
        least: u64,
    },
    /// Nothing in it is of the registry that is decided on.
    #[error(
        "no image in the inventory is of {registry}, neither by its host nor by one of its repository paths: perhaps the clusters know it by another name; say so with --alias NAME={registry}"
    )]
    OtherRegistry {
        /// The registry.
        registry: String,
    },
    /// There is no inventory.
    #[error(
        "no inventory of what is in use was given: take one with k8s-images and give it with --in-use FILE, or decide blindly with --without-in-use"
    )]
    None,
}

impl Section {
    /// That a section was cut: asked of every inventory, whatever else is forgiven.
    ///
    /// # Errors
    /// [`Distrust::Cut`], [`Distrust::NoInventory`]
    pub fn is_whole(&self) -> Result<(), Distrust> {
        if self.header.scope.as_ref().and_then(|scope| scope.sources.as_ref()).is_none() {
            return Err(Distrust::NoInventory { file: self.file.clone(), tool: self.header.tool.clone() });
        }
        if self.uses < self.trailer.records {
            return Err(Distrust::Cut { file: self.file.clone(), said: self.trailer.records, came: self.uses });
        }
        Ok(())
    }

    /// Why what it does not name may run all the same, for who only annotates by it; nothing where it is whole.
    #[must_use]
    pub fn doubts(&self) -> Vec<String> {
        let Self { file, .. } = self;
        let incomplete = self.sources().iter().filter(|source| !source.complete).map(|source| {
            let error = source.error.as_deref().map(|error| format!(" ({})", one_line(error))).unwrap_or_default();
            format!("{file}: source {} is not complete{error}: what it does not name may run all the same", source.name)
        });
        let mut doubts: Vec<String> = incomplete.collect();
        if doubts.is_empty() && !self.trailer.complete {
            doubts.push(format!("{file}: its trailer says that it is not complete: what it does not name may run all the same"));
        }
        if self.is_partial() {
            doubts.push(format!("{file}: was narrowed to some namespaces or by a selector: what it does not name may run all the same"));
        }
        doubts
    }

    fn sources(&self) -> &[Source] {
        self.header.scope.as_ref().and_then(|scope| scope.sources.as_deref()).unwrap_or_default()
    }

    fn is_partial(&self) -> bool {
        self.header.scope.as_ref().and_then(|scope| scope.partial).unwrap_or(false)
    }
}

impl Rules {
    /// Judges the sections of all `--in-use` files together. `images` counts the distinct images outside kube-system.
    ///
    /// That the inventory names the registry decided on is asked later, when it is known which that is
    /// ([`super::Inventory::names_registry`]).
    ///
    /// # Errors
    /// The first rule that does not hold.
    pub fn judge(&self, sections: &[Section], images: u64, now: DateTime<Utc>) -> Result<(), Distrust> {
        if sections.is_empty() {
            return Err(Distrust::None);
        }
        for section in sections {
            section.is_whole()?;
            let file = || section.file.clone();
            let age = now - section.header.time;
            if age < -CLOCK_SKEW {
                return Err(Distrust::Future { file: file(), time: section.header.time });
            }
            if age > self.max_age.delta() {
                return Err(Distrust::Stale { file: file(), age: Duration::of(age), most: self.max_age });
            }
            let incomplete = || section.sources().iter().filter(|source| !source.complete);
            if let Some(source) = incomplete().find(|source| !self.allow_incomplete.contains(&source.name)) {
                let error = source.error.clone().unwrap_or_else(|| "no cause was given".to_owned());
                return Err(Distrust::Incomplete { file: file(), name: source.name.clone(), error });
            }
            if !section.trailer.complete && incomplete().next().is_none() {
                return Err(Distrust::IncompleteTrailer { file: file() });
            }
            if section.is_partial() && !self.allow_partial {
                return Err(Distrust::Partial { file: file() });
            }
        }
        let sources = || sections.iter().flat_map(Section::sources);
        let have = || list(sources().map(|source| source.name.clone()));
        for name in &self.require_source {
            if !sources().any(|source| source.name == *name) {
                return Err(Distrust::MissingSource { name: name.clone(), have: have() });
            }
        }
        // A required source that is there is either live itself, or the user said that its kind will do.
        if self.require_source.is_empty() && !sources().any(|source| source.kind.is_live()) {
            let example = sources().next().map_or_else(|| "NAME".to_owned(), |source| source.name.clone());
            return Err(Distrust::NothingLive { kinds: list(sources().map(|source| source.kind.to_string())), example });
        }
        let least = self.min_in_use.unwrap_or(if self.require_source.is_empty() { 10 } else { 1 });
        if images < least {
            return Err(Distrust::TooSmall { images, least });
        }
        Ok(())
    }
}

/// A name as a shell takes it for one word.
#[must_use]
pub fn word(name: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./:@".contains(character);
    if !name.is_empty() && name.chars().all(plain) { name.to_owned() } else { format!("'{}'", name.replace('\'', r"'\''")) }
}

/// What a source says may have several lines; a sentence has one.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

/// Distinct texts in a sentence.
fn list(texts: impl Iterator<Item = String>) -> String {
    let mut texts: Vec<String> = texts.collect();
    texts.sort();
    texts.dedup();
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Scope, SourceKind};

    const NOON: &str = "2026-11-20T12:00:00Z";

    fn now() -> DateTime<Utc> {
        NOON.parse().unwrap()
    }

    fn source(kind: SourceKind, name: &str, complete: bool) -> Source {
        let error = (!complete).then(|| "time-out".into());
        Source { kind, name: name.into(), server: None, complete, error, same_as: None, missing: Vec::new() }
    }

    fn section(sources: Vec<Source>) -> Section {
        let complete = sources.iter().all(|source| source.complete);
        let header =
            Header::new("k8s-images", "1", now()).with_scope(Scope { sources: Some(sources), partial: Some(false), ..Scope::default() });
        Section { file: "in-use.jsonl".into(), header, trailer: Trailer::new(complete, 12, serde_json::Map::new()), uses: 12 }
    }

    fn prod() -> Section {
        section(vec![source(SourceKind::Context, "prod", true)])
    }

    fn rules() -> Rules {
        Rules { max_age: Duration::hours(26), ..Rules::default() }
    }

    #[test]
    fn a_whole_fresh_inventory_of_a_cluster_is_trusted() {
        assert_eq!(rules().judge(&[prod()], 10, now()), Ok(()));
        assert_eq!(rules().judge(&[prod()], 10, now() + TimeDelta::hours(26)), Ok(()));
        assert_eq!(
            rules().judge(&[prod(), section(vec![source(SourceKind::Files, "overlay", true)])], 10, now()),
            Ok(()),
            "one live source is enough"
        );
    }

    #[test]
    fn every_reason_for_distrust_has_its_way_out() {
        let cut = Section { uses: 11, ..prod() };
        let files = section(vec![source(SourceKind::Files, "overlay", true)]);
        let down = section(vec![source(SourceKind::Context, "prod", true), source(SourceKind::Context, "stage", false)]);
        let mut partial = prod();
        partial.header.scope.as_mut().unwrap().partial = Some(true);
        let mut listing = prod();
        listing.header.scope = None;
        let mut unsaid = prod();
        unsaid.trailer.complete = false;
        let later = |hours| now() + TimeDelta::hours(hours);

        type Change = fn(&mut Rules);
        type Case = (&'static str, Section, u64, DateTime<Utc>, &'static str, Change);
        let nothing: Change = |_| {};
        let cases: [Case; 10] = [
            ("cut", cut, 10, now(), "only 11 came", nothing),
            ("no inventory", listing, 10, now(), "names no sources", nothing),
            ("trailer", unsaid, 10, now(), "trailer says", nothing),
            ("incomplete", down, 10, now(), "--allow-incomplete stage", |rules| rules.allow_incomplete = vec!["stage".into()]),
            ("partial", partial, 10, now(), "--allow-partial", |rules| rules.allow_partial = true),
            ("files", files, 10, now(), "--require-source overlay", |rules| rules.require_source = vec!["overlay".into()]),
            ("small", prod(), 9, now(), "--min-in-use 9", |rules| rules.min_in_use = Some(9)),
            ("small, named", prod(), 9, now(), "--min-in-use", |rules| rules.require_source = vec!["prod".into()]),
            ("stale", prod(), 10, later(27), "--max-age", |rules| rules.max_age = Duration::hours(27)),
            ("future", prod(), 10, now() - TimeDelta::minutes(6), "in the future", nothing),
        ];
        for (name, section, images, at, sentence, way_out) in cases {
            let error = rules().judge(std::slice::from_ref(&section), images, at).expect_err(name);
            assert!(error.to_string().contains(sentence), "{name}: {error}");
            let mut eased = rules();
            way_out(&mut eased);
            let has_way_out = !std::ptr::fn_addr_eq(way_out, nothing);
            assert_eq!(eased.judge(&[section], images, at).is_ok(), has_way_out, "{name}");
        }
        assert_eq!(rules().judge(&[], 0, now()), Err(Distrust::None));
    }

    #[test]
    fn a_source_that_was_read_under_another_name_counts_as_one() {
        let twin = |complete| Source { same_as: Some("prod".into()), ..source(SourceKind::Context, "prod-admin", complete) };
        let both = |complete| section(vec![source(SourceKind::Context, "prod", complete), twin(complete)]);
        let required = Rules { require_source: vec!["prod-admin".into()], ..rules() };
        assert_eq!(required.judge(&[both(true)], 1, now()), Ok(()));
        assert!(matches!(required.judge(&[both(false)], 1, now()), Err(Distrust::Incomplete { .. })));
        // A filter may have dropped the other.
        assert_eq!(rules().judge(&[section(vec![twin(true)])], 10, now()), Ok(()));
    }

    #[test]
    fn a_kind_that_was_forgiven_is_no_reason_for_distrust() {
        let prod = Source { missing: vec!["cronjobs.batch".into()], ..source(SourceKind::Context, "prod", true) };
        assert_eq!(rules().judge(&[section(vec![prod])], 10, now()), Ok(()));
    }

    #[test]
    fn a_way_out_can_be_pasted() {
        assert_eq!((word("prod/eu-1"), word("my prod"), word("it's")), ("prod/eu-1".into(), "'my prod'".into(), r"'it'\''s'".into()));
        assert_eq!(one_line("a\n  b\n\n"), "a; b");
    }

    #[test]
    fn one_bad_section_of_several_is_enough() {
        let cut = Section { uses: 0, ..prod() };
        assert!(matches!(rules().judge(&[prod(), cut], 10, now()), Err(Distrust::Cut { .. })));
        let rules = Rules { require_source: vec!["prod".into(), "stage".into()], ..rules() };
        assert!(matches!(rules.judge(&[prod()], 10, now()), Err(Distrust::MissingSource { .. })));
    }
}
