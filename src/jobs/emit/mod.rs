//! What schedulers are told, to be looked at and handed to them: an array of jobs, each with its number in a variable, which
//! are tried again by their exit codes. 2, 3 and 4 are never tried again: they would be the same. One file a scheduler.

mod aws;
mod k8s;
mod slurm;

use super::{Folder, Form};
use ggraft_formats::Result;

/// A scheduler.
pub struct Scheduler {
    pub name: &'static str,
    /// The variable in which a job finds its number.
    pub variable: &'static str,
    emit: fn(&Form, &Folder, &Terms) -> Result<String>,
}

/// All of them.
pub const SCHEDULERS: &[&Scheduler] = &[&slurm::SLURM, &k8s::K8S, &aws::AWS];

/// What the plan does not know.
#[derive(Clone, Debug, clap::Args)]
pub struct Terms {
    /// Of --emit k8s and aws: the image that holds ggraft
    #[arg(long, global = true, value_name = "IMAGE", default_value = concat!("ggraft:", env!("CARGO_PKG_VERSION")))]
    pub image: String,
    /// Of --emit k8s the persistent volume claim, of aws the EFS file system, on which models, plan and outputs lie
    #[arg(long, global = true, value_name = "NAME", default_value = "models")]
    pub volume: String,
    /// Of --emit aws: the job queue
    #[arg(long, global = true, value_name = "NAME", default_value = "ggraft")]
    pub queue: String,
}

/// Exit codes after which a job would fail again: usage, inputs that are not valid, what is not supported.
const HOPELESS: [u8; 3] = [2, 3, 4];

impl Scheduler {
    /// What it is told of this plan.
    ///
    /// # Errors
    /// It takes no such array.
    pub fn emit(&self, form: &Form, folder: &Folder, terms: &Terms) -> Result<String> {
        (self.emit)(form, folder, terms)
    }
}

/// A name for the array, the same for the same plan.
fn name(form: &Form) -> String {
    format!("ggraft-{}", form.id.get(..8).unwrap_or_default())
}

/// MiB of memory for a job: what it takes at most, and room for what the system needs beside it.
fn memory(form: &Form) -> u64 {
    (form.memory * 2 / (1 << 20)).next_multiple_of(1024).max(2048)
}
