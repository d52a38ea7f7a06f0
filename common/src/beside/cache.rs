//! The registry's descriptor cache in Redis: what was removed from the storage is forgotten there too.
//!
//! Owns the keys and the connection. Distribution never expires them: a registry that is not told goes on saying that a removed blob is
//! there, and a push that believes it loses an image. The keys, the same in versions 2 and 3
//! (`registry/storage/cache/redis/redis.go`):
//!
//! | key | kind | holds |
//! |---|---|---|
//! | `blobs::DIGEST` | hash | digest, size and media type |
//! | `repository::NAME::blobs` | set | the digests that the repository has, layers and manifests alike |
//! | `repository::NAME::blobs::DIGEST` | hash | the media type in this repository |
//!
//! A request that looked at the storage just before something was removed may put its key back a moment later, so [`Cache::forget`] is
//! to be called twice with the same things, some two seconds apart. To forget too much costs the registry a look at its storage.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::Duration;

use super::source::Source;
use crate::secret::Secret;
use crate::store::config;
use anyhow::{Context as _, anyhow, bail};
use redis::cluster::{ClusterClient, ClusterConnection, cluster_pipe};
use redis::{
    Client, Connection, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisConnectionInfo, RedisResult, TlsCertificates, Value,
};
use url::Url;

/// How many commands go at once.
const BATCH: usize = 1000;

/// For a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// For the answer to a batch.
const ANSWER: Duration = Duration::from_secs(30);

/// Something that is in the storage no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgotten<'a> {
    /// The data of a blob, layers and manifests alike.
    Blob(&'a str),
    /// The link by which a repository has a layer or a manifest.
    Link {
        /// The repository's name.
        repository: &'a str,
        /// What it had.
        digest: &'a str,
    },
    /// A whole repository.
    Repository(&'a str),
}

/// Where a registry keeps its descriptors: one server, or the nodes of a cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    addresses: Vec<(String, u16)>,
    username: Option<String>,
    password: Option<Secret>,
    database: i64,
    tls: bool,
    ca_file: Option<PathBuf>,
}

/// What a registry's configuration says of its Redis.
#[derive(Debug, Clone, Default)]
pub struct Configured<'a> {
    /// `redis.addr`, or `redis.addrs`; several are the nodes of a cluster.
    pub addresses: Vec<&'a str>,
    /// `redis.username`.
    pub username: Option<&'a str>,
    /// `redis.password`.
    pub password: Option<Secret>,
    /// `redis.db`.
    pub database: i64,
    /// `redis.mastername`: the name by which sentinels know the server.
    pub master: Option<&'a str>,
    /// Whether `redis.tls` is there.
    pub tls: bool,
}

/// Who gave a URL: an argument is for everybody on the host to see, a variable is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// `--redis URL`.
    ByArgument,
    /// An environment variable.
    ByVariable,
}

impl Settings {
    /// `redis://[USER@]HOST[:PORT][/DB]`, `rediss://` with TLS, or `HOST[:PORT]`; several nodes of a cluster with commas between. The
    /// password comes from [`password_from_environment`], or stands in a URL that no argument gave.
    ///
    /// # Errors
    /// What is no such URL, and a password in an argument. No error shows the text, which may hold a password.
    pub fn of_url(text: &str, given: Given) -> anyhow::Result<Self> {
        let mut nodes = text.split(',').map(str::trim).filter(|node| !node.is_empty()).map(|node| Self::of_node(node, given));
        let mut settings = nodes.next().ok_or_else(|| anyhow!("--redis: no URL such as redis://host:6379/0"))??;
        for node in nodes {
            let Self { addresses, username, password, database, tls, .. } = node?;
            let Self { username: other_username, password: other_password, .. } = &settings;
            let same = (username.is_none() || username == *other_username) && (password.is_none() || password == *other_password);
            if !same || database != settings.database || tls != settings.tls {
                bail!("--redis: the nodes of a cluster share user, password, database and whether they speak TLS");
            }
            settings.addresses.extend(addresses);
        }
        settings.checked()
    }

