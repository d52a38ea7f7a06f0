//! What is made of the findings: a folder, a document for GitLab, a line for a monitoring system.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tests::*;

use super::{check, store};

const COLUMNS: &str = "severity,problem,registry,repository,tag,digest,inUse,usedBy,detail";

/// The folders below one, sorted.
fn folders(reports: &Path) -> Vec<std::path::PathBuf> {
    let mut found: Vec<_> = fs::read_dir(reports).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[test]
fn a_folder_for_each_check() {
    let folder = temporary();
    let tree = Tree::new(&folder.path().join("root"));
    let pushed = Image::new().layer("x").tag("v1").push_by(&tree, "team/app");
    let reports = folder.path().join("reports/daily");
    let by =
        |words: &[&str]| store(tree.root(), &["--report", reports.to_str().unwrap(), "--fail-on", "never"]).args(words).run().succeeds();
    by(&[]).stderr_has("the report is in");
    let [first] = folders(&reports).try_into().unwrap();
    let read = |folder: &Path, name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(read(&first, "findings.json"), "[\n]\n");
    assert_eq!(read(&first, "findings.csv"), format!("{COLUMNS}\n"));
    assert_eq!(read(&first, "summary.txt"), "reg-check: 1 image, 1 healthy\n");
    let name = first.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("reg-check-2") && name.ends_with('Z'), "{name}");

    tree.storage().remove_blob(&pushed.layers[0]);
    let inventory = Inventory::of("prod").uses("r.example.com", "team/app", "v1").uses("r.example.com", "team/app", "v1").write();
    let ran = by(&["--in-use", inventory.path().to_str().unwrap(), "--registry", "r.example.com"]);
    // The records are on standard output as ever.
    let finding = ran.the("finding");
    let last = folders(&reports).pop().unwrap();
    let array: Value = serde_json::from_str(&read(&last, "findings.json")).unwrap();
    assert_eq!(array, Value::from(vec![finding.clone()]));
    let row = format!(
        "error,blob-missing,r.example.com,team/app,v1,{},true,{},{}\n",
        pushed.layers[0],
        "prod/shop/Deployment/app0 (pod app0-0); prod/shop/Deployment/app1 (pod app1-0)",
        finding["detail"].as_str().unwrap()
    );
    assert_eq!(read(&last, "findings.csv"), format!("{COLUMNS}\n{row}"));
    assert!(read(&last, "summary.txt").contains("1 error"), "{}", read(&last, "summary.txt"));
}

#[test]
fn a_report_that_cannot_be_written_is_not_there() {
    let folder = temporary();
    let tree = Tree::new(&folder.path().join("root"));
    for n in 0..200 {
        tree.storage().remove_blob(&Image::new().layer(&format!("x{n}")).tag(&format!("v{n}")).push_by(&tree, "team/app").layers[0]);
    }
    let reports = folder.path().join("reports");
    let tool = store(tree.root(), &["--format", "nagios", "--report", reports.to_str().unwrap()]).disk_full_after(20);
    tool.run().status(3).stdout_has("REG-CHECK UNKNOWN").stderr_has("nothing was left there");
    assert_eq!(folders(&reports), [] as [std::path::PathBuf; 0]);
    // What cannot be written at all is said before anything is looked at.
    fs::write(folder.path().join("file"), "").unwrap();
    let file = folder.path().join("file");
    store(tree.root(), &["--report", file.to_str().unwrap()]).run().status(2).stderr_has("--report").stdout_is_empty();
    let state = folder.path().join("none/state.json");
    store(tree.root(), &["--depth", "content", "--since", state.to_str().unwrap()]).run().status(2).stderr_has("--since").stdout_is_empty();
}

