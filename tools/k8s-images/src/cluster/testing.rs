//! An API server that does what a test wants: for what a real one will not do when asked. And what real ones send, in small.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;

use super::message::{ListMeta, MAGIC, TypeMeta, Unknown};
use super::request::Requests;
use super::retry::Patience;

/// The first of two pages of PodTemplates with one each, as Kubernetes 1.35.4 sent it.
const POD_TEMPLATES: &str = "azhzAAoVCgJ2MRIPUG9kVGVtcGxhdGVMaXN0EsYICk4KABIDNzk0GkNleUoySWpvaWJXVjBZUzVyT0hNdWFXOHZkakVpTENKeWRpSTZOemswTENKemRHRnlkQ0k2SW\
     k5aFhIVXdNREF3SW4wIAES8wcK5AUKAWESABoHZGVmYXVsdCIAKiRhMTBlZTQwMC0zOWVhLTRjZWMtOTI0ZC1iYWYyZDk3MTkwMWUyAzc5MzgBQggI7aWD2AYQAIoB\
     mQUKAXQSBlVwZGF0ZRoCdjEiCAjtpYPYBhAAMghGaWVsZHNWMTrxBAruBHsiZjp0ZW1wbGF0ZSI6eyJmOnNwZWMiOnsiZjpjb250YWluZXJzIjp7Ims6e1wibmFtZV\
     wiOlwiY1wifSI6eyIuIjp7fSwiZjppbWFnZSI6e30sImY6aW1hZ2VQdWxsUG9saWN5Ijp7fSwiZjpuYW1lIjp7fSwiZjpyZXNvdXJjZXMiOnt9LCJmOnRlcm1pbmF0\
     aW9uTWVzc2FnZVBhdGgiOnt9LCJmOnRlcm1pbmF0aW9uTWVzc2FnZVBvbGljeSI6e319fSwiZjpkbnNQb2xpY3kiOnt9LCJmOmluaXRDb250YWluZXJzIjp7Ii4iOn\
     t9LCJrOntcIm5hbWVcIjpcImlcIn0iOnsiLiI6e30sImY6aW1hZ2UiOnt9LCJmOmltYWdlUHVsbFBvbGljeSI6e30sImY6bmFtZSI6e30sImY6cmVzb3VyY2VzIjp7\
     fSwiZjp0ZXJtaW5hdGlvbk1lc3NhZ2VQYXRoIjp7fSwiZjp0ZXJtaW5hdGlvbk1lc3NhZ2VQb2xpY3kiOnt9fX0sImY6cmVzdGFydFBvbGljeSI6e30sImY6c2NoZW\
     R1bGVyTmFtZSI6e30sImY6c2VjdXJpdHlDb250ZXh0Ijp7fSwiZjp0ZXJtaW5hdGlvbkdyYWNlUGVyaW9kU2Vjb25kcyI6e30sImY6dm9sdW1lcyI6eyIuIjp7fSwi\
     azp7XCJuYW1lXCI6XCJ2XCJ9Ijp7Ii4iOnt9LCJmOmltYWdlIjp7Ii4iOnt9LCJmOnB1bGxQb2xpY3kiOnt9LCJmOnJlZmVyZW5jZSI6e319LCJmOm5hbWUiOnt9fX\
     19fX1CABKJAgoQCgASABoAIgAqADIAOABCABL0AQogCgF2EhvyARgKCHIuaW8vdjoxEgxJZk5vdFByZXNlbnQSRQoBYxIIci5pby9jOmEqAEIAahQvZGV2L3Rlcm1p\
     bmF0aW9uLWxvZ3IMSWZOb3RQcmVzZW50gAEAiAEAkAEAogEERmlsZRoGQWx3YXlzIB4yDENsdXN0ZXJGaXJzdEIASgBSAFgAYABoAHIAggEAigEAmgERZGVmYXVsdC\
     1zY2hlZHVsZXKiAUUKAWkSCHIuaW8vaToxKgBCAGoUL2Rldi90ZXJtaW5hdGlvbi1sb2dyDElmTm90UHJlc2VudIABAIgBAJABAKIBBEZpbGXCAQAaACIA";

/// What the same server said to somebody without any right who asked for pods.
const FORBIDDEN: &str = "azhzAAoMCgJ2MRIGU3RhdHVzEpIBCgYKABIAGgASB0ZhaWx1cmUaYXBvZHMgaXMgZm9yYmlkZGVuOiBVc2VyICJub2JvZHkiIGNhbm5vdCBsaXN0IHJlc291cmNlIC\
     Jwb2RzIiBpbiBBUEkgZ3JvdXAgIiIgYXQgdGhlIGNsdXN0ZXIgc2NvcGUiCUZvcmJpZGRlbioOCgASABoEcG9kcygAMgAwkwMaACIA";

pub(super) fn pod_templates() -> Vec<u8> {
    STANDARD.decode(POD_TEMPLATES).unwrap()
}

pub(super) fn forbidden() -> Vec<u8> {
    STANDARD.decode(FORBIDDEN).unwrap()
}

/// What a server answers in protobuf.
pub(super) fn enveloped(kind: &str, raw: Vec<u8>) -> Vec<u8> {
    let unknown = Unknown { type_meta: Some(TypeMeta { kind: Some(kind.to_owned()) }), raw: Some(raw) };
    [&MAGIC[..], &unknown.encode_to_vec()].concat()
}

