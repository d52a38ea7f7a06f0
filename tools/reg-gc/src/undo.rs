//! Takes back what runs took away: all of it, or what the manifests in a journal of `reg-delete` need.
//!
//! What comes back is only added, and a registry caches only what is there: it may be running. What lies in its place by now is left
//! alone. Blobs come first, then the links to layers, then manifests and what tags named.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use common::cli::{Context, Refused, Status, bytes, count};
use common::digest::Digest;
use common::jsonl::{Problem, Reader};
use common::manifest::References;
use common::record::{Deletion, Header, Kind, Reclaim, ReclaimResult, ReclaimTotals, Reclaimed, Trailer};
use common::reference::{InvalidName, Repository};
use common::store::folder::{self, Folder};
use common::store::layout;
use serde::Serialize;

use crate::arguments::Args;
use crate::trash::{self, Kept, RUNS};
use common::beside::lock;
use common::beside::restore::{self, Back};
use common::beside::runs::{self, Run};

/// Lists the runs, or takes some back.
pub(crate) fn run(args: &Args, context: &Context, root: &Folder, wanted: Option<&str>) -> anyhow::Result<Status> {
    let kept = trash::kept(root).context("reading the trash")?;
    let only = if args.only_for.is_empty() { None } else { Some(needed(&args.only_for)?) };
    let Some(wanted) = wanted.or(only.as_ref().map(|_| "all")) else {
        list(args, context, &kept)?;
        return Ok(Status::Done);
    };
    let names: Vec<&str> = match wanted {
        "all" => kept.iter().rev().map(|kept| kept.name.as_str()).collect(),
        "latest" => kept.iter().next_back().map(|kept| kept.name.as_str()).into_iter().collect(),
        name => match kept.iter().find(|kept| kept.name == name) {
            Some(kept) => vec![kept.name.as_str()],
            None => {
                let have: Vec<&str> = kept.iter().map(|kept| kept.name.as_str()).collect();
                let have = if have.is_empty() { "it is empty".to_owned() } else { format!("it has {}", have.join(", ")) };
                anyhow::bail!("the trash has no run {name}: {have}");
            }
        },
    };
    let lock = if args.yes { Some(lock::take(root)?) } else { None };
    let mut output = context.output();
    output.write(&Header { dry_run: !args.yes, ..Header::new(context.name(), context.version(), Utc::now()) })?;
    let mut undo = Undo {
        root,
        yes: args.yes,
        totals: ReclaimTotals::default(),
        restored: 0,
        bytes: 0,
        there: 0,
        failed: 0,
        write: &mut |record| output.write(record),
    };
    for name in names {
        let Some(run) = RUNS.open(root, name)? else { continue };
        match &only {
            None => undo.whole(&run).with_context(|| format!("taking back run {name}"))?,
            Some(needed) => undo.needed(&run, needed).with_context(|| format!("taking back what is needed of run {name}"))?,
        }
    }
    let (restored, size, there, failed, totals) = (undo.restored, undo.bytes, undo.there, undo.failed, undo.totals);
    output.write(&Trailer::new(failed == 0, restored + there + failed, totals))?;
    output.flush()?;
    drop(lock);
    let name = context.name();
    let what = if args.yes { "put back" } else { "would come back" };
    context.summarize(format_args!("{name}: {what}: {}, {}\n", count(restored, "item"), bytes(size)));
    if there > 0 {
        context.summarize(format_args!(
            "{name}: {} there again already, and left alone\n",
            if there == 1 { "1 is".to_owned() } else { format!("{there} are") }
        ));
    }
    if failed > 0 {
        context.say(format_args!("{failed} could not be put back: each says why in its record"));
    }
    if !args.yes {
        context.summarize(format_args!("{name}: nothing was done: --yes does it\n"));
    } else if restored > 0 {
        context.summarize(format_args!(
            "{name}: nothing but a tag or a manifest keeps it: put deleted manifests back with reg-delete --undo before the next run\n"
        ));
    }
    Ok(if failed == 0 { Status::Done } else { Status::Partial })
}

