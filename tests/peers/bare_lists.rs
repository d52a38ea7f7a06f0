//! Fetches the lists of pods, ReplicaSets and Deployments as protobuf, page by page, and does nothing with them.
//!
//! ```sh
//! bare-lists URL CA-FILE TOKEN-FILE
//! ```
//!
//! What a client takes that only waits for the server: the measure of `k8s-images`. The token of the next page is all that is
//! read of one.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::sync::Arc;

use ureq::tls::{Certificate, RootCerts, TlsConfig};

const KINDS: [&str; 3] = ["/api/v1/pods", "/apis/apps/v1/replicasets", "/apis/apps/v1/deployments"];

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [url, ca_file, token_file] = &args[..] else { return Err("expected URL, CA-FILE and TOKEN-FILE".into()) };
    let token = format!("Bearer {}", fs::read_to_string(token_file)?.trim());
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&[Certificate::from_pem(&fs::read(ca_file)?)?]))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let agent = ureq::Agent::config_builder().proxy(None).tls_config(tls).build().new_agent();
    let (mut pages, mut bytes) = (0, 0);
    for kind in KINDS {
        let mut token_of_page = String::new();
        loop {
            let next = if token_of_page.is_empty() { String::new() } else { format!("&continue={token_of_page}") };
            let mut response = agent
                .get(format!("{url}{kind}?limit=500{next}"))
                .header("Accept", "application/vnd.kubernetes.protobuf")
                .header("Authorization", &token)
                .call()?;
            let page = response.body_mut().with_config().limit(1 << 30).read_to_vec()?;
            pages += 1;
            bytes += page.len();
            token_of_page = next_page(&page).ok_or_else(|| format!("{kind}: an answer is no list in protobuf"))?;
            if token_of_page.is_empty() {
                break;
            }
        }
    }
    writeln!(io::stdout(), "{pages} pages, {bytes} bytes")?;
    Ok(())
}

/// The token of the next page, empty on the last one. A list is wrapped in a `runtime.Unknown` (field 2: the list), begins with its
/// `ListMeta` (field 1), of which field 3 is the token (`generated.proto` of k8s.io/apimachinery, v0.35).
fn next_page(page: &[u8]) -> Option<String> {
    let list = field(page.strip_prefix(b"k8s\0")?, 2)?;
    let metadata = field(list, 1)?;
    let token = field(metadata, 3).unwrap_or_default();
    String::from_utf8(token.to_vec()).ok()
}

/// The bytes of the first field with this number; only such fields and numbers may stand before it.
fn field(mut message: &[u8], wanted: u64) -> Option<&[u8]> {
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match key & 7 {
            0 => drop(varint(&mut message)?),
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                let (content, rest) = message.split_at_checked(length)?;
                if key >> 3 == wanted {
                    return Some(content);
                }
                message = rest;
            }
            _ => return None,
        }
    }
    None
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
