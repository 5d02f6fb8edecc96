//! What a checkpoint holds, by the names that the rules of its family have: under the prefix of its text model, and in the
//! family's dialect. Serves `names`.

use super::dialect::{dialect, numbered};
use crate::arch::families::Family;
use crate::arch::params::Params;
use crate::arch::rule::spelled;
use ggraft_formats::{Checkpoint, Result, Tensor};
use std::borrow::Cow;
use std::collections::HashMap;

/// What stands in names of a text model that was saved as a part of one that sees or hears.
const INNER: &str = "language_model.";

/// What a checkpoint holds, by name in the family's dialect.
pub(super) struct Held<'a> {
    pub tensors: HashMap<Cow<'a, str>, &'a Tensor>,
    prefix: &'static str,
}

impl<'a> Held<'a> {
    pub fn new(family: &Family, params: &Params<'_>, checkpoint: &'a Checkpoint) -> Result<Held<'a>> {
        let mut held = Held { tensors: HashMap::with_capacity(checkpoint.tensors.len()), prefix: "" };
        let layers = params.size("l", 0)?;
        // A head that is left out is there all the same.
        let is_held = |name: &str| is_head(name) || !family.ignores(name, layers);
        for tensor in checkpoint.tensors.iter().filter(|tensor| is_held(&tensor.name)) {
            held.tensors.insert(dialect(family, params, Cow::Borrowed(&tensor.name))?, tensor);
        }
        if held.finds_prefix(family, params) {
            return Ok(held);
        }
        let mut inner = Held { tensors: HashMap::new(), prefix: "" };
        for tensor in checkpoint.tensors.iter().filter(|tensor| tensor.name.contains(INNER)) {
            let name = Cow::Owned(tensor.name.replacen(INNER, "", 1));
            inner.tensors.insert(dialect(family, params, name)?, tensor);
        }
        Ok(if inner.finds_prefix(family, params) { inner } else { held })
    }

    /// Takes the first prefix that any tensor of the first layer has; without such a one the first of all.
    fn finds_prefix(&mut self, family: &Family, params: &Params<'_>) -> bool {
        for prefix in &family.prefixes {
            self.prefix = prefix;
            for rule in &family.rules {
                let names = rule.from.iter().filter(|name| !name.starts_with('^'));
                let first = names.flat_map(|name| spelled(name)).map(|name| self.full(&name, &|_| 0));
                if first.into_iter().any(|name| self.has(&name)) && rule.layers.hold(params, 0).is_ok() {
                    return true;
                }
            }
        }
        self.prefix = family.prefixes.first().copied().unwrap_or("");
        false
    }

    /// `name` with the prefix, and with numbers for its indices.
    pub fn full(&self, name: &str, index: &dyn Fn(&str) -> u64) -> String {
        let plain = numbered(name, index);
        match plain.strip_prefix('^') {
            Some(outside) => outside.to_string(),
            None => format!("{}{plain}", self.prefix),
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// What the checkpoint itself calls it.
    pub fn own(&self, name: String) -> String {
        self.tensors.get(name.as_str()).map_or(name, |tensor| tensor.name.clone())
    }
}

/// Whether it is an output head.
pub(super) fn is_head(name: &str) -> bool {
    name.ends_with("lm_head.weight")
}
