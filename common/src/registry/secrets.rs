//! What a server's words must not show: the credentials that it was sent, as it may send them back. Pure.
//!
//! Credentials go into a request and nowhere else; but a server's answer goes into errors, and from there into records and logs.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::HeaderValue;
use url::form_urlencoded;

/// Stands for what is not shown.
const BLANK: &str = "***";

/// Texts shorter than this are in too many words to be blanked out; what follows `Basic` is, all the same.
const SHORTEST: usize = 4;

/// What one request was sent with, in the forms in which it may come back; the longest first.
#[derive(Default, Clone)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// Those of a request with this `Authorization` and this body, which may be the form that a token is exchanged by.
    pub(super) fn of(authorization: Option<&HeaderValue>, body: Option<&[u8]>) -> Self {
        let mut secrets = Vec::new();
        if let Some((scheme, sent)) = authorization.and_then(|value| value.to_str().ok()).and_then(|value| value.split_once(' ')) {
            secrets.push(sent.to_owned());
            let pair = BASE64_STANDARD.decode(sent).ok().filter(|_| scheme == "Basic").and_then(|pair| String::from_utf8(pair).ok());
            if let Some((_, password)) = pair.as_deref().and_then(|pair| pair.split_once(':')) {
                secrets.push(password.to_owned());
                secrets.push(form_urlencoded::byte_serialize(password.as_bytes()).collect());
            }
        }
        let fields = body.map(form_urlencoded::parse).into_iter().flatten();
        secrets.extend(fields.filter(|(key, _)| key == "refresh_token").map(|(_, token)| token.into_owned()));
        secrets.retain(|secret| secret.len() >= SHORTEST);
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self(secrets)
    }

    /// A text without them.
    pub(super) fn blanked(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret, BLANK))
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(BLANK)
    }
}

/// A text in one line, in which what follows `Basic` or `Bearer` is blanked out, but for the parameters of a challenge.
pub(super) fn without_authorization(text: &str) -> String {
    let mut after_scheme = false;
    let words = text.split_whitespace().map(|word| {
        let is_credential = after_scheme && !is_parameter(word);
        let bare = word.trim_matches(|character: char| !character.is_ascii_alphanumeric());
        after_scheme = ["basic", "bearer"].iter().any(|scheme| {
            let end = bare.len().checked_sub(scheme.len()).and_then(|start| bare.get(start..));
            end.is_some_and(|end| end.eq_ignore_ascii_case(scheme))
        });
        if is_credential { BLANK } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// `realm="…"`; the padding of base64 is no parameter.
fn is_parameter(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, value)| matches!(name, "realm" | "service" | "scope" | "error") && !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_not_shown() {
        let header = |text: &str| HeaderValue::from_str(text).unwrap();
        let pair = BASE64_STANDARD.encode("user:pass word");
        let secrets = Secrets::of(Some(&header(&format!("Basic {pair}"))), None);
        assert_eq!(secrets.blanked(&format!("you, user, sent {pair}, pass word, pass+word")), "you, user, sent ***, ***, ***");
        assert_eq!(Secrets::of(Some(&header("Bearer t0ken")), None).blanked("<t0ken>"), "<***>");
        let form = b"grant_type=refresh_token&refresh_token=i%26dent";
        assert_eq!(Secrets::of(None, Some(form)).blanked("refresh_token i&dent"), "refresh_token ***");
        let short = Secrets::of(Some(&header(&format!("Basic {}", BASE64_STANDARD.encode("u:n")))), None);
        assert_eq!(short.blanked("denied"), "denied");
        assert!(!format!("{secrets:?}").contains("pass"));
    }

    #[test]
    fn what_follows_a_scheme_is_not_shown() {
        for (text, shown) in [
            ("you sent Basic dTpwdw== to\n us", "you sent Basic *** to us"),
            ("Authorization:bearer abc.def.ghi", "Authorization:bearer ***"),
            ("\"Basic dTpw\"", "\"Basic ***"),
            ("send Basic realm=\"x\"", "send Basic realm=\"x\""),
            ("Basic", "Basic"),
            ("a basically good answer", "a basically good answer"),
        ] {
            assert_eq!(without_authorization(text), shown);
        }
    }
}
