//! The page read forward, key by key and tensor by tensor, and where it says otherwise than the GGUF.

use super::Attempt;
use super::rope::values;
use crate::arch;
use crate::arch::config::Config;
use crate::arch::params::Params;
use crate::arch::rule::{Need, Rule};
use ggraft_formats::{Metadata, Value};
use std::collections::BTreeMap;

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
    /// The config is of another page.
    Page,
}

impl Fault {
    pub fn sentence(&self) -> String {
        let shown = |value: &Option<Value>| {
            value.as_ref().map_or(String::from("nothing"), |v| super::told::json(v).to_string())
        };
        match self {
            Fault::Key { name, told, found } => {
                format!("{name} (the GGUF has {}, config.json gives {})", shown(told), shown(found))
            }
            Fault::Size { axis, told, .. } => format!("the size {told} of '{axis}'"),
            Fault::Layers { target, .. } => format!("which layers have {target}"),
            Fault::Made(name) => format!("the values of {name}"),
            Fault::Page => String::from("what tells it from others of its class"),
        }
    }
}

/// All that the page says otherwise, if the config is this one.
pub fn faults(attempt: &Attempt<'_>, config: &Config) -> Vec<Fault> {
    let params = Params::new(config, &attempt.family.axes);
    let mut all = Vec::new();
    if !arch::arch(config).is_ok_and(|found| std::ptr::eq(found, attempt.arch)) {
        all.push(Fault::Page);
    }
    keys(attempt, &params, &mut all);
    sizes(attempt, &params, &mut all);
    layers(attempt, &params, &mut all);
    made(attempt, &params, &mut all);
    all
}

/// The keys as the page writes them; one that cannot be written is left out.
fn written(attempt: &Attempt<'_>, params: &Params<'_>) -> Metadata {
    let gguf = attempt.arch.gguf;
    let mut metadata = Metadata::new();
    for key in attempt.arch.early {
        _ = key.write(gguf, params, &mut metadata);
    }
    for line in &attempt.family.keys {
        let name = line.key.name(gguf);
        let here = match line.place_of {
            Some(old) => old.is_there(params),
            None => metadata.get(&name).is_none() || !attempt.family.is_placed(line.key),
        };
        if here {
            _ = line.key.write(gguf, params, &mut metadata);
        }
    }
    metadata
}

fn keys(attempt: &Attempt<'_>, params: &Params<'_>, all: &mut Vec<Fault>) {
    let found = written(attempt, params);
    let told = &attempt.model.metadata;
    let own = format!("{}.", attempt.arch.gguf);
    let mut names: BTreeMap<&str, ()> = BTreeMap::new();
    names.extend(found.iter().map(|(name, _)| (name, ())));
    names.extend(told.iter().filter(|(name, _)| name.starts_with(&own)).map(|(name, _)| (name, ())));
    for name in names.into_keys() {
        let (told, found) = (told.get(name), found.get(name));
        if !same(told, found) {
            all.push(Fault::Key { name: name.to_string(), told: told.cloned(), found: found.cloned() });
        }
    }
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

fn made(attempt: &Attempt<'_>, params: &Params<'_>, all: &mut Vec<Fault>) {
    for made in &attempt.family.made {
        let told = attempt.tensors.get(made.name).map(|tensor| values(tensor));
        let found = (made.values)(params).ok().flatten();
        match (told, found) {
            (None, None) => {}
            (Some(Ok(told)), Some(found)) if told == found => {}
            _ => all.push(Fault::Made(made.name)),
        }
    }
}
