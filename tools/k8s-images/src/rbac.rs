//! The least that an account needs for what is asked: a role, the account and the binding, for `kubectl apply -f -`.
//!
//! Owns what is granted. To list is all that is ever done, page by page too; discovery and OpenAPI are open to every account by default
//! (the ClusterRole `system:discovery`). Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::cluster::{Asked, BUILT_IN, Chosen, NODES, Resource, secrets};

/// What all of it is called.
const NAME: &str = "k8s-images";

/// What may be listed: plurals by group.
type Rules = BTreeMap<String, BTreeSet<String>>;

/// The role for what is asked. `custom` are the custom resources that would be read; none where no cluster was asked for them.
pub(crate) fn role(asked: &Asked, custom: Option<&[Chosen]>) -> String {
    let everywhere = asked.namespaces.is_empty();
    let mut in_namespaces = Rules::new();
    let mut in_cluster = Rules::new();
    for kind in BUILT_IN {
        // What may be missing need not be granted, where it may be missing at all.
        if !(kind.is_forgivable() && asked.may_miss(&kind.resource)) {
            add(&mut in_namespaces, &kind.resource);
        }
    }
    if asked.helm_history && !asked.may_miss(&secrets()) {
        add(&mut in_namespaces, &secrets());
    }
    if asked.nodes && !asked.may_miss(&NODES.resource) {
        add(&mut in_cluster, &NODES.resource);
    }
    if asked.custom_resources && everywhere {
        // Who may not list these is told the schemas by OpenAPI; but servers before Kubernetes 1.24 have none of the kind.
        in_cluster.entry("apiextensions.k8s.io".to_owned()).or_default().insert("customresourcedefinitions".to_owned());
    }
    for Chosen { resource, is_namespaced, .. } in custom.unwrap_or_default().iter().filter(|it| !asked.may_miss(&it.resource)) {
        match (is_namespaced, everywhere) {
            (true, _) => add(&mut in_namespaces, resource),
            (false, true) => add(&mut in_cluster, resource),
            // Left out where namespaces are asked for.
            (false, false) => {}
        }
    }
    if everywhere {
        for (group, plurals) in std::mem::take(&mut in_namespaces) {
            in_cluster.entry(group).or_default().extend(plurals);
        }
    }

    let home = asked.namespaces.first().map_or("default", String::as_str);
    let mut text = comments(asked, custom, home);
    object(&mut text, "v1", "ServiceAccount", Some(home), "");
    let bind = |text: &mut String, prefix: &str, namespace: Option<&str>, rules: &Rules| {
        object(text, "rbac.authorization.k8s.io/v1", &format!("{prefix}Role"), namespace, &shown(rules));
        let binding = format!(
            "roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: {prefix}Role, name: {NAME}}}\n\
             subjects:\n- {{kind: ServiceAccount, name: {NAME}, namespace: {}}}\n",
            quoted(home)
        );
        object(text, "rbac.authorization.k8s.io/v1", &format!("{prefix}RoleBinding"), namespace, &binding);
    };
    if !in_cluster.is_empty() {
        bind(&mut text, "Cluster", None, &in_cluster);
    }
    for namespace in asked.namespaces.iter().collect::<BTreeSet<_>>() {
        bind(&mut text, "", Some(namespace), &in_namespaces);
    }
    text
}

fn add(rules: &mut Rules, resource: &Resource) {
    rules.entry(resource.group.to_string()).or_default().insert(resource.plural.to_string());
}

fn comments(asked: &Asked, custom: Option<&[Chosen]>, home: &str) -> String {
    let mut text = format!(
        "# What {NAME} needs: to list. It changes nothing, and asks for nothing else but discovery, which every account may.\n\
         #   {NAME} --generate rbac … | kubectl apply -f -\n\
         # The account is {NAME} in the namespace {home}: for a pod (serviceAccountName, {NAME} --in-cluster), or with a token:\n\
         #   kubectl create token {NAME} --namespace {home}\n"
    );
    if asked.helm_history {
        text.push_str(
            "# --helm-history: Helm keeps its history in secrets. A right to list them cannot be had for some: it shows this account ALL of them.\n",
        );
    }
    match custom {
        _ if !asked.custom_resources => text.push_str("# Custom resources are left out (--no-custom-resources).\n"),
        None => {
            let _ = writeln!(
                text,
                "# Custom resources are not among these rules: which of them may name images, only a cluster knows. With --context NAME it is asked,\n\
                 # as whoever that context is: {NAME} --generate rbac --context NAME … . Do so again when new ones are installed."
            );
        }
        Some([]) => text.push_str("# No custom resource of the cluster can name an image.\n"),
        Some(_) => text.push_str("# Custom resources are those that can name images today. Make this anew when others are installed.\n"),
    }
    text
}

/// Writes an object.
fn object(text: &mut String, version: &str, kind: &str, namespace: Option<&str>, body: &str) {
    let namespace = namespace.map_or_else(String::new, |namespace| format!(", namespace: {}", quoted(namespace)));
    let _ = write!(text, "---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: {NAME}{namespace}}}\n{body}");
}

