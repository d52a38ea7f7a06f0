//! Which storage is meant: by a configuration, by a folder, or by a running registry.
//!
//! What a configuration means is [`crate::store::config`]'s; what a process was started with, [`process`]'s.
//! Whether the registry can be written to now is asked elsewhere.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::cli::Refused;
use crate::store::config::{Cache, Config, Error};
use crate::store::folder::Folder;
use crate::store::foreign::Refusal;
use crate::store::{Problem, foreign, layout, root};
use anyhow::{Context, anyhow, bail};

use super::process::{self, Process};

/// What the command line says.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// A configuration file.
    pub config: Option<PathBuf>,
    /// The folder that `rootdirectory` names. Beside one of the others it says where that folder is for us.
    pub store: Option<PathBuf>,
    /// A running registry, by its number or the only one.
    pub from_process: Option<Option<u32>>,
}

/// The storage that is meant.
#[derive(Debug)]
pub struct Source {
    /// The folder in which `docker/registry/v2` is, or will be once something was pushed. Where the registry has other files
    /// than we do it lies below `/proc/PID/root`, and is gone when the process ends.
    pub root: PathBuf,
    /// Who said so, for people: `config.yml`, `--store`, `process 12 (/etc/docker/registry/config.yml)`.
    pub said_by: String,
    /// The registry's configuration, where it is known.
    pub config: Option<Config>,
    /// The registry's process, where it is known.
    pub process: Option<Process>,
}

impl Source {
    /// Where the registry caches descriptors. Where that is not known the worst is assumed, which every package ships.
    pub fn cache(&self) -> &Cache {
        self.config.as_ref().map_or(&Cache::InMemory, |config| &config.cache)
    }
}

/// Finds it. A storage that is not ours to judge is [`Refused`].
pub fn find(asked: &Asked) -> anyhow::Result<Source> {
    find_in(asked, Path::new("/proc"), std::env::vars_os().collect())
}

/// Opens the `rootdirectory` at `store` for who only reads in it, if it is that; with a sentence where nothing was ever pushed there.
///
/// GitLab's database alone makes the files mean something else to a reader ([`Refused`]).
pub fn open_to_read(store: &Path) -> anyhow::Result<(Folder, Option<String>)> {
    let shown = store.display();
    let root = Folder::open(store).with_context(|| format!("--store {shown}: it is to be the rootdirectory of the registry's storage"))?;
    let tree = root.folder(layout::TREE).map_err(|error| anyhow!("--store {shown}: {}", Problem::of_error(layout::TREE, &error)))?;
    if let Some(sentence) = root::misplaced(store).with_context(|| format!("--store {shown}"))? {
        bail!(sentence);
    }
    if let Some(refusal) = foreign::of_tree(store).with_context(|| format!("--store {shown}"))?
        && matches!(refusal, Refusal::GitLabDatabase { .. })
    {
        return Err(Refused(format!("--store {shown}: {refusal}")).into());
    }
    let hint = tree
        .is_none()
        .then(|| format!("--store {shown}: there is no {} in it: nothing was ever pushed there, or it is no rootdirectory", layout::TREE));
    Ok((root, hint))
}

fn find_in(asked: &Asked, proc: &Path, environment: Vec<(OsString, OsString)>) -> anyhow::Result<Source> {
    let by_variable = || environment.iter().find(|(name, value)| name == "REGISTRY_CONFIGURATION_PATH" && !value.is_empty());
    let mut source = match (&asked.from_process, &asked.config, &asked.store) {
        (Some(_), Some(_), _) => bail!("a configuration and --from-process are two ways to say the same: give one of them"),
        (Some(pid), None, store) => of_process(proc, *pid, store.is_some())?,
        (None, Some(config), _) => of_config(config, environment)?,
        (None, None, Some(store)) => Source { root: store.clone(), said_by: "--store".to_owned(), config: None, process: None },
        (None, None, None) => match by_variable() {
            Some((_, config)) => of_config(&PathBuf::from(config), environment.clone())?,
            None => bail!("whose storage? name the registry's config.yml, or say --store DIR or --from-process"),
        },
    };
    if let Some(store) = &asked.store {
        source.root = here(store)?;
        if let Some(sentence) = root::misplaced(store).with_context(|| format!("looking into the storage {}", store.display()))? {
            bail!(sentence);
        }
    }
    let shown = source.root.display();
    match fs::metadata(&source.root) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => bail!("the storage {shown} (by {}) is no folder", source.said_by),
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(
            "the storage {shown} (by {}) does not exist here: if the registry runs in a container, say --from-process on its host, or say \
             where its volume is with --store DIR",
            source.said_by
        ),
        Err(error) => return Err(error).with_context(|| format!("looking at the storage {shown} (by {})", source.said_by)),
    }
    match foreign::of_tree(&source.root).with_context(|| format!("looking into the storage {shown}"))? {
        Some(refusal) => Err(Refused(format!("{shown}: {refusal}")).into()),
        None => Ok(source),
    }
}

