//! Credential helpers: programs called `docker-credential-NAME` that answer `get` (docker/docker-credential-helpers).
//!
//! What they print is a secret in the good case, so nothing of it is ever shown.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::Credential;
use super::file::user_and_password;

/// How much a helper may print.
const OUTPUT: u64 = 64 << 10;

/// What the protocol has a helper print, in place of an answer, when it has no credentials.
const NOT_FOUND: &[u8] = b"credentials not found in native keychain";

/// Asks a helper for the credentials of a server; `None` if it has none.
pub(super) fn get(name: &str, server: &str, timeout: Duration) -> Result<Option<Credential>, String> {
    // The name is a part of a program's name, looked up in PATH. Anything else could name any program.
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if !name.bytes().all(is_word) || !name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric()) {
        return Err(format!("{name:?} is not the name of a credential helper"));
    }
    run(Command::new(format!("docker-credential-{name}")), &format!("docker-credential-{name}"), server, timeout)
}

fn run(mut command: Command, program: &str, server: &str, timeout: Duration) -> Result<Option<Credential>, String> {
    let deadline = Instant::now() + timeout;
    let mut child = command
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("the credential helper {program} cannot be run: {error}"))?;
    let output = talk(&mut child, server, deadline);
    let Some(output) = output else {
        // Neither can fail in a way that matters: either it has ended, or it is ended now.
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("the credential helper {program} did not answer within {} s", timeout.as_secs()));
    };
    let status = wait(&mut child, deadline).map_err(|error| format!("the credential helper {program}: {error}"))?;
    if !status {
        let says_none = output.windows(NOT_FOUND.len()).any(|window| window == NOT_FOUND);
        return if says_none {
            Ok(None)
        } else {
            Err(format!("the credential helper {program} failed for {server}; its output is not shown"))
        };
    }
    #[derive(Deserialize)]
    struct Body {
        #[serde(rename = "Username", default)]
        username: String,
        #[serde(rename = "Secret", default)]
        secret: String,
    }
    let body: Body = serde_json::from_slice(&output)
        .map_err(|_| format!("the credential helper {program} did not answer with the JSON that it should; its output is not shown"))?;
    Ok(if body.secret.is_empty() { None } else { Some(user_and_password(body.username, body.secret)) })
}

/// Writes the server's name and reads the answer; `None` if it does not come in time.
fn talk(child: &mut Child, server: &str, deadline: Instant) -> Option<Vec<u8>> {
    if let Some(mut input) = child.stdin.take() {
        // A helper that has ended already says so by its status.
        let _ = input.write_all(server.as_bytes());
    }
    let output = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    // Reading cannot be given a limit of time, so it is done where it may go on for ever without anyone waiting.
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = output.take(OUTPUT).read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
}

/// Waits for a helper that has closed its output; whether it succeeded.
fn wait(child: &mut Child, deadline: Instant) -> Result<bool, String> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.success()),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err("it closed its output and did not end".to_owned());
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(script: &str, timeout: Duration) -> Result<Option<Credential>, String> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script).arg("docker-credential-x");
        run(command, "docker-credential-x", "r.example.com", timeout)
    }

    const PATIENT: Duration = Duration::from_secs(20);

    #[test]
    fn helpers_answer() {
        let answer = ask(
            r#"read server; test "$1 $server" = "get r.example.com" && printf '{"ServerURL":"x","Username":"u","Secret":"p"}'"#,
            PATIENT,
        );
        assert_eq!(answer, Ok(Some(user_and_password("u".to_owned(), "p".to_owned()))));
        let answer = ask(r#"printf '{"Username":"<token>","Secret":"i"}'"#, PATIENT);
        assert!(matches!(answer, Ok(Some(Credential::IdentityToken(_)))), "{answer:?}");
        assert_eq!(ask("echo credentials not found in native keychain; exit 1", PATIENT), Ok(None));
    }

    #[test]
    fn what_helpers_print_is_not_shown() {
        for script in ["echo secret; exit 1", "echo secret", "exit 3", "echo '{\"Username\":\"u\",\"Secret\":7}'"] {
            let error = ask(script, PATIENT).unwrap_err();
            assert!(error.contains("docker-credential-x") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_helper_that_hangs_is_ended() {
        for script in ["exec sleep 600", "exec >&-; exec sleep 600"] {
            let error = ask(script, Duration::from_millis(200)).unwrap_err();
            assert!(error.contains("did not"), "{error}");
        }
        assert!(get("no-such-helper-at-all", "x", PATIENT).unwrap_err().contains("cannot be run"));
    }
}
