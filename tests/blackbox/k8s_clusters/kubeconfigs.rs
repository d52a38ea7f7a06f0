//! Which kubeconfig is meant, or the cluster around a pod, or none: it is never guessed.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};
use tests::ports::free_port;
use tests::*;

use super::quiet::{ALL, quiet, sources, uses, whole};

/// A kubeconfig with one context, in which the quiet cluster is asked by somebody of this name.
fn one(name: &str) -> Kubeconfig {
    Kubeconfig::new().context(name, quiet().access().impersonate(name, &["system:masters"]))
}

fn text(kubeconfig: &Kubeconfig) -> String {
    fs::read_to_string(kubeconfig.path()).unwrap()
}

/// As kubectl merges them: of two entries of one name that of the first file counts.
#[test]
fn the_first_file_goes_before_the_others() {
    let dead = quiet().access().server(&format!("https://127.0.0.1:{}", free_port()));
    let first = Kubeconfig::new().context("prod", quiet().access());
    // The same names with another server, and a context that leans on an entry of the first file.
    let second = Kubeconfig::new().context("prod", dead.clone()).context("stage", dead).second_name("also-prod", "prod");
    let second = second
        .set("/contexts/1/context/cluster", json!("prod"))
        .set("/users/1/user", json!({"token": quiet().token(), "as": "admin", "as-groups": ["system:masters"]}));
    let both = format!(":{}::{}", first.path().display(), second.path().display());
    let ran = Tool::new("k8s-images").env("KUBECONFIG", both).run().succeeds();
    let mut also = whole("also-prod", &quiet().url());
    also["sameAs"] = json!("prod");
    sources(&ran, &[whole("prod", &quiet().url()), whole("stage", &quiet().url()), also]);
}

#[test]
fn paths_in_a_file_begin_at_its_folder() {
    let folder = temporary();
    fs::write(folder.path().join("token"), quiet().token()).unwrap();
    fs::copy(quiet().ca_file(), folder.path().join("ca.crt")).unwrap();
    let access = Access::to(&quiet().url()).cluster("certificate-authority", json!("ca.crt")).user("tokenFile", json!("./token"));
    Kubeconfig::new().context("prod", access).write_to(&folder.path().join("config"));
    let ran = Tool::new("k8s-images").arg("--kubeconfig").arg(folder.path().join("config")).run().succeeds();
    sources(&ran, &[whole("prod", &quiet().url())]);
}

/// Whatever else is there that would do: a default kubeconfig, another file of the list, the cluster around the pod.
#[test]
fn a_file_that_cannot_be_read_is_no_reason_to_look_elsewhere() {
    let folder = temporary();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let good = one("good");
    fs::write(path("cut"), &text(&good)[..100]).unwrap();
    fs::write(path("binary"), b"\xff\xfe\x00").unwrap();
    fs::write(path("secret"), "apiVersion: v1\nusers: [s3cret").unwrap();
    fs::write(path("pod"), "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n").unwrap();
    fs::write(path("twice"), "contexts: [{name: a, context: {}}, {name: a, context: {}}]").unwrap();
    symlink(path("loop"), path("loop")).unwrap();
    fs::create_dir(path("folder")).unwrap();
    let token = quiet().token();
    let pod = Pod::of(quiet(), &token);
    for (name, expected) in [
        ("missing", "cannot be read: No such file or directory (os error 2)"),
        ("folder", "cannot be read: Is a directory (os error 21)"),
        ("loop", "cannot be read: Too many levels of symbolic links (os error 40)"),
        ("binary", "is not UTF-8"),
        ("cut", "is not YAML that can be read: see line "),
        ("secret", "is not YAML that can be read: see line "),
        ("pod", "is no kubeconfig: its kind is not Config"),
        ("twice", "has two contexts of the name a: which one is meant?"),
    ] {
        let tool = || Tool::new("k8s-images").home_file(".kube/config", text(&good));
        let said = |by: &str| format!("k8s-images: {by} names {}, which {expected}", path(name));
        for list in [path(name), format!("{}:{}", good.path().display(), path(name)), format!("{}:{}", path(name), good.path().display())] {
            let ran = tool().env("KUBECONFIG", list).run().status(2).stdout_is_empty();
            ran.stderr_has(&said("KUBECONFIG")).stderr_lacks("s3cret");
        }
        let ran = tool().env("KUBECONFIG", good.path()).args(["--kubeconfig", &path(name)]).run().status(2).stdout_is_empty();
        ran.stderr_has(&said("--kubeconfig"));
        // The pod has no such file either, or no such folder.
        let ran = pod.tool("k8s-images").env("KUBECONFIG", path(name)).run().status(2).stdout_is_empty();
        ran.stderr_has(&format!("k8s-images: KUBECONFIG names {}, which cannot be read", path(name)));
    }
    let ran = Tool::new("k8s-images").home_file(".kube/config", "[").run().status(2).stdout_is_empty();
    ran.stderr_has("k8s-images: the default kubeconfig names ").stderr_has(".kube/config, which is not YAML that can be read");
    let ran = Tool::new("k8s-images").home_file(".kube/config", "kind: Config\n").run().status(2).stdout_is_empty();
    ran.stderr_has("has no context: nothing says which cluster to read");
}

