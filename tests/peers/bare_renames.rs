//! Renames files and folders from one folder to another, and does nothing else.
//!
//! ```sh
//! bare-renames FROM TO THREADS < PATHS
//! ```
//!
//! `PATHS` are relative, one a line. Parent folders that are not there are made, as a trash needs them. What a sweep takes that
//! does nothing but its renames: the measure of `reg-gc`. With `FROM` and `TO` exchanged it takes them back.

use std::collections::HashSet;
use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;
use std::thread;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, threads] = &args[..] else { return Err("expected FROM, TO and THREADS".into()) };
    let (from, to, threads): (&Path, &Path, usize) = (from.as_ref(), to.as_ref(), threads.parse()?);
    let paths = io::read_to_string(io::stdin())?;
    let paths: Vec<&str> = paths.lines().collect();
    let parts = paths.chunks(paths.len().div_ceil(threads).max(1));
    thread::scope(|scope| {
        let workers: Vec<_> = parts.map(|part| scope.spawn(move || rename(from, to, part))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| Err("a thread ended early".into())))
    })
    .map_err(Into::into)
}

fn rename(from: &Path, to: &Path, paths: &[&str]) -> Result<(), String> {
    let mut made: HashSet<&Path> = HashSet::new();
    for path in paths.iter().map(Path::new) {
        if let Some(parent) = path.parent().filter(|parent| made.insert(parent)) {
            fs::create_dir_all(to.join(parent)).map_err(|error| format!("{}: {error}", parent.display()))?;
        }
        fs::rename(from.join(path), to.join(path)).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}
