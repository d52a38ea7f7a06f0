//! What stands beside a storage tree: who says where it is, whether a registry may be writing to it, and what a registry remembers of it.
//!
//! In reading order:
//!
//! - [`source`]: which storage is meant, by a configuration, by a folder, or by a running registry; [`process`]: that registry, seen
//!   from outside.
//! - `probe`: whether a registry can be written to, found out without writing. `cache`: the descriptors that it keeps in Redis, told what
//!   is gone. Both behind the feature `beside`, so that who only reads a tree builds without them.
//!
//! For tools that work on a storage: it knows the command line's refusals, and neither records nor what a tool decides.

#[cfg(feature = "beside")]
pub mod cache;
#[cfg(feature = "beside")]
pub mod probe;
pub mod process;
pub mod source;
