//! Answers that no healthy registry gives: digests that lie, bodies that are cut, sizes that are wrong, too many requests.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tests::fixtures::DOCKER_MANIFEST;
use tests::*;

use super::{check, the, told};

/// A registry with one image, `team/app:1`, and a second one that is well, behind a proxy that changes its answers.
struct Asked {
    proxy: Proxy,
    app: Pushed,
    _registry: Registry,
}

impl Asked {
    fn start() -> Self {
        let registry = Registry::start();
        let app = Image::new().layer_of_size("layer", 3000).tag("1").push(&registry, "team/app");
        Image::new().layer("well").tag("1").push(&registry, "team/web");
        let proxy = Proxy::before(&registry);
        Self { proxy, app, _registry: registry }
    }

    /// Checks; `team/web` must be as well as ever.
    #[track_caller]
    fn tells(&self, arguments: &[&str], status: i32, expected: &[&str]) -> Ran {
        let ran = check(self.proxy.host()).args(arguments).run().status(status);
        assert_eq!(told(&ran), expected, "{ran}");
        assert!(ran.records_of("finding").iter().all(|finding| finding["repository"] == "team/app"), "{ran}");
        assert_eq!(ran.the("trailer")["images"], 2);
        ran
    }

    fn by_tag(&self) -> impl Fn(&http::Request) -> bool + Send + Sync + 'static {
        |request| request.path() == "/v2/team/app/manifests/1"
    }

    fn by_digest(&self) -> impl Fn(&http::Request) -> bool + Send + Sync + 'static {
        let path = format!("/v2/team/app/manifests/{}", self.app.digest);
        move |request| request.path() == path
    }

    fn layer(&self) -> impl Fn(&http::Request) -> bool + Send + Sync + 'static {
        let path = format!("/v2/team/app/blobs/{}", self.app.layers[0]);
        move |request| request.path() == path
    }
}

#[test]
fn answers_by_tag_and_by_digest_must_agree() {
    let asked = Asked::start();
    let other = digest_of(b"other");
    let _ = asked.proxy.change(asked.by_digest(), move |response| response.set_header("Docker-Content-Digest", &other));
    asked.tells(&[], 1, &["digest-mismatch error 1"]);

    let asked = Asked::start();
    let _ = asked.proxy.change(asked.by_tag(), |response| response.body("{\"schemaVersion\":2}"));
    let ran = asked.tells(&[], 1, &["digest-mismatch error 1"]);
    assert!(the(&ran, "digest-mismatch")["detail"].as_str().unwrap().contains("serves what hashes to"));

    let asked = Asked::start();
    let _ = asked.proxy.change(asked.by_digest(), |response| response.body("{\"schemaVersion\":2}"));
    let ran = asked.tells(&[], 1, &["manifest-corrupt error 1"]);
    assert_eq!(the(&ran, "manifest-corrupt")["digest"], json!(asked.app.digest));

    let asked = Asked::start();
    let _ = asked.proxy.always(asked.by_digest(), Response::error(404, "MANIFEST_UNKNOWN"));
    asked.tells(&[], 1, &["manifest-missing error 1"]);
}

#[test]
fn a_digest_that_lies_by_both_names_is_one_finding() {
    let asked = Asked::start();
    let (tag, digest) = (asked.by_tag(), asked.by_digest());
    let _ = asked.proxy.change(move |request| tag(request) || digest(request), |response| response.body("{\"schemaVersion\":2}"));
    asked.tells(&[], 1, &["manifest-corrupt error 1"]);
}

#[test]
fn a_manifest_of_another_type_than_it_says_is_a_warning() {
    let asked = Asked::start();
    let _ = asked.proxy.change(asked.by_digest(), |response| response.set_header("Content-Type", DOCKER_MANIFEST));
    let ran = asked.tells(&[], 0, &["media-type-mismatch warning 1"]);
    assert!(the(&ran, "media-type-mismatch")["detail"].as_str().unwrap().contains("and says itself that it is"));
}

