//! What a journal shows unfinished. Pure.
//!
//! That is what was begun and has no result or a bad one, and what was to go with an index or a subject that went: without it no
//! listing names it, so no later plan takes it.

use std::collections::HashMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use common::digest::Digest;
use common::duration::Duration;
use common::inventory::Inventory;
use common::manifest::Manifest;

use crate::history::{Entry, History, Step};
use crate::hold;
use crate::judge::CLOCK_SKEW;
use crate::origin::Origin;
use crate::work::{Doomed, Place, Untag, Work};

/// The work that is left.
#[derive(Debug, Default)]
pub(crate) struct Unfinished {
    pub(crate) works: Vec<Work>,
    /// What is gone already, in the repositories in which work is left.
    pub(crate) gone: HashMap<Place, Vec<Doomed>>,
    /// What its plans knew. Its time is the oldest of them; of what has no plan's time, that at which it was announced.
    pub(crate) origin: Origin,
    /// When the last of it was announced.
    pub(crate) newest: Option<DateTime<Utc>>,
}

impl Unfinished {
    /// Holds what an inventory says is in use. The indexes that are gone count as if they were there: who uses one needs its children.
    pub(crate) fn hold_by_inventory(&mut self, inventory: &Inventory) {
        for work in &mut self.works {
            let left = work.deletes.len();
            work.deletes.extend(self.gone.get(&work.place).into_iter().flatten().cloned());
            hold::by_inventory(work, inventory);
            work.deletes.truncate(left);
        }
    }
}

/// Why what is left is not acted on: a sentence with the way out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("what the journal shows unfinished goes back to {}, longer ago than --max-plan-age {most}: take a new plan, or raise --max-plan-age", time.format("%Y-%m-%dT%H:%M:%SZ"))]
    Stale { time: DateTime<Utc>, most: Duration },
    #[error("what the journal shows unfinished is of {}, more than 5 minutes in the future: set the clocks right and take a new plan", time.format("%Y-%m-%dT%H:%M:%SZ"))]
    Future { time: DateTime<Utc> },
}

/// Judges the age of what is left as that of a plan: by what it was decided on, however often it was resumed since.
///
/// # Errors
/// What is too old, or of a time that has not come.
pub(crate) fn judge(unfinished: &Unfinished, most: Duration, now: DateTime<Utc>) -> Result<(), Refusal> {
    let times = || unfinished.origin.plan_time.into_iter().chain(unfinished.newest);
    if let Some(time) = times().find(|time| *time - now > CLOCK_SKEW) {
        return Err(Refusal::Future { time });
    }
    match times().min().filter(|time| now - *time > most.delta()) {
        Some(time) => Err(Refusal::Stale { time, most }),
        None => Ok(()),
    }
}

/// The work that is left, and what is known of where it comes from.
pub(crate) fn unfinished(history: &History) -> Unfinished {
    let mut works: Vec<Work> = Vec::new();
    let mut places: HashMap<Place, usize> = HashMap::new();
    let (mut gone, mut origin, mut newest): (HashMap<Place, Vec<Doomed>>, _, _) = (HashMap::new(), Origin::default(), None);
    let mut work_of = |place: &Place, works: &mut Vec<Work>| {
        *places.entry(place.clone()).or_insert_with(|| {
            works.push(Work::new(place.clone()));
            works.len() - 1
        })
    };
    for (entry, deletes) in history.entries.iter().zip(unfinished_deletions(history)) {
        let untags: Vec<_> =
            entry.untags.iter().filter(|(_, step)| matches!(step, Step::Started | Step::Failed)).map(|(tag, _)| tag.clone()).collect();
        if !deletes && entry.begun {
            gone.entry(entry.place.clone()).or_default().push(doomed(entry));
        }
        if !deletes && untags.is_empty() {
            continue;
        }
        let mut known = entry.origin.and_then(|origin| history.origins.get(origin)).cloned().unwrap_or_default();
        // A journal of an earlier version says nothing of its plan, which is no younger than what it led to.
        known.plan_time = known.plan_time.or(entry.time);
        origin.add(&known);
        newest = newest.into_iter().chain(entry.time).max();
        let index = work_of(&entry.place, &mut works);
        let Some(work) = works.get_mut(index) else { continue };
        if deletes {
            work.deletes.push(doomed(entry));
        } else {
            let (digest, media_type, why) = (entry.digest.clone(), entry.media_type.clone(), entry.why.clone());
            work.untags.push(Untag { digest, tags: untags.into_iter().collect(), media_type, why, held: None });
        }
    }
    for work in &mut works {
        work.uses = history.uses.iter().filter(|(place, _)| *place == work.place).map(|(_, record)| record.clone()).collect();
        work.put_in_order();
    }
    Unfinished { works, gone, origin, newest }
}

