//! Blobs: `GET /v2/<name>/blobs/<digest>` (distribution-spec, "Pulling blobs").

use std::fs::File;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{self, HeaderValue};

use super::auth::Access;
use super::error::{Cause, Error, Trouble};
use super::transport::{Algorithm, Answer, Ask, Read, TRIES, Transport};
use crate::digest::Digest;
use crate::reference::Repository;

/// What a registry says of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It has one of this size, where it says that.
    There(Option<u64>),
    /// It has none.
    Missing,
}

/// What came of a blob that was read as far as it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashed {
    /// How many bytes came.
    pub size: u64,
    /// What they hash to, by the algorithm of the digest asked for.
    pub digest: Digest,
    /// Whether the connection ended there and more was to come: at each try in the same place, so that the registry has no more.
    pub is_cut: bool,
}

/// How often what is only a first question is asked.
const FEW: u32 = 3;

/// How often a blob is gone on with where it broke off.
const BREAKS: u32 = 100;

/// How long a blob may take as long as its bytes do not stop coming.
const A_DAY: Duration = Duration::from_secs(24 * 3600);

/// Reads a blob as it comes, whatever it hashes to; a page of a login is none.
pub(super) async fn unverified(transport: &Transport, repository: &Repository, digest: &Digest, limit: usize) -> Result<Vec<u8>, Error> {
    let answer = answer(transport, repository, digest, limit).await?;
    if answer.is_page() && !digest.matches(&answer.body) { Err(answer.page_error()) } else { Ok(answer.body) }
}

async fn answer(transport: &Transport, repository: &Repository, digest: &Digest, limit: usize) -> Result<Answer, Error> {
    let url = transport.repository_url(repository, &["blobs", &digest.to_string()]);
    let answer = transport.send(&transport.ask(Method::GET, url, Access::Pull(repository), limit)).await?;
    if is_gone_elsewhere(&answer) { Err(answer.error().of_missing_blob()) } else { answer.success() }
}

/// Whether the storage behind a redirect says that it has no such blob, in its own words.
fn is_gone_elsewhere(answer: &Answer) -> bool {
    answer.foreign && answer.status.as_u16() == 404
}

/// Whether a blob is there, and how large: by HEAD; where that says nothing, or another size than is expected, by a GET that reads no more
/// than a byte. There are servers and proxies that say of every HEAD that it has no bytes.
pub(super) async fn presence(
    transport: &Transport,
    repository: &Repository,
    digest: &Digest,
    expected: Option<u64>,
) -> Result<Presence, Error> {
    let url = transport.repository_url(repository, &["blobs", &digest.to_string()]);
    let mut ask = transport.ask(Method::HEAD, url, Access::Pull(repository), 0);
    ask.tries = FEW;
    let mut by_head = None;
    match transport.send(&ask).await {
        Ok(answer) if answer.status.is_success() => {
            by_head = length(&answer);
            if by_head.is_some_and(|size| expected.map_or(!answer.is_page(), |expected| expected == size)) {
                return Ok(Presence::There(by_head));
            }
            // How long a page is says nothing of the blob.
            by_head = by_head.filter(|_| !answer.is_page());
        }
        // It has no words to tell a missing blob from a missing endpoint, some registries know no HEAD, and a storage may refuse it.
        Ok(_) => {}
        Err(error) if error.is_unreachable() || error.is_unauthorized() => return Err(error),
        Err(_) => {}
    }
    let mut ask = Ask { method: Method::GET, tries: TRIES, read: Read::Beginning, ..ask };
    ask.headers.push((header::RANGE, HeaderValue::from_static("bytes=0-0")));
    let answer = transport.send(&ask).await?;
    // A layer may be a page, and is then of the size that is expected.
    if answer.status.as_u16() == 200 && answer.is_page() && length(&answer).is_none_or(|size| expected != Some(size)) {
        return Err(answer.page_error());
    }
    match answer.status.as_u16() {
        206 => Ok(Presence::There(length_in_range(&answer).or(by_head))),
        200..300 => Ok(Presence::There(length(&answer).or(by_head))),
        // No byte to be had: of the empty blob that is as it should be.
        416 => Ok(Presence::There(Some(0))),
        404 => {
            let error = answer.error();
            if answer.foreign || error.is_blob_unknown() || error.is_name_unknown() { Ok(Presence::Missing) } else { Err(error) }
        }
        _ => Err(answer.error()),
    }
}

