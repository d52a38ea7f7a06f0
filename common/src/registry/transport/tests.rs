use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::testing::{AUTHORITY, Reply, Server, fault, hang_up, reply, repository, tag};
use super::super::{Registry, TagList};
use super::*;

/// Answers with each reply in turn, and with the last for ever.
fn in_turn(replies: Vec<Reply>) -> Server {
    let count = AtomicUsize::new(0);
    Server::start(move |_| replies[count.fetch_add(1, Ordering::SeqCst).min(replies.len() - 1)].clone())
}

fn tags() -> Reply {
    reply(200, r#"{"name":"a","tags":["1"]}"#)
}

async fn list(server: &Server) -> Result<TagList, Error> {
    server.registry().tags(&repository("a")).await
}

#[tokio::test]
async fn what_passes_is_waited_for() {
    for (trouble, requests) in [
        (vec![reply(429, "").header("Retry-After", "0"), tags()], 2),
        (vec![reply(503, ""), reply(502, ""), reply(500, ""), reply(504, ""), reply(408, ""), tags()], 6),
        (vec![fault(403, "TOOMANYREQUESTS"), tags()], 2),
        (vec![hang_up(), hang_up(), tags()], 3),
        (vec![tags().cut(5), tags().cut(0), tags()], 3),
    ] {
        let server = in_turn(trouble.clone());
        assert_eq!(list(&server).await.unwrap().tags.len(), 1, "{trouble:?}");
        assert_eq!(server.requests().len(), requests, "{trouble:?}");
    }
}

#[tokio::test]
async fn what_lasts_is_an_error_after_six_tries_or_at_once() {
    for (trouble, requests, words) in [
        (reply(503, "overloaded"), 6, "503 Service Unavailable, \"overloaded\""),
        (hang_up(), 6, "the connection was lost"),
        (tags().cut(5), 6, "lost within the answer"),
        (fault(403, "DENIED"), 1, "403 Forbidden, DENIED: as the test wants"),
        (reply(418, ""), 1, "418"),
        (reply(304, ""), 1, "304"),
    ] {
        let server = in_turn(vec![trouble]);
        let error = list(&server).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.is_lasting(), requests == 1, "{error}");
        assert_eq!(server.requests().len(), requests, "{error}");
    }
}

#[tokio::test]
async fn a_wait_that_the_registry_asks_for_is_everyones() {
    let server = in_turn(vec![reply(429, "").header("Retry-After", "1"), tags()]);
    let registry = server.registry();
    let began = Instant::now();
    assert!(registry.tags(&repository("a")).await.is_ok());
    assert!(began.elapsed() >= Duration::from_secs(1));
    let later = Instant::now() + Duration::from_millis(300);
    *lock(&registry.transport.paused_until) = Some(later);
    assert!(registry.clone().tags(&repository("b")).await.is_ok());
    assert!(Instant::now() >= later);
}

#[tokio::test]
async fn an_answer_that_stops_coming_is_given_up() {
    let server = Server::start(|_| reply(200, "{").stalled());
    let mut settings = server.settings();
    settings.timeouts.idle = Duration::from_millis(50);
    let error = Registry::open(&server.host(), &settings).unwrap().tags(&repository("a")).await.unwrap_err();
    assert!(error.to_string().contains("no answer within 0.05 s"), "{error}");
}

#[tokio::test]
async fn no_more_requests_than_jobs_are_in_flight() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now_there, most_there) = (Arc::clone(&now), Arc::clone(&most));
    let server = Server::start(move |_| {
        most_there.fetch_max(now_there.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::yield_now();
        now_there.fetch_sub(1, Ordering::SeqCst);
        tags()
    });
    let settings = Settings { jobs: 2, ..server.settings() };
    let registry = Registry::open(&server.host(), &settings).unwrap();
    let all = (0..40).map(|number| {
        let registry = registry.clone();
        async move { registry.tags(&repository(&format!("r{number}"))).await }
    });
    for result in futures_util::future::join_all(all).await {
        result.unwrap();
    }
    assert!(most.load(Ordering::SeqCst) <= 2);
}

