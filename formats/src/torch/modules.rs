//! What hqq saves: a dict of modules, each a dict of its own, in which tensors lie among settings. They become the tensors that
//! its safetensors files have: `module.key`, and each setting as a small tensor (numbers, or the bytes of a text).

use super::pickle::{Means, Value};
use super::state::Saved;
use crate::error::{Error, Result};
use crate::quant::DType;
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::twice;
use std::collections::HashSet;

/// The key that tells such a module.
const CODES: &str = "W_q";
/// The key of settings that are those of the module.
const SETTINGS: &str = "meta";
/// So many dicts deep settings may lie in a module.
const DEPTH: usize = 3;

/// The longest name of a tensor, and the longest text of a setting: each stands in the pickle once, but may be asked for often.
const LONGEST_NAME: usize = 256;
const LONGEST_TEXT: usize = 64;

/// The tensors of all modules, if the saved object is a dict of such.
pub fn tensors(saved: &Saved<'_>) -> Result<Option<Vec<Tensor>>> {
    let modules = saved.heap().dict(saved.root()).unwrap_or_default();
    let holds_codes = |value: Value| {
        let pairs = saved.heap().dict(value).unwrap_or_default();
        pairs.iter().any(|(key, _)| saved.string(*key) == Some(CODES))
    };
    if !modules.iter().any(|(_, module)| holds_codes(*module)) {
        return Ok(None);
    }
    let (mut all, mut seen) = (Vec::new(), HashSet::new());
    for (key, module) in modules {
        let name = saved.string(*key).ok_or_else(|| wrong(saved, "a module has a name that is no text"))?;
        gather(saved, name, *module, DEPTH, &mut seen, &mut all)?;
    }
    if let Some(name) = twice(all.iter().map(|t| t.name.as_str())) {
        return Err(wrong(saved, "the pickle names this tensor twice").tensor(name));
    }
    Ok(Some(all))
}

fn gather(
    saved: &Saved<'_>,
    place: &str,
    dict: Value,
    depth: usize,
    seen: &mut HashSet<u32>,
    all: &mut Vec<Tensor>,
) -> Result<()> {
    let (Value::Node(node), Some(pairs)) = (dict, saved.heap().dict(dict)) else { return Ok(()) };
    // A dict that stands for several would make more tensors than the file has bytes for.
    if depth == 0 || !seen.insert(node) {
        return Err(wrong(saved, "settings lie too deep, or one dict stands for two"));
    }
    for (key, value) in pairs {
        let Some(key) = saved.string(*key) else { continue };
        let name = if key == SETTINGS { place.to_string() } else { format!("{place}.{key}") };
        if name.len() > LONGEST_NAME {
            return Err(wrong(saved, "a tensor has a name that is too long"));
        }
        if let Some(view) = saved.heap().tensor(*value) {
            all.push(saved.tensor(&name, view)?);
        } else if saved.heap().dict(*value).is_some() {
            gather(saved, &name, *value, depth - 1, seen, all)?;
        } else {
            all.extend(setting(saved, &name, *value)?);
        }
    }
    Ok(())
}

/// A setting as a tensor; what is neither number nor text is none.
fn setting(saved: &Saved<'_>, name: &str, value: Value) -> Result<Option<Tensor>> {
    let number = |value: &Value| match value {
        Value::Int(n) => Some(*n),
        Value::Bool(b) => Some(i64::from(*b)),
        _ => None,
    };
    let text = match value {
        Value::Text(_) => saved.string(value).map(String::from),
        Value::Global(global) if matches!(global.means, Means::Type(_)) => {
            Some(format!("{}.{}", global.module, global.name))
        }
        _ => None,
    };
    if let Some(text) = text.filter(|text| (1..=LONGEST_TEXT).contains(&text.len())) {
        return small(name, DType::U8, text.len(), text.into_bytes()).map(Some);
    }
    let items = match saved.heap().items(value) {
        Some(items) if items.len() <= Shape::MAX_DIMS => items.iter().map(number).collect(),
        Some(_) => None,
        None => number(&value).map(|n| vec![n]),
    };
    let Some(numbers) = items.filter(|numbers: &Vec<i64>| !numbers.is_empty()) else { return Ok(None) };
    let bytes = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    small(name, DType::I64, numbers.len(), bytes).map(Some)
}

fn small(name: &str, dtype: DType, elements: usize, bytes: Vec<u8>) -> Result<Tensor> {
    let shape = Shape::new(&[elements as u64]);
    Tensor::of_bytes(name, shape.ok_or_else(|| Error::invalid("a setting is too long"))?, dtype, bytes)
}

fn wrong(saved: &Saved<'_>, what: &str) -> Error {
    Error::invalid(what).file(saved.path()).expected("the modules of hqq, each a dict of its own")
}
