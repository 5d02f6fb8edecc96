//! What one output is going to be, known before a weight is read: every tensor with its final name, dtype and
//! place, the bytes, the notes. Serves the pipeline, which makes and carries out plans, and `report`, which shows them.

use crate::budget::{self, Account};
use crate::checkpoint::{self, Card, Source};
use crate::division::Division;
use crate::ftype::{self, Assignment, Ftype, Prune, TensorType};
use crate::merge::{Fate, Origin, Summary, Verdict};
use crate::meter::{Measured, Meter, metered};
use crate::target::{Target, Type};
use ggraft_formats::gguf::{self, Split};
use ggraft_formats::safetensors::{self, Directory, Named};
use ggraft_formats::write::{BLOCK, CHUNK, Layout};
use ggraft_formats::{DType, Error, Metadata, Model, Result, Shape, Tensor};
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A model that has been opened and speaks GGUF, and what was noticed on the way.
pub struct Loaded {
    pub model: Model,
    pub notes: Vec<String>,
    /// The checkpoint that it was adopted from; none for a GGUF, whose tensors may be copied as they are.
    pub source: Option<Arc<Source>>,
}

impl Loaded {
    /// Every file that is read when `path` is what was opened.
    pub fn files(&self, path: &Path) -> Vec<PathBuf> {
        [path.to_path_buf()].into_iter().chain(self.model.containers.iter().cloned()).collect()
    }

    /// The model without the layers that are left out.
    pub fn pruned(self, prune: &Prune) -> Result<Loaded> {
        Ok(Loaded { model: prune.apply(self.model)?, ..self })
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
    /// What is measured of it when the weights are written: where the merge is rounded to 16 bits, and all that may change
    /// if the target says so.
    pub meter: Option<Arc<Meter>>,
}

impl Step {
    /// What becomes of the tensor, in a word.
    pub fn fate(&self) -> &'static str {
        self.verdict.map_or(if self.from == self.to { "copied" } else { "converted" }, |v| v.fate.word())
    }

    /// What has been measured, if the merge is rounded to 16 bits here.
    pub fn loss(&self) -> Option<Measured> {
        let merged = self.verdict.is_some_and(|v| v.fate == Fate::Merged);
        let meter = self.meter.as_ref().filter(|_| merged && is_half(self.to))?;
        Some(meter.total()).filter(|found| found.moved.count > 0)
    }
}

/// What a merge makes of each tensor, and how much it gets of each vector.
pub type Fates<'a> = (&'a [Verdict], Vec<Vec<f64>>);

/// All that is known before a weight is read.
pub struct Plan {
    pub kind: Type,
    /// One for each tensor, in the order of the output.
    pub steps: Vec<Step>,
    /// Tensors of the model that the output does not hold, each with the reason.
    pub dropped: Vec<(String, &'static str)>,
    /// Bytes of all files.
    pub total: u64,
    pub notes: Vec<String>,
    /// The models that it is made from.
    pub origins: Vec<Origin>,
    /// What a merge makes of the tokens.
    pub vocabulary: Option<Arc<Summary>>,
    /// What a budget was spent on, if the dtypes were chosen by one.
    pub budget: Option<Account>,
    content: Content,
}

/// The output: final names, order, dtypes and metadata; its rows are still where they were.
enum Content {
    Gguf { model: Model, split: Option<Split> },
    Directory { metadata: Metadata, directory: Directory },
}

impl Plan {
    /// Gives every tensor of `input` its final dtype, name and place. `onto` is the model as it was before a merge,
    /// tensor by tensor; `card` makes the model card of a merge.
    pub fn new(
        input: Loaded,
        onto: &Model,
        fates: Option<Fates<'_>>,
        target: &Target,
        origins: Vec<Origin>,
        card: impl FnOnce(&Model) -> Option<Card>,
    ) -> Result<Plan> {
        if target.budget.is_some() && !matches!(target.kind, Type::Gguf(_) | Type::Auto) {
            return Err(Error::usage("--target-size and --target-bpw work on GGUF outputs only")
                .found(format!("the type {}", target.kind.name()))
                .mend("leave out one or the other"));
        }
        let mut plan = match target.kind {
            Type::Gguf(ftype) => quantized(input, onto, fates, Some(ftype), target)?,
            Type::Auto => quantized(input, onto, fates, None, target)?,
            Type::Copy => copied(input, fates.is_some(), target)?,
            Type::Safetensors(dtype) => {
                let card = card(&input.model);
                released(input, onto, fates, dtype, target, card)?
            }
        };
        plan.total = plan.layout(Path::new(""))?.total();
        plan.origins = origins;
        plan.budget.as_ref().map_or(Ok(()), |account| account.keeps(plan.total))?;
        Ok(plan)
    }

