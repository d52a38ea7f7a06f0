//! The clusters that are asked for, and what each of them said.
//!
//! Owns how flags, environment and kubeconfig come to a plan of what is read (a pod's own cluster only where it is asked for, or where there
//! is no kubeconfig at all: which cluster is meant is never guessed), and how that is read side by side. What fails fails alone: it stands in
//! the inventory as a source that is not complete.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::bail;
use common::inventory::word;

use crate::access::{self, Access, Impersonation};
use crate::args::{Args, Clusters, NAME_OF_CONTEXTS};
use crate::cluster::{self, Answer, Asked};
use crate::connection::{self, Connection};
use crate::contexts;
use crate::kubeconfig::{Files, Hidden, Kubeconfig};
use crate::side_by_side::{self, Outcome};

/// The name of the source that a pod's own cluster is.
const IN_CLUSTER: &str = "in-cluster";
/// How much longer than a context may take it is waited for, so that it can say itself what took so long.
const GRACE: Duration = Duration::from_secs(2);

/// Where to look for what flags do not say.
pub(crate) struct Surroundings<'a> {
    /// A variable of the environment.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The folder of the service account, in a pod.
    pub(crate) service_account: &'a Path,
}

/// Where Kubernetes puts the service account of a pod.
pub(crate) const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What is to be read.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Each of them, in the order of the kubeconfig.
    pub(crate) planned: Vec<Planned>,
    /// What people should know of it.
    pub(crate) notes: Vec<String>,
}

/// One context, or the pod's own cluster.
#[derive(Debug)]
pub(crate) struct Planned {
    name: String,
    is_pods_own: bool,
    server: Option<String>,
    reading: Reading,
}

/// What is done about it.
#[derive(Debug)]
enum Reading {
    /// It is read.
    Access(Box<Access>),
    /// It is the same as this one, which is read already.
    SameAs(String),
    /// It cannot be read.
    Broken(String),
}

/// What was read under one name.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Its name.
    pub(crate) name: String,
    /// Whether it is the pod's own, and no context.
    pub(crate) is_pods_own: bool,
    /// Its API server's URL, if its kubeconfig has one.
    pub(crate) server: Option<String>,
    /// The name of the one that was read in its place.
    pub(crate) same_as: Option<String>,
    /// What it said; of one that failed there is only a problem in it.
    pub(crate) answer: Answer,
    /// What else people should see.
    pub(crate) said: Vec<String>,
}

/// Finds out which clusters are meant.
pub(crate) fn plan(arguments: &Args, surroundings: &Surroundings<'_>) -> anyhow::Result<Plan> {
    let flags = &arguments.clusters;
    let act_as = flags.impersonation();
    let own_name = || arguments.name.clone().filter(|_| !arguments.reads_files()).unwrap_or_else(|| IN_CLUSTER.to_owned());
    let mut plan = Plan::default();
    let clusters = arguments.clusters();
    if matches!(clusters, Clusters::InCluster | Clusters::Both) {
        let Some(pod) = Pod::find(surroundings) else {
            bail!(
                "--in-cluster: this is no pod of a cluster with a service account: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set, or {SERVICE_ACCOUNT}/token is not there"
            );
        };
        plan.planned.push(pod.planned(own_name(), &act_as));
    }
    if !matches!(clusters, Clusters::Contexts | Clusters::Both) {
        return Ok(plan);
    }
    let home = (surroundings.variable)("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let Some(files) = Files::find(flags.kubeconfig.as_deref(), (surroundings.variable)("KUBECONFIG"), home.as_deref()) else {
        let found = if flags.asks_for_contexts() { None } else { Pod::find(surroundings) };
        let Some(pod) = found else { bail!(nothing_to_read(flags.asks_for_contexts())) };
        plan.planned.push(pod.planned(own_name(), &act_as));
        return Ok(plan);
    };
    if arguments.name.is_some() && !arguments.reads_files() && clusters == Clusters::Contexts {
        bail!("{NAME_OF_CONTEXTS}");
    }
    let kubeconfig = files.read().map_err(anyhow::Error::msg)?;
    let names: Vec<&str> = kubeconfig.contexts().collect();
    if names.is_empty() {
        bail!("{} has no context: nothing says which cluster to read", files.shown());
    }
    let chosen = contexts::choose(&names, &flags.context, &flags.skip_context).map_err(anyhow::Error::msg)?;
    plan.notes.extend(hidden_servers(&kubeconfig, &chosen.names));
    plan.notes.extend(chosen.idle.iter().map(|pattern| format!("--skip-context {pattern} matches no context")));
    for name in chosen.names {
        let planned = plan.of(&kubeconfig, name, &act_as);
        plan.planned.push(planned);
    }
    Ok(plan)
}

