//! dots3-note: a tower whose later layers have experts, more of them the later, and one that hears, behind convolutions over
//! the spectrum. Each is projected by two layers.
//! Specification: `Dots3NoteMmprojModel` of llama.cpp's converter.

use super::vision::{VISION, of_colours};
use crate::arch::config::Config;
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, make, positive, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Need, Rule, rule};
use ggraft_formats::{Array, DType, Result, Value};
use serde_json::{Value as Json, json};

pub const DOTS3_NOTE: Arch = Arch {
    classes: &["Dots3NoteForCausalLM", "Dots3NoteForConditionalGeneration"],
    gguf: "clip",
    applies: Some(|config| supported(config).map(|()| true)),
    base: Some(&VISION),
    prefixes: &["vision_encoder."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    shares: &[HEARING, SPLIT],
    ignored: &["model.*", "lm_head.*", "mtp.*"],
    ..NONE
};

/// Makes a value that a key must have.
type Wanted = fn() -> Json;

/// What the runtime's graph computes, and no other: keys of the config, whether they must be there, and their value.
const COMPUTED: &[(&str, bool, Wanted)] = &[
    ("vision_config.adapter_type", true, || json!("patch_merger")),
    ("vision_config.pre_pixel_shuffle", true, || json!(true)),
    ("vision_config.router_scoring_func", false, || json!("sigmoid")),
    ("vision_config.router_scale", false, || json!(1.0)),
    ("vision_config.temporal_patch_size", false, || json!(1)),
    ("vision_config.use_bias", false, || json!(false)),
    ("vision_config.use_qk_norm", true, || json!(true)),
    ("audio_config.use_conv2d_stem", true, || json!(true)),
    ("audio_config.use_rope", true, || json!(true)),
    ("audio_config.use_rms_norm", true, || json!(true)),
    ("audio_config.use_causal", false, || json!(false)),
    ("audio_config.whisper_config.activation_function", true, || json!("swiglu")),
    ("audio_config.merge_factor", false, || json!(1)),
    ("audio_config.chunk_seconds", true, || json!(60)),
    ("audio_config.rope_parameters.partial_rotary_factor", true, || json!(0.5)),
    ("audio_config.rope_parameters.rope_theta", true, || json!(10000.0)),
];

fn supported(config: &Config) -> Result<()> {
    for (key, must, value) in COMPUTED {
        let (wanted, found) = (value(), config.get(key));
        let same = |found: &Json| match (found.as_f64(), wanted.as_f64()) {
            (Some(found), Some(wanted)) => found == wanted,
            _ => *found == wanted,
        };
        if !found.map_or(!must, same) {
            let found = found.map_or_else(|| String::from("nothing"), Json::to_string);
            return Err(config.unsupported(key).expected(wanted.to_string()).found(found));
        }
    }
    Ok(())
}

const KEYS: &[Key] = &[
    make("vision.image_mean", |params| of_colours(params, prepared(params, &MEAN), f64::MIN)),
    make("vision.image_std", |params| of_colours(params, prepared(params, &DEVIATION), 0.0)),
    is("has_audio_encoder", Fixed::Flag(true)),
    size("audio.projection_dim", "text"),
    size("audio.embedding_length", "an"),
    size("audio.feed_forward_length", "aff"),
    size("audio.block_count", "a"),
    size("audio.attention.head_count", "ah"),
    is("vision.projector_type", Fixed::Text("dots3note_v")),
    is("use_silu", Fixed::Flag(true)),
    positive("vision.attention.layer_norm_epsilon", &["vision_config.rms_norm_eps"]).must(),
    count("vision.spatial_merge_size", &["vision_config.spatial_merge_size"]).must(),
    count("vision.image_min_pixels", &MIN).must(),
    count("vision.image_max_pixels", &MAX).must(),
    make("vision.expert_count_per_layer", |params| {
        let layers = 0..params.count("l", 0)?;
        let all = layers.map(|layer| experts(params, layer).map(|n| n as i32)).collect::<Result<_>>()?;
        Ok(Some(Value::Array(Array::I32(all))))
    }),
    count("vision.expert_used_count", &["vision_config.capacity_factor"]).must(),
    is("audio.projector_type", Fixed::Text("dots3note_a")),
    size("audio.num_mel_bins", "mel"),
    is("audio.attention.layer_norm_epsilon", Fixed::Number(1e-6)),
];

const MIN: [&str; 2] = ["preprocessor_config.vision_config.min_pixels", "preprocessor_config.min_pixels"];
const MAX: [&str; 2] = ["preprocessor_config.vision_config.max_pixels", "preprocessor_config.max_pixels"];

const MEAN: [&str; 2] = ["preprocessor_config.vision_config.image_mean", "preprocessor_config.image_mean"];
const DEVIATION: [&str; 2] = ["preprocessor_config.vision_config.image_std", "preprocessor_config.image_std"];

/// The first of two keys that is told, else the second.
fn prepared(params: &Params<'_>, keys: &[&'static str; 2]) -> &'static str {
    if params.config.get(keys[0]).is_some() { keys[0] } else { keys[1] }
}

