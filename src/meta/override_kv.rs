//! `--override-kv KEY=TYPE:VALUE`: a value of the output's metadata, of any type that GGUF has.
//! Beside llama-quantize's `int`, `float`, `bool` and `str` there are GGUF's own type names, and arrays as `[TYPE]`.
//! Specification: llama.cpp v0.5.0, llama-quantize; its `int` loses the sign, ours keeps it.

use crate::nearest::{did_you_mean, nearest};
use bstr::BString;
use ggraft_formats::{Array, Value};
use serde_json::Value as Json;
use std::fmt;
use std::str::FromStr;

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    pub key: String,
    pub value: Value,
}

pub(super) const FORM: &str = "expected KEY=TYPE:VALUE, with a TYPE of int float bool str u8 i8 u16 i16 u32 i32 u64 i64 f32 f64, \
                    or [TYPE] and values between commas";

const TYPES: [&str; 14] =
    ["int", "float", "bool", "str", "u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64"];

impl FromStr for Override {
    type Err = String;

    fn from_str(text: &str) -> Result<Override, String> {
        let (key, rest) = text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or(FORM)?;
        let (kind, text) = rest.split_once(':').ok_or(FORM)?;
        Ok(Override { key: key.to_string(), value: value(kind, text)? })
    }
}

impl fmt::Display for Override {
    /// As it is typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}:{}", self.key, self.value.type_name(), Spelled(&self.value))
    }
}

/// A value as it is typed after its type. Bytes that are not UTF-8 are replaced.
pub struct Spelled<'a>(pub &'a Value);

impl fmt::Display for Spelled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Debug prints the shortest text that is read as the same float, with an exponent where that is shorter.
        let text = match self.0 {
            Value::U8(x) => x.to_string(),
            Value::I8(x) => x.to_string(),
            Value::U16(x) => x.to_string(),
            Value::I16(x) => x.to_string(),
            Value::U32(x) => x.to_string(),
            Value::I32(x) => x.to_string(),
            Value::U64(x) => x.to_string(),
            Value::I64(x) => x.to_string(),
            Value::F32(x) => format!("{x:?}"),
            Value::F64(x) => format!("{x:?}"),
            Value::Bool(x) => x.to_string(),
            Value::Str(x) => x.to_string(),
            Value::Array(Array::Str(a)) => {
                Json::from(a.iter().map(BString::to_string).collect::<Vec<_>>()).to_string()
            }
            Value::Array(a) => a.iter().map(|x| Spelled(&x).to_string()).collect::<Vec<_>>().join(","),
        };
        f.write_str(&text)
    }
}

/// The value of this type that is spelled so.
pub(super) fn value(kind: &str, text: &str) -> Result<Value, String> {
    match bare(kind) {
        Some(kind) => array(kind, text),
        None => scalar(kind, text),
    }
}

/// Whether this is a type.
pub(super) fn is_type(word: &str) -> bool {
    TYPES.contains(&bare(word).unwrap_or(word))
}

/// Whether this is a type, or nearly one.
pub(super) fn resembles_type(word: &str) -> bool {
    nearest(bare(word).unwrap_or(word), TYPES).is_some()
}

fn bare(kind: &str) -> Option<&str> {
    kind.strip_prefix('[').and_then(|kind| kind.strip_suffix(']'))
}

fn scalar(kind: &str, text: &str) -> Result<Value, String> {
    Ok(match kind {
        "int" => integer(text)?,
        "str" => Value::Str(text.into()),
        "bool" => Value::Bool(one(kind, text)?),
        "u8" => Value::U8(one(kind, text)?),
        "i8" => Value::I8(one(kind, text)?),
        "u16" => Value::U16(one(kind, text)?),
        "i16" => Value::I16(one(kind, text)?),
        "u32" => Value::U32(one(kind, text)?),
        "i32" => Value::I32(one(kind, text)?),
        "u64" => Value::U64(one(kind, text)?),
        "i64" => Value::I64(one(kind, text)?),
        "f32" | "float" => Value::F32(one(kind, text)?),
        "f64" => Value::F64(one(kind, text)?),
        other => return Err(format!("there is no type '{other}'{}; {FORM}", did_you_mean(other, TYPES))),
    })
}

/// The smallest of u32, i32, u64 and i64 that holds the number: llama-quantize writes u32.
fn integer(text: &str) -> Result<Value, String> {
    let number: i128 = one("int", text)?;
    u32::try_from(number)
        .map(Value::U32)
        .or_else(|_| i32::try_from(number).map(Value::I32))
        .or_else(|_| u64::try_from(number).map(Value::U64))
        .or_else(|_| i64::try_from(number).map(Value::I64))
        .map_err(|_| format!("'{text}' does not fit 64 bits"))
}

