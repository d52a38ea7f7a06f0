//! Which proxy leads to a server: that of its cluster's entry, else that of the environment.
//!
//! The environment is read as kubectl reads it (Go's `http.ProxyFromEnvironment`, golang.org/x/net/http/httpproxy): `HTTPS_PROXY` or
//! `HTTP_PROXY` by the scheme of the server, unless `NO_PROXY` names it, and never to the machine itself. kube would compare `NO_PROXY`
//! with the proxy's own address, so the decision is made here. Pure, but for the variables that it is given.

use std::fmt;
use std::net::IpAddr;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

/// A proxy, and who asks for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proxy {
    /// Its URL, which may hold a password.
    pub(super) url: Uri,
    /// The variable, or the key in the kubeconfig.
    by: &'static str,
}

/// Without its password.
impl fmt::Display for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.url.authority().map_or("", |authority| authority.as_str());
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        write!(formatter, "{}://{host} ({})", self.url.scheme_str().unwrap_or("http"), self.by)
    }
}

/// The proxy by which a server is reached, if by any.
pub(super) fn proxy(entry: Option<&str>, server: &Uri, variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Proxy>, String> {
    if let Some(url) = entry {
        let url = parse(url, false).map_err(|cause| format!("the proxy-url of its cluster {cause}"))?;
        return Ok(Some(Proxy { url, by: "proxy-url of its cluster" }));
    }
    let host = server.host().unwrap_or_default();
    if is_this_machine(host) {
        return Ok(None);
    }
    let names = if server.scheme_str() == Some("http") { ["HTTP_PROXY", "http_proxy"] } else { ["HTTPS_PROXY", "https_proxy"] };
    let first =
        |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, variable(name).filter(|value| !value.is_empty())?)));
    let Some((name, url)) = first(names) else { return Ok(None) };
    let exceptions = first(["NO_PROXY", "no_proxy"]).map_or_else(String::new, |(_, list)| list);
    // The matcher takes it for any name, and for no address.
    if exceptions.split(',').any(|exception| exception.trim() == "*") {
        return Ok(None);
    }
    let exceptions = that_fit(&exceptions, server);
    // Which proxy it is does not matter to whether the server is excepted.
    let any = "http://proxy.invalid";
    if Matcher::builder().http(any).https(any).no(exceptions).build().intercept(server).is_none() {
        return Ok(None);
    }
    let url = parse(&url, true).map_err(|cause| format!("{name} {cause}"))?;
    Ok(Some(Proxy { url, by: name }))
}

/// Whether a host, as a URL has it, is the machine itself.
pub(super) fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// The proxy's URL; what the environment holds may lack the scheme. The URL is not in the error, for it may hold a password.
fn parse(url: &str, may_lack_scheme: bool) -> Result<Uri, String> {
    let whole = if may_lack_scheme && !url.contains("://") { format!("http://{url}") } else { url.to_owned() };
    // Names are resolved by a SOCKS proxy in either case.
    let whole = whole.strip_prefix("socks5h://").map_or(whole.clone(), |rest| format!("socks5://{rest}"));
    let uri: Uri = whole.trim().parse().map_err(|_| "is no URL, such as http://proxy:3128".to_owned())?;
    let authority = uri.authority().ok_or("names no host")?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        Some("socks5") if authority.as_str().contains('@') => {
            return Err("has a user for a SOCKS proxy, and these are only spoken to without one".to_owned());
        }
        Some("socks5") => {}
        _ => return Err("is of a kind that is not spoken: it must begin with http://, https:// or socks5://".to_owned()),
    }
    Ok(uri)
}

