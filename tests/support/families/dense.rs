//! Dense decoders beyond the first families.

use super::{Tiny, bytes, json, sized};

pub fn all() -> Vec<Tiny> {
    vec![
        bytes(
            "EXAONE-4.0-Tiny",
            "gpt-2",
            sized(
                json!({"architectures": ["Exaone4ForCausalLM"], "model_type": "exaone4", "sliding_window": 64,
            "sliding_window_pattern": "LG", "layer_types": ["sliding_attention", "full_attention"]}),
            ),
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
        bytes(
            "Hunyuan-Tiny",
            "gpt-2",
            json!({"architectures": ["HunYuanDenseV1ForCausalLM"], "model_type": "hunyuan_v1_dense",
            "attention_bias": false, "dtype": "bfloat16", "eod_token_id": 3, "head_dim": 16, "hidden_act":
            "silu", "hidden_size": 64, "intermediate_size": 96, "max_position_embeddings": 2048,
            "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-05,
            "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}, "tie_word_embeddings": true}),
        ),
        Tiny::new(
            "InternLM2-Tiny",
            json!({"architectures": ["InternLM2ForCausalLM"], "model_type": "internlm2", "attn_implementation":
            "eager", "bias": false, "hidden_act": "silu", "hidden_size": 64, "intermediate_size": 96,
            "max_position_embeddings": 32768, "num_attention_heads": 4, "num_hidden_layers": 2,
            "num_key_value_heads": 2, "rms_norm_eps": 1e-05, "rope_scaling": {"type": "dynamic", "factor": 2.0},
            "rope_theta": 1000000, "tie_word_embeddings": false, "torch_dtype": "bfloat16"}),
        ),
        bytes(
            "Jais-2-Tiny",
            "gpt-2",
            json!({"architectures": ["Jais2ForCausalLM"], "model_type": "jais2", "attention_bias": true,
            "dtype": "bfloat16", "head_dim": 16, "hidden_act": "relu2", "hidden_size": 64, "intermediate_size":
            96, "layer_norm_eps": 1e-05, "max_position_embeddings": 2048, "mlp_bias": true,
            "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 2, "rope_parameters":
            {"rope_theta": 10000.0, "rope_type": "default"}, "tie_word_embeddings": false}),
        ),
        Tiny::new(
            "MiniCPM-Tiny",
            json!({"architectures": ["MiniCPMForCausalLM"], "model_type": "minicpm", "attention_bias": false,
            "hidden_act": "silu", "hidden_size": 64, "intermediate_size": 96, "max_position_embeddings": 2048,
            "mlp_bias": false, "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 4,
            "rms_norm_eps": 1e-06, "tie_word_embeddings": true, "torch_dtype": "bfloat16", "scale_emb": 12,
            "dim_model_base": 256, "scale_depth": 1.4}),
        ),
        Tiny::new(
            "Nemotron-Mini-Tiny",
            json!({"architectures": ["NemotronForCausalLM"], "model_type": "nemotron", "attention_bias": false,
            "head_dim": 16, "hidden_act": "relu2", "hidden_size": 96, "intermediate_size": 160,
            "max_position_embeddings": 4096, "mlp_bias": false, "norm_eps": 1e-05, "num_attention_heads": 6,
            "num_hidden_layers": 3, "num_key_value_heads": 3, "tie_word_embeddings": false, "rope_theta":
            10000.0, "partial_rotary_factor": 0.5, "torch_dtype": "float16"}),
        ),
    ]
}
