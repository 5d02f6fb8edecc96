//! Pocket TTS, the backbone: a small decoder with a bias in its norms alone, that gives a vector of sound for every step. Its
//! checkpoints have no `config.json`: the shapes of the tensors tell it. Below the table of tokens stand two learned vectors that
//! begin a voice and a sound, as tokens.
//! Specification: `PocketTTSModel`, `_load_hparams` of llama.cpp's converter.

use super::decoder::DECODER;
use super::{Arch, NONE};
use crate::arch::computed::{Activation, Layer, folded, held, joined};
use crate::arch::params::Params;
use crate::arch::rule::{Need, Rule, rule};
use crate::vocab::VOICED;
use ggraft_formats::{Checkpoint, DType, Error, Result, Shape, Tensor};
use serde_json::{Value as Json, json};

pub const POCKET_TTS: Arch = Arch {
    classes: &["PocketTTSModel"],
    gguf: "pockettts",
    base: Some(&DECODER),
    prefixes: &["flow_lm."],
    rules: RULES,
    without: &["blk.{l}.ffn_gate.weight", "output.weight"],
    ignored: SOUND,
    prepared,
    folded: &["token_embd.weight"],
    untold: Some((BEGINNING, told)),
    ..NONE
};

/// What makes sound of the vectors, and what hears a voice.
const SOUND: &[&str] = &[
    "mimi.*",
    "flow_lm.flow_net.*",
    "flow_lm.out_eos.*",
    "flow_lm.emb_*",
    "flow_lm.speaker_proj_weight",
    "flow_lm.bos_*",
    "flow_lm.input_linear.*",
];

const RULES: &[Rule] = &[
    rule(&["conditioner.embed.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["out_norm.weight"], &["output_norm.weight"], "n").bias(Need::Must),
    rule(&["transformer.layers.{l}.norm1.weight"], &["blk.{l}.attn_norm.weight"], "n").bias(Need::Must),
    rule(&["transformer.layers.{l}.norm2.weight"], &["blk.{l}.ffn_norm.weight"], "n").bias(Need::Must),
    rule(
        &["transformer.layers.{l}.self_attn.in_proj.weight"],
        &["blk.{l}.attn_q.weight", "blk.{l}.attn_k.weight", "blk.{l}.attn_v.weight"],
        "[(h d)|(h d)|(h d)] n -> (h d) n ; (h d) n ; (h d) n",
    ),
    rule(&["transformer.layers.{l}.self_attn.out_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)")
        .bias(Need::May),
    rule(&["transformer.layers.{l}.linear1.weight"], &["blk.{l}.ffn_up.weight"], "ff n").bias(Need::May),
    rule(&["transformer.layers.{l}.linear2.weight"], &["blk.{l}.ffn_down.weight"], "n ff").bias(Need::May),
];

const TABLE: &str = "flow_lm.conditioner.embed.weight";
/// The vector that begins a voice; models that need none have none.
const VOICE: &str = "flow_lm.bos_before_voice";
/// That which begins a sound, and what it enters the backbone through.
const BEGINNING: &str = "flow_lm.bos_emb";
const ENTRANCE: &str = "flow_lm.input_linear.weight";

/// The table of tokens with the vectors below it.
fn prepared(_: &Params<'_>, checkpoint: &Checkpoint) -> Result<Option<Checkpoint>> {
    let table = held(checkpoint, TABLE)?;
    let half = table.dtype() == DType::F16;
    // What is added has the dtype of the table.
    let alike =
        |row: Tensor| if half { row.encode(DType::F32, None)?.encode(DType::F16, None) } else { Ok(row) };
    let mut rows = vec![table];
    if let Ok(voice) = held(checkpoint, VOICE) {
        rows.push(alike(as_row(voice)?)?);
    }
    let entrance = Layer { weight: held(checkpoint, ENTRANCE)?, bias: None, then: Activation::None };
    let beginning = as_row(held(checkpoint, BEGINNING)?)?.encode(DType::F32, None)?;
    rows.push(alike(folded(BEGINNING, beginning, vec![entrance])?)?);
    let table = joined(TABLE, rows)?;
    let own = |tensor: &Tensor| if tensor.name == TABLE { table.clone() } else { tensor.clone() };
    Ok(Some(Checkpoint { tensors: checkpoint.tensors.iter().map(own).collect(), ..checkpoint.clone() }))
}

/// A vector as a table of one row.
fn as_row(vector: Tensor) -> Result<Tensor> {
    let shape = Shape::new(&[vector.shape().elements(), 1]);
    let shape = shape.ok_or_else(|| Error::invalid("the tensor has no elements").tensor(&vector.name))?;
    Tensor::new(&vector.name, shape, vector.dtype(), vector.rows())
}

/// What the shapes of the tensors tell, with what every published model has alike: heads of 64, a base of 10000.
fn told(checkpoint: &Checkpoint) -> Result<Json> {
    let size = |name: &str, at: usize| -> Result<u64> {
        let tensor = held(checkpoint, name).map_err(|e| e.hint(HINT))?;
        let size = tensor.shape().ne().iter().rev().nth(at).copied();
        size.ok_or_else(|| Error::invalid("the tensor has too few dimensions").tensor(name).hint(HINT))
    };
    let layers = |before: &str| {
        let is = |n: &usize| checkpoint.tensors.iter().any(|t| t.name == format!("{before}{n}.norm1.weight"));
        (0..checkpoint.tensors.len()).take_while(is).count()
    };
    let heads = |width: u64| width / HEAD;
    let (backbone, hearing) = ("flow_lm.transformer.layers.", "mimi.encoder_transformer.transformer.layers.");
    let (width, heard) = (size(TABLE, 1)?, size(&format!("{hearing}0.norm1.weight"), 0)?);
    let voiced = held(checkpoint, VOICE).is_ok();
    Ok(json!({
        "architectures": [POCKET_TTS.classes[0]],
        "model_type": POCKET_TTS.gguf,
        "num_hidden_layers": layers(backbone),
        "hidden_size": width,
        "intermediate_size": size(&format!("{backbone}0.linear1.weight"), 0)?,
        "max_position_embeddings": 4096,
        "num_attention_heads": heads(width),
        "vocab_size": size(TABLE, 0)?.saturating_add(1 + u64::from(voiced)),
        VOICED: voiced,
        "rope_theta": 10000.0,
        "layer_norm_eps": 1e-5,
        "audio_config": {
            "num_hidden_layers": layers(hearing),
            "hidden_size": heard,
            "intermediate_size": size(&format!("{hearing}0.linear1.weight"), 0)?,
            "num_attention_heads": heads(heard),
        },
    }))
}

const HEAD: u64 = 64;
const HINT: &str = "take the whole checkpoint of one language from the model's repository";
