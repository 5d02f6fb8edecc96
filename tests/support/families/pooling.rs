//! Models of embeddings with dense modules of sentence-transformers behind them.

use super::Tiny;
use serde_json::json;

/// EmbeddingGemma's, which pools first.
const GEMMA: &str = r#"[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
 {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
 {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
 {"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"},
 {"idx": 4, "name": "4", "path": "4_Normalize", "type": "sentence_transformers.models.Normalize"}]"#;

/// ColBERT keeps the vectors of all tokens.
const COLBERT: &str = r#"[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
 {"idx": 1, "name": "1", "path": "1_Dense", "type": "pylate.models.Dense.Dense"}]"#;

pub fn all() -> Vec<Tiny> {
    vec![
        Tiny {
            modules: &[("2_Dense", [128, 64]), ("3_Dense", [64, 128])],
            files: &[
                ("modules.json", GEMMA),
                (
                    "1_Pooling/config.json",
                    r#"{"word_embedding_dimension": 64, "pooling_mode_mean_tokens": true}"#,
                ),
            ],
            ..Tiny::new(
                "embeddinggemma-Dense-Tiny",
                json!({"architectures": ["Gemma3TextModel"], "model_type": "gemma3_text", "hidden_size": 64,
                "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 1,
                "head_dim": 16, "max_position_embeddings": 256, "rms_norm_eps": 1e-6, "sliding_window": 64,
                "use_bidirectional_attention": true, "query_pre_attn_scalar": 16, "pad_token_id": 0}),
            )
        },
        Tiny {
            modules: &[("1_Dense", [32, 64])],
            files: &[("modules.json", COLBERT)],
            ..super::bytes(
                "LFM2-ColBERT-Dense-Tiny",
                "gpt-2",
                json!({"architectures": ["Lfm2Model"], "model_type": "lfm2", "hidden_size": 64, "intermediate_size": 96,
                "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "norm_eps": 1e-5,
                "conv_L_cache": 3, "conv_bias": false, "block_ff_dim": 96, "block_multiple_of": 32,
                "block_auto_adjust_ff_dim": false, "block_ffn_dim_multiplier": 1.0, "max_position_embeddings": 256,
                "rope_theta": 1000000.0, "layer_types": ["conv", "full_attention"], "tie_word_embeddings": true}),
            )
        },
    ]
}
