//! `adapter_config.json`: what an adapter's tensors mean. What would change the weights and is not known here is refused
//! by its key, so that nothing is merged that means something else.
//! Specification: `LoraConfig` of peft 0.21, and what its layers do with it.

use ggraft_formats::{Checkpoint, Error, Result};
use regex::Regex;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

pub const FILE: &str = "adapter_config.json";

/// Keys that say how an adapter was trained, or found its modules; the tensors tell what came of it.
const OF_TRAINING: &[&str] = &[
    "task_type",
    "peft_type",
    "auto_mapping",
    "peft_version",
    "base_model_name_or_path",
    "base_model_class",
    "parent_library",
    "unsloth_fixed",
    "revision",
    "inference_mode",
    "target_modules",
    "exclude_modules",
    "lora_dropout",
    "bias",
    "modules_to_save",
    "layers_to_transform",
    "layers_pattern",
    "megatron_core",
    "megatron_config",
    "loftq_config",
    "eva_config",
    "runtime_config",
    "qalora_group_size",
    "ensure_weight_tying",
    // Read below.
    "r",
    "lora_alpha",
    "use_rslora",
    "use_dora",
    "lora_bias",
    "fan_in_fan_out",
    "rank_pattern",
    "alpha_pattern",
    "init_lora_weights",
    "alora_invocation_tokens",
    "invocation_string",
];

/// Starts from which the base model is left another one than it was.
const RESIDUAL: &[&str] = &["pissa", "olora", "corda", "lora_ga", "loftq"];

/// What decides the weights.
pub struct Settings {
    pub file: PathBuf,
    alpha: f64,
    alphas: Vec<(Regex, f64)>,
    ranks: Vec<(Regex, u64)>,
    rank: u64,
    rooted: bool,
    pub dora: bool,
    /// Whether the modules keep their weights transposed, as GPT-2's do.
    pub transposed: bool,
    /// Tokens after which alone the adapter counts.
    pub invocation: Option<Vec<u32>>,
    /// The model that it was made for, as its trainer named it.
    pub base: Option<String>,
}

impl Settings {
    /// Those of the adapter that `checkpoint` holds.
    pub fn of(checkpoint: &Checkpoint) -> Result<Settings> {
        let file = checkpoint.dir.join(FILE);
        let json = checkpoint.required_json(FILE)?;
        let keys = json.as_object().ok_or_else(|| Error::invalid("this is no JSON object").file(&file))?;
        let told = Told { keys, file: &file };
        told.check()?;
        Ok(Settings {
            alpha: told.number("lora_alpha")?,
            alphas: told.pattern("alpha_pattern", |v| v.as_f64().filter(|x| x.is_finite()))?,
            ranks: told.pattern("rank_pattern", |v| v.as_u64().filter(|n| *n > 0))?,
            rank: told.rank()?,
            rooted: told.flag("use_rslora")?,
            dora: told.flag("use_dora")?,
            transposed: told.flag("fan_in_fan_out")?,
            invocation: told.invocation()?,
            base: told.get("base_model_name_or_path").and_then(Value::as_str).map(String::from),
            file,
        })
    }

    /// What B·A of this module is multiplied with, where it has this rank.
    ///
    /// # Errors
    /// The rank is not the one that is told.
    pub fn scale(&self, module: &str, rank: u64) -> Result<f64> {
        let due = first(&self.ranks, module).unwrap_or(self.rank);
        if rank != due || rank == 0 {
            return Err(Error::invalid("the rank is not the one that is told")
                .file(&self.file)
                .tensor(module)
                .expected(format!("{due} ('r' or 'rank_pattern')"))
                .found(rank));
        }
        let rank = rank as f64;
        Ok(self.alpha(module) / if self.rooted { rank.sqrt() } else { rank })
    }

    /// `lora_alpha` of this module.
    pub fn alpha(&self, module: &str) -> f64 {
        first(&self.alphas, module).unwrap_or(self.alpha)
    }

    /// `lora_alpha` of the modules that have none of their own.
    pub fn common_alpha(&self) -> f64 {
        self.alpha
    }
}

fn first<T: Copy>(patterns: &[(Regex, T)], module: &str) -> Option<T> {
    patterns.iter().find(|(pattern, _)| pattern.is_match(module)).map(|(_, value)| *value)
}

