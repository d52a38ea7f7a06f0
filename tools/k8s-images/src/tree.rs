//! Trees of what a document says, of which only what names images and their owners is kept.
//!
//! Owns the shape that YAML and JSON are read into, and where in the text a value stood. How a text is parsed is
//! [`crate::document`]'s, what the tree means [`crate::object`]'s and [`crate::compose`]'s. Pure.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::image_key;

/// The keys of a manifest whose values are looked at as text, beside those of images in custom resources. All other scalars are passed
/// over, because the list of all pods of a large cluster is mostly made of them.
const TEXTS: [&str; 14] = [
    "apiVersion",
    "continue",
    "controller",
    "generateName",
    "image",
    "imageID",
    "imageRef",
    "kind",
    "name",
    "namespace",
    "phase",
    "reference",
    "replicas",
    "uid",
];

/// The keys of lists in which images are named. What stands there instead of a list is no image that may be overlooked.
const LISTS: [&str; 5] = ["containers", "ephemeralContainers", "initContainers", "items", "volumes"];

/// Which scalars of a document are kept.
pub(crate) trait Keep {
    /// Whether those that stand in lists are.
    const IN_LISTS: bool;

    /// Whether the one under a key is.
    fn keeps(key: &str) -> bool;
}

/// Keeps what a Kubernetes manifest is asked for.
pub(crate) struct OfManifests;

impl Keep for OfManifests {
    const IN_LISTS: bool = false;

    fn keeps(key: &str) -> bool {
        TEXTS.contains(&key) || image_key::is_image(key)
    }
}

/// Keeps all, for what is short.
pub(crate) struct All;

impl Keep for All {
    const IN_LISTS: bool = true;

    fn keeps(_: &str) -> bool {
        true
    }
}

/// The deepest nesting that is read. The schema of a large custom resource reaches 60.
pub(crate) const DEEPEST: usize = 100;

/// A value of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// A mapping.
    Map(Map),
    /// A sequence.
    List(Vec<Node>),
    /// A scalar under one of the keys that matter, numbers and booleans as they were written.
    Text(Text),
    /// A number or a boolean under such a key, of which the YAML parser tells only where it stands. It is a [`Node::Text`] once the
    /// document is read: `1.20` must not become `1.2`.
    Unread {
        /// The offset of its first byte in the text.
        start: usize,
        /// Its length in bytes.
        length: usize,
    },
    /// Nothing: null, or an empty document.
    Null,
    /// A scalar that nobody asks for.
    Passed,
}

impl Node {
    /// A text under no key that matters is let go at once.
    fn without_text(self) -> Self {
        match self {
            Self::Text(_) => Self::Passed,
            other => other,
        }
    }

    /// The text that stands first in it: where in the document it is.
    pub(crate) fn first_text(&self) -> Option<&Text> {
        match self {
            Self::Text(text) => Some(text),
            Self::Map(map) => map.first_text(),
            Self::List(items) => items.iter().find_map(Self::first_text),
            Self::Unread { .. } | Self::Null | Self::Passed => None,
        }
    }
}

/// A scalar and where it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    /// What it says.
    pub(crate) text: String,
    /// The offset of its first byte in the text.
    pub(crate) start: usize,
}

/// A mapping, without the scalars that are passed over. A key that stands twice is an error, so none can hide another.
///
/// Its pairs are sorted by key. (A `BTreeMap` takes ten times the memory, and a large cluster has millions of small mappings.)
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Map(Vec<(String, Node)>);

