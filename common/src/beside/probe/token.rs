//! What a registry wants to be shown, and whom to ask for it: pure.
//!
//! A registry names its token server, so whoever speaks for the registry for a moment could name his own. Credentials go to the
//! registry's own host, within the loopback, and to hosts that the user named; anybody else is asked without them, which is often
//! enough, as any valid token may ask what is allowed.

use http_auth::parser::ChallengeParser;
use serde_json::Value;
use url::{Host, Url};

use super::address::is_loopback;
use super::ask::Reply;

/// What a 401 asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User name and password.
    Basic,
    /// A token of a server.
    Bearer { realm: String, service: Option<String> },
}

/// The first challenge in `WWW-Authenticate` that can be answered.
pub(super) fn challenge<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Challenge> {
    headers.into_iter().flat_map(|header| ChallengeParser::new(header).map_while(Result::ok)).find_map(|challenge| {
        let parameter = |name: &str| {
            let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped()).filter(|value| !value.is_empty())
        };
        if challenge.scheme.eq_ignore_ascii_case("basic") {
            Some(Challenge::Basic)
        } else if challenge.scheme.eq_ignore_ascii_case("bearer") {
            Some(Challenge::Bearer { realm: parameter("realm")?, service: parameter("service") })
        } else {
            None
        }
    })
}

/// The URL by which a token is asked for, where that may be asked at all.
pub(super) fn request(realm: &str, service: Option<&str>, scope: &str, registry: &Url) -> Result<Url, String> {
    let mut url: Url = realm.parse().map_err(|_| "names a token server that is no URL".to_owned())?;
    let host = url.host_str().unwrap_or_default().to_owned();
    match url.scheme() {
        "https" => {}
        "http" if registry.scheme() == "http" => {}
        _ => return Err(format!("names a token server, {host}, that is not spoken to by TLS, though the registry is")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("names a token server, {host}, with a user, which is refused"));
    }
    if is_internal(&url) && url.host() != registry.host() && !is_internal(registry) {
        return Err(format!("names a token server, {host}, on this host or its link, which is refused"));
    }
    let mut query = url.query_pairs_mut();
    query.extend_pairs(service.map(|service| ("service", service)));
    query.append_pair("scope", scope);
    drop(query);
    Ok(url)
}

/// An address behind which a network keeps what is not for strangers, such as a cloud's metadata.
fn is_internal(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_link_local() || address.is_unspecified(),
        Some(Host::Ipv6(address)) => {
            let mapped = address.to_ipv4_mapped().is_some_and(|address| address.is_loopback() || address.is_link_local());
            mapped || address.is_loopback() || address.is_unspecified() || address.is_unicast_link_local()
        }
        _ => is_loopback(url),
    }
}

/// Whether a token server may be shown the credentials.
pub(super) fn is_trusted(server: &Url, registry: &Url, named: &[String]) -> bool {
    let host = server.host_str().unwrap_or_default();
    server.host() == registry.host()
        || (is_loopback(server) && is_loopback(registry))
        || named.iter().any(|name| name.rsplit_once(':').map_or(name.as_str(), |(name, _)| name).eq_ignore_ascii_case(host))
}

/// The token in an answer.
pub(super) fn of_reply(reply: &Reply) -> Option<String> {
    let body: Value = serde_json::from_slice(&reply.body).ok().filter(|_| reply.status == 200)?;
    let token = body["token"].as_str().or_else(|| body["access_token"].as_str())?;
    // It becomes a header.
    (!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())).then(|| token.to_owned())
}

/// The sentence about a token server that gave none.
pub(super) fn refused(server: &Url, status: u16, withheld: bool, with_credentials: bool) -> String {
    let host = server.host_str().unwrap_or_default();
    let way_out = if withheld {
        format!("it is another host, so it was not shown the user and password: name it with --auth-host {host}")
    } else if with_credentials {
        "it does not accept REG_USER and its password".to_owned()
    } else {
        "set REG_USER and REG_PASSWORD or REG_PASSWORD_FILE".to_owned()
    };
    format!("has a token server, {host}, that gave no token ({status}): {way_out}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for() {
        let bearer =
            |realm: &str, service: Option<&str>| Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) };
        for (headers, expected) in [
            (vec!["Basic realm=\"Registry\""], Some(Challenge::Basic)),
            (vec!["Negotiate", "Basic realm=x"], Some(Challenge::Basic)),
            (vec!["Bearer realm=\"https://a/t\",service=\"s\",scope=\"x\""], Some(bearer("https://a/t", Some("s")))),
            (vec!["Bearer realm=\"https://a/t\""], Some(bearer("https://a/t", None))),
            (vec!["Bearer scope=\"x\""], None),
            (vec!["Digest realm=\"x\", nonce=\"y\""], None),
            (vec![], None),
        ] {
            assert_eq!(challenge(headers.iter().copied()), expected, "{headers:?}");
        }
    }

    #[test]
    fn who_is_asked() {
        for (realm, registry, good) in [
            ("https://auth.example.com/token", "https://registry.example.com/", true),
            ("http://auth.example.com/token", "https://registry.example.com/", false),
            ("http://auth.example.com/token", "http://registry.example.com/", true),
            ("http://127.0.0.1:5001/token", "http://127.0.0.1:5000/", true),
            ("http://169.254.169.254/token", "http://registry.example.com/", false),
            ("http://[::ffff:169.254.169.254]/token", "http://registry.example.com/", false),
            ("https://localhost/token", "https://registry.example.com/", false),
            ("https://me:pw@auth.example.com/", "https://registry.example.com/", false),
            ("file:///etc/passwd", "http://registry.example.com/", false),
            ("/token", "http://registry.example.com/", false),
        ] {
            assert_eq!(request(realm, None, "x", &registry.parse().unwrap()).is_ok(), good, "{realm} {registry}");
        }
        let url = request("https://a/t?x=y", Some("a b"), "repository:x:pull", &"https://a".parse().unwrap()).unwrap();
        assert_eq!(url.as_str(), "https://a/t?x=y&service=a+b&scope=repository%3Ax%3Apull");
    }

    #[test]
    fn who_is_shown_the_password() {
        let named = ["SSO.example.net".to_owned(), "sso.example.org:8443".to_owned()];
        for (server, registry, good) in [
            ("https://r.example.com:8443/t", "https://r.example.com/", true),
            ("http://127.0.0.1:1/t", "http://localhost:2/", true),
            ("https://auth.example.com/t", "https://r.example.com/", false),
            ("https://sso.example.net/t", "https://r.example.com/", true),
            ("https://sso.example.org:8443/t", "https://r.example.com/", true),
            ("https://not.sso.example.net/t", "https://r.example.com/", false),
        ] {
            assert_eq!(is_trusted(&server.parse().unwrap(), &registry.parse().unwrap(), &named), good, "{server} {registry}");
        }
    }

    #[test]
    fn tokens_are_read() {
        let reply = |status, body: &str| Reply { status, body: body.into(), ..Reply::default() };
        for (status, body, expected) in [
            (200, r#"{"token":"a","access_token":"b"}"#, Some("a")),
            (200, r#"{"access_token":"b"}"#, Some("b")),
            (200, r#"{"token":"a\r\nb"}"#, None),
            (200, r#"{"token":""}"#, None),
            (200, "<html>", None),
            (403, r#"{"token":"a"}"#, None),
        ] {
            assert_eq!(of_reply(&reply(status, body)).as_deref(), expected, "{status} {body}");
        }
    }
}
