//! The blobs of a `manifest` record, cut to the eight bytes of a digest by which they are counted.
//!
//! They are three quarters of a listing, and every one looks the same. Where they stand as `reg-list` and `jq -c` write them they
//! are read here, and taken out of the line before serde reads the rest; any other spelling of the same JSON is left to serde.

use std::fmt;
use std::sync::LazyLock;

use memchr::memmem;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A blob as it is counted: the first eight bytes of its digest, which are as random as the whole, and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    pub key: u64,
    pub size: u64,
}

/// The blobs of a record.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Blobs {
    pub list: Vec<Blob>,
    /// Whether the record has the key at all.
    pub given: bool,
}

const KEY: &str = "\"blobs\":";
static KEY_FINDER: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(KEY));

/// Reads the blobs of a line, and leaves in `rest` the line with an empty list in their place.
///
/// `None` where they are not spelled as expected, or where they may be something else: a second key of this name. What is
/// in `rest` is JSON exactly if the line is, for a list was replaced by a list. A quote within a string has a backslash
/// before it, so that the key cannot be part of a string; but it may be a key of something within the record, which only one who reads
/// `rest` can tell.
pub fn cut(line: &str, rest: &mut String) -> Option<Blobs> {
    let key = KEY_FINDER.find(line.as_bytes())?;
    let before = line.get(..key)?;
    if !before.ends_with([',', '{']) {
        return None;
    }
    let (list, after) = read_list(line.get(key + KEY.len()..)?)?;
    if KEY_FINDER.find(after.as_bytes()).is_some() {
        return None;
    }
    rest.clear();
    for part in [before, KEY, "[]", after] {
        rest.push_str(part);
    }
    Some(Blobs { list, given: true })
}

/// Reads `[{"digest":"sha256:…","size":…},…]`, and gives back what comes after it.
fn read_list(text: &str) -> Option<(Vec<Blob>, &str)> {
    let mut text = text.strip_prefix('[')?;
    let mut list = Vec::with_capacity(24);
    if let Some(after) = text.strip_prefix(']') {
        return Some((list, after));
    }
    loop {
        let (blob, after) = read_blob(text)?;
        list.push(blob);
        match after.as_bytes().first()? {
            b',' => text = &after[1..],
            b']' => return Some((list, &after[1..])),
            _ => return None,
        }
    }
}

fn read_blob(text: &str) -> Option<(Blob, &str)> {
    let text = text.strip_prefix(r#"{"digest":"sha256:"#)?;
    let (digest, text) = text.split_at_checked(64)?;
    let digest: [u8; 32] = const_hex::decode_to_array(digest).ok()?;
    let text = text.strip_prefix(r#"","size":"#)?;
    let digits = text.bytes().position(|byte| !byte.is_ascii_digit())?;
    let (number, text) = text.split_at_checked(digits)?;
    // JSON has no leading zeros, and nineteen digits are more than fit a disk.
    if !(1..19).contains(&digits) || (digits > 1 && number.starts_with('0')) {
        return None;
    }
    let size = number.bytes().fold(0, |size, digit| size * 10 + u64::from(digit - b'0'));
    Some((Blob { key: u64::from_be_bytes(*digest.first_chunk()?), size }, text.strip_prefix('}')?))
}

impl<'de> Deserialize<'de> for Blobs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Blobs;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of blobs")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut blobs: A) -> Result<Blobs, A::Error> {
                let mut list = Vec::new();
                while let Some(BlobLine { digest, size }) = blobs.next_element()? {
                    list.push(Blob { key: digest.0, size });
                }
                Ok(Blobs { list, given: true })
            }
        }
        deserializer.deserialize_seq(List)
    }
}

#[derive(Deserialize)]
struct BlobLine {
    digest: BlobKey,
    #[serde(default)]
    size: u64,
}

/// The first sixteen hexadecimal digits of a blob's digest.
struct BlobKey(u64);

impl<'de> Deserialize<'de> for BlobKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = BlobKey;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a digest such as \"sha256:…\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<BlobKey, E> {
                let hex = text.split_once(':').and_then(|(_, hex)| hex.get(..16));
                hex.and_then(|hex| u64::from_str_radix(hex, 16).ok())
                    .map(BlobKey)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865";
    const KEY_OF_A: u64 = 0x4355_a46b_19d3_48dc;

    fn blob(size: &str) -> String {
        format!(r#"{{"digest":"sha256:{A}","size":{size}}}"#)
    }

    #[test]
    fn a_list_as_it_is_written_is_taken_out() {
        for (list, sizes) in [
            ("[]".to_owned(), vec![]),
            (format!("[{}]", blob("0")), vec![0]),
            (format!("[{},{}]", blob("123"), blob("999999999999999999")), vec![123, 999_999_999_999_999_999]),
        ] {
            let line = format!(r#"{{"type":"manifest","é":"\"blobs\":[","blobs":{list},"labels":{{"a":"]"}}}}"#);
            let mut rest = "from before".to_owned();
            let blobs = cut(&line, &mut rest).unwrap();
            assert_eq!(blobs.list, sizes.iter().map(|size| Blob { key: KEY_OF_A, size: *size }).collect::<Vec<_>>());
            assert_eq!(rest, r#"{"type":"manifest","é":"\"blobs\":[","blobs":[],"labels":{"a":"]"}}"#);
            assert_eq!(serde_json::from_str::<Blobs>(&list).unwrap(), blobs, "serde reads the same");
        }
    }

    #[test]
    fn any_other_spelling_is_left_to_serde() {
        let long = blob("1").replace("sha256:", "sha512:");
        let short = blob("1").replace("d865", "");
        for list in [
            "null",
            "[",
            "[[]]",
            "[ ]",
            "[]]x",
            &format!("[{}", blob("1")),
            &format!("[{},]", blob("1")),
            &format!("[{} ]", blob("1")),
            &blob("1"),
            &blob("01"),
            &blob("-1"),
            &blob("1.5"),
            &blob("1e3"),
            &blob(""),
            &blob("9999999999999999999"),
            &format!("[{}]", blob("01")),
            &format!("[{}]", blob("1e3")),
            &format!("[{}]", blob("1,\"x\":2")),
            &format!("[{long}]"),
            &format!("[{short}]"),
            &format!("[{}]", blob("1").replace("43", "4g")),
            &format!("[{}]", blob("1").replace("435", "é5")),
            &format!("[{}]", blob("9999999999999999999")),
        ] {
            let mut rest = String::new();
            let taken = cut(&format!(r#"{{"blobs":{list}}}"#), &mut rest);
            // Only a list that ends too early is taken, and then what is left is no JSON either.
            assert!(taken.is_none() || serde_json::from_str::<de::IgnoredAny>(&rest).is_err(), "{list}: {rest}");
        }
    }

    #[test]
    fn what_may_be_another_key_is_left_to_serde() {
        for line in [
            r#"{"blobs":[],"later":{"blobs":[]}}"#,
            r#"{"later":{"blobs":[]},"blobs":[]}"#,
            r#"{"x\"blobs":[]}"#,
            r#"{"x":1 ,"layers":[]}"#,
        ] {
            assert_eq!(cut(line, &mut String::new()), None, "{line}");
        }
    }
}
