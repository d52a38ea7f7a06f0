//! Every kind of Kubernetes itself that may start an image, as the real controllers make it: what runs, what may run again, and
//! what a rollback would start.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::workloads::running;
use tests::*;

use super::{are_used, pod_of, pods_of, read, tool};

/// A workload with one container, as one manifest; `spec` is what else stands in its spec.
fn workload(kind: &str, namespace: &str, name: &str, image: &str, spec: &str) -> String {
    let version = if kind == "ReplicationController" { "v1" } else { "apps/v1" };
    let selector = if version == "v1" { format!("{{app: {name}}}") } else { format!("{{matchLabels: {{app: {name}}}}}") };
    format!(
        "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec:\n  selector: {selector}\n  {spec}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    \
         spec: {{containers: [{{name: app, image: \"registry.example.com/team/{image}\"}}]}}\n"
    )
}

/// Waits until a workload's controller has seen its last change and has made what belongs to it.
fn settled(cluster: &Cluster, namespace: &str, plural: &str, name: &str) {
    cluster.wait(&format!("/apis/apps/v1/namespaces/{namespace}/{plural}/{name}"), |object| {
        (object["status"]["observedGeneration"] == object["metadata"]["generation"]).then_some(())
    });
}

/// A Deployment whose image was changed: the old ReplicaSet is there, and has no pods any more.
fn changed_deployment(cluster: &Cluster, namespace: &str) -> Vec<String> {
    let web = |image| workload("Deployment", namespace, "web", image, "replicas: 2\n  strategy: {type: Recreate}");
    cluster.apply(&web("web:1"));
    let old = pods_of(cluster, namespace, "app=web", 2);
    cluster.apply(&web("web:2"));
    let pods = format!("/api/v1/namespaces/{namespace}/pods?labelSelector=app%3Dweb");
    cluster.wait(&pods, |list| {
        let items = list["items"].as_array()?;
        let names: Vec<&str> = items.iter().filter_map(|pod| pod["metadata"]["name"].as_str()).collect();
        (names.len() == 2 && names.iter().all(|name| !old.iter().any(|old| old == name))).then_some(())
    });
    let sets = format!("/apis/apps/v1/namespaces/{namespace}/replicasets");
    cluster.wait(&sets, |list| {
        let sets = list["items"].as_array()?;
        sets.iter()
            .any(|set| set["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("web-")) && set["status"]["replicas"] == 0)
            .then_some(())
    });
    pods_of(cluster, namespace, "app=web", 2)
}

#[test]
fn a_record_is_whole() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    let hex = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    cluster.run_pod(&namespace, "web", json!({"containers": [{"name": "app", "image": "registry.example.com:5000/team/app:1.2"}]}));
    let image = "registry.example.com:5000/team/app:1.2";
    cluster.runs(&namespace, "web", &[("app", image, &format!("registry.example.com:5000/team/app@sha256:{hex}"))]);
    let ran = read(&namespace);
    assert_eq!(
        ran.the("use"),
        json!({
            "type": "use", "image": "registry.example.com:5000/team/app:1.2", "registry": "registry.example.com:5000",
            "repository": "team/app", "tag": "1.2", "digest": null, "runningDigest": format!("sha256:{hex}"), "configDigest": null,
            "source": "prod", "namespace": namespace, "kind": "Pod", "name": "web", "container": "app", "field": "container",
            "pods": 1, "pod": "web",
        })
    );
    let source = json!({"kind": "context", "name": "prod", "server": cluster.url(), "complete": true, "error": null});
    let scope = &ran.the("header")["scope"];
    assert_eq!((&scope["sources"][0], &scope["partial"]), (&source, &json!(true)));
    assert_eq!((&ran.the("trailer")["complete"], &ran.the("trailer")["records"]), (&json!(true), &json!(1)));
}

#[test]
fn the_replica_set_before_an_image_change_is_history() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    let pods = changed_deployment(cluster, &namespace);
    are_used(
        &read(&namespace),
        &namespace,
        &[
            json!({"image": "registry.example.com/team/web:2", "repository": "team/web", "tag": "2",
                "kind": "Deployment", "name": "web", "container": "app", "pods": 2, "pod": pods[0]}),
            json!({"image": "registry.example.com/team/web:1", "repository": "team/web", "tag": "1",
                "kind": "Deployment", "name": "web", "container": "app", "field": "history"}),
        ],
    );
}

