//! What is made of all findings at the end: a folder for people and their tools, a file for GitLab, a line for a monitoring system.

pub(crate) mod folder; // --report DIR
pub(crate) mod junit; // --format junit
pub(crate) mod nagios; // --format nagios

use std::io::{self, Write as _};

use common::record::Finding;

/// Writes to standard output what is none of records. A reader that went away wanted no more of it.
pub(crate) fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// What a finding is about, in a word: `registry/repository:tag`, with the digest where there is no tag, or else the path.
fn subject(finding: &Finding) -> String {
    let mut text = String::new();
    if let Some(registry) = &finding.registry {
        text.push_str(registry);
        text.push('/');
    }
    text.push_str(finding.repository.as_deref().unwrap_or_default());
    match (&finding.tag, &finding.digest, &finding.path) {
        (Some(tag), ..) => {
            text.push(':');
            text.push_str(tag);
        }
        (None, Some(digest), _) if finding.repository.is_some() => {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        (None, _, Some(path)) if finding.repository.is_none() => text.push_str(path),
        (None, Some(digest), _) => text.push_str(&digest.to_string()),
        _ => {}
    }
    text
}
