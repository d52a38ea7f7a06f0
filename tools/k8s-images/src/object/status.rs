//! The images that a pod runs.
//!
//! Owns what a pod's status says of them: the digests, names that its spec does not have, and whether the pod has ended. Pure.
//!
//! Rules: Kubernetes API reference, PodStatus (`phase`) and ContainerStatus (`image`, `imageID`).

use std::sync::Arc;

use common::record::Field;
use common::reference::{ImageId, Reference};

use super::Mention;
use super::mentions::{Mentions, Written, parse_image};
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
}

fn without_scheme(image_id: &str) -> &str {
    image_id.trim().split_once("://").map_or_else(|| image_id.trim(), |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use crate::object::found::tests::mentions;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

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
}
