//! More checkpoints of models that see or hear: those of Kimi, Qwen Omni, and what came after.

use super::projectors::{hears, merging, model, sees, text, tower};
use super::{Draft, Tiny, Value, json};

const PIXELS: &str = r#"{"image_mean": [0.5, 0.25, 0.125], "image_std": [0.5, 0.5, 0.75], "min_pixels": 3136,
    "max_pixels": 12845056, "patch_size": 14, "merge_size": 2, "min_image_tokens": 64, "max_image_tokens": 4096}"#;
const NESTED: &str = r#"{"media_proc_cfg": {"image_mean": [0.5, 0.25, 0.125], "image_std": [0.5, 0.5, 0.75],
    "in_patch_limit": 4096}}"#;

fn pixels(name: &'static str, config: Value) -> Tiny {
    Tiny { files: &[("preprocessor_config.json", PIXELS)], ..sees(name, config) }
}

/// An encoder of sounds by Whisper's names.
fn whisper(own: Value) -> Value {
    let base = json!({"d_model": 64, "encoder_layers": 4, "encoder_attention_heads": 4, "encoder_ffn_dim": 96,
        "num_mel_bins": 16, "max_source_positions": 20});
    super::laid_over(base, &own)
}

/// A model whose parts that see and hear stand with its text model in a section.
fn thinker(class: &str, model_type: Option<&str>, sections: Value) -> Value {
    match model_type {
        Some(kind) => json!({"architectures": [class], "model_type": kind, "thinker_config": sections}),
        None => json!({"architectures": [class], "thinker_config": sections}),
    }
}

pub fn all() -> Vec<Tiny> {
    [omni(), kimi(), others(), reading(), mobile(), hearing()].concat()
}

fn omni() -> Vec<Tiny> {
    let deep =
        merging(json!({"patch_size": 16, "num_position_embeddings": 16, "deepstack_visual_indexes": [1, 0]}));
    vec![
        Tiny {
            respelled: &[("", "thinker.")],
            ..sees(
                "Qwen2.5-Omni-3M",
                thinker(
                    "Qwen2_5OmniModel",
                    Some("qwen2_5_omni"),
                    json!({"vision_config": merging(json!({"fullatt_block_indexes": [1, 3]})),
                    "audio_config": whisper(json!({"output_dim": 32})), "text_config": text("qwen2_5_omni_text")}),
                ),
            )
        },
        sees(
            "Qwen3-Omni-30M-A3M-Instruct",
            thinker(
                "Qwen3OmniMoeForConditionalGeneration",
                Some("qwen3_omni_moe"),
                json!({"vision_config": deep, "text_config": text("qwen3_omni_moe_text"),
                "audio_config": whisper(json!({"output_dim": 32, "downsample_hidden_size": 8}))}),
            ),
        ),
        Tiny {
            respelled: &[("", "thinker.")],
            draft: Draft { optional: true, ..Draft::default() },
            ..hears(
                "Qwen3-ASR-0.6M",
                thinker(
                    "Qwen3ASRForConditionalGeneration",
                    None,
                    json!({"audio_config": whisper(json!({"output_dim": 32, "downsample_hidden_size": 8})),
                    "text_config": text("qwen3")}),
                ),
            )
        },
    ]
}

fn kimi() -> Vec<Tiny> {
    let moon = json!({"vt_hidden_size": 128, "vt_intermediate_size": 96, "vt_num_hidden_layers": 3,
        "vt_num_attention_heads": 16, "patch_size": 14, "init_pos_emb_height": 64, "init_pos_emb_width": 64,
        "init_pos_emb_time": 4, "merge_kernel_size": [2, 2], "projector_hidden_act": "gelu",
        "projector_ln_eps": 1e-5});
    let nested = |name, config| Tiny { files: &[("preprocessor_config.json", NESTED)], ..sees(name, config) };
    let of = |class: &str, own: Value| {
        super::laid_over(
            json!({"architectures": [class], "vision_config": moon, "text_config": text("deepseek_v3")}),
            &own,
        )
    };
    vec![
        nested("Kimi-K2.5", of("KimiK25ForConditionalGeneration", json!({}))),
        nested("GLM-5.2-Vision", of("Glm5vForConditionalGeneration", json!({}))),
    ]
}

