//! The llama family: LLaMA 2, Llama 3 to 3.2, SOLAR, EEVE, Mistral, Breeze, Chinese-LLaMA, Yi and all others whose
//! `config.json` says `LlamaForCausalLM` or `MistralForCausalLM`. Rotary heads are re-ordered (`rows::permuted`).
//! Specification: `LlamaModel` of llama.cpp's converter, `LlamaConfig` and `MistralConfig` of transformers 5.

use super::Arch;
use super::hparams::{Config, Defaults, Hparams};
use super::names::{Dim, Map};
use ggraft_formats::{Metadata, Result, Tensor};

/// The model with its language-modelling head.
pub const LLAMA: Arch = Arch {
    names: &["LlamaForCausalLM", "MistralForCausalLM", "LLaMAForCausalLM"],
    gguf: "llama",
    defaults: &[LLAMA_CONFIG, MISTRAL_CONFIG],
    hparams,
    describe,
    tensors: &[("model.", BODY), ("", HEAD)],
    extra,
};

/// The model alone, whose tensors have no common prefix.
pub const HEADLESS: Arch = Arch { names: &["LlamaModel"], tensors: &[("", BODY)], ..LLAMA };

const LLAMA_CONFIG: Defaults = Defaults {
    model_type: "llama",
    values: &[
        ("vocab_size", 32000.0),
        ("hidden_size", 4096.0),
        ("intermediate_size", 11008.0),
        ("num_hidden_layers", 32.0),
        ("num_attention_heads", 32.0),
        ("max_position_embeddings", 2048.0),
        ("rms_norm_eps", 1e-6),
        ("rope_theta", 10000.0),
    ],
};

const MISTRAL_CONFIG: Defaults = Defaults {
    model_type: "mistral",
    values: &[
        ("vocab_size", 32000.0),
        ("hidden_size", 4096.0),
        ("intermediate_size", 14336.0),
        ("num_hidden_layers", 32.0),
        ("num_attention_heads", 32.0),
        ("num_key_value_heads", 8.0),
        ("max_position_embeddings", 131072.0),
        ("rms_norm_eps", 1e-6),
        ("rope_theta", 10000.0),
    ],
};

const NORM: Map = Map { from: "", to: "", shape: &[Dim::Hidden], needed: |_| true, bias: None, heads: None };

const EMBEDDING: Map = Map { shape: &[Dim::Hidden, Dim::Vocab], ..NORM };

const ATTENTION: Map = Map { bias: Some(|h| h.attention_bias), ..NORM };

const MLP: Map = Map { bias: Some(|h| h.mlp_bias), ..NORM };

const BODY: &[Map] = &[
    Map { from: "embed_tokens", to: "token_embd", ..EMBEDDING },
    Map { from: "norm", to: "output_norm", ..NORM },
    Map { from: "layers.{}.input_layernorm", to: "blk.{}.attn_norm", ..NORM },
    Map {
        from: "layers.{}.self_attn.q_proj",
        to: "blk.{}.attn_q",
        shape: &[Dim::Hidden, Dim::Heads],
        heads: Some(|h| h.head_count),
        ..ATTENTION
    },
    Map {
        from: "layers.{}.self_attn.k_proj",
        to: "blk.{}.attn_k",
        shape: &[Dim::Hidden, Dim::KvHeads],
        heads: Some(|h| h.head_count_kv),
        ..ATTENTION
    },
    Map {
        from: "layers.{}.self_attn.v_proj",
        to: "blk.{}.attn_v",
        shape: &[Dim::Hidden, Dim::KvHeads],
        ..ATTENTION
    },
    Map {
        from: "layers.{}.self_attn.o_proj",
        to: "blk.{}.attn_output",
        shape: &[Dim::Heads, Dim::Hidden],
        ..ATTENTION
    },
    Map { from: "layers.{}.post_attention_layernorm", to: "blk.{}.ffn_norm", ..NORM },
    Map { from: "layers.{}.mlp.gate_proj", to: "blk.{}.ffn_gate", shape: &[Dim::Hidden, Dim::Ffn], ..MLP },
    Map { from: "layers.{}.mlp.up_proj", to: "blk.{}.ffn_up", shape: &[Dim::Hidden, Dim::Ffn], ..MLP },
    Map { from: "layers.{}.mlp.down_proj", to: "blk.{}.ffn_down", shape: &[Dim::Ffn, Dim::Hidden], ..MLP },
];

const HEAD: &[Map] = &[Map { from: "lm_head", to: "output", needed: |h| !h.tied, ..EMBEDDING }];

fn hparams(config: &Config, warnings: &mut Vec<String>) -> Result<Hparams> {
    let hparams = Hparams::read(config, warnings)?;
    if let Some(window) = config.optional_count("sliding_window")?
        && window < hparams.context_length
    {
        warnings.push(format!(
            "the sliding window of {window} tokens cannot be said in a llama GGUF: \
             beyond it the model attends to all {} tokens of its context",
            hparams.context_length
        ));
    }
    Ok(hparams)
}

fn describe(hparams: &Hparams, metadata: &mut Metadata) {
    metadata.set("llama.vocab_size", hparams.vocab_size);
    metadata.set("llama.rope.dimension_count", hparams.head_dim);
}

fn extra(hparams: &Hparams) -> Result<Vec<Tensor>> {
    Ok(hparams.rope.factors(hparams.head_dim)?.into_iter().collect())
}
