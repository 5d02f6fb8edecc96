//! The way back: what a GGUF says of a model as the `config.json`, the names and the order of elements of its trainer. The
//! pages of `families` are read backward: a key gives the key of the config that it comes from, the shape of a tensor gives
//! the axes, a tensor that is there gives the flag that asks for it. What a page computes is found by trial: the keys of the
//! config that it asks for are given values until it computes what the GGUF says. The page read forward judges all of it.

mod attempt;
mod judge;
mod keys;
mod rope;
mod shapes;
mod sizes;
mod told;
mod trial;

pub use judge::same;
pub use told::{json, values};

use super::defaults;
use super::families::{ARCHS, Arch, Family};
use super::modules;
use super::names;
use super::native;
use super::params::Params;
use super::products;
use super::values::Value;
use crate::arrange::Arrange;
use attempt::Attempt;
use ggraft_formats::safetensors::Named;
use ggraft_formats::{Error, Model, Result};
use judge::Fault;
use serde_json::Value as Json;

/// A model as its trainer keeps it.
pub struct Regained {
    /// `config.json`.
    pub config: Json,
    pub tensors: Vec<Named>,
    /// Tensors that follow from the config, but with other values than the GGUF's.
    pub made: Vec<&'static str>,
    /// What the trainer may multiply weights with, as pages say it: the GGUF has it in them, and the config says one.
    pub multiplied: Vec<&'static str>,
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
    for arch in pages(model) {
        products::check_back(arch)?;
        for class in classes(arch, model) {
            let attempt = read(arch, class, model)?;
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
        Some((_, attempt)) => regained(attempt),
        None => Err(no_page(model, gguf)),
    }
}

/// The pages that may be meant, those of other vocabularies last, and those that have no place for its dense modules.
fn pages(model: &Model) -> Vec<&'static Arch> {
    let (gguf, words) =
        (model.architecture().unwrap_or_default(), model.metadata.str("tokenizer.ggml.model"));
    let those = ARCHS.iter().filter(|arch| arch.gguf == gguf && !arch.classes.contains(&native::CLASS));
    let mut all: Vec<&Arch> = those.collect();
    let dense = modules::is_told(gguf, &model.metadata);
    let other = |arch: &Arch| arch.vocabulary.is_some_and(|kind| words != Some(kind));
    all.arrange_by_key(|arch| (other(arch), dense && arch.dense.is_empty()));
    all
}

/// The classes of a page that may be meant: the one that the tensors tell, else all.
fn classes(arch: &Arch, model: &Model) -> Vec<&'static str> {
    let has = |part: &str| model.tensors.iter().any(|tensor| tensor.name.contains(part));
    match arch.told_by.iter().find(|(part, _)| has(part)) {
        Some((_, class)) => vec![class],
        None => {
            let mut all = arch.classes.to_vec();
            // Of two names of one class the one that transformers has.
            all.arrange_by_key(|class| defaults::model_type(class).is_none());
            all
        }
    }
}

fn no_page(model: &Model, gguf: &str) -> Error {
    let e = Error::unsupported("no page says how this architecture goes back to Hugging Face's names")
        .expected("'general.architecture' to be one that `ggraft architectures` lists")
        .found(format!("'{gguf}'"))
        .hint("choose a GGUF --type");
    model.containers.iter().fold(e, |e, file| e.file(file.path()))
}

/// All that the page of one class says backward.
fn read<'a>(arch: &'static Arch, class: &'static str, model: &'a Model) -> Result<Attempt<'a>> {
    let mut attempt = Attempt::new(arch, class, model);
    attempt.read_keys();
    attempt.read_labels();
    attempt.read_rope()?;
    attempt.read_shapes();
    attempt.read_layers();
    attempt.write_sizes();
    attempt.read_needs();
    attempt.try_the_rest()?;
    Ok(attempt)
}

fn regained(attempt: Attempt<'_>) -> Result<Regained> {
    let config = attempt.config()?;
    let made = judge::faults(&attempt, &config).into_iter().filter_map(|fault| match fault {
        Fault::Made(name) => Some(name),
        _ => None,
    });
    let made = made.collect();
    let params = Params::new(&config, &attempt.family.axes);
    let mut tensors = names::regained(&attempt.family, &params, attempt.model)?;
    for tensor in (attempt.arch.keeps)(attempt.model)? {
        tensors.push(Named { name: tensor.name.clone(), tensor });
    }
    let multiplied = multiplied(&attempt.family, &params);
    let type_keys = attempt.model_type.and_then(defaults::of).into_iter().flatten().map(|(key, _)| key);
    let untold = type_keys.filter(|key| *key != defaults::ALIASES && !attempt.given.contains_key(*key));
    Ok(Regained {
        untold: untold.cloned().collect(),
        is_known: attempt.model_type.is_some_and(|t| defaults::of(t).is_some()),
        tensors,
        made,
        multiplied,
        config: Json::Object(attempt.given),
    })
}

/// The multipliers of a page that are one here, each once.
fn multiplied(family: &Family, params: &Params<'_>) -> Vec<&'static str> {
    let mut all: Vec<&'static str> = Vec::new();
    for rule in &family.rules {
        let Value::Times(times) = rule.value else { continue };
        // A multiplier that grows with the layers is at no layer less of one than at the last that there can be.
        let are_one =
            (times.factors)(params, u32::MAX).is_ok_and(|all| all.iter().all(|factor| factor.by == 1.0));
        if are_one && !all.contains(&times.name) {
            all.push(times.name);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use ggraft_formats::{Shape, Tensor};

    #[test]
    fn of_classes_that_share_a_page_the_tensors_tell_which_is_meant() {
        let page = ARCHS.iter().find(|arch| arch.classes.contains(&"DeepseekV3ForCausalLM")).unwrap();
        let none = Model::default();
        assert!(classes(page, &none).len() > 1 && classes(page, &none)[0] == "DeepseekV2ForCausalLM");
        let bias = Tensor::in_memory("blk.1.exp_probs_b.bias", Shape::new(&[2]).unwrap(), &[0.0; 2]).unwrap();
        let corrected = Model { tensors: vec![bias], ..Model::default() };
        assert_eq!(classes(page, &corrected), ["DeepseekV3ForCausalLM"]);
    }
}
