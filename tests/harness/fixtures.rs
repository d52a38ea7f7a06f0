//! What a test puts into a registry, as sentences.
//!
//! ```no_run
//! # use tests::*;
//! # let registry = Registry::start();
//! let app = Index::new()
//!     .child("linux/amd64", Image::new().layer("base").layer("amd64").created("2026-01-01T00:00:00Z"))
//!     .child("linux/arm64", Image::new().layer("base").layer("arm64"))
//!     .tag("v1")
//!     .push(&registry, "team/app");
//! Signature::cosign(&app).push(&registry, "team/app");
//! assert_eq!(app.children.len(), 2);
//! ```
//!
//! The same sentence always makes the same bytes. Layers are named: equal names are equal layers, everywhere. Media
//! types and fields as in <https://github.com/opencontainers/image-spec> and Docker's schema 2.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::registry::Registry;

/// Media type of an OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an OCI image config.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of a Docker image manifest, version 2, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Media type of a Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Media type of a Docker image config.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Media type of an OCI layer.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The date of an image that names none.
pub const CREATED: &str = "2026-01-01T00:00:00Z";

/// Where fixtures can be put: a registry, by one of its clients, or a storage tree.
pub trait Place {
    /// Puts a layer or config and gives its digest.
    fn put_blob(&self, repository: &str, bytes: &[u8]) -> String;

    /// Puts a manifest under a tag or digest and gives its digest.
    fn put_manifest(&self, repository: &str, reference: &str, media_type: &str, bytes: &[u8]) -> String;
}

/// `sha256:…` of these bytes.
pub fn digest_of(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// What lies in the registry after a push.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// Where it lies.
    pub repository: String,
    /// The digest of its manifest.
    pub digest: String,
    /// The media type of its manifest.
    pub media_type: String,
    /// The manifest, byte for byte.
    pub bytes: Vec<u8>,
    /// The digest of its config; empty for an index.
    pub config: String,
    /// The digests of its layers.
    pub layers: Vec<String>,
    /// What it is an index of, in its order.
    pub children: Vec<Pushed>,
    /// The tags that were given to it.
    pub tags: Vec<String>,
    /// The platform that its config names, such as `linux/arm64/v8`.
    platform: String,
}

impl Pushed {
    /// `repository@digest`.
    pub fn by_digest(&self) -> String {
        format!("{}@{}", self.repository, self.digest)
    }

    /// The hexadecimal part of its digest.
    pub fn hex(&self) -> &str {
        self.digest.trim_start_matches("sha256:")
    }

    /// The manifest as JSON.
    pub fn manifest(&self) -> Value {
        serde_json::from_slice(&self.bytes).expect("a fixture writes JSON")
    }

    /// A descriptor of it.
    pub fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len()})
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Oci,
    Docker,
}

/// An image, or an artifact that looks like one.
#[derive(Clone, Debug)]
pub struct Image {
    family: Family,
    config_type: String,
    artifact_type: Option<String>,
    layers: Vec<(String, Vec<u8>)>,
    created: Option<String>,
    platform: String,
    labels: Map<String, Value>,
    annotations: Map<String, Value>,
    subject: Option<Value>,
    tags: Vec<String>,
}

impl Image {
    /// An OCI image for `linux/amd64`, made on 1 January 2026.
    #[expect(clippy::new_without_default, reason = "a sentence begins with new")]
    pub fn new() -> Self {
        Self {
            family: Family::Oci,
            config_type: OCI_CONFIG.to_owned(),
            artifact_type: None,
            layers: Vec::new(),
            created: Some(CREATED.to_owned()),
            platform: "linux/amd64".to_owned(),
            labels: Map::new(),
            annotations: Map::new(),
            subject: None,
            tags: Vec::new(),
        }
    }

    /// An image in Docker's media types.
    pub fn docker() -> Self {
        Self { family: Family::Docker, config_type: DOCKER_CONFIG.to_owned(), ..Self::new() }
    }

    /// An image whose config says nothing about its date.
    pub fn undated() -> Self {
        Self { created: None, ..Self::new() }
    }

