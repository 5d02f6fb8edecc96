//! Layers that predict further tokens (MTP) in GGUF's names, where they follow the layers proper: whether a file holds the
//! layers that it counts, a model without them, alone, or with those of another model of the same body.
//! Specification: `{arch}.nextn_predict_layers` and `{arch}.block_count` of llama.cpp; `--mtp`, `--no-mtp` of its converter.

use crate::arch::Predicting;
use crate::arch::about::Size;
use crate::ftype::Prune;
use crate::roles::{self, layer};
use ggraft_formats::{Error, Metadata, Model, Result, Tensor, Value};

/// No model has more layers: a file that counts more tells nothing.
const MOST: u64 = 1 << 14;

const COUNTED: &str = "block_count";
const PREDICTING: &str = "nextn_predict_layers";
const SIZE: &str = "general.size_label";

/// The layers of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layers {
    /// How many the metadata counts.
    pub counted: u64,
    /// How many of these, the last ones, predict further tokens.
    pub predicting: u64,
    /// One more than the last that has a tensor.
    pub held: u64,
}

impl Layers {
    /// Those of a model that tells a number that can be, and holds some.
    pub fn of(metadata: &Metadata, tensors: &[Tensor]) -> Option<Layers> {
        let counted = number(metadata, COUNTED).filter(|counted| *counted <= MOST)?;
        let held = tensors.iter().filter_map(|t| layer(&t.name)).max()?.checked_add(1)?;
        Some(Layers { counted, predicting: number(metadata, PREDICTING).unwrap_or(0).min(counted), held })
    }

    /// The first that predicts further tokens.
    fn first(self) -> u64 {
        self.counted - self.predicting
    }

    /// How many are counted and not held.
    fn missing(self) -> u64 {
        self.counted.saturating_sub(self.held)
    }
}

fn key(metadata: &Metadata, name: &str) -> String {
    format!("{}.{name}", metadata.str("general.architecture").unwrap_or_default())
}

fn number(metadata: &Metadata, name: &str) -> Option<u64> {
    metadata.u64(&key(metadata, name))
}

/// What is wrong with the number of layers of a GGUF, which llama.cpp then does not load.
pub fn problem(metadata: &Metadata, tensors: &[Tensor]) -> Option<Error> {
    let layers = Layers::of(metadata, tensors)?;
    let error = || {
        Error::invalid(format!(
            "'{}' is not the number of layers that the file holds",
            key(metadata, COUNTED)
        ))
        .expected(format!("{} layers, as it holds", layers.held))
        .found(layers.counted)
    };
    match layers.missing() {
        0 if layers.held > layers.counted => Some(error()),
        0 => None,
        missing if missing <= layers.predicting => Some(error().hint(
            "those that it lacks predict further tokens: ggraft convert FILE --type COPY writes it without them",
        )),
        _ => Some(error().hint("the file is incomplete: make it again from the checkpoint")),
    }
}

/// `model` without the layers for predicting further tokens that it counts and does not hold, and what to say of it.
///
/// # Errors
/// Those of [`Prune::apply`].
pub fn mended(model: Model) -> Result<(Model, Option<String>)> {
    let Some(layers) = Layers::of(&model.metadata, &model.tensors) else { return Ok((model, None)) };
    match layers.missing() {
        0 => Ok((model, None)),
        missing if missing <= layers.predicting => {
            let (model, _) = cut(model, layers, layers.held)?;
            Ok((
                model,
                Some(format!(
                    "the metadata counts {missing} layers for predicting further tokens that the file does not hold: they \
                     are not counted here, for llama.cpp refuses such a file"
                )),
            ))
        }
        missing => {
            let note = format!(
                "warning: the metadata counts {} layers, and the last {missing} are not there: llama.cpp refuses such a file",
                layers.counted
            );
            Ok((model, Some(note)))
        }
    }
}

/// A GGUF's model as a user wants it, and what to say of it.
///
/// # Errors
/// Those of [`Prune::apply`] and [`only`].
pub fn of_gguf(model: Model, wanted: Predicting) -> Result<(Model, Vec<String>)> {
    let (model, note) = mended(model)?;
    let (model, notes) = match wanted {
        Predicting::Kept => (model, Vec::new()),
        Predicting::Without => without(model)?,
        Predicting::Only => (only(model)?, Vec::new()),
    };
    Ok((model, note.into_iter().chain(notes).collect()))
}

