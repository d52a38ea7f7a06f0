//! Which images a Compose project may start.
//!
//! Owns what the elements of a Compose file mean for this: services and what they extend, files that are included, where the values
//! of variables come from. How variables are filled in is [`variables`]'s, the grammar of `.env` files [`dotenv`]'s; YAML is read by
//! [`crate::document`].
//!
//! Rules: Compose Specification (github.com/compose-spec/compose-spec), "Services" (`image`, `build`, `extends`, `pre_start`,
//! `provider`, `volumes`), "Include", "Models", "Version and name"; Docker's documentation, "Environment variables precedence". All profiles
//! count, and `scale: 0` does: what may be started by a flag must be there.

pub(crate) mod variables;

mod dotenv;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use common::record::Field;

use self::variables::Variables;
use crate::document::{self, Fault, line_of};
use crate::input;
use crate::object::{Identity, Mention, Object, Role, parse_image};
use crate::tree::{Map, Node, Text};

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

/// The files beside those that were named that Compose reads with them, unless it is given `-f`. It takes the first, where there are
/// several.
fn overrides(operands: &[Operand]) -> Vec<PathBuf> {
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

/// A file that was read.
#[derive(Debug)]
struct File {
    /// For people.
    name: String,
    /// The path that it has without links and detours.
    real: PathBuf,
    /// The folder from which what it extends is named.
    folder: PathBuf,
    text: String,
    documents: Vec<Node>,
}

impl File {
    fn maps(&self) -> impl Iterator<Item = &Map> {
        self.documents.iter().filter_map(|document| match document {
            Node::Map(map) => Some(map),
            _ => None,
        })
    }

    fn service(&self, name: &str) -> Option<&Node> {
        self.maps().filter_map(|map| map.map("services")?.get(name)).next()
    }

    /// A sentence about a place in it.
    fn at(&self, place: Option<&Text>, cause: &str) -> String {
        match place {
            Some(place) => format!("{}, line {}: {cause}", self.name, line_of(&self.text, place.start)),
            None => format!("{}: {cause}", self.name),
        }
    }
}

/// Whether a document is meant for Compose: it has services, or another of the elements that only it has.
fn is_compose(map: &Map) -> bool {
    const ELEMENTS: [&str; 7] = ["services", "include", "networks", "volumes", "configs", "secrets", "models"];
    ELEMENTS.iter().any(|element| map.get(element).is_some()) && map.get("kind").is_none()
}

/// Where the paths of files start, and what variables stand for.
#[derive(Debug)]
struct Project {
    folder: PathBuf,
    variables: Variables,
}

/// One file's part of a service: its own, or one that it extends.
struct Layer {
    file: Rc<File>,
    service: Map,
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
            match input::file(path).and_then(|text| dotenv::read(&text, &environment)) {
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
        let text = match text {
            Ok(text) if text.trim().is_empty() => {
                self.found.problems.push(format!("{name}: is empty"));
                return None;
            }
            Ok(text) => text,
            Err(problem) => {
                self.found.problems.push(format!("{name}{problem}"));
                return None;
            }
        };
        let (documents, faults) = document::read_all_of_yaml(&text);
        for Fault { at, cause } in faults {
            let place = at.map(|at| format!(", line {}", line_of(&text, at))).unwrap_or_default();
            self.found.problems.push(format!("{name}{place}: {cause}"));
        }
        // What could not be read was said; that it holds no services need not be said too.
        let folder = folder_of(path);
        (!documents.is_empty()).then(|| Rc::new(File { name, real: input::real(path), folder, text, documents }))
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

    fn add_service(&mut self, project: &Project, name: &Option<String>, file: &Rc<File>, service: &str, node: &Node) {
        let what = format!("service {service}");
        let problems = self.found.problems.len();
        let layers = match node {
            Node::Map(map) => self.layers(project, file, service, map),
            Node::Null => Vec::new(),
            other => return self.problem(file, other.first_text(), &format!("{what} is no mapping")),
        };
        let is_cut = self.found.problems.len() > problems;
        let has = |key: &str| layers.iter().any(|layer| !matches!(layer.service.get(key), None | Some(Node::Null)));
        let mut mentions = Vec::new();
        let image = layers.iter().find_map(|layer| layer.service.text("image").map(|text| (layer, text)));
        if let Some((layer, text)) = image {
            mentions.extend(self.mention(project, &layer.file, text, &what, None, Field::Container));
        }
        for layer in &layers {
            for step in layer.service.maps("pre_start") {
                if let Some(image) = step.text("image") {
                    mentions.extend(self.mention(project, &layer.file, image, &what, None, Field::InitContainer));
                }
            }
            for volume in layer.service.maps("volumes").filter(|volume| volume.string("type").as_deref() == Some("image")) {
                if let Some(image) = volume.text("source") {
                    let target = volume.string("target");
                    mentions.extend(self.mention(project, &layer.file, image, &what, target, Field::ImageVolume));
                }
            }
        }
        if image.is_some() || is_cut || has("provider") {
            self.provided.insert(service.to_owned());
        } else if has("build") {
            self.provided.insert(service.to_owned());
            let local = name.as_ref().map(|name| format!(" as {name}-{service}")).unwrap_or_default();
            self.found.notes.push(format!("{}: {what} is built where it runs{local}, and its image is in no registry", file.name));
        } else {
            let cause = file.at(
                node.first_text(),
                &format!("{what} has no image and no build; is it an override? Give the file that it overrides too, under one --name"),
            );
            self.lacking.push((service.to_owned(), cause));
        }
        self.add("Service", name, service, mentions);
    }

    fn add_model(&mut self, project: &Project, name: &Option<String>, file: &Rc<File>, model: &str, node: &Node) {
        let Node::Map(map) = node else { return };
        let Some(text) = map.text("model") else { return };
        let Some(image) = self.filled(project, file, text, &format!("model {model}")) else { return };
        // A model may be of a place that is no registry, whose names are no references.
        if let Ok(reference) = parse_image(&image) {
            let mention = Mention { container: None, field: None, image, reference: reference.into(), running: None, config: None };
            self.add("Model", name, model, vec![mention]);
        }
    }

    fn add(&mut self, kind: &str, namespace: &Option<String>, name: &str, mentions: Vec<Mention>) {
        let (kind, name) = (Some(kind.to_owned()), Some(name.to_owned()));
        let identity = Identity { namespace: namespace.clone(), kind, name, group: String::new() };
        self.found.objects.push(Object { identity, owner: None, role: Role::Template, finished: false, mentions });
    }

    /// A service and those that it extends, one after the other.
    fn layers(&mut self, project: &Project, file: &Rc<File>, name: &str, service: &Map) -> Vec<Layer> {
        let mut layers = Vec::new();
        let mut seen = BTreeSet::new();
        let mut folder = project.folder.clone();
        let (mut file, mut name, mut service) = (Rc::clone(file), name.to_owned(), service.clone());
        loop {
            let next = match service.get("extends") {
                Some(Node::Text(other)) => Some((None, other.clone())),
                Some(Node::Map(map)) => map.text("service").map(|other| (map.text("file").cloned(), other.clone())),
                _ => None,
            };
            layers.push(Layer { file: Rc::clone(&file), service });
            let Some((other_file, other)) = next else { break };
            let what = format!("service {name}");
            if !seen.insert((file.real.clone(), name)) {
                self.problem(&file, Some(&other), &format!("{what} extends itself"));
                break;
            }
            let Some(other_name) = self.filled(project, &file, &other, &what) else { break };
            let from = match other_file {
                None => Rc::clone(&file),
                Some(path) => {
                    let within = Project { folder, variables: project.variables.clone() };
                    let opened = self.path(&within, &file, &path, &what).and_then(|path| self.open(&path));
                    let Some(opened) = opened else { break };
                    folder = opened.folder.clone();
                    opened
                }
            };
            match from.service(&other_name) {
                Some(Node::Map(map)) => (service, name) = (map.clone(), other_name),
                _ => {
                    let cause = format!("{what} extends {other_name}, and {} holds no service of that name", from.name);
                    self.problem(&file, Some(&other), &cause);
                    break;
                }
            }
            file = from;
        }
        layers
    }

    fn mention(
        &mut self,
        project: &Project,
        file: &File,
        text: &Text,
        what: &str,
        container: Option<String>,
        field: Field,
    ) -> Option<Mention> {
        let image = self.filled(project, file, text, what)?.trim().to_owned();
        match parse_image(&image) {
            Ok(reference) => {
                Some(Mention { container, field: Some(field), image, reference: reference.into(), running: None, config: None })
            }
            Err(cause) => {
                self.problem(file, Some(text), &format!("{what}: {cause}"));
                None
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
                "{what}: {path} is elsewhere, and is not fetched: pipe what Compose makes of it (docker compose config | k8s-images --from compose -)"
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

fn folder_of(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
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
