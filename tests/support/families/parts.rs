//! Text models that are parts of what sees or hears.

use super::{Draft, Dtype, Tiny, bytes, json, sized};
use serde_json::Value;

/// The names of a text model inside another: `language_model.model.`, `model.text_model.`.
const LANGUAGE: usize = 2;
const TEXT: usize = 3;

pub fn all() -> Vec<Tiny> {
    vec![
        Tiny {
            draft: Draft { prefix: TEXT, ..Draft::default() },
            more: &[
                ("model.vision_model.post_layernorm.weight", &[16]),
                ("model.connector.modality_projection.proj.weight", &[32, 64]),
            ],
            ..bytes(
                "SmolVLM-Tiny",
                "gpt-2",
                json!({"architectures": ["SmolVLMForConditionalGeneration"], "model_type": "smolvlm", "scale_factor": 2,
                "text_config": sized(json!({"architectures": ["VLlama3ForCausalLM"], "model_type": "llama",
                    "pixel_shuffle_factor": 4, "use_resampler": false, "rope_theta": 273768.0})),
                "tie_word_embeddings": false, "vision_config": {"model_type": "smolvlm_vision", "hidden_size": 16}}),
            )
        },
        muse("Muse-Glimmer-Tiny"),
        cog("CogVLM-Tiny"),
        chameleon("Chameleon-Tiny", Dtype::BF16),
        chameleon("Chameleon-Tiny-Half", Dtype::F16),
        speech("Granite-Speech-Tiny", "granite_speech", "GraniteSpeechForConditionalGeneration", granite()),
        speech(
            "Granite-Speech-Plus-Tiny",
            "granite_speech_plus",
            "GraniteSpeechPlusForConditionalGeneration",
            granite(),
        ),
        reads("DeepSeek-OCR-Tiny", "DeepseekOCRForCausalLM", "deepseek_vl_v2", json!({})),
        reads(
            "Unlimited-OCR-Tiny",
            "UnlimitedOCRForCausalLM",
            "unlimited-ocr",
            json!({"sliding_window_size": 128,
            "first_k_dense_replace": 0, "rms_norm_eps": 1e-5, "norm_topk_prob": true, "routed_scaling_factor": 1.5}),
        ),
    ]
}

fn muse(name: &'static str) -> Tiny {
    Tiny {
        draft: Draft { prefix: 1, ..Draft::default() },
        more: &[
            ("model.vision_adapter.fc1.weight", &[16, 16]),
            ("model.vision_projection.weight", &[64, 16]),
        ],
        ..bytes(
            name,
            "gpt-2",
            json!({"architectures": ["MuseGlimmerForConditionalGeneration"], "model_type": "muse_glimmer",
            "text_config": {"model_type": "muse_glimmer_text", "attention_bias": false, "final_logit_softcapping": 20.0,
                "head_dim": 16, "hidden_activation": "silu", "hidden_size": 64, "intermediate_size": 96, "layer_rope_theta":
                [0, 10000.0, 10000.0, 10000.0, 0], "layer_types": ["full_attention", "sliding_attention",
                "sliding_attention", "sliding_attention", "full_attention"], "max_position_embeddings": 1024,
                "num_attention_heads": 4, "num_hidden_layers": 5, "num_key_value_heads": 2, "output_multiplier": 0.25,
                "post_norm_eps": 1e-08, "qk_scale_factor": 3.87, "rms_norm_eps": 1e-05, "rope_parameters": {"rope_theta":
                10000.0, "rope_type": "default"}, "sliding_window": 128, "tie_word_embeddings": false},
            "vision_config": {"model_type": "muse_glimmer_vision", "hidden_size": 16}}),
        )
    }
}

fn cog(name: &'static str) -> Tiny {
    Tiny {
        more: &[
            ("model.vision.boi", &[1, 1, 32]),
            ("model.vision.linear_proj.linear_proj.weight", &[32, 16]),
        ],
        ..Tiny::new(
            name,
            json!({"architectures": ["CogVLMForCausalLM"], "hidden_act": "silu", "hidden_size": 32,
            "intermediate_size": 48, "max_position_embeddings": 512, "num_attention_heads": 4, "num_hidden_layers": 2,
            "num_key_value_heads": 4, "rms_norm_eps": 1e-5, "template_version": "chat", "tie_word_embeddings": false, "torch_dtype": "bfloat16",
            "vision_config": {"hidden_size": 16, "image_size": 28, "patch_size": 14}}),
        )
    }
}

