//! Gemma 4: a tower with norms before and after each part, whose places are told by two coordinates; a conformer that hears.
//! Each is projected by one matrix. Linear layers may tell between which values their numbers are held.
//! Specification: `Gemma4VisionAudioModel` of llama.cpp's converter.

use super::siglip::TEXT;
use super::vision::{VISION, columns};
use crate::arch::config::Config;
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, positive, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use crate::arch::values::Value;
use ggraft_formats::{DType, Result};

/// The larger ones, which only see.
pub const GEMMA4_SEEING: Arch = Arch {
    classes: &["Gemma4ForConditionalGeneration"],
    gguf: "clip",
    applies: Some(|config| hears(config).map(|hears| !hears)),
    base: Some(&SEEING),
    keys: SEEING_KEYS,
    ..NONE
};

pub const GEMMA4: Arch = Arch {
    classes: &["Gemma4ForConditionalGeneration"],
    gguf: "clip",
    base: Some(&SEEING),
    keys: KEYS,
    axes: HEARING_AXES,
    rules: HEARING,
    shares: &[HEARING_CLIPPED],
    ..NONE
};

fn hears(config: &Config) -> Result<bool> {
    Ok(config.section("audio_config")?.is_some())
}

const SEEING: Arch = Arch {
    base: Some(&VISION),
    prefixes: &["model."],
    axes: AXES,
    rules: RULES,
    shares: &[CLIPPED],
    ignored: TEXT,
    ..NONE
};

const SEEING_KEYS: &[Key] = &[
    is("vision.projector_type", Fixed::Text("gemma4v")),
    positive("vision.attention.layer_norm_epsilon", &["vision_config.layer_norm_eps"])
        .or(Fixed::Number(1e-6)),
];

const KEYS: &[Key] = &[
    is("has_audio_encoder", Fixed::Flag(true)),
    size("audio.projection_dim", "text"),
    size("audio.embedding_length", "an"),
    size("audio.feed_forward_length", "aff"),
    size("audio.block_count", "a"),
    size("audio.attention.head_count", "ah"),
    is("vision.projector_type", Fixed::Text("gemma4v")),
    positive("vision.attention.layer_norm_epsilon", &["vision_config.layer_norm_eps"])
        .or(Fixed::Number(1e-6)),
    is("audio.projector_type", Fixed::Text("gemma4a")),
    count("audio.num_mel_bins", &["audio_config.input_feat_size"]).or(Fixed::Count(128)),
    positive("audio.attention.layer_norm_epsilon", &["audio_config.layer_norm_eps"]).or(Fixed::Number(1e-6)),
];

const AXES: &[Axis] = &[
    // It is not used, for images may have any size.
    axis("image", Size::Is(224)),
    axis("g", Size::Or(&["vision_config.num_key_value_heads"], &Size::Same("h"))),
    axis("places", Size::Of(&["vision_config.position_embedding_size"])),
    axis("single", Size::Is(1)),
];

