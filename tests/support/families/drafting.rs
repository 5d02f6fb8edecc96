//! Drafts, each beside its target: EAGLE3, DFlash, DSpark. Their tokenizers are their targets'.

use super::{Draft, Tiny, Words, json, laid_over};
use serde_json::Value;

pub fn all() -> Vec<Tiny> {
    [eagles(), flashes(), sparks(), vec![muse(), super::blocks::draft()]].concat()
}

fn muse() -> Tiny {
    Tiny {
        more: &[("encoder.fc.weight", &[64, 96])],
        words: Words::Whole("gpt-2"),
        ..draft(
            "Muse-Glimmer-Tiny-assistant",
            "Muse-Glimmer-Tiny",
            json!({"architectures": ["MuseGlimmerAssistantModel"], "model_type": "muse_glimmer_assistant", "block_size": 8,
            "head_dim": 16, "hidden_act": "silu", "hidden_size": 64, "intermediate_size": 96, "layer_types":
            ["sliding_attention", "sliding_attention"], "mask_token_id": 9, "max_position_embeddings": 1024,
            "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-05,
            "rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"}, "sliding_window": 128,
            "target_layer_ids": [1, 2, 3]}),
        )
    }
}

/// The sizes of a Qwen 3 that these have.
fn sized(config: Value) -> Value {
    laid_over(
        json!({"attention_bias": false, "head_dim": 16, "hidden_act": "silu", "hidden_size": 32, "intermediate_size": 48,
        "max_position_embeddings": 512, "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0, "tie_word_embeddings": false, "torch_dtype": "bfloat16"}),
        &config,
    )
}

fn draft(name: &'static str, target: &'static str, config: Value) -> Tiny {
    Tiny { target: Some(target), ..Tiny::new(name, config) }
}

fn eagles() -> Vec<Tiny> {
    const TABLES: &[(&str, &[u64])] =
        &[("d2t", &[128]), ("t2d", &[288]), ("fc.weight", &[32, 96]), ("lm_head.weight", &[128, 32])];
    let layer = |config: Value| laid_over(sized(json!({"num_hidden_layers": 1})), &config);
    vec![
        Tiny {
            more: TABLES,
            respelled: &[("model.layers.0.", "midlayer.")],
            ..draft(
                "EAGLE3-LLaMA3.1-Tiny",
                "Qwen2-Tiny",
                layer(
                    json!({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "draft_vocab_size": 128,
                "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 128}}),
                ),
            )
        },
        Tiny {
            more: TABLES,
            draft: Draft { optional: true, ..Draft::default() },
            respelled: &[("model.layers.0.", "layers.0.")],
            ..draft(
                "Qwen3-Tiny-speculator.eagle3",
                "Qwen3-Tiny",
                json!({"architectures": ["Eagle3Speculator"], "draft_vocab_size": 128, "norm_before_residual": true,
                "speculators_model_type": "eagle3", "target_hidden_size": null, "tie_word_embeddings": false,
                "transformer_layer_config": layer(json!({"model_type": "llama", "vocab_size": 288, "rope_scaling": null}))}),
            )
        },
        Tiny {
            more: &[
                ("d2t", &[128]),
                ("t2d", &[288]),
                ("fc.weight", &[32, 120]),
                ("input_norm.weight", &[120]),
                ("lm_head.weight", &[128, 32]),
            ],
            respelled: &[("model.layers.0.", "midlayer.")],
            ..draft(
                "Eagle3-v3-Tiny",
                "Qwen3-Tiny",
                layer(
                    json!({"architectures": ["LlamaForCausalLMEagle3"], "model_type": "llama", "draft_vocab_size": 128,
                "eagle_aux_hidden_state_layer_ids": [1, 2, 4], "norm_before_fc": true, "target_hidden_size": 40}),
                ),
            )
        },
    ]
}

fn flash(config: Value) -> Value {
    sized(laid_over(
        json!({"architectures": ["DFlashDraftModel"], "model_type": "qwen3", "block_size": 16, "num_hidden_layers": 2,
        "layer_types": ["full_attention", "full_attention"], "num_target_layers": 18, "use_sliding_window": false}),
        &config,
    ))
}

fn named() -> Value {
    json!({"mask_token_id": 7, "target_layer_ids": [1, 8, 15]})
}

fn flashes() -> Vec<Tiny> {
    let selecting = json!({"mask_token_id": 7, "target_layer_ids": [1, 8, 15], "block_size": 8, "conv_kernel_size": 3,
        "conv_group_size": 8, "selector_rank": 8, "selector_top_k": 4, "output_multiplier": 0.5,
        "final_logit_softcapping": 30.0, "input_embedding_scale": 2.0, "attention_value_scale": 0.5, "causal": true});
    vec![
        draft("Qwen3-Tiny-DFlash", "Qwen3-Tiny", flash(json!({"dflash_config": named()}))),
        Tiny {
            draft: Draft { optional: true, ..Draft::default() },
            words: Words::Whole("gpt-2"),
            ..draft(
                "Qwen3.5-Tiny-DFlash-2",
                "Qwen3.5-Predicting",
                flash(json!({"architectures": ["DFlash2DraftModel"], "dflash_config": selecting,
                "layer_types": ["sliding_attention", "full_attention"], "use_sliding_window": true,
                "sliding_window": 256})),
            )
        },
    ]
}

fn sparks() -> Vec<Tiny> {
    const MARKOV: &[(&str, &[u64])] =
        &[("markov_head.markov_w1.weight", &[288, 8]), ("markov_head.markov_w2.weight", &[288, 8])];
    const HEADS: &[(&str, &[u64])] = &[
        ("markov_head.markov_w1.weight", &[288, 8]),
        ("markov_head.markov_w2.weight", &[288, 8]),
        ("confidence_head.proj.weight", &[1, 40]),
        ("confidence_head.proj.bias", &[1]),
    ];
    vec![
        Tiny {
            more: HEADS,
            ..draft(
                "Qwen3-Tiny-DSpark",
                "Qwen3-Tiny",
                flash(json!({"architectures": ["Qwen3DSparkModel"], "mask_token_id": 7,
                "markov_head_type": "vanilla", "target_layer_ids": [1, 8, 15]})),
            )
        },
        Tiny {
            more: &[
                ("d2t", &[128]),
                ("t2d", &[288]),
                ("markov_head.markov_w1.weight", &[288, 8]),
                ("markov_head.markov_w2.weight", &[128, 8]),
            ],
            ..draft(
                "Qwen3-Tiny-speculator.dspark",
                "Qwen3-Tiny",
                json!({"architectures": ["DSparkSpeculator"], "aux_hidden_state_layer_ids": [2, 9, 16], "block_size": 8,
                "draft_vocab_size": 128, "mask_token_id": 7, "speculators_model_type": "dspark",
                "transformer_layer_config": sized(json!({"model_type": "qwen3", "num_hidden_layers": 2, "vocab_size": 288}))}),
            )
        },
        Tiny {
            more: MARKOV,
            ..draft(
                "Ling-Tiny-DSpark",
                "Qwen3-Tiny",
                flash(
                    json!({"architectures": ["LingDSparkModel"], "rope_is_neox_style": false, "dflash_config": named(), "block_size": 4,
                "sample_from_anchor": false}),
                ),
            )
        },
    ]
}
