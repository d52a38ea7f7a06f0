//! The images that an object names.
//!
//! Owns the places in which an object names images, and what is to be said of one that names none. What a pod's status says is
//! [`super::status`]'s. Pure.
//!
//! Rules: Kubernetes API reference, PodSpec (`containers`, `initContainers`, `ephemeralContainers`, `volumes[].image`). A custom
//! resource holds a pod template anywhere, so these lists are looked for everywhere in an object.

use std::sync::Arc;

use common::record::Field;
use common::reference::{ImageId, Reference};

use super::{Identity, Mention};
use crate::document::Fault;
use crate::tree::{Map, Node, Text};

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
    pub(super) found: Vec<Mention>,
    pub(super) faults: Vec<Fault>,
    /// Whether it is a pod that has ended.
    pub(super) finished: bool,
}

impl Mentions {
    /// Of an object in which none was found yet.
    pub(crate) fn of(identity: &Identity) -> Self {
        Self { who: identity.who(), strict: identity.is_workload(), found: Vec::new(), faults: Vec::new(), finished: false }
    }

    /// Takes an object of a kind, as it was written.
    pub(super) fn add_object(&mut self, object: &Map, kind: &str) {
        self.search(object);
        if self.strict {
            self.check_pod_spec(object, kind);
        }
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

    fn fault(&mut self, place: Option<&Text>, cause: String) {
        self.fault_at(place.map(|text| text.start), cause);
    }

    pub(crate) fn fault_at(&mut self, at: Option<usize>, cause: String) {
        self.faults.push(Fault { at, cause: format!("{}{cause}", self.who) });
    }
}

/// Where in an object an image is named, for people: `, container app`.
pub(super) fn place_of(container: Option<&str>, field: Field) -> String {
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

#[cfg(test)]
mod tests {
    use crate::object::found::tests::{faults, mentions};

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

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
    fn custom_resources_may_leave_out_what_their_controller_fills_in() {
        let text = "apiVersion: monitoring.coreos.com/v1\nkind: Prometheus\nmetadata: {name: p}\nspec:\n  containers: [{name: prometheus, args: [x]}, {name: side, image: s:1}, {name: m, image: {repository: r}}]\n";
        assert_eq!(mentions(text), ["Prometheus p side container s:1 - -"]);
    }
}
