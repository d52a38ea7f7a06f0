//! One request to a cluster's API server, made again where that is right, and what its errors mean.
//!
//! Owns the headers, the patience, the limit of a body, and the sentence in which an error is told. It goes through the client that it is
//! given, and so with that client's authentication, proxy and compression. When to try again is [`super::retry`]'s.
//!
//! The client must not try again by itself (`kube::Config::default_retry`): it would do so within each try.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use chrono::Utc;
use common::backoff;
use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use kube::client::{AuthError, Body};
use kube::core::discovery::v2::ACCEPT_AGGREGATED_DISCOVERY_V2;
use prost::bytes::Bytes;

use super::message::Status;
use super::page;
use super::retry::{self, Outcome, Patience};

/// A page of 500 pods is a megabyte or two. An object is no larger than etcd lets it be, 1.5 MiB by default.
const LARGEST_BODY: usize = 256 << 20;

/// What is said of an error beyond this is of no use.
const LARGEST_ERROR: usize = 1 << 20;

/// In which form an answer is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// Protobuf, which all kinds of Kubernetes itself have; JSON from a server that does not know it.
    #[default]
    Protobuf,
    /// JSON, which everything has.
    Json,
    /// All that is served, in one document; group by group from a server older than Kubernetes 1.26.
    Discovery,
}

impl Form {
    fn accept(self) -> &'static str {
        match self {
            Self::Protobuf => "application/vnd.kubernetes.protobuf, application/json",
            Self::Json => "application/json",
            Self::Discovery => ACCEPT_AGGREGATED_DISCOVERY_V2,
        }
    }
}

/// Why a request came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    /// For people: what the server said, or why it said nothing.
    pub(crate) cause: String,
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The server does not know who asks: no other request will fare better.
    Unauthorized,
    /// Nobody was asked, because what is to say who asks cannot be used.
    Credentials,
    /// Who asks may not do this.
    Forbidden,
    /// The server has nothing of this name.
    NotFound,
    /// What is asked for is no longer to be had: a list must be begun anew.
    Gone,
    /// The server does not understand what is asked, such as a selector.
    BadRequest,
    /// There is no server: no other request will fare better.
    Unreachable,
    /// What answers is no API server, but a page for people or another port: no other request will fare better.
    Stranger,
    /// Anything else.
    Other,
}

impl Failure {
    pub(crate) fn other(cause: impl Into<String>) -> Self {
        Self { kind: FailureKind::Other, cause: cause.into() }
    }

    /// Whether it is the same for every request to this server.
    pub(crate) fn is_of_the_server(&self) -> bool {
        use FailureKind::{Credentials, Stranger, Unauthorized, Unreachable};
        matches!(self.kind, Unauthorized | Credentials | Unreachable | Stranger)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.cause)
    }
}

/// What came of a try, if not what was asked for.
#[derive(Debug)]
pub(crate) struct Tried {
    outcome: Outcome,
    failure: Failure,
}

impl Tried {
    /// What would come of any other try too.
    pub(crate) fn lasting(cause: impl Into<String>) -> Self {
        Failure::other(cause).into()
    }

    /// The answer ended too early.
    pub(crate) fn cut(cause: impl Into<String>) -> Self {
        Self { outcome: Outcome::Lost, failure: Failure::other(cause) }
    }
}

impl From<Failure> for Tried {
    fn from(failure: Failure) -> Self {
        Self { outcome: Outcome::Lasting, failure }
    }
}

/// The body of an answer as it comes in.
pub(crate) struct Chunks<'a> {
    requests: &'a Requests,
    body: Body,
    /// How many bytes may still come.
    left: usize,
}

impl Chunks<'_> {
    /// What comes next; none at the end.
    ///
    /// # Errors
    /// An answer that breaks off, or is too large.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Tried> {
        loop {
            let frame = match tokio::time::timeout(self.requests.patience.silence, self.body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Err(Tried::cut(format!("the answer broke off: {}", cause(&error)))),
                Ok(None) => return Ok(None),
                Err(_) => return Err(self.requests.silence()),
            };
            // Anything else than data are trailers.
            let Ok(data) = frame.into_data() else { continue };
            self.left = self.left.checked_sub(data.len()).ok_or_else(|| {
                let limit = self.requests.largest >> 20;
                Tried::lasting(format!("the answer is larger than {limit} MiB; is this the address of a Kubernetes API server?"))
            })?;
            return Ok(Some(data));
        }
    }
}

