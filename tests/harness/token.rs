//! A token server: it signs, and the real registry verifies.
//!
//! Tokens are JWTs signed RS256 by the `openssl` command with a key of this server; the certificate travels in the
//! header (`x5c`) and the registry knows it as its `rootcertbundle`, the form that Distribution 2 and 3 both take.
//! Protocol: <https://distribution.github.io/distribution/spec/auth/token/>.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::folder::temporary;
use crate::http::{Listening, Request, Response};
use crate::process::program;
use crate::tls::self_signed;

/// The `service` that registries of the harness name in their challenge.
pub const SERVICE: &str = "registry of a test";
/// The `issuer` that they trust.
pub const ISSUER: &str = "token server of a test";

/// A running token server. A clone is the same server.
#[derive(Clone)]
pub struct TokenServer(Arc<Inner>);

struct Inner {
    signer: Arc<Signer>,
    policy: Arc<Mutex<Policy>>,
    listening: Listening,
    /// Owned here and not by the signers: threads that serve a connection may hold those to the end of the process.
    folder: TempDir,
}

struct Policy {
    credentials: Option<(String, String)>,
    expires_in: u64,
    withheld: Vec<String>,
    overruled: Option<Response>,
    foreign_key: Option<Signer>,
    asked: Vec<Request>,
    minted: HashMap<String, String>,
}

impl TokenServer {
    /// Gives everyone what they ask for, for five minutes.
    pub fn start() -> Self {
        let folder = temporary();
        let signer = Arc::new(Signer::new(folder.path(), "token"));
        let policy = Arc::new(Mutex::new(Policy {
            credentials: None,
            expires_in: 300,
            withheld: Vec::new(),
            overruled: None,
            foreign_key: None,
            asked: Vec::new(),
            minted: HashMap::new(),
        }));
        let (signs, decides) = (Arc::clone(&signer), Arc::clone(&policy));
        let listening = Listening::start(move |request| {
            let mut policy = decides.lock().unwrap();
            policy.asked.push(request.clone());
            policy.answer(request, &signs)
        });
        Self(Arc::new(Inner { signer, policy, listening, folder }))
    }

    /// From now on asks for these basic credentials, and answers 401 to others.
    pub fn require_credentials(self, user: &str, password: &str) -> Self {
        self.policy(|policy| policy.credentials = Some((user.to_owned(), password.to_owned())));
        self
    }

    /// Says `expires_in` seconds from now on. (Registries of version 2 accept a token a minute longer.)
    pub fn expires_in(self, seconds: u64) -> Self {
        self.policy(|policy| policy.expires_in = seconds);
        self
    }

    /// Leaves this action (`delete`, `*`) out of what it grants: a granted subset is no error of the token server.
    pub fn withhold(self, action: &str) -> Self {
        self.policy(|policy| policy.withheld.push(action.to_owned()));
        self
    }

    /// Signs with a key from now on that the registry does not trust.
    pub fn sign_with_foreign_key(&self) {
        self.policy(|policy| policy.foreign_key = Some(Signer::new(self.0.folder.path(), "foreign")));
    }

    /// Answers everything like this from now on; `None` ends it.
    pub fn answer_always(&self, response: Option<Response>) {
        self.policy(|policy| policy.overruled = response);
    }

    /// The realm that a challenge names.
    pub fn realm(&self) -> String {
        format!("http://{}/token", self.0.listening.address)
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.policy(|policy| policy.asked.clone())
    }

    /// The scopes of each request so far, in order.
    pub fn scopes_asked(&self) -> Vec<Vec<String>> {
        self.requests().iter().map(|request| request.parameters("scope")).collect()
    }

    /// The certificate that a registry needs as `rootcertbundle`.
    pub(crate) fn certificate(&self) -> &Path {
        &self.0.signer.certificate
    }

    /// A token for five minutes as the server would give it, without asking.
    pub fn mint(&self, scopes: &[String]) -> String {
        // Fixtures ask for the same again and again, and each signature is a process.
        self.policy(|policy| {
            let minted = policy.minted.entry(scopes.join(" "));
            minted.or_insert_with(|| self.0.signer.token(scopes, 300, &[])).clone()
        })
    }

    fn policy<T>(&self, change: impl FnOnce(&mut Policy) -> T) -> T {
        change(&mut self.0.policy.lock().unwrap())
    }
}

impl Policy {
    fn answer(&self, request: &Request, signer: &Signer) -> Response {
        if let Some(response) = &self.overruled {
            return response.clone();
        }
        if let Some((user, password)) = &self.credentials {
            let basic = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
            let form = request.parameters("password") == [password.clone()] && request.parameters("username") == [user.clone()];
            if request.header("authorization") != Some(basic.as_str()) && !form {
                return Response::error(401, "UNAUTHORIZED");
            }
        }
        let scopes: Vec<String> = request
            .parameters("scope")
            .iter()
            .flat_map(|scope| scope.split(' '))
            .filter(|scope| !scope.is_empty())
            .map(str::to_owned)
            .collect();
        let signer = self.foreign_key.as_ref().unwrap_or(signer);
        let token = signer.token(&scopes, self.expires_in, &self.withheld);
        Response::json(200, json!({"token": token, "access_token": token, "expires_in": self.expires_in}))
    }
}

struct Signer {
    key: PathBuf,
    certificate: PathBuf,
    /// The certificate without its PEM frame, as `x5c` wants it.
    x5c: String,
}

impl Signer {
    fn new(folder: &Path, name: &str) -> Self {
        let (key, certificate) = (folder.join(format!("{name}.key")), folder.join(format!("{name}.crt")));
        self_signed(&key, &certificate, ISSUER, false);
        let pem = std::fs::read_to_string(&certificate).unwrap();
        let x5c = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        Self { key, certificate, x5c }
    }

    fn token(&self, scopes: &[String], expires_in: u64, withheld: &[String]) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let access: Vec<Value> = scopes.iter().filter_map(|scope| granted(scope, withheld)).collect();
        let header = json!({"typ": "JWT", "alg": "RS256", "x5c": [self.x5c]});
        let claims = json!({
            "iss": ISSUER, "sub": "tester", "aud": SERVICE, "jti": now.to_string(),
            "iat": now - 5, "nbf": now - 5, "exp": now + expires_in, "access": access,
        });
        let signed = format!("{}.{}", encoded(&header), encoded(&claims));
        let signature = self.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        let mut child = std::process::Command::new(program("openssl", "openssl"))
            .args(["dgst", "-sha256", "-sign"])
            .arg(&self.key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("openssl starts");
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "openssl dgst -sign ended with {}", output.status);
        output.stdout
    }
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// `repository:host:5000/name:pull,delete`: the name may hold colons, so the actions are split off from the right.
fn granted(scope: &str, withheld: &[String]) -> Option<Value> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    let actions: Vec<&str> = actions.split(',').filter(|action| !withheld.iter().any(|other| other == action)).collect();
    Some(json!({"type": kind, "name": name, "actions": actions}))
}
