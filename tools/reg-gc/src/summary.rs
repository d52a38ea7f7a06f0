//! What people are told. Pure.

use chrono::{DateTime, Utc};
use common::cli::{Context, bytes, count};
use common::inventory::word;
use common::record::{Reclaimed, Sum};

use crate::arguments::Args;
use crate::generations::Due;
use crate::memory::Memory;
use crate::plan::Plan;
use crate::totals::Totals;
use common::beside::probe::Standing;
use common::beside::runs::Purged;

/// How many problems are told one by one.
const SENTENCES: usize = 10;

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Done {
    /// The run, if it took anything.
    pub(crate) run: Option<String>,
    /// Whether it was more than a show.
    pub(crate) acted: bool,
    /// What was removed from the trash for its age.
    pub(crate) purged: Purged,
    /// Bytes that this run took and removed at once.
    pub(crate) removed: u64,
    pub(crate) due: Due,
    /// What a later run may take, and from when on.
    pub(crate) waits: Option<(Sum, DateTime<Utc>)>,
    pub(crate) undo_until: Option<DateTime<Utc>>,
}

/// The end of a run.
pub(crate) fn text(context: &Context, args: &Args, plan: &Plan, totals: &Totals, done: &Done, memory: &Memory) -> String {
    let name = context.name();
    let mut text = String::new();
    let mut line = |words: String| text.push_str(&format!("{name}: {words}\n"));
    let acted = done.acted;
    line(format!(
        "{} {}: {}; {} stay",
        if acted { "taken away" } else { "would go" },
        bytes(totals.bytes()),
        kinds(totals),
        count(plan.kept, "blob")
    ));
    if plan.young.0 > 0 {
        line(format!("younger than the grace and left alone: {} ({})", count(plan.young.0, "blob"), bytes(plan.young.1)));
    }
    if totals.kept > 0 || totals.failed > 0 {
        line(format!("{} stayed after all, {} failed: each says why in its record", totals.kept, totals.failed));
    }
    let broken: u64 = plan.repositories.iter().map(|(_, findings)| findings.broken_tags).sum();
    if broken > 0 {
        line(format!("{} to a manifest that is not there; reg-check says which, reg-fix mends what can be mended", lead(broken)));
    }
    if done.purged.runs > 0 {
        line(format!(
            "freed: {}, {} of the trash older than {}",
            bytes(done.purged.bytes),
            count(done.purged.runs, "run"),
            args.keep_trash
        ));
    }
    if acted && done.undo_until.is_none() && totals.count() > 0 {
        line(format!("freed: {}, for good", bytes(done.removed)));
    }
    if let (Some(until), Some(run)) = (done.undo_until, &done.run) {
        line(format!(
            "can be undone until {}, with --undo {} --yes; the first run after that frees {}",
            day(until),
            word(run),
            bytes(totals.bytes())
        ));
    }
    if let Some((sum, from)) = done.waits {
        let trash = if args.no_trash { "free".to_owned() } else { format!("free {} later", args.keep_trash) };
        line(format!(
            "next: {} ({}) that nothing leads to any more can go from {} on, and come {trash}",
            count(sum.count, "blob"),
            bytes(sum.bytes),
            day(from)
        ));
    } else if args.online && plan.later.is_empty() && done.due.wait_for_restart == 0 {
        line("next: nothing waits for a later run".to_owned());
    }
    if args.online && memory.needs_restart() && done.waits.is_some() {
        let assumed = if memory.is_assumed() {
            "it is assumed that the registry caches in its memory: "
        } else {
            "the registry caches in its memory: "
        };
        line(format!(
            "{assumed}these blobs go only after it was restarted, by --restart COMMAND, --restart-process, or as --from-process sees"
        ));
    }
    if !acted {
        line("nothing was done: --yes does it".to_owned());
    }
    text
}

fn lead(tags: u64) -> String {
    format!("{} {}", count(tags, "tag"), if tags == 1 { "leads" } else { "lead" })
}

