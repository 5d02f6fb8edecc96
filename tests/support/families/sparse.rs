//! Decoders of many experts, as published in 2025 and 2026.

use super::{Tiny, bytes, json, sized};

pub fn all() -> Vec<Tiny> {
    vec![
        bytes(
            "dots1-Tiny",
            "qwen2",
            sized(
                json!({"architectures": ["Dots1ForCausalLM"], "model_type": "dots1", "n_routed_experts": 4,
            "n_shared_experts": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "first_k_dense_replace": 1,
            "norm_topk_prob": true, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "n_group": 1,
            "topk_group": 1}),
            ),
        ),
        bytes(
            "MiniMax-M2-Tiny",
            "qwen2",
            sized(
                json!({"architectures": ["MiniMaxM2ForCausalLM"], "model_type": "minimax_m2", "num_local_experts": 4,
            "num_experts_per_tok": 2, "rotary_dim": 4, "scoring_func": "sigmoid", "use_routing_bias": true,
            "qk_norm_type": "per_layer", "use_qk_norm": true}),
            ),
        ),
        bytes(
            "Llama-4-Tiny",
            "qwen2",
            sized(
                json!({"architectures": ["Llama4ForCausalLM"], "model_type": "llama4_text", "num_local_experts": 4,
            "num_experts_per_tok": 1, "interleave_moe_layer_step": 2, "intermediate_size_mlp": 64,
            "attention_chunk_size": 128, "no_rope_layer_interval": 4}),
            ),
        ),
        bytes(
            "Trinity-Tiny",
            "qwen2",
            json!({"architectures": ["AfmoeForCausalLM"], "model_type": "afmoe", "attention_bias": false,
            "dtype": "bfloat16", "global_attn_every_n_layers": 4, "head_dim": 16, "hidden_act": "silu",
            "hidden_size": 64, "intermediate_size": 96, "layer_types": ["sliding_attention",
            "sliding_attention"], "max_position_embeddings": 2048, "moe_intermediate_size": 32, "mup_enabled":
            false, "num_attention_heads": 4, "num_dense_layers": 1, "num_experts": 4, "num_experts_per_tok": 2,
            "num_hidden_layers": 2, "num_key_value_heads": 2, "num_shared_experts": 1, "rms_norm_eps": 1e-05,
            "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}, "route_scale": 1.0,
            "sliding_window": 64, "tie_word_embeddings": false}),
        ),
        bytes(
            "North-Mini-Tiny",
            "gpt-2",
            json!({"architectures": ["Cohere2MoeForCausalLM"], "model_type": "cohere2_moe", "attention_bias":
            false, "dtype": "bfloat16", "expert_selection_fn": "softmax", "head_dim": 16, "hidden_act": "silu",
            "hidden_size": 64, "intermediate_size": 96, "layer_norm_eps": 1e-05, "layer_types":
            ["sliding_attention", "sliding_attention"], "logit_scale": 0.0625, "max_position_embeddings": 2048,
            "mlp_layer_types": ["sparse", "sparse"], "norm_topk_prob": true, "num_attention_heads": 4,
            "num_experts": 4, "num_experts_per_tok": 2, "num_hidden_layers": 2, "num_key_value_heads": 2,
            "num_shared_experts": 0, "prefix_dense_sliding_window_pattern": 1, "rope_parameters": {"rope_theta":
            10000.0, "rope_type": "default"}, "rope_theta": 10000.0, "shared_expert_combination_strategy":
            "average", "sliding_window": 64, "sliding_window_pattern": 4, "tie_word_embeddings": true}),
        ),
        bytes(
            "DeepSeek-V3-Tiny",
            "gpt-2",
            json!({"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "attention_bias":
            false, "dtype": "bfloat16", "first_k_dense_replace": 1, "head_dim": 8, "hidden_act": "silu",
            "hidden_size": 64, "intermediate_size": 96, "kv_lora_rank": 32, "max_position_embeddings": 1024,
            "moe_intermediate_size": 32, "n_group": 2, "n_routed_experts": 8, "n_shared_experts": 1,
            "norm_topk_prob": true, "num_attention_heads": 4, "num_experts_per_tok": 2, "num_hidden_layers": 3,
            "num_key_value_heads": 4, "num_nextn_predict_layers": 1, "q_lora_rank": 48, "qk_head_dim": 24,
            "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "rms_norm_eps": 1e-06, "rope_interleave": true,
            "rope_parameters": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 1.0, "mscale_all_dim":
            1.0, "original_max_position_embeddings": 128, "rope_theta": 10000.0, "rope_type": "yarn"},
            "routed_scaling_factor": 2.5, "tie_word_embeddings": false, "topk_group": 1, "v_head_dim": 16}),
        ),
        Tiny::new(
            "ERNIE-4.5-MoE-Tiny",
            json!({"architectures": ["Ernie4_5_MoeForCausalLM"], "model_type": "ernie4_5_moe", "dtype":
            "bfloat16", "hidden_act": "silu", "hidden_size": 64, "intermediate_size": 96,
            "max_position_embeddings": 2048, "moe_intermediate_size": 32, "moe_k": 2, "moe_layer_end_index": 1,
            "moe_layer_interval": 1, "moe_layer_start_index": 1, "moe_norm_min": 1e-12, "moe_num_experts": 4,
            "moe_num_shared_experts": 2, "num_attention_heads": 4, "num_hidden_layers": 2,
            "num_key_value_heads": 2, "rms_norm_eps": 1e-05, "rope_parameters": {"rope_theta": 500000.0,
            "rope_type": "default"}, "tie_word_embeddings": true, "use_bias": false}),
        ),
        bytes(
            "K-EXAONE-Tiny",
            "gpt-2",
            json!({"architectures": ["ExaoneMoeForCausalLM"], "model_type": "exaone_moe", "dtype": "bfloat16",
            "first_k_dense_replace": 1, "head_dim": 16, "hidden_act": "silu", "hidden_size": 64,
            "intermediate_size": 96, "layer_types": ["sliding_attention", "sliding_attention"],
            "max_position_embeddings": 2048, "mlp_layer_types": ["dense", "sparse"], "moe_intermediate_size":
            32, "n_group": 1, "norm_topk_prob": true, "num_attention_heads": 4, "num_experts": 4,
            "num_experts_per_tok": 2, "num_hidden_layers": 2, "num_key_value_heads": 2, "num_shared_experts": 1,
            "rms_norm_eps": 1e-05, "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
            "routed_scaling_factor": 2.5, "sliding_window": 64, "sliding_window_pattern": 4,
            "tie_word_embeddings": false, "topk_group": 1}),
        ),
        bytes(
            "Mellum-2-Tiny",
            "gpt-2",
            json!({"architectures": ["MellumForCausalLM"], "model_type": "mellum", "attention_bias": false,
            "dtype": "bfloat16", "head_dim": 16, "hidden_act": "silu", "hidden_size": 64, "intermediate_size":
            96, "layer_types": ["full_attention", "full_attention"], "max_position_embeddings": 2048,
            "mlp_layer_types": ["sparse", "sparse"], "moe_intermediate_size": 32, "norm_topk_prob": true,
            "num_attention_heads": 4, "num_experts_per_tok": 2, "num_hidden_layers": 2, "num_key_value_heads":
            2, "num_local_experts": 4, "rms_norm_eps": 1e-06, "rope_parameters": {"full_attention":
            {"rope_theta": 500000.0, "rope_type": "default"}, "sliding_attention": {"rope_theta": 10000.0,
            "rope_type": "default"}}, "sliding_window": 1024, "tie_word_embeddings": false}),
        ),
    ]
}
