//! Credential plugins: programs that a kubeconfig names under `exec`, and what they answer.
//!
//! The protocol is that of Kubernetes, "client-go credential plugins". A plugin is run here and not by kube, which runs it three times
//! before the first request, waits without end, and puts what it printed into its errors. Here it is run once, and again before its token
//! expires; it is ended when its time is over; it never gets our standard input, which may be a pipe that somebody reads, and is never asked to
//! talk with people. What it prints to standard output is a secret, and shown to nobody.

use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use common::duration;
use kube::config::{ExecConfig, ExecInteractiveMode};
use serde_json::{Value, json};

/// What a plugin gave.
pub(super) struct Credential {
    /// A bearer token.
    pub(super) token: Option<String>,
    /// A certificate and its key, in PEM.
    pub(super) certificate: Option<(String, String)>,
    /// When these end.
    pub(super) expires: Option<DateTime<Utc>>,
}

/// A run that gave nothing.
#[derive(Debug)]
pub(super) struct Failure {
    /// A sentence for the record.
    pub(super) cause: String,
    /// What the plugin said on standard error, for people.
    pub(super) said: Vec<String>,
}

/// How much a plugin may say; no credential is longer.
const MOST: u64 = 1 << 20;
/// How many lines of what it said are passed on, and how much of each.
const LINES: usize = 5;
const WIDTH: usize = 300;

/// Runs the plugin of a user.
pub(super) fn run(plugin: &ExecConfig, user: &str, limit: Duration) -> Result<Credential, Failure> {
    let begin = Instant::now();
    let name = plugin.command.clone().unwrap_or_default();
    let quiet = |cause: String| Failure { cause, said: Vec::new() };
    if name.is_empty() {
        return Err(quiet(format!("the user {user} has a credential plugin (exec) without a command")));
    }
    let told = |what: String| format!("the credential plugin {name} of the user {user} {what}");
    if plugin.interactive_mode == Some(ExecInteractiveMode::Always) {
        return Err(quiet(told(
            "wants to talk with somebody (interactiveMode: Always), and nobody is here: use a user that needs nobody".to_owned(),
        )));
    }
    let mut child = command(plugin, &name).spawn().map_err(|error| quiet(told(not_started(&error, plugin))))?;
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = listen(child.stderr.take(), &said);
    let printed = printed(&mut child, limit.saturating_sub(begin.elapsed()));
    let is_too_much = printed.as_ref().is_some_and(|printed| u64::try_from(printed.len()).is_ok_and(|length| length >= MOST));
    let status = printed.as_ref().filter(|_| !is_too_much).and_then(|_| ended(&mut child, limit.saturating_sub(begin.elapsed())));
    if status.is_none() {
        // What it started itself is left to it, as a shell would.
        let _ = child.kill();
        let _ = child.wait();
    }
    let failed = |what: String| {
        // A program that it left behind may keep standard error open.
        let _ = heard.recv_timeout(Duration::from_secs(1));
        Failure { cause: told(what), said: lines(&said) }
    };
    if is_too_much {
        return Err(failed(format!("printed {} KiB and more, which no credential fills, and was ended", MOST >> 10)));
    }
    let (Some(printed), Some(status)) = (printed, status) else {
        let seconds = duration::Duration::of(chrono::TimeDelta::from_std(limit).unwrap_or_default());
        return Err(failed(format!("did not end within {seconds}, and was ended")));
    };
    if !status.success() {
        return Err(failed(format!("failed with {status}")));
    }
    credential(&printed).map_err(|cause| failed(cause.to_owned()))
}

