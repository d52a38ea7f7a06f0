//! Two clusters side by side, and one of them fails: it stands in the inventory as what is not known, and the other one is written.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tests::ports::free_port;
use tests::*;

use super::quiet::{ALL, fill, not_whole, quiet, sources, uses, whole};

fn tool(kubeconfig: &Kubeconfig) -> Tool {
    Tool::new("k8s-images").env("KUBECONFIG", kubeconfig.path())
}

#[test]
fn two_clusters_are_one_inventory() {
    let stage = Cluster::with().named("stage").no_controllers().start();
    fill(&stage);
    stage.run_pod("shop", "only-here", json!({"containers": [{"name": "app", "image": "registry.example.com/team/web:1"}]}));
    let kubeconfig = Kubeconfig::new().context("prod", quiet().access()).context("stage", stage.access());
    let ran = tool(&kubeconfig).run().succeeds();
    sources(&ran, &[whole("prod", &quiet().url()), whole("stage", &stage.url())]);
    let of = |source: &str, name: &str| {
        let uses = ran.records_of("use");
        uses.iter().filter(|used| used["source"] == source && used["name"] == name).count()
    };
    assert_eq!((of("prod", "web"), of("stage", "web"), of("prod", "only-here"), of("stage", "only-here")), (1, 1, 0, 1), "{ran}");
    let mut trailer = ran.the("trailer");
    let versions = trailer.as_object_mut().unwrap().remove("resourceVersions").unwrap();
    let expected = json!({"type": "trailer", "complete": true, "records": 7, "images": 3, "repositories": 3, "incompleteSources": 0});
    assert_eq!(trailer, expected, "{ran}");
    for source in ["prod", "stage"] {
        assert!(versions[source]["deployments.apps"].as_str().unwrap().parse::<u64>().unwrap() > 0, "{ran}");
    }
    assert_eq!(ran.stderr(), "k8s-images: 3 images of 3 repositories in 2 sources, 0 not complete\n");

    // The one that is gone stands there, and the other one is whole.
    stage.stop();
    let ran = tool(&kubeconfig).run().status(1);
    let error = "the server cannot be reached: tcp connect error: Connection refused (os error 111)";
    sources(&ran, &[whole("prod", &quiet().url()), not_whole("stage", &stage.url(), error)]);
    uses(&ran, &[("prod", ALL)]);
}

/// Runs the tool, expects that all of the quiet cluster is in the inventory as `prod`, and of the others, each with a server of its own,
/// nothing but the error.
#[track_caller]
fn fails_alone(tool: Tool, failed: &[(&str, &str, &str)], mut scope: Value) -> Ran {
    let ran = tool.run().status(1);
    let mut expected: Vec<Value> = vec![whole("prod", &quiet().url())];
    expected.extend(failed.iter().map(|(name, server, error)| not_whole(name, server, error)));
    scope["partial"] = json!(false);
    scope["sources"] = json!(expected);
    assert_eq!(ran.the("header")["scope"], scope, "{ran}");
    uses(&ran, &[("prod", ALL)]);
    let trailer = ran.the("trailer");
    assert_eq!((&trailer["complete"], &trailer["records"]), (&json!(false), &json!(3)), "{ran}");
    assert_eq!(trailer["incompleteSources"], failed.len(), "{ran}");
    for (name, _, error) in failed {
        assert!(ran.stderr().contains(&format!("k8s-images: {name}: {error}\n")), "{ran}");
    }
    let names: Vec<&str> = failed.iter().map(|(name, _, _)| *name).collect();
    let way_on = format!(
        "k8s-images: the contexts that were read whole: --context prod; an inventory of them alone does not hold what runs in {}\n",
        names.join(", ")
    );
    ran.stderr_has(&way_on)
}

#[test]
fn a_cluster_that_cannot_be_asked_fails_alone() {
    // A cluster that was made anew has an authority of the same name, and another key.
    let rebuilt = temporary();
    let rebuilt = tests::tls::Certificates::make(rebuilt.path());
    let closed = format!("https://127.0.0.1:{}", free_port());
    let (prod, url) = (quiet().access(), quiet().url());
    let plain = url.replace("https", "http");
    let website = ScriptedServer::start();
    website.fallback(Response::text(200, "It works!"));
    let kubeconfig = Kubeconfig::new()
        .context("prod", prod.clone())
        .context("down", prod.clone().server(&closed))
        .context("rebuilt", prod.clone().ca_file(&rebuilt.ca_file))
        .context("system", prod.clone().cluster("certificate-authority", Value::Null))
        .context("token", prod.clone().token("no-such-token"))
        .context("plain", prod.clone().server(&plain))
        .context("website", prod.clone().server(&website.url()))
        .context("nameless", prod.clone())
        .context("user", prod.clone())
        .set("/contexts/7/context/cluster", json!("gone"))
        .set("/contexts/8/context/user", json!("gone"));
    let expected = [
        ("down", &*closed, "the server cannot be reached: tcp connect error: Connection refused (os error 111)"),
        ("rebuilt", &url, "the server cannot be reached: invalid peer certificate: BadSignature"),
        ("system", &url, "the server cannot be reached: invalid peer certificate: UnknownIssuer"),
        ("token", &url, "the server does not accept these credentials: 401 Unauthorized: Unauthorized"),
        ("plain", &plain, "what answers is no Kubernetes API server: 400 Bad Request: Client sent an HTTP request to an HTTPS server."),
        ("website", &website.url(), "what answers is no Kubernetes API server: ?"),
        ("user", &url, "the context names the user gone, and the kubeconfig has no user of that name"),
    ];
    fails_alone(tool(&kubeconfig).args(["--skip-context", "nameless"]), &expected, json!({"skipContexts": ["nameless"]}));
    let ran = tool(&kubeconfig).args(["--context", "nameless"]).run().status(1);
    let source = json!({"kind": "context", "name": "nameless", "server": null, "complete": false,
        "error": "the context names the cluster gone, and the kubeconfig has no cluster of that name"});
    assert_eq!(ran.the("header")["scope"]["sources"], json!([source]));
    // Where nothing answered there is no way on.
    ran.stderr_lacks("--context");
}

