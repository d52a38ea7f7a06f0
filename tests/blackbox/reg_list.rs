//! `reg-list`: a registry in, `manifest` records out. Here: what is listed and how; in the files beside: what it costs, whom it
//! asks, and what happens when that fails.

mod cost;
mod failures;
mod reach;
mod store;

use serde_json::{Value, json};
use tests::*;

fn list(registry: &Registry) -> Tool {
    Tool::new("reg-list").arg(registry.host())
}

/// The manifest record of what was pushed.
#[track_caller]
fn record_of(ran: &Ran, pushed: &Pushed) -> Value {
    let records = ran.records_of("manifest");
    let mut found = records.into_iter().filter(|record| record["digest"] == pushed.digest && record["repository"] == pushed.repository);
    let record = found.next().unwrap_or_else(|| panic!("{} is not listed\n{ran}", pushed.by_digest()));
    assert!(found.next().is_none(), "{} is listed twice\n{ran}", pushed.by_digest());
    record
}

/// The values of a key in the records of a kind, in their order.
fn values(ran: &Ran, kind: &str, key: &str) -> Vec<String> {
    ran.records_of(kind).iter().map(|record| record[key].as_str().map_or_else(|| record[key].to_string(), str::to_owned)).collect()
}

#[test]
fn an_image_is_told_in_full() {
    let registry = Registry::start();
    let image = Image::new().layer("a").layer("b").created("2026-01-02T03:04:05Z").label("team", "shop").annotation("note", "x");
    let app = image.tag("1.2").tag("latest").push(&registry, "team/app");
    let config = registry.client().blob("team/app", &app.config).body.len();
    let ran = list(&registry).run().succeeds();
    let records = ran.records();
    let kinds: Vec<_> = records.iter().map(|record| record["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["header", "manifest", "repository", "trailer"]);

    let header = &records[0];
    assert_eq!((header["tool"].as_str(), header["schema"].as_u64()), (Some("reg-list"), Some(1)));
    assert_eq!(header["scope"], json!({"registry": registry.host(), "prefixes": []}));
    let size = |name: &str| format!("layer {name}\n").len();
    let image_size = config + size("a") + size("b");
    assert_eq!(
        records[1],
        json!({
            "type": "manifest", "registry": registry.host(), "repository": "team/app", "digest": app.digest, "tags": ["1.2", "latest"],
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "artifactType": null, "size": app.bytes.len(), "imageSize": image_size,
            "created": "2026-01-02T03:04:05Z", "createdSource": "config", "pushed": null, "platform": "linux/amd64", "config": app.config,
            "children": [], "parents": [], "subjects": [], "missing": [],
            "blobs": [
                {"digest": app.config, "size": config},
                {"digest": app.layers[0], "size": size("a")},
                {"digest": app.layers[1], "size": size("b")},
            ],
            "labels": {"team": "shop"}, "annotations": {"note": "x"},
        })
    );
    assert_eq!(
        records[2],
        json!({"type": "repository", "registry": registry.host(), "repository": "team/app", "complete": true, "error": null,
               "tagCount": 2, "manifestCount": 1, "imageSize": image_size})
    );
    assert_eq!(
        records[3],
        json!({"type": "trailer", "complete": true, "records": 1, "repositories": 1, "incompleteRepositories": 0, "tags": 2,
               "manifests": 1, "imageSize": image_size, "error": null})
    );
    ran.stderr_has("1 repository, 2 tags, 1 manifest, ");
}

#[test]
fn a_listing_is_closed_under_reference() {
    let registry = Registry::start();
    let app = Index::new()
        .child("linux/amd64", Image::new().layer("amd"))
        .child("linux/arm64/v8", Image::new().layer("arm"))
        .attestation_for("linux/amd64")
        .tag("v1")
        .push(&registry, "team/app");
    let signature = Signature::cosign(&app).push(&registry, "team/app");
    let untagged = Image::new().layer("untagged").push(&registry, "team/app");
    let sbom =
        Image::artifact("application/vnd.oci.empty.v1+json").artifact_type("application/spdx+json").blob("application/spdx+json", b"{}");
    let sbom = sbom.subject(&untagged).push(&registry, "team/app");
    let referrers = Referrers::of(&untagged).list(&sbom).push(&registry, "team/app");
    let ran = list(&registry).run().succeeds();

    let index = record_of(&ran, &app);
    let [amd, arm, attestation] = [0, 1, 2].map(|n| app.children[n].clone());
    assert_eq!(index["children"], json!([amd.digest, arm.digest, attestation.digest]));
    assert_eq!((&index["platform"], &index["blobs"], &index["config"]), (&json!(null), &json!([]), &json!(null)));
    for (child, platform) in [(&amd, "linux/amd64"), (&arm, "linux/arm64/v8"), (&attestation, "unknown/unknown")] {
        let record = record_of(&ran, child);
        assert_eq!((&record["tags"], &record["parents"], &record["platform"]), (&json!([]), &json!([app.digest]), &json!(platform)));
    }
    let sum: u64 = app.children.iter().map(|child| record_of(&ran, child)["imageSize"].as_u64().unwrap()).sum();
    assert_eq!(index["imageSize"], json!(sum), "the three share no blob");

    assert_eq!(record_of(&ran, &signature)["subjects"], json!([app.digest]));
    assert_eq!(record_of(&ran, &referrers)["subjects"], json!([untagged.digest]), "what a referrer tag names is a subject");
    assert_eq!(record_of(&ran, &referrers)["children"], json!([sbom.digest]));
    let artifact = record_of(&ran, &sbom);
    assert_eq!((&artifact["subjects"], &artifact["parents"]), (&json!([untagged.digest]), &json!([referrers.digest])));
    assert_eq!((&artifact["artifactType"], &artifact["created"]), (&json!("application/spdx+json"), &json!(null)));
    assert_eq!(record_of(&ran, &untagged)["tags"], json!([]), "a subject that no tag reaches is listed");
    assert_eq!(ran.the("repository")["manifestCount"], 8);
    assert_eq!(ran.the("trailer")["records"], 8);
}

#[test]
fn what_is_gone_stands_in_missing() {
    let registry = Registry::start();
    let app = Index::new()
        .child("linux/amd64", Image::new().layer("amd"))
        .child("linux/arm64", Image::new().layer("arm"))
        .tag("v1")
        .push(&registry, "team/app");
    let gone = Image::new().layer("gone").tag("old").push(&registry, "team/app");
    let signature = Signature::cosign(&gone).push(&registry, "team/app");
    let referrer = Image::artifact("application/vnd.cncf.helm.config.v1+json").subject(&gone).tag("referrer").push(&registry, "team/app");
    let client = registry.client();
    client.delete_manifest("team/app", &app.children[1].digest).expect(202, "deleting a child");
    client.delete_manifest("team/app", &gone.digest).expect(202, "deleting a subject");

    let ran = list(&registry).run().succeeds();
    let index = record_of(&ran, &app);
    assert_eq!(index["missing"], json!([app.children[1].digest]));
    assert_eq!(index["children"].as_array().unwrap().len(), 2);
    for of_gone in [&signature, &referrer] {
        let record = record_of(&ran, of_gone);
        assert_eq!((&record["subjects"], &record["missing"]), (&json!([gone.digest]), &json!([gone.digest])));
    }
    assert_eq!(ran.the("repository")["complete"], true);
    assert_eq!(ran.records_of("tag").len(), 0);
}

#[test]
fn every_kind_of_manifest_is_told_apart() {
    let registry = Registry::start();
    let docker = Image::docker().layer("base").tag("docker").push(&registry, "kinds");
    let docker_list = Index::docker().child("linux/s390x", Image::docker().layer("s390x")).tag("list").push(&registry, "kinds");
    let chart = Image::artifact("application/vnd.cncf.helm.config.v1+json").layer("chart").tag("chart").push(&registry, "kinds");
    let cache = BuildCache::new().blob("one").blob("two").tag("cache").push(&registry, "kinds");
    let nested = Index::new()
        .entry(Index::new().child("linux/amd64", Image::new().layer("inner")))
        .entry(&chart)
        .tag("nested")
        .push(&registry, "kinds");
    let ran = list(&registry).run().succeeds();

    let record = record_of(&ran, &docker);
    assert_eq!(
        (&record["mediaType"], &record["artifactType"]),
        (&json!("application/vnd.docker.distribution.manifest.v2+json"), &json!(null))
    );
    let record = record_of(&ran, &docker_list);
    assert_eq!(record["mediaType"], "application/vnd.docker.distribution.manifest.list.v2+json");
    assert_eq!(record_of(&ran, &docker_list.children[0])["platform"], "linux/s390x");
    let record = record_of(&ran, &chart);
    assert_eq!(record["artifactType"], "application/vnd.cncf.helm.config.v1+json");
    assert_eq!((&record["created"], &record["createdSource"]), (&json!(null), &json!("no date")));
    assert_eq!(record["parents"], json!([nested.digest]));
    let record = record_of(&ran, &cache);
    assert_eq!((&record["artifactType"], &record["children"]), (&json!("application/vnd.buildkit.cacheconfig.v0"), &json!([])));
    assert_eq!((record["blobs"].as_array().unwrap().len(), &record["missing"]), (3, &json!([])), "its entries are blobs and no manifests");
    let record = record_of(&ran, &nested.children[0].children[0]);
    assert_eq!((&record["parents"], &record["platform"]), (&json!([nested.children[0].digest]), &json!("linux/amd64")));
    assert_eq!(record_of(&ran, &nested)["createdSource"], "children");
}

#[test]
fn dates_say_where_they_come_from_and_the_impossible_are_unknown() {
    let registry = Registry::start();
    let at = |time: &str| Image::new().layer(time).created(time);
    let annotation = "org.opencontainers.image.created";
    let push = |image: Image, tag: &str| image.tag(tag).push(&registry, "dates");
    let annotated = push(at("2026-01-01T00:00:00Z").annotation(annotation, "2026-02-01T00:00:00Z"), "annotated");
    let epoch = push(at("1970-01-01T00:00:00Z"), "epoch");
    let before = push(at("2013-03-19T23:59:59Z"), "before");
    let first = push(at("2013-03-20T00:00:00Z"), "first");
    let future = push(at("2999-01-01T00:00:00Z"), "future");
    let none = push(Image::undated().layer("undated"), "none");
    let newest = Index::new()
        .child("linux/amd64", at("2025-05-01T00:00:00Z"))
        .child("linux/arm64", at("2025-06-01T00:00:00Z"))
        .attestation_for("linux/amd64")
        .annotation(annotation, "2020-01-01T00:00:00Z")
        .tag("index")
        .push(&registry, "dates");
    let own = Index::new()
        .child("linux/amd64", at("1980-01-01T00:00:00Z"))
        .annotation(annotation, "2024-01-01T00:00:00Z")
        .tag("own")
        .push(&registry, "dates");
    let mixed = Index::new()
        .child("linux/amd64", at("1980-01-01T00:00:00Z"))
        .child("linux/arm64", at("2025-06-01T00:00:00Z"))
        .tag("mixed")
        .push(&registry, "dates");
    // One platform of unknown age may be the newest, whatever its sisters and the index say.
    let of_child =
        |index: &Pushed| format!("children: {}: config: 1980-01-01T00:00:00Z is before 2013-03-20", &index.children[0].digest[..19]);
    let nothing = Index::new().child("linux/amd64", at("1980-01-01T00:00:00Z")).tag("nothing").push(&registry, "dates");
    let ran = list(&registry).run().succeeds();
    for (pushed, created, source) in [
        (&annotated, json!("2026-02-01T00:00:00Z"), "annotation"),
        (&epoch, json!(null), "config: 1970-01-01T00:00:00Z is before 2013-03-20"),
        (&before, json!(null), "config: 2013-03-19T23:59:59Z is before 2013-03-20"),
        (&first, json!("2013-03-20T00:00:00Z"), "config"),
        (&future, json!(null), "config: 2999-01-01T00:00:00Z is in the future"),
        (&none, json!(null), "config: no date"),
        (&newest, json!("2025-06-01T00:00:00Z"), "children"),
        (&own, json!(null), &of_child(&own)),
        (&nothing, json!(null), &of_child(&nothing)),
        (&mixed, json!(null), &of_child(&mixed)),
    ] {
        let record = record_of(&ran, pushed);
        assert_eq!((&record["created"], &record["createdSource"]), (&created, &json!(source)), "{:?}", pushed.tags);
    }
}

#[test]
fn shared_blobs_count_once_in_image_repository_and_section() {
    let registry = Registry::start();
    let layers = |own: &str| Image::new().layer_of_size("base", 100_000).layer_of_size(own, 1_000);
    layers("a").tag("a").push(&registry, "one");
    layers("b").tag("b").push(&registry, "one");
    layers("a").tag("a").push(&registry, "two");
    let ran = list(&registry).run().succeeds();
    let records = ran.records_of("manifest");
    let configs = |repository: &str| -> u64 {
        let of = records.iter().filter(|record| record["repository"] == repository);
        of.map(|record| record["blobs"][0]["size"].as_u64().unwrap()).sum()
    };
    let repositories = ran.records_of("repository");
    assert_eq!(repositories[0]["imageSize"], json!(102_000 + configs("one")));
    assert_eq!(repositories[1]["imageSize"], json!(101_000 + configs("two")));
    assert_eq!(ran.the("trailer")["imageSize"], repositories[0]["imageSize"], "the second repository has nothing of its own");
}

#[test]
fn order_is_total_and_the_same_every_time() {
    let registry = Registry::start();
    for repository in ["b/two", "a/one", "c"] {
        for n in [3, 1, 2] {
            Image::new().layer(&format!("{repository} {n}")).tag(&format!("v{n}")).push(&registry, repository);
        }
        Index::new()
            .child("linux/amd64", Image::new().layer("x"))
            .child("linux/arm64", Image::new().layer("y"))
            .tag("multi")
            .push(&registry, repository);
    }
    let run = || list(&registry).run().succeeds();
    let first = run();
    assert_eq!(values(&first, "repository", "repository"), ["a/one", "b/two", "c"]);
    let tags: Vec<Value> = first.records_of("manifest").iter().take(6).map(|record| record["tags"].clone()).collect();
    assert_eq!(tags, [json!(["multi"]), json!(["v1"]), json!(["v2"]), json!(["v3"]), json!([]), json!([])]);
    let digests = values(&first, "manifest", "digest");
    assert!(digests[4] < digests[5], "what has no tag comes in the order of its digests");
    // A repository's record closes its manifests.
    let mut open = None;
    for record in first.records() {
        match record["type"].as_str().unwrap() {
            "manifest" => assert_eq!(*open.get_or_insert_with(|| record["repository"].clone()), record["repository"]),
            "repository" => assert_eq!(open.take(), Some(record["repository"].clone())),
            _ => {}
        }
    }
    for _ in 0..3 {
        assert_eq!(run().records()[1..], first.records()[1..]);
    }
    let one_by_one = list(&registry).args(["--jobs", "1"]).run().succeeds();
    assert_eq!(one_by_one.records()[1..], first.records()[1..]);
}

#[test]
fn many_repositories_and_one_that_is_large() {
    let registry = Registry::start();
    let mut images = Vec::new();
    for n in 0..30 {
        images.push((format!("small/r{n:02}"), Image::new().layer("base").label("n", &n.to_string()).tag("v1")));
    }
    for n in 0..150 {
        images.push(("large".to_owned(), Image::new().layer("base").label("n", &n.to_string()).tag(&format!("v{n}"))));
    }
    push_all(&registry, &images);
    let ran = list(&registry).run().succeeds();
    assert_eq!(ran.records_of("manifest").len(), 180);
    let repositories = ran.records_of("repository");
    assert_eq!(repositories.len(), 31);
    assert!(repositories.iter().all(|record| record["complete"] == true));
    assert_eq!((&repositories[0]["repository"], &repositories[0]["tagCount"]), (&json!("large"), &json!(150)));
}

#[test]
fn a_prefix_is_whole_path_components() {
    let registry = Registry::start();
    for repository in ["team/app", "team/app/web", "team/application", "lib/app"] {
        Image::new().layer("a").tag("v1").push(&registry, repository);
    }
    let listed = |operands: &[&str]| {
        let operands = operands.iter().map(|prefix| format!("{}{prefix}", registry.host()));
        let ran = Tool::new("reg-list").args(operands).run().succeeds();
        assert_eq!(ran.records_of("header").len(), 1, "one section for each registry");
        (values(&ran, "repository", "repository"), ran.the("header")["scope"]["prefixes"].clone(), ran.stderr().to_owned())
    };
    assert_eq!(listed(&["/team/app"]).0, ["team/app", "team/app/web"]);
    let (repositories, prefixes, _) = listed(&["/team/app/", "/lib"]);
    assert_eq!(repositories, ["lib/app", "team/app", "team/app/web"]);
    assert_eq!(prefixes, json!(["team/app", "lib"]));
    assert_eq!(listed(&["/team", ""]).0.len(), 4, "the whole holds its parts");
    let (repositories, _, stderr) = listed(&["/tea"]);
    assert!(repositories.is_empty() && stderr.contains("/tea: the catalog names no repository there"), "{stderr}");
    let http = Tool::new("reg-list").arg(format!("http://{}/lib/", registry.host())).run().succeeds();
    assert_eq!(values(&http, "repository", "repository"), ["lib/app"]);
}

#[test]
fn globs_choose_repositories_and_idle_ones_are_said() {
    let registry = Registry::start();
    for repository in ["team/app", "team/app/cache", "lib/app"] {
        Image::new().layer("a").tag("v1").push(&registry, repository);
    }
    let ran = list(&registry).args(["--repository", "team/**", "--exclude", "**/cache"]).run().succeeds().stderr_lacks("matches no");
    assert_eq!(values(&ran, "repository", "repository"), ["team/app"]);
    let ran = list(&registry).args(["--repository", "*", "--exclude", "lib/*"]).run().succeeds();
    ran.stderr_has("the pattern \"*\" matches no repository").stderr_lacks("lib/*");
    list(&registry).args(["--repository", "team/[a"]).run().status(2).stderr_has("is no glob").stdout_is_empty();
}

#[test]
fn tags_and_counts_alone() {
    let registry = Registry::with().cache_off().start();
    for tag in ["v2", "v1"] {
        Image::new().layer(tag).tag(tag).push(&registry, "team/app");
    }
    let broken = Image::new().layer("broken").tag("broken").push(&registry, "team/app");
    Image::new().layer("a").tag("latest").push(&registry, "team/web");
    registry.storage().remove_blob(&broken.digest);

    let ran = list(&registry).arg("--tags").run().succeeds();
    let kinds: Vec<_> = ran.records().iter().map(|record| record["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["header", "tag", "tag", "tag", "tag", "trailer"]);
    let host = registry.host();
    assert_eq!(ran.records()[1], json!({"type": "tag", "registry": host, "repository": "team/app", "tag": "broken", "error": null}));
    assert_eq!(values(&ran, "tag", "tag"), ["broken", "v1", "v2", "latest"]);
    let trailer = ran.the("trailer");
    assert_eq!((&trailer["records"], &trailer["tags"], &trailer["manifests"]), (&json!(4), &json!(4), &json!(null)));

    let ran = list(&registry).arg("--count").run().succeeds();
    let expected = |repository: &str, tags: u64| {
        json!({"type": "repository", "registry": host, "repository": repository, "complete": true, "error": null, "tagCount": tags,
               "manifestCount": null, "imageSize": null})
    };
    assert_eq!(ran.records()[1..3], [expected("team/app", 3), expected("team/web", 1)], "unhealthy tags count");
    assert_eq!(
        ran.the("trailer"),
        json!({"type": "trailer", "complete": true, "records": 2, "repositories": 2, "incompleteRepositories": 0, "tags": 4,
               "manifests": null, "imageSize": null, "error": null})
    );
    list(&registry).args(["--tags", "--count"]).run().status(2);
}

#[test]
fn repositories_on_standard_input() {
    let registry = Registry::start();
    for repository in ["team/app", "team/web", "team/other"] {
        Image::new().layer("a").tag("v1").push(&registry, repository);
    }
    let host = registry.host();
    let lines = format!("{host}/team/web:v7\n\n# comment\n{host}/team/app\n{host}/team/web\n{host}/team/gone\n");
    let ran = Tool::new("reg-list").arg("-").stdin(lines).run().succeeds();
    assert_eq!(values(&ran, "repository", "repository"), ["team/web", "team/app", "team/gone"]);
    assert_eq!(ran.records_of("manifest").len(), 2);
    let gone = &ran.records_of("repository")[2];
    assert_eq!((&gone["complete"], &gone["tagCount"]), (&json!(true), &json!(0)), "a ghost is empty and complete");
    assert_eq!(ran.the("header")["scope"], json!({"registry": host, "prefixes": ["team/web", "team/app", "team/gone"]}));

    let inventory = Inventory::of("prod").uses(host, "team/app", "v1").uses(host, "team/app", "v2").uses(host, "team/web", "v1");
    let ran = Tool::new("reg-list").args(["-", "--count", "--exclude", "team/web"]).stdin(inventory.jsonl()).run().succeeds();
    assert_eq!(values(&ran, "repository", "repository"), ["team/app"]);

    let second = Registry::start();
    Image::new().layer("a").tag("v1").push(&second, "lib");
    let lines = format!("{host}/team/app\n{}/lib\n{host}/team/web\n", second.host());
    let ran = Tool::new("reg-list").args(["-", "--tags"]).stdin(lines).run().succeeds();
    assert_eq!(ran.records_of("header").len(), 2, "one section for each registry");
    assert_eq!(values(&ran, "tag", "repository"), ["team/app", "team/web", "lib"]);

    Tool::new("reg-list").arg("-").run().status(2).stderr_has("names no repository").stdout_is_empty();
    Tool::new("reg-list").arg("-").stdin("a/b\n{\"type\"\n").run().status(2).stderr_has("standard input, line 2").stdout_is_empty();
    Tool::new("reg-list").args(["-", host]).run().status(2).stderr_has("stands alone");
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let registry = Registry::start();
    let images: Vec<_> = (0..40).map(|n| (format!("r{n}"), Image::new().layer("base").label("n", &"x".repeat(5_000)).tag("v1"))).collect();
    push_all(&registry, &images);
    let ran = shell(&format!("reg-list {} | head -1; echo \"${{PIPESTATUS[0]}}\"", registry.host())).run().succeeds();
    let stdout = ran.stdout();
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(lines[0].contains("\"header\"") && lines[1..] == ["0"], "{ran}");
    ran.stderr_lacks("reg-list:");
}

#[test]
fn people_get_a_table_and_a_summary() {
    let registry = Registry::start();
    Image::new().layer("a").created("2026-01-02T03:04:05Z").tag("v1").push(&registry, "team/app");
    let ran = list(&registry)
        .args(["--format", "table"])
        .run()
        .succeeds()
        .stdout_has("REPOSITORY")
        .stdout_has("2026-01-02 03:04")
        .stdout_has("v1");
    ran.stderr_has("reg-list: ").stderr_has("1 repository, 1 tag, 1 manifest");
    list(&registry).arg("--quiet").run().succeeds().stderr_lacks("reg-list");
    // Progress is for a terminal alone, and so is the table where nothing else was said.
    let terminal = list(&registry).in_terminal().run().succeeds().stdout_has("REPOSITORY").stdout_has("1 repository, 1 tag, 1 manifest");
    assert!(!terminal.stdout().contains("\"type\""), "{terminal}");
    let proxy = Proxy::before(&registry);
    let gate = proxy.hold_before(|request| request.path().ends_with("/manifests/v1"));
    let mut running = Tool::new("reg-list").arg(proxy.host()).env("TERM", "xterm").in_terminal().spawn();
    gate.wait();
    gate.open();
    running.close_stdin();
    let progress = running.wait().succeeds().stdout();
    assert!(progress.contains("requests"), "{progress:?}");
    Tool::new("reg-list").arg("-").in_terminal().run().status(2).stdout_has("which is a terminal; for example");
    let help = Tool::new("reg-list").arg("--help").run().succeeds().stdout();
    assert!(help.find("Examples:") < help.find("Usage:"), "{help}");
    Tool::new("reg-list").args(["--generate", "man"]).run().succeeds().stdout_has(".TH reg-list");
}
