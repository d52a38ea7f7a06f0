//! What is in use: whether an inventory can be trusted, which names mean the same, and what a use holds.
//!
//! Pure: no input, no output, no clock. All tools that read inventories decide by this file.

mod names;

pub use names::{Alias, InvalidAlias, Names};
