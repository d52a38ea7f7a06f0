//! Blobs: `GET /v2/<name>/blobs/<digest>` (distribution-spec, "Pulling blobs").

use reqwest::Method;
use reqwest::header::{self, HeaderValue};

use super::auth::Access;
use super::error::{Error, Trouble};
use super::transport::{Read, Transport};
use crate::digest::Digest;
use crate::reference::Repository;

pub(super) async fn get(transport: &Transport, repository: &Repository, digest: &Digest, limit: usize) -> Result<Vec<u8>, Error> {
    let url = transport.repository_url(repository, &["blobs", &digest.to_string()]);
    let answer = transport.send(&transport.ask(Method::GET, url, Access::Pull(repository), limit)).await?.success()?;
    if digest.matches(&answer.body) {
        Ok(answer.body)
    } else {
        Err(answer.content_error(format!("the registry's content does not match its digest {digest}: its storage is damaged")))
    }
}

/// Whether at least one byte of a blob can be read.
///
/// A registry with an in-memory cache of descriptors goes on answering 200 to HEAD, and the beginning of an answer to GET, for blobs
/// whose files are gone; only the body tells. The empty blob has no byte to read: there, the answer must do.
pub(super) async fn first_byte(transport: &Transport, repository: &Repository, digest: &Digest) -> Result<bool, Error> {
    let empty = digest.matches(b"");
    let url = transport.repository_url(repository, &["blobs", &digest.to_string()]);
    let mut ask = transport.ask(Method::GET, url, Access::Pull(repository), 0);
    ask.read = Read::Beginning;
    if !empty {
        ask.headers.push((header::RANGE, HeaderValue::from_static("bytes=0-0")));
        // A body that breaks off at once is the answer here, and is asked for once more to be sure.
        ask.tries = 3;
    }
    match transport.send(&ask).await {
        Ok(answer) if answer.status.is_success() => Ok(empty || !answer.body.is_empty()),
        // A range that is not there, of a blob that is not empty: there is nothing of it.
        Ok(answer) if answer.status.as_u16() == 416 => Ok(false),
        Ok(answer) if answer.status.as_u16() == 404 => {
            let error = answer.error();
            // What stores blobs elsewhere answers in its own words, not the registry's.
            if answer.foreign || error.is_blob_unknown() || error.is_name_unknown() { Ok(false) } else { Err(error) }
        }
        Ok(answer) => Err(answer.error()),
        Err(error) if matches!(error.trouble(), Some(Trouble::CutBody(_))) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Reply, Server, fault, reply, repository};
    use super::*;

    async fn first(answer: Reply, content: &[u8]) -> Result<bool, Error> {
        let server = Server::start(move |_| answer.clone());
        server.registry().blob_first_byte(&repository("a"), &Digest::of(content)).await
    }

    #[tokio::test]
    async fn blobs_are_verified_and_limited() {
        let server = Server::start(|_| reply(200, "content"));
        let get = async |content: &[u8], limit| server.registry().blob(&repository("a/b"), &Digest::of(content), limit).await;
        assert_eq!(get(b"content", 7).await.unwrap(), b"content");
        assert!(get(b"content", 6).await.unwrap_err().to_string().contains("more than the 6 bytes"));
        assert!(get(b"other", 100).await.unwrap_err().to_string().contains("does not match its digest"));
        assert_eq!(server.lines()[0], format!("GET /v2/a/b/blobs/{}", Digest::of(b"content")));
    }

    #[tokio::test]
    async fn only_a_byte_proves_that_a_blob_is_there() {
        for (answer, there) in [
            (reply(206, "c"), true),
            (reply(200, "content"), true),
            (reply(200, vec![0; 1 << 16]).endless(), true),
            (reply(206, "c").cut(0), false),
            (reply(200, "content").cut(0), false),
            (reply(200, ""), false),
            (fault(404, "BLOB_UNKNOWN"), false),
            (fault(404, "NAME_UNKNOWN"), false),
            (reply(416, ""), false),
        ] {
            assert_eq!(first(answer.clone(), b"content").await.unwrap(), there, "{answer:?}");
        }
        for answer in [reply(404, "404 page not found"), fault(403, "DENIED"), reply(500, "")] {
            assert!(first(answer.clone(), b"content").await.is_err(), "{answer:?}");
        }
    }

    #[tokio::test]
    async fn the_empty_blob_has_no_byte_and_is_asked_for_whole() {
        let server = Server::start(|request| if request.header("range").is_some() { reply(416, "") } else { reply(200, "") });
        assert!(server.registry().blob_first_byte(&repository("a"), &Digest::of(b"")).await.unwrap());
        assert!(!first(fault(404, "BLOB_UNKNOWN"), b"").await.unwrap());
    }
}
