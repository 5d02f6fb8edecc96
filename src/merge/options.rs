//! How a merge is asked for.

use super::method::{Method, Params, Sources};
use super::own::Own;
use super::parts::Factors;
use super::stack::Stack;
use super::tokens::VocabularyChoices;
use super::weights::Rules;
use super::{Fate, Verdict};
use crate::arch::Values;
use crate::roles;
use ggraft_formats::{Result, Tensor};

/// How to merge: a method, what it is told, and what the weights are multiplied with, tensor by tensor.
pub struct Options {
    pub method: &'static Method,
    pub params: Params,
    pub rules: Rules,
    /// What each vector is told for itself; those behind the last one nothing.
    pub own: Vec<Own>,
    /// Whether models may differ in what their weights were trained under (rope, norm epsilon, window).
    pub allow_mismatch: bool,
    pub vocabulary: VocabularyChoices,
    /// The names of the tensors of CP's checkpoint, if it is one: rules may go by them.
    pub held: Option<Vec<String>>,
    /// The layers that CP consists of, if they are of several models.
    pub stack: Option<Stack>,
}

impl Options {
    pub(super) fn sources(
        &self,
        onto: &Tensor,
        pairs: Vec<(Tensor, Tensor)>,
        values: &Values,
        params: Params,
    ) -> Result<Sources> {
        let value = values.get(&onto.name);
        Sources::new(onto.clone(), pairs, value, self.method, params)
    }

    /// What a tensor that no vector is added to is computed from, if its scale is not 1.
    pub(super) fn scaled(
        &self,
        tensor: &Tensor,
        factor: &Factors,
        verdict: &mut Verdict,
        values: &Values,
    ) -> Result<Option<Sources>> {
        if factor.same() == Some(1.0) || roles::is_generated(&tensor.name) {
            *verdict = Verdict { fate: Fate::Kept, reason: Verdict::PASSED };
            return Ok(None);
        }
        *verdict = Verdict { fate: Fate::Merged, reason: "scaled" };
        self.sources(tensor, Vec::new(), values, self.params.clone()).map(Some)
    }
}

impl From<&'static Method> for Options {
    /// The method with its defaults, the same weight for every tensor.
    fn from(method: &'static Method) -> Options {
        Options {
            method,
            params: Params::default(),
            rules: Rules::default(),
            own: Vec::new(),
            allow_mismatch: false,
            vocabulary: VocabularyChoices::default(),
            held: None,
            stack: None,
        }
    }
}
