//! The image config (image-spec, config.md), as much of it as a listing tells: when it was made, for what, with which labels.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::descriptor::platform_text;
use super::{Invalid, lenient};

/// What an image config says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// When the image was made, as it is written there.
    pub created: Option<String>,
    /// `os/architecture[/variant]`.
    pub platform: Option<String>,
    /// The labels.
    pub labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(default, borrow, deserialize_with = "lenient::text")]
    created: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "lenient::text")]
    os: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "lenient::text")]
    architecture: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "lenient::text")]
    variant: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    config: Option<&'a RawValue>,
}

/// The part of a config that a container is started with.
#[derive(Default, Deserialize)]
struct Container {
    #[serde(default, rename = "Labels", deserialize_with = "lenient::texts")]
    labels: BTreeMap<String, String>,
}

impl ImageConfig {
    /// Reads an image config.
    ///
    /// # Errors
    /// Bytes that are no JSON object.
    pub fn parse(bytes: &[u8]) -> Result<Self, Invalid> {
        Self::of_text(&String::from_utf8_lossy(bytes))
    }

    fn of_text(text: &str) -> Result<Self, Invalid> {
        if !text.trim_start().starts_with('{') {
            return Err(Invalid::NotAnObject("it does not begin with a brace".to_owned()));
        }
        let raw: Raw<'_> = serde_json::from_str(text).map_err(|error| Invalid::NotAnObject(error.to_string()))?;
        let container: Container = raw.config.and_then(|config| serde_json::from_str(config.get()).ok()).unwrap_or_default();
        Ok(Self {
            created: raw.created.map(Cow::into_owned),
            platform: platform_text(raw.os.as_deref(), raw.architecture.as_deref(), raw.variant.as_deref()),
            labels: container.labels,
        })
    }
}

#[derive(Deserialize)]
struct History<'a> {
    #[serde(default, borrow, rename = "v1Compatibility", deserialize_with = "lenient::text")]
    v1: Option<Cow<'a, str>>,
}

/// The config within schema 1: the first entry of `history` holds that of the topmost layer, which is the image's, as a text
/// of JSON. What cannot be read of it is not known.
pub(super) fn of_schema1(history: Option<&RawValue>, architecture: Option<&str>) -> ImageConfig {
    let entries: Vec<History<'_>> = history.and_then(|history| serde_json::from_str(history.get()).ok()).unwrap_or_default();
    let newest = entries.into_iter().next().and_then(|entry| entry.v1);
    let mut config = newest.and_then(|text| ImageConfig::of_text(&text).ok()).unwrap_or_default();
    if config.platform.is_none() {
        // Schema 1 was made when there was one operating system.
        config.platform = platform_text(Some("linux"), architecture, None);
    }
    config
}
