//! Which images a Kubernetes object names, and whose they are.
//!
//! Owns the reading of one object: pod templates wherever they stand, what a pod's status says of the images that run, the
//! owner reference. What several objects say together (the topmost owner, pods counted, uses merged) is
//! [`crate::uses`]'s. Pure.
//!
//! Rules: Kubernetes API reference, PodSpec (`containers`, `initContainers`, `ephemeralContainers`, `volumes[].image`) and
//! ContainerStatus (`image`, `imageID`). A custom resource holds a pod template anywhere, so these lists are looked for
//! everywhere in an object.

use common::digest::Digest;
use common::record::Field;
use common::reference::{ImageId, Reference};

use crate::document::{self, Fault};
use crate::tree::{Map, Node, Text};

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
    /// The images that it names.
    pub(crate) mentions: Vec<Mention>,
}

/// What an object's images are to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    pub(crate) reference: Reference,
    /// The digest that runs.
    pub(crate) running: Option<Digest>,
    /// The digest of the config that runs.
    pub(crate) config: Option<Digest>,
}

/// What a text's documents hold.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The objects.
    pub(crate) objects: Vec<Object>,
    /// How many documents were no Kubernetes objects, such as a file of values.
    pub(crate) strangers: usize,
    /// What is wrong.
    pub(crate) faults: Vec<Fault>,
}

impl Found {
    /// Reads all documents of a text.
    pub(crate) fn in_text(text: &str) -> Self {
        let (documents, faults) = document::read(text);
        let mut found = Self { faults, ..Self::default() };
        documents.iter().for_each(|document| found.add(document));
        found.faults.sort_by_key(|fault| fault.at);
        found
    }

    /// Takes a document.
    pub(crate) fn add(&mut self, document: &Node) {
        match document {
            Node::Map(map) => self.add_object(map, None),
            Node::List(items) => items.iter().for_each(|item| self.add(item)),
            Node::Null => {}
            Node::Text(text) => self.fault(Some(text), "is a text, and no Kubernetes object".to_owned()),
            Node::Unread { .. } | Node::Passed => self.fault(None, "holds a scalar, and no Kubernetes object".to_owned()),
        }
    }

    /// Takes an object; `of` is the list that it stands in, because the items of a PodList need not say that they are pods.
    fn add_object(&mut self, map: &Map, of: Option<&Identity>) {
        let identity = identity(map, of);
        let kind = identity.kind.as_deref().unwrap_or_default();
        if matches!(map.get("items"), Some(Node::List(_))) && (kind.ends_with("List") || map.text("apiVersion").is_some()) {
            self.add_list(map, &identity);
            return;
        }
        if identity.kind.is_none() {
            self.strangers += 1;
        }
        if identity.group == "kustomize.config.k8s.io" {
            self.fault(map.text("kind"), format!("{kind}: {}", Unbuilt::Kustomization));
            return;
        }
        let who = who(&identity);
        let strict = is_workload(&identity);
        let mut mentions = Mentions { who: &who, strict, found: Vec::new(), faults: Vec::new() };
        mentions.search(map);
        if strict && mentions.found.is_empty() && mentions.faults.is_empty() {
            mentions.fault(map.text("kind"), " has no containers; is it a patch, or was it cut off? Give the whole manifest".to_owned());
        }
        if kind == "Pod" {
            mentions.add_statuses(map);
        }
        let Mentions { found, faults, .. } = mentions;
        self.faults.extend(faults);
        let role = role(map, &identity);
        self.objects.push(Object { owner: owner(map, &identity), identity, role, mentions: found });
    }

    fn add_list(&mut self, list: &Map, identity: &Identity) {
        if identity.kind.is_none() {
            // kubectl writes the keys in order, and the kind after the items.
            self.fault(list.text("apiVersion"), "holds items, and no kind after them: it was cut off".to_owned());
        }
        if let Some(token) = list.map("metadata").and_then(|metadata| metadata.text("continue")) {
            self.fault(Some(token), "is one page of a longer list (metadata.continue): ask for the whole list".to_owned());
        }
        for item in list.list("items") {
            match item {
                Node::Map(map) => self.add_object(map, Some(identity)),
                other => self.add(other),
            }
        }
    }

    fn fault(&mut self, place: Option<&Text>, cause: String) {
        self.faults.push(Fault { at: place.map(|text| text.start), cause });
    }
}