fn length(answer: &Answer) -> Option<u64> {
    answer.header(header::CONTENT_LENGTH)?.trim().parse().ok()
}

/// Reads a blob to its end, or until there are more bytes than `most`, and holds none of it.
pub(super) async fn hash(transport: &Transport, repository: &Repository, digest: &Digest, most: u64) -> Result<Hashed, Error> {
    let url = transport.repository_url(repository, &["blobs", &digest.to_string()]);
    let mut ask = transport.ask(Method::GET, url, Access::Pull(repository), 0);
    ask.read = Read::Hashed(Algorithm::of(digest), most);
    // Each try reads all of it again.
    (ask.total, ask.tries) = (A_DAY, FEW);
    let mut cut: Option<Hashed> = None;
    for _ in 0..FEW {
        let answer = transport.send(&ask).await?;
        if is_gone_elsewhere(&answer) {
            return Err(answer.error().of_missing_blob());
        }
        let mut answer = answer.success()?;
        match answer.hashed.take() {
            None => return Err(answer.content_error("the answer has no body")),
            Some(other) if answer.is_page() && other.digest != *digest => return Err(answer.page_error()),
            Some(whole) if !whole.is_cut => return Ok(whole),
            // A network breaks off anywhere.
            Some(new) if cut.as_ref().is_some_and(|before| *before != new) => {
                let text = format!("after {} bytes, and another time elsewhere", new.size);
                return Err(Error::of_request(&ask.method, &ask.url, Cause::Trouble(Trouble::CutBody(text))));
            }
            Some(new) => cut = Some(new),
        }
    }
    cut.ok_or_else(|| Error::of_request(&ask.method, &ask.url, Cause::Trouble(Trouble::CutBody("at every try".to_owned()))))
}

