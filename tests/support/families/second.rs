//! Phi, Mistral 3, Granite, StarCoder, GLM-4, Cohere and the simpler families after them: two checkpoints each of the
//! first, one of the others.

use super::{Draft, Dtype, Tiny, Words, json, laid_over};
use serde_json::Value;

pub fn all() -> Vec<Tiny> {
    [phi(), mistral_and_granite(), cohere_and_glm(), code(), others()].concat()
}

/// `config` with the sizes that most of these have.
fn sized(config: Value) -> Value {
    laid_over(
        json!({"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": false, "torch_dtype": "bfloat16"}),
        &config,
    )
}

/// With GPT-2's vocabulary, for families that know only byte-level BPE.
fn bytes(name: &'static str, config: Value) -> Tiny {
    Tiny { words: Words::Whole("gpt-2"), ..Tiny::new(name, sized(config)) }
}

fn phi() -> Vec<Tiny> {
    let long: Vec<f64> = (0..4).map(|i| 1.5 + 0.75 * f64::from(i)).collect();
    vec![
        bytes(
            "phi-2-tiny",
            json!({"architectures": ["PhiForCausalLM"], "model_type": "phi", "intermediate_size": 128,
            "num_key_value_heads": 4, "layer_norm_eps": 1e-5, "partial_rotary_factor": 0.4}),
        ),
        Tiny {
            dtype: Dtype::F16,
            ..bytes(
                "phi-1-tiny",
                json!({"architectures": ["PhiForCausalLM"], "model_type": "phi",
            "hidden_size": 48, "intermediate_size": 192, "num_attention_heads": 3, "num_key_value_heads": 3,
            "num_hidden_layers": 3, "layer_norm_eps": 1e-5, "dtype": "float16",
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}}),
            )
        },
        Tiny::new(
            "Phi-3-mini-4k-tiny",
            sized(json!({"architectures": ["Phi3ForCausalLM"], "model_type": "phi3",
            "num_key_value_heads": 4, "sliding_window": 2047, "original_max_position_embeddings": 512})),
        ),
        Tiny {
            dtype: Dtype::F16,
            ..Tiny::new(
                "Phi-3.5-mini-128k-tiny",
                sized(json!({"architectures": ["Phi3ForCausalLM"],
            "model_type": "phi3", "max_position_embeddings": 4096, "original_max_position_embeddings": 512,
            "rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.05, 1.1, 1.15], "long_factor": long},
            "sliding_window": null, "tie_word_embeddings": true})),
            )
        },
    ]
}

