//! What an API server answers: a page of a list, or the `Status` of a refusal, in protobuf or in JSON.
//!
//! Owns the envelopes, and taking a page apart while it comes in: of a page in protobuf no more is held than one item. What an item
//! means is for whoever knows the kind. Pure.
//!
//! Rules: Kubernetes API concepts, "Protobuf encoding" (four bytes, and `runtime.Unknown` with the list in `raw`); protobuf encoding,
//! "Message Structure".

use std::ops::Range;

use prost::Message as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::message::{ListMeta, MAGIC, Status, TypeMeta, Unknown};
use super::wire;

/// What comes before the items of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// The version of the list. All of its pages have the same.
    pub(crate) resource_version: Option<String>,
    /// What the next page is asked for with; none on the last.
    pub(crate) token: Option<String>,
}

impl Head {
    fn new(resource_version: Option<String>, token: Option<String>, remaining: Option<i64>) -> Result<Self, Broken> {
        let [resource_version, token] = [resource_version, token].map(|text| text.filter(|text| !text.is_empty()));
        match remaining {
            // Where there is no token, there is nothing left, and this is not set (API reference, ListMeta).
            Some(remaining) if remaining > 0 && token.is_none() => Err(Broken::Stranger(format!(
                "the list ends {remaining} objects before its end (metadata.remainingItemCount without metadata.continue)"
            ))),
            _ => Ok(Self { resource_version, token }),
        }
    }
}

/// A part of a page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// What comes before the items.
    Head(Head),
    /// An item.
    Item(Item<'a>),
}

/// An item of a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// The bytes of its message.
    Protobuf(&'a [u8]),
    /// Its text.
    Json(&'a str),
}

/// Why a page cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It ended before its end.
    Cut,
    /// It is no page of a list.
    Stranger(String),
}

impl Broken {
    fn stranger(cause: impl ToString) -> Self {
        Self::Stranger(cause.to_string())
    }
}

/// Takes a page apart.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    /// What came. What is before `start` was looked at.
    bytes: Vec<u8>,
    start: usize,
    state: State,
    /// Of which kind the list must be; none where any will do.
    kind: Option<String>,
}

#[derive(Debug, Default)]
enum State {
    /// Nothing is known yet.
    #[default]
    Begin,
    /// Within `runtime.Unknown`, before its list.
    Before { kind: Option<String> },
    /// Within the list, of which so many bytes are to come.
    List { left: usize, has_head: bool },
    /// Within `runtime.Unknown`, after its list.
    After,
    /// In JSON, which is read when all of it is there.
    Json,
    /// In JSON, of which all is there.
    JsonItems { head: Option<Head>, items: std::vec::IntoIter<Range<usize>> },
}

/// A part of a page, and where in the buffer it is.
enum Found {
    Head(Head),
    Protobuf(Range<usize>),
    Json(Range<usize>),
}

/// The numbers of the fields that are looked at on the way to the items.
mod number {
    pub(super) const UNKNOWN_TYPE_META: u64 = 1;
    pub(super) const UNKNOWN_RAW: u64 = 2;
    pub(super) const LIST_METADATA: u64 = 1;
    pub(super) const LIST_ITEMS: u64 = 2;
}

impl Pages {
    /// Of a list of a kind, such as `PodList`.
    pub(crate) fn of(kind: Option<&str>) -> Self {
        Self { kind: kind.map(str::to_owned), ..Self::default() }
    }

