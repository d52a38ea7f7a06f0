//! One at a time of the tools that change a storage tree, and what time it is there.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::time::SystemTime;

use anyhow::Context as _;
use rustix::fs::{Mode, OFlags};

use super::runs;
use crate::store::folder::Folder;

/// The folder in which `reg-gc` keeps what it writes. All tools take the lock in it.
const OWN: &str = ".reg-gc";
const FILE: &str = ".reg-gc/lock";
const CLOCK: &str = ".reg-gc/clock";

/// Holds the storage until it is dropped. A process that dies lets go of it.
///
/// # Errors
/// Another tool at work, and a storage that cannot be written to.
pub fn take(root: &Folder) -> anyhow::Result<File> {
    let opened = runs::make_own(root, OWN).and_then(|_| open(root, FILE));
    let file = opened.context("the storage cannot be written to: opening .reg-gc/lock in it").map_err(runs::with_way_out)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => anyhow::bail!("another reg-gc or reg-fix is at work in this storage: wait for its end"),
        Err(TryLockError::Error(error)) => {
            Err(error).context("locking .reg-gc/lock, by which reg-gc and reg-fix keep out of each other's way")
        }
    }
}

/// What time it is by the clock of the filesystem, which may be another host's.
///
/// # Errors
/// A storage that cannot be written to.
pub fn time(root: &Folder) -> anyhow::Result<SystemTime> {
    let time = || -> io::Result<SystemTime> {
        let mut file = open(root, CLOCK)?;
        file.set_len(0)?;
        file.write_all(b"\n")?;
        file.metadata()?.modified()
    };
    time().context("the storage cannot be written to: writing .reg-gc/clock in it").map_err(runs::with_way_out)
}

fn open(root: &Folder, path: &str) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(root.fd(), path, flags, Mode::from_raw_mode(0o600))?;
    runs::give(&file, &root.own_status()?)?;
    Ok(file.into())
}
