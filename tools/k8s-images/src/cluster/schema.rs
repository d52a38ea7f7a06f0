//! Whether an object of a schema may name an image.
//!
//! Owns the reading of OpenAPI schemas: that of one version of a CustomResourceDefinition, in protobuf or in JSON, and whole documents in
//! which schemas refer to one another. What is read because of the answer is [`super::custom`]'s. Pure.
//!
//! The rule: an object may name an image where a text can stand under a key that names one ([`crate::image_key`]), which covers
//! every pod template, or where anything can stand: `x-kubernetes-preserve-unknown-fields`, `x-kubernetes-embedded-resource`, a value
//! without a type. An object without properties holds nothing in a CustomResourceDefinition, whose unknown fields are pruned
//! (Kubernetes, "Extend the Kubernetes API with CustomResourceDefinitions", "Field pruning"), and anything elsewhere. A map from any
//! key to texts, such as labels, does not count, nor does what is left open under `metadata`.
//!
//! No tree is built of a schema: there are some of two megabytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::wire::{Broken, Fields, Value};
use crate::image_key;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The deepest schema that is looked into: as deep as serde_json goes, which stops at 128 levels, of which each schema takes two.
const DEEPEST: usize = 64;

/// Whether an object of the schema (`openAPIV3Schema`) of a CustomResourceDefinition may name an image.
///
/// One that cannot be read, or is nested too deep, may hold anything.
pub(crate) fn may_name_images(schema: &[u8]) -> bool {
    let mut parser = serde_json::Deserializer::from_slice(schema);
    Reader { open: Open::ByMark }.deserialize(&mut parser).map_or(true, |schema| schema.names_images)
}

/// The same of the message `JSONSchemaProps`.
pub(crate) fn message_may_name_images(schema: &[u8]) -> bool {
    Reader { open: Open::ByMark }.message(schema, DEEPEST).map_or(true, |schema| schema.names_images)
}

/// The schemas of one version of an API group (`/openapi/v3/apis/GROUP/VERSION`), reduced to what they say of images.
#[derive(Debug)]
pub(crate) struct Document {
    schemas: BTreeMap<String, Schema>,
}

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// What is no such document, or is nested too deep.
    pub(crate) fn read(text: &[u8]) -> Result<Self, serde_json::Error> {
        let Titled { info } = serde_json::from_slice(text)?;
        // The title that the API server gives to what it makes of CustomResourceDefinitions. Their schemas are pruned here too.
        let open = if info.title == "Kubernetes CRD Swagger" { Open::ByMark } else { Open::WithoutProperties };
        let mut parser = serde_json::Deserializer::from_slice(text);
        let schemas = Within { key: "components", seed: Within { key: "schemas", seed: Schemas { reader: Reader { open } } } };
        Ok(Self { schemas: schemas.deserialize(&mut parser)?.flatten().unwrap_or_default() })
    }

    /// Whether an object of a kind may name an image; none where the document does not know the kind.
    pub(crate) fn may_name_images(&self, group: &str, version: &str, kind: &str) -> Option<bool> {
        let is_asked_for = |known: &Kind| known.group == group && known.version == version && known.kind == kind;
        let (name, _) = self.schemas.iter().find(|(_, schema)| schema.kinds.iter().any(is_asked_for))?;
        let mut seen = BTreeSet::new();
        let mut open: Vec<&str> = vec![name];
        while let Some(name) = open.pop() {
            // A schema that is named and not there may be anything.
            let Some(schema) = self.schemas.get(name) else { return Some(true) };
            if schema.names_images || schema.references.iter().any(|reference| self.is_image(reference)) {
                return Some(true);
            }
            let next = schema.references.iter().map(|reference| reference.to.as_str());
            open.extend(next.filter(|name| seen.insert(*name)));
        }
        Some(false)
    }

    /// Whether a reference leads from the key of an image to what can be one.
    fn is_image(&self, reference: &Reference) -> bool {
        reference.place == Place::Image && self.schemas.get(&reference.to).is_some_and(Schema::can_be_image)
    }
}

#[derive(Deserialize)]
struct Titled {
    #[serde(default)]
    info: Info,
}

#[derive(Default, Deserialize)]
struct Info {
    #[serde(default)]
    title: String,
}

