//! What a user may decide about the adoption of a checkpoint.

use serde_json::{Map, Value};
use std::path::PathBuf;

#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `tokenizer.ggml.pre` of a byte-level BPE vocabulary, instead of detecting it.
    pub pre: Option<String>,
    /// What becomes of layers that predict further tokens.
    pub predicting: Predicting,
    /// The directory of the model that a draft guesses for.
    pub target: Option<PathBuf>,
    /// Whether dense modules of sentence-transformers are taken in where the architecture has a place for them.
    pub dense: bool,
    /// Whether gates and ups of experts are written as one tensor a layer.
    pub fuses: bool,
    /// Whether queries, keys and values are written as one tensor a layer.
    pub fuses_qkv: bool,
    /// Whether weights that were FP8 are written in eight bits whatever type of floats is asked for.
    pub eights: bool,
    /// Keys of `general.*` that are told, whatever the checkpoint says.
    pub told: Map<String, Value>,
}

/// What becomes of layers that predict further tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Predicting {
    /// They stay with the model, if it has some.
    #[default]
    Kept,
    /// They are left out.
    Without,
    /// They alone, with what they share with the model.
    Only,
}

impl Predicting {
    /// What is said where a model without such layers is to lose them.
    pub const NOTHING_TO_LEAVE_OUT: &str =
        "there are no layers for predicting more tokens that could be left out";
}
