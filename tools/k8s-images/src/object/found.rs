//! Documents into objects.
//!
//! Owns what is an object, what is a list of them and what is neither; which object one is, and whose. Which images it names is
//! [`super::mentions`]'s. What is cut off, or was never built, is a fault, because it could hide an image. Pure.

use super::references::References;
use super::{Doubt, Identity, Mentions, Object, Role, controlling, group};
use crate::document::{self, Fault};
use crate::tree::{Map, Node, Text};

/// What a text's documents hold.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The objects.
    pub(crate) objects: Vec<Object>,
    /// How many documents were lists, be they empty.
    pub(crate) lists: usize,
    /// How many documents were no Kubernetes objects, such as a file of values.
    pub(crate) strangers: usize,
    /// What is wrong.
    pub(crate) faults: Vec<Fault>,
    /// What may be.
    pub(crate) doubts: Vec<Doubt>,
    /// The names that were read already.
    references: References,
    /// Whether the objects are known to be custom resources, which otherwise their groups tell.
    are_custom: bool,
}

impl Found {
    /// Of objects of which their cluster says that they are custom resources.
    pub(crate) fn of_custom_resources() -> Self {
        Self { are_custom: true, ..Self::default() }
    }

    /// Reads all documents of a text.
    pub(crate) fn in_text(text: &str) -> Self {
        let (documents, faults) = document::read(text);
        let mut found = Self { faults, ..Self::default() };
        documents.iter().for_each(|document| found.add(document));
        found.faults.sort_by_key(|fault| fault.at);
        found
    }

    /// Takes a document.
    pub(crate) fn add(&mut self, document: &Node) {
        match document {
            Node::Map(map) => self.add_object(map, None),
            Node::List(items) => items.iter().for_each(|item| self.add(item)),
            Node::Null => {}
            Node::Text(text) => self.fault(Some(text), "is a text, and no Kubernetes object".to_owned()),
            Node::Unread { .. } | Node::Passed => self.fault(None, "holds a scalar, and no Kubernetes object".to_owned()),
        }
    }

    /// Takes an object; `of` is the list that it stands in, because the items of a PodList need not say that they are pods.
    fn add_object(&mut self, map: &Map, of: Option<&Identity>) {
        let identity = identity(map, of);
        let kind = identity.kind.as_deref().unwrap_or_default();
        if is_list(map, &identity) {
            self.add_list(map, &identity);
            return;
        }
        if identity.kind.is_none() {
            self.strangers += 1;
            if map.get("apiVersion").is_some() {
                self.fault(map.first_text(), "holds an apiVersion, and no kind after it: it was cut off".to_owned());
            }
        }
        if identity.group == "kustomize.config.k8s.io" {
            self.fault(map.text("kind"), format!("{kind}: {}", Unbuilt::Kustomization));
            return;
        }
        let mut mentions = self.mentions(&identity);
        mentions.add_object(map, kind);
        if kind == "Pod" {
            mentions.add_statuses(map);
        }
        let role = role(map, &identity);
        self.add_mentions(owner(map, &identity), identity, role, mentions);
    }

    /// Begins with an object; what is found in it is for [`Self::add_mentions`].
    pub(crate) fn mentions(&mut self, identity: &Identity) -> Mentions {
        let mut mentions = Mentions::of(identity, std::mem::take(&mut self.references));
        if self.are_custom {
            mentions.take_for_custom();
        }
        mentions
    }

    /// Takes what was found in an object.
    pub(crate) fn add_mentions(&mut self, owner: Option<Identity>, identity: Identity, role: Role, mentions: Mentions) {
        let Mentions { found, faults, doubts, finished, references, .. } = mentions;
        self.references = references;
        self.faults.extend(faults);
        self.doubts.extend(doubts);
        let finished = role == Role::Pod && finished;
        self.objects.push(Object { owner, identity, role, finished, mentions: found });
    }

    /// Takes an item of a list, which need not say its kind.
    pub(crate) fn add_item(&mut self, item: &Node, list: &Identity) {
        match item {
            Node::Map(map) => self.add_object(map, Some(list)),
            Node::Null => self.fault(None, format!("{}: one of its items is empty", list.kind.as_deref().unwrap_or("a list"))),
            other => self.add(other),
        }
    }

