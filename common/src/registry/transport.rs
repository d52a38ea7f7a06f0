//! One request to one registry: tried until there is an answer, within limits of time, size and number in flight.
//!
//! Decisions are elsewhere: whether to try again in `retry`, what to send as credentials in `auth`. Redirects are followed here and
//! not by the HTTP library, because credentials must stay with the registry and verbs that change something must not be redirected.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, Method, Response, StatusCode};
use tokio::sync::Semaphore;
use url::Url;

use super::auth::{Access, Auth, Rejections};
use super::blobs::Hashed;
use super::error::{Answered, Cause, Error, Trouble, redacted};
use super::retry::{self, Decision, Outcome, Patience};
use super::secrets::Secrets;
use super::settings::{Settings, Timeouts};
use crate::backoff;
use crate::digest::{Digest, Hashing};
use crate::reference::{DOCKER_HUB, Host, Repository};

/// Where the API of Docker Hub answers; its own name is a web site.
const DOCKER_HUB_API: &str = "registry-1.docker.io";

/// How much of an error's body is read.
const ERROR_BODY: usize = 64 << 10;

/// How many redirects a request follows.
const HOPS: usize = 5;

/// How often a request is tried.
pub(super) const TRIES: u32 = 6;

/// A request, to be made as often as it takes.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) access: Access<'a>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Option<Vec<u8>>,
    pub(super) read: Read<'a>,
    pub(super) total: Duration,
    pub(super) tries: u32,
}

/// How much of a successful answer's body is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Read<'a> {
    /// All, and it is an error if there are more bytes than this.
    Whole(usize),
    /// The first bytes that come, and no more.
    Beginning,
    /// None: they are hashed as they come, until there are more than this. A whole one takes as long as it takes, and one that breaks off is an
    /// answer too.
    Hashed(Algorithm, u64),
    /// None: they are written into a file as they come. As above, one that breaks off is an answer too, and here also one that stops coming.
    Into {
        file: &'a File,
        /// The place from which on the bytes were asked for. The file is emptied first where the answer is all.
        from: u64,
        /// How many bytes it may have in the end.
        most: u64,
    },
}

/// What bytes are hashed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    pub(super) fn of(digest: &Digest) -> Self {
        match digest {
            Digest::Sha256(_) => Self::Sha256,
            Digest::Sha512(_) => Self::Sha512,
        }
    }

    fn hasher(self) -> Hashing {
        match self {
            Self::Sha256 => Digest::Sha256([0; 32]).hasher(),
            Self::Sha512 => Digest::Sha512(Box::new([0; 64])).hasher(),
        }
    }
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) method: Method,
    /// Where the answer came from, redirects followed.
    pub(super) url: Url,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// What came of the body, where it was to be hashed.
    pub(super) hashed: Option<Hashed>,
    /// How many bytes the file has into which the body was to be written, and whether more were to come.
    pub(super) written: Option<(u64, bool)>,
    /// Whether a redirect led to another host, whose words are not the registry's.
    pub(super) foreign: bool,
    /// What was sent to prove who is asking, and may be in what came back.
    pub(super) secrets: Secrets,
}

impl Answer {
    /// The value of a header that is text.
    pub(super) fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// This answer as an error, whatever its status.
    pub(super) fn error(&self) -> Error {
        let error = Error::of_request(&self.method, &self.url, Cause::Answer(Answered::read(self.status, &self.body, &self.secrets)));
        match self.header(header::LOCATION).filter(|_| self.status.is_redirection()).and_then(|to| self.url.join(to).ok()) {
            Some(to) => error.with_hint(format!("it redirects to {}, which is not followed", to.host_str().unwrap_or("nowhere"))),
            None => error,
        }
    }

    /// An error about what this answer holds.
    pub(super) fn content_error(&self, text: impl Into<String>) -> Error {
        Error::of_request(&self.method, &self.url, Cause::Content(text.into()))
    }

    /// Whether it is a page for people by its type. What it holds may be what was asked for all the same.
    pub(super) fn is_page(&self) -> bool {
        let media_type = self.header(header::CONTENT_TYPE).and_then(|value| value.split(';').next()).unwrap_or_default();
        ["text/html", "application/xhtml+xml"].iter().any(|page| media_type.trim().eq_ignore_ascii_case(page))
    }

    /// An error that says that it is such a page.
    pub(super) fn page_error(&self) -> Error {
        Error::of_request(&self.method, &self.url, Cause::Page)
    }

