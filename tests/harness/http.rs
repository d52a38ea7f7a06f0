//! As much of HTTP/1.1 as a server in a test needs: read a request, write a response, in every wrong way too.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

/// One request as it came over the wire.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `HEAD`, `DELETE`, …
    pub method: String,
    /// Path and query as they were sent.
    pub target: String,
    /// Header names are in lower case.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Request {
    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// What stands behind the question mark, still encoded.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// Every value of a query or form parameter, decoded.
    pub fn parameters(&self, name: &str) -> Vec<String> {
        let body = String::from_utf8_lossy(&self.body);
        let form = if self.method == "POST" { body.as_ref() } else { "" };
        self.query()
            .split('&')
            .chain(form.split('&'))
            .filter_map(|pair| pair.split_once('='))
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| decode(value))
            .collect()
    }

    /// The first value of a header, its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Method and target, as in `GET /v2/_catalog?n=1000`.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
                let digits = String::from_utf8_lossy(&digits).into_owned();
                bytes.push(u8::from_str_radix(&digits, 16).unwrap_or(b'?'));
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// How the bytes of a response leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivery {
    Whole,
    CutAfter(usize),
    Reset,
    Nothing,
}

/// An answer that a test makes up, healthy or not.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Headers in the order in which they are sent.
    pub headers: Vec<(String, String)>,
    /// The body, also for HEAD, where only its length is sent.
    pub body: Vec<u8>,
    delivery: Delivery,
    delay: Duration,
}

impl Response {
    /// An empty answer with this status.
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), delivery: Delivery::Whole, delay: Duration::ZERO }
    }

    /// JSON with `Content-Type: application/json`.
    pub fn json(status: u16, body: Value) -> Self {
        Self::status(status).header("Content-Type", "application/json").body(body.to_string())
    }

    /// An error as registries write it: `{"errors":[{"code":…}]}`.
    pub fn error(status: u16, code: &str) -> Self {
        Self::json(status, serde_json::json!({"errors": [{"code": code, "message": code.to_lowercase()}]}))
    }

    /// Plain text, such as the `404 page not found` of an endpoint that is missing.
    pub fn text(status: u16, body: &str) -> Self {
        Self::status(status).header("Content-Type", "text/plain; charset=utf-8").body(body)
    }

    /// A manifest with its media type and its true digest in `Docker-Content-Digest`.
    pub fn manifest(media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let digest = crate::digest_of(&body);
        Self::status(200).header("Content-Type", media_type).header("Docker-Content-Digest", &digest).body(body)
    }

    /// The connection is reset where the answer should be.
    pub fn reset() -> Self {
        Self { delivery: Delivery::Reset, ..Self::status(0) }
    }

    /// The connection is closed where the answer should be.
    pub fn close_without_answer() -> Self {
        Self { delivery: Delivery::Nothing, ..Self::status(0) }
    }

    /// Adds a header; one of the same name stays.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Replaces a header.
    pub fn set_header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self.header(name, value)
    }

    /// Takes a header away.
    pub fn without_header(mut self, name: &str) -> Self {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Announces the whole body, sends this many bytes of it and closes.
    pub fn cut_body_after(mut self, bytes: usize) -> Self {
        self.delivery = Delivery::CutAfter(bytes);
        self
    }

    /// Waits before it answers.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

/// A listener on a free port of the loopback that hands each request to one function; it ends with its owner.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) address: String,
    ended: Arc<AtomicBool>,
}

impl Listening {
    pub(crate) fn start(handle: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port of the loopback");
        let address = listener.local_addr().expect("a bound listener has an address").to_string();
        let ended = Arc::new(AtomicBool::new(false));
        let handle = Arc::new(handle);
        let seen = Arc::clone(&ended);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if seen.load(Ordering::SeqCst) {
                    break;
                }
                let handle = Arc::clone(&handle);
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || serve(stream, &*handle, &seen));
            }
        });
        Self { address, ended }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts, so that it sees the end and closes the port.
        let _ = TcpStream::connect(&self.address);
    }
}

fn serve(stream: TcpStream, handle: &dyn Fn(&Request) -> Response, ended: &AtomicBool) {
    let _ = stream.set_nodelay(true);
    let Ok(reading) = stream.try_clone() else {
        return;
    };
    let mut reader = BufReader::new(reading);
    let mut stream = stream;
    while let Some(request) = read_request(&mut reader) {
        if ended.load(Ordering::SeqCst) {
            return;
        }
        let response = handle(&request);
        std::thread::sleep(response.delay);
        if !write_response(&mut stream, &request, &response) {
            return;
        }
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request { method, target, headers, body: Vec::new() };
    if request.header("transfer-encoding").is_some_and(|encoding| encoding.eq_ignore_ascii_case("chunked")) {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let size = usize::from_str_radix(size.trim().split(';').next()?, 16).ok()?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            request.body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = request.header("content-length") {
        let mut body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut body).ok()?;
        request.body = body;
    }
    Some(request)
}

/// Says whether the connection may be used for another request.
fn write_response(stream: &mut TcpStream, request: &Request, response: &Response) -> bool {
    match response.delivery {
        Delivery::Reset => {
            // Without lingering the close of a socket is a reset.
            let _ = socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
            return false;
        }
        Delivery::Nothing => {
            let _ = stream.shutdown(Shutdown::Both);
            return false;
        }
        Delivery::Whole | Delivery::CutAfter(_) => {}
    }
    let mut head = format!("HTTP/1.1 {} Scripted\r\n", response.status);
    for (name, value) in &response.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let has = |name: &str| response.headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
    if !has("content-length") && response.status != 204 && response.status != 304 {
        head.push_str(&format!("Content-Length: {}\r\n", response.body.len()));
    }
    head.push_str("\r\n");
    let body: &[u8] = if request.method == "HEAD" { b"" } else { &response.body };
    let (body, goes_on) = match response.delivery {
        Delivery::CutAfter(bytes) => (&body[..bytes.min(body.len())], false),
        _ => (body, true),
    };
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    let written = stream.write_all(&bytes).and_then(|()| stream.flush());
    if !goes_on {
        let _ = stream.shutdown(Shutdown::Both);
    }
    goes_on && written.is_ok() && request.header("connection") != Some("close")
}
