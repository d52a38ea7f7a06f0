//! Reads a plan: records with a verdict, whole sections of them, nothing done before the last line.
//!
//! Owns the syntax and what can be said of a plan by itself. Whether it may be acted on, today and under the limits that the
//! user set, is the business of `judge`. Pure but for the reader that it is given.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::BufRead;

use chrono::{DateTime, Utc};
use common::cli::Refused;
use common::digest::Digest;
use common::jsonl::{self, Line, Problem, Reader, Sections};
use common::record::{Action, Header, Input, Kind, Limit, PlanTotals, Repository, Trailer, Use, Verdict};
use common::reference::{InvalidName, Tag};
use serde::Deserialize;

use crate::hold;
use crate::work::{Doomed, Place, Untag, Work};

/// The way out for who took a stream apart.
const WAY_OUT: &str = "take the plan again; where jq stands between the tools, let headers and trailers pass: \
                       jq -c 'select(.type != \"manifest\" or (.repository | startswith(\"team/\")))'";

/// Plans that were read to their end.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) sections: Vec<Section>,
    /// What is to be done, in the order in which the repositories came.
    pub(crate) works: Vec<Work>,
    /// All repositories that a record named.
    pub(crate) named: Vec<Place>,
}

/// What a section says of itself, and how much of it came.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    /// The line in which it begins.
    pub(crate) line: u64,
    pub(crate) written: DateTime<Utc>,
    pub(crate) now: Option<DateTime<Utc>>,
    pub(crate) inputs: Vec<Input>,
    pub(crate) limit: Option<Limit>,
    pub(crate) aliases: Vec<String>,
    pub(crate) strangers: Vec<String>,
    pub(crate) complete: bool,
    pub(crate) totals: PlanTotals,
    /// The verdicts and uses that really came.
    pub(crate) came: Came,
}

/// How many records of a section came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Came {
    pub(crate) deletes: u64,
    pub(crate) untags: u64,
    pub(crate) uses: u64,
}

/// What of a manifest record is needed here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Judged {
    registry: String,
    repository: String,
    digest: Digest,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    config: Option<Digest>,
    #[serde(default)]
    children: Vec<Digest>,
    #[serde(default)]
    parents: Vec<Digest>,
    #[serde(default)]
    subjects: Vec<Digest>,
    #[serde(default)]
    verdict: Option<Verdict>,
}

impl Plan {
    /// Reads plans to the end.
    ///
    /// # Errors
    /// What is no plan, or a plan of which a part is missing ([`Refused`]).
    pub(crate) fn read(input: impl BufRead) -> anyhow::Result<Self> {
        let mut reader = Reader::new("standard input", input);
        let mut reading = Reading::default();
        let mut read = || -> anyhow::Result<()> {
            while let Some(line) = reader.next_line()? {
                reading.line(&line)?;
            }
            reading.placing.finish(reader.name())?;
            Ok(())
        };
        read().map_err(|error| match error.downcast_ref::<jsonl::Error>() {
            Some(cut) if cut.problem.is_section() => anyhow::Error::new(Refused(format!("{cut}; {WAY_OUT}"))),
            _ => error,
        })?;
        Ok(reading.finish())
    }
}

#[derive(Default)]
struct Reading {
    placing: Sections,
    header: Option<(u64, Header)>,
    came: Came,
    plan: Plan,
    works: HashMap<Place, usize>,
    /// The verdicts so far, by place and digest: plans that follow one another may speak of the same manifest.
    seen: HashMap<(usize, Digest), Seen>,
}

#[derive(Debug, Clone, Copy)]
enum Seen {
    Kept,
    Deleted(usize),
    Untagged(usize),
}

impl Reading {
    fn line(&mut self, line: &Line<'_>) -> anyhow::Result<()> {
        match self.placing.place(line)? {
            jsonl::Place::Header(header) => {
                self.header = Some((line.number(), *header));
                self.came = Came::default();
            }
            jsonl::Place::Trailer(trailer) => self.end(line, trailer)?,
            jsonl::Place::Within(Kind::Manifest) => self.manifest(line)?,
            jsonl::Place::Within(Kind::Use) => {
                let record: Use = line.parse()?;
                // One without `listedAs` was put in by somebody else than reg-select and says nothing of where to ask.
                if let Some(listed) = &record.listed_as {
                    let work = self.work(place(line, &listed.registry, &listed.repository)?);
                    self.came.uses += 1;
                    if let Some(work) = self.plan.works.get_mut(work) {
                        work.uses.push(record);
                    }
                }
            }
            jsonl::Place::Within(Kind::Repository) => {
                let record: Repository = line.parse()?;
                // What can be no name is in no plan, and need not stop one.
                if let Ok(place) = place(line, &record.registry, &record.repository) {
                    self.work(place);
                }
            }
            jsonl::Place::Within(_) => {}
        }
        Ok(())
    }

