//! The harness itself: what the other tests lean on holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tests::tool::bin_folder;
use tests::*;

#[test]
fn an_image_is_pushed_pulled_and_deleted() {
    let registry = Registry::start();
    let app = Image::new().layer("a").layer("shared").tag("v1").tag("latest").push(&registry, "team/app");
    let client = registry.client();
    assert_eq!(client.tags("team/app"), ["latest", "v1"]);
    assert_eq!(client.catalog(), ["team/app"]);
    assert_eq!(client.head("team/app", "v1").digest(), app.digest);
    assert_eq!(client.manifest("team/app", &app.digest).body, app.bytes);
    skopeo::pull(&registry, "team/app:v1").unwrap();
    skopeo::pull(&registry, &app.by_digest()).unwrap();
    client.delete_manifest("team/app", &app.digest).expect(202, "deleting");
    skopeo::pull(&registry, "team/app:v1").unwrap_err();
    assert!(!client.has("team/app", &app.digest));
    assert!(client.tags("team/app").is_empty());
}

#[test]
fn every_fixture_is_accepted_and_pulls() {
    let registry = Registry::start();
    let app = Index::new()
        .child("linux/amd64", Image::new().layer("base").label("a", "b").annotation("c", "d"))
        .child("linux/arm64/v8", Image::undated().layer_of_size("big", 100_000))
        .attestation_for("linux/amd64")
        .tag("v1")
        .push(&registry, "team/app");
    assert_eq!(app.children.len(), 3);
    assert_eq!(app.manifest()["manifests"][1]["platform"]["variant"], "v8");
    assert_eq!(app.manifest()["manifests"][2]["annotations"]["vnd.docker.reference.digest"], app.children[0].digest);
    let signature = Signature::cosign(&app).push(&registry, "team/app");
    assert_eq!(signature.tags, [format!("sha256-{}.sig", app.hex())]);
    let sbom = Image::artifact("application/vnd.oci.empty.v1+json")
        .artifact_type("application/spdx+json")
        .blob("application/spdx+json", b"{}")
        .subject(&app)
        .push(&registry, "team/app");
    assert_eq!(sbom.manifest()["subject"]["digest"], app.digest);
    Referrers::of(&app).list(&sbom).push(&registry, "team/app");
    Index::docker()
        .child("linux/amd64", Image::docker().layer("base"))
        .child("linux/s390x", Image::docker().layer("s390x"))
        .tag("list")
        .push(&registry, "team/docker");
    Image::docker().layer("base").tag("single").push(&registry, "team/docker");
    Index::new()
        .entry(Index::new().child("linux/amd64", Image::new().layer("inner")))
        .entry(Image::artifact("application/vnd.cncf.helm.config.v1+json").layer("chart"))
        .tag("nested")
        .push(&registry, "team/nested");
    let cache = BuildCache::new().blob("one").blob("two").tag("cache").push(&registry, "team/cache");
    assert_eq!(cache.layers.len(), 2);
    for reference in ["team/app:v1", "team/docker:list", "team/docker:single"] {
        skopeo::pull(&registry, reference).unwrap();
    }
    for (repository, reference) in [("team/nested", "nested"), ("team/cache", "cache")] {
        assert!(registry.client().has(repository, reference), "{repository}:{reference}");
    }
    let moved = registry.client().retag("team/docker", "list", "moved");
    assert_eq!(registry.client().head("team/docker", "moved").digest(), moved);
    skopeo::copy(&registry, "team/docker:list", "team/docker:copied").unwrap();
    assert_eq!(registry.client().head("team/docker", "copied").digest(), moved);
    skopeo::delete(&registry, "team/docker:copied").unwrap();
    assert_eq!(registry.client().tags("team/docker"), ["single"]);
}

#[test]
fn the_same_sentence_makes_the_same_bytes() {
    let registry = Registry::start();
    let push = |repository| Image::new().layer("a").tag("v1").push(&registry, repository);
    assert_eq!(push("one").digest, push("two").digest);
}

