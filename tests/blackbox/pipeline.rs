//! The tools together, on real registries, with skopeo as the client that nobody here wrote.
