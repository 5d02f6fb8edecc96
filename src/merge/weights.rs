//! Weights by tensor: rules `GLOB=VALUE` over GGUF's names and the checkpoint's, of whole tensors and of their `parts`;
//! after `hf:` over the checkpoint's alone. A value is a factor that multiplies the weight of every vector, or a gradient
//! of factors, `[0.2,0.6,1.0]`, spread evenly over the layers and interpolated between. Of several rules that match the
//! last counts, alone; where none does the factor is 1. Each preset multiplies besides. A tensor outside the layers
//! takes the gradient's end that it is nearer to: `output*` the last, others the first, as all do for a rule of `hf:`.
//! An only layer takes the last, as in mergekit.

use super::glob::Glob;
use super::parts::{Factors, Named, Part};
use crate::arch::Trainer;
use crate::roles;
use ggraft_formats::{Error, Model, Result};
use std::ops::Range;

/// The mark of a rule over the checkpoint's names.
pub(crate) const TRAINERS: &str = "hf:";

/// Rules that have a name.
pub struct Preset {
    pub name: &'static str,
    pub help: &'static str,
    rule: &'static str,
}

/// Every preset.
pub const PRESETS: &[Preset] = &[
    Preset { name: "no-norms", help: "norms stay onto's", rule: "*_norm.{weight,bias}=0" },
    Preset {
        name: "skip-embed",
        help: "embeddings and the output head stay onto's but for rows that are copied",
        rule: "{token_embd,position_embd,output}.{weight,bias}=0",
    },
    Preset {
        name: "layer-swap",
        help: "the first and last layers stay onto's, with a transition to those between (arXiv 2410.01335)",
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
    pub(crate) fn texts(&self) -> Vec<&str> {
        self.presets.iter().chain(&self.rules).map(|rule| rule.text.as_str()).collect()
    }
}

/// A rule that matches nothing: its text, and the error that says so.
pub(super) type Idle<'a> = (&'a str, Error);

#[derive(Clone, Debug)]
struct Rule {
    text: String,
    glob: Glob,
    /// Whether only the checkpoint's names count.
    trainers: bool,
    /// One factor, or a gradient.
    factors: Vec<f64>,
    /// Where it was written, if a message is to say that.
    place: Option<String>,
}

/// All names that rules may match.
pub(super) struct Names {
    tensors: Vec<Named>,
    /// The checkpoint's names for an output head.
    head: Vec<String>,
    /// The layers that gradients are spread over.
    layers: Range<usize>,
}

impl Names {
    /// Those of a model; `held` are the tensors of its checkpoint, if it comes from one.
    pub fn of(model: &Model, held: Option<&[String]>) -> Names {
        let trainer = Trainer::of(model.architecture().unwrap_or_default());
        let head = trainer.names(roles::HEAD);
        let trainer = match held {
            Some(held) => trainer.holding(held.iter().map(String::as_str)),
            None => trainer,
        };
        let tensors: Vec<Named> =
            model.tensors.iter().map(|t| Named::of(t, &trainer, &model.metadata)).collect();
        Names { layers: 0..count(&tensors), tensors, head }
    }

    /// Some tensors of it, whose layers these are.
    pub fn some(&self, tensors: Vec<Named>, layers: Range<usize>) -> Names {
        Names { tensors, head: self.head.clone(), layers }
    }

