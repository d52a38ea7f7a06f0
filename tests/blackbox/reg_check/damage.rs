//! Damage on the disk of a real registry, as it looks from outside.

use serde_json::json;
use tests::fixtures::{DOCKER_CONFIG, DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST};
use tests::*;

use super::{check, the, told};

/// A registry that remembers nothing, so that what it says is what lies on its disk.
fn forgetful() -> Registry {
    Registry::with().cache_off().start()
}

#[test]
fn a_layer_that_is_gone_is_told_with_all_tags_and_platforms_that_need_it() {
    let registry = forgetful();
    let index = Index::new()
        .child("linux/amd64", Image::new().layer("shared"))
        .child("linux/arm64", Image::new().layer("own"))
        .tag("1")
        .tag("latest")
        .push(&registry, "team/app");
    Image::new().layer("shared").annotation("x", "y").tag("alone").push(&registry, "team/app");
    Image::new().layer("other").tag("good").push(&registry, "team/app");
    registry.storage().remove_blob(&index.children[0].layers[0]);
    let ran = check(registry.host()).run().status(1);
    let finding = the(&ran, "blob-missing");
    assert_eq!(
        (&finding["tag"], &finding["severity"], &finding["digest"]),
        (&json!("1"), &json!("error"), &json!(index.children[0].layers[0]))
    );
    assert_eq!((&finding["platform"], &finding["inUse"], &finding["usedBy"]), (&json!("linux/amd64"), &json!(null), &json!([])));
    assert!(finding["detail"].as_str().unwrap().contains("2 manifests need it"), "{finding}");
    assert_eq!((&ran.the("trailer")["images"], &ran.the("trailer")["healthy"]), (&json!(4), &json!(1)));
    // Depths that do not look there say nothing.
    check(registry.host()).args(["--depth", "config"]).run().succeeds();
}

#[test]
fn a_child_that_is_gone_is_told_by_its_platform() {
    let registry = forgetful();
    let index = Index::new()
        .child("linux/amd64", Image::new().layer("amd"))
        .child("linux/arm64", Image::new().layer("arm"))
        .tag("1")
        .push(&registry, "team/app");
    registry.client().delete_manifest("team/app", &index.children[1].digest).expect(202, "deleting");
    let finding = the(&check(registry.host()).run().status(1), "child-missing");
    assert_eq!((&finding["tag"], &finding["platform"]), (&json!("1"), &json!("linux/arm64")));
    assert_eq!((&finding["digest"], &finding["manifest"]), (&json!(index.children[1].digest), &json!(index.digest)));
}

#[test]
fn a_tag_that_leads_nowhere_is_a_ghost_or_cannot_be_served() {
    let registry = forgetful();
    let ghost = Image::new().layer("ghost").tag("ghost").push(&registry, "team/app");
    Image::new().layer("empty").tag("empty").push(&registry, "team/app");
    Image::new().layer("good").tag("good").push(&registry, "team/app");
    registry.storage().remove_revision("team/app", &ghost.digest);
    registry.storage().empty_tag_link("team/app", "empty");
    let ran = check(registry.host()).run().status(1);
    assert_eq!(told(&ran), ["tag-unreachable error empty", "tag-ghost error ghost"]);
    assert!(the(&ran, "tag-unreachable")["detail"].as_str().unwrap().contains("500"), "{ran}");
}

#[test]
fn blobs_of_a_wrong_size_or_content_are_told() {
    let registry = forgetful();
    let pushed = Image::new().layer_of_size("cut", 5000).layer_of_size("rotten", 5000).tag("1").push(&registry, "team/app");
    registry.storage().truncate_blob(&pushed.layers[0], 4000);
    registry.storage().overwrite_blob(&pushed.layers[1], &[0; 5000]);
    let ran = check(registry.host()).run().status(1);
    assert_eq!(told(&ran), ["blob-size error 1"]);
    assert!(the(&ran, "blob-size")["detail"].as_str().unwrap().contains("has 4000 bytes where the manifest says 5000"));
    let ran = check(registry.host()).args(["--depth", "content"]).run().status(1);
    let mut all = told(&ran);
    all.sort();
    assert_eq!(all, ["blob-corrupt error 1", "blob-size error 1"]);
    assert_eq!(the(&ran, "blob-corrupt")["digest"], json!(pushed.layers[1]));
}

