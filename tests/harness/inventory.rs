//! What runs, as `k8s-images` would write it: inventories in literal JSON, trusted or not, and times relative to now.
//!
//! ```no_run
//! # use tests::*; let registry = Registry::start();
//! let in_use = Inventory::of("prod").uses(registry.host(), "team/app", "v3").uses_ten_others().write();
//! Tool::new("reg-select").arg("--in-use").arg(in_use.path());
//! ```

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tempfile::NamedTempFile;

/// One section of an inventory stream. Unless a test says otherwise it is whole, complete, taken now, of one cluster.
#[derive(Clone, Debug)]
pub struct Inventory {
    header: Value,
    uses: Vec<Value>,
    trailer: bool,
}

impl Inventory {
    /// An inventory of one cluster, by the name of its context; nothing runs there yet.
    pub fn of(context: &str) -> Self {
        let source = json!({
            "kind": "context", "name": context, "server": "https://127.0.0.1:6443", "complete": true, "error": null,
        });
        let header = json!({
            "type": "header", "tool": "k8s-images", "version": "0.1.0", "schema": 1, "time": ago(Duration::ZERO),
            "scope": {"sources": [source], "partial": false},
        });
        Self { header, uses: Vec::new(), trailer: true }
    }

    /// Something runs this tag.
    pub fn uses(self, registry: &str, repository: &str, tag: &str) -> Self {
        self.record(registry, repository, json!({"image": format!("{registry}/{repository}:{tag}"), "tag": tag}))
    }

    /// Something names this digest.
    pub fn uses_digest(self, registry: &str, repository: &str, digest: &str) -> Self {
        let image = format!("{registry}/{repository}@{digest}");
        self.record(registry, repository, json!({"image": image, "digest": digest}))
    }

    /// Something runs this tag, and the node says which digest that was when it pulled.
    pub fn runs(self, registry: &str, repository: &str, tag: &str, digest: &str) -> Self {
        let image = format!("{registry}/{repository}:{tag}");
        self.record(registry, repository, json!({"image": image, "tag": tag, "runningDigest": digest}))
    }

    /// Ten images of another registry, so that the inventory is no suspiciously small one.
    pub fn uses_ten_others(self) -> Self {
        (0..10).fold(self, |this, n| this.uses("docker.io", &format!("library/other{n}"), "1"))
    }

    /// A use with these fields besides the usual ones, or instead of them.
    pub fn record(mut self, registry: &str, repository: &str, fields: Value) -> Self {
        let name = format!("app{}", self.uses.len());
        let mut record = json!({
            "type": "use", "image": format!("{registry}/{repository}"), "registry": registry,
            "repository": repository, "tag": null, "digest": null, "runningDigest": null, "configDigest": null,
            "source": self.header["scope"]["sources"][0]["name"], "namespace": "shop", "kind": "Deployment",
            "name": name, "container": "app", "field": "container", "pods": 1, "pod": format!("{name}-0"),
        });
        for (key, value) in fields.as_object().into_iter().flatten() {
            record[key] = value.clone();
        }
        self.uses.push(record);
        self
    }

    /// Says that it was taken at this time.
    pub fn taken(self, time: &str) -> Self {
        self.header("/time", json!(time))
    }

    /// Says that the source could not be read to its end.
    pub fn incomplete(self) -> Self {
        self.header("/scope/sources/0/complete", json!(false)).header("/scope/sources/0/error", json!("connection refused"))
    }

    /// Says that it was narrowed by a namespace or selector.
    pub fn partial(self) -> Self {
        self.header("/scope/partial", json!(true))
    }

    /// Sets any field of the header, by its JSON pointer.
    pub fn header(mut self, pointer: &str, value: Value) -> Self {
        *self.header.pointer_mut(pointer).unwrap_or_else(|| panic!("a header has no {pointer}")) = value;
        self
    }

    /// Leaves out the trailer, as a writer does that is killed.
    pub fn cut(mut self) -> Self {
        self.trailer = false;
        self
    }

    /// The stream.
    pub fn jsonl(&self) -> String {
        let mut records = vec![self.header.clone()];
        records.extend(self.uses.clone());
        if self.trailer {
            records.push(json!({"type": "trailer", "complete": true, "records": self.uses.len()}));
        }
        crate::tool::lines(&records)
    }

    /// The stream in a file that goes with its owner.
    pub fn write(&self) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(self.jsonl().as_bytes()).unwrap();
        file
    }
}

/// The time this long ago, in RFC 3339 and UTC, as records and image configs bear it.
pub fn ago(long: Duration) -> String {
    let then = SystemTime::now() - long;
    rfc3339(then.duration_since(UNIX_EPOCH).expect("tests run after 1970").as_secs())
}

/// The time this many days ago.
pub fn days_ago(days: u64) -> String {
    ago(Duration::from_secs(days * 86_400))
}

fn rfc3339(seconds: u64) -> String {
    let (mut days, rest) = (seconds / 86_400, seconds % 86_400);
    let divides = |number: u64, year: u64| year.is_multiple_of(number);
    let leap = |year| divides(4, year) && (!divides(100, year) || divides(400, year));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (day, hour, minute, second) = (days + 1, rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[test]
fn times_are_those_of_the_calendar() {
    for (seconds, time) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (1_735_689_599, "2024-12-31T23:59:59Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
    ] {
        assert_eq!(rfc3339(seconds), time);
    }
}
