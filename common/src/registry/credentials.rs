//! Where user names and passwords come from: flags and environment for the one registry they are bound to, else the files and
//! helpers of docker and podman, in podman's order, until one has credentials.
//!
//! [`mod@file`] reads what files say, [`helper`] asks the programs that they name. Nothing here prints what it found.

mod file;
mod helper;

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use self::file::{CredentialFile, Format, Place};
use super::settings::{Environment, Settings};
use super::transport::lock;
use crate::reference::{Host, Repository};
use crate::secret::Secret;

/// What proves who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Credential {
    /// A user name and a password.
    Basic { user: String, password: Secret },
    /// A token that a token server exchanges for another (OAuth2 refresh token).
    IdentityToken(Secret),
    /// A token that the registry itself takes.
    RegistryToken(Secret),
}

/// Credentials, and where they came from, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) credential: Credential,
    pub(super) origin: String,
}

/// `Ok(None)` is: there are none. `Err` is: there may be some, and they cannot be read.
type Lookup = Result<Option<Found>, String>;

/// The credentials for one registry, looked for when they are first needed.
#[derive(Debug)]
pub(super) struct Credentials {
    host: Host,
    bound: Option<Lookup>,
    auth_file: Option<PathBuf>,
    environment: Environment,
    helper_timeout: Duration,
    files: OnceLock<Result<Vec<CredentialFile>, String>>,
    /// By the longest namespace, in any file, that a repository lies in.
    found: Mutex<HashMap<String, Lookup>>,
}

impl Credentials {
    pub(super) fn new(host: &Host, settings: &Settings) -> Self {
        let bound = match (&settings.user, &settings.password) {
            (Some(user), Some(password)) if settings.bound_host.as_ref() == Some(host) => {
                let credential = Credential::Basic { user: user.clone(), password: password.clone() };
                Some(Ok(Some(Found { credential, origin: "--user or REG_USER".to_owned() })))
            }
            (Some(_), None) if settings.bound_host.as_ref() == Some(host) => {
                Some(Err("a user name without a password: set REG_PASSWORD or REG_PASSWORD_FILE, or use --password-stdin".to_owned()))
            }
            _ => None,
        };
        Self {
            host: host.clone(),
            bound,
            auth_file: settings.auth_file.clone(),
            environment: settings.environment.clone(),
            helper_timeout: settings.timeouts.helper,
            files: OnceLock::new(),
            found: Mutex::new(HashMap::new()),
        }
    }

    /// What [`Credentials::find`] would say, where it need not read or run anything to know.
    pub(super) fn known(&self, repository: Option<&Repository>) -> Option<Lookup> {
        if let Some(bound) = &self.bound {
            return Some(bound.clone());
        }
        let namespace = match self.files.get()? {
            Ok(files) => longest_namespace(files, repository),
            Err(error) => return Some(Err(error.clone())),
        };
        // Locked while a helper runs: then nothing is known yet, and the caller must not wait here for it.
        self.found.try_lock().ok()?.get(namespace).cloned()
    }

    /// Looks for credentials; may block for as long as a helper may take.
    pub(super) fn find(&self, repository: Option<&Repository>) -> Lookup {
        if let Some(bound) = &self.bound {
            return bound.clone();
        }
        let files = self.files.get_or_init(|| self.read_files()).as_ref().map_err(Clone::clone)?;
        let namespace = longest_namespace(files, repository);
        // Held while a helper runs, so that it runs once.
        let mut found = lock(&self.found);
        if let Some(known) = found.get(namespace) {
            return known.clone();
        }
        let lookup = self.search(files, repository);
        found.insert(namespace.to_owned(), lookup.clone());
        lookup
    }

    fn search(&self, files: &[CredentialFile], repository: Option<&Repository>) -> Lookup {
        for file in files {
            for answer in file.answers(&self.host, repository) {
                let credential = match answer {
                    Place::Credential(credential) => Some(credential),
                    Place::Helper { name, server } => {
                        helper::get(name, &server, self.helper_timeout).map_err(|error| format!("{error} (named in {})", file.origin()))?
                    }
                    Place::Unreadable(what) => return Err(format!("{}: {what}", file.origin())),
                };
                if let Some(credential) = credential {
                    return Ok(Some(Found { credential, origin: file.origin().to_owned() }));
                }
            }
        }
        Ok(None)
    }