    /// An artifact with this media type of its config, such as `application/vnd.cncf.helm.config.v1+json`; its config is no
    /// image config and bears no date.
    pub fn artifact(config_type: &str) -> Self {
        Self { config_type: config_type.to_owned(), ..Self::undated() }
    }

    /// Adds a layer; its name is its content.
    pub fn layer(self, name: &str) -> Self {
        let content = format!("layer {name}\n");
        self.blob(OCI_LAYER, content.as_bytes())
    }

    /// Adds a layer of this size.
    pub fn layer_of_size(self, name: &str, size: usize) -> Self {
        let line = format!("layer {name}\n");
        let content: Vec<u8> = line.bytes().cycle().take(size).collect();
        self.blob(OCI_LAYER, &content)
    }

    /// Adds a layer with a media type of its own.
    pub fn blob(mut self, media_type: &str, content: &[u8]) -> Self {
        self.layers.push((media_type.to_owned(), content.to_owned()));
        self
    }

    /// Sets when it was made, in its config.
    pub fn created(mut self, time: &str) -> Self {
        self.created = Some(time.to_owned());
        self
    }

    /// Sets `os/architecture[/variant]`.
    pub fn platform(mut self, platform: &str) -> Self {
        self.platform = platform.to_owned();
        self
    }

    /// Adds a label to its config.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.into());
        self
    }

    /// Adds an annotation to its manifest.
    pub fn annotation(mut self, name: &str, value: &str) -> Self {
        self.annotations.insert(name.to_owned(), value.into());
        self
    }

    /// Sets the manifest's `artifactType`.
    pub fn artifact_type(mut self, artifact_type: &str) -> Self {
        self.artifact_type = Some(artifact_type.to_owned());
        self
    }

    /// Refers to another manifest, which need not exist.
    pub fn subject(mut self, subject: &Pushed) -> Self {
        self.subject = Some(subject.descriptor());
        self
    }

    /// Adds a tag; without any it is pushed by its digest.
    pub fn tag(mut self, tag: &str) -> Self {
        self.tags.push(tag.to_owned());
        self
    }

    /// Pushes it.
    pub fn push(self, registry: &Registry, repository: &str) -> Pushed {
        self.push_by(registry.client(), repository)
    }

    /// Pushes it with another client than the registry's own, or puts it into a storage tree.
    pub fn push_by(self, client: &impl Place, repository: &str) -> Pushed {
        for blob in self.blobs() {
            client.put_blob(repository, &blob);
        }
        self.put(client, repository)
    }

    /// Its config and layers.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = Vec<u8>> {
        std::iter::once(self.config()).chain(self.layers.iter().map(|(_, content)| content.clone()))
    }

    /// Puts its manifest where its blobs lie already.
    pub(crate) fn put(&self, client: &impl Place, repository: &str) -> Pushed {
        let config = self.config();
        let (media_type, bytes) = self.manifest(&config);
        let digest = put(client, repository, &media_type, &bytes, &self.tags);
        Pushed {
            repository: repository.to_owned(),
            digest,
            media_type,
            bytes,
            config: digest_of(&config),
            layers: self.layers.iter().map(|(_, content)| digest_of(content)).collect(),
            children: Vec::new(),
            tags: self.tags.clone(),
            platform: self.platform.clone(),
        }
    }

    fn config(&self) -> Vec<u8> {
        let image = [OCI_CONFIG, DOCKER_CONFIG].contains(&&*self.config_type);
        if !image {
            return b"{}".to_vec();
        }
        let mut config = platform_object(&self.platform);
        if let Some(created) = &self.created {
            config["created"] = json!(created);
        }
        config["config"] = if self.labels.is_empty() { json!({}) } else { json!({"Labels": self.labels}) };
        let diff_ids: Vec<String> = self.layers.iter().map(|(_, content)| digest_of(content)).collect();
        config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
        config.to_string().into_bytes()
    }

    fn manifest(&self, config: &[u8]) -> (String, Vec<u8>) {
        let media_type = if self.family == Family::Oci { OCI_MANIFEST } else { DOCKER_MANIFEST };
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|(media_type, content)| {
                let docker = self.family == Family::Docker && media_type == OCI_LAYER;
                let docker = docker.then_some("application/vnd.docker.image.rootfs.diff.tar.gzip");
                blob_descriptor(docker.unwrap_or(media_type), content)
            })
            .collect();
        let mut manifest = json!({"schemaVersion": 2, "mediaType": media_type});
        if let Some(artifact_type) = &self.artifact_type {
            manifest["artifactType"] = json!(artifact_type);
        }
        manifest["config"] = blob_descriptor(&self.config_type, config);
        manifest["layers"] = json!(layers);
        if let Some(subject) = &self.subject {
            manifest["subject"] = subject.clone();
        }
        if !self.annotations.is_empty() {
            manifest["annotations"] = json!(self.annotations);
        }
        (media_type.to_owned(), manifest.to_string().into_bytes())
    }
}

