//! `config.json` read with care: every value typed and checked, every error naming the key, what was expected
//! and what was found. Keys that are absent have the defaults of their `model_type`, as transformers' `AutoConfig`
//! fills them in; the text model's section (`text_config` and its other names) is laid over the root.
//! Specification: `ModelBase.load_hparams`, `TextModel.__init__` of llama.cpp's converter.

use super::families::ARCHS;
use super::{beside, defaults, native};
use ggraft_formats::{Checkpoint, Error, Result};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::path::{Path, PathBuf};

/// Where a multimodal model keeps what it says of its text model, in the order in which the converter looks.
pub const TEXT: &[&[&str]] = &[
    &["lfm"],
    &["language_config"],
    &["thinker_config", "text_config"],
    &["lm_config"],
    &["llm_config"],
    &["text_config"],
    &["talker_config"],
];

/// The key of a talker's section that counts its tokens of text: `vocab_size` there counts its codes.
const TALKED: &str = "text_vocab_size";

/// Where drafts of the library speculators keep what they say of their layers; no defaults are filled in there.
const LAYERS: &str = "transformer_layer_config";

/// Sections of what sees or hears under other names, and what pages call them.
const LIFTED: &[(&str, &str)] = &[
    ("thinker_config.vision_config", "vision_config"),
    ("thinker_config.audio_config", "audio_config"),
    ("whisper_config", "audio_config"),
    ("speech_config", "audio_config"),
];

/// The key that says whether the head is the table of tokens.
pub const TIED: &str = "tie_word_embeddings";

/// Classes that say more of a text model than its own section does.
const WHOLE: &[&str] = &[
    "StepVLForConditionalGeneration",
    "Step3p7ForConditionalGeneration",
    "Sarashina2VisionForCausalLM",
    "Exaone4_5_ForConditionalGeneration",
    "DeepseekOCRForCausalLM",
    "DeepseekOCR2ForCausalLM",
    "UnlimitedOCRForCausalLM",
];

/// `config.json`, or an object in it.
pub struct Config {
    file: PathBuf,
    /// The keys that lead here, such as `rope_scaling.`; empty at the top.
    path: String,
    /// With all defaults, sections laid over the root.
    json: Value,
    /// As it is in the file.
    raw: Value,
    /// The keys that were asked for.
    asked: RefCell<Vec<String>>,
}

impl Config {
    /// The `config.json` of `checkpoint`, which must be there.
    pub fn open(checkpoint: &Checkpoint) -> Result<Config> {
        if let Some(params) = native::params(checkpoint)? {
            return Config::new(checkpoint.dir.join(native::FILE), params);
        }
        let (file, told) = Config::told(checkpoint)?;
        Config::new(file, told)
    }

    /// What `config.json` says, or, of a page whose checkpoints have none, what the tensors tell.
    fn told(checkpoint: &Checkpoint) -> Result<(PathBuf, Value)> {
        let mut untold = ARCHS.iter().filter_map(|arch| arch.untold);
        let is_there = |name: &str| checkpoint.tensors.iter().any(|tensor| tensor.name == name);
        match untold.find(|(name, _)| !checkpoint.has("config.json") && is_there(name)) {
            Some((_, tell)) => Ok((checkpoint.dir.clone(), tell(checkpoint)?)),
            None => Ok((checkpoint.dir.join("config.json"), checkpoint.required_json("config.json")?)),
        }
    }

    /// What `file` holds.
    pub fn new(file: PathBuf, raw: Value) -> Result<Config> {
        let Some(root) = raw.as_object() else {
            let error = Error::invalid("this is no model config").file(&file).expected("a JSON object");
            return Err(error.found(brief(&raw)));
        };
        let json = Value::Object(merged(root));
        Ok(Config { file, path: String::new(), json, raw, asked: RefCell::default() })
    }

    /// Where it lies.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// As it is in the file.
    pub fn raw(&self) -> &Value {
        &self.raw
    }

    /// Whether the model is a part of one that sees or hears.
    pub fn is_part(&self) -> bool {
        let beside = |section: &&str| self.raw.get(section).is_some_and(Value::is_object);
        text_section(self.raw.as_object()).is_some() || ["vision_config", "audio_config"].iter().any(beside)
    }

    /// As it is in the file, but for the class, which is that of the text model.
    pub fn spoken(&self) -> Result<Value> {
        let mut told = self.raw.clone();
        told["architectures"] = serde_json::json!([self.class()?]);
        Ok(told)
    }

    /// The model's class: `architectures` of the text model, else of the whole; of some models always of the whole.
    pub fn class(&self) -> Result<&str> {
        let whole = self.raw.get("architectures").and_then(|classes| classes.get(0)?.as_str());
        if let Some(whole) = whole.filter(|class| WHOLE.contains(class)) {
            return Ok(whole);
        }
        let section = text_section(self.raw.as_object()).and_then(|s| s.get("architectures"));
        let classes = section.filter(|v| !v.is_null()).or_else(|| self.raw.get("architectures"));
        let classes = classes.filter(|v| !v.is_null());
        classes.and_then(|classes| classes.get(0)?.as_str()).ok_or_else(|| {
            Error::invalid("'architectures' does not name the model's class")
                .file(&self.file)
                .expected("a list of names, such as [\"LlamaForCausalLM\"]")
                .found(classes.map_or(String::from("nothing"), brief))
        })
    }

