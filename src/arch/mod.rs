//! The room that knows architectures: a Hugging Face `Checkpoint` becomes a GGUF `Model`, as llama.cpp's
//! `convert_hf_to_gguf.py` would write it, but lazily: `adopt` touches headers only, and the weights keep their
//! dtype. `general.file_type` and `general.quantization_version` are the writer's to add.
//!
//! A family is a page of rules (`families`): `names` carries them out, `axes` and `moved` move elements, `values`
//! changes them, `keys` writes the hyperparameters, `rope` those of rotary embedding, `config` and `defaults` tell them.

pub(crate) mod about;
mod axes;
mod back;
mod beside;
mod computed;
mod config;
pub mod converter;
mod defaults;
pub(crate) mod dense;
mod draft;
pub(crate) mod factors;
mod families;
mod fused;
mod graph;
pub(crate) mod headless;
mod ids;
mod keys;
mod layered;
pub(crate) mod modules;
mod moved;
mod names;
mod native;
mod options;
pub mod page;
mod params;
mod products;
pub mod projectors;
pub(crate) mod refuse;
mod rerank;
mod rope;
mod rule;
mod scaled;
mod seen;
mod slots;
mod stacked;
mod stored;
mod target;
mod trainer;
mod values;
mod whole;
pub(crate) mod windowless;

pub use about::check_told;
pub use back::{Regained, json, regain, same};
pub use draft::Draft;
pub use families::{ARCHS, Arch, Values, faults};
pub use fused::{apart, as_in};
pub(crate) use moved::Zeros;
pub use options::{Options, Predicting};
pub use products::check_merge;
pub use seen::adopt_projector;
pub(crate) use stacked::{Part, stacked};
pub use trainer::{Trainer, alike};
pub use values::Value;

use config::Config;
use dense::Taken;
use families::{Family, Uses};
use ggraft_formats::safetensors::Named;
use ggraft_formats::{Checkpoint, DType, Error, Metadata, Model, Result, Tensor};
use params::Params;
use rule::RowCount;
use std::collections::HashSet;
use target::Target;

/// A model in GGUF's dialect, and what its adoption loses or had to assume.
#[derive(Debug)]
pub struct Adopted {
    pub model: Model,
    pub warnings: Vec<String>,
    /// Tensors that have a dtype whatever is asked for: the name, and which.
    pub stored: Vec<(String, DType)>,
}

