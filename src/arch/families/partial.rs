//! How many elements of a head rotate, where that is only a share of it. The classes of the converter round the share at
//! different steps, and so do these.
//! Specification: `set_gguf_parameters` of the classes that `Arch` pages name.

use crate::arch::params::Params;
use crate::arch::rope::Rope;
use ggraft_formats::{Result, Value};

/// The share that rotates, or all of it where the config does not tell.
fn share(params: &Params<'_>, absent: f64) -> Result<f64> {
    Ok(Rope::read(params.config)?.partial()?.map_or(absent, |(share, _, _)| share))
}

/// The share of all heads together, cut to a whole number, by the number of heads.
pub fn of_width(params: &Params<'_>, _layer: u32) -> Result<u64> {
    let width = share(params, 1.0)? * params.size("n", 0)? as f64;
    Ok(width as u64 / params.size("h", 0)?.max(1))
}

/// The share of a head of `n / h`, whatever `head_dim` says.
pub fn of_plain_head(params: &Params<'_>) -> Result<Option<Value>> {
    let head = params.size("n", 0)? / params.size("h", 0)?.max(1);
    Ok(Some(Value::U32((share(params, 1.0)? * head as f64) as u32)))
}

/// The share of a head, half of it where the config does not tell.
pub fn of_half_head(params: &Params<'_>) -> Result<Option<Value>> {
    Ok(Some(Value::U32((share(params, 0.5)? * params.size("d", 0)? as f64) as u32)))
}

/// The share of a head of `n / h`, half of it where the config does not tell.
pub fn of_half_plain_head(params: &Params<'_>) -> Result<Option<Value>> {
    let head = params.size("n", 0)? / params.size("h", 0)?.max(1);
    Ok(Some(Value::U32((share(params, 0.5)? * head as f64) as u32)))
}

/// The share of a head, a quarter of it where the config does not tell.
pub fn of_quarter_head(params: &Params<'_>) -> Result<Option<Value>> {
    Ok(Some(Value::U32((share(params, 0.25)? * params.size("d", 0)? as f64) as u32)))
}

/// The share of a head, all of it where the config does not tell.
pub fn of_head(params: &Params<'_>) -> Result<Option<Value>> {
    Ok(Some(Value::U32((share(params, 1.0)? * params.size("d", 0)? as f64) as u32)))
}

/// The share of a head in the layers of this kind, where the config tells kinds apart; none if it does not know this one.
fn of_kind(params: &Params<'_>, kind: &str) -> Result<Option<Value>> {
    let Some(section) =
        params.config.section("rope_parameters")?.map(|all| all.section(kind)).transpose()?.flatten()
    else {
        return Ok(None);
    };
    let share = section.optional_number("partial_rotary_factor")?.unwrap_or(1.0);
    Ok(Some(Value::U32((params.size("d", 0)? as f64 * share) as u32)))
}

/// The share of a head in layers that attend to all.
pub fn of_full(params: &Params<'_>) -> Result<Option<Value>> {
    of_kind(params, "full_attention")
}

/// The share of a head in layers that attend within a window.
pub fn of_sliding(params: &Params<'_>) -> Result<Option<Value>> {
    of_kind(params, "sliding_attention")
}
