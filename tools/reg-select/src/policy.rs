//! What the user asked for: the rules, put together from flags and presets. Pure.

use chrono::{DateTime, TimeZone, Utc};
use common::duration::Duration;
use common::pattern::RepositoryFilter;
use common::record;
use regex::Regex;

/// By what the newest are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Order {
    /// By age: the later of built and pushed
    #[default]
    Time,
    /// By the version that a tag names
    Version,
}

/// The two policies that need no further flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Preset {
    /// Repositories nobody uses are emptied; of the others the newest 3, each one in use and the 2 before it stay; nothing
    /// younger than a day goes
    Evict,
    /// What is older than 90 days, not in use, and not among the newest 20 of its repository goes
    Lifecycle,
}

/// The rules. A number of zero, and `0s`, is a rule that is switched off.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Keep so many of the newest tagged digests.
    pub keep_newest: Option<u64>,
    /// Keep each tagged digest in use and so many before it.
    pub keep_around_in_use: Option<u64>,
    /// Keep what is younger.
    pub keep_within: Option<Duration>,
    /// Delete what is older.
    pub delete_older_than: Option<Duration>,
    /// Delete all of what nobody uses.
    pub delete_unused_repositories: bool,
    /// Delete what has no tag.
    pub delete_untagged: bool,
    /// Delete whatever nothing keeps.
    pub delete_rest: bool,
    /// Take expired tags off digests that stay.
    pub untag: bool,
    /// Which tags the rules are about.
    pub tags: TagFilter,
    /// Which repositories they are about.
    pub repositories: RepositoryFilter,
    /// By what the newest are found.
    pub order: Order,
}

impl Policy {
    /// Fills in what a preset says, where no flag says otherwise.
    pub fn with_preset(mut self, preset: Option<Preset>) -> Self {
        match preset {
            Some(Preset::Evict) => {
                self.keep_newest.get_or_insert(3);
                self.keep_around_in_use.get_or_insert(2);
                self.keep_within.get_or_insert(Duration::hours(24));
                self.delete_unused_repositories = true;
                self.delete_rest = true;
            }
            Some(Preset::Lifecycle) => {
                self.delete_older_than.get_or_insert(Duration::days(90));
                self.keep_newest.get_or_insert(20);
            }
            None => {}
        }
        self
    }

    /// How many of the newest are kept.
    pub fn newest(&self) -> usize {
        usize::try_from(self.keep_newest.unwrap_or(0)).unwrap_or(usize::MAX)
    }

    /// Whether there is a window around what is in use; `Some(0)` is one of what is in use alone, which is held anyway.
    pub fn around(&self) -> Option<usize> {
        self.keep_around_in_use.map(|number| usize::try_from(number).unwrap_or(usize::MAX))
    }

    /// The moment after which things are kept for their youth.
    pub fn kept_since(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.keep_within.filter(|span| !span.is_zero()).map(|span| now - span.delta())
    }

    /// The moment before which things go for their age.
    pub fn deleted_before(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.delete_older_than.filter(|span| !span.is_zero()).map(|span| now - span.delta())
    }

    /// Whether any rule could delete anything.
    pub fn deletes(&self) -> bool {
        self.delete_older_than.is_some_and(|span| !span.is_zero())
            || self.delete_unused_repositories
            || self.delete_untagged
            || self.delete_rest
    }

    /// The rules as the header of the plan tells them.
    pub fn record(&self, preset: Option<Preset>) -> record::Policy {
        let preset = preset.map(|preset| if preset == Preset::Evict { "evict" } else { "lifecycle" }.to_owned());
        record::Policy {
            preset,
            keep_newest: self.keep_newest,
            keep_around_in_use: self.keep_around_in_use,
            keep_within: self.keep_within.map(|span| span.to_string()),
            delete_older_than: self.delete_older_than.map(|span| span.to_string()),
            delete_unused_repositories: self.delete_unused_repositories,
            delete_untagged: self.delete_untagged,
            delete_rest: self.delete_rest,
            untag: self.untag,
            order: (self.order != Order::Time).then(|| "version".to_owned()),
            ..record::Policy::default()
        }
    }
}

/// Which tags are meant: those that match any of the first list (all, where it is empty) and none of the second. A pattern
/// matches the whole tag.
#[derive(Debug, Clone, Default)]
pub struct TagFilter {
    include: Vec<TagPattern>,
    exclude: Vec<TagPattern>,
}

