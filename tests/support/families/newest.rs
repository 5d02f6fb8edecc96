//! The decoders of late 2026: states, indexers and several streams in one model. Configs are such as were published, smaller;
//! where transformers 5 reads a config in a way that its converter does not expect, `model_type` is one that it does not know.

use super::{Draft, Tiny, Value as Json, bytes, json, sized};

/// With experts as DeepSeek V3 counts them.
fn deepseek(own: &Json) -> Json {
    super::laid_over(
        sized(
            json!({"num_hidden_layers": 3, "moe_intermediate_size": 16, "n_routed_experts": 4, "n_shared_experts": 1,
        "num_experts_per_tok": 2, "routed_scaling_factor": 2.5, "norm_topk_prob": true, "q_lora_rank": 24,
        "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 12, "index_n_heads": 2,
        "index_head_dim": 8, "index_topk": 16}),
        ),
        own,
    )
}

fn predicting(tiny: Tiny) -> Tiny {
    Tiny { draft: Draft { optional: true, ..Draft::default() }, ..tiny }
}

pub fn all() -> Vec<Tiny> {
    [minimax(), hunyuan(), dots(), ling(), glm(), qwen(), mistral()].concat()
}

/// Mistral Small 4, whose experts are published in stacks.
fn mistral() -> Vec<Tiny> {
    let rope = json!({"rope_type": "yarn", "type": "yarn", "rope_theta": 10000.0, "factor": 128.0,
        "original_max_position_embeddings": 8192, "max_position_embeddings": 1048576, "beta_fast": 32.0, "beta_slow": 1.0,
        "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1, "partial_rotary_factor": 0.5});
    let text = sized(json!({"model_type": "mistral4", "num_key_value_heads": 4, "moe_intermediate_size": 16,
        "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "first_k_dense_replace": 0, "n_group": 1,
        "topk_group": 1, "norm_topk_prob": true, "routed_scaling_factor": 1.0, "q_lora_rank": 24, "kv_lora_rank": 16,
        "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 16, "head_dim": 16, "rope_theta": null,
        "rope_parameters": rope}));
    let config = json!({"architectures": ["Mistral3ForConditionalGeneration"], "model_type": "mistral3",
        "tie_word_embeddings": false, "text_config": text, "vision_config": {"model_type": "pixtral", "hidden_size": 16}});
    let draft = Draft { prefix: 2, ..Draft::default() };
    vec![Tiny { draft, ..bytes("Mistral-Small-4-Tiny", "gpt-2", config) }]
}

fn minimax() -> Vec<Tiny> {
    let text = |own: Json| {
        let config = sized(
            json!({"architectures": ["MiniMaxM3SparseForCausalLM"], "model_type": "minimax_m3",
            "hidden_act": "swigluoai", "num_hidden_layers": 3, "dense_intermediate_size": 64, "intermediate_size": 16,
            "shared_intermediate_size": 16, "num_local_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1,
            "rotary_dim": 4, "scoring_func": "sigmoid", "use_qk_norm": true, "qk_norm_type": "per_head",
            "use_gemma_norm": true, "routed_scaling_factor": 2.0, "moe_layer_freq": [0, 1, 1],
            "sparse_attention_config": {"use_sparse_attention": true, "sparse_num_index_heads": 2,
            "sparse_index_dim": 8, "sparse_topk_blocks": 2, "sparse_block_size": 4, "sparse_local_block": 1,
            "sparse_attention_freq": [0, 1, 1]}}),
        );
        super::laid_over(config, &own)
    };
    let seeing = json!({"architectures": ["MiniMaxM3SparseForConditionalGeneration"], "model_type": "minimax_m3",
        "text_config": text(json!({"architectures": null, "moe_layer_freq": [0, 0, 1],
            "sparse_attention_config": {"sparse_num_index_heads": 1, "sparse_index_dim": 8, "sparse_topk_blocks": 2,
            "sparse_block_size": 4, "sparse_local_block": 1, "sparse_attention_freq": [0, 0, 1]}}))});
    let draft = Draft { optional: true, prefix: 2, ..Draft::default() };
    vec![
        Tiny {
            draft: Draft { optional: true, ..Draft::default() },
            ..bytes("MiniMax-M3-Text", "qwen2", text(json!({})))
        },
        Tiny { draft, ..bytes("MiniMax-M3-Sees", "gpt-2", seeing) },
    ]
}

fn hunyuan() -> Vec<Tiny> {
    let config = |own: Json| {
        let all =
            deepseek(&json!({"architectures": ["HYV4ForCausalLM"], "model_type": "hy_v4", "hc_mult": 4,
            "hc_magnitude": 2.0, "hc_eps": 1e-6, "n_group": 1, "topk_group": 1, "swiglu_limit": 10.0,
            "mlp_layer_types": ["dense", "sparse", "sparse"], "indexer_types": ["full", "full", "shared"],
            "layer_types": ["indexed_attention", "indexed_attention", "indexed_attention"]}));
        super::laid_over(all, &own)
    };
    vec![
        Tiny {
            draft: Draft { optional: true, newest: false, ..Draft::default() },
            single: &["hc_fn", "hc_base", "hc_scale", "hc_head_fn", "hc_head_base", "hc_head_scale"],
            ..bytes("Hy4-Tiny", "gpt-2", config(json!({})))
        },
        bytes(
            "Hy4-Whole-Head",
            "gpt-2",
            config(json!({"enable_lm_head_fp32": true, "n_group": 2, "topk_group": 1, "swiglu_limit": 0.0})),
        ),
    ]
}

/// Beside GPT-2's vocabulary, for the turns of dots3 and of GLM.
const DOTS: &str = r#"{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>",
    "additional_special_tokens": ["<|endofassistant|>"]}"#;
pub(super) const GLM: &str = r#"{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>",
    "additional_special_tokens": ["[gMASK]", "<|user|>", "<|observation|>"]}"#;