/// What a schema says of images.
#[derive(Debug, Default)]
struct Schema {
    /// Whether an image can be named in it, whatever it refers to.
    names_images: bool,
    /// Whether it says what the value is.
    is_described: bool,
    /// Whether it is a text.
    is_text: bool,
    /// Whether it is an object with a text `reference`, as that under the key `image` of a volume is.
    has_reference: bool,
    /// The schemas that it refers to.
    references: Vec<Reference>,
    /// The kinds whose schema it is.
    kinds: Vec<Kind>,
}

impl Schema {
    /// Whether what stands under a key that names an image is one.
    fn can_be_image(&self) -> bool {
        self.is_text || self.has_reference
    }

    /// What it is, when all of it was seen.
    fn settled(mut self, of_type: Option<&str>, is_described: bool, open: Open) -> Self {
        self.is_described = is_described || of_type.is_some();
        self.is_text |= of_type == Some("string");
        self.names_images |= !is_described
            && match of_type {
                None => open != Open::Nothing,
                Some("object" | "array") => open == Open::WithoutProperties,
                Some(_) => false,
            };
        self
    }

    /// Takes the schema of a property.
    fn add_property(&mut self, key: &str, mut property: Self) {
        if key == METADATA {
            // The metadata that all objects have leads to the list of managed fields, and that to anything at all.
            property.references.clear();
        }
        self.has_reference |= key == "reference" && property.is_text;
        self.absorb(property.under(Some(key)));
    }

    /// Takes a schema that describes the same value, and tells whether it says what that is.
    fn add_part(&mut self, part: Self) -> bool {
        let is_described = part.is_described;
        self.is_text |= part.is_text;
        self.has_reference |= part.has_reference;
        self.absorb(part);
        is_described
    }

    /// Takes what was found a level further down.
    fn absorb(&mut self, inner: Self) {
        self.names_images |= inner.names_images;
        self.references.extend(inner.references);
    }

    /// As it looks from above, where it is that of a value under a key, or of any item or value where there is none.
    fn under(mut self, key: Option<&str>) -> Self {
        let place = if key.is_some_and(image_key::is_image) { Place::Image } else { Place::Within };
        self.names_images |= place == Place::Image && self.can_be_image();
        for reference in self.references.iter_mut().filter(|reference| reference.place == Place::Itself) {
            reference.place = place;
        }
        self
    }
}

/// A `$ref`.
#[derive(Debug)]
struct Reference {
    to: String,
    place: Place,
}

/// Where a reference stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is the schema itself.
    Itself,
    /// It is that of the value under a key that names an image.
    Image,
    /// It is anywhere else in the schema.
    Within,
}

#[derive(Debug, Deserialize)]
struct Kind {
    #[serde(default)]
    group: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    kind: String,
}

/// What may hold anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    /// Nothing: this part only says more of what another one describes.
    Nothing,
    /// What is marked so, or has no type.
    ByMark,
    /// An object without properties too.
    WithoutProperties,
}

/// The property under which every object has its metadata, and every pod template.
const METADATA: &str = "metadata";

/// Reads a schema.
#[derive(Debug, Clone, Copy)]
struct Reader {
    open: Open,
}

impl Reader {
    /// What reads the schema of a property.
    fn of_property(self, key: &str) -> Self {
        if key == METADATA { Self { open: Open::Nothing } } else { self }
    }

    /// What reads schemas that only say more of a value.
    fn of_parts(self) -> Self {
        Self { open: Open::Nothing }
    }

