//! Qwen Omni and ASR: the towers of Qwen 2.5-VL and 3-VL, and one that hears, like Whisper's. Its places are computed;
//! Qwen 2.5 has two convolutions over time and projects by one matrix, Qwen 3 three over the spectrum, and projects by two.
//! Specification: `Qwen25OmniModel`, `Qwen3OmniMmprojModel`, `Qwen3ASRMmprojModel` of llama.cpp's converter.

use super::qwen::{DEEP, DEEPSTACK, EPSILON, GATED, MERGED, QWEN2, QWEN3, TEXT_EPSILON, pattern};
use super::siglip::TEXT;
use super::vision::TEXT_WIDTH;
use crate::arch::families::{Arch, Made, NONE};
use crate::arch::keys::{Fixed, Key, is, make, positive, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{DType, Result};

pub const QWEN2_5_OMNI: Arch = Arch {
    classes: &["Qwen2_5OmniModel", "Qwen2_5OmniForConditionalGeneration"],
    gguf: "clip",
    base: Some(&QWEN2),
    keys: &[
        HEARS,
        PROJECTED,
        WIDTH,
        FORWARD,
        BLOCKS,
        HEADS,
        MEL,
        NORM,
        is("projector_type", Fixed::Text("qwen2.5o")),
        is("use_silu", Fixed::Flag(true)),
        make("vision.n_wa_pattern", pattern),
        EPSILON,
    ],
    axes: AXES,
    rules: &[
        rule(&["^audio_tower.conv1.weight"], &["a.conv1d.1.weight"], "an mel three").stored(DType::F16),
        rule(&["^audio_tower.conv2.weight"], &["a.conv1d.2.weight"], "an am three").stored(DType::F16),
        rule(&["^audio_tower.conv1.bias"], &["a.conv1d.1.bias"], "an -> an 1"),
        rule(&["^audio_tower.conv2.bias"], &["a.conv1d.2.bias"], "an -> an 1"),
        rule(&["^audio_tower.proj.weight"], &["mm.a.fc.weight"], "text an").bias(Need::Must),
    ],
    shares: &[GATED, LAYERS],
    renamed: THINKER,
    made: PLACES,
    ignored: UNUSED,
    ..NONE
};

pub const QWEN3_OMNI: Arch = Arch {
    classes: &["Qwen3OmniMoeForConditionalGeneration"],
    gguf: "clip",
    base: Some(&QWEN3),
    keys: &[
        HEARS,
        PROJECTED,
        WIDTH,
        FORWARD,
        BLOCKS,
        HEADS,
        MEL,
        NORM,
        is("use_gelu", Fixed::Flag(true)),
        MERGED,
        TEXT_EPSILON,
        DEEPSTACK,
        is("vision.projector_type", Fixed::Text("qwen3vl_merger")),
        is("audio.projector_type", Fixed::Text("qwen3a")),
    ],
    axes: AXES,
    rules: MERGERS,
    shares: &[LAYERS, SPECTRUM],
    renamed: &[
        ("thinker.", ""),
        ("visual.merger_list.{l}.", "visual.merger_list.{deep}."),
        ("model.visual.merger_list.{l}.", "model.visual.merger_list.{deep}."),
    ],
    made: PLACES,
    ignored: UNUSED,
    ..NONE
};

pub const QWEN3_ASR: Arch = Arch {
    classes: &["Qwen3ASRForConditionalGeneration"],
    gguf: "clip",
    base: Some(&HEARING),
    keys: &[
        HEARS,
        PROJECTED,
        WIDTH,
        FORWARD,
        BLOCKS,
        HEADS,
        MEL,
        NORM,
        is("audio.projector_type", Fixed::Text("qwen3a")),
    ],
    axes: &[axis("l", Size::Same("a")), axis("three", Size::Is(3)), axis("text", Size::Of(TEXT_WIDTH))],
    ..NONE
};

/// Only the tower that hears.
const HEARING: Arch = Arch {
    prefixes: &["audio_tower."],
    axes: AXES,
    shares: &[LAYERS, SPECTRUM],
    renamed: &[
        ("thinker.", ""),
        ("model.audio_tower.", "audio_tower."),
        ("model.multi_modal_projector.linear_", "audio_tower.proj"),
    ],
    made: PLACES,
    ignored: TEXT,
    ..NONE
};

const THINKER: &[(&str, &str)] = &[("thinker.", "")];

/// The parts that speak, and a table that no one reads.
const UNUSED: &[&str] = &[
    "talker.*",
    "token2wav.*",
    "code2wav.*",
    "thinker.model.*",
    "thinker.lm_head.*",
    "*audio_bos_eos_token.*",
];

const HEARS: Key = is("has_audio_encoder", Fixed::Flag(true));
const PROJECTED: Key = size("audio.projection_dim", "text");
const WIDTH: Key = size("audio.embedding_length", "an");
const FORWARD: Key = size("audio.feed_forward_length", "aff");
const BLOCKS: Key = size("audio.block_count", "a");
const HEADS: Key = size("audio.attention.head_count", "ah");
const MEL: Key = size("audio.num_mel_bins", "mel");
const NORM: Key =
    positive("audio.attention.layer_norm_epsilon", &["audio_config.layer_norm_eps"]).or(Fixed::Number(1e-5));

const AXES: &[Axis] = &[
    axis("a", Size::Of(&["audio_config.num_hidden_layers", "audio_config.encoder_layers"])),
    axis("an", Size::Of(&["audio_config.d_model"])),
    axis("am", Size::Same("an")),
    axis("aff", Size::Of(&["audio_config.encoder_ffn_dim"])),
    axis("ah", Size::Of(&["audio_config.encoder_attention_heads"])),
    axis("ad", Size::Div("an", "ah")).or("an", "a multiple of {ah} heads"),
    axis("mel", Size::Of(&["audio_config.num_mel_bins"])),
    axis("three", Size::Is(3)),
    axis("c", Size::Of(&["audio_config.downsample_hidden_size"])),
    axis("cc", Size::Same("c")),
    axis("high", Size::Is(3)),
    axis("wide", Size::Is(3)),
    axis("bands", Size::Make(|params, _| Ok(params.size("mel", 0)?.div_ceil(2).div_ceil(2).div_ceil(2)))),
];

/// As many places as Whisper has.
const HELD: u64 = 1500;

/// Places told by sines and cosines of falling frequencies.
const PLACES: &[Made] =
    &[Made { name: "a.position_embd.weight", row: Some("an"), values: |params| places(params).map(Some) }];

/// Steps are in f32, as the model computes them; each is rounded correctly.
fn places(params: &Params<'_>) -> Result<Vec<f32>> {
    let half = (params.size("an", 0)? / 2) as usize;
    let step = -(10000f64.ln() / (half as f64 - 1.0)) as f32;
    let falling: Vec<f32> = (0..half).map(|i| f64::from(step * i as f32).exp() as f32).collect();
    let mut all = Vec::with_capacity(HELD as usize * half * 2);
    for place in 0..HELD {
        let at = || falling.iter().map(move |by| f64::from(place as f32 * by));
        all.extend(at().map(|x| x.sin() as f32));
        all.extend(at().map(|x| x.cos() as f32));
    }
    Ok(all)
}

const LAYERS: &[Rule] = &[
    rule(&["^audio_tower.layers.{a}.self_attn_layer_norm.weight"], &["a.blk.{a}.ln1.weight"], "an")
        .bias(Need::Must),
    rule(&["^audio_tower.layers.{a}.final_layer_norm.weight"], &["a.blk.{a}.ln2.weight"], "an")
        .bias(Need::Must),
    rule(&["^audio_tower.layers.{a}.self_attn.q_proj.weight"], &["a.blk.{a}.attn_q.weight"], "(ah ad) an")
        .bias(Need::Must),
    rule(&["^audio_tower.layers.{a}.self_attn.k_proj.weight"], &["a.blk.{a}.attn_k.weight"], "(ah ad) an")
        .bias(Need::May),
    rule(&["^audio_tower.layers.{a}.self_attn.v_proj.weight"], &["a.blk.{a}.attn_v.weight"], "(ah ad) an")
        .bias(Need::Must),
    rule(
        &["^audio_tower.layers.{a}.self_attn.out_proj.weight"],
        &["a.blk.{a}.attn_out.weight"],
        "an (ah ad)",
    )
    .bias(Need::Must),
    rule(&["^audio_tower.layers.{a}.fc1.weight"], &["a.blk.{a}.ffn_up.weight"], "aff an").bias(Need::Must),
    rule(&["^audio_tower.layers.{a}.fc2.weight"], &["a.blk.{a}.ffn_down.weight"], "an aff").bias(Need::Must),
    rule(&["^audio_tower.ln_post.weight"], &["a.post_ln.weight"], "an").bias(Need::Must),
];

const SPECTRUM: &[Rule] = &[
    rule(&["^audio_tower.conv2d1.weight"], &["a.conv2d.1.weight"], "c 1 high wide").stored(DType::F16),
    rule(&["^audio_tower.conv2d2.weight"], &["a.conv2d.2.weight"], "c cc high wide").stored(DType::F16),
    rule(&["^audio_tower.conv2d3.weight"], &["a.conv2d.3.weight"], "c cc high wide").stored(DType::F16),
    rule(&["^audio_tower.conv2d1.bias"], &["a.conv2d.1.bias"], "c -> c 1 1"),
    rule(&["^audio_tower.conv2d2.bias"], &["a.conv2d.2.bias"], "c -> c 1 1"),
    rule(&["^audio_tower.conv2d3.bias"], &["a.conv2d.3.bias"], "c -> c 1 1"),
    rule(&["^audio_tower.conv_out.weight"], &["a.conv_out.weight"], "an (c bands)").stored(DType::F16),
    rule(&["^audio_tower.proj1.weight"], &["mm.a.mlp.1.weight"], "am an").bias(Need::Must),
    rule(&["^audio_tower.proj2.weight"], &["mm.a.mlp.2.weight"], "text an").bias(Need::Must),
];

/// Qwen 3 Omni's names of Qwen 3-VL's mergers.
const MERGERS: &[Rule] = &[
    rule(&["merger.ln_q.weight"], &["v.post_ln.weight"], "n").bias(Need::Must),
    rule(&["merger.mlp.0.weight"], &["mm.0.weight"], "hidden merged").bias(Need::Must),
    rule(&["merger.mlp.2.weight"], &["mm.2.weight"], "text merged").bias(Need::Must),
    rule(&["merger_list.{l}.ln_q.weight"], &["v.deepstack.{l}.norm.weight"], "merged")
        .bias(Need::Must)
        .layers(DEEP),
    rule(&["merger_list.{l}.mlp.0.weight"], &["v.deepstack.{l}.fc1.weight"], "hidden merged")
        .bias(Need::Must)
        .layers(DEEP),
    rule(&["merger_list.{l}.mlp.2.weight"], &["v.deepstack.{l}.fc2.weight"], "text merged")
        .bias(Need::Must)
        .layers(DEEP),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::config::Config;
    use crate::arch::families::Family;

    #[test]
    fn the_places_are_those_that_torch_computes_but_for_units_in_the_last_place() {
        let config = serde_json::json!({"audio_config": {"d_model": 64}});
        let config = Config::seeing("config.json".into(), config, serde_json::Value::Null).unwrap();
        let family = Family::of(&QWEN2_5_OMNI);
        let params = Params::new(&config, &family.axes);
        let all = places(&params).unwrap();
        assert_eq!(all.len(), 1500 * 64);
        // Of torch 2.15: rows 1, 2 and 1499, of each the numbers 0, 1, 31, 32, 33 and 63.
        for (row, told) in TORCH {
            for (column, told) in [0, 1, 31, 32, 33, 63].into_iter().zip(told) {
                let found = all[row * 64 + column];
                assert!((found - told).abs() < 1e-6, "{row} {column}: {found} {told}");
            }
        }
    }

    const TORCH: [(usize, [f32; 6]); 3] = [
        (1, [0.84147096, 0.67647374, 9.999999e-05, 0.54030234, 0.73646677, 1.0]),
        (2, [0.9092974, 0.99640083, 0.00019999998, -0.41614684, 0.084766544, 1.0]),
        (1499, [-0.4442207, 0.99996465, 0.14933924, -0.8959174, -0.008407133, 0.98878604]),
    ];
}
