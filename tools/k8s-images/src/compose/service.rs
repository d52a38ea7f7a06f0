//! What one service needs: its own image and those of its steps and volumes, and what it has of services that it extends.
//!
//! Owns what the attributes of a service mean. Which services there are is found in [`super`].
//!
//! Rules: Compose Specification, "Services": `image`, `build`, `extends`, `pre_start`, `provider`, `volumes`; "Models".

use std::collections::BTreeSet;
use std::rc::Rc;

use common::record::Field;

use super::file::File;
use super::{Project, Reading};
use crate::object::{Identity, Mention, Object, Role, parse_image};
use crate::tree::{Map, Node, Text};

/// One file's part of a service: its own, or one that it extends.
struct Layer {
    file: Rc<File>,
    service: Map,
}

impl Reading {
    /// Takes a service.
    pub(super) fn add_service(&mut self, project: &Project, name: &Option<String>, file: &Rc<File>, service: &str, node: &Node) {
        let what = format!("service {service}");
        let problems = self.found.problems.len();
        let layers = match node {
            Node::Map(map) => self.layers(project, file, service, map),
            Node::Null => Vec::new(),
            other => return self.problem(file, other.first_text(), &format!("{what} is no mapping")),
        };
        for layer in &layers {
            self.check_shape(layer, &what);
        }
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

    /// Says what stands where an image belongs, or what leads to one, and is none. Compose refuses such a file.
    fn check_shape(&mut self, Layer { file, service }: &Layer, what: &str) {
        let is_text = |node: &Node| matches!(node, Node::Text(_) | Node::Null);
        let mut wrong = |node: &Node, cause: &str| self.problem(file, node.first_text(), &format!("{what}: {cause}"));
        if let Some(image) = service.get("image").filter(|image| !is_text(image)) {
            wrong(image, "image is no text");
        }
        match service.get("extends") {
            None | Some(Node::Text(_) | Node::Null) => {}
            Some(Node::Map(map)) if map.text("service").is_some() && map.get("file").is_none_or(is_text) => {}
            Some(other) => wrong(other, "extends names no service"),
        }
        for (key, image) in [("pre_start", "image"), ("volumes", "source")] {
            let items = match service.get(key) {
                None | Some(Node::Null) => continue,
                Some(Node::List(items)) => items,
                Some(other) => {
                    wrong(other, &format!("{key} is no list"));
                    continue;
                }
            };
            for item in items {
                match item {
                    Node::Map(map) if map.get(image).is_none_or(is_text) => {}
                    Node::Map(_) => wrong(item, &format!("{image} of {key} is no text")),
                    Node::Text(_) if key == "volumes" => {}
                    _ => wrong(item, &format!("{key} holds what is no mapping")),
                }
            }
        }
    }

    /// Takes a model, which is an artifact in a registry.
    pub(super) fn add_model(&mut self, project: &Project, name: &Option<String>, file: &Rc<File>, model: &str, node: &Node) {
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
}
