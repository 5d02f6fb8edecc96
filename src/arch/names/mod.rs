//! From the trainer's tensors to GGUF's and back, as the rules of a family say. All that is missing, unknown or of the
//! wrong shape is found before a weight is read, and told at once.

mod dialect;
mod held;
mod instance;
mod placed;
mod regained;

pub use dialect::numbered;
pub use placed::placed;
pub use regained::regained;

use super::axes::Axes;
use super::families::{Carried, Family};
use super::modules;
use super::params::Params;
use super::rerank;
use super::rule::{Need, RowCount, Rule, biased, spelled};
use super::values::Value;
use ggraft_formats::safetensors::Named;
use ggraft_formats::{Checkpoint, DType, Error, Model, Result, Tensor};
use held::{Held, is_head};
use std::collections::{HashMap, HashSet};

/// A tensor of GGUF's, still with the trainer's values.
pub struct Adopted {
    pub tensor: Tensor,
    pub value: Value,
    pub rows: RowCount,
    /// The dtype that it has whatever is asked for.
    pub stored: Option<DType>,
}

/// A rule in one layer: the tensors that become others together.
pub(super) struct Instance<'a> {
    pub(super) rule: &'a Rule,
    bias: bool,
    pub(super) layer: u32,
    pub(super) axes: Axes,
    /// The checkpoint's names; of stacked ones each tensor, the last index fastest.
    pub(super) from: Vec<String>,
    pub(super) to: Vec<String>,
    /// Whether the rule holds in this layer.
    holds: bool,
    needed: bool,
    found: bool,
    /// Whether the first of the checkpoint's has the shape that it should have.
    fits: bool,
    /// The checkpoint's first tensor, where GGUF's has other rows.
    table: Option<Tensor>,
}

/// Refuses a config that says more layers, of whichever part, than the checkpoint holds tensors.
pub(super) fn refuse_more(family: &Family, params: &Params<'_>, checkpoint: &Checkpoint) -> Result<()> {
    let held = checkpoint.tensors.len() as u64;
    let mut axes: Vec<&'static str> = family.rules.iter().flat_map(|rule| rule.indices()).collect();
    axes.sort_unstable();
    axes.dedup();
    for axis in axes {
        let size = params.size(axis, 0)?;
        if size > held {
            let keys = params.keys(&super::axes::Term::Axis(axis));
            return Err(Error::invalid("the checkpoint cannot hold so many layers")
                .file(&checkpoint.dir.join("config.json"))
                .expected(format!("{keys} of at most {held}, the number of tensors"))
                .found(size));
        }
    }
    Ok(())
}

/// Every rule in every layer that has it, those of the whole model first. Which spelling, and which of several
/// alternatives, the names in the checkpoint decide.
pub(super) fn instances<'a>(
    family: &'a Family,
    params: &Params<'_>,
    checkpoint: &Checkpoint,
) -> Result<Vec<Instance<'a>>> {
    refuse_more(family, params, checkpoint)?;
    let held = Held::new(family, params, checkpoint)?;
    let mut all = Vec::new();
    let (layered, whole): (Vec<&Rule>, Vec<&Rule>) =
        family.rules.iter().partition(|rule| !rule.indices().is_empty());
    for rule in whole {
        add(&mut all, rule, 0, params, &held)?;
    }
    let layers = layered
        .iter()
        .flat_map(|rule| rule.indices())
        .try_fold(0, |most, index| Ok::<_, Error>(params.size(index, 0)?.max(most)))?;
    for layer in 0..u32::try_from(layers).unwrap_or(u32::MAX) {
        for rule in &layered {
            let mut within = true;
            for index in rule.indices() {
                within &= u64::from(layer) < params.size(index, 0)?;
            }
            if within {
                add(&mut all, rule, layer, params, &held)?;
            }
        }
    }
    Ok(alternatives(all))
}

