//! Pixtral and Mistral Small 3.1: heads that rotate in pairs, as llama's; the row of the token that ends a line of patches
//! comes with the projector.
//! Specification: `LlavaVisionModel` of llama.cpp's converter.

use super::siglip::TEXT;
use super::vision::VISION;
use crate::arch::config::Config;
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, make, positive};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Error, Result, Value};

pub const PIXTRAL: Arch = Arch {
    classes: &["LlavaForConditionalGeneration", "Mistral3ForConditionalGeneration"],
    gguf: "clip",
    applies: Some(is_pixtral),
    base: Some(&VISION),
    prefixes: &["vision_tower.", "model.vision_tower."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ignored: TEXT_LAYERS,
    ..NONE
};

/// The tensors of the text model but for its embeddings.
const TEXT_LAYERS: &[&str] = &[
    "language_model.model.layers.*",
    "language_model.model.norm.*",
    "language_model.lm_head.*",
    "model.language_model.layers.*",
    "model.language_model.norm.*",
    "model.layers.*",
    "model.norm.*",
    "lm_head.*",
    "*.inv_freq",
];

/// LightOnOCR: Pixtral without the token that ends a line.
pub const LIGHTON_OCR: Arch = Arch {
    classes: &["LightOnOCRForConditionalGeneration", "LightOnOcrForConditionalGeneration"],
    gguf: "clip",
    base: Some(&PIXTRAL),
    prefixes: &["model.vision_encoder."],
    renamed: &[("model.vision_projection.", "multi_modal_projector.")],
    keys: &[is("projector_type", Fixed::Text("lightonocr"))],
    without: &["v.token_embd.img_break"],
    ignored: TEXT,
    ..NONE
};

/// Whether the tower is Pixtral's; the runtime has no other of these classes.
fn is_pixtral(config: &Config) -> Result<bool> {
    const KEY: &str = "vision_config.model_type";
    match config.text(KEY)? {
        Some("pixtral") => Ok(true),
        other => Err(config.unsupported(KEY).expected("pixtral").found(other.unwrap_or("nothing"))),
    }
}

const KEYS: &[Key] = &[
    is("projector_type", Fixed::Text("pixtral")),
    // It is not told: transformers computes with this.
    positive("vision.attention.layer_norm_epsilon", &["vision_config.layer_norm_eps"])
        .or(Fixed::Number(1e-5)),
    make("use_silu", |params| activation(params, "silu")),
    make("use_gelu", |params| activation(params, "gelu")),
    count("vision.spatial_merge_size", &["spatial_merge_size"]),
];

/// True, if that is the activation.
pub fn activation(params: &Params<'_>, name: &str) -> Result<Option<Value>> {
    const KEY: &str = "vision_config.hidden_act";
    match params.config.text(KEY)? {
        Some(told @ ("silu" | "gelu")) => Ok((told == name).then_some(Value::Bool(true))),
        other => {
            Err(params.config.unsupported(KEY).expected("silu or gelu").found(other.unwrap_or("nothing")))
        }
    }
}

/// The same; another activation is not told.
pub fn activation_if(params: &Params<'_>, name: &str) -> Result<Option<Value>> {
    let told = params.config.text("vision_config.hidden_act")?;
    Ok(told.is_some_and(|told| told.eq_ignore_ascii_case(name)).then_some(Value::Bool(true)))
}

const AXES: &[Axis] = &[
    axis("pair", Size::Div("d", "two")),
    axis("merge", Size::Or(&["spatial_merge_size"], &Size::Is(1))),
    axis("square", Size::Mul("merge", "merge")),
    axis("hidden", Size::Same("text")),
    axis("break", Size::Make(line_break)),
    axis("vocab", Size::Of(&["text_config.vocab_size", "vocab_size"])),
];

/// The id of the token that ends a line of patches.
fn line_break(params: &Params<'_>, _: u32) -> Result<u64> {
    let Some(checkpoint) = params.checkpoint() else { return Ok(0) };
    let (file, name) = ("tokenizer.json", "[IMG_BREAK]");
    let told = checkpoint.json("tokenizer_config.json")?.unwrap_or_default();
    let decoder = told.get("added_tokens_decoder").and_then(|v| v.as_object());
    let is = |token: &serde_json::Value| token.get("content").and_then(|v| v.as_str()) == Some(name);
    let id = decoder.and_then(|all| all.iter().find(|(_, token)| is(token))?.0.parse().ok());
    let held = || {
        let json = checkpoint.json(file).ok()??;
        json.get("added_tokens")?.as_array()?.iter().find(|token| is(token))?.get("id")?.as_u64()
    };
    id.or_else(held).ok_or_else(|| {
        Error::invalid("the tokenizer lacks the token that ends a line of patches")
            .file(&checkpoint.dir.join(file))
            .expected(name)
    })
}

const RULES: &[Rule] = &[
    rule(&["patch_conv.weight"], &["v.patch_embd.weight"], "n channels row column"),
    rule(&["ln_pre.weight"], &["v.pre_ln.weight"], "n"),
    rule(
        &["transformer.layers.{l}.attention.q_proj.weight"],
        &["v.blk.{l}.attn_q.weight"],
        "(h two pair) n -> (h pair two) n",
    ),
    rule(
        &["transformer.layers.{l}.attention.k_proj.weight"],
        &["v.blk.{l}.attn_k.weight"],
        "(h two pair) n -> (h pair two) n",
    ),
    rule(&["transformer.layers.{l}.attention.v_proj.weight"], &["v.blk.{l}.attn_v.weight"], "(h d) n"),
    rule(&["transformer.layers.{l}.attention.o_proj.weight"], &["v.blk.{l}.attn_out.weight"], "n (h d)"),
    rule(&["transformer.layers.{l}.attention_norm.weight"], &["v.blk.{l}.ln1.weight"], "n"),
    rule(&["transformer.layers.{l}.ffn_norm.weight"], &["v.blk.{l}.ln2.weight"], "n"),
    rule(&["transformer.layers.{l}.feed_forward.gate_proj.weight"], &["v.blk.{l}.ffn_gate.weight"], "ff n"),
    rule(&["transformer.layers.{l}.feed_forward.up_proj.weight"], &["v.blk.{l}.ffn_up.weight"], "ff n"),
    rule(&["transformer.layers.{l}.feed_forward.down_proj.weight"], &["v.blk.{l}.ffn_down.weight"], "n ff"),
    rule(
        &["^multi_modal_projector.linear_1.weight", "^model.multi_modal_projector.linear_1.weight"],
        &["mm.1.weight"],
        "hidden n",
    )
    .bias(Need::If("multimodal_projector_bias")),
    rule(
        &["^multi_modal_projector.linear_2.weight", "^model.multi_modal_projector.linear_2.weight"],
        &["mm.2.weight"],
        "text hidden",
    )
    .bias(Need::If("multimodal_projector_bias")),
    rule(
        &["^multi_modal_projector.norm.weight", "^model.multi_modal_projector.norm.weight"],
        &["mm.input_norm.weight"],
        "n",
    )
    .may(),
    rule(
        &[
            "^multi_modal_projector.patch_merger.merging_layer.weight",
            "^model.multi_modal_projector.patch_merger.merging_layer.weight",
        ],
        &["mm.patch_merger.weight"],
        "n (square m)",
    )
    .may(),
    rule(
        &[
            "^model.embed_tokens.weight",
            "^language_model.model.embed_tokens.weight",
            "^model.language_model.embed_tokens.weight",
        ],
        &["v.token_embd.img_break"],
        "vocab text",
    )
    .row("break"),
];
