//! DeepSeek V4: attention whose keys are the values, to a window and to what compressors make of older tokens; several streams
//! between the layers (hyper-connections); experts, in the first layers chosen by the token alone, in blocks of MXFP4. What
//! predicts further tokens is a file of its own, or a draft (DSpark), whose stages are such layers.
//! Specification: `DeepseekV4Model`, `DeepseekV4DSparkModel` of llama.cpp's converter; `models/deepseek4.cpp`.

use super::decoder::NAMES;
use super::{Arch, Drafts, NONE, dflash, dsa};
use crate::arch::keys::{Key, TRANSFORMER, count, flag, make, number, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Rule, rule};
use crate::arch::values::Value as Change;
use ggraft_formats::{Array, DType, Error, Result, Value};

pub const DEEPSEEK4: Arch = Arch {
    classes: &["DeepseekV4ForCausalLM"],
    gguf: "deepseek4",
    base: Some(&LAYERS),
    keys: &[WIDE],
    rules: HEADS,
    ignored: &["mtp.*", "vision.*", "aligner.*", "image_*"],
    holds: true,
    predictor: Some(&PREDICTOR),
    writes_chats: Some("encoding_dsv4.py"),
    ..NONE
};

/// The layers that predict further tokens, which are counted after the layers proper.
pub const PREDICTOR: Arch = Arch {
    gguf: "deepseek4",
    base: Some(&LAYERS),
    keys: &[WIDE, size("nextn_predict_layers", "mtp")],
    axes: &[
        axis("main", Size::Of(&["num_hidden_layers"])),
        axis("mtp", Size::Make(predicting)),
        axis("l", Size::Add("main", "mtp")),
        axis("first", Size::Same("main")),
    ],
    rules: PREDICTING,
    shares: &[HEADS],
    renamed: &[
        ("mtp.{l}.hc_head_", "hc_head_"),
        ("mtp.{l}.e_proj.", "layers.{l+main}.nextn.e_proj."),
        ("mtp.{l}.h_proj.", "layers.{l+main}.nextn.h_proj."),
        ("mtp.{l}.enorm.", "layers.{l+main}.nextn.enorm."),
        ("mtp.{l}.hnorm.", "layers.{l+main}.nextn.hnorm."),
        ("mtp.{l}.norm.", "layers.{l+main}.nextn.shared_head_norm."),
        ("mtp.{l}.", "layers.{l+main}."),
    ],
    ignored: &["layers.*", "hc_head_*", "vision.*", "aligner.*", "image_*"],
    holds: true,
    ..NONE
};

/// A draft in stages. Its embeddings and its head are its target's.
pub const DSPARK: Arch = Arch {
    classes: &["DeepseekV4DSparkModel"],
    gguf: "dflash",
    base: Some(&LAYERS),
    keys: &[
        count("block_size", &["dspark_block_size"]).must(),
        make("target_layers", |params| {
            let told = params.config.wholes("dspark_target_layer_ids")?;
            let all =
                told.ok_or_else(|| params.config.missing("dspark_target_layer_ids", "layers of the target"))?;
            Ok(Some(Value::Array(Array::I32(all.into_iter().map(|n| n.saturating_add(1)).collect()))))
        }),
    ],
    axes: &[
        axis("l", Size::Make(stages)),
        axis("hash", Size::Is(0)),
        axis("seen", Size::Make(seen)),
        axis("fewer", Size::Same("vocab")),
        axis("past", Size::Make(|params, _| dflash::last(params, "markov_w1.weight", |n| n / 2))),
        axis("known", Size::Make(dflash::known)),
        axis("one", Size::Is(1)),
    ],
    rules: &[
        rule(&["main_proj.weight"], &["fc.weight"], "n seen"),
        rule(&["main_norm.weight"], &["enc.output_norm.weight"], "n"),
    ],
    shares: &[dflash::SPARK_RULES],
    renamed: &[
        ("mtp.{l}.hc_head_", "hc_head_"),
        ("mtp.{l}.main_proj.", "main_proj."),
        ("mtp.{l}.main_norm.", "main_norm."),
        ("mtp.{l}.markov_head.", "markov_head."),
        ("mtp.{l}.confidence_head.", "confidence_head."),
        ("mtp.{l}.norm.", "norm."),
        ("mtp.{l}.", "layers.{l}."),
    ],
    ignored: &["layers.*", "embed.*", "head.*", "norm.*", "hc_head_*", "*.ffn.gate.bias_vl"],
    without: &["blk.{l}.exp_probs_b_vl.bias"],
    late: &[count("^tokenizer.ggml.mask_token_id", &["dspark_noise_token_id"]).must()],
    holds: true,
    drafts: Drafts::AsTarget,
    ..NONE
};

