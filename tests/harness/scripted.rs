//! A server that answers as a test says: for what a healthy registry will not do on demand.
//!
//! ```no_run
//! # use tests::*; use serde_json::json;
//! let server = ScriptedServer::start();
//! server.on("GET", "/v2/_catalog", Response::status(429).header("Retry-After", "1"));
//! server.on("GET", "/v2/_catalog", Response::json(200, json!({"repositories": ["a"]})));
//! Tool::new("reg-list").arg(server.host()).run();
//! assert_eq!(server.count("GET", "/v2/_catalog"), 2);
//! ```
//!
//! Answers to one method and path are given in the order in which they were scripted; the last one stays. A path with
//! `?` must match path and query, one without matches every query. HEAD falls back to what is scripted for GET.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use crate::http::Listening;
pub use crate::http::{Request, Response};

type Handler = Arc<dyn Fn(&Request) -> Option<Response> + Send + Sync>;

#[derive(Default)]
struct Script {
    answers: Vec<(String, String, VecDeque<Response>)>,
    handlers: Vec<Handler>,
    fallback: Option<Response>,
    requests: Vec<Request>,
}

/// The server; its port closes when it is dropped.
pub struct ScriptedServer {
    listening: Listening,
    script: Arc<Mutex<Script>>,
}

impl ScriptedServer {
    /// Listens on a free port of the loopback. `GET /v2/` is answered 200, everything else 404 in plain text.
    pub fn start() -> Self {
        let script = Arc::new(Mutex::new(Script::default()));
        let shared = Arc::clone(&script);
        let listening = Listening::start(move |request| {
            let handlers = {
                let mut script = shared.lock().unwrap();
                script.requests.push(request.clone());
                script.handlers.clone()
            };
            // The lock is not held while they run, so that they may look at the server.
            let handled = handlers.iter().find_map(|handler| handler(request));
            handled.unwrap_or_else(|| shared.lock().unwrap().answer(request))
        });
        Self { listening, script }
    }

    /// `127.0.0.1:PORT`, as an operand of a tool.
    pub fn host(&self) -> &str {
        &self.listening.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.host())
    }

    /// Scripts the next answer to this method and path.
    pub fn on(&self, method: &str, path: &str, response: Response) -> &Self {
        let mut script = self.script.lock().unwrap();
        match script.answers.iter_mut().find(|(m, p, _)| m == method && p == path) {
            Some((_, _, queue)) => queue.push_back(response),
            None => script.answers.push((method.to_owned(), path.to_owned(), [response].into())),
        }
        drop(script);
        self
    }

    /// Asks this function first; where it gives nothing the scripted answers follow.
    pub fn handle(&self, handler: impl Fn(&Request) -> Option<Response> + Send + Sync + 'static) -> &Self {
        self.script.lock().unwrap().handlers.push(Arc::new(handler));
        self
    }

    /// What everything else is answered.
    pub fn fallback(&self, response: Response) -> &Self {
        self.script.lock().unwrap().fallback = Some(response);
        self
    }

    /// Every request so far, in the order of arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.script.lock().unwrap().requests.clone()
    }

    /// How many requests of this method came to this path, by the rules of [`on`](Self::on), without HEAD's fallback.
    pub fn count(&self, method: &str, path: &str) -> usize {
        self.requests().iter().filter(|request| request.method == method && matches(path, request)).count()
    }
}

fn matches(path: &str, request: &Request) -> bool {
    if path.contains('?') { request.target == path } else { request.path() == path }
}

impl Script {
    fn answer(&mut self, request: &Request) -> Response {
        let methods: &[&str] = if request.method == "HEAD" { &["HEAD", "GET"] } else { &[&request.method] };
        for method in methods {
            // What is scripted with its query is the more exact answer.
            for exact in [true, false] {
                let found = self.answers.iter_mut().find(|(m, p, _)| m == method && p.contains('?') == exact && matches(p, request));
                if let Some((_, _, queue)) = found {
                    let next = if queue.len() > 1 { queue.pop_front() } else { queue.front().cloned() };
                    return next.expect("a scripted path has an answer");
                }
            }
        }
        match &self.fallback {
            Some(response) => response.clone(),
            None if request.path() == "/v2/" => Response::json(200, serde_json::json!({})),
            None => Response::text(404, "404 page not found\n"),
        }
    }
}
