//! Custom resources: what an operator would start is found by discovery and schema, whatever it is called.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::*;

use super::{are_used, define, rollouts, tool};

/// A custom object; what else it holds is YAML in one line.
fn object(group: &str, kind: &str, namespace: &str, name: &str, rest: &str) -> String {
    format!("---\napiVersion: {group}/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\n{rest}\n")
}

fn lists(proxy: &Proxy, plural: &str) -> usize {
    proxy.count(|request| request.path().ends_with(&format!("/{plural}")))
}

#[test]
fn whatever_may_name_an_image_is_read_and_nothing_else() {
    let cluster = Cluster::with().no_controllers().start();
    let namespace = cluster.namespace();
    let image = |name: &str| format!("\"registry.example.com/team/{name}:1\"");
    let steps = "spec: {type: object, properties: {steps: {type: array, items: {type: object, properties: {name: {type: string}, image: {type: string}}}}}}";
    rollouts(&cluster);
    define(&cluster, "tekton.example.com", "Task", "Namespaced", steps);
    define(&cluster, "cluster.example.com", "Agent", "Cluster", "spec: {type: object, properties: {image: {type: string}}}");
    define(&cluster, "open.example.com", "Anything", "Namespaced", "spec: {type: object, x-kubernetes-preserve-unknown-fields: true}");
    define(&cluster, "notes.example.com", "Note", "Namespaced", "spec: {type: object, properties: {text: {type: string}}}");
    cluster.apply(
        &[
            object(
                "argoproj.io",
                "Rollout",
                &namespace,
                "web",
                &format!("spec: {{replicas: 1, template: {{spec: {{containers: [{{name: app, image: {}}}], initContainers: [{{name: first, image: {}}}]}}}}}}", image("web"), image("first")),
            ),
            object("tekton.example.com", "Task", &namespace, "build", &format!("spec: {{steps: [{{name: compile, image: {}}}]}}", image("compiler"))),
            object("open.example.com", "Anything", &namespace, "pool", &format!("spec: {{pools: [{{containers: [{{name: worker, image: {}}}]}}]}}", image("worker"))),
            object("notes.example.com", "Note", &namespace, "note", "spec: {text: \"registry.example.com/team/no-image:1\"}"),
            format!("---\napiVersion: cluster.example.com/v1alpha1\nkind: Agent\nmetadata: {{name: agent}}\nspec: {{image: {}}}\n", image("agent")),
        ]
        .concat(),
    );
    let proxy = Proxy::before_cluster(&cluster);
    let kubeconfig = Kubeconfig::new().context("prod", cluster.access().server(&proxy.url()));
    let run = |arguments: &[&str]| Tool::new("k8s-images").env("KUBECONFIG", kubeconfig.path()).args(arguments).run().succeeds();
    let used = |kind: &str, name: &str, image: &str, container: Value, field: &str| {
        json!({"image": format!("registry.example.com/team/{image}:1"), "repository": format!("team/{image}"), "tag": "1",
            "kind": kind, "name": name, "container": container, "field": field})
    };
    let mut agent = used("Agent", "agent", "agent", json!(null), "container");
    agent["namespace"] = json!(null);
    let ran = run(&[]);
    are_used(
        &ran,
        &namespace,
        &[
            used("Rollout", "web", "web", json!("app"), "container"),
            used("Rollout", "web", "first", json!("first"), "initContainer"),
            used("Task", "build", "compiler", json!("compile"), "container"),
            used("Anything", "pool", "worker", json!("worker"), "container"),
            agent,
        ],
    );
    assert_eq!((lists(&proxy, "rollouts"), lists(&proxy, "notes")), (1, 0), "what can name no image is not asked for");
    assert!(ran.the("trailer")["resourceVersions"]["prod"]["rollouts.argoproj.io"].is_string(), "{ran}");

    proxy.forget();
    assert_eq!(run(&["--no-custom-resources"]).records_of("use").len(), 0);
    assert_eq!((lists(&proxy, "rollouts"), lists(&proxy, "customresourcedefinitions")), (0, 0));

    // What stands in no namespace is in none of those that are asked for.
    assert_eq!(run(&["--namespace", &namespace]).records_of("use").len(), 4);
}

