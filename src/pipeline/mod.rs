//! THE LINE: open -> adopt -> merge -> assign -> write. Everything before `write` touches headers only; the
//! weights move once, in the writer, through the wrappers that were put around them on the way.
//! Here models are opened and single ones planned; `merging` plans merges, `written` carries plans out.

mod merging;
mod written;

pub use merging::{Grafted, graft};
pub use written::{
    Work, are_of_plan, finish, is_finished, is_prepared, look, nothing_grows, prepare, write, write_beside,
    write_spans,
};

use crate::adapter::{self, Adapter, whole};
use crate::arch;
use crate::checkpoint::{Card, Source};
use crate::ftype::Ftype;
use crate::merge::{Origin, Vector};
use crate::nearest::nearest;
use crate::output::plan::in_company;
pub use crate::output::plan::{Loaded, Plan, Step};
pub use crate::output::target::{Target, Type};
use crate::placed::placed;
use crate::predicting;
use crate::text::shown;
use crate::unpack::{self, unscaled};
use ggraft_formats::source::Access;
pub use ggraft_formats::write::{Beside, Resume};
use ggraft_formats::{Checkpoint, Error, Input, Kind, Model, Result, Tensor};
use std::path::Path;
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
pub fn rearranged(model: Model, kind: Type) -> Result<Plan> {
    let tensors = model.tensors.into_iter().map(|t| t.checked()).collect();
    Plan::rearranged(placed(Model { tensors, ..model })?, kind, None)
}

/// Plans the adapters that a model has within its weights, each with the name of its task; of most there are none.
///
/// # Errors
/// Its config and its tensors do not fit each other.
pub fn tasks(input: &Loaded) -> Result<Vec<(String, Plan)>> {
    let Some(source) = input.source.as_ref().filter(|source| !source.is_projector) else {
        return Ok(Vec::new());
    };
    let kind = Ftype::find("F32").map_or(Type::Copy, Type::Gguf);
    let plan = |task: adapter::Task| Ok((task.name, rearranged(task.adapter, kind)?));
    adapter::tasks(&source.checkpoint)?.into_iter().map(plan).collect()
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
