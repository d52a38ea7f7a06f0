//! Free ports of the loopback for servers that want a number in their configuration.
//!
//! They come from below the range out of which the kernel takes the ports of outgoing connections (32768 and up), so
//! a server that is stopped and started again finds its port free. Two test processes may still pick the same number:
//! who starts a server must look whether it came up, and take another port if not.

use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 10_000;
const COUNT: u16 = 22_000;

/// A port that nobody listened on a moment ago, and that this process has not handed out lately.
pub fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let next = NEXT.get_or_init(|| {
        let random = RandomState::new().hash_one(std::process::id());
        AtomicU16::new((random % u64::from(COUNT)) as u16)
    });
    for _ in 0..COUNT {
        let port = FIRST + next.fetch_add(1, Ordering::Relaxed) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port of the loopback between {FIRST} and {} is free", FIRST + COUNT)
}
