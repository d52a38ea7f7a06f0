//! What of a signed schema 1 manifest its digest is of: the bytes that were signed (Distribution, "Image Manifest Version 2, Schema 1",
//! "Signed Manifests"; RFC 7515). Signatures are not verified, as nobody asks who signed: only what was hashed is found. Pure.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;

/// The bytes that were signed, of a manifest with signatures; `None` for every other.
///
/// The signatures stand in the middle of what they sign: each says how long the beginning is, and what comes after it.
pub(super) fn payload(body: &[u8]) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Signed {
        #[serde(rename = "fsLayers")]
        _fs_layers: Vec<serde::de::IgnoredAny>,
        signatures: Vec<Signature>,
    }
    #[derive(Deserialize)]
    struct Signature {
        protected: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Protected {
        format_length: usize,
        format_tail: String,
    }
    let signed: Signed = serde_json::from_slice(body).ok()?;
    let protected = decode(&signed.signatures.first()?.protected)?;
    let protected: Protected = serde_json::from_slice(&protected).ok()?;
    let mut payload = body.get(..protected.format_length)?.to_vec();
    payload.extend(decode(&protected.format_tail)?);
    Some(payload)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

/// A signed manifest as Distribution lays it out, and what of it was signed.
#[cfg(test)]
pub(super) fn signed_example() -> (String, String) {
    let beginning = "{\n   \"schemaVersion\": 1,\n   \"fsLayers\": [],\n   \"history\": []";
    let protected = serde_json::json!({"formatLength": beginning.len(), "formatTail": BASE64_URL_SAFE_NO_PAD.encode("\n}"), "time": "x"});
    let protected = BASE64_URL_SAFE_NO_PAD.encode(protected.to_string());
    let signatures = format!("[{{\"header\": {{}}, \"signature\": \"c2ln\", \"protected\": \"{protected}\"}}]");
    (format!("{beginning},\n   \"signatures\": {signatures}\n}}"), format!("{beginning}\n}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signatures_are_taken_out() {
        let (body, expected) = signed_example();
        assert_eq!(payload(body.as_bytes()).as_deref(), Some(expected.as_bytes()));
    }

    #[test]
    fn what_is_not_signed_has_no_payload() {
        let tail = |length: usize| BASE64_URL_SAFE_NO_PAD.encode(format!("{{\"formatLength\":{length},\"formatTail\":\"Cn0\"}}"));
        for body in [
            "x".to_owned(),
            "{\"fsLayers\":[],\"signatures\":[]}".to_owned(),
            "{\"fsLayers\":[],\"signatures\":[{\"protected\":\"!\"}]}".to_owned(),
            "{\"fsLayers\":[],\"signatures\":[{\"protected\":\"e30\"}]}".to_owned(),
            format!("{{\"fsLayers\":[],\"signatures\":[{{\"protected\":\"{}\"}}]}}", tail(1 << 40)),
            format!("{{\"signatures\":[{{\"protected\":\"{}\"}}]}}", tail(1)),
        ] {
            assert_eq!(payload(body.as_bytes()), None, "{body}");
        }
    }
}
