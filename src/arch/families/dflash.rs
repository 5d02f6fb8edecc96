//! DFlash drafts: some layers of Qwen 3 that guess a block of tokens at once, from what layers of their target made of the
//! last ones; DFlash 2 adds convolutions and a selector of candidates, DSpark a head that knows the token before.
//! Specification: `DFlashModel`, `DSparkModel`, `MuseGlimmerAssistantModel` of llama.cpp's converter; `models/dflash.cpp`.

use super::qwen::QWEN3;
use super::{Arch, Drafts, NONE, Uses};
use crate::arch::config::Config;
use crate::arch::keys::{Fixed, Key, count, make, number};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rope::Rope;
use crate::arch::rule::{Need, Rule, rule};
use crate::arch::values::Value as Change;
use ggraft_formats::{Array, Result, Value};

pub const DFLASH: Arch = Arch {
    classes: &["DFlashDraftModel", "DFlash2DraftModel"],
    gguf: "dflash",
    base: Some(&BASE),
    shares: &[HEAD, CANDIDATES],
    late: &[count("^tokenizer.ggml.mask_token_id", &["dflash_config.mask_token_id"])],
    ..GUESSING
};

/// With a head for some of its target's tokens, or for all: that one is the target's own.
pub const DSPARK: Arch = Arch {
    classes: SPARKS,
    gguf: "dflash",
    applies: Some(|config| Ok(!is_paired(config)? && knows_fewer(config)?)),
    base: Some(&SPARK),
    rules: FEWER,
    late: &[MASK],
    ..GUESSING
};

pub const DSPARK_WHOLE: Arch = Arch {
    classes: SPARKS,
    gguf: "dflash",
    applies: Some(|config| Ok(!is_paired(config)?)),
    base: Some(&SPARK),
    ignored: TARGETS_HEAD,
    late: &[MASK],
    ..GUESSING
};

/// The same two whose heads rotate in neighbouring pairs.
pub const DSPARK_PAIRED: Arch = Arch {
    classes: SPARKS,
    gguf: "dflash",
    applies: Some(knows_fewer),
    base: Some(&SPARK),
    rules: FEWER,
    shares: &[PAIRED],
    late: &[MASK],
    ..GUESSING
};

pub const DSPARK_PAIRED_WHOLE: Arch = Arch {
    classes: SPARKS,
    gguf: "dflash",
    base: Some(&SPARK),
    rules: PAIRED,
    ignored: TARGETS_HEAD,
    late: &[MASK],
    ..GUESSING
};

const TARGETS_HEAD: &[&str] = &["lm_head.weight", "model.lm_head.weight"];

fn is_paired(config: &Config) -> Result<bool> {
    Ok(config.optional_flag("rope_is_neox_style")? == Some(false))
}

fn knows_fewer(config: &Config) -> Result<bool> {
    let all = config.count("vocab_size")?;
    Ok(config.whole_at("draft_vocab_size", 0)?.is_some_and(|n| n > 0 && n != all))
}

/// The draft of Muse Glimmer.
pub const MUSE_ASSISTANT: Arch = Arch {
    classes: &["MuseGlimmerAssistantModel"],
    gguf: "dflash",
    base: Some(&QWEN3),
    prefixes: &["", "model."],
    keys: MUSE_KEYS,
    axes: AXES,
    rules: MUSE_RULES,
    shares: &[HEAD],
    late: &[count("^tokenizer.ggml.mask_token_id", &["mask_token_id"])],
    drafts: Drafts::AsTarget,
    uses: Uses::Text,
    ..NONE
};

const SPARKS: &[&str] =
    &["Qwen3DSparkModel", "DSparkDraftModel", "DSparkSpeculator", "Lfm2DSparkDraftModel", "LingDSparkModel"];

/// What every such draft says for itself.
const GUESSING: Arch = Arch { drafts: Drafts::AsTarget, uses: Uses::Pooled, ..NONE };

pub const BASE: Arch =
    Arch { base: Some(&QWEN3), prefixes: &["", "model."], keys: KEYS, axes: AXES, rules: RULES, ..NONE };

