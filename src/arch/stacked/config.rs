//! `config.json` of a model that is made of layers of others: how many there are, and what it says of each of them, one
//! value a layer, the first or the last so many, or every so many. What cannot follow the layers is refused by its key.
//! Specification: the config classes of transformers; llama.cpp v0.5.0 for what its graphs count by themselves.

use crate::arch::config::{Config, brief};
use crate::arch::layered::telling;
use crate::roles::{FIXED, PERIODS};
use ggraft_formats::{Error, Result};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What the config of one of the models says.
pub(super) struct Told {
    /// With all defaults.
    pub config: Config,
    /// As it is in the file.
    pub json: Value,
    pub count: u64,
    /// The key that tells the number of layers.
    pub key: &'static str,
    /// What GGUF calls the architecture.
    pub gguf: &'static str,
    pub dir: PathBuf,
}

/// Lists whose length may be that of the layers by chance.
const BY_CHANCE: [&str; 6] = [
    "architectures",
    "bad_words_ids",
    "bos_token_id",
    "eos_token_id",
    "keys_to_ignore_at_inference",
    "suppress_tokens",
];
/// Numbers that count the first layers.
const FIRST: [&str; 6] = [
    "first_k_dense_replace",
    "moe_layer_start_index",
    "n_dense_first_layers",
    "num_dense_layers",
    "num_hash_layers",
    "num_dense_first_layers",
];
/// Numbers that count the last layers.
const LAST: [&str; 1] = ["num_kv_shared_layers"];
/// Numbers by which every so many layers are of another kind.
const EVERY: [&str; 13] = [
    "attn_layer_period",
    "decoder_sparse_step",
    "expert_layer_period",
    "full_attention_interval",
    "global_attn_every_n_layers",
    "interleave_moe_layer_step",
    "layer_group_size",
    "moe_every_n_layers",
    "moe_layer_freq",
    "moe_layer_frequency",
    "no_rope_layer_interval",
    "rescale_every",
    "sliding_window_pattern",
];
/// Lists of layers by their numbers.
const NUMBERS: [&str; 3] = ["attn_layer_indices", "mlp_only_layers", "moe_layers"];

/// The config of the model `files`, of layers that come from these of these models.
pub(super) fn config(models: &[Told], origins: &[(usize, u64)], files: usize) -> Result<Value> {
    let stack = Stack { models, origins, own: &models[files] };
    let mut config = stack.own.json.clone();
    let mut set = |key: &str, value: Value| {
        let at = telling(&config, key);
        if let Some(section) = config.pointer_mut(&at) {
            section[key] = value;
        }
    };
    set(stack.own.key, json!(origins.len()));
    let told: BTreeSet<&str> = stack.used().flat_map(|model| model.config.keys()).collect();
    for key in told {
        let value = match key {
            _ if NUMBERS.contains(&key) => stack.numbers(key),
            _ if stack.used().any(|model| model.list(key).is_some()) => stack.list(key)?,
            _ if FIRST.contains(&key) => stack.ends(key, false)?,
            _ if LAST.contains(&key) => stack.ends(key, true)?,
            _ if EVERY.contains(&key) => stack.every(key).map(|()| None)?,
            _ => None,
        };
        if let Some(value) = value {
            set(key, value);
        }
    }
    stack.periods()?;
    Ok(config)
}

impl Told {
    /// The value of a key that has one for each layer.
    fn list(&self, key: &str) -> Option<&Vec<Value>> {
        let list = self.config.get(key)?.as_array()?;
        (list.len() as u64 == self.count && !BY_CHANCE.contains(&key)).then_some(list)
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.config.get(key)?.as_u64()
    }

    /// A layer of it, for people.
    fn layer(&self, layer: u64) -> String {
        let name = self.dir.file_name().map(|name| name.to_string_lossy().into_owned());
        format!("layer {layer} of {}", name.unwrap_or_default())
    }
}

struct Stack<'a> {
    models: &'a [Told],
    origins: &'a [(usize, u64)],
    own: &'a Told,
}

