//! A running registry, seen from outside: its command line, its environment, where its paths begin, and since when it runs.
//!
//! All is read below `/proc`. A registry in a container has another root than we do, so its paths are looked up below
//! `/proc/PID/root`, link by link, because an absolute link there would otherwise lead into our own files. What its
//! configuration means is left to [`source`](super::source).

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail};
use chrono::{DateTime, TimeDelta, Utc};

/// A process that is a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it was started; the clock of `/proc` may put it up to a second too early.
    pub started: DateTime<Utc>,
}

/// What a running registry was started with.
#[derive(Debug)]
pub struct Running {
    /// The process.
    pub process: Process,
    /// The configuration file, in its own view of the files.
    pub config: PathBuf,
    /// Its variables.
    pub environment: Vec<(OsString, OsString)>,
    /// Its working folder, in its own view.
    folder: PathBuf,
    /// Where its files are for us; `None` where its view is ours.
    root: Option<PathBuf>,
}

/// The registry of this number, or the only one that runs.
pub fn find(proc: &Path, pid: Option<u32>) -> anyhow::Result<Running> {
    if let Some(pid) = pid {
        let command = command_line(proc, pid).with_context(|| format!("process {pid}"))?;
        let Some(operand) = operand_of_serve(&command) else {
            bail!("process {pid} is no registry: its command line is not `registry serve CONFIG`");
        };
        return running(proc, pid, operand);
    }
    let mut found = registries(proc)?;
    match (found.pop(), found.is_empty()) {
        (Some((pid, command)), true) => running(proc, pid, operand_of_serve(&command).unwrap_or_default()),
        (None, _) => bail!(
            "no process here is a registry (`registry serve CONFIG`, or another program of which the name has registry in it): name its \
             number, --from-process PID; that of one in a container is seen from the container's host, and in a container that shares its \
             process namespace"
        ),
        (Some(last), false) => {
            found.push(last);
            let list: Vec<String> = found
                .iter()
                .map(|(pid, command)| {
                    format!("{pid} ({})", command.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" "))
                })
                .collect();
            bail!("several registries run here, {}: which one is meant? --from-process PID", list.join(", "))
        }
    }
}

impl Running {
    /// Where a path of the process is for us.
    pub fn resolve(&self, path: &Path) -> anyhow::Result<PathBuf> {
        let path = self.folder.join(path);
        match &self.root {
            None => Ok(path),
            Some(root) => below(root, &path).with_context(|| format!("{} in the files of process {}", path.display(), self.process.pid)),
        }
    }
}

/// The processes that are registries by their names. Other programs have a command `serve` too, so these are taken by number alone.
fn registries(proc: &Path) -> anyhow::Result<Vec<(u32, Vec<OsString>)>> {
    let entries = fs::read_dir(proc).with_context(|| format!("reading {}", proc.display()))?;
    let mut pids: Vec<u32> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    let mut found = Vec::new();
    for pid in pids {
        // A process that ended meanwhile, or that is nobody's business here, is not the one.
        let Ok(command) = command_line(proc, pid) else { continue };
        let program = command.first().map(PathBuf::from);
        let is_registry = program.iter().filter_map(|program| program.file_name()).any(|name| name.to_string_lossy().contains("registry"));
        if is_registry && operand_of_serve(&command).is_some() {
            found.push((pid, command));
        }
    }
    Ok(found)
}

fn command_line(proc: &Path, pid: u32) -> anyhow::Result<Vec<OsString>> {
    let words = fs::read(proc.join(pid.to_string()).join("cmdline")).map_err(|error| match error.kind() {
        ErrorKind::NotFound => anyhow::anyhow!("there is no such process"),
        _ => anyhow::Error::new(error).context("reading its command line"),
    })?;
    Ok(split(&words))
}

fn split(words: &[u8]) -> Vec<OsString> {
    let words = words.strip_suffix(b"\0").unwrap_or(words);
    words.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect()
}

/// What follows `serve` in a registry's command line, `Some(None)` where the variable says it; `None` for other command lines.
fn operand_of_serve(command: &[OsString]) -> Option<Option<PathBuf>> {
    let mut operands = command.iter().skip(1).filter(|word| !word.as_bytes().starts_with(b"-"));
    (operands.next()? == "serve").then(|| operands.next().map(PathBuf::from))
}

