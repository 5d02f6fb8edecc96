//! Qwen 3 TTS, the talker: a Qwen 3 that reads text and writes codes of sound. Its table of embeddings is that of the text behind
//! two layers, and below it that of the codes, which are tokens of their own (`vocab::codes`); its head knows codes alone.
//! Specification: `Qwen3TTSTalkerModel` of llama.cpp's converter.

use super::qwen::QWEN3;
use super::{Arch, NONE, Uses};
use crate::arch::computed::{Activation, Layer, folded, held, joined};
use crate::arch::keys::{Fixed, Key, is, make};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Rule, rule};
use ggraft_formats::{Array, Checkpoint, Result, Tensor, Value};

pub const QWEN3_TTS: Arch = Arch {
    classes: &["Qwen3TTSForConditionalGeneration"],
    gguf: "qwen3tts",
    base: Some(&QWEN3),
    prefixes: &["talker.model."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ignored: &["speaker_encoder.*", "talker.code_predictor.*"],
    prepared,
    folded: &["token_embd.weight"],
    uses: Uses::Text,
    ..NONE
};

/// So many tokens at the end of the table are no sounds, but for the end of a text.
const UNSAID: u32 = 1024;

const KEYS: &[Key] = &[
    make("^tokenizer.ggml.suppress_tokens", |params| {
        let (all, end) = (params.count("vocab", 0)?, end(params)?);
        let unsaid = (all.saturating_sub(UNSAID)..all).filter(|id| *id != end);
        Ok(Some(Value::Array(Array::I32(unsaid.map(|id| id as i32).collect()))))
    }),
    make("^tokenizer.ggml.eos_token_id", |params| Ok(Some(Value::U32(end(params)?)))),
    is("^tokenizer.ggml.add_eos_token", Fixed::Flag(false)),
];

/// The token that ends a text.
fn end(params: &Params<'_>) -> Result<u32> {
    const KEY: &str = "codec_eos_token_id";
    let code = params.config.whole_at(KEY, 0)?;
    let code = code.ok_or_else(|| params.config.missing(KEY, "the number of a code"))?;
    Ok(params.count("text", 0)?.saturating_add(code))
}

const AXES: &[Axis] = &[
    axis("text", Size::Of(&["text_vocab_size"])),
    axis("codes", Size::Of(&["talker_config.vocab_size"])),
    axis("vocab", Size::Add("text", "codes")),
];

const RULES: &[Rule] = &[
    rule(&["codec_embedding.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["^talker.codec_head.weight"], &["output.weight"], "codes n"),
];

/// What the table of tokens is made of; the rules call it by the last.
const TEXT: &str = "talker.model.text_embedding.weight";
const CODES: &str = "talker.model.codec_embedding.weight";
const LAYERS: [&str; 2] = ["talker.text_projection.linear_fc1", "talker.text_projection.linear_fc2"];

/// The checkpoint with one table of tokens, in the place of the last tensor that it is made of.
fn prepared(params: &Params<'_>, checkpoint: &Checkpoint) -> Result<Option<Checkpoint>> {
    let told = params.config.text("hidden_act")?.unwrap_or_default();
    let wrong = || params.config.unsupported("hidden_act").expected("silu, gelu or relu").found(told);
    let between = Activation::named(told).ok_or_else(wrong)?;
    let layer = |stem: &str, then| {
        let part = |part: &str| held(checkpoint, &format!("{stem}.{part}"));
        Ok(Layer { weight: part("weight")?, bias: Some(part("bias")?), then })
    };
    let [first, second] = LAYERS;
    let layers = vec![layer(first, between)?, layer(second, Activation::None)?];
    let text = folded(TEXT, held(checkpoint, TEXT)?, layers)?;
    let table = joined(CODES, vec![text, held(checkpoint, CODES)?])?;
    let is_part = |tensor: &Tensor| {
        let of_layer = |stem: &str| tensor.name.strip_prefix(stem).is_some_and(|rest| rest.starts_with('.'));
        tensor.name == TEXT || tensor.name == CODES || LAYERS.into_iter().any(of_layer)
    };
    let last = checkpoint.tensors.iter().rposition(is_part);
    let mut tensors = Vec::with_capacity(checkpoint.tensors.len());
    for (at, tensor) in checkpoint.tensors.iter().enumerate() {
        if Some(at) == last {
            tensors.push(table.clone());
        } else if !is_part(tensor) {
            tensors.push(tensor.clone());
        }
    }
    Ok(Some(Checkpoint { tensors, ..checkpoint.clone() }))
}
