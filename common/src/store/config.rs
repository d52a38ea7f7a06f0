//! The configuration of a CNCF Distribution registry, as far as it says where the storage is and who else looks at it.
//!
//! It is read as the registry reads it: `version: 0.1`, then the variables that begin with `REGISTRY_` in the order of their
//! names, split at `_`, the values as YAML. So `REGISTRY_STORAGE` takes the place of the whole storage first, and
//! `REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY` then sets a leaf of it. Versions 2 and 3 differ in keys that do not clash, so
//! those of both are known. What is claimed here proves nothing: that a registry is read-only, for example, it must say itself.
//!
//! Pure: text and variables in, no file, environment or clock.

mod shape;

use std::fmt;
use std::path::PathBuf;

use serde_json::Value;

use self::shape::{Effect, Fault, Shape};
use super::foreign::Refusal;

/// What a configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `storage.filesystem.rootdirectory`, in which `docker/registry/v2` stands. A relative one begins where the registry was
    /// started.
    pub root: PathBuf,
    /// Where descriptors are cached.
    pub cache: Cache,
    /// `http.addr` as it is written (`:5000`), where it is a TCP address.
    pub address: Option<String>,
    /// `http.prefix`, empty where there is none.
    pub prefix: String,
    /// Whether it serves HTTPS itself.
    pub tls: bool,
    /// Whether it is said to refuse every change.
    pub readonly: bool,
    /// Whether it is said to delete.
    pub deletion_enabled: bool,
    /// Variables that name something inside a parameter and have no effect, such as
    /// `REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED`: the registry stays writable.
    pub ineffective: Vec<String>,
}

/// Where a registry caches descriptors. What is cached outlives the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cache {
    /// Nowhere.
    None,
    /// In its memory: only a restart empties it.
    InMemory,
    /// In Redis. `None` where the configuration does not say in which, or names two of which one is meant by version 2
    /// (`addr`) and the other by version 3 (`addrs`).
    Redis(Option<Box<RedisSettings>>),
}

/// How the registry reaches its Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisSettings {
    /// `HOST:PORT`, at least one: of the server, of the nodes of a cluster, or of the sentinels.
    pub addresses: Vec<String>,
    /// Empty for the default user.
    pub username: String,
    /// Empty where there is none.
    pub password: Password,
    /// The number of the database.
    pub database: i64,
    /// How TLS is spoken, where it is.
    pub tls: Option<RedisTls>,
    /// The name of the master, where the addresses are those of sentinels.
    pub sentinel: Option<Sentinel>,
}

impl RedisSettings {
    /// Whether the addresses are those of a cluster's nodes, which is what several without sentinels are.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        self.addresses.len() > 1 && self.sentinel.is_none()
    }
}

/// The files for TLS with Redis, where they are named.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RedisTls {
    /// Our certificate.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// The authorities that are trusted; those of the system where there are none.
    pub authorities: Vec<PathBuf>,
}

/// What sentinels must be asked for, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentinel {
    /// The master's name.
    pub master: String,
    /// Empty for the default user.
    pub username: String,
    /// Empty where there is none.
    pub password: Password,
}

/// A password: it prints as `***`, whatever prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// The password itself, for the one place that sends it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// Why there is no configuration to act on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file.
    #[error("it is not the YAML of a registry's configuration{}", .line.map(|line| format!(": see line {line}")).unwrap_or_default())]
    File {
        /// Where reading ended.
        line: Option<u64>,
    },
    /// A variable.
    #[error("the value of {name} is not the YAML that belongs there, and with such a variable no registry starts")]
    Variable {
        /// Its name.
        name: String,
    },
    /// Another version, or none.
    #[error("it does not say version: 0.1, which begins every configuration of a registry")]
    Version,
    /// No storage.
    #[error(
        "it names no storage, in the file or by a REGISTRY_STORAGE… variable: if the registry has such variables, they must be set here \
         too, or be read from it with --from-process"
    )]
    NoStorage,
    /// A value that no registry takes.
    #[error("{key} has no value that can be used")]
    Value {
        /// Where it stands.
        key: &'static str,
    },
    /// A storage that is left alone.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// The parts that are looked at, in the registry's own types.
