//! The tensors with a row for each token: which they are, the tokens of their rows, and how one of the output comes about.

use super::matching::Table;
use super::token_rows::Overlay;
use crate::merge::Verdict;
use crate::roles;
pub(crate) use crate::roles::{HEAD, TABLES, TOKEN_BIAS};
use crate::vocab::Tokens;
use ggraft_formats::{Error, Model, Result, Tensor};
use std::sync::Arc;

/// Whether the tensor has a row for each of so many tokens.
pub(crate) fn has_rows_of_tokens(tensor: &Tensor, tokens: u64) -> bool {
    roles::has_rows_of_tokens(&tensor.name) && tensor.shape().rows() == tokens
}

/// How a table of the output comes about.
pub(crate) struct TableRows {
    pub verdict: Verdict,
    /// Chat and base of each vector in the order of CP's rows; none if no row gets a difference.
    pub pairs: Vec<(Tensor, Tensor)>,
    pub overlay: Option<Arc<Overlay>>,
}

/// The table of that name; for the head of a tied model its embedding.
pub(crate) fn table_of<'a>(model: &'a Model, name: &str) -> Option<&'a Tensor> {
    let find = |name: &str| model.tensors.iter().find(|t| t.name == name);
    find(name).or_else(|| find(TABLES[0]).filter(|_| name == HEAD))
}

/// The tokens of a model, as many as have rows; `None` if it has no vocabulary.
pub(crate) fn tokens_of(model: &Model) -> Result<Option<Table<'_>>> {
    let Some(tokens) = Tokens::of(&model.metadata)? else { return Ok(None) };
    let rows = table_of(model, TABLES[0]).map_or(tokens.len() as u64, |t| t.shape().rows());
    let rows = usize::try_from(rows).map_err(|_| Error::invalid("too many rows").tensor(TABLES[0]))?;
    Ok(Some(Table { tokens, rows }))
}
