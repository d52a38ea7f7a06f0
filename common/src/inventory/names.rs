//! Which names mean the same registry or repository.

use std::fmt;
use std::str::FromStr;

use crate::reference::Host;

/// Two names of one registry, or of a part of it: `--alias HOST[/PREFIX]=HOST[/PREFIX]`. A name that lies below the left side is
/// the one that lies so below the right side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    from: Side,
    to: Side,
}

/// A host and the path components that a prefix consists of; an empty prefix is the whole host.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Side {
    host: Host,
    prefix: String,
}

/// Why a text is no alias, or several make no sense together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAlias {
    /// The text is not of the form.
    #[error("{0:?} is no alias: expected HOST[/PREFIX]=HOST[/PREFIX], such as mirror.local:5000/hub=docker.io")]
    Syntax(String),
    /// Following the aliases from here leads round in a circle.
    #[error("the aliases lead from {0} round to itself: leave one of them out")]
    Circle(String),
}

impl Side {
    fn parse(text: &str) -> Option<Self> {
        let (host, prefix) = match text.split_once('/') {
            Some((host, prefix)) => (host, prefix.trim_end_matches('/')),
            None => (text, ""),
        };
        let prefix_is_valid = prefix.is_empty() || prefix.parse::<crate::reference::Repository>().is_ok();
        prefix_is_valid.then(|| host.parse().ok().map(|host| Self { host, prefix: prefix.to_owned() }))?
    }

    /// What of `repository` lies below this prefix.
    fn rest<'a>(&self, host: &Host, repository: &'a str) -> Option<&'a str> {
        if *host != self.host {
            return None;
        }
        if self.prefix.is_empty() {
            return Some(repository);
        }
        let rest = repository.strip_prefix(&self.prefix)?;
        if rest.is_empty() { Some("") } else { rest.strip_prefix('/') }
    }
}

impl Side {
    /// The name that lies so below this prefix.
    fn with(&self, rest: &str) -> (Host, String) {
        let path = match (self.prefix.as_str(), rest) {
            ("", rest) => rest.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, rest) => format!("{prefix}/{rest}"),
        };
        (self.host.clone(), path)
    }
}

impl fmt::Display for Side {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.host)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(formatter, "/{}", self.prefix) }
    }
}

impl FromStr for Alias {
    type Err = InvalidAlias;

    fn from_str(text: &str) -> Result<Self, InvalidAlias> {
        let sides = text.trim().split_once('=').and_then(|(from, to)| Some((Side::parse(from)?, Side::parse(to)?)));
        let (from, to) = sides.ok_or_else(|| InvalidAlias::Syntax(text.to_owned()))?;
        Ok(Self { from, to })
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}={}", self.from, self.to)
    }
}

/// All that is known of names: aliases, and hosts that are strangers.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Longest prefix first.
    aliases: Vec<Alias>,
    strangers: Vec<Host>,
}

impl Names {
    /// Puts aliases and strangers (`--not-alias`) together.
    ///
    /// # Errors
    /// Aliases that lead round in a circle.
    pub fn new(aliases: &[Alias], strangers: &[Host]) -> Result<Self, InvalidAlias> {
        let mut longest_first = aliases.to_vec();
        longest_first.sort_by_key(|alias| std::cmp::Reverse(alias.from.prefix.len()));
        let mut names = Self { aliases: Vec::new(), strangers: strangers.to_vec() };
        for alias in longest_first {
            // Each joins what its two sides are called by now. So one name may stand on the left of several, and two aliases may
            // say the same in both directions.
            let (from, to) = (names.side(&alias.from), names.side(&alias.to));
            if from == to {
                continue;
            }
            names.aliases.push(Alias { from: from.clone(), to });
            names.aliases.sort_by_key(|alias| std::cmp::Reverse(alias.from.prefix.len()));
            if names.follow(&from.host, &from.prefix).is_none() {
                return Err(InvalidAlias::Circle(alias.to_string()));
            }
        }
        Ok(names)
    }

    /// The one name of a repository under which all of its names compare equal.
    #[must_use]
    pub fn canonical(&self, host: &Host, repository: &str) -> (Host, String) {
        self.follow(host, repository).unwrap_or_else(|| (host.clone(), repository.to_owned()))
    }

    fn side(&self, side: &Side) -> Side {
        let (host, prefix) = self.canonical(&side.host, &side.prefix);
        Side { host, prefix }
    }

