//! Which images a Compose project may start.
//!
//! Owns the project: which files it is made of, those that are included, its name, where the values of variables come from. What a
//! service means is [`service`]'s, how variables are filled in [`variables`]'s, the grammar of `.env` files [`dotenv`]'s; YAML is read
//! by [`crate::document`].
//!
//! Rules: Compose Specification (github.com/compose-spec/compose-spec), "Include", "Models", "Version and name"; Docker's
//! documentation, "Environment variables precedence". All profiles count, and `scale: 0` does: what may be started by a flag must be
//! there.

pub(crate) mod variables; // what stands for `$VAR`

mod dotenv; // `.env` files
mod file; // one file, and those that Compose finds beside it
mod service; // what a service needs, and those that it extends

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use self::file::{File, folder_of, is_compose, overrides};
use self::variables::Variables;
use crate::input;
use crate::object::Object;
use crate::tree::{Node, Text};

/// A file that was named on the command line.
#[derive(Debug)]
pub(crate) struct Operand {
    /// Its path, or `-`.
    pub(crate) path: PathBuf,
    /// What stands on standard input, where that is meant.
    pub(crate) standard_input: Option<Result<String, String>>,
}

/// What the files of a project say together.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Its services, each with the images that it may start.
    pub(crate) objects: Vec<Object>,
    /// What could hide an image.
    pub(crate) problems: Vec<String>,
    /// What a person should know.
    pub(crate) notes: Vec<String>,
}

/// Reads files as `docker compose -f ONE -f OTHER` would, but takes the images of all of them: a file that overrides another can so only
/// add to what is in use. `environment` is that of the process.
pub(crate) fn read(mut operands: Vec<Operand>, environment: Variables) -> Found {
    let mut reading = Reading::default();
    for path in overrides(&operands) {
        reading.found.notes.push(format!("{}: is read too, as docker compose does without -f", path.display()));
        operands.push(Operand { path, standard_input: None });
    }
    let project = reading.project(&operands, environment);
    let files: Vec<Rc<File>> = operands.into_iter().filter_map(|operand| reading.open_operand(operand)).collect();
    let name = reading.name(&project, &files);
    for file in &files {
        if !file.maps().any(is_compose) {
            reading.found.problems.push(format!("{}: holds no services: it is no Compose file", file.name));
        }
        reading.included.push(file.real.clone());
        reading.add_file(&project, &name, file);
        reading.included.pop();
    }
    reading.finish()
}

/// Where the paths of files start, and what variables stand for.
#[derive(Debug)]
struct Project {
    folder: PathBuf,
    variables: Variables,
}

#[derive(Debug, Default)]
struct Reading {
    found: Found,
    files: BTreeMap<PathBuf, Option<Rc<File>>>,
    /// The files that are being read, each included by the one before it.
    included: Vec<PathBuf>,
    /// The services that have an image, or need none.
    provided: BTreeSet<String>,
    /// The services that lack one in a file, and how to say so. Another file may give it.
    lacking: Vec<(String, String)>,
}

impl Reading {
    /// The project of the files that were named: its folder is that of the first, its `.env` lies there.
    fn project(&mut self, operands: &[Operand], environment: Variables) -> Project {
        let folders: Vec<PathBuf> =
            operands.iter().filter(|operand| operand.standard_input.is_none()).map(|operand| folder_of(&operand.path)).collect();
        let folder = folders.first().cloned().unwrap_or_default();
        let mut files = listed(environment.get("COMPOSE_ENV_FILES"));
        if files.is_empty() && !is_true(environment.get("COMPOSE_DISABLE_ENV_FILE")) {
            files.extend(Some(folder.join(".env")).filter(|path| path.is_file()));
            for other in folders.iter().filter(|other| input::real(other) != input::real(&folder)) {
                if other.join(".env").is_file() {
                    self.found.problems.push(format!(
                        "{}: is not read: files under one name are one project, and its variables come from the folder of the first file ({}); give other projects without --name, or in a run of their own",
                        other.join(".env").display(),
                        if folder.as_os_str().is_empty() { Path::new(".") } else { &folder }.display()
                    ));
                }
            }
        }
        let variables = self.variables(environment, &files);
        Project { folder, variables }
    }

    /// The variables of an environment and of files, of which the later count more.
    fn variables(&mut self, mut environment: Variables, files: &[PathBuf]) -> Variables {
        let mut read = Variables::default();
        for path in files {
            // What a file fills in may come from those before it, too.
            let mut known = environment.clone();
            known.add(read.clone());
            match input::file(path).and_then(|text| dotenv::read(&text, &known)) {
                Ok(mut later) => {
                    later.add(read);
                    read = later;
                }
                Err(problem) => self.found.problems.push(format!("{}{problem}", path.display())),
            }
        }
        environment.add(read);
        environment
    }

