//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use common::beside::source::Asked;
use common::check::Depth;
use common::cli::{CommonArgs, CommonFlags, NameFlags, RegistryFlags, RepositoryFlags};
use common::record::Severity;

use crate::report::nagios;

/// Says what is broken in a container registry, and who runs it
#[derive(Debug, Parser)]
#[command(before_help = "Examples:
  k8s-images | reg-check                         is every image in use still there, whole?
  reg-check registry.example.com                 everything that the registry's catalog names
  reg-check registry.example.com/team/app:1.2    one image
  reg-list registry.example.com | reg-check --in-use in-use.jsonl
                                                 what was listed, and who uses what is broken
  reg-check registry.example.com --depth content --fail-on warning
                                                 every byte hashed; status 1 for warnings too
")]
pub(crate) struct Args {
    /// A registry, what of it lies at or below a path, or one image with its tag or digest; without any, use or manifest records are
    /// read from standard input
    #[arg(value_name = "REGISTRY[/PREFIX]|IMAGE")]
    pub(crate) operands: Vec<String>,
    /// How deep to look; each includes those before it
    #[arg(long, value_enum, value_name = "DEPTH", default_value_t = Depth::Blobs)]
    pub(crate) depth: Depth,
    /// Write what is healthy too
    #[arg(long)]
    pub(crate) all: bool,
    /// From which severity on the exit status is 1
    #[arg(long, value_enum, value_name = "SEVERITY", default_value_t = FailOn::Error)]
    pub(crate) fail_on: FailOn,
    /// Of what standard input names, ask only this registry or this part of it; repeat it for several
    #[arg(long, value_name = "REGISTRY[/PREFIX]")]
    pub(crate) only: Vec<String>,
    /// Ask for children, configs and layers in each repository that needs them, not once for the whole registry
    #[arg(long)]
    pub(crate) each_repository: bool,
    /// An inventory of what is in use, written by k8s-images: findings then say who uses it; repeat it for several
    #[arg(long, value_name = "FILE", help_heading = "What is in use")]
    pub(crate) in_use: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) names: NameFlags,
    /// Make a folder by the time of the check below this one, with findings.json, findings.csv and summary.txt
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub(crate) report: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) storage: StorageFlags,
    #[command(flatten)]
    pub(crate) repositories: RepositoryFlags,
    /// The registry that user and password belong to, where it is not the only one named as operand; with a storage, whose it is
    #[arg(long, value_name = "HOST", env = "REG_REGISTRY", help_heading = "Reaching the registry")]
    pub(crate) registry: Option<String>,
    #[command(flatten)]
    pub(crate) reach: RegistryFlags,
    #[command(flatten)]
    pub(crate) common: CommonFlags,
}

/// The flags that name a storage tree.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "A storage, checked without its registry")]
pub(crate) struct StorageFlags {
    /// The rootdirectory of a registry's storage, the folder that holds docker/registry/v2
    #[arg(long, value_name = "DIR", conflicts_with_all = ["operands", "only", "each_repository"])]
    pub(crate) store: Option<PathBuf>,
    /// The registry's configuration, whose storage is checked
    #[arg(long, value_name = "FILE", conflicts_with_all = ["operands", "only", "each_repository"])]
    pub(crate) config: Option<PathBuf>,
    /// The storage of the registry that runs here, or of the one with this process number
    #[arg(long, value_name = "PID", num_args = 0..=1, require_equals = true, conflicts_with_all = ["operands", "only", "each_repository"])]
    pub(crate) from_process: Option<Option<u32>>,
    /// With --depth content, read only so much of the content: on each day another part, so that in time all of it is read
    #[arg(long, value_name = "P%", value_parser = percent)]
    pub(crate) sample: Option<f64>,
    /// With --depth content, read only what is newer than the run that wrote this file, and what it found damaged; then write it anew
    #[arg(long, value_name = "FILE")]
    pub(crate) since: Option<PathBuf>,
}

impl StorageFlags {
    /// The storage that is meant, where one is.
    pub(crate) fn asked(&self) -> Option<Asked> {
        let is_meant = self.store.is_some() || self.config.is_some() || self.from_process.is_some();
        is_meant.then(|| Asked { config: self.config.clone(), store: self.store.clone(), from_process: self.from_process })
    }
}

/// A part of a whole: `5%`, `0.5%`, or the number alone.
fn percent(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.strip_suffix('%').unwrap_or(text).parse().ok();
    number.filter(|number| *number > 0.0 && *number <= 100.0).ok_or_else(|| "expected a part of 100, such as 5%".to_owned())
}

impl CommonArgs for Args {
    const FORMATS: &'static [(&'static str, &'static str)] = &[
        ("junit", "A JUnit document, as GitLab shows it in a merge request"),
        ("nagios", "A status line with performance data, and its exit status"),
    ];

    fn common(&self) -> &CommonFlags {
        &self.common
    }

    fn misused(flags: &[OsString], cause: &str) -> Option<(String, u8)> {
        // What is wrong kept the flags from being read.
        let wants = |words: &[OsString]| matches!(words, [.., flag, name] if flag == "--format" && name == "nagios");
        let is_wanted = flags.iter().any(|word| word == "--format=nagios") || flags.windows(2).any(wants);
        is_wanted.then(|| nagios::misused(cause))
    }
}

/// From which severity on the exit status is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum FailOn {
    /// Errors
    Error,
    /// Errors and warnings
    Warning,
    /// Errors, warnings, and what could not be found out
    Unknown,
    /// Nothing that is found
    Never,
}

impl FailOn {
    /// Whether a finding of this severity makes the status 1.
    pub(crate) fn fails(self, severity: Severity) -> bool {
        match severity {
            Severity::Error => self <= Self::Unknown,
            Severity::Warning => (Self::Warning..=Self::Unknown).contains(&self),
            Severity::Unknown => self == Self::Unknown,
            Severity::Ok | Severity::Info | Severity::Other => false,
        }
    }
}