    fn of_node(text: &str, given: Given) -> anyhow::Result<Self> {
        let not_a_url = |why: &dyn fmt::Display| anyhow!("--redis: not a URL such as redis://host:6379/0: {why}");
        let whole = if text.contains("://") { text.to_owned() } else { format!("redis://{text}") };
        let url: Url = whole.parse().map_err(|error| not_a_url(&error))?;
        let tls = match url.scheme() {
            "redis" => false,
            "rediss" => true,
            _ => return Err(not_a_url(&"it begins neither with redis:// nor with rediss://")),
        };
        if url.fragment().is_some() || url.query().is_some() {
            return Err(not_a_url(&"it has a ? or a #"));
        }
        if url.password().is_some() && given == Given::ByArgument {
            bail!(
                "--redis: a password in an argument is for everybody on this host to see; set REG_GC_REDIS_PASSWORD or REG_GC_REDIS_PASSWORD_FILE"
            );
        }
        // The library decodes user and password, and reads the number of the database.
        let info = url.into_connection_info().map_err(|error| not_a_url(&detail(&error)))?;
        let address = match info.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => (host.clone(), *port),
            _ => return Err(not_a_url(&"it names no host")),
        };
        let settings = info.redis_settings();
        Ok(Self {
            addresses: vec![address],
            username: settings.username().map(str::to_owned),
            password: settings.password().filter(|password| !password.is_empty()).map(Secret::new),
            database: settings.db(),
            tls,
            ca_file: None,
        })
    }

    /// From a registry's configuration.
    ///
    /// # Errors
    /// No address, or a setup that this program does not know.
    pub fn of_config(configured: Configured<'_>) -> anyhow::Result<Self> {
        let Configured { addresses, username, password, database, master, tls } = configured;
        if let Some(master) = master.filter(|master| !master.is_empty()) {
            bail!(
                "the configuration's redis is found through sentinels (mastername {master}), which is not supported: name the server with --redis URL"
            );
        }
        let addresses = addresses.into_iter().map(address).collect::<anyhow::Result<Vec<_>>>()?;
        if addresses.is_empty() {
            bail!("the configuration caches in redis and says no address of it: name it with --redis URL");
        }
        let username = username.filter(|name| !name.is_empty()).map(str::to_owned);
        Self { addresses, username, password, database, tls, ca_file: None }.checked()
    }

    fn checked(self) -> anyhow::Result<Self> {
        if self.addresses.len() > 1 && self.database != 0 {
            bail!("redis {self}: several addresses are a cluster, which has only database 0, not {}", self.database);
        }
        Ok(self)
    }

    /// With this password, where there is one, instead of any other.
    #[must_use]
    pub fn with_password(self, password: Option<Secret>) -> Self {
        Self { password: password.or(self.password), ..self }
    }

    /// Trusts the certificates in this PEM file instead of those of the system.
    #[must_use]
    pub fn with_ca_file(self, ca_file: Option<PathBuf>) -> Self {
        Self { ca_file, ..self }
    }
}

/// The addresses alone.
impl fmt::Display for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (host, port)) in self.addresses.iter().enumerate() {
            formatter.write_str(if place == 0 { "" } else { "," })?;
            let brackets = if host.contains(':') { ("[", "]") } else { ("", "") };
            write!(formatter, "{}{host}{}:{port}", brackets.0, brackets.1)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Settings({self}/{})", self.database)
    }
}

/// `REG_GC_REDIS_PASSWORD`, or the first line of the file that `REG_GC_REDIS_PASSWORD_FILE` names.
///
/// # Errors
/// A file that cannot be read.
pub fn password_from_environment() -> anyhow::Result<Option<Secret>> {
    crate::cli::password_of_environment("REG_GC_REDIS_PASSWORD")
}

/// `host:port`, with the port that Redis has by default.
fn address(text: &str) -> anyhow::Result<(String, u16)> {
    let url = Url::from_str(&format!("redis://{text}")).ok().filter(|url| url.username().is_empty() && url.password().is_none());
    let host = url.as_ref().and_then(Url::host_str).filter(|host| !host.is_empty());
    let (Some(url), Some(host)) = (&url, host) else {
        bail!("the configuration's address of redis is not host:port; name it with --redis URL")
    };
    Ok((host.trim_matches(['[', ']']).to_owned(), url.port().unwrap_or(6379)))
}

