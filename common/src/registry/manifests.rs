//! Manifests: `GET` and `HEAD /v2/<name>/manifests/<reference>` (distribution-spec, "Pulling manifests").
//!
//! All types are always asked for: a registry that may not answer with an index answers with a manifest out of it, and with that
//! one's digest. What a manifest says is read elsewhere; here it is bytes.

mod schema1;

use reqwest::Method;
use reqwest::header::{self, HeaderName, HeaderValue};
use serde::Deserialize;

use super::auth::Access;
use super::error::Error;
use super::transport::{Answer, Ask, Transport};
use crate::digest::Digest;
use crate::reference::{Repository, Target};

/// How large a manifest may be: registries must take 4 MiB, and are not known to take more (distribution-spec, "Pushing Manifests").
pub(super) const LIMIT: usize = 4 << 20;

/// All types of manifests, the oldest last, as some registries take the first that they can make.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json, \
                      application/vnd.docker.distribution.manifest.v1+prettyjws, application/vnd.docker.distribution.manifest.v1+json";

/// Schema 1 with its signatures, which its digest leaves out.
const SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A manifest, byte for byte, whose digest has been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The digest asked for, or what the bytes of the tag hash to.
    pub digest: Digest,
    /// The media type, without parameters.
    pub media_type: String,
    /// The exact bytes.
    pub bytes: Vec<u8>,
}

/// A manifest as it is served: what came, and what was said of it, whether that agrees or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The exact bytes.
    pub bytes: Vec<u8>,
    /// The `Content-Type`, without parameters and in lower case, where there is one that says what kind of manifest it is.
    pub content_type: Option<String>,
    /// The `Docker-Content-Digest` as it was sent.
    pub said: Option<String>,
    /// What of signed schema 1 was hashed.
    signed: Option<Vec<u8>>,
}

impl Served {
    /// What was served: the bytes, the `Content-Type` where it says something, and the `Docker-Content-Digest`.
    #[must_use]
    pub fn new(bytes: Vec<u8>, content_type: Option<String>, said: Option<String>) -> Self {
        let signed = schema1::payload(&bytes);
        Self { bytes, content_type, said, signed }
    }

    /// What the bytes hash to; of signed schema 1, what they hash to without the signatures.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.signed.as_deref().unwrap_or(&self.bytes))
    }

    /// Whether this is the manifest of that digest. What was signed is what was hashed; bytes that are not signed, or that the registry
    /// hashed with their signatures, as they are.
    #[must_use]
    pub fn is(&self, digest: &Digest) -> bool {
        digest.matches(&self.bytes) || self.signed.as_ref().is_some_and(|signed| digest.matches(signed))
    }

    /// The digest that the registry says it has, where that is one.
    #[must_use]
    pub fn said_digest(&self) -> Option<Digest> {
        self.said.as_ref()?.parse().ok()
    }
}

/// What a registry says of a manifest without handing it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The digest.
    pub digest: Digest,
    /// The media type, without parameters.
    pub media_type: String,
    /// The size in bytes.
    pub size: u64,
}

fn ask<'a>(transport: &Transport, method: Method, repository: &'a Repository, target: &Target) -> Ask<'a> {
    let url = transport.repository_url(repository, &["manifests", &target.to_string()]);
    let mut ask = transport.ask(method, url, Access::Pull(repository), LIMIT);
    ask.headers.push((header::ACCEPT, HeaderValue::from_static(ACCEPT)));
    ask
}

/// What is served as a manifest. A page of a login is none, and none that is damaged either.
async fn answer(transport: &Transport, repository: &Repository, target: &Target) -> Result<Answer, Error> {
    let answer = transport.send(&ask(transport, Method::GET, repository, target)).await?.success()?;
    let is_json = || serde_json::from_slice::<serde::de::IgnoredAny>(&answer.body).is_ok();
    if answer.is_page() && !is_json() { Err(answer.page_error()) } else { Ok(answer) }
}

pub(super) async fn serve(transport: &Transport, repository: &Repository, target: &Target) -> Result<Served, Error> {
    let answer = answer(transport, repository, target).await?;
    let content_type = answer.header(header::CONTENT_TYPE).map(bare).filter(|media_type| is_specific(media_type));
    let said = answer.header(DIGEST).map(|said| super::error::plain(said.trim()));
    Ok(Served::new(answer.body, content_type, said))
}