/// `model` without the layers that predict further tokens.
///
/// # Errors
/// Those of [`Prune::apply`].
pub fn without(model: Model) -> Result<(Model, Vec<String>)> {
    match Layers::of(&model.metadata, &model.tensors) {
        Some(layers) if layers.predicting > 0 => cut(model, layers, layers.first()),
        _ => {
            let mut model = model;
            model.metadata.remove(&key(&model.metadata, PREDICTING));
            Ok((model, vec![String::from(Predicting::NOTHING_TO_LEAVE_OUT)]))
        }
    }
}

/// Leaves out the layers from `first` on.
fn cut(model: Model, layers: Layers, first: u64) -> Result<(Model, Vec<String>)> {
    let (mut model, notes) = Prune::new(first..layers.counted).apply(model)?;
    let name = key(&model.metadata, PREDICTING);
    if model.metadata.u64(&name) == Some(0) {
        model.metadata.remove(&name);
    }
    Ok((model, notes))
}

/// The layers of `model` that predict further tokens, with what they share with it.
///
/// # Errors
/// It has none.
pub fn only(model: Model) -> Result<Model> {
    let layers = Layers::of(&model.metadata, &model.tensors).filter(|layers| layers.predicting > 0);
    let Some(layers) = layers else { return Err(none(&model).hint("convert it without --mtp")) };
    let stays = |t: &Tensor| roles::serves_predicting(&t.name, layers.first());
    let tensors = model.tensors.into_iter().filter(stays).collect();
    Ok(Model { tensors, ..model })
}

fn none(model: &Model) -> Error {
    let error = Error::usage("the model has no layers that predict further tokens")
        .expected(format!("'{}' above 0, and these layers", key(&model.metadata, PREDICTING)));
    model.containers.iter().take(1).fold(error, |e, file| e.file(file.path()))
}

/// Numbers of the metadata that may differ between two models of one body.
const MAY_DIFFER: [&str; 5] = [COUNTED, PREDICTING, "context_length", "vocab_size", "rope.scaling"];

/// `body` with the layers of `donor` that predict further tokens, and what to say of it. The two must agree in all that
/// decides what these layers compute: the architecture, its hyperparameters, the tokens, the shapes.
///
/// # Errors
/// All in which they disagree, as one; `body` has such layers already, or `donor` has none.
pub fn grafted(body: Model, donor: Model) -> Result<(Model, Vec<String>)> {
    let theirs = Layers::of(&donor.metadata, &donor.tensors).filter(|layers| layers.predicting > 0);
    let Some(theirs) = theirs else { return Err(none(&donor).hint("give --mtp-from another model")) };
    let Some(own) = Layers::of(&body.metadata, &body.tensors) else {
        return Err(Error::usage("the model has no layers to which others could be added"));
    };
    if own.predicting > 0 {
        return Err(Error::usage("the model has layers that predict further tokens already")
            .hint("give --no-mtp beside --mtp-from to have the others in their place"));
    }
    let mut problems = differences(&body, &donor);
    if own.counted != theirs.first() {
        problems.push(
            Error::unsupported("the models have different numbers of layers")
                .expected(own.counted)
                .found(theirs.first()),
        );
    }
    problems.extend(misfits(&body, &donor, theirs));
    if let Some(error) = Error::all(problems) {
        return Err(error);
    }
    let mut model = body;
    // A size that was counted, and not told by a name, is counted again.
    let count = |model: &Model| Size::of(model.tensors.iter()).label();
    let counts = model.metadata.str(SIZE) == Some(count(&model).as_str());
    arrays(&mut model, &donor, theirs)?;
    let name = key(&model.metadata, COUNTED);
    model.metadata.set(&name, theirs.counted as u32);
    let name = key(&model.metadata, PREDICTING);
    model.metadata.set(&name, theirs.predicting as u32);
    let grafts = donor.tensors.into_iter().filter(|t| layer(&t.name).is_some_and(|n| n >= theirs.first()));
    model.tensors.extend(grafts);
    if counts {
        model.metadata.set(SIZE, count(&model));
    }
    model.containers.extend(donor.containers);
    donor.reads.all().into_iter().for_each(|stamp| model.reads.add(stamp));
    let note = format!(
        "{} layers for predicting further tokens are another model's: they were trained on what its layers give, so \
         measure how often the guesses are accepted",
        theirs.predicting
    );
    Ok((model, vec![note]))
}

