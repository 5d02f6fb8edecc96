//! THE LINE: open -> adopt -> merge -> assign -> write. Everything before `write` touches headers only; the
//! weights move once, in the writer, through the wrappers that were put around them on the way.

use crate::adapter::{Adapter, whole};
use crate::arch;
use crate::checkpoint::{Card, Source};
use crate::merge::{self, Graft, Origin, Vector};
use crate::nearest::nearest;
use crate::output::plan::in_company;
pub use crate::output::plan::{Loaded, Plan, Step};
pub use crate::output::target::{Target, Type};
use crate::placed::placed;
use crate::predicting;
use crate::text::shown;
use crate::unpack::{self, unscaled};
use ggraft_formats::source::Access;
use ggraft_formats::stamp::Reads;
use ggraft_formats::write::{self, Job, Layout, Records, Span, Watch, parts};
pub use ggraft_formats::write::{Beside, Resume};
use ggraft_formats::{Checkpoint, Error, Input, Kind, Model, Result, Tensor};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Opens a model: a GGUF (its first part, if it is split), a safetensors file, or the directory of a checkpoint, which is
/// adopted into GGUF's names and metadata; or what `source::Locator` names. Headers are read, weights are not.
///
/// # Errors
/// The file cannot be read, is no model, or is damaged; the checkpoint's architecture is not covered, or its
/// tensors, `config.json` and tokenizer do not fit each other: all that is wrong stands in one error.
pub fn open(path: &Path, options: &arch::Options) -> Result<Loaded> {
    open_with(path, options, &Access::default())
}

/// The same, with a say in how a model is read that lies elsewhere.
///
/// # Errors
/// Those of [`open`]; and those of servers.
pub fn open_with(path: &Path, options: &arch::Options, access: &Access) -> Result<Loaded> {
    let (model, notes, source) = match input(path, access)? {
        Input::Model(model) => {
            let (model, notes) = predicting::of_gguf(model, options.predicting)?;
            (model, notes, None)
        }
        Input::Checkpoint(checkpoint) => {
            let adopted = arch::adopt(&checkpoint, options)?;
            let source = source(checkpoint, &adopted);
            (adopted.model, adopted.warnings, Some(Arc::new(source)))
        }
    };
    loaded(model, notes, source)
}

/// What lies at `path`, its packing undone.
pub(crate) fn input(path: &Path, access: &Access) -> Result<Input> {
    match ggraft_formats::open_with(path, access).map_err(|e| nearby(e, path))? {
        Input::Model(model) => {
            arch::refuse::gguf(&model)?;
            Ok(Input::Model(model))
        }
        Input::Checkpoint(checkpoint) => {
            whole::refuse(&checkpoint)?;
            Ok(Input::Checkpoint(unpack::unpacked(checkpoint)?))
        }
    }
}

/// What an output gets its names and files from.
pub(crate) fn source(checkpoint: Checkpoint, adopted: &arch::Adopted) -> Source {
    let (metadata, stored) = (adopted.model.metadata.clone(), adopted.stored.clone());
    Source { checkpoint, metadata, is_projector: false, stored }
}

