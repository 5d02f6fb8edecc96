//! One class tried for a GGUF: the config so far, and the sizes of axes so far.

use super::sizes::Sizes;
use crate::arch::config::Config;
use crate::arch::defaults;
use crate::arch::families::{Arch, Family};
use crate::arch::names::numbered;
use crate::arch::rule::{Rule, biased, spelled};
use ggraft_formats::{Model, Result, Tensor};
use serde_json::{Map, Value as Json, json};
use std::collections::HashMap;
use std::path::Path;

/// One class tried for a GGUF.
pub struct Attempt<'a> {
    pub arch: &'static Arch,
    pub family: Family,
    pub model_type: Option<&'static str>,
    pub model: &'a Model,
    pub tensors: HashMap<&'a str, &'a Tensor>,
    pub layers: u32,
    /// The config so far.
    pub given: Map<String, Json>,
    pub sizes: Sizes,
}

impl<'a> Attempt<'a> {
    /// With nothing said but the class.
    pub fn new(arch: &'static Arch, class: &'static str, model: &'a Model) -> Attempt<'a> {
        let layers = layers(arch.gguf, model);
        let mut attempt = Attempt {
            arch,
            family: Family::of(arch),
            model_type: defaults::model_type(class),
            model,
            tensors: model.tensors.iter().map(|t| (t.name.as_str(), t)).collect(),
            layers,
            given: Map::new(),
            sizes: Sizes::new(layers),
        };
        attempt.give("architectures", json!([class]));
        if let Some(model_type) = attempt.model_type {
            attempt.give("model_type", json!(model_type));
        }
        for (key, value) in (arch.regains)(model, layers) {
            attempt.give(key, value);
        }
        attempt
    }

    /// Says a key of the config, if nothing has said it.
    pub fn give(&mut self, key: &str, value: Json) {
        self.given.entry(key).or_insert(value);
    }

    /// The name, of these, that transformers knows; else the first.
    pub fn spelled(&self, keys: &[&'static str]) -> &'static str {
        let known = |key: &&&'static str| self.knows(key);
        keys.iter().find(known).or(keys.first()).copied().unwrap_or("")
    }

    /// Whether the model type has this key.
    pub fn knows(&self, key: &str) -> bool {
        self.model_type.and_then(defaults::of).is_some_and(|all| all.contains_key(key))
    }

    pub fn config(&self) -> Result<Config> {
        Config::new(Path::new("config.json").into(), Json::Object(self.given.clone()))
    }

    /// The GGUF's tensors of a rule in one layer, if all are there.
    pub fn targets(&self, rule: &'static Rule, bias: bool, layer: u32) -> Option<Vec<Tensor>> {
        let names = rule.to.iter().flat_map(|to| spelled(to));
        let name = |to: String| {
            let to = if bias { biased(&to) } else { to };
            numbered(&to, &|_| u64::from(layer))
        };
        names.map(|to| self.tensors.get(name(to).as_str()).map(|t| (*t).clone())).collect()
    }
}

/// The number of layers: as the key says, and no more than there are tensors.
fn layers(gguf: &str, model: &Model) -> u32 {
    let told = model.metadata.u64(&format!("{gguf}.block_count")).unwrap_or(0);
    told.min(model.tensors.len() as u64) as u32
}
