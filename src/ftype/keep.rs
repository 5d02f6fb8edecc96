//! Tensors that are carried as they are: too small to matter, or too sensitive to be quantized. Also the dtypes
//! that stand in when a row does not fill whole blocks, and those that need an importance matrix.
//! Specification: llama.cpp v0.5.0, measured with made-up names (`fixtures/mixtures/names.schema`).

use super::facts::TensorFact;
use super::mixture::Role;
use ggraft_formats::{DType, Error, Result};

/// Parts of a name, and what such tensors are.
const KEPT: &[(&str, &str)] = &[
    ("_norm.weight", "a norm"),
    ("ffn_gate_inp.weight", "chooses the experts"),
    ("ffn_gate_tid2eid.weight", "chooses the experts"),
    ("altup", "mixes the streams of a Gemma 3n"),
    ("laurel", "a residual of low rank"),
    ("per_layer_model_proj", "projects the embeddings by layer"),
    ("ssm_conv1d", "a small convolution"),
    ("shortconv.conv.weight", "a small convolution"),
    ("indexer.k_proj.weight", "selects what to attend to"),
    ("indexer.q_proj.weight", "selects what to attend to"),
    ("time_mix_first.weight", "mixes RWKV's time steps"),
    ("time_mix_w0.weight", "mixes RWKV's time steps"),
    ("time_mix_w1.weight", "mixes RWKV's time steps"),
    ("time_mix_w2.weight", "mixes RWKV's time steps"),
    ("time_mix_v0.weight", "mixes RWKV's time steps"),
    ("time_mix_v1.weight", "mixes RWKV's time steps"),
    ("time_mix_v2.weight", "mixes RWKV's time steps"),
    ("time_mix_a0.weight", "mixes RWKV's time steps"),
    ("time_mix_a1.weight", "mixes RWKV's time steps"),
    ("time_mix_a2.weight", "mixes RWKV's time steps"),
    ("time_mix_g1.weight", "mixes RWKV's time steps"),
    ("time_mix_g2.weight", "mixes RWKV's time steps"),
    ("time_mix_decay_w1.weight", "mixes RWKV's time steps"),
    ("time_mix_decay_w2.weight", "mixes RWKV's time steps"),
    ("time_mix_lerp_fused.weight", "mixes RWKV's time steps"),
    ("attn_rel_b.weight", "a bias by relative position"),
    (".position_embd", "an embedding of positions"),
    ("sam.pos_embd", "an embedding of positions"),
    ("sam.neck.", "part of an image encoder"),
    ("sam.net_", "part of an image encoder"),
    (".rel_pos", "an embedding of positions"),
    (".patch_embd", "part of an image encoder"),
    (".patch_merger", "part of an image encoder"),
    ("a.rvq.codebook", "part of an audio codec"),
    ("mm.a.code_embd", "part of an audio codec"),
];

/// Why the tensor keeps its dtype, if it does.
pub(super) fn kept(tensor: &TensorFact) -> Option<&'static str> {
    if tensor.shape.significant().len() < 2 {
        return Some("not a matrix");
    }
    if !tensor.name.ends_with("weight") {
        return Some("not a weight");
    }
    match tensor.name {
        "position_embd.weight" => Some("an embedding of positions"),
        "token_types.weight" => Some("an embedding of token types"),
        name => KEPT.iter().find(|(part, _)| name.contains(part)).map(|(_, what)| *what),
    }
}

/// The dtype that the tensor gets if its rows do not fill whole blocks of the `wanted` one.
///
/// # Errors
/// Nothing stands in for a dtype that is coarser than all others.
pub(super) fn fitting(tensor: &TensorFact, wanted: DType) -> Result<DType> {
    use DType::*;
    let fits = |dtype: DType| dtype.row_bytes(tensor.shape.row()).is_some();
    if fits(wanted) {
        return Ok(wanted);
    }
    let finer = match wanted {
        IQ1S | IQ1M | IQ2XXS | IQ2XS | IQ2S | IQ3XXS | IQ3S | IQ4XS => IQ4NL,
        Q2_0 | Q2K | Q3K | TQ1_0 | TQ2_0 => Q4_0,
        Q4K => Q5_0,
        Q5K => Q5_1,
        Q6K => Q8_0,
        Q4_0 | Q4_1 | Q5_0 | Q5_1 | Q8_0 | IQ4NL | MXFP4 => F16,
        other => return Err(misfit(tensor, other).mend("choose another ftype for this model")),
    };
    Ok(if fits(finer) { finer } else { F16 })
}

/// The error for a tensor whose rows do not fill whole blocks.
pub(super) fn misfit(tensor: &TensorFact, dtype: DType) -> Error {
    Error::unsupported(format!("a row does not fill whole blocks of {dtype}"))
        .tensor(tensor.name)
        .expected(format!("a multiple of {} columns", dtype.block()))
        .found(tensor.shape.row())
}

/// Whether the dtype is useless for this tensor without an importance matrix.
pub(super) fn needs_imatrix(role: Role, dtype: DType, ftype: &str) -> bool {
    use DType::*;
    match dtype {
        _ if matches!(role, Role::Output | Role::Embedding) => false,
        IQ1S | IQ1M | IQ2XXS | IQ2XS | IQ2S | IQ3XXS => true,
        Q2K => ftype == "Q2_K_S",
        _ => false,
    }
}
