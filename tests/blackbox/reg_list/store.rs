//! A registry's storage listed without a server: the same records as over HTTP, and what no API shows. Where something is broken, what
//! the real registry answers is the measure.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tests::*;

use super::{list, record_of, values};

fn stored_at(root: &Path, registry: &str) -> Tool {
    Tool::new("reg-list").arg("--store").arg(root).args(["--registry", registry])
}

fn stored(registry: &Registry) -> Tool {
    stored_at(&registry.root(), registry.host())
}

/// All records but the header, without what only a tree can tell.
fn comparable(ran: &Ran) -> Vec<Value> {
    let mut records = ran.records();
    assert_eq!(records.remove(0)["type"], "header");
    for record in &mut records {
        if record["type"] == "manifest" {
            record["pushed"] = Value::Null;
        }
    }
    records
}

#[track_caller]
fn assert_same(registry: &Registry, arguments: &[&str]) {
    let (served, from_tree) = (list(registry).args(arguments).run().succeeds(), stored(registry).args(arguments).run().succeeds());
    assert_eq!(served.the("header")["scope"], from_tree.the("header")["scope"]);
    for (one, other) in comparable(&served).iter().zip(&comparable(&from_tree)) {
        assert_eq!(one, other, "served, and in the tree");
    }
    assert_eq!(comparable(&served).len(), comparable(&from_tree).len());
    assert_eq!(served.stderr(), from_tree.stderr(), "the same summary and sentences");
}

/// Everything that lists differently: indexes in indexes, referrers by tag and by subject, artifacts, caches, labels; nothing that no API
/// shows.
fn fill(registry: &Registry) {
    for n in 1..=12 {
        let image = Image::new().layer("base").layer(&format!("app {n}")).label("n", &n.to_string()).annotation("n", "x");
        image.created(&format!("2026-01-{n:02}T00:00:00Z")).tag(&format!("v{n}")).push(registry, "shop/app");
    }
    registry.client().retag("shop/app", "v12", "latest");
    Image::new().layer("base").label("n", "1").tag("promoted").push(registry, "shop.old");
    Image::undated().layer("undated").tag("v1").push(registry, "shop");
    let inner = Index::new().child("linux/arm/v7", Image::new().layer("v7")).child("linux/arm/v6", Image::new().layer("v6"));
    let outer = Index::new().child("linux/amd64", Image::new().layer("amd64").label("a", "b")).entry(inner).attestation_for("linux/amd64");
    let outer = outer.tag("nested").tag("latest").push(registry, "deep/er/app");
    Signature::cosign(&outer).push(registry, "deep/er/app");
    let subject = Image::docker().layer("subject").created("1970-01-01T00:00:00Z").push(registry, "deep");
    let sbom = Image::artifact("application/vnd.oci.empty.v1+json").blob("application/spdx+json", b"{}").subject(&subject);
    let sbom = sbom.push(registry, "deep");
    Referrers::of(&subject).list(&sbom).push(registry, "deep");
    BuildCache::new().blob("cache").created("2026-02-03T04:05:06Z").tag("buildcache").push(registry, "deep/1");
    Index::docker().child("linux/amd64", Image::docker().layer("l")).tag("list").push(registry, "deep-sea");
}

#[test]
fn the_same_records_as_over_http() {
    let registry = Registry::start();
    fill(&registry);
    assert_same(&registry, &[]);
    assert_same(&registry, &["--tags"]);
    assert_same(&registry, &["--count"]);
    assert_same(&registry, &["--repository", "deep/**", "--exclude", "**/app", "--repository", "nothing"]);

    let named = |name: &str| Tool::new("reg-list").arg("--store").arg(registry.root()).env("REG_REGISTRY", name).run().succeeds();
    let below = named(&format!("{}/deep/er", registry.host()));
    let served = Tool::new("reg-list").arg(format!("{}/deep/er", registry.host())).run().succeeds();
    assert_eq!((comparable(&below), &below.the("header")["scope"]), (comparable(&served), &served.the("header")["scope"]));
    let other = named("registry.example.com");
    assert!(values(&other, "manifest", "registry").iter().all(|name| name == "registry.example.com"));
    named("registry.example.com/nowhere").stderr_has("registry.example.com/nowhere: the storage holds no repository there");
}

