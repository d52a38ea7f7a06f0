//! The control plane itself: what the other tests of clusters lean on holds.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::process::signal;
use tests::*;

/// The items of a collection by name, in order.
fn names(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

#[test]
fn controllers_make_what_a_deployment_asks_for() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    let (replicasets, pods) = (format!("/apis/apps/v1/namespaces/{namespace}/replicasets"), format!("/api/v1/namespaces/{namespace}/pods"));
    cluster.kubectl(&["-n", &namespace, "create", "deployment", "web", "--image=registry.example.com/team/web:1", "--replicas=2"]);
    cluster.wait_for_items(&pods, 2);
    cluster.kubectl(&["-n", &namespace, "set", "image", "deployment/web", "web=registry.example.com/team/web:2"]);
    let old_and_new = cluster.wait_for_items(&replicasets, 2);
    let mut images: Vec<&str> =
        old_and_new.iter().filter_map(|set| set["spec"]["template"]["spec"]["containers"][0]["image"].as_str()).collect();
    images.sort_unstable();
    assert_eq!(images, ["registry.example.com/team/web:1", "registry.example.com/team/web:2"]);
    let pod = cluster.wait(&pods, |list| list["items"][0]["metadata"]["name"].as_str().map(str::to_owned));
    cluster.ephemeral(&namespace, &pod, "debugger", "busybox:1");
    cluster.runs(&namespace, &pod, &[("web", "registry.example.com/team/web:1", "registry.example.com/team/web@sha256:abc")]);
    let pod = cluster.get(&format!("{pods}/{pod}"));
    assert_eq!(pod["spec"]["ephemeralContainers"][0]["image"], "busybox:1");
    assert_eq!(pod["status"]["containerStatuses"][0]["imageID"], "registry.example.com/team/web@sha256:abc");
}

#[test]
fn it_says_its_version_and_knows_its_users() {
    let cluster = Cluster::shared();
    assert_eq!(cluster.get("/version")["gitVersion"], "v1.35.4");
    let namespace = cluster.namespace();
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    let ask = |token: &str| cluster.client().send("GET", &pods, &[("Authorization", &format!("Bearer {token}"))], b"").status;
    let (admin, user, other) = (cluster.admin(), cluster.user(), cluster.user());
    assert_ne!(user.name, other.name);
    assert_eq!((ask(&admin.token), ask(&user.token), ask("nonsense")), (200, 403, 401));
    cluster.kubectl(&["-n", &namespace, "create", "rolebinding", "reads", "--clusterrole=view", &format!("--user={}", user.name)]);
    cluster.wait_for_right(&user, &pods);
    assert_eq!(ask(&other.token), 403);
    assert_eq!(ask(&cluster.service_account(&namespace, "robot")), 403);
}

#[test]
fn there_are_many_ways_in() {
    let cluster = Cluster::shared();
    let folder = temporary();
    let token_file = folder.path().join("token");
    fs::write(&token_file, cluster.admin().token).unwrap();
    let user = cluster.user();
    let credential = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": user.token},
    });
    let kubeconfig = Kubeconfig::new()
        .context("token", cluster.access().token(&user.token).namespace("shop"))
        .context("file", cluster.access().token_file(&token_file))
        .context("certificate", cluster.access().certificate(&cluster.certificates().client("jane", &["team"])))
        .context("exec", cluster.access().exec("echo", &[&credential.to_string()]))
        .context("impersonation", cluster.access().impersonate("somebody", &["some"]))
        .second_name("again", "token");
    let who = |context: &str| {
        let path = kubeconfig.path().display().to_string();
        let said = cluster.kubectl(&["--kubeconfig", &path, "--context", context, "auth", "whoami", "-o", "json"]);
        let said: Value = serde_json::from_str(&said).unwrap();
        said["status"]["userInfo"]["username"].as_str().unwrap().to_owned()
    };
    for (context, name) in [
        ("token", &*user.name),
        ("file", "admin"),
        ("certificate", "jane"),
        ("exec", &user.name),
        ("impersonation", "somebody"),
        ("again", &user.name),
    ] {
        assert_eq!(who(context), name, "{context}");
    }
}