/// Argo's controller makes ReplicaSets that its Rollout owns, and pods of these.
#[test]
fn pods_count_at_the_custom_resource_that_owns_them() {
    let cluster = Cluster::with().no_controllers().start();
    let namespace = cluster.namespace();
    rollouts(&cluster);
    let template = "{spec: {containers: [{name: app, image: \"registry.example.com/team/web:2\"}]}}";
    cluster.apply(&object("argoproj.io", "Rollout", &namespace, "web", &format!("spec: {{replicas: 1, template: {template}}}")));
    let uid = |path: &str| cluster.get(path)["metadata"]["uid"].clone();
    let owned_by = |version: &str, kind: &str, name: &str, uid: Value| json!([{"apiVersion": version, "kind": kind, "name": name, "uid": uid, "controller": true}]);
    let rollout = uid(&format!("/apis/argoproj.io/v1alpha1/namespaces/{namespace}/rollouts/web"));
    for (revision, replicas) in [(1, 0), (2, 1)] {
        let labels = json!({"revision": revision.to_string()});
        let spec = json!({"containers": [{"name": "app", "image": format!("registry.example.com/team/web:{revision}")}]});
        let owner = owned_by("argoproj.io/v1alpha1", "Rollout", "web", rollout.clone());
        let set = cluster.create(
            &format!("/apis/apps/v1/namespaces/{namespace}/replicasets"),
            json!({
                "metadata": {"name": format!("web-{revision}"), "ownerReferences": owner},
                "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
            }),
        );
        if replicas == 1 {
            let owner = owned_by("apps/v1", "ReplicaSet", "web-2", set["metadata"]["uid"].clone());
            cluster.create(
                &format!("/api/v1/namespaces/{namespace}/pods"),
                json!({"metadata": {"name": "web-2-x2k4q", "labels": labels, "ownerReferences": owner}, "spec": spec}),
            );
        }
    }
    are_used(
        &tool(&cluster).run().succeeds(),
        &namespace,
        &[
            json!({"image": "registry.example.com/team/web:2", "repository": "team/web", "tag": "2",
                "kind": "Rollout", "name": "web", "container": "app", "pods": 1, "pod": "web-2-x2k4q"}),
            json!({"image": "registry.example.com/team/web:1", "repository": "team/web", "tag": "1",
                "kind": "Rollout", "name": "web", "container": "app", "field": "history"}),
        ],
    );
}

/// An extension whose server is away: nobody knows what its objects would start.
#[test]
fn an_extension_that_does_not_answer_is_no_empty_one() {
    let cluster = Cluster::with().no_controllers().start();
    let namespace = cluster.namespace();
    cluster.run_pod(&namespace, "web", json!({"containers": [{"name": "app", "image": "registry.example.com/team/web:1"}]}));
    let service = |group: &str| {
        format!(
            "---\napiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata: {{name: v1.{group}}}\n\
             spec: {{group: {group}, version: v1, groupPriorityMinimum: 100, versionPriority: 100, insecureSkipTLSVerify: true,\n  \
             service: {{name: away, namespace: {namespace}}}}}\n"
        )
    };
    cluster.apply(&service("away.example.com"));
    // Announced is not served: discovery shows the group as stale.
    cluster.wait("/apis/apiregistration.k8s.io/v1/apiservices/v1.away.example.com", |service| {
        let conditions = service["status"]["conditions"].as_array()?;
        conditions.iter().any(|condition| condition["type"] == "Available" && condition["status"] == "False").then_some(())
    });
    let ran = tool(&cluster).run().status(1).stderr_has("away.example.com");
    assert_eq!(ran.the("header")["scope"]["sources"][0]["complete"], false);
    assert_eq!(ran.the("use")["name"], "web");
    let ran = tool(&cluster).args(["--allow-missing", "*.away.example.com"]).run().succeeds();
    assert_eq!(ran.the("header")["scope"]["sources"][0]["missing"], json!(["*.away.example.com"]));
    tool(&cluster).arg("--no-custom-resources").run().succeeds();
}

