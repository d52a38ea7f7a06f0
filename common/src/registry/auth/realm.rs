//! Which token servers may be asked, and which of them may be given credentials: pure.
//!
//! The registry names its token server, and whoever can speak for the registry for a moment could name his own: credentials have
//! been stolen that way from several clients (CVE-2020-15157 was the first). So the server must look related to the registry.

use std::net::IpAddr;

use url::{Host as UrlHost, Url};

use super::super::transport::is_internal;
use crate::reference::Host;

/// Registries whose token server has another name: the registry's host, and the server's.
const PAIRS: [(&str, &str); 2] = [("docker.io", "auth.docker.io"), ("registry.gitlab.com", "gitlab.com")];

/// Domains below which strangers live beside each other, and of which the public suffix list does not say so, or not of all below them:
/// clouds whose customers have registries there, and governments.
const SHARED: [&str; 14] = [
    "amazonaws.com",
    "azurecr.io",
    "azurewebsites.net",
    "cloudfront.net",
    "github.io",
    "gitlab.io",
    "googleapis.com",
    "gov.au",
    "herokuapp.com",
    "jfrog.io",
    "ngrok.io",
    "pkg.dev",
    "run.app",
    "workers.dev",
];

/// The realm as a URL that may be asked at all, by a registry that was `asked` and is spoken to in the clear or not.
pub(super) fn admit(realm: &str, asked: &Url, plain: bool) -> Result<Url, String> {
    let shown = || super::super::error::plain(realm).chars().take(100).collect::<String>();
    let url: Url = realm.parse().map_err(|_| format!("its token server {:?} is no URL", shown()))?;
    match url.scheme() {
        "https" => {}
        "http" if plain => {}
        _ => return Err(format!("its token server {} is not spoken to by TLS, which the registry is", host(&url))),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("its token server {} is named with a user, which is refused", host(&url)));
    }
    if is_internal(&url) && url.host() != asked.host() && !is_internal(asked) {
        return Err(format!("its token server {} is an address of this machine or its link, which is refused", host(&url)));
    }
    Ok(url)
}

fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default()
}

/// Whether the credentials for a registry may be shown to a token server: the same host, a host of the same domain, a known pair, or
/// one that the user named.
pub(super) fn is_trusted(realm: &Url, registry: &Host, named: &[Host]) -> bool {
    let realm_host = host(realm).trim_end_matches('.').to_ascii_lowercase();
    let registry_host = bare(registry);
    realm_host == registry_host
        || PAIRS.contains(&(registry.as_str(), realm_host.as_str()))
        || named.iter().any(|name| bare(name) == realm_host)
        || (registry.is_loopback() && is_loopback(realm))
        || domain(&registry_host).is_some_and(|domain| domain_of(&realm_host, domain))
}

