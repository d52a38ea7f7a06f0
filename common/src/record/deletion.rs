use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// One step of a deletion or of its undoing: a line of the journal.
///
/// Before an index or a subject goes there is a `planned` line for each dependent that goes with it, with its `parents` and
/// `subjects`, because it is in no listing afterwards; before each deletion a `started` line
/// with all that is needed to put the manifest back: media type, tags, and its bytes in base64 (a manifest need not be
/// valid UTF-8). Then a line with the result. `tags` of an `untag` are those that go.
///
/// ```json
/// {"type":"deletion","registry":"localhost:5000","repository":"team/app","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
///  "action":"delete","result":"started","why":"delete-rest: no rule keeps it","tags":["1.2"],"mediaType":"application/vnd.oci.image.manifest.v1+json","data":"e30=",
///  "time":"2026-11-20T12:10:00Z"}
/// ```
///
/// ```json
/// {"type":"deletion","registry":"localhost:5000","repository":"team/app","digest":"sha256:4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865",
///  "action":"delete","result":"planned","why":"delete-rest: goes with its index","tags":[],"mediaType":"application/vnd.oci.image.manifest.v1+json",
///  "parents":["sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"],"time":"2026-11-20T12:10:00Z"}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "deletion", rename_all = "camelCase")]
pub struct Deletion {
    /// The registry's host.
    pub registry: String,
    /// The repository.
    pub repository: String,
    /// The manifest.
    pub digest: Digest,
    /// What is done.
    pub action: DeletionAction,
    /// How far it came.
    pub result: DeletionResult,
    /// Why it is done, or why it was not.
    #[serde(default)]
    pub why: Option<String>,
    /// The manifest's tags, or those that go.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Its media type.
    #[serde(default)]
    pub media_type: Option<String>,
    /// Of a `planned` line of a dependent: the indexes that name it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Digest>,
    /// Of a `planned` line of a dependent: the manifests that it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<Digest>,
    /// The digest of its config, where it is known, by which an inventory may know the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Digest>,
    /// Its bytes in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// When the line was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<chrono::DateTime<chrono::Utc>>,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeletionAction {
    /// The manifest is deleted, with all its tags.
    Delete,
    /// Tags are taken away, the manifest stays.
    Untag,
    /// The manifest is put back, with its tags.
    Restore,
}

/// How far a step came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeletionResult {
    /// It is to be done: a dry run, or a dependent that goes with its index.
    Planned,
    /// The request is about to be sent.
    Started,
    /// The manifest is gone.
    Deleted,
    /// The tags are gone.
    Untagged,
    /// The manifest and its tags are back.
    Restored,
    /// It was gone already.
    Absent,
    /// It was left alone, for the reason in `why`.
    Skipped,
    /// It could not be done, for the reason in `why`.
    Failed,
}