#[tokio::test]
async fn a_redirect_to_another_host_is_given_nothing_that_it_should_not_see() {
    let digest = crate::digest::Digest::of(b"content");
    let other = Server::start(|_| reply(200, "content"));
    let location = other.url("/bucket/x?X-Amz-Signature=SECRET");
    let server = Server::start(move |request| match request.header("authorization") {
        None => reply(401, "").header("WWW-Authenticate", "Basic realm=x"),
        Some(_) => reply(307, "").header("Location", location.clone()),
    });
    let registry = server.registry_of("user", "password");
    assert_eq!(registry.blob(&repository("a"), &digest, 100).await.unwrap(), b"content");
    let seen = &other.requests()[0];
    assert_eq!(seen.path, "/bucket/x?X-Amz-Signature=SECRET");
    assert!(seen.header("authorization").is_none() && seen.header("referer").is_none() && seen.header("cookie").is_none(), "{seen:?}");
    // Its words are not the registry's, and its request for credentials is not answered.
    let stranger = Server::start(|_| reply(401, "").header("WWW-Authenticate", "Basic realm=x"));
    let location = stranger.url("/x?X-Amz-Signature=SECRET");
    let server = Server::start(move |_| reply(307, "").header("Location", location.clone()));
    let error = server.registry_of("user", "password").blob(&repository("a"), &digest, 100).await.unwrap_err();
    assert!(error.is_unauthorized() && !error.to_string().contains("SECRET"), "{error}");
    assert_eq!(stranger.requests().len(), 1);
    assert!(stranger.requests()[0].header("authorization").is_none());
}

#[tokio::test]
async fn a_redirect_that_leads_nowhere_is_no_dead_registry() {
    // A port that was free a moment ago, and on which nothing listens.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let location = format!("http://{dead}/x?sig=SECRET");
    let server = Server::start(move |request| match request.path.as_str() {
        "/v2/a/tags/list" => tags(),
        _ => reply(307, "").header("Location", location.clone()),
    });
    let registry = server.registry();
    registry.tags(&repository("a")).await.unwrap();
    let digest = crate::digest::Digest::of(b"content");
    for requests in [7, 8] {
        let error = registry.blob(&repository("a"), &digest, 100).await.unwrap_err();
        assert!(error.to_string().starts_with(&format!("{dead}: connection refused")), "{error}");
        assert!(!error.is_unreachable(), "{error}");
        assert_eq!(server.requests().len(), requests, "the second time, one try is enough");
    }
}

#[tokio::test]
async fn redirects_end() {
    let server = Server::start(|request| reply(302, "").header("Location", request.path.clone()));
    let error = list(&server).await.unwrap_err();
    assert!(error.to_string().contains("redirected more than 5 times"), "{error}");
    assert_eq!(server.requests().len(), 6);
}

#[test]
fn where_redirects_may_lead() {
    let go =
        |origin: &str, location: &str| redirect_target(&origin.parse().unwrap(), &origin.parse().unwrap(), location).ok().map(String::from);
    let far = "https://r.example.com/v2/a";
    assert_eq!(go(far, "/x?y#z").as_deref(), Some("https://r.example.com/x?y"));
    assert_eq!(go(far, "https://bucket.example.net/x").as_deref(), Some("https://bucket.example.net/x"));
    for location in [
        "http://r.example.com/x",
        "file:///etc/passwd",
        "https://localhost/x",
        "https://127.0.0.1/x",
        "https://[::1]/x",
        "https://169.254.169.254/latest/meta-data",
        "https://metadata.google.internal/x",
        "https://[::ffff:127.0.0.1]/",
        "https://",
    ] {
        assert_eq!(go(far, location), None, "{location}");
    }
    assert!(go("http://127.0.0.1:5000/v2/a", "http://127.0.0.1:9000/x").is_some());
}

