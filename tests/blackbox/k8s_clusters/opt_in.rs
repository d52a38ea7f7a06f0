//! What is only read where it is asked for: Helm's history, because it stands in secrets, and what lies on the nodes.

use serde_json::json;
use tests::*;

use super::{are_used, tool};

/// A chart of one Deployment and a hook, whose images are values.
fn chart() -> Chart {
    let web = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 0\n  selector: {matchLabels: {app: web}}\n  \
               revisionHistoryLimit: 0\n  template:\n    metadata: {labels: {app: web}}\n    \
               spec: {containers: [{name: app, image: \"registry.example.com/team/web:{{ .Values.tag }}\"}]}\n";
    let hook = "apiVersion: v1\nkind: PodTemplate\nmetadata: {name: migrate, annotations: {helm.sh/hook: post-upgrade}}\n\
                template: {spec: {containers: [{name: migrate, image: \"registry.example.com/team/migrate:{{ .Values.tag }}\"}]}}\n";
    Chart::new("shop").template("web.yaml", web).template("migrate.yaml", hook).values("tag: 1\n")
}

#[test]
fn helm_can_roll_back_to_what_its_history_names() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    let chart = chart();
    cluster.helm(&["-n", &namespace, "install", "shop", &chart.path(), "--no-hooks"]);
    cluster.helm(&["-n", &namespace, "upgrade", "shop", &chart.path(), "--set", "tag=2", "--no-hooks"]);
    // Without a ReplicaSet to remember it, only Helm knows the old image.
    let sets = format!("/apis/apps/v1/namespaces/{namespace}/replicasets");
    cluster.wait(&sets, |list| {
        let sets = list["items"].as_array()?;
        let image = |set: &serde_json::Value| set["spec"]["template"]["spec"]["containers"][0]["image"].clone();
        (sets.len() == 1 && image(&sets[0]) == "registry.example.com/team/web:2").then_some(())
    });
    let proxy = Proxy::before_cluster(cluster);
    let kubeconfig = Kubeconfig::new().context("prod", cluster.access().server(&proxy.url()));
    let run = |arguments: &[&str]| {
        Tool::new("k8s-images").env("KUBECONFIG", kubeconfig.path()).args(["--namespace", &namespace]).args(arguments).run().succeeds()
    };
    let now = json!({"image": "registry.example.com/team/web:2", "repository": "team/web", "tag": "2",
        "kind": "Deployment", "name": "web", "container": "app"});
    are_used(&run(&[]), &namespace, std::slice::from_ref(&now));
    assert_eq!(proxy.count(|request| request.path().contains("secrets")), 0, "secrets are not read unless somebody asks for it");

    let history = |repository: &str, tag: &str, container: &str| {
        json!({"image": format!("registry.example.com/{repository}:{tag}"), "repository": repository, "tag": tag,
            "kind": "Helm", "name": "shop", "container": container, "field": "history"})
    };
    are_used(
        &run(&["--helm-history"]),
        &namespace,
        &[
            now,
            history("team/web", "1", "app"),
            history("team/web", "2", "app"),
            history("team/migrate", "1", "migrate"),
            history("team/migrate", "2", "migrate"),
        ],
    );
}

#[test]
fn what_lies_on_a_node_is_read_where_it_is_asked_for() {
    let cluster = Cluster::with().no_controllers().start();
    let digest = "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    cluster.create("/api/v1/nodes", json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}}));
    let pinned = format!("registry.example.com/team/cached@{digest}");
    cluster.merge(
        "/api/v1/nodes/node-1/status",
        json!({"status": {"images": [
            {"names": [pinned, "registry.example.com/team/cached:1"], "sizeBytes": 1},
            // What lost its name.
            {"names": ["<none>@<none>", "<none>:<none>"], "sizeBytes": 1},
        ]}}),
    );
    // A cluster in which no image is named at all is looked at twice, so something runs here.
    let namespace = cluster.namespace();
    cluster.run_pod(&namespace, "web", json!({"containers": [{"name": "app", "image": "registry.example.com/team/web:1"}]}));
    let of_nodes = |ran: &Ran| ran.records_of("use").into_iter().filter(|used| used["field"] == "node").collect::<Vec<_>>();
    assert!(of_nodes(&tool(&cluster).run().succeeds()).is_empty());
    let ran = tool(&cluster).arg("--nodes").run().succeeds();
    let used = of_nodes(&ran);
    let mut images: Vec<&str> = used.iter().filter_map(|used| used["image"].as_str()).collect();
    images.sort_unstable();
    assert_eq!(images, ["registry.example.com/team/cached:1", &pinned], "{ran}");
    for used in used {
        assert_eq!((&used["kind"], &used["name"], &used["namespace"]), (&json!("Node"), &json!("node-1"), &json!(null)), "{used}");
        assert_eq!(used["pods"], 0);
    }
}
