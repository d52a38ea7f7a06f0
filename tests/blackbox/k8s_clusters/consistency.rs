//! One inventory of a cluster that goes on living: pages, lists that grow too old, servers that are busy, and both forms of an answer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::*;

use super::{kinds, tool};

/// The size of a page; pods of these tests are more than one holds.
const PAGE: usize = 500;

fn spec(name: &str) -> Value {
    json!({"containers": [{"name": "app", "image": format!("registry.example.com/team/{name}:1")}]})
}

/// A context of this cluster that leads through a proxy.
fn through(proxy: &Proxy, cluster: &Cluster) -> Kubeconfig {
    Kubeconfig::new().context("prod", cluster.access().server(&proxy.url()))
}

fn run(kubeconfig: &Kubeconfig, arguments: &[&str]) -> Ran {
    Tool::new("k8s-images").env("KUBECONFIG", kubeconfig.path()).args(arguments).run()
}

fn is_of(path: &'static str) -> impl Fn(&Request) -> bool {
    move |request| request.path() == path
}

fn is_next_page(path: &'static str) -> impl Fn(&Request) -> bool {
    move |request| request.path() == path && !request.parameters("continue").is_empty()
}

fn is_first_page(path: &'static str) -> impl Fn(&Request) -> bool {
    move |request| request.path() == path && request.parameters("continue").is_empty()
}

/// A version, which is a number in each server so far, and compared as such.
fn number(version: &Value) -> u64 {
    version.as_str().unwrap().parse().unwrap()
}

fn version(object: &Value) -> u64 {
    number(&object["metadata"]["resourceVersion"])
}

/// The names of the pods in an inventory.
fn pods(ran: &Ran) -> BTreeSet<String> {
    ran.records_of("use").iter().map(|used| used["pod"].as_str().unwrap().to_owned()).collect()
}

/// What a controller deletes and makes while its list is read must be seen as it was at one time: not half of each.
#[test]
fn a_list_that_grows_too_old_is_begun_anew() {
    // The watch cache would answer from its memory, and forget nothing by a compaction.
    let cluster = Cluster::with().no_controllers().flag("--watch-cache=false").start();
    let namespace = cluster.namespace();
    let count = PAGE + 20;
    cluster.run_pods(&namespace, &json!({}), count, |number| (format!("pod-{number:04}"), spec("app")));
    let proxy = Proxy::before_cluster(&cluster);
    let kubeconfig = through(&proxy, &cluster);

    let whole = run(&kubeconfig, &[]).succeeds();
    assert_eq!(pods(&whole).len(), count);
    let pages = proxy.requests().iter().filter(|request| request.path() == "/api/v1/pods").count();
    assert_eq!(pages, 2);

    let gate = proxy.hold_before(is_next_page("/api/v1/pods"));
    let running = Tool::new("k8s-images").env("KUBECONFIG", kubeconfig.path()).spawn();
    gate.wait();
    cluster.kubectl(&["-n", &namespace, "delete", "pod", "pod-0000", "--force", "--grace-period=0"]);
    cluster.run_pod(&namespace, "new", spec("new"));
    cluster.compact();
    gate.open();
    let ran = running.wait().succeeds();
    let seen = pods(&ran);
    assert_eq!(seen.len(), count);
    assert!(seen.contains("new") && !seen.contains("pod-0000"), "what was read before the list began anew counts");
    let firsts =
        proxy.requests().into_iter().filter(|request| request.path() == "/api/v1/pods" && request.parameters("continue").is_empty());
    assert_eq!(firsts.count(), 3, "one of the first inventory, two of the second");
}

/// Breaks off the next fitting answer in its middle, after this was done.
fn break_once(proxy: &Proxy, fits: impl Fn(&Request) -> bool + Send + Sync + 'static, meanwhile: impl Fn() + Send + Sync + 'static) {
    let broken = AtomicBool::new(false);
    proxy.change(fits, move |response| {
        if broken.swap(true, Ordering::SeqCst) {
            return response;
        }
        meanwhile();
        let half = response.body.len() / 2;
        response.cut_body_after(half)
    });
}

