//! Kubeconfig files: which are meant, and what they say together, as kubectl merges them.
//!
//! Owns where they are looked for and the merge (Kubernetes documentation, "Organizing Cluster Access Using kubeconfig Files"): of
//! entries with one name that of the first file counts, and nothing of the others; what is lost by that is remembered. Whatever cannot be read is an error, and never a
//! reason to look elsewhere: the inventory of another cluster looks like the one that was meant. kubectl passes over a file that is
//! missing; this does not. Entries stay as they were written, so that a broken one is its contexts' own trouble; what they mean is
//! for `access`. Nothing that stands in a file is in an error, because it may be a secret.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// Where a kubeconfig is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    paths: Vec<PathBuf>,
    /// Who names them.
    by: &'static str,
}

impl Files {
    /// The file of `--kubeconfig`, else those of `KUBECONFIG`, else `~/.kube/config` if there is one.
    pub(crate) fn find(flag: Option<&Path>, variable: Option<OsString>, home: Option<&Path>) -> Option<Self> {
        if let Some(path) = flag {
            return Some(Self { paths: vec![path.to_owned()], by: "--kubeconfig" });
        }
        let named: Vec<PathBuf> =
            std::env::split_paths(&variable.unwrap_or_default()).filter(|path| !path.as_os_str().is_empty()).collect();
        if !named.is_empty() {
            return Some(Self { paths: named, by: "KUBECONFIG" });
        }
        let default = home?.join(".kube").join("config");
        // Of a link that leads nowhere, or a folder that may not be looked into, it is not known that no file is meant.
        let is_absent = fs::symlink_metadata(&default).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        (!is_absent).then(|| Self { paths: vec![default], by: "the default kubeconfig" })
    }

    /// How people know them.
    pub(crate) fn shown(&self) -> String {
        let paths: Vec<String> = self.paths.iter().map(|path| path.display().to_string()).collect();
        format!("{} ({})", self.by, paths.join(", "))
    }

    /// Reads and merges them.
    pub(crate) fn read(&self) -> Result<Kubeconfig, String> {
        let mut merged = Kubeconfig::default();
        for path in &self.paths {
            let place = || format!("{} names {}", self.by, path.display());
            let text = fs::read(path).map_err(|error| format!("{}, which cannot be read: {error}", place()))?;
            let text = String::from_utf8(text).map_err(|_| format!("{}, which is not UTF-8", place()))?;
            let folder = path.parent().unwrap_or(Path::new(""));
            let file = Kubeconfig::parse(&text, folder).map_err(|cause| format!("{}, which {cause}", place()))?;
            merged.absorb(file, path);
        }
        Ok(merged)
    }
}

/// What kubeconfig files say together.
#[derive(Debug, Default)]
pub(crate) struct Kubeconfig {
    contexts: Vec<Entry>,
    clusters: Vec<Entry>,
    users: Vec<Entry>,
    hidden: Vec<Hidden>,
}

/// A context of a later file that means another cluster there than it does in the merge.
#[derive(Debug)]
pub(crate) struct Hidden {
    /// The file.
    pub(crate) file: PathBuf,
    /// The name of the context.
    pub(crate) context: String,
    /// The cluster that it means in its own file.
    pub(crate) cluster: Entry,
}

/// One entry of a list, under its name.
#[derive(Clone)]
pub(crate) struct Entry {
    /// The name.
    pub(crate) name: String,
    /// What stands in it.
    pub(crate) content: Map<String, Value>,
    /// Where paths in it begin: the folder of its file.
    pub(crate) folder: PathBuf,
}

/// Without its content, which may hold secrets.
impl std::fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Entry").field("name", &self.name).field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// What a context names.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    /// The cluster.
    pub(crate) cluster: &'a Entry,
    /// The user; a context need not name one.
    pub(crate) user: Result<Option<&'a Entry>, String>,
}