    /// That of what sees and hears in `checkpoint`: the root and its sections as they are told, each with its defaults, and
    /// how images and sounds are prepared as a section of its own. A key of a section is `section.key`.
    pub fn of_projector(checkpoint: &Checkpoint) -> Result<Config> {
        let (file, told) = Config::told(checkpoint)?;
        let raw = beside::with_towers(checkpoint, told)?;
        Config::seeing(file, raw, beside::prepared(checkpoint)?)
    }

    /// The same of what `file` holds, and of how images and sounds are prepared.
    pub fn seeing(file: PathBuf, raw: Value, prepared: Value) -> Result<Config> {
        let mut config = Config::new(file, raw)?;
        let Some(root) = config.raw.as_object() else { return Ok(config) };
        let mut all = defaults::nested(root);
        if let Some(text) = text_section(Some(root)) {
            all.insert(String::from("text_config"), Value::Object(defaults::filled(text)));
        }
        for (path, name) in LIFTED {
            let section = path.split('.').try_fold(None, |at: Option<&Value>, key| {
                at.map_or_else(|| all.get(key), |section| section.get(key)).map(Some)
            });
            if let (Some(Some(section)), false) = (section, all.contains_key(*name)) {
                let section = section.clone();
                all.insert(String::from(*name), section);
            }
        }
        all.insert(beside::PREPARED.into(), prepared);
        config.json = Value::Object(all);
        Ok(config)
    }

    /// The model's class where it sees or hears: that of its section, else of the whole.
    pub fn projector_class(&self) -> Option<&str> {
        let first = |of: &Value| of.get("architectures").and_then(|all| all.get(0)).is_some();
        let section = self.raw.get("vision_config").filter(|section| first(section));
        section.unwrap_or(&self.raw).get("architectures")?.get(0)?.as_str()
    }

    /// The value of `key`, or of `section.key`; null is as good as absent.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.ask(key);
        let nested = || key.split('.').try_fold(&self.json, |value, part| value.get(part));
        self.json.get(key).or_else(nested).filter(|v| !v.is_null())
    }

    /// The keys that have a value, without those of sections.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.json.as_object().into_iter().flatten().map(|(key, _)| key.as_str())
    }

    fn ask(&self, key: &str) {
        let mut asked = self.asked.borrow_mut();
        if asked.iter().all(|known| known != key) {
            asked.push(key.to_string());
        }
    }

    /// The keys that were asked for so far, each once.
    pub fn asked(&self) -> Vec<String> {
        self.asked.borrow().clone()
    }

    /// The first of these keys that is there.
    pub fn first<'a>(&self, keys: &[&'a str]) -> Option<&'a str> {
        keys.iter().copied().find(|key| self.get(key).is_some())
    }

    /// A whole number from 1 to `u32::MAX`.
    pub fn count(&self, key: &str) -> Result<u32> {
        self.optional_count(key)?.ok_or_else(|| self.missing(key, COUNT))
    }

    /// A whole number from 1 to `u32::MAX`.
    pub fn optional_count(&self, key: &str) -> Result<Option<u32>> {
        self.typed(key, COUNT, |v| count(v).filter(|n| *n > 0))
    }

    /// A whole number up to `u32::MAX`, zero too: of a list the one of this layer.
    pub fn whole_at(&self, key: &str, layer: u32) -> Result<Option<u32>> {
        self.typed(key, "a whole number, or one a layer", |v| match v {
            Value::Array(all) => all.get(layer as usize).and_then(count),
            one => count(one),
        })
    }

    /// A positive number that f32 can hold.
    pub fn number(&self, key: &str) -> Result<f64> {
        let number = |v: &Value| v.as_f64().filter(|x| *x as f32 > 0.0 && (*x as f32).is_finite());
        self.typed(key, NUMBER, number)?.ok_or_else(|| self.missing(key, NUMBER))
    }

    /// Any number that f32 can hold.
    pub fn optional_number(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a number", |v| v.as_f64().filter(|x| (*x as f32).is_finite()))
    }

    /// A truth value; absent is false.
    pub fn flag(&self, key: &str) -> Result<bool> {
        Ok(self.optional_flag(key)?.unwrap_or(false))
    }

    pub fn optional_flag(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "true or false", Value::as_bool)
    }

    pub fn text(&self, key: &str) -> Result<Option<&str>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(key, "a string").found(brief(other))),
        }
    }

    /// A list of whole numbers.
    pub fn wholes(&self, key: &str) -> Result<Option<Vec<i32>>> {
        self.typed(key, "a list of whole numbers", |v| {
            v.as_array()?.iter().map(|n| n.as_i64().and_then(|n| i32::try_from(n).ok())).collect()
        })
    }

    /// A list of texts; of a scalar a list of one.
    pub fn texts(&self, key: &str) -> Result<Option<Vec<&str>>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let all = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        let texts: Option<Vec<&str>> = all.iter().map(Value::as_str).collect();
        texts.map(Some).ok_or_else(|| self.wrong(key, "a list of strings").found(brief(value)))
    }

    /// The object under `key`; an empty one is as good as absent.
    pub fn section(&self, key: &str) -> Result<Option<Config>> {
        let path = format!("{}{key}.", self.path);
        let object = self.typed(key, "an object", |v| v.is_object().then(|| v.clone()))?;
        let asked = RefCell::default();
        let section = |json: Value| Config { file: self.file.clone(), path, raw: json.clone(), json, asked };
        Ok(object.filter(|json| json.as_object().is_some_and(|o| !o.is_empty())).map(section))
    }

    /// An error about `key`.
    pub fn wrong(&self, key: &str, expected: &str) -> Error {
        let (file, key) = self.told_in(key);
        Error::invalid(format!("'{}{key}' is wrong", self.path)).file(&file).expected(expected)
    }

    /// The file that tells `key`, and what it is called there.
    fn told_in<'k>(&self, key: &'k str) -> (PathBuf, &'k str) {
        match beside::told_in(key) {
            Some((file, own)) => (self.file.with_file_name(file), own),
            None => (self.file.clone(), key),
        }
    }

    /// Refuses a value of `key` that is well-formed but not covered.
    pub fn unsupported(&self, key: &str) -> Error {
        let (file, key) = self.told_in(key);
        Error::unsupported(format!("'{}{key}' is not covered", self.path)).file(&file)
    }

    /// The error for a `key` that is not there.
    pub fn missing(&self, key: &str, expected: &str) -> Error {
        let (file, key) = self.told_in(key);
        let name = file.file_name().unwrap_or_default().display().to_string();
        let error = Error::invalid(format!("'{}{key}' is missing", self.path)).file(&file);
        error.expected(expected).hint(format!("take the {name} that belongs to these weights"))
    }

    fn typed<T>(&self, key: &str, expected: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.wrong(key, expected).found(brief(value)))
    }
}

