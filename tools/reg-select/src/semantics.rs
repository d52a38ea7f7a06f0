//! What a verdict means, rule by rule, on small repositories.

use chrono::TimeDelta;
use common::duration::Duration;

use crate::policy::Order;
use crate::rule::Rule;
use crate::scene::{Manifest, REGISTRY, REPOSITORY, Scene, digest, image, uses_digest, uses_tag};

/// Six versions, the newest first; all older than a day.
fn versions() -> Vec<Manifest> {
    vec![
        image("v6", &["v6", "latest"], 2),
        image("v5", &["v5"], 3),
        image("v4", &["v4"], 4),
        image("v3", &["v3"], 5),
        image("v2", &["v2"], 6),
        image("v1", &["v1"], 7),
    ]
}

#[test]
fn evict_empties_what_nobody_uses() {
    assert_eq!(Scene::new(versions()).evict().verdicts().gone(), ["v6", "v5", "v4", "v3", "v2", "v1"]);
}

#[test]
fn evict_keeps_the_newest_three_and_each_in_use_with_the_two_before_it() {
    let mut manifests = versions();
    manifests.extend([image("v0", &["v0"], 8), image("v-1", &["v-1"], 9), image("v-2", &["v-2"], 10)]);
    let verdicts = Scene::new(manifests).evict().used([uses_tag("v2")]).verdicts();
    assert_eq!(verdicts.gone(), ["v3", "v-1", "v-2"]);
    assert_eq!(verdicts.rules("v2"), ["in-use", "keep-around-in-use"]);
    assert_eq!(verdicts.why("v2", Rule::InUse), "prod/shop/Deployment/web runs v2");
    assert_eq!(verdicts.why("v0", Rule::KeepAroundInUse), "number 2 before v2, which is in use");
    assert_eq!(verdicts.why("v4", Rule::KeepNewest), "number 3 of the newest 3");
    assert_eq!(verdicts.rules("v3"), ["delete-rest"]);
}

#[test]
fn pods_that_have_finished_hold_their_image_and_are_called_so() {
    for (pods, finished, expected) in [
        (0, 0, "prod/shop/Deployment/web runs v2"),
        (1, 0, "prod/shop/Deployment/web runs v2"),
        (3, 0, "prod/shop/Deployment/web runs v2 in 3 pods"),
        (3, 2, "prod/shop/Deployment/web runs v2 in 3 pods"),
        (3, 3, "prod/shop/Deployment/web ran v2 in 3 finished pods"),
        (1, 1, "prod/shop/Deployment/web ran v2 in 1 finished pod"),
    ] {
        let mut used = uses_tag("v2");
        used["pods"] = pods.into();
        used["finishedPods"] = finished.into();
        let verdicts = Scene::new(versions()).delete_rest().used([used]).verdicts();
        assert_eq!((verdicts.why("v2", Rule::InUse), verdicts.rules("v2")), (expected, vec!["in-use"]));
    }
}

#[test]
fn nothing_younger_than_a_day_goes_even_where_nobody_uses_it() {
    let verdicts = Scene::new([image("new", &["new"], 0), image("old", &["old"], 2)]).evict().verdicts();
    assert_eq!((verdicts.gone(), verdicts.rules("new")), (vec!["old"], vec!["keep-within"]));
}

#[test]
fn lifecycle_deletes_what_is_old_and_unused_and_not_among_the_newest() {
    let scene = Scene::new(versions()).keep_newest(2).policy(|policy| policy.delete_older_than = Some(Duration::days(4)));
    let verdicts = scene.clone().used([uses_tag("v2")]).verdicts();
    assert_eq!(verdicts.gone(), ["v4", "v3", "v1"]);
    assert_eq!(scene.policy(|policy| policy.delete_older_than = Some(Duration::seconds(0))).verdicts().gone(), Vec::<&str>::new());
}

#[test]
fn what_no_rule_matches_stays() {
    let verdicts = Scene::new(versions()).policy(|policy| policy.delete_untagged = true).verdicts();
    assert_eq!((verdicts.gone().len(), verdicts.rules("v1")), (0, vec!["no-rule"]));
}

#[test]
fn a_use_holds_by_tag_digest_running_digest_and_config() {
    for (key, name) in [("digest", "v2"), ("runningDigest", "v2"), ("configDigest", "config of v2")] {
        for (registry, repository) in [(REGISTRY, REPOSITORY), ("elsewhere.local", "other/app")] {
            let verdicts = Scene::new(versions()).delete_rest().used([uses_digest(registry, repository, key, name)]).verdicts();
            assert_eq!(verdicts.gone(), ["v6", "v5", "v4", "v3", "v1"], "{key} {registry}");
        }
    }
}

