//! What a cluster's and a user's entry mean: a server, whom to trust, who one is.
//!
//! Owns the reading of entries: files and base64 become data, empty values become none, and what cannot work is said here, where
//! cluster and user still have their names. kubectl's rules count (client-go: `clientcmd` and `transport`), where kube's differ. What two
//! contexts have in common is seen here too: with the same server and the same user they see the same. Connects to nothing.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use kube::config::{AuthInfo, ExecAuthCluster, ExecConfig};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Map, Value, json};

use crate::kubeconfig::{Entry, Parts};

/// All that it takes to ask one server as one user.
pub(crate) struct Access {
    /// The server, without a slash at its end.
    pub(crate) server: Uri,
    /// The certificates that it may be vouched for by; none means those of the system.
    pub(crate) authorities: Option<Vec<Vec<u8>>>,
    /// The file from which these came, where it is to be read again.
    pub(crate) authorities_file: Option<PathBuf>,
    /// Whether its certificate may be anybody's.
    pub(crate) insecure: bool,
    /// The name in its certificate, where it is not that of the URL.
    pub(crate) tls_server_name: Option<String>,
    /// `proxy-url`
    pub(crate) proxy_url: Option<String>,
    /// `disable-compression`
    pub(crate) disable_compression: bool,
    /// Who one is, without a plugin.
    pub(crate) user: AuthInfo,
    /// The user's name, for sentences.
    pub(crate) user_name: String,
    /// The plugin that knows who one is.
    pub(crate) plugin: Option<ExecConfig>,
    /// What makes it the same as another.
    content: Value,
}

/// Without what may be a secret.
impl fmt::Debug for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Access").field("server", &self.server).field("user", &self.user_name).finish_non_exhaustive()
    }
}

/// Whom to act as: `--as` and `--as-group`, which go before what a kubeconfig says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Impersonation {
    pub(crate) user: Option<String>,
    pub(crate) groups: Vec<String>,
}

impl Access {
    /// What a context's parts mean.
    pub(crate) fn of(parts: Parts<'_>, act_as: &Impersonation) -> Result<Self, String> {
        let Parts { cluster, user } = parts;
        let server = server(cluster)?;
        let user = user?;
        let of_cluster = Fields { entry: cluster, what: "cluster" };
        let insecure = of_cluster.flag("insecure-skip-tls-verify")?;
        let authority = of_cluster.data("certificate-authority")?.filter(|_| !insecure);
        let authorities = authority.as_deref().map(certificates).transpose();
        let authorities = authorities.map_err(|cause| format!("the certificate-authority of the cluster {} {cause}", cluster.name))?;
        let tls_server_name = of_cluster.text("tls-server-name")?;
        let proxy_url = of_cluster.text("proxy-url")?;
        let disable_compression = of_cluster.flag("disable-compression")?;

        let mut entry = user.map_or_else(Map::new, |user| user.content.clone());
        let user_name = user.map_or_else(String::new, |user| user.name.clone());
        if let Some(user) = user {
            settle(&Fields { entry: user, what: "user" }, &mut entry)?;
        }
        impersonate(&mut entry, &user_name, act_as)?;
        let shared = exec_cluster(cluster, &entry, &server, authority, insecure, tls_server_name.as_ref(), proxy_url.as_ref());
        let content = json!({
            "server": server.to_string(), "authorities": &authorities, "insecure": insecure, "tlsServerName": &tls_server_name, "proxy": &proxy_url,
            "user": &entry, "config": shared.as_ref().and_then(|shared| shared.config.clone()),
        });
        let mut user: AuthInfo = serde_json::from_value(Value::Object(entry))
            .map_err(|_| format!("the user {user_name} holds a value that a kubeconfig does not have there"))?;
        let mut plugin = user.exec.take().filter(|_| needs_plugin(&user));
        if let Some(plugin) = &mut plugin {
            plugin.cluster = shared;
        }
        Ok(Self {
            server,
            authorities,
            authorities_file: None,
            insecure,
            tls_server_name,
            proxy_url,
            disable_compression,
            user,
            user_name,
            plugin,
            content,
        })
    }

