//! From what was found to a finding: who uses it, and how bad that makes it. Pure.

use std::collections::BTreeMap;

use common::inventory::{Inventory, UseEntry};
use common::record::{Finding, Problem, Severity, Use};

use crate::draft::{Draft, Weight};

/// What something is used for, as far as the inventories know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Usage {
    /// For nothing.
    Unused,
    /// A template, a history or a pod that has ended names it.
    Named,
    /// A pod runs it, or waits for it.
    Live,
}

/// Makes findings of what was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judge<'a> {
    /// None where no inventory was given.
    inventory: Option<&'a Inventory>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(inventory: Option<&'a Inventory>) -> Self {
        Self { inventory }
    }

    /// The record of a draft.
    pub(crate) fn finding(&self, draft: Draft) -> Finding {
        let uses = self.inventory.map(|inventory| uses_of(inventory, &draft));
        let usage = uses.as_ref().map(|uses| uses.iter().map(|entry| usage_of(&entry.record)).max().unwrap_or(Usage::Unused));
        Finding {
            severity: severity(draft.weight, !draft.tags.is_empty(), usage),
            in_use: usage.map(|usage| usage > Usage::Unused),
            used_by: users(uses.iter().flatten().map(|entry| &entry.record)),
            registry: draft.registry.map(|host| host.as_str().to_owned()),
            repository: draft.repository,
            tag: draft.tags.first().cloned(),
            tags: if draft.tags.len() > 1 { draft.tags } else { Vec::new() },
            digest: draft.digest,
            problem: draft.problem,
            detail: draft.detail,
            manifest: draft.manifest,
            platform: draft.platform,
            path: draft.path,
        }
    }
}

/// How bad it is. `tagged`: a tag leads to it; `usage` is `None` where no inventory was given.
fn severity(weight: Weight, tagged: bool, usage: Option<Usage>) -> Severity {
    match (weight, usage) {
        (Weight::Well, _) => Severity::Ok,
        (Weight::Space | Weight::Note, _) => Severity::Info,
        // Whoever uses it: what could not be asked is never missing.
        (Weight::Unknown, _) => Severity::Unknown,
        // Who asks for one thing wants to know whether it can be had.
        (Weight::Wanted, _) => Severity::Error,
        (Weight::Broken | Weight::Stumble, Some(Usage::Live)) => Severity::Error,
        (Weight::Broken | Weight::Stumble, Some(Usage::Named | Usage::Unused)) => Severity::Warning,
        (Weight::Broken, None) if tagged => Severity::Error,
        (Weight::Broken | Weight::Stumble, None) => Severity::Warning,
    }
}

fn usage_of(record: &Use) -> Usage {
    if record.pods > record.finished_pods { Usage::Live } else { Usage::Named }
}

/// The uses that mean what was found.
fn uses_of<'a>(inventory: &'a Inventory, draft: &Draft) -> Vec<&'a UseEntry> {
    let own: Vec<&UseEntry> = match (&draft.registry, &draft.repository) {
        // Under the same path on another host too, until somebody says that this is another registry.
        (Some(host), Some(repository)) => inventory.of_repository(host, repository).iter().collect(),
        (None, Some(repository)) => inventory.of_path(repository).collect(),
        _ => Vec::new(),
    };
    let mut uses: Vec<&UseEntry> = Vec::new();
    match draft.problem {
        // These are about what runs, and not about what the tag names now.
        Problem::TagMoved | Problem::RunningDigestGone => {
            let runs = |entry: &&UseEntry| draft.digest.is_some() && entry.record.running_digest == draft.digest;
            uses.extend(own.into_iter().filter(runs));
            if draft.problem == Problem::TagMoved {
                uses.retain(|entry| entry.record.tag.as_ref().is_some_and(|tag| draft.tags.contains(tag)));
            }
        }
        // The whole repository is meant.
        Problem::RepositoryGhost => uses.extend(own),
        _ if draft.tags.is_empty() && draft.digest.is_none() && draft.manifest.is_none() => uses.extend(own),
        _ => {
            uses.extend(own.into_iter().filter(|entry| names_a_tag(&entry.record, &draft.tags)));
            for digest in draft.digest.iter().chain(&draft.manifest).chain(&draft.content) {
                uses.extend(inventory.of_content(digest));
            }
        }
    }
    uses.sort_by_key(|entry| std::ptr::from_ref(*entry).addr());
    uses.dedup_by(|a, b| std::ptr::eq(*a, *b));
    uses
}

