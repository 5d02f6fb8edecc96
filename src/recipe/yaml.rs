//! YAML as a tree of nodes that know their lines, and back. Recipes are read from such trees, so that an error can
//! name the line; what is written is a small, safely quoted part of YAML 1.2 that every reader understands alike.

use ggraft_formats::{Error, Result};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;
use serde_saphyr::Spanned;
use serde_saphyr::options::NonFiniteFloatPolicy;
use std::fmt;
use std::path::Path;

/// A value and the line on which it begins, from 1.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub line: u64,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its line, and its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub key: String,
    pub line: u64,
    pub node: Node,
}

/// Parses one document.
///
/// # Errors
/// Invalid, with the line: not YAML, a key twice, several documents.
pub(super) fn parse(text: &str, file: &Path) -> Result<Node> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
    };
    let spanned: Result<Spanned<Value>, _> = serde_saphyr::from_str_with_options(text, options);
    spanned.map(Node::from).map_err(|e| malformed(&e).file(file))
}

/// All documents; none if they cannot be read.
pub(super) fn documents(text: &str) -> Vec<Node> {
    let options = serde_saphyr::options! { with_snippet: false };
    let all: Result<Vec<Spanned<Value>>, _> = serde_saphyr::from_multiple_with_options(text, options);
    all.map_or(Vec::new(), |all| all.into_iter().map(Node::from).collect())
}

/// The reader's own words tell how to call it otherwise; a user wants the line and the fault.
fn malformed(e: &serde_saphyr::Error) -> Error {
    use serde_saphyr::Error as E;
    let what = match e {
        E::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("a key");
            format!("{key}: this key is there twice")
        }
        E::MultipleDocuments { .. } => String::from("there is a second document; a recipe is one"),
        E::Message { msg, .. } => msg.clone(),
        other => {
            let text = other.to_string();
            let end = text.rfind(" at line ").unwrap_or(text.len());
            format!("the YAML is malformed: {}", &text[..end])
        }
    };
    Error::invalid(format!("line {}: {what}", e.location().map_or(1, |l| l.line())))
}

impl Node {
    /// The entry of this key, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Node {
        Node { line: spanned.referenced.line(), value: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, x: bool) -> Result<Value, E> {
        Ok(Value::Bool(x))
    }

    fn visit_i64<E>(self, x: i64) -> Result<Value, E> {
        Ok(Value::Integer(x))
    }

    fn visit_u64<E: de::Error>(self, x: u64) -> Result<Value, E> {
        i64::try_from(x).map(Value::Integer).map_err(|_| E::custom(format!("the number {x} is too large")))
    }

    fn visit_f64<E: de::Error>(self, x: f64) -> Result<Value, E> {
        if x.is_finite() { Ok(Value::Float(x)) } else { Err(E::custom("a number must be finite")) }
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Spanned<Value>>()? {
            items.push(item.into());
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Spanned<Value>>()? {
            entries.push(Entry { key: key.value, line: key.referenced.line(), node: value.into() });
        }
        Ok(Value::Map(entries))
    }
}

/// What it is, for errors.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("nothing"),
            Value::Bool(x) => write!(f, "{x}"),
            Value::Integer(x) => write!(f, "{x}"),
            Value::Float(x) => write!(f, "{x}"),
            Value::Text(text) => write!(f, "'{text}'"),
            Value::List(_) => f.write_str("a list"),
            Value::Map(_) => f.write_str("a mapping"),
        }
    }
}

/// Writes a value: mappings in blocks, lists of scalars on one line.
pub(super) fn write(value: &Json) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

fn block(value: &Json, indent: usize, out: &mut String) {
    match value {
        Json::Object(map) if !map.is_empty() => {
            for (i, (key, value)) in map.iter().enumerate() {
                // The first key of a list's item stands beside its dash.
                if i > 0 || !out.ends_with("- ") {
                    out.extend(std::iter::repeat_n(' ', indent));
                }
                out.push_str(&scalar_text(key));
                out.push(':');
                nested(value, indent, out);
            }
        }
        Json::Array(items) if !items.is_empty() => {
            for item in items {
                out.extend(std::iter::repeat_n(' ', indent));
                out.push_str("- ");
                if is_flat(item) {
                    out.push_str(&flow(item));
                    out.push('\n');
                } else {
                    block(item, indent + 2, out);
                }
            }
        }
        other => {
            out.push_str(&flow(other));
            out.push('\n');
        }
    }
}

/// The value of a key: on its line, or in a block below it.
fn nested(value: &Json, indent: usize, out: &mut String) {
    if is_flat(value) {
        out.push(' ');
        out.push_str(&flow(value));
        out.push('\n');
    } else {
        out.push('\n');
        block(value, indent + 2, out);
    }
}

/// Whether it is written on one line.
fn is_flat(value: &Json) -> bool {
    match value {
        Json::Object(map) => map.is_empty(),
        Json::Array(items) => items.iter().all(|item| !item.is_object() && is_flat(item)),
        _ => true,
    }
}

fn flow(value: &Json) -> String {
    match value {
        Json::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Json::String(text) => scalar_text(text),
        other => other.to_string(),
    }
}

/// Text that no reader takes for anything else; in quotes unless it is a plain word.
fn scalar_text(text: &str) -> String {
    const RESERVED: [&str; 11] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"];
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic())
        || ["./", "../"].iter().any(|start| text.starts_with(start));
    if word && text.chars().all(plain) && !RESERVED.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_string();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            // Control characters, other line breaks, and what a reader may take for one.
            c if c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') =>
            {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
