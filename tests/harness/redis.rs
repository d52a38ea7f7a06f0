//! Redis as the descriptor cache of a registry: Debian's `redis-server`, without persistence.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::folder::temporary;
use crate::ports::free_port;
use crate::process::{Server, clean, program};

/// A running Redis; it ends when it is dropped.
#[derive(Debug)]
pub struct Redis {
    address: String,
    _server: Server,
    _folder: TempDir,
}

impl Redis {
    /// Starts one on a free port and waits until it answers.
    pub fn start() -> Self {
        let redis = program("redis-server", "redis-server");
        for _ in 0..20 {
            let folder = temporary();
            let port = free_port();
            let child = clean(&redis, folder.path())
                .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
                .stdout(std::process::Stdio::null())
                .spawn()
                .expect("redis-server starts");
            let mut this = Self { address: format!("127.0.0.1:{port}"), _server: Server(child), _folder: folder };
            if this.comes_up() {
                return this;
            }
        }
        panic!("redis-server did not come up on any of 20 ports")
    }

    fn comes_up(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if self._server.0.try_wait().unwrap().is_some() {
                return false;
            }
            if TcpStream::connect(&self.address).is_ok() {
                return self.command(&["PING"]) == ["PONG"];
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.address
    }

    /// Sends one command and gives the elements of its answer as text.
    pub fn command(&self, words: &[&str]) -> Vec<String> {
        let mut stream = TcpStream::connect(&self.address).expect("redis answers");
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        stream.write_all(request.as_bytes()).unwrap();
        read_reply(&mut BufReader::new(stream))
    }

    /// The keys that fit a glob.
    pub fn keys(&self, glob: &str) -> Vec<String> {
        self.command(&["KEYS", glob])
    }
}

/// RESP, <https://redis.io/docs/latest/develop/reference/protocol-spec/>.
fn read_reply(reader: &mut impl BufRead) -> Vec<String> {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let line = line.trim_end();
    let (kind, rest) = line.split_at(1);
    match kind {
        "+" | ":" => vec![rest.to_owned()],
        "$" if rest == "-1" => Vec::new(),
        "$" => {
            let mut bytes = vec![0; rest.parse::<usize>().unwrap() + 2];
            reader.read_exact(&mut bytes).unwrap();
            vec![String::from_utf8_lossy(&bytes[..bytes.len() - 2]).into_owned()]
        }
        "*" => (0..rest.parse::<usize>().unwrap_or(0)).flat_map(|_| read_reply(reader)).collect(),
        _ => panic!("redis answered {line}"),
    }
}
