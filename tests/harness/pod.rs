//! What a program in a pod sees: a root of its own, the token of its service account in it, and the address of its cluster in the
//! environment.
//!
//! ```no_run
//! # use tests::*; let cluster = Cluster::shared();
//! let pod = Pod::of(cluster, &cluster.admin().token);
//! pod.tool("k8s-images").arg("--in-cluster").run().succeeds();
//! ```
//!
//! Where Kubernetes puts the token is a path that nobody can choose. So the tool, and the libraries that it needs, are copied into a
//! folder that `chroot` makes its root.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::folder::temporary;
use crate::process::output_of;
use crate::tool::{Tool, bin_folder, shell};

/// As Kubernetes documents it under "Accessing the Kubernetes API from a Pod", "Directly accessing the REST API".
const SERVICE_ACCOUNT: &str = "var/run/secrets/kubernetes.io/serviceaccount";

/// Who is not root may call himself so for this.
const IN_ROOT: &str = r#"
    [ "$(id -u)" = 0 ] || as_root=(unshare --user --map-root-user)
    exec "${as_root[@]}" chroot "$0" "$@"
"#;

/// A pod without a kubelet.
#[derive(Debug)]
pub struct Pod {
    root: TempDir,
    port: String,
}

impl Pod {
    /// A pod of this cluster, with this token of a service account.
    pub fn of(cluster: &Cluster, token: &str) -> Self {
        let port = cluster.url().rsplit(':').next().unwrap_or_default().to_owned();
        let pod = Self { root: temporary(), port };
        pod.file(&format!("{SERVICE_ACCOUNT}/token"), token)
            .file(&format!("{SERVICE_ACCOUNT}/ca.crt"), &fs::read_to_string(cluster.ca_file()).unwrap())
            .file(&format!("{SERVICE_ACCOUNT}/namespace"), "default")
    }

    /// Writes a file; the path begins at the pod's root. Its home is `/root`.
    pub fn file(self, path: &str, content: &str) -> Self {
        let path = self.root.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// A tool in it, which begins in the root.
    pub fn tool(&self, name: &str) -> Tool {
        let program = bin_folder().join(name);
        self.copy(&program, name);
        for library in output_of(Command::new("ldd").arg(&program)).split_whitespace().filter(|word| word.starts_with('/')) {
            self.copy(Path::new(library), library.trim_start_matches('/'));
        }
        shell(IN_ROOT)
            .arg(self.root.path())
            .arg(format!("/{name}"))
            .env("HOME", "/root")
            .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
            .env("KUBERNETES_SERVICE_PORT", &self.port)
    }

    /// By another process: a program that this one had open for writing could not be run ("Text file busy").
    fn copy(&self, from: &Path, to: &str) {
        let to = self.root.path().join(to);
        if !to.exists() {
            output_of(Command::new("install").args(["-D", "-m", "755"]).arg(from).arg(to));
        }
    }
}
