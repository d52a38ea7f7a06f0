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
    let said = Answered::read(answer.status, &answer.body, &answer.secrets);
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

#[cfg(test)]
mod tests {
    use super::super::testing::{Reply, Server, fault, hang_up, reply, repository, tag};
    use super::*;

    async fn delete_answered(answer: Reply) -> Result<Deletion, Error> {
        let server = Server::start(move |_| answer.clone());
        delete(&server.registry(), &repository("a"), &tag("1")).await
    }

    #[tokio::test]
    async fn deletions() {
        assert_eq!(delete_answered(reply(202, "")).await.unwrap(), Deletion::Accepted);
        assert_eq!(delete_answered(reply(200, "{}")).await.unwrap(), Deletion::Accepted);
        assert_eq!(delete_answered(fault(404, "MANIFEST_UNKNOWN")).await.unwrap(), Deletion::Absent);
        for answer in [
            reply(404, "404 page not found\n"),
            fault(404, "NAME_UNKNOWN"),
            fault(202, "UNKNOWN"),
            fault(403, "DENIED"),
            fault(409, "CONFLICT"),
            reply(301, "").header("Location", "/elsewhere"),
            reply(307, "").header("Location", "/elsewhere"),
        ] {
            let error = delete_answered(answer.clone()).await.unwrap_err();
            assert!(!error.is_tag_deletion_unsupported(), "{answer:?}: {error}");
        }
        for answer in [fault(400, "DIGEST_INVALID"), fault(405, "UNSUPPORTED"), reply(405, "")] {
            assert!(delete_answered(answer).await.unwrap_err().is_tag_deletion_unsupported());
        }
    }

    #[tokio::test]
    async fn a_deletion_is_not_redirected() {
        for status in [301, 302, 303, 307, 308] {
            let server = Server::start(move |request| match request.path.as_str() {
                "/elsewhere" => reply(202, ""),
                _ => reply(status, "").header("Location", "/elsewhere"),
            });
            let error = delete(&server.registry(), &repository("a"), &tag("1")).await.unwrap_err();
            assert!(error.to_string().contains("redirects to 127.0.0.1, which is not followed"), "{error}");
            assert_eq!(server.lines(), ["DELETE /v2/a/manifests/1"]);
        }
    }

    #[tokio::test]
    async fn a_deletion_whose_answer_was_lost_is_found_done() {
        let first = std::sync::atomic::AtomicBool::new(true);
        let server = Server::start(move |_| match first.swap(false, std::sync::atomic::Ordering::SeqCst) {
            true => hang_up(),
            false => fault(404, "MANIFEST_UNKNOWN"),
        });
        assert_eq!(delete(&server.registry(), &repository("a"), &tag("1")).await.unwrap(), Deletion::Absent);
        assert_eq!(server.lines(), ["DELETE /v2/a/manifests/1"; 2]);
    }

    #[tokio::test]
    async fn whether_deletion_is_enabled() {
        for (answer, expected) in [
            (fault(404, "MANIFEST_UNKNOWN"), Some(Enabled::Enabled)),
            (fault(405, "UNSUPPORTED"), Some(Enabled::Disabled)),
            (reply(405, "x"), Some(Enabled::Disabled)),
            (reply(404, "404 page not found"), None),
            (fault(403, "DENIED"), None),
        ] {
            let server = Server::start(move |_| answer.clone());
            assert_eq!(deletion_enabled(&server.registry(), &repository("a")).await.ok(), expected);
            assert_eq!(server.lines(), [format!("DELETE /v2/a/manifests/sha256:{}", "0".repeat(64))]);
        }
    }

    #[tokio::test]
    async fn manifests_are_put_byte_for_byte() {
        let server = Server::start(|_| reply(201, ""));
        let bytes = b"{ \"not\": \"utf-8 \xff\" }";
        let digest = Target::Digest(Digest::of(bytes));
        for target in [tag("1"), digest.clone()] {
            put_manifest(&server.registry(), &repository("a/b"), &target, "application/x", bytes).await.unwrap();
            let requests = server.requests();
            let request = requests.last().unwrap();
            assert_eq!(request.line(), format!("PUT /v2/a/b/manifests/{target}"));
            assert_eq!((request.body.as_slice(), request.header("content-type")), (bytes.as_slice(), Some("application/x")));
        }
        let sent = server.requests().len();
        for (target, media_type, bytes) in
            [(&digest, "application/x", b"other".to_vec()), (&tag("1"), "a\nb", vec![]), (&tag("1"), "a", vec![0; 5 << 20])]
        {
            assert!(put_manifest(&server.registry(), &repository("a"), target, media_type, &bytes).await.is_err());
        }
        assert_eq!(server.requests().len(), sent);
    }
}