fn others() -> Vec<Tiny> {
    let compressed = json!({"num_attention_heads": 2, "hidden_size": 160,
        "img_token_compression_config": {"spatial_merge_size": 2}});
    vec![
        sees(
            "gemma-4-12M-it",
            model(
                "Gemma4UnifiedForConditionalGeneration",
                "gemma4_unified",
                json!({"patch_size": 8, "pooling_kernel_size": 2, "mm_embed_dim": 64, "mm_posemb_size": 24,
                    "output_proj_dims": 64, "model_type": "gemma4_unified_vision"}),
                "gemma4_unified_text",
                json!({"audio_config": {"audio_embed_dim": 48, "model_type": "gemma4_unified_audio"}}),
            ),
        ),
        pixels(
            "EXAONE-4.5-33M",
            model(
                "Exaone4_5_ForConditionalGeneration",
                "exaone4_5",
                merging(json!({"num_key_value_heads": 2, "fullatt_block_indexes": [1, 3]})),
                "exaone4",
                json!({}),
            ),
        ),
        sees(
            "sarashina2.2-vision-3m",
            json!({"architectures": ["Sarashina2VisionForCausalLM"], "model_type": "sarashina2_vision",
            "vision_config": {"depth": 3, "embed_dim": 64, "hidden_size": 32, "mlp_ratio": 2, "num_heads": 4,
                "patch_size": 14, "model_type": "qwen2_vl"}, "text_config": text("llama"), "rms_norm_eps": 1e-5}),
        ),
        pixels(
            "GLM-5.3-Flash",
            model(
                "Glm5NextForConditionalGeneration",
                "glm5_next",
                merging(
                    json!({"depth": 2, "image_size": 56, "projection_intermediate_size": 80, "hidden_act": "silu",
                        "swiglu_limit": 7.0}),
                ),
                "glm5_next_text",
                json!({}),
            ),
        ),
        Tiny {
            draft: Draft { optional: true, ..Draft::default() },
            ..sees(
                "MiniMax-M3",
                json!({"architectures": ["MiniMaxM3SparseForConditionalGeneration"],
                "vision_config": tower(compressed), "text_config": text("minimax_m3"),
                "projector_hidden_size": 32}),
            )
        },
        Tiny {
            draft: Draft { optional: true, ..Draft::default() },
            ..hears(
                "DeepSeek-V4-Flash-Vision-Exp",
                json!({"architectures": ["DeepseekV4ForCausalLM"], "hidden_size": 32, "vision_n_layers": 3,
                "vision_dim": 64, "vision_n_heads": 4, "vision_inter_dim": 96, "vision_patch_size": 14,
                "vision_downsample_ratio": 3, "vision_min_pixels": 3136, "vision_max_n_token": 384,
                "vision_max_wh_ratio": 8}),
            )
        },
        sees(
            "Ling-3.0-flash-VL",
            json!({"architectures": ["BailingMoeV3VLForConditionalGeneration"],
            "vision_config": merging(json!({"num_position_embeddings": 16, "patch_size": 16,
                "spatial_merge_size": 2, "disable_merger_proj": true, "out_hidden_size": 256})),
            "text_config": text("bailing_moe_v3")}),
        ),
        sees(
            "Step3-VL-10M",
            json!({"architectures": ["StepVLForConditionalGeneration"], "understand_projector_stride": 2,
            "vision_config": {"width": 64, "layers": 3, "heads": 4, "image_size": 64, "patch_size": 16,
                "mlp_ratio": 1.5}, "text_config": text("qwen3"), "hidden_size": 32}),
        ),
        sees(
            "Qwen3.8-Flash-Next",
            model(
                "Qwen4ExpForConditionalGeneration",
                "qwen4_exp",
                merging(json!({"num_position_embeddings": 16})),
                "qwen4_exp_text",
                json!({}),
            ),
        ),
    ]
}

fn hearing() -> Vec<Tiny> {
    vec![
        Tiny {
            draft: Draft { optional: true, ..Draft::default() },
            ..hears(
                "GLM-ASR-Nano-2512",
                json!({"architectures": ["GlmasrModel"], "whisper_config": whisper(json!({})),
                "lm_config": text("llama"), "merge_factor": 4}),
            )
        },
        hears(
            "MERaLiON-2-3M",
            json!({"architectures": ["MERaLiON2ForConditionalGeneration"], "speech_config": whisper(json!({})),
            "text_config": text("gemma2"), "speech_mlp_scale_factor": 3}),
        ),
    ]
}