/// A host without its port and without the brackets of IPv6 addresses, as URLs have them.
fn bare(registry: &Host) -> String {
    format!("http://{registry}/").parse::<Url>().ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(UrlHost::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(UrlHost::Ipv4(address)) => address.is_loopback(),
        Some(UrlHost::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn domain_of(host: &str, domain: &str) -> bool {
    host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

/// The domain that a host surely shares with nobody: all but its first label, and `None` where that may be a suffix under which
/// anyone can have a name (the public suffix list, private part and all). Errs on the side of `None`, as the user can name a server that
/// is refused.
fn domain(host: &str) -> Option<&str> {
    if host.parse::<IpAddr>().is_ok() || host.starts_with('[') {
        return None;
    }
    let (_, parent) = host.split_once('.')?;
    if SHARED.iter().any(|shared| domain_of(parent, shared)) {
        return None;
    }
    // `None` for a suffix itself. A top-level domain that is on no list, as networks of their own have, counts as one.
    psl::domain_str(parent).map(|_| parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_be_asked() {
        let asked = |text: &str| text.parse::<Url>().unwrap();
        let far = asked("https://registry.example.com/v2/");
        let near = asked("http://127.0.0.1:5000/v2/");
        for (realm, registry, plain, good) in [
            ("https://auth.example.com/token", &far, false, true),
            ("https://elsewhere.example.net/token?x=y", &far, false, true),
            ("http://auth.example.com/token", &far, false, false),
            ("http://auth.example.com/token", &far, true, true),
            ("ftp://auth.example.com/token", &far, true, false),
            ("file:///etc/passwd", &far, true, false),
            ("https://user:pw@auth.example.com/", &far, false, false),
            ("https://127.0.0.1/token", &far, false, false),
            ("https://[::1]/token", &far, false, false),
            ("https://[::ffff:169.254.169.254]/token", &far, false, false),
            ("https://169.254.169.254/latest", &far, false, false),
            ("http://localhost:1/", &far, true, false),
            ("https://0/", &far, false, false),
            ("http://127.0.0.1:5001/token", &near, true, true),
            ("http://127.0.0.1:5001/token", &near, false, false),
            ("/token", &far, false, false),
            ("", &far, false, false),
        ] {
            assert_eq!(admit(realm, registry, plain).is_ok(), good, "{realm}");
        }
    }

    #[test]
    fn who_may_be_given_credentials() {
        for (registry, realm, good) in [
            ("registry.example.com", "https://registry.example.com:8443/t", true),
            ("registry.example.com", "https://auth.example.com/t", true),
            ("registry.example.com", "https://example.com/t", true),
            ("registry.example.com:5000", "https://AUTH.example.com./t", true),
            ("registry.example.com", "https://badexample.com/t", false),
            ("registry.example.com", "https://example.com.evil.net/t", false),
            ("registry.a.example.com", "https://gitlab.b.example.com/t", false),
            ("registry.a.example.com", "https://gitlab.a.example.com/t", true),
            ("example.com", "https://evil.com/t", false),
            ("shop.co.uk", "https://evil.co.uk/t", false),
            ("registry.shop.co.uk", "https://auth.shop.co.uk/t", true),
            ("mine.asso.fr", "https://evil.asso.fr/t", false),
            ("registry.mine.asso.fr", "https://auth.mine.asso.fr/t", true),
            ("mine.duckdns.org", "https://evil.duckdns.org/t", false),
            ("registry.mine.duckdns.org", "https://evil.duckdns.org/t", false),
            ("mine.fly.dev", "https://evil.fly.dev/t", false),
            ("mine.onrender.com", "https://evil.onrender.com/t", false),
            ("mine.azurewebsites.net", "https://evil.azurewebsites.net/t", false),
            ("mine.nsw.gov.au", "https://evil.nsw.gov.au/t", false),
            ("mine.k12.ca.us", "https://evil.k12.ca.us/t", false),
            ("registry.corp", "https://evil.corp/t", false),
            ("registry.shop.corp", "https://auth.shop.corp/t", true),
            ("mine.azurecr.io", "https://evil.azurecr.io/t", false),
            ("mine.azurecr.io", "https://mine.azurecr.io/t", true),
            ("1.dkr.ecr.eu-west-1.amazonaws.com", "https://2.dkr.ecr.eu-west-1.amazonaws.com/", false),
            ("docker.io", "https://auth.docker.io/token", true),
            ("docker.io", "https://auth.docker.com/token", false),
            ("registry.gitlab.com", "https://gitlab.com/jwt/auth", true),
            ("10.0.0.5:5000", "https://10.0.0.5/t", true),
            ("10.0.0.5:5000", "https://10.0.0.6/t", false),
            ("127.0.0.1:5000", "http://127.0.0.1:5001/t", true),
            ("localhost:5000", "http://127.0.0.1:5001/t", true),
            ("127.0.0.1:5000", "https://auth.example.com/t", false),
            ("[::1]:5000", "http://[::1]:5001/t", true),
            ("registry", "https://auth/t", false),
            ("r.example.org", "https://sso.example.net/t", true),
            ("r.example.org", "https://not.sso.example.net/t", false),
        ] {
            let named = ["SSO.example.net".parse().unwrap()];
            assert_eq!(is_trusted(&realm.parse().unwrap(), &registry.parse().unwrap(), &named), good, "{registry} {realm}");
        }
    }
}
