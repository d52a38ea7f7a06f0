//! Names: registries, repositories, tags and references to images, normalised as Docker does.
//!
//! Rules: distribution-spec, "Pulling manifests" (`<name>`, `<reference>`), and github.com/distribution/reference for what a
//! short name means. Everything here is validated before any URL or path is built from it. Pure: no input, no output.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;

/// The host that a name without one belongs to.
pub const DOCKER_HUB: &str = "docker.io";

/// Why a text is not a name of the kind asked for: the text, and the rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct InvalidName {
    text: String,
    expected: &'static str,
}

impl InvalidName {
    fn new(text: &str, expected: &'static str) -> Self {
        Self { text: without_user(text).chars().take(300).collect(), expected }
    }
}

/// A name as it may be shown: who wrote a user and a password before the host does not want to see them in a log.
fn without_user(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (&text[..scheme.len() + 3], rest));
    let is_digest = |rest: &str| ["sha256:", "sha512:"].iter().any(|algorithm| rest.starts_with(algorithm));
    let mut ends = rest.match_indices('@').map(|(at, _)| at).filter(|at| !is_digest(&rest[at + 1..]));
    match ends.next_back() {
        // `nginx@latest` is a mistake of another kind; nothing in it can be a password, or a host.
        Some(at) if scheme.is_empty() && !rest[..at].contains(':') && !rest[at..].contains(['.', ':', '/']) => text.to_owned(),
        Some(at) => format!("{scheme}***{}", &rest[at..]),
        None => text.to_owned(),
    }
}

/// A registry's host name and port in the form in which hosts compare: lower case, without `:443`, Docker Hub's names folded
/// into `docker.io`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(String);

impl Host {
    /// The normalised name, with its port if it has one.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a loopback address or `localhost`, with or without a port.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let name = split_port(&self.0).0;
        name == "localhost"
            || name.ends_with(".localhost")
            || name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

fn split_port(host: &str) -> (&str, Option<&str>) {
    if let Some(end) = host.find(']') {
        return (&host[..=end], host[end + 1..].strip_prefix(':'));
    }
    match host.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    }
}

impl FromStr for Host {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName::new(text, "a registry's host name, such as registry.example.com or localhost:5000");
        let (name, port) = split_port(text);
        let bracketed = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let name_is_valid = match bracketed {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            // A label may not begin or end with a hyphen; underscores are no host name, but Docker Compose makes such ones.
            None => name.len() <= 253 && name.split('.').all(is_label),
        };
        let rest_is_port = match port {
            Some(port) => {
                !port.is_empty()
                    && port.len() <= 5
                    && port.bytes().all(|byte| byte.is_ascii_digit())
                    && port.parse::<u16>().is_ok_and(|port| port > 0)
            }
            None => name.len() == text.len(),
        };
        if !name_is_valid || !rest_is_port {
            return Err(invalid());
        }
        let mut lower = text.to_ascii_lowercase();
        if let Some(stripped) = lower.strip_suffix(":443") {
            lower = stripped.to_owned();
        }
        // The names under which Docker Hub answers or is configured (docker's config keys use the second).
        if matches!(lower.as_str(), "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com") {
            lower = DOCKER_HUB.to_owned();
        }
        Ok(Self(lower))
    }
}

fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !label.is_empty() && label.len() <= 63 && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
}

/// A repository's name within its registry: `team/app`.
///
/// Path components of lower-case letters and digits, separated within by one dot, one or two underscores or any number of
/// hyphens; 255 characters at most (distribution-spec, "Pulling manifests").
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository(String);

impl Repository {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this repository is `prefix` or lies below it; a prefix is whole path components, so `team/app` is not a prefix
    /// of `team/application`.
    #[must_use]
    pub fn is_within(&self, prefix: &str) -> bool {
        match self.0.strip_prefix(prefix.trim_end_matches('/')) {
            Some(rest) => rest.is_empty() || rest.starts_with('/') || prefix.is_empty(),
            None => false,
        }
    }
}

impl FromStr for Repository {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.len() <= 255 && text.split('/').all(is_path_component) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName::new(text, "a repository name: lower-case letters, digits and single separators, such as team/app"))
        }
    }
}