fn array(kind: &str, text: &str) -> Result<Value, String> {
    Ok(match kind {
        "str" => strings(text)?.into(),
        "bool" => all::<bool>(kind, text)?.into(),
        "u8" => all::<u8>(kind, text)?.into(),
        "i8" => all::<i8>(kind, text)?.into(),
        "u16" => all::<u16>(kind, text)?.into(),
        "i16" => all::<i16>(kind, text)?.into(),
        "u32" => all::<u32>(kind, text)?.into(),
        "i32" | "int" => all::<i32>(kind, text)?.into(),
        "u64" => all::<u64>(kind, text)?.into(),
        "i64" => all::<i64>(kind, text)?.into(),
        "f32" | "float" => all::<f32>(kind, text)?.into(),
        "f64" => all::<f64>(kind, text)?.into(),
        other => return Err(format!("there is no type '[{other}]'{}; {FORM}", did_you_mean(other, TYPES))),
    })
}

fn one<T: FromStr>(kind: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("'{text}' is no {kind}"))
}

fn all<T: FromStr>(kind: &str, text: &str) -> Result<Vec<T>, String> {
    match text {
        "" => Ok(Vec::new()),
        text => text.split(',').map(|part| one(kind, part.trim())).collect(),
    }
}

/// Strings may hold commas, so they may be given as JSON too.
fn strings(text: &str) -> Result<Vec<BString>, String> {
    if !text.starts_with('[') {
        return all("str", text);
    }
    let wrong = |_| format!("'{text}' is no JSON array of strings");
    match serde_json::from_str::<Json>(text).map_err(|e| wrong(e.to_string()))? {
        Json::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(BString::from).ok_or_else(|| wrong(item.to_string())))
            .collect(),
        other => Err(wrong(other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        format!("a.b={text}").parse::<Override>().unwrap().value
    }

    #[test]
    fn scalars_of_every_type() {
        assert_eq!(value("int:7"), Value::U32(7));
        assert_eq!(value("int:-7"), Value::I32(-7));
        assert_eq!(value("int:4294967296"), Value::U64(1 << 32));
        assert_eq!(value("int:-4294967296"), Value::I64(-(1 << 32)));
        assert_eq!(value("float:1.5"), Value::F32(1.5));
        assert_eq!(value("f64:-1e300"), Value::F64(-1e300));
        assert_eq!(value("bool:true"), Value::Bool(true));
        assert_eq!(value("str:a=b:c"), Value::from("a=b:c"));
        assert_eq!(value("u8:255"), Value::U8(255));
        assert_eq!(value("i16:-3"), Value::I16(-3));
    }

    #[test]
    fn what_is_spelled_is_read_again() {
        for text in [
            "int:7",
            "i8:-7",
            "u64:18446744073709551615",
            "f32:0.1",
            "f64:-1e300",
            "f32:inf",
            "bool:false",
            "str:a=b:c",
            "str:",
            "[i32]:1,-2",
            "[f32]:",
            "[f64]:0.1,2",
            "[bool]:true,false",
            r#"[str]:["a,b","c\"d"]"#,
            "[str]:[]",
        ] {
            let one: Override = format!("a.b={text}").parse().unwrap();
            assert_eq!(one.to_string().parse::<Override>().unwrap(), one, "{one}");
        }
    }

    #[test]
    fn arrays() {
        assert_eq!(value("[i32]:1,-2, 3"), vec![1i32, -2, 3].into());
        assert_eq!(value("[f32]:"), Vec::<f32>::new().into());
        assert_eq!(value("[str]:a,b"), vec!["a".to_string(), "b".to_string()].into());
        assert_eq!(value(r#"[str]:["a,b","c"]"#), vec!["a,b".to_string(), "c".to_string()].into());
    }

    #[test]
    fn wrong_ones_say_what_is_wrong() {
        for (text, said) in [
            ("a", "expected KEY=TYPE:VALUE"),
            ("=int:1", "expected KEY=TYPE:VALUE"),
            ("a=1", "expected KEY=TYPE:VALUE"),
            ("a=word:1", "there is no type 'word'; expected"),
            ("a=strg:1", "there is no type 'strg'; did you mean str?"),
            ("a=u8:256", "'256' is no u8"),
            ("a=int:99999999999999999999", "does not fit 64 bits"),
            ("a=[u8]:1,x", "'x' is no u8"),
            ("a=[str]:[1]", "no JSON array of strings"),
        ] {
            let error = text.parse::<Override>().unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
