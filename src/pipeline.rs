//! THE LINE: open -> adopt -> merge -> assign -> write. Everything before `write` touches headers only; the
//! weights move once, in the writer, through the wrappers that were put around them on the way.

use crate::arch;
use crate::ftype::{self, Ftype, Prune, TensorType};
use crate::merge::{self, Fate, Graft, Summary, Vector, Verdict};
use ggraft_formats::gguf::{self, Layout, Output, Watch};
use ggraft_formats::{DType, Error, Input, Kind, Metadata, Model, Result, Shape, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A model that has been opened and speaks GGUF, and what was noticed on the way.
pub struct Loaded {
    pub model: Model,
    pub notes: Vec<String>,
    /// Whether it came as GGUF, so that its tensors may be copied as they are.
    pub is_gguf: bool,
}

/// What the file is to be.
pub struct Target {
    pub ftype: &'static Ftype,
    pub options: ftype::Options,
    /// How much each weight matters, if that was measured.
    pub importance: Option<ftype::Importance>,
    /// Layers that are left out.
    pub prune: Prune,
    /// Keys of the metadata and what they are to be, in order.
    pub overrides: Vec<(String, Value)>,
    /// Whether tensors that are quantized already may be quantized anew.
    pub allow_requantize: bool,
}

impl From<&'static Ftype> for Target {
    /// The type as it is, with nothing measured, left out or overridden.
    fn from(ftype: &'static Ftype) -> Target {
        Target {
            ftype,
            options: ftype::Options::default(),
            importance: None,
            prune: Prune::default(),
            overrides: Vec::new(),
            allow_requantize: false,
        }
    }
}

/// One tensor of the output.
#[derive(Clone, Debug)]
pub struct Step {
    pub name: String,
    pub shape: Shape,
    pub from: DType,
    pub to: DType,
    pub bytes: u64,
    /// What the merge makes of it; none where nothing is merged.
    pub verdict: Option<Verdict>,
    /// How much it gets of each vector; empty where nothing is merged.
    pub weights: Vec<f64>,
    /// The dtype that the mixture wanted, where the shape forbids it.
    pub fallback: Option<DType>,
}

/// All that is known before a weight is read.
pub struct Plan {
    /// The output: final names, order, dtypes and metadata; its rows are still where they were.
    pub model: Model,
    pub steps: Vec<Step>,
    pub ftype: &'static Ftype,
    /// Bytes of the file.
    pub total: u64,
    pub notes: Vec<String>,
    /// What a merge makes of the tokens.
    pub vocabulary: Option<Arc<Summary>>,
}

/// Opens `path`; a checkpoint is adopted into GGUF's names and metadata.
pub fn load(path: &Path, options: &arch::Options) -> Result<Loaded> {
    let (model, notes, is_gguf) = match ggraft_formats::open(path)? {
        Input::Model(model) => (model, Vec::new(), true),
        Input::Checkpoint(checkpoint) => {
            let adopted = arch::adopt(&checkpoint, options)?;
            (adopted.model, adopted.warnings, false)
        }
    };
    let tensors = model.tensors.into_iter().map(|t| t.checked()).collect();
    Ok(Loaded { model: Model { tensors, ..model }, notes, is_gguf })
}

impl Loaded {
    /// The model without the layers that are left out.
    pub fn pruned(self, prune: &Prune) -> Result<Loaded> {
        Ok(Loaded { model: prune.apply(self.model)?, ..self })
    }
}

/// Plans a conversion or quantization of one model.
pub fn convert(input: Loaded, target: &Target) -> Result<Plan> {
    let input = input.pruned(&target.prune)?;
    let sources = dtypes(&input.model);
    assign(input, sources, None, target)
}

/// Matches `vectors` with `onto`; from the result every output is planned.
pub fn graft(onto: Loaded, vectors: &[Vector], how: impl Into<merge::Options>) -> Result<Grafted> {
    let mut graft = Graft::new(onto.model, vectors, how)?;
    graft.notes.splice(0..0, onto.notes);
    Ok(Grafted { graft, is_gguf: onto.is_gguf })
}

/// Models that belong together.
pub struct Grafted {
    pub graft: Graft,
    /// Whether CP came as GGUF.
    is_gguf: bool,
}

