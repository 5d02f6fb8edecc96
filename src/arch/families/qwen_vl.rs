//! The text models of Qwen 2, 2.5 and 3 that see: Qwen 2 and 3 whose positions have three parts (mrope).
//! Specification: `Qwen2VLModel`, `Qwen3VLTextModel`, `Qwen3VLMoeTextModel` of llama.cpp's converter.

use super::qwen::{QWEN2, QWEN3};
use super::qwen_moe::{self, QWEN3_MOE};
use super::{Arch, NONE, Uses, experts};
use crate::arch::keys::{Absent, From, Key, make};
use crate::arch::params::Params;
use crate::arch::rule::{Rule, rule};
use ggraft_formats::{Model, Result, Value};
use serde_json::{Value as Json, json};

pub const QWEN2_VL: Arch = Arch {
    classes: &["Qwen2VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration", "Qwen2VLModel"],
    gguf: "qwen2vl",
    base: Some(&QWEN2),
    keys: &[ROPE],
    ignored: SEEING,
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
    shares: &[&experts::routed(qwen_moe::SPARSE), TRANSPOSED],
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

/// Older checkpoints keep the stacked experts transposed.
const TRANSPOSED: &[Rule] = &[
    rule(
        &["layers.{l}.mlp.experts.gate_up_proj"],
        &["blk.{l}.ffn_{gate|up}_exps.weight"],
        "e n [eff|eff] -> e eff n ; e eff n",
    ),
    rule(&["layers.{l}.mlp.experts.down_proj"], &["blk.{l}.ffn_down_exps.weight"], "e eff n -> e n eff"),
];