fn of_config(path: &Path, environment: Vec<(OsString, OsString)>) -> anyhow::Result<Source> {
    if path.is_dir() {
        bail!("{0} is a folder, and a configuration is a file: for a storage say --store {0}", path.display());
    }
    let said_by = path.display().to_string();
    // In a person's environment this one is podman's and skopeo's, and names their credentials; a registry would not start with it.
    let environment = environment.into_iter().filter(|(name, _)| name != "REGISTRY_AUTH_FILE").collect();
    let config = read(path, &said_by, environment)?;
    Ok(Source { root: here(&config.root)?, said_by, config: Some(config), process: None })
}

fn of_process(proc: &Path, pid: Option<u32>, is_root_known: bool) -> anyhow::Result<Source> {
    let running = process::find(proc, pid)?;
    let path = running.resolve(&running.config)?;
    let said_by = format!("process {} ({})", running.process.pid, running.config.display());
    let config = read(&path, &said_by, running.environment.clone())?;
    // Where it is known otherwise the registry's own view of it may be closed to us.
    let root = if is_root_known { PathBuf::new() } else { running.resolve(&config.root)? };
    Ok(Source { root, said_by, config: Some(config), process: Some(running.process) })
}

fn read(path: &Path, said_by: &str, environment: Vec<(OsString, OsString)>) -> anyhow::Result<Config> {
    let mut variables = Vec::new();
    for (name, value) in environment {
        let Some(name) = name.to_str().filter(|name| name.starts_with("REGISTRY_")) else { continue };
        let value = value.into_string().map_err(|_| anyhow::anyhow!("the value of {name} is not UTF-8"))?;
        variables.push((name.to_owned(), value));
    }
    let text = fs::read(path).with_context(|| format!("reading the configuration {said_by}"))?;
    let text = String::from_utf8(text).map_err(|_| anyhow::anyhow!("the configuration {said_by} is not UTF-8"))?;
    Config::parse(&text, variables).map_err(|error| match error {
        Error::Refused(refusal) => Refused(format!("{said_by}: {refusal}")).into(),
        error => anyhow::Error::new(error).context(format!("the configuration {said_by}")),
    })
}

