//! The tools together, on real registries, with skopeo as the client that nobody here wrote.
//!
//! The world is that of the demo ([`sample`]): a shop, its cluster, and what nobody uses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::fixtures::OCI_LAYER;
use tests::sample::{self, STABLE_BEFORE};
use tests::*;

/// As the project shows it to the world.
const PIPELINE: &str = "\
k8s-images -f overlays/prod --name prod > in-use.jsonl
reg-list 127.0.0.1:5000 | reg-select --in-use in-use.jsonl --require-source prod --preset evict | reg-delete --yes >> journal.jsonl
";
const UNDO: &str = "reg-delete --undo --yes < journal.jsonl\n";
/// The same, one step after the other, each with a file for the next.
const PLAN: &str = "\
k8s-images -f overlays/prod --name prod > in-use.jsonl
reg-list 127.0.0.1:5000 > listing.jsonl
reg-select --in-use in-use.jsonl --require-source prod --preset evict < listing.jsonl > plan.jsonl
";
/// The tags that evict takes, without the signature of v6. It would take the platforms of api's 1.0 too; these the registry
/// itself speaks for.
const GO: [&str; 7] =
    ["lab/experiment:try-1", "lab/experiment:try-2", "lab/notebook:1", "shop/jobs:buildcache", "shop/web:v1", "shop/web:v5", "shop/web:v6"];

/// A registry with the sample in it, and the folder of whoever keeps house.
struct Shop {
    registry: Registry,
    /// By what name people reach it: its own, or that of something before it.
    host: String,
    folder: TempDir,
}

impl Shop {
    fn open() -> Self {
        Self::on(Registry::start())
    }

    fn on(registry: Registry) -> Self {
        let host = registry.host().to_owned();
        sample::fill(registry.client());
        let shop = Self { registry, host, folder: temporary() };
        shop.write_overlays();
        shop
    }

    fn reached_by(mut self, host: &str) -> Self {
        self.host = host.to_owned();
        self.write_overlays();
        self
    }

    fn write_overlays(&self) {
        let folder = self.folder.path().join("overlays/prod");
        fs::create_dir_all(&folder).unwrap();
        sample::write_manifests(&self.host, &folder);
    }

