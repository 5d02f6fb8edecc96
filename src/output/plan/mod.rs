//! What one output is going to be, known before a weight is read: every tensor with its final name, dtype and
//! place, the bytes, the notes. Serves the pipeline, which makes and carries out plans, and `report`, which shows them.
//! The map: `gguf` and `directory` plan the two kinds of output, `stored` a tensor of either.

mod directory;
mod elsewhere;
mod fours;
mod gguf;
mod kept;
mod memory;
mod searched;
mod stored;
mod unheeded;

use crate::arch::about;
use crate::budget::{Account, Known};
use crate::checkpoint::{Card, Source};
use crate::ftype::{Importance, Prune};
use crate::measure::meter::{Measured, Meter};
use crate::merge::{Fate, Origin, Stack, Summary, Verdict};
use crate::meta;
use crate::output::target::{Target, Type};
use crate::text;
use crate::version::{Needs, needs};
pub use elsewhere::Fetched;
use ggraft_formats::figures::Figures;
use ggraft_formats::gguf::Split;
use ggraft_formats::quant::Vanished;
use ggraft_formats::safetensors::{self, Directory};
use ggraft_formats::stamp::Reads;
use ggraft_formats::write::Layout;
use ggraft_formats::{DType, Error, Metadata, Model, Result, Shape, Tensor};
pub use memory::in_company;
use rayon::prelude::*;
pub(crate) use searched::SEARCH;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// A model that has been opened and speaks GGUF, and what was noticed on the way.
#[derive(Clone)]
pub struct Loaded {
    pub model: Model,
    pub notes: Vec<String>,
    /// The checkpoint that it was adopted from; none for a GGUF, whose tensors may be copied as they are.
    pub source: Option<Arc<Source>>,
    /// What its weights tell of their importance, once that was asked.
    pub estimated: Arc<OnceLock<Importance>>,
    /// What they lose as dtypes that a budget has asked for.
    pub measured: Arc<Known>,
    /// The layers that it consists of, if they are of several models.
    pub stack: Option<Stack>,
}

impl Loaded {
    /// A model of which no more is known.
    pub fn new(model: Model, notes: Vec<String>, source: Option<Arc<Source>>) -> Loaded {
        Loaded { model, notes, source, estimated: Arc::default(), measured: Arc::default(), stack: None }
    }

    /// The model without the layers that are left out.
    pub fn pruned(self, prune: &Prune) -> Result<Loaded> {
        if prune.is_empty() {
            return Ok(self);
        }
        // What was told of tensors is not told of those that get their names.
        let (model, notes) = prune.apply(self.model)?;
        let known = (Arc::default(), Arc::default());
        Ok(Loaded {
            model,
            notes: [self.notes, notes].concat(),
            estimated: known.0,
            measured: known.1,
            ..self
        })
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
    /// What is stored as zeros, although it is something else: counted when the weights are written.
    pub vanished: Arc<Vanished>,
}

impl Step {
    /// What becomes of the tensor, in a word.
    pub fn fate(&self) -> &'static str {
        self.verdict.map_or(if self.from == self.to { "copied" } else { "converted" }, |v| v.fate.word())
    }

    /// How far the merge has moved it; none if it is kept or was not measured.
    pub fn delta(&self) -> Option<Figures> {
        let moved = self.meter.as_ref()?.total().moved;
        (moved.count > 0).then_some(moved)
    }

