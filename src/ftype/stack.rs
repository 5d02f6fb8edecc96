//! Layers of several GGUFs as one model: their tensors are renumbered, and the metadata follow, a value a layer, the first
//! or last so many, and every so many, as for layers that are left out (`prune`).

use super::Facts;
use super::prune::{BY_LAYER, EVERY, FIRST, LAST, are_alike};
use crate::arch::Part;
use crate::arch::about::Size;
use crate::roles::{self, FIXED, PERIODS};
use ggraft_formats::{Array, Error, Model, Result, Tensor, Value};
use std::collections::HashMap;

/// The key that tells how many weights a model has.
const SIZE: &str = "general.size_label";

/// The model of these layers of `models`; metadata are those of the model `files`.
///
/// # Errors
/// The models are of several architectures or have no such layers, or a key cannot follow them.
pub(crate) fn stacked(models: &[Model], parts: &[Part], files: usize) -> Result<Model> {
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
        return Err(Error::usage("a stack has no layers"));
    };
    let own = &models[files];
    let mut tensors = outside(&models[first.model], false);
    let (mut layers, mut reads_of) = (Vec::new(), own.containers.clone());
    for part in parts {
        let model = &models[part.model];
        checked(own, model, part)?;
        for layer in part.layers.clone() {
            let of_layer = model.tensors.iter().filter(|t| roles::layer(&t.name) == Some(layer));
            tensors.extend(of_layer.map(|t| t.clone().renamed(&renumbered(&t.name, layers.len() as u64))));
            layers.push((model, layer));
        }
    }
    tensors.extend(outside(&models[last.model], true));
    first_alone(own, &layers)?;
    same_shapes(&models[first.model], models, parts)?;
    same_rows(&tensors)?;
    let reads = own.reads.clone();
    for model in parts.iter().map(|part| &models[part.model]) {
        let known: Vec<_> = reads_of.iter().map(|file| file.path().to_path_buf()).collect();
        reads_of
            .extend(model.containers.iter().filter(|f| !known.iter().any(|path| path == f.path())).cloned());
        model.reads.all().into_iter().for_each(|stamp| reads.add(stamp));
    }
    let label = Size::of(tensors.iter()).label();
    let mut stacked = Model { metadata: own.metadata.clone(), tensors, containers: reads_of, reads };
    for (key, value) in changed(own, &layers)? {
        stacked.metadata.set(&key, value);
    }
    if stacked.metadata.get(SIZE).is_some() {
        stacked.metadata.set(SIZE, label);
    }
    Ok(stacked)
}

/// The tensors that belong to no layer, those behind the layers or the others.
fn outside(model: &Model, behind: bool) -> Vec<Tensor> {
    let all = model.tensors.iter().filter(|t| roles::layer(&t.name).is_none());
    all.filter(|t| t.name.starts_with("output") == behind).cloned().collect()
}

fn renumbered(name: &str, layer: u64) -> String {
    let rest = name.splitn(3, '.').nth(2).unwrap_or_default();
    format!("blk.{layer}.{rest}")
}

/// Refuses another architecture, and layers that are not there.
fn checked(own: &Model, model: &Model, part: &Part) -> Result<()> {
    let place = |e: Error| model.containers.iter().take(1).fold(e, |e, file| e.file(file.path()));
    if own.architecture() != model.architecture() {
        let name = |model: &Model| model.architecture().unwrap_or("none").to_string();
        let e = Error::invalid("only layers of one architecture can be put together");
        return Err(place(e.expected(name(own)).found(name(model))));
    }
    let count = Facts::of(model)?.n_layer;
    if part.layers.is_empty() || part.layers.end > count {
        let e = Error::invalid("the model has no such layers");
        let expected = format!("from 0 up to, without the last, {count}");
        let found = format!("[{}, {}]", part.layers.start, part.layers.end);
        return Err(place(e.expected(expected).found(found)));
    }
    Ok(())
}

