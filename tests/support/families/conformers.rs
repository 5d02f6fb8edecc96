//! Checkpoints of what hears by a conformer, and of what sees whose tensors are computed from several.

use super::projectors::{hears, model, sees, text, tower};
use super::{Draft, Tiny, Value, json};

pub fn all() -> Vec<Tiny> {
    let mut all = granites();
    all.extend([lfm(), muse(), dots(), radio(), parakeet(), mimo()]);
    all
}

/// What norms of batches hold beside their weight and bias.
macro_rules! batches {
    ($before:literal, $n:literal: $($layer:literal),*) => {
        &[$(
            (concat!($before, $layer, ".conv.batch_norm.running_mean"), &[$n]),
            (concat!($before, $layer, ".conv.batch_norm.running_var"), &[$n]),
        )*]
    };
}

/// How many batches there were.
macro_rules! counted {
    ($before:literal: $($layer:literal),*) => {
        &[$((concat!($before, $layer, ".conv.batch_norm.num_batches_tracked"), &[5])),*]
    };
}

fn granites() -> Vec<Tiny> {
    let config = |class: &str, kind: &str, more: Value, wide: u64| {
        let encoder = super::laid_over(
            json!({"input_dim": 16, "num_layers": 2, "hidden_dim": 64, "feedforward_mult": 2, "num_heads": 4,
            "dim_head": 16, "output_dim": 20, "context_size": 8, "max_pos_emb": 12, "conv_kernel_size": 5,
            "conv_expansion_factor": 2}),
            &more,
        );
        json!({"architectures": [class], "model_type": kind, "encoder_config": encoder, "text_config": text("granite"),
            "projector_config": {"model_type": "blip_2_qformer", "hidden_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "intermediate_size": 96, "encoder_hidden_size": wide,
            "cross_attention_frequency": 1}, "window_size": 6, "downsample_rate": 3})
    };
    let tiny = |name, config| Tiny {
        more: batches!("encoder.layers.", 128: "0", "1"),
        whole: counted!("encoder.layers.": "0", "1"),
        ..hears(name, config)
    };
    let vision = model(
        "Granite4VisionForConditionalGeneration",
        "granite4_vision",
        tower(json!({"model_type": "siglip_vision_model", "layer_norm_eps": 1e-6, "num_hidden_layers": 6})),
        "granite4_vision_text",
        json!({"deepstack_layer_map": [[-1, 8], [-3, 0], [1, 16]], "spatial_target_layers": [4, 12],
            "spatial_vision_layer": -2, "downsample_rate": "2/4", "image_grid_pinpoints": [[64, 64], [64, 128]],
            "qformer_config": {"intermediate_size": 80, "hidden_size": 64, "num_attention_heads": 4,
            "encoder_hidden_size": 64}}),
    );
    vec![
        tiny(
            "granite-speech-3.3-2m",
            config("GraniteSpeechForConditionalGeneration", "granite_speech", json!({}), 64),
        ),
        tiny(
            "granite-speech-4.1-2m-plus",
            config(
                "GraniteSpeechPlusForConditionalGeneration",
                "granite_speech_plus",
                json!({"cat_hidden_layers": [1]}),
                128,
            ),
        ),
        Tiny {
            respelled: &[
                ("projectors.0.", "model.layerwise_projectors.0."),
                ("projectors.1.", "model.spatial_projectors.0."),
                ("projectors.2.", "model.layerwise_projectors.1."),
                ("projectors.3.", "model.spatial_projectors.1."),
                ("projectors.4.", "model.layerwise_projectors.2."),
            ],
            draft: Draft { optional: true, ..Draft::default() },
            ..sees("granite-4.0-3m-vision", vision)
        },
    ]
}