impl Plan {
    /// What is done about a context.
    fn of(&self, kubeconfig: &Kubeconfig, name: String, act_as: &Impersonation) -> Planned {
        let parts = match kubeconfig.parts(&name) {
            Ok(parts) => parts,
            Err(cause) => return Planned { name, is_pods_own: false, server: None, reading: Reading::Broken(cause) },
        };
        let server = access::shown_server(parts.cluster);
        let reading = match Access::of(parts, act_as) {
            Ok(access) => match self.planned.iter().find(|planned| planned.reads(&access)) {
                Some(same) => Reading::SameAs(same.name.clone()),
                None => Reading::Access(Box::new(access)),
            },
            Err(cause) => Reading::Broken(cause),
        };
        Planned { name, is_pods_own: false, server, reading }
    }
}

impl Planned {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn reads(&self, access: &Access) -> bool {
        matches!(&self.reading, Reading::Access(own) if own.is_same_as(access))
    }
}

/// What a pod knows of its cluster.
struct Pod {
    host: String,
    port: String,
    folder: PathBuf,
}

impl Pod {
    /// As client-go decides whether it is in a cluster (`clientcmd`'s `inClusterClientConfig.Possible`).
    fn find(surroundings: &Surroundings<'_>) -> Option<Self> {
        let variable = |name: &str| (surroundings.variable)(name)?.into_string().ok().filter(|value| !value.is_empty());
        let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
        let folder = surroundings.service_account.to_owned();
        folder.join("token").is_file().then_some(Self { host, port, folder })
    }

    fn planned(self, name: String, act_as: &Impersonation) -> Planned {
        let (server, reading) = match Access::in_cluster(&self.host, &self.port, &self.folder, act_as) {
            Ok(access) => (Some(access::shown(&access.server)), Reading::Access(Box::new(access))),
            Err(cause) => (None, Reading::Broken(cause)),
        };
        Planned { name, is_pods_own: true, server, reading }
    }
}

/// Servers that files mean by names which an earlier file gave to others. kubectl does not see them either; but whoever asks for all clusters
/// of two files that a tool wrote with the same names everywhere would take one of them for both.
fn hidden_servers(kubeconfig: &Kubeconfig, chosen: &[String]) -> Vec<String> {
    let server = |context: &str| access::shown_server(kubeconfig.parts(context).ok()?.cluster);
    let seen: BTreeSet<String> = kubeconfig.contexts().filter_map(server).collect();
    let lost = kubeconfig.hidden().iter().filter(|hidden| chosen.contains(&hidden.context)).filter_map(|Hidden { file, context, cluster }| {
        let lost = access::shown_server(cluster).filter(|lost| !seen.contains(lost))?;
        let read = server(context).map_or_else(|| "is another cluster".to_owned(), |server| format!("is {server}"));
        Some(format!(
            "{lost} is NOT read: {} means it by the context {}, which {read} by the file before it, as to kubectl; give the contexts, clusters and users of \
             each file names of their own, or read each file alone with --kubeconfig",
            file.display(),
            word(context)
        ))
    });
    let lost: BTreeSet<String> = lost.collect();
    lost.into_iter().collect()
}

fn nothing_to_read(asks_for_contexts: bool) -> &'static str {
    if asks_for_contexts {
        "there is no kubeconfig to take contexts from: neither KUBECONFIG nor ~/.kube/config is there; name one with --kubeconfig FILE"
    } else {
        "needs what to read: manifests with -f FILE, -f FOLDER or -f - for standard input, a list of images with --from lines, or a cluster, of which \
         nothing is known: KUBECONFIG is not set, there is no ~/.kube/config and no service account of a pod; name a kubeconfig with --kubeconfig FILE"
    }
}

