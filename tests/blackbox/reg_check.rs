//! `reg-check`: what is broken in registries and in their storage, who uses it, and what is made of it.

pub(crate) mod agrees;
mod reports;
mod stored;

use std::path::Path;

use serde_json::Value;
use tests::*;

/// `reg-check --store ROOT`, with the words given.
fn store(root: &Path, words: &[&str]) -> Tool {
    Tool::new("reg-check").arg("--store").arg(root).args(words)
}

/// The findings as problem, severity and tag.
fn told(ran: &Ran) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    ran.records_of("finding").iter().map(|finding| (text(&finding["problem"]), text(&finding["severity"]), text(&finding["tag"]))).collect()
}

/// One finding in the words of [`told`].
fn one(problem: &str, severity: &str, tag: &str) -> Vec<(String, String, String)> {
    vec![(problem.to_owned(), severity.to_owned(), tag.to_owned())]
}
