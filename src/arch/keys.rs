//! The hyperparameters of a GGUF, told by a table: for each key where its value comes from and what happens if that is
//! absent; and the store from which all of a family's numbers are asked (`Params`): sizes of axes, keys of the config,
//! of a layer or of all. `TRANSFORMER` are the keys that every decoder shares, in the converter's order.
//! Specification: `TextModel.set_gguf_parameters` of llama.cpp's converter; `gguf.constants.Keys`.

use super::axes::{Sizes, Term};
use super::config::{Config, brief};
use super::rope;
use ggraft_formats::{Array, Checkpoint, Metadata, Result, Value};
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

/// A key of the GGUF, without the architecture in front; `^` is a whole one.
pub struct Key {
    pub gguf: &'static str,
    pub from: From,
    /// What is done if the config does not tell it.
    pub absent: Absent,
}

/// Where the value of a key comes from. Of several keys of the config the first one counts; lists, one value a layer,
/// become arrays.
pub enum From {
    Count(&'static [&'static str]),
    Number(&'static [&'static str]),
    /// A number above zero.
    Positive(&'static [&'static str]),
    Flag(&'static [&'static str]),
    Text(&'static [&'static str]),
    /// A word that stands for a number.
    Word(&'static [&'static str], &'static [(&'static str, u32)]),
    /// The size of an axis.
    Axis(&'static str),
    /// The same for every model.
    Is(Fixed),
    /// All keys of rotary position embedding; the types of scaling that the runtime's graph can do.
    Rope(&'static [&'static str]),
    /// What no other form can say; none is left out.
    Make(fn(&Params<'_>) -> Result<Option<Value>>),
}

#[derive(Clone, Copy)]
pub enum Fixed {
    Count(u32),
    Number(f32),
    Flag(bool),
    Text(&'static str),
}

#[derive(Clone, Copy)]
pub enum Absent {
    Omit,
    Refuse,
    Is(Fixed),
}

pub const fn count(gguf: &'static str, keys: &'static [&'static str]) -> Key {
    Key { gguf, from: From::Count(keys), absent: Absent::Omit }
}

pub const fn number(gguf: &'static str, keys: &'static [&'static str]) -> Key {
    Key { gguf, from: From::Number(keys), absent: Absent::Omit }
}

pub const fn positive(gguf: &'static str, keys: &'static [&'static str]) -> Key {
    Key { gguf, from: From::Positive(keys), absent: Absent::Omit }
}

pub const fn flag(gguf: &'static str, keys: &'static [&'static str]) -> Key {
    Key { gguf, from: From::Flag(keys), absent: Absent::Omit }
}

pub const fn size(gguf: &'static str, axis: &'static str) -> Key {
    Key { gguf, from: From::Axis(axis), absent: Absent::Refuse }
}

pub const fn is(gguf: &'static str, value: Fixed) -> Key {
    Key { gguf, from: From::Is(value), absent: Absent::Omit }
}

pub const fn make(gguf: &'static str, from: fn(&Params<'_>) -> Result<Option<Value>>) -> Key {
    Key { gguf, from: From::Make(from), absent: Absent::Omit }
}

impl Key {
    /// The config must tell it.
    pub const fn must(self) -> Key {
        Key { absent: Absent::Refuse, ..self }
    }

    /// What it is if the config does not tell it.
    pub const fn or(self, value: Fixed) -> Key {
        Key { absent: Absent::Is(value), ..self }
    }

    /// Whether a value of it is told, or it must have one.
    pub fn is_there(&self, params: &Params<'_>) -> bool {
        let must =
            matches!(self.from, From::Rope(_)) || matches!(self.absent, Absent::Refuse | Absent::Is(_));
        must || matches!(self.value(params), Ok(Some(_)))
    }

    /// The whole key.
    pub fn name(&self, arch: &str) -> String {
        self.gguf.strip_prefix('^').map_or_else(|| format!("{arch}.{}", self.gguf), String::from)
    }

    /// Adds it, under `arch`, to `metadata`.
    pub fn write(&self, arch: &str, params: &Params<'_>, metadata: &mut Metadata) -> Result<()> {
        if let From::Rope(types) = self.from {
            rope::describe(params, types, arch, metadata)?;
            let told = metadata.get(&format!("{arch}.rope.freq_base")).is_some();
            return match self.absent {
                Absent::Refuse if !told => Err(params.config.missing("rope_theta", super::config::NUMBER)),
                _ => Ok(()),
            };
        }
        let value = match (self.value(params)?, self.absent) {
            (Some(value), _) => value,
            (None, Absent::Is(value)) => value.into(),
            (None, Absent::Omit) => return Ok(()),
            (None, Absent::Refuse) => return Err(self.missing(params)),
        };
        metadata.set(&self.name(arch), value);
        Ok(())
    }

    fn value(&self, params: &Params<'_>) -> Result<Option<Value>> {
        let config = params.config;
        match self.from {
            From::Count(keys) => config.first(keys).map(|key| count_of(config, key)).transpose(),
            From::Number(keys) => config.first(keys).map(|key| number_of(config, key)).transpose(),
            From::Positive(keys) => {
                config.first(keys).map(|key| config.number(key).map(|x| Value::F32(x as f32))).transpose()
            }
            From::Flag(keys) => config.first(keys).map(|key| flag_of(config, key)).transpose(),
            From::Text(keys) => {
                let text = config.first(keys).map(|key| config.text(key)).transpose()?;
                Ok(text.flatten().map(Value::from))
            }
            From::Word(keys, words) => word(config, keys, words),
            From::Axis(name) => params.size(name, 0).map(|n| Some(Value::U32(n as u32))),
            From::Is(value) => Ok(Some(value.into())),
            From::Make(make) => make(params),
            From::Rope(_) => Ok(None),
        }
    }

    fn missing(&self, params: &Params<'_>) -> ggraft_formats::Error {
        let (keys, expected) = match self.from {
            From::Count(keys) => (keys, super::config::COUNT),
            From::Number(keys) | From::Positive(keys) => (keys, super::config::NUMBER),
            From::Flag(keys) => (keys, "true or false"),
            From::Text(keys) | From::Word(keys, _) => (keys, "a string"),
            From::Axis(_) | From::Is(_) | From::Make(_) | From::Rope(_) => (&[][..], "a value"),
        };
        params.config.missing(keys.first().unwrap_or(&self.gguf), expected)
    }
}

impl std::convert::From<Fixed> for Value {
    fn from(value: Fixed) -> Value {
        match value {
            Fixed::Count(n) => Value::U32(n),
            Fixed::Number(x) => Value::F32(x),
            Fixed::Flag(b) => Value::Bool(b),
            Fixed::Text(text) => Value::from(text),
        }
    }
}

/// A whole number, or one a layer.
fn count_of(config: &Config, key: &str) -> Result<Value> {
    let expected = "a whole number, or one a layer";
    match config.get(key) {
        Some(value @ Json::Array(all)) => {
            let all: Option<Vec<i32>> =
                all.iter().map(|v| v.as_i64().and_then(|n| n.try_into().ok())).collect();
            let wrong = || config.wrong(key, expected).found(brief(value));
            all.map(|all| Value::Array(Array::I32(all))).ok_or_else(wrong)
        }
        Some(Json::Number(n)) if n.as_u64() == Some(0) => Ok(Value::U32(0)),
        _ => config.count(key).map(Value::U32),
    }
}

/// A number, or one a layer.
fn number_of(config: &Config, key: &str) -> Result<Value> {
    if let Some(value @ Json::Array(all)) = config.get(key) {
        let all: Option<Vec<f32>> =
            all.iter().map(|v| v.as_f64().map(|x| x as f32).filter(|x| x.is_finite())).collect();
        let wrong = || config.wrong(key, "numbers").found(brief(value));
        return all.map(|all| Value::Array(Array::F32(all))).ok_or_else(wrong);
    }
    let number = config.optional_number(key)?.unwrap_or_default();
    Ok(Value::F32(number as f32))
}

fn flag_of(config: &Config, key: &str) -> Result<Value> {
    if let Some(value @ Json::Array(all)) = config.get(key) {
        let all: Option<Vec<bool>> = all.iter().map(Json::as_bool).collect();
        let wrong = || config.wrong(key, "a list of true and false").found(brief(value));
        return all.map(|all| Value::Array(Array::Bool(all))).ok_or_else(wrong);
    }
    config.flag(key).map(Value::Bool)
}

fn word(config: &Config, keys: &[&str], words: &[(&str, u32)]) -> Result<Option<Value>> {
    let Some(key) = config.first(keys) else { return Ok(None) };
    let text = config.text(key)?.unwrap_or_default();
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let found = words.iter().find(|(word, _)| *word == text);
    let wrong = || config.unsupported(key).expected(format!("one of {}", known.join(", "))).found(text);
    found.map(|(_, n)| Some(Value::U32(*n))).ok_or_else(wrong)
}

/// All numbers of a model: the config's, and the sizes of the family's axes.
pub struct Params<'a> {
    pub config: &'a Config,
    axes: &'a [&'static Axis],
    /// Sizes that are known otherwise.
    known: HashMap<&'static str, u64>,
    checkpoint: Option<&'a Checkpoint>,
    /// Sizes that were made, of a layer.
    made: RefCell<HashMap<(&'static str, u32), u64>>,
    /// What a user should know, a sentence each.
    told: RefCell<Vec<String>>,
}

impl<'a> Params<'a> {
    pub fn new(config: &'a Config, axes: &'a [&'static Axis]) -> Params<'a> {
        let (made, told) = (RefCell::default(), RefCell::default());
        Params { config, axes, known: HashMap::new(), checkpoint: None, made, told }
    }

    /// Of this checkpoint.
    pub fn beside(self, checkpoint: &'a Checkpoint) -> Params<'a> {
        Params { checkpoint: Some(checkpoint), ..self }
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

    /// With a size that the config does not decide.
    pub fn with(mut self, axis: &'static str, size: u64) -> Params<'a> {
        self.known.insert(axis, size);
        self
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
    fn undivided(&self, axis: &Axis, numerator: &str, layer: u32) -> ggraft_formats::Error {
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
            Size::Add(a, b) => format!("{} + {}", self.label(a), self.label(b)),
            Size::Sub(a, b) => format!("{} - {}", self.label(a), self.label(b)),
            Size::Make(_) => name.to_string(),
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

const CONTEXT: &[&str] = &[
    "max_position_embeddings",
    "n_ctx",
    "n_positions",
    "max_length",
    "max_sequence_length",
    "model_max_length",
];
const FEED_FORWARD: &[&str] = &[
    "prefix_dense_intermediate_size",
    "dense_intermediate_size",
    "intermediate_size",
    "n_inner",
    "hidden_dim",
];
const GATING: &[&str] = &[
    "score_function",
    "scoring_func",
    "score_func",
    "moe_router_activation",
    "moe_router_activation_func",
    "expert_selection_fn",
];

/// The keys of every decoder, in the converter's order.
pub const TRANSFORMER: &[Key] = &[
    size("block_count", "l"),
    count("context_length", CONTEXT),
    count("embedding_length", &["hidden_size", "n_embd", "dim"]),
    count("feed_forward_length", FEED_FORWARD),
    count("attention.head_count", &["num_attention_heads", "n_head", "n_heads"]),
    count("attention.head_count_kv", &["num_key_value_heads", "n_kv_heads"]),
    make("attention.causal", |params| {
        let causal = params.config.optional_flag("is_causal")?;
        Ok(causal.filter(|causal| !causal).map(Value::Bool))
    }),
    Key { gguf: "rope", from: From::Rope(rope::PLAIN), absent: Absent::Omit },
    positive("attention.layer_norm_rms_epsilon", &["rms_norm_eps", "norm_eps"]),
    positive("attention.layer_norm_epsilon", &["layer_norm_eps", "layer_norm_epsilon", "norm_epsilon"]),
    count("expert_count", &["num_local_experts", "num_experts", "n_routed_experts"]),
    count("expert_used_count", &["num_experts_per_tok", "num_experts_per_token", "top_k_experts"]),
    count("expert_group_count", &["n_group"]),
    count("expert_group_used_count", &["topk_group"]),
    Key {
        gguf: "expert_gating_func",
        from: From::Word(GATING, &[("softmax", 1), ("sigmoid", 2), ("sqrtsoftplus", 4)]),
        absent: Absent::Omit,
    },
    count("attention.key_length", &["head_dim"]),
    count("attention.value_length", &["head_dim"]),
];

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
