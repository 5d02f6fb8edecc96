//! Axis pairs: `"(h two pair) n -> (h pair two) n"` says how the elements of a tensor are re-labelled, as einops has
//! it. A side lists dimensions, the outermost first; `( )` is a product of axes, `[ | ]` parts that follow each
//! other, on either side in an order of its own if all have names, `1` a dimension of one, `;` separates the sides of several tensors. Without `->` nothing moves. Every such
//! pair is a few affine maps from the indices of the source to those of the target (`Piece`), in either direction.

#[cfg(test)]
mod tests;

use crate::arrange::Arrange;
use std::collections::HashMap;
use std::fmt;

/// A dimension, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Term {
    Axis(&'static str),
    /// A dimension of one.
    One,
    Product(Vec<Term>),
    /// Parts that follow each other.
    Parts(Vec<Term>),
}

/// The dimensions of one tensor, the outermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side(pub Vec<Term>);

/// Both sides of a rule: those of the trainer's tensors and those of GGUF's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axes {
    pub from: Vec<Side>,
    pub to: Vec<Side>,
}

/// The sizes of axes by name.
pub type Sizes = HashMap<&'static str, u64>;

/// A step along one axis: so many elements, and how far each is from the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub size: u64,
    pub from: u64,
    pub to: u64,
    /// How many source tensors further: the experts of a stack are tensors of their own.
    pub tensor: u64,
}

/// An affine map from a source to a target: where the first element lies, and the steps, those of the target
/// longest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub source: u64,
    pub from: u64,
    pub to: u64,
    pub steps: Vec<Step>,
}

impl Axes {
    /// Reads the notation.
    pub fn parse(text: &'static str) -> Result<Axes, String> {
        let sides = |text: &'static str| text.split(';').map(Side::parse).collect::<Result<Vec<_>, _>>();
        match text.split_once("->") {
            None => Ok(Axes { from: sides(text)?, to: sides(text)? }),
            Some((from, to)) => Ok(Axes { from: sides(from)?, to: sides(to)? }),
        }
    }

    /// The sides of the biases: those of the weights without the axes of the target's rows. A norm has only one.
    pub fn of_bias(&self) -> Axes {
        let mut axes = self.clone();
        for to in &mut axes.to {
            let Some(row) = (to.0.len() > 1).then(|| to.0.pop()).flatten() else { continue };
            let gone = row.names();
            for from in &mut axes.from {
                from.0.retain(|dim| dim.names().iter().any(|n| !gone.contains(n)));
            }
        }
        axes
    }

    /// Whether whole tensors of the one side follow each other in the other.
    pub fn is_stack(&self) -> bool {
        match (self.from.as_slice(), self.to.as_slice()) {
            ([from], [to]) => {
                to.0.strip_prefix(&to.0[..to.0.len().saturating_sub(from.0.len())]) == Some(&from.0)
            }
            _ => false,
        }
    }

    /// Whether both sides are the same, so that nothing moves.
    pub fn is_same(&self) -> bool {
        self.from == self.to
    }

    /// Every axis once.
    pub fn names(&self) -> Vec<&'static str> {
        let mut all: Vec<&str> = self.from.iter().chain(&self.to).flat_map(Side::names).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Refuses sides that do not hold the same axes. `stacked` are axes that a source's name has and the target's has
    /// not.
    pub fn check(&self, stacked: &[&'static str]) -> Result<(), String> {
        let sizes: Sizes = self.names().into_iter().chain(stacked.iter().copied()).map(|n| (n, 2)).collect();
        let stacks = Stacks { from: stacked, to: &[] };
        for target in 0..self.to.len() {
            self.forth(&sizes, stacks, target)?;
        }
        for source in 0..self.from.len() {
            self.back(&sizes, stacks, source, &vec![0; stacked.len()])?;
        }
        Ok(())
    }

    /// The pieces of target `target`.
    pub fn forth(&self, sizes: &Sizes, stacks: Stacks<'_>, target: usize) -> Result<Vec<Piece>, String> {
        pieces(&self.from, &self.to, sizes, stacks, target, &[])
    }

    /// The pieces of source `source`, whose indices in its stack are `at`, when the targets are given.
    pub fn back(
        &self,
        sizes: &Sizes,
        stacks: Stacks<'_>,
        source: usize,
        at: &[u64],
    ) -> Result<Vec<Piece>, String> {
        let stacks = Stacks { from: stacks.to, to: stacks.from };
        pieces(&self.to, &self.from, sizes, stacks, source, at)
    }
}

/// The axes that are indices in the names of either side's tensors, the outermost first.
#[derive(Clone, Copy, Default)]
pub struct Stacks<'a> {
    pub from: &'a [&'static str],
    pub to: &'a [&'static str],
}

