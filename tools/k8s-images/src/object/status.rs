//! The images that a pod runs.
//!
//! Owns what a pod's status says of them: the digests, names that its spec does not have, and whether the pod has ended. Pure.
//!
//! Rules: Kubernetes API reference, PodStatus (`phase`), ContainerStatus (`image`, `imageID`; its `lastState` names no image) and, from
//! version 1.36 on, ImageVolumeStatus (`volumeMounts[].volumeStatus.image.imageRef`, which is written as an `imageID` is). The kubelet
//! hands `image` and `imageID` on as the container runtime gives them (pkg/kubelet/kubelet_pods.go, `convertToAPIContainerStatuses`).

use std::sync::Arc;

use common::digest::Digest;
use common::record::Field;
use common::reference::{ImageId, Reference};

use super::Mention;
use super::mentions::{Mentions, Written, place_of};
use super::references::Told;
use crate::tree::Map;

/// The lists of their states in a pod's status.
const STATUSES: [(&str, Field); 3] = [
    ("containerStatuses", Field::Container),
    ("initContainerStatuses", Field::InitContainer),
    ("ephemeralContainerStatuses", Field::EphemeralContainer),
];

impl Mentions {
    /// Takes the phase of a pod: in two of them no container of it will start again (Kubernetes API reference, PodPhase).
    pub(crate) fn add_phase(&mut self, phase: Option<&str>) {
        self.finished = matches!(phase, Some("Succeeded" | "Failed"));
    }

    /// Takes what the container runtime says: the digests that run, and names that the spec does not have.
    pub(super) fn add_statuses(&mut self, pod: &Map) {
        let Some(status) = pod.map("status") else { return };
        self.add_phase(status.string("phase").as_deref());
        for (key, field) in STATUSES {
            for state in status.maps(key) {
                let written = |key: &str| state.text(key).map(Written::from);
                self.add_status(state.string("name"), written("image"), written("imageID"), field);
                for mount in state.maps("volumeMounts") {
                    let image = mount.map("volumeStatus").and_then(|status| status.map("image"));
                    if let Some(reference) = image.and_then(|image| image.text("imageRef")) {
                        self.add_status(mount.string("name"), None, Some(reference.into()), Field::ImageVolume);
                    }
                }
            }
        }
    }

    /// Takes what the container runtime says of one container, or of one image volume, of which it tells the ID alone.
    pub(crate) fn add_status(
        &mut self,
        container: Option<String>,
        image: Option<Written<'_>>,
        image_id: Option<Written<'_>>,
        field: Field,
    ) {
        let mut names: Vec<(&str, Arc<Reference>)> = Vec::new();
        let (mut running, mut config) = (None, None);
        for (written, is_id) in [(image, false), (image_id, true)] {
            let Some(written) = written else { continue };
            let text = written.text.trim();
            let bare = text.split_once("://").map_or(text, |(_, bare)| bare);
            match self.references.told(bare) {
                Ok(Told::Config(digest)) => config = Some(digest),
                Ok(Told::Name(reference)) => {
                    running = reference.digest.clone().or(running);
                    names.push((bare, reference));
                }
                Err(cause) => {
                    let cause = text.parse::<ImageId>().err().filter(|_| is_id).map_or(cause, |error| error.to_string());
                    let place = place_of(container.as_deref(), field).replacen(", ", ", status of ", 1);
                    self.fault_at(written.at, format!("{place}: {cause}"));
                }
            }
        }
        if names.is_empty() && config.is_none() {
            return;
        }
        let is_meant = |mention: &Mention| mention.field == Some(field) && mention.container == container;
        let mut further = Vec::new();
        let mut is_known = false;
        for mention in self.found.iter_mut().filter(|mention| is_meant(mention)) {
            is_known = true;
            let differs = |known: &Option<Digest>, told: &Option<Digest>| known.is_some() && known != told;
            if differs(&mention.running, &running) || differs(&mention.config, &config) {
                // Several containers have the same volume, and each says what it got. None may hide what another one got.
                further.push(Mention { running: running.clone(), config: config.clone(), ..mention.clone() });
            } else {
                mention.running.clone_from(&running);
                mention.config.clone_from(&config);
            }
        }
        if !is_known && names.is_empty() {
            let place = place_of(container.as_deref(), field).replacen(", ", ", status of ", 1);
            self.fault_at(
                image_id.or(image).and_then(|written| written.at),
                format!("{place} tells the ID of an image, and nothing its name"),
            );
        }
        for (image, reference) in names {
            let known = self.found.iter().chain(&further).filter(|mention| is_meant(mention));
            if !known.into_iter().any(|known| says(known, &reference)) {
                let (image, container) = (image.to_owned(), container.clone());
                let (running, config) = (running.clone(), config.clone());
                further.push(Mention { container, field: Some(field), image, reference, running, config });
            }
        }
        for mention in further {
            if !self.found.contains(&mention) {
                self.found.push(mention);
            }
        }
    }
}