    fn add_list(&mut self, list: &Map, identity: &Identity) {
        self.lists += 1;
        if identity.kind.is_none() {
            // kubectl writes the keys in order, and the kind after the items.
            self.fault(list.text("apiVersion"), "holds items, and no kind after them: it was cut off".to_owned());
        } else if !matches!(list.get("items"), Some(Node::List(_))) {
            let cause = format!("{}: its items are missing: it was cut off", identity.who());
            self.fault(list.text("kind").or_else(|| list.first_text()), cause);
        }
        if let Some(token) = list.map("metadata").and_then(|metadata| metadata.text("continue")) {
            self.fault(Some(token), "is one page of a longer list (metadata.continue): ask for the whole list".to_owned());
        }
        for item in list.list("items") {
            match item {
                Node::Map(map) => self.add_object(map, Some(identity)),
                Node::Null => self.fault(list.text("kind"), format!("{}: one of its items is empty: it was cut off", identity.who())),
                other => self.add(other),
            }
        }
        self.add_beside_items(list, identity);
    }

    /// Takes the pod templates that stand beside the items. No list of Kubernetes has any; a custom resource whose kind happens to end
    /// like a list's may.
    fn add_beside_items(&mut self, list: &Map, identity: &Identity) {
        let mut mentions = self.mentions(identity);
        list.pairs().filter(|(key, _)| *key != "items").for_each(|(_, value)| mentions.descend(value));
        let Mentions { found, faults, doubts, references, .. } = mentions;
        self.references = references;
        self.faults.extend(faults);
        self.doubts.extend(doubts);
        if !found.is_empty() {
            let (identity, owner) = (identity.clone(), owner(list, identity));
            self.objects.push(Object { identity, owner, role: Role::Template, finished: false, mentions: found });
        }
    }

    fn fault(&mut self, place: Option<&Text>, cause: String) {
        self.faults.push(Fault { at: place.map(|text| text.start), cause });
    }
}

/// Sources from which manifests are yet to be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unbuilt {
    /// A folder with a kustomization.
    Kustomization,
    /// A folder with a Helm chart.
    Chart,
}

impl std::fmt::Display for Unbuilt {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Kustomization => {
                "a kustomization changes images and adds files of other folders, which only its build shows: kubectl kustomize FOLDER | k8s-images -f -"
            }
            Self::Chart => "a Helm chart names its images only once it is rendered: helm template CHART | k8s-images -f -",
        })
    }
}

fn identity(map: &Map, of: Option<&Identity>) -> Identity {
    let metadata = map.map("metadata");
    let field = |key: &str| metadata.and_then(|metadata| metadata.string(key));
    let inherited = || of.and_then(|list| list.kind.as_deref()).and_then(|kind| kind.strip_suffix("List")).filter(|kind| !kind.is_empty());
    let group = match (map.string("apiVersion"), of) {
        (Some(version), _) => group(&version),
        (None, Some(list)) => list.group.clone(),
        (None, None) => String::new(),
    };
    Identity {
        namespace: field("namespace"),
        kind: map.string("kind").or_else(|| inherited().map(str::to_owned)),
        name: field("name").or_else(|| field("generateName")),
        group,
    }
}

/// Whether this is a list of objects: its kind ends in `List`, or it has yet to come, for kubectl writes it after the items.
///
/// Every list of Kubernetes is called so (API conventions, "Lists and Simple kinds"), and has no name of its own. Anything else may have
/// a field `items` too.
fn is_list(map: &Map, identity: &Identity) -> bool {
    match (&identity.kind, map.get("items")) {
        (Some(kind), items) => kind.ends_with("List") && (items.is_some() || identity.name.is_none()),
        (None, None) => false,
        (None, Some(items)) => {
            let is_object = |item: &Node| matches!(item, Node::Map(map) if map.get("apiVersion").is_some() && map.text("kind").is_some());
            map.get("apiVersion").is_some() || matches!(items, Node::List(items) if items.iter().any(is_object))
        }
    }
}

fn role(map: &Map, identity: &Identity) -> Role {
    let is_zero = |part: &str| map.map(part).and_then(|part| part.string("replicas")).is_some_and(|replicas| replicas == "0");
    Role::of(identity.kind.as_deref().unwrap_or_default(), || is_zero("spec") || is_zero("status"))
}

fn owner(map: &Map, identity: &Identity) -> Option<Identity> {
    let references: Vec<&Map> = map.map("metadata")?.maps("ownerReferences").collect();
    let controls = |reference: &&Map| reference.string("controller").is_some_and(|controller| is_true(&controller));
    let reference = controlling(&references, controls)?;
    Some(Identity {
        namespace: identity.namespace.clone(),
        kind: reference.string("kind"),
        name: reference.string("name"),
        group: reference.string("apiVersion").map_or_else(String::new, |version| group(&version)),
    })
}

