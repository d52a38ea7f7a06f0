//! The rules by which the folders of this workspace may know one another, asserted from the sources.
//!
//! Tools meet in a pipe and never import each other; `common` knows no tool; what decides cannot reach the world; the
//! HTTP client knows neither records nor the command line; verbs that change a registry are named by `reg-delete` alone.
//! A source is read as the paths that it names: comments, strings and unit tests left out, `use a::{b, c}` spelled out.
//! Each rule has a snippet that breaks it, so that a rule which can no longer fail is noticed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TOOLS: [&str; 7] = ["k8s-images", "reg-list", "reg-check", "reg-select", "reg-delete", "reg-gc", "reg-fix"];

/// The files of `common` that decide: no input, output, clock or environment.
const PURE: [&str; 7] = ["reference", "digest", "manifest", "graph", "inventory", "duration", "pattern"];

struct Rule {
    /// What a failure says.
    says: &'static str,
    /// Whether a file, named from the root of the workspace, is under this rule.
    covers: fn(&str) -> bool,
    /// Whether a path that such a file names breaks it.
    breaks: fn(file: &str, path: &str) -> bool,
    /// A file and a source in it that break the rule.
    example: (&'static str, &'static str),
}

const RULES: [Rule; 8] = [
    Rule {
        says: "a tool imports no other tool: they meet in a pipe",
        covers: |file| file.starts_with("tools/"),
        breaks: |file, path| {
            let own = file.split('/').nth(1).unwrap_or_default();
            is_tool(path, own)
        },
        example: ("tools/reg-list/src/main.rs", "use reg_select::policy;"),
    },
    Rule {
        says: "common knows no tool",
        covers: |file| file.starts_with("common/"),
        breaks: |_, path| is_tool(path, ""),
        example: ("common/src/cli.rs", "fn f() { reg_delete::journal::write() }"),
    },
    Rule {
        says: "what decides knows neither the HTTP client nor the storage tree",
        covers: is_pure,
        breaks: |_, path| of_crate(path, "registry") || of_crate(path, "store"),
        example: ("common/src/graph.rs", "use crate::{digest::Digest, registry::page};"),
    },
    Rule {
        says: "what decides reaches no file, socket, process, environment or clock",
        covers: is_pure,
        breaks: |_, path| {
            let world = ["fs", "process", "env", "net"];
            // An address is a value; what talks to one is not.
            let values = ["IpAddr", "Ipv4Addr", "Ipv6Addr", "AddrParseError"];
            let value = values.iter().any(|value| starts_with(path, &format!("std::net::{value}")));
            let clock = ["SystemTime::now", "Instant::now", "Utc::now", "Local::now"];
            (!value && world.iter().any(|module| starts_with(path, &format!("std::{module}"))))
                || clock.iter().any(|now| path.ends_with(now))
                || starts_with(path, "tokio")
                || starts_with(path, "reqwest")
        },
        example: ("common/src/inventory.rs", "use std::{collections::BTreeMap, env};"),
    },
    Rule {
        says: "the HTTP client and the storage tree know neither records nor the command line",
        covers: |file| in_module(file, "registry") || in_module(file, "store"),
        breaks: |_, path| ["record", "jsonl", "cli"].iter().any(|module| of_crate(path, module)),
        example: ("common/src/registry/page.rs", "use crate::record::Manifest;"),
    },
    Rule {
        says: "only reg-delete names the verbs that change a registry",
        covers: |file| !file.starts_with("tools/reg-delete/") && !in_module(file, "registry"),
        breaks: |_, path| {
            ["common::registry::write", "crate::registry::write"].iter().any(|verbs| starts_with(path, verbs))
                || path.contains("registry::write::")
        },
        example: ("tools/reg-list/src/main.rs", "use common::registry::{page, write::delete};"),
    },
    Rule {
        says: "no tool renames or unlinks files but those that own a storage tree, and a report that is put in its place whole",
        covers: |file| {
            let owners = ["tools/reg-gc/", "tools/reg-fix/", "tools/reg-check/src/report/folder.rs"];
            // A file of this name is built for tests alone.
            !owners.iter().any(|owner| file.starts_with(owner)) && !file.ends_with("/tests.rs")
        },
        breaks: |_, path| {
            ["fs::rename", "fs::remove_file", "fs::remove_dir", "fs::remove_dir_all"]
                .iter()
                .any(|verb| path == *verb || path.ends_with(&format!("::{verb}")))
        },
        example: ("tools/reg-delete/src/journal.rs", "fn f() { std::fs::remove_file(path) }"),
    },
    Rule {
        says: "what moves things out of a storage tree and back is for the tools that own one",
        covers: |file| !["tools/reg-gc/", "tools/reg-fix/", "common/src/beside/"].iter().any(|place| file.starts_with(place)),
        breaks: |_, path| {
            ["runs", "restore", "lock"].iter().any(|module| {
                ["common::beside", "crate::beside"].iter().any(|beside| starts_with(path, &format!("{beside}::{module}")))
                    || path.contains(&format!("::beside::{module}::"))
            })
        },
        example: ("tools/reg-check/src/main.rs", "use common::beside::{source, runs};"),
    },
];

