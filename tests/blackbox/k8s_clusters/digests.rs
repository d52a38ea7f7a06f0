//! What really runs: the digests that container runtimes say in a pod's status, in all their forms, and the other names they have.

use serde_json::{Value, json};
use tests::workloads::running;
use tests::*;

use super::{are_used, pods_of, read};

const HEX: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
const OTHER: &str = "0263829989b6fd954f72baaf2fc64bc2e2f01d692d4de72986ea808f6e99813f";
const APP: &str = "registry.example.com/team/app";

/// The uses of a pod whose container was asked for by `image`, and of which the runtime says this.
fn uses_of(image: &str, status_image: &str, image_id: &str) -> (Ran, String) {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    cluster.run_pod(&namespace, "web", json!({"containers": [{"name": "app", "image": image}]}));
    cluster.runs(&namespace, "web", &[("app", status_image, image_id)]);
    (read(&namespace), namespace)
}

/// A use of the one pod of such a test.
fn used(image: &str, repository: &str, more: Value) -> Value {
    let mut record = json!({"image": image, "repository": repository, "tag": null, "kind": "Pod", "name": "web", "container": "app",
        "pods": 1, "pod": "web"});
    for (key, value) in more.as_object().unwrap() {
        record[key] = value.clone();
    }
    record
}

#[test]
fn every_form_of_an_image_id_is_understood() {
    let tagged = format!("{APP}:1");
    for (image_id, runs) in [
        // containerd and CRI-O; Docker; CRI-O where it has a tag too.
        (format!("{APP}@sha256:{HEX}"), json!({"runningDigest": format!("sha256:{HEX}")})),
        (format!("docker-pullable://{APP}@sha256:{HEX}"), json!({"runningDigest": format!("sha256:{HEX}")})),
        // Docker, for what was built on the node; containerd, for what lost its name; CRI-O, by the bare ID.
        (format!("docker://sha256:{HEX}"), json!({"configDigest": format!("sha256:{HEX}")})),
        (format!("sha256:{HEX}"), json!({"configDigest": format!("sha256:{HEX}")})),
        (HEX.to_owned(), json!({"configDigest": format!("sha256:{HEX}")})),
        // Not pulled yet.
        (String::new(), json!({})),
    ] {
        let (ran, namespace) = uses_of(&tagged, &tagged, &image_id);
        let mut expected = used(&tagged, "team/app", json!({"tag": "1"}));
        for (key, value) in runs.as_object().unwrap() {
            expected[key] = value.clone();
        }
        are_used(&ran, &namespace, &[expected]);
    }
}

#[test]
fn a_pinned_image_runs_by_its_digest() {
    let pinned = format!("{APP}@sha256:{HEX}");
    let (ran, namespace) = uses_of(&pinned, &pinned, &pinned);
    let digest = format!("sha256:{HEX}");
    are_used(&ran, &namespace, &[used(&pinned, "team/app", json!({"digest": digest, "runningDigest": digest}))]);
}

/// Two tags of one digest: the node says the one that it pulled first.
#[test]
fn another_tag_in_the_status_is_in_use_too() {
    let (asked, said, digest) = (format!("{APP}:stable"), format!("{APP}:1.4"), format!("sha256:{HEX}"));
    let (ran, namespace) = uses_of(&asked, &said, &format!("{APP}@{digest}"));
    are_used(
        &ran,
        &namespace,
        &[
            used(&asked, "team/app", json!({"tag": "stable", "runningDigest": digest})),
            used(&said, "team/app", json!({"tag": "1.4", "runningDigest": digest})),
        ],
    );
}

#[test]
fn a_mirror_in_the_status_is_in_use_too() {
    let (asked, digest) = (format!("{APP}:1"), format!("sha256:{HEX}"));
    let mirrored = format!("mirror.example.com/hub/app@{digest}");
    let (ran, namespace) = uses_of(&asked, &asked, &mirrored);
    are_used(
        &ran,
        &namespace,
        &[
            used(&asked, "team/app", json!({"tag": "1", "runningDigest": digest})),
            used(&mirrored, "hub/app", json!({"registry": "mirror.example.com", "tag": null, "digest": digest, "runningDigest": digest})),
        ],
    );
}

/// The tag was moved between the starts of two pods: both digests run.
#[test]
fn replicas_are_one_line_for_each_digest_that_runs() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    let image = format!("{APP}:1");
    cluster.kubectl(&["-n", &namespace, "create", "deployment", "web", &format!("--image={image}"), "--replicas=5"]);
    let pods = pods_of(cluster, &namespace, "app=web", 5);
    for (number, pod) in pods.iter().enumerate() {
        let digest = if number < 3 { HEX } else { OTHER };
        cluster.runs(&namespace, pod, &[("app", &image, &format!("{APP}@sha256:{digest}"))]);
    }
    let used = |digest: &str, pods: usize, pod: &str| {
        json!({"image": image, "repository": "team/app", "tag": "1", "kind": "Deployment", "name": "web", "container": "app",
            "runningDigest": format!("sha256:{digest}"), "pods": pods, "pod": pod})
    };
    are_used(
        &read(&namespace),
        &namespace,
        &[
            used(HEX, 3, &pods[0]),
            used(OTHER, 2, &pods[3]),
            json!({"image": image, "repository": "team/app", "tag": "1", "kind": "Deployment", "name": "web", "container": "app"}),
        ],
    );
}

#[test]
fn every_list_of_states_is_read() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    let image = |name: &str| format!("registry.example.com/team/{name}:1");
    cluster.run_pod(
        &namespace,
        "web",
        json!({
            "initContainers": [{"name": "first", "image": image("first")}],
            "containers": [{"name": "app", "image": image("app")}],
        }),
    );
    cluster.ephemeral(&namespace, "web", "debugger", &image("debugger"));
    let state = |name: &str| running(&(name, &image(name), &format!("registry.example.com/team/{name}@sha256:{HEX}")));
    cluster.patch_status(
        &namespace,
        "web",
        json!({
            "phase": "Running", "initContainerStatuses": [state("first")], "containerStatuses": [state("app")],
            "ephemeralContainerStatuses": [state("debugger")],
        }),
    );
    let expected = |name: &str, field: &str| {
        let repository = format!("team/{name}");
        used(&image(name), &repository, json!({"tag": "1", "container": name, "field": field, "runningDigest": format!("sha256:{HEX}")}))
    };
    are_used(
        &read(&namespace),
        &namespace,
        &[expected("first", "initContainer"), expected("app", "container"), expected("debugger", "ephemeralContainer")],
    );
}
