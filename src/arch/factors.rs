//! The factors of a product where the product itself would go: `B·A` of a checkpoint's weight becomes `B'·A'` of GGUF's, as
//! the rule of that weight moves rows (those of B) and columns (of A). What mixes both has no such factors, and is
//! refused. Serves adapters, which llama.cpp applies as factors.
//! Specification: `LoraTorchTensor` of llama.cpp's `convert_lora_to_gguf.py`.

use super::axes::{Axes, Side, Sizes, Stacks, Term};
use super::config::Config;
use super::draft::Draft;
use super::families::Family;
use super::moved::{moved, part};
use super::names::{self, Instance};
use super::params::Params;
use super::values::Value;
use ggraft_formats::{Checkpoint, DType, Error, Result, Shape, Tensor};
use std::collections::{HashMap, HashSet};

/// The axis along which the factors of a product are multiplied.
const RANK: &str = "rank of the adapter";

/// Both factors of a change of one weight: A is `[rank, in]` in torch's order, B `[out, rank]`.
#[derive(Clone)]
pub struct Factors {
    pub a: Tensor,
    pub b: Tensor,
}

/// What a GGUF has of such changes.
pub struct Factored {
    pub architecture: &'static str,
    /// By the tensors of GGUF's that they change.
    pub pairs: Vec<(String, Factors)>,
    /// Tensors that take the place of others.
    pub whole: Vec<Tensor>,
}

/// The tensors that a checkpoint of this config holds, by their names and shapes; their rows are those of `any` tensor, and
/// not to be read.
pub fn outlined(checkpoint: &Checkpoint, any: &Tensor, draft: Draft) -> Result<Vec<Tensor>> {
    let config = Config::open(checkpoint)?;
    let one = |(name, torch): (String, Vec<u64>)| {
        let ne: Vec<u64> = torch.into_iter().rev().collect();
        let shape = Shape::new(&ne).ok_or_else(|| {
            Error::invalid("the tensor is larger than any file can be").tensor(&name).file(config.file())
        })?;
        Tensor::new(&name, shape, DType::F32, any.rows())
    };
    draft.tensors(config.raw())?.into_iter().map(one).collect()
}

/// `pairs` and `whole` by the names of tensors of `checkpoint`, of which only names and shapes are looked at.
///
/// # Errors
/// What a GGUF has no such factors for: all in one error.
pub fn factors(
    checkpoint: &Checkpoint,
    pairs: &HashMap<String, Factors>,
    whole: &[Tensor],
) -> Result<Factored> {
    let config = Config::open(checkpoint)?;
    let arch = super::arch(&config)?;
    let family = Family::of(arch);
    let params = Params::new(&config, &family.axes).beside(checkpoint);
    let all = names::instances(&family, &params, checkpoint)?;
    let mut out = Factored { architecture: arch.gguf, pairs: Vec::new(), whole: Vec::new() };
    let (mut problems, mut done) = (Vec::new(), HashSet::new());
    for instance in &all {
        let (mut sources, mut lacking) = (Vec::new(), None);
        for name in &instance.from {
            match pairs.get(name) {
                Some(pair) => sources.push((name, pair)),
                None => lacking = Some(name),
            }
        }
        done.extend(sources.iter().map(|(name, _)| name.as_str()));
        let made = match (sources.first(), lacking) {
            (None, _) => continue,
            (Some((name, _)), Some(other)) => {
                Err(Error::unsupported("the adapter changes a part of what a GGUF keeps in one piece")
                    .tensor(name)
                    .expected(format!("{other} too")))
            }
            (Some(_), None) => {
                instance.factored(&sources.iter().map(|(_, p)| *p).collect::<Vec<_>>(), &params)
            }
        };
        match made {
            Ok(made) => out.pairs.extend(made),
            Err(e) => problems.push(e),
        }
    }
    for tensor in whole {
        let found = all.iter().find(|x| x.from.len() == 1 && x.from.first() == Some(&tensor.name));
        match found.map(|x| (x, x.to.first().map_or("", String::as_str))) {
            Some((x, to)) if to.ends_with("_norm.weight") && x.axes.is_same() => {
                out.whole.push(x.rule.value.applied(tensor.clone().renamed(to))?);
            }
            _ => problems.push(
                Error::unsupported(
                    "llama.cpp's adapters change weights by factors, and hold none whole but norms",
                )
                .tensor(&tensor.name)
                .hint("merge it: ggraft merge --onto MODEL --adapter DIR"),
            ),
        }
        done.insert(tensor.name.as_str());
    }
    let lost = pairs.keys().filter(|name| !done.contains(name.as_str()));
    problems.extend(lost.map(|name| Error::unsupported("a GGUF does not hold this tensor").tensor(name)));
    Error::all(problems).map_or(Ok(out), Err)
}

/// The axes of the factors of a weight.
struct Split {
    b: Side,
    a: Axes,
    /// Whether A and B change places, for the weight is transposed.
    turned: bool,
}

