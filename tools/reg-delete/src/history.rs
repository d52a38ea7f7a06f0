//! Reads journals: what was begun, what came of it, and with which bytes it can be put back.
//!
//! Owns the state of each manifest after all lines. A line that is no JSON is a write that was cut, and says nothing: the line that
//! announces a request is on the disk before the request is sent. What follows from the state is decided by `resume` and `undo`.
//! Pure but for the reader that it is given.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::BufRead;

use chrono::{DateTime, Utc};
use common::digest::Digest;
use common::jsonl::{self, Line, Problem, Reader};
use common::record::{Deletion, DeletionAction, DeletionResult, Kind, SCHEMA, Use};
use common::reference::{InvalidName, Tag};
use serde::Deserialize;

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
    pub(crate) parents: Vec<Digest>,
    pub(crate) subjects: Vec<Digest>,
    pub(crate) why: String,
    /// When it was last announced.
    pub(crate) time: Option<DateTime<Utc>>,
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

#[derive(Deserialize)]
struct Schema {
    schema: u32,
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
                let Schema { schema } = line.parse()?;
                if schema > SCHEMA { Err(line.error(Problem::Schema(schema))) } else { Ok(()) }
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
            Kind::Tag | Kind::Repository | Kind::Trailer | Kind::Other => Ok(()),
        }
    }

    fn deletion(&mut self, line: &Line<'_>, record: Deletion) -> Result<(), jsonl::Error> {
        let place = place(line, &record.registry, &record.repository)?;
        let tags: BTreeSet<Tag> =
            record.tags.iter().map(|tag| tag.parse()).collect::<Result<_, InvalidName>>().map_err(|error| invalid(line, &error))?;
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
        let step = match record.result {
            DeletionResult::Planned => Step::Planned,
            DeletionResult::Started => Step::Started,
            DeletionResult::Deleted | DeletionResult::Untagged | DeletionResult::Absent => Step::Gone,
            DeletionResult::Failed => Step::Failed,
            DeletionResult::Skipped | DeletionResult::Restored => Step::Nothing,
        };
        match record.action {
            DeletionAction::Delete => {
                if record.result == DeletionResult::Started {
                    entry.lost.extend(tags.iter().cloned());
                }
                if matches!(record.result, DeletionResult::Planned | DeletionResult::Started) {
                    entry.tags.extend(tags);
                    entry.why = record.why.unwrap_or_default();
                    entry.time = record.time;
                }
                if record.result == DeletionResult::Planned {
                    (entry.parents, entry.subjects) = (record.parents, record.subjects);
                }
                entry.begun |= matches!(record.result, DeletionResult::Started | DeletionResult::Deleted);
                entry.step = step;
            }
            // A plan shown by a dry run says nothing of what was done.
            DeletionAction::Untag if step == Step::Planned => {}
            DeletionAction::Untag => {
                if record.result == DeletionResult::Started {
                    entry.why = record.why.unwrap_or_default();
                    entry.time = record.time;
                }
                for tag in tags {
                    // That a tag is gone is this tool's doing only where it began to take it.
                    let before = entry.untags.get(&tag).copied();
                    if before.is_some() || step != Step::Gone || record.result == DeletionResult::Untagged {
                        entry.untags.insert(tag, step);
                    }
                }
            }
            DeletionAction::Restore if record.result == DeletionResult::Restored => {
                entry.step = Step::Nothing;
                entry.begun = false;
                entry.tags.clear();
                entry.lost.clear();
                entry.untags.retain(|tag, _| !tags.contains(tag));
            }
            DeletionAction::Restore => {}
        }
        Ok(())
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
                parents: Vec::new(),
                subjects: Vec::new(),
                why: String::new(),
                time: None,
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

fn place(line: &Line<'_>, registry: &str, repository: &str) -> Result<Place, jsonl::Error> {
    Ok(Place {
        host: registry.parse().map_err(|error| invalid(line, &error))?,
        repository: repository.parse().map_err(|error| invalid(line, &error))?,
    })
}

fn invalid(line: &Line<'_>, error: &InvalidName) -> jsonl::Error {
    line.error(Problem::Json(format!("names what cannot be: {error}")))
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
