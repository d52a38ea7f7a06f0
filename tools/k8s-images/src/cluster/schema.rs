//! Whether an object of a schema may name an image.
//!
//! Owns the reading of OpenAPI schemas: that of one version of a CustomResourceDefinition, and whole documents in which schemas
//! refer to one another. What is read because of the answer is [`super::custom`]'s. Pure.
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

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::image_key;

/// Whether an object of the schema (`openAPIV3Schema`) of a CustomResourceDefinition may name an image.
///
/// One that cannot be read, or is nested deeper than serde_json goes (128 levels), may hold anything.
pub(crate) fn may_name_images(schema: &RawValue) -> bool {
    let mut parser = serde_json::Deserializer::from_str(schema.get());
    Reader { open: Open::ByMark }.deserialize(&mut parser).map_or(true, |schema| schema.names_images)
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

/// Reads a schema.
#[derive(Debug, Clone, Copy)]
struct Reader {
    open: Open,
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
                Keyword::Parts => {
                    is_described |= access.next_value_seed(Parts { reader: Self { open: Open::Nothing }, into: &mut schema })?
                }
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
        schema.is_described = is_described || of_type.is_some();
        schema.is_text |= of_type.as_deref() == Some("string");
        schema.names_images |= !is_described
            && match of_type.as_deref() {
                None => self.open != Open::Nothing,
                Some("object" | "array") => self.open == Open::WithoutProperties,
                Some(_) => false,
            };
        Ok(schema)
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
            let is_metadata = key == "metadata";
            let reader = if is_metadata { Reader { open: Open::Nothing } } else { self.reader };
            let mut property = access.next_value_seed(reader)?;
            if is_metadata {
                // The metadata that all objects have leads to the list of managed fields, and that to anything at all.
                property.references.clear();
            }
            self.into.has_reference |= key == "reference" && property.is_text;
            self.into.absorb(property.under(Some(&key)));
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
            is_described |= part.is_described;
            self.into.is_text |= part.is_text;
            self.into.has_reference |= part.has_reference;
            self.into.absorb(part);
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
    use super::*;

    /// The answer for a schema written in YAML.
    fn answer(schema: &str) -> bool {
        let value: serde_json::Value = serde_saphyr::from_str(schema).unwrap();
        may_name_images(&RawValue::from_string(value.to_string()).unwrap())
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
            assert!(may_name_images(&RawValue::from_string(schema.to_owned()).unwrap()), "{schema}");
        }
        let deep = |levels: usize| {
            format!("{}{{\"type\":\"string\"}}{}", "{\"type\":\"object\",\"properties\":{\"a\":".repeat(levels), "}}".repeat(levels))
        };
        assert!(!may_name_images(&RawValue::from_string(deep(50)).unwrap()));
        assert!(may_name_images(&RawValue::from_string(deep(5_000)).unwrap()));
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
        let value: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
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
