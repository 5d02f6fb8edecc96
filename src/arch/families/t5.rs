//! T5, mT5 and UMT5: an encoder and a decoder of blocks with biases by relative position; the encoder alone.
//! Specification: `T5Model`, `T5EncoderModel` of llama.cpp's converter.

use super::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, make, positive, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Need, Rule, rule};
use ggraft_formats::{Result, Value};

pub const T5: Arch = Arch {
    classes: &[
        "T5ForConditionalGeneration",
        "T5WithLMHeadModel",
        "MT5ForConditionalGeneration",
        "UMT5ForConditionalGeneration",
        "UMT5Model",
    ],
    gguf: "t5",
    base: Some(&ENCODER),
    keys: KEYS,
    axes: &[axis("decoder", Size::Or(&["num_decoder_layers"], &Size::Same("l")))],
    rules: DECODER,
    ..NONE
};

pub const T5_ENCODER: Arch =
    Arch { classes: &["T5EncoderModel"], gguf: "t5encoder", base: Some(&ENCODER), keys: KEYS, ..NONE };

const ENCODER: Arch = Arch {
    prefixes: &[""],
    axes: AXES,
    rules: RULES,
    ignored: &["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"],
    ..NONE
};

const KEYS: &[Key] = &[
    count("context_length", &["n_positions"]).or(Fixed::Count(512)),
    size("embedding_length", "n"),
    size("feed_forward_length", "ff"),
    size("block_count", "l"),
    make("decoder_block_count", |params| of_decoder(params, "num_decoder_layers")),
    size("attention.head_count", "h"),
    size("attention.key_length", "d"),
    size("attention.value_length", "d"),
    positive("attention.layer_norm_epsilon", &["layer_norm_epsilon"]).must(),
    size("attention.relative_buckets_count", "buckets"),
    positive("attention.layer_norm_rms_epsilon", &["layer_norm_epsilon"]).must(),
    make("decoder_start_token_id", |params| match of_decoder(params, "decoder_start_token_id")? {
        None => of_decoder(params, "pad_token_id"),
        told => Ok(told),
    }),
];

/// A number of the decoder, if there is one.
fn of_decoder(params: &Params<'_>, key: &str) -> Result<Option<Value>> {
    if params.config.class()? == "T5EncoderModel" {
        return Ok(None);
    }
    Ok(params.config.whole_at(key, 0)?.map(Value::U32))
}

const AXES: &[Axis] = &[
    axis("l", Size::Of(&["num_layers", "num_hidden_layers"])),
    axis("n", Size::Of(&["d_model"])),
    axis("ff", Size::Of(&["d_ff"])),
    axis("h", Size::Of(&["num_heads", "num_attention_heads"])),
    axis("d", Size::Of(&["d_kv"])),
    axis("buckets", Size::Of(&["relative_attention_num_buckets"])),
    axis("vocab", Size::Of(&["vocab_size"])),
];

/// T5's first layer has the biases of all; each of UMT5's its own.
const FIRST: Layers = Layers::When(|_, layer| Ok(layer == 0));
const LATER: Layers = Layers::When(|_, layer| Ok(layer > 0));
const GATED: Layers = Layers::When(|params, _| {
    let kind = params.config.text("feed_forward_proj")?.unwrap_or_default();
    Ok(params.config.flag("is_gated_act")? || kind.starts_with("gated"))
});

