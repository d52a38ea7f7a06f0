//! Why a registry could not be asked, or did not answer what was asked: a sentence that names the thing, the cause and the way out.
//!
//! No sentence holds a password, a token or a URL's secret query; what a server wrote is cut short and freed of control characters.

use std::fmt;
use std::sync::Arc;

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use url::Url;

use super::secrets::{self, Secrets};

/// How many characters of a server's own words are shown.
const WORDS: usize = 300;

/// Why a registry could not be asked or did not answer. Cheap to clone, as one failure may concern several waiting requests.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    /// `GET https://registry.example.com/v2/…`, or just the host where no request was made.
    subject: String,
    cause: Cause,
    hint: Option<String>,
    /// It happened at a host that is not the registry's: where a redirect led, or a token server.
    is_foreign: bool,
}

/// What went wrong.
#[derive(Debug, Clone)]
pub(super) enum Cause {
    /// The registry answered with an error.
    Answer(Answered),
    /// No answer, or none that could be read.
    Trouble(Trouble),
    /// It asks for credentials and there are none.
    NoCredentials,
    /// It refuses the credentials that came from the place named.
    Rejected {
        /// Where the credentials came from.
        origin: String,
    },
    /// The credentials are good, and not good enough.
    Denied {
        /// The scope that the registry asks for.
        scope: String,
    },
    /// It asks for more rights than everybody has, and there are no credentials.
    AnonymousDenied {
        /// The scope that the registry asks for.
        scope: String,
    },
    /// It names a token server that must not be trusted.
    Realm(String),
    /// Credentials exist and could not be read.
    Credentials(String),
    /// The answer is not what the specification says: a digest that lies, no JSON object, more bytes than can be meant.
    Content(String),
    /// A page for people came where content was asked for: of a login, or of what stands before the registry.
    Page,
    /// The client could not be set up, or was asked for something it does not do.
    Setup(String),
}

/// An answer with a status that is no success.
#[derive(Debug, Clone)]
pub(super) struct Answered {
    pub(super) status: StatusCode,
    /// The registry's own codes and messages (distribution-spec, "Error Codes"); empty where the body had none.
    pub(super) reported: Vec<Reported>,
    /// The beginning of a body that is no such list.
    pub(super) text: Option<String>,
}

/// One element of a registry's `errors`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reported {
    pub(super) code: String,
    pub(super) message: String,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    UnknownHost,
    /// The resolver did not answer, which may pass.
    Resolver,
    Refused,
    Unreachable(String),
    /// TLS was spoken to a port where something else is spoken.
    NotTls,
    /// HTTP was spoken to a port where something else is spoken, most likely TLS.
    NotHttp,
    Certificate(String),
    Tls(String),
    /// The connection ended before the answer did.
    Lost(String),
    /// The connection ended within the answer's body.
    CutBody(String),
    Timeout(std::time::Duration),
    TooLarge(usize),
    Redirect(String),
    Other(String),
}

impl Error {
    pub(super) fn new(subject: impl Into<String>, cause: Cause) -> Self {
        Self(Arc::new(Inner { subject: subject.into(), cause, hint: None, is_foreign: false }))
    }

    pub(super) fn of_request(method: &Method, url: &Url, cause: Cause) -> Self {
        Self::new(format!("{method} {}", redacted(url)), cause)
    }

