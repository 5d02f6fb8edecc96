//! Apertus: norms of queries and keys, and a feed-forward without a gate whose activation (xIELU) has numbers of its own in
//! each layer; a GGUF keeps them as metadata.
//! Specification: `ApertusModel` of llama.cpp's converter.

use super::decoder::{DECODER, ROPE_FREQS};
use super::qwen::NORMED;
use super::{Arch, NONE, llama};
use crate::arch::keys::{Key, make, size};
use crate::arch::params::Params;
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Array, Result, Value};

pub const APERTUS: Arch = Arch {
    classes: &["ApertusForCausalLM"],
    gguf: "apertus",
    base: Some(&DECODER),
    keys: &[size("vocab_size", "vocab"), make("rope.dimension_count", llama::whole_heads)],
    early: EARLY,
    rules: RULES,
    shares: &[NORMED],
    without: &["blk.{l}.ffn_gate.weight"],
    ignored: &["*.mlp.act_fn.*"],
    made: &[ROPE_FREQS],
    ..NONE
};

const EARLY: &[Key] = &[
    make("^xielu.alpha_n", |params| activation(params, "alpha_n")),
    make("^xielu.alpha_p", |params| activation(params, "alpha_p")),
    make("^xielu.beta", |params| activation(params, "beta")),
    make("^xielu.eps", |params| activation(params, "eps")),
];

/// A number of the activation, one a layer.
fn activation(params: &Params<'_>, which: &str) -> Result<Option<Value>> {
    let mut all = Vec::new();
    for layer in 0..params.count("l", 0)? {
        let values = params.numbers(&format!("layers.{layer}.mlp.act_fn.{which}"))?;
        all.extend(values.and_then(|values| values.first().copied()));
    }
    Ok((!all.is_empty()).then_some(Value::Array(Array::F32(all))))
}

const RULES: &[Rule] = &[
    rule(&["layers.{l}.attention_layernorm.weight"], &["blk.{l}.attn_norm.weight"], "n"),
    rule(&["layers.{l}.feedforward_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n"),
    rule(&["layers.{l}.mlp.up_proj.weight"], &["blk.{l}.ffn_up.weight"], "ff n").bias(Need::If("mlp_bias")),
];
