//! What `reg-check` says of a storage is what a real registry then does with it.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::tree::random::{self, Random};
use tests::*;

use super::store;

/// Whether a registry serves all that a manifest leads to: what hashes to its digest, of the size that is said.
pub(crate) fn serves(client: &Client, repository: &str, reference: &str) -> Result<(), String> {
    let answer = client.manifest(repository, reference);
    if answer.status != 200 {
        return Err(format!("{reference}: {}", answer.status));
    }
    let digest = answer.digest();
    let by_digest = client.manifest(repository, &digest);
    // What is named by a SHA-512 is stored by another digest.
    if by_digest.status != 200 || (digest.starts_with("sha256") && digest_of(&by_digest.body) != digest) {
        return Err(format!("{digest}: {}", by_digest.status));
    }
    let manifest: Value = serde_json::from_slice(&answer.body).map_err(|error| format!("{reference}: {error}"))?;
    for child in manifest["manifests"].as_array().into_iter().flatten() {
        let media_type = child["mediaType"].as_str().unwrap_or_default();
        let digest = child["digest"].as_str().unwrap();
        if media_type.contains("manifest") || media_type.contains("index") {
            serves(client, repository, digest)?;
        } else {
            serves_blob(client, repository, child)?;
        }
    }
    let layers = ["layers", "blobs"].iter().filter_map(|key| manifest[*key].as_array()).flatten();
    for blob in layers.chain(manifest.get("config")) {
        serves_blob(client, repository, blob)?;
    }
    Ok(())
}

fn serves_blob(client: &Client, repository: &str, descriptor: &Value) -> Result<(), String> {
    let digest = descriptor["digest"].as_str().unwrap();
    if descriptor["urls"].as_array().is_some_and(|urls| !urls.is_empty()) {
        return Ok(());
    }
    let answer = client.blob(repository, digest);
    if answer.status != 200 {
        return Err(format!("blob {digest}: {}", answer.status));
    }
    let size = descriptor["size"].as_u64().unwrap_or(0);
    if size > 0 && size != answer.body.len() as u64 {
        return Err(format!("blob {digest}: {} bytes and not {size}", answer.body.len()));
    }
    if digest.starts_with("sha256") && digest_of(&answer.body) != digest {
        return Err(format!("blob {digest}: other content"));
    }
    Ok(())
}

/// The tags of which a finding is an error, as `repository:tag`.
fn errors(ran: &Ran) -> BTreeSet<String> {
    let mut tags = BTreeSet::new();
    for finding in ran.records_of("finding").iter().filter(|finding| finding["severity"] == "error") {
        let repository = finding["repository"].as_str().unwrap_or_default();
        let several = finding["tags"].as_array().cloned().unwrap_or_else(|| vec![finding["tag"].clone()]);
        tags.extend(several.iter().filter_map(Value::as_str).map(|tag| format!("{repository}:{tag}")));
    }
    tags
}

#[test]
fn tags_without_an_error_are_served_whole_and_those_with_one_are_not() {
    let (mut whole, mut broken) = (0, 0);
    for seed in 0..14 {
        let folder = temporary();
        let root = folder.path().join("root");
        let tree = random::tree(&root, seed);
        let faults = random::damage(&tree, &mut Random::seeded(seed + 1000), 5);
        let registry = Registry::with().storage_at(&root).cache_off().start();
        let ran = store(&root, &["--depth", "content", "--fail-on", "never", "--all"]).run().succeeds();
        let errors = errors(&ran);
        for (repository, tag, _) in tree.tags() {
            let name = format!("{repository}:{tag}");
            if !tree.storage().repository(&repository).join("_manifests/tags").join(&tag).exists() {
                continue;
            }
            match serves(registry.client(), &repository, &tag) {
                Ok(()) => {
                    whole += 1;
                    assert!(!errors.contains(&name), "seed {seed}: {name} is served whole: {faults:#?}\n{ran}");
                }
                Err(why) => {
                    broken += 1;
                    // Distribution answers for schema 1 without a signature, and for artifact manifests, with errors or other bytes; the
                    // files are well.
                    assert!(errors.contains(&name) || tag == "odd", "seed {seed}: {name}: {why}: {faults:#?}\n{ran}");
                }
            }
        }
    }
    assert!(whole > 50 && broken > 10, "{whole} whole, {broken} broken");
}

#[test]
fn healthy_trees_have_no_errors() {
    for seed in 0..60 {
        let folder = temporary();
        let tree = random::tree(folder.path(), seed);
        let ran = store(tree.root(), &["--depth", "content", "--fail-on", "never"]).run().succeeds();
        let whole: BTreeSet<String> = tree.whole().into_iter().map(|(repository, digest)| format!("{repository}@{digest}")).collect();
        let errors = errors(&ran);
        for (repository, tag, digest) in tree.tags() {
            let is_whole = whole.contains(&format!("{repository}@{digest}"));
            assert_eq!(is_whole, !errors.contains(&format!("{repository}:{tag}")), "seed {seed}: {repository}:{tag} {digest}\n{ran}");
        }
    }
}

