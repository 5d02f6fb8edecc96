//! Opens models that are made of layers of others, as recipes tell them. Each model is opened and looked at by itself first,
//! so that what does not fit is told by its files; then their layers are one model to all that comes after.

use crate::arch;
use crate::ftype::prune::BY_CHANCE;
use crate::ftype::stack;
use crate::merge::weights::Rules;
use crate::merge::{self, stackable};
use crate::meta::Spelled;
use crate::output::plan::Loaded;
use crate::pipeline::{self, loaded};
use crate::recipe::{Rule, Slice, Stack};
use ggraft_formats::source::Access;
use ggraft_formats::{Checkpoint, Error, Input, Model, Result, Value};
use std::path::Path;
use std::sync::Arc;

/// One of the models.
struct Opened<'a> {
    path: &'a Path,
    /// Its checkpoint, unpacked, if it is none of GGUF.
    checkpoint: Option<Checkpoint>,
    model: Model,
}

/// Opens the model that `stack` describes; `allow_mismatch` lets its models differ in what weights were trained under.
///
/// # Errors
/// Those of opening each model; they do not fit each other, have no such layers, or say of their layers what cannot follow
/// them.
pub fn open(stack: &Stack, allow_mismatch: bool, options: &arch::Options, access: &Access) -> Result<Loaded> {
    if let ([one @ Slice { layers: None, .. }], None) = (stack.slices.as_slice(), &stack.files) {
        return whole(one, options, access);
    }
    let paths = paths(stack);
    let opened = paths.iter().map(|path| opened(path, options, access)).collect::<Result<Vec<_>>>()?;
    let place = |path: &Path| opened.iter().position(|one| one.path == path).unwrap_or_default();
    let files = stack.files.as_deref().or(stack.slices.first().map(|slice| slice.model.as_path()));
    let files = files.map_or(0, place);
    let parts = stack.slices.iter().map(|slice| part(slice, place(&slice.model), &opened));
    let parts = parts.collect::<Result<Vec<_>>>()?;
    let models: Vec<Model> = opened.iter().map(|one| one.model.clone()).collect();
    let mut notes = stackable(&models, allow_mismatch)?;
    let slices = stack.slices.iter().zip(&parts).map(|(slice, part)| {
        Ok(merge::Slice { model: part.model, layers: part.layers.clone(), scale: scale(slice)? })
    });
    let told = merge::Stack {
        models: models.iter().map(described).collect(),
        slices: slices.collect::<Result<_>>()?,
    };
    let checkpoints: Vec<Checkpoint> = opened.iter().filter_map(|one| one.checkpoint.clone()).collect();
    let mut joined = match checkpoints.len() {
        0 => loaded(stack::stacked(&models, &parts, files)?, Vec::new(), None)?,
        n if n == opened.len() => {
            let checkpoint = arch::stacked(&checkpoints, &parts, files)?;
            let adopted = arch::adopt(&checkpoint, options)?;
            follows(&adopted.model, &models, &parts).map_err(|e| e.file(&checkpoint.dir))?;
            let source = pipeline::source(checkpoint, &adopted);
            loaded(adopted.model, adopted.warnings, Some(Arc::new(source)))?
        }
        _ => return Err(mixed(&opened)),
    };
    joined.notes.append(&mut notes);
    joined.stack = Some(told);
    Ok(joined)
}

/// Checks that what the output's metadata says of each layer is what its own model says of it: a page may compute some
/// of it by the layer's number, where the config leaves it to a default.
fn follows(joined: &Model, models: &[Model], parts: &[arch::Part]) -> Result<()> {
    let used = || parts.iter().filter_map(|part| models.get(part.model));
    let arch = format!("{}.", joined.architecture().unwrap_or_default());
    let lists =
        |model: &'_ Model, key: &str| model.hparam("block_count") == model.metadata.get(key).and_then(count);
    let mut keys: Vec<&str> = Vec::new();
    for model in used().chain([joined]) {
        let own = model.metadata.iter().map(|(key, _)| key);
        let own = own.filter(|key| key.strip_prefix(&arch).is_some_and(|key| !BY_CHANCE.contains(&key)));
        keys.extend(own.filter(|key| lists(model, key)));
    }
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let of_part = |part: &arch::Part| {
            let all = layered(models.get(part.model)?, key)?;
            let places = part.layers.clone().map(|layer| usize::try_from(layer).ok());
            places.map(|layer| all.get(layer?).cloned()).collect::<Option<Vec<_>>>()
        };
        let Some(expected) = parts.iter().map(of_part).collect::<Option<Vec<_>>>() else { continue };
        let (expected, found) = (expected.concat(), layered(joined, key).unwrap_or_default());
        if let Some(layer) = (0..expected.len()).find(|i| !are_same(expected.get(*i), found.get(*i))) {
            let show =
                |all: &[Value]| all.get(layer).map_or(String::from("nothing"), |v| Spelled(v).to_string());
            return Err(Error::unsupported(format!("'{key}' cannot follow the layers"))
                .expected(format!("{} for layer {layer}, as its model has it", show(&expected)))
                .found(show(&found))
                .hint("choose other ranges, or write the list of it into each config.json"));
        }
    }
    Ok(())
}

