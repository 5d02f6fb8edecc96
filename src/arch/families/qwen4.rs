//! Qwen 4 Exp: Qwen 3.5's state and gated heads; several streams between the layers (hyper-connections), whose norms stand
//! for those of layers; where a layer attends, an indexer selects groups of tokens; one layer adds embeddings of the last
//! few tokens, from a table in many parts whose hashes are whole numbers of the checkpoint. What predicts further tokens is
//! left out.
//! Specification: `Qwen4ExpTextModel` of llama.cpp's converter; `qwen4_exp` of transformers 5.

use super::qwen35::{self, QWEN35_MOE};
use super::told::{Keys, Told, share, some};
use super::{Arch, NONE};
use crate::arch::keys::{Key, count, make};
use crate::arch::moved;
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Rule, rule};
use crate::arch::values::Value;
use ggraft_formats::{Array, DType, Model, Result, Tensor, Value as Said};
use serde_json::json;

pub const QWEN4_EXP: Arch = Arch {
    classes: &["Qwen4ExpForCausalLM", "Qwen4ExpForConditionalGeneration"],
    gguf: "qwen4exp",
    base: Some(&QWEN35_MOE),
    keys: KEYS,
    axes: AXES,
    rules: STREAMS,
    shares: &[INDEXER, EMBEDDINGS],
    regains,
    keeps,
    renamed: &[("layers.{l}.ple.ple_embedding.ngram_embedding.shard_", "ngram_embedding.")],
    published: &[("model.layers.{adds}.ple.ple_embedding.ngram_embedding.shard_", "model.ngram_embedding.")],
    without: &[
        "output_norm.weight",
        "blk.{l}.attn_norm.weight",
        "blk.{l}.post_attention_norm.weight",
        "blk.{l}.nextn.eh_proj.weight",
        "blk.{l}.nextn.enorm.weight",
        "blk.{l}.nextn.hnorm.weight",
        "blk.{l}.nextn.shared_head_norm.weight",
        "nextn_predict_layers",
    ],
    ignored: &["*mtp.*", "*.ple_embedding.layer_multipliers", "*.ple_embedding.ngram_heads_*"],
    ..NONE
};

const KEYS: &[Key] = &[
    count("hyper_connection.count", &["hc_count"]).must(),
    count("hyper_connection.low_rank", &["hc_lowrank"]).must(),
    count("attention.indexer.head_count", &["indexer_n_heads"]).must(),
    count("attention.indexer.key_length", &["indexer_head_dim"]).must(),
    count("attention.indexer.top_k", &["indexer_budget"]).must(),
    make("attention.compress_ratios", |params| {
        let ratio = params.config.count("indexer_compress_ratio")? as i32;
        let of = |layer| Ok(if qwen35::attends(params, layer)? { ratio } else { 0 });
        Ok(Some(Said::Array(Array::I32((0..params.count("l", 0)?).map(of).collect::<Result<_>>()?))))
    }),
    make("ple.layers", |params| {
        let layers = listed(params)?;
        Ok((!layers.is_empty()).then(|| Said::Array(Array::I32(layers.iter().map(|l| *l as i32).collect()))))
    }),
    make("ple.ngram_size", |params| of_embeddings(params, "ngram_size")),
    make("ple.heads_per_ngram", |params| of_embeddings(params, "heads_per_ngram")),
    make("ple.conv_kernel", |params| of_embeddings(params, "ple_conv_kernel_size")),
    make("ple.eos_token_id", |params| {
        let ends = params.config.get("eos_token_id");
        let last = ends.and_then(|ends| ends.as_array().map_or(Some(ends), |all| all.last()));
        let id = last.and_then(|id| id.as_u64()).and_then(|id| u32::try_from(id).ok());
        match (listed(params)?.is_empty(), id) {
            (true, _) => Ok(None),
            (false, Some(id)) => Ok(Some(Said::U32(id))),
            (false, None) => Err(params.config.missing("eos_token_id", "the id of a token")),
        }
    }),
    make("ple.image_token_id", |params| {
        let id = params.config.whole_at("image_token_id", 0)?;
        Ok(id.filter(|_| listed(params).is_ok_and(|layers| !layers.is_empty())).map(Said::U32))
    }),
    make("embedding_length_per_layer_input", |params| {
        Ok(if listed(params)?.is_empty() { None } else { Some(Said::U32(params.count("part", 0)?)) })
    }),
    make("ple.layer_multipliers", |params| whole_numbers(params, HASHES[0].1)),
    make("ple.head_offsets", |params| whole_numbers(params, HASHES[1].1)),
    make("ple.head_vocab_sizes", |params| whole_numbers(params, HASHES[2].1)),
];

