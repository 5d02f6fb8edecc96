//! DeepSeek V3.2 and GLM-5: DeepSeek V2's latent attention to the tokens that an indexer selects, and a layer for predicting
//! two tokens.
//! Specification: `DeepseekV32Model`, `GlmMoeDsaModel` of llama.cpp's converter.

use super::deepseek::DEEPSEEK2;
use super::told::Told;
use super::{Arch, NONE, mtp};
use crate::arch::keys::{Key, count, make};
use crate::arch::params::{Axis, Size, axis};
use crate::arch::rope::Rope;
use crate::arch::rule::{Layers, Need, Rule, rule};
use ggraft_formats::{Array, Value};

pub const DEEPSEEK32: Arch = Arch {
    classes: &["DeepseekV32ForCausalLM"],
    gguf: "deepseek32",
    base: Some(&INDEXED),
    keys: &[NEXTN, HEADS, WIDTH, CHOSEN],
    ..NONE
};

pub const GLM_DSA: Arch = Arch {
    classes: &["GlmMoeDsaForCausalLM"],
    gguf: "glm-dsa",
    regains: |model, layers| Told::of(model, layers).indexers(),
    base: Some(&INDEXED),
    keys: GLM_KEYS,
    ..NONE
};

const INDEXED: Arch =
    Arch { base: Some(&DEEPSEEK2), axes: AXES, shares: &[&indexer(SELECTS), mtp::RULES], ..NONE };

const NEXTN: Key = make("nextn_predict_layers", mtp::count);
pub const HEADS: Key = count("attention.indexer.head_count", &["index_n_heads"]).must();
pub const WIDTH: Key = count("attention.indexer.key_length", &["index_head_dim"]).must();
pub const CHOSEN: Key = count("attention.indexer.top_k", &["index_topk"]).must();

const GLM_KEYS: &[Key] = &[
    make("rope.dimension_count", |params| {
        let share = Rope::read(params.config)?.partial()?.map_or(1.0, |(share, _, _)| share);
        Ok(Some(Value::U32((params.size("rope", 0)? as f64 * share) as u32)))
    }),
    NEXTN,
    HEADS,
    WIDTH,
    CHOSEN,
    make("attention.indexer.types", |params| {
        let all = params.config.texts(TYPES)?;
        Ok(all.map(|all| Value::Array(Array::Bool(all.iter().map(|kind| *kind == FULL).collect()))))
    }),
];

const AXES: &[Axis] = &[
    axis("main", Size::Of(&["num_hidden_layers"])),
    axis("mtp", Size::Make(mtp::held)),
    axis("l", Size::Add("main", "mtp")),
    axis("ih", Size::Of(&["index_n_heads"])),
    axis("i", Size::Of(&["index_head_dim"])),
];

const TYPES: &str = "indexer_types";
const FULL: &str = "full";

/// The layers that select for themselves; others take what the one before them selected.
const SELECTS: Layers = Layers::When(|params, layer| {
    let all = params.config.texts(TYPES)?.unwrap_or_default();
    Ok(all.get(layer as usize).is_none_or(|kind| *kind == FULL))
});

/// What selects the tokens to attend to, in these layers.
pub const fn indexer(layers: Layers) -> [Rule; 4] {
    [
        rule(&["layers.{l}.self_attn.indexer.k_norm.weight"], &["blk.{l}.indexer.k_norm.weight"], "i")
            .bias(Need::Must)
            .layers(layers),
        rule(&["layers.{l}.self_attn.indexer.weights_proj.weight"], &["blk.{l}.indexer.proj.weight"], "ih n")
            .layers(layers),
        rule(&["layers.{l}.self_attn.indexer.wk.weight"], &["blk.{l}.indexer.attn_k.weight"], "i n")
            .layers(layers),
        rule(
            &["layers.{l}.self_attn.indexer.wq_b.weight"],
            &["blk.{l}.indexer.attn_q_b.weight"],
            "(ih i) qr",
        )
        .layers(layers),
    ]
}
