//! The report of finished work as one file: JSON for programs, or a page for people, by the file's ending. What was merged
//! from what, what became of every tensor, how near it stayed, how far the merge moved it, and the hash of every file.
//! The keys of the JSON are those of `docs/report.schema.json`.

use super::finished::{Finished, Output};
use super::html;
use super::json::{figures_json, loss_json, plan_json};
use crate::output::plan::Step;
use ggraft_formats::figures::Figures;
use ggraft_formats::{Error, Result};
use serde_json::{Value as Json, json};
use std::path::Path;

/// What a report is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Html,
}

/// By the ending of the name.
fn form(path: &Path) -> Result<Form> {
    let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    match ending.as_deref() {
        Some("json") => Ok(Form::Json),
        Some("html" | "htm") => Ok(Form::Html),
        _ => Err(Error::usage("a report is JSON or HTML, by the ending of its name")
            .file(path)
            .expected("a name that ends in .json or .html")),
    }
}

/// Refuses a name that is not one of a report.
pub fn check_report(path: &Path) -> Result<()> {
    form(path).map(|_| ())
}

/// The report that is to be written to `path`.
pub fn report(finished: &Finished<'_>, path: &Path) -> Result<String> {
    Ok(match form(path)? {
        Form::Json => format!("{:#}\n", report_json(finished)),
        Form::Html => html::page(finished),
    })
}

fn report_json(finished: &Finished<'_>) -> Json {
    json!({
        "ggraft": env!("CARGO_PKG_VERSION"),
        "command": finished.command,
        "notes": finished.notes,
        "outputs": finished.outputs.iter().map(output_json).collect::<Vec<_>>(),
    })
}

fn output_json(output: &Output<'_>) -> Json {
    let plan = output.plan;
    let mut json = plan_json(plan, output.path, 1);
    json["output"] = json!(output.name());
    if let Some(object) = json.as_object_mut() {
        // They depend on the machine, and on where the models are.
        for key in ["threads", "memory", "fetched"] {
            object.shift_remove(key);
        }
    }
    json["loss"] = plan.loss().as_ref().map_or(Json::Null, loss_json);
    for (step, json) in plan.steps.iter().zip(json["tensors"].as_array_mut().into_iter().flatten()) {
        json["loss"] = step.loss().as_ref().map_or(Json::Null, loss_json);
        json["error"] = error_json(step);
        json["delta"] = step.delta().as_ref().map_or(Json::Null, figures_json);
    }
    let files = output
        .files
        .iter()
        .map(|f| json!({ "name": f.name, "tensors": f.tensors, "bytes": f.bytes, "sha256": f.sha256 }));
    json["files"] = files.collect();
    json
}

/// How near the stored tensor is to what it was before it was encoded.
fn error_json(step: &Step) -> Json {
    match &step.meter {
        Some(meter) => figures_json(&meter.total().stored),
        // It is stored as it was, so nothing had to be measured.
        None => {
            let mut json = figures_json(&Figures { count: step.shape.elements(), ..Figures::default() });
            json["cosine"] = json!(1.0);
            json
        }
    }
}