/// Any list.
#[derive(Clone, PartialEq, prost::Message)]
struct List {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ListMeta>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    items: Vec<Vec<u8>>,
}

/// A page of a list of a version, with the token of the next.
pub(super) fn page(kind: &str, version: &str, token: &str, items: Vec<Vec<u8>>) -> Vec<u8> {
    let metadata = ListMeta { resource_version: Some(version.to_owned()), r#continue: Some(token.to_owned()), ..ListMeta::default() };
    enveloped(kind, List { metadata: Some(metadata), items }.encode_to_vec())
}

/// What a server answers.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    status: u16,
    headers: String,
    body: Vec<u8>,
    manner: Manner,
}

#[derive(Debug, Clone, Copy)]
enum Manner {
    Whole,
    /// Close the connection before so many bytes at the end of the body.
    Cut(usize),
    /// The same, without having said how long the body is.
    EndEarly(usize),
    /// Nothing.
    Silence,
    /// Send so many bytes at the end of the body only after so many requests came in all.
    Hold(usize, usize),
}

pub(super) fn reply(status: u16, body: impl Into<Vec<u8>>) -> Reply {
    Reply { status, headers: String::new(), body: body.into(), manner: Manner::Whole }
}

/// A refusal, as servers write them.
pub(super) fn refusal(status: u16, reason: &str, message: &str) -> Reply {
    let body = serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": status});
    reply(status, body.to_string())
}

impl Reply {
    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    pub(super) fn cut(self, lacks: usize) -> Self {
        Self { manner: Manner::Cut(lacks), ..self }
    }

    pub(super) fn end_early(self, lacks: usize) -> Self {
        Self { manner: Manner::EndEarly(lacks), ..self }
    }

    pub(super) fn hold(self, lacks: usize, requests: usize) -> Self {
        Self { manner: Manner::Hold(lacks, requests), ..self }
    }

    pub(super) fn silence() -> Self {
        Self { manner: Manner::Silence, ..reply(200, "") }
    }
}

/// An API server, without TLS. Its threads end with their connections.
pub(super) struct Server {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// The handler is given the path and query of a request, and how often the same came before.
    pub(super) fn start(handler: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (handler, known) = (Arc::new(handler), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (handler, known) = (Arc::clone(&handler), Arc::clone(&known));
                std::thread::spawn(move || serve(stream, &*handler, &known));
            }
        });
        Self { url, seen }
    }

    /// What was asked for: path, query and `Accept`.
    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// A client of it. Which waits are so short that no test is slow.
    pub(super) fn client(&self) -> kube::Client {
        client(&self.url)
    }

    /// Requests to it.
    pub(super) fn requests(&self) -> Requests {
        Requests::new(self.client(), PATIENCE)
    }
}

/// A client of a server, as the tool makes them.
pub(super) fn client(url: &str) -> kube::Client {
    let mut config = kube::Config::new(url.parse().unwrap());
    config.root_cert = Some(Vec::new());
    config.default_retry = false;
    kube::Client::try_from(config).unwrap()
}

/// The URL of a server that is not there.
pub(super) fn nowhere() -> String {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", free.local_addr().unwrap())
}

/// Long enough for a busy machine where somebody answers, and short where nobody does.
pub(super) const PATIENCE: Patience = Patience { tries: 3, backoff: Duration::from_millis(1), silence: Duration::from_secs(20) };

fn serve(stream: TcpStream, handler: &(dyn Fn(&str, usize) -> Reply + Send + Sync), seen: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut lines = reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty());
        let Some(first) = lines.next() else { return };
        let accept = lines.find_map(|line| line.strip_prefix("accept: ").map(str::to_owned)).unwrap_or_default();
        lines.for_each(drop);
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let times = {
            let mut seen = seen.lock().unwrap();
            seen.push(format!("{path} {accept}"));
            seen.iter().filter(|known| known.split(' ').next() == Some(&path)).count() - 1
        };
        let reply = handler(&path, times);
        if !send(&stream, &reply, seen) {
            return;
        }
    }
}

/// Whether the connection may be used again.
fn send(mut stream: &TcpStream, reply: &Reply, seen: &Mutex<Vec<String>>) -> bool {
    let Reply { status, headers, body, manner } = reply;
    let length = if matches!(manner, Manner::EndEarly(_)) {
        "connection: close\r\n".to_owned()
    } else {
        format!("content-length: {}\r\n", body.len())
    };
    let mut whole = format!("HTTP/1.1 {status} Said\r\n{headers}{length}\r\n").into_bytes();
    match manner {
        Manner::Whole => whole.extend_from_slice(body),
        Manner::Cut(lacks) | Manner::EndEarly(lacks) => whole.extend_from_slice(&body[..body.len().saturating_sub(*lacks)]),
        Manner::Hold(lacks, requests) => {
            let (now, later) = body.split_at(body.len() - lacks);
            whole.extend_from_slice(now);
            stream.write_all(&whole).unwrap();
            let deadline = Instant::now() + PATIENCE.silence;
            while seen.lock().unwrap().len() < *requests && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
            return Instant::now() < deadline && stream.write_all(later).is_ok();
        }
        Manner::Silence => {
            // Until the other side has had enough.
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
            return false;
        }
    }
    stream.write_all(&whole).is_ok() && matches!(manner, Manner::Whole)
}
