//! LFM2-Audio: a conformer behind convolutions over the spectrum, whose norms of batches are folded, and an adapter of two
//! layers. What speaks is another file (`Lfm25AudioTokenizer`), but for the table of its codes.
//! Specification: `LFM2AudioModel`, `ConformerAudioModel` of llama.cpp's converter.

use super::siglip::TEXT;
use super::vision::{columns, rows};
use super::whisper::HEARING;
use crate::arch::computed::with_folded_norms;
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Checkpoint, DType, Result};

pub const LFM2_AUDIO: Arch = Arch {
    classes: &["Lfm2AudioForConditionalGeneration"],
    gguf: "clip",
    base: Some(&HEARING),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    shares: &[CONVOLUTIONS, LAYERS, MOVING],
    ignored: IGNORED,
    prepared,
    ..NONE
};

fn prepared(_: &Params<'_>, checkpoint: &Checkpoint) -> Result<Option<Checkpoint>> {
    with_folded_norms(checkpoint, |prefix| prefix.ends_with(".conv.batch_norm"))
}

const IGNORED: &[&str] = &[
    "lfm.*",
    "*audio_loss_weight*",
    "*codebook_offsets*",
    "*depth_embeddings*",
    "*depth_linear*",
    "*depthformer*",
    "*num_batches_tracked*",
    TEXT[0],
];

const KEYS: &[Key] = &[
    is("projector_type", Fixed::Text("lfm2a")),
    count("audio.num_mel_bins", &["encoder.feat_in"]).must(),
    is("audio.attention.layer_norm_epsilon", Fixed::Number(1e-5)),
];

const AXES: &[Axis] = &[
    axis("l", Size::Of(&["encoder.n_layers"])),
    axis("n", Size::Of(&["encoder.d_model"])),
    // So the converter tells it; the runtime goes by the tensors.
    axis("ff", Size::Same("n")),
    axis("times", Size::Or(&["encoder.ff_expansion_factor"], &Size::Is(4))),
    axis("wide", Size::Mul("n", "times")),
    axis("h", Size::Of(&["encoder.n_heads"])),
    axis("mel", Size::Of(&["encoder.feat_in"])),
    axis("c", Size::Or(&["encoder.subsampling_conv_channels"], &Size::Same("n"))),
    axis("cc", Size::Same("c")),
    axis("high", Size::Is(3)),
    axis("across", Size::Is(3)),
    axis("bands", Size::Make(|params, _| Ok(params.size("mel", 0)?.div_ceil(8)))),
    axis("kernel", Size::Of(&["encoder.conv_kernel_size"])),
    axis("hidden", Size::Make(hidden)),
    axis("codes", Size::Make(|params, _| told(params, "audio_embedding.embedding.weight", rows))),
    axis("coded", Size::Make(|params, _| told(params, "audio_embedding.embedding.weight", columns))),
];

/// A size that the table of codes alone tells; where there is none it is that of the text model.
fn told(params: &Params<'_>, name: &str, of: fn(&Params<'_>, &str) -> Result<u64>) -> Result<u64> {
    if params.holds(name) == Some(true) { of(params, name) } else { params.size("text", 0) }
}

/// The width between the two layers of the adapter.
fn hidden(params: &Params<'_>, _: u32) -> Result<u64> {
    told(params, "audio_adapter.model.1.weight", rows)
}

