//! A kube client for one server and one user.
//!
//! Owns how an [`Access`] becomes a client: TLS, proxy, compression, credentials, time-outs. kube's own way to a configuration is not
//! taken, because it looks elsewhere when a kubeconfig fails, and takes a missing user for nobody. kube repeats no request here: that is
//! decided where the requests are made. Blocks while a credential plugin runs, so each context has a thread of its own.

mod direct;
mod plugin;
mod proxy;
mod token;

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{Request, Uri};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tower::util::MapRequestLayer;

use crate::access::Access;
use token::{Token, bearer};

/// How long to wait for a connection, with TLS.
const CONNECT: Duration = Duration::from_secs(15);
/// How long a server may be silent within an answer. It gives up on a request of its own accord after a minute (`--request-timeout`).
const SILENCE: Duration = Duration::from_secs(75);

/// Why there is no client.
#[derive(Debug)]
pub(crate) struct Failure {
    /// A sentence for the record.
    pub(crate) cause: String,
    /// What else people should see.
    pub(crate) said: Vec<String>,
}

impl From<String> for Failure {
    fn from(cause: String) -> Self {
        Self { cause, said: Vec::new() }
    }
}

/// A client, and how it reaches its server.
pub(crate) struct Connection {
    /// The client.
    pub(crate) client: Client,
    /// The proxy on the way, without its password.
    pub(crate) proxy: Option<String>,
}

/// Makes the client. To be called within the runtime that will drive it, which it blocks while a plugin runs.
pub(crate) fn connect(mut access: Access, limit: Duration) -> Result<Connection, Failure> {
    // An error says that it is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let user = std::mem::take(&mut access.user_name);
    let mut token = None;
    if let Some(path) = access.user.token_file.take() {
        let read = Token::in_file(Path::new(&path));
        token = Some(read.map_err(|cause| format!("the tokenFile of the user {user} {cause}"))?);
    } else if let Some(plugin) = access.plugin.take() {
        let credential = plugin::run(&plugin, &user, limit).map_err(|plugin::Failure { cause, said }| Failure { cause, said })?;
        if let Some((certificate, key)) = &credential.certificate {
            access.user.client_certificate_data = Some(STANDARD.encode(certificate));
            access.user.client_key_data = Some(STANDARD.encode(key).into());
        }
        if let Some(given) = &credential.token {
            let value = bearer(given).map_err(|cause| format!("the token that a credential plugin gave the user {user} {cause}"))?;
            let given = Token::fixed(value);
            if let Some(expires) = credential.expires {
                tokio::spawn(given.clone().renew(plugin, user.clone(), limit, expires));
            }
            token = Some(given);
        }
    }
    let proxy = proxy::proxy(access.proxy_url.as_deref(), &access.server, &|name| std::env::var(name).ok())?;
    let shown = proxy.as_ref().map(ToString::to_string);
    let config = configuration(access, proxy.map(|proxy| proxy.url));
    let builder = if config.proxy_url.is_some() { ClientBuilder::try_from(config) } else { direct::builder(&config) };
    let builder = builder.map_err(|error| explain(&error, &user))?;
    let Some(token) = token else { return Ok(Connection { client: builder.build(), proxy: shown }) };
    let authorize = MapRequestLayer::new(move |mut request: Request<Body>| {
        request.headers_mut().insert(AUTHORIZATION, token.header());
        request
    });
    Ok(Connection { client: builder.with_layer(&authorize).build(), proxy: shown })
}

/// kube's form of an access that needs no plugin any more.
fn configuration(access: Access, proxy: Option<Uri>) -> Config {
    let is_near = proxy.is_none() && access.server.host().is_some_and(proxy::is_this_machine);
    let speaks_tls = access.server.scheme_str() == Some("https");
    let mut config = Config::new(access.server);
    // Without TLS no certificate is looked at, and none of the system need be there.
    config.root_cert = access.authorities.or_else(|| (!speaks_tls).then(Vec::new));
    config.root_cert_file = access.authorities_file;
    config.accept_invalid_certs = access.insecure;
    config.tls_server_name = access.tls_server_name;
    config.proxy_url = proxy;
    config.auth_info = access.user;
    // To carry 26 MB over the loopback takes less time than to make 1.2 MB of them; over a distance it is the other way round.
    config.disable_compression = access.disable_compression || is_near;
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(SILENCE);
    config.write_timeout = Some(SILENCE);
    config.reset_reader_on_write = true;
    config.default_retry = false;
    config
}