/// The experts of a layer; none of one whose feed-forward part is dense.
fn experts(params: &Params<'_>, layer: u32) -> Result<u64> {
    const KEY: &str = "vision_config.pyramid_num_routed";
    let told = params.config.get(KEY).and_then(|all| all.get(layer as usize)).and_then(Json::as_i64);
    let missing = || params.config.missing(KEY, "a number of experts for every layer, 0 or less for none");
    told.map(|n| u64::try_from(n).unwrap_or(0)).ok_or_else(missing)
}

const DENSE: Layers = Layers::When(|params, layer| experts(params, layer).map(|n| n == 0));
const SPARSE: Layers = Layers::When(|params, layer| experts(params, layer).map(|n| n > 0));

const AXES: &[Axis] = &[
    // Images may have any size.
    axis("image", Size::Is(0)),
    // `hidden_size` is the width of what the adapter gives.
    axis("n", Size::Of(&["vision_config.embed_dim"])),
    axis("e", Size::Make(experts)),
    axis("eff", Size::Or(&["vision_config.moe_intermediate_size"], &Size::Same("ff"))),
    axis("merge", Size::Of(&["vision_config.spatial_merge_size"])),
    axis("squared", Size::Mul("merge", "merge")),
    axis("square", Size::Mul("squared", "n")),
    axis("hidden", Size::Same("square")),
    axis("a", Size::Of(&["audio_config.whisper_config.encoder_layers"])),
    axis("an", Size::Of(&["audio_config.whisper_config.d_model"])),
    axis("am", Size::Same("an")),
    axis("aff", Size::Of(&["audio_config.whisper_config.encoder_ffn_dim"])),
    axis("ah", Size::Of(&["audio_config.whisper_config.encoder_attention_heads"])),
    axis("ad", Size::Div("an", "ah")).or("an", "a multiple of {ah} heads"),
    axis("mel", Size::Of(&["audio_config.whisper_config.num_mel_bins"])),
    axis("c", Size::Or(&["audio_config.downsample_hidden_size"], &Size::Is(480))),
    axis("cc", Size::Same("c")),
    axis("high", Size::Is(3)),
    axis("wide", Size::Is(3)),
    axis("bands", Size::Make(|params, _| Ok(params.size("mel", 0)?.div_ceil(8)))),
    axis("projected", Size::Same("text")),
];

const RULES: &[Rule] = &[
    rule(&["patch_embed.proj.weight"], &["v.patch_embd.weight"], "n channels row column"),
    rule(&["patch_embed.proj.bias"], &["v.patch_embd.bias"], "n").may(),
    rule(&["patch_embed.norm.weight"], &["v.pre_ln.weight"], "n"),
    rule(&["blocks.{l}.norm_1.weight"], &["v.blk.{l}.ln1.weight"], "n"),
    rule(&["blocks.{l}.norm_2.weight"], &["v.blk.{l}.ln2.weight"], "n"),
    rule(&["blocks.{l}.attn.qkv.weight"], &["v.blk.{l}.attn_qkv.weight"], "[(h d)|(h d)|(h d)] n"),
    rule(&["blocks.{l}.attn.q_norm.weight"], &["v.blk.{l}.attn_q_norm.weight"], "d"),
    rule(&["blocks.{l}.attn.k_norm.weight"], &["v.blk.{l}.attn_k_norm.weight"], "d"),
    rule(&["blocks.{l}.attn.proj.weight"], &["v.blk.{l}.attn_out.weight"], "n (h d)"),
    rule(&["blocks.{l}.mlp.fc1.weight"], &["v.blk.{l}.ffn_gate.weight"], "ff n").layers(DENSE),
    rule(&["blocks.{l}.mlp.fc3.weight"], &["v.blk.{l}.ffn_up.weight"], "ff n").layers(DENSE),
    rule(&["blocks.{l}.mlp.fc2.weight"], &["v.blk.{l}.ffn_down.weight"], "n ff").layers(DENSE),
    rule(&["blocks.{l}.mlp.gate_weight"], &["v.blk.{l}.ffn_gate_inp.weight"], "e n")
        .layers(SPARSE)
        .stored(DType::F32),
    rule(&["blocks.{l}.mlp.router_bias"], &["v.blk.{l}.exp_probs_b.weight"], "e").layers(SPARSE),
    rule(&["blocks.{l}.mlp.experts.{e}.fc1.weight"], &["v.blk.{l}.ffn_gate_exps.weight"], "eff n -> e eff n")
        .layers(SPARSE),
    rule(&["blocks.{l}.mlp.experts.{e}.fc3.weight"], &["v.blk.{l}.ffn_up_exps.weight"], "eff n -> e eff n")
        .layers(SPARSE),
    rule(&["blocks.{l}.mlp.experts.{e}.fc2.weight"], &["v.blk.{l}.ffn_down_exps.weight"], "n eff -> e n eff")
        .layers(SPARSE),
    rule(&["post_trunk_norm.weight"], &["mm.post_norm.weight"], "n"),
    rule(&["adapter.ln_q.weight"], &["mm.input_norm.weight"], "n").bias(Need::Must),
    rule(&["adapter.mlp.0.weight"], &["mm.0.weight"], "hidden square").bias(Need::Must),
    rule(&["adapter.mlp.2.weight"], &["mm.2.weight"], "text square").bias(Need::Must),
];

