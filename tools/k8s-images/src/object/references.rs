//! What texts mean that name images, each read once: ten thousand pods run a few hundred images.
//!
//! Owns what is taken for the name of an image, and for its ID. The grammar of both is [`common::reference`]'s. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use common::digest::Digest;
use common::reference::{ImageId, Reference};

/// The texts that were read already. What is no name is read again: there is little of it.
#[derive(Debug, Default)]
pub(crate) struct References {
    images: HashMap<Box<str>, Arc<Reference>>,
    told: HashMap<Box<str>, Told>,
}

/// What a runtime tells of an image.
#[derive(Debug, Clone)]
pub(super) enum Told {
    /// A name, with the digest by which it could be pulled, if there is one.
    Name(Arc<Reference>),
    /// The digest of its config.
    Config(Digest),
}

impl References {
    /// The image that a manifest names.
    ///
    /// # Errors
    /// As [`parse_image`].
    pub(super) fn image(&mut self, text: &str) -> Result<Arc<Reference>, String> {
        if let Some(known) = self.images.get(text) {
            return Ok(Arc::clone(known));
        }
        let reference = Arc::new(parse_image(text)?);
        self.images.insert(text.into(), Arc::clone(&reference));
        Ok(reference)
    }

    /// What stands in the `image` or the `imageID` of a status, without what stands before `://`. Either may be what the other should be:
    /// a runtime that lost the name of what it runs gives the ID in the place of the image, and one that knows no digest gives the name in
    /// the place of the ID.
    pub(super) fn told(&mut self, text: &str) -> Result<Told, String> {
        if let Some(known) = self.told.get(text) {
            return Ok(known.clone());
        }
        let told = match ImageId::config(text) {
            Some(digest) => Told::Config(digest),
            None => Told::Name(self.image(text)?),
        };
        self.told.insert(text.into(), told.clone());
        Ok(told)
    }
}

/// Parses what a manifest or a list names as an image.
///
/// # Errors
/// A text that is no reference, or the ID of an image, which names no repository (and which the grammar of references alone
/// would take for the repository `sha256`).
pub(crate) fn parse_image(text: &str) -> Result<Reference, String> {
    if ImageId::config(text).is_some() {
        return Err(format!("{:?} is the ID of an image, and names no repository", text.trim()));
    }
    text.parse::<Reference>().map_err(|error| error.to_string())
}