/// The token that stands for one that is not yet known.
pub const MASK: Key =
    count("^tokenizer.ggml.mask_token_id", &["dflash_config.mask_token_id", "mask_token_id"]);

const SPARK: Arch =
    Arch { base: Some(&BASE), keys: SPARK_KEYS, rules: SPARK_RULES, ignored: &["t2d"], ..NONE };

const KEYS: &[Key] = &[
    make("rope.dimension_count", |params| {
        let rope = Rope::read(params.config)?;
        let of = |share: f64| Ok(Value::U32((params.size("d", 0)? as f64 * share) as u32));
        rope.partial()?.map(|(share, _, _)| of(share)).transpose()
    }),
    number("attention.value_scale", &["dflash_config.attention_value_scale"]),
    count("block_size", &["dflash_config.block_size", "block_size"]).or(Fixed::Count(16)),
    count("conv_kernel_size", &["dflash_config.conv_kernel_size"]),
    count("conv_group_size", &["dflash_config.conv_group_size"]),
    count("selector_rank", &["dflash_config.selector_rank"]),
    count("selector_top_k", &["dflash_config.selector_top_k"]),
    number("logit_scale", &["dflash_config.output_multiplier", "output_multiplier"]),
    make("final_logit_softcapping", |params| {
        let keys = ["dflash_config.final_logit_softcapping", "final_logit_softcapping"];
        let cap = params.config.first(&keys).map(|key| params.config.optional_number(key)).transpose()?;
        Ok(cap.flatten().filter(|cap| *cap > 0.0).map(|cap| Value::F32(cap as f32)))
    }),
    number("embedding_scale", &["dflash_config.input_embedding_scale", "input_embedding_scale"]),
    make("target_layers", |params| Ok(targets(params.config)?.map(|all| Value::Array(Array::I32(all))))),
    make("attention.sliding_window", |params| Ok(window(params)?.map(Value::U32))),
    make("attention.sliding_window_pattern", |params| {
        let layers = params.count("l", 0)? as usize;
        let kinds = params.config.texts("layer_types")?.unwrap_or_default();
        let each = || kinds.iter().map(|kind| *kind == "sliding_attention").collect();
        let all = if windows_everywhere(params.config)? { vec![true; layers] } else { each() };
        Ok(window(params)?.map(|_| Value::Array(Array::Bool(all))))
    }),
    make("attention.causal", |params| {
        let told = params.config.optional_flag("is_causal")?;
        let own = params.config.optional_flag("dflash_config.causal")?;
        Ok(told.or(own).map(Value::Bool))
    }),
    make("rope.dimension_sections", |params| {
        let half = || Ok(Value::Array(Array::I32(vec![params.count("d", 0)? as i32 / 2, 0, 0, 0])));
        let in_parts = params.target().map_or(Ok(false), has_sections)?;
        in_parts.then(half).transpose()
    }),
];

/// Whether positions of the target have parts, of which a draft knows time alone.
fn has_sections(target: &Config) -> Result<bool> {
    for key in ["rope_parameters", "rope_scaling"] {
        if let Some(section) = target.section(key)? {
            return Ok(section.get("mrope_section").is_some());
        }
    }
    Ok(false)
}

/// The layers of the target that a draft sees, as the runtime counts them: by what goes into the next one.
fn targets(config: &Config) -> Result<Option<Vec<i32>>> {
    let next = |all: Vec<i32>| all.into_iter().map(|n| n.saturating_add(1)).collect::<Vec<i32>>();
    let told = match config.wholes("dflash_config.target_layer_ids")? {
        Some(told) => Some(next(told)),
        // This one counts as the runtime does.
        None => match config.wholes("aux_hidden_state_layer_ids")? {
            Some(told) if config.get("dflash_config").is_none() => Some(told),
            _ => config.wholes("target_layer_ids")?.map(next),
        },
    };
    Ok(told.filter(|all| !all.is_empty()))
}

