//! MiMo V2.5 that sees and hears: a tower of Qwen 2.5-VL's kind with fewer keys than queries and sinks of attention, and a tower
//! that hears in a folder of its own. What that makes of a sound is looked up in codebooks; a few layers of a transformer project
//! the embeddings of the codes.
//! Specification: `MiMoV2VisionAudioModel` of llama.cpp's converter.

use super::qwen::{FRAMES, GATED, QWEN2};
use super::vision::{columns, rows};
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, make, positive, size};
use crate::arch::moved;
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Array, Checkpoint, DType, Error, Result, Tensor, Value};
use std::sync::Arc;

pub const MIMO_V2: Arch = Arch {
    classes: &["MiMoV2ForCausalLM"],
    gguf: "clip",
    base: Some(&QWEN2),
    prefixes: &["visual."],
    folder: Some("audio_tokenizer"),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    shares: &[GATED, HEARING, CODES, LOCAL],
    ignored: IGNORED,
    without: &["v.blk.{l}.attn_q.weight"],
    prepared: even,
    ..NONE
};

/// The text model, what speaks, and what training keeps of the codebooks.
const IGNORED: &[&str] = &[
    "model.*",
    "lm_head.*",
    "audio_tokenizer.decoder.*",
    "*_codebook.cluster_size",
    "*_codebook.embed_avg",
    "*_codebook.inited",
];

/// The end of a codebook's name.
const CODEBOOK: &str = "._codebook.embed";

/// The codebooks, each with as many rows as the longest has: the others end in zeros.
fn even(_: &Params<'_>, checkpoint: &Checkpoint) -> Result<Option<Checkpoint>> {
    let most = codebooks(checkpoint).map(|tensor| tensor.shape().rows()).max().unwrap_or(0);
    let even = |tensor: &Tensor| {
        let ([row, rows], true) = (tensor.shape().ne(), tensor.name.ends_with(CODEBOOK)) else {
            return Ok(tensor.clone());
        };
        if *rows == most {
            return Ok(tensor.clone());
        }
        let (shape, dtype) = (moved::shape(&tensor.name, &[most, *row])?, tensor.dtype());
        Tensor::new(&tensor.name, shape, dtype, Arc::new(moved::Padded(tensor.clone())))
    };
    let tensors = checkpoint.tensors.iter().map(even).collect::<Result<Vec<Tensor>>>()?;
    Ok(Some(Checkpoint { tensors, ..checkpoint.clone() }))
}

fn codebooks(checkpoint: &Checkpoint) -> impl Iterator<Item = &Tensor> {
    checkpoint.tensors.iter().filter(|tensor| tensor.name.ends_with(CODEBOOK))
}

/// How many codes each codebook has, in the order of their numbers.
fn sizes(params: &Params<'_>) -> Result<Vec<i32>> {
    let Some(checkpoint) = params.checkpoint() else { return Ok(Vec::new()) };
    let number = |tensor: &Tensor| {
        let stem = tensor.name.strip_suffix(CODEBOOK)?;
        stem.rsplit_once('.').and_then(|(_, number)| number.parse::<u64>().ok())
    };
    let mut all: Vec<(Option<u64>, u64)> =
        codebooks(checkpoint).map(|tensor| (number(tensor), tensor.shape().rows())).collect();
    all.sort_unstable();
    let missing = Error::invalid("the checkpoint holds no codebooks").file(&checkpoint.dir);
    if all.is_empty() {
        return Err(missing.hint("the folder audio_tokenizer of the model's repository holds them"));
    }
    Ok(all.into_iter().map(|(_, rows)| i32::try_from(rows).unwrap_or(i32::MAX)).collect())
}

const KEYS: &[Key] = &[
    is("has_audio_encoder", Fixed::Flag(true)),
    size("audio.projection_dim", "text"),
    size("audio.embedding_length", "an"),
    size("audio.feed_forward_length", "aff"),
    size("audio.block_count", "a"),
    size("audio.attention.head_count", "ah"),
    is("vision.projector_type", Fixed::Text("mimovl")),
    is("use_silu", Fixed::Flag(true)),
    size("vision.attention.head_count_kv", "kv"),
    count("vision.spatial_merge_size", &["vision_config.spatial_merge_size"]).must(),
    make("vision.window_size", |params| {
        // What has no window is written as -1, in the bits of a whole number without a sign.
        let told = params.config.get("vision_config.visual_token_window_size").and_then(|v| v.as_i64());
        Ok(Some(Value::U32(told.unwrap_or(-1) as u32)))
    }),
    make("vision.wa_pattern_mode", |params| {
        const KEY: &str = "vision_config.vit_window_attn_types";
        let Some(all) = params.config.get(KEY).and_then(|v| v.as_array()) else { return Ok(None) };
        let told: Option<Vec<i32>> = all.iter().map(|n| n.as_i64()?.try_into().ok()).collect();
        let wrong = || params.config.wrong(KEY, "a whole number for every layer");
        told.map(|all| Some(Value::Array(Array::I32(all)))).ok_or_else(wrong)
    }),
    positive("vision.attention.layer_norm_epsilon", &["vision_config.rms_norm_eps"]).or(Fixed::Number(1e-6)),
    count("vision.image_min_pixels", &["preprocessor_config.min_pixels"]).must(),
    count("vision.image_max_pixels", &["preprocessor_config.max_pixels"]).must(),
    is("audio.projector_type", Fixed::Text("mimo_audio")),
    count("audio.num_mel_bins", &["audio_tokenizer.n_mels"]).must(),
    positive("audio.attention.layer_norm_epsilon", &["audio_tokenizer.layer_norm_eps"])
        .or(Fixed::Number(1e-5)),
    make("audio.rvq.num_quantizers", |params| Ok(Some(Value::U32(sizes(params)?.len() as u32)))),
    make("audio.rvq.codebook_size", |params| Ok(Some(Value::Array(Array::I32(sizes(params)?))))),
    make("audio.wa_pattern_mode", windows),
    make("audio.window_size", window),
    count("audio.local_block_count", &["audio_config.input_local_layers"]).must(),
    count("audio.local_group_size", &["audio_config.group_size"]).must(),
];

