//! Items of lists into objects, from protobuf and from JSON.
//!
//! Owns what stands where in the messages. What an image, a status, an owner and a role are is [`crate::object`]'s, for both ways and
//! for manifests alike: an object must not mean something else because it came in another form. Pure.

use common::record::Field;
use prost::Message as _;

use super::kinds::{BuiltIn, Message};
use super::message::{
    Container, ContainerStatus, ControllerRevision, CronJob, DaemonSet, Job, Node, NodeMeta, ObjectMeta, OwnerReference, Pod, PodSpec,
    PodStatus, PodTemplate, PodTemplateSpec, Replicated, VolumeMountStatus,
};
use super::page::Item;
use crate::document;
use crate::object::{self, Found, Identity, Mentions, Role, Written};

/// Reads an item of a list of a kind.
///
/// # Errors
/// What cannot be read at all.
pub(super) fn object(of: &BuiltIn, item: &Item<'_>) -> Result<Found, String> {
    match (item, of.message) {
        (Item::Protobuf(bytes), message) => protobuf(of, message, bytes).map_err(|error| error.to_string()),
        (Item::Json(text), Message::Node) => {
            let node: Node = serde_json::from_str(text).map_err(|error| error.to_string())?;
            Ok(images_of_node(of, node))
        }
        (Item::Json(text), _) => json(of, text),
    }
}

fn json(of: &BuiltIn, text: &str) -> Result<Found, String> {
    let item = document::json(text).map_err(|fault| fault.cause)?;
    let list = Identity { kind: Some(format!("{}List", of.resource.kind)), group: of.resource.group.to_string(), ..Identity::default() };
    let mut found = Found::default();
    found.add_item(&item, &list);
    Ok(found)
}

fn protobuf(of: &BuiltIn, message: Message, bytes: &[u8]) -> Result<Found, prost::DecodeError> {
    let template = |template: Option<PodTemplateSpec>| template.and_then(|template| template.spec);
    let mut idle = false;
    let mut status = None;
    let (metadata, spec) = match message {
        Message::Pod => {
            let pod = Pod::decode(bytes)?;
            status = pod.status;
            (pod.metadata, pod.spec)
        }
        Message::PodTemplate => {
            let object = PodTemplate::decode(bytes)?;
            (object.metadata, template(object.template))
        }
        Message::Replicated => {
            let object = Replicated::decode(bytes)?;
            idle = object.spec.as_ref().is_some_and(|spec| spec.replicas == Some(0))
                || object.status.is_some_and(|status| status.replicas == Some(0));
            (object.metadata, template(object.spec.and_then(|spec| spec.template)))
        }
        Message::DaemonSet => {
            let object = DaemonSet::decode(bytes)?;
            (object.metadata, template(object.spec.and_then(|spec| spec.template)))
        }
        Message::Job => {
            let object = Job::decode(bytes)?;
            (object.metadata, template(object.spec.and_then(|spec| spec.template)))
        }
        Message::CronJob => {
            let object = CronJob::decode(bytes)?;
            let job = object.spec.and_then(|spec| spec.job_template).and_then(|template| template.spec);
            (object.metadata, template(job.and_then(|job| job.template)))
        }
        Message::ControllerRevision => return Ok(revision(of, ControllerRevision::decode(bytes)?)),
        Message::Node => return Ok(images_of_node(of, Node::decode(bytes)?)),
    };
    let (identity, owner) = identity(of, metadata);
    let mut mentions = Mentions::of(&identity);
    match spec {
        Some(spec) if !spec.containers.is_empty() => add_spec(&mut mentions, spec),
        Some(spec) => {
            add_spec(&mut mentions, spec);
            mentions.add_no_containers(None);
        }
        None => mentions.add_no_containers(None),
    }
    if let Some(status) = status {
        add_statuses(&mut mentions, status);
    }
    let role = Role::of(&of.resource.kind, || idle);
    let mut found = Found::default();
    found.add_mentions(owner, identity, role, mentions);
    Ok(found)
}

/// Which object it is, and whose.
fn identity(of: &BuiltIn, metadata: Option<ObjectMeta>) -> (Identity, Option<Identity>) {
    let metadata = metadata.unwrap_or_default();
    let namespace = text(metadata.namespace);
    let owner = object::controlling(&metadata.owner_references, |reference| reference.controller == Some(true)).cloned();
    let owner = owner.map(|OwnerReference { kind, name, api_version, .. }| Identity {
        namespace: namespace.clone(),
        kind: text(kind),
        name: text(name),
        group: text(api_version).map_or_else(String::new, |version| object::group(&version)),
    });
    let identity = Identity {
        namespace,
        kind: Some(of.resource.kind.to_string()),
        name: text(metadata.name).or_else(|| text(metadata.generate_name)),
        group: of.resource.group.to_string(),
    };
    (identity, owner)
}

/// A text, unless it is empty: proto2 as Kubernetes writes it has an empty text where JSON has none.
fn text(text: Option<String>) -> Option<String> {
    let text = text?;
    match text.trim() {
        "" => None,
        trimmed if trimmed.len() == text.len() => Some(text),
        trimmed => Some(trimmed.to_owned()),
    }
}

