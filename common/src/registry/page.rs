//! Where the next page of a list is: read from `Link` headers without asking anybody.
//!
//! A `Link` may name any host, and behind a proxy often names the wrong one. Only its path and query are used, on the host that was
//! asked, so that a registry cannot send this client or its credentials elsewhere.

use std::collections::HashSet;

use url::Url;

/// The `Link` with `rel="next"` among the values of an answer's `Link` headers (RFC 8288), resolved against the URL asked for.
///
/// A path outside the registry's API (`/v2/`) is one that a proxy in front rewrites; then the path asked for stands, with the
/// query of the link.
pub(super) fn next<'a>(links: impl IntoIterator<Item = &'a str>, asked: &Url) -> Option<Url> {
    let target = links.into_iter().find_map(next_target)?;
    let resolved = asked.join(target).ok()?;
    let mut url = asked.clone();
    if resolved.path().starts_with("/v2/") {
        url.set_path(resolved.path());
    }
    url.set_query(resolved.query());
    url.set_fragment(None);
    Some(url)
}

/// The target of the first link with `rel="next"` in one header value.
fn next_target(value: &str) -> Option<&str> {
    let mut rest = value;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, after) = after.split_once('>')?;
        // The parameters end where the next link begins; a comma within quotes does not occur in `rel`.
        let (parameters, following) = match after.find('<') {
            Some(start) => after.split_at(start),
            None => (after, ""),
        };
        let is_next = parameters.split([';', ',']).any(|parameter| {
            parameter.split_once('=').is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case("rel")
                    && value.trim().trim_matches('"').split_ascii_whitespace().any(|relation| relation.eq_ignore_ascii_case("next"))
            })
        });
        if is_next {
            return Some(target);
        }
        rest = following;
    }
    None
}

/// The pages asked for, so that a list that leads back into itself is noticed.
#[derive(Debug, Default)]
pub(super) struct Visited(HashSet<String>);

impl Visited {
    /// Notes a page; `false` if it was asked for before.
    pub(super) fn note(&mut self, url: &Url) -> bool {
        self.0.insert(format!("{}?{}", url.path(), url.query().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_the_same_host_alone() {
        let asked: Url = "https://r.example.com:5000/v2/_catalog?n=1".parse().unwrap();
        for (links, expected) in [
            (vec!["</v2/_catalog?last=a&n=1>; rel=\"next\""], Some("/v2/_catalog?last=a&n=1")),
            (vec!["<_catalog?last=a>; rel=next"], Some("/v2/_catalog?last=a")),
            (vec!["<?last=a>; rel=\"next\""], Some("/v2/_catalog?last=a")),
            (vec!["<https://evil.example.net/v2/_catalog?last=a>; rel=\"next\""], Some("/v2/_catalog?last=a")),
            (vec!["<//evil.example.net/v2/_catalog?last=a>;rel=\"next\""], Some("/v2/_catalog?last=a")),
            (vec!["<http://user:pw@inner:80/proxied/v2/_catalog?last=a#x>; rel=\"next\""], Some("/v2/_catalog?last=a")),
            (vec!["</v2/../../etc?last=a>; rel=\"next\""], Some("/v2/_catalog?last=a")),
            (vec!["</v2/a>; rel=\"prev\", </v2/b?last=x>; title=\"y\"; REL=\"last next\""], Some("/v2/b?last=x")),
            (vec!["</v2/a>; rel=\"prev\"", "</v2/b>; rel=\"next\""], Some("/v2/b")),
            (vec!["</v2/a>; rel=\"previous\""], None),
            (vec!["</v2/a; rel=\"next\""], None),
            (vec!["nonsense", ""], None),
            (vec![], None),
        ] {
            let expected = expected.map(|path| format!("https://r.example.com:5000{path}"));
            assert_eq!(next(links.iter().copied(), &asked).map(String::from), expected, "{links:?}");
        }
    }

    #[test]
    fn a_page_seen_before_is_noticed() {
        let mut visited = Visited::default();
        let url: Url = "https://r/v2/_catalog?last=a".parse().unwrap();
        assert!(visited.note(&url));
        assert!(!visited.note(&url));
    }
}
