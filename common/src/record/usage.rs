use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// One image that something uses: the record of an inventory.
///
/// `image` is the text as it was written; `registry`, `repository`, `tag` and `digest` are what it names, normalised as Docker
/// does. `runningDigest` is what a container runtime says it runs and could be pulled by; `configDigest` is what it says
/// where it knows the image's config alone. `kind` and `name` are the topmost owner (`Deployment`, not its pod); `pods` counts
/// the pods that this line stands for, 0 for a template without pods, and `pod` is one of them. `finishedPods` says how many of these
/// have ended (phase `Succeeded` or `Failed`), and is left out where none has: who reads their logs may want the image too. In a plan,
/// `listedAs` says under which name the listing knows the repository.
///
/// There is one record for each distinct source, namespace, owner, container, image and running digest; where several fields
/// would give the same record, the first in the order of [`Field`] stands.
///
/// ```json
/// {"type":"use","image":"registry.example.com:5000/team/app:1.2","registry":"registry.example.com:5000","repository":"team/app","tag":"1.2","digest":null,
///  "runningDigest":"sha256:4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865","configDigest":null,
///  "source":"prod","namespace":"shop","kind":"Deployment","name":"web","container":"app","field":"container","pods":3,"pod":"web-5f7c9-x2k4q"}
/// ```
///
/// ```json
/// {"type":"use","image":"registry.example.com:5000/team/import:7","registry":"registry.example.com:5000","repository":"team/import","tag":"7","digest":null,
///  "runningDigest":null,"configDigest":null,
///  "source":"prod","namespace":"shop","kind":"CronJob","name":"import","container":"import","field":"container","pods":2,"finishedPods":1,"pod":"import-29386080-8wz5n"}
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "use", rename_all = "camelCase")]
pub struct Use {
    /// The image as it was written.
    pub image: String,
    /// The registry's host.
    pub registry: String,
    /// The repository.
    pub repository: String,
    /// The tag.
    #[serde(default)]
    pub tag: Option<String>,
    /// The digest that the text pins.
    #[serde(default)]
    pub digest: Option<Digest>,
    /// The digest that runs.
    #[serde(default)]
    pub running_digest: Option<Digest>,
    /// The digest of the running image's config.
    #[serde(default)]
    pub config_digest: Option<Digest>,
    /// The name of the source in the header's scope.
    #[serde(default)]
    pub source: Option<String>,
    /// The owner's namespace.
    #[serde(default)]
    pub namespace: Option<String>,
    /// The owner's kind.
    #[serde(default)]
    pub kind: Option<String>,
    /// The owner's name.
    #[serde(default)]
    pub name: Option<String>,
    /// The container's name, or the volume's.
    #[serde(default)]
    pub container: Option<String>,
    /// Where the image stood.
    #[serde(default)]
    pub field: Option<Field>,
    /// How many pods this line stands for.
    #[serde(default)]
    pub pods: u64,
    /// How many of these have ended.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub finished_pods: u64,
    /// One of these pods.
    #[serde(default)]
    pub pod: Option<String>,
    /// In a plan: the name under which the repository was listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed_as: Option<ListedAs>,
}

/// The name under which a listing knows a repository that a use names otherwise (an alias, another host).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedAs {
    /// The registry's host in the listing.
    pub registry: String,
    /// The repository in the listing.
    pub repository: String,
}

/// Where an image stood. Uses that differ in nothing else merge into the first of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Field {
    /// `containers[].image`
    Container,
    /// `initContainers[].image`
    InitContainer,
    /// `ephemeralContainers[].image`
    EphemeralContainer,
    /// `volumes[].image.reference`
    ImageVolume,
    /// A ControllerRevision, or a ReplicaSet without pods: what a rollback would start.
    History,
    /// A node's list of images.
    Node,
    /// A field of a later version.
    #[serde(other)]
    Other,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Use {
    /// Who uses it, for people: `prod/shop/Deployment/web`; what is unknown is left out.
    #[must_use]
    pub fn user(&self) -> String {
        let parts = [&self.source, &self.namespace, &self.kind, &self.name];
        let known: Vec<&str> = parts.into_iter().flatten().map(String::as_str).filter(|part| !part.is_empty()).collect();
        if known.is_empty() { self.image.clone() } else { known.join("/") }
    }
}
