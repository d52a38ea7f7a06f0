//! Writes the plan: the listing's records with their verdicts, and what reg-delete must know beside them.

use std::collections::{BTreeMap, HashSet};

use std::fmt;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use common::cli::{Context, Output, Refused};
use common::inventory::{Distrust, Inventory, KeepList};
use common::record::{Action, Header, ListedAs, PlanListing, PlanTotals, Policy as PolicyRecord, Trailer};
use common::reference::Host;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::decide::{Decided, Repository, World, decide};
use crate::freed::Blobs;
use crate::listing::{Event, Gathered, What};
use crate::policy::Policy;
use crate::summary::Summary;

/// Everything that a plan is made with.
pub struct Planner<'a> {
    pub context: &'a Context,
    pub output: Output,
    pub policy: Policy,
    pub policy_record: PolicyRecord,
    pub now: DateTime<Utc>,
    pub inventory: Inventory,
    /// Whether there is an inventory to be trusted, so that it must name the registry.
    pub has_inventory: bool,
    pub keep_list: KeepList,
    /// Whether what stays is written too.
    pub all: bool,
    pub has_header: bool,
    pub listing: Option<Header>,
    pub registries: BTreeMap<Host, Registry>,
    pub totals: PlanTotals,
    pub written: u64,
    pub blobs: Blobs,
    pub summary: Summary,
}

/// What is known of a listed registry.
#[derive(Debug, Default)]
pub struct Registry {
    has_manifests: bool,
    /// Whether the inventory names one of its repository paths.
    is_named: bool,
}

impl Planner<'_> {
    /// Takes the next event of the listing.
    pub fn on_event(&mut self, event: Event<'_>) -> anyhow::Result<()> {
        match event {
            Event::Header(header) => {
                if !self.has_header {
                    self.has_header = true;
                    let plan = Header {
                        policy: Some(self.policy_record.clone()),
                        now: Some(self.now),
                        inputs: Some(self.inventory.inputs()),
                        ..Header::new(self.context.name(), self.context.version(), self.now)
                    };
                    self.output.write(&plan)?;
                }
                self.listing = Some(*header);
                Ok(())
            }
            Event::Other(line) => Ok(self.output.write_raw(line)?),
            Event::Repository(gathered) => self.decide(gathered),
            Event::Trailer(trailer) => {
                if let Some(header) = self.listing.take() {
                    let scope = serde_json::to_value(&header.scope)?;
                    self.totals.listings.push(PlanListing { tool: header.tool, time: header.time, scope, complete: trailer.complete });
                }
                self.check_registries()
            }
            Event::End => {
                self.check_registries()?;
                self.output.write(&Trailer::new(true, self.written, self.totals.clone()))?;
                Ok(self.output.flush()?)
            }
        }
    }

    /// An inventory that names nothing of a registry is most likely of another one, or of this one under another name.
    fn check_registries(&self) -> anyhow::Result<()> {
        for (host, registry) in &self.registries {
            if self.has_inventory && registry.has_manifests && !registry.is_named && !self.inventory.names_registry(host) {
                return Err(Refused(Distrust::OtherRegistry { registry: host.to_string() }.to_string()).into());
            }
        }
        Ok(())
    }

    fn decide(&mut self, gathered: &Gathered) -> anyhow::Result<()> {
        let host: Host =
            gathered.registry.parse().with_context(|| format!("the registry of {}/{}", gathered.registry, gathered.repository))?;
        let uses = self.inventory.of_repository(&host, &gathered.repository);
        let kept = self.keep_list.of_repository(self.inventory.names(), &host, &gathered.repository);
        let (complete, all_came) = gathered.completeness();
        let registry = self.registries.entry(host.clone()).or_default();
        registry.has_manifests |= !gathered.entries.is_empty();
        registry.is_named |= uses.iter().any(Inventory::is_trusted_use);
        self.totals.listed += gathered.entries.len() as u64;
        if complete.is_err() {
            self.totals.frozen += 1;
        }
        let repository = Repository { entries: &gathered.entries, complete, all_came };
        let world = World {
            policy: &self.policy,
            now: self.now,
            inventory: &self.inventory,
            uses: &uses,
            kept: &kept,
            is_selected: self.policy.repositories.selects(&gathered.repository),
        };
        let decided = decide(&repository, &world);
        let freed_here = self.blobs.add(&gathered.blobs, |place| decided.verdicts[place].action == Action::Delete);
        self.summary.count(&format!("{}/{}", gathered.registry, gathered.repository), &decided, freed_here);
        let mut plan = Writer { output: &mut self.output, totals: &mut self.totals, written: &mut self.written, all: self.all };
        plan.write(gathered, &decided)
    }
}

