//! Fills an empty registry on the loopback with the sample repositories: `cargo run --example fill -- 127.0.0.1:PORT`.

fn main() {
    let host = std::env::args().nth(1).unwrap_or_default();
    assert!(!host.is_empty(), "which registry? fill 127.0.0.1:PORT");
    tests::sample::fill(&tests::Client::of(&host));
}
