//! What the objects of one source say together: `use` records.
//!
//! Owns the topmost owner, the merging of what is the same use, the count of pods, the order. How objects are gathered is
//! [`gathering`]'s. Pure.

mod gathering; // what the objects of a source said, kept small

use std::cmp::Ordering;
use std::collections::HashMap;

use common::digest::Digest;
use common::record::{Field, Use};
use common::reference::Reference;

pub(crate) use self::gathering::Gathering;
use self::gathering::{Known, Number, Numbers, Said, Who, place};
use crate::object::Role;

/// What makes two uses the same. The API group of the owner is no part of it: a record does not say it, and one object may be given
/// under two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key<'a> {
    namespace: Option<&'a str>,
    kind: Option<&'a str>,
    name: Option<&'a str>,
    container: Option<&'a str>,
    image: &'a str,
    running: Option<&'a Digest>,
}

/// What a use gathers.
#[derive(Debug)]
struct Gathered<'a> {
    field: Option<Field>,
    reference: &'a Reference,
    pods: Vec<Number>,
}

impl Gathered<'_> {
    /// Takes what another one gathered.
    fn absorb(&mut self, other: &mut Self) {
        self.field = first(self.field, other.field);
        self.pods.append(&mut other.pods);
    }
}

/// The field that stands first in the order of fields; none says nothing.
fn first(one: Option<Field>, other: Option<Field>) -> Option<Field> {
    one.into_iter().chain(other).min()
}

/// What was said in the same words by objects of one namespace that have one topmost owner.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Group {
    namespace: Option<Number>,
    owner: Number,
    statement: Number,
    is_history: bool,
}

impl Gathering {
    /// The uses that it comes to, all at once.
    #[cfg(test)]
    pub(crate) fn uses(self, source: &str) -> Vec<Use> {
        let mut uses = Vec::new();
        let taken: Result<(), std::convert::Infallible> = self.each_use(source, |used| {
            uses.push(used);
            Ok(())
        });
        let Ok(()) = taken;
        uses
    }

    /// Hands out the uses that it comes to, in a fixed order: namespace, owner, container, image, digest. One after the other, because
    /// the records of a large cluster take more memory than all that led to them.
    ///
    /// # Errors
    /// What `take` says; no further use is handed out then.
    pub(crate) fn each_use<E>(self, source: &str, take: impl FnMut(Use) -> Result<(), E>) -> Result<(), E> {
        let Self { texts, identities, known, owners, references, statements, said } = self;
        let everyone = Everyone::new(&texts, &identities, &known);
        let statements = statements.in_order();
        let owners = everyone.topmost(&everyone.owners(owners));
        let mut groups: HashMap<Group, Vec<Number>> = HashMap::new();
        for Said { by, statement, role } in said {
            let is_history = match role {
                Role::History => true,
                Role::Idle => !everyone.known(by).has_pods,
                Role::Pod | Role::Template => false,
            };
            let namespace = everyone.who(by).and_then(|who| who.namespace);
            let owner = owners.get(place(by)).copied().unwrap_or(by);
            let pods = groups.entry(Group { namespace, owner, statement, is_history }).or_default();
            if role == Role::Pod {
                pods.push(by);
            }
        }
        let mut uses: Vec<(Key<'_>, Option<&Digest>, Gathered<'_>)> = Vec::with_capacity(groups.len());
        for (Group { namespace, owner, statement, is_history }, pods) in groups {
            let Some(statement) = statements.get(place(statement)) else { continue };
            let (Some(owner), Some(reference)) = (everyone.who(owner), references.get(&statement.image)) else { continue };
            // The namespace is the object's own: an owner of the whole cluster, such as the node of a static pod, has none.
            let key = Key {
                namespace: everyone.text(namespace),
                kind: everyone.text(owner.kind),
                name: owner.name.as_deref(),
                container: everyone.text(statement.container),
                image: everyone.text(Some(statement.image)).unwrap_or_default(),
                running: statement.running.as_ref(),
            };
            let field = if is_history { Some(Field::History) } else { statement.field };
            uses.push((key, statement.config.as_ref(), Gathered { field, reference, pods }));
        }
        uses.sort_unstable_by(|(key, config, _), (other_key, other_config, _)| (key, config).cmp(&(other_key, other_config)));
        // Of one key, the use of which nobody told the config comes first.
        uses.dedup_by(|(key, config, gathered), (known_key, known_config, known)| {
            let is_same = key == known_key && (config == known_config || known_config.is_none());
            if is_same {
                *known_config = *config;
                known.absorb(gathered);
            }
            is_same
        });
        uses.into_iter().map(|(key, config, gathered)| everyone.record(source, key, config, gathered)).try_for_each(take)
    }
}