/// A part of the tower that hears: the checkpoint's name, GGUF's, the elements.
macro_rules! heard {
    ($($from:literal => $to:literal, $axes:literal $(, $stored:expr)?);* $(;)?) => {
        &[$(
            rule(
                &[concat!("^audio_encoder.dots_encoder.speech_encoder.", $from)],
                &[concat!("a.", $to)],
                $axes,
            )
            $(.stored($stored))?,
        )*]
    };
}

const HEARING: &[Rule] = heard!(
    "conv2d1.weight" => "conv2d.1.weight", "c 1 high wide", DType::F32;
    "conv2d1.bias" => "conv2d.1.bias", "c";
    "conv2d2.weight" => "conv2d.2.weight", "c cc high wide", DType::F32;
    "conv2d2.bias" => "conv2d.2.bias", "c";
    "conv2d3.weight" => "conv2d.3.weight", "c cc high wide", DType::F32;
    "conv2d3.bias" => "conv2d.3.bias", "c";
    "conv_out.weight" => "conv_out.weight", "an (c bands)", DType::F32;
    "layer_norm.weight" => "post_ln.weight", "an";
    "layers.{a}.self_attn_layer_norm.weight" => "blk.{a}.ln1.weight", "an";
    "layers.{a}.final_layer_norm.weight" => "blk.{a}.ln2.weight", "an";
    "layers.{a}.self_attn.q_proj.weight" => "blk.{a}.attn_q.weight", "(ah ad) an";
    "layers.{a}.self_attn.q_proj.bias" => "blk.{a}.attn_q.bias", "(ah ad)";
    "layers.{a}.self_attn.k_proj.weight" => "blk.{a}.attn_k.weight", "(ah ad) an";
    "layers.{a}.self_attn.v_proj.weight" => "blk.{a}.attn_v.weight", "(ah ad) an";
    "layers.{a}.self_attn.v_proj.bias" => "blk.{a}.attn_v.bias", "(ah ad)";
    "layers.{a}.self_attn.out_proj.weight" => "blk.{a}.attn_out.weight", "an (ah ad)";
    "layers.{a}.self_attn.out_proj.bias" => "blk.{a}.attn_out.bias", "an";
    "layers.{a}.fc2.weight" => "blk.{a}.ffn_down.weight", "an aff";
    "layers.{a}.fc2.bias" => "blk.{a}.ffn_down.bias", "an";
);

/// Those that are split, and the adapter.
const SPLIT: &[Rule] = &[
    rule(
        &["^audio_encoder.dots_encoder.speech_encoder.layers.{a}.fc1.weight"],
        &["a.blk.{a}.ffn_gate.weight", "a.blk.{a}.ffn_up.weight"],
        "[aff|aff] an -> aff an ; aff an",
    )
    .bias(Need::Must),
    rule(&["^audio_encoder.audio_adapter.proj.0.weight"], &["mm.a.norm_pre.weight"], "an").bias(Need::Must),
    rule(&["^audio_encoder.audio_adapter.proj.1.weight"], &["mm.a.mlp.1.weight"], "text an").bias(Need::Must),
    rule(&["^audio_encoder.audio_adapter.proj.3.weight"], &["mm.a.mlp.3.weight"], "projected text")
        .bias(Need::Must),
];
