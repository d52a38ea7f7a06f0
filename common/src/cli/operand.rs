//! What the command line names: registries and prefixes, and to which registry user and password belong. No input, no output.

use crate::reference::{DOCKER_HUB, Host, Repository};
use crate::registry::Settings;
use anyhow::{Context as _, bail};

/// One registry to be asked, and what of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its host.
    pub host: Host,
    /// What an operand said to speak.
    pub scheme: Scheme,
    /// What of it.
    pub part: Part,
}

/// What is to be spoken to a registry. Of two that differ the later counts here: TLS is given up by no slip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// Nothing was said.
    Unsaid,
    /// `http://`
    Http,
    /// `https://`
    Https,
}

impl Scheme {
    /// The client's settings with what was said here.
    #[must_use]
    pub fn applied_to(self, settings: &Settings) -> Settings {
        let mut settings = settings.clone();
        match self {
            Self::Unsaid => {}
            Self::Http => settings.plain_http = true,
            Self::Https => (settings.plain_http, settings.tls_only) = (false, true),
        }
        settings
    }
}

/// What of a registry is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// What its catalog names.
    All,
    /// What its catalog names at or below these prefixes.
    Below(Vec<Repository>),
    /// Just these repositories; the catalog is not asked for.
    Named(Vec<Repository>),
}

impl Part {
    /// The prefixes of the header's scope.
    #[must_use]
    pub fn prefixes(&self) -> Vec<String> {
        match self {
            Self::All => Vec::new(),
            Self::Below(repositories) | Self::Named(repositories) => repositories.iter().map(ToString::to_string).collect(),
        }
    }
}

/// `REGISTRY[/PREFIX]`, with or without a scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operand {
    /// The registry.
    pub host: Host,
    /// What it says to speak.
    pub scheme: Scheme,
    /// What of the registry, where it is not all of it.
    pub prefix: Option<Repository>,
}

impl Operand {
    /// Reads `REGISTRY[/PREFIX]`.
    ///
    /// # Errors
    /// What is neither, without a password that stands in it.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let (scheme, name) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(name), _) => (Scheme::Http, name),
            (None, Some(name)) => (Scheme::Https, name),
            (None, None) => (Scheme::Unsaid, text),
        };
        if let Some((_, named)) = name.rsplit_once('@') {
            // What stands before it may be a password, which is shown to nobody.
            let named: String = named.chars().take(100).collect();
            bail!(
                "the operand that ends with {named:?} has an '@', and it is neither an image nor does it take a user: name the registry as \
                 HOST or HOST/PREFIX, and set REG_USER and REG_PASSWORD"
            );
        }
        let (host, prefix) =
            name.trim_end_matches('/').split_once('/').map_or((name.trim_end_matches('/'), ""), |(host, prefix)| (host, prefix));
        let host: Host = host.parse()?;
        // By Docker's rule a single component is in `library`, which is no prefix of its own there.
        let library = format!("library/{prefix}");
        let is_short = host.as_str() == DOCKER_HUB && !prefix.is_empty() && prefix != "library" && !prefix.contains('/');
        let prefix = if is_short { library.as_str() } else { prefix };
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
        Ok(Self { host, scheme, prefix })
    }

    /// What it names, and nothing else of that registry.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        let part = self.prefix.clone().map_or(Part::All, |prefix| Part::Below(vec![prefix]));
        Wanted { host: self.host.clone(), scheme: self.scheme, part }
    }
}

/// Puts operands together, one section for each registry, in the order in which registries were named first.
#[must_use]
pub fn by_registry(operands: &[Operand]) -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> = Vec::new();
    for operand in operands {
        let place = wanted.iter().position(|wanted| wanted.host == operand.host);
        match place.and_then(|place| wanted.get_mut(place)) {
            None => wanted.push(operand.wanted()),
            Some(wanted) => {
                wanted.scheme = wanted.scheme.max(operand.scheme);
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

/// The registry that user and password belong to: the one named by `--registry` or `REG_REGISTRY`, for which they were set; else the
/// only one named as operand.
///
/// # Errors
/// A user where several registries are named and nobody said whose user it is.
pub fn bound_host(operands: &[Operand], registry: Option<&Operand>, has_user: bool) -> anyhow::Result<Option<Host>> {
    let named = by_registry(operands);
    match (named.as_slice(), registry) {
        (_, Some(registry)) => Ok(Some(registry.host.clone())),
        ([only], None) => Ok(Some(only.host.clone())),
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
        for (text, host, scheme, prefix) in [
            ("registry.example.com", "registry.example.com", Scheme::Unsaid, None),
            ("registry.example.com/", "registry.example.com", Scheme::Unsaid, None),
            ("https://Registry.example.com:443/team", "registry.example.com", Scheme::Https, Some("team")),
            ("http://localhost:5000/team/app/", "localhost:5000", Scheme::Http, Some("team/app")),
            ("registry-1.docker.io/library", "docker.io", Scheme::Unsaid, Some("library")),
            ("docker.io/nginx", "docker.io", Scheme::Unsaid, Some("library/nginx")),
            ("docker.io/library/nginx", "docker.io", Scheme::Unsaid, Some("library/nginx")),
            ("docker.io/bitnami/redis/", "docker.io", Scheme::Unsaid, Some("bitnami/redis")),
            ("docker.io", "docker.io", Scheme::Unsaid, None),
            ("quay.io/nginx", "quay.io", Scheme::Unsaid, Some("nginx")),
            ("[::1]:5000/a", "[::1]:5000", Scheme::Unsaid, Some("a")),
        ] {
            let prefix = prefix.map(|prefix| prefix.parse().unwrap());
            assert_eq!(Operand::parse(text).unwrap(), Operand { host: host.parse().unwrap(), scheme, prefix }, "{text}");
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
    fn a_password_in_an_operand_is_not_shown() {
        for text in ["http://u:s3cret@r.example.com", "u:s3cret@r.example.com/a", "https://u:s3c/s3cret@r.example.com/a:1", "s3cret@r/A"] {
            let error = format!("{:#}", Operand::parse(text).unwrap_err());
            assert!(!error.contains("s3c") && error.contains("REG_PASSWORD"), "{error}");
        }
    }

    #[test]
    fn each_registry_is_one_section() {
        let wanted = by_registry(&operands(&[
            "b.example.com/x",
            "https://a.example.com/y",
            "http://b.example.com/z",
            "b.example.com/x",
            "http://a.example.com",
        ]));
        let seen: Vec<_> = wanted.iter().map(|wanted| (wanted.host.as_str(), wanted.scheme, wanted.part.prefixes())).collect();
        assert_eq!(seen, [("b.example.com", Scheme::Http, vec!["x".to_owned(), "z".to_owned()]), ("a.example.com", Scheme::Https, vec![])]);
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
            Some("other.example.com"),
            "a password that was set for one registry is given to no other"
        );
        assert_eq!(host(&[], Some(&other)).unwrap().as_deref(), Some("other.example.com"));
        assert_eq!(host(&["a.example.com", "b.example.com"], Some(&other)).unwrap().as_deref(), Some("other.example.com"));
        assert_eq!(host(&[], None).unwrap(), None);
        assert!(host(&["a.example.com", "b.example.com"], None).unwrap_err().to_string().contains("--registry"));
        assert_eq!(bound_host(&operands(&["a.example.com", "b.example.com"]), None, false).unwrap(), None);
    }
}