/// Several manifests under one digest: an OCI index or a Docker manifest list.
#[derive(Clone, Debug)]
pub struct Index {
    family: Family,
    children: Vec<(Option<String>, Child)>,
    annotations: Map<String, Value>,
    subject: Option<Value>,
    tags: Vec<String>,
}

/// What an index may list.
#[derive(Clone, Debug)]
pub enum Child {
    /// An image that is pushed with the index.
    Image(Image),
    /// An index in the index, pushed with it.
    Index(Index),
    /// What lies in the repository already.
    Pushed(Pushed),
    /// An attestation of the child for this platform, as BuildKit writes them.
    AttestationFor(String),
}

impl From<Image> for Child {
    fn from(image: Image) -> Self {
        Self::Image(image)
    }
}

impl From<Index> for Child {
    fn from(index: Index) -> Self {
        Self::Index(index)
    }
}

impl From<&Pushed> for Child {
    fn from(pushed: &Pushed) -> Self {
        Self::Pushed(pushed.clone())
    }
}

impl Index {
    /// An OCI index.
    #[expect(clippy::new_without_default, reason = "a sentence begins with new")]
    pub fn new() -> Self {
        Self { family: Family::Oci, children: Vec::new(), annotations: Map::new(), subject: None, tags: Vec::new() }
    }

    /// A Docker manifest list. Its children should be [`Image::docker`].
    pub fn docker() -> Self {
        Self { family: Family::Docker, ..Self::new() }
    }

    /// Adds a child for this platform, which an image takes into its config too.
    pub fn child(mut self, platform: &str, child: impl Into<Child>) -> Self {
        let child = match child.into() {
            Child::Image(image) => Child::Image(image.platform(platform)),
            other => other,
        };
        self.children.push((Some(platform.to_owned()), child));
        self
    }

    /// Adds a child without a platform: an index in an index, a chart, what lies in the repository already.
    pub fn entry(mut self, child: impl Into<Child>) -> Self {
        self.children.push((None, child.into()));
        self
    }

    /// Adds an attestation (`unknown/unknown`) of the child for this platform.
    pub fn attestation_for(mut self, platform: &str) -> Self {
        self.children.push((Some("unknown/unknown".to_owned()), Child::AttestationFor(platform.to_owned())));
        self
    }

    /// Adds an annotation.
    pub fn annotation(mut self, name: &str, value: &str) -> Self {
        self.annotations.insert(name.to_owned(), value.into());
        self
    }

    /// Refers to another manifest.
    pub fn subject(mut self, subject: &Pushed) -> Self {
        self.subject = Some(subject.descriptor());
        self
    }

    /// Adds a tag; without any it is pushed by its digest.
    pub fn tag(mut self, tag: &str) -> Self {
        self.tags.push(tag.to_owned());
        self
    }

    /// Pushes the children and then the index.
    pub fn push(self, registry: &Registry, repository: &str) -> Pushed {
        self.push_by(registry.client(), repository)
    }

