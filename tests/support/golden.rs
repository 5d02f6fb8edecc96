//! What llama.cpp's converter made of a checkpoint, as `fixtures/make_goldens.py` wrote it down, and a line for each tensor
//! or key in which a model differs from it.

use super::vocabulary::fixture;
use ggraft_formats::{Array, Model, Value};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The types that the converter and we can both write.
pub const OUTTYPES: [&str; 4] = ["f32", "f16", "bf16", "q8_0"];

/// The keys that stand elsewhere: at the end, where llama-quantize puts them, so that converting and quantizing in
/// one step gives the file that two steps give. For the same reason the tensors are in its order.
const LAST: [&str; 2] = ["general.quantization_version", "general.file_type"];

/// What the converter made, as `fixtures/make_goldens.py` wrote it down.
pub struct Golden {
    files: BTreeMap<String, String>,
    /// Keys in file order, each with "type value".
    kv: Vec<(String, String)>,
    /// "dtype shape sha256" by name.
    tensors: BTreeMap<String, String>,
}

impl Golden {
    pub fn path(name: &str, outtype: &str) -> PathBuf {
        fixture(&format!("goldens/convert/{name}.{outtype}.json"))
    }

    /// That of one outtype.
    pub fn read(name: &str, outtype: &str) -> Golden {
        Golden::at(&Golden::path(name, outtype))
    }

    /// That of one outtype in the file at `path`.
    pub fn at(path: &Path) -> Golden {
        Golden::of(&serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
    }

    /// Those of all outtypes, of a tiny checkpoint of a family.
    pub fn family(name: &str) -> Option<Vec<Golden>> {
        Golden::all(&fixture(&format!("goldens/families/{name}.json")))
    }

    /// Those of what sees or hears of a checkpoint.
    pub fn projector(name: &str) -> Option<Vec<Golden>> {
        Golden::all(&fixture(&format!("goldens/projectors/{name}.json")))
    }

    /// Those of a tiny checkpoint that the converter reads with an option: `native`, `mtp`, `no-mtp`, `dense`, `fused`, `fp8-as-q8`.
    pub fn with_option(kind: &str, name: &str) -> Option<Vec<Golden>> {
        Golden::all(&fixture(&format!("goldens/{kind}/{name}.json")))
    }

    /// Those of a packed checkpoint.
    pub fn packed(name: &str) -> Option<Vec<Golden>> {
        Golden::all(&fixture(&format!("goldens/packed/{name}.json")))
    }

    /// Those of what llama.cpp's script makes of an adapter, if it can be compared with.
    pub fn adapter(name: &str) -> Option<Vec<Golden>> {
        let path = fixture(&format!("goldens/adapters/{name}.json"));
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).ok()?).unwrap();
        json.get("tensors").and_then(|_| Golden::all(&path))
    }

    fn all(path: &Path) -> Option<Vec<Golden>> {
        let text = std::fs::read(path).ok()?;
        let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let one = |(i, outtype): (usize, &&str)| {
            let mut one = json.clone();
            for row in one["kv"].as_array_mut().unwrap() {
                if let Some(value) = row.get(3).map(|each| each[outtype].clone()) {
                    row[2] = value;
                }
            }
            for row in one["tensors"].as_array_mut().unwrap() {
                *row = json!([row[0], row[2][i][0], row[1], row[2][i][1]]);
            }
            Golden::of(&one)
        };
        Some(OUTTYPES.iter().enumerate().map(one).collect())
    }

    fn of(json: &serde_json::Value) -> Golden {
        let string = |value: &serde_json::Value| value.as_str().expect("a string").to_string();
        let rows = |key: &str| json[key].as_array().expect("a list").iter();
        Golden {
            files: json["files"].as_object().unwrap().iter().map(|(k, v)| (k.clone(), string(v))).collect(),
            kv: rows("kv").map(|row| (string(&row[0]), recorded(&string(&row[1]), &row[2]))).collect(),
            tensors: rows("tensors")
                .map(|row| (string(&row[0]), format!("{} {} {}", string(&row[1]), row[2], string(&row[3]))))
                .collect(),
        }
    }

    /// The checkpoint must be the very one that was converted.
    pub fn check_generator(&self, checkpoint: &Path) {
        for (file, hash) in &self.files {
            let bytes = std::fs::read(checkpoint.join(file)).unwrap();
            let found = sha256(&bytes);
            assert_eq!(found, *hash, "{file} is not what it was: run fixtures/make_goldens.py again");
        }
    }

    pub fn differences(&self, model: &Model) -> Vec<String> {
        let kv: Vec<_> = model.metadata.iter().map(|(key, value)| (key.to_string(), shown(value))).collect();
        let tensors = model.tensors.iter().map(|t| {
            let rows = 0..t.shape().rows() as usize;
            let hash = t.with_rows(rows, |bytes| Ok(sha256(bytes))).unwrap();
            let ne: Vec<String> = t.shape().ne().iter().map(u64::to_string).collect();
            (t.name.clone(), format!("{} [{}] {hash}", t.dtype(), ne.join(",")))
        });
        let by_key = |kv: &[(String, String)]| kv.iter().cloned().collect();
        let mut all = differences(&by_key(&self.kv), &by_key(&kv));
        all.extend(differences(&self.tensors, &tensors.collect()));
        let (expected, found) = (in_place(&self.kv), in_place(&kv));
        if all.is_empty() && expected != found {
            all.push(format!("the order of the keys: expected {expected:?}, found {found:?}"));
        }
        all
    }
}

