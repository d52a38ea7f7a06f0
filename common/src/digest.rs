//! Content digests as the OCI image spec defines them (image-spec, descriptor.md, "Digests"): parsed once, compared as bytes.
//!
//! Owns the grammar and the hashing of bytes; [`pair`] hashes two streams at once. Knows nothing of manifests or registries.

pub mod pair;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha512};

/// The digest of some bytes: `sha256:` and 64 lower-case hexadecimal digits, or `sha512:` and 128.
///
/// Only the two algorithms that the image spec registers for every implementation are accepted. The exact length is checked,
/// so a `Digest` is safe to build a URL or a path from (CVE-2024-3727 came of digests that were not).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Digest {
    /// A SHA-256 digest.
    Sha256([u8; 32]),
    /// A SHA-512 digest; boxed because it is rare and large.
    Sha512(Box<[u8; 64]>),
}

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a digest: expected sha256: and 64, or sha512: and 128, lower-case hexadecimal digits")]
pub struct InvalidDigest {
    text: String,
}

impl Digest {
    /// Hashes `bytes` with SHA-256, the canonical algorithm of every registry.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::Sha256(Sha256::digest(bytes).into())
    }

    /// Whether `bytes` hash to this digest, by this digest's own algorithm.
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Sha256(expected) => Sha256::digest(bytes).as_slice() == expected,
            Self::Sha512(expected) => Sha512::digest(bytes).as_slice() == expected.as_slice(),
        }
    }

    /// Begins to hash bytes that come one after the other, by this digest's own algorithm.
    #[must_use]
    pub fn hasher(&self) -> Hashing {
        match self {
            Self::Sha256(_) => Hashing::Sha256(Sha256::new()),
            Self::Sha512(_) => Hashing::Sha512(Box::new(Sha512::new())),
        }
    }

    /// The raw digest, 32 or 64 bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(bytes) => bytes,
            Self::Sha512(bytes) => bytes.as_slice(),
        }
    }

    /// The algorithm's registered name: `sha256` or `sha512`.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha256",
            Self::Sha512(_) => "sha512",
        }
    }

    /// The first eight bytes as a number: as good as random, and enough to tell one digest from another in a count.
    #[must_use]
    pub fn front(&self) -> u64 {
        self.bytes().first_chunk().map_or(0, |front| u64::from_be_bytes(*front))
    }

    /// The hexadecimal part, without the algorithm.
    #[must_use]
    pub fn hex(&self) -> String {
        const_hex::encode(self.bytes())
    }

    /// `sha256:` and the first twelve digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(self.algorithm().len() + 1 + 12);
        text
    }
}

/// Bytes that are being hashed, too many to be held at once.
#[derive(Debug, Clone)]
pub enum Hashing {
    /// By SHA-256.
    Sha256(Sha256),
    /// By SHA-512; boxed because it is rare and large.
    Sha512(Box<Sha512>),
}

impl Hashing {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of all that came.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self {
            Self::Sha256(hasher) => Digest::Sha256(hasher.finalize().into()),
            Self::Sha512(hasher) => Digest::Sha512(Box::new(hasher.finalize().into())),
        }
    }
}

impl Hash for Digest {
    /// A million digests are looked up in a run; hashing a quarter of each does as well.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.front());
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let parsed = match text.split_once(':') {
            Some(("sha256", hex)) if is_lower_hex(hex, 64) => const_hex::decode_to_array(hex).ok().map(Self::Sha256),
            Some(("sha512", hex)) if is_lower_hex(hex, 128) => {
                const_hex::decode_to_array(hex).ok().map(|bytes| Self::Sha512(Box::new(bytes)))
            }
            _ => None,
        };
        parsed.ok_or_else(|| InvalidDigest { text: text.chars().take(200).collect() })
    }
}

fn is_lower_hex(text: &str, length: usize) -> bool {
    // Without a way out in the middle, many bytes are looked at at once.
    text.len() == length && text.bytes().fold(true, |all, byte| all & matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.algorithm(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Digest;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a digest such as \"sha256:…\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Digest, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn hashes_and_prints_the_same_text() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(EMPTY.parse::<Digest>().unwrap(), Digest::of(b""));
        assert_eq!(Digest::of(b"").short(), "sha256:e3b0c44298fc");
    }

    #[test]
    fn checks_content_by_the_algorithm_named() {
        let sha512: Digest = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e".parse().unwrap();
        assert!(sha512.matches(b""));
        assert!(!sha512.matches(b"x"));
        assert!(Digest::of(b"x").matches(b"x"));
        for digest in [Digest::of(b""), sha512.clone()] {
            assert_eq!(digest.hasher().finish(), digest);
            let mut hasher = digest.hasher();
            hasher.update(b"ab");
            hasher.update(b"c");
            assert!(hasher.finish().matches(b"abc"));
        }
    }

    #[test]
    fn refuses_what_could_leave_its_place_in_a_path() {
        for text in [
            "",
            "sha256:",
            "sha256:../../etc",
            &EMPTY.to_uppercase(),
            &EMPTY[..70],
            &format!("{EMPTY}0"),
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            "e3b0",
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
