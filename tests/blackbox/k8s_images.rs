//! `k8s-images`: manifests in, `use` records out.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::*;

const HEX: &str = "4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865";

pub(super) fn tool() -> Tool {
    Tool::new("k8s-images")
}

/// A workload of one container, as one line of YAML.
fn workload(kind: &str, name: &str, image: &str) -> String {
    let (version, spec) = (
        match kind {
            "Job" | "CronJob" => "batch/v1",
            "Pod" | "ReplicationController" | "PodTemplate" => "v1",
            "Rollout" => "argoproj.io/v1alpha1",
            _ => "apps/v1",
        },
        format!("{{containers: [{{name: app, image: \"{image}\"}}]}}"),
    );
    let body = match kind {
        "Pod" => format!("spec: {spec}"),
        "PodTemplate" => format!("template: {{spec: {spec}}}"),
        "CronJob" => format!("spec: {{jobTemplate: {{spec: {{template: {{spec: {spec}}}}}}}}}"),
        "ControllerRevision" => format!("data: {{spec: {{template: {{spec: {spec}}}}}}}"),
        _ => format!("spec: {{template: {{spec: {spec}}}}}"),
    };
    format!("{{apiVersion: {version}, kind: {kind}, metadata: {{name: {name}, namespace: shop}}, {body}}}\n")
}

/// Writes files below a new folder.
pub(super) fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = temporary();
    for (path, content) in files {
        write(folder.path(), path, content);
    }
    folder
}

pub(super) fn write(folder: &Path, path: &str, content: &str) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// The images of the `use` records, in order.
#[track_caller]
fn images(ran: &Ran) -> Vec<String> {
    ran.records_of("use").iter().map(|used| used["image"].as_str().unwrap().to_owned()).collect()
}

/// The one source in the header's scope.
#[track_caller]
pub(super) fn source(ran: &Ran) -> Value {
    let sources = ran.the("header")["scope"]["sources"].as_array().unwrap().clone();
    assert_eq!(sources.len(), 1, "{ran}");
    sources.into_iter().next().unwrap()
}

/// Expects a source that is not complete, for a reason that the header and standard error give.
#[track_caller]
pub(super) fn is_incomplete(ran: Ran, reason: &str) -> Ran {
    let ran = ran.status(1).stderr_has(reason);
    let source = source(&ran);
    assert_eq!(source["complete"], false, "{ran}");
    assert!(source["error"].as_str().unwrap().contains(reason), "{ran}");
    assert_eq!(ran.the("trailer")["complete"], false, "{ran}");
    ran
}