#[test]
fn a_digest_stays_with_all_of_its_tags() {
    let verdicts =
        Scene::new([image("a", &["1.2", "stable"], 9), image("b", &["1.1"], 10)]).delete_rest().used([uses_tag("stable")]).verdicts();
    assert_eq!(verdicts.gone(), ["b"]);
}

#[test]
fn equal_content_elsewhere_is_held_and_opens_no_window() {
    let scene = Scene::new(versions()).delete_rest().policy(|policy| policy.keep_around_in_use = Some(2));
    assert_eq!(
        scene.clone().used([uses_digest("elsewhere.local", "other/app", "digest", "v4")]).verdicts().gone(),
        ["v6", "v5", "v3", "v2", "v1"]
    );
    assert_eq!(scene.used([uses_digest(REGISTRY, REPOSITORY, "digest", "v4")]).verdicts().gone(), ["v6", "v5", "v1"]);
}

#[test]
fn a_use_under_another_name_holds_until_its_host_is_a_stranger() {
    let mut used = uses_tag("v4");
    used["registry"] = "mirror.local".into();
    used["image"] = "mirror.local/team/app:v4".into();
    let scene = Scene::new(versions()).delete_rest().used([used]);
    let verdicts = scene.verdicts();
    assert_eq!((verdicts.gone(), verdicts.rules("v4")), (vec!["v6", "v5", "v3", "v2", "v1"], vec!["in-use-other-name"]));
    assert!(verdicts.why("v4", Rule::InUseOtherName).contains("as mirror.local/team/app:v4"));
    let alias = Scene { aliases: vec![format!("mirror.local={REGISTRY}")], ..scene.clone() }.verdicts();
    assert_eq!(alias.rules("v4"), ["in-use"]);
    let stranger = Scene { strangers: vec!["mirror.local".into()], ..scene }.verdicts();
    assert_eq!(stranger.gone().len(), 6);
}

#[test]
fn a_repository_is_in_use_even_by_a_tag_that_is_gone() {
    let verdicts = Scene::new(versions()).evict().used([uses_tag("gone")]).verdicts();
    assert_eq!(verdicts.gone(), ["v3", "v2", "v1"]);
}

#[test]
fn a_repository_in_use_is_never_emptied() {
    let verdicts = Scene::new(versions()).delete_rest().used([uses_tag("gone")]).verdicts();
    assert_eq!((verdicts.gone(), verdicts.rules("v6")), (vec!["v5", "v4", "v3", "v2", "v1"], vec!["last"]));
}

fn multi_arch() -> Vec<Manifest> {
    vec![
        image("index", &["v1"], 30).children(&["amd64", "arm64", "attestation"]),
        image("amd64", &[], 30).parents(&["index"]),
        image("arm64", &["v1-arm64"], 1).parents(&["index"]),
        image("attestation", &[], 30).parents(&["index"]).undated(),
        image("signature", &[&format!("sha256-{}.sig", digest("amd64").hex())], 0).undated().subjects(&["amd64"]),
    ]
}

#[test]
fn dependents_go_with_all_that_they_depend_on() {
    let verdicts = Scene::new(multi_arch()).delete_rest().policy(|policy| policy.keep_within = Some(Duration::days(2))).verdicts();
    assert_eq!(verdicts.gone(), ["index", "amd64", "arm64", "attestation", "signature"], "their own dates are not asked for");
    assert_eq!(verdicts.why("amd64", Rule::Dependent), "goes with v1");
}

#[test]
fn an_index_stays_if_a_child_is_in_use_and_keeps_the_others() {
    for child in ["amd64", "arm64"] {
        let verdicts = Scene::new(multi_arch()).delete_rest().used([uses_digest(REGISTRY, REPOSITORY, "runningDigest", child)]).verdicts();
        assert_eq!(verdicts.gone(), Vec::<&str>::new(), "{child}");
        assert_eq!(verdicts.rules("index"), ["child-in-use"]);
        assert_eq!(verdicts.rules("signature"), ["referrer-of-kept"]);
    }
}

