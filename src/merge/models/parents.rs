//! Do the models belong together, as far as their headers tell? A vector is a difference of weights, and weights can
//! be compared only if they mean the same: one architecture, one layout, one geometry of attention and positions.
//! All differences are told at once.

use crate::arch;
use crate::merge::Vector;
use ggraft_formats::{Error, Model, Result, Value};

/// What decides where a weight lies in its tensor; a difference cannot be allowed. Widths show in the shapes.
const LAYOUT: &[&str] = &[
    "block_count",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "rope.dimension_count",
    "expert_count",
];

/// What decides the meaning of a weight: it was trained under these, and works under no others.
const MEANING: &[&str] = &[
    "attention.layer_norm_rms_epsilon",
    "attention.layer_norm_epsilon",
    "attention.sliding_window",
    "attention.temperature_scale",
    "rope.freq_base",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
];

/// The table of llama3 rope scaling, which GGUF keeps as a tensor.
const ROPE_TABLE: &str = "rope_freqs.weight";

/// Refuses models that differ; `allow_mismatch` turns differences of meaning into notes.
pub(crate) fn congruent(onto: &Model, vectors: &[Vector], allow_mismatch: bool) -> Result<Vec<String>> {
    let (mut problems, mut notes) = (Vec::new(), Vec::new());
    for (role, other) in parents(vectors) {
        let pair = onto.architecture().zip(other.architecture());
        if !pair.is_some_and(|(a, b)| arch::alike(a, b)) && onto.architecture() != other.architecture() {
            let name = |m: &Model| m.architecture().unwrap_or("no architecture").to_string();
            problems.push(difference(other, role, "the architecture", &name(onto), &name(other)));
            continue;
        }
        compare(onto, role, other, LAYOUT, allow_mismatch, (&mut problems, &mut notes))?;
    }
    Error::all(problems).map_or(Ok(notes), Err)
}

/// The same of models whose layers are put together: as many as they have, and what is told of each layer, may differ.
pub(crate) fn stackable(models: &[Model], allow_mismatch: bool) -> Result<Vec<String>> {
    let (mut problems, mut notes) = (Vec::new(), Vec::new());
    let Some((first, others)) = models.split_first() else { return Ok(notes) };
    for other in others {
        let is_listed = |key: &str| said(first, key).is_some_and(|value| value.as_array().is_some());
        let keys: Vec<&str> =
            LAYOUT.iter().copied().filter(|key| *key != "block_count" && !is_listed(key)).collect();
        compare(first, "a slice", other, &keys, allow_mismatch, (&mut problems, &mut notes))?;
    }
    Error::all(problems).map_or(Ok(notes), Err)
}

/// Adds what differs in `layout` and in meaning.
fn compare(
    onto: &Model,
    role: &'static str,
    other: &Model,
    layout: &[&str],
    allow_mismatch: bool,
    (problems, notes): (&mut Vec<Error>, &mut Vec<String>),
) -> Result<()> {
    for key in layout {
        if let Some((ours, theirs)) = differ(onto, other, key) {
            problems.push(difference(other, role, key, &ours, &theirs));
        }
    }
    let meanings = MEANING.iter().filter_map(|key| differ(onto, other, key).map(|d| (*key, d)));
    for (key, (ours, theirs)) in meanings.chain(rope_tables(onto, other)?) {
        let problem = difference(other, role, key, &ours, &theirs);
        match allow_mismatch {
            true => notes.push(format!("allowed: {problem}")),
            false => problems.push(problem.hint("if you know that it does no harm, give --allow-mismatch")),
        }
    }
    Ok(())
}

/// The models of the vectors, with their parts.
pub(crate) fn parents(vectors: &[Vector]) -> impl Iterator<Item = (&'static str, &Model)> {
    vectors.iter().flat_map(|v| [("chat", &v.chat), ("base", &v.base)])
}

/// What two models say of a key, if they do not say the same.
fn differ(a: &Model, b: &Model, key: &str) -> Option<(String, String)> {
    let (x, y) = (said(a, key), said(b, key));
    let same = match (&x, &y) {
        (Some(x), Some(y)) => x == y || x.as_u64().is_some() && x.as_u64() == y.as_u64(),
        (None, None) => true,
        _ => false,
    };
    (!same).then(|| (show(x), show(y)))
}

fn said(model: &Model, key: &str) -> Option<Value> {
    let arch = model.architecture()?;
    model.metadata.get(&format!("{arch}.{key}")).cloned().or_else(|| implied(model, key))
}

/// What a model means that does not say: heads share the width, positions turn whole heads, keys have all heads.
fn implied(model: &Model, key: &str) -> Option<Value> {
    let heads = model.hparam("attention.head_count");
    let n = match key {
        "attention.head_count_kv" => heads?,
        "attention.key_length" | "attention.value_length" => {
            model.hparam("embedding_length")?.checked_div(heads?)?
        }
        "rope.dimension_count" => return said(model, "attention.key_length"),
        "rope.freq_base" => return Some(Value::F32(10000.0)),
        _ => return None,
    };
    Some(Value::U64(n))
}

fn show(value: Option<Value>) -> String {
    match value {
        None => String::from("nothing"),
        Some(Value::F32(x)) => x.to_string(),
        Some(Value::Str(x)) => x.to_string(),
        Some(other) => other.as_u64().map_or_else(|| format!("{other:?}"), |n| n.to_string()),
    }
}

/// The two rope tables, if they are not the same.
fn rope_tables(a: &Model, b: &Model) -> Result<Option<(&'static str, (String, String))>> {
    let table = |m: &Model| -> Result<Option<Vec<f32>>> {
        let Some(t) = m.tensors.iter().find(|t| t.name == ROPE_TABLE) else { return Ok(None) };
        let mut values = vec![0.0; t.row_elements()?];
        t.decode_rows(0..1, &mut values)?;
        Ok(Some(values))
    };
    let (x, y) = (table(a)?, table(b)?);
    let word = |t: &Option<Vec<f32>>| match t {
        None => String::from("no rope_freqs"),
        Some(values) => format!("rope_freqs up to {}", values.iter().fold(0f32, |m, x| m.max(*x))),
    };
    Ok((x != y).then(|| (ROPE_TABLE, (word(&x), word(&y)))))
}

fn difference(model: &Model, role: &str, key: &str, ours: &str, theirs: &str) -> Error {
    let e = Error::invalid(format!("{role} differs from onto in {key}")).expected(ours).found(theirs);
    match model.containers.first() {
        Some(file) => e.file(file.path()),
        None => e,
    }
}
