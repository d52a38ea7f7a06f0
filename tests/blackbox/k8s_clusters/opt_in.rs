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
            // What lost its name, as each runtime says it.
            {"names": ["<none>@<none>", "<none>:<none>"], "sizeBytes": 1},
            {"names": [format!("<none>@{digest}")], "sizeBytes": 1},
            // A node that never had a name for it.
            {"names": null, "sizeBytes": 1},
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

#[test]
fn each_revision_counts_also_after_a_rollback() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    let template = "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: report}\nspec:\n  schedule: '@yearly'\n  jobTemplate: {spec: {template: {spec: {restartPolicy: Never,\n    \
                    initContainers: [{name: first, image: \"registry.example.com/team/first:{{ .Values.tag }}\"}],\n    \
                    containers: [{name: app, image: \"registry.example.com/team/report:{{ .Values.tag }}\"}]}}}}\n";
    let chart = Chart::new("shop").template("report.yaml", template).values("tag: 1\n");
    let helm = |words: &str| {
        let words: Vec<&str> = ["-n", &namespace].into_iter().chain(words.split(' ')).collect();
        cluster.helm(&words);
    };
    helm(&format!("install shop {}", chart.path()));
    helm(&format!("upgrade shop {} --set tag=2", chart.path()));
    helm(&format!("upgrade shop {} --set tag=3", chart.path()));
    helm("rollback shop 1");
    let now = |name: &str, field: &str| {
        json!({"image": format!("registry.example.com/team/{name}:1"), "repository": format!("team/{name}"), "tag": "1",
            "kind": "CronJob", "name": "report", "container": if name == "report" { "app" } else { name }, "field": field})
    };
    let now = [now("report", "container"), now("first", "initContainer")];
    let run = |arguments: &[&str]| tool(cluster).args(["--namespace", &namespace]).args(arguments).run().succeeds();
    are_used(&run(&[]), &namespace, &now);
    let history = |name: &str, tag: &str| {
        json!({"image": format!("registry.example.com/team/{name}:{tag}"), "repository": format!("team/{name}"), "tag": tag,
            "kind": "Helm", "name": "shop", "container": if name == "report" { "app" } else { name }, "field": "history"})
    };
    let revisions = ["1", "2", "3"].into_iter().flat_map(|tag| [history("report", tag), history("first", tag)]);
    let all: Vec<_> = now.into_iter().chain(revisions).collect();
    are_used(&run(&["--helm-history"]), &namespace, &all);

    // Helm goes away with its history, and so does what only that named.
    helm("uninstall shop");
    assert_eq!(run(&["--helm-history"]).records_of("use").len(), 0);
}

/// A secret that Helm could not read either: what it held is not known.
#[test]
fn a_release_that_cannot_be_read_is_no_release_less() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    let chart = chart();
    cluster.helm(&["-n", &namespace, "install", "shop", &chart.path(), "--no-hooks"]);
    let secret = |name: &str, data: serde_json::Value| {
        cluster.create(
            &format!("/api/v1/namespaces/{namespace}/secrets"),
            json!({"metadata": {"name": name}, "type": "helm.sh/release.v1", "stringData": data}),
        );
    };
    secret("sh.helm.release.v1.shop.v9", json!({"release": "H4sIAAAAAAAA/6tWKkotzszPU7JS"}));
    secret("sh.helm.release.v1.cart.v1", json!({"note": "nothing"}));
    let run = |arguments: &[&str]| tool(cluster).args(["--namespace", &namespace]).args(arguments).run();
    // Nobody asked for it.
    run(&[]).succeeds();
    let ran = run(&["--helm-history"]).status(1);
    for (name, why) in [("shop.v9", "data.release"), ("cart.v1", "it has no data.release")] {
        let line = ran.stderr().lines().find(|line| line.contains(&format!("secret {namespace}/sh.helm.release.v1.{name} ")));
        assert!(line.is_some_and(|line| line.contains(why)), "{name}\n{ran}");
    }
    let source = &ran.the("header")["scope"]["sources"][0];
    assert_eq!((&source["complete"], &ran.the("trailer")["complete"]), (&json!(false), &json!(false)));
    // What could be read is there all the same.
    let seen = ran.records_of("use");
    assert!(seen.iter().any(|used| used["kind"] == "Helm" && used["image"] == "registry.example.com/team/web:1"), "{ran}");
}

#[test]
fn who_may_not_read_secrets_is_told_what_they_are_for() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    cluster.run_pod(&namespace, "web", json!({"containers": [{"name": "app", "image": "registry.example.com/team/web:1"}]}));
    let user = cluster.user();
    let resources = "pods,podtemplates,replicationcontrollers,replicasets.apps,deployments.apps,statefulsets.apps,daemonsets.apps,\
                     controllerrevisions.apps,jobs.batch,cronjobs.batch";
    cluster.kubectl(&["-n", &namespace, "create", "role", "reads", "--verb=list", &format!("--resource={resources}")]);
    cluster.kubectl(&["-n", &namespace, "create", "rolebinding", "reads", "--role=reads", &format!("--user={}", user.name)]);
    cluster.wait_for_right(&user, &format!("/apis/batch/v1/namespaces/{namespace}/cronjobs?limit=1"));
    let kubeconfig = Kubeconfig::new().context("prod", cluster.access().token(&user.token));
    let run = |arguments: &[&str]| {
        Tool::new("k8s-images").env("KUBECONFIG", kubeconfig.path()).args(["--namespace", &namespace]).args(arguments).run()
    };
    run(&[]).succeeds();
    let ran = run(&["--helm-history"]).status(1).stderr_has(&format!("may not list secrets of {namespace}: ")).stderr_has("Helm");
    assert_eq!(ran.the("header")["scope"]["sources"][0]["complete"], false);
    assert_eq!(ran.the("use")["name"], "web");
    let ran = run(&["--helm-history", "--allow-missing", "secrets"]).succeeds();
    assert_eq!(ran.the("header")["scope"]["sources"][0]["missing"], json!(["secrets"]));
}