/// Where a registry caches descriptors.
#[derive(Debug)]
pub enum Place {
    /// Nowhere.
    Nowhere,
    /// In its own memory, which a restart alone empties.
    Own {
        /// Nothing is known of its configuration, so the worst is assumed.
        assumed: bool,
    },
    /// In Redis.
    Redis(Settings),
}

impl Place {
    /// As `--redis` or `REG_GC_REDIS` says, else as the registry's configuration does.
    ///
    /// # Errors
    /// What is no URL of a Redis, and a configuration that names none at one address.
    pub fn of(redis: Option<&str>, ca_file: Option<&Path>, source: &Source) -> anyhow::Result<Self> {
        let with = |settings: Settings| -> anyhow::Result<Self> {
            Ok(Self::Redis(settings.with_password(password_from_environment()?).with_ca_file(ca_file.map(Path::to_owned))))
        };
        let variable = std::env::var("REG_GC_REDIS").ok().filter(|url| !url.is_empty());
        match (redis, variable, source.cache()) {
            (Some(url), _, _) => with(Settings::of_url(url, Given::ByArgument)?),
            (None, Some(url), _) => with(Settings::of_url(&url, Given::ByVariable)?),
            (None, None, config::Cache::None) => Ok(Self::Nowhere),
            (None, None, config::Cache::InMemory) => Ok(Self::Own { assumed: source.config.is_none() }),
            (None, None, config::Cache::Redis(None)) => {
                bail!("the configuration caches in redis and does not say at one address: name it with --redis URL")
            }
            (None, None, config::Cache::Redis(Some(redis))) => with(Settings::of_config(Configured {
                addresses: redis.addresses.iter().map(String::as_str).collect(),
                username: Some(redis.username.as_str()),
                password: Some(redis.password.reveal()).filter(|password| !password.is_empty()).map(Secret::new),
                database: redis.database,
                master: redis.sentinel.as_ref().map(|sentinel| sentinel.master.as_str()),
                tls: redis.tls.is_some(),
            })?),
        }
    }
}

/// A cache that answered once. Each use connects again, because hours may lie between.
#[derive(Debug)]
pub struct Cache(Settings);

/// An open connection.
enum Link {
    One(Box<Connection>),
    Cluster(Box<ClusterConnection>),
}

/// A command of Redis, word by word.
type Words = Vec<String>;

impl Cache {
    /// Connects, so that it is known before anything is removed that the cache can be told.
    ///
    /// # Errors
    /// A cache that is not there or does not let us in; the sentence names its address.
    pub fn connect(settings: Settings) -> anyhow::Result<Self> {
        // A server that wants a password lets anybody connect, and refuses only commands.
        query(&mut link(&settings)?, &[vec!["EXISTS".to_owned(), "blobs::".to_owned()]], &settings)?;
        Ok(Self(settings))
    }

    /// Removes the keys of these things, and says how many there were.
    ///
    /// # Errors
    /// A cache that broke off; the sentence names its address.
    pub fn forget<'a>(&self, items: impl IntoIterator<Item = Forgotten<'a>>) -> anyhow::Result<u64> {
        let mut link = link(&self.0)?;
        let mut batch = Vec::with_capacity(BATCH + 1);
        let mut keys = 0;
        for item in items {
            let mut wanted = match item {
                Forgotten::Blob(digest) => vec![words(["DEL", &format!("blobs::{digest}")])],
                Forgotten::Link { repository, digest } => {
                    let set = set_of(repository);
                    vec![words(["SREM", &set, digest]), words(["DEL", &format!("{set}::{digest}")])]
                }
                Forgotten::Repository(repository) => {
                    let set = set_of(repository);
                    let members = query(&mut link, &[words(["SMEMBERS", &set])], &self.0)?;
                    let members = members.iter().flat_map(texts).map(|digest| words(["DEL", &format!("{set}::{digest}")]));
                    members.chain([words(["DEL", &set])]).collect()
                }
            };
            for command in wanted.drain(..) {
                batch.push(command);
                if batch.len() >= BATCH {
                    keys += self.send(&mut link, &mut batch)?;
                }
            }
        }
        Ok(keys + self.send(&mut link, &mut batch)?)
    }

    fn send(&self, link: &mut Link, batch: &mut Vec<Words>) -> anyhow::Result<u64> {
        let answers = query(link, batch, &self.0)?;
        // A member of a set is no key.
        let removed = batch.drain(..).zip(answers).filter(|(words, _)| words.first().is_some_and(|word| word == "DEL"));
        Ok(removed.map(|(_, answer)| if let Value::Int(count) = answer { u64::try_from(count).unwrap_or(0) } else { 0 }).sum())
    }
}