#[test]
fn the_default_kubeconfig_is_that_of_the_home() {
    let default = text(&one("default"));
    for (tool, expected) in [
        (Tool::new("k8s-images"), "default"),
        // Empty is not set.
        (Tool::new("k8s-images").env("KUBECONFIG", ""), "default"),
        (Tool::new("k8s-images").env("KUBECONFIG", ":"), "default"),
        // The variable of a cluster around it guesses nothing.
        (Tool::new("k8s-images").env("KUBERNETES_SERVICE_HOST", "127.0.0.1").env("KUBERNETES_SERVICE_PORT", "1"), "default"),
    ] {
        let ran = tool.home_file(".kube/config", &default).run().succeeds();
        sources(&ran, &[whole(expected, &quiet().url())]);
        uses(&ran, &[(expected, ALL)]);
    }
}

#[test]
fn where_there_is_nothing_to_read_the_ways_out_are_told() {
    let ways = ["-f FILE", "--from lines", "KUBECONFIG is not set", "there is no ~/.kube/config", "--kubeconfig FILE"];
    let told = |ran: Ran| ways.into_iter().fold(ran.status(2).stdout_is_empty(), |ran, way| ran.stderr_has(way));
    told(Tool::new("k8s-images").run());
    told(Tool::new("k8s-images").env("HOME", "").run());
    // Half a pod is none.
    told(Tool::new("k8s-images").env("KUBERNETES_SERVICE_HOST", "127.0.0.1").env("KUBERNETES_SERVICE_PORT", "1").run());
    let ran = Tool::new("k8s-images").args(["--context", "prod"]).run().status(2).stdout_is_empty();
    ran.stderr_has("there is no kubeconfig to take contexts from").stderr_has("--kubeconfig FILE");
}

#[test]
fn a_pod_reads_the_cluster_around_it() {
    let url = quiet().url();
    // Files end with a line feed, which is no part of a token.
    let pod = Pod::of(quiet(), &format!("{}\n", quiet().token()));
    for (arguments, name) in [
        (&[][..], "in-cluster"),
        (&["--in-cluster"], "in-cluster"),
        (&["--in-cluster", "--name", "prod"], "prod"),
        (&["--name", "prod"], "prod"),
    ] {
        let ran = pod.tool("k8s-images").args(arguments).run().succeeds();
        sources(&ran, &[whole(name, &url)]);
        uses(&ran, &[(name, ALL)]);
    }
    // A scheduled job with files reads no cluster, in whatever pod it runs.
    let pod = pod.file("images.txt", "registry.example.com/team/listed:1\n");
    let ran = pod.tool("k8s-images").args(["--from", "lines", "images.txt", "--name", "ci"]).run().succeeds();
    sources(&ran, &[json!({"kind": "lines", "name": "ci", "server": null, "complete": true, "error": null})]);
    let ran = pod.tool("k8s-images").args(["--from", "lines", "images.txt", "--name", "ci", "--in-cluster"]).run().succeeds();
    assert_eq!(names(&ran), ["ci", "in-cluster"]);

    // A kubeconfig goes before the account, and stands beside it where both are asked for.
    let dead = format!("https://127.0.0.1:{}", free_port());
    let ca = fs::read_to_string(quiet().ca_file()).unwrap();
    let access = |url: &str| Access::to(url).cluster("certificate-authority", json!("/ca.crt")).token(&quiet().token());
    let kubeconfig =
        Kubeconfig::new().context("other", access(&url).impersonate("admin", &["system:masters"])).context("down", access(&dead));
    let pod = pod.file("ca.crt", &ca).file("root/.kube/config", &text(&kubeconfig));
    assert_eq!(names(&pod.tool("k8s-images").arg("--context=other").run().succeeds()), ["other"]);
    assert_eq!(names(&pod.tool("k8s-images").run().status(1)), ["other", "down"]);
    assert_eq!(names(&pod.tool("k8s-images").arg("--in-cluster").run().succeeds()), ["in-cluster"]);
    let ran = pod.tool("k8s-images").args(["--in-cluster", "--context", "*"]).run().status(1);
    assert_eq!(names(&ran), ["in-cluster", "other", "down"]);
    ran.stderr_has("the contexts that were read whole: --in-cluster --context other; ");
}

