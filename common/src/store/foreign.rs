//! Storages that are not ours to judge, because something else than their files says what is in use; and how they show.
//!
//! What a configuration gives away is found by [`config`](super::config), what stands in the tree itself here.

use std::io;
use std::path::Path;

/// Why a storage is left alone: the reason, and the way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no filesystem.
    #[error("the storage driver is {name}, and only the driver filesystem is worked on: {}", way_out(.name))]
    Driver {
        /// The driver.
        name: String,
    },
    /// It is two storages at once.
    #[error(
        "{} are storage drivers, and a registry has one and does not start with two: a variable that names another driver than the file \
         needs REGISTRY_STORAGE=DRIVER beside it, which takes the place of the file's storage",
        .names.join(" and ")
    )]
    TwoDrivers {
        /// The drivers.
        names: Vec<String>,
    },
    /// What is in it was fetched from another registry.
    #[error(
        "the registry is a pull-through cache{}, whose own scheduler takes away what has expired and would be misled by files that are \
         gone: set proxy.ttl, or empty the storage while the registry is stopped; if it is no cache any more, take away proxy.remoteurl \
         and scheduler-state.json in the storage",
        .remote.as_ref().map(|remote| format!(" of {remote}")).unwrap_or_default()
    )]
    PullThroughCache {
        /// The other registry, where that is known; without user and password.
        remote: Option<String>,
    },
    /// Tags and manifests are in GitLab's database.
    #[error(
        "GitLab's metadata database says what is in use here, and by the files alone all of it looks like garbage: GitLab's own online \
         garbage collection gives the space back ({hint})"
    )]
    GitLabDatabase {
        /// How that shows.
        hint: &'static str,
    },
    /// Tags and deletions are in Harbor's database.
    #[error(
        "this is Harbor's registry ({hint}), and Harbor's database says what is in use, not the files: run Harbor's own garbage collection \
         (Administration, Clean Up)"
    )]
    Harbor {
        /// How that shows.
        hint: &'static str,
    },
}

fn way_out(driver: &str) -> &'static str {
    match driver {
        "inmemory" => "what is in memory is gone when the registry restarts",
        _ => {
            "run the registry's own garbage-collect while it is read-only; and let no rule of a bucket expire objects by their age, since \
             images share blobs, whose age says nothing about their use, so that such a rule destroys live images"
        }
    }
}

/// What the tree below a driver's rootdirectory says.
///
/// # Errors
/// A folder that cannot be looked into.
pub fn of_tree(root: &Path) -> io::Result<Option<Refusal>> {
    if root.join("docker/registry/lockfiles/database-in-use").try_exists()? {
        return Ok(Some(Refusal::GitLabDatabase { hint: "the storage holds docker/registry/lockfiles/database-in-use" }));
    }
    if root.join("scheduler-state.json").try_exists()? {
        return Ok(Some(Refusal::PullThroughCache { remote: None }));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_tree_says_whose_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        assert_eq!(of_tree(root).unwrap(), None);
        assert_eq!(of_tree(&root.join("absent")).unwrap(), None);
        fs::create_dir_all(root.join("docker/registry/lockfiles")).unwrap();
        fs::write(root.join("docker/registry/lockfiles/filesystem-in-use"), "").unwrap();
        assert_eq!(of_tree(root).unwrap(), None);
        fs::write(root.join("scheduler-state.json"), "{}").unwrap();
        assert_eq!(of_tree(root).unwrap(), Some(Refusal::PullThroughCache { remote: None }));
        fs::write(root.join("docker/registry/lockfiles/database-in-use"), "").unwrap();
        assert!(matches!(of_tree(root).unwrap(), Some(Refusal::GitLabDatabase { .. })));
    }

    #[test]
    fn sentences_name_the_cause_and_the_way_out() {
        let cases = [
            (Refusal::Driver { name: "s3".into() }, ["driver is s3", "destroys live images"]),
            (Refusal::Driver { name: "inmemory".into() }, ["driver is inmemory", "when the registry restarts"]),
            (Refusal::TwoDrivers { names: vec!["filesystem".into(), "s3".into()] }, ["filesystem and s3", "REGISTRY_STORAGE=DRIVER"]),
            (Refusal::PullThroughCache { remote: Some("https://a.test".into()) }, ["cache of https://a.test", "proxy.ttl"]),
            (Refusal::PullThroughCache { remote: None }, ["cache, whose", "scheduler-state.json"]),
            (Refusal::GitLabDatabase { hint: "h" }, ["GitLab", "(h)"]),
            (Refusal::Harbor { hint: "h" }, ["Harbor's registry (h)", "garbage collection"]),
        ];
        for (refusal, parts) in cases {
            let text = refusal.to_string();
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
            assert!(!text.contains("  "), "{text}");
        }
    }
}