    /// This answer if its status is a success, else the error that it is.
    pub(super) fn success(self) -> Result<Self, Error> {
        if self.status.is_success() { Ok(self) } else { Err(self.error()) }
    }
}

/// Everything that the requests to one registry share.
#[derive(Debug)]
pub(super) struct Transport {
    host: Host,
    base: Url,
    scheme: Mutex<Scheme>,
    certificates: Vec<Certificate>,
    clients: Mutex<HashMap<Route, Client>>,
    timeouts: Timeouts,
    permits: Semaphore,
    paused_until: Mutex<Option<Instant>>,
    reached: AtomicBool,
    /// What could not be reached by many tries.
    dead: Mutex<HashSet<url::Origin>>,
    auth: Auth,
    /// Requests made, each try of each.
    requests: AtomicU64,
    /// Bytes that were hashed as they came.
    hashed: AtomicU64,
}

/// What is spoken to the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    /// HTTP, until the server shows that it speaks TLS: for loopback, where registries of either kind are started every day and
    /// nobody can listen in.
    HttpAtFirst,
    Http,
    Https,
}

/// What an HTTP client is configured for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Route {
    /// Loading the system's certificates takes time and fails where there are none, so only who speaks TLS does it.
    tls: bool,
    /// Proxies are for what is elsewhere: one that is configured for a network cannot reach this machine's loopback.
    loopback: bool,
}

