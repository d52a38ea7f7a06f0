//! The kinds of Kubernetes itself that name images, and how a kind is called.
//!
//! Owns which kinds are read of every cluster, in which versions they may be served, and which of them an inventory cannot do without.
//! Pure.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

/// What a cluster serves under one name: a kind of objects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Resource {
    /// `Deployment`.
    pub(crate) kind: Cow<'static, str>,
    /// `deployments`.
    pub(crate) plural: Cow<'static, str>,
    /// `apps`; nothing for the core group.
    pub(crate) group: Cow<'static, str>,
}

impl Resource {
    const fn built_in(kind: &'static str, plural: &'static str, group: &'static str) -> Self {
        Self { kind: Cow::Borrowed(kind), plural: Cow::Borrowed(plural), group: Cow::Borrowed(group) }
    }

    /// What it is called where all that a cluster serves must be told apart: `deployments.apps`, `pods`.
    pub(crate) fn name(&self) -> String {
        if self.group.is_empty() { self.plural.to_string() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// Where its objects are listed: all, or those of a namespace.
    pub(crate) fn path(&self, version: &str, namespace: Option<&str>) -> String {
        let group = if self.group.is_empty() { format!("/api/{version}") } else { format!("/apis/{}/{version}", self.group) };
        let namespace = namespace.map_or_else(String::new, |namespace| format!("/namespaces/{}", percent_encoded(namespace)));
        format!("{group}{namespace}/{}", self.plural)
    }

    /// What a list of it is called beside other lists: as [`Self::name`], with the namespace where it is that of one: `shop/pods`.
    pub(crate) fn key(&self, namespace: Option<&str>) -> String {
        namespace.map_or_else(|| self.name(), |namespace| format!("{namespace}/{}", self.name()))
    }

    /// The same for people: `pods of shop`.
    pub(crate) fn of(&self, namespace: Option<&str>) -> String {
        namespace.map_or_else(|| self.name(), |namespace| format!("{} of {namespace}", self.name()))
    }

    /// Whether a person means it: by kind (`CronJob`), by plural or singular (`cronjobs`, `cronjob`), with the group or without
    /// (`cronjobs.batch`), whatever the case; or with all others of its group (`*.batch`).
    pub(crate) fn is_meant_by(&self, asked: &str) -> bool {
        let asked = asked.trim();
        let (name, group) = asked.split_once('.').map_or((asked, None), |(name, group)| (name, Some(group)));
        // A singular is the kind in lower case wherever nobody took pains to make it another word.
        (name.eq_ignore_ascii_case(&self.kind) || name.eq_ignore_ascii_case(&self.plural) || (name == "*" && group.is_some()))
            && group.is_none_or(|group| group.eq_ignore_ascii_case(&self.group))
    }
}

/// Whether an inventory can do without a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// What runs, and what starts it: an inventory without these is none.
    Always,
    /// Served by some clusters, and readable for some accounts.
    Forgivable,
}

/// A kind of Kubernetes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BuiltIn {
    pub(crate) resource: Resource,
    /// The versions in which it may be served, the one to be preferred first.
    pub(crate) versions: &'static [&'static str],
    pub(crate) need: Need,
    pub(crate) message: Message,
}

impl BuiltIn {
    /// Whether an inventory can do without it.
    pub(crate) fn is_forgivable(&self) -> bool {
        self.need == Need::Forgivable
    }

    /// Whether its objects stand in namespaces.
    pub(crate) fn is_namespaced(&self) -> bool {
        self.message != Message::Node
    }
}

/// Which message of [`super::message`] an object of a kind is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    Pod,
    PodTemplate,
    Replicated,
    DaemonSet,
    ControllerRevision,
    Job,
    CronJob,
    Node,
}

