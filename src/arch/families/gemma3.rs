//! Gemma 3: Gemma 2 with norms of queries and keys, and two bases of rotary embedding. Rows of its table of tokens beyond
//! the tokenizer are left out. Of the checkpoints that see, the text part is taken. EmbeddingGemma is the model alone.
//! Specification: `Gemma3Model`, `EmbeddingGemma` of llama.cpp's converter.

use super::decoder::DECODER;
use super::gemma::{NO_SPACE, scale};
use super::{Arch, NONE, Uses};
use crate::arch::dense::{Dense, Taken};
use crate::arch::keys::{Fixed, Key, count, make, number, positive};
use crate::arch::params::Params;
use crate::arch::rope::Rope;
use crate::arch::rule::{Need, Rule, rule};
use crate::arch::values;
use ggraft_formats::{Result, Value};

pub const GEMMA3: Arch = Arch {
    classes: &["Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"],
    gguf: "gemma3",
    regains: scale,
    base: Some(&DECODER),
    keys: KEYS,
    rules: RULES,
    ignored: &["*vision_tower.*", "*multi_modal_projector.*"],
    tokenizer: &[NO_SPACE],
    ..NONE
};

pub const EMBEDDING_GEMMA: Arch = Arch {
    classes: &["Gemma3TextModel"],
    gguf: "gemma-embedding",
    // What makes it one, and what the runtime does without being told.
    regains: |model, layers| {
        [scale(model, layers), vec![("use_bidirectional_attention", true.into())]].concat()
    },
    base: Some(&GEMMA3),
    prefixes: &["", "model."],
    keys: &[make("attention.sliding_window", |params| {
        params.config.count("sliding_window").map(|n| Some(n.into()))
    })],
    rules: &[head().may().cut()],
    dense: &[
        Dense { folder: "2_Dense", to: "dense_2", taken: Taken::Asked },
        Dense { folder: "3_Dense", to: "dense_3", taken: Taken::Asked },
    ],
    uses: Uses::Pooled,
    tokenizer: &[NO_SPACE],
    ..NONE
};

const KEYS: &[Key] = &[
    count("context_length", &["max_position_embeddings"]).or(Fixed::Count(131072)),
    count("attention.head_count", &["num_attention_heads"]).or(Fixed::Count(8)),
    positive("attention.layer_norm_rms_epsilon", &["rms_norm_eps"]).or(Fixed::Number(1e-6)),
    count("attention.key_length", &["head_dim"]).or(Fixed::Count(256)),
    count("attention.value_length", &["head_dim"]).or(Fixed::Count(256)),
    make("rope.freq_base", |params| {
        Ok(Rope::read(params.config)?.theta()?.is_none().then_some(Value::F32(1e6)))
    }),
    number("final_logit_softcapping", &["final_logit_softcapping"]),
    make("attention.sliding_window", window),
    count("attention.head_count_kv", &["num_key_value_heads"]).or(Fixed::Count(4)),
];

/// A pattern of one means that all layers attend to all tokens.
fn window(params: &Params<'_>) -> Result<Option<Value>> {
    match params.config.optional_count("sliding_window_pattern")? {
        Some(1) => Ok(None),
        _ => params.config.count("sliding_window").map(|n| Some(n.into())),
    }
}

const ONE: values::Value = values::Value::Plus(1.0);

/// The head, which is the table of tokens in all models that Google published.
pub const fn head() -> Rule {
    rule(&["^lm_head.weight", "^language_model.lm_head.weight"], &["output.weight"], "vocab n")
        .need(Need::Unless("tie_word_embeddings"))
}

const RULES: &[Rule] = &[
    rule(&["embed_tokens.weight"], &["token_embd.weight"], "vocab n").cut(),
    head().cut(),
    rule(&["norm.weight"], &["output_norm.weight"], "n").value(ONE),
    rule(&["layers.{l}.input_layernorm.weight"], &["blk.{l}.attn_norm.weight"], "n").value(ONE),
    rule(&["layers.{l}.self_attn.q_norm.weight"], &["blk.{l}.attn_q_norm.weight"], "d").value(ONE),
    rule(&["layers.{l}.self_attn.k_norm.weight"], &["blk.{l}.attn_k_norm.weight"], "d").value(ONE),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.post_attention_norm.weight"], "n")
        .value(ONE),
    rule(&["layers.{l}.pre_feedforward_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n").value(ONE),
    rule(&["layers.{l}.post_feedforward_layernorm.weight"], &["blk.{l}.post_ffw_norm.weight"], "n")
        .value(ONE),
];