/// Whether a use is of one of these tags. Where it pins a digest, that decides what is pulled, and the tag is but a word.
fn names_a_tag(record: &Use, tags: &[String]) -> bool {
    record.digest.is_none() && record.tag.as_ref().is_some_and(|tag| tags.binary_search(tag).is_ok())
}

/// Who uses it, each once: those of which a pod is known first, with one of their pods.
fn users<'a>(uses: impl Iterator<Item = &'a Use>) -> Vec<String> {
    let mut pods: BTreeMap<String, Option<&str>> = BTreeMap::new();
    for record in uses {
        let pod = pods.entry(record.user()).or_default();
        let own = record.pod.as_deref().filter(|pod| !pod.is_empty());
        *pod = match (*pod, own) {
            (Some(known), Some(own)) => Some(known.min(own)),
            (known, own) => known.or(own),
        };
    }
    let with = pods.iter().filter_map(|(user, pod)| pod.map(|pod| format!("{user} (pod {pod})")));
    let without = pods.iter().filter(|(_, pod)| pod.is_none()).map(|(user, _)| user.clone());
    with.chain(without).collect()
}

#[cfg(test)]
mod tests {
    use common::digest::Digest;
    use common::inventory::{Names, Role};
    use common::jsonl::Line;
    use serde_json::{Value, json};

    use super::*;

    fn inventory(aliases: &[&str], uses: &[Value]) -> Inventory {
        let aliases: Vec<_> = aliases.iter().map(|alias| alias.parse().unwrap()).collect();
        let mut inventory = Inventory::new(Names::new(&aliases, &[]).unwrap());
        for (number, fields) in uses.iter().enumerate() {
            let mut record = json!({"type": "use", "image": "x", "registry": "r.local", "repository": "team/app", "source": "prod",
                                    "namespace": "shop", "kind": "Deployment", "name": format!("web{number}")});
            for (key, value) in fields.as_object().unwrap() {
                record[key] = value.clone();
            }
            inventory.add_use(&Line::new("standard input", 1, &record.to_string()), Role::InUse).unwrap();
        }
        inventory
    }

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn draft(problem: Problem, tags: &[&str]) -> Draft {
        Draft {
            registry: Some("r.local".parse().unwrap()),
            repository: Some("team/app".to_owned()),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ..Draft::new(problem, Weight::Broken, "it is broken")
        }
    }

    fn users_of(inventory: &Inventory, draft: &Draft) -> Vec<String> {
        users(uses_of(inventory, draft).iter().map(|entry| &entry.record))
    }

    #[test]
    fn severities() {
        use Severity::{Error, Info, Ok, Unknown, Warning};
        use Usage::{Live, Named, Unused};
        for (weight, tagged, expected) in [
            (Weight::Well, true, [Ok; 4]),
            (Weight::Space, true, [Info; 4]),
            (Weight::Note, true, [Info; 4]),
            (Weight::Unknown, true, [Unknown; 4]),
            (Weight::Stumble, true, [Warning, Warning, Warning, Error]),
            (Weight::Stumble, false, [Warning, Warning, Warning, Error]),
            (Weight::Broken, true, [Error, Warning, Warning, Error]),
            (Weight::Broken, false, [Warning, Warning, Warning, Error]),
            (Weight::Wanted, false, [Error; 4]),
        ] {
            let found = [None, Some(Unused), Some(Named), Some(Live)].map(|usage| severity(weight, tagged, usage));
            assert_eq!(found, expected, "{weight:?} {tagged}");
        }
    }

    #[test]
    fn only_a_pod_that_has_not_ended_is_live() {
        for (pods, finished, expected) in [(0, 0, Usage::Named), (1, 0, Usage::Live), (2, 2, Usage::Named), (3, 2, Usage::Live)] {
            let record = json!({"type": "use", "image": "x", "registry": "r", "repository": "a", "pods": pods, "finishedPods": finished});
            assert_eq!(usage_of(&serde_json::from_value(record).unwrap()), expected, "{pods} {finished}");
        }
    }

