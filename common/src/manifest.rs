//! What the bytes of a manifest say: a lenient parser, one pass, by field and not by media type.
//!
//! Registries hold what thirty years of tools have pushed: Docker's schema 2 and manifest lists, OCI manifests and indexes,
//! indexes in indexes, schema 1, artifacts, indexes whose entries are blobs (BuildKit's caches), attestations. Their media
//! types lie often enough, and body and header may disagree; their fields do not (image-spec, manifest.md and image-index.md;
//! Distribution's manifest-v2-1 and -2). So whatever names a manifest or a blob is taken where it stands, even in a document that is
//! index and image at once: what a reader does not see would look abandoned, and be deleted.
//!
//! For the same reason a wrong type is forgiven only where nothing is lost by it but a date, a size or a word. A descriptor
//! without a digest, or a list that is none, is an error. Pure: no input, no output, no clock.

mod config;
mod created;
mod descriptor;
mod lenient;
mod references;
mod refusal;
mod schema;

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::digest::Digest;
use crate::record::Blob;
pub use config::ImageConfig;
pub use created::{Created, EARLIEST};
pub use descriptor::Child;
use descriptor::Descriptor;
pub use references::References;
pub use refusal::refusal;
pub use schema::violations;

/// Docker's image manifest, version 2, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// The OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The artifact manifest that the image spec had for a while.
pub const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
/// Docker's schema 1 without signatures.
pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
/// Docker's schema 1 with signatures.
pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// The annotation that says when an image was made (image-spec, annotations.md).
const CREATED: &str = "org.opencontainers.image.created";

/// What kind of manifest it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A container image: its config is an image config. Schema 1 is one too.
    Image,
    /// Anything else with a config or blobs.
    Artifact,
    /// An index of manifests.
    Index,
    /// An index all of whose entries are blobs, as BuildKit writes its caches.
    BuildCache,
    /// A JSON object that names nothing.
    Unknown,
}

/// What a manifest says.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// What kind it is.
    pub kind: Kind,
    /// The body's own media type, else the one it was served with, else what its fields look like.
    pub media_type: Option<String>,
    /// The manifest's own, else its config's media type unless that is an image config, else, for an index of blobs, the cache
    /// config's.
    pub artifact_type: Option<String>,
    /// The config blob.
    pub config: Option<Digest>,
    /// Config and layers, each once, in the order in which they stand.
    pub blobs: Vec<Blob>,
    /// Of the blobs, those that lie elsewhere: a registry need not have them.
    pub elsewhere: Vec<Digest>,
    /// The manifests that it names, as an index does; each once.
    pub children: Vec<Child>,
    /// The manifest that it is about.
    pub subject: Option<Digest>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Whether [`Self::config`] is an image config, so that it is worth reading.
    pub has_image_config: bool,
    /// The image config that schema 1 has within.
    pub embedded_config: Option<ImageConfig>,
    /// When the newest layer of a build cache was made.
    cache_created: Option<String>,
}

/// Why bytes are no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It is JSON, or almost, but not an object.
    #[error("is no JSON object: {0}")]
    NotAnObject(String),
    /// Something in it that must not be lost cannot be read.
    #[error("is no manifest: {0}")]
    Field(String),
}

/// The fields that any kind of manifest may have.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw<'a> {
    #[serde(default, borrow, deserialize_with = "lenient::text")]
    media_type: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "lenient::text")]
    artifact_type: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, borrow)]
    config: Option<Descriptor<'a>>,
    #[serde(default, borrow)]
    layers: Option<Vec<Descriptor<'a>>>,
    /// Of the artifact manifest that the image spec had for a while.
    #[serde(default, borrow)]
    blobs: Option<Vec<Descriptor<'a>>>,
    #[serde(default, borrow)]
    manifests: Option<Vec<Descriptor<'a>>>,
    #[serde(default, borrow)]
    subject: Option<Descriptor<'a>>,
    #[serde(default, deserialize_with = "lenient::texts")]
    annotations: BTreeMap<String, String>,
    /// Of schema 1, as are those that follow.
    #[serde(default)]
    fs_layers: Option<Vec<FsLayer>>,
    #[serde(default, borrow)]
    history: Option<&'a RawValue>,
    #[serde(default, borrow)]
    signatures: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "lenient::text")]
    architecture: Option<std::borrow::Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FsLayer {
    blob_sum: Digest,
}

