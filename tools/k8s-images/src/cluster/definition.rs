//! CustomResourceDefinitions: under which name and in which versions a cluster serves a custom resource, and whether it may name images.
//!
//! Owns the reading of one definition. Pure.
//!
//! Rules: Kubernetes API reference, CustomResourceDefinition apiextensions.k8s.io/v1.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::discovery::Listable;
use super::kinds::Resource;
use super::message::null_is_empty;
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
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let Written { spec, status } = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let Spec { group, names, scope, mut versions, preserve_unknown_fields } = spec;
        versions.retain(|version| version.served);
        versions.sort_by_key(|version| !version.storage);
        let is_refused = status.conditions.iter().any(|condition| condition.r#type == "Established" && condition.status == "False");
        let may_name_images = |version: &&Version<'_>| {
            let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema);
            // Without a schema, or where a definition from before apiextensions.k8s.io/v1 says so, nothing is pruned.
            preserve_unknown_fields || schema.is_none_or(schema::may_name_images)
        };
        let name = |version: &Version<'_>| version.name.clone();
        Ok(Self {
            with_images: versions.iter().filter(may_name_images).map(name).collect(),
            is_served: !versions.is_empty() && !is_refused,
            listable: Listable {
                resource: Resource { kind: names.kind.into(), plural: names.plural.into(), group: group.into() },
                is_namespaced: scope == "Namespaced",
                versions: versions.iter().map(name).collect(),
            },
        })
    }
}

#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    spec: Spec<'a>,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    group: String,
    names: Names,
    scope: String,
    #[serde(borrow)]
    versions: Vec<Version<'a>>,
    #[serde(default)]
    preserve_unknown_fields: bool,
}

#[derive(Deserialize)]
struct Names {
    kind: String,
    plural: String,
}

#[derive(Deserialize)]
struct Version<'a> {
    name: String,
    served: bool,
    storage: bool,
    #[serde(borrow)]
    schema: Option<Validation<'a>>,
}

#[derive(Deserialize)]
struct Validation<'a> {
    #[serde(borrow, rename = "openAPIV3Schema")]
    open_api_v3_schema: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Status {
    /// Null until a controller saw the definition.
    #[serde(default, deserialize_with = "null_is_empty")]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    r#type: String,
    status: String,
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
        Definition::read(&value.to_string()).unwrap()
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
            assert_eq!(Definition::read(&text).unwrap().with_images, expected, "{text}");
        }
        assert!(Definition::read("{}").is_err());
    }
}
