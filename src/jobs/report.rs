//! What a job tells when it is done: which bytes it has written, and their hashes.

use super::form::Form;
use ggraft_formats::write::Span;
use ggraft_formats::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The report of a job.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Report {
    pub plan: String,
    pub job: usize,
    /// The machine on which it ran, for people.
    pub host: String,
    pub seconds: f64,
    /// Of each output.
    pub outputs: Vec<Vec<Written>>,
}

/// Bytes of one file.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Written {
    pub file: usize,
    pub start: u64,
    pub end: u64,
    /// XXH3, 128 bits, as they were read back.
    pub xxh3: String,
}

impl Written {
    pub fn new((span, hash): (Span, String)) -> Written {
        Written { file: span.file, start: span.bytes.start, end: span.bytes.end, xxh3: hash }
    }

    pub fn to_span(&self) -> (Span, String) {
        (Span { file: self.file, bytes: self.start..self.end }, self.xxh3.clone())
    }
}

impl Report {
    /// The report in the text of a file.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str, file: &Path) -> Result<Report> {
        serde_json::from_str(text).map_err(|e| {
            Error::invalid("this is no report of a job")
                .file(file)
                .found(e)
                .hint("remove the file and run the job again")
        })
    }

    /// Whether it is of this job of this plan, and tells of all its bytes.
    pub fn is_of(&self, form: &Form, job: usize) -> bool {
        let Some(share) = form.jobs.get(job) else { return false };
        let spans = |written: &Vec<Written>| written.iter().map(|w| (w.file, w.start, w.end)).collect();
        let told: Vec<Vec<(usize, u64, u64)>> = self.outputs.iter().map(spans).collect();
        self.plan == form.id && self.job == job && told == share.spans
    }
}

/// The name of this machine.
pub fn host() -> String {
    let told = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = told.or_else(|| std::env::var("HOSTNAME").ok()).or_else(|| std::env::var("COMPUTERNAME").ok());
    name.map(|name| name.trim().to_string()).unwrap_or_default()
}