/// A page that breaks off after some of its items is asked for again, and none of these counts twice; nor where the list has become
/// another one until then.
#[test]
fn a_page_that_breaks_off_counts_once() {
    let cluster = Cluster::with().no_controllers().start();
    let namespace = cluster.namespace();
    cluster.run_pods(&namespace, &json!({}), PAGE + 20, |number| (format!("pod-{number:04}"), spec("app")));
    let reads_once = |proxy: &Proxy, count: usize| {
        let ran = run(&through(proxy, &cluster), &["--no-custom-resources"]).succeeds();
        let uses = ran.records_of("use");
        let mut names: Vec<&str> = uses.iter().map(|used| used["pod"].as_str().unwrap()).collect();
        names.sort_unstable();
        let expected: Vec<String> = (0..count).map(|number| format!("pod-{number:04}")).collect();
        assert_eq!(names, expected);
        assert!(uses.iter().all(|used| used["pods"] == 1), "{ran}");
    };
    let proxy = Proxy::before_cluster(&cluster);
    proxy.once(is_next_page("/api/v1/pods"), Response::status(429).header("Retry-After", "0"));
    break_once(&proxy, is_next_page("/api/v1/pods"), || {});
    reads_once(&proxy, PAGE + 20);
    assert_eq!(proxy.count(is_of("/api/v1/pods")), 4, "the first page, and three times the second");

    let (proxy, client) = (Proxy::before_cluster(&cluster), cluster.client().clone());
    let one_more = json!({"metadata": {"name": "pod-0520"}, "spec": spec("app")}).to_string();
    break_once(&proxy, is_first_page("/api/v1/pods"), move || {
        let pods = format!("/api/v1/namespaces/{namespace}/pods");
        client.send("POST", &pods, &[("Content-Type", "application/json")], one_more.as_bytes()).expect(201, "making one more pod");
    });
    reads_once(&proxy, PAGE + 21);
}

/// What happens between two pages is in none of them; and what comes after a server that ended is no end of a list.
#[test]
fn all_pages_are_of_one_moment_and_half_of_them_count_for_nothing() {
    let cluster = Cluster::with().no_controllers().start();
    let namespace = cluster.namespace();
    let count = PAGE + 20;
    cluster.run_pods(&namespace, &json!({}), count, |number| (format!("pod-{number:04}"), spec("app")));
    let last = cluster.create(
        &format!("/apis/apps/v1/namespaces/{namespace}/daemonsets"),
        json!({"metadata": {"name": "agent"}, "spec": {"selector": {"matchLabels": {"app": "agent"}},
            "template": {"metadata": {"labels": {"app": "agent"}}, "spec": spec("agent")}}}),
    );
    let proxy = Proxy::before_cluster(&cluster);
    let kubeconfig = through(&proxy, &cluster);
    let gate = proxy.hold_before(is_next_page("/api/v1/pods"));
    let running = Tool::new("k8s-images").env("KUBECONFIG", kubeconfig.path()).arg("--no-custom-resources").spawn();
    gate.wait();
    cluster.kubectl(&["-n", &namespace, "delete", "pod", "pod-0510", "--force", "--grace-period=0"]);
    let later = cluster.run_pod(&namespace, "pod-0999", spec("new"));
    gate.open();
    let ran = running.wait().succeeds();
    let uses = ran.records_of("use");
    let mut names: Vec<&str> = uses.iter().filter_map(|used| used["pod"].as_str()).collect();
    names.sort_unstable();
    let expected: Vec<String> = (0..count).map(|number| format!("pod-{number:04}")).collect();
    assert_eq!(names, expected);
    assert_eq!(proxy.count(is_of("/api/v1/pods")), 2);
    let read_at = number(&ran.the("trailer")["resourceVersions"]["prod"]["pods"]);
    assert!((version(&last)..version(&later)).contains(&read_at), "the list is that of its first page, and not of {read_at}");

    // The page that is held is asked of a server that is not there any more, and then nothing listens at all.
    let gate = proxy.hold_before(is_next_page("/api/v1/pods"));
    let running = Tool::new("k8s-images").env("KUBECONFIG", kubeconfig.path()).arg("--no-custom-resources").spawn();
    gate.wait();
    let deadline = Instant::now() + Duration::from_secs(60);
    while proxy.count(is_of("/apis/apps/v1/daemonsets")) < 2 {
        assert!(Instant::now() < deadline, "the other lists wait for the pods");
        std::thread::sleep(Duration::from_millis(5));
    }
    cluster.stop();
    drop(proxy);
    gate.open();
    let ran = running.wait().status(1).stderr_has("k8s-images: prod: the server cannot be reached: ");
    let source = &ran.the("header")["scope"]["sources"][0];
    assert_eq!((&source["name"], &source["complete"]), (&json!("prod"), &json!(false)));
    assert!(source["error"].as_str().unwrap().contains("refused"), "{ran}");
    let trailer = ran.the("trailer");
    assert_eq!((&trailer["complete"], &trailer["incompleteSources"]), (&json!(false), &json!(1)));
    assert!(ran.records_of("use").iter().all(|used| used["kind"] != "Pod"), "{ran}");
    assert!(trailer["resourceVersions"]["prod"]["pods"].is_null(), "{ran}");
}

