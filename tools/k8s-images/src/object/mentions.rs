//! The images that an object names.
//!
//! Owns the places in which an object names images, and what is to be said of one that names none. What a pod's status says is
//! [`super::status`]'s. Pure.
//!
//! Rules: Kubernetes API reference, PodSpec (`containers`, `initContainers`, `ephemeralContainers`, `volumes[].image`). A custom
//! resource holds a pod template anywhere, so these lists are looked for everywhere in an object; and it names images elsewhere too,
//! under keys of which [`crate::image_key`] knows.

use std::sync::Arc;

use common::record::Field;
use common::reference::Reference;

use super::references::References;
use super::{Identity, Mention};
use crate::document::Fault;
use crate::image_key;
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

/// The keys under which people and selectors name things as they like: what is called an image there is none.
const LABELS: [&str; 6] = ["annotations", "labels", "matchLabels", "metadata", "nodeSelector", "selector"];

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

/// What a custom resource has in the place of an image, and is none: a parameter that its controller fills in, a pattern, or what has
/// nothing to do with containers. Which image comes of it, only pods tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// What it is, and where.
    pub(crate) fault: Fault,
    /// Whether it is in a list of containers, where an image is more than likely, and its controller knows no parameters.
    pub(crate) in_container: bool,
}

impl Doubt {
    /// What is said of all doubts of a place, of which this is the first.
    pub(crate) fn said(first: &str, all: usize, place: &str) -> String {
        let more = if all > 1 { format!(" (and {} more in {place})", all - 1) } else { String::new() };
        format!("{first}; what comes of it is known from pods alone{more}")
    }
}

/// Where a mapping stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// In a list of containers.
    InContainers,
    /// In a list of volumes.
    InVolumes,
    /// Anywhere else.
    Elsewhere,
}

impl Stands {
    /// Whether what its `image` is was found already, as that of a container or of a volume.
    fn is_taken(self, image: &Node) -> bool {
        matches!((self, image), (Self::InContainers, Node::Text(_)) | (Self::InVolumes, Node::Map(_)))
    }
}

/// Gathers the images of one object.
#[derive(Debug)]
pub(crate) struct Mentions {
    who: String,
    /// Whether a container without an image is a fault.
    strict: bool,
    /// Whether it is a custom resource, which may name images anywhere, and what is none.
    custom: bool,
    /// Whether its images may be parameters.
    has_parameters: bool,
    pub(super) found: Vec<Mention>,
    pub(super) faults: Vec<Fault>,
    pub(super) doubts: Vec<Doubt>,
    /// Whether it is a pod that has ended.
    pub(super) finished: bool,
    pub(super) references: References,
}

impl Mentions {
    /// Of an object in which none was found yet.
    pub(super) fn of(identity: &Identity, references: References) -> Self {
        Self {
            who: identity.who(),
            strict: identity.is_workload(),
            custom: identity.is_custom(),
            has_parameters: identity.has_parameters(),
            found: Vec::new(),
            faults: Vec::new(),
            doubts: Vec::new(),
            finished: false,
            references,
        }
    }

    /// Takes the object for a custom resource, whatever its group is called: its cluster says so.
    pub(super) fn take_for_custom(&mut self) {
        self.custom = true;
    }

    /// Takes an object of a kind, as it was written.
    pub(super) fn add_object(&mut self, object: &Map, kind: &str) {
        self.search(object, None, Stands::Elsewhere);
        if self.strict {
            self.check_pod_spec(object, kind);
        }
    }

    /// Finds the images in a mapping, at any depth. `above` is the mapping in which it stands.
    fn search(&mut self, map: &Map, above: Option<&Map>, stands: Stands) {
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
        for (key, value) in map.pairs() {
            if self.custom && LABELS.contains(&key) {
                continue;
            }
            if self.custom && image_key::is_image(key) && !(key == "image" && stands.is_taken(value)) {
                // What only holds a container or a disk has no name, but stands in what has.
                let name = map.string("name").or_else(|| above?.string("name"));
                self.add_elsewhere(name, key, value);
            }
            let stand = match key {
                "volumes" => Stands::InVolumes,
                key if CONTAINERS.iter().any(|(list, _)| *list == key) => Stands::InContainers,
                _ => Stands::Elsewhere,
            };
            self.descend_to(value, Some(map), stand);
        }
    }

    /// Finds the images in a part of the object, at any depth.
    pub(crate) fn descend(&mut self, node: &Node) {
        self.descend_to(node, None, Stands::Elsewhere);
    }

    fn descend_to(&mut self, node: &Node, above: Option<&Map>, stand: Stands) {
        match node {
            Node::Map(map) => self.search(map, above, Stands::Elsewhere),
            Node::List(items) => items.iter().for_each(|item| match item {
                Node::Map(map) => self.search(map, above, stand),
                other => self.descend_to(other, above, Stands::Elsewhere),
            }),
            _ => {}
        }
    }

