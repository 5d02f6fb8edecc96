//! SmallThinker: every layer has experts, which are chosen by what goes into the layer; some layers attend within a window.
//! Specification: `SmallThinkerModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::{Arch, NONE, experts};
use crate::arch::keys::{Key, count, make, size};
use crate::arch::params::{Axis, Size, axis};
use crate::arch::rule::{Rule, rule};
use ggraft_formats::{Model, Value};
use serde_json::{Value as Json, json};

pub const SMALLTHINKER: Arch = Arch {
    classes: &["SmallThinkerForCausalLM"],
    regains: window,
    gguf: "smallthinker",
    base: Some(&DECODER),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    without: experts::NO_DENSE,
    ..NONE
};

/// The window, and the layers that have it: the runtime takes all but every fourth, from the first on.
fn window(model: &Model, layers: u32) -> Vec<(&'static str, Json)> {
    match model.metadata.u64("smallthinker.attention.sliding_window") {
        None => Vec::new(),
        Some(size) => {
            let layout = (0..layers).map(|layer| json!(u8::from(!layer.is_multiple_of(4)))).collect();
            vec![("sliding_window_size", size.into()), ("sliding_window_layout", layout)]
        }
    }
}

const KEYS: &[Key] = &[
    size("expert_count", "e"),
    count("expert_used_count", &["moe_num_active_primary_experts"]),
    size("expert_feed_forward_length", "eff"),
    size("feed_forward_length", "eff"),
    make("expert_gating_func", |params| {
        let soft = params.config.flag("moe_primary_router_apply_softmax")?;
        Ok(Some(Value::U32(if soft { 1 } else { 2 })))
    }),
    make("attention.sliding_window", |params| {
        let layout = params.config.get("sliding_window_layout").and_then(|v| v.as_array());
        let some = layout.into_iter().flatten().any(|kind| kind.as_u64() != Some(0));
        let window = params.config.whole_at("sliding_window_size", 0)?;
        Ok(window.filter(|n| some && *n > 0).map(Value::U32))
    }),
];

const AXES: &[Axis] = &[
    axis("e", Size::Of(&["moe_num_primary_experts", "num_local_experts", "num_experts"])),
    axis("eff", Size::Of(&["moe_ffn_hidden_size"])),
];

const RULES: &[Rule] = &[
    rule(&["layers.{l}.block_sparse_moe.primary_router.weight"], &["blk.{l}.ffn_gate_inp.weight"], "e n"),
    rule(
        &["layers.{l}.block_sparse_moe.experts.{e}.gate.weight"],
        &["blk.{l}.ffn_gate_exps.weight"],
        "eff n -> e eff n",
    ),
    rule(
        &["layers.{l}.block_sparse_moe.experts.{e}.up.weight"],
        &["blk.{l}.ffn_up_exps.weight"],
        "eff n -> e eff n",
    ),
    rule(
        &["layers.{l}.block_sparse_moe.experts.{e}.down.weight"],
        &["blk.{l}.ffn_down_exps.weight"],
        "n eff -> e n eff",
    ),
];