fn here(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("looking for the folder {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beside::process::tests::FakeProc;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            fs::create_dir_all(place.at("store/docker/registry/v2/blobs/sha256")).unwrap();
            fs::create_dir_all(place.at("store/docker/registry/v2/repositories")).unwrap();
            fs::create_dir(place.at("fresh")).unwrap();
            place.config("config.yml", &place.at("store"));
            place
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn config(&self, name: &str, root: &Path) {
            let text = format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n", root.display());
            fs::write(self.at(name), text).unwrap();
        }
    }

    fn by_store(store: PathBuf) -> Asked {
        Asked { store: Some(store), ..Asked::default() }
    }

    fn by_config(config: PathBuf) -> Asked {
        Asked { config: Some(config), ..Asked::default() }
    }

    fn find_with(asked: &Asked, environment: &[(&str, PathBuf)]) -> anyhow::Result<Source> {
        let environment = environment.iter().map(|(name, value)| ((*name).into(), value.clone().into_os_string())).collect();
        find_in(asked, Path::new("/nonexistent"), environment)
    }

    fn error_of(result: anyhow::Result<Source>) -> String {
        format!("{:#}", result.unwrap_err())
    }

    #[test]
    fn a_configuration_is_read_with_our_own_variables() {
        let place = Place::new();
        let source = find_with(&by_config(place.at("config.yml")), &[]).unwrap();
        assert_eq!((&source.root, source.cache()), (&place.at("store"), &Cache::None));
        assert!(source.said_by.ends_with("config.yml") && source.process.is_none());

        let other = [("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", place.at("fresh"))];
        let source = find_with(&by_config(place.at("config.yml")), &other).unwrap();
        assert_eq!(source.root, place.at("fresh"));

        let podman = [("REGISTRY_AUTH_FILE", place.at("auth.json"))];
        assert_eq!(find_with(&by_config(place.at("config.yml")), &podman).unwrap().root, place.at("store"));

        // The file may be named by the registry's variable, as the registry itself allows.
        let named = [("REGISTRY_CONFIGURATION_PATH", place.at("config.yml"))];
        assert_eq!(find_with(&Asked::default(), &named).unwrap().root, place.at("store"));
        assert!(error_of(find_with(&Asked::default(), &[])).contains("--from-process"));
    }

    #[test]
    fn of_a_folder_alone_the_worst_is_assumed() {
        let place = Place::new();
        let named = [("REGISTRY_CONFIGURATION_PATH", place.at("absent.yml"))];
        let source = find_with(&by_store(place.at("store")), &named).unwrap();
        assert_eq!((source.root.clone(), &*source.said_by, source.cache()), (place.at("store"), "--store", &Cache::InMemory));
        assert!(source.config.is_none());
        find(&by_store(place.at("fresh"))).unwrap();
        // Beside a configuration it says where the folder of that is for us.
        place.config("other.yml", Path::new("/nonexistent"));
        let both = Asked { config: Some(place.at("other.yml")), store: Some(place.at("store")), from_process: None };
        let source = find_with(&both, &[]).unwrap();
        assert_eq!((source.root.clone(), source.cache()), (place.at("store"), &Cache::None));
    }

    #[test]
    fn a_folder_beside_the_right_one_is_told() {
        let place = Place::new();
        let right = format!("--store {}", place.at("store").display());
        for wrong in ["store/docker", "store/docker/registry", "store/docker/registry/v2", "store/docker/registry/v2/blobs/sha256", "."] {
            let error = error_of(find_with(&by_store(place.at(wrong)), &[]));
            assert!(error.replace("/./", "/").ends_with(&right), "{wrong}: {error}");
        }
        fs::rename(place.at("store/docker/registry/v2"), place.at("moved")).unwrap();
        for wrong in ["moved", "moved/blobs"] {
            assert!(error_of(find_with(&by_store(place.at(wrong)), &[])).contains("looks like the inside"), "{wrong}");
        }
        assert!(error_of(find_with(&by_store(place.at("absent")), &[])).contains("does not exist"));
        assert!(error_of(find_with(&by_store(place.at("config.yml")), &[])).contains("is no folder"));
        assert!(error_of(find_with(&by_config(place.at("store")), &[])).contains("say --store"));
    }

    #[test]
    fn what_is_not_ours_is_refused_and_what_is_broken_an_error() {
        let place = Place::new();
        let refused = |asked: &Asked, environment: &[(&str, PathBuf)]| {
            let error = find_with(asked, environment).unwrap_err();
            (error.chain().any(|cause| cause.is::<Refused>()), format!("{error:#}"))
        };
        let config = by_config(place.at("config.yml"));
        let (is_refusal, text) = refused(&config, &[("REGISTRY_STORAGE", PathBuf::from("s3"))]);
        assert!(is_refusal && text.contains("config.yml: the storage driver is s3"), "{text}");
        let (is_refusal, text) = refused(&config, &[("REGISTRY_STORAGE_FILESYSTEM", PathBuf::from("x"))]);
        assert!(!is_refusal && text.contains("config.yml: the value of REGISTRY_STORAGE_FILESYSTEM"), "{text}");
        let (is_refusal, text) = refused(&by_config(place.at("absent.yml")), &[]);
        assert!(!is_refusal && text.contains("absent.yml"), "{text}");
        fs::write(place.at("store/scheduler-state.json"), "{}").unwrap();
        for asked in [config, by_store(place.at("store"))] {
            let (is_refusal, text) = refused(&asked, &[]);
            assert!(is_refusal && text.contains("pull-through cache"), "{text}");
        }
    }

    #[test]
    fn a_running_registry_says_all_and_its_files_are_its_own() {
        let fake = FakeProc::new();
        let root = fake.file("data");
        fs::create_dir_all(root.join(crate::store::layout::TREE)).unwrap();
        fs::write(fake.file("srv/c.yml"), "version: 0.1\nstorage: {filesystem: {}, cache: {blobdescriptor: inmemory}}\n").unwrap();
        fake.process(12, &["registry", "serve", "c.yml"], &["REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/data"]);
        let asked = Asked { from_process: Some(None), ..Asked::default() };
        // Our own variables are not the registry's.
        let ours = vec![("REGISTRY_STORAGE".into(), "s3".into())];
        let source = find_in(&asked, &fake.proc(), ours.clone()).unwrap();
        assert_eq!(source.root, fake.proc().join("12/root/data"));
        assert_eq!((&*source.said_by, source.cache()), ("process 12 (c.yml)", &Cache::InMemory));
        assert_eq!(source.process.as_ref().map(|process| process.pid), Some(12));

        // Where our own view of the folder is given, that is used.
        let both = Asked { store: Some(root.clone()), ..asked.clone() };
        let source = find_in(&both, &fake.proc(), ours).unwrap();
        assert_eq!((source.root, source.process.is_some()), (root, true));

        let two = Asked { config: Some("c.yml".into()), ..asked };
        assert!(error_of(find_in(&two, &fake.proc(), Vec::new())).contains("give one of them"));
    }
}
