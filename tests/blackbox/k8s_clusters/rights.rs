//! What an account may see, and what an inventory is worth that was taken with less: the printed role, missing kinds, narrow
//! accounts.

use serde_json::{Value, json};
use tests::*;

use super::quiet::{ALL, not_whole, quiet, sources, uses, whole};
use super::{rollouts, tool};

/// The tool with an account's token.
fn as_account(cluster: &Cluster, token: &str) -> (Tool, Kubeconfig) {
    let kubeconfig = Kubeconfig::new().context("prod", cluster.access().token(token));
    (Tool::new("k8s-images").env("KUBECONFIG", kubeconfig.path()), kubeconfig)
}

/// What it says with these arguments.
fn run(cluster: &Cluster, token: &str, arguments: &[&str]) -> Ran {
    let (tool, _kubeconfig) = as_account(cluster, token);
    tool.args(arguments).run()
}

fn source(ran: &Ran) -> Value {
    ran.the("header")["scope"]["sources"][0].clone()
}

/// The kinds of Kubernetes itself, as `plural.group`.
pub(super) const KINDS: [&str; 10] = [
    "pods",
    "podtemplates",
    "replicationcontrollers",
    "replicasets.apps",
    "deployments.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "controllerrevisions.apps",
    "jobs.batch",
    "cronjobs.batch",
];

/// Grants a user to list these in the whole cluster.
fn grant(cluster: &Cluster, user: &User, kinds: &[&str]) {
    let role = format!("lists-for-{}", user.name);
    cluster.kubectl(&["create", "clusterrole", &role, "--verb=list", &format!("--resource={}", kinds.join(","))]);
    cluster.kubectl(&["create", "clusterrolebinding", &role, &format!("--clusterrole={role}"), &format!("--user={}", user.name)]);
    // The authorizer learns of it by a watch; rules of one role come at once.
    let last = kinds.last().unwrap();
    let (name, group) = last.split_once('.').unwrap_or((last, ""));
    let path = if group.is_empty() { format!("/api/v1/{name}") } else { format!("/apis/{group}/v1/{name}") };
    cluster.wait_for_right(user, &format!("{path}?limit=1"));
}

#[test]
fn the_printed_role_is_enough_and_grants_nothing_else() {
    let cluster = Cluster::with().no_controllers().start();
    let namespace = cluster.namespace();
    let printed = |arguments: &[&str]| tool(&cluster).args(["--generate", "rbac"]).args(arguments).run().succeeds().stdout();
    cluster.run_pod(&namespace, "web", json!({"containers": [{"name": "app", "image": "registry.example.com/team/web:1"}]}));

    cluster.apply(&printed(&[]));
    let token = cluster.kubectl(&["create", "token", "k8s-images"]).trim().to_owned();
    let account = User { name: "system:serviceaccount:default:k8s-images".to_owned(), token };
    cluster.wait_for_right(&account, "/apis/batch/v1/jobs?limit=1");
    let ran = run(&cluster, &account.token, &[]).succeeds();
    assert_eq!((&source(&ran)["complete"], ran.records_of("use").len()), (&json!(true), 1));

    let may = |words: &str| {
        let words: Vec<&str> = ["auth", "can-i", "--as", &account.name, "-A"].into_iter().chain(words.split(' ')).collect();
        // It says no, and ends with 1.
        cluster.try_kubectl(&words).is_ok()
    };
    assert!(may("list pods"));
    for other in ["get secrets", "list secrets", "list nodes", "list configmaps", "delete pods", "create pods", "patch deployments.apps"] {
        assert!(!may(other), "the printed role grants to {other}");
    }

    // What is only read where it is asked for is only granted where it is asked for.
    run(&cluster, &account.token, &["--nodes", "--helm-history"]).status(1).stderr_has("nodes").stderr_has("secrets");
    cluster.apply(&printed(&["--nodes", "--helm-history"]));
    cluster.wait_for_right(&account, "/api/v1/nodes?limit=1");
    run(&cluster, &account.token, &["--nodes", "--helm-history"]).succeeds();

    // The role of the cluster that has them grants its custom resources.
    rollouts(&cluster);
    run(&cluster, &account.token, &[]).status(1).stderr_has("rollouts.argoproj.io").stderr_has("--generate rbac");
    run(&cluster, &account.token, &["--no-custom-resources"]).succeeds();
    cluster.apply(&printed(&["--context", "prod"]));
    cluster.wait_for_right(&account, "/apis/argoproj.io/v1alpha1/rollouts?limit=1");
    run(&cluster, &account.token, &[]).succeeds();
}

