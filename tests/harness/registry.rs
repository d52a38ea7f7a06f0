//! A real registry on a free port of the loopback, in a temporary folder, that ends with its owner.
//!
//! It is Debian's `docker-registry` (Distribution 2.8.2), or the program that `TEST_REGISTRY` names. Where the two
//! differ a test asks [`Registry::is_v3`] and states both truths; it does not look away.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::Client;
use crate::folder::temporary;
use crate::ports::free_port;
use crate::process::{Server, clean, is_root, named_program, output_of, program};
use crate::redis::Redis;
use crate::storage::Storage;
use crate::tls::Certificates;
use crate::token::{ISSUER, SERVICE, TokenServer};

/// A registry, running or stopped. By default: deletion enabled, the in-memory descriptor cache that every package
/// ships, no credentials, plain HTTP.
pub struct Registry {
    folder: TempDir,
    host: String,
    config: Value,
    certificates: Option<Certificates>,
    basic: Option<(String, String)>,
    client: Client,
    own_root: bool,
    server: Mutex<Option<Server>>,
}

/// What a registry is to be like; `start()` ends the sentence.
#[derive(Default)]
pub struct With {
    basic: Option<(String, String)>,
    tls: bool,
    tokens: Option<TokenServer>,
    own_root: bool,
    settings: Vec<(String, Value)>,
}

impl Registry {
    /// A registry like any other.
    pub fn start() -> Self {
        Self::with().start()
    }

    /// Begins the description of a special one.
    pub fn with() -> With {
        With::default()
    }