    /// The same error with a way out that only the caller knows.
    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).hint = Some(hint.into());
        self
    }

    /// The same error without its way out, for who knows another.
    #[must_use]
    pub fn without_hint(mut self) -> Self {
        Arc::make_mut(&mut self.0).hint = None;
        self
    }

    /// The same error, which is not the registry's.
    pub(super) fn of_another_host(mut self) -> Self {
        Arc::make_mut(&mut self.0).is_foreign = true;
        self
    }

    /// The same error, which is that of a storage behind the registry and means what the registry says of a blob that it has not.
    pub(super) fn of_missing_blob(mut self) -> Self {
        if let Cause::Answer(answered) = &mut Arc::make_mut(&mut self.0).cause {
            answered.reported =
                vec![Reported { code: "BLOB_UNKNOWN".to_owned(), message: "says the storage behind the registry".to_owned() }];
        }
        self
    }

    pub(super) fn trouble(&self) -> Option<&Trouble> {
        match &self.0.cause {
            Cause::Trouble(trouble) => Some(trouble),
            _ => None,
        }
    }

    /// The HTTP status, where the registry answered with one that is no success.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match &self.0.cause {
            Cause::Answer(answered) => Some(answered.status.as_u16()),
            Cause::NoCredentials | Cause::AnonymousDenied { .. } | Cause::Rejected { .. } | Cause::Denied { .. } => Some(401),
            _ => None,
        }
    }

    /// The registry's own codes, such as `MANIFEST_UNKNOWN` (distribution-spec, "Error Codes").
    pub fn codes(&self) -> impl Iterator<Item = &str> {
        match &self.0.cause {
            Cause::Answer(answered) => answered.reported.as_slice(),
            _ => &[],
        }
        .iter()
        .map(|reported| reported.code.as_str())
    }

    /// The registry's first own code, for a record's `error`; else the whole sentence.
    #[must_use]
    pub fn code_or_sentence(&self) -> String {
        self.codes().next().map_or_else(|| self.to_string(), str::to_owned)
    }

    fn says(&self, code: &str) -> bool {
        self.codes().any(|said| said == code)
    }

    /// The registry knows the repository, or says nothing about it, and has no such manifest.
    #[must_use]
    pub fn is_manifest_unknown(&self) -> bool {
        self.status() == Some(404) && self.says("MANIFEST_UNKNOWN")
    }

    /// The registry has no such repository. Some answer 400 with the code, so that the code alone decides.
    #[must_use]
    pub fn is_name_unknown(&self) -> bool {
        matches!(self.status(), Some(404 | 400)) && self.says("NAME_UNKNOWN")
    }

    /// The registry has no such blob.
    #[must_use]
    pub fn is_blob_unknown(&self) -> bool {
        self.status() == Some(404) && self.says("BLOB_UNKNOWN")
    }

    /// The registry does not do this at all: switched off, read-only, a cache, or never built.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        self.status() == Some(405) || self.says("UNSUPPORTED")
    }

    /// The answer to a DELETE by tag that says that this registry takes away digests only: Distribution before 3 takes the tag for a
    /// malformed digest.
    #[must_use]
    pub fn is_tag_deletion_unsupported(&self) -> bool {
        self.is_unsupported() || (self.status() == Some(400) && self.says("DIGEST_INVALID"))
    }

    /// Credentials are missing, wrong or not good enough.
    #[must_use]
    pub fn is_unauthorized(&self) -> bool {
        matches!(self.status(), Some(401 | 403)) || matches!(self.0.cause, Cause::Realm(_) | Cause::Credentials(_))
    }

    /// The registry, or its token server, says that the user name or the password is wrong.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        matches!(self.0.cause, Cause::Rejected { .. })
    }

    /// The registry's own host cannot be reached, so that asking it about the next repository is no use.
    ///
    /// Credentials are never the reason: what one repository, or one scope, is refused another may be given. Neither is a host that a
    /// redirect or a challenge named.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match &self.0.cause {
            Cause::Trouble(trouble) => !self.0.is_foreign && trouble.is_of_host(),
            Cause::Setup(_) => true,
            _ => false,
        }
    }

    /// The registry works and shows no catalog, or none to this user.
    #[must_use]
    pub fn is_no_catalog(&self) -> bool {
        !self.is_unreachable()
            && !self.needs_other_credentials()
            && (matches!(self.status(), Some(401 | 403 | 404 | 405)) || self.is_unsupported())
    }

    /// No answer came, or not all of one: nothing is known of what was asked for.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        match &self.0.cause {
            Cause::Trouble(trouble) => !matches!(trouble, Trouble::TooLarge(_)),
            Cause::Setup(_) | Cause::Realm(_) | Cause::Credentials(_) => true,
            _ => false,
        }
    }

    /// A page for people came in the place of what was asked for, so that nothing is known of that.
    #[must_use]
    pub fn is_page(&self) -> bool {
        matches!(self.0.cause, Cause::Page)
    }

    /// The connection ended within an answer, at every try.
    #[must_use]
    pub fn is_cut_short(&self) -> bool {
        matches!(self.trouble(), Some(Trouble::CutBody(_)))
    }

    /// The answer has more bytes than were wanted.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        matches!(self.trouble(), Some(Trouble::TooLarge(_)))
    }

    /// There are no credentials, or they are wrong, cannot be read, or would have to go where they must not: something for the user
    /// to mend. That they are not good enough for one thing is another matter.
    #[must_use]
    pub fn needs_other_credentials(&self) -> bool {
        matches!(self.0.cause, Cause::Realm(_) | Cause::Credentials(_) | Cause::NoCredentials | Cause::Rejected { .. })
    }

    /// Asking again later would get the same answer; what is not lasting was tried several times already.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        match &self.0.cause {
            Cause::Answer(answered) => !answered.is_temporary(),
            Cause::Trouble(trouble) => !trouble.is_temporary(),
            _ => true,
        }
    }
}

