//! A real Kubernetes control plane on free ports of the loopback, in a temporary folder, that ends with its owner.
//!
//! ```no_run
//! # use tests::*;
//! let cluster = Cluster::shared();
//! let namespace = cluster.namespace();
//! cluster.kubectl(&["-n", &namespace, "create", "deployment", "web", "--image=registry.example.com/team/web:1"]);
//! Tool::new("k8s-images").args(["--namespace", &namespace]).env("KUBECONFIG", cluster.kubeconfig()).run();
//! ```
//!
//! It is etcd, kube-apiserver and kube-controller-manager, as `scripts/test` builds them, or as `TEST_ETCD` and its like name
//! them. There is no kubelet and no scheduler, so pods stay Pending, and what they run is what a test says that they run
//! ([`workloads`](crate::workloads)). How a tool gets in is a [`Kubeconfig`].
//!
//! A control plane takes two seconds to start and 300 to 400 MB of memory. Tests that keep to a namespace of their own take
//! [`Cluster::shared`]; the others wait until there is a place for one more.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, OnceLock};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::Client;
use crate::folder::temporary;
use crate::kubeconfig::{Access, Kubeconfig};
use crate::ports::free_port;
use crate::process::{Kept, built_program, clean};
use crate::tls::Certificates;

/// How many clusters may run at once, the shared one not counted.
const PLACES: usize = 4;
/// How many users without any right each cluster knows from the start: its file of tokens is read once.
const USERS: usize = 40;
/// Where one of them must come up within this time. Two seconds are usual; a busy machine takes longer.
const COMES_UP: Duration = Duration::from_secs(120);

/// A control plane, running or stopped.
pub struct Cluster {
    folder: TempDir,
    with: With,
    port: u16,
    etcd_port: u16,
    certificates: Certificates,
    client: Client,
    users: AtomicUsize,
    namespaces: AtomicUsize,
    servers: Mutex<Servers>,
    _place: Option<Place>,
}

/// What runs; the order is that in which they end.
#[derive(Debug, Default)]
struct Servers {
    controllers: Option<Kept>,
    apiserver: Option<Kept>,
    etcd: Option<Kept>,
}

/// What a cluster is to be like; `start()` ends the sentence.
#[derive(Clone, Debug)]
pub struct With {
    name: String,
    controllers: bool,
    flags: Vec<String>,
}

/// Somebody whom the cluster knows by a token.
#[derive(Clone, Debug)]
pub struct User {
    /// As RBAC names it.
    pub name: String,
    /// What it shows.
    pub token: String,
}

impl Cluster {
    /// A cluster like any other.
    pub fn start() -> Self {
        Self::with().start()
    }

    /// Begins the description of a special one.
    pub fn with() -> With {
        With { name: "prod".to_owned(), controllers: true, flags: Vec::new() }
    }

