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
    prop::collection::vec(one, 1..11).prop_map(|raw| {
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
            let mut children = children;
            if lost && is_index {
                // A sparse index: one of its platforms was never copied here, and may run all the same.
                children.push("m11".to_owned());
                missing.push("m11");
            } else if lost {
                subjects.push("nowhere".to_owned());
                missing.push("nowhere");
            }
            for child in children.iter().filter(|child| *child != "m11") {
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
            if place % 3 == 2 {
                // Pushed again in another format: the same config under another digest.
                manifest.record["config"] = manifests[place - 1].record["config"].clone();
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

fn stays(verdicts: &Verdicts) -> impl Iterator<Item = &str> {
    verdicts.0.iter().filter(|verdict| !verdict.goes()).map(|verdict| verdict.name.as_str())
}

fn deletes(rule: &&str) -> bool {
    ALL.into_iter().find(|known| known.name() == *rule).is_some_and(Rule::deletes)
}

/// The tags of a manifest that a use of this repository names.
fn is_used(scene: &Scene, tag: &str) -> bool {
    scene.inventory_age.is_some() && scene.uses.iter().any(|used| used["tag"] == tag && used["repository"] == REPOSITORY)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, max_global_rejects: 1_000_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_held_is_ever_deleted(scene in scenes()) {
        let verdicts = scene.verdicts();
        let gone = verdicts.gone();
        for verdict in &verdicts.0 {
            let (name, manifest) = (&verdict.name, find(&scene, &verdict.name));
            let tags: Vec<&str> = manifest.record["tags"].as_array().unwrap().iter().filter_map(|tag| tag.as_str()).collect();
            let children = names(&scene, manifest, "children");
            if verdict.goes() {
                prop_assert!(!is_named(&scene, manifest), "{name} is in use or on the keep list");
                prop_assert!(scene.complete, "{name} is in a frozen repository");
                prop_assert!(verdict.rules().iter().all(deletes), "{name} is kept and deleted: {:?}", verdict.reasons);
                let content_in_use = |digest: &serde_json::Value| scene.inventory_age.is_some() && scene.uses.iter().any(|used| ["digest", "runningDigest"].iter().any(|key| used[*key] == *digest));
                prop_assert!(!manifest.record["children"].as_array().unwrap().iter().any(content_in_use), "{name} goes and a child of it runs, here or not");
                let used_child = children.iter().find(|child| is_named(&scene, find(&scene, child)));
                prop_assert_eq!(used_child, None, "{} goes and its child is in use", name);
                let subjects = names(&scene, manifest, "subjects");
                prop_assert!(subjects.iter().all(|subject| gone.contains(&subject.as_str())), "{name} goes and its subject stays");
                prop_assert!(tags.iter().all(|tag| scene.policy.tags.selects(tag)), "{name} goes with a tag that is not selected");
            } else {
                let lost_child = children.iter().find(|child| gone.contains(&child.as_str()));
                prop_assert_eq!(lost_child, None, "{} stays and its child goes", name);
                prop_assert!(verdict.action == Action::Untag || !verdict.rules().iter().any(deletes), "{name} stays for a delete rule");
                prop_assert!(verdict.untag.is_empty() || verdict.untag.len() < tags.len(), "the last tag of {name} goes");
                prop_assert!(!verdict.untag.iter().any(|tag| is_used(&scene, tag)), "a tag of {name} goes and is in use");
            }
        }
    }

    #[test]
    fn the_order_of_the_input_does_not_matter(scene in scenes(), seed in any::<u64>()) {
        let mut shuffled = scene.clone();
        shuffled.manifests.sort_by_key(|manifest| digest(&format!("{seed} {}", manifest.name)));
        shuffled.uses.reverse();
        let (before, after) = (scene.verdicts(), shuffled.verdicts());
        for verdict in &before.0 {
            let other = after.of(&verdict.name);
            prop_assert_eq!((verdict.action, &verdict.untag), (other.action, &other.untag));
            // Which of several parents a sentence tells of may differ; by which rules it is decided may not.
            prop_assert_eq!(verdict.rules(), other.rules());
        }
    }

    #[test]
    fn a_further_use_never_deletes_more(scene in scenes(), further in one_use()) {
        let before = scene.verdicts();
        // The newest of a repository that would be emptied is held in place of one in use; it yields when one is found.
        prop_assume!(!before.0.iter().any(|verdict| verdict.rules().contains(&Rule::Last.name())));
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
        for verdict in thinned.verdicts().0 {
            let earlier = before.of(&verdict.name);
            prop_assert!(earlier.goes() || !verdict.goes(), "{} goes only because others were dropped", verdict.name);
            prop_assert!(earlier.goes() || verdict.untag.iter().all(|tag| earlier.untag.contains(tag)), "{} loses a tag only because others were dropped", verdict.name);
        }
    }
}
