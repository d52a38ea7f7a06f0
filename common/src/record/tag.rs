use serde::{Deserialize, Serialize};

/// One tag: all that `reg-list --tags` writes, and, in a listing, a tag that leads to nothing.
///
/// In a listing `error` is `MANIFEST_UNKNOWN`: the registry lists the tag and has no manifest for it. With `--tags` nothing was
/// asked for, and `error` is null.
///
/// ```json
/// {"type":"tag","registry":"localhost:5000","repository":"team/app","tag":"broken","error":"MANIFEST_UNKNOWN"}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "tag", rename_all = "camelCase")]
pub struct Tag {
    /// The registry's host.
    pub registry: String,
    /// The repository.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// Why there is no manifest.
    #[serde(default)]
    pub error: Option<String>,
}