const RULES: &[Rule] = &[
    rule(&["shared.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["encoder.final_layer_norm.weight"], &["enc.output_norm.weight"], "n"),
    rule(&["encoder.block.{l}.layer.0.layer_norm.weight"], &["enc.blk.{l}.attn_norm.weight"], "n"),
    rule(&["encoder.block.{l}.layer.0.SelfAttention.q.weight"], &["enc.blk.{l}.attn_q.weight"], "(h d) n"),
    rule(&["encoder.block.{l}.layer.0.SelfAttention.k.weight"], &["enc.blk.{l}.attn_k.weight"], "(h d) n"),
    rule(&["encoder.block.{l}.layer.0.SelfAttention.v.weight"], &["enc.blk.{l}.attn_v.weight"], "(h d) n"),
    rule(&["encoder.block.{l}.layer.0.SelfAttention.o.weight"], &["enc.blk.{l}.attn_o.weight"], "n (h d)"),
    rule(
        &["encoder.block.{l}.layer.0.SelfAttention.relative_attention_bias.weight"],
        &["enc.blk.{l}.attn_rel_b.weight"],
        "buckets h",
    )
    .layers(FIRST),
    rule(
        &["encoder.block.{l}.layer.0.SelfAttention.relative_attention_bias.weight"],
        &["enc.blk.{l}.attn_rel_b.weight"],
        "buckets h",
    )
    .may()
    .layers(LATER),
    rule(&["encoder.block.{l}.layer.1.layer_norm.weight"], &["enc.blk.{l}.ffn_norm.weight"], "n"),
    rule(&["encoder.block.{l}.layer.1.DenseReluDense.wi_0.weight"], &["enc.blk.{l}.ffn_gate.weight"], "ff n")
        .layers(GATED),
    rule(
        &[
            "encoder.block.{l}.layer.1.DenseReluDense.wi.weight",
            "encoder.block.{l}.layer.1.DenseReluDense.wi_1.weight",
        ],
        &["enc.blk.{l}.ffn_up.weight"],
        "ff n",
    ),
    rule(&["encoder.block.{l}.layer.1.DenseReluDense.wo.weight"], &["enc.blk.{l}.ffn_down.weight"], "n ff"),
];

const DECODER: &[Rule] = &[
    rule(&["lm_head.weight"], &["output.weight"], "vocab n").need(Need::Unless("tie_word_embeddings")),
    rule(&["decoder.final_layer_norm.weight"], &["dec.output_norm.weight"], "n"),
    rule(
        &["decoder.block.{decoder}.layer.0.layer_norm.weight"],
        &["dec.blk.{decoder}.attn_norm.weight"],
        "n",
    ),
    rule(
        &["decoder.block.{decoder}.layer.0.SelfAttention.q.weight"],
        &["dec.blk.{decoder}.attn_q.weight"],
        "(h d) n",
    ),
    rule(
        &["decoder.block.{decoder}.layer.0.SelfAttention.k.weight"],
        &["dec.blk.{decoder}.attn_k.weight"],
        "(h d) n",
    ),
    rule(
        &["decoder.block.{decoder}.layer.0.SelfAttention.v.weight"],
        &["dec.blk.{decoder}.attn_v.weight"],
        "(h d) n",
    ),
    rule(
        &["decoder.block.{decoder}.layer.0.SelfAttention.o.weight"],
        &["dec.blk.{decoder}.attn_o.weight"],
        "n (h d)",
    ),
    rule(
        &["decoder.block.{decoder}.layer.0.SelfAttention.relative_attention_bias.weight"],
        &["dec.blk.{decoder}.attn_rel_b.weight"],
        "buckets h",
    )
    .layers(FIRST),
    rule(
        &["decoder.block.{decoder}.layer.0.SelfAttention.relative_attention_bias.weight"],
        &["dec.blk.{decoder}.attn_rel_b.weight"],
        "buckets h",
    )
    .may()
    .layers(LATER),
    rule(
        &["decoder.block.{decoder}.layer.1.layer_norm.weight"],
        &["dec.blk.{decoder}.cross_attn_norm.weight"],
        "n",
    ),
    rule(
        &["decoder.block.{decoder}.layer.1.EncDecAttention.q.weight"],
        &["dec.blk.{decoder}.cross_attn_q.weight"],
        "(h d) n",
    ),
    rule(
        &["decoder.block.{decoder}.layer.1.EncDecAttention.k.weight"],
        &["dec.blk.{decoder}.cross_attn_k.weight"],
        "(h d) n",
    ),
    rule(
        &["decoder.block.{decoder}.layer.1.EncDecAttention.v.weight"],
        &["dec.blk.{decoder}.cross_attn_v.weight"],
        "(h d) n",
    ),
    rule(
        &["decoder.block.{decoder}.layer.1.EncDecAttention.o.weight"],
        &["dec.blk.{decoder}.cross_attn_o.weight"],
        "n (h d)",
    ),
    rule(
        &["decoder.block.{decoder}.layer.1.EncDecAttention.relative_attention_bias.weight"],
        &["dec.blk.{decoder}.cross_attn_rel_b.weight"],
        "buckets h",
    )
    .may(),
    rule(&["decoder.block.{decoder}.layer.2.layer_norm.weight"], &["dec.blk.{decoder}.ffn_norm.weight"], "n"),
    rule(
        &["decoder.block.{decoder}.layer.2.DenseReluDense.wi_0.weight"],
        &["dec.blk.{decoder}.ffn_gate.weight"],
        "ff n",
    )
    .layers(GATED),
    rule(
        &[
            "decoder.block.{decoder}.layer.2.DenseReluDense.wi.weight",
            "decoder.block.{decoder}.layer.2.DenseReluDense.wi_1.weight",
        ],
        &["dec.blk.{decoder}.ffn_up.weight"],
        "ff n",
    ),
    rule(
        &["decoder.block.{decoder}.layer.2.DenseReluDense.wo.weight"],
        &["dec.blk.{decoder}.ffn_down.weight"],
        "n ff",
    ),
];
