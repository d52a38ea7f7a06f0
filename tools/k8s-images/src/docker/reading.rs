//! What an engine's answers mean: containers and services into objects.
//!
//! Owns how a container's image is told by name and by digest, whose it is, and what is finished. Pure.
//!
//! The ID of an image is the digest of its config, or, in the store of containerd, of its manifest or index; there is one answer to
//! that for a whole engine. `RepoDigests` are names by which a registry gave or took the image.

use std::collections::BTreeSet;
use std::sync::Arc;

use common::digest::Digest;
use common::record::Field;
use common::reference::{ImageId, Reference};

use super::message::{Container, ContainerDetails, ContainerSpec, Image, Mount, Service};
use crate::object::{Identity, Mention, Object, Role, parse_image};
use crate::uses::Gathering;

/// What was made of answers so far.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Whether the IDs of images are digests of manifests.
    pub(super) names_manifests: bool,
    pub(super) gathering: Gathering,
    /// What a person should know.
    pub(super) notes: Vec<String>,
    mentions: usize,
}

/// One image, as a mention of it says.
struct Named {
    image: String,
    reference: Reference,
    running: Option<Digest>,
}

impl Reading {
    /// Whether no image was named yet.
    pub(super) fn is_empty(&self) -> bool {
        self.mentions == 0
    }

    /// Takes a container. `details` are there where the list does not say all, `image` where there is still one.
    pub(super) fn add_container(&mut self, container: &Container, details: Option<&ContainerDetails>, image: Option<&Image>) {
        let name = container.name();
        let id = digest_of_id(&container.image_id);
        let (manifest, config) = if self.names_manifests { (id, None) } else { (None, id) };
        let nothing = Image::default();
        let named = self.names(container, details, image.unwrap_or(&nothing), manifest.as_ref());
        if named.is_empty() {
            let what = if container.image_id.is_empty() {
                "no image".to_owned()
            } else {
                format!("{}, an image without a name", container.image_id)
            };
            self.notes.push(format!("container {name} runs {what}: no registry is known to hold it"));
        }
        let mention = |named: Named| {
            let Named { image, reference, running } = named;
            let reference = Arc::new(reference);
            Mention { container: None, field: Some(Field::Container), image, reference, running, config: config.clone() }
        };
        let mut mentions: Vec<Mention> = named.into_iter().map(mention).collect();
        mentions.extend(self.mounted(&format!("container {name}"), details.into_iter().flat_map(ContainerDetails::mounts)));
        let (namespace, owner) = owner(container);
        let identity = Identity { namespace, kind: Some("Container".to_owned()), name: Some(name), group: String::new() };
        let finished = container.is_finished();
        self.add(Object { identity, owner, role: Role::Pod, finished, mentions });
    }

    /// The names of the image that a container runs, each with what runs under it.
    fn names(&self, container: &Container, details: Option<&ContainerDetails>, image: &Image, manifest: Option<&Digest>) -> Vec<Named> {
        let pulled: Vec<(&str, Reference)> = image.digests().filter_map(|name| Some((name, name.parse().ok()?))).collect();
        if let Some((written, reference)) = written(container, details) {
            let same = |(_, other): &&(&str, Reference)| is_same_repository(other, &reference);
            let mut digests: BTreeSet<Option<Digest>> = match (manifest, &reference.digest) {
                (Some(manifest), _) => [Some(manifest.clone())].into(),
                (None, Some(pinned)) => [Some(pinned.clone())].into(),
                (None, None) => pulled.iter().filter(same).map(|(_, other)| other.digest.clone()).collect(),
            };
            if digests.is_empty() {
                digests.insert(None);
            }
            let is_told = digests.iter().any(Option::is_some);
            let own = digests.into_iter().map(|running| Named { image: written.clone(), reference: reference.clone(), running });
            // A name that was given on this host alone is in no registry; those under which the image came from one are.
            let others = pulled.iter().filter(|_| !is_told).map(|(name, other)| Named {
                image: (*name).to_owned(),
                reference: other.clone(),
                running: other.digest.clone(),
            });
            return own.chain(others).collect();
        }
        // Nobody said by which of its names it is meant, so it is by all.
        let tagged = image.tags().filter_map(|name| Some((name, name.parse::<Reference>().ok()?)));
        let tagged = tagged.filter(|(_, tagged)| !pulled.iter().any(|(_, other)| is_same_repository(other, tagged)));
        let named = |(image, reference): (&str, Reference)| {
            let running = reference.digest.clone().or_else(|| manifest.cloned());
            Named { image: image.to_owned(), reference, running }
        };
        pulled.iter().cloned().chain(tagged).map(named).collect()
    }