/// A resource of the group `versions.example.com`, whose objects have a text under this key in each version: (version, whether it is
/// served, whether objects are stored in it, key).
fn define_versions(cluster: &Cluster, kind: &str, versions: &[(&str, bool, bool, &str)]) {
    let plural = format!("{}s", kind.to_lowercase());
    let versions: Vec<String> = versions
        .iter()
        .map(|(name, served, storage, key)| {
            format!(
                "  - name: {name}\n    served: {served}\n    storage: {storage}\n    schema: {{openAPIV3Schema: {{type: object, properties: \
                 {{spec: {{type: object, properties: {{{key}: {{type: string}}}}}}}}}}}}\n"
            )
        })
        .collect();
    cluster.apply(&format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: {plural}.versions.example.com}}\nspec:\n  \
         group: versions.example.com\n  scope: Namespaced\n  names: {{kind: {kind}, plural: {plural}}}\n  versions:\n{}",
        versions.concat()
    ));
    cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", &format!("crd/{plural}.versions.example.com")]);
}

/// Switches the versions of a resource on and off, as an operator does when it moves on.
fn serve(cluster: &Cluster, plural: &str, served: &[bool]) {
    let patch: Vec<Value> = served
        .iter()
        .enumerate()
        .map(|(place, served)| json!({"op": "replace", "path": format!("/spec/versions/{place}/served"), "value": served}))
        .collect();
    let name = format!("{plural}.versions.example.com");
    cluster.kubectl(&["patch", "crd", &name, "--type=json", "--patch", &json!(patch).to_string()]);
}

