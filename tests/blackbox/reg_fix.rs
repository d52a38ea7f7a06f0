//! `reg-fix` on real storage trees: what is mended, what is taken away and when, and how it is taken back.

mod inputs;
mod random;
mod removes;
mod rows;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tests::*;

/// `reg-fix --store ROOT`, with the words given and these findings on standard input.
fn fix(root: &Path, words: &[&str], findings: &[Value]) -> Tool {
    Tool::new("reg-fix").arg("--store").arg(root).args(words).stdin(section(findings))
}

/// `reg-fix --store ROOT --undo …`.
fn undo(root: &Path, words: &[&str]) -> Tool {
    Tool::new("reg-fix").arg("--store").arg(root).arg("--undo").args(words)
}

/// Findings, as a section of records.
fn section(findings: &[Value]) -> String {
    let header = json!({"type": "header", "tool": "reg-check", "version": "0.1.0", "schema": 1, "time": "2026-11-20T12:00:00Z"});
    let trailer = json!({"type": "trailer", "complete": true, "records": findings.len()});
    lines(&[&[header], findings, &[trailer]].concat())
}

/// What `reg-check` finds in a storage.
fn findings(root: &Path) -> Vec<Value> {
    let ran = Tool::new("reg-check").arg("--store").arg(root).args(["--depth", "content", "--fail-on", "never"]).run().succeeds();
    ran.records_of("finding")
}

/// A finding as the check of a registry writes it: no path, and whatever the registry said.
fn by_http(repository: &str, problem: &str, more: Value) -> Value {
    let mut finding = json!({
        "type": "finding", "registry": "registry.example.com", "repository": repository, "tag": null, "digest": null,
        "problem": problem, "severity": "error", "detail": "as it was answered", "inUse": null, "usedBy": [],
    });
    finding.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    finding
}

/// Every file below the tree with its content, and every folder.
fn snapshot(root: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let tree = root.join("docker");
    let mut found = BTreeMap::new();
    let mut folders = vec![tree.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&tree).unwrap().display().to_string();
            if path.is_dir() {
                found.insert(name, None);
                folders.push(path);
            } else {
                found.insert(name, Some(fs::read(&path).unwrap()));
            }
        }
    }
    found
}

/// What is in one snapshot and not, or otherwise, in the other.
fn changes(before: &BTreeMap<String, Option<Vec<u8>>>, after: &BTreeMap<String, Option<Vec<u8>>>) -> Vec<String> {
    let all = before.keys().chain(after.keys()).collect::<std::collections::BTreeSet<_>>();
    all.into_iter().filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

/// The repairs as action and result.
fn told(ran: &Ran) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    ran.records_of("repair").iter().map(|repair| (text(&repair["action"]), text(&repair["result"]))).collect()
}

fn pair(action: &str, result: &str) -> (String, String) {
    (action.to_owned(), result.to_owned())
}
