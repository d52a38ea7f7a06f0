//! Programs that tests start: found on PATH, run with a clean environment, ended by id.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

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

/// The full path of a program that `scripts/test` builds into `target/servers/`, or of the one that a variable such as
/// `TEST_KUBE_APISERVER` names instead.
pub fn built_program(name: &str) -> PathBuf {
    let variable = format!("TEST_{}", name.replace('-', "_").to_uppercase());
    match std::env::var_os(&variable) {
        Some(path) => named_program(&variable, Path::new(&path)),
        None => {
            let built = workspace().join("target/servers").join(name);
            assert!(built.is_file(), "the tests need {name}: scripts/test builds it into target/servers/, or {variable} names another one");
            built
        }
    }
}

/// The program that a variable names. Tests run in the folder of their package, people name paths from the root of the workspace.
pub fn named_program(variable: &str, path: &Path) -> PathBuf {
    fs::canonicalize(workspace().join(path)).unwrap_or_else(|error| panic!("{variable}={}: {error}", path.display()))
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A command that inherits nothing but PATH, with a home of its own.
pub fn clean(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", home).current_dir(home).stdin(Stdio::null());
    command
}

/// Whether the tests run as root, who is asked for no permission.
pub fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&fs::metadata("/proc/self").expect("there is /proc")) == 0
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

/// A server that is killed when its owner goes, and also when this whole process goes without a word: killed itself, or ended
/// with the server in a static, which nothing drops.
///
/// A shell keeps it, and reads a pipe that only we can write to: the pipe ends when we do.
#[derive(Debug)]
pub struct Kept {
    keeper: Child,
    pipe: ChildStdin,
    pid: u32,
}

/// Gives the server's id, then waits for the first of two ends: that of the server, and that of the pipe. A line in the pipe
/// says that the owner lives and cleans up itself; without one the folder goes too. Ctrl-C reaches the whole process group, and
/// must not end the keeper before it has done its work.
const KEEPER: &str = r#"
    trap '' INT TERM HUP
    folder=$1 log=$2
    shift 2
    exec 3<&0 < /dev/null
    "$@" >> "$log" 2>&1 3<&- &
    server=$!
    (read -r -u 3; alone=$?; kill -KILL "$server"; exit "$alone") > /dev/null &
    reader=$!
    echo "$server"
    wait "$server"
    status=$?
    # 137: by KILL, so the reader is about to end, and says why.
    [ "$status" = 137 ] || kill -KILL "$reader"
    wait "$reader"
    [ "$?" != 1 ] || rm -rf "$folder"
    exit "$status"
"#;

impl Kept {
    /// Starts this command, which writes what it has to say to `log`; `folder` goes with the server where nobody else is left.
    pub fn start(command: &Command, log: &Path, folder: &Path) -> Self {
        let mut keeper = Command::new("bash");
        keeper.args(["-c", KEEPER, "keeper"]).arg(folder).arg(log).arg(command.get_program()).args(command.get_args());
        keeper.env_clear();
        for (name, value) in command.get_envs() {
            keeper.env(name, value.unwrap_or_default());
        }
        keeper.current_dir(command.get_current_dir().unwrap_or(folder));
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut keeper = keeper.spawn().expect("bash runs");
        let pipe = keeper.stdin.take().expect("standard input is a pipe");
        let mut line = String::new();
        let stdout = keeper.stdout.take().expect("standard output is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("the keeper says the server's id");
        let pid = line.trim().parse().unwrap_or_else(|_| panic!("{command:?} was not started: {line:?}"));
        Self { keeper, pipe, pid }
    }

    /// The process of the server.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How the server ended, if it did so by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.keeper.try_wait().expect("the keeper is our child")
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.pipe.write_all(b"end\n");
        let _ = self.keeper.wait();
    }
}
