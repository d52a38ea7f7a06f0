//! Whom it asks, with which credentials, and what it says where nobody answers.

use serde_json::json;
use tests::*;

use super::{list, values};

#[test]
fn which_registry_comes_from_the_operand_or_the_environment() {
    let registry = Registry::start();
    Image::new().layer("a").tag("v1").push(&registry, "team/app");
    Tool::new("reg-list").run().status(2).stderr_has("which registry?").stdout_is_empty();
    Tool::new("reg-list").env("REG_REGISTRY", "").run().status(2).stderr_has("which registry?");
    let ran = Tool::new("reg-list").env("REG_REGISTRY", registry.host()).arg("--count").run().succeeds();
    assert_eq!(ran.the("repository")["tagCount"], 1);
    let ran = Tool::new("reg-list").args(["--registry", registry.host(), "--count"]).run().succeeds();
    assert_eq!(ran.the("repository")["tagCount"], 1);
    for bad in ["registry.example.com/Team", "no host", "/"] {
        Tool::new("reg-list").arg(bad).run().status(2).stderr_has("reg-list: ").stdout_is_empty();
    }
}

#[test]
fn credentials_come_from_the_environment_standard_input_or_a_file() {
    let registry = Registry::with().htpasswd("alice", "open sesame").start();
    Image::new().layer("a").tag("v1").push(&registry, "team/app");
    let count = || list(&registry).arg("--count");
    count().run().status(2).stderr_has("needs credentials").stdout_is_empty();
    count().env("REG_USER", "alice").env("REG_PASSWORD", "open sesame").run().succeeds();
    let wrong = count().env("REG_USER", "alice").env("REG_PASSWORD", "guess").run().status(2).stdout_is_empty();
    wrong.stderr_has("refused the credentials").stderr_lacks("guess");
    count().args(["--user", "alice", "--password-stdin"]).stdin("open sesame\n").run().succeeds();
    count().args(["--user", "alice"]).run().status(2).stderr_has("no password");
    count().args(["--user", "alice", "--password-stdin"]).run().status(2).stderr_has("first line is empty");
    let tool = count().home_file("password", "open sesame\n");
    let file = tool.home().join("password");
    tool.env("REG_USER", "alice").env("REG_PASSWORD_FILE", file).run().succeeds();
    let auths = json!({"auths": {registry.host(): {"username": "alice", "password": "open sesame"}}}).to_string();
    count().home_file(".docker/config.json", &auths).run().succeeds();

    // The password on the first line, repositories on the others.
    let input = format!("open sesame\n{}/team/app\n", registry.host());
    let tool = Tool::new("reg-list").args(["-", "--count", "--user", "alice", "--password-stdin", "--registry", registry.host()]);
    assert_eq!(tool.stdin(input).run().succeeds().the("repository")["tagCount"], 1);
}

