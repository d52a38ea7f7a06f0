//! Reads journals: what was begun, what came of it, and with which bytes it can be put back.
//!
//! Owns the state of each manifest after all lines. A line that is no JSON is a write that was cut, and says nothing: the line that
//! announces a request is on the disk before the request is sent. What follows from the state is decided by `resume` and `undo`.
//! Pure but for the reader that it is given.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::BufRead;

use chrono::{DateTime, Utc};
use common::digest::Digest;
use common::inventory::InvalidAlias;
use common::jsonl::{self, Line, Problem, Reader};
use common::record::{Deletion, DeletionAction, DeletionResult, Kind, Policy, SCHEMA, Use};
use common::reference::{InvalidName, Tag};
use serde::Deserialize;

use crate::origin::Origin;
use crate::plan::{invalid, place};
use crate::work::Place;

/// What journals say, read to their end.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// In the order in which they were first named.
    pub(crate) entries: Vec<Entry>,
    /// The uses that the plans passed on.
    pub(crate) uses: Vec<(Place, Use)>,
    /// The lines that were cut.
    pub(crate) torn: Vec<u64>,
    /// What the headers of runs remember of their plans.
    pub(crate) origins: Vec<Origin>,
    /// The run to which the lines belong, where its header came.
    run: Option<usize>,
    /// Whether the lines are those of a dry run, which did nothing.
    dry_run: bool,
    places: HashMap<(Place, Digest), usize>,
}

/// One manifest in one repository.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) place: Place,
    pub(crate) digest: Digest,
    pub(crate) step: Step,
    /// The request may have been sent, and nothing has been put back since.
    pub(crate) begun: bool,
    /// The tags that may go with it.
    pub(crate) tags: BTreeSet<Tag>,
    /// Those that named it when it went.
    pub(crate) lost: BTreeSet<Tag>,
    /// The line in which it last lost a tag: of all that lost one, the last had it.
    pub(crate) lost_at: BTreeMap<Tag, u64>,
    /// The tags that were taken from it alone.
    pub(crate) untags: BTreeMap<Tag, Step>,
    pub(crate) media_type: Option<String>,
    /// Its bytes in base64.
    pub(crate) data: Option<String>,
    /// The digest of its config, where a line says it.
    pub(crate) config: Option<Digest>,
    pub(crate) parents: Vec<Digest>,
    pub(crate) subjects: Vec<Digest>,
    pub(crate) why: String,
    /// When it was last announced.
    pub(crate) time: Option<DateTime<Utc>>,
    /// Which of the origins it was last announced for.
    pub(crate) origin: Option<usize>,
}

/// How far a deletion came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing of it was begun, or it was left alone.
    Nothing,
    /// It was to go with another.
    Planned,
    /// The request was about to be sent.
    Started,
    /// It is gone.
    Gone,
    /// It could not be done.
    Failed,
}

/// What of a header is needed here: one that lacks the rest is a header all the same.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Begin {
    schema: u32,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    policy: Option<Policy>,
    #[serde(default)]
    plan_time: Option<DateTime<Utc>>,
}

