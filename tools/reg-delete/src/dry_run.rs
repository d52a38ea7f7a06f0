//! What would be done, without asking anything of any registry.

use chrono::{DateTime, Utc};
use common::cli::{Context, Status};
use common::record::{Deletion, DeletionAction, DeletionResult, Header, Trailer};

use crate::tally::Tally;
use crate::undo::Restoration;
use crate::work::{Work, record};

/// Shows what would be deleted.
pub(crate) fn deletions(context: &Context, works: &[Work], now: DateTime<Utc>) -> anyhow::Result<Status> {
    let deletions = works.iter().flat_map(|work| {
        let deletes = work.deletes.iter().map(|doomed| match &doomed.held {
            Some(why) => doomed.record(&work.place, DeletionResult::Skipped, Some(why.clone())),
            None => doomed.record(&work.place, DeletionResult::Planned, None),
        });
        let untags = work.untags.iter().map(|untag| match &untag.held {
            Some(why) => untag.record(&work.place, &untag.tags, DeletionResult::Skipped, Some(why.clone())),
            None => untag.record(&work.place, &untag.tags, DeletionResult::Planned, None),
        });
        deletes.chain(untags)
    });
    let tally = written(context, deletions, now)?;
    context.summarize(format_args!("{}: {}", context.name(), tally.dry_run("go")));
    Ok(tally.status())
}

/// Shows what would be put back.
pub(crate) fn restorations(context: &Context, restorations: &[Restoration], now: DateTime<Utc>) -> anyhow::Result<Status> {
    let records = restorations.iter().flat_map(|restoration| &restoration.manifests).map(|lost| {
        let (result, why) = match &lost.content {
            Ok(_) => (DeletionResult::Planned, "undo"),
            Err(why) => (DeletionResult::Failed, why.as_str()),
        };
        record(&lost.place, &lost.digest, DeletionAction::Restore, result, why.to_owned(), &lost.tags, &lost.media_type)
    });
    let tally = written(context, records, now)?;
    context.summarize(format_args!("{}: {}", context.name(), tally.dry_run("be put back")));
    Ok(tally.status())
}

/// Writes the records of a dry run.
fn written(context: &Context, records: impl Iterator<Item = Deletion>, now: DateTime<Utc>) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let mut output = context.output();
    // Appended to a journal it must change nothing of what is read there.
    output.write(&Header { dry_run: true, ..Header::new(context.name(), context.version(), now) })?;
    let mut count = 0;
    for record in records {
        count += 1;
        tally.count(&record);
        output.write(&record)?;
    }
    output.write(&Trailer::new(true, count, tally.totals()))?;
    output.flush()?;
    Ok(tally)
}