    /// Takes what a custom resource has under a key that names an image, outside of the lists of a pod's spec.
    fn add_elsewhere(&mut self, container: Option<String>, key: &str, value: &Node) {
        let (text, field) = match value {
            Node::Text(text) => (text, Field::Container),
            Node::Map(source) => match source.text("reference") {
                Some(text) => (text, Field::ImageVolume),
                None => return,
            },
            _ => return,
        };
        let written = text.text.trim();
        if written.is_empty() {
            return;
        }
        let looks_like_one = !image_key::is_named_otherwise(key) || written.contains(['/', ':', '@']);
        match self.references.image(written) {
            Ok(reference) if looks_like_one => self.found.push(mention(container, written, reference, field)),
            // A longer word than `image` may say much else. A parameter is worth a word under any.
            Err(cause) if !image_key::is_named_otherwise(key) || written.contains(['$', '{']) => {
                let place = container.map_or_else(String::new, |name| format!(" of {name}"));
                let fault = Fault { at: Some(text.start), cause: format!("{}, {key}{place}: {cause}", self.who) };
                self.doubts.push(Doubt { fault, in_container: false });
            }
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
        match self.references.image(written) {
            Ok(reference) => self.found.push(mention(container, written, reference, field)),
            Err(cause) => {
                let place = place_of(container.as_deref(), field);
                self.fault_at(image.at, format!("{place}: {cause}"));
                if self.custom {
                    let in_container = !self.has_parameters;
                    self.doubts.extend(self.faults.pop().map(|fault| Doubt { fault, in_container }));
                }
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

fn mention(container: Option<String>, image: &str, reference: Arc<Reference>, field: Field) -> Mention {
    Mention { container, field: Some(field), image: image.to_owned(), reference, running: None, config: None }
}

/// Where in an object an image is named, for people: `, container app`.
pub(super) fn place_of(container: Option<&str>, field: Field) -> String {
    let what = if field == Field::ImageVolume { "volume" } else { "container" };
    format!(", {what} {}", container.unwrap_or("without a name"))
}

#[cfg(test)]
mod tests {
    use crate::object::Found;
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

    #[test]
    fn custom_resources_name_images_elsewhere_too() {
        for (spec, expected) in [
            ("{steps: [{name: build, image: 'b:1'}], sidecars: [{image: 'registry.io/s:1'}]}", &["- registry.io/s:1", "build b:1"][..]),
            ("{templates: [{name: t, script: {image: 'python:3', source: x}}]}", &["t python:3"]),
            ("{volumes: [{name: disk, containerDisk: {image: 'quay.io/d:1'}}]}", &["disk quay.io/d:1"]),
            ("{image: 'a:1', initImage: 'reg.io/i:1', imageName: 'ghcr.io/p:17'}", &["- a:1", "- ghcr.io/p:17", "- reg.io/i:1"]),
            // These say something else, or are no references.
            ("{osImage: ubuntu-22, baseImage: 'Ubuntu 22.04 LTS', useImage: true, images: [a], imageID: 'a:1'}", &[]),
            ("{image: {repository: r.io/a, tag: 1}}", &[]),
            ("{image: {reference: 'r.io/v:1'}}", &["- r.io/v:1"]),
            // What is in the lists of a pod's spec counts once, and as what it is there.
            ("{initContainers: [{name: i, image: 'i:1'}], volumes: [{name: v, image: {reference: 'v:1'}}]}", &["i i:1", "v v:1"]),
            ("{containers: [{name: c, image: 'c:1', debugImage: 'r.io/d:1'}]}", &["c c:1", "c r.io/d:1"]),
        ] {
            let text = format!("apiVersion: x.io/v1\nkind: Fleet\nmetadata: {{name: f}}\nspec: {spec}\n");
            let mut found: Vec<String> = mentions(&text)
                .iter()
                .map(|line| {
                    let words: Vec<&str> = line.split(' ').collect();
                    assert_eq!(
                        words[3],
                        if words[4].starts_with("v:") || words[4].contains("/v:") {
                            "imageVolume"
                        } else if words[2] == "i" {
                            "initContainer"
                        } else {
                            "container"
                        },
                        "{line}"
                    );
                    format!("{} {}", words[2], words[4])
                })
                .collect();
            found.sort();
            assert_eq!(found, expected, "{spec}");
            let own = text.replace("x.io/v1", "v1");
            assert!(spec.contains("ontainers") || mentions(&own).is_empty(), "{own}");
        }
    }

    #[test]
    fn what_is_no_image_in_a_custom_resource_is_a_doubt() {
        let of = |spec: &str| Found::in_text(&format!("apiVersion: x.io/v1\nkind: Fleet\nmetadata: {{name: f}}\nspec: {spec}\n"));
        for (spec, in_container, expected) in [
            ("{containers: [{name: c, image: '!*:latest'}]}", true, "Fleet f, container c: "),
            ("{steps: [{name: s, image: $(params.image)}]}", false, "Fleet f, image of s: "),
            ("{image: Ubuntu 22.04 LTS}", false, "Fleet f, image: "),
            ("{initImage: '{{ image }}'}", false, "Fleet f, initImage: "),
        ] {
            let found = of(spec);
            assert_eq!((found.faults, found.objects.iter().map(|object| object.mentions.len()).sum::<usize>()), (vec![], 0), "{spec}");
            assert!(
                matches!(found.doubts.as_slice(), [doubt] if doubt.in_container == in_container && doubt.fault.cause.starts_with(expected)),
                "{spec}: {:?}",
                found.doubts
            );
        }
        assert_eq!(of("{osImage: Ubuntu 22.04 LTS, image: ''}").doubts, []);
    }

    #[test]
    fn the_places_of_well_known_custom_resources() {
        for (version, kind, spec, expected) in [
            (
                "argoproj.io/v1alpha1",
                "WorkflowTemplate",
                "{templates: [{name: a, container: {image: a:1}}, {name: b, script: {image: b:1, source: x}, sidecars: [{name: s, image: s:1}]},
                {name: c, containerSet: {containers: [{name: d, image: d:1}]}, initContainers: [{name: i, image: i:1}]}]}",
                &["a a:1", "b b:1", "d d:1", "i i:1", "s s:1"][..],
            ),
            (
                "tekton.dev/v1",
                "Task",
                "{stepTemplate: {image: t:1}, steps: [{name: build, image: b:1}, {image: c:1}], sidecars: [{name: s, image: s:1}]}",
                &["- c:1", "- t:1", "build b:1", "s s:1"],
            ),
            (
                "kubevirt.io/v1",
                "VirtualMachine",
                "{template: {spec: {volumes: [{name: root, containerDisk: {image: 'r.io/disk:1'}}, {name: boot, cloudInitNoCloud: {}},
                {name: own, image: 'r.io/own:1'}], domain: {firmware: {kernelBoot: {container: {image: 'r.io/kernel:1'}}}}}}}",
                &["- r.io/kernel:1", "own r.io/own:1", "root r.io/disk:1"],
            ),
            ("monitoring.coreos.com/v1", "Prometheus", "{image: 'r.io/prometheus:3', containers: [{name: p}]}", &["- r.io/prometheus:3"]),
            ("kafka.strimzi.io/v1", "Kafka", "{kafka: {image: 'r.io/kafka:4'}}", &["- r.io/kafka:4"]),
            ("postgresql.cnpg.io/v1", "Cluster", "{imageName: 'r.io/postgres:17'}", &["- r.io/postgres:17"]),
            ("acid.zalan.do/v1", "postgresql", "{dockerImage: 'r.io/spilo:17'}", &["- r.io/spilo:17"]),
            // What people call things, and what Kubernetes itself calls an image.
            ("x.io/v1", "Fleet", "{template: {metadata: {labels: {image: web}}}, selector: {image: a}, nodeSelector: {image: b}}", &[]),
            ("v1", "PersistentVolume", "{rbd: {image: disk}}", &[]),
            ("storage.k8s.io/v1", "VolumeAttachment", "{source: {inlineVolumeSpec: {rbd: {image: disk}}}}", &[]),
        ] {
            let text = format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: x, labels: {{image: label}}}}\nspec: {spec}\n");
            let Found { objects, faults, doubts, .. } = Found::in_text(&text);
            let mentions = objects.iter().flat_map(|object| &object.mentions);
            let mut named: Vec<_> =
                mentions.map(|mention| format!("{} {}", mention.container.as_deref().unwrap_or("-"), mention.image)).collect();
            named.sort();
            assert_eq!((named, faults, doubts), (expected.iter().map(ToString::to_string).collect(), vec![], vec![]), "{kind}");
        }
    }

    #[test]
    fn a_parameter_in_a_list_of_containers_is_likely_only_where_there_are_parameters() {
        let spec = "{containers: [{name: a, image: '{{inputs.parameters.image}}'}], initContainers: [{image: $(params.image)}]}";
        for (version, kind, expected) in [
            ("argoproj.io/v1alpha1", "CronWorkflow", false),
            ("argoproj.io/v1alpha1", "Sensor", false),
            ("argoproj.io/v1alpha1", "Rollout", true),
            ("tekton.dev/v1", "Task", false),
            ("triggers.tekton.dev/v1beta1", "TriggerTemplate", false),
            ("shipwright.io/v1beta1", "BuildStrategy", false),
            ("apps.kruise.io/v1alpha1", "CloneSet", true),
        ] {
            let found = Found::in_text(&format!("apiVersion: {version}\nkind: {kind}\nspec: {spec}\n"));
            let in_container: Vec<bool> = found.doubts.iter().map(|doubt| doubt.in_container).collect();
            assert_eq!((in_container, found.faults), (vec![expected; 2], vec![]), "{kind}");
        }
    }
}