#[test]
fn a_config_that_is_damaged_or_none_is_told() {
    let registry = forgetful();
    let one = Image::new().layer("a").label("x", "1").tag("gone").push(&registry, "team/app");
    let two = Image::new().layer("a").label("x", "2").tag("rotten").push(&registry, "team/app");
    registry.storage().remove_blob(&one.config);
    let size = registry.client().blob("team/app", &two.config).body.len();
    registry.storage().overwrite_blob(&two.config, &vec![b' '; size]);
    // Registries take any bytes for a config.
    let config = registry.client().put_blob("team/app", b"no JSON");
    let layer = registry.client().put_blob("team/app", b"layer");
    let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": config, "size": 7}, "layers": [{"mediaType": OCI_LAYER, "digest": layer, "size": 5}]});
    registry.client().put_manifest("team/app", "text", OCI_MANIFEST, manifest.to_string().as_bytes());
    let ran = check(registry.host()).args(["--depth", "config"]).run().status(1);
    let mut all = told(&ran);
    all.sort();
    assert_eq!(all, ["blob-corrupt error rotten", "blob-missing error gone", "config-unreadable error text"]);
}

#[test]
fn a_manifest_that_is_damaged_is_told_once() {
    let registry = forgetful();
    let pushed = Image::new().layer("a").tag("1").tag("2").push(&registry, "team/app");
    let damaged = String::from_utf8(pushed.bytes.clone()).unwrap().replace("\"size\":", "\"sizE\":");
    registry.storage().overwrite_blob(&pushed.digest, damaged.as_bytes());
    let ran = check(registry.host()).run().status(1);
    assert_eq!(ran.records_of("finding").len(), 1, "{ran}");
    let finding = &ran.records_of("finding")[0];
    assert_eq!((&finding["severity"], &finding["repository"]), (&json!("error"), &json!("team/app")), "{ran}");
}

#[test]
fn what_breaks_its_schema_is_a_warning() {
    let registry = forgetful();
    let config = registry.client().put_blob("team/app", b"{}");
    let layer = registry.client().put_blob("team/app", b"layer");
    let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "annotations": {"a": "b"},
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2},
        "layers": [{"mediaType": "", "digest": layer, "size": 5}]});
    registry.client().put_manifest("team/app", "1", OCI_MANIFEST, manifest.to_string().as_bytes());
    let ran = check(registry.host()).run().succeeds();
    assert_eq!(told(&ran), ["manifest-invalid warning 1"]);
    let detail = the(&ran, "manifest-invalid")["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("artifactType is missing") && detail.contains("layers[0].mediaType"), "{detail}");
    check(registry.host()).args(["--fail-on", "warning"]).run().status(1);
}

#[test]
fn a_layer_whose_size_is_none_is_of_no_wrong_size() {
    // As a server serves it: Distribution takes no negative size.
    let (config, layer) = (digest_of(b"{}"), digest_of(b"layer"));
    for size in [json!(-5), json!(null)] {
        let server = ScriptedServer::start();
        let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": config, "size": 2},
            "layers": [{"mediaType": OCI_LAYER, "digest": layer, "size": size}]})
        .to_string();
        let served = Response::manifest(OCI_MANIFEST, manifest.clone());
        server.on("GET", "/v2/team/app/manifests/1", served.clone());
        server.on("GET", &format!("/v2/team/app/manifests/{}", digest_of(manifest.as_bytes())), served);
        for (digest, body) in [(&config, "{}"), (&layer, "layer")] {
            for method in ["GET", "HEAD"] {
                server.on(method, &format!("/v2/team/app/blobs/{digest}"), Response::text(200, body));
            }
        }
        for depth in ["blobs", "content"] {
            let ran = check(&format!("{}/team/app:1", server.host())).args(["--depth", depth]).run().succeeds();
            assert_eq!(told(&ran), ["manifest-invalid warning 1"], "{ran}");
        }
    }
}

#[test]
fn layers_that_lie_elsewhere_need_not_be_there() {
    let registry = Registry::with().set("/validation/manifests/urls/allow", json!(["^https://"])).start();
    let config = registry.client().put_blob("team/app", b"{}");
    let manifest = json!({"schemaVersion": 2, "mediaType": DOCKER_MANIFEST,
        "config": {"mediaType": DOCKER_CONFIG, "digest": config, "size": 2},
        "layers": [{"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "digest": digest_of(b"windows"), "size": 5,
                    "urls": ["https://example.com/windows"]}]});
    registry.client().put_manifest("team/app", "1", DOCKER_MANIFEST, manifest.to_string().as_bytes());
    let ran = check(registry.host()).run().succeeds();
    assert_eq!(told(&ran), [""; 0], "{ran}");
}

