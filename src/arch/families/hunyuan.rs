//! Hunyuan, dense (0.5B to 7B): norms of queries and keys after rotation; a context that is stretched by a larger base.
//! Specification: `HunYuanModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::{Arch, NONE};
use crate::arch::keys::{Key, make};
use crate::arch::params::Params;
use crate::arch::rope::Rope;
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Result, Value};

pub const HUNYUAN: Arch = Arch {
    classes: &["HunYuanDenseV1ForCausalLM"],
    gguf: "hunyuan-dense",
    base: Some(&DECODER),
    keys: KEYS,
    rules: RULES,
    ..NONE
};

/// The context that the stretched models know; their configs say less.
const CONTEXT: u32 = 256 * 1024;

const KEYS: &[Key] = &[
    make("context_length", |params| {
        let context = params.config.count("max_position_embeddings")?;
        Ok(Some(Value::U32(if stretched(params)?.is_some() { CONTEXT } else { context })))
    }),
    make("rope.freq_base", |params| Ok(stretched(params)?.map(|base| Value::F32(base as f32)))),
    make("rope.scaling.type", |params| Ok(stretched(params)?.map(|_| Value::from("none")))),
    make("rope.scaling.factor", |params| Ok(stretched(params)?.map(|_| Value::F32(1.0)))),
    make(
        "rope.scaling.original_context_length",
        |params| Ok(stretched(params)?.map(|_| Value::U32(CONTEXT))),
    ),
];

/// The base of a model whose rope is `dynamic`: raised by `alpha`, as the share of the head that does not turn grows.
fn stretched(params: &Params<'_>) -> Result<Option<f64>> {
    let rope = Rope::read(params.config)?;
    let Some(("dynamic", _, _)) = rope.kind()? else { return Ok(None) };
    let (alpha, base) = (rope.number("alpha")?.unwrap_or(50.0), rope.theta()?.unwrap_or(10000.0));
    let d = params.size("d", 0)? as f64;
    Ok(Some(base * alpha.powf(d / (d - 2.0))))
}

const RULES: &[Rule] = &[
    rule(&["layers.{l}.self_attn.query_layernorm.weight"], &["blk.{l}.attn_q_norm.weight"], "d"),
    rule(&["layers.{l}.self_attn.key_layernorm.weight"], &["blk.{l}.attn_k_norm.weight"], "d"),
    rule(&["^lm_head.weight"], &["output.weight"], "vocab n").need(Need::Unless("tie_word_embeddings")),
];
