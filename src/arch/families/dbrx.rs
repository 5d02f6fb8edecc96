//! DBRX: norms without biases, queries, keys and values in one tensor, all experts of a layer in one, one below the other.
//! Specification: `DbrxModel` of llama.cpp's converter.

use super::{Arch, NONE};
use crate::arch::config::Config;
use crate::arch::json;
use crate::arch::keys::{Fixed, Key, count, is, make, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Rule, rule};
use ggraft_formats::{Model, Result, Value};
use serde_json::{Map, Value as Json};

pub const DBRX: Arch = Arch {
    classes: &["DbrxForCausalLM"],
    regains: sections,
    gguf: "dbrx",
    prefixes: &["transformer."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ..NONE
};

const ATTENTION: &str = "attn_config";
const FEED_FORWARD: &str = "ffn_config";

/// The two sections of the config, of the keys that a GGUF has of them.
fn sections(model: &Model, _layers: u32) -> Vec<(&'static str, Json)> {
    let of = |keys: &[(&str, &str)]| {
        let one = |(key, told): &(&str, &str)| {
            Some((key.to_string(), json(model.metadata.get(&format!("dbrx.{told}"))?)))
        };
        Json::Object(keys.iter().filter_map(one).collect::<Map<_, _>>())
    };
    let attention = [
        ("kv_n_heads", "attention.head_count_kv"),
        ("clip_qkv", "attention.clamp_kqv"),
        ("rope_theta", "rope.freq_base"),
    ];
    let feed_forward = [
        ("ffn_hidden_size", "feed_forward_length"),
        ("moe_num_experts", "expert_count"),
        ("moe_top_k", "expert_used_count"),
    ];
    vec![(ATTENTION, of(&attention)), (FEED_FORWARD, of(&feed_forward))]
}

/// A section of the config, which must be there.
fn section(params: &Params<'_>, key: &str) -> Result<Config> {
    params.config.section(key)?.ok_or_else(|| params.config.missing(key, "an object"))
}

fn number(params: &Params<'_>, key: &str) -> Result<Option<Value>> {
    Ok(section(params, ATTENTION)?.optional_number(key)?.map(|x| Value::F32(x as f32)))
}

const KEYS: &[Key] = &[
    size("block_count", "l"),
    count("context_length", &["max_seq_len"]).must(),
    size("embedding_length", "n"),
    size("feed_forward_length", "ff"),
    size("attention.head_count", "h"),
    size("attention.head_count_kv", "g"),
    make("rope.freq_base", |params| number(params, "rope_theta")),
    make("attention.clamp_kqv", |params| number(params, "clip_qkv")),
    size("expert_count", "e"),
    make("expert_used_count", |params| {
        section(params, FEED_FORWARD)?.count("moe_top_k").map(|n| Some(n.into()))
    }),
    is("attention.layer_norm_epsilon", Fixed::Number(1e-5)),
];

const AXES: &[Axis] = &[
    axis("l", Size::Of(&["n_layers"])),
    axis("n", Size::Of(&["d_model"])),
    axis("h", Size::Of(&["n_heads"])),
    axis("d", Size::Div("n", "h")).or("n", "a multiple of {h} heads"),
    axis("vocab", Size::Of(&["vocab_size"])),
    axis("g", Size::Make(|params, _| section(params, ATTENTION)?.count("kv_n_heads").map(u64::from))),
    axis(
        "ff",
        Size::Make(|params, _| section(params, FEED_FORWARD)?.count("ffn_hidden_size").map(u64::from)),
    ),
    axis("e", Size::Make(|params, _| section(params, FEED_FORWARD)?.count("moe_num_experts").map(u64::from))),
];

const RULES: &[Rule] = &[
    rule(&["wte.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["norm_f.weight"], &["output_norm.weight"], "n"),
    rule(&["^lm_head.weight"], &["output.weight"], "vocab n"),
    rule(&["blocks.{l}.norm_attn_norm.norm_1.weight"], &["blk.{l}.attn_norm.weight"], "n"),
    rule(
        &["blocks.{l}.norm_attn_norm.attn.Wqkv.weight"],
        &["blk.{l}.attn_qkv.weight"],
        "[(h d)|(g d)|(g d)] n -> [(h d)|(g d)|(g d)] n",
    ),
    rule(&["blocks.{l}.norm_attn_norm.attn.out_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)"),
    rule(&["blocks.{l}.norm_attn_norm.norm_2.weight"], &["blk.{l}.attn_output_norm.weight"], "n"),
    rule(&["blocks.{l}.ffn.router.layer.weight"], &["blk.{l}.ffn_gate_inp.weight"], "e n"),
    rule(&["blocks.{l}.ffn.experts.mlp.w1"], &["blk.{l}.ffn_gate_exps.weight"], "(e ff) n -> e ff n"),
    rule(&["blocks.{l}.ffn.experts.mlp.v1"], &["blk.{l}.ffn_up_exps.weight"], "(e ff) n -> e ff n"),
    rule(&["blocks.{l}.ffn.experts.mlp.w2"], &["blk.{l}.ffn_down_exps.weight"], "(e ff) n -> e n ff"),
];
