use prost::Message as _;

use super::message::{Container, ContainerImage, CronJob, CronJobSpec, Job, JobSpec, JobTemplateSpec, Node, NodeMeta, NodeStatus};
use super::message::{ObjectMeta, Pod, PodSpec, PodTemplateSpec};
use super::testing::{PATIENCE, Reply, Server, client, forbidden, nowhere, page, refusal, reply};
use super::*;

/// What a server answers with that serves all kinds and has nothing of them.
fn nothing(path: &str) -> Reply {
    let kinds = BUILT_IN.into_iter().chain([NODES]);
    let plural = |kind: &BuiltIn| path.split('?').next().unwrap().ends_with(&format!("/{}", kind.resource.plural));
    let kind = kinds.into_iter().find(plural).unwrap_or_else(|| panic!("who asks for {path}?"));
    reply(200, page(&format!("{}List", kind.resource.kind), "1", "", vec![]))
}

fn is(path: &str, start: &str) -> bool {
    path.split('?').next() == Some(start)
}

fn metadata(name: &str) -> Option<ObjectMeta> {
    Some(ObjectMeta { name: Some(name.to_owned()), namespace: Some("shop".to_owned()), ..ObjectMeta::default() })
}

fn spec(image: &str) -> Option<PodSpec> {
    let container = Container { name: Some("app".to_owned()), image: Some(image.to_owned()) };
    Some(PodSpec { containers: vec![container], ..PodSpec::default() })
}

fn pod(name: &str, image: &str) -> Vec<u8> {
    Pod { metadata: metadata(name), spec: spec(image), status: None }.encode_to_vec()
}

fn cron_job(name: &str, image: &str) -> Vec<u8> {
    let template = Some(PodTemplateSpec { spec: spec(image) });
    let job = Job { metadata: None, spec: Some(JobSpec { template }) };
    let spec = Some(CronJobSpec { job_template: Some(JobTemplateSpec { spec: job.spec }) });
    CronJob { metadata: metadata(name), spec }.encode_to_vec()
}

