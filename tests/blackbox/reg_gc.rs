//! `reg-gc` on real storage trees: what goes and what stays, judged by a reference collector and by real registries.

mod agree;
mod beside;
mod cached;
mod edges;
mod hostile;
mod in_use;
mod killed;
mod served;

use std::path::Path;

use serde_json::Value;
use tests::tree::fate::{Fate, Items};
use tests::*;

/// `reg-gc --store ROOT`, quiet, with the words given.
fn gc(root: &Path, words: &[&str]) -> Tool {
    Tool::new("reg-gc").arg("--store").arg(root).args(words)
}

/// The same with the registry said to be stopped: everything at once, however young.
fn stopped(root: &Path, words: &[&str]) -> Tool {
    gc(root, &["--stopped"]).args(words)
}

/// Of the records with this result those that are items of a tree.
fn items(ran: &Ran, result: &str) -> Items {
    let mut items = Items::default();
    for record in ran.records_of("reclaim").iter().filter(|record| record["result"] == result) {
        let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
        let size = record["size"].as_u64().unwrap();
        match record["what"].as_str().unwrap() {
            // A folder without its data is no item either.
            "blob" if size == 0 => {}
            "blob" => drop(items.blobs.insert(text("digest"), size)),
            // A folder without its link is no item.
            _ if size == 0 => {}
            "revision" => drop(items.revisions.insert((text("repository"), text("digest")))),
            "layerLink" => drop(items.layer_links.insert((text("repository"), text("digest")))),
            "tagIndex" => drop(items.tag_index.insert((text("repository"), text("tag"), text("digest")))),
            _ => {}
        }
    }
    items
}

/// What is said to go, beside what is expected to: the difference in words.
fn difference(expected: &Items, found: &Items) -> Option<String> {
    let fate = |goes: &Items| Fate { goes: goes.clone(), ..Fate::default() };
    fate(expected).difference(&fate(found)).map(|text| format!("first the expectation, second reg-gc:\n{text}"))
}

/// Every file and folder below a path, with the content of files, their permissions and times of change: what "byte for byte" compares.
fn snapshot(root: &Path) -> Vec<(String, u32, Option<std::time::SystemTime>, Vec<u8>)> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let metadata = std::fs::symlink_metadata(&path).unwrap();
            let mode = metadata.permissions().mode();
            if metadata.is_dir() {
                found.push((name, mode, None, Vec::new()));
                folders.push(path);
            } else {
                let content = if metadata.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
                found.push((name, mode, metadata.modified().ok(), content));
            }
        }
    }
    found.sort();
    found
}

/// The totals of one kind in a trailer.
fn count(ran: &Ran, kind: &str) -> u64 {
    ran.the("trailer")["kinds"][kind]["count"].as_u64().unwrap_or(0)
}

fn mode_words(mode: Mode) -> &'static [&'static str] {
    match mode {
        Mode::KeepUntagged => &[],
        Mode::Untagged => &["--untagged", "--without-in-use", "--allow-no-tags"],
    }
}

fn why(record: &Value) -> &str {
    record["why"].as_str().unwrap_or_default()
}