/// What clusters are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    /// Which images they may still need.
    Images,
    /// Which custom resources would be read for that.
    CustomResources,
}

/// Asks them side by side, and gives what each said, in order. `finished` is told with each one that ends.
pub(crate) fn read(plan: Vec<Planned>, question: Question, asked: &Asked, jobs: u8, limit: Duration, finished: impl Fn()) -> Vec<Cluster> {
    let mut clusters: Vec<Cluster> = Vec::new();
    let mut work = Vec::new();
    for Planned { name, is_pods_own, server, reading } in plan {
        let mut cluster = Cluster { name, is_pods_own, server, same_as: None, answer: Answer::default(), said: Vec::new() };
        match reading {
            Reading::Broken(cause) => cluster.answer.problems.push(cause),
            Reading::SameAs(same) => cluster.same_as = Some(same),
            Reading::Access(access) => {
                if access.insecure {
                    cluster.said.push(
                        "the server's certificate is not looked at (insecure-skip-tls-verify): anybody could answer in its place"
                            .to_owned(),
                    );
                }
                work.push((clusters.len(), *access));
            }
        }
        clusters.push(cluster);
    }
    let places: Vec<usize> = work.iter().map(|(place, _)| *place).collect();
    let asked = asked.clone();
    let outcomes =
        side_by_side::each(work, usize::from(jobs), limit + GRACE, move |(_, access)| ask(access, question, &asked, limit), finished);
    for (place, outcome) in places.into_iter().zip(outcomes) {
        let Some(cluster) = clusters.get_mut(place) else { continue };
        let heard = match outcome {
            Outcome::Done(Ok(heard)) => heard,
            Outcome::Done(Err(failure)) => Heard::only(failure.cause, failure.said),
            Outcome::Late => Heard::only(late(limit), Vec::new()),
            Outcome::Broken(cause) => Heard::only(cause, Vec::new()),
        };
        cluster.answer = heard.answer;
        cluster.said.extend(heard.said);
    }
    clusters
}

/// What came of asking one cluster.
struct Heard {
    answer: Answer,
    /// What else people should see.
    said: Vec<String>,
}

impl Heard {
    /// Nothing but what went wrong.
    fn only(problem: String, said: Vec<String>) -> Self {
        Self { answer: Answer { problems: vec![problem], ..Answer::default() }, said }
    }
}

/// Asks one cluster, in the thread that is its own.
fn ask(access: Access, question: Question, asked: &Asked, limit: Duration) -> Result<Heard, connection::Failure> {
    let begin = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime can be begun: {error}"))?;
    let heard = runtime.block_on(async {
        let Connection { client, proxy } = connection::connect(access, limit)?;
        let answer = async {
            match question {
                Question::Images => cluster::read(&client, asked).await,
                Question::CustomResources => cluster::choose(&client, asked).await,
            }
        };
        let answer = tokio::time::timeout(limit.saturating_sub(begin.elapsed()), answer).await;
        let mut heard = answer.map_or_else(|_| Heard::only(late(limit), Vec::new()), |answer| Heard { answer, said: Vec::new() });
        // A proxy is the last thing that people think of, above all one that a variable names.
        heard
            .said
            .extend(proxy.filter(|_| !heard.answer.problems.is_empty()).map(|proxy| format!("was asked by way of the proxy {proxy}")));
        Ok(heard)
    });
    // A name that is still being looked up is waited for by nobody.
    runtime.shutdown_background();
    heard
}