#[test]
fn a_referrer_never_holds_its_subject() {
    let mut used = uses_tag("x");
    used["tag"] = format!("sha256-{}.sig", digest("amd64").hex()).into();
    let verdicts = Scene::new(multi_arch()).delete_rest().used([used]).verdicts();
    // The index is the last tagged one of a repository in use; without it the subject would go.
    assert_eq!(verdicts.rules("index"), ["last"]);
    let mut with_newer = multi_arch();
    with_newer.push(image("newer", &["v2"], 1));
    let mut used = uses_tag("x");
    used["tag"] = format!("sha256-{}.sig", digest("amd64").hex()).into();
    let verdicts = Scene::new(with_newer).delete_rest().keep_newest(1).used([used]).verdicts();
    assert_eq!(verdicts.gone(), ["index", "amd64", "arm64", "attestation"]);
}

#[test]
fn a_dependent_tag_that_is_not_selected_keeps_it_and_takes_no_place() {
    let verdicts = Scene::new(multi_arch()).delete_rest().tags(&["v\\d+"], &[]).verdicts();
    assert_eq!((verdicts.gone(), verdicts.rules("arm64")), (vec!["index", "amd64", "attestation", "signature"], vec!["also-tagged"]));
    let mut manifests = multi_arch();
    manifests.push(image("older", &["v0"], 40));
    assert_eq!(Scene::new(manifests).delete_rest().keep_newest(1).verdicts().gone(), ["older"]);
}

#[test]
fn a_use_of_a_platform_counts_at_its_index() {
    let mut manifests = multi_arch();
    manifests.extend([image("before", &["v0"], 40), image("long before", &["v-1"], 50)]);
    let scene = Scene::new(manifests).delete_rest().policy(|policy| policy.keep_around_in_use = Some(1));
    for used in [uses_tag("v1-arm64"), uses_digest(REGISTRY, REPOSITORY, "runningDigest", "amd64")] {
        assert_eq!(scene.clone().used([used]).verdicts().gone(), ["long before"]);
    }
}

#[test]
fn a_child_shared_with_an_index_that_stays_stays() {
    let manifests = [
        image("old", &["v1"], 30).children(&["shared", "own"]),
        image("new", &["v2"], 3).children(&["shared"]),
        image("shared", &[], 30).parents(&["old", "new"]),
        image("own", &[], 30).parents(&["old"]),
    ];
    let verdicts = Scene::new(manifests).delete_rest().keep_newest(1).verdicts();
    assert_eq!((verdicts.gone(), verdicts.why("shared", Rule::ChildOfKept)), (vec!["old", "own"], "belongs to v2"));
}

#[test]
fn a_referrer_whose_subject_is_gone_is_judged_as_untagged() {
    let orphan = image("orphan", &["sha256-0000000000000000000000000000000000000000000000000000000000000000.sig"], 9);
    let orphan = orphan.subjects(&[]).missing(&[]);
    let mut manifests = versions();
    manifests.push(Manifest {
        record: {
            let mut record = orphan.record;
            record["missing"] = serde_json::json!(["sha256:0000000000000000000000000000000000000000000000000000000000000000"]);
            record
        },
        name: "orphan".into(),
    });
    let scene = Scene::new(manifests).policy(|policy| policy.delete_untagged = true);
    assert_eq!(scene.verdicts().gone(), ["orphan"]);
    assert_eq!(scene.tags(&[".*"], &[]).verdicts().gone(), Vec::<&str>::new(), "what has no tag is not selected where tags are asked for");
}

#[test]
fn untagged_manifests_and_caches_take_no_place_and_go_by_their_own_date() {
    let manifests = || {
        vec![image("untagged", &[], 1), image("cache", &["buildcache"], 1).build_cache(), image("v2", &["v2"], 5), image("v1", &["v1"], 6)]
    };
    let verdicts = Scene::new(manifests()).keep_newest(1).policy(|policy| policy.delete_older_than = Some(Duration::days(3))).verdicts();
    assert_eq!(verdicts.gone(), ["v1"]);
    let verdicts = Scene::new(manifests()).keep_newest(1).delete_rest().verdicts();
    assert_eq!(verdicts.gone(), ["untagged", "cache", "v1"]);
    let verdicts = Scene::new(manifests()).policy(|policy| policy.delete_untagged = true).verdicts();
    assert_eq!(verdicts.gone(), ["untagged"]);
    assert_eq!(Scene::new(manifests()).delete_rest().tags(&[], &["v2"]).verdicts().gone(), ["cache", "v1"]);
}

