//! What sees and hears: the page of each kind of projector, in the language of the families. `convert --mmproj` writes the
//! towers and projectors of a checkpoint as a GGUF of their own (`clip`), beside that of the text model. To add one: write
//! its file with an `Arch`, and add its line to `PROJECTORS`.
//! Specification: `MmprojModel` and its children of llama.cpp's converter; `gguf.constants.Keys.Clip*`.

mod cogvlm;
mod dots;
mod gemma;
mod gemma4;
mod glm;
mod hunyuan;
mod idefics;
mod internvl;
mod janus;
mod kimi;
mod lfm2;
mod llama4;
mod llava;
mod minicpm;
mod paddle;
mod phi4;
mod qwen;
mod siglip;
mod vision;
mod whisper;
mod youtu;

use super::config::Config;
use super::families::{Arch, Family, Line};
use super::keys::{Fixed, From, Key};
use super::params::Params;
use super::rule::RowCount;
use super::{Adopted, about, names, refuse};
use ggraft_formats::{Checkpoint, DType, Error, Metadata, Model, Result};

/// Every kind of projector, in the order of use.
pub const PROJECTORS: &[Arch] = &[
    gemma::GEMMA3,
    qwen::QWEN2_VL,
    qwen::QWEN2_5_VL,
    qwen::QWEN3_VL,
    llava::PIXTRAL,
    idefics::IDEFICS3,
    internvl::INTERNVL,
    gemma4::GEMMA4_SEEING,
    gemma4::GEMMA4,
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
    hunyuan::HUNYUAN_VL,
    youtu::YOUTU_VL,
    cogvlm::COGVLM,
    whisper::QWEN2_AUDIO,
    whisper::ULTRAVOX,
    whisper::VOXTRAL,
    whisper::AUDIO_FLAMINGO3,
];

/// The pages that others build on.
pub const BASES: &[&Arch] = &[&vision::VISION, &siglip::SIGLIP, &whisper::WHISPER];

/// What a page's projector is called in the GGUF, of eyes and of ears.
pub fn kind(arch: &'static Arch) -> String {
    let family = Family::of(arch);
    let told = |line: &Line| match line.key {
        Key { gguf, from: From::Is(Fixed::Text(kind)), .. } if gguf.ends_with("projector_type") => {
            Some((*gguf, *kind))
        }
        _ => None,
    };
    let mut kinds: Vec<(&str, &str)> = Vec::new();
    for (key, kind) in family.keys.iter().filter_map(told) {
        kinds.retain(|(other, _)| *other != key);
        kinds.push((key, kind));
    }
    kinds.into_iter().map(|(_, kind)| kind).collect::<Vec<_>>().join(", ")
}

/// The pages of this class.
pub fn of_class(class: &str) -> impl Iterator<Item = &'static Arch> {
    PROJECTORS.iter().filter(move |arch| arch.classes.contains(&class))
}

/// The projector of `checkpoint` as a GGUF of its own.
pub fn adopt(checkpoint: &Checkpoint) -> Result<Adopted> {
    let mut warnings = checkpoint.notes.clone();
    warnings.extend(refuse::adapter(checkpoint)?);
    let config = Config::of_projector(checkpoint)?;
    let family = Family::of(page(&config)?);
    let params = Params::new(&config, &family.axes).beside(checkpoint);
    let hparams = family.hparams(&params)?;
    let layers = params.size("l", 0)?;
    let adopted = names::adopt(&family, &params, checkpoint);
    let adopted = refuse::disagreements(checkpoint, adopted, |name| !family.ignores(name, layers))?;
    let (mut tensors, mut stored) = (super::made(&family, &params)?, Vec::new());
    for names::Adopted { tensor, value, rows, stored: dtype } in adopted {
        let tensor = match rows {
            RowCount::One(axis) => super::one_row(value.applied(tensor)?, params.size(axis, 0)?)?,
            RowCount::After(axis) => super::after(value.applied(tensor)?, params.size(axis, 0)?)?,
            _ => value.applied(tensor)?,
        };
        stored.extend(dtype.map(|dtype| (tensor.name.clone(), dtype)));
        tensors.push(match dtype {
            Some(dtype) => tensor.encode(DType::F32, None)?.encode(dtype, None)?,
            None => tensor,
        });
    }
    warnings.extend(params.told());
    let mut metadata = Metadata::new();
    metadata.set("general.architecture", family.arch.gguf);
    metadata.extend(about::metadata(checkpoint, &config, &about::Size::of(tensors.iter()), &mut warnings)?);
    metadata.set("general.type", "mmproj");
    metadata.extend(hparams);
    let (containers, reads) = (checkpoint.containers.clone(), checkpoint.reads.clone());
    Ok(Adopted { model: Model { metadata, tensors, containers, reads }, warnings, stored })
}

/// The page of the class that `config.json` names.
pub fn page(config: &Config) -> Result<&'static Arch> {
    let class = config.projector_class().unwrap_or_default();
    for arch in of_class(class) {
        if arch.applies.map_or(Ok(true), |applies| applies(config))? {
            return Ok(arch);
        }
    }
    let told = |key: &&str| {
        config.get(key).is_some_and(|section| section.as_object().is_some_and(|o| !o.is_empty()))
    };
    let sees = ["vision_config", "audio_config", "thinker_config.vision_config"].iter().any(|key| told(key));
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
pub fn beside(config: &Config) -> Option<String> {
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
