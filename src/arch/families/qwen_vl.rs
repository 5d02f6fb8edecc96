//! The text models of Qwen 2, 2.5 and 3 that see: Qwen 2 and 3 whose positions have three parts (mrope).
//! Specification: `Qwen2VLModel`, `Qwen3VLTextModel`, `Qwen3VLMoeTextModel` of llama.cpp's converter.

use super::qwen::{QWEN2, QWEN3};
use super::qwen_moe::{self, QWEN3_MOE, SPARSE};
use super::{Arch, NONE, Uses, decoder};
use crate::arch::keys::{Absent, From, Key, make};
use crate::arch::params::Params;
use crate::arch::rule::{Layers, Rule, rule};
use ggraft_formats::{Model, Result, Value};
use serde_json::{Value as Json, json};

pub const QWEN2_VL: Arch = Arch {
    classes: &["Qwen2VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration"],
    gguf: "qwen2vl",
    base: Some(&QWEN2),
    keys: &[ROPE],
    ignored: SEEING,
    ..NONE
};

/// The model alone.
pub const QWEN2_VL_MODEL: Arch = Arch {
    classes: &["Qwen2VLModel"],
    gguf: "qwen2vl",
    base: Some(&QWEN2_VL),
    rules: decoder::ANY_HEAD,
    ..NONE
};

pub const QWEN3_VL: Arch = Arch {
    classes: &["Qwen3VLForConditionalGeneration"],
    regains: stacked,
    gguf: "qwen3vl",
    base: Some(&QWEN3),
    keys: &[make("n_deepstack_layers", deepstack)],
    ignored: SEEING,
    uses: Uses::Text,
    ..NONE
};

pub const QWEN3_VL_MOE: Arch = Arch {
    classes: &["Qwen3VLMoeForConditionalGeneration"],
    regains: stacked,
    gguf: "qwen3vlmoe",
    base: Some(&QWEN3_MOE),
    keys: &[make("n_deepstack_layers", deepstack)],
    without: &["blk.{l}.ffn_gate_exps.weight", "blk.{l}.ffn_up_exps.weight", "blk.{l}.ffn_down_exps.weight"],
    rules: EXPERTS,
    ignored: SEEING,
    ..NONE
};

/// Layers of the tower whose vectors go into the first layers here: how many, of which a GGUF does not tell the numbers.
fn stacked(model: &Model, layers: u32) -> Vec<(&'static str, Json)> {
    let key = format!("{}.n_deepstack_layers", model.architecture().unwrap_or_default());
    let count = model.metadata.u64(&key).unwrap_or(0).min(layers.into());
    vec![("vision_config", json!({"deepstack_visual_indexes": (0..count).collect::<Vec<_>>()}))]
}

/// The tensors of the parts that see, hear and speak.
pub const SEEING: &[&str] = &[
    "mlp*",
    "vit.*",
    "vpm.*",
    "siglip2.*",
    "conformer.*",
    "merger.*",
    "model.merger.*",
    "resampler.*",
    "sound_encoder.*",
    "sound_projection.*",
    "speech_embeddings.*",
    "*visual.*",
    "*vision.*",
    "*audio.*",
    "*vision_*",
    "*audio_*",
    "*talker.*",
    "*token2wav.*",
    "*code2wav.*",
    "*projector.*",
    "*image_newline*",
    "*view_seperator*",
    "*patch_embed*",
    "*patch_merger.*",
    "*patch_merge_mlp.*",
    "*model.connector.*",
];

/// `mrope` is told by its sections alone.
pub const ROPE: Key = Key {
    gguf: "rope",
    from: From::Rope(&["default", "linear", "yarn", "llama3", "dynamic", "mrope"]),
    absent: Absent::Omit,
};

/// How many layers of the part that sees are fed into the first of these.
fn deepstack(params: &Params<'_>) -> Result<Option<Value>> {
    let seeing = params.config.raw().get("vision_config");
    let layers = seeing.and_then(|v| v.get("deepstack_visual_indexes")).and_then(|v| v.as_array());
    Ok(Some(Value::U32(layers.map_or(0, |all| all.len() as u32))))
}

/// All experts stacked, by trainers transposed, by transformers 5 as they compute; or each apart.
const EXPERTS: &[Rule] = &[
    rule(&[GATE_UP], &["blk.{l}.ffn_{gate|up}_exps.weight"], "e n [eff|eff] -> e eff n ; e eff n")
        .layers(TRANSPOSED),
    rule(&[DOWN], &["blk.{l}.ffn_down_exps.weight"], "e eff n -> e n eff").layers(TRANSPOSED),
    rule(&[GATE_UP], &["blk.{l}.ffn_{gate|up}_exps.weight"], "e [eff|eff] n -> e eff n ; e eff n")
        .layers(UPRIGHT),
    rule(&[DOWN], &["blk.{l}.ffn_down_exps.weight"], "e n eff").layers(UPRIGHT),
    rule(
        &["layers.{l}.mlp.experts.{e}.gate_proj.weight"],
        &["blk.{l}.ffn_gate_exps.weight"],
        "eff n -> e eff n",
    )
    .layers(SPARSE),
    rule(&["layers.{l}.mlp.experts.{e}.up_proj.weight"], &["blk.{l}.ffn_up_exps.weight"], "eff n -> e eff n")
        .layers(SPARSE),
    rule(
        &["layers.{l}.mlp.experts.{e}.down_proj.weight"],
        &["blk.{l}.ffn_down_exps.weight"],
        "n eff -> e n eff",
    )
    .layers(SPARSE),
];

const GATE_UP: &str = "layers.{l}.mlp.experts.gate_up_proj";
const DOWN: &str = "layers.{l}.mlp.experts.down_proj";
const UPRIGHT: Layers =
    Layers::When(|params, layer| Ok(qwen_moe::is_sparse(params, layer)? && !is_transposed(params, layer)?));
const TRANSPOSED: Layers =
    Layers::When(|params, layer| Ok(qwen_moe::is_sparse(params, layer)? && is_transposed(params, layer)?));

/// Whether the stacked experts of this layer are transposed. Square matrices do not tell, but of gate with up, and of down, at
/// most one is square. Without a checkpoint they are as trainers have them.
fn is_transposed(params: &Params<'_>, layer: u32) -> Result<bool> {
    let (n, eff) = (params.size("n", layer)?, params.size("eff", layer)?);
    for (name, upright) in [(GATE_UP, [eff.saturating_mul(2), n]), (DOWN, [n, eff])] {
        let name = name.replace("{l}", &layer.to_string());
        match params.shape(&name).as_deref() {
            Some([_, rows, row]) if upright[0] != upright[1] => return Ok([*row, *rows] == upright),
            _ => (),
        }
    }
    Ok(params.checkpoint().is_none())
}
