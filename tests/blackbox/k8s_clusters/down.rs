//! What follows from a context that fails: for the others, for whoever reads what is said, and for whoever decides by the inventory.

use std::time::Duration;

use serde_json::{Value, json};
use tests::ports::free_port;
use tests::*;

use super::quiet::{ALL, not_whole, quiet, sources, uses, whole};

fn tool(kubeconfig: &Kubeconfig) -> Tool {
    Tool::new("k8s-images").env("KUBECONFIG", kubeconfig.path())
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
fn who_is_no_api_server_is_told_once() {
    // A cluster that was made anew has an authority of the same name, and another key.
    let rebuilt = temporary();
    let rebuilt = tests::tls::Certificates::make(rebuilt.path());
    let (prod, url) = (quiet().access(), quiet().url());
    let plain = url.replace("https", "http");
    let [website, portal, registry] = [(), (), ()].map(|()| ScriptedServer::start());
    website.fallback(Response::text(200, "It works!"));
    portal.fallback(Response::status(302).header("Location", "https://login.example.com/"));
    let kubeconfig = Kubeconfig::new()
        .context("prod", prod.clone())
        .context("rebuilt", prod.clone().ca_file(&rebuilt.ca_file))
        .context("system", prod.clone().cluster("certificate-authority", Value::Null))
        .context("plain", prod.clone().server(&plain))
        .context("website", prod.clone().server(&website.url()))
        .context("portal", prod.clone().server(&portal.url()))
        .context("registry", prod.clone().server(&registry.url()))
        .context("nameless", prod)
        .set("/contexts/7/context/cluster", json!("gone"));
    let expected = [
        ("rebuilt", &*url, "the server cannot be reached: invalid peer certificate: BadSignature"),
        ("system", &url, "the server cannot be reached: invalid peer certificate: UnknownIssuer"),
        ("plain", &plain, "what answers is no Kubernetes API server: 400 Bad Request: Client sent an HTTP request to an HTTPS server."),
        ("website", &website.url(), "what answers is no Kubernetes API server: 200 OK, of the type text/plain"),
        ("portal", &portal.url(), "what answers is no Kubernetes API server: 302 Found"),
        (
            "registry",
            &registry.url(),
            "does not serve pods: 404 Not Found: 404 page not found; is this the address of a Kubernetes API server?",
        ),
    ];
    fails_alone(tool(&kubeconfig).args(["--skip-context", "nameless"]), &expected, json!({"skipContexts": ["nameless"]}));
    let ran = tool(&kubeconfig).args(["--context", "nameless"]).run().status(1);
    let source = json!({"kind": "context", "name": "nameless", "server": null, "complete": false,
        "error": "the context names the cluster gone, and the kubeconfig has no cluster of that name"});
    assert_eq!(ran.the("header")["scope"]["sources"], json!([source]));
    // Where nothing answered there is no way on.
    ran.stderr_lacks("--context");
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
    let verdict = ran.the("manifest");
    assert_eq!((&verdict["tags"], &verdict["verdict"]["action"]), (&json!(["0"]), &json!("delete")), "{ran}");
    select("--allow-incomplete prod").status(3);
}

#[test]
fn what_was_not_read_under_one_name_is_known_under_none() {
    let closed = format!("https://127.0.0.1:{}", free_port());
    let down = quiet().access().server(&closed);
    let kubeconfig = Kubeconfig::new().context("down", down).second_name("again", "down").context("prod", quiet().access());
    let kubeconfig = kubeconfig.second_name("too", "prod");
    let ran = tool(&kubeconfig).run().status(1);
    let error = "the server cannot be reached: tcp connect error: Connection refused (os error 111)";
    let same = |mut source: Value, name: &str| {
        source["sameAs"] = json!(name);
        source
    };
    let (prod, too) = (whole("prod", &quiet().url()), same(whole("too", &quiet().url()), "prod"));
    sources(&ran, &[not_whole("down", &closed, error), same(not_whole("again", &closed, error), "down"), prod, too]);
    assert_eq!(way_on(&ran), "--context prod --context too");
    ran.stderr_has("does not hold what runs in down, again\n");
}
