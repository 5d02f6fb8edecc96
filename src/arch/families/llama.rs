//! The llama family: LLaMA 2, Llama 3 to 3.2, SOLAR, EEVE, Mistral, Breeze, Chinese-LLaMA, Yi and all others whose
//! `config.json` says `LlamaForCausalLM` or `MistralForCausalLM`. The two halves of a rotary head lie one after the other
//! in a checkpoint; in GGUF their rows alternate.
//! Specification: `LlamaModel` of llama.cpp's converter.

use super::decoder::{DECODER, ROPE_FREQS};
use super::{Arch, NONE};
use crate::arch::keys::{Absent, From, Key, count, make, positive, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rope::{self, Rope};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Result, Value};

/// The model with its language-modelling head.
pub const LLAMA: Arch = Arch {
    classes: &[
        "LlamaForCausalLM",
        "MistralForCausalLM",
        "LLaMAForCausalLM",
        "IQuestCoderForCausalLM",
        "VLlama3ForCausalLM",
    ],
    gguf: "llama",
    base: Some(&DECODER),
    prefixes: &["model."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    made: &[ROPE_FREQS],
    ..NONE
};

/// The model alone, whose tensors have no common prefix.
pub const HEADLESS: Arch = Arch {
    classes: &["LlamaModel"],
    base: Some(&LLAMA),
    prefixes: &[""],
    without: &["output.weight"],
    ..LLAMA_SIBLING
};

/// The text model of one that sees or hears.
pub const SEEING: Arch = Arch {
    classes: &["LlavaForConditionalGeneration", "VoxtralForConditionalGeneration"],
    base: Some(&LLAMA),
    prefixes: &["model.language_model.", "language_model.model.", "model."],
    ignored: &["*vision_tower.*", "*audio_tower.*", "*multi_modal_projector.*", "*image_newline"],
    ..LLAMA_SIBLING
};

const LLAMA_SIBLING: Arch = Arch { gguf: "llama", ..NONE };

const KEYS: &[Key] = &[
    count("context_length", &["max_position_embeddings"]).must(),
    count("feed_forward_length", &["intermediate_size"]).must(),
    size("attention.head_count_kv", "g"),
    Key { gguf: "rope", from: From::Rope(rope::PLAIN), absent: Absent::Refuse },
    positive("attention.layer_norm_rms_epsilon", &["rms_norm_eps"]).must(),
    size("vocab_size", "vocab"),
    make("rope.dimension_count", whole_heads),
    make("attention.sliding_window", lost_window),
];

pub const AXES: &[Axis] =
    &[axis("pair", Size::Div("d", "two")).or("d", "heads of an even size, because they rotate in pairs")];

/// The halves of a head that rotates alternate.
pub const RULES: &[Rule] = &[
    rule(
        &["layers.{l}.self_attn.q_proj.weight"],
        &["blk.{l}.attn_q.weight"],
        "(h two pair) n -> (h pair two) n",
    )
    .bias(Need::If("attention_bias")),
    rule(
        &["layers.{l}.self_attn.k_proj.weight"],
        &["blk.{l}.attn_k.weight"],
        "(g two pair) n -> (g pair two) n",
    )
    .bias(Need::If("attention_bias")),
];

/// The elements of a head, all of which must rotate.
pub fn whole_heads(params: &Params<'_>) -> Result<Option<Value>> {
    let rope = Rope::read(params.config)?;
    if let Some((share, place, key)) = rope.partial()?.filter(|(share, _, _)| *share != 1.0) {
        return Err(place.unsupported(key).expected("heads that rotate whole").found(share));
    }
    params.count("d", 0).map(|d| Some(Value::U32(d)))
}

fn lost_window(params: &Params<'_>) -> Result<Option<Value>> {
    let context = params.config.count("max_position_embeddings")?;
    if let Some(window) = params.config.optional_count("sliding_window")?
        && window < context
    {
        params.tell(format!(
            "the sliding window of {window} tokens cannot be said in a llama GGUF: \
             beyond it the model attends to all {context} tokens of its context"
        ));
    }
    Ok(None)
}
