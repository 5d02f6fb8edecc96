//! The report of finished work as a JSON file: the plans, what rounding lost, and the hash of every file that was
//! written. The hashes are computed after the outputs have their names, so they delay nobody. No times and no
//! paths: the same work gives the same report anywhere.

use super::json::{loss_json, plan_json};
use crate::merge::hexadecimal;
use crate::pipeline::Plan;
use ggraft_formats::mmap::Mapping;
use ggraft_formats::{Error, Kind, Result};
use rayon::prelude::*;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Bytes that are hashed at a time, so that their memory can be given back.
const CHUNK: usize = 1 << 24;

/// Refuses a report that is an input, or exists without `force`: before the work, not after it.
pub fn check_report(path: &Path, inputs: &[&Path], force: bool) -> Result<()> {
    let refused = |what: &str| Error::new(Kind::Failure, what).file(path);
    if path.is_dir() {
        return Err(refused("the report is a directory").mend("give the name of a file with --report"));
    }
    let same = |input: &&Path| input.canonicalize().ok().is_some_and(|i| path.canonicalize().ok() == Some(i));
    if inputs.iter().any(same) {
        return Err(refused("the report is one of the inputs").mend("choose another name with --report"));
    }
    if path.exists() && !force {
        return Err(refused("the report exists").mend("give --force to replace it, or another name"));
    }
    Ok(())
}

/// Writes the report of `plans`, which have been carried out, to `path`.
pub fn write_report(plans: &[(Plan, PathBuf)], path: &Path) -> Result<()> {
    let outputs = plans.iter().map(|(plan, output)| output_json(plan, output)).collect::<Result<Vec<_>>>()?;
    let report = json!({ "ggraft": env!("CARGO_PKG_VERSION"), "outputs": outputs });
    std::fs::write(path, format!("{report:#}\n")).map_err(|e| Error::io(&e, path))
}

fn output_json(plan: &Plan, output: &Path) -> Result<Json> {
    let name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned());
    let mut json = plan_json(plan, output, 1);
    json["output"] = json!(name(output));
    if let Some(object) = json.as_object_mut() {
        // They depend on the machine.
        object.shift_remove("threads");
        object.shift_remove("memory");
    }
    json["loss"] = plan.loss().as_ref().map_or(Json::Null, loss_json);
    for (step, json) in plan.steps.iter().zip(json["tensors"].as_array_mut().into_iter().flatten()) {
        json["loss"] = step.loss().as_ref().map_or(Json::Null, loss_json);
    }
    let files: Vec<PathBuf> = plan.layout(output)?.paths();
    let hashed = |path: &PathBuf| -> Result<Json> {
        let file = Mapping::open(path)?;
        Ok(json!({ "name": name(path), "bytes": file.bytes().len(), "sha256": sha256(&file) }))
    };
    json["files"] = Json::Array(files.par_iter().map(hashed).collect::<Result<_>>()?);
    Ok(json)
}

fn sha256(file: &Mapping) -> String {
    let mut hash = Sha256::new();
    for (i, chunk) in file.bytes().chunks(CHUNK).enumerate() {
        hash.update(chunk);
        file.release(i * CHUNK..i * CHUNK + chunk.len());
    }
    hexadecimal(&hash.finalize())
}
