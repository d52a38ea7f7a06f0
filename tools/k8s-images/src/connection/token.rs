//! Bearer tokens that change while one reads: in a file that is written anew, from a plugin that is asked again.
//!
//! Both are read as client-go reads them (`transport/token_source.go`): a file once a minute, without blanks around what is in it. kube would send the
//! line feed at the end of a file along, which no request can carry.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use http::HeaderValue;
use kube::config::ExecConfig;

use super::plugin;

/// How old what was read from a file may be. Whoever rotates a token leaves the old one valid for longer.
const FILE_AGE: Duration = Duration::from_secs(50);
/// A plugin is asked again so long before its token ends, and never sooner than this after the last time.
const BEFORE_THE_END: Duration = Duration::from_secs(30);

/// A token that is there now, as a request carries it.
#[derive(Clone)]
pub(super) struct Token {
    current: Arc<Mutex<Current>>,
    file: Option<PathBuf>,
}

struct Current {
    value: HeaderValue,
    since: Instant,
}

impl Token {
    /// What a file holds.
    pub(super) fn in_file(path: &Path) -> Result<Self, String> {
        Ok(Self { file: Some(path.to_owned()), ..Self::fixed(read(path)?) })
    }

    /// A token that stays until [`Self::renew`].
    pub(super) fn fixed(value: HeaderValue) -> Self {
        Self { current: Arc::new(Mutex::new(Current { value, since: Instant::now() })), file: None }
    }

    /// The value of the next request's `Authorization`.
    pub(super) fn header(&self) -> HeaderValue {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = self.file.as_deref().filter(|_| current.since.elapsed() >= FILE_AGE) {
            // Where it is gone, the old one is as good as it is (kubernetes/kubernetes#68164).
            if let Ok(value) = read(path) {
                current.value = value;
            }
            current.since = Instant::now();
        }
        current.value.clone()
    }

    /// Asks the plugin again before its token ends, for as long as the runtime lives. Where it gives none any more, the server will say
    /// that the old one has ended.
    pub(super) async fn renew(self, plugin: ExecConfig, user: String, limit: Duration, mut expires: DateTime<Utc>) {
        loop {
            tokio::time::sleep(pause(expires, Utc::now())).await;
            let (again, who) = (plugin.clone(), user.clone());
            let Ok(Ok(credential)) = tokio::task::spawn_blocking(move || plugin::run(&again, &who, limit)).await else { return };
            let (Some(Ok(value)), Some(end)) = (credential.token.as_deref().map(bearer), credential.expires) else { return };
            *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Current { value, since: Instant::now() };
            expires = end;
        }
    }
}

/// How long a token may be used before the next is asked for.
fn pause(expires: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    let left = (expires - now).to_std().unwrap_or_default();
    left.saturating_sub(BEFORE_THE_END).max(BEFORE_THE_END)
}

/// `Bearer` and a token.
pub(super) fn bearer(token: &str) -> Result<HeaderValue, String> {
    let mut value =
        HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| "holds characters that no request can carry".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

fn read(path: &Path) -> Result<HeaderValue, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("cannot be read: {}: {error}", path.display()))?;
    match text.trim() {
        "" => Err(format!("is empty: {}", path.display())),
        token => bearer(token).map_err(|cause| format!("{cause}: {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_again_when_it_is_old() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "one\n").unwrap();
        let token = Token::in_file(&path).unwrap();
        let shown = || token.header().to_str().unwrap().to_owned();
        let age = || {
            let mut current = token.current.lock().unwrap();
            current.since = current.since.checked_sub(FILE_AGE).unwrap();
        };
        fs::write(&path, "two\n").unwrap();
        assert_eq!(shown(), "Bearer one");
        age();
        assert_eq!(shown(), "Bearer two");
        fs::remove_file(&path).unwrap();
        age();
        assert_eq!(shown(), "Bearer two");
        assert!(token.header().is_sensitive());
    }

    #[test]
    fn a_file_that_holds_no_token_is_said_without_what_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        for (content, expected) in [
            (&b"\n"[..], "is empty"),
            (b"s3cret\nand more", "holds characters that no request can carry"),
            (b"s3cret\xff", "cannot be read"),
        ] {
            fs::write(&path, content).unwrap();
            let error = Token::in_file(&path).map(|_| ()).unwrap_err();
            assert!(error.contains(expected) && !error.contains("s3cret"), "{error}");
        }
        assert!(Token::in_file(folder.path()).is_err());
    }

    #[test]
    fn a_plugin_is_asked_again_before_its_token_ends_and_not_without_pause() {
        let now: DateTime<Utc> = "2026-11-20T12:00:00Z".parse().unwrap();
        for (left, expected) in [(900, 870), (3600, 3570), (61, 31), (30, 30), (0, 30), (-60, 30)] {
            assert_eq!(pause(now + chrono::TimeDelta::seconds(left), now), Duration::from_secs(expected), "{left}");
        }
    }
}
