//! RWKV 6 (Finch), and Qwen 2 with its time mixing instead of attention (QRWKV 6): layers that remember in a state.
//! What shifts tokens is fused: five vectors in the order of w, k, v, r, g.
//! Specification: `Rwkv6Model`, `RWKV6Qwen2Model` of llama.cpp's converter; `models/rwkv6.cpp` of llama.cpp.

use super::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, positive, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use crate::arch::scaled::{Times, all};
use crate::arch::values::Value;
use ggraft_formats::Result;

pub const RWKV6: Arch = Arch {
    classes: &["Rwkv6ForCausalLM"],
    gguf: "rwkv6",
    prefixes: &["rwkv."],
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    ..NONE
};

pub const RWKV6_QWEN2: Arch = Arch {
    classes: &["RWKV6Qwen2ForCausalLM"],
    gguf: "rwkv6qwen2",
    prefixes: &["model."],
    keys: QWEN2_KEYS,
    axes: QWEN2_AXES,
    rules: QWEN2_RULES,
    ..NONE
};

/// The context that stands for any.
pub(super) const CONTEXT: Key = is("context_length", Fixed::Count(1 << 20));
/// The runtime asks for it and does not use it.
pub(super) const NO_HEADS: Key = is("attention.head_count", Fixed::Count(0));

const KEYS: &[Key] = &[
    CONTEXT,
    size("embedding_length", "n"),
    size("block_count", "l"),
    positive("attention.layer_norm_epsilon", &["layer_norm_epsilon"]).must(),
    count("rescale_every_n_layers", &["rescale_every"]).must(),
    size("wkv.head_size", "d"),
    size("time_mix_extra_dim", "extra"),
    size("time_decay_extra_dim", "decay"),
    size("feed_forward_length", "ff"),
    NO_HEADS,
];

const QWEN2_KEYS: &[Key] = &[
    CONTEXT,
    size("embedding_length", "n"),
    size("block_count", "l"),
    size("wkv.head_size", "d"),
    size("time_mix_extra_dim", "extra"),
    size("time_decay_extra_dim", "decay"),
    size("feed_forward_length", "ff"),
    positive("attention.layer_norm_rms_epsilon", &["rms_norm_eps"]).must(),
    is("token_shift_count", Fixed::Count(1)),
    size("attention.head_count_kv", "g"),
    NO_HEADS,
];

const AXES: &[Axis] = &[
    axis("l", Size::Of(&["num_hidden_layers"])),
    axis("n", Size::Of(&["hidden_size"])),
    axis("m", Size::Same("n")),
    axis("vocab", Size::Of(&["vocab_size"])),
    axis("d", Size::Of(&["head_size"])),
    axis("h", Size::Div("n", "d")).or("n", "a multiple of the size of a head"),
    axis(
        "ff",
        Size::Or(&["intermediate_size"], &Size::Make(|params, l| Ok(params.size("n", l)? * 7 / 64 * 32))),
    ),
    axis("extra", Size::Make(|params, l| Ok(if params.size("n", l)? == 4096 { 64 } else { 32 }))),
    axis("decay", Size::Make(|params, l| Ok(if params.size("n", l)? == 4096 { 128 } else { 64 }))),
    axis("five", Size::Is(5)),
];

const QWEN2_AXES: &[Axis] = &[
    axis("l", Size::Of(&["num_hidden_layers"])),
    axis("n", Size::Of(&["hidden_size"])),
    axis("vocab", Size::Of(&["vocab_size"])),
    axis("h", Size::Of(&["num_attention_heads"])),
    axis("g", Size::Of(&["num_key_value_heads"])),
    axis("d", Size::Div("n", "h")).or("n", "a multiple of {h} heads"),
    axis("ff", Size::Of(&["intermediate_size"])),
    axis("extra", Size::Or(&["lora_rank_tokenshift"], &Size::Make(|params, l| wide(params, l, 64)))),
    axis("decay", Size::Or(&["lora_rank_decay"], &Size::Make(|params, l| wide(params, l, 128)))),
    axis("rx", Size::Same("extra")),
    axis("kx", Size::Same("extra")),
    axis("vx", Size::Same("extra")),
    axis("wx", Size::Same("extra")),
    axis("gx", Size::Same("extra")),
    axis("r1", Size::Is(1)),
    axis("k1", Size::Is(1)),
    axis("v1", Size::Is(1)),
    axis("w1", Size::Is(1)),
    axis("g1", Size::Is(1)),
];

