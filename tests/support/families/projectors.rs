//! Checkpoints of models that see or hear, without the weights of their text models.

use super::{Draft, Dtype, Tiny, Value, json};

/// How images are prepared, for those who do not say it otherwise.
const PREPARED: &str = r#"{"image_mean": [0.5, 0.25, 0.125], "image_std": [0.5, 0.5, 0.75]}"#;

const LINES: &str =
    r#"{"added_tokens_decoder": {"10": {"content": "[IMG]"}, "12": {"content": "[IMG_BREAK]"}}}"#;

pub(super) fn sees(name: &'static str, config: Value) -> Tiny {
    Tiny { projector: true, files: &[("preprocessor_config.json", PREPARED)], ..Tiny::new(name, config) }
}

pub(super) fn hears(name: &'static str, config: Value) -> Tiny {
    Tiny { projector: true, ..Tiny::new(name, config) }
}

/// A tower of this sort, with what else is told of it.
pub(super) fn tower(own: Value) -> Value {
    super::laid_over(
        json!({"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
        "image_size": 64, "patch_size": 16}),
        &own,
    )
}

pub(super) fn text(model_type: &str) -> Value {
    json!({"model_type": model_type, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16})
}

pub(super) fn model(class: &str, model_type: &str, vision: Value, text_type: &str, own: Value) -> Value {
    let base = json!({"architectures": [class], "model_type": model_type, "vision_config": vision,
        "text_config": text(text_type)});
    super::laid_over(base, &own)
}

/// A tower of Qwen's sort.
pub(super) fn merging(own: Value) -> Value {
    let base = json!({"depth": 4, "hidden_size": 64, "out_hidden_size": 32, "intermediate_size": 96, "num_heads": 4,
        "patch_size": 14});
    super::laid_over(base, &own)
}

pub fn all() -> Vec<Tiny> {
    [
        sighted(),
        squares(),
        hearing(),
        super::newer_projectors::all(),
        super::conformers::all(),
        super::speaking::beside(),
    ]
    .concat()
}

fn sighted() -> Vec<Tiny> {
    vec![
        sees(
            "gemma-3-4m-it",
            model(
                "Gemma3ForConditionalGeneration",
                "gemma3",
                tower(json!({"model_type": "siglip_vision_model"})),
                "gemma3_text",
                json!({"mm_tokens_per_image": 4}),
            ),
        ),
        Tiny {
            files: &[("preprocessor_config.json", PREPARED), ("tokenizer_config.json", LINES)],
            dtype: Dtype::F16,
            ..sees(
                "pixtral-12m",
                model(
                    "LlavaForConditionalGeneration",
                    "llava",
                    tower(json!({"model_type": "pixtral", "head_dim": 16, "hidden_act": "silu"})),
                    "mistral",
                    json!({"multimodal_projector_bias": true}),
                ),
            )
        },
        Tiny {
            files: &[("preprocessor_config.json", PREPARED), ("tokenizer_config.json", LINES)],
            draft: Draft { optional: true, ..Draft::default() },
            ..sees(
                "Mistral-Small-3.1-24M-Instruct-2503",
                model(
                    "Mistral3ForConditionalGeneration",
                    "mistral3",
                    tower(json!({"model_type": "pixtral", "head_dim": 16, "hidden_act": "gelu"})),
                    "mistral",
                    json!({"multimodal_projector_bias": false, "spatial_merge_size": 2}),
                ),
            )
        },
        sees(
            "SmolVLM-256K-Instruct",
            model(
                "SmolVLMForConditionalGeneration",
                "smolvlm",
                tower(json!({})),
                "llama",
                json!({"scale_factor": 4}),
            ),
        ),
        sees(
            "InternVL3-2M",
            json!({"architectures": ["InternVLChatModel"], "model_type": "internvl_chat", "downsample_ratio": 0.5,
            "min_dynamic_patch": 1, "max_dynamic_patch": 12, "llm_config": text("qwen2"),
            "vision_config": tower(json!({"architectures": ["InternVisionModel"], "model_type": "intern_vit_6b",
                "hidden_act": "gelu", "layer_norm_eps": 1e-6}))}),
        ),
        sees(
            "LFM2-VL-450K",
            model(
                "Lfm2VlForConditionalGeneration",
                "lfm2_vl",
                tower(json!({"num_patches": 16})),
                "lfm2",
                json!({"projector_hidden_size": 40}),
            ),
        ),
        Tiny {
            draft: Draft { optional: true, ..Draft::default() },
            ..sees(
                "gemma-4-E2M-it",
                model(
                    "Gemma4ForConditionalGeneration",
                    "gemma4",
                    json!({"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
                    "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 16, "patch_size": 16,
                    "position_embedding_size": 32, "standardize": true, "model_type": "gemma4_vision"}),
                    "gemma4_text",
                    json!({"audio_config": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
                    "subsampling_conv_channels": [16, 8], "output_proj_dims": 48, "model_type": "gemma4_audio"}}),
                ),
            )
        },
    ]
}

