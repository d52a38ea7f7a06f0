//! How one registry is asked whether it can be written to, and what its answers mean.
//!
//! Nothing is retried and no redirect is followed: an answer that does not come proves nothing, and the user can ask again. What
//! servers say goes into no sentence, only their status.

use std::io::{self, Read as _};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use ureq::http::{Method, Request};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Error};
use url::Url;

use super::address::{Address, is_loopback};
use super::token::{self, Challenge};
use super::{Answer, Credentials};

/// A name that no repository needs to have.
const REPOSITORY: &str = "reg-gc-probe";

/// For a connection, TLS included.
const CONNECT: Duration = Duration::from_secs(5);

/// For a whole request.
const TOTAL: Duration = Duration::from_secs(15);

/// How much of an answer is read.
const LIMIT: u64 = 64 << 10;

/// What Distribution, and whoever speaks for it, sends with each answer.
const API_VERSION: &str = "docker-distribution-api-version";

/// The methods by which a registry is changed.
const WRITING: [&str; 4] = ["PUT", "POST", "PATCH", "DELETE"];

/// Asks one registry.
#[derive(Debug)]
pub(super) struct Asker<'a> {
    address: &'a Address,
    credentials: Option<&'a Credentials>,
    auth_hosts: &'a [String],
    authorities: &'a [Certificate<'static>],
}

/// As much of an answer as matters here.
#[derive(Debug, Clone, Default)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// The methods of `Allow`, which may be none; `None` without that header.
    pub(super) allow: Option<Vec<String>>,
    /// Whether it bears a registry's header.
    pub(super) is_registry: bool,
    pub(super) challenges: Vec<String>,
    pub(super) body: Vec<u8>,
}

impl<'a> Asker<'a> {
    pub(super) fn new(
        address: &'a Address,
        credentials: Option<&'a Credentials>,
        auth_hosts: &'a [String],
        authorities: &'a [Certificate<'static>],
    ) -> Self {
        Self { address, credentials, auth_hosts, authorities }
    }

    /// Whether it can be written to.
    pub(super) fn ask(&self) -> Answer {
        let uploads = self.address.join(&format!("v2/{REPOSITORY}/blobs/uploads/"));
        let options = match self.authorized(&Method::OPTIONS, &uploads, "pull") {
            Ok(reply) => reply,
            Err(answer) => return answer,
        };
        if let Some(answer) = by_options(&options) {
            return answer;
        }
        let manifest = self.address.join(&format!("v2/{REPOSITORY}/manifests/probe"));
        match self.authorized(&Method::PUT, &manifest, "pull,push") {
            Ok(reply) => by_put(&reply),
            Err(answer) => answer,
        }
    }

    /// Whether a registry answers at all; if not, what happens instead.
    pub(super) fn answers(&self) -> Result<(), String> {
        match self.send(&Method::GET, &self.address.join("v2/"), None) {
            Ok(reply) if matches!(reply.status, 200 | 401) => Ok(()),
            Ok(reply) => Err(format!("answers {}", reply.status)),
            Err(error) => Err(trouble(&error).to_string()),
        }
    }

    /// Makes a request, with credentials where they are asked for.
    fn authorized(&self, method: &Method, url: &Url, actions: &str) -> Result<Reply, Answer> {
        let unknown = |text: &str| Answer::Unknown(text.to_owned());
        let reply = self.send(method, url, None).map_err(|error| trouble(&error))?;
        if reply.status != 401 {
            return Ok(reply);
        }
        let authorization = match token::challenge(reply.challenges.iter().map(String::as_str)) {
            None => return Err(unknown("asks for credentials of a kind that is not known here")),
            Some(Challenge::Basic) => {
                let Some(credentials) = self.credentials else {
                    return Err(unknown("asks for a user and a password: set REG_USER and REG_PASSWORD or REG_PASSWORD_FILE"));
                };
                basic(credentials)
            }
            Some(Challenge::Bearer { realm, service }) => {
                let scope = format!("repository:{REPOSITORY}:{actions}");
                let asked = token::request(&realm, service.as_deref(), &scope, self.address.url()).map_err(Answer::Unknown)?;
                let trusted = token::is_trusted(&asked, self.address.url(), self.auth_hosts);
                let credentials = self.credentials.filter(|_| trusted);
                let reply = self
                    .send(&Method::GET, &asked, credentials.map(basic).as_deref())
                    .map_err(|error| Answer::Unknown(format!("has a token server that {}", trouble(&error))))?;
                let Some(token) = token::of_reply(&reply) else {
                    let withheld = self.credentials.is_some() && !trusted;
                    return Err(Answer::Unknown(token::refused(&asked, reply.status, withheld, self.credentials.is_some())));
                };
                format!("Bearer {token}")
            }
        };
        let reply = self.send(method, url, Some(&authorization)).map_err(|error| trouble(&error))?;
        match reply.status {
            401 if method == Method::PUT => Err(unknown("wants a user who may push, before it says whether it can be written to")),
            401 => Err(unknown("does not accept REG_USER and its password")),
            _ => Ok(reply),
        }
    }

    fn send(&self, method: &Method, url: &Url, authorization: Option<&str>) -> Result<Reply, Error> {
        let mut request = Request::builder().method(method).uri(url.as_str());
        if let Some(authorization) = authorization {
            request = request.header("Authorization", authorization);
        }
        let response = self.agent(url).run(request.body(())?)?;
        let headers = response.headers();
        let texts =
            |name: &str| headers.get_all(name).iter().filter_map(|value| value.to_str().ok().map(str::to_owned)).collect::<Vec<_>>();
        let allow = headers.contains_key("allow").then(|| {
            let all = texts("allow").join(",");
            all.split(',').map(|method| method.trim().to_ascii_uppercase()).filter(|method| !method.is_empty()).collect()
        });
        let mut reply = Reply {
            status: response.status().as_u16(),
            allow,
            is_registry: texts(API_VERSION).iter().any(|version| version.trim() == "registry/2.0"),
            challenges: texts("www-authenticate"),
            body: Vec::new(),
        };
        // The status and the headers are what is asked for. A body that breaks off says no less than none.
        let _ = response.into_body().into_reader().take(LIMIT).read_to_end(&mut reply.body);
        Ok(reply)
    }

    /// A client for one URL, as token servers may be other hosts than the registry.
    fn agent(&self, url: &Url) -> Agent {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(TOTAL));
        // A proxy that is configured for a network cannot reach this host's loopback.
        if is_loopback(url) {
            config = config.proxy(None);
        }
        // To load the system's certificates takes time, so only who speaks TLS does it.
        if url.scheme() == "https" {
            let system = rustls_native_certs::load_native_certs().certs;
            let system = system.iter().map(|certificate| Certificate::from_der(certificate).to_owned());
            let roots: Vec<_> = system.chain(self.authorities.iter().cloned()).collect();
            let unverified = self.address.is_unverified() && url.origin() == self.address.url().origin();
            let tls = TlsConfig::builder()
                .root_certs(RootCerts::Specific(Arc::new(roots)))
                .disable_verification(unverified)
                .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
            config = config.tls_config(tls.build());
        }
        config.build().new_agent()
    }
}