/// Adds the weight, and the bias, of `rule` in `layer`.
fn add<'a>(
    all: &mut Vec<Instance<'a>>,
    rule: &'a Rule,
    layer: u32,
    params: &Params<'_>,
    held: &Held<'_>,
) -> Result<()> {
    let holds = rule.layers.hold(params, layer)?;
    let needs = [(false, Some(rule.need)), (true, rule.bias)];
    for (bias, need) in needs.into_iter().filter_map(|(bias, need)| Some((bias, need?))) {
        let axes = rule.axes(bias).map_err(|what| broken(rule, &what))?;
        let name = |name: &str| if bias { biased(name) } else { name.to_string() };
        let at = |_: &str| u64::from(layer);
        let to = rule.to.iter().flat_map(|to| spelled(to)).map(|to| numbered(&name(&to), &at)).collect();
        let stacked = rule.stacked();
        let sources = |spelling: &'static str, first_only: bool| -> Result<Vec<String>> {
            let mut names = Vec::new();
            for from in spelled(spelling) {
                let from = name(&from);
                let mut sizes = Vec::new();
                for axis in &stacked {
                    sizes.push(if first_only { 1 } else { params.size(axis, layer)? });
                }
                // Of a checkpoint without any each one is told as missing; a size that is no size must not be counted up to.
                if sizes.iter().product::<u64>() > held.tensors.len().max(1) as u64 {
                    return Err(broken(rule, "there are fewer tensors than experts"));
                }
                for i in 0..sizes.iter().product() {
                    let index = |index: &str| match stacked.iter().position(|s| *s == index) {
                        Some(at) => i / sizes[at + 1..].iter().product::<u64>() % sizes[at],
                        None => u64::from(layer),
                    };
                    names.push(held.full(&from, &index));
                }
            }
            Ok(names)
        };
        let there = |spelling: &&&'static str| {
            sources(spelling, true).is_ok_and(|names| names.iter().any(|name| held.has(name)))
        };
        let spelling = rule.from.iter().find(|s| there(s));
        let found = spelling.is_some();
        let open = !found && need.is_open(params.config);
        let needed = holds && !open && need.is_met(params, layer)?;
        if !found && !holds {
            continue;
        }
        let Some(spelling) = spelling.or(rule.from.first()) else { continue };
        let from: Vec<String> = sources(spelling, !found)?;
        let first = from.first().and_then(|name| held.tensors.get(name.as_str()).copied());
        let from = from.into_iter().map(|name| held.own(name)).collect();
        let mut instance =
            Instance { rule, bias, layer, axes, from, to, holds, needed, found, fits: false, table: None };
        instance.table =
            first.filter(|_| matches!(rule.rows, RowCount::Padded | RowCount::After(_))).cloned();
        instance.fits = first.is_some_and(|tensor| instance.check(0, tensor, params).is_ok());
        all.push(instance);
    }
    Ok(())
}

pub(super) fn broken(rule: &Rule, what: &str) -> Error {
    Error::invalid(format!("the rule for {} cannot be applied: {what}", rule.to.join(", ")))
}

/// Of several rules for one target the one that the checkpoint follows, by its names and then by its shapes, else the
/// first.
fn alternatives(all: Vec<Instance<'_>>) -> Vec<Instance<'_>> {
    // A tensor that a rule announces is not another rule's that does not.
    let announced: HashSet<String> =
        all.iter().filter(|x| x.found && x.holds).flat_map(|x| x.from.iter().cloned()).collect();
    let mut all = all;
    all.retain(|x| x.holds || x.from.iter().all(|name| !announced.contains(name)));
    let mut chosen: HashMap<String, usize> = HashMap::new();
    for fits in [true, false] {
        let of = |x: &Instance<'_>| x.found && (x.fits || !fits);
        for (i, instance) in all.iter().enumerate().filter(|(_, instance)| of(instance)) {
            if instance.to.iter().all(|to| !chosen.contains_key(to)) {
                chosen.extend(instance.to.iter().map(|to| (to.clone(), i)));
            }
        }
    }
    for (i, instance) in all.iter().enumerate().filter(|(_, instance)| !instance.found) {
        if instance.to.iter().all(|to| !chosen.contains_key(to)) {
            for to in &instance.to {
                chosen.insert(to.clone(), i);
            }
        }
    }
    let keep: Vec<bool> =
        all.iter().enumerate().map(|(i, x)| x.to.iter().any(|to| chosen.get(to) == Some(&i))).collect();
    all.into_iter().zip(keep).filter_map(|(instance, keep)| keep.then_some(instance)).collect()
}

impl Instance<'_> {
    /// Whether a layer holds what it has no use for.
    fn is_spare(&self) -> bool {
        self.rule.spare && !self.holds
    }
}

