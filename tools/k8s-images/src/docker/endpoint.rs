//! Which engine is meant, and where it listens.
//!
//! Owns the choice, which is that of the `docker` command: `DOCKER_HOST`, else the context of `DOCKER_CONTEXT` or of docker's
//! configuration, else the default socket. An engine that cannot be asked is an error, and never a reason to ask another one: its
//! containers look like those that were meant. How it is asked is [`super::client`]'s.
//!
//! Rules: docs.docker.com, "Docker contexts", "Environment variables" of the docker command, "Protect the Docker daemon socket".

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::input;

/// Where an engine listens if nobody says otherwise.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// An engine to be asked.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// As it was written.
    server: String,
    pub(super) address: Address,
}

/// How it is reached.
#[derive(Debug)]
pub(super) enum Address {
    /// A socket of this host.
    Socket(PathBuf),
    /// A port, in plain HTTP or over TLS.
    Port { url: Url, tls: Option<Tls> },
}

/// What is shown, and believed, over TLS.
#[derive(Debug, Default)]
pub(super) struct Tls {
    /// The certificates of authorities, as PEM; those of the system where there are none.
    pub(super) authorities: Option<Vec<u8>>,
    /// The client's own certificate and key, as PEM.
    pub(super) identity: Option<Vec<u8>>,
}

impl Endpoint {
    /// Finds the engine that is meant; `variable` is one of the environment.
    ///
    /// # Errors
    /// A sentence, where it cannot be told which it is, or it cannot be reached from here.
    pub(crate) fn find(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, String> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let home = set("HOME").map(PathBuf::from);
        let folder = set("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(".docker")));
        if let Some(host) = set("DOCKER_HOST") {
            let host = host.into_string().map_err(|_| "DOCKER_HOST is no text".to_owned())?;
            let tls = match (set("DOCKER_TLS_VERIFY"), set("DOCKER_TLS")) {
                (Some(_), _) => {
                    let folder = set("DOCKER_CERT_PATH").map(PathBuf::from).or(folder);
                    Some(Tls::in_folder(
                        &folder.ok_or("DOCKER_TLS_VERIFY is set, and neither DOCKER_CERT_PATH nor HOME says where the certificates are")?,
                    )?)
                }
                (None, Some(_)) => {
                    return Err(format!("DOCKER_TLS is set without DOCKER_TLS_VERIFY: {UNVERIFIED}; set DOCKER_TLS_VERIFY=1"));
                }
                (None, None) => None,
            };
            return Self::parse(host.trim(), tls).map_err(|cause| format!("DOCKER_HOST {cause}"));
        }
        let name = match set("DOCKER_CONTEXT") {
            Some(name) => Some(name.to_string_lossy().into_owned()),
            None => folder.as_deref().map(current_context).transpose()?.flatten(),
        };
        match (name.filter(|name| name != "default"), folder) {
            (Some(name), Some(folder)) => Self::of_context(&name, &folder.join("contexts")),
            (Some(name), None) => {
                Err(format!("docker's context {name} is asked for, and neither HOME nor DOCKER_CONFIG says where it stands"))
            }
            (None, _) => Ok(Self { server: format!("unix://{DEFAULT_SOCKET}"), address: Address::Socket(DEFAULT_SOCKET.into()) }),
        }
    }

    /// How it was written.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// The engine of a context that docker keeps.
    fn of_context(name: &str, folder: &Path) -> Result<Self, String> {
        let context = format!("docker's context {name}");
        let entries = std::fs::read_dir(folder.join("meta")).into_iter().flatten().flatten();
        for entry in entries {
            // Its folder is called by the hash of its name; the name itself stands in it.
            let Some(meta) = read_json::<Meta>(&entry.path().join("meta.json"))? else { continue };
            if meta.name != name {
                continue;
            }
            let Some(docker) = meta.endpoints.docker else {
                return Err(format!("{context} names no engine of Docker"));
            };
            if docker.skip_tls_verify {
                return Err(format!("{context} skips the verification of TLS: {UNVERIFIED}"));
            }
            let certificates = folder.join("tls").join(entry.file_name()).join("docker");
            let tls = if certificates.is_dir() { Some(Tls::in_folder(&certificates)?) } else { None };
            return Self::parse(docker.host.trim(), tls).map_err(|cause| format!("{context} {cause}"));
        }
        Err(format!("{context} is not in {}: docker context ls shows those that are", folder.display()))
    }

    /// Reads an address as docker writes it.
    fn parse(host: &str, tls: Option<Tls>) -> Result<Self, String> {
        let server = host.to_owned();
        // What has no scheme is a host and a port.
        let (scheme, rest) = host.split_once("://").unwrap_or(("tcp", host));
        match scheme {
            "unix" => {
                let path = if rest.is_empty() { DEFAULT_SOCKET } else { rest };
                Ok(Self { server: format!("unix://{path}"), address: Address::Socket(path.into()) })
            }
            "tcp" | "http" | "https" => {
                let tls = if scheme == "https" { Some(tls.unwrap_or_default()) } else { tls };
                let (scheme, port) = if tls.is_some() { ("https", 2376) } else { ("http", 2375) };
                let url = Url::parse(&format!("{scheme}://{rest}")).ok().filter(|url| url.host_str().is_some_and(|host| !host.is_empty()));
                let Some(mut url) = url else {
                    return Err("is no address, such as unix:///var/run/docker.sock or tcp://127.0.0.1:2375".to_owned());
                };
                if !url.username().is_empty() || url.password().is_some() {
                    return Err("holds a user or a password, which no engine asks for".to_owned());
                }
                // The port of HTTP itself is none of an engine, unless it is written.
                let is_written =
                    rest.split('/').next().is_some_and(|host| host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']')));
                if !is_written && url.set_port(Some(port)).is_err() {
                    return Err("is no address of a port".to_owned());
                }
                Ok(Self { server, address: Address::Port { url, tls } })
            }
            "ssh" => Err(format!("is {host}: no ssh is started here; forward the socket, and ask that: {}", forwarding(rest))),
            "npipe" => Err(format!(
                "is {host}: a named pipe of Windows is not asked; let the engine listen on a port of the loopback (tcp://127.0.0.1:2375)"
            )),
            _ => Err(format!("is {host}: only unix://, tcp:// and http(s):// are asked")),
        }
    }
}