#[test]
fn helm_installs_and_upgrades() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    let template = "apiVersion: v1\nkind: PodTemplate\nmetadata: {name: web}\n\
                    template: {spec: {containers: [{name: app, image: \"{{ .Values.image }}\"}]}}\n";
    let chart = Chart::new("shop").template("web.yaml", template).values("image: team/web:1\n");
    cluster.helm(&["-n", &namespace, "install", "shop", &chart.path()]);
    cluster.helm(&["-n", &namespace, "upgrade", "shop", &chart.path(), "--set", "image=team/web:2"]);
    let secrets = cluster.get(&format!("/api/v1/namespaces/{namespace}/secrets?fieldSelector=type%3Dhelm.sh/release.v1"));
    assert_eq!(names(secrets["items"].as_array().unwrap()), ["sh.helm.release.v1.shop.v1", "sh.helm.release.v1.shop.v2"]);
    let template = cluster.get(&format!("/api/v1/namespaces/{namespace}/podtemplates/web"));
    assert_eq!(template["template"]["spec"]["containers"][0]["image"], "team/web:2");
}

#[test]
fn its_data_outlives_a_restart_and_an_expired_token_says_so() {
    let cluster = Cluster::with().named("stage").no_controllers().flag("--watch-cache=false").start();
    let namespace = cluster.namespace();
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    for name in ["a", "b", "c"] {
        cluster.run_pod(&namespace, name, json!({"containers": [{"name": "app", "image": "team/app:1"}]}));
    }
    let page = cluster.get(&format!("{pods}?limit=2"));
    let next = format!("{pods}?limit=2&continue={}", page["metadata"]["continue"].as_str().unwrap());
    assert_eq!(names(cluster.get(&next)["items"].as_array().unwrap()), ["c"]);
    cluster.run_pod(&namespace, "d", json!({"containers": [{"name": "app", "image": "team/app:1"}]}));
    cluster.compact();
    let gone = cluster.client().send("GET", &next, &[], b"").expect(410, "continuing after a compaction").json();
    assert_eq!(gone["reason"], "Expired");

    let (url, pids) = (cluster.url(), cluster.pids());
    cluster.stop();
    cluster.client().try_send("GET", "/readyz", &[], b"").unwrap_err();
    cluster.restart();
    assert_eq!(cluster.url(), url);
    assert!(cluster.pids().iter().all(|pid| !pids.contains(pid)));
    assert_eq!(names(&cluster.wait_for_items(&pods, 4)), ["a", "b", "c", "d"]);
    assert_eq!(cluster.kubectl(&["config", "current-context"]).trim(), "stage");
}

#[test]
fn a_proxy_before_it_sees_and_breaks_requests() {
    let cluster = Cluster::shared();
    let proxy = Proxy::before_cluster(cluster);
    proxy.once(|request| request.path() == "/api/v1/pods", Response::status(429).header("Retry-After", "0"));
    let bearer = format!("Bearer {}", cluster.admin().token);
    let client = Client::of(proxy.host());
    let ask = || client.send("GET", "/api/v1/pods?limit=1", &[("Authorization", &bearer)], b"");
    ask().expect(429, "at first");
    assert_eq!(ask().expect(200, "through the proxy").json()["kind"], "PodList");
    assert_eq!(proxy.count(|request| request.header("authorization") == Some(&bearer)), 2);
}

/// Such a process has two lives: the test starts itself once more, kills it when it has a cluster, and sees what is left.
#[test]
fn a_process_that_is_killed_leaves_nothing() {
    const ROLE: &str = "TEST_IS_TO_BE_KILLED";
    let this = "k8s_clusters::control_plane::a_process_that_is_killed_leaves_nothing";
    if std::env::var_os(ROLE).is_some() {
        let cluster = Cluster::with().no_controllers().start();
        let pids: Vec<String> = cluster.pids().iter().map(u32::to_string).collect();
        writeln!(std::io::stdout(), "\nstarted {} {}", cluster.folder().display(), pids.join(" ")).unwrap();
        loop {
            std::thread::park();
        }
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([this, "--exact", "--nocapture"])
        .env(ROLE, "")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let started = lines.find_map(|line| line.unwrap().strip_prefix("started ").map(str::to_owned)).expect("the other life has a cluster");
    let mut words = started.split(' ');
    let folder = Path::new(words.next().unwrap());
    let pids: Vec<&str> = words.collect();
    let is_there = |pid: &&&str| Path::new("/proc").join(pid).exists();
    assert!(folder.is_dir());
    assert_eq!(pids.iter().filter(is_there).count(), 2);
    signal(child.id(), "KILL");
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while pids.iter().any(|pid| is_there(&pid)) || folder.exists() {
        assert!(Instant::now() < deadline, "the killed process left {} and, of {pids:?}, what runs", folder.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}
