//! What a file of credentials says about one registry: docker's `config.json`, podman's `auth.json`, the old `.dockercfg`. Pure.
//!
//! Keys are hosts, in the many forms that were written over the years, and in podman's files also namespaces below a host, of which
//! the longest that a repository lies in decides.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::Value;

use super::Credential;
use crate::reference::{DOCKER_HUB, Host, Repository};
use crate::secret::Secret;

/// The name by which docker and its helpers know Docker Hub.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// The user name that marks a password as an identity token.
const TOKEN_USER: &str = "<token>";

/// With or without padding: both are found in files.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// How a file is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// An object with `auths`, `credHelpers` and `credsStore`.
    Current,
    /// What stands in `auths`, alone.
    Old,
}

/// What one file says about one registry.
#[derive(Debug)]
pub(super) struct CredentialFile {
    origin: String,
    /// Helpers by namespace, with the name that the file gives the registry.
    helpers: BTreeMap<String, (String, String)>,
    entries: BTreeMap<String, Entry>,
    /// The helper for every registry.
    store: Option<String>,
}

/// One entry of `auths`: credentials, or nothing, or what cannot be read.
type Entry = Result<Option<Credential>, String>;

/// One place where credentials may be, in the order in which a file wants them to be looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    Credential(Credential),
    /// A helper's name, and the server to ask it for.
    Helper {
        name: &'a str,
        server: String,
    },
    Unreadable(&'a str),
}

impl CredentialFile {
    pub(super) fn parse(origin: String, bytes: &[u8], format: Format, host: &Host) -> Result<Self, String> {
        #[derive(Deserialize, Default)]
        #[serde(default, rename_all = "camelCase")]
        struct File {
            auths: Option<BTreeMap<String, Value>>,
            cred_helpers: Option<BTreeMap<String, String>>,
            creds_store: Option<String>,
        }
        // The parser's own words would show a part of the file.
        let unreadable = |error: serde_json::Error| format!("{origin}: not the JSON that it should be (line {})", error.line());
        let file = if bytes.trim_ascii().is_empty() {
            File::default()
        } else if format == Format::Old {
            File { auths: Some(serde_json::from_slice(bytes).map_err(unreadable)?), ..File::default() }
        } else {
            serde_json::from_slice(bytes).map_err(unreadable)?
        };
        let mut entries = BTreeMap::new();
        for (key, value) in file.auths.into_iter().flatten() {
            if let Some(namespace) = namespace(&key, host) {
                let entry = entry(value);
                // Two forms of one key: what holds credentials wins over what is empty.
                if !matches!((&entry, entries.get(&namespace)), (Ok(None), Some(_))) {
                    entries.insert(namespace, entry);
                }
            }
        }
        let helpers = file.cred_helpers.into_iter().flatten();
        let helpers = helpers.filter_map(|(key, name)| Some((namespace(&key, host)?, (name, key)))).collect();
        let store = file.creds_store.filter(|name| !name.is_empty());
        Ok(Self { origin, helpers, entries, store })
    }

    /// Where the file is, for people.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// The longest namespace in this file that a repository lies in.
    pub(super) fn longest_namespace(&self, repository: Option<&Repository>) -> Option<&str> {
        let all = self.helpers.keys().chain(self.entries.keys());
        all.map(String::as_str).filter(|namespace| covers(namespace, repository)).max_by_key(|namespace| namespace.len())
    }

    /// Where to look for a repository's credentials, or for the registry's: helpers for it, entries, the helper for all.
    pub(super) fn answers(&self, host: &Host, repository: Option<&Repository>) -> Vec<Place<'_>> {
        let mut answers = Vec::new();
        let helper = longest(&self.helpers, repository);
        answers.extend(helper.map(|(name, server)| Place::Helper { name, server: server.clone() }));
        match longest(&self.entries, repository) {
            Some(Ok(Some(credential))) => answers.push(Place::Credential(credential.clone())),
            Some(Err(what)) => answers.push(Place::Unreadable(what)),
            Some(Ok(None)) | None => {}
        }
        if let Some(name) = &self.store {
            let server = if host.as_str() == DOCKER_HUB { DOCKER_HUB_KEY } else { host.as_str() };
            answers.push(Place::Helper { name, server: server.to_owned() });
        }
        answers
    }
}

fn longest<'a, T>(by_namespace: &'a BTreeMap<String, T>, repository: Option<&Repository>) -> Option<&'a T> {
    by_namespace
        .iter()
        .filter(|(namespace, _)| covers(namespace, repository))
        .max_by_key(|(namespace, _)| namespace.len())
        .map(|(_, value)| value)
}

fn covers(namespace: &str, repository: Option<&Repository>) -> bool {
    namespace.is_empty() || repository.is_some_and(|repository| repository.is_within(namespace))
}

