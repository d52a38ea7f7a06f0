//! A proxy in front of a real registry or cluster that counts requests, breaks some of them, and stops the world in between.
//!
//! ```no_run
//! # use tests::*; let registry = Registry::start();
//! let proxy = Proxy::before(&registry);
//! proxy.once(|request| request.method == "DELETE", Response::status(429).header("Retry-After", "0"));
//! let gate = proxy.hold_after(|request| request.method == "DELETE");
//! let running = Tool::new("reg-delete").args(["--yes", "--registry", proxy.host()]).spawn();
//! gate.wait();        // the registry has deleted, the tool does not know it yet
//! running.kill9();
//! gate.open();
//! ```
//!
//! Rules are tried in the order in which they were made; the first that fits and is not used up decides. The registry
//! sees the `Host` by which the proxy was asked, so its `Location` and `Link` lead through the proxy.
//!
//! It speaks plain HTTP to the client, also where the server behind it speaks TLS, so a token is seen, and may be asserted.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::cluster::Cluster;
use crate::http::{Listening, Request, Response};
use crate::registry::Registry;

type Fits = Box<dyn Fn(&Request) -> bool + Send + Sync>;
type Before = Arc<dyn Fn(&Request) + Send + Sync>;
type Rewrite = Arc<dyn Fn(Request) -> Request + Send + Sync>;
type After = Arc<dyn Fn(&Request, Response) -> Response + Send + Sync>;

#[derive(Clone)]
enum Action {
    /// Answers without asking the server.
    Instead(Response),
    /// Does something, then asks the server.
    Before(Before),
    /// Asks the server for something else.
    Otherwise(Rewrite),
    /// Asks the server, then does something and may change the answer.
    After(After),
}

struct Rule {
    fits: Fits,
    /// How many fitting requests pass before this rule begins.
    passes: usize,
    /// How often it acts; `None` for ever.
    times: Option<usize>,
    action: Action,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    requests: Vec<Request>,
}

/// A running proxy.
pub struct Proxy {
    listening: Listening,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    /// Forwards everything to this registry; credentials are those of whoever asks.
    pub fn before(registry: &Registry) -> Self {
        Self::forwarding_to(registry.client().anonymous())
    }

    /// Forwards everything to this cluster's API server; the token is that of whoever asks.
    pub fn before_cluster(cluster: &Cluster) -> Self {
        Self::forwarding_to(cluster.client().anonymous())
    }