pub const COUNT: &str = "a whole number of at least 1";
pub const NUMBER: &str = "a positive number";

fn count(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|n| u32::try_from(n).ok())
}

/// A JSON value, short enough for an error.
pub fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// What a multimodal model says of its text model. Of several places the last one counts.
fn text_section(root: Option<&Map<String, Value>>) -> Option<&Map<String, Value>> {
    let at = |path: &&[&str]| path.iter().try_fold(root?, |object, key| object.get(*key)?.as_object());
    TEXT.iter().find_map(at)
}

/// The root with its defaults, and the text model's section with its own laid over it.
fn merged(root: &Map<String, Value>) -> Map<String, Value> {
    let mut all = defaults::filled(root);
    if let Some(section) = text_section(Some(root)) {
        let mut section = defaults::filled(section);
        if let Some(tokens) = section.get(TALKED).cloned() {
            section.insert("vocab_size".into(), tokens);
        }
        all.extend(section.into_iter().filter(|(_, value)| !value.is_null()));
        // The whole decides whether its head is the table of embeddings.
        if root.get(TIED) == Some(&Value::Bool(true)) {
            all.insert(TIED.into(), true.into());
        }
    }
    if let Some(section) = root.get(LAYERS).and_then(Value::as_object) {
        let own = section.iter().filter(|(key, value)| *key != "architectures" && !value.is_null());
        all.extend(own.map(|(key, value)| (key.clone(), value.clone())));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config(json: Value) -> Config {
        Config::new("config.json".into(), json).unwrap()
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
    fn absent_keys_have_the_default_of_their_model_type() {
        let layers = |json: Value| config(json).count("num_hidden_layers").ok();
        assert_eq!(layers(json!({"model_type": "llama"})), Some(32));
        assert_eq!(layers(json!({"model_type": "llama", "num_hidden_layers": 8})), Some(8));
        assert_eq!(layers(json!({"model_type": "nobody knows"})), None);
    }

    #[test]
    fn a_whole_that_is_tied_ties_its_text_model() {
        let tied = |whole: bool, part: bool| {
            let c =
                config(json!({"tie_word_embeddings": whole, "text_config": {"tie_word_embeddings": part}}));
            c.flag("tie_word_embeddings").unwrap()
        };
        assert!(tied(true, false) && tied(false, true) && !tied(false, false));
    }

    #[test]
    fn the_text_models_section_lies_over_the_root() {
        let c = config(json!({"architectures": ["Outer"], "vocab_size": 9, "hidden_size": 3,
            "text_config": {"model_type": "llama", "hidden_size": 5, "architectures": ["Inner"]}}));
        assert_eq!((c.count("hidden_size").unwrap(), c.count("num_hidden_layers").unwrap()), (5, 32));
        assert_eq!(c.class().unwrap(), "Inner");
    }
}
