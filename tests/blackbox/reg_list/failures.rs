//! What fails, where it is said, and what stands all the same.

use serde_json::{Value, json};
use tests::*;

use super::{list, record_of, values};

/// The closing record of a repository.
#[track_caller]
fn closing(ran: &Ran, repository: &str) -> Value {
    let mut records = ran.records_of("repository").into_iter().filter(|record| record["repository"] == repository);
    records.next().unwrap_or_else(|| panic!("no record of {repository}\n{ran}"))
}

/// A registry with two healthy repositories behind a proxy that breaks what `fits`.
struct Two {
    registry: Registry,
    proxy: Proxy,
    app: Pushed,
}

impl Two {
    fn start() -> Self {
        let registry = Registry::start();
        let app = Image::new().layer("a").tag("v1").push(&registry, "team/app");
        Image::new().layer("b").tag("v2").push(&registry, "team/app");
        Image::new().layer("c").tag("v1").push(&registry, "team/web");
        let proxy = Proxy::before(&registry);
        Self { registry, proxy, app }
    }

    /// Lists; `team/app` must be frozen with this in its error, and everything else as if nothing were.
    #[track_caller]
    fn freezes(&self, error: &str) -> Ran {
        let ran = Tool::new("reg-list")
            .arg(self.proxy.host())
            .run()
            .status(1)
            .stderr_has("reg-check")
            .stderr_has("team/app: could not be read whole");
        let app = closing(&ran, "team/app");
        assert_eq!(app["complete"], false);
        assert!(app["error"].as_str().unwrap().contains(error), "{error:?} is not in {app}");
        let web = closing(&ran, "team/web");
        assert_eq!((&web["complete"], &web["error"], &web["manifestCount"]), (&json!(true), &json!(null), &json!(1)));
        let trailer = ran.the("trailer");
        assert_eq!((&trailer["complete"], &trailer["incompleteRepositories"], &trailer["error"]), (&json!(false), &json!(1), &json!(null)));
        ran
    }
}

fn is_v1(request: &http::Request) -> bool {
    request.path() == "/v2/team/app/manifests/v1"
}

#[test]
fn a_server_error_on_one_tag_freezes_its_repository_alone() {
    let two = Two::start();
    let _ = two.proxy.always(is_v1, Response::error(500, "UNKNOWN"));
    let ran = two.freezes("v1: GET ");
    assert_eq!(closing(&ran, "team/app")["tagCount"], 2);
    assert_eq!(values(&ran, "manifest", "repository"), ["team/app", "team/web"], "what could be read stands");
    assert_eq!(ran.records_of("tag").len(), 0);
    assert!(two.proxy.count(is_v1) > 1, "it was tried more than once");
}

#[test]
fn a_passing_error_is_none() {
    let two = Two::start();
    let _ = two
        .proxy
        .once(is_v1, Response::error(503, "UNAVAILABLE"))
        .once(|request| request.path() == "/v2/team/web/tags/list", Response::close_without_answer());
    let ran = Tool::new("reg-list").arg(two.proxy.host()).run().succeeds();
    assert_eq!(ran.the("trailer")["manifests"], 3);
    assert_eq!(record_of(&ran, &two.app)["tags"], json!(["v1"]));
}

#[test]
fn denied_freezes() {
    let two = Two::start();
    let _ = two.proxy.always(is_v1, Response::error(403, "DENIED"));
    two.freezes("DENIED");
}

#[test]
fn a_missing_endpoint_is_no_missing_manifest() {
    let two = Two::start();
    let _ = two.proxy.always(is_v1, Response::text(404, "404 page not found\n"));
    let ran = two.freezes("404");
    assert_eq!(ran.records_of("tag").len(), 0);
}

#[test]
fn a_digest_that_lies_freezes() {
    let two = Two::start();
    let other = digest_of(b"other");
    let _ = two.proxy.change(is_v1, move |response| response.set_header("Docker-Content-Digest", &other));
    two.freezes("does not match its digest");
}

#[test]
fn bytes_that_are_no_json_object_freeze() {
    for (body, error) in [("[]", "is no JSON object"), ("<html>", "is no JSON object"), ("{\"manifests\":[{}]}", "is no manifest")] {
        let two = Two::start();
        let digest = digest_of(body.as_bytes());
        let response = Response::manifest("application/vnd.oci.image.manifest.v1+json", body).set_header("Docker-Content-Digest", &digest);
        let _ = two.proxy.always(is_v1, response);
        two.freezes(error);
    }
}

#[test]
fn a_body_that_is_cut_freezes() {
    let two = Two::start();
    let _ = two.proxy.change(is_v1, |response| response.cut_body_after(20));
    two.freezes("connection was lost");
}

