//! The commands that the READMEs show, executed: README.md and tools/*/README.md.
//!
//! Rules for who writes a page:
//!
//! 1. A block ` ```sh ` is a bash script (`set -euo pipefail`) that must end with 0, or with N where the fence says
//!    ` ```sh status=N `.
//! 2. A block ` ```console ` is a session. Lines that begin with `$ ` are commands, `> ` continues one; each must end
//!    with 0, the last one with N where the fence says `status=N`. The lines below a command are what it prints, on
//!    either stream: each must be printed, in this order, but lines between may be left out. `…` or `...` stands for
//!    anything within a line; runs of blanks are equal, and so are any two times and any two digests.
//! 3. What cannot run here (an installation, a live cluster, a remote host) stands in ` ```text `. Records and
//!    configuration stand in `json`, `jsonl`, `jsonc`, `yaml` or `toml`. There are no other fences, and none without a name.
//! 4. A page is one world: its blocks run from top to bottom in one folder, so that a file which one block writes is
//!    there for the next. Each block begins in that folder with a bash of its own.
//! 5. `127.0.0.1:5000`, `localhost:5000`, `registry.example.com:5000` and `registry.example.com` all mean the registry
//!    of that world. Commands may change it. The tools are on PATH, jq, skopeo and kubectl too.
//!
//! What is there when a page begins:
//!
//! - the registry holds `team/app` with `v1` (oldest, January 2025) to `v6`, of which `v6` is also `latest`, is
//!   multi-arch and has a signature; `team/web` with `v1` and `v2`; and `team/experiment` with `try-1`, used by nobody;
//! - `overlays/prod/` holds Kubernetes manifests that run `team/app:v3` and `team/web:v2`;
//! - `images.txt` names the same images, one a line;
//! - `in-use.jsonl` is an inventory of one cluster, `prod`, taken now, with these and ten images of other registries;
//! - `keep.txt` is a keep list that names `team/app:v1`;
//! - `storage/` is the registry's storage (its `rootdirectory`) and `config.yml` its configuration, which names the storage by its full path;
//! - for the pages that ask clusters, `KUBECONFIG` has two contexts, `prod` and `stage`, of a real control plane: `prod` runs what
//!   `overlays/prod/` says, and had `team/app:v2` before; `one-down.yaml` is a kubeconfig whose `stage` does not answer.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;
use tests::*;

#[test]
fn the_project() {
    run_page_with_clusters("README.md");
}

#[test]
fn k8s_images() {
    run_page_with_clusters("tools/k8s-images/README.md");
}

#[test]
fn reg_list() {
    run_page("tools/reg-list/README.md");
}

#[test]
fn reg_check() {
    run_page("tools/reg-check/README.md");
}

#[test]
fn reg_select() {
    run_page("tools/reg-select/README.md");
}

#[test]
fn reg_delete() {
    run_page("tools/reg-delete/README.md");
}

#[test]
fn reg_gc() {
    run_page("tools/reg-gc/README.md");
}

#[test]
fn reg_fix() {
    run_page("tools/reg-fix/README.md");
}

#[test]
fn no_page_is_forgotten() {
    let mut tools: Vec<String> =
        fs::read_dir(root().join("tools")).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    tools.sort();
    assert_eq!(
        tools,
        ["k8s-images", "reg-check", "reg-delete", "reg-fix", "reg-gc", "reg-list", "reg-select"],
        "each tool's page needs a test here"
    );
}

#[test]
fn a_page_that_lies_is_found_out() {
    let world = World::new();
    let fails = |page: &str| {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run("page", page)));
        let message = result.expect_err(page);
        message.downcast_ref::<String>().cloned().unwrap_or_default()
    };
    assert!(fails("# No command\n").contains("shows no command"));
    assert!(fails("```sh\nfalse\n```\n").contains("page:1"));
    assert!(fails("```sh\nfalse | true\n```\n").contains("expected exit status 0"));
    assert!(fails("\n```sh status=3\ntrue\n```\n").contains("page:2"));
    assert!(fails("```bash\ntrue\n```\n").contains("```bash"));
    assert!(fails("```sh\ntrue\n").contains("does not end"));
    assert!(fails("```console\n$ echo one\ntwo\n```\n").contains("two"));
    assert!(fails("```console\n$ printf 'a\\nb\\n'\nb\na\n```\n").contains("\"a\""));
    assert!(fails("```console\n$ false\n```\n").contains("status 1"));
    assert!(fails("```console\n$ false\n$ true\n```\n").contains("status 1"));
    assert!(fails("```console\nno command\n```\n").contains("no command above"));
}