impl Instance<'_> {
    /// The factors of what `sources` change.
    fn factored(&self, sources: &[&Factors], params: &Params<'_>) -> Result<Vec<(String, Factors)>> {
        let refused = |why: &str| {
            Error::unsupported(format!("the change has no factors in a GGUF: {why}"))
                .tensor(self.from.first().map_or("", String::as_str))
                .hint("merge it: ggraft merge --onto MODEL --adapter DIR")
        };
        let stacked = self.rule.stacked();
        let sides = match self.axes.from.as_slice() {
            [from] => self.axes.to.iter().map(|to| split(from, to, &stacked)).collect::<Option<Vec<_>>>(),
            _ => return Err(refused("several weights of the checkpoint become one")),
        };
        let splits = sides.ok_or_else(|| refused("rows and columns are mixed in it"))?;
        let rank = sources.first().map_or(0, |pair| pair.b.shape().row());
        if sources.iter().any(|pair| pair.b.shape().row() != rank) {
            return Err(refused("its experts have different ranks"));
        }
        let mut sizes = self.sizes(params)?;
        sizes.insert(RANK, rank);
        let wrong = |what: String| names::broken(self.rule, &what);
        let place = |name: &str, axes: &Axes, own: Vec<Tensor>, target: usize| -> Result<Tensor> {
            if let ([one], true) = (own.as_slice(), axes.is_same()) {
                return Ok(one.clone());
            }
            let side = axes.to.get(target).ok_or_else(|| wrong(String::from("it has too few sides")))?;
            let stacks = Stacks { from: &stacked, to: &[] };
            let pieces = axes.forth(&sizes, stacks, target).map_err(wrong)?;
            moved(name, &side.shape(&sizes).map_err(wrong)?, own, &pieces)
        };
        let outer = self.axes.from.first().and_then(|from| from.0.first()).cloned();
        let from = vec![Side(outer.into_iter().chain([Term::Axis(RANK)]).collect())];
        let rows = Axes { from, to: splits.iter().map(|split| split.b.clone()).collect() };
        let mut all = Vec::with_capacity(self.to.len());
        for (target, (name, split)) in self.to.iter().zip(&splits).enumerate() {
            let mut b = place(name, &rows, sources.iter().map(|p| p.b.clone()).collect(), target)?;
            let a = place(name, &split.a, sources.iter().map(|p| p.a.clone()).collect(), 0)?;
            match self.rule.value {
                Value::Same => {}
                Value::Times(times) if !split.turned => b = times.applied(b, params, self.layer)?,
                _ => return Err(refused("its values are changed, too")),
            }
            let (a, b) = match split.turned {
                true => (transposed(&b)?, transposed(&a)?),
                false => (a, b),
            };
            all.push((name.clone(), Factors { a, b }));
        }
        Ok(all)
    }
}

/// The axes of the factors of a weight that goes from one side to the other; none if it has none.
fn split(from: &Side, to: &Side, stacked: &[&'static str]) -> Option<Split> {
    let [outer, inner] = from.0.as_slice() else { return None };
    let (row, rest) = to.0.split_last()?;
    let is_stack = |term: &Term| matches!(term, Term::Axis(name) if stacked.contains(name));
    let (stacks, rows): (Vec<Term>, Vec<Term>) = rest.iter().cloned().partition(is_stack);
    let [rows] = rows.as_slice() else { return None };
    let of = |side: &Term, other: &Term| side.names().iter().all(|name| other.names().contains(name));
    let turned = !of(row, inner) || !of(rows, outer);
    if turned && !(of(row, outer) && of(rows, inner) && stacks.is_empty()) {
        return None;
    }
    let (outer, inner_to) = if turned { (row, rows) } else { (rows, row) };
    let side = |terms: [Term; 2]| Side(stacks.iter().cloned().chain(terms).collect());
    Some(Split {
        b: side([outer.clone(), Term::Axis(RANK)]),
        a: Axes {
            from: vec![Side(vec![Term::Axis(RANK), inner.clone()])],
            to: vec![side([Term::Axis(RANK), inner_to.clone()])],
        },
        turned,
    })
}

/// One of the matrices of a stack.
pub fn one_of(stack: &Tensor, at: u64) -> Result<Tensor> {
    let (row, rows) = (stack.shape().row(), stack.shape().dim(1));
    part(stack, &[rows, row], at * rows * row)
}

/// A matrix with rows and columns exchanged.
pub fn transposed(matrix: &Tensor) -> Result<Tensor> {
    let axes = Axes::parse("a b -> b a").map_err(Error::invalid)?;
    let [row, rows] = *matrix.shape().ne() else {
        return Err(Error::invalid("this is no matrix").tensor(&matrix.name).found(matrix.shape()));
    };
    let sizes = Sizes::from([("a", rows), ("b", row)]);
    let pieces = axes.forth(&sizes, Stacks::default(), 0).map_err(Error::invalid)?;
    moved(&matrix.name, &[row, rows], vec![matrix.clone()], &pieces)
}
