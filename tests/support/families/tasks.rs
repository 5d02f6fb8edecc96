//! Encoders with adapters within their weights, one a task.

use super::{Dtype, Kind, Tiny, Words, json};

/// The tasks of jina-embeddings-v3 that the checkpoint here has.
pub const TASKS: [&str; 2] = ["retrieval.query", "text-matching"];

/// The factors of a weight for the two tasks: A of `[rank, in]`, B of `[out, rank]`; of a table `[rows, rank]` and `[rank, n]`.
macro_rules! factors {
    ($($name:literal: [$($a:literal),+], [$($b:literal),+]);* $(;)?) => {
        &[$(
            (concat!("roberta.", $name, ".parametrizations.weight.0.lora_A"), &[2, $($a),+]),
            (concat!("roberta.", $name, ".parametrizations.weight.0.lora_B"), &[2, $($b),+]),
        )*
            ("roberta.pooler.dense.parametrizations.weight.original", &[64, 64]),
            ("roberta.pooler.dense.bias", &[64]),
        ]
    };
}

const FACTORS: &[(&str, &[u64])] = factors!(
    "embeddings.word_embeddings": [94, 4], [4, 64];
    "embeddings.token_type_embeddings": [1, 4], [4, 64];
    "encoder.layers.0.mixer.Wqkv": [4, 64], [192, 4];
    "encoder.layers.0.mixer.out_proj": [4, 64], [64, 4];
    "encoder.layers.0.mlp.fc1": [4, 64], [96, 4];
    "encoder.layers.0.mlp.fc2": [4, 96], [64, 4];
    "encoder.layers.1.mixer.Wqkv": [4, 64], [192, 4];
    "encoder.layers.1.mixer.out_proj": [4, 64], [64, 4];
    "encoder.layers.1.mlp.fc1": [4, 64], [96, 4];
    "encoder.layers.1.mlp.fc2": [4, 96], [64, 4];
    "pooler.dense": [4, 64], [64, 4];
);

pub fn all() -> Vec<Tiny> {
    vec![Tiny {
        words: Words::Encoder(Kind::Xlm),
        dtype: Dtype::BF16,
        respelled: &[
            ("*embeddings.weight", "embeddings.parametrizations.weight.original"),
            ("*Wqkv.weight", "Wqkv.parametrizations.weight.original"),
            ("*out_proj.weight", "out_proj.parametrizations.weight.original"),
            ("*fc1.weight", "fc1.parametrizations.weight.original"),
            ("*fc2.weight", "fc2.parametrizations.weight.original"),
        ],
        more: FACTORS,
        ..Tiny::new(
            "jina-embeddings-v3-Tiny",
            json!({"architectures": ["XLMRobertaModel"], "attention_probs_dropout_prob": 0.1, "bos_token_id": 0,
            "emb_pooler": null, "eos_token_id": 2, "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
            "hidden_size": 64, "intermediate_size": 96, "layer_norm_eps": 1e-05, "load_trained_adapters": true,
            "lora_adaptations": TASKS, "lora_alpha": 1, "lora_dropout_p": 0.0,
            "lora_main_params_trainable": false, "lora_rank": 4, "max_position_embeddings": 8194,
            "model_type": "xlm-roberta", "num_attention_heads": 4, "num_hidden_layers": 2, "pad_token_id": 1,
            "position_embedding_type": "rotary", "rotary_emb_base": 20000.0, "task_instructions": {
                "retrieval.query": "Represent the query for retrieving evidence documents: ", "text-matching": ""},
            "type_vocab_size": 1, "use_cache": false, "use_flash_attn": true, "use_reg_tokens": false}),
        )
    }]
}