impl Grafted {
    /// Plans the output with each set of weights (one a vector) and for each target, in this order.
    pub fn plans(&self, weights: &[Vec<f64>], targets: &[Target]) -> Result<Vec<Plan>> {
        let sources = dtypes(self.graft.onto());
        let mut plans = Vec::with_capacity(weights.len() * targets.len());
        for weights in weights {
            for target in targets {
                let model = self.graft.model(weights)?;
                let merged = Loaded { model, notes: self.graft.notes.clone(), is_gguf: self.is_gguf };
                let fates = Some((self.graft.verdicts(), self.graft.weights(weights)));
                let mut plan = assign(merged, sources.clone(), fates, target)?;
                plan.vocabulary = Some(Arc::clone(&self.graft.vocabulary));
                plans.push(plan);
            }
        }
        Ok(plans)
    }
}

fn dtypes(model: &Model) -> Vec<DType> {
    model.tensors.iter().map(|t| t.dtype()).collect()
}

/// Gives every tensor its final dtype and place. `sources` are the dtypes that the tensors had in their files,
/// `fates` what a merge makes of each and how much it gets of each vector.
fn assign(
    input: Loaded,
    sources: Vec<DType>,
    fates: Option<(&[Verdict], Vec<Vec<f64>>)>,
    target: &Target,
) -> Result<Plan> {
    let mut model = input.model;
    if !input.is_gguf {
        // A checkpoint is quantized as if its F32 conversion were: so every route to a type gives the same bytes.
        model.tensors =
            model.tensors.into_iter().map(|t| t.encode(DType::F32, None)).collect::<Result<_>>()?;
    }
    // The hyperparameters are those that the output will have.
    target.overrides.iter().for_each(|(key, value)| model.metadata.set(key, value.clone()));
    let mut facts = ftype::Facts::of(&model)?;
    // The mixtures go by the layers that there were, as in llama-quantize.
    facts.n_layer = facts.n_layer.saturating_add(target.prune.len());
    let assignments = ftype::assign(&facts, target.ftype, &target.options)?;
    let importance = target.importance.as_ref();
    let ftype::Weighed { weights, notes } = ftype::weigh(&model.tensors, &assignments, importance)?;
    let names = model.tensors.iter().map(|t| t.name.as_str());
    let unused = TensorType::unused(&target.options.tensor_types, names);
    let notes = [input.notes, target.prune.note().into_iter().collect(), unused, notes].concat();
    let mut parts = Vec::with_capacity(model.tensors.len());
    for (i, ((tensor, given), importance)) in
        model.tensors.into_iter().zip(assignments).zip(weights).enumerate()
    {
        let fate = fates.as_ref().and_then(|(v, w)| Some((*v.get(i)?, w.get(i)?.clone())));
        let (verdict, weights) = fate.unzip();
        if !target.allow_requantize && tensor.dtype().is_quantized() && given.dtype != tensor.dtype() {
            requantizing(&tensor.name, tensor.dtype(), given.dtype)?;
        }
        let tensor = tensor.encode(given.dtype, importance)?;
        let step = Step {
            name: tensor.name.clone(),
            shape: *tensor.shape(),
            from: sources[i],
            to: given.dtype,
            bytes: tensor.bytes(),
            verdict,
            weights: weights.unwrap_or_default(),
            fallback: given.fallback,
        };
        parts.push((tensor, step));
    }
    parts.sort_by(|(a, _), (b, _)| ftype::order(&a.name).cmp(&ftype::order(&b.name)));
    let (tensors, steps) = parts.into_iter().unzip();
    model.tensors = tensors;
    stamp(&mut model.metadata, target);
    let total = Layout::plan(&model)?.total();
    Ok(Plan { model, steps, ftype: target.ftype, total, notes, vocabulary: None })
}

/// Writes what was done into the metadata, in the order of llama-quantize.
fn stamp(metadata: &mut Metadata, target: &Target) {
    ftype::stamp(metadata, target.ftype);
    for (key, value) in &target.overrides {
        metadata.set_last(key, value.clone());
    }
    if let Some(importance) = &target.importance {
        importance.stamp(metadata);
    }
    if !target.prune.is_empty() {
        let key = format!("{}.block_count", metadata.str("general.architecture").unwrap_or_default());
        if let Some(count) = metadata.remove(&key) {
            metadata.set_last(&key, count);
        }
    }
}