impl Manifest {
    /// Reads a manifest that was served with the media type `content_type`, parameters and all.
    ///
    /// # Errors
    /// Bytes that are no JSON object, and an object in which a child, a subject or a blob is named so that it cannot be read.
    pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, Invalid> {
        // A registry stores bytes. An annotation that is not UTF-8 costs its letters, not the manifest.
        let text = String::from_utf8_lossy(bytes);
        let raw: Raw<'_> = serde_json::from_str(object(&text)?).map_err(invalid)?;
        Ok(Self::from_raw(raw, content_type))
    }

    fn from_raw(raw: Raw<'_>, content_type: Option<&str>) -> Self {
        let media_type = media_type(&raw, content_type);
        let (children, blobs_of_index): (Vec<_>, Vec<_>) =
            raw.manifests.iter().flatten().partition(|descriptor| descriptor.may_be_manifest());
        let own_config = raw.config.as_ref();
        let cache_config = blobs_of_index.iter().copied().find(|descriptor| descriptor.is_cache_config());
        let layers = raw.layers.iter().chain(&raw.blobs).flatten();
        let cache_created = layers.clone().chain(blobs_of_index.iter().copied()).filter_map(Descriptor::cache_created).max();

        let has_image_config = own_config.is_some_and(Descriptor::is_image_config);
        let embedded_config = raw.fs_layers.is_some().then(|| config::of_schema1(raw.history, raw.architecture.as_deref()));
        let kind = match (&raw.manifests, own_config) {
            (Some(entries), _) if !entries.is_empty() && children.is_empty() => Kind::BuildCache,
            (Some(_), _) => Kind::Index,
            _ if has_image_config || raw.fs_layers.is_some() => Kind::Image,
            (None, Some(_)) => Kind::Artifact,
            _ if raw.layers.is_some() || raw.blobs.is_some() => Kind::Artifact,
            _ if matches!(media_type.as_deref(), Some(OCI_INDEX | DOCKER_LIST)) => Kind::Index,
            _ => Kind::Unknown,
        };
        let artifact_type = match (raw.artifact_type.as_deref(), own_config, cache_config) {
            (Some(own), _, _) if !own.is_empty() => Some(own.to_owned()),
            (_, Some(config), _) if !has_image_config => config.media_type.as_deref().map(str::to_owned),
            (_, None, Some(config)) => config.media_type.as_deref().map(str::to_owned),
            _ => None,
        };
        let schema1 = raw.fs_layers.iter().flatten().map(|layer| Blob { digest: layer.blob_sum.clone(), size: 0 });
        let elsewhere: Vec<_> = layers.clone().filter(|layer| layer.is_elsewhere()).map(|layer| layer.digest.clone()).collect();
        let named = own_config.into_iter().chain(layers).chain(blobs_of_index.iter().copied()).map(Descriptor::blob).chain(schema1);
        Self {
            kind,
            media_type,
            artifact_type,
            config: own_config.or(cache_config).map(|descriptor| descriptor.digest.clone()),
            blobs: each_once(named.collect(), |blob| &blob.digest),
            elsewhere: each_once(elsewhere, |digest| digest),
            children: each_once(children.into_iter().map(Descriptor::child).collect(), |child| &child.digest),
            subject: raw.subject.map(|subject| subject.digest),
            annotations: raw.annotations,
            has_image_config,
            embedded_config,
            cache_created,
        }
    }

