//! The sizes of axes, solved from what is known of them: keys of the GGUF, shapes of its tensors, and what the pages say of
//! one axis by others.

use super::Attempt;
use crate::arch::axes::{Axes, Term};
use crate::arch::params::{Params, Size};
use crate::arch::rule::{Layers, Rule, biased, spelled};
use ggraft_formats::Tensor;
use serde_json::{Value as Json, json};
use std::collections::HashMap;

/// The sizes of axes in each layer, as far as they are known.
pub struct Sizes {
    layers: u32,
    known: HashMap<(&'static str, u32), u64>,
}

impl Sizes {
    pub fn new(layers: u32) -> Sizes {
        Sizes { layers: layers.max(1), known: HashMap::new() }
    }

    pub fn get(&self, axis: &'static str, layer: u32) -> Option<u64> {
        self.known.get(&(axis, layer)).copied()
    }

    /// Whether something new is known; none if it was known otherwise.
    fn set(&mut self, axis: &'static str, layer: u32, size: u64) -> Option<bool> {
        match self.known.insert((axis, layer), size) {
            None => Some(true),
            Some(old) if old == size => Some(false),
            Some(old) => {
                self.known.insert((axis, layer), old);
                None
            }
        }
    }

    /// Says it of every layer.
    pub fn set_all(&mut self, axis: &'static str, size: u64) {
        for layer in 0..self.layers {
            self.set(axis, layer, size);
        }
    }

    /// The sizes of an axis in all layers where it is known.
    pub fn of(&self, axis: &'static str) -> Vec<(u32, u64)> {
        (0..self.layers).filter_map(|layer| Some((layer, self.get(axis, layer)?))).collect()
    }

    fn value(&self, term: &Term, layer: u32) -> Option<u64> {
        match term {
            Term::One => Some(1),
            Term::Axis(name) => self.get(name, layer),
            Term::Product(terms) => {
                terms.iter().try_fold(1u64, |n, term| n.checked_mul(self.value(term, layer)?))
            }
            Term::Parts(terms) => {
                terms.iter().try_fold(0u64, |n, term| n.checked_add(self.value(term, layer)?))
            }
        }
    }

    /// Takes in that a dimension is `n` long: whether something new is known, or none if it cannot be so long.
    fn learn(&mut self, term: &Term, n: u64, layer: u32) -> Option<bool> {
        let terms = match term {
            Term::One => return (n == 1).then_some(false),
            Term::Axis(name) => return self.set(name, layer, n),
            Term::Product(terms) | Term::Parts(terms) => terms,
        };
        let unknown: Vec<&Term> = terms.iter().filter(|term| self.value(term, layer).is_none()).collect();
        let known = terms.iter().filter_map(|term| self.value(term, layer));
        let (rest, even) = match term {
            Term::Parts(_) => (n.checked_sub(known.sum())?, unknown.len() as u64),
            _ => {
                let product = known.fold(1u64, u64::saturating_mul);
                (n.checked_div(product).filter(|rest| rest * product == n)?, 1)
            }
        };
        match (unknown.as_slice(), term) {
            ([], Term::Parts(_)) => (rest == 0).then_some(false),
            ([], _) => (rest == 1).then_some(false),
            ([one], _) => self.learn(one, rest, layer),
            // Parts of one size.
            ([one, others @ ..], Term::Parts(_)) if others.iter().all(|other| other == one) => {
                self.learn(one, rest / even, layer)
            }
            _ => Some(false),
        }
    }

    /// Takes in what is said of `axis` by others.
    fn relate(&mut self, axis: &'static str, size: &Size, layer: u32) -> bool {
        let axis = Term::Axis(axis);
        let learned = match *size {
            Size::Is(n) => self.learn(&axis, n, layer),
            Size::Same(other) => self.equal(&axis, &Term::Axis(other), layer),
            Size::Mul(a, b) => self.equal(&axis, &Term::Product(vec![Term::Axis(a), Term::Axis(b)]), layer),
            Size::Div(a, b) => {
                self.equal(&Term::Axis(a), &Term::Product(vec![axis, Term::Axis(b)]), layer)
            }
            Size::Add(a, b) => self.equal(&axis, &Term::Parts(vec![Term::Axis(a), Term::Axis(b)]), layer),
            Size::Sub(a, b) => self.equal(&Term::Axis(a), &Term::Parts(vec![axis, Term::Axis(b)]), layer),
            Size::Of(_) | Size::Or(..) | Size::Make(_) => None,
        };
        learned.unwrap_or(false)
    }

