//! Where things lie in a storage tree, the same in Distribution 2 and 3 (registry/storage/paths.go): paths relative to the
//! `rootdirectory`, and the names of folders back into digests. Pure.

use crate::digest::Digest;

/// The folder of the tree below the `rootdirectory`.
pub const TREE: &str = "docker/registry/v2";
/// All blobs: layers, configs and manifests.
pub const BLOBS: &str = "docker/registry/v2/blobs";
/// All repositories.
pub const REPOSITORIES: &str = "docker/registry/v2/repositories";

/// Within a repository: the links to layers and configs.
pub const LAYERS: &str = "_layers";
/// Within a repository: its manifests.
pub const MANIFESTS: &str = "_manifests";
/// Within a repository: the links to manifests.
pub const REVISIONS: &str = "_manifests/revisions";
/// Within a repository: a folder for each tag.
pub const TAGS: &str = "_manifests/tags";
/// Within a repository: uploads under way.
pub const UPLOADS: &str = "_uploads";
/// Within the folder of a tag: the link to what it names.
pub const CURRENT: &str = "current/link";
/// Within the folder of a tag: the links to everything that it ever named.
pub const INDEX: &str = "index";
/// Within the folder of a digest in a repository.
pub const LINK: &str = "link";
/// Within the folder of a blob.
pub const DATA: &str = "data";

/// The folder of a repository.
#[must_use]
pub fn repository(name: &str) -> String {
    format!("{REPOSITORIES}/{name}")
}

/// The folder of a blob: `blobs/sha256/ab/ab…`.
#[must_use]
pub fn blob(digest: &Digest) -> String {
    let hex = digest.hex();
    let front = hex.get(..2).unwrap_or_default();
    format!("{BLOBS}/{}/{front}/{hex}", digest.algorithm())
}

/// The folder of a digest below [`LAYERS`], [`REVISIONS`] or a tag's [`INDEX`]: `sha256/ab…`.
#[must_use]
pub fn of_digest(digest: &Digest) -> String {
    format!("{}/{}", digest.algorithm(), digest.hex())
}

/// The digest that a folder's name stands for, below the folder of an algorithm.
#[must_use]
pub fn digest(algorithm: &str, name: &[u8]) -> Option<Digest> {
    match algorithm {
        "sha256" => sha256(name).map(Digest::Sha256),
        _ => format!("{algorithm}:{}", std::str::from_utf8(name).ok()?).parse().ok(),
    }
}

/// The bytes that 64 lower-case hexadecimal digits stand for.
#[must_use]
pub fn sha256(name: &[u8]) -> Option<[u8; 32]> {
    if name.len() != 64 || name.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    const_hex::decode_to_array(name).ok()
}

/// How many bytes the link to a digest has.
#[must_use]
pub fn link_size(digest: &Digest) -> u64 {
    match digest {
        Digest::Sha256(_) => 71,
        Digest::Sha512(_) => 135,
    }
}

/// Whether a file's name is that of a file that Distribution 3.1 and later writes before it is renamed: `link.UUID.tmp`, `data.UUID.tmp`
/// (driver/filesystem/driver.go). One that is old was left behind by a crash.
#[must_use]
pub fn is_temporary(name: &[u8]) -> bool {
    name.ends_with(b".tmp") && name.contains(&b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_digests_and_back() {
        let digest_of_nothing = Digest::of(b"");
        let hex = digest_of_nothing.hex();
        assert_eq!(digest("sha256", hex.as_bytes()), Some(digest_of_nothing.clone()));
        assert_eq!(blob(&digest_of_nothing), format!("docker/registry/v2/blobs/sha256/e3/{hex}"));
        assert_eq!(of_digest(&digest_of_nothing), format!("sha256/{hex}"));
        assert_eq!(link_size(&digest_of_nothing), digest_of_nothing.to_string().len() as u64);
        for (algorithm, name) in
            [("sha256", &hex.to_uppercase()[..]), ("sha256", &hex[1..]), ("md5", &hex), ("sha512", &hex), ("sha256", "..")]
        {
            assert_eq!(digest(algorithm, name.as_bytes()), None, "{algorithm} {name}");
        }
        let long = "0".repeat(128);
        assert_eq!(link_size(&digest("sha512", long.as_bytes()).unwrap()), 135);
    }

    #[test]
    fn temporary_files_are_known_by_their_names() {
        assert!(is_temporary(b"link.0c4e7b2a-1111-2222-3333-444455556666.tmp") && is_temporary(b"data.x.tmp"));
        assert!(!is_temporary(b"link") && !is_temporary(b"data") && !is_temporary(b"tmp"));
    }
}