/// The names of the sources in the scope.
fn names(ran: &Ran) -> Vec<Value> {
    ran.the("header")["scope"]["sources"].as_array().unwrap().iter().map(|source| source["name"].clone()).collect()
}

#[test]
fn a_pod_s_account_that_cannot_be_used_is_told() {
    // The token is there, and is nobody's.
    let ran = Pod::of(quiet(), "s3cret").tool("k8s-images").run().status(1).stderr_lacks("s3cret");
    ran.stderr_has("in-cluster: the server does not accept these credentials: 401 Unauthorized");
    let ran = Pod::of(quiet(), "\n").tool("k8s-images").run().status(1);
    ran.stderr_has("in-cluster: the tokenFile of the user of the pod is empty: /var/run/secrets/kubernetes.io/serviceaccount/token");
    Tool::new("k8s-images").arg("--in-cluster").run().status(2).stderr_has("--in-cluster: this is no pod of a cluster");
}

/// A KUBECONFIG is always exported: beside files it asks for nothing.
#[test]
fn beside_files_a_cluster_is_read_where_a_flag_asks_for_it() {
    let kubeconfig = one("prod");
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: registry.example.com/team/file:1}]}\n";
    let run = |arguments: &[&str]| {
        let tool = Tool::new("k8s-images").env("KUBECONFIG", kubeconfig.path()).home_file("pod.yaml", pod);
        tool.args(["-f", "pod.yaml"]).args(arguments).run()
    };
    let file = |name: &str| json!({"kind": "files", "name": name, "server": null, "complete": true, "error": null});
    let path = kubeconfig.path().display().to_string();
    for (arguments, expected, asked) in [
        (&[][..], vec![file("pod.yaml")], json!({})),
        (&["--name", "repo"], vec![file("repo")], json!({})),
        (&["--context", "p*"], vec![file("pod.yaml"), whole("prod", &quiet().url())], json!({"contexts": ["p*"]})),
        (&["--name", "repo", "--context", "prod"], vec![file("repo"), whole("prod", &quiet().url())], json!({"contexts": ["prod"]})),
        (&["--kubeconfig", &path], vec![file("pod.yaml"), whole("prod", &quiet().url())], json!({})),
        (&["--skip-context", "x"], vec![file("pod.yaml"), whole("prod", &quiet().url())], json!({"skipContexts": ["x"]})),
    ] {
        let ran = run(arguments).succeeds();
        let mut scope = asked;
        scope["sources"] = json!(expected);
        scope["partial"] = json!(false);
        assert_eq!(ran.the("header")["scope"], scope, "{ran}");
        assert_eq!(ran.records_of("use").len(), if expected.len() == 1 { 1 } else { 4 }, "{ran}");
    }
    run(&["--namespace", "shop"]).status(2).stderr_has("--namespace is about clusters, and only files are read");
    run(&["--name", "prod", "--context", "prod"]).status(2).stderr_has("two sources would have the name prod");
    let alone = |arguments: &[&str]| Tool::new("k8s-images").env("KUBECONFIG", kubeconfig.path()).args(arguments).run().status(2);
    for arguments in [&["--name", "x"][..], &["--name", "x", "--context", "prod"]] {
        alone(arguments).stdout_is_empty().stderr_has("contexts are sources under their own names");
    }
}
