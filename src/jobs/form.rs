//! What a plan says, as JSON. Its `id` is the SHA-256 of all the rest: jobs and reports name it, so that nothing of another
//! plan is taken for its own.

use super::cost::Speed;
use super::input::Input;
use crate::hash::hexadecimal;
use ggraft_formats::write::Span;
use ggraft_formats::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::Path;

/// The form that this version reads and writes.
const FORM: u32 = 1;

/// The most jobs of a plan: schedulers take no more in an array.
pub const MOST: usize = 10_000;

/// A plan.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Form {
    pub form: u32,
    /// The version of the program: another one may write other bytes.
    pub ggraft: String,
    pub id: String,
    /// When its files were made, in nanoseconds of the clock: of a plan that is begun anew old reports count for nothing.
    pub begun: u64,
    /// What was typed, from the verb on.
    pub words: Vec<String>,
    /// The folder in which it was typed, as it is found from the plan's own.
    pub folder: String,
    pub speed: Speed,
    pub inputs: Vec<Input>,
    pub outputs: Vec<Output>,
    /// What each job does.
    pub jobs: Vec<Share>,
    /// Bytes of memory that a job takes at most.
    pub memory: u64,
}

/// An output of a plan.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Output {
    pub path: String,
    pub files: usize,
    pub bytes: u64,
    /// What tells it from every other output of the same inputs.
    pub fingerprint: String,
}

/// What a job does.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// What it is expected to take.
    pub seconds: f64,
    pub pieces: usize,
    pub bytes: u64,
    /// Of each output: file, first byte, and the byte behind the last.
    pub spans: Vec<Vec<(usize, u64, u64)>>,
}

impl Share {
    /// The same as the writer takes them.
    pub fn to_spans(&self) -> Vec<Vec<Span>> {
        let span = |(file, start, end): &(usize, u64, u64)| Span { file: *file, bytes: *start..*end };
        self.spans.iter().map(|spans| spans.iter().map(span).collect()).collect()
    }
}

impl Form {
    /// A plan of these parts, with its id.
    ///
    /// # Errors
    /// It cannot be told as JSON.
    pub fn new(rest: Form) -> Result<Form> {
        let form = Form { form: FORM, ggraft: String::from(env!("CARGO_PKG_VERSION")), ..rest };
        Ok(Form { id: form.hash()?, ..form })
    }

    /// Whether it is the same plan, but for when it was begun.
    pub fn is_like(&self, other: &Form) -> bool {
        let bare = |form: &Form| Form { id: String::new(), begun: 0, ..form.clone() };
        bare(self) == bare(other)
    }

    fn hash(&self) -> Result<String> {
        let bare = Form { id: String::new(), ..self.clone() };
        let bytes = serde_json::to_vec(&bare).map_err(|e| Error::new(Kind::Failure, e.to_string()))?;
        Ok(hexadecimal(&Sha256::digest(bytes)))
    }

    /// The plan in the text of a file.
    ///
    /// # Errors
    /// It is no plan, was altered, or is of another version.
    pub fn parse(text: &str, file: &Path) -> Result<Form> {
        let wrong = |what: &str| Error::invalid(what).file(file);
        let again = "make the plan again with `ggraft plan`";
        let json: serde_json::Value = serde_json::from_str(text).map_err(|e| {
            wrong("this is no plan of ggraft's").found(e).hint("give the folder that --plan named")
        })?;
        // Another version may have other fields: that is told first.
        let version = json["ggraft"].as_str().unwrap_or_default();
        if version != env!("CARGO_PKG_VERSION") || json["form"] != FORM {
            return Err(wrong("the plan is of another version of ggraft, which may write other bytes")
                .expected(env!("CARGO_PKG_VERSION"))
                .found(version)
                .hint(again));
        }
        let form: Form =
            serde_json::from_value(json).map_err(|e| wrong("the plan is damaged").found(e).hint(again))?;
        match form.hash()? == form.id {
            true if (1..=MOST).contains(&form.jobs.len()) => Ok(form),
            _ => Err(wrong("the plan was altered").hint(again)),
        }
    }
}
