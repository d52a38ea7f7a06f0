//! The operand `-`: repositories on standard input, one a line, as `host/repository` or as records that name one.

use std::collections::HashSet;
use std::io::BufRead;

use anyhow::bail;
use common::cli::operand::{Part, Scheme, Wanted};
use common::jsonl::{Line, Problem, Reader};
use common::record::{Finding, Kind};
use common::reference::{Host, InvalidName, Reference, Repository};
use serde::Deserialize;

/// Reads them all, each once, grouped by registry in the order in which they came.
///
/// Lines are `host/repository`; a tag or digest after it says nothing, `#` begins a comment. Of records, `use` (and all others
/// that name a repository) count, the rest is passed over: an inventory or a listing can be given as it is.
pub(crate) fn read(input: impl BufRead) -> anyhow::Result<Vec<Wanted>> {
    let mut reader = Reader::new("standard input", input);
    let mut wanted: Vec<(Host, Vec<Repository>)> = Vec::new();
    let mut seen: HashSet<(Host, Repository)> = HashSet::new();
    while let Some(line) = reader.next_line()? {
        let Some((host, repository)) = name(&line)? else { continue };
        if !seen.insert((host.clone(), repository.clone())) {
            continue;
        }
        match wanted.iter_mut().find(|(known, _)| *known == host) {
            Some((_, repositories)) => repositories.push(repository),
            None => wanted.push((host, vec![repository])),
        }
    }
    if wanted.is_empty() {
        bail!("standard input names no repository; a line is HOST/REPOSITORY, or a use record of k8s-images");
    }
    let wanted = wanted.into_iter().map(|(host, repositories)| Wanted { host, scheme: Scheme::Unsaid, part: Part::Named(repositories) });
    Ok(wanted.collect())
}

/// The repository that a line names, if it names one.
fn name(line: &Line<'_>) -> anyhow::Result<Option<(Host, Repository)>> {
    if line.text().starts_with('#') {
        return Ok(None);
    }
    let wrong = |text: String| line.error(Problem::Json(text));
    if line.text().starts_with('{') {
        return match line.kind()? {
            Kind::Header => {
                line.check_schema()?;
                Ok(None)
            }
            Kind::Use | Kind::Manifest | Kind::Repository | Kind::Tag | Kind::Deletion => named(line).map(Some),
            // The blobs of a storage are of no repository.
            Kind::Finding if line.parse::<Finding>().is_ok_and(|finding| finding.registry.is_none() || finding.repository.is_none()) => {
                Ok(None)
            }
            Kind::Finding => named(line).map(Some),
            _ => Ok(None),
        };
    }
    if let Some(host) = bare_host(line.text()) {
        return Err(wrong(format!(
            "{host} is a registry and no repository in it: write {host}/REPOSITORY, or name it as operand to list all of it"
        ))
        .into());
    }
    let reference: Reference = line
        .text()
        .parse()
        .map_err(|error| wrong(format!("is neither a record nor a repository such as registry.example.com/team/app: {error}")))?;
    Ok(Some((reference.registry, reference.repository)))
}

fn named(line: &Line<'_>) -> anyhow::Result<(Host, Repository)> {
    let wrong = |error: InvalidName| line.error(Problem::Json(error.to_string()));
    let Named { registry, repository } = line.parse()?;
    Ok((registry.parse().map_err(wrong)?, repository.parse().map_err(wrong)?))
}

/// The host that a line names without a repository. By Docker's rule such a line is the name of an image of Docker Hub, and nobody means
/// that by `registry.example.com` or `localhost:5000`.
fn bare_host(text: &str) -> Option<Host> {
    let text = text.trim_end_matches('/');
    let name = text.split(':').next().unwrap_or_default();
    if text.contains(['/', '@']) || !(name.contains('.') || name == "localhost" || text.starts_with('[')) {
        return None;
    }
    text.parse().ok()
}