/// Whole numbers of the hashes: a GGUF's keys, and the checkpoint's tensors.
const HASHES: [(&str, &str); 3] = [
    ("ple.layer_multipliers", "layer_multipliers"),
    ("ple.head_offsets", "ngram_heads_offsets"),
    ("ple.head_vocab_sizes", "ngram_heads_vocab_sizes"),
];

/// The layer of a GGUF that adds embeddings.
fn adds(told: &Told<'_>) -> Option<u32> {
    told.first(|layer| told.has("ple_key.weight", layer))
}

/// What a GGUF says of the embeddings. In how many parts the table was it does not: as many as published ones, where they fit.
fn regains(model: &Model, layers: u32) -> Keys {
    let told = Told::of(model, layers);
    let table = told.whole("per_layer_token_embd.weight").map(|table| table.shape().rows());
    let parts = table.map(|rows| if rows.is_multiple_of(PARTS) { PARTS } else { 1 });
    let sizes = told.get(HASHES[2].0).and_then(|sizes| sizes.as_array());
    let all = sizes.map(|sizes| (0..sizes.len()).filter_map(|i| sizes.u64(i)).fold(0, u64::saturating_add));
    let rotates = told.number("rope.dimension_count").zip(told.number("attention.key_length"));
    let usual = |rows: u64| all.is_some_and(|all| all.checked_next_multiple_of(USUAL) == Some(rows));
    some([
        ("indexer_kv_heads", Some(json!(1))),
        ("partial_rotary_factor", rotates.map(|(some, all)| json!(share(some, all)))),
        (EVEN, table.map(|rows| json!(if usual(rows) { USUAL } else { rows }))),
        ("ple_layer_ids", Some(adds(&told).map_or(json!([]), |layer| json!([layer + 1])))),
        ("split_ngram_parts", parts.map(|n| json!(n))),
        ("ngram_vocab_size_base", sizes.and_then(|sizes| sizes.u64(0)).map(|n| json!(n))),
    ])
}

/// In how many parts tables are published, and what their rows are a multiple of.
const PARTS: u64 = 512;
const USUAL: u64 = 128;

/// The whole numbers of the hashes, as the checkpoint has them.
fn keeps(model: &Model) -> Result<Vec<Tensor>> {
    let layers = model.metadata.u64("qwen4exp.block_count").unwrap_or(0).min(model.tensors.len() as u64);
    let told = Told::of(model, u32::try_from(layers).unwrap_or(u32::MAX));
    let Some(layer) = adds(&told) else { return Ok(Vec::new()) };
    let whole = |(key, own): &(&str, &str)| {
        let all = told.get(key)?.as_array()?;
        let bytes: Vec<u8> = (0..all.len()).filter_map(|i| all.u64(i)).flat_map(u64::to_le_bytes).collect();
        let name = format!("model.layers.{layer}.ple.ple_embedding.{own}");
        let shape = moved::shape(&name, &[all.len() as u64]);
        Some(shape.and_then(|shape| Tensor::of_bytes(&name, shape, DType::I64, bytes)))
    };
    HASHES.iter().filter_map(whole).collect()
}