fn running(proc: &Path, pid: u32, operand: Option<PathBuf>) -> anyhow::Result<Running> {
    let of_process = proc.join(pid.to_string());
    let as_whom = || format!("looking into process {pid}, which root may do, and mostly its own user");
    let environment: Vec<(OsString, OsString)> = split(&fs::read(of_process.join("environ")).with_context(as_whom)?)
        .into_iter()
        .filter_map(|variable| {
            let at = variable.as_bytes().iter().position(|byte| *byte == b'=')?;
            let (name, value) = variable.as_bytes().split_at(at);
            Some((OsString::from_vec(name.to_vec()), OsString::from_vec(value.get(1..)?.to_vec())))
        })
        .collect();
    let by_variable = || {
        let (_, value) = environment.iter().find(|(name, value)| name == "REGISTRY_CONFIGURATION_PATH" && !value.is_empty())?;
        Some(PathBuf::from(value))
    };
    let config = operand
        .or_else(by_variable)
        .with_context(|| format!("process {pid} names no configuration: neither after `serve` nor by REGISTRY_CONFIGURATION_PATH"))?;
    let cwd = fs::read_link(of_process.join("cwd")).with_context(as_whom)?;
    let root = fs::read_link(of_process.join("root")).with_context(as_whom)?;
    // The root of a chroot is written as we see it, and so is what lies in it; that of a container is `/`.
    let folder = Path::new("/").join(cwd.strip_prefix(&root).unwrap_or(&cwd));
    let same_view = root == Path::new("/") && mounts(proc, &pid.to_string()).is_some_and(|theirs| mounts(proc, "self") == Some(theirs));
    let process = Process { pid, started: started(proc, pid)? };
    Ok(Running { process, config, environment, folder, root: (!same_view).then(|| of_process.join("root")) })
}

/// Which mounts a process sees, as a name that can be compared.
fn mounts(proc: &Path, process: &str) -> Option<PathBuf> {
    fs::read_link(proc.join(process).join("ns/mnt")).ok()
}

fn started(proc: &Path, pid: u32) -> anyhow::Result<DateTime<Utc>> {
    let stat = fs::read(proc.join(pid.to_string()).join("stat")).with_context(|| format!("reading since when process {pid} runs"))?;
    let boot = fs::read_to_string(proc.join("stat")).context("reading since when this machine runs")?;
    start_time(&String::from_utf8_lossy(&stat), &boot, rustix::param::clock_ticks_per_second())
        .with_context(|| format!("{} does not say since when process {pid} runs", proc.display()))
}

/// From the process's line and the machine's: the 22nd field is ticks since the machine was started.
fn start_time(stat: &str, boot: &str, ticks_per_second: u64) -> Option<DateTime<Utc>> {
    // The second field is the program's name in parentheses, which may hold blanks and parentheses itself.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 = fields.split_whitespace().nth(19)?.parse().ok()?;
    let boot = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let milliseconds = ticks.checked_mul(1000)?.checked_div(ticks_per_second)?;
    DateTime::from_timestamp(boot, 0)?.checked_add_signed(TimeDelta::milliseconds(i64::try_from(milliseconds).ok()?))
}

/// The path below a root of its own, without links in it: they are followed as one who has that root would.
fn below(root: &Path, path: &Path) -> anyhow::Result<PathBuf> {
    const MOST_LINKS: u32 = 40;
    let mut left: VecDeque<OsString> = names(path);
    let mut reached: Vec<OsString> = Vec::new();
    let mut links = 0;
    while let Some(name) = left.pop_front() {
        if name == ".." {
            reached.pop();
            continue;
        }
        let here = root.join(reached.iter().collect::<PathBuf>()).join(&name);
        if !fs::symlink_metadata(&here)?.is_symlink() {
            reached.push(name);
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            bail!("too many links");
        }
        let target = fs::read_link(&here)?;
        if target.is_absolute() {
            reached.clear();
        }
        for name in names(&target).into_iter().rev() {
            left.push_front(name);
        }
    }
    Ok(root.join(reached.into_iter().collect::<PathBuf>()))
}

