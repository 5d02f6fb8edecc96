//! RWKV 7 (Goose), as flash-linear-attention publishes it and in the words of its authors; and Qwen 2 with its time mixing
//! instead of attention (ARWKV 7). The matrices of low rank are transposed in the authors' words. The first layer has no
//! values before it to mix with; what the runtime wants there nevertheless is what learns in context, once more.
//! Specification: `Rwkv7Model`, `ARwkv7Model` of llama.cpp's converter; `models/rwkv7.cpp` of llama.cpp.

use super::rwkv6::{CONTEXT, NO_HEADS};
use super::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, is, positive, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Need, Rule, rule};
use ggraft_formats::Result;

pub const RWKV7: Arch = Arch {
    classes: &["RWKV7ForCausalLM", "Rwkv7ForCausalLM"],
    gguf: "rwkv7",
    base: Some(&MIXING),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    shares: &[&X_K],
    ..NONE
};

pub const ARWKV7: Arch = Arch {
    classes: &["RwkvHybridForCausalLM"],
    gguf: "arwkv7",
    base: Some(&MIXING),
    keys: HYBRID_KEYS,
    axes: HYBRID_AXES,
    rules: HYBRID_RULES,
    ..NONE
};

/// What both have in common.
const MIXING: Arch = Arch {
    prefixes: &["model."],
    axes: COMMON_AXES,
    rules: COMMON,
    shares: &[&W0, &W1, &W2, &A0, &A1, &A2, &V0, &V1, &V2, &G1, &G2, &K_K, &K_A],
    renamed: &[
        ("model.blocks.{l}.", "model.layers.{l}."),
        ("model.layers.{l}.self_attn.time_mixer.", "model.layers.{l}.attn."),
        ("model.layers.{l}.self_attn.", "model.layers.{l}.attn."),
        ("model.layers.{l}.attention.", "model.layers.{l}.attn."),
        ("model.layers.{l}.feed_forward.", "model.layers.{l}.ffn."),
        ("model.layers.0.attn.v_lora.", "first.v_lora."),
        ("model.layers.0.attn.v0", "first.v0"),
        ("model.layers.0.attn.v1", "first.v1"),
        ("model.layers.0.attn.v2", "first.v2"),
    ],
    ignored: &[
        "model.layers.0.*.v_lora.*",
        "model.layers.0.*.v{n}",
        "model.blocks.0.*.v_lora.*",
        "model.blocks.0.*.v{n}",
    ],
    copies: &[
        ("blk.0.time_mix_a0.weight", "blk.0.time_mix_v0.weight"),
        ("blk.0.time_mix_a1.weight", "blk.0.time_mix_v1.weight"),
        ("blk.0.time_mix_a2.weight", "blk.0.time_mix_v2.weight"),
    ],
    ..NONE
};

const KEYS: &[Key] = &[
    CONTEXT,
    size("embedding_length", "n"),
    size("block_count", "l"),
    positive("attention.layer_norm_epsilon", &["layer_norm_epsilon", "norm_eps"]).must(),
    size("wkv.head_size", "d"),
    size("attention.decay_lora_rank", "wr"),
    size("attention.iclr_lora_rank", "ar"),
    size("attention.value_residual_mix_lora_rank", "vr"),
    size("attention.gate_lora_rank", "gr"),
    size("feed_forward_length", "ff"),
    NO_HEADS,
];

const HYBRID_KEYS: &[Key] = &[
    CONTEXT,
    size("embedding_length", "n"),
    size("block_count", "l"),
    positive("attention.layer_norm_rms_epsilon", &["rms_norm_eps"]).must(),
    size("wkv.head_size", "d"),
    size("attention.decay_lora_rank", "wr"),
    size("attention.iclr_lora_rank", "ar"),
    size("attention.value_residual_mix_lora_rank", "vr"),
    size("attention.gate_lora_rank", "gate"),
    size("feed_forward_length", "ff"),
    is("token_shift_count", Fixed::Count(1)),
    NO_HEADS,
];

const COMMON_AXES: &[Axis] = &[
    axis("l", Size::Of(&["num_hidden_layers"])),
    axis("n", Size::Of(&["hidden_size"])),
    axis("vocab", Size::Of(&["vocab_size"])),
    axis("d", Size::Of(&["head_size", "head_dim"])),
    axis("h", Size::Div("n", "d")).or("n", "a multiple of the size of a head"),
    axis("six", Size::Is(6)),
];

const AXES: &[Axis] = &[
    axis("four", Size::Is(4)),
    axis("ff", Size::Or(&["intermediate_size"], &Size::Mul("four", "n"))),
    axis(
        "wr",
        Size::Or(&["lora_rank_decay", "decay_low_rank_dim"], &Size::Make(|p, l| rank(p, l, 0.5, 1.8))),
    ),
    axis("ar", Size::Or(&["lora_rank_iclr", "a_low_rank_dim"], &Size::Make(|p, l| rank(p, l, 0.5, 1.8)))),
    axis(
        "vr",
        Size::Or(
            &["lora_rank_value_residual_mix", "v_low_rank_dim"],
            &Size::Make(|p, l| rank(p, l, 0.5, 1.3)),
        ),
    ),
    axis("gr", Size::Or(&["lora_rank_gate", "gate_low_rank_dim"], &Size::Make(|p, l| rank(p, l, 0.8, 0.6)))),
];