/// The layers that add embeddings; the config counts from one.
fn listed(params: &Params<'_>) -> Result<Vec<u32>> {
    const KEY: &str = "ple_layer_ids";
    let Some(told) = params.config.get(KEY) else { return Ok(Vec::new()) };
    let one = |n: &serde_json::Value| n.as_u64().and_then(|n| u32::try_from(n).ok()?.checked_sub(1));
    let all: Option<Vec<u32>> = told.as_array().and_then(|all| all.iter().map(one).collect());
    let wrong = || params.config.wrong(KEY, "a list of layers, the first of which is 1").found(told);
    let all = all.ok_or_else(wrong)?;
    match all.len() {
        0 | 1 => Ok(all),
        _ => Err(params.config.unsupported(KEY).expected("one layer, as in the runtime").found(told)),
    }
}

/// A number of those embeddings.
fn of_embeddings(params: &Params<'_>, key: &str) -> Result<Option<Said>> {
    Ok(if listed(params)?.is_empty() { None } else { Some(Said::U32(params.config.count(key)?)) })
}

/// Whole numbers that the checkpoint keeps, each exactly.
fn whole_numbers(params: &Params<'_>, name: &str) -> Result<Option<Said>> {
    if listed(params)?.is_empty() {
        return Ok(None);
    }
    let all = params.whole_numbers(&format!("ple_embedding.{name}"))?;
    Ok(all.map(|all| Said::Array(Array::U64(all))))
}

const AXES: &[Axis] = &[
    axis("mtp", Size::Is(0)),
    axis("streams", Size::Of(&["hc_count"])),
    axis("wide", Size::Mul("streams", "n")),
    axis("low", Size::Of(&["hc_lowrank"])),
    axis("ih", Size::Of(&["indexer_n_heads"])),
    axis("i", Size::Of(&["indexer_head_dim"])),
    axis("ple", Size::Or(&["ple_embed_dim"], &Size::Same("n"))),
    axis("adds", Size::Make(|params, _| Ok(listed(params)?.first().copied().unwrap_or(0).into()))),
    axis("orders", Size::Make(|params, _| Ok(u64::from(params.config.count("ngram_size")?) - 1))),
    axis("each", Size::Of(&["heads_per_ngram"])),
    axis("hashes", Size::Mul("orders", "each")),
    axis("part", Size::Div("ple", "hashes")).or("ple", "a multiple of {hashes} hashes"),
    axis("s", Size::Of(&["split_ngram_parts"])),
    axis("rows", Size::Make(rows)),
    axis("kernel", Size::Of(&["ple_conv_kernel_size"])),
];

/// How many rows a part of the table has: the checkpoint tells, else the primes that its hashes are divided by.
fn rows(params: &Params<'_>, layer: u32) -> Result<u64> {
    // Of all layers alike, and long to find where no tensor tells: looked for once.
    if layer > 0 {
        return params.size("rows", 0);
    }
    let tensors = params.checkpoint().into_iter().flat_map(|checkpoint| &checkpoint.tensors);
    let mut tensors = tensors.into_iter();
    match tensors.find(|tensor| tensor.name.contains(".ngram_embedding.shard_")) {
        Some(tensor) => Ok(tensor.shape().rows()),
        None => {
            let base = params.config.count("ngram_vocab_size_base")?.into();
            let hashes = usize::try_from(params.size("hashes", 0)?.min(MOST)).unwrap_or(0);
            let even = params.config.optional_count(EVEN)?.unwrap_or(1).max(1);
            let all = (base..).filter(|n| is_prime(*n)).take(hashes).sum::<u64>();
            Ok(all.next_multiple_of(even.into()).div_ceil(params.size("s", 0)?.max(1)))
        }
    }
}

/// What the rows of the whole table are a multiple of.
const EVEN: &str = "make_ngram_vocab_size_divisible_by";

/// The most hashes that are looked for; 16 are published.
const MOST: u64 = 1 << 10;

fn is_prime(n: u64) -> bool {
    n > 1 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}

const FULL: Layers = Layers::When(qwen35::attends);
const ADDS: Layers = Layers::When(|params, layer| Ok(listed(params)?.contains(&layer)));
const SOME: Layers = Layers::When(|params, _| Ok(!listed(params)?.is_empty()));
const ONE: Value = Value::Plus(1.0);

