//! Jais 1: GPT-2's matrices, a gate, ALiBi; embeddings and logits are multiplied with numbers of the config, which become
//! part of the tables.
//! Specification: `JaisModel` of llama.cpp's converter.

use super::{Arch, NONE};
use crate::arch::keys::{Key, count, make, positive, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use crate::arch::scaled::{Times, all};
use crate::arch::values::Value;
use ggraft_formats::{Result, Value as Told};

pub const JAIS: Arch = Arch {
    classes: &["JAISLMHeadModel"],
    // The tables have the factors already.
    regains: |_, _| vec![("embeddings_scale", 1.0.into()), ("width_scale", 1.0.into())],
    gguf: "jais",
    prefixes: &["transformer."],
    keys: KEYS,
    early: &[make("attention.max_alibi_bias", bias)],
    axes: AXES,
    rules: RULES,
    ignored: &["*.attn.bias", "*relative_pe.slopes"],
    ..NONE
};

const KEYS: &[Key] = &[
    size("block_count", "l"),
    count("context_length", &["n_positions"]).must(),
    size("embedding_length", "n"),
    size("feed_forward_length", "ff"),
    size("attention.head_count", "h"),
    positive("attention.layer_norm_epsilon", &["layer_norm_epsilon"]).must(),
];

/// The largest bias: the slopes are powers of a number that follows from it, and some checkpoints keep them.
fn bias(params: &Params<'_>) -> Result<Option<Told>> {
    const USUAL: f32 = 8.0;
    let slopes = params.numbers("relative_pe.slopes")?;
    let heads = params.count("h", 0)?.max(1).ilog2();
    let of = |slope: &f32| -(f64::from(*slope).log2() * f64::from(1u32 << heads)).round_ties_even() as f32;
    Ok(Some(Told::F32(slopes.as_deref().and_then(<[f32]>::first).map_or(USUAL, of))))
}

const AXES: &[Axis] = &[
    axis("l", Size::Of(&["n_layer"])),
    axis("n", Size::Of(&["n_embd"])),
    axis("m", Size::Same("n")),
    axis("h", Size::Of(&["n_head"])),
    axis("ff", Size::Of(&["n_inner"])),
    axis("vocab", Size::Of(&["vocab_size"])),
    axis("three", Size::Is(3)),
];

const EMBEDDINGS: Value = Value::Times(&Times {
    name: "w * embeddings_scale",
    factors: |params, _| {
        let key = params.config.first(&["mup_embeddings_scale", "embeddings_scale"]);
        Ok(vec![all(params.config.number(key.unwrap_or("embeddings_scale"))?)])
    },
});

const WIDTH: Value = Value::Times(&Times {
    name: "w * width_scale",
    factors: |params, _| {
        let by = match params.config.get("mup_output_alpha") {
            Some(_) => params.config.number("mup_output_alpha")? * params.config.number("mup_width_scale")?,
            None => params.config.number("width_scale")?,
        };
        Ok(vec![all(by)])
    },
});

const RULES: &[Rule] = &[
    rule(&["wte.weight"], &["token_embd.weight"], "vocab n").value(EMBEDDINGS),
    rule(&["ln_f.weight"], &["output_norm.weight"], "n").bias(Need::Must),
    rule(&["^lm_head.weight"], &["output.weight"], "vocab n").value(WIDTH),
    rule(&["h.{l}.ln_1.weight"], &["blk.{l}.attn_norm.weight"], "n").bias(Need::Must),
    rule(&["h.{l}.attn.c_attn.weight"], &["blk.{l}.attn_qkv.weight"], "n (three m) -> (three m) n")
        .bias(Need::Must),
    rule(&["h.{l}.attn.c_proj.weight"], &["blk.{l}.attn_output.weight"], "m n -> n m").bias(Need::Must),
    rule(&["h.{l}.ln_2.weight"], &["blk.{l}.ffn_norm.weight"], "n").bias(Need::Must),
    rule(&["h.{l}.mlp.c_fc.weight"], &["blk.{l}.ffn_up.weight"], "n ff -> ff n").bias(Need::Must),
    rule(&["h.{l}.mlp.c_fc2.weight"], &["blk.{l}.ffn_gate.weight"], "n ff -> ff n").bias(Need::Must),
    rule(&["h.{l}.mlp.c_proj.weight"], &["blk.{l}.ffn_down.weight"], "ff n -> n ff").bias(Need::Must),
];