    /// `127.0.0.1:PORT`, as an operand of a tool.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// `http://127.0.0.1:PORT`, or `https`.
    pub fn url(&self) -> String {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.host)
    }

    /// The `rootdirectory` of its storage.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("storage")
    }

    /// Its storage, for damage.
    pub fn storage(&self) -> Storage {
        Storage::at(&self.root())
    }

    /// Its configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("config.yml")
    }

    /// The authority that signed its certificate.
    pub fn ca_file(&self) -> &Path {
        &self.certificates.as_ref().expect("only a registry with tls() has an authority").ca_file
    }

    /// User and password of `htpasswd()`.
    pub fn credentials(&self) -> Option<&(String, String)> {
        self.basic.as_ref()
    }

    /// A client with all rights.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.server.lock().unwrap().as_ref().expect("the registry runs").0.id()
    }

    /// All that it wrote so far, its access log too.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Whether it is Distribution 3: it deletes tags and pages tags, 2.8 does not.
    pub fn is_v3(&self) -> bool {
        version().contains("distribution/v3")
    }

    /// Ends it; its storage stays.
    pub fn stop(&self) {
        self.server.lock().unwrap().take();
    }

    /// Ends it and starts it again on the same port: what it had in memory is gone.
    pub fn restart(&self) {
        self.stop();
        self.run_again();
    }

    /// Starts it again with another configuration on the same port and storage, as operators do to make a registry
    /// read-only. The path is a JSON pointer into the configuration, such as `/storage/delete/enabled`.
    pub fn restart_with(&mut self, path: &str, value: Value) {
        self.stop();
        set(&mut self.config, path, value);
        fs::write(self.config_file(), self.config.to_string()).unwrap();
        self.run_again();
    }

    fn run_again(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if let Some(server) = self.run() {
                *self.server.lock().unwrap() = Some(server);
                return;
            }
        }
        panic!("the registry does not come up again on {}:\n{}", self.host, self.log());
    }

    /// Runs its own collector over its storage and gives what that wrote. The registry goes on running.
    pub fn garbage_collect(&self) -> String {
        self.garbage_collect_with(&[])
    }

    /// The same with options, such as `--delete-untagged`.
    pub fn garbage_collect_with(&self, options: &[&str]) -> String {
        output_of(command(self.folder.path()).arg("garbage-collect").args(options).arg(self.config_file()))
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Starts the program and waits until it answers; `None` where another program holds the port.
    fn run(&self) -> Option<Server> {
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        let mut command = if self.own_root { in_own_root(self.folder.path()) } else { command(self.folder.path()) };
        let config = if self.own_root { PathBuf::from("/config.yml") } else { self.config_file() };
        let child =
            command.arg("serve").arg(config).stdout(log.try_clone().unwrap()).stderr(log).spawn().expect("the registry's program starts");
        let mut server = Server(child);
        let probe = self.client.anonymous();
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if let Some(status) = server.0.try_wait().unwrap() {
                let log = self.log();
                assert!(log.contains("address already in use"), "the registry ended with {status}:\n{log}");
                return None;
            }
            if let Ok(answer) = probe.try_send("GET", "/v2/", &[], b"") {
                // The header proves that it is ours, and not a stranger who took the port before it did.
                return (answer.header(MARK) == Some(&*self.mark())).then_some(server);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the registry does not answer on {}:\n{}", self.host, self.log());
    }

    fn mark(&self) -> String {
        self.folder.path().file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

const MARK: &str = "x-test-registry";

impl With {
    /// Asks for this user and password (basic authentication).
    pub fn htpasswd(mut self, user: &str, password: &str) -> Self {
        self.basic = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// Serves HTTPS with a certificate of its own authority.
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Verifies tokens that this server signs.
    pub fn token_auth(mut self, tokens: &TokenServer) -> Self {
        self.tokens = Some(tokens.clone());
        self
    }

    /// Caches descriptors in Redis.
    pub fn redis(self, redis: &Redis) -> Self {
        let redis = if version().contains("distribution/v3") { json!({"addrs": [redis.host()]}) } else { json!({"addr": redis.host()}) };
        self.set("/storage/cache", json!({"blobdescriptor": "redis"})).set("/redis", redis)
    }

    /// Does not cache descriptors.
    pub fn cache_off(self) -> Self {
        self.set("/storage/cache", Value::Null)
    }

    /// Caches descriptors in memory, as it does unless told otherwise; for a test in which that matters.
    pub fn in_memory_cache(self) -> Self {
        self.set("/storage/cache", json!({"blobdescriptor": "inmemory"}))
    }

    /// Refuses every change. What such a registry holds comes from [`storage_of`](Self::storage_of).
    pub fn read_only(self) -> Self {
        self.set("/storage/maintenance/readonly", json!({"enabled": true}))
    }

    /// Answers DELETE with 405, as Distribution does unless told otherwise.
    pub fn delete_disabled(self) -> Self {
        self.set("/storage/delete", json!({"enabled": false}))
    }

    /// The largest page of the catalog.
    pub fn catalog_max(self, entries: u32) -> Self {
        self.set("/catalog", json!({"maxentries": entries}))
    }

    /// Serves the storage of another registry.
    pub fn storage_of(self, other: &Registry) -> Self {
        self.storage_at(&other.root())
    }

    /// Serves the storage in this folder, such as that of a [`Tree`](crate::Tree).
    pub fn storage_at(self, root: &Path) -> Self {
        self.set("/storage/filesystem/rootdirectory", json!(root))
    }

    /// Sees a root of its own, as in a container: its storage is `/storage` there.
    pub fn own_root(mut self) -> Self {
        self.own_root = true;
        self.set("/storage/filesystem/rootdirectory", json!("/storage"))
    }

    /// Sets anything else; the path is a JSON pointer into the configuration, `Null` takes the entry away.
    pub fn set(mut self, path: &str, value: Value) -> Self {
        self.settings.push((path.to_owned(), value));
        self
    }

    /// Starts it and waits until it answers.
    pub fn start(self) -> Registry {
        for _ in 0..20 {
            if let Some(registry) = self.try_start() {
                return registry;
            }
        }
        panic!("a registry found 20 ports taken that had been free a moment before")
    }

    fn try_start(&self) -> Option<Registry> {
        let folder = temporary();
        let host = format!("127.0.0.1:{}", free_port());
        let certificates = self.tls.then(|| Certificates::make(folder.path()));
        let mark = folder.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut config = json!({
            "version": 0.1,
            "log": {"level": "info", "formatter": "text"},
            "storage": {
                "filesystem": {"rootdirectory": folder.path().join("storage")},
                "cache": {"blobdescriptor": "inmemory"},
                "delete": {"enabled": true},
                "maintenance": {"uploadpurging": {"enabled": false}},
            },
            "http": {"addr": host, "secret": "of a test", "headers": {MARK: [mark]}},
        });
        let mut client = Client::new(
            &format!("{}://{host}", if self.tls { "https" } else { "http" }),
            certificates.as_ref().map(|certificates| certificates.ca_file.as_path()),
        );
        if let Some(certificates) = &certificates {
            let tls = json!({"certificate": certificates.certificate, "key": certificates.key});
            set(&mut config, "/http/tls", tls);
        }
        if let Some((user, password)) = &self.basic {
            let file = folder.path().join("htpasswd");
            fs::write(&file, htpasswd(user, password)).unwrap();
            set(&mut config, "/auth/htpasswd", json!({"realm": "a test", "path": file}));
            client = client.with_basic(user, password);
        }
        if let Some(tokens) = &self.tokens {
            let token = json!({
                "realm": tokens.realm(), "service": SERVICE, "issuer": ISSUER, "rootcertbundle": tokens.certificate(),
            });
            set(&mut config, "/auth/token", token);
            client = client.with_tokens(tokens.clone());
        }
        for (path, value) in &self.settings {
            set(&mut config, path, value.clone());
        }
        fs::create_dir_all(folder.path().join("storage")).unwrap();
        // JSON is YAML.
        fs::write(folder.path().join("config.yml"), config.to_string()).unwrap();
        let registry = Registry {
            folder,
            host,
            config,
            certificates,
            basic: self.basic.clone(),
            client,
            own_root: self.own_root,
            server: Mutex::new(None),
        };
        let server = registry.run()?;
        *registry.server.lock().unwrap() = Some(server);
        Some(registry)
    }
}

/// Sets the entry at a JSON pointer, making the objects on the way; `Null` takes it away.
fn set(config: &mut Value, path: &str, value: Value) {
    let mut names: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let last = names.pop().unwrap_or_default();
    let mut place = config;
    for name in names {
        place = &mut place[name];
    }
    match (value, place.as_object_mut()) {
        (Value::Null, Some(object)) => drop(object.remove(last)),
        (value, _) => place[last] = value,
    }
}

fn htpasswd(user: &str, password: &str) -> String {
    // The lowest cost of bcrypt: the registry computes it for every request.
    output_of(Command::new(program("htpasswd", "apache2-utils")).args(["-nbBC", "4", user, password]))
}

fn command(home: &Path) -> Command {
    let mut command = clean(binary(), home);
    // Distribution 3 otherwise sends traces to a collector that is not there.
    command.env("OTEL_TRACES_EXPORTER", "none");
    command
}

/// The program in a root of its own, with the libraries that it needs. Who is not root needs user namespaces for that, as the engine does.
fn in_own_root(root: &Path) -> Command {
    let copy = |path: &Path| {
        let target = root.join(path.strip_prefix("/").unwrap_or(path));
        fs::create_dir_all(target.parent().unwrap_or(root)).unwrap();
        if !target.exists() {
            fs::copy(path, &target).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    };
    copy(binary());
    // One that is linked statically has none, and says so with status 1.
    let libraries = Command::new("ldd").arg(binary()).output().expect("ldd runs");
    for word in String::from_utf8_lossy(&libraries.stdout).split_whitespace().filter(|word| word.starts_with('/')) {
        copy(Path::new(word));
    }
    let mut command = if is_root() {
        clean(&program("chroot", "coreutils"), root)
    } else {
        let mut command = clean(&program("unshare", "util-linux"), root);
        command.args(["--map-root-user", "chroot"]);
        command
    };
    command.arg(root).arg(binary()).env("OTEL_TRACES_EXPORTER", "none");
    command
}

fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("TEST_REGISTRY") {
        None => program("docker-registry", "docker-registry"),
        Some(path) => named_program("TEST_REGISTRY", Path::new(&path)),
    })
}

/// What the program says of itself, such as `docker-registry github.com/docker/distribution 2.8.2+ds1`.
fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| output_of(Command::new(binary()).arg("--version")))
}
