//! Custom resources: what an operator would start is found by discovery and schema, whatever it is called.

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
