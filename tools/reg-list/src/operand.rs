//! What the command line names: registries and prefixes, and to which registry user and password belong. Pure.

use anyhow::{Context as _, bail};
use common::reference::{Host, Repository};

/// One registry to be listed: a section of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) host: Host,
    /// An operand said `http://`.
    pub(crate) plain_http: bool,
    /// What of it.
    pub(crate) part: Part,
}

/// What of a registry is to be listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// What its catalog names.
    All,
    /// What its catalog names at or below these prefixes.
    Below(Vec<Repository>),
    /// Just these repositories; the catalog is not asked for.
    Named(Vec<Repository>),
}

impl Part {
    /// The prefixes of the header's scope.
    pub(crate) fn prefixes(&self) -> Vec<String> {
        match self {
            Self::All => Vec::new(),
            Self::Below(repositories) | Self::Named(repositories) => repositories.iter().map(ToString::to_string).collect(),
        }
    }
}

/// `REGISTRY[/PREFIX]`, with or without a scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operand {
    pub(crate) host: Host,
    plain_http: bool,
    prefix: Option<Repository>,
}

impl Operand {
    /// Reads `REGISTRY[/PREFIX]`.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let (plain_http, name) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(name), _) => (true, name),
            (None, Some(name)) => (false, name),
            (None, None) => (false, text),
        };
        let (host, prefix) =
            name.trim_end_matches('/').split_once('/').map_or((name.trim_end_matches('/'), ""), |(host, prefix)| (host, prefix));
        let host = host.parse()?;
        let prefix = if prefix.is_empty() {
            None
        } else {
            // A prefix is whole path components, so it has the form of a repository's name.
            Some(
                prefix
                    .parse()
                    .with_context(|| format!("{text}: a prefix is whole path components, without a tag; for a pattern use --repository"))?,
            )
        };
        Ok(Self { host, plain_http, prefix })
    }
}

/// Puts operands together, one section for each registry, in the order in which registries were named first.
pub(crate) fn by_registry(operands: &[Operand]) -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> = Vec::new();
    for operand in operands {
        let place = wanted.iter().position(|wanted| wanted.host == operand.host);
        match place.and_then(|place| wanted.get_mut(place)) {
            None => {
                let part = operand.prefix.clone().map_or(Part::All, |prefix| Part::Below(vec![prefix]));
                wanted.push(Wanted { host: operand.host.clone(), plain_http: operand.plain_http, part });
            }
            Some(wanted) => {
                wanted.plain_http |= operand.plain_http;
                match (&mut wanted.part, &operand.prefix) {
                    (Part::Below(prefixes), Some(prefix)) if prefixes.contains(prefix) => {}
                    (Part::Below(prefixes), Some(prefix)) => prefixes.push(prefix.clone()),
                    // The whole registry holds every part of it.
                    (part, _) => *part = Part::All,
                }
            }
        }
    }
    wanted
}

/// The registry that user and password belong to: the one named as operand, else the one named by `--registry` or
/// `REG_REGISTRY`. Where several are operands, only the latter can tell which.
pub(crate) fn bound_host(operands: &[Operand], registry: Option<&Operand>, has_user: bool) -> anyhow::Result<Option<Host>> {
    let named = by_registry(operands);
    match (named.as_slice(), registry) {
        ([only], _) => Ok(Some(only.host.clone())),
        (_, Some(registry)) => Ok(Some(registry.host.clone())),
        ([], None) => Ok(None),
        (several, None) if has_user => {
            let hosts: Vec<&str> = several.iter().map(|wanted| wanted.host.as_str()).collect();
            bail!("user and password belong to one registry, and {} are named: say which with --registry HOST", hosts.join(" and "))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operands(texts: &[&str]) -> Vec<Operand> {
        texts.iter().map(|text| Operand::parse(text).unwrap()).collect()
    }

    #[test]
    fn operands_are_read_with_or_without_a_scheme() {
        for (text, host, plain_http, prefix) in [
            ("registry.example.com", "registry.example.com", false, None),
            ("registry.example.com/", "registry.example.com", false, None),
            ("https://Registry.example.com:443/team", "registry.example.com", false, Some("team")),
            ("http://localhost:5000/team/app/", "localhost:5000", true, Some("team/app")),
            ("registry-1.docker.io/library", "docker.io", false, Some("library")),
            ("[::1]:5000/a", "[::1]:5000", false, Some("a")),
        ] {
            let prefix = prefix.map(|prefix| prefix.parse().unwrap());
            assert_eq!(Operand::parse(text).unwrap(), Operand { host: host.parse().unwrap(), plain_http, prefix }, "{text}");
        }
        for bad in [
            "",
            "/team",
            "registry.example.com/Team",
            "registry.example.com/team:1",
            "registry.example.com/te*",
            "a b",
            "ftp://x",
            "r//a",
            "-",
        ] {
            assert!(Operand::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_registry_is_one_section() {
        let wanted =
            by_registry(&operands(&["b.example.com/x", "a.example.com/y", "http://b.example.com/z", "b.example.com/x", "a.example.com"]));
        let seen: Vec<_> = wanted.iter().map(|wanted| (wanted.host.as_str(), wanted.plain_http, wanted.part.prefixes())).collect();
        assert_eq!(seen, [("b.example.com", true, vec!["x".to_owned(), "z".to_owned()]), ("a.example.com", false, vec![])]);
        assert_eq!(wanted[1].part, Part::All);
        assert_eq!(by_registry(&operands(&["a.example.com", "a.example.com/x"]))[0].part, Part::All);
    }

    #[test]
    fn user_and_password_belong_to_one_registry() {
        let other = Operand::parse("other.example.com").unwrap();
        let host = |texts: &[&str], registry: Option<&Operand>| {
            bound_host(&operands(texts), registry, true).map(|host| host.map(|host| host.to_string()))
        };
        assert_eq!(host(&["a.example.com/x", "a.example.com/y"], None).unwrap().as_deref(), Some("a.example.com"));
        assert_eq!(
            host(&["a.example.com"], Some(&other)).unwrap().as_deref(),
            Some("a.example.com"),
            "what is named as operand comes first"
        );
        assert_eq!(host(&[], Some(&other)).unwrap().as_deref(), Some("other.example.com"));
        assert_eq!(host(&["a.example.com", "b.example.com"], Some(&other)).unwrap().as_deref(), Some("other.example.com"));
        assert_eq!(host(&[], None).unwrap(), None);
        assert!(host(&["a.example.com", "b.example.com"], None).unwrap_err().to_string().contains("--registry"));
        assert_eq!(bound_host(&operands(&["a.example.com", "b.example.com"]), None, false).unwrap(), None);
    }
}
