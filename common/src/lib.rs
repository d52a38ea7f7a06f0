//! What the registry-housekeeping tools share.
//!
//! In reading order:
//!
//! - [`record`]: the wire format, one file per kind of record; [`jsonl`]: records in and out.
//! - [`cli`]: the one `main`, exit status, shared flags, progress.
//! - Pure, without input, output, clock or environment: [`digest`], [`mod@reference`], [`duration`], [`pattern`], [`graph`],
//!   [`manifest`] (what the bytes of a manifest say), [`inventory`] (trust, names, matching), [`secret`].
//! - [`backoff`]: what all retries have in common.
//! - `registry`: the HTTP client, behind the feature of that name, so that tools which open no socket build without it.
//! - `store`: a registry's storage tree, read without the registry, behind the feature of that name; `beside`: what stands beside it; `check`: what is wrong in it.

pub mod backoff;
#[cfg(feature = "store")]
pub mod beside;
#[cfg(feature = "store")]
pub mod check;
pub mod cli;
pub mod digest;
pub mod duration;
pub mod graph;
pub mod inventory;
pub mod jsonl;
pub mod manifest;
pub mod pattern;
pub mod record;
pub mod reference;
#[cfg(feature = "registry")]
pub mod registry;
pub mod secret;
#[cfg(feature = "store")]
pub mod store;
