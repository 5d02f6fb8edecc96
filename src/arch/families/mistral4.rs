//! Mistral 4: DeepSeek's latent attention and experts, whose gates and ups stay in one.
//! Specification: `Mistral4Model` of llama.cpp's converter.

use super::deepseek::DEEPSEEK2;
use super::experts::SPARSE;
use super::mistral3::MISTRAL3;
use super::{Arch, NONE};
use crate::arch::rule::{Rule, rule};

pub const MISTRAL4: Arch = Arch {
    // The first is that of the text alone, which goes back so; the converter knows the second.
    classes: &["Mistral4ForCausalLM", "Mistral3ForConditionalGeneration"],
    gguf: "mistral4",
    applies: Some(|config| Ok(config.text("model_type")? == Some("mistral4"))),
    base: Some(&DEEPSEEK2),
    prefixes: MISTRAL3.prefixes,
    rules: RULES,
    without: &["blk.{l}.ffn_gate_exps.weight", "blk.{l}.ffn_up_exps.weight", "blk.{l}.exp_probs_b.bias"],
    ignored: MISTRAL3.ignored,
    ..NONE
};

const RULES: &[Rule] = &[
    rule(&["layers.{l}.mlp.experts.gate_up_proj"], &["blk.{l}.ffn_gate_up_exps.weight"], "e (two eff) n")
        .layers(SPARSE),
    rule(&["layers.{l}.mlp.experts.down_proj"], &["blk.{l}.ffn_down_exps.weight"], "e n eff").layers(SPARSE),
];