#[test]
fn a_folder_of_plain_manifests_is_an_inventory() {
    let folder = folder(&[
        ("overlays/prod/web.yaml", &workload("Deployment", "web", "registry.example.com:5000/team/app:1.2")),
        ("overlays/prod/service.yml", "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"),
        (
            "overlays/prod/job.json",
            r#"{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"once"},"spec":{"template":{"spec":{"containers":[{"name":"c","image":"busybox"}]}}}}"#,
        ),
        ("overlays/prod/.hidden.yaml", &workload("Deployment", "hidden", "hidden")),
        ("overlays/prod/notes.txt", "no manifest"),
    ]);
    let ran = tool().args(["-f", "overlays/prod", "--name", "prod"]).in_folder(folder.path()).run().succeeds();
    let records = ran.records();
    assert_eq!(records.len(), 4, "{ran}");
    assert_eq!((&records[0]["type"], &records[0]["tool"], &records[0]["schema"]), (&json!("header"), &json!("k8s-images"), &json!(1)));
    assert!(records[0]["time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(
        records[0]["scope"],
        json!({"sources": [{"kind": "files", "name": "prod", "server": null, "complete": true, "error": null}], "partial": false})
    );
    assert_eq!(
        records[1],
        json!({"type": "use", "image": "busybox", "registry": "docker.io", "repository": "library/busybox", "tag": "latest", "digest": null,
            "runningDigest": null, "configDigest": null, "source": "prod", "namespace": null, "kind": "Job", "name": "once",
            "container": "c", "field": "container", "pods": 0, "pod": null})
    );
    assert_eq!(
        records[2],
        json!({"type": "use", "image": "registry.example.com:5000/team/app:1.2", "registry": "registry.example.com:5000", "repository": "team/app",
            "tag": "1.2", "digest": null, "runningDigest": null, "configDigest": null, "source": "prod", "namespace": "shop",
            "kind": "Deployment", "name": "web", "container": "app", "field": "container", "pods": 0, "pod": null})
    );
    assert_eq!(
        records[3],
        json!({"type": "trailer", "complete": true, "records": 2, "images": 2, "repositories": 2, "incompleteSources": 0})
    );
    assert!(ran.stderr().contains("2 images of 2 repositories in 1 source, 0 not complete"), "{ran}");
}

#[test]
fn every_workload_kind_is_read() {
    let kinds = [
        "Pod",
        "ReplicationController",
        "PodTemplate",
        "Deployment",
        "ReplicaSet",
        "StatefulSet",
        "DaemonSet",
        "ControllerRevision",
        "Job",
        "CronJob",
        "Rollout",
    ];
    let text: String =
        kinds.iter().map(|kind| format!("---\n{}", workload(kind, "a", &format!("img/{}:1", kind.to_lowercase())))).collect();
    let ran = tool().args(["-f", "-"]).stdin(text).run().succeeds();
    let mut found: Vec<(String, String)> = ran
        .records_of("use")
        .iter()
        .map(|used| (used["kind"].as_str().unwrap().to_owned(), used["field"].as_str().unwrap().to_owned()))
        .collect();
    found.sort();
    let mut expected: Vec<(String, String)> = kinds
        .iter()
        .map(|kind| ((*kind).to_owned(), if *kind == "ControllerRevision" { "history" } else { "container" }.to_owned()))
        .collect();
    expected.sort();
    assert_eq!(found, expected, "{ran}");
}

#[test]
fn every_place_in_a_pod_is_read() {
    let text = "apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  initContainers: [{name: i, image: init}]
  containers: [{name: c, image: 1.20}]
  ephemeralContainers: [{name: e, image: debug}]
  volumes: [{name: v, image: {reference: models}}]
";
    let ran = tool().args(["-f", "-"]).stdin(text).run().succeeds();
    let fields: Vec<(Value, Value)> =
        ran.records_of("use").into_iter().map(|used| (used["field"].clone(), used["image"].clone())).collect();
    assert_eq!(
        fields,
        [
            (json!("container"), json!("1.20")),
            (json!("ephemeralContainer"), json!("debug")),
            (json!("initContainer"), json!("init")),
            (json!("imageVolume"), json!("models")),
        ],
        "{ran}"
    );
}

/// A cluster as `kubectl get … -o json` writes it: a Deployment with two ReplicaSets and two pods.
fn cluster() -> Value {
    let template = |image: &str| json!({"spec": {"containers": [{"name": "app", "image": image}]}});
    let owned = |name: &str, kind: &str, owner: &str| {
        json!({"name": name, "namespace": "shop",
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": kind, "name": owner, "controller": true}]})
    };
    let pod = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": owned(name, "ReplicaSet", "web-2"),
            "spec": {"containers": [{"name": "app", "image": "registry.example.com/app:2"}]},
            "status": {"containerStatuses": [{"name": "app", "image": "registry.example.com/app:2", "ready": true,
                "imageID": format!("docker-pullable://registry.example.com/app@sha256:{HEX}")}]}})
    };
    json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"replicas": 2, "template": template("registry.example.com/app:2")}},
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": owned("web-1", "Deployment", "web"),
            "spec": {"replicas": 0, "template": template("registry.example.com/app:1")}},
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": owned("web-2", "Deployment", "web"),
            "spec": {"replicas": 2, "template": template("registry.example.com/app:2")}},
        pod("web-2-b"), pod("web-2-a"),
    ]})
}

