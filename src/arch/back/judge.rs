//! The page read forward, key by key and tensor by tensor, and where it says otherwise than the GGUF.

use super::attempt::Attempt;
use super::told::values;
use crate::arch;
use crate::arch::config::Config;
use crate::arch::families::Arch;
use crate::arch::keys::{From, Key};
use crate::arch::names::numbered;
use crate::arch::params::Params;
use crate::arch::rerank;
use crate::arch::rule::{Need, Rule};
use crate::vocab;
use ggraft_formats::{Metadata, Result, Value};
use std::collections::{BTreeMap, HashSet};

/// Something that the page says otherwise than the GGUF.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// A key, and what each says of it.
    Key { name: String, told: Option<Value>, found: Option<Value> },
    /// The size of an axis in a layer.
    Size { axis: &'static str, layer: u32, told: u64 },
    /// Tensors that a rule has in other layers than the GGUF: whether each layer of the GGUF's has them.
    Layers { target: &'static str, there: Vec<bool> },
    /// A tensor that follows from the config.
    Made(&'static str),
    /// A tensor, or the bias beside one, that the page must have and the GGUF has not.
    Missing(&'static str),
    /// The ends of turns, which the page's family names otherwise.
    Turns,
    /// A tensor that no rule makes.
    Foreign(String),
    /// The config is of another page.
    Page,
}

impl Attempt<'_> {
    /// What the page, read forward, says otherwise than the GGUF.
    pub fn judged(&self) -> Result<Vec<Fault>> {
        Ok(faults(self, &self.config()?))
    }
}

/// All that the page says otherwise, if the config is this one.
pub fn faults(attempt: &Attempt<'_>, config: &Config) -> Vec<Fault> {
    let params = Params::new(config, &attempt.family.axes);
    let mut all = Vec::new();
    page(attempt, config, &mut all);
    keys(attempt, &params, &mut all);
    sizes(attempt, &params, &mut all);
    layers(attempt, &params, &mut all);
    missing(attempt, &params, &mut all);
    made(attempt, &params, &mut all);
    foreign(attempt, &mut all);
    if !vocab::ends_turns(config.class().unwrap_or_default(), &attempt.model.metadata) {
        all.push(Fault::Turns);
    }
    all
}

fn page(attempt: &Attempt<'_>, config: &Config, all: &mut Vec<Fault>) {
    let own = attempt.arch;
    let is_own = |found: &Arch| {
        found.gguf == own.gguf && found.classes == own.classes && found.rules.len() == own.rules.len()
    };
    if !arch::arch(config).is_ok_and(is_own) {
        all.push(Fault::Page);
    }
}

/// The keys as the page writes them, and those that it cannot write.
fn written(attempt: &Attempt<'_>, params: &Params<'_>) -> (Metadata, Vec<String>) {
    let gguf = attempt.arch.gguf;
    let (mut metadata, mut failed) = (Metadata::new(), Vec::new());
    for key in attempt.arch.early {
        _ = key.write(gguf, params, &mut metadata);
    }
    for line in &attempt.family.keys {
        let name = line.key.name(gguf);
        let here = match line.place_of {
            Some(old) => old.is_there(params),
            None => metadata.get(&name).is_none() || !attempt.family.is_placed(line.key),
        };
        if here && line.key.write(gguf, params, &mut metadata).is_err() {
            failed.push(name);
        }
    }
    (metadata, failed)
}

fn keys(attempt: &Attempt<'_>, params: &Params<'_>, all: &mut Vec<Fault>) {
    let (found, failed) = written(attempt, params);
    let told = &attempt.model.metadata;
    let own = format!("{}.", attempt.arch.gguf);
    let mut names: BTreeMap<&str, ()> = BTreeMap::new();
    names.extend(
        found.iter().map(|(name, _)| name).chain(failed.iter().map(String::as_str)).map(|name| (name, ())),
    );
    names.extend(told.iter().filter(|(name, _)| name.starts_with(&own)).map(|(name, _)| (name, ())));
    for name in names.into_keys() {
        let (told, found) = (told.get(name), found.get(name));
        let is_failed = || failed.iter().any(|failed| failed == name);
        if !same(told, found) || (told.is_none() && is_failed()) {
            all.push(Fault::Key { name: name.to_string(), told: told.cloned(), found: found.cloned() });
        }
    }
}

/// Whether a config leaves something as wrong as it is: nothing but what the fault is about is asked of the page.
pub fn stands(attempt: &Attempt<'_>, config: &Config, fault: &Fault) -> bool {
    let params = Params::new(config, &attempt.family.axes);
    let mut all = Vec::new();
    match fault {
        Fault::Key { name, told, .. } => {
            let gguf = attempt.arch.gguf;
            let lines = attempt.family.keys.iter().map(|line| line.key).chain(attempt.arch.early);
            let those = lines.filter(|key| key.name(gguf) == *name || is_rope(key, gguf, name));
            let mut found = Metadata::new();
            those.for_each(|key| _ = key.write(gguf, &params, &mut found));
            return !same(told.as_ref(), found.get(name));
        }
        Fault::Size { axis, layer, told } => return params.size(axis, *layer).ok() != Some(*told),
        Fault::Layers { .. } => layers(attempt, &params, &mut all),
        Fault::Made(_) => made(attempt, &params, &mut all),
        Fault::Page => page(attempt, config, &mut all),
        Fault::Missing(_) | Fault::Turns | Fault::Foreign(_) => return true,
    }
    all.contains(fault)
}

fn is_rope(key: &Key, gguf: &str, name: &str) -> bool {
    let own = name.strip_prefix(gguf).is_some_and(|rest| rest.starts_with(".rope."));
    matches!(key.from, From::Rope(_)) && own
}

/// Whether two values are the same number, flag or text: tools write counts in several types.
pub fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a == b || super::told::json(a) == super::told::json(b),
        (None, None) => true,
        _ => false,
    }
}