/// Makes the requests to one cluster.
pub(crate) struct Requests {
    client: kube::Client,
    patience: Patience,
    /// Whether the server ever answered.
    reached: Cell<bool>,
    /// The largest body that is taken.
    largest: usize,
}

impl Requests {
    pub(crate) fn new(client: kube::Client, patience: Patience) -> Self {
        Self { client, patience, reached: Cell::new(false), largest: LARGEST_BODY }
    }

    /// All of the answer to a GET of a path, with its query.
    ///
    /// # Errors
    /// As of [`Self::read`].
    pub(crate) async fn get(&self, path: &str, form: Form) -> Result<Vec<u8>, Failure> {
        let all = async |mut chunks: Chunks<'_>| {
            let mut body = Vec::new();
            while let Some(chunk) = chunks.next().await? {
                body.extend_from_slice(&chunk);
            }
            Ok(body)
        };
        self.read(path, form, all).await
    }

    /// What `read` makes of the answer to a GET of a path, with its query. Each try is read from its beginning.
    ///
    /// # Errors
    /// Any other answer than 200, and none, when it was asked for often enough; what `read` says.
    pub(crate) async fn read<T>(&self, path: &str, form: Form, read: impl AsyncFn(Chunks<'_>) -> Result<T, Tried>) -> Result<T, Failure> {
        let mut made = 0;
        loop {
            made += 1;
            let tried = match self.open(path, form).await {
                Ok(chunks) => read(chunks).await,
                Err(tried) => Err(tried),
            };
            let Tried { outcome, mut failure } = match tried {
                Ok(read) => return Ok(read),
                Err(tried) => tried,
            };
            match retry::wait(self.patience, made, outcome, backoff::jitter()) {
                Some(wait) => {
                    tracing::debug!("GET {path}: {failure}; asking again in {wait:?}");
                    tokio::time::sleep(wait).await;
                }
                None => {
                    if made > 1 {
                        failure.cause.push_str(&format!(" ({made} tries)"));
                    }
                    return Err(failure);
                }
            }
        }
    }

    async fn open(&self, path: &str, form: Form) -> Result<Chunks<'_>, Tried> {
        let request = Request::get(path)
            .header(ACCEPT, form.accept())
            .header(USER_AGENT, concat!("k8s-images/", env!("CARGO_PKG_VERSION")))
            .body(Body::empty())
            .map_err(|error| Tried::lasting(format!("{path}: {error}")))?;
        let response = match tokio::time::timeout(self.patience.silence, self.client.send(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(self.no_answer(&error)),
            Err(_) => return Err(self.silence()),
        };
        self.reached.set(true);
        let status = response.status();
        tracing::debug!("GET {path}: {status}");
        let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = asked.and_then(|value| backoff::retry_after(value, Utc::now()));
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if let Some(of) = content_type.filter(|of| status == StatusCode::OK && of.starts_with("text/")) {
            let cause = format!("{status}, of the type {}", of.split(';').next().unwrap_or(of));
            return Err(Failure { kind: FailureKind::Stranger, cause }.into());
        }
        let mut chunks = Chunks { requests: self, body: response.into_body(), left: self.largest };
        if status == StatusCode::OK {
            return Ok(chunks);
        }
        // What the error says is good to know, and its status is known without.
        let mut body = Vec::new();
        while body.len() < LARGEST_ERROR
            && let Ok(Some(chunk)) = chunks.next().await
        {
            body.extend_from_slice(&chunk);
        }
        Err(Tried { outcome: Outcome::Answer { status: status.as_u16(), retry_after }, failure: refused(status, &body) })
    }

    fn silence(&self) -> Tried {
        let cause = format!("nothing came for {}", seconds(self.patience.silence));
        Tried { outcome: Outcome::Silent, failure: Failure { kind: self.kind_of_no_answer(), cause } }
    }

    fn no_answer(&self, error: &kube::Error) -> Tried {
        let is_connect = |error: &(dyn Error + 'static)| {
            error.downcast_ref::<hyper_util::client::legacy::Error>().is_some_and(hyper_util::client::legacy::Error::is_connect)
        };
        if auth(error).is_some() {
            return Failure { kind: FailureKind::Credentials, cause: cause(error) }.into();
        }
        let outcome = if sources(error).any(is_connect) { Outcome::NoConnection { reached: self.reached.get() } } else { Outcome::Lost };
        let kind = if outcome == Outcome::Lost { self.kind_of_no_answer() } else { FailureKind::Unreachable };
        Tried { outcome, failure: Failure { kind, cause: cause(error) } }
    }

    /// A server that never answered does not answer anything else either.
    fn kind_of_no_answer(&self) -> FailureKind {
        if self.reached.get() { FailureKind::Other } else { FailureKind::Unreachable }
    }
}

