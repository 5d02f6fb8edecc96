//! Which layers attend within a window, as pages tell it: a list of the config, or a pattern.
//! Specification: `layer_types` of the config classes of transformers.

use crate::arch::params::Params;
use ggraft_formats::{Array, Result, Value};

/// Whether each layer attends within a window: by `layer_types`, else as `otherwise` says of its number.
pub fn layers(params: &Params<'_>, otherwise: impl Fn(u32) -> bool) -> Result<Vec<bool>> {
    match params.config.texts("layer_types")? {
        Some(kinds) => Ok(kinds.iter().map(|kind| *kind == "sliding_attention").collect()),
        None => Ok((0..params.count("l", 0)?).map(otherwise).collect()),
    }
}

/// The same as a value. Where the config does not list the layers, every so many attend to all, or it has a letter for
/// each of a period (`LLLG`, local and global).
pub fn pattern(params: &Params<'_>, every: u32) -> Result<Option<Value>> {
    const TOLD: &str = "sliding_window_pattern";
    let letters = params.config.get(TOLD).and_then(serde_json::Value::as_str).unwrap_or_default().as_bytes();
    let all = match letters.len() {
        0 => {
            let every = params.config.optional_count(TOLD)?.unwrap_or(every);
            layers(params, |layer| !(layer + 1).is_multiple_of(every))?
        }
        period => layers(params, |layer| letters[layer as usize % period] == b'L')?,
    };
    Ok(Some(Value::Array(Array::Bool(all))))
}

/// The same where the config lists every layer, as it must.
pub fn listed(params: &Params<'_>) -> Result<Option<Value>> {
    let kinds = params.config.texts("layer_types")?.unwrap_or_default();
    let known = ["sliding_attention", "full_attention"];
    if kinds.len() as u64 != params.size("l", 0)? || kinds.iter().any(|kind| !known.contains(kind)) {
        return Err(params.config.wrong("layer_types", "sliding_attention or full_attention for each layer"));
    }
    Ok(Some(Value::Array(Array::Bool(kinds.iter().map(|kind| *kind == known[0]).collect()))))
}