    fn end(&mut self, line: &Line<'_>, trailer: Trailer) -> anyhow::Result<()> {
        let Some((begun, header)) = self.header.take() else { return Ok(()) };
        let totals: PlanTotals = serde_json::from_value(serde_json::Value::Object(trailer.totals)).map_err(|error| {
            line.error(Problem::Json(format!(
                "ends a section of {}, which is no plan ({error}): let reg-select decide first, or give a journal to --undo or --resume",
                header.tool
            )))
        })?;
        let policy = header.policy.unwrap_or_default();
        self.plan.sections.push(Section {
            line: begun,
            written: header.time,
            now: header.now,
            inputs: header.inputs.unwrap_or_default(),
            limit: policy.max_delete,
            aliases: policy.alias,
            strangers: policy.not_alias,
            complete: trailer.complete,
            totals,
            came: self.came,
        });
        Ok(())
    }

    fn manifest(&mut self, line: &Line<'_>) -> anyhow::Result<()> {
        let record: Judged = line.parse()?;
        let place = place(line, &record.registry, &record.repository)?;
        let Some(verdict) = record.verdict else {
            anyhow::bail!(line.error(Problem::Json(
                "holds a manifest without a verdict: a listing is no plan; let reg-select decide first: reg-list … | reg-select … | reg-delete"
                    .to_owned()
            )));
        };
        let place = self.work(place);
        let why = verdict.reasons.iter().map(|reason| format!("{}: {}", reason.rule, reason.why)).collect::<Vec<_>>().join("; ");
        let tags = |texts: &[String]| {
            texts.iter().map(|text| text.parse::<Tag>()).collect::<Result<_, InvalidName>>().map_err(|error| invalid(line, &error))
        };
        let seen = self.seen.entry((place, record.digest.clone()));
        let Some(work) = self.plan.works.get_mut(place) else { return Ok(()) };
        match verdict.action {
            Action::Delete => {
                self.came.deletes += 1;
                let tags = tags(&record.tags)?;
                match seen {
                    Entry::Vacant(entry) => {
                        entry.insert(Seen::Deleted(work.deletes.len()));
                        work.deletes.push(Doomed {
                            digest: record.digest,
                            tags,
                            media_type: record.media_type,
                            config: record.config,
                            children: record.children,
                            parents: record.parents,
                            subjects: record.subjects,
                            why,
                            held: None,
                        });
                    }
                    Entry::Occupied(entry) => {
                        let before = *entry.get();
                        if let Seen::Deleted(index) = before
                            && let Some(doomed) = work.deletes.get_mut(index)
                        {
                            // Both plans must have seen a tag that is to go.
                            doomed.tags.retain(|tag| tags.contains(tag));
                            // And what one of them saw above or below it is there, whether or not the other saw it.
                            add_missing(&mut doomed.children, record.children);
                            add_missing(&mut doomed.parents, record.parents);
                            add_missing(&mut doomed.subjects, record.subjects);
                        }
                        keep_what_is_kept(work, before, false);
                    }
                }
            }
            Action::Untag => {
                self.came.untags += 1;
                let tags = tags(&verdict.untag)?;
                match seen {
                    Entry::Vacant(entry) => {
                        entry.insert(Seen::Untagged(work.untags.len()));
                        work.untags.push(Untag { digest: record.digest, tags, media_type: record.media_type, why, held: None });
                    }
                    Entry::Occupied(entry) => {
                        let before = *entry.get();
                        if let Seen::Untagged(index) = before
                            && let Some(untag) = work.untags.get_mut(index)
                        {
                            untag.tags.retain(|tag| tags.contains(tag));
                        }
                        keep_what_is_kept(work, before, matches!(before, Seen::Deleted(_)));
                    }
                }
            }
            Action::Keep => match seen {
                Entry::Vacant(entry) => {
                    entry.insert(Seen::Kept);
                }
                Entry::Occupied(entry) => keep_what_is_kept(work, *entry.get(), true),
            },
        }
        Ok(())
    }