    /// Reads the message `JSONSchemaProps` (k8s.io/apiextensions-apiserver, `apiextensions/v1/generated.proto`), which may hold so many
    /// others in one another. Texts that are empty there are none.
    fn message(self, message: &[u8], levels: usize) -> Result<Schema, Broken> {
        let levels = levels.checked_sub(1).ok_or(Broken)?;
        let mut schema = Schema::default();
        let mut of_type = None;
        let mut is_described = false;
        for field in Fields(message) {
            match field? {
                (number::REF, Value::Bytes([_, ..])) => return Err(Broken),
                (number::TYPE, Value::Bytes(text @ [_, ..])) => of_type = str::from_utf8(text).ok(),
                (number::ITEMS, Value::Bytes(items)) => {
                    is_described = true;
                    for field in Fields(items) {
                        if let (number::ITEMS_SCHEMA | number::ITEMS_SCHEMAS, Value::Bytes(item)) = field? {
                            schema.absorb(self.message(item, levels)?.under(None));
                        }
                    }
                }
                (number::ALL_OF | number::ONE_OF | number::ANY_OF, Value::Bytes(part)) => {
                    is_described |= schema.add_part(self.of_parts().message(part, levels)?);
                }
                (number::PROPERTIES, Value::Bytes(entry)) => {
                    is_described = true;
                    let (mut key, mut property) = ("", &[][..]);
                    for field in Fields(entry) {
                        match field? {
                            (number::ENTRY_KEY, Value::Bytes(text)) => key = str::from_utf8(text).map_err(|_| Broken)?,
                            (number::ENTRY_VALUE, Value::Bytes(message)) => property = message,
                            _ => {}
                        }
                    }
                    schema.add_property(key, self.of_property(key).message(property, levels)?);
                }
                (number::ADDITIONAL_PROPERTIES, Value::Bytes(additional)) => {
                    is_described = true;
                    let (mut is_allowed, mut values) = (false, None);
                    for field in Fields(additional) {
                        match field? {
                            (number::ADDITIONAL_ALLOWS, Value::Number(allows)) => is_allowed = allows != 0,
                            (number::ADDITIONAL_SCHEMA, Value::Bytes(message)) => values = Some(message),
                            _ => {}
                        }
                    }
                    match values {
                        Some(values) => schema.absorb(self.message(values, levels)?.under(None)),
                        None => schema.names_images |= is_allowed && self.open != Open::Nothing,
                    }
                }
                (number::PRESERVE_UNKNOWN_FIELDS | number::EMBEDDED_RESOURCE, Value::Number(is_open)) => {
                    schema.names_images |= is_open != 0 && self.open != Open::Nothing;
                }
                (number::INT_OR_STRING, Value::Number(is_scalar)) => {
                    is_described |= is_scalar != 0;
                    schema.is_text |= is_scalar != 0;
                }
                _ => {}
            }
            if schema.names_images {
                // All is said.
                return Ok(schema);
            }
        }
        Ok(schema.settled(of_type, is_described, self.open))
    }
}

/// The numbers of the fields in the messages of a schema.
mod number {
    pub(super) const REF: u64 = 3;
    pub(super) const TYPE: u64 = 5;
    pub(super) const ITEMS: u64 = 24;
    pub(super) const ALL_OF: u64 = 25;
    pub(super) const ONE_OF: u64 = 26;
    pub(super) const ANY_OF: u64 = 27;
    pub(super) const PROPERTIES: u64 = 29;
    pub(super) const ADDITIONAL_PROPERTIES: u64 = 30;
    pub(super) const PRESERVE_UNKNOWN_FIELDS: u64 = 38;
    pub(super) const EMBEDDED_RESOURCE: u64 = 39;
    pub(super) const INT_OR_STRING: u64 = 40;
    /// Of an entry of a map.
    pub(super) const ENTRY_KEY: u64 = 1;
    pub(super) const ENTRY_VALUE: u64 = 2;
    /// Of `JSONSchemaPropsOrArray`.
    pub(super) const ITEMS_SCHEMA: u64 = 1;
    pub(super) const ITEMS_SCHEMAS: u64 = 2;
    /// Of `JSONSchemaPropsOrBool`.
    pub(super) const ADDITIONAL_ALLOWS: u64 = 1;
    pub(super) const ADDITIONAL_SCHEMA: u64 = 2;
}

/// The keywords that matter.
#[derive(Deserialize)]
#[serde(field_identifier)]
enum Keyword {
    #[serde(rename = "type")]
    Type,
    #[serde(rename = "properties")]
    Properties,
    #[serde(rename = "items", alias = "additionalProperties")]
    Values,
    #[serde(rename = "allOf", alias = "anyOf", alias = "oneOf")]
    Parts,
    #[serde(rename = "$ref")]
    Reference,
    #[serde(rename = "x-kubernetes-preserve-unknown-fields", alias = "x-kubernetes-embedded-resource")]
    Open,
    #[serde(rename = "x-kubernetes-int-or-string")]
    Scalar,
    #[serde(rename = "x-kubernetes-group-version-kind")]
    Kinds,
    #[serde(other)]
    Other,
}