    /// Takes a service of a Swarm: what it starts, and what a rollback would.
    ///
    /// # Errors
    /// An image that is no reference, with the name of its service.
    pub(super) fn add_service(&mut self, service: &Service) -> Result<(), String> {
        let specs = [(Some(&service.spec), Role::Template), (service.previous_spec.as_ref(), Role::History)];
        for (spec, role) in specs.into_iter().filter_map(|(spec, role)| Some((spec?, role))) {
            let full = spec.name.as_deref().or(service.spec.name.as_deref()).unwrap_or_default();
            let labels = spec.labels.as_ref().or(service.spec.labels.as_ref());
            let identity = of_swarm(full, labels.and_then(|labels| labels.get(STACK)).map(String::as_str));
            let container = spec.container();
            let mut mentions: Vec<Mention> =
                container.map(|container| in_spec(container, full)).transpose()?.flatten().into_iter().collect();
            mentions.extend(
                self.mounted(&format!("service {full}"), container.into_iter().flat_map(|container| container.mounts.iter().flatten())),
            );
            self.add(Object { identity, owner: None, role, finished: false, mentions });
        }
        Ok(())
    }

    /// The images that are mounted. One that is no name is said, as that of a container is.
    fn mounted<'a>(&mut self, who: &str, mounts: impl Iterator<Item = &'a Mount>) -> Vec<Mention> {
        let mut mentions = Vec::new();
        for mount in mounts.filter(|mount| mount.is_image()) {
            let Some(image) = mount.source.as_deref() else { continue };
            match parse_image(image) {
                Ok(reference) => {
                    let (container, field, image) = (mount.target.clone(), Some(Field::ImageVolume), image.to_owned());
                    mentions.push(Mention { container, field, image, reference: Arc::new(reference), running: None, config: None });
                }
                Err(cause) => self.notes.push(format!("{who} mounts an image of which no name is known: {cause}")),
            }
        }
        mentions
    }

    fn add(&mut self, object: Object) {
        self.mentions += object.mentions.len();
        self.gathering.add(object);
    }
}

/// The labels by which Compose and Swarm know their own (docs.docker.com, "Docker object labels").
const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";
const STACK: &str = "com.docker.stack.namespace";
const SWARM_SERVICE: &str = "com.docker.swarm.service.name";

/// Whose a container is: the Compose project or the stack, and the service in it.
fn owner(container: &Container) -> (Option<String>, Option<Identity>) {
    let service = match (container.label(SERVICE), container.label(SWARM_SERVICE)) {
        (Some(service), _) => service_identity(container.label(PROJECT), service),
        (None, Some(service)) => of_swarm(service, container.label(STACK)),
        (None, None) => return (None, None),
    };
    (service.namespace.clone(), Some(service))
}

/// A service of a Swarm. One of a stack is called `STACK_SERVICE`, and `SERVICE` in its file.
fn of_swarm(full: &str, stack: Option<&str>) -> Identity {
    let own = stack.and_then(|stack| full.strip_prefix(stack)?.strip_prefix('_'));
    service_identity(stack, own.unwrap_or(full))
}

fn service_identity(namespace: Option<&str>, name: &str) -> Identity {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Identity { namespace: namespace.and_then(text), kind: text("Service"), name: text(name), group: String::new() }
}

/// The image as it was asked for. An ID is no name.
fn written(container: &Container, details: Option<&ContainerDetails>) -> Option<(String, Reference)> {
    let text = if container.has_id_for_a_name() { details?.image()? } else { &container.image };
    let hex = container.image_id.strip_prefix("sha256:").unwrap_or(&container.image_id);
    if hex.starts_with(text) {
        return None;
    }
    Some((text.trim().to_owned(), parse_image(text).ok()?))
}

/// The digest that an image's ID is.
fn digest_of_id(id: &str) -> Option<Digest> {
    match id.parse() {
        Ok(ImageId::Config(digest)) => Some(digest),
        _ => None,
    }
}

fn is_same_repository(one: &Reference, other: &Reference) -> bool {
    (&one.registry, &one.repository) == (&other.registry, &other.repository)
}

/// The image that a service's containers are made of.
fn in_spec(container: &ContainerSpec, service: &str) -> Result<Option<Mention>, String> {
    let Some(image) = container.image.as_deref().filter(|image| !image.is_empty()) else { return Ok(None) };
    let reference = Arc::new(parse_image(image).map_err(|cause| format!("service {service}: {cause}"))?);
    Ok(Some(Mention { container: None, field: Some(Field::Container), image: image.to_owned(), reference, running: None, config: None }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_image_that_is_mounted_by_its_id_is_said() {
        let id = format!("sha256:{}", "ab".repeat(32));
        let container: Container = serde_json::from_value(json!({
            "Id": "1", "Names": ["/web"], "Image": "r.io/app:1", "ImageID": id, "State": "running",
        }))
        .unwrap();
        let mounts = json!([
            {"Type": "image", "Source": "r.io/models:1", "Target": "/models"},
            {"Type": "image", "Source": id, "Target": "/other"},
            {"Type": "bind", "Source": "/srv", "Target": "/srv"},
        ]);
        let details: ContainerDetails =
            serde_json::from_value(json!({"Config": {"Image": "r.io/app:1"}, "HostConfig": {"Mounts": mounts}})).unwrap();
        let mut reading = Reading::default();
        reading.add_container(&container, Some(&details), None);
        let images: Vec<String> = reading.gathering.uses("host").into_iter().map(|used| used.image).collect();
        assert_eq!(images, ["r.io/app:1", "r.io/models:1"]);
        assert!(
            matches!(reading.notes.as_slice(), [one] if one.starts_with("container web mounts") && one.contains(&id)),
            "{:?}",
            reading.notes
        );
    }
}
