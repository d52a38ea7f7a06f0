use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The version of the wire format. It rises only when ignoring something new would be unsafe; a reader refuses a higher one.
pub const SCHEMA: u32 = 1;

/// The first record of a section: who wrote it, when, and what was looked at.
///
/// `time` is the moment before the first question was asked, so that nothing that happened later can be thought to be in it.
/// An inventory's scope names its sources and whether it is `partial`; a listing's scope names the registry and the prefixes
/// asked for; a check's scope names all of its registries, and how deep it looked. A plan (the output of `reg-select`) has no scope of its own: `policy` says by which rules it was decided, `now`
/// at which moment, and `inputs` from which inventories. A journal passes on what its resumption needs of the plan: the names in
/// `policy`, and `planTime`; a dry run says that it is one by `dryRun`.
///
/// ```json
/// {"type":"header","tool":"k8s-images","version":"0.1.0","schema":1,"time":"2026-11-20T12:00:00Z",
///  "scope":{"sources":[{"kind":"context","name":"prod","server":"https://10.0.0.1:6443","complete":true,"error":null}],"partial":false}}
/// ```
///
/// ```json
/// {"type":"header","tool":"k8s-images","version":"0.1.0","schema":1,"time":"2026-11-20T12:00:00Z",
///  "scope":{"sources":[{"kind":"context","name":"prod","server":"https://10.0.0.1:6443","complete":true,"error":null,"missing":["cronjobs.batch"]},
///   {"kind":"context","name":"prod-admin","server":"https://10.0.0.1:6443","complete":true,"error":null,"sameAs":"prod"}],
///   "contexts":["prod*"],"skipContexts":["*-old"],"namespaces":["shop"],"selector":"app=web","partial":true}}
/// ```
///
/// ```json
/// {"type":"header","tool":"reg-list","version":"0.1.0","schema":1,"time":"2026-11-20T12:00:00Z",
///  "scope":{"registry":"registry.example.com","prefixes":["team"]}}
/// ```
///
/// ```json
/// {"type":"header","tool":"reg-check","version":"0.1.0","schema":1,"time":"2026-11-20T12:00:00Z",
///  "scope":{"registries":[{"registry":"registry.example.com","prefixes":["team"]}],"depth":"blobs"}}
/// ```
///
/// ```json
/// {"type":"header","tool":"reg-select","version":"0.1.0","schema":1,"time":"2026-11-20T12:05:00Z",
///  "policy":{"preset":"evict","keepNewest":3,"keepAroundInUse":2,"keepWithin":"1d","deleteUnusedRepositories":true,"deleteRest":true,"maxDelete":"20%"},
///  "now":"2026-11-20T12:05:00Z",
///  "inputs":[{"role":"in-use","tool":"k8s-images","time":"2026-11-20T12:00:00Z","scope":{"partial":false}}]}
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "header", rename_all = "camelCase")]
pub struct Header {
    /// The program that wrote the section.
    pub tool: String,
    /// Its version.
    pub version: String,
    /// The version of the wire format, [`SCHEMA`].
    pub schema: u32,
    /// The moment before the first question was asked.
    pub time: DateTime<Utc>,
    /// What was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Of a plan: the rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// Of a plan: the moment at which ages were reckoned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<DateTime<Utc>>,
    /// Of a plan: the sections of the inventories that it saw; empty where it saw none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Vec<Input>>,
    /// Of a journal: when the oldest listing or inventory was taken that led to it, however often it was resumed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_time: Option<DateTime<Utc>>,
    /// Whether the section only shows what would be done.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dry_run: bool,
}

impl Header {
    /// A header of this version's format.
    #[must_use]
    pub fn new(tool: &str, version: &str, time: DateTime<Utc>) -> Self {
        Self {
            tool: tool.to_owned(),
            version: version.to_owned(),
            schema: SCHEMA,
            time,
            scope: None,
            policy: None,
            now: None,
            inputs: None,
            plan_time: None,
            dry_run: false,
        }
    }

    /// The same header with a scope.
    #[must_use]
    pub fn with_scope(mut self, scope: Scope) -> Self {
        self.scope = Some(scope);
        self
    }
}

/// What a section looked at. Which keys are there depends on the tool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scope {
    /// Of an inventory: where uses were looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<Source>>,
    /// Of an inventory: the globs of the contexts asked for; empty is all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contexts: Vec<String>,
    /// Of an inventory: the globs of the contexts left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip_contexts: Vec<String>,
    /// Of an inventory: the namespaces asked for; empty is all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Of an inventory: the label selector asked with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Of an inventory: whether it was narrowed (to namespaces, by a selector), so that what it does not name may still be in
    /// use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<bool>,
    /// Of a listing: the registry's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// Of a listing: the repository prefixes asked for; empty is the whole registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefixes: Option<Vec<String>>,
    /// What a later version says, so that a plan can pass it on.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