#[test]
fn gitlab_is_given_a_case_for_each_image() {
    let folder = temporary();
    let tree = Tree::new(folder.path());
    let pushed = Image::new().layer("x").tag("v1").tag("latest").push_by(&tree, "team/app");
    Image::new().layer("y").tag("v2").push_by(&tree, "team/app");
    tree.upload("team/app", 3, b"x");
    tree.age_everything(3);
    tree.storage().remove_blob(&pushed.layers[0]);
    let ran = store(tree.root(), &["--format", "junit"]).run().status(1);
    let text = ran.stdout();
    assert!(text.starts_with("<?xml"), "{text}");
    assert!(text.contains(r#"<testsuite name="team/app""#) && text.contains(r#"failures="2""#), "{text}");
    for case in ["v1", "latest", "v2"] {
        assert!(text.contains(&format!("<testcase name=\"{case}\" classname=\"team/app\"")), "{case}: {text}");
    }
    assert!(text.contains("type=\"blob-missing\"") && text.contains("system-out") && text.contains("upload"), "{text}");
    // Whoever reads XML can read it.
    let checked = shell("python3 -c 'import sys, xml.dom.minidom as x; x.parseString(sys.stdin.buffer.read())'").stdin(text).run();
    assert_eq!(checked.code(), Some(0), "{checked}");
    let warned = store(tree.root(), &["--format", "junit", "--fail-on", "never"]).run().succeeds();
    assert!(warned.stdout().contains("failures=\"0\""), "{warned}");
}

#[test]
fn a_monitoring_system_is_given_a_line_and_a_status() {
    let folder = temporary();
    let tree = Tree::new(folder.path());
    let pushed = Image::new().layer("x").tag("v1").push_by(&tree, "team/app");
    let ran = |words: &[&str], status: i32| {
        let ran = store(tree.root(), &["--format", "nagios"]).args(words).run().status(status);
        let text = ran.stdout();
        assert_eq!(text.lines().count(), 1, "{text}");
        text
    };
    assert_eq!(
        ran(&[], 0),
        "REG-CHECK OK - 1 image, nothing is wrong | images=1;;;0 healthy=1;;;0 errors=0;;0;0 warnings=0;0;;0 unknown=0;;;0\n"
    );
    tree.storage().remove_blob(&fixtures::Place::put_blob(&tree, "team/app", b"gone"));
    assert!(ran(&[], 1).starts_with("REG-CHECK WARNING - 1 warning in 1 image: team/app@sha256:"));
    tree.storage().remove_blob(&pushed.layers[0]);
    let text = ran(&["--fail-on", "never"], 2);
    assert!(text.starts_with("REG-CHECK CRITICAL - 1 error, 1 warning in 1 image: team/app:v1: the layer of"), "{text}");
    let none = folder.path().join("none");
    let ran = store(&none, &["--format", "nagios"]).run().status(3).stderr_has("rootdirectory");
    assert!(ran.stdout().starts_with("REG-CHECK UNKNOWN - "), "{ran}");
    // A mistyped command is no broken registry.
    for words in [&["--format", "nagios", "--depht"][..], &["--format=nagios", "--depth", "deep"]] {
        let ran = store(&none, words).run().status(3).stderr_has("--dep");
        assert!(ran.stdout().starts_with("REG-CHECK UNKNOWN - ") && ran.stdout().lines().count() == 1, "{ran}");
    }
    store(&none, &["--depht", "--", "--format", "nagios"]).run().status(2);
    store(&none, &["--format", "yaml"]).run().status(2).stderr_has("junit").stderr_has("nagios");
}

#[test]
fn a_registry_that_does_not_answer_is_in_the_reports_too() {
    let nobody = ScriptedServer::start().host().to_owned();
    let reports = temporary();
    let words = ["--format", "junit", "--report", reports.path().to_str().unwrap()];
    let ran = check(&nobody).args(words).run().status(2).stderr_has("no registry answered");
    assert!(ran.stdout().contains("<skipped") && ran.stdout().contains("type=\"not-asked\""), "{ran}");
    let [folder] = folders(reports.path()).try_into().unwrap();
    assert!(fs::read_to_string(folder.join("findings.json")).unwrap().contains("not-asked"));
    let ran = check(&nobody).args(["--format", "nagios"]).run().status(3);
    assert!(ran.stdout().starts_with("REG-CHECK UNKNOWN - nothing was checked"), "{ran}");
}
