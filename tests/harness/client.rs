//! The HTTP client of the fixtures: it puts things into a registry, or a cluster, and looks at what is there.
//!
//! What a cluster is asked stands in [`workloads`](crate::workloads). Endpoints of a registry as in the OCI distribution spec, <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use ureq::http;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::fixtures::{Place, digest_of};
use crate::token::TokenServer;

/// Every media type of a manifest that is in use; a registry converts or hides what is not asked for.
pub const ACCEPT: &str = "application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v1+prettyjws";

/// What a registry answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Header names are in lower case.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The `Docker-Content-Digest`.
    pub fn digest(&self) -> String {
        self.header("docker-content-digest").unwrap_or_default().to_owned()
    }

    /// Fails unless the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16, doing: &str) -> Self {
        assert_eq!(self.status, status, "{doing}: {}", self.text());
        self
    }
}

/// A client of one registry, with the credentials that it wants.
#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    url: String,
    authorization: Option<String>,
    tokens: Option<TokenServer>,
}

impl Client {
    /// A client of a registry that something else started, on the loopback and without credentials.
    pub fn of(host: &str) -> Self {
        Self::new(&format!("http://{host}"), None)
    }

    /// `url` is `http://…` or `https://…`; the latter is verified against `ca_file`.
    pub(crate) fn new(url: &str, ca_file: Option<&Path>) -> Self {
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(60)));
        if let Some(ca_file) = ca_file {
            let pem = std::fs::read(ca_file).unwrap();
            let roots = RootCerts::new_with_certs(&[Certificate::from_pem(&pem).unwrap()]);
            let tls = TlsConfig::builder()
                .root_certs(roots)
                .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .build();
            config = config.tls_config(tls);
        }
        Self { agent: config.build().new_agent(), url: url.to_owned(), authorization: None, tokens: None }
    }

    pub(crate) fn with_basic(mut self, user: &str, password: &str) -> Self {
        self.authorization = Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))));
        self
    }

    pub(crate) fn with_bearer(mut self, token: &str) -> Self {
        self.authorization = Some(format!("Bearer {token}"));
        self
    }

    pub(crate) fn with_tokens(mut self, tokens: TokenServer) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// The same client without credentials.
    pub fn anonymous(&self) -> Self {
        Self { authorization: None, tokens: None, ..self.clone() }
    }

    /// Sends any request; `target` is a path with its query, or a whole URL.
    pub fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.try_send(method, target, headers, body).unwrap_or_else(|error| panic!("{method} {}{target}: {error}", self.url))
    }

    /// Like [`send`](Self::send), for servers that may not answer.
    pub fn try_send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, ureq::Error> {
        let url = if target.starts_with("http") { target.to_owned() } else { format!("{}{target}", self.url) };
        let mut request = http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
            if let Some(authorization) = &self.authorization {
                request = request.header("Authorization", authorization);
            } else if let Some(tokens) = &self.tokens {
                let scopes = ["registry:catalog:*".to_owned(), format!("repository:{}:*,pull,push,delete", name(target))];
                request = request.header("Authorization", format!("Bearer {}", tokens.mint(&scopes)));
            }
        }
        let mut response = if body.is_empty() && !matches!(method, "PUT" | "POST" | "PATCH") {
            self.agent.run(request.body(()).expect("a request of a fixture is valid"))?
        } else {
            self.agent.run(request.body(body).expect("a request of a fixture is valid"))?
        };
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let body = response.body_mut().with_config().limit(1 << 30).read_to_vec()?;
        Ok(Answer { status: response.status().as_u16(), headers, body })
    }

    /// GET of any path.
    pub fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[("Accept", ACCEPT)], b"")
    }

    /// Uploads a blob and gives its digest.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = digest_of(bytes);
        let begun = self
            .send("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"")
            .expect(202, &format!("beginning an upload to {repository}"));
        let location = begun.header("location").expect("an upload has a Location").to_owned();
        // The Location is absolute and names the host by which we asked.
        let location = location.strip_prefix(&self.url).unwrap_or(&location).to_owned();
        let separator = if location.contains('?') { '&' } else { '?' };
        self.send("PUT", &format!("{location}{separator}digest={digest}"), &[("Content-Type", "application/octet-stream")], bytes)
            .expect(201, &format!("uploading {digest} to {repository}"));
        digest
    }

    /// GET of a blob.
    pub fn blob(&self, repository: &str, digest: &str) -> Answer {
        self.get(&format!("/v2/{repository}/blobs/{digest}"))
    }

    /// Puts a manifest under a tag or digest and gives its digest.
    pub fn put_manifest(&self, repository: &str, reference: &str, media_type: &str, bytes: &[u8]) -> String {
        self.try_put_manifest(repository, reference, media_type, bytes)
            .expect(201, &format!("putting the manifest {repository}@{reference}"))
            .digest()
    }

    /// The same where the registry may refuse.
    pub fn try_put_manifest(&self, repository: &str, reference: &str, media_type: &str, bytes: &[u8]) -> Answer {
        self.send("PUT", &format!("/v2/{repository}/manifests/{reference}"), &[("Content-Type", media_type)], bytes)
    }

    /// GET of a manifest by tag or digest.
    pub fn manifest(&self, repository: &str, reference: &str) -> Answer {
        self.get(&format!("/v2/{repository}/manifests/{reference}"))
    }

    /// HEAD of a manifest by tag or digest.
    pub fn head(&self, repository: &str, reference: &str) -> Answer {
        self.send("HEAD", &format!("/v2/{repository}/manifests/{reference}"), &[("Accept", ACCEPT)], b"")
    }

    /// Whether a tag or digest answers.
    pub fn has(&self, repository: &str, reference: &str) -> bool {
        match self.head(repository, reference).status {
            200 => true,
            404 => false,
            status => panic!("HEAD of {repository} {reference} is answered with {status}"),
        }
    }

    /// Lets a tag point to the manifest that another tag or digest names.
    pub fn retag(&self, repository: &str, from: &str, tag: &str) -> String {
        let manifest = self.manifest(repository, from).expect(200, &format!("reading {repository} {from}"));
        let media_type = manifest.header("content-type").unwrap_or_default().to_owned();
        self.put_manifest(repository, tag, &media_type, &manifest.body)
    }

    /// DELETE of a manifest by tag or digest.
    pub fn delete_manifest(&self, repository: &str, reference: &str) -> Answer {
        self.send("DELETE", &format!("/v2/{repository}/manifests/{reference}"), &[], b"")
    }

    /// The tags of a repository, sorted; none where the registry does not know it.
    pub fn tags(&self, repository: &str) -> Vec<String> {
        let answer = self.get(&format!("/v2/{repository}/tags/list"));
        if answer.status == 404 {
            return Vec::new();
        }
        strings(&answer.expect(200, &format!("listing the tags of {repository}")).json()["tags"])
    }

    /// The repositories of the catalog, sorted (the first 1000, or what the registry's limit gives).
    pub fn catalog(&self) -> Vec<String> {
        strings(&self.get("/v2/_catalog?n=1000").expect(200, "reading the catalog").json()["repositories"])
    }
}

impl Place for Client {
    fn put_blob(&self, repository: &str, bytes: &[u8]) -> String {
        Self::put_blob(self, repository, bytes)
    }

    fn put_manifest(&self, repository: &str, reference: &str, media_type: &str, bytes: &[u8]) -> String {
        Self::put_manifest(self, repository, reference, media_type, bytes)
    }
}

fn strings(list: &Value) -> Vec<String> {
    let mut strings: Vec<String> = list.as_array().into_iter().flatten().filter_map(|item| item.as_str()).map(str::to_owned).collect();
    strings.sort();
    strings
}

/// The repository that a path below `/v2/` names.
fn name(target: &str) -> &str {
    let path = target.split('?').next().unwrap_or_default();
    let path = path.split_once("/v2/").map_or(path, |(_, rest)| rest);
    ["/manifests/", "/blobs/", "/tags/", "/referrers/"].iter().find_map(|noun| path.rsplit_once(noun)).map_or(path, |(name, _)| name)
}
