//! What a cluster serves beside the kinds of Kubernetes itself: custom resources, and those of API servers behind it.
//!
//! Owns the reading of discovery: the one document that holds all of it (since Kubernetes 1.26), and the group by group answers of older
//! clusters. Which of it is read is [`super::custom`]'s.
//!
//! Rules: Kubernetes documentation, "The Kubernetes API", "Discovery API"; k8s.io/api/apidiscovery/v2, and `APIGroupList` and
//! `APIResourceList` of meta/v1. Only `/apis` is asked: what `/api` serves, the core group, holds no custom resource.

use std::borrow::Cow;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::kinds::Resource;
use super::request::{Failure, FailureKind, Form, Requests};

/// How many groups are asked at once, where each must be asked for itself.
const AT_ONCE: usize = 4;

/// The API groups that the API server itself serves, beside those that have no dot in their name. A group of a later version that is
/// not among them is looked at as if it were another's.
const BUILT_IN: [&str; 19] = [
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "auditregistration.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
    "storagemigration.k8s.io",
];

/// Whether the API server itself serves a group.
fn is_built_in(group: &str) -> bool {
    !group.contains('.') || BUILT_IN.contains(&group)
}

/// What a cluster serves in groups that are not Kubernetes' own.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Served {
    /// The resources that can be listed, each once.
    pub(crate) resources: Vec<Listable>,
    /// What cannot be told, because the server behind a group does not answer.
    pub(crate) silent: Vec<GroupVersion>,
}

/// A resource that can be listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listable {
    pub(crate) resource: Resource,
    pub(crate) is_namespaced: bool,
    /// The versions in which it is served, the preferred one first.
    pub(crate) versions: Vec<String>,
}

/// One version of an API group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GroupVersion {
    pub(crate) group: String,
    pub(crate) version: String,
}

impl Served {
    /// Asks a cluster.
    ///
    /// # Errors
    /// As of [`Requests::get`], and what is no discovery. A group whose server does not answer is none.
    pub(crate) async fn ask(requests: &Requests) -> Result<Self, Failure> {
        let body = requests.get("/apis", Form::Discovery).await?;
        let Groups { kind } = parse(&body)?;
        match kind.as_str() {
            "APIGroupDiscoveryList" => Ok(Self::aggregated(parse(&body)?)),
            "APIGroupList" => Self::group_by_group(requests, parse(&body)?).await,
            other => Err(Failure::other(format!("the answer of /apis is no list of API groups, but {other:?}"))),
        }
    }

    fn aggregated(list: Aggregated) -> Self {
        let mut served = Self::default();
        for AggregatedGroup { metadata: Named { name: group }, versions } in list.items {
            for AggregatedVersion { version, resources, freshness } in versions {
                let of = GroupVersion { group: group.clone(), version };
                // The server gives what it knew last of a version whose server does not answer. That can be listed, or its lists say
                // why not. What it never knew is a gap.
                if freshness == "Stale" && resources.is_empty() && !is_built_in(&group) {
                    served.silent.push(of);
                    continue;
                }
                for resource in resources {
                    let kind = resource.response_kind.map(|response| response.kind).unwrap_or_default();
                    served.add(&of, resource.resource, kind, resource.scope == "Namespaced", &resource.verbs);
                }
            }
        }
        served
    }

    /// Asks each version of each group for itself.
    async fn group_by_group(requests: &Requests, list: GroupList) -> Result<Self, Failure> {
        let asked = list.versions().into_iter().map(|of| async move {
            let path = format!("/apis/{}/{}", of.group, of.version);
            match requests.get(&path, Form::Json).await {
                Ok(body) => {
                    // A page for browsers, or a `Status` that came with 200, says nothing of what the group holds.
                    let list = parse::<ResourceList>(&body).ok().filter(ResourceList::is_one);
                    if list.is_none() {
                        tracing::debug!("GET {path}: the answer is no list of resources");
                    }
                    Ok((of, list))
                }
                Err(failure) if failure.is_of_the_server() => Err(failure),
                // It went away since.
                Err(Failure { kind: FailureKind::NotFound, .. }) => Ok((of, Some(ResourceList::default()))),
                Err(failure) => {
                    tracing::debug!("GET {path}: {failure}");
                    Ok((of, None))
                }
            }
        });
        let answers: Vec<(GroupVersion, Option<ResourceList>)> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
        let mut served = Self::default();
        for (of, list) in answers {
            match list {
                Some(list) => list.resources.into_iter().for_each(|it| served.add(&of, it.name, it.kind, it.namespaced, &it.verbs)),
                None => served.silent.push(of),
            }
        }
        Ok(served)
    }