    fn read_files(&self) -> Result<Vec<CredentialFile>, String> {
        let mut files = Vec::new();
        if let Some(path) = &self.auth_file {
            let file = read(path, Format::Current, &self.host)?.ok_or_else(|| format!("{}: no such file", path.display()))?;
            files.push(file);
        }
        if let Some(json) = self.environment.get("DOCKER_AUTH_CONFIG") {
            files.push(CredentialFile::parse(
                "DOCKER_AUTH_CONFIG".to_owned(),
                json.to_string_lossy().as_bytes(),
                Format::Current,
                &self.host,
            )?);
        }
        for (path, format) in paths(&self.environment) {
            files.extend(read(&path, format, &self.host)?);
        }
        Ok(files)
    }
}

fn longest_namespace<'a>(files: &'a [CredentialFile], repository: Option<&Repository>) -> &'a str {
    files.iter().filter_map(|file| file.longest_namespace(repository)).max_by_key(|namespace| namespace.len()).unwrap_or("")
}

/// Where podman looks, in its order (containers-auth.json, "FILES"); docker's own file among them.
fn paths(environment: &Environment) -> Vec<(PathBuf, Format)> {
    let variable = |name: &str| environment.get(name).map(PathBuf::from);
    let home = variable("HOME");
    let in_home = |rest: &str| home.as_ref().map(|home| home.join(rest));
    let runtime = variable("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json")).or_else(|| {
        // Where there is no session, podman and skopeo use this instead, which is the usual case for root and in containers.
        let user = std::fs::metadata("/proc/self").ok()?.uid();
        Some(PathBuf::from(format!("/run/containers/{user}/auth.json")))
    });
    let config = variable("XDG_CONFIG_HOME").or_else(|| in_home(".config")).map(|folder| folder.join("containers/auth.json"));
    let docker = variable("DOCKER_CONFIG").or_else(|| in_home(".docker")).map(|folder| folder.join("config.json"));
    [
        (variable("REGISTRY_AUTH_FILE"), Format::Current),
        (runtime, Format::Current),
        (config, Format::Current),
        (docker, Format::Current),
        (in_home(".dockercfg"), Format::Old),
    ]
    .into_iter()
    .filter_map(|(path, format)| Some((path?, format)))
    .collect()
}

