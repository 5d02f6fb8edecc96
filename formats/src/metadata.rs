//! The key-value metadata of a model: ordered and exactly typed, so that a file read and written again keeps
//! every byte of it. Strings are bytes, because token texts need not be UTF-8.
//! Specification: ggml `docs/gguf.md`, `gguf_type`.

use bstr::{BString, ByteSlice};

/// One typed value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    Str(BString),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// An array, whose elements all have one type; an empty one has a type too. Arrays do not nest.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    Bool(Vec<bool>),
    Str(Vec<BString>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F64(Vec<f64>),
}

impl Array {
    /// The name of its elements' type in brackets: `[u32]`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Array::U8(_) => "[u8]",
            Array::I8(_) => "[i8]",
            Array::U16(_) => "[u16]",
            Array::I16(_) => "[i16]",
            Array::U32(_) => "[u32]",
            Array::I32(_) => "[i32]",
            Array::F32(_) => "[f32]",
            Array::Bool(_) => "[bool]",
            Array::Str(_) => "[str]",
            Array::U64(_) => "[u64]",
            Array::I64(_) => "[i64]",
            Array::F64(_) => "[f64]",
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Array::U8(a) => a.len(),
            Array::I8(a) => a.len(),
            Array::U16(a) => a.len(),
            Array::I16(a) => a.len(),
            Array::U32(a) => a.len(),
            Array::I32(a) => a.len(),
            Array::F32(a) => a.len(),
            Array::Bool(a) => a.len(),
            Array::Str(a) => a.len(),
            Array::U64(a) => a.len(),
            Array::I64(a) => a.len(),
            Array::F64(a) => a.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements whose index `keep` holds of.
    pub fn select(&self, keep: impl Fn(usize) -> bool) -> Array {
        fn some<T: Clone>(all: &[T], keep: impl Fn(usize) -> bool) -> Vec<T> {
            all.iter().enumerate().filter(|(i, _)| keep(*i)).map(|(_, x)| x.clone()).collect()
        }
        match self {
            Array::U8(a) => Array::U8(some(a, keep)),
            Array::I8(a) => Array::I8(some(a, keep)),
            Array::U16(a) => Array::U16(some(a, keep)),
            Array::I16(a) => Array::I16(some(a, keep)),
            Array::U32(a) => Array::U32(some(a, keep)),
            Array::I32(a) => Array::I32(some(a, keep)),
            Array::F32(a) => Array::F32(some(a, keep)),
            Array::Bool(a) => Array::Bool(some(a, keep)),
            Array::Str(a) => Array::Str(some(a, keep)),
            Array::U64(a) => Array::U64(some(a, keep)),
            Array::I64(a) => Array::I64(some(a, keep)),
            Array::F64(a) => Array::F64(some(a, keep)),
        }
    }

    /// Element `i`, if there is one and it is an integer that is not negative.
    pub fn u64(&self, i: usize) -> Option<u64> {
        match self {
            Array::U8(a) => a.get(i).map(|x| u64::from(*x)),
            Array::U16(a) => a.get(i).map(|x| u64::from(*x)),
            Array::U32(a) => a.get(i).map(|x| u64::from(*x)),
            Array::U64(a) => a.get(i).copied(),
            Array::I8(a) => a.get(i).and_then(|x| u64::try_from(*x).ok()),
            Array::I16(a) => a.get(i).and_then(|x| u64::try_from(*x).ok()),
            Array::I32(a) => a.get(i).and_then(|x| u64::try_from(*x).ok()),
            Array::I64(a) => a.get(i).and_then(|x| u64::try_from(*x).ok()),
            _ => None,
        }
    }
}

/// Shapes a Rust value into the metadata value of its own type.
macro_rules! from {
    ($($rust:ty => $kind:ident),*) => {$(
        impl From<$rust> for Value {
            fn from(x: $rust) -> Value {
                Value::$kind(x)
            }
        }
        impl From<Vec<$rust>> for Value {
            fn from(x: Vec<$rust>) -> Value {
                Value::Array(Array::$kind(x))
            }
        }
    )*};
}

from!(u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, f32 => F32, bool => Bool,
      BString => Str, u64 => U64, i64 => I64, f64 => F64);

impl From<&str> for Value {
    fn from(x: &str) -> Value {
        Value::Str(x.into())
    }
}

impl From<String> for Value {
    fn from(x: String) -> Value {
        Value::Str(x.into())
    }
}

impl From<Vec<String>> for Value {
    fn from(x: Vec<String>) -> Value {
        Value::Array(Array::Str(x.into_iter().map(BString::from).collect()))
    }
}

impl Value {
    /// The name of its type, of an array in brackets: `u32`, `[str]`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::U8(_) => "u8",
            Value::I8(_) => "i8",
            Value::U16(_) => "u16",
            Value::I16(_) => "i16",
            Value::U32(_) => "u32",
            Value::I32(_) => "i32",
            Value::F32(_) => "f32",
            Value::Bool(_) => "bool",
            Value::Str(_) => "str",
            Value::U64(_) => "u64",
            Value::I64(_) => "i64",
            Value::F64(_) => "f64",
            Value::Array(array) => array.type_name(),
        }
    }

    /// The text of a string that is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(s) => s.to_str().ok(),
            _ => None,
        }
    }

    /// Any integer that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Value::U8(x) => Some(x.into()),
            Value::U16(x) => Some(x.into()),
            Value::U32(x) => Some(x.into()),
            Value::U64(x) => Some(x),
            Value::I8(x) => x.try_into().ok(),
            Value::I16(x) => x.try_into().ok(),
            Value::I32(x) => x.try_into().ok(),
            Value::I64(x) => x.try_into().ok(),
            _ => None,
        }
    }

    /// Any float.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Value::F32(x) => Some(x.into()),
            Value::F64(x) => Some(x),
            _ => None,
        }
    }

    pub fn as_array(&self) -> Option<&Array> {
        match self {
            Value::Array(a) => Some(a),
            _ => None,
        }
    }
}

/// Keys and values in the order in which they are written. Keys are unique.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    entries: Vec<(String, Value)>,
}

impl Metadata {
    pub fn new() -> Metadata {
        Metadata::default()
    }

    /// Puts `value` under `key`: where the key stands already, else at the end.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        match self.entries.iter_mut().find(|(k, _)| k == key) {
            Some(entry) => entry.1 = value,
            None => self.entries.push((key.to_string(), value)),
        }
    }

    /// Puts `value` under `key` at the end, removing an earlier one (ggml's `gguf_set_val_*`).
    pub fn set_last(&mut self, key: &str, value: impl Into<Value>) {
        self.remove(key);
        self.entries.push((key.to_string(), value.into()));
    }

    /// Appends a key that is known to be new; readers check for duplicates themselves, in one pass.
    pub(crate) fn push(&mut self, key: String, value: Value) {
        self.entries.push((key, value));
    }

    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let i = self.entries.iter().position(|(k, _)| k == key)?;
        Some(self.entries.remove(i).1)
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// A string value.
    pub fn str(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// An integer value that is not negative.
    pub fn u64(&self, key: &str) -> Option<u64> {
        self.get(key)?.as_u64()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(k, v)| (k.as_str(), v))
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Appends all of `other`; a key that stands already takes the new value in its old place.
    pub fn extend(&mut self, other: Metadata) {
        for (key, value) in other.entries {
            self.set(&key, value);
        }
    }
}
