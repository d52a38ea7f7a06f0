//! What the tools share.

pub mod digest;
pub mod reference;
