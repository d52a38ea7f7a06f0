//! What people are told at the end: how many go and stay and why, and what comes free.

use std::fmt::Write as _;

use common::cli::{bytes, count};
use common::record::{Action, PlanTotals};

use crate::decide::Decided;
use crate::rule::{ALL, Rule};

/// How many examples are told of a thing.
const EXAMPLES: usize = 10;
/// How many repositories are told of.
const TOP: usize = 5;

/// Counts, as the repositories go by.
#[derive(Debug, Default)]
pub struct Summary {
    go: [u64; ALL.len()],
    stay: [u64; ALL.len()],
    selected_yet_kept: u64,
    examples: Vec<String>,
    /// The repositories from which most comes free, with the bytes and the number of manifests.
    top: Vec<(u64, u64, String)>,
    repositories: u64,
    affected: u64,
    frozen: Vec<String>,
    other_names: u64,
    undated_in_use: u64,
}

impl Summary {
    /// Counts one repository, in which `freed_here` bytes come free.
    pub fn count(&mut self, name: &str, decided: &Decided<'_>, freed_here: u64) {
        let mut deletes = 0;
        self.repositories += 1;
        self.undated_in_use += decided.undated_in_use as u64;
        self.other_names += decided.world.uses.other_name.len() as u64;
        if decided.repository.complete.is_err() {
            self.frozen.push(name.to_owned());
        }
        for (place, verdict) in decided.verdicts.iter().enumerate() {
            let goes = verdict.action == Action::Delete;
            deletes += u64::from(goes);
            let counts = if goes { &mut self.go } else { &mut self.stay };
            for rule in verdict.rules.iter().filter(|rule| rule.deletes() == goes) {
                counts[rule as usize] += 1;
            }
            if !goes && verdict.rules.has(Rule::AlsoTagged) && verdict.rules.deletes() {
                self.selected_yet_kept += 1;
                if self.examples.len() < EXAMPLES {
                    let others: Vec<&str> = decided.unselected_tags(place).collect();
                    let selected =
                        decided.repository.entries[place].own_tags().filter(|tag| !others.contains(tag)).collect::<Vec<_>>().join(", ");
                    self.examples.push(format!("{name} {selected}: also tagged {}", others.join(", ")));
                }
            }
        }
        if deletes > 0 {
            self.affected += 1;
            self.top.push((freed_here, deletes, name.to_owned()));
            self.top.sort_by(|a, b| b.cmp(a));
            self.top.truncate(TOP);
        }
    }

    /// The summary as text; `freed` is of the whole input, `not_listed` counts uses of repositories that were not listed.
    pub fn text(&self, tool: &str, totals: &PlanTotals, freed: u64, not_listed: u64) -> String {
        let mut text = String::new();
        let untags = if totals.untags > 0 { format!(" ({} of them without some of their tags)", totals.untags) } else { String::new() };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{tool}: {} of {} in {} of {} go, {} stay{untags}; {} come free",
            totals.deletes,
            count(totals.listed, "manifest"),
            self.affected,
            count(self.repositories, "repository"),
            totals.listed - totals.deletes,
            bytes(freed)
        );
        for (what, counts) in [("go", &self.go), ("stay", &self.stay)] {
            let told: Vec<String> =
                ALL.iter().filter(|rule| counts[**rule as usize] > 0).map(|rule| format!("{rule} {}", counts[*rule as usize])).collect();
            if !told.is_empty() {
                let _ = writeln!(text, "  why they {what}: {}", told.join(", "));
            }
        }
        if self.selected_yet_kept > 0 {
            let _ = writeln!(text, "  selected, yet kept for another tag: {}", count(self.selected_yet_kept, "manifest"));
            for example in &self.examples {
                let _ = writeln!(text, "    {example}");
            }
            if self.selected_yet_kept > self.examples.len() as u64 {
                let _ = writeln!(text, "    and {} more; --all shows them", self.selected_yet_kept - self.examples.len() as u64);
            }
        }
        if !self.top.is_empty() {
            let _ = writeln!(text, "  most comes free in:");
            for (freed, deletes, name) in &self.top {
                let _ = writeln!(text, "    {name}: {} by {}", bytes(*freed), count(*deletes, "manifest"));
            }
        }
        if self.other_names > 0 {
            let _ = writeln!(
                text,
                "  {} on other hosts with the same repository path hold what they name here; say --alias where a host is another name, --not-alias where it is a stranger",
                count(self.other_names, "use")
            );
        }
        if self.undated_in_use > 0 {
            let _ = writeln!(
                text,
                "  {} in use without a date (or version) that counts: what was before them is not known, and not kept for them",
                count(self.undated_in_use, "manifest")
            );
        }
        if not_listed > 0 {
            let _ = writeln!(text, "  {} of repositories that were not listed", count(not_listed, "use"));
        }
        if !self.frozen.is_empty() {
            let shown = self.frozen.iter().take(EXAMPLES).cloned().collect::<Vec<_>>().join(", ");
            let more = if self.frozen.len() > EXAMPLES { format!(" and {} more", self.frozen.len() - EXAMPLES) } else { String::new() };
            let _ = writeln!(text, "  frozen, because they could not be listed whole: {shown}{more}; look into them with reg-check");
        }
        text
    }
}