#[test]
fn unknown_dates_are_held_and_take_no_place() {
    let manifests = || {
        vec![
            image("epoch", &["9"], 0).created("1970-01-01T00:00:00Z"),
            image("future", &["8"], -1),
            image("none", &["7"], 0).undated(),
            image("b", &["2"], 2),
            image("a", &["1"], 3),
        ]
    };
    let verdicts = Scene::new(manifests()).delete_rest().keep_newest(1).verdicts();
    assert_eq!(verdicts.gone(), ["a"]);
    for name in ["epoch", "future", "none"] {
        assert_eq!(verdicts.rules(name), ["no-date"], "{name}");
    }
    let by_version = Scene::new(manifests()).delete_rest().keep_newest(1).policy(|policy| policy.order = Order::Version).verdicts();
    assert_eq!(
        (by_version.gone(), by_version.rules("epoch"), by_version.rules("none")),
        (vec!["b", "a"], vec!["no-date", "keep-newest"], vec!["no-date"]),
        "--order version gives a place and lifts nothing else"
    );
    let no_rule_asks =
        Scene::new(manifests()).delete_rest().keep_newest(1).policy(|policy| policy.order = Order::Version).without_inventory().verdicts();
    assert_eq!(no_rule_asks.gone(), ["future", "none", "b", "a"]);
}

#[test]
fn age_is_the_later_of_built_and_pushed() {
    let manifests = [
        image("rebuilt", &["1"], 900).pushed_days_ago(2),
        image("epoch", &["2"], 0).created("1980-01-01T00:00:01Z").pushed_days_ago(9),
        image("old", &["3"], 9).pushed_days_ago(20),
    ];
    let verdicts = Scene::new(manifests).policy(|policy| policy.delete_older_than = Some(Duration::days(5))).verdicts();
    assert_eq!(verdicts.gone(), ["epoch", "old"]);
}

#[test]
fn what_is_newer_than_the_inventory_is_held() {
    let scene = Scene { inventory_age: Some(TimeDelta::hours(20)), ..Scene::new([image("after", &["2"], 0), image("before", &["1"], 1)]) }
        .delete_rest();
    let verdicts = scene.verdicts();
    assert_eq!((verdicts.gone(), verdicts.rules("after")), (vec!["before"], vec!["newer-than-inventory"]));
}

#[test]
fn what_was_pushed_after_the_run_began_is_not_judged_by_when_it_was_built() {
    let verdicts = Scene::new([image("rebuilt", &["prod"], 300).pushed_days_ago(-1), image("old", &["old"], 300)]).evict().verdicts();
    assert_eq!((verdicts.gone(), verdicts.rules("rebuilt")), (vec!["old"], vec!["no-date"]));
}

#[test]
fn a_child_in_use_that_is_missing_holds_its_index_and_opens_its_window() {
    let mut manifests = versions();
    manifests[2] = image("v4", &["v4"], 4).children(&["here", "gone"]).missing(&["gone"]);
    manifests.push(image("here", &[], 4).parents(&["v4"]));
    let scene = Scene::new(manifests).delete_rest().used([uses_digest(REGISTRY, REPOSITORY, "runningDigest", "gone")]);
    let verdicts = scene.verdicts();
    assert_eq!((verdicts.gone(), verdicts.rules("v4")), (vec!["v6", "v5", "v3", "v2", "v1"], vec!["child-in-use"]));
    let around = scene.policy(|policy| policy.keep_around_in_use = Some(1)).verdicts();
    assert_eq!(around.gone(), ["v6", "v5", "v2", "v1"]);
}

#[test]
fn a_config_that_is_shared_does_not_tell_that_all_came() {
    let shared = |manifest: Manifest| Manifest {
        record: {
            let mut record = manifest.record;
            record["config"] = serde_json::json!(digest("shared config"));
            record
        },
        ..manifest
    };
    let scene = |names: &[&str]| {
        let mut manifests = versions();
        manifests[0] = shared(manifests[0].clone());
        manifests[5] = shared(manifests[5].clone());
        let scene = Scene {
            manifest_count: Some(6),
            ..Scene::new(manifests.into_iter().filter(|manifest| !names.contains(&manifest.name.as_str())))
        };
        scene
            .delete_rest()
            .policy(|policy| policy.keep_around_in_use = Some(2))
            .used([uses_digest(REGISTRY, REPOSITORY, "configDigest", "shared config")])
            .verdicts()
    };
    assert_eq!(scene(&[]).gone(), ["v3", "v2"]);
    assert_eq!(scene(&["v6"]).gone(), Vec::<&str>::new());
}