/// A server that forgets each list before its end gives none.
#[test]
fn a_list_that_never_ends_is_no_short_one() {
    let cluster = Cluster::with().no_controllers().start();
    let namespace = cluster.namespace();
    cluster.run_pods(&namespace, &json!({}), PAGE + 1, |number| (format!("pod-{number:04}"), spec("app")));
    let proxy = Proxy::before_cluster(&cluster);
    let expired = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410,
        "message": "The provided continue parameter is too old"});
    proxy.always(is_next_page("/api/v1/pods"), Response::json(410, expired));
    let ran = run(&through(&proxy, &cluster), &[]).status(1).stderr_has("too old");
    assert_eq!(ran.the("header")["scope"]["sources"][0]["complete"], false);
    assert_eq!(ran.the("trailer")["complete"], false);
}

#[test]
fn a_busy_server_is_asked_again() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    cluster.run_pod(&namespace, "web", spec("web"));
    let proxy = Proxy::before_cluster(cluster);
    let seen = |plural: &'static str| move |request: &Request| request.path().ends_with(plural);
    proxy.once(seen("/pods"), Response::status(429).header("Retry-After", "0"));
    proxy.once(seen("/deployments"), Response::status(503).header("Retry-After", "0"));
    proxy.once(seen("/replicasets"), Response::status(504));
    proxy.lose_answer_once(seen("/statefulsets"));
    let broken = AtomicBool::new(false);
    proxy.change(
        seen("/daemonsets"),
        move |response| {
            if broken.swap(true, Ordering::SeqCst) { response } else { response.cut_body_after(20) }
        },
    );
    let ran = run(&through(&proxy, cluster), &["--namespace", &namespace]).succeeds();
    assert_eq!(ran.the("use")["name"], "web");
    for plural in ["/pods", "/deployments", "/replicasets", "/statefulsets", "/daemonsets"] {
        assert_eq!(proxy.count(seen(plural)), 2, "{plural}");
    }
}

/// Who asks for a second's patience gets it.
#[test]
fn retry_after_is_obeyed() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    let proxy = Proxy::before_cluster(cluster);
    let times = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&times);
    let cron_jobs = |request: &Request| request.path().ends_with("/cronjobs");
    proxy.once(
        move |request| {
            let fits = cron_jobs(request);
            if fits {
                seen.lock().unwrap().push(std::time::Instant::now());
            }
            fits
        },
        Response::status(429).header("Retry-After", "1"),
    );
    let second = Arc::clone(&times);
    proxy.run_before(cron_jobs, move |_| second.lock().unwrap().push(std::time::Instant::now()));
    run(&through(&proxy, cluster), &["--namespace", &namespace]).succeeds();
    let times = times.lock().unwrap();
    assert!(times[1] - times[0] >= Duration::from_secs(1), "{times:?}");
}

/// An answer that always breaks off is an incomplete source, not a short list.
#[test]
fn a_list_that_always_breaks_off_is_incomplete() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    cluster.run_pod(&namespace, "web", spec("web"));
    let proxy = Proxy::before_cluster(cluster);
    proxy.change(|request| request.path().ends_with("/jobs"), |response| response.cut_body_after(10));
    let ran = run(&through(&proxy, cluster), &["--namespace", &namespace]).status(1).stderr_has("jobs.batch");
    assert_eq!(ran.the("header")["scope"]["sources"][0]["complete"], false);
    assert_eq!(ran.the("use")["name"], "web");
}

