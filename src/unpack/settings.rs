//! What a checkpoint says of its packing: the method and its settings, from the places where tools write them.

use ggraft_formats::{Checkpoint, Error, Result};
use serde_json::Value;
use std::collections::HashMap;
use std::path::PathBuf;

/// What is said of the packing, and where.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub file: PathBuf,
    /// The key that holds it; empty for the file itself.
    pub key: String,
    /// In lower case.
    pub method: String,
    pub json: Value,
    /// All that config.json says.
    pub model: Value,
    /// What ModelOpt says in a file of its own.
    pub own: Value,
    /// What the headers of the files say, where the method has them say something.
    pub told: HashMap<String, String>,
}

/// Where tools write it, in the order in which they are believed.
const PLACES: [&[&str]; 6] = [
    &["quantization_config"],
    &["text_config", "quantization_config"],
    &["llm_config", "quantization_config"],
    &["language_config", "quantization_config"],
    &["compression_config"],
    &["quantization"],
];

impl Settings {
    /// What the checkpoint says, if it says anything.
    pub fn of(checkpoint: &Checkpoint) -> Result<Option<Settings>> {
        const MODELOPT: &str = "hf_quant_config.json";
        let beside = checkpoint.json(MODELOPT)?;
        let own =
            beside.as_ref().and_then(|config| config.get("quantization")).cloned().unwrap_or(Value::Null);
        if let Some(config) = checkpoint.json("config.json")? {
            for path in PLACES {
                let found = path.iter().try_fold(&config, |object, key| object.get(*key));
                let Some(json) = found.filter(|v| v.as_object().is_some_and(|o| !o.is_empty())) else {
                    continue;
                };
                let key = path.join(".");
                let method = method(json, path[path.len() - 1]);
                let file = checkpoint.dir.join("config.json");
                let (json, told) = (json.clone(), HashMap::new());
                return Ok(Some(Settings { file, key, method, json, model: config, own, told }));
            }
        }
        let Some(config) = beside else { return Ok(None) };
        let producer = config["producer"]["name"].as_str().unwrap_or("modelopt");
        let (file, method) = (checkpoint.dir.join(MODELOPT), producer.to_lowercase());
        Ok(Some(Settings { file, method, json: own.clone(), own, ..Settings::default() }))
    }

    /// The name of the file that says so, and the key.
    pub fn place(&self) -> (String, &str) {
        let file = self.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (file, if self.key.is_empty() { "the file" } else { &self.key })
    }

    /// What ModelOpt says of modules: the config, if it says all, else its own file before that, as the converter believes them.
    pub fn of_modules(&self, key: &str) -> Option<&Value> {
        let says_all = ["quant_algo", "quantized_layers"].iter().all(|key| self.json.get(key).is_some());
        self.own.get(key).filter(|_| !says_all).or_else(|| self.json.get(key))
    }

    /// A whole number.
    pub fn number(&self, key: &str) -> Result<Option<u64>> {
        self.typed(key, "a whole number", Value::as_u64)
    }

    pub fn text(&self, key: &str) -> Result<Option<&str>> {
        match self.json.get(key).filter(|v| !v.is_null()) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or_else(|| self.wrong(key, "a string")),
        }
    }

    /// The error for a value.
    pub fn wrong(&self, key: &str, expected: &str) -> Error {
        let found = self.json.get(key).map_or(String::from("nothing"), Value::to_string);
        Error::invalid(format!("'{key}' of the quantization is wrong"))
            .file(&self.file)
            .expected(expected)
            .found(found.chars().take(60).collect::<String>())
    }

    fn typed<T>(&self, key: &str, expected: &str, read: fn(&Value) -> Option<T>) -> Result<Option<T>> {
        match self.json.get(key).filter(|v| !v.is_null()) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.wrong(key, expected)),
        }
    }
}

/// The name of the method: MLX does not tell its own.
fn method(json: &Value, key: &str) -> String {
    let text = |key: &str| json.get(key).and_then(Value::as_str).map(str::to_lowercase);
    let mlx = || (key.starts_with("quantization") && json.get("group_size").is_some()).then(|| "mlx".into());
    let compressed = || (json.get("config_groups").is_some()).then(|| "compressed-tensors".into());
    let found = text("quant_method").or_else(mlx).or_else(compressed).or_else(|| text("quant_algo"));
    found.unwrap_or_else(|| String::from("an unnamed method"))
}
