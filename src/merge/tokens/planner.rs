//! What the plan of a vocabulary is made from: the models, what a user decides, and which rows belong together.

use super::matching::{Baseless, Embeddings, Matching};
use super::template::TemplateChoice;
use crate::merge::Vector;
use ggraft_formats::Model;

/// What a user may decide about vocabulary and template.
#[derive(Clone, Debug, Default)]
pub struct VocabularyChoices {
    pub embeddings: Embeddings,
    /// For tokens of chat and CP that base lacks.
    pub baseless: Baseless,
    /// Texts of tokens whose rows are copied from chat.
    pub copy_tokens: Vec<String>,
    /// No other rows are copied than those of `copy_tokens`.
    pub no_auto_copy: bool,
    /// CP grows by the special tokens that only chat has.
    pub add_chat_tokens: bool,
    pub template: TemplateChoice,
}

pub(super) struct Planner<'a> {
    pub onto: &'a Model,
    pub vectors: &'a [Vector],
    pub choices: &'a VocabularyChoices,
    pub matchings: &'a [Matching],
    /// Texts that the template writes, and those at which chat stops.
    pub needed: &'a [String],
}
