//! Where the temporary folders of tests lie: in memory, where there is enough of it.
//!
//! A registry asks the disk to confirm each blob; on a real disk that is ten times slower than all the rest of a test.
//! `TMPDIR` overrules the choice.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

const MEMORY: &str = "/dev/shm";
/// In KiB; the whole suite needs a tenth of it at a time.
const ENOUGH: u64 = 2 << 20;

/// A new folder that goes with its owner.
pub fn temporary() -> TempDir {
    static PARENT: OnceLock<PathBuf> = OnceLock::new();
    let parent = PARENT.get_or_init(|| {
        let chosen = std::env::var_os("TMPDIR").is_some();
        if !chosen && free_kib(Path::new(MEMORY)) > Some(ENOUGH) { PathBuf::from(MEMORY) } else { std::env::temp_dir() }
    });
    tempfile::Builder::new()
        .prefix("test-")
        .tempdir_in(parent)
        .unwrap_or_else(|error| panic!("a temporary folder in {}: {error}", parent.display()))
}

fn free_kib(folder: &Path) -> Option<u64> {
    let output = Command::new("df").args(["--output=avail", "-k"]).arg(folder).output().ok()?;
    String::from_utf8_lossy(&output.stdout).lines().last()?.trim().parse().ok()
}