const SHAPE: Shape = Shape::Fields(&[
    ("version", Shape::Text),
    ("storage", Shape::Sections),
    ("auth", Shape::Sections),
    (
        "http",
        Shape::Fields(&[
            ("addr", Shape::Text),
            ("net", Shape::Text),
            ("prefix", Shape::Text),
            ("tls", Shape::Fields(&[("certificate", Shape::Text), ("letsencrypt", Shape::Fields(&[("cachefile", Shape::Text)]))])),
        ]),
    ),
    (
        "redis",
        Shape::Fields(&[
            ("addr", Shape::Text),
            ("addrs", Shape::List(&Shape::Text)),
            ("username", Shape::Text),
            ("password", Shape::Text),
            ("db", Shape::Text),
            ("mastername", Shape::Text),
            ("sentinelusername", Shape::Text),
            ("sentinelpassword", Shape::Text),
            (
                "tls",
                Shape::Fields(&[
                    ("enabled", Shape::Any),
                    ("certificate", Shape::Text),
                    ("key", Shape::Text),
                    ("rootcas", Shape::List(&Shape::Text)),
                ]),
            ),
        ]),
    ),
    ("proxy", Shape::Fields(&[("remoteurl", Shape::Text)])),
    ("notifications", Shape::Fields(&[("endpoints", Shape::List(&Shape::Fields(&[("name", Shape::Text)])))])),
    ("database", Shape::Fields(&[("enabled", Shape::Any)])),
]);

/// The keys of `storage` that are no drivers.
const NO_DRIVERS: [&str; 5] = ["maintenance", "cache", "delete", "redirect", "tag"];

const FILESYSTEM: &str = "filesystem";

impl Config {
    /// Reads a configuration as the registry with these variables reads it; others than `REGISTRY_…` are passed over.
    ///
    /// # Errors
    /// What is no configuration, and a storage that is left alone.
    pub fn parse(text: &str, environment: impl IntoIterator<Item = (String, String)>) -> Result<Self, Error> {
        let mut document = SHAPE.read(text.trim_start_matches('\u{feff}')).map_err(|Fault { line }| Error::File { line })?;
        if text_at(&document, "/version") != "0.1" {
            return Err(Error::Version);
        }
        let in_file = drivers(&document);
        let mut variables: Vec<(String, String)> = environment.into_iter().filter(|(name, _)| name.starts_with("REGISTRY_")).collect();
        variables.sort();
        let mut ineffective = Vec::new();
        for (name, value) in variables {
            let path: Vec<&str> = name.split('_').skip(1).collect();
            match SHAPE.overwrite(&mut document, &path, &value) {
                Ok(Effect::Set | Effect::Unknown) => {}
                Ok(Effect::BelowParameter) => ineffective.push(name),
                Err(_) => return Err(Error::Variable { name }),
            }
        }
        if let Some(refusal) = foreign(&document) {
            return Err(refusal.into());
        }
        for mut names in [in_file, drivers(&document)] {
            if names.len() > 1 {
                names.sort();
                return Err(Refusal::TwoDrivers { names }.into());
            }
        }
        match drivers(&document).pop() {
            None => return Err(Error::NoStorage),
            Some(name) if name != FILESYSTEM => return Err(Refusal::Driver { name }.into()),
            Some(_) => {}
        }
        let on = |pointer| document.pointer(pointer) == Some(&Value::Bool(true));
        Ok(Self {
            root: root(&document)?,
            cache: cache(&document)?,
            address: some(text_at(&document, "/http/addr")).filter(|_| ["", "tcp"].contains(&text_at(&document, "/http/net"))),
            prefix: text_at(&document, "/http/prefix").to_owned(),
            tls: ["/http/tls/certificate", "/http/tls/letsencrypt/cachefile"].iter().any(|key| !text_at(&document, key).is_empty()),
            readonly: on("/storage/maintenance/readonly/enabled"),
            deletion_enabled: on("/storage/delete/enabled"),
            ineffective,
        })
    }
}

fn drivers(document: &Value) -> Vec<String> {
    let sections = document.get("storage").and_then(Value::as_object);
    sections.into_iter().flat_map(serde_json::Map::keys).filter(|key| !NO_DRIVERS.contains(&key.as_str())).cloned().collect()
}

