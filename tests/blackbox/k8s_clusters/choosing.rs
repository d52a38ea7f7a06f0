//! Which contexts are meant, whatever people and clouds call them.

use serde_json::{Value, json};
use tests::*;

use super::quiet::{ALL, quiet, uses, whole};

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
fn the_help_names_every_flag_about_clusters() {
    let flags = [
        "--context",
        "--skip-context",
        "--kubeconfig",
        "--in-cluster",
        "--as",
        "--as-group",
        "--jobs",
        "--timeout",
        "--namespace",
        "--selector",
        "--no-custom-resources",
        "--helm-history",
        "--nodes",
        "--allow-missing",
        "--name",
        "--generate",
    ];
    for help in ["-h", "--help"] {
        let ran = Tool::new("k8s-images").arg(help).run().succeeds();
        let text = ran.stdout();
        let words: Vec<&str> = text.split_whitespace().collect();
        for flag in flags {
            assert!(words.contains(&flag), "{help} says nothing of {flag}\n{ran}");
        }
    }
}