    /// The work of a repository, made where it was not known.
    fn work(&mut self, place: Place) -> usize {
        let plan = &mut self.plan;
        *self.works.entry(place).or_insert_with_key(|place| {
            plan.named.push(place.clone());
            plan.works.push(Work::new(place.clone()));
            plan.works.len() - 1
        })
    }

    fn finish(mut self) -> Plan {
        self.plan.works.retain(|work| !work.is_empty());
        for work in &mut self.plan.works {
            work.put_in_order();
            // What another plan keeps keeps its children and referrers.
            let graph = work.graph();
            hold::spread(work, &graph);
        }
        self.plan
    }
}

/// Adds the digests that are not among those known.
fn add_missing(known: &mut Vec<Digest>, more: Vec<Digest>) {
    for digest in more {
        if !known.contains(&digest) {
            known.push(digest);
        }
    }
}

/// Where several plans speak of one manifest, keep beats delete.
fn keep_what_is_kept(work: &mut Work, before: Seen, now_kept: bool) {
    let why = || Some("another plan in the input keeps it".to_owned());
    match before {
        Seen::Deleted(index) if now_kept => {
            if let Some(doomed) = work.deletes.get_mut(index) {
                doomed.held = why();
            }
        }
        Seen::Untagged(index) if now_kept => {
            if let Some(untag) = work.untags.get_mut(index) {
                untag.held = why();
            }
        }
        Seen::Kept | Seen::Deleted(_) | Seen::Untagged(_) => {}
    }
}

/// Where a record stands, by its names.
pub(crate) fn place(line: &Line<'_>, registry: &str, repository: &str) -> Result<Place, jsonl::Error> {
    Ok(Place {
        host: registry.parse().map_err(|error| invalid(line, &error))?,
        repository: repository.parse().map_err(|error| invalid(line, &error))?,
    })
}

