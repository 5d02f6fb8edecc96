//! An adapter in a GGUF, as llama.cpp applies it: pairs `NAME.lora_a`, `NAME.lora_b` in the order of a GGUF's tensors.
//! Specification: `llama_adapter_lora_init` and `get_scale` of llama.cpp.

use super::rows::{Change, Factor, Product, changed, count, twin};
use crate::roles;
use ggraft_formats::{Error, Model, Result, Tensor};
use std::collections::{BTreeMap, HashMap};

const A: &str = ".lora_a";
const B: &str = ".lora_b";
const ALPHA: &str = "adapter.lora.alpha";

/// An adapter that was opened.
pub struct Gguf {
    pub model: Model,
    alpha: f64,
    /// A and B by the tensor that they change.
    pairs: BTreeMap<String, (Tensor, Tensor)>,
    /// Tensors that take the place of the model's.
    whole: Vec<Tensor>,
}

impl Gguf {
    /// Whether a GGUF says that it holds an adapter.
    pub fn is(model: &Model) -> bool {
        model.metadata.str("general.type") == Some("adapter") || model.metadata.get("adapter.type").is_some()
    }

    /// Reads what the adapter in `model` says; no weights yet.
    pub fn open(model: Model) -> Result<Gguf> {
        let place = |e: Error| model.containers.iter().fold(e, |e, file| e.file(file.path()));
        let kind = model.metadata.str("adapter.type").unwrap_or("none");
        if kind != "lora" {
            let e = Error::unsupported("this is not an adapter that can be applied");
            return Err(place(e.expected("'adapter.type' of lora").found(kind)));
        }
        if model.metadata.get("adapter.alora.invocation_tokens").is_some() {
            let e = Error::unsupported("the adapter counts only after some tokens: it cannot be merged");
            return Err(place(e.found("'adapter.alora.invocation_tokens'")));
        }
        let alpha = model.metadata.get(ALPHA).map(|v| v.as_f64());
        let Some(alpha) = alpha.unwrap_or(Some(0.0)).filter(|x| x.is_finite()) else {
            return Err(place(Error::invalid(format!("'{ALPHA}' is no number"))));
        };
        let by_name: HashMap<&str, &Tensor> = model.tensors.iter().map(|t| (t.name.as_str(), t)).collect();
        let (mut pairs, mut whole, mut problems) = (BTreeMap::new(), Vec::new(), Vec::new());
        for tensor in &model.tensors {
            let name = &tensor.name;
            let Some((stem, twin)) = twin(name, A, B) else {
                if name.ends_with("_norm.weight") {
                    whole.push(tensor.clone());
                } else {
                    problems
                        .push(Error::unsupported("this tensor of an adapter is not supported").tensor(name));
                }
                continue;
            };
            match by_name.get(twin.as_str()) {
                None => problems.push(Error::invalid("a part of the adapter is missing").tensor(&twin)),
                Some(twin) if name.ends_with(A) => {
                    pairs.insert(stem.to_string(), (tensor.clone(), Tensor::clone(twin)));
                }
                Some(_) => {}
            }
        }
        if let Some(e) = Error::all(problems) {
            return Err(place(e));
        }
        Ok(Gguf { alpha, pairs, whole, model })
    }

    /// Refuses a model of another architecture, whose rows may lie in another order.
    pub fn is_of(&self, model: &Model) -> Result<()> {
        let (own, other) = (self.model.architecture(), model.architecture());
        if own == other {
            return Ok(());
        }
        let e = Error::invalid("the adapter is of another architecture than the model")
            .expected(other.unwrap_or("a model without 'general.architecture'"))
            .found(own.unwrap_or("no 'general.architecture'"))
            .hint("use an adapter that was made for this model");
        Err(self.model.containers.iter().fold(e, |e, file| e.file(file.path())))
    }

    /// The tensors of a model that the adapter changes, by their places.
    ///
    /// # Errors
    /// What does not fit them: all in one error.
    pub fn applied(&self, tensors: &[Tensor]) -> Result<BTreeMap<usize, Tensor>> {
        let places: HashMap<&str, usize> =
            tensors.iter().enumerate().map(|(i, t)| (t.name.as_str(), i)).collect();
        let (mut all, mut problems) = (BTreeMap::new(), Vec::new());
        let pairs = self.pairs.iter().map(|(name, pair)| (name.as_str(), Some(pair), None));
        let whole = self.whole.iter().map(|t| (t.name.as_str(), None, Some(t)));
        for (name, pair, other) in pairs.chain(whole) {
            let Some(i) = places.get(name).copied() else {
                let e = Error::invalid("the model has no such tensor").tensor(name);
                problems.push(e.hint("the adapter is of another model"));
                continue;
            };
            let made = match (pair, other) {
                (Some((a, b)), _) => self.product(&tensors[i], a, b),
                (None, Some(other)) if other.shape().significant() == tensors[i].shape().significant() => {
                    Ok(other.clone())
                }
                (None, other) => {
                    Err(unfit(&tensors[i], other.map_or_else(String::new, |t| t.shape().to_string())))
                }
            };
            match made {
                Ok(tensor) => _ = all.insert(i, tensor),
                Err(e) => problems.push(e),
            }
        }
        let place = |e: Error| self.model.containers.iter().fold(e, |e, file| e.file(file.path()));
        Error::all(problems).map_or(Ok(all), |e| Err(place(e)))
    }

    fn product(&self, weight: &Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let (row, rows, stack) = (weight.shape().row(), weight.shape().dim(1), weight.shape().dim(2));
        let is_table = weight.name == roles::TABLES[0];
        let rank = b.shape().row();
        let due = match is_table {
            true => [[rank, rows, 1], [rank, row, 1]],
            false => [[row, rank, stack], [rank, rows, stack]],
        };
        let dims = |t: &Tensor| [t.shape().dim(0), t.shape().dim(1), t.shape().dim(2)];
        if [dims(a), dims(b)] != due || rank == 0 || weight.shape().significant().len() > 3 {
            return Err(unfit(weight, format!("{} and {}", a.shape(), b.shape())));
        }
        let (left, right) = match is_table {
            true => (Factor::Straight(a.clone()), Factor::Turned(b.clone())),
            false => (Factor::Straight(b.clone()), Factor::Straight(a.clone())),
        };
        // Without an alpha the product counts as it is.
        let scale = if self.alpha == 0.0 { 1.0 } else { self.alpha / rank as f64 };
        let size = |n: u64| usize::try_from(n).map_err(|_| unfit(weight, String::from("too large a rank")));
        let rows = if is_table { count(weight)? } else { size(rows)? };
        changed(weight, Change::Product(Product { scale, rank: size(rank)?, left, right, rows }))
    }
}

fn unfit(weight: &Tensor, found: String) -> Error {
    Error::invalid("the adapter has another shape than the model")
        .tensor(&weight.name)
        .expected(weight.shape())
        .found(found)
}
