//! Choices that are made by a word: the same words on the command line and in a recipe, from the lists of the library.

use super::many;
use crate::device::{PROFILES, Profile};
use crate::merge::tokens::matching::{Baseless, Embeddings};
use crate::merge::weights::{PRESETS, Preset, Rules};
use crate::merge::{METHODS, Method};
use crate::nearest::did_you_mean;
use crate::output::target::Type;
use crate::version::Version;
use ggraft_formats::DType;
use ggraft_formats::quant::Search;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// Something that a word names.
pub trait Word: Copy {
    /// The word for it.
    fn word(self) -> &'static str;

    /// What the word names, or why there is no such thing.
    fn parse(word: &str) -> Result<Self, String>;

    /// Everything that has a word, for shells to offer.
    fn all() -> Vec<Self>;
}

impl Word for Type {
    fn word(self) -> &'static str {
        self.name()
    }

    fn parse(word: &str) -> Result<Self, String> {
        Type::parse(word).map_err(|e| e.to_string())
    }

    fn all() -> Vec<Self> {
        Type::all().collect()
    }
}

impl Word for &'static Method {
    fn word(self) -> &'static str {
        self.name
    }

    fn parse(word: &str) -> Result<Self, String> {
        one_of(word)
    }

    fn all() -> Vec<Self> {
        METHODS.iter().collect()
    }
}

impl Word for &'static Preset {
    fn word(self) -> &'static str {
        self.name
    }

    fn parse(word: &str) -> Result<Self, String> {
        one_of(word)
    }

    fn all() -> Vec<Self> {
        PRESETS.iter().collect()
    }
}

impl Word for &'static Profile {
    fn word(self) -> &'static str {
        self.name
    }

    fn parse(word: &str) -> Result<Self, String> {
        one_of(word)
    }

    fn all() -> Vec<Self> {
        PROFILES.iter().collect()
    }
}

impl Word for DType {
    fn word(self) -> &'static str {
        self.traits().name
    }

    fn parse(word: &str) -> Result<Self, String> {
        DType::from_name(word).ok_or_else(|| {
            let names: Vec<&str> = <DType as Word>::all().into_iter().map(Word::word).collect();
            let hint = did_you_mean(word, names.iter().copied());
            format!("there is no dtype '{word}'{hint}; those that can be written: {}", names.join(" "))
        })
    }

    fn all() -> Vec<Self> {
        DType::all().filter(|d| d.traits().encode.is_some()).collect()
    }
}

impl Word for Version {
    fn word(self) -> &'static str {
        self.name()
    }

    fn parse(word: &str) -> Result<Self, String> {
        Version::parse(word)
    }

    fn all() -> Vec<Self> {
        Version::all().collect()
    }
}

/// The one that has this word.
fn one_of<T: Word>(word: &str) -> Result<T, String> {
    let all = T::all();
    all.iter().copied().find(|x| x.word() == word).ok_or_else(|| {
        let words: Vec<&str> = all.iter().map(|x| x.word()).collect();
        let hint = did_you_mean(word, words.iter().copied());
        format!("expected one of {}, found '{word}'{hint}", words.join(", "))
    })
}

impl Word for Embeddings {
    fn word(self) -> &'static str {
        Embeddings::word(self)
    }

    fn parse(word: &str) -> Result<Self, String> {
        one_of(word)
    }

    fn all() -> Vec<Self> {
        Embeddings::ALL.to_vec()
    }
}

impl Word for Baseless {
    fn word(self) -> &'static str {
        Baseless::word(self)
    }

    fn parse(word: &str) -> Result<Self, String> {
        one_of(word)
    }

    fn all() -> Vec<Self> {
        Baseless::ALL.to_vec()
    }
}

impl Word for Search {
    fn word(self) -> &'static str {
        match self {
            Search::Exact => "exact",
            Search::Fine => "fine",
        }
    }

    fn parse(word: &str) -> Result<Self, String> {
        one_of(word)
    }

    fn all() -> Vec<Self> {
        vec![Search::Exact, Search::Fine]
    }
}