#[test]
fn what_is_scaled_to_zero_stays_in_use() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    cluster.apply(&workload("ReplicaSet", &namespace, "bare", "bare:1", "replicas: 0"));
    cluster.apply(&workload("Deployment", &namespace, "asleep", "asleep:1", "replicas: 0"));
    cluster.apply(&workload("StatefulSet", &namespace, "db", "db:1", "replicas: 0\n  serviceName: db"));
    settled(cluster, &namespace, "deployments", "asleep");
    settled(cluster, &namespace, "statefulsets", "db");
    are_used(
        &read(&namespace),
        &namespace,
        &[
            json!({"image": "registry.example.com/team/bare:1", "repository": "team/bare", "tag": "1",
                "kind": "ReplicaSet", "name": "bare", "container": "app", "field": "history"}),
            json!({"image": "registry.example.com/team/asleep:1", "repository": "team/asleep", "tag": "1",
                "kind": "Deployment", "name": "asleep", "container": "app"}),
            json!({"image": "registry.example.com/team/db:1", "repository": "team/db", "tag": "1",
                "kind": "StatefulSet", "name": "db", "container": "app"}),
        ],
    );
}

/// A StatefulSet and a DaemonSet whose images were changed: their old revisions are there.
fn changed_sets(cluster: &Cluster, namespace: &str) {
    let revisions = format!("/apis/apps/v1/namespaces/{namespace}/controllerrevisions");
    let db = |image| workload("StatefulSet", namespace, "db", image, "replicas: 1\n  serviceName: db\n  podManagementPolicy: Parallel");
    let agent = |image| workload("DaemonSet", namespace, "agent", image, "minReadySeconds: 1");
    cluster.apply(&db("db:1"));
    cluster.apply(&agent("agent:1"));
    cluster.wait_for_items(&revisions, 2);
    cluster.apply(&db("db:2"));
    cluster.apply(&agent("agent:2"));
    cluster.wait_for_items(&revisions, 4);
    // The controller replaces the pod of the old revision.
    cluster.wait(&format!("/api/v1/namespaces/{namespace}/pods"), |list| {
        let pods = list["items"].as_array()?;
        pods.iter().any(|pod| pod["spec"]["containers"][0]["image"] == "registry.example.com/team/db:2").then_some(())
    });
}

#[test]
fn the_revisions_of_a_stateful_set_and_a_daemon_set_are_history() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    changed_sets(cluster, &namespace);
    let history = |kind: &str, name: &str| {
        json!({"image": format!("registry.example.com/team/{name}:1"), "repository": format!("team/{name}"), "tag": "1",
            "kind": kind, "name": name, "container": "app", "field": "history"})
    };
    are_used(
        &read(&namespace),
        &namespace,
        &[
            json!({"image": "registry.example.com/team/db:2", "repository": "team/db", "tag": "2",
                "kind": "StatefulSet", "name": "db", "container": "app", "pods": 1, "pod": "db-0"}),
            history("StatefulSet", "db"),
            json!({"image": "registry.example.com/team/agent:2", "repository": "team/agent", "tag": "2",
                "kind": "DaemonSet", "name": "agent", "container": "app"}),
            history("DaemonSet", "agent"),
        ],
    );
}

#[test]
fn the_kinds_of_old_are_read_too() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    cluster.apply(&workload("ReplicationController", &namespace, "old", "old:1", "replicas: 1"));
    cluster.apply(&format!(
        "apiVersion: v1\nkind: PodTemplate\nmetadata: {{name: mould, namespace: {namespace}}}\n\
         template: {{spec: {{containers: [{{name: app, image: \"registry.example.com/team/mould:1\"}}]}}}}\n"
    ));
    let pod = pod_of(cluster, &namespace, "app=old");
    are_used(
        &read(&namespace),
        &namespace,
        &[
            json!({"image": "registry.example.com/team/old:1", "repository": "team/old", "tag": "1",
                "kind": "ReplicationController", "name": "old", "container": "app", "pods": 1, "pod": pod}),
            json!({"image": "registry.example.com/team/mould:1", "repository": "team/mould", "tag": "1",
                "kind": "PodTemplate", "name": "mould", "container": "app"}),
        ],
    );
}

