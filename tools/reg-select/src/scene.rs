//! Repositories, inventories and policies as sentences, for the tests.

use chrono::{DateTime, TimeDelta, Utc};
use common::digest::Digest;
use common::inventory::{Inventory, KeepList, Names, Role};
use common::jsonl::Line;
use common::pattern::RepositoryFilter;
use common::record::{Action, Reason, Verdict};
use common::reference::Host;
use serde_json::{Value, json};

use crate::decide::{Repository, World, decide};
use crate::entry::Entry;
use crate::policy::{Policy, Preset, TagFilter};
use crate::rule::Rule;

pub(crate) const REGISTRY: &str = "registry.example.com";
pub(crate) const REPOSITORY: &str = "team/app";

pub(crate) fn now() -> DateTime<Utc> {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

pub(crate) fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn digests(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| digest(name).to_string()).collect()
}

/// One manifest; its name stands for its digest.
#[derive(Clone)]
pub(crate) struct Manifest {
    pub(crate) name: String,
    pub(crate) record: Value,
}

/// A tagged image, so many days old.
pub(crate) fn image(name: &str, tags: &[&str], days: i64) -> Manifest {
    let record = json!({"registry": REGISTRY, "repository": REPOSITORY, "digest": digest(name), "tags": tags, "size": 500,
        "created": now() - TimeDelta::days(days), "config": digest(&format!("config of {name}")),
        "blobs": [{"digest": digest(&format!("layer of {name}")), "size": 1000}]});
    Manifest { name: name.to_owned(), record }
}

impl std::fmt::Debug for Manifest {
    /// What makes it different, with the digests that tests make told by their names.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.name)?;
        for key in ["tags", "created", "artifactType", "children", "parents", "subjects", "missing"] {
            let mut text = self.record[key].to_string();
            for place in 0..16 {
                text = text.replace(&digest(&format!("m{place}")).to_string(), &format!("m{place}"));
            }
            if text != "null" && text != "[]" {
                write!(formatter, " {key}={text}")?;
            }
        }
        Ok(())
    }
}

impl Manifest {
    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.record[key] = value.into();
        self
    }

    pub(crate) fn undated(self) -> Self {
        self.with("created", Value::Null)
    }

    pub(crate) fn created(self, time: &str) -> Self {
        self.with("created", time)
    }

    pub(crate) fn pushed_days_ago(self, days: i64) -> Self {
        let pushed = now() - TimeDelta::days(days);
        self.with("pushed", json!(pushed))
    }

    pub(crate) fn children(self, names: &[&str]) -> Self {
        self.with("children", digests(names))
    }

    pub(crate) fn parents(self, names: &[&str]) -> Self {
        self.with("parents", digests(names))
    }

    pub(crate) fn subjects(self, names: &[&str]) -> Self {
        self.with("subjects", digests(names))
    }

    pub(crate) fn missing(self, names: &[&str]) -> Self {
        self.with("missing", digests(names))
    }

    pub(crate) fn build_cache(self) -> Self {
        self.with("artifactType", "application/vnd.buildkit.cacheconfig.v0")
    }

    pub(crate) fn entry(&self) -> Entry {
        Entry::new(serde_json::from_str(&self.record.to_string()).unwrap())
    }
}

/// A use of this registry's repository, by a tag.
pub(crate) fn uses_tag(tag: &str) -> Value {
    json!({"type": "use", "image": format!("{REGISTRY}/{REPOSITORY}:{tag}"), "registry": REGISTRY, "repository": REPOSITORY, "tag": tag,
        "source": "prod", "namespace": "shop", "kind": "Deployment", "name": "web"})
}

/// A use by digest; `key` is `digest`, `runningDigest` or `configDigest`.
pub(crate) fn uses_digest(registry: &str, repository: &str, key: &str, name: &str) -> Value {
    json!({"type": "use", "image": "by digest", "registry": registry, "repository": repository, key: digest(name), "source": "prod"})
}

/// All that a verdict depends on.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) manifests: Vec<Manifest>,
    pub(crate) uses: Vec<Value>,
    pub(crate) inventory_age: Option<TimeDelta>,
    pub(crate) keep_list: String,
    pub(crate) policy: Policy,
    pub(crate) complete: bool,
    pub(crate) aliases: Vec<String>,
    pub(crate) strangers: Vec<String>,
    /// What the listing wrote; by default, what is in `manifests`.
    pub(crate) manifest_count: Option<u64>,
}

impl Scene {
    pub(crate) fn new(manifests: impl IntoIterator<Item = Manifest>) -> Self {
        Self {
            manifests: manifests.into_iter().collect(),
            uses: Vec::new(),
            inventory_age: Some(TimeDelta::zero()),
            keep_list: String::new(),
            policy: Policy::default(),
            complete: true,
            aliases: Vec::new(),
            strangers: Vec::new(),
            manifest_count: None,
        }
    }

    pub(crate) fn policy(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(&mut self.policy);
        self
    }

    pub(crate) fn evict(mut self) -> Self {
        self.policy = self.policy.with_preset(Some(Preset::Evict));
        self
    }