impl Kubeconfig {
    /// Reads the text of one file; its documents count as one.
    fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        let text = text.trim_start_matches('\u{feff}');
        // A context may be called no, and is no less a context.
        let options = serde_saphyr::options! { strict_booleans: true };
        // The parser's own message may quote the text, and so may that of whoever wanted another type.
        let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options).map_err(|error| match error.location() {
            Some(location) => format!("is not YAML that can be read: see line {}", location.line()),
            None => "is not YAML that can be read".to_owned(),
        })?;
        let mut all = Self::default();
        for document in documents {
            let Value::Object(mut document) = document else {
                return Err("is no kubeconfig: it holds no mapping with clusters, users and contexts".to_owned());
            };
            if document.get("kind").is_some_and(|kind| kind != "Config") {
                return Err("is no kubeconfig: its kind is not Config".to_owned());
            }
            all.clusters.append(&mut entries(&mut document, "clusters", "cluster", folder)?);
            all.users.append(&mut entries(&mut document, "users", "user", folder)?);
            all.contexts.append(&mut entries(&mut document, "contexts", "context", folder)?);
        }
        for (list, key) in [(&all.clusters, "clusters"), (&all.users, "users"), (&all.contexts, "contexts")] {
            let mut names = BTreeSet::new();
            if let Some(twice) = list.iter().find(|entry| !names.insert(&entry.name)) {
                return Err(format!("has two {key} of the name {}: which one is meant?", twice.name));
            }
        }
        Ok(all)
    }

    /// Takes what another file adds.
    fn absorb(&mut self, later: Self, file: &Path) {
        for context in later.contexts() {
            let hides = |name: &str| self.clusters.iter().any(|first| first.name == name);
            let is_hidden = self.contexts().any(|first| first == context);
            // What the file itself leaves to the others is theirs.
            let Ok(Parts { cluster, .. }) = later.parts(context) else { continue };
            if is_hidden || hides(&cluster.name) {
                let (file, context, cluster) = (file.to_owned(), context.to_owned(), cluster.clone());
                self.hidden.push(Hidden { file, context, cluster });
            }
        }
        for (known, new) in [(&mut self.contexts, later.contexts), (&mut self.clusters, later.clusters), (&mut self.users, later.users)] {
            for entry in new {
                if !known.iter().any(|first| first.name == entry.name) {
                    known.push(entry);
                }
            }
        }
    }

    /// The names of all contexts, in the order of the files.
    pub(crate) fn contexts(&self) -> impl Iterator<Item = &str> {
        self.contexts.iter().map(|context| context.name.as_str())
    }

    /// What the merge may have lost.
    pub(crate) fn hidden(&self) -> &[Hidden] {
        &self.hidden
    }

    /// The cluster and the user that a context names.
    pub(crate) fn parts(&self, context: &str) -> Result<Parts<'_>, String> {
        let entry = self.contexts.iter().find(|entry| entry.name == context).ok_or_else(|| format!("there is no context {context}"))?;
        let named = |key: &str| match entry.content.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(name)) => Ok(Some(name.as_str()).filter(|name| !name.is_empty())),
            Some(_) => Err(format!("the context's {key} is not a name")),
        };
        let cluster = named("cluster")?.ok_or("the context names no cluster")?;
        let found = self.clusters.iter().find(|entry| entry.name == cluster);
        let cluster =
            found.ok_or_else(|| format!("the context names the cluster {cluster}, and the kubeconfig has no cluster of that name"))?;
        let user = named("user").and_then(|user| {
            let Some(user) = user else { return Ok(None) };
            let found = self.users.iter().find(|entry| entry.name == user);
            // Without its user a context would be anonymous, and see what everybody may see.
            found.map(Some).ok_or_else(|| format!("the context names the user {user}, and the kubeconfig has no user of that name"))
        });
        Ok(Parts { cluster, user })
    }
}