/// A problem for each hyperparameter, and for the tokens, in which the two differ.
fn differences(body: &Model, donor: &Model) -> Vec<Error> {
    let (own, other) = (body.architecture().unwrap_or_default(), donor.architecture().unwrap_or_default());
    if own != other {
        return vec![
            Error::unsupported("the models are of different architectures").expected(own).found(other),
        ];
    }
    let prefix = format!("{own}.");
    let decides = |key: &str| {
        let hparam = key.strip_prefix(&prefix);
        hparam.is_some_and(|name| !MAY_DIFFER.iter().any(|may| name.starts_with(may)))
    };
    let told = |key: &str, value: Option<&Value>| {
        value.map_or_else(|| format!("no {key}"), |v| short(&format!("{v:?}")))
    };
    let mut problems = Vec::new();
    let one = |(key, value): &(&str, &Value)| decides(key) && value.as_array().is_none();
    let alone = donor.metadata.iter().filter(|(key, _)| body.metadata.get(key).is_none());
    for (key, _) in body.metadata.iter().chain(alone).filter(one) {
        let (expected, found) = (body.metadata.get(key), donor.metadata.get(key));
        if found != expected {
            problems.push(
                Error::unsupported(format!("the models differ in '{key}'"))
                    .expected(told(key, expected))
                    .found(told(key, found)),
            );
        }
    }
    const TOKENS: &str = "tokenizer.ggml.tokens";
    if body.metadata.get(TOKENS) != donor.metadata.get(TOKENS) {
        let count =
            |model: &Model| model.metadata.get(TOKENS).and_then(|v| v.as_array()).map_or(0, |all| all.len());
        problems.push(
            Error::unsupported("the models have different tokens, which these layers share with the model")
                .expected(format!("the {} tokens of the model", count(body)))
                .found(format!("{} others", count(donor))),
        );
    }
    problems
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

/// A problem for each tensor of these layers whose shape is not that of its like in the body.
fn misfits(body: &Model, donor: &Model, theirs: Layers) -> Vec<Error> {
    let last = theirs.first().saturating_sub(1);
    let mut problems = Vec::new();
    let shared = |t: &&Tensor| roles::is_shared_with_predicting(&t.name);
    for tensor in donor.tensors.iter().filter(shared) {
        let own = body.tensors.iter().find(|t| t.name == tensor.name);
        if let Some(own) = own.filter(|own| own.shape() != tensor.shape()) {
            problems.push(misfit(tensor, own));
        }
    }
    for tensor in donor.tensors.iter().filter(|t| layer(&t.name).is_some_and(|n| n >= theirs.first())) {
        let n = layer(&tensor.name).unwrap_or_default();
        let like = tensor.name.replacen(&format!("blk.{n}."), &format!("blk.{last}."), 1);
        let own = body.tensors.iter().find(|t| t.name == like);
        let theirs = donor.tensors.iter().find(|t| t.name == like);
        // Where the donor's own layers differ from these, so may the body's.
        if let (Some(own), Some(theirs)) = (own, theirs)
            && theirs.shape() == tensor.shape()
            && own.shape() != tensor.shape()
        {
            problems.push(misfit(tensor, own));
        }
    }
    problems
}

fn misfit(tensor: &Tensor, own: &Tensor) -> Error {
    Error::unsupported("a layer that predicts further tokens does not fit the model")
        .tensor(&tensor.name)
        .expected(format!("{}, as {} of the model", own.shape(), own.name))
        .found(tensor.shape())
}

/// Adds the donor's values for these layers to the arrays of a value a layer.
fn arrays(model: &mut Model, donor: &Model, theirs: Layers) -> Result<()> {
    let mut longer = Vec::new();
    for (key, value) in model.metadata.iter() {
        let Some(all) = value.as_array().filter(|all| all.len() as u64 == theirs.first()) else { continue };
        let other = donor.metadata.get(key).and_then(|v| v.as_array());
        if let Some(other) = other.filter(|other| other.len() as u64 == theirs.counted) {
            let begins = other.select(|i| (i as u64) < theirs.first());
            if begins != *all {
                return Err(Error::unsupported(format!("the models differ in '{key}', a value a layer")));
            }
            longer.push((key.to_string(), Value::Array(other.clone())));
        }
    }
    for (key, value) in longer {
        model.metadata.set(&key, value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ggraft_formats::Shape;

    /// A model of two layers, and as many that predict.
    fn model(predicting: u32, held: u32) -> Model {
        let mut model = Model::default();
        model.metadata.set("general.architecture", "glm4moe");
        model.metadata.set("glm4moe.block_count", 2 + predicting);
        model.metadata.set("glm4moe.embedding_length", 4u32);
        if predicting > 0 {
            model.metadata.set("glm4moe.nextn_predict_layers", predicting);
        }
        let mut names = vec![String::from("token_embd.weight"), String::from("output_norm.weight")];
        names.extend((0..held).map(|n| format!("blk.{n}.attn_norm.weight")));
        let tensor = |name: &String| Tensor::in_memory(name, Shape::new(&[1]).unwrap(), &[0.0]).unwrap();
        model.tensors = names.iter().map(tensor).collect();
        model
    }

    fn names(model: &Model) -> Vec<&str> {
        model.tensors.iter().map(|t| t.name.as_str()).collect()
    }

    #[test]
    fn what_is_counted_and_not_held_is_told_and_mended() {
        assert!(problem(&model(1, 3).metadata, &model(1, 3).tensors).is_none());
        let broken = model(1, 2);
        let said = problem(&broken.metadata, &broken.tensors).unwrap().to_string();
        assert!(said.contains("glm4moe.block_count") && said.contains("convert"), "{said}");
        let (mended, note) = mended(broken).unwrap();
        assert_eq!(mended.metadata.u64("glm4moe.block_count"), Some(2));
        assert_eq!(mended.metadata.get("glm4moe.nextn_predict_layers"), None);
        assert!(note.unwrap().contains("1 layers"));
        let mut endless = model(1, 3);
        endless.metadata.set("glm4moe.block_count", u32::MAX);
        assert!(super::mended(endless).unwrap().1.is_none());
        let broken = model(0, 1);
        assert!(problem(&broken.metadata, &broken.tensors).unwrap().to_string().contains("incomplete"));
    }

    #[test]
    fn the_layers_go_or_stay_alone() {
        let (plain, notes) = without(model(1, 3)).unwrap();
        assert!(notes.is_empty());
        assert_eq!(without(model(0, 2)).unwrap().1, [Predicting::NOTHING_TO_LEAVE_OUT]);
        assert_eq!(names(&plain), names(&model(0, 2)));
        assert_eq!(plain.metadata, model(0, 2).metadata);
        let only = only(model(1, 3)).unwrap();
        assert_eq!(names(&only), ["token_embd.weight", "output_norm.weight", "blk.2.attn_norm.weight"]);
        assert_eq!(only.metadata, model(1, 3).metadata);
        assert!(super::only(model(0, 2)).is_err());
    }

    #[test]
    fn they_are_grafted_onto_a_model_of_the_same_body_alone() {
        let (grafted, _) = grafted(model(0, 2), model(1, 3)).unwrap();
        assert_eq!(names(&grafted), names(&model(1, 3)));
        assert_eq!(grafted.metadata, model(1, 3).metadata);
        let mut other = model(1, 3);
        other.metadata.set("glm4moe.embedding_length", 8u32);
        let said = super::grafted(model(0, 2), other).unwrap_err().to_string();
        assert!(said.contains("differ in 'glm4moe.embedding_length'"), "{said}");
        let mut more = model(1, 3);
        more.metadata.set("glm4moe.rope.freq_base", 1e6f32);
        let said = super::grafted(model(0, 2), more).unwrap_err().to_string();
        assert!(said.contains("expected no glm4moe.rope.freq_base"), "{said}");
        for (body, donor) in [(model(1, 3), model(1, 3)), (model(0, 2), model(0, 2))] {
            assert!(super::grafted(body, donor).is_err());
        }
    }
}