    /// What the account of a pod means. The folder is that of its service account.
    pub(crate) fn in_cluster(host: &str, port: &str, folder: &Path, act_as: &Impersonation) -> Result<Self, String> {
        let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
        let path = |name: &str| Value::String(folder.join(name).to_string_lossy().into_owned());
        let mut cluster = Map::new();
        cluster.insert("server".to_owned(), Value::String(format!("https://{host}:{port}")));
        cluster.insert("certificate-authority".to_owned(), path("ca.crt"));
        let mut user = Map::new();
        user.insert("tokenFile".to_owned(), path("token"));
        let entry = |content: Map<String, Value>| Entry { name: "of the pod".to_owned(), content, folder: PathBuf::new() };
        let (cluster, user) = (entry(cluster), entry(user));
        let mut access = Self::of(Parts { cluster: &cluster, user: Ok(Some(&user)) }, act_as)?;
        access.authorities_file = Some(folder.join("ca.crt"));
        Ok(access)
    }

    /// Whether the other asks the same server as the same user. A user under another name is the same if nothing else differs.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.content == other.content
    }
}

/// The server of a cluster's entry as a record may show it, whatever else is wrong with it.
pub(crate) fn shown_server(cluster: &Entry) -> Option<String> {
    let url = cluster.content.get("server")?.as_str().filter(|url| !url.is_empty())?;
    Some(server(cluster).map_or_else(|_| without_credentials(url), |server| shown(&server)))
}

/// A URL without the slash that `Uri` adds.
pub(crate) fn shown(server: &Uri) -> String {
    server.to_string().trim_end_matches('/').to_owned()
}

/// A URL without what stands before an `@` in its authority.
fn without_credentials(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let separator = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{separator}{authority}{path}")
}

/// The server's URL: lower case, without the port that goes without saying and without a slash at its end.
fn server(cluster: &Entry) -> Result<Uri, String> {
    let fields = Fields { entry: cluster, what: "cluster" };
    let name = &cluster.name;
    let url = fields.text("server")?.ok_or_else(|| format!("the cluster {name} has no server"))?;
    let bad = |cause: &str| format!("the server {} of the cluster {name} {cause}", without_credentials(&url));
    let uri: Uri = url.trim().parse().map_err(|_| bad("is no URL, such as https://10.0.0.1:6443"))?;
    let port = match uri.scheme_str().map(str::to_ascii_lowercase).as_deref() {
        Some("https") => 443,
        Some("http") => 80,
        _ => return Err(bad("does not begin with https:// or http://")),
    };
    let authority = uri.authority().ok_or_else(|| bad("names no host"))?;
    if authority.as_str().contains('@') {
        return Err(bad("has a user and password before its host: write them into the user's entry, as username and password"));
    }
    let host = authority.host().to_ascii_lowercase();
    let port = authority.port_u16().filter(|own| *own != port).map_or_else(String::new, |own| format!(":{own}"));
    let scheme = uri.scheme_str().unwrap_or("https").to_ascii_lowercase();
    format!("{scheme}://{host}{port}{}", uri.path().trim_end_matches('/')).parse().map_err(|_| bad("is no URL"))
}

/// The certificates in a PEM text.
fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).map(|read| read.map(|certificate| certificate.to_vec())).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err("holds no certificate in PEM".to_owned()),
    }
}

/// The values of an entry, of which empty ones are none, as they are to kubectl.
struct Fields<'a> {
    entry: &'a Entry,
    /// `cluster` or `user`.
    what: &'static str,
}