    /// What to say of a dtype that stands in for the one that the mixture wanted.
    pub fn fallback_note(&self) -> Option<String> {
        let wanted = self.fallback?;
        let (name, row, block) = (&self.name, self.shape.row(), wanted.block());
        Some(format!("{name}: rows of {row} do not fill whole {wanted} blocks of {block} -> {}", self.to))
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
    /// How often the weights of the inputs are read: more than once where a method must know of a whole tensor first.
    pub passes: u64,
    /// What the other outputs of the run take beside this one.
    company: Share,
    /// Every file that was read for it, as it was when it was opened.
    pub reads: Reads,
    content: Content,
}

/// The output: final names, order, dtypes and metadata; its rows are still where they were.
enum Content {
    Gguf { model: Model, split: Option<Split> },
    Directory { metadata: Metadata, directory: Directory },
}

/// What the outputs of a run add.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    /// Bytes of headers.
    heads: u64,
    /// Bytes that each thread holds.
    chunks: u64,
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
            return Err(Error::usage(
                "a budget (--target-size, --target-bpw, --target-kld, --for) works on GGUF outputs only",
            )
            .found(format!("the type {}", target.kind.name()))
            .hint("leave out one or the other"));
        }
        let reads = input.model.reads.clone();
        target.reads.all().into_iter().for_each(|stamp| reads.add(stamp));
        let mut input = input;
        if let Some(name) = &target.name {
            about::rename(&mut input.model.metadata, name);
        }
        meta::check_overrides(&input.model, &target.overrides)?;
        let mut plan = match target.kind {
            Type::Gguf(ftype) => gguf::quantized(input, onto, fates, Some(ftype), target)?,
            Type::Auto => gguf::quantized(input, onto, fates, None, target)?,
            Type::Keep => kept::kept(input, fates, target)?,
            Type::Copy => gguf::copied(input, fates.is_some(), target)?,
            Type::Safetensors(dtype) => {
                let card = card(&input.model);
                directory::released(input, onto, fates, dtype, target, card)?
            }
        };
        plan.total = plan.layout(Path::new(""))?.total();
        plan.origins = origins;
        plan.reads = reads;
        plan.budget.as_ref().map_or(Ok(()), |account| account.keeps(plan.total))?;
        Ok(plan)
    }

    /// The same model in other files: metadata, tensors and their order stay; `kind` is what they are called.
    pub fn rearranged(model: Model, kind: Type, split: Option<Split>) -> Result<Plan> {
        let reads = model.reads.clone();
        let mut plan = Plan { reads, ..gguf::rearranged(model, kind, split)? };
        plan.total = plan.layout(Path::new(""))?.total();
        Ok(plan)
    }

    /// The output as files at `path`; the names of several are made of it.
    pub fn layout(&self, path: &Path) -> Result<Layout<'_>> {
        let layout = match &self.content {
            Content::Gguf { model, split: None } => ggraft_formats::gguf::plan(model, path),
            Content::Gguf { model, split: Some(split) } => {
                ggraft_formats::gguf::plan_split(model, path, split)
            }
            Content::Directory { directory, .. } => safetensors::plan(directory, path),
        };
        Ok(layout?.telling("type", self.kind.name()))
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

    /// The llama.cpp that the output needs; none for a directory, which it does not read.
    pub fn needs(&self) -> Option<Needs> {
        let is_gguf = matches!(self.content, Content::Gguf { .. });
        is_gguf.then(|| needs(self.metadata(), self.steps.iter().map(|step| step.to)))
    }

    /// What rounding to 16 bits lost of the merge, once the weights are written; none if nothing was rounded so.
    pub fn loss(&self) -> Option<Measured> {
        let mut losses = self.steps.iter().filter_map(Step::loss).peekable();
        losses.peek()?;
        Some(losses.sum())
    }

    /// Tensors and their bytes by what becomes of them: fate, dtype before and after.
    pub fn classes(&self) -> BTreeMap<(&'static str, String, String), (usize, u64)> {
        let mut classes = BTreeMap::new();
        for s in &self.steps {
            let entry = classes.entry((s.fate(), s.from.to_string(), s.to.to_string())).or_insert((0, 0));
            entry.0 += 1;
            entry.1 += s.bytes;
        }
        classes
    }

    /// The tensors of the output, whose rows are computed when they are read.
    pub fn tensors(&self) -> Vec<&Tensor> {
        match &self.content {
            Content::Gguf { model, .. } => model.tensors.iter().collect(),
            Content::Directory { directory, .. } => directory.tensors.iter().map(|t| &t.tensor).collect(),
        }
    }

    /// Measures what an earlier run has written, so that the figures are whole; between tensors it asks whether to
    /// `stop`. Runs on the current rayon pool.
    pub fn measure_rest(&self, stop: fn() -> Result<()>) -> Result<()> {
        let meters =
            self.steps.par_iter().zip(self.tensors()).filter_map(|(step, t)| Some((step.meter.as_ref()?, t)));
        meters.try_for_each(|(meter, tensor)| stop().and_then(|()| meter.fill(tensor)))
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
        let before = self.is_projector().then(|| String::from("mmproj"));
        let parts: Vec<String> = before
            .into_iter()
            .chain([self.stem()])
            .chain(mark.map(String::from))
            .chain([if self.steps.is_empty() { String::from("vocab") } else { self.encoding() }])
            .collect();
        PathBuf::from(parts.join("-") + if self.is_directory() { "" } else { ".gguf" })
    }

    /// Whether the output is what sees and hears of a model.
    pub fn is_projector(&self) -> bool {
        self.metadata().str("general.type") == Some("mmproj")
    }

    /// Whether the output is an adapter, which a model is used with.
    pub fn is_adapter(&self) -> bool {
        self.metadata().str("general.type") == Some("adapter")
    }

    /// What the model is called in file names, without the encoding.
    pub fn stem(&self) -> String {
        let part = |key: &str| self.metadata().str(key).and_then(text::file_name);
        let name =
            part("general.basename").or_else(|| part("general.name")).unwrap_or_else(|| "model".into());
        // A name that a user gives may hold the size.
        let has = |part: &String| name.split('-').any(|word| word.eq_ignore_ascii_case(part));
        let rest = ["general.size_label", "general.finetune", "general.version"].into_iter();
        // The size of a projector says nothing of the model that it belongs to.
        let rest = rest.filter(|key| !self.is_projector() || *key != "general.size_label").filter_map(part);
        [name.clone()].into_iter().chain(rest.filter(|part| !has(part))).collect::<Vec<_>>().join("-")
    }
}

/// What to say about options that count only where something is quantized.
fn idle(said: &[&str], kind: &str) -> Vec<String> {
    if said.is_empty() { Vec::new() } else { vec![format!("no effect on {kind}: {}", said.join(", "))] }
}

/// Whether this is a float of 16 bits.
fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}