#[test]
fn a_repository_without_tags_and_a_referrer_without_its_subject_only_cost_space() {
    let registry = forgetful();
    let pushed = Image::new().layer("a").tag("1").push(&registry, "team/empty");
    registry.client().delete_manifest("team/empty", &pushed.digest).expect(202, "deleting");
    let gone = Image::new().layer("b").tag("1").push(&registry, "team/signed");
    Signature::cosign(&gone).push(&registry, "team/signed");
    let sbom = Image::artifact("application/vnd.example+json").subject(&gone).tag("sbom").push(&registry, "team/signed");
    registry.client().delete_manifest("team/signed", &gone.digest).expect(202, "deleting");
    let ran = check(registry.host()).args(["--fail-on", "unknown"]).run().succeeds();
    let problems: Vec<_> = told(&ran).iter().map(|told| told.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(problems, ["repository-empty info", "referrer-orphan info", "referrer-orphan info"], "{ran}");
    assert!(ran.records_of("finding").iter().any(|finding| finding["digest"] == sbom.digest && finding["tag"] == "sbom"));
    assert_eq!(ran.the("trailer")["infos"], 3);
}

#[test]
fn content_finds_what_an_in_memory_cache_hides() {
    let registry = Registry::with().in_memory_cache().start();
    let pushed = Image::new().layer_of_size("a", 5000).tag("1").push(&registry, "team/app");
    registry.storage().remove_blob(&pushed.layers[0]);
    let cut = Image::new().layer_of_size("b", 5000).tag("2").push(&registry, "team/app");
    registry.storage().truncate_blob(&cut.layers[0], 4000);
    let ran = check(registry.host()).args(["--depth", "content"]).run().status(1);
    assert_eq!(told(&ran), ["blob-missing error 1", "blob-size error 2"]);
}

#[test]
fn each_repository_needs_its_own_link_and_is_asked_only_where_that_is_wanted() {
    let registry = forgetful();
    let one = Image::new().layer("a").tag("1").push(&registry, "a");
    Image::new().layer("a").tag("1").push(&registry, "b");
    registry.storage().remove_layer_link("b", &one.layers[0]);
    // One after the other, so that the first is asked first.
    check(registry.host()).args(["--jobs", "1"]).run().succeeds();
    let ran = check(registry.host()).arg("--each-repository").run().status(1);
    assert_eq!((told(&ran), &the(&ran, "blob-missing")["repository"]), (vec!["blob-missing error 1".to_owned()], &json!("b")));
    // What is missing in one repository is asked for in the next.
    registry.storage().remove_layer_link("a", &one.layers[0]);
    let ran = check(registry.host()).run().status(1);
    assert_eq!(told(&ran), ["blob-missing error 1", "blob-missing error 1"]);
}

#[test]
fn a_listing_tells_a_lost_child_once() {
    let registry = forgetful();
    let index = Index::new()
        .child("linux/amd64", Image::new().layer("amd"))
        .child("linux/arm64", Image::new().layer("arm"))
        .tag("1")
        .push(&registry, "team/app");
    let listing = Tool::new("reg-list").arg(registry.host()).run().succeeds().stdout();
    registry.client().delete_manifest("team/app", &index.children[1].digest).expect(202, "deleting");
    let ran = Tool::new("reg-check").stdin(listing.clone()).run().status(1);
    assert_eq!(told(&ran), ["child-missing error 1"]);
    // A filter may have left the index out.
    let only: String = listing.lines().filter(|line| !line.contains("\"tags\":[\"1\"]")).map(|line| format!("{line}\n")).collect();
    let ran = Tool::new("reg-check").stdin(only).run().succeeds();
    assert_eq!(told(&ran), ["manifest-missing warning -"]);
}

#[test]
fn an_index_that_says_a_wrong_size_of_a_child_is_broken() {
    let registry = forgetful();
    let child = Image::new().layer("a").push(&registry, "team/app");
    let mut descriptor = child.descriptor();
    descriptor["size"] = json!(child.bytes.len() + 1);
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor]});
    registry.client().put_manifest("team/app", "1", OCI_INDEX, index.to_string().as_bytes());
    let ran = check(registry.host()).run().status(1);
    assert_eq!(told(&ran), ["manifest-invalid error 1"]);
}