    /// The cluster of all tests of this process that keep to a namespace of their own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::with().stays())
    }

    /// Several clusters of one test. It takes their places at once: two tests that have one each, and wait for another, would wait
    /// for ever.
    pub fn several<const N: usize>(these: [With; N]) -> [Self; N] {
        let mut places = Place::take(N).into_iter();
        these.map(|with| with.start_at(places.next()))
    }

    /// The name of the context in [`kubeconfig`](Self::kubeconfig): `prod`, unless it was [`named`](With::named).
    pub fn name(&self) -> &str {
        &self.with.name
    }

    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The authority that signed its certificate, and whose clients it believes.
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// That authority's certificate.
    pub fn ca_file(&self) -> &Path {
        &self.certificates.ca_file
    }

    /// A kubeconfig with one context, in which one may do anything.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// The way in for somebody who may do anything; it shows a token.
    pub fn access(&self) -> Access {
        Access::to(&self.url()).ca_file(self.ca_file()).token(&self.token())
    }

    /// Who may do anything.
    pub fn admin(&self) -> User {
        self.user_named("admin")
    }

    /// The token of who may do anything.
    pub fn token(&self) -> String {
        self.admin().token
    }

    /// A user of whom nobody else heard, and who has no right but those that everybody has who is known.
    pub fn user(&self) -> User {
        let number = self.users.fetch_add(1, Ordering::Relaxed);
        assert!(number < USERS, "a cluster knows {USERS} users, and this is one more");
        self.user_named(&format!("user-{number}"))
    }

    /// The tokens are no others' than this cluster's: who answers to one is no stranger who took the port.
    fn user_named(&self, name: &str) -> User {
        let mark = self.folder.path().file_name().unwrap_or_default().to_string_lossy();
        User { name: name.to_owned(), token: format!("token-of-{name}-{mark}") }
    }

    /// An HTTP client with all rights.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A name that no other namespace of this cluster has.
    pub(crate) fn next_namespace(&self) -> String {
        format!("test-{}", self.namespaces.fetch_add(1, Ordering::Relaxed))
    }

    /// The folder with its files: data, logs, certificates. It goes with the cluster.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The processes that run for it.
    pub fn pids(&self) -> Vec<u32> {
        let servers = self.servers.lock().unwrap();
        [&servers.controllers, &servers.apiserver, &servers.etcd].into_iter().flatten().map(Kept::pid).collect()
    }

    /// What kube-apiserver wrote so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file("kube-apiserver")).unwrap_or_default()
    }

    /// Ends it as the power does; its data stays.
    pub fn stop(&self) {
        let mut servers = self.servers.lock().unwrap();
        servers.controllers.take();
        servers.apiserver.take();
        servers.etcd.take();
    }

    /// Ends it, and starts it again on the same port.
    pub fn restart(&self) {
        self.stop();
        self.run().unwrap_or_else(|taken| panic!("the cluster does not come up again: {taken}"));
    }

    /// Lets etcd forget every revision before the present one: what a continue token or a resourceVersion names is gone.
    pub fn compact(&self) {
        // The JSON gateway, https://etcd.io/docs/v3.6/dev-guide/api_grpc_gateway/; int64 is text there, bytes are base64 ("AA==" is
        // a zero byte).
        let etcd = Client::of(&format!("127.0.0.1:{}", self.etcd_port));
        let ask = |path: &str, body: Value| etcd.send("POST", path, &[], body.to_string().as_bytes()).expect(200, path).json();
        let seen = ask("/v3/kv/range", json!({"key": "AA==", "limit": "1"}));
        let revision = seen["header"]["revision"].as_str().expect("etcd says its revision").to_owned();
        ask("/v3/kv/compaction", json!({"revision": revision, "physical": true}));
    }

    /// Starts what is to run, and waits until it answers; says which port is taken, where one is.
    fn run(&self) -> Result<(), String> {
        let etcd = self.start_server("etcd", &mut self.etcd());
        let apiserver = self.start_server("kube-apiserver", &mut self.apiserver());
        let mut servers = Servers { controllers: None, apiserver: Some(apiserver), etcd: Some(etcd) };
        let deadline = Instant::now() + COMES_UP;
        // Two hooks of its start only try again after a second. For them nobody but a user without all rights has to wait.
        let serves =
            "/readyz?exclude=poststarthook/rbac/bootstrap-roles&exclude=poststarthook/scheduling/bootstrap-system-priority-classes";
        self.answers(serves, &mut servers, deadline)?;
        if self.with.controllers {
            servers.controllers = Some(self.start_server("kube-controller-manager", &mut self.controller_manager()));
        }
        self.answers("/readyz", &mut servers, deadline)?;
        *self.servers.lock().unwrap() = servers;
        Ok(())
    }

    fn answers(&self, probe: &str, servers: &mut Servers, deadline: Instant) -> Result<(), String> {
        while Instant::now() < deadline {
            for (name, server) in [("etcd", &mut servers.etcd), ("kube-apiserver", &mut servers.apiserver)] {
                let Some(status) = server.as_mut().and_then(Kept::ended) else { continue };
                let log = fs::read_to_string(self.log_file(name)).unwrap_or_default();
                assert!(log.contains("address already in use"), "{name} ended with {status}:\n{log}");
                return Err(format!("{name} found its port taken"));
            }
            if self.client.try_send("GET", probe, &[], b"").is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the cluster is not ready within {} s:\n{}", COMES_UP.as_secs(), self.log())
    }

    fn start_server(&self, name: &str, command: &mut Command) -> Kept {
        Kept::start(command, &self.log_file(name), self.folder.path())
    }

    fn log_file(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    /// Alone, it need not wait a second for others before it leads, and nothing in it survives the machine.
    fn etcd(&self) -> Command {
        let url = format!("http://127.0.0.1:{}", self.etcd_port);
        let mut command = clean(&built_program("etcd"), self.folder.path());
        command
            .args(["--name", "etcd", "--data-dir", "etcd", "--log-level", "warn", "--unsafe-no-fsync"])
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--initial-cluster", "etcd=http://localhost:2380", "--listen-peer-urls", "http://127.0.0.1:0"])
            .args(["--heartbeat-interval", "5", "--election-timeout", "50"]);
        command
    }

    /// Without the admission of ServiceAccounts a pod can be made in a namespace in which no controller has made the default one.
    fn apiserver(&self) -> Command {
        let mut command = clean(&built_program("kube-apiserver"), self.folder.path());
        command
            .args(["--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--secure-port", &self.port.to_string()])
            .args(["--etcd-servers", &format!("http://127.0.0.1:{}", self.etcd_port)])
            .args(["--tls-cert-file", "server.crt", "--tls-private-key-file", "server.key", "--cert-dir", "."])
            .args(["--client-ca-file", "ca.crt", "--token-auth-file", "tokens.csv", "--authorization-mode", "RBAC"])
            .args(["--service-account-key-file", "server.crt", "--service-account-signing-key-file", "server.key"])
            .args(["--service-account-issuer", "https://kubernetes.default.svc", "--service-cluster-ip-range", "10.0.0.0/24"])
            .args(["--disable-admission-plugins", "ServiceAccount", "--enable-priority-and-fairness=false"])
            .args(&self.with.flags);
        command
    }

    /// Its usual limit of 20 requests a second would make tests wait.
    fn controller_manager(&self) -> Command {
        let mut command = clean(&built_program("kube-controller-manager"), self.folder.path());
        command
            .args(["--kubeconfig", "kubeconfig", "--service-account-private-key-file", "server.key", "--root-ca-file", "ca.crt"])
            .args(["--leader-elect=false", "--secure-port=0", "--kube-api-qps=1000", "--kube-api-burst=1000"]);
        command
    }
}

impl With {
    /// Calls its context otherwise than `prod`.
    pub fn named(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// Nobody makes ReplicaSets of Deployments, or pods of ReplicaSets: what a test puts there is all that is there.
    pub fn no_controllers(mut self) -> Self {
        self.controllers = false;
        self
    }

    /// Gives kube-apiserver another flag, such as `--watch-cache=false`.
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// Starts it and waits until it answers.
    pub fn start(self) -> Cluster {
        self.start_at(Place::take(1).pop())
    }

    /// Starts one that stays for as long as this process, in a static of tests that share it, and takes no place.
    pub fn stays(self) -> Cluster {
        self.start_at(None)
    }

    fn start_at(self, mut place: Option<Place>) -> Cluster {
        for _ in 0..20 {
            let mut cluster = self.prepare();
            if cluster.run().is_ok() {
                cluster._place = place.take();
                return cluster;
            }
        }
        panic!("a cluster found 20 ports taken that had been free a moment before")
    }

    /// Everything but the processes.
    fn prepare(&self) -> Cluster {
        let folder = temporary();
        let (port, etcd_port) = (free_port(), free_port());
        let certificates = certificates(folder.path());
        let mut cluster = Cluster {
            with: self.clone(),
            port,
            etcd_port,
            client: Client::new(&format!("https://127.0.0.1:{port}"), Some(&certificates.ca_file)),
            certificates,
            users: AtomicUsize::default(),
            namespaces: AtomicUsize::default(),
            servers: Mutex::default(),
            folder,
            _place: None,
        };
        let admin = cluster.admin();
        cluster.client = cluster.client.with_bearer(&admin.token);
        let mut tokens = format!("{},{},admin,\"system:masters\"\n", admin.token, admin.name);
        for user in (0..USERS).map(|number| cluster.user_named(&format!("user-{number}"))) {
            tokens.push_str(&format!("{},{},{}\n", user.token, user.name, user.name));
        }
        fs::write(cluster.folder.path().join("tokens.csv"), tokens).unwrap();
        Kubeconfig::new().context(&self.name, cluster.access()).write_to(&cluster.kubeconfig());
        cluster
    }
}

/// The authority and the server's certificate, made once in a process: keys take their time.
fn certificates(folder: &Path) -> Certificates {
    const FILES: [&str; 4] = ["ca.crt", "ca.key", "server.crt", "server.key"];
    static MADE: OnceLock<[Vec<u8>; 4]> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let folder = temporary();
        Certificates::make(folder.path());
        FILES.map(|name| fs::read(folder.path().join(name)).unwrap())
    });
    for (name, content) in FILES.iter().zip(made) {
        fs::write(folder.join(name), content).unwrap();
    }
    Certificates { ca_file: folder.join("ca.crt"), certificate: folder.join("server.crt"), key: folder.join("server.key") }
}

/// The place of one cluster among those that may run at once.
#[derive(Debug)]
struct Place(ThreadId);

static TAKEN: (Mutex<Vec<ThreadId>>, Condvar) = (Mutex::new(Vec::new()), Condvar::new());

impl Place {
    /// Waits until so many are free. A test that has one already could wait for ever, and is told so.
    fn take(count: usize) -> Vec<Self> {
        assert!(count <= PLACES, "{count} clusters at once are more than the {PLACES} for which there is memory");
        let this = std::thread::current().id();
        let mut taken = TAKEN.0.lock().unwrap();
        assert!(
            !taken.contains(&this),
            "a test with a cluster of its own starts another: take both by Cluster::several, or the shared one"
        );
        while taken.len() + count > PLACES {
            taken = TAKEN.1.wait(taken).unwrap();
        }
        taken.extend(std::iter::repeat_n(this, count));
        (0..count).map(|_| Self(this)).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = TAKEN.0.lock().unwrap();
        if let Some(index) = taken.iter().position(|thread| *thread == self.0) {
            taken.swap_remove(index);
        }
        drop(taken);
        TAKEN.1.notify_all();
    }
}
