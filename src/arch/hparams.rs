//! `config.json` read with care: every value typed and checked, every error naming the key, what was expected
//! and what was found; and the hyperparameters that all transformers share, with their GGUF keys.
//! A key that is absent has the default of its `model_type`, as `AutoConfig` fills it in.
//! Specification: `TextModel.set_gguf_parameters` of llama.cpp's converter; `gguf.constants.Keys`.

use super::rope::Rope;
use ggraft_formats::{Checkpoint, Error, Metadata, Result};
use serde_json::Value;
use std::path::PathBuf;

/// What transformers assumes for the absent keys of one `model_type`.
pub struct Defaults {
    pub model_type: &'static str,
    pub values: &'static [(&'static str, f64)],
}

/// `config.json`, or an object in it.
pub struct Config {
    file: PathBuf,
    /// The keys that lead here, such as `rope_scaling.`; empty at the top.
    path: String,
    json: Value,
    defaults: &'static [(&'static str, f64)],
}

impl Config {
    /// The `config.json` of `checkpoint`, which must be there.
    pub fn open(checkpoint: &Checkpoint) -> Result<Config> {
        let file = checkpoint.dir.join("config.json");
        let json = checkpoint.required_json("config.json")?;
        if json.is_object() {
            return Ok(Config { file, path: String::new(), json, defaults: &[] });
        }
        let error = Error::invalid("this is no model config").file(&file).expected("a JSON object");
        Err(error.found(brief(&json)))
    }

    /// The same config with the defaults of its `model_type`, if they are known.
    pub fn with_defaults(mut self, known: &'static [Defaults]) -> Result<Config> {
        let model_type = self.text("model_type")?;
        self.defaults = known.iter().find(|d| model_type == Some(d.model_type)).map_or(&[], |d| d.values);
        Ok(self)
    }

    /// The whole of it.
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// The value of `key`; null is as good as absent.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.json.get(key).filter(|v| !v.is_null())
    }

    /// A whole number from 1 to `u32::MAX`, or its default.
    pub fn count(&self, key: &str) -> Result<u32> {
        match (self.optional_count(key)?, self.default(key)) {
            (Some(n), _) => Ok(n),
            (None, Some(n)) => Ok(n as u32),
            (None, None) => Err(self.missing(key, COUNT)),
        }
    }

    /// A whole number from 1 to `u32::MAX`.
    pub fn optional_count(&self, key: &str) -> Result<Option<u32>> {
        let count = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
        self.typed(key, COUNT, count)
    }

    /// A positive number that f32 can hold, or its default.
    pub fn number(&self, key: &str) -> Result<f64> {
        let number = |v: &Value| v.as_f64().filter(|x| *x as f32 > 0.0 && (*x as f32).is_finite());
        match (self.typed(key, NUMBER, number)?, self.default(key)) {
            (Some(x), _) | (None, Some(x)) => Ok(x),
            (None, None) => Err(self.missing(key, NUMBER)),
        }
    }

    /// Any number that f32 can hold.
    pub fn optional_number(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a number", |v| v.as_f64().filter(|x| (*x as f32).is_finite()))
    }

    /// A truth value; absent is false.
    pub fn flag(&self, key: &str) -> Result<bool> {
        Ok(self.typed(key, "true or false", Value::as_bool)?.unwrap_or(false))
    }

    pub fn text(&self, key: &str) -> Result<Option<&str>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(key, "a string").found(brief(other))),
        }
    }

    /// The object under `key`; an empty one is as good as absent.
    pub fn section(&self, key: &str) -> Result<Option<Config>> {
        let path = format!("{}{key}.", self.path);
        let object = self.typed(key, "an object", |v| v.is_object().then(|| v.clone()))?;
        let section = |json| Config { file: self.file.clone(), path, json, defaults: &[] };
        Ok(object.filter(|json| json.as_object().is_some_and(|o| !o.is_empty())).map(section))
    }

    /// An error about `key`.
    pub fn wrong(&self, key: &str, expected: &str) -> Error {
        Error::invalid(format!("'{}{key}' is wrong", self.path)).file(&self.file).expected(expected)
    }

    /// Refuses a value of `key` that is well-formed but not covered.
    pub fn unsupported(&self, key: &str) -> Error {
        Error::unsupported(format!("'{}{key}' is not covered", self.path)).file(&self.file)
    }

    fn typed<T>(&self, key: &str, expected: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.wrong(key, expected).found(brief(value)))
    }

    fn default(&self, key: &str) -> Option<f64> {
        self.defaults.iter().find(|(k, _)| *k == key).map(|(_, v)| *v)
    }

    fn missing(&self, key: &str, expected: &str) -> Error {
        let error = Error::invalid(format!("'{}{key}' is missing", self.path)).file(&self.file);
        error.expected(expected).mend("take the config.json that belongs to these weights")
    }
}

const COUNT: &str = "a whole number of at least 1";
const NUMBER: &str = "a positive number";

