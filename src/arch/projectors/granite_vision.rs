//! Granite 4 Vision: SigLIP, several layers of which are looked at, each through a projector of its own, whose queries gather
//! what a window of patches says. Which layers, and in which layer of the text model each is heard, the config tells; the
//! projectors are numbered in the order of the text model's layers.
//! Specification: `Granite4VisionMmprojModel` of llama.cpp's converter.

use super::siglip::SIGLIP;
use crate::arch::config::Config;
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, is, make, positive, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use crate::arrange::Arrange;
use ggraft_formats::{Array, Error, Result, Value};
use serde_json::Value as Json;

pub const GRANITE4_VISION: Arch = Arch {
    classes: &["Granite4VisionForConditionalGeneration"],
    gguf: "clip",
    base: Some(&SIGLIP),
    prefixes: &["model.vision_tower.vision_model.", "vision_tower.vision_model."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    shares: &[QUERIES],
    renamed: &[
        ("model.layerwise_projectors.{l}.", "projectors.{layerwise}."),
        ("model.spatial_projectors.{l}.", "projectors.{spatial}."),
    ],
    ignored: &["*vision_model.head.*"],
    ..NONE
};

/// A projector: the layer that it looks at, and that of the text model which hears it.
struct Projector {
    sees: i64,
    told: i64,
    /// Of those that look at one layer each, or of those that share one: the how manieth.
    place: u64,
    is_spatial: bool,
}

/// All of them, in the order of the text model's layers.
fn projectors(config: &Config) -> Result<Vec<Projector>> {
    let layers = |key: &str| config.count(key).map(i64::from);
    let (seen, told) = (layers("vision_config.num_hidden_layers")?, layers("text_config.num_hidden_layers")?);
    let from_end = |at: i64, all: i64| if at < 0 { at + all } else { at };
    let mut pairs = Vec::new();
    for pair in list(config, "deepstack_layer_map")? {
        match pair.as_array().map(|pair| pair.iter().map(Json::as_i64).collect::<Vec<_>>()).as_deref() {
            Some([Some(sees), Some(told)]) => pairs.push((*sees, *told)),
            _ => return Err(wrong(config, "deepstack_layer_map", "pairs of layers", pair)),
        }
    }
    pairs.sort_unstable();
    let of = |place: usize, sees: i64, heard: i64, is_spatial: bool| Projector {
        sees: from_end(sees, seen),
        told: from_end(heard, told),
        place: place as u64,
        is_spatial,
    };
    let each = pairs.into_iter().enumerate();
    let mut all: Vec<Projector> = each.map(|(i, (sees, told))| of(i, sees, told, false)).collect();
    let shared = config.get("spatial_vision_layer").and_then(Json::as_i64).unwrap_or(-1);
    for (i, layer) in list(config, "spatial_target_layers")?.iter().enumerate() {
        let Some(layer) = layer.as_i64() else {
            return Err(wrong(config, "spatial_target_layers", "numbers of layers", layer));
        };
        // Those of the text model are taken as they are told.
        all.push(Projector { told: layer, ..of(i, shared, 0, true) });
    }
    all.arrange_by_key(|one| one.told);
    Ok(all)
}

fn wrong(config: &Config, key: &str, expected: &str, found: &Json) -> Error {
    config.wrong(key, expected).found(found)
}

/// A list of the config, empty if it is not there.
fn list<'a>(config: &'a Config, key: &str) -> Result<&'a [Json]> {
    match config.get(key) {
        None => Ok(&[]),
        Some(Json::Array(all)) => Ok(all),
        Some(other) => Err(wrong(config, key, "a list", other)),
    }
}

/// The number of a projector of one of the two sorts.
fn number(params: &Params<'_>, place: u32, is_spatial: bool) -> Result<u64> {
    let all = projectors(params.config)?;
    let is = |one: &Projector| one.is_spatial == is_spatial && one.place == u64::from(place);
    // One beyond all is no one's, and told as a tensor that is not known.
    Ok(all.iter().position(is).unwrap_or(all.len() + place as usize) as u64)
}

const KEYS: &[Key] = &[
    is("projector_type", Fixed::Text("granite4_vision")),
    positive("vision.attention.layer_norm_epsilon", &["vision_config.layer_norm_eps"])
        .or(Fixed::Number(1e-6)),
    is("use_gelu", Fixed::Flag(true)),
    size("vision.preproc_image_size", "image"),
    make("vision.projector.query_side", |params| side(params, 0).map(|n| Some(Value::U32(n)))),
    make("vision.projector.window_side", |params| side(params, 1).map(|n| Some(Value::U32(n)))),
    make("vision.feature_layer", |params| numbers(params, |one| one.sees)),
    make("vision.projector.spatial_offsets", |params| {
        numbers(params, |one| if one.is_spatial { one.place as i64 } else { -1 })
    }),
    make("vision.image_grid_pinpoints", pinpoints),
];

