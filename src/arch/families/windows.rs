//! Which layers attend within a window, as pages tell it: a list of the config, or a pattern.
//! Specification: `layer_types` of the config classes of transformers.

use crate::arch::keys::Params;
use ggraft_formats::{Array, Result, Value};

/// Whether each layer attends within a window: by `layer_types`, else as `otherwise` says of its number.
pub fn layers(params: &Params<'_>, otherwise: impl Fn(u32) -> bool) -> Result<Vec<bool>> {
    match params.config.texts("layer_types")? {
        Some(kinds) => Ok(kinds.iter().map(|kind| *kind == "sliding_attention").collect()),
        None => Ok((0..params.count("l", 0)?).map(otherwise).collect()),
    }
}

/// The same as a value, every so many layers attending to all where the config does not list them.
pub fn pattern(params: &Params<'_>, every: u32) -> Result<Option<Value>> {
    let every = params.config.optional_count("sliding_window_pattern")?.unwrap_or(every);
    let all = layers(params, |layer| !(layer + 1).is_multiple_of(every))?;
    Ok(Some(Value::Array(Array::Bool(all))))
}