/// Which layers that hear attend to a window (0), and which to everything (-1): the last of every few, or all.
fn windows(params: &Params<'_>) -> Result<Option<Value>> {
    let hybrid = params.config.optional_flag("audio_tokenizer.hybrid_attention")?.unwrap_or(false);
    let every = params.config.optional_count("audio_tokenizer.swa_per_block")?.unwrap_or(1);
    let whole = |layer: u32| !hybrid || every <= 1 || layer % every == every - 1;
    let all = (0..params.count("a", 0)?).map(|layer| if whole(layer) { -1 } else { 0 });
    Ok(Some(Value::Array(Array::I32(all.collect()))))
}

/// The tokens before one that it attends to.
fn window(params: &Params<'_>) -> Result<Option<Value>> {
    const KEY: &str = "audio_tokenizer.encoder_attn_window_size";
    let told = params.config.get(KEY).and_then(|all| all.get(0)).and_then(|n| n.as_i64());
    let missing =
        || params.config.missing(KEY, "a list of the tokens before and after one that it attends to");
    told.map(|n| Some(Value::U32(n as u32))).ok_or_else(missing)
}

/// A size that a tensor of the checkpoint tells.
macro_rules! told {
    ($of:ident, $name:literal) => {
        Size::Make(|params, _| $of(params, $name))
    };
}

const AXES: &[Axis] = &[
    axis("kv", Size::Or(&["vision_config.num_key_value_heads"], &Size::Is(8))),
    axis("d", Size::Or(&["vision_config.qk_channels"], &Size::Is(64))),
    axis("a", Size::Of(&["audio_tokenizer.encoder_layers"])),
    axis("an", Size::Of(&["audio_tokenizer.d_model"])),
    axis("am", Size::Same("an")),
    axis("aff", Size::Of(&["audio_tokenizer.encoder_ffn_dim"])),
    axis("ah", Size::Of(&["audio_tokenizer.encoder_attention_heads"])),
    axis("ad", Size::Div("an", "ah")).or("an", "a multiple of {ah} heads"),
    axis("mel", Size::Of(&["audio_tokenizer.n_mels"])),
    axis("kernel", Size::Or(&["audio_tokenizer.kernel_size"], &Size::Is(3))),
    axis("pooled", Size::Or(&["audio_tokenizer.avg_pooler"], &Size::Is(2))),
    axis("q", Size::Make(|params, _| Ok(sizes(params)?.len() as u64))),
    axis("bins", Size::Make(|params, _| Ok(sizes(params)?.into_iter().max().unwrap_or(1) as u64))),
    axis("channel", Size::Of(&["audio_config.audio_channels"])),
    axis("codes", told!(rows, "speech_embeddings.0.weight")),
    axis("near", Size::Of(&["audio_config.input_local_layers"])),
    axis("ln", told!(columns, "speech_embeddings.0.weight")),
    axis("inner", told!(rows, "input_local_transformer.layers.0.self_attn.q_proj.weight")),
    axis("shared", told!(rows, "input_local_transformer.layers.0.self_attn.k_proj.weight")),
    axis("lff", told!(rows, "input_local_transformer.layers.0.mlp.up_proj.weight")),
    axis("grouped", told!(columns, "audio_encoder.projection.mlp.0.weight")),
    axis("wide", told!(rows, "audio_encoder.projection.mlp.0.weight")),
];

const RULES: &[Rule] = &[
    FRAMES,
    rule(&["blocks.{l}.attn.qkv.weight"], &["v.blk.{l}.attn_qkv.weight"], "[(h d)|(kv d)|(kv d)] n")
        .bias(Need::May),
    rule(&["blocks.{l}.attn.proj.weight"], &["v.blk.{l}.attn_out.weight"], "n (h d)").bias(Need::May),
    rule(&["blocks.{l}.attn.sinks"], &["v.blk.{l}.attn_sinks"], "h").may(),
    rule(&["merger.ln_q.weight"], &["v.post_ln.weight"], "n").bias(Need::May),
    rule(&["merger.mlp.0.weight"], &["mm.0.weight"], "hidden merged").bias(Need::May),
    rule(&["merger.mlp.2.weight"], &["mm.2.weight"], "text merged").bias(Need::May),
];

