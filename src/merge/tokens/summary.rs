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
    /// The same for a vector whose weight is 0: it copies only what was asked for by name.
    pub(crate) idle: Vec<VectorSummary>,
}

impl Summary {
    /// The summary with these weights, one a vector.
    pub(crate) fn with(&self, weights: &[f64]) -> Summary {
        let mut summary = self.clone();
        for (i, vector) in summary.vectors.iter_mut().enumerate() {
            if weights.get(i) == Some(&0.0)
                && let Some(idle) = self.idle.get(i)
            {
                vector.clone_from(idle);
            }
        }
        summary
    }

    /// What these weights leave out, a sentence each.
    pub(crate) fn left_out(&self, weights: &[f64]) -> Vec<String> {
        let mut notes = Vec::new();
        for (i, (vector, idle)) in self.vectors.iter().zip(&self.idle).enumerate() {
            let ids: Vec<usize> = idle.copied.iter().map(|c| c.id).collect();
            let left = vector.copied.iter().filter(|c| !ids.contains(&c.id));
            let names: Vec<String> = left.map(|c| format!("'{}'", c.token)).collect();
            if weights.get(i) == Some(&0.0) && !names.is_empty() {
                let whose = if self.vectors.len() > 1 { format!(" {}", i + 1) } else { String::new() };
                notes.push(format!(
                    "the weight of vector{whose} is 0, so nothing is copied from its chat model: {} stay onto's",
                    super::growth::brief(&names)
                ));
            }
        }
        notes
    }
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