/// Those that gather squares of patches in a way of their own.
fn squares() -> Vec<Tiny> {
    vec![
        sees(
            "Qwen2-VL-2M-Instruct",
            model(
                "Qwen2VLForConditionalGeneration",
                "qwen2_vl",
                json!({"depth": 3, "embed_dim": 64, "hidden_size": 32, "mlp_ratio": 2, "num_heads": 4, "patch_size": 14}),
                "qwen2_vl_text",
                json!({"rms_norm_eps": 1e-6}),
            ),
        ),
        sees(
            "Qwen2.5-VL-3M-Instruct",
            model(
                "Qwen2_5_VLForConditionalGeneration",
                "qwen2_5_vl",
                merging(json!({"fullatt_block_indexes": [1, 3]})),
                "qwen2_5_vl_text",
                json!({}),
            ),
        ),
        sees(
            "Qwen3-VL-4M-Instruct",
            model(
                "Qwen3VLForConditionalGeneration",
                "qwen3_vl",
                merging(json!({"num_position_embeddings": 16, "deepstack_visual_indexes": [1, 0]})),
                "qwen3_vl_text",
                json!({}),
            ),
        ),
        sees(
            "Qwen3.5-9M",
            model(
                "Qwen3_5ForConditionalGeneration",
                "qwen3_5",
                merging(json!({"num_position_embeddings": 16, "deepstack_visual_indexes": []})),
                "qwen3_5_text",
                json!({}),
            ),
        ),
        sees(
            "GLM-4.1V-9M-Thinking",
            model(
                "Glm4vForConditionalGeneration",
                "glm4v",
                merging(json!({"image_size": 56, "out_hidden_size": 32})),
                "glm4v_text",
                json!({}),
            ),
        ),
    ]
}

fn hearing() -> Vec<Tiny> {
    let whisper = json!({"d_model": 64, "encoder_layers": 3, "encoder_attention_heads": 4, "encoder_ffn_dim": 96,
        "num_mel_bins": 16, "max_source_positions": 20, "model_type": "qwen2_audio_encoder"});
    let encoder = json!({"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
        "intermediate_size": 256, "num_mel_bins": 16, "max_source_positions": 20, "model_type": "voxtral_encoder"});
    vec![
        hears(
            "Qwen2-Audio-7M-Instruct",
            json!({"architectures": ["Qwen2AudioForConditionalGeneration"], "model_type": "qwen2_audio",
            "audio_config": whisper, "text_config": text("qwen2")}),
        ),
        hears(
            "Voxtral-Mini-3M-2507",
            json!({"architectures": ["VoxtralForConditionalGeneration"], "model_type": "voxtral",
            "audio_config": encoder, "text_config": text("llama"), "hidden_size": 32}),
        ),
    ]
}
