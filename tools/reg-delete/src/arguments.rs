//! The command line.

use std::path::PathBuf;

use clap::Parser;
use common::cli::{CommonArgs, CommonFlags, InventoryFlags, NameFlags, RegistryFlags, named_registry};
use common::duration::Duration;
use common::record::Limit;
use common::reference::Host;

use crate::undo::Wanted;

/// Carries out the deletions of a plan, with a journal that can put them back
#[derive(Debug, Parser)]
#[command(before_help = "Examples:
  reg-delete < plan.jsonl                                      what would be done
  reg-delete --yes < plan.jsonl >> journal.jsonl               do it, and remember how to undo it
  reg-delete --yes --journal journals/ < plan.jsonl            a file for each run in a folder
  reg-delete --resume --yes < journal.jsonl >> journal.jsonl   finish what was interrupted
  reg-delete --undo --yes < journal.jsonl                      put everything back
  reg-delete --undo --yes team/app:1.2 < journal.jsonl         put one image back
")]
pub(crate) struct Args {
    /// Do it; without this flag only what would be done is shown
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) yes: bool,
    /// Show what would be done, which is what happens without --yes
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The journal: a file, which is only ever appended to, or a folder, which gets a file for each run [default: standard output]
    #[arg(long, value_name = "PATH")]
    pub(crate) journal: Option<PathBuf>,
    /// Delete nothing if the plan deletes more manifests than this, or than this part of those listed; beside the plan's own limit
    #[arg(long, value_name = "N|P%", help_heading = "Which plans are good")]
    pub(crate) max_delete: Option<Limit>,
    /// Refuse plans whose listing or inventory is older [default: 26h; 7d with --in-use]
    #[arg(long, value_name = "DURATION", help_heading = "Which plans are good")]
    pub(crate) max_plan_age: Option<Duration>,
    /// Read journals, and finish what they show unfinished
    #[arg(long, conflicts_with = "undo", help_heading = "Journals")]
    pub(crate) resume: bool,
    /// Read journals, and put back what they show deleted: all of it, or what the operands name, with children and referrers
    #[arg(long, help_heading = "Journals")]
    pub(crate) undo: bool,
    /// With --undo: also take tags that name something else by now
    #[arg(long, requires = "undo", help_heading = "Journals")]
    pub(crate) force: bool,
    /// With --undo: what to put back; without a host in any registry of the journals
    #[arg(value_name = "REPOSITORY[:TAG|@DIGEST]", requires = "undo", help_heading = "Journals")]
    pub(crate) wanted: Vec<Wanted>,
    /// The registry that --user and REG_USER belong to; what the plan names on other hosts gets credentials from files alone
    #[arg(long, value_name = "HOST", env = "REG_REGISTRY", help_heading = "Reaching the registry")]
    registry: Option<String>,
    #[command(flatten)]
    pub(crate) inventories: InventoryFlags,
    #[command(flatten)]
    pub(crate) names: NameFlags,
    #[command(flatten)]
    pub(crate) connection: RegistryFlags,
    #[command(flatten)]
    pub(crate) common: CommonFlags,
}

impl CommonArgs for Args {
    fn common(&self) -> &CommonFlags {
        &self.common
    }
}

impl Args {
    /// The registry that user and password belong to.
    pub(crate) fn registry(&self) -> anyhow::Result<Option<Host>> {
        named_registry(self.registry.as_deref())
    }
}