/// Why nothing is asked over TLS that is not verified.
const UNVERIFIED: &str = "anybody on the way could answer that nothing runs";

/// The line that makes a socket of this host out of one behind ssh.
fn forwarding(rest: &str) -> String {
    let (host, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
    let (host, port) = host.rsplit_once(':').map_or((host, String::new()), |(host, port)| (host, format!(" -p {port}")));
    let socket = path.filter(|path| !path.is_empty()).map_or_else(|| DEFAULT_SOCKET.to_owned(), |path| format!("/{path}"));
    format!("ssh -fnNT{port} -L /tmp/engine.sock:{socket} {host} && DOCKER_HOST=unix:///tmp/engine.sock k8s-images --from docker")
}

impl Tls {
    /// Those of a folder with `ca.pem`, `cert.pem` and `key.pem`, as docker reads it. Either may be missing.
    fn in_folder(folder: &Path) -> Result<Self, String> {
        let read = |name: &str| {
            let path = folder.join(name);
            match std::fs::read(&path) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(format!("{}: cannot be read: {error}", path.display())),
            }
        };
        let identity = match (read("cert.pem")?, read("key.pem")?) {
            (Some(mut certificate), Some(key)) => {
                certificate.push(b'\n');
                certificate.extend(key);
                Some(certificate)
            }
            _ => None,
        };
        Ok(Self { authorities: read("ca.pem")?, identity })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    current_context: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Meta {
    #[serde(default)]
    name: String,
    #[serde(default)]
    endpoints: Endpoints,
}

#[derive(Default, Deserialize)]
struct Endpoints {
    docker: Option<Docker>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Docker {
    #[serde(default)]
    host: String,
    #[serde(default, rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

/// The context that docker's configuration names.
fn current_context(folder: &Path) -> Result<Option<String>, String> {
    let config: Option<Config> = read_json(&folder.join("config.json"))?;
    Ok(config.and_then(|config| config.current_context).filter(|name| !name.is_empty()))
}

/// Reads a file of docker's, if there is one.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, String> {
    if std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let known = |cause: String| format!("{}{cause}; which engine is meant is not known then: say it by DOCKER_HOST", path.display());
    let text = input::file(path).map_err(known)?;
    serde_json::from_str(&text).map(Some).map_err(|error| known(format!(": is not what docker writes: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(host: &str, tls: bool) -> String {
        match Endpoint::parse(host, tls.then(Tls::default)) {
            Ok(Endpoint { server, address: Address::Socket(path) }) => format!("{server} {}", path.display()),
            Ok(Endpoint { server, address: Address::Port { url, tls } }) => format!("{server} {url} {}", tls.is_some()),
            Err(cause) => cause,
        }
    }

    #[test]
    fn addresses_are_read_as_docker_does() {
        for (host, tls, expected) in [
            ("unix:///run/podman/podman.sock", false, "unix:///run/podman/podman.sock /run/podman/podman.sock"),
            ("unix://", false, "unix:///var/run/docker.sock /var/run/docker.sock"),
            ("tcp://127.0.0.1:2375", false, "tcp://127.0.0.1:2375 http://127.0.0.1:2375/ false"),
            ("tcp://build.example.com", false, "tcp://build.example.com http://build.example.com:2375/ false"),
            ("tcp://build.example.com", true, "tcp://build.example.com https://build.example.com:2376/ true"),
            ("tcp://[::1]", false, "tcp://[::1] http://[::1]:2375/ false"),
            ("tcp://[::1]:80", false, "tcp://[::1]:80 http://[::1]/ false"),
            ("10.0.0.1:2375", false, "10.0.0.1:2375 http://10.0.0.1:2375/ false"),
            ("http://h:80/engine", false, "http://h:80/engine http://h/engine false"),
            ("https://h:443", false, "https://h:443 https://h/ true"),
        ] {
            assert_eq!(parsed(host, tls), expected);
        }
        for (host, part) in [
            (
                "ssh://me@host:2222",
                "ssh -fnNT -p 2222 -L /tmp/engine.sock:/var/run/docker.sock me@host && DOCKER_HOST=unix:///tmp/engine.sock",
            ),
            ("ssh://host/run/podman/podman.sock", "ssh -fnNT -L /tmp/engine.sock:/run/podman/podman.sock host &&"),
            ("npipe:////./pipe/docker_engine", "a named pipe of Windows"),
            ("fd://3", "only unix://, tcp:// and http(s)://"),
            ("tcp://", "is no address"),
            ("tcp://me:secret@host:2375", "holds a user or a password"),
        ] {
            let cause = parsed(host, false);
            assert!(cause.contains(part), "{host}: {cause}");
            assert!(!cause.contains("secret"), "{cause}");
        }
    }
}