/// Sources from which manifests are yet to be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unbuilt {
    /// A folder with a kustomization.
    Kustomization,
    /// A folder with a Helm chart.
    Chart,
}

impl std::fmt::Display for Unbuilt {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Kustomization => {
                "a kustomization changes images and adds files of other folders, which only its build shows: kubectl kustomize FOLDER | k8s-images -f -"
            }
            Self::Chart => "a Helm chart names its images only once it is rendered: helm template CHART | k8s-images -f -",
        })
    }
}

fn identity(map: &Map, of: Option<&Identity>) -> Identity {
    let metadata = map.map("metadata");
    let field = |key: &str| metadata.and_then(|metadata| metadata.string(key));
    let inherited = || of.and_then(|list| list.kind.as_deref()).and_then(|kind| kind.strip_suffix("List")).filter(|kind| !kind.is_empty());
    let group = match (map.string("apiVersion"), of) {
        (Some(version), _) => group(&version),
        (None, Some(list)) => list.group.clone(),
        (None, None) => String::new(),
    };
    Identity {
        namespace: field("namespace"),
        kind: map.string("kind").or_else(|| inherited().map(str::to_owned)),
        name: field("name").or_else(|| field("generateName")),
        group,
    }
}

/// The group in an `apiVersion`: `apps` of `apps/v1`, nothing of `v1`.
fn group(version: &str) -> String {
    version.split_once('/').map_or_else(String::new, |(group, _)| group.to_owned())
}

/// An object for people: `Deployment shop/web`.
fn who(identity: &Identity) -> String {
    let name = identity.name.as_deref().unwrap_or("without a name");
    let name = identity.namespace.as_ref().map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"));
    format!("{} {name}", identity.kind.as_deref().unwrap_or("an object"))
}

/// Whether this is a kind of Kubernetes itself that cannot be without containers, nor these without images. Custom resources
/// may leave out what their controller fills in.
fn is_workload(identity: &Identity) -> bool {
    matches!(
        (identity.group.as_str(), identity.kind.as_deref().unwrap_or_default()),
        ("", "Pod" | "ReplicationController" | "PodTemplate")
            | ("apps" | "extensions", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet")
            | ("batch", "Job" | "CronJob")
    )
}

fn role(map: &Map, identity: &Identity) -> Role {
    let is_zero = |part: &str| map.map(part).and_then(|part| part.string("replicas")).is_some_and(|replicas| replicas == "0");
    match identity.kind.as_deref() {
        Some("Pod") => Role::Pod,
        Some("ControllerRevision") => Role::History,
        Some("ReplicaSet") if is_zero("spec") || is_zero("status") => Role::Idle,
        _ => Role::Template,
    }
}

/// The controller among the owner references, or the first where none says that it controls.
fn owner(map: &Map, identity: &Identity) -> Option<Identity> {
    let references: Vec<&Map> = map.map("metadata")?.maps("ownerReferences").collect();
    let controls = |reference: &&&Map| reference.string("controller").as_deref() == Some("true");
    let reference = references.iter().find(controls).or_else(|| references.first())?;
    Some(Identity {
        namespace: identity.namespace.clone(),
        kind: reference.string("kind"),
        name: reference.string("name"),
        group: reference.string("apiVersion").map_or_else(String::new, |version| group(&version)),
    })
}

/// The lists of containers in a pod's spec.
const CONTAINERS: [(&str, Field); 3] = [
    ("containers", Field::Container),
    ("initContainers", Field::InitContainer),
    ("ephemeralContainers", Field::EphemeralContainer),
];

/// The lists of their states in a pod's status.
const STATUSES: [(&str, Field); 3] = [
    ("containerStatuses", Field::Container),
    ("initContainerStatuses", Field::InitContainer),
    ("ephemeralContainerStatuses", Field::EphemeralContainer),
];

/// Gathers the images of one object.
struct Mentions<'a> {
    who: &'a str,
    /// Whether a container without an image is a fault.
    strict: bool,
    found: Vec<Mention>,
    faults: Vec<Fault>,
}

