//! What Kubernetes objects are to an inventory: which image each names, and whose it is.
//!
//! Owns what tells objects apart, what their images are to a cluster, and what a mention of an image says. Objects are read in
//! [`found`], what names an image in them in [`mentions`], the names in [`references`], what a pod's status says of the images that run in [`status`]; objects that
//! come as messages are made in [`crate::cluster`], by the same rules. What several objects say together (the topmost owner, pods
//! counted, uses merged) is [`crate::uses`]'s. Pure.

mod found; // documents into objects
mod mentions; // the images that an object names
mod references; // what texts mean that name images
mod status; // the images that a pod runs

use std::sync::Arc;

use common::digest::Digest;
use common::record::Field;
use common::reference::Reference;

pub(crate) use self::found::{Found, Unbuilt};
pub(crate) use self::mentions::{Doubt, Mentions, Written};
pub(crate) use self::references::parse_image;

/// What tells objects apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    /// The namespace; none for what has none, or does not say.
    pub(crate) namespace: Option<String>,
    /// The kind.
    pub(crate) kind: Option<String>,
    /// The name; the `generateName` where it is yet to get one.
    pub(crate) name: Option<String>,
    /// The API group, without the version: kinds of two groups may be called the same.
    pub(crate) group: String,
}

/// One object that names images, or that owns one that does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    /// Which it is.
    pub(crate) identity: Identity,
    /// Who made it.
    pub(crate) owner: Option<Identity>,
    /// What its images are to a cluster.
    pub(crate) role: Role,
    /// Whether it is a pod that has ended, and was not removed yet.
    pub(crate) finished: bool,
    /// The images that it names.
    pub(crate) mentions: Vec<Mention>,
}

/// What an object's images are to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// It is a pod.
    Pod,
    /// Pods are made of it.
    Template,
    /// It is a ReplicaSet that wants no pods: history, unless a pod of it is still there.
    Idle,
    /// It is kept for a rollback alone.
    History,
}

/// One place in which an image is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mention {
    /// The container's name, or the volume's.
    pub(crate) container: Option<String>,
    /// Where it stood; none outside of an object.
    pub(crate) field: Option<Field>,
    /// The image as it was written.
    pub(crate) image: String,
    /// What that means.
    pub(crate) reference: Arc<Reference>,
    /// The digest that runs.
    pub(crate) running: Option<Digest>,
    /// The digest of the config that runs.
    pub(crate) config: Option<Digest>,
}

impl Identity {
    /// An object for people: `Deployment shop/web`.
    fn who(&self) -> String {
        let name = self.name.as_deref().unwrap_or("without a name");
        let name = self.namespace.as_ref().map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"));
        format!("{} {name}", self.kind.as_deref().unwrap_or("an object"))
    }

    /// Whether it is a custom resource: every group that is not Kubernetes' own has a dot in its name. Some of its own have one too, and
    /// name no images, but for a VolumeAttachment, whose `image` is a disk as that of a PersistentVolume is.
    fn is_custom(&self) -> bool {
        self.group.contains('.') && self.group != "storage.k8s.io"
    }

    /// Whether its images may be parameters, which its controller fills in: Argo Workflows and Events, Tekton, Shipwright.
    fn has_parameters(&self) -> bool {
        let kind = self.kind.as_deref().unwrap_or_default();
        match self.group.as_str() {
            "argoproj.io" => kind.contains("Workflow") || kind == "Sensor",
            group => group.ends_with("tekton.dev") || group.ends_with("shipwright.io"),
        }
    }

    /// Whether this is a kind of Kubernetes itself that cannot be without containers, nor these without images. Custom resources
    /// may leave out what their controller fills in.
    fn is_workload(&self) -> bool {
        matches!(
            (self.group.as_str(), self.kind.as_deref().unwrap_or_default()),
            ("", "Pod" | "ReplicationController" | "PodTemplate")
                | ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet")
                | ("batch", "Job" | "CronJob")
        )
    }
}

impl Role {
    /// Of an object of a kind, of which it can be asked whether it wants no pods, or has none.
    pub(crate) fn of(kind: &str, is_without_pods: impl FnOnce() -> bool) -> Self {
        match kind {
            "Pod" => Self::Pod,
            "ControllerRevision" => Self::History,
            "ReplicaSet" if is_without_pods() => Self::Idle,
            _ => Self::Template,
        }
    }
}

/// The group in an `apiVersion`: `apps` of `apps/v1`, nothing of `v1`. The workloads of `extensions` are those of `apps` under an older
/// name: one cluster serves the same object under both.
pub(crate) fn group(version: &str) -> String {
    match version.split_once('/') {
        Some(("extensions", _)) => "apps".to_owned(),
        Some((group, _)) => group.to_owned(),
        None => String::new(),
    }
}

/// The controller among the owner references, or the first where none says that it controls.
pub(crate) fn controlling<T>(references: &[T], controls: impl Fn(&T) -> bool) -> Option<&T> {
    references.iter().find(|reference| controls(reference)).or_else(|| references.first())
}