/// A file of credentials, and `None` where there is no such file.
fn read(path: &Path, format: Format, host: &Host) -> Result<Option<CredentialFile>, String> {
    match std::fs::read(path) {
        Ok(bytes) => CredentialFile::parse(path.display().to_string(), &bytes, format, host).map(Some),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    /// An environment with a home of its own and the variables given.
    fn environment(home: &Path, variables: &[(&str, &str)]) -> Environment {
        let mut all: HashMap<String, OsString> =
            HashMap::from([("HOME".to_owned(), home.into()), ("XDG_RUNTIME_DIR".to_owned(), home.join("runtime").into())]);
        all.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), value.into())));
        Environment::new(move |name| all.get(name).cloned())
    }

    fn write(home: &Path, path: &str, text: &str) {
        let path = home.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn find(host: &str, repository: Option<&str>, settings: &Settings) -> Result<Option<String>, String> {
        let credentials = Credentials::new(&host.parse().unwrap(), settings);
        let repository = repository.map(|name| name.parse().unwrap());
        let found = credentials.find(repository.as_ref())?;
        assert_eq!(credentials.known(repository.as_ref()), Some(Ok(found.clone())));
        Ok(found.map(|found| match found.credential {
            Credential::Basic { user, password } => format!("{user}:{}", password.reveal()),
            Credential::IdentityToken(token) => format!("identity {}", token.reveal()),
            Credential::RegistryToken(token) => format!("registry {}", token.reveal()),
        }))
    }

    fn auths(entries: &[(&str, &str)]) -> String {
        let entries: Vec<String> =
            entries.iter().map(|(key, user)| format!("{key:?}:{{\"username\":{user:?},\"password\":\"p\"}}")).collect();
        format!("{{\"auths\":{{{}}}}}", entries.join(","))
    }

    #[test]
    fn files_are_searched_in_podmans_order_until_one_has_credentials() {
        let home = tempfile::tempdir().unwrap();
        let files = ["explicit.json", "runtime/containers/auth.json", ".config/containers/auth.json", ".docker/config.json", ".dockercfg"];
        let explicit = home.path().join("explicit.json");
        let settings = Settings {
            environment: environment(home.path(), &[("REGISTRY_AUTH_FILE", explicit.to_str().unwrap())]),
            ..Settings::default()
        };
        assert_eq!(find("r.example.com", None, &settings), Ok(None));
        // Written from the last to the first, each takes over from the one before.
        for (index, file) in files.iter().enumerate().rev() {
            let user = format!("u{index}");
            let text = if *file == ".dockercfg" {
                format!("{{\"https://r.example.com/v1/\":{{\"username\":{user:?},\"password\":\"p\"}}}}")
            } else {
                auths(&[("other.example.com", "no"), ("r.example.com", &user)])
            };
            write(home.path(), file, &text);
            assert_eq!(find("r.example.com", None, &settings), Ok(Some(format!("u{index}:p"))), "{file}");
        }
        // A file without them is passed over.
        write(home.path(), "explicit.json", &auths(&[("other.example.com", "no")]));
        assert_eq!(find("r.example.com", None, &settings), Ok(Some("u1:p".to_owned())));
        let named = Settings { auth_file: Some(home.path().join(".docker/config.json")), ..settings.clone() };
        assert_eq!(find("r.example.com", None, &named), Ok(Some("u3:p".to_owned())));
        let missing = Settings { auth_file: Some(home.path().join("none.json")), ..settings };
        assert!(find("r.example.com", None, &missing).unwrap_err().contains("none.json: no such file"));
    }

    #[test]
    fn the_environment_can_hold_the_file_itself_or_name_dockers_folder() {
        let home = tempfile::tempdir().unwrap();
        write(home.path(), "docker/config.json", &auths(&[("r.example.com", "folder"), ("s.example.com", "folder")]));
        let folder = home.path().join("docker");
        let json = auths(&[("r.example.com", "json")]);
        let variables = [("DOCKER_AUTH_CONFIG", json.as_str()), ("DOCKER_CONFIG", folder.to_str().unwrap())];
        let settings = Settings { environment: environment(home.path(), &variables), ..Settings::default() };
        assert_eq!(find("r.example.com", None, &settings), Ok(Some("json:p".to_owned())));
        assert_eq!(find("s.example.com", None, &settings), Ok(Some("folder:p".to_owned())));
    }

    #[test]
    fn the_longest_namespace_decides() {
        let home = tempfile::tempdir().unwrap();
        let text = auths(&[("r.example.com", "host"), ("r.example.com/team", "team"), ("r.example.com/team/app", "app")]);
        write(home.path(), ".docker/config.json", &text);
        let settings = Settings { environment: environment(home.path(), &[]), ..Settings::default() };
        for (repository, user) in [
            (None, "host:p"),
            (Some("other"), "host:p"),
            (Some("teams"), "host:p"),
            (Some("team/x"), "team:p"),
            (Some("team/app"), "app:p"),
            (Some("team/app/deep"), "app:p"),
            (Some("team/application"), "team:p"),
        ] {
            assert_eq!(find("r.example.com", repository, &settings), Ok(Some(user.to_owned())), "{repository:?}");
        }
        assert_eq!(find("r.example.com:5000", None, &settings), Ok(None));
    }

    #[test]
    fn flags_belong_to_one_registry() {
        let home = tempfile::tempdir().unwrap();
        let settings = Settings {
            user: Some("u".to_owned()),
            password: Some(Secret::new("p")),
            bound_host: Some("r.example.com".parse().unwrap()),
            environment: environment(home.path(), &[]),
            ..Settings::default()
        };
        assert_eq!(find("r.example.com", None, &settings), Ok(Some("u:p".to_owned())));
        assert_eq!(find("R.example.com:443", None, &settings), Ok(Some("u:p".to_owned())));
        assert_eq!(find("evil.example.net", None, &settings), Ok(None));
        let unbound = Settings { bound_host: None, ..settings };
        assert_eq!(find("r.example.com", None, &unbound), Ok(None));
    }

    #[test]
    fn what_cannot_be_read_is_said_without_showing_it() {
        let home = tempfile::tempdir().unwrap();
        let settings = Settings { environment: environment(home.path(), &[]), ..Settings::default() };
        for text in
            ["{\"auths\":{\"r.example.com\":{\"auth\":\"c2VjcmV0\"}}}", "{\"auths\": secret", "{\"auths\":{\"r.example.com\":\"secret\"}}"]
        {
            write(home.path(), ".docker/config.json", text);
            let error = find("r.example.com", None, &settings).unwrap_err();
            assert!(error.contains(".docker/config.json") && !error.contains("secret") && !error.contains("c2Vj"), "{error}");
        }
        write(home.path(), ".docker/config.json", "");
        assert_eq!(find("r.example.com", None, &settings), Ok(None));
    }

    #[test]
    fn a_helper_is_a_name_and_no_path() {
        let home = tempfile::tempdir().unwrap();
        let settings = Settings { environment: environment(home.path(), &[]), ..Settings::default() };
        for name in ["../evil", "/bin/sh", "a b", "", "-x", "a;b", "$(x)"] {
            write(home.path(), ".docker/config.json", &format!("{{\"credHelpers\":{{\"r.example.com\":{name:?}}}}}"));
            let error = find("r.example.com", None, &settings).unwrap_err();
            assert!(error.contains("is not the name of a credential helper"), "{name}: {error}");
        }
    }
}
