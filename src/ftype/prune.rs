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

/// Hyperparameters that may be an array of a value a layer. No other array is one, whatever its length.
pub(super) const BY_LAYER: [&str; 15] = [
    "activation_sparsity_scale",
    "attention.compress_ratios",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.indexer.types",
    "attention.recurrent_layers",
    "attention.sliding_window_pattern",
    "deepstack_mapping",
    "feed_forward_length",
    "swiglu_clamp_exp",
    "swiglu_clamp_shexp",
    "xielu.alpha_n",
    "xielu.alpha_p",
    "xielu.beta",
    "xielu.eps",
];
/// Numbers that count the first layers.
pub(super) const FIRST: [&str; 3] = ["hash_layer_count", "leading_dense_block_count", "n_deepstack_layers"];
/// Numbers that count the last layers.
pub(super) const LAST: [&str; 2] = ["attention.shared_kv_layers", "nextn_predict_layers"];
/// Numbers by which every so many layers are of another kind.
pub(super) const EVERY: [&str; 5] = [
    "attention.sliding_window_pattern",
    "full_attention_interval",
    "interleave_moe_layer_step",
    "moe_every_n_layers",
    "rescale_every_n_layers",
];
/// The one of them by which weights are halved once more, every so many layers.
const HALVED: &str = "rescale_every_n_layers";
/// Arrays whose length may be that of the layers by chance.
pub(crate) const BY_CHANCE: [&str; 2] = ["classifier.output_labels", "rope.dimension_sections"];

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

    /// Takes the layers out of `model`. Also gives what is to be said about its hyperparameters.
    ///
    /// # Errors
    /// The model has no such layer, or no other; or layers would become of another kind.
    pub fn apply(&self, mut model: Model) -> Result<(Model, Vec<String>)> {
        if self.is_empty() {
            return Ok((model, Vec::new()));
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
        let (mut changed, mut notes) = (Vec::new(), Vec::new());
        for (key, value) in model.metadata.iter() {
            let Some(hparam) = key.strip_prefix(&prefix) else { continue };
            self.keeps_kinds(key, hparam, value, n_layer)?;
            notes.extend(doubt(key, hparam, value, n_layer));
            changed.extend(self.hparam(hparam, value, n_layer).map(|value| (key.to_string(), value)));
        }
        for (key, value) in changed {
            model.metadata.set(&key, value);
        }
        Ok((model, notes))
    }

    /// Refuses to renumber layers whose kind follows from their number.
    fn keeps_kinds(&self, key: &str, hparam: &str, value: &Value, n_layer: u64) -> Result<()> {
        let period = value.as_u64().filter(|_| EVERY.contains(&hparam));
        let mut kept = (0..n_layer).filter(|old| !self.0.contains(old));
        let other = |every: u64, old: u64| !are_alike(hparam, every, old, old - self.below(old));
        let Some((period, old)) = period.and_then(|n| kept.find(|old| other(n, *old)).map(|old| (n, old)))
        else {
            return Ok(());
        };
        if hparam == HALVED {
            return Err(Error::unsupported("--prune-layers would have weights that are halved too often")
                .expected(format!("layers that stay among the same {period}, as {key} counts them"))
                .found(format!("layer {old}, which would become layer {}", old - self.below(old)))
                .hint("leave out the last layers only, or prune the checkpoint before it is converted"));
        }
        Err(Error::unsupported("--prune-layers would make layers of another kind of some")
            .expected(format!("layers left out by {period}, as {key} counts them"))
            .found(format!("layer {old}, which would become layer {}", old - self.below(old)))
            .hint(format!("leave out {period} layers that follow each other, or several times so many")))
    }

    /// The new value of a hyperparameter that depends on the layers.
    fn hparam(&self, key: &str, value: &Value, n_layer: u64) -> Option<Value> {
        let number = |n: u64| u32::try_from(n).ok().map(Value::U32);
        match value {
            Value::Array(all) if all.len() as u64 == n_layer && BY_LAYER.contains(&key) => {
                Some(Value::Array(all.select(|i| !self.0.contains(&(i as u64)))))
            }
            _ if key == "block_count" => number(n_layer - self.below(n_layer)),
            _ if FIRST.contains(&key) => value.as_u64().and_then(|n| number(n - self.below(n))),
            _ if LAST.contains(&key) => {
                let first = n_layer.saturating_sub(value.as_u64()?);
                number(value.as_u64()?.saturating_sub(self.below(n_layer) - self.below(first)))
            }
            _ => None,
        }
    }
}