/// Writes one repository.
struct Writer<'a> {
    output: &'a mut Output,
    totals: &'a mut PlanTotals,
    written: &'a mut u64,
    all: bool,
}

impl Writer<'_> {
    fn write(&mut self, gathered: &Gathered, decided: &Decided<'_>) -> anyhow::Result<()> {
        if decided.verdicts.iter().any(|verdict| verdict.action != Action::Keep) {
            self.pass_uses_on(gathered, decided)?;
        }
        for (what, line) in gathered.raw_lines() {
            match what {
                What::Manifest { place, fresh } => {
                    let action = decided.verdicts[place].action;
                    match action {
                        Action::Keep if !self.all => continue,
                        Action::Keep => {}
                        Action::Untag => self.totals.untags += 1,
                        Action::Delete => self.totals.deletes += 1,
                    }
                    *self.written += 1;
                    let verdict = serde_json::to_string(&decided.verdict(place))?;
                    if fresh {
                        self.write_with_key(line, "verdict", &verdict)?;
                    } else {
                        let tags = serde_json::to_string(&gathered.entries[place].tags)?;
                        self.output.write_raw(&rewritten(line, &[("tags", tags), ("verdict", verdict)])?)?;
                    }
                }
                What::Tag if self.all => self.output.write_raw(line)?,
                What::Tag | What::Repeated => {}
            }
        }
        for (line, _) in &gathered.closing {
            self.output.write_raw(line)?;
        }
        Ok(())
    }

    /// Adds a key at the end of a record, leaving all else as it was written.
    fn write_with_key(&mut self, line: &str, key: &str, value: &str) -> anyhow::Result<()> {
        Ok(self.output.write_parts(&[without_end(line)?, ",\"", key, "\":", value, "}"])?)
    }

    /// The uses that name the repository by a digest that the listing does not know: an untagged index that runs is in no
    /// listing, and only the registry can say whose child it holds. reg-delete asks.
    fn pass_uses_on(&mut self, gathered: &Gathered, decided: &Decided<'_>) -> anyhow::Result<()> {
        let listed_as = ListedAs { registry: gathered.registry.clone(), repository: gathered.repository.clone() };
        let listed_as = serde_json::to_string(&listed_as)?;
        let mut passed = HashSet::new();
        for entry in decided.world.uses.iter() {
            let unknown = entry.manifests().any(|digest| decided.graph.place(digest).is_none());
            if unknown && passed.insert(entry.line.as_str()) {
                if entry.line.contains("\"listedAs\"") {
                    // It was passed on before, perhaps for another listing.
                    self.output.write_raw(&rewritten(&entry.line, &[("listedAs", listed_as.clone())])?)?;
                } else {
                    self.write_with_key(&entry.line, "listedAs", &listed_as)?;
                }
                self.totals.uses += 1;
            }
        }
        Ok(())
    }
}

/// A record without the brace that ends it, so that a key can be added there.
fn without_end(line: &str) -> anyhow::Result<&str> {
    Ok(line.trim_end().strip_suffix('}').context("a record that does not end with a brace")?.trim_end())
}

/// A record that has some of these keys already: they are replaced, and what is not known stays to the letter.
fn rewritten(line: &str, keys: &[(&str, String)]) -> anyhow::Result<String> {
    let record: RawObject<'_> = serde_json::from_str(line)?;
    let known = |name: &str| keys.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
    let mut parts: Vec<String> = Vec::new();
    for (name, value) in &record.0 {
        parts.push(format!("{}:{}", serde_json::to_string(name)?, known(name).unwrap_or(value.get())));
    }
    for (key, value) in keys.iter().filter(|(key, _)| record.0.iter().all(|(name, _)| name != key)) {
        parts.push(format!("\"{key}\":{value}"));
    }
    Ok(format!("{{{}}}", parts.join(",")))
}

/// An object's keys in their order, with the values as they were written.
struct RawObject<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for RawObject<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = RawObject<'de>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawObject<'de>, A::Error> {
                let mut keys = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    keys.push(entry);
                }
                Ok(RawObject(keys))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_added_where_a_record_ends() {
        assert_eq!(without_end(r#"{"type":"x", "é":"\u00e9" } "#).unwrap(), r#"{"type":"x", "é":"\u00e9""#);
        assert!(without_end("[]").is_err());
    }

    #[test]
    fn a_key_that_is_there_is_replaced_and_nothing_else_changes() {
        let line = r#"{"type":"x","n":12345678901234567890123,"e":1e999,"verdict":null,"é\"":{"verdict": 1}}"#;
        assert_eq!(
            rewritten(line, &[("verdict", "2".to_owned()), ("tags", "[]".to_owned())]).unwrap(),
            r#"{"type":"x","n":12345678901234567890123,"e":1e999,"verdict":2,"é\"":{"verdict": 1},"tags":[]}"#
        );
    }
}