#[test]
fn what_no_api_shows_is_there_and_may_go() {
    let registry = Registry::start();
    let old = Image::new().layer("old").tag("v1").push(&registry, "team/app");
    let new = Image::new().layer("new").tag("v1").push(&registry, "team/app");
    let index = Index::new().child("linux/amd64", Image::new().layer("amd")).push(&registry, "team/app");
    assert_eq!(list(&registry).run().succeeds().records_of("manifest").len(), 1, "no API lists what has no tag");
    let pushed = SystemTime::now() - Duration::from_secs(40 * 86_400);
    let pushed = SystemTime::UNIX_EPOCH + Duration::from_secs(pushed.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs());
    let storage = registry.storage();
    for manifest in [&old, &index, &index.children[0]] {
        File::options().write(true).open(storage.revision_link("team/app", &manifest.digest)).unwrap().set_modified(pushed).unwrap();
    }
    registry.stop();

    let ran = stored(&registry).run().succeeds();
    assert_eq!(ran.records_of("manifest").len(), 4);
    assert_eq!(record_of(&ran, &new)["tags"], json!(["v1"]));
    assert_eq!(record_of(&ran, &old)["tags"], json!([]));
    assert_eq!(record_of(&ran, &index.children[0])["parents"], json!([index.digest]));
    let date = |seconds: u64| shell(&format!("date -u -d @{seconds} +%Y-%m-%dT%H:%M:%SZ")).run().succeeds().stdout().trim().to_owned();
    let seconds = pushed.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(record_of(&ran, &old)["pushed"], json!(date(seconds)), "the time of the revision's link");
    assert!(record_of(&ran, &new)["pushed"].as_str().unwrap() > date(seconds).as_str());

    let storage = registry.root();
    let pipe = |select: &str| {
        let script = format!("reg-list --store '{}' --registry {} | {select}", storage.display(), registry.host());
        shell(&script).run().succeeds()
    };
    let goes = |ran: &Ran| ran.records_of("manifest").iter().map(|it| it["digest"].as_str().unwrap().to_owned()).collect::<HashSet<_>>();
    let select = "reg-select --without-in-use --delete-untagged --keep-within";
    let expected = HashSet::from([&old, &index, &index.children[0]].map(|pushed| pushed.digest.clone()));
    assert_eq!(goes(&pipe(&format!("{select} 30d"))), expected);
    assert_eq!(goes(&pipe(&format!("{select} 50d"))), HashSet::new(), "its age is that of its push, though it was built before");
    let jq = pipe("jq -r 'select(.type == \"manifest\" and .tags == [] and .parents == []) | .digest'");
    assert_eq!(jq.stdout().lines().collect::<HashSet<_>>(), HashSet::from([old.digest.as_str(), index.digest.as_str()]));
}

/// What a fault does to the record that closes the repository.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    /// It was read whole.
    Whole,
    /// It was not, and the error names a path that ends so.
    Frozen(&'static str),
}