#[test]
fn what_runs_is_counted_at_its_topmost_owner() {
    let ran = tool().args(["-f", "-", "--name", "prod"]).stdin(cluster().to_string()).run().succeeds();
    let uses = ran.records_of("use");
    assert_eq!(uses.len(), 3, "{ran}");
    for used in &uses {
        assert_eq!((&used["namespace"], &used["kind"], &used["name"]), (&json!("shop"), &json!("Deployment"), &json!("web")));
    }
    let told: Vec<Value> =
        uses.iter().map(|used| json!([used["tag"], used["field"], used["runningDigest"], used["pods"], used["pod"]])).collect();
    assert_eq!(
        told,
        [
            json!(["1", "history", null, 0, null]),
            json!(["2", "container", null, 0, null]),
            json!(["2", "container", format!("sha256:{HEX}"), 2, "web-2-a"]),
        ]
    );
}

#[test]
fn the_same_input_gives_the_same_records_in_any_form() {
    let cluster = cluster();
    let mut items: Vec<Value> = cluster["items"].as_array().unwrap().clone();
    let run = |text: String| {
        let ran = tool().args(["-f", "-", "--name", "prod"]).stdin(text).run().succeeds();
        ran.stdout().lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let list = run(cluster.to_string());
    assert_eq!(run(cluster.to_string()), list);
    items.reverse();
    // JSON is YAML: the same objects as documents of a stream, and as JSON values one after the other.
    assert_eq!(run(items.iter().map(|item| format!("---\n{}\n", serde_json::to_string_pretty(item).unwrap())).collect()), list);
    assert_eq!(run(items.iter().map(|item| format!("{item}\n")).collect()), list);
    assert_eq!(run(format!("---\n# a comment makes YAML of it\nitems: {}\nkind: List\n", Value::from(items))), list);
}

#[test]
fn a_name_that_only_the_runtime_knows_is_in_use_too() {
    let text = format!(
        "kind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{{name: c, image: 'a:1'}}]}}\nstatus: {{containerStatuses: [{{name: c, image: 'mirror.example.com/a:1', imageID: 'sha256:{HEX}'}}]}}\n"
    );
    let ran = tool().args(["-f", "-"]).stdin(text).run().succeeds();
    let told: Vec<Value> =
        ran.records_of("use").iter().map(|used| json!([used["image"], used["runningDigest"], used["configDigest"]])).collect();
    assert_eq!(
        told,
        [json!(["a:1", null, format!("sha256:{HEX}")]), json!(["mirror.example.com/a:1", null, format!("sha256:{HEX}")])],
        "{ran}"
    );
}

#[test]
fn pods_that_have_ended_are_told_from_those_that_run() {
    let pod = |name: &str, phase: &str| {
        json!({"metadata": {"name": name, "namespace": "shop",
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "import", "controller": true}]},
            "spec": {"containers": [{"name": "app", "image": "r.io/import:7"}]}, "status": {"phase": phase}})
    };
    let counts = |phases: &[&str]| {
        let pods: Vec<Value> = phases.iter().enumerate().map(|(number, phase)| pod(&format!("import-{number}"), phase)).collect();
        let list = json!({"kind": "PodList", "apiVersion": "v1", "items": pods}).to_string();
        let ran = tool().args(["-f", "-", "--name", "prod"]).stdin(list).run().succeeds();
        let uses = ran.records_of("use");
        assert_eq!(uses.len(), 1, "{uses:?}");
        (uses[0]["pods"].clone(), uses[0].get("finishedPods").cloned())
    };
    assert_eq!(counts(&["Succeeded", "Failed", "Running", "Pending"]), (json!(4), Some(json!(2))));
    assert_eq!(counts(&["Running"]), (json!(1), None));
}

