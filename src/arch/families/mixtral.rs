//! Mixtral: llama with experts, which a GGUF calls llama too. Trainers keep each expert's three matrices as tensors of
//! their own; transformers 5 keeps them stacked, gate and up in one.
//! Specification: `LlamaModel` of llama.cpp's converter; `conversion_mapping` of transformers 5.

use super::llama::LLAMA;
use super::{Arch, NONE};
use crate::arch::rule::{Rule, rule};

pub const MIXTRAL: Arch = Arch {
    classes: &["MixtralForCausalLM"],
    gguf: "llama",
    base: Some(&LLAMA),
    without: &["blk.{l}.ffn_gate.weight", "blk.{l}.ffn_up.weight", "blk.{l}.ffn_down.weight"],
    rules: RULES,
    ..NONE
};

const RULES: &[Rule] = &[
    rule(
        &["layers.{l}.block_sparse_moe.gate.weight", "layers.{l}.mlp.gate.weight"],
        &["blk.{l}.ffn_gate_inp.weight"],
        "e n",
    ),
    rule(
        &["layers.{l}.block_sparse_moe.experts.{e}.w1.weight"],
        &["blk.{l}.ffn_gate_exps.weight"],
        "ff n -> e ff n",
    ),
    rule(
        &["layers.{l}.block_sparse_moe.experts.{e}.w2.weight"],
        &["blk.{l}.ffn_down_exps.weight"],
        "n ff -> e n ff",
    ),
    rule(
        &["layers.{l}.block_sparse_moe.experts.{e}.w3.weight"],
        &["blk.{l}.ffn_up_exps.weight"],
        "ff n -> e ff n",
    ),
    rule(
        &["layers.{l}.mlp.experts.gate_up_proj"],
        &["blk.{l}.ffn_{gate|up}_exps.weight"],
        "e [ff|ff] n -> e ff n ; e ff n",
    ),
    rule(&["layers.{l}.mlp.experts.down_proj"], &["blk.{l}.ffn_down_exps.weight"], "e n ff"),
];
