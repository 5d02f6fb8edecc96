//! All numbers of a model in one place: the keys of its config, and the sizes of its family's axes, of a layer or of all,
//! each told by a table. `AXES` are those that every decoder shares.

use super::axes::{Sizes, Term};
use super::config::Config;
use ggraft_formats::{Checkpoint, DType, Error, Result};
use serde_json::Value as Json;
use std::cell::RefCell;
use std::collections::HashMap;

/// The size of an axis.
pub enum Size {
    Is(u64),
    /// The first of these keys that the config holds.
    Of(&'static [&'static str]),
    /// The first of these keys, else another size.
    Or(&'static [&'static str], &'static Size),
    /// That of another axis.
    Same(&'static str),
    /// The first by the second, which must divide it.
    Div(&'static str, &'static str),
    Mul(&'static str, &'static str),
    Add(&'static str, &'static str),
    Sub(&'static str, &'static str),
    /// What no other form can say.
    Make(fn(&Params<'_>, u32) -> Result<u64>),
}

/// An axis, or an index in names (`l`, `e`).
pub struct Axis {
    pub name: &'static str,
    pub size: Size,
    /// For a size that does not divide: the axis that is wrong, and what was expected; `{axis}` is a size.
    pub blame: Option<(&'static str, &'static str)>,
}

pub const fn axis(name: &'static str, size: Size) -> Axis {
    Axis { name, size, blame: None }
}

impl Axis {
    /// What is told if the size does not divide: which axis is wrong, and what was expected of it.
    pub const fn or(self, wrong: &'static str, expected: &'static str) -> Axis {
        Axis { blame: Some((wrong, expected)), ..self }
    }
}

/// The axes of every decoder.
pub const AXES: &[Axis] = &[
    axis("l", Size::Of(&["n_layers", "num_hidden_layers", "n_layer", "num_layers"])),
    axis("n", Size::Of(&["hidden_size", "n_embd", "dim"])),
    axis("vocab", Size::Of(&["vocab_size"])),
    axis("ff", Size::Of(&["intermediate_size", "n_inner", "hidden_dim"])),
    axis("h", Size::Of(&["num_attention_heads", "n_head", "n_heads"])),
    axis("g", Size::Or(&["num_key_value_heads", "n_kv_heads"], &Size::Same("h"))),
    axis("q", Size::Div("h", "g")).or("g", "a divisor of {h} heads"),
    axis("d", Size::Or(&["head_dim"], &Size::Div("n", "h")))
        .or("n", "a multiple of {h} heads, as 'head_dim' is absent"),
    axis("two", Size::Is(2)),
    axis("three", Size::Is(3)),
    axis("e", Size::Of(&["num_local_experts", "num_experts", "n_routed_experts"])),
    axis("eff", Size::Or(&["moe_intermediate_size"], &Size::Same("ff"))),
    axis("m", Size::Same("n")),
];

/// All numbers of a model: the config's, and the sizes of the family's axes.
pub struct Params<'a> {
    pub config: &'a Config,
    axes: &'a [&'static Axis],
    /// Sizes that are known otherwise.
    known: HashMap<&'static str, u64>,
    checkpoint: Option<&'a Checkpoint>,
    /// What the model says that this one guesses for.
    target: Option<&'a Config>,
    /// Sizes that were made, of a layer.
    made: RefCell<HashMap<(&'static str, u32), u64>>,
    /// What a user should know, a sentence each.
    told: RefCell<Vec<String>>,
}

impl<'a> Params<'a> {
    pub fn new(config: &'a Config, axes: &'a [&'static Axis]) -> Params<'a> {
        let (made, told) = (RefCell::default(), RefCell::default());
        Params { config, axes, known: HashMap::new(), checkpoint: None, target: None, made, told }
    }

    /// Of this checkpoint.
    pub fn beside(self, checkpoint: &'a Checkpoint) -> Params<'a> {
        Params { checkpoint: Some(checkpoint), ..self }
    }

    /// Guessing for a model that says this.
    pub fn guessing_for(self, target: Option<&'a Config>) -> Params<'a> {
        Params { target, ..self }
    }

    /// What the model says that this one guesses for.
    pub fn target(&self) -> Option<&'a Config> {
        self.target
    }

    /// The checkpoint, if there is one.
    pub fn checkpoint(&self) -> Option<&'a Checkpoint> {
        self.checkpoint
    }

    /// Whether the checkpoint holds a tensor of this name, whatever stands before it; unknown without a checkpoint.
    pub fn holds(&self, name: &str) -> Option<bool> {
        let is = |held: &str| {
            let before = held.strip_suffix(name);
            before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
        };
        self.counts(is).map(|n| n > 0)
    }

    /// How many of the checkpoint's names are such; unknown without a checkpoint.
    pub fn counts(&self, is: impl Fn(&str) -> bool) -> Option<u64> {
        self.checkpoint
            .map(|checkpoint| checkpoint.tensors.iter().filter(|tensor| is(&tensor.name)).count() as u64)
    }

    /// The dimensions of the checkpoint's tensor of this name, whatever stands before it, the outermost first.
    pub fn shape(&self, name: &str) -> Option<Vec<u64>> {
        let is = |held: &str| {
            held.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
        };
        let tensor = self.checkpoint?.tensors.iter().find(|tensor| is(&tensor.name))?;
        Some(tensor.shape().ne().iter().rev().copied().collect())
    }

    /// The numbers that the checkpoint keeps in the tensor of this name, whatever stands before it.
    pub fn numbers(&self, name: &str) -> Result<Option<Vec<f32>>> {
        let tensors = self.checkpoint.into_iter().flat_map(|checkpoint| &checkpoint.tensors);
        let Some(tensor) = tensors.into_iter().find(|tensor| tensor.name.ends_with(name)) else {
            return Ok(None);
        };
        let (rows, row) = (tensor.shape().rows() as usize, tensor.row_elements()?);
        let mut values = vec![0.0; rows.saturating_mul(row)];
        tensor.decode_rows(0..rows, &mut values)?;
        Ok(Some(values))
    }

    /// The whole numbers that the checkpoint keeps in the tensor of this name, whatever stands before it.
    pub fn whole_numbers(&self, name: &str) -> Result<Option<Vec<u64>>> {
        let tensors = self.checkpoint.into_iter().flat_map(|checkpoint| &checkpoint.tensors);
        let Some(tensor) = tensors.into_iter().find(|tensor| tensor.name.ends_with(name)) else {
            return Ok(None);
        };
        let wrong = |found: String| {
            let error = Error::invalid("the tensor does not hold what is read from it").tensor(&tensor.name);
            error.expected("whole numbers from 0 on, in i64").found(found)
        };
        if tensor.dtype() != DType::I64 {
            return Err(wrong(tensor.dtype().to_string()));
        }
        tensor.with_rows(0..tensor.shape().rows() as usize, |bytes| {
            let numbers = bytes.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
            let all = numbers.map(|n| u64::try_from(n).map_err(|_| wrong(n.to_string())));
            all.collect::<Result<_>>().map(Some)
        })
    }

    /// With a size that the config does not decide.
    pub fn with(mut self, axis: &'static str, size: u64) -> Params<'a> {
        self.known.insert(axis, size);
        self
    }

    /// Whether the family has an axis of this name.
    pub fn knows(&self, axis: &str) -> bool {
        self.axis(axis).is_some()
    }

    /// Whether the size of the axis was decided otherwise than by the config.
    pub fn is_given(&self, axis: &str) -> bool {
        self.known.contains_key(axis)
    }

    /// Tells the user something.
    pub fn tell(&self, sentence: String) {
        let mut told = self.told.borrow_mut();
        if !told.contains(&sentence) {
            told.push(sentence);
        }
    }

    /// What was told.
    pub fn told(&self) -> Vec<String> {
        self.told.take()
    }

    /// The size of axis `name` in this layer.
    ///
    /// # Errors
    /// The config does not tell it, or it is impossible.
    pub fn size(&self, name: &str, layer: u32) -> Result<u64> {
        if let Some(known) = self.known.get(name) {
            return Ok(*known);
        }
        let Some(axis) = self.axis(name) else {
            return Err(self.config.missing(name, "the size of an axis"));
        };
        self.evaluate(axis, &axis.size, layer)
    }

    /// The size of axis `name` in this layer as it is written to a GGUF.
    pub fn count(&self, name: &str, layer: u32) -> Result<u32> {
        let size = self.size(name, layer)?;
        u32::try_from(size).map_err(|_| self.config.wrong(name, "a size of 32 bits").found(size))
    }

    /// Refuses sizes that are there but impossible.
    pub fn check(&self) -> Result<()> {
        for axis in self.axes {
            if self.is_told(axis) {
                self.size(axis.name, 0)?;
            }
        }
        Ok(())
    }

    fn axis(&self, name: &str) -> Option<&'static Axis> {
        self.axes.iter().copied().find(|axis| axis.name == name)
    }

    /// Whether the config holds all that the axis comes from.
    fn is_told(&self, axis: &Axis) -> bool {
        let other =
            |name: &str| self.known.contains_key(name) || self.axis(name).is_some_and(|a| self.is_told(a));
        match &axis.size {
            Size::Is(_) => true,
            Size::Of(keys) => self.config.first(keys).is_some(),
            Size::Or(keys, Size::Same(name)) => self.config.first(keys).is_some() || other(name),
            Size::Or(keys, Size::Div(a, b) | Size::Mul(a, b) | Size::Add(a, b) | Size::Sub(a, b)) => {
                self.config.first(keys).is_some() || other(a) && other(b)
            }
            Size::Or(keys, _) => self.config.first(keys).is_some(),
            Size::Same(name) => other(name),
            Size::Div(a, b) | Size::Mul(a, b) | Size::Add(a, b) | Size::Sub(a, b) => other(a) && other(b),
            Size::Make(_) => false,
        }
    }

    fn evaluate(&self, axis: &Axis, size: &Size, layer: u32) -> Result<u64> {
        let two = |a: &str, b: &str| Ok((self.size(a, layer)?, self.size(b, layer)?));
        let wrong = |name: &str| self.config.wrong(&self.label(name), "a possible size");
        match size {
            Size::Is(n) => Ok(*n),
            Size::Of(keys) => match self.config.first(keys) {
                Some(key) => self.of(key, layer),
                None => Err(self.config.missing(keys.first().unwrap_or(&axis.name), super::config::COUNT)),
            },
            Size::Or(keys, other) => match self.config.first(keys) {
                Some(key) => self.of(key, layer),
                None => self.evaluate(axis, other, layer),
            },
            Size::Same(name) => self.size(name, layer),
            Size::Div(a, b) => {
                let (n, by) = two(a, b)?;
                n.checked_div(by).filter(|q| q * by == n).ok_or_else(|| self.undivided(axis, a, layer))
            }
            Size::Mul(a, b) => {
                let (n, m) = two(a, b)?;
                n.checked_mul(m).ok_or_else(|| wrong(a).found(n))
            }
            Size::Add(a, b) => {
                let (n, m) = two(a, b)?;
                n.checked_add(m).ok_or_else(|| wrong(a).found(n))
            }
            Size::Sub(a, b) => {
                let (n, m) = two(a, b)?;
                n.checked_sub(m).ok_or_else(|| wrong(a).found(n))
            }
            Size::Make(make) => {
                let known = self.made.borrow().get(&(axis.name, layer)).copied();
                let made = known.map_or_else(|| make(self, layer), Ok)?;
                self.made.borrow_mut().insert((axis.name, layer), made);
                Ok(made)
            }
        }
    }

    fn of(&self, key: &str, layer: u32) -> Result<u64> {
        match self.config.get(key) {
            Some(Json::Array(_)) => self.config.whole_at(key, layer).map(|n| n.unwrap_or_default().into()),
            _ => self.config.count(key).map(u64::from),
        }
    }

    /// The error for a size that does not divide.
    fn undivided(&self, axis: &Axis, numerator: &str, layer: u32) -> Error {
        let (blamed, expected) = axis.blame.unwrap_or((numerator, "a size that divides"));
        let mut expected = expected.to_string();
        for other in self.axes {
            let place = format!("{{{}}}", other.name);
            if expected.contains(&place) {
                let size = self.size(other.name, layer).map_or(String::from("?"), |n| n.to_string());
                expected = expected.replace(&place, &size);
            }
        }
        let found = self.size(blamed, layer).map_or(String::from("nothing"), |n| n.to_string());
        self.config.wrong(&self.cause(blamed), &expected).found(found)
    }

    /// The sizes of these axes in this layer.
    pub fn sizes(&self, names: &[&'static str], layer: u32) -> Result<Sizes> {
        names.iter().map(|name| Ok((*name, self.size(name, layer)?))).collect()
    }

    /// The key of the config that decides an axis here.
    fn cause(&self, name: &str) -> String {
        match self.axis(name).map(|axis| &axis.size) {
            Some(Size::Or(keys, Size::Div(a, _))) if self.config.first(keys).is_none() => self.cause(a),
            Some(Size::Div(a, _)) => self.cause(a),
            _ => self.label(name),
        }
    }

    /// The keys of the config that an axis is told by; empty for one that is always the same.
    fn label(&self, name: &str) -> String {
        let Some(axis) = self.axis(name) else { return name.to_string() };
        match &axis.size {
            Size::Is(_) => String::new(),
            Size::Of(keys) | Size::Or(keys, _) => {
                self.config.first(keys).or(keys.first().copied()).unwrap_or(name).to_string()
            }
            Size::Same(other) | Size::Div(other, _) => self.label(other),
            Size::Mul(a, b) => format!("{} * {}", self.label(a), self.label(b)),
            Size::Add(a, b) => format!("{} + {}", self.summand(a), self.summand(b)),
            Size::Sub(a, b) => format!("{} - {}", self.label(a), self.label(b)),
            Size::Make(_) => name.to_string(),
        }
    }

    /// The same, or the number itself.
    fn summand(&self, name: &str) -> String {
        match self.axis(name).map(|axis| &axis.size) {
            Some(Size::Is(n)) => n.to_string(),
            _ => self.label(name),
        }
    }

    /// The keys of the config that decide a dimension.
    pub fn keys(&self, term: &Term) -> String {
        let join = |terms: &[Term], between: &str| {
            let all: Vec<String> = terms.iter().map(|t| self.keys(t)).filter(|k| !k.is_empty()).collect();
            all.join(between)
        };
        match term {
            Term::One => String::from("1"),
            Term::Axis(name) => self.label(name),
            Term::Product(terms) => join(terms, " * "),
            Term::Parts(terms) => join(terms, " + "),
        }
    }
}
