//! Later families: DeepSeek 1, Ling, SmallThinker, DBRX, LLaDA, Grok, Falcon H1 and others, one checkpoint each.

use super::{Dtype, Tiny, Value, Words, json};

/// `config` with the sizes that most of these have.
fn sized(class: &str, config: Value) -> Value {
    let mut all = json!({"architectures": [class], "model_type": "other", "hidden_size": 32, "intermediate_size": 48,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": false, "torch_dtype": "bfloat16"});
    for (key, value) in config.as_object().unwrap() {
        all[key] = value.clone();
    }
    all
}

fn pieces(name: &'static str, class: &str, config: Value) -> Tiny {
    Tiny::new(name, sized(class, config))
}

/// With GPT-2's vocabulary, for families that know only byte-level BPE.
fn bytes(name: &'static str, class: &str, config: Value) -> Tiny {
    Tiny { words: Words::Whole("gpt-2"), ..pieces(name, class, config) }
}

fn f16(tiny: Tiny) -> Tiny {
    Tiny { dtype: Dtype::F16, ..tiny }
}

pub fn all() -> Vec<Tiny> {
    [experts(), latent(), plain(), odd()].concat()
}

fn experts() -> Vec<Tiny> {
    let ling = json!({"head_dim": 8, "moe_intermediate_size": 24, "num_experts": 4, "num_shared_experts": 2,
        "num_experts_per_tok": 2, "first_k_dense_replace": 0, "norm_topk_prob": true});
    let mut ling2 = ling.clone();
    for (key, value) in [
        ("first_k_dense_replace", json!(1)),
        ("use_qk_norm", json!(true)),
        ("routed_scaling_factor", json!(2.5)),
        ("score_function", json!("sigmoid")),
        ("num_nextn_predict_layers", json!(0)),
    ] {
        ling2[key] = value;
    }
    vec![
        bytes(
            "deepseek-moe-tiny",
            "DeepseekForCausalLM",
            json!({"moe_intermediate_size": 24, "n_routed_experts": 4, "n_shared_experts": 2,
                "num_experts_per_tok": 2, "first_k_dense_replace": 1}),
        ),
        bytes("Ling-lite-tiny", "BailingMoeForCausalLM", ling),
        f16(bytes("Ling-mini-tiny", "BailingMoeV2ForCausalLM", ling2)),
        pieces(
            "SmallThinker-tiny",
            "SmallThinkerForCausalLM",
            json!({"head_dim": 8, "intermediate_size": null, "moe_ffn_hidden_size": 24, "moe_num_primary_experts": 4,
                "moe_num_active_primary_experts": 2, "sliding_window_layout": [0, 1], "sliding_window_size": 64}),
        ),
        bytes(
            "dbrx-tiny",
            "DbrxForCausalLM",
            json!({"model_type": "dbrx", "d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 512,
                "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 500000.0},
                "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2}}),
        ),
        pieces(
            "grok-1-tiny",
            "GrokForCausalLM",
            json!({"num_local_experts": 4, "num_experts_per_tok": 2, "embedding_multiplier_scale": 78.38367,
                "output_multiplier_scale": 0.57735}),
        ),
        bytes(
            "GroveMoE-tiny",
            "GroveMoeForCausalLM",
            json!({"head_dim": 8, "moe_intermediate_size": 24, "num_experts": 4, "num_experts_per_tok": 2}),
        ),
        bytes(
            "LLaDA-MoE-tiny",
            "LLaDAMoEModelLM",
            json!({"dense_intermediate_size": 48, "expert_intermediate_size": 24, "num_experts": 4,
                "num_experts_per_tok": 2}),
        ),
    ]
}

fn latent() -> Vec<Tiny> {
    vec![
        bytes(
            "PLM-tiny",
            "PLMForCausalLM",
            json!({"kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 8,
                "num_key_value_heads": 4, "tie_word_embeddings": true}),
        ),
        bytes(
            "Kimi-Linear-Tiny",
            "KimiLinearForCausalLM",
            json!({"kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 8, "head_dim": 12,
                "moe_intermediate_size": 24, "num_experts": 4, "num_shared_experts": 1, "num_experts_per_token": 2,
                "first_k_dense_replace": 1, "routed_scaling_factor": 2.446,
                "linear_attn_config": {"full_attn_layers": [2], "kda_layers": [1], "head_dim": 8, "num_heads": 4,
                    "short_conv_kernel_size": 4}}),
        ),
    ]
}

fn plain() -> Vec<Tiny> {
    vec![
        pieces("openPangu-tiny", "PanguEmbeddedForCausalLM", json!({"bias": true})),
        f16(pieces("Nanbeige-tiny", "NanbeigeForCausalLM", json!({"head_dim": 16, "num_loops": 2}))),
        bytes("Maincoder-tiny", "MaincoderForCausalLM", json!({"head_dim": 16, "tie_word_embeddings": true})),
        bytes("KORMo-tiny", "KORMoForCausalLM", json!({"head_dim": 8})),
    ]
}

fn odd() -> Vec<Tiny> {
    vec![
        bytes(
            "LLaDA-tiny",
            "LLaDAModelLM",
            json!({"d_model": 32, "n_heads": 4, "n_kv_heads": 2, "n_layers": 2, "mlp_hidden_size": 48,
                "max_sequence_length": 512, "weight_tying": false}),
        ),
        pieces(
            "OpenELM-tiny",
            "OpenELMForCausalLM",
            json!({"model_dim": 32, "head_dim": 8, "num_transformer_layers": 2, "num_query_heads": [4, 8],
                "num_kv_heads": [1, 2], "ffn_multipliers": [0.5, 2.3], "ffn_dim_divisor": 16,
                "max_context_length": 2048, "rope_freq_constant": 10000, "normalize_qk_projections": true}),
        ),
        bytes(
            "CodeShell-tiny",
            "CodeShellForCausalLM",
            json!({"n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 512, "num_query_groups": 2,
                "layer_norm_epsilon": 1e-5}),
        ),
        f16(bytes(
            "jais-tiny",
            "JAISLMHeadModel",
            json!({"n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 512, "n_inner": 48,
                "layer_norm_epsilon": 1e-5, "activation_function": "swiglu", "position_embedding_type": "alibi",
                "embeddings_scale": 14.6, "width_scale": 0.111}),
        )),
    ]
}