impl Fields<'_> {
    fn wrong(&self, key: &str, cause: &str) -> String {
        format!("the {key} of the {} {} {cause}", self.what, self.entry.name)
    }

    fn text(&self, key: &str) -> Result<Option<String>, String> {
        match self.entry.content.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.wrong(key, "is not a text")),
        }
    }

    fn flag(&self, key: &str) -> Result<bool, String> {
        match self.entry.content.get(key) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.wrong(key, "is neither true nor false")),
        }
    }

    /// A path, which begins at the folder of the file that names it.
    fn path(&self, key: &str) -> Result<Option<PathBuf>, String> {
        Ok(self.text(key)?.map(|path| self.entry.folder.join(path)))
    }

    /// What stands in base64 under `key-data`, else in the file that `key` names.
    fn data(&self, key: &str) -> Result<Option<Vec<u8>>, String> {
        let name = format!("{key}-data");
        if let Some(text) = self.text(&name)? {
            // A block of YAML brings line feeds along.
            let text: String = text.split_ascii_whitespace().collect();
            return STANDARD.decode(text).map(Some).map_err(|_| self.wrong(&name, "is not base64"));
        }
        let Some(path) = self.path(key)? else { return Ok(None) };
        fs::read(&path).map(Some).map_err(|error| self.wrong(key, &format!("cannot be read: {}: {error}", path.display())))
    }
}

/// Brings a user's entry into the form that kube takes as kubectl means it.
fn settle(fields: &Fields<'_>, entry: &mut Map<String, Value>) -> Result<(), String> {
    entry.remove("extensions");
    for key in ["username", "password", "token", "tokenFile", "as", "as-uid"] {
        match fields.text(key)? {
            Some(text) => entry.insert(key.to_owned(), Value::String(text)),
            None => entry.remove(key),
        };
    }
    if let Some(Value::String(token)) = entry.get("token")
        && HeaderValue::from_str(token).is_err()
    {
        return Err(fields.wrong("token", "holds characters that no request can carry, such as a line feed at its end"));
    }
    // Of a user and a password each may be missing, and is empty then.
    if entry.contains_key("username") || entry.contains_key("password") {
        for key in ["username", "password"] {
            entry.entry(key).or_insert_with(|| Value::String(String::new()));
        }
    }
    for key in ["client-certificate", "client-key"] {
        entry.remove(key);
        match fields.data(key)? {
            Some(data) => entry.insert(format!("{key}-data"), Value::String(STANDARD.encode(data))),
            None => entry.remove(&format!("{key}-data")),
        };
    }
    match (entry.contains_key("client-certificate-data"), entry.contains_key("client-key-data")) {
        (true, false) => return Err(fields.wrong("client-certificate", "has no client-key beside it")),
        (false, true) => return Err(fields.wrong("client-key", "has no client-certificate beside it")),
        _ => {}
    }
    if let Some(path) = fields.path("tokenFile")? {
        settle_token_file(fields, entry, &path)?;
    }
    if let Some(provider) = entry.get("auth-provider").filter(|provider| !provider.is_null()) {
        let name = provider.get("name").and_then(Value::as_str).unwrap_or_default();
        if name != "oidc" {
            return Err(fields
                .wrong("auth-provider", "is one that Kubernetes gave up in 1.26: the cloud's credential plugin (exec) took its place"));
        }
    }
    if let Some(Value::Object(exec)) = entry.get_mut("exec")
        && let Some(Value::String(command)) = exec.get_mut("command")
        && command.contains('/')
    {
        *command = fields.entry.folder.join(&*command).to_string_lossy().into_owned();
    }
    Ok(())
}

/// A file is read again as it rotates, so it goes before the token that was written down once (client-go's `transport.Config`).
fn settle_token_file(fields: &Fields<'_>, entry: &mut Map<String, Value>, path: &Path) -> Result<(), String> {
    match fs::metadata(path) {
        Ok(_) => {
            entry.remove("token");
            entry.insert("tokenFile".to_owned(), Value::String(path.to_string_lossy().into_owned()));
        }
        Err(_) if entry.contains_key("token") => {
            entry.remove("tokenFile");
        }
        Err(error) => return Err(fields.wrong("tokenFile", &format!("cannot be read: {}: {error}", path.display()))),
    }
    Ok(())
}

fn impersonate(entry: &mut Map<String, Value>, name: &str, act_as: &Impersonation) -> Result<(), String> {
    if let Some(user) = &act_as.user {
        entry.insert("as".to_owned(), Value::String(user.clone()));
    }
    if !act_as.groups.is_empty() {
        entry.insert("as-groups".to_owned(), json!(act_as.groups));
    }
    let holds = |key: &str| entry.get(key).is_some_and(|value| !value.is_null());
    match ["as-uid", "as-groups", "as-user-extra"].into_iter().find(|key| holds(key) && !entry.contains_key("as")) {
        Some(key) => Err(format!("the user {name} has {key} and does not say by \"as\" whom to act as")),
        None => Ok(()),
    }
}

