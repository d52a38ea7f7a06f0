//! Values that may be of any type: what is not of the type wanted counts as absent, and the rest of the document stands.
//!
//! For fields alone whose loss costs a date, a size or a word.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserializer;
use serde::de::{Deserialize, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A text, or nothing.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    Text::deserialize(deserializer).map(|text| text.0)
}

/// The texts of an object, without its values that are none; of anything else, nothing.
pub(super) fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    deserializer.deserialize_any(Texts)
}

/// A number of bytes: 0 where it is none or negative, the largest number where it is larger than that.
pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_any(Size)
}

/// Whether a list has anything in it; of anything else, no.
pub(super) fn has_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    deserializer.deserialize_any(Any)
}

struct Text<'de>(Option<Cow<'de, str>>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor).map(Self)
    }
}

/// The methods by which a visitor takes what it does not want for nothing.
macro_rules! nothing {
    ($($method:ident: $type:ty),*) => {
        $(fn $method<E: Error>(self, _: $type) -> Result<Self::Value, E> { Ok(Self::Value::default()) })*
    };
}
macro_rules! no_null {
    () => {
        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
    };
}
macro_rules! no_list {
    () => {
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
    };
}
macro_rules! no_object {
    () => {
        fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
            while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
    };
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("anything")
    }
    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }
    nothing!(visit_bool: bool, visit_u64: u64, visit_i64: i64, visit_f64: f64);
    no_null!();
    no_list!();
    no_object!();
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("anything")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        let mut has_any = false;
        while list.next_element::<IgnoredAny>()?.is_some() {
            has_any = true;
        }
        Ok(has_any)
    }
    nothing!(visit_bool: bool, visit_u64: u64, visit_i64: i64, visit_f64: f64, visit_str: &str);
    no_null!();
    no_object!();
}

struct Texts;

impl<'de> Visitor<'de> for Texts {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("anything")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut texts = BTreeMap::new();
        while let Some((key, value)) = object.next_entry::<String, Text<'de>>()? {
            if let Some(text) = value.0 {
                texts.insert(key, text.into_owned());
            }
        }
        Ok(texts)
    }
    nothing!(visit_bool: bool, visit_u64: u64, visit_i64: i64, visit_f64: f64, visit_str: &str);
    no_null!();
    no_list!();
}

struct Size;

impl<'de> Visitor<'de> for Size {
    type Value = u64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("anything")
    }
    fn visit_u64<E: Error>(self, size: u64) -> Result<u64, E> {
        Ok(size)
    }
    fn visit_i64<E: Error>(self, size: i64) -> Result<u64, E> {
        Ok(u64::try_from(size).unwrap_or(0))
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a conversion from floating point stops at the ends")]
    fn visit_f64<E: Error>(self, size: f64) -> Result<u64, E> {
        Ok(size as u64)
    }
    nothing!(visit_bool: bool, visit_str: &str);
    no_null!();
    no_list!();
    no_object!();
}
