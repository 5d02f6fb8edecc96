//! Packed checkpoints, as lazy plain tensors under the names that plain ones have: what the pages of families name. A page
//! a method; what a checkpoint says of its packing is in `settings`, how parts become a weight in `coded` (row by row) and
//! `columns` (column by column). What is done to every code is in `packed` of ggraft-formats. Of MXFP4 rows are only
//! rearranged; NVFP4 knows its parts (`halves`). `unscaled` does the same for GGUFs whose NVFP4 stands under scales.

mod awq;
mod bare;
mod bitnet;
mod bitsandbytes;
mod coded;
mod columns;
mod compressed;
mod fp8;
mod gptq;
mod grid;
mod halves;
mod hqq;
mod mlx;
mod modelopt;
mod mxfp4;
mod numbers;
mod page;
mod quark;
mod ranks;
mod rows;
mod settings;
mod torchao;
mod unscaled;

use ggraft_formats::{Checkpoint, DType, Error, Kind, Result, Tensor, safetensors};
pub use unscaled::unscaled;

use page::{Page, Parts, is_plain};
use settings::Settings;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

/// The methods that are undone here.
const PAGES: &[Page] = &[
    fp8::PAGE,
    bitsandbytes::PAGE,
    gptq::PAGE,
    awq::PAGE,
    mlx::PAGE,
    compressed::PAGE,
    modelopt::PAGE,
    bitnet::PAGE,
    hqq::PAGE,
    torchao::PAGE,
    quark::PAGE,
];

/// The method of gpt-oss, whose blocks are taken over as they are.
const MXFP4: &str = "mxfp4";

/// The names of all methods that are read.
pub fn methods() -> impl Iterator<Item = &'static str> {
    PAGES.iter().flat_map(|page| page.names).copied().chain([MXFP4])
}

/// Refuses to write `checkpoint`, which was unpacked, as a directory again: its names are not those of the trainer.
pub fn check_release(checkpoint: &Checkpoint) -> Result<()> {
    let Some(tensor) = checkpoint.tensors.iter().find(|t| t.dtype() == DType::MXFP4) else {
        return Ok(());
    };
    Err(Error::unsupported(
        "a checkpoint whose experts are in blocks of MXFP4 cannot be written as one again",
    )
    .tensor(&tensor.name)
    .hint("choose a GGUF --type"))
}

/// `checkpoint` with its packed tensors undone; one that holds none as it is. What was done is told in its notes.
///
/// # Errors
/// The method is not read here, or parts of a weight are missing or do not fit each other: all are told in one error.
pub fn unpacked(checkpoint: Checkpoint) -> Result<Checkpoint> {
    let place = match checkpoint.containers.as_slice() {
        [file] => file.path().to_path_buf(),
        _ => checkpoint.dir.clone(),
    };
    let settings = settings(&checkpoint)?;
    let tensors = mxfp4::unpacked(checkpoint.tensors).map_err(|e| e.file(&place))?;
    let mut checkpoint = Checkpoint { tensors, ..checkpoint };
    let Some(settings) = settings else { return bare::plain(checkpoint) };
    if checkpoint.tensors.iter().all(is_plain) {
        // BitNet quantizes plain weights when they are loaded.
        if bitnet::PAGE.names.contains(&settings.method.as_str()) {
            return Err(unknown(&settings));
        }
        let (file, key) = settings.place();
        checkpoint.notes.push(format!(
            "{file} says that the weights are quantized with {}, but all are plain floats: {key} is taken for a leftover",
            settings.method
        ));
        return Ok(checkpoint);
    }
    if settings.method == MXFP4 {
        return Ok(checkpoint);
    }
    let Some(page) = PAGES.iter().find(|page| page.names.contains(&settings.method.as_str())) else {
        return Err(unknown(&settings));
    };
    let undone = undone(page, &settings, &checkpoint.tensors).map_err(|e| e.file(&place))?;
    checkpoint.tensors = undone.tensors;
    checkpoint.packed = undone.packed;
    checkpoint.notes.extend(undone.told);
    Ok(checkpoint)
}