const HYBRID_AXES: &[Axis] = &[
    axis("ff", Size::Of(&["intermediate_size"])),
    axis("wr", Size::Is(64)),
    axis("ar", Size::Is(64)),
    axis("vr", Size::Is(32)),
    axis("gr", Size::Is(128)),
    axis("gate", Size::Make(|params, layer| Ok(if is_gated(params, layer)? { 128 } else { 0 }))),
];

/// The rank of a model of this width where its config tells none.
fn rank(params: &Params<'_>, layer: u32, exponent: f64, by: f64) -> Result<u64> {
    let width = params.size("n", layer)? as f64;
    let steps = (width.powf(exponent) * by / 32.0).round_ties_even().max(1.0);
    Ok(steps as u64 * 32)
}

/// Whether time mixing has a gate; all but some hybrids do.
fn is_gated(params: &Params<'_>, _: u32) -> Result<bool> {
    Ok(params.config.optional_flag("wkv_has_gate")?.unwrap_or(true))
}

const GATED: Layers = Layers::When(is_gated);
const UNGATED: Layers = Layers::When(|params, layer| is_gated(params, layer).map(|gated| !gated));
const LATER: Layers = Layers::When(|_, layer| Ok(layer > 0));

/// A matrix of low rank: as flash-linear-attention has it, and as its authors.
const fn low(
    from: [&'static [&'static str]; 2],
    to: &'static [&'static str],
    axes: [&'static str; 2],
    layers: Layers,
) -> [Rule; 2] {
    [rule(from[0], to, axes[0]).layers(layers), rule(from[1], to, axes[1]).layers(layers)]
}

/// A vector, also within dimensions of one.
const fn vector(from: &'static [&'static str], to: &'static [&'static str], layers: Layers) -> [Rule; 2] {
    [rule(from, to, "n").layers(layers), rule(from, to, "1 1 n -> n").layers(layers)]
}

const W0: [Rule; 2] = vector(
    &["layers.{l}.attn.w_lora.lora.2.bias", "layers.{l}.attn.w0"],
    &["blk.{l}.time_mix_w0.weight"],
    Layers::All,
);
const A0: [Rule; 2] = vector(
    &["layers.{l}.attn.a_lora.lora.2.bias", "layers.{l}.attn.a0"],
    &["blk.{l}.time_mix_a0.weight"],
    Layers::All,
);
const V0: [Rule; 2] = vector(
    &["layers.{l}.attn.v_lora.lora.2.bias", "layers.{l}.attn.v0"],
    &["blk.{l}.time_mix_v0.weight"],
    LATER,
);
const W1: [Rule; 2] = low(
    [&["layers.{l}.attn.w_lora.lora.0.weight"], &["layers.{l}.attn.w1"]],
    &["blk.{l}.time_mix_w1.weight"],
    ["wr n", "n wr -> wr n"],
    Layers::All,
);
const W2: [Rule; 2] = low(
    [&["layers.{l}.attn.w_lora.lora.2.weight"], &["layers.{l}.attn.w2"]],
    &["blk.{l}.time_mix_w2.weight"],
    ["n wr", "wr n -> n wr"],
    Layers::All,
);
const A1: [Rule; 2] = low(
    [&["layers.{l}.attn.a_lora.lora.0.weight"], &["layers.{l}.attn.a1"]],
    &["blk.{l}.time_mix_a1.weight"],
    ["ar n", "n ar -> ar n"],
    Layers::All,
);
const A2: [Rule; 2] = low(
    [&["layers.{l}.attn.a_lora.lora.2.weight"], &["layers.{l}.attn.a2"]],
    &["blk.{l}.time_mix_a2.weight"],
    ["n ar", "ar n -> n ar"],
    Layers::All,
);
const V1: [Rule; 2] = low(
    [&["layers.{l}.attn.v_lora.lora.0.weight"], &["layers.{l}.attn.v1"]],
    &["blk.{l}.time_mix_v1.weight"],
    ["vr n", "n vr -> vr n"],
    LATER,
);
const V2: [Rule; 2] = low(
    [&["layers.{l}.attn.v_lora.lora.2.weight"], &["layers.{l}.attn.v2"]],
    &["blk.{l}.time_mix_v2.weight"],
    ["n vr", "vr n -> n vr"],
    LATER,
);
const G1: [Rule; 2] = low(
    [&["layers.{l}.attn.g_lora.lora.0.weight"], &["layers.{l}.attn.g1"]],
    &["blk.{l}.time_mix_g1.weight"],
    ["gr n", "n gr -> gr n"],
    GATED,
);
const G2: [Rule; 2] = low(
    [&["layers.{l}.attn.g_lora.lora.2.weight"], &["layers.{l}.attn.g2"]],
    &["blk.{l}.time_mix_g2.weight"],
    ["n gr", "gr n -> n gr"],
    GATED,
);
const K_K: [Rule; 2] = vector(&["layers.{l}.attn.k_k"], &["blk.{l}.time_mix_k_k.weight"], Layers::All);
const K_A: [Rule; 2] = vector(&["layers.{l}.attn.k_a"], &["blk.{l}.time_mix_k_a.weight"], Layers::All);
const X_K: [Rule; 2] = vector(&["layers.{l}.ffn.x_k"], &["blk.{l}.channel_mix_lerp_k.weight"], Layers::All);

