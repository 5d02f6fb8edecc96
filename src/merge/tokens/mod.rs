//! The tokens of a merge: vocabularies are matched, rows of embedding and head move by token, a vocabulary grows, and
//! the chat template and what follows from it is chosen. The map: `matching` compares vocabularies, `tables` finds the
//! tensors with a row for each token, `copies` the rows that are copied (`untrained` measures them), `combined` says how a
//! table comes about, of rows that `token_rows` gathers; `vocabulary` decides, for which `planner` has what it looks at;
//! `growth` appends tokens, `template` chooses the template, `summary` is what people are shown.

mod combined;
mod copies;
mod growth;
pub mod matching;
mod planner;
mod summary;
mod tables;
mod template;
mod token_rows;
mod untrained;
mod vocabulary;

pub use planner::VocabularyChoices;
pub use summary::{Copied, Summary, VectorSummary};
pub use template::TemplateChoice;

pub(super) use tables::TableRows;
pub(super) use token_rows::Overlay;
pub(super) use vocabulary::prepare;
