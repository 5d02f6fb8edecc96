//! Values of the metadata as they stand in a file: `gguf_type` and the bytes.

use super::kind;
use crate::metadata::{Scalar, Value, of_any};
use bstr::BString;

/// A string: its length, then its bytes.
pub(super) fn put_str(out: &mut Vec<u8>, text: &[u8]) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text);
}

/// A type as GGUF stores it.
trait Stored: Scalar {
    const KIND: u32;
    fn put(&self, out: &mut Vec<u8>);
}

macro_rules! stored {
    ($($rust:ty => $kind:ident),*) => {$(
        impl Stored for $rust {
            const KIND: u32 = kind::$kind;

            fn put(&self, out: &mut Vec<u8>) {
                out.extend(self.to_le_bytes());
            }
        }
    )*};
}

stored!(u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, f32 => F32, u64 => U64, i64 => I64, f64 => F64);

impl Stored for bool {
    const KIND: u32 = kind::BOOL;

    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl Stored for BString {
    const KIND: u32 = kind::STR;

    fn put(&self, out: &mut Vec<u8>) {
        put_str(out, self);
    }
}

/// What tells a value from others: a short one as it is, and the hash of its encoding.
pub(crate) fn brief(value: &Value) -> String {
    let mut encoded = Vec::new();
    put_value(&mut encoded, value);
    let hash = xxhash_rust::xxh3::xxh3_64(&encoded);
    let short = value.as_str().filter(|text| text.len() <= 64).map(String::from);
    let text = short.or_else(|| value.as_u64().map(|n| n.to_string()));
    let text = text.or_else(|| value.as_f64().map(|x| x.to_string()));
    format!("{} ({}, hash {hash:016x})", text.as_deref().unwrap_or("…"), value.type_name())
}

/// A value, after the number of its type.
pub(super) fn put_value(out: &mut Vec<u8>, value: &Value) {
    fn put<T: Stored>(out: &mut Vec<u8>, x: &T) {
        out.extend(T::KIND.to_le_bytes());
        x.put(out);
    }
    match value {
        Value::U8(x) => put(out, x),
        Value::I8(x) => put(out, x),
        Value::U16(x) => put(out, x),
        Value::I16(x) => put(out, x),
        Value::U32(x) => put(out, x),
        Value::I32(x) => put(out, x),
        Value::F32(x) => put(out, x),
        Value::Bool(x) => put(out, x),
        Value::U64(x) => put(out, x),
        Value::I64(x) => put(out, x),
        Value::F64(x) => put(out, x),
        Value::Str(x) => put(out, x),
        Value::Array(a) => {
            out.extend(kind::ARRAY.to_le_bytes());
            of_any!(a, elements => put_array(out, elements));
        }
    }
}

fn put_array<T: Stored>(out: &mut Vec<u8>, elements: &[T]) {
    out.extend(T::KIND.to_le_bytes());
    out.extend((elements.len() as u64).to_le_bytes());
    elements.iter().for_each(|x| x.put(out));
}
