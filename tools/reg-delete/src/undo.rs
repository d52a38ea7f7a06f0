//! What is to be put back: which manifests a journal lost, which of these are wanted, and in which order. Pure.
//!
//! What is wanted brings its children and its referrers with it. Children stand before their indexes, because a registry takes no
//! index whose children it lacks.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use common::digest::Digest;
use common::graph::{Graph, Node};
use common::manifest::Manifest;
use common::reference::{Host, Repository, Tag, split_host};
use serde::Deserialize;

use crate::history::{Entry, History, Step};
use crate::work::Place;

/// An operand of `--undo`: `[HOST/]REPOSITORY[:TAG|@DIGEST]`. No host is any registry of the journal, and no short name is
/// lengthened: the journal has the names in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    host: Option<Host>,
    repository: Repository,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

impl FromStr for Wanted {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (host, rest) = split_host(text);
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (rest, None),
        };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag.parse()?)),
            None => (rest, None),
        };
        Ok(Self { host: host.map(str::parse).transpose()?, repository: repository.parse()?, tag, digest })
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(host) = &self.host {
            write!(formatter, "{host}/")?;
        }
        write!(formatter, "{}", self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(formatter, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl Wanted {
    fn is(&self, lost: &Lost) -> bool {
        self.repository == lost.place.repository
            && self.host.as_ref().is_none_or(|host| *host == lost.place.host)
            && self.tag.as_ref().is_none_or(|tag| lost.tags.contains(tag))
            && self.digest.as_ref().is_none_or(|digest| *digest == lost.digest)
    }
}

/// A manifest that is gone, or lacks tags.
#[derive(Debug, Clone)]
pub(crate) struct Lost {
    pub(crate) place: Place,
    pub(crate) digest: Digest,
    /// The tags that it had.
    pub(crate) tags: BTreeSet<Tag>,
    pub(crate) media_type: Option<String>,
    /// Its bytes, or why the journal cannot give them.
    pub(crate) content: Result<Content, String>,
}

/// A manifest's bytes, verified, and what they name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    pub(crate) blobs: Vec<Digest>,
    pub(crate) children: Vec<Digest>,
    pub(crate) subject: Option<Digest>,
}

/// What is to be put back in one repository, children first.
#[derive(Debug)]
pub(crate) struct Restoration {
    pub(crate) place: Place,
    pub(crate) manifests: Vec<Lost>,
}

/// Finds what is wanted, all of it where nothing is named; and the operands that nothing answers to.
pub(crate) fn wanted(history: &History, wanted: &[Wanted]) -> (Vec<Restoration>, Vec<Wanted>) {
    let mut places: Vec<Place> = Vec::new();
    let mut by_place: HashMap<Place, Vec<Lost>> = HashMap::new();
    let last = last_losers(history);
    for lost in history.entries.iter().filter_map(|entry| lost(entry, &last)) {
        by_place
            .entry(lost.place.clone())
            .or_insert_with_key(|place| {
                places.push(place.clone());
                Vec::new()
            })
            .push(lost);
    }
    let answered = |wanted: &Wanted| by_place.values().flatten().any(|lost| wanted.is(lost));
    let unanswered = wanted.iter().filter(|wanted| !answered(wanted)).cloned().collect();
    let mut restorations = Vec::new();
    for place in places {
        let all = by_place.remove(&place).unwrap_or_default();
        let manifests = chosen(all, wanted);
        if !manifests.is_empty() {
            restorations.push(Restoration { place, manifests });
        }
    }
    (restorations, unanswered)
}

/// Which manifest had a tag at last, for each tag that manifests lost.
type LastLosers<'a> = HashMap<(&'a Place, Tag), (u64, &'a Digest)>;

/// A tag that was deleted, pushed anew and deleted again belongs to the manifest that lost it last, whichever was named first.
fn last_losers(history: &History) -> LastLosers<'_> {
    let mut last = LastLosers::new();
    for entry in &history.entries {
        for tag in lost_tags(entry) {
            let line = entry.lost_at.get(&tag).copied().unwrap_or_default();
            let loser = last.entry((&entry.place, tag)).or_insert((line, &entry.digest));
            if loser.0 < line {
                *loser = (line, &entry.digest);
            }
        }
    }
    last
}

fn lost_tags(entry: &Entry) -> BTreeSet<Tag> {
    let taken = entry.untags.iter().filter(|(_, step)| matches!(step, Step::Started | Step::Gone | Step::Failed)).map(|(tag, _)| tag);
    let with_it = entry.lost.iter().filter(|_| entry.begun);
    taken.chain(with_it).cloned().collect()
}

