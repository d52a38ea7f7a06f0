//! The whole pipeline on what really runs: a cluster and a registry, plan, deletion and undo, and what moves in between.
//!
//! What is needed must still pull afterwards, and the judge of that is skopeo. That the pipeline does the same on any registry is
//! `pipeline`'s, with the cluster as manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

use serde_json::json;
use tempfile::TempDir;
use tests::*;

use super::{pod_of, rollouts};

const EVICT: &str = "\
k8s-images --helm-history > in-use.jsonl
reg-list HOST | reg-select --in-use in-use.jsonl --require-source prod --preset evict | reg-delete --yes >> journal.jsonl
";
const LIFECYCLE: &str = "\
k8s-images --helm-history > in-use.jsonl
reg-list HOST | reg-select --in-use in-use.jsonl --require-source prod --preset lifecycle --delete-older-than 15d --keep-newest 3 |
    reg-delete --yes >> lifecycle.jsonl
";
/// The plan of evict, for those who look at it before they act.
const PLAN: &str = "\
k8s-images > in-use.jsonl
reg-list HOST | reg-select --in-use in-use.jsonl --require-source prod --preset evict > plan.jsonl
";

/// A registry, a cluster that runs what is in it, and the folder of whoever keeps house.
struct Shop {
    registry: Registry,
    cluster: Cluster,
    namespace: String,
    folder: TempDir,
}

impl Shop {
    /// Repositories with eight versions each, the first made 80 days ago and the last 10 days ago.
    fn with(repositories: &[&str]) -> Self {
        let versions = |repository: &str| (1..=8).map(|version| (repository.to_owned(), image(repository, version))).collect::<Vec<_>>();
        let registry = Registry::start();
        push_all(&registry, &repositories.iter().flat_map(|repository| versions(repository)).collect::<Vec<_>>());
        let cluster = Cluster::start();
        let namespace = cluster.namespace();
        Self { registry, cluster, namespace, folder: temporary() }
    }

    /// A reference as a pod names it.
    fn image(&self, reference: &str) -> String {
        format!("{}/{reference}", self.registry.host())
    }

    /// Applies workloads to the namespace; `HOST` is that of the registry.
    fn apply(&self, yaml: &str) {
        self.cluster.apply(&yaml.replace("HOST", self.registry.host()).replace("NAMESPACE", &self.namespace));
    }

    fn kubectl(&self, arguments: &[&str]) {
        let all: Vec<&str> = ["-n", &self.namespace].into_iter().chain(arguments.iter().copied()).collect();
        self.cluster.kubectl(&all);
    }

    /// Waits until a controller has made a pod of this image.
    fn wait_for_pod_of(&self, image: &str) {
        let (pods, image) = (format!("/api/v1/namespaces/{}/pods", self.namespace), self.image(image));
        self.cluster
            .wait(&pods, |list| list["items"].as_array()?.iter().any(|pod| pod["spec"]["containers"][0]["image"] == image).then_some(()));
    }

    /// A script as a careful person runs it.
    fn shell(&self, script: &str) -> Tool {
        let script = format!("set -euo pipefail\n{}", script.replace("HOST", self.registry.host()));
        shell(&script).in_folder(self.folder.path()).env("KUBECONFIG", self.cluster.kubeconfig())
    }

    /// Every tag, and what it names.
    fn tags(&self) -> BTreeMap<String, String> {
        let client = self.registry.client();
        let tags = |repository: &String| client.tags(repository).into_iter().map(|tag| (repository.clone(), tag)).collect::<Vec<_>>();
        let all = client.catalog().iter().flat_map(tags).collect::<Vec<_>>();
        all.into_iter().map(|(repository, tag)| (format!("{repository}:{tag}"), client.head(&repository, &tag).digest())).collect()
    }

