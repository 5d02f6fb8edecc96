//! The key-value metadata of a model: ordered and exactly typed, so that a file read and written again keeps
//! every byte of it. Strings are bytes, because token texts need not be UTF-8.
//! Specification: ggml `docs/gguf.md`, `gguf_type`.

use bstr::{BString, ByteSlice};
use std::sync::Arc;

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

/// Does the same with the elements of an array, of whatever type they are: `of_any!(array, elements => elements.len())`.
macro_rules! of_any {
    ($array:expr, $elements:ident => $result:expr) => {
        match $array {
            $crate::metadata::Array::U8($elements) => $result,
            $crate::metadata::Array::I8($elements) => $result,
            $crate::metadata::Array::U16($elements) => $result,
            $crate::metadata::Array::I16($elements) => $result,
            $crate::metadata::Array::U32($elements) => $result,
            $crate::metadata::Array::I32($elements) => $result,
            $crate::metadata::Array::F32($elements) => $result,
            $crate::metadata::Array::Bool($elements) => $result,
            $crate::metadata::Array::Str($elements) => $result,
            $crate::metadata::Array::U64($elements) => $result,
            $crate::metadata::Array::I64($elements) => $result,
            $crate::metadata::Array::F64($elements) => $result,
        }
    };
}
pub(crate) use of_any;

impl Array {
    /// The name of its elements' type in brackets: `[u32]`.
    pub fn type_name(&self) -> &'static str {
        fn of<T: Scalar>(_: &[T]) -> &'static str {
            T::BRACKETED
        }
        of_any!(self, a => of(a))
    }

    pub fn len(&self) -> usize {
        of_any!(self, a => a.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements, each as a value of its own.
    #[allow(clippy::clone_on_copy, reason = "the macro serves strings too, which are cloned")]
    pub fn iter(&self) -> Box<dyn ExactSizeIterator<Item = Value> + '_> {
        of_any!(self, a => Box::new(a.iter().map(|x| x.clone().into())))
    }

    /// The elements whose index `keep` holds of.
    pub fn select(&self, keep: impl Fn(usize) -> bool) -> Array {
        fn some<T: Scalar>(all: &[T], keep: impl Fn(usize) -> bool) -> Array {
            T::array(all.iter().enumerate().filter(|(i, _)| keep(*i)).map(|(_, x)| x.clone()).collect())
        }
        of_any!(self, a => some(a, keep))
    }

    /// The elements of all, one array after the other; none if they are of several types, or there is no array.
    pub fn joined(all: impl IntoIterator<Item = Array>) -> Option<Array> {
        fn with<T: Scalar>(mut first: Vec<T>, more: Array) -> Option<Array> {
            first.append(&mut T::elements(more)?);
            Some(T::array(first))
        }
        let mut all = all.into_iter();
        let first = all.next()?;
        all.try_fold(first, |first, more| of_any!(first, first => with(first, more)))
    }

    /// Element `i`, if there is one and it is an integer that is not negative.
    #[allow(clippy::clone_on_copy, reason = "the macro serves strings too, which are cloned")]
    pub fn u64(&self, i: usize) -> Option<u64> {
        of_any!(self, a => Value::from(a.get(i)?.clone()).as_u64())
    }
}

/// A type that a value, or an element of an array, may have.
pub(crate) trait Scalar: Clone + Into<Value> {
    const NAME: &'static str;
    /// The name of an array's type.
    const BRACKETED: &'static str;
    fn array(elements: Vec<Self>) -> Array;
    /// The elements of an array of this type.
    fn elements(array: Array) -> Option<Vec<Self>>;
}