    /// A script as a careful person runs it, in this folder.
    fn shell(&self, script: &str) -> Tool {
        let script = script.replace("127.0.0.1:5000", &self.host);
        shell(&format!("set -euo pipefail\n{script}")).in_folder(self.folder.path())
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    /// Every tag, and every manifest that a tag leads to, by its digest; and what api-0 runs.
    fn references(&self) -> BTreeMap<String, String> {
        references(&self.registry)
    }

    /// The verdict of each manifest, under the first of its tags.
    fn verdicts(&self, policy: &str) -> Vec<Value> {
        self.shell(PLAN).run().succeeds();
        let script = format!("reg-select --in-use in-use.jsonl --require-source prod --all {policy} < listing.jsonl");
        self.shell(&script).run().succeeds().records_of("manifest")
    }
}

fn references(registry: &Registry) -> BTreeMap<String, String> {
    let client = registry.client();
    let mut found = BTreeMap::new();
    for repository in client.catalog() {
        let tags = client.tags(&repository).into_iter().map(|tag| (tag, true));
        let untagged = (repository == "shop/api").then(|| (STABLE_BEFORE.to_owned(), false));
        for (reference, is_tag) in tags.chain(untagged) {
            let manifest = client.manifest(&repository, &reference).expect(200, &format!("reading {repository} {reference}"));
            if is_tag {
                found.insert(format!("{repository}:{reference}"), manifest.digest());
            }
            found.insert(format!("{repository}@{}", manifest.digest()), manifest.digest());
            for child in manifest.json()["manifests"].as_array().into_iter().flatten() {
                // The entries of a build cache are blobs; Debian's registry answers 500 to who asks for one as a manifest.
                if child["mediaType"] != OCI_LAYER && child["mediaType"] != "application/vnd.buildkit.cacheconfig.v0" {
                    let digest = child["digest"].as_str().unwrap();
                    found.insert(format!("{repository}@{digest}"), digest.to_owned());
                }
            }
        }
    }
    found
}

/// Fails unless skopeo gets these, all platforms, and each manifest byte for byte.
#[track_caller]
fn all_pull<'a>(registry: &Registry, references: impl IntoIterator<Item = (&'a String, &'a String)>) {
    for (reference, digest) in references {
        let bytes = skopeo::inspect(registry, reference).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(digest_of(bytes.as_bytes()), *digest, "{reference} is another");
        // A build cache is no image, so no client pulls it as one.
        if !bytes.contains("buildkit") {
            skopeo::pull(registry, reference).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

#[track_caller]
fn all_are_gone<'a>(registry: &Registry, references: impl IntoIterator<Item = &'a String>) {
    for reference in references {
        let error = skopeo::inspect(registry, reference).expect_err(reference);
        assert!(error.contains("manifest unknown"), "{error}");
    }
}

/// What of the first is not in the second, tags only.
fn tags_gone(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> BTreeSet<String> {
    before.keys().filter(|reference| !reference.contains('@') && !after.contains_key(*reference)).cloned().collect()
}

/// [`GO`], and the signature that goes with v6.
fn expected_to_go(before: &BTreeMap<String, String>) -> BTreeSet<String> {
    let signature = format!("shop/web:{}.sig", before["shop/web:v6"].replace(':', "-"));
    GO.into_iter().map(str::to_owned).chain([signature]).collect()
}

#[test]
fn it_deletes_exactly_what_it_should_and_can_be_undone() {
    let shop = Shop::open();
    let before = shop.references();
    assert_eq!(before.len(), 27 + 32, "tags and manifests, of which one has no tag and no parent");
    all_pull(&shop.registry, before.iter().filter(|(reference, _)| reference.contains(':')));

    shop.shell(PIPELINE)
        .run()
        .succeeds()
        .stdout_is_empty()
        .stderr_has("\nreg-delete: deleted 11, untagged 0, absent 0, skipped 2, failed 0");
    let after = shop.references();
    assert_eq!(tags_gone(&before, &after), expected_to_go(&before));
    assert!(after.iter().all(|(reference, digest)| before[reference] == *digest));
    assert!(after.contains_key(&format!("shop/api@{STABLE_BEFORE}")));
    all_pull(&shop.registry, &after);
    all_are_gone(&shop.registry, before.keys().filter(|reference| !after.contains_key(*reference)));

    shop.shell(UNDO).run().succeeds().stderr_has("restored 11, left alone 0, failed 0");
    assert_eq!(shop.references(), before);
    all_pull(&shop.registry, &before);
}

#[test]
fn a_digest_in_use_that_no_tag_names_keeps_its_platforms() {
    let shop = Shop::open();
    shop.shell(PIPELINE).run().succeeds();
    let records: Vec<Value> =
        shop.file("journal.jsonl").lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect();
    let skipped: Vec<&Value> = records.iter().filter(|record| record["result"] == "skipped").collect();
    let tags: BTreeSet<&str> = skipped.iter().filter_map(|record| record["tags"][0].as_str()).collect();
    assert_eq!(tags, ["1.0-amd64", "1.0-arm64"].into());
    for record in skipped {
        let why = record["why"].as_str().unwrap();
        assert!(why.contains(&STABLE_BEFORE[..19]) && why.contains("prod/shop/Pod/api-0"), "{why}");
    }
    skopeo::pull(&shop.registry, &format!("shop/api@{STABLE_BEFORE}")).unwrap();
}

/// Fails unless each manifest with a tag got this verdict, and each rule that speaks for it is named.
#[track_caller]
fn assert_verdicts(verdicts: &[Value], expected: &[(&str, &str, &[&str])]) {
    let mut left: BTreeMap<String, String> = BTreeMap::new();
    for record in verdicts {
        let tags: Vec<&str> = record["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
        let name = match tags.as_slice() {
            [] => continue,
            [tag] if tag.starts_with("sha256-") => continue,
            tags => format!("{}:{}", record["repository"].as_str().unwrap(), tags.join(",")),
        };
        let verdict = &record["verdict"];
        let reasons = verdict["reasons"].as_array().unwrap();
        let rules: Vec<&str> = reasons.iter().map(|reason| reason["rule"].as_str().unwrap()).collect();
        assert!(reasons.iter().all(|reason| reason["why"].as_str().is_some_and(|why| !why.is_empty())), "{record}");
        left.insert(name, format!("{} {}", verdict["action"].as_str().unwrap(), rules.join(" ")));
    }
    for (name, action, rules) in expected {
        let said = left.remove(*name).unwrap_or_else(|| panic!("no verdict on {name}"));
        assert_eq!(said, format!("{action} {}", rules.join(" ")), "{name}");
    }
    assert!(left.is_empty(), "{left:?}");
}

fn why<'a>(verdicts: &'a [Value], repository: &str, tag: &str, rule: &str) -> &'a str {
    let fits = |record: &&Value| record["repository"] == repository && record["tags"].as_array().unwrap().contains(&json!(tag));
    let record = verdicts.iter().find(fits).unwrap();
    let reasons = record["verdict"]["reasons"].as_array().unwrap();
    reasons.iter().find(|reason| reason["rule"] == rule).unwrap()["why"].as_str().unwrap()
}

#[test]
fn evict_gives_the_right_answer_for_reasons_that_it_states() {
    let shop = Shop::open();
    let verdicts = shop.verdicts("--preset evict");
    let unused = &["delete-unused-repositories", "delete-rest"][..];
    let newest = &["keep-newest", "keep-around-in-use"][..];
    let used = &["in-use", "keep-newest", "keep-around-in-use"][..];
    assert_verdicts(
        &verdicts,
        &[
            ("lab/experiment:try-1", "delete", unused),
            ("lab/experiment:try-2", "delete", unused),
            ("lab/experiment:try-3", "keep", &["keep-within"]),
            ("lab/notebook:1", "delete", unused),
            ("shop/api:1.0-amd64", "delete", &["delete-rest"]),
            ("shop/api:1.0-arm64", "delete", &["delete-rest"]),
            ("shop/api:1.1", "keep", newest),
            ("shop/api:1.2", "keep", newest),
            ("shop/api:1.3,stable", "keep", used),
            ("shop/jobs:buildcache", "delete", &["delete-rest"]),
            ("shop/jobs:nightly", "keep", used),
            ("shop/jobs:reproducible", "keep", &["no-date"]),
            ("shop/web:latest,v9", "keep", used),
            ("shop/web:v1", "delete", &["delete-rest"]),
            ("shop/web:v2", "keep", &["keep-around-in-use"]),
            ("shop/web:v3", "keep", &["keep-around-in-use"]),
            ("shop/web:v4", "keep", &["in-use", "keep-around-in-use"]),
            ("shop/web:v5", "delete", &["delete-rest"]),
            ("shop/web:v6", "delete", &["delete-rest"]),
            ("shop/web:v7", "keep", newest),
            ("shop/web:v8", "keep", newest),
            ("shop/worker:1", "keep", used),
            ("shop/worker:2", "keep", &["keep-newest"]),
        ],
    );
    assert_eq!(why(&verdicts, "shop/web", "v4", "in-use"), "prod/shop/Deployment/web-legacy runs v4");
    assert_eq!(why(&verdicts, "shop/web", "v2", "keep-around-in-use"), "number 2 before v4, which is in use");
    assert_eq!(why(&verdicts, "shop/worker", "1", "in-use"), "prod/shop/Deployment/worker runs 1");
    assert_eq!(why(&verdicts, "lab/notebook", "1", "delete-unused-repositories"), "nobody uses this repository");
    // What hangs together goes or stays together: platforms, attestations and signatures.
    let dependents = |rule: &str| verdicts.iter().filter(|record| record["verdict"]["reasons"][0]["rule"] == rule).count();
    assert_eq!((dependents("dependent"), dependents("child-of-kept"), dependents("referrer-of-kept")), (4, 3, 1));
    // The name is short for its flags.
    let flags = "--keep-newest 3 --keep-around-in-use 2 --keep-within 24h --delete-unused-repositories --delete-rest";
    let now = "--now 2099-01-01T00:00:00Z --max-age 9999w";
    assert_eq!(shop.verdicts(&format!("{flags} {now}")), shop.verdicts(&format!("--preset evict {now}")));
}

#[test]
fn lifecycle_gives_the_right_answer_for_reasons_that_it_states() {
    let shop = Shop::open();
    let verdicts = shop.verdicts("--preset lifecycle --keep-newest 3");
    let old = &["delete-older-than"][..];
    let newest = &["keep-newest"][..];
    let used = &["in-use", "keep-newest"][..];
    assert_verdicts(
        &verdicts,
        &[
            ("lab/experiment:try-1", "keep", newest),
            ("lab/experiment:try-2", "keep", newest),
            ("lab/experiment:try-3", "keep", newest),
            ("lab/notebook:1", "keep", newest),
            ("shop/api:1.0-amd64", "delete", old),
            ("shop/api:1.0-arm64", "delete", old),
            ("shop/api:1.1", "keep", newest),
            ("shop/api:1.2", "keep", newest),
            ("shop/api:1.3,stable", "keep", used),
            ("shop/jobs:buildcache", "keep", &["no-rule"]),
            ("shop/jobs:nightly", "keep", used),
            ("shop/jobs:reproducible", "keep", &["no-date"]),
            ("shop/web:latest,v9", "keep", used),
            ("shop/web:v1", "delete", old),
            ("shop/web:v2", "delete", old),
            ("shop/web:v3", "delete", old),
            ("shop/web:v4", "keep", &["in-use"]),
            ("shop/web:v5", "delete", old),
            ("shop/web:v6", "delete", old),
            ("shop/web:v7", "keep", newest),
            ("shop/web:v8", "keep", newest),
            ("shop/worker:1", "keep", used),
            ("shop/worker:2", "keep", newest),
        ],
    );
    assert!(why(&verdicts, "shop/web", "v1", "delete-older-than").ends_with("more than 90d ago"));
    assert_eq!(why(&verdicts, "shop/web", "v4", "in-use"), "prod/shop/Deployment/web-legacy runs v4");
    // Of no repository there are more than 20.
    assert!(shop.verdicts("--preset lifecycle").iter().all(|record| record["verdict"]["action"] == "keep"));
    let now = "--now 2099-01-01T00:00:00Z --max-age 9999w";
    assert_eq!(
        shop.verdicts(&format!("--delete-older-than 90d --keep-newest 3 {now}")),
        shop.verdicts(&format!("--preset lifecycle --keep-newest 3 {now}"))
    );

    // And carried out, it is what was shown.
    let before = shop.references();
    let script = "reg-select --in-use in-use.jsonl --require-source prod --preset lifecycle --keep-newest 3 < listing.jsonl |
        reg-delete --yes >> journal.jsonl";
    shop.shell(script).run().succeeds();
    let after = shop.references();
    let mut gone = tags_gone(&before, &after);
    gone.retain(|tag| !tag.ends_with(".sig"));
    assert_eq!(gone, ["v1", "v2", "v3", "v5", "v6"].map(|tag| format!("shop/web:{tag}")).into());
    all_pull(&shop.registry, &after);
}

#[test]
fn the_same_again_changes_nothing() {
    let shop = Shop::open();
    shop.shell(PLAN).run().succeeds();
    shop.shell("reg-delete --yes < plan.jsonl >> journal.jsonl").run().succeeds();
    let after = shop.references();
    let again = shop.shell("reg-delete --yes < plan.jsonl").stdin("").run();
    again.succeeds().stderr_has("deleted 0, untagged 0, absent 11, skipped 2, failed 0");
    assert_eq!(shop.references(), after);
    // The whole pipeline too: what it takes is gone already.
    shop.shell(PIPELINE).run().succeeds().stderr_has("deleted 0, untagged 0, absent 0, skipped 2, failed 0");
    assert_eq!(shop.references(), after);
    // And undone twice it is undone.
    shop.shell(UNDO).run().succeeds();
    let restored = shop.references();
    shop.shell(UNDO).run().succeeds();
    assert_eq!(shop.references(), restored);
    all_pull(&shop.registry, restored.iter().filter(|(reference, _)| GO.contains(&reference.as_str())));
}

#[test]
fn a_dry_run_changes_nothing() {
    let shop = Shop::open();
    let before = shop.references();
    let dry = PIPELINE.replace("reg-delete --yes >> journal.jsonl", "reg-delete");
    let ran = shop.shell(&dry).run().succeeds().stderr_has("dry run: 13");
    assert!(ran.records_of("deletion").iter().all(|record| record["result"] == "planned"));
    assert_eq!(shop.references(), before);
}

#[test]
fn jq_may_stand_between_the_stages() {
    // Before the decision: one repository is looked at.
    let shop = Shop::open();
    let before = shop.references();
    let script = "k8s-images -f overlays/prod --name prod > in-use.jsonl
        reg-list 127.0.0.1:5000 | jq -c 'select(.type != \"manifest\" or (.repository | startswith(\"lab/\")))' |
        reg-select --in-use in-use.jsonl --require-source prod --preset evict | reg-delete --yes >> journal.jsonl";
    shop.shell(script).run().succeeds();
    let gone = tags_gone(&before, &shop.references());
    assert_eq!(gone, ["lab/experiment:try-1", "lab/experiment:try-2", "lab/notebook:1"].map(str::to_owned).into());

    // After it: of what was decided only some is done.
    shop.shell(PLAN).run().succeeds();
    let thinned = "jq -c 'select(.type != \"manifest\" or (.tags | index(\"v6\") | not))' plan.jsonl | reg-delete --yes >> journal.jsonl";
    shop.shell(thinned).run().succeeds();
    let after = shop.references();
    assert!(after.contains_key("shop/web:v6") && !after.contains_key("shop/web:v5"), "{after:?}");
    let family = before.iter().filter(|(reference, _)| reference.as_str() == "shop/web:v6" || reference.ends_with(".sig"));
    all_pull(&shop.registry, family);

    // An index that a filter dropped is no reason to take its platforms.
    let shop = Shop::open();
    let before = shop.references();
    let script = "k8s-images -f overlays/prod --name prod > in-use.jsonl
        reg-list 127.0.0.1:5000 | jq -c 'select(.type != \"manifest\" or (.children | length) == 0)' |
        reg-select --in-use in-use.jsonl --require-source prod --preset evict | reg-delete --yes >> journal.jsonl";
    shop.shell(script).run();
    let after = shop.references();
    all_pull(&shop.registry, before.iter().filter(|(reference, _)| ["shop/web:v6", "shop/web:v9"].contains(&reference.as_str())));
    assert!(tags_gone(&before, &after).is_subset(&expected_to_go(&before)));

    // Who drops what holds the stream together is told so, and nothing goes.
    for stage in [
        "jq -c 'select(.type == \"manifest\")' listing.jsonl | reg-select --in-use in-use.jsonl --require-source prod --preset evict",
        "jq -c 'select(.type == \"manifest\")' plan.jsonl",
    ] {
        shop.shell(PLAN).run().succeeds();
        let ran = shop.shell(&format!("{stage} | reg-delete --yes >> journal.jsonl")).run();
        assert!(matches!(ran.code(), Some(2 | 3)), "{ran}");
        assert!(ran.stderr().contains("select(.type != \"manifest\""), "{ran}");
        assert_eq!(shop.references(), after);
    }
}

#[test]
fn several_registries_are_one_pipeline() {
    let shop = Shop::open();
    let other = Registry::start();
    for (tag, days) in [("1", 50), ("2", 40), ("3", 30), ("4", 20), ("5", 10)] {
        Image::new().layer(tag).created(&days_ago(days)).tag(tag).push(&other, "tools/builder");
    }
    fs::write(shop.folder.path().join("images.txt"), format!("{}/tools/builder:5\n", other.host())).unwrap();
    let (before, before_other) = (shop.references(), references(&other));
    let script = "k8s-images -f overlays/prod --name prod > in-use.jsonl
        k8s-images --from lines images.txt --name ci >> in-use.jsonl
        reg-list 127.0.0.1:5000 OTHER | reg-select --in-use in-use.jsonl --require-source prod --require-source ci --preset evict |
            reg-delete --yes >> journal.jsonl";
    let script = script.replace("OTHER", other.host());
    shop.shell(&script).run().succeeds().stderr_has("deleted 13, untagged 0, absent 0, skipped 2, failed 0");
    assert_eq!(tags_gone(&before, &shop.references()), expected_to_go(&before));
    let gone = tags_gone(&before_other, &references(&other));
    assert_eq!(gone, ["tools/builder:1", "tools/builder:2"].map(str::to_owned).into());
    all_pull(&other, &references(&other));

    // Two listings one after the other are a listing too, and the journal knows what lies where.
    let again =
        script.replace("reg-list 127.0.0.1:5000 OTHER", "{ reg-list OTHER; reg-list 127.0.0.1:5000; }").replace("OTHER", other.host());
    shop.shell(&again).run().succeeds().stderr_has("deleted 0,");
    shop.shell(UNDO).run().succeeds().stderr_has("restored 13,");
    assert_eq!((shop.references(), references(&other)), (before, before_other.clone()));
    all_pull(&other, &before_other);
}

#[test]
fn a_cluster_may_know_the_registry_by_another_name() {
    // Nodes pull through a service name; nobody told reg-select.
    let shop = Shop::open();
    let before = shop.references();
    sample::write_manifests("mirror.internal", &shop.folder.path().join("overlays/prod"));
    let named = |flags: &str| PIPELINE.replace("--preset evict", &format!("--preset evict {flags}"));
    // Told that the two are strangers it finds nothing in use here, which no inventory of the right cluster would say.
    shop.shell(&named("--not-alias mirror.internal")).run().status(3).stderr_has("by another name; say so with --alias");
    assert_eq!(shop.references(), before);
    // An alias makes the names one. Without it a use of the same path holds what it names, and of its digest the registry is asked here.
    for flags in ["", "--alias mirror.internal=127.0.0.1:5000"] {
        shop.shell(&named(flags)).run().succeeds().stderr_has("skipped 2, failed 0");
        let after = shop.references();
        assert_eq!(tags_gone(&before, &after), expected_to_go(&before), "{flags}");
        skopeo::pull(&shop.registry, &format!("shop/api@{STABLE_BEFORE}")).unwrap();
        shop.shell("reg-delete --undo --yes --journal undo.jsonl < journal.jsonl; rm journal.jsonl").run().succeeds();
        assert_eq!(shop.references(), before);
    }
}

/// The docker file that people have after `docker login`.
fn docker_login(host: &str) -> String {
    // "me:secret"
    json!({"auths": {host: {"auth": "bWU6c2VjcmV0"}}}).to_string()
}

#[test]
fn a_registry_with_passwords_and_one_with_tls_are_reached_all_the_way() {
    let shop = Shop::on(Registry::with().htpasswd("me", "secret").start());
    let before = shop.references();
    let refused = shop.shell(PIPELINE).run();
    assert_ne!(refused.code(), Some(0), "without credentials nothing can be listed\n{refused}");
    assert_eq!(shop.references(), before);
    let login = docker_login(&shop.host);
    shop.shell(PIPELINE).home_file(".docker/config.json", &login).run().succeeds().stderr_lacks("secret");
    assert_eq!(tags_gone(&before, &shop.references()), expected_to_go(&before));
    all_pull(&shop.registry, shop.references().iter().filter(|(reference, _)| !reference.contains('@')));
    shop.shell(UNDO).home_file(".docker/config.json", &login).run().succeeds();
    assert_eq!(shop.references(), before);

    let shop = Shop::on(Registry::with().tls().htpasswd("me", "secret").start());
    let before = shop.references();
    let ca = shop.registry.ca_file().display().to_string();
    let trusting = |script: &str| {
        let script = script.replace("reg-list ", &format!("reg-list --ca-file {ca} "));
        let script = script.replace("reg-delete ", &format!("reg-delete --ca-file {ca} "));
        shop.shell(&script).env("REG_REGISTRY", &shop.host).env("REG_USER", "me").env("REG_PASSWORD", "secret")
    };
    trusting(PIPELINE).run().succeeds().stderr_lacks("secret");
    assert_eq!(tags_gone(&before, &shop.references()), expected_to_go(&before));
    all_pull(&shop.registry, shop.references().iter().filter(|(reference, _)| !reference.contains('@')));
    assert!(!shop.file("journal.jsonl").contains("secret"));
    trusting(UNDO).run().succeeds();
    assert_eq!(shop.references(), before);
    // Without the authority's certificate it is a stranger.
    let refused = shop.shell(PIPELINE).env("REG_REGISTRY", &shop.host).env("REG_USER", "me").env("REG_PASSWORD", "secret").run();
    assert_ne!(refused.code(), Some(0), "{refused}");
    assert_eq!(shop.references(), before);
}

#[test]
fn a_scheduled_job_says_by_variables_which_registry_it_means() {
    let shop = Shop::on(Registry::with().htpasswd("me", "secret").start());
    let before = shop.references();
    let job = |script: &str| {
        let job = shop.shell(script).env("REG_REGISTRY", &shop.host).env("REG_USER", "me").env("REG_PASSWORD", "secret");
        job.run().succeeds().stderr_lacks("secret")
    };
    let script = "k8s-images -f overlays/prod --name prod > in-use.jsonl
        LIST | reg-select --in-use in-use.jsonl --require-source prod --preset evict --max-delete 60% > plan.jsonl
        reg-delete --yes --journal journal.jsonl < plan.jsonl > results.jsonl";
    // A registry without a catalog has its repositories named.
    job(&script.replace("LIST", "echo 127.0.0.1:5000/shop/web | reg-list -"));
    let mut expected = expected_to_go(&before);
    expected.retain(|reference| reference.starts_with("shop/web:"));
    assert_eq!(tags_gone(&before, &shop.references()), expected);
    job(&script.replace("LIST", "reg-list"));
    assert_eq!(tags_gone(&before, &shop.references()), expected_to_go(&before));
    // One journal holds both runs.
    job("reg-delete --undo --yes < journal.jsonl > undo.jsonl");
    assert_eq!(shop.references(), before);
}

#[test]
fn a_registry_with_a_token_server_is_reached_all_the_way() {
    let tokens = TokenServer::start().require_credentials("me", "secret");
    let shop = Shop::on(Registry::with().token_auth(&tokens).start());
    let before = shop.references();
    for (script, gone) in [(PIPELINE, expected_to_go(&before)), (UNDO, BTreeSet::new())] {
        shop.shell(script).home_file(".docker/config.json", docker_login(&shop.host)).run().succeeds().stderr_lacks("secret");
        assert_eq!(tags_gone(&before, &shop.references()), gone);
    }
    assert_eq!(shop.references(), before);
    // Each stage asks for what it needs: the lister never for the right to delete.
    let asked = tokens.scopes_asked().concat();
    assert!(asked.iter().any(|scope| scope.contains("delete")), "{asked:?}");
    let seen = tokens.requests().len();
    shop.shell(PLAN).home_file(".docker/config.json", docker_login(&shop.host)).run().succeeds();
    let by_lister = tokens.scopes_asked()[seen..].concat();
    assert!(!by_lister.is_empty() && by_lister.iter().all(|scope| !scope.contains("delete")), "{by_lister:?}");
}

#[test]
fn above_the_cap_nothing_goes() {
    let shop = Shop::open();
    let before = shop.references();
    for (at_select, at_delete, status) in [
        ("--max-delete 12", "", 3),
        ("--max-delete 40%", "", 3),
        ("", "--max-delete 12", 3),
        // Whoever raises the limit at the end does not lift the plan's own.
        ("--max-delete 12", "--max-delete 100", 3),
        ("--max-delete 13", "--max-delete 50%", 0),
    ] {
        let script =
            PIPELINE.replace("--preset evict", &format!("--preset evict {at_select}")).replace("--yes", &format!("--yes {at_delete}"));
        shop.shell(&script).run().status(status);
        let gone = tags_gone(&before, &shop.references());
        assert_eq!(gone, if status == 0 { expected_to_go(&before) } else { BTreeSet::new() }, "{at_select} {at_delete}");
    }
}

#[test]
fn a_stage_that_breaks_deletes_nothing() {
    let shop = Shop::open();
    let before = shop.references();
    shop.shell(PLAN).run().succeeds();
    let select = "reg-select --in-use in-use.jsonl --require-source prod --preset evict";
    let delete = "reg-delete --yes >> journal.jsonl";
    let cuts = [
        format!("head -n 12 listing.jsonl | {select} | {delete}"),
        format!("head -n -1 listing.jsonl | {select} | {delete}"),
        format!("head -c 9000 listing.jsonl | {select} | {delete}"),
        format!("head -c 0 listing.jsonl | {select} | {delete}"),
        format!("{select} < listing.jsonl | head -n -1 | {delete}"),
        format!("{select} < listing.jsonl | head -c 5000 | {delete}"),
        format!("{select} < listing.jsonl | head -c 0 | {delete}"),
        // A stage that is not there, one that fails, and an inventory that is cut.
        format!("cat listing.jsonl | reg-selekt | {delete}"),
        format!("{select} --no-such-flag < listing.jsonl | {delete}"),
        format!("head -n 3 in-use.jsonl > cut.jsonl; {} < listing.jsonl | {delete}", select.replace("in-use.jsonl", "cut.jsonl")),
        format!("reg-list 127.0.0.1:1 | {select} | {delete}"),
    ];
    for script in cuts {
        // The worst case: without pipefail, so that only reg-delete's own judgement counts.
        let ran = shop.shell(&format!("set +e +o pipefail\n{script}")).run();
        assert!(matches!(ran.code(), Some(2 | 3)), "{script}\n{ran}");
        assert_eq!(shop.references(), before, "{script}");
    }
    assert!(!shop.file("journal.jsonl").contains("started"));
}

#[test]
fn a_lister_that_is_killed_deletes_nothing() {
    let registry = Registry::start();
    let proxy = Proxy::before(&registry);
    let shop = Shop::on(registry).reached_by(proxy.host());
    let before = shop.references();
    // It is killed when it has listed the first repositories, of which much would go, and waits for the tags of the last.
    let gate = proxy.hold_before(|request| request.path() == "/v2/shop/worker/tags/list");
    let script = "k8s-images -f overlays/prod --name prod > in-use.jsonl
        set +e +o pipefail
        { reg-list 127.0.0.1:5000 & echo $! > pid; wait $!; } | tee listing.jsonl |
            reg-select --in-use in-use.jsonl --require-source prod --preset evict | reg-delete --yes >> journal.jsonl";
    let running = shop.shell(script).spawn();
    gate.wait();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !shop.file("listing.jsonl").contains(r#""type":"repository","registry":"127.0.0.1:"#) {
        assert!(Instant::now() < deadline, "reg-list holds back what it has read");
        std::thread::sleep(Duration::from_millis(5));
    }
    process::signal(shop.file("pid").trim().parse().unwrap(), "KILL");
    gate.open();
    running.wait().status(3);
    assert_eq!(shop.references(), before);
    assert_eq!(proxy.count(|request| request.method == "DELETE"), 0);
}

#[test]
fn killed_in_the_middle_it_is_finished_and_undone() {
    for finish in ["reg-delete --yes < plan.jsonl >> journal.jsonl", "reg-delete --resume --yes < journal.jsonl >> more.jsonl"] {
        let registry = Registry::start();
        let proxy = Proxy::before(&registry);
        let shop = Shop::on(registry).reached_by(proxy.host());
        let before = shop.references();
        shop.shell(PLAN).run().succeeds();
        // The index of v6 is gone, and its platforms, which no listing shows any more, are still there.
        let index = format!("/v2/shop/web/manifests/{}", before["shop/web:v6"]);
        let gate = proxy.hold_after(move |request| request.method == "DELETE" && request.path() == index);
        let running = shop.shell("echo $$ > pid; exec reg-delete --yes < plan.jsonl >> journal.jsonl").spawn();
        gate.wait();
        running.kill9();
        gate.open();
        assert_eq!(running.wait().code(), None);
        assert!(!shop.references().contains_key("shop/web:v6"));

        // The whole pipeline may run in between; it sees less than there is, and does no harm.
        shop.shell(PIPELINE).run().succeeds();
        shop.shell(finish).run().succeeds();
        let after = shop.references();
        assert_eq!(tags_gone(&before, &after), expected_to_go(&before));
        for (reference, digest) in before.iter().filter(|(reference, _)| !after.contains_key(*reference)) {
            let repository = reference.split(['@', ':']).next().unwrap();
            assert!(!shop.registry.client().has(repository, digest), "{reference} was left behind");
        }
        all_pull(&shop.registry, after.iter().filter(|(reference, _)| !reference.contains('@')));
        shop.shell("touch more.jsonl; cat journal.jsonl more.jsonl | reg-delete --undo --yes > undo.jsonl").run().succeeds();
        assert_eq!(shop.references(), before);
    }
}

#[test]
fn a_registry_that_was_restarted_takes_everything_back() {
    let shop = Shop::open();
    let before = shop.references();
    shop.shell(PIPELINE).run().succeeds();
    shop.registry.restart();
    shop.shell(UNDO).run().succeeds().stderr_has("restored 11, left alone 0, failed 0");
    assert_eq!(shop.references(), before);
}

#[test]
fn what_stays_still_pulls_after_the_registrys_own_collector_ran() {
    let shop = Shop::open();
    let before = shop.references();
    shop.shell(PIPELINE).run().succeeds();
    let after = shop.references();
    let blobs = || walk(&shop.registry.root().join("docker/registry/v2/blobs"));
    let bytes = blobs();
    shop.registry.garbage_collect();
    // What its cache remembers is no proof.
    shop.registry.restart();
    assert!(blobs() < bytes, "the disk got something back");
    assert_eq!(shop.references(), after);
    all_pull(&shop.registry, &after);
    // Now it is too late, and that is said.
    shop.shell(UNDO).run().status(1).stderr_has("shop/web");
    assert_eq!(tags_gone(&before, &shop.references()), expected_to_go(&before));
    all_pull(&shop.registry, &after);
}

/// The bytes of all files below a folder.
fn walk(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| if entry.path().is_dir() { walk(&entry.path()) } else { entry.metadata().unwrap().len() }).sum()
}

#[test]
fn what_was_pushed_since_the_listing_stays() {
    let shop = Shop::open();
    shop.shell(PLAN).run().succeeds();
    // Somebody rolls back to v5, with a client that knows nothing of us.
    skopeo::copy(&shop.registry, "shop/web:v5", "shop/web:rollback").unwrap();
    let before = shop.references();
    shop.shell("reg-delete --yes < plan.jsonl >> journal.jsonl").run().succeeds().stderr_has("rollback");
    let mut expected = expected_to_go(&before);
    expected.remove("shop/web:v5");
    let after = shop.references();
    assert_eq!(tags_gone(&before, &after), expected);
    all_pull(&shop.registry, after.iter().filter(|(reference, _)| reference.starts_with("shop/web:")));
}

#[test]
fn the_demo_holds_what_it_says() {
    let ran = demo().output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert!(said.contains("\n== All of it held\n") && said.matches("   holds: ").count() >= 12, "{said}");
}

#[test]
fn the_demo_cleans_up_when_it_is_interrupted() {
    use std::io::{BufRead, BufReader};
    let folder = temporary();
    let mut child = demo().env("TMPDIR", folder.path()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let host = lines.find_map(|line| Some(line.strip_prefix("Debian's docker-registry listens on ")?.split_once(". ")?.0.to_owned()));
    let host = host.expect("the demo says where its registry listens");
    assert!(lines.any(|line| line == "== What is in use"));
    // As the terminal does: to all of the group.
    let killed = Command::new("bash").args(["-c", &format!("kill -INT -- -{}", child.id())]).status().unwrap();
    assert!(killed.success());
    assert!(lines.all(|line| line != "== All of it held"));
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(std::net::TcpStream::connect(&host).is_err(), "the registry of the demo still listens");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// As a person starts it, in a group of its own as a terminal gives one.
fn demo() -> Command {
    use std::os::unix::process::CommandExt;
    // The tools are built once by the harness, and not a second time beside it.
    tool::bin_folder();
    let mut demo = Command::new("bash");
    tool::without_cargo(&mut demo).arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/demo")).stdin(Stdio::null()).process_group(0);
    demo
}