pub(super) async fn get(transport: &Transport, repository: &Repository, target: &Target) -> Result<Manifest, Error> {
    let answer = answer(transport, repository, target).await?;
    let said = said_digest(&answer);
    let media_type = media_type(&answer);
    // What was signed is what was hashed; bytes that are not signed, or that the registry hashed with their signatures, as they are.
    let signed = schema1::payload(&answer.body);
    let matches = |digest: &Digest| digest.matches(&answer.body) || signed.as_ref().is_some_and(|signed| digest.matches(signed));
    let asked = asked_digest(target);
    if let Some(lied) = [&said, &asked].into_iter().flatten().find(|digest| !matches(digest)) {
        return Err(lie(&answer, lied));
    }
    let digest = asked.or(said).unwrap_or_else(|| Digest::of(signed.as_deref().unwrap_or(&answer.body)));
    Ok(Manifest { digest, media_type, bytes: answer.body })
}

fn lie(answer: &Answer, expected: &Digest) -> Error {
    answer.content_error(format!(
        "the registry's content does not match its digest {expected}: its storage or a cache in front of it is damaged"
    ))
}

pub(super) async fn head(transport: &Transport, repository: &Repository, target: &Target) -> Result<Head, Error> {
    let answer = transport.send(&ask(transport, Method::HEAD, repository, target)).await?;
    let digest = said_digest(&answer).filter(|digest| asked_digest(target).is_none_or(|asked| asked == *digest));
    let size = answer.header(header::CONTENT_LENGTH).and_then(|value| value.parse().ok());
    let given = answer.header(header::CONTENT_TYPE).map(bare).filter(|media_type| is_specific(media_type));
    match (answer.status.is_success(), digest, size, given) {
        (true, Some(digest), Some(size), Some(media_type)) => Ok(Head { digest, media_type, size }),
        // No digest, which older registries need not send; a registry that knows no HEAD; or an error, whose words only GET brings.
        _ => {
            let manifest = get(transport, repository, target).await?;
            let size = u64::try_from(manifest.bytes.len()).unwrap_or(u64::MAX);
            Ok(Head { digest: manifest.digest, media_type: manifest.media_type, size })
        }
    }
}

fn asked_digest(target: &Target) -> Option<Digest> {
    match target {
        Target::Digest(digest) => Some(digest.clone()),
        Target::Tag(_) => None,
    }
}

fn said_digest(answer: &Answer) -> Option<Digest> {
    answer.header(DIGEST)?.trim().parse().ok()
}

