//! The journal: on the disk before the request, never lost, never thrown away.

use super::*;

/// How many deletions a registry was asked for.
fn asked(proxy: &Proxy) -> usize {
    proxy.count(deletes)
}

#[test]
fn a_journal_that_is_thrown_away_is_refused() {
    let registry = Registry::start();
    let old = image(&registry, "team/app", "1");
    let plan = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(plan.path(), Plan::of(registry.host()).deletes(&old).jsonl()).unwrap();
    let plan = plan.path().display();
    for script in [
        format!("reg-delete --yes < {plan} > /dev/null"),
        format!("reg-delete --yes < {plan} >&-"),
        format!("mkdir d && ln -s /dev/null d/j && reg-delete --yes < {plan} > d/j"),
        format!("reg-delete --yes --journal /dev/null < {plan}"),
    ] {
        shell(&script).run().status(2).stderr_has("null device").stderr_has("--journal");
        assert!(is_there(&registry, &old), "{script}");
    }
    shell(&format!("reg-delete --yes --format table < {plan}")).run().status(2).stderr_has("a table is no journal");
    shell(&format!("script -qec 'reg-delete --yes < {plan}' typescript")).run().status(2).stdout_has("is a terminal");
    assert!(is_there(&registry, &old));
    // A dry run has nothing to lose, and with a journal elsewhere standard output is free.
    shell(&format!("reg-delete < {plan} > /dev/null")).run().succeeds();
    shell(&format!("reg-delete --yes --journal j.jsonl < {plan} > /dev/null && grep -c started j.jsonl")).run().succeeds().stdout_has("1");
    assert!(!is_there(&registry, &old));
}

#[test]
fn a_journal_file_is_only_appended_to_and_standard_output_has_the_results() {
    let registry = Registry::start();
    let folder = tempfile::TempDir::new().unwrap();
    let journal = folder.path().join("journal.jsonl");
    std::fs::write(&journal, "{\"half\":").unwrap();
    for tag in ["1", "2"] {
        let old = image(&registry, "team/app", tag);
        let ran = carry_out(&Plan::of(registry.host()).deletes(&old)).arg("--journal").arg(&journal).run().succeeds();
        assert_eq!(steps(&ran, &old), ["deleted"]);
        assert_eq!(ran.the("trailer")["records"], 1);
        assert!(!ran.stdout().contains("\"data\""));
    }
    let text = std::fs::read_to_string(&journal).unwrap();
    assert!(text.starts_with("{\"half\":\n{\"type\":\"header\""), "a run begins with a line feed: {text}");
    assert_eq!(text.matches("\"result\":\"started\"").count(), 2);
    // Both runs are in it, and a torn line in front of them.
    let ran = undo(text).run().succeeds().stderr_has("1 line is no JSON, the first is line 1");
    assert_eq!(ran.the("trailer")["restored"], 2);
}

#[test]
fn a_folder_gets_a_file_for_each_run() {
    let registry = Registry::start();
    let folder = tempfile::TempDir::new().unwrap();
    for tag in ["1", "2"] {
        let old = image(&registry, "team/app", tag);
        carry_out(&Plan::of(registry.host()).deletes(&old)).arg("--journal").arg(folder.path()).run().succeeds();
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    shell(&format!("cat {}/*.jsonl | reg-delete --undo --yes", folder.path().display())).run().succeeds();
    assert_eq!(registry.client().tags("team/app"), ["1", "2"]);
    let old = image(&registry, "team/app", "3");
    let plan = Plan::of(registry.host()).deletes(&old);
    carry_out(&plan).args(["--journal", "nowhere/journal.jsonl"]).run().status(2).stderr_has("opening the journal nowhere/journal.jsonl");
    assert!(is_there(&registry, &old));
}

#[test]
fn no_line_no_request() {
    let registry = Registry::start();
    let images: Vec<Pushed> = (0..20)
        .map(|n| Image::new().layer(&n.to_string()).annotation("filler", &"x".repeat(600)).tag(&n.to_string()).push(&registry, "team/app"))
        .collect();
    let proxy = Proxy::before(&registry);
    let plan = images.iter().fold(Plan::of(proxy.host()), Plan::deletes);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), plan.jsonl()).unwrap();
    // Full from the first byte on.
    shell(&format!("reg-delete --yes < {} > /dev/full", file.path().display())).run().status(2).stderr_has("No space left on device");
    for device in ["/dev/full", "/dev/zero", "/dev/tty"] {
        carry_out(&plan).args(["--journal", device]).run().status(2).stderr_has("a device or a socket");
    }
    assert_eq!(asked(&proxy), 0);
    // Full in the middle: what is gone is in the journal, whole, and the rest was not asked for.
    let folder = tempfile::TempDir::new().unwrap();
    let journal = folder.path().join("journal.jsonl");
    carry_out(&plan).arg("--journal").arg(&journal).disk_full_after(12).run().status(2).stderr_has("File too large");
    let gone: Vec<&Pushed> = images.iter().filter(|pushed| !is_there(&registry, pushed)).collect();
    assert!(!gone.is_empty() && gone.len() < 20, "{}", gone.len());
    assert_eq!(asked(&proxy), gone.len());
    let text = std::fs::read_to_string(&journal).unwrap();
    undo(text).run().succeeds();
    assert!(images.iter().all(|pushed| is_there(&registry, pushed)));
    assert_eq!(registry.client().tags("team/app").len(), 20);
}