#[test]
fn a_parameter_in_the_place_of_an_image_is_said_and_leaves_the_source_complete() {
    let files = folder(&[(
        "flows.yaml",
        "apiVersion: argoproj.io/v1alpha1\nkind: WorkflowTemplate\nmetadata: {name: build, namespace: ci}\nspec:\n  templates:
  - {name: compile, container: {image: 'r.io/compiler:3'}}\n  - name: test\n    container:\n      image: '{{inputs.parameters.image}}'
---\napiVersion: tekton.dev/v1\nkind: Task\nmetadata: {name: sign}\nspec: {steps: [{name: sign, image: $(params.image)}, {name: push, image: 'r.io/push:1'}]}\n",
    )]);
    let ran = tool().arg("-f").arg(files.path()).args(["--name", "ci"]).run().succeeds();
    assert_eq!(images(&ran), ["r.io/push:1", "r.io/compiler:3"]);
    assert_eq!(source(&ran)["complete"], json!(true));
    let note = "what comes of it is known from pods alone (and 1 more in it)";
    ran.stderr_has("flows.yaml, line 9: WorkflowTemplate ci/build, image of test: ").stderr_has(note);
    // The same in a template that nobody fills in is an image that nobody sees.
    let rollout = workload("Rollout", "web", "{{inputs.parameters.image}}");
    is_incomplete(tool().args(["-f", "-"]).stdin(rollout).run(), "Rollout shop/web, container app");
}

#[test]
fn a_list_of_images_is_a_source_of_lines() {
    let text = "# compose\nnginx:1.27\n\nregistry.example.com/app@sha256:";
    let text = format!("{text}{HEX}\nnginx:1.27\n");
    let ran = tool().args(["--from", "lines", "-", "--name", "ci"]).stdin(text.clone()).run().succeeds();
    assert_eq!(source(&ran), json!({"kind": "lines", "name": "ci", "server": null, "complete": true, "error": null}));
    assert_eq!(
        ran.records_of("use")[0],
        json!({"type": "use", "image": "nginx:1.27", "registry": "docker.io", "repository": "library/nginx", "tag": "1.27", "digest": null,
            "runningDigest": null, "configDigest": null, "source": "ci", "namespace": null, "kind": null, "name": null,
            "container": null, "field": null, "pods": 0, "pod": null})
    );
    assert_eq!(ran.records_of("use")[1]["digest"], format!("sha256:{HEX}"));
    assert_eq!(ran.the("trailer")["records"], 2);
    let from_file = tool().args(["--from=lines", "images.txt"]).home_file("images.txt", &text).run().succeeds();
    assert_eq!(source(&from_file)["name"], "images.txt");
    assert_eq!(images(&from_file), images(&ran));
}

#[test]
fn a_line_that_is_no_reference_is_named_and_the_rest_is_written() {
    let ran = tool().args(["--from", "lines", "-"]).stdin("nginx\nno image\nredis\n").run();
    let ran = is_incomplete(ran, "standard input, line 2: \"no image\" is not");
    assert_eq!(images(&ran), ["nginx", "redis"]);
}

#[test]
fn broken_yaml_is_named_by_file_and_line_and_its_neighbours_are_read() {
    let broken = format!("{}---\nkind: Pod\n  spec: [\n---\n{}", workload("Deployment", "a", "a"), workload("Deployment", "b", "b"));
    let folder = folder(&[("m/broken.yaml", &broken), ("m/good.yaml", &workload("Deployment", "c", "c"))]);
    let ran = is_incomplete(tool().args(["-f", "m"]).in_folder(folder.path()).run(), "m/broken.yaml, line 4: is not YAML");
    assert_eq!(images(&ran), ["a", "b", "c"]);
    let ran = tool().args(["-f", "-"]).stdin("{\"kind\": \"Pod\",\n \"spec\": {\"containers\": [{\"image\": \"a\"").run();
    is_incomplete(ran, "standard input, line 2: is not JSON");
}