    /// The same model in other files: metadata, tensors and their order stay.
    pub fn rearranged(mut model: Model, split: Option<Split>) -> Result<Plan> {
        gguf::unsplit(&mut model.metadata);
        let tensors = std::mem::take(&mut model.tensors).into_iter();
        let parts = tensors.map(as_it_is).collect::<Result<Vec<_>>>()?;
        let mut plan = Plan::gguf(Type::Copy, model, parts, split, Vec::new());
        plan.total = plan.layout(Path::new(""))?.total();
        Ok(plan)
    }

    /// A GGUF of these tensors.
    fn gguf(
        kind: Type,
        model: Model,
        parts: Vec<(Tensor, Step)>,
        split: Option<Split>,
        notes: Vec<String>,
    ) -> Plan {
        let (tensors, steps) = parts.into_iter().unzip();
        let content = Content::Gguf { model: Model { tensors, ..model }, split };
        let (dropped, origins) = (Vec::new(), Vec::new());
        Plan { kind, steps, dropped, total: 0, notes, origins, vocabulary: None, budget: None, content }
    }

    /// The output as files at `path`; the names of several are made of it.
    pub fn layout(&self, path: &Path) -> Result<Layout<'_>> {
        match &self.content {
            Content::Gguf { model, split: None } => gguf::plan(model, path),
            Content::Gguf { model, split: Some(split) } => gguf::plan_split(model, path, split),
            Content::Directory { directory, .. } => safetensors::plan(directory, path),
        }
    }

    /// What is opened to read the output: the first of its files, or the directory.
    pub fn first(&self, path: &Path) -> Result<PathBuf> {
        let first = (!self.is_directory()).then(|| self.layout(path)).transpose()?;
        Ok(first.and_then(|layout| layout.paths().into_iter().next()).unwrap_or_else(|| path.to_path_buf()))
    }

    /// Whether the output is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.content, Content::Directory { .. })
    }

    /// The metadata of the output, in GGUF's words.
    pub fn metadata(&self) -> &Metadata {
        match &self.content {
            Content::Gguf { model, .. } => &model.metadata,
            Content::Directory { metadata, .. } => metadata,
        }
    }

    /// What rounding to 16 bits lost of the merge, once the weights are written; none if nothing was rounded so.
    pub fn loss(&self) -> Option<Measured> {
        let mut losses = self.steps.iter().filter_map(Step::loss).peekable();
        losses.peek()?;
        Some(losses.sum())
    }

    /// Measures what an earlier run has written, so that the figures are whole. Runs on the current rayon pool.
    pub fn measure_rest(&self) -> Result<()> {
        let tensors: Vec<&Tensor> = match &self.content {
            Content::Gguf { model, .. } => model.tensors.iter().collect(),
            Content::Directory { directory, .. } => directory.tensors.iter().map(|t| &t.tensor).collect(),
        };
        let meters =
            self.steps.par_iter().zip(tensors).filter_map(|(step, t)| Some((step.meter.as_ref()?, t)));
        meters.try_for_each(|(meter, tensor)| meter.fill(tensor))
    }

    /// The weights of the output.
    pub fn elements(&self) -> u64 {
        self.steps.iter().map(|s| s.shape.elements()).sum()
    }

    /// Bits a weight, without metadata and padding.
    pub fn bits_per_weight(&self) -> f64 {
        let bytes: u64 = self.steps.iter().map(|s| s.bytes).sum();
        bytes as f64 * 8.0 / (self.elements().max(1)) as f64
    }

    /// The memory that the work takes beside the mapped inputs, in bytes, at most: each thread holds a chunk of the
    /// output, and of every source a block decoded to f64, the same in f32, and its encoding.
    pub fn memory(&self, threads: usize) -> u64 {
        let longest = self.steps.iter().map(|s| s.shape.row()).max().unwrap_or(0);
        let merges = self.steps.iter().any(|s| s.verdict.is_some_and(|v| v.fate == Fate::Merged));
        let metered = self.steps.iter().any(|s| s.meter.is_some());
        let per_weight = if merges { 4 * 8 + 4 * 4 } else { 3 * 4 } + if metered { 5 * 4 } else { 0 };
        let per_chunk =
            |s: &Step| s.bytes / s.shape.rows().max(1) * (CHUNK as u64 / s.shape.row().max(1)).max(1);
        let chunk = self.steps.iter().map(per_chunk).max().unwrap_or(0);
        (longest.max(BLOCK as u64) * per_weight + chunk) * threads as u64
    }

    /// What the file is called for: its type, or its bits a weight if a budget made it, for then it is no file of that
    /// mixture.
    pub fn encoding(&self) -> String {
        match &self.budget {
            Some(_) => format!("{:.2}bpw", self.bits_per_weight()),
            None => self.kind.name().to_string(),
        }
    }

    /// The name by GGUF's naming convention: `BaseName-SizeLabel-FineTune-Version-Encoding.gguf`, without the ending
    /// for a directory; `mark` tells outputs apart that differ in something else, and stands before the encoding.
    pub fn file_name(&self, mark: Option<&str>) -> PathBuf {
        let m = self.metadata();
        let part =
            |key: &str| m.str(key).map(|s| s.trim().replace([' ', '/', '\\'], "-")).filter(|s| !s.is_empty());
        let name =
            part("general.basename").or_else(|| part("general.name")).unwrap_or_else(|| "model".into());
        let rest = ["general.size_label", "general.finetune", "general.version"].into_iter().filter_map(part);
        let end = mark.map(String::from).into_iter().chain([self.encoding()]);
        let parts: Vec<String> = [name].into_iter().chain(rest).chain(end).collect();
        PathBuf::from(parts.join("-") + if self.is_directory() { "" } else { ".gguf" })
    }
}

