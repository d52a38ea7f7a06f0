//! What an API server answers: a page of a list, or the `Status` of a refusal, in protobuf or in JSON.
//!
//! Owns the envelopes. Their items are left as they came, for whoever knows the kind. Pure.

use std::ops::Range;

use prost::Message as _;
use prost::bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::message::{List, MAGIC, Status, Unknown};

/// A page of a list.
#[derive(Debug)]
pub(crate) struct Page {
    /// The version of the list. All of its pages have the same.
    pub(crate) resource_version: Option<String>,
    /// What the next page is asked for with; none on the last.
    pub(crate) token: Option<String>,
    items: Items,
}

#[derive(Debug)]
enum Items {
    Protobuf(Vec<Bytes>),
    Json { text: String, items: Vec<Range<usize>> },
}

/// An item of a list.
#[derive(Debug)]
pub(crate) enum Item<'a> {
    /// The bytes of its message.
    Protobuf(Bytes),
    /// Its text.
    Json(&'a str),
}

impl Page {
    /// Reads a body in the form in which it came, which need not be the one that was asked for.
    ///
    /// # Errors
    /// What is not a whole list.
    pub(crate) fn read(body: Vec<u8>) -> Result<Self, String> {
        if body.starts_with(MAGIC) { Self::protobuf(body) } else { Self::json(body) }
    }

    fn protobuf(body: Vec<u8>) -> Result<Self, String> {
        let broken = |error: prost::DecodeError| format!("the answer is no protobuf that can be read: {error}");
        let (kind, raw) = unknown(body.into()).map_err(broken)?;
        see_that_it_is_a_list(kind.as_deref())?;
        let List { metadata, items } = List::decode(raw).map_err(broken)?;
        let Some(metadata) = metadata else { return Err("the list has no metadata: the answer was cut off".to_owned()) };
        Ok(Self {
            resource_version: metadata.resource_version.filter(|version| !version.is_empty()),
            token: metadata.r#continue.filter(|token| !token.is_empty()),
            items: Items::Protobuf(items),
        })
    }

    fn json(body: Vec<u8>) -> Result<Self, String> {
        let text = String::from_utf8(body).map_err(|_| "the answer is neither protobuf nor JSON".to_owned())?;
        let list: JsonList<'_> = serde_json::from_str(&text).map_err(|error| {
            let start: String = text.chars().take(40).collect();
            format!("the answer is no list that can be read: {error}; it begins with {start:?}")
        })?;
        see_that_it_is_a_list(list.kind.as_deref())?;
        let start_of = |item: &RawValue| item.get().as_ptr().addr().saturating_sub(text.as_ptr().addr());
        let items = list.items.unwrap_or_default().into_iter();
        let items = items.map(|item| start_of(item)..start_of(item) + item.get().len()).collect();
        let JsonListMeta { resource_version, r#continue } = list.metadata;
        Ok(Self {
            resource_version: resource_version.filter(|version| !version.is_empty()),
            token: r#continue.filter(|token| !token.is_empty()),
            items: Items::Json { text, items },
        })
    }

    /// The items, in the order of the list.
    pub(crate) fn items(&self) -> impl Iterator<Item = Item<'_>> {
        let (protobuf, json) = match &self.items {
            Items::Protobuf(items) => (Some(items.iter().map(|item| Item::Protobuf(item.clone()))), None),
            Items::Json { text, items } => {
                let item = |range: &Range<usize>| Item::Json(text.get(range.clone()).unwrap_or_default());
                (None, Some(items.iter().map(item)))
            }
        };
        protobuf.into_iter().flatten().chain(json.into_iter().flatten())
    }
}

/// What an answer in protobuf holds, and its kind.
fn unknown(mut body: Bytes) -> Result<(Option<String>, Bytes), prost::DecodeError> {
    let _ = body.split_to(MAGIC.len().min(body.len()));
    let Unknown { type_meta, raw } = Unknown::decode(body)?;
    Ok((type_meta.and_then(|meta| meta.kind), raw.unwrap_or_default()))
}

/// Every list is called so (API conventions, "Lists and Simple kinds").
fn see_that_it_is_a_list(kind: Option<&str>) -> Result<(), String> {
    match kind {
        Some(kind) if kind.ends_with("List") => Ok(()),
        Some(kind) => Err(format!("the answer is a {kind}, and no list")),
        None => Err("the answer is no list: it says no kind".to_owned()),
    }
}

#[derive(Deserialize)]
struct JsonList<'a> {
    kind: Option<String>,
    metadata: JsonListMeta,
    /// Must be there: a list without it was cut off. Servers write null for none.
    #[serde(borrow, deserialize_with = "Option::deserialize")]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonListMeta {
    resource_version: Option<String>,
    r#continue: Option<String>,
}

/// What a refusal says; none where it is no `Status`.
pub(crate) fn status(body: &[u8]) -> Option<Status> {
    if body.starts_with(MAGIC) {
        let (kind, raw) = unknown(Bytes::copy_from_slice(body)).ok()?;
        kind.filter(|kind| kind == "Status").and_then(|_| Status::decode(raw).ok())
    } else {
        serde_json::from_slice(body).ok()
    }
}