    #[test]
    fn a_use_means_it_by_its_tag_or_by_content() {
        let inventory = inventory(
            &["mirror.local=r.local"],
            &[
                json!({"tag": "1"}),
                json!({"tag": "2"}),
                json!({"tag": "1", "registry": "mirror.local"}),
                json!({"tag": "1", "registry": "other.local"}),
                json!({"tag": "1", "digest": digest("pinned").to_string()}),
                json!({"tag": "9", "registry": "other.local", "repository": "x", "runningDigest": digest("index").to_string()}),
                json!({"tag": "9", "repository": "y", "configDigest": digest("config").to_string(), "pods": 1, "pod": "y-1"}),
            ],
        );
        let names = |draft: &Draft| -> Vec<String> {
            users_of(&inventory, draft).iter().map(|user| user.trim_start_matches("prod/shop/Deployment/").to_owned()).collect()
        };
        let by_tag = draft(Problem::BlobMissing, &["1"]);
        assert_eq!(names(&by_tag), ["web0", "web2", "web3"], "by its path under another name too");
        let by_content =
            Draft { content: vec![digest("index"), digest("config")], digest: Some(digest("blob")), ..draft(Problem::BlobMissing, &[]) };
        assert_eq!(names(&by_content), ["web6 (pod y-1)", "web5"]);
        assert_eq!(names(&Draft { manifest: Some(digest("pinned")), ..draft(Problem::BlobMissing, &[]) }), ["web4"]);
        assert_eq!(names(&draft(Problem::RepositoryGhost, &[])), ["web0", "web1", "web2", "web3", "web4"], "all of the repository");
        let of_path = Draft { registry: None, ..by_tag };
        assert_eq!(names(&of_path), ["web0", "web2", "web3"], "by its path, where nobody said whose storage it is");
    }

    #[test]
    fn what_is_about_running_digests_means_those_that_run_them() {
        let (old, new) = (digest("old").to_string(), digest("new").to_string());
        let inventory = inventory(
            &[],
            &[
                json!({"tag": "1", "runningDigest": old, "pods": 1, "pod": "a-1"}),
                json!({"tag": "1", "runningDigest": new, "pods": 1, "pod": "b-1"}),
                json!({"tag": "2", "runningDigest": old, "pods": 1, "pod": "c-1"}),
            ],
        );
        let found = Draft { digest: Some(digest("old")), ..draft(Problem::TagMoved, &["1"]) };
        assert_eq!(users_of(&inventory, &found), ["prod/shop/Deployment/web0 (pod a-1)"]);
        let found = Draft { problem: Problem::RunningDigestGone, tags: Vec::new(), ..found };
        assert_eq!(users_of(&inventory, &found).len(), 2);
    }

    #[test]
    fn users_are_told_once_with_one_of_their_pods() {
        let same = json!({"name": "web", "tag": "1"});
        let with = |pod: &str| json!({"name": "web", "tag": "1", "pods": 1, "pod": pod});
        let other = json!({"name": "aaa", "tag": "1"});
        let inventory = inventory(&[], &[other, same, with("web-2"), with("web-1")]);
        let finding = Judge::new(Some(&inventory)).finding(draft(Problem::TagGhost, &["1"]));
        assert_eq!(finding.used_by, ["prod/shop/Deployment/web (pod web-1)", "prod/shop/Deployment/aaa"]);
        assert_eq!((finding.in_use, finding.severity, finding.tag.as_deref()), (Some(true), Severity::Error, Some("1")));
        let finding = Judge::new(Some(&inventory)).finding(draft(Problem::TagGhost, &["2"]));
        assert_eq!((finding.in_use, finding.severity), (Some(false), Severity::Warning));
        let finding = Judge::new(None).finding(draft(Problem::TagGhost, &["2"]));
        assert_eq!((finding.in_use, finding.severity, finding.used_by.len()), (None, Severity::Error, 0));
    }
}