#[test]
fn an_image_that_is_no_reference_is_named_by_file_and_line() {
    let folder = folder(&[
        (
            "web.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec:\n  template:\n    spec:\n      containers:\n      - name: app\n        image: ${IMAGE}\n      - {name: side, image: side}\n",
        ),
        ("web.json", "{\"kind\": \"Pod\", \"spec\": {\"containers\": [\n{\"name\": \"app\",\n\"image\": \"no image\"}]}}"),
    ]);
    let ran = tool().args(["-f", "web.yaml"]).in_folder(folder.path()).run();
    let ran = is_incomplete(ran, "web.yaml, line 9: Deployment shop/web, container app: \"${IMAGE}\" is not");
    assert_eq!(images(&ran), ["side"]);
    is_incomplete(tool().args(["-f", "web.json"]).in_folder(folder.path()).run(), "web.json, line 3: Pod without a name, container app: ");
}

#[test]
fn templates_that_were_not_rendered_are_told_how() {
    for text in [
        "kind: Pod\nspec:\n  containers:\n  - name: a\n    image: {{ .Values.image }}\n",
        "{{- if .Values.enabled }}\nkind: Pod\n{{- end }}\n",
        "kind: Pod\nspec:\n  {{- include \"x\" . | nindent 2 }}\n",
    ] {
        is_incomplete(tool().args(["-f", "-"]).stdin(text).run(), "helm template");
    }
    is_incomplete(
        tool().args(["-f", "-"]).stdin("kind: Pod\nspec: {containers: [{name: a, image: \"{{ .Values.image }}\"}]}\n").run(),
        "standard input, line 2: Pod without a name, container a: \"{{ .Values.image }}\" is not",
    );
}

#[test]
fn an_empty_input_is_not_complete() {
    for (text, reason) in [
        ("", "standard input: is empty"),
        ("\n \n", "standard input: is empty"),
        ("# nothing\n---\n", "standard input: holds no Kubernetes object"),
        ("replicas: 3\n", "standard input: holds no Kubernetes object"),
        ("apiVersion: v1\nkind: Service\n", "names no image: no object in it holds a pod template"),
        ("apiVersion: v1\nkind: List\nitems: []\n", "names no image"),
        ("No resources found\n", "standard input, line 1: is a text, and no Kubernetes object"),
    ] {
        let ran = is_incomplete(tool().args(["-f", "-"]).stdin(text).run(), reason);
        assert_eq!(ran.the("trailer")["records"], 0);
    }
    is_incomplete(tool().args(["--from", "lines", "-"]).run(), "standard input: is empty");
    is_incomplete(tool().args(["--from", "lines", "-"]).stdin("# nothing\n").run(), "standard input: holds no image");
}

#[test]
fn input_that_was_cut_off_is_seen() {
    let list =
        "apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: a}\n  spec: {containers: [{name: a, image: a}]}\n";
    let ran = is_incomplete(tool().args(["-f", "-"]).stdin(list).run(), "line 1: holds items, and no kind after them: it was cut off");
    assert_eq!(images(&ran), ["a"]);
    let page = format!("{list}kind: PodList\nmetadata: {{continue: abc}}\n");
    is_incomplete(tool().args(["-f", "-"]).stdin(page).run(), "is one page of a longer list");
    let half = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 3\n";
    is_incomplete(tool().args(["-f", "-"]).stdin(half).run(), "line 2: Deployment web has no containers");
}