/// The deletions that were begun and have no good result, and those that were to go with one that was begun, at any depth.
fn unfinished_deletions(history: &History) -> Vec<bool> {
    let mut unfinished: Vec<bool> =
        history.entries.iter().map(|entry| entry.step == Step::Started || (entry.step == Step::Failed && entry.begun)).collect();
    loop {
        let goes = |place: &Place, digest: &Digest| {
            history
                .index(place, digest)
                .is_some_and(|index| unfinished.get(index) == Some(&true) || history.entries.get(index).is_some_and(|entry| entry.begun))
        };
        let lost_its_index = |entry: &Entry| entry.parents.iter().chain(&entry.subjects).any(|above| goes(&entry.place, above));
        let is_new =
            |(entry, known): &(&Entry, &bool)| !**known && matches!(entry.step, Step::Planned | Step::Failed) && lost_its_index(entry);
        let found: Vec<usize> =
            history.entries.iter().zip(&unfinished).enumerate().filter(|(_, pair)| is_new(pair)).map(|(index, _)| index).collect();
        if found.is_empty() {
            return unfinished;
        }
        for index in found {
            if let Some(known) = unfinished.get_mut(index) {
                *known = true;
            }
        }
    }
}

fn doomed(entry: &Entry) -> Doomed {
    let content = content(entry);
    let subject = content.as_ref().and_then(|content| content.subject.clone());
    let mut subjects = entry.subjects.clone();
    subjects.extend(
        subject.into_iter().chain(entry.tags.iter().filter_map(common::reference::Tag::subject)).filter(|subject| *subject != entry.digest),
    );
    let children: Vec<Digest> = content.iter().flat_map(|content| &content.children).map(|child| child.digest.clone()).collect();
    Doomed {
        digest: entry.digest.clone(),
        tags: entry.tags.clone(),
        media_type: entry.media_type.clone(),
        config: content.and_then(|content| content.config).or_else(|| entry.config.clone()),
        children,
        parents: entry.parents.clone(),
        subjects,
        why: entry.why.clone(),
        held: None,
    }
}

