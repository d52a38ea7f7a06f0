//! Which clusters are read, and as whom: contexts side by side, every way in, and what it means when one of them fails.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tests::*;

use super::tool;

/// The tool with this kubeconfig.
fn with(kubeconfig: &Kubeconfig) -> Tool {
    Tool::new("k8s-images").env("KUBECONFIG", kubeconfig.path())
}

/// The sources of an inventory, each as `name complete sameAs`.
fn sources(ran: &Ran) -> Vec<String> {
    let scope = &ran.the("header")["scope"];
    let shown = |source: &Value| {
        let same = source["sameAs"].as_str().map(|same| format!(" same as {same}")).unwrap_or_default();
        format!("{} {}{same}", source["name"].as_str().unwrap(), if source["complete"] == true { "complete" } else { "incomplete" })
    };
    scope["sources"].as_array().unwrap().iter().map(shown).collect()
}

/// The source of this name.
fn source(ran: &Ran, name: &str) -> Value {
    let header = ran.the("header");
    let sources = header["scope"]["sources"].as_array().unwrap();
    sources.iter().find(|source| source["name"] == name).unwrap_or_else(|| panic!("no source is called {name}\n{ran}")).clone()
}

/// The images of the uses of one source.
fn images(ran: &Ran, source: &str) -> Vec<String> {
    let uses = ran.records_of("use").into_iter().filter(|used| used["source"] == source);
    uses.map(|used| used["image"].as_str().unwrap().to_owned()).collect()
}

/// A pod in a namespace of its own, which it gives.
fn pod(cluster: &Cluster, image: &str) -> String {
    let namespace = cluster.namespace();
    cluster.run_pod(&namespace, "web", json!({"containers": [{"name": "app", "image": image}]}));
    namespace
}

/// The seed of the first bad night: a context that is down looks like one in which nothing runs.
#[test]
fn two_clusters_are_read_and_one_that_is_down_is_not_forgotten() {
    let [prod, stage] = Cluster::several([Cluster::with().named("prod").no_controllers(), Cluster::with().named("stage").no_controllers()]);
    pod(&prod, "registry.example.com/team/prod:1");
    pod(&stage, "registry.example.com/team/stage:1");
    let kubeconfig = Kubeconfig::new().context("prod", prod.access()).context("stage", stage.access());

    let both = with(&kubeconfig).run().succeeds();
    assert_eq!(sources(&both), ["prod complete", "stage complete"]);
    assert_eq!(
        (images(&both, "prod"), images(&both, "stage")),
        (vec!["registry.example.com/team/prod:1".to_owned()], vec!["registry.example.com/team/stage:1".to_owned()],)
    );
    assert_eq!(both.the("trailer")["complete"], true);

    stage.stop();
    let one = with(&kubeconfig).run().status(1).stderr_has("--context prod").stderr_has("stage").stderr_lacks("--context stage");
    assert_eq!(sources(&one), ["prod complete", "stage incomplete"]);
    let down = source(&one, "stage");
    assert_eq!(down["server"], stage.url());
    assert!(down["error"].as_str().unwrap().to_lowercase().contains("refused"), "{one}");
    assert_eq!((images(&one, "prod").len(), images(&one, "stage").len()), (1, 0));
    let trailer = one.the("trailer");
    assert_eq!((&trailer["complete"], &trailer["incompleteSources"]), (&json!(false), &json!(1)));

    stage.restart();
    assert_eq!(sources(&with(&kubeconfig).run().succeeds()), ["prod complete", "stage complete"]);
}

