//! Grok 1 and 2: norms before and after attention and experts; caps of logits. Grok 2 has a feed-forward for all tokens
//! beside its experts.
//! Specification: `GrokModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, make, number};
use crate::arch::params::{Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Model, Result, Value};
use serde_json::Value as Json;

pub const GROK: Arch = Arch {
    classes: &["GrokForCausalLM", "Grok1ForCausalLM"],
    regains: width,
    gguf: "grok",
    base: Some(&DECODER),
    keys: KEYS,
    axes: &[axis("eff", Size::Or(&["moe_intermediate_size"], &Size::Same("ff")))],
    rules: RULES,
    ..NONE
};

/// The width of the feed-forward part, which is the experts' too where nothing else is told, by the name that both have.
fn width(model: &Model, _layers: u32) -> Vec<(&'static str, Json)> {
    let told = model.metadata.u64("grok.feed_forward_length");
    told.map(|width| ("intermediate_size", width.into())).into_iter().collect()
}

const KEYS: &[Key] = &[
    number("attn_logit_softcapping", &["attn_logit_softcapping"]).or(Fixed::Number(30.0)),
    number("router_logit_softcapping", &["router_logit_softcapping"]).or(Fixed::Number(30.0)),
    number("final_logit_softcapping", &["final_logit_softcapping"]),
    count("expert_feed_forward_length", &["moe_intermediate_size"]),
    make("rope.scaling.type", |params| Ok(stretched(params)?.then(|| Value::from("yarn")))),
    make("rope.scaling.factor", |params| of_yarn(params, "scaling_factor")),
    make("rope.scaling.original_context_length", |params| {
        let whole = || params.config.count("original_max_position_embeddings").map(Value::U32);
        stretched(params)?.then(whole).transpose()
    }),
    make("rope.scaling.yarn_ext_factor", |params| of_yarn(params, "extrapolation_factor")),
    make("rope.scaling.yarn_attn_factor", |params| of_yarn(params, "attn_factor")),
    make("rope.scaling.yarn_beta_fast", |params| of_yarn(params, "beta_fast")),
    make("rope.scaling.yarn_beta_slow", |params| of_yarn(params, "beta_slow")),
    count("attention.temperature_length", &["attn_temperature_len"]),
    make("attention.output_scale", |params| {
        let usual = || params.size("d", 0).map(|d| (d as f64).powf(-0.5));
        let told = params.config.optional_number("attn_output_multiplier")?;
        Ok(Some(Value::F32(told.map_or_else(usual, Ok)? as f32)))
    }),
    number("embedding_scale", &["embedding_multiplier_scale"]).must(),
    number("logit_scale", &["output_multiplier_scale"]).must(),
];

/// Whether positions are stretched, which the config says beside the other keys; "original" is yarn too.
fn stretched(params: &Params<'_>) -> Result<bool> {
    Ok(matches!(params.config.text("rope_type")?, Some("yarn" | "original")))
}

fn of_yarn(params: &Params<'_>, key: &str) -> Result<Option<Value>> {
    if !stretched(params)? {
        return Ok(None);
    }
    let told = params.config.optional_number(key)?;
    told.map(|x| Some(Value::F32(x as f32))).ok_or_else(|| params.config.missing(key, "a number"))
}

const ONE: Need = Need::Without("transformer.decoder_layer.{l}.rms_norm.weight");

const RULES: &[Rule] = &[
    rule(&["embed_tokens.weight", "^transformer.in_out_embed.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["norm.weight", "^transformer.rms_norm.weight"], &["output_norm.weight"], "n"),
    rule(
        &["layers.{l}.pre_attn_norm.weight", "^transformer.decoder_layer.{l}.rms_norm.weight"],
        &["blk.{l}.attn_norm.weight"],
        "n",
    ),
    rule(
        &[
            "layers.{l}.self_attn.q_proj.weight",
            "^transformer.decoder_layer.{l}.multi_head_attention.query.weight",
        ],
        &["blk.{l}.attn_q.weight"],
        "(h d) n",
    ),
    rule(
        &[
            "layers.{l}.self_attn.k_proj.weight",
            "^transformer.decoder_layer.{l}.multi_head_attention.key.weight",
        ],
        &["blk.{l}.attn_k.weight"],
        "(g d) n",
    ),
    rule(
        &[
            "layers.{l}.self_attn.v_proj.weight",
            "^transformer.decoder_layer.{l}.multi_head_attention.value.weight",
        ],
        &["blk.{l}.attn_v.weight"],
        "(g d) n",
    ),
    rule(
        &[
            "layers.{l}.self_attn.o_proj.weight",
            "^transformer.decoder_layer.{l}.multi_head_attention.linear.weight",
        ],
        &["blk.{l}.attn_output.weight"],
        "n (h d)",
    ),
    rule(
        &["layers.{l}.post_attn_norm.weight", "^transformer.decoder_layer.{l}.rms_norm_1.weight"],
        &["blk.{l}.attn_output_norm.weight"],
        "n",
    ),
    rule(
        &["layers.{l}.pre_moe_norm.weight", "^transformer.decoder_layer.{l}.rms_norm_2.weight"],
        &["blk.{l}.ffn_norm.weight"],
        "n",
    ),
    rule(&["layers.{l}.post_moe_norm.weight"], &["blk.{l}.post_ffw_norm.weight"], "n").need(ONE),
    rule(&["^transformer.decoder_layer.{l}.rms_norm_3.weight"], &["blk.{l}.layer_output_norm.weight"], "n")
        .may(),
    rule(&["layers.{l}.mlp.gate_proj.weight"], &["blk.{l}.ffn_gate.weight"], "ff n")
        .need(Need::If("residual_moe")),
    rule(&["layers.{l}.mlp.up_proj.weight"], &["blk.{l}.ffn_up.weight"], "ff n")
        .need(Need::If("residual_moe")),
    rule(&["layers.{l}.mlp.down_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff")
        .need(Need::If("residual_moe")),
    rule(
        &["layers.{l}.block_sparse_moe.gate.weight", "^transformer.decoder_layer.{l}.router.weight"],
        &["blk.{l}.ffn_gate_inp.weight"],
        "e n",
    ),
    rule(
        &[
            "layers.{l}.block_sparse_moe.experts.{e}.w1.weight",
            "^transformer.decoder_layer.{l}.moe.{e}.linear.weight",
        ],
        &["blk.{l}.ffn_gate_exps.weight"],
        "eff n -> e eff n",
    ),
    rule(
        &[
            "layers.{l}.block_sparse_moe.experts.{e}.w3.weight",
            "^transformer.decoder_layer.{l}.moe.{e}.linear_v.weight",
        ],
        &["blk.{l}.ffn_up_exps.weight"],
        "eff n -> e eff n",
    ),
    rule(
        &[
            "layers.{l}.block_sparse_moe.experts.{e}.w2.weight",
            "^transformer.decoder_layer.{l}.moe.{e}.linear_1.weight",
        ],
        &["blk.{l}.ffn_down_exps.weight"],
        "n eff -> e n eff",
    ),
];
