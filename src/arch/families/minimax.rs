//! MiniMax M2: Mixtral's experts, chosen by corrected scores; norms of queries and keys that span all heads. M3: the first
//! layers are dense, the others have an expert for all tokens and an index of blocks to attend to; norms are of a head, and
//! multiply with 1 + w.
//! Specification: `MiniMaxM2Model`, `MiniMaxM3Model` of llama.cpp's converter; `minimax_m3_vl` of transformers 5.

use super::decoder::DECODER;
use super::qwen_vl::SEEING;
use super::{Arch, NONE, experts};
use crate::arch::keys::{Fixed, Key, count, is, number, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Need, Rule, rule};
use crate::arch::values::Value;
use ggraft_formats::{DType, Model, Result};
use serde_json::{Value as Json, json};

pub const MINIMAX_M2: Arch = Arch {
    classes: &["MiniMaxM2ForCausalLM"],
    gguf: "minimax-m2",
    base: Some(&DECODER),
    keys: KEYS,
    rules: RULES,
    shares: &[experts::MIXTRAL],
    without: experts::NO_DENSE,
    ..NONE
};

pub const MINIMAX_M3: Arch = Arch {
    classes: &["MiniMaxM3SparseForCausalLM", "MiniMaxM3SparseForConditionalGeneration"],
    gguf: "minimax-m3",
    regains: kinds,
    base: Some(&MINIMAX_M2),
    keys: M3_KEYS,
    axes: M3_AXES,
    rules: M3_RULES,
    shares: &[
        &experts::dense(DENSE),
        &experts::block_sparse(SPARSE),
        M3_CORRECTION,
        &experts::block_shared(SPARSE, "(shared sff) n", "n (shared sff)"),
    ],
    ignored: SEEING,
    ..NONE
};

const KEYS: &[Key] = &[
    count("expert_feed_forward_length", &["intermediate_size"]).must(),
    count("rope.dimension_count", &["rotary_dim"]).must(),
];

const RULES: &[Rule] = &[
    rule(&["layers.{l}.self_attn.q_norm.weight"], &["blk.{l}.attn_q_norm.weight"], "(h d)"),
    rule(&["layers.{l}.self_attn.k_norm.weight"], &["blk.{l}.attn_k_norm.weight"], "(g d)"),
    rule(
        &[
            "layers.{l}.block_sparse_moe.e_score_correction_bias",
            "layers.{l}.mlp.e_score_correction_bias",
            "layers.{l}.mlp.gate.e_score_correction_bias",
        ],
        &["blk.{l}.exp_probs_b.bias"],
        "e",
    )
    .may(),
];

/// Where the config keeps the numbers of the index; transformers 5 has them beside the others.
const HEADS: &[&str] = &["sparse_attention_config.sparse_num_index_heads", "index_n_heads"];
const WIDTH: &[&str] = &["sparse_attention_config.sparse_index_dim", "index_head_dim"];
const CHOSEN: &[&str] = &["sparse_attention_config.sparse_topk_blocks", "index_topk_blocks"];
const BLOCK: &[&str] = &["sparse_attention_config.sparse_block_size", "index_block_size"];
const LOCAL: &[&str] = &["sparse_attention_config.sparse_local_block", "index_local_blocks"];

const M3_KEYS: &[Key] = &[
    count("expert_shared_count", &["n_shared_experts"]).or(Fixed::Count(1)),
    number("expert_weights_scale", &["routed_scaling_factor"]).must(),
    is("expert_weights_norm", Fixed::Flag(true)),
    count("attention.indexer.head_count", HEADS).must(),
    count("attention.indexer.key_length", WIDTH).must(),
    count("attention.indexer.top_k", CHOSEN).must(),
    count("attention.indexer.block_size", BLOCK).must(),
    count("attention.indexer.local_blocks", LOCAL).must(),
    size("leading_dense_block_count", "dense"),
];