impl<'a> Stack<'a> {
    /// Each model that layers come from.
    fn used(&self) -> impl Iterator<Item = &'a Told> {
        let all: BTreeSet<usize> = self.origins.iter().map(|(model, _)| *model).collect();
        let models = self.models;
        all.into_iter().map(move |model| &models[model])
    }

    /// Each layer: its model, the number that it had there, and the one that it has.
    fn layers(&self) -> impl Iterator<Item = (&'a Told, u64, u64)> {
        let models = self.models;
        self.origins.iter().zip(0..).map(move |((model, old), new)| (&models[*model], *old, new))
    }

    fn refuse(&self, key: &str) -> Error {
        Error::unsupported(format!("'{key}' cannot follow the layers")).file(self.own.config.file())
    }

    /// A value for each layer, each from its own model. A model that does not tell has the value that all others have.
    fn list(&self, key: &str) -> Result<Option<Value>> {
        let value = |(model, old, _): (&'a Told, u64, u64)| match model.list(key) {
            Some(list) => list.get(old as usize),
            None => model.config.get(key),
        };
        let values: Vec<Option<&Value>> = self.layers().map(value).collect();
        let told: Vec<&Value> = values.iter().flatten().copied().collect();
        let Some(first) = told.first() else { return Ok(None) };
        if told.len() < values.len() && told.iter().any(|value| value != first) {
            let without = self.used().find(|model| model.config.get(key).is_none());
            let (found, file) = without
                .map_or((String::new(), None), |model| (String::from("nothing"), Some(model.config.file())));
            let error = Error::unsupported(format!("'{key}' cannot follow the layers"));
            let error = file.into_iter().fold(error, Error::file);
            return Err(error.expected("a value for each layer, as the other models have").found(found));
        }
        let all: Vec<&Value> = values.iter().map(|value| value.unwrap_or(first)).collect();
        Ok((self.own.config.get(key).is_some() || told.len() == values.len()).then(|| json!(all)))
    }

    /// The layers of a list of their numbers; nothing where no model has any.
    fn numbers(&self, key: &str) -> Option<Value> {
        let is_named = |(model, old, _): &(&Told, u64, u64)| {
            let list = model.config.get(key).and_then(Value::as_array);
            list.is_some_and(|all| all.iter().any(|n| n.as_u64() == Some(*old)))
        };
        let named: Vec<u64> = self.layers().filter(is_named).map(|(.., new)| new).collect();
        let is_told = self.own.config.get(key).is_some() || !named.is_empty();
        is_told.then(|| json!(named))
    }

    /// How many layers at one end are of another kind; they must be together there.
    fn ends(&self, key: &str, at_the_end: bool) -> Result<Option<Value>> {
        let is_of_end = |(model, old, _): &(&Told, u64, u64)| {
            let count = model.number(key).unwrap_or(0);
            if at_the_end { *old >= model.count.saturating_sub(count) } else { *old < count }
        };
        let count = self.layers().filter(is_of_end).count();
        let total = self.origins.len();
        let place = if at_the_end { total - count..total } else { 0..count };
        let stray = self.layers().find(|layer| is_of_end(layer) && !place.contains(&(layer.2 as usize)));
        if let Some((model, old, new)) = stray {
            let which = if at_the_end { "last" } else { "first" };
            return Err(self
                .refuse(key)
                .expected(format!("the layers that it counts as the {which} ones"))
                .found(format!("{} as layer {new}", model.layer(old))));
        }
        Ok(self.own.number(key).or((count > 0).then_some(0)).map(|_| json!(count)))
    }

    /// Refuses layers that would become of another kind, where every so many are of one.
    fn every(&self, key: &str) -> Result<()> {
        for (model, old, new) in self.layers() {
            let (theirs, own) = (model.config.get(key), self.own.config.get(key));
            if theirs != own {
                let show = |value: Option<&Value>| value.map_or(String::from("nothing"), brief);
                return Err(self.refuse(key).expected(show(own)).found(format!(
                    "{} in {}",
                    show(theirs),
                    model.dir.display()
                )));
            }
            if let Some(period) = model.number(key).filter(|period| *period > 1) {
                self.keeps_kind(key, period, (model, old, new))?;
            }
        }
        Ok(())
    }

    fn keeps_kind(&self, key: &str, period: u64, (model, old, new): (&Told, u64, u64)) -> Result<()> {
        if old % period == new % period {
            return Ok(());
        }
        Err(self
            .refuse(key)
            .expected(format!("layers whose numbers change by multiples of {period}"))
            .found(format!("{} as layer {new}", model.layer(old)))
            .hint("choose other ranges: every so many layers are of another kind"))
    }

    /// The same of what no key says.
    fn periods(&self) -> Result<()> {
        let listed = PERIODS.iter().map(|(gguf, period)| (*gguf, *period, *gguf == "llama4"));
        let counted = listed.chain(FIXED).find(|(gguf, ..)| *gguf == self.own.gguf);
        let Some((_, period, always)) = counted else { return Ok(()) };
        if !always && self.own.config.get("sliding_window").is_none() {
            return Ok(());
        }
        self.layers().try_for_each(|layer| self.keeps_kind("layer_types", period, layer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, count: u64, more: Value) -> Told {
        let mut json = json!({"architectures": ["LlamaForCausalLM"], "num_hidden_layers": count});
        json.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let file = PathBuf::from(name).join("config.json");
        let config = Config::new(file, json.clone()).unwrap();
        Told { config, json, count, key: "num_hidden_layers", gguf: "llama", dir: name.into() }
    }

    fn layers(parts: &[(usize, std::ops::Range<u64>)]) -> Vec<(usize, u64)> {
        parts.iter().flat_map(|(model, layers)| layers.clone().map(|layer| (*model, layer))).collect()
    }

    #[test]
    fn lists_numbers_and_ends_follow_the_layers() {
        let a = told(
            "a",
            4,
            json!({"layer_types": ["w", "x", "y", "z"], "first_k_dense_replace": 1, "mlp_only_layers": [0, 2],
                   "eos_token_id": [1, 2, 3, 4], "layers": 9}),
        );
        let b = told("b", 3, json!({"layer_types": ["p", "q", "r"], "first_k_dense_replace": 0}));
        let found = config(&[a, b], &layers(&[(0, 0..3), (1, 1..3), (0, 2..4)]), 0).unwrap();
        assert_eq!(found["num_hidden_layers"], 7);
        assert_eq!(found["layer_types"], json!(["w", "x", "y", "q", "r", "y", "z"]));
        assert_eq!(found["first_k_dense_replace"], 1);
        assert_eq!(found["mlp_only_layers"], json!([0, 2, 5]));
        assert_eq!(found["eos_token_id"], json!([1, 2, 3, 4]));
    }

    #[test]
    fn a_list_that_one_model_lacks_is_filled_only_with_what_is_the_same_everywhere() {
        let plain = || told("plain", 2, json!({}));
        let listed = |kinds: [&str; 2]| told("listed", 2, json!({"layer_types": kinds}));
        let both = layers(&[(0, 0..2), (1, 0..2)]);
        let found = config(&[listed(["full", "full"]), plain()], &both, 0).unwrap();
        assert_eq!(found["layer_types"], json!(["full", "full", "full", "full"]));
        let found = config(&[plain(), listed(["full", "full"])], &both, 0).unwrap();
        assert!(found.get("layer_types").is_none());
        let said = config(&[plain(), listed(["full", "sliding"])], &both, 0).unwrap_err().to_string();
        assert!(said.contains("'layer_types' cannot follow") && said.contains("plain/config.json"), "{said}");
    }

    #[test]
    fn no_layer_becomes_one_of_another_kind() {
        let models = |more: Value| [told("a", 4, more.clone()), told("b", 4, more)];
        let refused = |more: Value, parts: &[(usize, std::ops::Range<u64>)]| {
            config(&models(more), &layers(parts), 0).unwrap_err().to_string()
        };
        let interval = || json!({"full_attention_interval": 2});
        assert!(config(&models(interval()), &layers(&[(0, 0..4), (1, 2..4)]), 0).is_ok());
        let said = refused(interval(), &[(0, 0..4), (1, 1..4)]);
        assert!(
            said.contains("'full_attention_interval'") && said.contains("layer 1 of b as layer 4"),
            "{said}"
        );
        let said = refused(json!({"first_k_dense_replace": 1}), &[(0, 0..4), (1, 0..2)]);
        assert!(
            said.contains("'first_k_dense_replace'") && said.contains("layer 0 of b as layer 4"),
            "{said}"
        );
        assert!(
            refused(json!({"num_kv_shared_layers": 1}), &[(0, 0..4), (1, 0..2)]).contains("num_kv_shared")
        );
    }

    #[test]
    fn a_section_for_text_is_told_there() {
        let mut a = told("a", 2, json!({}));
        a.json =
            json!({"text_config": {"num_hidden_layers": 2, "layer_types": ["x", "y"]}, "model_type": "m"});
        a.config = Config::new("config.json".into(), a.json.clone()).unwrap();
        let found = config(&[a], &layers(&[(0, 0..2), (0, 1..2)]), 0).unwrap();
        assert_eq!(found["text_config"], json!({"num_hidden_layers": 3, "layer_types": ["x", "y", "y"]}));
        assert!(found.get("num_hidden_layers").is_none());
    }
}