/// Where importance comes from if not from a file.
#[derive(Clone, Copy, Default)]
pub enum Estimate {
    /// The weights of the model themselves.
    #[default]
    Weights,
}

impl Word for Estimate {
    fn word(self) -> &'static str {
        match self {
            Estimate::Weights => "weights",
        }
    }

    fn parse(word: &str) -> Result<Self, String> {
        one_of(word)
    }

    fn all() -> Vec<Self> {
        vec![Estimate::Weights]
    }
}

/// What a word named.
#[derive(Clone, Copy, Default)]
pub struct Choice<T>(pub T);

impl<T: Word> FromStr for Choice<T> {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        T::parse(word).map(Choice)
    }
}

impl<T: Word> PartialEq for Choice<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.word() == other.0.word()
    }
}

impl<T: Word> fmt::Debug for Choice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.word())
    }
}

impl<T: Word> Serialize for Choice<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.word())
    }
}

impl<'de, T: Word> Deserialize<'de> for Choice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        word.parse().map_err(de::Error::custom)
    }
}

/// A number, a truth or a word, as text: the value of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalar(pub String);

impl Serialize for Scalar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = &self.0;
        match (text.parse::<bool>(), text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(truth), _, _) => serializer.serialize_bool(truth),
            (_, Ok(x), _) if x.to_string() == *text => serializer.serialize_i64(x),
            (_, _, Ok(x)) if x.is_finite() && x.to_string() == *text => serializer.serialize_f64(x),
            _ => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl de::Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, true, false or a word")
    }

    fn visit_bool<E>(self, x: bool) -> Result<Scalar, E> {
        Ok(Scalar(x.to_string()))
    }

    fn visit_i64<E>(self, x: i64) -> Result<Scalar, E> {
        Ok(Scalar(x.to_string()))
    }

    fn visit_f64<E>(self, x: f64) -> Result<Scalar, E> {
        Ok(Scalar(x.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar(text.to_string()))
    }
}

/// A rule of the weights, `GLOB=VALUE`, that can be read.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Rule {
    text: String,
    /// Where a file says it in other words, for messages.
    #[serde(skip)]
    place: Option<String>,
}

impl Rule {
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where a file says it in other words.
    pub fn place(&self) -> Option<String> {
        self.place.clone()
    }

    /// The rule, said at this place of a file.
    pub(super) fn at(self, place: Option<String>) -> Rule {
        Rule { place, ..self }
    }
}

/// What two rules say is in their texts.
impl PartialEq for Rule {
    fn eq(&self, other: &Rule) -> bool {
        self.text == other.text
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Rules::parse([], [text]).map_err(|e| e.to_string())?;
        Ok(Rule { text: text.to_string(), place: None })
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The value of a vector's parameter: a number, a gradient over the layers, or rules by tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread(pub Vec<Rule>);

/// The rule for all tensors begins so.
const ALL: &str = "*=";

impl Spread {
    /// The rules.
    pub fn texts(&self) -> Vec<&str> {
        self.0.iter().map(Rule::text).collect()
    }

    /// One value for all tensors, a number or a gradient.
    fn all(value: &str) -> Result<Spread, String> {
        format!("{ALL}{value}").parse().map(|rule| Spread(vec![rule]))
    }
}

impl FromStr for Spread {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('=') { text.parse().map(|rule| Spread(vec![rule])) } else { Spread::all(text) }
    }
}

impl Serialize for Spread {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => {
                Scalar(one.text.strip_prefix(ALL).unwrap_or(&one.text).to_string()).serialize(serializer)
            }
            rules => rules.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Spread {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values: Vec<Scalar> = many::deserialize(deserializer)?;
        let read = match values.as_slice() {
            [one] => one.0.parse(),
            points if points.iter().all(|x| x.0.parse::<f64>().is_ok()) => {
                let points: Vec<&str> = points.iter().map(|x| x.0.as_str()).collect();
                Spread::all(&format!("[{}]", points.join(",")))
            }
            rules => rules.iter().map(|rule| rule.0.parse()).collect::<Result<_, _>>().map(Spread),
        };
        read.map_err(de::Error::custom)
    }
}