#[test]
fn an_account_without_rights_sees_nothing_and_says_so() {
    let cluster = Cluster::shared();
    let ran = run(cluster, &cluster.user().token, &[]).status(1);
    assert_eq!(source(&ran)["complete"], false);
    assert_eq!((ran.records_of("use").len(), &ran.the("trailer")["complete"]), (0, &json!(false)));
    for kind in KINDS {
        assert!(ran.stderr().contains(&format!("may not list {kind}: ")), "{kind}\n{ran}");
    }
}

#[test]
fn a_missing_right_is_named_and_may_be_forgiven() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    cluster.run_pod(&namespace, "web", json!({"containers": [{"name": "app", "image": "registry.example.com/team/web:1"}]}));
    let user = cluster.user();
    let granted: Vec<&str> = KINDS.into_iter().filter(|kind| !["cronjobs.batch", "podtemplates"].contains(kind)).collect();
    grant(cluster, &user, &granted);

    let ran = run(cluster, &user.token, &["--namespace", &namespace]).status(1);
    let ran =
        ran.stderr_has("may not list cronjobs.batch").stderr_has("--allow-missing cronjobs.batch").stderr_has("may not list podtemplates");
    assert_eq!(ran.stderr().matches("may not list").count(), 2, "{ran}");
    assert_eq!((&source(&ran)["complete"], ran.records_of("use").len()), (&json!(false), 1));
    // One forgiven is not both.
    run(cluster, &user.token, &["--namespace", &namespace, "--allow-missing", "cronjobs.batch"]).status(1).stderr_has("podtemplates");
    let ran =
        run(cluster, &user.token, &["--namespace", &namespace, "--allow-missing", "cronjobs.batch", "--allow-missing", "podtemplates"]);
    let source = source(&ran.succeeds());
    assert_eq!((&source["complete"], &source["error"]), (&json!(true), &Value::Null));
    let mut missing: Vec<&str> = source["missing"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    missing.sort_unstable();
    assert_eq!(missing, ["cronjobs.batch", "podtemplates"]);
}

#[test]
fn a_kind_is_forgiven_by_any_of_its_names() {
    let cluster = quiet();
    let user = cluster.user();
    let granted: Vec<&str> = KINDS.into_iter().filter(|kind| *kind != "cronjobs.batch").collect();
    grant(cluster, &user, &granted);
    for name in ["CronJob", "cronjob", "cronjobs", "cronjobs.batch", "CRONJOBS.Batch"] {
        let ran = run(cluster, &user.token, &["--allow-missing", name]).succeeds();
        let mut expected = whole("prod", &cluster.url());
        expected["missing"] = json!(["cronjobs.batch"]);
        sources(&ran, &[expected]);
        uses(&ran, &[("prod", &["team/shop", "team/web"])]);
        assert_eq!(ran.the("trailer")["complete"], true);
        // It is said each time what is not known.
        ran.stderr_has("k8s-images: prod: may not list cronjobs.batch: ").stderr_has("--allow-missing lets it go");
    }
    for name in ["Job", "cronjobs.apps", "pods", "*"] {
        let ran = run(cluster, &user.token, &["--allow-missing", name]).status(1);
        assert_eq!((&source(&ran)["complete"], source(&ran).get("missing")), (&json!(false), None), "{name}\n{ran}");
        uses(&ran, &[("prod", &["team/shop", "team/web"])]);
    }
    // Who may read it misses nothing.
    uses(&run(cluster, &cluster.token(), &["--allow-missing", "cronjobs"]).succeeds(), &[("prod", ALL)]);
}

/// Without its pods and workloads an inventory is none, whatever a flag allows.
#[test]
fn what_runs_is_never_forgiven() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    for kind in ["pods", "replicasets.apps", "deployments.apps", "statefulsets.apps", "daemonsets.apps", "controllerrevisions.apps"] {
        let user = cluster.user();
        let granted: Vec<&str> = KINDS.into_iter().filter(|other| *other != kind).collect();
        grant(cluster, &user, &granted);
        let ran = run(cluster, &user.token, &["--namespace", &namespace, "--allow-missing", kind]).status(1);
        assert_eq!(source(&ran)["complete"], false, "{kind}\n{ran}");
        ran.stderr_has(&format!("may not list {kind}"));
    }
}

