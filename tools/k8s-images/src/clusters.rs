//! The clusters that are asked for, and what each of them said.
//!
//! Owns how flags, environment and kubeconfig come to a plan of what is read (a pod's own cluster only where it is asked for, or where there
//! is no kubeconfig at all: which cluster is meant is never guessed), and how that is read side by side. What fails fails alone: it stands in
//! the inventory as a source that is not complete.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::access::{self, Access, Impersonation};
use crate::args::{Args, Clusters, NAME_OF_CONTEXTS};
use crate::cluster::{self, Answer, Asked};
use crate::connection;
use crate::contexts;
use crate::kubeconfig::{Files, Kubeconfig};
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
            Err(cause) => return Planned { name, server: None, reading: Reading::Broken(cause) },
        };
        let server = access::shown_server(parts.cluster);
        let reading = match Access::of(parts, act_as) {
            Ok(access) => match self.planned.iter().find(|planned| planned.reads(&access)) {
                Some(same) => Reading::SameAs(same.name.clone()),
                None => Reading::Access(Box::new(access)),
            },
            Err(cause) => Reading::Broken(cause),
        };
        Planned { name, server, reading }
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
        match Access::in_cluster(&self.host, &self.port, &self.folder, act_as) {
            Ok(access) => Planned { name, server: Some(access::shown(&access.server)), reading: Reading::Access(Box::new(access)) },
            Err(cause) => Planned { name, server: None, reading: Reading::Broken(cause) },
        }
    }
}

fn nothing_to_read(asks_for_contexts: bool) -> &'static str {
    if asks_for_contexts {
        "there is no kubeconfig to take contexts from: neither KUBECONFIG nor ~/.kube/config is there; name one with --kubeconfig FILE"
    } else {
        "needs what to read: manifests with -f FILE, -f FOLDER or -f - for standard input, a list of images with --from lines, or a cluster, of which \
         nothing is known: KUBECONFIG is not set, there is no ~/.kube/config and no service account of a pod; name a kubeconfig with --kubeconfig FILE"
    }
}

/// Reads them side by side, and gives what each said, in order. `finished` is told with each one that ends.
pub(crate) fn read(plan: Vec<Planned>, asked: &Asked, jobs: u8, limit: Duration, finished: impl Fn()) -> Vec<Cluster> {
    let mut clusters: Vec<Cluster> = Vec::new();
    let mut work = Vec::new();
    for Planned { name, server, reading } in plan {
        let mut cluster = Cluster { name, server, same_as: None, answer: Answer::default(), said: Vec::new() };
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
    let outcomes = side_by_side::each(work, usize::from(jobs), limit + GRACE, move |(_, access)| ask(access, &asked, limit), finished);
    for (place, outcome) in places.into_iter().zip(outcomes) {
        let Some(cluster) = clusters.get_mut(place) else { continue };
        let failure = match outcome {
            Outcome::Done(Ok(answer)) => {
                cluster.answer = answer;
                continue;
            }
            Outcome::Done(Err(failure)) => failure,
            Outcome::Late => late(limit).into(),
            Outcome::Broken(cause) => cause.into(),
        };
        cluster.answer.problems.push(failure.cause);
        cluster.said.extend(failure.said);
    }
    clusters
}

/// Asks one cluster, in the thread that is its own.
fn ask(access: Access, asked: &Asked, limit: Duration) -> Result<Answer, connection::Failure> {
    let begin = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime can be begun: {error}"))?;
    let answer = runtime.block_on(async {
        let client = connection::client(access, limit)?;
        let left = limit.saturating_sub(begin.elapsed());
        tokio::time::timeout(left, cluster::read(&client, asked)).await.map_err(|_| late(limit).into())
    });
    // A name that is still being looked up is waited for by nobody.
    runtime.shutdown_background();
    answer
}

fn late(limit: Duration) -> String {
    let limit = common::duration::Duration::of(chrono::TimeDelta::from_std(limit).unwrap_or_default());
    format!("was not read within {limit}: give it longer with --timeout, or leave it out with --skip-context")
}
