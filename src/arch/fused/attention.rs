//! Queries, keys and values of a layer as one tensor, in this order, and so their biases.
//! Specification: `ModelBase.prepare_qkv_fusion` and `modify_tensors` of llama.cpp's converter; `create_tensor_qkv` of llama.cpp.

use super::{alike, store_as, takes};
use crate::arch::axes::{Axes, Stacks};
use crate::arch::moved::moved;
use ggraft_formats::{DType, Error, Model, Result, Tensor};
use std::collections::HashMap;

const OPTION: &str = "--fuse-qkv";
const PARTS: [&str; 3] = ["q", "k", "v"];
const KINDS: [&str; 2] = ["weight", "bias"];

/// The architectures of which llama.cpp's converter puts them together, the graph takes them so (that of Qwen 4 Exp aborts) and
/// the metadata tells how to take them apart again.
pub(super) const FUSED: &[&str] = &[
    "afmoe",
    "apertus",
    "arcee",
    "arctic",
    "bert",
    "chameleon",
    "cohere2",
    "command-r",
    "deci",
    "deepseek",
    "deepseek2-ocr",
    "dots1",
    "dream",
    "ernie4_5",
    "ernie4_5-moe",
    "eurobert",
    "exaone",
    "exaone-moe",
    "exaone4",
    "gemma",
    "gemma-embedding",
    "gemma2",
    "gemma3",
    "gemma3n",
    "glm4",
    "glm4moe",
    "gpt-oss",
    "granite",
    "granitehybrid",
    "granitemoe",
    "grok",
    "grovemoe",
    "hunyuan-dense",
    "hunyuan-moe",
    "hunyuan_vl",
    "jais2",
    "jina-bert-v2",
    "kimi-linear",
    "lfm2",
    "lfm2moe",
    "llada",
    "llada-moe",
    "llama",
    "llama-embed",
    "llama4",
    "maincoder",
    "minicpm",
    "minimax-m2",
    "mistral3",
    "muse-glimmer",
    "nemotron",
    "nemotron_h",
    "nemotron_h_moe",
    "olmo",
    "olmo2",
    "olmoe",
    "orion",
    "paddleocr",
    "pangu-embedded",
    "phi2",
    "phimoe",
    "plamo",
    "qwen2",
    "qwen2moe",
    "qwen2vl",
    "qwen3",
    "qwen35",
    "qwen35moe",
    "qwen3moe",
    "qwen3next",
    "qwen3vl",
    "qwen3vlmoe",
    "rnd1",
    "seed_oss",
    "smallthinker",
    "smollm3",
    "stablelm",
    "starcoder2",
    "step35",
    "xverse",
];

/// The tensors of a model by name.
type Held = HashMap<String, Tensor>;

/// The layer, the part and the kind that a GGUF's name tells: `blk.0`, `q`, `weight`. `qkv` is the part that holds all.
fn place(name: &str) -> Option<(&str, &str, &str)> {
    let (rest, kind) = name.rsplit_once('.')?;
    let (layer, last) = rest.rsplit_once('.')?;
    let part = last.strip_prefix("attn_").filter(|part| *part == "qkv" || PARTS.contains(part))?;
    (layer.starts_with("blk.") && KINDS.contains(&kind)).then_some((layer, part, kind))
}

fn named(layer: &str, part: &str, kind: &str) -> String {
    format!("{layer}.attn_{part}.{kind}")
}

fn held(tensors: &[Tensor]) -> Held {
    let of_attention = tensors.iter().filter(|tensor| place(&tensor.name).is_some());
    of_attention.map(|tensor| (tensor.name.clone(), tensor.clone())).collect()
}

/// How many of the three are held.
fn count(held: &Held, layer: &str, kind: &str) -> usize {
    PARTS.iter().filter(|part| held.contains_key(&named(layer, part, kind))).count()
}

/// Whether the converter puts those of a layer together: three weights, and no bias or three. What stays NVFP4 has a scale of
/// each part.
fn is_whole(held: &Held, layer: &str) -> bool {
    let is_plain = |part: &&str| held.get(&named(layer, part, "weight")).is_none_or(|t| t.fours().is_none());
    count(held, layer, "weight") == 3
        && [0, 3].contains(&count(held, layer, "bias"))
        && PARTS.iter().all(is_plain)
}

