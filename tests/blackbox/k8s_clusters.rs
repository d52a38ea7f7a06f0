//! `k8s-images` on live clusters: a real control plane, a module for each topic.
//!
//! The cluster that tests share has no custom resources, because these belong to the whole of it: a test of them has its own.
//! `scripts/test` leaves this module out when it runs the others again on another registry: only `eviction` needs one, and asks nothing
//! of it that `pipeline` does not ask of both.

mod choosing;
mod consistency;
mod contexts;
mod control_plane;
mod custom;
mod digests;
mod down;
mod eviction;
mod kinds;
mod kubeconfigs;
mod opt_in;
mod quiet;
mod rights;
mod roles;
mod ways_in;

use serde_json::{Value, json};
use tests::*;

/// The tool, on the one context of a cluster.
fn tool(cluster: &Cluster) -> Tool {
    Tool::new("k8s-images").env("KUBECONFIG", cluster.kubeconfig())
}

/// What the tool says of one namespace of the cluster that many tests share.
#[track_caller]
fn read(namespace: &str) -> Ran {
    tool(Cluster::shared()).args(["--namespace", namespace]).run().succeeds()
}

/// Expects exactly these uses, in any order. Each is literal JSON; what a record mostly is may be left out.
#[track_caller]
fn are_used(ran: &Ran, namespace: &str, expected: &[Value]) {
    let usual = json!({
        "type": "use", "registry": "registry.example.com", "digest": null, "runningDigest": null, "configDigest": null,
        "source": "prod", "namespace": namespace, "field": "container", "pods": 0, "pod": null,
    });
    let sorted = |records: Vec<Value>| {
        let mut lines: Vec<String> = records.iter().map(in_order).collect();
        lines.sort();
        lines
    };
    let expected = expected.iter().map(|fields| {
        let mut record = usual.clone();
        for (key, value) in fields.as_object().unwrap() {
            record[key] = value.clone();
        }
        record
    });
    let (found, expected) = (sorted(ran.records_of("use")), sorted(expected.collect()));
    assert!(found == expected, "\nfound:\n{}\nexpected:\n{}\n{ran}", found.join("\n"), expected.join("\n"));
}

/// A record with its keys in alphabetical order.
fn in_order(record: &Value) -> String {
    let mut fields: Vec<(&String, &Value)> = record.as_object().unwrap().iter().collect();
    fields.sort_by_key(|(key, _)| *key);
    let fields: Vec<String> = fields.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

/// The name of the only pod that these labels select, once its controller has made it.
#[track_caller]
fn pod_of(cluster: &Cluster, namespace: &str, selector: &str) -> String {
    pods_of(cluster, namespace, selector, 1).remove(0)
}

/// The names of so many pods, in order.
#[track_caller]
fn pods_of(cluster: &Cluster, namespace: &str, selector: &str, count: usize) -> Vec<String> {
    let pods = format!("/api/v1/namespaces/{namespace}/pods?labelSelector={}", selector.replace('=', "%3D"));
    let items = cluster.wait_for_items(&pods, count);
    let mut names: Vec<String> = items.iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// Teaches a cluster Argo's Rollouts, as far as they hold a pod template.
fn rollouts(cluster: &Cluster) {
    define(
        cluster,
        "argoproj.io",
        "Rollout",
        "Namespaced",
        "spec: {type: object, properties: {replicas: {type: integer}, template: {type: object, x-kubernetes-preserve-unknown-fields: true}}}",
    );
}

/// Teaches a cluster a custom resource of the version v1alpha1, with these properties, and waits until it is served.
fn define(cluster: &Cluster, group: &str, kind: &str, scope: &str, properties: &str) {
    let singular = kind.to_lowercase();
    cluster.apply(&format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: {singular}s.{group}}}\nspec:\n  \
         group: {group}\n  scope: {scope}\n  names: {{kind: {kind}, plural: {singular}s, singular: {singular}}}\n  versions:\n  \
         - name: v1alpha1\n    served: true\n    storage: true\n    schema: {{openAPIV3Schema: {{type: object, properties: {{{properties}}}}}}}\n"
    ));
    cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", &format!("crd/{singular}s.{group}")]);
    // It is established before all that announce it know: discovery, and the handler of the lists.
    cluster.wait("/apis", |groups| groups["groups"].as_array()?.iter().any(|known| known["name"] == group).then_some(()));
    cluster.wait_for_right(&cluster.admin(), &format!("/apis/{group}/v1alpha1/{singular}s?limit=1"));
}