/// The error for a path that is not there, with the name beside it that was probably meant.
fn nearby(e: Error, path: &Path) -> Error {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    if e.kind() != Kind::Io || name.is_empty() || path.symlink_metadata().is_ok() {
        return e;
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let entries = std::fs::read_dir(dir.unwrap_or(Path::new("."))).into_iter().flatten().flatten();
    let names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    match nearest(&name, names.iter().map(String::as_str)) {
        Some(near) => e.hint(format!("did you mean {}?", shown(&path.with_file_name(near)))),
        None => e,
    }
}

/// Opens what sees and hears of a checkpoint, which is written as a GGUF of its own.
///
/// # Errors
/// Those of [`open`]; the model neither sees nor hears, or is a GGUF.
pub fn open_projector(path: &Path, options: &arch::Options, access: &Access) -> Result<Loaded> {
    let Input::Checkpoint(checkpoint) = ggraft_formats::open_with(path, access)? else {
        return Err(Error::usage(
            "a GGUF holds one part of a model: --mmproj takes the other from a checkpoint",
        )
        .file(path)
        .hint("give the Hugging Face directory of the model that sees"));
    };
    let checkpoint = unpack::unpacked(checkpoint)?;
    let adopted = arch::adopt_projector(&checkpoint, options)?;
    let metadata = adopted.model.metadata.clone();
    let source = Source { checkpoint, metadata, is_projector: true, stored: adopted.stored };
    loaded(adopted.model, adopted.warnings, Some(Arc::new(source)))
}

pub(crate) fn loaded(model: Model, notes: Vec<String>, source: Option<Arc<Source>>) -> Result<Loaded> {
    let tensors = model.tensors.into_iter().map(|t| t.checked()).collect();
    Ok(Loaded::new(placed(Model { tensors, ..model })?, notes, source))
}

/// `body` with the layers of `donor` that predict further tokens.
///
/// # Errors
/// Those of [`predicting::grafted`].
pub fn grafted(body: Loaded, donor: Loaded) -> Result<Loaded> {
    let (model, told) = predicting::grafted(body.model, donor.model)?;
    Ok(Loaded { model, notes: [body.notes, told].concat(), ..body })
}

/// A model to be computed with: its weights as they are meant, also those that stand under a scale of the whole.
///
/// # Errors
/// A scale does not fit its tensor.
pub fn meant(loaded: Loaded) -> Result<Loaded> {
    Ok(Loaded { model: unscaled(loaded.model)?, ..loaded })
}

/// What an adapter adds to `onto`, as a vector whose base is `onto` itself: `out = CP + w * (CP with the adapter - CP)`.
///
/// # Errors
/// The adapter does not fit the model: all that is wrong stands in one error.
pub fn wear(onto: &Loaded, adapter: &Adapter, options: &arch::Options) -> Result<Vector> {
    let checkpoint = onto.source.as_ref().map(|source| &source.checkpoint);
    adapter.vector(&onto.model, checkpoint, options)
}

/// Plans a directory that holds chat - base, to be put on a model in another run.
///
/// # Errors
/// The models are not of one shape; chat is a GGUF.
pub fn vector(chat: Loaded, base: &Model, target: &Target) -> Result<Plan> {
    let source = chat.source.ok_or_else(|| {
        Error::usage("a whole vector has the names and the files of a checkpoint")
            .expected("chat as a Hugging Face checkpoint")
            .found("a GGUF")
    })?;
    let held = source.checkpoint.tensors.iter().map(|t| t.name.clone()).collect();
    let origins = vec![Origin::of("chat", &chat.model)?, Origin::of("base", base)?];
    let (model, notes) = whole::difference(&chat.model, base, Some(held))?;
    base.reads.all().into_iter().for_each(|stamp| model.reads.add(stamp));
    let onto = model.clone();
    let card = |model: &Model| {
        Some(Card {
            name: model.metadata.str(whole::TOLD).unwrap_or_default().to_string(),
            formula: Some("chat - base"),
            origins: origins.clone(),
            command: String::from("ggraft merge --onto MODEL --adapter THIS-DIRECTORY"),
            notes: vec![String::from("a chat vector, not a model: no runtime can load it")],
            ..Card::default()
        })
    };
    let loaded = Loaded::new(model, [chat.notes, notes].concat(), Some(source));
    Plan::new(loaded, &onto, None, target, origins.clone(), card)
}

/// Plans a model as it is: metadata, tensors and their order stay.
///
/// # Errors
/// A GGUF cannot hold it.
pub fn rearranged(model: Model) -> Result<Plan> {
    let tensors = model.tensors.into_iter().map(|t| t.checked()).collect();
    Plan::rearranged(placed(Model { tensors, ..model })?, None)
}

/// Plans a conversion or quantization of one model.
///
/// # Errors
/// The target cannot hold it: a dtype that the rows do not fit, a budget below the least size, a directory for a model
/// that came without a checkpoint.
pub fn convert(input: Loaded, target: &Target) -> Result<Plan> {
    let input = input.pruned(&target.prune)?;
    let input = if matches!(target.kind, Type::Safetensors(_)) { meant(input)? } else { input };
    let onto = input.model.clone();
    let origin = Origin::of("input", &onto)?;
    Plan::new(input, &onto, None, target, vec![origin], |_| None)
}

/// Plans several outputs of one model, which is read and decoded once for all when they are written together.
///
/// # Errors
/// Those of [`convert`], for any of them.
pub fn convert_all(input: Loaded, targets: &[Target]) -> Result<Vec<Plan>> {
    let input = read_once(input, targets.len())?;
    let mut plans =
        targets.iter().map(|target| convert(input.clone(), target)).collect::<Result<Vec<_>>>()?;
    in_company(&mut plans);
    Ok(plans)
}

/// The same without writing any: what one target makes impossible says nothing of the others.
///
/// # Errors
/// The model cannot be read.
pub fn convert_each(input: Loaded, targets: &[Target]) -> Result<Vec<Result<Plan>>> {
    let input = read_once(input, targets.len())?;
    Ok(targets.iter().map(|target| convert(input.clone(), target)).collect())
}

/// The model, whose weights are remembered between so many outputs.
fn read_once(mut input: Loaded, outputs: usize) -> Result<Loaded> {
    if outputs > 1 {
        let tensors = std::mem::take(&mut input.model.tensors).into_iter();
        input.model.tensors = tensors.map(Tensor::remembered).collect::<Result<_>>()?;
    }
    Ok(input)
}

/// Matches `vectors` with `onto`; from the result every output is planned. `how` is a method such as `CHAT_VECTOR`, or all
/// that may be decided about a merge.
///
/// # Errors
/// The models do not belong together: shapes, vocabularies, configurations, or weights that show another parent.
pub fn graft(onto: Loaded, vectors: &[Vector], how: impl Into<merge::Options>) -> Result<Grafted> {
    let models = vectors.iter().flat_map(|v| [&v.chat, &v.base]);
    models.flat_map(|m| m.reads.all()).for_each(|stamp| onto.model.reads.add(stamp));
    let mut how = how.into();
    if let Some(source) = &onto.source {
        how.held = Some(source.checkpoint.tensors.iter().map(|t| t.name.clone()).collect());
    }
    how.stack = onto.stack;
    let mut graft = Graft::new(onto.model, vectors, how)?;
    graft.notes.splice(0..0, onto.notes);
    Ok(Grafted { graft, source: onto.source, command: String::from("ggraft merge") })
}

/// Models that belong together.
pub struct Grafted {
    pub graft: Graft,
    /// The checkpoint of CP, if it is not a GGUF.
    source: Option<Arc<Source>>,
    /// The command that merges them, but for weight and type; it stands in model cards.
    pub command: String,
}

impl Grafted {
    /// Plans the output with each set of weights (one a vector) and for each target, in this order.
    ///
    /// # Errors
    /// Those of [`convert`], for the merged model.
    pub fn plans(&self, weights: &[Vec<f64>], targets: &[Target]) -> Result<Vec<Plan>> {
        let mut plans = Vec::with_capacity(weights.len() * targets.len());
        for weights in weights {
            let (estimated, measured) = (Arc::default(), Arc::default());
            for target in targets {
                let model = self.graft.model(weights)?;
                let (vocabulary, left_out) = self.graft.tokens(weights);
                let notes = [&self.graft.notes[..], &left_out].concat();
                let source = self.source.clone();
                let loaded = Loaded::new(model, notes, source);
                let (estimated, measured) = (Arc::clone(&estimated), Arc::clone(&measured));
                let merged = Loaded { estimated, measured, ..loaded };
                let card = |model: &Model| Some(self.card(model, weights, target));
                let fates = Some((self.graft.verdicts(), self.graft.weights(weights)));
                let origins = self.graft.origins(weights);
                let mut plan = Plan::new(merged, self.graft.onto(), fates, target, origins, card)?;
                plan.vocabulary = Some(Arc::new(vocabulary));
                plan.passes = self.graft.passes();
                plans.push(plan);
            }
        }
        in_company(&mut plans);
        Ok(plans)
    }

    fn card(&self, model: &Model, weights: &[f64], target: &Target) -> Card {
        let command = match weights {
            // A vector, or a recipe, has its weight in itself.
            [w, ..] if self.command.contains(" --chat ") => {
                format!("{} --weight {w} --type {}", self.command, target.kind.name())
            }
            _ => format!("{} --type {}", self.command, target.kind.name()),
        };
        Card {
            name: model.metadata.str("general.name").unwrap_or("A merged model").to_string(),
            formula: Some(self.graft.method().formula),
            origins: self.graft.origins(weights),
            licence: self.graft.licence().map(String::from),
            command,
            notes: self.graft.notes.clone(),
            ..Card::default()
        }
    }
}

/// What a write is told beside the plans.
#[derive(Default)]
pub struct Work<'a> {
    /// The options, in words: an unfinished output is resumed if they, and the inputs, are the same.
    pub options: &'a str,
    pub resume: Resume,
    /// Whether an output may be replaced.
    pub force: bool,
    /// A folder in which one may be in any case.
    pub own: Option<&'a Path>,
    /// What is written beside the outputs once they are whole.
    pub beside: Vec<Beside>,
    /// The id of the plan that jobs carry out, if they do.
    pub plan: Option<&'a str>,
}