/// The exceptions of `NO_PROXY` that can fit the server, in the words of the matcher: it knows no ports, no `*.`, and takes `.example.com` for
/// `example.com` too, which Go does not.
fn that_fit(list: &str, server: &Uri) -> String {
    let host = server.host().unwrap_or_default();
    let port = server.port_u16().unwrap_or(if server.scheme_str() == Some("http") { 80 } else { 443 });
    let mut fitting = Vec::new();
    for exception in list.split(',').map(str::trim).filter(|exception| !exception.is_empty()) {
        let (name, own_port) = match exception.rsplit_once(':') {
            Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, port.parse::<u16>().ok()),
            _ => (exception, None),
        };
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let name = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
        let is_parent = name.strip_prefix('.').is_some_and(|parent| parent.eq_ignore_ascii_case(host));
        if !is_parent && own_port.is_none_or(|own| own == port) {
            fitting.push(name);
        }
    }
    fitting.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(entry: Option<&str>, server: &str, variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let variable = |name: &str| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned());
        proxy(entry, &server.parse().unwrap(), &variable).map(|proxy| proxy.map(|proxy| proxy.url.to_string()))
    }

    #[test]
    fn the_environment_is_read_as_kubectl_reads_it() {
        let p = ("HTTPS_PROXY", "http://p:3128");
        for (server, variables, expected) in [
            ("https://api:6443", &[][..], None),
            ("https://api:6443", &[p], Some("http://p:3128/")),
            ("https://api:6443", &[("https_proxy", "p:3128")], Some("http://p:3128/")),
            ("https://api:6443", &[("HTTPS_PROXY", ""), ("https_proxy", "http://q")], Some("http://q/")),
            ("https://api:6443", &[("HTTP_PROXY", "http://p"), ("ALL_PROXY", "http://p")], None),
            ("http://api:8080", &[p, ("HTTP_PROXY", "http://q")], Some("http://q/")),
            ("https://api:6443", &[("HTTPS_PROXY", "socks5h://p:1080")], Some("socks5://p:1080/")),
            ("https://127.0.0.1:6443", &[p], None),
            ("https://127.9.9.9:6443", &[p], None),
            ("https://[::1]:6443", &[p], None),
            ("https://localhost:6443", &[p], None),
            ("https://api.example.com", &[p, ("NO_PROXY", "example.com")], None),
            ("https://api.example.com", &[p, ("no_proxy", "x, .example.com ")], None),
            ("https://api.example.com", &[p, ("NO_PROXY", "*.example.com")], None),
            ("https://example.com", &[p, ("NO_PROXY", ".example.com,*.example.com")], Some("http://p:3128/")),
            ("https://example.com", &[p, ("NO_PROXY", "EXAMPLE.com")], None),
            ("https://notexample.com", &[p, ("NO_PROXY", "example.com")], Some("http://p:3128/")),
            ("https://api.example.com:6443", &[p, ("NO_PROXY", "example.com:6443")], None),
            ("https://api.example.com:6443", &[p, ("NO_PROXY", "example.com:443")], Some("http://p:3128/")),
            ("https://api.example.com", &[p, ("NO_PROXY", "example.com:443")], None),
            ("https://10.1.2.3:6443", &[p, ("NO_PROXY", "10.0.0.0/8")], None),
            ("https://11.1.2.3:6443", &[p, ("NO_PROXY", "10.0.0.0/8")], Some("http://p:3128/")),
            ("https://10.1.2.3:6443", &[p, ("NO_PROXY", "10.1.2.3")], None),
            ("https://10.1.2.3:6443", &[p, ("NO_PROXY", "10.1.2.3:6443")], None),
            ("https://10.1.2.3:6443", &[p, ("NO_PROXY", "10.1.2.3:443")], Some("http://p:3128/")),
            ("https://[fd00::1]:6443", &[p, ("NO_PROXY", "fd00::/8")], None),
            ("https://[fd00::1]:6443", &[p, ("NO_PROXY", "[fd00::1]:6443")], None),
            ("https://[fd00::1]:6443", &[p, ("NO_PROXY", "fd00::1")], None),
            ("https://api", &[p, ("NO_PROXY", "*")], None),
            ("https://10.1.2.3:6443", &[p, ("NO_PROXY", "x, *")], None),
            ("https://[fd00::1]:6443", &[p, ("NO_PROXY", "*")], None),
            // What excepts the proxy itself says nothing of the server.
            ("https://api", &[p, ("NO_PROXY", "p")], Some("http://p:3128/")),
        ] {
            assert_eq!(decide(None, server, variables), Ok(expected.map(str::to_owned)), "{server} {variables:?}");
        }
    }

    #[test]
    fn the_cluster_s_own_proxy_goes_before_the_environment() {
        let variables = [("HTTPS_PROXY", "http://p"), ("NO_PROXY", "*")];
        for server in ["https://api", "https://127.0.0.1:6443"] {
            assert_eq!(decide(Some("http://own:1"), server, &variables), Ok(Some("http://own:1/".to_owned())), "{server}");
        }
    }

    #[test]
    fn a_proxy_is_shown_without_its_password() {
        let variable = |name: &str| (name == "HTTPS_PROXY").then(|| "me:s3cret@p:3128".to_owned());
        let shown = proxy(None, &"https://api".parse().unwrap(), &variable).unwrap().unwrap().to_string();
        assert_eq!(shown, "http://p:3128 (HTTPS_PROXY)");
    }

    #[test]
    fn a_proxy_that_cannot_be_spoken_to_is_said_without_its_password() {
        for (url, expected) in [
            ("socks4://me:s3cret@p", "of a kind that is not spoken"),
            ("socks5://me:s3cret@p", "a user for a SOCKS proxy"),
            ("http://me:s3cret@", "is no URL"),
            ("me:s3cret@ p", "is no URL"),
        ] {
            let error = decide(None, "https://api", &[("HTTPS_PROXY", url)]).unwrap_err();
            assert!(error.starts_with("HTTPS_PROXY ") && error.contains(expected) && !error.contains("s3cret"), "{url}: {error}");
        }
        let error = decide(Some("p:3128"), "https://api", &[]).unwrap_err();
        assert!(error.contains("the proxy-url of its cluster is of a kind that is not spoken"), "{error}");
        assert!(decide(Some("https://me:s3cret@p"), "https://api", &[]).is_ok());
    }
}
