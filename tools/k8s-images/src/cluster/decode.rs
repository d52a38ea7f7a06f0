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
pub(super) fn object(of: &BuiltIn, item: &Item<'_>, found: &mut Found) -> Result<(), String> {
    match (item, of.message) {
        (Item::Protobuf(bytes), message) => protobuf(of, message, bytes, found).map_err(|error| error.to_string()),
        (Item::Json(text), Message::Node) => {
            let node: Node = serde_json::from_str(text).map_err(|error| error.to_string())?;
            images_of_node(of, node, found);
            Ok(())
        }
        (Item::Json(text), _) => json(of, text, found),
    }
}

fn json(of: &BuiltIn, text: &str, found: &mut Found) -> Result<(), String> {
    let item = document::json(text).map_err(|fault| fault.cause)?;
    let list = Identity { kind: Some(format!("{}List", of.resource.kind)), group: of.resource.group.to_string(), ..Identity::default() };
    found.add_item(&item, &list);
    Ok(())
}

fn protobuf(of: &BuiltIn, message: Message, bytes: &[u8], found: &mut Found) -> Result<(), prost::DecodeError> {
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
        Message::ControllerRevision => {
            revision(of, ControllerRevision::decode(bytes)?, found);
            return Ok(());
        }
        Message::Node => {
            images_of_node(of, Node::decode(bytes)?, found);
            return Ok(());
        }
    };
    let (identity, owner) = identity(of, metadata);
    let mut mentions = found.mentions(&identity);
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
    found.add_mentions(owner, identity, role, mentions);
    Ok(())
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
fn revision(of: &BuiltIn, revision: ControllerRevision, found: &mut Found) {
    let (identity, owner) = identity(of, revision.metadata);
    let mut mentions = found.mentions(&identity);
    if let Some(raw) = revision.data.and_then(|data| data.raw).filter(|raw| !raw.is_empty()) {
        let data = str::from_utf8(&raw).map_err(|error| error.to_string());
        match data.and_then(|data| document::json(data).map_err(|fault| fault.cause)) {
            Ok(node) => mentions.descend(&node),
            Err(cause) => mentions.fault_at(None, format!(": its data {cause}")),
        }
    }
    found.add_mentions(owner, identity, Role::of(&of.resource.kind, || false), mentions);
}

/// The images that a node holds, under each of their names. Those that lost their names have `<none>` there (dockershim, and
/// cri-dockerd after it).
fn images_of_node(of: &BuiltIn, node: Node, found: &mut Found) {
    let metadata = node.metadata.map(|NodeMeta { name }| ObjectMeta { name, ..ObjectMeta::default() });
    let (identity, _) = identity(of, metadata);
    let mut mentions = found.mentions(&identity);
    let images = node.status.map(|status| status.images).unwrap_or_default();
    for name in images.iter().flat_map(|image| &image.names).filter(|name| !name.contains("<none>")) {
        mentions.add_written(None, written(Some(name)), Field::Node);
    }
    found.add_mentions(None, identity, Role::Template, mentions);
}

#[cfg(test)]
mod tests {
    use super::super::kinds::BUILT_IN;
    use super::super::message::{
        CronJobSpec, DaemonSetSpec, EphemeralContainer, ImageVolumeSource, ImageVolumeStatus, JobSpec, JobTemplateSpec, RawExtension,
        ReplicaSetStatus, ReplicatedSpec, Volume, VolumeSource, VolumeStatus,
    };
    use super::*;
    use crate::object::Object;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn kind(plural: &str) -> BuiltIn {
        BUILT_IN.into_iter().find(|kind| kind.resource.plural == plural).unwrap()
    }

    /// The object that a message and a text both mean, and what is wrong with it.
    #[track_caller]
    fn both(plural: &str, message: &impl prost::Message, json: &str) -> (Object, Vec<String>) {
        let bytes = message.encode_to_vec();
        let [one, other] = [Item::Protobuf(&bytes), Item::Json(json)].map(|item| {
            let mut found = Found::default();
            object(&kind(plural), &item, &mut found).unwrap();
            assert_eq!((found.objects.len(), found.lists, found.strangers), (1, 0, 0), "{json}");
            // Where in a text something is wrong is known of texts alone.
            (found.objects.remove(0), found.faults.into_iter().map(|fault| fault.cause).collect())
        });
        assert_eq!(one, other, "{json}");
        one
    }

