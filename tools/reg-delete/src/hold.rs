//! What is held although the plan takes it: what a fresh inventory says is in use, and what hangs together with what stays.
//!
//! The rules are those by which plans are decided: in use by tag, digest, running digest or config digest; an index a child of
//! which is in use; children and referrers of what stays. Pure; what only the registry knows is found out by `survey`.

use common::graph::Graph;
use common::inventory::{Inventory, UseEntry};
use common::reference::Tag;

use crate::survey::Survey;
use crate::work::Work;

/// Holds what an inventory says is in use, and the indexes of that.
pub(crate) fn by_inventory(work: &mut Work, inventory: &Inventory) {
    let uses = inventory.of_repository(&work.place.host, work.place.repository.as_str());
    // Where a tag and a digest stand together, the digest decides what is pulled; the tag is held too, as somebody relies on it.
    let user_of_tag = |tag: &Tag| uses.iter().find(|entry| entry.record.tag.as_deref() == Some(tag.as_str()));
    let by_tags =
        |tags: &std::collections::BTreeSet<Tag>| tags.iter().find_map(|tag| user_of_tag(tag).map(|entry| in_use(entry, tag.as_str())));
    let mut held = Vec::new();
    for (place, doomed) in work.deletes.iter_mut().enumerate() {
        let by_content = || {
            // An index names its children even where a filter took their records out of the plan.
            let mut content = std::iter::once(&doomed.digest).chain(&doomed.config).chain(&doomed.children);
            content.find_map(|digest| inventory.of_content(digest).next().map(|entry| in_use(entry, &digest.short())))
        };
        if let Some(why) = by_tags(&doomed.tags).or_else(by_content) {
            doomed.held.get_or_insert(why);
            held.push(place);
        }
    }
    for untag in &mut work.untags {
        if let Some(why) = by_tags(&untag.tags) {
            untag.held.get_or_insert(why);
        }
    }
    let graph = work.graph();
    raise(work, &graph, held);
    spread(work, &graph);
}

/// Holds what the registry says must stay.
pub(crate) fn by_survey(work: &mut Work, graph: &Graph, survey: &Survey) {
    let mut used = Vec::new();
    for (place, doomed) in work.deletes.iter_mut().enumerate() {
        if let Some(why) = survey.held.get(&doomed.digest) {
            doomed.held.get_or_insert_with(|| why.clone());
        }
        if let Some(child) = doomed.children.iter().find(|child| survey.used.contains(*child)) {
            doomed.held.get_or_insert_with(|| format!("its child {} is in use", child.short()));
            used.push(place);
        }
        if survey.used.contains(&doomed.digest) {
            used.push(place);
        }
    }
    raise(work, graph, used);
    spread(work, graph);
}

/// Holds the indexes of what is in use, at any depth. `used` are places in the graph.
fn raise(work: &mut Work, graph: &Graph, mut used: Vec<usize>) {
    while let Some(place) = used.pop() {
        let why = work.deletes.get(place).map(|child| format!("its child {} is in use", child.digest.short()));
        for parent in &graph.edges(place).parents {
            if let Some(doomed) = work.deletes.get_mut(*parent)
                && doomed.held.is_none()
            {
                doomed.held.clone_from(&why);
                used.push(*parent);
            }
        }
    }
}

fn in_use(entry: &UseEntry, what: &str) -> String {
    format!("in use now: {} names {what}", entry.record.user())
}