/// What an answer other than 200 means.
fn refused(status: StatusCode, body: &[u8]) -> Failure {
    let said = page::status(body);
    let kind = match status {
        StatusCode::UNAUTHORIZED => FailureKind::Unauthorized,
        StatusCode::FORBIDDEN => FailureKind::Forbidden,
        StatusCode::NOT_FOUND => FailureKind::NotFound,
        StatusCode::GONE => FailureKind::Gone,
        StatusCode::BAD_REQUEST if said.is_some() => FailureKind::BadRequest,
        // An API server leads nobody elsewhere, and says by a `Status` what is wrong with a request.
        _ if status.is_redirection() || status == StatusCode::BAD_REQUEST => FailureKind::Stranger,
        _ => FailureKind::Other,
    };
    let (reason, message) = match said {
        Some(Status { reason, message }) => (reason, message),
        // Some answers of a server are a line of text, and those of a proxy in between a page for browsers.
        None => (None, str::from_utf8(body).ok().and_then(first_line)),
    };
    let [reason, message] = [reason, message].map(|said| said.filter(|said| !said.trim().is_empty()));
    let mut cause = reason.map_or_else(|| status.to_string(), |reason| format!("{} {reason}", status.as_u16()));
    if let Some(message) = message {
        cause.push_str(&format!(": {message}"));
    }
    Failure { kind, cause: without_credentials(&cause) }
}

/// A text without what follows the name of a scheme (RFC 9110, 11.4): a server that repeats the request in its error, as some proxies do,
/// must not bring our credentials into a record.
fn without_credentials(text: &str) -> String {
    let is_part = |sign: char| sign.is_ascii_alphanumeric() || "-._~+/=".contains(sign);
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    // Letters of ASCII keep their length in small.
    while let Some(at) = {
        let small = rest.to_ascii_lowercase();
        ["bearer ", "basic "].iter().filter_map(|scheme| Some(small.find(scheme)? + scheme.len())).min()
    } {
        let (before, after) = rest.split_at(at);
        let length = after.find(|sign| !is_part(sign)).unwrap_or(after.len());
        let (credentials, after) = after.split_at(length);
        kept.push_str(before);
        // Words such as "token" and "authentication" are no secret, and say what is wrong.
        kept.push_str(if length > 16 { "[left out]" } else { credentials });
        rest = after;
    }
    kept.push_str(rest);
    kept
}