/// One place in which uses were looked for.
///
/// Two contexts of one server and one user are one place, which is read once: the others say by `sameAs` where its uses stand, are
/// complete where that is, and count as sources like any other. `missing` names what could not be read and was forgiven, by resource and
/// API group (`cronjobs.batch`); a source may be complete without it, for that is what forgiving means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// What kind of place it is.
    pub kind: SourceKind,
    /// The name by which `--require-source` and `--allow-incomplete` mean it.
    pub name: String,
    /// Of a cluster: its API server's URL.
    #[serde(default)]
    pub server: Option<String>,
    /// Whether everything in it was read.
    pub complete: bool,
    /// Why not.
    #[serde(default)]
    pub error: Option<String>,
    /// The source that was read in its place: the same server, asked as the same user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_as: Option<String>,
    /// The kinds that it lacks, and was forgiven.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// The kinds of source. A cluster or an engine knows what runs; files and lines know what somebody wrote down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SourceKind {
    /// A context of a kubeconfig, or the cluster that the tool runs in.
    Context,
    /// A container engine on a host.
    Docker,
    /// Kubernetes manifests in files.
    Files,
    /// Image references, one a line.
    Lines,
    /// A Compose file.
    Compose,
    /// A kind of a later version; it is not taken for a cluster.
    #[serde(untagged)]
    Other(String),
}

impl SourceKind {
    /// Whether a source of this kind has seen what really runs.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Context | Self::Docker)
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Context => "context",
            Self::Docker => "docker",
            Self::Files => "files",
            Self::Lines => "lines",
            Self::Compose => "compose",
            Self::Other(name) => name,
        })
    }
}

/// An inventory that a plan was decided with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// `in-use` or `also-in-use`, the flag that gave it.
    pub role: String,
    /// The tool that wrote it.
    pub tool: String,
    /// The header's time.
    pub time: DateTime<Utc>,
    /// The header's scope, as it was.
    #[serde(default)]
    pub scope: serde_json::Value,
}

/// The rules of a plan, as flags gave them; what is absent was not given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// `--preset`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// `--keep-newest`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_newest: Option<u64>,
    /// `--keep-around-in-use`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_around_in_use: Option<u64>,
    /// `--keep-within`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_within: Option<String>,
    /// `--delete-older-than`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_older_than: Option<String>,
    /// `--delete-unused-repositories`
    #[serde(default, skip_serializing_if = "is_false")]
    pub delete_unused_repositories: bool,
    /// `--delete-untagged`
    #[serde(default, skip_serializing_if = "is_false")]
    pub delete_untagged: bool,
    /// `--delete-rest`
    #[serde(default, skip_serializing_if = "is_false")]
    pub delete_rest: bool,
    /// `--untag`
    #[serde(default, skip_serializing_if = "is_false")]
    pub untag: bool,
    /// `--tags`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// `--exclude-tags`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_tags: Vec<String>,
    /// `--repository`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repository: Vec<String>,
    /// `--exclude`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// `--order`, where it is not `time`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// `--alias`, without which the next tool would not know that two names are one
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alias: Vec<String>,
    /// `--not-alias`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_alias: Vec<String>,
    /// `--max-delete`: the most manifests that this plan may delete
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_delete: Option<Limit>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The most that may be deleted: `200`, or `20%` of the manifests listed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// So many manifests.
    Manifests(u64),
    /// This part of the manifests listed, in percent.
    Percent(f64),
}

/// Why a text is no [`Limit`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no limit: expected a number of manifests such as 200, or a percentage such as 20%")]
pub struct InvalidLimit(String);

impl Limit {
    /// Whether `deletes` of `listed` manifests are within the limit.
    #[must_use]
    pub fn allows(self, deletes: u64, listed: u64) -> bool {
        match self {
            Self::Manifests(most) => deletes <= most,
            #[expect(clippy::cast_precision_loss, reason = "counts of manifests are far below 2^52")]
            Self::Percent(percent) => deletes as f64 * 100.0 <= percent * listed as f64,
        }
    }
}

impl FromStr for Limit {
    type Err = InvalidLimit;

    fn from_str(text: &str) -> Result<Self, InvalidLimit> {
        let invalid = || InvalidLimit(text.to_owned());
        match text.strip_suffix('%') {
            Some(number) => match number.parse::<f64>() {
                Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Self::Percent(percent)),
                _ => Err(invalid()),
            },
            None => text.parse().map(Self::Manifests).map_err(|_| invalid()),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifests(most) => write!(formatter, "{most}"),
            Self::Percent(percent) => write!(formatter, "{percent}%"),
        }
    }
}

impl Serialize for Limit {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        for (limit, deletes, listed, allowed) in [
            ("2", 2, 5, true),
            ("2", 3, 5, false),
            ("40%", 2, 5, true),
            ("40%", 3, 5, false),
            ("0", 1, 9, false),
            ("0%", 0, 0, true),
            ("2.5%", 1, 40, true),
        ] {
            assert_eq!(limit.parse::<Limit>().unwrap().allows(deletes, listed), allowed, "{limit} {deletes}/{listed}");
        }
        for bad in ["", "x", "-1", "101%", "%", "nan%", "1e3"] {
            assert!(bad.parse::<Limit>().is_err(), "{bad}");
        }
    }
}