impl Answered {
    /// Reads what the registry says in an answer's body.
    pub(super) fn read(status: StatusCode, body: &[u8], secrets: &Secrets) -> Self {
        #[derive(Deserialize)]
        struct Body {
            errors: Vec<Element>,
        }
        #[derive(Deserialize)]
        struct Element {
            code: Option<serde_json::Value>,
            message: Option<serde_json::Value>,
        }
        let word = |value: Option<serde_json::Value>| match value {
            // Codes decide what is done, so that a password like one must not hide it.
            Some(serde_json::Value::String(text)) if is_code(&text) => text,
            Some(serde_json::Value::String(text)) => plain(&secrets.blanked(&text)),
            Some(serde_json::Value::Null) | None => String::new(),
            Some(other) => plain(&secrets.blanked(&other.to_string())),
        };
        let reported: Vec<Reported> = serde_json::from_slice::<Body>(body)
            .map(|body| body.errors.into_iter().take(10).map(|e| Reported { code: word(e.code), message: word(e.message) }).collect())
            .unwrap_or_default();
        let text = if reported.is_empty() {
            Some(plain(&secrets.blanked(&String::from_utf8_lossy(body)))).filter(|text| !text.is_empty())
        } else {
            None
        };
        Self { status, reported, text }
    }

    fn says(&self, codes: &[&str]) -> bool {
        self.reported.iter().any(|reported| codes.contains(&reported.code.as_str()))
    }

    /// Whether another try may get another answer.
    ///
    /// 499 and 522 are what nginx and a large content network answer for a connection that broke behind them. The three codes are
    /// what registries say, under whatever status, of a state that passes.
    pub(super) fn is_temporary(&self) -> bool {
        matches!(self.status.as_u16(), 408 | 425 | 429 | 499 | 500 | 502 | 503 | 504 | 522)
            || (!matches!(self.status.as_u16(), 401 | 404) && self.says(&["TOOMANYREQUESTS", "UNAVAILABLE", "UNKNOWN"]))
    }
}

impl Trouble {
    /// Whether it concerns the host, whatever it is asked for.
    pub(super) fn is_of_host(&self) -> bool {
        matches!(
            self,
            Self::UnknownHost
                | Self::Resolver
                | Self::Refused
                | Self::Unreachable(_)
                | Self::NotTls
                | Self::NotHttp
                | Self::Certificate(_)
                | Self::Tls(_)
        )
    }

    /// Whether another try may go better.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Self::Resolver | Self::Refused | Self::Unreachable(_) | Self::Tls(_) | Self::Lost(_) | Self::CutBody(_) | Self::Timeout(_) => {
                true
            }
            Self::UnknownHost
            | Self::NotTls
            | Self::NotHttp
            | Self::Certificate(_)
            | Self::TooLarge(_)
            | Self::Redirect(_)
            | Self::Other(_) => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.0.subject, self.0.cause)?;
        match &self.0.hint {
            Some(hint) => write!(formatter, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(answered) => answered.fmt(formatter),
            Self::Trouble(trouble) => trouble.fmt(formatter),
            Self::NoCredentials => formatter.write_str(
                "the registry needs credentials and none were found for it; set REG_USER and REG_PASSWORD, or log in with docker, podman \
                 or skopeo login",
            ),
            Self::AnonymousDenied { scope } => write!(
                formatter,
                "the registry needs credentials for {} and none were found for it; set REG_USER and REG_PASSWORD, or log in with docker, \
                 podman or skopeo login",
                plain(scope)
            ),
            Self::Rejected { origin } => {
                write!(formatter, "the registry refused the credentials from {origin}; check the user name and the password")
            }
            Self::Denied { scope } => {
                write!(formatter, "denied: needs scope {}, which these credentials do not have", plain(scope))
            }
            Self::Page => formatter
                .write_str("the answer is a page for people (text/html), such as that of a login: it is not the registry that says so"),
            Self::Realm(text) | Self::Credentials(text) | Self::Content(text) | Self::Setup(text) => formatter.write_str(text),
        }
    }
}

impl fmt::Display for Answered {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.status.as_u16())?;
        if let Some(reason) = self.status.canonical_reason() {
            write!(formatter, " {reason}")?;
        }
        for (index, Reported { code, message }) in self.reported.iter().take(3).enumerate() {
            let separator = if index == 0 { ", " } else { "; " };
            match (code.as_str(), message.as_str()) {
                ("", "") => {}
                (code, "") => write!(formatter, "{separator}{code}")?,
                ("", message) => write!(formatter, "{separator}{message}")?,
                (code, message) => write!(formatter, "{separator}{code}: {message}")?,
            }
        }
        match &self.text {
            Some(text) => write!(formatter, ", {text:?}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownHost => formatter.write_str("unknown host; check the spelling, or name resolution here"),
            Self::Resolver => formatter.write_str("unknown host: name resolution does not answer here; check DNS or the spelling"),
            Self::Refused => formatter.write_str("connection refused: nothing listens there; check the host and the port"),
            Self::Unreachable(text) => write!(formatter, "cannot be reached: {text}"),
            Self::NotTls => formatter
                .write_str("the server there does not speak TLS, most likely plain HTTP; add --plain-http if that is meant to be so"),
            Self::NotHttp => formatter.write_str("the server there does not speak plain HTTP"),
            Self::Certificate(text) => {
                write!(formatter, "the server's certificate is not trusted ({text}); name the authority that signed it with --ca-file")
            }
            Self::Tls(text) => {
                write!(formatter, "TLS failed: {text}; if the server there is meant to speak plain HTTP, add --plain-http")
            }
            Self::Lost(text) => write!(formatter, "the connection was lost: {text}"),
            Self::CutBody(text) => write!(formatter, "the connection was lost within the answer: {text}"),
            Self::Timeout(limit) => write!(formatter, "no answer within {} s", limit.as_secs_f32()),
            Self::TooLarge(limit) => write!(formatter, "the answer has more than the {limit} bytes that it may have"),
            Self::Redirect(text) | Self::Other(text) => formatter.write_str(text),
        }
    }
}

