//! A proxy that tunnels: HTTP's CONNECT, as the proxy of a company does it. It sees where to, and nothing of what goes through.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A running one; its port closes when it is dropped.
#[derive(Debug)]
pub struct Tunnel {
    address: String,
    targets: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicBool>,
}

impl Tunnel {
    /// Listens on a free port of the loopback.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port of the loopback");
        let address = listener.local_addr().expect("a bound listener has an address").to_string();
        let (targets, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (seen, over) = (Arc::clone(&targets), Arc::clone(&ended));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || serve(stream, &seen));
            }
        });
        Self { address, targets, ended }
    }

    /// `http://127.0.0.1:PORT`, as a `proxy-url`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it led to so far, as `HOST:PORT`, in the order in which it was asked.
    pub fn targets(&self) -> Vec<String> {
        self.targets.lock().unwrap().clone()
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts, so that it sees the end and closes the port.
        let _ = TcpStream::connect(&self.address);
    }
}

/// Answers one CONNECT, and passes on what comes from either side until both have ended; `None` where a connection breaks.
fn serve(client: TcpStream, targets: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let target = line.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned();
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).ok()? == 0 || header.trim().is_empty() {
            break;
        }
    }
    targets.lock().unwrap().push(target.clone());
    let server = TcpStream::connect(&target);
    let answer = if server.is_ok() { "200 Connection established" } else { "502 Bad gateway" };
    (&client).write_all(format!("HTTP/1.1 {answer}\r\n\r\n").as_bytes()).ok()?;
    let server = server.ok()?;
    let (mut to_server, mut from_server) = (server.try_clone().ok()?, server);
    let upward = std::thread::spawn(move || {
        let _ = std::io::copy(&mut reader, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let mut to_client = client;
    let _ = std::io::copy(&mut from_server, &mut to_client);
    let _ = to_client.shutdown(Shutdown::Write);
    let _ = upward.join();
    Some(())
}
