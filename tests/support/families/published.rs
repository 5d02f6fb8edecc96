//! Models whose code lies beside their weights, and others that came late: the sizes of the published ones, scaled down.

use super::{Draft, Tiny, Words, bytes, json, plamo, sized};

pub fn all() -> Vec<Tiny> {
    [experts(), dense(), gated(), mixed(), plamos()].concat()
}

fn experts() -> Vec<Tiny> {
    let few = json!({"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16});
    vec![
        Tiny {
            draft: Draft { optional: true, ..Draft::default() },
            ..bytes(
                "Sarvam-Tiny",
                "gpt-2",
                super::laid_over(
                    sized(json!({"architectures": ["SarvamMoEForCausalLM"], "model_type": "sarvam_moe",
                    "first_k_dense_replace": 1, "moe_shared_expert_intermediate_size": 16, "num_shared_experts": 1,
                    "norm_topk_prob": true, "routed_scaling_factor": 2.5, "score_function": "sigmoid",
                    "use_qk_norm": true, "use_qkv_bias": false, "use_bias": false, "rms_norm_eps": 1e-6,
                    "moe_router_enable_expert_bias": true})),
                    &few,
                ),
            )
        },
        bytes(
            "RND1-Tiny",
            "gpt-2",
            super::laid_over(
                sized(json!({"architectures": ["RND1"], "model_type": "rnd1", "mask_token_id": 50255,
                "norm_topk_prob": true, "mlp_only_layers": [], "decoder_sparse_step": 1, "rope_theta": 1000000.0})),
                &few,
            ),
        ),
        bytes(
            "Maple-Tiny",
            "gpt-2",
            super::laid_over(
                sized(
                    json!({"architectures": ["MapleForCausalLM"], "model_type": "maple", "hidden_act": "silu",
                "norm_topk_prob": true, "nope_on_global_attention": true, "sliding_window": 64,
                "layer_types": ["sliding_attention", "full_attention"]}),
                ),
                &few,
            ),
        ),
        Tiny {
            shards: 2,
            files: &[("chat_template.jinja", "{{ messages[0]['content'] }}")],
            ..bytes(
                "MiniMax-M1-Tiny",
                "gpt-2",
                sized(json!({"architectures": ["MiniMaxM1ForCausalLM"], "model_type": "minimax_m1",
                "attn_type_list": [0, 1], "num_local_experts": 4, "num_experts_per_tok": 2, "rotary_dim": 4,
                "layernorm_full_attention_alpha": 3.5565588200778455, "layernorm_full_attention_beta": 1.0,
                "layernorm_linear_attention_alpha": 3.5565588200778455, "layernorm_linear_attention_beta": 1.0,
                "layernorm_mlp_alpha": 3.5565588200778455, "layernorm_mlp_beta": 1.0, "postnorm": true,
                "shared_intermediate_size": 0, "rope_theta": 10000000.0})),
            )
        },
    ]
}

fn dense() -> Vec<Tiny> {
    let glm = json!({"architectures": ["ChatGLMModel"], "model_type": "chatglm", "add_bias_linear": false,
        "add_qkv_bias": true, "ffn_hidden_size": 48, "hidden_size": 32, "kv_channels": 8, "layernorm_epsilon": 1.5625e-7,
        "multi_query_attention": true, "multi_query_group_num": 2, "num_attention_heads": 4, "num_layers": 2,
        "original_rope": true, "padded_vocab_size": 50264, "vocab_size": 50264, "rope_ratio": 500,
        "seq_length": 1024, "tie_word_embeddings": false});
    vec![
        bytes(
            "ruGPT3XL-tiny",
            "gpt-2",
            json!({"architectures": ["RuGPT3XLForCausalLM"], "model_type": "rugpt3xl", "hidden_size": 32,
            "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
            "max_position_embeddings": 64, "layer_norm_eps": 1e-5, "tie_word_embeddings": true}),
        ),
        Tiny {
            files: &[(
                "tokenizer_config.json",
                r#"{"tokenizer_class": "PreTrainedTokenizerFast", "added_tokens_decoder": {
                "50256": {"content": "<|endoftext|>", "special": true, "normalized": false},
                "50257": {"content": "<|user|>", "special": true, "normalized": false}}}"#,
            )],
            ..bytes("glm-4-tiny-chat", "gpt-2", glm)
        },
        Tiny::new(
            "bitnet_b1_58-tiny",
            sized(
                json!({"architectures": ["BitnetForCausalLM"], "model_type": "llama", "hidden_act": "silu",
            "num_key_value_heads": 2, "tie_word_embeddings": true, "weight_bits": 1, "input_bits": 8,
            "intermediate_size": 32, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}),
            ),
        ),
        Tiny {
            respelled: &[
                ("model.layers.0.", "model.L_module.layers.0."),
                ("model.layers.1.", "model.L_module.layers.1."),
                ("model.layers.2.", "model.H_module.layers.0."),
                ("model.layers.3.", "model.H_module.layers.1."),
            ],
            ..bytes(
                "HRM-Text-Tiny",
                "gpt-2",
                json!({"H_cycles": 2, "L_bp_cycles": [2], "L_cycles": 3, "architectures": ["HrmTextForCausalLM"],
                "attention_bias": false, "dtype": "bfloat16", "embedding_scale": 5.65, "head_dim": 8,
                "hidden_act": "silu", "hidden_size": 32, "intermediate_size": 48, "max_position_embeddings": 128,
                "mlp_bias": false, "model_type": "hrm_text", "num_attention_heads": 4, "num_hidden_layers": 16,
                "num_layers_per_stack": 2, "prefix_lm": true, "rms_norm_eps": 1e-6,
                "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}, "tie_word_embeddings": false}),
            )
        },
        Tiny {
            more: &[("lm_head_gain.w_g", &[1])],
            ..bytes(
                "talkie-tiny",
                "gpt-2",
                sized(json!({"architectures": ["TalkieForCausalLM"], "model_type": "talkie",
                "num_key_value_heads": 4, "hidden_act": "silu"})),
            )
        },
    ]
}

fn gated() -> Vec<Tiny> {
    let apart = json!({"full_attention": {"partial_rotary_factor": 0.5, "rope_theta": 500000.0, "rope_type": "default"},
        "sliding_attention": {"partial_rotary_factor": 1.0, "rope_theta": 10000.0, "rope_type": "default"}});
    vec![
        Tiny {
            draft: Draft { optional: true, ..Draft::default() },
            ..bytes(
                "Laguna-XS-Tiny",
                "gpt-2",
                sized(json!({"architectures": ["LagunaForCausalLM"], "model_type": "laguna", "gating": true,
                "layer_types": ["full_attention", "sliding_attention"], "mlp_layer_types": ["dense", "sparse"],
                "moe_intermediate_size": 16, "moe_routed_scaling_factor": 2.5, "num_experts": 4,
                "num_attention_heads_per_layer": [4, 6], "num_experts_per_tok": 2, "rope_parameters": apart,
                "shared_expert_intermediate_size": 24, "sliding_window": 64, "rope_theta": null})),
            )
        },
        bytes(
            "Spark-X2.5-Tiny",
            "gpt-2",
            sized(
                json!({"architectures": ["Spark2_5ForCausalLM"], "model_type": "spark2_5", "hidden_act": "gelu",
            "gate_attn_act_mode": "sigmoid", "headwise_attn_output_gate": true, "sliding_window": 64,
            "layer_types": ["sliding_attention", "full_attention"], "rope_parameters": apart, "rope_theta": null}),
            ),
        ),
        step("Step-3.5-Tiny", |own| {
            super::laid_over(
                own,
                &json!({"architectures": ["Step3p5ForCausalLM"], "num_nextn_predict_layers": 1}),
            )
        }),
        step("Step-3.7-Tiny", |own| {
            let scaled = json!({"rope_scaling": {"rope_type": "llama3", "factor": 2.0,
                "original_max_position_embeddings": 256, "low_freq_factor": 1.0, "high_freq_factor": 32.0}});
            json!({"architectures": ["Step3p7ForConditionalGeneration"],
                "text_config": super::laid_over(own, &scaled)})
        }),
    ]
}

/// As they are published: without what newer configs of transformers say.
fn step(name: &'static str, config: impl Fn(serde_json::Value) -> serde_json::Value) -> Tiny {
    let base = json!({"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_attention_groups": 2, "head_dim": 8, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
        "attention_other_setting": {"attention_type": "sliding_attention", "num_attention_heads": 6,
            "num_attention_groups": 2, "head_dim": 8},
        "layer_types": ["full_attention", "sliding_attention", "sliding_attention"],
        "partial_rotary_factors": [0.5, 1.0, 1.0], "rope_theta": [5000000.0, 10000.0, 10000.0, 5000000.0],
        "sliding_window": 64, "moe_num_experts": 4, "moe_top_k": 2, "moe_intermediate_size": 16,
        "share_expert_dim": 16, "moe_layers_enum": "1,2", "moe_router_scaling_factor": 3.0,
        "norm_expert_weight": true, "swiglu_limits": [null, null, 7.0], "swiglu_limits_shared": [null, null, 16.0],
        "tie_word_embeddings": false});
    Tiny { draft: Draft { optional: true, ..Draft::default() }, ..bytes(name, "gpt-2", config(base)) }
}

fn mixed() -> Vec<Tiny> {
    let block = |kind: &str, width: u32, used: u32| match kind {
        "moe" => json!({"block_type": kind, "moe_intermediate_size": width, "num_experts_per_tok": used}),
        _ => json!({"block_type": kind, "moe_intermediate_size": null, "num_experts_per_tok": null}),
    };
    vec![Tiny {
        draft: Draft { optional: true, ..Draft::default() },
        ..bytes(
            "Nemotron-3-Puzzle-Tiny",
            "gpt-2",
            json!({"architectures": ["NemotronHPuzzleForCausalLM"], "model_type": "nemotron_h_puzzle",
            "block_configs": [block("mamba", 0, 0), block("moe", 16, 2), block("attention", 0, 0), block("moe", 32, 3)],
            "attention_bias": false, "mlp_bias": false, "use_bias": false, "conv_kernel": 4, "head_dim": 16,
            "hidden_size": 64, "intermediate_size": 32, "layer_norm_epsilon": 1e-05, "mamba_head_dim": 16,
            "mamba_num_heads": 8, "max_position_embeddings": 2048, "moe_latent_size": 32,
            "moe_shared_expert_intermediate_size": 48, "n_group": 1, "n_groups": 2, "n_routed_experts": 4,
            "n_shared_experts": 1, "norm_topk_prob": true, "num_attention_heads": 4, "num_hidden_layers": 4,
            "num_key_value_heads": 2, "num_nextn_predict_layers": 1, "routed_scaling_factor": 2.5,
            "ssm_state_size": 16, "tie_word_embeddings": false, "topk_group": 1, "vocab_size": 50264}),
        )
    }]
}

/// More rows than tokens.
fn plamos() -> Vec<Tiny> {
    let rows = plamo::len() + 3;
    vec![
        Tiny {
            words: Words::Plamo,
            ..Tiny::new(
                "plamo-2-tiny",
                json!({"architectures": ["Plamo2ForCausalLM"], "model_type": "plamo2", "hidden_size": 32,
                "hidden_size_per_head": 8, "intermediate_size": 48, "mamba_d_conv": 4, "mamba_d_state": 16,
                "mamba_enabled": true, "mamba_num_heads": 8, "mamba_step": 2, "max_position_embeddings": 512,
                "num_attention_heads": 4, "num_hidden_layers": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-6,
                "rope_theta": 10000, "tie_word_embeddings": true, "vocab_size": rows}),
            )
        },
        Tiny {
            words: Words::Plamo,
            files: &[("chat_template.jinja", "{{ messages[0]['content'] }}")],
            ..Tiny::new(
                "plamo-3-tiny",
                json!({"architectures": ["Plamo3ForCausalLM"], "model_type": "plamo3", "hidden_size": 32,
                "head_dim": 8, "intermediate_size": 48, "initial_context_length": 128, "rope_scaling_factor": 4.0,
                "max_position_embeddings": 512, "num_attention_heads": 4, "num_hidden_layers": 2,
                "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "rope_theta": 1000000, "rope_local_theta": 10000,
                "sliding_window_pattern": 2, "window_size": 64, "tie_word_embeddings": false, "vocab_size": rows}),
            )
        },
    ]
}
