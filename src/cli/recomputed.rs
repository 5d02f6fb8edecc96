//! `ggraft verify FILE --recipe RECIPE`: is a file what the recipe makes of its models? Rows of every tensor are computed
//! again, sampled or all, and must have the same bytes; so must the metadata, but for the version that wrote them.

use super::errand::Claim;
use super::options::{self, Order};
use super::stdout;
use crate::pipeline::Plan;
use crate::report::{self, Progress};
use crate::text::shown;
use ggraft_formats::{Error, Input, Kind, Model, Result, Tensor, Watch, open};
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

/// Rows of a tensor that are computed again, if not all are.
const SAMPLE: usize = 16;

/// What the version of ggraft that wrote a file decides, and the recipe does not.
const OF_THE_VERSION: &str = "ggraft.version";

/// Compares.
///
/// # Errors
/// The file is none of the plans: all that differs stands in one error.
pub(super) fn compare(plans: &[(Plan, PathBuf)], order: &Order<'_>, claim: &Claim) -> Result<()> {
    let Input::Model(model) = open(&claim.file)? else {
        return Err(Error::usage("--recipe compares a GGUF").file(&claim.file).found("a checkpoint"));
    };
    // Of several outputs it is the one that says the same of itself, or else has its dtypes.
    let all = || plans.iter().map(|(plan, _)| plan);
    let same = all().find(|plan| has_dtypes(plan, &model) && metadata(plan, &model).is_empty());
    let plan = same.or_else(|| all().find(|plan| has_dtypes(plan, &model))).or_else(|| all().next());
    let plan = plan.ok_or_else(|| Error::usage("the recipe has no output"))?;
    if plan.is_directory() {
        return Err(Error::usage("the recipe makes a directory").file(&claim.file).expected("a GGUF type"));
    }
    let tensors: HashMap<&str, &Tensor> = model.tensors.iter().map(|t| (t.name.as_str(), t)).collect();
    let due: Vec<&Tensor> = plan.tensors();
    let parts = due.iter().map(|t| (t.name.as_str(), t.bytes()));
    let progress = Progress::parts("computing again", parts, order.run.show.how_of_reading(), || false);
    let pool = options::thread_pool(order.run.threads)?;
    let one = |(i, due): (usize, &&Tensor)| match tensors.get(due.name.as_str()) {
        Some(found) => differs(due, found, claim.all, i, &progress).err(),
        None => Some(wrong("the file lacks a tensor").tensor(&due.name)),
    };
    let mut problems: Vec<Error> = pool.install(|| due.par_iter().enumerate().filter_map(one).collect());
    progress.finish();
    let known: HashSet<&str> = due.iter().map(|t| t.name.as_str()).collect();
    let more = model.tensors.iter().filter(|t| !known.contains(t.name.as_str()));
    problems.extend(more.map(|t| wrong("the recipe makes no such tensor").tensor(&t.name)));
    problems.extend(metadata(plan, &model));
    if let Some(e) = Error::all(problems.into_iter().map(|e| e.file(&claim.file)).collect()) {
        return Err(e);
    }
    let rows = if claim.all { String::from("all rows") } else { format!("up to {SAMPLE} rows of each") };
    report::print_notes(
        &[format!("{} tensors computed again, {rows}, and the metadata", due.len())],
        order.run.show.quiet,
    );
    stdout::line(&format!("ok: {} is what the recipe makes", shown(&claim.file)))
}

fn wrong(what: &str) -> Error {
    Error::new(Kind::Verification, what)
}

fn has_dtypes(plan: &Plan, model: &Model) -> bool {
    let found: HashMap<&str, &Tensor> = model.tensors.iter().map(|t| (t.name.as_str(), t)).collect();
    plan.tensors().iter().all(|t| found.get(t.name.as_str()).is_some_and(|f| f.dtype() == t.dtype()))
}

/// Computes rows again and compares their bytes.
fn differs(due: &Tensor, found: &Tensor, all: bool, index: usize, watch: &dyn Watch) -> Result<()> {
    if (due.dtype(), due.shape()) != (found.dtype(), found.shape()) {
        let e = wrong("the tensor is another").tensor(&due.name);
        return Err(e.expected(format!("{} {}", due.dtype(), due.shape())).found(format!(
            "{} {}",
            found.dtype(),
            found.shape()
        )));
    }
    let rows = usize::try_from(due.shape().rows()).unwrap_or(usize::MAX);
    let count = if all { rows } else { rows.min(SAMPLE) };
    let (mut ours, mut theirs) = (vec![0; due.row_bytes()], vec![0; found.row_bytes()]);
    for i in 0..count {
        let row = usize::try_from(i as u128 * rows as u128 / count as u128).unwrap_or(0);
        due.read(row..row + 1, &mut ours)?;
        found.read(row..row + 1, &mut theirs)?;
        if ours != theirs {
            let e = wrong("the weights are not those that the recipe makes").tensor(&due.name);
            return Err(e.found(format!("other bytes in row {row} of {rows}")));
        }
    }
    due.release(0..rows);
    found.release(0..rows);
    watch.advance(0, index, due.bytes(), true);
    Ok(())
}

/// What the metadata say otherwise.
fn metadata(plan: &Plan, model: &Model) -> Vec<Error> {
    let due = plan.metadata();
    let is_of_parts = |key: &str| key.starts_with("split.");
    let keys = due.iter().chain(model.metadata.iter()).map(|(key, _)| key);
    let mut keys: Vec<&str> = keys.filter(|key| *key != OF_THE_VERSION && !is_of_parts(key)).collect();
    keys.sort_unstable();
    keys.dedup();
    let differing = keys.into_iter().filter(|key| due.get(key) != model.metadata.get(key));
    differing.map(|key| wrong(&format!("the metadata say something else of {key}"))).collect()
}