    fn forwarding_to(client: Client) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let listening = Listening::start(move |request| {
            // The lock is not held while the action runs: actions stop the world, and look at the proxy.
            let action = shared.lock().unwrap().decide(request);
            match action {
                Some(Action::Instead(response)) => response,
                Some(Action::Before(before)) => {
                    before(request);
                    forward(&client, request)
                }
                Some(Action::Otherwise(rewrite)) => forward(&client, &rewrite(request.clone())),
                Some(Action::After(after)) => after(request, forward(&client, request)),
                None => forward(&client, request),
            }
        });
        Self { listening, state }
    }

    /// `127.0.0.1:PORT`, as an operand of a tool.
    pub fn host(&self) -> &str {
        &self.listening.address
    }

    /// `http://127.0.0.1:PORT`, as the `server` of a kubeconfig.
    pub fn url(&self) -> String {
        format!("http://{}", self.host())
    }

    /// Answers every fitting request like this, and does not forward it.
    pub fn always(&self, fits: impl Fn(&Request) -> bool + Send + Sync + 'static, response: Response) -> &Self {
        self.rule(fits, 0, None, Action::Instead(response))
    }

    /// Answers the next fitting request like this, and does not forward it.
    pub fn once(&self, fits: impl Fn(&Request) -> bool + Send + Sync + 'static, response: Response) -> &Self {
        self.rule(fits, 0, Some(1), Action::Instead(response))
    }

    /// Lets `passes` fitting requests through and answers those after them like this.
    pub fn after_some(&self, passes: usize, fits: impl Fn(&Request) -> bool + Send + Sync + 'static, response: Response) -> &Self {
        self.rule(fits, passes, None, Action::Instead(response))
    }

    /// Runs this before the next fitting request is forwarded: what somebody else does just then.
    pub fn run_before(
        &self,
        fits: impl Fn(&Request) -> bool + Send + Sync + 'static,
        action: impl Fn(&Request) + Send + Sync + 'static,
    ) -> &Self {
        self.rule(fits, 0, Some(1), Action::Before(Arc::new(action)))
    }

    /// Runs this after the registry answered the next fitting request, before the answer goes on.
    pub fn run_after(
        &self,
        fits: impl Fn(&Request) -> bool + Send + Sync + 'static,
        action: impl Fn(&Request) + Send + Sync + 'static,
    ) -> &Self {
        let action = move |request: &Request, response| {
            action(request);
            response
        };
        self.rule(fits, 0, Some(1), Action::After(Arc::new(action)))
    }

    /// Changes every fitting request before it is forwarded: a server that knows less than the client asks for.
    pub fn rewrite(
        &self,
        fits: impl Fn(&Request) -> bool + Send + Sync + 'static,
        rewrite: impl Fn(Request) -> Request + Send + Sync + 'static,
    ) -> &Self {
        self.rule(fits, 0, None, Action::Otherwise(Arc::new(rewrite)))
    }

    /// Changes every answer to a fitting request: a host in a `Link`, a digest that lies, a body that is cut.
    pub fn change(
        &self,
        fits: impl Fn(&Request) -> bool + Send + Sync + 'static,
        change: impl Fn(Response) -> Response + Send + Sync + 'static,
    ) -> &Self {
        self.rule(fits, 0, None, Action::After(Arc::new(move |_, response| change(response))))
    }

    /// Forwards the next fitting request and closes the connection instead of giving the answer.
    pub fn lose_answer_once(&self, fits: impl Fn(&Request) -> bool + Send + Sync + 'static) -> &Self {
        self.rule(fits, 0, Some(1), Action::After(Arc::new(|_, _| Response::close_without_answer())))
    }

    /// Holds the next fitting request before it is forwarded, until the gate opens.
    pub fn hold_before(&self, fits: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Gate {
        let gate = Gate::default();
        let at = gate.clone();
        self.run_before(fits, move |_| at.arrive());
        gate
    }

    /// Holds the answer to the next fitting request, until the gate opens.
    pub fn hold_after(&self, fits: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Gate {
        let gate = Gate::default();
        let at = gate.clone();
        self.run_after(fits, move |_| at.arrive());
        gate
    }

    /// Every request so far, in the order of arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    /// How many requests so far fit.
    pub fn count(&self, fits: impl Fn(&Request) -> bool) -> usize {
        self.requests().iter().filter(|request| fits(request)).count()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.state.lock().unwrap().requests.clear();
    }

    fn rule(&self, fits: impl Fn(&Request) -> bool + Send + Sync + 'static, passes: usize, times: Option<usize>, action: Action) -> &Self {
        self.state.lock().unwrap().rules.push(Rule { fits: Box::new(fits), passes, times, action });
        self
    }
}

impl State {
    fn decide(&mut self, request: &Request) -> Option<Action> {
        self.requests.push(request.clone());
        for rule in self.rules.iter_mut().filter(|rule| rule.times != Some(0)) {
            if !(rule.fits)(request) {
                continue;
            }
            if rule.passes > 0 {
                rule.passes -= 1;
                continue;
            }
            rule.times = rule.times.map(|times| times - 1);
            return Some(rule.action.clone());
        }
        None
    }
}

fn forward(client: &Client, request: &Request) -> Response {
    let headers: Vec<(&str, &str)> = request
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| !["connection", "content-length", "transfer-encoding", "accept-encoding"].contains(name))
        .collect();
    match client.try_send(&request.method, &request.target, &headers, &request.body) {
        Ok(answer) => {
            let mut response = Response::status(answer.status).body(answer.body);
            for (name, value) in &answer.headers {
                let framing = ["connection", "transfer-encoding"].contains(&name.as_str());
                // The answer to HEAD has a length and no body; all others get the length of the body they have.
                if !framing && (name != "content-length" || request.method == "HEAD") {
                    response = response.header(name, value);
                }
            }
            response
        }
        Err(error) => Response::text(502, &format!("the server behind the proxy did not answer: {error}\n")),
    }
}

/// Where a held request waits.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<Progress>, Condvar)>);

#[derive(Debug, Default)]
struct Progress {
    arrived: bool,
    open: bool,
}

impl Gate {
    /// Waits until the request is held here.
    pub fn wait(&self) {
        self.wait_until("no request came to the gate", |progress| progress.arrived);
    }

    /// Lets the request go on.
    pub fn open(&self) {
        self.0.0.lock().unwrap().open = true;
        self.0.1.notify_all();
    }

    fn arrive(&self) {
        self.0.0.lock().unwrap().arrived = true;
        self.0.1.notify_all();
        self.wait_until("nobody opened the gate", |progress| progress.open);
    }

    fn wait_until(&self, otherwise: &str, condition: impl Fn(&Progress) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut progress = self.0.0.lock().unwrap();
        while !condition(&progress) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{otherwise} within a minute");
            progress = self.0.1.wait_timeout(progress, left).unwrap().0;
        }
    }
}
