//! Kubernetes: an Indexed Job. Every index is tried again on its own; a pod that its node lost does not count, and exit codes
//! that would come again fail their index at once.

use super::{HOPELESS, Scheduler, Terms, memory, name};
use crate::jobs::{Folder, Form};
use ggraft_formats::Result;
use serde_json::json;
use std::path::Path;

pub const K8S: Scheduler = Scheduler { name: "k8s", variable: "JOB_COMPLETION_INDEX", emit };

/// How many jobs run at a time at most, if there is room.
const PARALLEL: usize = 16;

/// How often an index is tried again.
const AGAIN: u32 = 5;

fn emit(form: &Form, folder: &Folder, terms: &Terms) -> Result<String> {
    let (jobs, cores, memory, name) = (form.jobs.len(), form.speed.cores, memory(form), name(form));
    let plan = folder.path().to_string_lossy();
    let place = folder.path().parent().unwrap_or(folder.path()).to_string_lossy();
    let hopeless = HOPELESS.map(|code| code.to_string()).join(", ");
    let finish = crate::text::shell(&format!("ggraft finish {}", crate::text::shell_path(folder.path())));
    // A string of JSON is one of YAML.
    let words = json!(["ggraft", "job", plan, "--job-from", "k8s"]);
    Ok(format!(
        "# Everything that the plan names must lie where it lay: the volume is mounted at {told}.\n\
         # When all pods have ended, on a machine with the same volume: {finish}\n\
         apiVersion: batch/v1\n\
         kind: Job\n\
         metadata:\n  name: {name}\n\
         spec:\n  \
           completionMode: Indexed\n  \
           completions: {jobs}\n  \
           parallelism: {parallel}\n  \
           backoffLimitPerIndex: {AGAIN}\n  \
           podFailurePolicy:\n    \
             rules:\n    \
             - action: Ignore\n      \
               onPodConditions:\n      \
               - type: DisruptionTarget\n        \
                 status: \"True\"\n    \
             - action: FailIndex\n      \
               onExitCodes:\n        \
                 containerName: ggraft\n        \
                 operator: In\n        \
                 values: [{hopeless}]\n  \
           template:\n    \
             spec:\n      \
               restartPolicy: Never\n      \
               terminationGracePeriodSeconds: 120\n      \
               containers:\n      \
               - name: ggraft\n        \
                 image: {image}\n        \
                 command: {words}\n        \
                 resources:\n          \
                   requests:\n            \
                     cpu: \"{cores}\"\n            \
                     memory: {memory}Mi\n          \
                   limits:\n            \
                     memory: {memory}Mi\n        \
                 volumeMounts:\n        \
                 - name: models\n          \
                   mountPath: {mount}\n      \
               volumes:\n      \
               - name: models\n        \
                 persistentVolumeClaim:\n          \
                   claimName: {volume}\n",
        parallel = jobs.min(PARALLEL),
        image = json!(terms.image),
        told = crate::text::shown(Path::new(&*place)),
        mount = json!(place),
        volume = json!(terms.volume),
    ))
}