#[test]
fn a_folder_that_must_be_built_is_refused_with_the_way_out() {
    let patch = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {containers: [{name: app}]}}}\n";
    let folder = folder(&[
        ("kustomize/kustomization.yaml", "resources: [../base]\nimages: [{name: app, newTag: '2'}]\n"),
        ("kustomize/patch.yaml", patch),
        ("kustomize/extra.yaml", &workload("Job", "extra", "extra:1")),
        ("chart/Chart.yaml", "apiVersion: v2\nname: shop\n"),
        ("chart/values.yaml", "image: {repository: app}\n"),
        ("deep/apps/kustomization.yml", "resources: [a.yaml]\n"),
        ("deep/a.yaml", &workload("Job", "a", "a:1")),
        ("plain.yaml", "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [a.yaml]\n"),
    ]);
    let run = |path: &str| tool().args(["-R", "-f", path]).in_folder(folder.path()).run();
    let ran = is_incomplete(run("kustomize"), "kubectl kustomize");
    assert_eq!(images(&ran), ["extra:1"], "all else is still written");
    is_incomplete(run("chart"), "chart/Chart.yaml: a Helm chart");
    is_incomplete(run("deep"), "deep/apps/kustomization.yml: a kustomization");
    is_incomplete(run("kustomize/kustomization.yaml"), "kubectl kustomize");
    is_incomplete(run("plain.yaml"), "kubectl kustomize");
}

#[test]
fn folders_within_a_folder_are_read_when_asked() {
    let folder = folder(&[
        ("m/a.yaml", &workload("Job", "a", "a")),
        ("m/values.yaml", "replicas: 3\n"),
        ("m/deep/er/b.yaml", &workload("Job", "b", "b")),
        ("m/.git/c.yaml", &workload("Job", "c", "c")),
        ("m/empty/readme.md", ""),
        ("only/deep/b.yaml", &workload("Job", "b", "b")),
    ]);
    std::os::unix::fs::symlink(folder.path().join("m"), folder.path().join("m/deep/loop")).unwrap();
    let run = |arguments: &[&str]| tool().args(arguments).in_folder(folder.path()).run();
    let flat = run(&["-f", "m"]).succeeds().stderr_has("m/deep: holds manifests too, and is not read without --recursive");
    let flat = flat.stderr_has("m/values.yaml: holds no Kubernetes object").stderr_lacks("m/empty");
    assert_eq!(images(&flat), ["a"]);
    assert_eq!(images(&run(&["-R", "-f", "m"]).succeeds()), ["a", "b"]);
    is_incomplete(run(&["-f", "only"]), "only: holds no .yaml, .yml or .json file; those within it are read with --recursive");
    is_incomplete(run(&["-f", "m/empty"]), "m/empty: holds no .yaml");
    is_incomplete(run(&["-f", "m/values.yaml"]), "m/values.yaml: holds no Kubernetes object");
    assert_eq!(run(&["-q", "-f", "m"]).succeeds().stderr(), "");
}

#[test]
fn what_cannot_be_read_makes_the_source_incomplete_and_the_rest_is_written() {
    let folder = folder(&[("m/a.yaml", &workload("Job", "a", "a")), ("m/empty.yaml", "")]);
    fs::write(folder.path().join("m/latin.yaml"), b"# one\n# caf\xe9\n").unwrap();
    std::os::unix::fs::symlink("gone", folder.path().join("m/link.yaml")).unwrap();
    let ran = tool().args(["-f", "m"]).in_folder(folder.path()).run();
    let ran = is_incomplete(ran, "m/empty.yaml: is empty");
    let ran = ran.stderr_has("m/latin.yaml, line 2: is not UTF-8").stderr_has("m/link.yaml: cannot be read: ");
    assert!(source(&ran)["error"].as_str().unwrap().ends_with("(and 2 more)"), "{ran}");
    assert_eq!(images(&ran), ["a"]);
    is_incomplete(tool().args(["-f", "nowhere"]).run(), "nowhere: cannot be read: ");
}

#[test]
fn a_pod_template_beside_items_is_read() {
    let text = "apiVersion: x.io/v1\nkind: Fleet\nmetadata: {name: f}\nitems: [{a: b}]\nspec: {template: {spec: {containers: [{name: a, image: 'a:1'}]}}}\n";
    let text = format!("{text}---\n{}", workload("Pod", "b", "b:1"));
    assert_eq!(images(&tool().args(["-f", "-"]).stdin(text).run().succeeds()), ["a:1", "b:1"]);
}