/// Whether a text looks like a code of a registry, such as `MANIFEST_UNKNOWN`.
fn is_code(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

/// A server's text as it may be shown: one line, no control characters, not endless, and nothing that looks like credentials.
pub(super) fn plain(text: &str) -> String {
    let mut shown = secrets::without_authorization(text);
    shown.retain(|character| !character.is_control() && !is_direction_mark(character));
    if shown.chars().count() > WORDS {
        shown = shown.chars().take(WORDS).chain(['…']).collect();
    }
    shown
}

/// Marks that change the direction of the text after them, by which a line can be made to read as another.
fn is_direction_mark(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A URL as it may be shown: without user and password, and of the query only what pages are asked for by. Signed URLs carry
/// their right of access in the query.
pub(super) fn redacted(url: &Url) -> String {
    let mut shown = url.clone();
    // Both fail only for URLs that cannot have a user.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_fragment(None);
    let known: Vec<(String, String)> =
        url.query_pairs().filter(|(key, _)| matches!(&**key, "n" | "last")).map(|(key, value)| (key.into(), value.into())).collect();
    shown.set_query(None);
    if !known.is_empty() {
        shown.query_pairs_mut().extend_pairs(known);
    }
    plain(shown.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_made_harmless() {
        let body = b"{\"errors\":[{\"code\":\"DENIED\",\"message\":\"\\u001b[31mno\\u0007\\n\\u202eway\",\"detail\":[1]},{\"code\":7}]}";
        let answered = Answered::read(StatusCode::FORBIDDEN, body, &Secrets::default());
        assert_eq!(answered.to_string(), "403 Forbidden, DENIED: [31mno way; 7");
        let long = Answered::read(StatusCode::BAD_GATEWAY, "x".repeat(100_000).as_bytes(), &Secrets::default());
        assert!(long.to_string().len() < 400);
        assert_eq!(Answered::read(StatusCode::NOT_FOUND, b"", &Secrets::default()).to_string(), "404 Not Found");
    }

    #[test]
    fn urls_lose_their_secrets() {
        let shown = |text: &str| redacted(&text.parse().unwrap());
        assert_eq!(shown("https://u:p@h/v2/_catalog?n=5&last=a%2Fb&sig=SECRET#f"), "https://h/v2/_catalog?n=5&last=a%2Fb");
        assert_eq!(shown("https://bucket/x?X-Amz-Signature=SECRET"), "https://bucket/x");
    }

    #[test]
    fn a_missing_endpoint_is_not_a_missing_manifest() {
        let error = |status, body: &str| {
            Error::new("x", Cause::Answer(Answered::read(StatusCode::from_u16(status).unwrap(), body.as_bytes(), &Secrets::default())))
        };
        let code = |code: &str| format!(r#"{{"errors":[{{"code":"{code}"}}]}}"#);
        assert!(error(404, &code("MANIFEST_UNKNOWN")).is_manifest_unknown());
        assert!(!error(404, "404 page not found").is_manifest_unknown());
        assert!(!error(500, &code("MANIFEST_UNKNOWN")).is_manifest_unknown());
        assert!(error(400, &code("NAME_UNKNOWN")).is_name_unknown());
        assert!(error(404, &code("BLOB_UNKNOWN")).is_blob_unknown());
        assert!(error(405, "").is_unsupported() && error(400, &code("UNSUPPORTED")).is_unsupported());
        assert!(error(400, &code("DIGEST_INVALID")).is_tag_deletion_unsupported());
        assert!(error(403, &code("TOOMANYREQUESTS")).0.cause.to_string().contains("TOOMANYREQUESTS"));
        assert!(!error(403, &code("TOOMANYREQUESTS")).is_lasting() && error(403, &code("DENIED")).is_lasting());
    }
}