/// Whether a layer may take the place of another by a number of `EVERY`.
pub(super) fn are_alike(hparam: &str, every: u64, old: u64, new: u64) -> bool {
    match every {
        0 => true,
        _ if hparam == HALVED => old / every == new / every,
        _ => old % every == new % every,
    }
}

/// What to say of an array that may or may not hold a value a layer.
fn doubt(key: &str, hparam: &str, value: &Value, n_layer: u64) -> Option<String> {
    let long = value.as_array().is_some_and(|all| all.len() as u64 == n_layer);
    (long && !BY_LAYER.contains(&hparam) && !BY_CHANCE.contains(&hparam)).then(|| {
        format!("warning: {key} has as many values as the model had layers; it is not known to go by layer, so all stay")
    })
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
        let (pruned, notes) = Prune::new([1, 2]).apply(model()).unwrap();
        let names: Vec<&str> = pruned.tensors.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["output.weight", "blk.0.a", "blk.1.a", "blk.1.b"]);
        assert_eq!(notes, [""; 0]);
        let m = &pruned.metadata;
        assert_eq!(m.get("deci.block_count"), Some(&Value::U32(2)));
        assert_eq!(m.get("deci.attention.head_count"), Some(&vec![1i32, 4].into()));
        assert_eq!(m.get("deci.rope.dimension_sections"), Some(&vec![5i32, 5, 5, 5].into()));
        assert_eq!(m.get("deci.leading_dense_block_count"), Some(&Value::U32(1)));
        assert_eq!(m.get("tokenizer.four"), Some(&vec![1i32, 2, 3, 4].into()));
    }

    #[test]
    fn arrays_are_cut_by_their_key_and_not_by_their_length() {
        let mut with = model();
        with.metadata.set("deci.classifier.output_labels", ["a", "b", "c", "d"].map(String::from).to_vec());
        with.metadata.set("deci.unheard_of", vec![1.0f32; 4]);
        with.metadata.set("deci.nextn_predict_layers", 1u32);
        with.metadata.set("deci.attention.shared_kv_layers", 2u32);
        let (pruned, notes) = Prune::new([1, 2]).apply(with.clone()).unwrap();
        let same = |key: &str| assert_eq!(pruned.metadata.get(key), with.metadata.get(key), "{key}");
        for key in ["deci.classifier.output_labels", "deci.unheard_of", "deci.nextn_predict_layers"] {
            same(key);
        }
        assert_eq!(pruned.metadata.u64("deci.attention.shared_kv_layers"), Some(1));
        assert!(notes.len() == 1 && notes[0].contains("deci.unheard_of has as many values"), "{notes:?}");
        let (pruned, _) = Prune::new([3]).apply(with).unwrap();
        assert_eq!(pruned.metadata.u64("deci.nextn_predict_layers"), Some(0));
    }

    #[test]
    fn no_layer_becomes_one_of_another_kind() {
        let mut with = model();
        with.metadata.set("deci.full_attention_interval", 2u32);
        let said = Prune::new([1]).apply(with.clone()).unwrap_err();
        assert_eq!(said.kind().exit_code(), 4);
        assert!(said.to_string().contains("layer 2, which would become layer 1"), "{said}");
        assert!(Prune::new([1, 2]).apply(with.clone()).is_ok());
        assert!(Prune::new([3]).apply(with).is_ok());
    }

    #[test]
    fn no_layer_is_halved_too_often() {
        let mut with = model();
        with.metadata.set("deci.rescale_every_n_layers", 2u32);
        let said = Prune::new([0, 1]).apply(with.clone()).unwrap_err().to_string();
        assert!(
            said.contains("halved too often") && said.contains("layer 2, which would become layer 0"),
            "{said}"
        );
        assert!(Prune::new([0]).apply(with.clone()).is_err(), "layer 2 becomes layer 1");
        assert!(Prune::new([3]).apply(with.clone()).is_ok());
        with.metadata.set("deci.rescale_every_n_layers", 0u32);
        assert!(Prune::new([0]).apply(with).is_ok(), "nothing is halved");
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