#[test]
fn an_account_of_one_namespace_reads_that_one() {
    let cluster = Cluster::shared();
    let (own, other) = (cluster.namespace(), cluster.namespace());
    for namespace in [&own, &other] {
        let spec = json!({"containers": [{"name": "app", "image": format!("registry.example.com/team/{namespace}:1")}]});
        cluster.run_pod(namespace, "web", spec);
    }
    let user = cluster.user();
    let resources = format!("--resource={}", KINDS.join(","));
    cluster.kubectl(&["-n", &own, "create", "role", "reads", "--verb=list", &resources]);
    cluster.kubectl(&["-n", &own, "create", "rolebinding", "reads", "--role=reads", &format!("--user={}", user.name)]);
    cluster.wait_for_right(&user, &format!("/api/v1/namespaces/{own}/pods?limit=1"));
    let ran = run(cluster, &user.token, &["--namespace", &own]).succeeds();
    assert_eq!(ran.the("use")["image"], format!("registry.example.com/team/{own}:1"));
    let scope = &ran.the("header")["scope"];
    assert_eq!((&scope["partial"], &scope["namespaces"]), (&json!(true), &json!([own])));
    run(cluster, &user.token, &["--namespace", &own, "--namespace", &other]).status(1).stderr_has(&format!("pods of {other}"));
    run(cluster, &user.token, &[]).status(1).stderr_has("may not list pods");
}

#[test]
fn a_namespace_and_labels_make_an_inventory_partial() {
    let cluster = Cluster::shared();
    let (one, two) = (cluster.namespace(), cluster.namespace());
    for (namespace, name, tier) in [(&one, "a", "web"), (&one, "b", "db"), (&two, "c", "web")] {
        let image = format!("registry.example.com/team/{name}:1");
        cluster.create(
            &format!("/api/v1/namespaces/{namespace}/pods"),
            json!({"metadata": {"name": name, "labels": {"tier": tier}}, "spec": {"containers": [{"name": "app", "image": image}]}}),
        );
    }
    for (arguments, expected) in [
        (vec!["--namespace", &one], vec!["a", "b"]),
        (vec!["--namespace", &one, "--namespace", &two], vec!["a", "b", "c"]),
        (vec!["--namespace", &one, "--namespace", &two, "--selector", "tier=web"], vec!["a", "c"]),
        (vec!["--namespace", &one, "--selector", "tier notin (web)"], vec!["b"]),
    ] {
        let ran = tool(cluster).args(&arguments).run().succeeds();
        let mut names: Vec<String> = ran.records_of("use").iter().map(|used| used["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        assert_eq!(names, expected, "{arguments:?}\n{ran}");
        assert_eq!(ran.the("header")["scope"]["partial"], true);
    }
    let ran = tool(cluster).args(["--selector", "tier=nothing-of-this-kind"]).run();
    assert_eq!(ran.the("header")["scope"]["selector"], "tier=nothing-of-this-kind");
    assert_eq!((ran.the("header")["scope"]["partial"].clone(), ran.records_of("use").len()), (json!(true), 0));
    // A decider refuses it: what is outside is not known to be unused.
    let narrowed = tool(cluster).args(["--namespace", &one]).run().succeeds().stdout();
    let select = |arguments: &[&str]| {
        let select = Tool::new("reg-select").args(["--in-use", "in-use.jsonl", "--preset", "evict"]).args(arguments);
        select.home_file("in-use.jsonl", &narrowed)
    };
    let listing = lines(&[
        json!({"type": "header", "tool": "reg-list", "version": "0.1.0", "schema": 1, "time": days_ago(0),
            "scope": {"registry": "registry.example.com", "prefixes": []}}),
        json!({"type": "trailer", "complete": true, "records": 0}),
    ]);
    select(&["--min-in-use", "1"]).stdin(listing.clone()).run().status(3).stderr_has("partial").stderr_has("--allow-partial");
    select(&["--min-in-use", "1", "--allow-partial"]).stdin(listing).run().succeeds();
}

/// Whose labels are meant, and which, is not for this tool to judge: what a server makes of them is told once.
#[test]
fn labels_are_understood_as_the_server_understands_them() {
    let cluster = quiet();
    for (selector, expected) in [
        ("app", &["team/shop", "team/web"][..]),
        ("app==web", &["team/web"]),
        ("app in (web, other),!tier", &["team/web"]),
        ("!app", &["team/nightly"]),
        ("app=no-such-app", &[]),
    ] {
        let ran = tool(cluster).args(["--selector", selector]).run().succeeds();
        uses(&ran, &[("prod", expected)]);
        let expected = json!({"sources": [whole("prod", &cluster.url())], "selector": selector, "partial": true});
        assert_eq!(ran.the("header")["scope"], expected, "{ran}");
    }
    let ran = tool(cluster).args(["-l", "app in (web"]).run().status(1);
    let error = "the server does not understand --selector: 400 BadRequest: unable to parse requirement: found '', expected: ',' or ')'";
    assert_eq!(source(&ran), not_whole("prod", &cluster.url(), error));
    assert_eq!(ran.stderr().matches("BadRequest").count(), 1, "{ran}");
}
