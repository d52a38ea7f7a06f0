//! The command line.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use common::beside::probe::Address;
use common::beside::source::Asked;
use common::cli::{CommonArgs, CommonFlags, RegistryFlags, named_registry};
use common::duration::Duration;
use common::reference::{Host, Repository};

/// Mends the storage of a registry, as far as findings of reg-check ask for it, and can take it back
#[derive(Debug, Parser)]
#[command(before_help = "Examples:
  reg-check --store /var/lib/registry --fail-on never | reg-fix --store /var/lib/registry         what would be mended, and how
  reg-check --store /var/lib/registry --fail-on never | reg-fix --store /var/lib/registry --yes   mend it
  reg-fix --store /var/lib/registry --yes report/findings.json                                    by the findings of a report
  reg-fix --config config.yml --from mirror.example.com --online --yes report/findings.json       fetch what is lost from a mirror
  reg-fix --config config.yml --drop --stopped --yes report/findings.json                         take away what cannot be saved
  reg-fix --store /var/lib/registry --undo                                                        what can be taken back
  reg-fix --store /var/lib/registry --undo latest --stopped --yes                                 take it back
")]
pub(crate) struct Args {
    /// Findings of reg-check: JSON Lines, or the findings.json of a report; - is standard input [default: standard input]
    #[arg(value_name = "FINDINGS", conflicts_with = "undo")]
    pub(crate) findings: Vec<PathBuf>,
    /// Do it; without this flag only what would be done is shown
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) yes: bool,
    /// Show what would be done, which is what happens without --yes
    #[arg(long)]
    dry_run: bool,

    /// The folder of the storage, which the configuration calls rootdirectory
    #[arg(long, value_name = "DIR", help_heading = "Which storage")]
    store: Option<PathBuf>,
    /// The registry's configuration file, read with the REGISTRY_* variables that it is started with [default: REGISTRY_CONFIGURATION_PATH]
    #[arg(long, value_name = "FILE", help_heading = "Which storage")]
    config: Option<PathBuf>,
    /// Ask a running registry, by its process, what it was started with; without PID the only one there is
    #[arg(long, value_name = "PID", num_args = 0..=1, help_heading = "Which storage")]
    from_process: Option<Option<u32>>,
    /// Whose storage it is: findings of other registries are passed over
    #[arg(long, value_name = "HOST", env = "REG_REGISTRY", help_heading = "Which storage")]
    registry: Option<String>,

    /// Take away what cannot be saved: tags and links of manifests that are lost, or need what is lost, and that nobody uses
    #[arg(long, help_heading = "What is done", conflicts_with = "undo")]
    pub(crate) drop: bool,
    /// Fetch what is lost from another registry, by digest: its repositories have the same names, below PREFIX
    #[arg(long, value_name = "REGISTRY[/PREFIX]", help_heading = "What is done", conflicts_with = "undo")]
    from: Option<String>,

    /// Ask the registry at this URL whether it can be written to; repeat it for each replica [default: where the configuration says that it listens, on this host]
    #[arg(long, value_name = "URL", help_heading = "Whether the registry writes")]
    pub(crate) probe: Vec<Address>,
    /// Nobody writes to the storage: the registry does not run
    #[arg(long, conflicts_with = "online", help_heading = "Whether the registry writes")]
    pub(crate) stopped: bool,
    /// Take away and replace things although the registry goes on serving
    #[arg(long, help_heading = "Whether the registry writes")]
    pub(crate) online: bool,

    /// The Redis in which the registry caches descriptors, such as redis://host:6379/0; the password comes from REG_GC_REDIS_PASSWORD
    /// [default: as the configuration says]
    #[arg(long, value_name = "URL", help_heading = "What the registry remembers")]
    pub(crate) redis: Option<String>,

    /// Take back what a run did: its name, latest or all; without a name list the runs
    #[arg(long, value_name = "RUN", num_args = 0..=1, help_heading = "Undo")]
    pub(crate) undo: Option<Option<String>>,
    /// How long a run can be taken back
    #[arg(long, value_name = "DURATION", default_value = "13d", help_heading = "Undo")]
    pub(crate) keep_runs: Duration,

    #[command(flatten)]
    pub(crate) reaching: RegistryFlags,
    #[command(flatten)]
    common: CommonFlags,
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

    /// The registry of `--from`, and below which prefix.
    pub(crate) fn from(&self) -> anyhow::Result<Option<(Host, String)>> {
        let Some(text) = self.from.as_deref() else { return Ok(None) };
        let text = text.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
        let (host, prefix) = text.split_once('/').unwrap_or((text, ""));
        let host = host.parse().context("--from")?;
        if !prefix.is_empty() {
            prefix.parse::<Repository>().context("--from")?;
        }
        Ok(Some((host, prefix.to_owned())))
    }

    /// The user of the probe. Where something is fetched, user and password belong to the registry that it comes from, and to no other.
    pub(crate) fn probe_user(&self) -> Option<&str> {
        self.reaching.user.as_deref().filter(|_| self.from.is_none())
    }
}