#[test]
fn a_thousand_tags_take_seconds() {
    let registry = Registry::start();
    let images: Vec<_> = (0..1000)
        .map(|n| {
            let image = Image::new().layer("base").label("n", &n.to_string()).tag(&format!("v{n}"));
            (format!("team/app{}", n % 2), image)
        })
        .collect();
    let begun = Instant::now();
    let pushed = push_all(&registry, &images);
    assert!(begun.elapsed() < Duration::from_secs(60), "took {:?}", begun.elapsed());
    assert_eq!(pushed[7].tags, ["v7"]);
    assert_eq!(registry.client().tags("team/app1").len(), 500);
}

#[test]
fn which_registry_runs_is_known() {
    let registry = Registry::start();
    let app = Image::new().layer("a").tag("v1").tag("v2").push(&registry, "app");
    // Distribution 2.8 cannot delete a tag, Distribution 3 can.
    let status = registry.client().delete_manifest("app", "v1").status;
    assert_eq!(status, if registry.is_v3() { 202 } else { 400 });
    assert!(registry.client().has("app", &app.digest));
    let named = std::env::var("TEST_REGISTRY").is_ok();
    assert!(named || !registry.is_v3(), "Debian's registry is Distribution 2.8");
}

#[test]
fn a_restart_keeps_the_port_and_the_storage() {
    let mut registry = Registry::start();
    let app = Image::new().layer("a").tag("v1").push(&registry, "app");
    let (host, pid) = (registry.host().to_owned(), registry.pid());
    registry.restart();
    assert_eq!(registry.host(), host);
    assert_ne!(registry.pid(), pid);
    assert!(registry.client().has("app", &app.digest));
    registry.stop();
    assert!(registry.client().try_send("GET", "/v2/", &[], b"").is_err());
    registry.restart_with("/storage/delete/enabled", json!(false));
    registry.client().delete_manifest("app", &app.digest).expect(405, "deleting");
    assert!(registry.log().contains("/v2/app/manifests/"));
}

#[test]
fn passwords_are_asked_for() {
    let registry = Registry::with().htpasswd("tester", "secret").start();
    Image::new().layer("a").tag("v1").push(&registry, "app");
    registry.client().anonymous().get("/v2/app/tags/list").expect(401, "without a password");
    skopeo::pull(&registry, "app:v1").unwrap();
}

#[test]
fn certificates_are_verified() {
    let registry = Registry::with().tls().htpasswd("tester", "secret").start();
    Image::new().layer("a").tag("v1").push(&registry, "app");
    skopeo::pull(&registry, "app:v1").unwrap();
    let curl = |ca_file: &str| {
        let trusts = format!("openssl s_client -verify_return_error -connect {} {ca_file} < /dev/null", registry.host());
        shell(&trusts).run()
    };
    curl(&format!("-CAfile {}", registry.ca_file().display())).succeeds();
    assert_ne!(curl("").code(), Some(0), "an unknown authority is no authority");
}

#[test]
fn tokens_are_verified_by_the_registry() {
    let tokens = TokenServer::start();
    let registry = Registry::with().token_auth(&tokens).start();
    let app = Image::new().layer("a").tag("v1").push(&registry, "team/app");
    let anonymous = registry.client().anonymous();
    let with =
        |token: &str, method: &str, target: &str| anonymous.send(method, target, &[("Authorization", &format!("Bearer {token}"))], b"");
    let challenge = anonymous.get("/v2/team/app/tags/list").expect(401, "without a token");
    let challenge = challenge.header("www-authenticate").unwrap().to_owned();
    assert!(challenge.contains(&tokens.realm()) && challenge.contains("repository:team/app:pull"), "{challenge}");

    let pull = tokens.mint(&["repository:team/app:pull".to_owned()]);
    with(&pull, "GET", "/v2/team/app/tags/list").expect(200, "with a token");
    with(&pull, "GET", "/v2/team/other/tags/list").expect(401, "for another repository");
    with(&pull, "DELETE", &format!("/v2/team/app/manifests/{}", app.digest)).expect(401, "for another action");
    let stranger = TokenServer::start().mint(&["repository:team/app:pull".to_owned()]);
    with(&stranger, "GET", "/v2/team/app/tags/list").expect(401, "signed by a stranger");
    let (body, signature) = pull.rsplit_once('.').unwrap();
    let reversed: String = signature.chars().rev().collect();
    with(&format!("{body}.{reversed}"), "GET", "/v2/team/app/tags/list").expect(401, "with a broken signature");
    with("not a token", "GET", "/v2/team/app/tags/list").expect(401, "with nonsense");

    skopeo::pull(&registry, "team/app:v1").unwrap();
    assert_eq!(tokens.scopes_asked()[0], ["repository:team/app:pull"]);
    tokens.sign_with_foreign_key();
    skopeo::pull(&registry, "team/app:v1").unwrap_err();
}