/// One run that can be taken back.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "run", rename_all = "camelCase")]
struct Listed<'a> {
    run: &'a str,
    time: DateTime<Utc>,
    /// How many things it took, and their bytes; null where it did not come to its end.
    items: Option<u64>,
    bytes: Option<u64>,
    /// From when on a run removes it for good.
    kept_until: DateTime<Utc>,
}

fn list(args: &Args, context: &Context, kept: &[Kept]) -> anyhow::Result<()> {
    let mut output = context.output();
    output.write(&Header::new(context.name(), context.version(), Utc::now()))?;
    for kept in kept {
        let kept_until = kept.began + args.keep_trash.delta();
        output.write(&Listed { run: &kept.name, time: kept.began, items: kept.items, bytes: kept.bytes, kept_until })?;
    }
    output.write(&Trailer::new(true, kept.len() as u64, serde_json::Map::new()))?;
    output.flush()?;
    if kept.is_empty() {
        context.summarize(format_args!("{}: the trash is empty: nothing can be undone\n", context.name()));
    }
    Ok(())
}

/// What the manifests of a journal need.
#[derive(Debug, Default, PartialEq, Eq)]
struct Needed {
    blobs: BTreeSet<Digest>,
    /// Repositories, and the layers to which they need links.
    links: BTreeSet<(String, Digest)>,
}

/// Reads journals of `reg-delete`.
fn needed(paths: &[std::path::PathBuf]) -> anyhow::Result<Needed> {
    let mut needed = Needed::default();
    for path in paths {
        add(&mut needed, path)?;
    }
    if needed.blobs.is_empty() {
        return Err(Refused("--for: the journal holds no manifest that was deleted".to_owned()).into());
    }
    Ok(needed)
}

fn add(needed: &mut Needed, path: &Path) -> anyhow::Result<()> {
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| format!("opening the journal {name}"))?;
    let mut reader = Reader::new(name, BufReader::new(file));
    loop {
        let line = match reader.next_line() {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(()),
            // A write that was cut says nothing.
            Err(error) if matches!(error.problem, Problem::Encoding | Problem::TooLong) => continue,
            Err(error) => return Err(error.into()),
        };
        if !line.text().starts_with('{') || serde_json::from_str::<serde::de::IgnoredAny>(line.text()).is_err() {
            continue;
        }
        if line.kind()? != Kind::Deletion {
            continue;
        }
        let Deletion { repository, digest, data, .. } = line.parse()?;
        let wrong = |error: InvalidName| line.error(Problem::Json(error.to_string()));
        let repository = repository.parse::<Repository>().map_err(wrong)?.to_string();
        let Some(bytes) = data.and_then(|data| BASE64.decode(data).ok()) else { continue };
        if let Ok(references) = References::parse(&bytes) {
            needed.links.extend(references.blobs.iter().map(|blob| (repository.clone(), blob.clone())));
            needed.blobs.extend(references.blobs.into_iter().chain(references.children));
        }
        needed.blobs.insert(digest);
    }
}

struct Undo<'a> {
    root: &'a Folder,
    yes: bool,
    totals: ReclaimTotals,
    restored: u64,
    bytes: u64,
    there: u64,
    failed: u64,
    write: &'a mut dyn FnMut(&Reclaim) -> io::Result<()>,
}

