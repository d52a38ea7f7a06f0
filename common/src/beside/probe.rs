//! Whether a registry can be written to, found out without writing.
//!
//! Owns what is asked of whom and what follows from the answers. Distribution does not register the handlers of PUT, POST, PATCH and
//! DELETE while it is read-only, and `Allow` of an OPTIONS request names the handlers that are there; the repository need not exist and
//! nothing is made. Where a proxy answers OPTIONS itself, a manifest without content is put, which no registry takes. How one
//! registry is asked is in `ask`, where it is in `address`. What is done with the [`Standing`] is the caller's.
//!
//! A registry counts as read-only where it proves it. A refused connection proves nothing, because the registry may run in another
//! network namespace, and neither does an answer that a proxy may have made up.

mod address;
mod ask;
#[cfg(test)]
mod testing;
mod token;

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::source::Source;
use crate::reference::Host;
use crate::secret::Secret;
use anyhow::{Context as _, bail};
use ureq::tls::{Certificate, PemItem};

pub use address::{Address, Listen};

/// What one registry's answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It takes changes.
    Writable,
    /// It proves that it takes none.
    ReadOnly,
    /// Nobody listens there, as far as can be seen from here.
    Refused,
    /// Anything else, and why it says nothing.
    Unknown(String),
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Writable => formatter.write_str("can be written to"),
            Self::ReadOnly => formatter.write_str("is read-only"),
            Self::Refused => formatter.write_str("refuses connections, which proves nothing"),
            Self::Unknown(why) => formatter.write_str(why),
        }
    }
}

/// What follows from all answers and from what the user says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// At least one replica takes changes.
    Writable {
        /// The first that does.
        url: String,
    },
    /// Every replica that was named proved that it is read-only.
    ReadOnly,
    /// The user says that nobody writes, and no answer contradicts.
    Stopped,
    /// It may be written to.
    Unproven {
        /// What is missing, and the way out.
        why: String,
    },
}

/// What follows from the answers, and from `--stopped`, which says that nobody writes. It never outweighs a registry that can be
/// written to.
#[must_use]
pub fn judge(answers: &[(String, Answer)], stopped: bool) -> Standing {
    if let Some((url, _)) = answers.iter().find(|(_, answer)| *answer == Answer::Writable) {
        return Standing::Writable { url: url.clone() };
    }
    let unproven: Vec<String> =
        answers.iter().filter(|(_, answer)| *answer != Answer::ReadOnly).map(|(url, answer)| format!("{url} {answer}")).collect();
    match (answers.is_empty(), unproven.is_empty()) {
        (false, true) => Standing::ReadOnly,
        _ if stopped => Standing::Stopped,
        (true, _) => Standing::Unproven {
            why: "no registry could be asked whether it can be written to: name each replica with --probe URL, or say --stopped where \
                  nobody writes"
                .to_owned(),
        },
        (false, false) => Standing::Unproven {
            why: format!(
                "{}; name each replica with --probe URL, as it is reached from here, or say --stopped where nobody writes",
                unproven.join("; ")
            ),
        },
    }
}

/// Who asks: a user and a password, shown to the registries that the user named and to their token servers.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The user name.
    pub user: String,
    /// The password.
    pub password: Secret,
}

impl Credentials {
    /// Those of `--user` or `REG_USER`, with the password of `REG_PASSWORD` or `REG_PASSWORD_FILE`; `None` without a user.
    ///
    /// # Errors
    /// A user without a password, and a password that cannot be read.
    pub fn of(user: Option<&str>) -> anyhow::Result<Option<Self>> {
        let Some(user) = user.filter(|user| !user.is_empty()) else { return Ok(None) };
        match crate::cli::password_of_environment("REG_PASSWORD")? {
            Some(password) => Ok(Some(Self { user: user.to_owned(), password })),
            None => bail!("user {user}: no password; set REG_PASSWORD or REG_PASSWORD_FILE"),
        }
    }
}

/// The registries to be asked, and what it takes to ask them.
#[derive(Debug, Default)]
pub struct Probes {
    addresses: Vec<Address>,
    credentials: Option<Credentials>,
    /// Token servers that may be shown the credentials although they are other hosts.
    auth_hosts: Vec<String>,
    authorities: Vec<Certificate<'static>>,
}

impl Probes {
    /// Asks each of these addresses, which are replicas of one registry.
    ///
    /// # Errors
    /// A `--ca-file` that cannot be read or holds no certificate.
    pub fn new(
        addresses: Vec<Address>,
        credentials: Option<Credentials>,
        auth_hosts: Vec<String>,
        ca_file: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let authorities = ca_file.map(certificates).transpose()?.unwrap_or_default();
        Ok(Self { addresses, credentials, auth_hosts, authorities })
    }

    /// Asks the replicas at these addresses, else the one of which the storage's configuration says where it listens.
    ///
    /// # Errors
    /// As [`Credentials::of`] and [`Self::new`].
    pub fn beside(
        source: &Source,
        addresses: &[Address],
        user: Option<&str>,
        auth_hosts: &[Host],
        ca_file: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let mut addresses = addresses.to_vec();
        if addresses.is_empty()
            && let Some(config) = &source.config
            && let Some(addr) = &config.address
        {
            let prefix = Some(config.prefix.as_str()).filter(|prefix| !prefix.is_empty());
            addresses.extend(Address::of_config(&Listen { addr, net: None, prefix, tls: config.tls }));
        }
        Self::new(addresses, Credentials::of(user)?, auth_hosts.iter().map(ToString::to_string).collect(), ca_file)
    }