#[test]
fn a_token_server_asks_for_passwords_and_withholds() {
    let tokens = TokenServer::start().require_credentials("tester", "secret").withhold("delete");
    let registry = Registry::with().token_auth(&tokens).start();
    Image::new().layer("a").tag("v1").push(&registry, "app");
    skopeo::pull(&registry, "app:v1").unwrap_err();
    let url = format!("{}?service=x&scope=repository:app:pull,delete", tokens.realm());
    let basic = [("Authorization", "Basic dGVzdGVyOnNlY3JldA==")];
    let answer = registry.client().anonymous().send("GET", &url, &basic, b"").expect(200, "asking for a token");
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {token}");
    let ask = |method, target: &str| registry.client().anonymous().send(method, target, &[("Authorization", &bearer)], b"").status;
    assert_eq!(ask("GET", "/v2/app/tags/list"), 200);
    assert_eq!(ask("DELETE", &format!("/v2/app/manifests/sha256:{}", "0".repeat(64))), 401);
}

#[test]
fn redis_caches_descriptors() {
    let redis = Redis::start();
    let registry = Registry::with().redis(&redis).start();
    let app = Image::new().layer("a").tag("v1").push(&registry, "app");
    assert!(redis.keys("*").contains(&format!("blobs::{}", app.config)), "{:?}", redis.keys("*"));
    assert_eq!(redis.command(&["HGET", &format!("blobs::{}", app.config), "digest"]), [app.config]);
}

#[test]
fn special_registries_are_special() {
    let registry = Registry::start();
    let digest = Image::new().layer("a").tag("v1").push(&registry, "app").digest;
    for n in 0..5 {
        Image::new().layer("a").tag("v1").push(&registry, &format!("other{n}"));
    }
    let read_only = Registry::with().read_only().storage_of(&registry).start();
    skopeo::pull(&read_only, "app:v1").unwrap();
    read_only.client().delete_manifest("app", &digest).expect(405, "deleting where it is read-only");
    let paged = Registry::with().delete_disabled().catalog_max(4).storage_of(&registry).start();
    paged.client().delete_manifest("app", &digest).expect(405, "deleting where it is disabled");
    let page = paged.client().get("/v2/_catalog?n=4").expect(200, "the first page");
    assert_eq!(page.json()["repositories"].as_array().unwrap().len(), 4);
    assert!(page.header("link").is_some());
}

#[test]
fn damage_below_the_registry_is_seen() {
    let registry = Registry::with().cache_off().start();
    let client = registry.client();
    let first = Image::new().layer("a").tag("v1").push(&registry, "app");
    let second = Image::new().layer("b").tag("v2").push(&registry, "app");
    let third = Image::new().layer("c").tag("v3").push(&registry, "app");
    registry.storage().remove_blob(&first.digest);
    assert_eq!(client.manifest("app", "v1").status, 404);
    registry.storage().empty_tag_link("app", "v2");
    assert_eq!(client.manifest("app", "v2").status, 500);
    assert_eq!(client.manifest("app", &second.digest).status, 200);
    registry.storage().remove_revision("app", &third.digest);
    assert_eq!(client.manifest("app", "v3").status, 404);
    assert_eq!(client.tags("app"), ["v1", "v2", "v3"]);
}

#[test]
fn upstreams_collector_takes_what_was_deleted() {
    let registry = Registry::start();
    let gone = Image::new().layer("gone").tag("v1").push(&registry, "app");
    let stays = Image::new().layer("stays").tag("v2").push(&registry, "app");
    registry.client().delete_manifest("app", &gone.digest).expect(202, "deleting");
    registry.garbage_collect();
    assert!(!registry.storage().blob(&gone.layers[0]).exists());
    assert!(registry.storage().blob(&stays.layers[0]).exists());
    // The in-memory cache still says that the layer is there.
    let head = registry.client().send("HEAD", &format!("/v2/app/blobs/{}", gone.layers[0]), &[], b"");
    assert_eq!(head.status, 200);
    registry.restart();
    let head = registry.client().send("HEAD", &format!("/v2/app/blobs/{}", gone.layers[0]), &[], b"");
    assert_eq!(head.status, 404);
}

