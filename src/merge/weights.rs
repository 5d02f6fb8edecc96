//! Weights by tensor: rules `GLOB=VALUE` over GGUF's tensor names. A value is a factor that multiplies the weight of
//! every vector, or a gradient of factors, `[0.2,0.6,1.0]`, spread evenly over the layers and interpolated between.
//! Of several rules that match a tensor the last counts, alone; where none does the factor is 1. Each preset multiplies
//! besides. A tensor outside the layers takes the gradient's end that it is nearer to: `output*` the last, others the
//! first. An only layer takes the last, as in mergekit.

use super::glob::Glob;
use crate::roles;
use ggraft_formats::{Error, Result};

/// Rules that have a name.
pub struct Preset {
    pub name: &'static str,
    pub help: &'static str,
    rule: &'static str,
}

/// Every preset.
pub const PRESETS: &[Preset] = &[
    Preset { name: "no-norms", help: "norms stay CP's", rule: "*_norm.{weight,bias}=0" },
    Preset {
        name: "skip-embed",
        help: "embeddings and the output head stay CP's but for rows that are copied",
        rule: "{token_embd,position_embd,output}.{weight,bias}=0",
    },
    Preset {
        name: "layer-swap",
        help: "the first and last layers stay CP's, with a transition to those between (arXiv 2410.01335)",
        rule: "blk.*=[0,0,1,1,1,1,1,1,0,0]",
    },
];

/// What multiplies the weights, tensor by tensor.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Each of them counts.
    presets: Vec<Rule>,
    /// The last that matches counts.
    rules: Vec<Rule>,
}

impl Rules {
    /// What was typed, presets first.
    pub(super) fn texts(&self) -> Vec<&str> {
        self.presets.iter().chain(&self.rules).map(|rule| rule.text.as_str()).collect()
    }
}

#[derive(Clone, Debug)]
struct Rule {
    text: String,
    glob: Glob,
    /// One factor, or a gradient.
    factors: Vec<f64>,
}

