//! Qwen 3 TTS beside its talker: what hears a voice (ECAPA-TDNN), what predicts the other codes of a sound, and what makes sound of
//! codes (`sounding`), whose weights lie in a folder of their own.
//! Specification: `Qwen3TTSSpeakerEncoderModel` of llama.cpp's converter.

use super::sounding::{
    BIASED, QUANTIZER, SNAKES, SOUND, TRANSFORMER, UNBIASED, WIDENED, convolved, layer, prepared,
};
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, is, positive, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Need, Rule, rule};
use ggraft_formats::{DType, Result};

pub const QWEN3_TTS: Arch = Arch {
    classes: &["Qwen3TTSForConditionalGeneration"],
    gguf: "clip",
    prefixes: &[""],
    folder: Some("speech_tokenizer"),
    keys: KEYS,
    axes: AXES,
    rules: CODES,
    shares: &[HEARING, STAGES, LAYERS, QUANTIZER, SOUND, WIDENED, BIASED, UNBIASED, TRANSFORMER, SNAKES],
    ignored: IGNORED,
    prepared,
    ..NONE
};

/// A key of what predicts codes.
macro_rules! predicted {
    ($key:literal) => {
        concat!("talker_config.code_predictor_config.", $key)
    };
}

/// A key of what makes sound of codes.
macro_rules! sounding {
    ($key:literal) => {
        concat!("speech_tokenizer.decoder_config.", $key)
    };
}

/// The talker, and what makes codes of sound.
const IGNORED: &[&str] = &[
    "talker.model.layers.*",
    "talker.model.norm.*",
    "talker.model.text_embedding.*",
    "talker.text_projection.*",
    "talker.codec_head.*",
    "speech_tokenizer.encoder.*",
];

/// The books of codes beside the first, for every such model the converter knows.
const BOOKS: u64 = 15;

const KEYS: &[Key] = &[
    is("has_audio_encoder", Fixed::Flag(true)),
    is("audio.projector_type", Fixed::Text("qwen3tts_spkenc")),
    size("audio.projection_dim", "text"),
    is("audio.num_mel_bins", Fixed::Count(128)),
    // What the loader asks for; the tower has neither attention nor a feed-forward part.
    is("audio.block_count", Fixed::Count(3)),
    is("audio.embedding_length", Fixed::Count(1536)),
    is("audio.attention.head_count", Fixed::Count(1)),
    is("audio.feed_forward_length", Fixed::Count(1536)),
    is("audio.attention.layer_norm_epsilon", Fixed::Number(1e-5)),
    is("has_gen_audio_encoder", Fixed::Flag(true)),
    is("gen.audio.projector_type", Fixed::Text("qwen3tts_gen")),
    size("gen.audio.projection_dim", "text"),
    size("gen.audio.embedding_length", "n"),
    size("gen.audio.feed_forward_length", "ff"),
    size("gen.audio.block_count", "l"),
    size("gen.audio.attention.head_count", "h"),
    size("gen.audio.attention.head_count_kv", "g"),
    positive("gen.audio.attention.layer_norm_epsilon", &[predicted!("rms_norm_eps")]).must(),
];

