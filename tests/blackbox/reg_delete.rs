//! `reg-delete`: a plan in, deletions and their journal out.
//!
//! Plans are literal JSON, as `reg-select` writes them; what the real one writes is the business of `pipeline`.

mod deleted;
mod journal;
mod races;
mod refused;
mod resumed;
mod undone;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tests::inventory::ago;
use tests::*;

/// A plan. Unless a test says otherwise it is whole, of this moment, and saw an inventory.
#[derive(Clone)]
struct Plan {
    host: String,
    header: Value,
    records: Vec<Value>,
    trailer: Value,
    cut: bool,
}

impl Plan {
    /// A plan of this registry in which nothing goes.
    fn of(host: &str) -> Self {
        let now = ago(Duration::ZERO);
        let scope = json!({"sources": [{"kind": "context", "name": "prod", "complete": true}], "partial": false});
        Self {
            host: host.to_owned(),
            header: json!({
                "type": "header", "tool": "reg-select", "version": "0.1.0", "schema": 1, "time": now,
                "policy": {"preset": "evict"}, "now": now,
                "inputs": [{"role": "in-use", "tool": "k8s-images", "time": now, "scope": scope}],
            }),
            records: Vec::new(),
            trailer: json!({
                "type": "trailer", "complete": true, "records": 100,
                "listings": [{"tool": "reg-list", "time": now, "scope": {"registry": host, "prefixes": []}, "complete": true}],
                "listed": 100, "deletes": 0, "untags": 0, "uses": 0, "frozen": 0,
            }),
            cut: false,
        }
    }

    /// A manifest that goes, with the tags that it was pushed with.
    fn deletes(self, pushed: &Pushed) -> Self {
        self.deletes_below(pushed, &[])
    }

    /// A manifest that goes and that these indexes name.
    fn deletes_below(self, pushed: &Pushed, parents: &[&Pushed]) -> Self {
        let record = self.manifest(pushed, parents, json!({"action": "delete", "untag": [], "reasons": reasons()}));
        self.counted("deletes").record(record)
    }

    /// An index that goes with all of its children, at any depth.
    fn deletes_index(self, index: &Pushed) -> Self {
        let this = if self.names(index) { self } else { self.deletes(index) };
        index.children.iter().fold(this, |this, child| this.deletes_below(child, &[index]).deletes_index(child))
    }

    /// A manifest that stays and loses tags.
    fn untags(self, pushed: &Pushed, tags: &[&str]) -> Self {
        let record = self.manifest(pushed, &[], json!({"action": "untag", "untag": tags, "reasons": reasons()}));
        self.counted("untags").record(record)
    }

    /// A use that the plan passes on.
    fn passes_on(self, repository: &str, fields: Value) -> Self {
        let mut record = json!({
            "type": "use", "image": "x", "registry": "elsewhere.example.com", "repository": repository, "tag": null, "digest": null,
            "runningDigest": null, "configDigest": null, "source": "prod", "namespace": "shop", "kind": "Deployment", "name": "web",
            "container": "app", "field": "container", "pods": 1, "pod": "web-0",
            "listedAs": {"registry": self.host, "repository": repository},
        });
        for (key, value) in fields.as_object().into_iter().flatten() {
            record[key] = value.clone();
        }
        self.counted("uses").record(record)
    }

    fn record(mut self, record: Value) -> Self {
        self.records.push(record);
        self
    }

    /// Sets any field of the header, by its JSON pointer.
    fn header(mut self, pointer: &str, value: Value) -> Self {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer has a slash");
        self.header.pointer_mut(parent).expect("a header has that")[key] = value;
        self
    }

    /// Sets any field of the trailer, by its JSON pointer.
    fn trailer(mut self, pointer: &str, value: Value) -> Self {
        *self.trailer.pointer_mut(pointer).expect("a trailer has that") = value;
        self
    }

    /// Leaves out the trailer.
    fn cut(mut self) -> Self {
        self.cut = true;
        self
    }

