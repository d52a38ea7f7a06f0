//! A real container engine: Debian's `docker.io` (dockerd on containerd), with a socket and folders of its own.
//!
//! It needs nothing that a container of a CI job lacks: no network, no storage driver of the kernel, no control groups. Root
//! needs no capabilities beyond those of such a container; anybody else needs user namespaces. So containers are created and not
//! started, and images have no layers, for to unpack one needs a mount. `TEST_DOCKERD` names another dockerd.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::folder::temporary;
use crate::ports::free_port;
use crate::process::{Server, clean, output_of, program};
use crate::registry::Registry;
use crate::tls::Certificates;

/// A running engine. It ends when it is dropped.
pub struct Engine {
    // Dropped in this order.
    dockerd: Server,
    _containerd: Server,
    folder: TempDir,
    port: Option<u16>,
}

impl Engine {
    /// Starts one without images and containers, and waits until it answers.
    pub fn start() -> Self {
        let folder = temporary();
        let containerd = start_containerd(folder.path());
        let dockerd = start_dockerd(folder.path(), None);
        let mut this = Self { dockerd, _containerd: containerd, folder, port: None };
        if let Err(log) = this.wait() {
            panic!("dockerd ended:\n{log}");
        }
        this
    }

    /// One that listens on a port of the loopback too, over TLS, and knows its clients by their certificates.
    pub fn start_with_tls() -> Self {
        for _ in 0..20 {
            let folder = temporary();
            Certificates::make(folder.path()).client("client", &[]);
            let port = free_port();
            let containerd = start_containerd(folder.path());
            let dockerd = start_dockerd(folder.path(), Some(port));
            let mut this = Self { dockerd, _containerd: containerd, folder, port: Some(port) };
            match this.wait() {
                Ok(()) => return this,
                Err(log) => assert!(log.contains("address already in use"), "dockerd ended:\n{log}"),
            }
        }
        panic!("dockerd did not come up on any of 20 ports")
    }

    /// The socket on which it listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// `unix://…`, for `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// `tcp://127.0.0.1:PORT`, where it listens over TLS.
    pub fn address(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port.expect("only an engine with TLS has a port"))
    }

    /// A folder with what a client of its port needs, as `DOCKER_CERT_PATH` names it: `ca.pem`, `cert.pem`, `key.pem`.
    pub fn certificates(&self) -> TempDir {
        let folder = temporary();
        for (from, to) in [("ca.crt", "ca.pem"), ("client.crt", "cert.pem"), ("client.key", "key.pem")] {
            fs::copy(self.folder.path().join(from), folder.path().join(to)).unwrap();
        }
        folder
    }

    /// What it calls itself.
    pub fn name(&self) -> String {
        self.get("/info")["Name"].as_str().expect("an engine has a name").to_owned()
    }

    /// Pulls `team/app:1` or `team/app@sha256:…` from a registry; the image must have no layers. Gives the name that it has here.
    pub fn pull(&self, registry: &Registry, reference: &str) -> String {
        let name = format!("{}/{reference}", registry.host());
        // An engine pulls from the loopback in plain HTTP.
        let said = self.request("POST", &format!("/images/create?fromImage={name}"), None);
        assert!(!said.contains("\"error\""), "pulling {name}: {said}\n{}", self.log());
        name
    }

    /// Creates a container, with labels.
    pub fn create(&self, container: &str, image: &str, labels: &[(&str, &str)]) {
        let labels: serde_json::Map<String, Value> = labels.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let asked = json!({"Image": image, "Cmd": ["/none"], "Labels": labels});
        self.request("POST", &format!("/containers/create?name={container}"), Some(&asked));
    }

    /// Removes a container.
    pub fn remove(&self, container: &str) {
        self.request("DELETE", &format!("/containers/{container}"), None);
    }

    /// Gives an image another name, `repository:tag`, on this host alone.
    pub fn tag(&self, image: &str, name: &str) {
        let (repository, tag) = name.rsplit_once(':').expect("a name with a tag");
        self.request("POST", &format!("/images/{image}/tag?repo={repository}&tag={tag}"), None);
    }

    /// The ID of an image.
    pub fn id(&self, image: &str) -> String {
        self.get(&format!("/images/{image}/json"))["Id"].as_str().expect("an image has an ID").to_owned()
    }

    /// What it answers at a path.
    pub fn get(&self, path: &str) -> Value {
        serde_json::from_str(&self.request("GET", path, None)).expect("an engine answers JSON")
    }

    /// All that it wrote so far.
    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    #[track_caller]
    fn request(&self, method: &str, path: &str, body: Option<&Value>) -> String {
        let (status, body) = exchange(&self.socket(), method, path, body).expect("the engine answers");
        assert!(status.starts_with('2'), "{method} {path}: {status} {body}\n{}", self.log());
        body
    }

    /// Waits until it answers; what it said, where it ended instead.
    fn wait(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            if self.dockerd.0.try_wait().unwrap().is_some() {
                return Err(self.log());
            }
            if exchange(&self.socket(), "GET", "/_ping", None).is_ok_and(|(status, _)| status.starts_with('2')) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("dockerd does not answer:\n{}", self.log());
    }
}

