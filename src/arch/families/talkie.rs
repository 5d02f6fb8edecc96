//! Talkie: norms without weights, and gains instead: of what attention and the feed-forward add, of each head, of the
//! embeddings in each layer, of the logits. It rotates the other way round, which the signs of half of each head make up for.
//! Specification: `TalkieModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, is, make};
use crate::arch::moved;
use crate::arch::params::{Params, Size, axis};
use crate::arch::rule::{Rule, rule};
use crate::arch::scaled::{Factor, Times};
use crate::arch::values::Value;
use ggraft_formats::{Result, Tensor, Value as Told};

pub const TALKIE: Arch = Arch {
    classes: &["TalkieForCausalLM"],
    keeps: |model| {
        let gain = model.metadata.get("talkie.logit_scale").and_then(Told::as_f64);
        let tensor = |gain: f64| Tensor::in_memory(GAIN, moved::shape(GAIN, &[1])?, &[gain as f32]);
        gain.map(tensor).transpose().map(|tensor| tensor.into_iter().collect())
    },
    gguf: "talkie",
    base: Some(&DECODER),
    prefixes: &["model."],
    keys: KEYS,
    early: &[make("logit_scale", |params| {
        let gain = params.numbers(GAIN)?.and_then(|gain| gain.first().copied());
        gain.map(|gain| Some(Told::F32(gain))).ok_or_else(|| missing(params))
    })],
    axes: &[axis("one", Size::Is(1))],
    rules: RULES,
    without: &["output_norm.weight", "blk.{l}.attn_norm.weight", "blk.{l}.ffn_norm.weight"],
    ignored: &[GAIN],
    ..NONE
};

/// The gain of the logits, which a GGUF has as a key.
const GAIN: &str = "lm_head_gain.w_g";

fn missing(params: &Params<'_>) -> ggraft_formats::Error {
    let file = params.checkpoint().map(|checkpoint| checkpoint.dir.clone()).unwrap_or_default();
    ggraft_formats::Error::invalid("the gain of the logits is missing").file(&file).tensor(GAIN)
}

/// Its norms take the epsilon that torch takes when it is told none.
const KEYS: &[Key] = &[is("attention.layer_norm_rms_epsilon", Fixed::Number(f32::EPSILON))];

/// The second half of each head is turned round.
fn halves(params: &Params<'_>, heads: &str) -> Result<Vec<Factor>> {
    let (heads, head) = (params.size(heads, 0)?, params.size("d", 0)?);
    let half = |i: u64| Factor { by: -1.0, rows: i * head + head / 2..(i + 1) * head };
    Ok((0..heads).map(half).collect())
}

const QUERIES: Times =
    Times { name: "w, the second half of each head negative", factors: |params, _| halves(params, "h") };
const KEYS_TURNED: Times =
    Times { name: "w, the second half of each head negative", factors: |params, _| halves(params, "g") };

const RULES: &[Rule] = &[
    rule(&["embed.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["^lm_head", "^lm_head.weight"], &["output.weight"], "vocab n"),
    rule(&["blocks.{l}.attn.attn_query.weight"], &["blk.{l}.attn_q.weight"], "(h d) n")
        .value(Value::Times(&QUERIES)),
    rule(&["blocks.{l}.attn.attn_key.weight"], &["blk.{l}.attn_k.weight"], "(g d) n")
        .value(Value::Times(&KEYS_TURNED)),
    rule(&["blocks.{l}.attn.attn_value.weight"], &["blk.{l}.attn_v.weight"], "(g d) n"),
    rule(&["blocks.{l}.attn.attn_resid.weight"], &["blk.{l}.attn_output.weight"], "n (h d)"),
    rule(&["blocks.{l}.attn.head_gain.head_g"], &["blk.{l}.attn_q_norm.weight"], "h -> h 1"),
    rule(&["blocks.{l}.attn_gain.a_g"], &["blk.{l}.attn_output.scale"], "one"),
    rule(&["blocks.{l}.mlp.mlp_gate.weight"], &["blk.{l}.ffn_gate.weight"], "ff n"),
    rule(&["blocks.{l}.mlp.mlp_linear.weight"], &["blk.{l}.ffn_up.weight"], "ff n"),
    rule(&["blocks.{l}.mlp.mlp_resid.weight"], &["blk.{l}.ffn_down.weight"], "n ff"),
    rule(&["blocks.{l}.mlp_gain.a_g"], &["blk.{l}.ffn_down.scale"], "one"),
    rule(&["blocks.{l}.embed_skip.a_g"], &["blk.{l}.layer_output_scale.weight"], "one"),
];
