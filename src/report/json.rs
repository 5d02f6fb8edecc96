//! The plan and metadata as JSON, for programs. Keys are stable; sizes are in bytes.

use crate::budget::{self, Account};
use crate::measure::meter::Measured;
use crate::merge::Origin;
use crate::output::plan::{Plan, Step};
use crate::version::Needs;
use ggraft_formats::error::is_obeyed;
use ggraft_formats::figures::Figures;
use ggraft_formats::write::Part;
use ggraft_formats::{Layout, Value};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::Path;

/// JSON that a terminal shows as it is: the characters that it would obey are escaped, as JSON escapes them.
pub fn printable(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            c if is_obeyed(c) && c != '\n' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

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
        "llama_cpp": plan.needs().as_ref().map(needs_json),
        "memory": plan.memory(threads),
        "threads": threads,
        "fetched": plan.fetched().iter().map(|f| json!({ "from": f.from.to_string_lossy(), "bytes": f.bytes, "times": plan.passes })).collect::<Vec<_>>(),
        "notes": plan.notes,
        "budget": plan.budget.as_ref().map(budget_json),
        "vocabulary": plan.vocabulary.as_ref().map(|v| super::vocabulary_json(v)),
        "tensors": plan.steps.iter().map(step_json).collect::<Vec<_>>(),
    })
}

fn files(layout: &Layout<'_>) -> Vec<Json> {
    let file = |f: Part| json!({ "name": f.name, "tensors": f.tensors, "bytes": f.bytes });
    layout.parts().into_iter().map(file).collect()
}

fn origin_json(origin: &Origin) -> Json {
    json!({ "role": origin.role, "name": origin.name, "header_sha256": origin.header_sha256, "weights": origin.weights })
}

/// How many tensors have each fate.
fn classes(plan: &Plan) -> Json {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for ((fate, ..), (count, _)) in plan.classes() {
        *counts.entry(fate).or_default() += count;
    }
    if !plan.dropped.is_empty() {
        counts.insert("dropped", plan.dropped.len());
    }
    json!(counts)
}

/// What 16 bits lose of a merge.
pub(super) fn loss_json(loss: &Measured) -> Json {
    json!({ "share": loss.lost_share(), "changed": loss.moved.different, "traceless": loss.traceless })
}

/// How near some numbers are to others; null for what cannot be told of them.
pub fn figures_json(f: &Figures) -> Json {
    json!({
        "rmse": f.rmse(),
        "max_abs": f.largest,
        "relative": f.relative(),
        "cosine": f.cosine(),
        "count": f.count,
        "different": f.different,
        "not_finite": f.not_finite,
    })
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

/// What a budget was spent on.
fn budget_json(account: &Account) -> Json {
    let step = |step: &Option<budget::Step>| {
        step.map(|s| json!({ "dtype": s.dtype.to_string(), "bytes": s.bytes, "error": s.error }))
    };
    let chosen = |c: &budget::Chosen| {
        json!({
            "name": c.name,
            "role": c.role.to_string(),
            "dtype": c.dtype.to_string(),
            "fixed_dtype": c.fixed.to_string(),
            "sensitivity": c.sensitivity,
            "relative_error": c.relative,
            "error": c.error,
            "rows_measured": c.rows,
            "smaller": step(&c.smaller),
            "larger": step(&c.larger),
        })
    };
    json!({
        "counted": if account.is_weights { "weights" } else { "file" },
        "limit": account.limit,
        "spent": account.spent,
        "error": account.error,
        "divergence": account.divergence(),
        "aim": account.aim,
        "fixed": {
            "ftype": account.fixed.name,
            "bytes": account.fixed.bytes,
            "error": account.fixed.error,
        },
        "tensors": account.choices.iter().map(chosen).collect::<Vec<_>>(),
    })
}

/// The oldest llama.cpp that reads a file, and why; null where it is not known.
pub fn needs_json(needs: &Needs) -> Json {
    json!({
        "oldest": needs.last().and_then(|need| need.since).map(|since| since.to_string()),
        "exact": needs.last().is_some_and(|need| need.exact),
        "because": needs.last().map(|need| need.what.clone()),
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
        Value::Array(a) => Json::Array(a.iter().map(|v| metadata_value(&v, most)).collect()),
    }
}
