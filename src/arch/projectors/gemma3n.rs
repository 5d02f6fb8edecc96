//! Gemma 3n: MobileNet V5, whose blocks are carried as they are, and a conformer that hears. What either gives is projected
//! by one matrix.
//! Specification: `Gemma3nVisionAudioModel`, `ConformerAudioModel` of llama.cpp's converter.

use super::siglip::TEXT;
use super::vision::{VISION, columns, rows};
use crate::arch::families::{Arch, Carried, NONE};
use crate::arch::keys::{Fixed, Key, count, is, make, positive, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Rule, rule};
use ggraft_formats::{Array, DType, Result, Value};

pub const GEMMA3N: Arch = Arch {
    classes: &["Gemma3nForConditionalGeneration"],
    gguf: "clip",
    base: Some(&VISION),
    prefixes: &["model."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    shares: &[CONFORMER],
    carried: CARRIED,
    ignored: TEXT,
    ..NONE
};

const KEYS: &[Key] = &[
    // The tower takes colours from 0 to 1.
    make("vision.image_mean", |_| Ok(Some(Value::Array(Array::F32(vec![0.0; 3]))))),
    make("vision.image_std", |_| Ok(Some(Value::Array(Array::F32(vec![1.0; 3]))))),
    is("has_audio_encoder", Fixed::Flag(true)),
    size("audio.projection_dim", "text"),
    size("audio.embedding_length", "an"),
    size("audio.feed_forward_length", "told"),
    size("audio.block_count", "a"),
    size("audio.attention.head_count", "ah"),
    is("vision.projector_type", Fixed::Text("gemma3nv")),
    positive("vision.attention.layer_norm_epsilon", &["vision_config.layer_norm_eps"])
        .or(Fixed::Number(1e-6)),
    is("audio.projector_type", Fixed::Text("gemma3na")),
    count("audio.num_mel_bins", &["audio_config.input_feat_size"]).must(),
    is("audio.attention.layer_norm_epsilon", Fixed::Number(1e-5)),
];

const AXES: &[Axis] = &[
    // So it is told, for there is no such number.
    axis("l", Size::Is(128)),
    axis("h", Size::Or(&["vision_config.num_attention_heads"], &Size::Is(8))),
    axis("quarter", Size::Or(&["vision_config.intermediate_size"], &Size::Is(2048))),
    axis("four", Size::Is(4)),
    axis("ff", Size::Mul("quarter", "four")),
    axis("image", Size::Or(&["preprocessor_config.size.height"], &Size::Is(768))),
    axis("patch", Size::Make(patch)),
    axis("seen", Size::Of(&["vision_config.vocab_size"])),
    axis("m", Size::Same("n")),
    axis("stem", Size::Make(|params, _| rows(params, "conv_stem.conv.bias"))),
    axis("a", Size::Of(&["audio_config.conf_num_hidden_layers"])),
    axis("an", Size::Of(&["audio_config.hidden_size"])),
    axis("am", Size::Same("an")),
    axis("told", Size::Or(&["audio_config.intermediate_size"], &Size::Is(6144))),
    axis("aff", Size::Mul("an", "four")),
    axis("ah", Size::Of(&["audio_config.conf_num_attention_heads"])),
    axis("ad", Size::Div("an", "ah")).or("an", "a multiple of {ah} heads"),
    axis("first", Size::Make(|params, _| channels(params, 0))),
    axis("second", Size::Make(|params, _| channels(params, 1))),
    axis("high", Size::Is(3)),
    axis("wide", Size::Is(3)),
    axis("kernel", Size::Of(&["audio_config.conf_conv_kernel_size"])),
    axis("heard", Size::Of(&["audio_config.vocab_size"])),
    axis(
        "spectrum",
        Size::Make(|params, _| columns(params, "subsample_conv_projection.input_proj_linear.weight")),
    ),
];

/// The pixels of an image for each of its tokens.
fn patch(params: &Params<'_>, _: u32) -> Result<u64> {
    let tokens = params.config.optional_count("preprocessor_config.image_seq_length")?.unwrap_or(256);
    Ok(params.size("image", 0)? / u64::from(tokens))
}

/// The channels of a convolution over the spectrum.
fn channels(params: &Params<'_>, at: u32) -> Result<u64> {
    const KEY: &str = "audio_config.sscp_conv_channel_size";
    let told = params.config.get(KEY).map(|_| params.config.whole_at(KEY, at)).transpose()?.flatten();
    told.map(u64::from).ok_or_else(|| params.config.missing(KEY, "the channels of two convolutions"))
}

const CARRIED: &[Carried] = &[
    Carried {
        from: "model.vision_tower.timm_model.",
        to: "v.",
        ends: &["conv_stem.conv.weight"],
        stored: Some(DType::F32),
    },
    Carried {
        from: "model.vision_tower.timm_model.",
        to: "v.",
        ends: &[
            "conv_stem.bn.weight",
            "msfa.ffn.pw_exp.conv.weight",
            "msfa.ffn.pw_exp.bn.weight",
            "msfa.ffn.pw_proj.conv.weight",
            "msfa.ffn.pw_proj.bn.weight",
            "msfa.norm.weight",
        ],
        stored: None,
    },
    Carried {
        from: "model.vision_tower.timm_model.blocks.",
        to: "v.blk.",
        ends: &[
            ".conv_exp.weight",
            ".bn1.weight",
            ".conv_pwl.weight",
            ".bn2.weight",
            ".dw_start.conv.weight",
            ".dw_start.bn.weight",
            ".dw_mid.conv.weight",
            ".dw_mid.bn.weight",
            ".pw_exp.conv.weight",
            ".pw_exp.bn.weight",
            ".pw_proj.conv.weight",
            ".pw_proj.bn.weight",
            ".layer_scale.gamma",
            ".attn.query.proj.weight",
            ".attn.key.proj.weight",
            ".attn.value.proj.weight",
            ".attn.output.proj.weight",
            ".attn.key.down_conv.weight",
            ".attn.key.norm.weight",
            ".attn.value.down_conv.weight",
            ".attn.value.norm.weight",
            ".norm.weight",
        ],
        stored: None,
    },
];

/// A part of the conformer: the checkpoint's name, GGUF's, the elements.
macro_rules! heard {
    ($($from:literal => $to:literal, $axes:literal);* $(;)?) => {
        &[$(rule(&[concat!("audio_tower.conformer.{a}.", $from)], &[concat!("a.blk.{a}.", $to)], $axes),)*]
    };
}

const CONFORMER: &[Rule] = heard!(
    "ffw_layer_start.pre_layer_norm.weight" => "ffn_norm.weight", "an";
    "ffw_layer_start.ffw_layer_1.weight" => "ffn_up.weight", "aff an";
    "ffw_layer_start.ffw_layer_2.weight" => "ffn_down.weight", "an aff";
    "ffw_layer_start.post_layer_norm.weight" => "ffn_post_norm.weight", "an";
    "attention.pre_attn_norm.weight" => "ln1.weight", "an";
    "attention.attn.per_dim_scale" => "per_dim_scale", "ad";
    "attention.attn.relative_position_embedding.pos_proj.weight" => "linear_pos.weight", "(ah ad) an";
    "attention.attn.q_proj.weight" => "attn_q.weight", "(ah ad) an";
    "attention.attn.k_proj.weight" => "attn_k.weight", "(ah ad) an";
    "attention.attn.v_proj.weight" => "attn_v.weight", "(ah ad) an";
    "attention.post.weight" => "attn_out.weight", "an (ah ad)";
    "attention.post_norm.weight" => "ln2.weight", "an";
    "lconv1d.pre_layer_norm.weight" => "conv_norm.weight", "an";
    "lconv1d.linear_start.weight" => "conv_pw1.weight", "(two am) an";
    "lconv1d.conv_norm.weight" => "norm_conv.weight", "an";
    "lconv1d.linear_end.weight" => "conv_pw2.weight", "an am";
    "ffw_layer_end.pre_layer_norm.weight" => "ffn_norm_1.weight", "an";
    "ffw_layer_end.ffw_layer_1.weight" => "ffn_up_1.weight", "aff an";
    "ffw_layer_end.ffw_layer_2.weight" => "ffn_down_1.weight", "an aff";
    "ffw_layer_end.post_layer_norm.weight" => "ffn_post_norm_1.weight", "an";
    "norm.weight" => "layer_pre_norm.weight", "an";
);

const RULES: &[Rule] = &[
    rule(&["vision_tower.timm_model.conv_stem.conv.bias"], &["v.conv_stem.conv.bias"], "stem -> 1 stem 1 1"),
    rule(&["embed_vision.embedding.weight"], &["mm.embedding.weight"], "seen n"),
    rule(&["embed_vision.hard_embedding_norm.weight"], &["mm.hard_emb_norm.weight"], "n"),
    rule(&["embed_vision.soft_embedding_norm.weight"], &["mm.soft_emb_norm.weight"], "n"),
    rule(&["embed_vision.embedding_projection.weight"], &["mm.input_projection.weight"], "text n"),
    rule(
        &["audio_tower.conformer.{a}.lconv1d.depthwise_conv1d.weight"],
        &["a.blk.{a}.conv_dw.weight"],
        "an 1 kernel",
    )
    .stored(DType::F32),
    rule(
        &["audio_tower.subsample_conv_projection.conv_0.conv.weight"],
        &["a.conv1d.0.weight"],
        "first 1 high wide",
    )
    .stored(DType::F32),
    rule(
        &["audio_tower.subsample_conv_projection.conv_1.conv.weight"],
        &["a.conv1d.1.weight"],
        "second first high wide",
    )
    .stored(DType::F32),
    rule(&["audio_tower.subsample_conv_projection.conv_0.norm.weight"], &["a.conv1d.0.norm.weight"], "first")
        .may(),
    rule(
        &["audio_tower.subsample_conv_projection.conv_1.norm.weight"],
        &["a.conv1d.1.norm.weight"],
        "second",
    )
    .may(),
    rule(
        &["audio_tower.subsample_conv_projection.input_proj_linear.weight"],
        &["a.pre_encode.out.weight"],
        "an spectrum",
    )
    .stored(DType::F16),
    rule(&["embed_audio.embedding.weight"], &["mm.a.embedding.weight"], "heard an"),
    rule(&["embed_audio.hard_embedding_norm.weight"], &["mm.a.hard_emb_norm.weight"], "an"),
    rule(&["embed_audio.soft_embedding_norm.weight"], &["mm.a.soft_emb_norm.weight"], "an"),
    rule(&["embed_audio.embedding_projection.weight"], &["mm.a.input_projection.weight"], "text an"),
];