fn is_path_component(component: &str) -> bool {
    let bytes = component.as_bytes();
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !alphanumeric(*first) || !alphanumeric(*last) {
        return false;
    }
    bytes
        .split(|byte| alphanumeric(*byte))
        .all(|separator| matches!(separator, [] | [b'.'] | [b'_'] | [b'_', b'_']) || separator.iter().all(|byte| *byte == b'-'))
}

/// A tag: letters, digits, `_`, `.` and `-`, not beginning with `.` or `-`, 128 characters at most (distribution-spec).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

impl Tag {
    /// The tag's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digest that a referrer tag names, and `None` for any other tag: `sha256-<hex>` (distribution-spec, "Referrers tag
    /// schema") or the same with `.sig`, `.att` or `.sbom` (cosign until version 2).
    #[must_use]
    pub fn subject(&self) -> Option<Digest> {
        subject_of_tag(&self.0)
    }
}

/// As [`Tag::subject`], for a text that is not known to be a tag.
#[must_use]
pub fn subject_of_tag(tag: &str) -> Option<Digest> {
    let (algorithm, rest) = tag.split_once('-')?;
    let hex = [".sig", ".att", ".sbom"].iter().find_map(|suffix| rest.strip_suffix(suffix)).unwrap_or(rest);
    if !matches!(algorithm, "sha256" | "sha512") {
        return None;
    }
    format!("{algorithm}:{hex}").parse().ok()
}

/// Whether a tag is one that names a subject and not a version: as [`subject_of_tag`], and also where the digest is cut, as a tag has no
/// room for one of SHA-512 (distribution-spec, "Referrers tag schema": the encoded part is cut to 64 characters).
#[must_use]
pub fn is_referrer_tag(tag: &str) -> bool {
    subject_of_tag(tag).is_some() || cut_subject_of_tag(tag).is_some()
}

/// The first half of the SHA-512 digest that a referrer tag names.
#[must_use]
pub fn cut_subject_of_tag(tag: &str) -> Option<[u8; 32]> {
    // It has the form of a whole SHA-256 digest.
    match subject_of_tag(&format!("sha256-{}", tag.strip_prefix("sha512-")?))? {
        Digest::Sha256(half) => Some(half),
        Digest::Sha512(_) => None,
    }
}

impl FromStr for Tag {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let mut bytes = text.bytes();
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let valid = text.len() <= 128 && bytes.next().is_some_and(word) && bytes.all(|byte| word(byte) || byte == b'.' || byte == b'-');
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidName::new(text, "a tag: letters, digits, '_', '.' and '-', at most 128")) }
    }
}

macro_rules! text_like {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, formatter)
            }
        }
    )*};
}
text_like!(Host, Repository, Tag);

/// What names a manifest within a repository: a tag or a digest (distribution-spec's `<reference>`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// By tag, which may move.
    Tag(Tag),
    /// By digest, which is the content.
    Digest(Digest),
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(formatter),
            Self::Digest(digest) => fmt::Display::fmt(digest, formatter),
        }
    }
}

/// An image's name as people and manifests write it, normalised as Docker does: no host is `docker.io`, a single component on
/// `docker.io` is in `library`, neither tag nor digest is the tag `latest`. Where a tag and a digest stand together, the
/// digest decides what is pulled; both are kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// The registry.
    pub registry: Host,
    /// The repository.
    pub repository: Repository,
    /// The tag, `latest` where neither tag nor digest was given.
    pub tag: Option<Tag>,
    /// The digest, where one was given.
    pub digest: Option<Digest>,
}

impl Reference {
    /// What to ask a registry for: the digest where there is one.
    #[must_use]
    pub fn target(&self) -> Option<Target> {
        self.digest.clone().map(Target::Digest).or_else(|| self.tag.clone().map(Target::Tag))
    }
}

/// Splits a host off the front of a name by Docker's rule: the first component is a host if a slash follows it and it holds a
/// dot or a colon, is `localhost`, or has an upper-case letter (which no repository has).
#[must_use]
pub fn split_host(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (Some(first), rest)
        }
        _ => (None, name),
    }
}

