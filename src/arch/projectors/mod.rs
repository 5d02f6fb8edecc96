//! What sees and hears: the page of each kind of projector, in the language of the families. `convert --mmproj` writes the
//! towers and projectors of a checkpoint as a GGUF of their own (`clip`), beside that of the text model. To add one: write
//! its file with an `Arch`, and add its line to `PROJECTORS`.
//! Specification: `MmprojModel` and its children of llama.cpp's converter; `gguf.constants.Keys.Clip*`.

mod cogvlm;
mod deepseek4;
mod deepseek_ocr;
mod dots;
mod dots_note;
mod exaone;
mod gemma;
mod gemma3n;
mod gemma4;
mod gemma4_unified;
mod glm;
mod granite_speech;
mod granite_vision;
mod hunyuan;
mod idefics;
mod internvl;
mod janus;
mod kimi;
mod kimi_k25;
mod lfm2;
mod lfm2_audio;
mod ling;
mod listeners;
mod llama4;
mod llava;
mod mimo;
mod minicpm;
mod minimax;
mod muse;
mod nemotron;
mod omni;
mod paddle;
mod parakeet;
mod phi4;
mod pocket_tts;
mod qwen;
mod qwen3_tts;
mod siglip;
mod sounding;
mod step;
mod vision;
mod whisper;
mod youtu;

use super::config::Config;
use super::families::{Arch, Family, Line};
use super::keys::{Fixed, From, Key};
use ggraft_formats::{Error, Result};

/// Every kind of projector, in the order of use.
pub static PROJECTORS: &[Arch] = &[
    gemma::GEMMA3,
    qwen::QWEN2_VL,
    qwen::QWEN2_5_VL,
    qwen::QWEN3_VL,
    llava::PIXTRAL,
    idefics::IDEFICS3,
    internvl::INTERNVL,
    gemma4::GEMMA4_SEEING,
    gemma4::GEMMA4,
    gemma3n::GEMMA3N,
    minicpm::MINICPM_V,
    lfm2::LFM2_VL,
    glm::GLM4V,
    glm::GLM_OCR,
    llama4::LLAMA4,
    phi4::PHI4,
    llava::LIGHTON_OCR,
    kimi::KIMI_VL,
    janus::JANUS,
    paddle::PADDLE_OCR,
    dots::DOTS_OCR,
    deepseek_ocr::DEEPSEEK_OCR,
    deepseek_ocr::DEEPSEEK_OCR2,
    deepseek_ocr::UNLIMITED_OCR,
    hunyuan::HUNYUAN_VL,
    youtu::YOUTU_VL,
    cogvlm::COGVLM,
    omni::QWEN2_5_OMNI,
    omni::QWEN3_OMNI,
    omni::QWEN3_ASR,
    kimi_k25::KIMI_K25,
    kimi_k25::GLM5V,
    gemma4_unified::GEMMA4_UNIFIED,
    exaone::EXAONE4_5,
    qwen::SARASHINA,
    glm::GLM5_NEXT,
    minimax::MINIMAX_M3,
    deepseek4::DEEPSEEK4V,
    ling::LING3_VL,
    step::STEP3_VL,
    mimo::MIMO_V2,
    whisper::QWEN2_AUDIO,
    whisper::ULTRAVOX,
    whisper::VOXTRAL,
    whisper::AUDIO_FLAMINGO3,
    listeners::GLM_ASR,
    listeners::MERALION,
    granite_speech::GRANITE_SPEECH,
    granite_speech::GRANITE_SPEECH_PLUS,
    lfm2_audio::LFM2_AUDIO,
    granite_vision::GRANITE4_VISION,
    parakeet::NEMOTRON_HEARING,
    nemotron::NEMOTRON,
    muse::MUSE_GLIMMER,
    dots_note::DOTS3_NOTE,
    qwen3_tts::QWEN3_TTS,
    pocket_tts::POCKET_TTS,
];

/// The pages that others build on.
pub static BASES: &[&Arch] = &[&vision::VISION, &siglip::SIGLIP, &whisper::HEARING, &whisper::WHISPER];

/// What a page's projector is called in the GGUF, of eyes and of ears.
pub fn kind(arch: &'static Arch) -> String {
    let family = Family::of(arch);
    let told = |key: &'static Key| match key {
        Key { gguf, from: From::Is(Fixed::Text(kind)), .. } if gguf.ends_with("projector_type") => {
            Some((*gguf, *kind))
        }
        _ => None,
    };
    let mut kinds: Vec<(&str, &str)> = Vec::new();
    let keys = family.keys.iter().map(|line: &Line| line.key).chain(arch.early);
    for (key, kind) in keys.filter_map(told) {
        kinds.retain(|(other, _)| *other != key);
        kinds.push((key, kind));
    }
    kinds.into_iter().map(|(_, kind)| kind).collect::<Vec<_>>().join(", ")
}

/// The pages of this class.
fn of_class(class: &str) -> impl Iterator<Item = &'static Arch> {
    PROJECTORS.iter().filter(move |arch| arch.classes.contains(&class))
}

/// The page of the class that `config.json` names.
pub(super) fn page(config: &Config) -> Result<&'static Arch> {
    let class = config.projector_class().unwrap_or_default();
    for arch in of_class(class) {
        if arch.applies.map_or(Ok(true), |applies| applies(config))? {
            return Ok(arch);
        }
    }
    let told = |key: &&str| {
        config.get(key).is_some_and(|section| section.as_object().is_some_and(|o| !o.is_empty()))
    };
    let sees = ["vision_config", "audio_config", "thinker_config.vision_config"].iter().any(told);
    let found = if class.is_empty() { "no class" } else { class };
    let error = match sees {
        true => Error::unsupported("this projector is not covered")
            .hint("convert it with llama.cpp's convert_hf_to_gguf.py --mmproj"),
        false => Error::unsupported("this model neither sees nor hears: it has no projector to write")
            .hint("convert it without --mmproj"),
    };
    Err(error
        .file(config.file())
        .expected("a class that `ggraft architectures` lists with a projector")
        .found(found))
}

/// What to say of a model of which the text model alone is written.
pub(super) fn beside(config: &Config) -> Option<String> {
    let classes = [config.class().ok(), config.projector_class()];
    let page = classes.into_iter().flatten().find_map(|class| of_class(class).next())?;
    Some(format!(
        "what sees or hears of it ({}) is a file of its own: `ggraft convert MODEL --mmproj --type F16` writes it",
        kind(page)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::families::faults;

    #[test]
    fn every_projector_has_a_kind() {
        for arch in PROJECTORS {
            assert!(!kind(arch).is_empty(), "{:?}", arch.classes);
        }
    }

    #[test]
    fn both_sides_of_every_rule_hold_the_same_axes_which_all_have_a_size() {
        let found: Vec<String> = PROJECTORS.iter().flat_map(faults).collect();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}
