#![doc = include_str!("../README.md")]

mod act; // carries one step out
mod arguments; // the command line
mod fetch; // what is lost, from another registry
mod files; // links written, things moved
mod given; // the findings, read
mod journal; // what a run did, written before it is done
mod matching; // which of the faults seen a finding means: no input, no output
mod memory; // what the registry remembers
mod mend; // one run
mod plan; // how a fault is mended: no input, no output
mod quiet; // whether anything may be taken away now
mod undo; // takes runs back

use std::process::ExitCode;

use common::cli::{self, Tool};

fn main() -> ExitCode {
    cli::main(Tool { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION"), destructive: true }, |args, context| {
        mend::run(&args, context)
    })
}
