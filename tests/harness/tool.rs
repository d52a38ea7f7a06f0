//! Runs the tools as people do, and says what they did.
//!
//! A tool sees nothing of the environment in which the tests run: no HOME, credentials, kubeconfig or proxy of the
//! person at the keyboard. A failed expectation shows the command, its status and both streams.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::folder::temporary;
use crate::process::{is_root, output_of, signal};

/// Longer than anything that a test waits for, and shorter than a person's patience.
const LONGEST: Duration = Duration::from_secs(60);

/// A command to be run.
#[derive(Debug)]
pub struct Tool {
    command: Command,
    home: TempDir,
    stdin: Option<Vec<u8>>,
}

/// JSON Lines of these records: what goes to a filter's standard input.
pub fn lines(records: &[Value]) -> String {
    records.iter().map(|record| format!("{record}\n")).collect()
}

/// A bash script, with our tools first on PATH: pipelines as people write them.
pub fn shell(script: &str) -> Tool {
    let mut tool = Tool::at(Path::new("bash"));
    tool.command.args(["-c", script]);
    tool
}

impl Tool {
    /// One of the tools of this workspace, by name.
    pub fn new(name: &str) -> Self {
        let tools = tools();
        let path = tools.get(name).unwrap_or_else(|| panic!("no tool is called {name}: {tools:?}"));
        Self::at(path)
    }

    fn at(program: &Path) -> Self {
        let home = temporary();
        let mut path = bin_folder().as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new(program);
        command.env_clear().env("PATH", path).env("HOME", home.path()).env("LANG", "C.UTF-8").current_dir(home.path());
        Self { command, home, stdin: None }
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable of the otherwise empty environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Puts a folder before everything else on PATH, for a credential helper that a test wrote.
    pub fn path_first(mut self, folder: &Path) -> Self {
        let mut path = folder.as_os_str().to_owned();
        path.push(":");
        let current = self.command.get_envs().find(|(name, _)| *name == "PATH");
        path.push(current.and_then(|(_, value)| value).unwrap_or_default());
        self.command.env("PATH", path);
        self
    }

    /// Writes a bash script that the command finds first on PATH: a credential helper, a program in the way.
    pub fn program(self, name: &str, script: &str) -> Self {
        let folder = self.home.path().join("bin");
        let this = self.home_file(&format!("bin/{name}.source"), format!("#!/usr/bin/env bash\n{script}\n"));
        // Copied by another process: a file that this one had open for writing, and that a child started by another
        // thread just then still has, could not be run ("Text file busy").
        let source = folder.join(format!("{name}.source"));
        output_of(Command::new("install").args(["-m", "755"]).arg(source).arg(folder.join(name)));
        this.path_first(&folder)
    }

    /// Runs in this folder instead of the temporary home.
    pub fn in_folder(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Writes a file below the home of the command, such as `.docker/config.json`; the home is the working folder too.
    pub fn home_file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.home.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    /// The temporary home, which goes with this command and its [`Ran`].
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// What stands on standard input; without it the input is empty.
    pub fn stdin(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(input.into());
        self
    }

    /// Files that the command writes end at this size (in KiB) with "File too large": a disk that is full in the middle
    /// of a journal, without the rights to mount one. It is `ulimit -f` with SIGXFSZ ignored. A disk that is full from
    /// the first byte on is `/dev/full`.
    pub fn disk_full_after(self, kib: u32) -> Self {
        let mut limited = Command::new("bash");
        limited.args(["-c", &format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" \"$@\"")]);
        limited.arg(self.command.get_program()).args(self.command.get_args());
        Self { command: self.moved_to(limited), ..self }
    }

    /// Runs as somebody who owns nothing: a copy of the program, because that one may not look into our folders.
    pub fn as_nobody(self) -> Self {
        if !is_root() {
            return self;
        }
        let folder = self.home.path();
        let program = folder.join("program");
        output_of(Command::new("install").args(["-m", "755"]).arg(self.command.get_program()).arg(&program));
        output_of(Command::new("chmod").args(["755"]).arg(folder));
        let mut nobody = Command::new("setpriv");
        nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program).args(self.command.get_args());
        Self { command: self.moved_to(nobody), ..self }
    }

