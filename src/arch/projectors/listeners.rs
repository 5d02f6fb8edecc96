//! GLM-ASR and MERaLiON 2: Whisper, whose frames are stacked, normed and projected, by two layers or through a gate.
//! Specification: `GlmASRWhisperEncoderModel`, `MERaLiONWhisperEncoderModel` of llama.cpp's converter.

use super::vision::rows;
use super::whisper::WHISPER;
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, count, is};
use crate::arch::params::{Params, Size, axis};
use crate::arch::rule::{Need, rule};
use ggraft_formats::Result;

pub const GLM_ASR: Arch = Arch {
    classes: &["GlmasrModel"],
    gguf: "clip",
    base: Some(&WHISPER),
    prefixes: &["audio_encoder.whisper."],
    keys: &[
        is("projector_type", Fixed::Text("glma")),
        count("audio.projector.stack_factor", &["merge_factor"]).must(),
    ],
    axes: &[
        axis("stack", Size::Of(&["merge_factor"])),
        axis("stacked", Size::Mul("stack", "n")),
        axis("hidden", Size::Make(|params, _| wide(params, "adapting.0.weight", "text", 2))),
    ],
    rules: &[
        rule(&["embed_positions.weight"], &["a.position_embd.weight"], "places n").may(),
        rule(&["layer_norm.weight"], &["a.post_ln.weight"], "n").may().bias(Need::May),
        rule(&["^audio_encoder.layer_norm.weight"], &["mm.a.norm_pre.weight"], "n").bias(Need::Must),
        rule(&["^audio_encoder.adapting.0.weight"], &["mm.a.mlp.1.weight"], "hidden stacked")
            .bias(Need::Must),
        rule(&["^audio_encoder.adapting.2.weight"], &["mm.a.mlp.2.weight"], "text hidden").bias(Need::Must),
        rule(
            &["^audio_encoder.audio_bos_eos_token.weight"],
            &["v.boi", "v.eoi"],
            "[1|1] text -> text ; text",
        ),
    ],
    ignored: &["model.*", "lm_head.*", "audio_encoder.proj.*"],
    ..NONE
};

pub const MERALION: Arch = Arch {
    classes: &["MERaLiON2ForConditionalGeneration"],
    gguf: "clip",
    base: Some(&WHISPER),
    prefixes: &["speech_encoder."],
    keys: &[
        is("projector_type", Fixed::Text("meralion")),
        count("audio.projector.stack_factor", &["speech_mlp_scale_factor"]).or(Fixed::Count(15)),
    ],
    axes: &[
        axis("stack", Size::Or(&["speech_mlp_scale_factor"], &Size::Is(15))),
        axis("stacked", Size::Mul("stack", "n")),
        axis("hidden", Size::Make(|params, _| wide(params, "mlp_adapter.0.weight", "n", 5))),
        axis("gated", Size::Same("hidden")),
    ],
    rules: &[
        rule(&["^ln_speech.weight"], &["mm.a.norm_pre.weight"], "n").bias(Need::Must),
        rule(&["^speech_audio_adapter.mlp_adapter.0.weight"], &["mm.a.mlp.0.weight"], "hidden stacked")
            .bias(Need::Must),
        rule(&["^speech_audio_adapter.gate_proj.weight"], &["mm.a.mlp.1.weight"], "gated hidden")
            .bias(Need::Must),
        rule(&["^speech_audio_adapter.pool_proj.weight"], &["mm.a.mlp.2.weight"], "gated hidden")
            .bias(Need::Must),
        rule(&["^speech_audio_adapter.out_proj.weight"], &["mm.a.mlp.3.weight"], "text gated")
            .bias(Need::Must),
    ],
    ignored: &["text_decoder.*"],
    ..NONE
};

/// The rows of this tensor; of one that is not made yet as many times an axis as published ones have.
fn wide(params: &Params<'_>, name: &str, of: &str, times: u64) -> Result<u64> {
    match params.checkpoint() {
        Some(_) => rows(params, name),
        None => Ok(params.size(of, 0)?.saturating_mul(times)),
    }
}