const AXES: &[Axis] = &[
    axis("text", Size::Of(&["talker_config.hidden_size"])),
    axis("codes", Size::Of(&["talker_config.vocab_size"])),
    // What predicts.
    axis("l", Size::Of(&[predicted!("num_hidden_layers")])),
    axis("n", Size::Of(&[predicted!("hidden_size")])),
    axis("ff", Size::Of(&[predicted!("intermediate_size")])),
    axis("h", Size::Of(&[predicted!("num_attention_heads")])),
    axis("g", Size::Of(&[predicted!("num_key_value_heads")])),
    axis("d", Size::Or(&[predicted!("head_dim")], &Size::Div("n", "h"))),
    axis("bins", Size::Of(&[predicted!("vocab_size")])),
    axis("book", Size::Is(BOOKS)),
    // What hears: channels and lengths of the stages, the last of which is behind all.
    axis("mel", Size::Or(&["speaker_encoder_config.mel_dim"], &Size::Is(128))),
    axis("c", Size::Make(|params, _| stage(params, "enc_channels", 0, 512))),
    axis("cc", Size::Same("c")),
    axis("s", Size::Is(4)),
    axis("one", Size::Is(1)),
    axis("three_c", Size::Mul("c", "three")),
    axis("gathered", Size::Make(|params, _| stage(params, "enc_channels", 4, 1536))),
    axis("pooled", Size::Mul("gathered", "two")),
    axis("three_g", Size::Mul("gathered", "three")),
    axis("stem", Size::Make(|params, _| stage(params, "enc_kernel_sizes", 0, 5))),
    axis("kernel", Size::Make(|params, _| stage(params, "enc_kernel_sizes", 1, 3))),
    axis("parts", Size::Or(&["speaker_encoder_config.enc_res2net_scale"], &Size::Is(8))),
    axis("part", Size::Div("c", "parts")),
    axis("same", Size::Same("part")),
    axis("se", Size::Or(&["speaker_encoder_config.enc_se_channels"], &Size::Is(128))),
    axis("attended", Size::Or(&["speaker_encoder_config.enc_attention_channels"], &Size::Is(128))),
    axis("voice", Size::Or(&["speaker_encoder_config.enc_dim"], &Size::Is(1024))),
    axis("two", Size::Is(2)),
    axis("three", Size::Is(3)),
    // What makes sound of codes.
    axis("w", Size::Of(&[sounding!("num_hidden_layers")])),
    axis("wn", Size::Of(&[sounding!("hidden_size")])),
    axis("wff", Size::Of(&[sounding!("intermediate_size")])),
    axis("wh", Size::Of(&[sounding!("num_attention_heads")])),
    axis("wg", Size::Or(&[sounding!("num_key_value_heads")], &Size::Same("wh"))),
    axis("wd", Size::Or(&[sounding!("head_dim")], &Size::Div("wn", "wh"))),
    axis("code", Size::Or(&[sounding!("codebook_dim")], &Size::Is(512))),
    axis("half", Size::Div("code", "two")),
    axis("sounds", Size::Of(&[sounding!("codebook_size")])),
    axis("latent", Size::Of(&[sounding!("latent_dim")])),
    axis("also", Size::Same("latent")),
    axis("four", Size::Is(4)),
    axis("wide", Size::Mul("latent", "four")),
    axis("seven", Size::Is(7)),
    axis(
        "u",
        Size::Make(|params, _| Ok(rates(params, sounding!("upsampling_ratios"), &[2, 2])?.len() as u64)),
    ),
    axis("times", Size::Make(|params, layer| rate(params, sounding!("upsampling_ratios"), &[2, 2], layer))),
    axis("dac0", Size::Or(&[sounding!("decoder_dim")], &Size::Is(1536))),
    axis("dac1", Size::Div("dac0", "two")),
    axis("dac2", Size::Div("dac1", "two")),
    axis("dac3", Size::Div("dac2", "two")),
    axis("dac4", Size::Div("dac3", "two")),
    axis("out1", Size::Same("dac1")),
    axis("out2", Size::Same("dac2")),
    axis("out3", Size::Same("dac3")),
    axis("out4", Size::Same("dac4")),
    axis("long1", Size::Make(|params, _| twice(params, 0))),
    axis("long2", Size::Make(|params, _| twice(params, 1))),
    axis("long3", Size::Make(|params, _| twice(params, 2))),
    axis("long4", Size::Make(|params, _| twice(params, 3))),
];

/// A size of a stage of what hears; the published one if the config does not tell it.
fn stage(params: &Params<'_>, key: &str, at: u32, published: u64) -> Result<u64> {
    let told = params.config.whole_at(&format!("speaker_encoder_config.{key}"), at)?;
    Ok(told.map_or(published, u64::from))
}

/// By how much the steps of sound are made more, or the published numbers.
fn rates(params: &Params<'_>, key: &str, published: &[i32]) -> Result<Vec<i32>> {
    Ok(params.config.wholes(key)?.unwrap_or_else(|| published.to_vec()))
}

fn rate(params: &Params<'_>, key: &str, published: &[i32], at: u32) -> Result<u64> {
    let all = rates(params, key, published)?;
    let wrong = || params.config.wrong(key, &format!("more than {at} whole numbers above 0"));
    let one = all.get(at as usize).and_then(|n| u64::try_from(*n).ok()).filter(|n| *n > 0);
    one.ok_or_else(|| wrong().found(format!("{all:?}")))
}