fn names(path: &Path) -> VecDeque<OsString> {
    let names = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    names.map(|part| part.as_os_str().to_owned()).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::symlink;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A folder with the files of `/proc` that are read, in which processes have a root of their own.
    pub struct FakeProc(tempfile::TempDir);

    impl FakeProc {
        pub fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir_all(folder.path().join("rootfs/srv")).unwrap();
            fs::create_dir(folder.path().join("proc")).unwrap();
            fs::write(folder.path().join("proc/stat"), "cpu 1 2 3\nbtime 1700000000\nprocesses 9\n").unwrap();
            fs::write(folder.path().join("proc/uptime"), "1 1").unwrap();
            Self(folder)
        }

        pub fn proc(&self) -> PathBuf {
            self.0.path().join("proc")
        }

        /// A path in the processes' files.
        pub fn file(&self, path: &str) -> PathBuf {
            self.0.path().join("rootfs").join(path)
        }

        pub fn process(&self, pid: u32, command: &[&str], environment: &[&str]) {
            let folder = self.proc().join(pid.to_string());
            fs::create_dir(&folder).unwrap();
            let text = |words: &[&str]| words.iter().map(|word| format!("{word}\0")).collect::<String>();
            fs::write(folder.join("cmdline"), text(command)).unwrap();
            fs::write(folder.join("environ"), text(environment)).unwrap();
            let fields = format!("{pid} (a) b) S 1{} 4200 7 8", " 0".repeat(17));
            fs::write(folder.join("stat"), fields).unwrap();
            symlink(self.file("srv"), folder.join("cwd")).unwrap();
            symlink(self.file(""), folder.join("root")).unwrap();
        }
    }

    #[test]
    fn the_only_registry_is_found_and_several_are_named() {
        let fake = FakeProc::new();
        let proc = fake.proc();
        fake.process(2, &[""], &[]);
        fake.process(5, &["/usr/bin/ollama", "serve"], &[]);
        fake.process(6, &["docker", "run", "registry:2", "serve", "/etc/config.yml"], &[]);
        fake.process(7, &["/bin/registry", "garbage-collect", "/etc/config.yml"], &[]);
        let none = find(&proc, None).unwrap_err().to_string();
        assert!(none.contains("--from-process PID"), "{none}");

        fake.process(12, &["/bin/registry", "serve", "/etc/config.yml"], &["A=1", "REGISTRY_HTTP_ADDR=:1=2", "odd"]);
        let found = find(&proc, None).unwrap();
        assert_eq!((found.process.pid, found.config.to_str()), (12, Some("/etc/config.yml")));
        assert_eq!(found.environment, [("A".into(), "1".into()), ("REGISTRY_HTTP_ADDR".into(), ":1=2".into())]);

        fake.process(31, &["/usr/bin/docker-registry", "serve", "other.yml"], &[]);
        let several = find(&proc, None).unwrap_err().to_string();
        assert!(several.contains("12 (/bin/registry serve /etc/config.yml), 31 (/usr/bin/docker-registry serve other.yml)"), "{several}");
    }

    #[test]
    fn one_that_is_named_need_only_serve() {
        let fake = FakeProc::new();
        let proc = fake.proc();
        fake.process(3, &["/opt/distribution", "--log", "serve", "-x"], &["REGISTRY_CONFIGURATION_PATH=conf.yml"]);
        fake.process(4, &["sleep", "9"], &[]);
        fake.process(5, &["registry", "serve"], &["REGISTRY_CONFIGURATION_PATH="]);
        assert_eq!(find(&proc, Some(3)).unwrap().config.to_str(), Some("conf.yml"));
        for (pid, part) in [(4, "is no registry"), (5, "names no configuration"), (99, "process 99")] {
            let error = format!("{:#}", find(&proc, Some(pid)).unwrap_err());
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn its_paths_stay_below_its_root() {
        let fake = FakeProc::new();
        fake.process(12, &["registry", "serve", "c.yml"], &[]);
        fs::create_dir_all(fake.file("data/registry")).unwrap();
        fs::create_dir_all(fake.file("srv/..data")).unwrap();
        fs::write(fake.file("srv/..data/c.yml"), "").unwrap();
        symlink("..data/c.yml", fake.file("srv/c.yml")).unwrap();
        symlink("/data/registry", fake.file("storage")).unwrap();
        symlink("../../../../data/./registry", fake.file("srv/up")).unwrap();
        symlink("loop", fake.file("loop")).unwrap();
        let root = fake.proc().join("12/root");
        let found = find(&fake.proc(), Some(12)).unwrap();
        for (path, target) in [
            ("c.yml", "srv/..data/c.yml"),
            ("/srv/c.yml", "srv/..data/c.yml"),
            ("/storage", "data/registry"),
            ("up", "data/registry"),
            ("../srv/./up", "data/registry"),
            ("/../../data", "data"),
            ("/", ""),
        ] {
            assert_eq!(found.resolve(Path::new(path)).unwrap(), root.join(target), "{path}");
        }
        for (path, part) in [("/absent", "/absent in the files of process 12"), ("/loop", "too many links")] {
            let error = format!("{:#}", found.resolve(Path::new(path)).unwrap_err());
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn the_start_is_counted_from_the_machines() {
        let boot = "cpu 1\nbtime 1700000000\n";
        let fields = format!(" S 1{} 4250 7", " 0".repeat(17));
        for name in ["registry", "a b", "x) S 1 (y"] {
            let time = start_time(&format!("12 ({name}){fields}"), boot, 100).unwrap();
            assert_eq!(time.to_rfc3339(), "2023-11-14T22:14:02.500+00:00");
        }
        assert_eq!(start_time("12 (a) S 1", boot, 100), None);
        assert_eq!(start_time(&format!("12 (a){fields}"), "", 100), None);
        assert_eq!(start_time(&format!("12 (a){fields}"), boot, 0), None);
    }

    /// Ends with its owner.
    struct Ended(Child);

    impl Drop for Ended {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_real_process_is_seen_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let before = Utc::now();
        // A shell that waits for the end of its input, with the command line of a registry.
        let mut child = Command::new("sh");
        child.args(["-s", "serve", "config.yml"]).env_clear().env("REGISTRY_STORAGE", "filesystem").current_dir(&folder);
        let child = Ended(child.stdin(Stdio::piped()).spawn().unwrap());
        let found = find(Path::new("/proc"), Some(child.0.id())).unwrap();
        assert_eq!(found.config.to_str(), Some("config.yml"));
        assert_eq!(found.resolve(&found.config).unwrap(), folder.join("config.yml"));
        assert!(found.environment.contains(&("REGISTRY_STORAGE".into(), "filesystem".into())), "{found:?}");
        let apart = (found.process.started - before).num_seconds().abs();
        assert!(apart <= 5, "started {}, seen at {before}", found.process.started);
    }
}