impl Work<'_> {
    fn job(&self, plans: &[(Plan, PathBuf)]) -> Job {
        let work = [("version", env!("CARGO_PKG_VERSION")), ("options", self.options)];
        let plan = self.plan.map(|id| (String::from("plan"), id.to_string()));
        let work = work.map(|(name, value)| (name.to_string(), value.to_string()));
        let inputs = Reads::default();
        plans.iter().flat_map(|(plan, _)| plan.reads.all()).for_each(|stamp| inputs.add(stamp));
        Job {
            work: plan.into_iter().chain(work).collect(),
            inputs: inputs.all(),
            resume: self.resume,
            force: self.force,
            own: self.own.map(PathBuf::from),
            beside: self.beside.clone(),
            is_shared: self.plan.is_some(),
        }
    }
}

fn layouts(plans: &[(Plan, PathBuf)]) -> Result<Vec<Layout<'_>>> {
    plans.iter().map(|(plan, path)| plan.layout(path)).collect()
}

/// Looks at every path that writing the plans would touch, and touches none: see `write::look`.
pub fn look(plans: &[(Plan, PathBuf)], work: &Work<'_>) -> Result<Vec<Error>> {
    write::look(&layouts(plans)?, &work.job(plans))
}

/// Writes each plan to its path, whose directory is made if it is missing; the inputs are read once for all. What was
/// written by a run that was stopped is taken over, if inputs and options are the same.
///
/// # Errors
/// An input changed or holds a weight that cannot be stored (NaN, infinity); a path is taken, the disk is full, or
/// `watch` stopped the work. Nothing that was there before is lost, and work that can be resumed stays.
pub fn write(plans: &[(Plan, PathBuf)], work: &Work<'_>, watch: &dyn Watch) -> Result<()> {
    write_beside(plans, work, watch, |_| Ok(Vec::new()))
}

