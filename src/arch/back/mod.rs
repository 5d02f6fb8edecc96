//! The way back: what a GGUF says of a model as the `config.json`, the names and the order of elements of its trainer. The
//! pages of `families` are read backward: a key gives the key of the config that it comes from, the shape of a tensor gives
//! the axes, a tensor that is there gives the flag that asks for it. What a page computes is found by trial: the keys of the
//! config that it asks for are given values until it computes what the GGUF says. The page read forward judges all of it.

mod judge;
mod keys;
mod rope;
mod sizes;
mod told;
mod trial;

use super::config::Config;
use super::defaults;
use super::families::{ARCHS, Arch, Family};
use super::names;
use super::params::Params;
use ggraft_formats::safetensors::Named;
use ggraft_formats::{Error, Model, Result, Tensor};
pub use judge::same;
pub use told::json;

use judge::Fault;
use serde_json::{Map, Value as Json};
use sizes::Sizes;
use std::collections::HashMap;
use std::path::Path;

/// A model as its trainer keeps it.
pub struct Regained {
    /// `config.json`.
    pub config: Json,
    pub tensors: Vec<Named>,
    /// What the GGUF says and `config.json` cannot, or that they say otherwise.
    pub faults: Vec<String>,
    /// Keys of the config that the GGUF does not tell, which have the defaults of their model type.
    pub untold: Vec<String>,
    /// Whether transformers itself has the class; else its code lies beside the weights of those who published it.
    pub is_known: bool,
}

/// Reads a GGUF backward by the page that says the most of it.
///
/// # Errors
/// There is no page for it, or none knows all of its tensors.
pub fn regain(model: &Model) -> Result<Regained> {
    let gguf = model.architecture().unwrap_or_default();
    let mut best: Option<(usize, Attempt<'_>)> = None;
    for arch in ARCHS.iter().filter(|arch| arch.gguf == gguf) {
        for class in arch.classes {
            let attempt = Attempt::new(arch, class, model)?;
            let n = attempt.judged()?.len();
            if best.as_ref().is_none_or(|(least, _)| n < *least) {
                best = Some((n, attempt));
            }
            if n == 0 {
                break;
            }
        }
    }
    match best {
        Some((_, attempt)) => attempt.regained(),
        None => Err(no_page(model, gguf)),
    }
}

fn no_page(model: &Model, gguf: &str) -> Error {
    let e = Error::unsupported("no page says how this architecture goes back to Hugging Face's names")
        .expected("'general.architecture' to be one that `ggraft architectures` lists")
        .found(format!("'{gguf}'"))
        .hint("choose a GGUF --type");
    model.containers.iter().fold(e, |e, file| e.file(file.path()))
}

/// One class tried for a GGUF.
struct Attempt<'a> {
    arch: &'static Arch,
    family: Family,
    model_type: Option<&'static str>,
    model: &'a Model,
    tensors: HashMap<&'a str, &'a Tensor>,
    layers: u32,
    /// The config so far.
    given: Map<String, Json>,
    sizes: Sizes,
}

impl<'a> Attempt<'a> {
    fn new(arch: &'static Arch, class: &'static str, model: &'a Model) -> Result<Attempt<'a>> {
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
        attempt.give("architectures", serde_json::json!([class]));
        if let Some(model_type) = attempt.model_type {
            attempt.give("model_type", serde_json::json!(model_type));
        }
        attempt.read_keys();
        attempt.read_rope()?;
        attempt.read_shapes();
        attempt.read_layers();
        attempt.write_sizes();
        attempt.read_needs();
        attempt.try_the_rest()?;
        Ok(attempt)
    }

    /// Says a key of the config, if nothing has said it.
    fn give(&mut self, key: &str, value: Json) {
        self.given.entry(key).or_insert(value);
    }

    /// The name, of these, that transformers knows; else the first.
    fn spelled(&self, keys: &[&'static str]) -> &'static str {
        let known = |key: &&&'static str| self.knows(key);
        keys.iter().find(known).or(keys.first()).copied().unwrap_or("")
    }

    /// Whether the model type has this key.
    fn knows(&self, key: &str) -> bool {
        self.model_type.and_then(defaults::of).is_some_and(|all| all.contains_key(key))
    }

    fn config(&self) -> Result<Config> {
        Config::new(Path::new("config.json").into(), Json::Object(self.given.clone()))
    }

    /// What the page, read forward, says otherwise than the GGUF.
    fn judged(&self) -> Result<Vec<Fault>> {
        Ok(judge::faults(self, &self.config()?))
    }

    fn regained(self) -> Result<Regained> {
        let config = self.config()?;
        let faults = judge::faults(&self, &config).iter().map(Fault::sentence).collect();
        let params = Params::new(&config, &self.family.axes);
        let tensors = names::regained(&self.family, &params, self.model)?;
        let type_keys = self.model_type.and_then(defaults::of).into_iter().flatten().map(|(key, _)| key);
        let untold = type_keys.filter(|key| *key != defaults::ALIASES && !self.given.contains_key(*key));
        Ok(Regained {
            untold: untold.cloned().collect(),
            is_known: self.model_type.is_some_and(|t| defaults::of(t).is_some()),
            tensors,
            faults,
            config: Json::Object(self.given),
        })
    }
}

/// The number of layers: as the key says, and no more than there are tensors.
fn layers(gguf: &str, model: &Model) -> u32 {
    let told = model.metadata.u64(&format!("{gguf}.block_count")).unwrap_or(0);
    told.min(model.tensors.len() as u64) as u32
}