/// What all three have.
const LAYERS: Arch = Arch { base: Some(&ROOT), keys: KEYS, axes: AXES, rules: RULES, ..NONE };

const ROOT: Arch = Arch { base: Some(&NAMES), prefixes: &[""], keys: TRANSFORMER, without: OTHERS, ..NONE };

/// What goes by other names here.
const OTHERS: &[&str] = &[
    "token_embd.weight",
    "output_norm.weight",
    "output.weight",
    "blk.{l}.attn_norm.weight",
    "blk.{l}.attn_q.weight",
    "blk.{l}.attn_k.weight",
    "blk.{l}.attn_v.weight",
    "blk.{l}.attn_output.weight",
    "blk.{l}.ffn_norm.weight",
    "blk.{l}.ffn_gate.weight",
    "blk.{l}.ffn_up.weight",
    "blk.{l}.ffn_down.weight",
];

const KEYS: &[Key] = &[
    count("rope.dimension_count", &["qk_rope_head_dim"]).must(),
    count("attention.q_lora_rank", &["q_lora_rank"]).must(),
    count("attention.sliding_window", &["sliding_window"]).must(),
    count("expert_feed_forward_length", &["moe_intermediate_size"]).must(),
    count("expert_shared_count", &["n_shared_experts"]).must(),
    number("expert_weights_scale", &["routed_scaling_factor"]).must(),
    flag("expert_weights_norm", &["norm_topk_prob"]).must(),
    make("swiglu_clamp_exp", clamped),
    make("swiglu_clamp_shexp", clamped),
    dsa::HEADS,
    dsa::WIDTH,
    dsa::CHOSEN,
    count("attention.output_group_count", &["o_groups"]).must(),
    count("attention.output_lora_rank", &["o_lora_rank"]).must(),
    make("attention.compress_ratios", |params| {
        let told = (!is_draft(params)).then(|| ratios(params)).transpose()?;
        let all = told.map_or_else(|| Ok(vec![0; params.size("l", 0)? as usize]), Ok)?;
        Ok(Some(Value::Array(Array::I32(all))))
    }),
    number("attention.compress_rope_freq_base", &["compress_rope_theta"]).must(),
    count("hyper_connection.count", &["hc_mult"]).must(),
    count("hyper_connection.sinkhorn_iterations", &["hc_sinkhorn_iters"]).must(),
    number("hyper_connection.epsilon", &["hc_eps"]).must(),
    size("hash_layer_count", "hash"),
];

/// What goes out of a layer is all streams.
const WIDE: Key = size("embedding_length_out", "wide");

/// The limit of what experts compute, the same in all layers.
fn clamped(params: &Params<'_>) -> Result<Option<Value>> {
    let limit = params.config.number("swiglu_limit")? as f32;
    Ok(Some(Value::Array(Array::F32(vec![limit; params.size("l", 0)? as usize]))))
}

/// Whether these are the stages of a draft, which compress nothing.
fn is_draft(params: &Params<'_>) -> bool {
    params.knows("seen")
}

