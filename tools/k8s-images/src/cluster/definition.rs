//! CustomResourceDefinitions: under which name and in which versions a cluster serves a custom resource, and whether it may name images.
//!
//! Owns the reading of one definition. Pure.
//!
//! Rules: Kubernetes API reference, CustomResourceDefinition apiextensions.k8s.io/v1; for the numbers of the fields,
//! `apiextensions/v1/generated.proto` of k8s.io/apiextensions-apiserver v0.35.4.

use prost::Message;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::discovery::Listable;
use super::kinds::Resource;
use super::message::null_is_empty;
use super::page::Item;
use super::schema;

/// What a CustomResourceDefinition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Definition {
    /// The resource, with the versions in which it is served: the one in which it is stored first, if that is served.
    pub(crate) listable: Listable,
    /// Those of the served versions in which an object may name an image.
    pub(crate) with_images: Vec<String>,
    /// Whether it is served at all: a definition may switch all versions off, or want a name that another one has.
    pub(crate) is_served: bool,
}

impl Definition {
    /// Reads a definition.
    ///
    /// # Errors
    /// What is none.
    pub(crate) fn read(item: &Item<'_>) -> Result<Self, String> {
        let (written, may_name_images): (Written, fn(&[u8]) -> bool) = match item {
            Item::Protobuf(message) => (Written::decode(*message).map_err(|error| error.to_string())?, schema::message_may_name_images),
            Item::Json(text) => (serde_json::from_str(text).map_err(|error| error.to_string())?, schema::may_name_images),
        };
        let Written { spec: Some(Spec { group, names: Some(names), scope, mut versions, preserve_unknown_fields }), status } = written
        else {
            return Err("it has no spec, or none with names".to_owned());
        };
        versions.retain(|version| version.served);
        versions.sort_by_key(|version| !version.storage);
        let conditions = status.map(|status| status.conditions).unwrap_or_default();
        let is_refused = conditions.iter().any(|condition| condition.r#type == "Established" && condition.status == "False");
        let has_images = |version: &&Version| {
            let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_deref());
            // Without a schema, or where a definition from before apiextensions.k8s.io/v1 says so, nothing is pruned.
            preserve_unknown_fields || schema.is_none_or(may_name_images)
        };
        let name = |version: &Version| version.name.clone();
        Ok(Self {
            with_images: versions.iter().filter(has_images).map(name).collect(),
            is_served: !versions.is_empty() && !is_refused,
            listable: Listable {
                resource: Resource { kind: names.kind.into(), plural: names.plural.into(), group: group.into() },
                is_namespaced: scope == "Namespaced",
                versions: versions.iter().map(name).collect(),
            },
        })
    }
}

#[derive(Clone, PartialEq, Message, Deserialize)]
struct Written {
    #[prost(message, optional, tag = "2")]
    spec: Option<Spec>,
    #[prost(message, optional, tag = "3")]
    status: Option<Status>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[prost(string, tag = "1")]
    group: String,
    #[prost(message, optional, tag = "3")]
    names: Option<Names>,
    #[prost(string, tag = "4")]
    scope: String,
    #[prost(message, repeated, tag = "7")]
    versions: Vec<Version>,
    #[prost(bool, tag = "10")]
    #[serde(default)]
    preserve_unknown_fields: bool,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
struct Names {
    #[prost(string, tag = "1")]
    plural: String,
    #[prost(string, tag = "4")]
    kind: String,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
struct Version {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bool, tag = "2")]
    served: bool,
    #[prost(bool, tag = "3")]
    storage: bool,
    #[prost(message, optional, tag = "4")]
    schema: Option<Validation>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
struct Validation {
    /// The message, or the JSON text, which is not read into anything.
    #[prost(bytes = "vec", optional, tag = "1")]
    #[serde(rename = "openAPIV3Schema", default, deserialize_with = "as_it_is")]
    open_api_v3_schema: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
struct Status {
    #[prost(message, repeated, tag = "1")]
    /// Null until a controller saw the definition.
    #[serde(default, deserialize_with = "null_is_empty")]
    conditions: Vec<Condition>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
struct Condition {
    #[prost(string, tag = "1")]
    r#type: String,
    #[prost(string, tag = "2")]
    status: String,
}

fn as_it_is<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    let text: Option<Box<RawValue>> = Option::deserialize(deserializer)?;
    Ok(text.map(|text| text.get().as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(versions: &str, more: &str) -> Definition {
        let text = format!(
            "{{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {{name: rollouts.example.com}},
               spec: {{group: example.com, scope: Namespaced, names: {{kind: Rollout, plural: rollouts, singular: rollout}}, versions: [{versions}]}}{more}}}"
        );
        let value: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        Definition::read(&Item::Json(&value.to_string())).unwrap()
    }