/// Renames, re-orders and describes `checkpoint` as GGUF. All missing, unknown and misshapen tensors are told in
/// one error.
pub fn adopt(checkpoint: &Checkpoint, options: &Options) -> Result<Adopted> {
    let mut warnings = checkpoint.notes.clone();
    warnings.extend(refuse::adapter(checkpoint, || family(&Config::open(checkpoint)?))?);
    let config = Config::open(checkpoint)?;
    let mut family = family(&config)?;
    let only_predicts = options.predicting == Predicting::Only;
    let predictor = family.arch.predictor.filter(|_| only_predicts);
    match predictor {
        Some(predictor) => family = Family::of(predictor),
        None => warnings.extend(families::mtp::apart(family.arch, checkpoint)),
    }
    let arch = family.arch;
    if !family.prefixes.contains(&"") {
        refuse::bare_names(config.class()?, checkpoint)?;
    }
    let paired = products::multiplied(arch, checkpoint)?;
    let checkpoint = paired.as_ref().unwrap_or(checkpoint);
    let told = graph::check(&config, arch.gguf, &mut warnings)?;
    let target = Target::open(&family, &config, checkpoint, options, self::arch)?;
    let mut params = Params::new(&config, &family.axes)
        .beside(checkpoint)
        .guessing_for(target.as_ref().map(|target| &target.config));
    params.check()?;
    let fewer = match options.predicting {
        Predicting::Without => families::mtp::without(&params, checkpoint)?,
        _ => None,
    };
    if fewer.is_some() {
        params = params.with(families::mtp::AXIS, 0);
    }
    let checkpoint = fewer.as_ref().unwrap_or(checkpoint);
    let prepared = (arch.prepared)(&params, checkpoint)?;
    let checkpoint = prepared.as_ref().unwrap_or(checkpoint);
    // What the config says is checked before the tensors are, and told after what they tell.
    let (early, hparams) = (family.early(&params)?, family.hparams(&params)?);
    let dense = modules::Modules::of(arch, checkpoint, options.dense, &mut warnings)?;
    dense.check(params.size("n", 0)?)?;
    let (mut tensors, mut stored): (Vec<Tensor>, _) = (dense.tensors().collect(), Vec::new());
    tensors.extend(made(&family, &params)?);
    let layers = params.size("l", 0)?;
    let adopted = names::adopt(&family, &params, checkpoint, options.eights);
    if options.eights && !checkpoint.tensors.iter().any(|tensor| names::was_fp8(tensor, checkpoint)) {
        warnings.push(String::from(
            "--fp8-as-q8 changes nothing: no weights of the checkpoint are FP8 under scales",
        ));
    }
    let adopted = refuse::disagreements(checkpoint, adopted, |name| !family.ignores(name, layers))?;

    warnings.extend(params.told());
    warnings.extend(projectors::beside(&config));
    warnings.extend(native::left(config.class()?, checkpoint));
    let tokenizer = target::tokenizer(checkpoint, &params, arch, target.as_ref(), options)?;
    if let (Some(file), None) = (arch.writes_chats, tokenizer.metadata.get("tokenizer.chat_template")) {
        warnings.push(format!(
            "there is no chat template: the trainer writes chats by {file}, which is not run; `ggraft meta set FILE --chat-template \
             TEMPLATE.jinja` sets one (convert_hf_to_gguf takes one that llama.cpp ships)"
        ));
    }
    let tokens =
        tokenizer.metadata.get("tokenizer.ggml.tokens").and_then(|v| v.as_array()).map(|a| a.len() as u64);
    for names::Adopted { tensor, value, rows, stored: dtype } in adopted {
        stored.extend(dtype.map(|dtype| (tensor.name.clone(), dtype)));
        let tensor = value.applied(tensor)?;
        if matches!(value, Value::Ids) {
            ids::check(&tensor, target_tokens(&params)?)?;
        }
        tensors.push(match (rows, tokens) {
            (RowCount::Tokens, Some(tokens)) => cut(tensor, tokens, &mut warnings)?,
            (RowCount::BehindZeros, _) => slots::behind_zeros(tensor)?,
            (RowCount::After(axis), _) => after(tensor, params.size(axis, 0)?)?,
            (RowCount::One(axis), _) => one_row(tensor, params.size(axis, 0)?)?,
            (RowCount::Padded, _) => padded(tensor, params.size("vocab", 0)?)?,
            _ => tensor,
        });
    }
    if only_predicts && predictor.is_none() {
        families::mtp::keep_only(&params, &mut tensors)?;
    }
    if options.fuses {
        tensors = fused::experts(arch.gguf, tensors, &mut stored, &mut warnings)?;
    }
    if options.fuses_qkv {
        tensors = fused::attention(arch.gguf, tensors, &mut stored, &mut warnings)?;
    }
    let judges = arch.uses == Uses::Judging && rerank::judges(checkpoint, &config)?;
    if judges {
        rerank::add_head(&mut tensors, config.flag("tie_word_embeddings")?, &tokenizer.metadata)?;
    }
    let mut metadata = Metadata::new();
    metadata.set("general.architecture", arch.gguf);
    metadata.extend(dense.told(arch.gguf, Taken::Always));
    metadata.extend(early);
    let size = about::Size::of(tensors.iter());
    metadata.extend(about::metadata(checkpoint, &config, &size, &options.told, &mut warnings)?);
    metadata.extend(hparams);
    metadata.extend(told);
    metadata.extend(dense.told(arch.gguf, Taken::Asked));
    if let Some(pooling) =
        (arch.uses != Uses::Text).then(|| about::pooling(checkpoint)).transpose()?.flatten()
    {
        metadata.set(&format!("{}.pooling_type", arch.gguf), pooling);
    }
    if judges {
        rerank::describe(arch.gguf, &mut metadata);
    }
    native::extend(&mut metadata, tokenizer.metadata, config.class()?);
    warnings.extend(tokenizer.warnings);
    let (mut containers, reads) = (checkpoint.containers.clone(), checkpoint.reads.clone());
    containers.extend(dense.containers);
    let model = Model { metadata, tensors, containers, reads };
    Ok(Adopted { model, warnings, stored })
}

/// How many tokens the model has that this one guesses for.
fn target_tokens(params: &Params<'_>) -> Result<u64> {
    params.target().unwrap_or(params.config).count("vocab_size").map(u64::from)
}

/// What comes of these tensors of `checkpoint`: see `names::touched`.
pub(crate) fn touched(
    checkpoint: &Checkpoint,
    names: &HashSet<&str>,
) -> Result<(HashSet<String>, HashSet<String>)> {
    let config = Config::open(checkpoint)?;
    let family = family(&config)?;
    let params = Params::new(&config, &family.axes).beside(checkpoint);
    names::touched(&family, &params, checkpoint, names)
}

/// The tensors that follow from the configuration; of those whose name says so one a layer.
fn made(family: &Family, params: &Params<'_>) -> Result<Vec<Tensor>> {
    let mut tensors = Vec::new();
    for made in &family.made {
        if let Some(values) = (made.values)(params)? {
            let row = made.row.map_or(Ok(values.len() as u64), |axis| params.size(axis, 0))?.max(1);
            let torch = [values.len() as u64 / row, row];
            let shape = moved::shape(made.name, if made.row.is_some() { &torch } else { &torch[1..] })?;
            let layers = if made.name.contains("{l}") { params.count("l", 0)? } else { 1 };
            for layer in 0..layers {
                let name = names::numbered(made.name, &|_| layer.into());
                tensors.push(Tensor::in_memory(&name, shape, &values)?);
            }
        }
    }
    Ok(tensors)
}