impl FromStr for Reference {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let text = text.trim();
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => {
                let digest = digest
                    .parse()
                    .map_err(|_| InvalidName::new(text, "an image reference: what follows '@' is no sha256 or sha512 digest"))?;
                (name, Some(digest))
            }
            None => (text, None),
        };
        // A colon after the last slash begins a tag; one before it belongs to a port.
        let last = name.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match name[last..].split_once(':') {
            Some((component, tag)) => (&name[..last + component.len()], Some(tag.parse::<Tag>()?)),
            None => (name, None),
        };
        let (host, path) = split_host(name);
        let registry: Host = host.unwrap_or(DOCKER_HUB).parse()?;
        let repository = if registry.0 == DOCKER_HUB && !path.contains('/') { format!("library/{path}").parse() } else { path.parse() };
        let repository = repository.map_err(|_| InvalidName::new(text, "an image reference, such as registry.example.com/team/app:1.2"))?;
        let tag = match (tag, &digest) {
            (None, None) => Some(Tag("latest".to_owned())),
            (tag, _) => tag,
        };
        Ok(Self { registry, repository, tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(formatter, "@{digest}")?;
        }
        Ok(())
    }
}

/// What a container runtime reports as a running container's `imageID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageId {
    /// A digest that can be pulled from the repository named: `host/name@sha256:…`, with or without `docker-pullable://`.
    Pullable(Reference),
    /// A digest of an image's config: a bare `sha256:…` or one after `docker://`. It names content that no registry serves as
    /// a manifest.
    Config(Digest),
}

impl ImageId {
    /// The digest of a config, if that is what a text is.
    #[must_use]
    pub fn config(text: &str) -> Option<Digest> {
        let bare = Self::without_scheme(text.trim());
        match bare.split_once(':') {
            Some(("sha256" | "sha512", _)) => bare.parse().ok(),
            // A bare 64-digit hexadecimal text is how some runtimes write a config's digest.
            None if bare.len() == 64 => format!("sha256:{bare}").parse().ok(),
            _ => None,
        }
    }

    fn without_scheme(text: &str) -> &str {
        let schemes = ["docker-pullable://", "docker://", "containerd://", "cri-o://"];
        schemes.iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or(text)
    }
}

impl FromStr for ImageId {
    type Err = InvalidName;

