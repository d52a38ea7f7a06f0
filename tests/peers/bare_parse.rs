//! The least that a program can do that reads a listing: parse each line into borrowed strings, and add something up.
//!
//! ```sh
//! bare-parse < listing.jsonl
//! ```
//!
//! It is the yardstick of `scripts/bench select`: what it takes is what JSON takes. It decides nothing, keeps nothing and writes
//! one line.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};

use serde::Deserialize;

/// The fields that a selection reads, each as it stands in the line.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(default)]
    registry: &'a str,
    #[serde(default)]
    repository: &'a str,
    #[serde(default)]
    digest: &'a str,
    #[serde(borrow, default)]
    tags: Vec<&'a str>,
    #[serde(default)]
    artifact_type: Option<&'a str>,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    created: Option<&'a str>,
    #[serde(default)]
    pushed: Option<&'a str>,
    #[serde(default)]
    config: Option<&'a str>,
    #[serde(borrow, default)]
    children: Vec<&'a str>,
    #[serde(borrow, default)]
    parents: Vec<&'a str>,
    #[serde(borrow, default)]
    subjects: Vec<&'a str>,
    #[serde(borrow, default)]
    missing: Vec<&'a str>,
    #[serde(borrow, default)]
    blobs: Vec<Blob<'a>>,
}

#[derive(Deserialize)]
struct Blob<'a> {
    digest: &'a str,
    size: u64,
}

impl Record<'_> {
    /// Looks at every field, so that none is read in vain.
    fn sum(&self) -> u64 {
        let names = [self.registry, self.repository, self.digest].map(str::len).iter().sum::<usize>()
            + [self.artifact_type, self.created, self.pushed, self.config].iter().flatten().map(|text| text.len()).sum::<usize>()
            + [&self.tags, &self.children, &self.parents, &self.subjects, &self.missing]
                .into_iter()
                .flatten()
                .map(|text| text.len())
                .sum::<usize>();
        self.blobs.iter().fold(self.size + names as u64, |sum, blob| sum.wrapping_add(blob.size).wrapping_add(blob.digest.len() as u64))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut input = BufReader::with_capacity(1 << 20, io::stdin().lock());
    let mut line = String::new();
    let (mut manifests, mut sum) = (0_u64, 0_u64);
    while input.read_line(&mut line)? > 0 {
        let record: Record<'_> = serde_json::from_str(&line)?;
        manifests += u64::from(record.kind == "manifest");
        sum = sum.wrapping_add(record.sum());
        line.clear();
    }
    writeln!(io::stdout(), "{manifests} manifests, {sum}")?;
    Ok(())
}
