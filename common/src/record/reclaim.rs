use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// One thing in a registry's storage that goes, went, or came back.
///
/// - `path`: relative to the driver's `rootdirectory`. `size`: the bytes of the file that it is about; 0 of an empty folder.
/// - `what`: `blob` (a layer, config or manifest), `revision` (by which a repository has a manifest), `tagIndex` (by which a tag remembers what it
///   named), `layerLink` (by which a repository has a layer or config), `upload`, `repository`, `temporary` (a file that a crash left behind).
/// - `repository` and `tag`: where a link lies. `digest`: what it leads to.
/// - `result`: `planned` (a dry run, or a journal's line before it is done), `trashed` (it lies in the trash and can be put back), `removed` (for
///   good), `restored` (put back), `kept` (it was changed since it was looked at, or is needed after all), `failed`; the last two with `why`.
///
/// ```json
/// {"type":"reclaim","what":"blob","path":"docker/registry/v2/blobs/sha256/44/44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
///  "digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":123,"result":"planned"}
/// ```
///
/// ```json
/// {"type":"reclaim","what":"layerLink","path":"docker/registry/v2/repositories/team/app/_layers/sha256/44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
///  "repository":"team/app","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":71,"result":"kept",
///  "why":"it was written since it was looked at"}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "reclaim", rename_all = "camelCase")]
pub struct Reclaim {
    /// What it is.
    pub what: Reclaimed,
    /// Where it lies or lay, relative to the root.
    pub path: String,
    /// The repository that it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The tag that it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The digest that it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Bytes.
    pub size: u64,
    /// What came of it.
    pub result: ReclaimResult,
    /// Why it was kept, or could not be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What lies in a storage tree and may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reclaimed {
    /// A layer, config or manifest.
    Blob,
    /// The link by which a repository has a manifest.
    Revision,
    /// The link by which a tag remembers what it named.
    TagIndex,
    /// The link by which a repository has a layer or config.
    LayerLink,
    /// An upload that nobody goes on with.
    Upload,
    /// A repository of which nothing is left.
    Repository,
    /// A file that a crash left behind.
    Temporary,
}

/// What came of it. An unknown result is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReclaimResult {
    /// It is to be done.
    Planned,
    /// It lies in the trash.
    Trashed,
    /// It is gone for good.
    Removed,
    /// It is back in its place.
    Restored,
    /// It stays.
    Kept,
    /// It could not be done.
    Failed,
}

/// The totals of a collection, in its trailer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReclaimTotals {
    /// The run, by which it can be undone; null of a dry run.
    pub run: Option<String>,
    /// How many there are of each kind, and their bytes.
    pub kinds: std::collections::BTreeMap<Reclaimed, Sum>,
    /// The same by repository. Of a blob counts the first repository that loses it; those that none loses are under the empty name.
    pub repositories: std::collections::BTreeMap<String, Sum>,
    /// What is there and stays: blobs and their number only, because nobody asked for their bytes.
    pub kept_blobs: u64,
    /// Bytes that this run gave back for good.
    pub freed: u64,
    /// Bytes that lie in the trash now.
    pub trashed: u64,
    /// Until when this run can be undone.
    pub undo_until: Option<DateTime<Utc>>,
    /// Blobs that a later run may take, because the registry may be writing, and their bytes.
    pub next: Sum,
    /// When such a run can take them.
    pub next_from: Option<DateTime<Utc>>,
    /// What could not be read, or is not known, and was kept with all that it may need.
    pub problems: u64,
}

/// How many, and how many bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// How many.
    pub count: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Sum {
    /// Counts one more of this size.
    pub fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}
