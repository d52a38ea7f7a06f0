//! Scopes and tokens: how they are asked for and read (Distribution, "Token Authentication Specification"), pure.

use std::fmt;
use std::time::{Duration, Instant};

use reqwest::header::HeaderValue;
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::Serializer;

use super::EARLY;
use crate::secret::Secret;

/// How large a token server's answer may be.
pub(super) const LIMIT: usize = 64 << 10;

/// How long a token lives at least, and if its server does not say.
const LEAST: Duration = Duration::from_secs(60);

/// How long a token is taken to live at most: a clock that overflows is of no use.
const MOST: Duration = Duration::from_secs(24 * 3600);

/// What a token gives the right to, as a sorted set of scopes: the same set is the same token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::registry) struct Scope(Vec<String>);

impl Scope {
    /// Reads the scopes of a challenge, which are separated by spaces.
    pub(super) fn parse(text: &str) -> Self {
        let mut scopes: Vec<String> = text.split_ascii_whitespace().map(str::to_owned).collect();
        scopes.sort();
        scopes.dedup();
        Self(scopes)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join(" "))
    }
}

/// A token, as the header that it is sent in.
#[derive(Debug, Clone)]
pub(in crate::registry) struct Token {
    /// Marked as sensitive, so that nothing prints it.
    header: HeaderValue,
    obtained: Instant,
    expires: Instant,
}

impl Token {
    pub(super) fn header(&self) -> &HeaderValue {
        &self.header
    }

    pub(super) fn obtained(&self) -> Instant {
        self.obtained
    }

    /// Whether it will still be good when it arrives.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        now + EARLY < self.expires
    }

    /// A token that the user has already, of which nothing is known.
    pub(super) fn given(token: &Secret, now: Instant) -> Result<Self, String> {
        Ok(Self { header: bearer(token.reveal())?, obtained: now, expires: now + MOST })
    }

    /// Reads a token server's answer. Lifetimes count from the receipt on the local clock, as servers' clocks differ.
    pub(super) fn read(body: &[u8], now: Instant) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Body {
            token: Option<String>,
            access_token: Option<String>,
            // A number, and on odd servers a string or null.
            expires_in: Option<serde_json::Value>,
        }
        // The parser's own words may hold a part of the body, which may be a part of a token.
        let body: Body =
            serde_json::from_slice(body).map_err(|_| "the token server's answer is not the JSON object that it should be".to_owned())?;
        let token = [body.token, body.access_token].into_iter().flatten().find(|token| !token.is_empty());
        let token = token.ok_or("the token server's answer has no token")?;
        let seconds = match body.expires_in {
            Some(serde_json::Value::Number(number)) => number.as_f64(),
            Some(serde_json::Value::String(text)) => text.trim().parse().ok(),
            _ => None,
        };
        let life = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(LEAST).clamp(LEAST, MOST);
        Ok(Self { header: bearer(&token)?, obtained: now, expires: now + life })
    }
}

fn bearer(token: &str) -> Result<HeaderValue, String> {
    let mut header =
        HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| "the token has characters that cannot be sent".to_owned())?;
    header.set_sensitive(true);
    Ok(header)
}

/// The URL to get a token from, one `scope` parameter for each scope.
pub(super) fn query(realm: &Url, service: Option<&str>, scope: &Scope) -> Url {
    let mut url = realm.clone();
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = service {
            query.append_pair("service", service);
        }
        for scope in &scope.0 {
            query.append_pair("scope", scope);
        }
    }
    url
}

/// The form that exchanges an identity token for an access token (OAuth2), with all scopes in one field.
pub(super) fn form(identity: &Secret, service: Option<&str>, scope: &Scope) -> Vec<u8> {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token").append_pair("client_id", "registry-housekeeping");
    if let Some(service) = service {
        form.append_pair("service", service);
    }
    form.append_pair("scope", &scope.to_string()).append_pair("refresh_token", identity.reveal());
    form.finish().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes() {
        let now = Instant::now();
        for (body, seconds) in [
            (r#"{"token":"t","expires_in":300}"#, 300),
            (r#"{"access_token":"t","expires_in":"300","issued_at":"1999-01-01T00:00:00Z"}"#, 300),
            (r#"{"token":"","access_token":"t"}"#, 60),
            (r#"{"token":"t","expires_in":null}"#, 60),
            (r#"{"token":"t","expires_in":1}"#, 60),
            (r#"{"token":"t","expires_in":-5}"#, 60),
            (r#"{"token":"t","expires_in":1e300}"#, 60),
            (r#"{"token":"t","expires_in":999999999}"#, 24 * 3600),
        ] {
            let token = Token::read(body.as_bytes(), now).unwrap();
            assert!(token.is_fresh(now + Duration::from_secs(seconds - 6)), "{body}");
            assert!(!token.is_fresh(now + Duration::from_secs(seconds - 5)), "{body}");
        }
    }

    #[test]
    fn what_is_no_token_is_said_without_showing_it() {
        let now = Instant::now();
        for body in ["", "[]", "secret", r#"{"token":7}"#, r#"{"token":""}"#, "{}", "{\"token\":\"secret\\n\"}"] {
            let error = Token::read(body.as_bytes(), now).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
        let token = Token::read(br#"{"token":"secret"}"#, now).unwrap();
        assert!(!format!("{token:?}").contains("secret"));
    }

    #[test]
    fn scopes_are_sets() {
        assert_eq!(Scope::parse("b:x:pull  a:y:pull b:x:pull"), Scope::parse("a:y:pull b:x:pull"));
        let scope = Scope::parse("repository:b:pull repository:a:pull,push");
        let url = query(&"https://auth/token?a=b".parse().unwrap(), Some("r e"), &scope);
        assert_eq!(url.as_str(), "https://auth/token?a=b&service=r+e&scope=repository%3Aa%3Apull%2Cpush&scope=repository%3Ab%3Apull");
        let form = String::from_utf8(form(&Secret::new("i&d"), None, &scope)).unwrap();
        assert!(form.contains("scope=repository%3Aa%3Apull%2Cpush+repository%3Ab%3Apull&refresh_token=i%26d"), "{form}");
    }
}
