//! Which manifests a registry cannot read, though they lie in its storage and hash right.
//!
//! Distribution reads each manifest that it serves into the types of its fields (`registry/storage/manifeststore.go` and the packages
//! below `manifest/`), and answers 500 where they do not fit; a push of the same bytes it refuses, so that somebody else wrote them. By its
//! releases 2.8 and 3; where the two differ nothing is said. Schema 1 and artifact manifests are not judged: it depends on the registry.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use super::{DOCKER_LIST, DOCKER_MANIFEST, DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED, OCI_ARTIFACT, OCI_INDEX, OCI_MANIFEST};

/// What a field must be. As Go's `encoding/json` does it, null is as good as nothing, the case of a field's name does not matter, and of a
/// field that is there twice both must fit.
#[derive(Clone, Copy)]
enum Shape {
    Text,
    Number,
    /// An object whose values are texts.
    Texts,
    List(&'static Shape),
    /// An object with these fields; others do not matter.
    Fields(Fields),
}

type Fields = &'static [(&'static str, Shape)];

const LIST_OF_TEXTS: Shape = Shape::List(&Shape::Text);
const PLATFORM: Fields = &[
    ("architecture", Shape::Text),
    ("os", Shape::Text),
    ("os.version", Shape::Text),
    ("os.features", LIST_OF_TEXTS),
    ("variant", Shape::Text),
];
const DESCRIPTOR: Shape = Shape::Fields(&[
    ("mediaType", Shape::Text),
    ("size", Shape::Number),
    ("digest", Shape::Text),
    ("urls", LIST_OF_TEXTS),
    ("annotations", Shape::Texts),
    ("platform", Shape::Fields(PLATFORM)),
]);
const HEAD: Fields = &[("schemaVersion", Shape::Number), ("mediaType", Shape::Text)];
const DOCKER_IMAGE: Fields = &[("config", DESCRIPTOR), ("layers", Shape::List(&DESCRIPTOR))];
const OCI_IMAGE: Fields = &[("config", DESCRIPTOR), ("layers", Shape::List(&DESCRIPTOR)), ("annotations", Shape::Texts)];
const INDEX: Fields = &[("manifests", Shape::List(&DESCRIPTOR))];
/// A list of Docker's has features of the processor too.
const FEATURES: Fields = &[("manifests", Shape::List(&Shape::Fields(&[("platform", Shape::Fields(&[("features", LIST_OF_TEXTS)]))])))];

/// Why a registry cannot read these bytes, which are a JSON object, as a phrase that begins in lower case; `None` where it can, or where
/// that depends on the registry.
#[must_use]
pub fn refusal(bytes: &[u8]) -> Option<String> {
    // What is no UTF-8 is replaced, by registries too.
    refused(&String::from_utf8_lossy(bytes)).err()
}

fn refused(text: &str) -> Result<(), String> {
    fits(text, HEAD)?;
    let head = Head::read(text);
    match head.schema_version {
        1 => return Ok(()),
        2 => {}
        _ if head.media_type == OCI_ARTIFACT => return Ok(()),
        other => return Err(format!("its schemaVersion is {other}")),
    }
    match &*head.media_type {
        DOCKER_MANIFEST => fits(text, DOCKER_IMAGE),
        OCI_MANIFEST => fits(text, OCI_IMAGE),
        DOCKER_LIST => fits(text, INDEX).and_then(|()| fits(text, FEATURES)),
        OCI_INDEX => fits(text, INDEX),
        // Without a type it is an index where it has entries.
        "" if head.has_manifests && fits(text, INDEX).is_ok() => Ok(()),
        "" => fits(text, OCI_IMAGE),
        DOCKER_SCHEMA1 | DOCKER_SCHEMA1_SIGNED | OCI_ARTIFACT => Ok(()),
        other => Err(format!("its mediaType {other:?} is none of a manifest")),
    }
}

/// Whether a document has these fields.
fn fits(text: &str, fields: Fields) -> Result<(), String> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    match Shape::Fields(fields).deserialize(&mut deserializer) {
        // What else is wrong is told by who reads all of it.
        Err(error) if error.classify() == Category::Data => Err(error.to_string()),
        _ => Ok(()),
    }
}

/// What a registry reads first.
#[derive(Default)]
struct Head {
    schema_version: i64,
    media_type: String,
    has_manifests: bool,
}

impl Head {
    /// Of a document that fits.
    fn read(text: &str) -> Self {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        deserializer.deserialize_map(HeadVisitor).unwrap_or_default()
    }
}

struct HeadVisitor;

