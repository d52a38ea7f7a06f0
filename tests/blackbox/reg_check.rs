//! `reg-check`: what a registry serves, and what is wrong with it. Here: what is healthy, and what it is asked about; in the files
//! beside: damage on the disk of a real registry, answers that no healthy one gives, what runs, and what it costs; the storage itself, that it
//! is told as it is served, and what is made of findings.

pub(crate) mod agrees;
mod answers;
mod cost;
mod damage;
mod in_use;
mod reports;
mod stored;

use std::path::Path;

use serde_json::{Value, json};
use tests::*;

/// Checks all of a registry.
fn check(host: &str) -> Tool {
    Tool::new("reg-check").arg(host)
}

/// Checks a storage tree.
fn store(root: &Path, words: &[&str]) -> Tool {
    Tool::new("reg-check").arg("--store").arg(root).args(words)
}

/// `problem severity tag` of each finding, in their order.
fn told(ran: &Ran) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let findings = ran.records_of("finding");
    findings
        .iter()
        .map(|finding| format!("{} {} {}", word(&finding["problem"]), word(&finding["severity"]), word(&finding["tag"])))
        .collect()
}

/// The only finding of a problem.
#[track_caller]
fn the(ran: &Ran, problem: &str) -> Value {
    let mut found = ran.records_of("finding").into_iter().filter(|finding| finding["problem"] == problem);
    let finding = found.next().unwrap_or_else(|| panic!("no {problem}\n{ran}"));
    assert!(found.next().is_none(), "{problem} is told twice\n{ran}");
    finding
}

/// An index of two platforms with an attestation, a Docker image, a chart, a build cache and a signature: nothing is wrong with any.
fn healthy(registry: &Registry) {
    Index::new()
        .child("linux/amd64", Image::new().layer("amd"))
        .child("linux/arm64", Image::new().layer("arm"))
        .attestation_for("linux/amd64")
        .tag("1.0")
        .push(registry, "team/app");
    let signed = Image::new().layer("a").layer("b").tag("2.0").tag("latest").push(registry, "team/app");
    Signature::cosign(&signed).push(registry, "team/app");
    Image::docker().layer("docker").tag("1").push(registry, "team/docker");
    Image::artifact("application/vnd.cncf.helm.config.v1+json").layer("chart").tag("chart").push(registry, "team/chart");
    BuildCache::new().blob("cached").tag("cache").push(registry, "team/cache");
}

#[test]
fn what_is_healthy_is_silent_at_every_depth() {
    let registry = Registry::start();
    healthy(&registry);
    for depth in ["manifest", "config", "blobs", "content"] {
        let ran = check(registry.host()).args(["--depth", depth, "--fail-on", "unknown"]).run().succeeds();
        assert_eq!(told(&ran), [""; 0], "{depth}\n{ran}");
        let trailer = ran.the("trailer");
        assert_eq!((&trailer["images"], &trailer["healthy"], &trailer["complete"]), (&json!(7), &json!(7), &json!(true)));
        assert_eq!(trailer["hashed"].is_null(), depth != "content");
        let scope = &ran.the("header")["scope"];
        assert_eq!(scope, &json!({"registries": [{"registry": registry.host(), "prefixes": []}], "depth": depth}));
    }
}

#[test]
fn all_writes_what_is_healthy_too() {
    let registry = Registry::start();
    healthy(&registry);
    let ran = check(registry.host()).arg("--all").run().succeeds().stderr_has("7 images, 7 healthy");
    let repositories: Vec<_> = ran.records_of("finding").iter().map(|finding| finding["repository"].clone()).collect();
    assert_eq!(repositories.len(), 7);
    assert!(repositories.is_sorted_by_key(|name| name.as_str().map(str::to_owned)), "{repositories:?}");
    assert!(told(&ran).contains(&"none ok 1.0".to_owned()));
}