    /// Runs the command in a terminal: input, output and errors are one, so what it says on either stream comes as
    /// standard output, in lines that end with CR LF. The input ends as with Ctrl-D. With [`shell`] and its
    /// redirections a test chooses which of the streams are the terminal.
    pub fn in_terminal(self) -> Self {
        let words = std::iter::once(self.command.get_program()).chain(self.command.get_args());
        let quoted: Vec<String> = words.map(|word| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"))).collect();
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", &quoted.join(" "), "/dev/null"]);
        Self { command: self.moved_to(script), ..self }
    }

    /// A command that runs this one has its environment and folder.
    fn moved_to(&self, mut outer: Command) -> Command {
        outer.env_clear();
        for (name, value) in self.command.get_envs() {
            outer.env(name, value.unwrap_or_default());
        }
        outer.current_dir(self.command.get_current_dir().unwrap_or(self.home.path()));
        outer
    }

    /// Runs the command to its end.
    pub fn run(mut self) -> Ran {
        let input = self.stdin.take().unwrap_or_default();
        let mut running = self.spawn();
        let mut stdin = running.stdin.take().expect("standard input is a pipe");
        let writer = std::thread::spawn(move || {
            // A tool that ends before it read all of its input is no failure of the test.
            let _ = stdin.write_all(&input);
        });
        let ran = running.wait();
        let _ = writer.join();
        ran
    }

    /// Starts the command, for a test that watches, feeds or kills it; standard input is an open pipe, and what was given
    /// with [`stdin`](Self::stdin) has been written to it.
    pub fn spawn(mut self) -> Running {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let shown = format!("{:?}", self.command);
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("{shown}: {error}"));
        if let (Some(input), Some(pipe)) = (&self.stdin, &mut child.stdin) {
            let _ = pipe.write_all(input);
        }
        Running {
            stdin: child.stdin.take(),
            stdout: child.stdout.take().map(BufReader::new),
            stderr: child.stderr.take().map(read_all),
            read: Vec::new(),
            child,
            shown,
            home: Some(self.home),
        }
    }
}

/// Reads a stream to its end in a thread of its own, so that neither stream can block the other.
fn read_all(mut stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}

/// A command that runs; it is killed when it is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: Option<Receiver<Vec<u8>>>,
    /// What was read of standard output line by line.
    read: Vec<u8>,
    shown: String,
    home: Option<TempDir>,
}

impl Running {
    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as the power does.
    pub fn kill9(&self) {
        signal(self.pid(), "KILL");
    }

    /// Ends it as Ctrl-C does.
    pub fn interrupt(&self) {
        signal(self.pid(), "INT");
    }

    /// Writes to its standard input; a pipe that it closed is no failure.
    pub fn write(&mut self, text: &str) {
        let pipe = self.stdin.as_mut().expect("standard input is open");
        let _ = pipe.write_all(text.as_bytes()).and_then(|()| pipe.flush());
    }

    /// Ends its standard input.
    pub fn close_stdin(&mut self) {
        self.stdin.take();
    }

    /// Goes away as the reader of its standard output.
    pub fn close_stdout(&mut self) {
        self.stdout.take();
    }

