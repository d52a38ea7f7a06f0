//! The commands that bracket a run, and that one of them runs whatever happens in between.
//!
//! Owns how hooks are started and what a signal means while something must still be put back. What they switch is the user's, and
//! what the registry says before and after is asked by `probe`.
//!
//! `--after` runs once: after success, an error, a panic, and SIGINT, SIGTERM or SIGHUP. Signals are caught only while there
//! is an `--after` to be run, and the work must ask [`Bracket::interrupt`] between its items; otherwise they end the process
//! as they always do.

use std::io;
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, anyhow, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// The signals by which people, terminals and service managers ask a program to end.
const SIGNALS: [(i32, &str); 3] = [(SIGINT, "SIGINT"), (SIGTERM, "SIGTERM"), (SIGHUP, "SIGHUP")];

/// Which of the hooks a command is, by its flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Before the run.
    Before,
    /// After the run.
    After,
    /// Restarts the registry, so that it forgets what it has in memory.
    Restart,
}

impl Hook {
    fn flag(self) -> &'static str {
        match self {
            Self::Before => "--before",
            Self::After => "--after",
            Self::Restart => "--restart",
        }
    }
}

/// Runs a hook by the shell to its end, without standard input and with its standard output sent to our standard error, because ours
/// carries records.
///
/// # Errors
/// A command that cannot be started or that does not end with 0; the sentence names it and its status.
pub fn run(hook: Hook, command: &str) -> anyhow::Result<()> {
    let named = || format!("{} {command:?}", hook.flag());
    tracing::debug!(hook = hook.flag(), command, "running");
    let stderr = io::stderr().as_fd().try_clone_to_owned().with_context(named)?;
    // Ctrl-C reaches the whole process group. What puts things back must not be ended by it, nor by a terminal that goes away; what is
    // ignored here stays ignored in the programs that the shell starts. SIGTERM is left alone: a server that the command starts
    // in the background would inherit that too, and could not be stopped any more.
    let script = if hook == Hook::After { format!("trap '' INT HUP\n{command}") } else { command.to_owned() };
    let status = Command::new("sh").arg("-c").arg(script).stdin(Stdio::null()).stdout(stderr).status().with_context(named)?;
    if !status.success() {
        bail!("{} ended with {status}", named());
    }
    Ok(())
}

/// What lies between `--before` and `--after`.
#[derive(Debug)]
pub struct Bracket {
    after: Option<String>,
    signals: Option<&'static Signals>,
}

impl Bracket {
    /// Runs `--before`, and from then on owes `--after`.
    ///
    /// # Errors
    /// A `--before` that fails; `--after` has run then too, as the registry may be half switched.
    pub fn open(before: Option<&str>, after: Option<&str>) -> anyhow::Result<Self> {
        let signals = after.map(|_| Signals::catch()).transpose().context("catching signals, so that --after always runs")?;
        let bracket = Self { after: after.map(str::to_owned), signals };
        match before.map_or(Ok(()), |command| run(Hook::Before, command)) {
            Ok(()) => Ok(bracket),
            Err(error) => Err(bracket.close(Err::<(), _>(error)).map_or_else(|error| error, |()| anyhow!("--before failed"))),
        }
    }

    /// Says whether a signal asks for the end of the work; none ever does without `--after`, when signals end the process by themselves.
    #[must_use]
    pub fn interrupt(&self) -> Interrupt {
        Interrupt(self.signals)
    }

    /// Runs `--after` and gives the outcome of the work, unless `--after` failed or a signal came: then it is an error, whatever
    /// the work says, since the work may have stopped in the middle.
    ///
    /// # Errors
    /// That of the work, with that of `--after` where there are two.
    pub fn close<T>(mut self, outcome: anyhow::Result<T>) -> anyhow::Result<T> {
        // Asked first: a signal that comes while --after runs finds the work done.
        let signal = self.signals.and_then(Signals::caught);
        let after = self.settle();
        let outcome = match (outcome, signal) {
            (Ok(_), Some(signal)) => {
                Err(anyhow!("stopped by {signal}; what was done by then stays done, and the next run goes on from there"))
            }
            (Err(error), Some(signal)) => Err(error.context(format!("stopped by {signal}"))),
            (outcome, None) => outcome,
        };
        match (outcome, after) {
            (outcome, Ok(())) => outcome,
            (Ok(_), Err(after)) => Err(after.context("the work is done, but what comes after it failed: is the registry as it was?")),
            (Err(error), Err(after)) => Err(error.context(format!("{after:#}: is the registry as it was? And before that"))),
        }
    }

    /// Runs `--after` if it did not run yet.
    fn settle(&mut self) -> anyhow::Result<()> {
        self.after.take().map_or(Ok(()), |command| run(Hook::After, &command))
    }
}

impl Drop for Bracket {
    /// Reached with `--after` still owed by a panic, or by an early return that forgot to close.
    fn drop(&mut self) {
        if let Err(error) = self.settle() {
            // The error that led here has the last word; this one must not be lost all the same.
            let _ = io::Write::write_fmt(&mut io::stderr().lock(), format_args!("reg-gc: {error:#}\n"));
        }
        if let Some(signals) = self.signals {
            signals.release();
        }
    }
}