/// All objects and owners, by their numbers.
struct Everyone<'a> {
    texts: Vec<&'a str>,
    numbers: &'a Numbers<Who>,
    identities: Vec<&'a Who>,
    known: &'a [Known],
}

impl<'a> Everyone<'a> {
    fn new(texts: &'a Numbers<Box<str>>, numbers: &'a Numbers<Who>, known: &'a [Known]) -> Self {
        let texts = texts.in_order().into_iter().map(AsRef::as_ref).collect();
        Self { texts, numbers, identities: numbers.in_order(), known }
    }

    fn who(&self, number: Number) -> Option<&'a Who> {
        self.identities.get(place(number)).copied()
    }

    fn known(&self, number: Number) -> Known {
        self.known.get(place(number)).copied().unwrap_or_default()
    }

    fn text(&self, number: Option<Number>) -> Option<&'a str> {
        self.texts.get(place(number?)).copied()
    }

    /// What tells identities apart, in the order in which they are preferred.
    fn compare(&self, one: Number, other: Number) -> Ordering {
        let said = |number| {
            let who = self.who(number);
            let text = |text: Option<Number>| self.text(text);
            who.map(|who| (text(who.namespace), text(who.kind), who.name.as_deref(), text(Some(who.group))))
        };
        said(one).cmp(&said(other))
    }

    /// The owner of each. An object may be given twice, as it was written and as it is in the cluster; then the one that has an owner
    /// tells it.
    fn owners(&self, said: impl IntoIterator<Item = (Number, Number)>) -> Vec<Option<Number>> {
        let mut owners: Vec<Option<Number>> = vec![None; self.identities.len()];
        for (object, owner) in said {
            if let Some(known) = owners.get_mut(place(object))
                && known.is_none_or(|known| self.compare(known, owner).is_lt())
            {
                *known = Some(owner);
            }
        }
        owners
    }

    /// The topmost owner of each: follows owner references as far as the input goes. The last of them need not be in it.
    fn topmost(&self, owners: &[Option<Number>]) -> Vec<Number> {
        let mut topmost: Vec<Option<Number>> = vec![None; owners.len()];
        let mut path: Vec<Number> = Vec::new();
        for start in (0..).take(owners.len()) {
            // Where each of the path stands in it.
            let mut seen: HashMap<Number, usize> = HashMap::new();
            let mut current = start;
            let end = loop {
                if let Some(known) = topmost.get(place(current)).copied().flatten() {
                    break known;
                }
                if let Some(begin) = seen.insert(current, path.len()) {
                    // Whoever is in the ring is the topmost of his own.
                    for member in path.drain(begin..) {
                        set(&mut topmost, member, member);
                    }
                    break current;
                }
                path.push(current);
                match self.next(owners, current) {
                    Some(owner) => current = owner,
                    None => break current,
                }
            };
            for member in path.drain(..) {
                set(&mut topmost, member, end);
            }
        }
        (0..).zip(topmost).map(|(number, topmost)| topmost.unwrap_or(number)).collect()
    }

    fn next(&self, owners: &[Option<Number>], current: Number) -> Option<Number> {
        // A cluster-scoped owner has no namespace, and the reference to it does not say so.
        let object = if self.known(current).is_object {
            current
        } else {
            self.numbers.get(&Who { namespace: None, ..self.who(current)?.clone() })?
        };
        owners.get(place(object)).copied().flatten()
    }

    fn record(&self, source: &str, key: Key<'_>, config: Option<&Digest>, gathered: Gathered<'_>) -> Use {
        let Gathered { field, reference, mut pods } = gathered;
        pods.sort_unstable();
        pods.dedup();
        let pod = pods.iter().copied().min_by(|one, other| self.compare(*one, *other));
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let count = |pods: usize| u64::try_from(pods).unwrap_or(u64::MAX);
        Use {
            image: key.image.to_owned(),
            registry: reference.registry.as_str().to_owned(),
            repository: reference.repository.as_str().to_owned(),
            tag: reference.tag.as_ref().map(ToString::to_string),
            digest: reference.digest.clone(),
            running_digest: key.running.cloned(),
            config_digest: config.cloned(),
            source: Some(source.to_owned()),
            namespace: owned(key.namespace),
            kind: owned(key.kind),
            name: owned(key.name),
            container: owned(key.container),
            field,
            pods: count(pods.len()),
            finished_pods: count(pods.iter().filter(|pod| self.known(**pod).is_finished).count()),
            pod: pod.and_then(|pod| self.who(pod)).and_then(|who| owned(who.name.as_deref())),
            listed_as: None,
        }
    }
}