/// A GGUF file; which mixture stands for it is open only if there is a budget.
fn quantized(
    input: Loaded,
    onto: &Model,
    fates: Option<Fates<'_>>,
    named: Option<&'static Ftype>,
    target: &Target,
) -> Result<Plan> {
    let mut model = input.model;
    let is_gguf = input.source.is_none();
    if !is_gguf {
        // A checkpoint is quantized as if its F32 conversion were: so every route to a type gives the same bytes.
        model.tensors =
            model.tensors.into_iter().map(|t| t.encode(DType::F32, None)).collect::<Result<_>>()?;
    }
    // The hyperparameters are those that the output will have.
    target.overrides.iter().for_each(|(key, value)| model.metadata.set(key, value.clone()));
    let mut facts = ftype::Facts::of(&model)?;
    // The mixtures go by the layers that there were, as in llama-quantize.
    facts.n_layer = facts.n_layer.saturating_add(target.prune.len());
    let (ftype, assignments, account) = assigned(&model, &facts, is_gguf.then_some(onto), named, target)?;
    let ftype::Weighed { weights, notes } =
        ftype::weigh(&model.tensors, &assignments, target.importance.as_ref())?;
    let names = model.tensors.iter().map(|t| t.name.as_str());
    let unused = TensorType::unused(&target.options.tensor_types, names);
    let notes = [input.notes, target.prune.note().into_iter().collect(), unused, notes].concat();
    let mut parts = Vec::with_capacity(model.tensors.len());
    let tensors = std::mem::take(&mut model.tensors).into_iter().map(Tensor::trimmed);
    for (i, ((tensor, given), importance)) in tensors.zip(assignments).zip(weights).enumerate() {
        if !target.allow_requantize && tensor.dtype().is_quantized() && given.dtype != tensor.dtype() {
            requantizing(&tensor.name, tensor.dtype(), given.dtype)?;
        }
        let how = How { dtype: given.dtype, importance, measure: target.measure };
        let stored = Stored::new(tensor, onto.tensors.get(i), fate(&fates, i), how)?;
        parts.push(stored.step(None, given.fallback));
    }
    let split = divided(&mut parts, is_gguf.then_some(onto), target)?;
    stamp(&mut model.metadata, Some(ftype), target);
    Ok(Plan { budget: account, ..Plan::gguf(Type::Gguf(ftype), model, parts, split, notes) })
}