const RULES: &[Rule] = &[
    rule(
        &["vision_tower.patch_embedder.input_proj.weight"],
        &["v.patch_embd.weight"],
        "n (row column channels) -> n channels row column",
    ),
    rule(
        &["vision_tower.patch_embedder.position_embedding_table"],
        &["v.position_embd.weight"],
        "two places n",
    ),
    rule(&["vision_tower.std_bias"], &["v.std_bias"], "n").need(Need::If("vision_config.standardize")),
    rule(&["vision_tower.std_scale"], &["v.std_scale"], "n").need(Need::If("vision_config.standardize")),
    rule(&["vision_tower.encoder.layers.{l}.input_layernorm.weight"], &["v.blk.{l}.ln1.weight"], "n"),
    rule(
        &["vision_tower.encoder.layers.{l}.post_attention_layernorm.weight"],
        &["v.blk.{l}.attn_post_norm.weight"],
        "n",
    ),
    rule(
        &["vision_tower.encoder.layers.{l}.pre_feedforward_layernorm.weight"],
        &["v.blk.{l}.ln2.weight"],
        "n",
    ),
    rule(
        &["vision_tower.encoder.layers.{l}.post_feedforward_layernorm.weight"],
        &["v.blk.{l}.ffn_post_norm.weight"],
        "n",
    ),
    rule(
        &["vision_tower.encoder.layers.{l}.self_attn.q_norm.weight"],
        &["v.blk.{l}.attn_q_norm.weight"],
        "d",
    ),
    rule(
        &["vision_tower.encoder.layers.{l}.self_attn.k_norm.weight"],
        &["v.blk.{l}.attn_k_norm.weight"],
        "d",
    ),
    rule(
        &["vision_tower.encoder.layers.{l}.self_attn.q_proj.linear.weight"],
        &["v.blk.{l}.attn_q.weight"],
        "(h d) n",
    ),
    rule(
        &["vision_tower.encoder.layers.{l}.self_attn.k_proj.linear.weight"],
        &["v.blk.{l}.attn_k.weight"],
        "(g d) n",
    ),
    rule(
        &["vision_tower.encoder.layers.{l}.self_attn.v_proj.linear.weight"],
        &["v.blk.{l}.attn_v.weight"],
        "(g d) n",
    ),
    rule(
        &["vision_tower.encoder.layers.{l}.self_attn.o_proj.linear.weight"],
        &["v.blk.{l}.attn_out.weight"],
        "n (h d)",
    ),
    rule(
        &["vision_tower.encoder.layers.{l}.mlp.gate_proj.linear.weight"],
        &["v.blk.{l}.ffn_gate.weight"],
        "ff n",
    ),
    rule(
        &["vision_tower.encoder.layers.{l}.mlp.up_proj.linear.weight"],
        &["v.blk.{l}.ffn_up.weight"],
        "ff n",
    ),
    rule(
        &["vision_tower.encoder.layers.{l}.mlp.down_proj.linear.weight"],
        &["v.blk.{l}.ffn_down.weight"],
        "n ff",
    ),
    rule(&["vision_tower.encoder.layers.{l}.layer_scalar"], &["v.blk.{l}.out_scale.weight"], "single").may(),
    rule(&["embed_vision.embedding_projection.weight"], &["mm.input_projection.weight"], "text n"),
];

/// Between which values the numbers of a linear layer are held, of one side and end.
macro_rules! held {
    ($($from:literal => $to:literal),* $(,)?) => {
        &[$(
            rule(&[concat!($from, ".input_min")], &[concat!($to, ".input_min")], "single").may(),
            rule(&[concat!($from, ".input_max")], &[concat!($to, ".input_max")], "single").may(),
            rule(&[concat!($from, ".output_min")], &[concat!($to, ".output_min")], "single").may(),
            rule(&[concat!($from, ".output_max")], &[concat!($to, ".output_max")], "single").may(),
        )*]
    };
}

const CLIPPED: &[Rule] = held!(
    "vision_tower.encoder.layers.{l}.self_attn.q_proj" => "v.blk.{l}.attn_q",
    "vision_tower.encoder.layers.{l}.self_attn.k_proj" => "v.blk.{l}.attn_k",
    "vision_tower.encoder.layers.{l}.self_attn.v_proj" => "v.blk.{l}.attn_v",
    "vision_tower.encoder.layers.{l}.self_attn.o_proj" => "v.blk.{l}.attn_out",
    "vision_tower.encoder.layers.{l}.mlp.gate_proj" => "v.blk.{l}.ffn_gate",
    "vision_tower.encoder.layers.{l}.mlp.up_proj" => "v.blk.{l}.ffn_up",
    "vision_tower.encoder.layers.{l}.mlp.down_proj" => "v.blk.{l}.ffn_down",
);

