//! Where a registry is asked: as the user names it, or as its own configuration says. Pure.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

/// The base of a registry's API, without `/v2/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    url: Url,
    unverified: bool,
}

/// Where a registry listens, in the words of its configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Listen<'a> {
    /// `http.addr`.
    pub addr: &'a str,
    /// `http.net`: `tcp` unless it says `unix`.
    pub net: Option<&'a str>,
    /// `http.prefix`, a path before `/v2/`.
    pub prefix: Option<&'a str>,
    /// Whether it speaks TLS: `http.tls` has a certificate or Let's Encrypt.
    pub tls: bool,
}

impl Address {
    /// The registry of a configuration on this host; `None` where it cannot be asked by HTTP, as on a Unix socket.
    #[must_use]
    pub fn of_config(listen: &Listen<'_>) -> Option<Self> {
        if listen.net.is_some_and(|net| !net.is_empty() && net != "tcp") {
            return None;
        }
        let (host, port) = listen.addr.rsplit_once(':')?;
        // Go knows ports by name too. Port 0 is a random one.
        let port = match port {
            "http" => 80,
            "https" => 443,
            port => port.parse::<u16>().ok().filter(|port| *port != 0)?,
        };
        // Go listens on all addresses of both families where it is told one of these.
        let host = if matches!(host, "" | "0.0.0.0" | "[::]") { "127.0.0.1" } else { host };
        let scheme = if listen.tls { "https" } else { "http" };
        let url = parse(&format!("{scheme}://{host}:{port}/{}", listen.prefix.unwrap_or_default().trim_matches('/'))).ok()?;
        // The certificate bears the name by which others reach this registry, and not that of the loopback. Nothing but this host can
        // answer there, and no credentials go where they were not asked for by it.
        let unverified = listen.tls && is_loopback(&url);
        Some(Self { url, unverified })
    }

    /// The URL of something below the base.
    pub(super) fn join(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{path}", self.url.path()));
        url
    }

    /// The base itself.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Whether its certificate is taken as it is.
    pub(super) fn is_unverified(&self) -> bool {
        self.unverified
    }
}

/// `http://host:5000`, `https://host/prefix`, or `host:5000`: HTTP for this host's loopback, else HTTPS.
impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = if text.contains("://") {
            parse(text)?
        } else {
            let url = parse(&format!("http://{text}"))?;
            if is_loopback(&url) { url } else { parse(&format!("https://{text}"))? }
        };
        Ok(Self { url, unverified: false })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.url.as_str().trim_end_matches('/'))
    }
}

/// A URL whose path ends with a slash.
fn parse(text: &str) -> Result<Url, String> {
    let mut url: Url = text.parse().map_err(|error| format!("not a URL such as http://host:5000: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("not a URL such as http://host:5000 or https://host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL with a user is for everybody on this host to see; set REG_USER and REG_PASSWORD instead".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("a registry's URL has no ? and no #".to_owned());
    }
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/v2").unwrap_or(path).trim_end_matches('/');
    let path = format!("{path}/");
    url.set_path(&path);
    Ok(url)
}

/// Whether only this host can be meant.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_user_names_it() {
        for (text, expected) in [
            ("http://host:5000", Ok("http://host:5000")),
            ("http://host:5000/", Ok("http://host:5000")),
            ("https://host/a/prefix/", Ok("https://host/a/prefix")),
            ("https://host/a/v2/", Ok("https://host/a")),
            ("http://host:5000/v2/", Ok("http://host:5000")),
            ("registry:5000", Ok("https://registry:5000")),
            ("registry.example.com/prefix", Ok("https://registry.example.com/prefix")),
            ("localhost:5000", Ok("http://localhost:5000")),
            ("127.0.0.1:5000", Ok("http://127.0.0.1:5000")),
            ("127.9.9.9:5000/x", Ok("http://127.9.9.9:5000/x")),
            ("[::1]:5000", Ok("http://[::1]:5000")),
            ("10.0.0.5:5000", Ok("https://10.0.0.5:5000")),
            ("ftp://host", Err("not a URL")),
            ("", Err("not a URL")),
            ("unix:///run/registry.sock", Err("not a URL")),
            ("http://me:secret@host", Err("REG_PASSWORD")),
            ("me@host", Err("REG_PASSWORD")),
            ("http://host?x", Err("no ?")),
        ] {
            match (text.parse::<Address>(), expected) {
                (Ok(address), Ok(url)) => {
                    assert_eq!(address.to_string(), url);
                    assert_eq!(address.join("v2/").as_str(), format!("{url}/v2/"));
                    assert!(!address.is_unverified());
                }
                (Err(error), Err(part)) => assert!(error.contains(part) && !error.contains("secret"), "{text}: {error}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }

    #[test]
    fn as_its_configuration_says() {
        let plain = |addr| Listen { addr, ..Listen::default() };
        for (listen, expected) in [
            (plain(":5000"), Some("http://127.0.0.1:5000")),
            (plain("0.0.0.0:5000"), Some("http://127.0.0.1:5000")),
            (plain("[::]:5000"), Some("http://127.0.0.1:5000")),
            (plain("127.0.0.1:5000"), Some("http://127.0.0.1:5000")),
            (plain("localhost:5000"), Some("http://localhost:5000")),
            (plain("[::1]:5000"), Some("http://[::1]:5000")),
            (plain("10.0.0.5:5000"), Some("http://10.0.0.5:5000")),
            (plain(":http"), Some("http://127.0.0.1")),
            (Listen { tls: true, ..plain(":https") }, Some("https://127.0.0.1")),
            (Listen { tls: true, net: Some("tcp"), ..plain(":5000") }, Some("https://127.0.0.1:5000")),
            (Listen { prefix: Some("/a/prefix/"), ..plain(":5000") }, Some("http://127.0.0.1:5000/a/prefix")),
            (Listen { net: Some("unix"), ..plain("/run/registry.sock") }, None),
            (Listen { net: Some(""), ..plain(":5000") }, Some("http://127.0.0.1:5000")),
            (plain(":0"), None),
            (plain(""), None),
            (plain("5000"), None),
            (plain(":nonsense"), None),
        ] {
            let address = Address::of_config(&listen);
            assert_eq!(address.as_ref().map(Address::to_string).as_deref(), expected, "{listen:?}");
            if let Some(address) = address {
                assert_eq!(address.is_unverified(), listen.tls, "{listen:?}");
            }
        }
        let elsewhere = Address::of_config(&Listen { tls: true, ..plain("10.0.0.5:5000") }).unwrap();
        assert!(!elsewhere.is_unverified());
    }
}
