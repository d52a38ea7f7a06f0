//! Kubeconfigs, good and bad, as people have them: several contexts, and every way to say who one is.
//!
//! ```no_run
//! # use tests::*;
//! let cluster = Cluster::shared();
//! let kubeconfig = Kubeconfig::new()
//!     .context("prod", cluster.access())
//!     .context("limited", cluster.access().token(&cluster.user().token))
//!     .context("down", Access::to("https://127.0.0.1:1"));
//! Tool::new("k8s-images").env("KUBECONFIG", kubeconfig.path());
//! ```
//!
//! Fields as in <https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/>. What a test wants to break is set, or taken away,
//! by [`Access::cluster`], [`Access::user`] and [`Kubeconfig::set`].

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::folder::temporary;

/// One way into one cluster: the entries `cluster` and `user` of a kubeconfig.
#[derive(Clone, Debug)]
pub struct Access {
    cluster: Value,
    user: Value,
    namespace: Option<String>,
}

impl Access {
    /// To this URL, as nobody.
    pub fn to(url: &str) -> Self {
        Self { cluster: json!({"server": url}), user: json!({}), namespace: None }
    }

    /// Under another URL: that of a proxy, of nobody.
    pub fn server(self, url: &str) -> Self {
        self.cluster("server", json!(url))
    }

    /// Trusts this authority.
    pub fn ca_file(self, file: &Path) -> Self {
        self.cluster("certificate-authority", json!(file))
    }

    /// Goes through this HTTP or SOCKS5 proxy.
    pub fn proxy(self, url: &str) -> Self {
        self.cluster("proxy-url", json!(url))
    }

    /// Shows this token, and nothing else.
    pub fn token(self, token: &str) -> Self {
        self.anonymous().user("token", json!(token))
    }

    /// Shows the token that stands in a file at the time.
    pub fn token_file(self, file: &Path) -> Self {
        self.anonymous().user("tokenFile", json!(file))
    }

    /// Shows a certificate, as [`Certificates::client`](crate::tls::Certificates::client) makes it.
    pub fn certificate(self, (certificate, key): &(PathBuf, PathBuf)) -> Self {
        self.anonymous().user("client-certificate", json!(certificate)).user("client-key", json!(key))
    }

    /// Asks a program for what it shows.
    pub fn exec(self, command: &str, arguments: &[&str]) -> Self {
        self.anonymous().user(
            "exec",
            json!({
                "apiVersion": "client.authentication.k8s.io/v1", "command": command, "args": arguments, "interactiveMode": "Never",
            }),
        )
    }

    /// Acts as this user, who need not exist, with the rights of these groups.
    pub fn impersonate(self, user: &str, groups: &[&str]) -> Self {
        self.user("as", json!(user)).user("as-groups", json!(groups))
    }

    /// Shows nothing.
    pub fn anonymous(mut self) -> Self {
        self.user = json!({});
        self
    }

    /// The namespace of the context, which a tool that lists all of them must not narrow itself to.
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// Sets any other field of the cluster; `Null` takes it away.
    pub fn cluster(mut self, field: &str, value: Value) -> Self {
        set(&mut self.cluster, field, value);
        self
    }

    /// Sets any other field of the user; `Null` takes it away.
    pub fn user(mut self, field: &str, value: Value) -> Self {
        set(&mut self.user, field, value);
        self
    }
}

/// A kubeconfig in the making; its file goes with it.
#[derive(Debug)]
pub struct Kubeconfig {
    config: Value,
    folder: TempDir,
}

impl Default for Kubeconfig {
    fn default() -> Self {
        Self::new()
    }
}

impl Kubeconfig {
    /// One without contexts.
    pub fn new() -> Self {
        let config = json!({"apiVersion": "v1", "kind": "Config", "clusters": [], "users": [], "contexts": []});
        Self { config, folder: temporary() }
    }

    /// Adds a context with a cluster and a user of its own, which bear its name; the first one is the current one.
    pub fn context(mut self, name: &str, access: Access) -> Self {
        push(&mut self.config, "clusters", json!({"name": name, "cluster": access.cluster}));
        push(&mut self.config, "users", json!({"name": name, "user": access.user}));
        let mut context = json!({"cluster": name, "user": name});
        if let Some(namespace) = access.namespace {
            set(&mut context, "namespace", json!(namespace));
        }
        push(&mut self.config, "contexts", json!({"name": name, "context": context}));
        if self.config["current-context"].is_null() { self.current(name) } else { self }
    }

    /// Adds a context that shares the cluster and the user of another.
    pub fn second_name(mut self, name: &str, other: &str) -> Self {
        push(&mut self.config, "contexts", json!({"name": name, "context": {"cluster": other, "user": other}}));
        self
    }

    /// Makes this the current context, whether it is there or not.
    pub fn current(mut self, name: &str) -> Self {
        set(&mut self.config, "current-context", json!(name));
        self
    }

    /// Sets anything else; the path is a JSON pointer to something that is there, such as `/contexts/0/context/user`.
    pub fn set(mut self, pointer: &str, value: Value) -> Self {
        *self.config.pointer_mut(pointer).unwrap_or_else(|| panic!("the kubeconfig has no {pointer}")) = value;
        self
    }

    /// Writes it, and gives the path.
    pub fn path(&self) -> PathBuf {
        let path = self.folder.path().join("config");
        self.write_to(&path);
        path
    }

    /// Writes it elsewhere.
    pub fn write_to(&self, path: &Path) {
        // JSON is YAML.
        fs::write(path, format!("{:#}\n", self.config)).unwrap();
    }
}

fn push(config: &mut Value, list: &str, entry: Value) {
    config[list].as_array_mut().expect("a kubeconfig has lists").push(entry);
}

fn set(object: &mut Value, field: &str, value: Value) {
    let object = object.as_object_mut().expect("entries of a kubeconfig are objects");
    if value.is_null() {
        object.remove(field);
    } else {
        object.insert(field.to_owned(), value);
    }
}
