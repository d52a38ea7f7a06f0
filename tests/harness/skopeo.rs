//! `skopeo` (Debian): a client that nobody here wrote, to say whether an image can be had.

use std::process::Command;

use crate::folder::temporary;
use crate::process::{clean, program};
use crate::registry::Registry;

/// Pulls everything that a reference (`team/app:v1`, `team/app@sha256:…`) leads to, all platforms, and verifies it as
/// every client does. The error is what skopeo said.
pub fn pull(registry: &Registry, reference: &str) -> Result<(), String> {
    let folder = temporary();
    skopeo(|skopeo| {
        skopeo
            .args(["copy", "--quiet", "--all", "--src-tls-verify=false"])
            .args(credentials(registry, "--src-creds"))
            .arg(docker(registry, reference))
            .arg(format!("dir:{}", folder.path().join("image").display()));
    })
    .map(|_| ())
}

/// The raw manifest of a reference.
pub fn inspect(registry: &Registry, reference: &str) -> Result<String, String> {
    skopeo(|skopeo| {
        skopeo.args(["inspect", "--raw", "--tls-verify=false"]).args(credentials(registry, "--creds")).arg(docker(registry, reference));
    })
}

/// Copies within the registry, all platforms; with another tag of the same repository it is a retag.
pub fn copy(registry: &Registry, from: &str, to: &str) -> Result<(), String> {
    skopeo(|skopeo| {
        skopeo
            .args(["copy", "--quiet", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"])
            .args(credentials(registry, "--src-creds"))
            .args(credentials(registry, "--dest-creds"))
            .arg(docker(registry, from))
            .arg(docker(registry, to));
    })
    .map(|_| ())
}

/// Deletes what a reference points to, by its digest, with all of its tags.
pub fn delete(registry: &Registry, reference: &str) -> Result<(), String> {
    skopeo(|skopeo| {
        skopeo.args(["delete", "--tls-verify=false"]).args(credentials(registry, "--creds")).arg(docker(registry, reference));
    })
    .map(|_| ())
}

fn docker(registry: &Registry, reference: &str) -> String {
    format!("docker://{}/{reference}", registry.host())
}

fn credentials(registry: &Registry, flag: &str) -> Vec<String> {
    registry.credentials().map(|(user, password)| format!("{flag}={user}:{password}")).into_iter().collect()
}

fn skopeo(arguments: impl FnOnce(&mut Command)) -> Result<String, String> {
    let home = temporary();
    let mut command = clean(&program("skopeo", "skopeo"), home.path());
    command.env("TMPDIR", home.path()).arg("--insecure-policy");
    arguments(&mut command);
    let output = command.output().expect("skopeo runs");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}