    /// Pushes it with another client than the registry's own, or puts it into a storage tree.
    pub fn push_by(self, client: &impl Place, repository: &str) -> Pushed {
        let mut children: Vec<Pushed> = Vec::new();
        let mut descriptors = Vec::new();
        for (platform, child) in self.children {
            let mut annotations = Value::Null;
            let pushed = match child {
                Child::Image(image) => image.push_by(client, repository),
                Child::Index(index) => index.push_by(client, repository),
                Child::Pushed(pushed) => pushed,
                Child::AttestationFor(platform) => {
                    let of = children
                        .iter()
                        .find(|child| child.platform == platform)
                        .unwrap_or_else(|| panic!("the index has no child for {platform} to attest"));
                    annotations = json!({
                        "vnd.docker.reference.type": "attestation-manifest",
                        "vnd.docker.reference.digest": of.digest,
                    });
                    let statement = json!({"_type": "https://in-toto.io/Statement/v0.1", "subject": of.digest});
                    Image::new()
                        .platform("unknown/unknown")
                        .blob("application/vnd.in-toto+json", statement.to_string().as_bytes())
                        .push_by(client, repository)
                }
            };
            let mut descriptor = pushed.descriptor();
            if let Some(platform) = platform {
                descriptor["platform"] = platform_object(&platform);
            }
            if !annotations.is_null() {
                descriptor["annotations"] = annotations;
            }
            descriptors.push(descriptor);
            children.push(pushed);
        }
        let media_type = if self.family == Family::Oci { OCI_INDEX } else { DOCKER_LIST };
        let mut index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": descriptors});
        if let Some(subject) = self.subject {
            index["subject"] = subject;
        }
        if !self.annotations.is_empty() {
            index["annotations"] = json!(self.annotations);
        }
        let bytes = index.to_string().into_bytes();
        let digest = put(client, repository, media_type, &bytes, &self.tags);
        Pushed {
            repository: repository.to_owned(),
            digest,
            media_type: media_type.to_owned(),
            bytes,
            config: String::new(),
            layers: Vec::new(),
            children,
            tags: self.tags,
            platform: String::new(),
        }
    }
}

/// A build cache as BuildKit exports it to a registry: an index whose children are blobs.
#[derive(Clone, Debug)]
pub struct BuildCache {
    blobs: Vec<Vec<u8>>,
    created: Option<String>,
    tags: Vec<String>,
}

impl BuildCache {
    /// A cache with nothing in it but its config.
    #[expect(clippy::new_without_default, reason = "a sentence begins with new")]
    pub fn new() -> Self {
        Self { blobs: Vec::new(), created: None, tags: Vec::new() }
    }

    /// Says of each layer when it was made, as BuildKit does.
    pub fn created(mut self, time: &str) -> Self {
        self.created = Some(time.to_owned());
        self
    }

    /// Adds a cached layer.
    pub fn blob(mut self, name: &str) -> Self {
        self.blobs.push(format!("layer {name}\n").into_bytes());
        self
    }

    /// Adds a tag.
    pub fn tag(mut self, tag: &str) -> Self {
        self.tags.push(tag.to_owned());
        self
    }

    /// Pushes it. Its `layers` are the cached layers, its `config` the cache config.
    pub fn push(self, registry: &Registry, repository: &str) -> Pushed {
        self.push_by(registry.client(), repository)
    }

    /// Pushes it with another client than the registry's own, or puts it into a storage tree.
    pub fn push_by(self, client: &impl Place, repository: &str) -> Pushed {
        let mut descriptors = Vec::new();
        for blob in &self.blobs {
            client.put_blob(repository, blob);
            let mut descriptor = blob_descriptor(OCI_LAYER, blob);
            if let Some(created) = &self.created {
                descriptor["annotations"] = json!({"buildkit/createdat": created});
            }
            descriptors.push(descriptor);
        }
        let layers: Vec<Value> = self.blobs.iter().map(|blob| json!({"blob": digest_of(blob), "parent": -1})).collect();
        let config = json!({"layers": layers, "records": []}).to_string().into_bytes();
        client.put_blob(repository, &config);
        descriptors.push(blob_descriptor("application/vnd.buildkit.cacheconfig.v0", &config));
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": descriptors});
        let bytes = index.to_string().into_bytes();
        let digest = put(client, repository, OCI_INDEX, &bytes, &self.tags);
        Pushed {
            repository: repository.to_owned(),
            digest,
            media_type: OCI_INDEX.to_owned(),
            bytes,
            config: digest_of(&config),
            layers: self.blobs.iter().map(|blob| digest_of(blob)).collect(),
            children: Vec::new(),
            tags: self.tags,
            platform: String::new(),
        }
    }
}

