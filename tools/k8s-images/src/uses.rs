//! What the objects of one source say together: `use` records.
//!
//! Owns the topmost owner, the merging of what is the same use, the count of pods, the order. Pure.

use std::collections::{BTreeMap, BTreeSet};

use common::digest::Digest;
use common::record::{Field, Use};
use common::reference::Reference;

use crate::object::{Identity, Mention, Object, Role};

/// What makes two uses the same. The API group of the owner is no part of it: a record does not say it, and one object may be given
/// under two of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    namespace: Option<String>,
    kind: Option<String>,
    name: Option<String>,
    container: Option<String>,
    image: String,
    running: Option<Digest>,
}

/// What a use gathers.
#[derive(Debug)]
struct Gathered<'a> {
    field: Option<Field>,
    reference: &'a Reference,
    pods: BTreeSet<&'a Identity>,
}

impl<'a> Gathered<'a> {
    fn new(reference: &'a Reference) -> Self {
        Self { field: None, reference, pods: BTreeSet::new() }
    }

    /// Takes what another one gathered.
    fn absorb(&mut self, other: Self) {
        self.field = first(self.field, other.field);
        self.pods.extend(other.pods);
    }
}

/// The same use under each digest of a config that runs: merging two of these would lose one.
type Configs<'a> = BTreeMap<Option<&'a Digest>, Gathered<'a>>;

/// The field that stands first in the order of fields; none says nothing.
fn first(one: Option<Field>, other: Option<Field>) -> Option<Field> {
    one.into_iter().chain(other).min()
}

/// Gathers what the objects of one source use.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    objects: Vec<Object>,
}

impl Gathering {
    /// Takes an object.
    pub(crate) fn add(&mut self, object: Object) {
        self.objects.push(object);
    }

    /// Takes what another one gathered.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.objects.extend(other.objects);
    }

    /// The uses, as of [`uses`].
    pub(crate) fn uses(self, source: &str) -> Vec<Use> {
        uses(source, &self.objects)
    }
}

/// The uses that the objects of one source make, in a fixed order: namespace, owner, container, image, digest.
pub(crate) fn uses(source: &str, objects: &[Object]) -> Vec<Use> {
    let mut owners: BTreeMap<&Identity, Option<&Identity>> = BTreeMap::new();
    for object in objects {
        // An object may be given twice, as it was written and as it is in the cluster; then the one that has an owner tells it.
        let owner = owners.entry(&object.identity).or_default();
        *owner = object.owner.as_ref().max(*owner);
    }
    let with_pods: BTreeSet<&Identity> =
        objects.iter().filter(|object| object.role == Role::Pod).filter_map(|pod| pod.owner.as_ref()).collect();
    let mut uses: BTreeMap<Key, Configs<'_>> = BTreeMap::new();
    for object in objects {
        let owner = topmost(&owners, &object.identity);
        let is_history = match object.role {
            Role::History => true,
            Role::Idle => !with_pods.contains(&object.identity),
            Role::Pod | Role::Template => false,
        };
        for mention in &object.mentions {
            let field = if is_history { Some(Field::History) } else { mention.field };
            let configs = uses.entry(key(owner, object, mention)).or_default();
            let gathered = configs.entry(mention.config.as_ref()).or_insert_with(|| Gathered::new(&mention.reference));
            gathered.field = first(gathered.field, field);
            if object.role == Role::Pod {
                gathered.pods.insert(&object.identity);
            }
        }
    }
    uses.into_iter()
        .flat_map(|(key, configs)| {
            let records = merged(configs).into_iter();
            records.map(move |(config, gathered)| record(source, key.clone(), config.cloned(), &gathered))
        })
        .collect()
}

/// A use of which nobody told the config is the same as one of which somebody did.
fn merged(mut configs: Configs<'_>) -> Configs<'_> {
    if configs.len() > 1
        && let Some(untold) = configs.remove(&None)
        && let Some(told) = configs.values_mut().next()
    {
        told.absorb(untold);
    }
    configs
}

/// Follows owner references as far as the input goes. The last of them need not be in it.
fn topmost<'a>(owners: &BTreeMap<&'a Identity, Option<&'a Identity>>, start: &'a Identity) -> &'a Identity {
    let mut seen = BTreeSet::new();
    let mut current = start;
    while seen.insert(current) {
        let known = owners.get_key_value(current);
        // A cluster-scoped owner has no namespace, and the reference to it does not say so.
        match known.or_else(|| owners.get_key_value(&Identity { namespace: None, ..current.clone() })) {
            Some((_, Some(owner))) => current = owner,
            _ => break,
        }
    }
    current
}

/// The namespace is the object's own: an owner of the whole cluster, such as the node of a static pod, has none.
fn key(owner: &Identity, object: &Object, mention: &Mention) -> Key {
    Key {
        namespace: object.identity.namespace.clone(),
        kind: owner.kind.clone(),
        name: owner.name.clone(),
        container: mention.container.clone(),
        image: mention.image.clone(),
        running: mention.running.clone(),
    }
}

fn record(source: &str, key: Key, config: Option<Digest>, gathered: &Gathered<'_>) -> Use {
    let Key { namespace, kind, name, container, image, running } = key;
    let reference = gathered.reference;
    Use {
        image,
        registry: reference.registry.as_str().to_owned(),
        repository: reference.repository.as_str().to_owned(),
        tag: reference.tag.as_ref().map(ToString::to_string),
        digest: reference.digest.clone(),
        running_digest: running,
        config_digest: config,
        source: Some(source.to_owned()),
        namespace,
        kind,
        name,
        container,
        field: gathered.field,
        pods: u64::try_from(gathered.pods.len()).unwrap_or(u64::MAX),
        pod: gathered.pods.first().and_then(|pod| pod.name.clone()),
        listed_as: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Found;

    /// The uses that a text makes: `namespace/kind/name container field image running pods pod`.
    fn shown(text: &str) -> Vec<String> {
        let found = Found::in_text(text);
        assert_eq!(found.faults, [], "{text}");
        uses("prod", &found.objects)
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
    fn no_config_digest_is_merged_away() {
        let of = |digits: &str| {
            pod(&format!("web-{digits}"), Some(("ReplicaSet", "web")), "app:1", digits).replace("app@sha256:", "docker://sha256:")
        };
        let found = Found::in_text(&(of("aa") + &of("bb")));
        let configs: Vec<String> =
            uses("prod", &found.objects).iter().filter_map(|used| Some(used.config_digest.as_ref()?.short())).collect();
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
        let records = uses("prod", &found.objects);
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
}
