//! What a check costs: for an image one request by tag, one by digest, one for its config, one for each layer; and each distinct thing once.

use std::collections::BTreeSet;

use serde_json::json;
use tests::fixtures::{OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use tests::*;

use super::{check, healthy, told};

fn lines_of(proxy: &Proxy) -> Vec<String> {
    let mut lines: Vec<String> = proxy.requests().iter().map(http::Request::line).collect();
    lines.sort();
    lines
}

#[test]
fn nothing_is_asked_for_twice() {
    let registry = Registry::start();
    healthy(&registry);
    // The same image in a second repository, and an index that shares a child with the first.
    Image::new().layer("a").layer("b").tag("promoted").push(&registry, "team/web");
    Index::new().child("linux/amd64", Image::new().layer("amd")).tag("3.0").push(&registry, "team/app");
    let proxy = Proxy::before(&registry);
    let ran = check(proxy.host()).run().succeeds();
    assert_eq!(told(&ran), [""; 0], "{ran}");
    let lines = lines_of(&proxy);
    let distinct: BTreeSet<&String> = lines.iter().collect();
    assert_eq!(distinct.len(), lines.len(), "{lines:#?}");
    assert_eq!(ran.the("trailer")["requests"], json!(lines.len()));
    // Configs and layers are asked for once in the whole registry.
    let blobs: Vec<&str> = lines.iter().filter_map(|line| line.split_once("/blobs/")).map(|(_, digest)| digest).collect();
    assert_eq!(blobs.iter().collect::<BTreeSet<_>>().len(), blobs.len(), "{lines:#?}");
}

/// A thousand images with two layers each, half of them of a common base, in forty repositories.
#[test]
fn a_thousand_images_cost_what_they_must() {
    const IMAGES: usize = 1000;
    let server = ScriptedServer::start();
    let base = vec![b'b'; 100];
    let image = move |n: usize| {
        let config = json!({"os": "linux", "architecture": "amd64", "n": n}).to_string();
        let own = format!("layer {n}");
        let layers = [base.clone(), own.into_bytes()];
        let described: Vec<_> =
            layers.iter().map(|layer| json!({"mediaType": OCI_LAYER, "digest": digest_of(layer), "size": layer.len()})).collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": digest_of(config.as_bytes()), "size": config.len()}, "layers": described});
        (config.into_bytes(), layers, manifest.to_string())
    };
    let mut blobs = std::collections::HashMap::new();
    let mut manifests = std::collections::HashMap::new();
    for n in 0..IMAGES {
        let (config, layers, manifest) = image(n);
        for blob in layers.into_iter().chain([config]) {
            blobs.insert(digest_of(&blob), blob);
        }
        let repository = format!("r{:02}", n % 40);
        manifests.insert(format!("/v2/{repository}/manifests/t{n}"), manifest.clone());
        manifests.insert(format!("/v2/{repository}/manifests/{}", digest_of(manifest.as_bytes())), manifest);
    }
    let distinct = blobs.len();
    server.handle(move |request| {
        let path = request.path();
        if path == "/v2/_catalog" {
            let names: Vec<String> = (0..40).map(|n| format!("r{n:02}")).collect();
            return Some(Response::json(200, json!({"repositories": names})));
        }
        if let Some(name) = path.strip_suffix("/tags/list") {
            let repository: usize = name.trim_start_matches("/v2/r").parse().ok()?;
            let tags: Vec<String> = (0..IMAGES).filter(|n| n % 40 == repository).map(|n| format!("t{n}")).collect();
            return Some(Response::json(200, json!({"name": "x", "tags": tags})));
        }
        if let Some(manifest) = manifests.get(path) {
            return Some(Response::manifest(OCI_MANIFEST, manifest.clone()));
        }
        let blob = blobs.get(path.rsplit('/').next()?)?;
        Some(Response::status(200).body(blob.clone()))
    });
    let ran = check(server.host()).run().succeeds();
    let trailer = ran.the("trailer");
    assert_eq!((&trailer["images"], &trailer["healthy"]), (&json!(IMAGES), &json!(IMAGES)), "{}", ran.stderr());
    // By tag, by digest, and each distinct config and layer; beside them the catalog and the lists of tags.
    let necessary = 2 * IMAGES + distinct;
    let made = server.requests().len();
    assert_eq!(made, necessary + 1 + 40);
    assert!(made * 10 <= necessary * 12, "{made} requests where {necessary} are necessary");

    let before = server.requests().len();
    let listing = Tool::new("reg-list").arg(server.host()).run().succeeds().stdout();
    let listed = server.requests().len() - before;
    let before = before + listed;
    Tool::new("reg-check").stdin(listing).run().succeeds();
    assert_eq!(server.requests().len() - before, necessary, "of a listing each tag is asked for its head");
}

#[test]
fn several_requests_are_under_way_and_no_more_than_wanted() {
    let registry = Registry::start();
    for n in 0..12 {
        Image::new().layer(&format!("l{n}")).tag("1").push(&registry, &format!("r{n}"));
    }
    let proxy = Proxy::before(&registry);
    let gate = proxy.hold_before(|request| request.path() == "/v2/r0/manifests/1");
    let running = check(proxy.host()).args(["--jobs", "2"]).spawn();
    gate.wait();
    // While the first repository is held up, the second one is asked for all the same.
    while proxy.count(|request| request.path().starts_with("/v2/r1/blobs/")) < 2 {
        std::thread::yield_now();
    }
    gate.open();
    assert_eq!(running.wait().succeeds().the("trailer")["healthy"], 12);
}