/// A rank that half as much is of for narrower models.
fn wide(params: &Params<'_>, layer: u32, rank: u64) -> Result<u64> {
    Ok(if params.size("n", layer)? >= 4096 { rank } else { rank / 2 })
}

/// What keeps the residual within F16: after so many layers it is halved.
const RESCALED: Value = Value::Times(&Times {
    name: "w / 2^(layer / rescale_every)",
    factors: |params, layer| {
        let halvings = params.config.optional_number("rescale_every")?.filter(|every| *every >= 1.0);
        let halvings = halvings.map_or(0, |every| layer / every as u32);
        Ok(vec![all(0.5f64.powi(i32::try_from(halvings).unwrap_or(i32::MAX)))])
    },
});

const FUSED: &str = "1 1 n ; 1 1 n ; 1 1 n ; 1 1 n ; 1 1 n -> [1|1|1|1|1] 1 1 n";

const RULES: &[Rule] = &[
    rule(&["embeddings.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["blocks.0.pre_ln.weight"], &["token_embd_norm.weight"], "n").bias(Need::Must),
    rule(&["ln_out.weight"], &["output_norm.weight"], "n").bias(Need::Must),
    rule(&["^head.weight"], &["output.weight"], "vocab n"),
    rule(&["blocks.{l}.ln1.weight"], &["blk.{l}.attn_norm.weight"], "n").bias(Need::Must),
    rule(&["blocks.{l}.ln2.weight"], &["blk.{l}.attn_norm_2.weight"], "n").bias(Need::Must),
    rule(&["blocks.{l}.attention.time_maa_x"], &["blk.{l}.time_mix_lerp_x.weight"], "1 1 n -> n"),
    rule(&["blocks.{l}.attention.time_maa_{w|k|v|r|g}"], &["blk.{l}.time_mix_lerp_fused.weight"], FUSED),
    rule(
        &["blocks.{l}.attention.time_maa_w1"],
        &["blk.{l}.time_mix_w1.weight"],
        "n (five extra) -> (five extra) n",
    ),
    rule(
        &["blocks.{l}.attention.time_maa_w2"],
        &["blk.{l}.time_mix_w2.weight"],
        "five extra n -> five n extra",
    ),
    rule(&["blocks.{l}.attention.time_decay"], &["blk.{l}.time_mix_decay.weight"], "1 1 n -> n"),
    rule(
        &["blocks.{l}.attention.time_decay_w1"],
        &["blk.{l}.time_mix_decay_w1.weight"],
        "n decay -> decay n",
    ),
    rule(
        &["blocks.{l}.attention.time_decay_w2"],
        &["blk.{l}.time_mix_decay_w2.weight"],
        "decay n -> n decay",
    ),
    rule(&["blocks.{l}.attention.time_faaaa"], &["blk.{l}.time_mix_first.weight"], "h d"),
    rule(&["blocks.{l}.attention.receptance.weight"], &["blk.{l}.time_mix_receptance.weight"], "(h d) n"),
    rule(&["blocks.{l}.attention.key.weight"], &["blk.{l}.time_mix_key.weight"], "(h d) n"),
    rule(&["blocks.{l}.attention.value.weight"], &["blk.{l}.time_mix_value.weight"], "(h d) n"),
    rule(&["blocks.{l}.attention.gate.weight"], &["blk.{l}.time_mix_gate.weight"], "(h d) n"),
    rule(&["blocks.{l}.attention.output.weight"], &["blk.{l}.time_mix_output.weight"], "n (h d)")
        .value(RESCALED),
    rule(&["blocks.{l}.attention.ln_x.weight"], &["blk.{l}.time_mix_ln.weight"], "n").bias(Need::Must),
    rule(&["blocks.{l}.feed_forward.time_maa_k"], &["blk.{l}.channel_mix_lerp_k.weight"], "1 1 n -> n"),
    rule(&["blocks.{l}.feed_forward.time_maa_r"], &["blk.{l}.channel_mix_lerp_r.weight"], "1 1 n -> n"),
    rule(&["blocks.{l}.feed_forward.key.weight"], &["blk.{l}.channel_mix_key.weight"], "ff n"),
    rule(&["blocks.{l}.feed_forward.receptance.weight"], &["blk.{l}.channel_mix_receptance.weight"], "m n"),
    rule(&["blocks.{l}.feed_forward.value.weight"], &["blk.{l}.channel_mix_value.weight"], "n ff")
        .value(RESCALED),
];

/// Ranks follow each other as r, k, v, w, g in these checkpoints, and as RWKV 6 has them in a GGUF.
const QWEN2_RULES: &[Rule] = &[
    rule(&["embed_tokens.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["norm.weight"], &["output_norm.weight"], "n"),
    rule(&["^lm_head.weight"], &["output.weight"], "vocab n").need(Need::Unless("tie_word_embeddings")),
    rule(&["layers.{l}.input_layernorm.weight"], &["blk.{l}.attn_norm.weight"], "n"),
    rule(&["layers.{l}.self_attn.time_maa_x"], &["blk.{l}.time_mix_lerp_x.weight"], "1 1 n -> n"),
    rule(&["layers.{l}.self_attn.time_maa_{w|k|v|r|g}"], &["blk.{l}.time_mix_lerp_fused.weight"], FUSED),
    rule(
        &["layers.{l}.self_attn.time_maa_w1"],
        &["blk.{l}.time_mix_w1.weight"],
        "n [rx|kx|vx|wx|gx] -> [wx|kx|vx|rx|gx] n",
    ),
    rule(
        &["layers.{l}.self_attn.time_maa_w2"],
        &["blk.{l}.time_mix_w2.weight"],
        "[r1|k1|v1|w1|g1] extra n -> [w1|k1|v1|r1|g1] n extra",
    ),
    rule(&["layers.{l}.self_attn.time_decay"], &["blk.{l}.time_mix_decay.weight"], "1 1 n -> n"),
    rule(
        &["layers.{l}.self_attn.time_decay_w1"],
        &["blk.{l}.time_mix_decay_w1.weight"],
        "n decay -> decay n",
    ),
    rule(
        &["layers.{l}.self_attn.time_decay_w2"],
        &["blk.{l}.time_mix_decay_w2.weight"],
        "decay n -> n decay",
    ),
    rule(&["layers.{l}.self_attn.q_proj.weight"], &["blk.{l}.time_mix_receptance.weight"], "(h d) n")
        .bias(Need::May),
    rule(&["layers.{l}.self_attn.k_proj.weight"], &["blk.{l}.time_mix_key.weight"], "(g d) n")
        .bias(Need::May),
    rule(&["layers.{l}.self_attn.v_proj.weight"], &["blk.{l}.time_mix_value.weight"], "(g d) n")
        .bias(Need::May),
    rule(&["layers.{l}.self_attn.gate.weight"], &["blk.{l}.time_mix_gate.weight"], "(h d) n"),
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["blk.{l}.time_mix_output.weight"], "n (h d)"),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n"),
    rule(&["layers.{l}.mlp.gate_proj.weight"], &["blk.{l}.ffn_gate.weight"], "ff n"),
    rule(&["layers.{l}.mlp.up_proj.weight"], &["blk.{l}.ffn_up.weight"], "ff n"),
    rule(&["layers.{l}.mlp.down_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff"),
];