/// What joins the streams before a part and parts what it gives after it; the last one is the norm of the output.
const STREAMS: &[Rule] = &[
    rule(&["hyper_connection_mixer.hc_norm.weight"], &["output_hc_norm.weight"], "wide").value(ONE),
    rule(&["hyper_connection_mixer.input_mix_weight_down.weight"], &["output_hc_down.weight"], "low wide"),
    rule(&["hyper_connection_mixer.input_mix_weight_up.weight"], &["output_hc_up.weight"], "wide low"),
    rule(&["layers.{l}.attn_hyper_connection.hc_norm.weight"], &["blk.{l}.hc_attn_norm.weight"], "wide")
        .value(ONE),
    rule(
        &["layers.{l}.attn_hyper_connection.input_mix_weight_down.weight"],
        &["blk.{l}.hc_attn_down.weight"],
        "low wide",
    ),
    rule(
        &["layers.{l}.attn_hyper_connection.input_mix_weight_up.weight"],
        &["blk.{l}.hc_attn_up.weight"],
        "wide low",
    ),
    rule(
        &["layers.{l}.attn_hyper_connection.block_inject_weight.weight"],
        &["blk.{l}.hc_attn_inject.weight"],
        "streams wide",
    ),
    rule(&["layers.{l}.mlp_hyper_connection.hc_norm.weight"], &["blk.{l}.hc_ffn_norm.weight"], "wide")
        .value(ONE),
    rule(
        &["layers.{l}.mlp_hyper_connection.input_mix_weight_down.weight"],
        &["blk.{l}.hc_ffn_down.weight"],
        "low wide",
    ),
    rule(
        &["layers.{l}.mlp_hyper_connection.input_mix_weight_up.weight"],
        &["blk.{l}.hc_ffn_up.weight"],
        "wide low",
    ),
    rule(
        &["layers.{l}.mlp_hyper_connection.block_inject_weight.weight"],
        &["blk.{l}.hc_ffn_inject.weight"],
        "streams wide",
    ),
];

const INDEXER: &[Rule] = &[
    rule(
        &["layers.{l}.self_attn.indexer.index_qk_proj.weight"],
        &["blk.{l}.indexer.q_proj.weight", "blk.{l}.indexer.k_proj.weight"],
        "[(ih i)|i] n -> (ih i) n ; i n",
    )
    .layers(FULL),
    rule(&["layers.{l}.self_attn.indexer.q_layernorm.weight"], &["blk.{l}.indexer.q_norm.weight"], "i")
        .value(ONE)
        .layers(FULL),
    rule(&["layers.{l}.self_attn.indexer.k_layernorm.weight"], &["blk.{l}.indexer.k_norm.weight"], "i")
        .value(ONE)
        .layers(FULL),
];

/// Embeddings of the last few tokens.
const EMBEDDINGS: &[Rule] = &[
    rule(&["ngram_embedding.{s}.weight"], &["per_layer_token_embd.weight"], "rows part -> (s rows) part")
        .layers(SOME),
    rule(&["layers.{l}.ple.key_proj.weight"], &["blk.{l}.ple_key.weight"], "wide ple").layers(ADDS),
    rule(&["layers.{l}.ple.value_proj.weight"], &["blk.{l}.ple_value.weight"], "n ple").layers(ADDS),
    rule(&["layers.{l}.ple.norm_key.weight"], &["blk.{l}.ple_norm_key.weight"], "wide")
        .value(ONE)
        .layers(ADDS),
    rule(&["layers.{l}.ple.norm_query.weight"], &["blk.{l}.ple_norm_query.weight"], "wide")
        .value(ONE)
        .layers(ADDS),
    rule(&["layers.{l}.ple.norm_conv.weight"], &["blk.{l}.ple_norm_conv.weight"], "wide")
        .value(ONE)
        .layers(ADDS),
    rule(&["layers.{l}.ple.conv1d.weight"], &["blk.{l}.ple_conv1d.weight"], "wide 1 kernel -> wide kernel")
        .layers(ADDS),
];