#[test]
fn each_resource_is_read_once_in_a_version_that_is_served() {
    let cluster = Cluster::with().no_controllers().start();
    let namespace = cluster.namespace();
    // Read as it is stored; stored in a version that is no longer served; in the only version that has room for an image; no longer
    // served at all; and nothing there.
    define_versions(&cluster, "Stored", &[("v2", true, false, "image"), ("v1", true, true, "image")]);
    define_versions(&cluster, "Moved", &[("v1", true, true, "image"), ("v2", true, false, "image")]);
    define_versions(&cluster, "Late", &[("v1", true, true, "note"), ("v2", true, false, "image")]);
    define_versions(&cluster, "Retired", &[("v1", true, true, "image")]);
    define_versions(&cluster, "Empty", &[("v1", true, true, "image")]);
    for (kind, plural) in [("Stored", "storeds"), ("Moved", "moveds"), ("Retired", "retireds")] {
        let path = format!("/apis/versions.example.com/v1/namespaces/{namespace}/{plural}");
        cluster.wait_for_right(&cluster.admin(), &path);
        let image = format!("registry.example.com/team/{plural}:1");
        cluster.create(
            &path,
            json!({"apiVersion": "versions.example.com/v1", "kind": kind, "metadata": {"name": "it"}, "spec": {"image": image}}),
        );
    }
    serve(&cluster, "moveds", &[false, true]);
    serve(&cluster, "retireds", &[false]);
    let gone = |path: &str| cluster.client().send("GET", path, &[], b"").status == 404;
    let deadline = Instant::now() + Duration::from_secs(60);
    while !(gone("/apis/versions.example.com/v1/moveds") && gone("/apis/versions.example.com/v1/retireds")) {
        assert!(Instant::now() < deadline, "a version that was switched off is served for a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
    let proxy = Proxy::before_cluster(&cluster);
    let kubeconfig = Kubeconfig::new().context("prod", cluster.access().server(&proxy.url()));
    let ran = Tool::new("k8s-images").env("KUBECONFIG", kubeconfig.path()).run().succeeds();
    let used = |kind: &str, plural: &str| {
        json!({"image": format!("registry.example.com/team/{plural}:1"), "repository": format!("team/{plural}"), "tag": "1",
            "kind": kind, "name": "it", "container": null})
    };
    are_used(&ran, &namespace, &[used("Stored", "storeds"), used("Moved", "moveds")]);
    let mut lists: Vec<String> =
        proxy.requests().iter().filter(|request| request.path().starts_with("/apis/versions.example.com/")).map(Request::line).collect();
    lists.sort();
    let list = |of: &str| format!("GET /apis/versions.example.com/{of}?limit=50");
    assert_eq!(lists, [list("v1/emptys"), list("v1/storeds"), list("v2/lates"), list("v2/moveds")]);
    ran.stderr_has("the cluster does not serve retireds.versions.example.com");

    // An operator that is away converts nothing. What is read as it is stored needs it not.
    let conversion = json!({"spec": {"conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://127.0.0.1:1/convert"}}}}});
    for plural in ["storeds", "moveds"] {
        let name = format!("{plural}.versions.example.com");
        cluster.kubectl(&["patch", "crd", &name, "--type=merge", "--patch", &conversion.to_string()]);
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while cluster.client().send("GET", "/apis/versions.example.com/v2/moveds", &[], b"").status == 200 {
        assert!(Instant::now() < deadline, "what must be converted is served without a converter for a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
    let ran = tool(&cluster).run().status(1).stderr_has("listing moveds.versions.example.com: ").stderr_has("connection refused");
    are_used(&ran, &namespace, &[used("Stored", "storeds")]);
    let ran = tool(&cluster).args(["--allow-missing", "moveds.versions.example.com"]).run().succeeds();
    assert_eq!(ran.the("header")["scope"]["sources"][0]["missing"], json!(["moveds.versions.example.com"]));
}

/// Two operators want one name: the second to come is not served.
#[test]
fn a_definition_that_the_cluster_refuses_is_said() {
    let cluster = Cluster::with().no_controllers().start();
    let namespace = cluster.namespace();
    rollouts(&cluster);
    cluster.run_pod(&namespace, "web", json!({"containers": [{"name": "app", "image": "registry.example.com/team/web:1"}]}));
    cluster.apply(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: others.argoproj.io}\nspec:\n  \
         group: argoproj.io\n  scope: Namespaced\n  names: {kind: Rollout, plural: others}\n  versions:\n  - name: v1alpha1\n    \
         served: true\n    storage: true\n    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}\n",
    );
    cluster.kubectl(&["wait", "--for=condition=NamesAccepted=False", "--timeout=60s", "crd/others.argoproj.io"]);
    let ran = tool(&cluster).run().succeeds().stderr_has("the cluster does not serve others.argoproj.io");
    assert_eq!(ran.the("use")["name"], "web");
    assert!(ran.the("trailer")["resourceVersions"]["prod"]["rollouts.argoproj.io"].is_string(), "{ran}");
}