/// A number of every projector.
fn numbers(params: &Params<'_>, of: fn(&Projector) -> i64) -> Result<Option<Value>> {
    let all = projectors(params.config)?.iter().map(|one| of(one) as i32).collect();
    Ok(Some(Value::Array(Array::I32(all))))
}

/// Patches along the side of what a projector makes of a window, or of the window: the parts of `downsample_rate`.
fn side(params: &Params<'_>, part: usize) -> Result<u32> {
    let text = params.config.text("downsample_rate")?.unwrap_or_default();
    let parts: Vec<Option<u32>> = text.split('/').map(|n| n.trim().parse().ok().filter(|n| *n > 0)).collect();
    match (parts.len(), parts.get(part)) {
        (2, Some(Some(n))) => Ok(*n),
        _ => Err(params.config.wrong("downsample_rate", "two numbers, as '4/8'").found(text)),
    }
}

/// The sizes that an image may get, each the width before the height.
fn pinpoints(params: &Params<'_>) -> Result<Option<Value>> {
    const KEY: &str = "image_grid_pinpoints";
    let mut all = Vec::new();
    for pair in list(params.config, KEY)? {
        let number = |at: usize| -> Option<i32> { pair.get(at)?.as_i64()?.try_into().ok() };
        match (number(0), number(1)) {
            (Some(high), Some(wide)) => all.extend([wide, high]),
            _ => return Err(wrong(params.config, KEY, "pairs of a height and a width", pair)),
        }
    }
    Ok((!all.is_empty()).then_some(Value::Array(Array::I32(all))))
}

const AXES: &[Axis] = &[
    axis("p", Size::Make(|params, _| Ok(projectors(params.config)?.len() as u64))),
    axis("layerwise", Size::Make(|params, place| number(params, place, false))),
    axis("spatial", Size::Make(|params, place| number(params, place, true))),
    axis("query", Size::Make(|params, _| side(params, 0).map(u64::from))),
    axis("queries", Size::Mul("query", "query")),
    axis("window", Size::Make(|params, _| side(params, 1).map(u64::from))),
    axis("windows", Size::Mul("window", "window")),
    axis("pff", Size::Or(&["qformer_config.intermediate_size"], &Size::Is(3072))),
];

const RULES: &[Rule] = &[
    rule(&["^model.image_newline"], &["v.image_newline"], "text").may(),
    rule(&["^projectors.{p}.image_positions"], &["v.proj_blk.{p}.img_pos"], "1 windows n"),
    rule(&["^projectors.{p}.query"], &["v.proj_blk.{p}.query"], "1 queries n"),
];

/// A part of a projector: the checkpoint's name, GGUF's, the elements.
macro_rules! queried {
    ($($from:literal => $to:literal, $axes:literal);* $(;)?) => {
        &[$(
            rule(&[concat!("^projectors.{p}.", $from)], &[concat!("v.proj_blk.{p}.", $to)], $axes)
                .bias(Need::Must),
        )*]
    };
}

const QUERIES: &[Rule] = queried!(
    "norm.weight" => "norm.weight", "n";
    "out_linear.weight" => "linear.weight", "text n";
    "qformer.layernorm.weight" => "post_norm.weight", "n";
    "qformer.encoder.layer.0.attention.attention.query.weight" => "self_attn_q.weight", "n m";
    "qformer.encoder.layer.0.attention.attention.key.weight" => "self_attn_k.weight", "n m";
    "qformer.encoder.layer.0.attention.attention.value.weight" => "self_attn_v.weight", "n m";
    "qformer.encoder.layer.0.attention.output.dense.weight" => "self_attn_out.weight", "n m";
    "qformer.encoder.layer.0.attention.output.LayerNorm.weight" => "self_attn_norm.weight", "n";
    "qformer.encoder.layer.0.crossattention.attention.query.weight" => "cross_attn_q.weight", "n m";
    "qformer.encoder.layer.0.crossattention.attention.key.weight" => "cross_attn_k.weight", "n m";
    "qformer.encoder.layer.0.crossattention.attention.value.weight" => "cross_attn_v.weight", "n m";
    "qformer.encoder.layer.0.crossattention.output.dense.weight" => "cross_attn_out.weight", "n m";
    "qformer.encoder.layer.0.crossattention.output.LayerNorm.weight" => "cross_attn_norm.weight", "n";
    "qformer.encoder.layer.0.intermediate_query.dense.weight" => "ffn_up.weight", "pff n";
    "qformer.encoder.layer.0.output_query.dense.weight" => "ffn_down.weight", "n pff";
    "qformer.encoder.layer.0.output_query.LayerNorm.weight" => "ffn_norm.weight", "n";
);
