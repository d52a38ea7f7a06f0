//! A registry's storage tree, as CNCF Distribution lays it out on a filesystem. Reads only: who renames, writes or unlinks is a tool.
//!
//! In reading order:
//!
//! - [`config`]: whose storage it is and where, from a registry's configuration; pure. [`foreign`]: storages that are another's to judge.
//! - [`layout`]: where things lie, as paths relative to the root; no input, no output.
//! - [`root`]: whether a folder can be the root of a tree.
//! - [`folder`]: open folders, listed, read and looked at without following a symbolic link.
//! - [`blobs`]: all blobs, found by digest. [`repositories`]: all repositories. [`repository`]: what one of them holds.
//! - [`side_by_side`]: work for as many threads as there are cores.
//!
//! Knows neither records nor the command line.

pub mod blobs;
pub mod config;
pub mod folder;
pub mod foreign;
pub mod layout;
pub mod repositories;
pub mod repository;
pub mod root;
pub mod side_by_side;

use std::fmt;
use std::io;

/// Something in the tree that could not be read, or that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Its path, relative to the root.
    pub path: String,
    /// What is wrong with it.
    pub what: String,
    /// Whether things may lie behind it that nobody sees.
    pub hides: bool,
}

impl Problem {
    /// A problem with what lies at `path`, and with nothing else.
    pub fn new(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self { path: path.into(), what: what.into(), hides: false }
    }

    /// The same problem, where things may lie behind it.
    #[must_use]
    pub fn hiding(self) -> Self {
        Self { hides: true, ..self }
    }

    /// What the system said of it. Things may lie behind it.
    pub fn of_error(path: impl Into<String>, error: &io::Error) -> Self {
        let what = if folder::is_symlink_error(error) {
            "is a symbolic link, or lies behind one, and is not followed".to_owned()
        } else {
            format!("cannot be read: {error}")
        };
        Self::new(path, what).hiding()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.what)
    }
}