const LERP: &[&str] = &["blk.{l}.time_mix_lerp_fused.weight"];

const COMMON: &[Rule] = &[
    rule(
        &["layers.{l}.attn.x_{r|w|k|v|a|g}"],
        LERP,
        "1 1 n ; 1 1 n ; 1 1 n ; 1 1 n ; 1 1 n ; 1 1 n -> [1|1|1|1|1|1] 1 1 n",
    )
    .layers(GATED),
    rule(
        &["layers.{l}.attn.x_{r|w|k|v|a}"],
        LERP,
        "1 1 n ; 1 1 n ; 1 1 n ; 1 1 n ; 1 1 n -> [1|1|1|1|1] 1 1 n",
    )
    .layers(UNGATED),
    rule(&["layers.{l}.attn.x_x"], LERP, "six n -> six 1 1 n").layers(GATED),
    rule(&["layers.{l}.attn.r_k"], &["blk.{l}.time_mix_r_k.weight"], "h d -> (h d)"),
    rule(
        &["layers.{l}.attn.r_proj.weight", "layers.{l}.attn.receptance.weight"],
        &["blk.{l}.time_mix_receptance.weight"],
        "(h d) n",
    ),
    rule(
        &["layers.{l}.attn.k_proj.weight", "layers.{l}.attn.key.weight"],
        &["blk.{l}.time_mix_key.weight"],
        "(h d) n",
    ),
    rule(
        &["layers.{l}.attn.v_proj.weight", "layers.{l}.attn.value.weight"],
        &["blk.{l}.time_mix_value.weight"],
        "(h d) n",
    ),
    rule(
        &["layers.{l}.attn.o_proj.weight", "layers.{l}.attn.output.weight"],
        &["blk.{l}.time_mix_output.weight"],
        "n (h d)",
    ),
];

const RULES: &[Rule] = &[
    rule(&["embeddings.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["layers.0.pre_norm.weight", "pre_ln.weight"], &["token_embd_norm.weight"], "n").bias(Need::Must),
    rule(&["norm.weight", "ln_out.weight"], &["output_norm.weight"], "n").bias(Need::Must),
    rule(&["^lm_head.weight", "^head.weight"], &["output.weight"], "vocab n"),
    rule(&["layers.{l}.attn_norm.weight", "layers.{l}.ln1.weight"], &["blk.{l}.attn_norm.weight"], "n")
        .bias(Need::Must),
    rule(&["layers.{l}.ffn_norm.weight", "layers.{l}.ln2.weight"], &["blk.{l}.attn_norm_2.weight"], "n")
        .bias(Need::Must),
    rule(
        &["layers.{l}.attn.g_norm.weight", "layers.{l}.attn.ln_x.weight"],
        &["blk.{l}.time_mix_ln.weight"],
        "n",
    )
    .bias(Need::Must),
    rule(&["layers.{l}.ffn.key.weight"], &["blk.{l}.channel_mix_key.weight"], "ff n"),
    rule(&["layers.{l}.ffn.value.weight"], &["blk.{l}.channel_mix_value.weight"], "n ff"),
];

const HYBRID_RULES: &[Rule] = &[
    rule(&["embed_tokens.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["norm.weight"], &["output_norm.weight"], "n"),
    rule(&["^lm_head.weight"], &["output.weight"], "vocab n").need(Need::Unless("tie_word_embeddings")),
    rule(&["layers.{l}.input_layernorm.weight"], &["blk.{l}.attn_norm.weight"], "n"),
    rule(
        &["layers.{l}.attn.g_norm.weight", "layers.{l}.attn.ln_x.weight"],
        &["blk.{l}.time_mix_ln.weight"],
        "n",
    )
    .may()
    .bias(Need::May),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n"),
    rule(&["layers.{l}.mlp.gate_proj.weight"], &["blk.{l}.ffn_gate.weight"], "ff n"),
    rule(&["layers.{l}.mlp.up_proj.weight"], &["blk.{l}.ffn_up.weight"], "ff n"),
    rule(&["layers.{l}.mlp.down_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff"),
];
