#![doc = include_str!("../README.md")]

mod arguments; // the command line
mod collect; // one run
mod every; // run after run
mod examine; // one repository: what may go of it
mod generations; // what one run remembers for the next, while a registry writes
mod hooks; // commands around a run
mod item; // what goes, folder by folder: no input, no output
mod living; // what lives in a repository: no input, no output
mod marks; // what is known of each blob
mod memory; // what the registry remembers
mod owners; // which repository loses a blob: no input, no output
mod plan; // what may go, of the whole tree
mod registry; // the registry beside the storage
mod rules; // what may go: no input, no output
mod summary; // what people are told
mod sweep; // carries a plan out
mod tail; // what was pushed meanwhile
mod totals; // sums: no input, no output
mod trash; // what runs took away
mod undo; // takes it back

use std::process::ExitCode;
use std::sync::Arc;

use common::cli::{self, Tool};
use signal_hook::consts::signal::SIGXFSZ;

fn main() -> ExitCode {
    // A file that may not grow any more is an error that is written down and told, and not a death in the middle. Where that
    // cannot be arranged, it is one.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
    cli::main(Tool { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION"), destructive: true }, |args, context| {
        every::run(&args, context)
    })
}