    #[track_caller]
    fn pulls(&self, references: &[impl AsRef<str>]) {
        for reference in references {
            skopeo::pull(&self.registry, reference.as_ref()).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    #[track_caller]
    fn are_gone<'a>(&self, references: impl IntoIterator<Item = &'a String>) {
        for reference in references {
            let error = skopeo::inspect(&self.registry, reference).expect_err(reference);
            assert!(error.contains("manifest unknown"), "{error}");
        }
    }

    /// What `kubectl` says that runs or may run again, as far as it is in this registry: the judge that knows nothing of the inventory.
    fn named_by_kubectl(&self) -> BTreeSet<String> {
        let printed = self.cluster.kubectl(&["get", "rs,po", "-A", "-o", "jsonpath={..image} {..imageID}"]);
        let host = format!("{}/", self.registry.host());
        let words = printed.split([' ', '"']).filter_map(|word| word.strip_prefix(&*host));
        words.map(str::to_owned).collect()
    }
}

fn image(repository: &str, version: u64) -> Image {
    Image::new().layer(&format!("{repository} {version}")).created(&days_ago(90 - 10 * version)).tag(&format!("v{version}"))
}

/// The tags of the first that are not in the second.
fn gone(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> BTreeSet<String> {
    before.keys().filter(|tag| !after.contains_key(*tag)).cloned().collect()
}

/// A Deployment of the fourth version.
fn deployment(name: &str, more: &str) -> String {
    format!(
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: NAMESPACE}}\nspec:\n  {more}\n  \
         strategy: {{type: Recreate}}\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    \
         spec: {{containers: [{{name: app, image: \"HOST/shop/{name}:v4\"}}]}}\n"
    )
}

/// Those of which something needs the fourth version, and nothing one before it.
const NEEDED: [&str; 10] = [
    "shop/agent",
    "shop/config",
    "shop/db",
    "shop/model",
    "shop/pinned",
    "shop/release",
    "shop/report",
    "shop/rollout",
    "shop/web",
    "shop/worker",
];

/// A cluster in which each repository is needed in a way of its own, but for one that nobody needs.
fn shop() -> Shop {
    let shop = Shop::with(&[&NEEDED[..], &["lab/try"]].concat());
    let (cluster, namespace) = (&shop.cluster, &shop.namespace);

    // Scaled to zero; started by a clock; an agent for nodes that are yet to come; a custom resource; and what will change below.
    shop.apply(&(deployment("web", "replicas: 1") + &deployment("worker", "replicas: 0")));
    shop.apply(
        "---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db, namespace: NAMESPACE}\nspec:\n  serviceName: db\n  \
         podManagementPolicy: Parallel\n  selector: {matchLabels: {app: db}}\n  template:\n    metadata: {labels: {app: db}}\n    \
         spec: {containers: [{name: app, image: HOST/shop/db:v4}]}\n\
         ---\napiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: agent, namespace: NAMESPACE}\nspec:\n  \
         selector: {matchLabels: {app: agent}}\n  template:\n    metadata: {labels: {app: agent}}\n    \
         spec: {containers: [{name: app, image: HOST/shop/agent:v4}]}\n\
         ---\napiVersion: batch/v1\nkind: CronJob\nmetadata: {name: report, namespace: NAMESPACE}\nspec:\n  schedule: '@yearly'\n  \
         jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: app, image: HOST/shop/report:v4}]}}}}\n",
    );
    rollouts(cluster);
    shop.apply(
        "---\napiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: rollout, namespace: NAMESPACE}\n\
         spec: {replicas: 0, template: {spec: {containers: [{name: app, image: HOST/shop/rollout:v4}]}}}\n",
    );

    // A rollback of Helm's needs what no object names any more.
    let template = "apiVersion: v1\nkind: PodTemplate\nmetadata: {name: release}\n\
                    template: {spec: {containers: [{name: app, image: \"{{ .Values.image }}\"}]}}\n";
    let chart = Chart::new("release").template("release.yaml", template);
    for (verb, version) in [("install", "v4"), ("upgrade", "v8")] {
        let set = format!("image={}", shop.image(&format!("shop/release:{version}")));
        cluster.helm(&["-n", namespace, verb, "release", &chart.path(), "--set", &set]);
    }

    // What other pods run: an image volume, a digest that is pinned, and one of which the runtime knows the config alone.
    let pod = |name: &str, spec: serde_json::Value| cluster.run_pod(namespace, name, spec);
    let volume = json!({"name": "model", "image": {"reference": shop.image("shop/model:v4")}});
    pod("predictor", json!({"containers": [{"name": "app", "image": shop.image("shop/model:v8")}], "volumes": [volume]}));
    let pinned = format!("shop/pinned@{}", shop.registry.client().head("shop/pinned", "v4").digest());
    pod("pinned", json!({"containers": [{"name": "app", "image": shop.image(&pinned)}]}));
    pod("config", json!({"containers": [{"name": "app", "image": shop.image("shop/config:v8")}]}));
    let manifest = shop.registry.client().manifest("shop/config", "v4").json();
    let config = manifest["config"]["digest"].as_str().unwrap();
    cluster.runs(namespace, "config", &[("app", config, config)]);

    // The old ReplicaSet, and the old ControllerRevision.
    pod_of(cluster, namespace, "app=web");
    pod_of(cluster, namespace, "app=db");
    for (workload, image) in [("deployment/web", "shop/web:v8"), ("statefulset/db", "shop/db:v8")] {
        shop.kubectl(&["set", "image", workload, &format!("app={}", shop.image(image))]);
        shop.wait_for_pod_of(image);
    }
    cluster.wait_for_items(&format!("/apis/apps/v1/namespaces/{namespace}/controllerrevisions"), 3);
    shop
}

/// A tag that moved on since its pod was started: what runs has no tag any more, only its platforms have.
fn stable_moves_on(shop: &Shop) -> String {
    let registry = &shop.registry;
    let platform = |name: &str| {
        let image = Image::new().layer(&format!("stable {name}")).created(&days_ago(85)).platform(&format!("linux/{name}"));
        image.tag(&format!("old-{name}")).push(registry, "shop/web")
    };
    let before = Index::new().child("linux/amd64", &platform("amd64")).child("linux/arm64", &platform("arm64")).tag("stable");
    let before = before.push(registry, "shop/web");
    let image = shop.image("shop/web:stable");
    shop.cluster.run_pod(&shop.namespace, "stable", json!({"containers": [{"name": "app", "image": image}]}));
    shop.cluster.runs(&shop.namespace, "stable", &[("app", &image, &shop.image(&before.by_digest()))]);
    registry.client().retag("shop/web", "v8", "stable");
    before.by_digest()
}

#[test]
fn what_a_cluster_may_need_survives_and_the_rest_can_be_undone() {
    let shop = shop();
    let stable = stable_moves_on(&shop);
    let before = shop.tags();
    let all: BTreeMap<String, String> = before.iter().map(|(tag, digest)| (digest.clone(), tag.clone())).collect();
    assert_eq!(all.len(), 11 * 8 + 2, "each version is another image, and two are platforms");
    let needed: Vec<String> = NEEDED.iter().map(|name| format!("{name}:v4")).chain(["shop/web:v8".to_owned(), stable]).collect();
    let said_by_kubectl: Vec<String> = shop.named_by_kubectl().into_iter().collect();
    for reference in ["shop/web:v4", "shop/web:v8", "shop/web:stable", "shop/model:v4", "shop/db:v8"] {
        assert!(said_by_kubectl.contains(&reference.to_owned()), "{reference} is not in {said_by_kubectl:?}");
    }
    let platforms = ["shop/web:old-amd64", "shop/web:old-arm64"];
    let tags = |repositories: &[&str], versions: &[u64]| -> BTreeSet<String> {
        let all = repositories.iter().flat_map(|name| versions.iter().map(move |version| format!("{name}:v{version}")));
        all.collect()
    };
    let lab = |versions: &[u64]| tags(&["lab/try"], versions);

    // In use is v4, so v3 and v2 are the two before it; v6, v7 and v8 are the newest.
    for (script, journal, expected) in [
        (EVICT, "journal.jsonl", &tags(&NEEDED, &[1, 5]) | &lab(&[1, 2, 3, 4, 5, 6, 7, 8])),
        (LIFECYCLE, "lifecycle.jsonl", &tags(&NEEDED, &[1, 2, 3, 5]) | &lab(&[1, 2, 3, 4, 5])),
    ] {
        let ran = shop.shell(script).run().succeeds().stderr_has("skipped 2, failed 0");
        let after = shop.tags();
        assert_eq!(gone(&before, &after), expected, "{ran}");
        assert!(after.iter().all(|(tag, digest)| before[tag] == *digest));
        assert!(platforms.iter().all(|tag| after.contains_key(*tag)), "what runs by digest needs them");
        shop.pulls(&needed);
        shop.pulls(&said_by_kubectl);
        shop.are_gone(&expected);

        shop.shell(&format!("reg-delete --undo --yes < {journal}")).run().succeeds().stderr_has("failed 0");
        assert_eq!(shop.tags(), before);
    }
    shop.pulls(&before.keys().collect::<Vec<_>>());
}

/// A plan is as old as its inventory. Between the two and the deletion somebody tags an old version, and a Deployment goes back to another.
#[test]
fn what_changes_between_plan_and_deletion() {
    let shop = Shop::with(&["shop/web"]);
    shop.apply(&deployment("web", "replicas: 1").replace("v4", "v8"));
    pod_of(&shop.cluster, &shop.namespace, "app=web");
    shop.shell(PLAN).run().succeeds();
    skopeo::copy(&shop.registry, "shop/web:v2", "shop/web:rollback").unwrap();
    shop.kubectl(&["set", "image", "deployment/web", &format!("app={}", shop.image("shop/web:v5"))]);
    shop.wait_for_pod_of("shop/web:v5");
    let before = shop.tags();
    let tags = |versions: &[u64]| -> BTreeSet<String> { versions.iter().map(|version| format!("shop/web:v{version}")).collect() };

    // The registry is asked again, so the tag is seen. No cluster is, so the new use is not; but it can be undone.
    let ran = shop.shell("reg-delete --yes < plan.jsonl > journal.jsonl").run().succeeds();
    assert_eq!(gone(&before, &shop.tags()), tags(&[1, 3, 4, 5]), "{ran}");
    shop.pulls(&["shop/web:rollback", "shop/web:v2", "shop/web:v8"]);
    shop.shell("reg-delete --undo --yes shop/web:v5 < journal.jsonl").run().succeeds();
    shop.pulls(&["shop/web:v5"]);
    shop.shell("reg-delete --undo --yes < journal.jsonl").run().succeeds();
    assert_eq!(shop.tags(), before);

    // With an inventory of now the new use is seen too.
    let script = "k8s-images > now.jsonl\nreg-delete --yes --in-use now.jsonl --require-source prod < plan.jsonl";
    let ran = shop.shell(script).run().succeeds();
    assert_eq!(gone(&before, &shop.tags()), tags(&[1, 3, 4]), "{ran}");
    shop.pulls(&["shop/web:rollback", "shop/web:v2", "shop/web:v5", "shop/web:v8"]);
    let skipped: BTreeMap<String, String> = ran
        .records_of("deletion")
        .iter()
        .filter(|record| record["result"] == "skipped")
        .map(|record| (record["tags"][0].as_str().unwrap().to_owned(), record["why"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(skipped.keys().collect::<Vec<_>>(), ["v2", "v5"], "{ran}");
    assert!(skipped["v2"].contains("rollback"), "{}", skipped["v2"]);
    assert_eq!(skipped["v5"], format!("in use now: prod/{}/Deployment/web names v5", shop.namespace));

    // What it was before is in its history, and there for a rollback.
    shop.kubectl(&["rollout", "undo", "deployment/web"]);
    shop.wait_for_pod_of("shop/web:v8");
    shop.pulls(&shop.named_by_kubectl().into_iter().collect::<Vec<_>>());
}

/// What runs in a cluster that is down is in no inventory, and deleted by nobody.
#[test]
fn a_cluster_that_is_down_stops_the_pipeline() {
    let shop = Shop::with(&["shop/web"]);
    shop.apply(&deployment("web", "replicas: 1"));
    let before = shop.tags();
    shop.cluster.stop();
    shop.shell(EVICT).run().status(1).stderr_has("prod: the server cannot be reached");
    assert_eq!(shop.tags(), before);
    // Nor where nobody looks at what k8s-images says.
    shop.shell(&EVICT.replace(" > in-use.jsonl", " > in-use.jsonl || true")).run().status(3).stderr_has("prod");
    assert_eq!(shop.tags(), before);

    shop.cluster.restart();
    shop.shell(EVICT).run().succeeds();
    let expected = ["shop/web:v1", "shop/web:v5"].map(str::to_owned);
    assert_eq!(gone(&before, &shop.tags()), expected.into());
    shop.pulls(&["shop/web:v4"]);
}

#[test]
fn the_demo_shows_a_cluster_too() {
    let cluster = Cluster::with().named("stage").no_controllers().start();
    let namespace = cluster.namespace();
    for number in 0..12 {
        let image = format!("registry.example.com/team/app-{number}:1");
        cluster.run_pod(&namespace, &format!("app-{number}"), json!({"containers": [{"name": "app", "image": image}]}));
    }
    let demo = || {
        // The tools are built once by the harness, and not a second time beside it.
        tool::bin_folder();
        let mut demo = Command::new("bash");
        tool::without_cargo(&mut demo)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/demo"))
            .arg("--kubeconfig")
            .arg(cluster.kubeconfig())
            .args(["--context", "st*"])
            .stdin(Stdio::null());
        let ran = demo.output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
        assert!(said.contains("\n== All of it held\n"), "{said}");
        said
    };
    let said = demo();
    assert!(said.contains("   holds: what is in use in more places never lets more go\n"), "{said}");
    assert!(said.contains("     12 registry.example.com\n"), "{said}");
    cluster.stop();
    let said = demo();
    assert!(said.contains("   holds: reg-select refuses it\n"), "{said}");
}
