//! On random trees `reg-gc` takes what a reference collector takes that was written for clarity, in both modes, with and without damage.

use std::sync::atomic::{AtomicUsize, Ordering};

use tests::tree::fate::Items;
use tests::tree::random::{self, Random};
use tests::tree::{MODES, reference};
use tests::*;

use super::{difference, items, mode_words, snapshot, stopped};

/// Runs a check for many seeds, on both cores.
fn for_seeds(count: u64, check: impl Fn(u64) + Sync) {
    std::thread::scope(|scope| {
        for half in 0..2 {
            let check = &check;
            scope.spawn(move || (0..count).filter(|seed| seed % 2 == half).for_each(check));
        }
    });
}

#[test]
fn whole_trees() {
    for_seeds(60, |seed| {
        let folder = temporary();
        let tree = random::tree(folder.path(), seed);
        for mode in MODES {
            let expected = reference::judge(tree.root(), mode).fate;
            let shown = stopped(tree.root(), mode_words(mode)).run().succeeds();
            assert_eq!(difference(&expected.goes, &items(&shown, "planned")), None, "seed {seed}, {mode:?}");
        }
        // What a plan shows is what is done, and what was done comes back.
        let before = snapshot(&tree.root().join("docker"));
        let mode = MODES[usize::from(seed % 3 == 0)];
        let expected = reference::judge(tree.root(), mode).fate;
        let done = stopped(tree.root(), mode_words(mode)).arg("--yes").run().succeeds();
        assert_eq!(difference(&expected.goes, &items(&done, "trashed")), None, "seed {seed}, {mode:?}");
        let after = reference::judge(tree.root(), mode).fate;
        assert_eq!(difference(&expected.stays, &after.stays), None, "seed {seed}, {mode:?}: what stays");
        assert_eq!(difference(&after.goes, &Default::default()), None, "seed {seed}, {mode:?}: left over");
        let again = stopped(tree.root(), mode_words(mode)).arg("--yes").run().succeeds();
        assert!(again.records_of("reclaim").is_empty(), "seed {seed}: a second run finds nothing\n{again}");
        super::gc(tree.root(), &["--undo", "latest", "--yes"]).run().succeeds();
        let undone = snapshot(&tree.root().join("docker"));
        assert!(before == undone, "seed {seed}: {:?}", first_difference(&before, &undone));
    });
}

#[test]
fn damaged_trees() {
    let (compared, alike) = (AtomicUsize::new(0), AtomicUsize::new(0));
    for_seeds(120, |seed| {
        let folder = temporary();
        let tree = random::tree(folder.path(), seed);
        let mut random = Random::seeded(seed ^ 0xda3a9e);
        let times = 1 + random.below(4);
        let damages = random::damage(&tree, &mut random, times);
        for mode in MODES {
            let expected = reference::judge(tree.root(), mode);
            let shown = stopped(tree.root(), mode_words(mode)).run();
            let mut planned = items(&shown, "planned");
            // Whether a link goes that leads to nothing is a matter of tidiness, which the reference does not judge.
            planned.revisions.retain(|(_, digest)| tree.storage().blob(digest).is_file());
            planned.tag_index.retain(|(_, _, digest)| tree.storage().blob(digest).is_file());
            // Where something is damaged more may stay than the reference keeps: a layer whose link is lost, and a link that is empty.
            let taken_wrongly = |kept: &Items| {
                let blobs = planned.blobs.keys().filter(|digest| kept.blobs.contains_key(*digest)).cloned();
                let links = planned.revisions.intersection(&kept.revisions).chain(planned.layer_links.intersection(&kept.layer_links));
                let index =
                    planned.tag_index.intersection(&kept.tag_index).map(|(repository, tag, digest)| format!("{repository}:{tag} {digest}"));
                blobs.chain(links.map(|(repository, digest)| format!("{repository}@{digest}"))).chain(index).collect::<Vec<_>>()
            };
            assert_eq!(
                taken_wrongly(&expected.fate.stays),
                Vec::<String>::new(),
                "seed {seed}, {mode:?}: {damages:#?}\n{}",
                shown.stderr()
            );
            compared.fetch_add(1, Ordering::Relaxed);
            alike.fetch_add(usize::from(difference(&expected.fate.goes, &planned).is_none()), Ordering::Relaxed);
            if !expected.doubtful.is_empty() {
                assert_eq!(shown.code(), Some(1), "seed {seed}, {mode:?}: {damages:#?}\n{shown}");
            }
        }
    });
    let (compared, alike) = (compared.into_inner(), alike.into_inner());
    assert!(alike * 2 > compared, "only {alike} of {compared} are alike: what is damaged is a reason to keep it, not to keep everything");
}

fn first_difference<T: Clone + PartialEq + std::fmt::Debug>(first: &[T], second: &[T]) -> Option<(Option<T>, Option<T>)> {
    let longest = first.len().max(second.len());
    (0..longest).find(|n| first.get(*n) != second.get(*n)).map(|n| (first.get(n).cloned(), second.get(n).cloned()))
}