/// The tensors of GGUF's that any of these of `checkpoint` becomes, and the checkpoint's that become one with them.
pub fn touched(
    family: &Family,
    params: &Params<'_>,
    checkpoint: &Checkpoint,
    names: &HashSet<&str>,
) -> Result<(HashSet<String>, HashSet<String>)> {
    let (mut to, mut from) = (HashSet::new(), HashSet::new());
    for instance in instances(family, params, checkpoint)? {
        if instance.from.iter().any(|name| names.contains(name.as_str())) {
            to.extend(instance.to);
            from.extend(instance.from);
        }
    }
    Ok((to, from))
}

/// The tensors of `checkpoint` under GGUF's names, in its order and its dtypes; those that were FP8 in eight bits, if `eights`
/// says so.
pub fn adopt(
    family: &Family,
    params: &Params<'_>,
    checkpoint: &Checkpoint,
    eights: bool,
) -> Result<Vec<Adopted>> {
    let all = instances(family, params, checkpoint)?;
    let index: HashMap<&str, usize> = all
        .iter()
        .enumerate()
        .flat_map(|(i, instance)| instance.from.iter().map(move |name| (name.as_str(), i)))
        .collect();
    let held: HashMap<&str, &Tensor> = checkpoint.tensors.iter().map(|t| (t.name.as_str(), t)).collect();
    let layers = params.size("l", 0)?;
    let mut done = vec![false; all.len()];
    let (mut adopted, mut problems) = (Vec::with_capacity(held.len()), Vec::new());
    for tensor in &checkpoint.tensors {
        if family.ignores(&tensor.name, layers) {
            continue;
        }
        let Some(i) = index.get(tensor.name.as_str()).copied() else {
            let of = |carried: &&Carried| Some((carried.name(&tensor.name)?, carried.stored));
            match family.carried.iter().find_map(of) {
                Some((name, stored)) => {
                    let tensor = tensor.clone().renamed(&name);
                    adopted.push(Adopted { tensor, value: Value::Same, rows: RowCount::All, stored });
                }
                None => problems.push(unknown(family, tensor)),
            }
            continue;
        };
        if !std::mem::replace(&mut done[i], true) && !all[i].is_spare() {
            let own = match family.arch.holds {
                true => of_source(tensor, checkpoint),
                false => (eights && was_fp8(tensor, checkpoint)).then_some(DType::Q8_0),
            };
            match all[i].adopt(&held, params) {
                Ok(tensors) => tensors.into_iter().for_each(|one| {
                    let stored = one.stored.or(own.filter(|_| one.tensor.shape().ne().len() > 1));
                    add_with_copies(family, &mut adopted, Adopted { stored, ..one });
                }),
                Err(found) => problems.extend(found),
            }
        }
    }
    for instance in all.iter().filter(|instance| instance.needed && !instance.found) {
        problems.extend(instance.from.first().map(|name| instance.missing(0, name, params)));
    }
    // With several shards it is not known which one a tensor came from, or should have been in.
    let place = match checkpoint.containers.as_slice() {
        [file] => file.path(),
        _ => &checkpoint.dir,
    };
    if let Some(e) = Error::all(problems.into_iter().map(|e| e.file(place)).collect()) {
        return Err(e);
    }
    if let Some(sentence) = unannounced(&all) {
        params.tell(sentence);
    }
    Ok(adopted)
}

/// The dtype that a matrix has where those of the checkpoint count: eight bits for what was packed.
fn of_source(tensor: &Tensor, checkpoint: &Checkpoint) -> Option<DType> {
    match tensor.dtype() {
        DType::F32 if checkpoint.packed.contains_key(&tensor.name) => Some(DType::Q8_0),
        own @ (DType::F32 | DType::BF16) => Some(own),
        _ => None,
    }
}

/// Whether a matrix was FP8 under scales, whose rows are whole blocks of eight bits.
pub fn was_fp8(tensor: &Tensor, checkpoint: &Checkpoint) -> bool {
    let codes = checkpoint.packed.get(&tensor.name).copied().flatten();
    matches!(codes, Some(DType::F8E4M3 | DType::F8E5M2))
        && tensor.shape().row().is_multiple_of(DType::Q8_0.traits().block as u64)
}