fn get(host: &str, target: &str) -> Ran {
    shell(&format!(
        "exec 3<>/dev/tcp/{} && printf 'GET {target} HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n' >&3 && exec cat <&3",
        host.replace(':', "/")
    ))
    .run()
}

#[test]
fn a_scripted_server_does_what_it_is_told() {
    let server = ScriptedServer::start();
    server.on("GET", "/v2/a", Response::status(429).header("Retry-After", "1"));
    server.on("GET", "/v2/a", Response::json(200, json!({"n": 1})));
    server.on("GET", "/v2/a?x=1", Response::text(200, "exact"));
    server.on("GET", "/cut", Response::text(200, "0123456789").cut_body_after(4));
    server.on("GET", "/reset", Response::reset());
    server.on("GET", "/close", Response::close_without_answer());
    server.handle(|request| (request.path() == "/handled").then(|| Response::text(200, request.query())));
    let host = server.host();
    assert!(get(host, "/v2/a").stdout().starts_with("HTTP/1.1 429"));
    assert!(get(host, "/v2/a").stdout().ends_with("{\"n\":1}"));
    assert!(get(host, "/v2/a?y=2").stdout().ends_with("{\"n\":1}"));
    assert!(get(host, "/v2/a?x=1").stdout().ends_with("exact"));
    let cut = get(host, "/cut").stdout();
    assert!(cut.contains("Content-Length: 10") && cut.ends_with("0123"), "{cut}");
    get(host, "/reset").status(1).stderr_has("reset");
    get(host, "/close").succeeds().stdout_is_empty();
    assert!(get(host, "/handled?q").stdout().ends_with("q"));
    assert!(get(host, "/elsewhere").stdout().ends_with("404 page not found\n"));
    assert_eq!(server.count("GET", "/v2/a"), 4);
    assert_eq!(server.requests()[0].line(), "GET /v2/a");
}

#[test]
fn a_proxy_counts_and_breaks() {
    let registry = Registry::start();
    Image::new().layer("a").tag("v1").push(&registry, "app");
    Image::new().layer("a").tag("v1").push(&registry, "bpp");
    let proxy = Proxy::before(&registry);
    let host = proxy.host();
    let ran = get(host, "/v2/_catalog?n=1").stdout();
    assert!(ran.contains("app") && ran.to_lowercase().contains("link: </v2/_catalog"), "{ran}");
    let tags = |request: &Request| request.path().ends_with("/tags/list");
    proxy.once(tags, Response::status(429));
    assert!(get(host, "/v2/app/tags/list").stdout().starts_with("HTTP/1.1 429"));
    assert!(get(host, "/v2/app/tags/list").stdout().contains("v1"));
    proxy.lose_answer_once(tags);
    get(host, "/v2/app/tags/list").stdout_is_empty();
    let before = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&before);
    proxy.run_before(tags, move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    get(host, "/v2/app/tags/list").stdout_has("v1");
    assert_eq!(before.load(Ordering::SeqCst), 1);
    proxy.change(tags, |response| response.set_header("Link", "<http://elsewhere/>; rel=\"next\""));
    get(host, "/v2/app/tags/list").stdout_has("elsewhere");
    assert_eq!(proxy.count(tags), 5);
    let list = tokens_free_push(&registry, host);
    assert!(list.contains("v2"), "{list}");
}

/// Pushes through the proxy with skopeo, which needs uploads and their locations to work.
fn tokens_free_push(registry: &Registry, host: &str) -> String {
    shell(&format!(
        "skopeo --insecure-policy copy --quiet --src-tls-verify=false --dest-tls-verify=false \
         docker://{}/app:v1 docker://{host}/cpp:v2",
        registry.host()
    ))
    .run()
    .succeeds();
    registry.client().tags("cpp").join(" ")
}

