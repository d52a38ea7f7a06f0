//! What a test does in a cluster: through kubectl as people do it, and straight through the API where a program would
//! only take time.
//!
//! ```no_run
//! # use tests::*; use serde_json::json;
//! let cluster = Cluster::shared();
//! let namespace = cluster.namespace();
//! cluster.run_pod(&namespace, "web", json!({"containers": [{"name": "app", "image": "registry.example.com/team/web:1"}]}));
//! cluster.runs(&namespace, "web", &[("app", "registry.example.com/team/web:1", "registry.example.com/team/web@sha256:…")]);
//! ```
//!
//! Nothing here waits a fixed time: [`Cluster::wait`] asks until the cluster is as it should be.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{Cluster, User};
use crate::process::{built_program, clean};

/// Controllers need milliseconds; a busy machine takes longer.
const LONGEST: Duration = Duration::from_secs(60);

impl Cluster {
    /// Runs kubectl with all rights and gives its standard output.
    #[track_caller]
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl(arguments).unwrap_or_else(|error| panic!("kubectl {}: {error}", arguments.join(" ")))
    }

    /// The same where it may fail: then with what it says on standard error.
    pub fn try_kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        run(self.program("kubectl").args(arguments), "")
    }

    /// Applies manifests, in which a namespace must be named, or none is needed. Whoever set a field before, a test may set it anew.
    #[track_caller]
    pub fn apply(&self, yaml: &str) {
        let mut kubectl = self.program("kubectl");
        kubectl.args(["apply", "--server-side", "--force-conflicts", "-f", "-"]);
        run(&mut kubectl, yaml).unwrap_or_else(|error| panic!("kubectl apply: {error}\n{yaml}"));
    }

    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = clean(&built_program(name), self.folder());
        command.env("KUBECONFIG", self.kubeconfig());
        command
    }

    /// A new namespace, that of one test.
    pub fn namespace(&self) -> String {
        let name = self.next_namespace();
        self.create("/api/v1/namespaces", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
        name
    }

    /// A token of a new ServiceAccount.
    pub fn service_account(&self, namespace: &str, name: &str) -> String {
        self.kubectl(&["-n", namespace, "create", "serviceaccount", name]);
        self.kubectl(&["-n", namespace, "create", "token", name]).trim().to_owned()
    }

    /// Reads an object or a list.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        self.ask("GET", path, "application/json", &Value::Null)
    }

    /// Creates an object in this collection, such as `/api/v1/namespaces/shop/pods`.
    #[track_caller]
    pub fn create(&self, collection: &str, object: Value) -> Value {
        self.ask("POST", collection, "application/json", &object)
    }

    /// Changes an object, or one of its subresources, by a merge patch (RFC 7386): lists are replaced.
    #[track_caller]
    pub fn merge(&self, path: &str, patch: Value) -> Value {
        self.ask("PATCH", path, "application/merge-patch+json", &patch)
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, content_type: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [("Accept", "application/json"), ("Content-Type", content_type)];
        let answer = self.client().send(method, path, &headers, body.as_bytes());
        assert!((200..300).contains(&answer.status), "{method} {path} is answered with {}: {}\n{body}", answer.status, answer.text());
        answer.json()
    }

    /// Reads an object or a list until something is true of it, and gives what that function found.
    #[track_caller]
    pub fn wait<T>(&self, path: &str, found: impl Fn(&Value) -> Option<T>) -> T {
        let deadline = Instant::now() + LONGEST;
        loop {
            let value = self.get(path);
            if let Some(result) = found(&value) {
                return result;
            }
            assert!(Instant::now() < deadline, "what a test waits for did not come within {} s, {path} is\n{value:#}", LONGEST.as_secs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the API server has heard that a user may read this: its authorizer learns of roles by a watch.
    #[track_caller]
    pub fn wait_for_right(&self, user: &User, path: &str) {
        let deadline = Instant::now() + LONGEST;
        let bearer = format!("Bearer {}", user.token);
        while self.client().send("GET", path, &[("Authorization", &bearer)], b"").status != 200 {
            assert!(Instant::now() < deadline, "{} does not get the right to read {path} within {} s", user.name, LONGEST.as_secs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a collection has so many items, and gives them.
    #[track_caller]
    pub fn wait_for_items(&self, collection: &str, count: usize) -> Vec<Value> {
        self.wait(collection, |list| list["items"].as_array().filter(|items| items.len() == count).cloned())
    }

    /// Creates a pod with this spec. It stays Pending: there is nobody to run it.
    pub fn run_pod(&self, namespace: &str, name: &str, spec: Value) -> Value {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec});
        self.create(&format!("/api/v1/namespaces/{namespace}/pods"), pod)
    }

    /// Creates many pods at once: what each is called, and its spec; `metadata` is what all of them bear besides.
    pub fn run_pods(&self, namespace: &str, metadata: &Value, count: usize, pod: impl Fn(usize) -> (String, Value) + Sync) {
        let (next, pods) = (AtomicUsize::new(0), format!("/api/v1/namespaces/{namespace}/pods"));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            return;
                        }
                        let (name, spec) = pod(number);
                        let mut metadata = metadata.clone();
                        metadata["name"] = json!(name);
                        self.create(&pods, json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}));
                    }
                });
            }
        });
    }

    /// Says of a pod what a kubelet would say of it.
    pub fn patch_status(&self, namespace: &str, pod: &str, status: Value) {
        self.merge(&format!("/api/v1/namespaces/{namespace}/pods/{pod}/status"), json!({"status": status}));
    }

    /// Says that these containers run: name, image and imageID of each.
    pub fn runs(&self, namespace: &str, pod: &str, containers: &[(&str, &str, &str)]) {
        let statuses: Vec<Value> = containers.iter().map(running).collect();
        self.patch_status(namespace, pod, json!({"phase": "Running", "containerStatuses": statuses}));
    }

    /// Adds an ephemeral container, as `kubectl debug` does.
    pub fn ephemeral(&self, namespace: &str, pod: &str, container: &str, image: &str) {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/ephemeralcontainers");
        self.merge(&path, json!({"spec": {"ephemeralContainers": [{"name": container, "image": image}]}}));
    }
}

/// The status of a container that runs, from its name, image and imageID.
pub fn running((name, image, image_id): &(&str, &str, &str)) -> Value {
    json!({
        "name": name, "image": image, "imageID": image_id, "ready": true, "started": true, "restartCount": 0,
        "state": {"running": {"startedAt": "2026-11-20T08:00:00Z"}},
    })
}

pub(crate) fn run(command: &mut Command, input: &str) -> Result<String, String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut pipe = child.stdin.take().expect("standard input is a pipe");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        // Who does not read its input says why by itself.
        let _ = pipe.write_all(input.as_bytes());
    });
    let output = child.wait_with_output().expect("a child can be waited for");
    let _ = writer.join();
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)))
    }
}
