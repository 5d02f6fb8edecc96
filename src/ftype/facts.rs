//! What an assignment of dtypes rests on: the tensors' names, shapes and dtypes, and a few hyperparameters. They
//! are read from a model's header, and as easily made up, so that every rule is tested without a weight.

use crate::roles::layer;
use ggraft_formats::{DType, Error, Metadata, Model, Result, Shape, Value};

/// One tensor of the source.
#[derive(Clone, Copy, Debug)]
pub struct TensorFact<'a> {
    pub name: &'a str,
    pub shape: Shape,
    pub dtype: DType,
}

/// The facts about a model on which the mixtures depend.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// In any order.
    pub tensors: Vec<TensorFact<'a>>,
    /// `general.architecture`; an unknown one follows the common rules.
    pub architecture: &'a str,
    /// `{arch}.block_count`: all layers, those that predict further tokens included.
    pub n_layer: u64,
    /// Query heads of layer 0.
    pub n_head: u64,
    /// Key and value heads of layer 0.
    pub n_head_kv: u64,
    /// 0 for a dense model.
    pub n_expert: u64,
    /// Whether the source is a trainer's checkpoint.
    pub is_trained: bool,
    /// The tensors of a trainer's checkpoint that have the dtype that the runtime wants.
    pub pinned: Vec<&'a str>,
}

impl<'a> Facts<'a> {
    /// The facts of a model. Hyperparameters that the metadata does not state get llama.cpp's defaults, and the
    /// number of layers follows from the tensors' names.
    ///
    /// # Errors
    /// A hyperparameter that is not a number.
    pub fn of(model: &'a Model) -> Result<Facts<'a>> {
        let tensors: Vec<TensorFact<'a>> = model
            .tensors
            .iter()
            .map(|t| TensorFact { name: &t.name, shape: *t.shape(), dtype: t.dtype() })
            .collect();
        let architecture = model.architecture().unwrap_or_default();
        let number = |key: &str| hparam(&model.metadata, &format!("{architecture}.{key}"));
        let named = tensors.iter().filter_map(|t| layer(t.name)).max().map_or(0, |n| n.saturating_add(1));
        let n_head = number("attention.head_count")?.unwrap_or(0);
        Ok(Facts {
            architecture,
            n_layer: number("block_count")?.unwrap_or(named),
            n_head,
            n_head_kv: number("attention.head_count_kv")?.unwrap_or(n_head),
            n_expert: number("expert_count")?.unwrap_or(0),
            is_trained: false,
            pinned: Vec::new(),
            tensors,
        })
    }

    /// How many query heads share one pair of key and value; 0 if layer 0 has no attention.
    pub(super) fn gqa(&self) -> u64 {
        self.n_head.checked_div(self.n_head_kv).unwrap_or(0)
    }

    /// Whether llama.cpp takes this for a model of 70B weights, by its shape.
    pub(super) fn is_large(&self) -> bool {
        LARGE.iter().any(|&(architecture, n_layer, grouped)| {
            self.architecture == architecture
                && self.n_layer == n_layer
                && (!grouped || self.n_head != self.n_head_kv)
        })
    }

    /// Whether the model has no projection to the vocabulary of its own: the embedding serves as one.
    pub(crate) fn is_tied(&self) -> bool {
        !self.tensors.iter().any(|t| t.name == "output.weight")
    }
}

/// Architecture, layers, and whether its heads must share keys and values: the 65B of the first Llama, which has as
/// many layers, is no 70B.
const LARGE: [(&str, u64, bool); 6] = [
    ("llama", 80, true),
    ("llama-embed", 80, true),
    ("qwen2", 80, false),
    ("deci", 80, false),
    ("olmo", 80, false),
    ("jais2", 68, false),
];

/// A number of the metadata; of one number a layer, that of layer 0. `None` if the key is missing.
fn hparam(metadata: &Metadata, key: &str) -> Result<Option<u64>> {
    let Some(value) = metadata.get(key) else { return Ok(None) };
    let number = match value {
        Value::Array(layers) => layers.u64(0),
        one => one.as_u64(),
    };
    number.map(Some).ok_or_else(|| {
        Error::invalid(format!("the metadata key '{key}' is unusable"))
            .expected("a number that is not negative, or one a layer")
            .found(format!("{value:.0?}").chars().take(60).collect::<String>())
            .hint("convert the model again")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ggraft_formats::Tensor;

    fn model(entries: &[(&str, Value)], names: &[&str]) -> Model {
        let mut model = Model::default();
        for (key, value) in entries {
            model.metadata.set(key, value.clone());
        }
        let shape = Shape::new(&[1]).unwrap();
        model.tensors = names.iter().map(|n| Tensor::in_memory(n, shape, &[0.0]).unwrap()).collect();
        model
    }

    #[test]
    fn facts_are_read_from_the_metadata() {
        let heads: Value = vec![8u32, 4, 4].into();
        let kv: Value = vec![2i32, 4, 4].into();
        let model = model(
            &[
                ("general.architecture", "deci".into()),
                ("deci.block_count", 80u32.into()),
                ("deci.attention.head_count", heads),
                ("deci.attention.head_count_kv", kv),
                ("deci.expert_count", 8u64.into()),
            ],
            &["blk.2.attn_q.weight"],
        );
        let facts = Facts::of(&model).unwrap();
        assert_eq!((facts.architecture, facts.n_layer, facts.n_expert), ("deci", 80, 8));
        assert_eq!((facts.n_head, facts.n_head_kv, facts.gqa()), (8, 2, 4));
        assert!(facts.is_large() && facts.is_tied());
    }

    #[test]
    fn an_unknown_architecture_gets_defaults() {
        let model =
            model(&[("new.attention.head_count", 6u32.into())], &["output.weight", "blk.0.a", "blk.11.a"]);
        let facts = Facts::of(&model).unwrap();
        assert_eq!((facts.architecture, facts.n_layer, facts.gqa(), facts.n_expert), ("", 12, 0, 0));
        assert!(!facts.is_tied());
    }

    #[test]
    fn kv_heads_default_to_the_query_heads() {
        let model =
            model(&[("general.architecture", "a".into()), ("a.attention.head_count", 6u32.into())], &[]);
        assert_eq!(Facts::of(&model).unwrap().gqa(), 1);
    }

    #[test]
    fn a_hyperparameter_of_another_type_is_an_error() {
        let model = model(&[("general.architecture", "a".into()), ("a.block_count", "many".into())], &[]);
        let said = Facts::of(&model).unwrap_err().to_string();
        assert!(said.contains("a.block_count") && said.contains("many"), "{said}");
    }
}