fn lfm() -> Tiny {
    Tiny {
        more: batches!("conformer.layers.", 64: "0", "1", "2", "3", "4", "5", "6"),
        whole: counted!("conformer.layers.": "0", "1", "2", "3", "4", "5", "6"),
        draft: Draft { optional: true, ..Draft::default() },
        ..hears(
            "LFM2-Audio-1.5M",
            json!({"architectures": ["Lfm2AudioForConditionalGeneration"], "lfm": text("lfm2"),
            "encoder": {"feat_in": 16, "d_model": 64, "n_layers": 7, "n_heads": 4, "ff_expansion_factor": 2,
                "subsampling_conv_channels": 8, "conv_kernel_size": 5}}),
        )
    }
}

fn muse() -> Tiny {
    Tiny {
        more: &[("model.vision_tower.patch_embedder.patch_embedding.weight", &[64, 384])],
        ..sees(
            "Muse-Glimmer-30M",
            model(
                "MuseGlimmerForConditionalGeneration",
                "muse_glimmer",
                json!({"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
                    "patch_size": 8, "pos_emb_height": 4, "pos_emb_width": 4, "patch_temporal": 2, "merge_size": 2,
                    "layer_norm_eps": 1e-5}),
                "muse_glimmer_text",
                json!({"projector_hidden_size": 48, "out_hidden_size": 256}),
            ),
        )
    }
}

const NESTED: &str = r#"{"vision_config": {"image_mean": [0.5, 0.25, 0.125], "image_std": [0.5, 0.5, 0.75],
    "min_pixels": 3136, "max_pixels": 12845056}}"#;

fn dots() -> Tiny {
    Tiny {
        files: &[("preprocessor_config.json", NESTED)],
        draft: Draft { optional: true, ..Draft::default() },
        ..sees(
            "dots3-note-Vision",
            json!({"architectures": ["Dots3NoteForCausalLM"], "hidden_size": 32,
            "vision_config": {"embed_dim": 64, "hidden_size": 32, "intermediate_size": 96, "moe_intermediate_size": 48,
                "num_hidden_layers": 4, "num_attention_heads": 4, "patch_size": 14, "num_channels": 3,
                "pyramid_num_routed": [-1, 0, 2, 4], "adapter_type": "patch_merger", "pre_pixel_shuffle": true,
                "router_scoring_func": "sigmoid", "router_scale": 1.0, "temporal_patch_size": 1, "use_bias": false,
                "use_qk_norm": true, "spatial_merge_size": 2, "capacity_factor": 2, "rms_norm_eps": 1e-5},
            "audio_config": {"use_conv2d_stem": true, "use_rope": true, "use_rms_norm": true, "use_causal": false,
                "merge_factor": 1, "chunk_seconds": 60, "downsample_hidden_size": 8,
                "rope_parameters": {"partial_rotary_factor": 0.5, "rope_theta": 10000.0},
                "whisper_config": {"d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 4,
                    "encoder_ffn_dim": 96, "num_mel_bins": 16, "activation_function": "swiglu"}}}),
        )
    }
}

const COUNTED: &[(&str, &[i64])] = &[
    ("sound_encoder.encoder.layers.0.conv.norm.num_batches_tracked", &[5]),
    ("sound_encoder.encoder.layers.1.conv.norm.num_batches_tracked", &[5]),
];

fn parakeet() -> Tiny {
    let seeing = radio();
    let sound = json!({"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_mel_bins": 16, "subsampling_factor": 8, "subsampling_conv_channels": 8, "conv_kernel_size": 5,
        "projection_hidden_size": 80, "model_type": "parakeet"});
    // The converter counts layers of what hears by those of what sees: the convolutions up to the sixth are found so.
    let deeper = json!({"patch_size": 8, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 7,
        "num_attention_heads": 4});
    Tiny {
        name: "Nemotron-Nano-12M-Omni",
        whole: COUNTED,
        draft: Draft { optional: true, ..Draft::default() },
        config: super::laid_over(
            seeing.config.clone(),
            &json!({"sound_config": sound, "vision_config": deeper}),
        ),
        ..seeing
    }
}

