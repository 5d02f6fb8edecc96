//! The text model of DeepSeek-OCR and Unlimited-OCR: DeepSeek's experts behind plain attention.
//! Specification: `DeepseekV2Model` of llama.cpp's converter, where it says `is_ocr`.

use super::decoder::{NAMES, UNTIED_HEAD};
use super::experts::{self, DENSE, SPARSE};
use super::{Arch, NONE};
use crate::arch::keys::{Absent, Fixed, From, Key, count, is, make, number, positive, size};
use crate::arch::params::{Size, axis};
use crate::arch::rope;
use crate::arch::rule::Need;
use ggraft_formats::Value;

pub const DEEPSEEK_OCR: Arch = Arch {
    classes: &["DeepseekOCRForCausalLM", "DeepseekOCR2ForCausalLM", "UnlimitedOCRForCausalLM"],
    gguf: "deepseek2-ocr",
    base: Some(&NAMES),
    early: &[is(
        "^tokenizer.chat_template",
        Fixed::Text("{% for m in messages %}{{m['content']}}{% endfor %}"),
    )],
    keys: KEYS,
    axes: &[axis("e", Size::Of(&["n_routed_experts"]))],
    shares: &[
        UNTIED_HEAD,
        &experts::dense(DENSE),
        &experts::routed(SPARSE),
        &experts::shared(SPARSE, Need::IfSet("n_shared_experts")),
    ],
    ignored: TOWERS,
    ..NONE
};

/// The towers of SAM and of Qwen, which no other model has; the rest goes with what sees.
const TOWERS: &[&str] = &["*sam_model*", "*qwen2_model*"];

const KEYS: &[Key] = &[
    size("block_count", "l"),
    count("context_length", &["max_position_embeddings"]),
    count("embedding_length", &["hidden_size"]),
    count("feed_forward_length", &["intermediate_size"]),
    count("attention.head_count", &["num_attention_heads"]),
    count("attention.head_count_kv", &["num_key_value_heads"]),
    Key { gguf: "rope", from: From::Rope(rope::PLAIN), absent: Absent::Omit },
    positive("attention.layer_norm_rms_epsilon", &["rms_norm_eps"]).or(Fixed::Number(1e-6)),
    count("expert_count", &["n_routed_experts"]),
    count("expert_used_count", &["num_experts_per_tok"]),
    count("expert_group_count", &["n_group"]),
    count("expert_group_used_count", &["topk_group"]),
    Key {
        gguf: "expert_gating_func",
        from: From::Word(&["scoring_func"], &[("softmax", 1), ("sigmoid", 2)]),
        absent: Absent::Omit,
    },
    count("attention.key_length", &["head_dim"]),
    count("attention.value_length", &["head_dim"]),
    size("leading_dense_block_count", "dense"),
    size("vocab_size", "vocab"),
    count("attention.q_lora_rank", &["q_lora_rank"]),
    size("expert_feed_forward_length", "eff"),
    count("expert_shared_count", &["n_shared_experts"]).or(Fixed::Count(0)),
    number("expert_weights_scale", &["routed_scaling_factor"]),
    make("expert_weights_norm", |params| {
        let norm = params.config.optional_flag("norm_topk_prob")?;
        Ok(norm.filter(|norm| *norm).map(Value::Bool))
    }),
    count("rope.dimension_count", &["qk_rope_head_dim"]).must(),
    make("attention.sliding_window", |params| {
        let told = ["sliding_window_size", "sliding_window"].map(|key| params.config.whole_at(key, 0));
        let told: Vec<Option<u32>> = told.into_iter().collect::<Result<_, _>>()?;
        Ok(told.into_iter().flatten().find(|n| *n > 0).map(Value::U32))
    }),
];