#[test]
fn a_file_that_was_cut_off_is_not_passed_over_in_a_folder() {
    for (cut, reason) in [
        ("apiVersion: v1\nitems:\n", "m/cut.yaml, line 1: holds items, and no kind"),
        ("apiVersion: apps/v1\n", "m/cut.yaml, line 1: holds an apiVersion, and no kind"),
        ("apiVersion: v1\nkind: PodList\nitems:\n", "m/cut.yaml, line 2: PodList without a name: its items are missing"),
    ] {
        let folder = folder(&[("m/a.yaml", &workload("Job", "a", "a")), ("m/cut.yaml", cut)]);
        let ran = is_incomplete(tool().args(["-f", "m"]).in_folder(folder.path()).run(), reason);
        assert_eq!(images(&ran), ["a"]);
    }
}

#[test]
fn what_stands_where_containers_belong_is_told_with_its_line() {
    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w}\nspec:\n  template:\n    spec:\n      containers:\n      - hidden\n      - {name: i, image: i}\n";
    let ran = is_incomplete(tool().args(["-f", "-"]).stdin(text).run(), "line 9: Deployment w: one of its containers is no mapping");
    assert_eq!(images(&ran), ["i"]);
}

#[test]
fn nesting_that_no_manifest_has_is_a_sentence() {
    for key in ["image", "name", "kind", "reference", "uid"] {
        let deep = format!("{}1{}", format!("{{\"{key}\":").repeat(20_000), "}".repeat(20_000));
        is_incomplete(tool().args(["-f", "-"]).stdin(deep).run(), "standard input, line 1: ");
    }
}

#[test]
fn twenty_thousand_faults_are_told_in_time_and_in_short() {
    let list = |image: &str| {
        let filler = "x".repeat(200);
        let item = |number: usize| {
            format!(
                "- apiVersion: v1\n  kind: Pod\n  metadata: {{name: p{number}}}\n  spec: {{containers: [{{name: a, image: '{image}'}}]}}\n  # {filler}\n"
            )
        };
        format!("apiVersion: v1\nkind: List\nitems:\n{}", (0..20_000).map(item).collect::<String>())
    };
    // Counting the lines from the top for each of them took longer than the harness waits for any program.
    let ran = tool().args(["-f", "-"]).stdin(list("${X}")).run().status(1).stderr_has("and 19980 more");
    assert!(ran.stderr().len() < 10_000, "{ran}");
}

#[test]
fn many_problems_are_counted_and_not_all_said() {
    let text: String = (0..50).map(|_| "---\nkind: Pod\nspec: {containers: [{image: '?'}]}\n").collect();
    let ran = tool().args(["-f", "-", "--name", "x"]).stdin(text).run().status(1).stderr_has("and 30 more in the source x");
    assert_eq!(ran.stderr().matches("is not an image reference").count(), 20, "{ran}");
}

