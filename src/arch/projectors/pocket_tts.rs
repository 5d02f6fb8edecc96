//! Pocket TTS beside its backbone: what hears a voice (Mimi's encoder), what makes a vector of sound in steps (a flow), and what makes
//! sound of vectors (Mimi's decoder). No config tells their sizes: the tensors do.
//! Specification: `PocketTTSMmprojModel` of llama.cpp's converter.

use super::vision::{columns, rows};
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, is, make, size};
use crate::arch::params::{Axis, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{DType, Value};

pub const POCKET_TTS: Arch = Arch {
    classes: &["PocketTTSModel"],
    gguf: "clip",
    prefixes: &[""],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    shares: &[HEARING, SPEAKING, CONVOLUTIONS, FLOW, TIMES],
    ignored: BACKBONE,
    ..NONE
};

const BACKBONE: &[&str] =
    &["flow_lm.bos_*", "flow_lm.conditioner.*", "flow_lm.transformer.*", "flow_lm.out_norm.*"];

const EPSILON: Fixed = Fixed::Number(1e-5);

const KEYS: &[Key] = &[
    is("has_audio_encoder", Fixed::Flag(true)),
    is("audio.projector_type", Fixed::Text("pockettts_spkenc")),
    size("audio.projection_dim", "text"),
    size("audio.block_count", "l"),
    size("audio.embedding_length", "n"),
    size("audio.feed_forward_length", "ff"),
    size("audio.attention.head_count", "h"),
    is("audio.attention.layer_norm_epsilon", EPSILON),
    // A sound is heard as it is: a spectrum of one row.
    is("audio.num_mel_bins", Fixed::Count(1)),
    is("has_gen_audio_encoder", Fixed::Flag(true)),
    is("gen.audio.projector_type", Fixed::Text("pockettts_gen")),
    size("gen.audio.projection_dim", "text"),
    size("gen.audio.embedding_length", "n"),
    size("gen.audio.feed_forward_length", "ff"),
    size("gen.audio.block_count", "l"),
    size("gen.audio.attention.head_count", "h"),
    is("gen.audio.attention.layer_norm_epsilon", EPSILON),
    // The runtime knows by it what the checkpoint does not tell, as the language.
    make("gen.audio.model_variant", |params| {
        let name = params.checkpoint().and_then(|checkpoint| checkpoint.dir.file_name());
        Ok(name.map(|name| Value::from(name.to_string_lossy().into_owned())))
    }),
];

/// A size that a tensor tells, unless it is told.
macro_rules! told {
    ($key:literal, $of:ident, $name:literal) => {
        Size::Or(&[$key], &Size::Make(|params, _| $of(params, $name)))
    };
}

/// The same, told by how many names begin and end so.
macro_rules! counted {
    ($key:literal, $begin:literal, $end:literal) => {
        Size::Or(
            &[$key],
            &Size::Make(|params, _| {
                let counted = params.counts(|name| name.starts_with($begin) && name.ends_with($end));
                Ok(counted.unwrap_or_default())
            }),
        )
    };
}

const AXES: &[Axis] = &[
    axis("text", Size::Of(&["hidden_size"])),
    // The transformers of Mimi.
    axis("l", Size::Of(&["audio_config.num_hidden_layers"])),
    axis("n", Size::Of(&["audio_config.hidden_size"])),
    axis("ff", Size::Of(&["audio_config.intermediate_size"])),
    axis("h", Size::Of(&["audio_config.num_attention_heads"])),
    axis("d", Size::Div("n", "h")),
    axis("one", Size::Is(1)),
    axis("two", Size::Is(2)),
    axis("three", Size::Is(3)),
    // Its convolutions: channels, twice as many from stage to stage, and the lengths of windows.
    axis("f1", told!("seanet.filters", rows, "mimi.encoder.model.0.conv.weight")),
    axis("f2", Size::Mul("f1", "two")),
    axis("f4", Size::Mul("f2", "two")),
    axis("f8", Size::Mul("f4", "two")),
    axis("half1", Size::Div("f1", "two")),
    axis("half2", Size::Same("f1")),
    axis("half4", Size::Same("f2")),
    axis("sea", told!("seanet.width", rows, "mimi.encoder.model.11.conv.weight")),
    axis("also", Size::Same("sea")),
    axis("first", told!("seanet.first", columns, "mimi.encoder.model.0.conv.weight")),
    axis("between", told!("seanet.between", columns, "mimi.encoder.model.1.block.1.conv.weight")),
    axis("last", told!("seanet.last", columns, "mimi.encoder.model.11.conv.weight")),
    axis("down1", told!("seanet.down1", columns, "mimi.encoder.model.3.conv.weight")),
    axis("down2", told!("seanet.down2", columns, "mimi.encoder.model.6.conv.weight")),
    axis("down3", told!("seanet.down3", columns, "mimi.encoder.model.9.conv.weight")),
    axis("down", told!("seanet.down", columns, "mimi.downsample.conv.conv.weight")),
    axis("up", told!("seanet.up", columns, "mimi.upsample.convtr.convtr.weight")),
    // The flow.
    axis("latent", told!("flow.latent", rows, "flow_lm.emb_mean")),
    axis("voice", told!("flow.voice", columns, "flow_lm.speaker_proj_weight")),
    axis("fw", told!("flow.width", rows, "flow_lm.flow_net.input_proj.weight")),
    axis("fx", Size::Same("fw")),
    axis("t", counted!("flow.times", "flow_lm.flow_net.time_embed.", ".freqs")),
    axis("waves", told!("flow.waves", rows, "time_embed.0.freqs")),
    axis("timed", told!("flow.timed", columns, "time_embed.0.mlp.0.weight")),
    axis("b", counted!("flow.blocks", "flow_lm.flow_net.res_blocks.", ".in_ln.weight")),
];

const RULES: &[Rule] = &[
    rule(&["flow_lm.speaker_proj_weight"], &["a.speaker_proj.weight"], "text voice"),
    rule(&["flow_lm.input_linear.weight"], &["a.gen.input_linear.weight"], "text latent"),
    rule(&["flow_lm.emb_mean"], &["a.gen.emb_mean"], "latent"),
    rule(&["flow_lm.emb_std"], &["a.gen.emb_std"], "latent"),
    rule(&["flow_lm.out_eos.weight"], &["a.gen.out_eos.weight"], "one text").bias(Need::Must),
    rule(
        &["mimi.quantizer.output_proj.weight"],
        &["a.gen.wav.quant_out.weight"],
        "sea latent 1 -> sea latent",
    ),
    rule(&["mimi.downsample.conv.conv.weight"], &["a.downsample.conv.weight"], "sea also down")
        .stored(DType::F16),
    rule(&["mimi.upsample.convtr.convtr.weight"], &["a.gen.wav.upsample.weight"], "sea 1 up")
        .stored(DType::F16),
];

/// A layer of a transformer: its beginning in the checkpoint, and in GGUF.
macro_rules! layers {
    ($from:literal => $to:literal) => {
        &[
            rule(&[concat!($from, "norm1.weight")], &[concat!($to, "ln1.weight")], "n").bias(Need::Must),
            rule(&[concat!($from, "norm2.weight")], &[concat!($to, "ln2.weight")], "n").bias(Need::Must),
            rule(
                &[concat!($from, "self_attn.in_proj.weight")],
                &[
                    concat!($to, "attn_q.weight"),
                    concat!($to, "attn_k.weight"),
                    concat!($to, "attn_v.weight"),
                ],
                "[(h d)|(h d)|(h d)] n -> (h d) n ; (h d) n ; (h d) n",
            ),
            rule(
                &[concat!($from, "self_attn.out_proj.weight")],
                &[concat!($to, "attn_out.weight")],
                "n (h d)",
            )
            .bias(Need::May),
            rule(&[concat!($from, "linear1.weight")], &[concat!($to, "ffn_up.weight")], "ff n")
                .bias(Need::May),
            rule(&[concat!($from, "linear2.weight")], &[concat!($to, "ffn_down.weight")], "n ff")
                .bias(Need::May),
            rule(&[concat!($from, "layer_scale_1.scale")], &[concat!($to, "ls1.weight")], "n"),
            rule(&[concat!($from, "layer_scale_2.scale")], &[concat!($to, "ls2.weight")], "n"),
        ]
    };
}

const HEARING: &[Rule] = layers!("mimi.encoder_transformer.transformer.layers.{l}." => "a.blk.{l}.");
const SPEAKING: &[Rule] =
    layers!("mimi.decoder_transformer.transformer.layers.{l}." => "a.gen.wav.tfm.blk.{l}.");

/// A convolution, of which the runtime knows no BF16: the checkpoint's name, GGUF's, the elements, the channels that come out.
macro_rules! convolved {
    ($($from:literal => $to:literal, $shape:literal, $out:literal);* $(;)?) => {
        &[$(
            rule(
                &[concat!("mimi.", $from, ".weight")],
                &[concat!("a.", $to, ".weight")],
                $shape,
            )
            .stored(DType::F16),
            rule(&[concat!("mimi.", $from, ".bias")], &[concat!("a.", $to, ".bias")], $out),
        )*]
    };
}

const CONVOLUTIONS: &[Rule] = convolved!(
    "encoder.model.0.conv" => "seanet.conv_in", "f1 1 first", "f1";
    "encoder.model.1.block.1.conv" => "seanet.blk.0.res_conv1", "half1 f1 between", "half1";
    "encoder.model.1.block.3.conv" => "seanet.blk.0.res_conv2", "f1 half1 1", "f1";
    "encoder.model.3.conv" => "seanet.blk.0.scale_conv", "f2 f1 down1", "f2";
    "encoder.model.4.block.1.conv" => "seanet.blk.1.res_conv1", "half2 f2 between", "half2";
    "encoder.model.4.block.3.conv" => "seanet.blk.1.res_conv2", "f2 half2 1", "f2";
    "encoder.model.6.conv" => "seanet.blk.1.scale_conv", "f4 f2 down2", "f4";
    "encoder.model.7.block.1.conv" => "seanet.blk.2.res_conv1", "half4 f4 between", "half4";
    "encoder.model.7.block.3.conv" => "seanet.blk.2.res_conv2", "f4 half4 1", "f4";
    "encoder.model.9.conv" => "seanet.blk.2.scale_conv", "f8 f4 down3", "f8";
    "encoder.model.11.conv" => "seanet.conv_out", "sea f8 last", "sea";
    "decoder.model.0.conv" => "gen.wav.seanet.conv_in", "f8 sea first", "f8";
    "decoder.model.2.convtr" => "gen.wav.seanet.blk.0.scale_conv", "f8 f4 down3", "f4";
    "decoder.model.3.block.1.conv" => "gen.wav.seanet.blk.0.res_conv1", "half4 f4 between", "half4";
    "decoder.model.3.block.3.conv" => "gen.wav.seanet.blk.0.res_conv2", "f4 half4 1", "f4";
    "decoder.model.5.convtr" => "gen.wav.seanet.blk.1.scale_conv", "f4 f2 down2", "f2";
    "decoder.model.6.block.1.conv" => "gen.wav.seanet.blk.1.res_conv1", "half2 f2 between", "half2";
    "decoder.model.6.block.3.conv" => "gen.wav.seanet.blk.1.res_conv2", "f2 half2 1", "f2";
    "decoder.model.8.convtr" => "gen.wav.seanet.blk.2.scale_conv", "f2 f1 down1", "f1";
    "decoder.model.9.block.1.conv" => "gen.wav.seanet.blk.2.res_conv1", "half1 f1 between", "half1";
    "decoder.model.9.block.3.conv" => "gen.wav.seanet.blk.2.res_conv2", "f1 half1 1", "f1";
    "decoder.model.11.conv" => "gen.wav.seanet.conv_out", "one f1 last", "one";
);

/// A part of the flow, with a bias: the checkpoint's name, GGUF's, the elements.
macro_rules! flowing {
    ($($from:literal => $to:literal, $axes:literal);* $(;)?) => {
        &[$(
            rule(
                &[concat!("flow_lm.flow_net.", $from, ".weight")],
                &[concat!("a.gen.flow.", $to, ".weight")],
                $axes,
            )
            .bias(Need::Must),
        )*]
    };
}

const FLOW: &[Rule] = flowing!(
    "input_proj" => "input_proj", "fw latent";
    "cond_embed" => "cond_embd", "fw text";
    "final_layer.linear" => "final.proj", "latent fw";
    "final_layer.adaLN_modulation.1" => "final.ada", "(two fw) fx";
    "time_embed.{t}.mlp.0" => "time.{t}.up", "fw timed";
    "time_embed.{t}.mlp.2" => "time.{t}.down", "fw fx";
    "res_blocks.{b}.in_ln" => "blk.{b}.norm", "fw";
    "res_blocks.{b}.mlp.0" => "blk.{b}.up", "fw fx";
    "res_blocks.{b}.mlp.2" => "blk.{b}.down", "fw fx";
    "res_blocks.{b}.adaLN_modulation.1" => "blk.{b}.ada", "(three fw) fx";
);

const TIMES: &[Rule] = &[
    rule(&["flow_lm.flow_net.time_embed.{t}.freqs"], &["a.gen.flow.time.{t}.freqs"], "waves"),
    rule(&["flow_lm.flow_net.time_embed.{t}.mlp.3.alpha"], &["a.gen.flow.time.{t}.norm"], "fw"),
];
