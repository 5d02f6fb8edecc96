//! CogVLM: llama's layers twice, for texts and for images. Each has queries, keys and values in one, its own output of
//! attention and its own feed-forward; the norms serve both.
//! Specification: `CogVLMModel` of llama.cpp's converter; `modeling_cogvlm.py` beside the published weights.

use super::llama::LLAMA;
use super::{Arch, NONE};
use crate::arch::keys::{Absent, From, Key};
use crate::arch::params::{Params, Size, axis};
use crate::arch::rope;
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::Result;

pub const COGVLM: Arch = Arch {
    classes: &["CogVLMForCausalLM"],
    gguf: "cogvlm",
    base: Some(&LLAMA),
    // The config of the first CogVLM does not tell the base of its frequencies, which is the usual one.
    keys: &[Key { gguf: "rope", from: From::Rope(rope::PLAIN), absent: Absent::Omit }],
    axes: &[axis("g", Size::Make(heads))],
    rules: RULES,
    without: &["blk.{l}.attn_q.weight", "blk.{l}.attn_k.weight", "blk.{l}.attn_v.weight"],
    ignored: &["model.vision.*"],
    ..NONE
};

/// As many heads of keys as of queries: CogVLM 2 has fewer, which the runtime's graph has no place for.
fn heads(params: &Params<'_>, layer: u32) -> Result<u64> {
    const FEWER: &str = "num_multi_query_heads";
    let heads = params.size("h", layer)?;
    match params.config.optional_count(FEWER)? {
        Some(n) if u64::from(n) != heads => Err(params
            .config
            .unsupported(FEWER)
            .expected(heads)
            .found(n)
            .hint("llama.cpp runs the first CogVLM alone, whose heads of queries have keys of their own")),
        _ => Ok(heads),
    }
}

const RULES: &[Rule] = &[
    rule(
        &["layers.{l}.self_attn.language_expert_query_key_value.weight"],
        &["blk.{l}.attn_qkv.weight"],
        "[(h d)|(g d)|(g d)] n",
    ),
    rule(&["layers.{l}.self_attn.language_expert_dense.weight"], &["blk.{l}.attn_output.weight"], "n (h d)"),
    rule(
        &["layers.{l}.self_attn.vision_expert_query_key_value.weight"],
        &["blk.{l}.vis_attn_qkv.weight"],
        "[(h d)|(g d)|(g d)] n",
    )
    .bias(Need::May),
    rule(
        &["layers.{l}.self_attn.vision_expert_dense.weight"],
        &["blk.{l}.vis_attn_output.weight"],
        "n (h d)",
    ),
    rule(&["layers.{l}.mlp.language_mlp.gate_proj.weight"], &["blk.{l}.ffn_gate.weight"], "ff n"),
    rule(&["layers.{l}.mlp.language_mlp.up_proj.weight"], &["blk.{l}.ffn_up.weight"], "ff n"),
    rule(&["layers.{l}.mlp.language_mlp.down_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff"),
    rule(&["layers.{l}.mlp.vision_mlp.gate_proj.weight"], &["blk.{l}.vis_gate.weight"], "ff n"),
    rule(&["layers.{l}.mlp.vision_mlp.up_proj.weight"], &["blk.{l}.vis_up.weight"], "ff n"),
    rule(&["layers.{l}.mlp.vision_mlp.down_proj.weight"], &["blk.{l}.vis_down.weight"], "n ff"),
];
