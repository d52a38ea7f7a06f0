use serde::{Deserialize, Serialize};

/// The end of a repository in a listing: it closes the manifests written before it, so that a filter can decide one
/// repository at a time.
///
/// `complete: false` freezes the repository: something of it could not be read, `error` says what, and nothing of it may be
/// deleted. Counts that were not asked for are null. `imageSize` counts each blob once.
///
/// ```json
/// {"type":"repository","registry":"localhost:5000","repository":"team/app","complete":true,"error":null,"tagCount":12,"manifestCount":9,"imageSize":73400320}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "repository", rename_all = "camelCase")]
pub struct Repository {
    /// The registry's host.
    pub registry: String,
    /// The repository.
    pub repository: String,
    /// Whether all of it was read.
    pub complete: bool,
    /// Why not.
    #[serde(default)]
    pub error: Option<String>,
    /// Its tags, broken ones included.
    #[serde(default)]
    pub tag_count: Option<u64>,
    /// The manifests listed.
    #[serde(default)]
    pub manifest_count: Option<u64>,
    /// Bytes of its distinct blobs.
    #[serde(default)]
    pub image_size: Option<u64>,
}
