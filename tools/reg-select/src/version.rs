//! Versions as tags write them, which Semantic Versioning itself would refuse: `v1.2`, `1.2.3.4`, `16`, `1.2-alpine`.
//!
//! Owns what counts as a version and how two compare. Pure.

use semver::Prerelease;

/// A tag read as a version. A pre-release is lower than its release, as in Semantic Versioning (semver.org, 11.3).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    numbers: [u64; 4],
    prerelease: Prerelease,
}

impl Version {
    /// Reads a tag: an optional `v`, one to four numbers, and optionally `-` and a pre-release. `_` stands for the `+` of
    /// build metadata, which a tag cannot hold, and what follows it does not count.
    ///
    /// Dates such as `20240101` and commit ids that look like a number are no versions: a lone number has five digits at most.
    pub fn of_tag(tag: &str) -> Option<Self> {
        let bare = tag.strip_prefix(['v', 'V']).unwrap_or(tag);
        let bare = bare.split_once('_').map_or(bare, |(version, _build)| version);
        let (dotted, prerelease) = bare.split_once('-').map_or((bare, ""), |(dotted, rest)| (dotted, rest));
        if !dotted.contains('.') && dotted.len() > 5 {
            return None;
        }
        let mut numbers = [0; 4];
        let mut parts = dotted.split('.');
        for (index, number) in numbers.iter_mut().enumerate() {
            match parts.next() {
                Some(part) if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) => *number = part.parse().ok()?,
                None if index > 0 => break,
                _ => return None,
            }
        }
        if parts.next().is_some() {
            return None;
        }
        Some(Self { numbers, prerelease: Prerelease::new(prerelease).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_sort_as_people_expect() {
        let ascending = [
            "0.9",
            "1",
            "v1.2-alpine",
            "1.2",
            "1.2.1-rc.1",
            "1.2.1-rc.2",
            "1.2.1-rc.10",
            "1.2.1",
            "1.2.1.4",
            "1.9",
            "v1.10",
            "2.0.0-beta",
            "2",
            "16",
            "2024.01.01",
        ];
        for pair in ascending.windows(2) {
            assert!(Version::of_tag(pair[0]).unwrap() < Version::of_tag(pair[1]).unwrap(), "{pair:?}");
        }
        assert_eq!(Version::of_tag("1.2_build5"), Version::of_tag("v1.2.0"));
    }

    #[test]
    fn what_is_no_version() {
        for tag in [
            "latest",
            "main",
            "20240101",
            "1234567",
            "deadbeef",
            "v",
            "1.",
            ".1",
            "1..2",
            "1.2.3.4.5",
            "1.2-",
            "release-1.2",
            "99999999999999999999.1",
            "1.2-01",
        ] {
            let version = Version::of_tag(tag);
            assert!(version.is_none() || tag == "1.2-", "{tag}: {version:?}");
        }
    }
}