impl Undo<'_> {
    /// All that a run took.
    fn whole(&mut self, run: &Run) -> io::Result<()> {
        self.path(run, layout::BLOBS)?;
        for below in [layout::LAYERS, layout::REVISIONS, layout::MANIFESTS, ""] {
            for path in ends_with(run.folder(), layout::REPOSITORIES, below)? {
                self.path(run, &path)?;
            }
        }
        if self.yes {
            self.clear(run)?;
        }
        Ok(())
    }

    /// What some manifests need of what a run took.
    fn needed(&mut self, run: &Run, needed: &Needed) -> io::Result<()> {
        for digest in &needed.blobs {
            self.path(run, &layout::blob(digest))?;
        }
        for (repository, digest) in &needed.links {
            self.path(run, &format!("{}/{}/{}", layout::repository(repository), layout::LAYERS, layout::of_digest(digest)))?;
        }
        Ok(())
    }

    fn path(&mut self, run: &Run, path: &str) -> io::Result<()> {
        let mut told = Vec::new();
        if self.yes {
            restore::put_back(run.folder(), self.root, path, &mut |path, back| {
                told.push((path.to_owned(), back.clone()));
                Ok(())
            })?;
        } else {
            would(run.folder(), self.root, path, &mut told)?;
        }
        for (path, back) in told {
            let from = if self.yes && back == Back::Restored { self.root } else { run.folder() };
            for (unit, size) in units(from, &path).unwrap_or_else(|_| vec![(path, 0)]) {
                self.tell(&unit, size, &back)?;
            }
        }
        Ok(())
    }

    fn tell(&mut self, path: &str, size: u64, back: &Back) -> io::Result<()> {
        let Some(record) = describe(path, size).or_else(|| matches!(back, Back::Failed(_)).then(|| unknown(path))) else { return Ok(()) };
        let (result, why) = match (back, self.yes) {
            (Back::Restored, true) => (ReclaimResult::Restored, None),
            (Back::Restored, false) => (ReclaimResult::Planned, None),
            (Back::There | Back::Absent, _) => (ReclaimResult::Kept, Some("something lies in its place".to_owned())),
            (Back::Failed(why), _) => (ReclaimResult::Failed, Some(why.clone())),
        };
        if matches!(back, Back::Failed(_)) {
            self.failed += 1;
        } else if *back == Back::Restored {
            self.restored += 1;
            self.bytes += size;
            self.totals.kinds.entry(record.what).or_default().add(size);
        } else {
            self.there += 1;
        }
        (self.write)(&Reclaim { result, why, ..record })
    }

    /// Removes the run if nothing is left in it but what it wrote about itself.
    fn clear(&self, run: &Run) -> io::Result<()> {
        remove_empty_folders(run.folder(), layout::TREE)?;
        let is_left = run.folder().status(layout::TREE)?.is_some();
        if !is_left {
            RUNS.remove(self.root, &run.name)?;
        }
        Ok(())
    }
}

/// What `put_back` would move as a whole, and what lies in its place already.
fn would(from: &Folder, to: &Folder, path: &str, told: &mut Vec<(String, Back)>) -> io::Result<()> {
    let Some(status) = from.status(path)? else { return Ok(()) };
    match to.status(path).unwrap_or(None) {
        None => told.push((path.to_owned(), Back::Restored)),
        Some(_) if status.kind != folder::Kind::Folder => told.push((path.to_owned(), Back::There)),
        Some(_) => {
            for name in restore::names(from, path)? {
                would(from, to, &format!("{path}/{name}"), told)?;
            }
        }
    }
    Ok(())
}