/// The namespace that a key stands for at `host`, empty for the host as a whole, and `None` where the key is another host's.
fn namespace(key: &str, host: &Host) -> Option<String> {
    let key = key.trim();
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let (name, path) = key.split_once('/').unwrap_or((key, ""));
    if name.parse::<Host>().ok()? != *host {
        return None;
    }
    let path = path.trim_matches('/');
    // The API's version is no namespace, whatever wrote it there.
    Some(if matches!(path, "v1" | "v2") { String::new() } else { path.to_owned() })
}

fn entry(value: Value) -> Entry {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Fields {
        auth: Option<String>,
        username: Option<String>,
        password: Option<String>,
        identitytoken: Option<String>,
        registrytoken: Option<String>,
    }
    let fields: Fields =
        serde_json::from_value(value).map_err(|_| "its entry for the registry is not the object that it should be".to_owned())?;
    let given = |field: Option<String>| field.filter(|text| !text.is_empty());
    if let Some(token) = given(fields.registrytoken) {
        return Ok(Some(Credential::RegistryToken(Secret::new(token))));
    }
    if let Some(token) = given(fields.identitytoken) {
        return Ok(Some(Credential::IdentityToken(Secret::new(token))));
    }
    if let Some(auth) = given(fields.auth) {
        let decoded = BASE64.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let decoded = decoded.as_deref().map(|text| text.trim_end_matches('\0')).and_then(|text| text.split_once(':'));
        let (user, password) = decoded.ok_or("its `auth` for the registry is not the base64 of user:password")?;
        return Ok(Some(user_and_password(user.to_owned(), password.to_owned())));
    }
    match (given(fields.username), given(fields.password)) {
        (Some(user), Some(password)) => Ok(Some(user_and_password(user, password))),
        _ => Ok(None),
    }
}

/// User and password, or the identity token that they are together.
pub(super) fn user_and_password(user: String, password: String) -> Credential {
    let password = Secret::new(password);
    if user == TOKEN_USER { Credential::IdentityToken(password) } else { Credential::Basic { user, password } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(json: &str, host: &str) -> Vec<String> {
        let host: Host = host.parse().unwrap();
        let file = CredentialFile::parse("file".to_owned(), json.as_bytes(), Format::Current, &host).unwrap();
        let shown = |answer: Place<'_>| match answer {
            Place::Credential(Credential::Basic { user, password }) => format!("{user}:{}", password.reveal()),
            Place::Credential(Credential::IdentityToken(token)) => format!("identity {}", token.reveal()),
            Place::Credential(Credential::RegistryToken(token)) => format!("registry {}", token.reveal()),
            Place::Helper { name, server } => format!("{name} {server}"),
            Place::Unreadable(what) => format!("unreadable: {what}"),
        };
        file.answers(&host, None).into_iter().map(shown).collect()
    }

    #[test]
    fn entries_in_all_their_forms() {
        for (entry, expected) in [
            (r#"{"auth":"dTpwOnE="}"#, vec!["u:p:q"]),
            (r#"{"auth":"dTpwOnE"}"#, vec!["u:p:q"]),
            (r#"{"auth":"dTpwAAA="}"#, vec!["u:p"]),
            (r#"{"username":"u","password":"p"}"#, vec!["u:p"]),
            (r#"{"auth":"dTpw","identitytoken":"i"}"#, vec!["identity i"]),
            (r#"{"username":"<token>","password":"i"}"#, vec!["identity i"]),
            (r#"{"registrytoken":"r","auth":"dTpw"}"#, vec!["registry r"]),
            (r#"{"auth":""}"#, vec![]),
            (r"{}", vec![]),
        ] {
            assert_eq!(answers(&format!(r#"{{"auths":{{"r.example.com":{entry}}}}}"#), "r.example.com"), expected, "{entry}");
        }
    }

    #[test]
    fn keys_in_all_their_forms() {
        for (key, host, mine) in [
            ("r.example.com", "r.example.com", true),
            ("https://r.example.com", "r.example.com", true),
            ("https://r.example.com/", "r.example.com", true),
            ("http://R.Example.com:443/v2/", "r.example.com", true),
            ("r.example.com:5000", "r.example.com:5000", true),
            ("r.example.com", "r.example.com:5000", false),
            ("https://index.docker.io/v1/", "docker.io", true),
            ("docker.io", "docker.io", true),
            ("registry-1.docker.io", "docker.io", true),
            ("evil.net/r.example.com", "r.example.com", false),
            ("r.example.com.evil.net", "r.example.com", false),
            ("", "r.example.com", false),
        ] {
            let json = format!(r#"{{"auths":{{"{key}":{{"username":"u","password":"p"}}}}}}"#);
            assert_eq!(answers(&json, host) == ["u:p"], mine, "{key}");
        }
    }

    #[test]
    fn helpers_for_a_registry_come_before_entries_and_the_helper_for_all_last() {
        let json =
            r#"{"auths":{"r.example.com":{"auth":"dTpw"}},"credHelpers":{"r.example.com":"one","x.example.com":"two"},"credsStore":"all"}"#;
        assert_eq!(answers(json, "r.example.com"), ["one r.example.com", "u:p", "all r.example.com"]);
        assert_eq!(answers(json, "docker.io"), ["all https://index.docker.io/v1/"]);
    }
}
