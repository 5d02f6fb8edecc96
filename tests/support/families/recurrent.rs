//! Models that remember in a state: Mamba, delta nets, short convolutions, and those that mix them with attention.

use super::{Tiny, bytes, json, sized};

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
    ]
}
