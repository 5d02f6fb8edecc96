//! What a merge makes of the tokens, as it is reported to people and programs.

use super::matching::{Class, Count, Embeddings};

/// The vocabulary part of a merge, as it is reported.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Whose chat template the output has.
    pub template: String,
    /// What the template writes around a turn.
    pub markers: Vec<String>,
    /// Texts of the tokens that CP grew by.
    pub added: Vec<String>,
    /// One a vector; none for models without token tables.
    pub vectors: Vec<VectorSummary>,
}

/// What becomes of CP's rows under one vector.
#[derive(Clone, Debug)]
pub struct VectorSummary {
    /// What was done, never `Auto`.
    pub policy: Embeddings,
    pub why: String,
    /// Rows of the embedding by class and fate.
    pub counts: Vec<(Class, Count)>,
    /// Rows of the head, where they fare otherwise.
    pub head_counts: Option<Vec<(Class, Count)>>,
    /// Tokens of chat that have no row in the output.
    pub chat_only: usize,
    pub copied: Vec<Copied>,
}

/// A token whose row is chat's.
#[derive(Clone, Debug)]
pub struct Copied {
    pub token: String,
    pub id: usize,
    pub embedding: bool,
    pub head: bool,
    pub why: String,
}