/// A GGUF file with the tensors of another.
fn copied(input: Loaded, merges: bool, target: &Target) -> Result<Plan> {
    if merges || input.source.is_some() {
        return Err(Error::usage("COPY copies the tensors of a GGUF as they are")
            .mend("choose the type that the output shall have, such as F16 or Q4_K_M"));
    }
    let mut model = input.model;
    let tensors = std::mem::take(&mut model.tensors).into_iter();
    let mut parts = tensors.map(|t| as_it_is(t.trimmed())).collect::<Result<Vec<_>>>()?;
    let split = divided(&mut parts, Some(&model), target)?;
    stamp(&mut model.metadata, None, target);
    let notes =
        [input.notes, target.prune.note().into_iter().collect(), idle(&target.quantizing(), "COPY")].concat();
    Ok(Plan::gguf(Type::Copy, model, parts, split, notes))
}

/// A tensor that is copied.
fn as_it_is(tensor: Tensor) -> Result<(Tensor, Step)> {
    let dtype = tensor.dtype();
    Ok(Stored::new(tensor, None, None, How { dtype, importance: None, measure: false })?.step(None, None))
}

/// Puts the tensors in their final order, that of llama-quantize unless the parts of `source` are kept, and says where they
/// are split.
fn divided(parts: &mut [(Tensor, Step)], source: Option<&Model>, target: &Target) -> Result<Option<Split>> {
    if target.division != Division::Kept {
        parts.sort_by(|(a, _), (b, _)| ftype::order(&a.name).cmp(&ftype::order(&b.name)));
    }
    target.division.split(source, parts.iter().map(|(t, _)| t.name.as_str()), &target.prune)
}

/// What to say about options that count only where something is quantized.
fn idle(said: &[&str], kind: &str) -> Vec<String> {
    if said.is_empty() { Vec::new() } else { vec![format!("no effect on {kind}: {}", said.join(", "))] }
}

/// The dtypes, by the mixture or by the budget; with the ftype that the file goes by.
fn assigned(
    model: &Model,
    facts: &ftype::Facts,
    source: Option<&Model>,
    named: Option<&'static Ftype>,
    target: &Target,
) -> Result<(&'static Ftype, Vec<Assignment>, Option<Account>)> {
    let ftype = match (&target.budget, named) {
        (None, Some(ftype)) => ftype,
        (None, None) => return Err(Error::usage("neither a type nor a budget is given")),
        (Some(budget), named) => {
            let terms = budget::Terms {
                options: &target.options,
                importance: target.importance.as_ref(),
                allow_requantize: target.allow_requantize,
                ftype: named,
                overhead: overhead(model, source, target)?,
            };
            let bought = budget::choose(model, facts, budget, &terms)?;
            return Ok((bought.ftype, bought.assignments, Some(bought.account)));
        }
    };
    Ok((ftype, ftype::assign(facts, ftype, &target.options)?, None))
}

/// Bytes of the output beside its tensors and their padding, whatever their dtypes; of one that is split, as many as
/// its parts would be in the dtypes that the tensors have.
fn overhead(model: &Model, source: Option<&Model>, target: &Target) -> Result<u64> {
    let mut model = model.clone();
    stamp(&mut model.metadata, Some(&ftype::FTYPES[0]), target);
    let mut parts = model.tensors.drain(..).map(as_it_is).collect::<Result<Vec<_>>>()?;
    let split = divided(&mut parts, source, target)?;
    let plan = Plan::gguf(Type::Auto, model, parts, split, Vec::new());
    let alignment = gguf::alignment(plan.metadata())?;
    let weights: u64 = plan.steps.iter().map(|s| s.bytes.next_multiple_of(alignment)).sum();
    Ok(plan.layout(Path::new(""))?.total().saturating_sub(weights))
}