#[test]
fn jobs_and_what_a_clock_starts_are_in_use() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    let kubectl = |words: &str| {
        let words: Vec<&str> = ["-n", &namespace].into_iter().chain(words.split(' ')).collect();
        cluster.kubectl(&words)
    };
    kubectl("create job once --image=registry.example.com/team/once:1");
    kubectl("create cronjob nightly --image=registry.example.com/team/nightly:1 --schedule=@yearly");
    kubectl("create cronjob never --image=registry.example.com/team/never:1 --schedule=@yearly");
    // As the clock does: a Job that the CronJob owns.
    kubectl("create job nightly-1 --from=cronjob/nightly");
    let (once, nightly) = (pod_of(cluster, &namespace, "job-name=once"), pod_of(cluster, &namespace, "job-name=nightly-1"));
    are_used(
        &read(&namespace),
        &namespace,
        &[
            json!({"image": "registry.example.com/team/once:1", "repository": "team/once", "tag": "1",
                "kind": "Job", "name": "once", "container": "once", "pods": 1, "pod": once}),
            json!({"image": "registry.example.com/team/nightly:1", "repository": "team/nightly", "tag": "1",
                "kind": "CronJob", "name": "nightly", "container": "nightly", "pods": 1, "pod": nightly}),
            json!({"image": "registry.example.com/team/never:1", "repository": "team/never", "tag": "1",
                "kind": "CronJob", "name": "never", "container": "never"}),
        ],
    );
}

/// One of each container that a pod may have.
fn full_pod(cluster: &Cluster, namespace: &str) {
    cluster.run_pod(
        namespace,
        "full",
        json!({
            "initContainers": [
                {"name": "first", "image": "registry.example.com/team/first:1"},
                {"name": "sidecar", "image": "registry.example.com/team/sidecar:1", "restartPolicy": "Always"},
            ],
            "containers": [{"name": "app", "image": "registry.example.com/team/app:1", "volumeMounts": [{"name": "model", "mountPath": "/model"}]}],
            "volumes": [{"name": "model", "image": {"reference": "registry.example.com/team/model:1", "pullPolicy": "IfNotPresent"}}],
        }),
    );
    cluster.ephemeral(namespace, "full", "debugger", "registry.example.com/team/debugger:1");
}

#[test]
fn every_place_in_a_pod_names_an_image() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    full_pod(cluster, &namespace);
    let used = |repository: &str, container: &str, field: &str| {
        json!({"image": format!("registry.example.com/{repository}:1"), "repository": repository, "tag": "1",
            "kind": "Pod", "name": "full", "container": container, "field": field, "pods": 1, "pod": "full"})
    };
    are_used(
        &read(&namespace),
        &namespace,
        &[
            used("team/first", "first", "initContainer"),
            used("team/sidecar", "sidecar", "initContainer"),
            used("team/app", "app", "container"),
            used("team/model", "model", "imageVolume"),
            used("team/debugger", "debugger", "ephemeralContainer"),
        ],
    );
}

/// A node, and the pod that its kubelet started from a file: the API server has a mirror of it, which the node owns.
fn static_pod(cluster: &Cluster, namespace: &str) -> String {
    let node = format!("node-of-{namespace}");
    // The taint keeps the pods of DaemonSets away, which other tests have.
    let object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node},
        "spec": {"taints": [{"key": "test", "effect": "NoSchedule"}]}});
    let uid = cluster.create("/api/v1/nodes", object)["metadata"]["uid"].clone();
    let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid, "controller": true}]);
    cluster.create(
        &format!("/api/v1/namespaces/{namespace}/pods"),
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("etcd-{node}"), "ownerReferences": owner,
                "annotations": {"kubernetes.io/config.mirror": "5f7c9", "kubernetes.io/config.source": "file"}},
            "spec": {"nodeName": node, "containers": [{"name": "etcd", "image": "registry.example.com/team/etcd:3"}]},
        }),
    );
    node
}

#[test]
fn a_static_pod_is_that_of_its_node() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    let node = static_pod(cluster, &namespace);
    are_used(
        &read(&namespace),
        &namespace,
        &[json!({"image": "registry.example.com/team/etcd:3", "repository": "team/etcd", "tag": "3",
            "kind": "Node", "name": node, "container": "etcd", "pods": 1, "pod": format!("etcd-{node}")})],
    );
}

#[test]
fn pods_that_have_ended_are_in_use_and_say_so() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    for (name, phase) in [("done", "Succeeded"), ("failed", "Failed"), ("runs", "Running")] {
        let image = format!("registry.example.com/team/{name}:1");
        cluster.run_pod(&namespace, name, json!({"containers": [{"name": "app", "image": image}]}));
        cluster.patch_status(&namespace, name, json!({"phase": phase}));
    }
    let used = |name: &str| {
        json!({"image": format!("registry.example.com/team/{name}:1"), "repository": format!("team/{name}"), "tag": "1",
            "kind": "Pod", "name": name, "container": "app", "pods": 1, "pod": name})
    };
    let finished = |name: &str| {
        let mut record = used(name);
        record["finishedPods"] = json!(1);
        record
    };
    are_used(&read(&namespace), &namespace, &[finished("done"), finished("failed"), used("runs")]);
}

