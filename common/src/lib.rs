//! What the tools share.

pub mod digest;
pub mod reference;
#[cfg(feature = "registry")]
pub mod registry;
