//! The families that the rules were tried on, one for each kind of rule.

use super::{Draft, Dtype, Tiny, Words, json};

pub fn all() -> Vec<Tiny> {
    vec![
        Tiny::new(
            "Qwen2-Tiny",
            json!({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu",
            "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
            "tie_word_embeddings": true, "torch_dtype": "bfloat16"}),
        ),
        Tiny::new(
            "Qwen3-Tiny",
            json!({"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_act": "silu",
            "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 16,
            "num_key_value_heads": 2, "max_position_embeddings": 512, "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 4.0,
                "original_max_position_embeddings": 128},
            "tie_word_embeddings": false, "dtype": "bfloat16"}),
        ),
        Tiny::new(
            "Mixtral-Tiny-4x1M",
            json!({"architectures": ["MixtralForCausalLM"], "model_type": "mixtral",
            "hidden_act": "silu", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 4, "num_experts_per_tok": 2,
            "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 1000000.0, "sliding_window": null,
            "tie_word_embeddings": false, "torch_dtype": "bfloat16"}),
        ),
        Tiny {
            dtype: Dtype::F16,
            ..Tiny::new(
                "Gemma-3-Tiny",
                json!({"architectures": ["Gemma3ForCausalLM"],
            "model_type": "gemma3_text", "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 32,
            "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
            "head_dim": 16, "vocab_size": 320, "max_position_embeddings": 512, "rms_norm_eps": 1e-6,
            "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0, "sliding_window": 64,
            "sliding_window_pattern": 2, "tie_word_embeddings": true, "torch_dtype": "float16"}),
            )
        },
        Tiny {
            draft: Draft { prefix: 2, ..Draft::default() },
            ..Tiny::new(
                "gemma-3-tiny-it",
                json!({"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3",
            "text_config": {"model_type": "gemma3_text", "hidden_size": 32, "intermediate_size": 48,
                "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
                "vocab_size": 300, "sliding_window": 64, "rope_scaling": {"factor": 8.0, "rope_type": "linear"}},
            "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 16}, "torch_dtype": "bfloat16"}),
            )
        },
        Tiny {
            words: Words::Whole("gpt-2"),
            dtype: Dtype::F32,
            draft: Draft { prefix: 1, ..Draft::default() },
            ..Tiny::new(
                "gpt2-tiny",
                json!({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": 16,
            "n_layer": 2, "n_head": 2, "n_positions": 64, "n_ctx": 64, "layer_norm_epsilon": 1e-5,
            "activation_function": "gelu_new", "vocab_size": 50257}),
            )
        },
        Tiny {
            words: Words::Whole("gpt-2"),
            single: &["e_score_correction_bias"],
            ..Tiny::new(
                "DeepSeek-V2-Tiny",
                json!({"architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "hidden_size": 16,
            "intermediate_size": 48, "moe_intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2,
            "num_key_value_heads": 2, "first_k_dense_replace": 1, "kv_lora_rank": 32, "q_lora_rank": null,
            "n_routed_experts": 4, "n_shared_experts": 2, "num_experts_per_tok": 2, "qk_nope_head_dim": 16,
            "qk_rope_head_dim": 8, "v_head_dim": 16, "routed_scaling_factor": 1.0, "norm_topk_prob": false,
            "scoring_func": "softmax", "topk_group": 1, "n_group": 1, "max_position_embeddings": 512,
            "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "rope_scaling": {"type": "yarn", "factor": 40,
                "beta_fast": 32, "beta_slow": 1, "mscale": 0.707, "mscale_all_dim": 0.707,
                "original_max_position_embeddings": 128},
            "tie_word_embeddings": false, "torch_dtype": "bfloat16"}),
            )
        },
        Tiny::new(
            "Mixtral-Tiny-8x1M",
            json!({"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "hidden_act": "silu",
            "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 4,
            "num_key_value_heads": 1, "head_dim": 16, "num_local_experts": 8, "num_experts_per_tok": 2,
            "max_position_embeddings": 1024, "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}, "tie_word_embeddings": false,
            "dtype": "bfloat16"}),
        ),
        Tiny::new(
            "Qwen2-Tiny-Untied",
            json!({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu",
            "hidden_size": 64, "intermediate_size": 80, "num_hidden_layers": 3, "num_attention_heads": 4,
            "num_key_value_heads": 4, "max_position_embeddings": 1024, "rms_norm_eps": 1e-5,
            "use_sliding_window": false, "sliding_window": 512, "max_window_layers": 3,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}, "tie_word_embeddings": false,
            "dtype": "bfloat16"}),
        ),
        Tiny {
            words: Words::Whole("gpt-2"),
            ..Tiny::new(
                "gpt2-tiny-medium",
                json!({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": 32,
            "n_layer": 1, "n_head": 4, "n_positions": 128, "n_ctx": 128, "layer_norm_epsilon": 1e-6,
            "activation_function": "gelu_new", "vocab_size": 50257, "torch_dtype": "bfloat16"}),
            )
        },
    ]
}