fn radio() -> Tiny {
    Tiny {
        more: &[("vision_model.radio_model.model.patch_generator.pos_embed", &[1, 169, 64])],
        ..sees(
            "Nemotron-Nano-12M-v2-VL",
            json!({"architectures": ["NemotronH_Nano_VL_V2"], "force_image_size": 72, "downsample_ratio": 0.5,
            "projector_hidden_size": 48, "llm_config": text("nemotron_h"),
            "vision_config": {"patch_size": 8, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4,
                "num_attention_heads": 4}}),
        )
    }
}

const PIXELS: &str = r#"{"image_mean": [0.5, 0.25, 0.125], "image_std": [0.5, 0.5, 0.75], "min_pixels": 3136,
    "max_pixels": 12845056}"#;

/// Codebooks of different lengths, and sizes that no config tells.
const CODES: &[(&str, &[u64])] = &[
    ("audio_tokenizer.encoder.quantizer.vq.layers.0._codebook.embed", &[24, 64]),
    ("audio_tokenizer.encoder.quantizer.vq.layers.0._codebook.cluster_size", &[24]),
    ("audio_tokenizer.encoder.quantizer.vq.layers.1._codebook.embed", &[8, 64]),
    ("audio_tokenizer.encoder.quantizer.vq.layers.2._codebook.embed", &[16, 64]),
    ("audio_tokenizer.decoder.conv1.weight", &[8, 64]),
    ("speech_embeddings.0.weight", &[25, 32]),
    ("speech_embeddings.1.weight", &[25, 32]),
    ("speech_embeddings.2.weight", &[25, 32]),
    ("audio_encoder.input_local_transformer.layers.0.self_attn.q_proj.weight", &[64, 32]),
    ("audio_encoder.input_local_transformer.layers.0.self_attn.k_proj.weight", &[16, 32]),
    ("audio_encoder.input_local_transformer.layers.0.self_attn.v_proj.weight", &[16, 32]),
    ("audio_encoder.input_local_transformer.layers.0.self_attn.o_proj.weight", &[32, 64]),
    ("audio_encoder.input_local_transformer.layers.0.mlp.gate_proj.weight", &[96, 32]),
    ("audio_encoder.input_local_transformer.layers.0.mlp.up_proj.weight", &[96, 32]),
    ("audio_encoder.input_local_transformer.layers.0.mlp.down_proj.weight", &[32, 96]),
    ("audio_encoder.input_local_transformer.layers.0.input_layernorm.weight", &[32]),
    ("audio_encoder.input_local_transformer.layers.0.post_attention_layernorm.weight", &[32]),
    ("audio_encoder.input_local_transformer.norm.weight", &[32]),
    ("audio_encoder.projection.mlp.0.weight", &[48, 128]),
    ("audio_encoder.projection.mlp.2.weight", &[32, 48]),
];

fn mimo() -> Tiny {
    let vision = json!({"depth": 3, "hidden_size": 64, "intermediate_size": 96, "num_heads": 4, "num_key_value_heads": 2,
        "qk_channels": 16, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2, "use_sink": true,
        "visual_token_window_size": 64, "fullatt_block_indexes": [1], "vit_window_attn_types": [0, -1, 1]});
    let hearing = json!({"d_model": 64, "encoder_layers": 4, "encoder_attention_heads": 4, "encoder_ffn_dim": 96,
        "n_mels": 16, "kernel_size": 3, "avg_pooler": 2, "hybrid_attention": true, "swa_per_block": 2,
        "encoder_attn_window_size": [128, 0], "num_quantizers": 3});
    Tiny {
        files: &[("preprocessor_config.json", PIXELS)],
        folder: Some("audio_tokenizer"),
        more: CODES,
        ..sees(
            "MiMo-V2.5-Sees",
            super::laid_over(
                text("mimo_v2"),
                &json!({"architectures": ["MiMoV2ForCausalLM"], "vision_config": vision, "audio_tokenizer": hearing,
                "audio_config": {"audio_channels": 3, "input_local_layers": 1, "group_size": 4}}),
            ),
        )
    }
}