/// `tensors` with queries, keys and values of each layer as one, in the place of the queries.
///
/// # Errors
/// The runtime takes them apart alone, or those of a layer do not fit each other.
pub fn one(
    gguf: &str,
    tensors: Vec<Tensor>,
    stored: &mut Vec<(String, DType)>,
    told: &mut Vec<String>,
) -> Result<Vec<Tensor>> {
    let what = "llama.cpp's converter leaves queries, keys and values of this architecture as they are";
    takes(gguf, FUSED, what, OPTION)?;
    let held = held(&tensors);
    let queries = tensors
        .iter()
        .filter_map(|t| place(&t.name).filter(|(_, part, kind)| (*part, *kind) == ("q", "weight")));
    let (whole, other): (Vec<_>, Vec<_>) = queries.partition(|(layer, ..)| is_whole(&held, layer));
    match (whole.len(), other.len()) {
        (0, _) => told.push(String::from(
            "--fuse-qkv changes nothing: no layer has queries, keys and values that could be one tensor",
        )),
        (_, 0) => {}
        (_, n) => told.push(format!(
            "--fuse-qkv leaves {n} layers as they are, which lack one of queries, keys and values or a bias, or are NVFP4"
        )),
    }
    for (layer, ..) in &whole {
        for kind in KINDS {
            store_as(&named(layer, "qkv", kind), &PARTS.map(|part| named(layer, part, kind)), stored);
        }
    }
    together(tensors, &held, |layer, kind| is_whole(&held, layer) && count(&held, layer, kind) == 3)
}

/// `tensors` with the three of every layer and kind of which `is_one` says so as one. All three must be there.
fn together(tensors: Vec<Tensor>, held: &Held, is_one: impl Fn(&str, &str) -> bool) -> Result<Vec<Tensor>> {
    let mut all = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        match place(&tensor.name) {
            Some((layer, "q", kind)) if is_one(layer, kind) => {
                let parts = PARTS.map(|part| held.get(&named(layer, part, kind)).cloned());
                all.push(joined(&named(layer, "qkv", kind), parts.into_iter().flatten().collect())?);
            }
            Some((layer, "k" | "v", kind)) if is_one(layer, kind) => {}
            _ => all.push(tensor),
        }
    }
    Ok(all)
}

/// The rows of the parts below each other. Floats of several dtypes are all f32.
fn joined(name: &str, parts: Vec<Tensor>) -> Result<Tensor> {
    let is_vector = name.ends_with(".bias");
    let columns = parts.first().map_or(0, |queries| queries.shape().row());
    let mut rows = Vec::new();
    for part in &parts {
        match *part.shape().ne() {
            [n] if is_vector => rows.push(n),
            [n, m] if !is_vector && n == columns => rows.push(m),
            _ => {
                let expected =
                    if is_vector { String::from("one axis") } else { format!("rows of {columns}") };
                let error =
                    Error::invalid("queries, keys and values do not fit each other").tensor(&part.name);
                return Err(error.expected(expected).found(part.shape()).hint(format!("leave {OPTION} out")));
            }
        }
    }
    let wrong = |what: String| Error::invalid(what).tensor(name);
    let axes = if is_vector { "q ; k ; v -> [q|k|v]" } else { "q n ; k n ; v n -> [q|k|v] n" };
    let sizes = PARTS.into_iter().zip(rows.iter().copied()).chain([("n", columns)]).collect();
    let axes = Axes::parse(axes).map_err(wrong)?;
    let pieces = axes.forth(&sizes, Stacks { from: &[], to: &[] }, 0).map_err(wrong)?;
    let rows = rows.iter().fold(0u64, |sum, rows| sum.saturating_add(*rows));
    let torch = if is_vector { vec![rows] } else { vec![rows, columns] };
    moved(name, &torch, alike(parts)?, &pieces)
}

/// Queries, keys and values of a tensor that holds them, so many rows each.
fn parts(whole: &Tensor, rows: [u64; 3]) -> Result<Vec<Tensor>> {
    let Some((layer, _, kind)) = place(&whole.name) else { return Ok(vec![whole.clone()]) };
    let is_vector = kind == "bias";
    let found = if is_vector { whole.shape().row() } else { whole.shape().rows() };
    let sum = rows.iter().fold(0u64, |sum, rows| sum.saturating_add(*rows));
    if found != sum || whole.shape().ne().len() != if is_vector { 1 } else { 2 } {
        let error = Error::invalid("these are no queries, keys and values").tensor(&whole.name);
        let [q, k, v] = rows;
        return Err(error.expected(format!("{q} + {k} + {v} rows")).found(whole.shape()));
    }
    let columns = whole.shape().row();
    let sizes = PARTS.into_iter().zip(rows).chain([("n", columns)]).collect();
    let wrong = |what: String| Error::invalid(what).tensor(&whole.name);
    let axes = if is_vector { "[q|k|v] -> q ; k ; v" } else { "[q|k|v] n -> q n ; k n ; v n" };
    let axes = Axes::parse(axes).map_err(wrong)?;
    let part = |(at, (part, rows)): (usize, (&str, u64))| {
        let pieces = axes.forth(&sizes, Stacks { from: &[], to: &[] }, at).map_err(wrong)?;
        let torch = if is_vector { vec![rows] } else { vec![rows, columns] };
        moved(&named(layer, part, kind), &torch, vec![whole.clone()], &pieces)
    };
    PARTS.into_iter().zip(rows).enumerate().map(part).collect()
}