/// Whoever has a token, a password or a certificate already needs no plugin (client-go's `UpdateTransportConfig`).
fn needs_plugin(user: &AuthInfo) -> bool {
    user.token.is_none() && user.token_file.is_none() && user.username.is_none() && user.client_certificate_data.is_none()
}

/// What a plugin with `provideClusterInfo` is told of its cluster.
fn exec_cluster(
    cluster: &Entry,
    user: &Map<String, Value>,
    server: &Uri,
    authority: Option<Vec<u8>>,
    insecure: bool,
    tls_server_name: Option<&String>,
    proxy_url: Option<&String>,
) -> Option<ExecAuthCluster> {
    user.get("exec")?.get("provideClusterInfo")?.as_bool().filter(|wanted| *wanted)?;
    let extensions = cluster.content.get("extensions").and_then(Value::as_array);
    let config = extensions.and_then(|extensions| {
        let own = extensions.iter().find(|extension| extension["name"] == "client.authentication.k8s.io/exec");
        own.and_then(|own| own.get("extension").cloned())
    });
    Some(ExecAuthCluster {
        server: Some(shown(server)),
        insecure_skip_tls_verify: insecure.then_some(true),
        certificate_authority_data: authority,
        proxy_url: proxy_url.cloned(),
        tls_server_name: tls_server_name.cloned(),
        config,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

    fn entry(name: &str, content: &Value, folder: &Path) -> Entry {
        Entry { name: name.to_owned(), content: content.as_object().unwrap().clone(), folder: folder.to_owned() }
    }

    fn access(cluster: &Value, user: &Value, folder: &Path) -> Result<Access, String> {
        let (cluster, user) = (entry("c", cluster, folder), entry("u", user, folder));
        Access::of(Parts { cluster: &cluster, user: Ok(Some(&user)) }, &Impersonation::default())
    }

    #[test]
    fn a_server_is_a_url_without_credentials() {
        for (url, expected) in [
            ("https://10.0.0.1:6443", Ok("https://10.0.0.1:6443")),
            ("HTTPS://API.Example.com:443/", Ok("https://api.example.com")),
            ("https://rancher.example.com/k8s/clusters/C-1/", Ok("https://rancher.example.com/k8s/clusters/C-1")),
            ("http://[::1]:80", Ok("http://[::1]")),
            ("10.0.0.1:6443", Err("does not begin with https:// or http://")),
            ("ftp://host", Err("does not begin with https:// or http://")),
            ("https://", Err("is no URL")),
            ("https://a b", Err("is no URL")),
            ("https://me:s3cret@host:1", Err("the server https://host:1 of the cluster c has a user and password before its host")),
        ] {
            let cluster = json!({"server": url});
            let read = access(&cluster, &json!({}), Path::new("")).map(|access| shown(&access.server));
            match (read, expected) {
                (Ok(read), Ok(expected)) => assert_eq!(read, expected, "{url}"),
                (Err(read), Err(expected)) => assert!(read.contains(expected) && !read.contains("s3cret"), "{url}: {read}"),
                (read, _) => unreachable!("{url}: {read:?}"),
            }
            let known = shown_server(&entry("c", &cluster, Path::new(""))).unwrap();
            assert!(!known.contains("s3cret"), "{url}: {known}");
        }
        assert_eq!(access(&json!({}), &json!({}), Path::new("")).unwrap_err(), "the cluster c has no server");
    }

    #[test]
    fn what_cannot_work_is_said_with_the_name_of_the_entry() {
        let folder = tempfile::tempdir().unwrap();
        let server = json!({"server": "https://h"});
        let with = |key: &str, value: Value| {
            let mut cluster = server.clone();
            cluster[key] = value;
            cluster
        };
        let cases = [
            (
                with("certificate-authority-data", json!("s3cret!")),
                json!({}),
                "the certificate-authority-data of the cluster c is not base64",
            ),
            (
                with("certificate-authority-data", json!("czNjcmV0")),
                json!({}),
                "the certificate-authority of the cluster c holds no certificate in PEM",
            ),
            (with("certificate-authority", json!("no.crt")), json!({}), "no.crt: No such file or directory"),
            (
                with("insecure-skip-tls-verify", json!("s3cret")),
                json!({}),
                "the insecure-skip-tls-verify of the cluster c is neither true nor false",
            ),
            (server.clone(), json!({"client-certificate-data": "s3cret!"}), "the client-certificate-data of the user u is not base64"),
            (server.clone(), json!({"client-certificate-data": "czNjcmV0"}), "the client-certificate of the user u has no client-key"),
            (server.clone(), json!({"client-key-data": "czNjcmV0"}), "the client-key of the user u has no client-certificate"),
            (server.clone(), json!({"client-certificate": "no.crt", "client-key": "no.key"}), "no.crt: No such file or directory"),
            (server.clone(), json!({"tokenFile": "none"}), "the tokenFile of the user u cannot be read: "),
            (server.clone(), json!({"token": ["s3cret"]}), "the token of the user u is not a text"),
            (server.clone(), json!({"token": "s3cret\n"}), "the token of the user u holds characters that no request can carry"),
            (server.clone(), json!({"exec": "s3cret"}), "the user u holds a value"),
            (server.clone(), json!({"auth-provider": {"name": "gcp", "config": {"access-token": "s3cret"}}}), "took its place"),
            (server.clone(), json!({"as-groups": ["admins"]}), "the user u has as-groups and does not say by \"as\""),
        ];
        for (cluster, user, expected) in cases {
            let error = access(&cluster, &user, folder.path()).unwrap_err();
            assert!(error.contains(expected) && !error.contains("s3cret"), "{user}: {error}");
        }
    }

    #[test]
    fn empty_values_are_none() {
        let cluster = json!({"server": "https://h", "certificate-authority-data": "", "proxy-url": "", "tls-server-name": null});
        let user = json!({"token": "", "tokenFile": "", "username": "", "client-certificate-data": "", "client-key-data": "", "as": ""});
        let access = access(&cluster, &user, Path::new("")).unwrap();
        assert!(access.authorities.is_none() && access.proxy_url.is_none() && access.tls_server_name.is_none());
        let user = access.user;
        assert!(user.token.is_none() && user.token_file.is_none() && user.username.is_none() && user.password.is_none());
        assert!(user.client_certificate_data.is_none() && user.impersonate.is_none());
    }

    #[test]
    fn paths_begin_at_the_folder_of_their_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.crt"), PEM).unwrap();
        fs::write(folder.path().join("token"), "t\n").unwrap();
        let token = folder.path().join("token").display().to_string();
        let cluster = json!({"server": "https://h", "certificate-authority": "ca.crt"});
        let access_of = |user: Value| access(&cluster, &user, folder.path()).unwrap();
        let read = access_of(json!({"tokenFile": "token"}));
        assert_eq!((read.authorities.map(|all| all.len()), read.user.token_file.as_ref()), (Some(1), Some(&token)));
        // A file that rotates goes before a token that was written down once, and that before a file that is not there.
        let both = access_of(json!({"tokenFile": "token", "token": "t"})).user;
        assert!(both.token.is_none() && both.token_file == Some(token));
        let gone = access_of(json!({"tokenFile": "none", "token": "t"})).user;
        assert!(gone.token.is_some() && gone.token_file.is_none());
        for (command, expected) in [
            ("aws", "aws".to_owned()),
            ("./bin/plugin", folder.path().join("./bin/plugin").display().to_string()),
            ("/opt/plugin", "/opt/plugin".to_owned()),
        ] {
            let read = access_of(json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": command}}));
            assert_eq!(read.plugin.unwrap().command, Some(expected));
        }
        let folded = STANDARD.encode(PEM).replace('Q', "Q\n ");
        let data = json!({"server": "https://h", "certificate-authority-data": folded, "certificate-authority": "none"});
        assert_eq!(access(&data, &json!({}), folder.path()).unwrap().authorities.map(|all| all.len()), Some(1), "data goes before a file");
    }

    #[test]
    fn whoever_has_credentials_needs_no_plugin() {
        let exec = json!({"apiVersion": "client.authentication.k8s.io/v1", "command": "aws"});
        let data = STANDARD.encode("x");
        for (user, expected) in [
            (json!({"exec": exec}), true),
            (json!({"exec": exec, "token": ""}), true),
            (json!({"exec": exec, "token": "t"}), false),
            (json!({"exec": exec, "username": "me"}), false),
            (json!({"exec": exec, "client-certificate-data": data, "client-key-data": data}), false),
        ] {
            let access = access(&json!({"server": "https://h"}), &user, Path::new("")).unwrap();
            assert_eq!(access.plugin.is_some(), expected, "{user}");
        }
    }

    #[test]
    fn the_same_server_and_the_same_user_are_the_same_whatever_they_are_called() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.crt"), PEM).unwrap();
        let base = (json!({"server": "https://H:443", "certificate-authority": "ca.crt"}), json!({"token": "t"}));
        let data = STANDARD.encode(PEM);
        let one = access(&base.0, &base.1, folder.path()).unwrap();
        let cases = [
            (json!({"server": "https://h/", "certificate-authority-data": data}), json!({"token": "t", "extensions": []}), true),
            (
                json!({"server": "https://h", "certificate-authority": "ca.crt", "extensions": [{"name": "minikube"}]}),
                json!({"token": "t", "username": ""}),
                true,
            ),
            (base.0.clone(), json!({"token": "other"}), false),
            (base.0.clone(), json!({"token": "t", "as": "someone"}), false),
            (json!({"server": "https://h:6443", "certificate-authority": "ca.crt"}), base.1.clone(), false),
            (json!({"server": "https://h"}), base.1.clone(), false),
            (json!({"server": "https://h", "certificate-authority-data": data, "proxy-url": "http://p"}), base.1.clone(), false),
            (json!({"server": "https://h", "certificate-authority-data": data, "tls-server-name": "x"}), base.1.clone(), false),
        ];
        for (cluster, user, expected) in cases {
            let other = access(&cluster, &user, folder.path()).unwrap();
            assert_eq!(one.is_same_as(&other), expected, "{cluster} {user}");
            assert!(!format!("{other:?}").contains("\"t\""));
        }
    }

    #[test]
    fn flags_go_before_the_kubeconfig_in_whom_to_act_as() {
        let act_as = Impersonation { user: Some("viewer".into()), groups: vec!["a".into(), "b".into()] };
        let (cluster, user) = (json!({"server": "https://h"}), json!({"as": "x", "as-groups": ["y"], "as-uid": "z"}));
        let (cluster, user) = (entry("c", &cluster, Path::new("")), entry("u", &user, Path::new("")));
        let read = Access::of(Parts { cluster: &cluster, user: Ok(Some(&user)) }, &act_as).unwrap().user;
        assert_eq!((read.impersonate.as_deref(), read.impersonate_groups), (Some("viewer"), Some(vec!["a".into(), "b".into()])));
        assert_eq!(read.impersonate_uid.as_deref(), Some("z"));
        let anonymous = Access::of(Parts { cluster: &cluster, user: Ok(None) }, &Impersonation::default()).unwrap();
        assert!(anonymous.user.token.is_none());
    }

    #[test]
    fn a_pod_is_told_by_its_environment_and_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let read = |host: &str| Access::in_cluster(host, "443", folder.path(), &Impersonation::default());
        assert!(read("10.0.0.1").unwrap_err().contains("ca.crt"), "without files");
        fs::write(folder.path().join("ca.crt"), PEM).unwrap();
        fs::write(folder.path().join("token"), "t").unwrap();
        let access = read("10.0.0.1").unwrap();
        assert_eq!(shown(&access.server), "https://10.0.0.1");
        assert!(access.user.token_file.is_some() && access.authorities_file.is_some());
        assert_eq!(shown(&read("fd00::1").unwrap().server), "https://[fd00::1]");
    }
}