#[test]
fn a_page_that_tells_the_truth_passes() {
    let world = World::new();
    world.run(
        "page",
        r#"
```text
rm -rf /nowhere
```

```sh
echo one > file   # a later block reads it
skopeo inspect --tls-verify=false --raw docker://registry.example.com/team/app:v1 | jq -e .config > /dev/null
grep -q 127.0.0.1:5000/team/web:v2 images.txt
```

```sh status=3
exit 3
```

```console status=1
$ cat file
one
$ printf '%s\n' a b \
>   'c   at 2026-01-01T00:00:00Z' sha256:0123456789abcdef
a
c at 2020-02-02T02:02:02Z
sha256:fedcba98…
$ echo 12 things >&2; false
... things
```
"#,
    );
}

/// The registry, the folder and the files that a page may count on.
struct World {
    registry: Registry,
    folder: TempDir,
    clusters: Option<Clusters>,
}

/// The clusters of a page: two contexts of one control plane that belongs to it.
struct Clusters {
    _cluster: Cluster,
    kubeconfig: Kubeconfig,
}

impl World {
    fn new() -> Self {
        let registry = Registry::start();
        for n in 1..=5 {
            let image = Image::new().layer("base").layer(&format!("app v{n}"));
            let image = image.created(&format!("2025-0{n}-01T00:00:00Z")).tag(&format!("v{n}"));
            image.push(&registry, "team/app");
        }
        let platform = |name: &str| Image::new().layer(name).layer("app v6").created("2025-06-01T00:00:00Z");
        let newest = Index::new()
            .child("linux/amd64", platform("base"))
            .child("linux/arm64", platform("base for arm64"))
            .tag("v6")
            .tag("latest")
            .push(&registry, "team/app");
        Signature::cosign(&newest).push(&registry, "team/app");
        for n in 1..=2 {
            let image = Image::docker().layer("base").layer(&format!("web v{n}"));
            let image = image.created(&format!("2025-0{n}-01T00:00:00Z")).tag(&format!("v{n}"));
            image.push(&registry, "team/web");
        }
        let experiment = Image::new().layer("base").layer_of_size("experiment", 1_000_000);
        experiment.created("2025-03-01T00:00:00Z").tag("try-1").push(&registry, "team/experiment");

        let folder = temporary();
        let host = registry.host();
        let write = |name: &str, content: String| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        write("overlays/prod/app.yaml", deployment("app", &format!("{host}/team/app:v3")));
        write("overlays/prod/web.yaml", deployment("web", &format!("{host}/team/web:v2")));
        write("images.txt", format!("{host}/team/app:v3\n{host}/team/web:v2\n"));
        write("keep.txt", "# images that we promised to keep\nteam/app:v1\n".to_owned());
        let running = Inventory::of("prod").uses(host, "team/app", "v3").uses(host, "team/web", "v2");
        write("in-use.jsonl", running.uses_ten_others().jsonl());
        symlink(registry.root(), folder.path().join("storage")).unwrap();
        symlink(registry.config_file(), folder.path().join("config.yml")).unwrap();
        Self { registry, folder, clusters: None }
    }

    fn with_clusters() -> Self {
        let world = Self::new();
        let cluster = Cluster::start();
        cluster.kubectl(&["create", "namespace", "shop"]);
        let manifest = |name: &str| fs::read_to_string(world.folder.path().join(format!("overlays/prod/{name}.yaml"))).unwrap();
        cluster.apply(&manifest("app").replace(":v3", ":v2"));
        cluster.wait_for_items("/apis/apps/v1/namespaces/shop/replicasets", 1);
        cluster.apply(&manifest("app"));
        cluster.apply(&manifest("web"));
        cluster.wait_for_items("/apis/apps/v1/namespaces/shop/replicasets", 3);
        // Somebody else's account on the same server: contexts with the same user would be read once.
        let other = cluster.user();
        cluster.kubectl(&["create", "clusterrolebinding", "other", "--clusterrole=cluster-admin", &format!("--user={}", other.name)]);
        let kubeconfig =
            Kubeconfig::new().context("prod", cluster.access()).context("stage", cluster.access().token(&other.token)).current("stage");
        let dead = Access::to(&format!("https://127.0.0.1:{}", tests::ports::free_port()));
        Kubeconfig::new().context("prod", cluster.access()).context("stage", dead).write_to(&world.folder.path().join("one-down.yaml"));
        Self { clusters: Some(Clusters { _cluster: cluster, kubeconfig }), ..world }
    }