/// A name in a record that none can have.
pub(crate) fn invalid(line: &Line<'_>, error: &InvalidName) -> jsonl::Error {
    line.error(Problem::Json(format!("names what cannot be: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::digest;
    use serde_json::{Value, json};

    fn header() -> Value {
        json!({"type":"header","tool":"reg-select","version":"0.1.0","schema":1,"time":"2026-11-20T12:05:00Z","policy":{"preset":"evict","maxDelete":"20%"},
               "now":"2026-11-20T12:05:00Z","inputs":[{"role":"in-use","tool":"k8s-images","time":"2026-11-20T12:00:00Z","scope":{}}]})
    }

    fn trailer() -> Value {
        json!({"type":"trailer","complete":true,"records":1,"listings":[{"tool":"reg-list","time":"2026-11-20T11:00:00Z","scope":{},"complete":true}],
               "listed":9,"deletes":3,"untags":1,"uses":0,"frozen":0})
    }

    fn manifest(name: &str, tags: &[&str], action: &str) -> Value {
        json!({"type":"manifest","registry":"Registry.example.com:443","repository":"team/app","digest":digest(name),"tags":tags,
               "verdict":{"action":action,"untag":if action == "untag" { tags } else { &[] },"reasons":[{"rule":"delete-rest","why":"no rule keeps it"}]}})
    }

    fn read(records: &[Value]) -> anyhow::Result<Plan> {
        let text: String = records.iter().map(|record| format!("{record}\n")).collect();
        Plan::read(text.as_bytes())
    }

    #[test]
    fn verdicts_become_work() {
        let listed = json!({"registry":"registry.example.com","repository":"team/app"});
        let plan = read(&[
            header(),
            json!({"type":"use","image":"x","registry":"other","repository":"team/app","digest":digest("u"),"listedAs":listed}),
            manifest("a", &["1", "2"], "delete"),
            manifest("b", &["3"], "untag"),
            manifest("c", &["4"], "keep"),
            json!({"type":"repository","registry":"registry.example.com","repository":"team/app","complete":true}),
            json!({"type":"comet"}),
            trailer(),
        ])
        .unwrap();
        let [work] = plan.works.as_slice() else { panic!("{plan:?}") };
        assert_eq!(work.place, crate::testing::place());
        assert_eq!((work.deletes.len(), work.untags.len(), work.uses.len()), (1, 1, 1));
        assert_eq!(work.deletes[0].why, "delete-rest: no rule keeps it");
        assert_eq!(work.deletes[0].tags.len(), 2);
        assert_eq!(plan.sections[0].came, Came { deletes: 1, untags: 1, uses: 1 });
        assert_eq!(plan.sections[0].limit, Some(Limit::Percent(20.0)));
    }

    #[test]
    fn what_is_no_plan_is_said_and_what_is_cut_is_refused() {
        let mut higher = header();
        higher["schema"] = json!(2);
        let mut bare = manifest("a", &[], "delete");
        bare.as_object_mut().unwrap().remove("verdict");
        let mut nowhere = manifest("a", &[], "delete");
        nowhere["repository"] = json!("../etc");
        let mut tag = manifest("a", &[], "delete");
        tag["tags"] = json!(["a/b"]);
        let listing = json!({"type":"trailer","complete":true,"records":1,"repositories":1});
        for (records, refused, sentence) in [
            (vec![], true, "is empty"),
            (vec![header(), manifest("a", &[], "delete")], true, "ends without the trailer"),
            (vec![manifest("a", &[], "delete"), trailer()], true, "jq -c"),
            (vec![higher], false, "schema 2"),
            (
                vec![header(), manifest("a", &[], "archive"), trailer()],
                false,
                "line 2: is not the record it says it is: unknown variant `archive`",
            ),
            (vec![header(), bare, trailer()], false, "line 2: holds a manifest without a verdict: a listing is no plan; let reg-select"),
            (vec![header(), nowhere, trailer()], false, "line 2: names what cannot be: \"../etc\""),
            (vec![header(), tag, trailer()], false, "line 2: names what cannot be: \"a/b\""),
            (vec![header(), listing], false, "line 2: ends a section of reg-select, which is no plan"),
            (vec![header(), json!("rubbish"), trailer()], false, "line 2: is not the record"),
        ] {
            let error = read(&records).unwrap_err();
            assert!(error.to_string().contains(sentence), "{sentence}: {error}");
            assert_eq!(error.is::<Refused>(), refused, "{error}");
        }
        let error = Plan::read(format!("{}\nrubbish\n", header()).as_bytes()).unwrap_err();
        assert!(error.to_string().contains("standard input, line 2: is not JSON"), "{error}");
    }

    #[test]
    fn where_plans_differ_keep_beats_delete() {
        let both = |first: &[Value], second: &[Value]| {
            let mut records = vec![header()];
            records.extend_from_slice(first);
            records.extend([trailer(), header()]);
            records.extend_from_slice(second);
            records.push(trailer());
            read(&records).unwrap().works.remove(0)
        };
        let (delete, keep) = (manifest("a", &["1", "2"], "delete"), manifest("a", &["1", "2"], "keep"));
        assert!(both(std::slice::from_ref(&delete), std::slice::from_ref(&keep)).deletes[0].held.is_some());
        let mut child = manifest("child", &[], "delete");
        child["parents"] = json!([digest("a")]);
        let work = both(&[delete.clone(), child], std::slice::from_ref(&keep));
        assert!(work.deletes.iter().all(|doomed| doomed.held.is_some()), "with all that belongs to it");
        let work = both(&[keep, manifest("b", &["9"], "untag")], std::slice::from_ref(&delete));
        assert!(work.deletes.is_empty() && work.untags.len() == 1, "a manifest kept first is not deleted by what follows");
        let work = both(&[manifest("a", &["1"], "delete")], &[delete]);
        assert_eq!(work.deletes.len(), 1);
        assert_eq!(work.deletes[0].tags.len(), 1, "only tags that both plans saw go");
    }

    #[test]
    fn what_one_of_several_plans_saw_around_a_manifest_is_known() {
        let bare = manifest("child", &[], "delete");
        let mut full = bare.clone();
        full["parents"] = json!([digest("index")]);
        full["subjects"] = json!([digest("subject")]);
        full["children"] = json!([digest("grandchild")]);
        for plans in [[&bare, &full], [&full, &bare], [&full, &full]] {
            let [first, second] = plans.map(Clone::clone);
            let plan = read(&[header(), first, trailer(), header(), second, trailer()]).unwrap();
            let doomed = &plan.works[0].deletes[0];
            assert_eq!(doomed.parents, [digest("index")]);
            assert_eq!(doomed.subjects, [digest("subject")]);
            assert_eq!(doomed.children, [digest("grandchild")]);
        }
    }
}