fn shown(rules: &Rules) -> String {
    let mut text = "rules:\n".to_owned();
    for (group, plurals) in rules {
        let plurals: Vec<String> = plurals.iter().map(|plural| quoted(plural)).collect();
        let _ = writeln!(text, "- {{apiGroups: [{}], resources: [{}], verbs: [list]}}", quoted(group), plurals.join(", "));
    }
    text
}

/// A name as a YAML text: `on` is none, and `1` neither. What clusters call their resources and namespaces needs no escapes.
fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn asked() -> Asked {
        Asked { custom_resources: true, ..Asked::default() }
    }

    fn custom(plural: &str, group: &str, is_namespaced: bool) -> Chosen {
        let resource = Resource { kind: "Thing".into(), plural: plural.to_owned().into(), group: group.to_owned().into() };
        Chosen { resource, is_namespaced, version: "v1".to_owned() }
    }

    /// The objects as `kubectl` would read them: `Kind namespace/name`, and of roles what they grant.
    fn granted(asked: &Asked, custom: Option<&[Chosen]>) -> Vec<String> {
        let text = role(asked, custom);
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        objects
            .iter()
            .map(|object| {
                let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
                assert_eq!(text("/metadata/name"), "k8s-images");
                let rules = object.get("rules").and_then(Value::as_array).into_iter().flatten();
                let rules: Vec<String> = rules
                    .map(|rule| {
                        assert_eq!(rule["verbs"], serde_json::json!(["list"]));
                        let names = |key: &str| {
                            rule[key].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect::<Vec<_>>().join(",")
                        };
                        format!("{}/{}", names("apiGroups"), names("resources"))
                    })
                    .collect();
                let subject = text("/subjects/0/namespace");
                format!("{} {} {}{subject}", text("/kind"), text("/metadata/namespace"), rules.join(" ")).trim_end().to_owned()
            })
            .collect()
    }

    const ALL: &str = "/pods,podtemplates,replicationcontrollers \
        apps/controllerrevisions,daemonsets,deployments,replicasets,statefulsets batch/cronjobs,jobs";

    #[test]
    fn the_whole_cluster() {
        let [core, rest] = ALL.split_once(' ').map(|(core, rest)| [core, rest]).unwrap();
        let account = "ServiceAccount default";
        let binding = "ClusterRoleBinding  default";
        let (apps, batch) = rest.split_once(' ').unwrap();
        for (asked, custom, expected) in [
            (asked(), None, format!("{core} apiextensions.k8s.io/customresourcedefinitions {apps} {batch}")),
            (Asked::default(), None, ALL.to_owned()),
            (
                Asked { nodes: true, helm_history: true, ..Asked::default() },
                None,
                format!("/nodes,pods,podtemplates,replicationcontrollers,secrets {rest}"),
            ),
            (
                asked(),
                Some(vec![custom("rollouts", "x.io", true), custom("tasks", "x.io", false), custom("on", "a.io", true)]),
                format!("{core} a.io/on apiextensions.k8s.io/customresourcedefinitions {apps} {batch} x.io/rollouts,tasks"),
            ),
            (
                Asked { allow_missing: vec!["CronJob".to_owned(), "pods".to_owned(), "*.x.io".to_owned()], ..asked() },
                Some(vec![custom("rollouts", "x.io", true)]),
                format!("{core} apiextensions.k8s.io/customresourcedefinitions {apps} batch/jobs"),
            ),
        ] {
            assert_eq!(granted(&asked, custom.as_deref()), [account.to_owned(), format!("ClusterRole  {expected}"), binding.to_owned()]);
        }
    }

    #[test]
    fn some_namespaces() {
        let asked = Asked { namespaces: vec!["shop".to_owned(), "web".to_owned(), "shop".to_owned()], ..asked() };
        let some = [custom("rollouts", "x.io", true), custom("clustertasks", "x.io", false)];
        let roles = |rules: &str| {
            [
                format!("Role shop {rules}"),
                "RoleBinding shop shop".to_owned(),
                format!("Role web {rules}"),
                "RoleBinding web shop".to_owned(),
            ]
        };
        let account = "ServiceAccount shop".to_owned();
        let expected = |more: &[&str], rules: &str| -> Vec<String> {
            std::iter::once(account.clone()).chain(more.iter().map(|line| (*line).to_owned())).chain(roles(rules)).collect()
        };
        assert_eq!(granted(&asked, None), expected(&[], ALL));
        assert_eq!(granted(&asked, Some(&some)), expected(&[], &format!("{ALL} x.io/rollouts")));
        let with_nodes = Asked { nodes: true, ..asked };
        assert_eq!(granted(&with_nodes, None), expected(&["ClusterRole  /nodes", "ClusterRoleBinding  shop"], ALL));
    }

    #[test]
    fn comments_say_what_is_not_granted() {
        for (asked, custom, expected) in [
            (asked(), None, "--context NAME"),
            (asked(), Some(&[][..]), "No custom resource"),
            (asked(), Some(&[custom("a", "x.io", true)]), "Make this anew"),
            (Asked::default(), None, "--no-custom-resources"),
            (Asked { helm_history: true, ..Asked::default() }, None, "in secrets"),
        ] {
            let text = role(&asked, custom);
            let comments: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
            assert!(comments.iter().any(|line| line.contains(expected)), "{expected}: {comments:?}");
            assert!(text.lines().all(|line| !line.ends_with(' ')));
        }
    }
}