const M3_AXES: &[Axis] = &[
    axis("ff", Size::Or(&["dense_intermediate_size"], &Size::Of(&["intermediate_size"]))),
    axis("eff", Size::Of(&["intermediate_size"])),
    axis("shared", Size::Or(&["n_shared_experts"], &Size::Is(1))),
    axis("sff", Size::Or(&["shared_intermediate_size"], &Size::Same("eff"))),
    axis("dense", Size::Make(leading)),
    axis("ih", Size::Of(HEADS)),
    axis("i", Size::Of(WIDTH)),
];

/// Which layers have experts, from their tensors.
fn kinds(model: &Model, layers: u32) -> Vec<(&'static str, Json)> {
    let kind = |layer: u32| {
        let router = format!("blk.{layer}.ffn_gate_inp.weight");
        json!(if model.tensors.iter().any(|tensor| tensor.name == router) { "sparse" } else { "dense" })
    };
    vec![("mlp_layer_types", (0..layers).map(kind).collect())]
}

/// Whether a layer has experts: as one list says, or the other.
fn has_experts(params: &Params<'_>, layer: u32) -> Result<bool> {
    if params.config.get("moe_layer_freq").is_some() {
        return Ok(params.config.whole_at("moe_layer_freq", layer)?.unwrap_or(0) > 0);
    }
    let kinds = params.config.texts("mlp_layer_types")?.unwrap_or_default();
    Ok(kinds.get(layer as usize).is_none_or(|kind| *kind != "dense"))
}

/// How many layers at the beginning have none.
fn leading(params: &Params<'_>, _layer: u32) -> Result<u64> {
    let layers = params.count("l", 0)?;
    for layer in 0..layers {
        if has_experts(params, layer)? {
            return Ok(layer.into());
        }
    }
    Ok(layers.into())
}

/// Whether a layer attends to the blocks that an index selects: as one list says, or the other; else one with experts does.
fn selects(params: &Params<'_>, layer: u32) -> Result<bool> {
    const LISTED: &str = "sparse_attention_config.sparse_attention_freq";
    if params.config.get(LISTED).is_some() {
        return Ok(params.config.whole_at(LISTED, layer)?.unwrap_or(0) > 0);
    }
    match params.config.texts("layer_types")? {
        Some(kinds) => Ok(kinds.get(layer as usize) == Some(&"minimax_m3_sparse")),
        None => has_experts(params, layer),
    }
}

const SPARSE: Layers = Layers::When(has_experts);
const DENSE: Layers = Layers::When(|params, layer| has_experts(params, layer).map(|has| !has));
const SELECTS: Layers = Layers::When(selects);
const ONE: Value = Value::Plus(1.0);

const M3_RULES: &[Rule] = &[
    rule(&["norm.weight"], &["output_norm.weight"], "n").value(ONE),
    rule(&["layers.{l}.input_layernorm.weight"], &["blk.{l}.attn_norm.weight"], "n").value(ONE),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n").value(ONE),
    rule(&["layers.{l}.self_attn.q_norm.weight"], &["blk.{l}.attn_q_norm.weight"], "d").value(ONE),
    rule(&["layers.{l}.self_attn.k_norm.weight"], &["blk.{l}.attn_k_norm.weight"], "d").value(ONE),
    rule(&["layers.{l}.self_attn.index_q_proj.weight"], &["blk.{l}.indexer.q_proj.weight"], "(ih i) n")
        .stored(DType::F32)
        .layers(SELECTS),
    rule(&["layers.{l}.self_attn.index_k_proj.weight"], &["blk.{l}.indexer.k_proj.weight"], "i n")
        .stored(DType::F32)
        .layers(SELECTS),
    rule(&["layers.{l}.self_attn.index_q_norm.weight"], &["blk.{l}.indexer.q_norm.weight"], "i")
        .value(ONE)
        .layers(SELECTS),
    rule(&["layers.{l}.self_attn.index_k_norm.weight"], &["blk.{l}.indexer.k_norm.weight"], "i")
        .value(ONE)
        .layers(SELECTS),
];

const M3_CORRECTION: &[Rule] =
    &[rule(&["layers.{l}.block_sparse_moe.e_score_correction_bias"], &["blk.{l}.exp_probs_b.bias"], "e")
        .need(Need::May)
        .layers(SPARSE)];
