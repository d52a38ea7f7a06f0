//! `k8s-images`: manifests in, `use` records out.
