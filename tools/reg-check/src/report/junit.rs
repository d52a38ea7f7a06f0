//! `--format junit`: a suite for each repository and a case for each image, as GitLab shows them in a merge request. Pure.

use std::collections::BTreeMap;

use common::record::{Finding, Severity};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

/// The report as a document.
///
/// `fails` says which severities fail a case; what could not be found out is skipped where it does not fail, and what is less is told
/// in the case's output. Healthy images are cases too, so `findings` are all.
pub(crate) fn document(findings: &[Finding], fails: impl Fn(Severity) -> bool) -> anyhow::Result<String> {
    let mut suites: BTreeMap<String, BTreeMap<String, Vec<&Finding>>> = BTreeMap::new();
    for finding in findings {
        let (suite, cases) = names(finding);
        for case in cases {
            suites.entry(suite.clone()).or_default().entry(case).or_default().push(finding);
        }
    }
    let mut report = Report::new("reg-check");
    for (name, cases) in suites {
        let mut suite = TestSuite::new(name.clone());
        for (case, findings) in cases {
            suite.add_test_case(test_case(&name, case, &findings, &fails));
        }
        report.add_test_suite(suite);
    }
    Ok(report.to_string()?)
}

/// The repository, and the images in it: all tags that a fault is of.
fn names(finding: &Finding) -> (String, Vec<String>) {
    let parts = [finding.registry.as_deref(), finding.repository.as_deref()];
    let suite = parts.into_iter().flatten().collect::<Vec<_>>().join("/");
    let cases = match (&finding.tag, &finding.digest, &finding.path) {
        _ if !finding.tags.is_empty() => finding.tags.clone(),
        (Some(tag), ..) => vec![tag.clone()],
        (None, Some(digest), _) => vec![digest.to_string()],
        (None, None, Some(path)) => vec![path.clone()],
        (None, None, None) => vec!["repository".to_owned()],
    };
    (if suite.is_empty() { "storage".to_owned() } else { suite }, cases)
}

fn test_case(suite: &str, name: String, findings: &[&Finding], fails: &impl Fn(Severity) -> bool) -> TestCase {
    let failed: Vec<&&Finding> = findings.iter().filter(|finding| fails(finding.severity)).collect();
    let unknown: Vec<&&Finding> = findings.iter().filter(|finding| finding.severity == Severity::Unknown).collect();
    let status = |kind: Option<NonSuccessKind>, told: &[&&Finding]| {
        let mut status = kind.map_or_else(TestCaseStatus::skipped, TestCaseStatus::non_success);
        let message: Vec<&str> = told.iter().map(|finding| finding.detail.as_str()).collect();
        let lines: Vec<String> = told.iter().map(|finding| line(finding)).collect();
        status.set_message(message.join("; ")).set_type(told.first().map_or("", |finding| finding.problem.name()));
        status.set_description(lines.join("\n"));
        status
    };
    let status = match (failed.as_slice(), unknown.as_slice()) {
        ([], []) => TestCaseStatus::success(),
        ([], unknown) => status(None, unknown),
        (failed, _) => status(Some(NonSuccessKind::Failure), failed),
    };
    let mut case = TestCase::new(name, status);
    case.set_classname(suite);
    let less: Vec<String> = findings
        .iter()
        .filter(|finding| !fails(finding.severity) && !matches!(finding.severity, Severity::Unknown | Severity::Ok))
        .map(|finding| line(finding))
        .collect();
    if !less.is_empty() {
        case.set_system_out(less.join("\n"));
    }
    case
}

/// A finding in a line.
fn line(finding: &Finding) -> String {
    let mut text = format!("{}: {}: {}", finding.severity.name(), finding.problem.name(), finding.detail);
    let digest = finding.digest.as_ref().map(ToString::to_string);
    for (name, value) in [("digest", digest.as_deref()), ("platform", finding.platform.as_deref()), ("path", finding.path.as_deref())] {
        if let Some(value) = value {
            text.push_str(&format!(", {name} {value}"));
        }
    }
    if !finding.used_by.is_empty() {
        text.push_str(&format!(", used by {}", finding.used_by.join("; ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_case_for_each_image() {
        let finding = |tag: &str, problem: &str, severity: &str, detail: &str| -> Finding {
            serde_json::from_value(
                json!({"type": "finding", "registry": "r", "repository": "app", "tag": tag, "digest": null, "problem": problem,
                "severity": severity, "detail": detail, "inUse": null, "usedBy": ["prod/shop/Deployment/web"]}),
            )
            .unwrap()
        };
        let findings = [
            finding("v1", "none", "ok", "it is well"),
            finding("v2", "blob-missing", "error", "a <layer> & more"),
            finding("v2", "manifest-invalid", "warning", "a warning"),
            finding("v3", "not-asked", "unknown", "status 429"),
        ];
        let text = document(&findings, |severity| severity == Severity::Error).unwrap();
        assert!(text.contains(r#"tests="3""#) && text.contains(r#"failures="1""#) && text.contains("<skipped"), "{text}");
        assert!(text.contains("a &lt;layer&gt; &amp; more") && text.contains("warning: manifest-invalid: a warning"), "{text}");
        assert!(text.contains(r#"<testsuite name="r/app""#) && text.contains(r#"<testcase name="v1" classname="r/app""#), "{text}");
        let text = document(&findings, |severity| severity >= Severity::Unknown).unwrap();
        assert!(text.contains(r#"failures="2""#), "{text}");
        let empty = document(&[], |_| true).unwrap();
        assert!(empty.contains(r#"tests="0""#), "{empty}");
    }
}
