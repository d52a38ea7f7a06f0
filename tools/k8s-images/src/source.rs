//! Sources: what is read under one name, and whether all of it was.
//!
//! Owns how operands become sources, and which of them are complete. An inventory that is short looks like one that is whole, so
//! whatever could hide an image makes its source incomplete: what cannot be read, what is cut off, what is empty.

use std::path::{Path, PathBuf};

use common::record::{self, SourceKind};

use crate::document::{Fault, Lines};
use crate::input::{self, Folder};
use crate::inventory::first_of;
use crate::object::{Doubt, Found};
use crate::uses::Gathering;
use crate::{compose, lines};

/// What one name stands for.
#[derive(Debug)]
pub(crate) struct Source {
    kind: SourceKind,
    name: String,
    gathering: Gathering,
    /// What makes it incomplete.
    pub(crate) problems: Vec<String>,
    /// What a person should know.
    pub(crate) notes: Vec<String>,
}

impl Source {
    /// A source in which nothing was found yet.
    pub(crate) fn new(kind: SourceKind, name: String) -> Self {
        Self { kind, name, gathering: Gathering::default(), problems: Vec::new(), notes: Vec::new() }
    }

    /// Takes what an operand names; `standard_input` is what stands there, where the operand is `-`.
    pub(crate) fn add(&mut self, operand: &Path, recursive: bool, standard_input: Option<Result<String, String>>) {
        if let Some(text) = standard_input {
            self.add_text("standard input", text, true);
        } else if operand.is_dir() && self.kind == SourceKind::Files {
            self.add_folder(operand, recursive);
        } else if let Some(unbuilt) = operand.file_name().and_then(|name| name.to_str()).and_then(input::unbuilt)
            && self.kind == SourceKind::Files
        {
            self.problems.push(format!("{}: {unbuilt}", operand.display()));
        } else {
            self.add_text(&operand.display().to_string(), input::file(operand), true);
        }
    }

    /// Takes the files of a Compose project.
    pub(crate) fn add_project(&mut self, operands: Vec<compose::Operand>) {
        let compose::Found { objects, problems, notes } = compose::read(operands, compose::variables::Variables::of(std::env::vars_os()));
        objects.into_iter().for_each(|object| self.gathering.add(object));
        self.problems.extend(problems);
        self.notes.extend(notes);
    }

    fn add_folder(&mut self, path: &Path, recursive: bool) {
        let Folder { files, problems, notes } = Folder::read(path, recursive);
        if files.is_empty() && problems.is_empty() {
            let advice = if notes.is_empty() { "" } else { "; those within it are read with --recursive" };
            self.problems.push(format!("{}: holds no .yaml, .yml or .json file{advice}", path.display()));
        }
        self.problems.extend(problems);
        self.notes.extend(notes);
        for file in files {
            self.add_text(&file.display().to_string(), input::file(&file), false);
        }
    }

    /// Takes a text; `asked_for` is one that was named itself, and not found in a folder, where a file of values may lie beside
    /// manifests.
    fn add_text(&mut self, name: &str, text: Result<String, String>, asked_for: bool) {
        let text = match text {
            Ok(text) => text,
            Err(problem) => return self.problems.push(format!("{name}{problem}")),
        };
        if text.trim().is_empty() {
            return self.problems.push(format!("{name}: is empty"));
        }
        let Found { objects, lists, strangers, mut faults, doubts, .. } =
            if self.kind == SourceKind::Lines { lines::read(&text) } else { Found::in_text(&text) };
        let holds_nothing =
            faults.is_empty() && lists == 0 && objects.len() == strangers && objects.iter().all(|object| object.mentions.is_empty());
        if holds_nothing && asked_for {
            let what = if self.kind == SourceKind::Lines { "image" } else { "Kubernetes object" };
            self.problems.push(format!("{name}: holds no {what}"));
        } else if holds_nothing {
            self.notes.push(format!("{name}: holds no Kubernetes object, and is passed over"));
        }
        // What a cluster took was a reference or is none; a file may have yet to be built.
        let (in_containers, elsewhere): (Vec<Doubt>, Vec<Doubt>) = doubts.into_iter().partition(|doubt| doubt.in_container);
        faults.extend(in_containers.into_iter().map(|doubt| doubt.fault));
        faults.sort_by_key(|fault| fault.at);
        let mut lines = Lines::new(&text);
        let all = elsewhere.len();
        let first = elsewhere.into_iter().next().map(|doubt| problem(name, &mut lines, doubt.fault));
        self.notes.extend(first.map(|first| Doubt::said(&first, all, "it")));
        self.problems.extend(faults.into_iter().map(|fault| problem(name, &mut lines, fault)));
        objects.into_iter().for_each(|object| self.gathering.add(object));
    }

    /// What it says, once all of it was taken. A source without any use is not complete.
    pub(crate) fn finish(&mut self) -> Gathering {
        if self.gathering.is_empty() && self.problems.is_empty() {
            let why = match self.kind {
                SourceKind::Compose => "no service in it has an image",
                _ => "no object in it holds a pod template",
            };
            self.problems.push(format!("{}: names no image: {why}", self.name));
        }
        std::mem::take(&mut self.gathering)
    }

    /// How it stands in the header's scope.
    pub(crate) fn record(&self) -> record::Source {
        let error = first_of(&self.problems);
        let (kind, name, complete) = (self.kind.clone(), self.name.clone(), error.is_none());
        record::Source { kind, name, server: None, complete, error, same_as: None, missing: Vec::new() }
    }
}

fn problem(name: &str, lines: &mut Lines<'_>, fault: Fault) -> String {
    match fault.at {
        Some(at) => format!("{name}, line {}: {}", lines.of(at), fault.cause),
        None => format!("{name}: {}", fault.cause),
    }
}

/// Operands under the names of their sources: all under `name`, or each under its own text.
pub(crate) fn named(operands: &[PathBuf], name: Option<&str>) -> Vec<(String, Vec<PathBuf>)> {
    let mut sources: Vec<(String, Vec<PathBuf>)> = Vec::new();
    for operand in operands {
        let own = name.map_or_else(|| operand.to_string_lossy().into_owned(), str::to_owned);
        match sources.iter_mut().find(|(known, _)| *known == own) {
            Some((_, operands)) => operands.push(operand.clone()),
            None => sources.push((own, vec![operand.clone()])),
        }
    }
    sources
}