fn sizes(attempt: &Attempt<'_>, params: &Params<'_>, all: &mut Vec<Fault>) {
    for axis in &attempt.family.axes {
        let known = attempt.sizes.of(axis.name);
        let other = |(layer, told): &(u32, u64)| params.size(axis.name, *layer).ok() != Some(*told);
        if let Some((layer, told)) = known.into_iter().find(other) {
            all.push(Fault::Size { axis: axis.name, layer, told });
        }
    }
}

fn layers(attempt: &Attempt<'_>, params: &Params<'_>, all: &mut Vec<Fault>) {
    let mut seen: BTreeMap<&'static str, (Vec<bool>, bool)> = BTreeMap::new();
    for rule in attempt.family.rules.iter().filter(|rule| !rule.indices().is_empty()) {
        let there: Vec<bool> =
            (0..attempt.layers).map(|layer| attempt.targets(rule, false, layer).is_some()).collect();
        let fits = there.iter().zip(0..).all(|(there, layer)| agrees(rule, *there, params, layer));
        for target in rule.to {
            let entry = seen.entry(target).or_insert_with(|| (there.clone(), false));
            // Of several rules for one target one is enough.
            entry.1 |= fits;
        }
    }
    for (target, (there, fits)) in seen {
        if !fits {
            all.push(Fault::Layers { target, there });
        }
    }
}

/// Whether a layer has a tensor if, and only if, the page says so.
fn agrees(rule: &Rule, there: bool, params: &Params<'_>, layer: u32) -> bool {
    let holds = rule.layers.hold(params, layer).unwrap_or(false);
    let need = match rule.need {
        Need::May | Need::Without(_) => Ok(there),
        need => need.is_met(params, layer),
    };
    there == (holds && need.unwrap_or(false)) || holds && there
}

fn missing(attempt: &Attempt<'_>, params: &Params<'_>, all: &mut Vec<Fault>) {
    let mut asked: BTreeMap<&'static str, bool> = BTreeMap::new();
    for rule in &attempt.family.rules {
        let fits = !lacks(attempt, rule, params);
        for target in rule.to {
            // Of several rules for one target one is enough.
            *asked.entry(target).or_default() |= fits;
        }
    }
    all.extend(asked.into_iter().filter(|(_, fits)| !fits).map(|(target, _)| Fault::Missing(target)));
}

/// Whether the GGUF has not what a rule must have: outside of the layers its tensors, everywhere the biases beside them.
fn lacks(attempt: &Attempt<'_>, rule: &'static Rule, params: &Params<'_>) -> bool {
    let is_there = |bias: bool, layer: u32| attempt.targets(rule, bias, layer).is_some();
    let is_one = rule.indices().is_empty();
    let layers = if is_one { 1 } else { attempt.layers };
    let lacks_bias = |layer: u32| is_there(false, layer) && !is_there(true, layer);
    if matches!(rule.bias, Some(Need::Must)) && (0..layers).any(lacks_bias) {
        return true;
    }
    let needed = match rule.need {
        Need::May | Need::Without(_) => false,
        need => need.is_met(params, 0).unwrap_or(false) && rule.layers.hold(params, 0).unwrap_or(false),
    };
    is_one && needed && !is_there(false, 0)
}

fn made(attempt: &Attempt<'_>, params: &Params<'_>, all: &mut Vec<Fault>) {
    for made in &attempt.family.made {
        let layers = if made.name.contains('{') { attempt.layers } else { 1 };
        let found = (made.values)(params).ok().flatten();
        let is_told = |layer: u32| {
            let name = numbered(made.name, &|_| layer.into());
            match (attempt.tensors.get(name.as_str()).map(|tensor| values(tensor)), &found) {
                (None, None) => true,
                (Some(Ok(told)), Some(found)) => told == *found,
                _ => false,
            }
        };
        if !(0..layers).all(is_told) {
            all.push(Fault::Made(made.name));
        }
    }
}

fn foreign(attempt: &Attempt<'_>, all: &mut Vec<Fault>) {
    let mut known: HashSet<String> = HashSet::from([rerank::HEAD.to_string()]);
    let made = attempt.family.made.iter().map(|made| made.name.to_string());
    for target in attempt.family.rules.iter().flat_map(|rule| rule.targets()).chain(made) {
        let layers = if target.contains('{') { attempt.layers } else { 1 };
        known.extend((0..layers).map(|layer| numbered(&target, &|_| layer.into())));
    }
    let names = attempt.model.tensors.iter().map(|tensor| &tensor.name);
    all.extend(names.filter(|name| !known.contains(*name)).map(|name| Fault::Foreign(name.clone())));
}