    /// The next line of standard output, without its end; waits for it. `None` at the end of the stream.
    pub fn read_line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        self.stdout.as_mut()?.read_until(b'\n', &mut line).unwrap();
        self.read.extend_from_slice(&line);
        (!line.is_empty()).then(|| String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// Ends its standard input and waits for its end.
    pub fn wait(mut self) -> Ran {
        self.close_stdin();
        let rest = self.stdout.take().map(read_all);
        let deadline = Instant::now() + LONGEST;
        let (status, timely) = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break (status, true);
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                break (self.child.wait().unwrap(), false);
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let mut stdout = std::mem::take(&mut self.read);
        // A process that outlives its parent may hold the streams open: that is a failure, not a hang.
        let left = || deadline.saturating_duration_since(Instant::now()).max(Duration::from_secs(5));
        let rest = rest.map(|rest| rest.recv_timeout(left()));
        let stderr = self.stderr.take().map(|stderr| stderr.recv_timeout(left()));
        let closed = !matches!(rest, Some(Err(_))) && !matches!(stderr, Some(Err(_)));
        stdout.extend(rest.and_then(Result::ok).unwrap_or_default());
        let stderr = stderr.and_then(Result::ok).unwrap_or_default();
        let ran = Ran {
            command: std::mem::take(&mut self.shown),
            status: status.code(),
            how: status.to_string(),
            stdout,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            _home: self.home.take().expect("a command ends once"),
        };
        assert!(timely, "did not end within {} s\n{ran}", LONGEST.as_secs());
        assert!(closed, "ended, but left a process behind that holds its streams open\n{ran}");
        ran
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a command did.
pub struct Ran {
    command: String,
    status: Option<i32>,
    how: String,
    stdout: Vec<u8>,
    stderr: String,
    _home: TempDir,
}

impl Ran {
    /// Fails unless the exit status is 0.
    #[track_caller]
    pub fn succeeds(self) -> Self {
        self.status(0)
    }

    /// Fails unless this is the exit status.
    #[track_caller]
    pub fn status(self, expected: i32) -> Self {
        assert!(self.status == Some(expected), "expected exit status {expected}\n{self}");
        self
    }

    /// Fails unless standard error has this in it.
    #[track_caller]
    pub fn stderr_has(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "expected {part:?} on standard error\n{self}");
        self
    }

    /// Fails if standard error has this in it: a secret, a guess.
    #[track_caller]
    pub fn stderr_lacks(self, part: &str) -> Self {
        assert!(!self.stderr.contains(part), "expected no {part:?} on standard error\n{self}");
        self
    }

    /// Fails unless standard output has this in it.
    #[track_caller]
    pub fn stdout_has(self, part: &str) -> Self {
        assert!(self.stdout().contains(part), "expected {part:?} on standard output\n{self}");
        self
    }

    /// Fails unless standard output is empty.
    #[track_caller]
    pub fn stdout_is_empty(self) -> Self {
        assert!(self.stdout.is_empty(), "expected nothing on standard output\n{self}");
        self
    }

    /// The exit status; `None` where a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status
    }

    /// Standard output as text.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard output byte for byte.
    pub fn stdout_bytes(&self) -> &[u8] {
        &self.stdout
    }

    /// Standard error as text.
    pub fn stderr(&self) -> &str {
        &self.stderr
    }

    /// Every record on standard output. Blank lines, with which journals begin, are no records.
    #[track_caller]
    pub fn records(&self) -> Vec<Value> {
        let stdout = self.stdout();
        let lines = stdout.lines().filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}\n{self}"))).collect()
    }

    /// The records of one type.
    #[track_caller]
    pub fn records_of(&self, kind: &str) -> Vec<Value> {
        self.records().into_iter().filter(|record| record["type"] == kind).collect()
    }

    /// The one record of this type; fails if there is none or more.
    #[track_caller]
    pub fn the(&self, kind: &str) -> Value {
        let mut records = self.records_of(kind);
        assert!(records.len() == 1, "expected one {kind} record, there are {}\n{self}", records.len());
        records.remove(0)
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "command: {}\nended:   {}\n--- stdout\n{}\n--- stderr\n{}", self.command, self.how, self.stdout(), self.stderr)
    }
}

impl fmt::Debug for Ran {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The folder that holds the tools of this workspace.
pub fn bin_folder() -> &'static Path {
    tools().values().next().and_then(|path| path.parent()).expect("the workspace has tools")
}

/// Cargo gives a test no programs of other packages, so one nested build, once per process, says where they are.
fn tools() -> &'static HashMap<String, PathBuf> {
    static TOOLS: OnceLock<HashMap<String, PathBuf>> = OnceLock::new();
    TOOLS.get_or_init(build)
}

fn build() -> HashMap<String, PathBuf> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
    cargo
        .args(["build", "--workspace", "--bins", "--message-format=json-render-diagnostics"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    without_cargo(&mut cargo);
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "the tools do not build:\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact")
        .filter_map(|message| {
            let path = message["executable"].as_str()?.to_owned();
            Some((message["target"]["name"].as_str()?.to_owned(), PathBuf::from(path)))
        })
        .collect()
}

/// Takes from a command what cargo set for this very test: to build scripts it would look like a change.
pub fn without_cargo(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|prefix| text.starts_with(prefix))
            || ["CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "LD_LIBRARY_PATH"].contains(&&*text)
        {
            command.env_remove(&name);
        }
    }
    command
}