    /// When it was made, by its annotation, else its config, else the newest layer of a build cache. `config` is what was read of its
    /// config, or why it could not be; it is not looked at where the manifest has no image config.
    #[must_use]
    pub fn created(&self, config: Result<&ImageConfig, &str>, now: chrono::DateTime<chrono::Utc>) -> Created {
        let annotation = self.annotations.get(CREATED).map(|text| (created::ANNOTATION, Ok(text.as_str())));
        let config = match (&self.embedded_config, self.has_image_config) {
            (Some(embedded), _) => Some((created::CONFIG, embedded.created.as_deref().ok_or("no date"))),
            (None, true) => Some((created::CONFIG, config.and_then(|config| config.created.as_deref().ok_or("no date")))),
            (None, false) => None,
        };
        let cache = self.cache_created.as_deref().map(|text| (created::ANNOTATION, Ok(text)));
        Created::first([annotation, config, cache].into_iter().flatten(), now)
    }

    /// When an index was made: as its newest child that is a real platform; where none is there, by its own annotation. Where the age
    /// of one of them is not known, neither is that of the index: that one may be the newest.
    ///
    /// `children` are the dates of those of its children that are there, or why one has none; attestations among them are to be left
    /// out.
    #[must_use]
    pub fn created_of_index<'a>(
        &self,
        children: impl IntoIterator<Item = Result<chrono::DateTime<chrono::Utc>, &'a str>>,
        now: chrono::DateTime<chrono::Utc>,
    ) -> Created {
        match children.into_iter().collect::<Result<Vec<_>, _>>().map(|dates| dates.into_iter().max()) {
            Ok(Some(newest)) => Created { time: Some(newest), source: created::CHILDREN.to_owned() },
            Ok(None) => {
                let annotation = self.annotations.get(CREATED).map(|text| (created::ANNOTATION, Ok(text.as_str())));
                let children = (created::CHILDREN, Err("no child that is a platform is there"));
                Created::first([Some(children), annotation].into_iter().flatten(), now)
            }
            Err(reason) => Created::first([(created::CHILDREN, Err(reason))], now),
        }
    }
}

/// The text of what begins as a JSON object does.
fn object(text: &str) -> Result<&str, Invalid> {
    if text.trim_start().starts_with('{') {
        return Ok(text);
    }
    let start: String = text.chars().take(40).map(|c| if c.is_control() { ' ' } else { c }).collect();
    Err(Invalid::NotAnObject(if text.is_empty() { "it is empty".to_owned() } else { format!("it begins with {start:?}") }))
}

/// What the JSON parser says, as what it means for the manifest.
fn invalid(error: serde_json::Error) -> Invalid {
    match error.classify() {
        serde_json::error::Category::Data => Invalid::Field(error.to_string()),
        _ => Invalid::NotAnObject(error.to_string()),
    }
}

/// The body's own media type, else the header's if it names a kind of manifest (some servers say `application/json` of
/// everything), else what the fields look like, else the header's after all.
fn media_type(raw: &Raw<'_>, content_type: Option<&str>) -> Option<String> {
    let served = content_type.map(|value| value.split(';').next().unwrap_or_default().trim()).filter(|value| !value.is_empty());
    let looks_like = match raw {
        Raw { manifests: Some(_), .. } => Some(OCI_INDEX),
        Raw { fs_layers: Some(_), signatures: Some(_), .. } => Some(DOCKER_SCHEMA1_SIGNED),
        Raw { fs_layers: Some(_), .. } => Some(DOCKER_SCHEMA1),
        Raw { config: Some(_), .. } | Raw { layers: Some(_), .. } => Some(OCI_MANIFEST),
        _ => None,
    };
    let own = raw.media_type.as_deref().filter(|own| !own.is_empty());
    let known = served.filter(|served| descriptor::is_manifest_type(served));
    own.or(known).or(looks_like).or(served).map(str::to_owned)
}

/// Leaves out what was named before, and keeps the order.
fn each_once<T>(mut items: Vec<T>, digest: impl Fn(&T) -> &Digest) -> Vec<T> {
    let mut seen = HashSet::with_capacity(items.len());
    items.retain(|item| seen.insert(digest(item).clone()));
    items.shrink_to_fit();
    items
}

#[cfg(test)]
mod tests;
