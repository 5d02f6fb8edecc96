//! Reads a node tree into structs that derive `Deserialize`, strictly: a key that is unknown, missing or of the
//! wrong type is an error that names its path, its line, what was expected and what was found.

use super::yaml::{Entry, Node, Value};
use ggraft_formats::Error;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, Expected, IntoDeserializer, Unexpected, Visitor};
use std::fmt;

/// What is wrong, and where.
#[derive(Debug, Default)]
pub(super) struct Fault(Box<Inner>);

#[derive(Debug, Default)]
struct Inner {
    line: u64,
    /// From the root, such as `vectors[0].weight`.
    path: String,
    what: String,
    expected: Option<String>,
    found: Option<String>,
    hint: Option<String>,
    unsupported: bool,
}

impl Fault {
    /// A fault at a place that is still to be told.
    pub fn new(what: impl Into<String>) -> Fault {
        Fault(Box::new(Inner { what: what.into(), ..Inner::default() }))
    }

    /// Something that is well-formed, but that this program does not do.
    pub fn unsupported(what: impl Into<String>) -> Fault {
        let mut fault = Fault::new(what);
        fault.0.unsupported = true;
        fault
    }

    pub fn expected(mut self, expected: impl fmt::Display) -> Fault {
        self.0.expected = Some(expected.to_string());
        self
    }

    pub fn found(mut self, found: impl fmt::Display) -> Fault {
        self.0.found = Some(found.to_string());
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Fault {
        self.0.hint = Some(hint.into());
        self
    }

    /// Tells the line, unless it is told.
    pub fn line(mut self, line: u64) -> Fault {
        if self.0.line == 0 {
            self.0.line = line;
        }
        self
    }

    /// Puts `step` in front of the path: a key, or `[i]`.
    pub fn within(mut self, step: &str) -> Fault {
        let path = &mut self.0.path;
        let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
        *path = format!("{step}{dot}{path}");
        self
    }

    /// The fault as the error of both crates.
    pub fn error(self) -> Error {
        let fault = *self.0;
        let path = if fault.path.is_empty() { String::new() } else { format!("{}: ", fault.path) };
        let what = format!("line {}: {path}{}", fault.line, fault.what);
        let mut e = if fault.unsupported { Error::unsupported(what) } else { Error::invalid(what) };
        if let Some(expected) = fault.expected {
            e = e.expected(expected);
        }
        if let Some(found) = fault.found {
            e = e.found(found);
        }
        if let Some(hint) = fault.hint {
            e = e.hint(hint);
        }
        e
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(text: T) -> Fault {
        Fault::new(text.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Fault {
        Fault::new("the value is of the wrong type").expected(in_words(expected)).found(of_yaml(found))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Fault {
        Fault::new("the value is outside its range").expected(in_words(expected)).found(of_yaml(found))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Fault {
        let expected = format!("one of {}", expected.join(", "));
        Fault::new("there is no such choice").expected(expected).found(format!("'{variant}'"))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Fault {
        Fault::new("there is no such key").expected(format!("one of {}", expected.join(", ")))
    }

    fn missing_field(field: &'static str) -> Fault {
        Fault::new("this key is missing").within(field)
    }
}

/// What serde expects, in a user's words.
fn in_words(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "f32" | "f64" => String::from("a number"),
        "u8" | "u16" | "u32" | "u64" | "usize" => String::from("a whole number, zero or more"),
        "a boolean" => String::from("true or false"),
        "a string" | "path string" => String::from("text"),
        "a sequence" => String::from("a list"),
        t if t.starts_with("struct ") => String::from("a mapping"),
        _ => text,
    }
}

/// What was found, in a user's words.
fn of_yaml(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Str(text) => format!("'{text}'"),
        Unexpected::Bool(x) => x.to_string(),
        Unexpected::Signed(x) => x.to_string(),
        Unexpected::Unsigned(x) => x.to_string(),
        Unexpected::Float(x) => x.to_string(),
        Unexpected::Unit | Unexpected::Option => String::from("nothing"),
        Unexpected::Seq => String::from("a list"),
        Unexpected::Map => String::from("a mapping"),
        other => other.to_string(),
    }
}

impl<'de> de::Deserializer<'de> for &'de Node {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let visited = match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(x) => visitor.visit_bool(*x),
            Value::Integer(x) => visitor.visit_i64(*x),
            Value::Float(x) => visitor.visit_f64(*x),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(items) => visitor.visit_seq(Items { items, next: 0 }),
            Value::Map(entries) => visitor.visit_map(Entries { entries, value: None }),
        };
        visited.map_err(|fault| fault.line(self.line))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    /// Serde would also fill a struct from a list, in the order of its fields.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Map(_) => self.deserialize_any(visitor),
            other => Err(Fault::new("the value is of the wrong type")
                .expected("a mapping")
                .found(other)
                .line(self.line)),
        }
    }

    /// A choice is a word; one that holds something is a mapping with one key.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let visited = match &self.value {
            Value::Text(text) => visitor.visit_enum(StrDeserializer::new(text)),
            Value::Map(entries) => {
                visitor.visit_enum(MapAccessDeserializer::new(Entries { entries, value: None }))
            }
            other => Err(Fault::new("the value is of the wrong type").expected("a word").found(other)),
        };
        visited.map_err(|fault| fault.line(self.line))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map identifier ignored_any
    }
}

struct Items<'de> {
    items: &'de [Node],
    next: usize,
}

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(item) = self.items.get(self.next) else { return Ok(None) };
        let index = self.next;
        self.next += 1;
        seed.deserialize(item).map(Some).map_err(|fault| fault.within(&format!("[{index}]")))
    }
}

struct Entries<'de> {
    entries: &'de [Entry],
    /// The one whose key was read last.
    value: Option<&'de Entry>,
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some((entry, rest)) = self.entries.split_first() else { return Ok(None) };
        self.entries = rest;
        self.value = Some(entry);
        let key: StrDeserializer<'de, Fault> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|fault| fault.line(entry.line).within(&entry.key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let entry = self.value.take().ok_or_else(|| Fault::new("a value was read before its key"))?;
        seed.deserialize(&entry.node).map_err(|fault| fault.line(entry.line).within(&entry.key))
    }
}
