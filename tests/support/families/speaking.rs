//! Checkpoints of what speaks: talkers, and what hears a voice and makes sound beside them.

use super::projectors::hears;
use super::{Draft, Dtype, Kind, Tiny, Value, Words, json};

pub fn talkers() -> Vec<Tiny> {
    vec![
        Tiny { words: Words::Whole("gpt-2"), more: TALKS, ..Tiny::new("Qwen3-TTS-Tiny", qwen()) },
        Tiny { more: POCKET, ..pocket("Pocket-TTS-Tiny") },
        // A model that nothing tells that a voice begins, in f16.
        Tiny { more: &POCKET[..5], dtype: Dtype::F16, ..pocket("Pocket-TTS-Tiny-Voiceless") },
    ]
}

/// What is beside them.
pub fn beside() -> Vec<Tiny> {
    vec![
        Tiny {
            folder: Some("speech_tokenizer"),
            more: COUNTS,
            dtype: Dtype::F32,
            draft: Draft { optional: true, ..Draft::default() },
            ..hears("Qwen3-TTS-12Hz-2M-Base", qwen())
        },
        Tiny { projector: true, more: BACKBONE, ..pocket("english") },
    ]
}

fn qwen() -> Value {
    let predictor = json!({"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "rms_norm_eps": 1e-6, "vocab_size": 20, "num_code_groups": 16});
    let talker = json!({"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "hidden_act": "silu", "max_position_embeddings": 512,
        "rms_norm_eps": 1e-6, "rope_theta": 1000000, "text_hidden_size": 24, "text_vocab_size": 50257, "vocab_size": 96,
        "rope_scaling": {"interleaved": true, "mrope_section": [4, 2, 2], "rope_type": "default", "type": "default"},
        "codec_bos_id": 73, "codec_eos_token_id": 72, "codec_pad_id": 70, "codec_think_id": 74,
        "codec_language_id": {"chinese": 65, "english": 66}, "spk_id": {"vivian": 80},
        "spk_is_dialect": {"vivian": false}, "code_predictor_config": predictor});
    let decoder = json!({"latent_dim": 32, "codebook_dim": 16, "codebook_size": 24, "decoder_dim": 64, "hidden_size": 48,
        "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 8,
        "num_hidden_layers": 2, "num_quantizers": 16, "upsample_rates": [8, 5, 4, 3], "upsampling_ratios": [2, 2]});
    json!({"architectures": ["Qwen3TTSForConditionalGeneration"], "model_type": "qwen3_tts",
        "tts_model_type": "base", "talker_config": talker, "speech_tokenizer": {"decoder_config": decoder},
        "speaker_encoder_config": {"enc_dim": 32, "enc_channels": [64, 64, 64, 64, 96], "enc_se_channels": 16,
        "enc_attention_channels": 24, "mel_dim": 16, "sample_rate": 24000}})
}

const TALKS: &[(&str, &[u64])] = &[
    ("talker.model.codec_embedding.weight", &[96, 32]),
    ("talker.model.text_embedding.weight", &[50257, 24]),
    ("talker.text_projection.linear_fc1.weight", &[24, 24]),
    ("talker.text_projection.linear_fc1.bias", &[24]),
    ("talker.text_projection.linear_fc2.weight", &[32, 24]),
    ("talker.text_projection.linear_fc2.bias", &[32]),
    ("talker.code_predictor.model.norm.weight", &[64]),
    ("speaker_encoder.fc.bias", &[32]),
];

/// How often each code was near, of all books.
macro_rules! counts {
    ($($book:literal),*) => {
        &[
            ("speech_tokenizer.decoder.quantizer.rvq_first.vq.layers.0._codebook.cluster_usage", &[24]),
            ("speech_tokenizer.encoder.layers.0.weight", &[8, 8]),
            ("talker.codec_head.weight", &[96, 32]),
            $((
                concat!("speech_tokenizer.decoder.quantizer.rvq_rest.vq.layers.", $book, "._codebook.cluster_usage"),
                &[24],
            ),)*
        ]
    };
}

const COUNTS: &[(&str, &[u64])] =
    counts!("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14");

/// The config is what its tensors tell; nothing of it is written.
fn pocket(name: &'static str) -> Tiny {
    Tiny {
        words: Words::Encoder(Kind::Pocket),
        ..Tiny::new(
            name,
            json!({"architectures": ["PocketTTSModel"], "model_type": "pockettts", "hidden_size": 128,
                "num_hidden_layers": 2, "intermediate_size": 96, "num_attention_heads": 2, "vocab_size": 93,
                "audio_config": {"num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 96,
                    "num_attention_heads": 1},
                "seanet": {"filters": 8, "width": 64, "first": 7, "between": 3, "last": 3, "down1": 8, "down2": 10,
                    "down3": 12, "down": 32, "up": 32},
                "flow": {"latent": 32, "voice": 64, "width": 48, "times": 2, "waves": 16, "timed": 32, "blocks": 2}}),
        )
    }
}

/// What tells the sizes of a text model.
const POCKET: &[(&str, &[u64])] = &[
    ("flow_lm.conditioner.embed.weight", &[93, 128]),
    ("flow_lm.bos_emb", &[32]),
    ("flow_lm.input_linear.weight", &[128, 32]),
    ("mimi.encoder_transformer.transformer.layers.0.norm1.weight", &[64]),
    ("mimi.encoder_transformer.transformer.layers.0.linear1.weight", &[96, 64]),
    ("flow_lm.bos_before_voice", &[1, 1, 128]),
];

const BACKBONE: &[(&str, &[u64])] = &[
    ("flow_lm.conditioner.embed.weight", &[93, 128]),
    ("flow_lm.bos_emb", &[32]),
    ("flow_lm.bos_before_voice", &[1, 1, 128]),
    ("flow_lm.transformer.layers.0.norm1.weight", &[128]),
    ("flow_lm.transformer.layers.0.linear1.weight", &[96, 128]),
];