/// The keys that depend on the layers, with their new values.
fn changed(own: &Model, layers: &[(&Model, u64)]) -> Result<Vec<(String, Value)>> {
    let arch = own.architecture().unwrap_or_default();
    let name = |hparam: &str| format!("{arch}.{hparam}");
    let mut all = vec![(name("block_count"), Value::U32(layers.len() as u32))];
    for hparam in BY_LAYER {
        let is_list = |(model, _): &(&Model, u64)| {
            model.metadata.get(&name(hparam)).is_some_and(|value| value.as_array().is_some())
        };
        if layers.iter().any(is_list) {
            all.push((name(hparam), list(&name(hparam), layers)?));
        }
    }
    for hparam in FIRST.into_iter().chain(LAST) {
        let value = ends(&name(hparam), layers, LAST.contains(&hparam))?;
        all.extend(value.map(|value| (name(hparam), value)));
    }
    let told = EVERY.iter().map(|hparam| (name(hparam), own.metadata.u64(&name(hparam))));
    let window = name("attention.sliding_window");
    let has_windows = own.metadata.get(&window).is_some();
    let fixed = FIXED.iter().filter(|(.., always)| *always || has_windows);
    let counted = PERIODS.iter().copied().chain(fixed.map(|(gguf, period, _)| (*gguf, *period)));
    let counted = counted.filter(|(gguf, _)| *gguf == arch).map(|(_, period)| (window.clone(), Some(period)));
    for (key, period) in told.chain(counted) {
        let other = |(model, _): &(&Model, u64)| model.metadata.u64(&key) != own.metadata.u64(&key);
        if key != window
            && let Some(new) = layers.iter().position(other)
        {
            let told =
                |model: &Model| model.metadata.u64(&key).map_or(String::from("nothing"), |n| n.to_string());
            return Err(refused(&key, layers, new).expected(told(own)).found(told(layers[new].0)));
        }
        let hparam = key.strip_prefix(arch).unwrap_or_default().trim_start_matches('.');
        let kept = |(new, (_, old)): (usize, &(&Model, u64))| {
            period.is_none_or(|period| are_alike(hparam, period, *old, new as u64))
        };
        if let Some(new) = layers.iter().enumerate().position(|layer| !kept(layer)) {
            let period = period.unwrap_or_default();
            return Err(refused(&key, layers, new)
                .expected(format!("layers that are alike by this key, which is {period}")));
        }
    }
    Ok(all)
}

/// Refuses layers with tensors of shapes that no layer of the first model has, unless widths are told for each layer.
fn same_shapes(first: &Model, models: &[Model], parts: &[Part]) -> Result<()> {
    let rest = |t: &Tensor| t.name.splitn(3, '.').nth(2).unwrap_or_default().to_string();
    let mut known: HashMap<String, Vec<&Tensor>> = HashMap::new();
    for tensor in first.tensors.iter().filter(|t| roles::layer(&t.name).is_some()) {
        known.entry(rest(tensor)).or_default().push(tensor);
    }
    let mut problems = Vec::new();
    for part in parts {
        let model = &models[part.model];
        let widths = format!("{}.feed_forward_length", model.architecture().unwrap_or_default());
        if model.metadata.get(&widths).is_some_and(|value| value.as_array().is_some()) {
            continue;
        }
        for tensor in &model.tensors {
            let is_taken = roles::layer(&tensor.name).is_some_and(|layer| part.layers.contains(&layer));
            let Some(theirs) = known.get(&rest(tensor)).filter(|_| is_taken) else { continue };
            if theirs.iter().all(|t| t.shape() != tensor.shape()) {
                let e = Error::invalid("layers of different shapes cannot be put together");
                let e = model.containers.iter().take(1).fold(e, |e, file| e.file(file.path()));
                let expected = format!("{}, as {} of the first model", theirs[0].shape(), theirs[0].name);
                problems.push(e.tensor(&tensor.name).expected(expected).found(tensor.shape()));
            }
        }
    }
    Error::all(problems).map_or(Ok(()), Err)
}