/// The same with `work.beside`: `contents` is told where the files of each plan lie when they are whole, and gives what is
/// to stand in each of those files.
///
/// # Errors
/// Those of [`write`] and of `contents`.
pub fn write_beside(
    plans: &[(Plan, PathBuf)],
    work: &Work<'_>,
    watch: &dyn Watch,
    contents: impl FnOnce(&[Vec<PathBuf>]) -> Result<Vec<Vec<u8>>>,
) -> Result<()> {
    write::carry_out(&layouts(plans)?, &work.job(plans), watch, contents)
}

/// Makes the files of each plan and leaves them to the jobs of `work.plan`; `told` is called before that, when all are this
/// process's alone.
///
/// # Errors
/// A path is taken, or the disk has no room; those of `told`.
pub fn prepare(plans: &[(Plan, PathBuf)], work: &Work<'_>, told: impl FnOnce() -> Result<()>) -> Result<()> {
    parts::prepare(&layouts(plans)?, &work.job(plans), told)
}

/// Whether [`prepare`] has made all files, and they are still there to be filled.
///
/// # Errors
/// Something else has the name of a journal.
pub fn is_prepared(plans: &[(Plan, PathBuf)]) -> Result<bool> {
    parts::is_prepared(&layouts(plans)?)
}

/// Whether nothing lies where the files of the plans would grow.
///
/// # Errors
/// A container cannot hold a plan.
pub fn nothing_grows(plans: &[(Plan, PathBuf)]) -> Result<bool> {
    Ok(parts::nothing_grows(&layouts(plans)?))
}

/// Whether whatever lies where the plans' files grow was made for the plan of this id.
///
/// # Errors
/// Something else has the name of a journal.
pub fn are_of_plan(plans: &[(Plan, PathBuf)], id: &str) -> Result<bool> {
    parts::are_of_plan(&layouts(plans)?, id)
}

/// Writes these spans of each plan's files, as one of several jobs; the hashes of what was written.
///
/// # Errors
/// Those of [`write`]; and that the files were not made ready.
pub fn write_spans(
    plans: &[(Plan, PathBuf)],
    spans: &[Vec<Span>],
    work: &Work<'_>,
    records: &Records,
    watch: &dyn Watch,
) -> Result<Vec<Vec<(Span, String)>>> {
    parts::carry_out_spans(&layouts(plans)?, spans, &work.job(plans), records, watch)
}

/// Gives the outputs their names, once all jobs have written their spans. Bytes of which `hashes` are given are read again.
///
/// # Errors
/// Anything is missing, or not what was planned.
pub fn finish(
    plans: &[(Plan, PathBuf)],
    hashes: &[Vec<(Span, String)>],
    work: &Work<'_>,
    watch: &dyn Watch,
    contents: impl FnOnce(&[Vec<PathBuf>]) -> Result<Vec<Vec<u8>>>,
) -> Result<()> {
    parts::finish(&layouts(plans)?, hashes, &work.job(plans), watch, contents)
}

/// Whether all outputs have their names already, with nothing left to be done.
///
/// # Errors
/// They have, but are no longer what was written.
pub fn is_finished(plans: &[(Plan, PathBuf)], hashes: &[Vec<(Span, String)>]) -> Result<bool> {
    parts::is_finished(&layouts(plans)?, hashes)
}