#[test]
fn user_and_password_go_to_the_registry_that_was_named_and_to_no_other() {
    let trusted = Registry::with().htpasswd("alice", "open sesame").start();
    Image::new().layer("a").tag("v1").push(&trusted, "team/app");
    let stranger = ScriptedServer::start();
    let challenge = Response::error(401, "UNAUTHORIZED").header("WWW-Authenticate", "Basic realm=\"give\"");
    let _ = stranger.fallback(challenge);
    let lines = format!("{}/team/app\n{}/team/app\n", trusted.host(), stranger.host());
    let credentials = |tool: Tool| tool.env("REG_USER", "alice").env("REG_PASSWORD", "open sesame");
    let ran =
        credentials(Tool::new("reg-list").args(["-", "--count"])).env("REG_REGISTRY", trusted.host()).stdin(lines.clone()).run().status(1);
    assert_eq!(values(&ran, "repository", "complete"), ["true"]);
    let ran = ran.stderr_has(&format!("{}: cannot be listed", stranger.host()));
    assert_eq!(ran.records_of("header").len(), 1);
    let ran = credentials(Tool::new("reg-list").args([trusted.host(), stranger.host(), "--count"])).run().status(2);
    ran.stderr_has("say which with --registry").stdout_is_empty();
    credentials(Tool::new("reg-list").args(["-", "--count"])).stdin(lines).run().status(2).stderr_has("--registry").stdout_is_empty();
    let ran =
        credentials(Tool::new("reg-list").args([trusted.host(), stranger.host(), "--count", "--registry", trusted.host()])).run().status(1);
    assert_eq!(ran.the("repository")["complete"], true);
    assert!(!stranger.requests().is_empty());
    assert!(stranger.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn tokens_are_asked_for_where_the_registry_says() {
    let tokens = TokenServer::start().require_credentials("alice", "open sesame");
    let registry = Registry::with().token_auth(&tokens).start();
    for repository in ["team/app", "team/web"] {
        Image::new().layer("a").tag("v1").push(&registry, repository);
    }
    let ran = list(&registry).env("REG_USER", "alice").env("REG_PASSWORD", "open sesame").run().succeeds();
    assert_eq!(ran.the("trailer")["manifests"], 2);
    list(&registry).env("REG_USER", "alice").env("REG_PASSWORD", "guess").run().status(2).stderr_lacks("guess").stdout_is_empty();
}

#[test]
fn tls_is_verified() {
    let registry = Registry::with().tls().start();
    Image::new().layer("a").tag("v1").push(&registry, "team/app");
    list(&registry).run().status(2).stderr_has("--ca-file").stdout_is_empty();
    let ran = list(&registry).arg("--ca-file").arg(registry.ca_file()).run().succeeds();
    assert_eq!(ran.the("trailer")["manifests"], 1);
    list(&registry).args(["--ca-file", "no-such-file"]).run().status(2).stderr_has("no-such-file");

    let plain = Registry::start();
    list(&plain).arg("--ca-file").arg(registry.ca_file()).run().status(2).stderr_has("does not speak TLS").stdout_is_empty();
}

#[test]
fn a_registry_that_cannot_be_asked_has_no_section() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (host, expected) in [("registry.invalid", "unknown host"), (&port.to_string(), "connection refused")] {
        Tool::new("reg-list").arg(host).run().status(2).stderr_has(expected).stderr_has(host).stdout_is_empty();
    }
    let registry = Registry::start();
    Image::new().layer("a").tag("v1").push(&registry, "team/app");
    let ran = Tool::new("reg-list")
        .args(["registry.invalid", registry.host(), "--count"])
        .run()
        .status(1)
        .stderr_has("registry.invalid: cannot be listed");
    assert_eq!(ran.the("header")["scope"]["registry"], registry.host());
    assert_eq!(ran.the("trailer")["complete"], true);
}

#[test]
fn a_registry_on_standard_input_that_cannot_be_asked_has_no_section() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let input = |host: &str| format!("{host}/a\n{host}/b\n");
    let ask = |host: &str| Tool::new("reg-list").args(["-", "--count"]).stdin(input(host));
    for (host, expected) in [("registry.invalid", "unknown host"), (&port.to_string(), "connection refused")] {
        ask(host).run().status(2).stderr_has(expected).stderr_has("cannot be listed").stdout_is_empty();
    }
    let registry = Registry::with().htpasswd("alice", "open sesame").start();
    Image::new().layer("a").tag("v1").push(&registry, "b");
    ask(registry.host()).run().status(2).stderr_has("needs credentials").stdout_is_empty();
    let wrong = ask(registry.host()).args(["--registry", registry.host()]).env("REG_USER", "alice").env("REG_PASSWORD", "guess");
    wrong.run().status(2).stderr_has("refused the credentials").stderr_lacks("guess").stdout_is_empty();

    // One answer is enough for a section, in which what was refused before stands first.
    let proxy = Proxy::before(&registry);
    let challenge = Response::error(401, "UNAUTHORIZED").header("WWW-Authenticate", "Basic realm=\"x\"");
    let _ = proxy.always(|request| request.path() == "/v2/a/tags/list", challenge);
    let auths = json!({"auths": {proxy.host(): {"username": "alice", "password": "open sesame"}}}).to_string();
    let ran = ask(proxy.host()).home_file(".docker/config.json", &auths).run().status(1);
    assert_eq!(values(&ran, "repository", "repository"), ["a", "b"]);
    assert_eq!(values(&ran, "repository", "complete"), ["false", "true"]);
}

