//! What an inventory names and a storage does not have, or has otherwise by now. Pure.

use std::collections::{BTreeMap, BTreeSet};

use common::check::judge::{Image, Judged};
use common::digest::Digest;
use common::inventory::Inventory;
use common::record::{Problem, Use};
use common::reference::Host;

use crate::draft::{Draft, Weight};

/// What uses name in one repository that was judged. What is there and broken is told already, and is not told again.
pub(crate) fn in_repository<'a>(registry: &Host, name: &str, judged: &Judged, uses: impl Iterator<Item = &'a Use>) -> Vec<Draft> {
    let images: BTreeMap<&str, &Image> = judged.images.iter().filter_map(|image| Some((image.tag.as_deref()?, image))).collect();
    let told: BTreeSet<&Digest> = judged.faults.iter().filter_map(|fault| fault.digest.as_ref()).collect();
    let (mut tags, mut pinned, mut gone) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut moved = BTreeSet::new();
    for record in uses {
        let lacks = |digest: &Digest| !judged.known.contains(digest) && !told.contains(digest);
        match (&record.digest, &record.tag) {
            // Where a digest is pinned the tag is but a word.
            (Some(digest), _) if lacks(digest) => drop(pinned.insert(digest)),
            (None, Some(tag)) if !images.contains_key(tag.as_str()) => drop(tags.insert(tag.as_str())),
            _ => {}
        }
        let Some(running) = record.running_digest.as_ref().filter(|running| record.digest.as_ref() != Some(running)) else { continue };
        if lacks(running) {
            gone.insert(running);
            continue;
        }
        let image = record.tag.as_deref().filter(|_| record.digest.is_none()).and_then(|tag| images.get(tag));
        if let Some(Image { tag: Some(tag), digest: Some(led), content, .. }) = image
            && led != running
            && !content.contains(running)
        {
            moved.insert((tag.as_str(), led, running));
        }
    }
    let draft = |problem, weight, detail: String| of(registry, name, problem, weight, detail);
    let tags = tags.into_iter().map(|tag| {
        let detail = "an inventory names the tag, and the repository does not have it".to_owned();
        Draft { tags: vec![tag.to_owned()], ..draft(Problem::ManifestMissing, Weight::Broken, detail) }
    });
    let pinned = pinned.into_iter().map(|digest| {
        let detail = "an inventory names the manifest, and the repository does not have it".to_owned();
        Draft { digest: Some(digest.clone()), ..draft(Problem::ManifestMissing, Weight::Broken, detail) }
    });
    let gone = gone.into_iter().map(|digest| {
        let detail =
            "it runs, and the repository has no such manifest any more: it runs from the nodes' caches alone, and would fail on reschedule";
        Draft { digest: Some(digest.clone()), ..draft(Problem::RunningDigestGone, Weight::Broken, detail.to_owned()) }
    });
    let moved = moved.into_iter().map(|(tag, led, running)| {
        let detail = format!("{tag} leads to {led} now, and {running} runs: the image would change on reschedule");
        let draft = draft(Problem::TagMoved, Weight::Note, detail);
        Draft { tags: vec![tag.to_owned()], digest: Some(running.clone()), ..draft }
    });
    tags.chain(pinned).chain(gone).chain(moved).collect()
}

/// The repositories of a registry that only the inventory knows, of those that are `wanted`.
pub(crate) fn repositories(registry: &Host, inventory: &Inventory, names: &[String], wanted: impl Fn(&str) -> bool) -> Vec<Draft> {
    let there: BTreeSet<(Host, String)> = names.iter().map(|name| inventory.names().canonical(registry, name)).collect();
    let host = inventory.names().canonical(registry, "").0;
    let named = inventory.entries().map(|entry| inventory.names().canonical(entry.host(), &entry.record.repository));
    let lacking: BTreeSet<(Host, String)> = named.filter(|name| name.0 == host && !there.contains(name) && wanted(&name.1)).collect();
    let detail = "an inventory names the repository, and the storage does not have it";
    lacking.iter().map(|(_, name)| of(registry, name, Problem::RepositoryGhost, Weight::Broken, detail.to_owned())).collect()
}

fn of(registry: &Host, name: &str, problem: Problem, weight: Weight, detail: String) -> Draft {
    let (registry, repository) = (Some(registry.clone()), Some(name.to_owned()));
    Draft { registry, repository, ..Draft::new(problem, weight, detail) }
}
