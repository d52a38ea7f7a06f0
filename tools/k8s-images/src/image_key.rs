//! Which keys of a custom resource name an image.
//!
//! The one rule by which a resource's schema is asked whether it can name images ([`crate::cluster`]), and by which they are found in
//! it ([`crate::object`]): if the two differed, a resource would be read in vain, or not at all. Pure.
//!
//! Custom resources have no rule of their own for this. In practice an image is a text called `image`, wherever it stands: in a
//! container of a pod template, in `steps` and `sidecars` (Tekton), under `container` and `script` (Argo Workflows), `containerDisk`
//! (KubeVirt), `cephVersion` (Rook), `kafka` (Strimzi) or the spec itself (the Prometheus operator). Others say whose image it is, or
//! that it is the name of one: `dockerImage` (Zalando's Postgres), `initImage` (Percona), `imageName` (CloudNativePG).

/// Whether the text under a key is an image, if it is a reference at all.
pub(crate) fn is_image(key: &str) -> bool {
    key == "image" || is_named_otherwise(key)
}

/// Whether a key names an image by a longer word than `image`. What stands there may be another thing's image, a virtual machine's
/// disk for one, so it must look like a reference: a lone word does not.
pub(crate) fn is_named_otherwise(key: &str) -> bool {
    key == "imageName" || key.ends_with("ImageName") || key.ends_with("Image")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_name_an_image() {
        for key in ["image", "imageName", "dockerImage", "initImage", "postgresImageName"] {
            assert!(is_image(key), "{key}");
        }
        for key in ["images", "imageID", "imagePullPolicy", "imagePullSecrets", "Image_", "name", "imagename", "baseimage", ""] {
            assert!(!is_image(key), "{key}");
        }
    }
}