impl History {
    /// Reads journals to the end.
    ///
    /// # Errors
    /// An input that cannot be read, a listing or a plan, a record of a later schema, a deletion that says what this version does not know.
    pub(crate) fn read(input: impl BufRead) -> anyhow::Result<Self> {
        let mut reader = Reader::new("standard input", input);
        let mut history = Self::default();
        loop {
            match reader.next_line() {
                Ok(Some(line)) => history.line(&line)?,
                Ok(None) => break,
                Err(error) if matches!(error.problem, Problem::Encoding | Problem::TooLong) => history.torn.push(error.line),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(history)
    }

    fn line(&mut self, line: &Line<'_>) -> Result<(), jsonl::Error> {
        // Half a line is no JSON, nor is the end of one.
        if !line.text().starts_with('{') || serde_json::from_str::<serde::de::IgnoredAny>(line.text()).is_err() {
            self.torn.push(line.number());
            return Ok(());
        }
        match line.kind()? {
            Kind::Header => {
                let Begin { schema, dry_run, policy, plan_time } = line.parse()?;
                if schema > SCHEMA {
                    return Err(line.error(Problem::Schema(schema)));
                }
                let policy = policy.unwrap_or_default();
                let wrong = |error: &dyn std::fmt::Display| line.error(Problem::Json(format!("names what cannot be: {error}")));
                let aliases = policy
                    .alias
                    .iter()
                    .map(|alias| alias.parse())
                    .collect::<Result<_, _>>()
                    .map_err(|error: InvalidAlias| wrong(&error))?;
                let strangers = policy
                    .not_alias
                    .iter()
                    .map(|host| host.parse())
                    .collect::<Result<_, _>>()
                    .map_err(|error: InvalidName| wrong(&error))?;
                self.dry_run = dry_run;
                self.run = Some(self.origins.len());
                self.origins.push(Origin { aliases, strangers, plan_time });
                Ok(())
            }
            Kind::Manifest => Err(line.error(Problem::Json("holds a manifest: this is no journal, but a listing or a plan".to_owned()))),
            Kind::Use => {
                let record: Use = line.parse()?;
                if let Some(listed) = &record.listed_as {
                    let place = place(line, &listed.registry, &listed.repository)?;
                    self.uses.push((place, record));
                }
                Ok(())
            }
            Kind::Deletion => self.deletion(line, line.parse()?),
            Kind::Trailer => {
                self.dry_run = false;
                self.run = None;
                Ok(())
            }
            Kind::Tag | Kind::Repository | Kind::Reclaim | Kind::Finding | Kind::Repair | Kind::Other => Ok(()),
        }
    }

    fn deletion(&mut self, line: &Line<'_>, record: Deletion) -> Result<(), jsonl::Error> {
        let place = place(line, &record.registry, &record.repository)?;
        let tags: BTreeSet<Tag> =
            record.tags.iter().map(|tag| tag.parse()).collect::<Result<_, InvalidName>>().map_err(|error| invalid(line, &error))?;
        if self.dry_run {
            return Ok(());
        }
        if record.action == DeletionAction::Restore {
            if record.result == DeletionResult::Restored {
                self.restored(place, &record.digest, &tags);
            }
            return Ok(());
        }
        let run = self.run;
        let waits = record.result == DeletionResult::Skipped && self.waits(&place, &record.digest);
        let entry = self.entry(place, &record.digest);
        if record.result == DeletionResult::Started && record.action != DeletionAction::Restore {
            entry.lost_at.extend(tags.iter().map(|tag| (tag.clone(), line.number())));
        }
        if let Some(data) = record.data {
            (entry.data, entry.media_type) = (Some(data), record.media_type.clone());
        }
        if entry.media_type.is_none() {
            entry.media_type = record.media_type;
        }
        entry.config = record.config.or(entry.config.take());
        let step = match record.result {
            DeletionResult::Planned => Step::Planned,
            DeletionResult::Started => Step::Started,
            DeletionResult::Deleted | DeletionResult::Untagged | DeletionResult::Absent => Step::Gone,
            DeletionResult::Failed => Step::Failed,
            DeletionResult::Skipped if waits => Step::Planned,
            DeletionResult::Skipped | DeletionResult::Restored => Step::Nothing,
        };
        match record.action {
            DeletionAction::Delete if step == Step::Planned && !waits => {
                let goes_with_another = !(record.parents.is_empty() && record.subjects.is_empty());
                // What names nothing above it was only shown, by a dry run whose header did not say so.
                if goes_with_another {
                    entry.tags.extend(tags);
                    entry.why = record.why.unwrap_or_default();
                    (entry.time, entry.origin) = (record.time, run);
                    (entry.parents, entry.subjects) = (record.parents, record.subjects);
                }
                // It may be there again and go with another index; what was begun and has no good result is still to be finished.
                if entry.step == Step::Nothing || (entry.step == Step::Gone && goes_with_another) {
                    entry.step = Step::Planned;
                }
            }
            DeletionAction::Delete => {
                if record.result == DeletionResult::Started {
                    entry.lost.extend(tags.iter().cloned());
                    entry.tags.extend(tags);
                    entry.why = record.why.unwrap_or_default();
                    (entry.time, entry.origin) = (record.time, run);
                }
                entry.begun |= matches!(record.result, DeletionResult::Started | DeletionResult::Deleted);
                entry.step = step;
            }
            // A plan shown by a dry run says nothing of what was done.
            DeletionAction::Untag if step == Step::Planned => {}
            DeletionAction::Untag => {
                if record.result == DeletionResult::Started {
                    entry.why = record.why.unwrap_or_default();
                    (entry.time, entry.origin) = (record.time, run);
                }
                for tag in tags {
                    // That a tag is gone is this tool's doing only where it began to take it, and what it took stays taken though
                    // a later run left the tag alone.
                    let before = entry.untags.get(&tag).copied().unwrap_or(Step::Nothing);
                    let counts = match record.result {
                        DeletionResult::Started | DeletionResult::Untagged => true,
                        DeletionResult::Failed | DeletionResult::Skipped => matches!(before, Step::Started | Step::Failed),
                        _ => before != Step::Nothing,
                    };
                    if counts {
                        entry.untags.insert(tag, step);
                    }
                }
            }
            DeletionAction::Restore => {}
        }
        Ok(())
    }

    /// Whether one that is left alone waits for another: it was to go with an index or a subject that is not gone yet.
    fn waits(&self, place: &Place, digest: &Digest) -> bool {
        let entry_of = |digest: &Digest| self.index(place, digest).and_then(|index| self.entries.get(index));
        entry_of(digest).is_some_and(|entry| {
            let above = entry.parents.iter().chain(&entry.subjects).filter_map(entry_of);
            entry.step != Step::Nothing && above.into_iter().any(|above| above.step != Step::Gone)
        })
    }

    /// A manifest was put back with these tags, and what was to go with it is in a listing again: the next plan decides on that.
    fn restored(&mut self, place: Place, digest: &Digest, tags: &BTreeSet<Tag>) {
        let entry = self.entry(place.clone(), digest);
        entry.step = Step::Nothing;
        entry.begun = false;
        entry.tags.clear();
        (entry.parents, entry.subjects) = (Vec::new(), Vec::new());
        entry.untags.retain(|tag, _| !tags.contains(tag));
        // The manifest is there, and these tags do not name it: as if they had been taken alone.
        entry.untags.extend(std::mem::take(&mut entry.lost).into_iter().filter(|tag| !tags.contains(tag)).map(|tag| (tag, Step::Gone)));
        let mut open = vec![digest.clone()];
        while let Some(above) = open.pop() {
            for entry in self.entries.iter_mut().filter(|entry| entry.place == place && !entry.begun) {
                let goes_with_it = entry.parents.contains(&above) || entry.subjects.contains(&above);
                if goes_with_it && matches!(entry.step, Step::Planned | Step::Failed) {
                    entry.step = Step::Nothing;
                    entry.tags.clear();
                    (entry.parents, entry.subjects) = (Vec::new(), Vec::new());
                    open.push(entry.digest.clone());
                }
            }
        }
    }

    fn entry(&mut self, place: Place, digest: &Digest) -> &mut Entry {
        let index = *self.places.entry((place, digest.clone())).or_insert_with_key(|(place, digest)| {
            self.entries.push(Entry {
                place: place.clone(),
                digest: digest.clone(),
                step: Step::Nothing,
                begun: false,
                tags: BTreeSet::new(),
                lost: BTreeSet::new(),
                lost_at: BTreeMap::new(),
                untags: BTreeMap::new(),
                media_type: None,
                data: None,
                config: None,
                parents: Vec::new(),
                subjects: Vec::new(),
                why: String::new(),
                time: None,
                origin: None,
            });
            self.entries.len() - 1
        });
        &mut self.entries[index]
    }

    /// Where a manifest stands among the entries.
    pub(crate) fn index(&self, place: &Place, digest: &Digest) -> Option<usize> {
        self.places.get(&(place.clone(), digest.clone())).copied()
    }

    /// What is to be said of lines that were cut.
    pub(crate) fn torn(&self) -> Option<String> {
        let first = self.torn.first()?;
        let lines = if let [_] = self.torn.as_slice() { "1 line is".to_owned() } else { format!("{} lines are", self.torn.len()) };
        Some(format!(
            "standard input: {lines} no JSON, the first is line {first}: a write was cut there; what it would have announced was not asked of the registry"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{digest, place as here};
    use serde_json::{Value, json};

    pub(crate) fn line(name: &str, action: &str, result: &str, tags: &[&str]) -> Value {
        let data = (result == "started").then_some("e30=");
        json!({"type":"deletion","registry":"registry.example.com","repository":"team/app","digest":digest(name),"action":action,"result":result,
               "why":"w","tags":tags,"mediaType":"m","data":data})
    }

    fn read(text: &str) -> History {
        History::read(text.as_bytes()).unwrap()
    }

    fn of(lines: &[Value]) -> Entry {
        let text: String = lines.iter().map(|line| format!("\n{line}\n")).collect();
        {
            let mut history = read(&text);
            let index = history.index(&here(), &digest("a")).unwrap();
            history.entries.remove(index)
        }
    }

    #[test]
    fn the_last_line_decides_how_far_it_came() {
        for (results, step, begun) in [
            (vec!["planned"], Step::Planned, false),
            (vec!["planned", "started"], Step::Started, true),
            (vec!["started", "deleted"], Step::Gone, true),
            (vec!["started", "failed"], Step::Failed, true),
            (vec!["failed"], Step::Failed, false),
            (vec!["skipped"], Step::Nothing, false),
            (vec!["absent"], Step::Gone, false),
            (vec!["started", "deleted", "absent"], Step::Gone, true),
            (vec!["started", "absent"], Step::Gone, true),
        ] {
            let lines: Vec<Value> = results.iter().map(|result| line("a", "delete", result, &["1"])).collect();
            let entry = of(&lines);
            assert_eq!((entry.step, entry.begun), (step, begun), "{results:?}");
        }
    }

    #[test]
    fn what_was_put_back_is_as_if_nothing_had_been() {
        let entry =
            of(&[line("a", "delete", "started", &["1"]), line("a", "delete", "deleted", &["1"]), line("a", "restore", "restored", &["1"])]);
        assert_eq!((entry.step, entry.begun, entry.tags.len()), (Step::Nothing, false, 0));
        let entry = of(&[line("a", "delete", "started", &["1"]), line("a", "restore", "failed", &["1"])]);
        assert!(entry.begun, "and what could not be put back can be tried again");
    }

    #[test]
    fn a_tag_that_was_not_put_back_stays_lost() {
        let tags = ["1", "2"];
        let entry = of(&[
            line("a", "delete", "started", &tags),
            line("a", "delete", "deleted", &tags),
            line("a", "restore", "started", &["1"]),
            line("a", "restore", "restored", &["1"]),
            line("a", "restore", "skipped", &["2"]),
        ]);
        assert_eq!((entry.begun, entry.untags.into_iter().collect::<Vec<_>>()), (false, vec![("2".parse().unwrap(), Step::Gone)]));
    }

    #[test]
    fn a_tag_that_no_request_was_sent_for_is_not_lost() {
        for (results, expected) in [
            (vec!["failed"], None),
            (vec!["skipped", "failed"], None),
            (vec!["skipped", "absent"], None),
            (vec!["started", "failed"], Some(Step::Failed)),
            (vec!["started", "untagged", "failed"], Some(Step::Gone)),
            (vec!["started", "untagged", "skipped"], Some(Step::Gone)),
            (vec!["started", "absent"], Some(Step::Gone)),
            (vec!["started", "skipped"], Some(Step::Nothing)),
        ] {
            let lines: Vec<Value> = results.iter().map(|result| line("a", "untag", result, &["1"])).collect();
            assert_eq!(of(&lines).untags.values().next().copied(), expected, "{results:?}");
        }
    }

    #[test]
    fn what_a_dry_run_shows_changes_nothing() {
        let above = json!([digest("index")]);
        let mut planned = line("a", "delete", "planned", &["1"]);
        planned["parents"] = above.clone();
        let shown = [line("a", "delete", "planned", &["1", "2"]), line("a", "delete", "skipped", &[]), line("a", "delete", "failed", &[])];
        let header = json!({"type":"header","tool":"reg-delete","version":"1","schema":1,"time":"2026-11-20T12:00:00Z","dryRun":true});
        for (name, before) in [
            ("planned", vec![planned.clone()]),
            ("started", vec![planned.clone(), line("a", "delete", "started", &["1"])]),
            ("failed", vec![planned.clone(), line("a", "delete", "started", &["1"]), line("a", "delete", "failed", &["1"])]),
            ("deleted", vec![planned.clone(), line("a", "delete", "started", &["1"]), line("a", "delete", "deleted", &["1"])]),
        ] {
            let expected = of(&before);
            let trailer = json!({"type":"trailer","complete":true,"records":3});
            let dry: Vec<Value> = before.iter().chain([&header]).chain(&shown).chain([&trailer]).cloned().collect();
            // A line of an earlier version's dry run, whose header does not say so.
            let unsaid: Vec<Value> = before.iter().chain(&shown[..1]).cloned().collect();
            for lines in [dry, unsaid] {
                let entry = of(&lines);
                assert_eq!((entry.step, &entry.tags, &entry.parents), (expected.step, &expected.tags, &expected.parents), "{name}");
            }
        }
        let trailer = json!({"type":"trailer","complete":true,"records":0});
        assert!(of(&[header, trailer, line("a", "delete", "started", &["1"])]).begun, "what follows a dry run counts");
    }

    #[test]
    fn tags_that_were_taken_alone_are_known_one_by_one() {
        let entry = of(&[
            line("a", "untag", "planned", &["0"]),
            line("a", "untag", "started", &["1"]),
            line("a", "untag", "untagged", &["1"]),
            line("a", "untag", "absent", &["2"]),
            line("a", "untag", "started", &["3"]),
            line("a", "untag", "started", &["4"]),
            line("a", "untag", "untagged", &["4"]),
            line("a", "restore", "restored", &["4"]),
        ]);
        let untags: Vec<(&str, Step)> = entry.untags.iter().map(|(tag, step)| (tag.as_str(), *step)).collect();
        assert_eq!(untags, [("1", Step::Gone), ("3", Step::Started)]);
        assert_eq!((entry.begun, entry.tags.len()), (false, 0));
    }

    #[test]
    fn a_line_that_was_cut_is_counted_and_says_nothing() {
        let whole = line("a", "delete", "started", &["1"]).to_string();
        for cut in [&whole[..whole.len() / 2], "{", "\"", "rubbish", &whole[40..]] {
            let history = read(&format!("\n{cut}\n\n{whole}\n"));
            assert_eq!((history.torn.as_slice(), history.entries.len()), (&[2][..], 1), "{cut}");
            assert!(history.torn().unwrap().contains("line 2"));
        }
        assert_eq!(read(&whole[..whole.len() - 1]).torn, [1], "the last line may lack its line feed, too");
        assert_eq!(History::read(&b"\xff\n{}\n"[..]).map(|history| history.torn).ok(), None, "an object that is no record was not cut");
        assert_eq!(History::read(&b"\xff\n\n"[..]).unwrap().torn, [1]);
        assert_eq!(read("").torn(), None);
    }

    #[test]
    fn what_is_not_understood_is_not_acted_on() {
        let header = json!({"type":"header","tool":"reg-delete","version":"9","schema":2,"time":"2026-11-20T12:00:00Z"});
        let mut nowhere = line("a", "delete", "started", &[]);
        nowhere["repository"] = json!("a/../b");
        for (bad, sentence) in [
            (line("a", "delete", "evaporated", &[]), "unknown variant `evaporated`"),
            (line("a", "bury", "started", &[]), "unknown variant `bury`"),
            (header, "schema 2"),
            (nowhere, "names what cannot be"),
            (json!({"type":"manifest"}), "this is no journal"),
        ] {
            let error = History::read(format!("{bad}\n").as_bytes()).unwrap_err().to_string();
            assert!(error.contains(sentence) && error.contains("line 1"), "{error}");
        }
    }
}