    fn version(name: &str, served: bool, storage: bool, spec: &str) -> String {
        format!(
            "{{name: {name}, served: {served}, storage: {storage}, schema: {{openAPIV3Schema: {{type: object, properties: {{spec: {spec}}}}}}}}}"
        )
    }

    const IMAGE: &str = "{type: object, properties: {image: {type: string}}}";
    const NONE: &str = "{type: object, properties: {size: {type: integer}}}";

    #[test]
    fn versions_that_are_served_and_those_with_images() {
        for (versions, served, with_images) in [
            (vec![version("v1", true, true, IMAGE)], "v1", "v1"),
            (vec![version("v1", true, false, NONE), version("v2", true, true, IMAGE)], "v2 v1", "v2"),
            (vec![version("v1", false, true, IMAGE), version("v2", true, false, NONE)], "v2", ""),
            (vec![version("v1", false, true, IMAGE)], "", ""),
            (vec!["{name: v1, served: true, storage: true}".to_owned()], "v1", "v1"),
            (vec!["{name: v1, served: true, storage: true, schema: {}}".to_owned()], "v1", "v1"),
        ] {
            let definition = read(&versions.join(", "), "");
            assert_eq!(
                (definition.listable.versions.join(" "), definition.with_images.join(" ")),
                (served.to_owned(), with_images.to_owned())
            );
            assert_eq!(definition.is_served, !served.is_empty());
            assert_eq!(definition.listable.resource.name(), "rollouts.example.com");
        }
    }

    #[test]
    fn a_definition_whose_name_is_taken_is_not_served() {
        for (status, expected) in [("True", true), ("False", false)] {
            let status =
                format!(", status: {{conditions: [{{type: NamesAccepted, status: 'False'}}, {{type: Established, status: '{status}'}}]}}");
            assert_eq!(read(&version("v1", true, true, IMAGE), &status).is_served, expected);
        }
    }

    #[test]
    fn a_definition_that_no_controller_saw_yet_is_one() {
        let status = ", status: {acceptedNames: {kind: '', plural: ''}, conditions: null, storedVersions: null}";
        assert!(read(&version("v1", true, true, IMAGE), status).is_served);
    }

    #[test]
    fn what_is_not_pruned_may_hold_anything() {
        let text = r#"{"spec": {"group": "x.io", "scope": "Cluster", "names": {"kind": "A", "plural": "as"}, "preserveUnknownFields": true,
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}}"#;
        for (text, expected) in [(text.to_owned(), &["v1"][..]), (text.replace("Fields\": true", "Fields\": false"), &[])] {
            assert_eq!(Definition::read(&Item::Json(&text)).unwrap().with_images, expected, "{text}");
        }
        assert!(Definition::read(&Item::Json("{}")).is_err());
    }

    #[test]
    fn a_message_says_the_same() {
        let schema = |bytes: &[u8]| Some(Validation { open_api_v3_schema: Some(bytes.to_vec()) });
        let version = |name: &str, served, storage, schema| Version { name: name.to_owned(), served, storage, schema };
        let written = |established: &str| Written {
            spec: Some(Spec {
                group: "example.com".to_owned(),
                names: Some(Names { plural: "rollouts".to_owned(), kind: "Rollout".to_owned() }),
                scope: "Cluster".to_owned(),
                versions: vec![
                    // `type` is "object", and nothing else.
                    version("v1", true, false, schema(&[0x2a, 6, b'o', b'b', b'j', b'e', b'c', b't'])),
                    version("v2", true, true, None),
                    version("v3", false, false, None),
                ],
                preserve_unknown_fields: false,
            }),
            status: Some(Status { conditions: vec![Condition { r#type: "Established".to_owned(), status: established.to_owned() }] }),
        };
        let read = |written: Written| Definition::read(&Item::Protobuf(&written.encode_to_vec()));
        let definition = read(written("True")).unwrap();
        assert_eq!(definition.listable.versions, ["v2", "v1"]);
        assert_eq!((definition.with_images, definition.is_served, definition.listable.is_namespaced), (vec!["v2".to_owned()], true, false));
        assert!(!read(written("False")).unwrap().is_served);
        assert!(read(Written::default()).is_err());
        assert!(Definition::read(&Item::Protobuf(&[0x12, 9])).is_err());
    }
}
