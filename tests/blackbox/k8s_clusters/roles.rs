//! What `--generate rbac` prints, applied as it is, and used as it is meant: by a pod with that account.

use std::fs;

use serde_json::{Value, json};
use tests::*;

use super::{rollouts, tool};

/// The role for these flags, as printed.
fn printed(cluster: &Cluster, flags: &[&str]) -> String {
    tool(cluster).args(["--generate", "rbac"]).args(flags).run().succeeds().stdout()
}

/// Applies it, and gives the account that it makes, once it may list this.
fn account(cluster: &Cluster, role: &str, home: &str, path: &str) -> User {
    cluster.apply(role);
    let token = cluster.kubectl(&["-n", home, "create", "token", "k8s-images"]).trim().to_owned();
    let account = User { name: format!("system:serviceaccount:{home}:k8s-images"), token };
    cluster.wait_for_right(&account, &format!("{path}?limit=1"));
    account
}

/// What the account may do, in a namespace or in the whole cluster (`-A`).
fn may(cluster: &Cluster, account: &User, namespace: &str, words: &str) -> bool {
    let place = if namespace == "-A" { vec!["-A"] } else { vec!["-n", namespace] };
    let words = ["auth", "can-i", "--as", &account.name].into_iter().chain(place).chain(words.split(' '));
    // It says no, and ends with 1.
    cluster.try_kubectl(&words.collect::<Vec<_>>()).is_ok()
}

/// The uses, each as `namespace kind/name field image`.
fn uses(ran: &Ran) -> Vec<String> {
    let text = |used: &Value, key: &str| used[key].as_str().unwrap_or_default().to_owned();
    let shown = |used: &Value| {
        let [namespace, kind, name, field, image] = ["namespace", "kind", "name", "field", "image"].map(|key| text(used, key));
        format!("{namespace} {kind}/{name} {field} {image}")
    };
    ran.records_of("use").iter().map(shown).collect()
}

fn pod(cluster: &Cluster, namespace: &str, image: &str) {
    cluster.run_pod(namespace, "web", json!({"containers": [{"name": "app", "image": image}]}));
}

#[test]
fn the_account_of_some_namespaces_reads_these_and_no_other() {
    let cluster = Cluster::shared();
    let [shop, web, other] = [cluster.namespace(), cluster.namespace(), cluster.namespace()];
    for (namespace, image) in [(&shop, "team/shop:1"), (&web, "team/web:1"), (&other, "team/other:1")] {
        pod(cluster, namespace, image);
    }
    let role = printed(cluster, &["--namespace", &shop, "--namespace", &web]);
    assert!(!role.contains("ClusterRole"), "{role}");
    let account = account(cluster, &role, &shop, &format!("/api/v1/namespaces/{shop}/pods"));
    cluster.wait_for_right(&account, &format!("/api/v1/namespaces/{web}/pods?limit=1"));

    let pod = Pod::of(cluster, &account.token);
    let run = |arguments: &[&str]| pod.tool("k8s-images").args(arguments).run();
    let ran = run(&["--namespace", &shop, "--namespace", &web]).succeeds();
    assert_eq!(uses(&ran), [format!("{shop} Pod/web container team/shop:1"), format!("{web} Pod/web container team/web:1")]);
    let source = json!({"kind": "context", "name": "in-cluster", "server": cluster.url(), "complete": true, "error": null});
    assert_eq!(ran.the("header")["scope"], json!({"sources": [source], "namespaces": [shop, web], "partial": true}), "{ran}");
    let versions = &ran.the("trailer")["resourceVersions"]["in-cluster"];
    assert!(versions[format!("{shop}/pods")].is_string() && versions[format!("{web}/cronjobs.batch")].is_string(), "{ran}");

    run(&["--namespace", &shop, "--namespace", &other]).status(1).stderr_has(&format!("may not list pods of {other}: "));
    run(&[]).status(1).stderr_has("may not list pods: ");
    assert!(may(cluster, &account, &shop, "list pods") && may(cluster, &account, &web, "list cronjobs.batch"));
    for words in ["get pods", "list secrets", "list configmaps", "delete pods", "create pods", "patch deployments.apps"] {
        assert!(!may(cluster, &account, &shop, words), "the printed role grants to {words}");
    }
    assert!(!may(cluster, &account, &other, "list pods") && !may(cluster, &account, "-A", "list nodes"));
}

