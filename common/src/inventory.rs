//! What is in use: whether an inventory can be trusted, which names mean the same, and what a use holds.
//!
//! Pure: no input, no output, no clock. All tools that read inventories decide by these files:
//!
//! - [`trust`](self): an inventory that was cut short looks exactly like a short one, and deciding on it deletes what runs.
//! - names: one registry often has several.
//! - uses: the records themselves, found by repository and by content.
//! - keep list: what people name by hand.

mod keep_list;
mod names;
mod trust;
mod uses;

pub use keep_list::{InvalidEntry, KeepList, Kept};
pub use names::{Alias, InvalidAlias, Names};
pub use trust::{Distrust, Rules, Section, word};
pub use uses::{Inventory, RepositoryUses, Role, UseEntry};
