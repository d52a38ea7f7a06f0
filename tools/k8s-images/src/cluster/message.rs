//! The protobuf messages of Kubernetes, with no more of their fields than are asked for.
//!
//! Owns the numbers of the fields. What is not named here is skipped without being looked at. What the messages mean is
//! [`super::decode`]'s.
//!
//! The numbers are those of `generated.proto` in k8s.io/api v0.35.4 (`core/v1`, `apps/v1`, `batch/v1`, `batch/v1beta1`; v0.37.0 for the
//! status of image volumes, which came with 1.36) and in k8s.io/apimachinery v0.35.4 (`pkg/apis/meta/v1`, `pkg/runtime`). A number never changes its meaning (Kubernetes API changes,
//! "Protobuf"), so they hold for every version of a cluster. All messages are written in proto2.

use prost::Message;
use serde::{Deserialize, Deserializer};

/// `runtime.Unknown`: what stands in each answer after [`MAGIC`]. That of a page is not read so, see [`super::page`].
#[derive(Clone, PartialEq, Message)]
pub(super) struct Unknown {
    #[prost(message, optional, tag = "1")]
    pub(super) type_meta: Option<TypeMeta>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(super) raw: Option<Vec<u8>>,
}

/// The four bytes with which each answer in protobuf begins.
pub(super) const MAGIC: &[u8; 4] = b"k8s\0";

#[derive(Clone, PartialEq, Message)]
pub(super) struct TypeMeta {
    #[prost(string, optional, tag = "2")]
    pub(super) kind: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListMeta {
    #[prost(string, optional, tag = "2")]
    pub(super) resource_version: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub(super) r#continue: Option<String>,
    #[prost(int64, optional, tag = "4")]
    pub(super) remaining_item_count: Option<i64>,
}

/// `meta/v1.Status`: what the server says of a request that it refuses.
#[derive(Clone, PartialEq, Message, Deserialize)]
pub(crate) struct Status {
    /// A sentence.
    #[prost(string, optional, tag = "3")]
    pub(crate) message: Option<String>,
    /// A word.
    #[prost(string, optional, tag = "4")]
    pub(crate) reason: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ObjectMeta {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(super) generate_name: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub(super) namespace: Option<String>,
    #[prost(message, repeated, tag = "13")]
    pub(super) owner_references: Vec<OwnerReference>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OwnerReference {
    #[prost(string, optional, tag = "1")]
    pub(super) kind: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub(super) name: Option<String>,
    #[prost(string, optional, tag = "5")]
    pub(super) api_version: Option<String>,
    #[prost(bool, optional, tag = "6")]
    pub(super) controller: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Pod {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    pub(super) spec: Option<PodSpec>,
    #[prost(message, optional, tag = "3")]
    pub(super) status: Option<PodStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PodSpec {
    #[prost(message, repeated, tag = "1")]
    pub(super) volumes: Vec<Volume>,
    #[prost(message, repeated, tag = "2")]
    pub(super) containers: Vec<Container>,
    #[prost(message, repeated, tag = "20")]
    pub(super) init_containers: Vec<Container>,
    #[prost(message, repeated, tag = "34")]
    pub(super) ephemeral_containers: Vec<EphemeralContainer>,
}

/// `Container`, and `EphemeralContainerCommon`, which has these two under the same numbers.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Container {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(super) image: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct EphemeralContainer {
    #[prost(message, optional, tag = "1")]
    pub(super) common: Option<Container>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Volume {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
    #[prost(message, optional, tag = "2")]
    pub(super) source: Option<VolumeSource>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct VolumeSource {
    #[prost(message, optional, tag = "30")]
    pub(super) image: Option<ImageVolumeSource>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ImageVolumeSource {
    #[prost(string, optional, tag = "1")]
    pub(super) reference: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PodStatus {
    #[prost(string, optional, tag = "1")]
    pub(super) phase: Option<String>,
    #[prost(message, repeated, tag = "8")]
    pub(super) container_statuses: Vec<ContainerStatus>,
    #[prost(message, repeated, tag = "10")]
    pub(super) init_container_statuses: Vec<ContainerStatus>,
    #[prost(message, repeated, tag = "13")]
    pub(super) ephemeral_container_statuses: Vec<ContainerStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerStatus {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
    #[prost(string, optional, tag = "6")]
    pub(super) image: Option<String>,
    #[prost(string, optional, tag = "7")]
    pub(super) image_id: Option<String>,
    #[prost(message, repeated, tag = "12")]
    pub(super) volume_mounts: Vec<VolumeMountStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct VolumeMountStatus {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
    #[prost(message, optional, tag = "5")]
    pub(super) volume_status: Option<VolumeStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct VolumeStatus {
    #[prost(message, optional, tag = "1")]
    pub(super) image: Option<ImageVolumeStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ImageVolumeStatus {
    #[prost(string, optional, tag = "1")]
    pub(super) image_ref: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PodTemplateSpec {
    #[prost(message, optional, tag = "2")]
    pub(super) spec: Option<PodSpec>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PodTemplate {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    pub(super) template: Option<PodTemplateSpec>,
}

/// Deployment, ReplicaSet, StatefulSet, ReplicationController: their specs have the replicas and the template under the same numbers.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Replicated {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    pub(super) spec: Option<ReplicatedSpec>,
    /// Read of ReplicaSets alone.
    #[prost(message, optional, tag = "3")]
    pub(super) status: Option<ReplicaSetStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ReplicatedSpec {
    #[prost(int32, optional, tag = "1")]
    pub(super) replicas: Option<i32>,
    #[prost(message, optional, tag = "3")]
    pub(super) template: Option<PodTemplateSpec>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ReplicaSetStatus {
    #[prost(int32, optional, tag = "1")]
    pub(super) replicas: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DaemonSet {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    pub(super) spec: Option<DaemonSetSpec>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DaemonSetSpec {
    #[prost(message, optional, tag = "2")]
    pub(super) template: Option<PodTemplateSpec>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Job {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    pub(super) spec: Option<JobSpec>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct JobSpec {
    #[prost(message, optional, tag = "6")]
    pub(super) template: Option<PodTemplateSpec>,
}

/// The same in `batch/v1` and in `batch/v1beta1`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct CronJob {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    pub(super) spec: Option<CronJobSpec>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CronJobSpec {
    #[prost(message, optional, tag = "5")]
    pub(super) job_template: Option<JobTemplateSpec>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct JobTemplateSpec {
    #[prost(message, optional, tag = "2")]
    pub(super) spec: Option<JobSpec>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ControllerRevision {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    pub(super) data: Option<RawExtension>,
}

/// `runtime.RawExtension`: an object within an object, in JSON.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RawExtension {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(super) raw: Option<Vec<u8>>,
}

/// Read from JSON too, because what else is read from JSON looks for pod templates, and a node holds none.
#[derive(Clone, PartialEq, Message, Deserialize)]
pub(super) struct Node {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<NodeMeta>,
    #[prost(message, optional, tag = "3")]
    pub(super) status: Option<NodeStatus>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
pub(super) struct NodeMeta {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
pub(super) struct NodeStatus {
    #[prost(message, repeated, tag = "8")]
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) images: Vec<ContainerImage>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
pub(super) struct ContainerImage {
    #[prost(string, repeated, tag = "1")]
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) names: Vec<String>,
}

/// Kubernetes writes a list without items as null where its type says nothing else (`ContainerImage.names`).
pub(super) fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
