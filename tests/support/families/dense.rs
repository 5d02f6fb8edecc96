//! Dense decoders beyond the first families, and the text of models that see.

use super::{Tiny, Value, Words, json, laid_over};

pub fn all() -> Vec<Tiny> {
    vec![
        bytes(
            "Apertus-Tiny",
            "gpt-2",
            sized(
                json!({"architectures": ["ApertusForCausalLM"], "model_type": "apertus", "hidden_act": "xielu",
            "qk_norm": true}),
            ),
        ),
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
            "gpt-neox-tiny",
            "gpt-2",
            json!({"architectures": ["GPTNeoXForCausalLM"], "model_type": "gpt_neox", "attention_bias": true,
            "classifier_dropout": 0.1, "dtype": "float32", "hidden_act": "gelu", "hidden_size": 96,
            "intermediate_size": 256, "is_decoder": false, "layer_norm_eps": 1e-05, "max_position_embeddings":
            512, "num_attention_heads": 6, "num_hidden_layers": 2, "rope_parameters": {"partial_rotary_factor":
            0.25, "rope_theta": 10000.0, "rope_type": "default"}, "tie_word_embeddings": false,
            "use_parallel_residual": true}),
        ),
        Tiny::new(
            "gemma-3n-tiny",
            json!({"architectures": ["Gemma3nForCausalLM"], "model_type": "gemma3n_text",
            "activation_sparsity_pattern": [0.95, 0.95, 0.95, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            "altup_active_idx": 0, "altup_correct_scale": true, "altup_num_inputs": 4, "attention_bias": false,
            "dtype": "bfloat16", "final_logit_softcapping": 30.0, "head_dim": 16, "hidden_activation":
            "gelu_pytorch_tanh", "hidden_size": 64, "hidden_size_per_layer_input": 256, "intermediate_size":
            [96, 96, 96, 96, 96, 96, 96, 96, 96, 96], "laurel_rank": 64, "layer_types": ["sliding_attention",
            "sliding_attention", "sliding_attention", "sliding_attention", "full_attention",
            "sliding_attention", "sliding_attention", "sliding_attention", "sliding_attention",
            "full_attention"], "max_position_embeddings": 2048, "num_attention_heads": 4, "num_hidden_layers":
            10, "num_key_value_heads": 2, "num_kv_shared_layers": 4, "rms_norm_eps": 1e-06, "rope_parameters":
            {"full_attention": {"rope_theta": 1000000.0, "rope_type": "default"}, "sliding_attention":
            {"rope_theta": 10000.0, "rope_type": "default"}}, "sliding_window": 64, "tie_word_embeddings": true,
            "vocab_size_per_layer_input": 1131}),
        ),
        bytes(
            "glm-4-chat-hf-tiny",
            "qwen2",
            json!({"architectures": ["GlmForCausalLM"], "model_type": "glm", "attention_bias": true, "dtype":
            "bfloat16", "head_dim": 16, "hidden_act": "silu", "hidden_size": 64, "intermediate_size": 96,
            "max_position_embeddings": 2048, "num_attention_heads": 4, "num_hidden_layers": 2,
            "num_key_value_heads": 2, "rms_norm_eps": 1.5625e-07, "rope_parameters": {"partial_rotary_factor":
            0.5, "rope_theta": 10000.0, "rope_type": "default"}, "tie_word_embeddings": false}),
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
        bytes(
            "mpt-tiny",
            "gpt-2",
            json!({"architectures": ["MPTForCausalLM"], "model_type": "mpt", "attn_config": {"_name_or_path":
            "", "alibi": true, "alibi_bias_max": 8, "architectures": null, "attn_impl": "torch", "attn_pdrop":
            0, "attn_type": "multihead_attention", "attn_uses_sequence_id": false, "chunk_size_feed_forward": 0,
            "clip_qkv": null, "dtype": null, "id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "is_encoder_decoder":
            false, "label2id": {"LABEL_0": 0, "LABEL_1": 1}, "model_type": "", "output_attentions": false,
            "output_hidden_states": false, "prefix_lm": false, "problem_type": null, "qk_ln": false,
            "return_dict": true, "softmax_scale": null}, "d_model": 64, "emb_pdrop": 0.0, "embedding_fraction":
            1.0, "expansion_ratio": 4, "init_device": "cpu", "layer_norm_epsilon": 1e-05, "learned_pos_emb":
            true, "max_seq_len": 512, "n_heads": 4, "n_layers": 2, "no_bias": true, "norm_type":
            "low_precision_layernorm", "tie_word_embeddings": true, "torch_dtype": "bfloat16"}),
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
        bytes(
            "Qwen2-VL-Tiny",
            "qwen2",
            json!({"architectures": ["Qwen2VLForConditionalGeneration"], "model_type": "qwen2_vl", "hidden_act":
            "silu", "hidden_size": 96, "intermediate_size": 160, "max_position_embeddings": 4096,
            "max_window_layers": 80, "num_attention_heads": 6, "num_hidden_layers": 3, "num_key_value_heads": 3,
            "rms_norm_eps": 1e-05, "use_sliding_window": false, "rope_theta": 1000000.0, "rope_scaling":
            {"type": "mrope", "mrope_section": [2, 3, 3]}, "torch_dtype": "float16", "image_token_id": 151655,
            "tie_word_embeddings": false, "video_token_id": 151656, "vision_end_token_id": 151653,
            "vision_start_token_id": 151652}),
        ),
        bytes(
            "Qwen3-VL-Tiny",
            "qwen2",
            json!({"architectures": ["Qwen3VLForConditionalGeneration"], "model_type": "qwen3_vl", "dtype":
            "bfloat16", "image_token_id": 151655, "text_config": {"attention_bias": false, "dtype": "bfloat16",
            "head_dim": 16, "hidden_act": "silu", "hidden_size": 64, "intermediate_size": 96,
            "max_position_embeddings": 2048, "model_type": "qwen3_vl_text", "num_attention_heads": 4,
            "num_hidden_layers": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_parameters":
            {"mrope_interleaved": true, "mrope_section": [4, 2, 2], "rope_theta": 5000000.0, "rope_type":
            "default"}}, "tie_word_embeddings": true, "video_token_id": 151656, "vision_end_token_id": 151653,
            "vision_start_token_id": 151652}),
        ),
        bytes(
            "Dream-Tiny",
            "qwen2",
            json!({"architectures": ["DreamModel"], "model_type": "Dream", "hidden_act": "silu", "hidden_size":
            64, "intermediate_size": 96, "max_position_embeddings": 2048, "max_window_layers": 28,
            "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-06,
            "tie_word_embeddings": false, "use_sliding_window": false, "rope_theta": 10000.0, "torch_dtype":
            "bfloat16"}),
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