#[test]
fn a_part_of_a_registry_or_one_image_may_be_named() {
    let registry = Registry::start();
    healthy(&registry);
    let digest = Image::new().layer("untagged").push(&registry, "team/app").digest;
    for (operand, images) in [("/team/app", 4), ("/team/app:1.0", 1), (&*format!("/team/app@{digest}"), 1), ("/team/docker", 1)] {
        let ran = check(&format!("{}{operand}", registry.host())).run().succeeds();
        assert_eq!((&ran.the("trailer")["images"], told(&ran).len()), (&json!(images), 0), "{operand}\n{ran}");
    }
    let ran = check(&format!("{}/team/nothing", registry.host())).run().succeeds();
    assert_eq!(told(&ran), ["repository-ghost warning -"]);
    let ran = check(&format!("{}/team/app:9", registry.host())).run().status(1);
    assert_eq!(told(&ran), ["manifest-missing error 9"]);
    // By its digest no less, whether anybody uses it or not.
    let none = Inventory::of("prod").uses_ten_others().write();
    for repository in ["team/app", "team/nothing"] {
        let image = format!("{}/{repository}@{}", registry.host(), digest_of(b"gone"));
        assert_eq!(told(&check(&image).run().status(1)), ["manifest-missing error -"]);
        assert_eq!(told(&check(&image).arg("--in-use").arg(none.path()).run().status(1)), ["manifest-missing error -"]);
    }
    let ran = Tool::new("reg-check")
        .args([&format!("{}/team/app:9", registry.host()), &format!("{}/team/app:8", registry.host())])
        .run()
        .status(1);
    assert_eq!(told(&ran), ["manifest-missing error 8", "manifest-missing error 9"]);
}

#[test]
fn a_listing_is_checked_as_it_was_listed() {
    let registry = Registry::start();
    healthy(&registry);
    let gone = Image::new().layer("gone").tag("gone").push(&registry, "team/app");
    let moved = Image::new().layer("old").tag("moved").push(&registry, "team/app");
    let listing = Tool::new("reg-list").arg(registry.host()).run().succeeds().stdout();
    registry.client().delete_manifest("team/app", &gone.digest).expect(202, "deleting");
    Image::new().layer("new").tag("moved").push(&registry, "team/app");
    let ran = Tool::new("reg-check").stdin(listing.clone()).run().status(1);
    // A tag that moved since is looked at where it leads now; what it led to is still there.
    assert_eq!(told(&ran), ["manifest-missing error gone"], "{ran}");
    assert_eq!(the(&ran, "manifest-missing")["digest"], gone.digest);
    registry.client().delete_manifest("team/app", &moved.digest).expect(202, "deleting");
    let only = format!("{}/team/docker", registry.host());
    let ran = Tool::new("reg-check").args(["--only", &only]).stdin(listing).run().succeeds();
    let trailer = ran.the("trailer");
    assert_eq!((&trailer["images"], &trailer["notAsked"]), (&json!(1), &json!(8)), "{ran}");
}

#[test]
fn what_is_no_input_is_said() {
    for (arguments, input, status, says) in [
        (vec!["nginx:1.25"], "", 2, "\"nginx:1.25\" is neither a registry"),
        (vec!["u:s3cret@r.example.com/a:1"], "", 2, "is neither an image nor does it take a user"),
        (vec!["r.example.com", "--only", "r.example.com"], "", 2, "--only narrows what standard input names"),
        (vec![], "", 3, "not even a header came"),
        (vec![], "{\"type\":\"use\"}\n", 3, "its header is missing"),
        (vec![], "no record\n", 2, "standard input, line 1"),
    ] {
        let ran = Tool::new("reg-check").args(&arguments).stdin(input).run().status(status).stderr_has(says).stderr_lacks("s3cret");
        assert_eq!(ran.stdout(), "", "{arguments:?}");
    }
    let cut = Inventory::of("prod").uses("r.example.com", "a", "1").cut();
    Tool::new("reg-check").stdin(cut.jsonl()).run().status(3).stderr_has("it was cut off");
    Tool::new("reg-check")
        .args(["r.example.com", "--in-use"])
        .arg(cut.write().path())
        .run()
        .status(3)
        .stderr_has("take the inventory again");
    let old = Inventory::of("prod").taken("2020-01-01T00:00:00Z").partial().incomplete();
    let ran = Tool::new("reg-check").stdin(old.jsonl()).run().succeeds().stderr_has("nothing to check");
    assert_eq!(ran.the("trailer")["images"], 0);
    Tool::new("reg-check").in_terminal().run().status(2).stdout_has("k8s-images | reg-check");
}

/// A listing of `team/app` in which only the tag 1 could be read.
fn unread_listing(host: &str, digest: &str, trailer: Value) -> String {
    let mut header = json!({"type": "header", "tool": "reg-list", "version": "0.1.0", "schema": 1, "time": ago(std::time::Duration::ZERO)});
    header["scope"] = json!({"registry": host, "prefixes": []});
    lines(&[
        header,
        json!({"type": "manifest", "registry": host, "repository": "team/app", "digest": digest, "tags": ["1"]}),
        json!({"type": "repository", "registry": host, "repository": "team/app", "complete": false, "error": "two: 500"}),
        trailer,
    ])
}