fn dots() -> Vec<Tiny> {
    let config = |class: &str, own: Json| {
        let all = deepseek(
            &json!({"architectures": [class], "model_type": "dots3_note_prev", "n_group": 1, "topk_group": 1, "head_dim": 12,
            "first_k_dense_replace": 1, "layer_types": ["full_attention", "sliding_attention", "sliding_attention"],
            "sliding_window_size": 8, "swa_num_attention_heads": 2, "swa_num_key_value_heads": 2,
            "swa_kv_lora_rank": 20, "swa_q_lora_rank": 24, "swa_qk_nope_head_dim": 12, "swa_qk_rope_head_dim": 4,
            "swa_head_dim": 16, "swa_v_head_dim": 16, "swa_rope_theta": 50000.0, "use_dsa": true,
            "topk_method": "noaux_tc", "scoring_func": "sigmoid", "apply_mla_qkv_lora_rescale": true,
            "k_rope_only_layernorm": true, "vocab_size": 50264}),
        );
        super::laid_over(all, &own)
    };
    let turns = |tiny: Tiny| Tiny { files: &[("tokenizer_config.json", DOTS)], ..predicting(tiny) };
    vec![
        turns(bytes("dots3-note-Tiny", "gpt-2", config("Dots3NoteForCausalLM", json!({})))),
        Tiny {
            respelled: &[("model.layers.3.embed_tokens.", "model.mtp.embed_tokens.")],
            ..turns(bytes(
                "dots3-note-Predicting",
                "gpt-2",
                config(
                    "Dots3NoteTextForCausalLM",
                    json!({"num_nextn_predict_layers": 1, "apply_mla_qkv_lora_rescale": false}),
                ),
            ))
        },
    ]
}

fn ling() -> Vec<Tiny> {
    let config = |own: Json| {
        let all = sized(json!({"architectures": ["BailingMoeV3ForCausalLM"], "model_type": "bailing_moe_v3",
            "num_hidden_layers": 4, "head_dim": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 12,
            "kv_lora_rank": 16, "q_lora_rank": null, "layer_group_size": 2, "short_conv_kernel_size": 4,
            "no_kda_lora": true, "kda_safe_gate": true, "kda_lower_bound": -5.0,
            "gated_attention_proj_granularity_type": "head_wise", "num_experts": 4, "num_shared_experts": 1,
            "num_experts_per_tok": 2, "moe_intermediate_size": 16, "moe_shared_expert_intermediate_size": 24,
            "first_k_dense_replace": 1, "n_group": 2, "topk_group": 1, "score_function": "sigmoid",
            "norm_topk_prob": true, "routed_scaling_factor": 2.5}));
        super::laid_over(all, &own)
    };
    let mut text = config(json!({"mrope_section": [1, 1, 0], "layer_group_size": 3, "q_lora_rank": 20}));
    text.as_object_mut().unwrap().remove("architectures");
    vec![
        predicting(bytes("Ling-3.0-Tiny", "gpt-2", config(json!({})))),
        predicting(bytes(
            "Ling-3.0-Predicting",
            "gpt-2",
            config(json!({"q_lora_rank": 20, "num_nextn_predict_layers": 1,
            "expert_swiglu_limit_list": [null, 7.0, 7.0, 5.5], "share_expert_swiglu_limit_list": [null, null, 3.0]})),
        )),
        Tiny {
            draft: Draft { optional: true, prefix: 1, ..Draft::default() },
            ..bytes(
                "Ling-3.0-VL",
                "gpt-2",
                json!({"architectures": ["BailingMoeV3VLForConditionalGeneration"], "model_type": "bailing_moe_v3_vl",
                "text_config": text}),
            )
        },
    ]
}