/// Shapes a Rust value into the metadata value of its own type.
macro_rules! from {
    ($($rust:ty => $kind:ident $name:literal),*) => {$(
        impl Scalar for $rust {
            const NAME: &'static str = $name;
            const BRACKETED: &'static str = concat!("[", $name, "]");

            fn array(elements: Vec<$rust>) -> Array {
                Array::$kind(elements)
            }

            fn elements(array: Array) -> Option<Vec<$rust>> {
                match array {
                    Array::$kind(elements) => Some(elements),
                    _ => None,
                }
            }
        }
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

from!(u8 => U8 "u8", i8 => I8 "i8", u16 => U16 "u16", i16 => I16 "i16", u32 => U32 "u32", i32 => I32 "i32",
      f32 => F32 "f32", bool => Bool "bool", BString => Str "str", u64 => U64 "u64", i64 => I64 "i64", f64 => F64 "f64");

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
        fn of<T: Scalar>(_: &T) -> &'static str {
            T::NAME
        }
        match self {
            Value::U8(x) => of(x),
            Value::I8(x) => of(x),
            Value::U16(x) => of(x),
            Value::I16(x) => of(x),
            Value::U32(x) => of(x),
            Value::I32(x) => of(x),
            Value::F32(x) => of(x),
            Value::Bool(x) => of(x),
            Value::Str(x) => of(x),
            Value::U64(x) => of(x),
            Value::I64(x) => of(x),
            Value::F64(x) => of(x),
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

/// Keys and values in the order in which they are written. Keys are unique. Copies share the values: a vocabulary takes
/// tens of megabytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    entries: Vec<(String, Arc<Value>)>,
}

impl Metadata {
    pub fn new() -> Metadata {
        Metadata::default()
    }

    /// Puts `value` under `key`: where the key stands already, else at the end.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        let value = Arc::new(value.into());
        match self.entries.iter_mut().find(|(k, _)| k == key) {
            Some(entry) => entry.1 = value,
            None => self.entries.push((key.to_string(), value)),
        }
    }

    /// Puts `value` under `key` at the end, removing an earlier one (ggml's `gguf_set_val_*`).
    pub fn set_last(&mut self, key: &str, value: impl Into<Value>) {
        self.remove(key);
        self.entries.push((key.to_string(), Arc::new(value.into())));
    }

    /// Puts `value` under a new `key` before the first whose name begins so; at the end if there is none.
    pub fn set_before(&mut self, begins: &str, key: &str, value: impl Into<Value>) {
        self.remove(key);
        let place = self.entries.iter().position(|(key, _)| key.starts_with(begins));
        let entry = (key.to_string(), Arc::new(value.into()));
        self.entries.insert(place.unwrap_or(self.entries.len()), entry);
    }

    /// Appends a key that is known to be new; readers check for duplicates themselves, in one pass.
    pub(crate) fn push(&mut self, key: String, value: Value) {
        self.entries.push((key, Arc::new(value)));
    }

    /// Removes every key that `keep` does not hold of, in one pass.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.entries.retain(|(key, _)| keep(key));
    }

    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let i = self.entries.iter().position(|(k, _)| k == key)?;
        Some(Arc::unwrap_or_clone(self.entries.remove(i).1))
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.iter().find(|(k, _)| k == key).map(|(_, v)| &**v)
    }

    /// A string value.
    pub fn str(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// An integer value that is not negative.
    pub fn u64(&self, key: &str) -> Option<u64> {
        self.get(key)?.as_u64()
    }

    /// The memory that the values take, in bytes, nearly: an allocation is larger than what it holds.
    pub fn memory(&self) -> u64 {
        const ALLOCATION: usize = 16;
        let of = |value: &Value| match value {
            Value::Str(text) => text.len(),
            Value::Array(Array::Str(texts)) => {
                let one =
                    |text: &BString| size_of::<BString>() + (text.len() + ALLOCATION).max(2 * ALLOCATION);
                texts.iter().map(one).sum()
            }
            Value::Array(array) => of_any!(array, elements => size_of_val(elements.as_slice())),
            _ => 0,
        };
        self.entries.iter().map(|(key, value)| (key.len() + size_of::<Value>() + of(value)) as u64).sum()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(k, v)| (k.as_str(), &**v))
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
            self.set(&key, Arc::unwrap_or_clone(value));
        }
    }
}