    /// All names that a repository has, the given one first.
    #[must_use]
    pub fn all(&self, host: &Host, repository: &str) -> Vec<(Host, String)> {
        let canonical = self.canonical(host, repository);
        let mut all = vec![(host.clone(), repository.to_owned())];
        let mut next = 0;
        while let Some((host, path)) = all.get(next).cloned() {
            next += 1;
            for Alias { from, to } in &self.aliases {
                for (here, there) in [(from, to), (to, from)] {
                    let name = here.rest(&host, &path).map(|rest| there.with(rest));
                    // Backwards a longer prefix may lead elsewhere.
                    if let Some(name) = name.filter(|name| !all.contains(name) && self.canonical(&name.0, &name.1) == canonical) {
                        all.push(name);
                    }
                }
            }
        }
        all
    }

    /// Follows the aliases from a name; `None` where that does not end.
    fn follow(&self, host: &Host, repository: &str) -> Option<(Host, String)> {
        let mut name = (host.clone(), repository.to_owned());
        for _ in 0..=self.aliases.len() {
            let next = self.aliases.iter().find_map(|alias| {
                let rest = alias.from.rest(&name.0, &name.1)?;
                Some(alias.to.with(rest))
            });
            match next {
                Some(next) if next == name => return Some(name),
                Some(next) => name = next,
                None => return Some(name),
            }
        }
        None
    }

    /// Whether the user said that a host has nothing to do with the listed registry.
    #[must_use]
    pub fn is_stranger(&self, host: &Host) -> bool {
        self.strangers.contains(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(aliases: &[&str]) -> Result<Names, InvalidAlias> {
        Names::new(&aliases.iter().map(|text| text.parse()).collect::<Result<Vec<_>, _>>()?, &[])
    }

    #[test]
    fn the_longest_prefix_decides() {
        let names = names(&["mirror.local=docker.io", "mirror.local/quay=quay.io", "registry:5000=registry.example.com:443"]).unwrap();
        for (host, path, expected) in [
            ("mirror.local", "library/nginx", "docker.io/library/nginx"),
            ("mirror.local", "quay/team/app", "quay.io/team/app"),
            ("mirror.local", "quayside/app", "docker.io/quayside/app"),
            ("REGISTRY:5000", "a", "registry.example.com/a"),
            ("other.example.com", "a", "other.example.com/a"),
        ] {
            let (host, path) = names.canonical(&host.parse().unwrap(), path);
            assert_eq!(format!("{host}/{path}"), expected);
        }
    }

    #[test]
    fn aliases_may_follow_one_another_but_not_for_ever() {
        let chain = names(&["a.local=b.local", "b.local=c.local/x"]).unwrap();
        assert_eq!(chain.canonical(&"a.local".parse().unwrap(), "app").1, "x/app");
        assert!(matches!(names(&["a.local=a.local/x"]), Err(InvalidAlias::Circle(_))));
        assert!(names(&["a.local=a.local"]).is_ok(), "a name for itself says nothing and harms nothing");
        for bad in ["a.local", "=b", "a=", "a.local/X=b", "a.local=b local"] {
            assert!(matches!(names(&[bad]), Err(InvalidAlias::Syntax(_))), "{bad}");
        }
    }

    #[test]
    fn one_name_may_stand_on_the_left_of_several() {
        for aliases in [
            ["svc.local=other.local", "svc.local=registry.example.com/hub"],
            ["svc.local=registry.example.com/hub", "svc.local=other.local"],
            ["registry.example.com/hub=svc.local", "registry.example.com/hub=other.local"],
            ["svc.local=other.local", "other.local=registry.example.com/hub"],
        ] {
            let names = names(&aliases).unwrap();
            let canonical = |host: &str, path: &str| names.canonical(&host.parse().unwrap(), path);
            assert_eq!(canonical("svc.local", "app"), canonical("other.local", "app"), "{aliases:?}");
            assert_eq!(canonical("svc.local", "app"), canonical("registry.example.com", "hub/app"), "{aliases:?}");
            assert_ne!(canonical("svc.local", "app"), canonical("registry.example.com", "app"), "{aliases:?}");
            let all = names.all(&"registry.example.com".parse().unwrap(), "hub/app");
            assert_eq!(all.len(), 3, "{aliases:?}: {all:?}");
        }
        let both_ways = names(&["a.local=b.local", "b.local=a.local"]).unwrap();
        assert_eq!(both_ways.canonical(&"a.local".parse().unwrap(), "x"), both_ways.canonical(&"b.local".parse().unwrap(), "x"));
    }
}