    /// `container field image` of each mention, with the beginnings of the digests that run and of their configs.
    fn shown(object: &Object) -> Vec<String> {
        let short = |digest: &Option<common::digest::Digest>| digest.as_ref().map_or("-".to_owned(), |digest| digest.hex()[..4].to_owned());
        let mentions = object.mentions.iter();
        mentions
            .map(|mention| {
                let (container, field) = (mention.container.as_deref().unwrap_or("-"), mention.field.unwrap());
                format!("{container} {field:?} {} {} {}", mention.image, short(&mention.running), short(&mention.config))
            })
            .collect()
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn container(name: &str, image: &str) -> Container {
        Container { name: some(name), image: some(image) }
    }

    fn template(containers: Vec<Container>) -> Option<PodTemplateSpec> {
        Some(PodTemplateSpec { spec: Some(PodSpec { containers, ..PodSpec::default() }) })
    }

    #[test]
    fn every_kind_means_the_same_in_both_forms() {
        let metadata = || Some(ObjectMeta { name: some("web"), namespace: some("shop"), ..ObjectMeta::default() });
        let app = || template(vec![container("app", "r.io/app:1")]);
        let replicated =
            || Replicated { metadata: metadata(), spec: Some(ReplicatedSpec { replicas: Some(1), template: app() }), status: None };
        let job = || Some(JobSpec { template: app() });
        let data = r#"{"spec":{"template":{"$patch":"replace","spec":{"containers":[{"name":"app","image":"r.io/app:1"}]}}}}"#;
        let revision = ControllerRevision { metadata: metadata(), data: Some(RawExtension { raw: Some(data.as_bytes().to_vec()) }) };
        let json = r#""spec":{"containers":[{"name":"app","image":"r.io/app:1"}]}"#;
        let object = |body: &str| format!(r#"{{"metadata":{{"name":"web","namespace":"shop"}},{body}}}"#);
        let nested = object(&format!(r#""spec":{{"replicas":1,"template":{{{json}}}}}"#));
        let read = [
            both("pods", &Pod { metadata: metadata(), spec: app().unwrap().spec, status: None }, &object(json)),
            both("replicasets", &replicated(), &nested),
            both("deployments", &replicated(), &nested),
            both("statefulsets", &replicated(), &nested),
            both("replicationcontrollers", &replicated(), &nested),
            both("daemonsets", &DaemonSet { metadata: metadata(), spec: Some(DaemonSetSpec { template: app() }) }, &nested),
            both("controllerrevisions", &revision, &object(&format!(r#""data":{data},"revision":1"#))),
            both("jobs", &Job { metadata: metadata(), spec: job() }, &nested),
            both(
                "cronjobs",
                &CronJob { metadata: metadata(), spec: Some(CronJobSpec { job_template: Some(JobTemplateSpec { spec: job() }) }) },
                &object(&format!(r#""spec":{{"jobTemplate":{{"spec":{{"template":{{{json}}}}}}}}}"#)),
            ),
            both("podtemplates", &PodTemplate { metadata: metadata(), template: app() }, &object(&format!(r#""template":{{{json}}}"#))),
        ];
        assert_eq!(read.len(), BUILT_IN.len());
        for (object, faults) in &read {
            assert_eq!((shown(object), faults.len()), (vec!["app Container r.io/app:1 - -".to_owned()], 0), "{object:?}");
            assert_eq!((object.identity.name.as_deref(), object.identity.namespace.as_deref()), (Some("web"), Some("shop")));
        }
    }

    #[test]
    fn everything_in_a_pod_means_the_same_in_both_forms() {
        let reference = |kind: &str, name: &str, version: &str, controller| OwnerReference {
            kind: some(kind),
            name: some(name),
            api_version: some(version),
            controller,
        };
        let status = |name: &str, image: &str, image_id: &str| ContainerStatus {
            name: some(name),
            image: some(image),
            image_id: some(image_id),
            ..ContainerStatus::default()
        };
        let mount = VolumeMountStatus {
            name: some("v"),
            volume_status: Some(VolumeStatus { image: Some(ImageVolumeStatus { image_ref: Some(format!("r.io/v@{DIGEST}")) }) }),
        };
        let volume = |name: &str, image: Option<&str>| Volume {
            name: some(name),
            source: Some(VolumeSource { image: image.map(|image| ImageVolumeSource { reference: some(image) }) }),
        };
        let pod = Pod {
            metadata: Some(ObjectMeta {
                name: some(""),
                generate_name: some("web-"),
                namespace: some("shop"),
                owner_references: vec![
                    reference("ConfigMap", "c", "v1", None),
                    reference("ReplicaSet", "web", "apps/v1", Some(true)),
                    reference("Other", "o", "x.io/v1", Some(false)),
                ],
            }),
            spec: Some(PodSpec {
                volumes: vec![volume("v", Some("r.io/v:1")), volume("w", None), Volume { name: some("n"), source: None }],
                containers: vec![container("c", " r.io/c:1 "), container("d", "d")],
                init_containers: vec![container("i", "r.io/i:1")],
                ephemeral_containers: vec![EphemeralContainer { common: Some(container("e", "r.io/e:1")) }],
            }),
            status: Some(PodStatus {
                phase: some("Succeeded"),
                container_statuses: vec![
                    ContainerStatus {
                        volume_mounts: vec![mount],
                        ..status("c", "m.io/c:1", &format!("docker-pullable://m.io/c@{DIGEST}"))
                    },
                    status("d", DIGEST, ""),
                    status("gone", "r.io/g:1", &format!("docker://{DIGEST}")),
                ],
                init_container_statuses: vec![status("i", "", &format!("r.io/i@{DIGEST}"))],
                ephemeral_container_statuses: vec![status("e", "r.io/e:1", "")],
            }),
        };
        let json = r#"{"metadata": {"generateName": "web-", "namespace": "shop", "ownerReferences": [{"kind": "ConfigMap", "name": "c", "apiVersion": "v1"},
              {"kind": "ReplicaSet", "name": "web", "apiVersion": "apps/v1", "controller": true}, {"kind": "Other", "name": "o", "apiVersion": "x.io/v1", "controller": false}]},
            "spec": {"volumes": [{"name": "v", "image": {"reference": "r.io/v:1"}}, {"name": "w", "emptyDir": {}}, {"name": "n"}],
              "containers": [{"name": "c", "image": " r.io/c:1 "}, {"name": "d", "image": "d"}],
              "initContainers": [{"name": "i", "image": "r.io/i:1"}], "ephemeralContainers": [{"name": "e", "image": "r.io/e:1"}]},
            "status": {"phase": "Succeeded", "containerStatuses": [
                {"name": "c", "image": "m.io/c:1", "imageID": "docker-pullable://m.io/c@DIGEST", "volumeMounts": [{"name": "v", "volumeStatus": {"image": {"imageRef": "r.io/v@DIGEST"}}}]},
                {"name": "d", "image": "DIGEST", "imageID": ""}, {"name": "gone", "image": "r.io/g:1", "imageID": "docker://DIGEST"}],
              "initContainerStatuses": [{"name": "i", "image": "", "imageID": "r.io/i@DIGEST"}],
              "ephemeralContainerStatuses": [{"name": "e", "image": "r.io/e:1", "imageID": ""}]}}"#;
        let (object, faults) = both("pods", &pod, &json.replace("DIGEST", DIGEST));
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!((object.identity.name.as_deref(), object.finished, object.role), (Some("web-"), true, Role::Pod));
        let owner = object.owner.as_ref().unwrap();
        assert_eq!((owner.kind.as_deref(), owner.name.as_deref(), &*owner.group), (Some("ReplicaSet"), Some("web"), "apps"));
        assert!(shown(&object).contains(&"v ImageVolume r.io/v:1 e3b0 -".to_owned()), "{:?}", shown(&object));
        assert!(shown(&object).contains(&"gone Container r.io/g:1 - e3b0".to_owned()), "{:?}", shown(&object));
    }

    #[test]
    fn a_replica_set_without_pods_is_idle_in_both_forms() {
        for (wanted, there, role) in [
            (Some(0), Some(3), Role::Idle),
            (Some(3), Some(0), Role::Idle),
            (Some(3), Some(3), Role::Template),
            (None, None, Role::Template),
        ] {
            let containers = template(vec![container("app", "r.io/app:1")]);
            let message = Replicated {
                metadata: None,
                spec: Some(ReplicatedSpec { replicas: wanted, template: containers }),
                status: Some(ReplicaSetStatus { replicas: there }),
            };
            let number = |number: Option<i32>| number.map_or("null".to_owned(), |number| number.to_string());
            let json = format!(
                r#"{{"spec":{{"replicas":{},"template":{{"spec":{{"containers":[{{"name":"app","image":"r.io/app:1"}}]}}}}}},"status":{{"replicas":{}}}}}"#,
                number(wanted),
                number(there)
            );
            assert_eq!(both("replicasets", &message, &json).0.role, role, "{json}");
            assert_eq!(both("statefulsets", &message, &json).0.role, Role::Template, "{json}");
        }
    }

    #[test]
    fn what_hides_an_image_is_a_fault_in_both_forms() {
        let metadata = || Some(ObjectMeta { name: some("p"), ..ObjectMeta::default() });
        let volume = |reference: Option<&str>| Volume {
            name: some("v"),
            source: Some(VolumeSource { image: Some(ImageVolumeSource { reference: reference.map(str::to_owned) }) }),
        };
        let of = |containers: Vec<Container>| PodSpec { containers, ..PodSpec::default() };
        let with_volume = |reference| Some(PodSpec { volumes: vec![volume(reference)], ..of(vec![container("c", "c")]) });
        for (spec, json, expected) in [
            (None, "null", "Pod p has no containers"),
            (Some(of(vec![])), r#"{"containers":[]}"#, "Pod p has no containers"),
            (Some(of(vec![container("c", "")])), r#"{"containers":[{"name":"c","image":""}]}"#, "Pod p, container c has no image"),
            (Some(of(vec![Container::default()])), r#"{"containers":[{}]}"#, "Pod p, container without a name has no image"),
            (
                Some(of(vec![container("c", "${I}")])),
                r#"{"containers":[{"name":"c","image":"${I}"}]}"#,
                "Pod p, container c: \"${I}\" is not",
            ),
            (
                with_volume(None),
                r#"{"containers":[{"name":"c","image":"c"}],"volumes":[{"name":"v","image":{}}]}"#,
                "Pod p, volume v has no",
            ),
            (
                with_volume(Some("?")),
                r#"{"containers":[{"name":"c","image":"c"}],"volumes":[{"name":"v","image":{"reference":"?"}}]}"#,
                "Pod p, volume v: \"?\" is not",
            ),
        ] {
            let json = format!(r#"{{"metadata":{{"name":"p"}},"spec":{json}}}"#);
            let (_, faults) = both("pods", &Pod { metadata: metadata(), spec, status: None }, &json);
            assert!(faults.len() == 1 && faults.iter().all(|fault| fault.starts_with(expected)), "{json} {faults:?}");
        }
    }

    #[test]
    fn a_revision_whose_data_cannot_be_read_is_a_fault() {
        for (data, expected) in [(&b"{"[..], "its data is not JSON"), (b"\xff", "its data "), (b"k8s\0", "its data is not JSON")] {
            let metadata = Some(ObjectMeta { name: some("db-1"), ..ObjectMeta::default() });
            let message = ControllerRevision { metadata, data: Some(RawExtension { raw: Some(data.to_vec()) }) };
            let mut found = Found::default();
            object(&kind("controllerrevisions"), &Item::Protobuf(&message.encode_to_vec()), &mut found).unwrap();
            let faults = found.faults;
            assert!(faults.len() == 1 && faults.iter().all(|fault| fault.cause.contains(expected)), "{faults:?}");
        }
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        for bytes in [&[0x0a, 5, 1][..], &[0x0a, 3, 0x0a, 1, 0xff]] {
            assert!(object(&kind("pods"), &Item::Protobuf(bytes), &mut Found::default()).is_err());
        }
        assert!(object(&kind("pods"), &Item::Json("{"), &mut Found::default()).is_err());
    }
}
