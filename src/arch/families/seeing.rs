//! The text models of those that see or hear and differ from a family in a prefix, a name and little else.
//! Specification: the text classes of llama.cpp's converter that the constants answer to.

use super::ernie::ERNIE4_5;
use super::exaone4::EXAONE4;
use super::gemma4::GEMMA4;
use super::glm4::GLM4;
use super::hunyuan::HUNYUAN;
use super::llama::LLAMA;
use super::qwen::{QWEN2, QWEN3};
use super::qwen_vl::{QWEN2_VL, QWEN3_VL, QWEN3_VL_MOE, ROPE, SEEING};
use super::{Arch, NONE, Uses, mtp, partial};
use crate::arch::config::Config;
use crate::arch::keys::{Absent, Fixed, From, Key, is, make};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rope::Rope;
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Array, Result, Value};

/// Janus, Sarashina 2.2 Vision.
pub const LLAMA_SEEING: Arch = Arch {
    classes: &["JanusForConditionalGeneration", "Sarashina2VisionForCausalLM"],
    gguf: "llama",
    base: Some(&LLAMA),
    prefixes: &["model.", "model.language_model.", "language_model.model."],
    rules: &[HEAD],
    renamed: &[("llm.", "")],
    ignored: &[
        "model.vision_model.*",
        "model.aligner.*",
        "model.vqmodel.*",
        "model.generation_embeddings.*",
        "model.generation_aligner.*",
        "model.generation_head.*",
        "visual.*",
        "norm.*",
    ],
    ..NONE
};

/// Qwen 2 Audio, Audio Flamingo 3, dots.ocr.
pub const QWEN2_SEEING: Arch = Arch {
    classes: &[
        "Qwen2AudioForConditionalGeneration",
        "AudioFlamingo3ForConditionalGeneration",
        "DotsOCRForCausalLM",
    ],
    gguf: "qwen2",
    base: Some(&QWEN2),
    ignored: SEEING,
    uses: Uses::Pooled,
    ..NONE
};

/// Step 3 VL.
pub const QWEN3_SEEING: Arch = Arch {
    classes: &["StepVLForConditionalGeneration"],
    gguf: "qwen3",
    base: Some(&QWEN3),
    ignored: SEEING,
    uses: Uses::Judging,
    ..NONE
};

/// Qwen 2.5 Omni.
pub const QWEN2_OMNI: Arch = Arch {
    classes: &["Qwen2_5OmniModel", "Qwen2_5OmniForConditionalGeneration"],
    gguf: "qwen2vl",
    base: Some(&QWEN2_VL),
    renamed: THINKER,
    ..NONE
};

/// Qwen 3 Omni.
pub const QWEN3_OMNI: Arch = Arch {
    classes: &["Qwen3OmniMoeForConditionalGeneration"],
    gguf: "qwen3vlmoe",
    base: Some(&QWEN3_VL_MOE),
    keys: &[is("n_deepstack_layers", Fixed::Count(0))],
    renamed: THINKER,
    ..NONE
};

/// Qwen 3 ASR.
pub const QWEN3_ASR: Arch = Arch {
    classes: &["Qwen3ASRForConditionalGeneration"],
    gguf: "qwen3vl",
    base: Some(&QWEN3_VL),
    keys: &[is("n_deepstack_layers", Fixed::Count(0))],
    renamed: THINKER,
    ..NONE
};

/// The part of a Qwen Omni that answers.
const THINKER: &[(&str, &str)] = &[("thinker.", "")];

/// PaddleOCR-VL.
pub const PADDLE_OCR: Arch = Arch {
    classes: &["PaddleOCRVLForConditionalGeneration"],
    gguf: "paddleocr",
    base: Some(&ERNIE4_5),
    prefixes: &["model.", "model.language_model."],
    keys: &[ROPE],
    ignored: SEEING,
    ..NONE
};

/// Gemma 4 whose images and sounds have no tower of their own.
pub const GEMMA4_UNIFIED: Arch = Arch {
    classes: &["Gemma4UnifiedForConditionalGeneration"],
    gguf: "gemma4",
    base: Some(&GEMMA4),
    keys: &[make("^tokenizer.ggml.suppress_tokens", suppressed)],
    ..NONE
};

/// The tokens that the model is never to say.
fn suppressed(params: &Params<'_>) -> Result<Option<Value>> {
    let Some(checkpoint) = params.checkpoint() else { return Ok(None) };
    let told = checkpoint.json("generation_config.json")?;
    let all = told.as_ref().and_then(|told| told.get("suppress_tokens")?.as_array());
    let ids = |all: &Vec<serde_json::Value>| {
        all.iter().filter_map(|id| id.as_i64().and_then(|id| i32::try_from(id).ok())).collect()
    };
    Ok(all.map(|all| Value::Array(Array::I32(ids(all)))))
}

/// GLM-4.1V and GLM-OCR, whose heads rotate in pairs, and with three parts of a position.
pub const GLM4_SEEING: Arch = Arch {
    classes: GLM_CLASSES,
    gguf: "glm4",
    applies: Some(|config| Ok(!has_sections(config)?)),
    base: Some(&GLM4_NEXT),
    ..NONE
};