fn reading() -> Vec<Tiny> {
    let sam = json!({"heads": 2, "layers": 3, "width": 32, "global_attn_indexes": [1],
        "downsample_channels": [48, 40]});
    let clip = json!({"heads": 4, "image_size": 64, "layers": 4, "patch_size": 16, "width": 64});
    let of = |class: &str, vision: Value| {
        json!({"architectures": [class], "vision_config": vision, "language_config": text("deepseek_v2"),
            "hidden_size": 32})
    };
    let clipped = json!({"image_size": 64, "width": {"clip-l-14-224": clip, "sam_vit_b": sam}});
    let queried = json!({"image_size": 64, "layers": 4, "num_attention_heads": 4, "intermediate_size": 96,
        "width": {"qwen2-0-5b": {"dim": 40}, "sam_vit_b": sam}});
    vec![
        sees("DeepSeek-OCR", of("DeepseekOCRForCausalLM", clipped.clone())),
        sees("Unlimited-OCR", of("UnlimitedOCRForCausalLM", clipped)),
        sees("DeepSeek-OCR-2", of("DeepseekOCR2ForCausalLM", queried)),
    ]
}

/// Some blocks of MobileNet V5, of each sort.
const BLOCKS: &[(&str, &[u64])] = &[
    ("model.vision_tower.timm_model.conv_stem.conv.weight", &[16, 3, 3, 3]),
    ("model.vision_tower.timm_model.conv_stem.conv.bias", &[16]),
    ("model.vision_tower.timm_model.conv_stem.bn.weight", &[16]),
    ("model.vision_tower.timm_model.blocks.0.0.conv_exp.weight", &[32, 16, 3, 3]),
    ("model.vision_tower.timm_model.blocks.0.0.bn1.weight", &[32]),
    ("model.vision_tower.timm_model.blocks.0.0.conv_pwl.weight", &[24, 32, 1, 1]),
    ("model.vision_tower.timm_model.blocks.0.0.bn2.weight", &[24]),
    ("model.vision_tower.timm_model.blocks.1.3.dw_start.conv.weight", &[24, 1, 5, 5]),
    ("model.vision_tower.timm_model.blocks.1.3.dw_start.bn.weight", &[24]),
    ("model.vision_tower.timm_model.blocks.1.3.pw_exp.conv.weight", &[48, 24, 1, 1]),
    ("model.vision_tower.timm_model.blocks.1.3.pw_exp.bn.weight", &[48]),
    ("model.vision_tower.timm_model.blocks.1.3.dw_mid.conv.weight", &[48, 1, 3, 3]),
    ("model.vision_tower.timm_model.blocks.1.3.dw_mid.bn.weight", &[48]),
    ("model.vision_tower.timm_model.blocks.1.3.pw_proj.conv.weight", &[24, 48, 1, 1]),
    ("model.vision_tower.timm_model.blocks.1.3.pw_proj.bn.weight", &[24]),
    ("model.vision_tower.timm_model.blocks.1.3.layer_scale.gamma", &[24]),
    ("model.vision_tower.timm_model.blocks.2.10.norm.weight", &[24]),
    ("model.vision_tower.timm_model.blocks.2.10.attn.query.proj.weight", &[32, 24, 1, 1]),
    ("model.vision_tower.timm_model.blocks.2.10.attn.key.proj.weight", &[16, 24, 1, 1]),
    ("model.vision_tower.timm_model.blocks.2.10.attn.key.down_conv.weight", &[24, 1, 3, 3]),
    ("model.vision_tower.timm_model.blocks.2.10.attn.key.norm.weight", &[24]),
    ("model.vision_tower.timm_model.blocks.2.10.attn.value.proj.weight", &[16, 24, 1, 1]),
    ("model.vision_tower.timm_model.blocks.2.10.attn.output.proj.weight", &[24, 32, 1, 1]),
    ("model.vision_tower.timm_model.msfa.ffn.pw_exp.conv.weight", &[48, 24, 1, 1]),
    ("model.vision_tower.timm_model.msfa.ffn.pw_exp.bn.weight", &[48]),
    ("model.vision_tower.timm_model.msfa.ffn.pw_proj.conv.weight", &[64, 48, 1, 1]),
    ("model.vision_tower.timm_model.msfa.ffn.pw_proj.bn.weight", &[64]),
    ("model.vision_tower.timm_model.msfa.norm.weight", &[64]),
    ("model.audio_tower.subsample_conv_projection.input_proj_linear.weight", &[64, 32]),
];

fn mobile() -> Vec<Tiny> {
    vec![Tiny {
        more: BLOCKS,
        ..sees(
            "gemma-3n-E2M-it",
            model(
                "Gemma3nForConditionalGeneration",
                "gemma3n",
                json!({"hidden_size": 64, "vocab_size": 16, "model_type": "gemma3n_vision"}),
                "gemma3n_text",
                json!({"audio_config": {"hidden_size": 64, "vocab_size": 24, "conf_num_hidden_layers": 2,
                    "conf_num_attention_heads": 4, "conf_conv_kernel_size": 5, "input_feat_size": 16,
                    "sscp_conv_channel_size": [16, 8], "model_type": "gemma3n_audio"}}),
            ),
        )
    }]
}