/// Refuses the first layer of RWKV 7 at another place: it has what nothing reads there and all other layers do.
fn first_alone(own: &Model, layers: &[(&Model, u64)]) -> Result<()> {
    let Some(arch) = own.architecture().filter(|arch| matches!(*arch, "rwkv7" | "arwkv7")) else {
        return Ok(());
    };
    match layers.iter().enumerate().skip(1).find(|(_, (_, old))| *old == 0) {
        Some((new, _)) => Err(Error::unsupported(format!("the first layer of {arch} is the first alone"))
            .found(format!("layer 0 as layer {new}"))
            .hint("begin the other slices at layer 1")),
        None => Ok(()),
    }
}

/// Refuses a head of another vocabulary than the table's.
fn same_rows(tensors: &[Tensor]) -> Result<()> {
    let rows = |name: &str| tensors.iter().find(|t| t.name == name).map(|t| t.shape().rows());
    match (rows("token_embd.weight"), rows("output.weight")) {
        (Some(table), Some(head)) if table != head => {
            Err(Error::invalid("the first and the last slice are of models with different vocabularies")
                .tensor("output.weight")
                .expected(format!("{table} rows, as token_embd.weight has"))
                .found(head))
        }
        _ => Ok(()),
    }
}

fn refused(key: &str, layers: &[(&Model, u64)], new: usize) -> Error {
    let e = Error::unsupported(format!("'{key}' cannot follow the layers"));
    let Some((model, old)) = layers.get(new) else { return e };
    let e = model.containers.iter().take(1).fold(e, |e, file| e.file(file.path()));
    e.found(format!("layer {old} as layer {new}"))
}

/// A value for each layer, of its own model.
fn list(key: &str, layers: &[(&Model, u64)]) -> Result<Value> {
    let mut values = Vec::with_capacity(layers.len());
    for (new, (model, old)) in layers.iter().enumerate() {
        let all = model.metadata.get(key).and_then(Value::as_array);
        let one = all.map(|all| all.select(|i| i as u64 == *old)).filter(|one| !one.is_empty());
        let expected = "a value for each layer, in every model";
        values.push(one.ok_or_else(|| refused(key, layers, new).expected(expected))?);
    }
    let joined = Array::joined(values).map(Value::Array);
    joined.ok_or_else(|| refused(key, layers, 0).expected("values of one type in every model"))
}

/// How many layers at one end are of another kind; nothing if no model says so.
fn ends(key: &str, layers: &[(&Model, u64)], at_the_end: bool) -> Result<Option<Value>> {
    if layers.iter().all(|(model, _)| model.metadata.u64(key).is_none()) {
        return Ok(None);
    }
    let is_of_end = |(model, old): &(&Model, u64)| {
        let count = model.metadata.u64(key).unwrap_or(0);
        let total = model.hparam("block_count").unwrap_or(0);
        if at_the_end { *old >= total.saturating_sub(count) } else { *old < count }
    };
    let count = layers.iter().filter(|layer| is_of_end(layer)).count();
    let place = if at_the_end { layers.len() - count..layers.len() } else { 0..count };
    match (0..layers.len()).find(|new| is_of_end(&layers[*new]) && !place.contains(new)) {
        Some(new) => Err(refused(key, layers, new)),
        None => Ok(Some(Value::U32(count as u32))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(arch: &str, every: u32) -> Model {
        let mut model = Model::default();
        model.metadata.set("general.architecture", arch);
        model.metadata.set(&format!("{arch}.rescale_every_n_layers"), every);
        model
    }

    #[test]
    fn the_first_layer_of_rwkv_7_stays_the_first() {
        for (arch, is_refused) in [("rwkv7", true), ("arwkv7", true), ("llama", false)] {
            let own = model(arch, 0);
            assert!(first_alone(&own, &[(&own, 0), (&own, 1)]).is_ok());
            assert_eq!(first_alone(&own, &[(&own, 0), (&own, 1), (&own, 0)]).is_err(), is_refused, "{arch}");
        }
    }

    #[test]
    fn layers_are_halved_as_often_as_before() {
        let own = model("rwkv6", 2);
        assert!(changed(&own, &[(&own, 0), (&own, 0), (&own, 3)]).is_ok());
        let told = changed(&own, &[(&own, 0), (&own, 1), (&own, 0)]).unwrap_err().to_string();
        assert!(told.contains("layer 0 as layer 2"), "{told}");
    }
}
