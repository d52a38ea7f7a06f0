//! The storage trees of the harness: what its oracle and its reference collector say of them agrees, and a real registry serves them.
//! What judges `reg-gc` is judged here first.

use std::collections::BTreeSet;
use std::fs;

use serde_json::json;
use tests::fixtures::OCI_MANIFEST;
use tests::tree::random::{self, Random};
use tests::tree::{MODES, age, reference, sha512_of};
use tests::*;

#[test]
fn oracle_and_reference_agree_on_random_trees() {
    let mut went = 0;
    for seed in 0..200 {
        let folder = temporary();
        let tree = random::tree(folder.path(), seed);
        for mode in MODES {
            let judgement = reference::judge(tree.root(), mode);
            assert_eq!(judgement.doubtful, BTreeSet::new(), "seed {seed}");
            let oracle = tree.fate(mode);
            assert_eq!(oracle.difference(&judgement.fate), None, "seed {seed}, {mode:?}: first the oracle, second the reference");
            assert_eq!(oracle, judgement.fate);
            went += oracle.goes.blobs.len();
        }
    }
    assert!(went > 1000, "only {went} blobs go from 200 trees");
}

#[test]
fn the_same_seed_makes_the_same_tree() {
    let folders = [temporary(), temporary()];
    let [first, second] = folders.each_ref().map(|folder| random::tree(folder.path(), 7).fate(Mode::Untagged));
    assert_eq!(first, second);
    let folder = temporary();
    assert_ne!(random::tree(folder.path(), 8).fate(Mode::Untagged), first);
}

#[test]
fn no_damage_lets_the_reference_take_what_it_kept_before() {
    for seed in 0..100 {
        let folder = temporary();
        let tree = random::tree(folder.path(), seed);
        let before = MODES.map(|mode| reference::judge(tree.root(), mode).fate);
        // A link that cannot be read, or a manifest: whatever it was, nothing may go for want of it.
        let revisions = tree.revisions();
        let Some((repository, digest)) = Random::seeded(seed).pick(&revisions).cloned() else { continue };
        match seed % 3 {
            0 => tree.storage().empty_revision_link(&repository, &digest),
            1 => tree.storage().truncate_blob(&digest, 30),
            _ => tree.storage().cut_revision_link(&repository, &digest, 70),
        }
        for (mode, before) in MODES.into_iter().zip(before) {
            let after = reference::judge(tree.root(), mode);
            assert!(after.doubtful.contains(&repository), "seed {seed}: {repository} is not doubtful");
            assert!(before.stays.revisions.is_subset(&after.fate.stays.revisions), "seed {seed}");
            // What only an index elsewhere, which can no longer be read, led to is kept where it has links.
            let lost = before.stays.layer_links.difference(&after.fate.stays.layer_links).count();
            assert_eq!(lost, 0, "seed {seed}");
        }
    }
}

#[test]
fn damaged_trees_are_judged_without_end_or_panic() {
    for seed in 0..100 {
        let folder = temporary();
        let tree = random::tree(folder.path(), seed);
        let faults = random::damage(&tree, &mut Random::seeded(seed), 3);
        for mode in MODES {
            let judgement = reference::judge(tree.root(), mode);
            let blobs = judgement.fate.stays.blobs.len() + judgement.fate.goes.blobs.len();
            assert!(blobs <= tree.size()[0], "seed {seed}: {faults:?}");
        }
    }
}

#[test]
fn a_registry_serves_what_is_whole() {
    let folder = temporary();
    let mut served = 0;
    for seed in 0..12 {
        let root = folder.path().join(seed.to_string());
        let tree = random::tree(&root, seed);
        let registry = Registry::with().storage_at(&root).start();
        let client = registry.client();
        for (repository, digest) in tree.whole() {
            let answer = client.head(&repository, &digest);
            if answer.status != 200 {
                let manifest = fs::read_to_string(tree.storage().blob(&digest)).unwrap();
                assert!(is_odd(&manifest), "seed {seed}: {repository}@{digest} is answered with {}: {manifest}", answer.status);
                continue;
            }
            assert_eq!(answer.digest(), digest, "seed {seed}: {repository}");
            for blob in tree.blobs_of(&digest) {
                let answer = client.send("HEAD", &format!("/v2/{repository}/blobs/{blob}"), &[], b"");
                assert_eq!(answer.status, 200, "seed {seed}: {repository} {blob}");
                served += 1;
            }
        }
    }
    assert!(served > 100, "only {served} blobs were asked for");
}

/// What Distribution keeps, and answers for with an error: schema 1 without a signature, artifact manifests.
fn is_odd(manifest: &str) -> bool {
    manifest.contains("\"schemaVersion\":1") || manifest.contains("artifact.manifest")
}