#[test]
fn each_fault_is_told_as_over_http() {
    use Then::{Frozen, Whole};
    type Damage = fn(&Storage, &Pushed);
    let damages: [(&str, Damage, Then); 15] = [
        ("healthy", |_, _| {}, Whole),
        (
            "current-empty",
            |storage, of| storage.empty_tag_link(&of.repository, "v1"),
            Frozen("/_manifests/tags/v1/current/link: the link is empty"),
        ),
        (
            "current-garbled",
            |storage, of| storage.point_tag(&of.repository, "v1", "rubbish"),
            Frozen("/tags/v1/current/link: the link is garbled"),
        ),
        ("current-absent", |storage, of| storage.remove_tag_link(&of.repository, "v1"), Whole),
        ("revision-absent", |storage, of| storage.remove_revision(&of.repository, &of.digest), Whole),
        ("revision-empty", |storage, of| storage.empty_revision_link(&of.repository, &of.digest), Frozen("/link: the link is empty")),
        ("manifest-absent", |storage, of| storage.remove_blob(&of.digest), Whole),
        ("manifest-cut", |storage, of| storage.truncate_blob(&of.digest, 100), Frozen("/data: the content does not match its digest")),
        ("manifest-empty", |storage, of| storage.truncate_blob(&of.digest, 0), Frozen("/data: the content does not match its digest")),
        (
            "manifest-other",
            |storage, of| {
                let text = String::from_utf8(of.bytes.clone()).unwrap();
                storage.overwrite_blob(&of.digest, text.replace("linux", "linus").replace("layer", "lazer").as_bytes());
            },
            Frozen("/data: the content does not match its digest"),
        ),
        ("child-absent", |storage, of| storage.remove_blob(&of.children[0].digest), Whole),
        ("config-absent", |storage, of| storage.remove_blob(&of.children[0].config), Whole),
        ("config-link-absent", |storage, of| fs::remove_file(storage.layer_link(&of.repository, &of.children[0].config)).unwrap(), Whole),
        (
            "config-cut",
            |storage, of| storage.truncate_blob(&of.children[0].config, 10),
            Frozen("/data: the content does not match its digest"),
        ),
        ("layer-absent", |storage, of| storage.remove_blob(&of.children[0].layers[0]), Whole),
    ];
    let registry = Registry::with().cache_off().start();
    for (name, damage, _) in &damages {
        let repository = format!("faults/{name}");
        let index = Index::new().child("linux/amd64", Image::new().layer(name).label("fault", name)).annotation("fault", name);
        let index = index.tag("v1").tag("other").push(&registry, &repository);
        Image::new().layer("healthy").label("beside", name).tag("healthy").push(&registry, &repository);
        damage(&registry.storage(), &index);
    }
    let (served, ran) = (list(&registry).run().status(1), stored(&registry).run().status(1));
    for (name, _, then) in damages {
        let of = |ran: &Ran, kind: &str| -> Vec<Value> {
            let records = comparable(ran).into_iter();
            records.filter(|record| record["type"] == kind && record["repository"] == format!("faults/{name}")).collect()
        };
        let closing = |ran: &Ran| of(ran, "repository").remove(0);
        assert_eq!(of(&ran, "tag"), of(&served, "tag"), "{name}");
        assert_eq!(closing(&ran)["complete"], closing(&served)["complete"], "{name}: {}", closing(&served));
        match then {
            Whole => {
                // A manifest that lost its tag is in the tree all the same, and so are its children.
                let manifests = of(&ran, "manifest");
                for record in of(&served, "manifest") {
                    assert!(manifests.contains(&record), "{name}: {record}\n{manifests:#?}");
                }
                assert_eq!(closing(&ran)["error"], json!(null), "{name}");
            }
            Frozen(path) => {
                let error = closing(&ran)["error"].as_str().unwrap().to_owned();
                assert!(error.contains(path) && error.contains("docker/registry/v2/"), "{name}: {error}");
            }
        }
        assert!(of(&ran, "manifest").iter().any(|record| record["tags"] == json!(["healthy"])), "{name}: the rest is told");
    }
    ran.stderr_has("faults/manifest-cut: could not be read whole, so all of it will be held: ");
}

#[test]
fn links_are_not_followed_and_what_cannot_be_looked_into_is_named() {
    let registry = Registry::start();
    for repository in ["a/link", "a/revisions", "a/tags", "a/data", "b"] {
        Image::new().layer(repository).tag("v1").push(&registry, repository);
    }
    let lost = Image::new().layer("c").tag("v1").push(&registry, "a/data");
    registry.stop();
    let storage = registry.storage();
    let behind = |path: &Path| {
        let moved = registry.root().join(path.strip_prefix(registry.root()).unwrap().display().to_string().replace('/', "-"));
        fs::rename(path, &moved).unwrap();
        symlink(&moved, path).unwrap();
    };
    behind(storage.repository("a/link").join("_manifests/tags/v1").as_path());
    behind(&storage.blob(&lost.digest));
    let revisions = storage.repository("a/revisions").join("_manifests/revisions");
    fs::remove_dir_all(&revisions).unwrap();
    fs::write(&revisions, "").unwrap();
    let tags = storage.repository("a/tags").join("_manifests/tags");
    fs::remove_dir_all(&tags).unwrap();
    fs::write(&tags, "").unwrap();
    symlink("b", storage.repository("out")).unwrap();
    fs::create_dir_all(storage.repository("Upper/_layers")).unwrap();

    let ran = stored(&registry).run().status(1);
    let error = |repository: &str| {
        let closing = ran.records_of("repository").into_iter().find(|record| record["repository"] == repository).unwrap();
        assert_eq!(closing["complete"], closing["error"].is_null(), "{closing}");
        (closing["error"].as_str().unwrap_or_default().to_owned(), closing["tagCount"].clone())
    };
    assert!(error("a/link").0.contains("a/link/_manifests/tags/v1") && error("a/link").0.contains("symbolic link"), "{ran}");
    assert!(error("a/data").0.contains("is a symbolic link"), "{ran}");
    assert!(error("a/revisions").0.contains("_manifests/revisions: cannot be read"), "{ran}");
    assert_eq!(ran.records_of("tag"), Vec::<Value>::new(), "what lies behind is not known to be gone");
    assert!(error("a/tags").0.contains("_manifests/tags: cannot be read"), "{ran}");
    assert_eq!((error("a/tags").1, error("b").0), (json!(null), String::new()));
    let ran = ran.stderr_has("repositories may be missing in this listing: docker/registry/v2/repositories/out: is a symbolic link");
    let ran = ran.stderr_has("names that no repository can have, such as \"Upper\"");
    let trailer = ran.the("trailer");
    assert_eq!((&trailer["complete"], &trailer["incompleteRepositories"]), (&json!(false), &json!(4)));
    assert!(trailer["error"].as_str().unwrap().contains("Upper"), "{trailer}");
    stored(&registry).args(["--count", "--repository", "a/*"]).run().status(1);
}