    /// The answer of each, in the order in which they were named; all are asked at once.
    #[must_use]
    pub fn ask(&self) -> Vec<(String, Answer)> {
        let answers = std::thread::scope(|scope| {
            let asked: Vec<_> = self.addresses.iter().map(|address| scope.spawn(|| self.asker(address).ask())).collect();
            let broke_off = |_| Answer::Unknown("could not be asked: the thread that asks broke off".to_owned());
            asked.into_iter().map(|thread| thread.join().unwrap_or_else(broke_off)).collect::<Vec<_>>()
        });
        self.addresses
            .iter()
            .zip(answers)
            .map(|(address, answer)| {
                tracing::debug!(registry = %address, %answer, "asked whether it can be written to");
                (address.to_string(), answer)
            })
            .collect()
    }

    /// Waits until each registry answers once more, after a restart; `stop` says that it is not worth waiting any longer. Who was
    /// told to end may still answer for a moment, so its end must have been seen before.
    ///
    /// # Errors
    /// One that does not answer in time, with what it did instead.
    pub fn wait_until_answers(&self, timeout: Duration, stop: impl Fn() -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + timeout;
        for address in &self.addresses {
            let asker = self.asker(address);
            let mut pause = Duration::from_millis(20);
            while let Err(why) = asker.answers() {
                if stop() {
                    bail!("{address} does not answer yet ({why}), and a signal ended the wait for it");
                }
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    bail!("{address} does not answer {} s after its restart: it {why}", timeout.as_secs());
                }
                std::thread::sleep(pause.min(left));
                pause = (pause * 2).min(Duration::from_secs(1));
            }
        }
        Ok(())
    }

    fn asker<'a>(&'a self, address: &'a Address) -> ask::Asker<'a> {
        ask::Asker::new(address, self.credentials.as_ref(), &self.auth_hosts, &self.authorities)
    }
}

fn certificates(path: &Path) -> anyhow::Result<Vec<Certificate<'static>>> {
    let pem = std::fs::read(path).with_context(|| format!("--ca-file {}", path.display()))?;
    let items = ureq::tls::parse_pem(&pem).filter_map(Result::ok);
    let certificates: Vec<_> = items.filter_map(|item| if let PemItem::Certificate(found) = item { Some(found) } else { None }).collect();
    if certificates.is_empty() {
        bail!("--ca-file {}: no PEM certificate in it", path.display());
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_from_the_answers() {
        const W: Answer = Answer::Writable;
        const O: Answer = Answer::ReadOnly;
        const R: Answer = Answer::Refused;
        let unknown = || Answer::Unknown("does not answer".to_owned());
        for (answers, stopped, expected) in [
            (vec![], false, "unproven"),
            (vec![], true, "stopped"),
            (vec![W], false, "writable"),
            (vec![W], true, "writable"),
            (vec![O], false, "read-only"),
            (vec![O], true, "read-only"),
            (vec![O, O], false, "read-only"),
            (vec![R], false, "unproven"),
            (vec![R], true, "stopped"),
            (vec![unknown()], false, "unproven"),
            (vec![unknown()], true, "stopped"),
            (vec![O, R], false, "unproven"),
            (vec![O, R], true, "stopped"),
            (vec![O, unknown()], false, "unproven"),
            (vec![O, W], false, "writable"),
            (vec![R, O, W, unknown()], true, "writable"),
        ] {
            let answers: Vec<_> = answers.into_iter().enumerate().map(|(place, answer)| (format!("r{place}"), answer)).collect();
            let standing = judge(&answers, stopped);
            let got = match &standing {
                Standing::Writable { url } => {
                    let place = answers.iter().position(|(_, answer)| *answer == W).unwrap();
                    assert_eq!(*url, format!("r{place}"));
                    "writable"
                }
                Standing::ReadOnly => "read-only",
                Standing::Stopped => "stopped",
                Standing::Unproven { why } => {
                    assert!(why.contains("--probe") && why.contains("--stopped"), "{why}");
                    for (url, answer) in &answers {
                        assert_eq!(why.contains(&format!("{url} ")), *answer != O, "{why}");
                    }
                    "unproven"
                }
            };
            assert_eq!(got, expected, "{answers:?} {stopped}");
        }
    }

    #[test]
    fn authorities_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let error = |path: &Path| format!("{:#}", Probes::new(Vec::new(), None, Vec::new(), Some(path)).unwrap_err());
        assert!(error(&file).contains("ca.pem"));
        std::fs::write(&file, "nothing").unwrap();
        assert!(error(&file).ends_with("no PEM certificate in it"));
    }

    #[test]
    fn a_password_is_not_shown() {
        let credentials = Credentials { user: "me".to_owned(), password: Secret::new("hidden") };
        let probes = Probes::new(Vec::new(), Some(credentials), Vec::new(), None).unwrap();
        assert!(!format!("{probes:?}").contains("hidden"));
    }
}