#[test]
fn counts_are_of_digests_and_not_of_tags() {
    let manifests = [image("c", &["v5", "latest", "stable"], 2), image("b", &["v4"], 3), image("a", &["v3"], 4)];
    assert_eq!(Scene::new(manifests).delete_rest().keep_newest(2).verdicts().gone(), ["a"]);
    let only_latest = [image("c", &["latest"], 2), image("b", &["v4"], 3), image("a", &["v3"], 4)];
    assert_eq!(Scene::new(only_latest).delete_rest().keep_newest(2).verdicts().gone(), ["a"]);
}

#[test]
fn digests_in_use_take_places_too() {
    assert_eq!(Scene::new(versions()).delete_rest().keep_newest(2).used([uses_tag("v6")]).verdicts().gone(), ["v4", "v3", "v2", "v1"]);
}

#[test]
fn the_order_is_time_then_version_then_tag_then_digest() {
    let same = |name: &str, tag: &str| image(name, &[tag], 5);
    let scene = |manifests: Vec<Manifest>| Scene::new(manifests).delete_rest().keep_newest(1);
    assert_eq!(scene(vec![same("a", "1.9"), same("b", "1.10")]).verdicts().gone(), ["a"]);
    assert_eq!(scene(vec![same("a", "alpha"), same("b", "beta")]).verdicts().gone(), ["a"]);
    let by_version = scene(vec![image("old but higher", &["v2.0"], 9), image("new but lower", &["v1.9", "aaa"], 1)])
        .policy(|policy| policy.order = Order::Version);
    assert_eq!(by_version.verdicts().gone(), ["new but lower"]);
    let backwards = scene(vec![same("b", "1.10"), same("a", "1.9")]);
    assert_eq!(backwards.verdicts().gone(), ["a"], "the order of the input does not matter");
}

#[test]
fn a_tag_that_is_no_version_is_held_where_versions_are_counted() {
    let verdicts = Scene::new([image("main", &["main"], 2), image("b", &["2"], 3), image("a", &["1"], 4)])
        .delete_rest()
        .keep_newest(1)
        .policy(|policy| policy.order = Order::Version)
        .verdicts();
    assert_eq!((verdicts.gone(), verdicts.rules("main")), (vec!["a"], vec!["no-version"]));
}

#[test]
fn a_digest_goes_only_if_every_tag_of_it_is_selected() {
    let scene = Scene::new([image("a", &["1.2", "latest"], 9), image("b", &["1.1"], 10)]).delete_rest().tags(&[], &["latest"]);
    let verdicts = scene.verdicts();
    assert_eq!((verdicts.gone(), verdicts.why("a", Rule::AlsoTagged)), (vec!["b"], "also tagged latest"));
    assert_eq!(verdicts.untagged("a"), Vec::<String>::new());
    let verdicts = scene.policy(|policy| policy.untag = true).verdicts();
    assert_eq!(verdicts.untagged("a"), ["1.2"]);
}

#[test]
fn untag_spares_what_is_named_and_the_last() {
    let scene = |tags: &[&str]| {
        Scene::new([image("a", tags, 9), image("b", &["other"], 1)]).delete_rest().keep_newest(1).policy(|policy| policy.untag = true)
    };
    assert_eq!(scene(&["1", "2", "3"]).used([uses_tag("2")]).keeping("team/app:3").verdicts().untagged("a"), ["1"]);
    assert_eq!(
        scene(&["1.9", "1.10"]).used([uses_digest(REGISTRY, REPOSITORY, "digest", "a")]).verdicts().untagged("a"),
        ["1.9"],
        "never the last"
    );
    assert_eq!(scene(&["1", "2"]).verdicts().gone(), ["a"]);
    let kept = Scene::new([image("a", &["1", "2"], 9)]).delete_rest().keep_newest(1).policy(|policy| policy.untag = true).verdicts();
    assert_eq!(kept.untagged("a"), Vec::<String>::new(), "what a keep rule keeps does not expire");
}

#[test]
fn the_keep_list_holds_in_every_repository() {
    let verdicts = Scene::new(versions()).evict().keeping("team/*:v[12]\n").verdicts();
    assert_eq!((verdicts.gone(), verdicts.why("v1", Rule::KeepList)), (vec!["v6", "v5", "v4", "v3"], "the keep list names team/*:v[12]"));
    assert_eq!(Scene::new(versions()).evict().keeping("other.example.com/team/app").verdicts().gone().len(), 6);
    assert_eq!(Scene::new(versions()).evict().keeping("team/app").verdicts().gone().len(), 0);
    assert_eq!(Scene::new(versions()).evict().keeping(&format!("team/app@{}", digest("v3"))).verdicts().gone().len(), 5);
    assert_eq!(
        Scene::new(multi_arch()).delete_rest().keeping(&format!("team/app@{}", digest("amd64"))).verdicts().gone(),
        Vec::<&str>::new()
    );
}

