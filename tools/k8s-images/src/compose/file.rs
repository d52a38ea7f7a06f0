//! One Compose file, and which lie beside it that Compose reads with it.
//!
//! Owns what is kept of a file, and sentences about places in it. What its elements mean is decided in [`super`].

use std::path::{Path, PathBuf};

use super::Operand;
use crate::document::{self, Fault, line_of};
use crate::input;
use crate::tree::{Map, Node, Text};

/// A file that was read.
#[derive(Debug)]
pub(super) struct File {
    /// For people.
    pub(super) name: String,
    /// The path that it has without links and detours.
    pub(super) real: PathBuf,
    /// The folder from which what it extends is named.
    pub(super) folder: PathBuf,
    text: String,
    documents: Vec<Node>,
}

impl File {
    /// Reads a text, as far as it can be read; and what cannot. `path` is where it lies, `name` what people are told.
    pub(super) fn read(path: &Path, name: String, text: String) -> (Option<Self>, Vec<String>) {
        if text.trim().is_empty() {
            return (None, vec![format!("{name}: is empty")]);
        }
        let (documents, faults) = document::read_all_of_yaml(&text);
        let problem = |Fault { at, cause }| {
            let place = at.map(|at| format!(", line {}", line_of(&text, at))).unwrap_or_default();
            format!("{name}{place}: {cause}")
        };
        let problems = faults.into_iter().map(problem).collect();
        // Where nothing could be read, that it holds no services need not be said too.
        let is_read = !documents.is_empty();
        (is_read.then(|| Self { real: input::real(path), folder: folder_of(path), name, text, documents }), problems)
    }

    /// The mappings that its documents are.
    pub(super) fn maps(&self) -> impl Iterator<Item = &Map> {
        self.documents.iter().filter_map(|document| match document {
            Node::Map(map) => Some(map),
            _ => None,
        })
    }

    /// A service of it.
    pub(super) fn service(&self, name: &str) -> Option<&Node> {
        self.maps().filter_map(|map| map.map("services")?.get(name)).next()
    }

    /// A sentence about a place in it.
    pub(super) fn at(&self, place: Option<&Text>, cause: &str) -> String {
        match place {
            Some(place) => format!("{}, line {}: {cause}", self.name, line_of(&self.text, place.start)),
            None => format!("{}: {cause}", self.name),
        }
    }
}

/// Whether a document is meant for Compose: it has services, or another of the elements that only it has.
pub(super) fn is_compose(map: &Map) -> bool {
    const ELEMENTS: [&str; 7] = ["services", "include", "networks", "volumes", "configs", "secrets", "models"];
    ELEMENTS.iter().any(|element| map.get(element).is_some()) && map.get("kind").is_none()
}

/// The files beside those that were named that Compose reads with them, unless it is given `-f`. It takes the first, where there are
/// several.
pub(super) fn overrides(operands: &[Operand]) -> Vec<PathBuf> {
    const OWN: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
    const OVERRIDES: [&str; 4] =
        ["compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"];
    let given: Vec<PathBuf> = operands.iter().map(|operand| input::real(&operand.path)).collect();
    let own = operands.iter().filter(|operand| operand.path.file_name().is_some_and(|name| OWN.iter().any(|own| name == *own)));
    let beside = own.filter_map(|operand| OVERRIDES.iter().map(|name| operand.path.with_file_name(name)).find(|path| path.is_file()));
    let mut found: Vec<PathBuf> = beside.filter(|path| !given.contains(&input::real(path))).collect();
    found.dedup();
    found
}

/// The folder of a file.
pub(super) fn folder_of(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}