#[test]
fn a_blob_of_another_size_is_told() {
    let asked = Asked::start();
    let layer = asked.layer();
    let _ = asked.proxy.change(
        move |request| request.method == "HEAD" && layer(request),
        |response| response.without_header("Content-Length").header("Content-Length", "5"),
    );
    let layer = asked.layer();
    let _ = asked.proxy.change(
        move |request| request.method == "GET" && layer(request),
        |response| response.body("short").set_header("Content-Range", "bytes 0-4/5"),
    );
    asked.tells(&[], 1, &["blob-size error 1"]);
    asked.tells(&["--depth", "content"], 1, &["blob-size error 1"]);
    let asked = Asked::start();
    let _ = asked.proxy.change(asked.layer(), |response| response.body(vec![b'x'; 3000]));
    asked.tells(&[], 0, &[]);
    asked.tells(&["--depth", "content"], 1, &["blob-corrupt error 1"]);
    let asked = Asked::start();
    let _ = asked.proxy.change(asked.layer(), |response| response.body(vec![b'x'; 1 << 20]));
    let ran = asked.tells(&["--depth", "content"], 1, &["blob-size error 1"]);
    assert!(the(&ran, "blob-size")["detail"].as_str().unwrap().contains("more than 3000 bytes"), "{ran}");
}

#[test]
fn a_body_that_is_cut_short_says_nothing_about_what_is_there() {
    let asked = Asked::start();
    let cut = AtomicUsize::new(1000);
    let _ = asked.proxy.change(asked.layer(), move |response| response.cut_body_after(cut.fetch_add(7, Ordering::SeqCst)));
    let ran = asked.tells(&["--depth", "content"], 0, &["not-asked unknown 1"]);
    assert!(the(&ran, "not-asked")["detail"].as_str().unwrap().contains("connection was lost within the answer"), "{ran}");
    asked.tells(&["--depth", "content", "--fail-on", "unknown"], 1, &["not-asked unknown 1"]);
}

#[test]
fn a_body_that_breaks_off_in_the_same_place_each_time_has_no_more() {
    let asked = Asked::start();
    let _ = asked.proxy.change(asked.layer(), |response| response.cut_body_after(1000));
    let ran = asked.tells(&["--depth", "content"], 1, &["blob-size error 1"]);
    assert!(the(&ran, "blob-size")["detail"].as_str().unwrap().contains("has 1000 bytes where the manifest says 3000"), "{ran}");
    let asked = Asked::start();
    let config = format!("/v2/team/app/blobs/{}", asked.app.config);
    let _ = asked.proxy.change(move |request| request.path() == config, |response| response.cut_body_after(10));
    asked.tells(&[], 1, &["blob-size error 1"]);
}

#[test]
fn denied_and_overloaded_is_unknown_and_never_missing() {
    for (status, code) in [(403, "DENIED"), (401, "UNAUTHORIZED"), (502, "UNKNOWN"), (404, "")] {
        let asked = Asked::start();
        let response = if code.is_empty() { Response::text(404, "404 page not found\n") } else { Response::error(status, code) };
        let _ = asked.proxy.always(asked.layer(), response);
        let ran = asked.tells(&[], 0, &["not-asked unknown 1"]);
        assert_eq!((&ran.the("trailer")["healthy"], &ran.the("trailer")["unknown"]), (&json!(1), &json!(1)));
    }
}

#[test]
fn what_the_registry_says_that_it_cannot_serve_is_broken() {
    let asked = Asked::start();
    let _ = asked.proxy.always(asked.layer(), Response::error(500, "UNKNOWN"));
    asked.tells(&[], 1, &["blob-unreachable error 1"]);
    let asked = Asked::start();
    let _ = asked.proxy.always(asked.by_digest(), Response::error(500, "UNKNOWN"));
    asked.tells(&[], 1, &["manifest-unreachable error 1"]);
}

