//! What a GGUF says, as pages ask it for what goes back into a config: numbers of the model or of a layer, and which layers
//! have a tensor. Lists may be shorter than the model has layers, and values of any type: what is not there is none.

use crate::arch::back;
use ggraft_formats::{Model, Tensor, Value};
use serde_json::{Value as Json, json};
use std::collections::HashMap;

/// Keys of a config, and their values.
pub type Keys = Vec<(&'static str, Json)>;

/// A GGUF with so many layers.
#[derive(Clone)]
pub struct Told<'a> {
    model: &'a Model,
    tensors: HashMap<&'a str, &'a Tensor>,
    pub layers: u32,
}

impl<'a> Told<'a> {
    pub fn of(model: &'a Model, layers: u32) -> Told<'a> {
        let tensors = model.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        Told { model, tensors, layers }
    }

    /// A key under the architecture's name.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.model.metadata.get(&format!("{}.{key}", self.model.architecture().unwrap_or_default()))
    }

    /// A whole number.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.get(key)?.as_u64()
    }

    /// A value as a config says it.
    pub fn json(&self, key: &str) -> Option<Json> {
        self.get(key).map(back::json)
    }

    /// Whether the key is a list.
    pub fn is_list(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| value.as_array().is_some())
    }

    /// The number of a layer, where all have one or each its own.
    pub fn at(&self, key: &str, layer: u32) -> Option<u64> {
        match self.get(key)?.as_array() {
            Some(list) => list.u64(layer as usize),
            None => self.number(key),
        }
    }

    /// The flag of a layer, which some say as a number.
    pub fn flag(&self, key: &str, layer: u32) -> bool {
        let list = self.get(key).and_then(Value::as_array);
        match list.and_then(|list| list.iter().nth(layer as usize)) {
            Some(Value::Bool(flag)) => flag,
            Some(value) => value.as_u64().is_some_and(|n| n > 0),
            None => false,
        }
    }

    /// The tensor of this name in a layer.
    pub fn tensor(&self, name: &str, layer: u32) -> Option<&'a Tensor> {
        self.whole(&format!("blk.{layer}.{name}"))
    }

    /// The tensor of this whole name.
    pub fn whole(&self, name: &str) -> Option<&'a Tensor> {
        self.tensors.get(name).copied()
    }

    /// Whether a layer has a tensor of this name.
    pub fn has(&self, name: &str, layer: u32) -> bool {
        self.tensor(name, layer).is_some()
    }

    /// The first layer of such.
    pub fn first(&self, is: impl Fn(u32) -> bool) -> Option<u32> {
        (0..self.layers).find(|layer| is(*layer))
    }

    /// A word for each layer: the first of those that are so, the second of the others.
    pub fn words(&self, is: impl Fn(u32) -> bool, [yes, no]: [&str; 2]) -> Json {
        (0..self.layers).map(|layer| json!(if is(layer) { yes } else { no })).collect()
    }

    /// Which layers attend within a window, in transformers' words.
    pub fn windows(&self) -> Json {
        self.words(
            |layer| self.flag("attention.sliding_window_pattern", layer),
            ["sliding_attention", "full_attention"],
        )
    }

    /// How many layers there are proper, before those that predict more tokens.
    pub fn main(&self) -> u32 {
        let beyond = self.number("nextn_predict_layers").and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        self.layers.saturating_sub(beyond)
    }

    /// The same of these layers alone.
    pub fn proper(&self) -> Told<'a> {
        Told { layers: self.main(), ..self.clone() }
    }

    /// Which layers select for themselves what they attend to, if the GGUF tells.
    pub fn indexers(&self) -> Keys {
        const TYPES: &str = "attention.indexer.types";
        let kinds = || self.proper().words(|layer| self.flag(TYPES, layer), ["full", "shared"]);
        some([("indexer_types", self.is_list(TYPES).then(kinds))])
    }
}

/// What share `some` of `all` are: the least number of which so many follow again.
pub fn share(some: u64, all: u64) -> f64 {
    let share = some as f64 / all.max(1) as f64;
    if ((all as f64 * share) as u64) < some { share.next_up() } else { share }
}

/// Those keys whose values are told.
pub fn some<const N: usize>(keys: [(&'static str, Option<Json>); N]) -> Keys {
    keys.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}