/// Whether it is the registry of somebody who keeps books elsewhere.
fn foreign(document: &Value) -> Option<Refusal> {
    let harbor = |hint| Some(Refusal::Harbor { hint });
    if text_at(document, "/auth/token/issuer") == "harbor-token-issuer" {
        return harbor("auth.token.issuer is harbor-token-issuer");
    }
    if text_at(document, "/auth/htpasswd/realm") == "harbor-registry-basic-realm" {
        return harbor("auth.htpasswd.realm is harbor-registry-basic-realm");
    }
    let mut endpoints = document.pointer("/notifications/endpoints").and_then(Value::as_array).into_iter().flatten();
    if endpoints.any(|endpoint| text_at(endpoint, "/name").eq_ignore_ascii_case("harbor")) {
        return harbor("an endpoint of its notifications is harbor");
    }
    // GitLab has more than two answers: true, and prefer, which is true where the database is set up.
    let database = document.pointer("/database/enabled").unwrap_or(&Value::Null);
    if !matches!(database, Value::Null | Value::Bool(false)) && database != "false" {
        return Some(Refusal::GitLabDatabase { hint: "database.enabled is set" });
    }
    let remote = text_at(document, "/proxy/remoteurl");
    (!remote.is_empty()).then(|| Refusal::PullThroughCache { remote: Some(without_user(remote)) })
}

/// The address without user and password.
fn without_user(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or((None, url), |(scheme, rest)| (Some(scheme), rest));
    let rest = rest.rsplit('@').next().unwrap_or_default();
    scheme.map_or_else(|| rest.to_owned(), |scheme| format!("{scheme}://{rest}"))
}

fn root(document: &Value) -> Result<PathBuf, Error> {
    match document.pointer("/storage/filesystem/rootdirectory") {
        None => Ok(PathBuf::from("/var/lib/registry")),
        Some(Value::String(path)) if !path.is_empty() => Ok(PathBuf::from(path)),
        Some(Value::Number(name)) => Ok(PathBuf::from(name.to_string())),
        Some(_) => Err(Error::Value { key: "storage.filesystem.rootdirectory" }),
    }
}

/// An unknown name of a cache is none: the registry says so in its log, and goes on without.
fn cache(document: &Value) -> Result<Cache, Error> {
    let newer = document.pointer("/storage/cache/blobdescriptor");
    let name = newer.or_else(|| document.pointer("/storage/cache/layerinfo")).and_then(Value::as_str);
    Ok(match name {
        Some("inmemory") => Cache::InMemory,
        Some("redis") => Cache::Redis(redis(document)?.map(Box::new)),
        _ => Cache::None,
    })
}

fn redis(document: &Value) -> Result<Option<RedisSettings>, Error> {
    let text = |key: &str| text_at(document, &format!("/redis/{key}")).to_owned();
    let older = text("addr");
    let mut addresses = texts_at(document, "/redis/addrs");
    if addresses.is_empty() {
        addresses = some(&older).into_iter().collect();
    } else if !older.is_empty() && addresses != [older] {
        return Ok(None);
    }
    if addresses.is_empty() || addresses.iter().any(String::is_empty) {
        return Ok(None);
    }
    let database = match text("db").as_str() {
        "" => 0,
        number => number.parse().map_err(|_| Error::Value { key: "redis.db" })?,
    };
    let path = |key: &str| some(text_at(document, key)).map(PathBuf::from);
    let tls = RedisTls {
        certificate: path("/redis/tls/certificate"),
        key: path("/redis/tls/key"),
        authorities: texts_at(document, "/redis/tls/rootcas").into_iter().map(PathBuf::from).collect(),
    };
    let speaks_tls = tls != RedisTls::default() || document.pointer("/redis/tls/enabled") == Some(&Value::Bool(true));
    let sentinel = some(text_at(document, "/redis/mastername")).map(|master| Sentinel {
        master,
        username: text("sentinelusername"),
        password: Password(text("sentinelpassword")),
    });
    Ok(Some(RedisSettings {
        addresses,
        username: text("username"),
        password: Password(text("password")),
        database,
        tls: speaks_tls.then_some(tls),
        sentinel,
    }))
}

fn text_at<'a>(document: &'a Value, pointer: &str) -> &'a str {
    document.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn texts_at(document: &Value, pointer: &str) -> Vec<String> {
    let items = document.pointer(pointer).and_then(Value::as_array);
    items.into_iter().flatten().map(|item| item.as_str().unwrap_or_default().to_owned()).collect()
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests;