fn lost(entry: &Entry, last: &LastLosers<'_>) -> Option<Lost> {
    let mut tags = lost_tags(entry);
    tags.retain(|tag| last.get(&(&entry.place, tag.clone())).is_none_or(|(_, digest)| **digest == entry.digest));
    if !entry.begun && tags.is_empty() {
        return None;
    }
    Some(Lost {
        place: entry.place.clone(),
        digest: entry.digest.clone(),
        tags,
        media_type: entry.media_type.clone(),
        content: content(entry),
    })
}

fn content(entry: &Entry) -> Result<Content, String> {
    let data = entry.data.as_ref().ok_or("the journal has no bytes of it: its line was cut or taken out")?;
    let bytes = BASE64_STANDARD.decode(data).map_err(|error| format!("its bytes in the journal are damaged: {error}"))?;
    if !entry.digest.matches(&bytes) {
        return Err(format!("its bytes in the journal are damaged: they hash to {}", Digest::of(&bytes)));
    }
    let parsed = Manifest::parse(&bytes, entry.media_type.as_deref()).ok();
    let foreign = foreign(&bytes);
    let mut content = Content { bytes, ..Content::default() };
    // Bytes that say nothing are put back as they are; the registry took them once.
    if let Some(parsed) = parsed {
        content.blobs = parsed.blobs.into_iter().map(|blob| blob.digest).filter(|digest| !foreign.contains(digest)).collect();
        content.children = parsed.children.into_iter().map(|child| child.digest).collect();
        content.subject = parsed.subject;
    }
    Ok(content)
}

/// The layers that lie elsewhere (image-spec, descriptor.md, `urls`), as those of Windows do: no registry needs to have them.
fn foreign(bytes: &[u8]) -> HashSet<Digest> {
    #[derive(Deserialize)]
    struct Layers {
        #[serde(default)]
        layers: Vec<Layer>,
    }
    #[derive(Deserialize)]
    struct Layer {
        digest: Digest,
        #[serde(default)]
        urls: Vec<String>,
    }
    let layers = serde_json::from_slice::<Layers>(bytes).map(|layers| layers.layers).unwrap_or_default();
    layers.into_iter().filter(|layer| !layer.urls.is_empty()).map(|layer| layer.digest).collect()
}

/// Those that are wanted, with their children and referrers, children before indexes and referrers before subjects.
fn chosen(all: Vec<Lost>, wanted: &[Wanted]) -> Vec<Lost> {
    let digests: Vec<Digest> = all.iter().map(|lost| lost.digest.clone()).collect();
    let subjects: Vec<Vec<Digest>> = all
        .iter()
        .map(|lost| {
            let own = lost.content.as_ref().ok().and_then(|content| content.subject.clone());
            own.into_iter().chain(lost.tags.iter().filter_map(Tag::subject)).collect()
        })
        .collect();
    let none: &[Digest] = &[];
    let nodes: Vec<Node<'_>> = all
        .iter()
        .zip(&subjects)
        .map(|(lost, subjects)| Node {
            digest: &lost.digest,
            children: lost.content.as_ref().map_or(none, |content| content.children.as_slice()),
            parents: none,
            subjects,
            missing: none,
        })
        .collect();
    let graph = Graph::new(nodes.into_iter());
    let mut marked: Vec<bool> = all.iter().map(|lost| wanted.is_empty() || wanted.iter().any(|wanted| wanted.is(lost))).collect();
    graph.mark_dependents(&mut marked);
    let mut order = graph.top_down(&digests);
    order.reverse();
    let mut waiting: Vec<Option<Lost>> = all.into_iter().map(Some).collect();
    order
        .into_iter()
        .filter(|place| marked.get(*place).copied().unwrap_or(false))
        .filter_map(|place| waiting.get_mut(place).and_then(Option::take))
        .collect()
}

/// A manifest that is there again.
#[derive(Debug)]
pub(crate) struct Back<'a> {
    pub(crate) lost: &'a Lost,
    /// The tags that name it; one that had moved on is not among them.
    pub(crate) tags: BTreeSet<Tag>,
}

impl Back<'_> {
    fn content(&self) -> Option<&Content> {
        self.lost.content.as_ref().ok()
    }
}