/// The pieces of `right[target]`; `at` are its indices in its own stack.
fn pieces(
    left: &[Side],
    right: &[Side],
    sizes: &Sizes,
    stacks: Stacks<'_>,
    target: usize,
    at: &[u64],
) -> Result<Vec<Piece>, String> {
    let to = right.get(target).ok_or("there is no such target")?;
    let stack: u64 = stacks.from.iter().map(|name| sizes.get(name).copied().unwrap_or(1)).product();
    // Which side of the left, and which part of either. Where one side has parts, the tensors of the other follow them.
    let count = |side: &Side| side.parts().max(1);
    let pairs: Vec<(usize, Option<usize>, Option<usize>)> = match (left, right.len()) {
        ([from], 1) if from.parts() == to.parts() => match from.parts() {
            0 => vec![(0, None, None)],
            n => (0..n).map(|part| (0, Some(part), Some(from.place_in(to, part)))).collect(),
        },
        ([from], _) if from.parts() == right.iter().map(count).sum::<usize>() => {
            let first: usize = right.iter().take(target).map(count).sum();
            let part = |i: usize| (to.parts() > 0).then_some(i);
            (0..count(to)).map(|i| (0, Some(first + i), part(i))).collect()
        }
        (all, 1) if to.parts() == all.iter().map(count).sum::<usize>() => {
            let parts = |(i, side): (usize, &Side)| {
                let own = side.parts();
                (0..own.max(1)).map(move |part| (i, (own > 0).then_some(part))).collect::<Vec<_>>()
            };
            let parts = all.iter().enumerate().flat_map(parts);
            parts.enumerate().map(|(to, (i, part))| (i, part, Some(to))).collect()
        }
        (all, n) => return Err(format!("{} tensors do not become {n}", all.len())),
    };
    let one = |(source, from_part, to_part): (usize, Option<usize>, Option<usize>)| {
        let from = left[source].layout(sizes, from_part)?;
        let to = to.layout(sizes, to_part)?;
        piece(source as u64 * stack, from, to, sizes, stacks, at)
    };
    pairs.into_iter().map(one).collect()
}

/// Joins the layouts of a source and a target that hold the same axes.
fn piece(
    source: u64,
    from: Layout,
    to: Layout,
    sizes: &Sizes,
    stacks: Stacks<'_>,
    at: &[u64],
) -> Result<Piece, String> {
    let mut piece = Piece { source, from: from.first, to: to.first, steps: Vec::new() };
    let mut tensor = 1;
    let mut tensors = HashMap::new();
    for name in stacks.from.iter().rev() {
        tensors.insert(*name, tensor);
        tensor *= sizes.get(name).copied().unwrap_or(1);
    }
    let mut from: HashMap<&str, (u64, u64)> =
        from.strides.into_iter().map(|(name, size, stride)| (name, (size, stride))).collect();
    for (name, size, stride) in to.strides {
        let step = match (from.remove(name), tensors.remove(name)) {
            (Some((_, source)), None) => Step { size, from: source, to: stride, tensor: 0 },
            (None, Some(tensor)) => Step { size, from: 0, to: stride, tensor },
            _ => return Err(format!("the axis {name} is not on both sides once")),
        };
        piece.steps.push(step);
    }
    // What is left over on the source's side are the indices of this target in its own stack.
    for (name, index) in stacks.to.iter().zip(at) {
        let (_, stride) = from.remove(name).ok_or_else(|| format!("the axis {name} is in no source"))?;
        piece.from += index * stride;
    }
    if let Some(name) = from.keys().chain(tensors.keys()).next() {
        return Err(format!("the axis {name} goes nowhere"));
    }
    piece.steps.arrange_by_key(|step| std::cmp::Reverse(step.to));
    Ok(piece)
}

/// Where the axes of a side lie in its tensor: name, size and stride in elements.
struct Layout {
    first: u64,
    strides: Vec<(&'static str, u64, u64)>,
}

impl Side {
    fn parse(text: &'static str) -> Result<Side, String> {
        let mut words = words(text).into_iter().peekable();
        let terms = terms(&mut words, None)?;
        match words.next() {
            None => Ok(Side(terms)),
            Some(word) => Err(format!("'{word}' stands alone in '{text}'")),
        }
    }

    fn names(&self) -> Vec<&'static str> {
        self.0.iter().flat_map(Term::names).collect()
    }

    /// The number of parts of the dimension that has some.
    pub fn parts(&self) -> usize {
        fn parts(terms: &[Term]) -> usize {
            let of = |term: &Term| match term {
                Term::Axis(_) | Term::One => 0,
                Term::Product(terms) => parts(terms),
                Term::Parts(terms) => terms.len(),
            };
            terms.iter().map(of).max().unwrap_or(0)
        }
        parts(&self.0)
    }

    /// The parts of the dimension that has some.
    fn listed(&self) -> &[Term] {
        fn listed(terms: &[Term]) -> Option<&[Term]> {
            terms.iter().find_map(|term| match term {
                Term::Parts(parts) => Some(parts.as_slice()),
                Term::Product(terms) => listed(terms),
                Term::Axis(_) | Term::One => None,
            })
        }
        listed(&self.0).unwrap_or_default()
    }

    /// Where part `part` stands in `to`: where that has the same part alone, else in the same place.
    fn place_in(&self, to: &Side, part: usize) -> usize {
        let own = self.listed().get(part);
        let mut places = (0..to.listed().len()).filter(|place| to.listed().get(*place) == own);
        match (places.next(), places.next()) {
            (Some(place), None) => place,
            _ => part,
        }
    }

