//! MiniMax-Text-01 and M1: most layers remember (lightning attention) instead of attending, and what goes past a layer is
//! multiplied with a number. Experts are Mixtral's.
//! Specification: `MiniMaxText01Model` of llama.cpp's converter.

use super::decoder::DECODER;
use super::{Arch, NONE, experts};
use crate::arch::keys::{Key, count, make};
use crate::arch::params::Params;
use crate::arch::rule::{Layers, Rule, rule};
use ggraft_formats::{Array, Model, Result, Value};
use serde_json::{Value as Json, json};

pub const MINIMAX01: Arch = Arch {
    classes: &["MiniMaxText01ForCausalLM", "MiniMaxM1ForCausalLM"],
    gguf: "minimax-01",
    regains,
    base: Some(&DECODER),
    keys: KEYS,
    rules: RULES,
    shares: &[experts::MIXTRAL],
    without: experts::NO_DENSE,
    ..NONE
};

const KEYS: &[Key] = &[
    make("^tokenizer.ggml.suppress_tokens", unlearned),
    make("residual_scale", residual),
    count("rope.dimension_count", &["rotary_dim"]).must(),
];

/// The keys of numbers that multiply the way past each part of a layer, and what comes of the part.
const PARTS: [[&str; 2]; 3] = [
    ["layernorm_full_attention_alpha", "layernorm_full_attention_beta"],
    ["layernorm_linear_attention_alpha", "layernorm_linear_attention_beta"],
    ["layernorm_mlp_alpha", "layernorm_mlp_beta"],
];

/// Those, and which layers attend.
fn regains(model: &Model, layers: u32) -> Vec<(&'static str, Json)> {
    let scale = model.metadata.get("minimax-01.residual_scale").and_then(Value::as_f64).unwrap_or(1.0);
    let remembers = |layer: &u32| {
        let norm = format!("blk.{layer}.attn_norm_2.weight");
        model.tensors.iter().any(|tensor| tensor.name == norm)
    };
    let kinds: Json = (0..layers).map(|layer| json!(u8::from(!remembers(&layer)))).collect();
    let numbers = PARTS.into_iter().flat_map(|[alpha, beta]| [(alpha, json!(scale)), (beta, json!(1.0))]);
    numbers.chain([("attn_type_list", kinds)]).collect()
}

/// What multiplies the way past each part of a layer: one number for all, for a GGUF has one.
fn residual(params: &Params<'_>) -> Result<Option<Value>> {
    let config = params.config;
    let first = config.number("layernorm_full_attention_alpha")?;
    for [alpha, beta] in PARTS {
        for (key, expected) in [(alpha, first), (beta, 1.0)] {
            let found = config.number(key)?;
            if found != expected {
                let error = config.unsupported(key).expected(expected).found(found);
                return Err(error.hint("the runtime multiplies every part with the same number"));
            }
        }
    }
    Ok(Some(Value::F32(first as f32)))
}

/// The ids beyond the vocabulary proper whose rows of the table are zeros: they were never learned, and would be likely.
fn unlearned(params: &Params<'_>) -> Result<Option<Value>> {
    const TABLE: &str = "embed_tokens.weight";
    let Some(checkpoint) = params.checkpoint() else { return Ok(None) };
    let Some(table) = checkpoint.tensors.iter().find(|tensor| tensor.name.ends_with(TABLE)) else {
        return Ok(None);
    };
    let tokenizer = checkpoint.json("tokenizer.json")?.unwrap_or_default();
    let Some(proper) = tokenizer["model"]["vocab"].as_object().map(serde_json::Map::len) else {
        return Ok(None);
    };
    let mut row = vec![0.0; table.row_elements()?];
    let mut ids = Vec::new();
    for id in proper..table.shape().rows() as usize {
        table.decode_rows(id..id + 1, &mut row)?;
        if row.iter().all(|x| *x == 0.0) {
            ids.push(id as i32);
        }
    }
    Ok((!ids.is_empty()).then_some(Value::Array(Array::I32(ids))))
}

fn attends(params: &Params<'_>, layer: u32) -> Result<bool> {
    Ok(params.config.whole_at("attn_type_list", layer)?.is_some_and(|kind| kind == 1))
}

const FULL: Layers = Layers::When(attends);
const LINEAR: Layers = Layers::When(|params, layer| attends(params, layer).map(|attends| !attends));

const RULES: &[Rule] = &[
    rule(&["layers.{l}.self_attn.q_proj.weight"], &["blk.{l}.attn_q.weight"], "(h d) n").layers(FULL),
    rule(&["layers.{l}.self_attn.k_proj.weight"], &["blk.{l}.attn_k.weight"], "(g d) n").layers(FULL),
    rule(&["layers.{l}.self_attn.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(g d) n").layers(FULL),
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)").layers(FULL),
    rule(&["layers.{l}.self_attn.qkv_proj.weight"], &["blk.{l}.attn_qkv.weight"], "(h three d) n")
        .layers(LINEAR),
    rule(&["layers.{l}.self_attn.out_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)")
        .layers(LINEAR),
    rule(&["layers.{l}.self_attn.output_gate.weight"], &["blk.{l}.attn_gate.weight"], "(h d) n")
        .layers(LINEAR),
    rule(&["layers.{l}.self_attn.norm.weight"], &["blk.{l}.attn_norm_2.weight"], "(h d)").layers(LINEAR),
];