#[test]
fn a_gate_stops_the_world_between_request_and_answer() {
    let registry = Registry::start();
    let app = Image::new().layer("a").tag("v1").push(&registry, "app");
    let proxy = Proxy::before(&registry);
    let gate = proxy.hold_after(|request| request.method == "DELETE");
    let target = format!("/v2/app/manifests/{}", app.digest);
    let script = format!(
        "exec 3<>/dev/tcp/{}; printf 'DELETE {target} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' >&3; exec cat <&3",
        proxy.host().replace(':', "/")
    );
    let running = shell(&script).spawn();
    gate.wait();
    assert!(!registry.client().has("app", &app.digest), "the registry has deleted");
    running.kill9();
    gate.open();
    assert_eq!(running.wait().code(), None, "the client was killed before it knew");
}

#[test]
fn a_tool_runs_in_a_clean_environment() {
    Tool::new("reg-list").arg("--version").run().succeeds();
    let ran = shell("env; cat; echo oops >&2; exit 3").stdin("in\n").env("SEEN", "yes").run();
    let ran = ran.status(3).stderr_has("oops").stderr_lacks("in");
    assert!(ran.stdout().contains("SEEN=yes") && ran.stdout().ends_with("in\n"), "{ran}");
    assert!(!ran.stdout().contains("CARGO"), "{ran}");
    let ran = shell("helper x; cat .docker/config.json; pwd").program("helper", "echo \"helps $1\"");
    let ran = ran.home_file(".docker/config.json", "{}\n").run().succeeds();
    assert!(ran.stdout().starts_with("helps x\n{}\n/"), "{ran}");
    let found = shell("command -v reg-list").run().succeeds().stdout();
    assert_eq!(found.trim(), bin_folder().join("reg-list").display().to_string());
}

#[test]
fn a_failure_shows_the_command_and_both_streams() {
    let failure = std::panic::catch_unwind(|| shell("echo out; echo err >&2").run().status(3)).unwrap_err();
    let text = failure.downcast_ref::<String>().unwrap();
    for part in ["expected exit status 3", "echo out; echo err", "exit status: 0", "--- stdout\nout", "--- stderr\nerr"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

#[test]
fn a_running_tool_is_fed_read_and_interrupted() {
    let mut running = shell("while read line; do echo \"got $line\"; done; echo end").spawn();
    running.write("one\n");
    assert_eq!(running.read_line().as_deref(), Some("got one"));
    running.write("two\n");
    let ran = running.wait().succeeds();
    assert_eq!(ran.stdout(), "got one\ngot two\nend\n");

    let mut running = shell("echo ready; exec sleep 1000").spawn();
    running.read_line();
    running.interrupt();
    assert_eq!(running.wait().code(), None);

    let mut running = shell("read go; yes").spawn();
    running.close_stdout();
    running.write("go\n");
    assert_ne!(running.wait().code(), Some(0), "a closed pipe is seen");
}

#[test]
fn a_disk_is_full_in_the_middle_of_a_file() {
    let tool = shell("head -c 100000 /dev/zero > journal; echo $?; stat -c %s journal").disk_full_after(4);
    let ran = tool.run().succeeds().stderr_has("File too large");
    assert_eq!(ran.stdout(), "1\n4096\n");
    shell("echo x > /dev/full").run().status(1).stderr_has("No space left");
}

#[test]
fn records_are_read_by_type() {
    let input = lines(&[json!({"type": "header"}), json!({"type": "use", "n": 1}), json!({"type": "use", "n": 2})]);
    let ran = shell("echo; cat").stdin(input).run();
    assert_eq!(ran.records().len(), 3);
    assert_eq!(ran.records_of("use")[1]["n"], 2);
    assert_eq!(ran.the("header"), json!({"type": "header"}));
}

#[test]
fn a_terminal_is_a_terminal() {
    let streams = "for n in 0 1 2; do [ -t $n ] && echo \"$n's\"; done; true";
    assert!(shell(streams).run().succeeds().stdout().is_empty());
    let ran = shell(streams).in_terminal().run().succeeds();
    assert_eq!(ran.stdout().matches("'s").count(), 3, "{ran}");
    let ran = shell(&format!("{{ {streams}; }} < /dev/null 2> /dev/null; exit 3")).in_terminal().run().status(3);
    assert_eq!(ran.stdout().trim(), "1's");
    assert!(shell("cat; echo end").in_terminal().run().succeeds().stdout().contains("end"));
}