pub(super) async fn get(transport: &Transport, repository: &Repository, digest: &Digest, limit: usize) -> Result<Vec<u8>, Error> {
    let answer = answer(transport, repository, digest, limit).await?;
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

/// Writes a blob of no more bytes than `most` into a file, whatever it hashes to, and gives how many came. Where a connection breaks off or
/// nothing comes any more the rest is asked for; a registry that hands out blobs as a whole only begins anew.
pub(super) async fn write(transport: &Transport, repository: &Repository, digest: &Digest, most: u64, file: &File) -> Result<u64, Error> {
    let url = transport.repository_url(repository, &["blobs", &digest.to_string()]);
    let (mut came, mut furthest, mut vain) = (0, 0, 0);
    for _ in 0..BREAKS {
        let mut ask = transport.ask(Method::GET, url.clone(), Access::Pull(repository), 0);
        (ask.read, ask.total, ask.tries) = (Read::Into { file, from: came, most }, A_DAY, FEW);
        let range = HeaderValue::from_str(&format!("bytes={came}-")).ok().filter(|_| came > 0);
        ask.headers.extend(range.map(|range| (header::RANGE, range)));
        let answer = transport.send(&ask).await?;
        if is_gone_elsewhere(&answer) {
            return Err(answer.error().of_missing_blob());
        }
        // All of it had come.
        if came > 0 && answer.status.as_u16() == 416 {
            return Ok(came);
        }
        let answer = answer.success()?;
        let Some((size, is_cut)) = answer.written else { return Err(answer.content_error("the answer has no body")) };
        // A part may be smaller than was asked for, and whole.
        if !is_cut && length_in_range(&answer).is_none_or(|length| size >= length) {
            return Ok(size);
        }
        came = size;
        vain = if came > furthest { 0 } else { vain + 1 };
        furthest = furthest.max(came);
        if vain >= FEW {
            break;
        }
    }
    let text = format!("after {came} bytes, and at every try");
    Err(Error::of_request(&Method::GET, &url, Cause::Trouble(Trouble::CutBody(text))))
}

/// How many bytes there are of what an answer is a part of, where it says that.
fn length_in_range(answer: &Answer) -> Option<u64> {
    answer.header(header::CONTENT_RANGE)?.rsplit_once('/')?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::Registry;
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
    async fn a_blob_is_there_by_head_or_else_by_a_byte() {
        let head =
            |answer: Reply, get: Reply| Server::start(move |request| if request.method == "HEAD" { answer.clone() } else { get.clone() });
        let there = |size| Some(Presence::There(size));
        let part = || reply(206, "c").header("Content-Range", "bytes 0-0/7");
        for (by_head, by_get, expected, requests) in [
            (reply(200, "content"), reply(500, ""), there(Some(7)), 1),
            (reply(200, ""), part(), there(Some(7)), 2),
            (reply(200, "cut"), reply(206, "c"), there(Some(3)), 2),
            (reply(200, "cut"), reply(200, "cut"), there(Some(3)), 2),
            (reply(405, ""), part(), there(Some(7)), 2),
            (reply(405, ""), reply(200, "content"), there(Some(7)), 2),
            (reply(404, ""), part(), there(Some(7)), 2),
            (reply(404, ""), fault(404, "BLOB_UNKNOWN"), Some(Presence::Missing), 2),
            (reply(404, ""), fault(404, "NAME_UNKNOWN"), Some(Presence::Missing), 2),
            (reply(404, ""), reply(404, "404 page not found"), None, 2),
            (reply(404, ""), reply(416, ""), there(Some(0)), 2),
            (reply(403, ""), fault(403, "DENIED"), None, 2),
            (reply(500, ""), fault(500, "UNKNOWN"), None, 9),
        ] {
            let server = head(by_head.clone(), by_get.clone());
            let registry = server.registry();
            let result = registry.blob_presence(&repository("a"), &Digest::of(b"content"), Some(7)).await;
            assert_eq!((result.ok(), server.requests().len()), (expected, requests), "{by_head:?} {by_get:?}");
            assert_eq!(registry.requests(), requests as u64);
        }
    }

    #[tokio::test]
    async fn a_page_for_people_is_no_blob_but_where_that_is_the_blob() {
        let page = "<html>log in</html>";
        let server = Server::start(move |_| reply(200, page).header("Content-Type", "text/html"));
        let registry = server.registry();
        let (name, own, other) = (repository("a"), Digest::of(page.as_bytes()), Digest::of(b"x"));
        let size = page.len() as u64;
        for expected in [Some(7), None] {
            assert!(registry.blob_presence(&name, &other, expected).await.unwrap_err().is_page(), "{expected:?}");
        }
        assert!(registry.blob_hash(&name, &other, 7).await.unwrap_err().is_page());
        assert!(registry.blob_unverified(&name, &other, 100).await.unwrap_err().is_page());
        assert_eq!(registry.blob_presence(&name, &own, Some(size)).await.unwrap(), Presence::There(Some(size)));
        assert_eq!(registry.blob_hash(&name, &own, size).await.unwrap().digest, own);
        assert_eq!(registry.blob_unverified(&name, &own, 100).await.unwrap(), page.as_bytes());
    }

    #[tokio::test]
    async fn a_redirect_leads_to_where_the_blob_is_and_its_404_is_no_endpoint_that_is_missing() {
        let storage = Server::start(|request| if request.path == "/there" { reply(200, "content") } else { reply(404, "<Error/>") });
        let (there, gone) = (storage.url("/there"), storage.url("/gone"));
        let digest = Digest::of(b"content");
        let server = Server::start(move |request| {
            reply(307, "").header("Location", if request.path.contains("/a/") { there.clone() } else { gone.clone() })
        });
        let registry = server.registry();
        assert_eq!(registry.blob_presence(&repository("a"), &digest, None).await.unwrap(), Presence::There(Some(7)));
        assert_eq!(registry.blob_presence(&repository("b"), &digest, None).await.unwrap(), Presence::Missing);
        assert_eq!(registry.blob_hash(&repository("a"), &digest, 7).await.unwrap().digest, digest);
        for error in [
            registry.blob_hash(&repository("b"), &digest, 7).await.unwrap_err(),
            registry.blob_unverified(&repository("b"), &digest, 7).await.unwrap_err(),
        ] {
            assert!(error.is_blob_unknown(), "{error}");
        }
    }

    #[tokio::test]
    async fn a_blob_is_hashed_as_it_comes() {
        let large = vec![7; 1 << 20];
        for (answer, most, expected) in [
            (reply(200, large.clone()), 1 << 20, Some((1 << 20, Digest::of(&large), false))),
            (reply(200, "other"), 100, Some((5, Digest::of(b"other"), false))),
            (reply(200, ""), 100, Some((0, Digest::of(b""), false))),
            (reply(200, "content").cut(3), 100, Some((3, Digest::of(b"con"), true))),
            (reply(200, "content").cut(0), 100, Some((0, Digest::of(b""), true))),
            (fault(404, "BLOB_UNKNOWN"), 100, None),
        ] {
            let server = Server::start(move |_| answer.clone());
            let result = server.registry().blob_hash(&repository("a"), &Digest::of(b"x"), most).await;
            match expected {
                Some((size, digest, is_cut)) => assert_eq!(result.unwrap(), Hashed { size, digest, is_cut }),
                None => assert!(result.as_ref().is_err_and(Error::is_blob_unknown), "{result:?}"),
            }
        }
        let tries = std::sync::atomic::AtomicUsize::new(1);
        let server = Server::start(move |_| reply(200, "content").cut(tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst)));
        let error = server.registry().blob_hash(&repository("a"), &Digest::of(b"x"), 100).await.unwrap_err();
        assert!(error.is_cut_short() && server.requests().len() == 2, "{error}");
        let server = Server::start(|_| reply(200, vec![0; 1 << 16]).endless());
        let registry = server.registry();
        let hashed = registry.blob_hash(&repository("a"), &Digest::of(b"x"), 1000).await.unwrap();
        assert!(hashed.size > 1000 && hashed.size < 10 << 20, "it stops where it is too much: {hashed:?}");
        assert_eq!(registry.hashed(), hashed.size);
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

    #[tokio::test]
    async fn a_blob_that_breaks_off_is_fetched_to_its_end() {
        let part = |range: &str, text: &str| reply(206, text).header("Content-Range", range);
        for (answers, expected, ranges) in [
            (vec![reply(200, "content")], Ok("content"), vec![""]),
            (vec![reply(200, "content").cut(3), part("bytes 3-6/7", "tent")], Ok("content"), vec!["", "bytes=3-"]),
            (
                vec![reply(200, "content").cut(3), part("bytes 3-6/7", "tent").cut(2), part("bytes 5-6/7", "nt")],
                Ok("content"),
                vec!["", "bytes=3-", "bytes=5-"],
            ),
            // One that knows no parts.
            (vec![reply(200, "content").cut(3), reply(200, "content")], Ok("content"), vec!["", "bytes=3-"]),
            // It said that there is more, and there is not.
            (vec![reply(200, "content").cut(3), reply(416, "")], Ok("con"), vec!["", "bytes=3-"]),
            (vec![reply(200, "content").cut(3), part("bytes 0-6/7", "content")], Err("another part"), vec!["", "bytes=3-"]),
            (vec![reply(200, "content").cut(3); 9], Err("after 3 bytes, and at every try"), vec!["", "bytes=3-", "bytes=3-", "bytes=3-"]),
            (
                vec![reply(200, "content").cut(5), reply(200, "content").cut(3), reply(503, ""), reply(200, "content")],
                Ok("content"),
                vec!["", "bytes=5-", "bytes=3-", "bytes=3-"],
            ),
            (vec![fault(404, "BLOB_UNKNOWN")], Err("BLOB_UNKNOWN"), vec![""]),
            // One whose bytes stop coming.
            (vec![reply(200, "cont").stalled(), part("bytes 4-6/7", "ent")], Ok("content"), vec!["", "bytes=4-"]),
            (vec![reply(200, "contents")], Err("more than the 7 bytes"), vec![""]),
            (
                vec![reply(200, "content").cut(3), part("bytes 3-4/7", "te"), part("bytes 5-6/7", "nt")],
                Ok("content"),
                vec!["", "bytes=3-", "bytes=5-"],
            ),
        ] {
            let asked = std::sync::atomic::AtomicUsize::new(0);
            let script = answers.clone();
            let server = Server::start(move |_| script[asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst)].clone());
            let mut file = tempfile::tempfile().unwrap();
            std::io::Write::write_all(&mut file, b"what was there before").unwrap();
            let mut settings = server.settings();
            settings.timeouts.idle = Duration::from_millis(200);
            let registry = Registry::open(&server.host(), &settings).unwrap();
            let came = registry.blob_into(&repository("a"), &Digest::of(b"content"), Some(7), &file).await;
            let mut text = String::new();
            std::io::Seek::rewind(&mut file).unwrap();
            std::io::Read::read_to_string(&mut file, &mut text).unwrap();
            match expected {
                Ok(expected) => assert_eq!((came.unwrap(), &*text), (expected.len() as u64, expected), "{answers:?}"),
                Err(why) => assert!(came.as_ref().is_err_and(|error| error.to_string().contains(why)), "{came:?}, {answers:?}"),
            }
            let found: Vec<String> =
                server.requests().iter().map(|request| request.header("range").unwrap_or_default().to_owned()).collect();
            assert_eq!(found, ranges, "{answers:?}");
        }
    }
}
