//! The wire format: one JSON object a line, UTF-8, told apart by `type`. Each kind is specified where it is written, in the
//! doc comment of its type, with one example line that a test parses.
//!
//! A stream is one or more sections, each a [`Header`], records, and a [`Trailer`]; so the concatenation of two streams is a
//! stream. Keys are camelCase and use the words of the OCI and Kubernetes specifications; times are RFC 3339 in UTC; sizes are
//! bytes. Keys are added, never renamed: a reader ignores keys that it does not know, and a filter passes on unchanged both
//! unknown keys and records of unknown `type`. An unknown `action` or `result` is an error, because acting on half an
//! understanding deletes the wrong thing. What failed is a record in its place (a [`Repository`] or [`Tag`] with `error`, a
//! [`Source`] in the scope); trailers hold what only the end knows.

mod deletion;
mod finding;
mod header;
mod manifest;
mod reclaim;
mod repair;
mod repository;
mod tag;
mod trailer;
mod usage;
mod verdict;

pub use deletion::{Deletion, DeletionAction, DeletionResult};
pub use finding::{CheckTotals, Finding, Problem, Severity};
pub use header::{Header, Input, InvalidLimit, Limit, Policy, SCHEMA, Scope, Source, SourceKind};
pub use manifest::{Blob, Manifest};
pub use reclaim::{Reclaim, ReclaimResult, ReclaimTotals, Reclaimed, Sum};
pub use repair::{Repair, RepairAction, RepairResult, RepairTotals};
pub use repository::Repository;
pub use tag::Tag;
pub use trailer::{ListingTotals, PlanListing, PlanTotals, Trailer};
pub use usage::{Field, ListedAs, Use};
pub use verdict::{Action, Reason, Verdict};

/// The kind of a record, as its `type` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// [`Header`]
    Header,
    /// [`Use`]
    Use,
    /// [`Manifest`]
    Manifest,
    /// [`Tag`]
    Tag,
    /// [`Repository`]
    Repository,
    /// [`Deletion`]
    Deletion,
    /// [`Reclaim`]
    Reclaim,
    /// [`Finding`]
    Finding,
    /// [`Repair`]
    Repair,
    /// [`Trailer`]
    Trailer,
    /// A kind that this version does not know, or that another tool owns.
    Other,
}

impl Kind {
    /// The kind that a `type` names.
    #[must_use]
    pub fn of(name: &str) -> Self {
        match name {
            "header" => Self::Header,
            "use" => Self::Use,
            "manifest" => Self::Manifest,
            "tag" => Self::Tag,
            "repository" => Self::Repository,
            "deletion" => Self::Deletion,
            "reclaim" => Self::Reclaim,
            "finding" => Self::Finding,
            "repair" => Self::Repair,
            "trailer" => Self::Trailer,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jsonl::Line;

    /// The lines in the doc comments of the record types, between ```json and ```.
    fn examples(source: &str) -> Vec<String> {
        let mut blocks = Vec::new();
        let mut block: Option<String> = None;
        for line in source.lines() {
            let Some(text) = line.trim_start().strip_prefix("///") else { continue };
            match (text.trim(), &mut block) {
                ("```json", None) => block = Some(String::new()),
                ("```", Some(_)) => blocks.extend(block.take()),
                (text, Some(block)) => block.push_str(text),
                _ => {}
            }
        }
        blocks
    }

    /// Parses an example as its type and writes it again: nothing may be lost or renamed.
    fn round_trip<T: serde::de::DeserializeOwned + serde::Serialize>(source: &str, kind: Kind) {
        let examples = examples(source);
        assert!(!examples.is_empty(), "{kind:?} has no example");
        for example in examples {
            let line = Line::new("example", 1, &example);
            assert_eq!(line.kind().unwrap(), kind);
            let record: T = line.parse().unwrap();
            let before: serde_json::Value = serde_json::from_str(&example).unwrap();
            assert_eq!(serde_json::to_value(&record).unwrap(), before, "{example}");
            assert_eq!(
                serde_json::to_string(&record).unwrap().replace(char::is_whitespace, ""),
                example.replace(char::is_whitespace, ""),
                "order of keys"
            );
        }
    }

    #[test]
    fn every_documented_example_is_the_format() {
        round_trip::<Header>(include_str!("header.rs"), Kind::Header);
        round_trip::<Use>(include_str!("usage.rs"), Kind::Use);
        round_trip::<Manifest>(include_str!("manifest.rs"), Kind::Manifest);
        round_trip::<Tag>(include_str!("tag.rs"), Kind::Tag);
        round_trip::<Repository>(include_str!("repository.rs"), Kind::Repository);
        round_trip::<Deletion>(include_str!("deletion.rs"), Kind::Deletion);
        round_trip::<Reclaim>(include_str!("reclaim.rs"), Kind::Reclaim);
        round_trip::<Finding>(include_str!("finding.rs"), Kind::Finding);
        round_trip::<Repair>(include_str!("repair.rs"), Kind::Repair);
        round_trip::<Trailer>(include_str!("trailer.rs"), Kind::Trailer);
    }

    #[test]
    fn a_verdict_with_an_unknown_action_is_an_error() {
        assert!(serde_json::from_str::<Verdict>(r#"{"action":"archive","untag":[],"reasons":[]}"#).is_err());
    }

    #[test]
    fn unknown_types_are_other() {
        assert_eq!(Line::new("x", 1, r#"{"type":"comet","tail":1}"#).kind().unwrap(), Kind::Other);
    }
}
