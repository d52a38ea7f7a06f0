//! Laws that hold for all repositories, inventories, filters and policies.

use chrono::TimeDelta;
use common::duration::Duration;
use common::record::Action;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::policy::{Order, Policy, TagFilter};
use crate::rule::{ALL, Rule};
use crate::scene::{Manifest, REGISTRY, REPOSITORY, Scene, Verdicts, digest, image, uses_digest, uses_tag};

const TAGS: [&str; 8] = ["v1", "v2", "1.10", "1.9", "latest", "main", "pr-1", "pr-2"];

/// A repository: up to twelve manifests; edges lead from later to earlier ones, as hashes force them to.
fn manifests() -> impl Strategy<Value = Vec<Manifest>> {
    let one = (
        subsequence(TAGS.to_vec(), 0..3),
        0..10_i64,
        prop::bool::weighted(0.15),
        prop::bool::weighted(0.1),
        any::<u16>(),
        any::<u16>(),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.1),
    );
    prop::collection::vec(one, 1..12).prop_map(|raw| {
        let mut manifests: Vec<Manifest> = Vec::new();
        let mut parents: Vec<Vec<String>> = Vec::new();
        let mut taken: Vec<&str> = Vec::new();
        for (place, (tags, days, undated, cache, children, subjects, is_index, lost)) in raw.into_iter().enumerate() {
            let name = format!("m{place}");
            let tags: Vec<&str> = tags.into_iter().filter(|tag| !taken.contains(tag)).collect();
            taken.extend(&tags);
            let earlier = |bits: u16| (0..place).filter(|bit| bits >> (bit % 16) & 3 == 3).map(|bit| format!("m{bit}")).collect::<Vec<_>>();
            let children = if is_index { earlier(children) } else { Vec::new() };
            let mut subjects = if !is_index && subjects % 5 == 0 { earlier(subjects) } else { Vec::new() };
            let mut missing = Vec::new();
            if lost {
                subjects.push("nowhere".to_owned());
                missing.push("nowhere");
            }
            for child in &children {
                let place: usize = child[1..].parse().unwrap();
                parents[place].push(name.clone());
            }
            parents.push(Vec::new());
            let refs = |names: &[String]| names.to_vec();
            let mut manifest = image(&name, &tags, days).children(&as_str(&refs(&children))).subjects(&as_str(&subjects)).missing(&missing);
            if undated {
                manifest = manifest.undated();
            }
            if cache {
                manifest = manifest.build_cache();
            }
            manifests.push(manifest);
        }
        manifests.into_iter().zip(parents).map(|(manifest, parents)| manifest.parents(&as_str(&parents))).collect()
    })
}

fn as_str(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

fn one_use() -> impl Strategy<Value = serde_json::Value> {
    let registry = select(vec![REGISTRY, REGISTRY, "mirror.local"]);
    let repository = select(vec![REPOSITORY, REPOSITORY, "other/app"]);
    prop_oneof![
        select(TAGS.to_vec()).prop_map(uses_tag),
        Just(uses_tag("gone")),
        (registry, repository, select(vec!["digest", "runningDigest", "configDigest"]), 0..12_usize).prop_map(
            |(registry, repository, key, place)| {
                let name = if key == "configDigest" { format!("config of m{place}") } else { format!("m{place}") };
                uses_digest(registry, repository, key, &name)
            }
        ),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    let filters = select(vec![(vec![], vec![]), (vec!["v.*|1.*"], vec![]), (vec![], vec!["latest"]), (vec!["pr-.*"], vec!["pr-1"])]);
    (
        prop::option::of(0..4_u64),
        prop::option::of(0..3_u64),
        prop::option::of(0..6_u64),
        prop::option::of(0..6_u64),
        any::<[bool; 4]>(),
        filters,
        any::<bool>(),
    )
        .prop_map(|(newest, around, within, older, [unused, untagged, rest, untag], (include, exclude), by_version)| {
            let texts = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect::<Vec<_>>();
            Policy {
                keep_newest: newest,
                keep_around_in_use: around,
                keep_within: within.map(Duration::days),
                delete_older_than: older.map(Duration::days),
                delete_unused_repositories: unused,
                delete_untagged: untagged,
                delete_rest: rest,
                untag,
                tags: TagFilter::new(&texts(include), &texts(exclude)).unwrap(),
                order: if by_version { Order::Version } else { Order::Time },
                ..Policy::default()
            }
        })
}

fn scenes() -> impl Strategy<Value = Scene> {
    let keep_list = select(vec!["", "", "", "team/app:v1", "team/*:pr-*"]);
    let age = prop::option::weighted(0.8, 0..3_i64);
    (manifests(), prop::collection::vec(one_use(), 0..4), policy(), keep_list, age, prop::bool::weighted(0.95)).prop_map(
        |(manifests, uses, policy, keep_list, age, complete)| Scene {
            manifest_count: Some(manifests.len() as u64),
            uses,
            policy,
            keep_list: keep_list.to_owned(),
            inventory_age: age.map(TimeDelta::days),
            complete,
            ..Scene::new(manifests)
        },
    )
}

fn find<'a>(scene: &'a Scene, name: &str) -> &'a Manifest {
    scene.manifests.iter().find(|manifest| manifest.name == name).unwrap()
}