    fn equal(&mut self, a: &Term, b: &Term, layer: u32) -> Option<bool> {
        match (self.value(a, layer), self.value(b, layer)) {
            (Some(n), _) => self.learn(b, n, layer),
            (None, Some(n)) => self.learn(a, n, layer),
            (None, None) => None,
        }
    }
}

/// A tensor's dimensions, the outermost first, as many as the rule has.
fn dimensions(tensor: &Tensor, wanted: usize) -> Vec<u64> {
    let mut all: Vec<u64> = tensor.shape().ne().iter().rev().copied().collect();
    while all.len() > wanted && all.first() == Some(&1) {
        all.remove(0);
    }
    while all.len() < wanted {
        all.insert(0, 1);
    }
    all
}

impl Attempt<'_> {
    /// Solves the axes as far as shapes and keys tell them.
    pub(super) fn read_shapes(&mut self) {
        let rules: Vec<(&'static Rule, Axes, bool)> = self.axes_of_rules();
        let mut goes_on = true;
        while goes_on {
            goes_on = false;
            for axis in self.family.axes.clone() {
                let told = match &axis.size {
                    Size::Of(keys) | Size::Or(keys, _) => keys.iter().find_map(|key| self.given.get(*key)).cloned(),
                    _ => None,
                };
                for layer in 0..self.layers.max(1) {
                    if let Some(n) = told.as_ref().and_then(|told| number(told, layer)) {
                        goes_on |= self.sizes.set(axis.name, layer, n) == Some(true);
                    }
                    goes_on |= self.sizes.relate(axis.name, &axis.size, layer);
                }
            }
            for (rule, axes, bias) in &rules {
                let layers = if rule.indices().is_empty() { 1 } else { self.layers };
                for layer in 0..layers {
                    goes_on |= self.learn(rule, axes, *bias, layer);
                }
            }
        }
    }

    fn axes_of_rules(&self) -> Vec<(&'static Rule, Axes, bool)> {
        let both = self.family.rules.iter().flat_map(|rule| [(*rule, false), (*rule, true)]);
        let those = both.filter(|(rule, bias)| !bias || rule.bias.is_some());
        those.filter_map(|(rule, bias)| Some((rule, rule.axes(bias).ok()?, bias))).collect()
    }

    /// Takes in the shapes of the tensors of a rule in one layer, if all are there and fit it.
    fn learn(&mut self, rule: &'static Rule, axes: &Axes, bias: bool, layer: u32) -> bool {
        let Some(targets) = self.targets(rule, bias, layer) else { return false };
        let mut learned = false;
        for (tensor, side) in targets.iter().zip(&axes.to) {
            for (term, n) in side.0.iter().zip(dimensions(tensor, side.0.len())) {
                match self.sizes.learn(term, n, layer) {
                    Some(new) => learned |= new,
                    // An alternative of this rule fits.
                    None => return learned,
                }
            }
        }
        learned
    }

    /// The GGUF's tensors of a rule in one layer, if all are there.
    pub(super) fn targets(&self, rule: &'static Rule, bias: bool, layer: u32) -> Option<Vec<Tensor>> {
        let names = rule.to.iter().flat_map(|to| spelled(to));
        let name = |to: String| {
            let to = if bias { biased(&to) } else { to };
            crate::arch::names::numbered(&to, &|_| u64::from(layer))
        };
        names.map(|to| self.tensors.get(name(to).as_str()).map(|t| (*t).clone())).collect()
    }

    /// The axes from which, or before which, layers have their tensors.
    pub(super) fn read_layers(&mut self) {
        let mut first: HashMap<&'static str, u32> = HashMap::new();
        for rule in self.family.rules.clone() {
            let Layers::From(axis) = rule.layers else { continue };
            let found = (0..self.layers).find(|layer| self.targets(rule, false, *layer).is_some());
            let entry = first.entry(axis).or_insert(self.layers);
            *entry = (*entry).min(found.unwrap_or(self.layers));
        }
        for (axis, layer) in first {
            self.sizes.set_all(axis, layer.into());
        }
        self.read_shapes();
    }

    /// Says the keys of the config that axes come from.
    pub(super) fn write_sizes(&mut self) {
        for axis in self.family.axes.clone() {
            let (Size::Of(keys) | Size::Or(keys, _)) = &axis.size else { continue };
            if keys.iter().any(|key| self.given.contains_key(*key)) {
                continue;
            }
            let (key, value) = (self.spelled(keys), listed(&self.sizes.of(axis.name), self.layers));
            let Some(value) = value else { continue };
            let follows = matches!(axis.size, Size::Or(..)) && self.follows(axis.name, &value);
            if self.knows(key) || !follows {
                self.give(key, value);
            }
        }
    }

    /// Whether the config gives an axis this size without its key.
    fn follows(&self, axis: &'static str, value: &Json) -> bool {
        let Ok(config) = self.config() else { return false };
        let size = Params::new(&config, &self.family.axes).size(axis, 0);
        size.is_ok_and(|n| json!(n) == *value)
    }
}

/// A size, or one a layer.
fn listed(sizes: &[(u32, u64)], layers: u32) -> Option<Json> {
    let (_, first) = sizes.first()?;
    if sizes.iter().all(|(_, n)| n == first) {
        return Some(json!(first));
    }
    let at = |layer: u32| sizes.iter().find(|(l, _)| *l == layer).map_or(0, |(_, n)| *n);
    Some((0..layers).map(|layer| json!(at(layer))).collect())
}

/// A number of the config, of a list that of the layer.
fn number(value: &Json, layer: u32) -> Option<u64> {
    match value {
        Json::Array(all) => all.get(layer as usize)?.as_u64(),
        one => one.as_u64(),
    }
}