impl<'de> Visitor<'de> for HeadVisitor {
    type Value = Head;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Head, A::Error> {
        let mut head = Head::default();
        while let Some(key) = map.next_key::<String>()? {
            let is = |name: &str| key.eq_ignore_ascii_case(name);
            // The last counts that is not null.
            if is("schemaVersion") {
                head.schema_version =
                    map.next_value::<Option<serde_json::Number>>()?.map_or(head.schema_version, |number| number.as_i64().unwrap_or(0));
            } else if is("mediaType") {
                head.media_type = map.next_value::<Option<String>>()?.unwrap_or(head.media_type);
            } else if is("manifests") {
                head.has_manifests |= map.next_value::<Option<IgnoredAny>>()?.is_some();
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(head)
    }
}

impl<'de> DeserializeSeed<'de> for Shape {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Shape {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Text => "a text",
            Self::Number => "a whole number",
            Self::Texts => "an object of texts",
            Self::List(_) => "a list",
            Self::Fields(_) => "an object",
        })
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if matches!(self, Self::Text) { Ok(()) } else { Err(E::invalid_type(serde::de::Unexpected::Str(text), &self)) }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        if matches!(self, Self::Number) { Ok(()) } else { Err(E::invalid_type(serde::de::Unexpected::Signed(number), &self)) }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        match self {
            Self::Number if i64::try_from(number).is_ok() => Ok(()),
            _ => Err(E::invalid_type(serde::de::Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        match self {
            // -0 comes as this, and is a whole number.
            Self::Number if number == 0.0 => Ok(()),
            _ => Err(E::invalid_type(serde::de::Unexpected::Float(number), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self::List(shape) = self else { return Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self)) };
        while list.next_element_seed(*shape)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        match self {
            Self::Texts => {
                while map.next_key::<IgnoredAny>()?.is_some() {
                    map.next_value_seed(Self::Text)?;
                }
            }
            Self::Fields(fields) => {
                while let Some(key) = map.next_key::<String>()? {
                    match fields.iter().find(|(name, _)| key.eq_ignore_ascii_case(name)) {
                        Some((_, shape)) => map.next_value_seed(*shape)?,
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
            }
            _ => return Err(A::Error::invalid_type(serde::de::Unexpected::Map, &self)),
        }
        Ok(())
    }
}
#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Fields of an image of Docker, an OCI image and an index each, and whether one that has them so can be read. That a registry agrees
    /// is asserted with many more of them, by `reg-check` on one that runs.
    #[test]
    fn types_of_fields_decide() {
        let descriptor = json!({"mediaType": "a/b", "size": 1, "digest": "sha256:12", "platform": {"os": "linux"}, "more": {}});
        let with = |media_type: &str, fields: &[(&str, Value)]| {
            let list = [&descriptor];
            let mut document =
                json!({"schemaVersion": 2, "mediaType": media_type, "config": descriptor, "layers": list, "manifests": list});
            for (name, value) in fields {
                document[name] = value.clone();
            }
            refusal(document.to_string().as_bytes())
        };
        let texts = json!({"a": 1});
        for media_type in [DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX, "", OCI_ARTIFACT, DOCKER_SCHEMA1] {
            assert_eq!(with(media_type, &[]), None, "{media_type}");
            assert_eq!(with(media_type, &[("layers", json!(null)), ("manifests", json!([null])), ("mediaType", json!(media_type))]), None);
        }
        assert_eq!(with("a/b", &[]).unwrap(), "its mediaType \"a/b\" is none of a manifest");
        assert_eq!(with(OCI_INDEX, &[("schemaVersion", json!(null))]).unwrap(), "its schemaVersion is 0");
        assert_eq!(with("a/b", &[("schemaVersion", json!(1))]), None);
        assert_eq!(with(OCI_ARTIFACT, &[("schemaVersion", json!(null))]), None);
        for (media_type, field, value, is_refused) in [
            (OCI_MANIFEST, "annotations", texts.clone(), true),
            (DOCKER_MANIFEST, "annotations", texts.clone(), false),
            (OCI_INDEX, "annotations", texts, false),
            (DOCKER_MANIFEST, "config", json!({"size": "1"}), true),
            (DOCKER_LIST, "config", json!({"size": "1"}), false),
            (OCI_MANIFEST, "layers", json!([{"size": 1.5}]), true),
            (OCI_INDEX, "manifests", json!([{"platform": {"os.features": "x"}}]), true),
            (OCI_MANIFEST, "manifests", json!("x"), false),
        ] {
            assert_eq!(with(media_type, &[(field, value.clone())]).is_some(), is_refused, "{media_type} {field} {value}");
        }
    }

    #[test]
    fn fields_are_told_as_go_tells_them() {
        let with = |fields: &str| refusal(format!(r#"{{"schemaVersion": 2, "mediaType": "{OCI_MANIFEST}", {fields}}}"#).as_bytes());
        let says = |fields: &str, what: &str| assert!(with(fields).is_some_and(|why| why.contains(what)), "{fields}: {:?}", with(fields));
        for fields in [
            r#""config": {"size": 1, "size": 2}"#,
            r#""config": {"size": -0}"#,
            r#""SchemaVersion": 2"#,
            r#""schemaVersion": null"#,
            r#""annotations": {"a": "\ud800"}"#,
        ] {
            assert_eq!(with(fields), None, "{fields}");
        }
        says(r#""config": {"size": "1", "size": 1}"#, "invalid type: string \"1\", expected a whole number");
        says(r#""config": {"size": 1, "Size": "1"}"#, "expected a whole number");
        says(r#""schemaVersion": "2", "schemaVersion": 2"#, "expected a whole number");
        says(r#""SchemaVersion": 3"#, "its schemaVersion is 3");
        says(r#""layers": [{"urls": {}}]"#, "expected a list");
        says(r#""layers": true"#, "expected a list");
        // Registries replace what is no UTF-8.
        let bytes = [br#"{"schemaVersion": 2, "annotations": {"a"#, &[0xff][..], br#"": ""#, &[0xfe], br#""}}"#].concat();
        assert_eq!(refusal(&bytes), None);
        let list = |features: &str| {
            let text = format!(
                r#"{{"schemaVersion": 2, "mediaType": "{DOCKER_LIST}", "manifests": [{{"platform": {{"features": {features}}}}}]}}"#
            );
            refusal(text.as_bytes())
        };
        assert_eq!((list(r#"["sse4"]"#), list(r#""sse4""#).is_some()), (None, true));
    }
}