#[test]
fn operands_are_sources_of_their_own_unless_they_are_named() {
    let folder = folder(&[("a.yaml", &workload("Job", "a", "a")), ("b.yaml", &workload("Job", "b", "b")), ("c.yaml", "x: [")]);
    let run =
        |arguments: &[&str]| tool().args(["-f", "a.yaml", "-f", "b.yaml", "-f", "c.yaml"]).args(arguments).in_folder(folder.path()).run();
    let apart = run(&[]).status(1);
    let states: Vec<Value> = apart.the("header")["scope"]["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|source| json!([source["name"], source["complete"]]))
        .collect();
    assert_eq!(states, [json!(["a.yaml", true]), json!(["b.yaml", true]), json!(["c.yaml", false])]);
    assert_eq!(apart.records_of("use")[1]["source"], "b.yaml");
    let together = is_incomplete(run(&["--name", "prod"]), "c.yaml, line 1: is not YAML");
    assert_eq!(together.records_of("use").len(), 2);
}

#[test]
fn an_owner_may_stand_in_another_file() {
    let items = cluster()["items"].as_array().unwrap().clone();
    let (sets, pods) = items.split_at(3);
    let folder = folder(&[("pods.json", &lines(pods)), ("sets.json", &lines(sets))]);
    let ran = tool().args(["-f", "pods.json", "-f", "sets.json", "--name", "prod"]).in_folder(folder.path()).run().succeeds();
    assert!(ran.records_of("use").iter().all(|used| used["kind"] == "Deployment"), "{ran}");
}

#[test]
fn bad_usage_is_a_sentence() {
    for (arguments, sentence) in [
        (&[][..], "k8s-images: needs what to read: manifests with -f FILE"),
        (&["--from", "lines"], "k8s-images: --from lines needs the file to read, or - for standard input"),
        (&["a.yaml"], "k8s-images: what is a.yaml?"),
        (&["-f", "a.yaml", "b.yaml"], "k8s-images: what is b.yaml?"),
        (&["-f", "-", "-f", "-"], "k8s-images: standard input (-) is named twice"),
        (&["-f", "a", "--from", "lines", "b"], "k8s-images: the argument"),
        (&["--from", "cluster", "b"], "k8s-images: invalid value 'cluster'"),
        (&["-f", "a", "--name", ""], "k8s-images: a value is required for '--name"),
    ] {
        let ran = tool().args(arguments).run().status(2).stdout_is_empty().stderr_has(sentence);
        assert!(ran.stderr().starts_with("k8s-images: "), "{ran}");
    }
}

#[test]
fn a_terminal_is_no_manifest() {
    for (arguments, sentence) in [
        (&["-f", "-"][..], "reads manifests from standard input, which is a terminal; for example: kubectl kustomize"),
        (&["--from", "lines", "-"], "reads images, one a line, from standard input, which is a terminal; for example: docker compose"),
    ] {
        tool().args(arguments).in_terminal().run().status(2).stdout_has(sentence);
    }
}

#[test]
fn a_terminal_gets_a_table() {
    let pod = workload("Pod", "a", "nginx:1");
    let ran = tool().args(["-f", "a.yaml", "--name", "prod"]).home_file("a.yaml", &pod).in_terminal().run().succeeds();
    let ran = ran.stdout_has("IMAGE").stdout_has("USED BY").stdout_has("prod/shop/Pod/a");
    assert!(!ran.stdout().contains("\"type\""), "{ran}");
    let records = tool().args(["-f", "a.yaml", "--format", "jsonl"]).home_file("a.yaml", &pod).in_terminal().run().succeeds();
    records.stdout_has("{\"type\":\"use\"");
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let many: String = (0..5_000).map(|number| format!("app:{number}\n")).collect();
    let ran = shell("set -o pipefail; k8s-images --from lines - --quiet | head -1").stdin(many).run().succeeds();
    assert_eq!(ran.records().len(), 1, "{ran}");
    assert_eq!(ran.stderr(), "");
}

#[test]
fn a_full_disk_is_an_error() {
    shell("k8s-images -f a.yaml > /dev/full")
        .home_file("a.yaml", workload("Pod", "a", "a"))
        .run()
        .status(2)
        .stderr_has("k8s-images: writing to standard output: ");
}

#[test]
fn help_version_and_what_is_generated_from_the_same_definition() {
    let help = tool().arg("--help").run().succeeds();
    let text = help.stdout();
    let (examples, usage) = (text.find("k8s-images -f overlays/prod --name prod"), text.find("Usage:"));
    assert!(examples.is_some() && examples < usage, "{help}");
    for flag in ["--filename", "--recursive", "--from", "--name", "--format", "--quiet"] {
        assert!(text.contains(flag), "{flag}\n{help}");
    }
    let version = tool().arg("--version").run().succeeds();
    assert!(version.stdout().starts_with("k8s-images 0."), "{version}");
    for (what, part) in [("man", ".TH"), ("bash", "complete"), ("zsh", "#compdef k8s-images"), ("fish", "complete -c k8s-images")] {
        tool().args(["--generate", what]).run().succeeds().stdout_has(part).stdout_has("recursive");
    }
}
