//! Items of lists into objects, from protobuf and from JSON.
//!
//! Owns what stands where in the messages. What an image, a status, an owner and a role are is [`crate::object`]'s, for both ways and
//! for manifests alike: an object must not mean something else because it came in another form. Pure.

use common::record::Field;
use prost::Message as _;

use super::kinds::{BuiltIn, Message};
use super::message::{
    Container, ContainerStatus, ControllerRevision, CronJob, DaemonSet, Job, Node, NodeMeta, ObjectMeta, OwnerReference, Pod, PodSpec,
    PodStatus, PodTemplate, PodTemplateSpec, Replicated,
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
    for (states, field) in [
        (status.container_statuses, Field::Container),
        (status.init_container_statuses, Field::InitContainer),
        (status.ephemeral_container_statuses, Field::EphemeralContainer),
    ] {
        for ContainerStatus { name, image, image_id } in states {
            let (image, image_id) = (text(image), text(image_id));
            let [image, image_id] = [&image, &image_id].map(|told| told.as_deref().map(|told| written(Some(told))));
            mentions.add_status(text(name), image, image_id, field);
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