/// How long the window of a convolution is that makes steps of sound more.
fn twice(params: &Params<'_>, at: u32) -> Result<u64> {
    Ok(rate(params, sounding!("upsample_rates"), &[8, 5, 4, 3], at)?.saturating_mul(2))
}

const CODES: &[Rule] = &[
    rule(&["talker.model.codec_embedding.weight"], &["a.gen.code.out_embd.weight"], "codes text"),
    rule(&["talker.code_predictor.model.norm.weight"], &["a.gen.code.output_norm.weight"], "n"),
    rule(&["talker.code_predictor.small_to_mtp_projection.weight"], &["a.gen.code.proj_in.weight"], "n text")
        .may()
        .bias(Need::May),
    rule(
        &["talker.code_predictor.model.codec_embedding.{book}.weight"],
        &["a.gen.code.embd.weight"],
        "bins text -> book bins text",
    ),
    rule(
        &["talker.code_predictor.lm_head.{book}.weight"],
        &["a.gen.code.head.weight"],
        "bins n -> book bins n",
    ),
    // What comes out between is beyond the range of F16.
    rule(
        &["talker.code_predictor.model.layers.{l}.mlp.down_proj.weight"],
        &["a.gen.code.blk.{l}.ffn_down.weight"],
        "n ff",
    )
    .stored(DType::F32),
];

const LAYERS: &[Rule] = layer!("talker.code_predictor.model.layers.{l}.", "a.gen.code.blk.{l}.":
    "input_layernorm.weight" => "ln1.weight", "n";
    "self_attn.q_proj.weight" => "attn_q.weight", "(h d) n";
    "self_attn.q_norm.weight" => "attn_q_norm.weight", "d";
    "self_attn.k_proj.weight" => "attn_k.weight", "(g d) n";
    "self_attn.k_norm.weight" => "attn_k_norm.weight", "d";
    "self_attn.v_proj.weight" => "attn_v.weight", "(g d) n";
    "self_attn.o_proj.weight" => "attn_out.weight", "n (h d)";
    "post_attention_layernorm.weight" => "ln2.weight", "n";
    "mlp.gate_proj.weight" => "ffn_gate.weight", "ff n";
    "mlp.up_proj.weight" => "ffn_up.weight", "ff n";
);

const HEARING: &[Rule] = convolved!("speaker_encoder.", "":
    "blocks.0.conv" => "a.conv1d.0", "c", "mel stem";
    "mfa.conv" => "a.conv_out", "gathered", "three_c 1";
    "asp.tdnn.conv" => "a.asp_tdnn", "attended", "three_g 1";
    "asp.conv" => "a.asp_attn", "gathered", "attended 1";
    "fc" => "mm.a.fc", "voice", "pooled 1";
);

/// The same of its stages, the first of which has no such parts.
macro_rules! staged {
    ($($from:literal => $to:literal, $out:literal, $in:literal);* $(;)?) => {
        &[$(
            rule(
                &[concat!("speaker_encoder.blocks.{s}.", $from, ".weight")],
                &[concat!("a.blk.{s}.", $to, ".weight")],
                concat!($out, " ", $in),
            )
            .layers(Layers::From("one")),
            rule(
                &[concat!("speaker_encoder.blocks.{s}.", $from, ".bias")],
                &[concat!("a.blk.{s}.", $to, ".bias")],
                $out,
            )
            .layers(Layers::From("one")),
        )*]
    };
}

const STAGES: &[Rule] = staged!(
    "tdnn1.conv" => "conv_pw1", "c", "cc 1";
    "res2net_block.blocks.0.conv" => "res2.0", "part", "same kernel";
    "res2net_block.blocks.1.conv" => "res2.1", "part", "same kernel";
    "res2net_block.blocks.2.conv" => "res2.2", "part", "same kernel";
    "res2net_block.blocks.3.conv" => "res2.3", "part", "same kernel";
    "res2net_block.blocks.4.conv" => "res2.4", "part", "same kernel";
    "res2net_block.blocks.5.conv" => "res2.5", "part", "same kernel";
    "res2net_block.blocks.6.conv" => "res2.6", "part", "same kernel";
    "tdnn2.conv" => "conv_pw2", "c", "cc 1";
    "se_block.conv1" => "se_conv1", "se", "c 1";
    "se_block.conv2" => "se_conv2", "c", "se 1";
);