#[test]
fn every_tag_of_a_tree_pulls() {
    let folder = temporary();
    let tree = Tree::new(folder.path());
    let old = Image::new().layer("base").layer("old").tag("v1").push_by(&tree, "team/app");
    Image::docker().layer("base").layer("new").tag("v1").tag("latest").push_by(&tree, "team/app");
    let index = Index::new()
        .child("linux/amd64", Image::new().layer("base").layer("amd64"))
        .child("linux/arm64", Image::new().layer("base").layer("arm64"))
        .tag("multi")
        .push_by(&tree, "team/app/nested");
    Signature::cosign(&index).push_by(&tree, "team/app/nested");
    let deleted = Image::new().layer("deleted").tag("gone").push_by(&tree, "team/app");
    tree.api_delete("team/app", &deleted.digest);
    tree.put_image_by_sha512("alias", "v1", "named by its SHA-512");
    tree.untag("team/app", "latest");
    tree.tag("team/app", "old", &old.digest);
    tree.upload("team/app", 9, b"half of a layer");
    tree.empty_layer_folder("team/app", "long gone");
    tree.stray_temporary(&tree.storage().tag_link("team/app", "v1"));
    tree.age_everything(30);

    let registry = Registry::with().storage_at(tree.root()).start();
    let mut tags = registry.client().tags("team/app");
    tags.extend(registry.client().tags("team/app/nested"));
    assert_eq!(tags.len(), 4, "{tags:?}");
    assert_eq!(tree.tags().len(), 5);
    for (repository, tag, digest) in tree.tags() {
        if repository != "alias" {
            skopeo::pull(&registry, &format!("{repository}:{tag}")).unwrap();
            continue;
        }
        // skopeo cannot write what is named by a SHA-512; the registry gives it by both names.
        assert_eq!(registry.client().head(&repository, &tag).digest(), digest);
        for blob in tree.blobs_of(&digest) {
            assert_eq!(registry.client().blob(&repository, &blob).status, 200, "{blob}");
        }
    }
    skopeo::pull(&registry, &deleted.by_digest()).unwrap_err();
}

#[test]
fn the_oracle_tells_the_modes_apart() {
    let folder = temporary();
    let tree = Tree::new(folder.path());
    let old = Image::new().layer("base").layer("old").tag("v1").push_by(&tree, "app");
    let new = Image::new().layer("base").layer("new").tag("v1").push_by(&tree, "app");
    let sbom = Image::artifact("application/vnd.oci.empty.v1+json").subject(&old).push_by(&tree, "app");
    let kept = Image::artifact("application/vnd.oci.empty.v1+json").blob("text/plain", b"of the new").subject(&new).push_by(&tree, "app");
    assert_eq!(tree.fate(Mode::KeepUntagged).goes, tests::tree::Items::default());

    let fate = tree.fate(Mode::Untagged);
    let gone = |digest: &str| fate.goes.revisions.contains(&("app".to_owned(), digest.to_owned()));
    assert!(gone(&old.digest) && gone(&sbom.digest) && !gone(&new.digest) && !gone(&kept.digest));
    assert!(fate.goes.blobs.contains_key(&old.layers[1]) && fate.stays.blobs.contains_key(&old.layers[0]));
    assert!(fate.goes.layer_links.contains(&("app".to_owned(), old.layers[1].clone())));
    assert_eq!(fate.goes.tag_index.iter().map(|(_, tag, digest)| (&**tag, digest)).collect::<Vec<_>>(), [("v1", &old.digest)]);
    assert_eq!(fate.goes.tally()["bytes"], fate.goes.bytes());

    // What runs by its digest holds that.
    let used = reference::judge_with_uses(tree.root(), Mode::Untagged, &BTreeSet::from([old.config.clone()]));
    assert!(used.fate.goes.revisions.is_empty(), "{:?}", used.fate.goes.revisions);
}

/// A child that one repository lists and does not have, and another has: what B2 of both collectors took apart.
#[test]
fn a_child_lives_wherever_an_index_lists_it() {
    let folder = temporary();
    let tree = Tree::new(folder.path());
    let child = Image::new().layer("of the child").push_by(&tree, "b");
    Index::new().entry(&child).tag("v1").push_by(&tree, "b");
    Index::new().entry(&child).annotation("sparse", "yes").tag("v1").push_by(&tree, "a");
    for mode in MODES {
        assert_eq!(tree.fate(mode).goes, tests::tree::Items::default());
        assert_eq!(reference::judge(tree.root(), mode).fate, tree.fate(mode));
    }
}

#[test]
fn what_cannot_be_understood_holds_its_repository() {
    let folder = temporary();
    let tree = Tree::new(folder.path());
    let old = Image::new().layer("old").push_by(&tree, "app");
    let new = Image::new().layer("new").tag("v1").push_by(&tree, "app");
    let other = Image::new().layer("other").push_by(&tree, "other");
    let goes = |mode| reference::judge(tree.root(), mode).fate.goes.revisions;
    assert_eq!(goes(Mode::Untagged).len(), 2);

    // Nobody can say which manifest the tag was.
    tree.storage().empty_tag_link("app", "v1");
    assert_eq!(goes(Mode::Untagged), BTreeSet::from([("app".to_owned(), old.digest.clone()), ("other".to_owned(), other.digest.clone())]));
    tree.storage().truncate_blob(&new.digest, 20);
    assert_eq!(goes(Mode::Untagged), BTreeSet::from([("other".to_owned(), other.digest)]));
    let judgement = reference::judge(tree.root(), Mode::Untagged);
    assert_eq!(judgement.doubtful, BTreeSet::from(["app".to_owned()]));
    assert!(judgement.fate.stays.blobs.contains_key(&old.layers[0]) && judgement.fate.stays.blobs.contains_key(&new.layers[0]));
}

#[test]
fn manifests_may_lie_under_a_sha512() {
    let folder = temporary();
    let tree = Tree::new(folder.path());
    let layer = tree.put_blob("app", b"a layer");
    let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [{"digest": layer, "size": 7}]}).to_string();
    let digest = sha512_of(manifest.as_bytes());
    assert_eq!(tree.put_manifest("app", &digest, OCI_MANIFEST, manifest.as_bytes()), digest);
    age(&tree.storage().blob(&digest), 3);
    assert_eq!(tree.fate(Mode::KeepUntagged).goes, tests::tree::Items::default());
    let fate = tree.fate(Mode::Untagged);
    assert_eq!(fate.goes.blobs.keys().collect::<Vec<_>>(), [&layer, &digest]);
    assert_eq!(reference::judge(tree.root(), Mode::Untagged).fate, fate);
}