/// A media type without its parameters.
fn bare(value: &str) -> String {
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether a type says what kind of manifest this is; some registries and proxies say of everything that it is JSON.
fn is_specific(media_type: &str) -> bool {
    !matches!(media_type, "" | "application/json" | "text/plain" | "application/octet-stream" | "text/json")
}

/// The media type: what the header says, else the manifest itself, else what its fields tell (image-spec makes `mediaType` optional).
fn media_type(answer: &Answer) -> String {
    #[derive(Deserialize, Default)]
    #[serde(default, rename_all = "camelCase")]
    struct Fields {
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
        #[serde(rename = "fsLayers")]
        fs_layers: Option<serde::de::IgnoredAny>,
        signatures: Option<serde::de::IgnoredAny>,
    }
    let header = answer.header(header::CONTENT_TYPE).map(bare).filter(|media_type| is_specific(media_type));
    header.unwrap_or_else(|| {
        let fields: Fields = serde_json::from_slice(&answer.body).unwrap_or_default();
        match fields {
            Fields { media_type: Some(media_type), .. } if is_specific(&bare(&media_type)) => bare(&media_type),
            Fields { manifests: Some(_), .. } => "application/vnd.oci.image.index.v1+json".to_owned(),
            Fields { fs_layers: Some(_), signatures: Some(_), .. } => SIGNED.to_owned(),
            Fields { fs_layers: Some(_), .. } => "application/vnd.docker.distribution.manifest.v1+json".to_owned(),
            _ => "application/vnd.oci.image.manifest.v1+json".to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Reply, Server, fault, reply, repository, tag};
    use super::*;

    const TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
    const BODY: &str = r#"{"schemaVersion":2}"#;

    fn of_digest(digest: &Digest) -> Target {
        Target::Digest(digest.clone())
    }

    async fn get(answer: Reply, target: &Target) -> Result<Manifest, Error> {
        let server = Server::start(move |_| answer.clone());
        server.registry().manifest(&repository("a"), target).await
    }

    #[tokio::test]
    async fn bytes_are_verified_against_header_and_request() {
        let (digest, other) = (Digest::of(BODY.as_bytes()), Digest::of(b"other"));
        let good = reply(200, BODY).header("Content-Type", format!("{TYPE}; charset=utf-8"));
        let with = |digest: &Digest| good.clone().header("Docker-Content-Digest", digest.to_string());
        for (answer, target, is_good) in [
            (with(&digest), tag("1"), true),
            (good.clone(), tag("1"), true),
            (good.clone().header("Docker-Content-Digest", "nonsense"), tag("1"), true),
            (good.clone(), of_digest(&digest), true),
            (with(&digest), of_digest(&digest), true),
            (with(&other), tag("1"), false),
            (with(&other), of_digest(&other), false),
            (good.clone(), of_digest(&other), false),
            (with(&digest), of_digest(&other), false),
        ] {
            let result = get(answer.clone(), &target).await;
            match result {
                Ok(manifest) => {
                    assert!(is_good, "{answer:?} {target:?}");
                    assert_eq!(manifest, Manifest { digest: digest.clone(), media_type: TYPE.to_owned(), bytes: BODY.into() });
                }
                Err(error) => {
                    assert!(!is_good, "{error}");
                    assert!(error.to_string().contains("does not match its digest"), "{error}");
                }
            }
        }
    }

    #[tokio::test]
    async fn what_is_served_is_told_as_it_is() {
        let (digest, other) = (Digest::of(BODY.as_bytes()), Digest::of(b"other"));
        let answer = reply(200, BODY).header("Content-Type", format!("{TYPE}; x=y")).header("Docker-Content-Digest", other.to_string());
        let server = Server::start(move |_| answer.clone());
        let served = server.registry().served(&repository("a"), &of_digest(&other)).await.unwrap();
        assert_eq!(
            (served.digest(), served.said_digest(), served.content_type.as_deref()),
            (digest.clone(), Some(other.clone()), Some(TYPE))
        );
        assert!(served.is(&digest) && !served.is(&other));
        let server = Server::start(|_| reply(200, BODY).header("Content-Type", "text/plain").header("Docker-Content-Digest", "nonsense"));
        let served = server.registry().served(&repository("a"), &tag("1")).await.unwrap();
        assert_eq!((served.said_digest(), served.said.as_deref(), served.content_type), (None, Some("nonsense"), None));
        let (body, payload) = schema1::signed_example();
        let server = Server::start(move |_| reply(200, body.clone()).header("Content-Type", SIGNED));
        let served = server.registry().served(&repository("a"), &tag("1")).await.unwrap();
        assert_eq!(served.digest(), Digest::of(payload.as_bytes()));
        assert!(served.is(&Digest::of(&served.bytes)) && served.is(&Digest::of(payload.as_bytes())));
    }

    #[tokio::test]
    async fn all_types_are_asked_for_in_one_header() {
        let server = Server::start(|_| reply(200, BODY));
        let manifest = server.registry().manifest(&repository("a"), &tag("1")).await.unwrap();
        assert_eq!(manifest.media_type, TYPE);
        let request = &server.requests()[0];
        assert_eq!(request.line(), "GET /v2/a/manifests/1");
        assert_eq!(request.header("accept"), Some(ACCEPT));
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        assert_eq!(request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("accept")).count(), 1);
    }

    #[tokio::test]
    async fn signed_schema_1_is_verified_without_its_signatures() {
        let (body, payload) = schema1::signed_example();
        let digest = Digest::of(payload.as_bytes());
        let plain = reply(200, body).header("Content-Type", SIGNED);
        let answer = plain.clone().header("Docker-Content-Digest", digest.to_string());
        for (answer, target) in [(&answer, tag("1")), (&answer, of_digest(&digest)), (&plain, tag("1")), (&plain, of_digest(&digest))] {
            assert_eq!(get(answer.clone(), &target).await.unwrap().digest, digest);
        }
        assert!(get(answer.clone(), &of_digest(&Digest::of(b"x"))).await.is_err());
    }

    #[tokio::test]
    async fn to_be_called_signed_lets_no_bytes_through_that_do_not_match() {
        let other = Digest::of(b"other");
        for body in [BODY, r#"{"fsLayers":[],"signatures":[]}"#, r#"{"fsLayers":[],"signatures":[{"protected":"e30"}]}"#, "x"] {
            let answer = reply(200, body).header("Content-Type", SIGNED);
            let with = |digest: &Digest| answer.clone().header("Docker-Content-Digest", digest.to_string());
            for (answer, target) in [(with(&other), tag("1")), (with(&other), of_digest(&other)), (answer.clone(), of_digest(&other))] {
                let error = get(answer, &target).await.unwrap_err();
                assert!(error.to_string().contains("does not match its digest"), "{body}: {error}");
            }
            let own = Digest::of(body.as_bytes());
            assert_eq!(get(with(&own), &of_digest(&own)).await.unwrap().digest, own, "{body}");
        }
    }

    #[tokio::test]
    async fn types_that_say_nothing_are_made_out_from_the_fields() {
        for (body, header, expected) in [
            (r#"{"mediaType":"application/vnd.x+json"}"#, "application/json", "application/vnd.x+json"),
            (r#"{"mediaType":"application/vnd.x+json"}"#, "application/vnd.y+json", "application/vnd.y+json"),
            (r#"{"manifests":[]}"#, "text/plain; charset=utf-8", "application/vnd.oci.image.index.v1+json"),
            (r#"{"fsLayers":[]}"#, "", "application/vnd.docker.distribution.manifest.v1+json"),
            (r#"{"config":{},"layers":[]}"#, "", TYPE),
        ] {
            let answer = reply(200, body).header("Content-Type", header);
            assert_eq!(get(answer, &tag("1")).await.unwrap().media_type, expected, "{body}");
        }
    }

    #[tokio::test]
    async fn more_than_4_mib_are_refused_and_an_endless_body_ends() {
        for answer in [reply(200, vec![b' '; 5 << 20]), reply(200, vec![b' '; 1 << 16]).endless()] {
            let error = get(answer, &tag("1")).await.unwrap_err();
            assert!(error.to_string().contains("more than the 4194304 bytes"), "{error}");
        }
        assert_eq!(get(reply(200, vec![b' '; 4 << 20]), &tag("1")).await.unwrap().bytes.len(), 4 << 20);
        let error = get(reply(404, vec![b'x'; 1 << 16]).endless(), &tag("1")).await.unwrap_err();
        assert!(error.status() == Some(404) && error.to_string().len() < 600, "{error}");
    }

    #[tokio::test]
    async fn head_falls_back_to_get() {
        let digest = Digest::of(BODY.as_bytes());
        let expected = Head { digest: digest.clone(), media_type: TYPE.to_owned(), size: BODY.len() as u64 };
        let good = reply(200, BODY).header("Content-Type", TYPE);
        let whole = good.clone().header("Docker-Content-Digest", digest.to_string());
        for (to_head, requests) in [
            (whole.clone(), 1),
            (good.clone(), 2),
            (good.clone().header("Docker-Content-Digest", "sha256:1"), 2),
            (reply(404, ""), 2),
            (reply(405, ""), 2),
        ] {
            let to_get = whole.clone();
            let server = Server::start(move |request| if request.method == "HEAD" { to_head.clone() } else { to_get.clone() });
            let head = server.registry().head(&repository("a"), &tag("1")).await.unwrap();
            assert_eq!((head, server.requests().len()), (expected.clone(), requests));
        }
    }

    #[tokio::test]
    async fn a_page_for_people_is_no_manifest() {
        let page = |body: &str| reply(200, body).header("Content-Type", "text/html; charset=utf-8");
        let server = Server::start(move |_| page("<html>log in</html>"));
        let registry = server.registry();
        for target in [tag("1"), of_digest(&Digest::of(b"x")), of_digest(&Digest::of(b"<html>log in</html>"))] {
            assert!(registry.served(&repository("a"), &target).await.unwrap_err().is_page());
            assert!(registry.manifest(&repository("a"), &target).await.unwrap_err().is_page());
            assert!(registry.head(&repository("a"), &target).await.unwrap_err().is_page());
        }
        assert_eq!(get(page(BODY), &tag("1")).await.unwrap().digest, Digest::of(BODY.as_bytes()), "the type may be wrong");
    }

    #[tokio::test]
    async fn the_words_for_an_error_of_head_come_by_get() {
        let server = Server::start(|_| fault(404, "MANIFEST_UNKNOWN"));
        let error = server.registry().head(&repository("a"), &tag("1")).await.unwrap_err();
        assert!(error.is_manifest_unknown() && !error.is_name_unknown(), "{error}");
        assert_eq!(server.lines(), ["HEAD /v2/a/manifests/1", "GET /v2/a/manifests/1"]);
    }
}