#[test]
fn the_sources_keep_the_rules() {
    let files = sources();
    let broken: Vec<String> = files
        .iter()
        .flat_map(|(file, source)| {
            let paths = paths_of(source);
            RULES.iter().flat_map(move |rule| violations(rule, file, &paths)).collect::<Vec<_>>()
        })
        .collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    // A rule over files that are not there would hold for ever.
    assert!(files.iter().any(|(file, _)| file.starts_with("common/")), "no source of common was read");
    for tool in ["k8s-images", "reg-list", "reg-select", "reg-delete", "reg-gc", "reg-fix"] {
        let main = format!("tools/{tool}/src/main.rs");
        assert!(files.iter().any(|(file, _)| *file == main), "{main} was not read");
    }
}

#[test]
fn each_rule_can_be_broken() {
    for rule in &RULES {
        let (file, source) = rule.example;
        assert_eq!(violations(rule, file, &paths_of(source)).len(), 1, "{source} in {file}: {}", rule.says);
        let harmless = format!("// {source}\nfn f() {{ \"{source}\" }}\n#[cfg(test)]\nmod tests {{ {source} }}\n");
        assert!(violations(rule, file, &paths_of(&harmless)).is_empty(), "{harmless}");
    }
}

#[test]
fn the_compiler_is_overruled_in_one_place() {
    let names = |source: &str| tokens_of(source).iter().any(|token| ["unsafe", "unsafe_code"].contains(&&**token));
    let found: Vec<String> = sources().into_iter().filter(|(_, source)| names(source)).map(|(file, _)| file).collect();
    assert_eq!(found, ["common/src/digest/pair.rs"], "`unsafe` is for the instructions that hash");
    assert!(!names("// unsafe\nfn f() -> &str { \"unsafe\" }"));
}

#[test]
fn what_opens_no_socket_is_built_without_network_code() {
    const NETWORK: [&str; 7] = ["reqwest", "tokio", "rustls", "hyper", "ring", "ureq", "kube"];
    let networked = |package: &str| {
        let tree = dependencies_of(package);
        assert!(tree.iter().any(|name| name == "serde_json"), "cargo tree -p {package} says {tree:?}");
        NETWORK.iter().filter(|name| tree.iter().any(|other| other == *name)).copied().collect::<Vec<_>>()
    };
    assert_eq!(networked("reg-select"), Vec::<&str>::new());
    // The same question finds the network where it is.
    assert!(networked("reg-list").contains(&"reqwest"));
}

#[test]
fn packages_depend_in_one_direction() {
    for tool in TOOLS.iter().filter(|tool| root().join("tools").join(tool).is_dir()) {
        let others: Vec<String> = dependencies_of(tool).into_iter().filter(|name| TOOLS.contains(&&**name) && name != tool).collect();
        assert!(others.is_empty(), "{tool} depends on {others:?}");
    }
    assert!(dependencies_of("common").iter().all(|name| !TOOLS.contains(&&**name)));
    assert!(
        !dependencies_of("tests").contains(&"common".to_owned()),
        "tests speak the wire format in literal JSON, so that a renamed field turns one red"
    );
}