#[test]
fn contexts_are_chosen_by_globs_and_the_scope_says_by_which() {
    let cluster = Cluster::shared();
    let namespace = pod(cluster, "registry.example.com/team/app:1");
    let user =
        |name: &str| Access::to(&cluster.url()).ca_file(cluster.ca_file()).token(&cluster.token()).impersonate(name, &["system:masters"]);
    let kubeconfig = Kubeconfig::new()
        .context("prod-eu", user("a"))
        .context("prod-us", user("b"))
        .context("kind-local", Access::to("https://127.0.0.1:1"));
    let narrowed = |arguments: &[&str]| with(&kubeconfig).args(["--namespace", &namespace]).args(arguments).run();

    let ran = narrowed(&["--context", "prod-*"]).succeeds();
    assert_eq!(sources(&ran), ["prod-eu complete", "prod-us complete"]);
    assert_eq!(ran.the("header")["scope"]["contexts"], json!(["prod-*"]));
    let ran = narrowed(&["--skip-context", "kind-*", "--skip-context", "prod-us"]).succeeds();
    assert_eq!(sources(&ran), ["prod-eu complete"]);
    assert_eq!(ran.the("header")["scope"]["skipContexts"], json!(["kind-*", "prod-us"]));
    // Who names none of those that are there has mistyped it, and is not given an empty inventory.
    narrowed(&["--context", "prd-*"]).status(2).stdout_is_empty().stderr_has("prd-*").stderr_has("prod-eu");
    narrowed(&["--skip-context", "*"]).status(2).stdout_is_empty();
}

#[test]
fn a_server_and_user_under_two_names_are_read_once() {
    let cluster = Cluster::shared();
    let namespace = pod(cluster, "registry.example.com/team/app:1");
    let proxy = Proxy::before_cluster(cluster);
    let access = cluster.access().server(&proxy.url());
    let kubeconfig = Kubeconfig::new()
        .context("prod", access.clone())
        .second_name("prod-again", "prod")
        .context("prod-copied", access.clone())
        .context("prod-as-jane", access.impersonate("jane", &["system:masters"]));
    let ran = with(&kubeconfig).args(["--namespace", &namespace]).run().succeeds();
    assert_eq!(
        sources(&ran),
        ["prod complete", "prod-again complete same as prod", "prod-copied complete same as prod", "prod-as-jane complete"]
    );
    assert_eq!((images(&ran, "prod").len(), images(&ran, "prod-again").len(), images(&ran, "prod-as-jane").len()), (1, 0, 1));
    let lists_of_pods = proxy.count(|request| request.path() == format!("/api/v1/namespaces/{namespace}/pods"));
    assert_eq!(lists_of_pods, 2);
}

#[test]
fn kubeconfigs_are_merged_and_a_flag_overrules_them() {
    let cluster = Cluster::shared();
    let namespace = pod(cluster, "registry.example.com/team/app:1");
    let one = Kubeconfig::new().context("one", cluster.access());
    let two = Kubeconfig::new().context("two", cluster.access().impersonate("jane", &["system:masters"]));
    let both = format!("{}:{}", one.path().display(), two.path().display());
    let run = |tool: Tool| sources(&tool.args(["--namespace", &namespace]).run().succeeds());
    assert_eq!(run(Tool::new("k8s-images").env("KUBECONFIG", &both)), ["one complete", "two complete"]);
    let flag = two.path().display().to_string();
    assert_eq!(run(Tool::new("k8s-images").env("KUBECONFIG", &both).args(["--kubeconfig", &flag])), ["two complete"]);
    let home = Tool::new("k8s-images");
    let text = fs::read_to_string(one.path()).unwrap();
    assert_eq!(run(home.home_file(".kube/config", text)), ["one complete"]);
}

/// What is meant is never guessed: a kubeconfig that cannot be read is no reason to read another, or the cluster around the pod.
#[test]
fn a_kubeconfig_that_cannot_be_read_is_an_error() {
    let cluster = Cluster::shared();
    let good = fs::read_to_string(cluster.kubeconfig()).unwrap();
    let folder = temporary();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("garbage"), "{: no yaml").unwrap();
    fs::write(path("list"), "- a\n").unwrap();
    fs::write(path("empty"), "").unwrap();
    fs::create_dir(path("folder")).unwrap();
    for name in ["missing", "garbage", "list", "empty", "folder"] {
        let ran = Tool::new("k8s-images")
            .home_file(".kube/config", &good)
            .env("KUBECONFIG", path(name))
            .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
            .env("KUBERNETES_SERVICE_PORT", "1")
            .run();
        ran.status(2).stdout_is_empty().stderr_has(&path(name));
    }
    // Nothing at all to read: no kubeconfig, no pod around it.
    Tool::new("k8s-images").run().status(2).stdout_is_empty().stderr_has("KUBECONFIG");
    Tool::new("k8s-images").arg("--in-cluster").run().status(2).stdout_is_empty().stderr_has("--in-cluster");
}

