//! The command line: what is read, from which clusters, and how much of them.
//!
//! Owns the flags and what they ask together; nothing is looked at here but the flags themselves. Which contexts of which kubeconfig
//! these come to is for `clusters`.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{ArgAction, Parser, ValueEnum};
use common::cli::{CommonArgs, CommonFlags};
use common::duration::Duration;
use common::record::SourceKind;

use crate::access::Impersonation;
use crate::cluster::{Asked, Form};

/// Lists every container image that clusters and hosts may still need, as an inventory of what is in use
#[derive(Debug, Parser)]
#[command(before_help = "Examples:
  k8s-images > in-use.jsonl
  k8s-images --context 'prod-*' --context stage > in-use.jsonl
  k8s-images --skip-context 'kind-*' > in-use.jsonl
  k8s-images --in-cluster --name prod > in-use.jsonl
  k8s-images -f overlays/prod --name prod > in-use.jsonl
  helm template shop charts/shop | k8s-images -f - --name shop > in-use.jsonl
  docker compose config --images | k8s-images --from lines - --name ci > in-use.jsonl
  k8s-images --from compose /srv/shop/compose.yaml --name shop > in-use.jsonl
  k8s-images --from docker > in-use.jsonl                             all containers of this host
  k8s-images --generate rbac | kubectl apply -f -                     the account that it needs
")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) clusters: ClusterFlags,
    /// Kubernetes manifests: a file, a folder of them, or - for standard input; repeat it for several
    #[arg(long = "filename", short = 'f', value_name = "FILE|DIR|-", conflicts_with = "from", help_heading = "Files")]
    pub(crate) filename: Vec<PathBuf>,
    /// Read the folders within a folder too
    #[arg(long, short = 'R', conflicts_with = "from", help_heading = "Files")]
    pub(crate) recursive: bool,
    /// Read the operands as something else than manifests
    #[arg(long, value_enum, value_name = "KIND", help_heading = "Files")]
    pub(crate) from: Option<From>,
    /// With --from: what to read, a file or - for standard input
    #[arg(value_name = "FILE|-", help_heading = "Files")]
    pub(crate) operands: Vec<PathBuf>,
    /// The name of the source, for --require-source and for people [default: each operand as it was given; in-cluster; the engine's host]
    #[arg(long, value_name = "NAME", help_heading = "Files", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) common: CommonFlags,
}

/// What operands may hold, if not manifests.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum From {
    /// Image references, one a line
    Lines,
    /// Compose files; those under one --name are one project
    Compose,
    /// The containers of this host's engine, which DOCKER_HOST or docker's context names; there are no operands
    Docker,
}

/// The flags about clusters.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ClusterFlags {
    /// Only contexts of this name, or that match this glob, in which * stands for anything; repeat it for several [default: all, and
    /// none beside -f or --from]
    #[arg(long, value_name = "GLOB", help_heading = "Clusters")]
    pub(crate) context: Vec<String>,
    /// Not contexts of this name, or that match this glob; repeat it for several
    #[arg(long, value_name = "GLOB", help_heading = "Clusters")]
    pub(crate) skip_context: Vec<String>,
    /// The kubeconfig [default: the files of KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE", help_heading = "Clusters")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The cluster that this pod runs in, as the pod's service account
    #[arg(long, help_heading = "Clusters")]
    pub(crate) in_cluster: bool,
    /// Act as this user, such as system:serviceaccount:registry:inventory
    #[arg(long = "as", value_name = "USER", help_heading = "Clusters", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) act_as: Option<String>,
    /// With --as: as a member of this group; repeat it for several
    #[arg(long = "as-group", value_name = "GROUP", requires = "act_as", help_heading = "Clusters")]
    pub(crate) act_as_group: Vec<String>,
    /// Contexts read at once
    #[arg(long, short, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64), help_heading = "Clusters")]
    pub(crate) jobs: u8,
    /// How long a context may take as a whole, its credential plugin included
    #[arg(long, value_name = "DURATION", default_value = "5min", value_parser = some_time, help_heading = "Clusters")]
    pub(crate) timeout: Duration,

    /// Only this namespace; repeat it for several. The inventory is partial then
    #[arg(long, short, value_name = "NAMESPACE", value_parser = namespace, help_heading = "What of a cluster")]
    pub(crate) namespace: Vec<String>,
    /// Only objects with these labels, such as app=web,tier!=test. The inventory is partial then
    #[arg(long, short = 'l', value_name = "LABELS", help_heading = "What of a cluster", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) selector: Option<String>,
    /// Do not search custom resources for pod templates and images
    #[arg(long = "no-custom-resources", action = ArgAction::SetFalse, help_heading = "What of a cluster")]
    pub(crate) custom_resources: bool,
    /// Read the releases that helm rollback would need too; they are in secrets, which the account must be allowed to read
    #[arg(long, help_heading = "What of a cluster")]
    pub(crate) helm_history: bool,
    /// Read the images that the nodes hold too
    #[arg(long, help_heading = "What of a cluster")]
    pub(crate) nodes: bool,
    /// Accept that this kind of object, such as cronjobs.batch, cannot be read; repeat it for several
    #[arg(long, value_name = "KIND", help_heading = "What of a cluster")]
    pub(crate) allow_missing: Vec<String>,
    /// How the kinds of Kubernetes itself are asked for; json to find out whether protobuf is the trouble
    #[arg(long, value_enum, value_name = "FORM", default_value_t, hide = true, help_heading = "What of a cluster")]
    pub(crate) encoding: Encoding,
}

