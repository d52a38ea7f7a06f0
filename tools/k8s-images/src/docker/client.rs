//! One request to an engine.
//!
//! Owns how the engine is reached, the version of the API that is spoken, and the sentences about what goes wrong. Only reads: there is no
//! other method than GET.

use std::fmt;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use reqwest::{Certificate, Identity, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::endpoint::{Address, Endpoint, Tls};

/// The newest version of the API that this was written for, and the oldest one, of Docker 1.12.
const NEWEST: Version = Version(1, 52);
const OLDEST: Version = Version(1, 24);

/// How long a connection may take to come up. What a host of the local network does not answer by then it will not answer.
const CONNECT: Duration = Duration::from_secs(15);

/// How many characters of an engine's own words are shown.
const WORDS: usize = 300;

/// A version of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u16, u16);

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim().split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.0, self.1)
    }
}

/// Why a request brought nothing.
#[derive(Debug)]
pub(super) struct Failure {
    path: String,
    status: Option<StatusCode>,
    cause: String,
}

impl Failure {
    /// Whether what was asked for is not there.
    pub(super) fn is_absence(&self) -> bool {
        self.status == Some(StatusCode::NOT_FOUND)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "GET {}: {}", self.path, self.cause)
    }
}

/// What an engine says of an error.
#[derive(Deserialize)]
struct Message {
    message: String,
}

/// An engine that answers.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    /// What stands before every path.
    base: String,
}

impl Client {
    /// Reaches the engine, and agrees with it on a version of the API.
    ///
    /// # Errors
    /// A sentence: nothing is there, or may be asked, or is an engine.
    pub(super) async fn connect(endpoint: &Endpoint) -> Result<Self, String> {
        // Whoever installed a provider before has the same one: the workspace has no other.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .user_agent(concat!("k8s-images/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT);
        let (builder, base) = match &endpoint.address {
            Address::Socket(path) => {
                try_socket(path)?;
                (builder.tls_certs_only([]).no_proxy().unix_socket(path.as_path()), "http://localhost".to_owned())
            }
            Address::Port { url, tls } => {
                let builder = if is_loopback(url) { builder.no_proxy() } else { builder };
                let builder = match tls {
                    Some(tls) => with_tls(builder, tls)?,
                    None => builder.tls_certs_only([]),
                };
                (builder, url.as_str().trim_end_matches('/').to_owned())
            }
        };
        let http = builder.build().map_err(|error| format!("no HTTP client can be set up: {}", chain(&error)))?;
        let version = agree(&http, &base).await?;
        Ok(Self { http, base: format!("{base}/v{version}") })
    }

    /// Asks for what stands at a path.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let failure = |status, cause| Failure { path: path.to_owned(), status, cause };
        let response = self.http.get(format!("{}{path}", self.base)).send().await.map_err(|error| failure(None, chain(&error)))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| failure(None, chain(&error)))?;
        if !status.is_success() {
            return Err(failure(Some(status), refusal(status, &body)));
        }
        serde_json::from_slice(&body).map_err(|error| failure(None, format!("the answer is not what an engine says: {error}")))
    }
}

/// Asks whether an engine is there, and which version of the API it speaks. (`/_ping` is the one path that needs none.)
async fn agree(http: &reqwest::Client, base: &str) -> Result<Version, String> {
    let response = http.get(format!("{base}/_ping")).send().await.map_err(|error| unreached(&error))?;
    let status = response.status();
    let header = response.headers().get("api-version").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = response.bytes().await.map_err(|error| unreached(&error))?;
    if !status.is_success() {
        return Err(format!("is no container engine that answers: GET /_ping: {}", refusal(status, &body)));
    }
    if body.as_ref() != b"OK" {
        return Err("answers, and is no container engine: GET /_ping is not answered OK".to_owned());
    }
    // An engine that is older than the header speaks the oldest version or one before.
    let theirs = header.as_deref().and_then(Version::parse).unwrap_or(OLDEST);
    if theirs < OLDEST {
        return Err(format!("speaks version {theirs} of the Docker API; {OLDEST} (Docker 1.12) is the oldest that is asked"));
    }
    Ok(theirs.min(NEWEST))
}

/// Tells apart why a socket cannot be used, which the HTTP library does not.
fn try_socket(path: &Path) -> Result<(), String> {
    let Err(error) = UnixStream::connect(path) else { return Ok(()) };
    Err(match error.kind() {
        ErrorKind::NotFound => {
            "there is no such socket: is the engine running? DOCKER_HOST says where another one listens (Podman: systemctl start podman.socket, DOCKER_HOST=unix:///run/podman/podman.sock)".to_owned()
        }
        ErrorKind::PermissionDenied => {
            "permission denied: the socket is for root and the group that it belongs to (docker); run this with sudo, or as a member of the group".to_owned()
        }
        ErrorKind::ConnectionRefused => "nobody listens at the socket: is the engine running?".to_owned(),
        _ => format!("the socket cannot be used: {error}"),
    })
}

fn with_tls(builder: reqwest::ClientBuilder, tls: &Tls) -> Result<reqwest::ClientBuilder, String> {
    let mut builder = builder;
    if let Some(pem) = &tls.authorities {
        let authorities = Certificate::from_pem_bundle(pem).unwrap_or_default();
        if authorities.is_empty() {
            return Err("ca.pem holds no certificate".to_owned());
        }
        builder = builder.tls_certs_merge(authorities);
    }
    if let Some(pem) = &tls.identity {
        // What the library says of them could quote the key.
        let identity = Identity::from_pem(pem).map_err(|_| "cert.pem and key.pem are no certificate and key".to_owned())?;
        builder = builder.identity(identity);
    }
    Ok(builder)
}

/// An engine's refusal: its own words, cut short and freed of control characters.
fn refusal(status: StatusCode, body: &[u8]) -> String {
    let words =
        serde_json::from_slice::<Message>(body).map_or_else(|_| String::from_utf8_lossy(body).into_owned(), |message| message.message);
    let words: String = words.trim().chars().map(|sign| if sign.is_control() { ' ' } else { sign }).take(WORDS).collect();
    if words.is_empty() { status.to_string() } else { format!("{status}: {words}") }
}

fn unreached(error: &reqwest::Error) -> String {
    let text = chain(error);
    if text.contains("invalid HTTP version") || text.contains("invalid HTTP status") {
        return "answers, and not in HTTP; over TLS it is asked where DOCKER_TLS_VERIFY is set".to_owned();
    }
    format!("is not reached: {text}")
}

/// What an error says, and what those say that led to it; without the URL, which is known.
fn chain(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let text = cause.to_string();
        // The library's word for its own layers.
        if !text.starts_with("client error") {
            causes.push(text);
        }
        source = cause.source();
    }
    if causes.is_empty() { "the request failed".to_owned() } else { causes.join(": ") }
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().and_then(|host| host.parse::<common::reference::Host>().ok()).is_some_and(|host| host.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        let version = |text: &str| Version::parse(text).unwrap();
        assert!(version("1.9") < version("1.24") && version("1.100") > NEWEST);
        assert_eq!(version("1.41").to_string(), "1.41");
        assert!(Version::parse("").is_none() && Version::parse("x.y").is_none());
    }
}
