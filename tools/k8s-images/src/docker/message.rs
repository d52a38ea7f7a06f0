//! What an engine answers, as far as it is asked for. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

/// `GET /info`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Info {
    /// The name of the host.
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    driver_status: Option<Vec<Vec<String>>>,
    #[serde(default)]
    swarm: Option<Swarm>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Swarm {
    #[serde(default)]
    local_node_state: String,
    #[serde(default)]
    control_available: bool,
}

impl Info {
    /// Whether the ID of an image is the digest of its manifest or index, as in the store of containerd, and not that of its config.
    pub(super) fn names_manifests(&self) -> bool {
        let is_containerd = |pair: &Vec<String>| matches!(pair.as_slice(), [key, value] if key == "driver-type" && value.starts_with("io.containerd.snapshotter."));
        self.driver_status.iter().flatten().any(is_containerd)
    }

    /// Whether it manages a Swarm.
    pub(super) fn is_manager(&self) -> bool {
        self.swarm.as_ref().is_some_and(|swarm| swarm.control_available)
    }

    /// Whether it is a node of a Swarm.
    pub(super) fn is_in_swarm(&self) -> bool {
        self.swarm.as_ref().is_some_and(|swarm| !matches!(swarm.local_node_state.as_str(), "" | "inactive"))
    }
}

/// One of `GET /containers/json`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Container {
    pub(super) id: String,
    #[serde(default)]
    pub(super) names: Option<Vec<String>>,
    /// The image as it was asked for, or its ID where that name means another image by now.
    pub(super) image: String,
    #[serde(rename = "ImageID")]
    pub(super) image_id: String,
    #[serde(default)]
    pub(super) labels: Option<BTreeMap<String, String>>,
    /// `created`, `running`, `exited`, …
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    pub(super) mounts: Option<Vec<MountPoint>>,
}

/// What is mounted in a container.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MountPoint {
    #[serde(default, rename = "Type")]
    pub(super) kind: Option<String>,
}

impl Container {
    /// Its name: of those that links gave it, the own one has no second slash.
    pub(super) fn name(&self) -> String {
        let names = || self.names.iter().flatten().filter_map(|name| name.strip_prefix('/').or(Some(name)));
        let own = names().find(|name| !name.contains('/')).or_else(|| names().next());
        own.map_or_else(|| self.id.chars().take(12).collect(), str::to_owned)
    }

    /// The value of a label.
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.labels.as_ref()?.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether it has ended. It may be started again.
    pub(super) fn is_finished(&self) -> bool {
        matches!(self.state.as_deref(), Some("exited" | "dead" | "stopped"))
    }

    /// Whether the text by which the image is named is only its ID, whole or the beginning of it.
    pub(super) fn has_id_for_a_name(&self) -> bool {
        let hex = self.image_id.strip_prefix("sha256:").unwrap_or(&self.image_id);
        let text = self.image.strip_prefix("sha256:").unwrap_or(&self.image);
        !text.is_empty() && hex.starts_with(text)
    }

    /// Whether an image is mounted in it.
    fn mounts_images(&self) -> bool {
        self.mounts.iter().flatten().any(|mount| mount.kind.as_deref() == Some("image"))
    }

    /// Whether the list does not say all about it.
    pub(super) fn needs_details(&self) -> bool {
        self.has_id_for_a_name() || self.mounts_images()
    }
}

/// `GET /containers/{id}/json`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ContainerDetails {
    #[serde(default)]
    config: Option<Config>,
    #[serde(default)]
    host_config: Option<HostConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    image: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    #[serde(default)]
    mounts: Option<Vec<Mount>>,
}

/// What is asked to be mounted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Mount {
    #[serde(default, rename = "Type")]
    kind: Option<String>,
    /// Of an image: its name.
    #[serde(default)]
    pub(super) source: Option<String>,
    #[serde(default)]
    pub(super) target: Option<String>,
}

impl Mount {
    pub(super) fn is_image(&self) -> bool {
        self.kind.as_deref() == Some("image")
    }
}

impl ContainerDetails {
    /// The image as it was asked for, whatever the name means by now.
    pub(super) fn image(&self) -> Option<&str> {
        self.config.as_ref()?.image.as_deref()
    }

    pub(super) fn mounts(&self) -> impl Iterator<Item = &Mount> {
        self.host_config.iter().flat_map(|config| &config.mounts).flatten()
    }
}

/// `GET /images/{id}/json`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Image {
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    repo_digests: Option<Vec<String>>,
}

impl Image {
    /// The names with tags that it has on this host.
    pub(super) fn tags(&self) -> impl Iterator<Item = &str> {
        named(&self.repo_tags)
    }

    /// The names with digests by which it was pulled or pushed.
    pub(super) fn digests(&self) -> impl Iterator<Item = &str> {
        named(&self.repo_digests)
    }
}

fn named(names: &Option<Vec<String>>) -> impl Iterator<Item = &str> {
    names.iter().flatten().map(String::as_str).filter(|name| !name.starts_with("<none>"))
}

/// One of `GET /services`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Service {
    pub(super) spec: ServiceSpec,
    /// What `docker service rollback` would bring back.
    #[serde(default)]
    pub(super) previous_spec: Option<ServiceSpec>,
}

/// What a service is to be.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ServiceSpec {
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    task_template: Option<TaskTemplate>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TaskTemplate {
    #[serde(default)]
    container_spec: Option<ContainerSpec>,
}

/// What its containers are to be; there are services of plugins, which have none.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ContainerSpec {
    #[serde(default)]
    pub(super) image: Option<String>,
    #[serde(default)]
    pub(super) mounts: Option<Vec<Mount>>,
}

impl ServiceSpec {
    pub(super) fn container(&self) -> Option<&ContainerSpec> {
        self.task_template.as_ref()?.container_spec.as_ref()
    }
}
