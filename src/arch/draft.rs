//! A checkpoint as the page of its family describes it, without weights: the name and shape of every tensor that a
//! `config.json` asks for. Tests make tiny models of it, and documentation lists it.

use super::config::Config;
use super::families::Family;
use super::names::numbered;
use super::params::Params;
use super::projectors;
use super::rule::{Need, Rule, biased, spelled};
use ggraft_formats::{Error, Result};
use serde_json::Value;
use std::collections::HashSet;
use std::path::Path;

/// Which of several possible checkpoints.
#[derive(Clone, Copy, Debug, Default)]
pub struct Draft {
    /// The last spelling of every name, instead of the first.
    pub newest: bool,
    /// With all tensors that a checkpoint need not hold.
    pub optional: bool,
    /// Which of the family's prefixes.
    pub prefix: usize,
}

impl Draft {
    /// The names of the checkpoint's tensors and their dimensions, the outermost first.
    ///
    /// # Errors
    /// The config names no family that is covered, or lacks a size.
    pub fn tensors(self, config: &Value) -> Result<Vec<(String, Vec<u64>)>> {
        let config = Config::new(Path::new("config.json").into(), config.clone())?;
        self.of(super::family(&config)?, &config)
    }

    /// The same of what sees and hears.
    ///
    /// # Errors
    /// Those of [`Draft::tensors`].
    pub fn projector(self, config: &Value) -> Result<Vec<(String, Vec<u64>)>> {
        let config = Config::seeing(Path::new("config.json").into(), config.clone(), Value::Null)?;
        self.of(Family::of(projectors::page(&config)?), &config)
    }

    fn of(self, family: Family, config: &Config) -> Result<Vec<(String, Vec<u64>)>> {
        let params = Params::new(config, &family.axes);
        let (layered, whole): (Vec<&Rule>, Vec<&Rule>) =
            family.rules.iter().partition(|rule| !rule.indices().is_empty());
        let mut all = Vec::new();
        let mut rows = vec![(0, whole)];
        let sizes = layered.iter().map(|rule| layers(rule, &params)).collect::<Result<Vec<_>>>()?;
        for layer in 0..sizes.iter().copied().max().unwrap_or(0) {
            let within = layered.iter().zip(&sizes).filter(|(_, size)| layer < **size);
            rows.push((layer, within.map(|(rule, _)| *rule).collect()));
        }
        for (layer, rules) in rows {
            self.add(&mut all, &rules, layer, &family, &params)?;
        }
        Ok(all)
    }

    /// Adds what `rules` say of one layer. Of alternatives the first counts, or the last.
    fn add(
        self,
        all: &mut Vec<(String, Vec<u64>)>,
        rules: &[&Rule],
        layer: u32,
        family: &Family,
        params: &Params<'_>,
    ) -> Result<()> {
        let mut taken = HashSet::new();
        let mut chosen = Vec::new();
        let order: Vec<&&Rule> =
            if self.newest { rules.iter().rev().collect() } else { rules.iter().collect() };
        let mut there: Vec<&str> = Vec::new();
        for rule in rules {
            let says = !matches!(rule.need, Need::Without(_)) && rule.need.is_met(params, layer)?;
            there.extend(rule.from.iter().copied().filter(|_| says));
        }
        for rule in order {
            let wanted = |need: Need| match need {
                Need::Without(name) => Ok(!there.contains(&name)),
                Need::May => Ok(self.optional),
                need => need.is_met(params, layer),
            };
            if !rule.layers.hold(params, layer)? || !wanted(rule.need)? {
                continue;
            }
            let targets: Vec<String> = rule.to.iter().flat_map(|name| spelled(name)).collect();
            if targets.iter().all(|to| taken.insert(to.clone())) {
                chosen.push((rule, false));
                if rule.bias.map(wanted).transpose()?.unwrap_or(false) {
                    chosen.push((rule, true));
                }
            }
        }
        if self.newest {
            chosen.reverse();
        }
        for (rule, bias) in chosen {
            self.sources(all, rule, bias, layer, family, params)?;
        }
        Ok(())
    }

    /// Adds the tensors that become those of `rule`.
    fn sources(
        self,
        all: &mut Vec<(String, Vec<u64>)>,
        rule: &Rule,
        bias: bool,
        layer: u32,
        family: &Family,
        params: &Params<'_>,
    ) -> Result<()> {
        let broken =
            |what: String| Error::invalid(format!("the rule for {} is wrong: {what}", rule.to.join(", ")));
        let axes = rule.axes(bias).map_err(broken)?;
        let stacked = rule.stacked();
        let mut names = axes.names();
        names.extend(&stacked);
        let sizes = params.sizes(&names, layer)?;
        let spelling = if self.newest { rule.from.last() } else { rule.from.first() };
        let prefix = family.prefixes.get(self.prefix).or(family.prefixes.last()).copied().unwrap_or("");
        for (name, side) in spelling.into_iter().flat_map(|name| spelled(name)).zip(&axes.from) {
            let name = if bias { biased(&name) } else { name };
            let shape = side.shape(&sizes).map_err(broken)?;
            for i in 0..stacked.iter().map(|axis| sizes[axis]).product::<u64>() {
                let index = |index: &str| match stacked.iter().position(|axis| *axis == index) {
                    Some(at) => {
                        i / stacked[at + 1..].iter().map(|a| sizes[a]).product::<u64>() % sizes[stacked[at]]
                    }
                    None => layer.into(),
                };
                let plain = numbered(&name, &index);
                let whole = plain.strip_prefix('^').map_or_else(|| format!("{prefix}{plain}"), String::from);
                all.push((whole, shape.clone()));
            }
        }
        Ok(())
    }
}

/// The layers that a rule may hold in.
fn layers(rule: &Rule, params: &Params<'_>) -> Result<u32> {
    let all = rule.indices().into_iter().map(|index| params.count(index, 0));
    Ok(all.collect::<Result<Vec<_>>>()?.into_iter().min().unwrap_or(0))
}
