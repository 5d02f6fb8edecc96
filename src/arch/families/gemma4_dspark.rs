//! DSpark drafts of Gemma 4: layers that attend to all, whose keys are the values, between Gemma's four norms.
//! Specification: `Gemma4DSparkModel` of llama.cpp's converter.

use super::{Arch, Made, NONE, dflash, gemma4};
use crate::arch::config::Config;
use crate::arch::keys::{Fixed, Key, is, make, size};
use crate::arch::params::{Axis, Size, axis};
use crate::arch::rope::Rope;
use crate::arch::rule::{Rule, rule};
use ggraft_formats::{Result, Value};
use serde_json::{Value as Json, json};

pub const GEMMA4_DSPARK: Arch = Arch {
    classes: &["Gemma4DSparkModel"],
    gguf: "dflash",
    base: Some(&dflash::BASE),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    shares: &[dflash::SPARK_RULES, dflash::HEAD],
    renamed: &[
        ("confidence_proj.", "confidence_head.proj."),
        ("model.confidence_proj.", "model.confidence_head.proj."),
    ],
    without: &["blk.{l}.attn_v.weight", "rope"],
    made: &[Made {
        name: "rope_freqs.weight",
        row: None,
        values: |params| match Rope::read(params.config)?.kind()? {
            Some(("proportional", ..)) => gemma4::turning(params),
            _ => Ok(None),
        },
    }],
    late: &[super::dflash::MASK],
    drafts: super::Drafts::AsTarget,
    uses: super::Uses::Pooled,
    ..NONE
};

const AXES: &[Axis] =
    &[axis("d", Size::Of(&["global_head_dim"])), axis("g", Size::Of(&["num_global_key_value_heads"]))];

const KEYS: &[Key] = &[
    size("attention.head_count_kv", "g"),
    make("rope.freq_base", |params| {
        let rope = Rope::read(params.config)?;
        if let Some((kind, section, key)) = rope.kind()?.filter(|(kind, ..)| !ROPES.contains(kind)) {
            return Err(section.unsupported(key).expected(ROPES.join(" or ")).found(kind));
        }
        Ok(rope.theta()?.map(|theta| Value::F32(theta as f32)))
    }),
    size("attention.key_length", "d"),
    size("attention.value_length", "d"),
    size("rope.dimension_count", "d"),
    make("embedding_scale", |params| Ok(Some(Value::F32((params.size("n", 0)? as f64).sqrt() as f32)))),
    is("attention.scale", Fixed::Number(1.0)),
    is("hidden_activation", Fixed::Text("gelu_pytorch_tanh")),
    make("sample_from_anchor", |params| {
        check(params.config)?;
        Ok(Some(Value::Bool(params.config.optional_flag("sample_from_anchor")?.unwrap_or(true))))
    }),
    make("has_confidence_head", dflash::tells_confidence),
];

/// Its layers all attend to all, so of Gemma's two bases one counts.
const ROPES: &[&str] = &["default", "proportional"];

/// Refuses what the runtime's graph does not do.
fn check(config: &Config) -> Result<()> {
    dflash::plain_head(config)?;
    let full = |v: &Json| v.as_array().is_some_and(|all| all.iter().all(|kind| kind == "full_attention"));
    let rows: [(&str, bool, &str); 6] = [
        ("attention_k_eq_v", config.flag("attention_k_eq_v")?, "true"),
        ("layer_types", config.get("layer_types").is_some_and(full), "full_attention in every layer"),
        ("attention_bias", !config.flag("attention_bias")?, "false"),
        ("enable_moe_block", !config.flag("enable_moe_block")?, "false"),
        (
            "final_logit_softcapping",
            config.optional_number("final_logit_softcapping")?.unwrap_or(0.0) == 0.0,
            "none",
        ),
        (
            "hidden_activation",
            config.text("hidden_activation")?.is_none_or(|act| act == "gelu_pytorch_tanh"),
            "gelu_pytorch_tanh",
        ),
    ];
    match rows.into_iter().find(|(_, fine, _)| !fine) {
        Some((key, _, expected)) => {
            let found = config.get(key).cloned().unwrap_or(json!(null));
            Err(config.unsupported(key).expected(expected).found(found))
        }
        None => Ok(()),
    }
}

const RULES: &[Rule] = &[
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.post_attention_norm.weight"], "n"),
    rule(&["layers.{l}.pre_feedforward_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n"),
    rule(&["layers.{l}.post_feedforward_layernorm.weight"], &["blk.{l}.post_ffw_norm.weight"], "n"),
    rule(&["layers.{l}.layer_scalar"], &["blk.{l}.layer_output_scale.weight"], "one").may(),
];