/// How many tokens become one, of each layer; 0 where none do.
fn ratios(params: &Params<'_>) -> Result<Vec<i32>> {
    let told = params.config.wholes("compress_ratios")?;
    told.ok_or_else(|| params.config.missing("compress_ratios", "0, 4 or 128 for each layer"))
}

/// The same of one layer.
fn ratio(params: &Params<'_>, layer: u32) -> Result<u64> {
    if is_draft(params) {
        return Ok(0);
    }
    let all = ratios(params)?;
    match all.get(layer as usize).copied() {
        Some(ratio @ (0 | RATIO | 128)) => Ok(ratio as u64),
        other => {
            let found = other.map_or(String::from("nothing"), |n| n.to_string());
            let error = params.config.unsupported("compress_ratios").expected("0, 4 or 128 for each layer");
            Err(error.found(format!("{found} for layer {layer}")))
        }
    }
}

/// The ratio of layers that select, too.
const RATIO: i32 = 4;

/// How many layers predict.
fn predicting(params: &Params<'_>, _layer: u32) -> Result<u64> {
    let told = params.config.whole_at("num_nextn_predict_layers", 0)?.unwrap_or(0);
    if told == 0 {
        return Err(Error::usage("the model has no layers for predicting more tokens")
            .file(params.config.file())
            .hint("convert it without --mtp"));
    }
    Ok(told.into())
}

/// How many stages a draft has: as many as the checkpoint holds.
fn stages(params: &Params<'_>, _layer: u32) -> Result<u64> {
    match params.counts(|name| name.starts_with("mtp.") && name.ends_with(".attn_norm.weight")) {
        Some(held) if held > 0 => Ok(held),
        _ => params.config.count("num_nextn_predict_layers").map(u64::from),
    }
}

/// What a draft sees of its target: the streams of so many layers, each made one.
fn seen(params: &Params<'_>, _layer: u32) -> Result<u64> {
    let layers = params.config.wholes("dspark_target_layer_ids")?.map_or(0, |all| all.len() as u64);
    dflash::last(params, "main_proj.weight", |_| 0).and_then(|held| match held {
        0 => Ok(params.size("n", 0)?.saturating_mul(layers)),
        held => Ok(held),
    })
}

const AXES: &[Axis] = &[
    axis("first", Size::Is(0)),
    axis(
        "hash",
        Size::Make(|params, _| {
            let told = params.config.whole_at("num_hash_layers", 0)?;
            told.map(u64::from).ok_or_else(|| params.config.missing("num_hash_layers", "a whole number"))
        }),
    ),
    axis("used", Size::Of(&["num_experts_per_tok"])),
    axis("qr", Size::Of(&["q_lora_rank"])),
    axis("og", Size::Of(&["o_groups"])),
    axis("or", Size::Of(&["o_lora_rank"])),
    axis("heads", Size::Mul("h", "d")),
    axis("grouped", Size::Div("heads", "og")).or("og", "a divisor of all heads"),
    axis("streams", Size::Of(&["hc_mult"])),
    axis("wide", Size::Mul("streams", "n")),
    axis("both", Size::Add("two", "streams")),
    axis("mixed", Size::Mul("both", "streams")),
    axis("one", Size::Is(1)),
    axis("ratio", Size::Make(ratio)),
    axis("folds", Size::Make(|params, layer| Ok(if ratio(params, layer)? == RATIO as u64 { 2 } else { 1 }))),
    axis("ih", Size::Of(&["index_n_heads"])),
    axis("i", Size::Of(&["index_head_dim"])),
];

const ALL: Layers = Layers::From("first");
const HASHED: Layers = Layers::When(|params, layer| Ok(is_within(params, layer)? && !scores(params, layer)?));
const SCORED: Layers = Layers::When(|params, layer| Ok(is_within(params, layer)? && scores(params, layer)?));
const COMPRESSES: Layers =
    Layers::When(|params, layer| Ok(is_within(params, layer)? && ratio(params, layer)? > 0));
