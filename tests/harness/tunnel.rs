//! A proxy that carries bytes and looks at none of them: `CONNECT` of HTTP (RFC 9110, 9.3.6) and SOCKS 5 (RFC 1928).
//!
//! ```no_run
//! # use tests::*; let cluster = Cluster::shared();
//! let tunnel = Tunnel::to(&cluster.url());
//! let access = cluster.access().server("https://api.example.com:6443").proxy(&tunnel.url());
//! // … a tool comes to the cluster, under a name that only the proxy knows.
//! assert_eq!(tunnel.targets(), ["api.example.com:6443"]);
//! ```

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A running proxy; its port closes when it is dropped.
#[derive(Debug)]
pub struct Tunnel {
    address: String,
    seen: Arc<Mutex<Seen>>,
    ended: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Seen {
    targets: Vec<String>,
    authorizations: Vec<String>,
}

impl Tunnel {
    /// Leads where it is asked to.
    pub fn start() -> Self {
        Self::leading(None)
    }

    /// Leads to the server of this URL, wherever it is asked to: no name is looked up.
    pub fn to(url: &str) -> Self {
        Self::leading(url.split("://").last().map(str::to_owned))
    }

    fn leading(always_to: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port of the loopback");
        let address = listener.local_addr().expect("a bound listener has an address").to_string();
        let (seen, ended) = (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(false)));
        let (all_seen, has_ended) = (Arc::clone(&seen), Arc::clone(&ended));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if has_ended.load(Ordering::SeqCst) {
                    break;
                }
                let (seen, always_to) = (Arc::clone(&all_seen), always_to.clone());
                // Whoever goes away in the middle of it is no failure of the proxy.
                std::thread::spawn(move || carry(stream, always_to.as_deref(), &seen));
            }
        });
        Self { address, seen, ended }
    }

    /// Its URL as a proxy of HTTP: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its URL as a SOCKS proxy.
    pub fn socks5(&self) -> String {
        format!("socks5://{}", self.address)
    }

    /// Where it was asked to lead to so far, as `HOST:PORT`, each once, in the order of the first request.
    pub fn targets(&self) -> Vec<String> {
        self.seen.lock().unwrap().targets.clone()
    }

    /// What it was shown as `Proxy-Authorization`, each once.
    pub fn authorizations(&self) -> Vec<String> {
        self.seen.lock().unwrap().authorizations.clone()
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts, so that it sees the end and closes the port.
        let _ = TcpStream::connect(&self.address);
    }
}

fn carry(stream: TcpStream, always_to: Option<&str>, seen: &Mutex<Seen>) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    let first = reader.fill_buf()?.first().copied();
    // The address from which it leads on, which SOCKS tells, is of no interest.
    let (target, [succeeded, failed]): (_, [&[u8]; 2]) = if first == Some(5) {
        (socks(&mut reader, &mut stream)?, [&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0], &[5, 1, 0, 1, 0, 0, 0, 0, 0, 0]])
    } else {
        let (target, authorization) = connect(&mut reader)?;
        authorization.into_iter().for_each(|shown| note(&mut seen.lock().unwrap().authorizations, shown));
        (target, [b"HTTP/1.1 200 Connection established\r\n\r\n", b"HTTP/1.1 502 Bad gateway\r\n\r\n"])
    };
    note(&mut seen.lock().unwrap().targets, target.clone());
    let server = TcpStream::connect(always_to.unwrap_or(&target));
    stream.write_all(if server.is_ok() { succeeded } else { failed })?;
    let server = server?;
    let (mut there, mut back) = (server.try_clone()?, stream.try_clone()?);
    std::thread::spawn(move || {
        let _ = io::copy(&mut reader, &mut there);
        let _ = there.shutdown(Shutdown::Write);
    });
    let mut server = server;
    let _ = io::copy(&mut server, &mut back);
    back.shutdown(Shutdown::Write)
}

fn note(known: &mut Vec<String>, new: String) {
    if !known.contains(&new) {
        known.push(new);
    }
}

/// Reads a request, and gives where it wants to and how it authorizes itself.
fn connect(reader: &mut impl BufRead) -> io::Result<(String, Option<String>)> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let target = line.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
    let target = target.ok_or_else(|| io::Error::other(format!("this is no CONNECT: {line}")))?.to_owned();
    let mut authorization = None;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim_end().is_empty() {
            return Ok((target, authorization));
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("proxy-authorization")
        {
            authorization = Some(value.trim().to_owned());
        }
    }
}

/// Reads the greeting and the request of SOCKS 5, without any authentication, and gives where it wants to.
fn socks(reader: &mut impl Read, stream: &mut impl Write) -> io::Result<String> {
    let mut greeting = [0; 2];
    reader.read_exact(&mut greeting)?;
    reader.read_exact(&mut vec![0; usize::from(greeting[1])])?;
    stream.write_all(&[5, 0])?;
    let mut request = [0; 4];
    reader.read_exact(&mut request)?;
    let host = match request[3] {
        1 => {
            let mut address = [0; 4];
            reader.read_exact(&mut address)?;
            std::net::Ipv4Addr::from(address).to_string()
        }
        3 => {
            let mut length = [0; 1];
            reader.read_exact(&mut length)?;
            let mut name = vec![0; usize::from(length[0])];
            reader.read_exact(&mut name)?;
            String::from_utf8_lossy(&name).into_owned()
        }
        other => format!("an address of the type {other}"),
    };
    let mut port = [0; 2];
    reader.read_exact(&mut port)?;
    Ok(format!("{host}:{}", u16::from_be_bytes(port)))
}