/// A table without the rows beyond the last token.
fn cut(table: Tensor, tokens: u64, warnings: &mut Vec<String>) -> Result<Tensor> {
    let [row, rows] = *table.shape().ne() else { return Ok(table) };
    if rows <= tokens {
        return Ok(table);
    }
    warnings.push(format!(
        "{}: the last {} of {rows} rows are left out, for they are no tokens",
        table.name,
        rows - tokens
    ));
    Tensor::new(&table.name, moved::shape(&table.name, &[tokens, row])?, table.dtype(), table.rows())
}

/// A table without its first rows.
fn after(table: Tensor, first: u64) -> Result<Tensor> {
    let [row, rows] = *table.shape().ne() else { return Ok(table) };
    moved::part(&table, &[rows.saturating_sub(first), row], first * row)
}

/// One row of a table.
fn one_row(table: Tensor, at: u64) -> Result<Tensor> {
    let [row, rows] = *table.shape().ne() else { return Ok(table) };
    if at >= rows {
        let error = Error::invalid("the table has no such row").tensor(&table.name);
        return Err(error.expected(format!("more than {at} rows")).found(rows));
    }
    moved::part(&table, &[row], at * row)
}

/// A table with rows of zeros up to so many.
fn padded(table: Tensor, rows: u64) -> Result<Tensor> {
    let [row, held] = *table.shape().ne() else { return Ok(table) };
    if held >= rows {
        return Ok(table);
    }
    let (shape, dtype) = (moved::shape(&table.name, &[rows, row])?, table.dtype());
    Tensor::new(&table.name.clone(), shape, dtype, std::sync::Arc::new(moved::Padded(table)))
}

/// A model in the trainer's dialect again.
pub struct Released {
    /// In the order of the model.
    pub tensors: Vec<Named>,
    /// What the checkpoint alone holds, for a GGUF has no use for it: as it is there.
    pub alone: Vec<Named>,
    /// GGUF's names of tensors that follow from the configuration, which no checkpoint need hold, and the
    /// checkpoint's names of such that it holds.
    pub left: Vec<String>,
}

/// Gives `model` the names and the order of rows of `checkpoint`, from which it was adopted: the inverse of `adopt`.
pub fn release(model: &Model, checkpoint: &Checkpoint) -> Result<Released> {
    let config = Config::open(checkpoint)?;
    let family = family(&config)?;
    products::check_back(family.arch)?;
    let apart = fused::apart(model.clone())?;
    let model = &apart;
    let mut params = Params::new(&config, &family.axes).beside(checkpoint);
    if let Some(table) = model.tensors.iter().find(|t| t.name == "token_embd.weight") {
        // A merge may have grown it.
        params = params.with("vocab", table.shape().rows());
    }
    rerank::check_release(model, config.flag("tie_word_embeddings")?)?;
    let mut left = Vec::new();
    let tensors = names::release(&family, &params, checkpoint, model, &mut left)?;
    let alone = names::ignored(&family, &params, checkpoint, &mut left)?;
    Ok(Released { tensors, alone, left })
}

/// Whether a weight of a model of this class stays blocks of MXFP4.
pub(crate) fn keeps_blocks(class: &str, name: &str) -> bool {
    let mut pages = ARCHS.iter().filter(|arch| arch.classes.contains(&class));
    pages.any(|arch| arch.blocks.is_some_and(|part| name.contains(part)))
}

/// The family of the model that `config` is of, or whose part it tells.
fn family(config: &Config) -> Result<Family> {
    let family = Family::of(arch(config)?);
    Ok(if config.is_part() { family.within() } else { family })
}

/// The architecture whose class `config.json` names first.
fn arch(config: &Config) -> Result<&'static Arch> {
    let class = config.class()?;
    let mut found = None;
    for arch in ARCHS.iter().filter(|arch| arch.classes.contains(&class)) {
        if found.is_none() && arch.applies.map_or(Ok(true), |applies| applies(config))? {
            found = Some(arch);
        }
    }
    let other = config.raw().get("text_model_id").and_then(|id| id.as_str());
    if let (None, Some(id), Some(seeing)) = (found, other, projectors::beside(config)) {
        return Err(Error::unsupported("this model has no text model of its own")
            .file(config.file())
            .expected(format!("the text model that it belongs to, {id}"))
            .found(class)
            .hint(seeing));
    }
    if let Some(error) = converter::without_page(class).filter(|_| found.is_none()) {
        return Err(error.file(config.file()));
    }
    found.ok_or_else(|| {
        Error::unsupported("this architecture is not covered")
            .file(config.file())
            .expected("'architectures' to name a class that `ggraft architectures` lists")
            .found(class)
            .hint("convert it with llama.cpp's convert_hf_to_gguf.py and give the GGUF: that works for any architecture")
    })
}
