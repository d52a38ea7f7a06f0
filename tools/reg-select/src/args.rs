//! The command line, and the policy that it asks for.

use std::path::PathBuf;

use anyhow::bail;
use chrono::{DateTime, Utc};
use clap::Parser;
use common::cli::{CommonArgs, CommonFlags, InventoryFlags, NameFlags, RepositoryFlags};
use common::duration::Duration;
use common::pattern::RepositoryFilter;
use common::record::{self, Limit};

use crate::policy::{Order, Policy, Preset, TagFilter};

const EXAMPLES: &str = "\
Examples:
  reg-list registry.example.com | reg-select --in-use in-use.jsonl --preset evict > plan.jsonl
  reg-list registry.example.com | reg-select --in-use in-use.jsonl --preset lifecycle --delete-older-than 30d
  reg-list registry.example.com | reg-select --in-use in-use.jsonl --preset evict --all --format table
";

/// Decides which manifests of a registry may go, and says why.
///
/// Reads the listing of reg-list on standard input and writes a plan: the same records with a verdict. Opens no socket and
/// deletes nothing; reg-delete carries a plan out.
#[derive(Debug, Parser)]
#[command(about, before_help = EXAMPLES)]
pub struct Args {
    /// A policy that needs no further flags; flags of the same name override its numbers
    #[arg(long, value_enum, help_heading = "What goes and what stays")]
    pub preset: Option<Preset>,
    /// Keep the newest N tagged digests of each repository
    #[arg(long, value_name = "N", help_heading = "What goes and what stays")]
    pub keep_newest: Option<u64>,
    /// Keep each tagged digest in use, and the N before it
    #[arg(long, value_name = "N", help_heading = "What goes and what stays")]
    pub keep_around_in_use: Option<u64>,
    /// Keep what is younger than this; 0s switches it off
    #[arg(long, value_name = "DURATION", help_heading = "What goes and what stays")]
    pub keep_within: Option<Duration>,
    /// Delete what is older than this; 0s switches it off
    #[arg(long, value_name = "DURATION", help_heading = "What goes and what stays")]
    pub delete_older_than: Option<Duration>,
    /// Delete all of a repository that nobody uses; the count rules cover only repositories in use then
    #[arg(long, help_heading = "What goes and what stays")]
    pub delete_unused_repositories: bool,
    /// Delete what has no tag and belongs to nothing
    #[arg(long, help_heading = "What goes and what stays")]
    pub delete_untagged: bool,
    /// Delete whatever no rule keeps
    #[arg(long, help_heading = "What goes and what stays")]
    pub delete_rest: bool,
    /// Take a tag that the rules would delete off a digest that stays for another tag
    #[arg(long, help_heading = "What goes and what stays")]
    pub untag: bool,
    /// Never delete what this file names: a reference or glob a line
    #[arg(long, value_name = "FILE", help_heading = "What goes and what stays")]
    pub keep_list: Vec<PathBuf>,
    /// By what the newest are found
    #[arg(long, value_enum, default_value = "time", help_heading = "What goes and what stays")]
    pub order: Order,
    /// Only tags that match this regular expression, which is about the whole tag
    #[arg(long, value_name = "REGEX", help_heading = "Which tags")]
    pub tags: Vec<String>,
    /// Not tags that match
    #[arg(long, value_name = "REGEX", help_heading = "Which tags")]
    pub exclude_tags: Vec<String>,
    #[command(flatten)]
    pub repositories: RepositoryFlags,
    #[command(flatten)]
    pub inventory: InventoryFlags,
    #[command(flatten)]
    pub names: NameFlags,
    /// Refuse a plan that deletes more than N manifests, or P% of those listed
    #[arg(long, value_name = "N|P%", help_heading = "Safety")]
    pub max_delete: Option<Limit>,
    /// The moment at which ages are reckoned, instead of the clock's
    #[arg(long, value_name = "TIME", help_heading = "Safety")]
    pub now: Option<DateTime<Utc>>,
    /// Hold the whole input first, for a listing in which a repository comes up more than once
    #[arg(long, help_heading = "Input and output")]
    pub ungrouped: bool,
    /// Write what stays too
    #[arg(long, help_heading = "Input and output")]
    pub all: bool,
    #[command(flatten)]
    pub common: CommonFlags,
}

impl CommonArgs for Args {
    fn common(&self) -> &CommonFlags {
        &self.common
    }
}

impl Args {
    /// The rules, or why they make no sense together.
    pub fn policy(&self) -> anyhow::Result<Policy> {
        if self.inventory.without_in_use {
            let needs_it = [
                (self.preset == Some(Preset::Evict), "--preset evict"),
                (self.keep_around_in_use.is_some(), "--keep-around-in-use"),
                (self.delete_unused_repositories, "--delete-unused-repositories"),
            ];
            if let Some((_, flag)) = needs_it.iter().find(|(given, _)| *given) {
                bail!("{flag} asks what is in use, so it cannot be combined with --without-in-use: give an inventory with --in-use FILE");
            }
        }
        let policy = Policy {
            keep_newest: self.keep_newest,
            keep_around_in_use: self.keep_around_in_use,
            keep_within: self.keep_within,
            delete_older_than: self.delete_older_than,
            delete_unused_repositories: self.delete_unused_repositories,
            delete_untagged: self.delete_untagged,
            delete_rest: self.delete_rest,
            untag: self.untag,
            tags: TagFilter::new(&self.tags, &self.exclude_tags)?,
            repositories: RepositoryFilter::new(&self.repositories.repository, &self.repositories.exclude)?,
            order: self.order,
        }
        .with_preset(self.preset);
        if !policy.deletes() && !self.all {
            bail!(
                "no rule deletes anything: give --preset evict, --preset lifecycle or a rule such as --delete-older-than 90d (--all shows what is listed and what holds it)"
            );
        }
        Ok(policy)
    }

    /// The rules as the header of the plan tells them.
    pub fn policy_record(&self, policy: &Policy) -> anyhow::Result<record::Policy> {
        Ok(record::Policy {
            tags: self.tags.clone(),
            exclude_tags: self.exclude_tags.clone(),
            repository: self.repositories.repository.clone(),
            exclude: self.repositories.exclude.clone(),
            alias: self.names.aliases()?.iter().map(ToString::to_string).collect(),
            not_alias: self.names.not_alias.iter().map(ToString::to_string).collect(),
            max_delete: self.max_delete,
            ..policy.record(self.preset)
        })
    }
}
