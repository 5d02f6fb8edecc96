//! The room that knows architectures: a Hugging Face `Checkpoint` becomes a GGUF `Model`, as llama.cpp's
//! `convert_hf_to_gguf.py` would write it, but lazily: `adopt` touches headers only, and the weights keep their
//! dtype. `general.file_type` and `general.quantization_version` are the writer's to add.
//!
//! To add a family: write its file with one `Arch` constant (a sibling states its differences, `..LLAMA`), then
//! add its line in `ARCHS`.

pub(crate) mod about;
mod graph;
mod hparams;
mod llama;
mod names;
pub(crate) mod refuse;
mod rope;
mod rows;

pub use crate::vocab::Options;

use crate::vocab;
use ggraft_formats::safetensors::Named;
use ggraft_formats::{Checkpoint, Error, Metadata, Model, Result, Tensor};
use hparams::{Config, Defaults, Hparams};
use names::Map;

/// What the house knows of one architecture.
pub struct Arch {
    /// What `architectures` in `config.json` calls it.
    pub names: &'static [&'static str],
    /// `general.architecture` of the GGUF.
    pub gguf: &'static str,
    defaults: &'static [Defaults],
    hparams: fn(&Config, &mut Vec<String>) -> Result<Hparams>,
    /// Adds the keys that follow those of all transformers.
    describe: fn(&Hparams, &mut Metadata),
    /// Its tensors, in tables under a common prefix.
    tensors: &'static [(&'static str, &'static [Map])],
    /// Tensors that no checkpoint holds; they come first.
    extra: fn(&Hparams) -> Result<Vec<Tensor>>,
}

/// Every architecture.
pub const ARCHS: &[Arch] = &[llama::LLAMA, llama::HEADLESS];

/// The checkpoint's and GGUF's name of every kind of tensor that some architecture has, without `.weight` or `.bias`;
/// `{}` is the layer.
pub fn tensor_names() -> impl Iterator<Item = (String, &'static str)> {
    let tables = ARCHS.iter().flat_map(|arch| arch.tensors);
    tables.flat_map(|(prefix, maps)| maps.iter().map(move |map| (format!("{prefix}{}", map.from), map.to)))
}

/// A model in GGUF's dialect, and what its adoption loses or had to assume.
#[derive(Debug)]
pub struct Adopted {
    pub model: Model,
    pub warnings: Vec<String>,
}

/// Renames, re-orders and describes `checkpoint` as GGUF. All missing, unknown and misshapen tensors are told in
/// one error.
pub fn adopt(checkpoint: &Checkpoint, options: &Options) -> Result<Adopted> {
    let mut warnings = Vec::from_iter(refuse::adapter(checkpoint)?);
    let config = Config::open(checkpoint)?;
    let (arch, class) = arch(&config, checkpoint)?;
    warnings.extend(refuse::quantized(&config, checkpoint)?);
    refuse::bare_names(class, checkpoint)?;
    let config = config.with_defaults(arch.defaults)?;
    let told = graph::check(&config, arch.gguf, &mut warnings)?;
    let hparams = (arch.hparams)(&config, &mut warnings)?;
    let mut tensors = (arch.extra)(&hparams)?;
    let adopted = names::adopt(arch, &hparams, checkpoint, &mut warnings);
    let is_used = |name: &str| names::skipped(checkpoint).all(|skipped| skipped != name);
    tensors.extend(refuse::disagreements(checkpoint, adopted, is_used)?);

    let parameters = tensors.iter().map(|t| t.shape().elements()).fold(0, u64::saturating_add);
    let mut metadata = Metadata::new();
    metadata.set("general.architecture", arch.gguf);
    metadata.extend(about::metadata(checkpoint, &config, parameters, &mut warnings)?);
    metadata.extend(hparams.metadata(arch.gguf));
    (arch.describe)(&hparams, &mut metadata);
    metadata.extend(told);
    let tokenizer = vocab::tokenizer(checkpoint, config.json(), options)?;
    metadata.extend(tokenizer.metadata);
    warnings.extend(tokenizer.warnings);
    let model = Model {
        metadata,
        tensors,
        containers: checkpoint.containers.clone(),
        reads: checkpoint.reads.clone(),
    };
    Ok(Adopted { model, warnings })
}

/// A model in the trainer's dialect again.
pub struct Released {
    /// In the order of the model.
    pub tensors: Vec<Named>,
    /// GGUF's names of tensors that follow from the configuration, which no checkpoint need hold, and the
    /// checkpoint's names of such that it holds.
    pub left: Vec<String>,
}

/// Gives `model` the names and the order of rows of `checkpoint`, from which it was adopted: the inverse of `adopt`.
pub fn release(model: &Model, checkpoint: &Checkpoint) -> Result<Released> {
    let config = Config::open(checkpoint)?;
    let (arch, _) = arch(&config, checkpoint)?;
    let config = config.with_defaults(arch.defaults)?;
    let hparams = (arch.hparams)(&config, &mut Vec::new())?;
    let mut left = Vec::new();
    let tensors = names::release(arch, &hparams, model, &mut left)?;
    left.extend(names::skipped(checkpoint));
    Ok(Released { tensors, left })
}

/// The architecture whose class `config.json` names first, and that name.
fn arch<'a>(config: &'a Config, checkpoint: &Checkpoint) -> Result<(&'static Arch, &'a str)> {
    let file = checkpoint.dir.join("config.json");
    let class =
        config.get("architectures").and_then(|classes| classes.get(0)?.as_str()).ok_or_else(|| {
            Error::invalid("'architectures' does not name the model's class")
                .file(&file)
                .expected("a list of names, such as [\"LlamaForCausalLM\"]")
                .found(config.get("architectures").map_or(String::from("nothing"), hparams::brief))
        })?;
    let found = ARCHS.iter().find(|arch| arch.names.contains(&class));
    found.map(|arch| (arch, class)).ok_or_else(|| {
        let known: Vec<&str> = ARCHS.iter().flat_map(|arch| arch.names).copied().collect();
        Error::unsupported("this architecture is not covered")
            .file(&file)
            .expected(format!("'architectures' to be one of {}", known.join(", ")))
            .found(class)
            .mend("convert it with llama.cpp's convert_hf_to_gguf.py and give the GGUF: that works for any architecture")
    })
}
