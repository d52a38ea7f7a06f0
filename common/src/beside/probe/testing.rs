//! A server on the loopback that says what a test wants.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A request as it came.
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) host: String,
    pub(super) authorization: Option<String>,
}

/// Answers one request a connection until it is dropped; then its port is closed.
pub(super) struct Server {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

/// A whole answer; `headers` end with `\r\n` each.
pub(super) fn answer(status: u16, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} Scripted\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
}

impl Server {
    pub(super) fn start(handle: impl Fn(&Request) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (ended, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (end, note) = (Arc::clone(&ended), Arc::clone(&seen));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let mut stream = stream.unwrap();
                let Some(request) = read(&stream) else { continue };
                let authorization = request.authorization.as_deref().unwrap_or("-");
                note.lock().unwrap().push(format!("{} {} {authorization}", request.method, request.path));
                let _ = stream.write_all(handle(&request).as_bytes());
            }
        });
        Self { address, ended, seen, thread: Some(thread) }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Method, path and authorization of each request so far.
    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread, so that it sees the end and closes the port.
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next()?;
    let mut words = first.split(' ').map(str::to_owned);
    let mut request = Request { method: words.next()?, path: words.next()?, host: String::new(), authorization: None };
    for (name, value) in
        lines.take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(": ").map(|(a, b)| (a.to_owned(), b.to_owned())))
    {
        match name.to_ascii_lowercase().as_str() {
            "host" => request.host = value,
            "authorization" => request.authorization = Some(value),
            _ => {}
        }
    }
    Some(request)
}