#[tokio::test]
async fn what_cannot_be_reached_is_said_in_words_that_help() {
    let settings = Server::start(|_| tags()).settings();
    let ask = async |host: &str, settings: &Settings| {
        let registry = Registry::open(&host.parse().unwrap(), settings)?;
        registry.tags(&repository("a")).await
    };
    // A port that was free a moment ago, and on which nothing listens.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = ask(&free.to_string(), &settings).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{free}: connection refused: nothing listens there; check the host and the port"));
    assert!(error.is_unreachable());

    let error = ask("registry.invalid:5000", &settings).await.unwrap_err();
    assert!(error.to_string().starts_with("registry.invalid:5000: unknown host"), "{error}");

    let server = Server::start(|_| tags());
    let tls = Settings { ca_file: Some(AUTHORITY.into()), ..server.settings() };
    let error = ask(server.host().as_str(), &tls).await.unwrap_err();
    assert!(error.to_string().contains("does not speak TLS") && error.to_string().contains("--plain-http"), "{error}");
    assert_eq!(server.requests().len(), 0);

    // One that hangs up on the first bytes of TLS.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || listener.incoming().take(6).for_each(drop));
    let error = ask(&host, &tls).await.unwrap_err();
    assert!(error.to_string().contains("TLS failed") && error.to_string().contains("--plain-http"), "{error}");

    let server = Server::start_tls(|_| tags());
    let error = ask(server.host().as_str(), &server.settings()).await.unwrap_err();
    assert!(error.to_string().contains("certificate is not trusted") && error.to_string().contains("--ca-file"), "{error}");

    for (path, words) in [("/nonexistent/ca.pem", "/nonexistent/ca.pem: No such file"), ("/dev/null", "no PEM certificate")] {
        let error = ask("localhost:1", &Settings { ca_file: Some(path.into()), ..settings.clone() }).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn tls_with_an_authority_of_ones_own() {
    let server = Server::start_tls(|_| tags());
    let settings = Settings { ca_file: Some(AUTHORITY.into()), ..server.settings() };
    assert!(Registry::open(&server.host(), &settings).unwrap().tags(&repository("a")).await.is_ok());
}

#[tokio::test]
async fn a_loopback_registry_that_turns_out_to_speak_tls_is_spoken_to_by_tls() {
    // As Go's server answers HTTP on a port for TLS. What follows is TLS, which this server does not speak.
    let server = Server::start(|_| reply(400, "Client sent an HTTP request to an HTTPS server.\n"));
    let error = list(&server).await.unwrap_err();
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
    assert_eq!(server.requests().len(), 1);
    // A registry that answered once is not asked otherwise, whatever it says later.
    let server = in_turn(vec![tags(), reply(400, "HTTPS")]);
    let registry = server.registry();
    assert!(registry.tags(&repository("a")).await.is_ok());
    assert_eq!(registry.tags(&repository("a")).await.unwrap_err().status(), Some(400));
}

#[tokio::test]
async fn a_loopback_registry_that_is_to_speak_tls_is_asked_no_other_way() {
    let server = Server::start(|_| tags());
    let settings = Settings { tls_only: true, ..server.settings() };
    let error = Registry::open(&server.host(), &settings).unwrap().tags(&repository("a")).await.unwrap_err();
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn tls_is_never_given_up_for_plain_http() {
    let server = Server::start(|_| tags());
    let settings = Settings { user: Some("user".to_owned()), ca_file: Some(AUTHORITY.into()), ..server.settings() };
    let registry = Registry::open(&server.host(), &settings).unwrap();
    for _ in 0..2 {
        assert!(registry.manifest(&repository("a"), &tag("1")).await.is_err());
    }
    assert_eq!(server.requests().len(), 0);
}
