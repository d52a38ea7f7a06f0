use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::testing::{Reply, Request, Server, fault, reply, repository, tag};
use super::super::write::{Deletion, delete};
use super::super::{Registry, Settings};
use super::*;

const USER: &str = "user";
const PASSWORD: &str = "pass:word";

fn tags() -> Reply {
    reply(200, r#"{"name":"a","tags":["1"]}"#)
}

fn refuse(challenge: impl Into<String>) -> Reply {
    fault(401, "UNAUTHORIZED").header("WWW-Authenticate", challenge)
}

fn is_basic(request: &Request) -> bool {
    request.header("authorization") == Some(&format!("Basic {}", BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"))))
}

/// A registry and its token server in one: `/token` gives `t1`, `t2`, …, and the rest wants one that `accepts` takes.
fn token_registry(
    token: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
    accepts: impl Fn(&Request, &str) -> bool + Send + Sync + 'static,
    parameters: &'static str,
) -> Server {
    let count = AtomicUsize::new(0);
    Server::start(move |request| {
        if request.path.starts_with("/token") {
            return token(request, count.fetch_add(1, Ordering::SeqCst) + 1);
        }
        let name = request.path.split('/').nth(2).unwrap_or_default();
        match request.header("authorization").and_then(|value| value.strip_prefix("Bearer ")) {
            Some(token) if accepts(request, token) => tags(),
            _ => {
                let host = request.header("host").unwrap_or_default();
                let parameters = parameters.replace("NAME", name);
                refuse(format!("Bearer realm=\"http://{host}/token\",service=\"reg\"{parameters}"))
            }
        }
    })
}

fn token(number: usize) -> Reply {
    reply(200, format!(r#"{{"token":"t{number}","expires_in":300}}"#))
}

const SCOPED: &str = ",scope=\"repository:NAME:pull\"";

fn token_requests(server: &Server) -> Vec<Request> {
    server.requests().into_iter().filter(|request| request.path.starts_with("/token")).collect()
}

#[tokio::test]
async fn basic_is_asked_for_once_and_then_sent_at_once() {
    for challenge in ["Basic realm=\"x\"", "Negotiate, Basic realm=\"x\""] {
        let server =
            Server::start(move |request| if is_basic(request) { tags() } else { refuse(challenge).header("WWW-Authenticate", "X") });
        let registry = server.registry_of(USER, PASSWORD);
        for _ in 0..3 {
            registry.tags(&repository("a")).await.unwrap();
        }
        assert_eq!(server.requests().len(), 4, "{challenge}");
        assert!(!is_basic(&server.requests()[0]));
    }
}

#[tokio::test]
async fn of_two_challenges_the_one_that_can_be_answered() {
    let server = Server::start(|request| {
        if is_basic(request) {
            tags()
        } else {
            reply(401, "").header("WWW-Authenticate", "Negotiate").header("WWW-Authenticate", "Basic realm=x")
        }
    });
    server.registry_of(USER, PASSWORD).tags(&repository("a")).await.unwrap();
}

#[tokio::test]
async fn no_credentials_and_wrong_ones_are_two_sentences() {
    let server = Server::start(|_| refuse("Basic realm=x"));
    let error = server.registry().tags(&repository("a")).await.unwrap_err();
    assert!(error.to_string().contains("none were found for it; set REG_USER and REG_PASSWORD"), "{error}");
    assert_eq!(server.requests().len(), 1);
    let error = server.registry_of(USER, PASSWORD).tags(&repository("a")).await.unwrap_err();
    assert!(error.to_string().contains("refused the credentials from --user or REG_USER") && error.is_unauthorized(), "{error}");
    assert!(!error.to_string().contains(PASSWORD));
    assert_eq!(server.requests().len(), 3);
    let server = Server::start(|_| reply(401, "who are you?"));
    let error = server.registry_of(USER, PASSWORD).tags(&repository("a")).await.unwrap_err();
    assert!(error.to_string().contains("does not say by Basic or Bearer"), "{error}");
}

/// What repositories `m…` are answered, beside others that anyone may read.
fn one_is_odd(challenge: impl Fn(&Request) -> String + Send + Sync + 'static) -> Server {
    Server::start(move |request| match (request.path.starts_with("/v2/m"), request.path.starts_with("/token")) {
        (true, _) => refuse(challenge(request)),
        (_, true) if request.path.contains("repository%3Am") => reply(401, ""),
        (_, true) => token(1),
        _ => tags(),
    })
}

#[tokio::test]
async fn what_one_repository_asks_for_is_not_held_against_the_others() {
    // A port that was free a moment ago, and on which nothing listens.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (challenge, needs_others) in [
        ("Basic realm=x".to_owned(), true),
        ("Bearer realm=\"ftp://x/\"".to_owned(), true),
        (format!("Bearer realm=\"http://{dead}/token\""), false),
        ("Bearer realm=\"http://HOST/token\",scope=\"repository:m:pull\"".to_owned(), true),
    ] {
        let asked = challenge.clone();
        let server = one_is_odd(move |request| asked.replace("HOST", request.header("host").unwrap_or_default()));
        for registry in [server.registry(), server.registry_of(USER, PASSWORD)] {
            for name in ["a", "m", "b", "m2", "c"] {
                let result = registry.tags(&repository(name)).await;
                match result {
                    Ok(_) => assert!(!name.starts_with('m'), "{name} {challenge}"),
                    Err(error) => {
                        assert!(name.starts_with('m'), "{name} {challenge}: {error}");
                        assert!(!error.is_unreachable(), "{challenge}: {error}");
                        assert!(error.needs_other_credentials() == needs_others || error.status() == Some(401), "{challenge}: {error}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn two_repositories_may_have_two_token_servers() {
    let server = Server::start(|request| {
        let host = request.header("host").unwrap_or_default();
        let name = request.path.split('/').nth(2).unwrap_or_default();
        let realm = request.path.split('?').next().and_then(|path| path.strip_prefix("/token/"));
        match (realm, request.header("authorization")) {
            (Some(realm), _) => reply(200, format!(r#"{{"token":"{realm}","expires_in":300}}"#)),
            (None, Some(sent)) if sent == format!("Bearer {name}") => tags(),
            _ => refuse(format!("Bearer realm=\"http://{host}/token/{name}\",service=\"reg\"{}", SCOPED.replace("NAME", name))),
        }
    });
    let registry = server.registry();
    for name in ["a", "b", "a", "b"] {
        registry.tags(&repository(name)).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_server_sends_back_of_the_credentials_is_not_shown() {
    let sent = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
    for (status, echo) in [(403, "HEADER"), (403, PASSWORD), (400, "[SENT]"), (403, "you are called HEADER, PASSWORD and SENT")] {
        let value = sent.clone();
        let server = Server::start(move |request| match request.header("authorization") {
            None => refuse("Basic realm=x"),
            Some(header) => {
                let echo = echo.replace("HEADER", header).replace("PASSWORD", PASSWORD).replace("SENT", &value);
                reply(status, format!(r#"{{"errors":[{{"code":"DENIED","message":"{echo}"}}]}}"#))
            }
        });
        let error = server.registry_of(USER, PASSWORD).tags(&repository("a")).await.unwrap_err().to_string();
        assert!(error.contains("DENIED") && error.contains("***") && !error.contains(PASSWORD) && !error.contains(&sent), "{error}");
    }
    let server = token_registry(|_, number| token(number), |_, token| token == "none", SCOPED);
    let text = server.registry_of(USER, PASSWORD).tags(&repository("a")).await.unwrap_err().to_string();
    assert!(!text.contains("t1") && !text.contains(PASSWORD), "{text}");
    let server = token_registry(|request, _| reply(400, request.header("authorization").unwrap_or("none")), |_, _| true, SCOPED);
    let text = server.registry_of(USER, PASSWORD).tags(&repository("a")).await.unwrap_err().to_string();
    assert!(text.contains("***") && !text.contains(&sent), "{text}");
}

#[tokio::test]
async fn credentials_of_one_registry_are_not_shown_to_another() {
    let server = Server::start(|_| refuse("Basic realm=x"));
    let settings = Settings { bound_host: Some("registry.example.com".parse().unwrap()), ..server.settings_of(USER, PASSWORD) };
    assert!(Registry::open(&server.host(), &settings).unwrap().tags(&repository("a")).await.is_err());
    assert!(server.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[tokio::test]
async fn tokens_are_kept_and_asked_for_before_the_registry_asks() {
    let server = token_registry(|_, number| token(number), |_, _| true, SCOPED);
    let registry = server.registry_of(USER, PASSWORD);
    for name in ["a", "a", "b", "b"] {
        registry.tags(&repository(name)).await.unwrap();
    }
    let lines = server.lines();
    assert_eq!(
        lines,
        [
            "GET /v2/a/tags/list",
            "GET /token?service=reg&scope=repository%3Aa%3Apull",
            "GET /v2/a/tags/list",
            "GET /v2/a/tags/list",
            "GET /token?service=reg&scope=repository%3Ab%3Apull",
            "GET /v2/b/tags/list",
            "GET /v2/b/tags/list",
        ]
    );
    assert!(token_requests(&server).iter().all(is_basic));
}

#[tokio::test]
async fn who_needs_the_same_token_waits_for_it() {
    let server = token_registry(|_, number| token(number), |_, _| true, SCOPED);
    let registry = server.registry();
    let many = (0..20).map(|_| {
        let registry = registry.clone();
        async move { registry.tags(&repository("a")).await }
    });
    for result in futures_util::future::join_all(many).await {
        result.unwrap();
    }
    assert_eq!(token_requests(&server).len(), 1);
}

#[tokio::test]
async fn a_token_that_is_refused_in_the_middle_is_renewed_once() {
    let used = AtomicUsize::new(0);
    // The first token is good for two requests.
    let server =
        token_registry(|_, number| token(number), move |_, token| token == "t2" || used.fetch_add(1, Ordering::SeqCst) < 2, SCOPED);
    let registry = server.registry();
    for _ in 0..4 {
        registry.tags(&repository("a")).await.unwrap();
    }
    assert_eq!(token_requests(&server).len(), 2);
    let server = token_registry(|_, number| token(number), |_, _| false, SCOPED);
    let error = server.registry_of(USER, PASSWORD).tags(&repository("a")).await.unwrap_err();
    assert!(error.to_string().contains("denied: needs scope repository:a:pull"), "{error}");
    assert_eq!(token_requests(&server).len(), 1);
    let error = server.registry().tags(&repository("a")).await.unwrap_err();
    assert!(error.to_string().contains("needs credentials for repository:a:pull and none were found"), "{error}");
}

#[tokio::test]
async fn a_token_without_a_lifetime_is_used_for_a_minute() {
    let server = token_registry(|_, _| reply(200, r#"{"access_token":"x"}"#), |_, token| token == "x", SCOPED);
    let registry = server.registry();
    for _ in 0..3 {
        registry.tags(&repository("a")).await.unwrap();
    }
    assert_eq!(token_requests(&server).len(), 1);
}

#[tokio::test]
async fn a_registry_that_names_no_scope_is_tried_with_what_others_want() {
    // Quay refuses to hear of `delete`, and takes `push`.
    let server = token_registry(
        |request, _| {
            let scope = request.path.split("scope=").nth(1).unwrap_or_default();
            reply(200, format!(r#"{{"token":"{}"}}"#, scope.rsplit("%3A").next().unwrap_or_default()))
        },
        |_, token| token == "pull%2Cpush",
        "",
    );
    let registry = server.registry_of(USER, PASSWORD);
    assert_eq!(delete(&registry, &repository("a"), &tag("1")).await.unwrap(), Deletion::Accepted);
    let scopes: Vec<String> = token_requests(&server).into_iter().map(|request| request.path).collect();
    assert!(scopes[0].ends_with("pull%2Cdelete") && scopes[1].ends_with("*") && scopes[2].ends_with("pull%2Cpush"), "{scopes:?}");
    // What did for one repository is asked for at once for the next.
    assert_eq!(delete(&registry, &repository("b"), &tag("1")).await.unwrap(), Deletion::Accepted);
    assert_eq!(token_requests(&server).len(), 4);
}

#[tokio::test]
async fn a_registry_that_wants_another_scope_each_time_is_given_up() {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |request| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let host = request.header("host").unwrap_or_default();
        if request.path.starts_with("/token") {
            token(number)
        } else {
            refuse(format!("Bearer realm=\"http://{host}/token\",scope=\"s{number}\""))
        }
    });
    assert!(server.registry().tags(&repository("a")).await.unwrap_err().is_unauthorized());
    assert!(server.requests().len() <= 2 * REFUSALS as usize);
}

#[tokio::test]
async fn a_wrong_password_at_the_token_server_is_tried_once() {
    let server = token_registry(|_, _| reply(401, r#"{"details":"incorrect username or password"}"#), |_, _| true, SCOPED);
    let registry = server.registry_of(USER, PASSWORD);
    for _ in 0..3 {
        let error = registry.tags(&repository("a")).await.unwrap_err();
        assert!(error.to_string().contains("refused the credentials from --user or REG_USER"), "{error}");
    }
    assert_eq!(token_requests(&server).len(), 1);
}

#[tokio::test]
async fn a_token_server_that_passes_is_waited_for_and_one_that_talks_too_much_is_not() {
    let busy = token_registry(|_, number| if number < 3 { reply(503, "") } else { token(number) }, |_, _| true, SCOPED);
    busy.registry().tags(&repository("a")).await.unwrap();
    assert_eq!(token_requests(&busy).len(), 3);
    let endless = token_registry(|_, _| reply(200, vec![b'x'; 4096]).endless(), |_, _| true, SCOPED);
    let error = endless.registry().tags(&repository("a")).await.unwrap_err();
    assert!(error.to_string().contains("more than the 65536 bytes"), "{error}");
    let elsewhere = token_registry(|_, _| reply(307, "").header("Location", "http://127.0.0.1:1/"), |_, _| true, SCOPED);
    let error = elsewhere.registry_of(USER, PASSWORD).tags(&repository("a")).await.unwrap_err();
    assert!(error.to_string().contains("redirects to 127.0.0.1, which is not followed"), "{error}");
}

#[tokio::test]
async fn identity_tokens_are_exchanged_and_else_sent_as_a_password() {
    for (status, requests) in [(200, vec!["POST /token"]), (404, vec!["POST /token", "GET /token?service=reg&scope=repository%3Aa%3Apull"])]
    {
        let server = token_registry(
            move |request, number| if request.method == "POST" && status == 404 { reply(404, "") } else { token(number) },
            |_, _| true,
            SCOPED,
        );
        let json = format!(r#"{{"auths":{{"{}":{{"identitytoken":"IDENTITY"}}}}}}"#, server.host());
        let environment = super::super::Environment::new(move |name| match name {
            "DOCKER_AUTH_CONFIG" => Some(json.clone().into()),
            "XDG_RUNTIME_DIR" => Some("/nonexistent".into()),
            _ => None,
        });
        let settings = Settings { environment, ..server.settings() };
        Registry::open(&server.host(), &settings).unwrap().tags(&repository("a")).await.unwrap();
        let asked = token_requests(&server);
        assert_eq!(asked.iter().map(Request::line).collect::<Vec<_>>(), requests);
        let form = String::from_utf8(asked[0].body.clone()).unwrap();
        assert!(
            form.contains("grant_type=refresh_token") && form.contains("refresh_token=IDENTITY") && form.contains("service=reg"),
            "{form}"
        );
        assert!(asked[0].header("authorization").is_none());
    }
}

#[tokio::test]
async fn a_token_server_on_another_host_is_asked_without_credentials_or_not_at_all() {
    // A name of this machine that looks like a stranger's: it is never resolved, because it is refused before.
    for (realm, words) in [
        ("http://user:pw@127.0.0.1/token", "named with a user"),
        ("ftp://127.0.0.1/token", "not spoken to by TLS"),
        ("nonsense", "is no URL"),
    ] {
        let server = Server::start(move |_| refuse(format!("Bearer realm=\"{realm}\",scope=\"x\"")));
        let error = server.registry_of(USER, PASSWORD).tags(&repository("a")).await.unwrap_err();
        assert!(error.to_string().contains(words) && error.is_unauthorized(), "{error}");
    }
}

#[tokio::test]
async fn an_unrelated_token_server_gets_no_credentials() {
    // The registry is known by a name, through which nobody is asked: what is sent where is decided by `fetch`, for a realm that
    // is this server, and a registry that is another.
    let stranger = Server::start(|request| if request.header("authorization").is_some() { token(1) } else { reply(401, "") });
    let near = stranger.settings_of(USER, PASSWORD);
    let host: Host = "registry.example.com".parse().unwrap();
    let settings = Settings { bound_host: Some(host.clone()), ..near };
    let auth = Auth::new(&host, &settings);
    let transport = Transport::new(&host, &settings).unwrap();
    let name = repository("a");
    let bearer = Challenge::Bearer { realm: stranger.url("/token").parse().unwrap(), service: None };
    *lock(&auth.challenge) = Some(bearer.clone());
    let access = Access::Pull(&name);
    let error = auth.fetch(&transport, access, &bearer, &Scope::parse("x")).await.unwrap_err();
    assert!(
        error.to_string().contains("looks unrelated to the registry") && error.to_string().contains("--auth-host 127.0.0.1"),
        "{error}"
    );
    assert!(stranger.requests().iter().all(|request| request.header("authorization").is_none()));
    let named = Auth::new(&host, &Settings { auth_hosts: vec!["127.0.0.1".parse().unwrap()], ..settings });
    assert!(named.fetch(&transport, access, &bearer, &Scope::parse("x")).await.is_ok());
}

#[tokio::test]
async fn no_secret_is_in_any_error() {
    let secret = "hunter2-SECRET";
    for server in [
        Server::start(|_| refuse("Basic realm=x")),
        Server::start(|_| reply(500, "oops")),
        Server::start(|_| reply(200, "SECRET no json").cut(3)),
        token_registry(|_, _| reply(403, ""), |_, _| true, SCOPED),
        token_registry(|_, _| reply(200, "SECRET"), |_, _| true, SCOPED),
        token_registry(|_, _| reply(200, r#"{"token":"SECRET\n"}"#), |_, _| true, SCOPED),
        token_registry(|_, _| reply(200, r#"{"token":"SECRET"}"#), |_, _| false, SCOPED),
    ] {
        let registry = server.registry_of("user", secret);
        let error = registry.tags(&repository("a")).await.unwrap_err();
        let shown = format!("{error} {error:?} {registry:?}");
        assert!(!shown.contains("SECRET") && !shown.contains(&BASE64_STANDARD.encode(format!("user:{secret}"))), "{shown}");
    }
}
