//! Nomic's BERT: rotary positions and a gate; version 2 has experts in every other layer. Published contexts are longer than
//! what the models were trained for.
//! Specification: `NomicBertModel` of llama.cpp's converter.

use super::bert::ENCODES;
use super::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, make, positive, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Need, Rule, rule};
use ggraft_formats::{Result, Value};

pub const NOMIC_BERT_MOE: Arch = Arch {
    classes: &["NomicBertModel"],
    gguf: "nomic-bert-moe",
    applies: Some(|config| Ok(config.whole_at("moe_every_n_layers", 0)?.unwrap_or(0) > 0)),
    base: Some(&COMMON),
    keys: &[
        count("moe_every_n_layers", &["moe_every_n_layers"]).must(),
        count("expert_used_count", &["moe_top_k"]).must(),
    ],
    rules: MOE,
    ignored: &["*mlp.experts.bias"],
    ..NONE
};

pub const NOMIC_BERT: Arch = Arch {
    classes: &["NomicBertModel"],
    gguf: "nomic-bert",
    base: Some(&COMMON),
    keys: &[count("^tokenizer.ggml.token_type_count", &["type_vocab_size"]).or(Fixed::Count(1))],
    rules: GATED,
    ..NONE
};

const COMMON: Arch = Arch { keys: ENCODES, base: Some(&ROOT), ..NONE };
const ROOT: Arch = Arch {
    prefixes: &["", "bert."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ignored: &["*embeddings.position_ids", "*pooler.*", "cls.predictions.*"],
    ..NONE
};

const KEYS: &[Key] = &[
    size("block_count", "l"),
    make("context_length", |params| Ok(Some(Value::U32(context(params)?)))),
    size("embedding_length", "n"),
    size("feed_forward_length", "ff"),
    size("attention.head_count", "h"),
    positive("rope.freq_base", &["rotary_emb_base"]),
    positive("attention.layer_norm_epsilon", &["layer_norm_epsilon"]),
    count("expert_count", &["num_experts"]),
];

/// The context that the models were trained for.
fn context(params: &Params<'_>) -> Result<u32> {
    let (told, trained) = (
        params.config.count("n_positions")?,
        params.config.optional_count("max_trained_positions")?.unwrap_or(2048),
    );
    match (told, trained) {
        (8192, 2048) => Ok(2048),
        (2048, 2048) => Ok(512),
        _ => Err(params
            .config
            .unsupported("n_positions")
            .expected("8192 or 2048, of 2048 trained")
            .found(told)),
    }
}

const AXES: &[Axis] = &[
    axis("l", Size::Of(&["n_layer"])),
    axis("n", Size::Of(&["n_embd"])),
    axis("m", Size::Same("n")),
    axis("ff", Size::Of(&["n_inner"])),
    axis("h", Size::Of(&["n_head"])),
    axis("three", Size::Is(3)),
    axis("vocab", Size::Of(&["vocab_size"])),
    axis("types", Size::Of(&["type_vocab_size"])),
    axis("e", Size::Of(&["num_experts"])),
];

const BIASED: Need = Need::If("qkv_proj_bias");

const RULES: &[Rule] = &[
    rule(&["embeddings.word_embeddings.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["embeddings.token_type_embeddings.weight"], &["token_types.weight"], "types n").may(),
    rule(&["emb_ln.weight"], &["token_embd_norm.weight"], "n").bias(Need::Must),
    rule(&["encoder.layers.{l}.attn.Wqkv.weight"], &["blk.{l}.attn_qkv.weight"], "(three n) m").bias(BIASED),
    rule(&["encoder.layers.{l}.attn.out_proj.weight"], &["blk.{l}.attn_output.weight"], "n m").bias(BIASED),
    rule(&["encoder.layers.{l}.norm1.weight"], &["blk.{l}.attn_output_norm.weight"], "n").bias(Need::Must),
    rule(&["encoder.layers.{l}.norm2.weight"], &["blk.{l}.layer_output_norm.weight"], "n").bias(Need::Must),
];

const GATED: &[Rule] = &[
    rule(&["encoder.layers.{l}.mlp.fc11.weight"], &["blk.{l}.ffn_up.weight"], "ff n"),
    rule(&["encoder.layers.{l}.mlp.fc12.weight"], &["blk.{l}.ffn_gate.weight"], "ff n"),
    rule(&["encoder.layers.{l}.mlp.fc2.weight"], &["blk.{l}.ffn_down.weight"], "n ff"),
];

const SPARSE: Layers = Layers::When(|params, layer| {
    let every = params.config.count("moe_every_n_layers")?;
    Ok(layer % every == 1 % every)
});
const DENSE: Layers = Layers::When(|params, layer| SPARSE.hold(params, layer).map(|sparse| !sparse));

const MOE: &[Rule] = &[
    rule(&["encoder.layers.{l}.mlp.fc1.weight"], &["blk.{l}.ffn_up.weight"], "ff n")
        .bias(Need::Must)
        .layers(DENSE),
    rule(&["encoder.layers.{l}.mlp.fc2.weight"], &["blk.{l}.ffn_down.weight"], "n ff")
        .bias(Need::Must)
        .layers(DENSE),
    rule(&["encoder.layers.{l}.mlp.router.layer.weight"], &["blk.{l}.ffn_gate_inp.weight"], "e n")
        .layers(SPARSE),
    rule(&["encoder.layers.{l}.mlp.experts.mlp.w1"], &["blk.{l}.ffn_up_exps.weight"], "(e ff) n -> e ff n")
        .layers(SPARSE),
    rule(&["encoder.layers.{l}.mlp.experts.mlp.w2"], &["blk.{l}.ffn_down_exps.weight"], "(e ff) n -> e n ff")
        .layers(SPARSE),
];
