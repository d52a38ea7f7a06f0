//! What a listing costs: one request for each tag, one for each child or subject that no tag reaches, one for each distinct config,
//! and the pages.

use serde_json::json;
use tests::*;

fn lines_of(proxy: &Proxy) -> Vec<String> {
    let mut lines: Vec<String> = proxy.requests().iter().map(http::Request::line).collect();
    lines.sort();
    lines
}

#[test]
fn a_listing_costs_what_it_must() {
    let registry = Registry::start();
    let app = Index::new()
        .child("linux/amd64", Image::new().layer("amd"))
        .child("linux/arm64", Image::new().layer("arm"))
        .tag("v1")
        .tag("latest")
        .push(&registry, "team/app");
    // A child with a tag, two images with one config, a chart whose config is no image's, a subject that is gone, a manifest in two repositories.
    registry.client().retag("team/app", &app.children[0].digest, "v1-amd64");
    let one = Image::new().layer("same").tag("one").push(&registry, "team/app");
    let two = Image::new().layer("same").annotation("other", "manifest").tag("two").push(&registry, "team/app");
    assert_eq!((one.digest == two.digest, &one.config), (false, &two.config));
    Image::artifact("application/vnd.cncf.helm.config.v1+json").layer("chart").tag("chart").push(&registry, "team/app");
    let gone = Image::new().layer("gone").tag("gone").push(&registry, "team/app");
    let signature = Signature::cosign(&gone).push(&registry, "team/app");
    registry.client().delete_manifest("team/app", &gone.digest).expect(202, "deleting");
    Image::new().layer("same").tag("promoted").push(&registry, "team/web");

    let proxy = Proxy::before(&registry);
    let ran = Tool::new("reg-list").arg(proxy.host()).run().succeeds();
    assert_eq!(ran.the("trailer")["manifests"], 8);
    let mut expected =
        vec!["GET /v2/_catalog?n=1000".to_owned(), "GET /v2/team/app/tags/list".to_owned(), "GET /v2/team/web/tags/list".to_owned()];
    for tag in ["v1", "latest", "v1-amd64", "one", "two", "chart", &signature.tags[0]] {
        expected.push(format!("GET /v2/team/app/manifests/{tag}"));
    }
    expected.push("GET /v2/team/web/manifests/promoted".to_owned());
    for untagged in [&app.children[1].digest, &gone.digest] {
        expected.push(format!("GET /v2/team/app/manifests/{untagged}"));
    }
    let mut configs: Vec<_> = [&app.children[0], &app.children[1], &one, &signature].iter().map(|pushed| pushed.config.clone()).collect();
    configs.sort();
    configs.dedup();
    let asked = lines_of(&proxy);
    let (blobs, others): (Vec<_>, Vec<_>) = asked.into_iter().partition(|line| line.contains("/blobs/"));
    expected.sort();
    assert_eq!(others, expected);
    let mut blobs: Vec<_> = blobs.iter().map(|line| line.rsplit('/').next().unwrap().to_owned()).collect();
    blobs.sort();
    assert_eq!(blobs, configs, "each distinct config once, over all repositories, and none of an artifact");
}

#[test]
fn tags_and_counts_cost_one_request_for_each_repository() {
    let registry = Registry::start();
    for repository in ["a", "b"] {
        for tag in ["v1", "v2", "v3"] {
            Image::new().layer(tag).tag(tag).push(&registry, repository);
        }
    }
    for mode in ["--tags", "--count"] {
        let proxy = Proxy::before(&registry);
        Tool::new("reg-list").args([proxy.host(), mode]).run().succeeds();
        assert_eq!(lines_of(&proxy), ["GET /v2/_catalog?n=1000", "GET /v2/a/tags/list", "GET /v2/b/tags/list"], "{mode}");
    }
}

#[test]
fn what_is_not_listed_is_not_asked_for() {
    let registry = Registry::start();
    for repository in ["team/app", "team/web", "lib"] {
        Image::new().layer("a").tag("v1").push(&registry, repository);
    }
    let proxy = Proxy::before(&registry);
    Tool::new("reg-list").args([&format!("{}/team", proxy.host()), "--exclude", "**/web", "--count"]).run().succeeds();
    assert_eq!(lines_of(&proxy), ["GET /v2/_catalog?n=1000", "GET /v2/team/app/tags/list"]);
    proxy.forget();
    Tool::new("reg-list").args(["-", "--count"]).stdin(format!("{}/lib\n", proxy.host())).run().succeeds();
    assert_eq!(lines_of(&proxy), ["GET /v2/lib/tags/list"], "with - the catalog is not asked for");
}

#[test]
fn repositories_are_written_while_others_are_read() {
    let registry = Registry::start();
    for repository in ["a", "b"] {
        Image::new().layer("x").tag("v1").push(&registry, repository);
    }
    let proxy = Proxy::before(&registry);
    let gate = proxy.hold_before(|request| request.path() == "/v2/b/manifests/v1");
    let mut running = Tool::new("reg-list").arg(proxy.host()).spawn();
    gate.wait();
    let mut kinds = Vec::new();
    while !kinds.contains(&"repository".to_owned()) {
        let record: serde_json::Value = serde_json::from_str(&running.read_line().unwrap()).unwrap();
        kinds.push(record["type"].as_str().unwrap().to_owned());
    }
    assert_eq!(kinds, ["header", "manifest", "repository"], "the first is there, while the second is held up");
    gate.open();
    let ran = running.wait().succeeds();
    assert_eq!(ran.the("trailer")["repositories"], json!(2));
}

#[test]
fn memory_is_that_of_the_largest_repository() {
    // A hundred repositories of 3 MiB that wait for the first, which is slow; 300 MiB would not fit.
    let server = ScriptedServer::start();
    let names: Vec<String> = (0..100).map(|n| format!("r{n:03}")).collect();
    server.on("GET", "/v2/_catalog", Response::json(200, json!({"repositories": names})));
    for (n, name) in names.iter().enumerate() {
        server.on("GET", &format!("/v2/{name}/tags/list"), Response::json(200, json!({"name": name, "tags": ["v1"]})));
        let manifest = json!({"layers": [], "annotations": {"note": format!("{n}{}", "x".repeat(3 << 20))}}).to_string();
        let mut response = Response::manifest("application/vnd.oci.image.manifest.v1+json", manifest);
        if n == 0 {
            response = response.delay(std::time::Duration::from_secs(2));
        }
        server.on("GET", &format!("/v2/{name}/manifests/v1"), response);
    }
    let script = format!("ulimit -v 200000; reg-list {} | grep -c '\"type\":\"manifest\"'", server.host());
    shell(&format!("set -o pipefail; {script}")).run().succeeds().stdout_has("100");
}
