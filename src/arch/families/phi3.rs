//! Phi 3, 3.5, 4 and 4-mini: queries, keys and values in one tensor, gate and up in one; a long context by two lists of
//! factors (longrope), which become tensors.
//! Specification: `Phi3MiniModel` of llama.cpp's converter.

use super::decoder::NAMES;
use super::qwen_vl::SEEING;
use super::{Arch, Made, NONE, experts, partial};
use crate::arch::keys::{Fixed, Key, count, make, positive, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rope::Rope;
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Result, Value};

pub const PHI3: Arch = Arch {
    classes: &["Phi3ForCausalLM", "Phi4ForCausalLMV"],
    gguf: "phi3",
    base: Some(&NAMES),
    keys: KEYS,
    early: EARLY,
    axes: AXES,
    rules: RULES,
    without: &[
        "blk.{l}.attn_q.weight",
        "blk.{l}.attn_k.weight",
        "blk.{l}.attn_v.weight",
        "blk.{l}.ffn_gate.weight",
    ],
    ignored: SEEING,
    made: FACTORS,
    ..NONE
};

/// Phi 3.5 MoE: norms and matrices with biases, heads apart, Mixtral's experts.
pub const PHI_MOE: Arch = Arch {
    classes: &["PhiMoEForCausalLM"],
    gguf: "phimoe",
    base: Some(&PHI3),
    keys: &[
        count("expert_used_count", &["num_experts_per_tok", "num_experts_per_token"]).must(),
        size("expert_count", "e"),
    ],
    early: EARLY,
    rules: MOE,
    shares: &[experts::MIXTRAL],
    without: &["blk.{l}.attn_qkv.weight", "blk.{l}.ffn_up.weight", "blk.{l}.ffn_down.weight"],
    ..NONE
};

/// The two lists of factors that stretch the context.
pub const FACTORS: &[Made] = &[
    Made { name: "rope_factors_long.weight", row: None, values: |params| factors(params, "long_factor") },
    Made { name: "rope_factors_short.weight", row: None, values: |params| factors(params, "short_factor") },
];

const EARLY: &[Key] = &[make("rope.scaling.attn_factor", attention_factor)];

const KEYS: &[Key] = &[
    count("context_length", &["n_positions", "max_position_embeddings"]).must(),
    make("rope.scaling.original_context_length", original_context),
    size("embedding_length", "n"),
    size("feed_forward_length", "ff"),
    size("block_count", "l"),
    size("attention.head_count", "h"),
    size("attention.head_count_kv", "g"),
    positive("attention.layer_norm_rms_epsilon", &["rms_norm_eps"]).must(),
    size("rope.dimension_count", "rotating"),
    make("rope.freq_base", |params| {
        let theta = Rope::read(params.config)?.theta()?;
        let missing = || params.config.missing("rope_theta", crate::arch::config::NUMBER);
        theta.map(|theta| Some(Value::F32(theta as f32))).ok_or_else(missing)
    }),
    // The runtime tells Phi 4 by a window of zero.
    count("attention.sliding_window", &["sliding_window"]).or(Fixed::Count(0)),
];

const AXES: &[Axis] = &[
    axis("rotating", Size::Make(partial::of_width)),
    axis("kv", Size::Mul("two", "g")),
    axis("qkv", Size::Add("h", "kv")),
];

const RULES: &[Rule] = &[
    rule(&["layers.{l}.self_attn.qkv_proj.weight"], &["blk.{l}.attn_qkv.weight"], "(qkv d) n"),
    rule(&["layers.{l}.mlp.gate_up_proj.weight"], &["blk.{l}.ffn_up.weight"], "(two ff) n"),
];

const BIASED: Need = Need::If("attention_bias");

const MOE: &[Rule] = &[
    rule(&["norm.weight"], &["output_norm.weight"], "n").bias(Need::Must),
    rule(&["layers.{l}.input_layernorm.weight"], &["blk.{l}.attn_norm.weight"], "n").bias(Need::Must),
    rule(&["layers.{l}.self_attn.q_proj.weight"], &["blk.{l}.attn_q.weight"], "(h d) n").bias(BIASED),
    rule(&["layers.{l}.self_attn.k_proj.weight"], &["blk.{l}.attn_k.weight"], "(g d) n").bias(BIASED),
    rule(&["layers.{l}.self_attn.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(g d) n").bias(BIASED),
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)").bias(BIASED),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n").bias(Need::Must),
    rule(&["^lm_head.weight"], &["output.weight"], "vocab n")
        .need(Need::Unless("tie_word_embeddings"))
        .bias(Need::If("lm_head_bias")),
];

/// The context before it was stretched. Of the ways to stretch it only the two lists of factors can be said.
fn original_context(params: &Params<'_>) -> Result<Option<Value>> {
    let rope = Rope::read(params.config)?;
    if let Some((kind, section, key)) = rope.kind()?.filter(|(kind, _, _)| *kind != "default")
        && rope.numbers("long_factor")?.is_none()
    {
        return Err(section.unsupported(key).expected("longrope, with its lists of factors").found(kind));
    }
    Ok(Some(rope.original()?.into()))
}

/// By how much attention is scaled in a context that was stretched; none in one that was not.
fn attention_factor(params: &Params<'_>) -> Result<Option<Value>> {
    let rope = Rope::read(params.config)?;
    if rope.numbers("long_factor")?.is_none() {
        return Ok(None);
    }
    let original = f64::from(rope.original()?);
    let stretch = f64::from(params.config.count("max_position_embeddings")?) / original;
    let factor = match rope.kind()? {
        Some(("su" | "longrope", _, _)) => (1.0 + stretch.ln() / original.ln()).sqrt(),
        Some(("yarn", _, _)) => 0.1 * stretch.ln() + 1.0,
        Some((other, section, key)) => {
            return Err(section.unsupported(key).expected("longrope, su or yarn").found(other));
        }
        None => return Err(params.config.missing("rope_scaling.rope_type", "longrope, su or yarn")),
    };
    Ok(Some(Value::F32(if stretch > 1.0 { factor as f32 } else { 1.0 })))
}

/// One of the two lists, a factor a pair of elements that rotate.
fn factors(params: &Params<'_>, key: &'static str) -> Result<Option<Vec<f32>>> {
    let rope = Rope::read(params.config)?;
    if rope.numbers("long_factor")?.is_none() {
        return Ok(None);
    }
    let pairs = params.size("rotating", 0)? / 2;
    let expected = format!("{pairs} factors, one a pair of elements that rotate");
    match rope.numbers(key)? {
        Some(all) if all.len() as u64 == pairs => Ok(Some(all)),
        Some(all) => Err(params.config.wrong(&format!("rope_scaling.{key}"), &expected).found(all.len())),
        None => Err(params.config.missing(&format!("rope_scaling.{key}"), &expected)),
    }
}
