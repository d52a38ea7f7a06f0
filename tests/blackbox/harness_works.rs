//! The harness itself: what the other tests lean on holds.

use tests::*;

#[test]
fn an_image_is_pushed_and_pulled() {
    let registry = Registry::start();
    let app = Image::new()
        .layer("a")
        .layer("shared")
        .tag("v1")
        .tag("latest")
        .push(&registry, "team/app");
    assert_eq!(registry.client().tags("team/app"), ["latest", "v1"]);
    assert_eq!(
        registry.client().head("team/app", "v1").digest(),
        app.digest
    );
    skopeo::pull(&registry, "team/app:v1").unwrap();
    skopeo::pull(&registry, &app.by_digest()).unwrap();
    registry
        .client()
        .delete_manifest("team/app", &app.digest)
        .expect(202, "deleting");
    skopeo::pull(&registry, "team/app:v1").unwrap_err();
}

#[test]
fn a_tool_runs_in_a_clean_environment() {
    let ran = Tool::new("reg-list").arg("--version").run().succeeds();
    assert_eq!(ran.code(), Some(0));
    let ran = shell("env; cat; echo oops >&2; exit 3")
        .stdin("in\n")
        .env("SEEN", "yes")
        .run()
        .status(3)
        .stderr_has("oops");
    assert!(
        ran.stdout().contains("SEEN=yes") && ran.stdout().ends_with("in\n"),
        "{ran}"
    );
    assert!(!ran.stdout().contains("CARGO"), "{ran}");
}