#[derive(Debug, Clone)]
struct TagPattern {
    text: String,
    regex: Regex,
    matched: std::cell::Cell<bool>,
}

impl TagPattern {
    fn matches(&self, tag: &str) -> bool {
        let matches = self.regex.is_match(tag);
        self.matched.set(self.matched.get() || matches);
        matches
    }
}

impl TagFilter {
    /// Builds the filter of `--tags` and `--exclude-tags`.
    pub fn new(include: &[String], exclude: &[String]) -> anyhow::Result<Self> {
        let parse = |texts: &[String]| texts.iter().map(|text| TagPattern::parse(text)).collect::<anyhow::Result<Vec<_>>>();
        Ok(Self { include: parse(include)?, exclude: parse(exclude)? })
    }

    /// Whether no pattern was given, so that what has no tag is meant too.
    pub fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// Whether a tag is meant.
    pub fn selects(&self, tag: &str) -> bool {
        if self.is_empty() {
            return true;
        }
        // All are tried, so that a pattern that matches nothing can be told.
        let any = |patterns: &[TagPattern]| patterns.iter().filter(|pattern| pattern.matches(tag)).count() > 0;
        let included = any(&self.include) || self.include.is_empty();
        let excluded = any(&self.exclude);
        included && !excluded
    }

    /// The patterns that matched nothing so far.
    pub fn unmatched(&self) -> impl Iterator<Item = &str> {
        self.include.iter().chain(&self.exclude).filter(|pattern| !pattern.matched.get()).map(|pattern| pattern.text.as_str())
    }
}

impl TagPattern {
    fn parse(text: &str) -> anyhow::Result<Self> {
        // Parsed alone first: an unbalanced bracket must not become balanced by the frame around it.
        let explain = |error: regex::Error| {
            let text_of_error = error.to_string();
            let cause = text_of_error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            anyhow::anyhow!("{text:?} is no regular expression: {cause}")
        };
        Regex::new(text).map_err(explain)?;
        let regex = Regex::new(&format!(r"\A(?:{text})\z")).map_err(explain)?;
        Ok(Self { text: text.to_owned(), regex, matched: std::cell::Cell::new(false) })
    }
}

/// The first day on which a container image could have been built: Docker's first release. An earlier date is that of a
/// reproducible build (0, 1980) and says nothing about age.
pub fn first_plausible_date() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2013, 3, 20, 0, 0, 0).single().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_override_the_numbers_of_a_preset() {
        let policy = Policy { keep_newest: Some(5), delete_older_than: Some(Duration::days(30)), ..Policy::default() }
            .with_preset(Some(Preset::Lifecycle));
        assert_eq!((policy.keep_newest, policy.delete_older_than), (Some(5), Some(Duration::days(30))));
        let evict = Policy::default().with_preset(Some(Preset::Evict));
        assert_eq!((evict.keep_newest, evict.keep_around_in_use, evict.keep_within), (Some(3), Some(2), Some(Duration::hours(24))));
        assert!(evict.delete_unused_repositories && evict.delete_rest && !evict.delete_untagged);
    }

    #[test]
    fn zero_switches_an_age_rule_off() {
        let now = Utc::now();
        let policy = Policy { keep_within: Some(Duration::seconds(0)), delete_older_than: Some(Duration::seconds(0)), ..Policy::default() };
        assert_eq!((policy.kept_since(now), policy.deleted_before(now), policy.deletes()), (None, None, false));
    }

    #[test]
    fn a_pattern_matches_the_whole_tag() {
        let filter = TagFilter::new(&["v1|pr-.*".into(), "never".into()], &["pr-1".into()]).unwrap();
        let selected: Vec<_> = ["v1", "v10", "xv1", "pr-1", "pr-2", "latest"].into_iter().filter(|tag| filter.selects(tag)).collect();
        assert_eq!(selected, ["v1", "pr-2"]);
        assert_eq!(filter.unmatched().collect::<Vec<_>>(), ["never"]);
        for bad in ["a)(b", "(", "(?x)v1 # c"] {
            let error = TagFilter::new(&[bad.into()], &[]).unwrap_err().to_string();
            assert!(error.contains("is no regular expression: ") && error.lines().count() == 1, "{error}");
        }
        assert!(TagFilter::new(&["(?i)V1".into()], &[]).unwrap().selects("v1"));
    }
}