/// The lines of a keep list without which the next run takes these again: what belongs to another follows it.
pub(crate) fn keep_lines(back: &[Back<'_>]) -> Vec<String> {
    let there: HashSet<(&Place, &Digest)> = back.iter().map(|back| (&back.lost.place, &back.lost.digest)).collect();
    let children = back
        .iter()
        .flat_map(|back| back.content().into_iter().flat_map(|content| &content.children).map(|child| (&back.lost.place, child)));
    let named: HashSet<(&Place, &Digest)> = children.collect();
    let mut lines = Vec::new();
    for back in back {
        let (place, digest) = (&back.lost.place, &back.lost.digest);
        let about = |subject: &Digest| there.contains(&(place, subject));
        let is_referrer_tag = |tag: &&Tag| tag.subject().is_some_and(|subject| about(&subject));
        let follows = named.contains(&(place, digest))
            || back.tags.iter().any(|tag| is_referrer_tag(&tag))
            || back.content().and_then(|content| content.subject.as_ref()).is_some_and(about);
        let tags: Vec<&Tag> = back.tags.iter().filter(|tag| !is_referrer_tag(tag)).collect();
        lines.extend(tags.iter().map(|tag| format!("{place}:{tag}")));
        if tags.is_empty() && !follows {
            lines.push(format!("{place}@{digest}"));
        }
    }
    lines.sort();
    lines.dedup();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn index(children: &[&[u8]]) -> Vec<u8> {
        let manifests: Vec<Value> = children
            .iter()
            .map(|child| json!({"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":Digest::of(child),"size":child.len()}))
            .collect();
        json!({"schemaVersion":2,"manifests":manifests}).to_string().into_bytes()
    }

    fn image(name: &str, subject: Option<&[u8]>) -> Vec<u8> {
        let subject = subject.map(|subject| json!({"digest":Digest::of(subject),"size":1,"mediaType":"m"}));
        json!({"schemaVersion":2,"config":{"mediaType":"c","digest":Digest::of(name.as_bytes()),"size":1},"layers":[],"subject":subject})
            .to_string()
            .into_bytes()
    }

    fn deleted(bytes: &[u8], tags: &[&str]) -> String {
        let mut started = json!({"type":"deletion","registry":"registry.example.com:5000","repository":"team/app","digest":Digest::of(bytes),"action":"delete",
               "result":"started","tags":tags,"mediaType":"m","data":BASE64_STANDARD.encode(bytes)});
        let first = format!("{started}\n");
        started["result"] = json!("deleted");
        started["data"] = Value::Null;
        format!("{first}{started}\n")
    }

    fn found(journal: &str, names: &[&str]) -> (Vec<Digest>, Vec<String>, Vec<String>) {
        let history = History::read(journal.as_bytes()).unwrap();
        let names: Vec<Wanted> = names.iter().map(|name| name.parse().unwrap()).collect();
        let (restorations, unanswered) = wanted(&history, &names);
        let lost: Vec<&Lost> = restorations.iter().flat_map(|restoration| &restoration.manifests).collect();
        let back: Vec<Back<'_>> = lost.iter().map(|lost| Back { lost, tags: lost.tags.clone() }).collect();
        let keep = keep_lines(&back);
        (lost.iter().map(|lost| lost.digest.clone()).collect(), keep, unanswered.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_named_brings_its_children_and_referrers() {
        let (amd, arm, other) = (image("amd", None), image("arm", None), image("other", None));
        let list = index(&[&amd, &arm]);
        let signature = image("signature", Some(&list));
        let cosign = image("cosign", None);
        let tag = format!("sha256-{}.sig", Digest::of(&amd).hex());
        let journal = [
            deleted(&list, &["1", "latest"]),
            deleted(&amd, &[]),
            deleted(&arm, &[]),
            deleted(&signature, &[]),
            deleted(&cosign, &[&tag]),
            deleted(&other, &["2"]),
        ]
        .concat();
        let family: HashSet<Digest> = [&list, &amd, &arm, &signature, &cosign].map(|bytes| Digest::of(bytes)).into();
        for name in ["team/app:1", "registry.example.com:5000/team/app:latest", &format!("team/app@{}", Digest::of(&list))] {
            let (order, keep, unanswered) = found(&journal, &[name]);
            assert_eq!(order.iter().cloned().collect::<HashSet<_>>(), family, "{name}");
            let place = |bytes: &[u8]| order.iter().position(|digest| *digest == Digest::of(bytes)).unwrap();
            assert!(place(&amd) < place(&list) && place(&arm) < place(&list), "children before indexes");
            assert_eq!(keep, ["registry.example.com:5000/team/app:1", "registry.example.com:5000/team/app:latest"]);
            assert!(unanswered.is_empty());
        }
        assert_eq!(found(&journal, &[]).0.len(), 6);
        assert_eq!(found(&journal, &["team/app"]).0.len(), 6);
        let (order, keep, _) = found(&journal, &[&format!("team/app@{}", Digest::of(&arm))]);
        assert_eq!(order, [Digest::of(&arm)]);
        assert_eq!(keep, [format!("registry.example.com:5000/team/app@{}", Digest::of(&arm))]);
        for name in ["team/app:3", "other:5000/team/app:1", "team/application", "app"] {
            let (order, _, unanswered) = found(&journal, &[name, "team/app:2"]);
            assert_eq!((order, unanswered), (vec![Digest::of(&other)], vec![name.to_owned()]));
        }
    }

    #[test]
    fn a_tag_that_several_lost_belongs_to_the_last() {
        let (old, new) = (image("old", None), image("new", None));
        let untagged =
            deleted(&old, &["1"]).replace("\"action\":\"delete\"", "\"action\":\"untag\"").replace("\"deleted\"", "\"untagged\"");
        let tags = |journal: &str| -> Vec<(Digest, Vec<String>)> {
            let (restorations, _) = wanted(&History::read(journal.as_bytes()).unwrap(), &[]);
            let lost = restorations.into_iter().flat_map(|restoration| restoration.manifests);
            let mut tags: Vec<_> = lost.map(|lost| (lost.digest, lost.tags.iter().map(ToString::to_string).collect())).collect();
            tags.sort();
            tags
        };
        let sorted = |mut expected: Vec<(Digest, Vec<String>)>| {
            expected.sort();
            expected
        };
        let of = |bytes: &[u8], tags: &[&str]| (Digest::of(bytes), tags.iter().map(ToString::to_string).collect::<Vec<_>>());
        let (first, then) = (deleted(&old, &["1", "1.0"]), deleted(&new, &["1"]));
        assert_eq!(tags(&format!("{first}{then}")), sorted(vec![of(&old, &["1.0"]), of(&new, &["1"])]));
        assert_eq!(tags(&format!("{then}{first}")), sorted(vec![of(&old, &["1", "1.0"]), of(&new, &[])]));
        assert_eq!(tags(&format!("{first}{then}{first}")), sorted(vec![of(&old, &["1", "1.0"]), of(&new, &[])]), "the last line counts");
        assert_eq!(tags(&format!("{untagged}{then}")), [of(&new, &["1"])], "nothing else is lost of the other");
        let (order, _, _) = found(&format!("{first}{then}"), &["team/app:1"]);
        assert_eq!(order, [Digest::of(&new)], "a name means what it meant last");
    }

    #[test]
    fn damaged_lines_are_known() {
        let bytes = image("a", None);
        let journal = deleted(&bytes, &["1"]);
        for (damage, sentence) in [
            (journal.replace(&BASE64_STANDARD.encode(&bytes), "e30="), "they hash to sha256:44136fa"),
            (journal.replace(&BASE64_STANDARD.encode(&bytes), "***"), "are damaged"),
            (journal.lines().last().unwrap().to_owned(), "no bytes of it"),
        ] {
            let history = History::read(damage.as_bytes()).unwrap();
            let (restorations, _) = wanted(&history, &[]);
            let error = restorations[0].manifests[0].content.as_ref().unwrap_err();
            assert!(error.contains(sentence), "{error}");
        }
    }

    #[test]
    fn layers_that_lie_elsewhere_are_not_asked_for() {
        let bytes = json!({"schemaVersion":2,"config":{"digest":Digest::of(b"c"),"size":1,"mediaType":"c"},"layers":[
            {"digest":Digest::of(b"1"),"size":1,"mediaType":"l","urls":["https://example.com/1"]},{"digest":Digest::of(b"2"),"size":1,"mediaType":"l"}]});
        let history = History::read(deleted(bytes.to_string().as_bytes(), &[]).as_bytes()).unwrap();
        let (restorations, _) = wanted(&history, &[]);
        assert_eq!(restorations[0].manifests[0].content.as_ref().unwrap().blobs, [Digest::of(b"c"), Digest::of(b"2")]);
    }

    #[test]
    fn operands() {
        for bad in ["", ":1", "Team/App:1", "team/app@sha256:1", "team/app:a/b", "a//b"] {
            assert!(bad.parse::<Wanted>().is_err(), "{bad}");
        }
        assert_eq!("localhost:5000/a/b:1".parse::<Wanted>().unwrap().to_string(), "localhost:5000/a/b:1");
        assert_eq!("nginx".parse::<Wanted>().unwrap().to_string(), "nginx", "no short name is lengthened");
    }
}
