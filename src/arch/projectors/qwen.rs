//! Qwen 2-VL, 2.5-VL, 3-VL and 3.5: patches of two frames, whose kernel is given as two; queries, keys and values in one
//! matrix; patches are merged in squares by two layers.
//! Specification: `Qwen2VLVisionModel`, `Qwen3VLVisionModel` of llama.cpp's converter.

use super::siglip::TEXT;
use super::vision::VISION;
use crate::arch::config::Config;
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, make, positive};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Need, Rule, rule};
use ggraft_formats::{Array, Result, Value};

pub const QWEN2_VL: Arch = Arch {
    classes: QWEN2_CLASSES,
    gguf: "clip",
    applies: Some(|config| is_of(config, &["qwen2_vl"])),
    base: Some(&QWEN2),
    keys: &[is("projector_type", Fixed::Text("qwen2vl_merger")), EPSILON],
    axes: &[
        axis("n", Size::Of(&["vision_config.embed_dim"])),
        axis("ff", Size::Of(&["vision_config.hidden_size"])),
        axis("mlp", Size::Make(widened)),
    ],
    rules: PLAIN,
    ..NONE
};

/// Sarashina 2.2 Vision, whose tower is Qwen 2-VL's.
pub const SARASHINA: Arch = Arch {
    classes: &["Sarashina2VisionForCausalLM"],
    gguf: "clip",
    base: Some(&QWEN2_VL),
    ignored: &["llm.*", "norm.*"],
    ..NONE
};

pub const QWEN2_5_VL: Arch = Arch {
    classes: QWEN2_CLASSES,
    gguf: "clip",
    base: Some(&QWEN2),
    keys: &[
        is("projector_type", Fixed::Text("qwen2.5vl_merger")),
        is("use_silu", Fixed::Flag(true)),
        make("vision.n_wa_pattern", pattern),
        EPSILON,
    ],
    rules: GATED,
    ..NONE
};

const QWEN2_CLASSES: &[&str] =
    &["Qwen2VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration", "Qwen2VLModel"];

pub const EPSILON: Key =
    positive("vision.attention.layer_norm_epsilon", &["rms_norm_eps"]).or(Fixed::Number(1e-6));

pub fn is_of(config: &Config, types: &[&str]) -> Result<bool> {
    Ok(config.text("model_type")?.is_some_and(|told| types.contains(&told)))
}

pub const QWEN2: Arch = Arch {
    base: Some(&VISION),
    prefixes: &["visual.", "model.visual."],
    axes: &[
        axis("image", Size::Or(&["vision_config.image_size"], &Size::Is(560))),
        axis("merge", Size::Or(&["vision_config.spatial_merge_size"], &Size::Is(2))),
        axis("square", Size::Mul("merge", "merge")),
        axis("merged", Size::Mul("square", "n")),
        axis("hidden", Size::Same("merged")),
    ],
    rules: RULES,
    ignored: TEXT,
    ..NONE
};

/// The width of the feed-forward part of Qwen 2-VL.
fn widened(params: &Params<'_>, _: u32) -> Result<u64> {
    let ratio = params.config.number("vision_config.mlp_ratio")?;
    Ok((params.size("n", 0)? as f64 * ratio) as u64)
}

/// One layer of so many attends to the whole image.
pub fn pattern(params: &Params<'_>) -> Result<Option<Value>> {
    const KEY: &str = "vision_config.fullatt_block_indexes";
    let told = params.config.get(KEY).and_then(|v| v.as_array());
    let Some(all) = told else {
        return Err(params.config.missing(KEY, "the layers that attend to everything"));
    };
    let all: Vec<u64> = all.iter().filter_map(serde_json::Value::as_u64).collect();
    let every = all.first().map_or(0, |first| first + 1);
    match every > 0 && all.windows(2).all(|pair| pair[1] == pair[0] + every) {
        true => Ok(Some(Value::U32(every as u32))),
        false => Err(params.config.wrong(KEY, "layers of equal distance").found(format!("{all:?}"))),
    }
}