/// `2 blobs, 3 links to layers`.
fn kinds(totals: &Totals) -> String {
    let words = |what: &Reclaimed, number: u64| match what {
        Reclaimed::Blob => count(number, "blob"),
        Reclaimed::Revision => count(number, "manifest"),
        Reclaimed::TagIndex => count(number, "former tag"),
        Reclaimed::LayerLink => count(number, "layer link"),
        Reclaimed::Upload => count(number, "upload"),
        Reclaimed::Repository => count(number, "repository"),
        Reclaimed::Temporary => count(number, "temporary file"),
    };
    let parts: Vec<String> = totals.kinds.iter().filter(|(_, sum)| sum.count > 0).map(|(what, sum)| words(what, sum.count)).collect();
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}

/// A moment, to the minute.
pub(crate) fn day(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// What a dry run says of whether the registry writes.
pub(crate) fn standing(name: &str, standing: &Standing, online: bool) -> String {
    let text = match standing {
        Standing::ReadOnly => "the registry is read-only".to_owned(),
        Standing::Stopped => "nobody writes, as --stopped says".to_owned(),
        Standing::Writable { url } if online => format!("the registry at {url} can be written to, and goes on serving"),
        Standing::Writable { url } => {
            format!("the registry at {url} can be written to: --yes needs --online, or hooks that switch it to read-only")
        }
        Standing::Unproven { .. } if online => "the registry may be writing, and goes on serving".to_owned(),
        Standing::Unproven { why } => format!("whether the registry writes is not known: {why}"),
    };
    format!("{name}: {text}\n")
}

/// What is said when the hooks have run.
pub(crate) fn afterwards(name: &str, standing: &Standing) -> String {
    let text = match standing {
        Standing::Writable { url } => format!("after --after the registry at {url} can be written to again"),
        Standing::ReadOnly => "after --after the registry is STILL READ-ONLY: pushes fail until it is switched back".to_owned(),
        Standing::Stopped | Standing::Unproven { .. } => {
            "after --after the registry does not say whether it can be written to again: look at it".to_owned()
        }
    };
    format!("{name}: {text}\n")
}

/// Why the storage is not touched.
pub(crate) fn refusal(standing: &Standing) -> Option<String> {
    match standing {
        Standing::ReadOnly | Standing::Stopped => None,
        Standing::Writable { url } => Some(format!(
            "the registry at {url} can be written to, and a push that relies on what is taken away would be broken: let it go on serving with --online, or switch it to read-only with --before and --after"
        )),
        Standing::Unproven { why } => Some(format!("{why}; or let it go on serving with --online")),
    }
}

/// That a restart is due.
pub(crate) fn restart(args: &Args) -> String {
    let when = if args.after.is_some() { "unless --after has restarted it" } else { "before the next push" };
    format!(
        "RESTART THE REGISTRY {when}: it has in memory what was taken away, and would take pushes of it without their layers; --restart COMMAND or --restart-process does it"
    )
}

/// That blobs of an earlier run stay until a restart.
pub(crate) fn waits_for_restart(due: Due) -> String {
    format!(
        "{} that an earlier run found can go only after the registry was restarted, because it has in memory what it had then: restart it by --restart COMMAND or --restart-process, or let --from-process see that it was restarted",
        count(due.wait_for_restart, "blob")
    )
}

/// What could not be read, or is not known.
pub(crate) fn problems(plan: &Plan) -> Vec<String> {
    let mut sentences: Vec<String> = plan.problems.iter().take(SENTENCES).map(ToString::to_string).collect();
    if plan.problems.len() > SENTENCES {
        sentences.push(format!("and {} more of this kind", plan.problems.len() - SENTENCES));
    }
    if plan.holds_blobs {
        sentences
            .push("something in the tree could not be looked into, and may need anything: no blob goes until that is mended".to_owned());
    } else if !sentences.is_empty() {
        sentences.push("what is not known was kept, with all that it may need; reg-check says what is wrong with it".to_owned());
    }
    sentences
}
