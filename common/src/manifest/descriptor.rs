//! Descriptors (image-spec, descriptor.md): what they point at, and whether that is a manifest or a blob.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use super::lenient;
use crate::digest::Digest;
use crate::record::Blob;

/// What BuildKit calls when a layer of its cache was made.
const CACHE_CREATED: &str = "buildkit/createdat";
/// What BuildKit names an attestation's subject by.
const ATTESTED: &str = "vnd.docker.reference.digest";
/// The platform of what is no image but stands beside one.
const NO_PLATFORM: &str = "unknown/unknown";

/// A manifest that an index names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Its digest.
    pub digest: Digest,
    /// Its bytes, as the index has it; 0 where that is no number.
    pub size: u64,
    /// Its media type, as the index has it: whether it may be an index itself.
    pub media_type: Option<String>,
    /// `os/architecture[/variant]`, where the index says so; `unknown/unknown` marks an attestation.
    pub platform: Option<String>,
    /// Of an attestation: the child that it is about.
    pub attests: Option<Digest>,
}

impl Child {
    /// Whether it is an attestation: it stands in an index beside images, is none, and its date says nothing about them.
    #[must_use]
    pub fn is_attestation(&self) -> bool {
        self.platform.as_deref() == Some(NO_PLATFORM)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor<'a> {
    #[serde(default, borrow, deserialize_with = "lenient::text")]
    pub(super) media_type: Option<Cow<'a, str>>,
    pub(super) digest: Digest,
    #[serde(default, deserialize_with = "lenient::size")]
    size: u64,
    #[serde(default, deserialize_with = "lenient::has_any")]
    urls: bool,
    #[serde(default, deserialize_with = "platform")]
    platform: Option<String>,
    #[serde(default, deserialize_with = "lenient::texts")]
    annotations: BTreeMap<String, String>,
}

impl Descriptor<'_> {
    /// Whether an index that holds this descriptor names a manifest by it.
    pub(super) fn may_be_manifest(&self) -> bool {
        may_be_manifest(self.media_type.as_deref())
    }

    /// Whether what it points at is the config of an image. Docker wrote no type or `application/octet-stream` for a while
    /// (moby, distribution/registry.go).
    pub(super) fn is_image_config(&self) -> bool {
        matches!(
            self.media_type.as_deref(),
            None | Some(
                "" | "application/vnd.oci.image.config.v1+json"
                    | "application/vnd.docker.container.image.v1+json"
                    | "application/octet-stream"
            )
        )
    }

    pub(super) fn is_cache_config(&self) -> bool {
        self.media_type.as_deref().is_some_and(|media_type| media_type.starts_with("application/vnd.buildkit.cacheconfig."))
    }

    /// Whether what it points at is served by others: a layer that may not be distributed, or one that says from where it comes.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.urls
            || self
                .media_type
                .as_deref()
                .is_some_and(|media_type| media_type.contains(".layer.nondistributable.") || media_type.contains(".rootfs.foreign."))
    }

    pub(super) fn cache_created(&self) -> Option<String> {
        self.annotations.get(CACHE_CREATED).cloned()
    }

    pub(super) fn blob(&self) -> Blob {
        Blob { digest: self.digest.clone(), size: self.size }
    }

    pub(super) fn child(&self) -> Child {
        let attests = self.annotations.get(ATTESTED);
        // Who says what it attests is an attestation, whatever its platform.
        let platform = if attests.is_some() { Some(NO_PLATFORM.to_owned()) } else { self.platform.clone() };
        Child {
            digest: self.digest.clone(),
            size: self.size,
            media_type: self.media_type.as_deref().map(str::to_owned),
            platform,
            attests: attests.and_then(|digest| digest.parse().ok()),
        }
    }
}

/// Whether a media type is that of a manifest or an index, of whatever family: `manifest` or `index` stands in it as a word.
pub(super) fn is_manifest_type(media_type: &str) -> bool {
    let name = media_type.split(';').next().unwrap_or_default();
    name.split(['.', '/', '+', '-']).any(|word| word.eq_ignore_ascii_case("manifest") || word.eq_ignore_ascii_case("index"))
}

/// Whether an index names a manifest by a descriptor of this media type: unless that is known to be one of a blob. A blob that is taken
/// for a manifest is found missing, which harms nobody; the other mistake would delete it.
pub(super) fn may_be_manifest(media_type: Option<&str>) -> bool {
    media_type.is_none_or(|media_type| is_manifest_type(media_type) || !is_blob_type(media_type))
}

/// Whether a media type is known to be that of a blob: a layer, a config, an archive, or plain bytes.
fn is_blob_type(media_type: &str) -> bool {
    const WORDS: [&str; 10] = ["layer", "layers", "rootfs", "diff", "tar", "gzip", "zstd", "config", "cacheconfig", "octet"];
    const TYPES: [&str; 3] = ["application/vnd.docker.container.image.v1+json", "application/vnd.in-toto+json", "text/plain"];
    let name = media_type.split(';').next().unwrap_or_default().trim();
    TYPES.iter().any(|known| name.eq_ignore_ascii_case(known))
        || name.split(['.', '/', '+', '-']).any(|word| WORDS.iter().any(|known| word.eq_ignore_ascii_case(known)))
}

/// `os/architecture[/variant]` of the three, where the first two are known.
pub(super) fn platform_text(os: Option<&str>, architecture: Option<&str>, variant: Option<&str>) -> Option<String> {
    let known = |part: Option<&str>| part.filter(|part| !part.is_empty()).map(str::to_owned);
    let (os, architecture) = (known(os)?, known(architecture)?);
    Some(match known(variant) {
        Some(variant) => format!("{os}/{architecture}/{variant}"),
        None => format!("{os}/{architecture}"),
    })
}

/// A platform object as `os/architecture[/variant]`; anything else is no platform.
fn platform<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let parts = lenient::texts(deserializer)?;
    let part = |name: &str| parts.get(name).map(String::as_str);
    Ok(platform_text(part("os"), part("architecture"), part("variant")))
}