#[test]
fn who_never_answers_holds_up_nobody() {
    // Connections come about, and nobody reads what is said on them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("https://{}", silent.local_addr().unwrap());
    let kubeconfig = Kubeconfig::new()
        .context("prod", quiet().access())
        .context("silent", quiet().access().server(&silent))
        .context("plugin", quiet().access().exec("hangs", &[]));
    let tool = tool(&kubeconfig).program("hangs", "echo $$ > hangs.pid; exec tail -f /dev/null").args(["--timeout", "8s"]);
    let pid_file = tool.home().join("hangs.pid");
    let late = "was not read within 8s: give it longer with --timeout, or leave it out with --skip-context";
    let plugin = "the credential plugin hangs of the user plugin did not end within 8s, and was ended";
    let ran = fails_alone(tool, &[("silent", &silent, late), ("plugin", &quiet().url(), plugin)], json!({}));
    let pid = std::fs::read_to_string(pid_file).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists(), "the plugin still runs\n{ran}");
}

/// The flags that the tool names as the way on.
#[track_caller]
fn way_on(ran: &Ran) -> String {
    let line = ran.stderr().lines().find_map(|line| line.strip_prefix("k8s-images: the contexts that were read whole: "));
    let flags = line.and_then(|line| line.split_once("; ")).unwrap_or_else(|| panic!("there is no way on\n{ran}")).0;
    flags.to_owned()
}

#[test]
fn a_shell_understands_the_way_on() {
    let closed = format!("https://127.0.0.1:{}", free_port());
    let names = ["prod", "it's mine", "arn:aws:eks:eu-west-1:1:cluster/prod", "a[b]*", "-x", "$HOME", "naïve"];
    let kubeconfig = names.into_iter().fold(Kubeconfig::new().context("down", quiet().access().server(&closed)), |kubeconfig, name| {
        kubeconfig.context(name, quiet().access().impersonate("admin", &["system:masters", name]))
    });
    let ran = tool(&kubeconfig).run().status(1);
    let flags = way_on(&ran);
    assert!(flags.starts_with("--context prod --context 'it'\\''s mine' --context arn:aws:eks:eu-west-1:1:cluster/prod "), "{flags}");
    let again = shell(&format!("k8s-images {flags}")).env("KUBECONFIG", kubeconfig.path()).run().succeeds();
    let expected: Vec<(&str, &[&str])> = names.iter().map(|name| (*name, ALL)).collect();
    uses(&again, &expected);
    assert_eq!(again.the("header")["scope"]["contexts"], json!(names), "{again}");
}

#[test]
fn what_is_not_known_is_taken_for_nothing_by_nobody() {
    let closed = format!("https://127.0.0.1:{}", free_port());
    let kubeconfig = Kubeconfig::new().context("prod", quiet().access()).context("old one", quiet().access().server(&closed));
    let manifest = |tag: &str| {
        json!({"type": "manifest", "registry": "registry.example.com", "repository": "team/web", "digest": digest_of(tag.as_bytes()),
            "tags": [tag], "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 100, "created": days_ago(100),
            "createdSource": "config", "config": null, "blobs": []})
    };
    let listing = lines(&[
        json!({"type": "header", "tool": "reg-list", "version": "0.1.0", "schema": 1, "time": ago(Duration::ZERO),
            "scope": {"registry": "registry.example.com", "prefixes": []}}),
        manifest("1"),
        manifest("0"),
        json!({"type": "repository", "registry": "registry.example.com", "repository": "team/web", "complete": true, "error": null,
            "tagCount": 2, "manifestCount": 2, "imageSize": 0}),
        json!({"type": "trailer", "complete": true, "records": 2}),
    ]);
    let select = |how: &str| {
        // What reg-select says is its own status; that of k8s-images is 1 here.
        let script = format!("k8s-images -q > in-use.jsonl; reg-select --in-use in-use.jsonl --min-in-use 3 --delete-rest {how}");
        shell(&script).env("KUBECONFIG", kubeconfig.path()).stdin(listing.clone()).run()
    };
    let ran = select("").status(3).stderr_has("the server cannot be reached").stderr_has("--allow-incomplete 'old one'");
    assert_eq!(ran.records_of("trailer"), Vec::<Value>::new(), "{ran}");
    let ran = select("--allow-incomplete 'old one'").succeeds();
    let action = |record: &Value| (record["tags"][0].clone(), record["verdict"]["action"].clone());
    let actions: Vec<_> = ran.records_of("manifest").iter().map(action).collect();
    assert_eq!(actions, [(json!("1"), json!("keep")), (json!("0"), json!("delete"))], "{ran}");
    assert_eq!(ran.records_of("manifest")[0]["verdict"]["reasons"][0]["rule"], "in-use", "{ran}");
    select("--allow-incomplete prod").status(3);
}