#[test]
fn a_fresh_registry_is_empty_and_a_wrong_folder_is_said() {
    let registry = Registry::start();
    let ran = stored(&registry).run().succeeds().stderr_has("nothing was ever pushed there, or it is no rootdirectory");
    let trailer = ran.the("trailer");
    assert_eq!((&trailer["complete"], &trailer["records"], ran.records().len()), (&json!(true), &json!(0), 2));
    // Uploads alone, and what deletion leaves, are repositories without a manifest.
    registry.client().put_blob("only/blobs", b"x");
    let gone = Image::new().layer("a").tag("v1").push(&registry, "emptied");
    registry.client().delete_manifest("emptied", &gone.digest).expect(202, "deleting an image");
    let ran = stored(&registry).run().succeeds();
    assert_eq!(values(&ran, "repository", "repository"), ["emptied", "only/blobs"]);
    assert_eq!(values(&ran, "repository", "complete"), ["true", "true"]);
    assert_eq!((ran.records_of("manifest").len(), &ran.the("trailer")["tags"]), (0, &json!(0)));

    let root = registry.root();
    let link = temporary();
    symlink(&root, link.path().join("storage")).unwrap();
    assert_eq!(stored_at(&link.path().join("storage"), registry.host()).run().succeeds().records_of("repository").len(), 2);
    for within in ["docker", "docker/registry/v2", "docker/registry/v2/repositories/emptied"] {
        let ran = stored_at(&root.join(within), "r.example.com").run().status(2).stdout_is_empty();
        ran.stderr_has(&format!("say --store {}\n", root.display()));
    }
    let nowhere = stored_at(&root.join("nowhere"), "r.example.com").run().status(2).stdout_is_empty();
    nowhere.stderr_has("nowhere: it is to be the rootdirectory").stderr_has("No such file");
    Tool::new("reg-list").arg("--store").arg(&root).run().status(2).stdout_is_empty().stderr_has("REG_REGISTRY");
    for other in ["r.example.com", "-", "--plain-http", "--jobs=3", "--auth-host=a"] {
        stored(&registry).arg(other).run().status(2).stdout_is_empty().stderr_has("cannot be used with");
    }
    // A user in the environment is for other runs.
    stored(&registry).env("REG_USER", "me").run().succeeds();
    let repositories = root.join("docker/registry/v2/repositories");
    fs::remove_dir_all(&repositories).unwrap();
    fs::write(&repositories, "").unwrap();
    stored(&registry).run().status(2).stdout_is_empty().stderr_has("docker/registry/v2/repositories: cannot be read");
}

#[test]
fn manifests_of_old_and_under_other_algorithms_are_read() {
    let registry = Registry::start();
    let app = Image::new().layer("a").tag("v1").push(&registry, "team/app");
    registry.stop();
    let storage = registry.storage();
    let history = json!({"v1Compatibility": "{\"created\":\"2016-01-02T03:04:05Z\",\"os\":\"linux\",\"architecture\":\"amd64\"}"});
    let schema1 = json!({"schemaVersion": 1, "name": "team/app", "tag": "old", "architecture": "amd64",
                         "fsLayers": [{"blobSum": app.layers[0]}], "history": [history]});
    let schema1 = schema1.to_string();
    let digest = digest_of(schema1.as_bytes());
    let sha512 = shell(&format!("sha512sum '{}' | cut -d' ' -f1", storage.blob(&app.digest).display())).run().succeeds();
    let sha512 = format!("sha512:{}", sha512.stdout().trim());
    for (path, content) in [
        (storage.blob(&digest), &schema1),
        (storage.revision_link("team/app", &digest), &digest),
        (storage.tag_link("team/app", "old"), &digest),
        // A link of another algorithm holds the digest under which the bytes lie.
        (storage.revision_link("team/app", &sha512), &app.digest),
        (storage.tag_link("team/app", "long"), &sha512),
    ] {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let ran = stored(&registry).run().succeeds();
    let digests = values(&ran, "manifest", "digest");
    assert_eq!(digests, [sha512, digest, app.digest], "in the order of their tags");
    let old = &ran.records_of("manifest")[1];
    assert_eq!((&old["created"], &old["platform"]), (&json!("2016-01-02T03:04:05Z"), &json!("linux/amd64")));
}
