//! Random faults in random trees: what is checked, mended and checked again is well or says why not, and nothing healthy is harmed.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use tests::tree::random::{self, Random};
use tests::*;

use super::{changes, findings, fix, snapshot, undo};
use crate::reg_check::agrees::serves;

/// The tags that a registry serves whole, with what they name.
fn healthy(tree: &Tree, registry: &Registry) -> BTreeSet<(String, String, String)> {
    let served = |(repository, tag, _): &(String, String, String)| serves(registry.client(), repository, tag).is_ok();
    let named = |(repository, tag, _): (String, String, String)| {
        let digest = registry.client().manifest(&repository, &tag).digest();
        (repository, tag, digest)
    };
    tree.tags().into_iter().filter(served).map(named).collect()
}

fn text<'a>(record: &'a Value, key: &str) -> &'a str {
    record[key].as_str().unwrap_or_default()
}

/// Whether a fault that is still found is one of which was said why.
fn is_told(finding: &Value, repairs: &[Value]) -> bool {
    repairs.iter().any(|repair| {
        let is_same = text(repair, "repository") == text(finding, "repository")
            && (text(repair, "digest") == text(finding, "digest") || text(repair, "path") == text(finding, "path"));
        is_same && !text(repair, "why").is_empty() && matches!(text(repair, "result"), "left" | "skipped")
    })
}

fn mend(root: &Path, words: &[&str], found: &[Value]) -> Vec<Value> {
    let ran = fix(root, words, found).arg("--yes").run();
    assert!(matches!(ran.code(), Some(0 | 1)), "{ran}");
    let repairs = ran.records_of("repair");
    let is_left = repairs.iter().any(|repair| text(repair, "result") == "left");
    assert_eq!(ran.code(), Some(i32::from(is_left)), "{ran}");
    assert!(repairs.iter().all(|repair| text(repair, "result") != "failed"), "{ran}");
    repairs
}

#[test]
fn checked_and_mended_and_checked_again_is_well_or_says_why() {
    let mut mended = 0;
    for seed in 0..16 {
        let folder = temporary();
        let root = folder.path().join("root");
        let tree = random::tree(&root, seed);
        let faults = random::damage(&tree, &mut Random::seeded(seed + 500), 6);
        let registry = Registry::with().storage_at(&root).cache_off().start();
        let served = healthy(&tree, &registry);
        let damaged = snapshot(&root);
        for words in [&[][..], &["--stopped"], &["--stopped", "--drop"]] {
            let found = findings(&root);
            let repairs = mend(&root, words, &found);
            mended += repairs.iter().filter(|repair| text(repair, "result") == "repaired").count();
            for finding in findings(&root).iter().filter(|finding| matches!(text(finding, "severity"), "error" | "warning")) {
                assert!(is_told(finding, &repairs), "seed {seed}, {words:?}, {faults:#?}\n{finding}\n{repairs:#?}");
            }
            let still = healthy(&tree, &registry);
            let harmed: Vec<_> = served.difference(&still).collect();
            assert!(harmed.is_empty(), "seed {seed}, {words:?}, {faults:#?}\n{harmed:?}");
        }
        undo(&root, &["all", "--stopped", "--yes"]).run().succeeds();
        assert_eq!(changes(&damaged, &snapshot(&root)), [""; 0], "seed {seed}, {faults:#?}");
    }
    assert!(mended > 40, "{mended}");
}
