//! Every verb that changes a registry (distribution-spec, "Content Management" and "Pushing Manifests").
//!
//! They are here and not on [`Registry`], so that who changes a registry has to name this module.

use reqwest::Method;
use reqwest::header::{self, HeaderValue};

use super::auth::Access;
use super::error::{Answered, Cause, Error};
use super::{Registry, manifests};
use crate::digest::Digest;
use crate::reference::{Repository, Target};

/// What became of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// The registry says that it has done it.
    Accepted,
    /// There is no such manifest: somebody was faster, or an earlier try of this request was.
    Absent,
}

/// Whether a registry deletes manifests at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enabled {
    /// It does.
    Enabled,
    /// It is told not to, or is a cache of another.
    Disabled,
}

/// Deletes a manifest by its digest, with all of its tags, or a tag alone, where the registry can do that:
/// [`Error::is_tag_deletion_unsupported`] says that it cannot.
///
/// A 404 is success only where the registry itself says that there is no such manifest. One in other words is an endpoint that is
/// missing, and an error.
pub async fn delete(registry: &Registry, repository: &Repository, target: &Target) -> Result<Deletion, Error> {
    let transport = &registry.transport;
    let url = transport.repository_url(repository, &["manifests", &target.to_string()]);
    let answer = transport.send(&transport.ask(Method::DELETE, url, Access::Delete(repository), 64 << 10)).await?;
    if !answer.status.is_success() {
        let error = answer.error();
        return if error.is_manifest_unknown() { Ok(Deletion::Absent) } else { Err(error) };
    }
    // Distribution 3 says 202 before it finds that it could not take away all tags, and then says that too.
    let said = Answered::read(answer.status, &answer.body);
    if said.reported.is_empty() { Ok(Deletion::Accepted) } else { Err(Error::of_request(&answer.method, &answer.url, Cause::Answer(said))) }
}

/// Finds out whether deletion is enabled, by deleting the digest of all zeros, which no content has.
pub async fn deletion_enabled(registry: &Registry, repository: &Repository) -> Result<Enabled, Error> {
    let nothing = Target::Digest(Digest::Sha256([0; 32]));
    match delete(registry, repository, &nothing).await {
        Ok(_) => Ok(Enabled::Enabled),
        Err(error) if error.is_unsupported() => Ok(Enabled::Disabled),
        Err(error) => Err(error),
    }
}

/// Puts a manifest, byte for byte, under a tag or under its digest alone.
pub async fn put_manifest(
    registry: &Registry,
    repository: &Repository,
    target: &Target,
    media_type: &str,
    bytes: &[u8],
) -> Result<(), Error> {
    let transport = &registry.transport;
    let url = transport.repository_url(repository, &["manifests", &target.to_string()]);
    let mut ask = transport.ask(Method::PUT, url, Access::Push(repository), 64 << 10);
    let unfit = |text: &str| Error::of_request(&ask.method, &ask.url, Cause::Setup(text.to_owned()));
    if matches!(target, Target::Digest(digest) if !digest.matches(bytes)) {
        return Err(unfit("the manifest's bytes do not have the digest that they would be put under"));
    }
    if bytes.len() > manifests::LIMIT {
        return Err(unfit("the manifest is larger than the 4 MiB that registries take"));
    }
    let media_type = HeaderValue::from_str(media_type).map_err(|_| unfit("the media type cannot be sent"))?;
    ask.headers.push((header::CONTENT_TYPE, media_type));
    ask.body = Some(bytes.to_vec());
    transport.send(&ask).await?.success().map(drop)
}