/// What Argo's Workflows and Tekton's tasks call a container; of a parameter only the pods know what it comes to.
#[test]
fn steps_scripts_and_parameters() {
    let cluster = Cluster::with().no_controllers().start();
    let namespace = cluster.namespace();
    let container = "{type: object, properties: {name: {type: string}, image: {type: string}}}";
    let containers = format!("{{type: array, items: {container}}}");
    define(
        &cluster,
        "argoproj.io",
        "Workflow",
        "Namespaced",
        &format!(
            "spec: {{type: object, properties: {{templates: {{type: array, items: {{type: object, properties: {{name: {{type: string}}, \
             container: {container}, script: {container}, initContainers: {containers}, sidecars: {containers}}}}}}}}}}}"
        ),
    );
    define(
        &cluster,
        "tekton.dev",
        "Pipeline",
        "Namespaced",
        &format!(
            "spec: {{type: object, properties: {{tasks: {{type: array, items: {{type: object, properties: {{name: {{type: string}}, \
             taskSpec: {{type: object, properties: {{stepTemplate: {container}, steps: {containers}, sidecars: {containers}}}}}}}}}}}}}}}"
        ),
    );
    let image = |name: &str| format!("registry.example.com/team/{name}:1");
    cluster.apply(
        &[
            object(
                "argoproj.io",
                "Workflow",
                &namespace,
                "nightly",
                &format!(
                    "spec: {{templates: [{{name: build, container: {{image: {}}}}}, {{name: count, script: {{image: {}}}}}, \
                     {{name: either, container: {{image: \"{{{{inputs.parameters.image}}}}\"}}, initContainers: [{{name: first, image: {}}}], \
                     sidecars: [{{name: side, image: {}}}]}}]}}",
                    image("build"),
                    image("count"),
                    image("first"),
                    image("side")
                ),
            ),
            object(
                "tekton.dev",
                "Pipeline",
                &namespace,
                "release",
                &format!(
                    "spec: {{tasks: [{{name: all, taskSpec: {{stepTemplate: {{image: {}}}, steps: [{{name: compile}}, {{name: sign, image: {}}}, \
                     {{name: any, image: $(params.image)}}], sidecars: [{{name: db, image: {}}}]}}}}]}}",
                    image("step"),
                    image("sign"),
                    image("db")
                ),
            ),
        ]
        .concat(),
    );
    let used = |kind: &str, name: &str, container: Value, image: &str, field: &str| {
        json!({"image": format!("registry.example.com/team/{image}:1"), "repository": format!("team/{image}"), "tag": "1",
            "kind": kind, "name": name, "container": container, "field": field})
    };
    let ran = tool(&cluster).run().succeeds();
    are_used(
        &ran,
        &namespace,
        &[
            used("Workflow", "nightly", json!("build"), "build", "container"),
            used("Workflow", "nightly", json!("count"), "count", "container"),
            used("Workflow", "nightly", json!("first"), "first", "initContainer"),
            used("Workflow", "nightly", json!("side"), "side", "container"),
            used("Pipeline", "release", json!(null), "step", "container"),
            used("Pipeline", "release", json!("sign"), "sign", "container"),
            used("Pipeline", "release", json!("db"), "db", "container"),
        ],
    );
    ran.stderr_has("{{inputs.parameters.image}}").stderr_has("$(params.image)");
}