fn basic(credentials: &Credentials) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", credentials.user, credentials.password.reveal())))
}

/// What an OPTIONS request says; `None` where a proxy, and not the registry, may have answered it.
fn by_options(reply: &Reply) -> Option<Answer> {
    match reply.status {
        300..=399 => return Some(Answer::Unknown("redirects elsewhere: name the registry itself".to_owned())),
        429 | 500 | 502..=599 => return Some(Answer::Unknown(format!("answers {} and says nothing about itself", reply.status))),
        _ => {}
    }
    let allow = reply.allow.as_deref().filter(|allow| !allow.is_empty() && reply.is_registry && (200..300).contains(&reply.status))?;
    if writes(allow) {
        Some(Answer::Writable)
    } else {
        // Whoever adds OPTIONS to the list is not Distribution.
        is_reading(allow).then_some(Answer::ReadOnly)
    }
}

/// What the answer to a manifest without content says. Distribution refuses it by 400 where it can be written to; where it is
/// read-only, by 405 with the methods that it has. A proxy that lets nobody push through says 405 without them, and a
/// pull-through cache too, which writes to its storage whenever somebody pulls.
fn by_put(reply: &Reply) -> Answer {
    let allow = reply.allow.as_deref().unwrap_or_default();
    let unknown = |text: String| Answer::Unknown(text);
    match reply.status {
        405 if reply.is_registry && is_reading(allow) => Answer::ReadOnly,
        405 => unknown(
            "answers 405 to a push, but not as a registry that is read-only does: a proxy before it, or a pull-through cache".to_owned(),
        ),
        200..=299 if reply.is_registry => Answer::Writable,
        400 | 404 | 409 | 411 | 413 | 415 | 422 if has_registry_error(&reply.body) => Answer::Writable,
        400 if contains(&reply.body, b"HTTPS") => unknown("speaks TLS: name it by https://".to_owned()),
        404 => unknown("answers 404 to a push, so its path may be another (http.prefix)".to_owned()),
        403 => unknown("forbids to push by 403, which proves nothing for others: ask with a user who may push".to_owned()),
        status => unknown(format!("answers {status} to a push, and is no registry that is known here")),
    }
}

