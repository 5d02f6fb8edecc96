//! Whisper and what is made of it: two convolutions over the spectrum, learned or fixed places, a transformer. The page of
//! Qwen2-Audio, which projects by one matrix, and of those that stack frames and project by two.
//! Specification: `WhisperEncoderModel` and its children of llama.cpp's converter.

use super::siglip::TEXT;
use super::vision::{TEXT_WIDTH, columns};
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, positive, size};
use crate::arch::params::{Axis, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::DType;

/// What everything that hears alone has in common. No model is of this page.
pub const HEARING: Arch = Arch { gguf: "what hears", prefixes: &[""], keys: KEYS, axes: AXES, ..NONE };

pub const WHISPER: Arch = Arch {
    gguf: "Whisper",
    base: Some(&HEARING),
    prefixes: &["audio_tower.", "model.audio_tower."],
    axes: WHISPERS,
    rules: RULES,
    ignored: TEXT,
    ..NONE
};

pub const QWEN2_AUDIO: Arch = Arch {
    classes: &["Qwen2AudioForConditionalGeneration"],
    gguf: "clip",
    base: Some(&WHISPER),
    rules: &[rule(
        &["^multi_modal_projector.linear.weight", "^model.multi_modal_projector.linear.weight"],
        &["mm.a.fc.weight"],
        "text n",
    )
    .bias(Need::Must)],
    ..NONE
};

pub const ULTRAVOX: Arch = Arch {
    classes: &["UltravoxModel"],
    gguf: "clip",
    base: Some(&WHISPER),
    keys: &[
        is("projector_type", Fixed::Text("ultravox")),
        count("audio.projector.stack_factor", &["stack_factor"]).must(),
    ],
    axes: &[
        axis("stack", Size::Of(&["stack_factor"])),
        axis("stacked", Size::Mul("stack", "n")),
        axis("hidden", Size::Of(&["hidden_size"])),
        axis("half", Size::Make(|params, _| columns(params, "multi_modal_projector.linear_2.weight"))),
        axis("text", Size::Of(TEXT_WIDTH)),
    ],
    rules: &[
        rule(&["^multi_modal_projector.ln_pre.weight"], &["mm.a.norm_pre.weight"], "stacked"),
        rule(&["^multi_modal_projector.ln_mid.weight"], &["mm.a.norm_mid.weight"], "half").may(),
        rule(&["^multi_modal_projector.linear_1.weight"], &["mm.a.mlp.1.weight"], "hidden stacked"),
        rule(&["^multi_modal_projector.linear_2.weight"], &["mm.a.mlp.2.weight"], "text half"),
    ],
    ..NONE
};

pub const VOXTRAL: Arch = Arch {
    classes: &["VoxtralForConditionalGeneration"],
    gguf: "clip",
    base: Some(&WHISPER),
    keys: &[
        is("projector_type", Fixed::Text("voxtral")),
        is("audio.projector.stack_factor", Fixed::Count(4)),
    ],
    axes: &[axis("hidden", Size::Same("text"))],
    rules: &[
        rule(
            &["^multi_modal_projector.linear_1.weight", "^model.multi_modal_projector.linear_1.weight"],
            &["mm.a.mlp.1.weight"],
            "text ff",
        ),
        rule(
            &["^multi_modal_projector.linear_2.weight", "^model.multi_modal_projector.linear_2.weight"],
            &["mm.a.mlp.2.weight"],
            "text hidden",
        ),
    ],
    ..NONE
};

/// Trained in BF16, whose range F16 lacks.
pub const AUDIO_FLAMINGO3: Arch = Arch {
    classes: &["AudioFlamingo3ForConditionalGeneration"],
    gguf: "clip",
    base: Some(&WHISPER),
    keys: &[is("projector_type", Fixed::Text("musicflamingo"))],
    axes: &[axis("hidden", Size::Same("text"))],
    rules: &[
        CONV1.stored(DType::F32),
        CONV2.stored(DType::F32),
        rule(
            &["^multi_modal_projector.linear_1.weight", "^model.multi_modal_projector.linear_1.weight"],
            &["mm.a.mlp.1.weight"],
            "text n",
        )
        .bias(Need::If("projector_bias")),
        rule(
            &["^multi_modal_projector.linear_2.weight", "^model.multi_modal_projector.linear_2.weight"],
            &["mm.a.mlp.2.weight"],
            "text hidden",
        )
        .bias(Need::If("projector_bias")),
    ],
    ..NONE
};

/// The keys of everything that hears alone, in the converter's order.
const KEYS: &[Key] = &[
    is("has_audio_encoder", Fixed::Flag(true)),
    size("audio.projection_dim", "text"),
    size("audio.embedding_length", "n"),
    size("audio.feed_forward_length", "ff"),
    size("audio.block_count", "l"),
    size("audio.attention.head_count", "h"),
    is("projector_type", Fixed::Text("qwen2a")),
    size("audio.num_mel_bins", "mel"),
    positive("audio.attention.layer_norm_epsilon", &["audio_config.layer_norm_eps"]).or(Fixed::Number(1e-5)),
];

const AXES: &[Axis] = &[
    axis("l", Size::Of(&["audio_config.num_hidden_layers", "audio_config.encoder_layers"])),
    axis("n", Size::Of(&["audio_config.hidden_size", "audio_config.d_model"])),
    axis("ff", Size::Of(&["audio_config.intermediate_size", "audio_config.encoder_ffn_dim"])),
    axis("h", Size::Of(&["audio_config.num_attention_heads", "audio_config.encoder_attention_heads"])),
    axis("d", Size::Div("n", "h")).or("n", "a multiple of {h} heads"),
    axis("m", Size::Same("n")),
    axis("mel", Size::Of(&["audio_config.num_mel_bins"])),
    axis("two", Size::Is(2)),
    axis("text", Size::Of(TEXT_WIDTH)),
];

const WHISPERS: &[Axis] =
    &[axis("three", Size::Is(3)), axis("places", Size::Of(&["audio_config.max_source_positions"]))];

const CONV1: Rule = rule(&["conv1.weight"], &["a.conv1d.1.weight"], "n mel three");
const CONV2: Rule = rule(&["conv2.weight"], &["a.conv1d.2.weight"], "n m three");

const RULES: &[Rule] = &[
    CONV1.stored(DType::F16),
    CONV2.stored(DType::F16),
    rule(&["conv1.bias"], &["a.conv1d.1.bias"], "n -> n 1"),
    rule(&["conv2.bias"], &["a.conv1d.2.bias"], "n -> n 1"),
    rule(&["embed_positions.weight"], &["a.position_embd.weight"], "places n"),
    rule(&["layers.{l}.self_attn_layer_norm.weight"], &["a.blk.{l}.ln1.weight"], "n").bias(Need::Must),
    rule(&["layers.{l}.final_layer_norm.weight"], &["a.blk.{l}.ln2.weight"], "n").bias(Need::Must),
    rule(&["layers.{l}.self_attn.q_proj.weight"], &["a.blk.{l}.attn_q.weight"], "(h d) n").bias(Need::Must),
    rule(&["layers.{l}.self_attn.k_proj.weight"], &["a.blk.{l}.attn_k.weight"], "(h d) n"),
    rule(&["layers.{l}.self_attn.v_proj.weight"], &["a.blk.{l}.attn_v.weight"], "(h d) n").bias(Need::Must),
    rule(&["layers.{l}.self_attn.out_proj.weight"], &["a.blk.{l}.attn_out.weight"], "n (h d)")
        .bias(Need::Must),
    rule(&["layers.{l}.fc1.weight"], &["a.blk.{l}.ffn_up.weight"], "ff n").bias(Need::Must),
    rule(&["layers.{l}.fc2.weight"], &["a.blk.{l}.ffn_down.weight"], "n ff").bias(Need::Must),
    rule(&["layer_norm.weight"], &["a.post_ln.weight"], "n").bias(Need::Must),
];