fn late(limit: Duration) -> String {
    let limit = common::duration::Duration::of(chrono::TimeDelta::from_std(limit).unwrap_or_default());
    format!("was not read within {limit}: give it longer with --timeout, or leave it out with --skip-context")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser as _;

    use super::*;

    /// A machine with these files in its home, where `~` in a value stands for the home, and the token of a service account if wanted.
    struct Machine {
        home: tempfile::TempDir,
        variables: Vec<(&'static str, String)>,
    }

    fn machine(files: &[(&str, &str)], variables: &[(&'static str, &str)]) -> Machine {
        let home = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = home.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let place = home.path().display().to_string();
        let variables =
            variables.iter().map(|(name, value)| (*name, value.replace('~', &place))).chain([("HOME", place.clone())]).collect();
        Machine { home, variables }
    }

    impl Machine {
        fn plan(&self, line: &str) -> Result<Plan, String> {
            let line = line.replace('~', &self.home.path().display().to_string());
            let arguments = Args::try_parse_from(std::iter::once("k8s-images").chain(line.split_whitespace())).unwrap();
            let variable = |name: &str| self.variables.iter().find(|(own, _)| *own == name).map(|(_, value)| OsString::from(value));
            let account = self.home.path().join("account");
            plan(&arguments, &Surroundings { variable: &variable, service_account: &account }).map_err(|error| error.to_string())
        }

        /// `name server what`, or the error.
        fn shown(&self, line: &str) -> Vec<String> {
            let plan = match self.plan(line) {
                Ok(plan) => plan,
                Err(error) => return vec![error],
            };
            let shown = |planned: &Planned| {
                let what = match &planned.reading {
                    Reading::Access(_) => "read".to_owned(),
                    Reading::SameAs(same) => format!("as {same}"),
                    Reading::Broken(cause) => cause.clone(),
                };
                format!("{} {} {what}", planned.name, planned.server.as_deref().unwrap_or("-"))
            };
            plan.planned.iter().map(shown).chain(plan.notes.iter().cloned()).collect()
        }
    }

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    const POD: [(&str, &str); 2] = [("KUBERNETES_SERVICE_HOST", "10.96.0.1"), ("KUBERNETES_SERVICE_PORT", "443")];

    fn kubeconfig(name: &str) -> String {
        format!(
            "kind: Config\nclusters: [{{name: {name}, cluster: {{server: 'https://{name}'}}}}]\nusers: [{{name: {name}, user: {{token: s3cret}}}}]\n\
             contexts: [{{name: {name}, context: {{cluster: {name}, user: {name}}}}}]\n"
        )
    }

    #[test]
    fn which_cluster_is_meant_is_never_guessed() {
        let (one, two, three) = (kubeconfig("one"), kubeconfig("two"), kubeconfig("three"));
        let default = (".kube/config", one.as_str());
        let (second, third) = (("second", two.as_str()), ("third", three.as_str()));
        let account = [("account/token", "t"), ("account/ca.crt", PEM)];
        let pod = "in-cluster https://10.96.0.1 read";
        let with = |files: &[(&'static str, &str)], account_too: bool| -> Vec<(&'static str, String)> {
            let account = account.iter().filter(|_| account_too);
            files.iter().chain(account).map(|(path, text)| (*path, (*text).to_owned())).collect()
        };
        let (set, list) = (("KUBECONFIG", "~/second"), ("KUBECONFIG", ":~/second:~/third"));
        for (files, variables, line, expected) in [
            (with(&[default], false), &[][..], "", &["one https://one read"][..]),
            (with(&[default, second], false), &[set], "", &["two https://two read"]),
            (with(&[second, third], false), &[list], "", &["two https://two read", "three https://three read"]),
            (with(&[default, second, third], false), &[set], "--kubeconfig ~/third", &["three https://three read"]),
            (with(&[default], false), &[("KUBECONFIG", "")], "", &["one https://one read"]),
            // A KUBECONFIG that cannot be read is an error, whatever else is there.
            (with(&[default], true), &[POD[0], POD[1], set], "", &["KUBECONFIG names"]),
            (with(&[default, second], true), &[POD[0], POD[1], list], "", &["KUBECONFIG names"]),
            (with(&[(".kube/config", "[")], true), &POD, "", &["the default kubeconfig names"]),
            (with(&[(".kube/config", "")], true), &POD, "", &["the default kubeconfig ("]),
            (with(&[default], true), &POD, "--kubeconfig ~/none", &["--kubeconfig names"]),
            // The account of a pod: asked for, or nothing else there.
            (with(&[default], true), &POD, "", &["one https://one read"]),
            (with(&[default], true), &POD, "--in-cluster", &[pod]),
            (with(&[default], true), &POD, "--in-cluster --context one", &[pod, "one https://one read"]),
            (with(&[], true), &POD, "", &[pod]),
            (with(&[], true), &POD, "--name here", &["here https://10.96.0.1 read"]),
            (with(&[], true), &POD, "-f a --in-cluster --name files", &[pod]),
            (with(&[], true), &POD, "--context one", &["there is no kubeconfig to take contexts from"]),
            (with(&[], true), &POD[..1], "", &["needs what to read"]),
            (with(&[], false), &POD, "", &["needs what to read"]),
            (with(&[], false), &POD, "--in-cluster", &["--in-cluster: this is no pod"]),
            (
                with(&[("account/token", "t")], false),
                &POD,
                "",
                &["in-cluster - the certificate-authority of the cluster of the pod cannot be read"],
            ),
            (with(&[], false), &[], "", &["needs what to read: manifests with -f FILE"]),
            // Beside files a cluster is asked for by a flag, and not by a variable.
            (with(&[default, second], true), &[POD[0], POD[1], set], "-f a", &[]),
            (with(&[default], true), &POD, "-f a --context o*", &["one https://one read"]),
            (with(&[default], false), &[], "--context one --name x", &["--name names files"]),
            (with(&[default], false), &[], "--name x", &["--name names files"]),
        ] {
            let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
            let shown = machine(&files, variables).shown(line);
            let fits = shown.len() == expected.len() && shown.iter().zip(expected).all(|(shown, expected)| shown.starts_with(expected));
            assert!(fits, "{line} {variables:?}: {shown:#?}");
        }
    }

    #[test]
    fn a_cluster_that_a_file_before_hides_is_told() {
        // As kubeadm and k3s write them: the same names in each.
        let default = |server: &str, context: &str, cluster: &str| {
            format!(
                "clusters: [{{name: {cluster}, cluster: {{server: '{server}'}}}}]\nusers: [{{name: default, user: {{token: s3cret}}}}]\n\
                 contexts: [{{name: {context}, context: {{cluster: {cluster}, user: default}}}}]\n"
            )
        };
        let one = default("https://one:6443", "default", "default");
        let (same, moved) = ("https://one:6443/", "https://two:6443");
        let told = |context: &str| {
            format!(
                "https://two:6443 is NOT read: ~/two means it by the context {context}, which is https://one:6443 by the file before it, as to kubectl; \
                 give the contexts, clusters and users of each file names of their own, or read each file alone with --kubeconfig"
            )
        };
        let read = "default https://one:6443 read".to_owned();
        for (two, line, expected) in [
            (default(moved, "default", "default"), "", vec![read.clone(), told("default")]),
            (default(moved, "default", "other"), "", vec![read.clone(), told("default")]),
            (default(moved, "two", "default"), "", vec![read.clone(), "two https://one:6443 as default".to_owned(), told("two")]),
            (default(moved, "two", "default"), "--skip-context two", vec![read.clone()]),
            (default(moved, "two", "other"), "", vec![read.clone(), "two https://two:6443 read".to_owned()]),
            // Nothing is lost where it is the same server, or another context leads to it.
            (default(same, "default", "default"), "", vec![read.clone()]),
            (
                default(moved, "default", "default")
                    + "---\nclusters: [{name: b, cluster: {server: 'https://two:6443'}}]\ncontexts: [{name: b, context: {cluster: b}}]\n",
                "",
                vec![read.clone(), "b https://two:6443 read".to_owned()],
            ),
            ("contexts: [{name: default, context: {cluster: default, user: x}}]".to_owned(), "", vec![read.clone()]),
        ] {
            let machine = machine(&[("one", &one), ("two", &two)], &[("KUBECONFIG", "~/one:~/two")]);
            let home = machine.home.path().display().to_string();
            let shown: Vec<String> = machine.shown(line).iter().map(|line| line.replace(&home, "~")).collect();
            assert_eq!(shown, expected, "{two} {line}");
        }
    }

    #[test]
    fn what_is_the_same_is_read_once_and_what_is_broken_fails_alone() {
        let config = "clusters:
- {name: prod, cluster: {server: 'https://prod:443/'}}
- {name: alias, cluster: {server: 'https://PROD'}}
- {name: bad, cluster: {server: 'https://me:s3cret@bad', certificate-authority: none.crt}}
- {name: stage, cluster: {server: 'https://stage', certificate-authority: none.crt}}
users:
- {name: admin, user: {token: s3cret}}
- {name: root, user: {token: s3cret}}
- {name: viewer, user: {token: other}}
contexts:
- {name: prod, context: {cluster: prod, user: admin, namespace: shop}}
- {name: prod-2, context: {cluster: prod, user: admin, namespace: web}}
- {name: viewer, context: {cluster: prod, user: viewer}}
- {name: alias, context: {cluster: alias, user: root}}
- {name: gone, context: {cluster: prod, user: nobody}}
- {name: nowhere, context: {cluster: nowhere, user: admin}}
- {name: bad, context: {cluster: bad, user: admin}}
- {name: stage, context: {cluster: stage, user: admin}}
- {name: nobody, context: {cluster: prod}}
";
        let machine = machine(&[(".kube/config", config)], &[]);
        let none = machine.home.path().join(".kube/none.crt").display().to_string();
        assert_eq!(
            machine.shown("--skip-context old*"),
            [
                "prod https://prod read",
                "prod-2 https://prod as prod",
                "viewer https://prod read",
                "alias https://prod as prod",
                "gone https://prod the context names the user nobody, and the kubeconfig has no user of that name",
                "nowhere - the context names the cluster nowhere, and the kubeconfig has no cluster of that name",
                "bad https://bad the server https://bad of the cluster bad has a user and password before its host: write them into the user's \
                 entry, as username and password",
                &format!(
                    "stage https://stage the certificate-authority of the cluster stage cannot be read: {none}: No such file or directory (os error 2)"
                ),
                "nobody https://prod read",
                "--skip-context old* matches no context",
            ]
        );
        assert_eq!(machine.shown("--context alias --context viewer"), ["viewer https://prod read", "alias https://prod read"]);
        assert!(!format!("{:?}", machine.plan("").unwrap()).contains("s3cret"));
    }

    #[test]
    fn a_server_that_is_not_there_is_said_and_the_others_are_read() {
        // A port of which nobody listens: it was free a moment ago, and is the machine's own.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = format!(
            "clusters: [{{name: c, cluster: {{server: 'http://{free}'}}}}, {{name: d, cluster: {{server: 'nothing'}}}}]
users: [{{name: u, user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, command: no-such-plugin, installHint: get it}}}}}}, {{name: o, user: {{auth-provider: {{name: oidc, config: {{id-token: s3cret, idp-issuer-url: 'http://{free}'}}}}}}}}]
contexts: [{{name: down, context: {{cluster: c}}}}, {{name: broken, context: {{cluster: d}}}}, {{name: plugin, context: {{cluster: c, user: u}}}}, {{name: oidc, context: {{cluster: c, user: o}}}}]
"
        );
        let plan = machine(&[(".kube/config", &config)], &[]).plan("").unwrap();
        let clusters = read(plan.planned, Question::Images, &Asked::default(), 2, Duration::from_secs(60), || {});
        let problems: Vec<_> = clusters.iter().map(|cluster| (cluster.name.as_str(), cluster.answer.problems.len())).collect();
        assert_eq!(problems, [("down", 1), ("broken", 1), ("plugin", 1), ("oidc", 1)]);
        assert!(clusters[2].answer.problems[0].contains("no-such-plugin of the user u is not there; its kubeconfig says: get it"));
        assert_eq!(clusters[3].answer.problems, ["the credentials cannot be used: failed OIDC: invalid ID token: not a valid JWT token"]);
    }

    #[test]
    fn a_server_that_never_answers_is_given_up() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let config = format!(
            "clusters: [{{name: c, cluster: {{server: 'http://{}'}}}}]\ncontexts: [{{name: silent, context: {{cluster: c}}}}]\n",
            silent.local_addr().unwrap()
        );
        let plan = machine(&[(".kube/config", &config)], &[]).plan("").unwrap();
        let clusters = read(plan.planned, Question::Images, &Asked::default(), 2, Duration::from_millis(200), || {});
        assert!(clusters[0].answer.problems[0].starts_with("was not read within"), "{:?}", clusters[0].answer.problems);
    }
}