/// The kinds that are read of every cluster. Pods come first: there are most of them. Of the others, what makes objects comes before
/// what it makes: an image that leaves a CronJob between two lists is then in the Job that was made of it.
pub(crate) const BUILT_IN: [BuiltIn; 10] = [
    built_in("Pod", "pods", "", V1, Need::Always, Message::Pod),
    built_in("Deployment", "deployments", "apps", V1, Need::Always, Message::Replicated),
    built_in("ReplicaSet", "replicasets", "apps", V1, Need::Always, Message::Replicated),
    built_in("StatefulSet", "statefulsets", "apps", V1, Need::Always, Message::Replicated),
    built_in("DaemonSet", "daemonsets", "apps", V1, Need::Always, Message::DaemonSet),
    built_in("ControllerRevision", "controllerrevisions", "apps", V1, Need::Always, Message::ControllerRevision),
    // batch/v1 has CronJobs since Kubernetes 1.21, batch/v1beta1 had them from 1.8 to 1.24 (deprecation guide, "CronJob").
    built_in("CronJob", "cronjobs", "batch", &["v1", "v1beta1"], Need::Forgivable, Message::CronJob),
    built_in("Job", "jobs", "batch", V1, Need::Forgivable, Message::Job),
    built_in("ReplicationController", "replicationcontrollers", "", V1, Need::Forgivable, Message::Replicated),
    built_in("PodTemplate", "podtemplates", "", V1, Need::Forgivable, Message::PodTemplate),
];

/// The nodes, which say what images they hold.
pub(crate) const NODES: BuiltIn = built_in("Node", "nodes", "", V1, Need::Forgivable, Message::Node);

const V1: &[&str] = &["v1"];

const fn built_in(
    kind: &'static str,
    plural: &'static str,
    group: &'static str,
    versions: &'static [&'static str],
    need: Need,
    message: Message,
) -> BuiltIn {
    BuiltIn { resource: Resource::built_in(kind, plural, group), versions, need, message }
}

/// What is escaped in a part of a path and in a value of a query: all but the unreserved characters (RFC 3986, 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text as a part of a path or a value of a query (RFC 3986, 2.1).
pub(crate) fn percent_encoded(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, RESERVED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str) -> Resource {
        BUILT_IN.into_iter().find(|known| known.resource.kind == kind).unwrap().resource
    }

    #[test]
    fn paths_and_names() {
        for (kind, version, namespace, path, name) in [
            ("Pod", "v1", None, "/api/v1/pods", "pods"),
            ("Pod", "v1", Some("shop"), "/api/v1/namespaces/shop/pods", "pods"),
            ("Deployment", "v1", None, "/apis/apps/v1/deployments", "deployments.apps"),
            ("CronJob", "v1beta1", Some("a/b ü"), "/apis/batch/v1beta1/namespaces/a%2Fb%20%C3%BC/cronjobs", "cronjobs.batch"),
        ] {
            assert_eq!((of(kind).path(version, namespace), of(kind).name()), (path.to_owned(), name.to_owned()));
        }
    }

    #[test]
    fn a_kind_goes_by_many_names() {
        for asked in ["CronJob", "cronjob", "cronjobs", "CRONJOBS", "cronjobs.batch", "CronJob.batch", " cronjob.Batch ", "*.batch"] {
            assert!(of("CronJob").is_meant_by(asked), "{asked}");
        }
        for asked in ["Job", "cronjobs.apps", "cronjobs.", "cron", "", "*", "*.apps"] {
            assert!(!of("CronJob").is_meant_by(asked), "{asked}");
        }
        assert!(of("Pod").is_meant_by("pods"));
    }

    #[test]
    fn what_makes_objects_is_read_before_them() {
        let place = |kind: &str| BUILT_IN.iter().position(|known| known.resource.kind == kind).unwrap();
        for (owner, owned) in
            [("CronJob", "Job"), ("Deployment", "ReplicaSet"), ("StatefulSet", "ControllerRevision"), ("DaemonSet", "ControllerRevision")]
        {
            assert!(place(owner) < place(owned), "{owner} {owned}");
        }
    }

    #[test]
    fn pods_and_all_of_apps_are_needed() {
        for known in BUILT_IN {
            let needed = known.resource.kind == "Pod" || known.resource.group == "apps";
            assert_eq!(known.need == Need::Always, needed, "{known:?}");
        }
    }
}