#[test]
fn the_versions_of_the_lists_are_in_the_trailer() {
    let cluster = Cluster::with().no_controllers().start();
    let namespace = cluster.namespace();
    let before = version(&cluster.run_pod(&namespace, "web", spec("web")));
    let ran = tool(&cluster).run().succeeds();
    let after = version(&cluster.run_pod(&namespace, "later", spec("later")));
    let versions = ran.the("trailer")["resourceVersions"]["prod"].clone();
    let keys: BTreeSet<&str> = versions.as_object().unwrap().keys().map(String::as_str).collect();
    assert!(super::rights::KINDS.iter().all(|kind| keys.contains(kind)), "{versions}");
    for (kind, value) in versions.as_object().unwrap() {
        let value = number(value);
        assert!((before..after).contains(&value), "{kind} was read at {value}, between {before} and {after}");
    }
}

/// The same cluster through a server that knows no protobuf: not a byte of the records may differ.
#[test]
fn protobuf_and_json_say_the_same_of_every_kind() {
    let cluster = Cluster::start();
    let namespace = cluster.namespace();
    kinds::one_of_each(&cluster, &namespace);
    let proxy = Proxy::before_cluster(&cluster);
    let protobuf = run(&through(&proxy, &cluster), &["--nodes"]).succeeds();
    let lists = |request: &Request| request.header("accept").is_some_and(|accept| accept.contains("protobuf"));
    assert!(proxy.count(lists) >= 11, "the kinds of Kubernetes itself are asked for in protobuf");
    proxy.forget();

    proxy.rewrite(lists, |mut request| {
        for (name, value) in &mut request.headers {
            if name == "accept" {
                *value = "application/json".to_owned();
            }
        }
        request
    });
    let headers = [("Accept", "application/vnd.kubernetes.protobuf"), ("Authorization", &*format!("Bearer {}", cluster.token()))];
    let answer = Client::of(proxy.host()).send("GET", "/api/v1/pods", &headers, b"").expect(200, "through the proxy");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let json = run(&through(&proxy, &cluster), &["--nodes"]).succeeds();
    let uses = |ran: &Ran| ran.records_of("use").iter().map(Value::to_string).collect::<Vec<_>>();
    assert_eq!(uses(&protobuf), uses(&json));
    proxy.forget();
    let asked_for = run(&through(&proxy, &cluster), &["--nodes", "--encoding", "json"]).succeeds();
    assert_eq!((proxy.count(lists), uses(&asked_for)), (0, uses(&protobuf)));
    let seen: BTreeSet<(String, String)> = protobuf
        .records_of("use")
        .iter()
        .map(|used| (used["kind"].as_str().unwrap().to_owned(), used["field"].as_str().unwrap().to_owned()))
        .collect();
    for (kind, field) in [
        ("Pod", "container"),
        ("Pod", "initContainer"),
        ("Pod", "ephemeralContainer"),
        ("Pod", "imageVolume"),
        ("Deployment", "container"),
        ("Deployment", "history"),
        ("ReplicaSet", "history"),
        ("StatefulSet", "container"),
        ("StatefulSet", "history"),
        ("DaemonSet", "container"),
        ("DaemonSet", "history"),
        ("ReplicationController", "container"),
        ("Job", "container"),
        ("CronJob", "container"),
        ("PodTemplate", "container"),
        ("Node", "container"),
        ("Node", "node"),
    ] {
        assert!(seen.contains(&(kind.to_owned(), field.to_owned())), "{kind} {field} is not in {seen:#?}");
    }
}

#[test]
fn ten_thousand_pods_are_a_line() {
    const PODS: usize = 10_000;
    let cluster = Cluster::with().no_controllers().start();
    let namespace = cluster.namespace();
    let labels = json!({"app": "web"});
    let template = json!({"metadata": {"labels": labels}, "spec": spec("web")});
    let set = cluster.create(
        &format!("/apis/apps/v1/namespaces/{namespace}/replicasets"),
        json!({"metadata": {"name": "web"}, "spec": {"replicas": PODS, "selector": {"matchLabels": labels}, "template": template}}),
    );
    let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": set["metadata"]["uid"], "controller": true}]);
    cluster.run_pods(&namespace, &json!({"labels": labels, "ownerReferences": owner}), PODS, |number| {
        (format!("web-{number:05}"), spec("web"))
    });
    let proxy = Proxy::before_cluster(&cluster);
    let ran = run(&through(&proxy, &cluster), &[]).succeeds();
    let used = ran.the("use");
    assert_eq!((&used["kind"], &used["pods"], &used["pod"]), (&json!("ReplicaSet"), &json!(PODS), &json!("web-00000")));
    assert_eq!(proxy.count(is_of("/api/v1/pods")), PODS / PAGE);
}