#[test]
fn a_reader_that_goes_away_stops_it_at_once() {
    let registry = Registry::start();
    let images: Vec<Pushed> = (0..5).map(|n| image(&registry, "team/app", &n.to_string())).collect();
    let proxy = Proxy::before(&registry);
    let plan = images.iter().fold(Plan::of(proxy.host()), Plan::deletes);
    let gate = proxy.hold_after(deletes);
    let mut running = carry_out(&plan).spawn();
    running.close_stdin();
    while !running.read_line().expect("the journal goes on").contains("started") {}
    gate.wait();
    running.close_stdout();
    gate.open();
    running.wait().status(2).stderr_has("the reader of standard output went away: stopped at once");
    assert_eq!(asked(&proxy), 1);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), plan.jsonl()).unwrap();
    let ran = shell(&format!("set -o pipefail; reg-delete --yes < {} | head -1", file.path().display())).run().status(2);
    assert_eq!(ran.stdout(), "\n", "a run begins with a line feed");
    assert!(images.iter().filter(|pushed| is_there(&registry, pushed)).count() >= 3);
}

#[test]
fn a_manifest_that_is_not_utf_8_comes_back_byte_for_byte() {
    let registry = Registry::start();
    let good = Image::new().layer("a").annotation("note", "PLACE").push(&registry, "team/app");
    let place = good.bytes.windows(5).position(|bytes| bytes == b"PLACE").unwrap();
    let mut bytes = good.bytes.clone();
    bytes[place..place + 5].copy_from_slice(b"\xff\xfe\x80\xc3(");
    let digest = registry.client().put_manifest("team/app", "odd", &good.media_type, &bytes);
    let mut odd = good;
    (odd.digest, odd.tags) = (digest, vec!["odd".into()]);
    let mut plan = Plan::of(registry.host()).deletes(&odd);
    plan.records[0]["digest"] = json!(odd.digest);
    let ran = carry_out(&plan).run().succeeds();
    assert!(!is_there(&registry, &odd));
    assert_eq!(data(&ran.records_of("deletion")[0]), bytes);
    undo(ran.stdout()).run().succeeds();
    assert_eq!(registry.client().manifest("team/app", "odd").body, bytes);
}

#[test]
fn two_runs_do_not_write_into_one_file() {
    let registry = Registry::start();
    let (one, two) = (image(&registry, "team/app", "1"), image(&registry, "team/other", "1"));
    let proxy = Proxy::before(&registry);
    let folder = tempfile::TempDir::new().unwrap();
    let journal = folder.path().join("journal.jsonl");
    let gate = proxy.hold_before(deletes);
    let mut running = carry_out(&Plan::of(proxy.host()).deletes(&one)).arg("--journal").arg(&journal).spawn();
    running.close_stdin();
    gate.wait();
    carry_out(&Plan::of(proxy.host()).deletes(&two))
        .arg("--journal")
        .arg(&journal)
        .run()
        .status(2)
        .stderr_has("another run is writing the journal");
    gate.open();
    running.wait().succeeds();
    assert!(!is_there(&registry, &one) && is_there(&registry, &two));
}