const SELECTS: Layers =
    Layers::When(|params, layer| Ok(is_within(params, layer)? && ratio(params, layer)? == RATIO as u64));

fn is_within(params: &Params<'_>, layer: u32) -> Result<bool> {
    ALL.hold(params, layer)
}

/// Whether a layer chooses experts by scores, and not by the token alone.
fn scores(params: &Params<'_>, layer: u32) -> Result<bool> {
    Ok(u64::from(layer) >= params.size("hash", 0)?)
}

/// What a draft has of its target.
const HEADS: &[Rule] = &[
    rule(&["embed.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["head.weight"], &["output.weight"], "vocab n"),
];

const RULES: &[Rule] = &[
    rule(&["norm.weight"], &["output_norm.weight"], "n"),
    rule(&["hc_head_fn"], &["output_hc_fn.weight"], "streams wide"),
    rule(&["hc_head_base"], &["output_hc_base.weight"], "streams"),
    rule(&["hc_head_scale"], &["output_hc_scale.weight"], "one"),
    rule(&["layers.{l}.hc_attn_fn"], &["blk.{l}.hc_attn_fn.weight"], "mixed wide").layers(ALL),
    rule(&["layers.{l}.hc_attn_base"], &["blk.{l}.hc_attn_base.weight"], "mixed").layers(ALL),
    rule(&["layers.{l}.hc_attn_scale"], &["blk.{l}.hc_attn_scale.weight"], "three").layers(ALL),
    rule(&["layers.{l}.hc_ffn_fn"], &["blk.{l}.hc_ffn_fn.weight"], "mixed wide").layers(ALL),
    rule(&["layers.{l}.hc_ffn_base"], &["blk.{l}.hc_ffn_base.weight"], "mixed").layers(ALL),
    rule(&["layers.{l}.hc_ffn_scale"], &["blk.{l}.hc_ffn_scale.weight"], "three").layers(ALL),
    rule(&["layers.{l}.attn_norm.weight"], &["blk.{l}.attn_norm.weight"], "n").layers(ALL),
    rule(&["layers.{l}.attn.attn_sink"], &["blk.{l}.attn_sinks.weight"], "h").layers(ALL),
    rule(&["layers.{l}.attn.wq_a.weight"], &["blk.{l}.attn_q_a.weight"], "qr n").layers(ALL),
    rule(&["layers.{l}.attn.q_norm.weight"], &["blk.{l}.attn_q_a_norm.weight"], "qr").layers(ALL),
    rule(&["layers.{l}.attn.wq_b.weight"], &["blk.{l}.attn_q_b.weight"], "(h d) qr").layers(ALL),
    rule(&["layers.{l}.attn.wkv.weight"], &["blk.{l}.attn_kv.weight"], "d n").layers(ALL),
    rule(&["layers.{l}.attn.kv_norm.weight"], &["blk.{l}.attn_kv_a_norm.weight"], "d").layers(ALL),
    rule(&["layers.{l}.attn.wo_a.weight"], &["blk.{l}.attn_output_a.weight"], "(og or) grouped").layers(ALL),
    rule(&["layers.{l}.attn.wo_b.weight"], &["blk.{l}.attn_output_b.weight"], "n (og or)").layers(ALL),
    rule(&["layers.{l}.attn.compressor.ape"], &["blk.{l}.attn_compressor_ape.weight"], "ratio (folds d)")
        .layers(COMPRESSES),
    rule(&["layers.{l}.attn.compressor.wkv.weight"], &["blk.{l}.attn_compressor_kv.weight"], "(folds d) n")
        .layers(COMPRESSES),
    rule(
        &["layers.{l}.attn.compressor.wgate.weight"],
        &["blk.{l}.attn_compressor_gate.weight"],
        "(folds d) n",
    )
    .layers(COMPRESSES),
    rule(&["layers.{l}.attn.compressor.norm.weight"], &["blk.{l}.attn_compressor_norm.weight"], "d")
        .layers(COMPRESSES),
    rule(&["layers.{l}.attn.indexer.wq_b.weight"], &["blk.{l}.indexer.attn_q_b.weight"], "(ih i) qr")
        .layers(SELECTS),
    rule(&["layers.{l}.attn.indexer.weights_proj.weight"], &["blk.{l}.indexer.proj.weight"], "ih n")
        .layers(SELECTS),
    rule(
        &["layers.{l}.attn.indexer.compressor.ape"],
        &["blk.{l}.indexer_compressor_ape.weight"],
        "ratio (folds i)",
    )
    .layers(SELECTS),
    rule(
        &["layers.{l}.attn.indexer.compressor.wkv.weight"],
        &["blk.{l}.indexer_compressor_kv.weight"],
        "(folds i) n",
    )
    .layers(SELECTS),
    rule(
        &["layers.{l}.attn.indexer.compressor.wgate.weight"],
        &["blk.{l}.indexer_compressor_gate.weight"],
        "(folds i) n",
    )
    .layers(SELECTS),
    rule(
        &["layers.{l}.attn.indexer.compressor.norm.weight"],
        &["blk.{l}.indexer_compressor_norm.weight"],
        "i",
    )
    .layers(SELECTS),
    rule(&["layers.{l}.ffn_norm.weight"], &["blk.{l}.ffn_norm.weight"], "n").layers(ALL),
    rule(&["layers.{l}.ffn.gate.weight"], &["blk.{l}.ffn_gate_inp.weight"], "e n").layers(ALL),
    rule(&["layers.{l}.ffn.gate.bias"], &["blk.{l}.exp_probs_b.bias"], "e").layers(SCORED).or_spare(),
    rule(&["layers.{l}.ffn.gate.bias_vl"], &["blk.{l}.exp_probs_b_vl.bias"], "e").may().layers(ALL),
    rule(&["layers.{l}.ffn.gate.tid2eid"], &["blk.{l}.ffn_gate_tid2eid.weight"], "vocab used")
        .value(Change::Narrow)
        .layers(HASHED)
        .or_spare(),
    rule(&["layers.{l}.ffn.experts.{e}.w1.weight"], &["blk.{l}.ffn_gate_exps.weight"], "eff n -> e eff n")
        .layers(ALL),
    rule(&["layers.{l}.ffn.experts.{e}.w2.weight"], &["blk.{l}.ffn_down_exps.weight"], "n eff -> e n eff")
        .layers(ALL),
    rule(&["layers.{l}.ffn.experts.{e}.w3.weight"], &["blk.{l}.ffn_up_exps.weight"], "eff n -> e eff n")
        .layers(ALL),
    rule(&["layers.{l}.ffn.shared_experts.w1.weight"], &["blk.{l}.ffn_gate_shexp.weight"], "(shared eff) n")
        .layers(ALL),
    rule(&["layers.{l}.ffn.shared_experts.w2.weight"], &["blk.{l}.ffn_down_shexp.weight"], "n (shared eff)")
        .layers(ALL),
    rule(&["layers.{l}.ffn.shared_experts.w3.weight"], &["blk.{l}.ffn_up_shexp.weight"], "(shared eff) n")
        .layers(ALL),
];

const PREDICTING: &[Rule] = &[
    rule(&["layers.{l}.nextn.{e|h}_proj.weight"], &["blk.{l}.nextn.eh_proj.weight"], "n m ; n m -> n [m|m]")
        .layers(ALL)
        .stored(DType::Q8_0),
    rule(&["layers.{l}.nextn.enorm.weight"], &["blk.{l}.nextn.enorm.weight"], "n").layers(ALL),
    rule(&["layers.{l}.nextn.hnorm.weight"], &["blk.{l}.nextn.hnorm.weight"], "n").layers(ALL),
    rule(&["layers.{l}.nextn.shared_head_norm.weight"], &["blk.{l}.nextn.shared_head_norm.weight"], "n")
        .layers(ALL),
];
