use serde::{Deserialize, Serialize};

use super::Problem;
use crate::digest::Digest;

/// One change that mends a storage tree, or why there is none: the record of `reg-fix`, and the lines of its journal.
///
/// `problem` is what is mended, `action` how, and `path` where, relative to the root. `before` is what a file held that was rewritten, in base64,
/// null where there was no file; `after` the text of the link that is written. What is moved away lies under its path in the folder of the run.
///
/// ```json
/// {"type":"repair","repository":"team/app","tag":"1.2","digest":"sha256:4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865",
///  "problem":"link-empty","action":"link","path":"docker/registry/v2/repositories/team/app/_manifests/tags/1.2/current/link",
///  "result":"planned","why":"the newest manifest that the tag remembers and that is whole","before":"",
///  "after":"sha256:4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865"}
/// ```
///
/// ```json
/// {"type":"repair","repository":null,"tag":null,"digest":"sha256:7de1555df0c2700329e815b93b32c571c3ea54dc967b89e81ab73b9972b72d1d",
///  "problem":"blob-corrupt","action":"quarantine",
///  "path":"docker/registry/v2/blobs/sha256/7d/7de1555df0c2700329e815b93b32c571c3ea54dc967b89e81ab73b9972b72d1d","result":"repaired"}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "repair", rename_all = "camelCase")]
pub struct Repair {
    /// The repository.
    #[serde(default)]
    pub repository: Option<String>,
    /// The tag.
    #[serde(default)]
    pub tag: Option<String>,
    /// The digest.
    #[serde(default)]
    pub digest: Option<Digest>,
    /// What is mended.
    pub problem: Problem,
    /// How.
    pub action: RepairAction,
    /// Where, relative to the root.
    #[serde(default)]
    pub path: Option<String>,
    /// What came of it.
    pub result: RepairResult,
    /// Why it is done so, or is not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What the file held, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it holds then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// How something is mended. An unknown action is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RepairAction {
    /// A link is written.
    Link,
    /// A folder is made that must be there.
    Folder,
    /// The content of a blob is fetched from another registry.
    Fetch,
    /// A tag, or a link, is moved away.
    Drop,
    /// A damaged blob is moved away, so that a push brings it anew.
    Quarantine,
    /// Nothing is done.
    None,
}

/// What came of a repair. An unknown result is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RepairResult {
    /// It is to be done.
    Planned,
    /// It is begun; the line is in the journal before anything is touched.
    Started,
    /// It is done.
    Repaired,
    /// What a run did is taken back.
    Restored,
    /// Nothing needs to be done: it is well, or a matter of space, which is `reg-gc`'s.
    Skipped,
    /// It is not mended: `why` names the way out.
    Left,
    /// It could not be done.
    Failed,
}

/// The totals of a repair, in its trailer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RepairTotals {
    /// The run, by which it can be undone; null where nothing was done.
    pub run: Option<String>,
    /// How many repairs ended how.
    pub results: std::collections::BTreeMap<RepairResult, u64>,
}