impl<'de> DeserializeSeed<'de> for Reader {
    type Value = Schema;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Schema, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader {
    type Value = Schema;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a schema")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Schema, A::Error> {
        let mut schema = Schema::default();
        let mut of_type = None;
        let mut is_described = false;
        while let Some(keyword) = access.next_key()? {
            match keyword {
                Keyword::Kinds => schema.kinds = access.next_value()?,
                // All is said; the rest is passed over.
                _ if schema.names_images => drop(access.next_value::<IgnoredAny>()?),
                Keyword::Type => of_type = Some(access.next_value::<String>()?),
                Keyword::Properties => {
                    is_described = true;
                    access.next_value_seed(Properties { reader: self, into: &mut schema })?;
                }
                Keyword::Values => {
                    is_described = true;
                    schema.absorb(access.next_value_seed(self)?.under(None));
                }
                Keyword::Parts => is_described |= access.next_value_seed(Parts { reader: self.of_parts(), into: &mut schema })?,
                Keyword::Reference => {
                    is_described = true;
                    let to: String = access.next_value()?;
                    let to = to.strip_prefix("#/components/schemas/").unwrap_or(&to).to_owned();
                    schema.references.push(Reference { to, place: Place::Itself });
                }
                Keyword::Open => schema.names_images |= access.next_value::<bool>()? && self.open != Open::Nothing,
                Keyword::Scalar => {
                    let is_scalar: bool = access.next_value()?;
                    is_described |= is_scalar;
                    schema.is_text |= is_scalar;
                }
                Keyword::Other => drop(access.next_value::<IgnoredAny>()?),
            }
        }
        Ok(schema.settled(of_type.as_deref(), is_described, self.open))
    }

    /// `additionalProperties: true`.
    fn visit_bool<E: Error>(self, is_open: bool) -> Result<Schema, E> {
        Ok(Schema { names_images: is_open && self.open != Open::Nothing, ..Schema::default() })
    }
}

/// Reads the schemas of properties.
struct Properties<'a> {
    reader: Reader,
    into: &'a mut Schema,
}

impl<'de> DeserializeSeed<'de> for Properties<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Properties<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("properties")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        while let Some(key) = access.next_key::<String>()? {
            if self.into.names_images {
                access.next_value::<IgnoredAny>()?;
                continue;
            }
            let property = access.next_value_seed(self.reader.of_property(&key))?;
            self.into.add_property(&key, property);
        }
        Ok(())
    }
}

/// Reads schemas that describe one value together, and tells whether they say what it is.
struct Parts<'a> {
    reader: Reader,
    into: &'a mut Schema,
}

impl<'de> DeserializeSeed<'de> for Parts<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Parts<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("schemas")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<bool, A::Error> {
        let mut is_described = false;
        while let Some(part) = access.next_element_seed(self.reader)? {
            is_described |= self.into.add_part(part);
        }
        Ok(is_described)
    }
}

