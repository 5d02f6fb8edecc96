//! The plan and metadata as JSON, for programs. Keys are stable; sizes are in bytes.

use crate::merge::Origin;
use crate::meter::Measured;
use crate::pipeline::{Plan, Step};
use ggraft_formats::write::Part;
use ggraft_formats::{Array, Layout, Value};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::Path;

/// The plan: totals, notes and a line a tensor.
pub fn plan_json(plan: &Plan, output: &Path, threads: usize) -> Json {
    json!({
        "output": output.to_string_lossy(),
        "ftype": plan.kind.name(),
        "origins": plan.origins.iter().map(origin_json).collect::<Vec<_>>(),
        "classes": classes(plan),
        "dropped": plan.dropped.iter().map(|(name, reason)| json!({ "name": name, "reason": reason })).collect::<Vec<_>>(),
        "files": plan.layout(output).map(|layout| files(&layout)).unwrap_or_default(),
        "bytes": plan.total,
        "elements": plan.elements(),
        "bits_per_weight": plan.bits_per_weight(),
        "memory": plan.memory(threads),
        "threads": threads,
        "notes": plan.notes,
        "vocabulary": plan.vocabulary.as_ref().map(|v| super::vocabulary_json(v)),
        "tensors": plan.steps.iter().map(step_json).collect::<Vec<_>>(),
    })
}

fn files(layout: &Layout<'_>) -> Vec<Json> {
    let name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned());
    let file = |f: Part| json!({ "name": name(&f.path), "tensors": f.tensors, "bytes": f.bytes });
    layout.parts().into_iter().map(file).collect()
}

fn origin_json(origin: &Origin) -> Json {
    json!({ "role": origin.role, "name": origin.name, "sha256": origin.sha256, "weights": origin.weights })
}

/// How many tensors have each fate.
fn classes(plan: &Plan) -> Json {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for step in &plan.steps {
        *counts.entry(step.fate()).or_default() += 1;
    }
    if !plan.dropped.is_empty() {
        counts.insert("dropped", plan.dropped.len() as u64);
    }
    json!(counts)
}

/// What 16 bits lose of a merge.
pub(super) fn loss_json(loss: &Measured) -> Json {
    json!({ "share": loss.lost_share(), "changed": loss.moved.different, "traceless": loss.traceless })
}

fn step_json(step: &Step) -> Json {
    json!({
        "name": step.name,
        "shape": step.shape.ne(),
        "from": step.from.to_string(),
        "to": step.to.to_string(),
        "bytes": step.bytes,
        "fate": step.fate(),
        "reason": step.verdict.map(|v| v.reason),
        "weights": step.weights,
        "fallback_from": step.fallback.map(|d| d.to_string()),
    })
}

/// A metadata value; of an array longer than `most` only its length is told. Bytes that are not UTF-8 are
/// replaced, floats that are not finite become strings.
pub fn metadata_value(value: &Value, most: usize) -> Json {
    match value {
        Value::U8(x) => json!(x),
        Value::I8(x) => json!(x),
        Value::U16(x) => json!(x),
        Value::I16(x) => json!(x),
        Value::U32(x) => json!(x),
        Value::I32(x) => json!(x),
        Value::U64(x) => json!(x),
        Value::I64(x) => json!(x),
        Value::F32(x) if x.is_finite() => json!(x),
        Value::F32(x) => json!(x.to_string()),
        Value::F64(x) if x.is_finite() => json!(x),
        Value::F64(x) => json!(x.to_string()),
        Value::Bool(x) => json!(x),
        Value::Str(x) => json!(x.to_string()),
        Value::Array(a) if a.len() > most => json!({ "length": a.len() }),
        Value::Array(a) => Json::Array(items(a).iter().map(|v| metadata_value(v, most)).collect()),
    }
}

fn items(array: &Array) -> Vec<Value> {
    fn all<T: Clone + Into<Value>>(items: &[T]) -> Vec<Value> {
        items.iter().cloned().map(Into::into).collect()
    }
    match array {
        Array::U8(a) => all(a),
        Array::I8(a) => all(a),
        Array::U16(a) => all(a),
        Array::I16(a) => all(a),
        Array::U32(a) => all(a),
        Array::I32(a) => all(a),
        Array::F32(a) => all(a),
        Array::Bool(a) => all(a),
        Array::Str(a) => all(a),
        Array::U64(a) => all(a),
        Array::I64(a) => all(a),
        Array::F64(a) => all(a),
    }
}