/// What the bytes in the journal say, where it has them.
fn content(entry: &Entry) -> Option<Manifest> {
    let bytes = BASE64_STANDARD.decode(entry.data.as_ref()?).ok()?;
    Manifest::parse(&bytes, entry.media_type.as_deref()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::digest;
    use serde_json::{Value, json};

    fn line(name: &str, result: &str, above: &[&str], time: &str) -> Value {
        let parents: Vec<Digest> = above.iter().map(|name| digest(name)).collect();
        let parents = if result == "planned" { parents } else { Vec::new() };
        json!({"type":"deletion","registry":"registry.example.com","repository":"team/app","digest":digest(name),"action":"delete","result":result,
               "why":"w","tags":[],"mediaType":"m","parents":parents,"time":format!("2026-11-20T{time}:00Z")})
    }

    fn left(lines: &[Value]) -> (Vec<Digest>, Option<String>) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let Unfinished { works, origin, .. } = unfinished(&History::read(text.as_bytes()).unwrap());
        let digests = works.iter().flat_map(|work| &work.deletes).map(|doomed| doomed.digest.clone()).collect();
        (digests, origin.plan_time.map(|time| time.format("%H:%M").to_string()))
    }

    #[test]
    fn what_was_begun_and_what_lost_its_index_is_left() {
        let journal = [
            line("child", "planned", &["index"], "11:00"),
            line("grandchild", "planned", &["child"], "11:00"),
            line("index", "started", &[], "12:00"),
        ];
        assert_eq!(left(&journal), (vec![digest("index"), digest("child"), digest("grandchild")], Some("11:00".into())));
        let mut on = journal.to_vec();
        on.push(line("index", "deleted", &[], "12:01"));
        assert_eq!(left(&on).0, [digest("child"), digest("grandchild")]);
        on.extend([line("child", "started", &[], "12:02"), line("child", "deleted", &[], "12:03")]);
        assert_eq!(left(&on).0, [digest("grandchild")]);
        on.push(line("grandchild", "failed", &[], "12:04"));
        assert_eq!(left(&on).0, [digest("grandchild")]);
        on.push(line("grandchild", "skipped", &[], "12:05"));
        assert_eq!(left(&on), (vec![], None));
    }

    #[test]
    fn what_is_left_is_as_old_as_its_plan_and_knows_its_names() {
        let header = |time: &str| {
            json!({"type":"header","tool":"reg-delete","version":"1","schema":1,"time":"2026-11-20T12:00:00Z","planTime":format!("2026-11-{time}:00:00Z"),
                   "policy":{"alias":["mirror.local=registry.example.com"],"notAlias":["other.local"]}})
        };
        let trailer = json!({"type":"trailer","complete":true,"records":0});
        let read = |lines: &[Value]| {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            unfinished(&History::read(text.as_bytes()).unwrap())
        };
        let done = [header("01T00"), line("done", "started", &[], "09:00"), line("done", "deleted", &[], "09:00"), trailer];
        let mut lines = done.to_vec();
        lines.extend([header("19T11"), line("index", "started", &[], "12:00")]);
        let left = read(&lines);
        assert_eq!((left.origin.aliases.len(), left.origin.strangers.len()), (1, 1));
        let now = |time: &str| format!("2026-11-{time}:00Z").parse().unwrap();
        let (day, time) = (Duration::hours(24), now("19T11:00"));
        assert_eq!(judge(&left, day, now("20T12:00")), Err(Refusal::Stale { time, most: day }), "and not by what is done");
        assert_eq!(judge(&left, Duration::hours(26), now("20T12:00")), Ok(()));
        assert_eq!(judge(&left, day, now("20T11:54")), Err(Refusal::Future { time: now("20T12:00") }));
        // What a resumption began goes on being of the same age.
        let mut header = common::record::Header::new("reg-delete", "1", now("20T13:00"));
        left.origin.write_into(&mut header);
        let again = [serde_json::to_value(&header).unwrap(), line("index", "started", &[], "13:00"), line("index", "failed", &[], "13:00")];
        lines.extend(again);
        assert_eq!(read(&lines).origin, left.origin);
        // A clock that went wrong.
        let future = read(&[self::line("index", "started", &[], "12:00")]);
        assert_eq!(judge(&future, day, now("20T11:54")), Err(Refusal::Future { time: now("20T12:00") }));
    }

    #[test]
    fn what_was_to_go_with_an_index_that_was_put_back_is_left_to_the_next_plan() {
        let index = digest("index");
        let restored = json!({"type":"deletion","registry":"registry.example.com","repository":"team/app","digest":index,"action":"restore","result":"restored","tags":[]});
        let journal = [
            line("child", "planned", &["index"], "11:00"),
            line("grandchild", "planned", &["child"], "11:00"),
            line("failed", "planned", &["index"], "11:00"),
            line("failed", "failed", &["index"], "11:00"),
            line("begun", "planned", &["index"], "11:00"),
            line("below", "planned", &["begun"], "11:00"),
            line("begun", "started", &[], "11:00"),
            line("index", "started", &[], "11:00"),
            line("index", "deleted", &[], "11:00"),
            restored,
            // Another plan takes the index, and not what went with it before.
            line("index", "started", &[], "12:00"),
            line("index", "deleted", &[], "12:00"),
        ];
        assert_eq!(left(&journal).0, [digest("begun"), digest("below")]);
    }

    #[test]
    fn what_was_left_alone_because_its_index_was_still_there_waits_for_it() {
        let mut journal = vec![
            line("child", "planned", &["index"], "11:00"),
            line("grandchild", "planned", &["child"], "11:00"),
            line("index", "started", &[], "11:00"),
            line("index", "failed", &[], "11:00"),
            line("child", "skipped", &[], "11:00"),
            line("grandchild", "skipped", &[], "11:00"),
        ];
        assert_eq!(left(&journal).0, [digest("index"), digest("child"), digest("grandchild")]);
        journal.extend([line("index", "started", &[], "12:00"), line("index", "deleted", &[], "12:00")]);
        assert_eq!(left(&journal).0, [digest("child"), digest("grandchild")]);
        journal.push(line("child", "skipped", &[], "12:00"));
        assert_eq!(left(&journal).0, [], "its index is gone, so it was left alone for its own sake, and what it names with it");
    }

    #[test]
    fn what_goes_again_with_another_index_is_left_again() {
        let journal = [
            line("child", "planned", &["index"], "11:00"),
            line("index", "started", &[], "11:00"),
            line("index", "deleted", &[], "11:00"),
            line("child", "started", &[], "11:00"),
            line("child", "deleted", &[], "11:00"),
            line("child", "planned", &["other"], "12:00"),
            line("other", "started", &[], "12:00"),
            line("other", "deleted", &[], "12:00"),
        ];
        assert_eq!(left(&journal).0, [digest("child")]);
    }

    #[test]
    fn what_was_only_shown_or_stands_in_a_listing_still_is_not() {
        assert!(left(&[line("child", "planned", &["index"], "11:00"), line("index", "planned", &[], "11:00")]).0.is_empty());
        assert!(left(&[line("a", "failed", &[], "11:00")]).0.is_empty(), "the next plan takes it");
        let restored = json!({"type":"deletion","registry":"registry.example.com","repository":"team/app","digest":digest("index"),"action":"restore","result":"restored","tags":[]});
        assert!(left(&[line("child", "planned", &["index"], "11:00"), line("index", "started", &[], "12:00"), restored]).0.is_empty());
    }
}