/// All that can be asked for, and custom resources, in one namespace: what belongs to the whole cluster is granted where it is needed.
#[test]
fn the_account_of_a_namespace_reads_what_it_is_asked_for() {
    let cluster = Cluster::with().no_controllers().start();
    rollouts(&cluster);
    let [shop, other] = [cluster.namespace(), cluster.namespace()];
    for namespace in [&shop, &other] {
        pod(&cluster, namespace, "registry.example.com/team/web:1");
        let rollout = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "canary", "namespace": namespace},
            "spec": {"template": {"spec": {"containers": [{"name": "app", "image": "registry.example.com/team/canary:1"}]}}}});
        cluster.apply(&rollout.to_string());
        let template = "apiVersion: v1\nkind: PodTemplate\nmetadata: {name: mould}\n\
                        template: {spec: {containers: [{name: app, image: \"registry.example.com/team/mould:{{ .Values.tag }}\"}]}}\n";
        let chart = Chart::new("chart").template("mould.yaml", template).values("tag: 1\n");
        cluster.helm(&["-n", namespace, "install", "helm", &chart.path()]);
        cluster.helm(&["-n", namespace, "upgrade", "helm", &chart.path(), "--set", "tag=2"]);
    }
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node"}});
    cluster.create("/api/v1/nodes", node);
    cluster.merge("/api/v1/nodes/node/status", json!({"status": {"images": [{"names": ["registry.example.com/team/pulled:1"]}]}}));

    let plain = printed(&cluster, &["--namespace", &shop]);
    let account = account(&cluster, &plain, &shop, &format!("/api/v1/namespaces/{shop}/pods"));
    let pod = Pod::of(&cluster, &account.token);
    let run = |arguments: &[&str]| pod.tool("k8s-images").args(["--namespace", &shop]).args(arguments).run();
    // Custom resources are not known until a cluster is asked, and then named.
    let ran = run(&[]).status(1);
    let refused: Vec<&str> = ran.stderr().lines().filter(|line| line.contains("may not list")).collect();
    let expected = format!("k8s-images: in-cluster: may not list rollouts.argoproj.io of {shop}: 403 Forbidden: ");
    assert!(matches!(refused[..], [line] if line.starts_with(&expected)), "{ran}");
    let workloads = || {
        vec![
            format!("{shop} Pod/web container registry.example.com/team/web:1"),
            format!("{shop} PodTemplate/mould container registry.example.com/team/mould:2"),
        ]
    };
    assert_eq!(uses(&run(&["--no-custom-resources"]).succeeds()), workloads());
    let ran = run(&["--no-custom-resources", "--helm-history", "--nodes"]).status(1);
    ran.stderr_has(&format!("may not list secrets of {shop}: ")).stderr_has("may not list nodes: ");

    // The role that is told by the cluster, for the same flags as the reading.
    let all = printed(&cluster, &["--namespace", &shop, "--context", "prod", "--helm-history", "--nodes"]);
    cluster.apply(&all);
    cluster.wait_for_right(&account, "/api/v1/nodes?limit=1");
    cluster.wait_for_right(&account, &format!("/api/v1/namespaces/{shop}/secrets?limit=1"));
    let ran = run(&["--helm-history", "--nodes"]).succeeds();
    let mut expected = workloads();
    expected.extend([
        format!("{shop} Helm/helm history registry.example.com/team/mould:1"),
        format!("{shop} Helm/helm history registry.example.com/team/mould:2"),
        format!("{shop} Rollout/canary container registry.example.com/team/canary:1"),
        " Node/node node registry.example.com/team/pulled:1".to_owned(),
    ]);
    let mut found = uses(&ran);
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "{ran}");
    for words in ["list pods", "list secrets", "list rollouts.argoproj.io"] {
        assert!(may(&cluster, &account, &shop, words) && !may(&cluster, &account, &other, words), "{words}");
    }
    assert!(!may(&cluster, &account, "-A", "list customresourcedefinitions"));
}

#[test]
fn a_role_is_printed_without_a_cluster_unless_one_is_named() {
    let cluster = Cluster::shared();
    let folder = temporary();
    let missing = folder.path().join("none").display().to_string();
    let plain = Tool::new("k8s-images").env("KUBECONFIG", &missing).args(["--generate", "rbac"]).run().succeeds();
    assert!(plain.stdout().contains("kind: ClusterRole\n") && plain.stderr().is_empty(), "{plain}");
    // kubectl and its server understand it, whatever flags stand beside it.
    for flags in [&[][..], &["--nodes", "--helm-history"], &["--namespace", "default", "--namespace", "kube-system", "--nodes"]] {
        let file = folder.path().join("role.yaml");
        fs::write(&file, printed(cluster, flags)).unwrap();
        cluster.kubectl(&["apply", "--dry-run=server", "--validate=strict", "-f", &file.display().to_string()]);
    }
    // What a cluster would have to say is missed where it does not.
    let dead = Kubeconfig::new().context("dead", Access::to("https://127.0.0.1:1"));
    let ran = Tool::new("k8s-images").env("KUBECONFIG", dead.path()).args(["--generate", "rbac", "--context", "dead"]).run().status(1);
    ran.stderr_has("k8s-images: dead: the server cannot be reached: ").stdout_has("kind: ClusterRole\n");
    let tool = |arguments: &[&str]| Tool::new("k8s-images").env("KUBECONFIG", &missing).args(["--generate", "rbac"]).args(arguments).run();
    tool(&["--context", "prod"]).status(2).stdout_is_empty().stderr_has(&missing);
    tool(&["-f", "a"]).status(2).stdout_is_empty().stderr_has("--generate rbac is about clusters");
}