    /// Reads the forms that docker-shim, cri-dockerd, containerd and CRI-O write.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let text = text.trim();
        if let Some(digest) = Self::config(text) {
            return Ok(Self::Config(digest));
        }
        let reference: Reference = Self::without_scheme(text)
            .parse()
            .map_err(|_| InvalidName::new(text, "an imageID, such as docker-pullable://registry.example.com/app@sha256:…"))?;
        if reference.digest.is_none() {
            return Err(InvalidName::new(text, "an imageID: it has no digest"));
        }
        Ok(Self::Pullable(reference))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_normalised_as_docker_does() {
        let with_digest = format!("quay.io/a/b:1@sha256:{HEX}");
        for (text, expected) in [
            ("nginx", "docker.io/library/nginx:latest"),
            (" nginx:1.25 ", "docker.io/library/nginx:1.25"),
            ("team/app", "docker.io/team/app:latest"),
            ("docker.io/nginx", "docker.io/library/nginx:latest"),
            ("index.docker.io/library/nginx:1", "docker.io/library/nginx:1"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app", "localhost:5000/app:latest"),
            ("registry.example.com:443/app:1", "registry.example.com/app:1"),
            ("Registry.Example.com/app:1", "registry.example.com/app:1"),
            ("registry:5000/a/b/c:x", "registry:5000/a/b/c:x"),
            ("[::1]:5000/app", "[::1]:5000/app:latest"),
            (with_digest.as_str(), with_digest.as_str()),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), expected, "{text}");
        }
        let pinned: Reference = format!("app@sha256:{HEX}").parse().unwrap();
        assert_eq!((pinned.tag, pinned.digest.is_some()), (None, true));
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for text in [
            "",
            " ",
            "App",
            "a//b",
            "/a",
            "a/",
            "a:b:c",
            "a:",
            "a@sha256:12",
            "a b",
            "registry.example.com/",
            "a/../b",
            "host:99999/a",
            "host:/a",
            "-bad.example.com/a",
            "a:.x",
            "https://registry.example.com/a",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?} was accepted: {:?}", text.parse::<Reference>());
        }
    }

    #[test]
    fn repositories_follow_the_grammar_of_the_spec() {
        for good in ["a", "a/b", "a.b/c_d/e__f/g---h", "0/1"] {
            assert!(good.parse::<Repository>().is_ok(), "{good}");
        }
        for bad in ["", "a/", "A", "a..b", "a___b", "a._b", ".a", "a.", "-a", "_a", "a b", "..", "a/../b", &"x".repeat(256)] {
            assert!(bad.parse::<Repository>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_prefix_is_whole_components() {
        let within = |name: &str, prefix: &str| name.parse::<Repository>().unwrap().is_within(prefix);
        assert!(within("team/app", "team/app") && within("team/app/x", "team/app") && within("team/app", "team/") && within("a", ""));
        assert!(!within("team/application", "team/app") && !within("team", "team/app"));
    }

    #[test]
    fn referrer_tags_name_their_subject() {
        let subject = Some(format!("sha256:{HEX}").parse().unwrap());
        for suffix in ["", ".sig", ".att", ".sbom"] {
            assert_eq!(subject_of_tag(&format!("sha256-{HEX}{suffix}")), subject);
        }
        for other in ["v1", "sha256-abc", &format!("sha256-{HEX}.txt"), &format!("x-sha256-{HEX}"), &format!("sha1-{HEX}")] {
            assert_eq!(subject_of_tag(other), None, "{other}");
        }
    }

    #[test]
    fn a_referrer_tag_of_sha512_is_cut() {
        for suffix in ["", ".sig", ".att", ".sbom"] {
            for algorithm in ["sha256", "sha512"] {
                assert!(is_referrer_tag(&format!("{algorithm}-{HEX}{suffix}")), "{algorithm} {suffix}");
            }
            let half = cut_subject_of_tag(&format!("sha512-{HEX}{suffix}"));
            assert_eq!(half.map(const_hex::encode).as_deref(), Some(HEX));
            assert_eq!(subject_of_tag(&format!("sha512-{HEX}{suffix}")), None, "half a digest is none");
        }
        assert_eq!(cut_subject_of_tag(&format!("sha256-{HEX}")), None);
        for other in ["v1", "sha512-abc", &format!("sha512-{HEX}.txt"), &format!("sha512-{HEX}0"), &format!("x-sha512-{HEX}")] {
            assert!(!is_referrer_tag(other), "{other}");
        }
    }

    #[test]
    fn a_password_before_a_host_is_not_shown() {
        let digest = format!("@sha256:{HEX}");
        for (text, shown) in [
            ("http://u:p@r.example.com/a", "http://***@r.example.com/a"),
            ("u:p/p@r.example.com/A", "***@r.example.com/A"),
            ("token@r.example.com", "***@r.example.com"),
            ("u:p@r", "***@r"),
            ("a@b@r.example.com", "***@r.example.com"),
            ("nginx@latest", "nginx@latest"),
            ("a@sha256:12", "a@sha256:12"),
            (&format!("u:p@r/a{digest}"), &format!("***@r/a{digest}")),
            ("plain text", "plain text"),
        ] {
            assert_eq!(without_user(text), shown);
        }
    }

    #[test]
    fn image_ids_of_every_runtime() {
        let digest: Digest = format!("sha256:{HEX}").parse().unwrap();
        for pullable in
            [format!("docker-pullable://registry.example.com/app@sha256:{HEX}"), format!("registry.example.com/app@sha256:{HEX}")]
        {
            let ImageId::Pullable(reference) = pullable.parse().unwrap() else { panic!("{pullable}") };
            assert_eq!((reference.registry.as_str(), reference.digest), ("registry.example.com", Some(digest.clone())));
        }
        for config in [format!("sha256:{HEX}"), format!("docker://sha256:{HEX}"), HEX.to_owned()] {
            assert_eq!(config.parse::<ImageId>().unwrap(), ImageId::Config(digest.clone()));
        }
        for bad in ["", "registry.example.com/app:1", "docker-pullable://"] {
            assert!(bad.parse::<ImageId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn loopback_hosts() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000", "registry.localhost:5000"] {
            assert!(host.parse::<Host>().unwrap().is_loopback(), "{host}");
        }
        for host in ["registry.example.com", "10.0.0.1:5000", "localhost.example.com"] {
            assert!(!host.parse::<Host>().unwrap().is_loopback(), "{host}");
        }
    }
}
