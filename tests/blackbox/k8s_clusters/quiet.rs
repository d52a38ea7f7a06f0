//! A cluster in which nobody changes anything, and what the inventory of it is: for tests of the ways in, and of what may be seen.

use std::sync::OnceLock;

use serde_json::{Value, json};
use tests::*;

use super::in_order;

/// The cluster that all such tests share. They read the whole of it, and put nothing into it that an inventory holds.
pub(super) fn quiet() -> &'static Cluster {
    static QUIET: OnceLock<Cluster> = OnceLock::new();
    QUIET.get_or_init(|| {
        let cluster = Cluster::with().no_controllers().stays();
        fill(&cluster);
        cluster
    })
}

/// Puts into a cluster what [`uses`] says.
pub(super) fn fill(cluster: &Cluster) {
    for namespace in ["shop", "web"] {
        cluster.create("/api/v1/namespaces", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}));
    }
    cluster.apply(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, namespace: shop, labels: {app: shop}}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec: {containers: [{name: app, image: registry.example.com/team/shop:1}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: shop}
spec:
  schedule: '@yearly'
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: job, image: registry.example.com/team/nightly:1}]}}}}
",
    );
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "app", "image": "registry.example.com/team/web:1"}]}});
    cluster.create("/api/v1/namespaces/web/pods", pod);
}

/// Expects that these are the uses, of each of these sources those of these repositories, and no others.
#[track_caller]
pub(super) fn uses(ran: &Ran, expected: &[(&str, &[&str])]) {
    let record = |source: &str, repository: &str| {
        let (namespace, kind, name, container, pods, pod) = match repository {
            "team/shop" => ("shop", "Deployment", "shop", "app", 0, json!(null)),
            "team/nightly" => ("shop", "CronJob", "nightly", "job", 0, json!(null)),
            "team/web" => ("web", "Pod", "web", "app", 1, json!("web")),
            other => panic!("nothing in the quiet cluster uses {other}"),
        };
        json!({
            "type": "use", "image": format!("registry.example.com/{repository}:1"), "registry": "registry.example.com",
            "repository": repository, "tag": "1", "digest": null, "runningDigest": null, "configDigest": null, "source": source,
            "namespace": namespace, "kind": kind, "name": name, "container": container, "field": "container", "pods": pods, "pod": pod,
        })
    };
    let sorted = |records: Vec<Value>| {
        let mut lines: Vec<String> = records.iter().map(in_order).collect();
        lines.sort();
        lines
    };
    let expected = expected.iter().flat_map(|(source, repositories)| repositories.iter().map(|repository| record(source, repository)));
    let (found, expected) = (sorted(ran.records_of("use")), sorted(expected.collect()));
    assert_eq!(found, expected, "\nfound:\n{}\nexpected:\n{}\n{ran}", found.join("\n"), expected.join("\n"));
}

/// All repositories that the quiet cluster uses.
pub(super) const ALL: &[&str] = &["team/shop", "team/nightly", "team/web"];

/// A context in the scope that was read whole.
pub(super) fn whole(name: &str, server: &str) -> Value {
    json!({"kind": "context", "name": name, "server": server, "complete": true, "error": null})
}

/// A context in the scope that was not, for this reason.
pub(super) fn not_whole(name: &str, server: &str, error: &str) -> Value {
    json!({"kind": "context", "name": name, "server": server, "complete": false, "error": error})
}

/// Expects this scope, its sources not narrowed, and nothing else in it.
#[track_caller]
pub(super) fn sources(ran: &Ran, expected: &[Value]) {
    let found = &ran.the("header")["scope"];
    assert_eq!(*found, json!({"sources": expected, "partial": false}), "\n{ran}");
}