    /// The dimensions, the outermost first.
    pub fn shape(&self, sizes: &Sizes) -> Result<Vec<u64>, String> {
        self.0.iter().map(|term| term.size(sizes)).collect()
    }

    fn layout(&self, sizes: &Sizes, part: Option<usize>) -> Result<Layout, String> {
        let mut layout = Layout { first: 0, strides: Vec::new() };
        lay(&self.0, sizes, part, &mut 1, &mut layout)?;
        Ok(layout)
    }
}

/// Lays `terms` out, the innermost first, from a stride of `stride` elements on.
fn lay(
    terms: &[Term],
    sizes: &Sizes,
    part: Option<usize>,
    stride: &mut u64,
    layout: &mut Layout,
) -> Result<(), String> {
    for term in terms.iter().rev() {
        let inner = *stride;
        *stride = inner.checked_mul(term.size(sizes)?).ok_or("the tensor is too large")?;
        match term {
            Term::One => {}
            Term::Axis(name) => layout.strides.push((name, term.size(sizes)?, inner)),
            Term::Product(terms) => lay(terms, sizes, part, &mut inner.clone(), layout)?,
            Term::Parts(parts) => {
                let part = part.ok_or("the parts of a dimension are not told apart")?;
                for before in parts.iter().take(part) {
                    layout.first += before.size(sizes)? * inner;
                }
                let chosen = parts.get(part).ok_or("there is no such part")?;
                lay(std::slice::from_ref(chosen), sizes, None, &mut inner.clone(), layout)?;
            }
        }
    }
    Ok(())
}

impl Term {
    fn size(&self, sizes: &Sizes) -> Result<u64, String> {
        let product = |n: u64, m: u64| n.checked_mul(m).ok_or_else(|| String::from("it is too large"));
        match self {
            Term::One => Ok(1),
            Term::Axis(name) => {
                sizes.get(name).copied().ok_or_else(|| format!("the axis {name} has no size"))
            }
            Term::Product(terms) => terms.iter().try_fold(1, |n, term| product(n, term.size(sizes)?)),
            Term::Parts(terms) => terms.iter().try_fold(0u64, |n, term| {
                n.checked_add(term.size(sizes)?).ok_or_else(|| String::from("it is too large"))
            }),
        }
    }

    /// The axes in it, the outermost first.
    pub fn names(&self) -> Vec<&'static str> {
        match self {
            Term::One => Vec::new(),
            Term::Axis(name) => vec![name],
            Term::Product(terms) | Term::Parts(terms) => terms.iter().flat_map(Term::names).collect(),
        }
    }
}

fn words(text: &'static str) -> Vec<&'static str> {
    let is_mark = |c: char| matches!(c, '(' | ')' | '[' | ']' | '|');
    let mut words = Vec::new();
    for mut word in text.split_whitespace() {
        while let Some(at) = word.find(is_mark) {
            let (before, rest) = word.split_at(at);
            let (mark, rest) = rest.split_at(1);
            words.extend([before, mark].into_iter().filter(|w| !w.is_empty()));
            word = rest;
        }
        words.extend(Some(word).filter(|w| !w.is_empty()));
    }
    words
}

/// Terms up to the word that closes them.
fn terms(
    words: &mut std::iter::Peekable<std::vec::IntoIter<&'static str>>,
    close: Option<&str>,
) -> Result<Vec<Term>, String> {
    let mut all = Vec::new();
    loop {
        match (words.peek().copied(), close) {
            (None, None) => return Ok(all),
            (None, Some(close)) => return Err(format!("a '{close}' is missing")),
            (Some(word), Some(close)) if word == close || (close == "]" && word == "|") => return Ok(all),
            (Some(word), _) => {
                words.next();
                all.push(term(word, words)?);
            }
        }
    }
}

fn term(
    word: &'static str,
    words: &mut std::iter::Peekable<std::vec::IntoIter<&'static str>>,
) -> Result<Term, String> {
    match word {
        "1" => Ok(Term::One),
        "(" => {
            let inner = terms(words, Some(")"))?;
            words.next();
            Ok(Term::Product(inner))
        }
        "[" => {
            let mut parts = Vec::new();
            loop {
                let mut inner = terms(words, Some("]"))?;
                parts.push(if inner.len() == 1 { inner.remove(0) } else { Term::Product(inner) });
                if words.next() == Some("]") {
                    return Ok(Term::Parts(parts));
                }
            }
        }
        ")" | "]" | "|" => Err(format!("'{word}' closes nothing")),
        name if name.starts_with(|c: char| c.is_ascii_alphabetic()) => Ok(Term::Axis(name)),
        other => Err(format!("'{other}' is no axis")),
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |terms: &[Term], between: &str| {
            terms.iter().map(Term::to_string).collect::<Vec<_>>().join(between)
        };
        match self {
            Term::One => f.write_str("1"),
            Term::Axis(name) => f.write_str(name),
            Term::Product(terms) => write!(f, "({})", list(terms, " ")),
            Term::Parts(terms) => write!(f, "[{}]", list(terms, "|")),
        }
    }
}
