//! Helm in a cluster: charts that a test writes, and releases that the real program makes of them.
//!
//! ```no_run
//! # use tests::*;
//! let cluster = Cluster::shared();
//! let namespace = cluster.namespace();
//! let chart = Chart::new("shop").template("web.yaml", "kind: …");
//! cluster.helm(&["-n", &namespace, "install", "shop", &chart.path()]);
//! ```

use std::fs;

use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::folder::temporary;
use crate::workloads::run;

impl Cluster {
    /// Runs helm with all rights and gives its standard output.
    #[track_caller]
    pub fn helm(&self, arguments: &[&str]) -> String {
        run(self.program("helm").args(arguments), "").unwrap_or_else(|error| panic!("helm {}: {error}", arguments.join(" ")))
    }
}

/// A Helm chart in a folder of its own.
#[derive(Debug)]
pub struct Chart(TempDir);

impl Chart {
    /// A chart without templates.
    pub fn new(name: &str) -> Self {
        let chart = Self(temporary());
        fs::create_dir(chart.0.path().join("templates")).unwrap();
        chart.file("Chart.yaml", &format!("apiVersion: v2\nname: {name}\nversion: 0.1.0\n"))
    }

    /// Adds or replaces a template, such as `web.yaml`.
    pub fn template(self, name: &str, text: &str) -> Self {
        self.file(&format!("templates/{name}"), text)
    }

    /// Adds or replaces `values.yaml`.
    pub fn values(self, yaml: &str) -> Self {
        self.file("values.yaml", yaml)
    }

    fn file(self, path: &str, content: &str) -> Self {
        fs::write(self.0.path().join(path), content).unwrap();
        self
    }

    /// The folder, as an operand of helm.
    pub fn path(&self) -> String {
        self.0.path().display().to_string()
    }
}
