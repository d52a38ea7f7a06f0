//! The command line.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Parser;
use common::cli::{CommonArgs, CommonFlags, InventoryFlags, NameFlags, named_registry};
use common::duration::Duration;
use common::record::Limit;
use common::reference::Host;

use common::beside::probe::Address;
use common::beside::source::Asked;

/// Gives a registry's disk space back: removes from its storage what nothing leads to, and can put it back
#[derive(Debug, Parser)]
#[command(before_help = "Examples:
  reg-gc /etc/docker/registry/config.yml                        what would go, and how many bytes
  reg-gc /etc/docker/registry/config.yml --online --yes         do it while the registry serves: links now, bytes from tomorrow on
  reg-gc /etc/docker/registry/config.yml --untagged --older-than 7d --in-use in-use.jsonl --online --yes
                                                                what has no tag, is a week old and runs nowhere goes too
  reg-gc --store /var/lib/registry --stopped --yes              all at once, because the registry does not run
  reg-gc --store /var/lib/registry --undo                       what can be put back
  reg-gc --store /var/lib/registry --undo latest --yes          put it back
")]
pub(crate) struct Args {
    /// The registry's configuration file, read with the REGISTRY_* variables that it is started with [default: REGISTRY_CONFIGURATION_PATH]
    #[arg(value_name = "CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// The folder of the storage, which the configuration calls rootdirectory
    #[arg(long, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// Ask a running registry, by its process, what it was started with; without PID the only one there is
    #[arg(long, value_name = "PID", num_args = 0..=1)]
    pub(crate) from_process: Option<Option<u32>>,
    /// Do it; without this flag only what would be done is shown
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) yes: bool,
    /// Show what would be done, which is what happens without --yes
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Manifests that no tag leads to may go too; needs --in-use, because what runs by a digest whose tag moved on is untagged
    #[arg(long, help_heading = "What may go")]
    pub(crate) untagged: bool,
    /// Of these only what was pushed longer ago than this
    #[arg(long, value_name = "DURATION", requires = "untagged", help_heading = "What may go")]
    pub(crate) older_than: Option<Duration>,
    /// Uploads that have not moved for longer than this
    #[arg(long, value_name = "DURATION", default_value = "7d", help_heading = "What may go")]
    pub(crate) uploads_older_than: Duration,
    /// What was written later than this ago stays [default: 23h; 0s where the registry is read-only or --stopped]
    #[arg(long, value_name = "DURATION", help_heading = "What may go")]
    pub(crate) grace: Option<Duration>,
    /// Do nothing if more blobs would go than this, or than this part of all
    #[arg(long, value_name = "N|P%", help_heading = "What may go")]
    pub(crate) max_delete: Option<Limit>,
    /// With --untagged: accept a storage that has manifests and not one tag
    #[arg(long, requires = "untagged", help_heading = "What may go")]
    pub(crate) allow_no_tags: bool,
    /// Accept a storage with blobs and no repository, or with manifests and no blob, which looks like a volume that is not mounted
    #[arg(long, help_heading = "What may go")]
    pub(crate) allow_missing: bool,
    /// Open every folder for stray temporary files, even where that takes long; below 20,000 blobs it is always done
    #[arg(long, help_heading = "What may go")]
    pub(crate) deep: bool,
    /// Whose storage it is: the host by which the inventory knows the registry
    #[arg(long, value_name = "HOST", env = "REG_REGISTRY", help_heading = "What is in use")]
    registry: Option<String>,
    #[command(flatten)]
    pub(crate) inventories: InventoryFlags,
    #[command(flatten)]
    pub(crate) names: NameFlags,

    /// Ask the registry at this URL whether it can be written to; repeat it for each replica [default: where the configuration says that it listens, on this host]
    #[arg(long, value_name = "URL", help_heading = "Whether the registry writes")]
    pub(crate) probe: Vec<Address>,
    /// Nobody writes to the storage: the registry does not run
    #[arg(long, conflicts_with = "online", help_heading = "Whether the registry writes")]
    pub(crate) stopped: bool,
    /// The registry goes on serving: links go in this run, and blobs in a later one
    #[arg(long, help_heading = "Whether the registry writes")]
    pub(crate) online: bool,
    /// Run this before anything else, to switch the registry to read-only
    #[arg(long, value_name = "COMMAND", help_heading = "Whether the registry writes")]
    pub(crate) before: Option<String>,
    /// Run this afterwards, whatever happens, to switch it back
    #[arg(long, value_name = "COMMAND", help_heading = "Whether the registry writes")]
    pub(crate) after: Option<String>,
    /// User name for the probe; the password comes from REG_PASSWORD or REG_PASSWORD_FILE
    #[arg(long, value_name = "NAME", env = "REG_USER", help_heading = "Whether the registry writes")]
    pub(crate) user: Option<String>,
    /// Trust the certificates in this PEM file too
    #[arg(long, value_name = "FILE", help_heading = "Whether the registry writes")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Give credentials to this token server too, where the registry names it
    #[arg(long, value_name = "HOST", help_heading = "Whether the registry writes")]
    pub(crate) auth_host: Vec<Host>,

    /// The Redis in which the registry caches descriptors, such as redis://host:6379/0; the password comes from REG_GC_REDIS_PASSWORD
    /// [default: as the configuration says]
    #[arg(long, value_name = "URL", help_heading = "What the registry remembers")]
    pub(crate) redis: Option<String>,
    /// Run this to restart the registry, if something was removed that it may have in memory
    #[arg(long, value_name = "COMMAND", help_heading = "What the registry remembers")]
    pub(crate) restart: Option<String>,
    /// Restart the registry of --from-process by SIGTERM, and wait until it answers again
    #[arg(long, requires = "from_process", conflicts_with = "restart", help_heading = "What the registry remembers")]
    pub(crate) restart_process: bool,

    /// How long what was taken away can be put back, before its bytes come free
    #[arg(long, value_name = "DURATION", default_value = "13d", help_heading = "The trash")]
    pub(crate) keep_trash: Duration,
    /// Remove it at the end of the run: nothing can be put back
    #[arg(long, help_heading = "The trash")]
    pub(crate) no_trash: bool,
    /// Put back what a run took away: its name, latest or all; without a name list the runs
    #[arg(long, value_name = "RUN", num_args = 0..=1, conflicts_with_all = ["online", "stopped", "untagged", "no_trash", "every"], help_heading = "The trash")]
    pub(crate) undo: Option<Option<String>>,
    /// With --undo: only what the manifests in this journal of reg-delete need
    #[arg(long = "for", value_name = "JOURNAL", requires = "undo", help_heading = "The trash")]
    pub(crate) only_for: Vec<PathBuf>,

    /// Do it again and again, so long after the end of each run; the first run waits a minute, or as long as this if that is less
    #[arg(long, value_name = "DURATION", env = "REG_GC_EVERY", help_heading = "As a sidecar")]
    every: Option<Said<Duration>>,
    /// Write after each run when it was and how it ended
    #[arg(long, value_name = "FILE", env = "REG_GC_HEALTH", help_heading = "As a sidecar")]
    health: Option<Said<PathBuf>>,
    #[command(flatten)]
    pub(crate) common: CommonFlags,
}

impl CommonArgs for Args {
    fn common(&self) -> &CommonFlags {
        &self.common
    }
}

impl Args {
    /// Which storage is meant.
    pub(crate) fn asked(&self) -> Asked {
        Asked { config: self.config.clone(), store: self.store.clone(), from_process: self.from_process }
    }

    /// Whose storage it is.
    pub(crate) fn registry(&self) -> anyhow::Result<Option<Host>> {
        named_registry(self.registry.as_deref())
    }

    /// How long lies between two runs of a sidecar.
    pub(crate) fn every(&self) -> Option<Duration> {
        self.every.as_ref().and_then(Said::value).copied()
    }

    /// Where each run leaves how it ended.
    pub(crate) fn health(&self) -> Option<&Path> {
        self.health.as_ref().and_then(Said::value).map(PathBuf::as_path)
    }
}

/// What a flag or its variable says. A variable that is set to nothing is how CI pipelines say that they have none.
#[derive(Debug, Clone)]
struct Said<T>(Option<T>);

impl<T> Said<T> {
    fn value(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

impl<T: FromStr> FromStr for Said<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        Ok(Self(if text.is_empty() { None } else { Some(text.parse()?) }))
    }
}