/// Whether a boolean is true in any of the spellings of YAML 1.1, which is what Kubernetes' own reader takes.
fn is_true(written: &str) -> bool {
    ["true", "yes", "on", "y"].iter().any(|known| written.eq_ignore_ascii_case(known))
}

#[cfg(test)]
pub(super) mod tests {
    use common::digest::Digest;

    use super::*;
    use crate::document::line_of;
    use crate::object::Mention;

    /// What a text names: `owner-kind/name container field image running config`.
    pub(in crate::object) fn mentions(text: &str) -> Vec<String> {
        let found = Found::in_text(text);
        assert_eq!(found.faults, [], "{text}");
        found.objects.iter().flat_map(|object| object.mentions.iter().map(|mention| show(object, mention))).collect()
    }

    fn show(object: &Object, mention: &Mention) -> String {
        let short = |digest: &Option<Digest>| digest.as_ref().map_or_else(|| "-".to_owned(), |digest| digest.hex()[..4].to_owned());
        let field = serde_json::to_value(mention.field).unwrap();
        format!(
            "{} {} {} {} {} {}",
            object.identity.who(),
            mention.container.as_deref().unwrap_or("-"),
            field.as_str().unwrap(),
            mention.image,
            short(&mention.running),
            short(&mention.config)
        )
    }

    pub(in crate::object) fn faults(text: &str) -> Vec<String> {
        let found = Found::in_text(text);
        found.faults.iter().map(|fault| format!("{}: {}", line_of(text, fault.at.unwrap_or(0)), fault.cause)).collect()
    }

    #[test]
    fn lists_hold_objects_that_need_not_say_their_kind() {
        let pod = "{metadata: {name: a}, spec: {containers: [{name: c, image: a}]}}";
        assert_eq!(mentions(&format!("kind: PodList\napiVersion: v1\nitems: [{pod}]")), ["Pod a c container a - -"]);
        let list = format!(
            "apiVersion: v1\nkind: List\nitems: [{{kind: List, items: [{{apiVersion: v1, kind: Pod, metadata: {{name: b}}, spec: {{containers: [{{name: c, image: a}}]}}}}]}}, {pod}]"
        );
        assert_eq!(mentions(&list), ["Pod b c container a - -", "an object a c container a - -"]);
        assert_eq!(mentions("[{kind: Job, metadata: {name: j}, spec: {containers: [{image: a}]}}]"), ["Job j - container a - -"]);
        assert_eq!(Found::in_text("kind: List\nitems: []").lists, 1);
    }

    #[test]
    fn lists_that_are_not_whole_are_seen() {
        assert_eq!(faults("apiVersion: v1\nitems:\n- kind: Service\n"), ["1: holds items, and no kind after them: it was cut off"]);
        assert_eq!(
            faults("kind: PodList\nmetadata:\n  continue: abc\nitems: []"),
            ["3: is one page of a longer list (metadata.continue): ask for the whole list"]
        );
        assert_eq!(mentions("kind: PodList\nmetadata:\n  continue: ''\nitems: []"), [""; 0]);
    }

    #[test]
    fn owners_and_roles() {
        let read = |text: &str| Found::in_text(text).objects.remove(0);
        let revision = read(
            "apiVersion: apps/v1\nkind: ControllerRevision\nmetadata:\n  name: db-1\n  namespace: shop\n  ownerReferences:\n  - {kind: Other, name: x}\n  - {apiVersion: apps/v1, kind: StatefulSet, name: db, controller: true}\n",
        );
        let owner = revision.owner.unwrap();
        assert_eq!((owner.who(), owner.group.as_str(), revision.role), ("StatefulSet shop/db".to_owned(), "apps", Role::History));
        for (text, role) in [
            ("kind: ReplicaSet\nspec: {replicas: 0}", Role::Idle),
            ("kind: ReplicaSet\nspec: {replicas: 3}\nstatus: {replicas: 0}", Role::Idle),
            ("kind: ReplicaSet\nspec: {replicas: 3}", Role::Template),
            ("kind: Deployment\nspec: {replicas: 0}", Role::Template),
            ("kind: Pod", Role::Pod),
        ] {
            assert_eq!(read(text).role, role, "{text}");
        }
    }