    pub(crate) fn delete_rest(self) -> Self {
        self.policy(|policy| policy.delete_rest = true)
    }

    pub(crate) fn keep_newest(self, number: u64) -> Self {
        self.policy(|policy| policy.keep_newest = Some(number))
    }

    pub(crate) fn tags(self, include: &[&str], exclude: &[&str]) -> Self {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        self.policy(|policy| policy.tags = TagFilter::new(&texts(include), &texts(exclude)).unwrap())
    }

    pub(crate) fn only_repository(self, glob: &str) -> Self {
        self.policy(|policy| policy.repositories = RepositoryFilter::new(&[glob.to_owned()], &[]).unwrap())
    }

    pub(crate) fn used(mut self, uses: impl IntoIterator<Item = Value>) -> Self {
        self.uses.extend(uses);
        self
    }

    pub(crate) fn keeping(mut self, list: &str) -> Self {
        self.keep_list = list.to_owned();
        self
    }

    pub(crate) fn without_inventory(mut self) -> Self {
        self.inventory_age = None;
        self
    }

    /// Decides, and gives back the verdicts by name.
    pub(crate) fn verdicts(&self) -> Verdicts {
        let aliases: Vec<_> = self.aliases.iter().map(|alias| alias.parse().unwrap()).collect();
        let strangers: Vec<_> = self.strangers.iter().map(|host| host.parse().unwrap()).collect();
        let mut inventory = Inventory::new(Names::new(&aliases, &strangers).unwrap());
        if let Some(age) = self.inventory_age {
            let header = json!({"type": "header", "tool": "k8s-images", "version": "1", "schema": 1, "time": now() - age, "scope": {"sources": [], "partial": false}});
            let trailer = json!({"type": "trailer", "complete": true, "records": self.uses.len()});
            inventory.begin(Role::InUse, "in-use.jsonl");
            for (number, record) in std::iter::once(&header).chain(&self.uses).chain([&trailer]).enumerate() {
                inventory.line(&Line::new("in-use.jsonl", number as u64 + 1, &record.to_string())).unwrap();
            }
            inventory.end().unwrap();
        }
        let host: Host = REGISTRY.parse().unwrap();
        let mut keep_list = KeepList::default();
        keep_list.add(&self.keep_list).unwrap();
        let entries: Vec<Entry> = self.manifests.iter().map(Manifest::entry).collect();
        let complete = if self.complete { Ok(()) } else { Err("503 Service Unavailable".to_owned()) };
        let count = self.manifest_count.unwrap_or(entries.len() as u64);
        let repository = Repository { entries: &entries, complete, all_came: entries.len() as u64 >= count };
        let uses = inventory.of_repository(&host, REPOSITORY);
        let kept = keep_list.of_repository(inventory.names(), &host, REPOSITORY);
        let is_selected = self.policy.repositories.selects(REPOSITORY);
        let world = World { policy: &self.policy, now: now(), inventory: &inventory, uses: &uses, kept: &kept, is_selected };
        let decided = decide(&repository, &world);
        let verdict = |(place, manifest): (usize, &Manifest)| {
            let Verdict { action, untag, reasons } = decided.verdict(place);
            assert!(!reasons.is_empty(), "{} has no reason", manifest.name);
            Named { name: manifest.name.clone(), action, untag, reasons }
        };
        Verdicts(self.manifests.iter().enumerate().map(verdict).collect())
    }
}

/// One verdict, with the manifest's name.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) action: Action,
    /// The tags that go off one that stays.
    pub(crate) untag: Vec<String>,
    pub(crate) reasons: Vec<Reason>,
}

impl Named {
    pub(crate) fn goes(&self) -> bool {
        self.action == Action::Delete
    }

    /// The rules that apply, each once.
    pub(crate) fn rules(&self) -> Vec<&str> {
        let mut rules: Vec<&str> = self.reasons.iter().map(|reason| reason.rule.as_str()).collect();
        rules.dedup();
        rules
    }
}

/// Verdicts by name.
#[derive(Debug)]
pub(crate) struct Verdicts(pub(crate) Vec<Named>);

impl Verdicts {
    /// The names of what goes, in order.
    pub(crate) fn gone(&self) -> Vec<&str> {
        self.0.iter().filter(|verdict| verdict.goes()).map(|verdict| verdict.name.as_str()).collect()
    }

    pub(crate) fn of(&self, name: &str) -> &Named {
        self.0.iter().find(|verdict| verdict.name == name).unwrap()
    }

    /// The rules that apply to one.
    pub(crate) fn rules(&self, name: &str) -> Vec<&str> {
        self.of(name).rules()
    }

    /// The sentence of one rule.
    pub(crate) fn why(&self, name: &str, rule: Rule) -> &str {
        self.of(name).reasons.iter().find(|reason| reason.rule == rule.name()).map_or("", |reason| reason.why.as_str())
    }

    /// The tags that go off one that stays.
    pub(crate) fn untagged(&self, name: &str) -> &[String] {
        &self.of(name).untag
    }
}