/// Fields of a manifest that somebody changed in the storage: it hashes right, and a registry may refuse to read it all the same.
#[test]
fn a_manifest_that_a_registry_refuses_to_read_is_an_error() {
    let folder = temporary();
    let tree = Tree::new(folder.path());
    let pushed = Image::new().layer("base").push_by(&tree, "team/app");
    let image = pushed.manifest();
    let docker = Image::docker().layer("base").push_by(&tree, "team/app").manifest();
    let index = Index::new().child("linux/amd64", &pushed).push_by(&tree, "team/app").manifest();
    let (gone, huge) = (Value::Null, json!(u64::MAX));
    let of_all = [
        ("/schemaVersion", vec![json!("2"), json!(2.5), json!(3), json!(0), gone.clone()]),
        ("/mediaType", vec![json!("application/vnd.example+json"), json!(""), json!(7), gone.clone()]),
        ("/unknown", vec![json!({"a": 1})]),
        ("/artifactType", vec![json!(7), json!("no type")]),
    ];
    let of_oci_images = [("/annotations", vec![json!([]), json!({"a": 1}), json!({"a": null})])];
    let of_images = [
        ("/config", vec![json!("x"), json!([]), gone.clone()]),
        ("/config/size", vec![json!("5")]),
        ("/config/mediaType", vec![json!(5)]),
        ("/config/digest", vec![json!(5)]),
        ("/layers", vec![json!({}), json!([]), gone.clone()]),
        ("/layers/0", vec![json!("x")]),
        ("/layers/0/size", vec![json!("5"), json!(5.5), json!(1e3), json!(-5), huge, gone.clone()]),
        ("/layers/0/mediaType", vec![json!([]), gone.clone()]),
        ("/layers/0/urls", vec![json!("x"), json!([1]), json!([])]),
        ("/layers/0/annotations", vec![json!("x"), json!({"a": 1})]),
        ("/layers/0/platform", vec![json!("x")]),
        ("/manifests", vec![json!([])]),
    ];
    let of_indexes = [
        ("/manifests", vec![json!("x"), json!([]), gone.clone()]),
        ("/manifests/0/size", vec![json!("5")]),
        ("/manifests/0/platform", vec![json!("x"), gone.clone()]),
        ("/manifests/0/platform/architecture", vec![json!(7)]),
        ("/manifests/0/platform/os", vec![gone.clone()]),
        ("/manifests/0/platform/os.features", vec![json!("x")]),
        ("/manifests/0/platform/variant", vec![json!({})]),
        ("/layers", vec![json!([])]),
    ];
    let mut cases = Vec::new();
    for (document, changes) in [
        (&image, [&of_all[..], &of_oci_images, &of_images].concat()),
        (&docker, [&of_all[..], &of_images].concat()),
        (&index, [&of_all[..], &of_indexes].concat()),
    ] {
        cases.extend(changes.into_iter().flat_map(|(at, values)| values.into_iter().map(move |value| (changed(document, at, &value), at))));
    }
    let mut cases: Vec<(Vec<u8>, &str)> = cases.into_iter().map(|(document, at)| (document.to_string().into_bytes(), at)).collect();
    let text = image.to_string();
    for (from, to) in [
        ("\"schemaVersion\":2", "\"schemaVersion\":\"2\",\"schemaVersion\":2"),
        ("\"schemaVersion\":2", "\"schemaVersion\":2,\"schemaVersion\":null"),
        ("\"schemaVersion\":2", "\"SchemaVersion\":2"),
        ("\"schemaVersion\":2", "\"schemaVersion\":2,\"SCHEMAVERSION\":\"2\""),
        ("\"config\":{", "\"config\":{\"Size\":\"2\","),
    ] {
        assert!(text.contains(from), "{text}");
        cases.push((text.replacen(from, to, 1).into_bytes(), to));
    }
    let broken = text.replacen("\"config\":{", "\"annotations\":{\"a\":\"\u{1}\"},\"config\":{", 1);
    cases.push((broken.into_bytes().into_iter().map(|byte| if byte == 1 { 0xff } else { byte }).collect(), "no UTF-8"));
    let with_features = |document: &Value| changed(document, "/manifests/0/platform/features", &json!("sse4"));
    let list = Index::docker().child("linux/amd64", &pushed).push_by(&tree, "team/app").manifest();
    cases.push((with_features(&list).to_string().into_bytes(), "features"));
    for (place, (document, _)) in cases.iter().enumerate() {
        let (digest, storage) = (digest_of(document), tree.storage());
        for (path, bytes) in [
            (storage.blob(&digest), &**document),
            (storage.revision_link("team/app", &digest), digest.as_bytes()),
            (storage.tag_link("team/app", &format!("t{place}")), digest.as_bytes()),
        ] {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
    let registry = Registry::with().storage_at(tree.root()).cache_off().start();
    let ran = store(tree.root(), &["--depth", "manifest", "--fail-on", "never"]).run().succeeds();
    let errors = errors(&ran);
    let mut refused = 0;
    for (place, (document, at)) in cases.iter().enumerate() {
        let tag = format!("t{place}");
        let status = registry.client().manifest("team/app", &tag).status;
        assert_eq!(errors.contains(&format!("team/app:{tag}")), status != 200, "{status}: {at} of {}", String::from_utf8_lossy(document));
        refused += usize::from(status != 200);
    }
    assert!(refused > 40 && cases.len() - refused > 20, "{refused} of {}", cases.len());
}

/// The document with another value there; `null` stands for none.
fn changed(document: &Value, pointer: &str, value: &Value) -> Value {
    let mut document = document.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Array(list) => list[key.parse::<usize>().unwrap()] = value.clone(),
        parent if !value.is_null() => parent[key] = value.clone(),
        parent => drop(parent.as_object_mut().unwrap().remove(key)),
    }
    document
}