    /// A shell in the folder of the page.
    fn shell(&self, script: &str) -> Ran {
        let mut shell = shell(script).in_folder(self.folder.path());
        if let Some(clusters) = &self.clusters {
            let kubectl = process::built_program("kubectl");
            shell = shell.env("KUBECONFIG", clusters.kubeconfig.path());
            shell = shell.program("kubectl", &format!("exec {} \"$@\"", kubectl.display()));
        }
        shell.run()
    }

    fn run(&self, page: &str, text: &str) {
        let blocks = blocks_of(page, text);
        let mut ran = 0;
        for block in &blocks {
            match block.language.as_str() {
                "sh" => self.run_script(block),
                "console" => self.run_session(block),
                "text" | "json" | "jsonl" | "jsonc" | "yaml" | "toml" => continue,
                other => panic!("{}: the rules of the pages know no ```{other}", block.place),
            }
            ran += 1;
        }
        assert!(ran > 0, "{page} shows no command (```sh or ```console)");
    }

    fn run_script(&self, block: &Block) {
        let script = format!("set -euo pipefail\n{}", self.substitute(&block.text));
        let ran = self.shell(&script);
        assert_eq!(ran.code(), Some(block.status), "{}: expected exit status {}\n{ran}", block.place, block.status);
    }

    fn run_session(&self, block: &Block) {
        let commands = session_of(block);
        // After each command stands a sign that no program prints, and its status.
        let mut script = "exec 2>&1\nset -o pipefail\n".to_owned();
        for command in &commands {
            script.push_str(&format!("{}\nprintf '\\036%s\\036' $?\n", self.substitute(&command.text)));
        }
        let ran = self.shell(&script);
        let stdout = ran.stdout();
        let mut parts = stdout.split('\u{1e}');
        for (number, command) in commands.iter().enumerate() {
            let place = &block.place;
            let printed = parts.next().unwrap_or_default();
            let status = parts.next().unwrap_or("unknown");
            let last = number + 1 == commands.len();
            let expected = if last { block.status } else { 0 };
            assert!(
                status == expected.to_string(),
                "{place}: `{}` ended with status {status}, not {expected}:\n{printed}{}",
                command.text,
                ran.stderr()
            );
            let mut lines = printed.lines();
            for shown in &command.shown {
                let shown = self.substitute(shown);
                let found = lines.any(|line| is_like(&shown, line));
                assert!(found, "{place}: `{}` did not print {shown:?} there, but:\n{printed}", command.text);
            }
        }
    }

    fn substitute(&self, text: &str) -> String {
        let host = self.registry.host();
        // The longer names first: the last is the beginning of the first.
        ["registry.example.com:5000", "127.0.0.1:5000", "localhost:5000", "registry.example.com"]
            .iter()
            .fold(text.to_owned(), |text, name| text.replace(name, host))
    }
}

fn run_page(page: &str) {
    World::new().run(page, &text_of(page));
}

fn run_page_with_clusters(page: &str) {
    World::with_clusters().run(page, &text_of(page));
}

fn text_of(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn deployment(name: &str, image: &str) -> String {
    // JSON is YAML; the pages show that folders are read, not how a Deployment looks.
    let labels = json!({"app": name});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"containers": [{"name": name, "image": image}]},
        }},
    });
    format!("{deployment}\n")
}

/// A fenced block of a page.
struct Block {
    /// File and line, for failures.
    place: String,
    language: String,
    status: i32,
    text: String,
}