/// Its containerd, without the plugins that want folders of the system.
fn start_containerd(folder: &Path) -> Server {
    let config = format!(
        "version = 2\nroot = '{0}/containerd'\nstate = '{0}/run'\ndisabled_plugins = ['io.containerd.grpc.v1.cri', 'io.containerd.internal.v1.opt']\n[grpc]\naddress = '{0}/containerd.sock'\n",
        folder.display()
    );
    let file = folder.join("containerd.toml");
    fs::write(&file, config).unwrap();
    let containerd = program("containerd", "docker.io");
    let log = File::create(folder.join("containerd.log")).unwrap();
    let child = apart(&containerd, folder).arg("--config").arg(file).stdout(log.try_clone().unwrap()).stderr(log).spawn();
    let mut server = Server(child.expect("containerd starts"));
    let deadline = Instant::now() + Duration::from_secs(30);
    while UnixStream::connect(folder.join("containerd.sock")).is_err() {
        let ended = server.0.try_wait().unwrap();
        let said = || fs::read_to_string(folder.join("containerd.log")).unwrap_or_default();
        assert!(ended.is_none() && Instant::now() < deadline, "containerd does not listen ({ended:?}):\n{}", said());
        std::thread::sleep(Duration::from_millis(5));
    }
    server
}

/// With a port it listens there over TLS too, with the certificates in the folder.
fn start_dockerd(folder: &Path, port: Option<u16>) -> Server {
    let dockerd = std::env::var_os("TEST_DOCKERD").map_or_else(|| program("dockerd", "docker.io"), PathBuf::from);
    // What the host's own engine is told is nothing to this one. Until version 23 it writes a key into /etc.
    let is_old = output_of(Command::new(&dockerd).arg("--version")).contains("version 20.");
    let config = if is_old { json!({"deprecated-key-path": folder.join("key.json")}) } else { json!({}) };
    fs::write(folder.join("daemon.json"), config.to_string()).unwrap();
    let mut command = apart(&dockerd, folder);
    command.args(["--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs", "--group=0"]);
    for (flag, name) in [
        ("--config-file", "daemon.json"),
        ("--containerd", "containerd.sock"),
        ("--data-root", "data"),
        ("--exec-root", "exec"),
        ("--pidfile", "pid"),
    ] {
        command.arg(flag).arg(folder.join(name));
    }
    if let Some(port) = port {
        command.arg("--tlsverify").arg(format!("--host=tcp://127.0.0.1:{port}"));
        for (flag, name) in [("--tlscacert", "ca.crt"), ("--tlscert", "server.crt"), ("--tlskey", "server.key")] {
            command.arg(flag).arg(folder.join(name));
        }
    }
    let log = File::create(folder.join("log")).unwrap();
    command.arg("--host").arg(format!("unix://{}", folder.join("docker.sock").display()));
    Server(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().expect("dockerd starts"))
}

/// A command with mounts and a `/run` of its own, so that nothing of it stays behind; without where that is not allowed.
fn apart(program: &Path, folder: &Path) -> Command {
    static UNSHARE: OnceLock<Option<Vec<&str>>> = OnceLock::new();
    const SCRIPT: &str = "mount -t tmpfs none /run && exec \"$@\"";
    let unshare = UNSHARE.get_or_init(|| {
        let ways = [vec!["--mount"], vec!["--map-root-user", "--mount"]];
        ways.into_iter().find(|way| {
            let tried = Command::new("unshare").args(way).args(["bash", "-c", SCRIPT, "bash", "true"]).output();
            tried.is_ok_and(|output| output.status.success())
        })
    });
    match unshare {
        Some(way) => {
            let mut command = clean(Path::new("unshare"), folder);
            command.args(way).args(["bash", "-c", SCRIPT, "bash"]).arg(program);
            command
        }
        None => clean(program, folder),
    }
}

/// One request on a socket: the status and the body. Without keeping the connection (HTTP/1.0) the body ends with it.
fn exchange(socket: &Path, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<(String, String)> {
    let mut stream = UnixStream::connect(socket)?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let head =
        format!("{method} {path} HTTP/1.0\r\nHost: engine\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_once(' ').map_or("", |(_, rest)| rest).lines().next().unwrap_or_default();
    Ok((status.to_owned(), body.to_owned()))
}
