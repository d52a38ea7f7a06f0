//! Which images the containers of this host's engine need: Docker's, or Podman's, which speaks the same language.
//!
//! Owns what the engine is asked for, in which order, and what it means for the inventory if one answer is not to be had. Which engine
//! is meant is [`endpoint`]'s, how it is asked [`client`]'s, what its answers mean [`reading`]'s.
//!
//! Rules: Docker Engine API (docs.docker.com/reference/api/engine), `ContainerList`, `ContainerInspect`, `ImageInspect`, `ServiceList`,
//! `SystemInfo`.

mod client; // one request
mod endpoint; // which engine is meant, and where it listens
mod message; // the answers, with the fields that are asked for
mod reading; // what they mean

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use self::client::{Client, Failure};
pub(crate) use self::endpoint::Endpoint;
use self::message::{Container, ContainerDetails, Image, Info, Service};
use self::reading::Reading;
use crate::uses::Gathering;

/// The name of an engine that did not tell its own.
const NAMELESS: &str = "docker";

/// What an engine said.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What it calls itself: the name of its host.
    pub(crate) name: String,
    /// Where it was asked.
    pub(crate) server: String,
    /// What its containers and services use.
    pub(crate) gathering: Gathering,
    /// What makes it incomplete.
    pub(crate) problems: Vec<String>,
    /// What a person should know.
    pub(crate) notes: Vec<String>,
}

/// Asks an engine for all that it may need, within `limit`.
pub(crate) fn read(endpoint: &Endpoint, limit: Duration) -> Answer {
    let mut asking = Asking { name: None, reading: Reading::default(), problems: Vec::new(), notes: Vec::new() };
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("nothing can be asked: {error}"))
        .and_then(|runtime| {
            let whole = async { tokio::time::timeout(limit, asking.ask(endpoint)).await };
            runtime.block_on(whole).unwrap_or_else(|_| Err(format!("did not answer all within {} s (--timeout)", limit.as_secs())))
        });
    if let Err(problem) = done {
        asking.problems.push(format!("{}: {problem}", endpoint.server()));
    }
    let Asking { name, reading, problems, mut notes } = asking;
    let Reading { gathering, notes: read, .. } = reading;
    notes.extend(read);
    let server = endpoint.server().to_owned();
    Answer { name: name.unwrap_or_else(|| NAMELESS.to_owned()), server, gathering, problems, notes }
}

struct Asking {
    name: Option<String>,
    reading: Reading,
    problems: Vec<String>,
    notes: Vec<String>,
}

impl Asking {
    /// Asks for everything. What fails here leaves nothing that could be asked further.
    async fn ask(&mut self, endpoint: &Endpoint) -> Result<(), String> {
        let client = Client::connect(endpoint).await?;
        let info: Info = client.get("/info").await.map_err(|failure| failure.to_string())?;
        self.name = info.name.clone().filter(|name| !name.is_empty());
        self.reading.names_manifests = info.names_manifests();
        let containers: Vec<Container> = client.get("/containers/json?all=true").await.map_err(|failure| failure.to_string())?;
        let images = self.images(&client, &containers).await;
        for container in &containers {
            let details = match container.needs_details() {
                true => self.found(client.get::<ContainerDetails>(&format!("/containers/{}/json", container.id)).await),
                false => None,
            };
            self.reading.add_container(container, details.as_ref(), images.get(&container.image_id));
        }
        let services = self.services(&client, &info).await;
        for service in &services {
            if let Err(problem) = self.reading.add_service(service) {
                self.problems.push(problem);
            }
        }
        if self.problems.is_empty() && containers.is_empty() && services.is_empty() {
            // An engine that runs nothing is possible. One of several on a host, with the containers at another, is more likely.
            return Err(
                "has no containers at all: is this the engine that is meant? Each user's and Podman's are of their own (DOCKER_HOST, docker context)"
                    .to_owned(),
            );
        }
        if self.problems.is_empty() && self.reading.is_empty() {
            return Err("none of its containers runs an image that has a name".to_owned());
        }
        Ok(())
    }

    /// What is known of the images that containers run, by their IDs.
    async fn images(&mut self, client: &Client, containers: &[Container]) -> BTreeMap<String, Image> {
        let ids: BTreeSet<&String> = containers.iter().map(|container| &container.image_id).filter(|id| !id.is_empty()).collect();
        let mut images = BTreeMap::new();
        for id in ids {
            // One that was removed under a container is missing, and then the container says all that there is.
            if let Some(image) = self.found(client.get::<Image>(&format!("/images/{id}/json")).await) {
                images.insert(id.clone(), image);
            }
        }
        images
    }

    /// The services of a Swarm, which its managers alone know.
    async fn services(&mut self, client: &Client, info: &Info) -> Vec<Service> {
        if !info.is_manager() {
            if info.is_in_swarm() {
                self.notes.push("is a worker of a Swarm: what its services would start elsewhere is asked of a manager".to_owned());
            }
            return Vec::new();
        }
        match client.get("/services").await {
            Ok(services) => services,
            Err(failure) => {
                self.problems.push(failure.to_string());
                Vec::new()
            }
        }
    }

    /// What was found; that something is not there any more is no problem.
    fn found<T>(&mut self, answer: Result<T, Failure>) -> Option<T> {
        match answer {
            Ok(found) => Some(found),
            Err(failure) => {
                if !failure.is_absence() {
                    self.problems.push(failure.to_string());
                }
                None
            }
        }
    }
}