/// Quantizing what is quantized already adds its error to the old one; going to plain floats adds none.
fn requantizing(name: &str, from: DType, to: DType) -> Result<()> {
    if !to.is_quantized() {
        return Ok(());
    }
    Err(Error::invalid(format!("the tensor is quantized already: {from} would be requantized to {to}"))
        .tensor(name)
        .mend("start from the F16, BF16 or F32 model, or give --allow-requantize and accept the loss"))
}

/// Writes each plan to its path, whose directory is made if it is missing; the inputs are read once for all.
pub fn write(plans: &[(Plan, PathBuf)], inputs: &[&Path], force: bool, watch: &dyn Watch) -> Result<()> {
    for (_, path) in plans {
        check_output(path, inputs, force)?;
        if let Some(dir) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(dir).map_err(|e| Error::io(&e, dir))?;
        }
    }
    let outputs: Vec<Output<'_>> =
        plans.iter().map(|(plan, path)| Output { model: &plan.model, path }).collect();
    gguf::write(&outputs, watch)
}

/// Refuses an output that is an input, is a directory, or exists without `force`.
pub fn check_output(path: &Path, inputs: &[&Path], force: bool) -> Result<()> {
    let refused = |what: &str| Error::new(Kind::Failure, what).file(path);
    if path.is_dir() {
        return Err(refused("the output is a directory").mend("give the name of a file with -o"));
    }
    if let Ok(out) = path.canonicalize() {
        let is_input = |input: &&Path| input.canonicalize().is_ok_and(|i| i == out || same_file(&i, &out));
        if inputs.iter().any(is_input) {
            return Err(refused("the output is one of the inputs").mend("choose another output with -o"));
        }
        if !force {
            return Err(
                refused("the output exists").mend("give --force to replace it, or another name with -o")
            );
        }
    }
    Ok(())
}

/// Whether two names lead to one file, by a hard link.
#[cfg(unix)]
fn same_file(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |p: &Path| std::fs::metadata(p).map(|m| (m.dev(), m.ino()));
    matches!((id(a), id(b)), (Ok(a), Ok(b)) if a == b)
}

#[cfg(not(unix))]
fn same_file(_a: &Path, _b: &Path) -> bool {
    false
}

impl Plan {
    /// The weights of the output.
    pub fn elements(&self) -> u64 {
        self.steps.iter().map(|s| s.shape.elements()).sum()
    }

    /// Bits a weight, without metadata and padding.
    pub fn bits_per_weight(&self) -> f64 {
        let bytes: u64 = self.steps.iter().map(|s| s.bytes).sum();
        bytes as f64 * 8.0 / (self.elements().max(1)) as f64
    }

    /// The memory that the work takes beside the mapped inputs, in bytes, at most: each thread holds a chunk of
    /// every source decoded to f64, the same in f32, and its encoding.
    pub fn memory(&self, threads: usize) -> u64 {
        let longest = self.steps.iter().map(|s| s.shape.row()).max().unwrap_or(0).max(gguf::CHUNK as u64);
        let merges = self.steps.iter().any(|s| s.verdict.is_some_and(|v| v.fate == Fate::Merged));
        let per_weight = if merges { 3 * 8 + 4 * 4 } else { 3 * 4 };
        longest * per_weight * threads as u64
    }

    /// The file name by GGUF's naming convention: `BaseName-SizeLabel-FineTune-Version-Encoding.gguf`; `mark` tells
    /// outputs apart that differ in something else, and stands before the encoding.
    pub fn file_name(&self, mark: Option<&str>) -> PathBuf {
        let m = &self.model.metadata;
        let part =
            |key: &str| m.str(key).map(|s| s.trim().replace([' ', '/', '\\'], "-")).filter(|s| !s.is_empty());
        let name =
            part("general.basename").or_else(|| part("general.name")).unwrap_or_else(|| "model".into());
        let rest = ["general.size_label", "general.finetune", "general.version"].into_iter().filter_map(part);
        let end = mark.into_iter().chain([self.ftype.name]).map(String::from);
        let parts: Vec<String> = [name].into_iter().chain(rest).chain(end).collect();
        PathBuf::from(parts.join("-") + ".gguf")
    }
}