#[test]
fn too_many_requests_in_the_middle_are_waited_for() {
    let asked = Asked::start();
    let _ = asked.proxy.once(asked.layer(), Response::error(429, "TOOMANYREQUESTS").header("Retry-After", "0"));
    asked.tells(&["--fail-on", "unknown"], 0, &[]);
}

#[test]
fn a_registry_that_goes_on_to_refuse_is_left_alone() {
    let registry = Registry::start();
    for n in 0..30 {
        Image::new().layer(&format!("l{n}")).tag(&format!("t{n}")).push(&registry, "team/app");
    }
    let proxy = Proxy::before(&registry);
    let passed = AtomicUsize::new(0);
    let manifests = move |request: &http::Request| request.path().contains("/manifests/") && passed.fetch_add(1, Ordering::SeqCst) >= 10;
    let _ = proxy.always(manifests, Response::error(429, "TOOMANYREQUESTS").header("Retry-After", "0"));
    let ran = check(proxy.host()).args(["--jobs", "2"]).run().succeeds().stderr_has("was asked nothing more after this");
    let unknown = ran.records_of("finding");
    assert!(unknown.iter().all(|finding| finding["severity"] == "unknown"), "{ran}");
    assert!(unknown.len() <= 3, "what was not asked is told together\n{ran}");
    assert!(proxy.requests().len() < 40, "{} requests", proxy.requests().len());
    assert_eq!(ran.the("trailer")["images"], 30);
}

#[test]
fn a_ghost_of_the_catalog_is_a_warning_and_one_that_is_used_is_more() {
    let server = ScriptedServer::start();
    server.on("GET", "/v2/_catalog", Response::json(200, json!({"repositories": ["ghost"]})));
    server.fallback(Response::error(404, "NAME_UNKNOWN"));
    let ran = check(server.host()).run().succeeds();
    assert_eq!(told(&ran), ["repository-ghost warning -"]);
    let uses = Inventory::of("prod").uses(server.host(), "ghost", "1").uses(server.host(), "ghost", "2");
    let ran = Tool::new("reg-check").stdin(uses.jsonl()).run().status(1);
    assert_eq!(told(&ran), ["repository-ghost error 1"]);
    assert_eq!(the(&ran, "repository-ghost")["usedBy"].as_array().unwrap().len(), 2);
}

#[test]
fn without_a_catalog_what_is_named_is_a_repository() {
    let asked = Asked::start();
    let _ = asked.proxy.always(|request| request.path() == "/v2/_catalog", Response::error(401, "UNAUTHORIZED"));
    let ran = check(&format!("{}/team/app", asked.proxy.host())).run().succeeds().stderr_has("shows no catalog");
    assert_eq!((&ran.the("trailer")["healthy"], &ran.the("trailer")["complete"]), (&json!(1), &json!(false)));
    let ran = check(asked.proxy.host()).run().status(2).stderr_has("name its repositories as operands").stderr_lacks("standard input");
    assert!(the(&ran, "not-asked")["detail"].as_str().unwrap().contains("name its repositories as operands"), "{ran}");
    let ran = check(&format!("{}/team/lost", asked.proxy.host())).run().succeeds().stderr_lacks("standard input");
    assert!(the(&ran, "repository-ghost")["detail"].as_str().unwrap().starts_with("it was named, and the registry says"), "{ran}");
}

#[test]
fn a_head_that_is_refused_or_empty_is_asked_otherwise() {
    for response in [Response::status(405), Response::status(404), Response::status(200)] {
        let asked = Asked::start();
        let layer = asked.layer();
        let _ = asked.proxy.always(move |request| request.method == "HEAD" && layer(request), response);
        asked.tells(&["--fail-on", "unknown"], 0, &[]);
    }
}