/// How a server encodes what it answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Encoding {
    /// As protobuf where it can, which is smaller and faster to read
    #[default]
    Protobuf,
    /// As JSON
    Json,
}

/// Which clusters are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clusters {
    /// None: there are files to read, and no flag names a cluster.
    None,
    /// Contexts of a kubeconfig; the pod's own cluster where there is no kubeconfig and nobody asked for one.
    Contexts,
    /// The cluster that the pod runs in.
    InCluster,
    /// Both.
    Both,
}

impl Args {
    /// Which clusters are read.
    pub(crate) fn clusters(&self) -> Clusters {
        let flags = &self.clusters;
        match (flags.asks_for_contexts(), flags.in_cluster) {
            (true, true) => Clusters::Both,
            (true, false) => Clusters::Contexts,
            (false, true) => Clusters::InCluster,
            (false, false) if self.reads_files() => Clusters::None,
            (false, false) => Clusters::Contexts,
        }
    }

    /// Whether it is given anything else than clusters.
    pub(crate) fn reads_files(&self) -> bool {
        !self.filename.is_empty() || self.from.is_some()
    }

    /// What is to be read of files, and as what.
    pub(crate) fn files(&self) -> anyhow::Result<(SourceKind, &[PathBuf])> {
        let (kind, operands) = match self.from {
            Some(From::Lines) if self.operands.is_empty() => {
                bail!(
                    "--from lines needs the file to read, or - for standard input: docker compose config --images | k8s-images --from lines -"
                )
            }
            Some(From::Lines) => (SourceKind::Lines, &self.operands),
            Some(From::Compose) if self.operands.is_empty() => {
                bail!(
                    "--from compose needs the file to read, or - for standard input: docker compose --profile '*' config | k8s-images --from compose -"
                )
            }
            Some(From::Compose) => (SourceKind::Compose, &self.operands),
            Some(From::Docker) => {
                if let Some(stray) = self.operands.first() {
                    bail!("what is {}? --from docker asks the engine that DOCKER_HOST or docker's context names", stray.display());
                }
                (SourceKind::Docker, &self.operands)
            }
            None => (SourceKind::Files, &self.filename),
        };
        if let (None, Some(stray)) = (self.from, self.operands.first()) {
            bail!(
                "what is {0}? Manifests are each given with -f (-f {0}), lists of images with --from lines, Compose files with --from compose",
                stray.display()
            );
        }
        if operands.iter().filter(|operand| is_standard_input(operand)).count() > 1 {
            bail!("standard input (-) is named twice, and can be read only once");
        }
        Ok((kind, operands))
    }

    /// Refuses flags that would do nothing, and seem to.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.common.generate() == Some(RBAC) && self.reads_files() {
            bail!("--generate {RBAC} is about clusters: files need no account");
        }
        let clusters = self.clusters();
        if let (Clusters::None, Some(flag)) = (clusters, self.clusters.of_a_cluster()) {
            bail!("{flag} is about clusters, and only files are read: name a cluster with --context, --kubeconfig or --in-cluster too");
        }
        if self.name.is_some() && !self.reads_files() && matches!(clusters, Clusters::Contexts) && self.clusters.asks_for_contexts() {
            bail!("{NAME_OF_CONTEXTS}");
        }
        Ok(())
    }
}

/// What `--name` cannot do.
pub(crate) const NAME_OF_CONTEXTS: &str = "--name names files, or the cluster of --in-cluster; contexts are sources under their own names";

/// What `--generate` prints of this tool alone.
pub(crate) const RBAC: &str = "rbac";

impl CommonArgs for Args {
    const GENERATES: &'static [(&'static str, &'static str)] =
        &[(RBAC, "The least that an account must be granted for the flags beside it, for kubectl apply -f -")];

    fn common(&self) -> &CommonFlags {
        &self.common
    }
}

impl ClusterFlags {
    /// Whether a flag is there that speaks of contexts. A `KUBECONFIG` that happens to be set asks for nothing.
    pub(crate) fn asks_for_contexts(&self) -> bool {
        !self.context.is_empty() || !self.skip_context.is_empty() || self.kubeconfig.is_some()
    }

    /// Whether only some of each cluster is read.
    pub(crate) fn is_narrowed(&self) -> bool {
        !self.namespace.is_empty() || self.selector.is_some()
    }

    /// What is asked of each cluster.
    pub(crate) fn asked(&self) -> Asked {
        Asked {
            namespaces: self.namespace.clone(),
            selector: self.selector.clone(),
            custom_resources: self.custom_resources,
            helm_history: self.helm_history,
            nodes: self.nodes,
            allow_missing: self.allow_missing.clone(),
            form: match self.encoding {
                Encoding::Protobuf => Form::Protobuf,
                Encoding::Json => Form::Json,
            },
        }
    }