    /// Takes what came.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next part, if all of it is there.
    ///
    /// # Errors
    /// What is no page of a list.
    pub(crate) fn next(&mut self) -> Result<Option<Part<'_>>, Broken> {
        let Some(found) = self.find()? else { return Ok(None) };
        let bytes = |range| self.bytes.get(range).unwrap_or_default();
        Ok(Some(match found {
            Found::Head(head) => Part::Head(head),
            Found::Protobuf(range) => Part::Item(Item::Protobuf(bytes(range))),
            Found::Json(range) => Part::Item(Item::Json(str::from_utf8(bytes(range)).map_err(Broken::stranger)?)),
        }))
    }

    fn find(&mut self) -> Result<Option<Found>, Broken> {
        loop {
            match &mut self.state {
                State::Begin => {
                    let seen = self.bytes.len().min(MAGIC.len());
                    if self.bytes.get(..seen) != MAGIC.get(..seen) {
                        self.state = State::Json;
                    } else if seen < MAGIC.len() {
                        return Ok(None);
                    } else {
                        self.start = seen;
                        self.state = State::Before { kind: None };
                    }
                }
                State::Before { kind } => {
                    let Some(field) = field(&self.bytes, self.start)? else { return Ok(None) };
                    if field.number == number::UNKNOWN_RAW {
                        see_that_it_is_a_list(kind.as_deref(), self.kind.as_deref())?;
                        self.start = field.value.start;
                        self.state = State::List { left: field.value.len(), has_head: false };
                        continue;
                    }
                    let Some(value) = self.bytes.get(field.value.clone()) else { return Ok(None) };
                    if field.number == number::UNKNOWN_TYPE_META {
                        *kind = TypeMeta::decode(value).map_err(Broken::stranger)?.kind;
                    }
                    self.start = field.value.end;
                }
                State::List { left: 0, has_head: true } => self.state = State::After,
                State::List { left: 0, has_head: false } => return Err(Broken::stranger("the list has no metadata")),
                State::List { left, has_head } => {
                    let Some(field) = field(&self.bytes, self.start)? else { return Ok(None) };
                    let after = left.checked_sub(field.value.end - self.start);
                    let after = after
                        .ok_or_else(|| Broken::stranger("the answer is no list in protobuf: a part of it is longer than all of it"))?;
                    let Some(value) = self.bytes.get(field.value.clone()) else { return Ok(None) };
                    *left = after;
                    self.start = field.value.end;
                    match field.number {
                        number::LIST_METADATA => {
                            *has_head = true;
                            let ListMeta { resource_version, r#continue, remaining_item_count } =
                                ListMeta::decode(value).map_err(Broken::stranger)?;
                            return Ok(Some(Found::Head(Head::new(resource_version, r#continue, remaining_item_count)?)));
                        }
                        number::LIST_ITEMS => return Ok(Some(Found::Protobuf(field.value))),
                        _ => {}
                    }
                }
                State::After => {
                    let Some(field) = field(&self.bytes, self.start)? else { return Ok(None) };
                    if field.value.end > self.bytes.len() {
                        return Ok(None);
                    }
                    self.start = field.value.end;
                }
                State::Json => return Ok(None),
                State::JsonItems { head, items } => {
                    return Ok(head.take().map(Found::Head).or_else(|| items.next().map(Found::Json)));
                }
            }
        }
    }

    /// Says that no more comes. Of a page in JSON, the parts are to be had only now.
    ///
    /// # Errors
    /// A page that was cut off, and what is no page of a list.
    pub(crate) fn end(&mut self) -> Result<(), Broken> {
        match self.state {
            State::After if self.start == self.bytes.len() => Ok(()),
            State::Begin | State::Before { .. } | State::List { .. } | State::After => Err(Broken::Cut),
            State::Json => {
                self.state = json(&self.bytes, self.kind.as_deref())?;
                Ok(())
            }
            State::JsonItems { .. } => Ok(()),
        }
    }
}

/// A field of a message.
struct Field {
    number: u64,
    /// Where in the buffer its value is, or will be.
    value: Range<usize>,
}

/// The field that begins at an offset; none where its number and length are not there yet.
fn field(bytes: &[u8], start: usize) -> Result<Option<Field>, Broken> {
    /// The wire type of what has a length.
    const LENGTH_DELIMITED: u64 = 2;
    let Some((key, start)) = varint(bytes, start)? else { return Ok(None) };
    let (number, wire_type) = (key >> 3, key & 7);
    if wire_type != LENGTH_DELIMITED {
        // Neither `runtime.Unknown` nor a list has any other fields.
        return Err(Broken::Stranger(format!("the answer is no list in protobuf: field {number} is of the type {wire_type}")));
    }
    let Some((length, start)) = varint(bytes, start)? else { return Ok(None) };
    let end = usize::try_from(length).ok().and_then(|length| start.checked_add(length));
    let end = end.ok_or_else(|| Broken::stranger("the answer is no list in protobuf: a length is beyond all measure"))?;
    Ok(Some(Field { number, value: start..end }))
}

/// The number that begins at an offset, and where it ends; none where it is not all there.
fn varint(bytes: &[u8], start: usize) -> Result<Option<(u64, usize)>, Broken> {
    let read = wire::varint(bytes.get(start..).unwrap_or_default());
    let read = read.map_err(|_| Broken::stranger("the answer is no list in protobuf: a number is beyond all measure"))?;
    Ok(read.map(|(value, length)| (value, start + length)))
}

fn json(body: &[u8], expected: Option<&str>) -> Result<State, Broken> {
    let list: JsonList<'_> = serde_json::from_slice(body).map_err(|error| {
        if error.is_eof() {
            return Broken::Cut;
        }
        let start: String = String::from_utf8_lossy(body).chars().take(40).collect();
        Broken::Stranger(format!("the answer is no list that can be read: {error}; it begins with {start:?}"))
    })?;
    see_that_it_is_a_list(list.kind.as_deref(), expected)?;
    let start_of = |item: &RawValue| item.get().as_ptr().addr().saturating_sub(body.as_ptr().addr());
    let range = |item: &RawValue| start_of(item)..start_of(item) + item.get().len();
    let items: Vec<Range<usize>> = list.items.unwrap_or_default().into_iter().map(range).collect();
    let JsonListMeta { resource_version, r#continue, remaining_item_count } = list.metadata;
    Ok(State::JsonItems { head: Some(Head::new(resource_version, r#continue, remaining_item_count)?), items: items.into_iter() })
}

/// Every list is called so (API conventions, "Lists and Simple kinds"). One of other things says nothing of what was asked for.
fn see_that_it_is_a_list(kind: Option<&str>, expected: Option<&str>) -> Result<(), Broken> {
    match kind {
        Some(kind) if kind.ends_with("List") && expected.is_some_and(|expected| kind != expected) => {
            Err(Broken::Stranger(format!("the answer is a {kind}, and no {}", expected.unwrap_or_default())))
        }
        Some(kind) if kind.ends_with("List") => Ok(()),
        Some(kind) => Err(Broken::Stranger(format!("the answer is a {kind}, and no list"))),
        None => Err(Broken::stranger("the answer is no list: it says no kind")),
    }
}

#[derive(Deserialize)]
struct JsonList<'a> {
    kind: Option<String>,
    metadata: JsonListMeta,
    /// Must be there. Servers write null for none.
    #[serde(borrow, deserialize_with = "Option::deserialize")]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonListMeta {
    resource_version: Option<String>,
    r#continue: Option<String>,
    remaining_item_count: Option<i64>,
}

/// What a refusal says; none where it is no `Status`.
pub(crate) fn status(body: &[u8]) -> Option<Status> {
    match body.strip_prefix(MAGIC) {
        Some(body) => {
            let Unknown { type_meta, raw } = Unknown::decode(body).ok()?;
            type_meta.filter(|meta| meta.kind.as_deref() == Some("Status")).and_then(|_| Status::decode(raw.as_deref()?).ok())
        }
        None => serde_json::from_slice(body).ok(),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::super::message::{ListMeta, PodTemplate};
    use super::super::testing::{enveloped, forbidden, page, pod_templates};
    use super::*;

    /// The parts of a page that comes in pieces of a size: `version token` of its head, and the items.
    fn parts(body: &[u8], size: usize) -> Result<Vec<String>, Broken> {
        let mut pages = Pages::default();
        let mut parts = Vec::new();
        let mut pieces = body.chunks(size);
        loop {
            let piece = pieces.next();
            match piece {
                Some(piece) => pages.push(piece),
                None => pages.end()?,
            }
            while let Some(part) = pages.next()? {
                parts.push(match part {
                    Part::Head(Head { resource_version, token }) => {
                        format!("{} {}", resource_version.as_deref().unwrap_or("-"), token.as_deref().unwrap_or("-"))
                    }
                    Part::Item(Item::Protobuf(bytes)) => format!("{bytes:?}"),
                    Part::Item(Item::Json(text)) => text.to_owned(),
                });
            }
            if piece.is_none() {
                return Ok(parts);
            }
        }
    }

    #[test]
    fn pieces_of_any_size_make_the_same_page() {
        let items: Vec<Vec<u8>> = vec![vec![1, 2], vec![], vec![7; 300]];
        let expected: Vec<String> = std::iter::once("5 abc".to_owned()).chain(items.iter().map(|item| format!("{item:?}"))).collect();
        let body = page("PodList", "5", "abc", items);
        for size in (1..20).chain([100, 1000]) {
            assert_eq!(parts(&body, size).as_ref(), Ok(&expected), "{size}");
        }
        assert_eq!(parts(&page("PodList", "5", "", vec![]), 3), Ok(vec!["5 -".to_owned()]));
    }

    #[test]
    fn what_a_real_server_sends() {
        let body = pod_templates();
        let mut pages = Pages::default();
        pages.push(&body);
        let Some(Part::Head(head)) = pages.next().unwrap() else { panic!("no head") };
        assert_eq!(head.resource_version.as_deref(), Some("794"));
        assert_eq!(head.token.as_deref(), Some("eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6Nzk0LCJzdGFydCI6Ii9hXHUwMDAwIn0"));
        let Some(Part::Item(Item::Protobuf(item))) = pages.next().unwrap() else { panic!("no item") };
        let template = PodTemplate::decode(item).unwrap();
        let spec = template.template.unwrap().spec.unwrap();
        let image = |container: &super::super::message::Container| container.image.clone().unwrap();
        assert_eq!(template.metadata.unwrap().name.as_deref(), Some("a"));
        assert_eq!(
            [&spec.containers, &spec.init_containers].map(|list| list.iter().map(image).collect::<String>()),
            ["r.io/c:a", "r.io/i:1"]
        );
        assert_eq!(pages.next(), Ok(None));
        assert_eq!(pages.end(), Ok(()));
    }

    #[test]
    fn a_page_that_ends_early_is_cut_wherever_it_ends() {
        let json = r#"{"kind":"PodList","metadata":{"resourceVersion":"5"},"items":[{"a":1}]}"#.as_bytes().to_vec();
        for body in [pod_templates(), page("PodList", "5", "", vec![vec![1; 5]]), json] {
            for end in 0..body.len() {
                // A real server writes two empty fields after the list, of two bytes each.
                let is_whole = parts(&body[..end], 50).is_ok();
                assert!(!is_whole || [2, 4].contains(&(body.len() - end)), "{end} of {}", body.len());
            }
            assert!(parts(&body, 50).is_ok());
        }
        assert_eq!(parts(b"k8s", 1), Err(Broken::Cut));
        assert_eq!(parts(b"", 1), Err(Broken::Cut));
    }

    #[test]
    fn what_is_no_list_is_a_stranger() {
        let head = ListMeta { resource_version: Some("1".to_owned()), ..ListMeta::default() }.encode_to_vec();
        let more = ListMeta { remaining_item_count: Some(3), ..ListMeta::default() }.encode_to_vec();
        let more = [&[0x0a, u8::try_from(more.len()).unwrap()][..], &more].concat();
        let long = [&[0x12][..], &[0xff; 9], &[1]].concat();
        for (body, expected) in [
            (forbidden(), "the answer is a Status, and no list"),
            (b"<html>".to_vec(), "the answer is no list that can be read: expected value"),
            (br#"{"kind":"Status","metadata":{},"items":[]}"#.to_vec(), "the answer is a Status"),
            (br#"{"kind":"PodList","metadata":{}}"#.to_vec(), "the answer is no list that can be read: missing field `items`"),
            (br#"{"kind":"PodList","items":[]}"#.to_vec(), "the answer is no list that can be read: missing field `metadata`"),
            (br#"{"metadata":{},"items":[]}"#.to_vec(), "the answer is no list: it says no kind"),
            (br#"{"kind":"PodList","metadata":{"remainingItemCount":3},"items":[]}"#.to_vec(), "the list ends 3 objects before its end"),
            (enveloped("PodList", more), "the list ends 3 objects before its end"),
            (enveloped("PodList", vec![]), "the list has no metadata"),
            (enveloped("PodList", vec![0x08, 1]), "the answer is no list in protobuf: field 1 is of the type 0"),
            (enveloped("PodList", [&[0x0a, 100][..], &head].concat()), "the answer is no list in protobuf: a part of it is longer"),
            (enveloped("PodList", [&[0x0a][..], &[0xff; 10]].concat()), "the answer is no list in protobuf: a number is beyond"),
            (enveloped("PodList", long), "the answer is no list in protobuf: a"),
            (enveloped("PodList", vec![0x0a, 1, 0xff]), "failed to decode Protobuf message"),
        ] {
            for size in [1, 1000] {
                match parts(&body, size) {
                    Err(Broken::Stranger(cause)) => assert!(cause.starts_with(expected), "{cause}"),
                    other => panic!("{expected}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn a_page_in_json() {
        let body = r#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":"t","remainingItemCount":1},
            "items":[{"a": "ü"}, {"b":2}]}"#;
        assert_eq!(parts(body.as_bytes(), 5), Ok(["7 t", "{\"a\": \"ü\"}", "{\"b\":2}"].map(str::to_owned).to_vec()));
        let empty = r#"{"kind":"PodList","metadata":{"resourceVersion":"","continue":""},"items":null}"#;
        assert_eq!(parts(empty.as_bytes(), 5), Ok(vec!["- -".to_owned()]));
    }

    #[test]
    fn what_a_refusal_says() {
        let said = |body: &[u8]| status(body).map(|Status { reason, message }| (reason.unwrap_or_default(), message.unwrap_or_default()));
        let sentence = r#"pods is forbidden: User "nobody" cannot list resource "pods" in API group "" at the cluster scope"#;
        assert_eq!(said(&forbidden()), Some(("Forbidden".to_owned(), sentence.to_owned())));
        assert_eq!(
            said(br#"{"kind":"Status","reason":"Expired","message":"m","details":{}}"#),
            Some(("Expired".to_owned(), "m".to_owned()))
        );
        assert_eq!(said(b"{}"), Some(Default::default()));
        for body in [&b"404 page not found"[..], b"k8s\0", b"k8s\0\xff", b"", &pod_templates()] {
            assert_eq!(said(body), None);
        }
    }
}