fn windows_everywhere(config: &Config) -> Result<bool> {
    config.flag("dflash_config.use_swa")
}

fn window(params: &Params<'_>) -> Result<Option<u32>> {
    let config = params.config;
    if !config.flag("use_sliding_window")? && !windows_everywhere(config)? {
        return Ok(None);
    }
    let own = config.whole_at("dflash_config.swa_window_size", 0)?.filter(|n| *n > 0);
    Ok(own.map_or_else(|| config.whole_at("sliding_window", 0), |n| Ok(Some(n)))?.filter(|n| *n > 0))
}

const AXES: &[Axis] = &[
    axis("seen", Size::Make(|params, _| last(params, "fc.weight", |n| 3 * n))),
    axis("kernel", Size::Of(&["dflash_config.conv_kernel_size"])),
    axis("size", Size::Of(&["dflash_config.conv_group_size"])),
    axis("groups", Size::Div("n", "size")).or("n", "a multiple of {size} channels"),
    axis("rank", Size::Of(&["dflash_config.selector_rank"])),
    axis("fewer", Size::Or(&["draft_vocab_size"], &Size::Same("vocab"))),
    axis("past", Size::Make(|params, _| last(params, "markov_w1.weight", |n| n / 2))),
    axis("known", Size::Make(known)),
    axis("one", Size::Is(1)),
    axis("pair", Size::Div("d", "two")),
];

/// What tells how sure a draft is: what it makes of a token, and the token before.
pub fn known(params: &Params<'_>, layer: u32) -> Result<u64> {
    let either =
        params.shape("confidence_head.proj.weight").or_else(|| params.shape("confidence_proj.weight"));
    let held = either.and_then(|shape| shape.last().copied());
    held.map_or_else(|| Ok(params.size("n", layer)? + params.size("past", layer)?), Ok)
}

/// How long the rows of the checkpoint's tensor are; without one as long as may be.
pub fn last(params: &Params<'_>, name: &str, other: fn(u64) -> u64) -> Result<u64> {
    let held = params.shape(name).and_then(|shape| shape.last().copied());
    held.map_or_else(|| params.size("n", 0).map(other), Ok)
}

const RULES: &[Rule] = &[
    rule(&["embed_tokens.weight"], &["token_embd.weight"], "vocab n").may(),
    rule(&["fc.weight"], &["fc.weight"], "n seen"),
    rule(&["hidden_norm.weight"], &["enc.output_norm.weight"], "n"),
    rule(
        &[
            "layers.{l}.self_attn.sinks",
            "layers.{l}.self_attn.sinks.weight",
            "layers.{l}.self_attn.attention_sink_bias",
            "layers.{l}.self_attn.learnable_sink_param",
        ],
        &["blk.{l}.attn_sinks.weight"],
        "h",
    )
    .may(),
];

pub const HEAD: &[Rule] = &[rule(&["lm_head.weight"], &["output.weight"], "vocab n").may()];

/// What DFlash 2 chooses its candidates by.
const CANDIDATES: &[Rule] = &[
    rule(&["candidate_selector.predecessor_codebook"], &["selector_predecessor.weight"], "vocab rank")
        .need(SELECTS),
    rule(&["candidate_selector.successor_codebook"], &["selector_successor.weight"], "vocab rank")
        .need(SELECTS),
    rule(&["candidate_selector.hidden_projection.weight"], &["selector_hidden.weight"], "rank n")
        .need(SELECTS),
    rule(&["layers.{l}.attention_conv.base_kernel"], &["blk.{l}.attn_conv_base"], "two kernel n")
        .need(SELECTS),
    rule(
        &["layers.{l}.attention_conv.kernel_projection.weight"],
        &["blk.{l}.attn_conv_proj.weight"],
        "(two kernel groups) n",
    )
    .need(SELECTS),
    rule(&["layers.{l}.mlp_conv.base_kernel"], &["blk.{l}.ffn_conv_base"], "two kernel n").need(SELECTS),
    rule(
        &["layers.{l}.mlp_conv.kernel_projection.weight"],
        &["blk.{l}.ffn_conv_proj.weight"],
        "(two kernel groups) n",
    )
    .need(SELECTS),
];

