//! What stands beside a storage tree: who says where it is, whether a registry may be writing to it, and what a registry remembers of it.
//!
//! In reading order:
//!
//! - [`source`]: which storage is meant, by a configuration, by a folder, or by a running registry; [`process`]: that registry, seen
//!   from outside.
//! - `probe`: whether a registry can be written to, found out without writing. `cache`: the descriptors that it keeps in Redis, told what
//!   is gone.
//! - `lock`: one at a time; `runs`: what runs took away, kept for so long; `restore`: moves it back.
//!
//! All but the first are behind the feature `beside`, so that who only reads a tree builds without them.
//!
//! For tools that work on a storage: it knows the command line's refusals, and neither records nor what a tool decides.

#[cfg(feature = "beside")]
pub mod cache;
#[cfg(feature = "beside")]
pub mod lock;
#[cfg(feature = "beside")]
pub mod probe;
pub mod process;
#[cfg(feature = "beside")]
pub mod restore;
#[cfg(feature = "beside")]
pub mod runs;
pub mod source;
