//! Muse Glimmer: heads of queries are gated, and are scaled by a number where others have norms of their own. A GGUF has
//! such norms, which are made of the number.
//! Specification: `MuseGlimmerModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::qwen_vl::SEEING;
use super::told::{Keys, Told, some};
use super::{Arch, Made, NONE, llama};
use crate::arch::back;
use crate::arch::keys::{Key, count, make, number};
use crate::arch::rule::{Rule, rule};
use crate::arch::values::Value as Change;
use ggraft_formats::{Array, Model, Value};
use serde_json::json;

pub const MUSE_GLIMMER: Arch = Arch {
    classes: &["MuseGlimmerForConditionalGeneration"],
    gguf: "muse-glimmer",
    regains: scale,
    base: Some(&DECODER),
    keys: KEYS,
    axes: llama::AXES,
    rules: RULES,
    shares: &[llama::RULES],
    ignored: SEEING,
    made: &[
        Made {
            name: "blk.{l}.attn_q_norm.weight",
            row: None,
            values: |params| {
                let scale = params.config.number("qk_scale_factor")? as f32;
                Ok(Some(vec![scale; params.size("d", 0)? as usize]))
            },
        },
        Made {
            name: "blk.{l}.attn_k_norm.weight",
            row: None,
            values: |params| Ok(Some(vec![1.0; params.size("d", 0)? as usize])),
        },
    ],
    ..NONE
};

/// What a GGUF has for a norm of queries is the number that scales them.
fn scale(model: &Model, layers: u32) -> Keys {
    let told = Told::of(model, layers);
    let norm = told.tensor("attn_q_norm.weight", 0).and_then(|tensor| back::values(tensor).ok());
    let scale = norm.and_then(|all| all.first().map(|x| json!(f64::from(*x))));
    some([("qk_scale_factor", scale), ("layer_types", Some(told.windows()))])
}

const KEYS: &[Key] = &[
    number("final_logit_softcapping", &["final_logit_softcapping"]).must(),
    number("logit_scale", &["output_multiplier"]).must(),
    count("attention.sliding_window", &["sliding_window"]).must(),
    make("attention.sliding_window_pattern", |params| {
        let missing = || params.config.missing("layer_types", "a list of kinds of attention, one a layer");
        let kinds = params.config.texts("layer_types")?.ok_or_else(missing)?;
        let all = kinds.iter().map(|kind| *kind == "sliding_attention").collect();
        Ok(Some(Value::Array(Array::Bool(all))))
    }),
];

const RULES: &[Rule] = &[
    rule(&["layers.{l}.input_layernorm.weight"], &["blk.{l}.attn_norm.weight"], "n").value(Change::Plus(1.0)),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.post_attention_norm.weight"], "n")
        .value(Change::Plus(1.0)),
    rule(&["layers.{l}.pre_feedforward_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n")
        .value(Change::Plus(1.0)),
    rule(&["layers.{l}.post_feedforward_layernorm.weight"], &["blk.{l}.post_ffw_norm.weight"], "n")
        .value(Change::Plus(1.0)),
    rule(&["layers.{l}.self_attn.gate_proj.weight"], &["blk.{l}.attn_gate.weight"], "(h d) n"),
];