impl Map {
    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        let found = self.0.binary_search_by(|(known, _)| known.as_str().cmp(key)).ok()?;
        self.0.get(found).map(|(_, value)| value)
    }

    /// The mapping under a key.
    pub(crate) fn map(&self, key: &str) -> Option<&Self> {
        match self.get(key)? {
            Node::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The items of the sequence under a key; none where there is none.
    pub(crate) fn list(&self, key: &str) -> &[Node] {
        match self.get(key) {
            Some(Node::List(items)) => items,
            _ => &[],
        }
    }

    /// The mappings in the sequence under a key.
    pub(crate) fn maps(&self, key: &str) -> impl Iterator<Item = &Self> {
        self.list(key).iter().filter_map(|item| match item {
            Node::Map(map) => Some(map),
            _ => None,
        })
    }

    /// The text under a key, unless it is empty.
    pub(crate) fn text(&self, key: &str) -> Option<&Text> {
        match self.get(key)? {
            Node::Text(text) if !text.text.trim().is_empty() => Some(text),
            _ => None,
        }
    }

    /// The text under a key as a string.
    pub(crate) fn string(&self, key: &str) -> Option<String> {
        self.text(key).map(|text| text.text.trim().to_owned())
    }

    /// The text that stands first in it.
    pub(crate) fn first_text(&self) -> Option<&Text> {
        self.values().filter_map(Node::first_text).min_by_key(|text| text.start)
    }

    /// All keys and values.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// All values.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Node> {
        self.0.iter().map(|(_, value)| value)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.0.iter_mut().map(|(_, value)| value)
    }
}

/// How a format hands out a scalar together with its place.
pub(crate) trait Format<'de>: Sized {
    /// What a value that matters is read as.
    type Located: Deserialize<'de>;

    /// Which values matter.
    type Keep: Keep;

    /// The node that it is, at a depth. `start` of a text is whatever the format can tell; it is settled after parsing.
    fn node(located: Self::Located, depth: usize) -> Result<Node, String>;
}

/// Reads a value of the format `F` into a [`Node`].
pub(crate) struct Tree<F> {
    pub(crate) node: Node,
    format: PhantomData<F>,
}

impl<'de, F: Format<'de>> Deserialize<'de> for Tree<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Branch::<F>::at(0).deserialize(deserializer)
    }
}

/// Reads a value that stands at a depth, which a parser that is started anew for a part of a text does not know.
pub(crate) struct Branch<F> {
    depth: usize,
    format: PhantomData<F>,
}

impl<F> Branch<F> {
    pub(crate) fn at(depth: usize) -> Self {
        Self { depth, format: PhantomData }
    }

    /// The depth of what is within it.
    fn within<E: Error>(&self) -> Result<usize, E> {
        if self.depth < DEEPEST { Ok(self.depth + 1) } else { Err(E::custom(too_deep())) }
    }
}

/// What is said of a document that is nested deeper than is read.
pub(crate) fn too_deep() -> String {
    format!("it is nested deeper than {DEEPEST} levels")
}

impl<'de, F: Format<'de>> DeserializeSeed<'de> for Branch<F> {
    type Value = Tree<F>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree<F>, D::Error> {
        let node = deserializer.deserialize_any(self)?;
        Ok(Tree { node, format: PhantomData })
    }
}

impl<'de, F: Format<'de>> Visitor<'de> for Branch<F> {
    type Value = Node;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a mapping, a sequence or a scalar")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let depth = self.within()?;
        let mut pairs = Vec::new();
        while let Some(key) = access.next_key::<String>()? {
            let node = if F::Keep::keeps(&key) {
                F::node(access.next_value()?, depth).map_err(A::Error::custom)?
            } else {
                access.next_value_seed(Branch::<F>::at(depth))?.node.without_text()
            };
            if node != Node::Passed || LISTS.contains(&key.as_str()) {
                pairs.push((key, node));
            }
        }
        pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
        // Which of two would count differs from reader to reader.
        if let Some((key, _)) = pairs.iter().zip(pairs.iter().skip(1)).find_map(|(one, other)| (one.0 == other.0).then_some(one)) {
            return Err(A::Error::custom(format_args!("the key {key:?} stands twice")));
        }
        pairs.shrink_to_fit();
        Ok(Node::Map(Map(pairs)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let depth = self.within()?;
        let mut items = Vec::new();
        if F::Keep::IN_LISTS {
            while let Some(item) = access.next_element()? {
                items.push(F::node(item, depth).map_err(A::Error::custom)?);
            }
            return Ok(Node::List(items));
        }
        while let Some(item) = access.next_element_seed(Branch::<F>::at(depth))? {
            items.push(item.node.without_text());
        }
        Ok(Node::List(items))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(Text { text: text.to_owned(), start: 0 }))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Node, E> {
        Ok(Node::Text(Text { text, start: 0 }))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Passed)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Passed)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Passed)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Passed)
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }
}
