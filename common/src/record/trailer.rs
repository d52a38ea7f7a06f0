use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The last record of a section. A section without one was cut, and looks exactly like a short one.
///
/// `records` counts the records of the tool's own kind (`use`, `manifest`, …); `complete` says that nothing is missing; the
/// other keys are the tool's totals ([`ListingTotals`], [`PlanTotals`], [`CheckTotals`](super::CheckTotals)).
///
/// ```json
/// {"type":"trailer","complete":true,"records":123}
/// ```
///
/// ```json
/// {"type":"trailer","complete":true,"records":9,"repositories":1,"incompleteRepositories":0,"tags":12,"manifests":9,"imageSize":73400320,"error":null}
/// ```
///
/// ```json
/// {"type":"trailer","complete":true,"records":4,
///  "listings":[{"tool":"reg-list","time":"2026-11-20T12:00:00Z","scope":{"registry":"localhost:5000","prefixes":[]},"complete":true}],
///  "listed":9,"deletes":3,"untags":1,"uses":2,"frozen":0}
/// ```
///
/// ```json
/// {"type":"trailer","complete":true,"records":1,"images":40,"healthy":39,"errors":1,"warnings":0,"unknown":0,"infos":0,"notAsked":0,"requests":215}
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trailer<T = Map<String, Value>> {
    /// Stands here as a field, because `totals` takes every key that no field has.
    #[serde(rename = "type")]
    kind: TrailerKind,
    /// Whether the section holds all that it should.
    pub complete: bool,
    /// How many records of the tool's own kind it holds.
    pub records: u64,
    /// The tool's totals.
    #[serde(flatten)]
    pub totals: T,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TrailerKind {
    Trailer,
}

impl<T> Trailer<T> {
    /// A trailer.
    pub fn new(complete: bool, records: u64, totals: T) -> Self {
        Self { kind: TrailerKind::Trailer, complete, records, totals }
    }
}

/// The totals of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListingTotals {
    /// Repositories listed.
    pub repositories: u64,
    /// Of these, the ones that could not be read whole.
    pub incomplete_repositories: u64,
    /// Tags, broken ones included; null where none were asked for.
    pub tags: Option<u64>,
    /// Manifests; null where none were asked for.
    pub manifests: Option<u64>,
    /// Bytes of the distinct blobs; null where no manifest was asked for.
    pub image_size: Option<u64>,
    /// Why `complete` is false, where it is the catalog that broke off.
    pub error: Option<String>,
}

/// The totals of a plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanTotals {
    /// The listings that were decided on.
    pub listings: Vec<PlanListing>,
    /// Manifests read.
    pub listed: u64,
    /// Verdicts `delete`.
    pub deletes: u64,
    /// Verdicts `untag`.
    pub untags: u64,
    /// `use` records passed on; fewer in a plan than this is no plan.
    pub uses: u64,
    /// Repositories frozen because their listing was not complete.
    pub frozen: u64,
}

/// One listing that a plan was decided on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanListing {
    /// The tool that wrote it.
    pub tool: String,
    /// Its header's time.
    pub time: DateTime<Utc>,
    /// Its header's scope, as it was.
    #[serde(default)]
    pub scope: Value,
    /// Its trailer's `complete`.
    pub complete: bool,
}
