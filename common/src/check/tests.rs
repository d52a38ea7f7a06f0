//! Faults made in small trees, and what is told of them.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::blobs::State;
use super::choice::{Choice, Sample};
use super::scene::{Buffers, current_of, data_of, index_of, link_of};
use super::tree::Tree;
use super::{Depth, Fault, Weight};
use crate::digest::Digest;
use crate::record::Problem;
use crate::store::folder::Folder;
use crate::store::{layout, repositories};

/// A tree with an image `v1`, an index `multi` of two platforms, and what they need.
struct Fixture {
    folder: tempfile::TempDir,
    layer: Digest,
    config: Digest,
    image: Digest,
    child: Digest,
    index: Digest,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let empty = Digest::of(b"");
        let mut tree =
            Self { folder, layer: empty.clone(), config: empty.clone(), image: empty.clone(), child: empty.clone(), index: empty };
        tree.layer = tree.blob(b"layer");
        tree.config = tree.blob(br#"{"os":"linux","architecture":"amd64"}"#);
        for digest in [&tree.layer, &tree.config] {
            tree.link(layout::LAYERS, digest);
        }
        tree.image = tree.manifest(&tree.image_of(&tree.layer, 5));
        let other = tree.blob(b"other");
        tree.link(layout::LAYERS, &other);
        tree.child = tree.manifest(&tree.image_of(&other, 5));
        let child = |digest: &Digest, architecture: &str| {
            json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": fs::metadata(tree.at(&data_of(digest))).unwrap().len(),
                "platform": {"os": "linux", "architecture": architecture}})
        };
        let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [child(&tree.image, "amd64"), child(&tree.child, "arm64")]});
        tree.index = tree.manifest(&index);
        tree.tag("v1", &tree.image);
        tree.tag("multi", &tree.index);
        tree
    }

    fn config_descriptor(&self) -> Value {
        json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": self.config, "size": 37})
    }

    fn image_of(&self, layer: &Digest, size: u64) -> Value {
        let config = self.config_descriptor();
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config,
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": size}]})
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn inside(&self, below: &str) -> PathBuf {
        self.at(&layout::repository("team/app")).join(below)
    }

    fn write(&self, path: PathBuf, bytes: impl AsRef<[u8]>) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn blob(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.write(self.at(&data_of(&digest)), bytes);
        digest
    }

    fn link(&self, below: &str, digest: &Digest) {
        self.write(self.inside(&link_of(below, digest)), digest.to_string());
    }

    fn manifest(&self, manifest: &Value) -> Digest {
        let digest = self.blob(manifest.to_string().as_bytes());
        self.link(layout::REVISIONS, &digest);
        digest
    }

    fn tag(&self, tag: &str, digest: &Digest) {
        self.link(&index_of(tag), digest);
        self.write(self.inside(&current_of(tag)), digest.to_string());
    }

    fn upload(&self, days: u64) {
        let path = self.inside("_uploads/abc/data");
        self.write(path.clone(), "x");
        let moved = std::time::SystemTime::now() - std::time::Duration::from_secs(24 * 60 * 60 * days);
        fs::File::open(path).unwrap().set_modified(moved).unwrap();
    }

    fn check(&self, depth: Depth) -> Vec<Fault> {
        let tree = Tree::read(Folder::open(self.folder.path()).unwrap(), depth);
        if depth == Depth::Content {
            tree.hash(&Choice::default(), &|| ());
        }
        let found = repositories::find(tree.root());
        let mut faults = Vec::new();
        for name in &found.names {
            faults.extend(tree.check(name, &mut Buffers::default()).judged.faults);
        }
        let told = faults.iter().filter_map(|fault| fault.digest.clone()).collect();
        faults.extend(tree.rest(&found, &told));
        faults
    }

    /// The faults as problem, weight, tags.
    fn told(&self, depth: Depth) -> Vec<(Problem, Weight, String)> {
        self.check(depth).into_iter().map(|fault| (fault.problem, fault.weight, fault.tags.join(" "))).collect()
    }
}

