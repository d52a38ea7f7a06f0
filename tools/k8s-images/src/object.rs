//! Which images a Kubernetes object names, and whose they are.
//!
//! Owns the reading of one object: pod templates wherever they stand, what a pod's status says of the images that run, the
//! owner reference. What several objects say together (the topmost owner, pods counted, uses merged) is
//! [`crate::uses`]'s. Pure.
//!
//! Rules: Kubernetes API reference, PodSpec (`containers`, `initContainers`, `ephemeralContainers`, `volumes[].image`) and
//! ContainerStatus (`image`, `imageID`). A custom resource holds a pod template anywhere, so these lists are looked for
//! everywhere in an object.

use std::sync::Arc;

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

/// What a text's documents hold.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The objects.
    pub(crate) objects: Vec<Object>,
    /// How many documents were lists, be they empty.
    pub(crate) lists: usize,
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
        if is_list(map, &identity) {
            self.add_list(map, &identity);
            return;
        }
        if identity.kind.is_none() {
            self.strangers += 1;
            if map.get("apiVersion").is_some() {
                self.fault(map.first_text(), "holds an apiVersion, and no kind after it: it was cut off".to_owned());
            }
        }
        if identity.group == "kustomize.config.k8s.io" {
            self.fault(map.text("kind"), format!("{kind}: {}", Unbuilt::Kustomization));
            return;
        }
        let mut mentions = Mentions::of(&identity);
        mentions.search(map);
        if mentions.strict {
            mentions.check_pod_spec(map, kind);
        }
        if kind == "Pod" {
            mentions.add_statuses(map);
        }
        let role = role(map, &identity);
        self.add_mentions(owner(map, &identity), identity, role, mentions);
    }

    /// Takes what was found in an object.
    pub(crate) fn add_mentions(&mut self, owner: Option<Identity>, identity: Identity, role: Role, mentions: Mentions) {
        let Mentions { found, faults, finished, .. } = mentions;
        self.faults.extend(faults);
        let finished = role == Role::Pod && finished;
        self.objects.push(Object { owner, identity, role, finished, mentions: found });
    }

    /// Takes an item of a list, which need not say its kind.
    pub(crate) fn add_item(&mut self, item: &Node, list: &Identity) {
        match item {
            Node::Map(map) => self.add_object(map, Some(list)),
            other => self.add(other),
        }
    }

    fn add_list(&mut self, list: &Map, identity: &Identity) {
        self.lists += 1;
        if identity.kind.is_none() {
            // kubectl writes the keys in order, and the kind after the items.
            self.fault(list.text("apiVersion"), "holds items, and no kind after them: it was cut off".to_owned());
        } else if !matches!(list.get("items"), Some(Node::List(_))) {
            let cause = format!("{}: its items are missing: it was cut off", who(identity));
            self.fault(list.text("kind").or_else(|| list.first_text()), cause);
        }
        if let Some(token) = list.map("metadata").and_then(|metadata| metadata.text("continue")) {
            self.fault(Some(token), "is one page of a longer list (metadata.continue): ask for the whole list".to_owned());
        }
        for item in list.list("items") {
            match item {
                Node::Map(map) => self.add_object(map, Some(identity)),
                Node::Null => self.fault(list.text("kind"), format!("{}: one of its items is empty: it was cut off", who(identity))),
                other => self.add(other),
            }
        }
        self.add_beside_items(list, identity);
    }

    /// Takes the pod templates that stand beside the items. No list of Kubernetes has any; a custom resource whose kind happens to end
    /// like a list's may.
    fn add_beside_items(&mut self, list: &Map, identity: &Identity) {
        let mut mentions = Mentions { strict: false, ..Mentions::of(identity) };
        list.pairs().filter(|(key, _)| *key != "items").for_each(|(_, value)| mentions.descend(value));
        let Mentions { found, faults, .. } = mentions;
        self.faults.extend(faults);
        if !found.is_empty() {
            let (identity, owner) = (identity.clone(), owner(list, identity));
            self.objects.push(Object { identity, owner, role: Role::Template, finished: false, mentions: found });
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

/// Whether this is a list of objects: its kind ends in `List`, or it has yet to come, for kubectl writes it after the items.
///
/// Every list of Kubernetes is called so (API conventions, "Lists and Simple kinds"), and has no name of its own. Anything else may have
/// a field `items` too.
fn is_list(map: &Map, identity: &Identity) -> bool {
    match (&identity.kind, map.get("items")) {
        (Some(kind), items) => kind.ends_with("List") && (items.is_some() || identity.name.is_none()),
        (None, None) => false,
        (None, Some(items)) => {
            let is_object = |item: &Node| matches!(item, Node::Map(map) if map.get("apiVersion").is_some() && map.text("kind").is_some());
            map.get("apiVersion").is_some() || matches!(items, Node::List(items) if items.iter().any(is_object))
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
            | ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet")
            | ("batch", "Job" | "CronJob")
    )
}

fn role(map: &Map, identity: &Identity) -> Role {
    let is_zero = |part: &str| map.map(part).and_then(|part| part.string("replicas")).is_some_and(|replicas| replicas == "0");
    Role::of(identity.kind.as_deref().unwrap_or_default(), || is_zero("spec") || is_zero("status"))
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

fn owner(map: &Map, identity: &Identity) -> Option<Identity> {
    let references: Vec<&Map> = map.map("metadata")?.maps("ownerReferences").collect();
    let controls = |reference: &&Map| reference.string("controller").is_some_and(|controller| is_true(&controller));
    let reference = controlling(&references, controls)?;
    Some(Identity {
        namespace: identity.namespace.clone(),
        kind: reference.string("kind"),
        name: reference.string("name"),
        group: reference.string("apiVersion").map_or_else(String::new, |version| group(&version)),
    })
}

/// The controller among the owner references, or the first where none says that it controls.
pub(crate) fn controlling<T>(references: &[T], controls: impl Fn(&T) -> bool) -> Option<&T> {
    references.iter().find(|reference| controls(reference)).or_else(|| references.first())
}

/// Whether a boolean is true in any of the spellings of YAML 1.1, which is what Kubernetes' own reader takes.
fn is_true(written: &str) -> bool {
    ["true", "yes", "on", "y"].iter().any(|known| written.eq_ignore_ascii_case(known))
}

/// Where a kind of Kubernetes itself holds the spec of its pods.
fn path_of_pod_spec(kind: &str) -> &'static [&'static str] {
    match kind {
        "Pod" => &["spec"],
        "PodTemplate" => &["template", "spec"],
        "CronJob" => &["spec", "jobTemplate", "spec", "template", "spec"],
        _ => &["spec", "template", "spec"],
    }
}

/// The lists of containers in a pod's spec.
const CONTAINERS: [(&str, Field); 3] =
    [("containers", Field::Container), ("initContainers", Field::InitContainer), ("ephemeralContainers", Field::EphemeralContainer)];

/// The lists of their states in a pod's status.
const STATUSES: [(&str, Field); 3] = [
    ("containerStatuses", Field::Container),
    ("initContainerStatuses", Field::InitContainer),
    ("ephemeralContainerStatuses", Field::EphemeralContainer),
];

/// What was written for an image, and where, if it stood in a text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written<'a> {
    pub(crate) text: &'a str,
    pub(crate) at: Option<usize>,
}

impl<'a> From<&'a Text> for Written<'a> {
    fn from(text: &'a Text) -> Self {
        Self { text: &text.text, at: Some(text.start) }
    }
}

/// Gathers the images of one object.
#[derive(Debug)]
pub(crate) struct Mentions {
    who: String,
    /// Whether a container without an image is a fault.
    strict: bool,
    found: Vec<Mention>,
    faults: Vec<Fault>,
    /// Whether it is a pod that has ended.
    finished: bool,
}

impl Mentions {
    /// Of an object in which none was found yet.
    pub(crate) fn of(identity: &Identity) -> Self {
        Self { who: who(identity), strict: is_workload(identity), found: Vec::new(), faults: Vec::new(), finished: false }
    }

    /// Takes the phase of a pod: in two of them no container of it will start again (Kubernetes API reference, PodPhase).
    pub(crate) fn add_phase(&mut self, phase: Option<&str>) {
        self.finished = matches!(phase, Some("Succeeded" | "Failed"));
    }

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

    /// Finds the images in a part of the object, at any depth.
    pub(crate) fn descend(&mut self, node: &Node) {
        match node {
            Node::Map(map) => self.search(map),
            Node::List(items) => items.iter().for_each(|item| self.descend(item)),
            _ => {}
        }
    }

    /// A kind of Kubernetes itself that names no container.
    pub(crate) fn add_no_containers(&mut self, at: Option<usize>) {
        self.fault_at(at, " has no containers; is it a patch, or was it cut off? Give the whole manifest".to_owned());
    }

    /// Sees that a kind of Kubernetes itself has a pod's spec where it belongs, and lists where lists belong: in anything else an image
    /// would be overlooked.
    fn check_pod_spec(&mut self, object: &Map, kind: &str) {
        let place = object.text("kind").or_else(|| object.first_text());
        let spec = path_of_pod_spec(kind).iter().try_fold(object, |map, key| map.map(key));
        let listed = spec.and_then(|spec| spec.get("containers"));
        let (Some(spec), false) = (spec, matches!(listed, None | Some(Node::Null))) else {
            return self.add_no_containers(place.map(|text| text.start));
        };
        for key in CONTAINERS.iter().map(|(key, _)| *key).chain(["volumes"]) {
            match spec.get(key) {
                None | Some(Node::Null) => {}
                Some(Node::List(items)) if items.is_empty() && key == "containers" => {
                    self.add_no_containers(place.map(|text| text.start));
                }
                Some(Node::List(items)) => {
                    let near = items.iter().find_map(Node::first_text).or(place);
                    if !items.iter().all(|item| matches!(item, Node::Map(_))) {
                        self.fault(near, format!(": one of its {key} is no mapping"));
                    }
                }
                Some(other) => self.fault(other.first_text().or(place), format!(": its {key} are no list")),
            }
        }
        for volume in spec.maps("volumes") {
            if !matches!(volume.get("image"), None | Some(Node::Null | Node::Map(_))) {
                let name = volume.string("name").unwrap_or_else(|| "without a name".to_owned());
                self.fault(volume.first_text().or(place), format!(", volume {name}: its image is no mapping"));
            }
        }
    }

    fn add_image(&mut self, holder: &Map, key: &str, container: Option<String>, field: Field) {
        match (holder.text(key), holder.get(key)) {
            (Some(text), _) => self.add_written(container, Written::from(text), field),
            (None, None | Some(Node::Null | Node::Text(_))) => {
                self.add_written(container, Written { text: "", at: holder.text("name").map(|name| name.start) }, field);
            }
            (None, Some(_)) if self.strict => {
                let cause = format!("{}: its image is no text", place_of(container.as_deref(), field));
                self.fault(holder.text("name"), cause);
            }
            (None, Some(_)) => {}
        }
    }

    /// Takes the image of a container or a volume as it was written, which may be not at all.
    pub(crate) fn add_written(&mut self, container: Option<String>, image: Written<'_>, field: Field) {
        let written = image.text.trim();
        if written.is_empty() {
            if self.strict {
                let place = place_of(container.as_deref(), field);
                self.fault_at(image.at, format!("{place} has no image; is it a patch, or was it cut off? Give the whole manifest"));
            }
            return;
        }
        match parse_image(written) {
            Ok(reference) => {
                let (image, reference) = (written.to_owned(), Arc::new(reference));
                self.found.push(Mention { container, field: Some(field), image, reference, running: None, config: None });
            }
            Err(cause) => {
                let place = place_of(container.as_deref(), field);
                self.fault_at(image.at, format!("{place}: {cause}"));
            }
        }
    }

    /// Takes what the container runtime says: the digests that run, and names that the spec does not have.
    fn add_statuses(&mut self, pod: &Map) {
        let Some(status) = pod.map("status") else { return };
        self.add_phase(status.string("phase").as_deref());
        for (key, field) in STATUSES {
            for state in status.maps(key) {
                let written = |key: &str| state.text(key).map(Written::from);
                self.add_status(state.string("name"), written("image"), written("imageID"), field);
            }
        }
    }

    /// Takes what the container runtime says of one container.
    pub(crate) fn add_status(
        &mut self,
        container: Option<String>,
        image: Option<Written<'_>>,
        image_id: Option<Written<'_>>,
        field: Field,
    ) {
        let told_of = container.clone();
        let place = || format!(", status of container {}", told_of.as_deref().unwrap_or("without a name"));
        let mut names = Vec::new();
        let mut config = None;
        let mut running = None;
        // A runtime that lost the name of what it runs gives the ID in the place of the image.
        for (is_id, written) in [(false, image), (true, image_id)] {
            let Some(written) = written else { continue };
            match written.text.parse::<ImageId>() {
                Ok(ImageId::Config(digest)) => config = Some(digest),
                Ok(ImageId::Pullable(reference)) => {
                    running.clone_from(&reference.digest);
                    names.push((without_scheme(written.text), reference));
                }
                Err(_) if !is_id => match parse_image(written.text) {
                    Ok(reference) => names.push((written.text.trim(), reference)),
                    Err(cause) => self.fault_at(written.at, format!("{}: {cause}", place())),
                },
                Err(error) => self.fault_at(written.at, format!("{}: {error}", place())),
            }
        }
        let mut told: Vec<Arc<Reference>> = Vec::new();
        for mention in &mut self.found {
            if mention.field == Some(field) && mention.container == container {
                mention.running.clone_from(&running);
                mention.config.clone_from(&config);
                told.push(Arc::clone(&mention.reference));
            }
        }
        for (image, reference) in names {
            let is_told = |told: &Arc<Reference>| {
                (&told.registry, &told.repository) == (&reference.registry, &reference.repository)
                    && (reference.tag.is_none() || reference.tag == told.tag)
            };
            if !told.iter().any(is_told) {
                let reference = Arc::new(reference);
                told.push(Arc::clone(&reference));
                let (image, running, config) = (image.to_owned(), running.clone(), config.clone());
                self.found.push(Mention { container: container.clone(), field: Some(field), image, reference, running, config });
            }
        }
    }

    fn fault(&mut self, place: Option<&Text>, cause: String) {
        self.fault_at(place.map(|text| text.start), cause);
    }

    pub(crate) fn fault_at(&mut self, at: Option<usize>, cause: String) {
        self.faults.push(Fault { at, cause: format!("{}{cause}", self.who) });
    }
}

/// Where in an object an image is named, for people: `, container app`.
fn place_of(container: Option<&str>, field: Field) -> String {
    let what = if field == Field::ImageVolume { "volume" } else { "container" };
    format!(", {what} {}", container.unwrap_or("without a name"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::line_of;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// What a text names: `owner-kind/name container field image running config`.
    fn mentions(text: &str) -> Vec<String> {
        let found = Found::in_text(text);
        assert_eq!(found.faults, [], "{text}");
        found.objects.iter().flat_map(|object| object.mentions.iter().map(|mention| show(object, mention))).collect()
    }

    fn show(object: &Object, mention: &Mention) -> String {
        let short = |digest: &Option<Digest>| digest.as_ref().map_or_else(|| "-".to_owned(), |digest| digest.hex()[..4].to_owned());
        let field = serde_json::to_value(mention.field).unwrap();
        format!(
            "{} {} {} {} {} {}",
            who(&object.identity),
            mention.container.as_deref().unwrap_or("-"),
            field.as_str().unwrap(),
            mention.image,
            short(&mention.running),
            short(&mention.config)
        )
    }

    fn faults(text: &str) -> Vec<String> {
        let found = Found::in_text(text);
        found.faults.iter().map(|fault| format!("{}: {}", line_of(text, fault.at.unwrap_or(0)), fault.cause)).collect()
    }

    #[test]
    fn every_workload_kind() {
        let spec = "{containers: [{name: app, image: a:1}]}";
        for (version, kind, body) in [
            ("v1", "Pod", format!("spec: {spec}")),
            ("v1", "ReplicationController", format!("spec: {{template: {{spec: {spec}}}}}")),
            ("v1", "PodTemplate", format!("template: {{spec: {spec}}}")),
            ("apps/v1", "Deployment", format!("spec: {{template: {{spec: {spec}}}}}")),
            ("apps/v1", "ReplicaSet", format!("spec: {{template: {{spec: {spec}}}}}")),
            ("apps/v1", "StatefulSet", format!("spec: {{template: {{spec: {spec}}}}}")),
            ("apps/v1", "DaemonSet", format!("spec: {{template: {{spec: {spec}}}}}")),
            ("apps/v1", "ControllerRevision", format!("data: {{spec: {{template: {{spec: {spec}}}}}}}")),
            ("batch/v1", "Job", format!("spec: {{template: {{spec: {spec}}}}}")),
            ("batch/v1", "CronJob", format!("spec: {{jobTemplate: {{spec: {{template: {{spec: {spec}}}}}}}}}")),
            ("argoproj.io/v1alpha1", "Rollout", format!("spec: {{template: {{spec: {spec}}}}}")),
            ("serving.knative.dev/v1", "Service", format!("spec: {{template: {{spec: {spec}}}}}")),
            ("example.com/v1", "Fleet", format!("spec: {{pools: [{{podTemplate: {{spec: {spec}}}}}]}}")),
        ] {
            let text = format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: web, namespace: shop}}\n{body}\n");
            assert_eq!(mentions(&text), [format!("{kind} shop/web app container a:1 - -")]);
        }
    }

    #[test]
    fn every_place_in_a_pod() {
        let text = "apiVersion: v1\nkind: Pod\nmetadata: {generateName: web-}\nspec:
  initContainers: [{name: i, image: i:1}]\n  containers: [{name: c, image: 1.20}]
  ephemeralContainers: [{name: e, image: 'e:1 '}]
  volumes: [{name: v, image: {reference: 'v:1', pullPolicy: Always}}, {name: w, emptyDir: {}}]\n";
        assert_eq!(
            mentions(text),
            [
                "Pod web- c container 1.20 - -",
                "Pod web- i initContainer i:1 - -",
                "Pod web- e ephemeralContainer e:1 - -",
                "Pod web- v imageVolume v:1 - -",
            ]
        );
    }

    #[test]
    fn lists_hold_objects_that_need_not_say_their_kind() {
        let pod = "{metadata: {name: a}, spec: {containers: [{name: c, image: a}]}}";
        assert_eq!(mentions(&format!("kind: PodList\napiVersion: v1\nitems: [{pod}]")), ["Pod a c container a - -"]);
        let list = format!(
            "apiVersion: v1\nkind: List\nitems: [{{kind: List, items: [{{apiVersion: v1, kind: Pod, metadata: {{name: b}}, spec: {{containers: [{{name: c, image: a}}]}}}}]}}, {pod}]"
        );
        assert_eq!(mentions(&list), ["Pod b c container a - -", "an object a c container a - -"]);
        assert_eq!(mentions("[{kind: Job, metadata: {name: j}, spec: {containers: [{image: a}]}}]"), ["Job j - container a - -"]);
        assert_eq!(Found::in_text("kind: List\nitems: []").lists, 1);
    }

    #[test]
    fn lists_that_are_not_whole_are_seen() {
        assert_eq!(faults("apiVersion: v1\nitems:\n- kind: Service\n"), ["1: holds items, and no kind after them: it was cut off"]);
        assert_eq!(
            faults("kind: PodList\nmetadata:\n  continue: abc\nitems: []"),
            ["3: is one page of a longer list (metadata.continue): ask for the whole list"]
        );
        assert_eq!(mentions("kind: PodList\nmetadata:\n  continue: ''\nitems: []"), [""; 0]);
    }

    /// A pod whose container `c` was asked for as `image`, with what its status says of it.
    fn running(image: &str, status: &str) -> Vec<String> {
        let text = format!(
            "kind: Pod\nmetadata: {{name: p}}\nspec:\n  containers: [{{name: c, image: \"{image}\"}}]\nstatus:\n  containerStatuses: [{{name: c, {status}}}]\n"
        );
        mentions(&text).iter().map(|line| line.replace("Pod p c container ", "").replace(HEX, "HEX")).collect()
    }

    #[test]
    fn what_runs_is_taken_from_the_status() {
        for (image, status, expected) in [
            ("a:1", format!("image: 'docker.io/library/a:1', imageID: 'docker.io/library/a@sha256:{HEX}'"), &["a:1 e3b0 -"][..]),
            ("r.io/a:1", format!("image: 'r.io/a:1', imageID: 'docker-pullable://r.io/a@sha256:{HEX}'"), &["r.io/a:1 e3b0 -"]),
            ("a:1", format!("image: 'a:1', imageID: 'docker://sha256:{HEX}'"), &["a:1 - e3b0"]),
            ("a:1", format!("image: 'a:1', imageID: '{HEX}'"), &["a:1 - e3b0"]),
            ("a:1", format!("image: 'sha256:{HEX}', imageID: 'docker.io/library/a@sha256:{HEX}'"), &["a:1 e3b0 e3b0"]),
            ("a:1", "image: 'a:1', imageID: ''".to_owned(), &["a:1 - -"]),
            ("a:1", "image: '', imageID: null".to_owned(), &["a:1 - -"]),
            // The same content under a name that the spec does not have is in use too.
            ("a:1", format!("image: 'a:2', imageID: 'docker.io/library/a@sha256:{HEX}'"), &["a:1 e3b0 -", "a:2 e3b0 -"]),
            (
                "a:1",
                format!("image: 'a:1', imageID: 'docker-pullable://mirror.io/hub/a@sha256:{HEX}'"),
                &["a:1 e3b0 -", "mirror.io/hub/a@sha256:HEX e3b0 -"],
            ),
            ("a:1", format!("image: 'm.io/a:1', imageID: 'm.io/a@sha256:{HEX}'"), &["a:1 e3b0 -", "m.io/a:1 e3b0 -"]),
        ] {
            assert_eq!(running(image, &status), expected, "{image} {status}");
        }
        let pinned = running(&format!("a@sha256:{HEX}"), &format!("image: 'docker.io/library/a@sha256:{HEX}', imageID: 'a@sha256:{HEX}'"));
        assert_eq!(pinned, ["a@sha256:HEX e3b0 -"]);
    }

    #[test]
    fn statuses_of_all_containers_count_and_one_without_a_container_too() {
        let text = format!(
            "kind: Pod\nmetadata: {{name: p}}\nspec:\n  initContainers: [{{name: i, image: i}}]\n  containers: [{{name: c, image: c}}]\n  ephemeralContainers: [{{name: e, image: e}}]
status:\n  initContainerStatuses: [{{name: i, imageID: 'i@sha256:{HEX}'}}]\n  ephemeralContainerStatuses: [{{name: e, imageID: 'e@sha256:{HEX}'}}]
  containerStatuses: [{{name: gone, image: 'g:1', imageID: 'g@sha256:{HEX}'}}]\n"
        );
        assert_eq!(
            mentions(&text),
            [
                "Pod p c container c - -",
                "Pod p i initContainer i e3b0 -",
                "Pod p e ephemeralContainer e e3b0 -",
                "Pod p gone container g:1 e3b0 -",
            ]
        );
    }

    #[test]
    fn owners_and_roles() {
        let read = |text: &str| Found::in_text(text).objects.remove(0);
        let revision = read(
            "apiVersion: apps/v1\nkind: ControllerRevision\nmetadata:\n  name: db-1\n  namespace: shop\n  ownerReferences:\n  - {kind: Other, name: x}\n  - {apiVersion: apps/v1, kind: StatefulSet, name: db, controller: true}\n",
        );
        let owner = revision.owner.unwrap();
        assert_eq!((who(&owner), owner.group.as_str(), revision.role), ("StatefulSet shop/db".to_owned(), "apps", Role::History));
        for (text, role) in [
            ("kind: ReplicaSet\nspec: {replicas: 0}", Role::Idle),
            ("kind: ReplicaSet\nspec: {replicas: 3}\nstatus: {replicas: 0}", Role::Idle),
            ("kind: ReplicaSet\nspec: {replicas: 3}", Role::Template),
            ("kind: Deployment\nspec: {replicas: 0}", Role::Template),
            ("kind: Pod", Role::Pod),
        ] {
            assert_eq!(read(text).role, role, "{text}");
        }
    }

    #[test]
    fn what_could_hide_an_image_is_a_fault() {
        let deployment =
            |spec: &str| format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  template: {{spec: {spec}}}\n");
        for (text, expected) in [
            (deployment("{containers: [{name: app, image: '${IMAGE}'}]}"), "5: Deployment web, container app: "),
            (deployment("{containers: [{name: app}]}"), "5: Deployment web, container app has no image"),
            (deployment("{containers: [{name: app, image: ''}]}"), "5: Deployment web, container app has no image"),
            (deployment("{containers: [{name: app, image: {x: y}}]}"), "5: Deployment web, container app: its image is no text"),
            (deployment("{containers: []}"), "2: Deployment web has no containers"),
            (
                deployment("{containers: [{name: a, image: a}], volumes: [{name: v, image: {}}]}"),
                "1: Deployment web, volume v has no image",
            ),
            (
                "kind: Pod\nspec: {containers: [{image: a}]}\nstatus:\n  containerStatuses:\n  - {name: c, imageID: '?'}".to_string(),
                "5: Pod without a name, status of container c: ",
            ),
            (format!("kind: Pod\nspec:\n  containers:\n  - image: sha256:{HEX}"), "4: Pod without a name, container without a name: "),
            (
                "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nimages: [{name: a, newTag: b}]".to_owned(),
                "2: Kustomization: a kustomization changes",
            ),
            ("Error from server (Forbidden)".to_owned(), "1: is a text, and no Kubernetes object"),
        ] {
            let faults = faults(&text);
            assert!(faults.len() == 1 && faults.iter().all(|fault| fault.starts_with(expected)), "{text} {faults:?}");
        }
    }

    #[test]
    fn a_field_called_items_makes_no_list() {
        let template = "{template: {spec: {containers: [{name: a, image: a:1}]}}}";
        for (kind, expected) in [("Fleet", "Fleet f a container a:1 - -"), ("FleetList", "FleetList f a container a:1 - -")] {
            let text = format!("apiVersion: x.io/v1\nkind: {kind}\nmetadata: {{name: f}}\nitems: [{{a: b}}]\nspec: {template}\n");
            assert_eq!(mentions(&text), [expected]);
        }
        let named = format!("apiVersion: x.io/v1\nkind: DenyList\nmetadata: {{name: d}}\nspec: {template}\n");
        assert_eq!(mentions(&named), ["DenyList d a container a:1 - -"]);
        assert_eq!(Found::in_text("items: [{name: a}]\n").strangers, 1);
        assert_eq!(faults("items:\n- apiVersion: v1\n  kind: Service\n"), ["1: holds items, and no kind after them: it was cut off"]);
    }

    #[test]
    fn what_was_cut_off_before_its_kind_or_its_items_is_a_fault() {
        let beside = "---\napiVersion: v1\nkind: Pod\nspec: {containers: [{image: a}]}\n";
        for (text, expected) in [
            ("apiVersion: v1\nitems:\n", "1: holds items, and no kind after them"),
            ("# c\napiVersion: apps/v1\n", "2: holds an apiVersion, and no kind"),
            ("apiVersion: apps/v1\nkind:\n", "1: holds an apiVersion, and no kind"),
            ("apiVersion:\n", "1: holds an apiVersion, and no kind"),
            ("apiVersion: v1\nkind: PodList\nitems: null\n", "2: PodList without a name: its items are missing"),
            ("apiVersion: v1\nkind: PodList\nitems: x\n", "2: PodList without a name: its items are missing"),
            ("apiVersion: v1\nkind: List\n", "2: List without a name: its items are missing"),
            ("apiVersion: v1\nkind: List\nitems:\n- {kind: Service}\n-\n", "2: List without a name: one of its items is empty"),
        ] {
            let faults = faults(&format!("{text}{beside}"));
            assert!(faults.len() == 1 && faults.iter().all(|fault| fault.starts_with(expected)), "{text} {faults:?}");
        }
    }

    #[test]
    fn what_stands_where_containers_belong_is_not_overlooked() {
        for (spec, expected) in [
            (
                "{containers: {name: a, image: hidden}, initContainers: [{name: i, image: i}]}",
                "5: Deployment web: its containers are no list",
            ),
            ("{containers: [hidden, {name: i, image: i}]}", "5: Deployment web: one of its containers is no mapping"),
            ("{containers: [[{name: h, image: h}]]}", "5: Deployment web: one of its containers is no mapping"),
            ("{containers: hidden, initContainers: [{name: i, image: i}]}", "2: Deployment web: its containers are no list"),
            ("{containers: [{name: a, image: a}], initContainers: hidden}", "2: Deployment web: its initContainers are no list"),
            ("{containers: [{name: a, image: a}], volumes: {v: {image: {reference: v}}}}", "5: Deployment web: its volumes are no list"),
            ("{containers: [{name: a, image: a}], volumes: [{name: v, image: v}]}", "5: Deployment web, volume v: its image is no mapping"),
            ("{initContainers: [{name: i, image: i}]}", "2: Deployment web has no containers"),
            ("{containers: , initContainers: [{name: i, image: i}]}", "2: Deployment web has no containers"),
        ] {
            let text = format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  template: {{spec: {spec}}}\n");
            let faults = faults(&text);
            assert!(faults.len() == 1 && faults.iter().all(|fault| fault.starts_with(expected)), "{text} {faults:?}");
        }
        let elsewhere = "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: c}\nspec: {template: {spec: {containers: [{image: a}]}}}\n";
        assert_eq!(faults(elsewhere).len(), 1);
        let label = "kind: Pod\nmetadata: {labels: {containers: 'two', volumes: none}}\nspec: {containers: [{name: a, image: a}]}\n";
        assert_eq!(mentions(label), ["Pod without a name a container a - -"]);
    }

    #[test]
    fn a_controller_may_be_true_in_any_spelling() {
        for spelling in ["true", "True", "TRUE", "yes"] {
            let text = format!(
                "kind: Pod\nmetadata:\n  ownerReferences: [{{kind: ConfigMap, name: c}}, {{kind: ReplicaSet, name: r, controller: {spelling}}}]\n"
            );
            let owner = Found::in_text(&text).objects.remove(0).owner.unwrap();
            assert_eq!(owner.kind.as_deref(), Some("ReplicaSet"), "{spelling}");
        }
    }

    #[test]
    fn custom_resources_may_leave_out_what_their_controller_fills_in() {
        let text = "apiVersion: monitoring.coreos.com/v1\nkind: Prometheus\nmetadata: {name: p}\nspec:\n  containers: [{name: prometheus, args: [x]}, {name: side, image: s:1}, {name: m, image: {repository: r}}]\n";
        assert_eq!(mentions(text), ["Prometheus p side container s:1 - -"]);
    }

    #[test]
    fn what_is_no_object_is_counted() {
        let found = Found::in_text("replicas: 3\nimage: {repository: a, tag: b}\n---\napiVersion: v1\nkind: Service\n---\n");
        assert_eq!((found.strangers, found.objects.len(), found.faults), (1, 2, vec![]));
    }
}
