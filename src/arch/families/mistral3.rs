//! Ministral 3, and the text models of Mistral Small 3.1 and Ministral 3 with images: llama, whose attention a Ministral
//! tempers with the place in the context.
//! Specification: `Mistral3Model` of llama.cpp's converter.

use super::llama::LLAMA;
use super::{Arch, NONE};
use crate::arch::keys::{Key, make};
use crate::arch::params::Params;
use crate::arch::rope::Rope;
use crate::arch::rule::{Layers, Need, Rule, rule};
use ggraft_formats::{Result, Value};

pub const MISTRAL3: Arch = Arch {
    classes: &["Mistral3ForConditionalGeneration", "Ministral3ForCausalLM"],
    gguf: "mistral3",
    base: Some(&LLAMA),
    prefixes: &["model.", "model.language_model.", "language_model.model."],
    keys: KEYS,
    rules: RULES,
    ignored: &["*vision_tower.*", "*multi_modal_projector.*"],
    ..NONE
};

const KEYS: &[Key] = &[
    make("rope.scaling.yarn_log_multiplier", |params| of_ministral(params, "mscale_all_dim")),
    make("attention.temperature_scale", |params| of_ministral(params, "llama_4_scaling_beta")),
];

/// A number of Ministral's rope, which must be YaRN; none of another model.
fn of_ministral(params: &Params<'_>, key: &str) -> Result<Option<Value>> {
    if params.config.text("model_type")? != Some("ministral3") {
        return Ok(None);
    }
    let rope = Rope::read(params.config)?;
    match rope.kind()? {
        Some(("yarn", _, _)) => {}
        other => {
            let found = other.map_or("nothing", |(kind, _, _)| kind);
            return Err(params.config.wrong("rope_parameters.rope_type", "yarn").found(found));
        }
    }
    let missing = || params.config.missing(&format!("rope_parameters.{key}"), "a number");
    rope.number(key)?.map(|x| Some(Value::F32(x as f32))).ok_or_else(missing)
}

/// The whole model says whether the head is tied, above the text model's own word.
const UNTIED: Layers = Layers::When(|params, _| {
    let whole = params.config.raw().get("tie_word_embeddings");
    Ok(whole.and_then(serde_json::Value::as_bool) != Some(true))
});

const RULES: &[Rule] =
    &[rule(&["^lm_head.weight", "^language_model.lm_head.weight"], &["output.weight"], "vocab n")
        .need(Need::Unless("tie_word_embeddings"))
        .layers(UNTIED)];
