//! What the objects of one source say together: `use` records.
//!
//! Owns the topmost owner, the merging of what is the same use, the count of pods, the order. Pure.

use std::collections::{BTreeMap, BTreeSet};

use common::digest::Digest;
use common::record::{Field, Use};
use common::reference::Reference;

use crate::object::{Identity, Mention, Object, Role};

/// What makes two uses the same. The digest of the config that runs is part of what runs: merging two of them would lose one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    owner: Identity,
    container: Option<String>,
    image: String,
    running: Option<Digest>,
    config: Option<Digest>,
}

/// What a use gathers.
#[derive(Debug)]
struct Gathered<'a> {
    field: Option<Field>,
    reference: &'a Reference,
    pods: BTreeSet<&'a Identity>,
}

/// The uses that the objects of one source make, in a fixed order: namespace, owner, container, image, digest.
pub(crate) fn uses(source: &str, objects: &[Object]) -> Vec<Use> {
    let owners: BTreeMap<&Identity, Option<&Identity>> =
        objects.iter().map(|object| (&object.identity, object.owner.as_ref())).collect();
    let with_pods: BTreeSet<&Identity> =
        objects.iter().filter(|object| object.role == Role::Pod).filter_map(|pod| pod.owner.as_ref()).collect();
    let mut uses: BTreeMap<Key, Gathered<'_>> = BTreeMap::new();
    for object in objects {
        let owner = topmost(&owners, &object.identity);
        let is_history = match object.role {
            Role::History => true,
            Role::Idle => !with_pods.contains(&object.identity),
            Role::Pod | Role::Template => false,
        };
        for mention in &object.mentions {
            let field = if is_history { Some(Field::History) } else { mention.field };
            let gathered = uses
                .entry(key(owner, object, mention))
                .or_insert_with(|| Gathered { field, reference: &mention.reference, pods: BTreeSet::new() });
            gathered.field = gathered.field.min(field);
            if object.role == Role::Pod {
                gathered.pods.insert(&object.identity);
            }
        }
    }
    uses.into_iter().map(|(key, gathered)| record(source, key, &gathered)).collect()
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
        owner: Identity { namespace: object.identity.namespace.clone(), ..owner.clone() },
        container: mention.container.clone(),
        image: mention.image.clone(),
        running: mention.running.clone(),
        config: mention.config.clone(),
    }
}

fn record(source: &str, key: Key, gathered: &Gathered<'_>) -> Use {
    let Key { owner, container, image, running, config } = key;
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
        namespace: owner.namespace,
        kind: owner.kind,
        name: owner.name,
        container,
        field: gathered.field,
        pods: u64::try_from(gathered.pods.len()).unwrap_or(u64::MAX),
        pod: gathered.pods.first().and_then(|pod| pod.name.clone()),
        listed_as: None,
    }
}