#[test]
fn a_child_that_cannot_be_asked_for_freezes() {
    let two = Two::start();
    let index = Index::new().child("linux/amd64", Image::new().layer("child")).tag("multi").push(&two.registry, "team/app");
    let child = format!("/v2/team/app/manifests/{}", index.children[0].digest);
    let _ = two.proxy.always(move |request| request.path() == child, Response::error(502, "UNKNOWN"));
    let ran = two.freezes(&index.children[0].digest);
    assert_eq!(record_of(&ran, &index)["missing"], json!([]), "nobody said that it is gone");
}

#[test]
fn tags_that_cannot_be_listed_freeze() {
    let two = Two::start();
    let _ = two.proxy.always(|request| request.path() == "/v2/team/app/tags/list", Response::error(400, "SOMETHING"));
    let ran = two.freezes("SOMETHING");
    assert_eq!(closing(&ran, "team/app")["tagCount"], json!(null));
    for (mode, expected) in [("--tags", vec!["team/app"]), ("--count", vec!["team/app", "team/web"])] {
        let ran = Tool::new("reg-list").args([two.proxy.host(), mode]).run().status(1).stderr_has("reg-check");
        assert_eq!(values(&ran, "repository", "repository"), expected, "{mode}");
        assert_eq!(closing(&ran, "team/app")["complete"], false);
    }
}

#[test]
fn a_config_that_is_gone_costs_the_date_alone() {
    let registry = Registry::with().cache_off().start();
    let app = Image::new().layer("a").tag("v1").push(&registry, "team/app");
    let torn = Image::new().layer("b").tag("v2").push(&registry, "team/app");
    registry.storage().remove_blob(&app.config);
    let proxy = Proxy::before(&registry);
    let junk = b"no config".to_vec();
    registry.client().put_blob("team/app", &junk);
    let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(&junk), "size": junk.len()}, "layers": []});
    registry.client().put_manifest("team/app", "junk", "application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
    let ran = Tool::new("reg-list").arg(proxy.host()).run().succeeds();
    let record = record_of(&ran, &app);
    assert_eq!(
        (&record["created"], &record["createdSource"], &record["platform"]),
        (&json!(null), &json!("config: BLOB_UNKNOWN"), &json!(null))
    );
    assert_eq!(record_of(&ran, &torn)["createdSource"], "config");
    let junk = ran.records_of("manifest").into_iter().find(|record| record["tags"] == json!(["junk"])).unwrap();
    assert!(junk["createdSource"].as_str().unwrap().starts_with("config: is no JSON object"), "{junk}");

    let blob = format!("/v2/team/app/blobs/{}", torn.config);
    let _ = proxy.always(move |request| request.path() == blob, Response::error(500, "UNKNOWN"));
    let ran = Tool::new("reg-list").arg(proxy.host()).run().status(1);
    assert_eq!(closing(&ran, "team/app")["complete"], false, "a server error may be hiding the date");
    assert_eq!(record_of(&ran, &torn)["created"], json!(null));
}

#[test]
fn a_config_that_one_repository_lacks_another_may_have() {
    let server = ScriptedServer::start();
    let config = json!({"created": "2026-01-01T00:00:00Z", "os": "linux", "architecture": "amd64"}).to_string();
    let digest = digest_of(config.as_bytes());
    let manifest =
        json!({"config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": config.len()}, "layers": []});
    server.on("GET", "/v2/_catalog", Response::json(200, json!({"repositories": ["a", "b"]})));
    for repository in ["a", "b"] {
        server.on("GET", &format!("/v2/{repository}/tags/list"), Response::json(200, json!({"name": repository, "tags": ["v1", "v2"]})));
        for tag in ["v1", "v2"] {
            let path = format!("/v2/{repository}/manifests/{tag}");
            server.on("GET", &path, Response::manifest("application/vnd.oci.image.manifest.v1+json", manifest.to_string()));
        }
    }
    let (in_a, in_b) = (format!("/v2/a/blobs/{digest}"), format!("/v2/b/blobs/{digest}"));
    server.on("GET", &in_a, Response::error(404, "BLOB_UNKNOWN"));
    server.on("GET", &in_b, Response::status(200).body(config));
    let ran = Tool::new("reg-list").args([server.host(), "--jobs", "1"]).run().succeeds();
    assert_eq!(values(&ran, "manifest", "createdSource"), ["config: BLOB_UNKNOWN", "config"]);
    assert_eq!((server.count("GET", &in_a), server.count("GET", &in_b)), (1, 1));
}

