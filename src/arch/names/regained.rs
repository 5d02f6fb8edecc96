//! The tensors of a GGUF under the names that a checkpoint of its family would give them, where there is no checkpoint: of
//! several spellings the first of the page, with the first of its prefixes.

use super::dialect::published;
use super::instance::behind;
use super::{Instance, alternatives, broken, numbered, unknown};
use crate::arch::families::Family;
use crate::arch::moved::{self, Zeros};
use crate::arch::params::Params;
use crate::arch::rerank;
use crate::arch::rule::{RowCount, Rule, biased, spelled};
use ggraft_formats::safetensors::Named;
use ggraft_formats::{Error, Model, Result, Tensor};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The checkpoint's tensors that those of `model` were made of, in the order of the model.
pub fn regained(family: &Family, params: &Params<'_>, model: &Model) -> Result<Vec<Named>> {
    let held: HashMap<&str, &Tensor> = model.tensors.iter().map(|t| (t.name.as_str(), t)).collect();
    let mut all = Vec::new();
    for rule in &family.rules {
        let layers = rule.indices().iter().try_fold(None, |least: Option<u64>, index| {
            Ok::<_, Error>(Some(params.size(index, 0)?.min(least.unwrap_or(u64::MAX))))
        })?;
        let layers = layers.unwrap_or(1).min(model.tensors.len() as u64);
        for layer in 0..u32::try_from(layers).unwrap_or(u32::MAX) {
            for bias in [false, true].into_iter().filter(|bias| !bias || rule.bias.is_some()) {
                all.extend(instance(family, rule, bias, layer, params, &held)?);
            }
        }
    }
    let all = alternatives(of_their_layers(all));
    let index: HashMap<&str, usize> =
        all.iter().enumerate().flat_map(|(i, x)| x.to.iter().map(move |to| (to.as_str(), i))).collect();
    let mut done = vec![false; all.len()];
    let (mut tensors, mut problems) = (Vec::with_capacity(model.tensors.len()), Vec::new());
    for tensor in &model.tensors {
        match index.get(tensor.name.as_str()) {
            Some(i) if std::mem::replace(&mut done[*i], true) => {}
            Some(i) => {
                match all[*i].release(&held, params).and_then(|named| whole(&all[*i], named, params)) {
                    Ok(named) => tensors.extend(named),
                    Err(e) => problems.push(e),
                }
            }
            None if tensor.name == rerank::HEAD
                || family.makes(&tensor.name)
                || family.copies.iter().any(|(_, copy)| *copy == tensor.name) => {}
            None => problems.push(unknown(family, tensor)),
        }
    }
    Error::all(problems).map_or(Ok(()), Err)?;
    let own = |Named { name, tensor }| Ok(Named { name: published(family, params, name)?, tensor });
    tensors.into_iter().map(own).collect()
}

/// Of several rules for one target those that are for its layer by the config, if there are such.
fn of_their_layers(mut all: Vec<Instance<'_>>) -> Vec<Instance<'_>> {
    let sure = all.iter().filter(|x| x.holds && x.fits).flat_map(|x| x.to.iter().cloned());
    let sure: HashSet<String> = sure.collect();
    all.retain(|x| x.holds || x.to.iter().all(|to| !sure.contains(to)));
    all
}

/// How many first rows of its table a rule leaves out.
fn left_out(rule: &Rule, params: &Params<'_>, layer: u32) -> u64 {
    match rule.rows {
        RowCount::After(axis) => params.size(axis, layer).unwrap_or(0),
        _ => 0,
    }
}

/// With the rows that a GGUF leaves out as zeros: they stand for no place, and nothing looks them up.
fn whole(instance: &Instance<'_>, named: Vec<Named>, params: &Params<'_>) -> Result<Vec<Named>> {
    let first = left_out(instance.rule, params, instance.layer);
    if first == 0 {
        return Ok(named);
    }
    let one = |Named { name, tensor }: Named| {
        let shape = moved::shape(&name, &[first, tensor.shape().row()])?;
        let zeros = Tensor::new(&name, shape, tensor.dtype(), Arc::new(Zeros))?;
        Ok(Named { name, tensor: behind(zeros, first, tensor)? })
    };
    named.into_iter().map(one).collect()
}

/// A rule in one layer, if the model has all that it makes, in the shapes that it makes.
fn instance<'a>(
    family: &Family,
    rule: &'a Rule,
    bias: bool,
    layer: u32,
    params: &Params<'_>,
    held: &HashMap<&str, &Tensor>,
) -> Result<Option<Instance<'a>>> {
    let at = |_: &str| u64::from(layer);
    let name = |name: String| if bias { biased(&name) } else { name };
    let to: Vec<String> =
        rule.to.iter().flat_map(|to| spelled(to)).map(|to| numbered(&name(to), &at)).collect();
    let targets: Option<Vec<&Tensor>> = to.iter().map(|name| held.get(name.as_str()).copied()).collect();
    let Some(targets) = targets else { return Ok(None) };
    let axes = rule.axes(bias).map_err(|what| broken(rule, &what))?;
    let mut instance = Instance {
        rule,
        bias,
        layer,
        axes,
        from: Vec::new(),
        to,
        holds: rule.layers.hold(params, layer).unwrap_or(false),
        needed: false,
        found: true,
        fits: true,
        table: None,
    };
    let Ok(sizes) = instance.sizes(params) else { return Ok(None) };
    let shapes = instance.axes.to.iter().map(|side| side.shape(&sizes).unwrap_or_default());
    let left_out = left_out(rule, params, layer);
    let elements = |shape: Vec<u64>| match shape.split_first() {
        Some((rows, rest)) => {
            rest.iter().fold(rows.saturating_sub(left_out), |n, size| n.saturating_mul(*size))
        }
        None => 1,
    };
    instance.fits = shapes.zip(&targets).all(|(shape, tensor)| elements(shape) == tensor.shape().elements());
    let stacked = rule.stacked();
    let stack: Vec<u64> = stacked.iter().map(|axis| sizes.get(axis).copied().unwrap_or(1)).collect();
    let rows = targets.iter().map(|t| t.shape().elements()).max().unwrap_or(0);
    let experts = stack.iter().fold(1u64, |n, size| n.saturating_mul(*size));
    if experts > rows {
        return Ok(None);
    }
    let prefix = family.prefixes.first().copied().unwrap_or("");
    for spelling in rule.from.first().into_iter().flat_map(|from| spelled(from)) {
        let plain = name(spelling);
        for i in 0..experts {
            let index = |index: &str| match stacked.iter().position(|axis| *axis == index) {
                Some(at) => i / stack[at + 1..].iter().product::<u64>() % stack[at].max(1),
                None => u64::from(layer),
            };
            let plain = numbered(&plain, &index);
            instance.from.push(match plain.strip_prefix('^') {
                Some(outside) => outside.to_string(),
                None => format!("{prefix}{plain}"),
            });
        }
    }
    Ok(Some(instance))
}