fn query(link: &mut Link, batch: &[Words], settings: &Settings) -> anyhow::Result<Vec<Value>> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let commands = batch.iter().map(|words| {
        let mut command = redis::Cmd::new();
        command.arg(words);
        command
    });
    let answers: RedisResult<Vec<Value>> = match link {
        Link::One(connection) => {
            let mut pipe = redis::pipe();
            commands.for_each(|command| {
                pipe.add_command(command);
            });
            pipe.query(connection)
        }
        Link::Cluster(connection) => {
            let mut pipe = cluster_pipe();
            commands.for_each(|command| {
                pipe.add_command(command);
            });
            pipe.query(connection)
        }
    };
    answers.map_err(|error| failed(settings, &error))
}

fn link(settings: &Settings) -> anyhow::Result<Link> {
    let ca =
        settings.ca_file.as_ref().map(|path| std::fs::read(path).with_context(|| format!("--ca-file {}", path.display()))).transpose()?;
    let certificates = TlsCertificates { client_tls: None, root_cert: ca };
    let failed = |error| failed(settings, &error);
    if settings.tls {
        install_provider();
    }
    let mut nodes = settings.addresses.iter().map(|(host, port)| information(settings, host, *port));
    if let [_] = settings.addresses.as_slice() {
        let info = nodes.next().ok_or_else(|| anyhow!("redis: no address"))?.map_err(failed)?;
        let client = if settings.tls { Client::build_with_tls(info, certificates) } else { Client::open(info) };
        let connection = client.and_then(|client| client.get_connection_with_timeout(CONNECT)).map_err(failed)?;
        connection.set_read_timeout(Some(ANSWER)).and_then(|()| connection.set_write_timeout(Some(ANSWER))).map_err(failed)?;
        return Ok(Link::One(Box::new(connection)));
    }
    let nodes = nodes.collect::<RedisResult<Vec<_>>>().map_err(failed)?;
    let mut builder = ClusterClient::builder(nodes).connection_timeout(CONNECT).response_timeout(ANSWER);
    if settings.tls {
        builder = builder.certs(certificates);
    }
    let connection = builder.build().and_then(|client| client.get_connection()).map_err(failed)?;
    Ok(Link::Cluster(Box::new(connection)))
}

fn information(settings: &Settings, host: &str, port: u16) -> RedisResult<ConnectionInfo> {
    let mut login = RedisConnectionInfo::default().set_db(settings.database);
    if let Some(username) = &settings.username {
        login = login.set_username(username);
    }
    if let Some(password) = &settings.password {
        login = login.set_password(password.reveal());
    }
    let address = if settings.tls {
        ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host.to_owned(), port)
    };
    Ok(address.into_connection_info()?.set_redis_settings(login))
}

/// The library takes the process's provider of cryptography, of which there is one: ring.
fn install_provider() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        // Fails where there is one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// A sentence about a cache that failed, in which no password is.
fn failed(settings: &Settings, error: &redis::RedisError) -> anyhow::Error {
    let said = detail(error);
    let said = match settings.password.as_ref().map(Secret::reveal) {
        Some(password) if !password.is_empty() => said.replace(password, "***"),
        _ => said,
    };
    let way_out = if error.kind() == redis::ErrorKind::AuthenticationFailed {
        "; the password comes from REG_GC_REDIS_PASSWORD, REG_GC_REDIS_PASSWORD_FILE, or the configuration"
    } else if error.code() == Some("NOAUTH") || said.contains("Authentication required") {
        "; set REG_GC_REDIS_PASSWORD or REG_GC_REDIS_PASSWORD_FILE"
    } else if matches!(error.code(), Some("MOVED" | "ASK")) {
        "; it is part of a cluster: name several of its nodes, with commas between"
    } else {
        ""
    };
    anyhow!("redis {settings}: {said}{way_out}")
}