    fn plain(names: &[&str]) -> Names {
        let tensors: Vec<Named> = names.iter().map(|name| Named::plain(name)).collect();
        Names { layers: 0..count(&tensors), tensors, head: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// GGUF's name of one of them.
    pub fn name(&self, i: usize) -> &str {
        &self.tensors[i].name
    }

    /// Whether the embedding serves as a head.
    fn is_tied(&self) -> bool {
        !self.tensors.iter().any(|t| t.name == roles::HEAD)
    }
}

/// How many layers tensors of these names have.
fn count(tensors: &[Named]) -> usize {
    let last = tensors.iter().filter_map(|t| layer(&t.name)).max();
    last.map_or(0, |last| last.saturating_add(1))
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

    /// Tells for each rule, presets aside, where it was written.
    pub fn placed(mut self, places: impl IntoIterator<Item = Option<String>>) -> Rules {
        self.rules.iter_mut().zip(places).for_each(|(rule, place)| rule.place = place);
        self
    }

    /// The factor of each of `names`, which are all tensors of a model. A rule that matches none of them is an error.
    pub fn factors(&self, names: &[&str]) -> Result<Vec<f64>> {
        let all = self.spread(&Names::plain(names))?;
        Ok(all.iter().map(Factors::mean).collect())
    }

    /// The factors of each tensor. A rule that matches nothing is an error.
    pub(super) fn spread(&self, names: &Names) -> Result<Vec<Factors>> {
        let (factors, idle) = self.spread_over(names)?;
        Error::all(idle.into_iter().map(|(_, e)| e).collect()).map_or(Ok(factors), Err)
    }

    /// The same, and the rules that match nothing, each with its error.
    pub(super) fn spread_over(&self, names: &Names) -> Result<(Vec<Factors>, Vec<Idle<'_>>)> {
        let mut factors: Vec<Vec<f64>> = names.tensors.iter().map(|t| vec![1.0; t.parts.len()]).collect();
        let (mut idle, mut problems) = (Vec::new(), Vec::new());
        let all = self.rules.iter().map(|rule| (rule, true));
        for (rule, alone) in all.chain(self.presets.iter().map(|rule| (rule, false))) {
            let found = match rule.apply(names) {
                Ok(found) => found,
                Err(e) => {
                    problems.push(e);
                    continue;
                }
            };
            if found.is_empty() && !rule.names_a_tied_head(names) {
                idle.push((rule.text.as_str(), rule.idle()));
            }
            for (i, part, x) in found {
                let factor = &mut factors[i][part];
                *factor = if alone { x } else { *factor * x };
            }
        }
        if let Some(e) = Error::all(problems) {
            return Err(e);
        }
        let ends = |t: &Named| t.parts.iter().map(|part| part.end).collect::<Vec<_>>();
        let each = names.tensors.iter().zip(factors);
        Ok((each.map(|(t, factors)| Factors::of(ends(t).into_iter().zip(factors))).collect(), idle))
    }
}

impl Rules {
    /// The rules that change nothing of a model with these tensors, a sentence each.
    pub(super) fn without_effect(&self, names: &Names) -> Vec<String> {
        let idle = self.presets.iter().chain(&self.rules).filter(|rule| {
            rule.names_a_tied_head(names) && rule.apply(names).is_ok_and(|found| found.is_empty())
        });
        let told = |rule: &Rule| {
            format!("the rule {} has no effect: the output head of this model is its embedding", rule.text)
        };
        idle.map(told).collect()
    }
}

impl Rule {
    /// Whether it names the head of a model whose embedding serves as one.
    fn names_a_tied_head(&self, names: &Names) -> bool {
        let glob = self.glob.clone().resolve(0);
        let names_it = |glob: Glob| {
            !self.trainers && glob.matches(roles::HEAD) || names.head.iter().any(|name| glob.matches(name))
        };
        names.is_tied() && glob.is_ok_and(names_it)
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
        let (glob, trainers) = glob.strip_prefix(TRAINERS).map_or((glob, false), |glob| (glob, true));
        Ok(Rule { text: text.to_string(), glob: Glob::parse(glob)?, trainers, factors, place: None })
    }

    /// The error of a rule that matches nothing.
    fn idle(&self) -> Error {
        match &self.place {
            Some(place) => {
                Error::invalid(format!("{place}: no tensor of the model has this text in its name"))
                    .found(&self.text)
                    .hint("name tensors as the checkpoint does; `ggraft inspect --tensors` lists its names")
            }
            None => Error::usage("a rule of the weights matches no tensor")
                .found(&self.text)
                .hint("`ggraft inspect --tensors` lists the names"),
        }
    }

    /// The parts that match, by the index of their tensor and their own, and their factors.
    fn apply(&self, names: &Names) -> Result<Vec<(usize, usize, f64)>> {
        let glob = self.glob.clone().resolve(names.layers.end)?;
        let last = names.layers.len().saturating_sub(1);
        let factor = |name: &str| match (layer(name), self.factors.as_slice()) {
            (Some(layer), points) => gradient(points, layer.saturating_sub(names.layers.start), last),
            (None, [.., end]) if name.starts_with("output") && !self.trainers => *end,
            (None, points) => points.first().copied().unwrap_or(1.0),
        };
        let mut found = Vec::new();
        for (i, tensor) in names.tensors.iter().enumerate() {
            let whole = !self.trainers && glob.matches(&tensor.name);
            let fits = |part: &Part| {
                let any = |all: &[String]| all.iter().any(|name| glob.matches(name));
                whole || any(&part.trainer) || !self.trainers && any(&part.gguf)
            };
            let parts = tensor.parts.iter().enumerate().filter(|(_, part)| fits(part));
            found.extend(parts.map(|(part, _)| (i, part, factor(&tensor.name))));
        }
        Ok(found)
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

/// The values that the rules come to, and for how many tensors; nothing without rules.
pub(super) fn summary(rules: &Rules, factors: &[Factors]) -> Option<String> {
    if rules.is_empty() {
        return None;
    }
    let mut sorted: Vec<f64> = factors.iter().filter_map(Factors::same).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let groups: Vec<&[f64]> = sorted.chunk_by(|a, b| a == b).collect();
    let mut texts = Vec::new();
    if groups.len() > LISTED {
        let ends = (groups.first().map_or(1.0, |g| g[0]), groups.last().map_or(1.0, |g| g[0]));
        texts.push(format!("from {} to {} for {} tensors", ends.0, ends.1, sorted.len()));
    } else {
        texts.extend(groups.iter().map(|g| format!("{} for {} tensors", g[0], g.len())));
    }
    let divided: Vec<f64> =
        factors.iter().filter(|f| f.same().is_none()).flat_map(|f| f.runs()).map(|(_, x)| *x).collect();
    if let Some(least) = divided.iter().copied().reduce(f64::min) {
        let most = divided.iter().copied().fold(least, f64::max);
        let count = factors.len() - sorted.len();
        texts.push(format!("from {least} to {most} for the parts of {count} tensors"));
    }
    Some(texts.join(", "))
}
