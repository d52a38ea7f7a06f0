//! A control plane, filled as a large cluster is, for as long as standard input stays open.
//!
//! ```sh
//! filled-cluster PODS
//! ```
//!
//! Makes `PODS` pods, and a fifth as many Deployments with one ReplicaSet each, which own them; there are no controllers that
//! would change anything. Says on three lines where it is: the kubeconfig, the server's URL, the file of its authority; on a
//! fourth the token of its administrator.

use std::error::Error;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tests::{Client, Cluster};

/// How many are asked to be made at once.
const CONNECTIONS: usize = 8;
const PODS_OF_EACH: usize = 5;
const NAMESPACES: usize = 40;

fn main() -> Result<(), Box<dyn Error>> {
    let pods: usize = std::env::args().nth(1).ok_or("expected PODS")?.parse()?;
    let cluster = Cluster::with().no_controllers().start();
    let client = cluster.client();
    for number in 0..NAMESPACES {
        create(client, "/api/v1/namespaces", &json!({"metadata": {"name": namespace(number)}}));
    }
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= pods.div_ceil(PODS_OF_EACH) {
                        return;
                    }
                    fill(client, number, PODS_OF_EACH.min(pods - number * PODS_OF_EACH));
                }
            });
        }
    });
    let mut output = io::stdout().lock();
    writeln!(output, "{}\n{}\n{}\n{}", cluster.kubeconfig().display(), cluster.url(), cluster.ca_file().display(), cluster.token())?;
    io::stdin().lock().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Makes one Deployment, its ReplicaSet, and that one's pods.
fn fill(client: &Client, number: usize, pods: usize) {
    let name = format!("service-{number}");
    let labels = json!({"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": format!("shop-{}", number % NAMESPACES)});
    let mut pod_labels = labels.clone();
    pod_labels["pod-template-hash"] = json!(format!("{:08x}", number * 7919));
    let namespace = namespace(number % NAMESPACES);
    let template = json!({"metadata": {"labels": pod_labels}, "spec": pod_spec(number)});
    let metadata = |name: &str, owner: Value| json!({"name": name, "namespace": namespace, "labels": labels, "ownerReferences": owner});
    let apps = format!("/apis/apps/v1/namespaces/{namespace}");
    let deployment = create(
        client,
        &format!("{apps}/deployments"),
        &json!({"metadata": metadata(&name, json!([])), "spec": {"replicas": pods, "selector": {"matchLabels": labels}, "template": template}}),
    );
    let set_name = format!("{name}-{:08x}", number * 7919);
    let set = create(
        client,
        &format!("{apps}/replicasets"),
        &json!({
            "metadata": metadata(&set_name, owner("Deployment", &deployment)),
            "spec": {"replicas": pods, "selector": {"matchLabels": pod_labels}, "template": template},
        }),
    );
    for pod in 0..pods {
        let pod_name = format!("{set_name}-{:05x}", number * PODS_OF_EACH + pod);
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        let owner = owner("ReplicaSet", &set);
        create(
            client,
            &path,
            &json!({"metadata": {"name": pod_name, "labels": pod_labels, "ownerReferences": owner}, "spec": pod_spec(number)}),
        );
        client
            .send(
                "PATCH",
                &format!("{path}/{pod_name}/status"),
                &[("Content-Type", "application/merge-patch+json")],
                json!({"status": pod_status(number)}).to_string().as_bytes(),
            )
            .expect(200, "telling what a pod runs");
    }
}

fn namespace(number: usize) -> String {
    format!("team-{number}")
}

fn owner(kind: &str, of: &Value) -> Value {
    json!([{
        "apiVersion": "apps/v1", "kind": kind, "name": of["metadata"]["name"], "uid": of["metadata"]["uid"],
        "controller": true, "blockOwnerDeletion": true,
    }])
}

/// Containers and images as services have them: their own, and a proxy that all share.
fn images(number: usize) -> [(&'static str, String); 2] {
    let own = format!("registry.example.com/team-{}/service-{}:1.{}", number % NAMESPACES, number % 400, number % 7);
    [("app", own), ("proxy", "registry.example.com/platform/proxy:2.11".to_owned())]
}

fn pod_spec(number: usize) -> Value {
    let containers: Vec<Value> = images(number)
        .into_iter()
        .map(|(name, image)| {
            json!({
                "name": name, "image": image,
                "env": [{"name": "LOG_LEVEL", "value": "info"}, {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                "ports": [{"name": format!("http-{name}"), "containerPort": 8080}],
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 5},
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
                "volumeMounts": [{"name": "config", "mountPath": "/etc/service"}],
            })
        })
        .collect();
    json!({"containers": containers, "volumes": [{"name": "config", "configMap": {"name": "service"}}], "nodeName": format!("node-{}", number % 100)})
}

fn pod_status(number: usize) -> Value {
    let statuses: Vec<Value> = images(number)
        .into_iter()
        .enumerate()
        .map(|(place, (name, image))| {
            let repository = image.rsplit_once(':').map_or(image.as_str(), |(repository, _)| repository);
            let digest = if place == 0 { number % 400 + 1 } else { 0 };
            json!({
                "name": name, "image": image, "imageID": format!("{repository}@sha256:{digest:064x}"),
                "containerID": format!("containerd://{:064x}", number), "ready": true, "started": true, "restartCount": 0,
                "state": {"running": {"startedAt": "2026-11-01T08:00:00Z"}},
            })
        })
        .collect();
    let conditions: Vec<Value> = ["Initialized", "Ready", "ContainersReady", "PodScheduled"]
        .iter()
        .map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": "2026-11-01T08:00:00Z"}))
        .collect();
    json!({
        "phase": "Running", "containerStatuses": statuses, "conditions": conditions, "qosClass": "Burstable",
        "hostIP": "10.0.0.1", "podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}], "startTime": "2026-11-01T08:00:00Z",
    })
}

fn create(client: &Client, path: &str, object: &Value) -> Value {
    client
        .send("POST", path, &[("Content-Type", "application/json")], object.to_string().as_bytes())
        .expect(201, &format!("making {path}"))
        .json()
}