/// The entries of a list such as `clusters: [{name: prod, cluster: {…}}]`.
fn entries(document: &mut Map<String, Value>, list: &str, key: &str, folder: &Path) -> Result<Vec<Entry>, String> {
    let values = match document.remove(list) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(values)) => values,
        Some(_) => return Err(format!("is no kubeconfig: its {list} are not a list")),
    };
    let mut entries = Vec::new();
    for (place, value) in values.into_iter().enumerate() {
        let mut value = match value {
            Value::Object(value) => value,
            _ => return Err(format!("is no kubeconfig: number {} of its {list} is no mapping", place + 1)),
        };
        let name = match value.remove("name") {
            Some(Value::String(name)) => name,
            None | Some(Value::Null) => return Err(format!("is no kubeconfig: number {} of its {list} has no name", place + 1)),
            Some(_) => {
                return Err(format!("is no kubeconfig: the name of number {} of its {list} is not a text: put it in quotes", place + 1));
            }
        };
        // An entry that is there and empty is found, and has nothing in it.
        let content = match value.remove(key) {
            Some(Value::Object(content)) => content,
            _ => Map::new(),
        };
        entries.push(Entry { name, content, folder: folder.to_owned() });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Kubeconfig, String> {
        Kubeconfig::parse(text, Path::new("/etc/kube"))
    }

    #[test]
    fn the_flag_goes_before_the_variable_and_the_variable_before_the_default() {
        let home = tempfile::tempdir().unwrap();
        let find = |flag: Option<&str>, variable: Option<&str>, home: Option<&Path>| {
            Files::find(flag.map(Path::new), variable.map(OsString::from), home).map(|files| files.paths)
        };
        let paths = |paths: &[&str]| Some(paths.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(find(Some("a"), Some("b"), Some(home.path())), paths(&["a"]));
        // kubectl takes --kubeconfig for one path, whatever is in it.
        assert_eq!(find(Some("a:b"), None, None), paths(&["a:b"]));
        for (variable, expected) in
            [("b", paths(&["b"])), ("b:c", paths(&["b", "c"])), (":b::c:", paths(&["b", "c"])), ("", None), (":", None)]
        {
            assert_eq!(find(None, Some(variable), Some(home.path())), expected, "{variable}");
        }
        assert_eq!(find(None, None, None), None);
        let default = home.path().join(".kube/config");
        fs::create_dir(home.path().join(".kube")).unwrap();
        assert_eq!(find(None, None, Some(home.path())), None);
        // A link that leads nowhere is a kubeconfig that cannot be read, not none.
        std::os::unix::fs::symlink("nowhere", &default).unwrap();
        let files = Files::find(None, Some(OsString::from(":")), Some(home.path())).unwrap();
        assert_eq!(files.paths, [default]);
        assert!(files.read().unwrap_err().contains("the default kubeconfig names"));
    }

    #[test]
    fn the_first_file_to_name_something_wins() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name).join("config");
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        let one = write(
            "one",
            "clusters: [{name: c, cluster: {server: 'https://one'}}]\nusers: [{name: red, user: {token: a}}]\n\
             contexts: [{name: prod, context: {cluster: c, user: red}}]",
        );
        let two = write(
            "two",
            "clusters: [{name: c, cluster: {server: 'https://two', tls-server-name: x}}, {name: d, cluster: {server: 'https://d'}}]\n\
             users: [{name: red, user: {username: b}}]\n\
             contexts: [{name: stage, context: {cluster: d, user: red}}, {name: prod, context: {cluster: d}}]",
        );
        let read = |paths: &[&PathBuf]| {
            let list = std::env::join_paths(paths).unwrap();
            Files::find(None, Some(list), None).unwrap().read()
        };
        let merged = read(&[&one, &two]).unwrap();
        assert_eq!(merged.contexts().collect::<Vec<_>>(), ["prod", "stage"]);
        let prod = merged.parts("prod").unwrap();
        assert_eq!(
            Value::Object(prod.cluster.content.clone()),
            serde_json::json!({"server": "https://one"}),
            "nothing of the second's is mixed in"
        );
        let stage = merged.parts("stage").unwrap();
        assert_eq!(
            (stage.cluster.folder.clone(), stage.user.unwrap().unwrap().folder.clone()),
            (folder.path().join("two"), folder.path().join("one"))
        );
        let error = read(&[&one, &folder.path().join("none"), &two]).unwrap_err();
        assert!(error.contains("KUBECONFIG names") && error.contains("none, which cannot be read: No such file"), "{error}");
        assert!(read(&[&folder.path().to_owned()]).is_err(), "a folder");
    }

    #[test]
    fn what_is_no_kubeconfig_is_said_without_its_text() {
        for (text, expected) in [
            ("users: [{name: a, user: {token: s3cret}", "is not YAML that can be read: see line"),
            ("users:\n- name: a\n  user: {token: s3cret}\n bad", "is not YAML that can be read: see line"),
            ("token: s3cret\ntoken: s3cret", "is not YAML that can be read: see line 2"),
            ("s3cret", "holds no mapping"),
            ("- s3cret", "holds no mapping"),
            ("kind: Secret\ndata: {a: s3cret}", "its kind is not Config"),
            ("users: s3cret", "its users are not a list"),
            ("users: [s3cret]", "number 1 of its users is no mapping"),
            ("users: [{user: {token: s3cret}}]", "number 1 of its users has no name"),
            ("contexts: [{name: ~}]", "number 1 of its contexts has no name"),
            ("contexts: [{name: 1}]", "the name of number 1 of its contexts is not a text: put it in quotes"),
            ("contexts: [{name: a}, {name: b}, {name: a}]", "has two contexts of the name a"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected) && !error.contains("s3cret"), "{text}: {error}");
        }
        for empty in ["", "\n", "# nothing\n", "{}", "contexts: null\nclusters: []", "\u{feff}kind: Config"] {
            assert_eq!(parse(empty).unwrap().contexts().count(), 0, "{empty:?}");
        }
        assert_eq!(parse("contexts: [{name: no}, {name: y}]").unwrap().contexts().collect::<Vec<_>>(), ["no", "y"]);
        assert_eq!(parse("contexts: [{name: a}]\n---\ncontexts: [{name: b}]\n").unwrap().contexts().count(), 2);
    }

    #[test]
    fn a_context_that_names_what_is_not_there_is_told() {
        let text = "clusters: [{name: c, cluster: {server: 'https://c'}}, {name: empty}]\nusers: [{name: u, user: {token: s3cret}}, {name: nothing}]\n";
        for (context, expected) in [
            ("{cluster: c, user: u}", "ok"),
            ("{cluster: c, user: nothing}", "ok"),
            ("{cluster: c}", "anonymous"),
            ("{cluster: c, user: ''}", "anonymous"),
            ("{cluster: empty, user: u}", "ok"),
            ("{cluster: d, user: u}", "the context names the cluster d, and the kubeconfig has no cluster of that name"),
            ("{cluster: c, user: v}", "the context names the user v, and the kubeconfig has no user of that name"),
            ("{user: u}", "the context names no cluster"),
            ("{cluster: [c], user: u}", "the context's cluster is not a name"),
            ("null", "the context names no cluster"),
        ] {
            let kubeconfig = parse(&format!("{text}contexts: [{{name: x, context: {context}}}]")).unwrap();
            let told = match kubeconfig.parts("x").and_then(|parts| parts.user) {
                Ok(Some(_)) => "ok".to_owned(),
                Ok(None) => "anonymous".to_owned(),
                Err(error) => error,
            };
            assert_eq!(told, expected, "{context}");
            assert!(!format!("{kubeconfig:?}").contains("s3cret"));
        }
    }
}
