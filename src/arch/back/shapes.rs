//! The sizes of axes solved from the shapes of a GGUF's tensors and from its keys, until nothing more follows.

use super::attempt::Attempt;
use crate::arch::axes::Axes;
use crate::arch::params::{Params, Size};
use crate::arch::rule::{Layers, RowCount, Rule};
use crate::arrange::Arrange;
use ggraft_formats::Tensor;
use serde_json::{Value as Json, json};
use std::collections::HashMap;

const HEADS: &str = "num_attention_heads";
const GROUPS: &str = "num_key_value_heads";

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
                    Size::Of(keys) | Size::Or(keys, _) => {
                        keys.iter().find_map(|key| self.given.get(*key)).cloned()
                    }
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
            let mut all = dimensions(tensor, side.0.len());
            if let Some(rows) = all.first_mut() {
                *rows = rows.saturating_add(self.left_out(rule, layer));
            }
            for (term, n) in side.0.iter().zip(all) {
                match self.sizes.learn(term, n, layer) {
                    Some(new) => learned |= new,
                    // An alternative of this rule fits.
                    None => return learned,
                }
            }
        }
        learned
    }

    /// How many first rows of a rule's table a GGUF does without.
    fn left_out(&self, rule: &Rule, layer: u32) -> u64 {
        let RowCount::After(axis) = rule.rows else { return 0 };
        let config = self.config();
        config.and_then(|config| Params::new(&config, &self.family.axes).size(axis, layer)).unwrap_or(0)
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
        // What may follow from others comes after them.
        let mut all = self.family.axes.clone();
        all.arrange_by_key(|axis| matches!(axis.size, Size::Or(..)));
        for axis in all {
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
        // Of heads of keys that are made of one vector a GGUF tells no number: every head has its own.
        let heads = self.given.get(HEADS).filter(|_| self.sizes.of("g").is_empty()).cloned();
        if let Some(heads) = heads.filter(|_| self.knows(GROUPS)) {
            self.give(GROUPS, heads);
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