/// Convolutions over the spectrum: which in the checkpoint and in GGUF, and their elements. Every other one is of channels.
macro_rules! convolved {
    ($($at:literal, $axes:literal);* $(;)?) => {
        &[$(
            rule(
                &[concat!("conformer.pre_encode.conv.", $at, ".weight")],
                &[concat!("a.conv1d.", $at, ".weight")],
                $axes,
            )
            .stored(DType::F32),
            rule(
                &[concat!("conformer.pre_encode.conv.", $at, ".bias")],
                &[concat!("a.conv1d.", $at, ".bias")],
                "c -> c 1 1",
            ),
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
    rule(&["conformer.pre_encode.out.weight"], &["a.pre_encode.out.weight"], "n (c bands)").bias(Need::Must),
    rule(&["audio_adapter.model.0.weight"], &["mm.a.mlp.0.weight"], "n").bias(Need::Must),
    rule(&["audio_adapter.model.1.weight"], &["mm.a.mlp.1.weight"], "hidden n").bias(Need::Must),
    rule(&["audio_adapter.model.3.weight"], &["mm.a.mlp.3.weight"], "text hidden").bias(Need::Must),
    rule(&["audio_embedding.embedding.weight"], &["a.position_embd.weight"], "codes coded").may(),
    rule(&["audio_embedding.embedding_norm.weight"], &["a.position_embd_norm.weight"], "coded").may(),
    rule(&["audio_embedding.to_logits.weight"], &["a.embd_to_logits.weight"], "codes coded").may(),
];

/// A layer of the conformer: the checkpoint's name, GGUF's, the elements.
macro_rules! heard {
    ($($from:literal => $to:literal, $axes:literal);* $(;)?) => {
        &[$(
            rule(&[concat!("conformer.layers.{l}.", $from)], &[concat!("a.blk.{l}.", $to)], $axes)
                .bias(Need::Must),
        )*]
    };
}

const LAYERS: &[Rule] = heard!(
    "norm_feed_forward1.weight" => "ffn_norm.weight", "n";
    "feed_forward1.linear1.weight" => "ffn_up.weight", "wide n";
    "feed_forward1.linear2.weight" => "ffn_down.weight", "n wide";
    "norm_self_att.weight" => "ln1.weight", "n";
    "self_attn.linear_q.weight" => "attn_q.weight", "(h d) n";
    "self_attn.linear_k.weight" => "attn_k.weight", "(h d) n";
    "self_attn.linear_v.weight" => "attn_v.weight", "(h d) n";
    "self_attn.linear_out.weight" => "attn_out.weight", "n (h d)";
    "norm_conv.weight" => "norm_conv.weight", "n";
    "conv.batch_norm.weight" => "conv_norm.weight", "n";
    "norm_feed_forward2.weight" => "ffn_norm_1.weight", "n";
    "feed_forward2.linear1.weight" => "ffn_up_1.weight", "wide n";
    "feed_forward2.linear2.weight" => "ffn_down_1.weight", "n wide";
    "norm_out.weight" => "ln2.weight", "n";
);

const MOVING: &[Rule] = &[
    rule(&["conformer.layers.{l}.self_attn.linear_pos.weight"], &["a.blk.{l}.linear_pos.weight"], "(h d) n"),
    rule(&["conformer.layers.{l}.self_attn.pos_bias_u"], &["a.blk.{l}.pos_bias_u"], "h d"),
    rule(&["conformer.layers.{l}.self_attn.pos_bias_v"], &["a.blk.{l}.pos_bias_v"], "h d"),
    rule(
        &["conformer.layers.{l}.conv.pointwise_conv1.weight"],
        &["a.blk.{l}.conv_pw1.weight"],
        "(two m) n 1 -> (two m) n",
    )
    .bias(Need::Must)
    .stored(DType::F32),
    rule(
        &["conformer.layers.{l}.conv.depthwise_conv.weight"],
        &["a.blk.{l}.conv_dw.weight"],
        "n 1 kernel -> n kernel",
    )
    .stored(DType::F32),
    rule(&["conformer.layers.{l}.conv.depthwise_conv.bias"], &["a.blk.{l}.conv_dw.bias"], "n"),
    rule(
        &["conformer.layers.{l}.conv.pointwise_conv2.weight"],
        &["a.blk.{l}.conv_pw2.weight"],
        "n m 1 -> n m",
    )
    .bias(Need::Must)
    .stored(DType::F32),
];