/// The keys in order, but for those that we put last.
fn in_place(kv: &[(String, String)]) -> Vec<&str> {
    kv.iter().map(|(key, _)| key.as_str()).filter(|key| !LAST.contains(key)).collect()
}

/// A line for each key under which the two differ.
fn differences(expected: &BTreeMap<String, String>, found: &BTreeMap<String, String>) -> Vec<String> {
    let mut keys: Vec<&String> = expected.keys().chain(found.keys()).collect();
    keys.sort();
    keys.dedup();
    let nothing = String::from("nothing");
    let lines = keys.into_iter().filter(|key| expected.get(*key) != found.get(*key)).map(|key| {
        let [expected, found] = [expected, found].map(|side| side.get(key).unwrap_or(&nothing));
        format!("{key}: expected {expected}, found {found}")
    });
    lines.collect()
}

/// A recorded value in the words of `shown`.
fn recorded(kind: &str, value: &serde_json::Value) -> String {
    let scalar = |item: &serde_json::Value| match kind.trim_matches(['[', ']']) {
        "f32" | "f64" => format!("{:?}", item.as_f64().expect("a number")),
        "str" => format!("{:?}", item.as_str().expect("a string")),
        _ => item.to_string(),
    };
    let text = match value {
        serde_json::Value::Array(items) => list(items.iter().map(scalar)),
        serde_json::Value::Object(long) => {
            format!("{} items {}", long["len"], long["sha256"].as_str().unwrap())
        }
        one => scalar(one),
    };
    format!("{kind} {text}")
}

/// "type value" of a value; of a long array the length and the hash of its bytes in the file.
fn shown(value: &Value) -> String {
    match value {
        Value::U8(x) => format!("u8 {x}"),
        Value::I8(x) => format!("i8 {x}"),
        Value::U16(x) => format!("u16 {x}"),
        Value::I16(x) => format!("i16 {x}"),
        Value::U32(x) => format!("u32 {x}"),
        Value::I32(x) => format!("i32 {x}"),
        Value::U64(x) => format!("u64 {x}"),
        Value::I64(x) => format!("i64 {x}"),
        Value::F32(x) => format!("f32 {:?}", f64::from(*x)),
        Value::F64(x) => format!("f64 {x:?}"),
        Value::Bool(x) => format!("bool {x}"),
        Value::Str(x) => format!("str {:?}", x.to_string()),
        Value::Array(array) => shown_array(array),
    }
}

fn shown_array(array: &Array) -> String {
    const LONGEST: usize = 64;
    let (kind, items, bytes): (&str, Vec<String>, Vec<u8>) = match array {
        Array::Str(a) => (
            "str",
            a.iter().map(|s| format!("{:?}", s.to_string())).collect(),
            a.iter().flat_map(|s| [&(s.len() as u64).to_le_bytes()[..], s].concat()).collect(),
        ),
        Array::F32(a) => (
            "f32",
            a.iter().map(|x| format!("{:?}", f64::from(*x))).collect(),
            a.iter().flat_map(|x| x.to_le_bytes()).collect(),
        ),
        Array::I32(a) => {
            ("i32", a.iter().map(i32::to_string).collect(), a.iter().flat_map(|x| x.to_le_bytes()).collect())
        }
        Array::U64(a) => {
            ("u64", a.iter().map(u64::to_string).collect(), a.iter().flat_map(|x| x.to_le_bytes()).collect())
        }
        Array::Bool(a) => {
            ("bool", a.iter().map(bool::to_string).collect(), a.iter().map(|x| u8::from(*x)).collect())
        }
        other => panic!("the converter writes no such array: {other:?}"),
    };
    if items.len() <= LONGEST {
        return format!("[{kind}] {}", list(items.into_iter()));
    }
    format!("[{kind}] {} items {}", items.len(), sha256(&bytes))
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<String>>().join(", "))
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}
