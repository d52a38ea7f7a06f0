//! The sample registry: what the demo shows and the tests of the whole pipeline judge.
//!
//! A small shop. Its cluster is `tests/demo/prod/`. Ages are relative to now, so that the policies answer the same on any
//! day. Each repository is there for a reason, which stands beside it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::client::Client;
use crate::fixtures::{BuildCache, Image, Index, Signature};
use crate::inventory::{ago, days_ago};

/// What `shop/api:stable` was before the tag moved on. A pod of the sample cluster still runs it, by this digest; its date is
/// fixed, so that the manifests can name it.
pub const STABLE_BEFORE: &str = "sha256:d293fed780cac62b592c56d4134fe8135e973c8cb9667dcfc6108928c40a129d";

/// Fills an empty registry.
pub fn fill(client: &Client) {
    web(client);
    api(client);
    jobs(client);
    worker(client);
    lab(client);
}

/// The manifests of the sample cluster, for a registry with this name.
pub fn write_manifests(registry: &str, folder: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/prod");
    for entry in fs::read_dir(&source).unwrap_or_else(|error| panic!("{}: {error}", source.display())) {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().expect("a folder's entry has a name");
        fs::write(folder.join(name), text.replace("registry.example.com:5000", registry)).unwrap();
    }
}

/// An image of the shop: they share their lower layers.
fn image(name: &str) -> Image {
    Image::new().layer_of_size("base", 2_000_000).layer_of_size("runtime", 700_000).layer_of_size(name, 300_000)
}

/// Nine versions. The old v4 is still in use; v6 and v9 are for two platforms, attested and signed.
fn web(client: &Client) {
    let ages = [("v1", 400), ("v2", 360), ("v3", 320), ("v4", 280), ("v5", 200), ("v6", 150), ("v7", 60), ("v8", 20), ("v9", 2)];
    for (tag, days) in ages {
        let built = |platform: &str| image(&format!("web {tag} {platform}")).created(&days_ago(days));
        if !["v6", "v9"].contains(&tag) {
            built("amd64").tag(tag).push_by(client, "shop/web");
            continue;
        }
        let index =
            Index::new().child("linux/amd64", built("amd64")).child("linux/arm64", built("arm64")).attestation_for("linux/amd64").tag(tag);
        let index = if tag == "v9" { index.tag("latest") } else { index };
        let pushed = index.push_by(client, "shop/web");
        Signature::cosign(&pushed).push_by(client, "shop/web");
    }
}

/// The tag `stable` moved from 1.0 to 1.3, and nothing restarted the pod since. What that runs has no tag any more; only
/// the platforms of it do.
fn api(client: &Client) {
    let platform = |name: &str| image(&format!("api 1.0 {name}")).created("2025-01-15T08:00:00Z").platform(&format!("linux/{name}"));
    let before = Index::new()
        .child("linux/amd64", &platform("amd64").tag("1.0-amd64").push_by(client, "shop/api"))
        .child("linux/arm64", &platform("arm64").tag("1.0-arm64").push_by(client, "shop/api"))
        .tag("stable")
        .push_by(client, "shop/api");
    assert_eq!(before.digest, STABLE_BEFORE, "the manifests of the sample cluster name what the pod runs");
    for (tag, days) in [("1.1", 130), ("1.2", 95), ("1.3", 10)] {
        let image = image(&format!("api {tag}")).created(&days_ago(days)).tag(tag);
        let image = if tag == "1.3" { image.tag("stable") } else { image };
        image.push_by(client, "shop/api");
    }
}

/// A job that a clock starts, an image without a date, and a build cache.
fn jobs(client: &Client) {
    image("jobs").created(&days_ago(3)).tag("nightly").push_by(client, "shop/jobs");
    Image::undated().layer_of_size("reproducible", 250_000).tag("reproducible").push_by(client, "shop/jobs");
    BuildCache::new().blob("cache one").blob("cache two").created(&days_ago(30)).tag("buildcache").push_by(client, "shop/jobs");
}

/// Scaled to zero, and in Docker's media types.
fn worker(client: &Client) {
    for (tag, days) in [("1", 300), ("2", 8)] {
        let worker = Image::docker().layer_of_size("base", 2_000_000).layer_of_size(&format!("worker {tag}"), 300_000);
        worker.created(&days_ago(days)).tag(tag).push_by(client, "shop/worker");
    }
}

/// Nobody uses these.
fn lab(client: &Client) {
    let hours = |hours: u64| ago(Duration::from_secs(hours * 3600));
    for (tag, created) in [("try-1", days_ago(100)), ("try-2", days_ago(50)), ("try-3", hours(3))] {
        image(&format!("experiment {tag}")).created(&created).tag(tag).push_by(client, "lab/experiment");
    }
    Image::new().layer_of_size("notebook", 1_500_000).created(&days_ago(500)).tag("1").push_by(client, "lab/notebook");
}