#[test]
fn every_way_in_is_taken() {
    let cluster = Cluster::shared();
    let namespace = pod(cluster, "registry.example.com/team/app:1");
    let folder = temporary();
    let token_file = folder.path().join("token");
    // A file ends with a line feed, which is no part of the token.
    fs::write(&token_file, format!("{}\n", cluster.token())).unwrap();
    let jane = cluster.certificates().client("jane", &["system:masters"]);
    let credential = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": cluster.token()},
    });
    let certificate = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "status": {"clientCertificateData": fs::read_to_string(&jane.0).unwrap(), "clientKeyData": fs::read_to_string(&jane.1).unwrap()},
    });
    let tunnel = Tunnel::start();
    let kubeconfig = Kubeconfig::new()
        .context("token", cluster.access())
        .context("token-file", cluster.access().token_file(&token_file))
        .context("certificate", cluster.access().certificate(&jane))
        .context("plugin", cluster.access().exec("plugin", &["token"]))
        .context("plugin-certificate", cluster.access().exec("plugin", &["certificate"]))
        .context("proxy", cluster.access().proxy(&tunnel.url()))
        .context("impersonation", cluster.access().impersonate("somebody", &["system:masters"]));
    let ran = with(&kubeconfig)
        .program("plugin", "cat \"$HOME/$1.json\"")
        .home_file("token.json", credential.to_string())
        .home_file("certificate.json", certificate.to_string())
        .args(["--namespace", &namespace])
        .run()
        .succeeds();
    for name in ["token", "token-file", "certificate", "plugin", "plugin-certificate", "proxy", "impersonation"] {
        assert_eq!(images(&ran, name), ["registry.example.com/team/app:1"], "{name}\n{ran}");
    }
    assert!(!tunnel.targets().is_empty());
    let server = cluster.url();
    assert!(tunnel.targets().iter().all(|target| server.ends_with(target)), "{:?}", tunnel.targets());
    assert!(!ran.stdout().contains(&cluster.token()) && !ran.stderr().contains(&cluster.token()), "{ran}");
}

/// `--as` acts as somebody else with the rights of whoever asks.
#[test]
fn one_acts_as_another() {
    let cluster = Cluster::shared();
    let namespace = pod(cluster, "registry.example.com/team/app:1");
    tool(cluster).args(["--namespace", &namespace, "--as", "nobody"]).run().status(1).stderr_has("may not list pods").stderr_has("nobody");
    let ran = tool(cluster).args(["--namespace", &namespace, "--as", "somebody", "--as-group", "system:masters"]).run().succeeds();
    assert_eq!(images(&ran, "prod").len(), 1);
}