fn count(value: &Value) -> Option<u64> {
    value.as_array().map(|array| array.len() as u64)
}

/// What a key says of each layer: a value each, or one for all.
fn layered(model: &Model, key: &str) -> Option<Vec<Value>> {
    let layers = model.hparam("block_count")?;
    match model.metadata.get(key)? {
        Value::Array(array) => (array.len() as u64 == layers).then(|| array.iter().collect()),
        value => Some(vec![value.clone(); usize::try_from(layers).ok()?.min(model.tensors.len().max(1))]),
    }
}

/// Whether two values are the same, whatever integers they are.
fn are_same(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a.and_then(Value::as_u64), b.and_then(Value::as_u64)) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// One model as it is, which may be scaled.
fn whole(slice: &Slice, options: &arch::Options, access: &Access) -> Result<Loaded> {
    let mut loaded = pipeline::open_with(&slice.model, options, access)?;
    let layers = 0..loaded.model.hparam("block_count").unwrap_or_default();
    let slices = vec![merge::Slice { model: 0, layers, scale: scale(slice)? }];
    loaded.stack = Some(merge::Stack { models: vec![described(&loaded.model)], slices });
    Ok(loaded)
}

/// What is told of a model.
fn described(model: &Model) -> Model {
    Model { tensors: Vec::new(), ..model.clone() }
}

/// The rules that scale a slice.
fn scale(slice: &Slice) -> Result<Rules> {
    let rules = Rules::parse([], slice.scale.iter().map(Rule::text))?;
    Ok(rules.placed(slice.scale.iter().map(Rule::place)))
}

/// Every model that the stack names, once.
fn paths(stack: &Stack) -> Vec<&Path> {
    let mut all: Vec<&Path> = Vec::new();
    for path in stack.slices.iter().map(|slice| &slice.model).chain(&stack.files) {
        if !all.contains(&path.as_path()) {
            all.push(path);
        }
    }
    all
}

fn opened<'a>(path: &'a Path, options: &arch::Options, access: &Access) -> Result<Opened<'a>> {
    match pipeline::input(path, access)? {
        Input::Model(model) => Ok(Opened { path, checkpoint: None, model }),
        Input::Checkpoint(checkpoint) => {
            let model = arch::adopt(&checkpoint, options)?.model;
            Ok(Opened { path, checkpoint: Some(checkpoint), model })
        }
    }
}

/// The layers of a slice; all of the model, if it names none.
fn part(slice: &Slice, model: usize, opened: &[Opened<'_>]) -> Result<arch::Part> {
    let count = opened.get(model).and_then(|one| one.model.hparam("block_count"));
    let layers = match (slice.layers, count) {
        (Some([start, end]), _) => start..end,
        (None, Some(count)) => 0..count,
        (None, None) => {
            return Err(Error::invalid("the model does not tell how many layers it has").file(&slice.model));
        }
    };
    Ok(arch::Part { model, layers })
}

/// The refusal of GGUFs beside checkpoints.
fn mixed(opened: &[Opened<'_>]) -> Error {
    let of = |is_gguf: bool| opened.iter().find(|one| one.checkpoint.is_none() == is_gguf);
    let path = |one: Option<&Opened<'_>>| one.map_or(String::new(), |one| one.path.display().to_string());
    Error::unsupported("layers of a GGUF and of a checkpoint cannot be put together")
        .expected("all models of the slices as checkpoints, or all as GGUFs")
        .found(format!("{} and {}", path(of(true)), path(of(false))))
        .hint("convert the checkpoint first: ggraft convert MODEL --type BF16")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ggraft_formats::Array;

    fn model(kinds: &[bool]) -> Model {
        let mut model = Model::default();
        model.metadata.set("general.architecture", "x");
        model.metadata.set("x.block_count", kinds.len() as u32);
        model.metadata.set("x.attention.kinds", Value::Array(Array::Bool(kinds.to_vec())));
        model.metadata.set("x.rope.dimension_sections", Value::Array(Array::U32((0..4).collect())));
        model
    }

    #[test]
    fn what_is_told_of_a_layer_goes_with_it() {
        let models = [model(&[true, true, true, false]), model(&[false, true])];
        let parts = [arch::Part { model: 0, layers: 1..4 }, arch::Part { model: 1, layers: 0..1 }];
        follows(&model(&[true, true, false, false]), &models, &parts).unwrap();
        let told = follows(&model(&[true, true, true, false]), &models, &parts).unwrap_err().to_string();
        for part in ["'x.attention.kinds' cannot follow", "false for layer 2", "found true"] {
            assert!(told.contains(part), "{told}");
        }
        let mut without = model(&[true, true, false, false]);
        without.metadata.remove("x.attention.kinds");
        assert!(follows(&without, &models, &parts).unwrap_err().to_string().contains("found nothing"));
    }
}
