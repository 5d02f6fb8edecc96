//! The families after them: experts with shared ones, gated delta nets, state-space layers, short convolutions.

use super::{Tiny, Value, Words, json};

pub fn all() -> Vec<Tiny> {
    [experts(), hybrids(), others()].concat()
}

/// `config` with the sizes that most of these have.
fn sized(config: Value) -> Value {
    let mut all = json!({"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": false});
    if let (Some(all), Some(own)) = (all.as_object_mut(), config.as_object()) {
        all.extend(own.clone());
    }
    all
}

fn bytes(name: &'static str, words: &'static str, config: Value) -> Tiny {
    Tiny { words: Words::Whole(words), ..Tiny::new(name, sized(config)) }
}

fn experts() -> Vec<Tiny> {
    vec![
        bytes(
            "dots1-Tiny",
            "qwen2",
            json!({"architectures": ["Dots1ForCausalLM"], "model_type": "dots1", "n_routed_experts": 4,
            "n_shared_experts": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "first_k_dense_replace": 1,
            "norm_topk_prob": true, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "n_group": 1,
            "topk_group": 1}),
        ),
        bytes(
            "MiniMax-M2-Tiny",
            "qwen2",
            json!({"architectures": ["MiniMaxM2ForCausalLM"], "model_type": "minimax_m2", "num_local_experts": 4,
            "num_experts_per_tok": 2, "rotary_dim": 4, "scoring_func": "sigmoid", "use_routing_bias": true,
            "qk_norm_type": "per_layer", "use_qk_norm": true}),
        ),
        bytes(
            "Llama-4-Tiny",
            "qwen2",
            json!({"architectures": ["Llama4ForCausalLM"], "model_type": "llama4_text", "num_local_experts": 4,
            "num_experts_per_tok": 1, "interleave_moe_layer_step": 2, "intermediate_size_mlp": 64,
            "attention_chunk_size": 128, "no_rope_layer_interval": 4}),
        ),
        bytes(
            "Phi-3.5-MoE-Tiny",
            "gpt-2",
            json!({"architectures": ["PhiMoEForCausalLM"], "model_type": "phimoe", "num_local_experts": 4,
            "num_experts_per_tok": 2, "original_max_position_embeddings": 512, "sliding_window": 2047,
            "attention_bias": true, "lm_head_bias": true}),
        ),
    ]
}

fn hybrids() -> Vec<Tiny> {
    let delta = json!({"num_hidden_layers": 4, "full_attention_interval": 4, "linear_conv_kernel_dim": 4,
        "linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
        "partial_rotary_factor": 0.25, "head_dim": 16});
    let with = |mut config: Value, own: Value| {
        if let (Some(all), Some(own)) = (config.as_object_mut(), own.as_object()) {
            all.extend(own.clone());
        }
        config
    };
    vec![
        bytes(
            "Qwen3-Next-Tiny",
            "qwen2",
            with(
                delta.clone(),
                json!({"architectures": ["Qwen3NextForCausalLM"], "model_type": "qwen3_next",
            "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
            "shared_expert_intermediate_size": 16, "decoder_sparse_step": 1, "norm_topk_prob": true}),
            ),
        ),
        bytes(
            "Qwen3.5-Tiny",
            "qwen2",
            with(delta, json!({"architectures": ["Qwen3_5ForCausalLM"], "model_type": "qwen3_5_text"})),
        ),
        bytes(
            "LFM2-Tiny",
            "qwen2",
            json!({"architectures": ["Lfm2ForCausalLM"], "model_type": "lfm2", "norm_eps": 1e-5,
            "conv_L_cache": 3, "conv_bias": false, "block_ff_dim": 48, "block_auto_adjust_ff_dim": false,
            "layer_types": ["conv", "full_attention"], "tie_word_embeddings": true}),
        ),
        bytes(
            "mamba2-tiny",
            "gpt-2",
            json!({"architectures": ["Mamba2ForCausalLM"], "model_type": "mamba2", "state_size": 16,
            "conv_kernel": 4, "n_groups": 1, "expand": 2, "num_heads": 8, "layer_norm_epsilon": 1e-5}),
        ),
        bytes(
            "jamba-tiny",
            "gpt-2",
            json!({"architectures": ["JambaForCausalLM"], "model_type": "jamba", "mamba_d_state": 16,
            "mamba_d_conv": 4, "mamba_expand": 2, "mamba_dt_rank": 4, "attn_layer_period": 2, "attn_layer_offset": 1,
            "expert_layer_period": 2, "expert_layer_offset": 1, "num_experts": 4, "num_experts_per_tok": 2}),
        ),
    ]
}

fn others() -> Vec<Tiny> {
    vec![
        bytes(
            "Apertus-Tiny",
            "gpt-2",
            json!({"architectures": ["ApertusForCausalLM"], "model_type": "apertus", "hidden_act": "xielu",
            "qk_norm": true}),
        ),
        bytes(
            "EXAONE-4.0-Tiny",
            "gpt-2",
            json!({"architectures": ["Exaone4ForCausalLM"], "model_type": "exaone4", "sliding_window": 64,
            "sliding_window_pattern": "LG", "layer_types": ["sliding_attention", "full_attention"]}),
        ),
        Tiny::new(
            "MiniCPM3-Tiny",
            sized(
                json!({"architectures": ["MiniCPM3ForCausalLM"], "model_type": "minicpm3", "q_lora_rank": 16,
            "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "num_key_value_heads": 4,
            "scale_emb": 12.0, "scale_depth": 1.4, "dim_model_base": 16, "rope_scaling": {"type": "longrope",
                "long_factor": [1.0, 1.5], "short_factor": [1.0, 1.25], "original_max_position_embeddings": 512}}),
            ),
        ),
        Tiny::new(
            "InternLM3-Tiny",
            sized(
                json!({"architectures": ["InternLM3ForCausalLM"], "model_type": "internlm3", "bias": false,
            "qkv_bias": false}),
            ),
        ),
    ]
}