    /// What Compose calls the project.
    fn name(&self, project: &Project, files: &[Rc<File>]) -> Option<String> {
        let own = |file: &Rc<File>| file.maps().filter_map(|map| map.text("name")).last().cloned();
        let written = || files.iter().filter_map(own).filter_map(|name| project.variables.fill_in(&name.text).ok()).next_back();
        let folder = || Some(input::real(&project.folder).file_name()?.to_string_lossy().into_owned());
        let told = project.variables.get("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty()).map(str::to_owned);
        let name = told.or_else(written).or_else(folder)?.to_lowercase();
        let name: String = name.chars().filter(|sign| sign.is_ascii_alphanumeric() || matches!(sign, '-' | '_')).collect();
        Some(name.trim_start_matches(['-', '_']).to_owned()).filter(|name| !name.is_empty())
    }

    fn open_operand(&mut self, operand: Operand) -> Option<Rc<File>> {
        match operand.standard_input {
            Some(text) => self.parsed(&operand.path, "standard input".to_owned(), text),
            None => self.open(&operand.path),
        }
    }

    /// Reads a file, once.
    fn open(&mut self, path: &Path) -> Option<Rc<File>> {
        let real = input::real(path);
        if let Some(known) = self.files.get(&real) {
            return known.clone();
        }
        let file = self.parsed(path, path.display().to_string(), input::file(path));
        self.files.insert(real, file.clone());
        file
    }

    fn parsed(&mut self, path: &Path, name: String, text: Result<String, String>) -> Option<Rc<File>> {
        let (file, problems) = match text {
            Ok(text) => File::read(path, name, text),
            Err(problem) => (None, vec![format!("{name}{problem}")]),
        };
        self.found.problems.extend(problems);
        file.map(Rc::new)
    }

    /// Takes the services of a file, and of those that it includes.
    fn add_file(&mut self, project: &Project, name: &Option<String>, file: &Rc<File>) {
        for map in file.maps() {
            match map.get("include") {
                None | Some(Node::Null) => {}
                Some(Node::List(items)) => items.iter().for_each(|item| self.include(project, name, file, item)),
                Some(other) => self.problem(file, other.first_text(), "include is no list"),
            }
            match map.get("services") {
                None | Some(Node::Null) => {}
                Some(Node::Map(services)) => {
                    for (service, node) in services.pairs() {
                        self.add_service(project, name, file, service, node);
                    }
                }
                Some(other) => self.problem(file, other.first_text(), "services is no mapping"),
            }
            if let Some(models) = map.map("models") {
                models.pairs().for_each(|(model, node)| self.add_model(project, name, file, model, node));
            }
        }
    }

    /// Takes a project that is included: its paths start at its own folder, and its variables come from its own `.env` where they are not
    /// known yet.
    fn include(&mut self, project: &Project, name: &Option<String>, file: &Rc<File>, item: &Node) {
        let (paths, env_files, folder) = match item {
            Node::Text(path) => (vec![path], Vec::new(), None),
            Node::Map(map) => (texts(map.get("path")), texts(map.get("env_file")), map.text("project_directory")),
            other => return self.problem(file, other.first_text(), "what is included is neither a path nor a mapping with one"),
        };
        if paths.is_empty() {
            return self.problem(file, item.first_text(), "what is included has no path");
        }
        let filled = |reading: &mut Self, text: &Text| reading.path(project, file, text, "include");
        let paths: Option<Vec<PathBuf>> = paths.into_iter().map(|text| filled(self, text)).collect();
        let env_files: Option<Vec<PathBuf>> = env_files.into_iter().map(|text| filled(self, text)).collect();
        let folder = folder.map(|text| filled(self, text));
        let (Some(paths), Some(env_files), false) = (paths, env_files, folder == Some(None)) else { return };
        let folder = folder.flatten().or_else(|| Some(folder_of(paths.first()?))).unwrap_or_default();
        let env_files =
            if env_files.is_empty() { Some(folder.join(".env")).filter(|path| path.is_file()).into_iter().collect() } else { env_files };
        let variables = self.variables(project.variables.clone(), &env_files);
        let included = Project { folder, variables };
        for path in paths {
            let real = input::real(&path);
            if self.included.contains(&real) {
                self.problem(file, item.first_text(), &format!("includes {}, which includes it", path.display()));
            } else if let Some(file) = self.open(&path) {
                self.included.push(real);
                self.add_file(&included, name, &file);
                self.included.pop();
            }
        }
    }

    /// A text with its variables filled in.
    fn filled(&mut self, project: &Project, file: &File, text: &Text, what: &str) -> Option<String> {
        match project.variables.fill_in(&text.text) {
            Ok(filled) => Some(filled),
            Err(fault) => {
                self.problem(file, Some(text), &format!("{what}: {:?}: {fault}", text.text));
                None
            }
        }
    }

    /// The path that a text names.
    fn path(&mut self, project: &Project, file: &File, text: &Text, what: &str) -> Option<PathBuf> {
        let path = self.filled(project, file, text, what)?;
        if path.contains("://") || path.starts_with("git@") {
            let cause = format!(
                "{what}: {path} is elsewhere, and is not fetched: pipe what Compose makes of it (docker compose --profile '*' config | k8s-images --from compose -)"
            );
            self.problem(file, Some(text), &cause);
            return None;
        }
        Some(project.folder.join(path))
    }

    fn problem(&mut self, file: &File, place: Option<&Text>, cause: &str) {
        self.found.problems.push(file.at(place, cause));
    }

    fn finish(self) -> Found {
        let Self { mut found, provided, lacking, .. } = self;
        found.problems.extend(lacking.into_iter().filter(|(service, _)| !provided.contains(service)).map(|(_, problem)| problem));
        // A file that two others include or extend says the same twice.
        let mut said = BTreeSet::new();
        found.problems.retain(|problem| said.insert(problem.clone()));
        found.notes.retain(|note| said.insert(note.clone()));
        found
    }
}

/// The texts of a list, or the one that stands in its place.
fn texts(node: Option<&Node>) -> Vec<&Text> {
    match node {
        Some(Node::Text(text)) => vec![text],
        Some(Node::List(items)) => items.iter().filter_map(Node::first_text).collect(),
        _ => Vec::new(),
    }
}

fn listed(value: Option<&str>) -> Vec<PathBuf> {
    value.unwrap_or_default().split(',').map(str::trim).filter(|path| !path.is_empty()).map(PathBuf::from).collect()
}

/// Whether a variable switches something on, by the words that Go's `strconv.ParseBool` takes.
fn is_true(value: Option<&str>) -> bool {
    matches!(value, Some("1" | "t" | "T" | "true" | "TRUE" | "True"))
}
