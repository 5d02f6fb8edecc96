//! Leaves out layers of a model: their tensors go, the others are renumbered, and the metadata is told, arrays of a
//! value a layer included, which llama-quantize forgets.
//! Specification: llama.cpp v0.5.0, llama-quantize `--prune-layers`.

use super::Facts;
use crate::roles::layer;
use ggraft_formats::{Error, Model, Result, Value};
use std::collections::BTreeSet;

/// Layers that are left out; none by default.
#[derive(Clone, Debug, Default)]
pub struct Prune(BTreeSet<u64>);

/// Arrays under the architecture's name that do not hold a value a layer, whatever their length.
const NOT_BY_LAYER: &str = "rope.dimension_sections";

impl Prune {
    pub fn new(layers: impl IntoIterator<Item = u64>) -> Prune {
        Prune(layers.into_iter().collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many layers are left out.
    pub fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// What to say about it.
    pub fn note(&self) -> Option<String> {
        let layers: Vec<String> = self.0.iter().map(u64::to_string).collect();
        (!self.is_empty())
            .then(|| format!("layers left out: {}; those after them are renumbered", layers.join(", ")))
    }

    /// The new name of a tensor, `None` if its layer is left out.
    pub fn rename(&self, name: &str) -> Option<String> {
        let Some(old) = layer(name) else { return Some(name.to_string()) };
        if self.0.contains(&old) {
            return None;
        }
        let rest = name.trim_start_matches("blk.").trim_start_matches(|c: char| c.is_ascii_digit());
        Some(format!("blk.{}{rest}", old - self.below(old)))
    }

    /// How many layers before `layer` are left out.
    fn below(&self, layer: u64) -> u64 {
        self.0.range(..layer).count() as u64
    }

    /// Takes the layers out of `model`.
    ///
    /// # Errors
    /// The model has no such layer, or no other.
    pub fn apply(&self, mut model: Model) -> Result<Model> {
        if self.is_empty() {
            return Ok(model);
        }
        let n_layer = Facts::of(&model)?.n_layer;
        let left = n_layer.saturating_sub(self.len());
        if left == 0 || self.0.iter().any(|layer| *layer >= n_layer) {
            return Err(Error::usage("--prune-layers does not fit the model")
                .expected(format!("some of the layers 0 to {}, not all", n_layer.saturating_sub(1)))
                .found(self.0.iter().map(u64::to_string).collect::<Vec<_>>().join(",")));
        }
        model.tensors = model
            .tensors
            .into_iter()
            .filter_map(|t| self.rename(&t.name).map(|name| t.renamed(&name)))
            .collect();
        let prefix = format!("{}.", model.architecture().unwrap_or_default());
        let changed: Vec<(String, Value)> = model
            .metadata
            .iter()
            .filter_map(|(key, value)| {
                let hparam = key.strip_prefix(&prefix)?;
                Some((key.to_string(), self.hparam(hparam, value, n_layer)?))
            })
            .collect();
        for (key, value) in changed {
            model.metadata.set(&key, value);
        }
        Ok(model)
    }

    /// The new value of a hyperparameter that depends on the layers.
    fn hparam(&self, key: &str, value: &Value, n_layer: u64) -> Option<Value> {
        let number = |n: u64| u32::try_from(n).ok().map(Value::U32);
        match value {
            Value::Array(all) if all.len() as u64 == n_layer && key != NOT_BY_LAYER => {
                Some(Value::Array(all.select(|i| !self.0.contains(&(i as u64)))))
            }
            _ if key == "block_count" => number(n_layer - self.below(n_layer)),
            _ if key == "leading_dense_block_count" => value.as_u64().and_then(|n| number(n - self.below(n))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ggraft_formats::{Shape, Tensor};

    fn model() -> Model {
        let mut model = Model::default();
        model.metadata.set("general.architecture", "deci");
        model.metadata.set("deci.block_count", 4u32);
        model.metadata.set("deci.attention.head_count", vec![1i32, 2, 3, 4]);
        model.metadata.set("deci.rope.dimension_sections", vec![5i32, 5, 5, 5]);
        model.metadata.set("deci.leading_dense_block_count", 2u32);
        model.metadata.set("tokenizer.four", vec![1i32, 2, 3, 4]);
        let names = ["output.weight", "blk.0.a", "blk.1.a", "blk.2.a", "blk.3.a", "blk.3.b"];
        let shape = Shape::new(&[1]).unwrap();
        model.tensors = names.iter().map(|n| Tensor::in_memory(n, shape, &[0.0]).unwrap()).collect();
        model
    }

    #[test]
    fn layers_go_and_the_rest_is_renumbered() {
        let pruned = Prune::new([1, 2]).apply(model()).unwrap();
        let names: Vec<&str> = pruned.tensors.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["output.weight", "blk.0.a", "blk.1.a", "blk.1.b"]);
        let m = &pruned.metadata;
        assert_eq!(m.get("deci.block_count"), Some(&Value::U32(2)));
        assert_eq!(m.get("deci.attention.head_count"), Some(&vec![1i32, 4].into()));
        assert_eq!(m.get("deci.rope.dimension_sections"), Some(&vec![5i32, 5, 5, 5].into()));
        assert_eq!(m.get("deci.leading_dense_block_count"), Some(&Value::U32(1)));
        assert_eq!(m.get("tokenizer.four"), Some(&vec![1i32, 2, 3, 4].into()));
    }

    #[test]
    fn layers_that_are_not_there_and_all_of_them_are_refused() {
        for layers in [vec![4], vec![0, 1, 2, 3]] {
            let said = Prune::new(layers).apply(model()).unwrap_err();
            assert_eq!(said.kind().exit_code(), 2);
            assert!(said.to_string().contains("some of the layers 0 to 3, not all"), "{said}");
        }
    }
}