fn add_spec(mentions: &mut Mentions, spec: PodSpec) {
    let mut add = |container: Container, field| mentions.add_written(text(container.name), written(container.image.as_deref()), field);
    spec.containers.into_iter().for_each(|container| add(container, Field::Container));
    spec.init_containers.into_iter().for_each(|container| add(container, Field::InitContainer));
    for container in spec.ephemeral_containers {
        add(container.common.unwrap_or_default(), Field::EphemeralContainer);
    }
    for volume in spec.volumes {
        if let Some(image) = volume.source.and_then(|source| source.image) {
            mentions.add_written(text(volume.name), written(image.reference.as_deref()), Field::ImageVolume);
        }
    }
}

fn add_statuses(mentions: &mut Mentions, status: PodStatus) {
    mentions.add_phase(status.phase.as_deref());
    for (states, field) in [
        (status.container_statuses, Field::Container),
        (status.init_container_statuses, Field::InitContainer),
        (status.ephemeral_container_statuses, Field::EphemeralContainer),
    ] {
        for ContainerStatus { name, image, image_id, volume_mounts } in states {
            let (image, image_id) = (text(image), text(image_id));
            let [image, image_id] = [&image, &image_id].map(|told| told.as_deref().map(|told| written(Some(told))));
            mentions.add_status(text(name), image, image_id, field);
            for VolumeMountStatus { name, volume_status } in volume_mounts {
                if let Some(image_ref) = volume_status.and_then(|status| status.image).and_then(|image| text(image.image_ref)) {
                    mentions.add_status(text(name), None, Some(written(Some(&image_ref))), Field::ImageVolume);
                }
            }
        }
    }
}

fn written(text: Option<&str>) -> Written<'_> {
    Written { text: text.unwrap_or_default(), at: None }
}

/// What a rollback would start: the part of an object that its controller keeps, in JSON.
fn revision(of: &BuiltIn, revision: ControllerRevision) -> Found {
    let (identity, owner) = identity(of, revision.metadata);
    let mut mentions = Mentions::of(&identity);
    if let Some(raw) = revision.data.and_then(|data| data.raw).filter(|raw| !raw.is_empty()) {
        let data = str::from_utf8(&raw).map_err(|error| error.to_string());
        match data.and_then(|data| document::json(data).map_err(|fault| fault.cause)) {
            Ok(node) => mentions.descend(&node),
            Err(cause) => mentions.fault_at(None, format!(": its data {cause}")),
        }
    }
    let mut found = Found::default();
    found.add_mentions(owner, identity, Role::of(&of.resource.kind, || false), mentions);
    found
}

/// The images that a node holds, under each of their names. Those that lost their names have `<none>` there (dockershim, and
/// cri-dockerd after it).
fn images_of_node(of: &BuiltIn, node: Node) -> Found {
    let metadata = node.metadata.map(|NodeMeta { name }| ObjectMeta { name, ..ObjectMeta::default() });
    let (identity, _) = identity(of, metadata);
    let mut mentions = Mentions::of(&identity);
    let images = node.status.map(|status| status.images).unwrap_or_default();
    for name in images.iter().flat_map(|image| &image.names).filter(|name| !name.contains("<none>")) {
        mentions.add_written(None, written(Some(name)), Field::Node);
    }
    let mut found = Found::default();
    found.add_mentions(None, identity, Role::Template, mentions);
    found
}

#[cfg(test)]
mod tests {
    use super::super::kinds::BUILT_IN;
    use super::super::message::{ImageVolumeSource, ImageVolumeStatus, Volume, VolumeSource, VolumeStatus};
    use super::*;

    #[test]
    fn an_image_volume_has_the_digest_that_a_mount_of_it_tells() {
        let reference = "r.io/v@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let source = VolumeSource { image: Some(ImageVolumeSource { reference: Some("r.io/v:1".to_owned()) }) };
        let image = ImageVolumeStatus { image_ref: Some(reference.to_owned()) };
        let mount = VolumeMountStatus { name: Some("v".to_owned()), volume_status: Some(VolumeStatus { image: Some(image) }) };
        let container = Container { name: Some("c".to_owned()), image: Some("r.io/c:1".to_owned()) };
        let status = ContainerStatus { name: container.name.clone(), volume_mounts: vec![mount], ..ContainerStatus::default() };
        let pod = Pod {
            metadata: Some(ObjectMeta { name: Some("p".to_owned()), ..ObjectMeta::default() }),
            spec: Some(PodSpec {
                containers: vec![container],
                volumes: vec![Volume { name: Some("v".to_owned()), source: Some(source) }],
                ..PodSpec::default()
            }),
            status: Some(PodStatus { phase: Some("Succeeded".to_owned()), container_statuses: vec![status], ..PodStatus::default() }),
        };
        let json = format!(
            r#"{{"metadata": {{"name": "p"}}, "spec": {{"containers": [{{"name": "c", "image": "r.io/c:1"}}],
            "volumes": [{{"name": "v", "image": {{"reference": "r.io/v:1"}}}}]}}, "status": {{"phase": "Succeeded", "containerStatuses":
            [{{"name": "c", "volumeMounts": [{{"name": "v", "volumeStatus": {{"image": {{"imageRef": "{reference}"}}}}}}]}}]}}}}"#
        );
        let pods = BUILT_IN.into_iter().find(|kind| kind.resource.plural == "pods").unwrap();
        let bytes = pod.encode_to_vec();
        let [one, other] = [Item::Protobuf(&bytes), Item::Json(&json)].map(|item| object(&pods, &item).unwrap().objects);
        assert_eq!(one, other);
        let digests: Vec<_> = one.iter().flat_map(|pod| &pod.mentions).map(|mention| mention.running.is_some()).collect();
        assert_eq!((digests, one.first().unwrap().finished), (vec![false, true], true));
    }
}