const HEARING_AXES: &[Axis] = &[
    axis("a", Size::Of(&["audio_config.num_hidden_layers"])),
    axis("an", Size::Of(&["audio_config.hidden_size"])),
    axis("am", Size::Same("an")),
    axis("four", Size::Is(4)),
    axis("aff", Size::Mul("four", "an")),
    axis("ah", Size::Of(&["audio_config.num_attention_heads"])),
    axis("ad", Size::Div("an", "ah")).or("an", "a multiple of {ah} heads"),
    axis("first", Size::Make(|params, _| channels(params, 0))),
    axis("second", Size::Make(|params, _| channels(params, 1))),
    axis("high", Size::Is(3)),
    axis("wide", Size::Is(3)),
    axis("kernel", Size::Of(&["audio_config.conv_kernel_size"])),
    axis("heard", Size::Of(&["audio_config.output_proj_dims"])),
    axis(
        "spectrum",
        Size::Make(|params, _| columns(params, "subsample_conv_projection.input_proj_linear.weight")),
    ),
];

/// The channels of a convolution over the spectrum.
fn channels(params: &Params<'_>, at: u32) -> Result<u64> {
    const KEY: &str = "audio_config.subsampling_conv_channels";
    let told = params.config.get(KEY).map(|_| params.config.whole_at(KEY, at)).transpose()?.flatten();
    told.map(u64::from).ok_or_else(|| params.config.missing(KEY, "the channels of two convolutions"))
}

