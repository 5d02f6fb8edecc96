//! Checkpoints with a layer that predicts a second token, by either of the names that such layers have.

use super::{Draft, Tiny, Words, json};

pub fn all() -> Vec<Tiny> {
    vec![
        Tiny {
            words: Words::Whole("gpt-2"),
            draft: Draft { optional: true, ..Draft::default() },
            ..Tiny::new(
                "GLM-4.5-Predicting",
                json!({"architectures": ["Glm4MoeForCausalLM"], "attention_bias": true, "first_k_dense_replace": 1,
                "head_dim": 16, "hidden_act": "silu", "hidden_size": 64, "intermediate_size": 96,
                "max_position_embeddings": 2048, "model_type": "glm4_moe", "moe_intermediate_size": 32, "n_group": 1,
                "n_routed_experts": 4, "n_shared_experts": 1, "norm_topk_prob": true, "num_attention_heads": 4,
                "num_experts_per_tok": 2, "num_hidden_layers": 3, "num_key_value_heads": 2,
                "num_nextn_predict_layers": 1, "rms_norm_eps": 1e-05, "rope_parameters": {"partial_rotary_factor": 0.5,
                "rope_theta": 10000.0, "rope_type": "default"}, "routed_scaling_factor": 1.0,
                "tie_word_embeddings": false, "topk_group": 1, "use_qk_norm": false}),
            )
        },
        Tiny {
            respelled: &[
                ("model.layers.4.eh_proj.", "mtp.fc."),
                ("model.layers.4.enorm.", "mtp.pre_fc_norm_embedding."),
                ("model.layers.4.hnorm.", "mtp.pre_fc_norm_hidden."),
                ("model.layers.4.shared_head.norm.", "mtp.norm."),
                ("model.layers.4.", "mtp.layers.0."),
            ],
            words: Words::Whole("gpt-2"),
            draft: Draft { optional: true, ..Draft::default() },
            ..Tiny::new(
                "Qwen3.5-Predicting",
                json!({"architectures": ["Qwen3_5ForCausalLM"], "attention_bias": false, "head_dim": 32,
                "hidden_act": "silu", "hidden_size": 64, "intermediate_size": 96, "layer_types": ["linear_attention",
                "linear_attention", "linear_attention", "full_attention"], "linear_conv_kernel_dim": 4,
                "linear_key_head_dim": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
                "linear_value_head_dim": 16, "max_position_embeddings": 2048, "model_type": "qwen3_5_text",
                "mtp_num_hidden_layers": 1, "num_attention_heads": 4, "num_hidden_layers": 4,
                "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_parameters": {"mrope_interleaved": true,
                "mrope_section": [2, 1, 1], "partial_rotary_factor": 0.25, "rope_theta": 10000000.0,
                "rope_type": "default"}, "tie_word_embeddings": false}),
            )
        },
        with_a_layer("GLM-5-Predicting", "GLM-5-Tiny"),
        with_a_layer("GLM-4.7-Flash-Predicting", "GLM-4.7-Flash-Tiny"),
    ]
}

/// Another one with a layer that predicts.
fn with_a_layer(name: &'static str, like: &str) -> Tiny {
    let plain = super::all().into_iter().find(|tiny| tiny.name == like).unwrap();
    let config = super::laid_over(plain.config.clone(), &json!({"num_nextn_predict_layers": 1}));
    Tiny { name, config, draft: Draft { optional: true, ..plain.draft }, ..plain }
}