#[test]
fn a_whole_tree_has_no_faults() {
    let tree = Fixture::new();
    assert_eq!(tree.check(Depth::Content), []);
}

#[test]
fn each_fault_is_told_once_with_its_tags() {
    let remove = |path: PathBuf| fs::remove_file(path).unwrap();
    let empty = |path: PathBuf| fs::write(path, "").unwrap();
    let revision = |tree: &Fixture| tree.inside(&link_of(layout::REVISIONS, &tree.image));
    let current = |tree: &Fixture| tree.inside(&current_of("v1"));
    let layer_link = |tree: &Fixture| tree.inside(&link_of(layout::LAYERS, &tree.layer));
    let data = |tree: &Fixture, digest: &Digest| tree.at(&data_of(digest));
    use Weight::{Broken, Space, Stumble};
    let both = "multi v1";
    case("empty revision link", |tree| empty(revision(tree)), &[(Problem::LinkEmpty, Broken, both)]);
    case(
        "revision link of another",
        |tree| fs::write(revision(tree), tree.child.to_string()).unwrap(),
        &[(Problem::LinkGarbled, Broken, both)],
    );
    case("empty tag", |tree| empty(current(tree)), &[(Problem::LinkEmpty, Broken, "v1")]);
    case("garbled tag", |tree| fs::write(current(tree), "sha256:xyz\n").unwrap(), &[(Problem::LinkGarbled, Broken, "v1")]);
    case("no tag", |tree| remove(current(tree)), &[(Problem::TagGhost, Broken, "v1")]);
    case("no revision", |tree| remove(revision(tree)), &[(Problem::RevisionMissing, Broken, both)]);
    case("no manifest", |tree| remove(data(tree, &tree.image)), &[(Problem::ManifestMissing, Broken, both)]);
    case("no child", |tree| remove(data(tree, &tree.child)), &[(Problem::ChildMissing, Broken, "multi")]);
    case("cut manifest", |tree| fs::write(data(tree, &tree.image), "{").unwrap(), &[(Problem::ManifestCorrupt, Broken, both)]);
    case("empty manifest", |tree| empty(data(tree, &tree.child)), &[(Problem::ManifestCorrupt, Broken, "multi")]);
    case("no layer", |tree| remove(data(tree, &tree.layer)), &[(Problem::BlobMissing, Broken, both)]);
    case(
        "no layer and no link",
        |tree| {
            remove(data(tree, &tree.layer));
            remove(layer_link(tree))
        },
        &[(Problem::BlobMissing, Broken, both)],
    );
    case("no config", |tree| remove(data(tree, &tree.config)), &[(Problem::BlobMissing, Broken, both)]);
    case("no layer link", |tree| remove(layer_link(tree)), &[(Problem::LayerLinkMissing, Broken, both)]);
    case("empty layer link", |tree| empty(layer_link(tree)), &[(Problem::LinkEmpty, Broken, both)]);
    case("layer of other size", |tree| fs::write(data(tree, &tree.layer), "layers").unwrap(), &[(Problem::BlobSize, Broken, both)]);
    case("config of other bytes", |tree| fs::write(data(tree, &tree.config), "{}").unwrap(), &[(Problem::BlobCorrupt, Broken, both)]);
    case("dangling layer link", |tree| tree.link(layout::LAYERS, &Digest::of(b"gone")), &[(Problem::LayerLinkDangling, Stumble, "")]);
    case(
        "empty link to a layer nobody needs",
        |tree| tree.write(tree.inside(&link_of(layout::LAYERS, &Digest::of(b"gone"))), ""),
        &[(Problem::LinkEmpty, Stumble, "")],
    );
    case("empty memory of a tag", |tree| empty(tree.inside(&link_of(&index_of("v1"), &tree.image))), &[(Problem::LinkEmpty, Stumble, "")]);
    case("memory of what is gone", |tree| tree.link(&index_of("v1"), &Digest::of(b"gone")), &[(Problem::LinkLeftover, Space, "")]);
    case(
        "no tag leads to it",
        |tree| {
            tree.manifest(&json!({"schemaVersion": 2, "config": tree.config_descriptor(), "layers": []}));
        },
        &[(Problem::RevisionOverwritten, Space, "")],
    );
    case(
        "no _layers",
        |tree| fs::remove_dir_all(tree.inside(layout::LAYERS)).unwrap(),
        &[
            (Problem::LayersMissing, Stumble, ""),
            (Problem::LayerLinkMissing, Broken, "multi"),
            (Problem::LayerLinkMissing, Broken, both),
            (Problem::LayerLinkMissing, Broken, both),
        ],
    );
    case("no _manifests", |tree| fs::remove_dir_all(tree.inside(layout::MANIFESTS)).unwrap(), &[(Problem::RepositoryGhost, Stumble, "")]);
    case(
        "nothing in it",
        |tree| {
            fs::remove_dir_all(tree.inside(layout::MANIFESTS)).unwrap();
            fs::create_dir(tree.inside(layout::MANIFESTS)).unwrap()
        },
        &[(Problem::RepositoryEmpty, Space, "")],
    );
    case("an upload", |tree| tree.upload(2), &[(Problem::Upload, Space, "")]);
    case(
        "what a crash left",
        |tree| {
            tree.write(tree.inside("_manifests/tags/v1/current/link.1.tmp"), "");
            tree.write(tree.at(&layout::blob(&tree.layer)).join("data.2.tmp"), "");
        },
        &[(Problem::Temporary, Space, ""), (Problem::Temporary, Space, "")],
    );
    case(
        "what does not belong there",
        |tree| tree.write(tree.inside("_manifests/tags/v1/index/notes"), ""),
        &[(Problem::Foreign, Space, "")],
    );
    case(
        "a link in the place of a folder",
        |tree| {
            fs::remove_dir_all(tree.inside("_manifests/tags/v1")).unwrap();
            std::os::unix::fs::symlink("multi", tree.inside("_manifests/tags/v1")).unwrap();
        },
        &[(Problem::Unreadable, Weight::Unknown, "")],
    );
    case("an upload under way", |tree| tree.upload(0), &[]);
    case(
        "files where folders are",
        |tree| {
            for path in ["docker/notes", "docker/registry/v2/notes", "docker/registry/v2/repositories/team/notes"] {
                tree.write(tree.at(path), "");
            }
        },
        &[(Problem::Foreign, Space, ""), (Problem::Foreign, Space, ""), (Problem::Foreign, Space, "")],
    );
    case("no tag", |tree| fs::create_dir_all(tree.inside("_manifests/tags/V 1")).unwrap(), &[(Problem::Foreign, Space, "")]);
    case("an empty blob nobody needs", |tree| empty(data(tree, &tree.blob(b"nobody"))), &[(Problem::BlobCorrupt, Stumble, "")]);
    case("an empty layer", |tree| empty(data(tree, &tree.layer)), &[(Problem::BlobCorrupt, Broken, both)]);
    case(
        "a child of another size",
        |tree| {
            let child = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": tree.image, "size": 7});
            let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [child]});
            tree.tag("wrong", &tree.manifest(&index));
        },
        &[(Problem::ManifestInvalid, Broken, "wrong")],
    );
    case(
        "the config of an artifact that need be no JSON, and that of an image",
        |tree| {
            let of = |bytes: &[u8], media_type: &str| {
                let config = json!({"mediaType": media_type, "digest": tree.blob(bytes), "size": bytes.len()});
                tree.link(layout::LAYERS, &Digest::of(bytes));
                json!({"schemaVersion": 2, "config": config, "layers": []})
            };
            tree.tag("artifact", &tree.manifest(&of(b"no JSON", "application/x-config")));
            tree.tag("image", &tree.manifest(&of(b"none either", "application/vnd.oci.image.config.v1+json")));
        },
        &[(Problem::ConfigUnreadable, Broken, "image")],
    );
    case(
        "an orphan",
        |tree| {
            tree.manifest(&json!({"schemaVersion": 2, "config": tree.config_descriptor(), "layers": [],
                "subject": {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": Digest::of(b"gone"), "size": 1}}));
        },
        &[(Problem::ReferrerOrphan, Space, "")],
    );
    case(
        "a signature of nothing",
        |tree| tree.tag(&format!("sha256-{}.sig", Digest::of(b"gone").hex()), &tree.image),
        &[(Problem::ReferrerOrphan, Space, "*")],
    );
    case(
        "an empty folder",
        |tree| fs::create_dir_all(tree.at(&layout::repository("old/app"))).unwrap(),
        &[(Problem::RepositoryEmpty, Space, "")],
    );
    case(
        "a blob's folder without content",
        |tree| fs::create_dir_all(tree.at(&layout::blob(&Digest::of(b"gone")))).unwrap(),
        &[(Problem::LinkLeftover, Space, "")],
    );
}

/// Makes a fault, and looks at what is told of it.
fn case(name: &str, make: impl Fn(&Fixture), expected: &[(Problem, Weight, &str)]) {
    let tree = Fixture::new();
    make(&tree);
    let faults = tree.check(Depth::Blobs);
    // The name of a signature's tag is long.
    let tags = |fault: &Fault| if fault.tags.iter().any(|tag| tag.starts_with("sha256-")) { "*".to_owned() } else { fault.tags.join(" ") };
    let told: Vec<(Problem, Weight, String)> = faults.iter().map(|fault| (fault.problem, fault.weight, tags(fault))).collect();
    let expected: Vec<(Problem, Weight, String)> =
        expected.iter().map(|(problem, weight, tags)| (*problem, *weight, (*tags).to_owned())).collect();
    assert_eq!(told, expected, "{name}: {faults:#?}");
    for fault in &faults {
        assert!(fault.path.starts_with("docker"), "{name}: {}", fault.path);
    }
}

#[test]
fn who_needs_what_is_broken_is_named() {
    let tree = Fixture::new();
    fs::remove_file(tree.at(&data_of(&tree.layer))).unwrap();
    let [fault]: [Fault; 1] = tree.check(Depth::Blobs).try_into().unwrap();
    assert_eq!(
        (fault.digest.as_ref(), fault.manifest.as_ref(), fault.platform.as_deref()),
        (Some(&tree.layer), Some(&tree.image), Some("linux/amd64"))
    );
    for digest in [&tree.image, &tree.index, &tree.config] {
        assert!(fault.content.contains(digest), "{fault:?}");
    }
    assert!(!fault.content.contains(&tree.child));
    assert_eq!(fault.path, data_of(&tree.layer));
    assert_eq!(fault.detail, "the layer of 5 bytes is not there");
}

#[test]
fn content_is_read_at_that_depth_alone() {
    let tree = Fixture::new();
    fs::write(tree.at(&data_of(&tree.layer)), "LAYER").unwrap();
    assert_eq!(tree.check(Depth::Blobs), []);
    assert_eq!(tree.told(Depth::Content), [(Problem::BlobCorrupt, Weight::Broken, "multi v1".to_owned())]);
    // One that nobody needs is in the way of a push.
    let lost = tree.blob(b"nobody needs it");
    fs::write(tree.at(&data_of(&lost)), "other").unwrap();
    assert!(tree.told(Depth::Content).contains(&(Problem::BlobCorrupt, Weight::Stumble, String::new())));
}

#[test]
fn every_byte_of_every_blob_counts_whatever_its_size() {
    let tree = Fixture::new();
    let of_fixture = [&tree.layer, &tree.config, &tree.image, &tree.child, &tree.index, &Digest::of(b"other")];
    let mut expected: HashMap<Digest, State> = of_fixture.into_iter().map(|digest| (digest.clone(), State::Good)).collect();
    let piece = super::content::PIECE;
    for size in [0, 1, 55, 56, 63, 64, 65, 4096, piece - 1, piece, piece + 1, 2 * piece, 3 * piece + 100] {
        let bytes: Vec<u8> = (0..size).map(|place| (place % 251) as u8).collect();
        expected.insert(tree.blob(&bytes), State::Good);
        for place in [0, size / 2, size.saturating_sub(1)] {
            let mut changed = bytes.clone();
            changed.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= 0xff);
            changed.push(1);
            let digest = tree.blob(&changed);
            *changed.last_mut().unwrap() ^= 0x10;
            tree.write(tree.at(&data_of(&digest)), &changed);
            expected.insert(digest, State::Corrupt);
        }
    }
    let sha512 = |bytes: &[u8]| {
        let mut hashing = Digest::Sha512(Box::new([0; 64])).hasher();
        hashing.update(bytes);
        hashing.finish()
    };
    for (bytes, state) in [(&b"good"[..], State::Good), (b"bad", State::Corrupt)] {
        let digest = sha512(bytes);
        tree.write(tree.at(&data_of(&digest)), b"good");
        expected.insert(digest, state);
    }
    let bytes: u64 = expected.keys().map(|digest| fs::metadata(tree.at(&data_of(digest))).unwrap().len()).sum();
    let gone = tree.blob(b"goes");
    let turned = tree.blob(b"becomes a folder");

    let read = Tree::read(Folder::open(tree.folder.path()).unwrap(), Depth::Content);
    for digest in [&gone, &turned] {
        fs::remove_file(tree.at(&data_of(digest))).unwrap();
    }
    fs::create_dir(tree.at(&data_of(&turned))).unwrap();
    let told = AtomicUsize::new(0);
    let advance = || {
        told.fetch_add(1, Ordering::Relaxed);
    };
    assert_eq!(read.hash(&Choice::default(), &advance), bytes);
    assert_eq!(told.into_inner(), expected.len() + 2);
    let damaged: HashSet<Digest> = read.damaged().collect();
    for (digest, state) in &expected {
        assert_eq!(damaged.contains(digest), *state != State::Good, "{digest}");
        assert_eq!(read.hash_one(digest), *state, "{digest}");
    }
    assert!(!damaged.contains(&gone) && damaged.contains(&turned));
}

#[test]
fn what_lies_elsewhere_is_not_missed() {
    let tree = Fixture::new();
    let gone = Digest::of(b"elsewhere");
    let layer = |more: Value| {
        let mut layer = json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": gone, "size": 9});
        layer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"schemaVersion": 2, "config": tree.config_descriptor(), "layers": [layer]})
    };
    tree.tag("a", &tree.manifest(&layer(json!({"urls": ["https://example.com/x"]}))));
    tree.tag("b", &tree.manifest(&layer(json!({"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}))));
    assert_eq!(tree.told(Depth::Blobs), []);
    tree.tag("c", &tree.manifest(&layer(json!({"urls": []}))));
    assert_eq!(tree.told(Depth::Blobs), [(Problem::BlobMissing, Weight::Broken, "c".to_owned())]);
}

#[test]
fn a_sample_moves_on_until_all_had_their_turn() {
    let digests: Vec<Digest> = (0..2000_u32).map(|n| Digest::of(&n.to_be_bytes())).collect();
    let mut turns = vec![0; digests.len()];
    for day in 20_000..20_010 {
        let sample = Sample::of_day(10.0, day);
        let count = digests
            .iter()
            .enumerate()
            .filter(|(place, digest)| {
                sample.contains(digest) && {
                    turns[*place] += 1;
                    true
                }
            })
            .count();
        assert!((100..300).contains(&count), "{count}");
    }
    assert!(turns.iter().all(|turns| (1..=2).contains(turns)));
    assert!(digests.iter().all(|digest| Sample::of_day(100.0, 7).contains(digest)));
    assert!(!digests.iter().any(|digest| Sample::of_day(0.0, 7).contains(digest)));
    let choice = Choice { since: Some(50), ..Choice::default() };
    assert!(choice.selects(&digests[0], 50) && !choice.selects(&digests[0], 49));
    let choice = Choice { since: Some(50), always: [digests[1].clone()].into(), ..Choice::default() };
    assert!(choice.selects(&digests[1], 0));
}