fn command(plugin: &ExecConfig, name: &str) -> Command {
    let mut command = Command::new(name);
    command.args(plugin.args.iter().flatten());
    for variable in plugin.env.iter().flatten() {
        if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
            command.env(name, value);
        }
    }
    let mut spec = json!({"interactive": false});
    if let Some(cluster) = &plugin.cluster {
        spec["cluster"] = json!(cluster);
    }
    let info = json!({"kind": "ExecCredential", "apiVersion": plugin.api_version, "spec": spec});
    command.env("KUBERNETES_EXEC_INFO", info.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn not_started(error: &io::Error, plugin: &ExecConfig) -> String {
    let hint = plugin.install_hint.as_deref().map(|hint| hint.split_whitespace().collect::<Vec<_>>().join(" "));
    let hint = hint.filter(|hint| !hint.is_empty()).map_or_else(String::new, |hint| format!("; its kubeconfig says: {hint}"));
    match error.kind() {
        io::ErrorKind::NotFound => format!("is not there{hint}"),
        _ => format!("cannot be run: {error}{hint}"),
    }
}

/// All of its standard output, if that ends in time.
fn printed(child: &mut Child, limit: Duration) -> Option<Vec<u8>> {
    let stdout = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stdout.take(MOST).read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver.recv_timeout(limit).ok()
}

/// Its status, if it ends in time. Whoever closed standard output is about to.
fn ended(child: &mut Child, limit: Duration) -> Option<std::process::ExitStatus> {
    let begin = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if begin.elapsed() < limit => thread::sleep(Duration::from_millis(5)),
            _ => return None,
        }
    }
}

/// Keeps what comes from standard error, and reads on when it is enough, so that the plugin is not held up. Tells when it ended.
fn listen(stderr: Option<impl Read + Send + 'static>, said: &Arc<Mutex<Vec<u8>>>) -> mpsc::Receiver<()> {
    let (ended, receiver) = mpsc::channel();
    let said = Arc::clone(said);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        let mut stderr = stderr;
        while let Some(Ok(length @ 1..)) = stderr.as_mut().map(|stderr| stderr.read(&mut buffer)) {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            if u64::try_from(said.len()).is_ok_and(|length| length < MOST) {
                said.extend_from_slice(buffer.get(..length).unwrap_or_default());
            }
        }
        let _ = ended.send(());
    });
    receiver
}

/// The last lines: there the reason is.
fn lines(said: &Mutex<Vec<u8>>) -> Vec<String> {
    let said = said.lock().unwrap_or_else(PoisonError::into_inner);
    let text = String::from_utf8_lossy(&said);
    let mut lines: Vec<String> = text.lines().rev().map(str::trim_end).filter(|line| !line.is_empty()).take(LINES).map(cut).collect();
    lines.reverse();
    lines
}

fn cut(line: &str) -> String {
    line.chars().take(WIDTH).collect()
}

