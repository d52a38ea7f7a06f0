//! Sends the requests that a file names, and reads the answers, and does nothing else: what a registry can do, whoever asks it.
//!
//! ```sh
//! bare-requests HOST FILE CONNECTIONS
//! ```
//!
//! A line of `FILE` is a method and a path (`HEAD /v2/…`), and each is sent once. Prints how many seconds that took. wrk, which measures
//! the same elsewhere, waits for the body of an answer to HEAD, which has none.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// As reg-check asks, or the registry would convert manifests.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [host, file, connections] = &args[..] else { return Err("expected HOST, FILE and CONNECTIONS".into()) };
    let (text, connections) = (std::fs::read_to_string(file)?, connections.parse::<usize>()?);
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let next = AtomicUsize::new(0);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections).map(|_| scope.spawn(|| send_all(host, &lines, &next))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
    })?;
    writeln!(std::io::stdout(), "{:.3}", begin.elapsed().as_secs_f64())?;
    Ok(())
}

/// Sends what nobody else has sent, over one connection.
fn send_all(host: &str, lines: &[&str], next: &AtomicUsize) -> Outcome<()> {
    let mut stream = TcpStream::connect(host)?;
    stream.set_nodelay(true)?;
    let mut answers = BufReader::new(stream.try_clone()?);
    while let Some(line) = lines.get(next.fetch_add(1, Ordering::Relaxed)) {
        stream.write_all(format!("{line} HTTP/1.1\r\nHost: {host}\r\nAccept: {ACCEPT}\r\n\r\n").as_bytes())?;
        read(&mut answers, line.starts_with("HEAD ")).map_err(|error| format!("{line}: {error}"))?;
    }
    Ok(())
}

/// Reads an answer to its end.
fn read(answers: &mut impl BufRead, is_head: bool) -> Outcome<()> {
    let (mut length, mut is_chunked, mut line) = (0, false, String::new());
    answers.read_line(&mut line)?;
    if !line.starts_with("HTTP/1.1 2") {
        return Err(format!("answered with {line:?}").into());
    }
    loop {
        line.clear();
        answers.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse()?,
            "transfer-encoding" => is_chunked = true,
            _ => {}
        }
    }
    if is_head {
        return Ok(());
    }
    if !is_chunked {
        return skip(answers, length);
    }
    loop {
        line.clear();
        answers.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim(), 16)?;
        skip(answers, size + 2)?;
        if size == 0 {
            return Ok(());
        }
    }
}

fn skip(answers: &mut impl BufRead, bytes: u64) -> Outcome<()> {
    let read = std::io::copy(&mut answers.take(bytes), &mut std::io::sink())?;
    if read == bytes { Ok(()) } else { Err("the connection was closed".into()) }
}