/// Whether a mention says already all that a reference does: the same repository, its tag if it has one, its digest if it has one.
fn says(known: &Mention, reference: &Reference) -> bool {
    let Reference { registry, repository, tag, digest } = reference;
    (&known.reference.registry, &known.reference.repository) == (registry, repository)
        && (tag.is_none() || *tag == known.reference.tag)
        && (digest.is_none() || *digest == known.running || *digest == known.reference.digest)
}

#[cfg(test)]
mod tests {
    use crate::object::found::tests::{faults, mentions};

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const OTHER: &str = "aaaac44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// A pod whose container `c` was asked for as `image`, with what its status says of it.
    fn pod(image: &str, status: &str) -> String {
        format!(
            "kind: Pod\nmetadata: {{name: p}}\nspec:\n  containers: [{{name: c, image: \"{image}\"}}]\nstatus:\n  containerStatuses: [{{name: c, {status}}}]\n"
        )
    }

    fn running(image: &str, status: &str) -> Vec<String> {
        let short = |line: &String| line.replace("Pod p c container ", "").replace(HEX, "HEX").replace(OTHER, "OTHER");
        mentions(&pod(image, status)).iter().map(short).collect()
    }

    #[test]
    fn every_form_in_which_a_runtime_tells_what_runs() {
        for (id, expected) in [
            // containerd, and CRI-O where it knows from where the image came.
            (format!("r.io/team/a@sha256:{HEX}"), "r.io/team/a:1 e3b0 -"),
            // dockershim and cri-dockerd, for what was pulled, and for what was built or loaded on the node.
            (format!("docker-pullable://r.io/team/a@sha256:{HEX}"), "r.io/team/a:1 e3b0 -"),
            (format!("docker://sha256:{HEX}"), "r.io/team/a:1 - e3b0"),
            // containerd and CRI-O, for an image without a digest of a registry.
            (format!("sha256:{HEX}"), "r.io/team/a:1 - e3b0"),
            (HEX.to_owned(), "r.io/team/a:1 - e3b0"),
            (format!("cri-o://{HEX}"), "r.io/team/a:1 - e3b0"),
            (format!("containerd://sha256:{HEX}"), "r.io/team/a:1 - e3b0"),
            // Whatever a runtime of another name puts before it.
            (format!("own-runtime://r.io/team/a@sha256:{HEX}"), "r.io/team/a:1 e3b0 -"),
            (format!("own-runtime://sha256:{HEX}"), "r.io/team/a:1 - e3b0"),
            // A tag and a digest; white space around it.
            (format!("r.io/team/a:1@sha256:{HEX}"), "r.io/team/a:1 e3b0 -"),
            (format!("  r.io/team/a@sha256:{HEX} "), "r.io/team/a:1 e3b0 -"),
            // The name again, from what is no real node.
            ("r.io/team/a:1".to_owned(), "r.io/team/a:1 - -"),
            // Nothing yet: the image is being pulled, or could not be.
            (String::new(), "r.io/team/a:1 - -"),
            (" ".to_owned(), "r.io/team/a:1 - -"),
        ] {
            assert_eq!(running("r.io/team/a:1", &format!("image: 'r.io/team/a:1', imageID: '{id}'")), [expected], "{id}");
            assert_eq!(running("r.io/team/a:1", &format!("imageID: '{id}'")), [expected], "{id}, and no image");
        }
        for id in ["?", "docker://", "A B", "r.io/Team/a:1"] {
            let faults = faults(&pod("a:1", &format!("imageID: '{id}'")));
            assert!(faults.len() == 1 && faults.iter().all(|fault| fault.starts_with("6: Pod p, status of container c: ")), "{faults:?}");
        }
    }

