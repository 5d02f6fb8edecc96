//! AWS Batch: a script that registers what a job is and submits the array, each by one JSON document of the AWS command line.

use super::{HOPELESS, Scheduler, Terms, memory, name};
use crate::jobs::{Folder, Form};
use crate::text::{shell, shell_path};
use ggraft_formats::{Error, Result};
use serde_json::{Value as Json, json};
use std::path::Path;

pub const AWS: Scheduler = Scheduler { name: "aws", variable: "AWS_BATCH_JOB_ARRAY_INDEX", emit };

/// How many jobs an array of AWS Batch has.
const SIZES: std::ops::RangeInclusive<usize> = 2..=10_000;

/// How often a job is tried.
const TRIES: u32 = 6;

fn emit(form: &Form, folder: &Folder, terms: &Terms) -> Result<String> {
    let jobs = form.jobs.len();
    if !SIZES.contains(&jobs) {
        return Err(Error::usage("an array of AWS Batch has 2 to 10000 jobs")
            .found(jobs)
            .hint("make a plan with other --jobs"));
    }
    let name = name(form);
    let place = folder.path().parent().unwrap_or(folder.path()).to_string_lossy();
    let code = |code: u8| json!({ "onExitCode": code.to_string(), "action": "EXIT" });
    let again = json!({ "onReason": "*", "action": "RETRY" });
    let rules: Vec<Json> = HOPELESS.map(code).into_iter().chain([again]).collect();
    let definition = json!({
        "jobDefinitionName": name,
        "type": "container",
        "retryStrategy": { "attempts": TRIES, "evaluateOnExit": rules },
        "containerProperties": {
            "image": terms.image,
            "command": ["ggraft", "job", folder.path().to_string_lossy(), "--job-from", "aws"],
            "resourceRequirements": [
                { "type": "VCPU", "value": form.speed.cores.to_string() },
                { "type": "MEMORY", "value": memory(form).to_string() },
            ],
            "volumes": [{ "name": "models", "efsVolumeConfiguration": { "fileSystemId": terms.volume } }],
            "mountPoints": [{ "sourceVolume": "models", "containerPath": place }],
        },
    });
    let array = json!({
        "jobName": name,
        "jobQueue": terms.queue,
        "jobDefinition": name,
        "arrayProperties": { "size": jobs },
    });
    Ok(format!(
        "#!/bin/sh\nset -e\n\
         # Everything that the plan names must lie where it lay: the file system is mounted at {told}.\n\
         # When all jobs have ended, on a machine with the same file system: ggraft finish {plan}\n\
         aws batch register-job-definition --cli-input-json {definition}\n\
         aws batch submit-job --cli-input-json {array}\n",
        told = crate::text::shown(Path::new(&*place)),
        plan = shell_path(folder.path()),
        definition = shell(&definition.to_string()),
        array = shell(&array.to_string()),
    ))
}