/// Reads what stands under one key of an object, and passes over the rest.
struct Within<S> {
    key: &'static str,
    seed: S,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Within<S> {
    type Value = Option<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Within<S> {
    type Value = Option<S::Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an object with {}", self.key)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut seed = Some(self.seed);
        let mut value = None;
        while let Some(key) = access.next_key::<String>()? {
            match seed.take_if(|_| key == self.key) {
                Some(seed) => value = Some(access.next_value_seed(seed)?),
                None => drop(access.next_value::<IgnoredAny>()?),
            }
        }
        Ok(value)
    }
}

/// Reads the named schemas of a document.
struct Schemas {
    reader: Reader,
}

impl<'de> DeserializeSeed<'de> for Schemas {
    type Value = BTreeMap<String, Schema>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Schemas {
    type Value = BTreeMap<String, Schema>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("named schemas")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut schemas = BTreeMap::new();
        while let Some(name) = access.next_key()? {
            schemas.insert(name, access.next_value_seed(self.reader)?);
        }
        Ok(schemas)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::*;

    /// The answer for a schema written in YAML, which is the same in both forms.
    fn answer(schema: &str) -> bool {
        let value: Json = serde_saphyr::from_str(schema).unwrap();
        let answer = may_name_images(value.to_string().as_bytes());
        assert_eq!(message_may_name_images(&message(&value)), answer, "in protobuf: {schema}");
        answer
    }

    /// A field with a length, and one with a boolean.
    fn field(number: u64, value: &[u8]) -> Vec<u8> {
        let mut bytes = varint(number << 3 | 2);
        bytes.extend(varint(u64::try_from(value.len()).unwrap()));
        bytes.extend(value);
        bytes
    }

    fn flag(number: u64, value: bool) -> Vec<u8> {
        let mut bytes = varint(number << 3);
        bytes.push(value.into());
        bytes
    }

    fn varint(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value > 0x7f {
            bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
            value >>= 7;
        }
        bytes.push(u8::try_from(value).unwrap());
        bytes
    }

    /// A schema as an API server encodes it: with the texts that are not there.
    fn message(schema: &Json) -> Vec<u8> {
        let mut bytes = [field(1, b""), field(4, b"what it is")].concat();
        let of_type = schema.get("type").and_then(Json::as_str).unwrap_or_default();
        bytes.extend(field(5, of_type.as_bytes()));
        for (key, value) in schema.as_object().into_iter().flatten() {
            bytes.extend(match (key.as_str(), value) {
                ("items", items) => field(24, &field(1, &message(items))),
                ("allOf", Json::Array(parts)) => parts.iter().flat_map(|part| field(25, &message(part))).collect(),
                ("oneOf", Json::Array(parts)) => parts.iter().flat_map(|part| field(26, &message(part))).collect(),
                ("anyOf", Json::Array(parts)) => parts.iter().flat_map(|part| field(27, &message(part))).collect(),
                ("not", part) => field(28, &message(part)),
                ("properties", Json::Object(properties)) => properties
                    .iter()
                    .flat_map(|(key, property)| field(29, &[field(1, key.as_bytes()), field(2, &message(property))].concat()))
                    .collect(),
                ("additionalProperties", Json::Bool(allows)) => field(30, &flag(1, *allows)),
                ("additionalProperties", schema) => field(30, &[flag(1, true), field(2, &message(schema))].concat()),
                ("nullable", Json::Bool(value)) => flag(37, *value),
                ("x-kubernetes-preserve-unknown-fields", Json::Bool(value)) => flag(38, *value),
                ("x-kubernetes-embedded-resource", Json::Bool(value)) => flag(39, *value),
                ("x-kubernetes-int-or-string", Json::Bool(value)) => flag(40, *value),
                ("required" | "pattern" | "default" | "type" | "description", _) => Vec::new(),
                other => panic!("the test writes no {other:?}"),
            });
        }
        bytes
    }

    /// A schema with `spec` as the only property beside those of every object.
    fn spec(schema: &str) -> String {
        format!(
            "{{type: object, properties: {{apiVersion: {{type: string}}, kind: {{type: string}}, metadata: {{type: object}}, spec: {schema}}}}}"
        )
    }

    fn object(properties: &str) -> String {
        format!("{{type: object, properties: {{{properties}}}}}")
    }

    fn list(items: &str) -> String {
        format!("{{type: array, items: {items}}}")
    }

    /// What the schemas of well-known custom resources look like around their images.
    #[test]
    fn places_of_images() {
        let container = object("name: {type: string}, image: {type: string}");
        let pod =
            object(&format!("containers: {}, nodeSelector: {{type: object, additionalProperties: {{type: string}}}}", list(&container)));
        for (who, schema) in [
            ("Argo Rollouts Rollout", object(&format!("template: {}", object(&format!("metadata: {{type: object}}, spec: {pod}"))))),
            ("ControllerRevision-like history", object(&format!("initContainers: {}", list(&container)))),
            ("Argo Workflows Workflow", object(&format!("templates: {}", list(&object(&format!("script: {container}")))))),
            (
                "Argo Workflows templates by name",
                object(&format!("stored: {{type: object, additionalProperties: {}}}", object(&format!("container: {container}")))),
            ),
            ("Tekton Task", object(&format!("steps: {}, sidecars: {}", list(&container), list(&container)))),
            ("KubeVirt VirtualMachine", object(&format!("volumes: {}", list(&object(&format!("containerDisk: {container}")))))),
            (
                "an image volume",
                object(&format!(
                    "volumes: {}",
                    list(&object(&format!("image: {}", object("reference: {type: string}, pullPolicy: {type: string}"))))
                )),
            ),
            ("Prometheus", object("image: {type: string}, version: {type: string}")),
            ("Strimzi Kafka", object(&format!("kafka: {container}"))),
            ("Rook CephCluster", object(&format!("cephVersion: {container}"))),
            ("CloudNativePG Cluster", object("imageName: {type: string}, instances: {type: integer}")),
            ("Zalando postgresql", object("dockerImage: {type: string}")),
            ("a text that may be nothing", object("image: {type: string, nullable: true, default: 'a:1'}")),
            ("a text or a number", object("image: {x-kubernetes-int-or-string: true}")),
            ("the same in other words", object("image: {anyOf: [{type: integer}, {type: string}], x-kubernetes-int-or-string: true}")),
        ] {
            assert!(answer(&spec(&schema)), "{who}: {schema}");
        }
    }

    #[test]
    fn what_holds_anything() {
        for schema in [
            "{type: object, x-kubernetes-preserve-unknown-fields: true}",
            "{x-kubernetes-preserve-unknown-fields: true}",
            "{type: object, x-kubernetes-embedded-resource: true, properties: {kind: {type: string}}}",
            "{type: array, items: {type: object, x-kubernetes-preserve-unknown-fields: true}}",
            "{type: object, additionalProperties: true}",
            "{type: object, additionalProperties: {description: anything}}",
            "{description: anything}",
            "{}",
            "{oneOf: [{required: [a]}, {required: [b]}]}",
        ] {
            assert!(answer(&spec(schema)), "{schema}");
        }
        // No schema at all: what older Knative and Argo install.
        assert!(answer("{type: object, x-kubernetes-preserve-unknown-fields: true}"));
    }

    #[test]
    fn what_names_no_image() {
        for schema in [
            "{type: object, properties: {size: {type: integer}, port: {x-kubernetes-int-or-string: true}}}",
            "{type: object, properties: {port: {anyOf: [{type: integer}, {type: string}], x-kubernetes-int-or-string: true}}}",
            "{type: object, properties: {secretRef: {type: object, properties: {name: {type: string}}}}}",
            // Pruned, whatever is written there.
            "{type: object}",
            "{type: object, properties: {selfSigned: {type: object, nullable: true}}}",
            "{type: object, x-kubernetes-preserve-unknown-fields: false}",
            "{type: object, additionalProperties: false}",
            "{type: object, properties: {labels: {type: object, additionalProperties: {type: string}}}}",
            // Containers without images: usage, limits, resize policies.
            "{type: object, properties: {containers: {type: array, items: {type: object, properties: {name: {type: string}}}}}}",
            "{type: object, properties: {image: {type: object, properties: {size: {type: string}}}}}",
            "{type: object, properties: {image: {type: array, items: {type: string}}}}",
            "{type: object, properties: {imagePullPolicy: {type: string}, imagePullSecrets: {type: array, items: {type: string}}}}",
            // A property that is called like a keyword, and one that only looks like an image's.
            "{type: object, properties: {type: {type: string}, properties: {type: string}, items: {type: integer}}}",
            "{type: object, properties: {reference: {type: string}}}",
            // These say more of what stands beside them, and leave types out.
            "{type: object, properties: {a: {type: string}}, anyOf: [{required: [a]}, {properties: {a: {pattern: x}}}], not: {}}",
            "{type: object, properties: {template: {type: object, properties: {metadata: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}}",
        ] {
            assert!(!answer(&spec(schema)), "{schema}");
        }
    }

    #[test]
    fn the_order_of_keywords_does_not_matter() {
        assert!(answer("{properties: {image: {nullable: true, type: string}, a: {type: object}}, type: object}"));
        assert!(!answer("{properties: {a: {nullable: true, type: object}}, type: object}"));
    }

    #[test]
    fn what_cannot_be_read_may_hold_anything() {
        for schema in ["7", "{\"type\": 7}", "{\"type\": \"object\", \"properties\": []}"] {
            assert!(may_name_images(schema.as_bytes()), "{schema}");
        }
        let deep = |levels: usize| {
            format!("{}{{\"type\":\"string\"}}{}", "{\"type\":\"object\",\"properties\":{\"a\":".repeat(levels), "}}".repeat(levels))
        };
        assert!(!may_name_images(deep(50).as_bytes()));
        assert!(may_name_images(deep(5_000).as_bytes()));

        let deep =
            |levels: usize| (0..levels).fold(field(5, b"string"), |inner, _| field(29, &[field(1, b"a"), field(2, &inner)].concat()));
        assert!(!message_may_name_images(&deep(50)));
        assert!(message_may_name_images(&deep(5_000)));
        for cut in [&[0x12][..], &[0x2a, 0x06, b's'], &field(29, &[0x0a])] {
            assert!(message_may_name_images(cut), "{cut:?}");
        }
    }

    /// A document in which `Thing` of `x.io/v1` has a schema, among others.
    fn document(title: &str, thing: &str, others: &str) -> Document {
        let text = format!(
            "{{openapi: 3.0.0, info: {{title: {title}}}, paths: {{/apis: {{image: {{type: string}}}}}}, components: {{schemas: {{
               io.x.Thing: {{type: object, properties: {{metadata: {{allOf: [{{$ref: '#/components/schemas/Meta'}}]}}, spec: {thing}}},
                 x-kubernetes-group-version-kind: [{{group: x.io, kind: Thing, version: v1}}]}},
               Meta: {{type: object, properties: {{managedFields: {{type: array, items: {{type: object}}}}}}}},
               Unused: {{type: object, properties: {{image: {{type: string}}}}}}{others}}}}}}}"
        );
        let value: Json = serde_saphyr::from_str(&text).unwrap();
        Document::read(value.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn references_are_followed_within_a_document() {
        let container = ", Container: {type: object, properties: {image: {type: string}}}";
        for (thing, others, expected) in [
            ("{$ref: '#/components/schemas/Spec'}", ", Spec: {type: object, properties: {size: {type: integer}}}".to_owned(), false),
            (
                "{$ref: '#/components/schemas/Spec'}",
                format!(
                    "{container}, Spec: {{type: object, properties: {{list: {{type: array, items: {{default: {{}}, allOf: [{{$ref: '#/components/schemas/Container'}}]}}}}}}}}"
                ),
                true,
            ),
            // A reference of which nothing is known.
            ("{$ref: '#/components/schemas/Nowhere'}", String::new(), true),
            // One that leads back.
            (
                "{$ref: '#/components/schemas/Tree'}",
                ", Tree: {type: object, properties: {left: {$ref: '#/components/schemas/Tree'}}}".to_owned(),
                false,
            ),
            // What an image is, is said elsewhere.
            ("{type: object, properties: {image: {$ref: '#/components/schemas/Name'}}}", ", Name: {type: string}".to_owned(), true),
            ("{type: object, properties: {name: {$ref: '#/components/schemas/Name'}}}", ", Name: {type: string}".to_owned(), false),
            (
                "{type: object, properties: {image: {$ref: '#/components/schemas/Source'}}}",
                ", Source: {type: object, properties: {reference: {type: string}}}".to_owned(),
                true,
            ),
            (
                "{type: object, properties: {image: {type: array, items: {$ref: '#/components/schemas/Name'}}}}",
                ", Name: {type: string}".to_owned(),
                false,
            ),
        ] {
            let document = document("Things", thing, &others);
            assert_eq!(document.may_name_images("x.io", "v1", "Thing"), Some(expected), "{thing}");
            assert_eq!(document.may_name_images("x.io", "v2", "Thing"), None);
        }
    }

    #[test]
    fn only_a_definition_prunes_what_its_schema_does_not_name() {
        for (title, expected) in [("Kubernetes CRD Swagger", false), ("Things", true)] {
            assert_eq!(document(title, "{type: object}", "").may_name_images("x.io", "v1", "Thing"), Some(expected), "{title}");
        }
        assert!(Document::read(b"[]").is_err());
        assert_eq!(Document::read(b"{}").unwrap().may_name_images("x.io", "v1", "Thing"), None);
    }
}
