//! Where a model of a recipe comes from: a path or a name, or layers of several models, one slice after the other.

use super::word::Rule;
use super::{is_default, many};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Place {
    /// A path, or a name such as `org/model`.
    Path(PathBuf),
    Stack(Stack),
}

/// A model that is made of layers of others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stack {
    pub slices: Vec<Slice>,
    /// The model whose config and tokenizer it has; by default that of the first slice.
    #[serde(default, skip_serializing_if = "is_default")]
    pub files: Option<PathBuf>,
}

/// Layers of one model that follow each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slice {
    pub model: PathBuf,
    /// The first, and the one behind the last; all, if they are not told.
    #[serde(default, skip_serializing_if = "is_default")]
    pub layers: Option<[u64; 2]>,
    /// What the weights are multiplied with, by rules like those of the weights. Only where nothing is merged.
    #[serde(default, with = "many", skip_serializing_if = "is_default")]
    pub scale: Vec<Rule>,
}

impl Place {
    /// The path, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Place::Path(path) => Some(path),
            Place::Stack(_) => None,
        }
    }

    /// Every model that it names.
    pub fn models(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Place::Path(path) => vec![path],
            Place::Stack(stack) => {
                stack.slices.iter_mut().map(|slice| &mut slice.model).chain(&mut stack.files).collect()
            }
        }
    }
}

impl Default for Place {
    fn default() -> Place {
        Place::Path(PathBuf::new())
    }
}

impl<P: Into<PathBuf>> From<P> for Place {
    fn from(path: P) -> Place {
        Place::Path(path.into())
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Place, D::Error> {
        deserializer.deserialize_any(PlaceVisitor)
    }
}

struct PlaceVisitor;

impl<'de> Visitor<'de> for PlaceVisitor {
    type Value = Place;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, or a mapping with slices")
    }

    fn visit_str<E: de::Error>(self, path: &str) -> Result<Place, E> {
        Ok(Place::Path(path.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Place, A::Error> {
        let stack = Stack::deserialize(MapAccessDeserializer::new(map))?;
        match stack.slices.is_empty() {
            true => Err(de::Error::custom("there are no slices")),
            false => Ok(Place::Stack(stack)),
        }
    }
}
