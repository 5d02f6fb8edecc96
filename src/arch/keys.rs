//! The hyperparameters of a GGUF, told by a table: for each key where its value comes from and what happens if that is
//! absent. `TRANSFORMER` are the keys that every decoder shares, in the converter's order.
//! Specification: `TextModel.set_gguf_parameters` of llama.cpp's converter; `gguf.constants.Keys`.

use super::config::{Config, brief};
use super::params::Params;
use super::rope;
use ggraft_formats::{Array, Metadata, Result, Value};
use serde_json::Value as Json;

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