/// The keys of the file.
struct Told<'a> {
    keys: &'a Map<String, Value>,
    file: &'a Path,
}

impl<'a> Told<'a> {
    /// The value of a key; what is null, false or empty is as good as absent.
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.keys.get(key).filter(|value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::Object(all) => !all.is_empty(),
            Value::Array(all) => !all.is_empty(),
            Value::String(text) => !text.is_empty(),
            _ => true,
        })
    }

    fn wrong(&self, key: &str, expected: &str) -> Error {
        let found = self.keys.get(key).map_or(String::from("nothing"), Value::to_string);
        Error::invalid(format!("'{key}' is not what it should be"))
            .file(self.file)
            .expected(expected)
            .found(found)
    }

    /// The rank of modules that no pattern names.
    fn rank(&self) -> Result<u64> {
        let rank = self.get("r").map_or(Some(0), Value::as_u64);
        rank.ok_or_else(|| self.wrong("r", "a rank: a whole number above 0"))
    }

    fn number(&self, key: &str) -> Result<f64> {
        let number = self.get(key).and_then(Value::as_f64).filter(|x| x.is_finite());
        number.ok_or_else(|| self.wrong(key, "a number"))
    }

    fn flag(&self, key: &str) -> Result<bool> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(set)) => Ok(*set),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    /// Numbers by module, in their order: the first pattern counts that a module's name ends with.
    fn pattern<T>(&self, key: &str, read: fn(&Value) -> Option<T>) -> Result<Vec<(Regex, T)>> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let Some(all) = value.as_object() else { return Err(self.wrong(key, "numbers by module")) };
        let one = |(pattern, value): (&String, &Value)| {
            let regex = Regex::new(&format!(r"^(?:.*\.)?(?:{pattern})$")).map_err(|_| {
                Error::unsupported(format!("'{key}' holds a pattern that cannot be read"))
                    .file(self.file)
                    .found(pattern)
            })?;
            Ok((regex, read(value).ok_or_else(|| self.wrong(key, "a number for each pattern"))?))
        };
        all.iter().map(one).collect()
    }

    fn invocation(&self) -> Result<Option<Vec<u32>>> {
        let wrong = || self.wrong("alora_invocation_tokens", "ids of tokens");
        let Some(value) = self.get("alora_invocation_tokens") else { return Ok(None) };
        let ids = value.as_array().ok_or_else(wrong)?.iter();
        let id = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok()).ok_or_else(wrong);
        ids.map(id).collect::<Result<_>>().map(Some)
    }

    /// Refuses another method, and what is not known to leave the weights alone.
    fn check(&self) -> Result<()> {
        let refused = |what: String, hint: &str| Err(Error::unsupported(what).file(self.file).hint(hint));
        match self.get("peft_type").and_then(Value::as_str) {
            Some("LORA") => {}
            other => {
                let e = Error::unsupported("this is not an adapter that can be read").file(self.file);
                let e = e.expected("'peft_type' of LORA").found(other.unwrap_or("nothing"));
                return Err(e.hint("merge it with PEFT (merge_and_unload, then save_pretrained)"));
            }
        }
        let start = self.get("init_lora_weights").and_then(Value::as_str).unwrap_or_default();
        if RESIDUAL.iter().any(|method| start.starts_with(method)) {
            return refused(
                format!(
                    "'init_lora_weights' is {start}: the adapter belongs to a base whose weights that start has changed"
                ),
                "convert it in PEFT (save_pretrained with path_initial_model_for_weight_conversion); \
                 if CP is that changed base, set init_lora_weights to true",
            );
        }
        if self.get("invocation_string").is_some() && self.get("alora_invocation_tokens").is_none() {
            return refused(
                String::from("'invocation_string' needs the tokenizer that it was written for"),
                "give its ids as 'alora_invocation_tokens'",
            );
        }
        match self.keys.keys().find(|key| !OF_TRAINING.contains(&key.as_str()) && self.get(key).is_some()) {
            Some(key) => refused(
                format!("'{key}' may change what the adapter does, and is not supported"),
                "merge the adapter with PEFT (merge_and_unload, then save_pretrained)",
            ),
            None => Ok(()),
        }
    }
}