pub const FRAMES: Rule = rule(
    &["patch_embed.proj.weight"],
    &["v.patch_embd.weight", "v.patch_embd.weight.1"],
    "n channels [1|1] row column -> n channels row column ; n channels row column",
);

const QKV: Rule = rule(
    &["blocks.{l}.attn.qkv.weight"],
    &["v.blk.{l}.attn_q.weight", "v.blk.{l}.attn_k.weight", "v.blk.{l}.attn_v.weight"],
    "[(h d)|(h d)|(h d)] n -> (h d) n ; (h d) n ; (h d) n",
)
.bias(Need::Must);

/// The same as one tensor.
pub const FUSED: Rule =
    rule(&["blocks.{l}.attn.qkv.weight"], &["v.blk.{l}.attn_qkv.weight"], "[(h d)|(h d)|(h d)] n")
        .bias(Need::Must);

const RULES: &[Rule] = &[
    FRAMES,
    rule(&["blocks.{l}.norm1.weight"], &["v.blk.{l}.ln1.weight"], "n"),
    rule(&["blocks.{l}.norm2.weight"], &["v.blk.{l}.ln2.weight"], "n"),
    QKV,
    rule(&["blocks.{l}.attn.proj.weight"], &["v.blk.{l}.attn_out.weight"], "n (h d)").bias(Need::Must),
    rule(&["merger.ln_q.weight"], &["v.post_ln.weight"], "n"),
    rule(&["merger.mlp.0.weight"], &["mm.0.weight"], "hidden merged").bias(Need::Must),
    rule(&["merger.mlp.2.weight"], &["mm.2.weight"], "text merged").bias(Need::Must),
];

/// Qwen 2-VL: norms with a bias, two layers in the feed-forward part.
const PLAIN: &[Rule] = &[
    rule(&["blocks.{l}.norm1.weight"], &["v.blk.{l}.ln1.weight"], "n").bias(Need::Must),
    rule(&["blocks.{l}.norm2.weight"], &["v.blk.{l}.ln2.weight"], "n").bias(Need::Must),
    rule(&["blocks.{l}.mlp.fc1.weight"], &["v.blk.{l}.ffn_up.weight"], "mlp n").bias(Need::Must),
    rule(&["blocks.{l}.mlp.fc2.weight"], &["v.blk.{l}.ffn_down.weight"], "n mlp").bias(Need::Must),
    rule(&["merger.ln_q.weight"], &["v.post_ln.weight"], "n").bias(Need::Must),
];

/// Qwen 2.5-VL: a gated feed-forward part.
pub const GATED: &[Rule] = &[
    rule(&["blocks.{l}.mlp.gate_proj.weight"], &["v.blk.{l}.ffn_gate.weight"], "ff n").bias(Need::May),
    rule(&["blocks.{l}.mlp.up_proj.weight"], &["v.blk.{l}.ffn_up.weight"], "ff n").bias(Need::May),
    rule(&["blocks.{l}.mlp.down_proj.weight"], &["v.blk.{l}.ffn_down.weight"], "n ff").bias(Need::May),
];

/// Qwen 3-VL and 3.5: learned positions; some layers have a merger of their own.
pub const QWEN3_VL: Arch = Arch {
    classes: &[
        "Qwen3VLForConditionalGeneration",
        "Qwen3VLMoeForConditionalGeneration",
        "Qwen3_5ForConditionalGeneration",
        "Qwen3_5MoeForConditionalGeneration",
        "Qwen4ExpForConditionalGeneration",
    ],
    gguf: "clip",
    base: Some(&QWEN3),
    keys: QWEN3_KEYS,
    ..NONE
};

pub const QWEN3: Arch = Arch {
    base: Some(&QWEN2),
    prefixes: &["model.visual.", "visual."],
    renamed: &[
        ("model.visual.deepstack_merger_list.{l}.", "model.visual.deepstack_merger_list.{deep}."),
        ("visual.deepstack_merger_list.{l}.", "visual.deepstack_merger_list.{deep}."),
    ],
    axes: QWEN3_AXES,
    rules: QWEN3_RULES,
    without: &["v.blk.{l}.attn_q.weight"],
    ..NONE
};