/// A JSON value, short enough for an error.
pub fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The hyperparameters that all transformers share.
pub struct Hparams {
    pub block_count: u32,
    pub context_length: u32,
    pub embedding_length: u32,
    pub feed_forward_length: u32,
    pub head_count: u32,
    pub head_count_kv: u32,
    /// Elements of a head, even.
    pub head_dim: u32,
    pub vocab_size: u32,
    pub rms_epsilon: f64,
    pub rope: Rope,
    /// Whether the token embedding serves as the output matrix too.
    pub tied: bool,
    pub attention_bias: bool,
    pub mlp_bias: bool,
}

impl Hparams {
    /// Reads them from `config`; what is legal but lossy goes to `warnings`.
    pub fn read(config: &Config, warnings: &mut Vec<String>) -> Result<Hparams> {
        let head_count = config.count("num_attention_heads")?;
        let embedding_length = config.count("hidden_size")?;
        let head_count_kv = match config.default("num_key_value_heads") {
            Some(_) => config.count("num_key_value_heads")?,
            None => config.optional_count("num_key_value_heads")?.unwrap_or(head_count),
        };
        if !head_count.is_multiple_of(head_count_kv) {
            let wrong = config.wrong("num_key_value_heads", &format!("a divisor of {head_count} heads"));
            return Err(wrong.found(head_count_kv));
        }
        Ok(Hparams {
            block_count: config.count("num_hidden_layers")?,
            context_length: config.count("max_position_embeddings")?,
            embedding_length,
            feed_forward_length: config.count("intermediate_size")?,
            head_count,
            head_count_kv,
            head_dim: head_dim(config, embedding_length, head_count)?,
            vocab_size: config.count("vocab_size")?,
            rms_epsilon: config.number("rms_norm_eps")?,
            rope: Rope::read(config, warnings)?,
            tied: config.flag("tie_word_embeddings")?,
            attention_bias: config.flag("attention_bias")?,
            mlp_bias: config.flag("mlp_bias")?,
        })
    }

    /// Their keys under `arch`, in the converter's order.
    pub fn metadata(&self, arch: &str) -> Metadata {
        let mut metadata = Metadata::new();
        for (key, value) in [
            ("block_count", self.block_count),
            ("context_length", self.context_length),
            ("embedding_length", self.embedding_length),
            ("feed_forward_length", self.feed_forward_length),
            ("attention.head_count", self.head_count),
            ("attention.head_count_kv", self.head_count_kv),
        ] {
            metadata.set(&format!("{arch}.{key}"), value);
        }
        self.rope.describe(arch, &mut metadata);
        metadata.set(&format!("{arch}.attention.layer_norm_rms_epsilon"), self.rms_epsilon as f32);
        metadata.set(&format!("{arch}.attention.key_length"), self.head_dim);
        metadata.set(&format!("{arch}.attention.value_length"), self.head_dim);
        metadata
    }
}

/// `head_dim`, else the share of each head in the embedding.
fn head_dim(config: &Config, embedding_length: u32, head_count: u32) -> Result<u32> {
    let (key, head_dim) = match config.optional_count("head_dim")? {
        Some(n) => ("head_dim", n),
        None if embedding_length.is_multiple_of(head_count) => ("hidden_size", embedding_length / head_count),
        None => {
            let expected = format!("a multiple of {head_count} heads, as 'head_dim' is absent");
            return Err(config.wrong("hidden_size", &expected).found(embedding_length));
        }
    };
    if head_dim.is_multiple_of(2) {
        return Ok(head_dim);
    }
    Err(config.wrong(key, "heads of an even size, because they rotate in pairs").found(head_dim))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config(json: Value) -> Config {
        Config { file: "config.json".into(), path: String::new(), json, defaults: &[("a", 7.0)] }
    }

    #[test]
    fn errors_name_the_key_and_the_value() {
        let c = config(json!({"heads": 0, "layers": "3", "big": 4294967296u64, "x": -1.5, "o": {"y": true}}));
        for (error, text) in [
            (c.count("heads").err(), "'heads' is wrong: expected a whole number of at least 1, found 0"),
            (
                c.count("layers").err(),
                "'layers' is wrong: expected a whole number of at least 1, found \"3\"",
            ),
            (c.count("big").err(), "found 4294967296"),
            (c.count("none").err(), "'none' is missing"),
            (c.number("x").err(), "expected a positive number, found -1.5"),
            (c.flag("x").err(), "expected true or false, found -1.5"),
            (c.section("o").unwrap().unwrap().number("y").err(), "'o.y' is wrong"),
        ] {
            let error = error.unwrap().to_string();
            assert!(error.starts_with("config.json: ") && error.contains(text), "{error}");
        }
    }

    #[test]
    fn absent_and_null_have_the_default() {
        assert_eq!(config(json!({})).count("a").unwrap(), 7);
        assert_eq!(config(json!({"a": null})).count("a").unwrap(), 7);
        assert_eq!(config(json!({"a": 8})).count("a").unwrap(), 8);
    }
}
