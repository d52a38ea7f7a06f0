use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Verdict;
use crate::digest::Digest;

/// One manifest in one repository: the record of a listing, and, with a `verdict`, of a plan.
///
/// - `tags`: every tag of the repository that points at it, sorted; empty for what only a reference leads to.
/// - `mediaType`: as the registry served it. `artifactType`: the manifest's own, else its config's media type unless that is an
///   image config, else, for an index of blobs, the cache config's.
/// - `size`: bytes of the manifest. `imageSize`: bytes of the distinct blobs that it and its children name.
/// - `created`: null where it is unknown; `createdSource` says where it comes from (`config`, `annotation`, `children`), or why
///   it is unknown. `pushed`: when it came into the repository, where a listing can know that (a storage tree does, the API does not).
/// - `platform`: `os/architecture[/variant]`; `unknown/unknown` marks an attestation; null for an index.
/// - `config`: digest of the config blob. `children`: manifests that an index names. `parents`: indexes of this repository that name this manifest.
///   `subjects`: the OCI `subject`, and what a referrer tag names. `missing`: those of `children` and `subjects` that the registry does not have.
/// - `blobs`: config and layers; empty for an index of manifests.
///
/// ```json
/// {"type":"manifest","registry":"localhost:5000","repository":"team/app","digest":"sha256:4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865",
///  "tags":["1.2","latest"],"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":null,"size":1609,"imageSize":31457280,
///  "created":"2026-11-01T08:00:00Z","createdSource":"config","pushed":null,"platform":"linux/amd64",
///  "config":"sha256:53c234e5e8472b6ac51c1ae1cab3fe06fad053beb8ebfd8977b010655bfdd3c3","children":[],
///  "parents":["sha256:1121cfccd5913f0a63fec40a6ffd44ea64f9dc135c66634ba001d10bcf4302a2"],"subjects":[],"missing":[],
///  "blobs":[{"digest":"sha256:7de1555df0c2700329e815b93b32c571c3ea54dc967b89e81ab73b9972b72d1d","size":123}],"labels":{},"annotations":{}}
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "manifest", rename_all = "camelCase")]
pub struct Manifest {
    /// The registry's host as it was asked for.
    pub registry: String,
    /// The repository.
    pub repository: String,
    /// The manifest's digest.
    pub digest: Digest,
    /// Its tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Its media type.
    #[serde(default)]
    pub media_type: Option<String>,
    /// What it is, if it is no container image.
    #[serde(default)]
    pub artifact_type: Option<String>,
    /// Bytes of the manifest.
    #[serde(default)]
    pub size: u64,
    /// Bytes of the distinct blobs that it and its children name.
    #[serde(default)]
    pub image_size: Option<u64>,
    /// When it was built.
    #[serde(default)]
    pub created: Option<DateTime<Utc>>,
    /// Where `created` comes from, or why it is unknown.
    #[serde(default)]
    pub created_source: Option<String>,
    /// When it came into the repository.
    #[serde(default)]
    pub pushed: Option<DateTime<Utc>>,
    /// What it runs on.
    #[serde(default)]
    pub platform: Option<String>,
    /// Its config blob.
    #[serde(default)]
    pub config: Option<Digest>,
    /// The manifests that it names, as an index does.
    #[serde(default)]
    pub children: Vec<Digest>,
    /// The indexes that name it.
    #[serde(default)]
    pub parents: Vec<Digest>,
    /// The manifests that it is about.
    #[serde(default)]
    pub subjects: Vec<Digest>,
    /// Those of its children and subjects that are not there.
    #[serde(default)]
    pub missing: Vec<Digest>,
    /// Its blobs.
    #[serde(default)]
    pub blobs: Vec<Blob>,
    /// The image config's labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The manifest's annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// In a plan: what is to happen to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

/// A blob that a manifest names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
}