/// `model` with queries, keys and values apart, where its architecture's checkpoints have them so.
///
/// # Errors
/// A tensor does not have the rows that the metadata tells of its parts.
pub fn apart(model: Model) -> Result<Model> {
    let is_one = |tensor: &Tensor| matches!(place(&tensor.name), Some((_, "qkv", _)));
    if !model.architecture().is_some_and(|gguf| FUSED.contains(&gguf)) || !model.tensors.iter().any(is_one) {
        return Ok(model);
    }
    // What projects into a linear attention goes by this name, too.
    let outputs: Vec<String> = model
        .tensors
        .iter()
        .filter_map(|t| t.name.strip_suffix(".attn_output.weight"))
        .map(String::from)
        .collect();
    let one = |tensor: &Tensor| match place(&tensor.name) {
        Some((layer, "qkv", kind)) if outputs.iter().any(|of| of == layer) => {
            let whole = if kind == "bias" { tensor.shape().row() } else { tensor.shape().rows() };
            parts(tensor, told_rows(&model, layer, whole))
        }
        _ => Ok(vec![tensor.clone()]),
    };
    let tensors = model.tensors.iter().map(one).collect::<Result<Vec<_>>>()?.concat();
    Ok(Model { tensors, ..model })
}

/// How many rows of `whole` are queries, keys and values, as the metadata tells those of keys and values.
fn told_rows(model: &Model, layer: &str, whole: u64) -> [u64; 3] {
    let index = layer.rsplit('.').next().and_then(|n| n.parse::<usize>().ok()).unwrap_or_default();
    let gguf = model.architecture().unwrap_or_default();
    let number = |key: &str| {
        let value = model.metadata.get(&format!("{gguf}.{key}"))?;
        value.as_u64().or_else(|| value.as_array()?.iter().nth(index)?.as_u64())
    };
    let heads = number("attention.head_count").unwrap_or(1).max(1);
    let keys_and_values = number("attention.head_count_kv").unwrap_or(heads);
    if keys_and_values == 0 {
        // A linear attention, whose three are alike.
        return [whole / 3; 3];
    }
    let width = number("embedding_length").unwrap_or_default() / heads;
    let size = |key: &str| keys_and_values.saturating_mul(number(key).unwrap_or(width));
    let (k, v) = (size("attention.key_length"), size("attention.value_length"));
    [whole.saturating_sub(k.saturating_add(v)), k, v]
}

/// `model` with queries, keys and values as `other` has those of the same layer: as one, or apart.
///
/// # Errors
/// Those of a layer do not fit each other.
pub fn as_in(model: &Model, other: &Model) -> Result<Option<Model>> {
    let (own, theirs) = (held(&model.tensors), held(&other.tensors));
    let is_one = |layer: &str, kind: &str| {
        count(&own, layer, kind) == 3 && theirs.contains_key(&named(layer, "qkv", kind))
    };
    let (mut tensors, mut changed) = (Vec::with_capacity(model.tensors.len()), false);
    for tensor in &model.tensors {
        match place(&tensor.name) {
            Some((layer, "qkv", kind)) if count(&theirs, layer, kind) == 3 => {
                let rows = |part: &str| {
                    theirs.get(&named(layer, part, kind)).map_or(0, |t| match kind {
                        "bias" => t.shape().row(),
                        _ => t.shape().rows(),
                    })
                };
                tensors.extend(parts(tensor, PARTS.map(rows))?);
                changed = true;
            }
            Some((layer, _, kind)) => {
                changed |= is_one(layer, kind);
                tensors.push(tensor.clone());
            }
            None => tensors.push(tensor.clone()),
        }
    }
    let tensors = together(tensors, &own, is_one)?;
    Ok(changed.then(|| Model { tensors, ..model.clone() }))
}
