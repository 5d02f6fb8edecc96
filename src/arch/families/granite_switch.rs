//! Granite Switch: a Granite whose weights hold several adapters, of which tokens choose one. Each projection's adapters lie
//! in a stack; in GGUF one of zeros, which no token chooses, is in front of them. The layer that chooses has no weights.
//! Specification: `GraniteSwitchModel` of llama.cpp's converter; `models/granite-switch.cpp`.

use super::granite::GRANITE;
use super::{Arch, NONE, granite};
use crate::arch::keys::{Fixed, Key, count, is, make, number};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Rule, rule};
use ggraft_formats::{Array, Result, Value};

pub const GRANITE_SWITCH: Arch = Arch {
    classes: &["GraniteSwitchForCausalLM"],
    gguf: "graniteswitch",
    base: Some(&GRANITE),
    prefixes: &["model.", ""],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    shares: &[ADAPTERS],
    without: &["output.weight", "blk.{l}.attn_q.weight", "blk.{l}.attn_k.weight", "blk.{l}.attn_v.weight"],
    ignored: &[
        "lm_head.weight",
        "switch.*",
        "model.switch.*",
        "*adapter_token_ids",
        "*control_to_substitute_lut",
    ],
    ..NONE
};

const KEYS: &[Key] = &[
    granite::SHARED_WIDTH,
    // Configs keep a number of experts that there are not.
    is("expert_used_count", Fixed::Count(0)),
    count("adapters.count", &["num_adapters"]).must(),
    count("adapters.lora_rank", &["max_lora_rank"]).must(),
    make("adapters.token_ids_activate", |params| ids(params, "adapter_token_ids")),
    make("adapters.token_ids_substitute", |params| ids(params, "adapter_substitute_token_ids")),
    number("adapters.router_gain", &["control_token_gain"]).or(Fixed::Number(15.0)),
];

/// The tokens of the adapters.
fn ids(params: &Params<'_>, key: &str) -> Result<Option<Value>> {
    let told = params.config.wholes(key)?;
    let all = told.ok_or_else(|| params.config.missing(key, "a token for each adapter"))?;
    Ok(Some(Value::Array(Array::I32(all))))
}

const AXES: &[Axis] = &[
    axis("one", Size::Is(1)),
    axis("all", Size::Of(&["num_hidden_layers"])),
    axis("l", Size::Sub("all", "one")),
    axis("d", Size::Or(&["projection_head_dim", "head_dim"], &Size::Div("n", "h")))
        .or("n", "a multiple of {h} heads"),
    axis("pair", Size::Div("d", "two")),
    axis("ff", Size::Of(&["shared_intermediate_size"])),
    // Configs may count none, which no other family may.
    axis("e", Size::Is(0)),
    axis("a", Size::Of(&["num_adapters"])),
    axis("r", Size::Of(&["max_lora_rank"])),
];

const RULES: &[Rule] = &[
    rule(
        &["layers.{l}.self_attn.qkv_proj.base_layer.weight"],
        &["blk.{l}.attn_qkv.weight"],
        "[(h two pair)|(g two pair)|(g d)] n -> [(h pair two)|(g pair two)|(g d)] n",
    ),
    rule(&["layers.{l}.self_attn.o_proj.base_layer.weight"], &["blk.{l}.attn_output.weight"], "n (h d)"),
    rule(
        &["layers.{l}.shared_mlp.input_linear.base_layer.weight"],
        &["blk.{l}.ffn_{gate|up}.weight"],
        "[ff|ff] n -> ff n ; ff n",
    ),
    rule(&["layers.{l}.shared_mlp.output_linear.base_layer.weight"], &["blk.{l}.ffn_down.weight"], "n ff"),
];

/// The adapters of a projection: the checkpoint's name, GGUF's, the elements.
macro_rules! adapted {
    ($($from:literal => $to:literal, $axes:literal);* $(;)?) => {
        &[$(rule(&[concat!("layers.{l}.", $from)], &[concat!("blk.{l}.", $to)], $axes).behind_zeros(),)*]
    };
}

const ADAPTERS: &[Rule] = adapted!(
    "self_attn.qkv_proj.lora_A_slices.0" => "attn_q.lora_a", "a 1 r n -> a r n";
    "self_attn.qkv_proj.lora_A_slices.1" => "attn_k.lora_a", "a 1 r n -> a r n";
    "self_attn.qkv_proj.lora_A_slices.2" => "attn_v.lora_a", "a 1 r n -> a r n";
    "self_attn.qkv_proj.lora_B_slices.0" => "attn_q.lora_b", "a 1 (h two pair) r -> a (h pair two) r";
    "self_attn.qkv_proj.lora_B_slices.1" => "attn_k.lora_b", "a 1 (g two pair) r -> a (g pair two) r";
    "self_attn.qkv_proj.lora_B_slices.2" => "attn_v.lora_b", "a 1 (g d) r -> a (g d) r";
    "self_attn.o_proj.lora_A" => "attn_output.lora_a", "a 1 r (h d) -> a r (h d)";
    "self_attn.o_proj.lora_B" => "attn_output.lora_b", "a 1 n r -> a n r";
    "shared_mlp.input_linear.lora_A_slices.0" => "ffn_gate.lora_a", "a 1 r n -> a r n";
    "shared_mlp.input_linear.lora_A_slices.1" => "ffn_up.lora_a", "a 1 r n -> a r n";
    "shared_mlp.input_linear.lora_B_slices.0" => "ffn_gate.lora_b", "a 1 ff r -> a ff r";
    "shared_mlp.input_linear.lora_B_slices.1" => "ffn_up.lora_b", "a 1 ff r -> a ff r";
    "shared_mlp.output_linear.lora_A" => "ffn_down.lora_a", "a 1 r ff -> a r ff";
    "shared_mlp.output_linear.lora_B" => "ffn_down.lora_b", "a 1 n r -> a n r";
);
