//! DeepSeek V2 and V3: latent attention, whose up-projection is split into that of keys, transposed, and that of values;
//! the first layers are dense, in the others each token goes to some experts and to all shared ones. The layers for
//! predicting more than one token are left out.
//! Specification: `DeepseekV2Model` of llama.cpp's converter.

use super::decoder::{DECODER, UNTIED_HEAD};
use super::experts::{self, DENSE, SPARSE};
use super::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, make, number, positive, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rope::Rope;
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{Result, Value};

pub const DEEPSEEK2: Arch = Arch {
    classes: &[
        "DeepseekV2ForCausalLM",
        "DeepseekV3ForCausalLM",
        "KimiVLForConditionalGeneration",
        "KimiK25ForConditionalGeneration",
        "YoutuForCausalLM",
        "YoutuVLForConditionalGeneration",
    ],
    // The corrections of the scores came with V3; the class of V2 has no place for them.
    told_by: &[("exp_probs_b", "DeepseekV3ForCausalLM")],
    gguf: "deepseek2",
    base: Some(&DECODER),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    shares: &[
        UNTIED_HEAD,
        &experts::dense(DENSE),
        &experts::routed(SPARSE),
        &experts::shared(SPARSE, Need::IfSet("n_shared_experts")),
        &experts::correction(SPARSE),
    ],
    without: &["blk.{l}.attn_k.weight", "blk.{l}.attn_v.weight"],
    ignored: &["*.layers.{l..}.*", "*vision_tower.*", "*projector.*"],
    ..NONE
};

const KEYS: &[Key] = &[
    is("attention.head_count_kv", Fixed::Count(1)),
    positive("attention.layer_norm_rms_epsilon", &["rms_norm_eps"]).or(Fixed::Number(1e-6)),
    size("leading_dense_block_count", "dense"),
    size("vocab_size", "vocab"),
    count("attention.q_lora_rank", &["q_lora_rank"]),
    size("attention.kv_lora_rank", "r"),
    size("attention.key_length", "latent"),
    size("attention.value_length", "r"),
    size("attention.key_length_mla", "k_whole"),
    size("attention.value_length_mla", "v"),
    size("expert_feed_forward_length", "eff"),
    count("expert_count", &["n_routed_experts"]),
    count("expert_shared_count", &["n_shared_experts"]).or(Fixed::Count(0)),
    number("expert_weights_scale", &["routed_scaling_factor"]),
    make("expert_weights_norm", |params| {
        let norm = params.config.optional_flag("norm_topk_prob")?;
        Ok(norm.filter(|norm| *norm).map(Value::Bool))
    }),
    size("rope.dimension_count", "rope"),
    make("rope.scaling.yarn_log_multiplier", log_multiplier),
];

const AXES: &[Axis] = &[
    axis("k", Size::Of(&["qk_nope_head_dim"])),
    axis("v", Size::Of(&["v_head_dim"])),
    axis("r", Size::Or(&["kv_lora_rank"], &Size::Is(512))),
    axis("qr", Size::Of(&["q_lora_rank"])),
    axis("rope", Size::Of(&["qk_rope_head_dim"])),
    axis("k_whole", Size::Add("k", "rope")),
    axis("latent", Size::Add("r", "rope")),
    axis("e", Size::Of(&["n_routed_experts"])),
];

fn log_multiplier(params: &Params<'_>) -> Result<Option<Value>> {
    let scale = Rope::read(params.config)?.number("mscale_all_dim")?;
    Ok(scale.map(|scale| Value::F32((0.1 * scale) as f32)))
}

/// Some configs leave out that queries are not of low rank.
const LOW_RANK: Need = Need::Without("layers.{l}.self_attn.q_proj.weight");

const RULES: &[Rule] = &[
    rule(&["layers.{l}.self_attn.q_proj.weight"], &["blk.{l}.attn_q.weight"], "(h k_whole) n")
        .need(Need::UnlessSet("q_lora_rank")),
    rule(&["layers.{l}.self_attn.q_a_proj.weight"], &["blk.{l}.attn_q_a.weight"], "qr n")
        .need(LOW_RANK)
        .bias(Need::May),
    rule(&["layers.{l}.self_attn.q_a_layernorm.weight"], &["blk.{l}.attn_q_a_norm.weight"], "qr")
        .need(LOW_RANK),
    rule(&["layers.{l}.self_attn.q_b_proj.weight"], &["blk.{l}.attn_q_b.weight"], "(h k_whole) qr")
        .need(LOW_RANK),
    rule(&["layers.{l}.self_attn.kv_a_proj_with_mqa.weight"], &["blk.{l}.attn_kv_a_mqa.weight"], "latent n")
        .bias(Need::May),
    rule(&["layers.{l}.self_attn.kv_a_layernorm.weight"], &["blk.{l}.attn_kv_a_norm.weight"], "r"),
    rule(
        &["layers.{l}.self_attn.kv_b_proj.weight"],
        &["blk.{l}.attn_k_b.weight", "blk.{l}.attn_v_b.weight"],
        "(h [k|v]) r -> h r k ; h v r",
    ),
    rule(&["layers.{l}.self_attn.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h v)").bias(Need::May),
];
