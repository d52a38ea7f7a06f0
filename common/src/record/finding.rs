use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Something that is wrong with what a registry holds, or that was looked at and is well: the record of `reg-check`.
///
/// `registry`, `repository`, `tag` and `digest` say of what; what is not known is null: the blobs of a storage are of no repository, and a
/// storage whose host nobody named is of no registry. `digest` is the thing itself that is missing or damaged; `manifest` is
/// the manifest that needs it, where that is another, and `platform` the one that lacks it. `tags` are all tags that lead to it, where they are
/// several. `path` is where the fault lies in a storage tree, relative to its root. `problem` is one of
/// [`Problem`]'s names. `inUse` is null where no inventory was given; `usedBy` says who uses it, each with one of its pods.
///
/// ```json
/// {"type":"finding","registry":"localhost:5000","repository":"team/app","tag":"1.2","tags":["1.2","latest"],
///  "digest":"sha256:7de1555df0c2700329e815b93b32c571c3ea54dc967b89e81ab73b9972b72d1d","problem":"blob-missing","severity":"error",
///  "detail":"the layer of 123 bytes is not there","inUse":true,"usedBy":["prod/shop/Deployment/web (pod web-5f7c9-x2k4q)"],
///  "manifest":"sha256:4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865","platform":"linux/amd64"}
/// ```
///
/// ```json
/// {"type":"finding","registry":null,"repository":"team/app","tag":"1.2","digest":null,"problem":"link-empty","severity":"error",
///  "detail":"the link is empty","inUse":null,"usedBy":[],
///  "path":"docker/registry/v2/repositories/team/app/_manifests/tags/1.2/current/link"}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "finding", rename_all = "camelCase")]
pub struct Finding {
    /// The registry's host.
    #[serde(default)]
    pub registry: Option<String>,
    /// The repository.
    #[serde(default)]
    pub repository: Option<String>,
    /// The tag; of several that lead to it the first.
    #[serde(default)]
    pub tag: Option<String>,
    /// All tags that lead to it, where they are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What is missing or damaged.
    #[serde(default)]
    pub digest: Option<Digest>,
    /// What is wrong.
    pub problem: Problem,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in a sentence.
    pub detail: String,
    /// Whether something uses it.
    #[serde(default)]
    pub in_use: Option<bool>,
    /// Who does.
    #[serde(default)]
    pub used_by: Vec<String>,
    /// The manifest that needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Digest>,
    /// The platform that lacks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Where it lies in a storage tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It is well. Only `--all` writes such findings.
    Ok,
    /// It costs space, or is good to know.
    Info,
    /// It could not be found out.
    Unknown,
    /// A server stumbles over it, or a template or a history names it.
    Warning,
    /// Something that runs, or that a tag names, cannot be served whole.
    Error,
    /// A word of a later version.
    #[serde(other)]
    Other,
}

impl Severity {
    /// Its word in a record.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Info => "info",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Other => "other",
        }
    }
}

macro_rules! problems {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal,)*) => {
        /// What is wrong, in a word that stays.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Problem {
            $($(#[doc = $doc])* #[serde(rename = $name)] $variant,)*
            /// A word of a later version.
            #[serde(other, rename = "other")]
            Other,
        }

        impl Problem {
            /// Its word in a record.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Other => "other",
                }
            }
        }
    };
}

problems! {
    /// Nothing: it was looked at and is well.
    None = "none",
    /// It could not be asked: no answer, or one that says nothing about it (401, 403, 429, a time-out).
    NotAsked = "not-asked",
    /// A tag of which the registry says that it cannot serve it.
    TagUnreachable = "tag-unreachable",
    /// A tag that is listed and leads to no manifest.
    TagGhost = "tag-ghost",
    /// A tag that names another digest than the one that runs: a container that starts anew gets something else.
    TagMoved = "tag-moved",
    /// A digest that runs and that the registry no longer has: it runs from the nodes' caches alone.
    RunningDigestGone = "running-digest-gone",
    /// A manifest that is named and is not there.
    ManifestMissing = "manifest-missing",
    /// A manifest of which the registry says that it cannot serve it.
    ManifestUnreachable = "manifest-unreachable",
    /// A manifest whose content is not that of its digest.
    ManifestCorrupt = "manifest-corrupt",
    /// Answers about one manifest that do not agree.
    DigestMismatch = "digest-mismatch",
    /// A manifest that breaks its own schema.
    ManifestInvalid = "manifest-invalid",
    /// A manifest that is served as another type than it says it is.
    MediaTypeMismatch = "media-type-mismatch",
    /// A manifest of an index that is not there.
    ChildMissing = "child-missing",
    /// A layer or config that is not there.
    BlobMissing = "blob-missing",
    /// A layer or config of another size than the manifest says.
    BlobSize = "blob-size",
    /// A layer or config of which the registry says that it cannot serve it.
    BlobUnreachable = "blob-unreachable",
    /// A blob whose content is not that of its digest.
    BlobCorrupt = "blob-corrupt",
    /// A config that cannot be read.
    ConfigUnreadable = "config-unreadable",
    /// A repository without tags and manifests.
    RepositoryEmpty = "repository-empty",
    /// A repository that is named and that the registry does not know, or serves nothing of.
    RepositoryGhost = "repository-ghost",
    /// What is about a manifest that is not there.
    ReferrerOrphan = "referrer-orphan",
    /// A link without content.
    LinkEmpty = "link-empty",
    /// A link whose content is no digest, or that of something else.
    LinkGarbled = "link-garbled",
    /// A manifest that a tag or an index names, that lies among the blobs, and to which its repository has no link.
    RevisionMissing = "revision-missing",
    /// A layer or config that lies among the blobs and to which a repository that needs it has no link.
    LayerLinkMissing = "layer-link-missing",
    /// A link to a layer that is not there, and that no manifest of the repository needs.
    LayerLinkDangling = "layer-link-dangling",
    /// A repository with manifests and without the folder of its layers.
    LayersMissing = "layers-missing",
    /// A folder of a digest without the link that belongs in it, or a tag's memory of a manifest that is gone.
    LinkLeftover = "link-leftover",
    /// A manifest that no tag leads to any more.
    RevisionOverwritten = "revision-overwritten",
    /// An upload that nobody has finished.
    Upload = "upload",
    /// A file that a crash left.
    Temporary = "temporary",
    /// What does not belong there.
    Foreign = "foreign",
    /// What could not be read, so that anything may lie behind it.
    Unreadable = "unreadable",
}

/// The totals of a check, in its trailer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckTotals {
    /// Images that were looked at: tags, and digests that something names.
    pub images: u64,
    /// Of these, those without an error and without a warning, and of which everything could be asked.
    pub healthy: u64,
    /// Findings that are errors.
    pub errors: u64,
    /// Findings that are warnings.
    pub warnings: u64,
    /// Findings of which it could not be found out whether they are any.
    pub unknown: u64,
    /// Findings that are good to know.
    pub infos: u64,
    /// Images of the input that were not asked for, because `--only` names other registries.
    pub not_asked: u64,
    /// Requests that were made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// Bytes that were read and hashed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hashed: Option<u64>,
}