#[test]
fn standard_input_in_a_later_schema_or_without_a_repository_is_refused() {
    let registry = Registry::start();
    let header = json!({"type": "header", "tool": "k8s-images", "version": "9", "schema": 99, "time": "2026-11-20T12:00:00Z"});
    let input = format!("{header}\n{}\n", json!({"type": "use", "image": "x", "registry": registry.host(), "repository": "a"}));
    Tool::new("reg-list").arg("-").stdin(input).run().status(2).stderr_has("schema 99").stdout_is_empty();
    let input = format!("{}\n", registry.host());
    Tool::new("reg-list").arg("-").stdin(input).run().status(2).stderr_has("is a registry and no repository").stdout_is_empty();
}

#[test]
fn a_password_goes_only_where_reg_registry_says() {
    let stranger = ScriptedServer::start();
    let challenge = Response::error(401, "UNAUTHORIZED").header("WWW-Authenticate", "Basic realm=\"give\"");
    let _ = stranger.fallback(challenge);
    let tool = Tool::new("reg-list").arg(stranger.host()).env("REG_REGISTRY", "registry.example.com");
    tool.env("REG_USER", "alice").env("REG_PASSWORD", "open sesame").run().status(2).stderr_has("needs credentials");
    assert!(!stranger.requests().is_empty());
    assert!(stranger.requests().iter().all(|request| request.header("authorization").is_none()));
    let named = Tool::new("reg-list").arg(format!("http://alice:s3cret@{}", stranger.host())).run();
    named.status(2).stderr_has("REG_PASSWORD").stderr_lacks("s3cret");
}

#[test]
fn a_registry_without_a_catalog() {
    let registry = Registry::start();
    for repository in ["team/app", "team/app/below"] {
        Image::new().layer("a").tag("v1").push(&registry, repository);
    }
    for response in [Response::text(404, "404 page not found\n"), Response::error(401, "UNAUTHORIZED"), Response::error(405, "UNSUPPORTED")]
    {
        let proxy = Proxy::before(&registry);
        let status = response.status;
        let _ = proxy.always(|request| request.path() == "/v2/_catalog", response);
        Tool::new("reg-list").arg(proxy.host()).run().status(2).stderr_has("on standard input").stdout_is_empty();
        let ran = Tool::new("reg-list").arg(format!("{}/team/app", proxy.host())).run().succeeds().stderr_has("shows no catalog");
        assert_eq!(values(&ran, "repository", "repository"), ["team/app"], "{status}");
        assert_eq!(ran.records_of("manifest").len(), 1);
        let ran = Tool::new("reg-list").arg(format!("{}/team", proxy.host())).run().status(1);
        assert_eq!(ran.the("repository")["tagCount"], 0);
        let trailer = ran.the("trailer");
        assert_eq!(trailer["complete"], false, "what lies below is unknown, and must not look like nothing");
        assert!(trailer["error"].as_str().unwrap().contains(&status.to_string()), "{trailer}");
        ran.stderr_has("/team: the registry knows no such repository");
        let ran = Tool::new("reg-list").arg("-").stdin(format!("{}/team/app/below\n", proxy.host())).run().succeeds();
        assert_eq!(values(&ran, "repository", "repository"), ["team/app/below"]);
    }
}