/// What kube says against a configuration, without what may be a secret.
fn explain(error: &kube::Error, user: &str) -> String {
    match error {
        kube::Error::Auth(cause) => format!("the credentials of the user {user} cannot be used: {cause}"),
        kube::Error::RustlsTls(cause) if cause.to_string().contains("UnsupportedCertVersion") => {
            format!(
                "the client-certificate of the user {user} is of X.509 version 1, which is not spoken here: have it signed as version 3"
            )
        }
        kube::Error::RustlsTls(cause) => format!("TLS cannot be set up with what the cluster and the user {user} hold: {cause}"),
        kube::Error::InferKubeconfig(cause) => format!("the credentials of the user {user} cannot be used: {cause}"),
        kube::Error::HttpError(_) => format!("whom the user {user} is to act as holds characters that no request can carry"),
        _ => format!("no client can be made of what the cluster and the user {user} hold"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;
    use crate::access::Impersonation;
    use crate::kubeconfig::{Entry, Parts};

    fn access(cluster: &Value, user: &Value) -> Access {
        let entry = |name: &str, content: &Value| Entry {
            name: name.to_owned(),
            content: content.as_object().unwrap().clone(),
            folder: Path::new("").to_owned(),
        };
        let (cluster, user) = (entry("c", cluster), entry("u", user));
        Access::of(Parts { cluster: &cluster, user: Ok(Some(&user)) }, &Impersonation::default()).unwrap()
    }

    #[test]
    fn compression_is_for_a_distance() {
        for (cluster, expected) in [
            (json!({"server": "https://api"}), true),
            (json!({"server": "https://api", "disable-compression": true}), false),
            (json!({"server": "https://127.0.0.1:6443"}), false),
            (json!({"server": "https://localhost:6443"}), false),
            // The loopback that is meant is the one at the other end of the proxy.
            (json!({"server": "https://127.0.0.1:6443", "proxy-url": "socks5://127.0.0.1:1080"}), true),
        ] {
            let proxy = cluster["proxy-url"].as_str().map(|url| url.parse().unwrap());
            let config = configuration(access(&cluster, &json!({})), proxy);
            assert_eq!(!config.disable_compression, expected, "{cluster}");
        }
    }

    #[test]
    fn kube_repeats_nothing() {
        let config = configuration(access(&json!({"server": "https://api"}), &json!({})), Some("http://p:1".parse().unwrap()));
        assert!(!config.default_retry && config.reset_reader_on_write && config.read_timeout.is_some());
        assert_eq!(config.proxy_url.unwrap(), "http://p:1/");
        assert!(config.root_cert.is_none(), "the system's certificates");
        let plain = configuration(access(&json!({"server": "http://api"}), &json!({})), None);
        assert!(plain.root_cert.is_some_and(|none| none.is_empty()) && plain.proxy_url.is_none());
    }

    #[tokio::test]
    async fn what_kube_will_not_take_is_said_without_secrets() {
        let data = STANDARD.encode("s3cret");
        for (user, expected) in [
            (
                json!({"client-certificate-data": data, "client-key-data": data}),
                "TLS cannot be set up with what the cluster and the user u hold",
            ),
            (json!({"token": "t", "as": "a\nb"}), "whom the user u is to act as holds characters"),
            (json!({"auth-provider": {"name": "oidc", "config": {}}}), "the credentials of the user u cannot be used"),
            (json!({"auth-provider": {"name": "oidc", "config": {"id-token": "s3cret.s3cret.s3cret"}}}), ""),
        ] {
            let access = access(&json!({"server": "https://api", "insecure-skip-tls-verify": true}), &user);
            let cause = connect(access, Duration::from_secs(60)).map_or_else(|failure| failure.cause, |_| String::new());
            assert!(cause.contains(expected) && !cause.contains("s3cret"), "{user}: {cause}");
        }
    }
}