    fn add(&mut self, of: &GroupVersion, plural: String, kind: String, is_namespaced: bool, verbs: &[String]) {
        // A name with a slash is that of a subresource.
        let is_listable = verbs.iter().any(|verb| verb == "list") && !plural.contains('/');
        if !is_listable || is_built_in(&of.group) {
            return;
        }
        match self.resources.iter_mut().find(|known| known.resource.group == of.group && known.resource.plural == plural) {
            Some(known) => known.versions.push(of.version.clone()),
            None => {
                let resource = Resource { kind: kind.into(), plural: plural.into(), group: Cow::Owned(of.group.clone()) };
                self.resources.push(Listable { resource, is_namespaced, versions: vec![of.version.clone()] });
            }
        }
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::other(format!("the answer is no discovery that can be read: {error}")))
}

/// Which of the two forms an answer has: a server takes one of those that it was offered.
#[derive(Deserialize)]
struct Groups {
    #[serde(default)]
    kind: String,
}

#[derive(Deserialize)]
struct Aggregated {
    items: Vec<AggregatedGroup>,
}

#[derive(Deserialize)]
struct AggregatedGroup {
    metadata: Named,
    #[serde(default)]
    versions: Vec<AggregatedVersion>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct AggregatedVersion {
    version: String,
    #[serde(default)]
    resources: Vec<AggregatedResource>,
    #[serde(default)]
    freshness: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AggregatedResource {
    resource: String,
    /// None where a resource has subresources alone.
    response_kind: Option<ResponseKind>,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    verbs: Vec<String>,
}

#[derive(Deserialize)]
struct ResponseKind {
    #[serde(default)]
    kind: String,
}

#[derive(Deserialize)]
struct GroupList {
    groups: Vec<ApiGroup>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApiGroup {
    name: String,
    #[serde(default)]
    versions: Vec<ApiVersion>,
    preferred_version: Option<ApiVersion>,
}

#[derive(Deserialize)]
struct ApiVersion {
    version: String,
}

impl GroupList {
    /// The versions of groups that are not Kubernetes' own, the preferred one of each group first.
    fn versions(self) -> Vec<GroupVersion> {
        let groups = self.groups.into_iter().filter(|group| !is_built_in(&group.name));
        groups
            .flat_map(|ApiGroup { name, mut versions, preferred_version }| {
                let preferred = preferred_version.map(|preferred| preferred.version);
                versions.sort_by_key(|known| Some(&known.version) != preferred.as_ref());
                versions.into_iter().map(move |known| GroupVersion { group: name.clone(), version: known.version })
            })
            .collect()
    }
}

#[derive(Default, Deserialize)]
struct ResourceList {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    resources: Vec<ApiResource>,
}

impl ResourceList {
    /// Whether it is what it was read as. client-go does not ask for the kind either, where there are resources.
    fn is_one(&self) -> bool {
        self.kind == "APIResourceList" || (self.kind.is_empty() && !self.resources.is_empty())
    }
}

#[derive(Deserialize)]
struct ApiResource {
    name: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    namespaced: bool,
    #[serde(default)]
    verbs: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Server, reply};
    use super::*;

    fn shown(served: &Served) -> Vec<String> {
        let of = |it: &Listable| format!("{} {} {} {}", it.resource.name(), it.resource.kind, it.is_namespaced, it.versions.join(","));
        let silent = served.silent.iter().map(|of| format!("silent {}/{}", of.group, of.version));
        served.resources.iter().map(of).chain(silent).collect()
    }

    #[test]
    fn one_document_tells_all() {
        // As kube-apiserver 1.35 gives it, with an API service whose server was never there.
        let list = serde_json::json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": [
            {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "freshness": "Current", "resources": [
                {"resource": "deployments", "responseKind": {"group": "", "version": "", "kind": "Deployment"}, "scope": "Namespaced", "verbs": ["list"]}]}]},
            {"metadata": {"name": "storage.k8s.io"}, "versions": [{"version": "v1", "freshness": "Stale"}]},
            {"metadata": {"name": "example.com"}, "versions": [
                {"version": "v1", "freshness": "Current", "resources": [
                    {"resource": "rollouts", "responseKind": {"group": "example.com", "version": "v1", "kind": "Rollout"}, "scope": "Namespaced", "singularResource": "rollout",
                     "verbs": ["delete", "get", "list", "watch"], "subresources": [{"subresource": "status", "verbs": ["get"]}]},
                    {"resource": "reviews", "responseKind": {"group": "example.com", "version": "v1", "kind": "Review"}, "scope": "Cluster", "verbs": ["create"]},
                    {"resource": "parents", "scope": "Namespaced", "subresources": [{"subresource": "log", "verbs": ["get"]}]}]},
                {"version": "v1alpha1", "freshness": "Current", "resources": [
                    {"resource": "rollouts", "responseKind": {"group": "example.com", "version": "v1alpha1", "kind": "Rollout"}, "scope": "Namespaced", "verbs": ["list"]},
                    {"resource": "things", "responseKind": {"group": "example.com", "version": "v1alpha1", "kind": "Thing"}, "scope": "Cluster", "verbs": ["list"]}]}]},
            {"metadata": {"name": "down.example.com"}, "versions": [{"version": "v1", "freshness": "Stale"}]},
            {"metadata": {"name": "late.example.com"}, "versions": [{"version": "v1", "freshness": "Stale", "resources": [
                {"resource": "jobs", "responseKind": {"group": "", "version": "", "kind": "Job"}, "scope": "Namespaced", "verbs": ["list"]}]}]},
        ]});
        assert_eq!(
            shown(&Served::aggregated(serde_json::from_value(list).unwrap())),
            [
                "rollouts.example.com Rollout true v1,v1alpha1",
                "things.example.com Thing false v1alpha1",
                "jobs.late.example.com Job true v1",
                "silent down.example.com/v1",
            ]
        );
    }

    #[test]
    fn older_clusters_name_their_groups_and_the_preferred_version_goes_first() {
        let list = serde_json::json!({"kind": "APIGroupList", "groups": [
            {"name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}], "preferredVersion": {"groupVersion": "apps/v1", "version": "v1"}},
            {"name": "example.com", "versions": [{"groupVersion": "example.com/v1alpha1", "version": "v1alpha1"}, {"groupVersion": "example.com/v1", "version": "v1"}],
             "preferredVersion": {"groupVersion": "example.com/v1", "version": "v1"}},
        ]});
        let list: GroupList = serde_json::from_value(list).unwrap();
        let versions: Vec<String> = list.versions().iter().map(|of| format!("{}/{}", of.group, of.version)).collect();
        assert_eq!(versions, ["example.com/v1", "example.com/v1alpha1"]);

        let mut served = Served::default();
        let resources = serde_json::json!({"kind": "APIResourceList", "groupVersion": "example.com/v1", "resources": [
            {"name": "rollouts", "singularName": "rollout", "namespaced": true, "kind": "Rollout", "verbs": ["get", "list"]},
            {"name": "rollouts/status", "singularName": "", "namespaced": true, "kind": "Rollout", "verbs": ["get", "list"]}]});
        let resources: ResourceList = serde_json::from_value(resources).unwrap();
        let of = GroupVersion { group: "example.com".to_owned(), version: "v1".to_owned() };
        resources.resources.into_iter().for_each(|it| served.add(&of, it.name, it.kind, it.namespaced, &it.verbs));
        assert_eq!(shown(&served), ["rollouts.example.com Rollout true v1"]);
    }

    #[tokio::test]
    async fn a_group_of_which_nothing_can_be_read_is_a_gap() {
        let groups = r#"{"kind":"APIGroupList","groups":[{"name":"a.io","versions":[{"version":"v1"}]}]}"#;
        let resources = r#"[{"name":"things","kind":"Thing","verbs":["list"]}]"#;
        for (answer, expected) in [
            (format!(r#"{{"kind":"APIResourceList","resources":{resources}}}"#), "things.a.io Thing false v1"),
            (format!(r#"{{"resources":{resources}}}"#), "things.a.io Thing false v1"),
            (r#"{"kind":"Status","status":"Failure"}"#.to_owned(), "silent a.io/v1"),
            ("{}".to_owned(), "silent a.io/v1"),
            ("<html>".to_owned(), "silent a.io/v1"),
        ] {
            let body = answer.clone();
            let server = Server::start(move |path, _| reply(200, if path == "/apis" { groups.to_owned() } else { body.clone() }));
            assert_eq!(shown(&Served::ask(&server.requests()).await.unwrap()), [expected], "{answer}");
        }
    }

    #[test]
    fn groups_of_kubernetes_itself() {
        for group in ["apps", "batch", "extensions", "networking.k8s.io", "flowcontrol.apiserver.k8s.io"] {
            assert!(is_built_in(group), "{group}");
        }
        for group in ["example.com", "metrics.k8s.io", "jobset.x-k8s.io", "apps.openshift.io"] {
            assert!(!is_built_in(group), "{group}");
        }
    }
}
