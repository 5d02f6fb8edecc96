//! Models that remember in a state: Mamba, delta nets, short convolutions, and those that mix them with attention.

use super::{Tiny, Value, Words, json, laid_over};

pub fn all() -> Vec<Tiny> {
    vec![
        bytes(
            "LFM2-Tiny",
            "qwen2",
            sized(json!({"architectures": ["Lfm2ForCausalLM"], "model_type": "lfm2", "norm_eps": 1e-5,
            "conv_L_cache": 3, "conv_bias": false, "block_ff_dim": 48, "block_auto_adjust_ff_dim": false,
            "layer_types": ["conv", "full_attention"], "tie_word_embeddings": true})),
        ),
        bytes(
            "LFM2-MoE-Tiny",
            "qwen2",
            json!({"architectures": ["Lfm2MoeForCausalLM"], "model_type": "lfm2_moe", "conv_L_cache": 3,
            "conv_bias": false, "dtype": "bfloat16", "hidden_size": 64, "intermediate_size": 128, "layer_types":
            ["conv", "conv", "full_attention", "conv"], "max_position_embeddings": 2048,
            "moe_intermediate_size": 32, "norm_eps": 1e-05, "norm_topk_prob": true, "num_attention_heads": 4,
            "num_dense_layers": 2, "num_experts": 4, "num_experts_per_tok": 2, "num_hidden_layers": 4,
            "num_key_value_heads": 2, "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"},
            "routed_scaling_factor": 1.0, "tie_word_embeddings": true, "use_expert_bias": true}),
        ),
        bytes(
            "mamba2-tiny",
            "gpt-2",
            sized(json!({"architectures": ["Mamba2ForCausalLM"], "model_type": "mamba2", "state_size": 16,
            "conv_kernel": 4, "n_groups": 1, "expand": 2, "num_heads": 8, "layer_norm_epsilon": 1e-5})),
        ),
        bytes(
            "jamba-tiny",
            "gpt-2",
            sized(json!({"architectures": ["JambaForCausalLM"], "model_type": "jamba", "mamba_d_state": 16,
            "mamba_d_conv": 4, "mamba_expand": 2, "mamba_dt_rank": 4, "attn_layer_period": 2, "attn_layer_offset": 1,
            "expert_layer_period": 2, "expert_layer_offset": 1, "num_experts": 4, "num_experts_per_tok": 2})),
        ),
        bytes(
            "Bamba-Tiny",
            "gpt-2",
            json!({"architectures": ["BambaForCausalLM"], "model_type": "bamba", "attention_bias": false,
            "attn_layer_indices": [1], "hidden_act": "silu", "hidden_size": 64, "intermediate_size": 96,
            "mamba_chunk_size": 256, "mamba_conv_bias": true, "mamba_d_conv": 4, "mamba_d_head": 16,
            "mamba_d_state": 16, "mamba_expand": 2, "mamba_n_groups": 1, "mamba_n_heads": 8, "mamba_proj_bias":
            false, "max_position_embeddings": 2048, "mlp_bias": false, "num_attention_heads": 4,
            "num_hidden_layers": 3, "num_key_value_heads": 2, "rms_norm_eps": 1e-05, "tie_word_embeddings":
            false, "z_loss_coefficient": 0.0, "rope_theta": 10000.0, "partial_rotary_factor": 0.5,
            "torch_dtype": "bfloat16", "attn_rotary_emb": 8}),
        ),
        bytes(
            "falcon-mamba-tiny",
            "gpt-2",
            json!({"architectures": ["FalconMambaForCausalLM"], "model_type": "falcon_mamba", "conv_kernel": 4,
            "expand": 2, "hidden_act": "silu", "hidden_size": 64, "intermediate_size": 128,
            "layer_norm_epsilon": 1e-05, "mixer_rms_eps": 1e-06, "num_hidden_layers": 2, "state_size": 16,
            "tie_word_embeddings": false, "time_step_rank": 4, "use_bias": false, "use_conv_bias": true,
            "torch_dtype": "bfloat16"}),
        ),
        bytes(
            "mamba-tiny-hf",
            "gpt-2",
            json!({"architectures": ["MambaForCausalLM"], "model_type": "mamba", "conv_kernel": 4, "dtype":
            "float32", "expand": 2, "hidden_act": "silu", "hidden_size": 64, "intermediate_size": 128,
            "layer_norm_epsilon": 1e-05, "num_hidden_layers": 2, "state_size": 16, "tie_word_embeddings": true,
            "time_step_rank": 4, "use_bias": false, "use_conv_bias": true}),
        ),
        bytes(
            "granite-4-h-tiny",
            "gpt-2",
            json!({"architectures": ["GraniteMoeHybridForCausalLM"], "model_type": "granitemoehybrid",
            "attention_bias": false, "attention_multiplier": 0.0625, "dtype": "bfloat16",
            "embedding_multiplier": 12.0, "hidden_act": "silu", "hidden_size": 64, "intermediate_size": 96,
            "layer_types": ["linear_attention", "full_attention", "linear_attention"], "logits_scaling": 8.0,
            "mamba_chunk_size": 256, "mamba_conv_bias": true, "mamba_d_conv": 4, "mamba_d_head": 16,
            "mamba_d_state": 16, "mamba_expand": 2, "mamba_n_groups": 1, "mamba_n_heads": 8, "mamba_proj_bias":
            false, "max_position_embeddings": 2048, "num_attention_heads": 4, "num_experts_per_tok": 2,
            "num_hidden_layers": 3, "num_key_value_heads": 2, "num_local_experts": 4, "position_embedding_type":
            "nope", "residual_multiplier": 0.22, "rms_norm_eps": 1e-06, "rope_parameters": {"rope_theta":
            10000.0, "rope_type": "default"}, "shared_intermediate_size": 48, "tie_word_embeddings": false}),
        ),
        bytes(
            "Nemotron-H-Tiny",
            "gpt-2",
            json!({"architectures": ["NemotronHForCausalLM"], "model_type": "nemotron_h", "attention_bias":
            false, "conv_kernel": 4, "dtype": "bfloat16", "expand": 2, "head_dim": 16, "hidden_size": 64,
            "intermediate_size": 96, "layer_norm_epsilon": 1e-05, "mamba_head_dim": 16, "mamba_hidden_act":
            "silu", "mamba_num_heads": 8, "mamba_proj_bias": false, "max_position_embeddings": 2048, "mlp_bias":
            false, "mlp_hidden_act": "relu2", "moe_intermediate_size": 7688,
            "moe_shared_expert_intermediate_size": 7688, "moe_shared_expert_overlap": true,
            "mtp_layers_block_type": ["full_attention", "moe"], "n_group": 1, "n_groups": 2, "n_routed_experts":
            8, "n_shared_experts": 1, "norm_topk_prob": true, "num_attention_heads": 4, "num_experts_per_tok":
            2, "num_key_value_heads": 2, "num_nextn_predict_layers": 0, "routed_scaling_factor": 1.0,
            "ssm_state_size": 16, "tie_word_embeddings": false, "topk_group": 1, "use_bias": false,
            "use_conv_bias": true, "hybrid_override_pattern": "M-*-", "num_hidden_layers": 4}),
        ),
        bytes(
            "Nemotron-3-Nano-Tiny",
            "gpt-2",
            json!({"architectures": ["NemotronHForCausalLM"], "model_type": "nemotron_h", "attention_bias":
            false, "conv_kernel": 4, "expand": 2, "head_dim": 16, "hidden_size": 64, "intermediate_size": 96,
            "layer_norm_epsilon": 1e-05, "mamba_head_dim": 16, "mamba_hidden_act": "silu", "mamba_num_heads": 8,
            "mamba_proj_bias": false, "max_position_embeddings": 2048, "mlp_bias": false, "mlp_hidden_act":
            "relu2", "moe_intermediate_size": 32, "moe_shared_expert_intermediate_size": 48,
            "moe_shared_expert_overlap": true, "mtp_layers_block_type": ["full_attention", "moe"], "n_group": 1,
            "n_groups": 2, "n_routed_experts": 4, "n_shared_experts": 1, "norm_topk_prob": true,
            "num_attention_heads": 4, "num_experts_per_tok": 2, "num_key_value_heads": 2,
            "num_nextn_predict_layers": 0, "routed_scaling_factor": 1.0, "ssm_state_size": 16,
            "tie_word_embeddings": false, "topk_group": 1, "use_bias": false, "use_conv_bias": true,
            "torch_dtype": "float16", "hybrid_override_pattern": "ME*E", "num_hidden_layers": 4}),
        ),
        bytes(
            "Qwen3.5-MoE-Tiny",
            "qwen2",
            json!({"architectures": ["Qwen3_5MoeForCausalLM"], "model_type": "qwen3_5_moe_text",
            "attention_bias": false, "dtype": "bfloat16", "head_dim": 32, "hidden_act": "silu", "hidden_size":
            64, "layer_types": ["linear_attention", "linear_attention", "linear_attention", "full_attention"],
            "linear_conv_kernel_dim": 4, "linear_key_head_dim": 16, "linear_num_key_heads": 2,
            "linear_num_value_heads": 4, "linear_value_head_dim": 16, "max_position_embeddings": 2048,
            "moe_intermediate_size": 32, "num_attention_heads": 4, "num_experts": 4, "num_experts_per_tok": 2,
            "num_hidden_layers": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_parameters":
            {"partial_rotary_factor": 0.25, "rope_theta": 10000.0, "rope_type": "default"},
            "shared_expert_intermediate_size": 48, "tie_word_embeddings": false}),
        ),
    ]
}

/// `config` with the sizes that those written by hand have.
fn sized(config: Value) -> Value {
    laid_over(
        json!({"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": false}),
        &config,
    )
}

/// On a whole vocabulary of byte-level BPE.
fn bytes(name: &'static str, words: &'static str, config: Value) -> Tiny {
    Tiny { words: Words::Whole(words), ..Tiny::new(name, config) }
}