/// The same with sections: the pairs are laid apart.
pub const GLM4_SECTIONS: Arch = Arch {
    classes: GLM_CLASSES,
    gguf: "glm4",
    base: Some(&GLM4_NEXT),
    axes: &[
        axis("pairs", Size::Make(|params, layer| rotating(params, layer).map(|n| n / 2))),
        axis("rest", Size::Make(|params, layer| Ok(params.size("d", layer)? - rotating(params, layer)?))),
    ],
    rules: APART,
    ..NONE
};

const GLM_CLASSES: &[&str] = &["Glm4vForConditionalGeneration", "GlmOcrForConditionalGeneration"];

const GLM4_NEXT: Arch = Arch {
    base: Some(&GLM4),
    keys: &[ROPE, make("nextn_predict_layers", mtp::count)],
    axes: mtp::AXES,
    shares: &[mtp::RULES],
    ignored: SEEING,
    ..NONE
};

fn has_sections(config: &Config) -> Result<bool> {
    let told = |key| {
        Ok::<_, ggraft_formats::Error>(config.section(key)?.is_some_and(|s| s.get("mrope_section").is_some()))
    };
    Ok(told("rope_parameters")? || told("rope_scaling")?)
}

/// How many elements of a head rotate.
fn rotating(params: &Params<'_>, layer: u32) -> Result<u64> {
    match partial::of_half_head(params)? {
        Some(Value::U32(n)) => Ok(n.into()),
        _ => params.size("d", layer),
    }
}

const APART: &[Rule] = &[
    rule(
        &["layers.{l}.self_attn.q_proj.weight"],
        &["blk.{l}.attn_q.weight"],
        "(h [(pairs two)|rest]) n -> (h [(two pairs)|rest]) n",
    )
    .bias(Need::If("attention_bias")),
    rule(
        &["layers.{l}.self_attn.k_proj.weight"],
        &["blk.{l}.attn_k.weight"],
        "(g [(pairs two)|rest]) n -> (g [(two pairs)|rest]) n",
    )
    .bias(Need::If("attention_bias")),
];

/// EXAONE 4.5, which may predict two tokens.
pub const EXAONE4_5: Arch = Arch {
    classes: &["Exaone4_5_ForConditionalGeneration"],
    gguf: "exaone4",
    base: Some(&EXAONE4),
    prefixes: &["model."],
    keys: &[make("nextn_predict_layers", mtp::some)],
    axes: MTP,
    shares: &[mtp::RULES],
    renamed: mtp::RENAMED,
    published: mtp::PUBLISHED,
    ignored: SEEING,
    ..NONE
};

const MTP: &[Axis] = mtp::AXES;

/// Hunyuan VL and OCR: four parts of a position (`xdrope`).
pub const HUNYUAN_VL: Arch = Arch {
    classes: &["HunYuanVLForConditionalGeneration"],
    gguf: "hunyuan_vl",
    base: Some(&HUNYUAN),
    keys: HUNYUAN_KEYS,
    ignored: SEEING,
    ..NONE
};

const HUNYUAN_KEYS: &[Key] = &[
    Key { gguf: "rope", from: From::Rope(&["default", "dynamic", "xdrope"]), absent: Absent::Omit },
    make("context_length", |params| params.config.count("max_position_embeddings").map(|n| Some(n.into()))),
    make("rope.freq_base", |params| {
        Ok(Rope::read(params.config)?.theta()?.map(|theta| Value::F32(theta as f32)))
    }),
    make("rope.scaling.type", |params| Ok(sections(params)?.map(|_| Value::from("none")))),
    make("rope.scaling.factor", |params| of_parts(params, "factor", Some(1.0))),
    make("rope.scaling.alpha", |params| of_parts(params, "alpha", None)),
    make("rope.scaling.original_context_length", |params| {
        let context = || params.config.count("max_position_embeddings").map(Value::U32);
        sections(params)?.map(|_| context()).transpose()
    }),
    make("rope.dimension_sections", |params| Ok(sections(params)?.map(|all| Value::Array(Array::I32(all))))),
];

/// The parts of a position, by either name.
fn sections(params: &Params<'_>) -> Result<Option<Vec<i32>>> {
    let rope = Rope::read(params.config)?;
    match rope.kind()? {
        Some(("xdrope" | "dynamic", section, _)) => {
            let told =
                section.get("xdrope_section").or(section.get("mrope_section")).and_then(|v| v.as_array());
            let part = |n: &serde_json::Value| n.as_i64().and_then(|n| i32::try_from(n).ok());
            Ok(told.map(|all| all.iter().filter_map(part).collect()))
        }
        _ => Ok(None),
    }
}

/// A number of rope, if positions have parts.
fn of_parts(params: &Params<'_>, key: &str, absent: Option<f64>) -> Result<Option<Value>> {
    let told = Rope::read(params.config)?.number(key)?.or(absent);
    Ok(sections(params)?.and(told).map(|x| Value::F32(x as f32)))
}

const HEAD: Rule =
    rule(&["^lm_head.weight", "^language_model.lm_head.weight"], &["output.weight"], "vocab n")
        .need(Need::Unless("tie_word_embeddings"));
