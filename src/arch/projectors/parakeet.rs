//! Nemotron Nano that sees and hears: Parakeet, a conformer behind convolutions over the spectrum, beside the tower that sees.
//! Its norms of batches stay as they are, for the runtime computes them.
//! Specification: `NemotronNanoV2VLModel` of llama.cpp's converter, where the config has a `sound_config`.

use super::nemotron::{CLASSES, RADIO, SEEING, fewer};
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, size};
use crate::arch::params::{Axis, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::DType;

pub const NEMOTRON_HEARING: Arch = Arch {
    classes: CLASSES,
    gguf: "clip",
    applies: Some(|config| Ok(config.get("sound_config").is_some())),
    base: Some(&HEARING),
    early: &[
        count("audio.num_mel_bins", &["sound_config.num_mel_bins"]).must(),
        is("audio.attention.layer_norm_epsilon", Fixed::Number(1e-5)),
        count("audio.subsampling_factor", &["sound_config.subsampling_factor"]).must(),
        count("audio.conv_kernel_size", &["sound_config.conv_kernel_size"]).must(),
        is("audio.projector_type", Fixed::Text("parakeet")),
        is("vision.projector_type", Fixed::Text("nemotron_v2_vl")),
    ],
    keys: SEEING,
    prepared: fewer,
    ..NONE
};

const HEARING: Arch = Arch {
    base: Some(&RADIO),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    shares: &[CONVOLUTIONS, LAYERS, MOVING],
    ignored: &["*num_batches_tracked"],
    ..NONE
};

const KEYS: &[Key] = &[
    is("has_audio_encoder", Fixed::Flag(true)),
    size("audio.projection_dim", "text"),
    size("audio.embedding_length", "an"),
    size("audio.feed_forward_length", "aff"),
    size("audio.block_count", "a"),
    size("audio.attention.head_count", "ah"),
];

const AXES: &[Axis] = &[
    axis("a", Size::Of(&["sound_config.num_hidden_layers"])),
    axis("an", Size::Of(&["sound_config.hidden_size"])),
    axis("am", Size::Same("an")),
    axis("aff", Size::Of(&["sound_config.intermediate_size"])),
    axis("ah", Size::Of(&["sound_config.num_attention_heads"])),
    axis("ad", Size::Div("an", "ah")).or("an", "a multiple of {ah} heads"),
    axis("mel", Size::Of(&["sound_config.num_mel_bins"])),
    axis("c", Size::Or(&["sound_config.subsampling_conv_channels"], &Size::Is(256))),
    axis("cc", Size::Same("c")),
    axis("high", Size::Is(3)),
    axis("across", Size::Is(3)),
    axis("bands", Size::Make(|params, _| Ok(params.size("mel", 0)?.div_ceil(8)))),
    axis("kernel", Size::Of(&["sound_config.conv_kernel_size"])),
    // What a window of 512 samples is made of.
    axis("samples", Size::Or(&["sound_config.win_length"], &Size::Is(400))),
    axis("frequencies", Size::Is(257)),
    axis("heard", Size::Or(&["sound_config.projection_hidden_size"], &Size::Same("text"))),
];

/// Convolutions over the spectrum: which of the checkpoint, and their elements.
macro_rules! convolved {
    ($($at:literal, $axes:literal);* $(;)?) => {
        &[$(
            rule(
                &[concat!("^sound_encoder.encoder.subsampling.layers.", $at, ".weight")],
                &[concat!("a.conv1d.", $at, ".weight")],
                $axes,
            )
            .stored(DType::F32),
            rule(
                &[concat!("^sound_encoder.encoder.subsampling.layers.", $at, ".bias")],
                &[concat!("a.conv1d.", $at, ".bias")],
                "c -> 1 c 1 1",
            )
            .stored(DType::F32),
        )*]
    };
}

const CONVOLUTIONS: &[Rule] = convolved!(
    "0", "c 1 high across";
    "2", "c 1 high across";
    "3", "c cc 1 1";
    "5", "c 1 high across";
    "6", "c cc 1 1";
);

const RULES: &[Rule] = &[
    rule(
        &["^sound_encoder.encoder.feature_extractor.featurizer.fb"],
        &["a.mel_filters"],
        "1 mel frequencies",
    )
    .may(),
    rule(&["^sound_encoder.encoder.feature_extractor.featurizer.window"], &["a.window"], "samples").may(),
    rule(&["^sound_encoder.encoder.subsampling.linear.weight"], &["a.pre_encode.out.weight"], "an (c bands)")
        .bias(Need::Must),
    rule(&["^sound_projection.norm.weight"], &["mm.a.norm_pre.weight"], "an").bias(Need::May),
    rule(&["^sound_projection.linear1.weight"], &["mm.a.mlp.1.weight"], "heard an").bias(Need::May),
    rule(&["^sound_projection.linear2.weight"], &["mm.a.mlp.2.weight"], "text heard").bias(Need::May),
];

/// A layer of the conformer: the checkpoint's name, GGUF's, the elements, whether it has a bias.
macro_rules! heard {
    ($($from:literal => $to:literal, $axes:literal, $bias:expr);* $(;)?) => {
        &[$(
            rule(
                &[concat!("^sound_encoder.encoder.layers.{a}.", $from)],
                &[concat!("a.blk.{a}.", $to)],
                $axes,
            )
            .bias($bias),
        )*]
    };
}

const LAYERS: &[Rule] = heard!(
    "norm_feed_forward1.weight" => "ffn_norm.weight", "an", Need::Must;
    "feed_forward1.linear1.weight" => "ffn_up.weight", "aff an", Need::May;
    "feed_forward1.linear2.weight" => "ffn_down.weight", "an aff", Need::May;
    "norm_self_att.weight" => "ln1.weight", "an", Need::Must;
    "self_attn.q_proj.weight" => "attn_q.weight", "(ah ad) an", Need::May;
    "self_attn.k_proj.weight" => "attn_k.weight", "(ah ad) an", Need::May;
    "self_attn.v_proj.weight" => "attn_v.weight", "(ah ad) an", Need::May;
    "self_attn.o_proj.weight" => "attn_out.weight", "an (ah ad)", Need::May;
    "self_attn.relative_k_proj.weight" => "linear_pos.weight", "(ah ad) an", Need::May;
    "norm_conv.weight" => "norm_conv.weight", "an", Need::Must;
    "conv.norm.weight" => "conv_norm.weight", "an", Need::Must;
    "norm_feed_forward2.weight" => "ffn_norm_1.weight", "an", Need::Must;
    "feed_forward2.linear1.weight" => "ffn_up_1.weight", "aff an", Need::May;
    "feed_forward2.linear2.weight" => "ffn_down_1.weight", "an aff", Need::May;
    "norm_out.weight" => "ln2.weight", "an", Need::Must;
);

/// Those of no bias of the same name, and those whose elements move.
macro_rules! moved {
    ($($from:literal => $to:literal, $axes:literal, $need:expr);* $(;)?) => {
        &[$(
            rule(
                &[concat!("^sound_encoder.encoder.layers.{a}.", $from)],
                &[concat!("a.blk.{a}.", $to)],
                $axes,
            )
            .need($need)
            .stored(DType::F32),
        )*]
    };
}

const MOVING: &[Rule] = moved!(
    "self_attn.bias_u" => "pos_bias_u", "ah ad", Need::Must;
    "self_attn.bias_v" => "pos_bias_v", "ah ad", Need::Must;
    "conv.norm.running_mean" => "conv_norm_mean", "an", Need::Must;
    "conv.norm.running_var" => "conv_norm_var", "an", Need::Must;
    "conv.pointwise_conv1.weight" => "conv_pw1.weight", "(two am) an 1 -> (two am) an", Need::Must;
    "conv.pointwise_conv1.bias" => "conv_pw1.bias", "(two am) -> 1 (two am) 1 1", Need::May;
    "conv.depthwise_conv.weight" => "conv_dw.weight", "an 1 kernel -> 1 1 an kernel", Need::Must;
    "conv.depthwise_conv.bias" => "conv_dw.bias", "an", Need::May;
    "conv.pointwise_conv2.weight" => "conv_pw2.weight", "an am 1 -> an am", Need::Must;
    "conv.pointwise_conv2.bias" => "conv_pw2.bias", "an -> 1 an 1 1", Need::May;
);