    /// Whom to act as.
    pub(crate) fn impersonation(&self) -> Impersonation {
        Impersonation { user: self.act_as.clone(), groups: self.act_as_group.clone() }
    }

    /// The first flag that means nothing without a cluster.
    fn of_a_cluster(&self) -> Option<&'static str> {
        let flags = [
            (!self.namespace.is_empty(), "--namespace"),
            (self.selector.is_some(), "--selector"),
            (!self.custom_resources, "--no-custom-resources"),
            (self.helm_history, "--helm-history"),
            (self.nodes, "--nodes"),
            (!self.allow_missing.is_empty(), "--allow-missing"),
            (self.encoding != Encoding::default(), "--encoding"),
            (self.act_as.is_some(), "--as"),
        ];
        flags.into_iter().find_map(|(given, flag)| given.then_some(flag))
    }
}

/// Whether an operand is standard input.
pub(crate) fn is_standard_input(operand: &Path) -> bool {
    operand == Path::new("-")
}

fn some_time(text: &str) -> Result<Duration, String> {
    match text.parse::<Duration>() {
        Ok(duration) if duration.is_zero() => Err("nothing can be read in no time".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(error.to_string()),
    }
}

/// The name of a namespace, a label of RFC 1123. A server has nothing in a namespace that cannot be, and says so by an empty list.
fn namespace(text: &str) -> Result<String, String> {
    let plain = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    let fits = text.len() <= 63 && text.starts_with(plain) && text.ends_with(plain) && text.chars().all(|sign| plain(sign) || sign == '-');
    if fits {
        Ok(text.to_owned())
    } else {
        Err("no namespace has such a name: small letters, digits and hyphens; repeat the flag for several".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Args {
        Args::try_parse_from(std::iter::once("k8s-images").chain(line.split_whitespace()))
            .unwrap_or_else(|error| unreachable!("{line}: {error}"))
    }

    #[test]
    fn a_cluster_is_read_where_it_is_asked_for() {
        for (line, expected) in [
            ("", Clusters::Contexts),
            ("--context a", Clusters::Contexts),
            ("--skip-context a", Clusters::Contexts),
            ("--kubeconfig a", Clusters::Contexts),
            ("--in-cluster", Clusters::InCluster),
            ("--in-cluster --context a", Clusters::Both),
            ("-f a", Clusters::None),
            ("--from lines a", Clusters::None),
            ("-f a --context a", Clusters::Contexts),
            ("-f a --skip-context a", Clusters::Contexts),
            ("--from lines a --kubeconfig a", Clusters::Contexts),
            ("-f a --in-cluster", Clusters::InCluster),
            ("-f a --in-cluster --kubeconfig a", Clusters::Both),
        ] {
            assert_eq!(parse(line).clusters(), expected, "{line}");
        }
    }

    #[test]
    fn flags_that_would_do_nothing_are_refused() {
        for (line, expected) in [
            ("-f a -n shop", Some("--namespace is about clusters")),
            ("-f a -l app=web", Some("--selector is about clusters")),
            ("-f a --no-custom-resources", Some("--no-custom-resources is about clusters")),
            ("--from lines a --helm-history", Some("--helm-history is about clusters")),
            ("-f a --nodes", Some("--nodes is about clusters")),
            ("-f a --allow-missing x", Some("--allow-missing is about clusters")),
            ("-f a --as x", Some("--as is about clusters")),
            ("-f a -n shop --context x", None),
            ("--context x --name y", Some("--name names files")),
            ("--in-cluster --name y", None),
            ("-f a --context x --name y", None),
            ("--name y", None),
            ("--generate rbac -f a", Some("--generate rbac is about clusters")),
            ("--generate rbac -n shop --nodes", None),
        ] {
            let error = parse(line).check().err().map(|error| error.to_string());
            assert_eq!(error.is_some(), expected.is_some(), "{line}: {error:?}");
            assert!(error.unwrap_or_default().contains(expected.unwrap_or_default()), "{line}");
        }
    }

    #[test]
    fn values_that_cannot_be_are_refused() {
        for line in [
            "-n Shop",
            "-n a,b",
            "-n -a",
            "-n a.b",
            "--timeout 0s",
            "--timeout 5m",
            "-j 0",
            "--as-group x",
            "--kubeconfig=",
            "-l=",
            "--as=",
        ] {
            let arguments = std::iter::once("k8s-images").chain(line.split_whitespace());
            assert!(Args::try_parse_from(arguments).is_err(), "{line}");
        }
        let asked = parse("-n shop -n a-1 -l app=web --no-custom-resources --nodes --allow-missing cronjobs.batch").clusters.asked();
        assert_eq!((asked.namespaces.len(), asked.selector.as_deref(), asked.allow_missing.len()), (2, Some("app=web"), 1));
        assert!(!asked.custom_resources && asked.nodes && !asked.helm_history && parse("").clusters.asked().custom_resources);
    }
}