/// Reads an ExecCredential. Some plugins write YAML, and client-go reads it too.
fn credential(printed: &[u8]) -> Result<Credential, &'static str> {
    // The parser's own message might quote the token.
    let answer: Value = serde_saphyr::from_slice(printed).map_err(|_| "printed something else than an ExecCredential")?;
    if answer["kind"] != "ExecCredential" {
        return Err("printed something else than an ExecCredential");
    }
    let status = answer.get("status").filter(|status| status.is_object()).ok_or("printed an ExecCredential without status")?;
    let text = |key: &str| status[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let certificate = match (text("clientCertificateData"), text("clientKeyData")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err("printed an ExecCredential with a certificate or a key, and not with both"),
    };
    let token = text("token");
    if token.is_none() && certificate.is_none() {
        return Err("printed an ExecCredential without a token and without a certificate");
    }
    let expires = match text("expirationTimestamp") {
        None => None,
        Some(time) => Some(
            DateTime::parse_from_rfc3339(&time)
                .map_err(|_| "printed an ExecCredential with an expirationTimestamp that is no time")?
                .to_utc(),
        ),
    };
    Ok(Credential { token, certificate, expires })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn plugin(script: &str) -> ExecConfig {
        serde_json::from_value(json!({
            "apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", script],
            "env": [{"name": "TOKEN", "value": "s3cret"}],
        }))
        .unwrap()
    }

    const ANSWER: &str =
        r#"echo '{"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": {"token": "'$TOKEN'"}}'"#;

    #[test]
    fn a_plugin_is_given_what_the_protocol_says() {
        let check = format!(
            r#"test "$(cat | wc -c)" = 0 && test "$KUBERNETES_EXEC_INFO" = '{{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{{"interactive":false}}}}' && {ANSWER}"#
        );
        assert_eq!(run(&plugin(&check), "me", LONG).map(|got| got.token).unwrap().as_deref(), Some("s3cret"));
    }

    #[test]
    fn what_a_plugin_answers_is_read_and_never_shown() {
        for (answer, expected) in [
            (r#"{"kind": "ExecCredential", "status": {"token": "s3cret"}}"#, Ok((true, false))),
            ("kind: ExecCredential\nstatus:\n  token: s3cret\n", Ok((true, false))),
            (r#"{"kind": "ExecCredential", "status": {"clientCertificateData": "c", "clientKeyData": "k"}}"#, Ok((false, true))),
            (
                r#"{"kind": "ExecCredential", "status": {"token": "t", "clientCertificateData": "c", "clientKeyData": "k"}}"#,
                Ok((true, true)),
            ),
            (r#"{"kind": "ExecCredential", "status": {"clientCertificateData": "s3cret"}}"#, Err("not with both")),
            (r#"{"kind": "ExecCredential", "status": {"token": ""}}"#, Err("without a token and without a certificate")),
            (r#"{"kind": "ExecCredential"}"#, Err("without status")),
            (r#"{"kind": "s3cret", "status": {"token": "t"}}"#, Err("something else")),
            ("s3cret", Err("something else")),
            ("{s3cret", Err("something else")),
            ("", Err("something else")),
            (r#"{"kind": "ExecCredential", "status": {"token": "t", "expirationTimestamp": "s3cret"}}"#, Err("is no time")),
        ] {
            let got = credential(answer.as_bytes()).map(|got| (got.token.is_some(), got.certificate.is_some()));
            match (got, expected) {
                (Err(got), Err(expected)) => assert!(got.contains(expected), "{answer}: {got}"),
                (got, expected) => assert_eq!(got, expected, "{answer}"),
            }
        }
        let timed = br#"{"kind": "ExecCredential", "status": {"token": "t", "expirationTimestamp": "2026-11-20T12:00:00Z"}}"#;
        assert_eq!(credential(timed).map(|got| got.expires.unwrap().timestamp()), Ok(1_795_176_000));
    }

    #[test]
    fn a_plugin_that_fails_is_told_and_what_it_said_is_passed_on() {
        let failure = |plugin: &ExecConfig, limit| run(plugin, "me", limit).map(|_| ()).unwrap_err();
        let failed = failure(&plugin("echo $TOKEN; echo one >&2; echo log in first >&2; exit 7"), LONG);
        assert_eq!(failed.cause, "the credential plugin sh of the user me failed with exit status: 7");
        assert_eq!(failed.said, ["one", "log in first"]);
        let mut missing = plugin("");
        missing.command = Some("no-such-plugin".to_owned());
        missing.install_hint = Some("brew install\n  no-such-plugin".to_owned());
        assert_eq!(
            failure(&missing, LONG).cause,
            "the credential plugin no-such-plugin of the user me is not there; its kubeconfig says: brew install no-such-plugin"
        );
        missing.command = None;
        assert!(failure(&missing, LONG).cause.contains("without a command"));
        let mut talks = plugin(ANSWER);
        talks.interactive_mode = Some(ExecInteractiveMode::Always);
        assert!(failure(&talks, LONG).cause.contains("interactiveMode: Always"));
    }

    #[test]
    fn a_plugin_that_hangs_is_ended() {
        for script in ["exec sleep 1000", "exec >&-; exec sleep 1000"] {
            let failure = run(&plugin(script), "me", Duration::from_millis(50)).map(|_| ()).unwrap_err();
            assert!(failure.cause.contains("did not end within"), "{script}: {failure:?}");
        }
    }

    #[test]
    fn a_plugin_that_prints_without_end_is_ended() {
        for script in ["exec yes $TOKEN", "trap '' PIPE; yes $TOKEN; exec sleep 1000"] {
            let failure = run(&plugin(script), "me", LONG).map(|_| ()).unwrap_err();
            assert!(
                failure.cause.ends_with("printed 1024 KiB and more, which no credential fills, and was ended"),
                "{script}: {failure:?}"
            );
        }
    }

    #[test]
    fn the_last_lines_are_passed_on() {
        let said = Mutex::new((1..=9).map(|line| format!("line {line}\n\n")).collect::<String>().into_bytes());
        assert_eq!(lines(&said), ["line 5", "line 6", "line 7", "line 8", "line 9"]);
        assert_eq!(cut(&"x".repeat(1000)).len(), WIDTH);
    }
}
