//! A rule: which tensors of a checkpoint become which of a GGUF, and how their elements are re-labelled (`axes`), changed
//! (`values`), in which layers, and whether they must be there. Names are whole, with `.weight`; `{l}` is a layer,
//! `{e}` an expert, any index a name may have, `{a|b}` one of several tensors that become one, `^` a name outside the
//! model's prefix.

use super::axes::Axes;
use super::config::{Config, TIED};
use super::params::Params;
use super::values::Value;
use ggraft_formats::{DType, Result};

/// One kind of tensor.
pub struct Rule {
    /// The checkpoint's name; several are spellings of one thing.
    pub from: &'static [&'static str],
    /// GGUF's name; several are tensors that one of the checkpoint is split into.
    pub to: &'static [&'static str],
    /// The dimensions on both sides.
    pub axes: &'static str,
    pub value: Value,
    pub need: Need,
    /// Whether there is a bias too: the same names with `.bias`.
    pub bias: Option<Need>,
    pub layers: Layers,
    pub rows: RowCount,
    /// Whether a layer that has no such tensor may hold one, which is left out.
    pub spare: bool,
    /// The dtype that the weight has whatever is asked for, because the runtime wants that.
    pub stored: Option<DType>,
}

/// Whether the checkpoint must hold a tensor. One that it holds unannounced is kept, and told.
#[derive(Clone, Copy)]
pub enum Need {
    Must,
    May,
    /// If this flag of the config is true.
    If(&'static str),
    Unless(&'static str),
    /// If the config holds this key, and not null.
    IfSet(&'static str),
    UnlessSet(&'static str),
    /// Unless the checkpoint holds this tensor, which says the same in another way.
    Without(&'static str),
}

/// The layers that have a tensor.
#[derive(Clone, Copy)]
pub enum Layers {
    All,
    /// From the layer on that this axis says.
    From(&'static str),
    Before(&'static str),
    /// Those for which this list of the config says one of these words.
    Of(&'static str, &'static [&'static str]),
    /// What no other form can say.
    When(fn(&Params<'_>, u32) -> Result<bool>),
}

/// How many rows of a table of tokens are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum RowCount {
    All,
    /// No more than there are tokens.
    Tokens,
    /// As many as the axis says; those that the checkpoint lacks are zeros.
    Padded,
    /// Those from the one on that this axis says; the ones before stand for no place.
    After(&'static str),
    /// The one that this axis says, as a tensor of its own.
    One(&'static str),
    /// All, behind one more of zeros: here of a stack, whose rows are matrices.
    BehindZeros,
}

/// A tensor that moves: `axes` tells from where to where.
pub const fn rule(from: &'static [&'static str], to: &'static [&'static str], axes: &'static str) -> Rule {
    Rule {
        from,
        to,
        axes,
        value: Value::Same,
        need: Need::Must,
        bias: None,
        layers: Layers::All,
        rows: RowCount::All,
        spare: false,
        stored: None,
    }
}

impl Rule {
    pub const fn need(self, need: Need) -> Rule {
        Rule { need, ..self }
    }

    /// The checkpoint need not hold it.
    pub const fn may(self) -> Rule {
        self.need(Need::May)
    }

    pub const fn bias(self, need: Need) -> Rule {
        Rule { bias: Some(need), ..self }
    }

    pub const fn layers(self, layers: Layers) -> Rule {
        Rule { layers, ..self }
    }

    pub const fn value(self, value: Value) -> Rule {
        Rule { value, ..self }
    }

    /// Rows beyond the tokenizer's are cut.
    pub const fn cut(self) -> Rule {
        Rule { rows: RowCount::Tokens, ..self }
    }

    /// Rows that the checkpoint lacks are zeros.
    pub const fn pad(self) -> Rule {
        Rule { rows: RowCount::Padded, ..self }
    }

    /// The first rows are left out.
    pub const fn after(self, axis: &'static str) -> Rule {
        Rule { rows: RowCount::After(axis), ..self }
    }

    /// One row of the table is taken.
    pub const fn row(self, axis: &'static str) -> Rule {
        Rule { rows: RowCount::One(axis), ..self }
    }

    /// A matrix of zeros stands in front of the stack.
    pub const fn behind_zeros(self) -> Rule {
        Rule { rows: RowCount::BehindZeros, ..self }
    }

    /// What other layers hold of it is left out.
    pub const fn or_spare(self) -> Rule {
        Rule { spare: true, ..self }
    }

    /// The weight has this dtype whatever is asked for.
    pub const fn stored(self, dtype: DType) -> Rule {
        Rule { stored: Some(dtype), ..self }
    }

    /// The axes, read; of the bias, if that is asked for.
    pub fn axes(&self, bias: bool) -> std::result::Result<Axes, String> {
        let axes = Axes::parse(self.axes)?;
        Ok(if bias { axes.of_bias() } else { axes })
    }

    /// The indices of the names that are the same on both sides: each value of them is a tensor of its own.
    pub fn indices(&self) -> Vec<&'static str> {
        self.to.first().map_or(Vec::new(), |name| indices(name))
    }

    /// The indices of the checkpoint's name that GGUF's has not: those tensors are stacked.
    pub fn stacked(&self) -> Vec<&'static str> {
        let own = self.indices();
        let all = self.from.first().map_or(Vec::new(), |name| indices(name));
        all.into_iter().filter(|index| !own.contains(index)).collect()
    }

    /// GGUF's names, of the weight and of the bias.
    pub fn targets(&self) -> Vec<String> {
        let weights: Vec<String> = self.to.iter().flat_map(|name| spelled(name)).collect();
        let biases: Vec<String> =
            weights.iter().filter(|_| self.bias.is_some()).map(|name| biased(name)).collect();
        [weights, biases].concat()
    }
}

/// The name of the bias that goes with a weight.
pub fn biased(weight: &str) -> String {
    match weight.strip_suffix(".weight") {
        Some(stem) => format!("{stem}.bias"),
        None => format!("{weight}_bias"),
    }
}

/// The parts of a name between braces.
fn braces(name: &'static str) -> impl Iterator<Item = &'static str> {
    name.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(inner, _)| inner))
}

/// The indices in a name, in their order.
pub fn indices(name: &'static str) -> Vec<&'static str> {
    braces(name).filter(|inner| !inner.contains('|')).collect()
}

/// All names that `name` stands for, `{a|b}` being each in turn.
pub fn spelled(name: &'static str) -> Vec<String> {
    let Some(inner) = braces(name).find(|inner| inner.contains('|')) else { return vec![name.to_string()] };
    inner.split('|').map(|one| name.replace(&format!("{{{inner}}}"), one)).collect()
}

impl Need {
    /// Whether the config says nothing of it, also by its `model_type`: then what the checkpoint holds tells.
    pub fn is_open(self, config: &Config) -> bool {
        matches!(self, Need::Unless(TIED)) && config.get(TIED).is_none()
    }

    pub fn is_met(self, params: &Params<'_>, layer: u32) -> Result<bool> {
        match self {
            Need::Must => Ok(true),
            Need::May => Ok(false),
            Need::If(flag) => params.config.flag(flag),
            Need::Unless(flag) => params.config.flag(flag).map(|set| !set),
            Need::IfSet(key) => Ok(params.config.get(key).is_some()),
            Need::UnlessSet(key) => Ok(params.config.get(key).is_none()),
            Need::Without(name) => Ok(params.holds(&name.replace("{l}", &layer.to_string())) != Some(true)),
        }
    }
}

impl Layers {
    /// Whether this layer has the tensor.
    pub fn hold(self, params: &Params<'_>, layer: u32) -> Result<bool> {
        match self {
            Layers::All => Ok(true),
            Layers::From(axis) => Ok(u64::from(layer) >= params.size(axis, 0)?),
            Layers::Before(axis) => Ok(u64::from(layer) < params.size(axis, 0)?),
            Layers::Of(key, words) => {
                let all = params.config.texts(key)?.unwrap_or_default();
                Ok(all.get(layer as usize).is_some_and(|word| words.contains(word)))
            }
            Layers::When(holds) => holds(params, layer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_of_names_are_shared_or_stacked() {
        let experts =
            rule(&["layers.{l}.experts.{e}.w1.weight"], &["blk.{l}.ffn_gate_exps.weight"], "ff n -> e ff n");
        assert_eq!((experts.indices(), experts.stacked()), (vec!["l"], vec!["e"]));
        assert_eq!(spelled("a.{q|k}.{l}.weight"), ["a.q.{l}.weight", "a.k.{l}.weight"]);
        assert_eq!(
            (biased("a.weight"), biased("experts.gate_up_proj")),
            ("a.bias".into(), "experts.gate_up_proj_bias".into())
        );
    }
}