const QWEN3_KEYS: &[Key] = &[
    is("projector_type", Fixed::Text("qwen3vl_merger")),
    is("use_gelu", Fixed::Flag(true)),
    MERGED,
    TEXT_EPSILON,
    DEEPSTACK,
];

pub const MERGED: Key = count("vision.spatial_merge_size", &["vision_config.spatial_merge_size"]);
pub const TEXT_EPSILON: Key =
    positive("vision.attention.layer_norm_epsilon", &["text_config.rms_norm_eps"]).or(Fixed::Number(1e-6));
pub const DEEPSTACK: Key = make("vision.is_deepstack_layers", |params| {
    let layers: Result<Vec<bool>> = (0..params.count("l", 0)?).map(|l| is_deep(params, l)).collect();
    Ok(Some(Value::Array(Array::Bool(layers?))))
});

const QWEN3_AXES: &[Axis] = &[
    axis("image", Size::Make(image)),
    axis("places", Size::Or(&["vision_config.num_position_embeddings"], &Size::Is(2304))),
    axis("deep", Size::Of(&["vision_config.deepstack_visual_indexes"])),
];

/// The side of an image that the positions cover.
fn image(params: &Params<'_>, _: u32) -> Result<u64> {
    let told = params.config.optional_count("vision_config.image_size")?;
    let places = params.size("places", 0)? as f64;
    let patch = params.config.optional_count("vision_config.patch_size")?.unwrap_or(16);
    Ok(told.map_or((places.sqrt() * f64::from(patch)) as u64, u64::from))
}

/// The layers whose output goes into the text model, too.
fn is_deep(params: &Params<'_>, layer: u32) -> Result<bool> {
    let all = params.config.get("vision_config.deepstack_visual_indexes").and_then(|v| v.as_array());
    Ok(all.is_some_and(|all| all.iter().any(|n| n.as_u64() == Some(layer.into()))))
}

pub const DEEP: Layers = Layers::When(is_deep);

const QWEN3_RULES: &[Rule] = &[
    FUSED,
    rule(&["patch_embed.proj.bias"], &["v.patch_embd.bias"], "n"),
    rule(&["pos_embed.weight"], &["v.position_embd.weight"], "places n"),
    rule(&["blocks.{l}.norm1.weight"], &["v.blk.{l}.ln1.weight"], "n").bias(Need::Must),
    rule(&["blocks.{l}.norm2.weight"], &["v.blk.{l}.ln2.weight"], "n").bias(Need::Must),
    rule(&["blocks.{l}.mlp.linear_fc1.weight"], &["v.blk.{l}.ffn_up.weight"], "ff n").bias(Need::Must),
    rule(&["blocks.{l}.mlp.linear_fc2.weight"], &["v.blk.{l}.ffn_down.weight"], "n ff").bias(Need::Must),
    rule(&["merger.norm.weight"], &["v.post_ln.weight"], "n").bias(Need::Must),
    rule(&["merger.linear_fc1.weight"], &["mm.0.weight"], "hidden merged").bias(Need::Must),
    rule(&["merger.linear_fc2.weight"], &["mm.2.weight"], "text merged").bias(Need::Must),
    rule(&["deepstack_merger_list.{l}.norm.weight"], &["v.deepstack.{l}.norm.weight"], "merged")
        .bias(Need::Must)
        .layers(DEEP),
    rule(&["deepstack_merger_list.{l}.linear_fc1.weight"], &["v.deepstack.{l}.fc1.weight"], "hidden merged")
        .bias(Need::Must)
        .layers(DEEP),
    rule(&["deepstack_merger_list.{l}.linear_fc2.weight"], &["v.deepstack.{l}.fc2.weight"], "text merged")
        .bias(Need::Must)
        .layers(DEEP),
];