fn set(topmost: &mut [Option<Number>], of: Number, owner: Number) {
    if let Some(known) = topmost.get_mut(place(of)) {
        *known = Some(owner);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::object::{Found, Identity, Mention, Object};

    fn gathered(objects: impl IntoIterator<Item = Object>) -> Gathering {
        let mut gathering = Gathering::default();
        objects.into_iter().for_each(|object| gathering.add(object));
        gathering
    }

    fn uses(objects: Vec<Object>) -> Vec<Use> {
        gathered(objects).uses("prod")
    }

    /// The uses that a text makes: `namespace/kind/name container field image running pods pod`.
    fn shown(text: &str) -> Vec<String> {
        let found = Found::in_text(text);
        assert_eq!(found.faults, [], "{text}");
        uses(found.objects)
            .iter()
            .map(|used| {
                assert_eq!(used.source.as_deref(), Some("prod"));
                let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
                format!(
                    "{}/{}/{} {} {} {} {} {} {}",
                    text(&used.namespace),
                    text(&used.kind),
                    text(&used.name),
                    text(&used.container),
                    serde_json::to_value(used.field).unwrap().as_str().unwrap(),
                    used.image,
                    used.running_digest.as_ref().map_or_else(|| "-".to_owned(), |digest| digest.hex()[..2].to_owned()),
                    used.pods,
                    text(&used.pod)
                )
            })
            .collect()
    }

    fn object(version: &str, kind: &str, name: &str, owner: Option<(&str, &str)>, spec: &str) -> String {
        let owner = owner.map_or_else(String::new, |(kind, name)| {
            let version = if kind == "Node" { "v1" } else { "apps/v1" };
            format!(", ownerReferences: [{{apiVersion: {version}, kind: {kind}, name: {name}, controller: true}}]")
        });
        format!("---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: shop{owner}}}\n{spec}\n")
    }

    fn template(image: &str, replicas: u32) -> String {
        format!("spec: {{replicas: {replicas}, template: {{spec: {{containers: [{{name: app, image: '{image}'}}]}}}}}}")
    }

    fn pod(name: &str, owner: Option<(&str, &str)>, image: &str, running: &str) -> String {
        let status = format!("status: {{containerStatuses: [{{name: app, imageID: 'app@sha256:{}'}}]}}", running.repeat(32));
        object("v1", "Pod", name, owner, &format!("spec: {{containers: [{{name: app, image: '{image}'}}]}}\n{status}"))
    }

    #[test]
    fn pods_are_counted_at_their_topmost_owner_and_old_replica_sets_are_history() {
        let text = object("apps/v1", "Deployment", "web", None, &template("app:2", 2))
            + &object("apps/v1", "ReplicaSet", "web-2", Some(("Deployment", "web")), &template("app:2", 2))
            + &object("apps/v1", "ReplicaSet", "web-1", Some(("Deployment", "web")), &template("app:1", 0))
            + &pod("web-2-b", Some(("ReplicaSet", "web-2")), "app:2", "aa")
            + &pod("web-2-a", Some(("ReplicaSet", "web-2")), "app:2", "aa")
            + &pod("web-2-c", Some(("ReplicaSet", "web-2")), "app:2", "bb");
        assert_eq!(
            shown(&text),
            [
                "shop/Deployment/web app history app:1 - 0 -",
                "shop/Deployment/web app container app:2 - 0 -",
                "shop/Deployment/web app container app:2 aa 2 web-2-a",
                "shop/Deployment/web app container app:2 bb 1 web-2-c",
            ]
        );
    }

    #[test]
    fn a_replica_set_that_still_has_a_pod_is_no_history() {
        let text = object("apps/v1", "ReplicaSet", "web-1", Some(("Deployment", "web")), &template("app:1", 0))
            + &pod("web-1-a", Some(("ReplicaSet", "web-1")), "app:1", "aa");
        assert_eq!(shown(&text), ["shop/Deployment/web app container app:1 - 0 -", "shop/Deployment/web app container app:1 aa 1 web-1-a"]);
    }

    #[test]
    fn a_replica_set_scaled_to_zero_merges_into_its_deployment() {
        let text = object("apps/v1", "ReplicaSet", "web-1", Some(("Deployment", "web")), &template("app:1", 0))
            + &object("apps/v1", "Deployment", "web", None, &template("app:1", 0));
        assert_eq!(shown(&text), ["shop/Deployment/web app container app:1 - 0 -"]);
    }

    #[test]
    fn an_owner_outside_of_the_input_is_named_as_it_stands() {
        assert_eq!(
            shown(&pod("web-5f7c9-x2k4q", Some(("ReplicaSet", "web-5f7c9")), "app:1", "aa")),
            ["shop/ReplicaSet/web-5f7c9 app container app:1 aa 1 web-5f7c9-x2k4q"]
        );
        assert_eq!(shown(&pod("alone", None, "app:1", "aa")), ["shop/Pod/alone app container app:1 aa 1 alone"]);
    }

    #[test]
    fn an_owner_of_the_whole_cluster_is_found_and_the_namespace_stays() {
        let text = pod("etcd-n1", Some(("Node", "n1")), "app:3", "aa")
            + "---\napiVersion: v1\nkind: Node\nmetadata: {name: n1, ownerReferences: [{apiVersion: apps/v1, kind: Machine, name: m1}]}\n";
        assert_eq!(shown(&text), ["shop/Machine/m1 app container app:3 aa 1 etcd-n1"]);
    }

    #[test]
    fn owners_that_own_each_other_end() {
        let text = object("apps/v1", "ReplicaSet", "a", Some(("ReplicaSet", "b")), &template("app:1", 1))
            + &object("apps/v1", "ReplicaSet", "b", Some(("ReplicaSet", "a")), &template("app:2", 1));
        assert_eq!(shown(&text).len(), 2);
    }

    #[test]
    fn a_controller_revision_is_history_of_its_owner() {
        let data = "data: {spec: {template: {spec: {containers: [{name: db, image: 'db:1'}]}}}}";
        let text = object("apps/v1", "ControllerRevision", "db-1", Some(("StatefulSet", "db")), data);
        assert_eq!(shown(&text), ["shop/StatefulSet/db db history db:1 - 0 -"]);
    }

    #[test]
    fn the_same_pod_given_twice_is_one_pod() {
        let one = pod("web-a", Some(("ReplicaSet", "web")), "app:1", "aa");
        assert_eq!(shown(&(one.clone() + &one)), ["shop/ReplicaSet/web app container app:1 aa 1 web-a"]);
    }

    #[test]
    fn pods_that_have_ended_are_counted_as_such() {
        let of = |name: &str, phase: &str| {
            pod(name, Some(("Job", "import")), "app:1", "aa").replace("status: {", &format!("status: {{phase: {phase}, "))
        };
        let text = of("a", "Succeeded") + &of("b", "Failed") + &of("c", "Running") + &of("d", "Pending") + &of("e", "Unknown");
        // Who also gives the manifest of which it was made knows no more of it.
        let text = text + &pod("a", Some(("Job", "import")), "app:1", "aa");
        let counts: Vec<(u64, u64)> = uses(Found::in_text(&text).objects).iter().map(|used| (used.pods, used.finished_pods)).collect();
        assert_eq!(counts, [(5, 2)]);
    }

    #[test]
    fn no_config_digest_is_merged_away() {
        let of = |digits: &str| {
            pod(&format!("web-{digits}"), Some(("ReplicaSet", "web")), "app:1", digits).replace("app@sha256:", "docker://sha256:")
        };
        let found = Found::in_text(&(of("aa") + &of("bb")));
        let configs: Vec<String> = uses(found.objects).iter().filter_map(|used| Some(used.config_digest.as_ref()?.short())).collect();
        assert_eq!(configs, ["sha256:aaaaaaaaaaaa", "sha256:bbbbbbbbbbbb"]);
    }

    #[test]
    fn uses_that_differ_in_nothing_that_a_record_says_are_one() {
        for (one, other) in [("apps/v1", "extensions/v1beta1"), ("x.io/v1", "y.io/v1")] {
            let text = object(one, "Deployment", "web", None, &template("app:1", 1))
                + &object(other, "Deployment", "web", None, &template("app:1", 1));
            assert_eq!(shown(&text), ["shop/Deployment/web app container app:1 - 0 -"]);
        }
        // A ReplicaSet that was saved under the old group is the owner that a pod names under the new one.
        let text = object("extensions/v1beta1", "ReplicaSet", "web-1", Some(("Deployment", "web")), &template("app:1", 1))
            + &pod("web-1-a", Some(("ReplicaSet", "web-1")), "app:1", "aa");
        assert_eq!(shown(&text), ["shop/Deployment/web app container app:1 - 0 -", "shop/Deployment/web app container app:1 aa 1 web-1-a"]);
    }

    #[test]
    fn a_config_that_only_one_pod_tells_makes_no_second_record() {
        let with = pod("web-a", Some(("ReplicaSet", "web")), "app:1", "aa");
        let told = with
            .replace("web-a", "web-b")
            .replace("name: app, imageID", &format!("name: app, image: 'sha256:{}', imageID", "cc".repeat(32)));
        let found = Found::in_text(&(with + &told));
        let records = uses(found.objects);
        assert_eq!(records.len(), 1, "{records:?}");
        assert!(records.iter().all(|used| used.pods == 2 && used.config_digest.is_some() && used.running_digest.is_some()), "{records:?}");
    }

    #[test]
    fn the_order_of_the_objects_does_not_matter() {
        let texts = [
            object("apps/v1", "Deployment", "web", None, &template("app:2", 2)),
            object("apps/v1", "ReplicaSet", "web-2", Some(("Deployment", "web")), &template("app:2", 0)),
            object("apps/v1", "ReplicaSet", "web-2", None, &template("app:2", 0)),
            pod("web-2-b", Some(("ReplicaSet", "web-2")), "app:2", "aa"),
            pod("web-2-a", Some(("ReplicaSet", "web-2")), "app:2", "aa"),
        ];
        let forward: String = texts.concat();
        let backward: String = texts.iter().rev().map(String::as_str).collect();
        assert_eq!(shown(&forward), shown(&backward));
    }

    /// Objects of a small world, in which the same one is given again, owners are missing, of the whole cluster, or each other's.
    fn objects() -> impl Strategy<Value = Vec<Object>> {
        let some = |texts: &'static [&'static str]| select(texts).prop_map(|text| (!text.is_empty()).then(|| text.to_owned()));
        let identity = move || {
            (some(&["", "shop"]), some(&["Pod", "Pod", "ReplicaSet", "Node"]), some(&["", "a", "b", "c"]), select(vec!["", "apps"]))
                .prop_map(|(namespace, kind, name, group)| Identity { namespace, kind, name, group: group.to_owned() })
        };
        let digest = || option::of(select(vec!["a", "b"]).prop_map(|digit| format!("sha256:{}", digit.repeat(64)).parse().unwrap()));
        let field = option::of(select(vec![Field::Container, Field::InitContainer]));
        let mention = (some(&["", "app"]), field, select(vec!["app:1", "app:2"]), digest(), digest()).prop_map(
            |(container, field, image, running, config)| {
                let reference = Arc::new(image.parse().unwrap());
                Mention { container, field, image: image.to_owned(), reference, running, config }
            },
        );
        let object = (
            identity(),
            option::of(identity()),
            vec(mention, 0..3),
            select(vec![Role::Template, Role::Idle, Role::History]),
            any::<bool>(),
        )
            .prop_map(|(identity, owner, mentions, role, finished)| {
                let role = if identity.kind.as_deref() == Some("Pod") { Role::Pod } else { role };
                Object { identity, owner, role, finished: finished && role == Role::Pod, mentions }
            });
        vec(object, 0..12)
    }

    proptest! {
        #[test]
        fn neither_order_nor_splitting_nor_repetition_matters(
            (given, parts) in objects().prop_flat_map(|objects| {
                let parts = vec(0..3_usize, objects.len());
                (Just(objects), parts)
            }),
            (shuffled, again) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        ) {
            let expected = gathered(given.clone()).uses("prod");
            let mut split = [Gathering::default(), Gathering::default(), Gathering::default()];
            for (object, part) in given.iter().zip(parts).rev() {
                split[part].add(object.clone());
            }
            if !given.is_empty() {
                split[shuffled.index(3)].add(again.get(&given).clone());
            }
            split.rotate_left(shuffled.index(3));
            let mut joined = Gathering::default();
            split.into_iter().for_each(|part| joined.absorb(part));
            prop_assert_eq!(joined.uses("prod"), expected);
        }
    }
}
