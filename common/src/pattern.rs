//! Patterns over repository paths: globs in which `*` stays within a path component and `**` crosses; and over names that are no
//! paths, in which `*` crosses everything.
//!
//! Owns `--repository`, `--exclude` and the patterns over sources, and remembers which patterns never matched: a pattern that
//! matches nothing is most often a mistake, and is said. Pure.

use std::cell::Cell;

use globset::{GlobBuilder, GlobMatcher};

/// One glob, which remembers whether it ever matched.
#[derive(Debug, Clone)]
pub struct Glob {
    text: String,
    matcher: GlobMatcher,
    matched: Cell<bool>,
}

/// Why a text is no glob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no glob: {cause}")]
pub struct InvalidGlob {
    text: String,
    cause: String,
}

impl Glob {
    /// Parses a glob over a path whose components are separated by slashes.
    ///
    /// # Errors
    /// A bracket or brace that is not closed, and the like.
    pub fn parse(text: &str) -> Result<Self, InvalidGlob> {
        Self::build(text, true)
    }

    /// Parses a glob over names in which a slash is a character like any other: `arn:aws:eks:eu-west-1:1:cluster/prod`.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn over_names(text: &str) -> Result<Self, InvalidGlob> {
        Self::build(text, false)
    }

    fn build(text: &str, slash_separates: bool) -> Result<Self, InvalidGlob> {
        let glob = GlobBuilder::new(text).literal_separator(slash_separates).backslash_escape(true).build();
        let glob = glob.map_err(|error| InvalidGlob { text: text.to_owned(), cause: error.kind().to_string() })?;
        Ok(Self { text: text.to_owned(), matcher: glob.compile_matcher(), matched: Cell::new(false) })
    }

    /// Whether the whole of `path` matches.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let matches = self.matcher.is_match(path);
        if matches {
            self.matched.set(true);
        }
        matches
    }

    /// The glob as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it matched anything so far.
    #[must_use]
    pub fn has_matched(&self) -> bool {
        self.matched.get()
    }
}

/// Which repositories are meant: those that match any of the first list (all, where it is empty) and none of the second.
#[derive(Debug, Clone, Default)]
pub struct RepositoryFilter {
    include: Vec<Glob>,
    exclude: Vec<Glob>,
}

impl RepositoryFilter {
    /// Builds the filter of `--repository` and `--exclude`.
    ///
    /// # Errors
    /// The first text that is no glob.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, InvalidGlob> {
        let parse = |texts: &[String]| texts.iter().map(|text| Glob::parse(text)).collect::<Result<Vec<_>, _>>();
        Ok(Self { include: parse(include)?, exclude: parse(exclude)? })
    }

    /// Whether a repository is meant. All patterns are tried, so that [`Self::unmatched`] can tell.
    #[must_use]
    pub fn selects(&self, repository: &str) -> bool {
        let matches_any = |globs: &[Glob]| globs.iter().filter(|glob| glob.matches(repository)).count() > 0;
        let included = matches_any(&self.include) || self.include.is_empty();
        let excluded = matches_any(&self.exclude);
        included && !excluded
    }

    /// Whether all are meant.
    #[must_use]
    pub fn selects_all(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// The patterns that matched nothing so far, as they were written.
    pub fn unmatched(&self) -> impl Iterator<Item = &str> {
        self.include.iter().chain(&self.exclude).filter(|glob| !glob.has_matched()).map(Glob::text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_a_component() {
        for (glob, path, expected) in [
            ("team/*", "team/app", true),
            ("team/*", "team/app/web", false),
            ("team/**", "team/app/web", true),
            ("**/web", "team/app/web", true),
            ("**/web", "web", true),
            ("team/app", "team/application", false),
            ("team/{a,b}", "team/b", true),
            ("*", "team/app", false),
        ] {
            assert_eq!(Glob::parse(glob).unwrap().matches(path), expected, "{glob} {path}");
        }
        assert!(Glob::parse("team/[a").is_err());
        assert!(Glob::over_names("arn:*prod").unwrap().matches("arn:aws:eks:eu-west-1:1:cluster/prod"));
    }

    #[test]
    fn exclusion_wins_and_idle_patterns_are_known() {
        let filter = RepositoryFilter::new(&["team/**".into(), "tema/**".into()], &["**/keep".into(), "other/*".into()]).unwrap();
        assert!(filter.selects("team/app") && !filter.selects("team/keep") && !filter.selects("lib/app"));
        assert_eq!(filter.unmatched().collect::<Vec<_>>(), ["tema/**", "other/*"]);
    }
}