const HEARING: &[Rule] = &[
    rule(
        &["audio_tower.subsample_conv_projection.layer0.conv.weight"],
        &["a.conv1d.0.weight"],
        "first 1 high wide",
    )
    .stored(DType::F32),
    rule(
        &["audio_tower.subsample_conv_projection.layer1.conv.weight"],
        &["a.conv1d.1.weight"],
        "second first high wide",
    )
    .stored(DType::F32),
    rule(&["audio_tower.subsample_conv_projection.layer0.norm.weight"], &["a.conv1d.0.norm.weight"], "first"),
    rule(
        &["audio_tower.subsample_conv_projection.layer1.norm.weight"],
        &["a.conv1d.1.norm.weight"],
        "second",
    ),
    rule(
        &["audio_tower.subsample_conv_projection.input_proj_linear.weight"],
        &["a.input_projection.weight"],
        "an spectrum",
    )
    .stored(DType::F32),
    rule(
        &["audio_tower.layers.{a}.feed_forward1.pre_layer_norm.weight"],
        &["a.blk.{a}.ffn_norm.weight"],
        "an",
    ),
    rule(
        &["audio_tower.layers.{a}.feed_forward1.post_layer_norm.weight"],
        &["a.blk.{a}.ffn_post_norm.weight"],
        "an",
    ),
    rule(
        &["audio_tower.layers.{a}.feed_forward1.ffw_layer_1.linear.weight"],
        &["a.blk.{a}.ffn_up.weight"],
        "aff an",
    ),
    rule(
        &["audio_tower.layers.{a}.feed_forward1.ffw_layer_2.linear.weight"],
        &["a.blk.{a}.ffn_down.weight"],
        "an aff",
    ),
    rule(
        &["audio_tower.layers.{a}.feed_forward2.pre_layer_norm.weight"],
        &["a.blk.{a}.ffn_norm_1.weight"],
        "an",
    ),
    rule(
        &["audio_tower.layers.{a}.feed_forward2.post_layer_norm.weight"],
        &["a.blk.{a}.ffn_post_norm_1.weight"],
        "an",
    ),
    rule(
        &["audio_tower.layers.{a}.feed_forward2.ffw_layer_1.linear.weight"],
        &["a.blk.{a}.ffn_up_1.weight"],
        "aff an",
    ),
    rule(
        &["audio_tower.layers.{a}.feed_forward2.ffw_layer_2.linear.weight"],
        &["a.blk.{a}.ffn_down_1.weight"],
        "an aff",
    ),
    rule(&["audio_tower.layers.{a}.norm_pre_attn.weight"], &["a.blk.{a}.attn_pre_norm.weight"], "an"),
    rule(&["audio_tower.layers.{a}.norm_post_attn.weight"], &["a.blk.{a}.attn_post_norm.weight"], "an"),
    rule(&["audio_tower.layers.{a}.norm_out.weight"], &["a.blk.{a}.ln2.weight"], "an"),
    rule(
        &["audio_tower.layers.{a}.self_attn.q_proj.linear.weight"],
        &["a.blk.{a}.attn_q.weight"],
        "(ah ad) an",
    ),
    rule(
        &["audio_tower.layers.{a}.self_attn.k_proj.linear.weight"],
        &["a.blk.{a}.attn_k.weight"],
        "(ah ad) an",
    ),
    rule(
        &["audio_tower.layers.{a}.self_attn.v_proj.linear.weight"],
        &["a.blk.{a}.attn_v.weight"],
        "(ah ad) an",
    ),
    rule(
        &["audio_tower.layers.{a}.self_attn.post.linear.weight"],
        &["a.blk.{a}.attn_out.weight"],
        "an (ah ad)",
    ),
    rule(
        &["audio_tower.layers.{a}.self_attn.relative_k_proj.weight"],
        &["a.blk.{a}.attn_k_rel.weight"],
        "(ah ad) an",
    ),
    rule(&["audio_tower.layers.{a}.self_attn.per_dim_scale"], &["a.blk.{a}.per_dim_scale.weight"], "ad")
        .value(Value::Softplus),
    rule(
        &["audio_tower.layers.{a}.lconv1d.linear_start.linear.weight"],
        &["a.blk.{a}.conv_pw1.weight"],
        "(two am) an",
    ),
    rule(
        &["audio_tower.layers.{a}.lconv1d.linear_end.linear.weight"],
        &["a.blk.{a}.conv_pw2.weight"],
        "an am",
    ),
    rule(
        &["audio_tower.layers.{a}.lconv1d.depthwise_conv1d.weight"],
        &["a.blk.{a}.conv_dw.weight"],
        "an 1 kernel -> an kernel",
    )
    .stored(DType::F32),
    rule(&["audio_tower.layers.{a}.lconv1d.pre_layer_norm.weight"], &["a.blk.{a}.conv_norm.weight"], "an"),
    rule(&["audio_tower.layers.{a}.lconv1d.conv_norm.weight"], &["a.blk.{a}.norm_conv.weight"], "an"),
    rule(&["audio_tower.output_proj.weight"], &["a.pre_encode.out.weight"], "heard an").bias(Need::May),
    rule(&["embed_audio.embedding_projection.weight"], &["mm.a.input_projection.weight"], "text heard"),
];

const HEARING_CLIPPED: &[Rule] = held!(
    "audio_tower.layers.{a}.feed_forward1.ffw_layer_1" => "a.blk.{a}.ffn_up",
    "audio_tower.layers.{a}.feed_forward1.ffw_layer_2" => "a.blk.{a}.ffn_down",
    "audio_tower.layers.{a}.feed_forward2.ffw_layer_1" => "a.blk.{a}.ffn_up_1",
    "audio_tower.layers.{a}.feed_forward2.ffw_layer_2" => "a.blk.{a}.ffn_down_1",
    "audio_tower.layers.{a}.self_attn.q_proj" => "a.blk.{a}.attn_q",
    "audio_tower.layers.{a}.self_attn.k_proj" => "a.blk.{a}.attn_k",
    "audio_tower.layers.{a}.self_attn.v_proj" => "a.blk.{a}.attn_v",
    "audio_tower.layers.{a}.self_attn.post" => "a.blk.{a}.attn_out",
    "audio_tower.layers.{a}.lconv1d.linear_start" => "a.blk.{a}.conv_pw1",
    "audio_tower.layers.{a}.lconv1d.linear_end" => "a.blk.{a}.conv_pw2",
);
