//! Values of a GGUF as JSON has them, and the elements of small tensors.

use ggraft_formats::{Result, Tensor, Value};
use serde_json::{Value as Json, json};

/// A value as a config says it: an f32 as the shortest number that is it.
pub fn json(value: &Value) -> Json {
    match value {
        Value::Bool(flag) => json!(flag),
        Value::F32(x) => shortest(*x),
        Value::F64(x) => json!(x),
        Value::Array(all) => all.iter().map(|one| json(&one)).collect(),
        other => match (other.as_u64(), other.as_str()) {
            (Some(n), _) => json!(n),
            (None, Some(text)) => json!(text),
            (None, None) => signed(other).map_or(Json::Null, |n| json!(n)),
        },
    }
}

/// The shortest number that is this f32.
pub fn shortest(x: f32) -> Json {
    x.to_string().parse::<f64>().map_or(Json::Null, |x| json!(x))
}

fn signed(value: &Value) -> Option<i64> {
    match *value {
        Value::I8(n) => Some(n.into()),
        Value::I16(n) => Some(n.into()),
        Value::I32(n) => Some(n.into()),
        Value::I64(n) => Some(n),
        _ => None,
    }
}

/// The elements of a small tensor.
pub fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    let rows = usize::try_from(tensor.shape().rows()).unwrap_or(0);
    let mut all = vec![0.0; rows.saturating_mul(tensor.row_elements()?)];
    tensor.decode_rows(0..rows, &mut all)?;
    Ok(all)
}