#[test]
fn a_registry_that_goes_away_in_the_middle_is_left_alone() {
    let registry = Registry::start();
    for n in 0..30 {
        Image::new().layer(&format!("l{n}")).tag(&format!("t{n}")).push(&registry, "team/app");
    }
    let proxy = Proxy::before(&registry);
    let passed = AtomicUsize::new(0);
    let manifests = move |request: &http::Request| request.path().contains("/manifests/") && passed.fetch_add(1, Ordering::SeqCst) >= 10;
    let _ = proxy.always(manifests, Response::close_without_answer());
    let ran = check(proxy.host()).run().succeeds().stderr_has("was asked nothing more after this");
    assert!(ran.records_of("finding").iter().all(|finding| finding["severity"] == "unknown"), "{ran}");
    assert!(proxy.requests().len() < 150, "{} requests", proxy.requests().len());
}

#[test]
fn what_the_catalog_leaves_out_is_asked_for_by_its_name() {
    let asked = Asked::start();
    let _ = asked.proxy.always(|request| request.path() == "/v2/_catalog", Response::json(200, json!({"repositories": ["team/web"]})));
    let ran = check(&format!("{}/team/app", asked.proxy.host())).run().succeeds();
    assert_eq!((told(&ran).len(), &ran.the("trailer")["images"], &ran.the("trailer")["complete"]), (0, &json!(1), &json!(true)), "{ran}");
    let ran = check(&format!("{}/team/lost", asked.proxy.host())).run().succeeds();
    assert_eq!(told(&ran), ["repository-ghost warning -"]);
    assert!(the(&ran, "repository-ghost")["detail"].as_str().unwrap().starts_with("it was named, and the registry says"), "{ran}");
}

#[test]
fn tags_that_cannot_be_listed_are_no_ghost() {
    let page = || Response::text(200, "<html>log in</html>").set_header("Content-Type", "text/html");
    for (answer, status, expected) in [
        (Response::error(500, "UNKNOWN"), 1, "tag-unreachable error -"),
        (page(), 0, "not-asked unknown -"),
        (Response::error(403, "DENIED"), 0, "not-asked unknown -"),
    ] {
        let asked = Asked::start();
        let _ = asked.proxy.always(|request| request.path() == "/v2/team/app/tags/list", answer);
        let ran = check(asked.proxy.host()).run().status(status);
        assert_eq!((told(&ran), &ran.the("trailer")["complete"]), (vec![expected.to_owned()], &json!(false)), "{ran}");
        // Whoever uses it.
        let none = Inventory::of("prod").uses_ten_others().write();
        let ran = check(asked.proxy.host()).arg("--in-use").arg(none.path()).run().status(status);
        assert!(told(&ran).contains(&expected.to_owned()), "{ran}");
    }
}

#[test]
fn a_page_of_a_login_says_nothing_of_what_was_asked_for() {
    let page = || Response::text(200, "<html>log in</html>").set_header("Content-Type", "text/html; charset=utf-8");
    let asked = Asked::start();
    let _ = asked.proxy.always(asked.by_tag(), page());
    asked.tells(&[], 0, &["not-asked unknown 1"]);
    let asked = Asked::start();
    let _ = asked.proxy.always(asked.by_digest(), page());
    asked.tells(&[], 0, &["not-asked unknown 1"]);
    let asked = Asked::start();
    let _ = asked.proxy.always(asked.layer(), page());
    asked.tells(&[], 0, &["not-asked unknown 1"]);
    asked.tells(&["--depth", "content"], 0, &["not-asked unknown 1"]);
    let asked = Asked::start();
    let config = format!("/v2/team/app/blobs/{}", asked.app.config);
    let _ = asked.proxy.always(move |request| request.path() == config, page());
    asked.tells(&[], 0, &["not-asked unknown 1"]);
    // A listed tag is asked for its head.
    let asked = Asked::start();
    let listing = Tool::new("reg-list").arg(asked.proxy.host()).run().succeeds().stdout();
    let _ = asked.proxy.always(|request| request.path().starts_with("/v2/team/app/manifests/"), page());
    let ran = Tool::new("reg-check").stdin(listing).run().succeeds();
    assert!(told(&ran).contains(&"not-asked unknown 1".to_owned()), "{ran}");
    assert!(told(&ran).iter().all(|told| told.starts_with("not-asked unknown")), "{ran}");
}
