//! How a merge is asked for.

use super::method::{Method, Params, Sources};
use super::tokens::VocabularyChoices;
use super::weights::Rules;
use crate::arch::Values;
use ggraft_formats::{Result, Tensor};

/// How to merge: a method, what it is told, and what the weights are multiplied with, tensor by tensor.
pub struct Options {
    pub method: &'static Method,
    pub params: Params,
    pub rules: Rules,
    /// Whether models may differ in what their weights were trained under (rope, norm epsilon, window).
    pub allow_mismatch: bool,
    pub vocabulary: VocabularyChoices,
    /// The names of the tensors of CP's checkpoint, if it is one: rules may go by them.
    pub held: Option<Vec<String>>,
}

impl Options {
    pub(super) fn sources(
        &self,
        onto: &Tensor,
        pairs: Vec<(Tensor, Tensor)>,
        values: &Values,
    ) -> Result<Sources> {
        let value = values.get(&onto.name);
        Sources::new(onto.clone(), pairs, value, self.method, self.params)
    }
}

impl From<&'static Method> for Options {
    /// The method with its defaults, the same weight for every tensor.
    fn from(method: &'static Method) -> Options {
        Options {
            method,
            params: Params::default(),
            rules: Rules::default(),
            allow_mismatch: false,
            vocabulary: VocabularyChoices::default(),
            held: None,
        }
    }
}