/// What the checkpoint says of its packing: in its config, in the headers of its files, or by the names of its tensors.
fn settings(checkpoint: &Checkpoint) -> Result<Option<Settings>> {
    let mut settings = Settings::of(checkpoint)?;
    // hqq's own files say nothing in the config.
    if settings.is_none() && checkpoint.tensors.iter().any(|t| t.name.ends_with(hqq::MARK)) {
        let file = checkpoint.containers.first().map_or(&*checkpoint.dir, |file| file.path()).to_path_buf();
        let method = hqq::PAGE.names[0].to_string();
        return Ok(Some(Settings { file, method, ..Settings::default() }));
    }
    if let Some(settings) = settings.as_mut().filter(|s| torchao::PAGE.names.contains(&s.method.as_str())) {
        for file in &checkpoint.containers {
            settings.told.extend(safetensors::told(file)?);
        }
    }
    Ok(settings)
}

/// The same for who only looks at weights: those of a method that is not read stay as they are stored.
///
/// # Errors
/// Parts of a weight are missing or do not fit each other.
pub fn seen(checkpoint: Checkpoint) -> Result<Checkpoint> {
    match unpacked(checkpoint.clone()) {
        Err(e) if e.kind() == Kind::Unsupported => Ok(checkpoint),
        other => other,
    }
}

fn unknown(settings: &Settings) -> Error {
    let known: Vec<&str> = methods().collect();
    Error::unsupported(format!("the checkpoint is quantized with {}", settings.method))
        .file(&settings.file)
        .expected(format!("plain weights, or one of {}", known.join(", ")))
        .hint("take the checkpoint it was made from, or dequantize it with the tool that quantized it")
}

/// Tensors with every weight of a page undone, in their order, those with the dtypes of their codes, and what is told of that.
struct Undone {
    tensors: Vec<Tensor>,
    packed: HashMap<String, Option<DType>>,
    told: Vec<String>,
}

fn undone(page: &Page, settings: &Settings, tensors: &[Tensor]) -> Result<Undone> {
    let held: HashMap<&str, &Tensor> = tensors.iter().map(|t| (t.name.as_str(), t)).collect();
    let taken = RefCell::new(HashSet::new());
    let (mut made, mut problems): (HashMap<&str, Vec<Tensor>>, Vec<Error>) = Default::default();
    for mark in tensors {
        let Some(weight) = page.weight(&mark.name, &held) else { continue };
        taken.borrow_mut().insert(mark.name.clone());
        let parts = Parts { weight, mark, held: &held, taken: &taken };
        match (page.weights)(&parts, settings) {
            Ok(weights) => _ = made.insert(&mark.name, weights),
            Err(e) => problems.push(e.tensor(&mark.name)),
        }
    }
    let taken = taken.into_inner();
    let (mut all, mut ignored, mut dtypes) = (Vec::with_capacity(tensors.len()), 0, Vec::new());
    let mut packed = HashMap::new();
    for tensor in tensors {
        match made.remove(tensor.name.as_str()) {
            Some(weights) => {
                dtypes.extend(weights.iter().map(|t| t.dtype().to_string()));
                let codes = |t: &Tensor| held.get(t.name.as_str()).copied().unwrap_or(tensor).dtype();
                packed.extend(weights.iter().map(|t| (t.name.clone(), Some(codes(t)))));
                all.extend(weights);
            }
            None if taken.contains(&tensor.name) => {}
            None if page.ignores(&tensor.name) => ignored += 1,
            None => {
                problems.extend(alone(tensor));
                all.push(tensor.clone());
            }
        }
    }
    let count = dtypes.len();
    dtypes.sort();
    dtypes.dedup();
    let dtypes = dtypes.join(" and ");
    let mut told = vec![format!(
        "{count} weights are unpacked from {} to {dtypes}, as {} says",
        settings.method,
        settings.place().0
    )];
    if ignored > 0 {
        let but = match all.iter().any(|tensor| tensor.fours().is_some()) {
            true => ", but beside NVFP4 that stays so",
            false => ": a GGUF has no use for them",
        };
        told.push(format!("{ignored} tensors of scales of activations are left out{but}"));
    }
    Error::all(problems).map_or(Ok(Undone { tensors: all, packed, told }), Err)
}

/// The error for packed weights beside which there is no part that would tell what they are worth.
fn alone(tensor: &Tensor) -> Option<Error> {
    let packed = matches!(tensor.dtype(), DType::F8E4M3 | DType::F8E5M2 | DType::F8E8M0);
    (packed && tensor.name.ends_with("weight")).then(|| {
        Error::invalid("the scales of these weights are missing")
            .tensor(&tensor.name)
            .expected(format!(
                "{}_scale, {0}_scale_inv or {}.scale",
                tensor.name,
                tensor.name.trim_end_matches(".weight")
            ))
            .found("nothing of that name")
            .hint("the download is incomplete")
    })
}