/// A lock that outlives a panic elsewhere: the data behind these locks is whole after every statement.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Transport {
    pub(super) fn new(host: &Host, settings: &Settings) -> Result<Self, Error> {
        let setup = |text: String| Error::new(host.as_str(), Cause::Setup(text));
        let certificates = match &settings.ca_file {
            Some(path) => {
                let pem = std::fs::read(path).map_err(|error| setup(format!("--ca-file {}: {error}", path.display())))?;
                let certificates = Certificate::from_pem_bundle(&pem).unwrap_or_default();
                if certificates.is_empty() {
                    return Err(setup(format!("--ca-file {}: no PEM certificate in it", path.display())));
                }
                certificates
            }
            None => Vec::new(),
        };
        let scheme = if settings.plain_http {
            Scheme::Http
        } else if host.is_loopback() && certificates.is_empty() && !settings.tls_only {
            Scheme::HttpAtFirst
        } else {
            Scheme::Https
        };
        let api = if host.as_str() == DOCKER_HUB { DOCKER_HUB_API } else { host.as_str() };
        let base = Url::parse(&format!("{}://{api}/v2/", if scheme == Scheme::Https { "https" } else { "http" }))
            .map_err(|error| setup(format!("not a host that a URL can have: {error}")))?;
        Ok(Self {
            host: host.clone(),
            base,
            scheme: Mutex::new(scheme),
            certificates,
            clients: Mutex::new(HashMap::new()),
            timeouts: settings.timeouts.clone(),
            permits: Semaphore::new(settings.jobs.clamp(1, 1024)),
            paused_until: Mutex::new(None),
            reached: AtomicBool::new(false),
            dead: Mutex::default(),
            auth: Auth::new(host, settings),
            requests: AtomicU64::new(0),
            hashed: AtomicU64::new(0),
        })
    }

    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    /// How many requests were made, and how many bytes were hashed as they came.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.requests.load(Ordering::Relaxed), self.hashed.load(Ordering::Relaxed))
    }

    pub(super) fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// The URL of something below `/v2/`.
    pub(super) fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        // Fails only for URLs that have no path, which this is not.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// The URL of something in a repository.
    pub(super) fn repository_url(&self, repository: &Repository, segments: &[&str]) -> Url {
        let all: Vec<&str> = repository.as_str().split('/').chain(segments.iter().copied()).collect();
        self.url(&all)
    }

    /// A request that reads a URL as nothing special.
    pub(super) fn ask<'a>(&self, method: Method, url: Url, access: Access<'a>, limit: usize) -> Ask<'a> {
        Ask { method, url, access, headers: Vec::new(), body: None, read: Read::Whole(limit), total: self.timeouts.total, tries: TRIES }
    }

    /// Makes a request, with credentials where the registry asks for them. An answer is an answer, whatever its status; but a 401
    /// that no credentials can change is an error.
    pub(super) async fn send(&self, ask: &Ask<'_>) -> Result<Answer, Error> {
        let mut rejections = Rejections::default();
        loop {
            let authorization = self.auth.authorization(self, ask, &rejections).await?;
            let header = authorization.as_ref().map(|authorization| authorization.header());
            let answer = self.exchange(ask, header).await?;
            // What asks for credentials behind a redirect is not the registry.
            if answer.status != StatusCode::UNAUTHORIZED || answer.foreign {
                return Ok(answer);
            }
            self.auth.challenged(self, ask, &answer, authorization, &mut rejections).await?;
        }
    }

    /// Whether plain HTTP is spoken to the registry.
    pub(super) fn is_plain(&self) -> bool {
        *lock(&self.scheme) != Scheme::Https
    }

    /// The registry's own URL as it is spoken to now.
    fn current(&self, url: &Url) -> Url {
        let mut url = url.clone();
        // Fails for schemes that are not alike; these are.
        let _ = url.set_scheme(if self.is_plain() { "http" } else { "https" });
        url
    }

    /// Makes a request until an answer stands, waiting between tries.
    async fn exchange(&self, ask: &Ask<'_>, authorization: Option<&HeaderValue>) -> Result<Answer, Error> {
        let patience = Patience { tries: ask.tries, backoff: self.timeouts.backoff };
        let mut made = 0;
        loop {
            self.pause().await;
            let outcome = {
                let _permit = self.permits.acquire().await;
                self.follow(ask, authorization).await
            };
            if self.learns_scheme(&outcome) {
                continue;
            }
            if outcome.is_ok() {
                self.reached.store(true, Ordering::Relaxed);
            }
            made += 1;
            let patience = self.patience(patience, &outcome);
            match retry::decide(patience, made, &outcome_of(&outcome), self.reached.load(Ordering::Relaxed), backoff::jitter()) {
                Decision::Stands => {
                    self.learn_dead(&outcome);
                    return outcome.map_err(|(url, trouble)| self.error(ask, &url, trouble));
                }
                Decision::Again(wait) => tokio::time::sleep(wait).await,
                Decision::PauseAll(wait) => {
                    let until = Instant::now() + wait;
                    let mut paused = lock(&self.paused_until);
                    *paused = Some(paused.map_or(until, |before| before.max(until)));
                }
            }
        }
    }

    /// One try is enough for a host beside the registry that could not be reached by as many as there are.
    fn patience(&self, patience: Patience, outcome: &Result<Answer, (Url, Trouble)>) -> Patience {
        match outcome {
            Err((url, _)) if lock(&self.dead).contains(&url.origin()) => Patience { tries: 1, ..patience },
            _ => patience,
        }
    }

    /// Learns from the last try which hosts beside the registry are out of reach, where redirects lead to and tokens come from. All
    /// repositories may lead there, and each must say so on its own, but need not wait long for it.
    fn learn_dead(&self, outcome: &Result<Answer, (Url, Trouble)>) {
        match outcome {
            Ok(answer) => lock(&self.dead).remove(&answer.url.origin()),
            Err((url, trouble)) if trouble.is_of_host() => lock(&self.dead).insert(url.origin()),
            Err(_) => false,
        };
    }

    fn error(&self, ask: &Ask<'_>, url: &Url, trouble: Trouble) -> Error {
        // Another port of the registry's host is not the registry either.
        let is_foreign = url.origin() != self.current(&self.base).origin();
        let error = if trouble.is_of_host() {
            // Here the host is all that matters, and it is one word instead of a line.
            let host = url.host_str().unwrap_or_default();
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            Error::new(format!("{host}{port}"), Cause::Trouble(trouble))
        } else {
            Error::of_request(&ask.method, url, Cause::Trouble(trouble))
        };
        if is_foreign { error.of_another_host() } else { error }
    }

    /// Waits while the registry wants to be left alone.
    async fn pause(&self) {
        loop {
            let until = *lock(&self.paused_until);
            match until {
                Some(until) if until > Instant::now() => tokio::time::sleep_until(until.into()).await,
                _ => return,
            }
        }
    }

    /// Learns from the first outcome what a loopback registry speaks; `true` if the request has to be made again by TLS.
    fn learns_scheme(&self, outcome: &Result<Answer, (Url, Trouble)>) -> bool {
        let mut scheme = lock(&self.scheme);
        if *scheme != Scheme::HttpAtFirst {
            return false;
        }
        let speaks_tls = match outcome {
            // What Go's server and nginx answer to HTTP on a port for TLS.
            Ok(answer) => answer.status == StatusCode::BAD_REQUEST && contains(&answer.body, b"HTTPS"),
            // Others answer in TLS, with an alert.
            Err((_, Trouble::NotHttp)) => true,
            // Nothing on port 80 says nothing about port 443.
            Err((_, Trouble::Refused)) => self.base.port().is_none(),
            Err(_) => return false,
        };
        *scheme = if speaks_tls { Scheme::Https } else { Scheme::Http };
        speaks_tls
    }

    /// Makes a request once, and follows where it is redirected to.
    async fn follow(&self, ask: &Ask<'_>, authorization: Option<&HeaderValue>) -> Result<Answer, (Url, Trouble)> {
        let origin = self.current(&ask.url);
        let mut url = origin.clone();
        let deadline = Instant::now() + ask.total;
        for _ in 0..=HOPS {
            let own = url.origin() == origin.origin();
            let mut answer =
                self.once(ask, &url, authorization.filter(|_| own), deadline).await.map_err(|trouble| (url.clone(), trouble))?;
            answer.foreign = !own;
            let reads = matches!(ask.method, Method::GET | Method::HEAD);
            let moved = matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308) && reads;
            let Some(location) = answer.header(header::LOCATION).filter(|_| moved) else { return Ok(answer) };
            url = redirect_target(&origin, &url, location).map_err(|trouble| (url.clone(), trouble))?;
        }
        Err((url, Trouble::Redirect(format!("redirected more than {HOPS} times"))))
    }

    /// Makes a request once, to one URL.
    async fn once(&self, ask: &Ask<'_>, url: &Url, authorization: Option<&HeaderValue>, deadline: Instant) -> Result<Answer, Trouble> {
        let started = Instant::now();
        self.requests.fetch_add(1, Ordering::Relaxed);
        let result = self.raw(&ask.method, url, &ask.headers, ask.body.as_deref(), authorization, ask.read, deadline, ask.total).await;
        let milliseconds = started.elapsed().as_millis();
        match &result {
            Ok(answer) => tracing::debug!("{} {}: {} in {milliseconds} ms", ask.method, redacted(url), answer.status.as_u16()),
            Err(trouble) => tracing::debug!("{} {}: {trouble} after {milliseconds} ms", ask.method, redacted(url)),
        }
        result
    }

    /// Asks a token server, which is given no second chance to send the client elsewhere.
    pub(super) async fn ask_token_server(&self, ask: &Ask<'_>, authorization: Option<&HeaderValue>) -> Result<Answer, Error> {
        let patience = Patience { tries: ask.tries, backoff: self.timeouts.backoff };
        let mut made = 0;
        loop {
            let outcome = {
                let _permit = self.permits.acquire().await;
                let deadline = Instant::now() + ask.total;
                self.once(ask, &ask.url, authorization, deadline).await.map_err(|trouble| (ask.url.clone(), trouble))
            };
            made += 1;
            let patience = self.patience(patience, &outcome);
            match retry::decide(patience, made, &outcome_of(&outcome), true, backoff::jitter()) {
                Decision::Stands => {
                    self.learn_dead(&outcome);
                    return outcome.map_err(|(url, trouble)| self.error(ask, &url, trouble));
                }
                Decision::Again(wait) | Decision::PauseAll(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the one place where a request is put together from its parts")]
    async fn raw(
        &self,
        method: &Method,
        url: &Url,
        headers: &[(HeaderName, HeaderValue)],
        body: Option<&[u8]>,
        authorization: Option<&HeaderValue>,
        read: Read<'_>,
        deadline: Instant,
        total: Duration,
    ) -> Result<Answer, Trouble> {
        let client = self.client(url)?;
        let mut request = client.request(method.clone(), url.clone()).header(header::ACCEPT_ENCODING, "identity");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if let Some(body) = body {
            request = request.body(body.to_vec());
        }
        // The answer's first byte may take as long as the whole request; the bytes after it may not stop coming.
        let within = |limit: Duration| limit.min(deadline.saturating_duration_since(Instant::now()));
        let is_patient = total > self.timeouts.total && !matches!(read, Read::Hashed(..) | Read::Into { .. });
        let first = if is_patient { total } else { self.timeouts.idle };
        let timeout = |_| Trouble::Timeout(first);
        let mut response =
            tokio::time::timeout(within(first), request.send()).await.map_err(timeout)?.map_err(|error| match self.trouble(&error) {
                // A server that knows no TLS may hang up on its first bytes.
                Trouble::Lost(text) if error.is_connect() && url.scheme() == "https" => Trouble::Tls(text),
                other => other,
            })?;
        let status = response.status();
        let limit = match read {
            Read::Whole(limit) if status.is_success() => limit,
            Read::Whole(_) | Read::Beginning | Read::Hashed(..) | Read::Into { .. } => ERROR_BODY,
        };
        let mut bytes = Vec::new();
        let mut is_cut = false;
        let mut hashing = match read {
            Read::Hashed(algorithm, most) if status.is_success() => Some((algorithm.hasher(), 0, most)),
            _ => None,
        };
        let mut writing = match read {
            Read::Into { file, from, most } if status.is_success() => Some((file, begin(file, from, &response)?, most)),
            _ => None,
        };
        if *method != Method::HEAD {
            loop {
                let idle = within(self.timeouts.idle);
                let chunk = match tokio::time::timeout(idle, response.chunk()).await {
                    Ok(Ok(chunk)) => chunk,
                    // An error is an error, with or without its last words.
                    Ok(Err(_)) | Err(_) if !status.is_success() => None,
                    Ok(Err(error)) => match self.trouble(&error) {
                        Trouble::Lost(_) if hashing.is_some() || writing.is_some() => {
                            is_cut = true;
                            None
                        }
                        Trouble::Lost(text) => return Err(Trouble::CutBody(text)),
                        other => return Err(other),
                    },
                    Err(_) if writing.is_some() => {
                        is_cut = true;
                        None
                    }
                    Err(_) => return Err(Trouble::Timeout(if idle < self.timeouts.idle { total } else { idle })),
                };
                let Some(chunk) = chunk else { break };
                if let Some((hasher, came, most)) = &mut hashing {
                    hasher.update(&chunk);
                    *came += chunk.len() as u64;
                    self.hashed.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                    if *came > *most {
                        break;
                    }
                    continue;
                }
                if let Some((file, came, most)) = &mut writing {
                    *came += chunk.len() as u64;
                    if *came > *most {
                        return Err(Trouble::TooLarge(usize::try_from(*most).unwrap_or(usize::MAX)));
                    }
                    file.write_all(&chunk).map_err(|error| unwritten(&error))?;
                    continue;
                }
                let room = limit - bytes.len();
                bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if matches!(read, Read::Beginning) && status.is_success() && !bytes.is_empty() {
                    break;
                }
                if chunk.len() > room {
                    if status.is_success() {
                        return Err(Trouble::TooLarge(limit));
                    }
                    break;
                }
            }
        }
        Ok(Answer {
            method: method.clone(),
            url: url.clone(),
            status,
            headers: response.headers().clone(),
            body: bytes,
            hashed: hashing.map(|(hasher, size, _)| Hashed { size, digest: hasher.finish(), is_cut }),
            written: writing.map(|(_, size, _)| (size, is_cut)),
            foreign: false,
            secrets: Secrets::of(authorization, body),
        })
    }

    /// The HTTP client for a URL, made when it is first needed.
    fn client(&self, url: &Url) -> Result<Client, Trouble> {
        let loopback = url.host_str().and_then(|host| host.parse::<Host>().ok()).is_some_and(|host| host.is_loopback());
        let route = Route { tls: url.scheme() == "https", loopback };
        let mut clients = lock(&self.clients);
        if let Some(client) = clients.get(&route) {
            return Ok(client.clone());
        }
        // Whoever installed a provider before has the same one: the workspace has no other.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .user_agent(concat!("registry-housekeeping/", env!("CARGO_PKG_VERSION")))
            .referer(false)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(self.timeouts.connect)
            .pool_idle_timeout(Duration::from_secs(60));
        builder = match (route.tls, self.certificates.is_empty()) {
            (true, true) => builder,
            (true, false) => builder.tls_certs_merge(self.certificates.iter().cloned()),
            (false, _) => builder.tls_certs_only([]),
        };
        if route.loopback {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| {
            Trouble::Other(format!(
                "no HTTP client can be set up: {}; are the system's certificates (ca-certificates) installed?",
                chain(&error)
            ))
        })?;
        clients.insert(route, client.clone());
        Ok(client)
    }

    /// What an error of the HTTP library means.
    fn trouble(&self, error: &reqwest::Error) -> Trouble {
        if error.is_timeout() {
            return Trouble::Timeout(self.timeouts.connect);
        }
        let text = chain(error);
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = source {
            if let Some(trouble) = typed_trouble(error) {
                return trouble;
            }
            source = error.source();
        }
        if text.contains("dns error") || text.contains("failed to lookup address") {
            return if text.contains("emporary failure") { Trouble::Resolver } else { Trouble::UnknownHost };
        }
        // Hyper's errors have no types that can be asked.
        if text.contains("invalid HTTP version") {
            return Trouble::NotHttp;
        }
        if error.is_builder() {
            return Trouble::Other(text);
        }
        Trouble::Lost(text)
    }
}

fn outcome_of(outcome: &Result<Answer, (Url, Trouble)>) -> Outcome<'_> {
    match outcome {
        Ok(answer) => Outcome::Answer {
            status: answer.status.as_u16(),
            temporary: !answer.status.is_success() && Answered::read(answer.status, &answer.body, &answer.secrets).is_temporary(),
            retry_after: answer.header(header::RETRY_AFTER).and_then(|value| backoff::retry_after(value, chrono::Utc::now())),
        },
        Err((_, trouble)) => Outcome::Trouble(trouble),
    }
}

/// Makes room in a file for what an answer holds, and gives the place where that begins.
fn begin(mut file: &File, from: u64, answer: &Response) -> Result<u64, Trouble> {
    let is_part = answer.status() == StatusCode::PARTIAL_CONTENT;
    let place = if is_part { from } else { 0 };
    let range = answer.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok()).filter(|_| is_part);
    if range.is_some_and(|range| !range.starts_with(&format!("bytes {place}-"))) {
        return Err(Trouble::Other("the answer is another part than was asked for".to_owned()));
    }
    file.set_len(place).and_then(|()| file.seek(SeekFrom::Start(place))).map_err(|error| unwritten(&error))
}

fn unwritten(error: &io::Error) -> Trouble {
    Trouble::Other(format!("what comes cannot be written: {error}"))
}

/// Where a redirect leads, if that is a place to go.
fn redirect_target(origin: &Url, from: &Url, location: &str) -> Result<Url, Trouble> {
    let refused = |what: &str| Err(Trouble::Redirect(format!("redirected {what}, which is not followed")));
    let Ok(mut to) = from.join(location) else { return refused("to what is no URL") };
    if !matches!(to.scheme(), "http" | "https") {
        return refused("to something that is not HTTP");
    }
    if from.scheme() == "https" && to.scheme() == "http" {
        return refused("from TLS to plain HTTP");
    }
    // Somebody else's server must not make this machine ask its own services, or the cloud's service that hands out identities.
    if is_internal(&to) && !is_internal(origin) {
        return refused("to an address of this machine or its link");
    }
    to.set_fragment(None);
    Ok(to)
}

/// Whether a URL names this machine or its link, where clouds keep the service that hands out identities.
pub(super) fn is_internal(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name.eq_ignore_ascii_case("localhost") || name.ends_with(".localhost") || name == "metadata.google.internal"
        }
        Some(url::Host::Ipv4(address)) => address.is_loopback() || address.is_link_local() || address.is_unspecified(),
        Some(url::Host::Ipv6(address)) => {
            let mapped = address
                .to_ipv4_mapped()
                .is_some_and(|address| address.is_loopback() || address.is_link_local() || address.is_unspecified());
            mapped || address.is_loopback() || address.is_unspecified() || address.is_unicast_link_local()
        }
        None => true,
    }
}