/// What is read of a server, and what it was asked for.
async fn read(asked: &Asked, handler: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> (Answer, Vec<String>) {
    let server = Server::start(handler);
    let answer = read_patiently(&server.client(), asked, PATIENCE).await;
    let paths = server.seen().iter().map(|seen| seen.split(' ').next().unwrap_or_default().to_owned()).collect();
    (answer, paths)
}

/// `kind/name image` of each use.
fn images(answer: Answer) -> Vec<String> {
    let uses = answer.gathering.uses("prod").into_iter();
    uses.map(|used| format!("{}/{} {}", used.kind.unwrap_or_default(), used.name.unwrap_or_default(), used.image)).collect()
}

fn shown(sentences: &[String]) -> Vec<&str> {
    sentences.iter().map(String::as_str).collect()
}

#[tokio::test]
async fn every_kind_is_listed_and_its_version_told() {
    let (answer, mut paths) = read(&Asked::default(), |path, _| nothing(path)).await;
    assert_eq!((answer.problems.len(), answer.notes.len(), answer.missing.len()), (0, 0, 0), "{answer:?}");
    let mut keys: Vec<String> = BUILT_IN.iter().map(|kind| kind.resource.name()).collect();
    keys.sort();
    assert_eq!(answer.resource_versions.keys().cloned().collect::<Vec<_>>(), keys);
    assert!(answer.resource_versions.values().all(|version| version == "1"));
    let mut expected: Vec<String> = BUILT_IN.iter().map(|kind| format!("{}?limit=500", kind.resource.path("v1", None))).collect();
    assert_eq!(paths.first().map(String::as_str), Some("/api/v1/pods?limit=500"));
    paths.sort();
    expected.sort();
    assert_eq!(paths, expected);
}

#[tokio::test]
async fn both_forms_are_understood_and_json_can_be_asked_for() {
    for (form, accept) in [(Form::Protobuf, "application/vnd.kubernetes.protobuf, application/json"), (Form::Json, "application/json")] {
        let server = Server::start(move |path, _| match path {
            "/api/v1/pods?limit=500" if form == Form::Protobuf => reply(200, page("PodList", "1", "t", vec![pod("a", "r.io/a:1")])),
            "/api/v1/pods?limit=500&continue=t" | "/api/v1/pods?limit=500" => {
                let pod = r#"{"metadata":{"name":"b","namespace":"shop"},"spec":{"containers":[{"name":"app","image":"r.io/b:1"}]}}"#;
                reply(200, format!(r#"{{"kind":"PodList","apiVersion":"v1","metadata":{{"resourceVersion":"1"}},"items":[{pod}]}}"#))
            }
            _ => nothing(path),
        });
        let answer = read_patiently(&server.client(), &Asked { form, ..Asked::default() }, PATIENCE).await;
        assert!(server.seen().iter().all(|seen| seen.ends_with(&format!(" {accept}"))), "{:?}", server.seen());
        let expected = ["Pod/a r.io/a:1", "Pod/b r.io/b:1"];
        assert_eq!(images(answer), if form == Form::Protobuf { &expected[..] } else { &expected[1..] });
    }
}

#[tokio::test]
async fn cron_jobs_of_old_clusters_are_read_and_what_is_not_served_is_said() {
    let (answer, _) = read(&Asked::default(), |path, _| match path {
        "/apis/batch/v1beta1/cronjobs?limit=500" => reply(200, page("CronJobList", "1", "", vec![cron_job("nightly", "r.io/c:1")])),
        "/apis/batch/v1/cronjobs?limit=500" => reply(404, "404 page not found"),
        "/api/v1/podtemplates?limit=500" => refusal(404, "NotFound", "the server could not find the requested resource"),
        _ => nothing(path),
    })
    .await;
    assert_eq!(answer.problems, Vec::<String>::new());
    assert_eq!(shown(&answer.notes), ["the cluster does not serve podtemplates, and has none"]);
    assert_eq!(images(answer), ["CronJob/nightly r.io/c:1"]);
}

#[tokio::test]
async fn what_must_be_served_is_missed_where_it_is_not() {
    let asked = Asked { allow_missing: vec!["deployments".to_owned()], ..Asked::default() };
    let (answer, _) = read(&asked, |path, _| if is(path, "/apis/apps/v1/deployments") { reply(404, "") } else { nothing(path) }).await;
    let expected = "does not serve deployments.apps: 404 Not Found; is this the address of a Kubernetes API server?";
    assert_eq!((shown(&answer.problems), answer.missing.len()), (vec![expected], 0));
}

#[tokio::test]
async fn a_right_that_is_lacking_is_named_and_forgiven_where_it_may_be() {
    let handler = |path: &str, _: usize| match path.split('?').next() {
        Some("/api/v1/pods") => reply(403, forbidden()),
        Some("/apis/batch/v1/cronjobs") => refusal(403, "Forbidden", "cronjobs.batch is forbidden"),
        Some("/api/v1/podtemplates") => refusal(500, "InternalError", "no"),
        _ => nothing(path),
    };
    let pods = r#"may not list pods: 403 Forbidden: pods is forbidden: User "nobody" cannot list resource "pods" in API group "" at the cluster scope; grant it (k8s-images --generate rbac)"#;
    let jobs = "may not list cronjobs.batch: 403 Forbidden: cronjobs.batch is forbidden; grant it (k8s-images --generate rbac), or --allow-missing cronjobs.batch";
    let (answer, paths) = read(&Asked::default(), handler).await;
    assert_eq!(shown(&answer.problems), [pods, jobs, "listing podtemplates: 500 InternalError: no"]);
    assert_eq!((paths.len(), answer.missing.len()), (10, 0));

    let allow_missing = ["CronJob", "podtemplate", "pods"].map(str::to_owned).to_vec();
    let (answer, _) = read(&Asked { allow_missing, ..Asked::default() }, handler).await;
    assert_eq!(shown(&answer.problems), [pods]);
    assert_eq!(shown(&answer.missing), ["cronjobs.batch", "podtemplates"]);
    assert!(answer.notes.iter().all(|note| note.ends_with("; --allow-missing lets it go")), "{:?}", answer.notes);
}

#[tokio::test]
async fn a_server_that_does_not_know_who_asks_is_asked_once() {
    let (answer, paths) = read(&Asked::default(), |_, _| refusal(401, "Unauthorized", "Unauthorized")).await;
    assert_eq!(shown(&answer.problems), ["the server does not accept these credentials: 401 Unauthorized: Unauthorized"]);
    assert_eq!(paths.len(), 1);
    // A token that expires on the way.
    let handler =
        |path: &str, _: usize| if is(path, "/api/v1/pods") { nothing(path) } else { refusal(401, "Unauthorized", "Unauthorized") };
    let (answer, _) = read(&Asked::default(), handler).await;
    assert_eq!(shown(&answer.problems), ["the server does not accept these credentials: 401 Unauthorized: Unauthorized"]);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_one_problem() {
    let asked = Asked { custom_resources: true, helm_history: true, nodes: true, ..Asked::default() };
    let answer = read_patiently(&client(&nowhere()), &asked, PATIENCE).await;
    assert_eq!(answer.problems.len(), 1, "{:?}", answer.problems);
    let problem = answer.problems.first().unwrap();
    assert!(problem.starts_with("the server cannot be reached: ") && problem.contains("onnection refused"), "{problem}");
    assert!(!problem.contains("tries"), "{problem}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_one_problem() {
    let server = Server::start(|_, _| Reply::silence());
    let patience = Patience { silence: std::time::Duration::from_millis(100), ..PATIENCE };
    let answer = read_patiently(&server.client(), &Asked::default(), patience).await;
    assert_eq!(shown(&answer.problems), ["the server cannot be reached: nothing came for 0.1 s (2 tries)"]);
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn narrowing_asks_for_less_and_nodes_belong_to_nobody() {
    let namespaces = ["shop", "web"].map(str::to_owned).to_vec();
    let asked = Asked { namespaces, selector: Some("app in (a,b)".to_owned()), nodes: true, ..Asked::default() };
    let (answer, paths) = read(&asked, |path, _| nothing(path)).await;
    assert_eq!(paths.len(), 21);
    for path in [
        "/api/v1/namespaces/shop/pods?limit=500&labelSelector=app%20in%20%28a%2Cb%29",
        "/apis/batch/v1/namespaces/web/cronjobs?limit=500&labelSelector=app%20in%20%28a%2Cb%29",
        "/api/v1/nodes?limit=500",
    ] {
        assert!(paths.iter().any(|asked| asked == path), "{path} is not among {paths:?}");
    }
    let versions: Vec<&String> = answer.resource_versions.keys().collect();
    assert!(versions.contains(&&"shop/pods".to_owned()) && versions.contains(&&"nodes".to_owned()), "{versions:?}");
}

#[tokio::test]
async fn the_images_of_a_node_have_all_their_names() {
    let names = ["r.io/a@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "r.io/a:1", "<none>:<none>"];
    let image = ContainerImage { names: names.map(str::to_owned).to_vec() };
    let status = Some(NodeStatus { images: vec![image, ContainerImage::default()] });
    let node = Node { metadata: Some(NodeMeta { name: Some("n1".to_owned()) }), status }.encode_to_vec();
    let protobuf = page("NodeList", "1", "", vec![node]);
    let item = format!(r#"{{"metadata":{{"name":"n1"}},"status":{{"images":[{{"names":{names:?},"sizeBytes":1}},{{"names":null}}]}}}}"#);
    let json = format!(r#"{{"kind":"NodeList","metadata":{{"resourceVersion":"1"}},"items":[{item}]}}"#).into_bytes();
    for body in [protobuf, json] {
        let asked = Asked { nodes: true, ..Asked::default() };
        let (answer, _) =
            read(&asked, move |path, _| if is(path, "/api/v1/nodes") { reply(200, body.clone()) } else { nothing(path) }).await;
        assert_eq!(answer.problems, Vec::<String>::new());
        assert_eq!(images(answer), [format!("Node/n1 {}", names[1]), format!("Node/n1 {}", names[0])]);
    }
}

#[tokio::test]
async fn an_object_that_hides_an_image_makes_the_cluster_incomplete() {
    let pods = || {
        vec![pod("a", "r.io/a:1"), Pod { metadata: metadata("b"), ..Pod::default() }.encode_to_vec(), pod("c", "${IMAGE}"), pod("d", "")]
    };
    let (answer, _) =
        read(
            &Asked::default(),
            move |path, _| {
                if is(path, "/api/v1/pods") { reply(200, page("PodList", "1", "", pods())) } else { nothing(path) }
            },
        )
        .await;
    let starts = ["Pod shop/b has no containers", "Pod shop/c, container app: \"${IMAGE}\"", "Pod shop/d, container app has no image"];
    assert_eq!(answer.problems.len(), starts.len(), "{:?}", answer.problems);
    for (problem, start) in answer.problems.iter().zip(starts) {
        assert!(problem.starts_with(start), "{problem}");
    }
    assert_eq!(images(answer), ["Pod/a r.io/a:1"]);
}

#[tokio::test]
async fn a_list_of_other_things_is_no_answer() {
    for body in [page("ServiceList", "1", "", vec![]), br#"{"kind":"ServiceList","metadata":{},"items":[]}"#.to_vec()] {
        let (answer, _) =
            read(
                &Asked::default(),
                move |path, _| {
                    if is(path, "/apis/apps/v1/deployments") { reply(200, body.clone()) } else { nothing(path) }
                },
            )
            .await;
        assert_eq!(shown(&answer.problems), ["listing deployments.apps: the answer is a ServiceList, and no DeploymentList"]);
    }
}
