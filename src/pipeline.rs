//! THE LINE: open -> adopt -> merge -> assign -> write. Everything before `write` touches headers only; the
//! weights move once, in the writer, through the wrappers that were put around them on the way.

use crate::arch;
use crate::unpack;
use crate::checkpoint::{Card, Source};
use crate::hash::hexadecimal;
use crate::merge::{self, Graft, Origin, Vector};
pub use crate::output::plan::{Loaded, Plan, Step};
pub use crate::output::target::{Target, Type};
use ggraft_formats::stamp::Stamp;
pub use ggraft_formats::write::Resume;
use ggraft_formats::write::{self, Job, Watch};
use ggraft_formats::{Error, Input, Kind, Model, Result};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Opens `path`; a checkpoint is adopted into GGUF's names and metadata.
pub fn load(path: &Path, options: &arch::Options) -> Result<Loaded> {
    let (model, notes, source) = match ggraft_formats::open(path)? {
        Input::Model(model) => (model, Vec::new(), None),
        Input::Checkpoint(checkpoint) => {
            let checkpoint = unpack::unpacked(checkpoint)?;
            let adopted = arch::adopt(&checkpoint, options)?;
            let metadata = adopted.model.metadata.clone();
            (adopted.model, adopted.warnings, Some(Arc::new(Source { checkpoint, metadata })))
        }
    };
    let tensors = model.tensors.into_iter().map(|t| t.checked()).collect();
    Ok(Loaded { model: Model { tensors, ..model }, notes, source })
}

/// Plans a conversion or quantization of one model.
pub fn convert(input: Loaded, target: &Target) -> Result<Plan> {
    let input = input.pruned(&target.prune)?;
    let onto = input.model.clone();
    let origin = Origin::of("input", &onto)?;
    Plan::new(input, &onto, None, target, vec![origin], |_| None)
}

/// Matches `vectors` with `onto`; from the result every output is planned.
pub fn graft(onto: Loaded, vectors: &[Vector], how: impl Into<merge::Options>) -> Result<Grafted> {
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
    pub fn plans(&self, weights: &[Vec<f64>], targets: &[Target]) -> Result<Vec<Plan>> {
        let mut plans = Vec::with_capacity(weights.len() * targets.len());
        for weights in weights {
            for target in targets {
                let model = self.graft.model(weights)?;
                let merged = Loaded { model, notes: self.graft.notes.clone(), source: self.source.clone() };
                let card = |model: &Model| Some(self.card(model, weights, target));
                let fates = Some((self.graft.verdicts(), self.graft.weights(weights)));
                let origins = self.graft.origins(weights);
                let mut plan = Plan::new(merged, self.graft.onto(), fates, target, origins, card)?;
                plan.vocabulary = Some(Arc::clone(&self.graft.vocabulary));
                plans.push(plan);
            }
        }
        Ok(plans)
    }

    fn card(&self, model: &Model, weights: &[f64], target: &Target) -> Card {
        let command = match weights {
            // A vector, or a recipe, has its weight in itself.
            [w] if self.command.contains(" --chat ") => {
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
            files: Vec::new(),
        }
    }
}

/// What a write is told beside the plans.
#[derive(Default)]
pub struct Work<'a> {
    /// The files and directories that are read, as they were when they were opened.
    pub inputs: &'a [Stamp],
    /// The options, in words: an unfinished output is gone on with if they, and the inputs, are the same.
    pub options: &'a str,
    pub resume: Resume,
    /// Whether an output may be replaced.
    pub force: bool,
}

impl Work<'_> {
    fn job(&self, plans: &[(Plan, PathBuf)]) -> Job {
        let types: Vec<&str> = plans.iter().map(|(plan, _)| plan.kind.name()).collect();
        let mut steps = Sha256::new();
        for (plan, _) in plans {
            // What is measured decides no byte.
            plan.steps.iter().for_each(|s| steps.update(format!("{:?}", Step { meter: None, ..s.clone() })));
        }
        let work = [
            ("version", env!("CARGO_PKG_VERSION").to_string()),
            ("options", self.options.to_string()),
            ("types", types.join(", ")),
            ("plan", hexadecimal(&steps.finalize())),
        ];
        Job {
            work: work.map(|(name, value)| (name.to_string(), value)).to_vec(),
            // What else lies in a directory may change, the output may even be written there.
            inputs: self.inputs.iter().filter(|stamp| stamp.is_file()).cloned().collect(),
            resume: self.resume,
        }
    }
}

/// Writes each plan to its path, whose directory is made if it is missing; the inputs are read once for all.
pub fn write(plans: &[(Plan, PathBuf)], work: &Work<'_>, watch: &dyn Watch) -> Result<()> {
    let job = work.job(plans);
    let inputs: Vec<&Path> = work.inputs.iter().map(Stamp::path).collect();
    for (plan, path) in plans {
        check_output(plan, path, &inputs, work.force)?;
        if let Some(dir) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(dir).map_err(|e| Error::io(&e, dir))?;
        }
    }
    let mut layouts = Vec::with_capacity(plans.len());
    for (plan, path) in plans {
        layouts.push(plan.layout(path)?);
    }
    write::carry_out(&layouts, &job, watch)
}

/// Refuses an output that is an input, is a directory but should be a file, or exists without `force`; so each part of
/// a split one.
pub fn check_output(plan: &Plan, path: &Path, inputs: &[&Path], force: bool) -> Result<()> {
    match plan.is_directory() {
        true => check_path(plan, path, inputs, force),
        false => plan.layout(path)?.paths().iter().try_for_each(|file| check_path(plan, file, inputs, force)),
    }
}

fn check_path(plan: &Plan, path: &Path, inputs: &[&Path], force: bool) -> Result<()> {
    let refused = |what: &str| Error::new(Kind::Failure, what).file(path);
    let Ok(out) = path.canonicalize() else { return Ok(()) };
    // A directory is replaced with all that it holds.
    let is_input = |input: &&Path| {
        input
            .canonicalize()
            .is_ok_and(|i| i == out || same_file(&i, &out) || i.starts_with(&out) && plan.is_directory())
    };
    if inputs.iter().any(is_input) {
        return Err(refused("the output is one of the inputs").mend("choose another output with -o"));
    }
    match (path.is_dir(), plan.is_directory()) {
        (true, false) => {
            return Err(refused("the output is a directory").mend("give the name of a file with -o"));
        }
        (false, true) => {
            return Err(refused("the output is a file").mend("give the name of a directory with -o"));
        }
        _ => {}
    }
    let is_empty = path.is_dir() && std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    if !force && !is_empty {
        return Err(refused("the output exists").mend("give --force to replace it, or another name with -o"));
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