    #[test]
    fn a_name_that_the_spec_does_not_have_is_a_mention_of_its_own() {
        let id = format!("docker.io/library/a@sha256:{HEX}");
        let pinned = format!("a@sha256:{HEX}");
        for (image, status, expected) in [
            // The same name, written otherwise.
            ("a:1", format!("image: 'docker.io/library/a:1', imageID: '{id}'"), &["a:1 e3b0 -"][..]),
            ("a", format!("image: 'docker.io/library/a:latest', imageID: '{id}'"), &["a e3b0 -"]),
            (&pinned, format!("image: 'docker.io/library/a@sha256:{HEX}', imageID: '{id}'"), &["a@sha256:HEX e3b0 -"]),
            // The ID of the config in the place of a name that was lost.
            ("a:1", format!("image: 'sha256:{HEX}', imageID: '{id}'"), &["a:1 e3b0 e3b0"]),
            ("a:1", format!("image: '{HEX}', imageID: '{HEX}'"), &["a:1 - e3b0"]),
            ("a:1", format!("image: '', imageID: '{id}'"), &["a:1 e3b0 -"]),
            ("a:1", "image: '', imageID: null".to_owned(), &["a:1 - -"]),
            // One content under two names on a node: the runtime tells one of them.
            ("a:1", format!("image: 'a:2', imageID: '{id}'"), &["a:1 e3b0 -", "a:2 e3b0 -"]),
            (&pinned, format!("image: 'a:2', imageID: '{id}'"), &["a@sha256:HEX e3b0 -", "a:2 e3b0 -"]),
            ("a:1", format!("image: 'b:1', imageID: '{id}'"), &["a:1 e3b0 -", "b:1 e3b0 -"]),
            // A mirror.
            ("a:1", format!("image: 'm.io/a:1', imageID: 'm.io/a@sha256:{HEX}'"), &["a:1 e3b0 -", "m.io/a:1 e3b0 -"]),
            (
                "a:1",
                format!("image: 'a:1', imageID: 'docker-pullable://m.io/hub/a@sha256:{HEX}'"),
                &["a:1 e3b0 -", "m.io/hub/a@sha256:HEX e3b0 -"],
            ),
            // Three names.
            ("a:1", format!("image: 'b:1', imageID: 'c@sha256:{HEX}'"), &["a:1 e3b0 -", "b:1 e3b0 -", "c@sha256:HEX e3b0 -"]),
            // Two digests of one repository: an index, and what of it runs here.
            ("a:1", format!("image: 'a@sha256:{OTHER}', imageID: '{id}'"), &["a:1 e3b0 -", "a@sha256:OTHER e3b0 -"]),
            // The image of a pod can be changed while the old one runs.
            ("a:2", format!("image: 'a:1', imageID: '{id}'"), &["a:2 e3b0 -", "a:1 e3b0 -"]),
        ] {
            assert_eq!(running(image, &status), expected, "{image} {status}");
        }
    }

    #[test]
    fn image_volumes_tell_their_digests_where_a_container_mounts_them() {
        let mount = |volume: &str, digits: &str| {
            format!("{{name: {volume}, mountPath: /m, volumeStatus: {{image: {{imageRef: 'r.io/{volume}@sha256:{digits}'}}}}}}")
        };
        let pod = |mounts: [String; 2]| {
            let [one, other] = mounts;
            let volumes = "{name: v, image: {reference: 'r.io/v:1'}}, {name: w, image: {reference: 'r.io/w:1'}}, {name: e, emptyDir: {}}";
            let text = format!(
                "kind: Pod\nmetadata: {{name: p}}\nspec:\n  containers: [{{name: v, image: c}}, {{name: d, image: c}}]\n  volumes: [{volumes}]\nstatus:
  containerStatuses:\n  - {{name: v, volumeMounts: [{{name: e, mountPath: /e}}, {one}]}}\n  - {{name: d, volumeMounts: [{other}]}}\n"
            );
            mentions(&text).iter().filter(|line| line.contains("imageVolume")).map(|line| line.replace("Pod p ", "")).collect::<Vec<_>>()
        };
        assert_eq!(pod([mount("v", HEX), mount("v", HEX)]), ["v imageVolume r.io/v:1 e3b0 -", "w imageVolume r.io/w:1 - -"]);
        assert_eq!(pod([mount("w", OTHER), mount("v", HEX)]), ["v imageVolume r.io/v:1 e3b0 -", "w imageVolume r.io/w:1 aaaa -"]);
        assert_eq!(
            pod([mount("v", HEX), mount("v", OTHER)]),
            ["v imageVolume r.io/v:1 e3b0 -", "w imageVolume r.io/w:1 - -", "v imageVolume r.io/v:1 aaaa -"]
        );
    }

    #[test]
    fn an_image_of_which_nothing_tells_the_name_is_a_fault() {
        let text = format!(
            "kind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{{name: c, image: a}}]}}\nstatus:\n  containerStatuses: [{{name: gone, imageID: 'sha256:{HEX}'}}]\n"
        );
        assert_eq!(faults(&text), ["5: Pod p, status of container gone tells the ID of an image, and nothing its name"]);
    }

    #[test]
    fn no_config_hides_another() {
        let states =
            format!("{{name: c, imageID: 'sha256:{HEX}'}}, {{name: c, imageID: 'sha256:{OTHER}'}}, {{name: c, imageID: 'a@sha256:{HEX}'}}");
        let text = format!(
            "kind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{{name: c, image: a}}]}}\nstatus: {{containerStatuses: [{states}]}}\n"
        );
        assert_eq!(mentions(&text), ["Pod p c container a - e3b0", "Pod p c container a - aaaa", "Pod p c container a e3b0 -"]);
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
}
