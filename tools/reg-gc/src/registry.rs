//! The registry beside the storage: whether it writes, by what the command line and its configuration say of it.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use common::cli::Context;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::arguments::Args;
use crate::hooks::{self, Hook};
use common::beside::probe::{self, Probes, Standing};
use common::beside::source::Source;

/// How long a registry may take to come back.
const PATIENCE: Duration = Duration::from_secs(120);

/// Asks all replicas whether they can be written to.
pub(crate) fn standing(args: &Args, source: &Source) -> anyhow::Result<Standing> {
    Ok(probe::judge(&probes(args, source)?.ask(), args.stopped))
}

/// Whether nothing writes, as was proven or said.
pub(crate) fn is_quiet(standing: &Standing) -> bool {
    matches!(standing, Standing::ReadOnly | Standing::Stopped)
}

fn probes(args: &Args, source: &Source) -> anyhow::Result<Probes> {
    Probes::beside(source, &args.probe, args.user.as_deref(), &args.auth_host, args.ca_file.as_deref())
}

/// Restarts the registry in the way that the command line names, and waits until it answers; `false` where it names none.
///
/// # Errors
/// A restart that fails, and a registry that does not come back.
pub(crate) fn restart(args: &Args, source: &Source, context: &Context, interrupted: &(dyn Fn() -> bool + Sync)) -> anyhow::Result<bool> {
    if let Some(command) = &args.restart {
        context.summarize(format_args!("{}: restarting the registry: {command}\n", context.name()));
        hooks::run(Hook::Restart, command)?;
    } else if args.restart_process
        && let Some(process) = &source.process
    {
        context.summarize(format_args!("{}: restarting the registry: SIGTERM to process {}\n", context.name(), process.pid));
        end(process.pid)?;
    } else {
        return Ok(false);
    }
    probes(args, source)?.wait_until_answers(PATIENCE, interrupted).context("after the restart")?;
    Ok(true)
}

/// Ends a process, and waits until it is gone.
fn end(pid: u32) -> anyhow::Result<()> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).with_context(|| format!("{pid} is no process"))?;
    // Its number may be given to another one when it is gone; a descriptor stays with the one that was meant.
    let process = rustix::process::pidfd_open(raw, PidfdFlags::empty()).with_context(|| format!("looking at process {pid}"))?;
    rustix::process::pidfd_send_signal(&process, Signal::TERM).with_context(|| format!("sending SIGTERM to process {pid}"))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            anyhow::bail!("process {pid} does not end {} s after SIGTERM", PATIENCE.as_secs());
        }
        let left = Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
        match rustix::event::poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&left)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(std::io::Error::from(error)).with_context(|| format!("waiting for the end of process {pid}")),
        }
    }
}