const SELECTS: Need = Need::IfSet("dflash_config.conv_kernel_size");

const SPARK_KEYS: &[Key] = &[
    make("sample_from_anchor", |params| {
        plain_head(params.config)?;
        let raw = params.config.raw();
        let eagle = ["transformer_layer_config", "aux_hidden_state_layer_ids"];
        let otherwise = eagle.iter().all(|key| raw.get(key).is_none());
        Ok(Some(Value::Bool(params.config.optional_flag("sample_from_anchor")?.unwrap_or(otherwise))))
    }),
    make("has_confidence_head", tells_confidence),
];

/// Whether it says how sure it is.
pub fn tells_confidence(params: &Params<'_>) -> Result<Option<Value>> {
    let held =
        params.counts(|name| name.contains("confidence_head.proj") || name.contains("confidence_proj."));
    Ok(Some(Value::Bool(held.is_some_and(|n| n > 0))))
}

/// Refuses a head that knows more than the token before.
pub fn plain_head(config: &Config) -> Result<()> {
    for key in ["dflash_config.markov_head_type", "markov_head_type"] {
        if let Some(kind) = config.text(key)?.filter(|kind| *kind != "vanilla") {
            return Err(config.unsupported(key).expected("vanilla").found(kind));
        }
    }
    Ok(())
}

pub const SPARK_RULES: &[Rule] = &[
    rule(&["markov_head.markov_w1.weight"], &["markov_w1.weight"], "vocab past"),
    rule(&["markov_head.markov_w2.weight"], &["markov_w2.weight"], "fewer past"),
    rule(&["confidence_head.proj.weight"], &["conf_proj.weight"], "one known").may().bias(Need::May),
];

const FEWER: &[Rule] = &[
    rule(&["lm_head.weight"], &["output.weight"], "fewer n"),
    rule(&["d2t"], &["d2t"], "fewer").value(Change::Ids),
];

const PAIRED: &[Rule] = &[
    rule(
        &["layers.{l}.self_attn.q_proj.weight"],
        &["blk.{l}.attn_q.weight"],
        "(h pair two) n -> (h two pair) n",
    ),
    rule(
        &["layers.{l}.self_attn.k_proj.weight"],
        &["blk.{l}.attn_k.weight"],
        "(g pair two) n -> (g two pair) n",
    ),
    rule(
        &["layers.{l}.self_attn.q_norm.weight"],
        &["blk.{l}.attn_q_norm.weight"],
        "(pair two) -> (two pair)",
    ),
    rule(
        &["layers.{l}.self_attn.k_norm.weight"],
        &["blk.{l}.attn_k_norm.weight"],
        "(pair two) -> (two pair)",
    ),
];

const MUSE_KEYS: &[Key] = &[
    count("block_size", &["block_size"]).must(),
    make("target_layers", |params| Ok(targets(params.config)?.map(|all| Value::Array(Array::I32(all))))),
    make("attention.sliding_window", |params| {
        let kinds = params.config.get("layer_types");
        Ok(params.config.optional_count("sliding_window")?.filter(|_| kinds.is_some()).map(Value::U32))
    }),
    make("attention.sliding_window_pattern", |params| {
        let kinds = params.config.texts("layer_types")?.unwrap_or_default();
        let all: Vec<bool> = kinds.iter().map(|kind| *kind == "sliding_attention").collect();
        let told = params.config.get("sliding_window").is_some() && !all.is_empty();
        Ok(told.then_some(Value::Array(Array::Bool(all))))
    }),
];

const MUSE_RULES: &[Rule] = &[
    rule(&["embed_tokens.weight"], &["token_embd.weight"], "vocab n").may(),
    rule(&["encoder.fc.weight"], &["fc.weight"], "n seen"),
    rule(&["encoder.output_norm_enc.weight"], &["enc.output_norm.weight"], "n"),
];
