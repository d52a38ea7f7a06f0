//! What tests do with a registry that runs while its storage is collected.

use std::time::{Duration, Instant};

use tests::*;

/// `reg-gc CONFIG`.
pub(super) fn by_config(registry: &Registry, words: &[&str]) -> Tool {
    Tool::new("reg-gc").arg(registry.config_file()).args(words)
}

/// A client that asks for each blob before it sends it, as all clients do; and notes where a manifest was refused.
struct Asking<'a> {
    client: &'a Client,
    refused: std::cell::Cell<bool>,
}

impl fixtures::Place for Asking<'_> {
    fn put_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = digest_of(bytes);
        let there = self.client.send("HEAD", &format!("/v2/{repository}/blobs/{digest}"), &[], b"").status == 200;
        if there { digest } else { self.client.put_blob(repository, bytes) }
    }

    fn put_manifest(&self, repository: &str, reference: &str, media_type: &str, bytes: &[u8]) -> String {
        let target = format!("/v2/{repository}/manifests/{reference}");
        let answer = self.client.send("PUT", &target, &[("Content-Type", media_type)], bytes);
        assert!([201, 400].contains(&answer.status), "{}: {}", answer.status, answer.text());
        self.refused.set(answer.status == 400);
        digest_of(bytes)
    }
}

/// Pushes an image as clients do; `None` where the registry said that it lacks a part of it.
pub(super) fn try_push(registry: &Registry, image: Image) -> Option<Pushed> {
    let asking = Asking { client: registry.client(), refused: false.into() };
    let pushed = image.push_by(&asking, "team/app");
    (!asking.refused.get()).then_some(pushed)
}

/// A registry with a live image and one that was deleted.
pub(super) fn with_garbage(registry: &Registry) -> Pushed {
    Image::new().layer("lives").tag("v1").push(registry, "team/app");
    push_and_delete(registry)
}

pub(super) fn push_and_delete(registry: &Registry) -> Pushed {
    let dead = Image::new().layer("dead").tag("old").push(registry, "team/app");
    registry.client().delete_manifest("team/app", &dead.digest).expect(202, "deleting an image");
    dead
}

pub(super) fn wait_until(holds: impl Fn() -> bool, what: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