/// Says whether a signal asks for the end of the work.
#[derive(Debug, Clone, Copy)]
pub struct Interrupt(Option<&'static Signals>);

impl Interrupt {
    /// Whether one came.
    #[must_use]
    pub fn is_set(self) -> bool {
        self.0.is_some_and(|signals| signals.caught().is_some())
    }
}

/// The handlers, which a process has once: they note a signal while a bracket is open, and do what signals always do otherwise.
#[derive(Debug)]
struct Signals {
    /// The number of the last signal, or 0.
    caught: Arc<AtomicUsize>,
    /// Whether no bracket is open.
    idle: Arc<AtomicBool>,
}

impl Signals {
    /// Begins to note signals.
    fn catch() -> io::Result<&'static Self> {
        static SIGNALS: OnceLock<Result<Signals, io::ErrorKind>> = OnceLock::new();
        let signals =
            SIGNALS.get_or_init(|| Self::register().map_err(|error| error.kind())).as_ref().map_err(|kind| io::Error::from(*kind))?;
        signals.caught.store(0, Ordering::SeqCst);
        signals.idle.store(false, Ordering::SeqCst);
        Ok(signals)
    }

    fn register() -> io::Result<Self> {
        let signals = Self { caught: Arc::default(), idle: Arc::default() };
        // What was ignored when we started stays ignored: by nohup, or in the background of a script.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        for (number, _) in SIGNALS.iter().filter(|(number, _)| !is_ignored(&status, *number)) {
            flag::register_usize(*number, Arc::clone(&signals.caught), usize::try_from(*number).unwrap_or_default())?;
            flag::register_conditional_default(*number, Arc::clone(&signals.idle))?;
        }
        Ok(signals)
    }

    fn release(&self) {
        self.idle.store(true, Ordering::SeqCst);
    }

    /// The name of the signal that came.
    fn caught(&self) -> Option<&'static str> {
        let caught = self.caught.load(Ordering::SeqCst);
        SIGNALS.iter().find(|(number, _)| usize::try_from(*number) == Ok(caught)).map(|(_, name)| *name)
    }
}

/// Whether a process ignores a signal, by its `/proc/PID/status`: bit 0 of `SigIgn` is signal 1.
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask.checked_shr(signal.unsigned_abs().saturating_sub(1)).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A folder, and commands that write a line into a file of it.
    struct Notes(tempfile::TempDir);

    impl Notes {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn note(&self, word: &str) -> String {
            format!("echo {word} >> {}/notes", self.0.path().display())
        }

        fn read(&self) -> String {
            fs::read_to_string(self.0.path().join("notes")).unwrap_or_default().replace('\n', " ")
        }
    }

    #[test]
    fn after_runs_once_whatever_happens() {
        let notes = Notes::new();
        let (before, after) = (notes.note("before"), notes.note("after"));
        let open = || Bracket::open(Some(&before), Some(&after)).unwrap();
        assert_eq!(open().close(Ok(7)).unwrap(), 7);
        let error = open().close::<()>(Err(anyhow!("the disk is full"))).unwrap_err();
        assert_eq!(format!("{error:#}"), "the disk is full");
        drop(open());
        let panicked = std::panic::catch_unwind(|| {
            let _bracket = open();
            std::panic::resume_unwind(Box::new("a panic that prints nothing"));
        });
        assert!(panicked.is_err());
        assert_eq!(notes.read(), "before after ".repeat(4));
    }

    #[test]
    fn what_fails_is_named() {
        let notes = Notes::new();
        let error = Bracket::open(Some("exit 3"), Some(&notes.note("after"))).unwrap_err();
        assert_eq!(format!("{error:#}"), "--before \"exit 3\" ended with exit status: 3");
        assert_eq!(notes.read(), "after ", "the registry may be half switched");
        let error = Bracket::open(None, Some("exit 4")).unwrap().close(Ok(())).unwrap_err();
        assert!(format!("{error:#}").ends_with("--after \"exit 4\" ended with exit status: 4"), "{error:#}");
        let error = Bracket::open(None, Some("exit 4")).unwrap().close::<()>(Err(anyhow!("the disk is full"))).unwrap_err();
        assert!(format!("{error:#}").contains("exit 4") && format!("{error:#}").ends_with("the disk is full"), "{error:#}");
        let error = run(Hook::Restart, "kill -TERM $$").unwrap_err();
        assert!(format!("{error:#}").starts_with("--restart \"kill -TERM $$\" ended with signal: 15"), "{error:#}");
    }

    #[test]
    fn after_is_not_ended_by_the_keyboard() {
        let notes = Notes::new();
        run(Hook::After, &format!("kill -INT $$; kill -HUP $$; {}", notes.note("lived"))).unwrap();
        assert_eq!(notes.read(), "lived ");
        assert!(run(Hook::Before, "kill -INT $$; exit 0").is_err());
    }

    #[test]
    fn signals_are_left_alone_without_after() {
        let bracket = Bracket::open(None, None).unwrap();
        assert!(bracket.signals.is_none() && !bracket.interrupt().is_set());
    }

    #[test]
    fn what_is_ignored_is_read_from_the_mask() {
        let status = "Name:\tx\nSigBlk:\tffffffffffffffff\nSigIgn:\t0000000000001001\n";
        for (signal, ignored) in [(1, true), (2, false), (13, true), (15, false)] {
            assert_eq!(is_ignored(status, signal), ignored, "{signal}");
        }
        assert!(!is_ignored("", 2));
    }
}
