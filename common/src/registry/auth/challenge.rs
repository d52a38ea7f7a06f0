//! What a registry asks for in `WWW-Authenticate`: read from the headers of a 401, pure.

use http_auth::{ChallengeRef, parser::ChallengeParser};
use url::Url;

/// How a registry wants to be authenticated to: what is remembered of its last 401.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::registry) enum Challenge {
    /// User name and password with each request.
    Basic,
    /// A token from a server.
    Bearer { realm: Url, service: Option<String> },
}

/// What one 401 asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

/// The first challenge that this client can answer. Others, such as `Negotiate`, may stand before it, in headers of their own or
/// in the same one.
pub(super) fn first<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Asked> {
    headers.into_iter().flat_map(|header| ChallengeParser::new(header).map_while(Result::ok)).find_map(|challenge| answerable(&challenge))
}

fn answerable(challenge: &ChallengeRef<'_>) -> Option<Asked> {
    let parameter = |name: &str| {
        challenge
            .params
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_unescaped())
            .filter(|value| !value.is_empty())
    };
    if challenge.scheme.eq_ignore_ascii_case("basic") {
        Some(Asked::Basic)
    } else if challenge.scheme.eq_ignore_ascii_case("bearer") {
        Some(Asked::Bearer { realm: parameter("realm")?, service: parameter("service"), scope: parameter("scope") })
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_can_be_answered() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| Asked::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        };
        for (headers, expected) in [
            (vec!["Basic realm=\"Registry\""], Some(Asked::Basic)),
            (vec!["BASIC"], Some(Asked::Basic)),
            (
                vec!["Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:a/b:pull,push\""],
                Some(bearer("https://a/t", Some("s"), Some("repository:a/b:pull,push"))),
            ),
            (vec!["Negotiate", "Basic realm=x"], Some(Asked::Basic)),
            (vec!["Negotiate, bearer Realm=\"https://a\", error=\"insufficient_scope\""], Some(bearer("https://a", None, None))),
            (vec!["Bearer scope=\"x\"", "Basic realm=x"], Some(Asked::Basic)),
            (vec!["Digest realm=\"x\", nonce=\"y\""], None),
            (vec!["Bearer realm=", "\u{7f}"], None),
            (vec![""], None),
            (vec![], None),
        ] {
            assert_eq!(first(headers.iter().copied()), expected, "{headers:?}");
        }
    }
}