/// What the library says, in one line.
fn detail(error: &redis::RedisError) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn words<const N: usize>(words: [&str; N]) -> Words {
    words.map(str::to_owned).into()
}

fn set_of(repository: &str) -> String {
    format!("repository::{repository}::blobs")
}

/// The texts in an answer that is a list or a set.
fn texts(answer: &Value) -> Vec<String> {
    match answer {
        Value::Array(values) | Value::Set(values) => values.iter().flat_map(texts).collect(),
        Value::BulkString(bytes) => vec![String::from_utf8_lossy(bytes).into_owned()],
        Value::SimpleString(text) => vec![text.clone()],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        for (text, expected) in [
            ("redis://cache", "cache:6379/0"),
            ("redis://cache:6380/3", "cache:6380/3"),
            ("rediss://me@cache/1", "cache:6379/1"),
            ("cache:6380", "cache:6380/0"),
            ("cache", "cache:6379/0"),
            ("[::1]:6380", "[::1]:6380/0"),
            ("redis://a:1,redis://b:2", "a:1,b:2/0"),
            ("a:1, b:2", "a:1,b:2/0"),
        ] {
            let settings = Settings::of_url(text, Given::ByArgument).unwrap();
            assert_eq!(format!("{settings:?}"), format!("Settings({expected})"), "{text}");
            assert_eq!(settings.tls, text.starts_with("rediss"), "{text}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_and_not_shown() {
        for text in [
            "",
            ",",
            "http://cache",
            "redis://",
            "redis://:hidden@cache:x",
            "redis://me:hidden@cache",
            "redis://cache/x?hidden",
            "redis://cache/hidden",
            "redis://a/1,redis://b/1",
            "redis://a,rediss://b",
            "redis://a,redis://me@b",
            "redis://cache#insecure",
        ] {
            let error = format!("{:#}", Settings::of_url(text, Given::ByArgument).unwrap_err());
            assert!(!error.contains("hidden"), "{text}: {error}");
        }
    }

    #[test]
    fn passwords_come_from_variables() {
        let of = |text| Settings::of_url(text, Given::ByVariable).unwrap();
        let settings = of("redis://me:hid%20den@cache");
        assert_eq!((settings.username.as_deref(), settings.password.clone()), (Some("me"), Some(Secret::new("hid den"))));
        assert!(!format!("{settings:?} {settings}").contains("hid"));
        assert_eq!(settings.with_password(Some(Secret::new("other"))).password, Some(Secret::new("other")));
        assert_eq!(of("redis://:p@a,redis://b").addresses.len(), 2);
        assert_eq!(of("redis://:p@a").with_password(None).password, Some(Secret::new("p")));
    }

    #[test]
    fn configurations_are_read() {
        let of = |addresses: &[&'static str], database| {
            Settings::of_config(Configured { addresses: addresses.into(), database, ..Configured::default() })
        };
        for (addresses, database, expected) in [
            (&["cache:6379"][..], 2, Some("Settings(cache:6379/2)")),
            (&["cache"][..], 0, Some("Settings(cache:6379/0)")),
            (&["[::1]:6379"][..], 0, Some("Settings([::1]:6379/0)")),
            (&["a:1", "b:2"][..], 0, Some("Settings(a:1,b:2/0)")),
            (&["a:1", "b:2"][..], 1, None),
            (&["me:hidden@cache"][..], 0, None),
            (&[][..], 0, None),
        ] {
            let settings = of(addresses, database);
            assert_eq!(settings.as_ref().ok().map(|settings| format!("{settings:?}")).as_deref(), expected);
            assert!(!settings.is_err_and(|error| format!("{error:#}").contains("hidden")));
        }
        let sentinels = Configured { addresses: vec!["a:26379"], master: Some("mine"), ..Configured::default() };
        assert!(Settings::of_config(sentinels).unwrap_err().to_string().contains("sentinels"));
    }

    #[test]
    fn a_cache_that_is_not_there_is_named() {
        // A port that was free a moment ago, and that nobody else is told.
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let settings = Settings::of_url(&format!("redis://:hidden@{address}"), Given::ByVariable).unwrap();
        let error = format!("{:#}", Cache::connect(settings).unwrap_err());
        assert!(error.starts_with(&format!("redis {address}: ")) && !error.contains("hidden"), "{error}");
    }
}