/// What a use or the keep list names directly, found without the code under test.
fn is_named(scene: &Scene, manifest: &Manifest) -> bool {
    let tags: Vec<&str> = manifest.record["tags"].as_array().unwrap().iter().filter_map(|tag| tag.as_str()).collect();
    let by_use = scene.inventory_age.is_some()
        && scene.uses.iter().any(|used| {
            let names_it = used["repository"] == REPOSITORY;
            let by_tag = names_it && used["tag"].as_str().is_some_and(|tag| tags.contains(&tag));
            let content = [&manifest.record["digest"], &manifest.record["config"]];
            by_tag || ["digest", "runningDigest", "configDigest"].iter().any(|key| !used[*key].is_null() && content.contains(&&used[*key]))
        });
    let by_list = match scene.keep_list.as_str() {
        "team/app:v1" => tags.contains(&"v1"),
        "team/*:pr-*" => tags.iter().any(|tag| tag.starts_with("pr-")),
        _ => false,
    };
    by_use || by_list
}

fn names(scene: &Scene, manifest: &Manifest, key: &str) -> Vec<String> {
    let digests = manifest.record[key].as_array().cloned().unwrap_or_default();
    scene.manifests.iter().filter(|other| digests.contains(&other.record["digest"])).map(|other| other.name.clone()).collect()
}

fn stays<'a>(verdicts: &'a Verdicts) -> Vec<&'a str> {
    verdicts.0.iter().filter(|(_, action, ..)| *action != Action::Delete).map(|(name, ..)| name.as_str()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_held_is_ever_deleted(scene in scenes()) {
        let verdicts = scene.verdicts();
        for (name, action, untag, reasons) in &verdicts.0 {
            let manifest = find(&scene, name);
            let deleted = *action == Action::Delete;
            prop_assert!(!(deleted && is_named(&scene, manifest)), "{name} is in use or on the keep list");
            prop_assert!(!(deleted && !scene.complete), "{name} is in a frozen repository");
            let rule_deletes = |rule: &str| ALL.into_iter().find(|known| known.name() == rule).is_some_and(Rule::deletes);
            prop_assert!(!deleted || reasons.iter().all(|(rule, _)| rule_deletes(rule)), "{name} is kept and deleted: {reasons:?}");
            prop_assert!(deleted || *action == Action::Untag || reasons.iter().all(|(rule, _)| !rule_deletes(rule)));
            for child in names(&scene, manifest, "children") {
                prop_assert!(deleted || !verdicts.gone().contains(&child.as_str()), "{child} goes and its index {name} stays");
                prop_assert!(!(deleted && is_named(&scene, find(&scene, &child))), "{name} goes and its child {child} is in use");
            }
            for subject in names(&scene, manifest, "subjects") {
                prop_assert!(!(deleted && !verdicts.gone().contains(&subject.as_str())), "{name} goes and its subject {subject} stays");
            }
            let tags = manifest.record["tags"].as_array().unwrap();
            for tag in tags.iter().filter_map(|tag| tag.as_str()) {
                prop_assert!(!(deleted && !scene.policy.tags.selects(tag)), "{name} goes with {tag}, which is not selected");
                let used = scene.inventory_age.is_some() && scene.uses.iter().any(|used| used["tag"] == tag && used["repository"] == REPOSITORY);
                prop_assert!(!(untag.iter().any(|gone| gone == tag) && used), "{tag} goes and is in use");
            }
            prop_assert!(untag.is_empty() || untag.len() < tags.len(), "the last tag of {name} goes");
        }
    }

    #[test]
    fn the_order_of_the_input_does_not_matter(scene in scenes(), seed in any::<u64>()) {
        let mut shuffled = scene.clone();
        shuffled.manifests.sort_by_key(|manifest| digest(&format!("{seed} {}", manifest.name)));
        shuffled.uses.reverse();
        let mut before = scene.verdicts().0;
        let mut after = shuffled.verdicts().0;
        for verdicts in [&mut before, &mut after] {
            verdicts.sort_by(|a, b| a.0.cmp(&b.0));
            for verdict in verdicts.iter_mut() {
                verdict.3.sort();
            }
        }
        // Which sentence tells of several parents or windows may differ; what happens and by which rules may not.
        let facts = |verdicts: Vec<(String, Action, Vec<String>, Vec<(String, String)>)>| verdicts.into_iter().map(|(name, action, untag, reasons)| {
            (name, action, untag, reasons.into_iter().map(|(rule, _)| rule).collect::<Vec<_>>())
        }).collect::<Vec<_>>();
        prop_assert_eq!(facts(before), facts(after));
    }

    #[test]
    fn a_further_use_never_deletes_more(scene in scenes(), further in one_use()) {
        let before = scene.verdicts();
        // The newest of a repository that would be emptied is held in place of one in use; it yields when one is found.
        prop_assume!(before.0.iter().all(|(name, ..)| !before.rules(name).contains(&Rule::Last.name())));
        let after = scene.used([further]).verdicts();
        for name in stays(&before) {
            prop_assert!(!after.gone().contains(&name), "{name} stayed before the use was known");
        }
    }

    #[test]
    fn dropping_records_never_deletes_what_would_have_stayed(scene in scenes(), drop in any::<u16>()) {
        let before = scene.verdicts();
        let mut thinned = scene.clone();
        thinned.manifests = scene.manifests.iter().enumerate().filter(|(place, _)| drop >> (place % 16) & 1 == 0).map(|(_, manifest)| manifest.clone()).collect();
        let after = thinned.verdicts();
        for name in after.gone() {
            prop_assert!(before.gone().contains(&name), "{name} goes only because others were dropped");
        }
        for (name, _, untag, _) in &after.0 {
            let untagged_before = before.untagged(name);
            prop_assert!(before.gone().contains(&name.as_str()) || untag.iter().all(|tag| untagged_before.contains(tag)), "{name} loses a tag only because others were dropped");
        }
    }
}