/// Holds the children and referrers of what is held, at any depth.
pub(crate) fn spread(work: &mut Work, graph: &Graph) {
    let mut open: Vec<usize> =
        (0..work.deletes.len()).filter(|place| work.deletes.get(*place).is_some_and(|doomed| doomed.held.is_some())).collect();
    while let Some(place) = open.pop() {
        let why = work.deletes.get(place).map(|above| format!("it belongs to {}, which stays", above.digest.short()));
        for dependent in graph.edges(place).dependents() {
            if let Some(doomed) = work.deletes.get_mut(dependent)
                && doomed.held.is_none()
            {
                doomed.held.clone_from(&why);
                open.push(dependent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{digest, doomed, work};
    use common::inventory::{Names, Role};
    use common::jsonl::Line;
    use serde_json::{Value, json};

    fn inventory(aliases: &[&str], uses: &[Value]) -> Inventory {
        let aliases: Vec<_> = aliases.iter().map(|alias| alias.parse().unwrap()).collect();
        let mut inventory = Inventory::new(Names::new(&aliases, &[]).unwrap());
        inventory.begin(Role::InUse, "in-use.jsonl");
        let header = json!({"type":"header","tool":"k8s-images","version":"1","schema":1,"time":"2026-11-20T12:00:00Z",
                            "scope":{"sources":[{"kind":"context","name":"prod","complete":true}],"partial":false}});
        let trailer = json!({"type":"trailer","complete":true,"records":uses.len()});
        for (number, record) in [header].iter().chain(uses).chain([&trailer]).enumerate() {
            inventory.line(&Line::new("in-use.jsonl", number as u64, &record.to_string())).unwrap();
        }
        inventory.end().unwrap();
        inventory
    }

    fn used(registry: &str, repository: &str, more: Value) -> Value {
        let mut record =
            json!({"type":"use","image":"x","registry":registry,"repository":repository,"source":"prod","kind":"Deployment","name":"web"});
        record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        record
    }

    fn held(deletes: Vec<crate::work::Doomed>, uses: &[Value]) -> Vec<usize> {
        let mut work = work(deletes);
        by_inventory(&mut work, &inventory(&["mirror.local=registry.example.com"], uses));
        (0..work.deletes.len()).filter(|place| work.deletes[*place].held.is_some()).collect()
    }

    #[test]
    fn whatever_way_it_is_named_what_is_in_use_is_held() {
        let own = "registry.example.com";
        for (name, record, expected) in [
            ("tag", used(own, "team/app", json!({"tag":"1"})), vec![0]),
            ("another tag", used(own, "team/app", json!({"tag":"2"})), vec![]),
            ("alias", used("mirror.local", "team/app", json!({"tag":"1"})), vec![0]),
            ("the same path elsewhere", used("elsewhere.local", "team/app", json!({"tag":"1"})), vec![0]),
            ("another repository", used(own, "team/other", json!({"tag":"1"})), vec![]),
            ("digest", used(own, "team/other", json!({"digest":digest("image")})), vec![0]),
            ("running digest", used(own, "x", json!({"runningDigest":digest("image")})), vec![0]),
            ("config digest", used(own, "x", json!({"configDigest":digest("config")})), vec![0]),
        ] {
            assert_eq!(held(vec![doomed("image").tagged("1").with_config("config"), doomed("other")], &[record]), expected, "{name}");
        }
    }

    #[test]
    fn what_is_used_by_digest_and_is_there_holds_its_index() {
        let mut work = work(vec![doomed("index"), doomed("inner").of("index"), doomed("sibling").of("index"), doomed("other")]);
        work.deletes[1].children.push(digest("used"));
        let survey = Survey { used: [digest("used")].into(), ..Survey::default() };
        let graph = work.graph();
        by_survey(&mut work, &graph, &survey);
        let held: Vec<bool> = work.deletes.iter().map(|doomed| doomed.held.is_some()).collect();
        assert_eq!(held, [true, true, true, false]);
    }

    #[test]
    fn a_child_that_did_not_come_holds_its_index() {
        let mut index = doomed("index");
        index.children.push(digest("filtered"));
        assert_eq!(held(vec![index, doomed("other")], &[used("x", "y", json!({"runningDigest":digest("filtered")}))]), [0]);
    }

    #[test]
    fn what_hangs_together_with_it_is_held_too() {
        let family = || {
            vec![
                doomed("index"),
                doomed("inner").of("index"),
                doomed("used").of("inner"),
                doomed("sibling").of("index"),
                doomed("signature").about("sibling"),
                doomed("stranger"),
                doomed("subject"),
                doomed("used signature").about("subject"),
            ]
        };
        let uses = |name: &str| vec![used("x", "y", json!({"runningDigest":digest(name)}))];
        assert_eq!(held(family(), &uses("used")), [0, 1, 2, 3, 4], "the index, all its children, and what is about them");
        assert_eq!(held(family(), &uses("used signature")), [7], "a referrer never holds its subject");
        assert_eq!(held(family(), &uses("subject")), [6, 7]);
    }
}
