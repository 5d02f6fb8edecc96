//! Scales of whole tensors beside NVFP4: `NAME.scale`, by which llama.cpp multiplies what a matrix gives. The scales inside
//! of the blocks are floats of seven bits that become coarse below 2^-6, where those of most weights lie: so blocks hold
//! weights times 64, and the scale is 1/64. Powers of two round nothing, and no weight need be known before it is written.
//! Specification: llama.cpp v0.5.0, which loads a scale for each of `SCALED` and multiplies by it in the graphs of `READERS`
//! alone; in others it would be ignored in silence.

use super::{Assignment, Facts, Ftype};
use crate::roles;
use ggraft_formats::{DType, Error, Result, Shape, Tensor};

/// Architectures whose graphs multiply by the scales of all of `SCALED`, by names in llama.cpp.
const READERS: [&str; 6] = ["cohere2", "llama", "mellum", "mistral3", "qwen3", "qwen3moe"];

/// The matrices of a layer that may have a scale.
const SCALED: [&str; 10] = [
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_output",
    "ffn_gate",
    "ffn_up",
    "ffn_down",
    "ffn_gate_exps",
    "ffn_up_exps",
    "ffn_down_exps",
];

/// What stored weights are multiplied by to be weights.
const SCALE: f32 = 1.0 / 64.0;

/// A tensor that is stored under a scale.
#[derive(Clone, Copy)]
pub struct Scale {
    /// Of each matrix.
    count: u64,
}

impl Scale {
    /// What weights are multiplied by before they are encoded.
    pub const FACTOR: f32 = 1.0 / SCALE;

    /// The tensor that holds the scale of the tensor of this name.
    pub fn tensor(self, name: &str) -> Result<Tensor> {
        let name = format!("{}.scale", name.trim_end_matches(".weight"));
        let shape = Shape::new(&[self.count])
            .ok_or_else(|| Error::invalid("the tensor has no matrices").tensor(&name))?;
        Tensor::in_memory(&name, shape, &vec![SCALE; self.count as usize])
    }
}

/// What the graphs of further architectures multiply by the scales of, beside all of `SCALED`.
const MORE: [(&str, &[&str]); 5] = [
    ("gemma4", &[]),
    ("nemotron_h", OF_STATES),
    ("nemotron_h_moe", OF_STATES),
    ("qwen35", OF_DELTAS),
    ("qwen35moe", OF_DELTAS),
];
const OF_STATES: &[&str] = &["ssm_in", "ssm_out", "ffn_up_shexp", "ffn_down_shexp"];
const OF_DELTAS: &[&str] = &[
    "attn_qkv",
    "attn_gate",
    "ssm_alpha",
    "ssm_beta",
    "ssm_out",
    "ffn_gate_shexp",
    "ffn_up_shexp",
    "ffn_down_shexp",
    "nextn.eh_proj",
    "nextn.shared_head_head",
];

/// Whether the graph of this architecture multiplies by the scale of this tensor, named without its ending; a bias of a
/// feed-forward layer would be added first.
pub fn reads_scale(architecture: &str, stem: &str, has_bias: bool) -> bool {
    let more = MORE.iter().find(|(of, _)| *of == architecture).map(|(_, more)| *more);
    let Some(more) = more.or(READERS.contains(&architecture).then_some(&[][..])) else { return false };
    let part = roles::layer(stem).and_then(|layer| stem.strip_prefix(&format!("blk.{layer}.")));
    let part = part.unwrap_or(stem);
    let is = part == "output" || SCALED.contains(&part) || more.contains(&part);
    is && !(has_bias && part.starts_with("ffn"))
}

/// The scales of the tensors, and what to say if the architecture has none.
pub fn scales(
    facts: &Facts,
    ftype: &Ftype,
    assignments: &[Assignment],
) -> (Vec<Option<Scale>>, Option<String>) {
    let nothing = vec![None; facts.tensors.len()];
    if ftype.default != DType::NVFP4 {
        return (nothing, None);
    }
    let architecture = facts.architecture;
    if !READERS.contains(&architecture) {
        let note = format!(
            "NVFP4 without scales of whole tensors, which llama.cpp reads of {} only, not of {architecture}: blocks \
             whose largest weight is below 0.09 are coarser",
            READERS.join(", ")
        );
        return (nothing, Some(note));
    }
    let has = |name: String| facts.tensors.iter().any(|t| t.name == name);
    let scale = |(tensor, given): (&super::TensorFact, &Assignment)| {
        let stem = tensor.name.strip_suffix(".weight")?;
        let layer = roles::layer(tensor.name)?;
        let part = stem.strip_prefix(&format!("blk.{layer}."))?;
        // A bias would be added before the product is scaled.
        let is_plain = SCALED.contains(&part) && (part.starts_with("attn") || !has(format!("{stem}.bias")));
        let encodes = given.dtype == DType::NVFP4 && tensor.dtype != DType::NVFP4;
        let count = if part.ends_with("_exps") { tensor.shape.dim(2) } else { 1 };
        (is_plain && encodes && !has(format!("{stem}.scale"))).then_some(Scale { count })
    };
    (facts.tensors.iter().zip(assignments).map(scale).collect(), None)
}
