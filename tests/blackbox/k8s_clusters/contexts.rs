//! Which contexts are read: all of them, those that are named, each cluster once.

use serde_json::{Value, json};
use tests::*;

use super::quiet::{ALL, quiet, sources, uses, whole};

/// The tool with this kubeconfig.
fn tool(kubeconfig: &Kubeconfig) -> Tool {
    Tool::new("k8s-images").env("KUBECONFIG", kubeconfig.path())
}

/// Six contexts under names that people and their clouds give, each with a user of its own, so that each would be read.
fn many() -> Kubeconfig {
    let names = ["prod", "prod-eu", "arn:aws:eks:eu-west-1:1:cluster/prod", "kubernetes-admin@kubernetes", "it's mine", "a[b]*"];
    names.into_iter().fold(Kubeconfig::new(), |kubeconfig, name| {
        kubeconfig.context(name, quiet().access().user("as", json!("admin")).user("as-groups", json!(["system:masters", name])))
    })
}

/// The names of the sources in the scope.
fn names(ran: &Ran) -> Vec<Value> {
    ran.the("header")["scope"]["sources"].as_array().unwrap().iter().map(|source| source["name"].clone()).collect()
}

#[test]
fn all_contexts_are_read_or_those_that_are_named() {
    let kubeconfig = many();
    let all = ["prod", "prod-eu", "arn:aws:eks:eu-west-1:1:cluster/prod", "kubernetes-admin@kubernetes", "it's mine", "a[b]*"];
    for (arguments, expected, recorded) in [
        (&[][..], &all[..], json!({})),
        (&["--context", "prod"], &["prod"], json!({"contexts": ["prod"]})),
        (&["--context", "*prod*"], &all[..3], json!({"contexts": ["*prod*"]})),
        (&["--context", "arn:*/prod", "--context", "it's mine"], &[all[2], all[4]], json!({"contexts": ["arn:*/prod", "it's mine"]})),
        (&["--context", "a[b]*"], &["a[b]*"], json!({"contexts": ["a[b]*"]})),
        (&["--skip-context", "*prod*", "--skip-context", "a*"], &all[3..5], json!({"skipContexts": ["*prod*", "a*"]})),
        (&["--context", "prod*", "--skip-context", "prod-eu"], &["prod"], json!({"contexts": ["prod*"], "skipContexts": ["prod-eu"]})),
    ] {
        let ran = tool(&kubeconfig).args(arguments).run().succeeds();
        let mut scope = recorded;
        scope["sources"] = expected.iter().map(|name| whole(name, &quiet().url())).collect();
        scope["partial"] = json!(false);
        assert_eq!(ran.the("header")["scope"], scope, "{ran}");
        let expected: Vec<(&str, &[&str])> = expected.iter().map(|name| (*name, ALL)).collect();
        uses(&ran, &expected);
    }
}

#[test]
fn a_name_that_matches_nothing_is_told_what_there_is() {
    let there = "there are prod, prod-eu, arn:aws:eks:eu-west-1:1:cluster/prod, kubernetes-admin@kubernetes, 'it'\\''s mine', 'a[b]*'";
    for (arguments, expected) in [
        (&["--context", "prdo"][..], "--context prdo matches no context; "),
        (&["--context", "prod", "--context", "stage-*"], "--context 'stage-*' matches no context; "),
        (&["--skip-context", "*"], "--skip-context leaves no context to read; "),
        (&["--context", "prod", "--skip-context", "p*"], "--skip-context leaves no context to read; "),
    ] {
        let ran = tool(&many()).args(arguments).run().status(2).stdout_is_empty();
        assert_eq!(ran.stderr(), format!("k8s-images: {expected}{there}\n"), "{ran}");
    }
    // What is to be left out and is not there is left out; but a name with a typo would be read.
    let ran = tool(&many()).args(["--context", "prod", "--skip-context", "stage"]).run().succeeds();
    assert_eq!(names(&ran.stderr_has("k8s-images: --skip-context stage matches no context\n")), ["prod"]);
}

#[test]
fn the_same_server_and_user_are_read_once() {
    let cluster = quiet();
    let proxy = Proxy::before_cluster(cluster);
    let token = cluster.token();
    let access = || Access::to(&proxy.url()).token(&token);
    let kubeconfig = Kubeconfig::new()
        .context("prod", access().namespace("shop"))
        .second_name("prod-web", "prod")
        // Another cluster's and another user's entry, which say the same.
        .context("admin", access().server(&format!("{}/", proxy.url())))
        .context("other", access().impersonate("admin", &["system:masters"]));
    let ran = tool(&kubeconfig).run().succeeds();
    let same = |name: &str| {
        let mut source = whole(name, &proxy.url());
        source["sameAs"] = json!("prod");
        source
    };
    sources(&ran, &[whole("prod", &proxy.url()), same("prod-web"), same("admin"), whole("other", &proxy.url())]);
    uses(&ran, &[("prod", ALL), ("other", ALL)]);
    let lists = |path: &'static str| proxy.count(|request| request.path() == path);
    assert_eq!((lists("/api/v1/pods"), lists("/apis/apps/v1/deployments"), lists("/apis")), (2, 2, 2));
    assert_eq!(proxy.count(|request| request.path() == "/api/v1/pods" && request.header("impersonate-user").is_some()), 1);

    // What is not read is the same as nothing.
    proxy.forget();
    let ran = tool(&kubeconfig).args(["--context", "prod-web", "--context", "admin"]).run().succeeds();
    assert_eq!(ran.the("header")["scope"]["sources"][1]["sameAs"], "prod-web", "{ran}");
    uses(&ran, &[("prod-web", ALL)]);
    assert_eq!(lists("/api/v1/pods"), 1);
}

/// Were it a moment later, an image that was pushed and started in between would be older than the inventory, and not in it.
#[test]
fn the_header_s_time_is_before_the_first_request() {
    let proxy = Proxy::before_cluster(quiet());
    let gate = proxy.hold_before(|_| true);
    let kubeconfig = Kubeconfig::new().context("prod", Access::to(&proxy.url()).token(&quiet().token()));
    let running = tool(&kubeconfig).spawn();
    gate.wait();
    let arrived = ago(std::time::Duration::ZERO);
    while ago(std::time::Duration::ZERO) == arrived {
        std::thread::yield_now();
    }
    gate.open();
    let ran = running.wait().succeeds();
    let time = ran.the("header")["time"].as_str().unwrap().to_owned();
    assert!(time <= arrived, "{time} is after {arrived}, when the first request came\n{ran}");
    assert!(time > ago(std::time::Duration::from_secs(60)), "{ran}");
}