/// Somebody removes an operator while its objects are about to be listed: they are gone with it.
#[test]
fn a_definition_that_is_deleted_just_then_is_no_gap() {
    let cluster = Cluster::with().no_controllers().start();
    let namespace = cluster.namespace();
    rollouts(&cluster);
    cluster.run_pod(&namespace, "web", json!({"containers": [{"name": "app", "image": "registry.example.com/team/web:1"}]}));
    let proxy = Proxy::before_cluster(&cluster);
    let kubeconfig = Kubeconfig::new().context("prod", cluster.access().server(&proxy.url()));
    let gate = proxy.hold_before(|request| request.path() == "/apis/argoproj.io/v1alpha1/rollouts");
    let running = Tool::new("k8s-images").env("KUBECONFIG", kubeconfig.path()).spawn();
    gate.wait();
    cluster.kubectl(&["delete", "crd", "rollouts.argoproj.io"]);
    let deadline = Instant::now() + Duration::from_secs(60);
    while cluster.client().send("GET", "/apis/argoproj.io/v1alpha1/rollouts", &[], b"").status != 404 {
        assert!(Instant::now() < deadline, "a resource that was deleted is served for a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
    gate.open();
    let ran = running.wait().succeeds().stderr_has("the cluster no longer serves rollouts.argoproj.io");
    assert_eq!(ran.the("use")["name"], "web");
    // The next time nobody asks for them.
    assert_eq!(tool(&cluster).run().succeeds().stderr_lacks("rollouts").the("use")["name"], "web");
}

/// Who may read one kind of custom resources and not another; and who may not even know how they are defined.
#[test]
fn a_custom_resource_that_may_not_be_listed_is_named_and_may_be_forgiven() {
    let cluster = Cluster::with().no_controllers().start();
    let namespace = cluster.namespace();
    rollouts(&cluster);
    define(&cluster, "tekton.dev", "Task", "Namespaced", "spec: {type: object, properties: {image: {type: string}}}");
    define(&cluster, "notes.example.com", "Note", "Namespaced", "spec: {type: object, properties: {text: {type: string}}}");
    let container = "{name: app, image: \"registry.example.com/team/web:1\"}";
    let rest = format!("spec: {{replicas: 1, template: {{spec: {{containers: [{container}]}}}}}}");
    cluster.apply(&object("argoproj.io", "Rollout", &namespace, "web", &rest));
    let user = cluster.user();
    let grant = |resources: &str| {
        cluster.apply(&format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: reads}}\nrules:\n\
             - {{apiGroups: [\"\", apps, batch, argoproj.io], resources: [pods, podtemplates, replicationcontrollers, replicasets, deployments, statefulsets, \
             daemonsets, controllerrevisions, jobs, cronjobs, rollouts], verbs: [list]}}\n\
             - {{apiGroups: [apiextensions.k8s.io, tekton.dev], resources: [{resources}], verbs: [list]}}\n"
        ));
    };
    grant("customresourcedefinitions");
    cluster.kubectl(&["create", "clusterrolebinding", "reads", "--clusterrole=reads", &format!("--user={}", user.name)]);
    cluster.wait_for_right(&user, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?limit=1");
    let kubeconfig = Kubeconfig::new().context("prod", cluster.access().token(&user.token));
    let run = |arguments: &[&str]| Tool::new("k8s-images").env("KUBECONFIG", kubeconfig.path()).args(arguments).run();

    let ran = run(&[]).status(1).stderr_has("may not list tasks.tekton.dev: ").stderr_has("--allow-missing tasks.tekton.dev");
    assert_eq!(ran.stderr().matches("may not list").count(), 1, "{ran}");
    let source = &ran.the("header")["scope"]["sources"][0];
    assert_eq!(source["complete"], false);
    assert_eq!(ran.the("use")["kind"], "Rollout");
    let forgiven = run(&["--allow-missing", "tasks.tekton.dev"]).succeeds();
    let source = &forgiven.the("header")["scope"]["sources"][0];
    assert_eq!((&source["complete"], &source["error"], &source["missing"]), (&json!(true), &json!(null), &json!(["tasks.tekton.dev"])));

    // Without the definitions the schemas come from OpenAPI, and what names no image is not asked for all the same.
    grant("tasks");
    // They are published some time after the definitions are established.
    for group in ["argoproj.io", "tekton.dev", "notes.example.com"] {
        cluster.wait_for_right(&user, &format!("/openapi/v3/apis/{group}/v1alpha1"));
    }
    cluster.wait_for_right(&user, "/apis/tekton.dev/v1alpha1/tasks?limit=1");
    let proxy = Proxy::before_cluster(&cluster);
    let kubeconfig = Kubeconfig::new().context("prod", cluster.access().server(&proxy.url()).token(&user.token));
    let ran = Tool::new("k8s-images").env("KUBECONFIG", kubeconfig.path()).run().succeeds();
    assert_eq!(ran.the("use")["kind"], "Rollout");
    assert_eq!((lists(&proxy, "rollouts"), lists(&proxy, "tasks"), lists(&proxy, "notes")), (1, 1, 0));
    assert!(proxy.count(|request| request.path().starts_with("/openapi/v3/apis/")) >= 3);
}