fn first_line(text: &str) -> Option<String> {
    let line = text.trim().lines().next().filter(|line| !line.starts_with('<'))?;
    Some(line.chars().take(200).collect())
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

/// An error and what led to it.
fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// What kube says against credentials, which it may find out in the middle of a request.
fn auth(error: &kube::Error) -> Option<&AuthError> {
    match error {
        kube::Error::Auth(error) => Some(error),
        other => sources(other).find_map(|error| error.downcast_ref()),
    }
}

/// What led to an error, in one line. What a login command printed may be a secret, and is left out.
pub(crate) fn cause(error: &kube::Error) -> String {
    if let Some(error) = auth(error) {
        return match error {
            AuthError::AuthExecRun { cmd, out } => format!("the login command {cmd:?} ended with {}", out.status),
            AuthError::AuthExecParse(_) => "the login command printed no ExecCredential that can be read".to_owned(),
            other => other.to_string(),
        };
    }
    let said: Vec<String> = sources(error).map(ToString::to_string).collect();
    // Many errors say what their source says, and some words before it.
    let mut parts: Vec<&str> = Vec::new();
    for (part, next) in said.iter().zip(said.iter().skip(1).map(Some).chain([None])) {
        let repeats = next.is_some_and(|next| part.contains(next.as_str()));
        if !repeats && !part.starts_with("client error (") {
            parts.push(part);
        }
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{PATIENCE, Reply, Server, client, nowhere, refusal, reply};
    use super::*;

    async fn get(server: &Server) -> Result<String, Failure> {
        server.requests().get("/x", Form::Json).await.map(|body| String::from_utf8(body).unwrap())
    }

    #[test]
    fn what_a_server_repeats_of_our_credentials_is_left_out() {
        for (said, expected) in [
            ("no: Authorization: Bearer eyJhbGciOiJSUzI1.eyJpc3M_-.c2ln\"; go", "no: Authorization: Bearer [left out]\"; go"),
            ("basic dXNlcjpwYXNzd29yZDEyMw== and BEARER 0123456789abcdef01", "basic [left out] and BEARER [left out]"),
            ("invalid bearer token", "invalid bearer token"),
            ("the bearer authentication failed, bearer ", "the bearer authentication failed, bearer "),
            ("Schlüssel: Bearer ü", "Schlüssel: Bearer ü"),
        ] {
            assert_eq!(without_credentials(said), expected);
            let failure = refused(StatusCode::FORBIDDEN, said.as_bytes());
            assert!(failure.cause.ends_with(expected.trim_end()), "{}", failure.cause);
        }
    }

    #[tokio::test]
    async fn what_is_refused_is_told_in_the_words_of_the_server() {
        for (reply, kind, expected) in [
            (refusal(403, "Forbidden", "no"), FailureKind::Forbidden, "403 Forbidden: no"),
            (refusal(410, "Expired", "old"), FailureKind::Gone, "410 Expired: old"),
            (refusal(422, "", " "), FailureKind::Other, "422 Unprocessable Entity"),
            (reply(404, "404 page not found\nor so"), FailureKind::NotFound, "404 Not Found: 404 page not found"),
            (reply(401, "<html>\n"), FailureKind::Unauthorized, "401 Unauthorized"),
            (refusal(400, "BadRequest", "no selector"), FailureKind::BadRequest, "400 BadRequest: no selector"),
            // Whoever says this is no API server.
            (reply(302, "").header("Location", "https://login/?secret"), FailureKind::Stranger, "302 Found"),
            (reply(400, "speak TLS\n"), FailureKind::Stranger, "400 Bad Request: speak TLS"),
            (
                reply(200, "<html>").header("Content-Type", "text/html; charset=utf-8"),
                FailureKind::Stranger,
                "200 OK, of the type text/html",
            ),
            (reply(500, "\u{e9}".repeat(300)), FailureKind::Other, &format!("500 Internal Server Error: {}", "\u{e9}".repeat(200))),
        ] {
            let server = Server::start(move |_, _| reply.clone());
            assert_eq!(get(&server).await, Err(Failure { kind, cause: expected.to_owned() }));
            assert_eq!(server.seen(), ["/x application/json"]);
        }
    }

    #[tokio::test]
    async fn a_lost_connection_is_no_reason_to_give_up() {
        let server = Server::start(|_, times| if times < 2 { reply(200, "abc").cut(times + 1) } else { reply(200, "abc") });
        assert_eq!((get(&server).await, server.seen().len()), (Ok("abc".to_owned()), 3));
        let silent = Server::start(|_, times| if times == 0 { Reply::silence() } else { reply(200, "abc") });
        let patience = Patience { silence: Duration::from_secs(2), ..PATIENCE };
        assert_eq!(Requests::new(silent.client(), patience).get("/x", Form::Json).await, Ok(b"abc".to_vec()));
    }

    #[tokio::test]
    async fn a_body_without_end_ends() {
        let server = Server::start(|_, _| reply(200, vec![b' '; (1 << 20) + 1]));
        let requests = Requests { largest: 1 << 20, ..server.requests() };
        let failure = requests.get("/x", Form::Json).await.unwrap_err();
        assert_eq!(failure.cause, "the answer is larger than 1 MiB; is this the address of a Kubernetes API server?");
        assert_eq!(server.seen().len(), 1);
    }

    #[tokio::test]
    async fn what_never_answered_is_not_there() {
        let kind = |failure: Failure| (failure.kind, failure.is_of_the_server());
        let requests = Requests::new(client(&nowhere()), PATIENCE);
        assert_eq!(requests.get("/x", Form::Json).await.map_err(kind), Err((FailureKind::Unreachable, true)));
        assert!(!requests.reached.get());
        let server = Server::start(|_, times| reply(200, "abc").cut(times.min(1)));
        let requests = server.requests();
        assert_eq!(requests.get("/x", Form::Json).await, Ok(b"abc".to_vec()));
        assert_eq!(requests.get("/x", Form::Json).await.map_err(kind), Err((FailureKind::Other, false)));
    }
}
