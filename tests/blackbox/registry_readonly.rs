//! The hooks in `scripts/registry-readonly`. Nothing here can start a container, a pod or a unit, so what starts and stops is stood in
//! for by small programs on PATH that write down what they are told; what a container is created from is asked of a real engine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{Engine, Image, Registry, temporary};

const VARIABLE: &str = "REGISTRY_STORAGE_MAINTENANCE_READONLY={enabled: true}";

/// A folder with the programs that stand in for others.
struct Stage {
    folder: TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Stage {
    fn new(program: &str, script: &str) -> Self {
        let folder = temporary();
        let file = folder.path().join(program);
        fs::write(&file, format!("#!/usr/bin/env bash\nset -u\ncd '{}'\n{script}", folder.path().display())).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder, variables: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, hook: &str, arguments: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/registry-readonly").join(hook);
        let path = format!("{}:{}", self.folder.path().display(), std::env::var("PATH").unwrap_or_default());
        let variables = self.variables.iter().map(|(name, value)| (*name, value.as_str()));
        Command::new(script).args(arguments).env("PATH", path).envs(variables).output().expect("the hook starts")
    }

    /// Runs it, and gives what it said.
    #[track_caller]
    fn says(&self, hook: &str, arguments: &[&str], status: i32) -> String {
        let output = self.run(hook, arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{hook} {arguments:?}: {said}");
        said
    }

    /// What was written down since the last time.
    fn log(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        let _ = fs::remove_file(self.path("log"));
        log.lines().map(str::to_owned).collect()
    }
}

#[test]
fn they_say_how_they_are_used() {
    let stage = Stage::new("none", "");
    for (hook, arguments) in [
        ("docker", &["registry"][..]),
        ("docker", &["registry", "maybe"]),
        ("kubernetes", &["registry", "on"]),
        ("kubernetes", &["--context", "prod", "registry", "registry", "maybe"]),
        ("kubernetes", &["--timeout", "soon", "registry", "registry", "on"]),
        ("kubernetes", &["--what", "x", "registry", "registry", "on"]),
        ("systemd", &["registry"]),
        ("systemd", &["registry", "maybe"]),
        ("systemd", &["../registry", "on"]),
    ] {
        assert!(stage.says(hook, arguments, 2).contains(&format!("scripts/registry-readonly/{hook} ")), "{hook} {arguments:?}");
    }
}

/// Starts a process with what the drop-in says, as the service manager does.
const SYSTEMCTL: &str = r#"
[ "$1" = --user ] || exit 9
shift
case "$1 ${2-}" in
    "show --property") cat pid ;;
    "restart "*)
        echo "$*" >> log
        kill "$(cat pid)"
        mapfile -t variables < <(sed -n 's/^Environment="\(.*\)"$/\1/p' systemd/user/registry.service.d/*.conf 2> /dev/null)
        env ${variables[@]+"${variables[@]}"} sleep 30 > /dev/null 2>&1 &
        echo "$!" > pid
        ;;
    "daemon-reload ") echo "$*" >> log ;;
    "--quiet is-active") kill -0 "$(cat pid)" ;;
esac
"#;

#[test]
fn a_unit_gets_a_drop_in() {
    let mut stage = Stage::new("systemctl", SYSTEMCTL);
    stage.variables.push(("XDG_RUNTIME_DIR", stage.folder.path().display().to_string()));
    let drop_in = stage.path("systemd/user/registry.service.d/registry-readonly.conf");
    let mut first = Command::new("sleep").arg("30").spawn().unwrap();
    fs::write(stage.path("pid"), first.id().to_string()).unwrap();
    assert!(stage.says("systemd", &["--user", "registry", "off"], 0).contains("not switched"));
    assert!(stage.log().is_empty(), "nothing is restarted for nothing");
    stage.says("systemd", &["--user", "registry", "on"], 0);
    first.wait().unwrap();
    assert_eq!(stage.log(), ["daemon-reload", "restart registry.service"]);
    assert!(fs::read_to_string(&drop_in).unwrap().contains(&format!("[Service]\nEnvironment=\"{VARIABLE}\"\n")));
    assert!(stage.says("systemd", &["--user", "registry.service", "on"], 0).contains("already"));
    assert!(stage.log().is_empty());
    stage.says("systemd", &["--user", "registry", "off"], 0);
    assert_eq!(stage.log(), ["daemon-reload", "restart registry.service"]);
    assert!(!drop_in.exists());
    let last = fs::read_to_string(stage.path("pid")).unwrap();
    tests::process::signal(last.trim().parse().unwrap(), "TERM");
}

/// The first list of pods has one that is about to end.
const KUBECTL: &str = r#"
echo "$*" >> log
case "$*" in
    *" rollout status "*) [ ! -e stuck ] ;;
    *" get pods "*) [ -e listed ] || { touch listed; echo -n 'registry-old '; } ;;
    *" get "*) echo -n 'app=registry,tier=storage,' ;;
esac
"#;

#[test]
fn a_deployment_gets_a_variable() {
    let stage = Stage::new("kubectl", KUBECTL);
    stage.says("kubernetes", &["--context", "prod", "shop", "registry", "on"], 0);
    let log = stage.log();
    let before = "--context prod --namespace shop";
    assert_eq!(log[0], format!("{before} set env deployment/registry {VARIABLE}"));
    assert_eq!(log[1], format!("{before} rollout status deployment/registry --timeout 5m"));
    let lists = log.iter().filter(|line| line.starts_with(&format!("{before} get pods --selector app=registry,tier=storage "))).count();
    assert_eq!(lists, 2, "it waits for the old pod to be gone: {log:?}");
    stage.says("kubernetes", &["--container", "registry", "--timeout", "30s", "shop", "statefulset/registry", "off"], 0);
    assert_eq!(
        stage.log()[..2],
        [
            "--namespace shop set env statefulset/registry --containers registry REGISTRY_STORAGE_MAINTENANCE_READONLY-",
            "--namespace shop rollout status statefulset/registry --timeout 30s",
        ]
    );
    fs::write(stage.path("stuck"), "").unwrap();
    assert!(stage.says("kubernetes", &["shop", "registry", "on"], 1).contains("did not get ready within 5m"));
}

/// The real docker, but for what runs: a container that was started has a file.
const DOCKER: &str = r#"
id() { "$REAL" inspect --type container --format '{{.Id}}' "$1"; }
case $1 in
    start)
        echo "$*" >> log
        [ ! -e broken ] || [ "$2" = registry ] || exit 1
        touch "running-$(id "$2")"
        ;;
    stop) echo "$*" >> log; rm -f "running-$(id "$2")" ;;
    inspect)
        [ -e "running-$(id "${!#}")" ] || exec "$REAL" "$@"
        "$REAL" "$@" | sed 's/"Running": false/"Running": true/; s/^false$/true/'
        ;;
    *) exec "$REAL" "$@" ;;
esac
"#;

#[test]
fn a_container_gets_a_twin() {
    let registry = Registry::start();
    Image::new().tag("2").push(&registry, "registry");
    let engine = Engine::start();
    let image = engine.pull(&registry, "registry:2");
    let docker = tests::process::program("docker", "docker.io");
    let mut stage = Stage::new("docker", DOCKER);
    stage.variables = vec![("REAL", docker.display().to_string()), ("DOCKER_HOST", engine.host())];
    let create = ["create", "--name=registry", "--network=none", "--env=A=b c", "--label=keep=it", "--label=com.docker.compose.project=x"];
    let volume = format!("--volume={}:/var/lib/registry", stage.folder.path().display());
    let made = Command::new(&docker).args(create).args([&volume, &image, "/serve"]).env("DOCKER_HOST", engine.host()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let id = String::from_utf8_lossy(&made.stdout).trim().to_owned();
    let names = || {
        let containers = engine.get("/containers/json?all=1");
        let mut names: Vec<String> =
            containers.as_array().unwrap().iter().map(|one| one["Names"][0].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };

    assert!(stage.says("docker", &["registry", "on"], 1).contains("does not run"));
    assert_eq!(names(), ["/registry"]);
    fs::write(stage.path(&format!("running-{id}")), "").unwrap();

    stage.says("docker", &["registry", "on"], 0);
    assert_eq!(stage.log(), ["stop registry", "start registry-read-only"]);
    let twin: Value = engine.get("/containers/registry-read-only/json");
    let variables = twin["Config"]["Env"].as_array().unwrap();
    assert!(variables.contains(&json!("A=b c")) && variables.contains(&json!(VARIABLE)), "{variables:?}");
    assert_eq!(twin["Config"]["Labels"], json!({"keep": "it"}));
    assert_eq!(twin["HostConfig"]["VolumesFrom"], json!([id]));
    assert_eq!((&twin["Config"]["Cmd"], &twin["HostConfig"]["NetworkMode"]), (&json!(["/serve"]), &json!("none")));
    assert!(stage.says("docker", &["registry", "on"], 0).contains("already"));
    assert!(stage.log().is_empty());

    stage.says("docker", &["registry", "off"], 0);
    assert_eq!(stage.log(), ["stop registry-read-only", "start registry"]);
    assert_eq!(names(), ["/registry"]);
    assert!(stage.says("docker", &["registry", "off"], 0).contains("not switched"));
    assert!(stage.log().is_empty());

    fs::write(stage.path("broken"), "").unwrap();
    assert!(stage.says("docker", &["registry", "on"], 1).contains("back to registry"));
    assert_eq!(stage.log().last().map(String::as_str), Some("start registry"));
    assert_eq!(names(), ["/registry"]);
}