#[test]
fn a_frozen_repository_is_held_whole() {
    let verdicts = Scene { complete: false, ..Scene::new(versions()).delete_rest() }.verdicts();
    assert_eq!(verdicts.gone(), Vec::<&str>::new());
    assert!(verdicts.why("v1", Rule::Frozen).contains("503") && verdicts.why("v1", Rule::Frozen).contains("reg-check"));
}

#[test]
fn a_repository_that_is_not_meant_is_left_alone() {
    assert_eq!(Scene::new(versions()).delete_rest().only_repository("other/*").verdicts().gone(), Vec::<&str>::new());
}

#[test]
fn what_a_filter_dropped_is_not_taken_for_gone() {
    let dropped = |names: &[&str]| {
        let all = multi_arch();
        Scene {
            manifest_count: Some(all.len() as u64),
            ..Scene::new(all.into_iter().filter(|manifest| !names.contains(&manifest.name.as_str()))).delete_rest()
        }
    };
    assert_eq!(dropped(&["index"]).verdicts().gone(), Vec::<&str>::new(), "its children are not abandoned");
    assert_eq!(dropped(&["amd64"]).verdicts().rules("index"), ["filtered"]);
    assert_eq!(dropped(&["signature"]).verdicts().gone().len(), 4);
}

#[test]
fn where_the_place_of_what_is_in_use_is_lost_all_is_held() {
    let scene = Scene { manifest_count: Some(6), ..Scene::new(versions().into_iter().filter(|manifest| manifest.name != "v4")) };
    let scene = scene.delete_rest().used([uses_tag("v4")]);
    let verdicts = scene.clone().policy(|policy| policy.keep_around_in_use = Some(2)).verdicts();
    assert_eq!((verdicts.gone(), verdicts.rules("v1")), (Vec::<&str>::new(), vec!["filtered"]));
    assert_eq!(scene.verdicts().gone(), ["v5", "v3", "v2", "v1"], "without a window there is no place to lose");
    let nothing_dropped =
        Scene::new(versions()).delete_rest().policy(|policy| policy.keep_around_in_use = Some(2)).used([uses_tag("gone"), uses_tag("v6")]);
    assert_eq!(nothing_dropped.verdicts().gone(), ["v3", "v2", "v1"], "a tag that is gone from the registry is no lost place");
}

#[test]
fn all_reasons_are_told() {
    let verdicts = Scene::new(versions()).evict().used([uses_tag("v6"), uses_tag("latest")]).keeping("team/app:v6").verdicts();
    assert_eq!(verdicts.rules("v6"), ["in-use", "keep-list", "keep-newest", "keep-around-in-use"]);
    let old = Scene::new(versions()).delete_rest().policy(|policy| policy.delete_older_than = Some(Duration::days(6))).verdicts();
    assert_eq!(old.rules("v1"), ["delete-older-than", "delete-rest"]);
    let both = Scene::new(multi_arch())
        .delete_rest()
        .used([uses_tag("v1"), uses_digest(REGISTRY, REPOSITORY, "runningDigest", "amd64")])
        .verdicts();
    assert_eq!(both.rules("index"), ["in-use", "child-in-use"]);
}

#[test]
fn nested_indexes_hold_all_the_way() {
    let manifests = [
        image("outer", &["v1"], 30).children(&["inner"]),
        image("inner", &[], 30).children(&["leaf"]).parents(&["outer"]),
        image("leaf", &[], 30).parents(&["inner"]),
        image("sbom", &[], 30).subjects(&["leaf"]),
        image("other", &["v2"], 20),
    ];
    let used = Scene::new(manifests.clone()).delete_rest().used([uses_digest(REGISTRY, REPOSITORY, "runningDigest", "leaf")]).verdicts();
    assert_eq!(used.gone(), ["other"]);
    assert_eq!(Scene::new(manifests.clone()).delete_rest().keep_newest(1).verdicts().gone(), ["outer", "inner", "leaf", "sbom"]);
    let without_leaf = Scene::new(manifests.into_iter().filter(|manifest| manifest.name != "leaf")).delete_rest().keep_newest(1).verdicts();
    assert_eq!(without_leaf.rules("outer"), ["filtered"], "the leaf that a filter dropped may be in use");
}