/// What every record about something in a repository has.
#[derive(Deserialize)]
struct Named {
    registry: String,
    repository: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<Vec<String>, String> {
        let wanted = read(text.as_bytes()).map_err(|error| format!("{error:#}"))?;
        Ok(wanted
            .iter()
            .flat_map(|wanted| wanted.part.prefixes().into_iter().map(|repository| format!("{}/{repository}", wanted.host)))
            .collect())
    }

    #[test]
    fn lines_and_records_name_repositories_each_once() {
        let text = r#"
# a comment
registry.example.com/team/app
registry.example.com/team/app:1.2
nginx
{"type":"header","tool":"k8s-images","version":"1","schema":1,"time":"2026-11-20T12:00:00Z"}
{"type":"use","image":"Registry.example.com:443/team/web:1","registry":"registry.example.com","repository":"team/web","tag":"1"}
{"type":"use","image":"nginx","registry":"docker.io","repository":"library/nginx","tag":"latest"}
{"type":"repository","registry":"registry.example.com","repository":"team/count","complete":true}
{"type":"finding","registry":"registry.example.com","repository":"team/found","problem":"blob-missing"}
{"type":"deletion","registry":"registry.example.com","repository":"team/gone","action":"delete","result":"deleted"}
{"type":"tag","registry":"registry.example.com","repository":"team/tag","tag":"1"}
{"type":"manifest","registry":"registry.example.com","repository":"team/manifest"}
{"type":"comet","registry":"x","repository":"y"}
{"type":"trailer","complete":true,"records":2}
"#;
        let expected = [
            "registry.example.com/team/app",
            "registry.example.com/team/web",
            "registry.example.com/team/count",
            "registry.example.com/team/found",
            "registry.example.com/team/gone",
            "registry.example.com/team/tag",
            "registry.example.com/team/manifest",
            "docker.io/library/nginx",
        ];
        assert_eq!(names(text).unwrap(), expected);
    }

    #[test]
    fn a_password_in_a_line_is_not_shown() {
        for text in [
            "http://u:s3cret@r.example.com/a",
            "u:s3cret@r.example.com/a",
            "u:s3c/s3cret@r/a@sha256:12",
            "s3cret@r.example.com",
            "{\"type\":\"use\",\"registry\":\"u:s3cret@r\",\"repository\":\"a\"}",
        ] {
            let error = names(text).unwrap_err();
            assert!(!error.contains("s3c") && error.contains("***@r"), "{error}");
        }
    }

    #[test]
    fn what_names_no_repository_is_said_with_its_line() {
        for (text, expected) in [
            ("", "names no repository"),
            ("{\"type\":\"trailer\",\"complete\":true,\"records\":0}", "names no repository"),
            ("\nregistry.example.com/Team", "line 2: is neither a record nor a repository"),
            ("registry.example.com", "line 1: registry.example.com is a registry and no repository in it"),
            ("registry.example.com/", "is a registry and no repository"),
            ("a/b\n127.0.0.1:5000", "line 2: 127.0.0.1:5000 is a registry and no repository"),
            ("localhost:5000", "is a registry and no repository"),
            ("[::1]:5000", "is a registry and no repository"),
            (
                "{\"type\":\"header\",\"tool\":\"k8s-images\",\"schema\":99}\n{\"type\":\"use\",\"registry\":\"r\",\"repository\":\"a\"}",
                "line 1: was written in schema 99",
            ),
            ("a/b\n{\"type\":\"use\"", "line 2: breaks off in the middle"),
            ("{\"type\":\"use\",\"registry\":\"r\"}", "line 1: is not the record"),
            ("{\"type\":\"use\",\"registry\":\"r/../x\",\"repository\":\"a\"}", "line 1: \"r/../x\" is not a registry"),
            ("{\"type\":\"use\",\"registry\":\"r\",\"repository\":\"../a\"}", "line 1: \"../a\" is not a repository"),
        ] {
            let error = names(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