/// A Hugging Face directory.
fn released(
    input: Loaded,
    onto: &Model,
    fates: Option<Fates<'_>>,
    dtype: Option<DType>,
    target: &Target,
    card: Option<Card>,
) -> Result<Plan> {
    let Some(source) = input.source else {
        return Err(checkpoint::refuse(onto.containers.first().map(PathBuf::as_path)));
    };
    let released = source.release(&input.model)?;
    let origins = source.release(onto)?.tensors;
    if !target.prune.is_empty() || !target.overrides.is_empty() {
        return Err(Error::unsupported("--prune-layers and --override-kv work on GGUF outputs only")
            .mend("leave them out, or choose a GGUF --type"));
    }
    let fate = |name: &str| fate(&fates, input.model.tensors.iter().position(|t| t.name == name)?);
    let mut parts = Vec::with_capacity(released.tensors.len());
    for (i, Named { name, tensor }) in released.tensors.into_iter().enumerate() {
        let dtype = dtype.unwrap_or_else(|| source.dtype(&name));
        let fate = fate(&tensor.name);
        let origin = origins.get(i).map(|o| &o.tensor).filter(|o| o.name == tensor.name);
        let how = How { dtype, importance: None, measure: target.measure };
        let (tensor, step) = Stored::new(tensor, origin, fate, how)?.step(Some(&name), None);
        parts.push((Named { name, tensor }, step));
    }
    parts.sort_by(|(a, _), (b, _)| ftype::order(&a.tensor.name).cmp(&ftype::order(&b.tensor.name)));
    let (tensors, steps): (Vec<Named>, Vec<Step>) = parts.into_iter().unzip();
    let metadata = input.model.metadata;
    let mut directory = source.directory(tensors, &metadata, dtype, card)?;
    directory.shard = target.division.bytes().unwrap_or(target.shard);
    let said = [target.quantizing(), target.division.not_of_directories()].concat();
    let dropped = released.left.into_iter().map(|name| (name, "follows from the configuration")).collect();
    let content = Content::Directory { metadata, directory };
    Ok(Plan {
        kind: target.kind,
        steps,
        dropped,
        total: 0,
        notes: [input.notes, idle(&said, target.kind.name())].concat(),
        origins: Vec::new(),
        vocabulary: None,
        budget: None,
        content,
    })
}

/// Writes what was done into the metadata, in the order of llama-quantize.
fn stamp(metadata: &mut Metadata, ftype: Option<&Ftype>, target: &Target) {
    ftype::stamp(metadata, ftype);
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

/// What becomes of one tensor.
type Fated = (Verdict, Vec<f64>);

fn fate(fates: &Option<Fates<'_>>, i: usize) -> Option<Fated> {
    let (verdicts, weights) = fates.as_ref()?;
    Some((*verdicts.get(i)?, weights.get(i)?.clone()))
}

/// A tensor in its final dtype.
struct Stored {
    tensor: Tensor,
    from: DType,
    fate: Option<Fated>,
    meter: Option<Arc<Meter>>,
}

/// How a tensor is stored.
struct How {
    dtype: DType,
    /// How much each weight matters.
    importance: Option<Arc<[f32]>>,
    /// Whether to measure what that changes.
    measure: bool,
}

/// Whether this is a float of 16 bits.
fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

impl Stored {
    /// `onto` is the tensor before the merge. Where merged weights are rounded to 16 bits it is always measured what that
    /// loses.
    fn new(tensor: Tensor, onto: Option<&Tensor>, fate: Option<Fated>, how: How) -> Result<Stored> {
        let from = onto.map_or(tensor.dtype(), Tensor::dtype);
        let merged = fate.as_ref().is_some_and(|(v, _)| v.fate == Fate::Merged);
        let changes = tensor.dtype() != how.dtype;
        let before = onto.filter(|onto| merged && onto.shape() == tensor.shape()).cloned();
        let rounds = is_half(how.dtype) && changes && before.is_some();
        let measure = how.measure && (changes || before.is_some()) && how.dtype.traits().decode.is_some();
        let (tensor, meter) = match rounds || measure {
            true => {
                let (tensor, meter) = metered(tensor, before, how.dtype, how.importance)?;
                (tensor, Some(meter))
            }
            false => (tensor.encode(how.dtype, how.importance)?, None),
        };
        Ok(Stored { tensor, from, fate, meter })
    }

    /// The tensor and its line in the plan.
    fn step(self, name: Option<&str>, fallback: Option<DType>) -> (Tensor, Step) {
        let (verdict, weights) = self.fate.unzip();
        let step = Step {
            name: name.unwrap_or(&self.tensor.name).to_string(),
            shape: *self.tensor.shape(),
            from: self.from,
            to: self.tensor.dtype(),
            bytes: self.tensor.bytes(),
            verdict,
            weights: weights.unwrap_or_default(),
            fallback,
            meter: self.meter,
        };
        (self.tensor, step)
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
