//! Decoders with experts, with norms of Gemma's kind, with sinks; models that embed or judge.

use super::{Draft, Dtype, Tiny, Value, Words, json, laid_over};

/// `config` with the sizes that all have in common, and those of its own.
fn sized(config: Value) -> Value {
    laid_over(
        json!({"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 512}),
        &config,
    )
}

/// With the vocabulary of GPT-2, for classes that the converter gives no other kind.
fn bytes(name: &'static str, config: Value) -> Tiny {
    Tiny { words: Words::Whole("gpt-2"), ..Tiny::new(name, sized(config)) }
}

fn pieces(name: &'static str, config: Value) -> Tiny {
    Tiny::new(name, sized(config))
}

const NEWEST: Draft = Draft { newest: true, optional: false, prefix: 0 };

pub fn all() -> Vec<Tiny> {
    let mut all = experts();
    all.extend(gemmas());
    all.extend(others());
    all.extend(embedding());
    all
}

fn experts() -> Vec<Tiny> {
    vec![
        bytes(
            "Qwen2-Moe-Tiny",
            json!({"architectures": ["Qwen2MoeForCausalLM"], "model_type": "qwen2_moe",
            "moe_intermediate_size": 32, "shared_expert_intermediate_size": 64, "num_experts": 4,
            "num_experts_per_tok": 2, "rope_theta": 1000000.0, "torch_dtype": "bfloat16"}),
        ),
        Tiny {
            draft: NEWEST,
            dtype: Dtype::F32,
            ..bytes(
                "Qwen2-Moe-Fused",
                json!({
            "architectures": ["Qwen2MoeForCausalLM"], "model_type": "qwen2_moe", "num_hidden_layers": 1,
            "moe_intermediate_size": 48, "shared_expert_intermediate_size": 32, "num_experts": 6,
            "num_experts_per_tok": 2, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
            "tie_word_embeddings": true, "dtype": "float32"}),
            )
        },
        bytes(
            "Qwen3-Moe-Tiny",
            json!({"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe",
            "head_dim": 16, "moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2,
            "norm_topk_prob": true, "rope_theta": 1000000.0, "tie_word_embeddings": true}),
        ),
        Tiny {
            draft: NEWEST,
            dtype: Dtype::F16,
            ..bytes(
                "Qwen3-Moe-Fused",
                json!({
            "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "head_dim": 8,
            "moe_intermediate_size": 64, "num_local_experts": 3, "num_experts_per_tok": 2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}, "dtype": "float16"}),
            )
        },
        bytes(
            "gpt-oss-tiny",
            json!({"architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "head_dim": 16,
            "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 128,
            "rope_scaling": {"rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0,
                "original_max_position_embeddings": 128}}),
        ),
        Tiny {
            dtype: Dtype::F32,
            ..bytes(
                "gpt-oss-sparse",
                json!({"architectures": ["GptOssForCausalLM"],
            "model_type": "gpt_oss", "head_dim": 8, "num_hidden_layers": 1, "intermediate_size": 32,
            "num_local_experts": 8, "num_experts_per_tok": 2}),
            )
        },
    ]
}

fn gemmas() -> Vec<Tiny> {
    vec![
        pieces(
            "Gemma-Tiny",
            json!({"architectures": ["GemmaForCausalLM"], "model_type": "gemma", "head_dim": 16,
            "hidden_act": "gelu", "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "torch_dtype": "bfloat16"}),
        ),
        Tiny {
            dtype: Dtype::F16,
            ..pieces(
                "gemma-tiny-multi-query",
                json!({"architectures": ["GemmaForCausalLM"],
            "model_type": "gemma", "head_dim": 8, "num_key_value_heads": 1, "vocab_size": 300}),
            )
        },
        pieces(
            "Gemma-2-Tiny",
            json!({"architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2", "head_dim": 16,
            "sliding_window": 64, "query_pre_attn_scalar": 16, "final_logit_softcapping": 25.0,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}, "dtype": "bfloat16"}),
        ),
        Tiny {
            dtype: Dtype::F32,
            ..pieces(
                "gemma-2-tiny-sparse",
                json!({"architectures": ["Gemma2ForCausalLM"],
            "model_type": "gemma2", "head_dim": 8, "num_hidden_layers": 1}),
            )
        },
    ]
}

fn others() -> Vec<Tiny> {
    vec![
        pieces(
            "SmolLM3-Tiny",
            json!({"architectures": ["SmolLM3ForCausalLM"], "model_type": "smollm3",
            "num_hidden_layers": 4, "no_rope_layers": [1, 1, 1, 0], "rms_norm_eps": 1e-6, "pad_token_id": 2,
            "rope_theta": 2000000.0, "tie_word_embeddings": true}),
        ),
        Tiny {
            dtype: Dtype::F16,
            ..pieces(
                "SmolLM3-Tiny-Yarn",
                json!({"architectures": ["SmolLM3ForCausalLM"],
            "model_type": "smollm3", "num_hidden_layers": 1, "pad_token_id": 2, "tie_word_embeddings": false,
            "rope_parameters": {"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 4.0,
                "original_max_position_embeddings": 128}}),
            )
        },
        bytes(
            "OLMo-2-Tiny",
            json!({"architectures": ["Olmo2ForCausalLM"], "model_type": "olmo2",
            "rms_norm_eps": 1e-6, "rope_theta": 500000.0, "torch_dtype": "bfloat16"}),
        ),
        Tiny {
            dtype: Dtype::F32,
            ..bytes(
                "Olmo-3-Tiny",
                json!({"architectures": ["Olmo3ForCausalLM"],
            "model_type": "olmo3", "num_hidden_layers": 4, "sliding_window": 64, "tie_word_embeddings": true}),
            )
        },
        bytes(
            "StableLM-2-Tiny",
            json!({"architectures": ["StableLmForCausalLM"], "model_type": "stablelm",
            "use_qkv_bias": true, "layer_norm_eps": 1e-5, "rope_theta": 10000.0, "partial_rotary_factor": 0.25}),
        ),
        Tiny {
            dtype: Dtype::F16,
            ..bytes(
                "StableLM-Tiny-Parallel",
                json!({"architectures": ["StableLmForCausalLM"],
            "model_type": "stablelm", "use_parallel_residual": true, "num_hidden_layers": 1,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}}),
            )
        },
    ]
}

/// The module that pools is kept in the directory itself.
const MODULES: &str = r#"[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
 {"idx": 1, "name": "1", "path": "", "type": "sentence_transformers.models.Pooling"}]"#;

fn embedding() -> Vec<Tiny> {
    vec![
        Tiny {
            files: &[("modules.json", MODULES)],
            ..pieces(
                "Qwen3-Embedding-Tiny",
                json!({
            "architectures": ["Qwen3Model"], "model_type": "qwen3", "head_dim": 16, "rope_theta": 1000000.0,
            "tie_word_embeddings": true, "pooling_mode_lasttoken": true}),
            )
        },
        bytes(
            "Qwen3-Reranker-Tiny",
            json!({"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3",
            "head_dim": 16, "rope_theta": 1000000.0, "tie_word_embeddings": true}),
        ),
        Tiny {
            files: &[("modules.json", MODULES)],
            ..pieces(
                "embeddinggemma-tiny",
                json!({
            "architectures": ["Gemma3TextModel"], "model_type": "gemma3_text", "head_dim": 16, "sliding_window": 64,
            "use_bidirectional_attention": true, "pooling_mode_mean_tokens": true}),
            )
        },
    ]
}