fn writes(allow: &[String]) -> bool {
    allow.iter().any(|method| WRITING.contains(&method.as_str()))
}

fn is_reading(allow: &[String]) -> bool {
    !allow.is_empty() && allow.iter().all(|method| matches!(method.as_str(), "GET" | "HEAD"))
}

/// Go's server and nginx say so to HTTP on a port for TLS.
fn contains(body: &[u8], word: &[u8]) -> bool {
    body.windows(word.len()).any(|window| window == word)
}

/// Whether a body is an error as the distribution spec has it: `{"errors": [{"code": …}]}`.
fn has_registry_error(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|body| body["errors"][0]["code"].is_string())
}

/// What it means that no answer came.
fn trouble(error: &Error) -> Answer {
    match error {
        Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => Answer::Refused,
        Error::Timeout(_) => Answer::Unknown(format!("does not answer within {} s", TOTAL.as_secs())),
        Error::HostNotFound => Answer::Unknown("has a host name that cannot be resolved".to_owned()),
        // rustls says what it does not like of a certificate through an error of input and output.
        Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            Answer::Unknown(format!("cannot be spoken to by TLS ({error}); --ca-file names who signed its certificate"))
        }
        error => Answer::Unknown(format!("cannot be asked: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Server, answer};
    use super::*;
    use crate::secret::Secret;

    fn reply(status: u16, allow: Option<&str>, is_registry: bool, body: &str) -> Reply {
        let allow = allow.map(|allow| allow.split(", ").map(str::to_owned).collect());
        Reply { status, allow, is_registry, challenges: Vec::new(), body: body.into() }
    }

    #[test]
    fn what_options_says() {
        let unknown = || Some("unknown");
        for (status, allow, is_registry, expected) in [
            (200, Some("DELETE, GET, HEAD, PATCH, POST, PUT"), true, Some("writable")),
            (204, Some("POST"), true, Some("writable")),
            (200, Some("GET, HEAD"), true, Some("read-only")),
            // By whoever is between.
            (200, Some("GET, HEAD"), false, None),
            (200, Some("DELETE, GET, HEAD, PATCH, POST, PUT"), false, None),
            (200, Some("GET, HEAD, OPTIONS"), true, None),
            (405, Some("GET, HEAD"), true, None),
            (200, None, true, None),
            (204, None, false, None),
            (403, None, false, None),
            (404, None, true, None),
            (501, None, false, None),
            (301, None, true, unknown()),
            (429, None, true, unknown()),
            (500, None, true, unknown()),
            (503, Some("GET, HEAD"), true, unknown()),
        ] {
            let got = by_options(&reply(status, allow, is_registry, ""));
            assert_eq!(got.as_ref().map(kind), expected, "{status} {allow:?} {is_registry}");
        }
    }

    #[test]
    fn what_a_push_says() {
        const ERROR: &str = r#"{"errors":[{"code":"MANIFEST_INVALID"}]}"#;
        for (status, allow, is_registry, body, expected) in [
            (405, Some("GET, HEAD"), true, "", "read-only"),
            (405, None, true, r#"{"errors":[{"code":"UNSUPPORTED"}]}"#, "unknown"),
            (405, Some("GET, HEAD"), false, "", "unknown"),
            (405, Some("DELETE, GET, HEAD"), true, "", "unknown"),
            (400, None, true, ERROR, "writable"),
            (400, None, false, ERROR, "writable"),
            (400, None, false, "<html>", "unknown"),
            (404, None, false, r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#, "writable"),
            (404, None, false, "404 page not found", "unknown"),
            (413, None, true, ERROR, "writable"),
            (413, None, true, "", "unknown"),
            (404, None, true, "404 page not found", "unknown"),
            (400, None, false, "Client sent an HTTP request to an HTTPS server.", "unknown"),
            (415, None, false, ERROR, "writable"),
            (201, None, true, "", "writable"),
            (403, None, true, ERROR, "unknown"),
            (429, None, true, ERROR, "unknown"),
            (503, None, true, ERROR, "unknown"),
            (308, None, true, "", "unknown"),
        ] {
            let got = by_put(&reply(status, allow, is_registry, body));
            assert_eq!(kind(&got), expected, "{status} {allow:?} {is_registry} {body}");
        }
    }

    fn kind(answer: &Answer) -> &'static str {
        match answer {
            Answer::Writable => "writable",
            Answer::ReadOnly => "read-only",
            Answer::Refused => "refused",
            Answer::Unknown(_) => "unknown",
        }
    }

    fn asked(server: &Server, credentials: Option<&Credentials>) -> Answer {
        let address = server.url().parse().unwrap();
        Asker::new(&address, credentials, &[], &[]).ask()
    }

    fn me() -> Credentials {
        Credentials { user: "me".to_owned(), password: Secret::new("hidden") }
    }

    const IS_READ_ONLY: &str = "Allow: GET, HEAD\r\nDocker-Distribution-Api-Version: registry/2.0\r\n";

    #[test]
    fn a_proxy_that_answers_options_is_passed_by() {
        let server = Server::start(|request| match request.method.as_str() {
            "OPTIONS" => answer(204, "Allow: GET, POST, OPTIONS\r\n", ""),
            "PUT" => answer(405, IS_READ_ONLY, "method not allowed"),
            _ => answer(500, "", ""),
        });
        assert_eq!(asked(&server, None), Answer::ReadOnly);
        let seen = server.seen();
        assert_eq!(seen, ["OPTIONS /v2/reg-gc-probe/blobs/uploads/ -", "PUT /v2/reg-gc-probe/manifests/probe -"]);
    }

    #[test]
    fn basic_credentials_go_where_they_are_asked_for() {
        let server = Server::start(|request| match &request.authorization {
            None => answer(401, "WWW-Authenticate: Negotiate\r\nWWW-Authenticate: Basic realm=\"x\"\r\n", ""),
            Some(sent) if sent == "Basic bWU6aGlkZGVu" => answer(200, IS_READ_ONLY, ""),
            Some(_) => answer(401, "", ""),
        });
        assert_eq!(asked(&server, Some(&me())), Answer::ReadOnly);
        let Answer::Unknown(why) = asked(&server, None) else { panic!("without credentials nothing is known") };
        assert!(why.contains("REG_USER"), "{why}");
        let wrong = Credentials { password: Secret::new("wrong"), ..me() };
        let Answer::Unknown(why) = asked(&server, Some(&wrong)) else { panic!("a wrong password says nothing") };
        assert!(why.contains("does not accept") && !why.contains("wrong"), "{why}");
    }

    #[test]
    fn tokens_are_fetched_with_credentials_and_without() {
        let server = Server::start(|request| match (request.path.as_str(), request.authorization.as_deref()) {
            (path, sent) if path.starts_with("/token") => {
                assert_eq!(path, "/token?service=s&scope=repository%3Areg-gc-probe%3Apull");
                answer(200, "", &format!("{{\"access_token\":\"{}\"}}", if sent.is_some() { "mine" } else { "anybody's" }))
            }
            (_, Some("Bearer mine" | "Bearer anybody's")) => answer(200, IS_READ_ONLY, ""),
            (_, _) => answer(401, &format!("WWW-Authenticate: Bearer realm=\"http://{}/token\",service=\"s\"\r\n", request.host), ""),
        });
        assert_eq!(asked(&server, Some(&me())), Answer::ReadOnly);
        assert_eq!(asked(&server, None), Answer::ReadOnly);
        let tokens: Vec<_> = server.seen().into_iter().filter(|line| line.contains("/token")).collect();
        assert!(tokens[0].ends_with(" Basic bWU6aGlkZGVu") && tokens[1].ends_with(" -"), "{tokens:?}");
    }

    #[test]
    fn a_token_server_that_gives_none_is_named() {
        let server = Server::start(|request| match request.path.as_str() {
            path if path.starts_with("/token") => answer(403, "", "{}"),
            _ => answer(401, &format!("WWW-Authenticate: Bearer realm=\"http://{}/token\"\r\n", request.host), ""),
        });
        let Answer::Unknown(why) = asked(&server, None) else { panic!("no token, no answer") };
        assert!(why.contains("403") && why.contains("REG_USER"), "{why}");
    }

    #[test]
    fn what_cannot_be_asked_says_nothing() {
        let redirects = Server::start(|_| answer(307, "Location: http://elsewhere.example.com/\r\n", ""));
        assert!(matches!(asked(&redirects, Some(&me())), Answer::Unknown(why) if why.contains("redirects")));
        let address: Address = redirects.url().parse().unwrap();
        drop(redirects);
        assert_eq!(Asker::new(&address, None, &[], &[]).ask(), Answer::Refused);
        assert!(Asker::new(&address, None, &[], &[]).answers().is_err());
        let silent = Server::start(|_| String::new());
        assert!(matches!(asked(&silent, None), Answer::Unknown(_)));
        let plain = Server::start(|_| answer(200, IS_READ_ONLY, ""));
        let address: Address = plain.url().replace("http:", "https:").parse().unwrap();
        assert!(matches!(Asker::new(&address, None, &[], &[]).ask(), Answer::Unknown(_)));
    }
}