impl Mentions<'_> {
    fn search(&mut self, map: &Map) {
        for (key, field) in CONTAINERS {
            for container in map.maps(key) {
                self.add_image(container, "image", container.string("name"), field);
            }
        }
        for volume in map.maps("volumes") {
            if let Some(image) = volume.map("image") {
                self.add_image(image, "reference", volume.string("name"), Field::ImageVolume);
            }
        }
        for value in map.values() {
            self.descend(value);
        }
    }

    fn descend(&mut self, node: &Node) {
        match node {
            Node::Map(map) => self.search(map),
            Node::List(items) => items.iter().for_each(|item| self.descend(item)),
            _ => {}
        }
    }

    fn add_image(&mut self, holder: &Map, key: &str, container: Option<String>, field: Field) {
        let what = if field == Field::ImageVolume { "volume" } else { "container" };
        let place = format!(", {what} {}", container.as_deref().unwrap_or("without a name"));
        let Some(text) = holder.text(key) else {
            match holder.get(key) {
                None | Some(Node::Null | Node::Text(_)) if self.strict => {
                    let cause = format!("{place} has no image; is it a patch, or was it cut off? Give the whole manifest");
                    self.fault(holder.text("name"), cause);
                }
                Some(_) if self.strict => self.fault(holder.text("name"), format!("{place}: its image is no text")),
                _ => {}
            }
            return;
        };
        match parse_image(&text.text) {
            Ok(reference) => {
                let image = text.text.trim().to_owned();
                self.found.push(Mention { container, field: Some(field), image, reference, running: None, config: None });
            }
            Err(cause) => self.fault(Some(text), format!("{place}: {cause}")),
        }
    }

    /// Takes what the container runtime says: the digests that run, and names that the spec does not have.
    fn add_statuses(&mut self, pod: &Map) {
        let Some(status) = pod.map("status") else { return };
        for (key, field) in STATUSES {
            for state in status.maps(key) {
                self.add_status(state, field);
            }
        }
    }

    fn add_status(&mut self, state: &Map, field: Field) {
        let container = state.string("name");
        let place = format!(", status of container {}", container.as_deref().unwrap_or("without a name"));
        let mut names = Vec::new();
        let mut config = None;
        let mut running = None;
        // A runtime that lost the name of what it runs gives the ID in the place of the image.
        for key in ["image", "imageID"] {
            let Some(text) = state.text(key) else { continue };
            match text.text.parse::<ImageId>() {
                Ok(ImageId::Config(digest)) => config = Some(digest),
                Ok(ImageId::Pullable(reference)) => {
                    running.clone_from(&reference.digest);
                    names.push((without_scheme(&text.text), reference));
                }
                Err(_) if key == "image" => match parse_image(&text.text) {
                    Ok(reference) => names.push((text.text.trim(), reference)),
                    Err(cause) => self.fault(Some(text), format!("{place}: {cause}")),
                },
                Err(error) => self.fault(Some(text), format!("{place}: {error}")),
            }
        }
        let mut told: Vec<Reference> = Vec::new();
        for mention in &mut self.found {
            if mention.field == Some(field) && mention.container == container {
                mention.running.clone_from(&running);
                mention.config.clone_from(&config);
                told.push(mention.reference.clone());
            }
        }
        for (image, reference) in names {
            let is_told = |told: &Reference| {
                (&told.registry, &told.repository) == (&reference.registry, &reference.repository)
                    && (reference.tag.is_none() || reference.tag == told.tag)
            };
            if !told.iter().any(is_told) {
                told.push(reference.clone());
                let (image, running, config) = (image.to_owned(), running.clone(), config.clone());
                self.found.push(Mention { container: container.clone(), field: Some(field), image, reference, running, config });
            }
        }
    }

    fn fault(&mut self, place: Option<&Text>, cause: String) {
        self.faults.push(Fault { at: place.map(|text| text.start), cause: format!("{}{cause}", self.who) });
    }
}

/// Parses what a manifest or a list names as an image.
///
/// # Errors
/// A text that is no reference, or the ID of an image, which names no repository (and which the grammar of references alone
/// would take for the repository `sha256`).
pub(crate) fn parse_image(text: &str) -> Result<Reference, String> {
    if let Ok(ImageId::Config(_)) = text.parse() {
        return Err(format!("{:?} is the ID of an image, and names no repository", text.trim()));
    }
    text.parse::<Reference>().map_err(|error| error.to_string())
}

fn without_scheme(image_id: &str) -> &str {
    image_id.trim().split_once("://").map_or_else(|| image_id.trim(), |(_, rest)| rest)
}