#[test]
fn a_repository_that_was_not_listed_whole_is_looked_at_whole() {
    let registry = Registry::start();
    let app = Image::new().layer("a").tag("1").push(&registry, "team/app");
    Image::new().layer("b").tag("two").push(&registry, "team/app");
    let proxy = Proxy::before(&registry);
    let _ = proxy.always(|request| request.path() == "/v2/team/app/manifests/two", Response::error(500, "UNKNOWN"));
    let trailer = json!({"type": "trailer", "complete": false, "records": 1, "incompleteRepositories": 1, "error": null});
    let ran = Tool::new("reg-check").stdin(unread_listing(proxy.host(), &app.digest, trailer.clone())).run().status(1);
    let ran = ran.stderr_has("team/app (two: 500): the listing did not read it whole");
    assert_eq!(told(&ran), ["tag-unreachable error two"], "{ran}");
    let ran = Tool::new("reg-check").stdin(unread_listing(registry.host(), &app.digest, trailer)).run().succeeds();
    assert_eq!((told(&ran).len(), &ran.the("trailer")["healthy"], &ran.the("trailer")["complete"]), (0, &json!(2), &json!(true)), "{ran}");
    // As reg-list itself writes it.
    let listing = Tool::new("reg-list").arg(proxy.host()).run().stdout();
    let ran = Tool::new("reg-check").stdin(listing).run().status(1);
    assert_eq!(told(&ran), ["tag-unreachable error two"], "{ran}");
}

#[test]
fn a_listing_whose_catalog_broke_off_is_told_of_its_registry() {
    let registry = Registry::start();
    let app = Image::new().layer("a").tag("1").push(&registry, "team/app");
    let trailer =
        json!({"type": "trailer", "complete": false, "records": 1, "incompleteRepositories": 1, "error": "the catalog broke off"});
    let listing = unread_listing(registry.host(), &app.digest, trailer);
    let ran = Tool::new("reg-check").stdin(listing.clone()).run().succeeds().stderr_has("says that it is not complete");
    assert_eq!((told(&ran), &ran.the("trailer")["complete"]), (vec!["not-asked unknown -".to_owned()], &json!(false)), "{ran}");
    assert_eq!((&the(&ran, "not-asked")["registry"], &ran.the("trailer")["healthy"]), (&json!(registry.host()), &json!(1)));
    Tool::new("reg-check").args(["--fail-on", "unknown"]).stdin(listing.clone()).run().status(1);
    let ran = Tool::new("reg-check").args(["--only", "other.example.com"]).stdin(listing).run().succeeds();
    assert_eq!(told(&ran).len(), 0, "{ran}");
}

#[test]
fn a_password_goes_to_the_registry_that_was_named_and_to_no_other() {
    let registry = Registry::with().htpasswd("me", "s3cret").start();
    Image::new().layer("a").tag("1").push(&registry, "team/app");
    let as_me = |tool: Tool| tool.env("REG_USER", "me").env("REG_PASSWORD", "s3cret");
    assert_eq!(as_me(check(registry.host())).run().succeeds().the("trailer")["healthy"], 1);
    let uses = Inventory::of("prod").uses(registry.host(), "team/app", "1");
    let stdin = || Tool::new("reg-check").stdin(uses.jsonl());
    assert_eq!(as_me(stdin()).env("REG_REGISTRY", registry.host()).run().succeeds().the("trailer")["healthy"], 1);
    let ran = as_me(stdin()).env("REG_REGISTRY", "other.example.com").run().stderr_lacks("s3cret");
    assert_eq!(told(&ran), ["not-asked unknown 1"], "denied is unknown, never missing");
}

#[test]
fn a_registry_that_cannot_be_asked_is_no_healthy_one() {
    let port = ScriptedServer::start().host().to_owned();
    let ran = check(&port).run().status(2).stderr_has("no registry answered");
    assert_eq!((told(&ran), &ran.the("trailer")["complete"]), (vec!["not-asked unknown -".to_owned()], &json!(false)));
    let registry = Registry::start();
    healthy(&registry);
    let ran = Tool::new("reg-check").args([&port, registry.host()]).run().succeeds();
    assert_eq!((told(&ran).len(), &ran.the("trailer")["healthy"]), (1, &json!(7)));
    Tool::new("reg-check").args([&port, registry.host(), "--fail-on", "unknown"]).run().status(1);
}