/// Each of these contexts fails alone, for a reason that its source gives, and none of them says a secret.
#[test]
fn a_context_that_fails_fails_alone() {
    let cluster = Cluster::shared();
    let namespace = pod(cluster, "registry.example.com/team/app:1");
    let stranger = Registry::with().tls().start();
    let folder = temporary();
    let (silent, elsewhere) = (ScriptedServer::start(), ScriptedServer::start());
    silent.fallback(Response::status(503).delay(Duration::from_secs(600)));
    let secret = "s3cret-of-nobody";
    let broken = [
        ("wrong-token", cluster.access().token(secret), "credentials"),
        ("no-file", cluster.access().token_file(&folder.path().join("missing")), "missing"),
        ("other-authority", cluster.access().ca_file(stranger.ca_file()), "certificate"),
        ("no-proxy", cluster.access().proxy("http://127.0.0.1:1"), "tunnel"),
        ("no-plugin", cluster.access().exec("plugin-that-is-missing", &[]), "plugin-that-is-missing"),
        ("bad-plugin", cluster.access().exec("bad-plugin", &[]), "bad-plugin"),
        ("slow-plugin", cluster.access().exec("slow-plugin", &[]), "slow-plugin"),
        ("no-cluster-api", Access::to(&elsewhere.url()), "pods"),
        ("silent", Access::to(&silent.url()), "8s"),
        ("not-a-url", Access::to("127.0.0.1 6443"), "server"),
    ];
    let mut kubeconfig = Kubeconfig::new().context("good", cluster.access());
    for (name, access, _) in &broken {
        kubeconfig = kubeconfig.context(name, access.clone());
    }
    let contexts = kubeconfig.context("no-user", cluster.access());
    let last = broken.len() + 1;
    let kubeconfig = contexts.set(&format!("/contexts/{last}/context/user"), json!("somebody-who-is-missing"));
    let tool = with(&kubeconfig)
        .program("bad-plugin", &format!("echo {secret}; echo 'log in first' >&2; exit 3"))
        .program("slow-plugin", "echo $$ > slow-plugin.pid; exec sleep 600");
    let slow_plugin = tool.home().join("slow-plugin.pid");
    let ran = tool
        .args(["--namespace", &namespace, "--jobs", "12", "--timeout", "8s"])
        .run()
        .status(1)
        .stderr_has("--context good")
        .stderr_has("log in first")
        .stderr_has("by way of the proxy http://127.0.0.1:1")
        .stderr_lacks(secret);
    assert_eq!(images(&ran, "good"), ["registry.example.com/team/app:1"]);
    assert!(!ran.stdout().contains(secret), "{ran}");
    let pid = fs::read_to_string(slow_plugin).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists(), "the slow plugin still runs");
    let sentences = broken.iter().map(|(name, _, part)| (*name, *part)).chain([("no-user", "somebody-who-is-missing")]);
    for (name, part) in sentences {
        let source = source(&ran, name);
        assert_eq!(source["complete"], false, "{name}\n{ran}");
        assert!(source["error"].as_str().unwrap().contains(part), "{name}: {source}");
        assert!(ran.stderr().contains(&format!("{name}: ")), "{name}\n{ran}");
    }
}

#[test]
fn the_namespace_of_a_context_narrows_nothing() {
    let cluster = Cluster::with().no_controllers().start();
    pod(&cluster, "registry.example.com/team/one:1");
    pod(&cluster, "registry.example.com/team/two:1");
    let kubeconfig = Kubeconfig::new().context("prod", cluster.access().namespace("test-0"));
    let ran = with(&kubeconfig).run().succeeds();
    assert_eq!(images(&ran, "prod"), ["registry.example.com/team/one:1", "registry.example.com/team/two:1"]);
    assert_eq!(ran.the("header")["scope"]["partial"], false);
}

/// What was started after the header's time may be missing; nothing that was there before it is.
#[test]
fn the_time_of_an_inventory_is_that_before_its_first_request() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    let proxy = Proxy::before_cluster(cluster);
    let gate = proxy.hold_before(|_| true);
    let kubeconfig = Kubeconfig::new().context("prod", cluster.access().server(&proxy.url()));
    let running = with(&kubeconfig).args(["--namespace", &namespace]).spawn();
    gate.wait();
    let at_first_request = ago(Duration::ZERO);
    // A time of the same second would prove nothing.
    while ago(Duration::ZERO) == at_first_request {
        std::thread::sleep(Duration::from_millis(10));
    }
    cluster.run_pod(&namespace, "late", json!({"containers": [{"name": "app", "image": "registry.example.com/team/late:1"}]}));
    gate.open();
    let ran = running.wait().succeeds();
    let time = ran.the("header")["time"].as_str().unwrap().to_owned();
    assert!(time[..19] <= at_first_request[..19], "{time} is later than {at_first_request}");
    assert_eq!(images(&ran, "prod"), ["registry.example.com/team/late:1"]);
}

/// With files a cluster is read only where a flag names it.
#[test]
fn files_and_clusters_are_one_inventory_where_both_are_asked_for() {
    let cluster = Cluster::shared();
    let namespace = pod(cluster, "registry.example.com/team/app:1");
    let run = |arguments: &[&str]| {
        let list = tool(cluster).home_file("images.txt", "registry.example.com/team/listed:1\n").args(["--from", "lines", "images.txt"]);
        list.args(arguments).run().succeeds()
    };
    assert_eq!(sources(&run(&[])), ["images.txt complete"]);
    let both = run(&["--context", "prod", "--namespace", &namespace]);
    let mut names = sources(&both);
    names.sort();
    assert_eq!(names, ["images.txt complete", "prod complete"]);
    assert_eq!(both.records_of("use").len(), 2);
}