/// Adds a tensor, behind those that are the same again.
fn add_with_copies(family: &Family, all: &mut Vec<Adopted>, one: Adopted) {
    for (_, copy) in family.copies.iter().filter(|(own, _)| *own == one.tensor.name) {
        all.push(Adopted { tensor: one.tensor.clone().renamed(copy), ..one });
    }
    all.push(one);
}

/// The tensors that `adopt` leaves out, as the checkpoint holds them. A copy of the embedding that no one reads is named
/// in `left`: beside an embedding that was merged it would be another.
pub fn ignored(
    family: &Family,
    params: &Params<'_>,
    checkpoint: &Checkpoint,
    left: &mut Vec<String>,
) -> Result<Vec<Named>> {
    let layers = params.size("l", 0)?;
    let instances = instances(family, params, checkpoint)?;
    let spare: HashSet<&str> =
        instances.iter().filter(|x| x.is_spare()).flat_map(|x| x.from.iter().map(String::as_str)).collect();
    let ignores = |name: &str| family.ignores(name, layers) || spare.contains(name);
    let ignored = checkpoint.tensors.iter().filter(|tensor| ignores(&tensor.name));
    let (heads, kept): (Vec<&Tensor>, Vec<&Tensor>) = ignored.partition(|t| is_head(&t.name));
    left.extend(heads.iter().map(|t| t.name.clone()));
    Ok(kept.into_iter().map(|t| Named { name: t.name.clone(), tensor: t.clone() }).collect())
}

/// The tensors of `model` as `checkpoint`, from which it was adopted, holds them: the inverse of `adopt`. Tensors that
/// follow from the configuration are named in `left`.
pub fn release(
    family: &Family,
    params: &Params<'_>,
    checkpoint: &Checkpoint,
    model: &Model,
    left: &mut Vec<String>,
) -> Result<Vec<Named>> {
    let all = instances(family, params, checkpoint)?;
    let index: HashMap<&str, usize> = all
        .iter()
        .enumerate()
        .flat_map(|(i, instance)| instance.to.iter().map(move |name| (name.as_str(), i)))
        .collect();
    let held: HashMap<&str, &Tensor> = model.tensors.iter().map(|t| (t.name.as_str(), t)).collect();
    let mut done = vec![false; all.len()];
    let (mut tensors, mut problems) = (Vec::with_capacity(model.tensors.len()), Vec::new());
    for tensor in &model.tensors {
        let Some(i) = index.get(tensor.name.as_str()).copied() else {
            // Dense modules have files of their own.
            let is_dense = modules::folder(family.arch.gguf, &tensor.name).is_some();
            match tensor.name == rerank::HEAD || family.makes(&tensor.name) {
                _ if is_dense => {}
                true => left.push(tensor.name.clone()),
                false => problems.push(unknown(family, tensor)),
            }
            continue;
        };
        if !std::mem::replace(&mut done[i], true) {
            match all[i].release(&held, params) {
                Ok(named) => tensors.extend(named),
                Err(e) => problems.push(e),
            }
        }
    }
    Error::all(problems).map_or(Ok(tensors), Err)
}

fn unknown(family: &Family, tensor: &Tensor) -> Error {
    let shape: Vec<u64> = tensor.shape().ne().iter().rev().copied().collect();
    Error::unsupported(format!("the architecture {} knows no such tensor", family.arch.gguf))
        .tensor(&tensor.name)
        .found(format!("{} {shape:?}", tensor.dtype()))
        .hint("config.json is of another model, or the model is not a plain one of this architecture")
}

/// What the checkpoint holds though `config.json` does not announce it. It is kept, as the converter keeps it.
fn unannounced(all: &[Instance<'_>]) -> Option<String> {
    let need = |x: &Instance<'_>| if x.bias { x.rule.bias.unwrap_or(Need::May) } else { x.rule.need };
    let found = all.iter().filter(|x| x.found && !x.needed && !x.is_spare());
    let told = found.filter(|x| !matches!(need(x), Need::May));
    let mut names = told.flat_map(|x| x.from.first()).map(String::as_str);
    let first = names.next()?;
    let others = names.count();
    Some(format!(
        "config.json does not announce {first}{}, which transformers would ignore: kept",
        if others > 0 { format!(" and {others} more tensors") } else { String::new() }
    ))
}