/// One of each kind of Kubernetes itself, with all that may name an image in it.
pub(super) fn one_of_each(cluster: &Cluster, namespace: &str) {
    changed_deployment(cluster, namespace);
    full_pod(cluster, namespace);
    let node = static_pod(cluster, namespace);
    let images = json!([{"names": ["registry.example.com/team/cached@sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
        "registry.example.com/team/cached:1"], "sizeBytes": 1}]);
    cluster.merge(&format!("/api/v1/nodes/{node}/status"), json!({"status": {"images": images}}));
    cluster.apply(&workload("ReplicaSet", namespace, "bare", "bare:1", "replicas: 0"));
    cluster.apply(&workload("ReplicationController", namespace, "old", "old:1", "replicas: 1"));
    changed_sets(cluster, namespace);
    cluster.apply(&format!(
        "apiVersion: v1\nkind: PodTemplate\nmetadata: {{name: mould, namespace: {namespace}}}\n\
         template: {{spec: {{containers: [{{name: app, image: \"registry.example.com/team/mould:1\"}}]}}}}\n"
    ));
    cluster.kubectl(&["-n", namespace, "create", "job", "once", "--image=registry.example.com/team/once:1"]);
    cluster.kubectl(&[
        "-n",
        namespace,
        "create",
        "cronjob",
        "nightly",
        "--image=registry.example.com/team/nightly:1",
        "--schedule=@yearly",
    ]);
    let hex = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    let state = |name: &str| running(&(name, &format!("mirror.example.com/{name}:1"), &format!("mirror.example.com/{name}@sha256:{hex}")));
    cluster.patch_status(
        namespace,
        "full",
        json!({"phase": "Failed", "initContainerStatuses": [state("first")], "containerStatuses": [state("app")],
            "ephemeralContainerStatuses": [state("debugger")]}),
    );
    pod_of(cluster, namespace, "app=old");
    pod_of(cluster, namespace, "job-name=once");
}

/// What kubectl would print is the tool's first duty: it is what people used before.
#[test]
fn every_word_that_kubectl_prints_is_in_the_inventory() {
    let cluster = Cluster::start();
    let namespace = cluster.namespace();
    let hex = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    let pods = changed_deployment(&cluster, &namespace);
    cluster.runs(&namespace, &pods[0], &[("app", "mirror.example.com/web:2", &format!("mirror.example.com/web@sha256:{hex}"))]);
    full_pod(&cluster, &namespace);
    static_pod(&cluster, &namespace);
    cluster.run_pod(&namespace, "short", json!({"containers": [{"name": "app", "image": "nginx"}]}));
    cluster.runs(&namespace, "short", &[("app", "docker.io/library/nginx:latest", &format!("docker.io/library/nginx@sha256:{hex}"))]);
    // A runtime that has lost the name says the config's digest, which nobody can pull.
    cluster.run_pod(&namespace, "nameless", json!({"containers": [{"name": "app", "image": "registry.example.com/team/gone:1"}]}));
    cluster.runs(&namespace, "nameless", &[("app", &format!("sha256:{hex}"), &format!("sha256:{hex}"))]);
    cluster.apply(&workload("ReplicaSet", &namespace, "bare", "bare:1", "replicas: 0"));

    let printed = cluster.kubectl(&["get", "rs,po", "-A", "-o", "jsonpath={..image}"]);
    let ran = tool(&cluster).run().succeeds();
    assert_eq!(ran.the("header")["scope"]["partial"], false);
    let uses = ran.records_of("use");
    let known: BTreeSet<String> = uses.iter().flat_map(|used| [used["image"].as_str().unwrap().to_owned(), reference(used)]).collect();
    let words = words(&printed);
    assert!(words.len() > 8, "{printed}");
    for word in words {
        assert!(known.contains(&word), "{word} is not in the inventory, which has {known:#?}");
    }
}

/// The references in what kubectl printed: text without spaces that is no bare digest. Image volumes make `jsonpath` print an object.
fn words(printed: &str) -> Vec<String> {
    let plain = printed.split_whitespace().filter(|word| !word.starts_with("sha256:"));
    plain
        .flat_map(|word| match serde_json::from_str::<Value>(word) {
            Ok(object) => object["reference"].as_str().map(str::to_owned),
            Err(_) => Some(word.to_owned()),
        })
        .collect()
}

/// What a record names, in full.
fn reference(record: &Value) -> String {
    let text = |key: &str| record[key].as_str();
    let end = text("tag").map(|tag| format!(":{tag}")).or_else(|| text("digest").map(|digest| format!("@{digest}"))).unwrap_or_default();
    format!("{}/{}{end}", text("registry").unwrap(), text("repository").unwrap())
}