/// A part of the tower that hears: the checkpoint's name, GGUF's, the elements, whether it has a bias.
macro_rules! heard {
    ($($from:literal => $to:literal, $axes:literal, $bias:expr);* $(;)?) => {
        &[$(
            rule(&[concat!("^audio_tokenizer.encoder.", $from)], &[concat!("a.", $to)], $axes).bias($bias),
        )*]
    };
}

const HEARING: &[Rule] = heard!(
    "layer_norm.weight" => "post_ln.weight", "an", Need::Must;
    "layers.{a}.self_attn_layer_norm.weight" => "blk.{a}.ln1.weight", "an", Need::Must;
    "layers.{a}.self_attn.q_proj.weight" => "blk.{a}.attn_q.weight", "(ah ad) an", Need::May;
    "layers.{a}.self_attn.k_proj.weight" => "blk.{a}.attn_k.weight", "(ah ad) an", Need::May;
    "layers.{a}.self_attn.v_proj.weight" => "blk.{a}.attn_v.weight", "(ah ad) an", Need::May;
    "layers.{a}.self_attn.out_proj.weight" => "blk.{a}.attn_out.weight", "an (ah ad)", Need::May;
    "layers.{a}.final_layer_norm.weight" => "blk.{a}.ln2.weight", "an", Need::Must;
    "layers.{a}.fc1.weight" => "blk.{a}.ffn_up.weight", "aff an", Need::May;
    "layers.{a}.fc2.weight" => "blk.{a}.ffn_down.weight", "an aff", Need::May;
    "down_sample_norm.weight" => "downsample.norm.weight", "an", Need::Must;
);

/// A convolution or what codes mean: the checkpoint's name, GGUF's, the elements, whether it must be there.
macro_rules! in_floats {
    ($($from:literal => $to:literal, $axes:literal, $need:expr);* $(;)?) => {
        &[$(rule(&[concat!("^", $from)], &[$to], $axes).need($need).stored(DType::F32),)*]
    };
}

const CODES: &[Rule] = in_floats!(
    "audio_tokenizer.encoder.conv1.weight" => "a.conv1d.1.weight", "an mel kernel", Need::Must;
    "audio_tokenizer.encoder.conv1.bias" => "a.conv1d.1.bias", "an -> an 1", Need::May;
    "audio_tokenizer.encoder.conv2.weight" => "a.conv1d.2.weight", "an am kernel", Need::Must;
    "audio_tokenizer.encoder.conv2.bias" => "a.conv1d.2.bias", "an -> an 1", Need::May;
    "audio_tokenizer.encoder.down_sample_layer.0.weight" => "a.downsample.conv.weight", "an am pooled", Need::May;
    "audio_tokenizer.encoder.down_sample_layer.0.bias" => "a.downsample.conv.bias", "an", Need::May;
    "audio_tokenizer.encoder.quantizer.vq.layers.{q}._codebook.embed" => "a.rvq.codebook.weight",
        "bins an -> q bins an", Need::Must;
    "speech_embeddings.{channel}.weight" => "mm.a.code_embd.weight", "codes ln -> channel codes ln", Need::Must;
);

/// A layer that projects codes: the checkpoint's name, GGUF's, the elements.
macro_rules! projected {
    ($($from:literal => $to:literal, $axes:literal);* $(;)?) => {
        &[$(
            rule(&[concat!("^audio_encoder.", $from)], &[concat!("mm.a.", $to)], $axes).bias(Need::May),
        )*]
    };
}

const LOCAL: &[Rule] = projected!(
    "input_local_transformer.layers.{near}.input_layernorm.weight" => "local_blk.{near}.ln1.weight", "ln";
    "input_local_transformer.layers.{near}.self_attn.q_proj.weight" => "local_blk.{near}.attn_q.weight", "inner ln";
    "input_local_transformer.layers.{near}.self_attn.k_proj.weight" => "local_blk.{near}.attn_k.weight", "shared ln";
    "input_local_transformer.layers.{near}.self_attn.v_proj.weight" => "local_blk.{near}.attn_v.weight", "shared ln";
    "input_local_transformer.layers.{near}.self_attn.o_proj.weight" => "local_blk.{near}.attn_out.weight", "ln inner";
    "input_local_transformer.layers.{near}.post_attention_layernorm.weight" => "local_blk.{near}.ln2.weight", "ln";
    "input_local_transformer.layers.{near}.mlp.gate_proj.weight" => "local_blk.{near}.ffn_gate.weight", "lff ln";
    "input_local_transformer.layers.{near}.mlp.up_proj.weight" => "local_blk.{near}.ffn_up.weight", "lff ln";
    "input_local_transformer.layers.{near}.mlp.down_proj.weight" => "local_blk.{near}.ffn_down.weight", "ln lff";
    "input_local_transformer.norm.weight" => "local_norm.weight", "ln";
    "projection.mlp.0.weight" => "mlp.1.weight", "wide grouped";
    "projection.mlp.2.weight" => "mlp.2.weight", "text wide";
);