    fn jsonl(&self) -> String {
        let mut records = vec![self.header.clone()];
        records.extend(self.records.clone());
        if !self.cut {
            records.push(self.trailer.clone());
        }
        lines(&records)
    }

    fn counted(self, what: &str) -> Self {
        let count = self.trailer[what].as_u64().unwrap_or_default();
        self.trailer(&format!("/{what}"), json!(count + 1))
    }

    fn names(&self, pushed: &Pushed) -> bool {
        self.records.iter().any(|record| record["digest"] == pushed.digest)
    }

    fn manifest(&self, pushed: &Pushed, parents: &[&Pushed], verdict: Value) -> Value {
        let subject = pushed.manifest()["subject"]["digest"].as_str().map(str::to_owned);
        let by_tag = pushed.tags.iter().filter_map(|tag| tag.strip_prefix("sha256-").map(|rest| format!("sha256:{}", &rest[..64])));
        let subjects: Vec<String> = subject.into_iter().chain(by_tag).collect();
        json!({
            "type": "manifest", "registry": self.host, "repository": pushed.repository, "digest": pushed.digest, "tags": pushed.tags,
            "mediaType": pushed.media_type, "artifactType": null, "size": pushed.bytes.len(), "imageSize": 1, "created": null,
            "createdSource": null, "pushed": null, "platform": null,
            "config": (!pushed.config.is_empty()).then_some(&pushed.config),
            "children": pushed.children.iter().map(|child| &child.digest).collect::<Vec<_>>(),
            "parents": parents.iter().map(|parent| &parent.digest).collect::<Vec<_>>(),
            "subjects": subjects, "missing": [], "blobs": [], "labels": {}, "annotations": {}, "verdict": verdict,
        })
    }
}

fn reasons() -> Value {
    json!([{"rule": "delete-rest", "why": "no rule keeps it"}])
}

/// Carries out a plan; the journal is its standard output.
fn carry_out(plan: &Plan) -> Tool {
    Tool::new("reg-delete").arg("--yes").stdin(plan.jsonl())
}

/// Puts back what a journal shows.
fn undo(journal: impl Into<Vec<u8>>) -> Tool {
    Tool::new("reg-delete").args(["--undo", "--yes"]).stdin(journal)
}

/// The records of one manifest, in their order.
fn steps(ran: &Ran, pushed: &Pushed) -> Vec<String> {
    let of = |record: &Value| record["digest"] == pushed.digest && record["repository"] == pushed.repository;
    ran.records_of("deletion")
        .iter()
        .filter(|record| of(record))
        .map(|record| record["result"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// The last record of one manifest.
#[track_caller]
fn result(ran: &Ran, pushed: &Pushed) -> Value {
    let of = |record: &Value| record["digest"] == pushed.digest && record["repository"] == pushed.repository;
    let found = ran.records_of("deletion").into_iter().rfind(of);
    found.unwrap_or_else(|| panic!("nothing is said of {}\n{ran}", pushed.by_digest()))
}

/// Whether a manifest is there.
fn is_there(registry: &Registry, pushed: &Pushed) -> bool {
    registry.client().has(&pushed.repository, &pushed.digest)
}

/// The bytes that a journal line has.
fn data(record: &Value) -> Vec<u8> {
    STANDARD.decode(record["data"].as_str().expect("a started line has data")).expect("data is base64")
}

/// Whether a request is a deletion, other than the one of nothing by which it is found out whether deletion is enabled.
fn deletes(request: &Request) -> bool {
    request.method == "DELETE" && !request.target.ends_with(&"0".repeat(64))
}

/// An image like any other.
fn image(registry: &Registry, repository: &str, tag: &str) -> Pushed {
    Image::new().layer(repository).layer(tag).tag(tag).push(registry, repository)
}

/// A multi-arch image.
fn multi_arch(registry: &Registry, repository: &str, tag: &str) -> Pushed {
    Index::new()
        .child("linux/amd64", Image::new().layer("base").layer(&format!("{repository} {tag} amd64")))
        .child("linux/arm64", Image::new().layer("base").layer(&format!("{repository} {tag} arm64")))
        .tag(tag)
        .push(registry, repository)
}