fn glm() -> Vec<Tiny> {
    let config = |own: Json| {
        let text = deepseek(&json!({"model_type": "glm5_next_text", "num_hidden_layers": 4, "head_dim": 0,
            "num_key_value_heads": 4, "qk_rope_head_dim": 0, "mla_use_nope": true, "first_k_dense_replace": 1,
            "layer_types": ["linear_attention", "full_attention", "linear_attention", "full_attention"],
            "mlp_layer_types": ["dense", "sparse", "sparse", "sparse"], "scoring_func": "sigmoid", "n_group": 1,
            "topk_group": 1, "linear_attn_config": {"num_heads": 4, "head_dim": 8, "short_conv_kernel_size": 4,
            "gate_lower_bound": -5.0}, "indexer_types": ["full", "full", "full", "shared"], "index_kpool": 4,
            "index_kpool_always_select_tail": true, "hc_mult": 4, "hc_eps": 1e-6, "hc_sinkhorn_iters": 20, "mhc": true,
            "swiglu_limit": 10.0, "vocab_size": 50264}));
        json!({"architectures": ["Glm5NextForConditionalGeneration"], "model_type": "glm5_next",
            "text_config": super::laid_over(text, &own)})
    };
    let turns = |tiny: Tiny| Tiny {
        files: &[("tokenizer_config.json", GLM)],
        draft: Draft { optional: true, ..Draft::default() },
        ..tiny
    };
    vec![
        turns(bytes("GLM-5.3-Tiny", "gpt-2", config(json!({})))),
        turns(bytes("GLM-5.3-Predicting", "gpt-2", config(json!({"num_nextn_predict_layers": 1})))),
    ]
}

fn qwen() -> Vec<Tiny> {
    let config = |own: Json| {
        let all = json!({"architectures": ["Qwen4ExpForCausalLM"], "model_type": "qwen4_exp_text_moe",
            "attention_bias": false, "head_dim": 32, "hidden_act": "silu", "hidden_size": 64, "moe_intermediate_size": 32,
            "shared_expert_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2,
            "layer_types": ["linear_attention", "full_attention"], "linear_conv_kernel_dim": 4,
            "linear_key_head_dim": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
            "linear_value_head_dim": 16, "max_position_embeddings": 2048, "num_attention_heads": 4,
            "num_hidden_layers": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "full_attention_interval": 2,
            "rope_parameters": {"mrope_interleaved": true, "mrope_section": [2, 1, 1], "partial_rotary_factor": 0.25,
            "rope_theta": 10000000.0, "rope_type": "default"}, "tie_word_embeddings": false, "hc_count": 2,
            "hc_lowrank": 8, "indexer_n_heads": 2, "indexer_kv_heads": 1, "indexer_head_dim": 16, "indexer_budget": 16,
            "indexer_compress_ratio": 4, "ple_layer_ids": [1], "ple_embed_dim": 64, "ple_conv_kernel_size": 4,
            "ngram_size": 3, "heads_per_ngram": 2, "ngram_vocab_size_base": 17, "split_ngram_parts": 4});
        super::laid_over(all, &own)
    };
    let whole = json!({"model_type": "qwen4_exp_moe", "architectures": ["Qwen4ExpForConditionalGeneration"],
        "image_token_id": 50000, "text_config": config(json!({"architectures": null, "ple_layer_ids": [],
            "rope_parameters": {"partial_rotary_factor": 0.25, "rope_theta": 10000.0, "rope_type": "default"}}))});
    let table: &[(&str, &str)] =
        &[("model.ngram_embedding.", "model.layers.0.ple.ple_embedding.ngram_embedding.shard_")];
    vec![
        Tiny {
            respelled: table,
            more: &[
                ("model.ngram_embedding.0.weight", &[22, 16]),
                ("model.ngram_embedding.1.weight", &[22, 16]),
                ("model.ngram_embedding.2.weight", &[22, 16]),
                ("model.ngram_embedding.3.weight", &[22, 16]),
            ],
            whole: &[
                // Such as no f32 holds.
                (
                    "model.layers.0.ple.ple_embedding.layer_multipliers",
                    &[24013894231157, 9123456789013, 31415926535],
                ),
                ("model.layers.0.ple.ple_embedding.ngram_heads_offsets", &[0, 17, 36, 59]),
                ("model.layers.0.ple.ple_embedding.ngram_heads_vocab_sizes", &[17, 19, 23, 29]),
            ],
            ..bytes("Qwen4-Exp-Tiny", "gpt-2", config(json!({"image_token_id": 50000})))
        },
        bytes("Qwen4-Exp-Sees", "gpt-2", whole),
    ]
}