#[test]
fn a_tag_without_a_manifest_is_a_record_of_its_own() {
    let registry = Registry::with().cache_off().start();
    let app = Image::new().layer("a").tag("v1").push(&registry, "team/app");
    let broken = Image::new().layer("b").tag("broken").push(&registry, "team/app");
    registry.storage().remove_revision("team/app", &broken.digest);
    let ran = list(&registry).run().succeeds();
    let expected =
        json!({"type": "tag", "registry": registry.host(), "repository": "team/app", "tag": "broken", "error": "MANIFEST_UNKNOWN"});
    assert_eq!(ran.the("tag"), expected);
    let closing = ran.the("repository");
    assert_eq!((&closing["complete"], &closing["tagCount"], &closing["manifestCount"]), (&json!(true), &json!(2), &json!(1)));
    assert_eq!(record_of(&ran, &app)["tags"], json!(["v1"]));
    let kinds: Vec<_> = ran.records().iter().map(|record| record["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["header", "manifest", "tag", "repository", "trailer"]);
}

#[test]
fn ghosts_are_empty_and_complete() {
    let registry = Registry::start();
    let app = Image::new().layer("a").tag("v1").push(&registry, "emptied");
    registry.client().delete_manifest("emptied", &app.digest).expect(202, "deleting");
    let ran = list(&registry).run().succeeds();
    let empty = |host: &str, repository: &str| {
        json!({"type": "repository", "registry": host, "repository": repository, "complete": true, "error": null, "tagCount": 0,
               "manifestCount": 0, "imageSize": 0})
    };
    assert_eq!(ran.the("repository"), empty(registry.host(), "emptied"));

    let server = ScriptedServer::start();
    server.on("GET", "/v2/_catalog", Response::json(200, json!({"repositories": ["unknown", "null"]})));
    server.on("GET", "/v2/unknown/tags/list", Response::error(404, "NAME_UNKNOWN"));
    server.on("GET", "/v2/null/tags/list", Response::json(200, json!({"name": "null", "tags": null})));
    let ran = Tool::new("reg-list").arg(server.host()).run().succeeds();
    assert_eq!(ran.records_of("repository"), [empty(server.host(), "unknown"), empty(server.host(), "null")]);
    assert_eq!(ran.the("trailer")["complete"], true);
}

#[test]
fn a_catalog_that_breaks_off_freezes_nothing_that_was_listed() {
    let registry = Registry::with().catalog_max(1000).start();
    for repository in ["a", "b", "c"] {
        Image::new().layer("x").tag("v1").push(&registry, repository);
    }
    let proxy = Proxy::before(&registry);
    let second = |request: &http::Request| request.path() == "/v2/_catalog" && request.query().contains("last=");
    let first = |request: &http::Request| request.path() == "/v2/_catalog" && !request.query().contains("last=");
    let page = Response::json(200, json!({"repositories": ["a", "b"]})).header("Link", "</v2/_catalog?last=b&n=2>; rel=\"next\"");
    let _ = proxy.always(first, page).always(second, Response::error(500, "UNKNOWN"));
    let ran = Tool::new("reg-list").arg(proxy.host()).run().status(1).stderr_has("the catalog broke off");
    assert_eq!(values(&ran, "repository", "complete"), ["true", "true"]);
    let trailer = ran.the("trailer");
    assert_eq!((&trailer["complete"], &trailer["incompleteRepositories"], &trailer["repositories"]), (&json!(false), &json!(0), &json!(2)));
    assert!(trailer["error"].as_str().unwrap().contains("500"), "{trailer}");
}

#[test]
fn names_that_no_repository_can_have_are_said() {
    let server = ScriptedServer::start();
    server.on("GET", "/v2/_catalog", Response::json(200, json!({"repositories": ["a", "../../etc", 7, "B"]})));
    server.on("GET", "/v2/a/tags/list", Response::json(200, json!({"name": "a", "tags": ["../x", null, "sha256:12"]})));
    let ran = Tool::new("reg-list").arg(server.host()).run().status(1).stderr_has("no repository can").stderr_has("no tag can be called");
    assert_eq!(ran.the("repository")["tagCount"], 0);
    assert_eq!(ran.the("trailer")["complete"], false);
    assert!(server.requests().iter().all(|request| !request.target.contains("..")), "no path is built from such a name");
}

#[test]
fn a_name_that_the_catalog_may_have_left_out_is_said() {
    let server = ScriptedServer::start();
    let page = Response::json(200, json!({"repositories": ["zz/1"]})).header("Link", "</v2/_catalog?last=zz%2F1&n=1>; rel=\"next\"");
    server.on("GET", "/v2/_catalog?n=1000", page);
    server.on("GET", "/v2/_catalog?last=zz%2F1&n=1", Response::json(200, json!({"repositories": ["zzz"]})));
    server.on("GET", "/v2/_catalog?n=1&last=zzz", Response::json(200, json!({"repositories": []})));
    for name in ["zz/1", "zzz"] {
        server.on("GET", &format!("/v2/{name}/tags/list"), Response::json(200, json!({"name": name, "tags": []})));
    }
    server.on("GET", "/v2/zz/tags/list", Response::error(403, "DENIED"));
    let ran = Tool::new("reg-list").args([server.host(), "--count"]).run().succeeds();
    assert_eq!(values(&ran, "repository", "repository"), ["zz/1", "zzz"]);
    ran.stderr_has(&format!("{}/zz (of 1)", server.host())).stderr_has("DENIED");
}

#[test]
fn all_pages_are_read_and_links_lead_nowhere_else() {
    let elsewhere = ScriptedServer::start();
    let server = ScriptedServer::start();
    let link = |path: &str| format!("<{}{path}>; rel=\"next\"", elsewhere.url());
    for (page, next) in [("?n=1000", Some(1)), ("?last=r1", Some(2)), ("?last=r2", Some(3)), ("?last=r3", None)] {
        let name = format!("r{}", next.unwrap_or(4));
        let mut response = Response::json(200, json!({"repositories": [name]}));
        if let Some(next) = next {
            response = response.header("Link", &link(&format!("/v2/_catalog?last=r{next}")));
        }
        server.on("GET", &format!("/v2/_catalog{page}"), response);
        let path = format!("/v2/{name}/tags/list");
        server.on("GET", &path, Response::json(200, json!({"tags": ["v1"]})).header("Link", &link(&format!("{path}?last=v1"))));
        server.on("GET", &format!("{path}?last=v1"), Response::json(200, json!({"tags": ["v2"]})));
    }
    let ran = Tool::new("reg-list").args([server.host(), "--tags"]).run().succeeds();
    assert_eq!(values(&ran, "tag", "repository"), ["r1", "r1", "r2", "r2", "r3", "r3", "r4", "r4"]);
    assert_eq!(elsewhere.requests().len(), 0);
}

#[test]
fn a_registry_that_goes_away_is_not_asked_for_each_of_the_rest() {
    use std::io::{BufRead as _, BufReader, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    // It tells its catalog and closes its port.
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        drop(listener);
        let request = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
        assert!(request.take_while(|line| !line.is_empty()).count() > 1);
        let names: Vec<_> = (0..12).map(|n| format!("r{n:02}")).collect();
        let body = json!({"repositories": names}).to_string();
        write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    });
    let ran = Tool::new("reg-list").args([&host, "--jobs", "1", "-v"]).run().status(1).stderr_has("and 2 more of this kind");
    server.join().unwrap();
    assert_eq!(values(&ran, "repository", "complete"), vec!["false"; 12]);
    let tries = ran.stderr().lines().filter(|line| line.contains("/tags/list") && line.contains("refused")).count();
    assert!((1..=12).contains(&tries), "{tries}");
}

#[test]
fn one_repository_that_wants_credentials_freezes_itself_alone() {
    let two = Two::start();
    let challenge = Response::error(401, "UNAUTHORIZED").header("WWW-Authenticate", "Basic realm=\"x\"");
    let _ = two.proxy.always(|request| request.path().starts_with("/v2/team/app/"), challenge);
    two.freezes("needs credentials");

    let two = Two::start();
    let challenge = Response::error(401, "UNAUTHORIZED").header("WWW-Authenticate", "Bearer realm=\"ftp://x/\"");
    let _ = two.proxy.always(|request| request.path().starts_with("/v2/team/app/"), challenge);
    two.freezes("its token server");
}

#[test]
fn a_wrong_entry_for_a_namespace_freezes_that_alone() {
    let registry = Registry::with().htpasswd("alice", "open sesame").start();
    for repository in ["other", "team/app", "web"] {
        Image::new().layer("a").tag("v1").push(&registry, repository);
    }
    let entry = |password: &str| json!({"username": "alice", "password": password});
    let auths = json!({"auths": {registry.host(): entry("open sesame"), format!("{}/team", registry.host()): entry("guess")}}).to_string();
    let ran = list(&registry).args(["--jobs", "1"]).home_file(".docker/config.json", &auths).run().status(1);
    assert_eq!(values(&ran, "repository", "repository"), ["other", "team/app", "web"]);
    assert_eq!(values(&ran, "repository", "complete"), ["true", "false", "true"]);
    ran.stderr_has("refused the credentials").stderr_lacks("guess");
}

#[test]
fn a_config_that_is_redirected_into_the_void_freezes_its_repository_alone() {
    let two = Two::start();
    let blob = format!("/v2/team/app/blobs/{}", two.app.config);
    // A port that was free a moment ago, and on which nothing listens.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let redirect = Response::status(307).header("Location", &format!("http://{dead}/x?sig=SECRET"));
    let _ = two.proxy.always(move |request| request.path() == blob, redirect);
    two.freezes("connection refused").stderr_lacks("SECRET");
}
