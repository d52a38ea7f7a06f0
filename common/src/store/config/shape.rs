//! The document behind a configuration, in the types that the registry gives its parts, and how a variable overwrites a part.
//!
//! The types matter: they say which variables are heard. A struct hears the names of its fields and no others, a map makes
//! what it does not have, and what stands below a parameter cannot be reached. What the parts mean is left to the parent.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::{Map, Value};
use serde_saphyr::{DuplicateKeyPolicy, NonFiniteFloatPolicy};

/// The type of a part of the document.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// A struct: these fields; what else is written there is passed over.
    Fields(&'static [(&'static str, Shape)]),
    /// `storage` and `auth`: parameters under a name each, or a name alone.
    Sections,
    /// Values of any type by name.
    Parameters,
    /// A list of one type.
    List(&'static Shape),
    /// A text as it is written: the password 0123 is no number.
    Text,
    /// What YAML makes of it.
    Any,
}

/// A text that is not YAML, or not of the type that belongs there. The parser's own message may quote the text, which may be
/// a password; so all that is known of it is the line.
#[derive(Debug)]
pub(super) struct Fault {
    /// The line, from 1.
    pub(super) line: Option<u64>,
}

/// What came of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// The part has its value.
    Set,
    /// No part that is looked at has this name.
    Unknown,
    /// It names something inside a parameter. The registry passes over such a variable where the parameter is there, and does
    /// not start where it is not.
    BelowParameter,
}

impl Shape {
    /// Reads YAML of this type; a text without a value is the type's zero value.
    pub(super) fn read(self, text: &str) -> Result<Value, Fault> {
        let options = serde_saphyr::options! {
            duplicate_keys: DuplicateKeyPolicy::LastWins,
            non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
            with_snippet: false,
        };
        if text.lines().all(|line| line.trim_start().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(self.zero());
        }
        serde_saphyr::with_deserializer_from_str_with_options(text, options, |deserializer| self.deserialize(deserializer))
            .map_err(|error| Fault { line: error.location().map(|location| location.line()) })
    }

    /// Gives the part at the path another value. The path is that of a variable, in capitals.
    pub(super) fn overwrite(self, part: &mut Value, path: &[&str], payload: &str) -> Result<Effect, Fault> {
        let [name, below @ ..] = path else { return Ok(Effect::Unknown) };
        match (self, part) {
            (Self::Fields(fields), Value::Object(content)) => {
                let Some((field, shape)) = fields.iter().find(|(field, _)| field.to_uppercase() == *name) else {
                    return Ok(Effect::Unknown);
                };
                if below.is_empty() {
                    content.insert((*field).to_owned(), shape.read(payload)?);
                    return Ok(Effect::Set);
                }
                shape.overwrite(content.entry(*field).or_insert_with(|| shape.zero()), below, payload)
            }
            (Self::Sections, Value::Object(content)) => {
                let key = name.to_lowercase();
                if below.is_empty() {
                    content.insert(key, Self::Parameters.read(payload)?);
                    return Ok(Effect::Set);
                }
                if let Some((_, section)) = content.iter_mut().find(|(section, _)| section.to_uppercase() == *name) {
                    return Self::Parameters.overwrite(section, below, payload);
                }
                // Made anew where the name does not match, even if it differs in nothing but the case.
                let mut section = Self::Parameters.zero();
                let effect = Self::Parameters.overwrite(&mut section, below, payload)?;
                content.insert(key, section);
                Ok(effect)
            }
            (Self::Parameters, Value::Object(content)) => {
                if !below.is_empty() {
                    return Ok(Effect::BelowParameter);
                }
                content.insert(name.to_lowercase(), Self::Any.read(payload)?);
                Ok(Effect::Set)
            }
            (Self::List(shape), Value::Array(items)) => {
                // Version 2 hears of no index, and version 3 does not start with one beyond the end.
                let Ok(index) = name.parse::<usize>() else { return Ok(Effect::Unknown) };
                if index == items.len() {
                    items.push(shape.zero());
                }
                items.get_mut(index).map_or(Ok(Effect::Unknown), |item| shape.overwrite(item, below, payload))
            }
            _ => Ok(Effect::Unknown),
        }
    }

    fn zero(self) -> Value {
        match self {
            Self::Fields(_) | Self::Sections | Self::Parameters => Value::Object(Map::new()),
            Self::List(_) => Value::Array(Vec::new()),
            Self::Text => Value::String(String::new()),
            Self::Any => Value::Null,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Shape {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self {
            Self::Fields(_) | Self::List(_) | Self::Parameters => deserializer.deserialize_option(Of(self)),
            Self::Sections => deserializer.deserialize_any(Of(self)),
            Self::Text => Ok(Value::String(Option::deserialize(deserializer)?.unwrap_or_default())),
            Self::Any => Value::deserialize(deserializer),
        }
    }
}

struct Of(Shape);

impl<'de> Visitor<'de> for Of {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if matches!(self.0, Shape::List(_)) { "a list" } else { "a mapping" })
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(self.0.zero())
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(self.0.zero())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if matches!(self.0, Shape::List(_)) { deserializer.deserialize_seq(self) } else { deserializer.deserialize_map(self) }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut content = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let shape = match self.0 {
                Shape::Fields(fields) => fields.iter().find(|(field, _)| *field == key).map(|(_, shape)| *shape),
                Shape::Sections => Some(Shape::Parameters),
                Shape::Parameters => Some(Shape::Any),
                Shape::List(_) | Shape::Text | Shape::Any => return Err(A::Error::custom("no mapping belongs here")),
            };
            if let Some(shape) = shape {
                content.insert(key, entries.next_value_seed(shape)?);
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Value::Object(content))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let Shape::List(shape) = self.0 else { return Err(A::Error::custom("no list belongs here")) };
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(*shape)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    /// `storage: filesystem` is the driver of that name without parameters.
    fn visit_str<E: de::Error>(self, name: &str) -> Result<Value, E> {
        if matches!(self.0, Shape::Sections) {
            return Ok(Value::Object(Map::from_iter([(name.to_owned(), Shape::Parameters.zero())])));
        }
        Err(E::custom("no text belongs here"))
    }
}
