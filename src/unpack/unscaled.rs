//! Weights as they are meant: NVFP4 of a GGUF stands under a scale of its tensor (`NAME.scale`), which llama.cpp multiplies
//! by. Who computes with the weights of several models must have it in them. Serves the pipeline.

use ggraft_formats::{DType, Model, Result, Tensor};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What stands beside a scaled tensor: its scale, and that of what it is multiplied with where both have four bits.
const BESIDE: [&str; 2] = [".scale", ".input_scale"];

/// What Gemma 4 multiplies with itself: the router, and each expert.
const OF_GEMMA: [&str; 2] = ["ffn_gate_inp.weight", "ffn_down_exps.weight"];

/// The model with its scales in the weights, and without the tensors that held them.
///
/// # Errors
/// A scale cannot be read, or does not fit its tensor.
pub fn unscaled(mut model: Model) -> Result<Model> {
    // Gemma 4 has scales that are no part of the encoding.
    let is_gemma = model.architecture() == Some("gemma4");
    let is_own = |name: &str| is_gemma && OF_GEMMA.iter().any(|own| name.ends_with(own));
    let is_scaled = |t: &&Tensor| t.dtype() == DType::NVFP4 && !is_own(&t.name);
    let stems: BTreeSet<String> = model
        .tensors
        .iter()
        .filter(is_scaled)
        .filter_map(|t| t.name.strip_suffix(".weight"))
        .map(String::from)
        .collect();
    let mut factors: HashMap<String, Arc<[f32]>> = HashMap::new();
    for stem in &stems {
        let scale = format!("{stem}.scale");
        let Some(scale) = model.tensors.iter().find(|t| t.name == scale) else { continue };
        let mut values = vec![0f32; scale.shape().elements() as usize];
        scale.decode_rows(0..scale.shape().rows() as usize, &mut values)?;
        factors.insert(stem.clone(), values.into());
    }
    let beside =
        |name: &str| BESIDE.iter().any(|end| name.strip_suffix(end).is_some_and(|stem| stems.contains(stem)));
    if !model.tensors.iter().any(|tensor| beside(&tensor.name)) {
        return Ok(model);
    }
    let weight = |t: Tensor| match t.name.strip_suffix(".weight").and_then(|stem| factors.get(stem)) {
        Some(found) => t.times(Arc::clone(found), f32::MAX),
        None => Ok(t),
    };
    let tensors = std::mem::take(&mut model.tensors).into_iter().filter(|t| !beside(&t.name));
    model.tensors = tensors.map(weight).collect::<Result<_>>()?;
    Ok(model)
}