/// The converter takes the norm of the first head for all, and those of published models are alike.
fn chameleon(name: &'static str, dtype: Dtype) -> Tiny {
    Tiny {
        alike: &["q_norm.weight", "q_norm.bias", "k_norm.weight", "k_norm.bias"],
        more: &[("model.vqmodel.quantize.embedding.weight", &[16, 8])],
        dtype,
        ..bytes(
            name,
            "gpt-2",
            json!({"architectures": ["ChameleonForConditionalGeneration"], "model_type": "chameleon",
            "attention_bias": false, "hidden_act": "silu", "hidden_size": 32, "intermediate_size": 48,
            "max_position_embeddings": 512, "mlp_bias": false, "model_parallel_size": 1, "num_attention_heads": 4,
            "num_hidden_layers": 2, "num_key_value_heads": 4, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
            "swin_norm": dtype == Dtype::F16, "tie_word_embeddings": false,
            "vocabulary_map": {"<image>": 5, "IMGIMGA": 6}, "vq_config": {"base_channels": 32, "embed_dim": 8}}),
        )
    }
}

fn granite() -> Value {
    sized(
        json!({"architectures": ["GraniteForCausalLM"], "model_type": "granite", "attention_multiplier": 0.125,
        "embedding_multiplier": 12.0, "residual_multiplier": 0.22, "logits_scaling": 8.0, "tie_word_embeddings": true}),
    )
}

fn speech(name: &'static str, kind: &str, class: &str, text: Value) -> Tiny {
    Tiny {
        draft: Draft { prefix: LANGUAGE, ..Draft::default() },
        more: &[("encoder.input_linear.weight", &[32, 16]), ("projector.query", &[1, 3, 32])],
        ..bytes(
            name,
            "gpt-2",
            json!({"architectures": [class], "model_type": kind, "audio_token_index": 7, "downsample_rate": 5,
            "has_lora_adapter": false, "window_size": 15, "text_config": text, "tie_word_embeddings": true,
            "encoder_config": {"model_type": format!("{kind}_encoder"), "hidden_dim": 32, "num_heads": 4, "num_layers": 2},
            "projector_config": {"model_type": "blip_2_qformer", "hidden_size": 32, "num_attention_heads": 4,
                "num_hidden_layers": 2}}),
        )
    }
}

fn reads(name: &'static str, class: &str, kind: &str, more: Value) -> Tiny {
    let mut text = json!({"architectures": ["DeepseekV2ForCausalLM"], "bos_token_id": 0, "eos_token_id": 1,
        "first_k_dense_replace": 1, "hidden_size": 32, "intermediate_size": 48, "kv_lora_rank": null, "lm_head": true,
        "max_position_embeddings": 512, "moe_intermediate_size": 32, "n_group": 1, "n_routed_experts": 4,
        "n_shared_experts": 2, "num_attention_heads": 4, "num_experts_per_tok": 2, "num_hidden_layers": 2,
        "num_key_value_heads": 4, "q_lora_rank": null, "qk_nope_head_dim": 0, "qk_rope_head_dim": 0, "rm_head": false,
        "topk_group": 1, "topk_method": "greedy", "torch_dtype": "bfloat16", "use_mla": false, "v_head_dim": 0});
    for (key, value) in more.as_object().unwrap() {
        text[key] = value.clone();
    }
    Tiny {
        more: &[
            ("model.sam_model.neck.0.weight", &[16, 16, 1, 1]),
            ("model.vision_model.pre_layrnorm.weight", &[16]),
            ("model.projector.layers.weight", &[32, 32]),
            ("model.image_newline", &[32]),
            ("model.view_seperator", &[32]),
        ],
        ..bytes(
            name,
            "gpt-2",
            super::laid_over(
                text.clone(),
                &json!({"architectures": [class], "model_type": kind, "language_config": text, "tile_tag": "2D",
                "projector_config": {"input_dim": 32, "model_type": "mlp_projector", "n_embed": 32, "projector_type": "linear"},
                "vision_config": {"image_size": 64, "mlp_ratio": 3.7362, "model_name": "deeplip_b_l", "model_type": "vision"}}),
            ),
        )
    }
}