fn mistral_and_granite() -> Vec<Tiny> {
    let multipliers = json!({"architectures": ["GraniteForCausalLM"], "model_type": "granite", "attention_multiplier": 0.125,
        "embedding_multiplier": 12.0, "residual_multiplier": 0.22, "logits_scaling": 8.0});
    let experts = json!({"architectures": ["GraniteMoeForCausalLM"], "model_type": "granitemoe", "num_local_experts": 4,
        "num_experts_per_tok": 2, "attention_multiplier": 0.125, "embedding_multiplier": 12.0, "residual_multiplier": 0.22,
        "logits_scaling": 8.0});
    let mut shared = experts.clone();
    shared["architectures"] = json!(["GraniteMoeSharedForCausalLM"]);
    shared["model_type"] = json!("granitemoeshared");
    shared["shared_intermediate_size"] = json!(40);
    vec![
        Tiny::new(
            "Ministral-3-1M",
            sized(json!({"architectures": ["Ministral3ForCausalLM"], "model_type": "ministral3",
            "head_dim": 16, "rope_parameters": {"rope_type": "yarn", "type": "yarn", "rope_theta": 1000000.0, "factor": 16.0,
                "original_max_position_embeddings": 128, "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0,
                "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1}})),
        ),
        Tiny {
            draft: Draft { prefix: 2, ..Draft::default() },
            ..Tiny::new(
                "Mistral-Small-3.1-Tiny",
                json!({"architectures": ["Mistral3ForConditionalGeneration"], "model_type": "mistral3",
                "tie_word_embeddings": true, "text_config": sized(json!({"model_type": "mistral", "head_dim": 16,
                "rope_theta": 1000000000.0})), "vision_config": {"model_type": "pixtral", "hidden_size": 16}}),
            )
        },
        Tiny::new("granite-3-tiny", sized(multipliers.clone())),
        Tiny {
            dtype: Dtype::F32,
            ..Tiny::new(
                "granite-3-biased",
                sized({
                    let mut config = multipliers;
                    config["attention_bias"] = json!(true);
                    config["mlp_bias"] = json!(true);
                    config["tie_word_embeddings"] = json!(true);
                    config
                }),
            )
        },
        Tiny::new("granite-3-1m-a400k", sized(experts)),
        Tiny { dtype: Dtype::F16, ..Tiny::new("granite-shared-1m", sized(shared)) },
    ]
}

/// Beside Qwen's vocabulary, for GLM's turns.
const GLM: &str = r#"{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>",
    "additional_special_tokens": ["<|user|>"]}"#;

/// Beside GPT-2's, as Command R keeps several templates.
const COHERE: &str = r#"{"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|endoftext|>",
    "chat_template": [{"name": "default", "template": "{{ messages[0].content }}"},
        {"name": "rag", "template": "rag {{ messages[0].content }}"}]}"#;

fn cohere_and_glm() -> Vec<Tiny> {
    let glm = |name, config| Tiny {
        words: Words::Whole("qwen2"),
        files: &[("tokenizer_config.json", GLM)],
        ..Tiny::new(name, sized(config))
    };
    vec![
        glm(
            "GLM-4-Tiny-0414",
            json!({"architectures": ["Glm4ForCausalLM"], "model_type": "glm4", "head_dim": 8,
            "attention_bias": false, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0,
                "partial_rotary_factor": 0.5}}),
        ),
        glm(
            "GLM-Z1-Tiny",
            json!({"architectures": ["Glm4ForCausalLM"], "model_type": "glm4", "head_dim": 16,
            "attention_bias": true, "partial_rotary_factor": 0.5}),
        ),
        Tiny {
            files: &[("tokenizer_config.json", COHERE)],
            ..bytes(
                "command-r-tiny",
                json!({
            "architectures": ["CohereForCausalLM"], "model_type": "cohere", "layer_norm_eps": 1e-5, "logit_scale": 0.0625,
            "model_max_length": 131072, "tie_word_embeddings": true}),
            )
        },
        bytes(
            "command-r-plus-tiny",
            json!({"architectures": ["CohereForCausalLM"], "model_type": "cohere",
            "layer_norm_eps": 1e-5, "logit_scale": 0.8333333, "use_qk_norm": true, "tie_word_embeddings": true}),
        ),
        bytes(
            "command-r7b-tiny",
            json!({"architectures": ["Cohere2ForCausalLM"], "model_type": "cohere2",
            "layer_norm_eps": 1e-5, "logit_scale": 0.25, "sliding_window": 64, "rotary_pct": 1.0, "head_dim": 8,
            "tie_word_embeddings": true}),
        ),
        Tiny {
            dtype: Dtype::F32,
            ..bytes(
                "command-a-tiny",
                json!({"architectures": ["Cohere2ForCausalLM"],
            "model_type": "cohere2", "num_hidden_layers": 5, "logit_scale": 0.0625, "sliding_window": 128, "rotary_pct": 0.5,
            "head_dim": 8, "tie_word_embeddings": true}),
            )
        },
    ]
}

fn code() -> Vec<Tiny> {
    vec![
        bytes(
            "starcoder2-tiny",
            json!({"architectures": ["Starcoder2ForCausalLM"], "model_type": "starcoder2",
            "norm_epsilon": 1e-5, "use_bias": true, "sliding_window": 256, "tie_word_embeddings": true}),
        ),
        Tiny {
            dtype: Dtype::F32,
            ..bytes(
                "starcoder2-plain",
                json!({"architectures": ["Starcoder2ForCausalLM"],
            "model_type": "starcoder2", "norm_epsilon": 1e-5, "use_bias": false, "sliding_window": null}),
            )
        },
        bytes(
            "santacoder-tiny",
            json!({"architectures": ["GPTBigCodeForCausalLM"], "model_type": "gpt_bigcode", "n_embd": 32,
            "n_layer": 2, "n_head": 4, "n_positions": 64, "layer_norm_epsilon": 1e-5, "multi_query": true,
            "tie_word_embeddings": true}),
        ),
    ]
}

fn others() -> Vec<Tiny> {
    let norm = json!({"layer_norm_epsilon": 1e-5});
    let with = |mut config: Value| {
        config["layer_norm_epsilon"] = norm["layer_norm_epsilon"].clone();
        config
    };
    vec![
        bytes(
            "Seed-OSS-Tiny",
            json!({"architectures": ["SeedOssForCausalLM"], "model_type": "seed_oss", "head_dim": 16,
            "attention_bias": true, "attention_out_bias": false}),
        ),
        bytes(
            "EXAONE-3.5-Tiny",
            with(json!({"architectures": ["ExaoneForCausalLM"], "model_type": "exaone",
            "activation_function": "silu", "num_layers": 2, "head_dim": 8, "rms_norm_eps": null})),
        ),
        Tiny::new(
            "AFM-Tiny",
            sized(json!({"architectures": ["ArceeForCausalLM"], "model_type": "arcee", "head_dim": 16,
            "hidden_act": "relu2"})),
        ),
        bytes(
            "OLMo-Tiny",
            json!({"architectures": ["OlmoForCausalLM"], "model_type": "olmo", "clip_qkv": 8.0,
            "rms_norm_eps": null}),
        ),
        bytes(
            "OLMoE-1M-7M",
            json!({"architectures": ["OlmoeForCausalLM"], "model_type": "olmoe", "num_experts": 4,
            "num_experts_per_tok": 2}),
        ),
        Tiny::new(
            "ERNIE-4.5-Tiny",
            sized(json!({"architectures": ["Ernie4_5ForCausalLM"], "model_type": "ernie4_5",
            "head_dim": 16, "use_bias": true})),
        ),
        bytes(
            "bloom-tiny",
            with(json!({"architectures": ["BloomForCausalLM"], "model_type": "bloom", "n_head": 4,
            "n_layer": 2, "seq_length": 256, "tie_word_embeddings": true})),
        ),
        bytes(
            "falcon-40m-tiny",
            with(json!({"architectures": ["FalconForCausalLM"], "model_type": "falcon",
            "new_decoder_architecture": true, "num_kv_heads": 2, "tie_word_embeddings": true})),
        ),
        Tiny::new("Orion-Tiny", sized(json!({"architectures": ["OrionForCausalLM"], "model_type": "orion"}))),
    ]
}
