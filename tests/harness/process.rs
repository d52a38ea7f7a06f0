//! Programs that tests start: found on PATH, run with a clean environment, ended by id.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The full path of a program, or a failure that names the line which installs it.
pub fn program(name: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let also = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(also)
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| panic!("the tests need {name}: apt-get update && apt-get install -y {package} (scripts/test does it)"))
}

/// A command that inherits nothing but PATH, with a home of its own.
pub fn clean(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", home).current_dir(home).stdin(Stdio::null());
    command
}

/// Runs a command to its end and gives its standard output; fails with both streams.
pub fn output_of(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} ended with {}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Sends a signal by name (`INT`, `KILL`, `STOP`) to one process.
pub fn signal(pid: u32, name: &str) {
    // The one that is part of bash: a small Debian has no program of this name.
    let status = Command::new("bash").args(["-c", &format!("kill -{name} {pid}")]).status().expect("bash runs");
    assert!(status.success(), "kill -{name} {pid} ended with {status}");
}

/// A server that is killed when its owner goes.
#[derive(Debug)]
pub struct Server(pub Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
