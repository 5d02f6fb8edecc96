//! Granite Speech: a conformer with places relative to each other, of which each block's norm of batches is folded into a
//! factor and an offset, and two layers of a transformer whose few queries gather what a window of sound says.
//! Specification: `GraniteSpeechMmprojModel`, `GraniteSpeechPlusMmprojModel` of llama.cpp's converter.

use super::siglip::TEXT;
use super::whisper::HEARING;
use crate::arch::computed::with_folded_norms;
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, make};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Array, Checkpoint, DType, Result, Value};

pub const GRANITE_SPEECH: Arch = Arch {
    classes: &["GraniteSpeechForConditionalGeneration"],
    gguf: "clip",
    base: Some(&HEARING),
    prefixes: &["", "model."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    shares: &[CONFORMER, QUERIES],
    ignored: IGNORED,
    prepared,
    ..NONE
};

/// What several layers give is laid side by side.
pub const GRANITE_SPEECH_PLUS: Arch = Arch {
    classes: &["GraniteSpeechPlusForConditionalGeneration"],
    gguf: "clip",
    base: Some(&GRANITE_SPEECH),
    keys: &[make("audio.feature_layer", layers)],
    prepared,
    ..NONE
};

fn prepared(_: &Params<'_>, checkpoint: &Checkpoint) -> Result<Option<Checkpoint>> {
    with_folded_norms(checkpoint, |prefix| prefix.ends_with(".conv.batch_norm"))
}

/// The layers whose outputs lie beside that of the last; the projector must be as wide as all of them.
fn layers(params: &Params<'_>) -> Result<Option<Value>> {
    const KEY: &str = "encoder_config.cat_hidden_layers";
    let Some(all) = params.config.get(KEY).and_then(|all| all.as_array()) else { return Ok(None) };
    let told: Option<Vec<i32>> = all.iter().map(|n| n.as_i64()?.try_into().ok()).collect();
    let told = told.filter(|all| !all.is_empty());
    let wide = params.size("n", 0)?.saturating_mul(all.len() as u64 + 1);
    if told.is_some() && params.size("pe", 0)? != wide {
        let error = params.config.wrong("projector_config.encoder_hidden_size", "the width of all of them");
        return Err(error.expected(wide).found(params.size("pe", 0)?));
    }
    Ok(told.map(|told| Value::Array(Array::I32(told))))
}

/// Tables that are computed, the counters of training, and adapters that are files of their own.
const IGNORED: &[&str] = &["*attention_dists*", "*num_batches_tracked*", TEXT[0], TEXT[1], "lm_head.*"];

const KEYS: &[Key] = &[
    is("projector_type", Fixed::Text("granite_speech")),
    count("audio.num_mel_bins", &["encoder_config.input_dim"]).must(),
    is("audio.attention.layer_norm_epsilon", Fixed::Number(1e-5)),
    count("audio.chunk_size", &["encoder_config.context_size"]).must(),
    count("audio.conv_kernel_size", &["encoder_config.conv_kernel_size"]).must(),
    count("audio.max_pos_emb", &["encoder_config.max_pos_emb"]).must(),
    count("audio.projector.window_size", &["window_size"]).must(),
    count("audio.projector.downsample_rate", &["downsample_rate"]).must(),
    count("audio.projector.head_count", &["projector_config.num_attention_heads"]).must(),
];

const AXES: &[Axis] = &[
    axis("l", Size::Of(&["encoder_config.num_layers"])),
    axis("n", Size::Of(&["encoder_config.hidden_dim"])),
    axis("times", Size::Of(&["encoder_config.feedforward_mult"])),
    axis("ff", Size::Mul("n", "times")),
    axis("h", Size::Of(&["encoder_config.num_heads"])),
    axis("d", Size::Or(&["encoder_config.dim_head"], &Size::Div("n", "h")))
        .or("n", "a multiple of {h} heads"),
    axis("mel", Size::Of(&["encoder_config.input_dim"])),
    axis("heard", Size::Of(&["encoder_config.output_dim"])),
    axis("one", Size::Is(1)),
    axis("far", Size::Of(&["encoder_config.max_pos_emb"])),
    axis("back", Size::Mul("two", "far")),
    axis("places", Size::Add("back", "one")),
    axis("wider", Size::Of(&["encoder_config.conv_expansion_factor"])),
    axis("inner", Size::Mul("n", "wider")),
    axis("kernel", Size::Of(&["encoder_config.conv_kernel_size"])),
    axis("p", Size::Of(&["projector_config.num_hidden_layers"])),
    axis("pn", Size::Of(&["projector_config.hidden_size"])),
    axis("pm", Size::Same("pn")),
    axis("pe", Size::Of(&["projector_config.encoder_hidden_size"])),
    axis("pff", Size::Of(&["projector_config.intermediate_size"])),
    axis("window", Size::Of(&["window_size"])),
    axis("rate", Size::Of(&["downsample_rate"])),
    axis("queries", Size::Make(|params, _| Ok(params.size("window", 0)? / params.size("rate", 0)?.max(1)))),
];

const RULES: &[Rule] = &[
    rule(&["encoder.input_linear.weight"], &["a.input_projection.weight"], "n mel").bias(Need::Must),
    rule(&["encoder.out.weight"], &["a.enc_ctc_out.weight"], "heard n").bias(Need::Must),
    rule(&["encoder.out_mid.weight"], &["a.enc_ctc_out_mid.weight"], "n heard").bias(Need::Must),
    rule(&["projector.query"], &["a.proj_query"], "1 queries pn"),
    rule(&["projector.qformer.layernorm.weight"], &["a.proj_norm.weight"], "pn").bias(Need::Must),
    rule(&["projector.linear.weight"], &["a.proj_linear.weight"], "text pn").bias(Need::Must),
];

const CONFORMER: &[Rule] = &[
    rule(&["encoder.layers.{l}.ff1.pre_norm.weight"], &["a.blk.{l}.ffn_norm.weight"], "n").bias(Need::Must),
    rule(&["encoder.layers.{l}.ff1.up_proj.weight"], &["a.blk.{l}.ffn_up.weight"], "ff n").bias(Need::Must),
    rule(&["encoder.layers.{l}.ff1.down_proj.weight"], &["a.blk.{l}.ffn_down.weight"], "n ff")
        .bias(Need::Must),
    rule(&["encoder.layers.{l}.attn.pre_norm.weight"], &["a.blk.{l}.ln1.weight"], "n").bias(Need::Must),
    rule(&["encoder.layers.{l}.attn.to_q.weight"], &["a.blk.{l}.attn_q.weight"], "(h d) n"),
    rule(
        &["encoder.layers.{l}.attn.to_kv.weight"],
        &["a.blk.{l}.attn_k.weight", "a.blk.{l}.attn_v.weight"],
        "[(h d)|(h d)] n -> (h d) n ; (h d) n",
    ),
    rule(&["encoder.layers.{l}.attn.to_out.weight"], &["a.blk.{l}.attn_out.weight"], "n (h d)")
        .bias(Need::Must),
    rule(&["encoder.layers.{l}.attn.rel_pos_emb.weight"], &["a.blk.{l}.attn_rel_pos_emb"], "places d"),
    rule(&["encoder.layers.{l}.conv.norm.weight"], &["a.blk.{l}.norm_conv.weight"], "n").bias(Need::Must),
    rule(
        &["encoder.layers.{l}.conv.up_conv.weight"],
        &["a.blk.{l}.conv_pw1.weight"],
        "(two inner) n 1 -> (two inner) n",
    )
    .bias(Need::Must)
    .stored(DType::F32),
    rule(
        &["encoder.layers.{l}.conv.depth_conv.conv.weight"],
        &["a.blk.{l}.conv_dw.weight"],
        "inner 1 kernel -> inner kernel",
    )
    .stored(DType::F32),
    rule(&["encoder.layers.{l}.conv.batch_norm.weight"], &["a.blk.{l}.conv_norm.weight"], "inner")
        .bias(Need::Must),
    rule(
        &["encoder.layers.{l}.conv.down_conv.weight"],
        &["a.blk.{l}.conv_pw2.weight"],
        "n inner 1 -> n inner",
    )
    .bias(Need::Must)
    .stored(DType::F32),
    rule(&["encoder.layers.{l}.ff2.pre_norm.weight"], &["a.blk.{l}.ffn_norm_1.weight"], "n").bias(Need::Must),
    rule(&["encoder.layers.{l}.ff2.up_proj.weight"], &["a.blk.{l}.ffn_up_1.weight"], "ff n").bias(Need::Must),
    rule(&["encoder.layers.{l}.ff2.down_proj.weight"], &["a.blk.{l}.ffn_down_1.weight"], "n ff")
        .bias(Need::Must),
    rule(&["encoder.layers.{l}.post_norm.weight"], &["a.blk.{l}.ln2.weight"], "n").bias(Need::Must),
];

/// A part of a layer of queries: the checkpoint's name, GGUF's, the elements.
macro_rules! queried {
    ($($from:literal => $to:literal, $axes:literal);* $(;)?) => {
        &[$(
            rule(
                &[concat!("projector.qformer.encoder.layer.{p}.", $from)],
                &[concat!("a.proj_blk.{p}.", $to)],
                $axes,
            )
            .bias(Need::Must),
        )*]
    };
}

const QUERIES: &[Rule] = queried!(
    "attention.attention.query.weight" => "self_attn_q.weight", "pn pm";
    "attention.attention.key.weight" => "self_attn_k.weight", "pn pm";
    "attention.attention.value.weight" => "self_attn_v.weight", "pn pm";
    "attention.output.dense.weight" => "self_attn_out.weight", "pn pm";
    "attention.output.LayerNorm.weight" => "self_attn_norm.weight", "pn";
    "crossattention.attention.query.weight" => "cross_attn_q.weight", "pn pm";
    "crossattention.attention.key.weight" => "cross_attn_k.weight", "pn pe";
    "crossattention.attention.value.weight" => "cross_attn_v.weight", "pn pe";
    "crossattention.output.dense.weight" => "cross_attn_out.weight", "pn pm";
    "crossattention.output.LayerNorm.weight" => "cross_attn_norm.weight", "pn";
    "intermediate_query.dense.weight" => "ffn_up.weight", "pff pn";
    "output_query.dense.weight" => "ffn_down.weight", "pn pff";
    "output_query.LayerNorm.weight" => "ffn_norm.weight", "pn";
);