/// What names its subject by its tag: `sha256-<hex>.sig`, `.att`, `.sbom`.
#[derive(Clone, Debug)]
pub struct Signature {
    image: Image,
}

impl Signature {
    /// A signature as cosign 1 and 2 write it.
    pub fn cosign(subject: &Pushed) -> Self {
        Self::of(subject, "sig", "application/vnd.dev.cosign.simplesigning.v1+json")
    }

    /// An attestation by cosign.
    pub fn attestation(subject: &Pushed) -> Self {
        Self::of(subject, "att", "application/vnd.dsse.envelope.v1+json")
    }

    /// A bill of materials by cosign.
    pub fn sbom(subject: &Pushed) -> Self {
        Self::of(subject, "sbom", "text/spdx+json")
    }

    fn of(subject: &Pushed, suffix: &str, media_type: &str) -> Self {
        let content = json!({"critical": {"image": {"docker-manifest-digest": subject.digest}}}).to_string();
        let image = Image::undated().blob(media_type, content.as_bytes());
        Self { image: image.tag(&format!("sha256-{}.{suffix}", subject.hex())) }
    }

    /// Gives it another tag too.
    pub fn tag(mut self, tag: &str) -> Self {
        self.image = self.image.tag(tag);
        self
    }

    /// Pushes it.
    pub fn push(self, registry: &Registry, repository: &str) -> Pushed {
        self.push_by(registry.client(), repository)
    }

    /// Pushes it with another client than the registry's own, or puts it into a storage tree.
    pub fn push_by(self, client: &impl Place, repository: &str) -> Pushed {
        self.image.push_by(client, repository)
    }
}

/// The index by which registries without a referrers API list the referrers of a subject: tag `sha256-<hex>`.
#[derive(Clone, Debug)]
pub struct Referrers {
    index: Index,
}

impl Referrers {
    /// The referrers of this subject, nobody yet.
    pub fn of(subject: &Pushed) -> Self {
        Self { index: Index::new().tag(&format!("sha256-{}", subject.hex())) }
    }

    /// Lists a manifest that was pushed before.
    pub fn list(mut self, referrer: &Pushed) -> Self {
        self.index = self.index.entry(referrer);
        self
    }

    /// Pushes the index.
    pub fn push(self, registry: &Registry, repository: &str) -> Pushed {
        self.push_by(registry.client(), repository)
    }

    /// Pushes it with another client than the registry's own, or puts it into a storage tree.
    pub fn push_by(self, client: &impl Place, repository: &str) -> Pushed {
        self.index.push_by(client, repository)
    }
}

/// Puts a manifest under each tag, or under its digest where it has none.
fn put(client: &impl Place, repository: &str, media_type: &str, bytes: &[u8], tags: &[String]) -> String {
    let digest = digest_of(bytes);
    if tags.is_empty() {
        client.put_manifest(repository, &digest, media_type, bytes);
    }
    for tag in tags {
        let answered = client.put_manifest(repository, tag, media_type, bytes);
        assert_eq!(answered, digest, "the registry stored other bytes for {repository}:{tag}");
    }
    digest
}

fn blob_descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest_of(content), "size": content.len()})
}

fn platform_object(platform: &str) -> Value {
    let mut parts = platform.split('/');
    let mut object = json!({"architecture": "", "os": parts.next()});
    object["architecture"] = json!(parts.next());
    if let Some(variant) = parts.next() {
        object["variant"] = json!(variant);
    }
    object
}