fn blocks_of(page: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let indent = line.len() - line.trim_start().len();
        let Some(fence) = line.trim_start().strip_prefix("```") else { continue };
        let place = format!("{page}:{}", number + 1);
        let mut words = fence.split_whitespace();
        let language = words.next().unwrap_or_default().to_owned();
        let mut status = 0;
        for word in words {
            status = word
                .strip_prefix("status=")
                .and_then(|status| status.parse().ok())
                .unwrap_or_else(|| panic!("{place}: a fence says a language and status=N, no more"));
        }
        let mut text = String::new();
        loop {
            let (_, line) = lines.next().unwrap_or_else(|| panic!("{place}: the block does not end"));
            if line.trim() == "```" {
                break;
            }
            // A block in a list is indented by the list.
            text.push_str(line.get(indent..).unwrap_or(line.trim_start()));
            text.push('\n');
        }
        blocks.push(Block { place, language, status, text });
    }
    blocks
}

/// A command of a session and the lines that are shown below it.
struct Shown {
    text: String,
    shown: Vec<String>,
}

fn session_of(block: &Block) -> Vec<Shown> {
    let mut commands: Vec<Shown> = Vec::new();
    for line in block.text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            commands.push(Shown { text: command.to_owned(), shown: Vec::new() });
            continue;
        }
        let command = commands.last_mut().unwrap_or_else(|| panic!("{}: {line:?} has no command above it", block.place));
        match line.strip_prefix("> ") {
            Some(more) if command.shown.is_empty() => {
                command.text.push('\n');
                command.text.push_str(more);
            }
            _ if line.trim().is_empty() => {}
            _ => command.shown.push(line.to_owned()),
        }
    }
    commands
}

/// Whether a line is printed as it is shown; see the second rule.
fn is_like(shown: &str, line: &str) -> bool {
    let (shown, line) = (normal(shown).replace("...", "…"), normal(line));
    let mut parts: Vec<&str> = shown.split('…').collect();
    let (first, last) = (parts.remove(0), parts.pop());
    let Some(last) = last else { return line == first };
    let Some(mut rest) = line.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else { return false };
    for part in parts {
        let Some(place) = rest.find(part) else { return false };
        rest = &rest[place + part.len()..];
    }
    true
}

/// Blanks, times and digests as they compare.
fn normal(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    without_times(&without_digests(&words.join(" ")))
}

fn without_digests(line: &str) -> String {
    let mut parts = line.split("sha256:");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let hex = part.len() - part.trim_start_matches(|sign: char| sign.is_ascii_hexdigit()).len();
        let rest = part[hex..].trim_start_matches("...").trim_start_matches('…');
        text.push_str("sha256:");
        // A name of a tag such as sha256:x is none.
        text.push_str(if hex >= 7 || rest.len() < part.len() - hex { "DIGEST" } else { &part[..hex] });
        text.push_str(rest);
    }
    text
}

fn without_times(line: &str) -> String {
    const FORM: &str = "0000-00-00T00:00:00";
    let fits = |text: &str| {
        text.len() == FORM.len()
            && text.bytes().zip(FORM.bytes()).all(|(sign, form)| if form == b'0' { sign.is_ascii_digit() } else { sign == form })
    };
    let mut text = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        if rest.get(..FORM.len()).is_some_and(fits) {
            text.push_str("TIME");
            rest = rest[FORM.len()..].trim_start_matches(|sign: char| sign == '.' || sign.is_ascii_digit());
        } else {
            text.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    text
}

#[test]
fn lines_are_compared_loosely() {
    for (shown, line) in [
        ("a  b", " a b "),
        ("a … d", "a b c d"),
        ("… d", "a b d c d"),
        ("a ...", "a b"),
        ("…", "anything"),
        ("sha256:0123abcd… x", "sha256:fedcba9876543210 x"),
        ("sha256:… x", "sha256:fedcba9876543210 x"),
        ("at 2026-01-01T00:00:00Z", "at 2020-01-01T10:00:00.123Z"),
    ] {
        assert!(is_like(shown, line), "{shown:?} {line:?}");
    }
    for (shown, line) in [("a", "a b"), ("b", "a b"), ("a … d", "a b d c"), ("a…b…c", "a c"), ("1", "2"), ("a… b", "a bb")] {
        assert!(!is_like(shown, line), "{shown:?} {line:?}");
    }
}