/// The folders of repositories in the trash, or the folders of one kind in them.
fn ends_with(trash: &Folder, path: &str, below: &str) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut stack = vec![path.to_owned()];
    while let Some(path) = stack.pop() {
        let wanted = format!("{path}/{below}");
        if !below.is_empty() && trash.status(&wanted)?.is_some() {
            found.push(wanted);
        }
        for name in restore::names(trash, &path)? {
            match name.as_str() {
                layout::LAYERS | layout::MANIFESTS | layout::UPLOADS => {}
                _ => stack.push(format!("{path}/{name}")),
            }
        }
        if below.is_empty() && path != layout::REPOSITORIES {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The things that were taken below a path, with their bytes.
fn units(folder: &Folder, path: &str) -> io::Result<Vec<(String, u64)>> {
    let mut units = Vec::new();
    let mut stack = vec![path.to_owned()];
    while let Some(path) = stack.pop() {
        let Some(status) = folder.status(&path)? else { continue };
        if status.kind != folder::Kind::Folder {
            units.push((path, status.size));
            continue;
        }
        let names = restore::names(folder, &path)?;
        if names.is_empty() {
            units.push((path, 0));
            continue;
        }
        stack.extend(names.into_iter().map(|name| format!("{path}/{name}")));
    }
    units.sort();
    Ok(units)
}

/// The record of what is no thing that any run takes.
fn unknown(path: &str) -> Reclaim {
    Reclaim {
        what: Reclaimed::Temporary,
        path: path.to_owned(),
        repository: None,
        tag: None,
        digest: None,
        size: 0,
        result: ReclaimResult::Failed,
        why: None,
    }
}

/// The record of a thing, told by where it lies: by its file, or by its folder where that is empty.
fn describe(path: &str, size: u64) -> Option<Reclaim> {
    let record = |what, path: &str, repository: Option<&str>, tag: Option<&str>, digest: Option<Digest>| Reclaim {
        what,
        path: path.to_owned(),
        repository: repository.map(str::to_owned),
        tag: tag.map(str::to_owned),
        digest,
        size,
        result: ReclaimResult::Planned,
        why: None,
    };
    let folder_of = |path: &str| {
        path.rsplit_once('/')
            .filter(|(_, file)| matches!(*file, layout::LINK | layout::DATA))
            .map_or(path.to_owned(), |(folder, _)| folder.to_owned())
    };
    let folder = folder_of(path);
    let digest_at = |path: &str| {
        let (parent, hex) = path.rsplit_once('/')?;
        let algorithm = parent.rsplit('/').find(|step| step.starts_with("sha"))?;
        layout::digest(algorithm, hex.as_bytes())
    };
    if path.ends_with(".tmp") {
        return Some(record(Reclaimed::Temporary, path, None, None, None));
    }
    if let Some(rest) = path.strip_prefix(layout::BLOBS) {
        return (!rest.is_empty()).then(|| record(Reclaimed::Blob, &folder, None, None, digest_at(&folder)));
    }
    let rest = path.strip_prefix(layout::REPOSITORIES)?.strip_prefix('/')?;
    let at = |below: &str| rest.find(&format!("/{below}/")).map(|place| (&rest[..place], &rest[place + below.len() + 2..]));
    if let Some((repository, _)) = at(layout::LAYERS) {
        let digest = digest_at(&folder);
        return digest.is_some().then(|| record(Reclaimed::LayerLink, &folder, Some(repository), None, digest));
    }
    if let Some((repository, _)) = at(layout::REVISIONS) {
        let digest = digest_at(&folder);
        return digest.is_some().then(|| record(Reclaimed::Revision, &folder, Some(repository), None, digest));
    }
    if let Some((repository, tag)) = at(layout::TAGS) {
        let tag = tag.split('/').next();
        return Some(record(Reclaimed::TagIndex, &folder, Some(repository), tag, digest_at(&folder)));
    }
    if let Some((repository, upload)) = at(layout::UPLOADS) {
        let upload = upload.split('/').next().unwrap_or_default();
        let folder = format!("{}/{}/{upload}", layout::repository(repository), layout::UPLOADS);
        // An upload is one thing, with its data.
        return path.ends_with(&format!("/{}", layout::DATA)).then(|| record(Reclaimed::Upload, &folder, Some(repository), None, None));
    }
    None
}

/// Removes folders that hold nothing but folders that hold nothing.
fn remove_empty_folders(folder: &Folder, path: &str) -> io::Result<()> {
    if folder.status(path)?.is_none_or(|status| status.kind != folder::Kind::Folder) {
        return Ok(());
    }
    for name in restore::names(folder, path)? {
        remove_empty_folders(folder, &format!("{path}/{name}"))?;
    }
    runs::remove_empty(folder, path)?;
    if path == layout::TREE {
        runs::remove_empty(folder, "docker/registry")?;
        runs::remove_empty(folder, "docker")?;
    }
    Ok(())
}
