//! Flags that several tools share; what means the same is called the same.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::duration::Duration;
use crate::inventory::Alias;
use crate::reference::Host;

/// The flags by which a tool is given inventories, and the rules of trusting them.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "What is in use")]
pub struct InventoryFlags {
    /// An inventory of what is in use, written by k8s-images; repeat it for several
    #[arg(long, value_name = "FILE")]
    pub in_use: Vec<PathBuf>,
    /// A further inventory that can only hold more: it may be old, small or narrowed, but not cut
    #[arg(long, value_name = "FILE")]
    pub also_in_use: Vec<PathBuf>,
    /// Decide without knowing what is in use
    #[arg(long, conflicts_with = "in_use")]
    pub without_in_use: bool,
    /// Accept that this source was not read whole
    #[arg(long, value_name = "SOURCE")]
    pub allow_incomplete: Vec<String>,
    /// Accept an inventory that was narrowed to namespaces or by a selector
    #[arg(long)]
    pub allow_partial: bool,
    /// Refuse an inventory that lacks this source
    #[arg(long, value_name = "SOURCE")]
    pub require_source: Vec<String>,
    /// Refuse an inventory older than this
    #[arg(long, value_name = "DURATION", default_value = "26h")]
    pub max_age: Duration,
    /// Refuse an inventory with fewer distinct images outside kube-system [default: 10; 1 with --require-source]
    #[arg(long, value_name = "N")]
    pub min_in_use: Option<u64>,
}

/// The flags that say which names mean the same registry.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Names")]
pub struct NameFlags {
    /// Two names of one registry, or of a part of it: HOST[/PREFIX]=HOST[/PREFIX]; longest prefix first
    ///
    /// REG_ALIAS holds more of them, separated by commas or blanks
    #[arg(long, value_name = "NAME=NAME", value_delimiter = ',')]
    pub alias: Vec<Alias>,
    /// A host whose repositories are strangers to the listed ones, even where a path is the same
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub not_alias: Vec<Host>,
}

/// The registry that `--registry` or `REG_REGISTRY` names. A variable that is set to nothing is how CI pipelines say that they have none.
///
/// The text is taken as it is by the command line, which repeats what it cannot read: a password may stand in it.
///
/// # Errors
/// What is no host's name, without a password that stands in it.
pub fn named_registry(text: Option<&str>) -> anyhow::Result<Option<Host>> {
    text.filter(|text| !text.is_empty()).map(|text| text.parse().context("--registry or REG_REGISTRY")).transpose()
}

/// The flags that choose repositories.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which repositories")]
pub struct RepositoryFlags {
    /// Only repositories that match; * stays within a path component, ** crosses
    #[arg(long, value_name = "GLOB")]
    pub repository: Vec<String>,
    /// Not repositories that match
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,
}

/// The flags by which a registry is reached.
#[cfg(feature = "registry")]
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Reaching the registry")]
pub struct RegistryFlags {
    /// User name; the password comes from --password-stdin, REG_PASSWORD or REG_PASSWORD_FILE
    #[arg(long, value_name = "NAME", env = "REG_USER")]
    pub user: Option<String>,
    /// Read the password from the first line of standard input
    #[arg(long, requires = "user")]
    pub password_stdin: bool,
    /// Trust the certificates in this PEM file too
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Speak http to a registry that is not on this host
    #[arg(long)]
    pub plain_http: bool,
    /// Give credentials to this token server too, where the registry names it
    #[arg(long, value_name = "HOST")]
    pub auth_host: Vec<Host>,
    /// Requests under way at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
}
