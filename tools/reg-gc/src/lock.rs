//! One collector at a time in a storage, and what time it is there.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::time::SystemTime;

use anyhow::Context as _;
use common::store::folder::Folder;
use rustix::fs::{Mode, OFlags};

use crate::trash::{self, OWN};

const FILE: &str = ".reg-gc/lock";
const CLOCK: &str = ".reg-gc/clock";

/// Holds the storage until it is dropped. A process that dies lets go of it.
///
/// # Errors
/// Another collector at work, and a storage that cannot be written to.
pub(crate) fn take(root: &Folder) -> anyhow::Result<File> {
    let file = trash::make_own(root, OWN)
        .and_then(|_| open(root, FILE))
        .context("the storage cannot be written to: opening .reg-gc/lock in it")?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => anyhow::bail!("another reg-gc is at work in this storage: wait for its end"),
        Err(TryLockError::Error(error)) => Err(error).context("locking .reg-gc/lock, by which two collectors keep out of each other's way"),
    }
}

/// What time it is by the clock of the filesystem, which may be another host's.
///
/// # Errors
/// A storage that cannot be written to.
pub(crate) fn time(root: &Folder) -> anyhow::Result<SystemTime> {
    let time = || -> io::Result<SystemTime> {
        let mut file = open(root, CLOCK)?;
        file.set_len(0)?;
        file.write_all(b"\n")?;
        file.metadata()?.modified()
    };
    time().context("the storage cannot be written to: writing .reg-gc/clock in it")
}

fn open(root: &Folder, path: &str) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(root.fd(), path, flags, Mode::from_raw_mode(0o600))?.into())
}