    #[test]
    fn a_field_called_items_makes_no_list() {
        let template = "{template: {spec: {containers: [{name: a, image: a:1}]}}}";
        for (kind, expected) in [("Fleet", "Fleet f a container a:1 - -"), ("FleetList", "FleetList f a container a:1 - -")] {
            let text = format!("apiVersion: x.io/v1\nkind: {kind}\nmetadata: {{name: f}}\nitems: [{{a: b}}]\nspec: {template}\n");
            assert_eq!(mentions(&text), [expected]);
        }
        let named = format!("apiVersion: x.io/v1\nkind: DenyList\nmetadata: {{name: d}}\nspec: {template}\n");
        assert_eq!(mentions(&named), ["DenyList d a container a:1 - -"]);
        assert_eq!(Found::in_text("items: [{name: a}]\n").strangers, 1);
        assert_eq!(faults("items:\n- apiVersion: v1\n  kind: Service\n"), ["1: holds items, and no kind after them: it was cut off"]);
    }

    #[test]
    fn what_was_cut_off_before_its_kind_or_its_items_is_a_fault() {
        let beside = "---\napiVersion: v1\nkind: Pod\nspec: {containers: [{image: a}]}\n";
        for (text, expected) in [
            ("apiVersion: v1\nitems:\n", "1: holds items, and no kind after them"),
            ("# c\napiVersion: apps/v1\n", "2: holds an apiVersion, and no kind"),
            ("apiVersion: apps/v1\nkind:\n", "1: holds an apiVersion, and no kind"),
            ("apiVersion:\n", "1: holds an apiVersion, and no kind"),
            ("apiVersion: v1\nkind: PodList\nitems: null\n", "2: PodList without a name: its items are missing"),
            ("apiVersion: v1\nkind: PodList\nitems: x\n", "2: PodList without a name: its items are missing"),
            ("apiVersion: v1\nkind: List\n", "2: List without a name: its items are missing"),
            ("apiVersion: v1\nkind: List\nitems:\n- {kind: Service}\n-\n", "2: List without a name: one of its items is empty"),
        ] {
            let faults = faults(&format!("{text}{beside}"));
            assert!(faults.len() == 1 && faults.iter().all(|fault| fault.starts_with(expected)), "{text} {faults:?}");
        }
    }

    #[test]
    fn a_controller_may_be_true_in_any_spelling() {
        for spelling in ["true", "True", "TRUE", "yes"] {
            let text = format!(
                "kind: Pod\nmetadata:\n  ownerReferences: [{{kind: ConfigMap, name: c}}, {{kind: ReplicaSet, name: r, controller: {spelling}}}]\n"
            );
            let owner = Found::in_text(&text).objects.remove(0).owner.unwrap();
            assert_eq!(owner.kind.as_deref(), Some("ReplicaSet"), "{spelling}");
        }
    }

    #[test]
    fn what_is_no_object_is_counted() {
        let found = Found::in_text("replicas: 3\nimage: {repository: a, tag: b}\n---\napiVersion: v1\nkind: Service\n---\n");
        assert_eq!((found.strangers, found.objects.len(), found.faults), (1, 2, vec![]));
    }

    /// Only the cluster knows of a group of the form of Kubernetes' own that it is another's (KEP-1111).
    #[test]
    fn what_a_cluster_calls_a_custom_resource_is_one_whatever_its_group() {
        let text = "apiVersion: storage.k8s.io/v1\nkind: Thing\nmetadata: {name: t}\nspec: {image: 'r.io/a:1', containers: {x: {image: 'r.io/b:1'}}}\n";
        let (documents, _) = document::read(text);
        let images = |mut found: Found| -> Vec<String> {
            documents.iter().for_each(|document| found.add(document));
            found.objects.into_iter().flat_map(|object| object.mentions).map(|mention| mention.image).collect()
        };
        assert_eq!(images(Found::of_custom_resources()), ["r.io/b:1", "r.io/a:1"]);
        assert_eq!(images(Found::default()), [""; 0]);
    }

    #[test]
    fn an_item_that_is_nothing_hides_what_it_was() {
        let list = Identity { kind: Some("PodList".to_owned()), ..Identity::default() };
        let mut found = Found::default();
        found.add_item(&Node::Null, &list);
        assert!(
            matches!(found.faults.as_slice(), [one] if one.cause.contains("PodList") && one.cause.contains("is empty")),
            "{:?}",
            found.faults
        );
    }
}