#[test]
fn the_top_level_stays_small() {
    let mut visible: Vec<String> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    visible.sort();
    let allowed = ["Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "common", "scripts", "tests", "tools"];
    let others: Vec<&String> = visible.iter().filter(|name| !allowed.contains(&&***name)).collect();
    assert!(others.is_empty(), "not part of the layout: {others:?}");
}

#[test]
fn paths_are_read_from_sources() {
    let source = r##"
        //! use std::net;
        use std::{fs, io::{self, Read as _}, collections::*};
        pub(crate) use crate::record as wire;
        fn f<'a>(c: char) -> &'a str { /* std::env::var /* nested */ */ let q = '"'; r#"std::process"#; Utc::now(); "a\"std::net" }
        #[cfg(test)]
        mod tests { use std::time::Instant; fn g() { "}" } }
        fn h() { after::tests() }
    "##;
    let paths = paths_of(source);
    let expected = ["std::fs", "std::io", "std::io::Read", "std::collections::*", "crate::record", "Utc::now", "after::tests"];
    assert_eq!(paths, expected);
}

fn violations(rule: &Rule, file: &str, paths: &[String]) -> Vec<String> {
    if !(rule.covers)(file) {
        return Vec::new();
    }
    let broken = paths.iter().filter(|path| (rule.breaks)(file, path));
    broken.map(|path| format!("{file} names {path}: {}", rule.says)).collect()
}

fn starts_with(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Whether a path leads to this module of `common`, from wherever in it.
fn of_crate(path: &str, module: &str) -> bool {
    ["crate", "common", "super", "super::super"].iter().any(|from| starts_with(path, &format!("{from}::{module}")))
}

fn is_tool(path: &str, own: &str) -> bool {
    TOOLS.iter().filter(|tool| **tool != own).any(|tool| starts_with(path, &tool.replace('-', "_")))
}

fn is_pure(file: &str) -> bool {
    PURE.iter().any(|module| in_module(file, module))
}

fn in_module(file: &str, module: &str) -> bool {
    let file = file.strip_prefix("common/src/").unwrap_or_default();
    file == format!("{module}.rs") || file.starts_with(&format!("{module}/"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The sources of `common` and the tools, named from the root of the workspace.
fn sources() -> Vec<(String, String)> {
    let root = root();
    let mut folders = vec![root.join("common"), root.join("tools")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                // Cargo's own folder of black-box tests within a package may do as it likes.
                if !name.contains("/tests/") {
                    files.push((name, fs::read_to_string(&path).unwrap()));
                }
            }
        }
    }
    files.sort();
    files
}

/// The names of the packages that this one is built with.
fn dependencies_of(package: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--package", package, "--edges", "normal,build", "--prefix", "none"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// Every path of two or more names in a source, those of `use` spelled out.
fn paths_of(source: &str) -> Vec<String> {
    let tokens = without_tests(tokens_of(source));
    let mut paths = Vec::new();
    let mut place = 0;
    while place < tokens.len() {
        if tokens[place] == "use" {
            place += 1;
            spell_out(&tokens, &mut place, "", &mut paths);
            continue;
        }
        let mut path = tokens[place].clone();
        let mut end = place + 1;
        while is_name(&path_end(&path)) && tokens.get(end).is_some_and(|token| token == "::") {
            let Some(next) = tokens.get(end + 1).filter(|token| is_name(token)) else {
                break;
            };
            path = format!("{path}::{next}");
            end += 2;
        }
        if path.contains("::") && is_name(&path_end(&path)) {
            paths.push(path);
        }
        place = end;
    }
    paths
}

fn path_end(path: &str) -> String {
    path.rsplit("::").next().unwrap_or_default().to_owned()
}

fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// One tree of a `use`, from the token at `place` to the `,`, `}` or `;` behind it.
fn spell_out(tokens: &[String], place: &mut usize, before: &str, paths: &mut Vec<String>) {
    let mut path = before.to_owned();
    while let Some(token) = tokens.get(*place) {
        match token.as_str() {
            "," | "}" | ";" => break,
            "::" => {}
            "as" => *place += 1,
            "self" if !before.is_empty() => {}
            "{" => {
                *place += 1;
                while tokens.get(*place).is_some_and(|token| token != "}") {
                    spell_out(tokens, place, &path, paths);
                    if tokens.get(*place).is_some_and(|token| token == ",") {
                        *place += 1;
                    }
                }
                *place += 1;
                return;
            }
            name if path.is_empty() => path = name.to_owned(),
            name => path = format!("{path}::{name}"),
        }
        *place += 1;
    }
    if path.contains("::") {
        paths.push(path);
    }
}

/// Leaves out what stands under `#[cfg(test)]`, to the end of its block or statement.
fn without_tests(tokens: Vec<String>) -> Vec<String> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut place = 0;
    while place < tokens.len() {
        if tokens[place..].iter().zip(MARK).filter(|(token, mark)| *token == mark).count() < MARK.len() {
            kept.push(tokens[place].clone());
            place += 1;
            continue;
        }
        let mut depth = 0;
        while let Some(token) = tokens.get(place) {
            place += 1;
            match token.as_str() {
                "{" => depth += 1,
                "}" if depth == 1 => break,
                "}" => depth -= 1,
                ";" if depth == 0 => break,
                _ => {}
            }
        }
    }
    kept
}

/// Names, `::` and single signs; no comments and no literals.
fn tokens_of(source: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            comment(rest)
        } else if first == '"' {
            string(rest)
        } else if let Some(length) = raw_string(rest) {
            length
        } else if first == '\'' {
            character(rest)
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else if first.is_alphanumeric() || first == '_' {
            let length = rest.find(|sign: char| !sign.is_alphanumeric() && sign != '_').unwrap_or(rest.len());
            tokens.push(rest[..length].to_owned());
            length
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

fn comment(rest: &str) -> usize {
    let mut depth = 0;
    for (place, _) in rest.char_indices() {
        if rest[place..].starts_with("/*") {
            depth += 1;
        } else if rest[place..].starts_with("*/") {
            depth -= 1;
            if depth == 0 {
                return place + 2;
            }
        }
    }
    rest.len()
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (place, sign) in rest.char_indices().skip(1) {
        match sign {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return place + 1,
            _ => {}
        }
    }
    rest.len()
}

fn raw_string(rest: &str) -> Option<usize> {
    let start = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = start.len() - start.trim_start_matches('#').len();
    let content = start[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = content.find(&end).map_or(content.len(), |place| place + end.len());
    Some(rest.len() - content.len() + length)
}

/// A character in quotes, or the quote of a lifetime.
fn character(rest: &str) -> usize {
    let mut signs = rest.char_indices().skip(1);
    match signs.next() {
        Some((_, '\\')) => rest[3..].find('\'').map_or(rest.len(), |place| place + 4),
        Some(_) => match signs.next() {
            Some((place, '\'')) => place + 1,
            _ => 1,
        },
        None => 1,
    }
}
