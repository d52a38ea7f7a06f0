//! As a sidecar: run after run, a line about each, and a file that says how the last one ended.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use chrono::Utc;
use common::cli::{Context, Refused, Status};
use serde::Serialize;

use crate::arguments::Args;
use crate::collect;

/// How long the first run waits, so that a registry that has just been started is left in peace.
const FIRST: Duration = Duration::from_secs(60);

/// How a run ended, for who watches over it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Health<'a> {
    time: String,
    /// The exit status that the run would have had.
    status: u8,
    error: Option<&'a str>,
    /// When the next one begins; none does after a single run.
    next: Option<String>,
}

/// Runs once, or again and again.
pub(crate) fn run(args: &Args, context: &Context) -> anyhow::Result<Status> {
    let Some(every) = args.every() else {
        let outcome = collect::once(args, context);
        if let Some(path) = args.health().filter(|_| args.undo.is_none()) {
            let written = write(path, &outcome, None);
            return outcome.and_then(|status| written.map(|()| status));
        }
        return outcome;
    };
    let every = every.delta().to_std().unwrap_or_default();
    anyhow::ensure!(!every.is_zero(), "--every 0s: how long is between two runs?");
    std::thread::sleep(FIRST.min(every));
    loop {
        let outcome = collect::once(args, context);
        if let Err(error) = &outcome {
            context.say(format_args!("{error:#}"));
        }
        let next = Utc::now() + every;
        if let Some(path) = args.health() {
            // A health file that cannot be written is no reason to stop: that it grows old says it.
            if let Err(error) = write(path, &outcome, Some(next)) {
                context.say(format_args!("{error:#}"));
            }
        }
        context.summarize(format_args!(
            "{}: run ended with {}; the next begins at {}\n",
            context.name(),
            status(&outcome),
            next.format("%Y-%m-%d %H:%M:%S UTC")
        ));
        std::thread::sleep(every);
    }
}

fn status(outcome: &anyhow::Result<Status>) -> u8 {
    match outcome {
        Ok(Status::Done) => 0,
        Ok(Status::Partial) => 1,
        Ok(Status::Refused) => 3,
        Ok(Status::Own(status)) => *status,
        Err(error) if error.chain().any(|cause| cause.is::<Refused>()) => 3,
        Err(_) => 2,
    }
}

/// Writes the file whole, or leaves the old one.
fn write(path: &Path, outcome: &anyhow::Result<Status>, next: Option<chrono::DateTime<Utc>>) -> anyhow::Result<()> {
    let error = outcome.as_ref().err().map(|error| format!("{error:#}"));
    let time = |time: chrono::DateTime<Utc>| time.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let health = Health { time: time(Utc::now()), status: status(outcome), error: error.as_deref(), next: next.map(time) };
    let text = serde_json::to_string(&health)?;
    let new = path.with_extension("new");
    let written = std::fs::File::create(&new).and_then(|mut file| writeln!(file, "{text}")).and_then(|()| std::fs::rename(&new, path));
    written.with_context(|| format!("writing the health file {}", path.display()))
}