/// What an error means whose type says so.
fn typed_trouble(error: &(dyn std::error::Error + 'static)) -> Option<Trouble> {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(tls_trouble(error));
    }
    let error = error.downcast_ref::<std::io::Error>()?;
    // An error within an I/O error is not among its sources, and I/O errors come wrapped in others.
    error.get_ref().and_then(|inner| typed_trouble(inner)).or_else(|| io_trouble(error))
}

fn tls_trouble(error: &rustls::Error) -> Trouble {
    match error {
        rustls::Error::InvalidMessage(_) => Trouble::NotTls,
        rustls::Error::InvalidCertificate(error) => Trouble::Certificate(error.to_string()),
        other => Trouble::Tls(other.to_string()),
    }
}

fn io_trouble(error: &std::io::Error) -> Option<Trouble> {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => Some(Trouble::Refused),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => {
            Some(Trouble::Unreachable(error.to_string()))
        }
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
            Some(Trouble::Lost(error.to_string()))
        }
        _ => None,
    }
}

/// An error and its causes in one line; the library's own words may hold the URL with its secrets, so its first link is left out.
fn chain(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&error.to_string());
        source = error.source();
    }
    if text.is_empty() { "no cause is known".to_owned() } else { super::error::plain(&text) }
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

#[cfg(test)]
mod tests;
