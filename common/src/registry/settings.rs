//! What the user may decide about a registry client: plain values, read by nobody but this module's siblings.
//!
//! Whoever parses flags fills this in; files of credentials are found by `credentials` through [`Environment`].

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::reference::Host;
use crate::secret::Secret;

/// Everything that flags and environment say about how to talk to registries.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The user name of `--user` or `REG_USER`; it goes to `bound_host` alone.
    pub user: Option<String>,
    /// The password that belongs to `user`.
    pub password: Option<Secret>,
    /// The registry that `user` and `password` are meant for: the operand, `--registry` or `REG_REGISTRY`. Every other host gets
    /// credentials only from a file keyed by that host, because a host may come from a record that anyone can write.
    pub bound_host: Option<Host>,
    /// PEM certificates that are trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// Speak HTTP without TLS to hosts that are not loopback too.
    pub plain_http: bool,
    /// Speak TLS to loopback hosts too, and do not try first whether they speak HTTP.
    pub tls_only: bool,
    /// How many requests may be in flight at once; Distribution is saturated by 4 to 16.
    pub jobs: usize,
    /// Hosts of token servers that may be given credentials although they look unrelated to the registry.
    pub auth_hosts: Vec<Host>,
    /// A file of credentials to be read before all others, in the format of docker's `config.json`.
    pub auth_file: Option<PathBuf>,
    /// Where the names of credential files come from.
    pub environment: Environment,
    /// How long to wait for what.
    pub timeouts: Timeouts,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            user: None,
            password: None,
            bound_host: None,
            ca_file: None,
            plain_http: false,
            tls_only: false,
            jobs: 8,
            auth_hosts: Vec::new(),
            auth_file: None,
            environment: Environment::of_process(),
            timeouts: Timeouts::default(),
        }
    }
}

/// How long to wait for a registry.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For the next bytes of an answer.
    pub idle: Duration,
    /// For a whole request, one try of it.
    pub total: Duration,
    /// For a page of the catalog, which takes minutes where the registry walks a bucket for it.
    pub catalog: Duration,
    /// For a credential helper.
    pub helper: Duration,
    /// The first step of the waits between tries; they double from it.
    pub backoff: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            total: Duration::from_secs(60),
            catalog: Duration::from_secs(300),
            helper: Duration::from_secs(30),
            backoff: Duration::from_millis(250),
        }
    }
}

/// Environment variables, looked up through a function so that tests need not change those of the process.
#[derive(Clone)]
pub struct Environment(Arc<Lookup>);

type Lookup = dyn Fn(&str) -> Option<OsString> + Send + Sync;

impl Environment {
    /// The variables of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self::new(|name| std::env::var_os(name))
    }

    /// The variables that `lookup` knows.
    pub fn new(lookup: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static) -> Self {
        Self(Arc::new(lookup))
    }

    /// A variable's value, where it is set and not empty.
    pub(super) fn get(&self, name: &str) -> Option<OsString> {
        (self.0)(name).filter(|value| !value.is_empty())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Environment")
    }
}
