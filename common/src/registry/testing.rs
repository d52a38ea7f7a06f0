//! A registry that does what a test wants: for what a healthy one will not do when asked.
//!
//! Each connection has a thread, as tests have few; the handler sees each request and says what to do with it.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Environment, Registry, Settings, Timeouts};
use crate::reference::{Host, Repository, Target};
use crate::secret::Secret;

/// Who signed [`Server::start_tls`]'s certificate, made once for these tests and good for a hundred years.
pub(super) const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/registry/testing/ca.pem");
const CERTIFICATE: &[u8] = include_bytes!("testing/leaf.pem");
const KEY: &[u8] = include_bytes!("testing/leaf.key");

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: String,
    /// Path and query.
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// `GET /v2/`.
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What to do with a request.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    manner: Manner,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Whole,
    /// Close the connection without a word.
    Hang,
    /// Close it after so many bytes of the body, of which there should be more.
    Cut(usize),
    /// Send the body again and again, without end.
    Endless,
    /// Send the beginning, and then nothing, until the client goes.
    Stall,
}

pub(super) fn reply(status: u16, body: impl Into<Vec<u8>>) -> Reply {
    Reply { status, headers: Vec::new(), body: body.into(), manner: Manner::Whole }
}

/// An error as registries write them.
pub(super) fn fault(status: u16, code: &str) -> Reply {
    reply(status, format!(r#"{{"errors":[{{"code":"{code}","message":"as the test wants"}}]}}"#))
}

pub(super) fn hang_up() -> Reply {
    Reply { manner: Manner::Hang, ..reply(200, "") }
}

impl Reply {
    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn cut(self, at: usize) -> Self {
        Self { manner: Manner::Cut(at), ..self }
    }

    pub(super) fn endless(self) -> Self {
        Self { manner: Manner::Endless, ..self }
    }

    pub(super) fn stalled(self) -> Self {
        Self { manner: Manner::Stall, ..self }
    }
}

/// A server on a free port of this machine, until it is dropped.
pub(super) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    stopped: Arc<AtomicBool>,
}

impl Server {
    pub(super) fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::serve(handler, None)
    }

    pub(super) fn start_tls(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        use rustls::pki_types::pem::PemObject as _;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        let certificates = CertificateDer::pem_slice_iter(CERTIFICATE).collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .unwrap();
        Self::serve(handler, Some(Arc::new(config)))
    }

    fn serve(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let (seen, stop, handler) = (Arc::clone(&requests), Arc::clone(&stopped), Arc::new(handler));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = stream else { break };
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                let (seen, handler, tls) = (Arc::clone(&seen), Arc::clone(&handler), tls.clone());
                std::thread::spawn(move || match tls {
                    None => converse(stream, &*handler, &seen),
                    Some(config) => {
                        let connection = rustls::ServerConnection::new(config).unwrap();
                        converse(rustls::StreamOwned::new(connection, stream), &*handler, &seen);
                    }
                });
            }
        });
        Self { address, requests, stopped }
    }

    pub(super) fn host(&self) -> Host {
        self.address.to_string().parse().unwrap()
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// `GET /v2/…` for each request, in their order.
    pub(super) fn lines(&self) -> Vec<String> {
        self.requests().iter().map(Request::line).collect()
    }

    /// Settings for a client of this server: no credentials, and no patience.
    pub(super) fn settings(&self) -> Settings {
        Settings {
            bound_host: Some(self.host()),
            environment: Environment::new(|name| (name == "XDG_RUNTIME_DIR").then(|| "/nonexistent".into())),
            timeouts: Timeouts { backoff: Duration::from_millis(1), ..Timeouts::default() },
            ..Settings::default()
        }
    }

    /// As [`Server::settings`], with a user and a password.
    pub(super) fn settings_of(&self, user: &str, password: &str) -> Settings {
        Settings { user: Some(user.to_owned()), password: Some(Secret::new(password)), ..self.settings() }
    }

    pub(super) fn registry(&self) -> Registry {
        Registry::open(&self.host(), &self.settings()).unwrap()
    }

    pub(super) fn registry_of(&self, user: &str, password: &str) -> Registry {
        Registry::open(&self.host(), &self.settings_of(user, password)).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections.
        drop(TcpStream::connect(self.address));
    }
}

fn converse<S: Read + Write>(stream: S, handler: &dyn Fn(&Request) -> Reply, seen: &Mutex<Vec<Request>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let request = match read(&mut stream) {
            Received::Request(request) => request,
            // What real servers say to TLS, or to anything that is not HTTP.
            Received::Nonsense => {
                let _ = stream.get_mut().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
                break;
            }
            Received::End => break,
        };
        seen.lock().unwrap().push(request.clone());
        let reply = handler(&request);
        if write(stream.get_mut(), &request, &reply).is_none() {
            break;
        }
    }
}

enum Received {
    Request(Request),
    Nonsense,
    End,
}

fn read<S: Read>(stream: &mut BufReader<S>) -> Received {
    let mut line = || {
        let mut bytes = Vec::new();
        stream.read_until(b'\n', &mut bytes).unwrap_or(0);
        String::from_utf8_lossy(&bytes).trim_end().to_owned()
    };
    let first = line();
    let words: Vec<&str> = first.split(' ').collect();
    let [method, path, "HTTP/1.1"] = words.as_slice() else {
        return if first.is_empty() { Received::End } else { Received::Nonsense };
    };
    let mut request = Request { method: (*method).to_owned(), path: (*path).to_owned(), headers: Vec::new(), body: Vec::new() };
    while let Some((name, value)) = line().split_once(':') {
        request.headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let length = request.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    request.body.resize(length, 0);
    if stream.read_exact(&mut request.body).is_err() {
        return Received::End;
    }
    Received::Request(request)
}

/// Answers; `None` if the connection is to be closed.
fn write<S: Read + Write>(stream: &mut S, request: &Request, reply: &Reply) -> Option<()> {
    if reply.manner == Manner::Hang {
        return None;
    }
    let mut head = format!("HTTP/1.1 {} X\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let given = reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    match reply.manner {
        Manner::Endless => {}
        Manner::Stall => head.push_str(&format!("Content-Length: {}\r\n", reply.body.len() + 1)),
        _ if given => {}
        _ => head.push_str(&format!("Content-Length: {}\r\n", reply.body.len())),
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
    if request.method == "HEAD" {
        return Some(());
    }
    match reply.manner {
        Manner::Cut(at) => {
            stream.write_all(&reply.body[..at]).ok()?;
            None
        }
        Manner::Endless => loop {
            stream.write_all(&reply.body).ok()?;
        },
        Manner::Stall => {
            stream.write_all(&reply.body).ok()?;
            stream.flush().ok()?;
            // Ends when the client goes, or when the stream's limit of time does.
            let _ = stream.read(&mut [0]);
            None
        }
        _ => {
            stream.write_all(&reply.body).ok()?;
            stream.flush().ok()
        }
    }
}

pub(super) fn repository(name: &str) -> Repository {
    name.parse().unwrap()
}

pub(super) fn tag(name: &str) -> Target {
    Target::Tag(name.parse().unwrap())
}
