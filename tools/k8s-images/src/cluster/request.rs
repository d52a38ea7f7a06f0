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
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use kube::client::Body;
use kube::core::discovery::v2::ACCEPT_AGGREGATED_DISCOVERY_V2;

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
    /// Who asks may not do this.
    Forbidden,
    /// The server has nothing of this name.
    NotFound,
    /// What is asked for is no longer to be had: a list must be begun anew.
    Gone,
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
        matches!(self.kind, FailureKind::Unauthorized | FailureKind::Unreachable | FailureKind::Stranger)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.cause)
    }
}

/// Makes the requests to one cluster.
pub(crate) struct Requests {
    client: kube::Client,
    patience: Patience,
    /// Whether the server ever answered.
    reached: Cell<bool>,
}

impl Requests {
    pub(crate) fn new(client: kube::Client, patience: Patience) -> Self {
        Self { client, patience, reached: Cell::new(false) }
    }

    /// The body of the answer to a GET of a path, with its query.
    ///
    /// # Errors
    /// Any other answer than 200, and none, when it was asked for often enough.
    pub(crate) async fn get(&self, path: &str, form: Form) -> Result<Vec<u8>, Failure> {
        let mut made = 0;
        loop {
            made += 1;
            let (outcome, mut failure) = match self.try_once(path, form).await {
                Ok(body) => return Ok(body),
                Err(tried) => tried,
            };
            match retry::wait(self.patience, made, outcome, retry::jitter()) {
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

    async fn try_once(&self, path: &str, form: Form) -> Result<Vec<u8>, (Outcome, Failure)> {
        let lasting = |cause: String| (Outcome::Lasting, Failure::other(cause));
        let request = Request::get(path)
            .header(ACCEPT, form.accept())
            .header(USER_AGENT, concat!("k8s-images/", env!("CARGO_PKG_VERSION")))
            .body(Body::empty())
            .map_err(|error| lasting(format!("{path}: {error}")))?;
        let response = match tokio::time::timeout(self.patience.silence, self.client.send(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(self.no_answer(&error)),
            Err(_) => return Err(self.silence()),
        };
        self.reached.set(true);
        let status = response.status();
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if let Some(of) = content_type.filter(|of| status == StatusCode::OK && of.starts_with("text/")) {
            let cause = format!("{status}, of the type {}", of.split(';').next().unwrap_or(of));
            return Err((Outcome::Lasting, Failure { kind: FailureKind::Stranger, cause }));
        }
        if status == StatusCode::OK {
            return match self.body(response, LARGEST_BODY).await {
                Ok((body, true)) => Ok(body),
                Ok((_, false)) => Err(lasting(format!(
                    "the answer is larger than {} MiB; is this the address of a Kubernetes API server?",
                    LARGEST_BODY >> 20
                ))),
                Err(trouble) => Err(trouble),
            };
        }
        let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = asked.and_then(|value| retry::retry_after(value, Utc::now()));
        // What the error says is good to know, and its status is known without.
        let body = self.body(response, LARGEST_ERROR).await.map(|(body, _)| body).unwrap_or_default();
        Err((Outcome::Answer { status: status.as_u16(), retry_after }, refused(status, &body)))
    }

    /// The body of an answer, and whether that is all of it: what is beyond the limit is left.
    async fn body(&self, response: Response<Body>, limit: usize) -> Result<(Vec<u8>, bool), (Outcome, Failure)> {
        // Of a compressed body the length is not known; of any other it saves growing.
        let length = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|value| value.parse().ok());
        let mut body = Vec::with_capacity(length.unwrap_or(0).min(limit));
        let mut frames = response.into_body();
        loop {
            let frame = match tokio::time::timeout(self.patience.silence, frames.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => {
                    let cause = format!("the answer broke off: {}", cause(&error));
                    return Err((Outcome::Lost, Failure::other(cause)));
                }
                Ok(None) => return Ok((body, true)),
                Err(_) => return Err(self.silence()),
            };
            let Some(data) = frame.data_ref() else { continue };
            if body.len() + data.len() > limit {
                return Ok((body, false));
            }
            body.extend_from_slice(data);
        }
    }

    fn silence(&self) -> (Outcome, Failure) {
        let cause = format!("nothing came for {}", seconds(self.patience.silence));
        (Outcome::Silent, Failure { kind: self.kind_of_no_answer(), cause })
    }

    fn no_answer(&self, error: &kube::Error) -> (Outcome, Failure) {
        let is_connect = |error: &(dyn Error + 'static)| {
            error.downcast_ref::<hyper_util::client::legacy::Error>().is_some_and(hyper_util::client::legacy::Error::is_connect)
        };
        let outcome = if matches!(error, kube::Error::Auth(_)) {
            Outcome::Lasting
        } else if sources(error).any(is_connect) {
            Outcome::NoConnection { reached: self.reached.get() }
        } else {
            Outcome::Lost
        };
        let kind = if outcome == Outcome::Lost { self.kind_of_no_answer() } else { FailureKind::Unreachable };
        (outcome, Failure { kind, cause: cause(error) })
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
        // An API server leads nobody elsewhere, and says by a `Status` what is wrong with a request.
        _ if status.is_redirection() || (status == StatusCode::BAD_REQUEST && said.is_none()) => FailureKind::Stranger,
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
    Failure { kind, cause }
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

/// What led to an error, in one line. What a login command printed may be a secret, and is left out.
pub(crate) fn cause(error: &kube::Error) -> String {
    use kube::client::AuthError;
    if let kube::Error::Auth(error) = error {
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
    use super::*;

    #[test]
    fn what_a_refusal_means() {
        let status = |reason: &str| format!(r#"{{"kind": "Status", "reason": "{reason}", "message": "so it is"}}"#);
        for (code, body, kind, cause) in [
            (401, status("Unauthorized"), FailureKind::Unauthorized, "401 Unauthorized: so it is"),
            (403, status("Forbidden"), FailureKind::Forbidden, "403 Forbidden: so it is"),
            (403, "<html>no</html>".to_owned(), FailureKind::Forbidden, "403 Forbidden"),
            (404, "404 page not found\n".to_owned(), FailureKind::NotFound, "404 Not Found: 404 page not found"),
            (410, status("Expired"), FailureKind::Gone, "410 Expired: so it is"),
            (400, status("BadRequest"), FailureKind::Other, "400 BadRequest: so it is"),
            (
                400,
                "Client sent an HTTP request to an HTTPS server.\n".to_owned(),
                FailureKind::Stranger,
                "400 Bad Request: Client sent an HTTP request to an HTTPS server.",
            ),
            (302, String::new(), FailureKind::Stranger, "302 Found"),
            (500, String::new(), FailureKind::Other, "500 Internal Server Error"),
        ] {
            let failure = refused(StatusCode::from_u16(code).unwrap(), body.as_bytes());
            assert_eq!((failure.kind, failure.cause.as_str()), (kind, cause), "{code} {body}");
        }
    }
}
