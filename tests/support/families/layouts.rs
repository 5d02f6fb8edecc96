//! Checkpoints of Mistral: in its own layout, and with its own tokenizer.

use super::{Tiny, Words, json};

pub fn all() -> Vec<Tiny> {
    let pair =
        |name, words, class, config| Tiny { words: Words::Pair(words, class), ..Tiny::new(name, config) };
    let gpt2 = json!({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_ctx": 256, "n_positions": 256,
        "n_embd": 32, "n_head": 4, "n_layer": 2, "layer_norm_epsilon": 1e-5});
    let qwen2 = json!({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 32,
        "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "tie_word_embeddings": true});
    let pairs = [
        pair("gpt2-vocab-merges", "gpt-2", "GPT2Tokenizer", gpt2),
        pair("Qwen2-vocab-merges", "qwen2", "Qwen2Tokenizer", qwen2),
    ];
    let mut all = pairs.to_vec();
    all.extend([tekken(), switch()]);
    all
}

/// A Granite with two adapters in its weights.
fn switch() -> Tiny {
    let config = json!({"architectures": ["GraniteSwitchForCausalLM"], "model_type": "granite_switch", "hidden_size": 32,
        "intermediate_size": 64, "shared_intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "num_local_experts": 0, "num_experts_per_tok": 2, "attention_multiplier": 0.125, "embedding_multiplier": 12.0,
        "residual_multiplier": 0.22, "logits_scaling": 8.0, "num_adapters": 2, "max_lora_rank": 8,
        "adapter_token_ids": [260, 261], "adapter_substitute_token_ids": [262, 263], "tie_word_embeddings": true});
    Tiny {
        more: &[("lm_head.weight", &[288, 32]), ("model.switch.control_to_substitute_lut", &[288])],
        ..Tiny::new("granite-switch-Tiny", config)
    }
}

fn tekken() -> Tiny {
    Tiny {
        words: Words::Tekken("v3"),
        ..Tiny::new(
            "Mistral-Nemo-Tekken",
            json!({"architectures": ["MistralForCausalLM"], "model_type": "mistral", "hidden_size": 32,
            "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "head_dim": 8, "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 1000000.0,
            "sliding_window": null, "tie_word_embeddings": false}),
        )
    }
}

/// Those that the converter reads with `--mistral-format`.
pub fn native() -> Vec<Tiny> {
    let own = json!({"dim": 32, "n_layers": 2, "head_dim": 8, "hidden_dim": 48, "n_heads": 4, "n_kv_heads": 2,
        "norm_eps": 1e-5, "rope_theta": 1000000.0, "max_position_embeddings": 512});
    let tempered = super::laid_over(
        own.clone(),
        &json!({"llama_4_scaling": {"original_max_position_embeddings": 256, "beta": 0.1}, "yarn":
        {"original_max_position_embeddings": 256, "factor": 2, "apply_scale": false, "beta": 32, "alpha": 1}}),
    );
    let tiny = |name, config| Tiny { words: Words::Tekken("v7"), is_native: true, ..Tiny::new(name, config) };
    vec![tiny("Mistral-Small-Native", own), tiny("Ministral-3-Native", tempered)]
}