impl Rules {
    /// Reads presets by their names, and then rules.
    pub fn parse<'a>(
        presets: impl IntoIterator<Item = &'a str>,
        rules: impl IntoIterator<Item = &'a str>,
    ) -> Result<Rules> {
        let preset = |name: &str| {
            let preset = PRESETS.iter().find(|p| p.name == name).ok_or_else(|| {
                let names: Vec<&str> = PRESETS.iter().map(|p| p.name).collect();
                Error::usage("there is no such preset of weights").expected(names.join(", ")).found(name)
            })?;
            Rule::parse(preset.rule)
        };
        Ok(Rules {
            presets: presets.into_iter().map(preset).collect::<Result<_>>()?,
            rules: rules.into_iter().map(Rule::parse).collect::<Result<_>>()?,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.presets.is_empty() && self.rules.is_empty()
    }

    /// The factor of each of `names`, which are all tensors of a model. A rule that matches none of them is an error.
    pub fn factors(&self, names: &[&str]) -> Result<Vec<f64>> {
        let layers =
            names.iter().filter_map(|name| layer(name)).max().map_or(0, |last| last.saturating_add(1));
        let mut factors = vec![1.0; names.len()];
        let mut problems = Vec::new();
        let mut apply = |rule: &Rule, set: fn(&mut f64, f64)| match rule.apply(names, layers) {
            Ok(found) if found.is_empty() && rule.names_a_tied_head(names) => {}
            Ok(found) if found.is_empty() => problems.push(
                Error::usage("a rule of the weights matches no tensor")
                    .found(&rule.text)
                    .hint("`ggraft inspect --tensors` lists the names"),
            ),
            Ok(found) => found.into_iter().for_each(|(i, x)| set(&mut factors[i], x)),
            Err(e) => problems.push(e),
        };
        self.rules.iter().for_each(|rule| apply(rule, |factor, x| *factor = x));
        self.presets.iter().for_each(|rule| apply(rule, |factor, x| *factor *= x));
        Error::all(problems).map_or(Ok(factors), Err)
    }
}

impl Rules {
    /// The rules that change nothing of a model with these tensors, a sentence each.
    pub(super) fn without_effect(&self, names: &[&str]) -> Vec<String> {
        let idle = self.presets.iter().chain(&self.rules).filter(|rule| {
            rule.names_a_tied_head(names) && rule.apply(names, 0).is_ok_and(|found| found.is_empty())
        });
        let told = |rule: &Rule| {
            format!("the rule {} has no effect: the output head of this model is its embedding", rule.text)
        };
        idle.map(told).collect()
    }
}

impl Rule {
    /// Whether it names the head of a model whose embedding serves as one.
    fn names_a_tied_head(&self, names: &[&str]) -> bool {
        let glob = self.glob.clone().resolve(0);
        !names.contains(&roles::HEAD) && glob.is_ok_and(|glob| glob.matches(roles::HEAD))
    }

    fn parse(text: &str) -> Result<Rule> {
        let wrong = |what: &str| {
            Error::usage(what)
                .expected("GLOB=VALUE with a number or a gradient, such as blk.{0-3}.*=[0.2,1.0]")
                .found(text)
        };
        let (glob, value) =
            text.rsplit_once('=').ok_or_else(|| wrong("a rule of the weights has no value"))?;
        let list = value.strip_prefix('[').map_or(Some(value), |rest| rest.strip_suffix(']'));
        let factors: Option<Vec<f64>> = list.and_then(|list| {
            let number = |x: &str| x.trim().parse().ok().filter(|x: &f64| x.is_finite());
            if value.starts_with('[') {
                list.split(',').map(number).collect()
            } else {
                Some(vec![number(list)?])
            }
        });
        let factors = factors.ok_or_else(|| wrong("a rule of the weights has a wrong value"))?;
        Ok(Rule { text: text.to_string(), glob: Glob::parse(glob)?, factors })
    }

    /// The tensors that match, by their index, and their factors.
    fn apply(&self, names: &[&str], layers: usize) -> Result<Vec<(usize, f64)>> {
        let glob = self.glob.clone().resolve(layers)?;
        let last = layers.saturating_sub(1);
        let factor = |name: &str| match (layer(name), self.factors.as_slice()) {
            (Some(layer), points) => gradient(points, layer, last),
            (None, [.., end]) if name.starts_with("output") => *end,
            (None, points) => points.first().copied().unwrap_or(1.0),
        };
        let matching = names.iter().enumerate().filter(|(_, name)| glob.matches(name));
        Ok(matching.map(|(i, name)| (i, factor(name))).collect())
    }
}

fn layer(name: &str) -> Option<usize> {
    usize::try_from(roles::layer(name)?).ok()
}

/// The value of a gradient at `layer` of those from 0 to `last`: linear between its points, which are spread evenly.
fn gradient(points: &[f64], layer: usize, last: usize) -> f64 {
    if last == 0 {
        return points.last().copied().unwrap_or(1.0);
    }
    // In whole numbers, so that a point that falls on a layer is met exactly.
    let scaled = layer as u128 * (points.len() as u128).saturating_sub(1);
    let last = last as u128;
    let (i, rest) = ((scaled / last) as usize, (scaled % last) as f64 / last as f64);
    match (points.get(i), points.get(i + 1)) {
        (Some(a), Some(b)) => a + rest * (b - a),
        (Some(a), None) => *a,
        _ => 1.0,
    }
}

/// Distinct factors that a summary lists one by one.
const LISTED: usize = 6;

/// What the rules come to, in a sentence; nothing without rules.
pub(super) fn summary(rules: &Rules, factors: &[f64]) -> Option<String> {
    if rules.is_empty() {
        return None;
    }
    let mut sorted = factors.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let groups: Vec<&[f64]> = sorted.chunk_by(|a, b| a == b).collect();
    let text = if groups.len() > LISTED {
        let ends = (groups.first().map_or(1.0, |g| g[0]), groups.last().map_or(1.0, |g| g[0]));
        format!("from {} to {} for {} tensors", ends.0, ends.1, factors.len())
    } else {
        let group = |g: &&[f64]| format!("{} for {} tensors", g[0], g.len());
        groups.iter().map(group).collect::<Vec<_>>().join(", ")
    };
    Some(format!("the rules multiply the weight by {text}"))
}
